"""Who may call: an API key, or Bearer tokens with an end of their life."""

from __future__ import annotations

import hmac
import math
from collections.abc import Callable, Mapping

from .options import Options
from .refusals import Refusal


class Access:
    """The credentials that are accepted; tokens can be granted and revoked while it runs."""

    def __init__(self, options: Options, clock: Callable[[], float]) -> None:
        self._header = options.key_header
        self._key = options.key
        self._clock = clock
        self._tokens: dict[str, float] = dict.fromkeys(options.tokens, math.inf)

    def grant(self, token: str, seconds: float = math.inf) -> None:
        """Accept a Bearer token for so long."""
        self._tokens[token] = self._clock() + seconds

    def revoke(self, token: str) -> None:
        """Accept a Bearer token no longer."""
        self._tokens.pop(token, None)

    def check(self, headers: Mapping[str, str]) -> None:
        """Raise the 401 for a request that has no accepted credential."""
        key = headers.get(self._header)
        if key is not None:
            if not same_secret(key, self._key):
                raise _unauthorized(
                    "Access denied due to invalid subscription key or wrong API endpoint."
                )
            return
        scheme, _, token = headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            raise _unauthorized("Access denied: the request has neither a key nor a token.")
        if not self._accepts(token.strip()):
            raise _unauthorized(
                "Unauthorized. Access token is missing, invalid, expired, or for another audience."
            )

    def _accepts(self, token: str) -> bool:
        return any(
            same_secret(token, known) and self._clock() < end
            for known, end in list(self._tokens.items())
        )


def same_secret(given: str, wanted: str) -> bool:
    """Whether two secrets are equal, in a time that doesn't depend on where they differ."""
    return hmac.compare_digest(
        given.encode("utf-8", "surrogateescape"), wanted.encode("utf-8", "surrogateescape")
    )


def _unauthorized(reason: str) -> Refusal:
    return Refusal(401, "401", reason)
