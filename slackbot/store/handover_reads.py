"""Questions about handovers: which there are, what became of them."""

from __future__ import annotations

from sqlalchemy import ColumnElement, and_, exists, func, select, true

from slackbot.domain import Handover, HandoverState, MessageRef, Move, ThreadKey, TurnKind
from slackbot.store import rows
from slackbot.store.models import ConversationRow, HandoverRow, SignalRow, TransitionRow, TurnRow, is_open
from slackbot.store.outbox import Outbox
from slackbot.store.values import HandoverRecord


class HandoverReads(Outbox):
    """The operations of the store that only look at handovers."""

    async def open_handover(self, thread: ThreadKey) -> Handover | None:
        """The thread's open handover."""
        return await self._find(rows.is_thread(thread) & is_open(HandoverRow))

    async def newest_handover(self, conversation_id: int) -> Handover | None:
        """The conversation's newest handover, open or not."""
        return await self._find(HandoverRow.conversation_id == conversation_id)

    async def handover(self, handover_id: int, team_id: str) -> Handover | None:
        """A handover of this team, open or not."""
        return await self._find(is_in_team(handover_id, team_id))

    async def handover_of_card(self, team_id: str, card: MessageRef) -> Handover | None:
        """The newest handover, open or not, that this message shows."""
        return await self._find(
            and_(
                HandoverRow.card_ts == card.ts,
                HandoverRow.card_channel_id == card.channel_id,
                ConversationRow.team_id == team_id,
            )
        )

    async def ordered_handover(self, turn_id: int) -> Handover | None:
        """The handover that this message gave an order about, if that is still open."""
        order = select(TurnRow.handover_id).where(TurnRow.id == turn_id, TurnRow.kind == TurnKind.CONTEXT.value)
        return await self._find(is_open(HandoverRow) & (HandoverRow.id == order.scalar_subquery()))

    async def in_human_hands(self) -> list[Handover]:
        """Those that an operator has."""
        held = is_open(HandoverRow) & (HandoverRow.state == HandoverState.HUMAN.value)
        return [rows.handover(row) for row in await self._database.read(rows.handovers(held))]

    async def hand_backs(self, conversation_id: int) -> int:
        """How often the agent was given this conversation back by hand."""
        of_conversation = HandoverRow.conversation_id == conversation_id
        [[count]] = await self._database.read(
            select(func.count())
            .select_from(TransitionRow)
            .join(HandoverRow, HandoverRow.id == TransitionRow.handover_id)
            .where(of_conversation, TransitionRow.move == Move.HAND_BACK.value)
        )
        return int(count)

    async def was_heeded(self, conversation_id: int, key: str) -> bool:
        """Whether this signal called somebody before, and that is over."""
        heeded = exists().where(SignalRow.conversation_id == conversation_id, SignalRow.key == key)
        is_on = exists().where(HandoverRow.conversation_id == conversation_id, is_open(HandoverRow))
        [[over]] = await self._database.read(select(heeded & ~is_on))
        return bool(over)

    async def handovers(
        self, since: float | None = None, limit: int | None = None, *, handover_id: int | None = None
    ) -> list[HandoverRecord]:
        """What was opened from ``since`` on (epoch seconds), newest first, at most ``limit``; or the one of that id."""
        wanted = and_(
            true() if since is None else HandoverRow.opened_at >= since,
            true() if handover_id is None else HandoverRow.id == handover_id,
        )
        newest_first = (HandoverRow.opened_at.desc(), HandoverRow.id.desc())
        listed = select(HandoverRow.id).where(wanted).order_by(*newest_first).limit(limit).subquery()
        async with self._database.reading() as connection:
            found = (await connection.execute(rows.handovers(wanted).order_by(*newest_first).limit(limit))).all()
            steps = await connection.execute(
                select(TransitionRow.__table__)
                .join(listed, listed.c.id == TransitionRow.handover_id)
                .order_by(TransitionRow.id)
            )
            taken = rows.steps(steps.all())
        return [HandoverRecord(rows.handover(row), taken.get(row.handover_id, ())) for row in found]

    async def _find(self, wanted: ColumnElement[bool]) -> Handover | None:
        found = await self._database.read(rows.handovers(wanted).order_by(HandoverRow.id.desc()).limit(1))
        return rows.handover(found[0]) if found else None


def is_in_team(handover_id: int, team_id: str) -> ColumnElement[bool]:
    """The handover of this id, unless it is another team's."""
    return and_(HandoverRow.id == handover_id, ConversationRow.team_id == team_id)
