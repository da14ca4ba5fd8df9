"""The call budget: never more than Slack allows, and honest about how long to wait."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slackbot.budget import SLACK_LIMITS, Budget, Limit, Per

LIMIT = Limit(3, seconds=10.0, margin=0.0)
METHOD = "chat.update"

limits = st.builds(
    Limit,
    calls=st.integers(1, 6),
    seconds=st.sampled_from([1.0, 10.0, 60.0]),
    margin=st.sampled_from([0.0, 0.1, 1.0]),
)
# How long after the last one a call is tried, and how many slots it leaves.
tries = st.lists(st.tuples(st.floats(0.0, 30.0), st.integers(0, 3)), max_size=80)


def budget(limit: Limit = LIMIT) -> Budget:
    """A budget with one limit."""
    return Budget({METHOD: limit})


def test_slots_come_back_when_their_call_is_old_enough() -> None:
    """Three calls go at once, the fourth when the first leaves the window."""
    calls = budget()
    assert [calls.take("T1", METHOD, now) for now in (0.0, 1.0, 2.0, 3.0)] == [0.0, 0.0, 0.0, 7.0]
    assert calls.take("T1", METHOD, 10.0) == 0.0
    assert calls.take("T1", METHOD, 10.0) == 1.0


def test_slots_are_kept_for_more_important_calls() -> None:
    """Progress leaves what finals need; finals take it; a wait counts the slots to be left."""
    calls = budget()
    assert calls.take("T1", METHOD, 0.0, keep=2) == 0.0
    assert calls.take("T1", METHOD, 1.0, keep=2) == 9.0
    assert calls.take("T1", METHOD, 2.0) == 0.0
    assert calls.take("T1", METHOD, 3.0) == 0.0
    assert calls.take("T1", METHOD, 3.0, keep=1) == 9.0
    assert calls.free("T1", METHOD, 3.0) == 0


def test_more_kept_slots_than_there_are_mean_a_whole_window() -> None:
    """Nothing can go then, and asking again soon is no use."""
    calls = budget(Limit(3, seconds=10.0, margin=1.0))
    assert calls.take("T1", METHOD, 0.0, keep=3) == 11.0
    assert calls.free("T1", METHOD, 0.0) == 3


def test_teams_and_methods_do_not_share() -> None:
    """Slack counts per method and team."""
    calls = Budget({METHOD: Limit(1), "chat.delete": Limit(1)})
    taken = [calls.take(team, method, 0.0) for team in ("T1", "T2") for method in (METHOD, "chat.delete")]
    assert taken == [0.0] * 4
    assert calls.take("T1", METHOD, 0.0) > 0.0


def test_posts_are_counted_per_channel() -> None:
    """Three at once in each channel, then one a second on average."""
    calls = Budget()
    posts = [calls.take("T1", "chat.postMessage", 0.0, channel=channel) for channel in ("C1", "C2") for _ in range(3)]
    assert posts == [0.0] * 6
    assert 3.0 <= calls.take("T1", "chat.postMessage", 0.0, channel="C1") <= 3.5
    assert calls.free("T1", "chat.postMessage", 0.0, channel="C3") == 3


def test_other_limits_know_no_channels() -> None:
    """Edits in different channels share the team's slots."""
    calls = budget(Limit(1))
    assert calls.take("T1", METHOD, 0.0, channel="C1") == 0.0
    assert calls.take("T1", METHOD, 0.0, channel="C2") > 0.0


def test_nothing_goes_while_slack_wants_a_pause() -> None:
    """After a 429 the method rests in this team, whatever slots are free."""
    calls = budget()
    calls.cool_off("T1", METHOD, 0.0, 5.0)
    assert calls.take("T1", METHOD, 1.0) == 4.0
    assert calls.free("T1", METHOD, 1.0) == 0
    assert calls.take("T2", METHOD, 1.0) == 0.0
    assert calls.take("T1", METHOD, 5.0) == 0.0


def test_a_refusal_teaches_the_lower_limit() -> None:
    """What Slack took before it refused counts as its limit, and is forgotten by and by."""
    calls = Budget()
    assert [calls.take("T1", METHOD, 0.0) for _ in range(13)] == [0.0] * 13
    calls.cool_off("T1", METHOD, 0.0, 5.0)
    assert calls.take("T1", METHOD, 6.0) == pytest.approx(55.0)
    assert calls.free("T1", METHOD, 61.0) == 13
    assert calls.free("T1", METHOD, 301.0) == 24
    assert calls.free("T1", METHOD, 100_000.0) == 50
    assert calls.free("T1", METHOD, 0.0) <= 50


