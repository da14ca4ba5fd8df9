"""How quickly many answers at once grow in Slack and what they cost, beside a straightforward bot."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from tests.bench import load
from tests.bench.figures import Cost, Figures, figures, marginal
from tests.bench.load import OURS, SDK_PYTHON, STRAIGHTFORWARD, Load
from tests.bench.processes import ROOT
from tests.bench.report import Progress, Results, row, text_of

COST_THREADS, COST_RATE = 40, 100.0


def channels_for(threads: int) -> int:
    """How many channels the questions are spread over: 10 for 20 threads, 20 for 100."""
    return max(1, min(20, threads // 2))


def size(text: str) -> tuple[int, int]:
    """``THREADS`` or ``THREADS/CHANNELS``."""
    threads, _, channels = text.partition("/")
    return int(threads), int(channels) if channels else channels_for(int(threads))


def options(argv: Sequence[str]) -> argparse.Namespace:
    """What was asked for on the command line."""
    parser = argparse.ArgumentParser(prog="make bench BENCH=replies", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="shorter answers, fewer runs: a look, not a measurement")
    parser.add_argument("--only", choices=("ours", STRAIGHTFORWARD), help="one bot alone")
    parser.add_argument("--threads", help="numbers such as 1,20,100; 60/20 is 60 threads in 20 channels")
    parser.add_argument("--limits", choices=("on", "off"), help="Slack's rate limits on or off only (default: both)")
    parser.add_argument("--edits", type=int, help="a limit of chat.update a minute that the bot is not told")
    parser.add_argument("--tokens", type=int, help="length of an answer (default: 400, quick: 80)")
    parser.add_argument("--rate", type=float, default=40.0, help="tokens a second (default: 40)")
    parser.add_argument("--patience", type=float, help="seconds to wait for late replies (default: 120, quick: 30)")
    parser.add_argument("--no-cost", action="store_true", help="leave out the split of the cost in turns and tokens")
    parser.add_argument("--json", type=Path, default=ROOT / "build" / "bench.json", help="default: build/bench.json")
    given = parser.parse_args(argv)
    given.threads = given.threads or ("1,20" if given.quick else "1,20,100,300/100")
    given.tokens = given.tokens or (80 if given.quick else 400)
    given.patience = (30.0 if given.quick else 120.0) if given.patience is None else given.patience
    given.bots = (OURS,) if given.only == "ours" else (given.only,) if given.only else (OURS, STRAIGHTFORWARD)
    if STRAIGHTFORWARD in given.bots and not SDK_PYTHON.is_file():
        parser.exit(1, f"There is no noxus-sdk at {SDK_PYTHON}: `make bench` sets it up, or use --only ours.\n")
    return given


def loads(given: argparse.Namespace) -> list[Load]:
    """What is measured, without Slack's limits first."""
    limits = {"on": (True,), "off": (False,), None: (False, True)}[given.limits]
    sizes = [size(text) for text in given.threads.split(",")]
    alone = 1 if given.quick else 3
    return [
        Load(
            threads,
            channels,
            limits=limited,
            tokens=given.tokens,
            rate=given.rate,
            rounds=alone if threads == 1 else 1,
            patience=given.patience,
            edits=given.edits,
        )
        for threads, channels in sizes
        for limited in limits
    ]


def cost_loads(given: argparse.Namespace) -> tuple[Load, Load]:
    """Two loads that differ in nothing but the length of their answers."""
    threads = min(COST_THREADS, 4) if given.quick else COST_THREADS
    tokens = given.tokens // 2
    short = Load(threads, channels_for(threads), limits=False, tokens=tokens, rate=COST_RATE, patience=given.patience)
    return short, replace(short, tokens=10 * tokens)


def expected_seconds(each: Load) -> float:
    """A guess for the bar."""
    late = 0.5 * each.patience if each.limits and each.threads > 50 else 4.0
    return each.rounds * (each.seconds + 2.0) + late + 3.0


async def measure(given: argparse.Namespace) -> Results:
    """Run everything, one thing at a time: what shares a processor with something else cannot be weighed."""
    results, measured = Results(), loads(given)
    costs = () if given.no_cost else cost_loads(given)
    progress = Progress(sum((len(given.bots) + 1) * expected_seconds(each) for each in (*measured, *costs)))
    drains: dict[Load, Cost] = {}
    for each in measured:
        drained = await _drained(progress, replace(each, limits=False), drains)
        for bot in given.bots:
            await _run(progress, bot, each, drained, results)
    for bot in (*given.bots, "drain") if costs else ():
        await _cost(progress, bot, costs, drains, results)
    return results


async def _drained(progress: Progress, each: Load, drains: dict[Load, Cost]) -> Cost:
    if each not in drains:
        async with progress.step(f"{each.threads} threads, bare drain", expected_seconds(each)):
            drains[each] = await load.drain(each)
    return drains[each]


async def _run(progress: Progress, bot: str, each: Load, drained: Cost, results: Results) -> None:
    limits = "on" if each.limits else "off"
    threads = f"{each.threads}/{each.channels}"
    machine = os.getloadavg()[0]
    async with progress.step(f"{threads} threads/channels, limits {limits}, {bot}", expected_seconds(each)):
        found: Figures = figures(await load.run(bot, each), drained, each.threads)
    results.rows.append(row(threads, limits, bot, found))
    results.runs.append({"bot": bot, "load": asdict(each), "machine_load": machine, **found.as_json()})


async def _cost(
    progress: Progress, bot: str, costs: tuple[Load, ...], drains: dict[Load, Cost], results: Results
) -> None:
    used: list[float] = []
    memory = None
    for each in costs:
        if bot == "drain":
            used.append((await _drained(progress, each, drains)).cpu_seconds)
            continue
        async with progress.step(f"cost of {each.tokens} tokens, {bot}", expected_seconds(each)):
            seen = await load.run(bot, each)
        used.append(seen.cost.cpu_seconds)
        memory = (seen.cost.memory_peak - seen.cost.memory_before) / 1e3 / each.threads
    short, long = costs
    per_turn, per_token = marginal((short.tokens, used[0]), (long.tokens, used[1]), short.replies)
    results.costs.append(
        {
            "bot": bot,
            "replies": short.replies,
            "tokens": [short.tokens, long.tokens],
            "cpu_seconds": used,
            "ms_per_turn": 1e3 * per_turn,
            "us_per_token": 1e6 * per_token,
            "memory_kb_per_reply": memory,
        }
    )


def main(argv: Sequence[str]) -> None:
    """Measure, write the JSON file, print the tables."""
    given = options(argv)
    began, before = time.time(), os.getloadavg()
    results = asyncio.run(measure(given))
    wanted = {key: str(value) if isinstance(value, Path) else value for key, value in vars(given).items()}
    found = {
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(began)),
        "seconds": time.time() - began,
        "machine": {
            "python": platform.python_version(),
            "system": platform.platform(),
            "processors": os.cpu_count(),
            "load_before": before,
            "load_after": os.getloadavg(),
        },
        "options": wanted,
        "runs": results.runs,
        "cost": results.costs,
    }
    given.json.parent.mkdir(parents=True, exist_ok=True)
    given.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(text_of(results, given.tokens, given.rate))
    print(
        f"\n{os.cpu_count()} processors, load {before[0]:.1f} before and {os.getloadavg()[0]:.1f} after, "
        f"{time.time() - began:.0f} s in all. Everything found: {given.json}"
    )
