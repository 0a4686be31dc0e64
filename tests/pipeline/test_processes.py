"""Two processes on one quota, one budget and one store."""

from __future__ import annotations

import dataclasses
import re
import threading
import time
from collections import deque
from pathlib import Path

import pytest
from buyer_process import buyer, end
from client_harness import (
    COST,
    ESTIMATE,
    Harness,
    ask,
    batch,
    draw,
    draw_after,
    drawn,
    failure,
    generate,
    image,
    outcome,
    until,
)
from mai_image.mai.client import Client
from mai_image.mai.errors import Billed, BudgetError
from mai_image.mai.ledger import Ledger
from mai_image.mai.profiles import Profile, Profiles
from mai_image.mai.store import Store
from mai_image.mai.types import Budget, Progress
from scripted_server import Connection, ReceivedRequest


def test_the_same_batch_in_two_processes_is_bought_once(harness: Harness):
    """Both get every image, and their costs add up to one batch."""
    harness.server.default = draw_after(lambda: time.sleep(0.1))
    children = [buyer(harness, list(range(8))) for _ in range(2)]
    found = [end(child) for child in children]
    costs = [[float(str(cost)) for cost in each or []] for each in found]
    assert [len(each) for each in costs] == [8, 8]
    assert sum(map(sum, costs)) == pytest.approx(8 * COST)
    assert len(harness.server.billed) == len(harness.server.requests) == 8
    harness.balance(batch(8))


def test_a_request_that_another_process_has_out_is_joined(harness: Harness):
    gate = threading.Event()
    harness.server.default = draw_after(lambda: gate.wait(10))
    other = buyer(harness, [0])
    until(lambda: len(harness.server.requests) == 1, 10)
    heard: list[str] = []
    future = harness.start().submit(generate(0), on_progress=lambda now: heard.append(now.phase))
    until(lambda: heard.count("joined") >= 2)
    gate.set()
    assert image(outcome(future)).cost_usd == 0.0
    assert end(other) == [pytest.approx(COST)]
    assert len(harness.server.requests) == 1
    assert "sent" not in heard
    harness.balance([generate(0)])


def test_an_image_that_lands_between_look_and_row_is_not_bought_again(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
):
    """Another process lands it after this one looked into the store, before its row is open."""
    (request,) = requests = batch(1)
    ask(harness.start(), requests)
    harness.stop()
    looks: list[str] = []
    get = Store.get

    def blind_at_first(self: Store, key: str) -> object:
        looks.append(key)
        return None if len(looks) == 1 else get(self, key)

    with monkeypatch.context() as late:
        late.setattr(Store, "get", blind_at_first)
        assert image(ask(harness.start(), [request])[0]).from_store
        harness.stop()
    assert len(harness.server.requests) == 1
    assert harness.outcomes() == ["delivered", "withdrawn"]
    harness.balance(requests)


def test_when_the_other_process_is_killed_the_one_that_joined_buys_nothing(harness: Harness):
    """It hears that the image was perhaps billed; its user decides whether to buy it again."""
    gate = threading.Event()
    harness.server.script = [draw_after(lambda: gate.wait(10))]
    other = buyer(harness, [0])
    until(lambda: len(harness.server.requests) == 1, 10)
    heard: list[Progress] = []
    client = harness.start()
    future = client.submit(generate(0), on_progress=heard.append)
    until(lambda: any(now.phase == "joined" and now.reason for now in heard))
    assert f"process {other.pid} on" in heard[-1].reason
    other.kill()
    assert end(other) is None
    assert failure(outcome(future)).billed is Billed.PERHAPS
    assert len(harness.server.requests) == 1
    assert image(outcome(client.submit(generate(0)))).cost_usd == pytest.approx(COST)
    gate.set()
    harness.restart()
    harness.stop()
    assert sorted(harness.outcomes()) == ["delivered", "perhaps billed"]
    assert len(harness.server.billed) == 2
    harness.balance([generate(0)])


def test_two_processes_never_pass_one_budget_together(harness: Harness):
    budget = 5.5 * ESTIMATE
    harness.server.default = draw_after(lambda: time.sleep(0.2))
    children = [buyer(harness, list(range(i, i + 6)), budget=budget) for i in (0, 10)]
    found = [each for child in children for each in end(child) or []]
    assert len(found) == 12
    assert found.count("BudgetError") == 7
    assert len(harness.server.billed) == 5
    assert harness.counted() <= budget
    requests = [generate(i) for i in (*range(6), *range(10, 16))]
    harness.balance(requests)
    missing = len(requests) - len(harness.kept(requests))
    assert all(image(each) for each in ask(harness.start(), requests))
    assert missing == 7
    assert len(harness.server.billed) == 12
    harness.balance(requests)


