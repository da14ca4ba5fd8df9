"""Handovers in the store: steps and races, what becomes of messages meanwhile, what has to be shown and when."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from slackbot.domain import (
    ChannelKind,
    ContextMessage,
    Handover,
    HandoverReason,
    HandoverState,
    MessageDeleted,
    MessageEdited,
    MessageRef,
    Move,
    Notice,
    ThreadKey,
    Turn,
    TurnKind,
)
from slackbot.routing import CallHuman, Ignore, KeepAsContext, Order, Relay, RunTurn, Say, StartAfresh, ThreadFacts
from slackbot.store import Changed, Due, Handed, Pressed, Store, StoreError, Timers
from tests.databases import Raw
from tests.stored import LEASE, accept, claimed, drain, facts, insist, message, stores, thread_of, ts

THREAD = thread_of(message(1))
NEVER = Timers()
CARD = MessageRef("C9", ts(500))


@pytest.fixture
async def replicas(database_url: str) -> AsyncIterator[list[Store]]:
    """Two stores on one database."""
    async with stores(database_url, 2) as opened:
        yield opened


@pytest.fixture
def store(replicas: list[Store]) -> Store:
    return replicas[0]


async def ask(
    store: Store,
    key: str = "key",
    *,
    thread: ThreadKey = THREAD,
    reason: HandoverReason = HandoverReason.USER,
    timers: Timers = NEVER,
) -> Handed:
    return await store.ask_for_human(
        thread, ChannelKind.CHANNEL, reason=reason, actor_id="U1", asker_id="U1", key=key, timers=timers
    )


async def opened(store: Store, *, timers: Timers = NEVER, claimed_by: str | None = None, key: str = "key") -> Handover:
    """A handover of the thread, which waits, or is somebody's."""
    handed = await ask(store, key, timers=timers)
    assert handed.done
    assert handed.handover is not None
    if claimed_by is not None:
        handed = await store.claim_handover(handed.handover.id, "T1", claimed_by, timers)
    assert handed.handover is not None
    return handed.handover


async def relay(store: Store, at: int, text: str = "") -> int:
    """What the asker writes while a human is there."""
    accepted = await accept(store, message(at, thread=1, text=text), Relay())
    assert accepted.turn_id is not None
    return accepted.turn_id


def pass_time(sql: Raw, seconds: float) -> None:
    """What the database's clock would do to handovers."""
    for column in ("quiet_since", "due_at", "wake_at", "lease_until"):
        sql(f"UPDATE handovers SET {column} = {column} - %s", seconds)


# --- asking for a human


async def test_a_human_is_asked_for(store: Store) -> None:
    """The handover waits, says who and why, and is found by its thread, its id and its conversation."""
    await accept(store, message(1))
    handed = await ask(store, reason=HandoverReason.FAILURE)
    handover = handed.handover
    assert handover is not None
    assert (handed.done, handover.state, handover.is_open) == (True, HandoverState.REQUESTED, True)
    assert (handover.reason, handover.asker_id, handover.operator_id) == (HandoverReason.FAILURE, "U1", None)
    assert (handover.claimed_at, handover.first_word_at, handover.ended_at, handover.card) == (None,) * 4
    assert handover.conversation.thread == THREAD
    assert await store.open_handover(THREAD) == handover
    assert await store.handover(handover.id, "T1") == handover
    assert await store.newest_handover(handover.conversation.id) == handover
    assert (await facts(store, message(9, thread=1))).handover == handover


async def test_what_is_not_there_is_not_found(store: Store) -> None:
    """Another team's handover is unknown, too; nothing can be done with either."""
    handover = await opened(store)
    assert await store.handover(handover.id, "T2") is None
    assert await store.handover(99, "T1") is None
    assert await store.newest_handover(99) is None
    assert await store.open_handover(replace(THREAD, root_ts=ts(2))) is None
    assert await store.handover_of_card("T1", CARD) is None
    nothing = Handed(done=False, handover=None)
    assert await store.claim_handover(handover.id, "T2", "U8", NEVER) == nothing
    assert await store.end_handover(99, "T1", Move.RESOLVE, "U8") == nothing
    assert await store.take_over(replace(THREAD, root_ts=ts(2)), "U8", NEVER) == nothing
    assert await store.handovers(handover_id=99) == []


async def test_a_signal_asks_once_for_ever(store: Store) -> None:
    """The same key asks nothing a second time, even when it came while somebody else had asked; another one does."""
    first = await opened(store, key="call 1")
    assert await ask(store, "call 2") == Handed(done=False, handover=first)
    over = await store.end_handover(first.id, "T1", Move.HAND_BACK, "U8")
    for key in ("call 1", "call 2"):
        assert await ask(store, key) == Handed(done=False, handover=over.handover)
    assert (await ask(store, "call 1", thread=replace(THREAD, root_ts=ts(2)))).done
    assert (await ask(store, "call 3")).done


async def test_what_the_database_cannot_hold_is_our_error(store: Store, sql: Raw) -> None:
    """A key from outside may be anything; then nothing is opened."""
    with pytest.raises(StoreError, match="refuses a value"):
        await ask(store, "lone \ud800 surrogate")
    assert sql("SELECT count(*) FROM handovers") == [(0,)]


