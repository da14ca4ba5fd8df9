"""What a dead process's last calls brought into a thread after somebody else had gone on there."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from slackbot.budget import Budget
from slackbot.domain import Body, Button, PartRecord, PartRef, SessionStatus, ThreadKey, Turn
from slackbot.echoes import Echoes, echoes
from slackbot.errors import ChatError, ChatRateLimited, ChatUnavailable
from slackbot.leases import AFTER_ALL_SECONDS
from slackbot.replies.pace import OpenReplies
from slackbot.replies.tidying import Tidying
from slackbot.store import Store, Timers
from slackbot.store.replicas import void
from tests.databases import Raw
from tests.fakes import FakeChat
from tests.stored import accept, claimed, drain, message, stores


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Store]:
    async with stores(database_url, 1) as [opened]:
        yield opened


@pytest.fixture
def chat() -> FakeChat:
    return FakeChat(latency=0.0)


async def taken_over(store: Store, sql: Raw, number: int = 1) -> Turn:
    """A turn whose first owner died so long ago that no call of theirs is on its way."""
    await accept(store, message(number))
    await claimed(store, "dead")
    await store._database.transact(void)
    sql(f"UPDATE turns SET echoes_at = echoes_at - {AFTER_ALL_SECONDS}")
    return await claimed(store, "me")


async def says(chat: FakeChat, turn: Turn, index: int, text: str) -> str:
    return await chat.post(turn.thread, lambda: Body(text), PartRef(turn.id, index))


async def recorded(store: Store, chat: FakeChat, turn: Turn, index: int, text: str) -> str:
    ts = await says(chat, turn, index, text)
    assert await store.record_part(turn.id, "me", PartRecord(index, ts))
    return ts


async def due(store: Store, again: float) -> tuple[ThreadKey, int] | None:
    found = await store.take_echo(again)
    return found and found[:2]


@asynccontextmanager
async def looking(store: Store, chat: FakeChat, budget: Budget | None = None) -> AsyncIterator[None]:
    budget = budget or Budget()
    tidying = Tidying(chat, budget, OpenReplies(), time.monotonic, attempt_of=store.attempt_of)
    echoes_of = Echoes(store, chat, tidying, budget, set, look=0.05, pause=0.02)
    running = asyncio.gather(echoes_of.run(), tidying.run())
    yield
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running


async def looked_at(store: Store, chat: FakeChat, sql: Raw) -> None:
    """Look until there is nothing to look for."""
    async with looking(store, chat), asyncio.timeout(5.0):
        while sql("SELECT id FROM turns WHERE echoes_at IS NOT NULL"):
            await asyncio.sleep(0.01)


async def test_what_came_twice_is_taken_away(store: Store, chat: FakeChat, sql: Raw) -> None:
    """Of two messages for one part the recorded one stays, whichever is older."""
    turn = await taken_over(store, sql)
    await says(chat, turn, 0, "An echo that came first")
    await recorded(store, chat, turn, 0, "First")
    await recorded(store, chat, turn, 1, "Second")
    await says(chat, turn, 1, "An echo")
    await store.finish(turn.id, "me")
    await looked_at(store, chat, sql)
    assert chat.texts() == ["First", "Second"]


async def test_what_stands_once_stays(store: Store, chat: FakeChat, sql: Raw) -> None:
    """A part that was posted but not recorded, one whose recorded message somebody deleted, and another turn's."""
    turn = await taken_over(store, sql)
    gone = await recorded(store, chat, turn, 0, "Deleted")
    await says(chat, turn, 0, "Anew")
    await says(chat, turn, 1, "Not recorded")
    await recorded(store, chat, turn, 2, "Recorded")
    await chat.post(turn.thread, lambda: Body("Another turn's"), PartRef(turn.id + 1, 0))
    await chat.delete(turn.thread, gone)
    await store.finish(turn.id, "me")
    await looked_at(store, chat, sql)
    assert chat.texts() == ["Anew", "Not recorded", "Recorded", "Another turn's"]


async def test_what_goes_beyond_the_answer_is_taken_away(store: Store, chat: FakeChat, sql: Raw) -> None:
    """The dead owner may have needed more messages than whoever told the answer anew without having seen them."""
    turn = await taken_over(store, sql)
    await recorded(store, chat, turn, 0, "The whole answer")
    await says(chat, turn, 1, "whole answer")
    await store.finish(turn.id, "me")
    await looked_at(store, chat, sql)
    assert chat.texts() == ["The whole answer"]


