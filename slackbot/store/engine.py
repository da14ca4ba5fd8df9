"""One database behind two dialects: connections, transactions, limits of time."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, cast

import psycopg
from psycopg import waiting
from psycopg.abc import PQGen
from sqlalchemy import URL, Connection, Engine, Executable, Row, create_engine, event, make_url, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError, DataError, DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.sql.dml import ReturningInsert

from slackbot.store.errors import StoreError
from slackbot.store.models import Base, ConversationRow, TurnRow

Result = TypeVar("Result")

OPERATION_SECONDS = 5.0
"""Once it is its turn no operation takes longer, whatever the database or the network does. What keeps leases waits for
no turn: a lease is longer than this."""
CONNECTIONS = 10
URGENT = 2
"""So many of them are for what keeps leases."""
LINE_SECONDS = 30.0
"""So long an operation waits for one of the others, or on SQLite for its commit: that many come first, as when a crowd
of answers begins, is no trouble of the database's."""

ANSWER_SECONDS = 3.0
"""Longer than PostgreSQL may think about a statement: then it is not there any more."""

_SQLITE_SETUP = (
    "PRAGMA journal_mode = WAL",
    # FULL, because what was acknowledged must survive a power cut; groups keep the commits few.
    "PRAGMA synchronous = FULL",
    "PRAGMA foreign_keys = ON",
)
_POSTGRESQL_SETUP = (
    # Below the time an acknowledgement has, so that a stuck statement still becomes an error in time.
    "SET statement_timeout = 1500",
    "SET lock_timeout = 1000",
    # Every statement of ours follows an index. Plans are kept, and tables grow faster than their statistics: a plan
    # made on a new table, or before a burst, must follow the index too.
    "SET enable_seqscan = off",
    "SET enable_bitmapscan = off",
    "SET enable_hashjoin = off",
    # A frozen replica must not keep rows locked for the others.
    "SET idle_in_transaction_session_timeout = 10000",
)
# Seconds, except tcp_user_timeout: https://www.postgresql.org/docs/current/libpq-connect.html
POSTGRESQL_CONNECT = {
    "connect_timeout": 2,
    "keepalives_idle": 10,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 5000,
}


class Impatient(psycopg.AsyncConnection[Any]):
    """A connection that closes itself when the server says nothing, or when nobody waits any more. The driver's own
    would ask the server to let the statement be, and wait for that, too."""

    async def wait(self, gen: PQGen[Result], interval: float = 0.1, **more: Any) -> Result:  # type: ignore[override] # noqa: ANN401 - what else its versions take
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return await waiting.wait_async(gen, self.pgconn.socket, interval=interval, **more)
        except TimeoutError as error:
            self.pgconn.finish()
            raise psycopg.OperationalError("the server says nothing") from error
        except asyncio.CancelledError:
            self.pgconn.finish()
            raise


WORKS_LIMIT = 100
"""So many pieces of work share a commit at most."""

WRITES = "slackbot_writes"
"""The execution option of an engine whose transactions write."""


def parse_url(url: str) -> URL:
    """The user's ``DATABASE_URL`` without a driver. Raises ``StoreError`` when it is neither of the two kinds."""
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise StoreError("DATABASE_URL is not a database address") from error
    match parsed.get_backend_name():
        case "sqlite" if parsed.database and parsed.database != ":memory:":
            return parsed.set(drivername="sqlite")
        case "postgresql" | "postgres":
            return parsed.set(drivername="postgresql")
    raise StoreError("DATABASE_URL must be sqlite:///file.db or postgresql://user:password@host/database")


def sqlite_file(url: URL) -> Path | None:
    """The file of a SQLite database, None for PostgreSQL."""
    return Path(str(url.database)) if url.drivername == "sqlite" else None


def prepare_sqlite(engine: Engine, *, busy_seconds: float = 1.5) -> None:
    """Give every connection our settings, and leave BEGIN to us: Python's own comes too late, and is never IMMEDIATE.

    A writer takes the lock when it begins. One that reads first and then wants to write would fail at once with
    "database is locked" when somebody else wrote in between, however long it is willing to wait.
    """

    @event.listens_for(engine, "connect")
    def connect(connection: DBAPIConnection, _: object) -> None:
        connection.isolation_level = None
        # The patience comes first, so that it holds for the other settings too.
        _run_all(connection, (f"PRAGMA busy_timeout = {busy_seconds * 1000:.0f}", *_SQLITE_SETUP))

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE" if connection.get_execution_options().get(WRITES) else "BEGIN")


def _run_all(connection: DBAPIConnection, statements: tuple[str, ...]) -> None:
    cursor = connection.cursor()
    for statement in statements:
        cursor.execute(statement)
    cursor.close()


