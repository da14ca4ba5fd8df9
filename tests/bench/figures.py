"""From what was seen to figures: delays, calls, cost. Pure."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any


@dataclass(frozen=True, slots=True)
class Version:
    """What one message of a reply showed from ``at`` on."""

    at: float
    ts: str
    shown: str


@dataclass(frozen=True, slots=True)
class Reply:
    """One question and all that came of it. ``expected`` is the agent's text, None while it has not said all of it."""

    number: int
    channel: str
    ts: str
    asked_at: float
    expected: str | None
    sent_at: tuple[float, ...]
    versions: tuple[Version, ...]

    @property
    def first_text_at(self) -> float | None:
        """When the first of the agent's text was visible."""
        wanted = _squeezed(self.expected or "")
        return next((version.at for version in self.versions if _opens(wanted, _squeezed(version.shown))), None)

    @property
    def whole_at(self) -> float | None:
        """From when on all of the agent's text was visible, and nothing else, for good; None when it is not."""
        if not self.expected:
            return None
        wanted, shown, since = _squeezed(self.expected), dict[str, str](), None
        for version in self.versions:
            shown[version.ts] = _squeezed(version.shown)
            if "".join(shown[ts] for ts in sorted(shown)) != wanted:
                since = None
            elif since is None:
                since = version.at
        return since

    @property
    def whole(self) -> bool:
        return self.whole_at is not None

    @property
    def stillest(self) -> float | None:
        """The longest time in which nothing changed to the eye, from the first delta sent to the whole text visible."""
        whole_at = self.whole_at
        if whole_at is None or not self.sent_at:
            return None
        changes = [self.sent_at[0], *(version.at for version in self.versions if version.at <= whole_at)]
        return max(after - before for before, after in pairwise(changes))

    @property
    def shown_chars(self) -> int:
        """How much of it is visible in the end."""
        return sum(len(shown) for shown in {version.ts: version.shown for version in self.versions}.values())


def _squeezed(text: str) -> str:
    return "".join(text.split())


def _opens(wanted: str, shown: str) -> bool:
    """Whether ``shown`` begins as the agent's text does, and so is no sentence of the bot's."""
    return bool(shown) and wanted.startswith(shown[:12])


@dataclass(frozen=True, slots=True)
class Call:
    """One call of the bot to Slack; ``error`` is empty when it went well."""

    at: float
    method: str
    channel: str
    thread_ts: str
    error: str


@dataclass(frozen=True, slots=True)
class Cost:
    """What a process used: processor time in all, memory before and at the worst moment."""

    cpu_seconds: float
    memory_before: int = 0
    memory_peak: int = 0


@dataclass(frozen=True, slots=True)
class Seen:
    """All that was noted in one run."""

    tokens: int
    replies: tuple[Reply, ...]
    calls: tuple[Call, ...]
    cost: Cost
    seconds: float


def percentiles(values: Iterable[float], *shares: float) -> tuple[float, ...]:
    """The values below which these shares of them lie."""
    ordered = sorted(values)
    return tuple(ordered[min(len(ordered) - 1, int(share * len(ordered)))] for share in shares)


def slope(points: Sequence[tuple[float, float]]) -> float:
    """How steeply the line rises that fits the points best; 0 where there are too few."""
    if len({x for x, _ in points}) < 2:
        return 0.0
    xs, ys = zip(*points, strict=True)
    return statistics.linear_regression(xs, ys).slope


@dataclass(frozen=True, slots=True)
class Delays:
    """Seconds; None where nothing arrived."""

    p50: float | None
    p95: float | None
    max: float | None

    @staticmethod
    def of(values: Iterable[float | None]) -> Delays:
        """The percentiles of those that are there."""
        ordered = [value for value in values if value is not None]
        return Delays(*percentiles(ordered, 0.5, 0.95, 1.0)) if ordered else Delays(None, None, None)


