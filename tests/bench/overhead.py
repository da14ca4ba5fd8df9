"""What the bot adds between a Slack event and the request to Noxus, when it has nothing else to do."""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.bench.figures import Delays
from tests.bench.report import milliseconds
from tests.chaos.processes import Databases
from tests.chaos.report import say
from tests.whole_bot import World, bot, world

SETTLE_SECONDS = 0.2
"""One turn is over before the next begins: the waits are those of a bot with nothing else to do."""


async def measure(url: str, questions: int) -> dict[str, Delays]:
    """Ask one question after another, each in a thread of its own and then a follow-up; report the waits."""
    first: list[float] = []
    next_one: list[float] = []
    async with world() as acme, bot(acme.environ(url, SLACKBOT_TURNS_PER_USER_PER_MINUTE="0")):
        for number in range(questions):
            root = await _ask(acme, f"<@{acme.slack.bot_user_id}> /say One{number}.", None, first)
            await _ask(acme, f"/say Two{number}.", root, next_one)
    return {
        "first question of a thread (creates the conversation: one more request)": Delays.of(first),
        "next question of a thread": Delays.of(next_one),
    }


async def _ask(acme: World, text: str, root: str | None, waits: list[float]) -> str:
    slack, noxus = acme.slack, acme.noxus
    deliveries, answers = len(slack.deliveries), _answers(acme)
    requests = len(noxus.requests)
    ts = await slack.say(slack.users["ada"], slack.channels["general"], text, thread_ts=root)
    await slack.wait(lambda: _answers(acme) > answers, timeout=30)
    await asyncio.sleep(SETTLE_SECONDS)
    asked = next(request.at for request in noxus.requests[requests:] if request.path.endswith("/stream"))
    waits.append(asked - min(delivery.at for delivery in slack.deliveries[deliveries:]))
    return root or ts


def _answers(acme: World) -> int:
    return sum(1 for call in acme.slack.calls if call.method == "chat.postMessage" and call.ok)


async def _report(kind: str, questions: int) -> str:
    databases = Databases(kind)
    try:
        with tempfile.TemporaryDirectory(prefix="slackbot-bench-") as folder:
            async with databases.fresh(Path(folder)) as url:
                found = await measure(url, questions)
    finally:
        databases.close()
    return "\n".join(f"  {milliseconds(delays)}  {kind}: {name}" for name, delays in found.items())


def main(argv: Sequence[str]) -> None:
    """Measure on each database and print."""
    parser = argparse.ArgumentParser(prog="make bench BENCH=overhead", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a few questions only")
    questions = 5 if parser.parse_args(argv).quick else 30
    say("Event delivered -> question at Noxus, milliseconds, one at a time; goal: p95 < 50")
    for kind in ("sqlite", "postgresql"):
        say(asyncio.run(_report(kind, questions)))