def test_a_restart_does_not_look_like_no_limit_at_all() -> None:
    """Refused at the first call, as another process made the others, a fifth of the limit is kept."""
    calls = Budget()
    assert calls.take("T1", METHOD, 0.0) == 0.0
    calls.cool_off("T1", METHOD, 0.0, 1.0)
    assert calls.free("T1", METHOD, 2.0) == 9
    assert calls.take("T1", "chat.postMessage", 0.0, channel="C1") == 0.0
    calls.cool_off("T1", "chat.postMessage", 0.0, 1.0)
    assert calls.free("T1", "chat.postMessage", 4.0, channel="C1") == 3


def test_a_pause_is_never_shortened() -> None:
    """Of two refusals the longer pause counts, and a negative one is none."""
    calls = budget()
    calls.cool_off("T1", METHOD, 0.0, 30.0)
    calls.cool_off("T1", METHOD, 1.0, 2.0)
    assert calls.take("T1", METHOD, 1.0) == 29.0
    calls.cool_off("T2", METHOD, 0.0, -1.0)
    assert calls.take("T2", METHOD, 0.0) == 0.0


def test_the_window_is_longer_than_slacks() -> None:
    """Fifty edits leave, and the next one when even a late first one is a minute old for Slack."""
    calls = Budget()
    assert [calls.take("T1", METHOD, 0.0) for _ in range(50)] == [0.0] * 50
    assert calls.take("T1", METHOD, 60.0) == pytest.approx(1.0)


def test_a_method_without_a_limit_gets_a_low_one() -> None:
    """Twenty a minute, as for Slack's second tier."""
    calls = Budget()
    assert [calls.take("T1", "new.method", 0.0) > 0.0 for _ in range(21)] == [False] * 20 + [True]


def test_every_method_has_slacks_limit() -> None:
    """The tiers as Slack's pages name them; only posts are counted per channel."""
    minute = {method: limit.calls for method, limit in SLACK_LIMITS.items() if limit.seconds == 60.0}
    assert minute[METHOD] == minute["chat.delete"] == minute["conversations.replies"] == 50
    assert minute["chat.postEphemeral"] == minute["users.info"] == 100
    assert minute["reactions.remove"] == 20
    assert [method for method, limit in SLACK_LIMITS.items() if limit.per is Per.CHANNEL] == ["chat.postMessage"]


@settings(max_examples=300)
@given(limit=limits, steps=tries)
def test_no_window_ever_holds_more_calls_than_allowed(limit: Limit, steps: list[tuple[float, int]]) -> None:
    """However they are tried; and ``keep`` slots stay free at every taking."""
    calls = budget(limit)
    taken: list[float] = []
    now = 0.0
    for pause, keep in steps:
        now += pause
        free = calls.free("T1", METHOD, now)
        wait = calls.take("T1", METHOD, now, keep=keep)
        assert (wait == 0.0) == (free > keep)
        if wait == 0.0:
            taken.append(now)
            assert calls.free("T1", METHOD, now) >= keep
    for first, last in zip(taken, taken[limit.calls :], strict=False):
        assert last - first > limit.seconds - 1e-5


@settings(max_examples=300)
@given(limit=limits, steps=tries, keep=st.integers(0, 2), start=st.floats(0.0, 1e9), pause=st.floats(0.0, 99.0))
def test_who_waits_as_told_gets_the_slot(
    limit: Limit, steps: list[tuple[float, int]], keep: int, start: float, pause: float
) -> None:
    """When nobody else takes it meanwhile, and no earlier: a moment before it is still refused."""
    calls = budget(replace(limit, per=Per.CHANNEL))  # a limit that no refusal changes
    now = start
    for step, _ in steps:
        now += step
        calls.take("T1", METHOD, now)
    calls.cool_off("T1", METHOD, now, pause)
    if keep >= limit.calls:
        return
    if wait := calls.take("T1", METHOD, now, keep=keep):
        if wait > 0.01:
            assert calls.take("T1", METHOD, now + wait - 0.005, keep=keep) > 0.0
        assert calls.take("T1", METHOD, now + wait, keep=keep) == 0.0


