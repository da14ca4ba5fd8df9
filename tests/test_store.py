"""What is stored, and for how long."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from slackbot.domain import ChannelKind, ContextMessage, Notice, PartRecord, ThreadKey, TurnKind
from slackbot.routing import Ignore, KeepAsContext, RunTurn, Say, StartAfresh, ThreadFacts
from slackbot.store import Counts, DatabaseInUse, Pressed, Store, StoreError
from slackbot.store.migrate import upgrade
from tests.databases import Raw
from tests.stored import LEASE, accept, claimed, drain, facts, message, stores, ts


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Store]:
    opened = await Store.open(database_url)
    yield opened
    await opened.close()


async def test_a_question_comes_back_as_it_was_written(store: Store) -> None:
    """The claimed turn carries the message, its thread and its place."""
    inbound = message(2, thread=1, text="Wie spät ist es? 🕰 \u202e\u05e9\u05dc\u05d5\u05dd")
    accepted = await accept(store, inbound)
    turn = await claimed(store)
    assert (accepted.decision, accepted.duplicate, accepted.waiting) == (RunTurn(), False, False)
    assert turn.id == accepted.turn_id
    assert turn.thread == ThreadKey("T1", "C1", ts(1))
    assert turn.conversation.channel_kind is ChannelKind.CHANNEL
    assert (turn.kind, turn.ts, turn.user_id, turn.text) == (TurnKind.ASK, ts(2), "U1", inbound.text)
    assert turn.attachments == inbound.attachments
    assert (turn.is_reply, turn.attempt, turn.submitted, turn.notice) == (True, 1, False, None)


async def test_what_is_ignored_leaves_no_trace(store: Store, sql: Raw) -> None:
    """A message that asks nothing of us is not stored, nor is its thread."""
    accepted = await accept(store, message(1), Ignore("small talk"))
    assert (accepted.decision, accepted.turn_id) == (Ignore("small talk"), None)
    assert sql("SELECT (SELECT count(*) FROM turns) + (SELECT count(*) FROM conversations)") == [(0,)]


async def test_a_notice_changes_the_thread_and_keeps_no_words(store: Store, sql: Raw) -> None:
    """``quiet`` is told back to the user and makes the thread mention-only; ``listen`` undoes it."""
    await accept(store, message(1), Say(Notice.QUIET, mention_only=True))
    turn = await claimed(store)
    assert (turn.kind, turn.notice, turn.conversation.mention_only) == (TurnKind.NOTICE, Notice.QUIET, True)
    assert sql("SELECT text FROM turns") == [(None,)]
    await accept(store, message(2, thread=1), Say(Notice.LISTENING, mention_only=False))
    assert not (await claimed(store)).conversation.mention_only


async def test_facts_of_a_new_thread_are_empty(store: Store) -> None:
    """Nothing is known about a thread that nobody asked in."""
    assert await facts(store, message(1)) == ThreadFacts()


async def test_facts_name_the_last_asker_and_who_wrote_since(store: Store) -> None:
    """Others count from the question on, and once it is answered only below the answer."""
    await accept(store, message(1, user="Ada"))
    await accept(store, message(5, thread=1, user="Bob"), KeepAsContext())
    turn = await claimed(store)
    known = await facts(store, message(9, thread=1))
    assert known.conversation == turn.conversation
    assert (known.last_asker, known.others_wrote_since) == ("Ada", True)
    await store.record_part(turn.id, "me", PartRecord(0, ts(4)))
    await store.record_part(turn.id, "me", PartRecord(1, ts(6)))
    assert (await facts(store, message(9, thread=1))).others_wrote_since
    await store.finish(turn.id, "me")
    assert not (await facts(store, message(9, thread=1))).others_wrote_since
    await accept(store, message(7, thread=1, user="Ada"), KeepAsContext())
    assert not (await facts(store, message(9, thread=1))).others_wrote_since
    await accept(store, message(8, thread=1, user="Bob"), KeepAsContext())
    assert (await facts(store, message(9, thread=1))).others_wrote_since


async def test_the_newest_question_by_ts_counts_not_the_newest_by_arrival(store: Store) -> None:
    """A question that arrives late does not make its author the last asker."""
    await accept(store, message(5, thread=1, user="Ada"))
    await accept(store, message(3, thread=1, user="Bob"))
    assert (await facts(store, message(9, thread=1))).last_asker == "Ada"


async def test_facts_count_the_questions_of_the_author_in_the_last_minute(store: Store, sql: Raw) -> None:
    """Context, other people and older questions do not count, nor those from before the clock was set back."""
    for at in (0, 1, 2, 5):
        await accept(store, message(at))
    await accept(store, message(3), KeepAsContext())
    await accept(store, message(4, user="U2"))
    sql("UPDATE turns SET accepted_at = accepted_at - 61 WHERE ts = %s", ts(0))
    sql("UPDATE turns SET accepted_at = accepted_at + 3600 WHERE ts = %s", ts(5))
    assert (await facts(store, message(9))).asks_last_minute == 2


async def test_waiting_says_whether_another_question_comes_first(store: Store) -> None:
    """Only running and older queued questions of the same thread make a new one wait."""
    assert not (await accept(store, message(5))).waiting
    assert (await accept(store, message(6, thread=5))).waiting
    assert not (await accept(store, message(4, thread=5))).waiting
    assert not (await accept(store, message(7))).waiting
    assert not (await accept(store, message(8, thread=5), Say(Notice.GREETING))).waiting
    assert not (await accept(store, message(10), Say(Notice.GREETING))).waiting
    assert not (await accept(store, message(11, thread=10))).waiting


async def test_finishing_forgets_the_words_of_the_turn_and_of_what_went_along(store: Store, sql: Raw) -> None:
    """Text and file names go; context that came later, or lies below the question, stays for the next one."""
    await accept(store, message(1))
    await accept(store, message(2, thread=1, user="U2"), KeepAsContext())
    await accept(store, message(4, thread=1), RunTurn())
    await accept(store, message(5, thread=1, user="U2"), KeepAsContext())
    await store.finish((await claimed(store)).id, "me")
    turn = await claimed(store)
    assert [said.ts for said in await store.context_for(turn)] == [ts(2)]
    assert await store.mark_submitted(turn.id, "me")
    sql("UPDATE turns SET submitted_at = submitted_at - 1, accepted_at = accepted_at - 2")
    await accept(store, message(3, thread=1, user="U3", text="late"), KeepAsContext())
    assert await store.finish(turn.id, "me")
    kept = sql("SELECT ts, text FROM turns WHERE text IS NOT NULL OR attachments IS NOT NULL ORDER BY ts")
    assert kept == [(ts(3), "late"), (ts(5), "message 5")]
    assert sql("SELECT count(*) FROM turns WHERE state = 'done' AND kind = 'ask' AND finished_at IS NOT NULL") == [(2,)]


async def test_a_finished_notice_forgets_no_context(store: Store, sql: Raw) -> None:
    """Only a question carries context to the agent."""
    await accept(store, message(1), KeepAsContext())
    await accept(store, message(2, thread=1), Say(Notice.GREETING))
    await store.finish((await claimed(store)).id, "me")
    assert sql("SELECT text FROM turns WHERE kind = 'context'") == [("message 1",)]


async def test_context_is_what_was_said_before_oldest_first(store: Store) -> None:
    """Arrival order does not matter; the question's own thread does."""
    await accept(store, message(3, thread=1, user="U3"), KeepAsContext())
    await accept(store, message(2, thread=1, user="U2"), KeepAsContext())
    await accept(store, message(9, thread=1), KeepAsContext())
    await accept(store, message(4, thread=8), KeepAsContext())
    await accept(store, message(5, thread=1))
    turn = await claimed(store)
    files = message(0).attachments
    assert await store.context_for(turn) == [
        ContextMessage(ts(2), "U2", "message 2", files),
        ContextMessage(ts(3), "U3", "message 3", files),
    ]
    assert await store.speakers(turn.conversation.id) == 3