def _prepare(engine: Engine) -> None:
    if engine.dialect.name == "sqlite":
        prepare_sqlite(engine)
        return

    @event.listens_for(engine, "connect")
    def connect(connection: DBAPIConnection, _: object) -> None:
        _run_all(connection, _POSTGRESQL_SETUP)
        connection.commit()


def _undo(connection: DBAPIConnection, *_: object) -> None:
    """When a statement is cancelled its connection is closed. Without this, SQLite would keep the transaction and its
    lock until the garbage collector comes by."""
    connection.rollback()


@contextmanager
def own_errors() -> Iterator[None]:
    try:
        yield
    except (IntegrityError, DataError):
        # The database is well; it minds a value.
        raise
    except (DBAPIError, PoolTimeout, TimeoutError, OSError) as error:
        cause = error.orig if isinstance(error, DBAPIError) else error
        reason = next(iter(str(cause).splitlines()), "")
        raise StoreError(f"the database does not do its work: {type(cause).__name__}: {reason}") from error


@contextmanager
def own_values() -> Iterator[None]:
    try:
        yield
    except (DataError, UnicodeError) as error:
        raise StoreError(f"the database refuses a value: {type(error).__name__}") from error


@dataclass(frozen=True, slots=True, eq=False)
class _Work:
    """What somebody wants to be done in a transaction, and waits for."""

    do: Callable[[Connection], object]
    outcome: asyncio.Future[object]


