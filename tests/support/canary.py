"""A key that must be found nowhere, the ways to configure one, and how to look for it."""

from __future__ import annotations

import base64
import io
import itertools
import json
import logging
import re
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import quote, unquote

from mai_image.mai.profiles import Profiles

KEY = "cAnAry-7Qx2Vb9/Lm4+Tz8Rk5Wd1Hs6Yp3"
"""As long as a real key, in both cases, with characters that addresses and base64 spell apart."""

TABLE = """
[profiles.canary]
service = "{service}"
endpoint = "{url}"
credential = {{ {credential} }}
requests_a_minute = 6000
timeout = 5
"""


class Provider:
    """What azure-identity would be: the canary is its token."""

    def get_token(self, *scopes: str) -> object:
        """A token for an hour."""
        return SimpleNamespace(token=KEY, expires_on=4e9)


@dataclass(frozen=True)
class Way:
    """One way of configuring a key."""

    name: str
    credential: str = field(default="", repr=False)
    environ: Mapping[str, str] = field(default_factory=dict, repr=False)
    service: str = "foundry"

    def profiles(self, folder: Path, url: str) -> Profiles:
        """The folder's profiles with the key configured this way, and the server behind them."""
        folder.mkdir(parents=True, exist_ok=True)
        environ = {name: url if value == "URL" else value for name, value in self.environ.items()}
        if self.credential:
            (folder / "secret.key").write_text(KEY + "\n", encoding="utf-8")
            text = TABLE.format(service=self.service, url=url, credential=self.credential)
            (folder / "profiles.toml").write_text(text, encoding="utf-8")
        return Profiles(folder, environ, build=lambda entra: Provider())  # type: ignore[arg-type]


WAYS = (
    Way("key", f'kind = "key", value = "{KEY}"'),
    Way("key_env", 'kind = "key_env", name = "MY_KEY"', {"MY_KEY": KEY}),
    Way("key_file", 'kind = "key_file", path = "secret.key"'),
    Way("entra", 'kind = "entra"'),
    Way("environment", environ={"AZURE_ENDPOINT": "URL", "AZURE_API_KEY": KEY}),
)

PIXAZO = Way("pixazo", f'kind = "key", value = "{KEY}"', service="pixazo")

HOLD_THE_KEY = ("secret.key", "profiles.toml")


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


SPELLINGS: Mapping[str, Callable[[str], str]] = {
    "plain": str,
    "upper case": str.upper,
    "lower case": str.lower,
    "quoted header": lambda key: f"api-key: {key}\r\nAuthorization: Bearer {key}",
    "percent": lambda key: quote(key, safe=""),
    "percent, every letter": lambda key: "".join(f"%{ord(c):02x}" for c in key),
    "base64": _base64,
    "base64 after one letter": lambda key: _base64("a" + key + "b"),
    "base64 after two letters": lambda key: _base64("ab" + key),
    "base64 for addresses": lambda key: base64.urlsafe_b64encode(key.encode()).decode(),
    "Python's bytes": lambda key: repr(key.encode()),
}


def shows(text: str) -> bool:
    """Whether the key stands in a text: plain in any case, percent-encoded or in base64."""
    return any(KEY.lower() in reading.lower() for reading in _readings(text))


def _readings(text: str) -> Iterator[str]:
    yield text
    yield unquote(text)
    for run in set(re.findall(r"[A-Za-z0-9+/_-]{20,}", text)):
        encoded = run.replace("-", "+").replace("_", "/")
        for start in range(4):
            part = encoded[start:]
            yield base64.b64decode(part + "A" * (-len(part) % 4)).decode("latin-1")


def everything_of(error: BaseException) -> str:
    """All that a crash report may hold of an error: text, fields, chain, frames with locals."""
    parts: list[str] = []
    waiting: list[BaseException | None] = [error]
    seen: set[int] = set()
    while waiting:
        one = waiting.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        waiting += [one.__cause__, one.__context__]
        report = traceback.TracebackException.from_exception(one, capture_locals=True)
        parts += [str(one), repr(one), repr(vars(one)), repr(one.args), "".join(report.format())]
    return "\n".join(parts)


def files_that_show_it(folder: Path) -> list[str]:
    """The files below a folder that hold the key, other than those it was written to."""
    return [
        str(path.relative_to(folder))
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in HOLD_THE_KEY and _bytes_show(path.read_bytes())
    ]


def _bytes_show(data: bytes) -> bool:
    return any(KEY.encode(encoding).lower() in data.lower() for encoding in ("utf-8", "utf-16-le"))


class Records(logging.Handler):
    """All that is logged at DEBUG, as formatted lines with tracebacks."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self._stream = io.StringIO()
        self.names: set[str] = set()
        self.count = itertools.count()

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one record with its unformatted parts."""
        self.names.add(record.name)
        self._stream.write(f"{self.format(record)}\n{record.msg!r} {record.args!r}\n")

    @property
    def text(self) -> str:
        """Everything so far."""
        return self._stream.getvalue()


def error_body(spelled: str) -> bytes:
    """The service's error envelope with a key in every field."""
    return json.dumps(
        {"error": {"code": f"bad {spelled}", "message": f"key {spelled}", "details": spelled}}
    ).encode()
