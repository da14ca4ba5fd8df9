"""What Slack's own agent sessions show of a thread: that the agent works, waits for a human, or is done."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from slackbot.domain import SessionStatus, ThreadKey
from slackbot.errands import Errands
from slackbot.ports import Chat
from slackbot.store import Store

OVER_SECONDS = 1.0
"""How long the end of a turn waits until Slack no longer shows that the agent works."""


class Sessions:
    """Follows the turns of this process, one call after another. An app without the feature is told so by Slack, and
    asked no more for a while; nothing here is worth an answer."""

    def __init__(self, store: Store, chat: Chat, errands: Errands) -> None:
        self._store = store
        self._chat = chat
        self._errands = errands
        self._working: set[ThreadKey] = set()
        self._shown: set[ThreadKey] = set()
        """Where Slack shows that the agent works."""

    def began(self, thread: ThreadKey, *, again: bool = False) -> None:
        """The agent works. ``again``: somebody who began this before may have left that in Slack."""
        self._working.add(thread)
        if again:
            self._shown.add(thread)
        self._errands.later("session", lambda: self._follow(thread))

    def ended(self, thread: ThreadKey) -> None:
        """It has said its last word."""
        self._working.discard(thread)
        self._errands.later("session", lambda: self._follow(thread))

    async def over(self, thread: ThreadKey) -> None:
        """As ``ended``, and wait a moment for it: before its end is stored a turn that dies is still taken up again,
        and what Slack shows with it."""
        self._working.discard(thread)
        if thread not in self._shown:
            return
        done = asyncio.Event()

        async def follow() -> None:
            try:
                await self._follow(thread)
            finally:
                done.set()

        if self._errands.later("session", follow):
            with suppress(TimeoutError):
                async with asyncio.timeout(OVER_SECONDS):
                    await done.wait()

    def show(self, thread: ThreadKey, status: SessionStatus) -> None:
        """Show this whatever the agent does."""

        async def show() -> None:
            self._shown.discard(thread)
            await self._chat.set_session(thread, status)

        self._errands.later("session", show)

    async def _follow(self, thread: ThreadKey) -> None:
        works = thread in self._working
        if works == (thread in self._shown):
            return
        if works:
            if await self._chat.set_session(thread, SessionStatus.PROCESSING):
                self._shown.add(thread)
            return
        self._shown.discard(thread)
        # Another process may have shown by now that a human is wanted.
        if await self._store.open_handover(thread) is None:
            await self._chat.set_session(thread, SessionStatus.ACTIVE)
