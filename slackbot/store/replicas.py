"""Several processes on one PostgreSQL: which of them live, and what they tell each other."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import secrets
import socket
from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Any, Final, NoReturn

import psycopg
from sqlalchemy import ColumnElement, Connection, func, select, union, update

from slackbot.leases import AFTER_ALL_SECONDS, Standing, now
from slackbot.store.engine import Database
from slackbot.store.errors import StoreError
from slackbot.store.models import HandoverRow, TurnRow, epoch_now, is_running

log = logging.getLogger(__name__)

LOOK_SECONDS: Final = 0.5
GRACE_SECONDS: Final = 5.0
"""Who has just connected judges nobody for so long: after an outage all of them come back one by one. Longer than a
try to connect and the longest pause after it."""
ANSWER_SECONDS: Final = 2.0
CONNECT_SECONDS: Final = 3.0
FIRST_PAUSE: Final = 0.1
LONGEST_PAUSE: Final = 1.0

_CLASS: Final = 0x51ACB08
"""Advisory locks of this class, any number that nobody else uses in the same database, say which processes live."""
_NUMBERED: Final = re.compile(r"-([0-9a-f]{8})$")
_HELD = union(
    select(TurnRow.owner).where(is_running(TurnRow), TurnRow.owner.is_not(None)),
    select(HandoverRow.owner).where(HandoverRow.wake_at.is_not(None), HandoverRow.lease_until > epoch_now()),
)
# Shared, so that our next session need not wait for the end of our last one.
_LOCK: Final = "SELECT pg_advisory_lock_shared(%s, %s)"
_LOCKS: Final = """
SELECT objid::bigint, pid = pg_backend_pid() FROM pg_locks
WHERE locktype = 'advisory' AND classid = %s AND objsubid = 2 AND granted AND mode = 'ShareLock'
AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


def new_owner() -> str:
    """A name for this process, by which it holds turns. Its end is the number of the lock that proves it lives."""
    return f"{socket.gethostname()}-{os.getpid()}-{secrets.randbits(31):08x}"


def _number(owner: str) -> int | None:
    """None for owners who hold no lock, as those of earlier versions: only the time ends their leases."""
    found = _NUMBERED.search(owner)
    return int(found[1], 16) if found else None


def void(connection: Connection, owners: Collection[str] | None = None) -> None:
    """End the leases of these owners, or of all.

    Calls to Slack that a dead owner may have in flight are not waited out, although they can arrive up to
    ``CALL_SECONDS`` later: waiting would delay every takeover, which is to take less than 3 s, by several times as
    much. What they spoil of answers is put right afterwards: the last edit is made again, what stands twice goes.
    """

    def theirs(row: type[HandoverRow | TurnRow]) -> ColumnElement[bool]:
        return row.owner.is_not(None) if owners is None else row.owner.in_(sorted(owners))

    # In the order of those who claim a handover: first the turns.
    running = is_running(TurnRow) & theirs(TurnRow)
    late = epoch_now() + AFTER_ALL_SECONDS
    connection.execute(update(TurnRow).where(running).values(owner=None, lease_until=epoch_now(), echoes_at=late))
    held = HandoverRow.wake_at.is_not(None) & theirs(HandoverRow)
    connection.execute(update(HandoverRow).where(held).values(lease_until=None))


def _void_dead(connection: Connection, missing: Collection[str]) -> list[str]:
    """Void the leases of those whose lock is free even now; returns who they are.

    Until the end of the transaction we hold their locks: one that comes back now waits for that, and has lost them. One
    that came back since we looked keeps them.
    """
    lock = {owner: func.pg_try_advisory_xact_lock(_CLASS, _number(owner)) for owner in sorted(missing)}
    dead = [owner for owner in lock if connection.execute(select(lock[owner])).scalar_one()]
    if dead:
        void(connection, dead)
    return dead


