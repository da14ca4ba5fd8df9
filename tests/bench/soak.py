"""Long life: everything people do with the bot, over and over, and what it holds after each round.

A round is over when everything that was asked has its end. Slack's limits are off, and the agent is quick: an hour has
the conversations of weeks.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, fields
from itertools import cycle
from pathlib import Path
from statistics import fmean
from typing import Any, get_args
from urllib.parse import urlsplit

from slackbot.simulator.slack.sockets import Disconnect
from tests.bench.figures import slope
from tests.bench.load import READY_SECONDS
from tests.bench.processes import Process, connected_to, descriptors, memory_bytes, python, started
from tests.bench.report import Row, table
from tests.chaos.processes import Databases
from tests.chaos.report import say
from tests.databases import Raw
from tests.whole_bot import World, world

ROOMS = 50
PATIENCE = 60.0
CALM_SECONDS = 10.0
"""What is still held then is held for good."""
SHOWN = 12
BEARABLE = {"memory_kb": 0.05, "objects": 0.03}
"""By how much more the last third of a life may hold than the middle one. After the first minutes of an hour, memory
became 11 % more and objects 3 %, ever more slowly: a third of that at most lies between two thirds. In the first
minute, while all kinds of things happen for the first time, it is 2 % of both."""
_BUSY = """
SELECT (SELECT count(*) FROM turns WHERE state IN ('queued', 'running'))
     + (SELECT count(*) FROM handovers WHERE state IN ('requested', 'human'))
"""
_SESSIONS = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"


@dataclass(frozen=True, slots=True)
class Held:
    """What the bot holds while it has nothing to do, after so many conversations."""

    conversations: int
    memory_kb: int
    objects: int
    """Python's own count of what its garbage collector knows."""
    tasks: int
    http: int
    """Connections to Slack and Noxus: some are kept for the next call."""
    descriptors: int
    """All others."""
    database: int
    """Connections; on SQLite, its files that are open."""

    def is_within(self, other: Held) -> bool:
        """Whether it is no more, as far as it can be counted one by one."""
        mine, theirs = ((each.tasks, each.descriptors, each.database) for each in (self, other))
        return all(here <= there for here, there in zip(mine, theirs, strict=True))


