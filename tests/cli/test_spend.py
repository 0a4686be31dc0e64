"""`mai-image spend`: the four sums, the doubtful calls, and what the invoice says of them."""

from __future__ import annotations

import json
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


@pytest.mark.parametrize(
    "words",
    [["1", "billed"], ["99", "free"], ["x", "free"], ["2", "paid"], ["9" * 5000, "free"]],
    ids=["delivered", "unknown", "no number", "no verdict", "too long"],
)
def test_settle_refuses_what_is_not_doubtful(run: Run, ledger: Ledger, capsys, words) -> None:
    assert run("spend", "--settle", *words) == 2
    assert ledger.spend().total.usd == pytest.approx(0.15)
    assert "--" in capsys.readouterr().err


def test_the_money_is_divided_by_who_spent_it(run: Run, tmp_path: Path, capsys) -> None:
    for machine, usd in (("one", 0.25), ("two", 0.5)):
        ledger = Ledger(tmp_path / "ledger.sqlite", machine=machine, user="ann")
        call = NewCall(machine.ljust(64, "0"), "work", "foundry", "m", "generate", usd)
        ledger.close(ledger.open(call, Budget()), Outcome.DELIVERED, cost_usd=usd)
        ledger.close_file()
    assert run("spend", "--by", "machine") == 0
    said = capsys.readouterr().out.splitlines()
    assert [line.split()[:3] for line in said[1:]] == [
        ["two", "0.5000", "1"],
        ["one", "0.2500", "1"],
    ]
    assert run("spend", "--by", "user", "--since", "1d", "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert said["shares"] == [{"name": "ann", "usd": 0.75, "calls": 2, "perhaps_usd": 0.0}]
    assert run("spend", "--by", "machine", "--csv", str(tmp_path / "shares.csv")) == 0
    lines = (tmp_path / "shares.csv").read_text().splitlines()
    assert lines[:2] == ["machine,usd,calls,perhaps_usd", "two,0.500000000,1,0.000000000"]
    assert run("spend", "--by", "day", "--since", "2999-01-01", "--json") == 0
    assert json.loads(capsys.readouterr().out)["shares"] == []
    assert run("spend", "--csv", "--since", "1d") == 0
    assert len(capsys.readouterr().out.splitlines()) == 3


def test_all_sums_can_be_had_as_json(run: Run, ledger: Ledger, capsys) -> None:
    assert run("spend", "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert said["total"] == {"usd": pytest.approx(0.15), "calls": 4}


@pytest.mark.parametrize("since", ["yesterday", "0d", "-1d", "2026-13-01", "99999999999d"])
def test_a_day_that_is_none_is_refused(run: Run, since: str, capsys) -> None:
    assert run("spend", "--by", "machine", f"--since={since}") == 2
    assert "is no day" in capsys.readouterr().err


def test_since_alone_divides_by_model(run: Run, ledger: Ledger, capsys) -> None:
    assert run("spend", "--since", "30d", "--json") == 0
    since = capsys.readouterr().out
    assert run("spend", "--since", "30d", "--json", "--by", "model") == 0
    assert since == capsys.readouterr().out
    assert json.loads(since)["shares"]


def test_each_answer_can_be_had_as_json(run: Run, ledger: Ledger, tmp_path: Path, capsys) -> None:
    assert run("spend", "--doubtful", "--json") == 0
    calls = json.loads(capsys.readouterr().out)
    assert calls
    number = str(calls[0]["row"])
    assert run("spend", "--settle", number, "free", "--json") == 0
    assert json.loads(capsys.readouterr().out)["row"] == int(number)
    file = str(tmp_path / "calls.csv")
    assert run("spend", "--csv", file, "--json") == 0
    assert json.loads(capsys.readouterr().out)["file"] == file


def test_a_file_that_cant_be_written_is_a_sentence(run: Run, tmp_path: Path, capsys) -> None:
    assert run("spend", "--csv", str(tmp_path / "nowhere" / "calls.csv")) == 1
    said = capsys.readouterr().err
    assert "calls.csv can't be used: No such file or directory.\nCheck the path" in said
