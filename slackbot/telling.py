"""The sentences with which a handover is told to those it is about."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from typing import Final

from slackbot.domain import (
    Body,
    Button,
    Handover,
    HandoverState,
    InboundMessage,
    MessageRef,
    Move,
    PartRef,
    ThreadKey,
    Transition,
)
from slackbot.errors import ChatError, ThreadClosed
from slackbot.handover import HandoverRules
from slackbot.marks import Marks
from slackbot.replies.tools import ReplyTools
from slackbot.routing import RunTurn
from slackbot.store import Due, Store

log = logging.getLogger(__name__)

POLL: Final = 2.0
SPARE_EDITS: Final = 20
GREET: Final = "(Your human colleague handed this conversation back to you. Greet the person in one short sentence.)"

_HISTORY: Final = {
    Move.ASK: "A human was asked for.",
    Move.CLAIM: "{actor} took over.",
    Move.TAKE_OVER: "{actor} took over.",
    Move.HAND_BACK: "{actor} handed the conversation back to the agent.",
    Move.RESOLVE: "{actor} marked this as settled.",
    Move.CALL_OFF: "{actor} no longer needs a human.",
    Move.GIVE_UP: "Nobody came in time: the agent has the conversation again.",
}
_TOLD: Final = {
    Move.ASK: "I have asked a human colleague to help. They will answer here; until then I stay silent{limit}. "
    "Write on if there is more to say.",
    Move.CLAIM: "{actor} is here now and goes on with you. I stay silent.",
    Move.TAKE_OVER: "{actor} is here now and goes on with you. I stay silent.",
    Move.HAND_BACK: "{actor} handed over to me again. I know what was said.",
    Move.RESOLVE: "{actor} marked this as settled. If there is anything else, just write.",
    Move.CALL_OFF: "All right, no human then. I am listening again.",
    Move.GIVE_UP: "Sorry, nobody was free to help. I am back and go on as well as I can.",
}
_LIMIT: Final = ", and if nobody comes within {minutes} minutes I go on myself"
_LOST: Final = "Sorry, my human colleague can no longer be reached from here. I am back, and I know what was said."
_LOST_HISTORY: Final = "{operator} can no longer be reached: the agent has the conversation again."
_MINUTE: Final = 60.0


class Telling:
    """Speaks in the asker's thread and below the card."""

    def __init__(self, store: Store, tools: ReplyTools, rules: HandoverRules, marks: Marks) -> None:
        self._store = store
        self._chat = tools.chat
        self._budget = tools.budget
        self._now = tools.now
        self._rules = rules
        self._marks = marks
        self._stale: asyncio.Queue[Handover] = asyncio.Queue()

    async def tell(self, due: Due, step: Transition, names: dict[str, str], card: MessageRef | None) -> None:
        """One step, in the asker's thread and in the card's, for operators; neither twice."""
        handover = due.handover
        thread = handover.conversation.thread
        actor, operator = names.get(step.actor_id, "Somebody"), names.get(handover.operator_id or "", "Somebody")
        waits = step.after is HandoverState.REQUESTED and handover.state is HandoverState.REQUESTED
        buttons = (Button.CALL_OFF,) if waits else ()
        if step.before is HandoverState.REQUESTED and due.untold[0].before is not None:
            self._stale.put_nowait(handover)
        if step.before is None:
            for ts, turn_id in await self._store.no_longer_waiting(handover.conversation.id):
                self._marks.off_later(thread, ts, turn_id)
        lost = step.move is Move.HAND_BACK and not step.actor_id
        words = Body(
            notice=_LOST if lost else _TOLD[step.move].format(actor=actor, limit=self._limit()),
            buttons=buttons,
            handover_id=handover.id if buttons else None,
        )
        ts = await self._say(thread, due, 2 * step.id + 1, words)
        if card is not None and card.channel_id != thread.channel_id:
            desk = ThreadKey(thread.team_id, card.channel_id, card.ts)
            history = (_LOST_HISTORY if lost else _HISTORY[step.move]).format(actor=actor, operator=operator)
            await self._say(desk, due, 2 * step.id, Body(notice=history))
        if step.move is Move.HAND_BACK and self._rules.greets and ts:
            await self._ask_for_greeting(handover, ts)

    def _limit(self) -> str:
        """When the agent goes on if nobody comes."""
        give_up = self._rules.timers.give_up
        return _LIMIT.format(minutes=round(give_up / _MINUTE)) if give_up >= _MINUTE else ""

    async def tidy(self, is_busy: Callable[[], bool]) -> None:
        """Wait for buttons with which nothing can be called off any more, and take them off once nothing else is to be
        shown."""
        handover = await self._stale.get()
        thread = handover.conversation.thread
        wait = POLL
        while wait:
            await asyncio.sleep(wait)
            take = partial(self._budget.take, thread.team_id, "chat.update", self._now(), keep=SPARE_EDITS)
            wait = POLL if is_busy() else take()
        try:
            said = [part for part in await self._chat.find_parts(thread, -handover.id) if part.index % 2]
            for first in sorted(said, key=lambda part: part.index)[:1]:
                await self._chat.edit(thread, first.ts, Body(notice=_TOLD[Move.ASK].format(limit=self._limit())))
        except ChatError as error:
            log.info("handover.untidied", extra={"handover": handover.id, "error": str(error)})

    async def _say(self, place: ThreadKey, due: Due, number: int, body: Body) -> str:
        about = -due.handover.id
        if due.again:
            said = {part.index: part.ts for part in await self._chat.find_parts(place, about)}
            if number in said:
                return said[number]
        return await self._post(place, due.handover, body, PartRef(about, number))

    async def _post(self, place: ThreadKey, handover: Handover, body: Body, part: PartRef | None = None) -> str:
        try:
            return await self._chat.post(place, lambda: body, part)
        except ThreadClosed as error:
            log.warning("handover.unheard", extra={"handover": handover.id, "where": str(place), "error": str(error)})
            return ""

    async def _ask_for_greeting(self, handover: Handover, ts: str) -> None:
        thread, kind = handover.conversation.thread, handover.conversation.channel_kind
        message = InboundMessage(
            thread.team_id, thread.channel_id, kind, ts, thread.root_ts or None, handover.asker_id, GREET
        )
        await self._store.accept(message, thread, lambda _facts: RunTurn())

    async def remind(self, handover: Handover, timer: str, names: dict[str, str], card: MessageRef | None) -> None:
        """What is due because ``timer`` has run out."""
        thread = handover.conversation.thread
        asker = names.get(handover.asker_id, "Somebody")
        apart = card is not None and card.channel_id != thread.channel_id
        desk = ThreadKey(thread.team_id, card.channel_id, card.ts) if card and apart else None
        log.info("handover.timer", extra={"handover": handover.id, "timer": timer})
        match timer:
            case "give_up":
                await self._store.end_handover(handover.id, thread.team_id, Move.GIVE_UP, "")
            case "remind":
                await self._post(desk or thread, handover, Body(notice=f"{asker} is still waiting for somebody."))
            case "nudge" if desk:
                await self._post(desk, handover, Body(notice=f"{asker} has not heard anything for a while."))
            case "nudge" if handover.operator_id:
                words = f"{asker} has not heard anything for a while."
                await self._chat.whisper(thread, handover.operator_id, words)
            case "offer":
                words = "It has been quiet for a while. Shall the agent go on?"
                body = Body(notice=words, buttons=(Button.HAND_BACK,), handover_id=handover.id)
                await self._post(desk or thread, handover, body)
