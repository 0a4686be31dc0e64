"""One tree of errors. Each says what happened, what to do, and whether it may have cost money."""

from __future__ import annotations

from enum import Enum

SHOWN_IN = "builtins"
"""The module that errors are shown in. ComfyUI puts a type's full name before its text, in what its
page shows as in its log, and so does Python: of built-in types alone the name goes without a
module. With `shown_as` for its name an error begins in words: "Over budget: The budget of …"."""


_command = "mai-image"


def name_command(command: str) -> None:
    """Let errors say `command` for `mai-image` from now on: inside ComfyUI that isn't installed."""
    global _command
    _command = command


def _with_command(text: str) -> str:
    return text.replace("`mai-image ", f"`{_command} ")


class Billed(Enum):
    """Whether the service may charge for the call that failed."""

    NO = "not billed"
    PERHAPS = "perhaps billed"
    YES = "billed"


class MaiError(Exception):
    """The root of every error of this package. Each kind says in a few words what it is `shown_as`.

    `what` says what happened, `hint` what to do. `status` is the HTTP status, `code` the service's
    own word for it, `request_id` what Microsoft's support asks for; each None where there is none.
    `cost_usd` is the price of the tokens that the service counted for a call that brought no image;
    where it is None, a call that is perhaps billed counts at its estimate.
    """

    __module__ = SHOWN_IN
    __qualname__ = "MAI Image"

    hint = ""
    billed = Billed.NO

    def __init_subclass__(cls, shown_as: str = "") -> None:
        super().__init_subclass__()
        cls.__module__ = SHOWN_IN
        cls.__qualname__ = shown_as or cls.__mro__[1].__qualname__

    def __init__(
        self,
        what: str,
        hint: str | None = None,
        *,
        status: int | None = None,
        code: str | None = None,
        request_id: str | None = None,
        billed: Billed | None = None,
        cost_usd: float | None = None,
    ) -> None:
        self.what = _with_command(what)
        self.hint = _with_command(self.hint if hint is None else hint)
        self.status = status
        self.code = code
        self.request_id = request_id
        if billed is not None:
            self.billed = billed
        self.cost_usd = cost_usd
        super().__init__(self._text())

    def _text(self) -> str:
        facts = []
        if self.status is not None and f"HTTP {self.status}" not in self.what:
            facts.append(f"HTTP {self.status}")
        if self.code and self.code != str(self.status):
            facts.append(self.code)
        if self.request_id:
            facts.append(f"request id {self.request_id}")
        lines = [self.what]
        if self.hint:
            lines.append(self.hint)
        if self.billed is Billed.PERHAPS:
            lines.append(self._about_the_bill())
        if facts:
            lines.append(f"({', '.join(facts)})")
        return "\n".join(lines)

    def _about_the_bill(self) -> str:
        """What a call that is perhaps billed means for its user: the one place that says it."""
        return (
            "This call was perhaps billed, so it was not repeated by itself: if you queue again, "
            "the image may be paid for twice. The ledger lists it."
        )


class InputError(MaiError, ValueError, shown_as="Not possible"):
    """What the user asked for can't be sent; nothing was."""


class SizeError(InputError, shown_as="Size not possible"):
    """A width or height that the model can't do."""


class PromptError(InputError, shown_as="Prompt not possible"):
    """An empty prompt, or one that is too long."""


class ImageError(InputError, shown_as="Image not usable"):
    """Too many or too few reference images, or one that can't be read."""


class OptionError(InputError, shown_as="Option not possible"):
    """An option, or a model, that this model or service doesn't have."""


class ProfileError(MaiError, shown_as="Profile not usable"):
    """No profile of that name, or one that can't be used as it is written."""


class ConfigurationError(MaiError, shown_as="Setting not usable"):
    """A setting of this machine (a proxy, a certificate file) keeps every call from being sent."""


class CredentialError(MaiError, shown_as="No key"):
    """No key or token could be had from what the profile names."""


class BudgetError(MaiError, shown_as="Over budget"):
    """The call would pass the profile's budget; nothing was sent."""


class RunningElsewhere(MaiError, shown_as="Running elsewhere"):
    """Another process has the same request in flight; nothing was sent.

    `owner` says which, and since when; `row` is the token of that call's row in the ledger.
    """

    def __init__(self, owner: str, row: str) -> None:
        self.owner = owner
        self.row = row
        super().__init__(f"The same request is in flight: {owner}.")


class StoreError(MaiError, shown_as="Store not usable"):
    """The store or the ledger can't be read or written."""


class ServiceError(MaiError, shown_as="Service error"):
    """The service answered with an error, or did not answer as it should."""


class BadRequestError(ServiceError, shown_as="Refused by the service"):
    """400: the service refuses the request as it stands."""


class BlockedError(ServiceError, shown_as="Blocked"):
    """The content filter stopped the prompt, a reference or the result."""

    billed = Billed.PERHAPS

    def _about_the_bill(self) -> str:
        amount = "its estimate" if self.cost_usd is None else f"${self.cost_usd:.4f}"
        return (
            f"The service may charge for a blocked call: it counts in the budget at {amount}. "
            "The ledger lists it."
        )


class AuthenticationError(ServiceError, shown_as="Key not accepted"):
    """401: the key or token isn't accepted."""


class ForbiddenError(ServiceError, shown_as="No access"):
    """403: a role is missing, or the network is closed."""


class PaymentError(ServiceError, shown_as="Balance used up"):
    """402: the gateway's balance is used up."""


class NotFoundError(ServiceError, shown_as="Deployment not found"):
    """404: no such deployment, or a wrong host or path."""


class RateLimitError(ServiceError, shown_as="Too many requests"):
    """429, again and again."""


class CallTimeoutError(ServiceError, shown_as="Took too long"):
    """The service gave up (408), or the whole call took too long."""


class PendingError(ServiceError, shown_as="Not ready yet"):
    """A job goes on at the service: the next run of the same request takes it up, unpaid."""


class UnavailableError(ServiceError, shown_as="Service not available"):
    """5xx, or 499."""


class ConnectError(ServiceError, shown_as="No connection"):
    """No connection: the request never left this machine whole."""


class ConnectionLostError(ServiceError, shown_as="Connection lost"):
    """The connection broke after the request was out."""

    billed = Billed.PERHAPS


class AnswerError(ServiceError, shown_as="Answer not usable"):
    """A 200 whose body isn't a usable image."""

    billed = Billed.PERHAPS


class UnreadableError(AnswerError, shown_as="Image not readable"):
    """An image arrived and was paid for, but can't be read: the store keeps its bytes.

    `received` are those bytes, as long as the store doesn't have them.
    """

    billed = Billed.YES
    received = b""


class CancelledCall(MaiError, shown_as="Withdrawn"):
    """The call was withdrawn before it was sent."""