class Soak:
    """A bot in a process of its own, among people who never leave it alone for long."""

    def __init__(self, both: World, process: Process, told: Path, url: str) -> None:
        self._both, self._slack = both, both.slack
        self._process = process
        self._told = told
        self._sql, self._url = Raw(url), url
        self._rooms = cycle([both.slack.add_channel(f"room{number}") for number in range(ROOMS)])
        self._people = cycle([both.slack.users["ada"], both.slack.users["ben"]])
        self._endings: cycle[Disconnect] = cycle(how for how in get_args(Disconnect) if how != "silent")
        self._numbers = itertools.count(1)
        self.conversations = 0
        self.kinds: dict[str, int] = {}
        """The most frequent kinds of objects it held at the last look."""

    def close(self) -> None:
        """Let go of the database."""
        self._sql.close()

    async def round(self, width: int) -> None:
        """``width`` times everything, at once, while Slack ends the connection. Raises ``Broken``."""
        deeds = (self._two_questions, self._file_in, self._file_out, self._stopped, self._edited, self._deleted)
        async with asyncio.TaskGroup() as tasks:
            for deed in (*deeds * width, self._cut, self._failed, self._human):
                tasks.create_task(deed())
            await self._slack.disconnect_sockets(next(self._endings))
        await self._quiet()

    async def calm(self, within: Held | None = None) -> Held:
        """What is held when nothing is to be done; looks again, for a while, when it is more than that."""
        until = time.monotonic() + CALM_SECONDS
        while True:
            held = await self._held()
            if within is None or held.is_within(within) or time.monotonic() > until:
                return held
            await asyncio.sleep(1.0)

    async def _held(self) -> Held:
        self._told.unlink(missing_ok=True)
        self._process.inner.send_signal(signal.SIGUSR1)
        await self._until(self._told.exists, "it tells what it holds")
        told: dict[str, Any] = json.loads(self._told.read_text(encoding="utf-8"))
        self.kinds = told["kinds"]
        opened = descriptors(self._process.pid)
        if self._sql.on_sqlite:
            path = self._url.removeprefix("sqlite:///")
            sessions = sum(each.startswith(path) for each in opened)
        else:
            [(sessions,)] = self._sql(_SESSIONS)
        memory = memory_bytes(self._process.pid) // 1024
        ports = {urlsplit(url).port for url in (self._slack.api_url, self._both.noxus.url)}
        http = sum(port in ports for port in connected_to(self._process.pid, opened))
        held = told["objects"], told["tasks"], http, len(opened) - http, sessions
        return Held(self.conversations, memory, *held)

    async def _quiet(self) -> None:
        await self._until(lambda: self._sql(_BUSY) == [(0,)], "everything has its end")
        await asyncio.sleep(0.3)

    async def _until(self, holds: Callable[[], object], what: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while not holds():
            self._process.check()
            if time.monotonic() > deadline:
                raise self._process.broken(f"kept us waiting: {what}")
            await asyncio.sleep(0.05)

    async def _ask(self, text: str, *, under: tuple[str, str, str] | None = None, **more: Any) -> tuple[str, str, str]:
        """Who asked, where, and the thread."""
        self.conversations += under is None
        person, room, root = under or (next(self._people), next(self._rooms), None)
        ts = await self._slack.say(person, room, f"<@{self._slack.bot_user_id}> {text}", root, **more)
        return person, room, root or ts

    async def _shows(self, thread: tuple[str, str, str], words: str = "") -> None:
        """Wait until the bot says these words in the thread; many at once may get them in two messages."""
        _, room, root = thread

        def look() -> bool:
            said = [each for each in self._slack.messages(room, root) if each.user == self._slack.bot_user_id]
            return bool(said) and words in " ".join(each.shown.strip() for each in said)

        await self._until(look, f"it says {words}")

    async def _two_questions(self) -> None:
        thread = await self._ask("/say One.")
        await self._shows(thread, "One.")
        await self._ask("/say Two.", under=thread)
        await self._shows(thread, "Two.")

    async def _file_in(self) -> None:
        name = f"notes{next(self._numbers)}.txt"
        file = self._slack.files.add(self._slack.users["ada"], name, b"a line\n" * 500, "text/plain")
        await self._shows(await self._ask("/sum", files=[file]), name)

    async def _file_out(self) -> None:
        await self._ask(f"/file made{next(self._numbers)}.bin size=20000")

    async def _stopped(self) -> None:
        thread = await self._ask("/words 60 rate=40")
        await self._shows(thread)
        await self._slack.stop_session(*thread)

    async def _edited(self) -> None:
        person, room, root = await self._ask("/say Before.")
        await self._slack.edit_message(person, room, root, f"<@{self._slack.bot_user_id}> /say After.")

    async def _deleted(self) -> None:
        thread = await self._ask("/words 50 rate=40")
        await self._shows(thread)
        await self._slack.delete_message(*thread)

    async def _cut(self) -> None:
        await self._ask("/cut")

    async def _failed(self) -> None:
        await self._ask("/fail")

    async def _human(self) -> None:
        """Somebody asks for a human, and an operator settles it."""
        number = next(self._numbers)
        thread = await self._ask(f"/say Case {number}.")
        await self._shows(thread, f"Case {number}.")
        await self._ask("human", under=thread)
        support, operator = self._slack.channels["support"], self._slack.users["olga"]

        def card() -> list[tuple[str, str, str]]:
            return [
                (message.ts, button["action_id"], button["value"])
                for message in self._slack.messages(support)
                if thread[2].replace(".", "") in json.dumps(message.blocks)  # the card's link to the thread
                for block in message.blocks
                if block["type"] == "actions"
                for button in block["elements"]
                if button["text"]["text"] == "Resolve"
            ]

        await self._until(card, "a card stands")
        [(ts, action, value)] = card()
        await self._slack.press(operator, support, ts, action, value)


@asynccontextmanager
async def soaking(url: str, folder: Path) -> AsyncIterator[Soak]:
    """A bot that is up, and all that is around it."""
    async with world(latency=0.005, enforce_limits=False, retry_delays=(0.2, 1.0, 3.0)) as both:
        both.noxus.switches.change(first_token_delay=0.02, rate=400.0)
        both.slack.uploads.share_seconds = 0.1
        environ = both.environ(
            url,
            SLACKBOT_TURNS_PER_USER_PER_MINUTE="0",
            SLACKBOT_MAX_CONCURRENT_TURNS_PER_USER="0",
            SLACKBOT_MAX_WAITING_PER_USER="0",
            SLACKBOT_HANDOVER_CHANNEL=both.slack.channels["support"],
        )
        told = folder / "held.json"
        async with started("the bot", python("-m", "tests.bench.watched", str(told)), folder, environ) as process:
            try:
                await both.slack.wait(lambda: both.slack.connections, timeout=READY_SECONDS)
            except TimeoutError:
                raise process.broken("did not connect to Slack") from None
            soak = Soak(both, process, told, url)
            try:
                yield soak
            finally:
                soak.close()


def text_of(kind: str, seconds: float, samples: Sequence[Held]) -> str:
    """For people: some of the samples, and how much a thousand conversations more cost in the second half."""
    names = [field.name for field in fields(Held)]
    step = max(1, len(samples) // SHOWN)
    rows: list[Row] = [tuple(names)]
    rows += [tuple(str(getattr(each, name)) for name in names) for each in (*samples[:-1:step], samples[-1])]
    later, grown = samples[len(samples) // 2 :], growing(samples)
    slopes = [slope([(each.conversations / 1000, getattr(each, name)) for each in later]) for name in names[1:]]
    rows.append(("a thousand more", *(f"{each:+.1f}" for each in slopes)))
    verdict = "Nothing is held for good."
    if grown:
        verdict = f"MISSED: more and more {' and '.join(grown)}."
    if not samples[-1].is_within(later[0]):
        verdict = "MISSED: it holds more than halfway."
    return f"{kind}, {seconds:.0f} s\n\n{table(rows)}\n\n{verdict}"


def growing(samples: Sequence[Held]) -> list[str]:
    """Of what is held in great numbers, that which goes on growing: what is filled once is full in the middle third."""
    third = len(samples) // 3
    middle, last = samples[third : 2 * third], samples[len(samples) - third :]
    return [
        name
        for name, share in BEARABLE.items()
        if third
        and fmean(getattr(each, name) for each in last) > (1 + share) * fmean(getattr(each, name) for each in middle)
    ]


async def soak(kind: str, seconds: float, width: int) -> str:
    """Live so long on one database, and tell. Raises ``Broken``."""
    databases = Databases(kind)
    try:
        with tempfile.TemporaryDirectory(prefix="slackbot-bench-") as name:
            folder = Path(name)
            async with databases.fresh(folder) as url, soaking(url, folder) as living:
                began, samples = time.monotonic(), list[Held]()
                while time.monotonic() - began < seconds or len(samples) < 2:
                    await living.round(width)
                    samples.append(await living.calm())
                samples.append(await living.calm(samples[len(samples) // 2]))
                return text_of(kind, time.monotonic() - began, samples)
    finally:
        databases.close()


def main(argv: Sequence[str]) -> None:
    """Live on each database, one after the other, and print."""
    parser = argparse.ArgumentParser(prog="make bench BENCH=soak", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="20 seconds")
    parser.add_argument("--seconds", type=float, help="on each database (default: 120)")
    parser.add_argument("--width", type=int, default=10, help="how often everything at once (default: %(default)s)")
    parser.add_argument("--database", dest="databases", action="append", choices=("sqlite", "postgresql"))
    given = parser.parse_args(argv)
    seconds = given.seconds or (20.0 if given.quick else 120.0)
    for kind in given.databases or ("sqlite", "postgresql"):
        say(asyncio.run(soak(kind, seconds, given.width)) + "\n")
