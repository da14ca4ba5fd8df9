"""The schema: upgrades, downgrades, and agreement with the models."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.command import current as alembic_current
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.util import CommandError
from sqlalchemy import create_engine, inspect, make_url
from sqlalchemy.engine import Engine

from slackbot.domain import PartRecord
from slackbot.routing import Relay
from slackbot.store import Counts, Pressed, StoreError, Timers, migrate
from slackbot.store.migrate import current, downgrade, is_current, newest, upgrade
from slackbot.store.models import Base
from tests.databases import Postgres, Raw
from tests.stored import accept, claimed, message, stores, thread_of


def engine(url: str) -> Engine:
    return create_engine(make_url(url.replace("postgresql://", "postgresql+psycopg://")))


def test_upgrade_from_empty_gives_the_tables_of_the_models(empty_database_url: str) -> None:
    """Comparing the upgraded database with the models finds no difference, indexes included."""
    assert current(empty_database_url) is None
    upgrade(empty_database_url)
    assert current(empty_database_url) == newest()
    opened = engine(empty_database_url)
    with opened.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []
        columns = {table: inspect(connection).get_indexes(table) for table in Base.metadata.tables}
    opened.dispose()
    found = {index["name"]: (index["column_names"], bool(index["unique"])) for t in columns.values() for index in t}
    for index in (index for table in Base.metadata.tables.values() for index in table.indexes):
        assert found[index.name] == ([column.name for column in index.columns], bool(index.unique))


def test_the_conditions_of_partial_indexes_are_those_of_the_models(empty_database_url: str, tmp_path: Path) -> None:
    """Tables made from the models have the same index definitions as migrated ones, conditions included."""
    upgrade(empty_database_url)
    migrated = index_definitions(empty_database_url)
    downgrade(empty_database_url, "base")
    opened = engine(empty_database_url)
    Base.metadata.create_all(opened)
    opened.dispose()
    assert index_definitions(empty_database_url) == migrated
    assert any("running" in definition for definition in migrated)


def index_definitions(url: str) -> list[str]:
    query = (
        "SELECT sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL"
        if url.startswith("sqlite")
        else "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' AND tablename <> 'alembic_version'"
    )
    opened = engine(url)
    with opened.connect() as connection:
        found = sorted(" ".join(row[0].split()) for row in connection.exec_driver_sql(query))
    opened.dispose()
    return found


def test_downgrade_leaves_nothing(empty_database_url: str) -> None:
    """Every step can be taken back, down to an empty database, and taken again."""
    upgrade(empty_database_url)
    downgrade(empty_database_url, "base")
    opened = engine(empty_database_url)
    assert set(inspect(opened).get_table_names()) <= {"alembic_version"}
    opened.dispose()
    upgrade(empty_database_url)
    assert current(empty_database_url) == newest()


async def test_rows_of_an_earlier_version_live_on(empty_database_url: str) -> None:
    """What 0001 stored is there afterwards, runs, and can be tried again, stopped and rated; taken back, it is there
    too."""
    upgrade(empty_database_url, "0001")
    sql = Raw(empty_database_url)
    sql(
        "INSERT INTO conversations (team_id, channel_id, root_ts, channel_kind, mention_only, needs_past, is_shared,"
        " created_at) VALUES ('T1', 'C1', '1.0', 'channel', 1 = 0, 1 = 0, 1 = 0, 5)"
    )
    for state, at in (("done", "1.0"), ("failed", "2.0"), ("running", "3.0"), ("queued", "4.0")):
        sql(
            "INSERT INTO turns (conversation_id, team_id, channel_id, ts, user_id, kind, state, text, is_reply,"
            " attempt, available_at, accepted_at, lease_until)"
            " VALUES (1, 'T1', 'C1', %s, 'U1', 'ask', %s, 'words', 1 = 0, 1, 5, 5, 6)",
            at,
            state,
        )
    sql("INSERT INTO parts (turn_id, \"index\", ts, placeholder) VALUES (1, 0, '1.5', 1 = 0)")
    upgrade(empty_database_url)
    async with stores(empty_database_url, 1) as [store]:
        turn = await claimed(store)
        assert (turn.ts, turn.text, turn.waited, turn.stopped_by, turn.shown) == ("3.0", "words", False, None, False)
        assert await store.parts(1) == [PartRecord(0, "1.5")]
        assert await store.request_stop(turn.id, "T1", "C1", "U1") is Pressed.DONE
        assert await store.retry(2, "T1", "C1", "U1") is Pressed.WAITS
        assert await store.rate(1, "T1", "C1", "U1", good=True)
        assert (await store.counts()) == Counts(queued=2, running=1)
    downgrade(empty_database_url, "0001")
    assert sql("SELECT ts, state, text FROM turns ORDER BY ts") == [
        ("1.0", "done", "words"),
        ("2.0", "queued", "words"),
        ("3.0", "running", "words"),
        ("4.0", "queued", "words"),
    ]
    assert sql("SELECT ts FROM parts") == [("1.5",)]
    sql.close()


def test_a_replica_of_the_version_before_goes_on(database_url: str, sql: Raw) -> None:
    """While replicas are replaced one by one, an older one stores a message in the newer table."""
    sql(
        "INSERT INTO conversations (team_id, channel_id, root_ts, channel_kind, mention_only, needs_past, is_shared,"
        " created_at) VALUES ('T1', 'C1', '1.0', 'channel', 1 = 0, 1 = 0, 1 = 0, 5)"
    )
    sql(
        "INSERT INTO turns (conversation_id, team_id, channel_id, ts, user_id, kind, state, is_reply, attempt,"
        " available_at, accepted_at) VALUES (1, 'T1', 'C1', '1.0', 'U1', 'ask', 'queued', 1 = 0, 1, 5, 5)"
    )
    assert sql("SELECT waited, stopped_by, shown_at FROM turns") == [(False, None, None)]
    assert sql("SELECT handover_id, from_operator, again FROM turns") == [(None, False, False)]


async def test_what_was_relayed_is_context_to_the_version_before(database_url: str, sql: Raw) -> None:
    """Taken back, no turn is of a kind that it does not know, and no words are lost."""
    async with stores(database_url, 1) as [store]:
        handed = await store.take_over(thread_of(message(1)), "U8", Timers())
        assert handed.handover is None
        await accept(store, message(1))
        handed = await store.take_over(thread_of(message(1)), "U8", Timers())
        assert handed.done
        await accept(store, message(2, thread=1), Relay())
    downgrade(database_url, "0003")
    assert sql("SELECT kind, state, text FROM turns ORDER BY ts") == [
        ("context", "done", "message 1"),
        ("context", "done", "message 2"),
    ]
    upgrade(database_url)


def test_whether_a_database_is_current_is_told_without_making_one(empty_database_url: str, tmp_path: Path) -> None:
    """Empty and older ones are not, migrated ones are; a missing file stays missing."""
    assert not is_current(empty_database_url)
    upgrade(empty_database_url, "0001")
    assert not is_current(empty_database_url)
    upgrade(empty_database_url)
    assert is_current(empty_database_url)
    assert not is_current(f"sqlite:///{tmp_path}/missing.db")
    assert not (tmp_path / "missing.db").exists()


def test_upgrading_twice_changes_nothing(database_url: str) -> None:
    """A database that is up to date is left as it is."""
    upgrade(database_url)
    assert current(database_url) == newest()


def test_several_processes_may_upgrade_at_once(empty_database_url: str) -> None:
    """Four processes start on an empty database; all succeed and it is upgraded once."""
    program = "import sys; from slackbot.store.migrate import upgrade; sys.stdin.read(); upgrade(sys.argv[1])"
    processes = [
        subprocess.Popen([sys.executable, "-c", program, empty_database_url], stdin=subprocess.PIPE) for _ in range(4)
    ]
    for process in processes:
        assert process.stdin is not None
        process.stdin.close()
    assert [process.wait(30) for process in processes] == [0] * 4
    assert current(empty_database_url) == newest()


@pytest.fixture
def before(postgres: Postgres) -> Iterator[str]:
    """A PostgreSQL database of the version before."""
    url = postgres.create("before")
    upgrade(url, "0004")
    yield url
    postgres.drop("before")


def test_nobody_waits_behind_an_upgrade_that_waits(
    before: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A replica's transaction is not over yet: others read and write meanwhile, and the upgrade tries again."""
    monkeypatch.setattr(migrate, "PAUSE_SECONDS", 0.1)
    busy, other = Raw(before), Raw(before)
    busy("BEGIN")
    busy("SELECT count(*) FROM turns")
    upgrading = threading.Thread(target=upgrade, args=(before,))
    upgrading.start()
    try:
        other("SET lock_timeout = '10s'")
        deadline = time.monotonic() + 30
        while not other("SELECT 1 FROM pg_locks WHERE NOT granted AND mode = 'AccessExclusiveLock'"):
            assert time.monotonic() < deadline
        assert other("SELECT count(*) FROM turns") == [(0,)]
    finally:
        busy("COMMIT")
        upgrading.join()
    assert current(before) == newest()
    assert [record.message for record in caplog.records if record.message == "migration.waits"]
    busy.close()
    other.close()


