"""Taking the marks off messages that wait no longer."""

from __future__ import annotations

import asyncio
from functools import partial

from slackbot.domain import ThreadKey
from slackbot.errands import Errands
from slackbot.pauses import jittered
from slackbot.ports import Chat
from slackbot.replies.tidying import LONGEST_PAUSE, PAUSE, TRIES
from slackbot.store import Store, StoreError


class Marks:
    """Takes them off in Slack's own time, again where it is away; ``errands`` is for what may wait long for it.

    Slack takes few removals a minute, so one is made only for a mark that the database does not know to be off. What
    is still to be tried again when the process ends is found at the next start.
    """

    def __init__(self, store: Store, chat: Chat, errands: Errands) -> None:
        self._store = store
        self._chat = chat
        self._errands = errands

    def off_later(self, thread: ThreadKey, ts: str, turn_id: int, tries: int = 0) -> None:
        """Have the mark of the turn's message taken off soon, after so many ``tries``."""
        self._errands.later("unmark", partial(self.off, thread, ts, turn_id, tries))

    async def off(self, thread: ThreadKey, ts: str, turn_id: int, tries: int = 0) -> None:
        """Take it off now, or later where that may help. Raises ``StoreError``."""
        try:
            is_off = await self._store.is_marked(turn_id) and await self._chat.unmark_waiting(thread, ts)
        except StoreError:
            self._again(thread, ts, turn_id, tries)
            raise
        if is_off is None:
            self._again(thread, ts, turn_id, tries)
        elif is_off:
            await self._store.unmarked(turn_id)

    def _again(self, thread: ThreadKey, ts: str, turn_id: int, tries: int) -> None:
        if tries + 1 < TRIES:
            pause = jittered(min(PAUSE * 2.0**tries, LONGEST_PAUSE))
            asyncio.get_running_loop().call_later(pause, self.off_later, thread, ts, turn_id, tries + 1)
