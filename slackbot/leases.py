"""Until when this process may write for a turn it runs. Afterwards another one may have taken the turn over."""

from __future__ import annotations

import asyncio
import time
from contextvars import ContextVar
from typing import Final

from slackbot.errors import SlackbotError

CALL_SECONDS: Final = 15.0
"""No call to Slack takes longer, from first to last byte."""
AFTER_ALL_SECONDS: Final = CALL_SECONDS + 1.0
"""So long after its death a call that a process made has arrived, or never does."""


def now() -> float:
    """Seconds by a clock that nobody sets, and that goes on while the machine sleeps: no wall clock decides here."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


class TurnLost(SlackbotError):
    """Another process owns the turn now: nothing more may be written for it."""


class Standing:
    """Whether the other processes know that this one, ``owner``, lives. While they do not, its leases count nothing."""

    def __init__(self, owner: str) -> None:
        self.owner = owner
        self.since = float("-inf")

    @property
    def is_lost(self) -> bool:
        """Whether others may take us for dead."""
        return self.since == float("inf")

    def lose(self) -> None:
        """From now on, others may."""
        self.since = float("inf")

    def regain(self) -> None:
        """From now on, leases count again; earlier ones may be somebody else's."""
        self.since = now()


class Lease:
    """The right to write for one turn, for as long as the database has confirmed it, or for good lost."""

    def __init__(self, standing: Standing) -> None:
        self._standing = standing
        self._asked = self._until = float("-inf")
        self._is_lost = False
        self._changed = asyncio.Event()

    def confirm(self, asked: float, seconds: float) -> None:
        """The database has given it for ``seconds``, which we ``asked`` for at that time by ``now``.

        Calls leave no later than one call's time before the end: whoever takes over then has waited them out.
        """
        self._asked, self._until = asked, asked + seconds - CALL_SECONDS
        self._changed.set()

    def lose(self) -> None:
        """Somebody else has it: no call may leave any more."""
        self._is_lost = True
        self._changed.set()

    async def confirmed(self) -> None:
        """Return as soon as a call may leave. Raises ``TurnLost``."""
        while not self._is_lost and not (self._asked >= self._standing.since and now() < self._until):
            self._changed.clear()
            await self._changed.wait()
        if self._is_lost:
            raise TurnLost


current: ContextVar[Lease | None] = ContextVar("lease", default=None)
"""The lease of the turn that a task works for; tasks that it starts inherit it."""


async def may_write() -> None:
    """Wait until the current turn, if any, may change what people see. Raises ``TurnLost``."""
    if lease := current.get():
        await lease.confirmed()
