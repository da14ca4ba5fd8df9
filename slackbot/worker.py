"""Claims turns and runs them side by side: leases, heartbeat, and the one place where anything may be caught."""

from __future__ import annotations

import asyncio
import logging
import traceback
from dataclasses import dataclass

from slackbot.answering import TurnLost
from slackbot.domain import Turn, TurnKind
from slackbot.errors import SlackbotError, ThreadClosed
from slackbot.store import Store, StoreError
from slackbot.turns import Turns

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """Limits of one worker. All times in seconds."""

    concurrency: int = 100
    claims: int = 20
    """Most turns taken in one transaction: in a burst a commit for each would keep the last ones waiting."""
    lease: float = 30.0
    heartbeat: float = 5.0
    watch: float = 1.0
    """How often a process asks whether another one was told to stop its answers."""
    poll: float = 2.0
    store_pause: float = 1.0
    first_backoff: float = 2.0
    longest_backoff: float = 60.0
    attempts: int = 20
    """How often a turn that cannot even end is tried again, before it is given up with a log line."""


class Worker:
    """Runs turns until stopped. ``wake`` tells it that there may be something to claim; polling is the truth."""

    def __init__(self, store: Store, turns: Turns, *, owner: str, settings: WorkerSettings | None = None) -> None:
        self._store = store
        self._turns = turns
        self._owner = owner
        self._settings = settings or WorkerSettings()
        self._running: dict[int, asyncio.Task[None]] = {}
        self._woken = asyncio.Event()
        self._stopping = False
        self._troubles: dict[int, int] = {}

    @property
    def running(self) -> int:
        """Turns being run now."""
        return len(self._running)

    def wake(self) -> None:
        """Look for work now."""
        self._woken.set()

    def stop(self) -> None:
        """Claim no more; ``run`` returns when the running turns have ended."""
        self._stopping = True
        self._woken.set()

    async def run(self) -> None:
        """Claim and run turns until ``stop`` is called and the last one has ended."""
        async with asyncio.TaskGroup() as tasks:
            aside = [tasks.create_task(self._heartbeat()), tasks.create_task(self._watch())]
            try:
                while not self._stopping:
                    self._woken.clear()
                    turns = await self._claim()
                    if not turns:
                        await self._wait()
                    for turn in turns:
                        # Our own turn comes back when its lease ran out, as after a pause of the machine; the claim
                        # has renewed it, and the task that runs it goes on.
                        if turn.id not in self._running:
                            self._start(tasks, turn)
                while self._running:
                    await asyncio.wait(list(self._running.values()))
            finally:
                for task in aside:
                    task.cancel()

    async def _claim(self) -> list[Turn]:
        places = min(self._settings.concurrency - len(self._running), self._settings.claims)
        if places <= 0:
            return []
        try:
            return await self._store.claim(self._owner, self._settings.lease, places)
        except StoreError as error:
            log.error("claim.failed", extra={"error": str(error)})
            await asyncio.sleep(self._settings.store_pause)
            return []

    async def _wait(self) -> None:
        try:
            async with asyncio.timeout(self._settings.poll):
                await self._woken.wait()
        except TimeoutError:
            pass

    def _start(self, tasks: asyncio.TaskGroup, turn: Turn) -> None:
        task = tasks.create_task(self._run(turn), name=f"turn-{turn.id}")
        self._running[turn.id] = task

        def ended(_: asyncio.Task[None]) -> None:
            del self._running[turn.id]
            # The next message of the thread may be waiting for this one.
            self._woken.set()

        task.add_done_callback(ended)

    async def _run(self, turn: Turn) -> None:
        ids = {"turn": turn.id, "slack_thread": str(turn.thread), "attempt": turn.attempt}
        log.info("turn.started", extra={**ids, "kind": turn.kind.value})
        try:
            await self._turns.run(turn)
        except TurnLost:
            log.warning("turn.lost", extra=ids)
        except StoreError as error:
            # The lease runs out and the turn is claimed again, by then with a database.
            log.error("turn.unrecorded", extra={**ids, "error": str(error)})
        except Exception as error:  # noqa: BLE001 - the turn boundary: whatever broke, the turn must end visibly
            log.error("turn.broke", extra={**ids, **_where(error)})
            await self._end_broken(turn, error)
        else:
            self._troubles.pop(turn.id, None)

    async def _end_broken(self, turn: Turn, error: Exception) -> None:
        ids = {"turn": turn.id, "slack_thread": str(turn.thread)}
        reason = error if isinstance(error, SlackbotError) else SlackbotError(type(error).__name__)
        troubles = self._troubles[turn.id] = self._troubles.get(turn.id, 0) + 1
        try:
            if isinstance(error, ThreadClosed) or troubles > self._settings.attempts:
                log.error("turn.given_up", extra={**ids, **_where(error)})
                await self._store.fail(turn.id, self._owner, reason.code)
                self._troubles.pop(turn.id, None)
            elif turn.kind is TurnKind.ASK:
                await self._turns.apologise(turn, reason)
                self._troubles.pop(turn.id, None)
            else:
                # A sentence of ours has nothing to retry: it is said later.
                await self._postpone(turn, troubles)
        except Exception as unsaid:  # noqa: BLE001 - nor may what breaks here take the other turns down
            log.error("turn.apology_unsaid", extra={**ids, **_where(unsaid)})
            if isinstance(unsaid, ThreadClosed):
                self._troubles[turn.id] = self._settings.attempts
            await self._postpone(turn, troubles)

    async def _postpone(self, turn: Turn, troubles: int) -> None:
        pause = min(self._settings.first_backoff * 2.0 ** (troubles - 1), self._settings.longest_backoff)
        try:
            await self._store.postpone(turn.id, self._owner, pause)
        except StoreError as gone:
            # The lease runs out and the turn is claimed again, by then with a database.
            log.error("turn.unrecorded", extra={"turn": turn.id, "error": str(gone)})

    async def _watch(self) -> None:
        """Stop what was stopped where another process took the press in."""
        while True:
            await asyncio.sleep(self._settings.watch)
            if not self._running:
                continue
            try:
                for turn_id, stopped_by in (await self._store.stops(self._owner)).items():
                    self._turns.stop(turn_id, stopped_by)
            except StoreError as error:
                log.error("watch.failed", extra={"error": str(error)})

    async def _heartbeat(self) -> None:
        while True:
            await asyncio.sleep(self._settings.heartbeat)
            mine = frozenset(self._running)
            if not mine:
                continue
            try:
                kept = await self._store.renew(self._owner, mine, self._settings.lease)
            except StoreError as error:
                log.error("heartbeat.failed", extra={"turns": len(mine), "error": str(error)})
                continue
            for turn_id in mine - kept.keys():
                if task := self._running.get(turn_id):
                    log.warning("turn.lost", extra={"turn": turn_id})
                    task.cancel()


def _where(error: BaseException) -> dict[str, str]:
    """An error for the log. Words of ours may be shown; others may quote what people wrote, so their place must do."""
    if isinstance(error, SlackbotError):
        return {"error": type(error).__name__, "reason": str(error)}
    last = traceback.extract_tb(error.__traceback__)[-1:]
    return {"error": type(error).__name__, "at": ", ".join(f"{frame.filename}:{frame.lineno}" for frame in last)}
