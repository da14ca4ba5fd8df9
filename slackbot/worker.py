"""Claims turns and runs them side by side: leases, heartbeat, and the one place where anything may be caught."""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass

from slackbot.domain import Turn, TurnKind
from slackbot.errors import ChatRateLimited, ChatUnavailable, SlackbotError, ThreadClosed
from slackbot.leases import Lease, Standing, TurnLost, current, now
from slackbot.pauses import jittered
from slackbot.store import Store, StoreError
from slackbot.turns import Turns

log = logging.getLogger(__name__)


LAST_SECONDS = 5.0
"""A task that has lost its turn, or stored how it ended, is given so long to come to its end."""


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """Limits of one worker. All times in seconds."""

    concurrency: int = 100
    claims: int = 20
    """Most turns taken in one transaction: in a burst a commit for each would keep the last ones waiting."""
    lease: float = 30.0
    heartbeat: float = 5.0
    poll: float = 2.0
    manners: float = 2.0
    """So long what arrives in a crowd goes first: Slack waits for its acknowledgement, and work would slow it down.
    Then all that waits is worked off, whatever arrives."""
    store_pause: float = 1.0
    first_backoff: float = 2.0
    longest_backoff: float = 60.0
    patience: int = 6
    """How often a turn is tried again while Slack is away: with the pauses above, for about two minutes."""
    attempts: int = 20
    """How often a turn that cannot even end is tried again, before it is given up with a log line."""
    outage_attempts: int = 500
    """The same while Slack is away: with the pauses above and the patience of each try, for more than eight hours."""


@dataclass(frozen=True, slots=True)
class _Running:
    task: asyncio.Task[None]
    lease: Lease


