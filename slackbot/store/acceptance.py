"""Taking one message in, inside a transaction that may hold others: what is known, what is decided, what is stored."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeAlias

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    ScalarSelect,
    Select,
    and_,
    bindparam,
    case,
    delete,
    exists,
    false,
    func,
    literal_column,
    not_,
    or_,
    select,
    update,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import aliased
from sqlalchemy.sql.dml import ReturningInsert

from slackbot.domain import Attachment, ChannelKind, InboundMessage, ThreadKey, TurnKind, TurnState
from slackbot.routing import (
    CallHuman,
    Decision,
    Ignore,
    KeepAsContext,
    Order,
    Relay,
    RunTurn,
    Say,
    StartAfresh,
    ThreadFacts,
)
from slackbot.store import rows
from slackbot.store.engine import Database
from slackbot.store.models import (
    ConversationRow,
    HandoverRow,
    PartRow,
    TurnRow,
    epoch_now,
    is_deleted,
    is_open,
    is_ordered,
    is_pending,
    is_running,
    is_waiting,
)
from slackbot.store.values import Accepted

Decide: TypeAlias = Callable[[ThreadFacts], Decision]

_ORDERED = frozenset({TurnKind.ASK, TurnKind.RESET})
_WITH_WORDS = frozenset({TurnKind.ASK, TurnKind.CONTEXT, TurnKind.RELAY})

_QUEUED, _RUNNING = TurnState.QUEUED.value, TurnState.RUNNING.value

RATE_WINDOW = 60.0
"""Seconds over which a person's questions are counted."""

COUNTED = 10_000
"""Nothing that a person did in that time is counted further."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """A message at the door. ``decide`` runs in another thread, with a transaction open: it must be quick and must
    not touch anything shared. ``from_operator``: it was written in a handover's card."""

    message: InboundMessage
    thread: ThreadKey
    decide: Decide
    from_operator: bool = False