async def test_questions_that_wait_become_context(store: Store, sql: Raw) -> None:
    """They go along with the next question, files included; nothing of the thread is left to be claimed."""
    await accept(store, message(1))
    first = await claimed(store)
    await accept(store, message(2, thread=1, user="U2"))
    await accept(store, message(3, thread=1))
    await accept(store, message(4))
    assert (await ask(store)).stop_turn == first.id
    await store.finish(first.id, "me", "stopped")
    assert [turn.ts for turn in await drain(store)] == [ts(4)]
    assert sql("SELECT count(*) FROM turns WHERE kind = 'context' AND state = 'done'") == [(2,)]
    handover = await store.open_handover(THREAD)
    assert handover is not None
    await store.end_handover(handover.id, "T1", Move.HAND_BACK, "U8")
    await accept(store, message(5, thread=1))
    said = await store.context_for(await claimed(store))
    assert [(one.ts, one.user_id, one.text, len(one.attachments)) for one in said] == [
        (ts(2), "U2", "message 2", 1),
        (ts(3), "U1", "message 3", 1),
    ]


async def test_a_fresh_start_that_waits_is_made_at_once(store: Store) -> None:
    """Its sentence is not said any more, but the conversation begins anew."""
    await accept(store, message(1))
    turn = await claimed(store)
    await store.bind(turn.id, "me", "conv-1")
    await store.fail(turn.id, "me", "agent")
    await accept(store, message(2, thread=1), StartAfresh())
    handover = await opened(store)
    assert handover.conversation.agent_conversation_id is None
    assert await drain(store) == []


@pytest.mark.parametrize("reason", list(HandoverReason))
async def test_who_asks_decides_whether_the_answer_is_stopped(store: Store, reason: HandoverReason) -> None:
    """The agent's own words are shown as they are; everybody else wants no more of them."""
    await accept(store, message(1))
    turn = await claimed(store)
    handed = await ask(store, reason=reason)
    stops = reason is not HandoverReason.AGENT
    assert handed.stop_turn == (turn.id if stops else None)
    assert await store.renew("me", [turn.id], LEASE) == {turn.id: "U1" if stops else None}


async def test_an_answer_that_is_said_is_not_stopped(store: Store) -> None:
    """Nor does a second one who wants it stopped take the place of the first."""
    await accept(store, message(1))
    turn = await claimed(store)
    await store.request_stop(turn.id, "T1", "C1", "U1")
    handed = await store.take_over(THREAD, "U8", NEVER)
    assert handed.stop_turn == turn.id
    assert await store.renew("me", [turn.id], LEASE) == {turn.id: "U1"}
    await store.mark_shown(turn.id, "me")
    assert handed.handover is not None
    await store.end_handover(handed.handover.id, "T1", Move.HAND_BACK, "U8")
    assert (await store.take_over(THREAD, "U8", NEVER)).stop_turn is None


# --- taking and ending


async def test_an_operator_takes_over_unasked(store: Store) -> None:
    """The thread is theirs at once, for whoever asked last; a claim stops the answer, too."""
    await accept(store, message(1, user="U2"))
    await accept(store, message(2, thread=1, user="U3"), KeepAsContext())
    turn = await claimed(store)
    handed = await store.take_over(THREAD, "U8", NEVER)
    handover = handed.handover
    assert handover is not None
    assert (handed.done, handed.stop_turn, handover.state) == (True, turn.id, HandoverState.HUMAN)
    assert (handover.asker_id, handover.operator_id, handover.reason) == ("U2", "U8", HandoverReason.OPERATOR)
    assert handover.claimed_at == handover.opened_at
    assert await store.take_over(THREAD, "U9", NEVER) == Handed(done=False, handover=handover)


async def test_taking_over_claims_what_waits(store: Store) -> None:
    """The reason stays the asker's."""
    handover = await opened(store)
    handed = await store.take_over(THREAD, "U8", NEVER)
    assert handed.done
    assert handed.handover is not None
    assert (handed.handover.id, handed.handover.reason) == (handover.id, HandoverReason.USER)
    [record] = await store.handovers()
    assert [step.move for step in record.transitions] == [Move.ASK, Move.CLAIM]


async def test_in_a_thread_without_questions_the_last_writer_is_helped(store: Store) -> None:
    """A greeting has an author as well; nobody at all is nobody."""
    await accept(store, message(1, user="U2"), Say(Notice.GREETING))
    await accept(store, message(2, thread=1, user="U3"), KeepAsContext())
    taken = await store.take_over(THREAD, "U8", NEVER)
    assert taken.handover is not None
    assert taken.handover.asker_id == "U3"
    other = await ask(store, thread=replace(THREAD, root_ts=ts(7)))
    assert other.handover is not None
    await store.end_handover(other.handover.id, "T1", Move.CALL_OFF, "U1")
    taken = await store.take_over(replace(THREAD, root_ts=ts(7)), "U8", NEVER)
    assert taken.handover is not None
    assert taken.handover.asker_id == ""


@pytest.mark.parametrize(
    ("move", "operator", "after"),
    [
        (Move.HAND_BACK, "U8", HandoverState.RETURNED),
        (Move.HAND_BACK, None, HandoverState.RETURNED),
        (Move.RESOLVE, "U8", HandoverState.CLOSED),
        (Move.RESOLVE, None, HandoverState.CLOSED),
        (Move.CALL_OFF, None, HandoverState.RETURNED),
        (Move.CALL_OFF, "U8", None),
        (Move.GIVE_UP, None, HandoverState.RETURNED),
        (Move.GIVE_UP, "U8", None),
    ],
)
async def test_how_a_handover_ends(store: Store, move: Move, operator: str | None, after: HandoverState | None) -> None:
    """Calling off and giving up come too late once somebody is there; an end is final."""
    handover = await opened(store, claimed_by=operator)
    handed = await store.end_handover(handover.id, "T1", move, "U7")
    if after is None:
        assert handed == Handed(done=False, handover=handover)
        return
    over = handed.handover
    assert over is not None
    assert (handed.done, over.state, over.is_open) == (True, after, False)
    assert over.ended_at is not None
    assert await store.open_handover(THREAD) is None
    for again in (Move.HAND_BACK, Move.RESOLVE):
        assert await store.end_handover(handover.id, "T1", again, "U7") == Handed(done=False, handover=over)
    assert await store.claim_handover(handover.id, "T1", "U9", NEVER) == Handed(done=False, handover=over)
    [record] = await store.handovers()
    last = record.transitions[-1]
    assert (last.move, last.before, last.after, last.actor_id) == (move, handover.state, after, "U7")
    assert (await facts(store, message(9, thread=1))).handover is None


