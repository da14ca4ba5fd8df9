"""What a claim takes however much waits and is stored, and how it finds its way.

Ten thousand conversations, without a past and with a million answered turns, and then 10, 1,000 and 100,000 turns that
wait. Half of those stand first and have to wait for something: a running answer, an older question, a human, a later
time. Last, claims as a busy worker makes them: of many at once, while it is at work on hundreds.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy import event
from sqlalchemy.engine import Engine

from slackbot.store import Bounds, Store
from slackbot.store.migrate import upgrade
from slackbot.worker import WorkerSettings
from tests.databases import Postgres, Raw

CONVERSATIONS, STORED = 10_000, 1_000_000
WAITING = (10, 1_000, 100_000)
TEAMS, CHANNELS, USERS = 5, 100, 1_000
CLAIMS = 500
LANES = 1_000
"""Of a team, a channel and a person."""
LEASE = 60.0
LIMIT, AT_WORK = WorkerSettings().claims, 300
"""What a worker asks for, and on how many turns it is at work meanwhile."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """Claims of ``limit`` turns each with so many stored and waiting, in seconds: at p50 and p99. The ``first`` round
    sees for the first time what has to wait, the ``later`` ones know; they took so many ``statements``."""

    database: str
    stored: int
    waiting: int
    limit: int
    first: tuple[float, float]
    later: tuple[float, float]
    statements: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Figures:
    """All of it; ``plans`` are the statements of a claim with their plans, by database."""

    claimed: tuple[Claimed, ...]
    plans: dict[str, str]


def measure(*, stored: int = STORED, waiting: tuple[int, ...] = WAITING, at_work: int = AT_WORK) -> Figures:
    """Fill a database of each kind, and claim; at last while ``at_work`` on so many turns."""
    folder = Path(tempfile.mkdtemp(prefix="slackbot-bench-"))
    # The server runs as a user of its own.
    folder.chmod(0o755)
    server = Postgres(folder)
    try:
        sqlite = f"sqlite:///{folder / 'bench.db'}"
        upgrade(sqlite)
        urls = {"SQLite": sqlite, "PostgreSQL": server.create("bench", template="template")}
        claimed, plans = [], {}
        for name, url in urls.items():
            sql = Raw(url)
            add_conversations(sql)
            for past in (0, stored):
                store_past(sql, past)
                for count in waiting if past else waiting[:1]:
                    fill_queue(sql, count)
                    claimed.append(asyncio.run(_claim(name, url, sql, past, count)))
            claimed.append(asyncio.run(_claim(name, url, sql, stored, waiting[-1], LIMIT, at_work)))
            plans[name] = asyncio.run(explain_claim(url, sql))
            sql.close()
        return Figures(tuple(claimed), plans)
    finally:
        server.remove()
        shutil.rmtree(folder, ignore_errors=True)


def _insert(sql: Raw, table: str, columns: dict[str, str], count: int) -> None:
    """Rows 0 to ``count`` - 1, whose values are made of ``n``."""
    following = f"SELECT n + 1 FROM numbers WHERE n < {count - 1}"
    numbers = f"WITH RECURSIVE numbers(n) AS (SELECT CAST(0 AS bigint) UNION ALL {following})"
    wanted = f"SELECT {', '.join(columns.values())} FROM numbers WHERE n < {count}"
    sql(f"INSERT INTO {table} ({', '.join(columns)}) {numbers} {wanted}".replace("%", "%%"))


_TURN = {
    "conversation_id": "1 + n % 10000",
    "team_id": f"'T' || (n % 10000 % {TEAMS})",
    "channel_id": f"'C' || (n % 10000 % {CHANNELS})",
    "user_id": f"'U' || (n % {USERS})",
    "kind": "'ask'",
    "is_reply": "1 = 0",
    "attempt": "1",
}


def add_conversations(sql: Raw) -> None:
    """Conversations in which nothing has been asked."""
    conversation = {
        "team_id": f"'T' || (n % {TEAMS})",
        "channel_id": f"'C' || (n % {CHANNELS})",
        "root_ts": "'root ' || n",
        "channel_kind": "'channel'",
        "mention_only": "1 = 0",
        "needs_past": "1 = 0",
        "is_shared": "1 = 0",
        "created_at": "0",
    }
    _insert(sql, "conversations", conversation, CONVERSATIONS)


def store_past(sql: Raw, stored: int) -> None:
    """Answered turns."""
    past = {"state": "'done'", "ts": "(1600000000 + n) || '.000100'", "available_at": "n", "accepted_at": "n"}
    _insert(sql, "turns", _TURN | past, stored)
    _settle(sql)


def fill_queue(sql: Raw, count: int) -> None:
    """As many queued turns as that. The first half has to wait: every fourth of its threads runs an answer, every
    fourth is with a human, every fourth begins with a turn for later; in the others all but one wait for that."""
    sql("BEGIN")
    sql("DELETE FROM turns WHERE state <> 'done'")
    sql("DELETE FROM handovers")
    half = count // 2
    threads = max(half // 20, 1)
    queued = {"state": "'queued'", "accepted_at": "n"}
    blocked = {
        "conversation_id": f"1 + n % {threads}",
        "ts": "(1700000000 + n) || '.000100'",
        "available_at": f"CASE WHEN n % {threads} % 4 = 2 THEN 9e9 ELSE n END",
    }
    running = {"state": "'running'", "owner": "'other'", "lease_until": "9e9", "available_at": "n", "accepted_at": "n"}
    of_thread = {"conversation_id": "1 + 4 * n", "ts": "(1690000000 + n) || '.000100'"}
    _insert(sql, "turns", _TURN | running | of_thread, max(threads // 4, 1))
    handover = {
        "conversation_id": "2 + 4 * n",
        "state": "'human'",
        "reason": "'user'",
        "asker_id": "'U1'",
        "opened_at": "n",
        "quiet_since": "n",
        "told": "0",
        "untold": "1 = 0",
    }
    _insert(sql, "handovers", handover, max(threads // 4, 1))
    _insert(sql, "turns", _TURN | queued | blocked, half)
    # The others stand in threads of their own.
    free = {
        "conversation_id": f"1 + {threads} + n % {CONVERSATIONS - threads}",
        "ts": "(1800000000 + n) || '.000100'",
        "available_at": "n",
    }
    _insert(sql, "turns", _TURN | queued | free, count - half)
    sql("COMMIT")
    _settle(sql)


def _settle(sql: Raw) -> None:
    if not sql.on_sqlite:
        # Soon after, PostgreSQL would do so itself.
        sql("VACUUM ANALYZE")


async def _claim(name: str, url: str, sql: Raw, stored: int, waiting: int, limit: int = 1, at_work: int = 0) -> Claimed:
    took, counts = list[float](), list[float]()
    first = max(1, min(waiting, LANES) // limit)
    async with _store(url) as store:
        busy = {turn.id for turn in await store.claim("bench", LEASE, at_work)} if at_work else set()
        for _ in range(first + CLAIMS):
            with _heard() as statements:
                began = time.perf_counter()
                turns = await store.claim("bench", LEASE, limit, at_work=busy)
                took.append(time.perf_counter() - began)
            counts.append(len(statements))
            assert len(turns) == limit
            # The queue stays as long as it was.
            for turn in turns:
                sql("UPDATE turns SET state = 'queued', owner = NULL, lease_until = NULL WHERE id = %s", turn.id)
    later = _percentiles(took[first:])
    return Claimed(name, stored, waiting, limit, _percentiles(took[:first]), later, _percentiles(counts[first:]))


@contextmanager
def _heard() -> Iterator[list[tuple[str, Any]]]:
    """The statements that are sent to any database, with their parameters."""
    statements: list[tuple[str, Any]] = []

    def hear(_connection: object, _cursor: object, statement: str, parameters: Any, *_: object) -> None:
        statements.append((statement, parameters))

    event.listen(Engine, "before_cursor_execute", hear)
    try:
        yield statements
    finally:
        event.remove(Engine, "before_cursor_execute", hear)


def _percentiles(took: list[float]) -> tuple[float, float]:
    return statistics.median(took), sorted(took)[int(len(took) * 0.99)]


@asynccontextmanager
async def _store(url: str) -> AsyncIterator[Store]:
    store = await Store.open(url, bounds=Bounds(per_team=1_000, per_user=10))
    try:
        yield store
    finally:
        await store.close()


async def explain_claim(url: str, sql: Raw) -> str:
    """The statements of a claim, each with its plan."""
    async with _store(url) as store:
        with _heard() as statements:
            await store.claim("bench", LEASE)
    return "\n\n".join(f"{statement}\n{explain(url, sql, statement, given)}" for statement, given in statements)


def explain(url: str, sql: Raw, statement: str, parameters: Any) -> str:
    if sql.on_sqlite:
        return "\n".join(row[3] for row in sql("EXPLAIN QUERY PLAN " + statement, *parameters))
    with psycopg.connect(url) as connection:
        found = connection.execute(("EXPLAIN " + statement).encode(), parameters).fetchall()
    return "\n".join(row[0] for row in found)


def report(figures: Figures) -> str:
    """For people: times, and how they compare with the shortest queue and no past."""
    columns = (
        *("database", "stored", "waiting", "claims of", "first p50", "p99", "later p50", "p99"),
        *("later p50, compared", "statements"),
    )
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    shortest: dict[str, float] = {}
    for each in figures.claimed:
        compared = each.later[0] / shortest.setdefault(each.database, each.later[0])
        times = " | ".join(f"{1000 * seconds:.1f} ms" for seconds in (*each.first, *each.later))
        sizes = f"{each.stored:,} | {each.waiting:,} | {each.limit}"
        lines.append(f"| {each.database} | {sizes} | {times} | {compared:.1f} x | {each.statements[0]:g} |")
    for name, plan in figures.plans.items():
        lines += ["", f"A claim on {name}:", "", plan]
    return "\n".join(lines)


def main(argv: Sequence[str]) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="make bench BENCH=claims", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a hundredth of it: a look, not a measurement")
    quick = parser.parse_args(argv).quick
    found = measure(stored=STORED // 100, waiting=WAITING[:2], at_work=AT_WORK // 10) if quick else measure()
    print(report(found))
