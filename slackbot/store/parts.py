"""The messages that a reply left in Slack."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from sqlalchemy import ColumnElement, and_, delete, exists, literal, or_, select, update
from sqlalchemy.orm import aliased

from slackbot.domain import PartRecord, ThreadKey, TurnState
from slackbot.store.engine import Database
from slackbot.store.held import is_held
from slackbot.store.models import ConversationRow, PartRow, TurnRow, epoch_now, is_ordered, is_running

_DUE = TurnRow.id, TurnRow.echoes_at
ECHO_SECONDS = 259_200.0
"""What cannot be put right for so long, be it that nothing runs over a weekend, stays as it is."""


class Parts:
    """The operations of the store on the parts of replies, and on the marks of those who waited for one."""

    _database: Database

    async def record_part(self, turn_id: int, owner: str, part: PartRecord) -> bool:
        """Remember the Slack message that carries this part, in place of an earlier one. False when the turn is no
        longer the owner's."""
        values = {"index": part.index, "ts": part.ts, "placeholder": part.placeholder}
        insert = self._database.insert(PartRow).from_select(
            ["turn_id", *values],
            select(TurnRow.id, *(literal(value) for value in values.values())).where(is_held(turn_id, owner)),
        )
        recorded = await self._database.write(
            insert.on_conflict_do_update(
                index_elements=[PartRow.turn_id, PartRow.index],
                set_={"ts": part.ts, "placeholder": part.placeholder},
            ).returning(PartRow.id)
        )
        return bool(recorded)

    async def parts(self, turn_id: int) -> list[PartRecord]:
        """The parts of a reply, in order."""
        rows = await self._database.read(
            select(PartRow.index, PartRow.ts, PartRow.placeholder)
            .where(PartRow.turn_id == turn_id)
            .order_by(PartRow.index)
        )
        return [PartRecord(*row) for row in rows]

    async def look_again(self, turn_ids: Collection[int], seconds: float = 0.0) -> dict[int, float]:
        """Have the threads of these turns looked at in so many seconds, as those of a dead owner are: there may be
        something left that nobody else would change. Returns when, for those that nobody was to look at anyway;
        without ``seconds`` for all that were not due yet."""
        never = TurnRow.echoes_at.is_(None)
        idle = never if seconds else or_(never, TurnRow.echoes_at > epoch_now())
        found = update(TurnRow).where(TurnRow.id.in_(turn_ids), idle).values(echoes_at=epoch_now() + seconds)
        return {row.id: row.echoes_at for row in await self._database.write(found.returning(*_DUE))}

    async def take_echo(self, again_seconds: float) -> tuple[ThreadKey, int, float] | None:
        """A turn that has ended, and into whose thread a dead owner's last calls may have brought something, with that
        thread, in which nobody works. Until ``echoes_gone`` it comes again after ``again_seconds``, at the time that is
        returned."""
        due = TurnRow.echoes_at <= epoch_now()
        rows = await self._database.read(
            select(ConversationRow.team_id, ConversationRow.channel_id, ConversationRow.root_ts, TurnRow.id)
            .join(ConversationRow, ConversationRow.id == TurnRow.conversation_id)
            .where(due, TurnRow.finished_at > epoch_now() - ECHO_SECONDS, _rests())
            .order_by(TurnRow.echoes_at)
            .limit(1)
        )
        for row in rows:
            later = update(TurnRow).where(TurnRow.id == row.id, due).values(echoes_at=epoch_now() + again_seconds)
            if taken := await self._database.write(later.returning(*_DUE)):
                return ThreadKey(row.team_id, row.channel_id, row.root_ts), row.id, taken[0].echoes_at
        return None

    async def settled_parts(self, turn_id: int) -> list[PartRecord] | None:
        """The parts of a reply that has ended, in a thread in which nobody works; else None."""
        rows = await self._database.read(
            select(PartRow.index, PartRow.ts, PartRow.placeholder)
            .select_from(TurnRow)
            .outerjoin(PartRow, PartRow.turn_id == TurnRow.id)
            .where(TurnRow.id == turn_id, _rests())
        )
        return [PartRecord(*part) for part in rows if part.ts is not None] if rows else None

    async def echoes_gone(self, due: Mapping[int, float]) -> None:
        """Nothing is to be looked for in the threads of these turns any more, unless that was asked for anew: by then
        it is due at another time."""
        same = or_(*(and_(TurnRow.id == turn_id, TurnRow.echoes_at == at) for turn_id, at in due.items()))
        gone = update(TurnRow).where(same).values(echoes_at=None)
        await self._database.write(gone.returning(TurnRow.id))

    async def marks_left(self, seconds: float, newest: int = 10_000) -> list[tuple[ThreadKey, str, int]]:
        """The messages that waited until at most ``seconds`` ago and are not known to have lost their mark: each with
        its thread and its turn. Of all turns only the ``newest`` are looked at."""
        recent = select(TurnRow.id).order_by(TurnRow.id.desc()).limit(newest).subquery()
        rows = await self._database.read(
            select(ConversationRow.team_id, ConversationRow.channel_id, ConversationRow.root_ts, TurnRow.ts, TurnRow.id)
            .select_from(recent)
            .join(TurnRow, TurnRow.id == recent.c.id)
            .join(ConversationRow, ConversationRow.id == TurnRow.conversation_id)
            .where(TurnRow.waited, TurnRow.finished_at > epoch_now() - seconds)
        )
        return [(ThreadKey(row.team_id, row.channel_id, row.root_ts), row.ts, row.id) for row in rows]

    async def is_marked(self, turn_id: int) -> bool:
        """Whether the turn's message may still bear the mark of those who wait."""
        return bool(await self._database.read(select(TurnRow.id).where(TurnRow.id == turn_id, TurnRow.waited)))

    async def unmarked(self, turn_id: int) -> None:
        """Remember that there is no mark, or none any more."""
        gone = update(TurnRow).where(TurnRow.id == turn_id, TurnRow.waited).values(waited=False)
        await self._database.write(gone.returning(TurnRow.id))

    async def drop_parts(self, turn_id: int, owner: str, from_index: int) -> None:
        """Forget the parts from ``from_index`` on, if the turn is still the owner's."""
        held = exists().where(is_held(turn_id, owner))
        await self._database.write(delete(PartRow).where(PartRow.turn_id == turn_id, PartRow.index >= from_index, held))


def _rests() -> ColumnElement[bool]:
    """The turn has ended, and its thread has no other that runs."""
    other = aliased(TurnRow)
    works = exists().where(other.conversation_id == TurnRow.conversation_id, is_running(other), is_ordered(other))
    return and_(TurnRow.state.in_([TurnState.DONE.value, TurnState.FAILED.value]), ~works)
