"""Who may call: an API key, or Bearer tokens with an end of their life; and by which name."""

from __future__ import annotations

import hmac
import ipaddress
import math
from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

from .options import Options
from .refusals import Refusal


class Access:
    """The credentials that are accepted; tokens can be granted and revoked while it runs."""

    def __init__(self, options: Options, clock: Callable[[], float]) -> None:
        self._header = options.key_header
        self._key = options.key
        self._clock = clock
        self._tokens: dict[str, float] = dict.fromkeys(options.tokens, math.inf)
        self._manager_tokens: dict[str, float] = {}

    def grant(self, token: str, seconds: float = math.inf, *, manager: bool = False) -> None:
        """Accept a Bearer token for so long: at the image endpoints, or the resource manager's."""
        tokens = self._manager_tokens if manager else self._tokens
        tokens[token] = self._clock() + seconds

    def revoke(self, token: str) -> None:
        """Accept a Bearer token no longer."""
        self._tokens.pop(token, None)
        self._manager_tokens.pop(token, None)

    def check(self, headers: Mapping[str, str]) -> None:
        """Raise the 401 for a request that has no accepted credential."""
        if self._header in headers:
            self.check_key(headers)
            return
        scheme, _, token = headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            raise _unauthorized("Access denied: the request has neither a key nor a token.")
        if not self._accepts(token.strip(), self._tokens):
            raise _unauthorized(
                "Unauthorized. Access token is missing, invalid, expired, or for another audience."
            )

    def check_manager(self, headers: Mapping[str, str]) -> None:
        """Raise the resource manager's 401 for a request without a token for it."""
        scheme, _, token = headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            message = "Authentication failed. The 'Authorization' header is missing."
            raise Refusal(401, "AuthenticationFailed", message)
        if self._accepts(token.strip(), self._tokens):
            message = "The access token has been obtained for wrong audience or resource."
            raise Refusal(401, "InvalidAuthenticationTokenAudience", message)
        if not self._accepts(token.strip(), self._manager_tokens):
            message = "The access token is invalid."
            raise Refusal(401, "InvalidAuthenticationToken", message)

    def check_key(self, headers: Mapping[str, str]) -> None:
        """Raise the 401 for a request without the key, whatever token it has."""
        if not same_secret(headers.get(self._header, ""), self._key):
            raise _unauthorized(
                "Access denied due to invalid subscription key or wrong API endpoint."
            )

    def _accepts(self, token: str, tokens: Mapping[str, float]) -> bool:
        return any(
            same_secret(token, known) and self._clock() < end for known, end in list(tokens.items())
        )


def same_secret(given: str, wanted: str) -> bool:
    """Whether two secrets are equal, in a time that doesn't depend on where they differ."""
    return hmac.compare_digest(
        given.encode("utf-8", "surrogateescape"), wanted.encode("utf-8", "surrogateescape")
    )


def check_host(host: str, scheme: str, listening: tuple[str, int]) -> None:
    """Raise the 403 for a request to this machine that calls it by another machine's name.

    `host` is the Host header, `listening` the address and port that the connection came to. A
    browser sends the name that it knows: that of another site which was led here (DNS rebinding)
    would make that site's page look like one of this machine.
    """
    address, port = listening
    if not names_this_machine(address):
        return
    try:
        called = urlsplit(f"{scheme}://{host}")
        called_port = called.port or {"https": 443}.get(scheme, 80)
    except ValueError:
        raise _misnamed() from None
    plain = called.netloc == host and "@" not in host
    if not plain or called_port != port or not names_this_machine(called.hostname or ""):
        raise _misnamed()


def names_this_machine(host: str) -> bool:
    """Whether a host, without brackets, is localhost or a loopback address."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host.lower() == "localhost"
    # A socket that listens on both kinds of addresses shows an IPv4 one as ::ffff:127.0.0.1.
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


def _misnamed() -> Refusal:
    return Refusal(403, "403", "Call the emulator by its address and port on this machine.")


def _unauthorized(reason: str) -> Refusal:
    return Refusal(401, "401", reason)