async def test_of_operators_that_claim_at_once_one_has_it(replicas: list[Store]) -> None:
    """The others learn who; that holds for claims and for taking over, wherever they come in."""
    for n in range(10):
        handover = await opened(replicas[0], key=f"key {n}")
        outcomes = await asyncio.gather(
            *(replicas[i % 2].claim_handover(handover.id, "T1", f"W{i}", NEVER) for i in range(6)),
            *(replicas[i % 2].take_over(THREAD, f"W{i}", NEVER) for i in range(6, 10)),
        )
        [won] = [i for i, handed in enumerate(outcomes) if handed.done]
        for handed in outcomes:
            assert handed.handover is not None
            assert (handed.handover.id, handed.handover.operator_id) == (handover.id, f"W{won}")
        assert (await replicas[1].end_handover(handover.id, "T1", Move.HAND_BACK, "U8")).done


@pytest.mark.parametrize("messages", [0, 1])
async def test_of_many_who_ask_at_once_one_opens(replicas: list[Store], messages: int, sql: Raw) -> None:
    """Also in a thread that all of them would have to begin."""
    for at in range(messages):
        await accept(replicas[0], message(at, thread=1))
    outcomes = await asyncio.gather(*(ask(replicas[i % 2], f"key {i}") for i in range(10)))
    assert sum(handed.done for handed in outcomes) == 1
    assert len({handed.handover.id for handed in outcomes if handed.handover}) == 1
    assert sql("SELECT count(*) FROM handovers") == [(1,)]


async def test_of_ends_and_claims_at_once_the_steps_make_one_path(replicas: list[Store]) -> None:
    """Whatever is done was done from the state that the step before led to."""
    for n in range(10):
        handover = await opened(replicas[0], key=f"key {n}")
        moves = [Move.HAND_BACK, Move.RESOLVE, Move.CALL_OFF, Move.GIVE_UP]
        outcomes = await asyncio.gather(
            replicas[1].claim_handover(handover.id, "T1", "U8", NEVER),
            *(replicas[i % 2].end_handover(handover.id, "T1", move, "U7") for i, move in enumerate(moves)),
        )
        [record] = await replicas[1].handovers(handover_id=handover.id)
        assert sum(handed.done for handed in outcomes) == len(record.transitions) - 1
        states = [step.after for step in record.transitions]
        assert [step.before for step in record.transitions] == [None, *states[:-1]]
        assert states[-1] is record.handover.state
        assert not record.handover.is_open


async def test_the_index_refuses_a_second_open_one(store: Store, sql: Raw) -> None:
    """Whoever tries."""
    await opened(store)
    with pytest.raises(Exception, match=r"(?i)unique"):
        sql(
            "INSERT INTO handovers (conversation_id, state, reason, asker_id, opened_at, quiet_since, told, untold)"
            " SELECT conversation_id, 'human', reason, asker_id, 0, 0, 0, untold FROM handovers"
        )


# --- what becomes of messages


def decide(known: ThreadFacts) -> RunTurn | KeepAsContext:
    return KeepAsContext() if known.handover else RunTurn()


async def test_no_question_slips_in_while_a_handover_opens(replicas: list[Store], sql: Raw) -> None:
    """Messages race the asking and the end of it: while one is open no question waits, and none is lost."""

    async def deliver(number: int) -> None:
        await insist(lambda: replicas[number % 2].accept(message(number, thread=1), THREAD, decide))

    for n in range(20):
        arriving = [deliver(100 * n + i) for i in range(1, 6)]
        asking = insist(partial(ask, replicas[n % 2], f"key {n}"))
        handed, _ = await asyncio.gather(asking, asyncio.gather(*arriving))
        assert handed.handover is not None
        assert sql("SELECT count(*) FROM turns WHERE kind = 'ask' AND state = 'queued'") == [(0,)]
        arriving = [deliver(100 * n + i) for i in range(11, 16)]
        ending = insist(partial(replicas[0].end_handover, handed.handover.id, "T1", Move.HAND_BACK, "U8"))
        over, _ = await asyncio.gather(ending, asyncio.gather(*arriving))
        assert over.done
    assert sql("SELECT count(*) FROM turns") == [(200,)]


async def test_the_agent_is_silent_while_a_handover_is_open(store: Store) -> None:
    """A question that got in all the same waits for its end; our own sentences do not."""
    handover = await opened(store)
    await accept(store, message(2, thread=1))
    await accept(store, message(3, thread=1), Say(Notice.GREETING))
    await accept(store, message(4))
    assert {turn.ts for turn in await drain(store)} == {ts(3), ts(4)}
    await store.end_handover(handover.id, "T1", Move.HAND_BACK, "U8")
    assert [turn.ts for turn in await drain(store)] == [ts(2)]


