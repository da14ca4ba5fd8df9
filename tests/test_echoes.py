"""What a dead process's last calls brought into a thread after somebody else had gone on there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

import pytest

from slackbot.domain import Body, PartRecord, PartRef, ThreadKey, Turn
from slackbot.echoes import Echoes
from slackbot.errors import ChatError, ChatRateLimited
from slackbot.store import Store
from tests.databases import Raw
from tests.fakes import FakeChat
from tests.stored import accept, claimed, message, stores

WAIT = 0.2


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Store]:
    async with stores(database_url, 1) as [opened]:
        yield opened


@pytest.fixture
def chat() -> FakeChat:
    return FakeChat(latency=0.0)


async def taken_over(store: Store, number: int = 1) -> Turn:
    """A turn whose first owner is dead."""
    await accept(store, message(number))
    first = await claimed(store, "dead")
    await store.mark_submitted(first.id, "dead")
    await store.postpone(first.id, "dead", 0.0)
    await asyncio.sleep(WAIT)
    return await claimed(store, "me")


async def says(chat: FakeChat, turn: Turn, index: int, text: str) -> str:
    return await chat.post(turn.thread, lambda: Body(text), PartRef(turn.id, index))


async def recorded(store: Store, chat: FakeChat, turn: Turn, index: int, text: str) -> str:
    ts = await says(chat, turn, index, text)
    assert await store.record_part(turn.id, "me", PartRecord(index, ts))
    return ts


@asynccontextmanager
async def looking(store: Store, chat: FakeChat) -> AsyncIterator[Echoes]:
    echoes = Echoes(store, chat, wait=WAIT, pause=0.05)
    running = asyncio.create_task(echoes.run())
    yield echoes
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running


async def look(store: Store, chat: FakeChat) -> None:
    """Let them be looked for once."""
    async with looking(store, chat) as echoes:
        echoes.await_them()
        await asyncio.sleep(4 * WAIT)


@pytest.mark.parametrize("ended", [False, True])
async def test_what_came_twice_is_taken_away(store: Store, chat: FakeChat, *, ended: bool) -> None:
    """Of two messages for one part the recorded one stays, whichever is older; while the answer grows and later."""
    turn = await taken_over(store)
    await says(chat, turn, 0, "An echo that came first")
    await recorded(store, chat, turn, 0, "First")
    await recorded(store, chat, turn, 1, "Second")
    await says(chat, turn, 1, "An echo")
    if ended:
        await store.finish(turn.id, "me")
    await look(store, chat)
    assert chat.texts() == ["First", "Second"]


async def test_what_stands_once_stays(store: Store, chat: FakeChat) -> None:
    """A part that was posted but not recorded, one whose recorded message somebody deleted, and another turn's."""
    turn = await taken_over(store)
    gone = await recorded(store, chat, turn, 0, "Deleted")
    await says(chat, turn, 0, "Anew")
    await says(chat, turn, 1, "Not recorded")
    await chat.post(turn.thread, lambda: Body("Another turn's"), PartRef(turn.id + 1, 0))
    await chat.delete(turn.thread, gone)
    await look(store, chat)
    assert chat.texts() == ["Anew", "Not recorded", "Another turn's"]


async def test_what_is_recorded_meanwhile_stays(database_url: str, store: Store) -> None:
    """A part that is posted anew while its echoes are looked for is none of them."""

    class Anew(FakeChat):
        async def find_echoes(self, thread: ThreadKey, turn_id: int, recorded: Sequence[PartRecord]) -> list[str]:
            found = await super().find_echoes(thread, turn_id, recorded)
            assert found == [newest]
            await store.record_part(turn_id, "me", PartRecord(0, newest))
            return found

    chat = Anew(latency=0.0)
    turn = await taken_over(store)
    await recorded(store, chat, turn, 0, "Old")
    newest = await says(chat, turn, 0, "New")
    await look(store, chat)
    assert chat.texts() == ["Old", "New"]


async def test_who_was_in_work_at_the_death_is_looked_at(store: Store, sql: Raw) -> None:
    """Each look reads a thread, and Slack counts those: not who came later, nor who had ended before."""
    turns = {}
    for number, (accepted, finished) in enumerate([(100, 50), (100, 30), (100, None), (15, None), (100, 5)], 1):
        await accept(store, message(number))
        turn = turns[number] = await claimed(store)
        if finished:
            await store.finish(turn.id, "me")
        sql(
            f"UPDATE turns SET accepted_at = accepted_at - {accepted}, finished_at = finished_at - {finished or 0}"
            f" WHERE id = {turn.id}"
        )
    await accept(store, message(6))
    sql("UPDATE turns SET accepted_at = accepted_at - 100 WHERE state = 'queued'")
    looked_at = [(turns[number].thread, turns[number].id) for number in (5, 3, 2)]
    assert await store.under_way(36, 18, 20) == looked_at
    assert await store.under_way(36, 18, 2) == looked_at[:2]
    assert await store.under_way(36, 18, 20, newest=0) == []


@pytest.mark.parametrize("error", [ChatError("channel_not_found"), ChatRateLimited("ratelimited", retry_after=0.05)])
async def test_slack_may_refuse(store: Store, chat: FakeChat, error: ChatError) -> None:
    """A thread that cannot be read keeps nobody from the others."""
    for number in (1, 2):
        turn = await taken_over(store, number)
        await recorded(store, chat, turn, 0, f"Answer {number}")
        await says(chat, turn, 0, "An echo")
    refused = iter([error])
    chat.fail = lambda method, _number: next(refused, None) if method == "find_parts" else None
    await look(store, chat)
    assert chat.texts() == ["Answer 1", "Answer 2", "An echo"]
    await look(store, chat)
    assert chat.texts() == ["Answer 1", "Answer 2"]


async def test_slack_may_refuse_to_delete(store: Store, chat: FakeChat) -> None:
    """That is the end of this look, for this message alone."""
    turn = await taken_over(store)
    await recorded(store, chat, turn, 0, "First")
    for text in ("An echo", "Another"):
        await says(chat, turn, 0, text)
    refused = iter([ChatError("cant_delete_message")])
    chat.fail = lambda method, _number: next(refused, None) if method == "delete" else None
    await look(store, chat)
    assert chat.texts() == ["First", "An echo"]


async def test_a_death_while_others_are_looked_for_is_not_forgotten(store: Store) -> None:
    """What was in work counts from the death, not from the moment at which somebody finds time to look."""

    class Slow(FakeChat):
        async def find_echoes(self, thread: ThreadKey, turn_id: int, recorded: Sequence[PartRecord]) -> list[str]:
            searched.set()
            if turn_id == first.id:
                await asyncio.sleep(4 * WAIT)
            return await super().find_echoes(thread, turn_id, recorded)

    searched = asyncio.Event()
    chat = Slow(latency=0.0)
    first = await taken_over(store)
    await store.finish(first.id, "me")
    async with looking(store, chat) as echoes:
        echoes.await_them()
        await searched.wait()
        second = await taken_over(store, 2)
        echoes.await_them()
        await recorded(store, chat, second, 0, "Second")
        await says(chat, second, 0, "An echo")
        await store.finish(second.id, "me")
        async with asyncio.timeout(5.0):
            while chat.texts() != ["Second"]:
                await asyncio.sleep(0.01)
