"""Keys: read anew for every call from a variable or a file, checked, and sent in a header."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from ..errors import CredentialError
from .secrets import Sealed, Secret

AZURE_HEADER = "api-key"
"""The header of Azure's own endpoints."""

GATEWAY_HEADER = "Ocp-Apim-Subscription-Key"
"""The header of API Management, and so of Pixazo."""

MAX_KEY_CHARACTERS = 8192
"""No key is near this long; servers refuse headers that are."""

_QUOTES = "\"'`“”‘’"
_HEADER_NAME = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,63}")
_NAME_END = re.compile(r"[/\\._ ]+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_NOT_FOR_KEYS = re.compile(
    r"(?i)host|content-.*|transfer-encoding|connection|accept.*|expect|te|trailer|upgrade"
    r"|keep-alive|proxy-.*|user-agent|cookie|date|range|via"
)


class Credential(Protocol):
    """What a profile calls as. `can_renew`: whether a 401 is worth one more try."""

    @property
    def can_renew(self) -> bool:
        """Whether `headers(renew=True)` can give something else than before."""

    async def headers(self, *, renew: bool = False) -> dict[str, str]:
        """The headers that authenticate one request; raises CredentialError."""

    def is_there(self) -> bool:
        """Whether there is something to authenticate with, as far as this machine knows."""

    def describe(self) -> str:
        """Where the secret comes from, never the secret."""


class KeyCredential(Sealed):
    """A key in a header. `read` gives it anew for every call, so that a changed key is used.

    `scheme` is the word that stands before it there, such as "Bearer".
    """

    can_renew = False

    def __init__(
        self,
        read: Callable[[], Secret],
        source: str,
        header: str = AZURE_HEADER,
        scheme: str = "",
    ) -> None:
        self._read = read
        self._source = source
        self.header = header
        self._scheme = f"{scheme} " if scheme else ""

    async def headers(self, *, renew: bool = False) -> dict[str, str]:
        """The key's header; raises CredentialError if the key can't be read or sent."""
        secret = strip_key(self._read())
        if problem := _key_problem(secret):
            raise CredentialError(
                f"The key from {self._source} {problem}.",
                "Copy the key again, alone and on one line.",
            )
        if not self._scheme:
            return {self.header: secret.reveal()}
        key = secret.reveal()
        if key.lower().startswith(self._scheme.lower()):  # pasted with the word before it
            key = key[len(self._scheme) :].lstrip()
        return {self.header: self._scheme + key}

    def is_there(self) -> bool:
        """Whether the key can be read and sent."""
        try:
            return _key_problem(strip_key(self._read())) is None
        except CredentialError:
            return False

    def describe(self) -> str:
        """Where the key comes from."""
        return f"key from {self._source}"

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.describe()}>"


def key_from_variable(read: Callable[[str], str | None], name: Secret) -> Callable[[], Secret]:
    """A reader of the environment variable `name`, which may be a key in the wrong place."""

    def variable() -> Secret:
        secret = strip_key(Secret(read(name.reveal()) or ""))
        if not secret.reveal():
            shown = quote_unless_key(name.reveal())
            raise CredentialError(
                f"The environment variable {shown} that holds the key isn't set.",
                "Set it where ComfyUI (or the command) is started, then start that again.",
            )
        return secret

    return variable


def key_from_file(path: Path) -> Callable[[], Secret]:
    """A reader of a file that holds nothing but the key, such as a mounted secret."""

    def file() -> Secret:
        secret = _key_in_file(path)
        if not isinstance(secret, Secret):
            raise CredentialError(
                f"The key's file {quote_unless_key(str(path))} {secret}.",
                "Correct the profile's credential path, or the file.",
            )
        return secret

    return file


def strip_key(secret: Secret) -> Secret:
    """Without the white space and quotes that come along when a key is pasted."""
    return Secret(secret.reveal().strip().strip(_QUOTES).strip())


def quote_unless_key(text: str) -> str:
    """A name or path for an error text, unless it looks like a key in the wrong place.

    Azure's keys are 32 hexadecimal digits or 84 letters and digits: long, with many digits and
    without the dots, slashes or underscores of paths and names.
    """
    for part in _NAME_END.split(text):
        if len(part) > 40 or (len(part) >= 16 and sum(map(str.isdigit, part)) > 4):
            return "(not shown: it looks like a key)"
    return repr(text) if len(text) <= 300 else "(not shown: it is too long)"


def header_problem(name: str) -> str | None:
    """What is wrong with a header's name for keys, as the end of a sentence, or None."""
    if _HEADER_NAME.fullmatch(name) is None:
        return "must be a header's name: letters, digits and hyphens, such as api-key."
    if _NOT_FOR_KEYS.fullmatch(name):
        return "names a header that HTTP itself uses; a key can't go there."
    return None


def _key_problem(secret: Secret) -> str | None:
    """Why a key can't be sent, as the end of a sentence, or None."""
    if not secret.reveal():
        return "is empty"
    if len(secret.reveal()) > MAX_KEY_CHARACTERS:
        return f"is longer than {MAX_KEY_CHARACTERS} characters"
    if _CONTROL.search(secret.reveal()):
        return "has a line break or another control character in it"
    if not secret.reveal().isascii():
        return "has characters in it that aren't plain ASCII"
    return None


def _key_in_file(path: Path) -> Secret | str:
    """The file's key, or what is wrong with the file, as the end of a sentence."""
    try:
        if not path.is_file():
            return "isn't a file" if path.exists() else "isn't there"
        with path.open("rb") as file:
            data = file.read(MAX_KEY_CHARACTERS + 1)
    except (OSError, ValueError) as error:
        return f"can't be read ({type(error).__name__})"
    if len(data) > MAX_KEY_CHARACTERS:
        return f"is longer than {MAX_KEY_CHARACTERS} bytes"
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        secret = Secret(data.decode(encoding))
    except UnicodeDecodeError:
        return "isn't a text file"
    return secret if strip_key(secret).reveal() else "is empty"
