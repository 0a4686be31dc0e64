"""A job from the order to its image, through the client and over real sockets."""

from __future__ import annotations

from pathlib import Path

import pytest
from mai_image.mai.errors import (
    AnswerError,
    AuthenticationError,
    Billed,
    BlockedError,
    BudgetError,
    ConnectionLostError,
    OptionError,
    PaymentError,
    PendingError,
    ServiceError,
    StoreError,
    UnavailableError,
)
from mai_image.mai.providers import PROVIDERS
from mai_image.mai.store import Store
from mai_image.mai.types import Edit, Generate, Reference
from scripted_server import png


def test_an_image_is_bought_kept_and_given_again_free(buyer) -> None:
    first = buyer.buy()
    assert (first.width, first.height, first.from_store) == (1024, 1024, False)
    again = buyer.buy()
    assert (again.from_store, again.cost_usd, again.image) == (True, 0.0, first.image)
    assert buyer.gateway.log.billed == 1
    assert buyer.outcomes == ["delivered"]
    (row,) = buyer.client.ledger.rows()
    assert row["job_id"] == row["request_id"] == first.request_id


def test_an_edit_sends_its_image_and_gets_another(buyer) -> None:
    model = PROVIDERS[buyer.service].test_model
    request = Edit(model, "make it night", (Reference(png(800, 600), "image/png", 800, 600),))
    result = buyer.client.submit(request, "test").result(30)
    assert result.width > result.height
    assert result.asked is None
    assert "edit" in buyer.gateway.log.entries[0].path


def test_progress_names_each_state(buyer) -> None:
    buyer.buy("a fox [[job queued=0.3 processing=1]]")
    phases = list(dict.fromkeys(progress.phase for progress in buyer.seen))
    assert [phase for phase in phases if phase != "waiting"] == ["sent", "queued", "processing"]


def test_the_jobs_id_is_written_down_before_the_first_poll(buyer, monkeypatch) -> None:
    order = []
    ledger, transport = buyer.client.ledger, buyer.client.transport
    set_job, exchange = ledger.set_job, transport.exchange
    monkeypatch.setattr(
        ledger, "set_job", lambda *args: (set_job(*args), order.append("written"))[0]
    )

    async def watched(request, headers, profile):
        order.append("polled" if request.method == "GET" else "sent")
        return await exchange(request, headers, profile)

    monkeypatch.setattr(transport, "exchange", watched)
    buyer.buy()
    assert order[:3] == ["sent", "written", "polled"]


@pytest.mark.parametrize(
    ("prompt", "kind", "billed", "outcome"),
    [
        ("[[job end=error reason=no_luck]]", ServiceError, Billed.NO, "refused"),
        ("[[job end=failed reason=no_luck]]", ServiceError, Billed.PERHAPS, "perhaps billed"),
        ("[[job end=error reason=NSFW_content]]", BlockedError, Billed.NO, "refused"),
        ("[[job id=no]]", AnswerError, Billed.PERHAPS, "perhaps billed"),
        ("[[fault status=402]]", PaymentError, Billed.NO, "refused"),
        ("[[fault status=401]]", AuthenticationError, Billed.NO, "refused"),
        ("[[fault status=500 billed=yes]]", UnavailableError, Billed.PERHAPS, "perhaps billed"),
        ("[[fault reset=answer]]", ConnectionLostError, Billed.PERHAPS, "perhaps billed"),
    ],
)
def test_each_end_is_an_error_that_says_what_it_cost(buyer, prompt, kind, billed, outcome) -> None:
    error = buyer.fail(f"a fox {prompt}")
    if "end=error" in prompt and buyer.service != "pixazo":  # which alone says that it is free
        billed = Billed.PERHAPS
        outcome = "perhaps billed" if kind is ServiceError else "blocked, perhaps billed"
    assert type(error) is kind
    assert (error.billed, buyer.outcomes) == (billed, [outcome])
    assert error.hint
    assert buyer.orders == 1


