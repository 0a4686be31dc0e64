"""The service's errors: status, code and wording as MAI answers them, in its envelope."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(eq=False)
class Refusal(Exception):
    """An answer other than an image. `headers` go with it (a 429's Retry-After)."""

    status: int
    code: str
    message: str
    headers: Mapping[str, str] = field(default_factory=dict)

    def envelope(self) -> dict[str, object]:
        """The JSON body: `details` repeats the message, as the service does."""
        return {"error": {"code": self.code, "message": self.message, "details": self.message}}


@dataclass(eq=False)
class GatewayRefusal(Refusal):
    """The same of the Pixazo gateway: `code` is its short text, and there are no details."""

    def envelope(self) -> dict[str, object]:
        """The JSON body."""
        return {"error": self.code, "message": self.message}


def missing(parameter: str) -> Refusal:
    """A required parameter is absent or empty."""
    return Refusal(400, "missing_required_parameter", f"Missing required parameter: '{parameter}'.")


def unrecognized(names: list[str]) -> Refusal:
    """Parameters that no image API knows."""
    return Refusal(
        400,
        "unrecognized_request_argument",
        f"Unrecognized request argument supplied: {', '.join(names)}",
    )


def unsupported(names: list[str]) -> Refusal:
    """Parameters that other image APIs know and this model doesn't."""
    return Refusal(
        400,
        "unsupported_request_argument",
        f"Model does not support request argument supplied: Invalid parameters: {', '.join(names)}",
    )


def bad_value(reason: str) -> Refusal:
    """A parameter's value that the model can't do."""
    return Refusal(
        400,
        "unsupported_request_value",
        f"Model does not support request parameter value supplied: {reason}",
    )


def too_many_pixels(width: int, height: int, maximum: int) -> Refusal:
    """Both sides are fine, their product isn't. The code is the emulator's guess."""
    return Refusal(
        400,
        "unsupported_request_value",
        f"Invalid dimensions {width}x{height}: total pixel count ({width * height}) "
        f"exceeds the maximum of {maximum}",
    )


def bad_request(reason: str) -> Refusal:
    """The request as a whole is not in order. The code is the emulator's guess."""
    return Refusal(400, "invalid_request", reason)


def bad_directive(reason: str) -> Refusal:
    """What only the emulator says: a directive that can't be understood."""
    return Refusal(400, "emulator_directive", f"The emulator can't read a directive: {reason}")


def unauthorized(reason: str) -> Refusal:
    """No credential, or one that isn't accepted."""
    return Refusal(401, "401", reason)


def not_found() -> Refusal:
    """No such path, or not with this method."""
    return Refusal(404, "404", "Resource not found")


def no_deployment(name: str) -> Refusal:
    """The resource has no deployment of this name."""
    return Refusal(
        404,
        "DeploymentNotFound",
        f"The API deployment {name[:200]!r} does not exist on this resource. A deployment made "
        "within the last minutes may not be known yet.",
    )


BLOCKS: Mapping[str, str] = {
    "block-prompt": "Input content violated mainline safety policies.",
    "block-result": "Response content blocked by label 'MultiSeverity_ViolenceScore'.",
    "block-list": "Response content blocked by label 'DallEBlockList'.",
}


def blocked(kind: str) -> Refusal:
    """The content filter stopped the prompt (or a reference), or the result."""
    return Refusal(400, "content_safety_violation", BLOCKS[kind])


_BY_STATUS: Mapping[int, tuple[str, str]] = {
    400: ("invalid_request", "The request can't be processed."),
    401: ("401", "The key or token isn't accepted."),
    402: ("PaymentRequired", "The balance is used up."),
    403: ("PermissionDenied", "The principal lacks the data action for this operation."),
    404: ("404", "Resource not found"),
    408: ("Timeout", "The operation was timeout."),
    429: ("RateLimitReached", "The requests a minute of this deployment are used up."),
    499: ("client_connection_closed", "Client has closed connection before request was sent."),
    500: ("InternalServerError", "The server had an error while processing the request."),
    502: ("BadGateway", "The upstream service did not answer as it should."),
    503: ("ServiceUnavailable", "The service is temporarily unable to process the request."),
    504: ("GatewayTimeout", "The upstream service did not answer in time."),
}


def of_status(status: int, code: str | None = None) -> Refusal:
    """The envelope that goes with a status; the texts of 5xx are the emulator's own."""
    usual, message = _BY_STATUS.get(status, (str(status), f"The emulator answers {status}."))
    return Refusal(status, code or usual, message)