async def test_nobody_looks_while_the_answer_grows(store: Store, chat: FakeChat, sql: Raw) -> None:
    """Its owner posts, and records a moment later: what is not recorded yet is no echo."""
    turn = await taken_over(store, sql)
    await recorded(store, chat, turn, 0, "Old")
    new = await says(chat, turn, 0, "New")
    async with looking(store, chat):
        await asyncio.sleep(0.3)
        assert chat.count("find_parts") == 0
    await store.record_part(turn.id, "me", PartRecord(0, new))
    await store.fail(turn.id, "me", "boom")
    await looked_at(store, chat, sql)
    assert chat.texts() == ["New"]


async def test_who_was_in_work_at_a_death_is_looked_at_once(store: Store, sql: Raw) -> None:
    """Not who came later, nor who had ended before; and by one process, unless that dies."""
    await accept(store, message(2))
    ended = await claimed(store)
    await store.finish(ended.id, "me")
    turn = await taken_over(store, sql)
    await accept(store, message(3))
    for other in [turn, *await drain(store)]:
        await store.finish(other.id, "me")
    assert await due(store, 0.0) == (turn.thread, turn.id)
    taken = await asyncio.gather(*(due(store, 60.0) for _ in range(4)))
    assert [found for found in taken if found] == [(turn.thread, turn.id)]
    sql("UPDATE turns SET echoes_at = echoes_at - 60")
    found = await store.take_echo(60.0)
    assert found is not None
    sql("UPDATE turns SET echoes_at = echoes_at - 60")
    await store.echoes_gone({turn.id: found[2]})
    taken_again = await store.take_echo(60.0)
    assert taken_again is not None
    await store.echoes_gone({turn.id: taken_again[2]})
    sql("UPDATE turns SET echoes_at = echoes_at - 60")
    assert await store.take_echo(60.0) is None


async def test_a_call_of_the_dead_has_its_time_to_arrive(store: Store, sql: Raw) -> None:
    """Before that a look may come too early."""
    turn = await taken_over(store, sql)
    await store.finish(turn.id, "me")
    sql("UPDATE turns SET echoes_at = echoes_at + 2")
    assert await store.take_echo(0.0) is None
    sql("UPDATE turns SET echoes_at = echoes_at - 2")
    assert await due(store, 0.0) == (turn.thread, turn.id)


async def test_who_begins_while_others_look_loses_nothing(store: Store, sql: Raw) -> None:
    """A message of a turn that was tried again, or whose thread has the next question, may not be recorded yet."""

    class Busy(FakeChat):
        async def find_all_parts(self, thread: ThreadKey, turn_id: int) -> list[PartRecord]:
            found = await super().find_all_parts(thread, turn_id)
            if len(chat.texts()) == 2:
                await store.retry(turn_id, "T1", "C1", "U1")
                again.append(await claimed(store, "me"))
                await says(chat, turn, 1, "More")
                found = await super().find_all_parts(thread, turn_id)
            return found

    chat, again = Busy(latency=0.0), list[Turn]()
    turn = await taken_over(store, sql)
    await recorded(store, chat, turn, 0, "First")
    await says(chat, turn, 0, "An echo")
    await store.fail(turn.id, "me", "boom")
    async with looking(store, chat):
        async with asyncio.timeout(5.0):
            while not again:
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.2)
        assert chat.texts() == ["First", "An echo", "More"]
    await recorded(store, chat, turn, 1, "More, recorded")
    await store.finish(turn.id, "me")
    sql("UPDATE turns SET echoes_at = echoes_at - 120")
    await looked_at(store, chat, sql)
    assert chat.texts() == ["First", "More, recorded"]


