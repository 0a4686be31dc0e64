"""Whole secrets leave every text, in time that grows with its length; logs lose their filter."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import os
import pickle
import threading
import time
from collections.abc import Callable
from urllib.parse import quote

import pytest
from mai_image.mai.auth import Headers, KeyCredential, Secret, redacted_loggers
from mai_image.mai.http import HttpRequest, Redactor, Transport
from mai_image.mai.profiles import Profile
from scripted_server import Scripted, refuse

KEY = "cAnAry-7Qx2Vb9/Lm4+Tz8Rk5Wd1Hs6Yp3"
"""As long as a real key, with characters that addresses and base64 spell apart."""

LOGGERS = ("httpx", "httpcore.connection", "httpcore.http11", "httpcore.proxy")

Spell = Callable[[str], str]


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def in_the_middle(lead: int) -> Spell:
    """Base64 of a longer text in which the key begins at this letter."""
    return lambda key: encoded("x" * lead + key + "y" * 5)


SPELLINGS: dict[str, Spell] = {
    "plain": str,
    "upper case": str.upper,
    "percent": lambda key: quote(key, safe=""),
    "percent in lower case": lambda key: quote(key, safe="").replace("%2F", "%2f"),
    "percent, every letter": lambda key: "".join(f"%{ord(letter):02X}" for letter in key),
    "base64": encoded,
    "base64 after one letter": in_the_middle(1),
    "base64 after two letters": in_the_middle(2),
    "base64 for addresses": lambda key: base64.urlsafe_b64encode(key.encode()).decode(),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_whole_secret_is_replaced_and_what_stands_around_it_stays(spelling: str) -> None:
    spelled = SPELLINGS[spelling](KEY)
    redactor = Redactor([KEY])
    text = redactor.text(f"Bad key {spelled}; é \ud800 again: {spelled}!")
    assert spelled not in text
    assert text.count("[hidden]") == 2
    assert text.startswith("Bad key ")
    assert "; é \ud800 again: " in text
    assert redactor.body(f"<{spelled}>".encode()).count(b"[hidden]") == 1


@pytest.mark.parametrize("character", ["+/", "?>", "~~"])
def test_both_alphabets_of_base64_are_known(character: str) -> None:
    key = f"0123456789{character * 4}abcdef"
    for encode in (base64.standard_b64encode, base64.urlsafe_b64encode):
        for lead in range(3):
            spelled = encode(b"x" * lead + key.encode()).decode()
            assert Redactor([key]).text(spelled).count("[hidden]") == 1


def test_every_word_of_a_key_is_a_secret_and_so_is_the_whole() -> None:
    redactor = Redactor(["first-word second-word"])
    assert redactor.text("a first-word second-word b") == "a [hidden] b"
    assert redactor.text("SECOND-WORD, first-word") == "[hidden], [hidden]"
    both = "first-word-0123456789 second-word-0123456789"
    assert Redactor([both]).text(quote(both)) == "[hidden]"


def test_the_word_bearer_before_a_token_is_no_secret() -> None:
    redactor = Redactor(["Bearer token-0123456789"])
    assert redactor.text("Bearer token-0123456789") == "Bearer [hidden]"
    assert redactor.text("Bearer realm") == "Bearer realm"


def test_what_is_too_short_is_no_secret() -> None:
    redactor = Redactor(["", "a", "ab-12", "-----------", "a b c d e f"])
    assert redactor.text("a ab-12 -----------") == "a ab-12 -----------"
    assert redactor.text("a b c d e f") == "[hidden]"


def test_a_short_key_is_only_looked_for_in_plain_text() -> None:
    """The emulator's key is a word that stands in its images and texts."""
    redactor = Redactor(["emulator"])
    spelled = encoded("an emulator's image")
    assert redactor.body(spelled.encode()) == spelled.encode()
    assert redactor.text("The emulators key, emul-ator.") == "The [hidden]s key, emul-ator."


def test_a_text_of_parsed_json_is_redacted_though_its_escapes_were_not() -> None:
    """Some servers write a slash as \\/ and a plus as \\u002b."""
    body = json.dumps(KEY).replace("/", "\\/").replace("+", "\\u002b").encode()
    redactor = Redactor([KEY])
    assert redactor.text(json.loads(redactor.body(body))) == "[hidden]"


@pytest.mark.parametrize("spelling", ["plain", "base64", "base64 after one letter"])
def test_an_image_that_holds_the_key_is_not_kept_as_it_was(spelling: str) -> None:
    spelled = SPELLINGS[spelling](KEY).encode()
    redactor = Redactor([KEY])
    image = base64.b64encode(os.urandom(300_000))
    assert redactor.body(image) == image
    assert redactor.body(image + spelled + image).startswith(image)
    assert redactor.body(image + spelled + image).count(b"[hidden]") == 1


