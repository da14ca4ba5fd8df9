"""Taking the marks off messages that wait no longer."""

from __future__ import annotations

from functools import partial

from slackbot.domain import ThreadKey
from slackbot.errands import Errands
from slackbot.ports import Chat
from slackbot.store import Store


class Marks:
    """Takes them off, each once and in Slack's own time; ``errands`` is for what may wait long for it.

    Slack takes few removals a minute, so one is made only for a mark that the database does not know to be off.
    """

    def __init__(self, store: Store, chat: Chat, errands: Errands) -> None:
        self._store = store
        self._chat = chat
        self._errands = errands

    def off_later(self, thread: ThreadKey, ts: str, turn_id: int) -> None:
        """Have the mark of the turn's message taken off soon."""
        self._errands.later("unmark", partial(self.off, thread, ts, turn_id))

    async def off(self, thread: ThreadKey, ts: str, turn_id: int) -> None:
        """Take it off now. Raises ``StoreError``."""
        if await self._store.is_marked(turn_id) and await self._chat.unmark_waiting(thread, ts):
            await self._store.unmarked(turn_id)