async def test_a_stopped_answer_that_was_given_back_ends_during_the_handover(store: Store) -> None:
    """Its process went away before it could say so; the next one does."""
    await accept(store, message(1))
    turn = await claimed(store)
    await ask(store)
    await store.postpone(turn.id, "me", 0)
    again = await claimed(store)
    assert (again.id, again.stopped_by) == (turn.id, "U1")


async def test_a_failed_question_is_not_tried_again_meanwhile(store: Store) -> None:
    """The press is told why; afterwards it works."""
    await accept(store, message(1))
    turn = await claimed(store)
    await store.fail(turn.id, "me", "agent")
    handover = await opened(store)
    assert await store.retry(turn.id, "T1", "C1", "U1") is Pressed.HANDED_OVER
    assert await store.retry(turn.id, "T1", "C1", "U2") is Pressed.NOT_ASKER
    await store.end_handover(handover.id, "T1", Move.HAND_BACK, "U8")
    assert await store.retry(turn.id, "T1", "C1", "U1") is Pressed.DONE
    assert await store.retry(turn.id, "T1", "C1", "U1") is Pressed.TOO_LATE


async def test_words_of_the_operator_are_known_as_such(store: Store) -> None:
    """Those in the thread, also from just before; not those of others, nor of theirs afterwards."""
    await accept(store, message(1))
    await store.finish((await claimed(store)).id, "me")
    await accept(store, message(2, thread=1, user="U8"), KeepAsContext())
    await accept(store, message(3, thread=1, user="U9"), KeepAsContext())
    handed = await store.take_over(THREAD, "U8", NEVER)
    assert handed.handover is not None
    for at, user in ((4, "U8"), (5, "U1"), (6, "U9")):
        await accept(store, message(at, thread=1, user=user), KeepAsContext())
    await store.end_handover(handed.handover.id, "T1", Move.HAND_BACK, "U8")
    await accept(store, message(7, thread=1, user="U8"), KeepAsContext())
    await accept(store, message(8, thread=1))
    said = await store.context_for(await claimed(store))
    assert [(one.user_id, one.from_operator) for one in said] == [
        ("U8", True),
        ("U9", False),
        ("U8", True),
        ("U1", False),
        ("U9", False),
        ("U8", False),
    ]


async def test_an_operator_is_nobody_else(store: Store) -> None:
    """After a handover the asker goes on without a mention, as after an answer of the agent's."""
    await accept(store, message(1))
    await store.finish((await claimed(store)).id, "me")
    handed = await store.take_over(THREAD, "U8", NEVER)
    assert handed.handover is not None
    await accept(store, message(2, thread=1, user="U8"), KeepAsContext())
    assert not (await facts(store, message(9, thread=1))).others_wrote_since
    await accept(store, message(3, thread=1, user="U9"), KeepAsContext())
    assert (await facts(store, message(9, thread=1))).others_wrote_since


async def test_settling_forgets(store: Store, sql: Raw) -> None:
    """No word is left and the agent's conversation is unbound; handing back keeps both."""
    for n, move in enumerate((Move.HAND_BACK, Move.RESOLVE)):
        at = 10 * n
        await accept(store, message(at + 1, thread=1))
        turn = await claimed(store)
        await store.bind(turn.id, "me", "conv-1")
        await store.finish(turn.id, "me")
        handover = await opened(store, claimed_by="U8", key=f"key {n}")
        await accept(store, message(at + 2, thread=1), KeepAsContext())
        await relay(store, at + 3)
        await store.finish((await claimed(store)).id, "me")
        await relay(store, at + 4)
        last = await claimed(store)
        over = await store.end_handover(handover.id, "T1", move, "U8")
        assert over.handover is not None
        kept = move is Move.HAND_BACK
        bound = (await facts(store, message(99, thread=1))).conversation
        assert bound is not None
        assert bound.agent_conversation_id == ("conv-1" if kept else None)
        # What was just being shown follows.
        assert await store.finish(last.id, "me")
        assert sql("SELECT count(*) FROM turns WHERE text IS NOT NULL") == [(3 if kept else 0,)]


async def test_commands_and_calls_are_stored(store: Store) -> None:
    """What calls for a human is context, a command leaves no words; neither is taken in twice."""
    for at, decision in ((1, CallHuman(HandoverReason.USER)), (2, Order(Move.HAND_BACK))):
        assert (await accept(store, message(at, thread=1), decision)).turn_id is not None
        assert (await accept(store, message(at, thread=1), decision)).duplicate
    await accept(store, message(3, thread=1))
    assert [said.text for said in await store.context_for(await claimed(store))] == ["message 1"]


# --- relayed messages


async def test_messages_of_both_sides_are_shown_in_order(store: Store) -> None:
    """One at a time, oldest first, each knowing where it goes; then they are what the agent hears."""
    handover = await opened(store, claimed_by="U8")
    from_desk = replace(message(3, thread=500, user="U8", channel="C9"), thread_ts=CARD.ts)
    await relay(store, 4)
    answered = await store.accept_relay(from_desk, handover.id, from_operator=True)
    assert (answered.decision, answered.duplicate) == (Relay(), False)
    assert (await store.accept_relay(from_desk, handover.id, from_operator=True)).duplicate
    await relay(store, 2)
    shown = []
    for _ in range(3):
        [turn] = await drain(store)
        assert (turn.kind, turn.handover_id, turn.thread) == (TurnKind.RELAY, handover.id, THREAD)
        shown.append((turn.ts, turn.user_id, turn.text, turn.from_operator))
        await store.finish(turn.id, "me")
    assert shown == [
        (ts(2), "U1", "message 2", False),
        (ts(3), "U8", "message 3", True),
        (ts(4), "U1", "message 4", False),
    ]
    await store.end_handover(handover.id, "T1", Move.HAND_BACK, "U8")
    await accept(store, message(5, thread=1))
    said = await store.context_for(await claimed(store))
    assert [(one.ts, one.from_operator) for one in said] == [(ts(2), False), (ts(3), True), (ts(4), False)]