def seconds(work: Callable[[], object]) -> float:
    """The least processor time of several."""
    times = []
    for _ in range(5):
        began = time.thread_time()
        work()
        times.append(time.thread_time() - began)
    return min(times)


REPEATING = "ab" * 40
HOSTILE = {
    "one letter": lambda size: "a" * size,
    "almost the key": lambda size: (REPEATING[:-1] + "_") * (size // 80),
    "the key without an end": lambda size: "ab" * (size // 2),
    "the key, again and again": lambda size: (REPEATING + " ") * (size // 81),
    "percent signs": lambda size: "%" * size,
    "encoded percent signs": lambda size: "%25" * (size // 3),
    "backslashes": lambda size: "\\" * size,
    "ampersands": lambda size: "&amp;" * (size // 5),
    "base64 of the key": lambda size: encoded(REPEATING * (size // 107)),
}


@pytest.mark.parametrize("secret", [REPEATING, "a" * 90, "ab" * 4000, KEY])
@pytest.mark.parametrize("hostile", HOSTILE)
def test_doubling_a_text_at_most_doubles_the_time(hostile: str, secret: str) -> None:
    """Three doublings, each 2.5 times the time at most. What takes no time at all may take more
    than that once it is too large for the processor's cache."""
    redactor = Redactor([secret])
    short, long = (HOSTILE[hostile](size) for size in (250_000, 2_000_000))
    once = seconds(lambda: redactor.text(short))
    assert seconds(lambda: redactor.text(long)) < 2.5**3 * once + 0.02
    short_body, long_body = short.encode(), long.encode()
    once = seconds(lambda: redactor.body(short_body))
    assert seconds(lambda: redactor.body(long_body)) < 2.5**3 * once + 0.02


def test_a_redactor_shows_and_stores_no_secret() -> None:
    redactor = Redactor([KEY])
    assert KEY not in repr(redactor)
    with pytest.raises(TypeError, match="can't be pickled"):
        pickle.dumps(redactor)


def filters() -> list[object]:
    """Those of an exchange: Entra ID's, which keeps tokens out, stays for ever."""
    found = [each for name in LOGGERS for each in logging.getLogger(name).filters]
    return [each for each in found if type(each).__name__ != "_TokenFilter"]


def test_logs_of_one_exchange_are_redacted_and_others_are_left_alone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    with redacted_loggers(LOGGERS, Redactor([KEY]).text):
        logging.getLogger("httpx").info("first %s", KEY)
        thread = threading.Thread(target=logging.getLogger("httpx").info, args=("other %s", KEY))
        thread.start()
        thread.join()
    logging.getLogger("httpx").info("second %s", KEY)
    assert [record.getMessage() for record in caplog.records] == [
        "first [hidden]",
        f"other {KEY}",
        f"second {KEY}",
    ]


def test_the_filter_stays_until_the_last_exchange_ends_however_they_overlap() -> None:
    assert filters() == []
    during: list[int] = []

    async def exchange(seconds: float) -> None:
        with redacted_loggers(LOGGERS, Redactor([KEY]).text):
            await asyncio.sleep(seconds)
            during.append(len(filters()))

    async def several() -> None:
        await asyncio.gather(*(exchange(delay / 100) for delay in (3, 1, 2)))

    threads = [threading.Thread(target=asyncio.run, args=(several(),)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert during == [len(LOGGERS)] * 12
    assert filters() == []


def test_the_filter_is_taken_off_after_a_failure_too() -> None:
    with pytest.raises(ZeroDivisionError), redacted_loggers(LOGGERS, Redactor([KEY]).text):
        raise ZeroDivisionError
    assert filters() == []


def test_a_long_answer_is_searched_outside_of_the_event_loop() -> None:
    """The largest answer that there can be keeps no other call waiting."""
    body = b'{"a": "' + b"\\" * 30_000_000 + b'"}'
    longest = 0.0

    async def run(url: str) -> bytes:
        nonlocal longest
        transport = Transport()
        key = KeyCredential(lambda: Secret(KEY), "a test")
        profile = Profile("test", "foundry", url, key, timeout=60.0)
        headers = Headers(await key.headers())
        request = HttpRequest("POST", f"{url}/x", json={})
        task = asyncio.ensure_future(transport.exchange(request, headers, profile))
        searching = {thread.ident for thread in threading.enumerate()}
        while not task.done():
            began = time.thread_time()
            await asyncio.sleep(0)
            longest = max(longest, time.thread_time() - began)
        assert {thread.ident for thread in threading.enumerate()} - searching
        await transport.close()
        return task.result().body

    server = Scripted(default=refuse(400, body))
    assert asyncio.run(run(server.url)) == body
    server.close()
    assert longest < 0.25
