"""`mai-image spend`: the four sums, the doubtful calls, and what the invoice says of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from mai_image.cli import main
from mai_image.mai.ledger import Ledger, NewCall, Outcome
from mai_image.mai.types import Budget

Run = Callable[..., int]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs a command on a folder of its own."""
    return lambda *words: main(["--folder", str(tmp_path), *words])


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    """One call of every kind, each of which counts another amount."""
    ledger = Ledger(tmp_path / "ledger.sqlite")
    ends = [
        (0.01, Outcome.DELIVERED),
        (0.02, Outcome.BLOCKED),
        (0.04, Outcome.PERHAPS_BILLED),
        (0.08, Outcome.NOT_KEPT),
        (0.16, Outcome.REFUSED),
    ]
    for number, (usd, outcome) in enumerate(ends):
        call = NewCall(f"{number:064x}", "work", "foundry", "MAI-Image-2.6", "generate", usd)
        row = ledger.open(call, Budget())
        ledger.close(row, outcome, request_id=f"request-{number}", status=400 + number)
    ledger.open(NewCall("f" * 64, "work", "foundry", "MAI-Image-2.6", "generate", 0.32), Budget())
    return ledger


def amounts(said: str, name: str) -> list[float]:
    """The figures of a line."""
    (line,) = [line for line in said.splitlines() if line.startswith(name)]
    return [float(word) for word in line[len(name) :].replace("$", "").split() if "." in word]


def test_four_sums_stand_apart(run: Run, ledger: Ledger, capsys) -> None:
    assert run("spend") == 0
    said = capsys.readouterr().out
    assert amounts(said, "spent ") == [0.01] * 3
    assert amounts(said, "blocked (perhaps billed)") == [0.02] * 3
    assert amounts(said, "lost (perhaps billed)") == [0.12] * 3
    assert amounts(said, "in flight") == [0.32]
    assert amounts(said, "ever") == [0.15]


def test_doubtful_lists_each_with_its_number_and_request_id(
    run: Run, ledger: Ledger, capsys
) -> None:
    assert run("spend", "--doubtful") == 0
    said = capsys.readouterr().out
    for number in (1, 2, 3):
        assert f"request id request-{number}" in said
    assert "request-0" not in said
    assert "request-4" not in said
    assert "blocked, perhaps billed" in said


@pytest.mark.parametrize(("verdict", "ever"), [("billed", 0.15), ("free", 0.11)])
def test_settle_closes_one_as_the_invoice_says(
    run: Run, ledger: Ledger, capsys, verdict: str, ever: float
) -> None:
    assert run("spend", "--settle", "3", verdict) == 0
    spend = ledger.spend()
    assert [call.row for call in spend.perhaps_billed] == [4, 2]
    assert spend.total.usd == pytest.approx(ever)
    assert spend.spent.total.usd == pytest.approx(0.05 if verdict == "billed" else 0.01)
    assert run("spend", "--settle", "3", verdict) == 2, "it is settled already"


@pytest.mark.parametrize("words", [["1", "billed"], ["99", "free"], ["x", "free"], ["2", "paid"]])
def test_settle_refuses_what_is_not_doubtful(run: Run, ledger: Ledger, capsys, words) -> None:
    assert run("spend", "--settle", *words) == 2
    assert ledger.spend().total.usd == pytest.approx(0.15)
    assert "--" in capsys.readouterr().err
