"""One measured run: a fresh Slack, a fresh Noxus, one bot, and many people who ask at the same time."""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from tests.bench.figures import Call, Cost, Reply, Seen, Version
from tests.bench.processes import ROOT, Process, cpu_seconds, memory_bytes, python, started

OURS, STRAIGHTFORWARD = "slackbot", "straightforward"
SDK_PYTHON = Path(os.environ.get("SLACKBOT_SDK_PYTHON") or ROOT / ".venv-sdk" / "bin" / "python")
READY_SECONDS = 30.0
QUIET_SECONDS = 1.5
"""After the last reply is whole: time for a late edit to spoil it."""
WEIGH_SECONDS = 0.25
LOOK_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Load:
    """What is asked: ``rounds`` times ``threads`` questions at once, each in a thread and by a person of its own.

    ``edits`` is a limit of chat.update a minute that the bot is not told; None leaves Slack's own.
    """

    threads: int
    channels: int
    limits: bool = True
    tokens: int = 400
    rate: float = 40.0
    rounds: int = 1
    patience: float = 120.0
    edits: int | None = None

    @property
    def question(self) -> str:
        """What everybody asks."""
        return f"/words {self.tokens} rate={self.rate:g}"

    @property
    def replies(self) -> int:
        return self.rounds * self.threads

    @property
    def seconds(self) -> float:
        """How long one round of answers takes at least."""
        return self.tokens / self.rate + 1.0


@dataclass(frozen=True, slots=True)
class _Question:
    number: int
    channel: str
    ts: str


@dataclass(frozen=True, slots=True)
class World:
    """The two simulated services, and what they say about themselves."""

    slack: aiohttp.ClientSession
    noxus: aiohttp.ClientSession
    slack_told: dict[str, Any]
    noxus_told: dict[str, Any]

    def environ(self, folder: Path) -> dict[str, str]:
        """The settings that point a bot at this world."""
        return {
            "SLACK_BOT_TOKEN": self.slack_told["bot_token"],
            "SLACK_APP_TOKEN": self.slack_told["app_token"],
            "SLACK_API_URL": self.slack_told["api_url"],
            "SLACKBOT_FILE_HOSTS": urlsplit(self.slack_told["api_url"]).netloc,
            "SLACKBOT_OPS_PORT": "0",
            "NOXUS_API_KEY": self.noxus_told["api_key"],
            "NOXUS_BACKEND_URL": self.noxus_told["url"],
            "NOXUS_AGENT_ID": self.noxus_told["agent_id"],
            "DATABASE_URL": f"sqlite:///{folder / 'bench.db'}",
        }

    async def order(self, deed: str, **body: object) -> dict[str, Any]:
        """Let something happen in Slack."""
        async with self.slack.post(f"/sim/{deed}", json=body) as response:
            done: dict[str, Any] = await response.json()
        if "error" in done:
            raise ValueError(done["error"])
        return done


@asynccontextmanager
async def services(folder: Path, *more: str, limits: bool) -> AsyncIterator[World]:
    """A Slack and a Noxus, each in a process of its own; ``more`` are further options of the Slack."""
    slack_command = python("-m", "slackbot.simulator.slack", *([] if limits else ["--no-limits"]), *more)
    noxus_command = python("-m", "slackbot.simulator.noxus")
    async with AsyncExitStack() as stack:
        slack = await stack.enter_async_context(started("simulated Slack", slack_command, folder))
        noxus = await stack.enter_async_context(started("simulated Noxus", noxus_command, folder))
        slack_told, noxus_told = await slack.first_line(), await noxus.first_line()
        yield World(
            await stack.enter_async_context(aiohttp.ClientSession(slack_told["page_url"])),
            await stack.enter_async_context(aiohttp.ClientSession(noxus_told["url"])),
            slack_told,
            noxus_told,
        )


def command_of(bot: str) -> list[str]:
    """How a bot is started."""
    if bot == OURS:
        return python("-m", "slackbot", "run")
    return [str(SDK_PYTHON), str(Path(__file__).with_name("straightforward.py"))]


async def run(bot: str, load: Load) -> Seen:
    """Let ``bot`` answer the load, and tell what was seen and what it cost. Raises ``Broken``."""
    with tempfile.TemporaryDirectory(prefix="slackbot-bench-") as name:
        folder = Path(name)
        async with (
            services(folder, limits=load.limits) as world,
            started(f"the {bot} bot", command_of(bot), folder, world.environ(folder)) as process,
        ):
            await wait_until(process, READY_SECONDS, lambda: connected(world))
            people, channels = await _populate(world, load)
            if load.edits is not None:
                await world.order("limit", method="chat.update", calls=load.edits)
            await warm_up(world, process, people[0])
            return await _measure(world, process, load, people, channels)


async def drain(load: Load) -> Cost:
    """Read the same streams without a bot. Raises ``Broken``."""
    with tempfile.TemporaryDirectory(prefix="slackbot-bench-") as name:
        folder = Path(name)
        async with started("simulated Noxus", python("-m", "slackbot.simulator.noxus"), folder) as noxus:
            told = await noxus.first_line()
            wanted = {"threads": load.threads, "rounds": load.rounds, "question": load.question}
            command = python("-m", "tests.bench.drain", json.dumps({**told, **wanted}))
            async with started("the drain", command, folder) as process, asyncio.timeout(600):
                output, _ = await process.inner.communicate()
                if process.inner.returncode:
                    raise process.broken("failed")
                return Cost(cpu_seconds=json.loads(output)["cpu_seconds"])


