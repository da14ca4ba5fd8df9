"""Messages that a dead process's last calls brought into a thread after somebody else had gone on there."""

from __future__ import annotations

import asyncio
import logging
from typing import NoReturn

from slackbot.domain import ThreadKey
from slackbot.errors import SlackbotError
from slackbot.leases import CALL_SECONDS
from slackbot.ports import Chat
from slackbot.store import Store

log = logging.getLogger(__name__)

WAIT_SECONDS = CALL_SECONDS + 3.0
"""A call that a process made before its death has arrived by then, or never does."""
LOOKED_AT = 20
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
        self._death = asyncio.Event()

    def await_them(self) -> None:
        """Somebody has died, maybe with a call on its way."""
        self._death.set()

    async def run(self) -> NoReturn:
        """Work until cancelled."""
        while True:
            await self._death.wait()
            self._death.clear()
            await asyncio.sleep(self._wait)
            try:
                for thread, turn_id in await self._store.taken_over(self._wait * 2, LOOKED_AT):
                    await self._remove(thread, turn_id)
                    await asyncio.sleep(self._pause)
            except SlackbotError as error:
                log.info("echoes.unsearched", extra={"error": str(error)})

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
