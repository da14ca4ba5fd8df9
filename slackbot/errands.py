"""Small things to be done soon by nobody in particular, outside the time that somebody waits."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from slackbot.errors import SlackbotError

log = logging.getLogger(__name__)

KEPT = 1_000

Job = Callable[[], Awaitable[None]]


class Errands:
    """Runs what it is given, a few at a time and in order; none of it is worth an answer, or the process."""

    def __init__(self, workers: int = 4) -> None:
        self._workers = workers
        self._jobs: asyncio.Queue[tuple[str, Job]] = asyncio.Queue(KEPT)

    def later(self, what: str, job: Job) -> bool:
        """Do ``job`` soon; ``what`` names it in the log. With ``KEPT`` of them waiting it is dropped: then False."""
        try:
            self._jobs.put_nowait((what, job))
        except asyncio.QueueFull:
            log.warning("errand.dropped", extra={"what": what})
            return False
        return True

    async def done(self) -> None:
        """Wait until there is nothing to do."""
        await self._jobs.join()

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for _ in range(self._workers):
                tasks.create_task(self._work())

    async def _work(self) -> None:
        while True:
            what, job = await self._jobs.get()
            try:
                await job()
            except SlackbotError as error:
                log.info("errand.failed", extra={"what": what, "error": str(error)})
            except Exception as error:  # noqa: BLE001 - an errand is not worth the process
                log.error("errand.broke", extra={"what": what, "error": type(error).__name__})
            finally:
                self._jobs.task_done()
