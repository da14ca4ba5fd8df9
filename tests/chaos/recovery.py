"""How long it takes until the work of a process that is gone goes on: after ``kill -9``, and when it is cut off."""

from __future__ import annotations

import argparse
import asyncio
import signal
import statistics
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from slackbot.simulator.noxus.prose import words
from slackbot.store.replicas import GRACE_SECONDS
from slackbot.worker import WorkerSettings
from tests.chaos.moments import Noted
from tests.chaos.processes import Bot, Broken, until
from tests.chaos.report import say
from tests.chaos.shown import Question
from tests.chaos.stage import Stage, stage
from tests.chaos.trials import Lab, laboratory

LEASE = WorkerSettings().lease
GOALS = {
    "SQLite, restarted: ready to first write": 2.0,
    "PostgreSQL, killed: death to the other's first write": 3.0,
    "PostgreSQL, frozen: last write to the other's first": LEASE + 5.0,
    "PostgreSQL, cut off: last write to the other's first": LEASE + 5.0,
}
LONG = "/words 900 rate=15", words(900)


@dataclass(frozen=True, slots=True)
class Figure:
    """Seconds of every try, the goal, and what went wrong otherwise."""

    what: str
    seconds: list[float]
    broken: str = ""

    @property
    def is_good(self) -> bool:
        """Whether every try reached the goal."""
        return not self.broken and bool(self.seconds) and max(self.seconds) < GOALS[self.what]

    def __str__(self) -> str:
        """For people."""
        times = f"{statistics.median(self.seconds):6.2f} {max(self.seconds):6.2f}" if self.seconds else f"{'':13}"
        verdict = "" if self.is_good else f"  MISSED {self.broken}"
        return f"{self.what:<56} {times} {GOALS[self.what]:6.1f}{verdict}"


def _writes(bot: Bot) -> list[Noted]:
    """When it asked Slack to show something."""
    shows = ("http POST chat.", "http POST assistant.")
    return [each for each in bot.notes() if each.moment.name.startswith(shows) and each.moment.edge == "before"]


async def _first_write(bot: Bot, since: float, patience: float) -> float:
    """When it first wrote after ``since``."""
    found = await until(lambda: [each.at for each in _writes(bot) if each.at > since], f"{bot.name} writes", patience)
    return found[0]


async def _begun(scene: Stage, settle: float = 0.0) -> Question:
    """An answer that grows for a minute, asked when the bots have been up for a while."""
    for bot in scene.bots:
        if not bot.alive:
            bot.start(armed=True)
        await bot.up()
    await asyncio.sleep(settle)
    question = await scene.ask(*LONG)
    await until(lambda: scene.shown(question).messages, "the answer begins")
    return question


async def restarted(lab: Lab) -> float:
    """SQLite: killed and started again at once."""
    async with stage(lab.launcher, lab.databases["sqlite"]) as scene:
        await _begun(scene)
        [bot] = scene.bots
        await bot.kill()
        bot.start(armed=True)
        await bot.up()
        ready = time.monotonic()
        return max(await _first_write(bot, 0.0, 10.0) - ready, 0.0)


async def _owner(scene: Stage) -> tuple[Bot, Bot]:
    """Who runs the answer, and the other one."""
    await _begun(scene, settle=GRACE_SECONDS + 0.5)
    one, other = scene.bots
    return (one, other) if len(_writes(one)) > len(_writes(other)) else (other, one)


async def killed(lab: Lab) -> float:
    """PostgreSQL: the other replica goes on."""
    async with stage(lab.launcher, lab.databases["postgresql"], replicas=2) as scene:
        owner, other = await _owner(scene)
        death = time.monotonic()
        await owner.kill()
        return await _first_write(other, death, LEASE + 10.0) - death


