"""A run of the agent: its log of frames, to which any number of streams attach."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Literal, TypeAlias

from slackbot.simulator.noxus.script import Cut, Emit, GiveUp, Step
from slackbot.simulator.noxus.switches import Switches


class Mark(Enum):
    """A place in the log at which something happened to the streams rather than in the answer."""

    CUT = "cut"
    TIMEOUT = "timeout"


Ending: TypeAlias = Literal["done", "timeout"]
Entry: TypeAlias = dict[str, Any] | Mark


class Signal:
    """Wakes everybody who waits; a wait sees only what is notified after it began."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def notify(self) -> None:
        self._event.set()
        self._event = asyncio.Event()

    async def wait(self) -> None:
        await self._event.wait()


@dataclass(slots=True, eq=False)
class Run:
    """One turn's run. ``epoch`` (milliseconds, unique in its conversation) and an entry's index make an SSE id.

    ``sent_at`` is when each piece of text went to the client that posted, by its entry's index (monotonic seconds).
    """

    id: str
    epoch: int
    entries: list[Entry] = field(default_factory=list)
    recalled: tuple[dict[str, Any], ...] | None = None
    ended: Ending | None = None
    sent_at: dict[int, float] = field(default_factory=dict)
    changed: Signal = field(default_factory=Signal)

    @property
    def frames(self) -> Iterator[dict[str, Any]]:
        """What the agent said so far."""
        return (entry for entry in self.entries if not isinstance(entry, Mark))

    @property
    def error(self) -> str | None:
        """The text of the run's error frame, if there was one."""
        return next((frame["errorText"] for frame in self.frames if frame["type"] == "error"), None)

    def event_id(self, index: int) -> str:
        """The SSE id of entry ``index``, shaped like a Redis stream id."""
        return f"{self.epoch}-{index}"

    def index_after(self, etag: str) -> int:
        """Where a stream that has seen ``etag`` goes on: 0 for an etag from before this run, or not of a stream."""
        epoch, _, index = etag.partition("-")
        if not (epoch.isdecimal() and index.isdecimal()) or int(epoch) != self.epoch:
            return 0
        return min(int(index) + 1, len(self.entries))

    async def play(
        self, steps: Iterator[Step], *, limit: float, timeout_ends: bool, effect: Callable[[Step], None]
    ) -> Ending:
        """Write the steps into the log, each at its time, for at most ``limit`` seconds; ``effect`` does the others.

        The schedule is absolute: a late wake-up writes all that is due at once and delays nothing after it.
        """
        clock = asyncio.get_running_loop().time
        due = clock()
        deadline = due + limit
        for step in steps:
            due += step.after
            if due > clock():
                self.changed.notify()
                await asyncio.sleep(max(min(due, deadline) - clock(), 0))
            if due > deadline:
                return "timeout"
            match step:
                case Emit(frame):
                    self.entries.append(frame)
                case Cut():
                    self.entries.append(Mark.CUT)
                case GiveUp():
                    self.entries.append(Mark.TIMEOUT)
                    if timeout_ends:
                        return "timeout"
                case _:
                    effect(step)
        return "done"

    def end(self, reason: Ending) -> None:
        """Nothing more will be written; every stream may close."""
        self.ended = reason
        self.changed.notify()

    async def over(self) -> None:
        """Wait for the end of the run."""
        while self.ended is None:
            await self.changed.wait()


def resume_point(run: Run, etag: str | None, switches: Switches) -> int:
    """The entry at which a stream that attaches with ``etag`` begins."""
    if switches.replay == "start":
        return 0
    if etag:
        return run.index_after(etag) if switches.etag_is == "sse" else 0
    return len(run.entries) if switches.replay == "live" else 0
