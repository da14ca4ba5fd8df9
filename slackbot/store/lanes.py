"""Whose waiting turn is next: teams take turns, in a team its channels, in a channel its people.

Everything here is a few looks into an index, however much waits. That index holds turns that nobody has seen waiting
for something: whoever comes upon one that has to wait parks it, and whatever ends its wait has it looked at again.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import cached_property
from typing import Any, TypeAlias

from sqlalchemy import (
    ColumnElement,
    Connection,
    CursorResult,
    Executable,
    ScalarSelect,
    Select,
    Update,
    and_,
    bindparam,
    case,
    func,
    or_,
    select,
    update,
)
from sqlalchemy.orm import aliased

from slackbot.domain import TurnState
from slackbot.store.ahead import lies_ahead
from slackbot.store.engine import Database
from slackbot.store.errors import StoreError
from slackbot.store.models import (
    ConversationRow,
    HandoverRow,
    TurnLike,
    TurnRow,
    epoch_now,
    is_brief,
    is_open,
    is_ordered,
    is_parked,
    is_pending,
    is_queued,
    is_ready,
    is_relay,
    is_running,
    is_speaking,
    is_waiting,
)
from slackbot.store.values import Bounds

Lane: TypeAlias = tuple[str, str, str]
"""A team, a channel, a person: served oldest first."""

_LOOK_AGAIN, _LOOK_AGAIN_LATE = 30.0, 600.0
"""Seconds after which a parked turn is looked at again although nobody said that its wait is over: the next one of its
thread, and one that stands further behind."""

_BATCH = 100
"""Turns that are parked, or looked at again, by one statement."""

_EFFORT, _PARKING = 300, 20
"""What a transaction may do until it must end, in short statements, and as how many of those parking counts."""

_REMEMBERED = 10_000
"""Places of which it is known who was served last there."""


class Rotation:
    """Who was served last in each place. A place is a team, one of its channels, or everything: ``()``."""

    def __init__(self) -> None:
        self._last: OrderedDict[tuple[str, ...], str] = OrderedDict()

    def last(self, place: tuple[str, ...]) -> str | None:
        return self._last.get(place)

    def served(self, lane: Lane) -> None:
        for depth, name in enumerate(lane):
            self._last[lane[:depth]] = name
            self._last.move_to_end(lane[:depth])
        while len(self._last) > _REMEMBERED:
            self._last.popitem(last=False)


class Load:
    """How many questions are being answered, as far as there are bounds to that. For one transaction."""

    def __init__(self, connection: Connection, bounds: Bounds) -> None:
        self._connection = connection
        self._bounds = bounds

    @cached_property
    def _running(self) -> Counter[tuple[str, ...]]:
        running: Counter[tuple[str, ...]] = Counter()
        for team, user in self._connection.execute(_RUNNING):
            running.update([(team,), (team, user)])
        return running

    def took(self, lane: Lane) -> None:
        if self._bounds != Bounds():
            team, _, user = lane
            self._running.update([(team,), (team, user)])

    def is_full(self, team: str) -> bool:
        return bool(self._bounds.per_team) and self._running[team,] >= self._bounds.per_team

    def is_busy(self, team: str, user: str) -> bool:
        return bool(self._bounds.per_user) and self._running[team, user] >= self._bounds.per_user


class Walk:
    """The way to the next turns that may run: of ``brief`` ones, or of questions. For one transaction.

    ``take`` is the statement that takes the first turn of a lane if it may run; ``held`` are its further values.
    """

    def __init__(
        self,
        connection: Connection,
        rotation: Rotation,
        load: Load,
        take: Executable,
        held: Mapping[str, object],
        *,
        brief: bool,
    ) -> None:
        self._connection = connection
        self._rotation = rotation
        self._load = load
        self._take = take
        self._held = held
        self._brief = brief
        self._effort = _EFFORT

    @property
    def unfinished(self) -> bool:
        """Whether there was so much to pass by that the rest is left to another transaction."""
        return self._effort <= 0

    def next(self) -> int | None:
        """Take one turn; None when none is found."""
        for lane in self._lanes():
            place = dict(zip(_PLACES, lane, strict=True))
            parked = True
            while parked and not self.unfinished:
                found = self._execute(self._take, {**self._held, **place})
                if (turn_id := found.scalar_one_or_none()) is not None:
                    self._rotation.served(lane)
                    if not self._brief:
                        self._load.took(lane)
                    return int(turn_id)
                # When there is nothing to park, somebody else holds the turn.
                parked = not self._brief and self._execute(_PARK, place, _PARKING).rowcount > 0
        return None

    def _lanes(self) -> Iterator[Lane]:
        for team in self._names(()):
            if not self._brief and self._load.is_full(team):
                continue
            for channel in self._names((team,)):
                for user in self._names((team, channel)):
                    if self._brief or not self._load.is_busy(team, user):
                        yield team, channel, user
                    if self.unfinished:
                        # Here the next transaction goes on.
                        self._rotation.served((team, channel, user))

    def _names(self, place: tuple[str, ...]) -> Iterator[str]:
        """Who has a turn that waits in that place, each once, from the one after who was served last."""
        following, values = _NEXT[len(place), self._brief], dict(zip(_PLACES, place, strict=False))
        name, seen = self._rotation.last(place) or "", set[str]()
        while not self.unfinished:
            name = self._execute(following, {**values, "after": name}).scalar_one()
            if name is None or name in seen:
                return
            seen.add(name)
            yield name

    def _execute(self, statement: Executable, values: Mapping[str, object], effort: int = 1) -> CursorResult[Any]:
        self._effort -= effort
        return self._connection.execute(statement, values)


def look_again(connection: Connection) -> None:
    """Have those looked at again whose time has come, the newest of them first: it is they who are waited for."""
    connection.execute(_UNPARK)


def wait_ends(connection: Connection, conversation_id: int) -> None:
    """Have the next question of a thread looked at again: this transaction ends what it may have waited for.

    Whoever claims may hold the question for a moment, and no end must fail for that: then ``wait_ended`` is enough.
    """
    connection.execute(_WAIT_ENDS, {"conversation": conversation_id})


async def wait_ended(database: Database, conversation_id: int) -> None:
    """The same once more after the commit, for a question that came or was parked meanwhile: whoever parks one has seen
    the end, or finds the row changed since, or was there before and is overruled. Where this fails it is looked at
    again somewhat later."""
    with suppress(StoreError):
        await database.write(_WAIT_ENDED, conversation=conversation_id)


def _following() -> ScalarSelect[int]:
    turn = aliased(TurnRow)
    waiting = and_(turn.conversation_id == bindparam("conversation"), is_waiting(turn), is_ordered(turn))
    return select(turn.id).where(waiting).order_by(turn.ts).limit(1).scalar_subquery()


def _unheld() -> ScalarSelect[int]:
    turn = aliased(TurnRow)
    return select(turn.id).where(turn.id == _following()).with_for_update(skip_locked=True).scalar_subquery()


def _looked_at(turn_id: ScalarSelect[int]) -> Update:
    return update(TurnRow).where(TurnRow.id == turn_id, is_queued(TurnRow)).values(parked_until=epoch_now())


_WAIT_ENDS, _WAIT_ENDED = _looked_at(_unheld()), _looked_at(_following())


_PLACES = ("team", "channel", "user")
_COLUMNS = ("team_id", "channel_id", "user_id")


def _waiting(turn: TurnLike, depth: int, *, brief: bool) -> ColumnElement[bool]:
    """The turns that are ready in a place."""
    kind = is_brief(turn) if brief else is_ordered(turn)
    place = [getattr(turn, _COLUMNS[at]) == bindparam(_PLACES[at]) for at in range(depth)]
    return and_(is_ready(turn), kind, *place)


def _next_name(depth: int, *, brief: bool) -> Select[Any]:
    """The name after another one, or the first of all."""
    name = getattr(TurnRow, _COLUMNS[depth])
    found = select(name).where(_waiting(TurnRow, depth, brief=brief)).order_by(name).limit(1)
    return select(func.coalesce(found.where(name > bindparam("after")).scalar_subquery(), found.scalar_subquery()))


def _may_ask(turn: TurnLike) -> ColumnElement[bool]:
    """Whether a question has to wait for no other turn of its thread, and for no human.

    An older one of the thread counts even when it may not start yet: a postponed question keeps its place.
    """
    other = aliased(TurnRow)
    here = other.conversation_id == turn.conversation_id
    relayed = and_(here, is_relay(other), is_pending(other))
    return _nothing_of(
        turn,
        select(other.id).where(here, is_ordered(other), is_running(other)),
        _older(turn),
        select(other.id).where(relayed, or_(other.ts < turn.ts, other.state == TurnState.RUNNING.value)),
        # One that was stopped has only to end visibly.
        select(HandoverRow.id).where(
            HandoverRow.conversation_id == turn.conversation_id, is_open(HandoverRow), turn.stopped_by.is_(None)
        ),
        _held(turn),
    )


def _may_say(turn: TurnLike) -> ColumnElement[bool]:
    """Notices wait for nobody. What people say to each other waits for the agent's words, not for it to settle."""
    other = aliased(TurnRow)
    here = other.conversation_id == turn.conversation_id
    relayed = and_(here, is_relay(other), is_pending(other))
    return or_(
        ~is_relay(turn),
        _nothing_of(
            turn,
            select(other.id).where(here, is_ordered(other), is_running(other), is_speaking(other)),
            select(other.id).where(relayed, or_(other.ts < turn.ts, other.state == TurnState.RUNNING.value)),
        ),
    )


