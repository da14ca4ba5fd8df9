"""Marks come off, at once or when Slack and the database are there again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from slackbot import marks
from slackbot.domain import Turn
from slackbot.errands import Errands
from slackbot.errors import ChatUnavailable
from slackbot.marks import Marks
from slackbot.replies.tidying import TRIES
from slackbot.store import Store
from tests.databases import Raw
from tests.fakes import FakeChat
from tests.stored import accept, claimed, message

REMOVE = "unmark_waiting"


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Store]:
    """A store on a fresh database."""
    store = await Store.open(database_url)
    yield store
    await store.close()


@pytest.fixture
async def taking(store: Store, chat: FakeChat, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Marks]:
    """Somebody who takes marks off, and tries again at once."""
    monkeypatch.setattr(marks, "PAUSE", 0.0)
    errands = Errands()
    async with asyncio.TaskGroup() as tasks:
        working = tasks.create_task(errands.run())
        yield Marks(store, chat, errands)
        working.cancel()


async def marked(store: Store, chat: FakeChat) -> Turn:
    """The turn of a message that waited, and bears its mark."""
    for n in (1, 2):
        await accept(store, message(n, thread=1))
    await store.finish((await claimed(store)).id, "me")
    turn = await claimed(store)
    chat.marks.add(turn.ts)
    return turn


async def tried(chat: FakeChat, count: int) -> None:
    """Wait until Slack was asked so often, and see that it is not asked again."""
    async with asyncio.timeout(10):
        while chat.count(REMOVE) < count:
            await asyncio.sleep(0.001)
    await asyncio.sleep(0.05)
    assert chat.count(REMOVE) == count


async def test_a_mark_comes_off_when_slack_is_back(store: Store, chat: FakeChat, taking: Marks) -> None:
    """The database knows then, so that nobody tries again."""
    turn = await marked(store, chat)
    chat.fail = lambda _method, number: ChatUnavailable("away") if number < 4 else None
    taking.off_later(turn.thread, turn.ts, turn.id)
    await tried(chat, 4)
    assert not chat.marks
    assert not await store.is_marked(turn.id)


async def test_a_mark_comes_off_when_the_database_is_back(
    store: Store, chat: FakeChat, taking: Marks, sql: Raw, caplog: pytest.LogCaptureFixture
) -> None:
    """Before that nobody knows whether there is one."""
    caplog.set_level("INFO")
    turn = await marked(store, chat)
    sql("ALTER TABLE turns RENAME TO away")
    taking.off_later(turn.thread, turn.ts, turn.id)
    async with asyncio.timeout(10):
        while "errand.failed" not in caplog.messages:
            await asyncio.sleep(0)
    sql("ALTER TABLE away RENAME TO turns")
    await tried(chat, 1)
    assert not chat.marks


async def test_a_mark_that_slack_will_not_take_off_is_left(store: Store, chat: FakeChat, taking: Marks) -> None:
    """A refusal stays one, where there is no mark too; and in the end Slack was away for too long."""
    turn = await marked(store, chat)
    chat.marks.clear()
    taking.off_later(turn.thread, turn.ts, turn.id)
    await tried(chat, 1)
    chat.fail = lambda _method, _number: ChatUnavailable("away")
    taking.off_later(turn.thread, turn.ts, turn.id)
    await tried(chat, 1 + TRIES)
    assert await store.is_marked(turn.id)
