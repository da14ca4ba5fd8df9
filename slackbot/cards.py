"""The card with which operators find a handover, kept up to date."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Final

from slackbot.domain import (
    Body,
    Button,
    Card,
    ChannelKind,
    Handover,
    HandoverReason,
    HandoverState,
    MessageRef,
    PartRef,
    ThreadKey,
)
from slackbot.errors import ChatError, ThreadClosed
from slackbot.replies.tools import ReplyTools
from slackbot.store import Due, Store
from slackbot.text.inbound import entities, readable

log = logging.getLogger(__name__)

EDIT_PATIENCE: Final = 10.0
QUOTES: Final = 3
QUOTE_CHARS: Final = 250
END_OF_TIME: Final = "9999999999.000000"

_HEADINGS: Final = {
    HandoverState.REQUESTED: "{asker} needs a human",
    HandoverState.HUMAN: "{operator} helps {asker}",
    HandoverState.RETURNED: "{asker} is with the agent again",
    HandoverState.CLOSED: "Settled: {asker}",
}
_REASONS: Final = {
    HandoverReason.AGENT: "the agent asked for a human",
    HandoverReason.USER: "{asker} asked for a human",
    HandoverReason.FAILURE: "the agent failed, and {asker} asked for a human",
    HandoverReason.OPERATOR: "{operator} took over unasked",
    HandoverReason.MENTION: "{asker} called a colleague by name",
}
_BUTTONS: Final = {
    HandoverState.REQUESTED: (Button.CLAIM, Button.RESOLVE),
    HandoverState.HUMAN: (Button.HAND_BACK, Button.RESOLVE),
}


class Cards:
    """Shows cards on the operators' channel, or in the thread itself where ``channel_id`` is empty or unusable."""

    def __init__(
        self, store: Store, tools: ReplyTools, channel_id: str, agent_name: Callable[[], Awaitable[str]]
    ) -> None:
        self._store = store
        self._chat = tools.chat
        self._tools = tools
        self._channel_id = channel_id
        self._agent_name = agent_name

    async def show_card(self, due: Due, names: dict[str, str]) -> MessageRef | None:
        """The card as it stands now; None where there is no place for it."""
        handover = due.handover
        thread = handover.conversation.thread
        if handover.card is None and not handover.is_open:
            return None
        body = await self._card(handover, names)
        if handover.card is not None:
            if await self._edited(ThreadKey(thread.team_id, handover.card.channel_id, ""), handover.card.ts, body):
                return handover.card
            if not handover.is_open:
                return None
        places = [ThreadKey(thread.team_id, self._channel_id, "")] if self._channel_id else []
        if handover.conversation.channel_kind is not ChannelKind.DM and await self._chat.operators(thread.team_id):
            places.append(thread)
        for place in places:
            try:
                card = await self._post_card(place, due, body)
                await self._store.card_posted(handover.id, card)
                return card
            except ThreadClosed as error:
                seen = {"handover": handover.id, "channel": place.channel_id, "error": str(error)}
                log.error("handover.channel_unusable", extra={**seen, "set": "SLACKBOT_HANDOVER_CHANNEL"})
        return None

    async def _post_card(self, place: ThreadKey, due: Due, body: Body) -> MessageRef:
        number = -due.handover.id
        found = await self._chat.find_parts(place, number) if due.again and due.handover.card is None else []
        for part in found:
            if part.index == 0:
                return MessageRef(place.channel_id, part.ts)
        return MessageRef(place.channel_id, await self._chat.post(place, lambda: body, PartRef(number, 0)))

    async def _card(self, handover: Handover, names: dict[str, str]) -> Body:
        thread = handover.conversation.thread
        asker = names.get(handover.asker_id, handover.asker_id)
        operator = names.get(handover.operator_id or "", "Somebody")
        link = await self._chat.permalink(MessageRef(thread.channel_id, thread.root_ts), thread.team_id)
        private = handover.conversation.channel_kind is ChannelKind.DM
        rooms = {} if private else await self._chat.channel_names(thread.team_id, {thread.channel_id})
        room = f"#{rooms[thread.channel_id]}" if rooms else "a channel"
        facts = [
            ("Why", _REASONS[handover.reason].format(asker=asker, operator=operator)),
            ("Where", "a direct message" if private else room),
        ]
        if agent := await self._agent_name():
            facts.append(("Agent", agent))
        quotes = await self._exchange(handover) if handover.is_open else ()
        card = Card(
            _HEADINGS[handover.state].format(asker=asker, operator=operator),
            tuple(facts),
            quotes,
            handover.opened_at if handover.state is HandoverState.REQUESTED else None,
            link,
        )
        return Body(card=card, buttons=_BUTTONS.get(handover.state, ()), handover_id=handover.id)

    async def _exchange(self, handover: Handover) -> tuple[tuple[str, str], ...]:
        """What was said last, as Slack has it now: none of it is stored."""
        thread = handover.conversation.thread
        try:
            said = await self._chat.history(thread, before_ts=END_OF_TIME, limit=QUOTES)
        except ChatError as error:
            log.info("handover.unquoted", extra={"handover": handover.id, "error": str(error)})
            return ()
        named = [entities(message.text) for message in said]
        users = {message.user_id for message in said}.union(*(each.users for each in named)) - {""}
        people = {user: person.name for user, person in (await self._chat.people(thread.team_id, users)).items()}
        channels = frozenset[str]().union(*(each.channels for each in named))
        rooms = await self._chat.channel_names(thread.team_id, channels) if channels else {}
        quotes = []
        for message in said:
            who = "Agent" if message.from_agent else message.name or people[message.user_id]
            text = " ".join(readable(message.text, people=people, channels=rooms).split())
            files = ", ".join(file.name for file in message.attachments)
            text = f"{text} [{files}]".strip() if files else text
            quotes.append((who, text if len(text) <= QUOTE_CHARS else f"{text[: QUOTE_CHARS - 1]}…"))
        return tuple(quotes)

    async def _edited(self, place: ThreadKey, ts: str, body: Body) -> bool:
        """Bring the card up to date; False when it is gone."""
        why = "deleted"
        try:
            if await self._tools.edited(place, ts, body, patience=EDIT_PATIENCE):
                return True
        except ThreadClosed as error:
            why = str(error)
        log.warning("handover.card_gone", extra={"channel": place.channel_id, "ts": ts, "error": why})
        return False