@pytest.mark.parametrize(
    ("standing", "recorded", "found"),
    [
        ([(0, "1", False)], [], []),
        ([(0, "1", False), (0, "2", False)], [(0, "2", False)], ["1"]),
        ([(0, "1", False), (0, "2", False)], [(0, "3", False)], []),
        ([(0, "1", False), (1, "2", False)], [(0, "1", False)], ["2"]),
        ([(0, "1", False), (1, "2", False), (2, "3", False)], [(0, "1", False), (2, "3", False)], []),
        # A sentence of ours came where nobody had seen the second part.
        ([(0, "1", False), (1, "2", False), (1, "3", True)], [(0, "1", False), (1, "3", True)], []),
        ([(0, "1", False), (1, "2", True), (1, "3", True)], [(0, "1", False), (1, "3", True)], ["2"]),
        ([(0, "1", True), (1, "2", False)], [(0, "1", True)], []),
        # Notes about files.
        ([(-1, "1", True), (-1, "2", True), (0, "3", False)], [(-1, "1", True), (0, "3", False)], ["2"]),
        ([(-2, "1", True), (-1, "2", True)], [(-2, "1", True)], []),
    ],
)
def test_what_is_an_echo(
    standing: list[tuple[int, str, bool]], recorded: list[tuple[int, str, bool]], found: list[str]
) -> None:
    """What repeats a recorded message or goes beyond the last; no words for the sake of a sentence."""
    parts = [PartRecord(index, ts, placeholder) for index, ts, placeholder in standing]
    assert [part.ts for part in echoes(parts, [PartRecord(*each) for each in recorded])] == found


@pytest.mark.parametrize("human", [False, True])
async def test_nothing_shows_any_more_that_the_agent_works(
    store: Store, chat: FakeChat, sql: Raw, *, human: bool
) -> None:
    """Unless it does, for the next question; and where a human is wanted that is what shows."""
    turn = await taken_over(store, sql)
    await accept(store, message(2, thread=1))
    await store.finish(turn.id, "me")
    following = await claimed(store, "me")
    async with looking(store, chat):
        await asyncio.sleep(0.3)
        assert not chat.sessions
    await store.finish(following.id, "me")
    if human:
        await store.take_over(turn.thread, "UBEN", Timers())
    await looked_at(store, chat, sql)
    assert chat.sessions == [(turn.thread, SessionStatus.ACTIVE)] * (not human)


async def test_what_a_process_left_undone_is_done_by_another(store: Store, chat: FakeChat, sql: Raw) -> None:
    """Who leaves names the turns: no Stop and no step stays on their messages, and nothing else changes."""
    bodies = [
        Body("First", buttons=(Button.STOP,)),
        Body(notice="Sorry.", buttons=(Button.RETRY,)),
        Body("Third", step="Searching…"),
    ]
    for number, body in enumerate(bodies, start=1):
        await accept(store, message(number))
        turn = await claimed(store, "me")
        ts = await chat.post(turn.thread, lambda body=body: body, PartRef(turn.id, 0))  # type: ignore[misc]
        await store.record_part(turn.id, "me", PartRecord(0, ts))
        await store.finish(turn.id, "me")
    budget = Budget()
    tidying = Tidying(chat, budget, OpenReplies(), time.monotonic, attempt_of=store.attempt_of)
    undone: set[int] = set()
    leaving = Echoes(store, chat, tidying, budget, lambda: undone)
    await leaving.leave()
    assert not sql("SELECT id FROM turns WHERE echoes_at IS NOT NULL")
    undone |= {1, 2, 3}
    await leaving.leave()
    async with looking(store, chat), asyncio.timeout(10.0):
        while chat.bodies()[0].buttons or chat.bodies()[2].step:
            await asyncio.sleep(0.01)
    # Only the next look tells that it is off.
    sql("UPDATE turns SET echoes_at = echoes_at - 120")
    await looked_at(store, chat, sql)
    assert chat.bodies() == [Body("First"), bodies[1], Body("Third")]
    assert chat.count("strip") == 2


async def test_what_could_not_be_done_is_asked_for_anew(store: Store, chat: FakeChat, sql: Raw) -> None:
    """The note of who put it off does not outlive that, nor is that lost with it."""
    undone = {1}
    budget = Budget()
    tidying = Tidying(chat, budget, OpenReplies(), time.monotonic, attempt_of=store.attempt_of)
    ours = Echoes(store, chat, tidying, budget, lambda: undone, look=0.05)
    await accept(store, message(1))
    turn = await claimed(store, "me")
    await ours.note(turn.id)
    await store.finish(turn.id, "me")
    assert await store.look_again([turn.id])
    undone.clear()
    await ours._settle()
    assert await due(store, 0.0) == (turn.thread, turn.id)


