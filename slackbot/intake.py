"""Use case: take a message in. Decide and persist in one transaction, then wake the worker."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass

from slackbot.domain import BotIdentity, InboundMessage, RetryPressed, ThreadKey
from slackbot.errors import ChatError
from slackbot.ports import Chat
from slackbot.routing import Ignore, Rules, decide, not_for_us, thread_of
from slackbot.store import Retry, Store

log = logging.getLogger(__name__)

WAITING = "I am still busy with the message above. Yours is next in line."
NOT_ASKER = "Only the person who asked can try this again."
NOT_FAILED = "This one is already being answered."
UNKNOWN_TURN = "I no longer know this question. Please ask it again."
NOTES_KEPT = 1_000


@dataclass(frozen=True, slots=True)
class _Note:
    thread: ThreadKey
    user_id: str
    text: str


class Intake:
    """Accepts what Slack delivers. A method that returns has committed; one that raises has stored nothing."""

    def __init__(
        self,
        store: Store,
        chat: Chat,
        rules: Rules,
        *,
        identity: Callable[[str], BotIdentity | None],
        wake: Callable[[], None],
    ) -> None:
        self._store = store
        self._chat = chat
        self._rules = rules
        self._identity = identity
        self._wake = wake
        self._notes: asyncio.Queue[_Note] = asyncio.Queue(NOTES_KEPT)

    async def message(self, message: InboundMessage) -> None:
        """Store what the message asks for. Raises ``StoreError`` when the database cannot take it."""
        ids = {"team": message.team_id, "channel": message.channel_id, "ts": message.ts, "event": message.event_id}
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
        if accepted.waiting:
            self._note(thread, message.user_id, WAITING)

    async def retry(self, press: RetryPressed) -> None:
        """Queue a failed turn again, if this person may. Raises ``StoreError`` when the database cannot take it."""
        outcome = await self._store.retry(press.turn_id, press.team_id, press.channel_id, press.user_id)
        log.info("retry.pressed", extra={"turn": press.turn_id, "user": press.user_id, "outcome": outcome.name})
        thread = ThreadKey(press.team_id, press.channel_id, press.thread_ts or "")
        match outcome:
            case Retry.REQUEUED:
                self._wake()
            case Retry.NOT_FAILED:
                self._note(thread, press.user_id, NOT_FAILED)
            case Retry.NOT_ASKER:
                self._note(thread, press.user_id, NOT_ASKER)
            case Retry.UNKNOWN:
                self._note(thread, press.user_id, UNKNOWN_TURN)

    def _note(self, thread: ThreadKey, user_id: str, text: str) -> None:
        try:
            self._notes.put_nowait(_Note(thread, user_id, text))
        except asyncio.QueueFull:
            log.warning("note.dropped", extra={"slack_thread": str(thread), "user": user_id})

    async def run(self) -> None:
        """Deliver private notes, outside the acknowledgement's time, until cancelled."""
        while True:
            note = await self._notes.get()
            try:
                await self._chat.whisper(note.thread, note.user_id, note.text)
            except ChatError as error:
                log.info("note.failed", extra={"slack_thread": str(note.thread), "error": str(error)})
            except Exception as error:  # noqa: BLE001 - a note is not worth the process
                log.error("note.broke", extra={"slack_thread": str(note.thread), "error": type(error).__name__})
