"""One database behind two dialects: connections, transactions, limits of time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, TypeVar, cast

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
"""No operation takes longer, whatever the database or the network does: a lease is longer than this."""

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
_POSTGRESQL_CONNECT = {
    "connect_timeout": 2,
    "keepalives_idle": 10,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 5000,
}
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


class Database:
    """Short transactions on one database. Its failures come out as ``StoreError``; a value it refuses does not."""

    def __init__(self, url: URL) -> None:
        on_sqlite = url.drivername == "sqlite"
        drivers = ("sqlite+aiosqlite", "sqlite") if on_sqlite else ("postgresql+psycopg", "postgresql+psycopg")
        options: dict[str, Any] = {
            "pool_timeout": OPERATION_SECONDS,
            "pool_pre_ping": not on_sqlite,
            "connect_args": {} if on_sqlite else _POSTGRESQL_CONNECT,
            # Parameters are people's words: they stay out of error texts.
            "hide_parameters": True,
        }
        self._engine = create_async_engine(url.set(drivername=drivers[0]), pool_size=5, max_overflow=5, **options)
        self._writer = self._engine.execution_options(**{WRITES: True})
        self._group_writer = create_engine(url.set(drivername=drivers[1]), pool_size=1, max_overflow=0, **options)
        self._group_writer.update_execution_options(**{WRITES: True})
        for engine in (self._engine.sync_engine, self._group_writer):
            _prepare(engine)
        if on_sqlite:
            event.listen(self._engine.sync_engine, "invalidate", _undo)
        # SQLite takes one writer at a time and makes the others poll for their turn; a queue is quicker, and fair.
        self._turnstile: AbstractAsyncContextManager[Any] = asyncio.Lock() if on_sqlite else nullcontext()
        # The two classes differ in name only, as far as conflicts and RETURNING go.
        self.insert = cast("Callable[[type[Base]], postgresql.Insert]", (sqlite if on_sqlite else postgresql).insert)
        self._insert_new = {
            model: self.insert(model).on_conflict_do_nothing().returning(model.id)
            for model in (ConversationRow, TurnRow)
        }

    def insert_new(self, model: type[ConversationRow | TurnRow]) -> ReturningInsert[int]:
        """Insert a row and return its id; return nothing when a unique key says that it is there already."""
        return self._insert_new[model]

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """A snapshot, without any lock on SQLite."""
        with own_errors():
            async with asyncio.timeout(OPERATION_SECONDS), self._engine.connect() as connection:
                yield connection

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that commits at the end of the block. A value it refuses is a ``StoreError`` too."""
        try:
            with own_errors():
                async with asyncio.timeout(OPERATION_SECONDS), self._turnstile, self._writer.begin() as connection:
                    yield connection
        except (DataError, UnicodeError) as error:
            raise StoreError(f"the database refuses a value: {type(error).__name__}") from error

    async def read(self, statement: Executable) -> Sequence[Row[*tuple[Any, ...]]]:
        """The rows of one statement."""
        async with self.reading() as connection:
            return (await connection.execute(statement)).all()

    async def write(self, statement: Executable) -> Sequence[Row[*tuple[Any, ...]]]:
        """One statement as a transaction of its own, and the rows it returns."""
        async with self.writing() as connection:
            result = await connection.execute(statement)
            return result.all() if result.returns_rows else ()

    async def write_group(self, work: Callable[[Connection], Result]) -> Result:
        """One transaction of very many statements, in a thread. There a statement takes a tenth of the time on SQLite:
        the async driver changes threads eight times for each."""

        def write() -> Result:
            with self._group_writer.begin() as connection:
                return work(connection)

        with own_errors():
            async with self._turnstile:
                return await asyncio.to_thread(write)

    async def check(self) -> None:
        """Raise ``StoreError`` unless the database answers and can be written."""
        await self.write_group(lambda connection: connection.execute(text("SELECT 1")))

    async def close(self) -> None:
        await self._engine.dispose()
        self._group_writer.dispose()
