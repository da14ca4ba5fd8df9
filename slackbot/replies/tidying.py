"""Edits that a finished reply can do without: they wait until nobody else needs the budget."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from slackbot.budget import Budget
from slackbot.domain import Body, ThreadKey
from slackbot.errands import Errands
from slackbot.errors import ChatError, ChatRateLimited, ChatUnavailable, SlackbotError
from slackbot.pauses import jittered
from slackbot.ports import Chat
from slackbot.replies.pace import OpenReplies

SPARE = 5
"""So many edits are left alone for those who begin in the meantime."""
TRIES = 12
PAUSE = 5.0
LONGEST_PAUSE = 120.0
"""Slack may be away for ten minutes, and a button of no use still goes."""


@dataclass(frozen=True, slots=True)
class _Wanted:
    thread: ThreadKey
    body: Body | None
    turn_id: int
    attempt: int
    gone: bool = False


class Tidying:
    """Takes a Stop button or a last step off messages that had to be left as they were, gives thumbs to others, and
    takes away messages that nobody needs.

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
        self._errands = Errands(workers=4)
        self._chat = chat
        self._budget = budget
        self._open_replies = open_replies
        self._now = now
        self._attempt_of = attempt_of
        self._wanted: dict[str, _Wanted] = {}

    @property
    def undone(self) -> set[int]:
        """The turns whose messages are still to be changed."""
        return {wanted.turn_id for wanted in self._wanted.values()}

    async def run(self) -> None:
        """Work until cancelled."""
        await self._errands.run()

    async def flush(self) -> None:
        """Do at once what can be done without waiting, then the rest as there is room for it, until cancelled."""
        for patient in (False, True):
            for ts, wanted in list(self._wanted.items()):
                while wait := self._wait(wanted):
                    if not patient:
                        break
                    await asyncio.sleep(wait)
                else:
                    if await self._is_done(ts, wanted):
                        self.forget(ts)

    def later(self, thread: ThreadKey, ts: str, body: Body | None, turn_id: int, attempt: int) -> None:
        """Let the message show ``body`` when there is room for that; None leaves it its words, whatever they are."""
        self._want(ts, _Wanted(thread, body, turn_id, attempt))

    def again(
        self, thread: ThreadKey, ts: str, body: Body | None, turn_id: int, attempt: int, *, seconds: float
    ) -> None:
        """The same once more in so many seconds: a dead process's edit may come until then."""
        asyncio.get_running_loop().call_later(seconds, self.later, thread, ts, body, turn_id, attempt)

    def remove(self, thread: ThreadKey, ts: str, turn_id: int, attempt: int) -> None:
        """Take the message away when Slack lets us."""
        self._want(ts, _Wanted(thread, None, turn_id, attempt, gone=True))

    def _want(self, ts: str, wanted: _Wanted) -> None:
        self._wanted[ts] = wanted
        if not self._errands.later("tidy", lambda: self._tidy(ts)):
            del self._wanted[ts]

    def forget(self, ts: str) -> None:
        """The message is in use again."""
        self._wanted.pop(ts, None)

    async def _tidy(self, ts: str) -> None:
        wanted = self._wanted.get(ts)
        for tries in range(TRIES):
            while wanted is not None and self._wanted.get(ts) == wanted:
                keep = self._open_replies.count(wanted.thread.team_id) + SPARE
                if not (wait := self._wait(wanted, keep)):
                    break
                await asyncio.sleep(wait)
            else:
                return
            if await self._is_done(ts, wanted):
                break
            await asyncio.sleep(jittered(min(PAUSE * 2.0**tries, LONGEST_PAUSE)))
        if self._wanted.get(ts) is wanted:
            self.forget(ts)

    async def _is_done(self, ts: str, wanted: _Wanted) -> bool:
        """Edit the message, if that is still right; False when it is worth another try."""
        try:
            await self._show(ts, wanted)
        except (ChatRateLimited, ChatUnavailable):
            return False
        except SlackbotError as error:
            return isinstance(error, ChatError)
        return True

    def _wait(self, wanted: _Wanted, keep: int = 0) -> float:
        """Seconds until an edit may go; takes its slot when it may go now. A deletion finds its own."""
        if wanted.gone:
            return 0.0
        return self._budget.take(wanted.thread.team_id, "chat.update", self._now(), keep=keep)

    async def _show(self, ts: str, wanted: _Wanted) -> None:
        """Edit the message if that is still right."""
        if await self._attempt_of(wanted.turn_id) != wanted.attempt or self._wanted.get(ts) != wanted:
            return
        if wanted.gone:
            await self._chat.delete(wanted.thread, ts)
        elif wanted.body is None:
            await self._chat.strip(wanted.thread, ts)
        else:
            await self._chat.edit(wanted.thread, ts, wanted.body)
