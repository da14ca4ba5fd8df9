"""Several processes on one PostgreSQL: who lives, who writes, who hears what, and what people see of it."""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from itertools import count
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from slackbot import app, leases
from slackbot.leases import Standing
from slackbot.simulator.noxus.prose import words
from slackbot.store import Presence, Store, StoreError, Timers, new_owner
from slackbot.store import engine as engine_settings
from slackbot.store import replicas as settings
from slackbot.worker import WorkerSettings
from tests.databases import Postgres, Raw
from tests.stored import LEASE, accept, claimed, message, thread_of
from tests.test_app import shown
from tests.whole_bot import World, bot, world

_numbers = count(1)
PATIENCE = 30
WORDS = ("turns", "stops", "handovers")


class Line:
    """A line to PostgreSQL that can be cut, and that can fall silent: then bytes go in and none come out."""

    def __init__(self, url: str) -> None:
        self._url = urlsplit(url)
        self._ends: set[asyncio.StreamWriter] = set()
        self._open = asyncio.Event()
        self._open.set()
        self._server: asyncio.Server | None = None
        self.is_cut = False
        self.silent_from = b""
        """From these bytes on it is silent."""

    async def start(self) -> str:
        """Returns the database's address by this line."""
        self._server = await asyncio.start_server(self._carry, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        return f"postgresql://{self._url.username}:{self._url.password or ''}@127.0.0.1:{port}{self._url.path}"

    async def stop(self) -> None:
        self.cut()
        self._open.set()
        if self._server is not None:
            self._server.close()

    def cut(self) -> None:
        """All connections break, and no new one is let in until ``mend``."""
        self.is_cut = True
        for end in self._ends:
            end.transport.abort()

    def silence(self) -> None:
        self._open.clear()

    def mend(self) -> None:
        self.is_cut, self.silent_from = False, b""
        self._open.set()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.is_cut:
            writer.transport.abort()
            return
        query = parse_qs(self._url.query)
        if "host" in query:
            there = await asyncio.open_unix_connection(f"{query['host'][0]}/.s.PGSQL.{self._url.port or 5432}")
        else:
            there = await asyncio.open_connection(self._url.hostname, self._url.port)
        ends = {writer, there[1]}
        self._ends |= ends
        with suppress(asyncio.CancelledError):
            await asyncio.gather(self._pipe(reader, there[1]), self._pipe(there[0], writer))
        self._ends -= ends

    async def _pipe(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                if self.silent_from and self.silent_from in data:
                    self.silence()
                await self._open.wait()
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        writer.close()


@pytest.fixture
def url(postgres: Postgres) -> Iterator[str]:
    """A migrated database without rows."""
    name = f"replicas_{os.getpid()}_{next(_numbers)}"
    yield postgres.create(name, template="template")
    postgres.drop(name)


@pytest.fixture
async def line(url: str) -> AsyncIterator[tuple[Line, str]]:
    """A line to the database, and its address."""
    line = Line(url)
    yield line, await line.start()
    await line.stop()


@pytest.fixture
async def acme() -> AsyncIterator[World]:
    """A quick Slack that tries again soon, and a Noxus."""
    async with world(latency=0.005, retry_delays=(0.5, 1.0, 2.0)) as both:
        yield both


async def until(look: Callable[[], object], what: str) -> None:
    """Wait until ``look`` finds something."""
    deadline = time.monotonic() + PATIENCE
    while not look():
        assert time.monotonic() < deadline, f"waited in vain: {what}"
        await asyncio.sleep(0.02)


class Process:
    """A store with its presence, as one of several processes has it."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.owner = new_owner()
        self.standing = Standing(self.owner)
        self.heard: list[str] = []
        presence = store.presence(self.standing)
        assert presence is not None
        self.presence: Presence = presence

    async def run(self) -> None:
        hear = {word: partial(self.heard.append, word) for word in WORDS}
        await self.presence.run(hear, bury=partial(self.heard.append, "gone"))


@asynccontextmanager
async def process(url: str) -> AsyncIterator[Process]:
    """One that has joined the others."""
    store = await Store.open(url)
    one = Process(store)
    await one.presence.join()
    try:
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(one.run())
            yield one
            running.cancel()
    finally:
        await one.presence.leave()
        await store.close()


# --- who lives -------------------------------------------------------------------------------------------------------


async def test_the_leases_of_a_dead_process_are_void_at_once(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The others see that its lock is free; a living one keeps its leases, as does one that never had a lock."""
    monkeypatch.setattr(settings, "GRACE_SECONDS", 0.0)
    async with process(url) as witness, process(url) as living:
        dead = Process(await Store.open(url))
        await dead.presence.join()
        owners = [dead.owner, living.owner, "earlier-version-4711"]
        for at, owner in enumerate(owners):
            await accept(witness.store, message(at))
            await claimed(witness.store, owner)
        await asyncio.sleep(1.5)
        assert await witness.store.claim("next", LEASE, 9) == []
        # As the system does with the connections of a process that is gone.
        assert dead.presence._session is not None
        await dead.presence._session.close()
        began = time.monotonic()
        sql = Raw(url)
        await until(lambda: sql("SELECT 1 FROM turns WHERE owner IS NULL"), "the lease is void")
        sql.close()
        print(f"void after {time.monotonic() - began:.2f} s")
        [turn] = await witness.store.claim("next", LEASE, 9)
        assert (turn.ts, turn.attempt) == (message(0).ts, 2)
        await dead.store.close()


async def test_one_of_the_others_sees_to_a_death_that_leaves_no_lease(url: str) -> None:
    """What the dead one had yet to take off in Slack is another's to do, though it held no turn."""
    async with process(url) as one, process(url) as another:
        dead = Process(await Store.open(url))
        await dead.presence.join()
        await until(lambda: len(one.presence._present) == len(another.presence._present) == 3, "all know of all")
        assert "gone" not in one.heard + another.heard
        assert dead.presence._session is not None
        await dead.presence._session.close()
        await until(lambda: "gone" in one.heard + another.heard, "somebody is told")
        await until(lambda: len(one.presence._present) == len(another.presence._present) == 2, "all know of it")
        assert (one.heard + another.heard).count("gone") == 1
        await dead.store.close()


async def test_who_has_just_come_judges_nobody(url: str) -> None:
    """After an outage all locks are free for a moment; nobody takes that for deaths."""
    async with process(url) as one:
        await accept(one.store, message(1))
        await claimed(one.store, new_owner())
        await asyncio.sleep(1.5)
        assert await one.store.claim(one.owner, LEASE) == []


async def test_a_process_that_leaves_gives_its_leases_back(url: str) -> None:
    """And the others hear of it in the same moment."""
    async with process(url) as stays:
        async with process(url) as leaves:
            await accept(leaves.store, message(1))
            await claimed(leaves.store, leaves.owner)
            await asyncio.sleep(0.2)
            stays.heard.clear()
        await until(lambda: "turns" in stays.heard, "the other is told")
        assert (await claimed(stays.store, stays.owner)).ts == message(1).ts


@asynccontextmanager
async def one_dead(url: str) -> AsyncIterator[tuple[Process, Process]]:
    """A process that has joined but looks only when told to, and one that held a turn when its session ended."""
    witness, dead = Process(await Store.open(url)), Process(await Store.open(url))
    try:
        for one in (witness, dead):
            await one.presence.join()
        await accept(dead.store, message(1))
        await claimed(dead.store, dead.owner)
        assert dead.presence._session is not None
        await dead.presence._session.close()
        yield witness, dead
    finally:
        for one in (witness, dead):
            await one.presence.leave()
            await one.store.close()


async def look(witness: Process) -> None:
    """One look at who lives."""
    assert witness.presence._session is not None
    await witness.presence._look(witness.presence._session)


async def test_who_comes_back_between_look_and_verdict_keeps_its_leases(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its lock is looked at once more when its leases are to be void. To end them itself it need not let go of it."""
    monkeypatch.setattr(settings, "GRACE_SECONDS", 0.0)
    async with one_dead(url) as (witness, dead):
        await look(witness)
        sql, other = Raw(url), Raw(url)
        # The second look has seen the locks, and waits for the table to see the turns.
        sql("BEGIN")
        sql("LOCK TABLE turns")
        second = asyncio.create_task(look(witness))
        await until(lambda: other("SELECT 1 FROM pg_locks WHERE NOT granted"), "the look waits")
        await dead.presence.join()
        sql("COMMIT")
        await second
        assert other("SELECT owner FROM turns") == [(dead.owner,)]
        await dead.presence.leave()
        assert other("SELECT owner FROM turns") == [(None,)]
        sql.close()
        other.close()


async def test_two_witnesses_of_a_death_do_not_take_each_other_for_the_dead(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that is about to end the leases has the lock of the dead; should it fail, the other one does it at once."""
    monkeypatch.setattr(settings, "GRACE_SECONDS", 0.0)
    async with one_dead(url) as (witness, dead):
        sql = Raw(url)
        sql("BEGIN")
        assert sql("SELECT pg_try_advisory_xact_lock(%s, %s)", settings._CLASS, dead.presence._number) == [(True,)]
        await look(witness)
        await look(witness)
        assert sql("SELECT owner FROM turns") == [(dead.owner,)]
        sql("ROLLBACK")
        await look(witness)
        assert sql("SELECT owner FROM turns") == [(None,)]
        sql.close()


async def test_leases_end_together_or_not_at_all(url: str) -> None:
    """Of a process that leaves while somebody keeps its handover, the turn stays its own too."""
    one = Process(await Store.open(url))
    await one.presence.join()
    await accept(one.store, message(1))
    await claimed(one.store, one.owner)
    await accept(one.store, message(2))
    await one.store.take_over(thread_of(message(2)), "U8", Timers())
    assert len(await one.store.due_handovers(one.owner, LEASE)) == 1
    sql = Raw(url)
    sql("BEGIN")
    sql("SELECT 1 FROM handovers FOR UPDATE")
    await one.presence.leave()
    assert sql("SELECT owner FROM turns WHERE state = 'running'") == [(one.owner,)]
    sql.close()
    await one.store.close()


# --- who hears what --------------------------------------------------------------------------------------------------


async def test_every_process_hears_what_another_one_stored(url: str) -> None:
    """A question, its stop and its end are notified, whichever statement brings them about; nothing else is."""
    async with process(url) as one, process(url) as other:

        async def heard(word: str) -> None:
            await until(lambda: word in one.heard and word in other.heard, word)
            await asyncio.sleep(0.1)
            assert set(one.heard + other.heard) == {word}
            one.heard.clear()
            other.heard.clear()

        await accept(one.store, message(1))
        await heard("turns")
        turn = await claimed(one.store, one.owner)
        await one.store.mark_submitted(turn.id, one.owner)
        await other.store.request_stop(turn.id, "T1", "C1", "U1")
        await heard("stops")
        await one.store.renew(one.owner, [turn.id], LEASE)
        await one.store.finish(turn.id, one.owner)
        await heard("turns")


async def test_a_burst_is_few_words(url: str) -> None:
    """What is committed together is notified once."""
    async with process(url) as one:
        await asyncio.gather(*(accept(one.store, message(at)) for at in range(200)))
        await until(lambda: one.heard, "the burst")
        await asyncio.sleep(0.2)
        print(f"{len(one.heard)} notifications for 200 messages")
        assert len(one.heard) <= 20


# --- the line breaks -------------------------------------------------------------------------------------------------


async def test_a_cut_line_is_noticed_at_once_and_mended(line: tuple[Line, str]) -> None:
    """Meanwhile nothing may be written; afterwards everything is looked at, and heard as before."""
    cable, url = line
    async with process(url) as one:
        await asyncio.sleep(0.6)
        cable.cut()
        await until(lambda: one.standing.is_lost, "it is noticed")
        with pytest.raises(StoreError):
            await one.store.counts()
        cable.mend()
        await until(lambda: not one.standing.is_lost, "it is mended")
        assert one.heard == [*WORDS]
        one.heard.clear()
        await accept(one.store, message(1))
        await until(lambda: one.heard == ["turns"], "it hears again")


async def test_a_silent_line_keeps_nobody_waiting(line: tuple[Line, str]) -> None:
    """Bytes go in and none come out: every operation ends in an error, and works again as soon as the line does."""
    cable, url = line
    async with process(url) as one:
        await accept(one.store, message(1))
        cable.silence()
        began = time.monotonic()
        jobs = [
            *(one.store.counts() for _ in range(15)),
            accept(one.store, message(2)),
            one.store.claim(one.owner, LEASE),
        ]
        outcomes = await asyncio.gather(*jobs, return_exceptions=True)
        assert {type(outcome) for outcome in outcomes} == {StoreError}
        print(f"given up after {time.monotonic() - began:.2f} s")
        await until(lambda: one.standing.is_lost, "it is noticed")
        cable.mend()
        await until(lambda: not one.standing.is_lost, "it is mended")
        assert (await one.store.counts()).queued >= 1
        await accept(one.store, message(3))


@pytest.mark.parametrize("first", [b"pg_catalog.version()", b"SET statement_timeout"])
async def test_a_line_that_falls_silent_when_it_is_new_keeps_nobody_waiting(
    line: tuple[Line, str], monkeypatch: pytest.MonkeyPatch, first: bytes
) -> None:
    """Before the first operation come statements of the driver and settings of ours; those have no more time."""
    monkeypatch.setattr(engine_settings, "OPERATION_SECONDS", 0.5)
    cable, url = line
    cable.silent_from = first
    opening = asyncio.create_task(Store.open(url))
    try:
        done, _ = await asyncio.wait({opening}, timeout=PATIENCE / 3)
        assert done
        assert isinstance(opening.exception(), StoreError)
    finally:
        cable.mend()
        await asyncio.wait({opening})
    await (await Store.open(url)).close()


# --- what people see -------------------------------------------------------------------------------------------------


@asynccontextmanager
async def killable(both: World, url: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A bot that is a process of its own."""
    before = both.slack.connections
    environ = {**os.environ, **both.environ(url), "LOG_LEVEL": "ERROR"}
    one = await asyncio.create_subprocess_exec(sys.executable, "-m", "slackbot", "run", env=environ)
    try:
        await until(lambda: both.slack.connections > before, "it is connected")
        yield one
    finally:
        if one.returncode is None:
            one.kill()
        await one.wait()


def taken_over(url: str) -> Callable[[], bool]:
    """Whether the turn that runs now is run by somebody else by then."""
    sql = Raw(url)
    running = "SELECT owner FROM turns WHERE state = 'running' AND owner IS NOT NULL"
    before = sql(running)
    assert before

    def look() -> bool:
        if sql(running) in ([], before):
            return False
        sql.close()
        return True

    return look


def written(both: World) -> int:
    """How often the bots have written."""
    return sum(call.method in {"chat.postMessage", "chat.update"} for call in both.slack.calls)


def complete(both: World, root: str, *texts: str) -> bool:
    """Whether the thread shows these answers, and nothing else."""
    return tuple(shown(both, "general", root)) == texts


async def test_events_sprayed_over_two_processes_are_answered_once_and_in_order(acme: World, url: str) -> None:
    """Slack hands each event to a random connection; a thread has one owner at a time."""
    slack = acme.slack
    ada = slack.users["ada"]
    async with bot(acme.environ(url)), bot(acme.environ(url)):
        assert slack.connections == 2
        # What two connections bring waits behind this: otherwise what comes first, be it the newer, may begin.
        mention = f"<@{slack.bot_user_id}> /words 50 rate=30"
        rooms = [slack.channels[name] for name in ("general", "random", "partners")] * 2
        threads = [(room, await slack.say(ada, room, mention)) for room in rooms]
        await until(lambda: all(shown(acme, *thread) for thread in threads), "the threads have begun")
        for number in (1, 2):
            for room, root in threads:
                await slack.say(ada, room, f"/say {number}", thread_ts=root)
        whole = [words(50), "1", "2"]
        await until(lambda: all(shown(acme, *thread) == whole for thread in threads), "all is answered")
        assert len(acme.noxus.asked) == 18


async def test_stop_reaches_the_process_that_answers(acme: World, url: str) -> None:
    """The press arrives at another one, which cannot know; the answer ends within a moment."""
    slack = acme.slack
    ada, general = slack.users["ada"], slack.channels["general"]
    http = {"SLACKBOT_TRANSPORT": "http", "SLACK_SIGNING_SECRET": slack.signing_secret}
    async with bot(acme.environ(url)):
        root = await slack.say(ada, general, f"<@{slack.bot_user_id}> /words 900 rate=20")
        await until(lambda: shown(acme, "general", root), "the answer grows")
        [growing] = [one for one in slack.messages(general, root) if one.user == slack.bot_user_id]
        async with bot(acme.environ(url, **http, SLACKBOT_HTTP_HOST="127.0.0.1", SLACKBOT_HTTP_PORT="28762")):
            slack.deliver_over_http("http://127.0.0.1:28762/slack/events")
            began = time.monotonic()
            await slack.press(ada, general, growing.ts, "stop_turn")
            await until(lambda: "topped" in shown(acme, "general", root)[-1], "the answer ends")
            print(f"stopped after {time.monotonic() - began:.2f} s")


async def test_a_killed_process_costs_a_moment(acme: World, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other one takes its turns over as soon as its lock is free, not when their leases end."""
    monkeypatch.setattr(settings, "GRACE_SECONDS", 1.0)
    slack = acme.slack
    ada, general = slack.users["ada"], slack.channels["general"]
    async with killable(acme, url) as dies:
        root = await slack.say(ada, general, f"<@{slack.bot_user_id}> /words 120 rate=20")
        await until(lambda: shown(acme, "general", root), "the answer grows")
        async with bot(acme.environ(url)):
            await asyncio.sleep(settings.GRACE_SECONDS)
            await slack.say(ada, general, "/say Next.", thread_ts=root)
            dies.kill()
            began = time.monotonic()
            await until(taken_over(url), "it is taken over")
            print(f"taken over {time.monotonic() - began:.2f} s after the death")
            await until(lambda: shown(acme, "general", root) == [words(120), "Next."], "both are answered")
    assert len(acme.noxus.asked) == 2


async def test_who_is_cut_off_writes_no_more_when_another_takes_over(
    acme: World, url: str, line: tuple[Line, str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The database does not know, so its lock is held; but its leases end, and it knows when. Once it is back it holds
    nothing of what the other one has finished, and works on."""
    quick = partial(WorkerSettings, lease=3.0, heartbeat=0.4, poll=0.5)
    monkeypatch.setattr(app, "WorkerSettings", quick)
    monkeypatch.setattr(leases, "CALL_SECONDS", 1.0)
    slack = acme.slack
    ada, general = slack.users["ada"], slack.channels["general"]
    cable, its_url = line
    async with bot(acme.environ(its_url, SLACKBOT_SHUTDOWN_SECONDS="1")):
        root = await slack.say(ada, general, f"<@{slack.bot_user_id}> /words 100 rate=20")
        await until(lambda: shown(acme, "general", root), "the answer grows")
        async with bot(acme.environ(url)):
            cable.silence()
            await until(taken_over(url), "it is taken over")
            await until(lambda: complete(acme, root, words(100)), "the answer is whole")
            await asyncio.sleep(0.5)
            writes = written(acme)
            cable.mend()
            await asyncio.sleep(1.5)
        assert written(acme) == writes
        assert complete(acme, root, words(100))
        assert len(acme.noxus.asked) == 1
        caplog.set_level(logging.INFO, "slackbot")
        caplog.clear()
        alone = await slack.say(ada, general, f"<@{slack.bot_user_id}> /say Still here.")
        await until(lambda: shown(acme, "general", alone) == ["Still here."], "the next question is answered")
        await until(lambda: "turn.finished" in caplog.messages, "that is recorded")
        await asyncio.sleep(0.5)
    [stopping] = [record for record in caplog.records if record.getMessage() == "stop.began"]
    assert stopping.__dict__["turns"] == 0


async def test_a_rolling_restart_is_invisible(acme: World, url: str) -> None:
    """Two processes are replaced one after the other while people ask: each question has one whole answer."""
    slack = acme.slack
    environ = acme.environ(url, SLACKBOT_SHUTDOWN_SECONDS="0.5", SLACKBOT_TURNS_PER_USER_PER_MINUTE="100")
    asked: list[tuple[str, str, int]] = []

    async def ask() -> None:
        while True:
            channel, length = ("general", "random", "partners")[len(asked) % 3], (20, 20, 20, 400)[len(asked) % 4]
            mention = f"<@{slack.bot_user_id}> /words {length} rate=80"
            asked.append((channel, await slack.say(slack.users["ada"], slack.channels[channel], mention), length))
            await asyncio.sleep(0.4)

    def unlike() -> list[list[str]]:
        """What threads show that do not show just their one whole answer."""
        found = [(shown(acme, channel, root), words(length)) for channel, root, length in asked]
        return [texts for texts, answer in found if texts != [answer]]

    async with asyncio.TaskGroup() as tasks, AsyncExitStack() as new:
        async with bot(environ):
            async with bot(environ):
                asking = tasks.create_task(ask())
                await asyncio.sleep(1.0)
            await new.enter_async_context(bot(environ))
            await asyncio.sleep(0.5)
        await new.enter_async_context(bot(environ))
        asking.cancel()
        await until(lambda: not unlike(), "every answer is whole")
    print(f"{len(asked)} questions")
    assert len(acme.noxus.asked) == len(asked)


async def test_a_question_on_its_way_is_not_left_behind(acme: World, url: str) -> None:
    """A process that must go waits until Noxus has the question: nobody could tell afterwards whether it came."""
    slack = acme.slack
    ada, general = slack.users["ada"], slack.channels["general"]
    acme.noxus.faults.add(path="stream", delay=1.5)
    async with bot(acme.environ(url, SLACKBOT_SHUTDOWN_SECONDS="0")):
        root = await slack.say(ada, general, f"<@{slack.bot_user_id}> /words 30 rate=20")
        sql = Raw(url)
        await until(lambda: sql("SELECT 1 FROM turns WHERE submitted_at IS NOT NULL"), "it is marked as sent")
        sql.close()
    async with bot(acme.environ(url)):
        await until(lambda: complete(acme, root, words(30)), "the answer is whole")
    assert len(acme.noxus.asked) == 1


async def test_an_outage_of_the_database_costs_time_alone(acme: World, line: tuple[Line, str]) -> None:
    """What is asked meanwhile is not acknowledged and comes again; what is being written goes on afterwards."""
    slack = acme.slack
    ada, general = slack.users["ada"], slack.channels["general"]
    cable, url = line
    async with bot(acme.environ(url)):
        root = await slack.say(ada, general, f"<@{slack.bot_user_id}> /words 60 rate=20")
        await until(lambda: shown(acme, "general", root), "the answer grows")
        cable.cut()
        await asyncio.sleep(0.5)
        before = shown(acme, "general", root)
        late = await slack.say(ada, general, f"<@{slack.bot_user_id}> /say Late.")
        await asyncio.sleep(2.5)
        assert shown(acme, "general", root) == before
        assert not slack.deliveries[-1].acked
        cable.mend()
        await until(lambda: complete(acme, root, words(60)) and complete(acme, late, "Late."), "all is answered")
    assert len(acme.noxus.asked) == 2


async def test_sqlite_locked_by_another_process_costs_time_alone(acme: World, tmp_path: Path) -> None:
    """Somebody else writes to the file for some seconds: nobody is told, and nothing is lost."""
    slack = acme.slack
    ada, general = slack.users["ada"], slack.channels["general"]
    file = tmp_path / "bot.db"
    async with bot(acme.environ(f"sqlite:///{file}")):
        root = await slack.say(ada, general, f"<@{slack.bot_user_id}> /words 60 rate=20")
        await until(lambda: shown(acme, "general", root), "the answer grows")
        other = sqlite3.connect(file, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        late = await slack.say(ada, general, f"<@{slack.bot_user_id}> /say Late.")
        await asyncio.sleep(3)
        other.close()
        await until(lambda: complete(acme, root, words(60)) and complete(acme, late, "Late."), "all is answered")
    assert len(acme.noxus.asked) == 2
