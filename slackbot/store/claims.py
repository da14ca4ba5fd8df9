"""Which turn may run next, and who holds it. One running question per thread, oldest ``ts`` first."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from sqlalchemy import ColumnElement, Connection, Double, Row, ScalarSelect, bindparam, case, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import aliased
from sqlalchemy.sql.dml import ReturningUpdate

from slackbot.domain import (
    Notice,
    Turn,
    TurnKind,
    TurnState,
)
from slackbot.leases import now
from slackbot.store import rows
from slackbot.store.ahead import bring_nearer
from slackbot.store.engine import Database
from slackbot.store.lanes import Load, Rotation, Walk, first_of_lane, look_again
from slackbot.store.models import ConversationRow, TurnRow, epoch_now, is_running
from slackbot.store.values import Bounds

_TRANSACTIONS = 10
"""After so many lost races, or so much that has to wait, a claim comes back with nothing; the next poll goes on."""

_NEARER_SECONDS = 60.0
"""So often it is seen to that nothing waits because the clock was set back."""


class Claims:
    """Takes turns for one process. Those that wait are served in turn, whoever has more of them."""

    def __init__(self, database: Database, bounds: Bounds) -> None:
        self._database = database
        self._bounds = bounds
        self._rotations = {brief: Rotation() for brief in (False, True)}
        self._brief_first = False
        self._nearer_at = float("-inf")

    async def claim(self, owner: str, lease_seconds: float, limit: int, at_work: Collection[int]) -> list[Turn]:
        """Take the next ``limit`` turns that may run, abandoned ones first, in one transaction; of those the owner is
        ``at_work`` on only what has been queued anew.

        Replicas that claim at the same moment do not see each other: then a bound may be passed by what one took.
        """
        if now() >= self._nearer_at:
            # Before that, as nothing may keep a claim waiting twice.
            self._nearer_at = now() + _NEARER_SECONDS
            if await self._database.transact(bring_nearer):
                self._nearer_at = now()
        for _ in range(_TRANSACTIONS):
            try:
                turns, unfinished = await self._transaction(owner, lease_seconds, limit, at_work)
            except IntegrityError:
                # Between our look and our update another replica started a turn of the same thread. One by one, a
                # further race costs less.
                limit = 1
                continue
            if turns or not unfinished:
                return turns
        return []

    async def _transaction(
        self, owner: str, lease_seconds: float, limit: int, at_work: Collection[int]
    ) -> tuple[list[Turn], bool]:
        def work(connection: Connection) -> tuple[list[Turn], bool]:
            return self._take(connection, {"owner_name": owner, "lease_seconds": lease_seconds}, limit, at_work)

        return await self._database.transact(work)

    def _take(
        self, connection: Connection, held: dict[str, Any], limit: int, at_work: Collection[int]
    ) -> tuple[list[Turn], bool]:
        """The turns, and whether there may be more than could be looked at."""
        taken: list[int] = []
        abandoned = {**held, "at_work": sorted(at_work)}
        while len(taken) < limit and (turn_id := connection.execute(_TAKE_ABANDONED, abandoned).scalar_one_or_none()):
            taken.append(turn_id)
        unfinished = False
        if len(taken) < limit:
            look_again(connection)
            load = Load(connection, self._bounds)
            walks = [
                Walk(connection, self._rotations[brief], load, _TAKE[brief], held, brief=brief)
                for brief in (False, True)
            ]
            if self._brief_first:
                walks.reverse()
            while walks and len(taken) < limit:
                # Questions and what is brief by turns, too.
                walk = walks.pop(0)
                if (turn_id := walk.next()) is not None:
                    taken.append(turn_id)
                    walks.append(walk)
                unfinished = unfinished or walk.unfinished
            self._brief_first = not self._brief_first
        found = {row.id: _turn(row) for row in connection.execute(_LOAD, {"turn_ids": taken})} if taken else {}
        return [found[turn_id] for turn_id in taken], unfinished


def _abandoned() -> ScalarSelect[int]:
    """A running turn whose owner has not renewed in time, and that is none of those we run ourselves."""
    turn = aliased(TurnRow)
    return (
        select(turn.id)
        .where(
            is_running(turn),
            turn.lease_until <= epoch_now(),
            turn.id.not_in(bindparam("at_work", expanding=True)),
        )
        .order_by(turn.lease_until)
        .limit(1)
        .with_for_update(skip_locked=True)
        .scalar_subquery()
    )


def _taking(turn: ColumnElement[bool]) -> ReturningUpdate[int]:
    crashed = is_running(TurnRow) & TurnRow.submitted_at.is_(None)
    return (
        update(TurnRow)
        .where(turn)
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
_TAKE_ABANDONED = _taking(TurnRow.id == _abandoned())
_TAKE = {brief: _taking(first_of_lane(brief=brief)) for brief in (False, True)}
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
        TurnRow.echoes_at,
        TurnRow.handover_id,
        TurnRow.from_operator,
        *rows.CONVERSATION,
    )
    .join(ConversationRow, ConversationRow.id == TurnRow.conversation_id)
    .where(TurnRow.id.in_(bindparam("turn_ids", expanding=True)))
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
        echoes=row.echoes_at is not None,
        handover_id=row.handover_id,
        from_operator=row.from_operator,
    )