class Pending:
    """How many questions wait and run, by team and person. For the transaction that takes so many messages in: they
    are counted once, and then only added to."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._teams: dict[str, Counter[tuple[str, str]]] = {}

    def of_team(self, team_id: str) -> Counter[tuple[str, str]]:
        """By state and person; nobody stands for the whole team."""
        if (counted := self._teams.get(team_id)) is None:
            counted = self._teams[team_id] = Counter()
            for user_id, state, count in self._connection.execute(_PENDING, {"team_id": team_id}):
                counted[state, user_id] += count
                counted[state, ""] += count
        return counted

    def added(self, message: InboundMessage) -> None:
        """One more waits."""
        self.of_team(message.team_id).update([(_QUEUED, message.user_id), (_QUEUED, "")])


def take_in(database: Database, connection: Connection, arrival: Arrival, pending: Pending) -> Accepted:
    """Store what the message asks for. A message that is stored already changes nothing."""
    message, key = arrival.message, arrival.thread
    thread = {"team_id": key.team_id, "channel_id": key.channel_id, "root_ts": key.root_ts}
    row = connection.execute(_KNOWN, {**thread, "ts": message.ts, "user_id": message.user_id}).one()
    if row.stored is not None:
        return _duplicate(row.stored)
    facts = _facts(row, message.user_id, pending.of_team(key.team_id))
    decision = arrival.decide(facts)
    if isinstance(decision, Ignore):
        return Accepted(decision)
    kind, notice = _kind(decision)
    handover = facts.handover
    speaks_for_us = kind is TurnKind.CONTEXT and handover is not None and handover.operator_id == message.user_id
    waiting = kind in _ORDERED and (bool(row.busy) or decision == RunTurn(later=True))
    values = {
        "team_id": message.team_id,
        "channel_id": message.channel_id,
        "ts": message.ts,
        "user_id": message.user_id,
        "kind": kind.value,
        "state": (TurnState.DONE if kind is TurnKind.CONTEXT else TurnState.QUEUED).value,
        "text": message.text if kind in _WITH_WORDS and not isinstance(decision, Order) else None,
        "attachments": stored_attachments(message.attachments),
        "notice": notice,
        "is_reply": message.is_reply,
        "attempt": 1,
        "available_at": 0.0,
        "waited": waiting,
        "handover_id": row.handover_id if kind is TurnKind.RELAY or isinstance(decision, Order) else None,
        "from_operator": arrival.from_operator or speaks_for_us,
    }
    if row.conversation_id is None:
        begun = _begin(database, connection, thread, message.channel_kind, values)
        if begun is None:
            # Another replica has begun the thread since we looked.
            return take_in(database, connection, arrival, pending)
        conversation_id, turn_id = begun
    else:
        conversation_id = row.conversation_id
        values["conversation_id"] = conversation_id
        stored = connection.execute(database.insert_new(TurnRow), values).scalar_one_or_none()
        if stored is None:
            # Another replica committed the same message since we looked.
            return _duplicate(None)
        turn_id = stored
        if not database.on_sqlite and connection.execute(_OPEN, values).scalar() != row.handover_id:
            # A handover began or ended since we looked. Now that a row refers to the conversation, none can.
            connection.execute(delete(TurnRow).where(TurnRow.id == turn_id))
            return take_in(database, connection, arrival, pending)
    if kind in _ORDERED:
        pending.added(message)
    if isinstance(decision, Say) and decision.mention_only is not None:
        connection.execute(
            update(ConversationRow)
            .where(ConversationRow.id == conversation_id)
            .values(mention_only=decision.mention_only)
        )
    return Accepted(decision, turn_id=turn_id, waiting=waiting)


def stored_attachments(files: Iterable[Attachment]) -> list[list[str]]:
    return [[file.id, file.name] for file in files]


def _duplicate(turn_id: int | None) -> Accepted:
    return Accepted(Ignore("already stored"), duplicate=True, turn_id=turn_id)


def _kind(
    decision: RunTurn | KeepAsContext | Say | StartAfresh | Relay | CallHuman | Order,
) -> tuple[TurnKind, str | None]:
    match decision:
        case RunTurn():
            return TurnKind.ASK, None
        case StartAfresh():
            return TurnKind.RESET, None
        case Say(notice=notice):
            return TurnKind.NOTICE, notice.value
        case Relay():
            return TurnKind.RELAY, None
        case KeepAsContext() | CallHuman() | Order():
            return TurnKind.CONTEXT, None


def _begin(
    database: Database, connection: Connection, thread: dict[str, str], kind: ChannelKind, values: dict[str, object]
) -> tuple[int, int] | None:
    """Store a thread's conversation and its first turn; None when another replica has begun it since we looked."""
    if not database.on_sqlite:
        first = {f"first_{name}": value for name, value in values.items()}
        conversation = {**thread, **_modes(kind)}
        begun = connection.execute(_beginning(tuple(conversation), tuple(values)), conversation | first).one_or_none()
        return begun and (begun.conversation_id, begun.id)
    if (conversation_id := new_conversation(database, connection, thread, kind)) is None:
        return None
    turn = {**values, "conversation_id": conversation_id}
    return conversation_id, connection.execute(database.insert_new(TurnRow), turn).scalar_one()


@cache
def _beginning(thread: tuple[str, ...], turn: tuple[str, ...]) -> ReturningInsert[int, int]:
    """A conversation and its first turn by one statement, which only PostgreSQL knows."""
    begun = (
        postgresql.insert(ConversationRow)
        .on_conflict_do_nothing(index_elements=ConversationRow.KEY)
        .returning(ConversationRow.id)
    )
    begun_id = begun.values({name: bindparam(name) for name in thread}).cte("thread").c.id
    types = {column.name: column.type for column in TurnRow.__table__.columns}
    first = select(begun_id, *(bindparam(f"first_{name}", type_=types[name]) for name in turn))
    inserted = postgresql.insert(TurnRow).from_select(["conversation_id", *turn], first)
    return inserted.on_conflict_do_nothing(index_elements=TurnRow.KEY).returning(TurnRow.id, TurnRow.conversation_id)


def new_conversation(
    database: Database, connection: Connection, thread: dict[str, str], kind: ChannelKind
) -> int | None:
    """Start the thread's conversation; None when another replica has done so since we looked."""
    return connection.execute(database.insert_new(ConversationRow), {**thread, **_modes(kind)}).scalar_one_or_none()


def _modes(kind: ChannelKind) -> dict[str, object]:
    return {"channel_kind": kind.value, "mention_only": False, "needs_past": False, "is_shared": False}


_IS_THREAD = and_(
    ConversationRow.team_id == bindparam("team_id"),
    ConversationRow.channel_id == bindparam("channel_id"),
    ConversationRow.root_ts == bindparam("root_ts"),
)


