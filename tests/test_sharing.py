"""Several processes on one PostgreSQL: together they never call Slack more often than it allows."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from slackbot import sharing
from slackbot.budget import Budget, Key, Limit, Per
from slackbot.domain import Body, ThreadKey
from slackbot.errors import ChatRateLimited
from slackbot.replies.pace import OpenReplies
from slackbot.sharing import Sharing
from slackbot.simulator.slack import SlackSimulator
from slackbot.slack.client import SlackChat
from slackbot.slack.installations import Installations
from slackbot.slack.web import WebApi
from slackbot.store import Store
from slackbot.store.slots import Slots
from tests.databases import Raw
from tests.stored import accept, claimed, message
from tests.test_store_plans import heard

pytestmark = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)

_numbers = itertools.count(1)
EDIT, POST = "chat.update", "chat.postMessage"
LIMITS = {EDIT: Limit(3, seconds=0.3, margin=0.0), POST: Limit(1, seconds=0.2, margin=0.0, per=Per.CHANNEL)}


@dataclass(frozen=True)
class Replica:
    """What one process has to do with calls."""

    name: str
    store: Store
    budget: Budget
    replies: OpenReplies
    sharing: Sharing

    @property
    def slots(self) -> Slots:
        assert self.store.slots
        return self.store.slots

    async def call(self, method: str = EDIT, channel: str = "", *, team: str = "T1") -> float:
        """Ask for a call as the client does; 0.0 when it may leave."""
        wait = self.budget.take(team, method, time.monotonic(), channel=channel)
        return wait or await self.sharing.take(team, method, channel)


@asynccontextmanager
async def replicas(url: str, count: int, limits: dict[str, Limit] | None = None) -> AsyncIterator[list[Replica]]:
    """So many processes, which do not look at each other by themselves."""
    async with AsyncExitStack() as stack:
        made = []
        for _ in range(count):
            store = await Store.open(url)
            stack.push_async_callback(store.close)
            assert store.slots
            budget, replies, name = Budget(limits or LIMITS), OpenReplies(), f"process {next(_numbers)}"
            shared = Sharing(store.slots, budget, replies, owner=name, now=time.monotonic)
            made.append(Replica(name, store, budget, replies, shared))
        yield made


@asynccontextmanager
async def looking(*processes: Replica) -> AsyncIterator[None]:
    """They look at each other, as in the bot."""
    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(process.sharing.run()) for process in processes]
        yield
        for task in running:
            task.cancel()


def keep_book(sql: Raw) -> None:
    """Let the database write down every slot that is taken, beside the product."""
    sql("CREATE TABLE book (method text, channel text, owner text, until double precision)")
    sql(
        "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " INSERT INTO book VALUES (NEW.method, NEW.channel_id, NEW.owner, NEW.until); RETURN NEW; END $$"
    )
    sql("CREATE TRIGGER note AFTER UPDATE ON slack_slots FOR EACH ROW EXECUTE FUNCTION note()")


# For each process: when it joins, after how many calls it dies, and its calls, each after a pause.
lives = st.lists(
    st.tuples(
        st.floats(0.0, 0.3),
        st.integers(1, 15),
        st.lists(
            st.tuples(st.floats(0.0, 0.08), st.sampled_from([(EDIT, ""), (POST, "C1"), (POST, "C2")])), max_size=15
        ),
    ),
    min_size=2,
    max_size=4,
)


@settings(
    max_examples=6,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(plan=lives)
def test_no_window_ever_holds_more_calls_than_allowed(
    sql: Raw, database_url: str, plan: list[tuple[float, int, list[tuple[float, tuple[str, str]]]]]
) -> None:
    """Whoever joins, dies and calls in whatever order; and each call that was allowed is in the book."""
    sql("DROP TABLE IF EXISTS book; DROP FUNCTION IF EXISTS note CASCADE; TRUNCATE slack_slots")
    keep_book(sql)
    allowed: Counter[str] = Counter()

    async def live(process: Replica, joins: float, dies: int, calls: list[tuple[float, tuple[str, str]]]) -> None:
        await asyncio.sleep(joins)

        async def call(method: str, channel: str) -> None:
            # Past the estimate of its own: what the others do is for the database to know.
            key = process.budget.key("T1", method, channel)
            if await process.slots.take(key, process.name, *process.budget.room(key, 0.0)):
                allowed[process.name] += 1

        async with asyncio.TaskGroup() as tasks:
            for pause, what in calls[:dies]:
                await asyncio.sleep(pause)
                tasks.create_task(call(*what))

    async def everything() -> None:
        async with replicas(database_url, len(plan)) as processes, asyncio.TaskGroup() as tasks:
            for process, life in zip(processes, plan, strict=True):
                tasks.create_task(live(process, *life))

    asyncio.run(everything())
    book = sql("SELECT method, channel, owner, until FROM book ORDER BY until")
    assert Counter(owner for _, _, owner, _ in book) == allowed
    for method, channel in ((EDIT, ""), (POST, "C1"), (POST, "C2")):
        limit = LIMITS[method]
        ends = [until for *what, _, until in book if what == [method, channel]]
        for first, last in zip(ends, ends[limit.calls :], strict=False):
            assert last - first >= limit.seconds - 1e-4
        asked = any(what == (method, channel) for _, dies, calls in plan for _, what in calls[:dies])
        assert bool(ends) == asked


async def test_a_limit_is_used_to_the_last_call(database_url: str) -> None:
    """Many that ask at once, also for the first time ever, get all there is between them, and no more."""
    async with replicas(database_url, 4) as processes:
        for number in range(10):
            key = Key("T1", POST, f"C{number}")
            asked = [each.slots.take(key, each.name, 5, 60.0) for each in processes for _ in range(3)]
            assert sum(await asyncio.gather(*asked)) == 5


async def test_what_others_took_is_known_after_a_refusal(database_url: str) -> None:
    """A call that the database refuses costs no slot, tells how long to wait, and from then on so does the budget."""
    limits = {EDIT: Limit(3, seconds=60.0)}
    async with replicas(database_url, 2, limits) as (first, second):
        assert [await first.call() for _ in range(3)] == [0.0, 0.0, 0.0]
        assert second.budget.free("T1", EDIT, time.monotonic()) == 3
        wait = await second.call()
        assert 55.0 < wait <= 61.5
        assert second.budget.free("T1", EDIT, time.monotonic()) == 0
        assert second.budget.take("T1", EDIT, time.monotonic()) == pytest.approx(wait, abs=1.0)


async def test_calls_replies_and_pauses_are_told_to_the_others(database_url: str) -> None:
    """Within a second or two each process reckons with all of them; the reply that is over is forgotten."""
    limits = {EDIT: Limit(5, seconds=60.0)}
    async with replicas(database_url, 2, limits) as (first, second):
        await accept(first.store, message(1))
        turn = await claimed(first.store, owner=first.name)
        assert await first.call() == 0.0
        async with looking(first, second):
            await until(lambda: second.budget.free("T1", EDIT, time.monotonic()) == 4)
            await until(lambda: second.replies.count("T1") == 1)
            assert first.replies.count("T1") == 0
            await first.store.finish(turn.id, first.name)
            await until(lambda: second.replies.count("T1") == 0)
            await first.sharing.pause("T1", EDIT, 30.0)
            assert await second.call() > 25.0
            assert second.budget.free("T1", EDIT, time.monotonic()) == 0
            assert await second.call("chat.delete") == 0.0


async def test_slacks_refusal_lowers_the_limit_for_all(database_url: str) -> None:
    """What one process learned from a 429, the others know with the pause; a shorter pause changes nothing."""
    limits = {EDIT: Limit(20, seconds=60.0)}
    async with replicas(database_url, 2, limits) as (first, second):
        assert [await first.call() for _ in range(9)] == [0.0] * 9
        first.budget.cool_off("T1", EDIT, time.monotonic(), 2.0)
        await first.sharing.pause("T1", EDIT, 2.0)
        await first.sharing.pause("T1", EDIT, 0.5)
        assert await second.call() > 1.0
        keys = first.budget.key("T1", EDIT)
        assert first.budget.room(keys, time.monotonic()) == second.budget.room(keys, time.monotonic()) == (8, 61.0)


async def test_a_clock_that_is_set_back_stops_nobody_for_long(database_url: str, sql: Raw) -> None:
    """Slots that would be busy for hours, and a pause that would last for hours, are none."""
    limits = {EDIT: Limit(1, seconds=60.0)}
    async with replicas(database_url, 2, limits) as (first, second):
        assert await first.call() == 0.0
        await first.sharing.pause("T1", EDIT, 30.0)
        sql("UPDATE slack_slots SET until = until + 7200")
        assert await second.call() == 0.0
        assert await second.call() > 50.0


async def test_rows_of_quiet_channels_go_away(database_url: str, sql: Raw) -> None:
    """What nobody used for an hour is deleted, and made again when it is needed."""
    async with replicas(database_url, 1) as (process,):
        for channel in ("C1", "C2", "C3"):
            assert await process.call(POST, channel) == 0.0
        sql("UPDATE slack_slots SET until = until - 7200 WHERE channel_id <> 'C3'")
        await process.slots.forget_idle()
        assert sql("SELECT channel_id FROM slack_slots") == [("C3",)]
        await asyncio.sleep(LIMITS[POST].seconds)
        assert await process.call(POST, "C1") == 0.0


async def test_without_the_database_each_keeps_to_its_share(
    database_url: str, outage: Callable[[], AbstractContextManager[None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No call waits for long, together they stay within the limit, and afterwards all calls are known to all."""
    monkeypatch.setattr(sharing, "SETTLING_SECONDS", 2.0)
    limits = {EDIT: Limit(10, seconds=30.0)}
    async with replicas(database_url, 2, limits) as processes:
        assert [await process.call() for process in processes] == [0.0, 0.0]
        async with looking(*processes):
            await until(lambda: all(process.budget.free("T1", EDIT, time.monotonic()) == 8 for process in processes))
            with outage():
                await until(lambda: processes[1].budget.processes == 2)
                made = [[await process.call() for _ in range(9)] for process in processes]
                assert [waits.count(0.0) for waits in made] == [4, 4]
                assert all(0.0 < wait <= 31.0 for waits in made for wait in waits if wait)
            async with replicas(database_url, 1, limits) as (third,), looking(third):
                # What it hears of first is what was made before; the rest it is told.
                await until(lambda: third.budget.free("T1", EDIT, time.monotonic()) == 0, seconds=20)
                assert await third.call() > 10.0
            assert [process.budget.processes for process in processes] == [2, 2]
            await until(lambda: [process.budget.processes for process in processes] == [1, 1])