class Presence:
    """This process among the others: a session of its own that holds a lock as long as we live, sees whose lock is
    free, and hears what changed. Leases of the dead are void at once."""

    def __init__(self, database: Database, standing: Standing) -> None:
        self._database = database
        self._standing = standing
        self._number = _number(standing.owner)
        self._session: psycopg.AsyncConnection[Any] | None = None
        self._since = 0.0
        self._missing: frozenset[str] = frozenset()
        self._present: frozenset[int] = frozenset()

    async def join(self) -> None:
        """Take our lock. Raises ``StoreError``."""
        self._session, self._since = await self._connect(), now()
        # Those who are not back yet after an outage are no dead.
        self._present = frozenset()

    async def run(self, hear: Mapping[str, Callable[[], None]], bury: Callable[[], object]) -> NoReturn:
        """Look and listen until cancelled. ``hear`` has what to do about each word that is notified; all of that is
        done when some may have been missed. ``bury`` is called when another process is no longer there, in one of the
        others alone."""
        while True:
            try:
                if self._session is not None:
                    await self._live(self._session, hear, bury)
            except (psycopg.Error, OSError, TimeoutError) as error:
                log.error("replica.cut_off", extra={"error": type(error).__name__})
            self._standing.lose()
            began = now()
            await self._rejoin()
            log.warning("replica.back", extra={"seconds": round(now() - began, 2)})
            self._standing.regain()
            for do in hear.values():
                do()

    async def leave(self) -> None:
        """Let others have at once what we still hold."""
        if self._session is not None:
            try:
                await self._database.transact(partial(void, owners=[self._standing.owner]), urgently=True)
            except StoreError as error:
                log.error("replica.left_leases", extra={"error": str(error)})
            await self._session.close()
            self._session = None

    async def _connect(self) -> psycopg.AsyncConnection[Any]:
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                session = await self._database.connect()
                await session.execute(_LOCK, (_CLASS, self._number))
                await session.execute("LISTEN slackbot")
                return session
        except (psycopg.Error, OSError, TimeoutError) as error:
            raise StoreError(f"no session for this process: {type(error).__name__}") from error

    async def _rejoin(self) -> None:
        if self._session is not None:
            await self._session.close()
        pause = FIRST_PAUSE
        while True:
            try:
                await self.join()
            except StoreError:
                # Half of it by chance, so that not all come back at the same moment.
                await asyncio.sleep(pause * (0.5 + secrets.randbelow(1000) / 2000))
                pause = min(pause * 2, LONGEST_PAUSE)
            else:
                return

    async def _live(
        self, session: psycopg.AsyncConnection[Any], hear: Mapping[str, Callable[[], None]], bury: Callable[[], object]
    ) -> NoReturn:
        while True:
            if await self._look(session):
                bury()
            async for word in session.notifies(timeout=LOOK_SECONDS):
                if word.payload in hear:
                    hear[word.payload]()

    async def _look(self, session: psycopg.AsyncConnection[Any]) -> bool:
        """Void the leases of owners whose lock was free twice in a row: who has lost a connection is back by then.
        Returns whether somebody who was there is not any more, and it is ours to see to that."""
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                found = await session.execute(_LOCKS, (_CLASS,))
                locks = await found.fetchall()
            if (self._number, True) not in locks:
                # What a pooler does that gives each transaction another session.
                raise psycopg.OperationalError("our lock is not in our session")
            owners = {row.owner for row in await self._database.read(_HELD, urgently=True)}
        except (StoreError, psycopg.errors.QueryCanceled) as error:
            # Slow, but there: nobody has lost us.
            log.error("replica.looked_in_vain", extra={"error": type(error).__name__})
            return False
        present = frozenset(number for number, _ in locks)
        gone, self._present = self._present - present, present
        living = present | {None}
        settled = now() - self._since >= GRACE_SECONDS
        missing = frozenset(owner for owner in owners if settled and _number(owner) not in living)
        twice, self._missing = missing & self._missing, missing
        if twice:
            try:
                if dead := await self._database.transact(partial(_void_dead, missing=twice), urgently=True):
                    log.warning("replica.dead", extra={"owners": dead})
            except StoreError as error:
                log.error("replica.leases_stay", extra={"error": str(error)})
        return bool(gone) and self._number == min(present)