def test_an_upgrade_does_not_wait_for_ever(
    before: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """When the tables are never free it says so, and has changed nothing."""
    monkeypatch.setattr(migrate, "TRIES", 2)
    monkeypatch.setattr(migrate, "PAUSE_SECONDS", 0.1)
    busy = Raw(before)
    busy("BEGIN")
    busy("SELECT count(*) FROM turns")
    with pytest.raises(StoreError, match="LockNotAvailable"):
        upgrade(before)
    busy.close()
    assert [record.message for record in caplog.records] == ["migration.waits"]
    assert current(before) == "0004"


def test_a_database_out_of_reach_is_said_in_words(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Upgrading a database that is not there raises our error, at once and without the password."""
    with pytest.raises(StoreError) as failure:
        upgrade("postgresql://bot:hunter2@127.0.0.1:1/slackbot")
    assert "hunter2" not in str(failure.value)
    with pytest.raises(StoreError, match="unable to open"):
        upgrade(f"sqlite:///{tmp_path}/missing/slackbot.db")
    assert not caplog.records


def test_the_alembic_command_line_is_sent_to_ours() -> None:
    """Without our lock and URL the migrations do not run, and say what to run instead."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parents[1] / "migrations"))
    with pytest.raises(CommandError, match="slackbot migrate"):
        alembic_current(config)


def test_migrations_are_found_inside_an_installed_package(tmp_path: Path) -> None:
    """A package laid out as the wheel lays it out upgrades a database without the repository."""
    repository = Path(__file__).parents[1]
    shutil.copytree(repository / "slackbot", tmp_path / "slackbot", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(repository / "migrations", tmp_path / "slackbot" / "_migrations")
    url = f"sqlite:///{tmp_path / 'slackbot.db'}"
    program = f"from slackbot.store.migrate import upgrade; upgrade({url!r})"
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, env=os.environ | {"PYTHONPATH": "."}, check=True)
    assert current(url) == newest()