@pytest.mark.parametrize(
    "prompt",
    [
        "[[poll status=500 first=2]]",
        "[[poll status=502 body=html first=2]]",
        "[[poll status=429 retry-after=0.05 first=2]]",
        "[[poll status=404 first=2]]",
        "[[poll status=200 body=garbage first=2]]",
        "[[poll status=202 body=empty first=2]]",
        "[[poll reset=answer first=2]]",
        "[[poll cut=10 first=2]]",
        "[[media status=503 first=2]]",
        "[[media status=404 first=3]]",
        "[[media status=403 first=3]]",
        "[[media answer=html first=3]]",
        "[[media reset=middle first=2]]",
        "[[media cut=50% first=2]]",
        "[[media answer=truncated-picture first=2]]",
        "[[fault status=503 retry-after=0 first=2]]",
        "[[job media=data]]",
        "[[job media=url]]",
    ],
)
def test_what_passes_never_costs_the_image(buyer, prompt) -> None:
    assert buyer.buy(f"a fox {prompt}").width == 1024
    assert buyer.gateway.log.billed == 1
    assert buyer.outcomes == ["delivered"]


def test_a_poll_that_waits_for_a_retry_after_says_so(buyer) -> None:
    buyer.buy("a fox [[poll status=429 retry-after=0.2 first=1]]")
    assert "HTTP 429, asking again" in [progress.reason for progress in buyer.seen]


def test_a_huge_image_is_not_read_to_its_end(buyer) -> None:
    error = buyer.fail("a fox [[media answer=huge]]")
    assert "larger than 64 MiB" in str(error)
    assert buyer.asked("/media/") == 1


def test_the_key_goes_to_the_gateway_and_never_with_the_image(buyer) -> None:
    """The emulator refuses an image's request that brings a credential."""
    buyer.buy()
    (media,) = [entry for entry in buyer.gateway.log.entries if "/media/" in entry.path]
    assert media.status == 200


def test_a_refused_message_never_reaches_the_wire_or_the_ledger(buyer) -> None:
    request = Generate("MAI-Image-2.6", "a red fox", 1024, 1024)
    with pytest.raises(OptionError, match=r"has no MAI-Image-2\.6"):
        buyer.client.submit(request, "test").result(5)
    assert buyer.gateway.log.entries == ()
    assert buyer.client.ledger.rows() == []


def test_a_budget_holds_for_jobs_too(buyer) -> None:
    buyer.configure(more="[profiles.test.budget]\nday = 0.06\n")
    buyer.buy(seed=1)
    assert isinstance(buyer.fail(seed=2), BudgetError)
    assert buyer.gateway.log.billed == 1


def test_a_job_that_cant_be_written_down_is_followed_all_the_same(buyer, monkeypatch) -> None:
    def full(row: int, job_id: str) -> None:
        raise StoreError("The disk is full.")

    monkeypatch.setattr(buyer.client.ledger, "set_job", full)
    assert buyer.buy().width == 1024
    error = buyer.fail("a fox [[job media=foreign]]")
    assert error.billed is Billed.PERHAPS
    assert not isinstance(error, PendingError)
    assert buyer.outcomes == ["delivered", "perhaps billed"]


def test_no_error_progress_or_file_holds_the_key(buyer, tmp_path: Path, caplog) -> None:
    caplog.set_level("DEBUG")
    key = "canary-5b1e7a90"
    buyer.configure(key=key)
    said = str(buyer.fail()) + repr(buyer.seen) + caplog.text + repr(buyer.client.profiles)
    assert "Copy the key again from" in said
    files = [path.read_bytes() for path in (tmp_path / "mai").rglob("*") if path.is_file()]
    kept = [data for data in files if b"[profiles.test]" not in data]
    assert kept
    assert key not in said
    assert not any(key.encode() in data for data in kept)


def test_the_store_says_which_service_made_an_image(buyer) -> None:
    buyer.buy()
    (kept,) = Store(buyer.folder / "store").recent(5)
    assert kept["service"] == f"{buyer.service}-loopback"


def test_a_polls_retry_after_of_an_hour_keeps_no_finished_image_away(buyer, monkeypatch) -> None:
    monkeypatch.setattr("mai_image.mai.jobs.LONGEST_ASKED", 0.05)
    result = buyer.buy("a fox [[poll status=503 retry-after=3600 first=2]]")
    assert result.width == 1024
    assert buyer.outcomes == ["delivered"]
