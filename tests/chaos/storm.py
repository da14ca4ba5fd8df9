"""Questions keep coming in many threads while processes are killed at random; and then everything is counted."""

from __future__ import annotations

import argparse
import asyncio
import itertools
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from slackbot.simulator.noxus.prose import words
from tests.chaos.processes import Broken, until
from tests.chaos.report import say
from tests.chaos.stage import Stage, stage
from tests.chaos.trials import Lab, laboratory

ROOMS, PEOPLE = 20, 20
BROKEN_SHOWN = 20
MOST_WAITING = 30
"""A process that lives for a second cannot do the work of a minute: then people wait before they ask more."""
GENTLE = 10
"""To so many deaths there is one orderly restart."""
QUIET_SECONDS = 180.0
SETTLE_SECONDS = 600.0


@dataclass
class Tally:
    """What was counted, over all questions."""

    database: str
    seed: int
    gently: bool = False
    ends: int = 0
    messages: int = 0
    seconds: float = 0.0
    counts: Counter[str] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        """For people."""
        lines = [
            ("SIGTERM" if self.gently else "kill -9", self.ends),
            ("messages sent", self.messages),
            ("agent runs seen", self.counts["runs"]),
            ("complete answers", self.counts["answer"]),
            ("sentences with Retry", self.counts["sentence"]),
            ("refused in words", self.counts["refused"]),
            ("duplicates", self.counts["duplicates"]),
            ("losses", self.counts["losses"]),
            ("otherwise broken", len(self.broken) - self.counts["duplicates"] - self.counts["losses"]),
        ]
        what = "rolling restarts" if self.gently else "random kills"
        head = f"{what} on {self.database}, seed {self.seed}, {self.seconds:.0f} s"
        return "\n".join([head, *(f"  {name:<22}{number:>6}" for name, number in lines), *self.broken[:BROKEN_SHOWN]])


async def storm(
    lab: Lab, kind: str, times: int, *, seed: int, pace: float = 3.0, gently: bool = False, limits: bool = False
) -> Tally:
    """Kill so many times, a bot at a time, while ``pace`` questions a second come; then wait and count.

    ``gently``: each is asked to stop, which nobody may notice. ``limits``: Slack answers 429 as it does, so that fewer
    are answered at once.
    """
    tally, chance, started = Tally(kind, seed, gently), random.Random(seed), time.monotonic()
    replicas = 2 if kind == "postgresql" else 1
    async with stage(lab.launcher, lab.databases[kind], replicas=replicas, limits=limits) as scene:
        for bot in scene.bots:
            bot.environ["SLACKBOT_SHUTDOWN_SECONDS"] = "1"
            bot.start()
        for bot in scene.bots:
            await bot.up()
        people = [scene.slack.add_user(f"user{number}") for number in range(PEOPLE)]
        rooms = [scene.slack.add_channel(f"room{number}") for number in range(ROOMS)]
        asking = asyncio.create_task(_ask(scene, people, rooms, chance, pace))
        try:
            for _ in range(times):
                await asyncio.sleep(chance.uniform(0.05, 2.5))
                bot = chance.choice(scene.bots)
                bot.send(signal.SIGTERM if gently else signal.SIGKILL)
                if (code := await bot.ended(QUIET_SECONDS)) != (0 if gently else -signal.SIGKILL):
                    tally.broken.append(f"  {bot.name} ended with {code}")
                tally.ends += 1
                bot.start()
                await bot.up()
        finally:
            asking.cancel()
        # What is not as it must be then is counted below.
        with suppress(Broken):
            await until(lambda: not scene.waiting(), "the storm is over", QUIET_SECONDS)
        with suppress(Broken):
            await scene.quiet(SETTLE_SECONDS)
        for bot in scene.bots:
            bot.send(signal.SIGTERM)
        for bot in scene.bots:
            if code := await bot.ended(QUIET_SECONDS):
                tally.broken.append(f"  {bot.name} ended with {code}")
        _count(scene, tally)
    tally.seconds = time.monotonic() - started
    return tally


async def _ask(scene: Stage, people: Sequence[str], rooms: Sequence[str], chance: random.Random, pace: float) -> None:
    while True:
        await asyncio.sleep(chance.expovariate(pace))
        if scene.waiting() > MOST_WAITING:
            continue
        count, rate = chance.choice([(3, 400), (12, 60), (30, 30), (60, 20), (2000, 4000)])
        earlier = chance.choice(scene.questions) if scene.questions and chance.random() < 0.4 else None
        who, where = chance.choice(people), chance.choice(rooms)
        await scene.ask(f"/words {count} rate={rate}", words(count), user=who, channel=where, under=earlier)


def _count(scene: Stage, tally: Tally) -> None:
    tally.messages = len(scene.questions)
    posts, taken = scene.posts(), scene.taken()
    tally.counts["runs"] = taken.total()
    for question in scene.questions:
        try:
            tally.counts[scene.verdict(question)] += 1
        except Broken as broken:
            tally.counts["losses"] += not scene.shown(question).messages
            tally.broken.append(f"  {broken}")
        if posts[question.mark] > 1:
            tally.counts["duplicates"] += 1
            tally.broken.append(f"  {question.mark}: sent to Noxus {posts[question.mark]} times")
    if tally.gently and (let_down := tally.counts["sentence"]):
        tally.broken.append(f"  {let_down} people saw that somebody was restarted")
    for check in (scene.check, scene.check_logs):
        try:
            check()
        except Broken as broken:
            if f"  {broken}" not in tally.broken:
                tally.broken.append(f"  {broken}")


def main(argv: Sequence[str]) -> int:
    """Run on each database and print; returns how many of them broke something."""
    parser = argparse.ArgumentParser(prog="make chaos CHAOS=storm", description=__doc__)
    parser.add_argument("--times", type=int, default=200, help="how often (%(default)s)")
    parser.add_argument("--seed", type=int, default=7, help="what chance begins with (%(default)s)")
    parser.add_argument("--gently", action="store_true", help="SIGTERM only; else there are some in the end")
    parser.add_argument("--pace", type=float, default=3.0, help="questions a second (%(default)s)")
    parser.add_argument("--limits", action="store_true", help="Slack keeps to its rate limits")
    parser.add_argument("--database", dest="databases", action="append", choices=("sqlite", "postgresql"))
    given = parser.parse_args(argv)
    return asyncio.run(_run(given))


async def _run(given: argparse.Namespace) -> int:
    broken = 0
    kinds = given.databases or ["sqlite", "postgresql"]
    async with laboratory(kinds) as lab:
        for kind, gently in itertools.product(kinds, (True,) if given.gently else (False, True)):
            times = given.times if given.gently or not gently else max(given.times // GENTLE, 1)
            tally = await storm(lab, kind, times, seed=given.seed, pace=given.pace, gently=gently, limits=given.limits)
            say(f"\n{tally}")
            broken += bool(tally.broken)
    return broken


if __name__ == "__main__":
    sys.exit(min(main(sys.argv[1:]), 1))
