"""Edits that a finished reply can do without: they wait until nobody else needs the budget."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from slackbot.budget import Budget
from slackbot.domain import Body, ThreadKey
from slackbot.errands import Errands
from slackbot.ports import Chat
from slackbot.replies.pace import OpenReplies

SPARE = 5
"""So many edits are left alone for those who begin in the meantime."""


class Tidying:
    """Takes a Stop button or a last step off messages that had to be left as they were, and gives thumbs to others."""

    def __init__(self, chat: Chat, budget: Budget, open_replies: OpenReplies, now: Callable[[], float]) -> None:
        self._errands = Errands(workers=1)
        self._chat = chat
        self._budget = budget
        self._open_replies = open_replies
        self._now = now
        self._wanted: dict[str, Body] = {}

    async def run(self) -> None:
        """Work until cancelled."""
        await self._errands.run()

    def later(self, thread: ThreadKey, ts: str, body: Body) -> None:
        """Let the message show ``body`` when there is room for that."""
        self._wanted[ts] = body
        self._errands.later("tidy", lambda: self._tidy(thread, ts))

    def forget(self, ts: str) -> None:
        """The message is in use again."""
        self._wanted.pop(ts, None)

    async def _tidy(self, thread: ThreadKey, ts: str) -> None:
        team = thread.team_id
        while ts in self._wanted:
            keep = self._open_replies.count(team) + SPARE
            wait = self._budget.take(team, "chat.update", self._now(), keep=keep)
            if not wait:
                await self._chat.edit(thread, ts, self._wanted.pop(ts))
                return
            await asyncio.sleep(wait)
