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

from slackbot.domain import (
    ChannelKind,
    HandoverReason,
    MessageDeleted,
    MessageEdited,
    MessageRef,
    Move,
    Notice,
    TurnKind,
)
from slackbot.routing import Say
from slackbot.store import Changed, Store, Timers
from tests.databases import Raw
from tests.stored import accept, claimed, drain, message, ts

TURNS = 20_000
_TABLES = "turns|parts|conversations|feedback|handovers|handover_transitions|handover_signals"


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
    # Five handovers of each thread, all over and shown, with three steps each.
    insert = (
        "INSERT INTO handovers (conversation_id, state, reason, asker_id, opened_at, ended_at, card_channel_id,"
        " card_ts, quiet_since, told, untold) "
    )
    values = "SELECT 1 + n %% 2000, 'returned', 'user', 'U1', n, n, 'C9', '17' || n, n, 3 * n, n < 0 FROM numbers"
    sql((insert + numbers + values) if sql.on_sqlite else (numbers + insert + values), TURNS // 2)
    for move, after in (("ask", "requested"), ("claim", "human"), ("hand_back", "returned")):
        insert = 'INSERT INTO handover_transitions (handover_id, move, "before", "after", actor_id, at) '
        sql(insert + "SELECT id, %s, %s, %s, 'U8', id FROM handovers", move, after, after)
    sql("INSERT INTO handover_signals SELECT conversation_id, 'key ' || id FROM handovers")
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
            if not connection.execute("SELECT 1 FROM turns OFFSET 100 LIMIT 1").fetchone():
                # As the bot has it, for tables whose statistics know nothing of what is to come.
                connection.execute("SET enable_seqscan = off")
            rows = connection.execute(("EXPLAIN " + statement).encode(), parameters).fetchall()
        return "\n".join(row[0] for row in rows)

    return on_sqlite if sql.on_sqlite else on_postgresql


def reads_a_table(plan: str) -> bool:
    """Whether a table is read from end to end. Walking the index of what is queued is what a queue is for."""
    return any(
        re.match(
            rf"SCAN ({_TABLES})(?!.*INDEX ix_(turns_queued|turns_ready|turns_brief|turns_leases|handovers_wake))",
            line.strip(),
        )
        or re.search(rf"Seq Scan on ({_TABLES})", line)
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
async def test_every_statement_of_a_handover_uses_indexes(
    store: Store, sql: Raw, explain: Callable[[str, Any], str]
) -> None:
    """From the call to the end, with what is relayed and shown meanwhile, no statement reads a table from end to
    end."""
    timers = Timers(1, 2, 3, 4)
    with heard() as statements:
        await accept(store, message(1))
        await accept(store, message(2, thread=1))
        turn = await claimed(store)
        assert await store.hold(turn.thread, "U8", 60)
        await store.release_hold(turn.thread)
        place = {"actor_id": "U1", "asker_id": "U1", "key": "key"}
        handed = await store.ask_for_human(
            turn.thread, ChannelKind.CHANNEL, reason=HandoverReason.USER, timers=timers, **place
        )
        assert handed.handover is not None
        [due] = await store.due_handovers("me", 30)
        card = MessageRef("C9", ts(500))
        await store.handover_told(due.handover.id, "me", due.untold[-1].id, card, None, timers)
        await store.handover_of_card("T1", card)
        await store.take_over(turn.thread, "U8", timers)
        await store.operator_spoke(due.handover.id, timers)
        await store.accept_relay(message(3, channel="C9"), due.handover.id, from_operator=True)
        await store.finish(turn.id, "me")
        sql("UPDATE turns SET state = 'done' WHERE state = 'queued' AND kind = 'ask'")
        assert TurnKind.RELAY in [turn.kind for turn in await drain(store)]
        await store.edit_message(MessageEdited("T1", "C9", ts(3), "new words"))
        await store.open_handover(turn.thread)
        await store.newest_handover(turn.conversation.id)
        await store.end_handover(due.handover.id, "T1", Move.RESOLVE, "U8")
        await store.take_over(turn.thread, "U8", timers)
        await store.handovers(since=9_990, limit=20)
        await store.handovers(handover_id=due.handover.id)
    explained = 0
    for statement, parameters in statements:
        if not statement.startswith(("SELECT", "UPDATE", "DELETE")):
            continue
        plan = explain(statement, parameters)
        print(statement, plan, sep="\n", end="\n\n")
        assert not reads_a_table(plan), f"{statement}\n{plan}"
        explained += 1
    assert explained >= 40


@pytest.mark.usefixtures("history")
async def test_nothing_due_is_found_at_once(store: Store, explain: Callable[[str, Any], str]) -> None:
    """Every process looks every few seconds: that is one look into a small index, without a lock."""
    with heard() as statements:
        assert await store.due_handovers("me", 30) == []
        assert await store.take_echo(60) is None
    for table, index in (("handovers", "ix_handovers_wake"), ("echoes_at", "ix_turns_echoes")):
        [(statement, parameters)] = [found for found in statements if table in found[0]]
        plan = explain(statement, parameters)
        print(plan)
        assert index in plan


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


@pytest.mark.parametrize("known", [True, False])
async def test_a_claim_goes_from_index_to_index(
    request: pytest.FixtureRequest, store: Store, explain: Callable[[str, Any], str], *, known: bool
) -> None:
    """Team, channel, person and turn are each found by one look into what is ready, what has to wait is seen once;
    nothing is sorted. That is so in a new database, too: plans are made there, and kept when the queue has grown."""
    if known:
        request.getfixturevalue("history")
    await accept(store, message(1, user="U9", channel="C9"))
    await accept(store, message(2, user="U9", channel="C9", thread=1))
    await accept(store, message(3, user="U9", channel="C9"))
    await accept(store, message(4, user="U9", channel="C9"), Say(Notice.GREETING))
    with heard() as statements:
        # By turns with what else there may be.
        assert await store.claim("me", 30, 8)
    once = {re.sub(r"\s+", " ", statement): (statement, given) for statement, given in statements}
    found = {text: explain(*statement) for text, statement in once.items()}
    ready = {text: plan for text, plan in found.items() if "parked_until IS NULL" in text}
    assert len(ready) == 9
    for text, plan in found.items():
        print(text, plan, sep="\n", end="\n\n")
        assert not re.search("Sort|TEMP B-TREE|Bitmap", plan)
        assert text not in ready or re.search("ix_turns_(ready|brief)", plan)
    [parking] = [plan for text, plan in ready.items() if "SET parked_until" in text]
    for index in ("ix_turns_ready", "ix_turns_following", "uq_turns_running", "uq_handovers_open"):
        assert index in parking
    # That whose time has come, and what would wait too long because the clock was set back.
    looking_again = [plan for text, plan in found.items() if "parked_until IS NOT NULL" in text]
    assert ["ix_turns_parked" in plan for plan in looking_again] == [True, True]
    for moment, index in (("lease_until", "ix_turns_leases"), ("echoes_at", "ix_turns_echoes")):
        [set_back] = [plan for text, plan in found.items() if text.startswith(f"UPDATE turns SET {moment}=")]
        assert index in set_back


@pytest.mark.parametrize("known", [True, False])
async def test_a_message_walks_through_nothing_that_waits(
    request: pytest.FixtureRequest, store: Store, explain: Callable[[str, Any], str], *, known: bool
) -> None:
    """Who waits in the team is counted in an index; what waits in the thread is found in another, also by a plan that
    was made when the tables were empty."""
    if known:
        request.getfixturevalue("history")
    with heard() as statements:
        await accept(store, message(1))
    [counted] = [explain(*found) for found in statements if "GROUP BY turns.user_id" in found[0]]
    [looked_up] = [explain(*found) for found in statements if "waiting_here" in found[0]]
    print(counted, looked_up, sep="\n\n")
    assert "ix_turns_load" in counted
    assert looked_up.count("ix_turns_following") == 2
    assert "ix_turns_load" not in looked_up
