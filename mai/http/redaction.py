"""A server may quote the key that it was sent: it is replaced before anybody sees the answer.

Gateways quote a request's headers in their errors, and a hostile server may want a key in a log.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator
from urllib.parse import quote

from ..auth import Sealed

PLACEHOLDER = "[hidden]"

SHORTEST_SECRET = 6
"""Words with fewer letters and digits are no secrets, and would be found in every image."""

SHORTEST_ENCODED = 16
"""Words with fewer letters and digits, such as the emulator's key, are looked for in plain text
only: encoded they are what an image may hold by itself."""

LONGEST_TEXT = 65_536
"""Bytes of a body that is searched as a text. A longer one is an image in JSON."""

SHORTEST_BEGINNING = 12
"""Characters of a secret's beginning that are taken out of what is shown, as servers cut texts."""

SLICE = 1 << 20
"""Bytes that are searched at a time: a search holds the interpreter, and other threads wait."""


class Redactor(Sealed):
    """Replaces the secrets of one request in what comes back by a placeholder.

    `secrets` are what the request's headers hold, such as "Bearer TOKEN". Every word of them and
    the whole are looked for in plain text of any case, percent-encoded and in base64. The escapes
    of JSON are not resolved by `text` and `body`: `parsed` searches once more after it is parsed.
    `names` are those of the endpoint, which no text that is `shown` says. The time grows with the
    length of the text and not faster, whatever the text is.
    """

    __slots__ = ("_beginnings", "_in_images", "_in_texts", "_names", "_shortest")

    def __init__(self, secrets: Iterable[str], names: Iterable[str] = ()) -> None:
        values = [secret.removeprefix("Bearer ").strip() for secret in secrets]
        words = {word for value in values for word in (value, *value.split())}
        lengths = {word: sum(map(str.isalnum, word)) for word in words}
        known = [word for word in words if lengths[word] >= SHORTEST_SECRET]
        encoded = [word for word in known if lengths[word] >= SHORTEST_ENCODED]
        plain = {word.encode() for word in known}
        standard = {form for word in encoded for form in _base64(word)}
        urlsafe = {form.translate(bytes.maketrans(b"+/", b"-_")) for form in standard}
        percent = {form for word in encoded for form in _percent(word)}
        texts = {form.lower() for form in plain | standard | urlsafe | percent}
        self._in_texts = sorted(texts, key=len, reverse=True)
        self._in_images = sorted(plain | standard, key=len, reverse=True)
        self._shortest = min(map(len, texts), default=0)
        self._beginnings = [
            word.lower() for word in known if len(word.encode()) > SHORTEST_BEGINNING
        ]
        self._names = sorted({name.encode().lower() for name in names}, key=len, reverse=True)

    def text(self, value: str) -> str:
        """A text without any secret."""
        data = value.encode("utf-8", "surrogatepass")
        return self._without_secrets(data).decode("utf-8", "surrogatepass")

    def shown(self, value: str) -> str:
        """A text for a person, before it is cut: also without the first part of a secret, as a
        server may have cut it, and without the endpoint's names."""
        data = self._without_secrets(value.encode("utf-8", "surrogatepass"))
        for secret in self._beginnings:
            data = _replace_beginning(data, secret.encode())
        for name in self._names:
            data = b"the endpoint".join(_split_in_any_case(data, name))
        return data.decode("utf-8", "surrogatepass")

    def parsed(self, value: object) -> object:
        """A value out of JSON without any secret in its strings, which were escaped before."""
        if isinstance(value, str):
            if not 0 < self._shortest <= len(value):
                return value
            data = self.body(value.encode("utf-8", "surrogatepass"))
            return data.decode("utf-8", "surrogatepass")
        if isinstance(value, list):
            return [self.parsed(one) for one in value]
        if isinstance(value, dict):
            return {self.parsed(name): self.parsed(one) for name, one in value.items()}
        return value

    def body(self, data: bytes) -> bytes:
        """An answer's body without any secret.

        A long one is searched for plain secrets in their own case and for standard base64 alone,
        so that an image with the key written in it is damaged, and refused. That takes 1 to 2 ms
        for an image of 2 MB, and 45 ms for the largest that there is, of 17 MB.
        """
        if len(data) <= LONGEST_TEXT:
            return self._without_secrets(data)
        for form in self._in_images:
            ends = range(SLICE, len(data) + SLICE, SLICE)
            if any(data.find(form, end - SLICE, end + len(form)) >= 0 for end in ends):
                data = data.replace(form, PLACEHOLDER.encode())
        return data

    def _without_secrets(self, data: bytes) -> bytes:
        for form in self._in_texts:
            data = PLACEHOLDER.encode().join(_split_in_any_case(data, form))
        return data


def _percent(secret: str) -> Iterator[bytes]:
    """A secret percent-encoded where an address needs it, and letter by letter."""
    yield quote(secret, safe="").encode()
    yield "".join(f"%{byte:02x}" for byte in secret.encode()).encode()


def _base64(secret: str) -> Iterator[bytes]:
    """What a secret gives in base64 wherever it stands: three alignments, inner characters."""
    data = secret.encode()
    for offset in range(3):
        encoded = base64.b64encode(bytes(offset) + data)
        yield encoded[-(-offset * 8 // 6) : (offset + len(data)) * 8 // 6]


def _replace_beginning(data: bytes, secret: bytes) -> bytes:
    """`data` with the placeholder for what begins like `secret`, as far as it goes on like it."""
    first, *others = _split_in_any_case(data, secret[:SHORTEST_BEGINNING])
    pieces, rest = [first], secret[SHORTEST_BEGINNING:]
    for other in others:
        pairs = enumerate(zip(other[: len(rest)].lower(), rest, strict=False))
        alike = next((at for at, (a, b) in pairs if a != b), min(len(other), len(rest)))
        pieces.append(other[alike:])
    return PLACEHOLDER.encode().join(pieces)


def _split_in_any_case(data: bytes, lower_form: bytes) -> list[bytes]:
    """What stands between the places that are `lower_form` once in lower case."""
    pieces = []
    start = 0
    for piece in data.lower().split(lower_form):
        pieces.append(data[start : start + len(piece)])
        start += len(piece) + len(lower_form)
    return pieces
