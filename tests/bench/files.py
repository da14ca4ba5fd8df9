"""What files cost on their way through the bot: memory beyond what it held before, and time."""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import random
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from tests.bench.load import OURS, READY_SECONDS, World, command_of, connected, services, wait_until, warm_up, weigh
from tests.bench.processes import Process, memory_bytes, started
from tests.bench.report import Row, seconds, table
from tests.chaos.report import say

Way: TypeAlias = Literal["in", "out"]

MB = 1 << 20
SIZE = 25 * MB
GOALS_MB = {1: 16, 4: 40}
"""Of extra memory, by the number of files at the same time."""
LOOK_SECONDS, WEIGH_SECONDS, PATIENCE = 0.1, 0.01, 120.0
PASSAGES: tuple[tuple[Way, int], ...] = (("in", 1), ("in", 4), ("out", 1), ("out", 4))


@dataclass(frozen=True, slots=True)
class Passage:
    """So many files at once, each in a thread of its own. ``seconds`` from the questions to the last answer or file."""

    way: Way
    files: int
    size: int
    extra_bytes: int
    seconds: float

    @property
    def goal_mb(self) -> int | None:
        """The most memory it should take."""
        return GOALS_MB.get(self.files) if self.size == SIZE else None


async def passage(way: Way, files: int, size: int = SIZE) -> Passage:
    """Let files pass through a fresh bot that has answered once. Raises ``Broken``."""
    with tempfile.TemporaryDirectory(prefix="slackbot-bench-") as name:
        folder = Path(name)
        async with (
            services(folder, limits=True) as world,
            started("the bot", command_of(OURS), folder, world.environ(folder)) as process,
        ):
            await wait_until(process, READY_SECONDS, lambda: connected(world))
            person = (await world.order("user", name="asker"))["user"]
            rooms = [(await world.order("channel", name=f"bench{number}"))["channel"] for number in range(files)]
            await warm_up(world, process, person)
            contents = [random.Random(number).randbytes(size) if way == "in" else b"" for number in range(files)]
            uploads = [await _upload(world, person, content) for content in contents if content]
            before = memory_bytes(process.pid)
            peaks, began = [before], time.monotonic()
            weighing = asyncio.create_task(weigh(process, peaks, WEIGH_SECONDS))
            try:
                text = "/words 3" if way == "in" else f"/file made.bin size={size}"
                asked = await asyncio.gather(
                    *(_ask(world, person, room, text, uploads[n : n + 1]) for n, room in enumerate(rooms))
                )
                messages = 1 if way == "in" else 2
                ended = max([await _stands(world, process, room, ts, messages) for room, ts in asked])
            finally:
                weighing.cancel()
            if way == "in":
                await _compare(world, process, contents)
            return Passage(way, files, size, max(peaks) - before, ended - began)


async def _upload(world: World, person: str, content: bytes) -> str:
    async with world.slack.post("/page/upload", params={"user": person, "name": "big.bin"}, data=content) as response:
        return str((await response.json())["id"])


async def _ask(world: World, person: str, room: str, text: str, files: list[str]) -> tuple[str, str]:
    mention = f"<@{world.slack_told['bot_user_id']}>"
    wanted = {"user": person, "channel": room, "text": f"{mention} {text}", "files": files}
    async with world.slack.post("/page/say", json=wanted) as response:
        return room, (await response.json())["ts"]


async def _stands(world: World, process: Process, room: str, ts: str, count: int) -> float:
    """When the thread had its answer, and the file below it if ``count`` is two; raises ``Broken``."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        process.check()
        async with world.slack.get("/sim/thread", params={"channel": room, "ts": ts}) as response:
            messages = [said for said in (await response.json())["messages"] if said["bot_id"] is not None]
        if len(messages) == count and messages[0]["shown"].endswith("."):
            return max(float(version["at"]) for message in messages for version in message["versions"])
        await asyncio.sleep(LOOK_SECONDS)
    raise process.broken("did not bring the files")


async def _compare(world: World, process: Process, contents: list[bytes]) -> None:
    async with world.noxus.get("/sim/requests") as response:
        got = sorted(file["sha256"] for request in await response.json() for file in request["files"])
    if got != sorted(hashlib.sha256(content).hexdigest() for content in contents):
        raise process.broken("sent something else than was uploaded")


def text_of(passages: Sequence[Passage]) -> str:
    """For people."""
    rows: list[Row] = [("files", "of", "way", "extra MB", "goal MB", "seconds")]
    for each in passages:
        goal = "-" if each.goal_mb is None else f"< {each.goal_mb}"
        size, extra = f"{each.size / MB:.0f} MB", f"{each.extra_bytes / MB:.1f}"
        rows.append((str(each.files), size, each.way, extra, goal, seconds(each.seconds)))
    head = "Files through the bot, each in a thread of its own: memory beyond what it held before"
    return f"{head}\n\n{table(rows)}"


def main(argv: Sequence[str]) -> None:
    """Measure each way and print."""
    parser = argparse.ArgumentParser(prog="make bench BENCH=files", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one file at a time only")
    ways = [each for each in PASSAGES if each[1] == 1 or not parser.parse_args(argv).quick]
    say(text_of([asyncio.run(passage(way, count)) for way, count in ways]))