async def test_the_agents_conversation_is_bound_and_forgotten(store: Store) -> None:
    """The id is there for the next turn of the thread; a reset turn takes it away."""
    await accept(store, message(1))
    turn = await claimed(store)
    await store.bind(turn.id, "me", "conv-1")
    await store.finish(turn.id, "me")
    await accept(store, message(2, thread=1), StartAfresh())
    turn = await claimed(store)
    assert (turn.kind, turn.conversation.agent_conversation_id) == (TurnKind.RESET, "conv-1")
    await store.bind(turn.id, "me", None)
    assert (await facts(store, message(3, thread=1))).conversation == turn.conversation.__class__(
        turn.conversation.id, turn.thread, turn.conversation.channel_kind
    )


async def test_who_has_lost_a_turn_changes_nothing_of_it(store: Store) -> None:
    """The thread's conversation and the parts of the answer belong to whoever has the turn now."""
    await accept(store, message(1))
    turn = await claimed(store)
    assert await store.bind(turn.id, "me", "c-1")
    assert await store.record_part(turn.id, "me", PartRecord(0, ts(2)))
    assert not await store.bind(turn.id, "other", "c-2")
    assert not await store.record_part(turn.id, "other", PartRecord(0, ts(3)))
    await store.drop_parts(turn.id, "other", 0)
    assert await store.parts(turn.id) == [PartRecord(0, ts(2))]
    await store.finish(turn.id, "me")
    assert not await store.bind(turn.id, "me", "c-3")
    await accept(store, message(4, thread=1))
    assert (await claimed(store)).conversation.agent_conversation_id == "c-1"


