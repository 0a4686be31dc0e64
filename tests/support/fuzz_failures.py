"""What is fuzzed of failed connections and of answers that quote a key: none of it is shown."""

from __future__ import annotations

import errno
import socket
import ssl
import string
from collections.abc import Callable, Iterator
from typing import Any

import httpx
from canary import KEY, SPELLINGS, shows
from fuzz_inputs import nearly, texts
from hypothesis import strategies as st
from mai_image.mai.http import Redactor
from mai_image.mai.http.failures import describe_failure
from mai_image.mai.http.redaction import (
    LONGEST_TEXT,
    PLACEHOLDER,
    SHORTEST_BEGINNING,
    SHORTEST_SECRET,
)

# Failures: an error is (kind, number, the errors that it comes of: (how, error))

Tree = tuple[str, int, list[tuple[str, Any]]]

SAID = "Gateway.Example 10.9.8.7:54321 said this"
"""What a library's text quotes."""

ANOTHER_NAME = (62, 64)
"""OpenSSL's codes for a certificate of another name: its texts quote the host."""


def _tls(number: int) -> ssl.SSLError:
    error = ssl.SSLError(number, SAID)
    error.reason = "WRONG_VERSION_NUMBER" if number % 2 else None  # type: ignore[assignment]
    return error


def _certificate(number: int) -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(number, SAID)
    error.verify_code = number
    error.verify_message = SAID if number in ANOTHER_NAME else "self-signed certificate"
    return error


def _another_name(number: int) -> ssl.SSLCertVerificationError:
    return _certificate(ANOTHER_NAME[number % 2])


KINDS: dict[str, Callable[[int], BaseException]] = {
    **{
        kind.__name__: lambda number, kind=kind: kind(SAID)  # type: ignore[misc]
        for kind in (
            httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ReadTimeout,
            httpx.RemoteProtocolError, httpx.LocalProtocolError, httpx.ReadError, httpx.WriteError,
            httpx.UnsupportedProtocol, ValueError, OSError, TimeoutError, KeyboardInterrupt,
        )
    },
    "proxy": lambda number: httpx.ProxyError(f"{number} {SAID}"),
    "a proxy's words": lambda number: httpx.ProxyError(SAID),
    "number": lambda number: OSError(number, SAID),
    "name": lambda number: socket.gaierror(number, SAID),
    "tls": _tls,
    "certificate": _certificate,
    "another's certificate": _another_name,
}  # fmt: skip

MOST_CAUSES = 12
"""Errors of a tree: fewer than are looked at."""

_NUMBERS = st.one_of(st.sampled_from([0, *ANOTHER_NAME, *errno.errorcode]), st.integers(-2, 70_000))


def failures() -> st.SearchStrategy[Tree]:
    """Errors that come of others; "loop" leads back to an error that comes of this one."""
    links = st.sampled_from(["cause", "context", "group", "loop"])
    leaf = st.tuples(st.sampled_from(list(KINDS)), _NUMBERS, st.just([]))
    return st.recursive(
        leaf,
        lambda below: st.tuples(
            st.sampled_from(list(KINDS)), _NUMBERS, st.lists(st.tuples(links, below), max_size=3)
        ),
        max_leaves=6,
    )


def _build(tree: Tree) -> BaseException:
    kind, number, causes = tree
    error = KINDS[kind](number)
    for how, below in causes:
        other = _build(below)
        if how == "group":
            error.exceptions = [*getattr(error, "exceptions", ()), other]  # type: ignore[attr-defined]
        elif how == "context":
            error.__context__ = other
        else:
            error.__cause__ = other
        if how == "loop":
            other.__cause__ = error
    return error


def _count(tree: Tree) -> int:
    return 1 + sum(_count(below) * (2 if how == "loop" else 1) for how, below in tree[2])


def check_failure(tree: Tree) -> None:
    """A failure is told in a few words, none of them a server's or an address, whichever error of
    a library stands around it."""
    error = _build(tree)
    told = describe_failure(error)
    assert 0 < len(told) < 120, told
    assert told.isprintable(), told
    for said in (*SAID.lower().split(), "10.9.8.7", "54321"):
        assert said not in told.lower().split(), told
    looped = any(how == "loop" for how, _ in tree[2])
    certain = tree[0] in ("name", "tls", "certificate", "another's certificate")
    if certain and not looped and _count(tree) < MOST_CAUSES:
        around = httpx.ConnectError(SAID)
        around.__cause__ = error
        assert describe_failure(around) == told


# What quotes a secret

WORDS = [KEY, "Bearer " + KEY, "first-word second-word-of-a-key", "emulator", "abc", "", "a1b2c3"]

NAMES = ["r.services.ai.azure.com", "gateway.example:8443", "gateway.example", "127.0.0.1:9"]


def quotations() -> st.SearchStrategy[tuple[list[str], Any]]:
    """The secrets of a request, and JSON that quotes them, or nearly does."""
    letters = string.ascii_letters + string.digits + "/+=-_ "
    secret = st.one_of(st.sampled_from(WORDS), st.text(letters, max_size=40))
    return st.lists(secret, max_size=3).flatmap(
        lambda secrets: st.tuples(st.just(secrets), _quoting(secrets))
    )


def _quoting(secrets: list[str]) -> st.SearchStrategy[Any]:
    quoted = st.builds(
        lambda spelling, secret, cut, around: (
            around[0] + SPELLINGS[spelling](secret)[:cut] + around[1]
        ),
        st.sampled_from([*["plain"] * 5, *SPELLINGS]),
        st.sampled_from([*secrets * 5, *NAMES, KEY]),
        st.sampled_from([None, None, 11, 12, 15, 30]),
        st.tuples(texts(9), st.one_of(texts(9), st.just("x" * LONGEST_TEXT))),
    )
    leaves = st.one_of(quoted, quoted, texts(), st.sampled_from([None, True, 0, 7.5, [], {}]))
    documents = [{"error": {"message": "x", "code": "y"}, "n": 7}, ["x", ["y"], {"x": "y"}], "x"]
    return st.one_of(nearly(documents, leaves), st.dictionaries(quoted, leaves, max_size=2))


def check_redaction(secrets: list[str], value: Any) -> None:
    """What is parsed holds no secret, and all else as it came; what is shown says no name of the
    endpoint and no secret's beginning."""
    redactor = Redactor(secrets, NAMES)
    whole = [secret.removeprefix("Bearer ").strip() for secret in secrets]
    words = [
        word.lower()
        for secret in whole
        for word in (secret, *secret.split())
        if sum(map(str.isalnum, word)) >= SHORTEST_SECRET and word.lower() not in PLACEHOLDER
    ]
    found = redactor.parsed(value)
    for text in _strings(found):
        if len(text) > LONGEST_TEXT:
            continue  # it is an image: fuzzed as an answer's body
        assert not any(word in text.lower() for word in words), text
        assert KEY not in whole or not shows(text), text
    if not words:
        assert found == value or value != value or "nan" in repr(value)
    for text in _strings(value):
        shown = redactor.shown(text[:LONGEST_TEXT]).lower()
        assert not any(name in shown for name in NAMES), shown
        starts = [word[:SHORTEST_BEGINNING] for word in words if len(word) > SHORTEST_BEGINNING]
        assert not any(start in shown for start in starts if start not in PLACEHOLDER), shown


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, one in value.items():
            yield from (*_strings(key), *_strings(one))
    elif isinstance(value, list):
        for one in value:
            yield from _strings(one)
