"""Gathers what the agent is told with a turn: the message, what it has not seen yet, and the names of people."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence

from slackbot.domain import BotIdentity, ContextMessage, HandoverState, Turn
from slackbot.errors import ChatError
from slackbot.ports import Chat
from slackbot.store import Store
from slackbot.text.question import CONTEXT_MESSAGES, content, who_and_where

log = logging.getLogger(__name__)

HISTORY_SECONDS = 5.0
"""A thread's past is worth a short wait; the question is worth more."""


class Questions:
    """Composes the user message of a turn. ``thread_context`` allows reading a thread's older messages from Slack."""

    def __init__(
        self,
        store: Store,
        chat: Chat,
        *,
        identity: Callable[[str], BotIdentity | None],
        thread_context: bool = True,
    ) -> None:
        self._store = store
        self._chat = chat
        self._identity = identity
        self._thread_context = thread_context

    async def context(self, turn: Turn, *, read_thread: bool) -> list[ContextMessage]:
        """What goes along with the turn's message, oldest first. ``read_thread`` brings the thread's past from Slack,
        for a conversation that has none.

        Raises ``StoreError`` when the database is away; Slack being away costs the past, not the question.
        """
        kept = await self._store.context_for(turn)
        past = await self._history(turn) if read_thread else None
        if past is None:
            return kept
        known = {said.ts: said for said in kept}
        # What was settled with a human is no business of the agent any more.
        last = await self._store.newest_handover(turn.conversation.id)
        settled = last.ended_at or 0.0 if last is not None and last.state is HandoverState.CLOSED else 0.0
        return [known.get(said.ts, said) for said in past if float(said.ts) > settled]

    async def compose(self, turn: Turn, context: Sequence[ContextMessage], about_files: Mapping[str, str]) -> str:
        """What to send to Noxus. ``about_files`` has words for the agent about a file, by its id.

        Raises ``StoreError`` when the database is away; Slack being away costs names, not the question.
        """
        name_author = turn.conversation.is_shared
        if not name_author:
            others = any(said.user_id != turn.user_id for said in context if not said.from_agent)
            name_author = others or await self._store.speakers(turn.conversation.id) > 1
            if name_author:
                await self._store.mark_shared(turn.conversation.id)
        team_id = turn.thread.team_id
        me = self._identity(team_id)
        bot_user_id = me.user_id if me else ""
        wanted = who_and_where(turn, context, bot_user_id=bot_user_id, name_author=name_author)
        people = await self._chat.people(team_id, wanted.users) if wanted.users else {}
        channels = await self._chat.channel_names(team_id, wanted.channels) if wanted.channels else {}
        return content(
            turn,
            context,
            people={user_id: person.name for user_id, person in people.items()},
            channels=channels,
            bot_user_id=bot_user_id,
            name_author=name_author,
            about_files=about_files,
        )

    async def _history(self, turn: Turn) -> list[ContextMessage] | None:
        """The thread as Slack has it; None when it may not or cannot be read, which must not cost the answer."""
        if not self._thread_context:
            return None
        try:
            async with asyncio.timeout(HISTORY_SECONDS):
                return await self._chat.history(turn.thread, before_ts=turn.ts, limit=CONTEXT_MESSAGES)
        except (ChatError, TimeoutError) as error:
            log.warning(
                "history.unread", extra={"turn": turn.id, "slack_thread": str(turn.thread), "error": str(error)}
            )
            return None