async def test_who_lives_does_what_it_put_off_itself(store: Store, chat: FakeChat, sql: Raw) -> None:
    """Whoever dies before that has noted it, before the turn ended."""
    undone: set[int] = set()
    budget = Budget()
    tidying = Tidying(chat, budget, OpenReplies(), time.monotonic, attempt_of=store.attempt_of)
    ours = Echoes(store, chat, tidying, budget, lambda: undone, look=0.05)
    await accept(store, message(1))
    turn = await claimed(store, "me")
    await ours.note(turn.id)
    assert not sql("SELECT id FROM turns WHERE echoes_at IS NOT NULL")
    undone.add(turn.id)
    await ours.note(turn.id)
    await store.finish(turn.id, "me")
    running = asyncio.create_task(ours.run())
    await asyncio.sleep(0.3)
    assert sql("SELECT id FROM turns WHERE echoes_at IS NOT NULL") == [(turn.id,)]
    undone.clear()
    async with asyncio.timeout(5.0):
        while sql("SELECT id FROM turns WHERE echoes_at IS NOT NULL"):
            await asyncio.sleep(0.01)
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running
    assert not chat.count("find_parts")


@pytest.mark.parametrize("taken", [39, 41])
async def test_answers_have_the_last_reads_for_themselves(store: Store, chat: FakeChat, sql: Raw, taken: int) -> None:
    """Of fifty a minute; what is to be put right can wait."""
    turn = await taken_over(store, sql)
    await store.finish(turn.id, "me")
    budget = Budget()
    for _ in range(taken):
        assert not budget.take(turn.thread.team_id, "conversations.replies", time.monotonic())
    async with looking(store, chat, budget), asyncio.timeout(5.0):
        while taken < 40 and not chat.count("find_parts"):
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.3)
    assert chat.count("find_parts") == (taken < 40)


async def test_slack_that_allows_fewer_reads_than_usual_is_looked_at_too(
    store: Store, chat: FakeChat, sql: Raw
) -> None:
    """As after a start, when the calls of the process before are not known: a refused one tells."""
    turn = await taken_over(store, sql)
    await store.finish(turn.id, "me")
    budget, team_id, method = Budget(), turn.thread.team_id, "conversations.replies"
    assert not budget.take(team_id, method, time.monotonic())
    budget.cool_off(team_id, method, time.monotonic(), 0.1)
    assert budget.room(budget.key(team_id, method), time.monotonic())[0] <= 10
    async with looking(store, chat, budget), asyncio.timeout(5.0):
        while not chat.count("find_parts"):
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("method", ["find_parts", "delete"])
async def test_slack_may_refuse(store: Store, chat: FakeChat, sql: Raw, method: str) -> None:
    """A thread that cannot be read, or a message that stays, is left alone, and keeps nobody from the others."""
    for number in (1, 2):
        turn = await taken_over(store, sql, number)
        await recorded(store, chat, turn, 0, f"Answer {number}")
        await says(chat, turn, 0, f"Echo {number}")
        await store.finish(turn.id, "me")
    refused = iter([ChatError("channel_not_found")])
    chat.fail = lambda called, _number: next(refused, None) if called == method else None
    await looked_at(store, chat, sql)
    assert chat.texts() == ["Answer 1", "Echo 1", "Answer 2"]


@pytest.mark.parametrize("method", ["find_parts", "set_session"])
@pytest.mark.parametrize("error", [ChatUnavailable("503"), ChatRateLimited("ratelimited", retry_after=30)])
async def test_slack_may_be_away(store: Store, chat: FakeChat, sql: Raw, error: ChatError, method: str) -> None:
    """Then it is asked again in a minute, for three days."""
    turn = await taken_over(store, sql)
    await recorded(store, chat, turn, 0, "First")
    await says(chat, turn, 0, "An echo")
    await store.finish(turn.id, "me")
    refused = [error]
    chat.fail = lambda called, _number: refused.pop() if called == method and refused else None
    async with looking(store, chat), asyncio.timeout(5.0):
        while refused:
            await asyncio.sleep(0.01)
        # Time enough to ask once more.
        await asyncio.sleep(0.3)
    assert chat.texts().count("An echo") == (method == "find_parts")
    assert not chat.sessions
    sql("UPDATE turns SET echoes_at = echoes_at - 120, finished_at = finished_at - 259201")
    assert await store.take_echo(0.0) is None
    sql("UPDATE turns SET finished_at = finished_at + 121")
    await looked_at(store, chat, sql)
    assert chat.texts() == ["First"]
    assert len(chat.sessions) == 1