async def test_nothing_is_relayed_after_the_end(store: Store) -> None:
    """Nor to a handover that is not there."""
    handover = await opened(store, claimed_by="U8")
    await store.end_handover(handover.id, "T1", Move.HAND_BACK, "U8")
    await opened(store, key="another")
    inbound = message(3, thread=500, user="U8", channel="C9")
    over = await store.accept_relay(inbound, handover.id, from_operator=True)
    assert (over.decision, over.turn_id) == (Ignore("the handover is over"), None)
    unknown = await store.accept_relay(inbound, 99, from_operator=True)
    assert unknown.decision == Ignore("no such handover")


async def test_people_wait_for_the_agents_words_and_not_for_its_silence(store: Store) -> None:
    """While the stopped answer is still written to nothing is relayed; while it only settles, it is."""
    await accept(store, message(1))
    turn = await claimed(store)
    await opened(store)
    await relay(store, 2)
    assert await drain(store) == []
    await store.mark_shown(turn.id, "me")
    [shown] = await drain(store)
    assert shown.ts == ts(2)


async def test_a_question_waits_for_what_is_still_to_be_relayed(store: Store) -> None:
    """The agent would not hear of it otherwise."""
    handover = await opened(store, claimed_by="U8")
    await relay(store, 2)
    await relay(store, 3)
    await store.end_handover(handover.id, "T1", Move.HAND_BACK, "U8")
    await accept(store, message(4, thread=1))
    order = []
    for _ in range(3):
        [turn] = await drain(store)
        order.append((turn.kind, turn.ts))
        await store.finish(turn.id, "me")
    assert order == [(TurnKind.RELAY, ts(2)), (TurnKind.RELAY, ts(3)), (TurnKind.ASK, ts(4))]


async def test_two_relays_of_a_thread_never_run_at_once(replicas: list[Store], sql: Raw) -> None:
    """However many replicas claim."""
    await opened(replicas[0], claimed_by="U8")
    for at in range(2, 22):
        await relay(replicas[0], at)
    for at in range(2, 22):
        claims = await asyncio.gather(*(replicas[i % 2].claim(f"owner-{i}", LEASE, 3) for i in range(6)))
        [(owner, turn)] = [(i, turn) for i, turns in enumerate(claims) for turn in turns]
        assert turn.ts == ts(at)
        assert await replicas[0].finish(turn.id, f"owner-{owner}")
    with pytest.raises(Exception, match=r"(?i)unique"):
        sql("UPDATE turns SET state = 'running'")


async def words_of(store: Store, turn: Turn) -> str | None:
    """The relay as it is run next, None when it is not."""
    again = await store.claim("me", LEASE)
    if not again:
        return None
    assert [one.id for one in again] == [turn.id]
    assert again[0].attempt > turn.attempt
    await store.finish(turn.id, "me")
    return again[0].text


@pytest.mark.parametrize("state", ["queued", "running", "done", "failed"])
async def test_an_edit_travels_however_far_its_message_is(store: Store, state: str) -> None:
    """It is shown again with the new words, which are also what the agent hears; then nothing is left to do."""
    handover = await opened(store, claimed_by="U8")
    turn_id = await relay(store, 2)
    turn = None if state == "queued" else await claimed(store)
    if turn and state == "done":
        await store.finish(turn.id, "me")
    if turn and state == "failed":
        await store.fail(turn.id, "me", "chat")
    edit = MessageEdited("T1", "C1", ts(2), "new words")
    assert await store.edit_message(edit) is Changed.USED
    if turn and state == "running":
        assert await drain(store) == []
        assert await store.finish(turn.id, "me")
    again = await claimed(store)
    assert (again.id, again.text, again.attachments) == (turn_id, "new words", ())
    await store.finish(again.id, "me")
    assert await drain(store) == []
    await store.end_handover(handover.id, "T1", Move.HAND_BACK, "U8")
    await accept(store, message(5, thread=1))
    assert [said.text for said in await store.context_for(await claimed(store))] == ["new words"]


@pytest.mark.parametrize("state", ["queued", "running", "done", "failed"])
async def test_a_deletion_travels_too(store: Store, sql: Raw, state: str) -> None:
    """The turn is run again without words; neither the agent nor the database has any of them then."""
    await opened(store, claimed_by="U8")
    turn_id = await relay(store, 2)
    turn = None if state == "queued" else await claimed(store)
    if turn and state == "done":
        await store.finish(turn.id, "me")
    if turn and state == "failed":
        await store.fail(turn.id, "me", "chat")
    assert await store.drop_message(MessageDeleted("T1", "C1", ts(2))) is Changed.USED
    if turn and state == "running":
        assert await store.fail(turn.id, "me", "chat")
    again = await claimed(store)
    assert (again.id, again.text, again.attachments) == (turn_id, "", ())
    await store.finish(again.id, "me")
    assert sql("SELECT state, text, attachments, error FROM turns") == [("done", None, None, "deleted")]
    assert await drain(store) == []


