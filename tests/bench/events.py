"""What comes in at once and steadily: how soon events are acknowledged, whether each gets its answer, how many answers
a second go out.

Every question is in a thread of its own, to be answered with a word; Slack's limits are off. Slack tells of a mention
in a channel twice: all of it comes once with one event a question, and once with two.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import re
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

from slackbot.domain import TurnState
from tests.bench.figures import percentiles
from tests.bench.load import OURS, READY_SECONDS, World, command_of, connected, services, wait_until
from tests.bench.processes import Process, started
from tests.bench.report import Row, table
from tests.chaos.processes import Databases
from tests.chaos.report import say
from tests.databases import Raw

BURST, RATE, SECONDS = 1_000, 20.0, 20.0
CROWD = 100
"""So many people in so many channels."""
WARM_UP = 20
"""Questions for each process, before anything is measured."""
PATIENCE, LOOK_SECONDS = 300.0, 1.0
PROCESSES = {"sqlite": (1,), "postgresql": (1, 2, 4)}
GOAL_SECONDS = 1.5
_ENDED = {TurnState.DONE, TurnState.FAILED}

Say: TypeAlias = dict[str, str]
Sending: TypeAlias = Callable[[World, list[Say]], Awaitable[list[str]]]


@dataclass(frozen=True, slots=True)
class Accepted:
    """What became of so many questions. ``acks`` are seconds at p50, p99 and most, of all events; answers are counted
    in Slack."""

    way: str
    questions: int
    events: int
    acks: tuple[float, ...]
    accepted_per_second: float
    redelivered: int
    stored: int
    answered: int
    twice: int
    answers_per_second: float

    @property
    def is_good(self) -> bool:
        """Whether nothing was late, lost or answered twice."""
        return self.acks[1] <= GOAL_SECONDS and self.stored == self.answered == self.questions and not self.twice


HEADINGS: Row = (
    *("database", "processes", "way", "questions", "events", "ack p50", "p99", "max", "accepted/s", "again"),
    *("stored", "answered", "twice", "answers/s"),
)


def row(kind: str, processes: int, found: Accepted) -> Row:
    """A line of the table."""
    acks = (f"{seconds:.3f}" for seconds in found.acks)
    counts = (found.stored, found.answered, found.twice)
    rates = f"{found.accepted_per_second:.0f}", f"{found.answers_per_second:.1f}"
    return (
        *(kind, str(processes), found.way, str(found.questions), str(found.events), *acks),
        *(rates[0], str(found.redelivered), *map(str, counts)),
        rates[1] + ("" if found.is_good else "  MISSED"),
    )


async def measure(
    url: str, processes: int, *, twins: bool, burst: int = BURST, rate: float = RATE, seconds: float = SECONDS
) -> list[Accepted]:
    """A burst of so many events and a steady stream of questions through so many fresh bots; with ``twins`` Slack tells
    of each question twice. Raises ``Broken``."""
    with tempfile.TemporaryDirectory(prefix="slackbot-bench-") as name:
        folder = Path(name)
        alone = [] if twins else ["--no-twins"]
        async with services(folder, *alone, limits=False) as world, AsyncExitStack() as bots:
            environ = {**world.environ(folder), "DATABASE_URL": url, "SLACKBOT_TURNS_PER_USER_PER_MINUTE": "0"}
            running = [
                await bots.enter_async_context(started(f"bot {number}", command_of(OURS), folder, environ))
                for number in range(processes)
            ]
            for number, each in enumerate(running, 1):
                await wait_until(each, READY_SECONDS, partial(connected, world, number))
            people = [(await world.order("user", name=f"asker{n}"))["user"] for n in range(CROWD)]
            rooms = [(await world.order("channel", name=f"room{n}"))["channel"] for n in range(CROWD)]

            async def passed(way: str, count: int, send: Sending) -> Accepted:
                mention = f"<@{world.slack_told['bot_user_id']}>"
                says = [
                    {
                        "user_id": people[number % CROWD],
                        "channel_id": rooms[number * 7 % CROWD],
                        "text": f"{mention} /say {way}{number}.",
                    }
                    for number in range(count)
                ]
                return await _passed(world, running, url, way, says, send)

            await passed("warm-up", WARM_UP * processes, _at_once)
            steady = partial(_steadily, rate)
            return [
                await passed("burst", burst // (1 + twins), _at_once),
                await passed("stream", round(rate * seconds), steady),
            ]


async def _at_once(world: World, says: list[Say]) -> list[str]:
    asked: list[str] = (await world.order("crowd", says=says))["ts"]
    return asked


async def _steadily(rate: float, world: World, says: list[Say]) -> list[str]:
    began = time.monotonic()
    asked = []
    for number, each in enumerate(says):
        await asyncio.sleep(began + number / rate - time.monotonic())
        asked += await _at_once(world, [each])
    return asked


async def _passed(
    world: World, running: Sequence[Process], url: str, way: str, says: list[Say], send: Sending
) -> Accepted:
    earlier = len(await _deliveries(world, 0))
    asked = await send(world, says)
    sql = Raw(url)
    try:
        stored = await _ended(sql, running, asked)
    finally:
        sql.close()
    attempts: dict[str, list[dict[str, Any]]] = {}
    people = {each["user_id"] for each in says}
    for each in await _deliveries(world, earlier):
        if each["user"] in people:
            attempts.setdefault(each["event_id"], []).append(each)
    sent = [min(each["at"] for each in tries) for tries in attempts.values()]
    acked = [
        min((each["at"] + each["seconds"] for each in tries if each["acked"]), default=math.inf)
        for tries in attempts.values()
    ]
    answers = await _answers(world, way)
    last = max((max(times) for times in answers.values()), default=math.inf)
    return Accepted(
        way,
        len(says),
        len(attempts),
        percentiles((after - before for before, after in zip(sent, acked, strict=True)), 0.5, 0.99, 1.0),
        len(attempts) / (max(acked) - min(sent)),
        sum(len(tries) - 1 for tries in attempts.values()),
        stored,
        len(answers),
        sum(len(times) > 1 for times in answers.values()),
        len(answers) / (last - min(map(float, asked))),
    )


async def _ended(sql: Raw, running: Sequence[Process], asked: Sequence[str]) -> int:
    """How many of the questions are stored, once all of them have their end, or after long patience."""
    until = time.monotonic() + PATIENCE
    between = min(asked, key=float), max(asked, key=float)
    while True:
        for process in running:
            process.check()
        rows = sql("SELECT ts, state FROM turns WHERE ts BETWEEN %s AND %s", *between)
        stored = {ts for ts, _ in rows} & set(asked)
        if (len(stored) == len(asked) and all(state in _ENDED for _, state in rows)) or time.monotonic() > until:
            return len(stored)
        await asyncio.sleep(LOOK_SECONDS)


async def _deliveries(world: World, since: int) -> list[dict[str, Any]]:
    async with world.slack.get("/sim/deliveries", params={"since": since}) as response:
        found: list[dict[str, Any]] = await response.json()
        return found


async def _answers(world: World, way: str) -> dict[int, list[float]]:
    """By the question's number, when the bot's messages with its answer were posted."""
    async with world.slack.get("/page/state") as response:
        messages = (await response.json())["messages"]
    found: dict[int, list[float]] = {}
    for message in messages:
        if message["user"] == world.slack_told["bot_user_id"]:
            for number in re.findall(rf"^{way}(\d+)\.", message["text"]):
                found.setdefault(int(number), []).append(float(message["ts"]))
    return found


async def _run(given: argparse.Namespace) -> None:
    rows = [HEADINGS]
    for kind, counts in PROCESSES.items():
        databases = Databases(kind)
        try:
            for processes in counts:
                for twins in (False, True):
                    with tempfile.TemporaryDirectory(prefix="slackbot-bench-") as folder:
                        async with databases.fresh(Path(folder)) as url:
                            found = await measure(
                                url, processes, twins=twins, burst=given.burst, rate=given.rate, seconds=given.seconds
                            )
                    rows += [row(kind, processes, each) for each in found]
        finally:
            databases.close()
    say(f"Seconds from event to acknowledgement; goal: p99 <= {GOAL_SECONDS}, no question lost.\n")
    say(table(rows))
    missed = Counter(line[0] for line in rows if "MISSED" in line[-1])
    say(f"\n{'Goals missed: ' + str(dict(missed)) if missed else 'No goal missed.'}")


def main(argv: Sequence[str]) -> None:
    """Measure on each database, with one process and more, and print."""
    parser = argparse.ArgumentParser(prog="make bench BENCH=events", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of it: a look, not a measurement")
    parser.add_argument("--burst", type=int, help=f"events at once (default: {BURST})")
    parser.add_argument(
        "--rate", type=float, default=RATE, help="questions a second of the stream (default: %(default)g)"
    )
    given = parser.parse_args(argv)
    given.burst = given.burst or (BURST // 10 if given.quick else BURST)
    given.seconds = SECONDS / 10 if given.quick else SECONDS
    asyncio.run(_run(given))
