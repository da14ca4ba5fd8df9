"""Messages that a dead process's last calls brought into a thread after somebody else had gone on there."""

from __future__ import annotations

import asyncio
import logging
from time import monotonic as now
from typing import NoReturn

from slackbot.domain import ThreadKey
from slackbot.errors import ChatError, ChatRateLimited
from slackbot.leases import AFTER_ALL_SECONDS
from slackbot.ports import Chat
from slackbot.store import Store, StoreError

log = logging.getLogger(__name__)

LOOKED_AT = 30
"""So many turns are looked at after a death."""
PAUSE = 5.0
"""Between two of them, as each costs a read of its thread, and most reads are for the answers."""


class Echoes:
    """Takes them away.

    Whoever takes a turn over looks first for what stands in the thread, but does not wait for what may be on its way:
    that would hold up the answer. So a part can come to stand there twice, and the message that is not recorded goes.
    """

    def __init__(self, store: Store, chat: Chat, *, wait: float = AFTER_ALL_SECONDS, pause: float = PAUSE) -> None:
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
                await self._look(self._wait + looked - due)
            except StoreError as error:
                log.warning("echoes.unsearched", extra={"error": str(error)})

    async def _look(self, since_death: float) -> None:
        # Also for who died a moment before that, as whoever waited for its echoes may be the one that died now.
        turns = await self._store.under_way(since_death + self._wait, since_death, LOOKED_AT)
        found = []
        for thread, turn_id in turns:
            if echoes := await self._find(thread, turn_id):
                found.append((thread, turn_id, echoes))
            await asyncio.sleep(self._pause)
        if not found:
            return
        # A message that the turn's owner has just posted may be unrecorded until its call is answered.
        await asyncio.sleep(self._wait)
        for thread, turn_id, echoes in found:
            recorded = {part.ts for part in await self._store.parts(turn_id)}
            for ts in echoes:
                if ts not in recorded:
                    await self._remove(thread, turn_id, ts)

    async def _find(self, thread: ThreadKey, turn_id: int) -> list[str]:
        try:
            return await self._chat.find_echoes(thread, turn_id, await self._store.parts(turn_id))
        except ChatError as error:
            ids = {"turn": turn_id, "slack_thread": str(thread)}
            log.info("echo.unsearched", extra={**ids, "error": str(error)})
            if isinstance(error, ChatRateLimited):
                await asyncio.sleep(error.retry_after)
            return []

    async def _remove(self, thread: ThreadKey, turn_id: int, ts: str) -> None:
        ids = {"turn": turn_id, "slack_thread": str(thread), "ts": ts}
        try:
            await self._chat.delete(thread, ts)
        except ChatError as error:
            log.warning("echo.stays", extra={**ids, "error": str(error)})
        else:
            log.warning("echo.removed", extra=ids)
