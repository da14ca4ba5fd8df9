"""What a dead process's last calls brought into a thread after somebody else had gone on there."""

from __future__ import annotations

import asyncio
import logging
from typing import NoReturn

from slackbot.domain import SessionStatus, ThreadKey
from slackbot.errors import ChatError, ChatRateLimited, ChatUnavailable
from slackbot.ports import Chat
from slackbot.store import Store, StoreError

log = logging.getLogger(__name__)

LOOK_SECONDS = 2.0
PAUSE = 2.0
"""Between two threads: most of what may be read is for the answers."""
AT_ONCE = 5
AGAIN_SECONDS = 60.0
"""Longer than ``AT_ONCE`` take; after that somebody else looks, as whoever took them may have died."""


class Echoes:
    """Takes that away once the answer has ended.

    Whoever takes a turn over looks first for what stands in the thread, but does not wait for what may be on its way:
    that would hold up the answer; and where Slack lets nobody read for a while it goes on without a look. So a part can
    come to stand there twice, and the message that is not recorded goes; and the thread can show that the agent works
    when nobody does.
    """

    def __init__(self, store: Store, chat: Chat, *, look: float = LOOK_SECONDS, pause: float = PAUSE) -> None:
        self._store = store
        self._chat = chat
        self._look = look
        self._pause = pause

    async def run(self) -> NoReturn:
        """Work until cancelled."""
        while True:
            try:
                for thread, turn_id in await self._store.take_echoes(AT_ONCE, AGAIN_SECONDS):
                    if await self._are_gone(thread, turn_id):
                        await self._store.echoes_gone(turn_id)
                    await asyncio.sleep(self._pause)
            except StoreError as error:
                log.warning("echoes.unsearched", extra={"error": str(error)})
            await asyncio.sleep(self._look)

    async def _are_gone(self, thread: ThreadKey, turn_id: int) -> bool:
        """Take them away; False when Slack is to be asked again."""
        ids = {"turn": turn_id, "slack_thread": str(thread)}
        try:
            for ts in await self._chat.find_echoes(thread, turn_id, await self._store.parts(turn_id)):
                await self._chat.delete(thread, ts)
                log.warning("echo.removed", extra={**ids, "ts": ts})
            await self._chat.set_status(thread, "")
            if await self._store.open_handover(thread) is None:
                return await self._chat.set_session(thread, SessionStatus.ACTIVE) is not None
        except ChatError as error:
            log.info("echo.unsearched", extra={**ids, "error": str(error)})
            return not isinstance(error, (ChatRateLimited, ChatUnavailable))
        return True