async def test_a_turn_was_not_submitted_to_a_conversation_that_is_gone(store: Store) -> None:
    """Who finds it after a death sends it, to another one."""
    await accept(store, message(1))
    turn = await claimed(store)
    await store.bind(turn.id, "me", "gone")
    assert await store.mark_submitted(turn.id, "me", "digest")
    await store.bind(turn.id, "me", None, needs_past=True)
    await store.renew("me", [turn.id], -1.0)
    again = await claimed(store, "other")
    assert (again.id, again.submitted, again.attempt, again.conversation.agent_conversation_id) == (
        turn.id, False, 2, None
    )  # fmt: skip


async def test_a_lease_that_ran_out_is_for_others(store: Store) -> None:
    """Who still works on the turn renews it instead; it comes back to him only when it was queued anew."""
    await accept(store, message(1))
    turn = await claimed(store, lease=0.0)
    assert await store.claim("me", LEASE, at_work={turn.id}) == []
    assert turn.id in await store.renew("me", {turn.id}, 0.0)
    await store.postpone(turn.id, "me", 0.0)
    assert [again.id for again in await store.claim("me", 0.0, at_work={turn.id})] == [turn.id]
    assert [again.id for again in await store.claim("other", LEASE, at_work={turn.id + 1})] == [turn.id]


async def test_the_conversation_remembers_its_files(store: Store) -> None:
    """From the moment it has them, however the turn ends, until another conversation begins."""
    await accept(store, message(1))
    turn = await claimed(store)
    await store.bind(turn.id, "me", "c-1")
    await store.mark_sent(turn.conversation.id, {"F2", "F1"})
    await store.fail(turn.id, "me", "agent")
    await accept(store, message(2))
    await accept(store, message(3, thread=1))
    [_, again] = await drain(store)
    assert again.conversation.sent_files == {"F1", "F2"}
    await store.bind(again.id, "me", "c-2")
    await store.finish(again.id, "me")
    await accept(store, message(4, thread=1))
    assert (await claimed(store)).conversation.sent_files == frozenset()


async def test_what_was_submitted_can_be_found_again(store: Store, sql: Raw) -> None:
    """Its digest and its age, as long as the answer is on its way."""
    await accept(store, message(1))
    turn = await claimed(store)
    assert await store.submission(turn.id) is None
    assert await store.mark_submitted(turn.id, "me", "abc")
    sql("UPDATE turns SET submitted_at = submitted_at - 60")
    found = await store.submission(turn.id)
    assert found is not None
    assert (found[0], 59 < found[1] < 90) == ("abc", True)
    sql("UPDATE turns SET digest = NULL")  # as the version before leaves it
    found = await store.submission(turn.id)
    assert found is not None
    assert found[0] == ""
    await store.mark_submitted(turn.id, "me", "abc")
    await store.fail(turn.id, "me", "interrupted")
    assert sql("SELECT digest FROM turns") == [(None,)]


async def test_what_is_left_to_be_done_is_remembered(store: Store) -> None:
    """A turn that comes back says what its answer still needs."""
    await accept(store, message(1))
    turn = await claimed(store)
    assert (turn.shown, turn.ending) == (False, "")
    await store.mark_submitted(turn.id, "me")
    assert await store.mark_shown(turn.id, "me", "sharing")
    await store.postpone(turn.id, "me", 0.0)
    again = await claimed(store)
    assert (again.shown, again.ending) == (True, "sharing")