async def test_no_edit_is_lost_to_a_crash(store: Store) -> None:
    """Whoever takes the turn over has the newest words already, and shows them once."""
    await opened(store, claimed_by="U8")
    await relay(store, 2)
    turn = await claimed(store, lease=0.0)
    await store.edit_message(MessageEdited("T1", "C1", ts(2), "new words"))
    heir = await claimed(store, "heir")
    assert (heir.id, heir.text) == (turn.id, "new words")
    assert not await store.finish(turn.id, "me")
    await store.finish(heir.id, "heir")
    assert await drain(store) == []


async def test_edits_race_the_showing_and_none_is_lost(replicas: list[Store]) -> None:
    """The last words are shown last, whenever they come."""
    await opened(replicas[0], claimed_by="U8")
    for at in range(2, 32):
        await relay(replicas[0], at)
        turn = await claimed(replicas[0])
        editing = asyncio.create_task(replicas[1].edit_message(MessageEdited("T1", "C1", ts(at), "new words")))
        await asyncio.sleep(at / 20_000)
        await replicas[0].finish(turn.id, "me")
        assert await editing is Changed.USED
        assert await words_of(replicas[0], turn) == "new words"
        assert await drain(replicas[0]) == []


async def test_an_edit_after_settling_is_shown_and_forgotten(store: Store, sql: Raw) -> None:
    """The other side still sees what its author means; no words stay behind."""
    handover = await opened(store, claimed_by="U8")
    await relay(store, 2)
    await store.finish((await claimed(store)).id, "me")
    await store.end_handover(handover.id, "T1", Move.RESOLVE, "U8")
    assert await store.edit_message(MessageEdited("T1", "C1", ts(2), "new words")) is Changed.USED
    again = await claimed(store)
    assert again.text == "new words"
    await store.fail(again.id, "me", "chat")
    assert sql("SELECT text FROM turns") == [(None,)]


async def test_words_that_could_not_be_shown(store: Store) -> None:
    """What the asker wrote reaches the agent in the end; what an operator wrote and nobody saw was not said."""
    handover = await opened(store, claimed_by="U8")
    await relay(store, 2)
    inbound = message(3, thread=500, user="U8", channel="C9")
    await store.accept_relay(inbound, handover.id, from_operator=True)
    for _ in range(2):
        await store.fail((await claimed(store)).id, "me", "chat")
    await store.end_handover(handover.id, "T1", Move.GIVE_UP, "")
    await store.end_handover(handover.id, "T1", Move.HAND_BACK, "")
    await accept(store, message(5, thread=1))
    said = await store.context_for(await claimed(store))
    assert said == [ContextMessage(ts(2), "U1", "message 2", message(2).attachments)]


# --- what has to be shown


async def due(store: Store, owner: str = "me", lease: float = LEASE) -> list[tuple[list[Move], str | None]]:
    return [([step.move for step in one.untold], one.timer) for one in await store.due_handovers(owner, lease)]


async def tell(store: Store, owner: str = "me", *, timers: Timers = NEVER, lease: float = LEASE) -> Due:
    """Take the one that is due and say that all of it is shown."""
    [one] = await store.due_handovers(owner, lease)
    upto = one.untold[-1].id if one.untold else 0
    assert await store.handover_told(one.handover.id, owner, upto, None, one.timer, timers)
    return one


async def test_every_step_is_shown_once(store: Store) -> None:
    """In order, together when they come together; what is shown does not come back."""
    assert await due(store) == []
    handover = await opened(store, claimed_by="U8")
    [one] = await store.due_handovers("me", LEASE)
    assert ([step.move for step in one.untold], one.timer) == ([Move.ASK, Move.CLAIM], None)
    assert one.handover == await store.handover(handover.id, "T1")
    first, second = one.untold
    assert (first.before, first.after, first.actor_id) == (None, HandoverState.REQUESTED, "U1")
    assert (second.before, second.after, second.actor_id) == (HandoverState.REQUESTED, HandoverState.HUMAN, "U8")
    assert await store.handover_told(handover.id, "me", first.id, CARD, None, NEVER)
    shown = await store.handover_of_card("T1", CARD)
    assert shown is not None
    assert (shown.id, shown.card) == (handover.id, CARD)
    assert [step.move for step in (await tell(store)).untold] == [Move.CLAIM]
    assert await due(store) == []
    await store.end_handover(handover.id, "T1", Move.RESOLVE, "U8")
    assert [step.move for step in (await tell(store)).untold] == [Move.RESOLVE]
    assert await store.handover_of_card("T1", CARD) == await store.handover(handover.id, "T1")
    assert await due(store) == []


async def test_a_handover_is_shown_by_one_at_a_time(store: Store) -> None:
    """While it is held, a further step waits too; a lease that ran out is another's, and the first one's word is
    not taken any more."""
    handover = await opened(store)
    [mine] = await store.due_handovers("me", LEASE)
    await store.claim_handover(handover.id, "T1", "U8", NEVER)
    assert await due(store, "other") == []
    assert await store.handover_told(handover.id, "me", mine.untold[-1].id, None, None, NEVER)
    assert not await store.handover_told(handover.id, "me", mine.untold[-1].id, None, None, NEVER)
    assert await due(store, "other", 0.0) == [([Move.CLAIM], None)]
    assert await due(store, "heir") == [([Move.CLAIM], None)]
    assert not await store.handover_told(handover.id, "other", 99, CARD, None, NEVER)
    assert await store.handover_of_card("T1", CARD) is None


