"""Use case: take in what Slack delivers. Decide and persist in one transaction, then wake the worker."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import assert_never

from slackbot.domain import (
    FLAT_ROOT,
    Arrived,
    BotIdentity,
    Button,
    ChannelKind,
    HandoverPress,
    HandoverReason,
    InboundMessage,
    MessageDeleted,
    MessageEdited,
    Press,
    SessionStopped,
    ThreadKey,
    ThreadPress,
)
from slackbot.errands import Errands
from slackbot.handover import Handovers
from slackbot.marks import Marks
from slackbot.ports import Chat
from slackbot.routing import (
    CallHuman,
    DmMode,
    Ignore,
    KeepAsContext,
    Order,
    Rules,
    ThreadFacts,
    decide,
    not_for_us,
    thread_of,
)
from slackbot.store import Changed, Pressed, Store
from slackbot.text.inbound import without_mention

log = logging.getLogger(__name__)

RECORDING_SECONDS, RECORDING_PAUSE = 1.8, 0.2
"""People see the sentence with Retry before its failure is recorded, and may be quick. Slack waits 3 s for us."""

WAITING = "I am still busy with an earlier message. Yours is answered after it."
THANKS = "Thank you, I noted that. Press the other thumb if you change your mind."
UNKNOWN_TURN = "I no longer know this question. Please ask it again."
REFUSALS = {
    (Button.RETRY, Pressed.TOO_LATE): "This one is already being answered.",
    (Button.RETRY, Pressed.WAITS): "I am still busy with another message here. This one is tried again after it.",
    (Button.RETRY, Pressed.NOT_ASKER): "Only the person who asked can try this again.",
    (Button.RETRY, Pressed.HANDED_OVER): "A human looks after this now, so I leave it to them.",
    (Button.STOP, Pressed.TOO_LATE): "This answer is over already.",
    (Button.STOP, Pressed.NOT_ASKER): "Only the person who asked can stop this.",
}


class Intake:
    """Accepts what Slack delivers. A method that returns has committed; one that raises has stored nothing.

    ``wake`` tells the worker to look for turns, ``room`` how many more it may run; ``stop`` ends an answer that runs
    in this process, for a person.
    """

    def __init__(  # noqa: PLR0913 - what it is connected with, by name
        self,
        store: Store,
        chat: Chat,
        rules: Rules,
        *,
        handovers: Handovers,
        errands: Errands,
        marks: Marks,
        identity: Callable[[str], BotIdentity | None],
        wake: Callable[[], None],
        room: Callable[[], int],
        stop: Callable[[int, str], None],
    ) -> None:
        self._store = store
        self._chat = chat
        self._rules = rules
        self._handovers = handovers
        self._errands = errands
        self._marks = marks
        self._identity = identity
        self._wake = wake
        self._room = room
        self._stop = stop
        self._retried: dict[int, float] = {}

    async def take(self, arrived: Arrived) -> None:
        """Store what this asks for. Raises ``StoreError`` when the database cannot take it."""
        match arrived:
            case InboundMessage():
                await self.message(arrived)
            case Press():
                await self.press(arrived)
            case HandoverPress():
                await self._handovers.press(arrived)
            case ThreadPress():
                await self._handovers.choose(arrived, self._place(arrived), _kind(arrived.channel_id))
            case SessionStopped():
                await self._session_stopped(arrived)
            case MessageEdited():
                outcome = Changed.TOO_LATE if self._is_bare(arrived) else await self._store.edit_message(arrived)
                self._amended("message.edited", arrived, outcome)
            case MessageDeleted():
                outcome = await self._store.drop_message(arrived)
                self._amended("message.deleted", arrived, outcome)
            case _:
                assert_never(arrived)

    async def message(self, message: InboundMessage) -> None:
        """Store what the message asks for. Raises ``StoreError`` when the database cannot take it."""
        ids = _ids(message) | {"event": message.event_id}
        me = self._identity(message.team_id)
        if me is None:
            log.warning("message.ignored", extra={**ids, "reason": "not installed in this team"})
            return
        if ignored := not_for_us(message, me, self._rules):
            log.info("message.ignored", extra={**ids, "reason": ignored.reason})
            return
        if await self._handovers.relayed(message):
            self._wake()
            return
        thread = thread_of(message, self._rules)
        room = self._room()
        accepted = await self._store.accept(
            message, thread, lambda facts: decide(message, facts, me, self._rules, room=room)
        )
        if accepted.duplicate:
            log.info("message.ignored", extra={**ids, "reason": "already accepted"})
            await self._deal_again(message, thread, me, accepted.turn_id)
            return
        if isinstance(accepted.decision, Ignore):
            log.info("message.ignored", extra={**ids, "reason": accepted.decision.reason})
            return
        if isinstance(accepted.decision, CallHuman | Order):
            await self._deal(accepted.decision, message, thread)
            return
        log.info(
            "message.accepted",
            extra={**ids, "turn": accepted.turn_id, "decision": type(accepted.decision).__name__},
        )
        self._wake()
        if isinstance(accepted.decision, KeepAsContext) and message.channel_kind is not ChannelKind.DM:
            during = accepted.decision.handover_id
            self._errands.later("operator", lambda: self._handovers.operator_wrote(message, thread, during))
        if accepted.waiting and accepted.turn_id is not None:
            self._mark(thread, message, accepted.turn_id)

    async def _deal(self, decision: CallHuman | Order, message: InboundMessage, thread: ThreadKey) -> None:
        """Do what a message says about who has the thread."""
        if isinstance(decision, CallHuman):
            kind, author = message.channel_kind, message.user_id
            await self._handovers.called(thread, kind, decision.reason, author, key=_call(message))
        else:
            await self._handovers.ordered(thread, decision.move, message)

    async def _deal_again(
        self, message: InboundMessage, thread: ThreadKey, me: BotIdentity, turn_id: int | None
    ) -> None:
        """A call for a human, or an order, that was stored may not have been heard: the process can die in between.
        Heard twice it counts once."""
        about = await self._store.ordered_handover(turn_id) if turn_id is not None else None
        decision = decide(message, ThreadFacts(handover=about), me, self._rules)
        if isinstance(decision, Order):
            await self._handovers.ordered(thread, decision.move, message, again=about)
        elif isinstance(decision, CallHuman) and self._handovers.can_call(message.channel_kind):
            await self._handovers.ask(
                thread,
                message.channel_kind,
                reason=decision.reason,
                actor_id=message.user_id,
                asker_id=message.user_id,
                key=_call(message),
            )

    async def press(self, press: Press) -> None:
        """Do what the button is for, if this person may. Raises ``StoreError`` when the database cannot take it."""
        if press.button is Button.HUMAN:
            place, kind = self._place(press), _kind(press.channel_id)
            key = f"turn {press.turn_id}"
            await self._handovers.called(place, kind, HandoverReason.USER, press.user_id, key=key)
            return
        turn = (press.turn_id, press.team_id, press.channel_id, press.user_id)
        match press.button:
            case Button.RETRY:
                outcome = await self._retry(press)
            case Button.STOP:
                outcome = await self._store.request_stop(*turn)
                if outcome is Pressed.NOT_ASKER and await self._is_operator(press):
                    outcome = await self._store.request_stop(*turn, operator=True)
            case _:
                known = await self._store.rate(*turn, good=press.button is Button.GOOD)
                outcome = Pressed.DONE if known else Pressed.UNKNOWN
        log.info(
            "button.pressed",
            extra={
                "button": press.button.value,
                "turn": press.turn_id,
                "user": press.user_id,
                "outcome": outcome.value,
            },
        )
        thread = ThreadKey(press.team_id, press.channel_id, press.thread_ts or "")
        if outcome is not Pressed.DONE:
            self._whisper(thread, press.user_id, REFUSALS.get((press.button, outcome), UNKNOWN_TURN))
        elif press.button is Button.RETRY:
            self._wake()
        elif press.button is Button.STOP:
            self._stop(press.turn_id, press.user_id)
        else:
            self._whisper(thread, press.user_id, THANKS)

    async def _retry(self, press: Press) -> Pressed:
        clock = asyncio.get_running_loop().time
        until = clock() + RECORDING_SECONDS
        turn = (press.turn_id, press.team_id, press.channel_id, press.user_id)
        operator, twice = False, self._was_retried(press.turn_id)
        while True:
            runs = await self._store.still_running([press.turn_id])
            outcome = await self._store.retry(*turn, operator=operator)
            if outcome is Pressed.NOT_ASKER and not operator and await self._is_operator(press):
                operator = True
                continue
            if outcome is not Pressed.TOO_LATE or not runs or twice or clock() > until:
                break
            await asyncio.sleep(RECORDING_PAUSE)
            if self._was_retried(press.turn_id):
                break
        if outcome in (Pressed.DONE, Pressed.WAITS):
            # Who presses twice wants one answer, also when the next try fails at once.
            lately = {turn_id: end for turn_id, end in self._retried.items() if clock() < end}
            self._retried = lately | {press.turn_id: clock() + 2 * RECORDING_SECONDS}
        return outcome

    def _was_retried(self, turn_id: int) -> bool:
        return asyncio.get_running_loop().time() < self._retried.get(turn_id, 0.0)

    async def _session_stopped(self, stopped: SessionStopped) -> None:
        thread = ThreadKey(stopped.team_id, stopped.channel_id, stopped.thread_ts)
        outcome, turn_id = await self._store.request_stop_in(thread, stopped.user_id)
        if outcome is Pressed.NOT_ASKER and await self._is_operator(stopped):
            outcome, turn_id = await self._store.request_stop_in(thread, stopped.user_id, operator=True)
        log.info(
            "session.stopped",
            extra={
                "slack_thread": str(thread),
                "turn": turn_id or "",
                "user": stopped.user_id,
                "outcome": outcome.value,
            },
        )
        if outcome is Pressed.DONE and turn_id is not None:
            self._stop(turn_id, stopped.user_id)
        elif outcome is Pressed.NOT_ASKER:
            self._whisper(thread, stopped.user_id, REFUSALS[Button.STOP, outcome])

    async def _is_operator(self, press: Press | SessionStopped) -> bool:
        return press.user_id in (await self._chat.operators(press.team_id) or ())

    def _is_bare(self, edited: MessageEdited) -> bool:
        """Whether nothing is left to ask. Then what was asked before stands."""
        me = self._identity(edited.team_id)
        words = without_mention(edited.text, me.user_id) if me else edited.text
        return not (words.strip() or edited.attachments)

    def _amended(self, event: str, message: MessageEdited | MessageDeleted, outcome: Changed) -> None:
        log.info(event, extra=_ids(message) | {"outcome": outcome.value})
        if outcome is Changed.USED:
            # A claim passes over what is being changed at that moment.
            self._wake()

    def _place(self, press: Press | ThreadPress) -> ThreadKey:
        """The thread that a press is about."""
        flat = self._rules.dm_mode is DmMode.FLAT and _kind(press.channel_id) is ChannelKind.DM
        return ThreadKey(press.team_id, press.channel_id, press.thread_ts or (FLAT_ROOT if flat else press.message_ts))

    # --- words and marks, outside the acknowledgement's time ---

    def _mark(self, thread: ThreadKey, message: InboundMessage, turn_id: int) -> None:
        """Show that the message waits: with a reaction where those are allowed, else in words to its author."""

        async def mark() -> None:
            if not await self._store.is_queued(turn_id):
                await self._store.unmarked(turn_id)
                return
            marked = await self._chat.mark_waiting(thread, message.ts)
            if marked is False:
                await self._store.unmarked(turn_id)
            if not marked:
                await self._chat.whisper(thread, message.user_id, WAITING)
            if marked is not False and not await self._store.is_queued(turn_id):
                # Its turn came while we were at it, and may have found no mark to take off.
                await self._marks.off(thread, message.ts, turn_id)

        self._errands.later("mark", mark)

    def _whisper(self, thread: ThreadKey, user_id: str, text: str) -> None:
        self._errands.later("note", lambda: self._chat.whisper(thread, user_id, text))


def _call(message: InboundMessage) -> str:
    """What tells one call for a human from another."""
    return f"message {message.ts}"


def _kind(channel_id: str) -> ChannelKind:
    """Presses do not say in what kind of channel they were made; direct messages are told by their ids."""
    return ChannelKind.DM if channel_id.startswith("D") else ChannelKind.CHANNEL


def _ids(about: InboundMessage | MessageEdited | MessageDeleted) -> dict[str, str]:
    return {"team": about.team_id, "channel": about.channel_id, "ts": about.ts}
