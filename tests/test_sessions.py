"""What Slack's agent sessions show of a thread, and what of it is still to be shown."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest

from slackbot.domain import SessionStatus, Turn
from slackbot.errands import Errands
from slackbot.errors import ChatRateLimited
from slackbot.sessions import Sessions
from slackbot.store import Store
from tests.databases import Raw
from tests.fakes import FakeChat
from tests.stored import accept, claimed, message, stores


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Store]:
    async with stores(database_url, 1) as [opened]:
        yield opened


@pytest.fixture
def chat() -> FakeChat:
    return FakeChat(latency=0.0)


@pytest.fixture
async def errands() -> AsyncIterator[Errands]:
    one_by_one = Errands(workers=1)
    running = asyncio.create_task(one_by_one.run())
    yield one_by_one
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running


@pytest.fixture
async def turn(store: Store) -> Turn:
    await accept(store, message(1))
    return await claimed(store, "me")


async def test_an_end_is_undone_until_slack_shows_it(
    store: Store, chat: FakeChat, errands: Errands, turn: Turn
) -> None:
    """So that whoever leaves before that can tell."""
    sessions = Sessions(store, chat, errands)
    sessions.began(turn.thread)
    await errands.done()
    assert not sessions.undone
    sessions.ended(turn.thread, turn.id)
    assert sessions.undone == {turn.id}
    await errands.done()
    assert not sessions.undone
    assert [status for _, status in chat.sessions] == [SessionStatus.PROCESSING, SessionStatus.ACTIVE]


async def test_an_end_that_slack_does_not_take_is_shown_later(
    store: Store, chat: FakeChat, errands: Errands, turn: Turn, sql: Raw
) -> None:
    """The turn is remembered, for whoever puts threads right."""
    sessions = Sessions(store, chat, errands)
    sessions.began(turn.thread)
    await errands.done()
    chat.fail = lambda called, _number: (
        ChatRateLimited("ratelimited", retry_after=60) if called == "set_session" else None
    )
    await sessions.over(turn.thread, turn.id)
    await errands.done()
    assert not sessions.undone
    assert sql("SELECT id FROM turns WHERE echoes_at IS NOT NULL") == [(turn.id,)]


async def test_a_question_that_slack_showed_nothing_of_leaves_nothing(
    store: Store, chat: FakeChat, errands: Errands, turn: Turn, sql: Raw
) -> None:
    """Where an app has no sessions, or Slack had no time for one."""
    chat.has_sessions = False
    sessions = Sessions(store, chat, errands)
    sessions.began(turn.thread)
    await errands.done()
    await sessions.over(turn.thread, turn.id)
    sessions.ended(turn.thread, turn.id)
    await errands.done()
    assert not sessions.undone
    assert [status for _, status in chat.sessions] == [SessionStatus.PROCESSING]
    assert not sql("SELECT id FROM turns WHERE echoes_at IS NOT NULL")
