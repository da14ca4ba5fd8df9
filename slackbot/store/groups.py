"""Group commit: messages that arrive while a commit is under way share the next one."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from slackbot.routing import Ignore
from slackbot.store.acceptance import Arrival, Pending, take_in
from slackbot.store.engine import Database
from slackbot.store.errors import StoreError
from slackbot.store.values import Accepted

log = logging.getLogger(__name__)

ACCEPT_SECONDS = 2.0
"""How long a caller waits for the commit: Slack wants its acknowledgement within 3 s.
https://docs.slack.dev/apis/events-api/#responding"""

GROUP_LIMIT = 100
WAITING_LIMIT = 1_000

CROWD = 10
"""When more wait than this, whoever can wait lets them go first."""
LULL_SECONDS = 0.05
"""So soon after a crowd the rest of it may still be on its way."""


@dataclass(frozen=True, slots=True, eq=False)
class _Waiting:
    arrival: Arrival
    accepted: asyncio.Future[Accepted]


class GroupWriter:
    """The one task that writes what arrives. Owned by the store, which closes it."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._queue: asyncio.Queue[_Waiting | None] = asyncio.Queue(WAITING_LIMIT)
        self._arriving: dict[tuple[str, str, str], asyncio.Future[Accepted]] = {}
        self._calm = asyncio.Event()
        self._calm.set()
        self._closed = False
        self._task = asyncio.create_task(self._run(), name="store-writer")

    async def accept(self, arrival: Arrival) -> Accepted:
        """Return after the commit that holds this arrival; ``StoreError`` when there was none in time.

        Slack tells of a mention twice: the second time is a duplicate as soon as the first is stored.
        """
        message = arrival.message
        name = message.team_id, message.channel_id, message.ts
        try:
            async with asyncio.timeout(ACCEPT_SECONDS):
                if (first := self._arriving.get(name)) is not None:
                    await asyncio.wait([first])
                    if not first.cancelled() and not first.exception() and first.result().turn_id is not None:
                        return Accepted(Ignore("already stored"), duplicate=True)
                return await self._accept(arrival, name)
        except TimeoutError as error:
            raise StoreError(f"the database did not take a message within {ACCEPT_SECONDS} s") from error

    async def _accept(self, arrival: Arrival, name: tuple[str, str, str]) -> Accepted:
        if self._closed:
            raise StoreError("the store is closed")
        waiting = _Waiting(arrival, asyncio.get_running_loop().create_future())
        self._arriving[name] = waiting.accepted
        if len(self._arriving) > CROWD:
            self._calm.clear()
        try:
            await self._queue.put(waiting)
            return await waiting.accepted
        finally:
            waiting.accepted.cancel()
            if self._arriving.get(name) is waiting.accepted:
                del self._arriving[name]
            if len(self._arriving) <= CROWD:
                self._calm.set()

    async def calm(self, seconds: float) -> bool:
        """Return once no crowd of messages waits; False when after so long one still does."""
        try:
            async with asyncio.timeout(seconds):
                while not self._calm.is_set():
                    await self._calm.wait()
                    await asyncio.sleep(LULL_SECONDS)
        except TimeoutError:
            return False
        return True

    async def close(self) -> None:
        """Write what waits, then end."""
        if not self._closed:
            self._closed = True
            await self._queue.put(None)
        await self._task

    async def _run(self) -> None:
        while group := await self._next_group():
            # Whoever gave up has told Slack so, and will get the message again.
            if wanted := [waiting for waiting in group if not waiting.accepted.done()]:
                # Replicas that lock the same threads in the same order never wait for each other in a circle.
                wanted.sort(key=lambda waiting: (waiting.arrival.thread, waiting.arrival.message.ts))
                await self._settle(wanted)

    async def _next_group(self) -> list[_Waiting]:
        """At least one arrival; empty when the writer is closed and all is written."""
        group: list[_Waiting] = []
        while len(group) < GROUP_LIMIT:
            if group and self._queue.empty():
                break
            waiting = await self._queue.get()
            if waiting is None:
                self._queue.put_nowait(None)
                break
            group.append(waiting)
        return group

    async def _settle(self, group: list[_Waiting]) -> None:
        """Commit the group and tell everybody. When it fails for another reason than the database, each goes alone."""
        [outcome] = await asyncio.gather(self._commit(group), return_exceptions=True)
        match outcome:
            case list():
                for waiting, accepted in zip(group, outcome, strict=True):
                    if not waiting.accepted.done():
                        waiting.accepted.set_result(accepted)
            case BaseException() if isinstance(outcome, StoreError) or len(group) == 1:
                for waiting in group:
                    if not waiting.accepted.done():
                        waiting.accepted.set_exception(_as_ours(outcome))
            case error:
                log.warning("store.group_split", extra={"messages": len(group), "error": type(error).__name__})
                for waiting in group:
                    await self._settle([waiting])

    async def _commit(self, group: list[_Waiting]) -> list[Accepted]:
        def write(connection: Connection) -> list[Accepted]:
            pending = Pending(connection)
            return [take_in(self._database, connection, waiting.arrival, pending) for waiting in group]

        return await self._database.write_group(write)


def _as_ours(error: BaseException) -> BaseException:
    """A value that the database cannot hold is ours to name; what ``decide`` raises is the caller's own."""
    if not isinstance(error, DBAPIError | UnicodeError):
        return error
    refused = StoreError(f"the database refuses this message: {type(error).__name__}")
    refused.__cause__ = error
    return refused
