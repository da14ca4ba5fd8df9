"""Bringing a database to the newest shape; safe when several processes start at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, text

from slackbot.store.engine import POSTGRESQL_CONNECT, WRITES, own_errors, parse_url, prepare_sqlite, sqlite_file

_ADVISORY_LOCK = 0x51ACB07
"""Any number that nobody else locks in the same PostgreSQL database."""


def upgrade(url: str, revision: str = "head") -> None:
    """Bring the database to ``revision``, in one transaction. Raises ``StoreError`` when it cannot be reached.

    Blocks; whoever comes second waits for the first, and then finds nothing to do.
    """
    with _migrating(url) as config:
        command.upgrade(config, revision)


def downgrade(url: str, revision: str) -> None:
    """Take the database back to ``revision``; ``base`` is an empty one."""
    with _migrating(url) as config:
        command.downgrade(config, revision)


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


@contextmanager
def _migrating(url: str) -> Iterator[Config]:
    config = _config()
    with _locked(url) as connection:
        config.attributes["connection"] = connection
        yield config


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
            yield connection
    finally:
        engine.dispose()
