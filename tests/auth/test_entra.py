"""Entra ID's tokens with a token source of the test's own: shared, renewed, bounded, remembered."""

from __future__ import annotations

import asyncio
import copy
import pickle
import sys
import threading
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from mai_image.mai.auth import METHODS, SCOPE, Entra, EntraCredential, azure_identity
from mai_image.mai.auth.entra import MARGIN, REMEMBER, RENEW_PAUSE
from mai_image.mai.errors import CredentialError

HOUR = 3600.0


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


class Source:
    """Makes token sources; each answer is a life in seconds, a token object or an exception."""

    def __init__(self, clock: Clock, *answers: object) -> None:
        self.clock = clock
        self.answers = list(answers)
        self.built = 0
        self.asked = 0
        self.hold: threading.Event | None = None

    def __call__(self, entra: Entra) -> Source:
        self.built += 1
        return self

    def get_token(self, *scopes: str) -> object:
        assert scopes == (SCOPE,)
        self.asked += 1
        number = self.asked
        answer = self.answers.pop(0) if self.answers else HOUR
        if self.hold is not None:
            assert self.hold.wait(5)
        if isinstance(answer, Exception):
            raise answer
        if not isinstance(answer, float):
            return answer
        return SimpleNamespace(token=f"token-{number}", expires_on=int(self.clock.now + answer))


def bearer(credential: EntraCredential, renew: bool = False) -> str:
    headers = asyncio.run(credential.headers(renew=renew))
    assert list(headers) == ["Authorization"]
    return headers["Authorization"].removeprefix("Bearer ")


def refusal(credential: EntraCredential, renew: bool = False) -> str:
    with pytest.raises(CredentialError) as caught:
        asyncio.run(credential.headers(renew=renew))
    return str(caught.value)


def has_token(credential: EntraCredential) -> bool:
    try:
        return bool(bearer(credential))
    except CredentialError:
        return False


def made(*answers: object, **options: Any) -> tuple[EntraCredential, Source, Clock]:
    clock = Clock()
    source = Source(clock, *answers)
    entra = options.pop("entra", Entra())
    return EntraCredential(entra, source, clock=clock, **options), source, clock


def wait_for(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.005)


def test_one_token_serves_every_loop_until_it_is_about_to_end() -> None:
    credential, source, clock = made()
    assert [bearer(credential) for _ in range(3)] == ["token-1"] * 3
    clock.now += HOUR - MARGIN - 1
    assert bearer(credential) == "token-1"
    clock.now += 2
    assert bearer(credential) == "token-2"
    assert (source.built, source.asked) == (1, 2)


def test_callers_at_the_same_time_share_one_request() -> None:
    credential, source, _ = made()
    source.hold = threading.Event()

    async def batch() -> list[dict[str, str]]:
        calls = [asyncio.create_task(credential.headers()) for _ in range(16)]
        await asyncio.sleep(0.05)
        assert source.hold is not None
        source.hold.set()
        return await asyncio.gather(*calls)

    assert asyncio.run(batch()) == [{"Authorization": "Bearer token-1"}] * 16
    assert source.asked == 1


def test_one_caller_who_gives_up_does_not_take_the_token_from_the_others() -> None:
    credential, source, _ = made()
    source.hold = threading.Event()

    async def two() -> dict[str, str]:
        first = asyncio.create_task(credential.headers())
        second = asyncio.create_task(credential.headers())
        await asyncio.sleep(0.02)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        assert source.hold is not None
        source.hold.set()
        return await second

    assert asyncio.run(two()) == {"Authorization": "Bearer token-1"}
    assert source.asked == 1


def test_a_refused_token_is_replaced_by_one_from_a_fresh_source() -> None:
    credential, source, _ = made()
    assert bearer(credential) == "token-1"
    assert bearer(credential, renew=True) == "token-2"
    assert bearer(credential) == "token-2"
    assert source.built == 2


def test_sixteen_refusals_of_one_token_renew_it_once() -> None:
    credential, source, clock = made()
    bearer(credential)
    assert {bearer(credential, renew=True) for _ in range(16)} == {"token-2"}
    assert source.asked == 2
    clock.now += RENEW_PAUSE + 1
    assert bearer(credential, renew=True) == "token-3"


def test_a_failure_is_remembered_for_a_while_and_then_tried_again() -> None:
    credential, source, clock = made(RuntimeError("no luck"))
    assert "no luck" in refusal(credential)
    assert "no luck" in refusal(credential)
    assert source.asked == 1
    clock.now += REMEMBER + 1
    assert bearer(credential) == "token-2"


def test_a_token_that_can_not_be_renewed_is_used_while_it_lasts() -> None:
    credential, source, clock = made(HOUR, RuntimeError("down"), RuntimeError("down"))
    bearer(credential)
    clock.now += HOUR - 60
    assert bearer(credential) == "token-1"
    assert bearer(credential) == "token-1"
    assert source.asked == 2
    clock.now += 61
    assert "down" in refusal(credential)


def test_a_short_token_is_renewed_at_half_its_life_and_not_at_every_call() -> None:
    credential, source, clock = made(100.0)
    assert bearer(credential) == bearer(credential) == "token-1"
    clock.now += 51
    assert bearer(credential) == "token-2"
    assert source.asked == 2