def test_a_dead_process_s_calls_still_count_in_the_budget(harness: Harness):
    gate = threading.Event()
    harness.server.default = draw_after(lambda: gate.wait(10))
    other = buyer(harness, [0, 1])
    until(lambda: len(harness.server.requests) == 2, 10)
    other.kill()
    end(other)
    gate.set()
    harness.server.default = draw
    found = ask(harness.start(budget=Budget(day=3.5 * ESTIMATE)), [generate(i) for i in (5, 6)])
    assert [type(each).__name__ for each in found] == ["Result", "BudgetError"]
    harness.stop()
    harness.balance([generate(i) for i in (0, 1, 5, 6)])
    assert len(harness.server.billed) == 3


class Window:
    """A server that lets `count` requests through in any `seconds`, and refuses the others."""

    def __init__(self, count: int, seconds: float) -> None:
        self.count, self.seconds = count, seconds
        self.passed: deque[float] = deque()
        self.refused = 0
        self._lock = threading.Lock()

    def __call__(self, connection: Connection, request: ReceivedRequest) -> None:
        with self._lock:
            now = time.monotonic()
            while self.passed and self.passed[0] <= now - self.seconds:
                self.passed.popleft()
            wait = self.seconds - (now - self.passed[0]) if self.passed else 0.0
            full = len(self.passed) >= self.count
            if full:
                self.refused += 1
            else:
                self.passed.append(now)
        if full:
            milliseconds = str(int(wait * 1000) + 1)
            connection.answer(429, b"", {"retry-after-ms": milliseconds})
        else:
            draw(connection, request)


def test_two_processes_share_one_quota_and_no_image_fails_for_it(harness: Harness):
    """Nobody told them the limit, 4 in 0.8 s: they learn it together from few refusals."""
    harness.server.default = window = Window(4, 0.8)
    children = [buyer(harness, list(range(i, i + 6)), rpm=None) for i in (0, 10)]
    found = [each for child in children for each in end(child) or []]
    assert found == [pytest.approx(COST)] * 12
    assert len(harness.server.billed) == 12
    assert window.refused < 10
    harness.balance([generate(i) for i in (*range(6), *range(10, 16))])


def test_many_services_and_threads_on_one_folder_buy_each_image_once(harness: Harness):
    """Four threads at one service at once, then a second service that knows the files alone."""
    requests = batch(6)
    clients = [harness.start(), harness.start()]
    results: list[list[bytes]] = []

    def run(client: Client) -> None:
        results.append([image(found).image for found in ask(client, requests)])

    threads = [threading.Thread(target=run, args=(clients[0],)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    run(clients[1])
    assert results == [[drawn(request.prompt) for request in requests]] * 5
    assert len(harness.server.billed) == 6
    harness.balance(requests)


def test_the_ledger_of_two_processes_counts_every_call_once(harness: Harness):
    children = [buyer(harness, list(range(i, i + 4))) for i in (0, 10)]
    for child in children:
        end(child)
    ledger = Ledger(harness.folder / "ledger.sqlite")
    spend = ledger.spend()
    ledger.close_file()
    assert spend.total.calls == 8
    assert spend.total.usd == pytest.approx(8 * COST)


def test_whoever_joined_a_call_whose_connection_broke_buys_nothing(harness: Harness):
    """Four processes ask for one image, and the connection breaks after the work is done."""
    gate = threading.Event()

    def break_off(connection: Connection, request: ReceivedRequest) -> None:
        connection.server.bill(request)
        gate.wait(10)
        connection.reset()

    harness.server.script = [break_off]
    heard = harness.folder.parent / "heard"
    heard.touch()
    children = [buyer(harness, [0], heard=str(heard)) for _ in range(4)]
    until(lambda: len(set(re.findall(r"(\d+) joined", heard.read_text("utf-8")))) == 3, 20)
    gate.set()
    found = [end(child) for child in children]
    assert found == [["ConnectionLostError"]] * 4
    assert len(harness.server.requests) == 1
    harness.balance([generate(0)])


def test_an_error_of_one_profile_is_not_given_to_another_that_joined(harness: Harness):
    """The call begins anew with the profile of whoever is left."""
    poor = dataclasses.replace(harness.profile, name="poor", budget=Budget(day=0.0))
    rich = dataclasses.replace(harness.profile, name="rich")
    client = Client(harness.folder, NamedProfiles(harness.folder, {"poor": poor, "rich": rich}))
    harness.clients.append(client)
    futures = [client.submit(generate(0), name) for name in ("poor", "rich", "poor")]
    first, second, third = (outcome(future) for future in futures)
    assert type(failure(first)) is type(failure(third)) is BudgetError
    assert image(second).cost_usd == pytest.approx(COST)


class NamedProfiles(Profiles):
    """Profiles by their names."""

    def __init__(self, folder: Path, profiles: dict[str, Profile]) -> None:
        super().__init__(folder, {})
        self._profiles = profiles

    def get(self, name: str) -> Profile:
        return self._profiles[name]
