"""Short words for the store's tests: messages of one team, and stores on one database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import TypeVar

from slackbot.domain import Attachment, ChannelKind, InboundMessage, ThreadKey, Turn
from slackbot.routing import Decision, RunTurn, ThreadFacts
from slackbot.store import Accepted, Store, StoreError

Done = TypeVar("Done")

LEASE = 30.0


def ts(second: int) -> str:
    """A Slack ``ts``: seconds and microseconds."""
    return f"{1_700_000_000 + second}.000100"


def message(
    at: int, *, thread: int | None = None, user: str = "U1", text: str = "", channel: str = "C1"
) -> InboundMessage:
    """What ``user`` wrote at second ``at``, in the thread that began at second ``thread``."""
    return InboundMessage(
        team_id="T1",
        channel_id=channel,
        channel_kind=ChannelKind.CHANNEL,
        ts=ts(at),
        thread_ts=None if thread is None else ts(thread),
        user_id=user,
        text=text or f"message {at}",
        attachments=(Attachment("F1", "plan.pdf"),),
    )


def thread_of(inbound: InboundMessage) -> ThreadKey:
    return ThreadKey(inbound.team_id, inbound.channel_id, inbound.thread_ts or inbound.ts)


async def accept(store: Store, inbound: InboundMessage, decision: Decision | None = None) -> Accepted:
    """Store the message as a question, or as what is given."""
    return await store.accept(inbound, thread_of(inbound), lambda _: decision or RunTurn())


async def insist(operation: Callable[[], Awaitable[Done]]) -> Done:
    """Do it again for as long as the database is too slow for it, as Slack and people do."""
    while True:
        try:
            return await operation()
        except StoreError:
            await asyncio.sleep(0.05)


async def facts(store: Store, inbound: InboundMessage) -> ThreadFacts:
    """What the store tells about the thread of a message; the message itself is kept out."""
    seen: list[ThreadFacts] = []

    def look(found: ThreadFacts) -> Decision:
        seen.append(found)
        raise LookupError

    try:
        await store.accept(replace(inbound, ts=inbound.ts[:-1] + "9"), thread_of(inbound), look)
    except LookupError:
        return seen[0]
    raise AssertionError


async def claimed(store: Store, owner: str = "me", lease: float = LEASE) -> Turn:
    """The next turn, which must be there."""
    (turn,) = await store.claim(owner, lease) or (None,)
    assert turn is not None
    return turn


async def drain(store: Store, owner: str = "me") -> list[Turn]:
    """Every turn that can be claimed now."""
    turns: list[Turn] = []
    while claimed_now := await store.claim(owner, LEASE):
        turns += claimed_now
    return turns


@asynccontextmanager
async def stores(url: str, count: int) -> AsyncIterator[list[Store]]:
    """Several replicas, each with connections of its own."""
    async with AsyncExitStack() as stack:
        opened = []
        for _ in range(count):
            store = await Store.open(url)
            stack.push_async_callback(store.close)
            opened.append(store)
        yield opened