class Database:
    """Short transactions on one database. Its failures come out as ``StoreError``; a value it refuses does not."""

    def __init__(self, url: URL) -> None:
        self.on_sqlite = on_sqlite = url.drivername == "sqlite"
        drivers = ("sqlite+aiosqlite", "sqlite") if on_sqlite else ("postgresql+psycopg", "postgresql+psycopg")
        options: dict[str, Any] = {
            "pool_timeout": OPERATION_SECONDS,
            "pool_pre_ping": not on_sqlite,
            # Parameters are people's words: they stay out of error texts.
            "hide_parameters": True,
        }
        limits: dict[str, Any] = {} if on_sqlite else POSTGRESQL_CONNECT
        impatient = {} if on_sqlite else {"async_creator_fn": Impatient.connect}
        self._engine = create_async_engine(
            url.set(drivername=drivers[0]),
            pool_size=CONNECTIONS // 2,
            max_overflow=CONNECTIONS // 2,
            connect_args=limits | impatient,
            **options,
        )
        self._line = asyncio.Semaphore(CONNECTIONS - URGENT)
        self._urgent = asyncio.Semaphore(URGENT)
        self._writer = self._engine.execution_options(**{WRITES: True})
        self._group_writer = create_engine(
            url.set(drivername=drivers[1]), pool_size=1, max_overflow=0, connect_args=limits, **options
        )
        # Not one of the loop's, which all wait for the name service when it hangs. One is enough for one connection.
        self._group_thread = ThreadPoolExecutor(1, "store-group")
        self._group_connection: psycopg.Connection | None = None
        self._group_writer.update_execution_options(**{WRITES: True})
        for engine in (self._engine.sync_engine, self._group_writer):
            _prepare(engine)
        if on_sqlite:
            event.listen(self._engine.sync_engine, "invalidate", _undo)
        else:
            # First of all: a server may fall silent during the first statements, which SQLAlchemy and we have it do.
            event.listen(self._group_writer, "connect", self._remember, insert=True)
        self._waiting: list[_Work] = []
        self._committing: asyncio.Task[None] | None = None
        # The two classes differ in name only, as far as conflicts and RETURNING go.
        self.insert = cast("Callable[[type[Base]], postgresql.Insert]", (sqlite if on_sqlite else postgresql).insert)
        self._insert_new = {
            model: self.insert(model).on_conflict_do_nothing(index_elements=model.KEY).returning(model.id)
            for model in (ConversationRow, TurnRow)
        }

    def insert_new(self, model: type[ConversationRow | TurnRow]) -> ReturningInsert[int]:
        """Insert a row and return its id; return nothing when its key in Slack says that it is there already."""
        return self._insert_new[model]

    @asynccontextmanager
    async def reading(self, *, urgently: bool = False) -> AsyncIterator[AsyncConnection]:
        """A snapshot, without any lock on SQLite."""
        with own_errors():
            async with self._turn(urgently), self._engine.connect() as connection:
                yield connection

    async def read(
        self, statement: Executable, *, urgently: bool = False, **values: object
    ) -> Sequence[Row[*tuple[Any, ...]]]:
        """The rows of one statement. ``urgently``: a lease depends on it."""
        async with self.reading(urgently=urgently) as connection:
            return (await connection.execute(statement, values)).all()

    async def write(
        self, statement: Executable, *, urgently: bool = False, **values: object
    ) -> Sequence[Row[*tuple[Any, ...]]]:
        """One statement as a transaction of its own, and the rows it returns."""

        def run(connection: Connection) -> Sequence[Row[*tuple[Any, ...]]]:
            result = connection.execute(statement, values)
            return result.all() if result.returns_rows else ()

        return await self.transact(run, urgently=urgently)

    async def transact(self, work: Callable[[Connection], Result], *, urgently: bool = False) -> Result:
        """One transaction, on SQLite as a group is written. A value it refuses is a ``StoreError`` too."""
        with own_values():
            if self.on_sqlite:
                return await self.write_group(work)
            with own_errors():
                async with self._turn(urgently), self._writer.begin() as connection:
                    return await connection.run_sync(work)

    @asynccontextmanager
    async def _turn(self, urgently: bool) -> AsyncIterator[None]:  # noqa: FBT001 - handed on
        """Wait in line, then for the operation."""
        line = self._urgent if urgently else self._line
        async with asyncio.timeout(OPERATION_SECONDS if urgently else LINE_SECONDS):
            await line.acquire()
        try:
            async with asyncio.timeout(OPERATION_SECONDS):
                yield
        finally:
            line.release()

    async def write_group(self, work: Callable[[Connection], Result]) -> Result:
        """A transaction of very many statements, in a thread. There a statement takes a tenth of the time on SQLite:
        the async driver changes threads eight times for each.

        SQLite takes one writer at a time, and each commit waits for the disk: what comes during one shares the next.
        """
        with own_errors():
            if self.on_sqlite:
                mine = _Work(work, asyncio.get_running_loop().create_future())
                self._waiting.append(mine)
                if self._committing is None or self._committing.done():
                    self._committing = asyncio.create_task(self._commit_all(), name="store-commits")
                async with asyncio.timeout(LINE_SECONDS):
                    return cast("Result", await mine.outcome)

            def write() -> Result:
                with self._group_writer.begin() as connection:
                    return work(connection)

            impatience = asyncio.get_running_loop().call_later(OPERATION_SECONDS, self._hang_up)
            try:
                return await self._in_thread(write)
            finally:
                impatience.cancel()

    async def _in_thread(self, work: Callable[[], Result]) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._group_thread, work)

    async def _commit_all(self) -> None:
        while self._waiting:
            group, self._waiting = self._waiting[:WORKS_LIMIT], self._waiting[WORKS_LIMIT:]
            # Nobody waits any more for what was cancelled before it began.
            group = [work for work in group if not work.outcome.done()]
            if not group:
                continue
            [outcomes] = await asyncio.gather(self._in_thread(partial(self._commit, group)), return_exceptions=True)
            if isinstance(outcomes, BaseException):
                outcomes = [outcomes] * len(group)
            for work, outcome in zip(group, outcomes, strict=True):
                if work.outcome.done():
                    continue
                if isinstance(outcome, BaseException):
                    work.outcome.set_exception(outcome)
                else:
                    work.outcome.set_result(outcome)

    def _commit(self, group: Sequence[_Work]) -> list[object]:
        """Do all of it in one transaction; what raises for a reason of its own is undone alone."""
        outcomes: list[object] = []
        with self._group_writer.begin() as connection:
            for work in group:
                try:
                    with connection.begin_nested():
                        outcome = work.do(connection)
                except Exception as error:
                    if isinstance(error, DBAPIError) and not isinstance(error, (IntegrityError, DataError)):
                        # The database is not well: what was done by then is not certain either.
                        raise
                    outcome = error
                outcomes.append(outcome)
        return outcomes

    def _remember(self, connection: DBAPIConnection, _: object) -> None:
        self._group_connection = cast("psycopg.Connection", connection)

    def _hang_up(self) -> None:
        """End the group's connection from here: its thread would wait for ever for a server that says nothing."""
        if self._group_connection is not None and not self._group_connection.closed:
            with suppress(OSError), socket.socket(fileno=os.dup(self._group_connection.fileno())) as line:
                line.shutdown(socket.SHUT_RDWR)

    async def connect(self) -> psycopg.AsyncConnection[Any]:
        """A connection of its own, for what lasts as long as a session. For PostgreSQL only."""
        arguments, options = self._engine.dialect.create_connect_args(self._engine.url)
        connection = await Impatient.connect(*arguments, autocommit=True, **{**options, **POSTGRESQL_CONNECT})
        for statement in _POSTGRESQL_SETUP:
            await connection.execute(statement)
        return connection

    async def check(self) -> None:
        """Raise ``StoreError`` unless the database answers and can be written."""
        await self.write_group(lambda connection: connection.execute(text("SELECT 1")))

    async def close(self) -> None:
        if self._committing is not None:
            await asyncio.wait([self._committing])
        await self._engine.dispose()
        self._group_writer.dispose()
        self._group_thread.shutdown(wait=False)
