"""Taking messages in: twins, groups, poison, outages."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import NoReturn

import pytest
from sqlalchemy import Connection, event, text
from sqlalchemy.engine import Engine

from slackbot.routing import Decision, Ignore, KeepAsContext, RunTurn, ThreadFacts
from slackbot.store import Accepted, Store, StoreError
from slackbot.store import engine as engine_settings
from tests.databases import Raw
from tests.stored import accept, claimed, drain, insist, message, stores, thread_of, ts

Outage = Callable[[], AbstractContextManager[None]]


@pytest.fixture
async def replicas(database_url: str) -> AsyncIterator[list[Store]]:
    """Four stores on one database."""
    async with stores(database_url, 4) as opened:
        yield opened


@pytest.fixture
def store(replicas: list[Store]) -> Store:
    return replicas[0]


@contextmanager
def counted_commits() -> Iterator[list[object]]:
    commits: list[object] = []
    count = commits.append
    event.listen(Engine, "commit", count)
    try:
        yield commits
    finally:
        event.remove(Engine, "commit", count)


@contextmanager
def looked_up() -> Iterator[list[str]]:
    """The statements that ask what is known of a message and its thread."""
    lookups: list[str] = []

    def hear(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if "waiting_here" in statement:
            lookups.append(statement)

    event.listen(Engine, "before_cursor_execute", hear)
    try:
        yield lookups
    finally:
        event.remove(Engine, "before_cursor_execute", hear)


def refuse(_: ThreadFacts) -> NoReturn:
    raise LookupError("no decision")


async def test_twins_and_redeliveries_give_one_turn(replicas: list[Store], sql: Raw) -> None:
    """One message, ten deliveries at once over four replicas: one row, nine duplicates."""
    deliveries = [accept(store, message(1)) for store in replicas for _ in range(3)]
    answers = await asyncio.gather(*deliveries)
    assert sorted(answer.duplicate for answer in answers) == [False] + [True] * 11
    assert sql("SELECT count(*) FROM turns") == [(1,)]
    assert sql("SELECT count(*) FROM conversations") == [(1,)]


async def test_one_thread_started_by_all_replicas_is_one_conversation(replicas: list[Store], sql: Raw) -> None:
    """Sixty different messages of three new threads, sprayed over replicas: all stored, three conversations."""
    arrivals = [message(10 + at, thread=at % 3) for at in range(60)]
    answers = await asyncio.gather(*(accept(replicas[at % 4], inbound) for at, inbound in enumerate(arrivals)))
    assert not any(answer.duplicate for answer in answers)
    assert len({answer.turn_id for answer in answers}) == 60
    assert sql("SELECT count(*) FROM conversations") == [(3,)]


async def test_a_duplicate_is_known_by_its_row_and_decided_no_more(store: Store) -> None:
    """The twin that comes later does not even ask what to do."""
    first = await accept(store, message(1), KeepAsContext())
    twin = message(1)
    again = await store.accept(twin, thread_of(twin), refuse)
    assert (again.duplicate, again.turn_id) == (True, first.turn_id)


async def test_a_mention_that_comes_as_two_events_is_looked_up_once(store: Store) -> None:
    """Slack sends ``app_mention`` and ``message`` side by side: the second waits for the first, and asks nothing."""
    mention = message(1)
    with looked_up() as lookups:
        first, twin = await asyncio.gather(accept(store, mention), store.accept(mention, thread_of(mention), refuse))
    assert len(lookups) == 1
    assert (first.duplicate, twin.duplicate) == (False, True)
    assert [turn.id for turn in await drain(store)] == [first.turn_id]


@pytest.mark.parametrize("failing", [refuse, lambda _: Ignore("not this one")], ids=["failed", "ignored"])
async def test_what_the_first_event_did_not_store_the_second_may(
    store: Store, failing: Callable[[ThreadFacts], Decision]
) -> None:
    """Only what is stored makes the other one a duplicate."""
    mention = message(1)
    _, twin = await asyncio.gather(
        store.accept(mention, thread_of(mention), failing), accept(store, mention), return_exceptions=True
    )
    assert isinstance(twin, Accepted)
    assert not twin.duplicate
    assert [turn.id for turn in await drain(store)] == [twin.turn_id]


@pytest.mark.parametrize("thread", [1, None], ids=["known thread", "new thread"])
async def test_a_clash_of_ids_is_no_duplicate(store: Store, sql: Raw, thread: int | None) -> None:
    """As after a move to another server whose counters lag: the message is not acknowledged, so it comes again."""
    if sql.on_sqlite:
        pytest.skip("SQLite counts from the rows that are there")
    await accept(store, message(1))
    for table in ("turns", "conversations"):
        sql(f"SELECT setval('{table}_id_seq', 1, false)")
    with pytest.raises(StoreError):
        await accept(store, message(2, thread=thread))
    again = await insist(partial(accept, store, message(2, thread=thread)))
    assert not again.duplicate
    assert sql("SELECT ts FROM turns ORDER BY ts") == [(ts(1),), (ts(2),)]


async def test_who_can_wait_lets_a_crowd_go_first(store: Store) -> None:
    """As long as a crowd waits for its acknowledgement it is not calm, and for no longer than one is ready to wait."""
    await asyncio.wait_for(store.calm(60), 5)
    order: list[str] = []

    async def arrive(number: int) -> None:
        await accept(store, message(number, user=f"U{number}"))
        order.append("accepted")

    async def work(seconds: float) -> None:
        await asyncio.sleep(0)
        await store.calm(seconds)
        order.append("worked")

    await asyncio.gather(*(arrive(number) for number in range(300)), work(60))
    assert order == ["accepted"] * 300 + ["worked"]
    order.clear()
    await asyncio.gather(*(arrive(number) for number in range(300, 600)), work(0))
    assert order[0] == "worked"


async def test_a_burst_takes_few_commits(store: Store) -> None:
    """Two hundred messages at once share their commits, and all are there when the calls return."""
    with counted_commits() as commits:
        began = time.monotonic()
        answers = await asyncio.gather(*(accept(store, message(at, user=f"U{at}")) for at in range(200)))
        print(f"200 messages: {len(commits)} commits, {time.monotonic() - began:.3f} s")
    assert len(commits) <= 10
    assert len({answer.turn_id for answer in answers}) == 200
    assert (await store.counts()).queued == 200


async def test_decisions_of_one_group_see_each_other(store: Store) -> None:
    """Two messages of a thread in one commit: the later one finds the question of the earlier."""
    seen: dict[str, str | None] = {}

    def remember(ts_: str) -> Callable[[ThreadFacts], Decision]:
        def decide(found: ThreadFacts) -> Decision:
            seen[ts_] = found.last_asker
            return RunTurn()

        return decide

    arrivals = [message(at, thread=1, user=f"U{at}") for at in (3, 2, 1)]
    await asyncio.gather(*(store.accept(one, thread_of(one), remember(one.ts)) for one in [message(9), *arrivals]))
    assert (seen[ts(1)], seen[ts(2)], seen[ts(3)]) == (None, "U1", "U2")


async def test_one_poisoned_message_fails_alone(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    """A decision that raises reaches its own caller; the group around it is stored one by one, which the log says."""
    poisoned = message(500)
    with caplog.at_level(logging.WARNING):
        *answers, failure = await asyncio.gather(
            *(accept(store, message(at)) for at in range(20)),
            store.accept(poisoned, thread_of(poisoned), refuse),
            return_exceptions=True,
        )
    assert all(isinstance(answer, Accepted) for answer in answers)
    assert isinstance(failure, LookupError)
    [split] = [record for record in caplog.records if record.message == "store.group_split"]
    assert split.__dict__["error"] == "LookupError"
    assert len(await drain(store)) == 20


@pytest.mark.parametrize("text", ["lone \ud800 surrogate", "null \x00 byte"], ids=["surrogate", "null"])
async def test_text_that_a_database_cannot_hold_fails_alone(store: Store, text: str, sql: Raw) -> None:
    """Its caller gets our error without the text; SQLite can hold a null byte."""
    poisoned = message(500, text=text)
    *answers, last = await asyncio.gather(
        *(accept(store, message(at)) for at in range(20)), accept(store, poisoned), return_exceptions=True
    )
    assert all(isinstance(answer, Accepted) for answer in answers)
    if sql.on_sqlite and "\x00" in text:
        assert isinstance(last, Accepted)
    else:
        assert isinstance(last, StoreError)
        assert "lone" not in str(last)
        assert "null" not in str(last)
    assert sql("SELECT count(*) FROM turns WHERE ts <> %s", poisoned.ts) == [(20,)]


async def test_an_outage_is_told_in_time_and_survived(store: Store, outage: Outage) -> None:
    """While the database takes nothing every call raises within 2.5 s; afterwards the same store works."""
    await accept(store, message(1))
    with outage():
        began = time.monotonic()
        failures = await asyncio.gather(*(accept(store, message(at)) for at in range(2, 302)), return_exceptions=True)
        took = time.monotonic() - began
        assert all(isinstance(failure, StoreError) for failure in failures)
        assert took < 3.0
        began = time.monotonic()
        with pytest.raises(StoreError):
            await accept(store, message(2))
        assert time.monotonic() - began < 3.0
        with pytest.raises(StoreError):
            await store.claim("me", 30)
    # A message that nobody waits for any more may still be under way; Slack delivers it again.
    answers = await asyncio.gather(*(accept(store, message(at)) for at in range(1, 302)))
    assert sum(answer.duplicate for answer in answers) >= 1
    assert (await claimed(store)).ts == ts(1)
    assert (await store.counts()).queued == 300


async def test_names_that_are_not_resolved_keep_nothing_from_being_stored(store: Store) -> None:
    """Who waits for a name service that says nothing has a thread of the loop's own until it does, even when nobody
    wants to know any more: here all of them."""
    answered = threading.Event()
    resolving = [asyncio.get_running_loop().run_in_executor(None, answered.wait) for _ in range(40)]
    try:
        assert (await accept(store, message(1))).turn_id
        assert await store.finish((await claimed(store)).id, "me")
    finally:
        answered.set()
        await asyncio.gather(*resolving)


async def test_who_waits_in_line_is_in_no_trouble(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A crowd is longer under way than any of its operations may take."""
    monkeypatch.setattr(engine_settings, "OPERATION_SECONDS", 0.5)
    database = store._database

    async def look() -> None:
        async with database.reading() as connection:
            await connection.execute(text("SELECT 1"))
            await asyncio.sleep(0.25)

    crowd = asyncio.gather(*(look() for _ in range(4 * engine_settings.CONNECTIONS)))
    await asyncio.sleep(0)
    await database.read(text("SELECT 1"), urgently=True)
    assert not crowd.done()
    await crowd
    monkeypatch.setattr(engine_settings, "LINE_SECONDS", 0.1)
    outcomes = await asyncio.gather(
        *(look() for _ in range(engine_settings.CONNECTIONS - engine_settings.URGENT + 1)), return_exceptions=True
    )
    assert [type(outcome) for outcome in outcomes if outcome] == [StoreError]


