"""Slack's limits shared by several processes: the database says who may call, and what the others do."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from itertools import count
from typing import Final, TypeVar

from slackbot.budget import Budget, Key
from slackbot.replies.pace import OpenReplies
from slackbot.store import Slots, StoreError

log = logging.getLogger(__name__)

Done = TypeVar("Done")

LOOK_SECONDS: Final = 1.0
PATIENCE: Final = 3.0
"""No question to the database takes longer; then this process keeps to its own share."""
SETTLING_SECONDS: Final = 5.0
"""After the database has come back, until everybody has told it of the calls made meanwhile."""
AT_A_TIME: Final = 4
"""Database connections that calls may take up: the others are for turns."""
SHORTEST_WAIT: Final = 0.1
MOST_UNTOLD: Final = 10_000
NEWS_SECONDS: Final = 0.5
"""A pause that ends so much later than we knew is another one."""
LOOKS_BEFORE_SWEEP: Final = 600


class Sharing:
    """Lets this process call Slack only when no limit is exceeded by all of them together.

    The budget stays the estimate that decides who goes first; this is asked right before a call is sent. While the
    database is away, each process keeps to its share of each limit.
    """

    def __init__(
        self, slots: Slots, budget: Budget, open_replies: OpenReplies, *, owner: str, now: Callable[[], float]
    ) -> None:
        self._slots = slots
        self._budget = budget
        self._open_replies = open_replies
        self._owner = owner
        self._now = now
        self._gate = asyncio.Semaphore(AT_A_TIME)
        self._processes = 1
        self._away = False
        self._settled_at = 0.0
        self._untold: deque[tuple[Key, float]] = deque(maxlen=MOST_UNTOLD)
        """Calls that the database does not know of, and when they were made."""

    async def run(self) -> None:
        """Look what the others do, until cancelled."""
        for number in count():
            try:
                await self._look()
                await self._tell()
                if number % LOOKS_BEFORE_SWEEP == 0:
                    await self._slots.forget_idle()
            except StoreError as error:
                self._part(error)
            else:
                self._rejoin()
            await asyncio.sleep(LOOK_SECONDS)

    async def take(self, team_id: str, method: str, channel: str = "") -> float:
        """Take a slot for a call for which the budget gave one. Returns 0.0, or how long to wait before asking the
        budget again: then it has its slot back."""
        key = self._budget.key(team_id, method, channel)

        async def take() -> bool:
            return await self._slots.take(key, self._owner, *self._budget.room(key, self._now()))

        if not self._away and await self._patiently(take):
            return 0.0
        self._budget.give_back(key, self._now())
        if not self._away:
            await self._patiently(self._look)
        now = self._now()
        if not self._away:
            return max(self._budget.wait(key, now), SHORTEST_WAIT)
        wait = self._budget.take(team_id, method, now, channel=channel)
        if not wait:
            self._untold.append((key, now))
        return wait

    async def pause(self, team_id: str, method: str, seconds: float) -> None:
        """Slack refused a call of ours: nobody is to try that for so long."""
        if not self._away:
            await self._patiently(lambda: self._slots.pause(Key(team_id, method, ""), self._owner, seconds))

    async def _patiently(self, work: Callable[[], Awaitable[Done]]) -> Done | None:
        """Do what needs the database; when it is away, or takes too long, we part with it."""
        async with self._gate:
            # A long queue at the gate says nothing about the database.
            if self._away:
                return None
            try:
                async with asyncio.timeout(PATIENCE):
                    return await work()
            except (StoreError, TimeoutError) as error:
                self._part(error)
                return None

    async def _look(self) -> None:
        found = await self._slots.elsewhere(self._owner)
        now = self._now()
        for key, seconds in found.calls.items():
            self._budget.tell(key, seconds, now)
        for key, left in found.pauses.items():
            if left > self._budget.cooling(key.team_id, key.method, now) + NEWS_SECONDS:
                self._budget.cool_off(key.team_id, key.method, now, left)
        self._open_replies.tell(found.replies)
        self._processes = len(found.owners) + 1

    async def _tell(self) -> None:
        """Let the others know of the calls that were made without the database."""
        while self._untold:
            key, made_at = self._untold[0]
            calls, window = self._budget.room(key, self._now())
            if (ago := self._now() - made_at) < window:
                await self._slots.take(key, self._owner, calls, window, ago=ago)
            self._untold.popleft()

    def _part(self, error: Exception) -> None:
        self._budget.processes = self._processes
        if not self._away:
            self._away = True
            log.warning(
                "sharing.parted", extra={"processes": self._processes, "error": str(error) or type(error).__name__}
            )

    def _rejoin(self) -> None:
        if self._away:
            self._away = False
            self._settled_at = self._now() + SETTLING_SECONDS
            log.info("sharing.rejoined", extra={"processes": self._processes})
        if self._now() >= self._settled_at:
            self._budget.processes = 1
