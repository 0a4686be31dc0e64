"""The pure pacing policy: what one refusal teaches, and what a clock does to it."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mai_image.mai.rate_limit import AGE, PAUSE_MAX, RETRY_AFTER_MAX, SETTLE, Pacer


def go(pacer: Pacer, count: int, now: float) -> float:
    """Start so many calls, each as early as it may; gives the time of the last."""
    for _ in range(count):
        now = max(now, pacer.ready_at())
        pacer.start(now)
    return now


def twin(pacer: Pacer) -> Pacer:
    return Pacer.restore(json.loads(json.dumps(pacer.state())))


def refuse_until_ruled(limit: float | None) -> Pacer:
    """A pacer that was refused its third call at 2.0 s for 58 s."""
    pacer = Pacer(limit=limit)
    go(pacer, 3, 0.0)
    pacer.refused(2.0, 58.0)
    return pacer


def test_the_whole_quota_may_start_at_once_and_the_rest_evenly():
    pacer = Pacer(limit=12)
    assert go(pacer, 12, 100.0) < 104
    thirteenth = go(pacer, 1, 100.0)
    assert thirteenth == pytest.approx(105, abs=0.3)
    assert go(pacer, 1, 100.0) - thirteenth == pytest.approx(5.1, abs=0.01)


def test_an_unknown_limit_begins_with_careful_steps_and_no_storm():
    pacer = Pacer()
    assert go(pacer, 10, 0.0) > SETTLE * 2
    assert go(pacer, 90, 0.0) > 3.0


def test_a_refusal_pauses_until_its_retry_after():
    pacer = Pacer(limit=60)
    go(pacer, 1, 10.0)
    pacer.refused(10.1, 33.0)
    assert pacer.ready_at() == pytest.approx(43.1)


def test_after_a_pause_one_probe_goes_and_the_next_waits_until_a_refusal_would_be_back():
    pacer = refuse_until_ruled(None)
    assert pacer.ready_at() == pytest.approx(60.0, abs=1.0)
    probe = go(pacer, 1, 0.0)
    assert pacer.ready_at() >= probe + SETTLE


def test_calls_that_passed_before_a_refusal_become_the_rule():
    pacer = refuse_until_ruled(None)
    assert (pacer.calls, pacer.seconds) == (2, pytest.approx(60.0))
    assert pacer.rpm == pytest.approx(2.0)
    first = go(pacer, 1, 0.0)
    go(pacer, 1, 0.0)
    assert go(pacer, 1, 0.0) >= first + 60


def test_further_refusals_of_the_same_burst_lower_the_count_and_only_lengthen_the_pause():
    pacer = Pacer()
    go(pacer, 10, 0.0)
    pacer.refused(3.0, 57.0)
    pacer.refused(3.1, 20.0)
    pacer.refused(3.2, 57.0)
    assert pacer.calls == 7
    assert pacer.pause_until == pytest.approx(60.2)
    assert pacer.ready_at() >= 60.2


def test_a_retry_after_far_too_early_for_a_sliding_window_is_taken_for_a_new_window():
    pacer = Pacer(limit=12)
    end = go(pacer, 13, 0.0)
    pacer.refused(end, 20.0)
    assert go(pacer, 12, 0.0) < end + 20 + 4
    assert pacer.ready_at() > end + 20 + 55


def test_without_retry_after_a_known_limit_tells_the_time():
    pacer = Pacer(limit=2)
    go(pacer, 3, 0.0)
    pacer.refused(31.0, None)
    assert 60 <= pacer.ready_at() <= 62


@pytest.mark.parametrize("told", [None, 0.0])
def test_without_retry_after_pauses_double_up_to_a_minute(told: float | None):
    pacer, now, pauses = Pacer(), 0.0, []
    for _ in range(2000):
        now = go(pacer, 1, now)
        pacer.refused(now, told)
        pauses.append(pacer.ready_at() - now)
    assert pauses[0] <= 1.0
    assert all(2 * a * 0.7 <= b for a, b in pairwise(pauses[:6]))
    assert 30 < pauses[-1] <= PAUSE_MAX
    assert max(pauses) <= PAUSE_MAX


def test_no_retry_after_is_believed_for_more_than_an_hour():
    pacer = Pacer(limit=60)
    go(pacer, 1, 0.0)
    pacer.refused(1.0, 1e12)
    assert pacer.ready_at() == pytest.approx(1.0 + RETRY_AFTER_MAX)


def test_a_learned_rule_is_tried_faster_and_a_failed_trial_is_taken_back():
    pacer = Pacer()
    go(pacer, 2, 0.0)
    pacer.refused(0.3, 2.0)
    slow, now = pacer.seconds, 0.0
    while not pacer.trial:
        now = go(pacer, 1, now)
    assert pacer.trial < slow
    patience = pacer.patience
    now = go(pacer, 1, now)
    pacer.refused(now + 0.1, 3.0)
    assert (pacer.trial, pacer.seconds, pacer.patience) == (0.0, slow, 2 * patience)


def test_a_rule_grown_old_is_put_to_the_test_again():
    known, unknown = refuse_until_ruled(2), refuse_until_ruled(None)
    for pacer in (known, unknown):
        pacer.settle_clock(2.0 + AGE - 1)
        assert (pacer.calls, pacer.too_fast > 0) == (2, True)
        pacer.settle_clock(2.0 + AGE + 1)
    assert known.calls == 0
    assert (unknown.calls, unknown.too_fast) == (2, 0.0)


def test_a_lowered_limit_slows_a_learned_rule_down_and_the_servers_limit_beats_a_larger_one():
    pacer = refuse_until_ruled(None)
    pacer.told = 1.0
    pacer.set_limit(60)
    assert pacer.limit == 1.0
    assert pacer.seconds == pytest.approx(120)


def test_a_limit_that_becomes_known_counts_the_calls_that_went_before():
    pacer = Pacer()
    end = go(pacer, 12, 0.0)
    pacer.told = 12.0
    pacer.set_limit(None)
    assert pacer.ready_at() == pytest.approx(5.0, abs=0.3)
    assert end < 4.0


def test_a_turn_that_was_not_used_can_be_given_back():
    pacer = Pacer(limit=1)
    pacer.start(5.0)
    pacer.withdraw(5.0)
    assert pacer.ready_at() < 6.0


def test_the_state_survives_being_stored_as_text():
    pacer = refuse_until_ruled(2)
    assert twin(pacer) == pacer
    with pytest.raises(TypeError):
        Pacer.restore({"calls": 3})


EVENTS = st.lists(
    st.tuples(st.sampled_from(["start", "refused", "wait"]), st.floats(0.001, 90)), max_size=40
)


def play(pacer: Pacer, events: list[tuple[str, float]], now: float) -> float:
    for what, seconds in events:
        pacer.settle_clock(now)
        if what == "start":
            now = go(pacer, 1, now)
        elif what == "refused":
            pacer.refused(now, None if seconds > 60 else seconds)
        else:
            now += seconds
    pacer.settle_clock(now)
    return now


@settings(max_examples=60, deadline=None)
@given(EVENTS, st.sampled_from([None, 2.0, 12.0, 60.0]), st.floats(1.0, 1e7))
def test_a_clock_that_goes_back_neither_blocks_nor_lets_loose(
    events: list[tuple[str, float]], limit: float | None, back: float
):
    pacer = Pacer(limit=limit)
    now = play(pacer, events, 2e7)
    before = [go(twin(pacer), count, now) - now for count in (1, 2, 5)]
    pacer.settle_clock(now - back)
    after = [go(twin(pacer), count, now - back) - (now - back) for count in (1, 2, 5)]
    assert after == pytest.approx(before, abs=0.01)


@settings(max_examples=60, deadline=None)
@given(EVENTS, st.sampled_from([None, 2.0, 12.0, 60.0]))
def test_whatever_happens_the_next_turn_is_near_and_turns_keep_their_distance(
    events: list[tuple[str, float]], limit: float | None
):
    pacer = Pacer(limit=limit)
    now = play(pacer, events, 0.0)
    turns = [now := go(pacer, 1, now) for _ in range(3)]
    longest = max([PAUSE_MAX, 61.0 / (limit or 60.0) * 60.0, pacer.seconds * 1.1])
    assert turns[0] - max(pacer.pause_until, pacer.stamp) <= longest + 1
    assert all(b - a > 0.009 for a, b in pairwise(turns))


def test_a_burst_is_careful_unless_an_even_pace_is_faster():
    """An even pace is within every rule, so no gap need be longer than it."""
    fast = go(Pacer(limit=60_000.0), 16, 0.0)
    assert 15 * 60 / 60_000 <= fast < 0.5
    assert go(Pacer(limit=60.0), 16, 0.0) > 1.0
    assert go(Pacer(), 16, 0.0) > 1.0
