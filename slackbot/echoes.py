"""Messages that a dead process's last calls brought into a thread after somebody else had gone on there."""

from __future__ import annotations

import asyncio
import logging
from time import monotonic as now
from typing import NoReturn

from slackbot.domain import ThreadKey
from slackbot.errors import ChatError, ChatRateLimited
from slackbot.leases import CALL_SECONDS
from slackbot.ports import Chat
from slackbot.store import Store, StoreError

log = logging.getLogger(__name__)

WAIT_SECONDS = CALL_SECONDS + 3.0
"""A call that a process made before its death has arrived by then, or never does."""
LOOKED_AT = 30
"""So many turns are looked at after a death: each costs one read of its thread."""
PAUSE = 2.0
"""Between two of them; most of what may be read is for the answers."""


class Echoes:
    """Takes them away.

    Whoever takes a turn over looks first for what stands in the thread, but does not wait for what may be on its way:
    that would hold up the answer. So a part can come to stand there twice, and the message that is not recorded goes.
    """

    def __init__(self, store: Store, chat: Chat, *, wait: float = WAIT_SECONDS, pause: float = PAUSE) -> None:
        self._store = store
        self._chat = chat
        self._wait = wait
        self._pause = pause
        self._due: asyncio.Queue[float] = asyncio.Queue()

    def await_them(self) -> None:
        """Somebody has died, maybe with a call on its way."""
        self._due.put_nowait(now() + self._wait)

    async def run(self) -> NoReturn:
        """Work until cancelled."""
        looked = 0.0
        while True:
            if (due := await self._due.get()) <= looked:
                continue
            await asyncio.sleep(due - now())
            looked = now()
            try:
                # Also of who died a moment before that, as whoever waited for its echoes may be the one that died now.
                turns = await self._store.under_way(self._wait * 2, self._wait, LOOKED_AT)
                for thread, turn_id in turns:
                    await self._look(thread, turn_id)
                    await asyncio.sleep(self._pause)
            except (StoreError, ChatRateLimited) as error:
                log.warning("echoes.unsearched", extra={"error": str(error)})

    async def _look(self, thread: ThreadKey, turn_id: int) -> None:
        try:
            await self._remove(thread, turn_id)
        except ChatRateLimited:
            raise
        except ChatError as error:
            ids = {"turn": turn_id, "slack_thread": str(thread)}
            log.info("echo.unsearched", extra={**ids, "error": str(error)})

    async def _remove(self, thread: ThreadKey, turn_id: int) -> None:
        if not (echoes := await self._chat.find_echoes(thread, turn_id, await self._store.parts(turn_id))):
            return
        # What was posted while we looked is recorded by then.
        await asyncio.sleep(self._pause)
        recorded = {part.ts for part in await self._store.parts(turn_id)}
        for ts in echoes:
            if ts not in recorded:
                await self._chat.delete(thread, ts)
                log.warning("echo.removed", extra={"turn": turn_id, "slack_thread": str(thread), "ts": ts})
