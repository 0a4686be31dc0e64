"""What holds for every provider, whatever its service does: one bill, the ledger never below.

Each case is a client of its own against the emulator, which plays every service and counts what it
would bill. A further provider gets all of this by standing in PROVIDERS.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from client_harness import quick
from mai_image import emulator
from mai_image.emulator import Emulator
from mai_image.mai.client import Client
from mai_image.mai.errors import (
    AuthenticationError,
    Billed,
    BlockedError,
    ForbiddenError,
    MaiError,
    PaymentError,
    PendingError,
)
from mai_image.mai.examination import Examination, Step
from mai_image.mai.profiles import Profiles
from mai_image.mai.providers import PROVIDERS
from mai_image.mai.types import Edit, Generate, Result
from services import EVERY, WITH_JOBS, edit_of, generation, profile_text

FAULTS = (
    "status=400", "status=400 body=html", "status=401", "status=402", "status=403", "status=404",
    "status=408", "status=410", "status=413", "status=422", "status=429 retry-after=0 first=2",
    "status=499", "status=499 message=gone", "status=500", "status=500 body=garbage",
    "status=502 body=html", "status=503", "status=503 retry-after=0 first=2", "status=504",
    "status=302 location=https://elsewhere.example/", "status=200 body=empty",
    "status=200 body=garbage", "status=204 body=empty", "answer=html", "answer=garbage",
    "answer=list", "answer=empty-body", "answer=cut-json", "reset=answer", "reset=middle",
    "cut=0", "cut=50%", "cut=99%", "drip=40", "answer=block-prompt", "answer=block-result",
    "answer=prompt-too-long",
)  # fmt: skip
"""What the request that is paid for can meet, at any service."""

IN_ANSWERS = (
    "answer=empty-data", "answer=error-body", "answer=no-picture", "answer=wrong-shape",
    "answer=truncated-base64", "answer=bad-base64", "answer=not-a-picture", "answer=bomb",
    "answer=truncated-picture", "answer=wrong-crc", "answer=url", "answer=webp", "answer=huge",
    "usage=absent", "tokens=9e15",
)  # fmt: skip
"""What an answer can hold in place of the image, where it is no job."""

JOB_FAULTS = (
    "[[job end=failed]]", "[[job end=failed reason=content_policy_violation]]", "[[job end=error]]",
    "[[job media=none]]", "[[job media=foreign]]", "[[job media=data]]", "[[job id=no]]",
    "[[job forget=1]]", "[[job processing=60]]", "[[poll status=500]]", "[[poll status=404]]",
    "[[poll status=500 first=2]]", "[[poll answer=html]]", "[[poll answer=garbage]]",
    "[[poll reset=answer]]", "[[poll cut=50%]]", "[[poll status=302 location=https://x.example/]]",
    "[[media status=403]]", "[[media status=500 first=2]]", "[[media cut=50%]]",
    "[[media answer=webp]]", "[[media answer=not-a-picture]]", "[[media reset=middle]]",
    "[[media status=301 location=https://x.example/a.png]]", "[[result status=500]]",
    "[[result status=400]]", "[[result status=422 body=html]]", "[[result answer=garbage]]",
    "[[result reset=answer first=2]]", "[[result cut=50%]]", "[[poll drip=40]]",
)  # fmt: skip
"""What a job, its status, its result and its image can meet."""


@pytest.fixture(scope="module")
def played() -> Iterator[Emulator]:
    with emulator.start() as service:
        yield service


class Account:
    """A client of one service on a folder of its own, and the service's bill."""

    def __init__(self, folder: Path, service: str, played: Emulator, key: str = "emulator") -> None:
        folder.mkdir(mode=0o700)
        text = profile_text(service, played.url, key=key, timeout=1, connect_timeout=5)
        (folder / "profiles.toml").write_text(text, encoding="utf-8")
        self.client = Client(folder, Profiles(folder, {}), poll=0.02)
        self.service, self.log = service, played.log
        self.log.clear()

    def ask(self, request: Generate | Edit) -> Result | MaiError:
        """The image, or the error instead."""
        try:
            return self.client.submit(request, "test").result(60)
        except MaiError as error:
            return error

    @property
    def counted_usd(self) -> float:
        """What the ledger counts: spent, perhaps billed, and still in flight."""
        spend = self.client.ledger.spend()
        return spend.total.usd + spend.in_flight.usd

    @property
    def orders(self) -> int:
        """Requests that can cost something."""
        return sum(entry.method == "POST" for entry in self.log.entries)


