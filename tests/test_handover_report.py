"""Handovers as they are listed, shown and exported."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from slackbot.domain import (
    ChannelKind,
    Conversation,
    Handover,
    HandoverReason,
    HandoverState,
    Move,
    ThreadKey,
    Transition,
)
from slackbot.handover_report import UnknownHandover, listed, reported, shown
from slackbot.store import HandoverRecord, Store, Timers
from tests.stored import ts

REQUESTED, HUMAN, CLOSED = HandoverState.REQUESTED, HandoverState.HUMAN, HandoverState.CLOSED
AT = 1_795_370_405.9
THREAD = ThreadKey("T1", "C1", ts(1))
HANDOVER = Handover(
    12,
    Conversation(3, THREAD, ChannelKind.CHANNEL),
    CLOSED,
    HandoverReason.USER,
    "U0123ABCD",
    "U8",
    AT,
    claimed_at=AT + 42.04,
    first_word_at=AT + 190,
    ended_at=AT + 7_500,
)
SETTLED = HandoverRecord(
    HANDOVER,
    (
        Transition(1, Move.ASK, None, REQUESTED, "U0123ABCD", AT),
        Transition(2, Move.CLAIM, REQUESTED, HUMAN, "U8", AT + 42.04),
        Transition(5, Move.RESOLVE, HUMAN, CLOSED, "U8", AT + 7_500),
    ),
)
WAITING = HandoverRecord(
    replace(
        HANDOVER, id=13, state=REQUESTED, reason=HandoverReason.AGENT, operator_id=None, claimed_at=None,
        first_word_at=None, ended_at=None, conversation=Conversation(4, ThreadKey("T1", "D1", ""), ChannelKind.DM),
    ),
    (Transition(6, Move.ASK, None, REQUESTED, "", AT),),
)  # fmt: skip


def test_the_table_is_for_people() -> None:
    """Columns stand below each other, waits read as people say them, and the last line counts."""
    assert listed([WAITING, SETTLED]).splitlines() == [
        "id  opened                channel  reason  asker      operator  to claim  to first word  to end     outcome",
        "13  2026-11-22T18:00:05Z  D1       agent   U0123ABCD  -         -         -              -          requested",
        "12  2026-11-22T18:00:05Z  C1       user    U0123ABCD  U8        42 s      3 min 10 s     2 h 5 min  resolve",
        "2 listed: 1 open",
    ]
    assert listed([]) == "no handovers"


def test_one_is_shown_with_its_steps() -> None:
    """What the table has, the thread, and who did what when."""
    assert shown(SETTLED).splitlines() == [
        "id             12",
        "opened         2026-11-22T18:00:05Z",
        "channel        C1",
        "reason         user",
        "asker          U0123ABCD",
        "operator       U8",
        "to claim       42 s",
        "to first word  3 min 10 s",
        "to end         2 h 5 min",
        "outcome        resolve",
        "thread         1700000001.000100",
        "",
        "time                  move     from       to         by",
        "2026-11-22T18:00:05Z  ask      -          requested  U0123ABCD",
        "2026-11-22T18:00:47Z  claim    requested  human      U8",
        "2026-11-22T20:05:05Z  resolve  human      closed     U8",
    ]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.4, "0 s"), (59.6, "1 min 0 s"), (3_599, "59 min 59 s"), (86_399, "23 h 59 min"), (200_000, "2 d 7 h")],
)
def test_waits_are_told_in_two_units(seconds: float, words: str) -> None:
    """The smaller ones no longer matter."""
    record = HandoverRecord(replace(HANDOVER, ended_at=AT + seconds), SETTLED.transitions)
    assert f"\nto end         {words}\n" in shown(record)


async def test_json_is_one_object_a_line(database_url: str) -> None:
    """Names and types are the same in every line; what has not come is null."""
    store = await Store.open(database_url)
    try:
        for root in ("", ts(1)):
            thread = ThreadKey("T1", "C1", root)
            reason, who = HandoverReason.FAILURE, {"actor_id": "U1", "asker_id": "U1"}
            await store.ask_for_human(thread, ChannelKind.CHANNEL, reason=reason, **who, key="key", timers=Timers())
        await store.claim_handover(2, "T1", "U8", Timers())
        await store.end_handover(2, "T1", Move.HAND_BACK, "")
    finally:
        await store.close()

    async def objects(handover_id: int | None = None) -> list[dict[str, object]]:
        text = await reported(database_url, since=None, limit=None, handover_id=handover_id, as_json=True)
        return [json.loads(line) for line in text.splitlines()]

    over, waiting = await objects()
    steps = over.pop("steps")
    assert isinstance(steps, list)
    assert [(step["move"], step["from"], step["to"], step["by"]) for step in steps] == [
        ("ask", None, "requested", "U1"),
        ("claim", "requested", "human", "U8"),
        ("hand_back", "human", "returned", ""),
    ]
    assert over == {
        "id": 2,
        "opened": over["opened"],
        "team": "T1",
        "channel": "C1",
        "thread": ts(1),
        "reason": "failure",
        "asker": "U1",
        "operator": "U8",
        "state": "returned",
        "outcome": "hand_back",
        "seconds_to_claim": over["seconds_to_claim"],
        "seconds_to_first_word": None,
        "seconds_to_end": over["seconds_to_end"],
    }
    assert isinstance(over["seconds_to_end"], float)
    assert [waiting[name] for name in ("id", "thread", "operator", "outcome", "seconds_to_claim")] == [
        1, "", None, "requested", None,
    ]  # fmt: skip
    assert await objects(1) == [waiting]
    with pytest.raises(UnknownHandover, match="there is no handover 9"):
        await objects(9)
