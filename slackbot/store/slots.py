"""Slack's limits on PostgreSQL, where all processes see them: a row for each call that may be made at a time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Double,
    Select,
    Text,
    Update,
    bindparam,
    delete,
    func,
    literal,
    literal_column,
    select,
    update,
)
from sqlalchemy.orm import aliased

from slackbot.budget import Key
from slackbot.store.engine import Database
from slackbot.store.models import PAUSE, SlotRow, TurnRow, epoch_now, is_ordered, is_running, is_speaking

LONGEST: Final = 600.0
"""No call counts, and no pause lasts, longer. More than that is a database clock that was set back."""
IDLE_SECONDS: Final = 3_600.0


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """What other processes do: their calls that count, each for so many seconds more; the seconds left of pauses that
    Slack gave them; how many replies they have open in each team; and who they are."""

    calls: dict[Key, list[float]] = field(default_factory=lambda: defaultdict(list))
    pauses: dict[Key, float] = field(default_factory=dict)
    replies: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    owners: set[str] = field(default_factory=set)


class Slots:
    """The calls of all processes; ``owner`` is the name of this one. By the database's clock alone.

    Methods raise ``StoreError`` when the database fails.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def take(self, key: Key, owner: str, calls: int, window: float, *, ago: float = 0.0) -> bool:
        """Take one of ``calls`` slots for the rest of its ``window``; False when there is none, or Slack wants a pause.

        Nobody waits here for anybody: of two that want the same row, the second takes the next one.
        """
        named = dict(zip(("team", "called", "channel"), key, strict=True))
        wanted: dict[str, Any] = {**named, "holder": owner, "calls": calls, "seconds": window, "ago": ago}
        if not (taken := await self._database.write(_TAKE, **wanted)):
            # The first time, and after a long rest, there are no rows yet; or somebody else is just making them.
            await self._add(key, calls)
            taken = await self._database.write(_TAKE, **wanted)
        return bool(taken)

    async def _add(self, key: Key, calls: int) -> None:
        slots = func.generate_series(0, calls - 1)
        rows = select(*(literal(name) for name in key), slots, epoch_now() - 1.0, literal(""))
        columns = [column.key for column in SlotRow.__table__.columns]
        await self._database.write(self._database.insert(SlotRow).from_select(columns, rows).on_conflict_do_nothing())

    async def pause(self, key: Key, owner: str, seconds: float) -> None:
        """Slack wants no such call of anybody for so long."""
        until = epoch_now() + min(seconds, LONGEST)
        await self._database.write(
            self._database.insert(SlotRow)
            .values(**key._asdict(), slot=PAUSE, until=until, owner=owner)
            .on_conflict_do_update(
                constraint="pk_slack_slots",
                set_={"until": until, "owner": owner},
                where=~SlotRow.until.between(until, epoch_now() + LONGEST),
            )
        )

    async def elsewhere(self, owner: str) -> Elsewhere:
        """What the other processes do."""
        found = Elsewhere()
        for *key, paused, holder, seconds in await self._database.read(_CALLS, holder=owner):
            found.owners.add(holder)
            if paused:
                found.pauses[Key(*key)] = max(seconds)
            else:
                found.calls[Key(*key)] += seconds
        for team, holder, count in await self._database.read(_REPLIES, holder=owner):
            found.owners.add(holder)
            found.replies[team] += count
        return found

    async def forget_idle(self) -> None:
        """Delete what nobody has used for long: most of it is about channels."""
        await self._database.write(delete(SlotRow).where(SlotRow.until < epoch_now() - IDLE_SECONDS))


# Made once: it takes longer to make such a statement than to run it.


def _take() -> Update:
    slot, pause = aliased(SlotRow), aliased(SlotRow)
    seconds = bindparam("seconds", type_=Double)
    paused = select(pause.slot).where(_is(pause, literal_column("''")), pause.slot == PAUSE, _counts(pause))
    free = (
        select(slot.slot)
        .where(
            _is(slot, bindparam("channel", type_=Text)),
            slot.slot >= 0,
            slot.slot < bindparam("calls"),
            # A call that counts for longer is one from before the database's clock was set back.
            ~slot.until.between(epoch_now(), epoch_now() + 2 * seconds),
            ~paused.exists(),
        )
        .limit(1)
        .with_for_update(skip_locked=True, of=slot)
    )
    return (
        update(SlotRow)
        .where(_is(SlotRow, bindparam("channel", type_=Text)), SlotRow.slot == free.scalar_subquery())
        .values(until=epoch_now() + seconds - bindparam("ago", type_=Double), owner=bindparam("holder"))
        .returning(SlotRow.slot)
    )


def _calls() -> Select[str, str, str, bool, str, Sequence[float]]:
    key, paused = (SlotRow.team_id, SlotRow.method, SlotRow.channel_id), SlotRow.slot == PAUSE
    return (
        select(*key, paused, SlotRow.owner, func.array_agg(SlotRow.until - epoch_now()))
        .where(_counts(SlotRow), SlotRow.owner != bindparam("holder"))
        .group_by(*key, paused, SlotRow.owner)
    )


def _replies() -> Select[str, str | None, int]:
    return (
        select(TurnRow.team_id, TurnRow.owner, func.count())
        .where(is_running(TurnRow), is_ordered(TurnRow), is_speaking(TurnRow), TurnRow.owner != bindparam("holder"))
        .group_by(TurnRow.team_id, TurnRow.owner)
    )


def _is(row: type[SlotRow], channel_id: ColumnElement[str]) -> ColumnElement[bool]:
    named = (row.team_id == bindparam("team", type_=Text)) & (row.method == bindparam("called", type_=Text))
    return named & (row.channel_id == channel_id)


def _counts(row: type[SlotRow]) -> ColumnElement[bool]:
    return (row.until > epoch_now()) & (row.until <= epoch_now() + LONGEST)


_TAKE: Final = _take()
_CALLS: Final = _calls()
_REPLIES: Final = _replies()