async def test_replicas_share_what_is_due(replicas: list[Store]) -> None:
    """Forty handovers, six that ask at once: each is taken by one of them, oldest first and as many as wanted."""
    for n in range(40):
        assert (await ask(replicas[0], thread=replace(THREAD, root_ts=ts(n)))).done
    taken = await asyncio.gather(*(replicas[i % 2].due_handovers(f"owner-{i}", LEASE, 10) for i in range(6)))
    assert max(map(len, taken)) <= 10
    rest = [one for _ in range(4) for one in await replicas[0].due_handovers("late", LEASE, 10)]
    found = [one.handover.id for some in [*taken, rest] for one in some]
    assert len(found) == len(set(found)) == 40
    for some in taken:
        assert [one.handover.opened_at for one in some] == sorted(one.handover.opened_at for one in some)


async def test_steps_race_the_showing_and_none_is_lost(replicas: list[Store]) -> None:
    """Whenever a claim comes, it is among what is still to be shown, or was shown."""
    for n in range(30):
        handover = await opened(replicas[0], key=f"key {n}")
        claiming = asyncio.create_task(replicas[1].claim_handover(handover.id, "T1", "U8", NEVER))
        await asyncio.sleep(n / 10_000)
        told: list[Move] = []
        # A row that is being changed is passed over.
        while len(told) < 2:
            for one in await replicas[0].due_handovers("me", LEASE):
                told += [step.move for step in one.untold]
                assert await replicas[0].handover_told(handover.id, "me", one.untold[-1].id, None, None, NEVER)
        await claiming
        assert told == [Move.ASK, Move.CLAIM]
        assert await due(replicas[1]) == []
        await replicas[0].end_handover(handover.id, "T1", Move.HAND_BACK, "U8")
        await tell(replicas[1])


async def test_a_restart_need_not_wait_for_a_lease(tmp_path: Path, migrated_sqlite: Path) -> None:
    """The lock file proves that the process before is dead."""
    shutil.copy(migrated_sqlite, tmp_path / "slackbot.db")
    store = await Store.open(f"sqlite:///{tmp_path / 'slackbot.db'}", exclusive=True)
    try:
        await opened(store)
        assert len(await due(store)) == 1
        assert await due(store) == []
        await store.void_leases()
        assert len(await due(store)) == 1
    finally:
        await store.close()


# --- timers

TIMERS = Timers(remind=300, give_up=700, nudge=900, offer=3600)


async def test_nobody_comes(store: Store, sql: Raw) -> None:
    """Reminded again and again, then given up, which comes back until it is done."""
    handover = await opened(store, timers=TIMERS)
    await tell(store, timers=TIMERS)
    gone_off = []
    for seconds in (299, 2, 298, 3, 90, 20):
        pass_time(sql, seconds)
        gone_off.append([timer for _, timer in await due(store)])
        if gone_off[-1] and gone_off[-1] != ["give_up"]:
            assert await store.handover_told(handover.id, "me", 0, None, gone_off[-1][0], TIMERS)
    assert gone_off == [[], ["remind"], [], ["remind"], [], ["give_up"]]
    assert await store.handover_told(handover.id, "me", 0, None, "give_up", TIMERS)
    assert await due(store) == [([], "give_up")]
    assert (await store.end_handover(handover.id, "T1", Move.GIVE_UP, "")).done
    assert await store.handover_told(handover.id, "me", 0, None, "give_up", TIMERS)
    assert ([step.move for step in (await tell(store)).untold]) == [Move.GIVE_UP]
    pass_time(sql, 10_000)
    assert await due(store) == []


async def test_an_operator_is_silent(store: Store, sql: Raw) -> None:
    """Nudged once, then offered to hand back once; each word of theirs begins that anew."""
    handover = await opened(store, timers=TIMERS)
    pass_time(sql, 250)
    await store.claim_handover(handover.id, "T1", "U8", TIMERS)
    await tell(store, timers=TIMERS)
    for _ in range(2):
        pass_time(sql, 899)
        assert await due(store) == []
        await store.operator_spoke(handover.id, TIMERS)
        pass_time(sql, 899)
        assert await due(store) == []
        pass_time(sql, 2)
        assert (await tell(store, timers=TIMERS)).timer == "nudge"
        pass_time(sql, 2698)
        assert await due(store) == []
        pass_time(sql, 2)
        assert (await tell(store, timers=TIMERS)).timer == "offer"
        pass_time(sql, 100_000)
        assert await due(store) == []
        await store.operator_spoke(handover.id, TIMERS)


async def test_a_timer_that_is_told_of_too_late_moves_nothing(store: Store, sql: Raw) -> None:
    """The operator spoke, or somebody came, while it was being shown."""
    handover = await opened(store, timers=TIMERS)
    await tell(store, timers=TIMERS)
    pass_time(sql, 301)
    [one] = await store.due_handovers("me", LEASE)
    assert one.timer == "remind"
    await store.claim_handover(handover.id, "T1", "U8", TIMERS)
    assert await store.handover_told(handover.id, "me", 0, None, one.timer, TIMERS)
    await tell(store, timers=TIMERS)
    pass_time(sql, 901)
    [one] = await store.due_handovers("me", LEASE)
    assert one.timer == "nudge"
    await store.operator_spoke(handover.id, TIMERS)
    assert await store.handover_told(handover.id, "me", 0, None, one.timer, TIMERS)
    pass_time(sql, 901)
    assert (await tell(store, timers=TIMERS)).timer == "nudge"