class Worker:
    """Runs turns until stopped. ``wake`` tells it that there may be something to claim; polling is the truth."""

    def __init__(self, store: Store, turns: Turns, standing: Standing, settings: WorkerSettings | None = None) -> None:
        self._store = store
        self._turns = turns
        self._standing = standing
        self._owner = standing.owner
        self._settings = settings or WorkerSettings()
        self._running: dict[int, _Running] = {}
        self._woken = asyncio.Event()
        self._renewing = asyncio.Event()
        self._polite = True
        self._stopping = False
        self._troubles: Counter[tuple[int, bool]] = Counter()
        """By turn, those of an outage apart: however long it was, what goes wrong after it is the first of its kind."""

    @property
    def running(self) -> int:
        """Turns being run now."""
        return len(self._running)

    def room(self) -> int:
        """How many further turns may run."""
        return max(self._settings.concurrency - len(self._running), 0)

    def wake(self) -> None:
        """Look for work now."""
        self._woken.set()

    def renew(self) -> None:
        """Renew the leases now, and hear which turns were stopped where another process took the press in."""
        self._renewing.set()

    def stop(self) -> None:
        """Claim no more; ``run`` returns when the running turns have ended."""
        self._stopping = True
        self._woken.set()

    async def run(self) -> None:
        """Claim and run turns until ``stop`` is called and the last one has ended."""
        async with asyncio.TaskGroup() as tasks:
            heartbeat = tasks.create_task(self._heartbeat())
            try:
                while not self._stopping:
                    self._woken.clear()
                    if not await self._claim(tasks):
                        await _either(self._woken, self._settings.poll)
                while self._running:
                    await asyncio.wait([running.task for running in self._running.values()])
            finally:
                heartbeat.cancel()

    async def _claim(self, tasks: asyncio.TaskGroup) -> bool:
        """Start what may run; False when that is nothing."""
        if self._polite:
            self._polite = await self._store.calm(self._settings.manners)
        places = min(self.room(), self._settings.claims)
        if not places or self._standing.is_lost or self._stopping:
            return False
        asked = now()
        try:
            turns = await self._store.claim(self._owner, self._settings.lease, places, at_work=self._running)
        except StoreError as error:
            log.error("claim.failed", extra={"error": str(error)})
            await asyncio.sleep(self._settings.store_pause)
            return False
        for turn in turns:
            self._start(tasks, turn, asked)
        self._polite = self._polite or not turns
        return bool(turns)

    def _start(self, tasks: asyncio.TaskGroup, turn: Turn, asked: float) -> None:
        lease = Lease(self._standing)
        lease.confirm(asked, self._settings.lease)
        before = self._running.get(turn.id)
        task = tasks.create_task(self._run(turn, lease, before), name=f"turn-{turn.id}")
        running = self._running[turn.id] = _Running(task, lease)

        def ended(_: asyncio.Task[None]) -> None:
            if self._running[turn.id] is running:
                del self._running[turn.id]
            # The next message of the thread may be waiting for this one.
            self._woken.set()

        task.add_done_callback(ended)

    async def _run(self, turn: Turn, lease: Lease, before: _Running | None) -> None:
        if before is not None:
            await _end(before)
        current.set(lease)
        ids = {"turn": turn.id, "slack_thread": str(turn.thread), "attempt": turn.attempt}
        log.info("turn.started", extra={**ids, "kind": turn.kind.value})
        try:
            await self._turns.run(turn)
        except TurnLost:
            log.warning("turn.lost", extra=ids)
            self._forget(turn)
        except StoreError as error:
            log.error("turn.unrecorded", extra={**ids, "error": str(error)})
            await self._postpone(turn, self._trouble(turn, outage=True))
        except Exception as error:  # noqa: BLE001 - the turn boundary: whatever broke, the turn must end visibly
            log.error("turn.broke", extra={**ids, **_where(error)})
            await self._end_broken(turn, error)
        else:
            self._forget(turn)

    async def _end_broken(self, turn: Turn, error: Exception) -> None:
        ids = {"turn": turn.id, "slack_thread": str(turn.thread)}
        reason = error if isinstance(error, SlackbotError) else SlackbotError(type(error).__name__)
        outage = isinstance(error, (ChatUnavailable, ChatRateLimited))
        troubles = self._trouble(turn, outage=outage)
        most = self._settings.outage_attempts if outage else self._settings.attempts
        try:
            if isinstance(error, ThreadClosed) or troubles > most:
                log.error("turn.given_up", extra={**ids, **_where(error)})
                await self._store.fail(turn.id, self._owner, reason.code)
                self._forget(turn)
            elif isinstance(error, ChatUnavailable) and troubles <= self._settings.patience:
                # Slack is away. Once it is back, all that the agent said is shown, instead of an apology.
                await self._postpone(turn, troubles)
            elif turn.kind is TurnKind.ASK:
                await self._turns.apologise(turn, reason)
                self._forget(turn)
            else:
                # A sentence of ours has nothing to retry: it is said later.
                await self._postpone(turn, troubles)
        except TurnLost:
            log.warning("turn.lost", extra=ids)
            self._forget(turn)
        except Exception as unsaid:  # noqa: BLE001 - nor may what breaks here take the other turns down
            log.error("turn.apology_unsaid", extra={**ids, **_where(unsaid)})
            if isinstance(unsaid, ThreadClosed):
                self._troubles[turn.id, False] = self._settings.attempts
                self._troubles[turn.id, True] = self._settings.outage_attempts
            elif isinstance(unsaid, (ChatUnavailable, ChatRateLimited)) and not outage:
                self._troubles[turn.id, False] -= 1
                troubles = self._trouble(turn, outage=True)
            await self._postpone(turn, troubles)

    def _trouble(self, turn: Turn, *, outage: bool) -> int:
        """One more; returns how many of its kind that makes."""
        self._troubles[turn.id, outage] += 1
        return self._troubles[turn.id, outage]

    def _forget(self, turn: Turn) -> None:
        for outage in (False, True):
            self._troubles.pop((turn.id, outage), None)

    async def _postpone(self, turn: Turn, troubles: int) -> None:
        """Give the turn back for a while. Until the database takes that, the turn stays ours."""
        pause = min(self._settings.first_backoff * 2.0 ** min(troubles - 1, 10), self._settings.longest_backoff)
        while True:
            try:
                await self._store.postpone(turn.id, self._owner, jittered(pause))
            except StoreError as gone:
                log.error("turn.unrecorded", extra={"turn": turn.id, "error": str(gone)})
                await asyncio.sleep(self._settings.store_pause)
            else:
                return

    async def _heartbeat(self) -> None:
        pause = self._settings.heartbeat
        while True:
            await _either(self._renewing, pause)
            self._renewing.clear()
            pause = self._settings.heartbeat if await self._renew() else self._settings.store_pause

    async def _renew(self) -> bool:
        """False when the database did not answer."""
        mine = dict(self._running)
        if not mine or self._standing.is_lost:
            return True
        asked = now()
        try:
            kept = await self._store.renew(self._owner, mine, self._settings.lease)
            # Those that have ended meanwhile are nobody's any more.
            gone = await self._store.still_running(mine.keys() - kept) if mine.keys() - kept else frozenset()
        except StoreError as error:
            log.error("heartbeat.failed", extra={"turns": len(mine), "error": str(error)})
            return False
        for turn_id, running in mine.items():
            if self._running.get(turn_id) is not running:
                continue
            if turn_id in kept:
                running.lease.confirm(asked, self._settings.lease)
                if stopped_by := kept[turn_id]:
                    self._turns.stop(turn_id, stopped_by)
            elif turn_id in gone:
                log.warning("turn.lost", extra={"turn": turn_id})
                running.lease.lose()
                running.task.cancel()
            else:
                # It has ended: here, so that nothing is left to be written, or elsewhere, while we were cut off.
                running.lease.lose()
        return True


async def _end(before: _Running) -> None:
    """The turn was queued anew while our last task for it is at its end, or has long lost it: let it come to that."""
    before.lease.lose()
    await asyncio.wait([before.task], timeout=LAST_SECONDS)
    before.task.cancel()
    await asyncio.wait([before.task])


async def _either(event: asyncio.Event, seconds: float) -> None:
    """Wait for the event, but no longer than that."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()


def _where(error: BaseException) -> dict[str, str]:
    """An error for the log. Words of ours may be shown; others may quote what people wrote, so their place must do."""
    if isinstance(error, SlackbotError):
        return {"error": type(error).__name__, "reason": str(error)}
    last = traceback.extract_tb(error.__traceback__)[-1:]
    return {"error": type(error).__name__, "at": ", ".join(f"{frame.filename}:{frame.lineno}" for frame in last)}