async def frozen(lab: Lab) -> float:
    """PostgreSQL: a replica stands still, and wakes up when its work is another's."""
    async with stage(lab.launcher, lab.databases["postgresql"], replicas=2) as scene:
        owner, other = await _owner(scene)
        owner.send(signal.SIGSTOP)
        stopped = _writes(owner)[-1].at
        try:
            first = await _first_write(other, stopped, LEASE + 15.0)
        finally:
            owner.send(signal.SIGCONT)
        await asyncio.sleep(3.0)
        _check_silent(owner, first)
        return first - stopped


async def cut_off(lab: Lab) -> float:
    """PostgreSQL: a replica goes on without its database."""
    async with stage(lab.launcher, lab.databases["postgresql"], replicas=2) as scene, _links(scene) as links:
        owner, other = await _owner(scene)
        links[owner.name].is_cut = True
        cut = time.monotonic()
        first = await _first_write(other, cut, LEASE + 15.0)
        last = [each.at for each in _writes(owner) if each.at < first][-1]
        links[owner.name].is_cut = False
        await asyncio.sleep(3.0)
        _check_silent(owner, first)
        return first - last


def _check_silent(owner: Bot, since: float) -> None:
    late = [each for each in _writes(owner) if each.at > since]
    if late:
        raise Broken(f"the old owner wrote {late[0].at - since:.2f} s after the new one began")


class _Link:
    """A way to the database that can be cut: connections stay, and nothing comes through them."""

    def __init__(self, socket: str) -> None:
        self.is_cut = False
        self._socket = socket

    async def pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        far_reader, far_writer = await asyncio.open_unix_connection(self._socket)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._copy(reader, far_writer))
            tasks.create_task(self._copy(far_reader, writer))

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while chunk := await reader.read(65_536):
                while self.is_cut:
                    await asyncio.sleep(0.02)
                writer.write(chunk)
                await writer.drain()
        writer.close()


@asynccontextmanager
async def _links(scene: Stage) -> AsyncIterator[dict[str, _Link]]:
    """Put a link between each bot and the database."""
    server = urlsplit(scene.url)
    [folder] = parse_qs(server.query)["host"]
    made: dict[str, _Link] = {}
    servers = []
    for bot in scene.bots:
        own = scene.folder / f"link-{bot.name}"
        own.mkdir()
        made[bot.name] = _Link(str(Path(folder) / ".s.PGSQL.5432"))
        servers.append(await asyncio.start_unix_server(made[bot.name].pass_on, own / ".s.PGSQL.5432"))
        bot.environ = {**bot.environ, "DATABASE_URL": server._replace(query=f"host={own}").geturl()}
    try:
        yield made
    finally:
        for link in made.values():
            link.is_cut = False
        for bot in scene.bots:
            await bot.kill()
        for each in servers:
            each.close()


TRIES = {restarted: 5, killed: 5, frozen: 1, cut_off: 1}


async def measure(lab: Lab, most: int) -> list[Figure]:
    """Every figure, one try after the other, at ``most`` so many of each."""
    figures = []
    for (way, tries), what in zip(TRIES.items(), GOALS, strict=True):
        seconds, broken = [], ""
        for _ in range(min(tries, most)):
            try:
                seconds.append(await way(lab))
            except Broken as error:
                broken = str(error)
        figures.append(Figure(what, seconds, broken))
        say(str(figures[-1]))
    return figures


def main(argv: Sequence[str]) -> int:
    """Measure and print; returns how many goals were missed."""
    parser = argparse.ArgumentParser(prog="make chaos CHAOS=recovery", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one try each")
    return asyncio.run(_run(1 if parser.parse_args(argv).quick else max(TRIES.values())))


async def _run(most: int) -> int:
    say(f"{'seconds':<56} {'median':>6} {'max':>6} {'goal':>6}")
    async with laboratory(("sqlite", "postgresql")) as lab:
        return sum(not figure.is_good for figure in await measure(lab, most))


if __name__ == "__main__":
    sys.exit(min(main(sys.argv[1:]), 1))
