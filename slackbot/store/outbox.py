"""What of handovers has to be shown, and when: steps that nobody was told of yet, and timers."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from sqlalchemy import Connection, and_, case, func, or_, select, update

from slackbot.domain import HandoverState, MessageRef, TurnKind
from slackbot.store import rows
from slackbot.store.engine import Database
from slackbot.store.models import HandoverRow, TransitionRow, TurnRow, epoch_now
from slackbot.store.values import Due, Timers


class Outbox:
    """The operations of the store for whoever shows handovers. One that has something to show is held by one process
    at a time; whatever is not told as shown comes back."""

    _database: Database

    async def due_handovers(self, owner: str, lease_seconds: float, limit: int = 20) -> list[Due]:
        """Handovers with something to show, held by ``owner`` for ``lease_seconds`` or until ``handover_told``.

        The timers are ``remind``, ``give_up``, ``nudge`` and ``offer``. One that went off comes until it is told."""
        free = or_(HandoverRow.lease_until.is_(None), HandoverRow.lease_until <= epoch_now())
        due = and_(HandoverRow.wake_at <= epoch_now(), free)
        # Most of the time nothing is, and nobody has to queue up for the writer.
        if not await self._database.read(select(HandoverRow.id).where(due).limit(1)):
            return []
        timer = case((HandoverRow.due_at <= epoch_now(), HandoverRow.due), else_=None).label("timer")

        def take(connection: Connection) -> list[Due]:
            found = connection.execute(
                rows.handovers(due)
                .add_columns(timer, HandoverRow.owner.is_not(None).label("again"))
                .order_by(HandoverRow.wake_at)
                .limit(limit)
                .with_for_update(skip_locked=True, of=HandoverRow)
            )
            taken = found.all()
            ids = [row.handover_id for row in taken]
            held = {"owner": owner, "lease_until": epoch_now() + lease_seconds}
            connection.execute(update(HandoverRow).where(HandoverRow.id.in_(ids)).values(**held))
            steps = connection.execute(
                select(TransitionRow.__table__)
                .join(HandoverRow, HandoverRow.id == TransitionRow.handover_id)
                .where(TransitionRow.handover_id.in_(ids), TransitionRow.id > HandoverRow.told)
                .order_by(TransitionRow.id)
            )
            untold = rows.steps(steps.all())
            return [
                Due(rows.handover(row), untold.get(row.handover_id, ()), row.timer, bool(row.again)) for row in taken
            ]

        return await self._database.transact(take)

    async def hold_handovers(self, owner: str, handover_ids: Collection[int], lease_seconds: float) -> frozenset[int]:
        """Go on holding these for ``lease_seconds`` from now; returns those that are still the owner's."""
        held = await self._database.write(
            update(HandoverRow)
            .where(HandoverRow.id.in_(sorted(handover_ids)), HandoverRow.owner == owner)
            .values(lease_until=epoch_now() + lease_seconds)
            .returning(HandoverRow.id),
            urgently=True,
        )
        return frozenset(row.id for row in held)

    async def no_longer_waiting(self, conversation_id: int) -> list[tuple[str, int]]:
        """The messages of questions that became context while they waited, each with its turn: their mark comes off."""
        silenced = and_(TurnRow.conversation_id == conversation_id, TurnRow.kind == TurnKind.CONTEXT.value)
        waited = select(TurnRow.ts, TurnRow.id).where(silenced, TurnRow.waited)
        return [(row.ts, row.id) for row in await self._database.read(waited)]

    async def card_posted(self, handover_id: int, card: MessageRef) -> None:
        """Remember the card as soon as operators can write below it."""
        await self._database.write(
            update(HandoverRow)
            .where(HandoverRow.id == handover_id)
            .values(card_channel_id=card.channel_id, card_ts=card.ts)
            .returning(HandoverRow.id)
        )

    async def handover_told(
        self,
        handover_id: int,
        owner: str,
        upto: int,
        card: MessageRef | None,
        timer_done: str | None,
        timers: Timers,
    ) -> bool:
        """Let go of a handover whose steps up to the transition ``upto`` are shown. ``card`` is where, if that is new;
        ``timer_done`` makes way for the timer after it, except ``give_up``, which only the end of the handover stops.
        False when it is no longer the owner's: then nothing is noted."""

        def told_of(connection: Connection) -> bool:
            held = connection.execute(
                select(
                    HandoverRow.state,
                    HandoverRow.told,
                    HandoverRow.due,
                    HandoverRow.due_at,
                    (epoch_now() - HandoverRow.quiet_since).label("quiet"),
                    (HandoverRow.due_at <= epoch_now()).label("went_off"),
                )
                .where(HandoverRow.id == handover_id, HandoverRow.owner == owner)
                .with_for_update()
            )
            row = held.one_or_none()
            if row is None:
                return False
            told = max(row.told, upto)
            # Only now, with the row held, is every step visible that has woken the desk.
            newest = select(func.max(TransitionRow.id)).where(TransitionRow.handover_id == handover_id)
            untold = (connection.execute(newest).scalar_one() or 0) > told
            timer: dict[str, Any] = {"due": row.due, "due_at": row.due_at}
            if row.went_off and row.due == timer_done and timer_done != "give_up":
                timer = next_timer(HandoverState(row.state), timers, after=row.due, quiet=row.quiet)
            place = {"card_channel_id": card.channel_id, "card_ts": card.ts} if card else {}
            connection.execute(
                update(HandoverRow)
                .where(HandoverRow.id == handover_id)
                .values(
                    **timer,
                    **place,
                    told=told,
                    untold=untold,
                    wake_at=epoch_now() if untold else timer["due_at"],
                    lease_until=None,
                    **({"owner": None} if upto or timer_done else {}),
                )
            )
            return True

        return await self._database.transact(told_of)

    async def operator_spoke(self, handover_id: int, timers: Timers) -> None:
        """The operator said something to the asker: notes the first time, and winds the timers up again."""
        timer = next_timer(HandoverState.HUMAN, timers)
        await self._database.write(
            update(HandoverRow)
            .where(HandoverRow.id == handover_id, HandoverRow.state == HandoverState.HUMAN.value)
            .values(
                **timer,
                first_word_at=func.coalesce(HandoverRow.first_word_at, epoch_now()),
                quiet_since=epoch_now(),
                wake_at=case((HandoverRow.untold, HandoverRow.wake_at), else_=timer["due_at"]),
            )
        )


def next_timer(state: HandoverState, timers: Timers, *, after: str = "", quiet: float = 0.0) -> dict[str, Any]:
    """The timer to wind up: the first of all, or the one that comes ``after`` another in ``quiet`` seconds."""
    if state is HandoverState.REQUESTED:
        # Reminded again and again, until it is given up.
        waits = [(timers.give_up, timers.give_up - quiet, "give_up"), (timers.remind, timers.remind, "remind")]
    else:
        waits = [] if after == "offer" else [(timers.offer, timers.offer - quiet, "offer")]
        if not after:
            waits.append((timers.nudge, timers.nudge, "nudge"))
    wanted = [(max(seconds, 0.0), name) for setting, seconds, name in waits if setting]
    if not wanted:
        return {"due": None, "due_at": None}
    seconds, name = min(wanted)
    return {"due": name, "due_at": epoch_now() + seconds}
