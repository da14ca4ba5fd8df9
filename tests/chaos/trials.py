"""One trial: a play, a database, Noxus as it may be, and the moments at which the bot dies."""

from __future__ import annotations

import asyncio
import shlex
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from tests.chaos.moments import Moment, distinct
from tests.chaos.plays import PLAYS, SETTINGS
from tests.chaos.processes import Broken, Databases, Launcher, until
from tests.chaos.stage import Stage, stage
from tests.chaos.worlds import World, values

TRIAL_SECONDS = 90.0


@dataclass(frozen=True, slots=True)
class Trial:
    """What is tried. The second death is of the process that comes after the first, counted from its start;
    ``everyone``: each replica that comes to the first moment dies there."""

    play: str
    database: str = "sqlite"
    deaths: tuple[Moment, ...] = ()
    switches: World = ()
    everyone: bool = False

    def __str__(self) -> str:
        """The arguments that repeat it."""
        words = [f"--database {self.database}", f"--play {self.play}"]
        words += [f"--at '{death}'" for death in self.deaths]
        words += [f"--set {shlex.quote(f'{name}={value}')}" for name, value in self.switches]
        words += ["--everyone"] * self.everyone
        return " ".join(words)


@dataclass(slots=True)
class Result:
    """How it went: how each question ended, or why what must hold does not."""

    trial: Trial
    verdicts: list[str] = field(default_factory=list)
    broken: str = ""
    deaths: int = 0
    seconds: float = 0.0
    moments: list[list[Moment]] = field(default_factory=list)
    """What the latest life of each bot went through, without what comes to the same."""
    calls: int = 0

    @property
    def missed(self) -> bool:
        """Whether a moment at which somebody was to die never came."""
        return len(self.trial.deaths) > self.deaths


@dataclass(frozen=True)
class Lab:
    """What all trials of a run share."""

    launcher: Launcher
    databases: Mapping[str, Databases]

    async def run(self, trial: Trial) -> Result:
        """Play it to its end. Never raises ``Broken``."""
        result, started = Result(trial), time.monotonic()
        on_postgresql = trial.database == "postgresql"
        setting = stage(
            self.launcher,
            self.databases[trial.database],
            replicas=1 + on_postgresql,
            switches=values(trial.switches),
            settings=SETTINGS.get(trial.play),
        )
        try:
            async with asyncio.timeout(TRIAL_SECONDS), setting as scene:
                try:
                    result.verdicts = await _play(scene, trial, takeover=on_postgresql and not trial.everyone)
                finally:
                    result.deaths = scene.deaths()
                    notes = [bot.notes() for bot in scene.bots]
                    result.moments = [distinct(each) for each in notes]
                    result.calls = sum(map(len, notes)) // 2
        except Broken as broken:
            result.broken = str(broken)
        except TimeoutError:
            result.broken = f"not over after {TRIAL_SECONDS:g} s"
        result.seconds = time.monotonic() - started
        return result


async def _play(scene: Stage, trial: Trial, *, takeover: bool) -> list[str]:
    first, *others = trial.deaths or (None,)
    for bot in scene.bots:
        bot.start(die=first, once=None if trial.everyone else str(scene.folder / "died"))
    for bot in scene.bots:
        await bot.up()
    await until(lambda: scene.slack.connections == len(scene.bots), "Slack knows them all")
    for bot in scene.bots:
        bot.arm()
    # On PostgreSQL it is the other replica that has to go on; the dead one comes back later.
    keeping = None if takeover else asyncio.create_task(_keep(scene, others))
    try:
        with suppress(Broken):  # the same in better words below
            await PLAYS[trial.play](scene)
        verdicts = await scene.quiet()
        if takeover:
            _restart(scene, others)
            for bot in scene.bots:
                await bot.ready()
            verdicts = await scene.quiet()
    finally:
        if keeping is not None:
            keeping.cancel()
    left = await scene.leave()
    if left != verdicts:
        raise Broken(f"{verdicts} became {left} at the end")
    return left


async def _keep(scene: Stage, deaths: list[Moment]) -> None:
    while True:
        _restart(scene, deaths)
        await asyncio.sleep(0.01)


def _restart(scene: Stage, deaths: list[Moment]) -> None:
    for bot in scene.bots:
        if not bot.alive:
            bot.start(die=deaths.pop(0) if deaths else None, armed=True)


@asynccontextmanager
async def laboratory(kinds: Iterable[str]) -> AsyncIterator[Lab]:
    """What trials need, with databases of these kinds."""
    launcher = Launcher()
    try:
        opened = {}
        try:
            for kind in kinds:
                opened[kind] = Databases(kind)
            yield Lab(launcher, opened)
        finally:
            for each in opened.values():
                each.close()
    finally:
        launcher.close()


async def run_all(lab: Lab, trials: Iterable[Trial], *, at_once: int) -> AsyncIterator[Result]:
    """The results of the trials, as they come."""
    waiting = iter(list(trials))
    running: set[asyncio.Task[Result]] = set()
    try:
        while True:
            while len(running) < at_once and (trial := next(waiting, None)):
                running.add(asyncio.create_task(lab.run(trial)))
            if not running:
                return
            done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                yield task.result()
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
