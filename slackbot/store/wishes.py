"""What people do about a stored message: they edit and delete it, stop its answer, try again, rate it."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import ColumnElement, and_, case, exists, func, literal, select, true, update
from sqlalchemy.orm import aliased

from slackbot.domain import MessageDeleted, MessageEdited, ThreadKey, TurnKind, TurnState
from slackbot.store.acceptance import stored_attachments
from slackbot.store.engine import Database
from slackbot.store.lanes import wait_ended
from slackbot.store.models import (
    DELETED,
    ConversationRow,
    FeedbackRow,
    HandoverRow,
    PartRow,
    TurnRow,
    epoch_now,
    is_kept_context,
    is_open,
    is_ordered,
    is_queued,
    is_relay,
    is_running,
    is_speaking,
)
from slackbot.store.rows import is_thread
from slackbot.store.values import Changed, Feedback, Pressed

_UNSENT = is_queued(TurnRow) & TurnRow.submitted_at.is_(None)
_CONTEXT = is_kept_context(TurnRow) & ~is_relay(TurnRow)
_SHOW_AGAIN = {
    "again": is_running(TurnRow),
    "state": case((is_running(TurnRow), TurnRow.state), else_=TurnState.QUEUED.value),
    # Then whoever runs it looks for what the other side has of it already.
    "attempt": TurnRow.attempt + 1,
    "available_at": 0.0,
    "finished_at": None,
}


class Wishes:
    """The operations of the store that people ask for. Each is refused by the same statement that would do it: what
    happens meanwhile cannot come between."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def edit_message(self, edited: MessageEdited) -> Changed:
        """Use the new words, as long as they have not gone to the agent. What was relayed to people is so anew."""
        # A failed question has no answer yet: trying it again should ask what it says by then.
        failed = (TurnRow.state == TurnState.FAILED.value) & TurnRow.text.is_not(None)
        asked = (TurnRow.kind == TurnKind.ASK.value) & (_UNSENT | failed)
        words = {"text": edited.text, "attachments": stored_attachments(edited.attachments)}
        return await self._amend(edited, asked | _CONTEXT, words, words)

    async def drop_message(self, deleted: MessageDeleted) -> Changed:
        """Forget the message, as long as its turn has not begun: then it gets no answer. A relayed one is run again
        without words."""
        # One that is tried again may have a message in the thread already.
        unsaid = _UNSENT & ~exists().where(PartRow.turn_id == TurnRow.id) & ~is_relay(TurnRow)
        gone = {"error": DELETED, "text": None, "attachments": None}
        return await self._amend(deleted, unsaid | _CONTEXT, {**gone, **ended(TurnState.DONE)}, gone)

    async def _amend(
        self,
        message: MessageEdited | MessageDeleted,
        allowed: ColumnElement[bool],
        values: Mapping[str, object],
        relayed: Mapping[str, object],
    ) -> Changed:
        of_message = and_(
            TurnRow.ts == message.ts, TurnRow.channel_id == message.channel_id, TurnRow.team_id == message.team_id
        )
        # Most of what people change is none of our business, and does not queue up for the writer.
        found = await self._database.read(select(TurnRow.conversation_id).where(of_message))
        if not found:
            return Changed.UNKNOWN
        if await self._change(of_message & allowed, **values):
            await wait_ended(self._database, found[0].conversation_id)
            return Changed.USED
        # Whatever became of it: one that is being shown just now is shown once more.
        relay = of_message & is_relay(TurnRow)
        return Changed.USED if await self._change(relay, **relayed, **_SHOW_AGAIN) else Changed.TOO_LATE

    async def retry(
        self, turn_id: int, team_id: str, channel_id: str, user_id: str, *, operator: bool = False
    ) -> Pressed:
        """Queue a failed turn again, for whoever asked or an operator, unless a human has the thread. Two presses
        queue it once. WAITS: another question of the thread runs before it."""
        failed = TurnRow.state == TurnState.FAILED.value
        handed_over = exists().where(HandoverRow.conversation_id == TurnRow.conversation_id, is_open(HandoverRow))
        pressed = await self._press(
            _is_in(turn_id, team_id, channel_id),
            user_id,
            failed & ~handed_over,
            operator=operator,
            state=TurnState.QUEUED.value,
            attempt=TurnRow.attempt + 1,
            available_at=0.0,
            submitted_at=None,
            finished_at=None,
            error=None,
            stopped_by=None,
            shown_at=None,
        )
        if pressed is Pressed.TOO_LATE and await self._database.read(
            select(TurnRow.id).where(TurnRow.id == turn_id, failed, handed_over)
        ):
            return Pressed.HANDED_OVER
        if pressed is Pressed.DONE:
            other = aliased(TurnRow)
            running = and_(other.conversation_id == TurnRow.conversation_id, is_running(other), is_ordered(other))
            pair = select(other.id).join(TurnRow, running).where(TurnRow.id == turn_id, other.id != turn_id)
            return Pressed.WAITS if await self._database.read(pair) else pressed
        return pressed

    async def request_stop(
        self, turn_id: int, team_id: str, channel_id: str, user_id: str, *, operator: bool = False
    ) -> Pressed:
        """Note that whoever asked, or an operator, wants no more of the answer, while there is more of it to come."""
        goes_on = (is_queued(TurnRow) | is_running(TurnRow)) & is_speaking(TurnRow)
        return await self._press(
            _is_in(turn_id, team_id, channel_id),
            user_id,
            goes_on & (TurnRow.kind == TurnKind.ASK.value),
            operator=operator,
            stopped_by=func.coalesce(TurnRow.stopped_by, user_id),
            # One that waits for a human need not do so any longer.
            parked_until=epoch_now(),
        )

    async def request_stop_in(
        self, thread: ThreadKey, user_id: str, *, operator: bool = False
    ) -> tuple[Pressed, int | None]:
        """The same for the question of this thread that runs, and which one that is."""
        running = await self._database.read(
            select(TurnRow.id)
            .join(ConversationRow, ConversationRow.id == TurnRow.conversation_id)
            .where(
                is_thread(thread),
                is_running(TurnRow),
                is_ordered(TurnRow),
                TurnRow.kind == TurnKind.ASK.value,
            )
        )
        if not running:
            return Pressed.UNKNOWN, None
        [turn_id] = running[0]
        place = (thread.team_id, thread.channel_id)
        return await self.request_stop(turn_id, *place, user_id, operator=operator), turn_id

    async def _press(
        self, turn: ColumnElement[bool], user_id: str, allowed: ColumnElement[bool], *, operator: bool, **values: object
    ) -> Pressed:
        may = true() if operator else TurnRow.user_id == user_id
        if await self._change(and_(turn, may, allowed), **values):
            return Pressed.DONE
        askers = await self._database.read(select(TurnRow.user_id).where(turn))
        if not askers:
            return Pressed.UNKNOWN
        return Pressed.TOO_LATE if operator or askers[0].user_id == user_id else Pressed.NOT_ASKER

    async def rate(self, turn_id: int, team_id: str, channel_id: str, user_id: str, *, good: bool) -> bool:
        """Remember what somebody thinks of the answer, in place of what they thought before. False when there is no
        such turn in that channel."""
        turn = select(TurnRow.id, literal(user_id), literal(good), epoch_now())
        insert = self._database.insert(FeedbackRow).from_select(
            ["turn_id", "user_id", "good", "given_at"], turn.where(_is_in(turn_id, team_id, channel_id))
        )
        rated = await self._database.write(
            insert.on_conflict_do_update(
                index_elements=[FeedbackRow.turn_id, FeedbackRow.user_id],
                set_={"good": insert.excluded.good, "given_at": insert.excluded.given_at},
            ).returning(FeedbackRow.turn_id)
        )
        return bool(rated)

    async def feedback(self, since: float | None = None, limit: int | None = None) -> list[Feedback]:
        """What people think of answers, newest first: from ``since`` on (epoch seconds), at most ``limit``."""
        rows = await self._database.read(
            select(
                FeedbackRow.given_at,
                FeedbackRow.good,
                FeedbackRow.user_id,
                FeedbackRow.turn_id,
                ConversationRow.team_id,
                ConversationRow.channel_id,
                ConversationRow.root_ts,
                TurnRow.ts,
            )
            .join(TurnRow, TurnRow.id == FeedbackRow.turn_id)
            .join(ConversationRow, ConversationRow.id == TurnRow.conversation_id)
            .where(true() if since is None else FeedbackRow.given_at >= since)
            .order_by(FeedbackRow.given_at.desc(), FeedbackRow.turn_id.desc())
            .limit(limit)
        )
        return [
            Feedback(
                given_at=row.given_at,
                good=row.good,
                user_id=row.user_id,
                turn_id=row.turn_id,
                thread=ThreadKey(row.team_id, row.channel_id, row.root_ts),
                ts=row.ts,
            )
            for row in rows
        ]

    async def _change(self, condition: ColumnElement[bool], **values: object) -> bool:
        return bool(await self._database.write(update(TurnRow).where(condition).values(**values).returning(TurnRow.id)))


def _is_in(turn_id: int, team_id: str, channel_id: str) -> ColumnElement[bool]:
    return and_(TurnRow.id == turn_id, TurnRow.team_id == team_id, TurnRow.channel_id == channel_id)


def ended(state: TurnState) -> dict[str, object]:
    return {"state": state.value, "owner": None, "lease_until": None, "digest": None, "finished_at": epoch_now()}
