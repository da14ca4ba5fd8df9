"""Stopping, trying again, editing, deleting, rating: what is done, what comes too late, and races with a claim."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

import pytest

from slackbot.domain import SHARING, Attachment, ContextMessage, MessageDeleted, MessageEdited, Notice, PartRecord, Turn
from slackbot.routing import Decision, KeepAsContext, Say, StartAfresh
from slackbot.store import Changed, Feedback, Pressed, Store, StoreError
from tests.databases import Raw
from tests.stored import LEASE, accept, claimed, drain, facts, message, stores, thread_of, ts


@pytest.fixture
async def replicas(database_url: str) -> AsyncIterator[list[Store]]:
    """Two stores on one database."""
    async with stores(database_url, 2) as opened:
        yield opened


@pytest.fixture
def store(replicas: list[Store]) -> Store:
    return replicas[0]


def edited(at: int, text: str = "new words", *, channel: str = "C1", team: str = "T1") -> MessageEdited:
    return MessageEdited(team, channel, ts(at), text, (Attachment("F2", "sketch.png"),))


def deleted(at: int, *, channel: str = "C1", team: str = "T1") -> MessageDeleted:
    return MessageDeleted(team, channel, ts(at))


async def running(store: Store, at: int = 1) -> Turn:
    await accept(store, message(at))
    return await claimed(store)


# --- stop


async def test_a_stop_reaches_whoever_runs_the_turn(replicas: list[Store]) -> None:
    """The press comes in at another replica; renewing tells the owner, and so does taking the turn over."""
    here, there = replicas
    turn = await running(here)
    assert turn.stopped_by is None
    assert await here.renew("me", [turn.id], LEASE) == {turn.id: None}
    assert await there.request_stop(turn.id, "T1", "C1", "U1") is Pressed.DONE
    assert await there.request_stop(turn.id, "T1", "C1", "U1") is Pressed.DONE
    assert await here.renew("me", [turn.id], 0.0) == {turn.id: "U1"}
    assert (await claimed(there, "heir")).stopped_by == "U1"


async def test_a_question_is_stopped_before_its_time_comes(store: Store) -> None:
    """One that waits keeps its place, and whoever claims it sees that nobody wants it."""
    first = await running(store)
    second = await accept(store, message(2, thread=1))
    assert second.turn_id is not None
    assert await store.request_stop(second.turn_id, "T1", "C1", "U1") is Pressed.DONE
    assert await store.finish(first.id, "me")
    assert (await claimed(store)).stopped_by == "U1"


async def test_a_stop_is_for_the_asker(store: Store) -> None:
    """Others, other channels and other teams change nothing, and are told apart."""
    turn = await running(store)
    assert await store.request_stop(turn.id, "T1", "C1", "U2") is Pressed.NOT_ASKER
    assert await store.request_stop(turn.id, "T1", "C2", "U1") is Pressed.UNKNOWN
    assert await store.request_stop(turn.id, "T2", "C1", "U1") is Pressed.UNKNOWN
    assert await store.request_stop(turn.id + 1, "T1", "C1", "U1") is Pressed.UNKNOWN
    assert await store.renew("me", [turn.id], LEASE) == {turn.id: None}


async def test_a_stop_comes_too_late_for_words_that_are_shown(store: Store) -> None:
    """Neither does it say so of a turn that is only waited for, nor of one that has ended."""
    turn = await running(store)
    assert not turn.shown
    assert await store.mark_shown(turn.id, "me")
    assert await store.request_stop(turn.id, "T1", "C1", "U1") is Pressed.TOO_LATE
    assert await store.renew("me", [turn.id], 0.0) == {turn.id: None}
    again = await claimed(store)
    assert (again.shown, again.stopped_by) == (True, None)
    await store.finish(turn.id, "me")
    assert await store.request_stop(turn.id, "T1", "C1", "U1") is Pressed.TOO_LATE
    failed = await running(store, 2)
    await store.fail(failed.id, "me", "agent")
    assert await store.request_stop(failed.id, "T1", "C1", "U1") is Pressed.TOO_LATE


@pytest.mark.parametrize(
    "decision", [Say(Notice.GREETING), StartAfresh(), KeepAsContext()], ids=lambda it: type(it).__name__
)
async def test_only_an_answer_can_be_stopped(store: Store, decision: Decision) -> None:
    """Our own sentences, a reset and what people say among themselves have no end to bring forward."""
    accepted = await accept(store, message(1), decision)
    assert accepted.turn_id is not None
    assert await store.request_stop(accepted.turn_id, "T1", "C1", "U1") is Pressed.TOO_LATE
    await drain(store)
    assert await store.request_stop_in(thread_of(message(1)), "U1") == (Pressed.UNKNOWN, None)


async def test_slacks_own_stop_names_the_thread(store: Store) -> None:
    """It means the question that runs there, with the same answers as the button."""
    thread = thread_of(message(1))
    assert await store.request_stop_in(thread, "U1") == (Pressed.UNKNOWN, None)
    await accept(store, message(1))
    await accept(store, message(2, thread=1, user="U2"))
    assert await store.request_stop_in(thread, "U1") == (Pressed.UNKNOWN, None)
    turn = await claimed(store)
    assert await store.request_stop_in(thread, "U2") == (Pressed.NOT_ASKER, turn.id)
    assert await store.request_stop_in(thread_of(message(3)), "U1") == (Pressed.UNKNOWN, None)
    assert await store.request_stop_in(thread, "U1") == (Pressed.DONE, turn.id)
    assert await store.renew("me", [turn.id], LEASE) == {turn.id: "U1"}
    await store.mark_shown(turn.id, "me")
    assert await store.request_stop_in(thread, "U1") == (Pressed.TOO_LATE, turn.id)


async def test_a_stop_while_files_come_is_not_too_late(store: Store) -> None:
    """The words stand, but what the agent made is still on its way."""
    turn = await running(store)
    await store.mark_shown(turn.id, "me", SHARING)
    assert await store.request_stop(turn.id, "T1", "C1", "U1") is Pressed.DONE
    await store.mark_shown(turn.id, "me", "stopped")
    assert await store.request_stop(turn.id, "T1", "C1", "U1") is Pressed.TOO_LATE


async def test_a_stop_is_noted_or_too_late_never_both(replicas: list[Store], sql: Raw) -> None:
    """Presses race the end of the words: who is told that it is done stands in the row, nobody else does."""
    outcomes: Counter[Pressed] = Counter()
    for at in range(40):
        turn = await running(replicas[0], at)
        pressing = asyncio.create_task(replicas[1].request_stop(turn.id, "T1", "C1", "U1"))
        await asyncio.sleep(at / 20_000)
        assert await replicas[0].mark_shown(turn.id, "me")
        pressed = await pressing
        outcomes[pressed] += 1
        expected = "U1" if pressed is Pressed.DONE else None
        assert sql("SELECT stopped_by FROM turns WHERE id = %s", turn.id) == [(expected,)]
        await replicas[0].finish(turn.id, "me")
    print(outcomes)


async def test_retry_begins_as_if_nobody_had_stopped(store: Store) -> None:
    """Neither who stopped the attempt before nor what it showed is left."""
    turn = await running(store)
    await store.request_stop(turn.id, "T1", "C1", "U1")
    await store.mark_shown(turn.id, "me")
    await store.fail(turn.id, "me", "agent")
    assert await store.retry(turn.id, "T1", "C1", "U1") is Pressed.DONE
    again = await claimed(store)
    assert (again.attempt, again.stopped_by, again.shown) == (2, None, False)


async def test_a_retry_behind_a_running_question_waits(store: Store) -> None:
    """It is queued all the same; what runs in other threads, and talk, hold nothing up."""
    turn = await running(store)
    await store.fail(turn.id, "me", "agent")
    await accept(store, message(2, thread=1))
    other = await claimed(store)
    await accept(store, message(3, channel="C2"))
    elsewhere = await claimed(store)
    assert await store.retry(turn.id, "T1", "C1", "U2") is Pressed.NOT_ASKER
    assert await store.retry(turn.id, "T1", "C1", "U1") is Pressed.WAITS
    assert await store.retry(turn.id, "T1", "C1", "U1") is Pressed.TOO_LATE
    assert await drain(store) == []
    await store.finish(other.id, "me")
    assert (await claimed(store)).id == turn.id
    await store.fail(elsewhere.id, "me", "agent")
    assert await store.retry(elsewhere.id, "T1", "C2", "U1") is Pressed.DONE


async def test_what_was_stopped_is_not_sent_to_the_agent(replicas: list[Store]) -> None:
    """Presses race the sending: a stop that is noted first wins, and its turn has nothing submitted."""
    sent = 0
    for at in range(40):
        turn = await running(replicas[0], at)
        pressing = asyncio.create_task(replicas[1].request_stop(turn.id, "T1", "C1", "U1"))
        await asyncio.sleep(at / 20_000)
        may_be_sent = await replicas[0].mark_submitted(turn.id, "me")
        stops = await replicas[0].stops("me")
        assert may_be_sent or stops == {turn.id: "U1"}
        assert await pressing is Pressed.DONE
        assert not await replicas[0].mark_submitted(turn.id, "me")
        assert await replicas[0].stops("me") == {turn.id: "U1"}
        assert await replicas[0].stops("other") == {}
        await replicas[0].finish(turn.id, "me", "stopped")
        assert await replicas[0].stops("me") == {}
        sent += may_be_sent
    print(sent)


async def test_what_nobody_heard_goes_along_with_the_next_question(store: Store) -> None:
    """A stop that came before the agent took the question forgets its words alone."""
    await accept(store, message(1, user="U2"), KeepAsContext())
    await accept(store, message(2, thread=1))
    turn = await claimed(store)
    await store.bind(turn.id, "me", "conversation-1", needs_past=True)
    await store.mark_submitted(turn.id, "me")
    assert await store.finish(turn.id, "me", "stopped", heard=False)
    for heard in (True, False):
        await accept(store, message(3 if heard else 4, thread=1))
        turn = await claimed(store)
        assert turn.conversation.needs_past is heard
        assert [said.ts for said in await store.context_for(turn)] == ([ts(1)] if heard else [])
        await store.mark_submitted(turn.id, "me")
        await store.finish(turn.id, "me")


async def test_the_newest_try_of_a_turn_is_known(store: Store) -> None:
    """Whoever holds it, and whether it waits or runs or has ended."""
    turn = await running(store)
    assert await store.attempt_of(turn.id) == 1
    await store.fail(turn.id, "me", "agent")
    await store.retry(turn.id, "T1", "C1", "U1")
    assert await store.attempt_of(turn.id) == 2
    assert await store.attempt_of(turn.id + 1) is None


async def test_the_end_of_a_turn_may_have_a_name(store: Store, sql: Raw) -> None:
    """A stopped turn is DONE like an answered one: its words are gone and what went along is forgotten."""
    await accept(store, message(1, user="U2"), KeepAsContext())
    await accept(store, message(2, thread=1))
    turn = await claimed(store)
    await store.mark_submitted(turn.id, "me")
    assert await store.finish(turn.id, "me", "stopped")
    rows = sql("SELECT kind, state, error, text FROM turns ORDER BY ts")
    assert rows == [("context", "done", None, None), ("ask", "done", "stopped", None)]


async def test_a_turn_knows_that_it_waited(store: Store) -> None:
    """What ``accept`` says of waiting comes back with the claim, however the thread looks then."""
    answers = [await accept(store, message(1)), await accept(store, message(2, thread=1))]
    waited = []
    for answer in answers:
        assert answer.turn_id is not None
        assert await store.is_queued(answer.turn_id)
        turn = await claimed(store)
        assert not await store.is_queued(turn.id)
        waited.append(turn.waited)
        await store.finish(turn.id, "me")
    assert waited == [answer.waiting for answer in answers] == [False, True]
    assert not await store.is_queued(99)


# --- edits and deletions


async def test_a_question_that_waits_takes_the_new_words(store: Store) -> None:
    """Text and files are the new ones, for a first attempt, after a pause and for another try."""
    await accept(store, message(1))
    assert await store.edit_message(edited(1, "second thoughts")) is Changed.USED
    turn = await claimed(store)
    assert (turn.text, turn.attachments) == ("second thoughts", (Attachment("F2", "sketch.png"),))
    await store.postpone(turn.id, "me", 0)
    assert await store.edit_message(edited(1, "third thoughts")) is Changed.USED
    turn = await claimed(store)
    assert turn.text == "third thoughts"
    await store.fail(turn.id, "me", "agent")
    assert await store.edit_message(edited(1, "fourth thoughts")) is Changed.USED
    await store.retry(turn.id, "T1", "C1", "U1")
    assert await store.edit_message(edited(1, "fifth thoughts")) is Changed.USED
    assert (await claimed(store)).text == "fifth thoughts"


async def test_what_goes_along_takes_the_new_words_too(store: Store) -> None:
    """Edited context reaches the agent as it reads now, deleted context does not; forgotten context stays so."""
    for at in (1, 2):
        await accept(store, message(at, thread=1, user="U2"), KeepAsContext())
    await accept(store, message(5, thread=1))
    assert await store.edit_message(edited(1)) is Changed.USED
    assert await store.drop_message(deleted(2)) is Changed.USED
    turn = await claimed(store)
    said = [ContextMessage(ts(1), "U2", "new words", (Attachment("F2", "sketch.png"),))]
    assert await store.context_for(turn) == said
    await store.mark_submitted(turn.id, "me")
    await store.finish(turn.id, "me")
    assert await store.edit_message(edited(1)) is Changed.TOO_LATE
    assert await store.drop_message(deleted(1)) is Changed.TOO_LATE


@pytest.mark.parametrize("end", ["running", "submitted", "done", "resumed"])
async def test_edits_and_deletions_leave_a_question_alone_that_has_begun(store: Store, sql: Raw, end: str) -> None:
    """Its row stays as it is, also while a submitted one waits to be gone on with."""
    turn = await running(store)
    if end in {"submitted", "resumed"}:
        await store.mark_submitted(turn.id, "me")
    if end == "resumed":
        await store.postpone(turn.id, "me", 60)
    if end == "done":
        await store.finish(turn.id, "me")
    before = sql("SELECT * FROM turns")
    assert await store.edit_message(edited(1)) is Changed.TOO_LATE
    assert await store.drop_message(deleted(1)) is Changed.TOO_LATE
    assert sql("SELECT * FROM turns") == before


@pytest.mark.parametrize("decision", [Say(Notice.GREETING), StartAfresh()], ids=lambda it: type(it).__name__)
async def test_what_has_no_words_takes_none_but_can_be_taken_back(store: Store, sql: Raw, decision: Decision) -> None:
    """A command that waits is not changed by an edit; deleted, it is not carried out."""
    await accept(store, message(1), decision)
    assert await store.edit_message(edited(1)) is Changed.TOO_LATE
    assert await store.drop_message(deleted(1)) is Changed.USED
    assert sql("SELECT state, error, text, attachments FROM turns") == [("done", "deleted", None, None)]
    assert await drain(store) == []


async def test_a_deleted_question_gets_no_answer_and_holds_nobody_up(store: Store, sql: Raw) -> None:
    """The next one of its thread goes; nothing of its words is kept; a second deletion changes nothing."""
    first = await running(store)
    await accept(store, message(2, thread=1))
    await accept(store, message(3, thread=1))
    assert await store.drop_message(deleted(2)) is Changed.USED
    assert await store.drop_message(deleted(2)) is Changed.TOO_LATE
    assert await store.edit_message(edited(2)) is Changed.TOO_LATE
    await store.finish(first.id, "me")
    assert (await claimed(store)).ts == ts(3)
    assert sql("SELECT text, attachments, owner FROM turns WHERE error = 'deleted'") == [(None, None, None)]
    assert (await accept(store, message(2, thread=1))).duplicate


async def test_a_failed_question_takes_new_words_but_is_not_taken_back(store: Store, sql: Raw) -> None:
    """Its answer stands in the thread with Retry, which asks what the message says by then; so while that waits."""
    turn = await running(store)
    await store.record_part(turn.id, "me", PartRecord(0, "5.0"))
    await store.fail(turn.id, "me", "agent")
    assert await store.edit_message(edited(1)) is Changed.USED
    assert await store.drop_message(deleted(1)) is Changed.TOO_LATE
    assert sql("SELECT state, error, text FROM turns") == [("failed", "agent", "new words")]
    await store.retry(turn.id, "T1", "C1", "U1")
    assert await store.drop_message(deleted(1)) is Changed.TOO_LATE
    assert (await claimed(store)).text == "new words"


async def test_a_question_that_was_given_back_can_be_taken_back(store: Store) -> None:
    """As long as nothing was said to it, a further attempt is like the first."""
    turn = await running(store)
    await store.postpone(turn.id, "me", 0)
    assert await store.drop_message(deleted(1)) is Changed.USED
    assert await drain(store) == []


async def test_a_deleted_message_does_not_count_as_written(store: Store) -> None:
    """Whoever asked before is still the last asker, and nobody has written since."""
    first = await running(store)
    await accept(store, message(2, thread=1, user="U2"))
    assert (await facts(store, message(9, thread=1))).last_asker == "U2"
    await store.drop_message(deleted(2))
    await store.finish(first.id, "me")
    await accept(store, message(3, thread=1, user="U3"), KeepAsContext())
    await store.drop_message(deleted(3))
    known = await facts(store, message(9, thread=1))
    assert (known.last_asker, known.others_wrote_since) == ("U1", False)


async def test_edits_and_deletions_of_other_messages_are_none_of_ours(store: Store, sql: Raw) -> None:
    """The same ``ts`` in another channel or team is another message."""
    await accept(store, message(1))
    for edit in (edited(2), edited(1, channel="C2"), edited(1, team="T2")):
        assert await store.edit_message(edit) is Changed.UNKNOWN
    for deletion in (deleted(2), deleted(1, channel="C2"), deleted(1, team="T2")):
        assert await store.drop_message(deletion) is Changed.UNKNOWN
    assert sql("SELECT state, text FROM turns") == [("queued", "message 1")]


async def test_words_that_a_database_cannot_hold_are_our_error(store: Store, sql: Raw) -> None:
    """The text stays as it was, and is not in the error."""
    await accept(store, message(1))
    with pytest.raises(StoreError, match="refuses a value") as refused:
        await store.edit_message(edited(1, "lone \ud800 surrogate"))
    assert "lone" not in str(refused.value)
    if not sql.on_sqlite:
        with pytest.raises(StoreError, match="refuses a value"):
            await store.edit_message(edited(1, "null \x00 byte"))
    assert sql("SELECT text FROM turns") == [("message 1",)]


async def test_an_edit_is_used_exactly_when_the_claim_has_it(replicas: list[Store]) -> None:
    """Edits race claims: what counts as used is what the turn says, what came too late is not in it."""
    outcomes: Counter[Changed] = Counter()
    for at in range(40):
        await accept(replicas[0], message(at))
        changing = asyncio.create_task(replicas[1].edit_message(edited(at)))
        await asyncio.sleep(at / 20_000)
        # A row that is being changed is passed over by a claim, and is there for the next.
        while not (turns := await replicas[0].claim("me", LEASE)):
            await asyncio.sleep(0.001)
        [turn] = turns
        changed = await changing
        assert turn.text == ("new words" if changed is Changed.USED else f"message {at}")
        outcomes[changed] += 1
        await replicas[0].finish(turn.id, "me")
    print(outcomes)
    assert Changed.UNKNOWN not in outcomes


async def test_a_deleted_question_is_never_run_too(replicas: list[Store]) -> None:
    """Deletions race claims: each question is dropped or answered, not both and not neither."""
    outcomes: Counter[Changed] = Counter()
    for at in range(40):
        await accept(replicas[0], message(at))
        dropping = asyncio.create_task(replicas[1].drop_message(deleted(at)))
        await asyncio.sleep(at / 20_000)
        turns = await replicas[0].claim("me", LEASE)
        dropped = await dropping
        turns += await replicas[0].claim("me", LEASE)
        assert [turn.ts for turn in turns] == ([] if dropped is Changed.USED else [ts(at)])
        outcomes[dropped] += 1
        for turn in turns:
            await replicas[0].finish(turn.id, "me")
    print(outcomes)
    assert Changed.UNKNOWN not in outcomes


# --- feedback


async def test_everybody_has_one_opinion_of_an_answer_and_may_change_it(store: Store) -> None:
    """Anybody in the channel may rate; the newest press of each counts."""
    turn = await running(store)
    await store.finish(turn.id, "me")
    assert await store.rate(turn.id, "T1", "C1", "U1", good=True)
    assert await store.rate(turn.id, "T1", "C1", "U2", good=True)
    assert await store.rate(turn.id, "T1", "C1", "U1", good=False)
    newest, older = await store.feedback()
    assert (newest.user_id, newest.good, older.user_id, older.good) == ("U1", False, "U2", True)
    assert newest.given_at > older.given_at


async def test_feedback_says_which_question_of_which_thread(store: Store) -> None:
    """All that leads back to the answer is there."""
    await accept(store, message(2, thread=1))
    turn = await claimed(store)
    await store.rate(turn.id, "T1", "C1", "U1", good=True)
    [one] = await store.feedback()
    assert one == Feedback(one.given_at, good=True, user_id="U1", turn_id=turn.id, thread=turn.thread, ts=ts(2))
    assert abs(one.given_at - turn.accepted_at) < 30


async def test_feedback_on_what_is_not_there_is_refused(store: Store) -> None:
    """An unknown turn, or one of another channel or team, is not rated."""
    assert await store.feedback() == []
    turn = await running(store)
    assert not await store.rate(turn.id + 1, "T1", "C1", "U1", good=True)
    assert not await store.rate(turn.id, "T2", "C1", "U1", good=True)
    assert not await store.rate(turn.id, "T1", "C2", "U1", good=True)
    assert await store.feedback() == []


async def test_feedback_is_listed_newest_first_and_only_as_much_as_wanted(store: Store, sql: Raw) -> None:
    """``since`` counts from its very second on, ``limit`` keeps the newest."""
    for at in range(4):
        turn = await running(store, at)
        await store.rate(turn.id, "T1", "C1", "U1", good=at % 2 == 0)
        sql("UPDATE feedback SET given_at = %s WHERE turn_id = %s", 1_000.0 + at, turn.id)
    assert [one.given_at for one in await store.feedback()] == [1_003, 1_002, 1_001, 1_000]
    assert [one.given_at for one in await store.feedback(since=1_002)] == [1_003, 1_002]
    assert [one.given_at for one in await store.feedback(limit=3)] == [1_003, 1_002, 1_001]
    assert [one.given_at for one in await store.feedback(1_001, 1)] == [1_003]


async def test_many_presses_of_one_person_are_one_opinion(replicas: list[Store]) -> None:
    """Twenty presses at once over two replicas leave one row."""
    turn = await running(replicas[0])
    presses = [replicas[n % 2].rate(turn.id, "T1", "C1", "U1", good=n % 3 == 0) for n in range(20)]
    assert all(await asyncio.gather(*presses))
    assert len(await replicas[1].feedback()) == 1
