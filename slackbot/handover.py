"""Use case: a human is asked for, takes a thread, and gives it back. What people see of it is the desk's business."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from slackbot.domain import (
    Button,
    ChannelKind,
    Handover,
    HandoverPress,
    HandoverReason,
    HandoverState,
    InboundMessage,
    MessageRef,
    Move,
    ThreadKey,
    ThreadPress,
    Turn,
)
from slackbot.errands import Errands
from slackbot.ports import Chat
from slackbot.signals import HELD, Asked
from slackbot.store import Handed, Store, StoreError, Timers

log = logging.getLogger(__name__)

NOBODY = "Sorry, there is no human I could call from here. I will go on helping as well as I can."
UNKNOWN = "I no longer know this request. Please write in the thread."
NOT_OPERATOR = "Only the people who look after these requests can do that."
UNCHECKED = "I cannot see right now who may do that. Please try again in a moment."
NOT_ASKER = "Only the person who asked, or somebody who looks after these requests, can do that."
ALREADY_ASKED = "A human was asked already."
TAKEN = "{name} has this one already."
OVER = "This request is over already."
NOT_TAKEN = "Nobody has taken this one yet."
NOTHING_HERE = "I do not take part in this thread, so there is nothing to take over."
JUST_SAID = "All right, the agent goes on."

_MOVES: Final = {
    Button.HAND_BACK: Move.HAND_BACK,
    Button.RESOLVE: Move.RESOLVE,
    Button.CALL_OFF: Move.CALL_OFF,
}


@dataclass(frozen=True, slots=True)
class HandoverRules:
    """``channel_id`` is where operators are asked, empty: in the thread itself. ``asker_hands_back``: the asker may
    end a human's turn, too. ``hold_seconds``: how long the agent waits for an operator's answer to our question."""

    timers: Timers
    channel_id: str = ""
    asker_hands_back: bool = True
    hold_seconds: float = 60.0
    has_operators: bool = False
    """Whether the settings name operators besides that channel's members."""
    greets: bool = False
    """Whether the agent says a word by itself once it has a thread back."""

    def can_call(self, kind: ChannelKind) -> bool:
        """Whether a human can be called from here: nobody else can be in a bot's direct messages."""
        return bool(self.channel_id) or (self.has_operators and kind is not ChannelKind.DM)


