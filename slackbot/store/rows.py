"""What rows mean: the columns that make a conversation or a handover, and the values they are read into."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, and_, select

from slackbot.domain import (
    Attachment,
    ChannelKind,
    Conversation,
    Handover,
    HandoverReason,
    HandoverState,
    MessageRef,
    Move,
    ThreadKey,
    Transition,
)
from slackbot.store.models import ConversationRow, HandoverRow

CONVERSATION = (
    ConversationRow.id.label("conversation_id"),
    *(column for column in ConversationRow.__table__.columns if column.key not in {"id", "created_at", "held_until"}),
)
HANDOVER = (
    HandoverRow.id.label("handover_id"),
    HandoverRow.state.label("handover_state"),
    HandoverRow.reason,
    HandoverRow.asker_id,
    HandoverRow.operator_id,
    HandoverRow.opened_at,
    HandoverRow.claimed_at,
    HandoverRow.first_word_at,
    HandoverRow.ended_at,
    HandoverRow.card_channel_id,
    HandoverRow.card_ts,
)


def conversation(row: Row[*tuple[Any, ...]]) -> Conversation:
    return Conversation(
        id=row.conversation_id,
        thread=ThreadKey(row.team_id, row.channel_id, row.root_ts),
        channel_kind=ChannelKind(row.channel_kind),
        agent_conversation_id=row.agent_conversation_id,
        mention_only=row.mention_only,
        needs_past=row.needs_past,
        is_shared=row.is_shared,
        sent_files=frozenset(row.sent_files or ()),
        unread_told=row.unread_told,
    )


def handover(row: Row[*tuple[Any, ...]]) -> Handover:
    return Handover(
        id=row.handover_id,
        conversation=conversation(row),
        state=HandoverState(row.handover_state),
        reason=HandoverReason(row.reason),
        asker_id=row.asker_id,
        operator_id=row.operator_id,
        opened_at=row.opened_at,
        claimed_at=row.claimed_at,
        first_word_at=row.first_word_at,
        ended_at=row.ended_at,
        card=MessageRef(row.card_channel_id, row.card_ts) if row.card_ts else None,
    )


def attachments(stored: list[list[str]] | None) -> tuple[Attachment, ...]:
    return tuple(Attachment(file_id, name) for file_id, name in stored or ())


def is_thread(thread: ThreadKey) -> ColumnElement[bool]:
    """The conversation of this thread."""
    return and_(
        ConversationRow.team_id == thread.team_id,
        ConversationRow.channel_id == thread.channel_id,
        ConversationRow.root_ts == thread.root_ts,
    )


def handovers(wanted: ColumnElement[bool]) -> Select[*tuple[Any, ...]]:
    """What ``handover`` reads."""
    on = ConversationRow.id == HandoverRow.conversation_id
    return select(*HANDOVER, *CONVERSATION).join(ConversationRow, on).where(wanted)


def steps(found: Sequence[Row[*tuple[Any, ...]]]) -> dict[int, tuple[Transition, ...]]:
    """Steps, in their order, of several handovers."""
    taken: dict[int, tuple[Transition, ...]] = {}
    for row in found:
        before = HandoverState(row.before) if row.before else None
        step = Transition(row.id, Move(row.move), before, HandoverState(row.after), row.actor_id, row.at)
        taken[row.handover_id] = (*taken.get(row.handover_id, ()), step)
    return taken
