"""A fast part of benchmarks/quota_simulation.py: the aims of the quota hold on a virtual clock."""

from __future__ import annotations

import subprocess
import sys

import pytest
import simulated_service
from rate_limit_simulation import misses, simulate
from simulated_servers import KINDS, SMOOTH, Bucket, Windows, bound
from simulated_service import Case
from usual_policies import backoff_twice, retry_after


@pytest.mark.parametrize("kind", KINDS)
def test_a_known_limit_meets_every_aim(kind: str):
    case = Case(kind, 60, known=True, seed=1)
    outcome = simulate(case)
    assert not misses(case, outcome), outcome


@pytest.mark.parametrize("kind", KINDS)
def test_an_unknown_limit_is_learned_with_few_refusals(kind: str):
    outcome = simulate(Case(kind, 12, known=False, seed=1))
    assert outcome.failed == 0
    assert outcome.refusals < 10
    assert outcome.ratio <= (1.07 if kind in SMOOTH else 1.4)


@pytest.mark.parametrize("kind", ["sliding window", "bucket", "fixed window"])
def test_the_smallest_tier_and_the_largest_quota_meet_the_aims(kind: str):
    for case in (Case(kind, 2, seed=2, images=40), Case(kind, 90, seed=2)):
        outcome = simulate(case)
        assert not misses(case, outcome), outcome


@pytest.mark.parametrize("known", [True, False])
def test_without_retry_after_no_image_fails_and_nobody_hammers(known: bool):
    for kind in ("sliding window", "bucket, no burst", "sliding, refused too"):
        outcome = simulate(Case(kind, 12, known, 3, retry_after="none"))
        assert outcome.failed == 0
        assert outcome.refusals < (5 if known else 15)
        assert outcome.ratio < 1.4


def test_fast_answers_are_paced_as_well_as_slow_ones():
    outcome = simulate(Case("sliding window", 60, seed=4, latency=1.0))
    assert outcome.refusals < 5
    assert outcome.ratio <= 1.05


def test_the_usual_ways_fail_where_this_one_does_not():
    assert simulate(Case("sliding window", 60), backoff_twice).failed > 30
    assert simulate(Case("bucket, no burst", 60), retry_after).refusals > 1000


def test_the_bound_is_the_earliest_that_a_server_lets_through():
    ones = [1.0] * 5
    assert bound(Windows([(2, 60.0)]), ones, 0.0) == pytest.approx(121, abs=0.01)
    assert bound(Windows([(2, 60.0)], phase=-50.0), ones, 0.0) == pytest.approx(71, abs=0.01)
    assert bound(Windows([(1, 6.0), (2, 60.0)]), ones, 0.0) == pytest.approx(121, abs=0.01)
    assert bound(Bucket(2, 30.0), ones, 0.0) == pytest.approx(91, abs=0.01)
    assert bound(Bucket(1, 30.0), ones, 0.5) == pytest.approx(121.5, abs=0.01)


def test_a_window_that_counts_refused_calls_stays_shut_for_those_who_hammer():
    server = Windows([(1, 60.0)], refused_too=True)
    server.take(0.0)
    for second in range(1, 120):
        assert server.wait(float(second)) > 0
        server.refuse(float(second))


def test_the_benchmark_prints_its_tables():
    command = [sys.executable, "-m", "mai_image.benchmarks.quota_simulation"]
    options = ["--quotas", "90", "--seeds", "1", "--compared", "0"]
    done = subprocess.run([*command, *options], capture_output=True, text=True, check=True)
    text = done.stdout
    assert all(kind in text for kind in KINDS)
    assert "Limit unknown" in text


@pytest.mark.parametrize("kind", ["sliding window", "bucket", "fixed window"])
def test_a_long_way_to_the_server_costs_neither_time_nor_manners(
    kind: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(simulated_service, "TRAVEL", 0.2)
    case = Case(kind, 60, seed=1)
    outcome = simulate(case)
    assert not misses(case, outcome), outcome
