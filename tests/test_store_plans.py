"""Query plans: what happens per message and per claim looks into indexes, however much is stored."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from sqlalchemy import event
from sqlalchemy.engine import Engine

from slackbot.domain import MessageDeleted, MessageEdited
from slackbot.store import Changed, Store
from tests.databases import Raw
from tests.stored import accept, claimed, message, ts

TURNS = 20_000


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Store]:
    opened = await Store.open(database_url)
    yield opened
    await opened.close()


@pytest.fixture
def history(sql: Raw) -> None:
    """Many answered turns in many threads, by many people, and a few thousand that wait."""
    numbers = (
        "WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < %s) "
        if sql.on_sqlite
        else "WITH RECURSIVE numbers(n) AS (SELECT CAST(1 AS bigint) UNION ALL SELECT n + 1 FROM numbers WHERE n < %s) "
    )
    sql("BEGIN")
    insert = (
        "INSERT INTO conversations (team_id, channel_id, root_ts, channel_kind, mention_only, needs_past, is_shared,"
        " created_at) "
    )
    values = "SELECT 'T1', 'C1', 'root ' || n, 'channel', n < 0, n < 0, n < 0, 0 FROM numbers"
    sql((insert + numbers + values) if sql.on_sqlite else (numbers + insert + values), TURNS // 10)
    insert = (
        "INSERT INTO turns (conversation_id, team_id, channel_id, ts, user_id, kind, state, is_reply, attempt,"
        " available_at, accepted_at) "
    )
    values = (
        "SELECT 1 + n %% 2000, 'T1', 'C1', '16' || (10000000 + n) || '.000100', 'U' || (n %% 50), 'ask',"
        " CASE WHEN n %% 10 = 0 THEN 'queued' ELSE 'done' END, n > 0, 1, n, n FROM numbers"
    )
    sql((insert + numbers + values) if sql.on_sqlite else (numbers + insert + values), TURNS)
    sql('INSERT INTO parts (turn_id, "index", ts, placeholder) SELECT id, 0, ts, id < 0 FROM turns')
    insert = "INSERT INTO feedback (turn_id, user_id, good, given_at) "
    sql(insert + "SELECT id, 'U1', id > 0, id FROM turns WHERE state = 'done'")
    sql("COMMIT")
    if not sql.on_sqlite:
        # Soon after, PostgreSQL would do so itself.
        sql("ANALYZE")


@contextmanager
def heard() -> Iterator[list[tuple[str, Any]]]:
    """The statements that are sent to any database, with their parameters."""
    statements: list[tuple[str, Any]] = []

    def hear(_connection: object, _cursor: object, statement: str, parameters: Any, *_: object) -> None:
        statements.append((statement, parameters))

    event.listen(Engine, "before_cursor_execute", hear)
    try:
        yield statements
    finally:
        event.remove(Engine, "before_cursor_execute", hear)


@pytest.fixture
def explain(database_url: str, sql: Raw) -> Callable[[str, Any], str]:
    def on_sqlite(statement: str, parameters: Any) -> str:
        return "\n".join(row[3] for row in sql("EXPLAIN QUERY PLAN " + statement, *parameters))

    def on_postgresql(statement: str, parameters: Any) -> str:
        with psycopg.connect(database_url) as connection:
            rows = connection.execute(("EXPLAIN " + statement).encode(), parameters).fetchall()
        return "\n".join(row[0] for row in rows)

    return on_sqlite if sql.on_sqlite else on_postgresql


def reads_a_table(plan: str) -> bool:
    """Whether a table is read from end to end. Walking the index of what is queued is what a queue is for."""
    return any(
        re.match(r"SCAN (turns|parts|conversations|feedback)(?!.*INDEX ix_turns_(queued|leases))", line.strip())
        or re.search(r"Seq Scan on (turns|parts|conversations|feedback)", line)
        for line in plan.splitlines()
    )


@pytest.mark.usefixtures("history")
async def test_every_statement_of_a_turn_uses_indexes(store: Store, explain: Callable[[str, Any], str]) -> None:
    """From accepting to finishing, no statement reads a table from end to end."""
    with heard() as statements:
        await accept(store, message(1))
        await accept(store, message(2, thread=1))
        turn = await claimed(store)
        await store.renew("me", [turn.id], 30)
        await store.mark_submitted(turn.id, "me")
        await store.context_for(turn)
        await store.speakers(turn.conversation.id)
        await store.parts(turn.id)
        await store.request_stop(turn.id, "T1", "C1", "U1")
        await store.request_stop_in(turn.thread, "U1")
        await store.is_queued(turn.id)
        await store.mark_shown(turn.id, "me")
        await store.finish(turn.id, "me")
        await store.retry(turn.id, "T1", "C1", "U1")
        await store.edit_message(MessageEdited("T1", "C1", ts(2), "new words"))
        await store.drop_message(MessageDeleted("T1", "C1", ts(2)))
        await store.rate(turn.id, "T1", "C1", "U1", good=True)
        await store.feedback(since=19_000, limit=20)
        await store.counts()
    explained = 0
    for statement, parameters in statements:
        if not statement.startswith(("SELECT", "UPDATE", "DELETE", "INSERT INTO feedback")):
            continue
        plan = explain(statement, parameters)
        print(statement, plan, sep="\n", end="\n\n")
        assert not reads_a_table(plan), f"{statement}\n{plan}"
        explained += 1
    assert explained >= 20


@pytest.mark.usefixtures("history")
async def test_an_edit_of_any_message_in_slack_is_found_by_its_key(
    store: Store, explain: Callable[[str, Any], str]
) -> None:
    """Most edits and deletions are none of ours: one look into an index says so, and nothing is written."""
    with heard() as statements:
        assert await store.edit_message(MessageEdited("T1", "C1", ts(9), "")) is Changed.UNKNOWN
        assert await store.drop_message(MessageDeleted("T1", "C1", ts(9))) is Changed.UNKNOWN
    asked = [found for found in statements if "turns" in found[0]]
    assert len(asked) == 2
    for statement, parameters in asked:
        assert statement.startswith("SELECT")
        assert re.search("uq_turns_ts_channel_id_team_id|sqlite_autoindex_turns_1", explain(statement, parameters))


@pytest.mark.usefixtures("history")
async def test_feedback_is_read_in_order(store: Store, explain: Callable[[str, Any], str]) -> None:
    """The newest few are found without sorting all."""
    with heard() as statements:
        await store.feedback(limit=20)
    [(statement, parameters)] = [found for found in statements if "feedback" in found[0]]
    plan = explain(statement, parameters)
    print(plan)
    assert "ix_feedback_given" in plan
    assert "USE TEMP B-TREE FOR ORDER BY" not in plan


@pytest.mark.usefixtures("history")
async def test_a_claim_finds_the_queue_by_its_index(store: Store, explain: Callable[[str, Any], str]) -> None:
    """The claim walks the queue in order and checks the thread, each by a partial index."""
    with heard() as statements:
        await claimed(store)
    [(statement, parameters)] = [found for found in statements if "available_at <=" in found[0]]
    plan = explain(statement, parameters)
    print(plan)
    for index in (r"ix_turns_queued\b", "ix_turns_queued_order", "uq_turns_running"):
        assert re.search(index, plan)
    assert "Sort" not in plan
    assert "TEMP B-TREE" not in plan
