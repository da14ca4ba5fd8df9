"""Use case: take in what Slack delivers. Decide and persist in one transaction, then wake the worker."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import assert_never

from slackbot.domain import (
    BotIdentity,
    Button,
    InboundMessage,
    MessageDeleted,
    MessageEdited,
    Press,
    SessionStopped,
    ThreadKey,
)
from slackbot.errands import Errands
from slackbot.ports import Chat
from slackbot.routing import Ignore, Rules, decide, not_for_us, thread_of
from slackbot.store import Changed, Pressed, Store

log = logging.getLogger(__name__)

WAITING = "I am still busy with the message above. Yours is next in line."
THANKS = "Thank you, I noted that. Press the other thumb if you change your mind."
UNKNOWN_TURN = "I no longer know this question. Please ask it again."
REFUSALS = {
    (Button.RETRY, Pressed.TOO_LATE): "This one is already being answered.",
    (Button.RETRY, Pressed.NOT_ASKER): "Only the person who asked can try this again.",
    (Button.STOP, Pressed.TOO_LATE): "This answer is already complete.",
    (Button.STOP, Pressed.NOT_ASKER): "Only the person who asked can stop this.",
}


class Intake:
    """Accepts what Slack delivers. A method that returns has committed; one that raises has stored nothing.

    ``wake`` tells the worker to look for turns, ``stop`` ends an answer that runs in this process, for a person.
    """

    def __init__(
        self,
        store: Store,
        chat: Chat,
        rules: Rules,
        *,
        errands: Errands,
        identity: Callable[[str], BotIdentity | None],
        wake: Callable[[], None],
        stop: Callable[[int, str], None],
    ) -> None:
        self._store = store
        self._chat = chat
        self._rules = rules
        self._errands = errands
        self._identity = identity
        self._wake = wake
        self._stop = stop

    async def take(self, arrived: InboundMessage | Press | SessionStopped | MessageEdited | MessageDeleted) -> None:
        """Store what this asks for. Raises ``StoreError`` when the database cannot take it."""
        match arrived:
            case InboundMessage():
                await self.message(arrived)
            case Press():
                await self.press(arrived)
            case SessionStopped():
                await self._session_stopped(arrived)
            case MessageEdited():
                outcome = await self._store.edit_message(arrived)
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
        thread = thread_of(message, self._rules)
        accepted = await self._store.accept(message, thread, lambda facts: decide(message, facts, me, self._rules))
        if accepted.duplicate:
            log.info("message.ignored", extra={**ids, "reason": "already accepted"})
            return
        if isinstance(accepted.decision, Ignore):
            log.info("message.ignored", extra={**ids, "reason": accepted.decision.reason})
            return
        log.info(
            "message.accepted",
            extra={**ids, "turn": accepted.turn_id, "decision": type(accepted.decision).__name__},
        )
        self._wake()
        if accepted.waiting and accepted.turn_id is not None:
            self._mark(thread, message, accepted.turn_id)

    async def press(self, press: Press) -> None:
        """Do what the button is for, if this person may. Raises ``StoreError`` when the database cannot take it."""
        place = (press.turn_id, press.team_id, press.channel_id, press.user_id)
        match press.button:
            case Button.RETRY:
                outcome = await self._store.retry(*place)
            case Button.STOP:
                outcome = await self._store.request_stop(*place)
            case _:
                known = await self._store.rate(*place, good=press.button is Button.GOOD)
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

    async def _session_stopped(self, stopped: SessionStopped) -> None:
        thread = ThreadKey(stopped.team_id, stopped.channel_id, stopped.thread_ts)
        outcome, turn_id = await self._store.request_stop_in(thread, stopped.user_id)
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

    def _amended(self, event: str, message: MessageEdited | MessageDeleted, outcome: Changed) -> None:
        log.info(event, extra=_ids(message) | {"outcome": outcome.value})
        if outcome is Changed.USED:
            # A claim passes over what is being changed at that moment.
            self._wake()

    # --- words and marks, outside the acknowledgement's time ---

    def _mark(self, thread: ThreadKey, message: InboundMessage, turn_id: int) -> None:
        """Show that the message waits: with a reaction where those are allowed, else in words to its author."""

        async def mark() -> None:
            if not await self._chat.mark_waiting(thread, message.ts):
                await self._chat.whisper(thread, message.user_id, WAITING)
            elif not await self._store.is_queued(turn_id):
                # Its turn came while we were at it, and may have found no mark to take off.
                await self._chat.unmark_waiting(thread, message.ts)

        self._errands.later("mark", mark)

    def _whisper(self, thread: ThreadKey, user_id: str, text: str) -> None:
        self._errands.later("note", lambda: self._chat.whisper(thread, user_id, text))


def _ids(about: InboundMessage | MessageEdited | MessageDeleted) -> dict[str, str]:
    return {"team": about.team_id, "channel": about.channel_id, "ts": about.ts}