async def test_parts_are_kept_in_order_and_replaced(store: Store) -> None:
    """Recording a part again takes the place of the earlier one; dropping forgets the tail."""
    await accept(store, message(1))
    turn = await claimed(store)
    await store.record_part(turn.id, "me", PartRecord(1, ts(3)))
    await store.record_part(turn.id, "me", PartRecord(0, ts(2), placeholder=True))
    await store.record_part(turn.id, "me", PartRecord(0, ts(2)))
    await store.record_part(turn.id, "me", PartRecord(2, ts(4)))
    assert await store.parts(turn.id) == [PartRecord(0, ts(2)), PartRecord(1, ts(3)), PartRecord(2, ts(4))]
    await store.drop_parts(turn.id, "me", 1)
    assert await store.parts(turn.id) == [PartRecord(0, ts(2))]


async def test_messages_that_waited_are_found_for_a_while(store: Store) -> None:
    """Once they are answered: until then their mark is right."""
    for n in (1, 2):
        await accept(store, message(n, thread=1))
    first = await claimed(store)
    assert await store.marks_left(60) == []
    await store.finish(first.id, "me")
    second = await claimed(store)
    assert await store.marks_left(60) == []
    await store.finish(second.id, "me")
    assert await store.marks_left(60) == [(second.thread, ts(2), second.id)]
    assert await store.marks_left(60, newest=0) == await store.marks_left(-1) == []
    assert [await store.is_marked(turn.id) for turn in (first, second)] == [False, True]
    await store.unmarked(second.id)
    assert not await store.is_marked(second.id)
    assert await store.marks_left(60) == []


async def test_counts_tell_what_waits_and_what_runs(store: Store) -> None:
    """Done, failed and context rows are no work."""
    for at in range(3):
        await accept(store, message(at))
    await accept(store, message(5), KeepAsContext())
    await claimed(store)
    await store.fail((await claimed(store)).id, "me", "agent")
    assert await store.counts() == Counts(queued=1, running=1)


async def test_a_failed_turn_keeps_its_words_for_retry(store: Store, sql: Raw) -> None:
    """Retry queues it again, unsubmitted, as the next attempt."""
    await accept(store, message(1))
    turn = await claimed(store)
    await store.mark_submitted(turn.id, "me")
    assert await store.fail(turn.id, "me", "agent_busy")
    assert sql("SELECT error, text, owner FROM turns") == [("agent_busy", "message 1", None)]
    assert await store.retry(turn.id, "T1", "C1", "U1") is Pressed.DONE
    again = await claimed(store)
    assert (again.id, again.attempt, again.submitted, again.text) == (turn.id, 2, False, "message 1")
    assert sql("SELECT error, finished_at FROM turns") == [(None, None)]


async def test_retry_is_for_the_asker_of_a_failed_turn(store: Store) -> None:
    """Everybody else, and every other state, gets a reason."""
    await accept(store, message(1))
    turn = await claimed(store)
    assert await store.retry(turn.id, "T1", "C1", "U1") is Pressed.TOO_LATE
    await store.fail(turn.id, "me", "agent")
    assert await store.retry(turn.id, "T1", "C1", "U2") is Pressed.NOT_ASKER
    assert await store.retry(turn.id, "T2", "C1", "U1") is Pressed.UNKNOWN
    assert await store.retry(turn.id, "T1", "C2", "U1") is Pressed.UNKNOWN
    assert await store.retry(turn.id + 1, "T1", "C1", "U1") is Pressed.UNKNOWN
    assert await store.retry(turn.id, "T1", "C1", "U1") is Pressed.DONE
    assert await store.retry(turn.id, "T1", "C1", "U1") is Pressed.TOO_LATE


async def test_a_retried_turn_waits_for_the_running_one_and_goes_before_newer_ones(store: Store) -> None:
    """Oldest ``ts`` first, also for a second attempt."""
    await accept(store, message(1))
    failed = await claimed(store)
    await store.fail(failed.id, "me", "agent")
    await accept(store, message(2, thread=1))
    running = await claimed(store)
    await accept(store, message(3, thread=1))
    await store.retry(failed.id, "T1", "C1", "U1")
    assert await drain(store) == []
    await store.finish(running.id, "me")
    assert [turn.ts for turn in await drain(store)] == [ts(1)]


