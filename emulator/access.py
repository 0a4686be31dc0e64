"""Who may call: an API key, or Bearer tokens with an end of their life."""

from __future__ import annotations

import hmac
import math
from collections.abc import Callable, Mapping

from . import refusal
from .options import Options


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
            if not _same(key, self._key):
                raise refusal.unauthorized(
                    "Access denied due to invalid subscription key or wrong API endpoint."
                )
            return
        kind, _, token = headers.get("Authorization", "").partition(" ")
        if kind.lower() != "bearer":
            raise refusal.unauthorized("Access denied: the request has neither a key nor a token.")
        if not self._accepts(token.strip()):
            raise refusal.unauthorized(
                "Unauthorized. Access token is missing, invalid, expired, or for another audience."
            )

    def _accepts(self, token: str) -> bool:
        return any(
            _same(token, known) and self._clock() < end for known, end in list(self._tokens.items())
        )


def _same(given: str, wanted: str) -> bool:
    return hmac.compare_digest(
        given.encode("utf-8", "surrogateescape"), wanted.encode("utf-8", "surrogateescape")
    )