@dataclass(frozen=True, slots=True)
class Figures:
    """One row of the table. Delays are seconds; calls are of the methods ``chat.*``."""

    first_sign: Delays
    """Question -> a status or a message."""
    first_text: Delays
    """Question -> the agent's first word visible."""
    first_text_after_delta: Delays
    """First delta sent by Noxus -> visible."""
    settle: Delays
    """Last delta sent by Noxus -> the whole text visible."""
    still: Delays
    """The longest wait for the next visible piece of a reply."""
    replies: int
    incomplete: int
    chat_calls_per_reply: float
    calls: dict[str, int]
    rate_limited: int
    refused: dict[str, int]
    cpu_us_per_token: float
    drain_us_per_token: float
    memory_ready_mb: float
    memory_peak_mb: float
    memory_kb_per_reply: float
    seconds: float
    lacking: tuple[dict[str, object], ...]
    """Incomplete replies: where, and how much of them is there."""

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def figures(seen: Seen, drained: Cost, at_once: int) -> Figures:
    """Count and divide; ``drained`` is the cost of the bare drain of the same streams, ``at_once`` replies grew."""
    replies = seen.replies
    chat = [call for call in seen.calls if call.method.startswith("chat.")]
    too_many = {"ratelimited", "rate_limited"}
    return Figures(
        first_sign=Delays.of(_since(reply.asked_at, _first_sign(reply, seen.calls)) for reply in replies),
        first_text=Delays.of(_since(reply.asked_at, reply.first_text_at) for reply in replies),
        first_text_after_delta=Delays.of(_since(_end(reply.sent_at[:1]), reply.first_text_at) for reply in replies),
        settle=Delays.of(_since(_end(reply.sent_at), reply.whole_at) for reply in replies),
        still=Delays.of(reply.stillest for reply in replies),
        replies=len(replies),
        incomplete=sum(not reply.whole for reply in replies),
        chat_calls_per_reply=len(chat) / len(replies),
        calls=dict(Counter(call.method for call in seen.calls)),
        rate_limited=sum(call.error in too_many for call in seen.calls),
        refused=dict(
            Counter(f"{call.method} {call.error}" for call in seen.calls if call.error and call.error not in too_many)
        ),
        cpu_us_per_token=1e6 * seen.cost.cpu_seconds / seen.tokens,
        drain_us_per_token=1e6 * drained.cpu_seconds / seen.tokens,
        memory_ready_mb=seen.cost.memory_before / 1e6,
        memory_peak_mb=seen.cost.memory_peak / 1e6,
        memory_kb_per_reply=(seen.cost.memory_peak - seen.cost.memory_before) / 1e3 / at_once,
        seconds=seen.seconds,
        lacking=tuple(
            {
                "channel": reply.channel,
                "thread": reply.ts,
                "messages": len({version.ts for version in reply.versions}),
                "shown_chars": reply.shown_chars,
                "expected_chars": len(reply.expected or ""),
            }
            for reply in replies
            if not reply.whole
        ),
    )


def marginal(short: tuple[int, float], long: tuple[int, float], replies: int) -> tuple[float, float]:
    """Split the cost of two runs into seconds a turn and seconds a token; each is (tokens a reply, seconds in all)."""
    per_token = (long[1] - short[1]) / (replies * (long[0] - short[0]))
    return short[1] / replies - short[0] * per_token, per_token


def _first_sign(reply: Reply, calls: Sequence[Call]) -> float | None:
    status = (
        call.at
        for call in calls
        if call.method == "assistant.threads.setStatus"
        and (call.channel, call.thread_ts) == (reply.channel, reply.ts)
        and not call.error
    )
    signs = [*status, *(version.at for version in reply.versions)]
    return min(signs, default=None)


def _since(start: float | None, end: float | None) -> float | None:
    return None if start is None or end is None else end - start


def _end(times: Sequence[float]) -> float | None:
    return times[-1] if times else None