class Handovers:
    """Every step is one transaction; ``wake`` makes the desk look at it now, ``stop`` ends an answer that runs here."""

    def __init__(
        self,
        store: Store,
        chat: Chat,
        rules: HandoverRules,
        *,
        errands: Errands,
        wake: Callable[[], None],
        stop: Callable[[int, str], None],
    ) -> None:
        self._store = store
        self._chat = chat
        self._rules = rules
        self._errands = errands
        self._wake = wake
        self._stop = stop

    def can_call(self, kind: ChannelKind) -> bool:
        """Whether a human can be called from such a place."""
        return self._rules.can_call(kind)

    # --- asking for a human

    async def ask(
        self,
        thread: ThreadKey,
        kind: ChannelKind,
        *,
        reason: HandoverReason,
        actor_id: str,
        asker_id: str,
        key: str,
    ) -> bool:
        """Ask for a human, once for each ``key``; False where nobody can be called. Raises ``StoreError``."""
        if not self._rules.can_call(kind):
            log.warning("handover.nowhere", extra={"slack_thread": str(thread), "set": "SLACKBOT_HANDOVER_CHANNEL"})
            return False
        handed = await self._store.ask_for_human(
            thread,
            kind,
            reason=reason,
            actor_id=actor_id,
            asker_id=asker_id,
            key=key,
            timers=self._rules.timers,
        )
        self._done("handover.asked", handed, actor_id)
        return True

    async def heard(self, turn: Turn, asked: Asked, agent_conversation_id: str | None) -> Asked | None:
        """What the agent's call for a human amounts to; None for one that was answered already. That Noxus goes on
        holding a conversation counts once, and once more whenever somebody has handed it back by hand."""
        conversation_id = turn.conversation.id
        try:
            if asked.why == HELD:
                backs = await self._store.hand_backs(conversation_id)
                asked = replace(asked, key=f"{HELD} {agent_conversation_id} {backs}")
            return None if await self._store.was_heeded(conversation_id, asked.key) else asked
        except StoreError as error:
            # Rather one call too many than an answer that breaks off here.
            log.error("handover.unheard_of", extra={"turn": turn.id, "error": str(error)})
            return asked

    # --- buttons, menus and words

    async def press(self, press: HandoverPress) -> None:
        """Do what the button of a card is for, if this person may. Raises ``StoreError``."""
        place = ThreadKey(press.team_id, press.channel_id, press.thread_ts or "")
        handover = await self._store.handover(press.handover_id, press.team_id)
        if handover is None:
            refused = UNKNOWN
        elif press.button is Button.CLAIM:
            refused = await self._claim(handover, press.user_id)
        else:
            refused = await self._end(handover, _MOVES[press.button], press.user_id)
        if refused:
            self._whisper(place, press.user_id, refused)

    async def choose(self, press: ThreadPress, thread: ThreadKey, kind: ChannelKind) -> None:
        """Do what somebody chose from a message's menu, or answered to our question. Raises ``StoreError``."""
        if press.button is Button.HUMAN:
            await self.called(thread, kind, HandoverReason.USER, press.user_id, key=f"menu {press.message_ts}")
        elif refused := await self._refused(press.user_id, press.team_id):
            self._whisper(thread, press.user_id, refused)
        elif press.button is Button.TAKE_OVER:
            handed = await self._store.take_over(thread, press.user_id, self._rules.timers)
            self._done("handover.taken", handed, press.user_id)
            if not handed.done:
                self._whisper(thread, press.user_id, await self._refusal(handed.handover, NOTHING_HERE))
        else:
            await self._store.release_hold(thread)
            self._whisper(thread, press.user_id, JUST_SAID)

    async def called(
        self, thread: ThreadKey, kind: ChannelKind, reason: HandoverReason, user_id: str, *, key: str
    ) -> None:
        """A user calls for a human, with a button, the menu or words."""
        if await self._store.open_handover(thread):
            self._whisper(thread, user_id, ALREADY_ASKED)
        elif not await self.ask(thread, kind, reason=reason, actor_id=user_id, asker_id=user_id, key=key):
            self._whisper(thread, user_id, NOBODY)

    async def ordered(
        self, thread: ThreadKey, move: Move, message: InboundMessage, *, again: Handover | None = None
    ) -> None:
        """Somebody wrote to us what a button would have said. ``again``: about this handover, and perhaps it was done
        already; then nobody is told why it is not."""
        handover = again or await self._store.open_handover(thread)
        if handover is None:
            return
        if move is Move.HAND_BACK and handover.state is HandoverState.REQUESTED:
            move = Move.CALL_OFF
        refused = await self._end(handover, move, message.user_id)
        if refused and not again:
            self._whisper(thread, message.user_id, refused)

    # --- operators who write

    async def operator_wrote(self, message: InboundMessage, thread: ThreadKey, during: int | None) -> None:
        """Somebody wrote in a channel's thread without addressing the agent. Of an operator that counts as a human's
        word ``during`` a handover; else they are asked once whether they take over, and the agent waits for that."""
        if await self._refused(message.user_id, message.team_id):
            return
        if during is not None:
            await self._store.operator_spoke(during, self._rules.timers)
        elif await self._store.hold(thread, message.user_id, self._rules.hold_seconds):
            buttons = (Button.TAKE_OVER, Button.JUST_SAY)
            words = "The agent answers in this thread. Do you take over, or did you just say something?"
            ask = self._chat.ask_privately
            self._errands.later("hold", lambda: ask(thread, message.user_id, words, buttons, message.ts))

    async def relayed(self, message: InboundMessage) -> bool:
        """Take in what somebody wrote in a card's thread; False when it is no card's thread."""
        if message.channel_id != self._rules.channel_id or message.thread_ts is None or not message.is_reply:
            return False
        card = MessageRef(message.channel_id, message.thread_ts)
        handover = await self._store.handover_of_card(message.team_id, card)
        if handover is None:
            return False
        ids = {"handover": handover.id, "ts": message.ts}
        private = handover.conversation.channel_kind is ChannelKind.DM
        if message.text.lstrip().startswith("//") or not private:
            log.info("handover.note", extra=ids)
        elif refused := await self._refused(message.user_id, message.team_id):
            self._whisper(ThreadKey(message.team_id, card.channel_id, card.ts), message.user_id, refused)
        elif handover.state is not HandoverState.HUMAN:
            words = OVER if not handover.is_open else NOT_TAKEN
            self._whisper(ThreadKey(message.team_id, card.channel_id, card.ts), message.user_id, words)
        else:
            await self._store.accept_relay(message, handover.id, from_operator=True)
            await self._store.operator_spoke(handover.id, self._rules.timers)
            log.info("handover.relayed", extra=ids)
        return True

    # --- one step

    async def _claim(self, handover: Handover, user_id: str) -> str:
        """Give the handover to this person; returns what to tell them when it is not done."""
        team_id = handover.conversation.thread.team_id
        if refused := await self._refused(user_id, team_id):
            return refused
        handed = await self._store.claim_handover(handover.id, team_id, user_id, self._rules.timers)
        self._done("handover.claimed", handed, user_id)
        return "" if handed.done else await self._refusal(handed.handover, UNKNOWN)

    async def _end(self, handover: Handover, move: Move, user_id: str) -> str:
        """End the handover for this person; returns what to tell them when it is not done."""
        team_id, asker = handover.conversation.thread.team_id, user_id == handover.asker_id
        may = asker if move is Move.CALL_OFF else asker and move is Move.HAND_BACK and self._rules.asker_hands_back
        words = NOT_OPERATOR if move is Move.RESOLVE else NOT_ASKER
        if not may and (refused := await self._refused(user_id, team_id, words)):
            return refused
        handed = await self._store.end_handover(handover.id, team_id, move, user_id)
        self._done("handover.ended", handed, user_id)
        return "" if handed.done else await self._refusal(handed.handover, UNKNOWN)

    async def _refused(self, user_id: str, team_id: str, words: str = NOT_OPERATOR) -> str:
        """What to tell somebody who is no operator, as far as is known; empty for operators."""
        operators = await self._chat.operators(team_id)
        if operators is None:
            return UNCHECKED
        return "" if user_id in operators else words

    def _done(self, event: str, handed: Handed, user_id: str) -> None:
        handover = handed.handover
        log.info(
            event,
            extra={
                "handover": handover.id if handover else "",
                "state": handover.state.value if handover else "",
                "user": user_id,
                "done": handed.done,
            },
        )
        if handed.done:
            self._wake()
            if handed.stop_turn is not None:
                self._stop(handed.stop_turn, user_id)

    async def _refusal(self, handover: Handover | None, otherwise: str) -> str:
        """Why nothing happened: how the handover stands."""
        if handover is None:
            return otherwise
        if handover.state is HandoverState.HUMAN and handover.operator_id:
            people = await self._chat.people(handover.conversation.thread.team_id, [handover.operator_id])
            return TAKEN.format(name=people[handover.operator_id].name)
        return NOT_TAKEN if handover.is_open else OVER

    def _whisper(self, place: ThreadKey, user_id: str, words: str) -> None:
        self._errands.later("note", lambda: self._chat.whisper(place, user_id, words))