@pytest.mark.parametrize(
    ("timers", "requested", "human"),
    [
        (Timers(), None, None),
        (Timers(remind=100, nudge=100), "remind", "nudge"),
        (Timers(give_up=100, offer=100), "give_up", "offer"),
        (Timers(100, 50, 100, 50), "give_up", "offer"),
        (Timers(100, 100, 100, 100), "give_up", "nudge"),
    ],
)
async def test_timers_can_be_switched_off(
    store: Store, sql: Raw, timers: Timers, requested: str | None, human: str | None
) -> None:
    """The sooner one goes off first, whichever it is; 0 never does."""
    handover = await opened(store, timers=timers)
    await tell(store, timers=timers)
    pass_time(sql, 1_000)
    assert await due(store, lease=0.0) == ([([], requested)] if requested else [])
    await store.claim_handover(handover.id, "T1", "U8", timers)
    await tell(store, timers=timers)
    pass_time(sql, 1_000)
    assert await due(store, lease=0.0) == ([([], human)] if human else [])


async def test_the_first_word_of_a_human_is_noted_once(store: Store) -> None:
    """Only of one who has the thread, whether or not the steps are shown already."""
    handover = await opened(store)
    await store.operator_spoke(handover.id, TIMERS)
    await store.claim_handover(handover.id, "T1", "U8", NEVER)
    before = await store.handover(handover.id, "T1")
    assert before is not None
    assert before.first_word_at is None
    await store.operator_spoke(handover.id, TIMERS)
    first = await store.handover(handover.id, "T1")
    assert first is not None
    assert first.first_word_at is not None
    await store.operator_spoke(handover.id, TIMERS)
    assert await store.handover(handover.id, "T1") == first
    assert await due(store) == [([Move.ASK, Move.CLAIM], None)]


async def test_a_word_of_the_operator_hides_no_step(store: Store) -> None:
    """What was not told with the first steps is due at once, however far off the timers are now."""
    handover = await opened(store, timers=TIMERS, claimed_by="U8")
    [one] = await store.due_handovers("me", LEASE)
    assert await store.handover_told(handover.id, "me", one.untold[0].id, None, None, TIMERS)
    await store.operator_spoke(handover.id, TIMERS)
    assert await due(store) == [([Move.CLAIM], None)]


# --- a question to an operator


async def test_the_next_question_waits_while_an_operator_is_asked(store: Store, sql: Raw) -> None:
    """Once for each operator and thread; it goes on when they say so, when time is up, or when they take over."""
    await accept(store, message(1))
    await store.finish((await claimed(store)).id, "me")
    assert await store.hold(THREAD, "U8", 60)
    assert not await store.hold(THREAD, "U8", 60)
    await accept(store, message(2, thread=1))
    await accept(store, message(3))
    assert [turn.ts for turn in await drain(store)] == [ts(3)]
    await store.release_hold(THREAD)
    [turn] = await drain(store)
    assert turn.ts == ts(2)
    await store.finish(turn.id, "me")
    assert await store.hold(THREAD, "U9", 60)
    await accept(store, message(4, thread=1))
    assert await drain(store) == []
    sql("UPDATE conversations SET held_until = held_until - 61")
    sql("UPDATE turns SET parked_until = parked_until - 61")
    assert [turn.ts for turn in await drain(store)] == [ts(4)]


async def test_who_is_never_asked(store: Store) -> None:
    """Whoever asked the agent there, anybody where the agent is not, anybody during a handover."""
    await accept(store, message(1))
    assert not await store.hold(THREAD, "U1", 60)
    assert not await store.hold(replace(THREAD, root_ts=ts(9)), "U8", 60)
    assert await store.hold(THREAD, "U8", 60)
    handed = await store.take_over(THREAD, "U8", NEVER)
    assert handed.handover is not None
    assert not await store.hold(THREAD, "U9", 60)
    await store.end_handover(handed.handover.id, "T1", Move.HAND_BACK, "U8")
    await accept(store, message(2, thread=1))
    assert [turn.ts for turn in await drain(store)] == [ts(2)]


# --- knowing how it went


async def test_handovers_are_listed_newest_first(store: Store, sql: Raw) -> None:
    """With their steps and waits; ``since`` counts from its very second on, ``limit`` keeps the newest."""
    for n in range(4):
        assert (await ask(store, thread=replace(THREAD, root_ts=ts(n)))).done
        sql("UPDATE handovers SET opened_at = %s WHERE id = %s", 1_000.0 + n, n + 1)
    await store.claim_handover(4, "T1", "U8", NEVER)
    await store.operator_spoke(4, NEVER)
    await store.end_handover(4, "T1", Move.RESOLVE, "U8")
    sql("UPDATE handovers SET claimed_at = 1013, first_word_at = 1023.5, ended_at = 2003 WHERE id = 4")
    newest, *others = await store.handovers()
    assert [record.handover.id for record in others] == [3, 2, 1]
    assert (newest.outcome, newest.waits()) == ("resolve", {"claim": 10.0, "first_word": 20.5, "end": 1000.0})
    assert [step.move for step in newest.transitions] == [Move.ASK, Move.CLAIM, Move.RESOLVE]
    open_one = others[0]
    assert (open_one.outcome, open_one.waits()) == ("requested", {"claim": None, "first_word": None, "end": None})
    assert [step.move for step in open_one.transitions] == [Move.ASK]
    assert [record.handover.id for record in await store.handovers(since=1_002)] == [4, 3]
    assert [record.handover.id for record in await store.handovers(limit=2)] == [4, 3]
    assert [record.handover.id for record in await store.handovers(handover_id=2)] == [2]
