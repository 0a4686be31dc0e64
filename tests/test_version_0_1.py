"""A store and a ledger of version 0.1: served free, and with the sums that they had."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mai_image.mai.ledger import Ledger, Sum
from mai_image.mai.store import Order, Store
from mai_image.mai.types import Usage

WRITTEN = Path(__file__).parent / "data" / "version_0_1"

EXPECTED: dict[str, Any] = json.loads((WRITTEN / "expected.json").read_bytes())

TWO_HOURS = 7200.0
"""A call of another machine is taken for running for one hour."""

KEPT = [request for request in EXPECTED["requests"] if request["picture"]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the data folder of version 0.1."""
    return shutil.copytree(WRITTEN, tmp_path / "data")


@pytest.fixture
def ledger(folder: Path) -> Iterator[Ledger]:
    ledger = Ledger(folder / "ledger.sqlite", lambda: EXPECTED["made_at"] + TWO_HOURS)
    yield ledger
    ledger.close_file()


@pytest.fixture
def store(folder: Path) -> Iterator[Store]:
    store = Store(folder / "store")
    yield store
    store.close_file()


@pytest.mark.parametrize("request_", KEPT, ids=lambda request: request["key"][:8])
def test_an_image_is_served_free_by_its_old_key(store: Store, request_: dict[str, Any]) -> None:
    found, facts = store.get(request_["key"]), request_["picture"]
    assert found is not None
    assert hashlib.sha256(found.image).hexdigest() == facts["sha256"]
    assert (found.from_store, found.cost_usd) == (True, 0.0)
    assert (found.media_type, found.width, found.height) == (
        facts["media_type"],
        facts["width"],
        facts["height"],
    )
    assert found.model == request_["fields"]["model"]
    assert (None if found.asked is None else list(found.asked)) == facts["asked"]
    assert found.usage == (None if facts["usage"] is None else Usage(**facts["usage"]))
    assert (found.request_id, found.seconds) == (facts["request_id"], facts["seconds"])
    assert list(found.notes) == facts["notes"]
    assert not (store.folder / "damaged").exists()


def test_the_index_lists_all_images_and_goes_on(store: Store) -> None:
    newest_first = sorted(EXPECTED["pictures"], key=lambda one: one["kept_at"], reverse=True)
    assert [facts["key"] for facts in store.recent(100)] == [one["key"] for one in newest_first]
    found = store.get(KEPT[0]["key"])
    assert found is not None
    store.put("a" * 64, found, Order("new", "foundry", "work"))
    assert [facts["key"] for facts in store.recent(1)] == ["a" * 64]
    assert len(store.recent(100)) == len(KEPT) + 1


def test_the_rows_are_as_they_were(ledger: Ledger) -> None:
    later = {"machine": None, "user": None}
    assert ledger.rows(None) == [{**row, **later} for row in EXPECTED["rows"]]
    outcomes = Counter(row["outcome"] for row in ledger.rows(None))
    assert outcomes == EXPECTED["rows_by_outcome"]


def test_the_sums_are_as_they_were(ledger: Ledger) -> None:
    spend, expected = ledger.spend(), EXPECTED["spend"]
    assert spend.total == Sum(**expected["total"])
    assert spend.in_flight == Sum(**expected["in_flight"])
    by_model = {name: Sum(**total) for name, total in expected["by_model"].items()}
    assert {name: sums.total for name, sums in spend.by_model.items()} == by_model
    by_profile = {name: Sum(**total) for name, total in expected["by_profile"].items()}
    assert {name: sums.total for name, sums in spend.by_profile.items()} == by_profile
    lost = [(call.row, call.usd, call.request_id) for call in spend.perhaps_billed]
    assert lost == [
        (call["row"], call["usd"], call["request_id"]) for call in expected["perhaps_billed"]
    ]


def test_the_unfinished_job_outlives_a_start_and_is_found(ledger: Ledger, store: Store) -> None:
    assert ledger.recover(lambda key: store.get(key) is not None) == 0
    job = EXPECTED["job"]
    found = ledger.find_job(job["key"])
    assert found is not None
    assert (found.job_id, found.profile) == (job["job_id"], job["profile"])
    assert ledger.find_job(KEPT[0]["key"]) is None