def test_refresh_on_of_the_service_is_honoured() -> None:
    token = SimpleNamespace(token="early", expires_on=1_000_000 + 7200, refresh_on=1_000_000 + 600)
    credential, _, clock = made(token)
    assert bearer(credential) == "early"
    clock.now += 599
    assert bearer(credential) == "early"
    clock.now += 2
    assert bearer(credential) == "token-2"


def test_a_token_that_has_ended_already_is_used_once_only() -> None:
    credential, source, _ = made(-5.0, -5.0)
    assert [bearer(credential), bearer(credential)] == ["token-1", "token-2"]
    assert source.asked == 2


@pytest.mark.parametrize("token", ["", "a b", "a\r\nHost: x", "é", "x" * 70_000])
def test_what_can_not_be_a_header_is_no_token(token: str) -> None:
    credential, _, _ = made(SimpleNamespace(token=token, expires_on=2_000_000))
    assert "isn't a token" in refusal(credential)


@pytest.mark.parametrize("answer", [SimpleNamespace(), None, SimpleNamespace(token="t")])
def test_an_answer_of_another_shape_is_a_credential_error(answer: object) -> None:
    credential, _, _ = made(answer)
    assert "No Entra ID token" in refusal(credential)


def test_a_silent_source_is_waited_for_no_longer_than_said_and_named() -> None:
    credential, source, _ = made(wait=0.05)
    source.hold = threading.Event()
    source.credentials = (SimpleNamespace(_credential_name="AzureCliCredential"),)  # type: ignore[attr-defined]
    began = time.monotonic()
    said = refusal(credential)
    assert time.monotonic() - began < 2
    assert "no answer within 0.05 s. Tried: DefaultAzureCredential (AzureCliCredential)." in said
    assert METHODS["default"].hint in said
    assert "no answer" in refusal(credential)
    assert source.asked == 1
    source.hold.set()
    wait_for(lambda: has_token(credential))
    assert bearer(credential) == "token-1"


def test_a_401_while_a_token_is_requested_joins_that_request() -> None:
    credential, source, clock = made()
    assert bearer(credential) == "token-1"
    clock.now += HOUR - MARGIN + 1
    source.hold = threading.Event()

    async def both() -> list[dict[str, str]]:
        calls = [asyncio.create_task(credential.headers(renew=renew)) for renew in (False, True)]
        await asyncio.sleep(0.05)
        assert source.hold is not None
        source.hold.set()
        return await asyncio.gather(*calls)

    assert asyncio.run(both()) == [{"Authorization": "Bearer token-2"}] * 2
    assert source.asked == 2


def test_a_refused_token_is_not_used_again_when_none_else_is_to_be_had() -> None:
    credential, source, clock = made(HOUR, RuntimeError("down"))
    bearer(credential)
    assert "down" in refusal(credential, renew=True)
    assert "down" in refusal(credential)
    assert source.asked == 2
    clock.now += REMEMBER + 1
    assert bearer(credential) == "token-3"


def test_after_a_silence_a_new_request_is_made() -> None:
    credential, source, clock = made(wait=0.05)
    stuck = source.hold = threading.Event()
    refusal(credential)
    source.hold = None
    clock.now += REMEMBER + 1
    assert bearer(credential) == "token-2"
    stuck.set()
    time.sleep(0.02)
    assert bearer(credential) == "token-2"


def test_the_chains_failures_are_a_line_for_each_credential() -> None:
    text = (
        "DefaultAzureCredential failed to retrieve a token.\nAttempted credentials:\n"
        "\tEnvironmentCredential: Variables are not configured. Visit https://aka.ms/x for more.\n"
        "More of it.\n\tAzureCliCredential: Azure CLI not found on path\n"
    )
    credential, _, _ = made(RuntimeError(text))
    lines = refusal(credential).splitlines()
    assert lines[0] == "No Entra ID token: tried, without success:"
    assert lines[1] == "EnvironmentCredential: Variables are not configured."
    assert lines[2] == "AzureCliCredential: Azure CLI not found on path"
    assert lines[3] == METHODS["default"].hint


def test_a_hostile_text_is_redacted_printable_and_short() -> None:
    text = "bad secret canary-1 \x1b[31m" + "x" * 5000
    credential, _, _ = made(RuntimeError(text), redact=lambda text: text.replace("canary-1", "…"))
    said = refusal(credential)
    assert "canary-1" not in said
    assert "\x1b" not in said
    assert len(said) < 700


def test_a_missing_azure_identity_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "azure.identity", None)
    credential = EntraCredential(Entra(), azure_identity(print))
    assert "pip install azure-identity" in refusal(credential)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_builds_its_credential_of_azure_identity(method: str) -> None:
    takes = METHODS[method].settings
    entra = Entra(
        method,
        "11111111-1111-1111-1111-111111111111" if "client_id" in takes else None,
        "tenant" if "tenant_id" in takes else None,
        discovery=False,
    )
    provider = azure_identity(print)(entra)
    assert type(provider).__name__ == METHODS[method].class_name
    assert METHODS[method].hint


def test_only_a_device_code_can_not_be_renewed() -> None:
    assert [m for m in METHODS if not made(entra=Entra(m))[0].can_renew] == ["device_code"]


def test_a_token_is_in_no_repr_and_no_pickle() -> None:
    credential, _, _ = made()
    bearer(credential)
    assert "token-1" not in f"{credential!r} {vars(credential)}"
    assert credential.describe() == "Entra ID (DefaultAzureCredential)"
    with pytest.raises(TypeError, match="can't be pickled"):
        pickle.dumps(credential)
    assert copy.deepcopy(credential) is credential
