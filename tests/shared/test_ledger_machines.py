"""Machines on one ledger: processes with nothing in common but the database."""

from __future__ import annotations

import subprocess

from ledger_helpers import DELIVERED, KEY, ledger_at, lines_of, run_sql, say, sent
from ledger_helpers import child as machine
from mai_image.mai.ledger import ImagePlace, Sum
from postgres_engine import PostgresEngine


def _together(machines: list[subprocess.Popen[str]]) -> list[list[str]]:
    """What each says after all of them are ready, once they may begin."""
    for each in machines:
        assert lines_of(each, 1) == ["ready"]
    for each in machines:
        say(each)
    return [each.communicate(timeout=120)[0].split() for each in machines]


def test_sixteen_at_a_budgets_edge_never_pass_it_together(postgres: str) -> None:
    body = """
        print("ready", flush=True)
        input()
        for number in range(4):
            try:
                row = opened(0.01, sys.argv[2] * 32 + str(number), Budget(day=0.2, month=5.0))
            except BudgetError:
                continue
            print("opened", flush=True)
            if number % 2:
                ledger.close(row, Outcome.DELIVERED, cost_usd=0.01)
    """
    said = _together([machine(body, postgres, f"{number:02d}") for number in range(16)])
    assert sum(map(len, said)) == 20
    ledger = ledger_at(postgres)
    spend = ledger.spend()
    assert spend.today.calls + spend.in_flight.calls == 20
    ledger.close_file()


def test_of_many_that_ask_for_the_same_at_once_one_may_buy_it(postgres: str) -> None:
    body = """
        from mai_image.mai.errors import RunningElsewhere
        print("ready", flush=True)
        input()
        try:
            opened()
        except RunningElsewhere:
            print("joins", flush=True)
        else:
            print("buys", flush=True)
        input()
    """
    machines = [machine(body, postgres) for _ in range(6)]
    for each in machines:
        assert lines_of(each, 1) == ["ready"]
    for each in machines:
        say(each)
    said = [lines_of(each, 1)[0] for each in machines]
    assert sorted(said) == ["buys"] + ["joins"] * 5
    for each in machines:
        each.kill()
        each.communicate(timeout=30)


def test_machines_and_a_database_that_are_killed_leave_books_that_add_up(
    own_postgres: PostgresEngine,
) -> None:
    """What a machine was told to be booked is booked; nothing is counted twice.

    Each machine may have a row more than it told of when the database dies, and one when it dies.
    """
    body = """
        from mai_image.mai.errors import StoreError
        ledger = Ledger(DatabaseServer(place, answer_seconds=2), spool=Path(sys.argv[2]))
        print("ready", flush=True)
        input()
        number = 0
        while True:
            number += 1
            try:
                row = sent(0.01, sys.argv[3] + str(number).zfill(63))
            except StoreError:
                time.sleep(0.05)
                continue
            print("sent", flush=True)
            ledger.close(row, Outcome.DELIVERED, cost_usd=0.01)
            print("closed", flush=True)
    """
    url = own_postgres.url()
    spools = [own_postgres.folder / f"unbooked-{number}.sqlite" for number in range(3)]
    machines = [machine(body, url, str(spool), str(i)) for i, spool in enumerate(spools)]
    for each in machines:
        assert lines_of(each, 1) == ["ready"]
        say(each)
    said = [lines_of(each, 6) for each in machines]
    own_postgres.kill()
    own_postgres.start()
    for each, lines in zip(machines, said, strict=True):
        lines += lines_of(each, 6)
        each.kill()
        assert each.stdout is not None
        lines += each.stdout.read().split()  # communicate() passes over what is buffered
        each.communicate(timeout=30)
    ledger = ledger_at(url)
    for spool in spools:
        each = ledger_at(url, spool=spool)
        each.book_spooled()
        each.close_file()
    ledger.recover()
    count = {word: sum(lines.count(word) for lines in said) for word in ("sent", "closed")}
    spend = ledger.spend()
    assert spend.in_flight.calls == 0
    assert spend.spent.total.calls >= count["closed"]
    assert count["sent"] <= spend.total.calls <= count["sent"] + 2 * len(machines)
    assert spend.total == Sum(round(spend.total.calls * 0.01, 9), spend.total.calls)
    ledger.close_file()


def test_an_image_that_was_bought_again_is_not_that_of_the_call_that_was_lost(
    postgres: str,
) -> None:
    """Nor while the call that bought it is still to be closed: the image may be brought sooner."""
    ledger = ledger_at(postgres, dead_after=0.0, machine="render-1", shares_images=True)
    lost = machine("sent(); print('sent', flush=True); input()", postgres)
    assert lines_of(lost, 1) == ["sent"]
    lost.kill()
    lost.communicate(timeout=30)
    run_sql(postgres, "UPDATE calls SET machine = 'render-1', image = 1")
    assert ledger.recover() == 1
    again = sent(ledger)
    ledger.set_image(KEY, ImagePlace.SHARED, 0.03)
    ledger.close(again, DELIVERED, cost_usd=0.03)
    ledger.set_image(KEY, ImagePlace.SHARED, 0.03)
    assert [row["outcome"] for row in ledger.rows()] == ["delivered", "perhaps billed"]
    assert ledger.spend().total == Sum(0.07, 2)
    ledger.close_file()
