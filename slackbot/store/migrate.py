"""Bringing a database to the newest shape; safe when several processes start at once."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final

import psycopg
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, text

from slackbot.store.engine import POSTGRESQL_CONNECT, WRITES, own_errors, parse_url, prepare_sqlite, sqlite_file
from slackbot.store.errors import StoreError

log = logging.getLogger(__name__)

TRIES: Final = 30
PAUSE_SECONDS: Final = 1.0

_ADVISORY_LOCK = 0x51ACB07
"""Any number that nobody else locks in the same PostgreSQL database."""


def upgrade(url: str, revision: str = "head") -> None:
    """Bring the database to ``revision``, in one transaction. Raises ``StoreError`` when it cannot be reached, or when
    somebody keeps a table for about a minute.

    Blocks; whoever comes second waits for the first, and then finds nothing to do.
    """
    _migrate(url, partial(command.upgrade, revision=revision))


def downgrade(url: str, revision: str) -> None:
    """Take the database back to ``revision``; ``base`` is an empty one."""
    _migrate(url, partial(command.downgrade, revision=revision))


def current(url: str) -> str | None:
    """The revision the database has; None when it is empty."""
    with _locked(url) as connection:
        return MigrationContext.configure(connection).get_current_revision()


def newest() -> str | None:
    """The revision this program needs."""
    return ScriptDirectory.from_config(_config()).get_current_head()


def is_current(url: str) -> bool:
    """Whether the database has the tables this program needs. A file that is not there is not made."""
    file = sqlite_file(parse_url(url))
    return (file is None or file.exists()) and current(url) == newest()


def _migrate(url: str, run: Callable[[Config], None]) -> None:
    """All of it again, while replicas at work use the tables for longer than we may keep them waiting."""
    for left in reversed(range(TRIES)):
        try:
            with _locked(url) as connection:
                config = _config()
                config.attributes["connection"] = connection
                run(config)
        except StoreError as error:
            if not left or not isinstance(getattr(error.__cause__, "orig", None), psycopg.errors.LockNotAvailable):
                raise
            log.warning("migration.waits", extra={"tries_left": left})
            time.sleep(PAUSE_SECONDS)
        else:
            return


def _config() -> Config:
    package = Path(__file__).parents[1]
    shipped = package / "_migrations"
    folder = shipped if shipped.is_dir() else package.parent / "migrations"
    config = Config()
    config.set_main_option("script_location", str(folder).replace("%", "%%"))
    return config


@contextmanager
def _locked(url: str) -> Iterator[Connection]:
    """A transaction that no other migration runs beside: SQLite's own write lock, an advisory lock on PostgreSQL."""
    parsed = parse_url(url)
    on_sqlite = parsed.drivername == "sqlite"
    address = parsed if on_sqlite else parsed.set(drivername="postgresql+psycopg")
    engine = create_engine(address, connect_args={} if on_sqlite else POSTGRESQL_CONNECT, hide_parameters=True)
    if on_sqlite:
        prepare_sqlite(engine, busy_seconds=30)
    try:
        with own_errors(), engine.execution_options(**{WRITES: True}).begin() as connection:
            if not on_sqlite:
                connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": _ADVISORY_LOCK})
                # Who waits for a table makes all wait who come later, even to read.
                connection.execute(text("SET LOCAL lock_timeout = '1s'"))
            yield connection
    finally:
        engine.dispose()