def test_calls_of_other_processes_count_as_ours_do() -> None:
    """As long as they were said to, until told otherwise; a pause or a reserve adds to them."""
    calls = budget()
    key = calls.key("T1", METHOD, "C1")
    calls.tell(key, [8.0, 4.0], 0.0)
    assert calls.free("T1", METHOD, 0.0) == 1
    assert calls.take("T1", METHOD, 0.0, keep=1) == 4.0
    assert calls.take("T1", METHOD, 0.0) == 0.0
    assert calls.take("T1", METHOD, 1.0) == calls.wait(key, 1.0) == 3.0
    assert calls.take("T1", METHOD, 4.0) == 0.0
    assert calls.wait(key, 5.0, keep=1) == 5.0
    calls.tell(key, [], 5.0)
    assert calls.free("T1", METHOD, 5.0) == 1


def test_a_call_that_counts_for_ever_is_nonsense() -> None:
    """A clock that was set back must not stop everything."""
    calls = budget()
    calls.tell(calls.key("T1", METHOD), [3_600.0, 1.0], 0.0)
    assert calls.free("T1", METHOD, 0.0) == 2


def test_a_slot_can_be_given_back() -> None:
    """Its call was not made; with none taken there is nothing to give."""
    calls = budget(Limit(1, seconds=10.0, margin=1.0))
    key = calls.key("T1", METHOD)
    calls.give_back(key, 0.0)
    assert calls.take("T1", METHOD, 0.0) == 0.0
    calls.give_back(key, 0.0)
    assert calls.take("T1", METHOD, 0.0) == 0.0
    assert calls.take("T1", METHOD, 0.0) == 11.0
    assert calls.room(key, 0.0) == (1, 11.0)


def test_a_share_is_a_part_of_each_limit() -> None:
    """Of 50 edits each of four processes gets 12, a quarter of what is reserved included, and of three posts one."""
    calls = Budget()
    calls.processes = 4
    assert calls.free("T1", METHOD, 0.0) == 12
    assert [calls.take("T1", METHOD, 0.0, keep=8) > 0.0 for _ in range(11)] == [False] * 10 + [True]
    assert [calls.take("T1", METHOD, 0.0) > 0.0 for _ in range(3)] == [False, False, True]
    assert [calls.take("T1", "chat.postMessage", 0.0, channel="C1") > 0.0 for _ in range(2)] == [False, True]
    calls.processes = 1
    assert calls.free("T1", METHOD, 0.0) == 38


def test_what_others_did_before_still_counts_in_a_share() -> None:
    """The share is no right to exceed the limit together with calls that are known."""
    calls = budget(Limit(4, seconds=10.0, margin=0.0))
    calls.tell(calls.key("T1", METHOD), [9.0, 5.0, 7.0], 0.0)
    calls.processes = 2
    assert calls.take("T1", METHOD, 0.0) == 0.0
    assert calls.take("T1", METHOD, 0.0) == 5.0
    assert calls.take("T1", METHOD, 5.0) == 0.0
    assert calls.take("T1", METHOD, 7.0) == 3.0


@settings(max_examples=200)
@given(limit=limits, processes=st.integers(2, 4), steps=tries)
def test_shares_never_exceed_the_limit_together(limit: Limit, processes: int, steps: list[tuple[float, int]]) -> None:
    """Processes that know nothing of each other make no more calls in a window than one of them might."""
    limit = replace(limit, calls=limit.calls * processes)
    each = [budget(limit) for _ in range(processes)]
    taken: list[float] = []
    now = 0.0
    for number, (pause, keep) in enumerate(steps):
        now += pause
        calls = each[(number + keep) % processes]
        calls.processes = processes
        free = calls.free("T1", METHOD, now)
        if not calls.take("T1", METHOD, now, keep=keep):
            taken.append(now)
            assert calls.free("T1", METHOD, now) == free - 1
    for first, last in zip(taken, taken[limit.calls :], strict=False):
        assert last - first > limit.seconds - 1e-5


def test_idle_channels_and_teams_are_forgotten() -> None:
    """Memory follows what is in use, not what was ever used."""
    calls = Budget()
    for number in range(20_000):
        now = number * 1.0
        calls.take(f"T{number}", "chat.postMessage", now, channel=f"C{number}")
        calls.cool_off(f"T{number}", METHOD, now, 1.0)
    assert len(calls._windows) <= 64
    assert len(calls._cool_until) <= 64


def test_busy_windows_survive_forgetting() -> None:
    """What still counts is not given away again."""
    calls = budget(Limit(1, seconds=1_000.0))
    for number in range(200):
        assert calls.take(f"T{number}", METHOD, float(number)) == 0.0
    assert all(calls.take(f"T{number}", METHOD, 200.0) > 0.0 for number in range(200))