def _older(turn: TurnLike) -> Select[int]:
    other = aliased(TurnRow)
    return select(other.id).where(
        other.conversation_id == turn.conversation_id, is_ordered(other), is_waiting(other), other.ts < turn.ts
    )


def _held(turn: TurnLike) -> Select[float | None]:
    return select(ConversationRow.held_until).where(
        ConversationRow.id == turn.conversation_id, lies_ahead(ConversationRow.held_until)
    )


def _nothing_of(turn: TurnLike, *found: Select[Any]) -> ColumnElement[bool]:
    # Not NOT EXISTS, which PostgreSQL may answer by reading every running turn first.
    return and_(*(each.correlate(turn).limit(1).scalar_subquery().is_(None) for each in found))


def first_of_lane(*, brief: bool) -> ColumnElement[bool]:
    """The oldest turn of the lane, if it may run. Of brief turns, which are not parked, the oldest that may."""
    turn = aliased(TurnRow)
    oldest = select(turn.id).where(_waiting(turn, 3, brief=brief)).order_by(turn.id).limit(1)
    if brief:
        oldest = oldest.where(~lies_ahead(turn.available_at), _may_say(turn))
    oldest = oldest.with_for_update(skip_locked=True)
    first = TurnRow.id == oldest.scalar_subquery()
    return first if brief else and_(first, ~lies_ahead(TurnRow.available_at), _may_ask(TurnRow))