def _known() -> Select[*tuple[Any, ...]]:
    """Everything that a decision needs, in one round trip. Each part is a look into an index."""
    asked, turn = aliased(TurnRow), aliased(TurnRow)
    here = and_(turn.conversation_id == ConversationRow.id, not_(is_deleted(turn)))
    newest_ask = (
        select(turn.id)
        .where(here, turn.kind == TurnKind.ASK.value)
        .order_by(turn.ts.desc())
        .limit(1)
        .correlate(ConversationRow)
        .scalar_subquery()
    )
    last_part = select(func.max(PartRow.ts)).where(PartRow.turn_id == asked.id).correlate(asked).scalar_subquery()
    ended = asked.state.in_([TurnState.DONE.value, TurnState.FAILED.value])
    answered_at = case((ended, func.coalesce(last_part, asked.ts)), else_=asked.ts)
    # Humans who stood in for the agent count as little as the agent.
    wrote_since = exists().where(
        here, turn.ts > answered_at, turn.user_id != asked.user_id, turn.from_operator.is_(false())
    )
    runs = exists().where(here, is_running(turn), is_ordered(turn))
    queued_before = exists().where(here, is_waiting(turn), is_ordered(turn), turn.ts < bindparam("ts"))
    stored = select(turn.id).where(
        turn.team_id == bindparam("team_id"), turn.channel_id == bindparam("channel_id"), turn.ts == bindparam("ts")
    )
    in_team, by_author = turn.team_id == bindparam("team_id"), turn.user_id == bindparam("user_id")
    # What lies ahead is from before the clock was set back.
    lately = and_(in_team, by_author, turn.accepted_at.between(epoch_now() - RATE_WINDOW, epoch_now()))
    counted = {
        "asks": and_(lately, turn.kind == TurnKind.ASK.value),
        "notices": and_(lately, turn.kind == TurnKind.NOTICE.value),
    }
    waiting_here = select(func.count()).where(here, is_waiting(turn), is_ordered(turn)).correlate(ConversationRow)
    # One row even when the thread is new.
    always = select(literal_column("1").label("one")).subquery()
    return (
        select(
            *rows.CONVERSATION,
            *rows.HANDOVER,
            asked.user_id.label("last_asker"),
            wrote_since.correlate(ConversationRow, asked).label("others_wrote_since"),
            or_(runs.correlate(ConversationRow), queued_before.correlate(ConversationRow)).label("busy"),
            stored.scalar_subquery().label("stored"),
            waiting_here.scalar_subquery().label("waiting_here"),
            *(_count(what).label(name) for name, what in counted.items()),
        )
        .select_from(always)
        .outerjoin(ConversationRow, _IS_THREAD)
        .outerjoin(HandoverRow, and_(HandoverRow.conversation_id == ConversationRow.id, is_open(HandoverRow)))
        .outerjoin(asked, asked.id == newest_ask)
    )


def _count(what: ColumnElement[bool]) -> ScalarSelect[int]:
    found = select(literal_column("1")).where(what).limit(COUNTED).subquery()
    return select(func.count()).select_from(found).scalar_subquery()


def _counted() -> Select[*tuple[Any, ...]]:
    counted = select(TurnRow.user_id, TurnRow.state, func.count())
    in_team = and_(is_pending(TurnRow), is_ordered(TurnRow), TurnRow.team_id == bindparam("team_id"))
    return counted.where(in_team).group_by(TurnRow.user_id, TurnRow.state)


# Built once: building it takes ten times as long as running it.
_KNOWN = _known()
_PENDING = _counted()
_OPEN = select(HandoverRow.id).where(HandoverRow.conversation_id == bindparam("conversation_id"), is_open(HandoverRow))


def _facts(row: Row[Any], author: str, pending: Counter[tuple[str, str]]) -> ThreadFacts:
    return ThreadFacts(
        conversation=None if row.conversation_id is None else rows.conversation(row),
        last_asker=row.last_asker,
        others_wrote_since=bool(row.others_wrote_since),
        asks_last_minute=row.asks,
        notices_last_minute=row.notices,
        waiting_here=row.waiting_here,
        waiting_of_author=pending[_QUEUED, author],
        waiting_in_team=pending[_QUEUED, ""],
        running_of_author=pending[_RUNNING, author],
        running_in_team=pending[_RUNNING, ""],
        handover=None if row.handover_id is None else rows.handover(row),
    )
