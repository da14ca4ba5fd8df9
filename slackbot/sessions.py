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
        self._telling: ThreadKey | None = None
        """Where Slack is being told that."""
        self._over: dict[ThreadKey, int] = {}
        """Where it may show so although the turn is over."""

    @property
    def undone(self) -> set[int]:
        """The turns whose end Slack has yet to show."""
        return set(self._over.values())

    def began(self, thread: ThreadKey, *, again: bool = False) -> None:
        """The agent works. ``again``: somebody who began this before may have left that in Slack."""
        self._working.add(thread)
        if again:
            self._shown.add(thread)
        self._errands.later("session", lambda: self._follow(thread))

    def ended(self, thread: ThreadKey, turn_id: int) -> None:
        """It has said its last word."""
        self._end(thread, turn_id)
        self._errands.later("session", lambda: self._follow(thread))

    async def over(self, thread: ThreadKey, turn_id: int) -> None:
        """As ``ended``, and wait a moment for it: before its end is stored a turn that dies is still taken up again,
        and what Slack shows with it."""
        self._end(thread, turn_id)
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

    def _end(self, thread: ThreadKey, turn_id: int) -> None:
        self._working.discard(thread)
        if thread in self._shown or thread == self._telling:
            self._over[thread] = turn_id

    def show(self, thread: ThreadKey, status: SessionStatus) -> None:
        """Show this whatever the agent does."""

        async def show() -> None:
            self._shown.discard(thread)
            await self._chat.set_session(thread, status)

        self._errands.later("session", show)

    async def _follow(self, thread: ThreadKey) -> None:
        if thread in self._working:
            if thread not in self._shown:
                self._telling = thread
                if await self._chat.set_session(thread, SessionStatus.PROCESSING):
                    self._shown.add(thread)
                self._telling = None
            return
        if thread in self._shown:
            # Another process may have shown by now that a human is wanted.
            human = await self._store.open_handover(thread)
            self._shown.discard(thread)
            if human is None:
                await self._show_end(thread)
        if thread not in self._working:
            self._over.pop(thread, None)

    async def _show_end(self, thread: ThreadKey) -> None:
        turn_id = self._over.get(thread)
        if await self._chat.set_session(thread, SessionStatus.ACTIVE) is None and turn_id is not None:
            await self._store.look_again([turn_id])
