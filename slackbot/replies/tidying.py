"""Edits that a finished reply can do without: they wait until nobody else needs the budget."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass

from slackbot.budget import Budget
from slackbot.domain import Body, ThreadKey
from slackbot.errands import Errands
from slackbot.errors import ChatError, ChatRateLimited, ChatUnavailable, SlackbotError
from slackbot.ports import Chat
from slackbot.replies.pace import OpenReplies

SPARE = 5
"""So many edits are left alone for those who begin in the meantime."""
TRIES = 5
PAUSE = 5.0


@dataclass(frozen=True, slots=True)
class _Wanted:
    thread: ThreadKey
    body: Body | None
    turn_id: int
    attempt: int


class Tidying:
    """Takes a Stop button or a last step off messages that had to be left as they were, and gives thumbs to others.

    ``attempt_of`` tells which try of a turn is its newest: another process may have begun anew with the same messages.
    """

    def __init__(
        self,
        chat: Chat,
        budget: Budget,
        open_replies: OpenReplies,
        now: Callable[[], float],
        *,
        attempt_of: Callable[[int], Awaitable[int | None]],
    ) -> None:
        self._errands = Errands(workers=1)
        self._chat = chat
        self._budget = budget
        self._open_replies = open_replies
        self._now = now
        self._attempt_of = attempt_of
        self._wanted: dict[str, _Wanted] = {}

    async def run(self) -> None:
        """Work until cancelled."""
        await self._errands.run()

    async def flush(self) -> None:
        """Do at once what can be done without waiting; the rest stays undone."""
        for ts, wanted in list(self._wanted.items()):
            if not self._budget.take(wanted.thread.team_id, "chat.update", self._now()):
                with suppress(SlackbotError):
                    await self._show(ts, wanted)

    def later(self, thread: ThreadKey, ts: str, body: Body | None, turn_id: int, attempt: int) -> None:
        """Let the message show ``body`` when there is room for that; None leaves it its words, whatever they are."""
        self._wanted[ts] = _Wanted(thread, body, turn_id, attempt)
        if not self._errands.later("tidy", lambda: self._tidy(ts)):
            del self._wanted[ts]

    def forget(self, ts: str) -> None:
        """The message is in use again."""
        self._wanted.pop(ts, None)

    async def _tidy(self, ts: str) -> None:
        wanted = self._wanted.get(ts)
        for _ in range(TRIES):
            while wanted is not None and self._wanted.get(ts) == wanted:
                team = wanted.thread.team_id
                keep = self._open_replies.count(team) + SPARE
                if not (wait := self._budget.take(team, "chat.update", self._now(), keep=keep)):
                    break
                await asyncio.sleep(wait)
            else:
                return
            try:
                await self._show(ts, wanted)
            except SlackbotError as error:
                if not isinstance(error, ChatError) or isinstance(error, (ChatRateLimited, ChatUnavailable)):
                    await asyncio.sleep(PAUSE)
                    continue
            break
        if self._wanted.get(ts) is wanted:
            self.forget(ts)

    async def _show(self, ts: str, wanted: _Wanted) -> None:
        """Edit the message if that is still right."""
        if await self._attempt_of(wanted.turn_id) != wanted.attempt or self._wanted.get(ts) != wanted:
            return
        if wanted.body is None:
            await self._chat.strip(wanted.thread, ts)
        else:
            await self._chat.edit(wanted.thread, ts, wanted.body)
