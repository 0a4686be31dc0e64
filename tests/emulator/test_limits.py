"""Requests a minute: each way of counting on a clock of the test's own, and the headers."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mai_image.emulator import Options
from mai_image.emulator.limits import FixedWindow, SlidingWindow, TokenBucket


def passed(counter, times):
    return [time for time in times if counter.take(time).allowed]


def test_a_fixed_window_passes_its_limit_again_at_once_when_the_next_begins():
    times = [0, 50, 55, 59.9, 60, 61, 62, 119, 120]
    assert passed(FixedWindow(2, 60, False), times) == [0, 50, 60, 61, 120]


def test_a_sliding_window_passes_its_limit_in_any_minute():
    times = [0, 50, 55, 60, 61, 109.9, 110, 111]
    assert passed(SlidingWindow(2, 60, False), times) == [0, 50, 60, 110]


def test_a_token_bucket_passes_its_burst_and_then_its_rate():
    times = [0, 0, 0, 29, 30, 31, 60]
    assert passed(TokenBucket(2 / 60, 2, False), times) == [0, 0, 30, 60]


def test_a_token_bucket_without_burst_passes_one_at_a_time():
    assert passed(TokenBucket(2 / 60, 1, False), [0, 1, 30, 31, 60]) == [0, 30, 60]


@pytest.mark.parametrize("make", [SlidingWindow, TokenBucket])
def test_where_refused_requests_count_too_asking_often_starves(make):
    rate = 1 / 60 if make is TokenBucket else 1
    eager = [float(second) for second in range(300)]
    assert passed(make(rate, *((1,) if make is TokenBucket else (60,)), True), eager) == [0]


@given(
    st.sampled_from(["fixed window", "sliding window", "token bucket"]),
    st.integers(1, 20),
    st.lists(st.floats(0, 30), min_size=1, max_size=40),
    st.booleans(),
)
@settings(max_examples=150, deadline=None)
def test_a_request_that_waits_as_long_as_the_headers_say_passes(kind, limit, steps, count_refused):
    makers = {
        "fixed window": lambda: FixedWindow(limit, 60, count_refused),
        "sliding window": lambda: SlidingWindow(limit, 60, count_refused),
        "token bucket": lambda: TokenBucket(limit / 60, limit, count_refused),
    }
    counter, now = makers[kind](), 0.0
    for step in steps:
        now += step
        verdict = counter.take(now)
        assert 0 <= verdict.remaining <= verdict.limit
        if not verdict.allowed:
            assert 0 < verdict.wait <= 60.0 + 1e-6
            now += verdict.wait + 1e-6
            assert counter.take(now).allowed


def test_over_the_limit_a_429_says_when_to_come_again(started):
    now = [1000.0]
    client = started(clock=lambda: now[0], rpm=2, fault="status=500")
    answers = [client.generate() for _ in range(3)]
    assert [answer.status_code for answer in answers] == [500, 500, 429]
    assert [answer.headers["x-ratelimit-remaining-requests"] for answer in answers] == [
        "1",
        "0",
        "0",
    ]
    refused = answers[-1]
    assert refused.headers["x-ratelimit-limit-requests"] == "2"
    assert refused.headers["x-ratelimit-reset-requests"] == "60"
    assert refused.headers["retry-after"] == "60"
    assert refused.headers["retry-after-ms"] == "60000"
    assert refused.json()["error"]["code"] == "RateLimitReached"
    now[0] += 60
    assert client.generate().status_code == 500


def test_a_429_is_not_billed(started):
    client = started(rpm=1)
    assert [client.generate(width=768, height=768).status_code for _ in range(2)] == [200, 429]
    assert client.service.log.billed == 1


def test_each_deployment_has_a_count_of_its_own_and_perhaps_a_limit_of_its_own(started):
    client = started(
        clock=lambda: 5.0,
        deployments={"a": "MAI-Image-2.6", "b": "MAI-Image-2.6", "c": "MAI-Image-2.6"},
        rpm=1,
        rpm_by_deployment={"c": 3},
        fault="status=500",
    )
    assert [client.generate(model="a").status_code for _ in range(2)] == [500, 429]
    assert [client.generate(model="b").status_code for _ in range(2)] == [500, 429]
    assert [client.generate(model="c").status_code for _ in range(4)] == [500, 500, 500, 429]


@pytest.mark.parametrize(
    ("options", "allowed"),
    [
        ({"counting": "fixed window", "rpm": 60, "window": 6}, 6),
        ({"counting": "sliding window", "rpm": 60, "window": 10}, 10),
        ({"counting": "token bucket", "rpm": 60}, 60),
        ({"counting": "token bucket", "rpm": 60, "burst": 1}, 1),
        ({"counting": "fixed window", "rpm": 2, "window": 6}, 1),
        ({"counting": "sliding window", "rpm": 0.5}, 1),
    ],
)
def test_the_way_of_counting_says_how_many_pass_at_once(started, options, allowed):
    client = started(clock=lambda: 5.0, fault="status=500", **options)
    statuses = [client.generate().status_code for _ in range(allowed + 1)]
    assert statuses == [500] * allowed + [429]


def test_without_a_limit_there_are_no_ratelimit_headers(client):
    answer = client.generate(seed=1)
    assert not [name for name in answer.headers if "ratelimit" in name or "retry" in name]


@pytest.mark.parametrize(
    "fields",
    [
        {"rpm": 0},
        {"rpm_by_deployment": {"nobody": 2}},
        {"counting": "by feel"},
        {"window": 0},
        {"burst": 0.5},
        {"latency": -1},
        {"key": ""},
        {"usage": "none"},
        {"edit_size": "none"},
        {"deployments": {"a": "MAI-Image-3"}},
        {"fault": "stat=1"},
        {"edits": "shft=1"},
    ],
)
def test_options_that_can_t_be_are_refused_when_they_are_made(fields):
    with pytest.raises(ValueError, match=r"\w"):
        Options(**fields)