async def test_a_crowd_of_calls_waits_for_nothing_but_the_database(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long the queue before it is: none fails, and a database that does its work is not parted with."""
    monkeypatch.setattr(sharing, "PATIENCE", 1.0)
    async with replicas(database_url, 1, {EDIT: Limit(2_000, seconds=30.0)}) as (process,):
        take = process.slots.take

        async def slowly(*key: Any, **ago: Any) -> bool:
            await asyncio.sleep(0.1)
            return await take(*key, **ago)

        monkeypatch.setattr(process.slots, "take", slowly)
        assert await asyncio.gather(*(process.call() for _ in range(80))) == [0.0] * 80
        assert not process.sharing._away


async def test_a_stuck_database_does_not_hold_calls_up(database_url: str, sql: Raw) -> None:
    """A table that somebody keeps locked is as good as gone; unlocked, it is used again and learns of the calls."""
    async with replicas(database_url, 1, {EDIT: Limit(4, seconds=30.0)}) as (process,), looking(process):
        assert await process.call() == 0.0
        sql("BEGIN")
        sql("LOCK TABLE slack_slots")
        assert [await process.call() for _ in range(2)] == [0.0, 0.0]
        await process.sharing.pause("T1", "chat.delete", 1.0)
        sql("ROLLBACK")
        await until(lambda: sql("SELECT count(*) FROM slack_slots WHERE owner <> ''") == [(3,)])


async def test_the_client_asks_the_others_last(database_url: str) -> None:
    """An edit for which they left no room is not sent, and teaches no lower limit; a post waits until there is room;
    Slack's own refusal holds for everybody."""
    limits = {**LIMITS, EDIT: Limit(2, seconds=60.0)}
    slack = SlackSimulator(latency=0.0)
    await slack.start()
    web = WebApi(slack.api_url)
    try:
        async with replicas(database_url, 2, limits) as (first, second):
            chat = SlackChat(web, await Installations.single(web, slack.bot_token), second.budget, second.sharing)
            channel = slack.channels["general"]
            thread = ThreadKey(slack.team_id, channel, await slack.say(slack.users["ada"], channel, "hello"))
            for _ in range(2):
                assert await first.call(team=slack.team_id) == 0.0
            assert await first.call(POST, channel, team=slack.team_id) == 0.0
            ts = await chat.post(thread, lambda: Body("one"))
            with pytest.raises(ChatRateLimited) as refused:
                await chat.edit(thread, ts, Body("two"))
            assert refused.value.retry_after > 50.0
            key = second.budget.key(slack.team_id, EDIT)
            assert second.budget.room(key, time.monotonic())[0] == 2
            slack.faults.add(method="chat.postEphemeral", error="ratelimited", retry_after=200.0)
            with pytest.raises(ChatRateLimited):
                await chat.whisper(thread, slack.users["ada"], "not now")
            assert await first.call("chat.postEphemeral", team=slack.team_id) > 100.0
            assert [call.method for call in slack.calls if call.method.startswith("chat.")] == [
                POST,
                "chat.postEphemeral",
            ]
    finally:
        await web.aclose()
        await slack.stop()


async def test_every_statement_uses_indexes(database_url: str, sql: Raw) -> None:
    """However many teams and channels there are, a call looks at its own rows, and a look at what counts now."""
    sql(
        "INSERT INTO slack_slots SELECT 'T' || n %% 50, 'chat.postMessage', 'C' || n, s, n, 'x'"
        " FROM generate_series(1, 20000) n, generate_series(0, 2) s"
    )
    async with replicas(database_url, 1) as (process,):
        with heard() as statements:
            assert await process.call() == 0.0
            await process.slots.elsewhere(process.name)
            await process.sharing.pause("T1", POST, 1.0)
            await process.slots.forget_idle()
    asked = [each for each in statements if each[0].startswith(("SELECT slack", "SELECT turns", "UPDATE", "DELETE"))]
    assert len(asked) >= 4
    with psycopg.connect(database_url) as connection:
        # As the bot's own connections have it: what is still read from end to end then has no index.
        connection.execute("SET enable_seqscan = off")
        for statement, values in asked:
            plan = [row[0] for row in connection.execute(("EXPLAIN " + statement).encode(), values)]
            print(statement, *plan, sep="\n", end="\n\n")
            assert not any("Seq Scan" in line for line in plan)


async def until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    """Wait until it is so."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.02)