@pytest.fixture
def account(tmp_path: Path, service: str, played: Emulator, monkeypatch) -> Iterator[Account]:
    quick(monkeypatch)
    account = Account(tmp_path / "mai", service, played)
    yield account
    account.client.close(grace=0)


@pytest.fixture(params=EVERY)
def service(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def check_bill(account: Account, outcome: Result | MaiError) -> None:
    """At most one image was billed, and what was billed is counted."""
    assert account.log.billed <= 1
    assert account.counted_usd >= account.log.billed_usd - 1e-9, outcome
    if isinstance(outcome, MaiError) and outcome.billed is Billed.NO:
        assert account.log.billed == 0 or isinstance(outcome, PendingError), outcome


def test_an_image_and_an_edit_cost_what_the_service_bills_and_are_bought_once(account) -> None:
    requests = (generation(account.service), edit_of(account.service))
    for request in requests:
        bought = account.ask(request)
        assert isinstance(bought, Result), bought
        assert bought.model == request.model
        again = account.ask(request)
        assert isinstance(again, Result)
        assert (again.from_store, again.image) == (True, bought.image)
    assert account.log.billed == account.orders == len(requests)
    assert account.counted_usd == pytest.approx(account.log.billed_usd, abs=1e-3)
    assert account.counted_usd >= account.log.billed_usd - 1e-9


@pytest.mark.parametrize("fault", FAULTS)
def test_whatever_a_service_answers_nothing_is_bought_twice_or_counted_free(account, fault) -> None:
    outcome = account.ask(generation(account.service, f"a fox [[fault {fault}]]"))
    check_bill(account, outcome)


@pytest.mark.parametrize("service", [name for name in EVERY if name not in WITH_JOBS])
@pytest.mark.parametrize("fault", IN_ANSWERS)
def test_whatever_an_answer_holds_its_bill_is_counted(account, fault) -> None:
    outcome = account.ask(generation(account.service, f"a fox [[fault {fault}]]"))
    check_bill(account, outcome)


@pytest.mark.parametrize("service", WITH_JOBS)
@pytest.mark.parametrize("fault", JOB_FAULTS)
def test_whatever_becomes_of_a_job_its_bill_is_counted(account, fault) -> None:
    request = generation(account.service, f"a fox {fault}")
    outcome = account.ask(request)
    check_bill(account, outcome)
    if isinstance(outcome, PendingError):
        check_bill(account, account.ask(request))
        assert account.orders == 1


@pytest.mark.parametrize(
    ("fault", "kind"),
    [("401", AuthenticationError), ("402", PaymentError), ("403", ForbiddenError)],
)
def test_a_refusal_before_any_work_is_free_and_says_what_to_do(account, fault, kind) -> None:
    error = account.ask(generation(account.service, f"a fox [[fault status={fault}]]"))
    assert type(error) is kind
    assert error.billed is Billed.NO
    assert error.hint
    assert account.counted_usd == 0.0


def test_a_blocked_prompt_is_blocked_at_every_service(account) -> None:
    error = account.ask(generation(account.service, "blockprompt"))
    assert isinstance(error, BlockedError)
    assert error.billed is Billed.PERHAPS


def test_the_free_check_finds_a_good_key_good_and_a_wrong_one_wrong(
    tmp_path: Path, service: str, played: Emulator
) -> None:
    for key, wrong in (("emulator", False), ("another key", True)):
        account = Account(tmp_path / key, service, played, key=key)
        findings = list(Examination(account.client, "test").findings())
        account.client.close(grace=0)
        failed = [finding.step for finding in findings if finding.error is not None]
        assert failed == ([Step.AUTHENTICATION] if wrong else [])
        assert account.log.billed == 0


def test_a_provider_takes_the_models_that_it_names_and_no_other(service: str) -> None:
    provider = PROVIDERS[service]
    assert not provider.models or provider.test_model in provider.models
    for model in provider.models:
        provider.validate(Generate(model, "a red fox", 1024, 1024))
    if provider.models:
        with pytest.raises(MaiError, match=provider.models[0]):
            provider.validate(Generate("MAI-Image-2", "a red fox", 1024, 1024))