async def test_only_the_holder_changes_a_turn(store: Store) -> None:
    """Finish, fail, postpone, submit and renew of somebody else's turn do nothing and say so."""
    await accept(store, message(1))
    turn = await claimed(store)
    assert not await store.mark_submitted(turn.id, "other")
    assert not await store.mark_shown(turn.id, "other")
    assert not await store.finish(turn.id, "other")
    assert not await store.fail(turn.id, "other", "agent")
    assert not await store.postpone(turn.id, "other", 0)
    assert await store.renew("other", [turn.id], LEASE) == {}
    assert await store.renew("me", [turn.id, turn.id + 1], LEASE) == {turn.id: None}
    assert await store.finish(turn.id, "me")
    assert not await store.finish(turn.id, "me")


async def test_one_process_lives_on_a_sqlite_file(database_url: str) -> None:
    """A second exclusive store is refused in words on SQLite, and welcome on PostgreSQL."""
    first = await Store.open(database_url, exclusive=True)
    try:
        if database_url.startswith("sqlite"):
            with pytest.raises(DatabaseInUse, match=r"slackbot\.db\.lock.*Stop that process"):
                await Store.open(database_url, exclusive=True)
            await (await Store.open(database_url)).close()
        else:
            await (await Store.open(database_url, exclusive=True)).close()
    finally:
        await first.close()
    await (await Store.open(database_url, exclusive=True)).close()


async def test_leases_are_void_only_when_their_owners_are_known_to_be_dead(database_url: str) -> None:
    """The lock file proves it on SQLite; other replicas of PostgreSQL keep what they hold."""
    async with stores(database_url, 1) as [before]:
        await accept(before, message(1))
        turn = await claimed(before, "old")
        await before.void_leases()
        assert await before.claim("other", LEASE) == []
    after = await Store.open(database_url, exclusive=True)
    await after.void_leases()
    taken = await after.claim("new", LEASE)
    await after.close()
    expected = [(turn.id, 2)] if database_url.startswith("sqlite") else []
    assert [(again.id, again.attempt) for again in taken] == expected


@pytest.mark.parametrize(
    "url",
    ["sqlite://", "sqlite:///:memory:", "mysql://host/db", "nonsense", "sqlite:////no/such/folder/slackbot.db"],
)
async def test_an_address_that_cannot_work_is_refused_in_words(url: str) -> None:
    """Opening raises our error, exclusive or not."""
    for exclusive in (False, True):
        with pytest.raises(StoreError, match=r"DATABASE_URL|unable to open|lock file"):
            await Store.open(url, exclusive=exclusive)


async def test_a_file_that_is_no_database_is_refused_in_words(tmp_path: Path) -> None:
    """Neither opening nor migrating it shows a raw error, and the file stays as it is."""
    file = tmp_path / "notes.txt"
    file.write_text("milk, bread, tea\n" * 100)
    with pytest.raises(StoreError, match="not a database"):
        await Store.open(f"sqlite:///{file}")
    with pytest.raises(StoreError, match="not a database"):
        upgrade(f"sqlite:///{file}")
    assert file.read_text().startswith("milk")


async def test_a_database_that_was_not_migrated_is_our_error(empty_database_url: str) -> None:
    """Missing tables are named, in every operation."""
    async with stores(empty_database_url, 1) as [store]:
        for attempt in (accept(store, message(1)), store.claim("me", LEASE), store.counts()):
            with pytest.raises(StoreError, match=r"turns|conversations"):
                await attempt


async def test_a_cancelled_operation_leaves_no_lock_behind(store: Store, sql: Raw) -> None:
    """Claims are cancelled at any moment; what they had not committed is undone, and the store goes on."""
    for at in range(5):
        await accept(store, message(at))
    for pause in range(60):
        task = asyncio.create_task(store.claim("me", 0.0))
        await asyncio.sleep(pause / 10_000)
        task.cancel()
        async with asyncio.timeout(1.2):  # sooner than SQLite would give up on a lock that was left behind
            await asyncio.gather(task, return_exceptions=True)
    sql("BEGIN IMMEDIATE" if sql.on_sqlite else "BEGIN")
    sql("UPDATE turns SET state = 'queued', owner = NULL, lease_until = NULL")
    sql("COMMIT")
    assert len(await drain(store)) == 5


async def test_a_failed_open_lets_go_of_the_lock(tmp_path: Path) -> None:
    """What could not be opened can be opened when it works again."""
    file = tmp_path / "slackbot.db"
    file.mkdir()
    with pytest.raises(StoreError, match="unable to open"):
        await Store.open(f"sqlite:///{file}", exclusive=True)
    file.rmdir()
    await (await Store.open(f"sqlite:///{file}", exclusive=True)).close()
