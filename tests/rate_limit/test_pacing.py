"""The pure state machine: what one refusal teaches, and what a clock does to it."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mai_image.mai.rate_limit import Pacing, Timings
from mai_image.mai.rate_limit.pacing import (
    COOLDOWN_MAX,
    EXPIRE_AFTER,
    FORGET_AFTER,
    RETRY_AFTER_MAX,
    WINDOW_MAX,
)

PROBE_WAIT = Timings().probe_wait


def send(pacing: Pacing, count: int, now: float) -> float:
    """Send so many calls, each as early as it may go; gives the time of the last."""
    for _ in range(count):
        now = max(now, pacing.next_at())
        pacing.send(now)
    return now


def seconds_for(pacing: Pacing, count: int, now: float) -> float:
    """Seconds from `now` until so many more calls are sent; leaves the pacing as it is."""
    return send(copy(pacing), count, now) - now


def copy(pacing: Pacing) -> Pacing:
    return Pacing(**json.loads(json.dumps(vars(pacing))))


def pacing_with_window(limit: float | None) -> Pacing:
    """Its third call was refused at 2.0 s for 58 s: 2 calls in 60 seconds."""
    pacing = Pacing(limit=limit)
    send(pacing, 3, 0.0)
    pacing.cool_down(2.0, 58.0)
    return pacing


def test_the_whole_quota_may_be_sent_at_once_and_the_rest_evenly():
    pacing = Pacing(limit=12)
    assert send(pacing, 12, 100.0) < 104
    thirteenth = send(pacing, 1, 100.0)
    assert thirteenth == pytest.approx(105, abs=0.3)
    assert send(pacing, 1, 100.0) - thirteenth == pytest.approx(5.1, abs=0.01)


def test_an_unknown_limit_begins_with_careful_steps_and_no_storm():
    pacing = Pacing()
    assert send(pacing, 10, 0.0) > PROBE_WAIT * 2
    assert send(pacing, 90, 0.0) > 3.0


def test_a_refusal_holds_everything_until_its_retry_after():
    pacing = Pacing(limit=60)
    send(pacing, 1, 10.0)
    pacing.cool_down(10.1, 33.0)
    assert pacing.next_at() == pytest.approx(43.1)


def test_after_a_cooldown_one_probe_goes_and_the_next_waits_until_a_refusal_would_be_back():
    pacing = pacing_with_window(None)
    assert pacing.next_at() == pytest.approx(60.0, abs=1.0)
    probe = send(pacing, 1, 0.0)
    assert pacing.next_at() >= probe + PROBE_WAIT


def test_calls_that_were_let_through_before_a_refusal_become_the_window():
    pacing = pacing_with_window(None)
    assert pacing.rpm == pytest.approx(2.0)
    first = send(pacing, 1, 0.0)
    assert send(pacing, 1, 0.0) < first + 2
    assert first + 60 <= send(pacing, 1, 0.0) < first + 62


def test_the_states_follow_each_other_as_the_drawing_shows():
    pacing = Pacing()
    assert pacing.state(0.0) == "open"
    send(pacing, 2, 0.0)
    pacing.cool_down(0.5, 2.0)
    assert pacing.state(0.6) == "cooldown"
    now = send(pacing, 1, 2.5)
    assert pacing.state(now) == "window"
    while pacing.state(now) == "window":
        now = send(pacing, 1, now)
    assert pacing.state(now) == "trial"
    pacing.cool_down(now + 0.1, 3.0)
    assert pacing.state(now + 0.1) == "cooldown"
    assert pacing.state(now + 4.0) == "window"


def test_further_refusals_of_the_same_burst_lower_the_count_and_only_lengthen_the_cooldown():
    pacing = Pacing()
    send(pacing, 10, 0.0)
    pacing.cool_down(3.0, 57.0)
    pacing.cool_down(3.1, 20.0)
    pacing.cool_down(3.2, 57.0)
    assert pacing.cooldown_until == pytest.approx(60.2)
    assert pacing.next_at() >= 60.2
    seventh = send(pacing, 7, 0.0)
    assert seventh < 70
    assert send(pacing, 1, 0.0) > 110, "10 were sent and 3 refused: 7 is the window"


def test_a_retry_after_far_too_early_for_a_sliding_window_is_taken_for_a_new_window():
    pacing = Pacing(limit=12)
    end = send(pacing, 13, 0.0)
    pacing.cool_down(end, 20.0)
    assert send(pacing, 12, 0.0) < end + 20 + 4
    assert pacing.next_at() > end + 20 + 55


def test_without_retry_after_a_known_limit_gives_the_time():
    pacing = Pacing(limit=2)
    send(pacing, 3, 0.0)
    pacing.cool_down(31.0, None)
    assert 60 <= pacing.next_at() <= 62


@pytest.mark.parametrize("retry_after", [None, 0.0])
def test_without_retry_after_cooldowns_double_up_to_a_minute(retry_after: float | None):
    pacing, now, cooldowns = Pacing(), 0.0, []
    for _ in range(2000):
        now = send(pacing, 1, now)
        pacing.cool_down(now, retry_after)
        cooldowns.append(pacing.next_at() - now)
    assert cooldowns[0] <= 1.0
    assert all(2 * a * 0.7 <= b for a, b in pairwise(cooldowns[:6]))
    assert cooldowns[-1] > 30
    assert max(cooldowns) <= COOLDOWN_MAX + 1e-6


def test_no_retry_after_is_believed_for_more_than_an_hour():
    pacing = Pacing(limit=60)
    send(pacing, 1, 0.0)
    pacing.cool_down(1.0, 1e12)
    assert pacing.next_at() == pytest.approx(1.0 + RETRY_AFTER_MAX)


@pytest.mark.parametrize("limit", [None, 60.0])
def test_a_retry_after_of_half_an_hour_says_nothing_of_requests_a_minute(limit: float | None):
    pacing = pacing_with_window(limit)
    now, rpm = send(pacing, 3, 100.0), pacing.rpm
    pacing.cool_down(now + 0.1, 1800.0)
    pacing.cool_down(now + 0.2, 1800.0)
    assert pacing.next_at() == pytest.approx(now + 1800.2)
    assert pacing.rpm == rpm
    assert seconds_for(pacing, 5, now + 1800.2) < 200


def test_a_learned_window_is_tried_faster_and_a_failed_trial_is_taken_back():
    pacing = Pacing()
    send(pacing, 2, 0.0)
    pacing.cool_down(0.3, 2.0)
    slow, now = pacing.rpm, 0.0
    while pacing.state(now) != "trial":
        now = send(pacing, 1, now)
    before = now
    now = send(pacing, 1, now)
    assert slow is not None
    assert now - before < 60 / slow
    pacing.cool_down(now + 0.1, 3.0)
    send(pacing, 1, now)
    assert pacing.rpm == slow
    assert seconds_for(pacing, 1, pacing.sent[-1]) >= 60 / slow


def test_a_window_grown_old_is_put_to_the_test_again():
    known, unknown = pacing_with_window(2), pacing_with_window(None)
    for pacing in (known, unknown):
        assert not pacing.update(2.0 + FORGET_AFTER - 1)
        assert pacing.state(3600.0) == "window"
        assert pacing.update(2.0 + FORGET_AFTER + 1)
    assert known.state(3610.0) == "open"
    assert unknown.state(3610.0) == "window"
    now = send(unknown, 5, 3610.0)
    assert unknown.state(now) == "trial"


@pytest.mark.parametrize("profile_limit", [1.0, None])
def test_a_lowered_limit_slows_a_learned_window(profile_limit: float | None):
    pacing = pacing_with_window(None)
    pacing.learn_limit(2.0, 1.0)
    pacing.set_limit(profile_limit)
    assert pacing.rpm == pytest.approx(1.0)
    first = send(pacing, 1, 0.0)
    assert send(pacing, 2, 0.0) >= first + 120


@pytest.mark.parametrize("server_limit", [1.0, 10_000.0])
def test_the_profiles_own_number_wins_over_the_servers(server_limit: float):
    pacing = Pacing()
    pacing.learn_limit(0.0, server_limit)
    pacing.set_limit(60)
    assert pacing.rpm == 60


@pytest.mark.parametrize("limit", [1e-300, 0.001, 0.999, 10_000.5, 1e9, 1e300])
def test_a_limit_that_no_service_has_is_not_believed(limit: float):
    pacing = Pacing()
    pacing.learn_limit(0.0, 12.0)
    pacing.learn_limit(1.0, limit)
    pacing.set_limit(None)
    assert pacing.rpm == 12


def test_a_servers_limit_expires_unless_an_answer_confirms_it():
    pacing = Pacing()
    pacing.learn_limit(0.0, 12.0)
    pacing.learn_limit(EXPIRE_AFTER / 2, 12.0)
    pacing.update(EXPIRE_AFTER * 1.4)
    pacing.set_limit(None)
    assert pacing.rpm == 12
    assert pacing.update(EXPIRE_AFTER * 1.6)
    pacing.set_limit(None)
    assert pacing.rpm is None


def test_a_servers_limit_expires_over_a_reboot_too():
    pacing = Pacing()
    pacing.update(5e6)
    pacing.learn_limit(5e6, 12.0)
    pacing.update(10.0)
    assert pacing.server_limit == 12
    assert pacing.update(10.0 + EXPIRE_AFTER + 1)
    assert pacing.server_limit is None


def test_a_window_expires_unless_a_refusal_confirms_it():
    pacing = pacing_with_window(None)
    for hour in range(1, 24):
        pacing.update(hour * 3600.0)
        assert pacing.window_calls == 2
    assert pacing.update(2.0 + EXPIRE_AFTER + 1)
    assert pacing.state(EXPIRE_AFTER + 4) == "open"


@pytest.mark.parametrize("retry_after", [None, 30.0, 3000.0, 1e300, 10**400])
@pytest.mark.parametrize("limit", [None, 2.0])
def test_a_server_that_refuses_everything_is_still_asked_every_hour(
    retry_after: float | None, limit: float | None
):
    pacing, now = Pacing(limit=limit), 0.0
    for _ in range(300):
        before = now
        for _ in range(3):
            now = send(pacing, 1, now)
        pacing.cool_down(now, retry_after)
        pacing.update(now)
        pacing.set_limit(limit)
        assert pacing.next_at() - now <= WINDOW_MAX + 1
        assert now - before <= 3 * (WINDOW_MAX + 1)


@pytest.mark.parametrize("years", [1e9, 1e300])
@pytest.mark.parametrize("name", ["not_before", "bucket_full_at", "cooldown_until", "refused_at"])
def test_a_time_that_an_older_version_stored_for_years_is_cut_once(name: str, years: float):
    pacing = Pacing(limit=2.0, updated_at=100.0)
    setattr(pacing, name, years)
    assert pacing.update(100.0), "it must be stored, or it moves along for ever"
    end = pacing.next_at()
    assert end <= 100.0 + RETRY_AFTER_MAX + 120
    assert not pacing.update(200.0)
    assert pacing.next_at() == end


def test_what_an_older_version_believed_of_a_server_does_not_slow_it_any_more():
    pacing = Pacing(limit=0.001, server_limit=0.001, updated_at=100.0, sent=[99.0])
    pacing.bucket_full_at = 99.0 + 61_200
    pacing.update(101.0)
    pacing.set_limit(None)
    assert pacing.next_at() <= 101.0
    older = Pacing(window_calls=1, window_seconds=1e9, updated_at=100.0, sent=[99.0])
    older.refused_at = 90.0
    older.update(101.0)
    older.set_limit(None)
    assert older.next_at() <= 101.0 + WINDOW_MAX + 1


def test_a_small_limit_that_becomes_known_late_counts_no_more_than_an_empty_bucket():
    pacing = Pacing()
    end = send(pacing, 100, 0.0)
    pacing.learn_limit(end, 1.0)
    pacing.set_limit(None)
    assert end + 60 <= pacing.next_at() <= end + 62


def test_a_limit_that_becomes_known_counts_the_calls_that_went_before():
    pacing = Pacing()
    end = send(pacing, 12, 0.0)
    pacing.learn_limit(end, 12.0)
    pacing.set_limit(None)
    assert pacing.next_at() == pytest.approx(5.0, abs=0.3)
    assert end < 4.0


def test_a_slot_that_was_not_used_can_be_given_back():
    pacing = Pacing(limit=1)
    pacing.send(5.0, "process")
    pacing.withdraw("process", 5.0)
    assert pacing.next_at() < 6.0


def test_the_state_survives_being_stored_as_json():
    pacing = pacing_with_window(2)
    assert copy(pacing) == pacing


EVENTS = st.lists(
    st.tuples(st.sampled_from(["send", "refused", "wait"]), st.floats(0.001, 90)), max_size=40
)


def play(pacing: Pacing, events: list[tuple[str, float]], now: float) -> float:
    for event, seconds in events:
        pacing.update(now)
        if event == "send":
            now = send(pacing, 1, now)
        elif event == "refused":
            pacing.cool_down(now, None if seconds > 60 else seconds)
        else:
            now += seconds
    pacing.update(now)
    return now


@settings(max_examples=60, deadline=None)
@given(EVENTS, st.sampled_from([None, 2.0, 12.0, 60.0]), st.floats(1.0, 1e7))
def test_a_clock_that_goes_back_neither_blocks_nor_lets_loose(
    events: list[tuple[str, float]], limit: float | None, back: float
):
    pacing = Pacing(limit=limit)
    now = play(pacing, events, 2e7)
    before = [seconds_for(pacing, count, now) for count in (1, 2, 5)]
    pacing.update(now - back)
    after = [seconds_for(pacing, count, now - back) for count in (1, 2, 5)]
    assert after == pytest.approx(before, abs=0.01)


@settings(max_examples=60, deadline=None)
@given(EVENTS, st.sampled_from([None, 2.0, 12.0, 60.0]))
def test_whatever_happens_the_next_slot_is_near_and_slots_keep_their_distance(
    events: list[tuple[str, float]], limit: float | None
):
    pacing = Pacing(limit=limit)
    now = play(pacing, events, 0.0)
    slots = [now := send(pacing, 1, now) for _ in range(3)]
    longest = max([COOLDOWN_MAX, 61.0 / (limit or 60.0) * 60.0, pacing.window_seconds * 1.1])
    assert slots[0] - max(pacing.cooldown_until, pacing.updated_at) <= longest + 1
    assert all(b - a > 0.009 for a, b in pairwise(slots))


def test_a_burst_is_careful_unless_an_even_rate_is_faster():
    """An even rate is within every rule, so no gap need be longer than it."""
    fast = send(Pacing(limit=60_000.0), 16, 0.0)
    assert 15 * 60 / 60_000 <= fast < 0.5
    assert send(Pacing(limit=60.0), 16, 0.0) > 1.0
    assert send(Pacing(), 16, 0.0) > 1.0


def test_tests_can_take_the_waits_out(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Pacing, "timings", Timings(0.0, 0.0, 0.0, 0.0, 0.0))
    assert send(Pacing(limit=60.0), 60, 0.0) < 0.001
    assert send(Pacing(), 100, 0.0) == 0.0
