"""Errors that the services answer. Each service has its own envelope for them (foundry.py,
pixazo.py, fal.py, openrouter.py, entra.py); what only Foundry says stands in foundry.py."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from ..mai.models import PROMPT_TOKENS
from .directives import NOT_SENT, Fault


@dataclass(eq=False)
class Refusal(Exception):
    """An answer other than the one requested.

    `headers` go with it (a 429's Retry-After). `fault` is the one that asked for this error; it
    may want another body than the envelope, or a broken connection.
    """

    status: int
    code: str
    message: str
    headers: Mapping[str, str] = field(default_factory=dict)
    fault: Fault | None = None


def bad_request(reason: str) -> Refusal:
    """The request as a whole is not in order. The code is the emulator's guess."""
    return Refusal(400, "invalid_request", f"Invalid request. Error => {reason}")


def bad_directive(reason: object) -> Refusal:
    """What only the emulator says: a directive that can't be understood."""
    return Refusal(400, "emulator_directive", f"The emulator can't read a directive: {reason}")


def body_too_large() -> Refusal:
    """The body has more bytes than Options.max_body."""
    return Refusal(413, "RequestEntityTooLarge", "The request body is too large.")


_BY_STATUS: Mapping[int, tuple[str, str]] = {
    400: ("invalid_request", "The request can't be processed."),
    401: ("401", "The key or token isn't accepted."),
    402: ("PaymentRequired", "The balance is used up."),
    403: ("PermissionDenied", "The principal lacks the data action for this operation."),
    404: ("404", "Resource not found"),
    408: ("Timeout", "The operation was timeout."),
    410: ("DeploymentRetired", "The model of this deployment is retired."),
    429: ("RateLimitReached", "The requests a minute of this deployment are used up."),
    499: ("client_connection_closed", f"Client has closed connection {NOT_SENT}."),
    500: ("InternalServerError", "The server had an error while processing the request."),
    502: ("BadGateway", "The upstream service did not answer as it should."),
    503: ("ServiceUnavailable", "The service is temporarily unable to process the request."),
    504: ("GatewayTimeout", "The upstream service did not answer in time."),
}


def refusal_of_status(status: int) -> Refusal:
    """The usual code and text of a status; the texts of 5xx are the emulator's own."""
    code, message = _BY_STATUS.get(status, (str(status), f"The emulator answers {status}."))
    return Refusal(status, code, message)


def bad_value(reason: str) -> Refusal:
    """A parameter's value that the model can't do."""
    message = f"Model does not support request parameter value supplied: {reason}"
    return Refusal(400, "unsupported_request_value", message)


def prompt_too_long() -> Refusal:
    """More tokens than the model's context; the text is the emulator's own."""
    return bad_value(f"'prompt' must be at most {PROMPT_TOKENS} tokens.")


_BLOCKS: Mapping[str, str] = {
    "block-prompt": "Input content violated mainline safety policies.",
    "block-result": "Response content blocked by label 'MultiSeverity_ViolenceScore'.",
    "block-list": "Response content blocked by label 'DallEBlockList'.",
}


def refusal_of_fault(fault: Fault | None) -> Refusal | None:
    """The error that a fault asks for, None where it asks for none: one of a status, of the
    content filter, or for the prompt's length."""
    if fault is None:
        return None
    if fault.answer is not None and fault.answer in _BLOCKS:
        message = _BLOCKS[fault.answer]
        return Refusal(400, "content_safety_violation", message, fault=fault)
    if fault.answer == "prompt-too-long":
        return replace(prompt_too_long(), fault=fault)
    if fault.status is None or not fault.is_error:
        return None
    usual = refusal_of_status(fault.status)
    message = usual.message if fault.message is None else fault.message
    return Refusal(usual.status, fault.code or usual.code, message, fault=fault)