async def test_a_disk_that_hangs_keeps_no_one_waiting(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor those who come while it hangs; what they wanted is not done later."""
    if not store._database.on_sqlite:
        pytest.skip("the server has a disk of its own")
    monkeypatch.setattr(engine_settings, "LINE_SECONDS", 0.3)
    goes_on = threading.Event()
    hanging = asyncio.create_task(store._database.transact(lambda _: goes_on.wait(20)))
    behind = asyncio.create_task(accept(store, message(1)))
    try:
        done, _ = await asyncio.wait({hanging, behind}, timeout=10)
        assert [type(task.exception()) for task in done] == [StoreError, StoreError]
    finally:
        goes_on.set()
    assert not (await insist(lambda: accept(store, message(1)))).duplicate


async def test_a_caller_that_gives_up_leaves_the_writer_alone(store: Store, outage: Outage) -> None:
    """Cancelled while waiting for the commit, before or during it: the others are served as ever."""
    with outage():
        given_up = [asyncio.create_task(accept(store, message(at))) for at in range(10)]
        await asyncio.sleep(0.2)
        for task in given_up:
            task.cancel()
        for end in await asyncio.gather(*given_up, return_exceptions=True):
            # A server that is down says so sooner than a file that is locked.
            assert isinstance(end, asyncio.CancelledError | StoreError)
    half = [asyncio.create_task(accept(store, message(at))) for at in range(100, 160)]
    await asyncio.sleep(0)
    for task in half[::2]:
        task.cancel()
    ends = await asyncio.gather(*half, return_exceptions=True)
    assert all(isinstance(end, Accepted) for end in ends[1::2])
    assert not (await accept(store, message(900))).duplicate


async def test_closing_writes_what_waits(database_url: str, sql: Raw) -> None:
    """What was handed over before the end is committed and answered; afterwards nothing is taken."""
    store = await Store.open(database_url)
    waiting = [asyncio.create_task(accept(store, message(at))) for at in range(250)]
    await asyncio.sleep(0)
    await store.close()
    answers = await asyncio.gather(*waiting)
    assert len({answer.turn_id for answer in answers}) == 250
    assert sql("SELECT count(*) FROM turns") == [(250,)]
    with pytest.raises(StoreError, match="closed"):
        await accept(store, message(999))


async def test_reading_goes_on_while_somebody_writes(store: Store, sql: Raw) -> None:
    """A reader neither waits for an open write transaction nor takes its lock."""
    await accept(store, message(1))
    turn = await claimed(store)
    sql("BEGIN IMMEDIATE" if sql.on_sqlite else "BEGIN")
    sql("UPDATE turns SET text = %s", "changed")
    began = time.monotonic()
    assert (await store.counts()).running == 1
    assert await store.parts(turn.id) == []
    assert time.monotonic() - began < 1
    sql("ROLLBACK")


async def test_whatever_is_written_meanwhile_shares_a_commit(store: Store) -> None:
    """On SQLite, where each commit waits for the disk and nobody else can write: sixty turns end in a few of them, and
    one whose work fails for a reason of its own spoils it for nobody."""
    await asyncio.gather(*(accept(store, message(at)) for at in range(1, 62)))
    turns = await store.claim("me", 60, 61)

    async def poisoned() -> None:
        with pytest.raises(LookupError):
            await store._database.transact(refused)

    def refused(connection: Connection) -> None:
        connection.execute(text("DELETE FROM turns"))
        raise LookupError("no")

    with counted_commits() as commits:
        ends = await asyncio.gather(poisoned(), *(store.mark_submitted(turn.id, "me", "digest") for turn in turns))
    assert ends == [None, *[True] * 61]
    assert all([await store.submission(turn.id) is not None for turn in turns])
    if store._database.on_sqlite:
        assert len(commits) <= 3
