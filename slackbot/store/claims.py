"""Which turn may run next, and who holds it. One running question per thread, oldest ``ts`` first."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Double, Row, ScalarSelect, and_, bindparam, case, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.orm import aliased
from sqlalchemy.sql.dml import ReturningUpdate

from slackbot.domain import (
    Notice,
    Turn,
    TurnKind,
    TurnState,
)
from slackbot.store import rows
from slackbot.store.engine import Database
from slackbot.store.models import (
    ConversationRow,
    HandoverRow,
    TurnRow,
    epoch_now,
    is_open,
    is_ordered,
    is_pending,
    is_queued,
    is_relay,
    is_running,
    is_speaking,
)

_RACES = 5
"""Lost races in a row after which a claim comes back with nothing; the next poll tries again."""


async def claim(database: Database, owner: str, lease_seconds: float, limit: int) -> list[Turn]:
    """Take the next ``limit`` turns that may run, abandoned ones first, in one transaction."""
    for _ in range(_RACES):
        try:
            async with database.writing() as connection:
                turns: list[Turn] = []
                while len(turns) < limit and (turn := await _take(connection, owner, lease_seconds)):
                    turns.append(turn)
                return turns
        except IntegrityError:
            # Between our look and our update another replica started a turn of the same thread. One by one, a
            # further race costs less.
            limit = 1
    return []


async def _take(connection: AsyncConnection, owner: str, lease_seconds: float) -> Turn | None:
    for take in _TAKE:
        taken = await connection.execute(take, {"owner_name": owner, "lease_seconds": lease_seconds})
        if (turn_id := taken.scalar_one_or_none()) is not None:
            return _turn((await connection.execute(_LOAD, {"turn_id": turn_id})).one())
    return None


def _abandoned() -> ScalarSelect[int]:
    """A running turn whose owner has not renewed in time."""
    turn = aliased(TurnRow)
    return (
        select(turn.id)
        .where(is_running(turn), turn.lease_until <= epoch_now())
        .order_by(turn.lease_until)
        .limit(1)
        .with_for_update(skip_locked=True)
        .scalar_subquery()
    )


def _next_queued() -> ScalarSelect[int]:
    """The first accepted turn that has to wait for no other one of its thread.

    An older one of the thread counts even when it may not start yet: a postponed question keeps its place.
    """
    turn, other = aliased(TurnRow), aliased(TurnRow)
    for_agent = turn.kind != TurnKind.RELAY.value
    here = other.conversation_id == turn.conversation_id
    beside = and_(here, is_ordered(other))
    relayed = and_(here, is_relay(other), is_pending(other))
    # Not NOT EXISTS, which PostgreSQL may answer by reading every running turn first.
    waits_for = (
        # People wait for the agent's words; not for it to settle afterwards.
        select(other.id).where(beside, is_running(other), or_(for_agent, is_speaking(other))),
        select(other.id).where(beside, is_queued(other), other.ts < turn.ts, for_agent),
        select(other.id).where(relayed, or_(other.ts < turn.ts, other.state == TurnState.RUNNING.value)),
        # One that was stopped has only to end visibly.
        select(HandoverRow.id).where(
            HandoverRow.conversation_id == turn.conversation_id,
            is_open(HandoverRow),
            for_agent,
            turn.stopped_by.is_(None),
        ),
        select(ConversationRow.id).where(
            ConversationRow.id == turn.conversation_id, ConversationRow.held_until > epoch_now(), for_agent
        ),
    )
    free = [found.correlate(turn).limit(1).scalar_subquery().is_(None) for found in waits_for]
    return (
        select(turn.id)
        .where(
            is_queued(turn),
            turn.available_at <= epoch_now(),
            or_(turn.kind == TurnKind.NOTICE.value, and_(*free)),
        )
        .order_by(turn.id)
        .limit(1)
        .with_for_update(skip_locked=True)
        .scalar_subquery()
    )


def _taking(candidate: ScalarSelect[int]) -> ReturningUpdate[int]:
    crashed = is_running(TurnRow) & TurnRow.submitted_at.is_(None)
    return (
        update(TurnRow)
        .where(TurnRow.id == candidate)
        .values(
            state=TurnState.RUNNING.value,
            owner=bindparam("owner_name"),
            lease_until=epoch_now() + bindparam("lease_seconds", type_=Double),
            # Whoever takes it reads its newest words.
            again=False,
            attempt=case((crashed, TurnRow.attempt + 1), else_=TurnRow.attempt),
        )
        .returning(TurnRow.id)
    )


# Built once: building them takes longer than running them.
_TAKE = (_taking(_abandoned()), _taking(_next_queued()))
_LOAD = (
    select(
        TurnRow.id,
        TurnRow.kind,
        TurnRow.ts,
        TurnRow.user_id,
        TurnRow.text,
        TurnRow.attachments,
        TurnRow.notice,
        TurnRow.is_reply,
        TurnRow.attempt,
        TurnRow.submitted_at,
        TurnRow.accepted_at,
        TurnRow.waited,
        TurnRow.stopped_by,
        TurnRow.shown_at,
        TurnRow.error,
        TurnRow.handover_id,
        TurnRow.from_operator,
        *rows.CONVERSATION,
    )
    .join(ConversationRow, ConversationRow.id == TurnRow.conversation_id)
    .where(TurnRow.id == bindparam("turn_id"))
)


def _turn(row: Row[*tuple[Any, ...]]) -> Turn:
    return Turn(
        id=row.id,
        conversation=rows.conversation(row),
        kind=TurnKind(row.kind),
        ts=row.ts,
        user_id=row.user_id,
        text=row.text or "",
        attachments=rows.attachments(row.attachments),
        notice=Notice(row.notice) if row.notice else None,
        is_reply=row.is_reply,
        attempt=row.attempt,
        submitted=row.submitted_at is not None,
        accepted_at=row.accepted_at,
        waited=row.waited,
        stopped_by=row.stopped_by,
        shown=row.shown_at is not None,
        ending=row.error or "",
        handover_id=row.handover_id,
        from_operator=row.from_operator,
    )