async def _measure(world: World, process: Process, load: Load, people: list[str], channels: list[str]) -> Seen:
    cpu, memory = cpu_seconds(process.pid), memory_bytes(process.pid)
    began = time.monotonic()
    questions: list[_Question] = []
    peaks = [memory]
    weighing = asyncio.create_task(weigh(process, peaks))
    try:
        for number in range(load.rounds):
            first = number * load.threads
            asking = [
                _ask(world, load, people[index], channels[index % len(channels)], first + index)
                for index in range(load.threads)
            ]
            asked = await asyncio.gather(*asking)
            questions += asked
            await _answered(world, process, load, asked)
        await asyncio.sleep(QUIET_SECONDS)
    finally:
        weighing.cancel()
    process.check()
    cost = Cost(cpu_seconds(process.pid) - cpu, memory, max(peaks))
    seconds = time.monotonic() - began
    calls = tuple(call for call in await _calls(world) if call.at >= began)
    return Seen(load.replies * load.tokens, tuple(await _replies(world, questions)), calls, cost, seconds)


async def connected(world: World, bots: int = 1) -> bool:
    """Whether every bot listens to Slack."""
    async with world.slack.get("/sim/world") as response:
        return int((await response.json())["connections"]) >= bots


async def _populate(world: World, load: Load) -> tuple[list[str], list[str]]:
    """People first: everybody is in every channel that is made after."""
    people = [(await world.order("user", name=f"asker{number}"))["user"] for number in range(load.threads)]
    channels = [(await world.order("channel", name=f"bench{number}"))["channel"] for number in range(load.channels)]
    return people, channels


async def warm_up(world: World, process: Process, person: str) -> None:
    """One short answer elsewhere, so that what happens once in the life of a process is not measured."""
    channel = (await world.order("channel", name="warm-up"))["channel"]
    text = f"<@{world.slack_told['bot_user_id']}> /say Ready. #-1"
    ts = (await world.order("say", user=person, channel=channel, text=text))["ts"]
    if not await _answered(world, process, Load(1, 1, tokens=1, patience=READY_SECONDS), [_Question(-1, channel, ts)]):
        raise process.broken("did not answer")


async def _ask(world: World, load: Load, person: str, channel: str, number: int) -> _Question:
    text = f"<@{world.slack_told['bot_user_id']}> {load.question} #{number}"
    return _Question(number, channel, (await world.order("say", user=person, channel=channel, text=text))["ts"])


async def _answered(world: World, process: Process, load: Load, asked: list[_Question]) -> bool:
    """Wait until every answer is whole in Slack, at most ``patience`` seconds longer than Noxus needs for it.
    False when one is not.

    All times come from what the simulators noted, so a look now and then is enough, and disturbs little.
    """
    open_questions = {question.number: question for question in asked}
    until = time.monotonic() + load.seconds + load.patience
    await asyncio.sleep(load.seconds)
    while open_questions and time.monotonic() < until:
        process.check()
        for reply in await _replies(world, list(open_questions.values())):
            if reply.whole:
                del open_questions[reply.number]
        if open_questions:
            await asyncio.sleep(LOOK_SECONDS)
    return not open_questions


async def _replies(world: World, questions: list[_Question]) -> list[Reply]:
    async with world.noxus.get("/sim/runs") as response:
        runs = {_number(run["asked"]): run for run in await response.json()}
    return [await _reply(world, question, runs.get(question.number)) for question in questions]


async def _reply(world: World, question: _Question, run: dict[str, Any] | None) -> Reply:
    where = {"channel": question.channel, "ts": question.ts}
    async with world.slack.get("/sim/thread", params=where) as response:
        messages = (await response.json())["messages"]
    versions = [
        Version(version["at"], message["ts"], version["shown"])
        for message in messages
        if message["bot_id"] is not None
        for version in message["versions"]
    ]
    return Reply(
        number=question.number,
        channel=question.channel,
        ts=question.ts,
        asked_at=messages[0]["versions"][0]["at"],
        expected=run["answered"] if run and run["over"] else None,
        sent_at=tuple(run["sent_at"]) if run else (),
        versions=tuple(sorted(versions, key=lambda version: version.at)),
    )


async def _calls(world: World) -> tuple[Call, ...]:
    async with world.slack.get("/sim/calls") as response:
        calls = await response.json()
    return tuple(
        Call(
            call["at"],
            call["method"],
            call["args"].get("channel") or call["args"].get("channel_id") or "",
            call["args"].get("thread_ts") or "",
            "" if call["ok"] else call["error"] or str(call["status"]),
        )
        for call in calls
    )


def _number(asked: str) -> int:
    return int(asked.rpartition("#")[2])


async def weigh(process: Process, peaks: list[int], every: float = WEIGH_SECONDS) -> None:
    """Note how much memory the process holds, until cancelled."""
    while True:
        peaks.append(memory_bytes(process.pid))
        await asyncio.sleep(every)


async def wait_until(process: Process, seconds: float, holds: Callable[[], Awaitable[bool]]) -> None:
    """Wait for the bot to connect. Raises ``Broken`` when it does not."""
    until = time.monotonic() + seconds
    while not await holds():
        process.check()
        if time.monotonic() > until:
            raise process.broken("did not connect to Slack")
        await asyncio.sleep(0.1)
