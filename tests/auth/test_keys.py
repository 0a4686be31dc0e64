"""Keys: read fresh, cleaned of what pasting brings, refused if they can't be sent, never shown."""

from __future__ import annotations

import asyncio
import copy
import os
import pickle
import traceback
from dataclasses import asdict
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mai_image.mai.auth import (
    KeyCredential,
    Secret,
    header_problem,
    key_from_file,
    key_from_variable,
    quote_unless_key,
)
from mai_image.mai.errors import CredentialError
from mai_image.mai.profiles import Profile

KEY = "canary4f2b9c8d7e6a5f4b3c2d1e0f9a8b7c6d"


def sent(credential: KeyCredential) -> dict[str, str]:
    return asyncio.run(credential.headers())


def of(text: str) -> KeyCredential:
    return KeyCredential(lambda: Secret(text), "a test")


def refusal(credential: KeyCredential) -> str:
    """The error's text with every frame's variables, where a key would show."""
    with pytest.raises(CredentialError) as caught:
        sent(credential)
    trace = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    frames = [frame for frame in trace.stack if f"{os.sep}mai{os.sep}" in frame.filename]
    assert frames
    assert KEY not in "".join(str(frame.locals) for frame in frames)
    assert KEY not in "".join(traceback.format_exception(caught.value))
    return str(caught.value)


@pytest.mark.parametrize("pasted", [KEY, f"  {KEY}\r\n", f'"{KEY}"', f" '{KEY}' ", f"“{KEY}”"])
def test_white_space_and_quotes_around_a_key_are_taken_off(pasted: str) -> None:
    assert sent(of(pasted)) == {"api-key": KEY}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"{KEY}\r\nHost: evil.com", "a line break"),
        (f"{KEY}\x00", "a line break or another control character"),
        (f"{KEY}\x7fx", "control character"),
        (f"{KEY}é", "aren't plain ASCII"),
        (f"{KEY}\u200b", "aren't plain ASCII"),
        (KEY * 300, "longer than 8192"),
        ('""', "is empty"),
    ],
)
def test_a_key_that_can_not_be_a_header_is_refused_without_showing_it(text: str, said: str) -> None:
    assert said in refusal(of(text))


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=30))
def test_what_is_sent_is_always_one_line_of_printable_ascii(text: str) -> None:
    try:
        value = sent(of(text))["api-key"]
    except CredentialError:
        return
    assert value
    assert all(" " <= letter <= "~" for letter in value)


def test_an_unset_variable_says_so() -> None:
    credential = KeyCredential(key_from_variable({"X": " "}.get, Secret("X")), "x")
    assert "The environment variable 'X' that holds the key isn't set" in refusal(credential)


def test_a_key_in_the_place_of_a_variables_name_is_not_shown() -> None:
    credential = KeyCredential(key_from_variable({}.get, Secret(KEY)), "x")
    assert "not shown: it looks like a key" in refusal(credential)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_file_is_read_in_the_encodings_of_windows_too(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "key"
    path.write_text(KEY + "\n", encoding=encoding)
    assert sent(KeyCredential(key_from_file(path), "a file")) == {"api-key": KEY}


def test_a_rotated_file_is_read_anew(tmp_path: Path) -> None:
    path = tmp_path / "key"
    credential = KeyCredential(key_from_file(path), "a file")
    for key in ("one", "two"):
        path.write_text(key)
        assert sent(credential) == {"api-key": key}


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (None, "isn't there"),
        (b"", "is empty"),
        (b" \n", "is empty"),
        (b"\x80\x81", "isn't a text file"),
        (b"x" * 9000, "longer than 8192 bytes"),
    ],
)
def test_a_file_without_a_key_says_what_is_wrong(
    tmp_path: Path, data: bytes | None, said: str
) -> None:
    path = tmp_path / "key"
    if data is not None:
        path.write_bytes(data)
    assert said in refusal(KeyCredential(key_from_file(path), "a file"))


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    assert "isn't a file" in refusal(KeyCredential(key_from_file(tmp_path), "a file"))


def test_a_file_of_another_user_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "key"
    path.write_text(KEY)

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)  # root, as which tests may run, can read any file
    assert "can't be read (PermissionError)" in refusal(
        KeyCredential(key_from_file(path), "a file")
    )


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_does_not_stop_the_service(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert "isn't a file" in refusal(KeyCredential(key_from_file(tmp_path / "pipe"), "a file"))


def test_no_form_of_a_credential_shows_or_stores_its_key() -> None:
    secret = Secret(KEY)
    credential = KeyCredential(lambda: secret, "a test")
    profile = Profile("a", "foundry", "https://x.example.com", credential)
    shown = (
        f"{secret!r} {secret} {secret:} {credential!r} {credential} {profile!r} {vars(credential)}"
    )
    assert KEY not in shown
    assert KEY not in repr(asdict(profile))
    for thing in (secret, credential, profile, [credential]):
        with pytest.raises(TypeError, match="can't be pickled"):
            pickle.dumps(thing)
    assert copy.deepcopy(credential) is credential
    assert copy.copy(secret) is secret


@pytest.mark.parametrize("name", ["api-key", "Ocp-Apim-Subscription-Key", "Authorization", "X-K1"])
def test_a_gateways_header_may_be_any_name_that_is_its_own(name: str) -> None:
    assert header_problem(name) is None


@pytest.mark.parametrize(
    "name",
    [
        *("", "a b", "a:b", "a\r\nb", "é", "1a", "Host", "content-length", "Transfer-Encoding"),
        *("TE", "connection", "cookie", "Proxy-Authorization", "x" * 65),
    ],
)
def test_a_header_that_http_needs_is_refused(name: str) -> None:
    assert header_problem(name)


@pytest.mark.parametrize(
    "text", ["AZURE_API_KEY", "MAI_KEY_20261120", "/run/secrets/mai.key", "C:\\keys\\mai-2.txt"]
)
def test_names_and_paths_are_shown(text: str) -> None:
    assert repr(text) == quote_unless_key(text)


@pytest.mark.parametrize("text", [KEY, "9" * 32, "aB" * 42, "x/" * 200])
def test_what_looks_like_a_key_is_not(text: str) -> None:
    assert text not in quote_unless_key(text)