def _park() -> Update:
    turn = aliased(TurnRow)
    seen = (
        select(turn.id)
        .where(_waiting(turn, 3, brief=False))
        .order_by(turn.id)
        .limit(_BATCH)
        .with_for_update(skip_locked=True)
        .scalar_subquery()
    )
    later = lies_ahead(TurnRow.available_at)
    behind = _older(TurnRow).correlate(TurnRow).limit(1).scalar_subquery().is_not(None)
    held = _held(TurnRow).correlate(TurnRow).scalar_subquery()
    until = case(
        (later, TurnRow.available_at),
        (behind, epoch_now() + _LOOK_AGAIN_LATE),
        else_=func.coalesce(held, epoch_now() + _LOOK_AGAIN),
    )
    return (
        update(TurnRow)
        .where(TurnRow.id.in_(seen), is_ready(TurnRow), or_(later, ~_may_ask(TurnRow)))
        .values(parked_until=until)
    )


def _unpark() -> Update:
    turn = aliased(TurnRow)
    due = (
        select(turn.id)
        .where(is_parked(turn), turn.parked_until <= epoch_now())
        .order_by(turn.parked_until.desc())
        .limit(_BATCH)
        .with_for_update(skip_locked=True)
        .scalar_subquery()
    )
    return update(TurnRow).where(TurnRow.id.in_(due)).values(parked_until=None)


# Built once: building them takes longer than running them.
_NEXT = {(depth, brief): _next_name(depth, brief=brief) for depth in range(3) for brief in (False, True)}
_PARK, _UNPARK = _park(), _unpark()
_RUNNING = select(TurnRow.team_id, TurnRow.user_id).where(
    # The last condition leads to the index of those that run.
    is_running(TurnRow),
    is_ordered(TurnRow),
    TurnRow.lease_until.is_not(None),
)
