"""What people read: a bar while it runs, tables at the end."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.bench.figures import Delays, Figures

BAR = 30

EXPLAINED = """\
Answers of {tokens} tokens at {rate:g} a second, everybody asks at once; delays in seconds; Slack calls take 0.06 s.
First sign: question -> status or message. First text: question -> first word visible; after 1st delta: since Noxus sent
it. Settle lag: last delta sent by Noxus -> whole text visible. Still: a reply's longest time without a visible change.
Drain: httpx and httpx-sse reading the same streams. Times of it: the bot's processor time in terms of the drain's.
"""

Row = Sequence[str]

_COLUMNS = (
    ("", "threads"),
    ("", "limits"),
    ("", "bot"),
    ("first", "p50"),
    ("sign", "p95"),
    ("first", "p50"),
    ("text", "p95"),
    ("after 1st", "p50"),
    ("delta", "p95"),
    ("settle", "p50"),
    ("lag", "p95"),
    ("", "max"),
    ("still", "p50"),
    ("chat calls", "a reply"),
    ("", "429s"),
    ("incom-", "plete"),
    ("CPU µs", "a token"),
    ("drain's", "µs"),
    ("of it", "times"),
    ("peak", "MB"),
    ("kB a", "reply"),
)
HEADINGS: tuple[Row, Row] = (tuple(top for top, _ in _COLUMNS), tuple(bottom for _, bottom in _COLUMNS))


def row(threads: str, limits: str, bot: str, found: Figures) -> Row:
    """One run as a line of the table, in the order of ``HEADINGS``."""
    delays = (found.first_sign, found.first_text, found.first_text_after_delta, found.settle)
    return (
        threads,
        limits,
        bot,
        *(seconds(value) for delay in delays for value in (delay.p50, delay.p95)),
        seconds(found.settle.max),
        seconds(found.still.p50),
        f"{found.chat_calls_per_reply:.1f}",
        str(found.rate_limited),
        f"{found.incomplete}/{found.replies}",
        f"{found.cpu_us_per_token:.0f}",
        f"{found.drain_us_per_token:.0f}",
        f"{found.cpu_us_per_token / found.drain_us_per_token:.1f}",
        f"{found.memory_peak_mb:.0f}",
        f"{found.memory_kb_per_reply:.0f}",
    )


def seconds(value: float | None) -> str:
    """A delay, or a dash for one that never ended."""
    return "-" if value is None else f"{value:.2f}"


def milliseconds(delays: Delays) -> str:
    """A line of percentiles."""
    named = (("p50", delays.p50), ("p95", delays.p95), ("max", delays.max))
    return "  ".join(f"{name} {'-' if value is None else f'{1000 * value:.1f}':>7}" for name, value in named)


def table(rows: Sequence[Row]) -> str:
    """Columns as wide as they need to be; the words at the left, the numbers at the right."""
    widths = [max(len(cells[column]) for cells in rows) for column in range(len(rows[0]))]
    words = 3
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column < words else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ).rstrip()
        for cells in rows
    )


@dataclass(slots=True)
class Results:
    """All that was found, in the order it was found."""

    rows: list[Row] = field(default_factory=lambda: list(HEADINGS))
    runs: list[dict[str, Any]] = field(default_factory=list)
    costs: list[dict[str, Any]] = field(default_factory=list)


def text_of(results: Results, tokens: int, rate: float) -> str:
    """Everything found, for people."""
    lines = [EXPLAINED.format(tokens=tokens, rate=rate), table(results.rows)]
    if results.costs:
        (short, long), replies = results.costs[0]["tokens"], results.costs[0]["replies"]
        lines += ["", f"Processor time, {replies} replies at once, limits off, {short} and {long} tokens each"]
        lines += ["", table(_cost_rows(results.costs))]
    return "\n".join(lines)


def _cost_rows(costs: list[dict[str, Any]]) -> list[Row]:
    drained = next(cost["us_per_token"] for cost in costs if cost["bot"] == "drain")
    rows: list[Row] = [("bot", "", "", "ms a turn", "µs a further token", "times the drain", "kB a reply")]
    for cost in costs:
        memory = cost["memory_kb_per_reply"]
        numbers = (f"{cost['ms_per_turn']:.1f}", f"{cost['us_per_token']:.0f}", f"{cost['us_per_token'] / drained:.2f}")
        rows.append((cost["bot"], "", "", *numbers, "-" if memory is None else f"{memory:.0f}"))
    return rows


class Progress:
    """Says on standard error what runs and how much of it is done: a bar on a terminal, else a line for each step.

    ``expected`` is the sum of the seconds that the steps are thought to take.
    """

    def __init__(self, expected: float) -> None:
        self._expected = expected
        self._done = 0.0

    @asynccontextmanager
    async def step(self, name: str, expected: float) -> AsyncIterator[None]:
        """Show the step while the block runs."""
        began = time.monotonic()
        if not sys.stderr.isatty():
            print(f"{self._share(0.0):4.0%}  {name}", file=sys.stderr, flush=True)
            yield
            self._done += expected
            return
        moving = asyncio.create_task(self._move(name, began, expected))
        try:
            yield
        finally:
            moving.cancel()
            self._done += expected
            print("\r\033[K", end="", file=sys.stderr, flush=True)

    def _share(self, more: float) -> float:
        return min((self._done + more) / self._expected, 1.0)

    async def _move(self, name: str, began: float, expected: float) -> None:
        while True:
            passed = time.monotonic() - began
            share = self._share(min(passed, expected))
            bar = "#" * round(BAR * share)
            print(f"\r\033[K[{bar:<{BAR}}] {share:4.0%}  {name}, {passed:.0f} s", end="", file=sys.stderr, flush=True)
            await asyncio.sleep(0.5)
