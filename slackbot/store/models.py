"""The tables. Private to the store; nothing here leaves it."""

from __future__ import annotations

from typing import Any, ClassVar, TypeAlias

from sqlalchemy import (
    JSON,
    BigInteger,
    ColumnElement,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Text,
    UniqueConstraint,
    and_,
    false,
    literal_column,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import DeclarativeBase, InstrumentedAttribute, Mapped, mapped_column
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from slackbot.domain import SHARING

_Id = BigInteger().with_variant(Integer, "sqlite")


class epoch_now(FunctionElement[float]):  # noqa: N801 - reads as the SQL function it is
    """Seconds since 1970 by the database's clock, the only clock that all replicas share."""

    type = Double()
    inherit_cache = True


@compiles(epoch_now, "sqlite")
def _sqlite_now(_now: epoch_now, _compiler: SQLCompiler, **_options: object) -> str:
    return "((julianday('now') - 2440587.5) * 86400.0)"


@compiles(epoch_now, "postgresql")
def _postgresql_now(_now: epoch_now, _compiler: SQLCompiler, **_options: object) -> str:
    # clock_timestamp() would be a moment later, but is volatile: PostgreSQL compares no index with it.
    return "CAST(extract(epoch FROM statement_timestamp()) AS double precision)"


class Base(DeclarativeBase):
    """Gives every constraint a name, so that a migration can change it on both databases."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class ConversationRow(Base):
    """A Slack thread and the Noxus conversation bound to it."""

    __tablename__ = "conversations"

    id: Mapped[int] = mapped_column(_Id, primary_key=True)
    team_id: Mapped[str] = mapped_column(Text)
    channel_id: Mapped[str] = mapped_column(Text)
    root_ts: Mapped[str] = mapped_column(Text)
    channel_kind: Mapped[str] = mapped_column(Text)
    agent_conversation_id: Mapped[str | None] = mapped_column(Text)
    mention_only: Mapped[bool]
    needs_past: Mapped[bool]
    is_shared: Mapped[bool]
    sent_files: Mapped[list[str] | None] = mapped_column(JSON(none_as_null=True))
    unread_told: Mapped[int | None] = mapped_column(BigInteger)
    created_at: Mapped[float] = mapped_column(Double, default=epoch_now())
    held_until: Mapped[float | None] = mapped_column(Double)

    KEY: ClassVar = ("team_id", "channel_id", "root_ts")
    # AUTOINCREMENT here and below: an id that Slack's buttons and metadata carry is never given to another row.
    __table_args__ = (UniqueConstraint(*KEY), {"sqlite_autoincrement": True})


class TurnRow(Base):
    """One inbound message. Text and attachments are there only as long as somebody needs them."""

    __tablename__ = "turns"

    id: Mapped[int] = mapped_column(_Id, primary_key=True)
    conversation_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("conversations.id"))
    team_id: Mapped[str] = mapped_column(Text)
    channel_id: Mapped[str] = mapped_column(Text)
    ts: Mapped[str] = mapped_column(Text)
    user_id: Mapped[str] = mapped_column(Text)
    kind: Mapped[str] = mapped_column(Text)
    state: Mapped[str] = mapped_column(Text)
    text: Mapped[str | None] = mapped_column(Text)
    attachments: Mapped[list[list[str]] | None] = mapped_column(JSON(none_as_null=True))
    notice: Mapped[str | None] = mapped_column(Text)
    is_reply: Mapped[bool]
    attempt: Mapped[int] = mapped_column(Integer)
    # Always, unless it is postponed: the machine's clock may be set back while a turn waits.
    available_at: Mapped[float] = mapped_column(Double, default=0.0)
    accepted_at: Mapped[float] = mapped_column(Double, default=epoch_now())
    submitted_at: Mapped[float | None] = mapped_column(Double)
    digest: Mapped[str | None] = mapped_column(Text)
    finished_at: Mapped[float | None] = mapped_column(Double)
    owner: Mapped[str | None] = mapped_column(Text)
    lease_until: Mapped[float | None] = mapped_column(Double)
    error: Mapped[str | None] = mapped_column(Text)
    # With a default of the database's own: a replica of the version before still stores messages.
    waited: Mapped[bool] = mapped_column(server_default=false())
    stopped_by: Mapped[str | None] = mapped_column(Text)
    shown_at: Mapped[float | None] = mapped_column(Double)
    # Without a foreign key: SQLite adds none to a table that is there.
    handover_id: Mapped[int | None] = mapped_column(BigInteger)
    from_operator: Mapped[bool] = mapped_column(server_default=false())
    again: Mapped[bool] = mapped_column(server_default=false())
    parked_until: Mapped[float | None] = mapped_column(Double)
    # Once the last calls of an owner who died have arrived: they may have brought something into the thread.
    echoes_at: Mapped[float | None] = mapped_column(Double)

    # One message is one turn, whichever events bring it. Here and below the column that tells rows apart comes first:
    # then a database that knows nothing about its data yet still picks the right index.
    KEY: ClassVar = ("ts", "channel_id", "team_id")
    __table_args__ = (UniqueConstraint(*KEY), {"sqlite_autoincrement": True})


class PartRow(Base):
    """One Slack message that carries a piece of a turn's reply."""

    __tablename__ = "parts"

    id: Mapped[int] = mapped_column(_Id, primary_key=True)
    turn_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("turns.id"))
    index: Mapped[int] = mapped_column(Integer)
    ts: Mapped[str] = mapped_column(Text)
    placeholder: Mapped[bool]

    __table_args__ = (UniqueConstraint("turn_id", "index"), {"sqlite_autoincrement": True})


class FeedbackRow(Base):
    """What one person thinks of the answer to a turn."""

    __tablename__ = "feedback"

    turn_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("turns.id"), primary_key=True)
    user_id: Mapped[str] = mapped_column(Text, primary_key=True)
    good: Mapped[bool]
    given_at: Mapped[float] = mapped_column(Double, default=epoch_now())


class HandoverRow(Base):
    """A handover as it stands, its timer (``due``), and what its desk has still to do.

    ``untold`` steps and the timer make one moment to look at it, ``wake_at``. ``owner`` is who shows it meanwhile.
    """

    __tablename__ = "handovers"

    id: Mapped[int] = mapped_column(_Id, primary_key=True)
    conversation_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("conversations.id"))
    state: Mapped[str] = mapped_column(Text)
    reason: Mapped[str] = mapped_column(Text)
    asker_id: Mapped[str] = mapped_column(Text)
    operator_id: Mapped[str | None] = mapped_column(Text)
    opened_at: Mapped[float] = mapped_column(Double, default=epoch_now())
    claimed_at: Mapped[float | None] = mapped_column(Double)
    first_word_at: Mapped[float | None] = mapped_column(Double)
    ended_at: Mapped[float | None] = mapped_column(Double)
    card_channel_id: Mapped[str | None] = mapped_column(Text)
    card_ts: Mapped[str | None] = mapped_column(Text)
    quiet_since: Mapped[float] = mapped_column(Double, default=epoch_now())
    due: Mapped[str | None] = mapped_column(Text)
    due_at: Mapped[float | None] = mapped_column(Double)
    told: Mapped[int] = mapped_column(BigInteger)
    untold: Mapped[bool]
    wake_at: Mapped[float | None] = mapped_column(Double)
    owner: Mapped[str | None] = mapped_column(Text)
    lease_until: Mapped[float | None] = mapped_column(Double)

    __table_args__ = {"sqlite_autoincrement": True}  # noqa: RUF012 - SQLAlchemy wants it so


class TransitionRow(Base):
    """One step of a handover."""

    __tablename__ = "handover_transitions"

    id: Mapped[int] = mapped_column(_Id, primary_key=True)
    handover_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("handovers.id"))
    move: Mapped[str] = mapped_column(Text)
    before: Mapped[str | None] = mapped_column(Text)
    after: Mapped[str] = mapped_column(Text)
    actor_id: Mapped[str] = mapped_column(Text)
    at: Mapped[float] = mapped_column(Double, default=epoch_now())

    __table_args__ = {"sqlite_autoincrement": True}  # noqa: RUF012 - SQLAlchemy wants it so


class SignalRow(Base):
    """Something that is heeded once in a conversation: a call for a human, a question to an operator."""

    __tablename__ = "handover_signals"

    conversation_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("conversations.id"), primary_key=True)
    key: Mapped[str] = mapped_column(Text, primary_key=True)


class SlotRow(Base):
    """One of the calls that a Slack limit allows at a time. Whoever makes it marks the row ``until`` it counts no more,
    so there can never be more of them than rows. The slot ``PAUSE`` is no call: until then there is none."""

    __tablename__ = "slack_slots"

    team_id: Mapped[str] = mapped_column(Text, primary_key=True)
    method: Mapped[str] = mapped_column(Text, primary_key=True)
    channel_id: Mapped[str] = mapped_column(Text, primary_key=True)
    slot: Mapped[int] = mapped_column(Integer, primary_key=True)
    until: Mapped[float] = mapped_column(Double)
    owner: Mapped[str] = mapped_column(Text)


# --- the conditions that queries and partial indexes share: a database uses such an index only for the same words ---

TurnLike: TypeAlias = type[TurnRow]
"""``TurnRow`` or an alias of it."""

DELETED = "deleted"
PAUSE = -1


def is_queued(turn: TurnLike) -> ColumnElement[bool]:
    return turn.state == literal_column("'queued'")


def is_waiting(turn: TurnLike) -> ColumnElement[bool]:
    """Queued, in words that no other index is for: one that is as good in an empty table would be walked for ever."""
    return turn.state.not_in([literal_column("'running'"), literal_column("'done'"), literal_column("'failed'")])


def is_ready(turn: TurnLike) -> ColumnElement[bool]:
    """Nobody has seen yet that it has to wait for something."""
    return and_(is_waiting(turn), turn.parked_until.is_(None))


def is_parked(turn: TurnLike) -> ColumnElement[bool]:
    return and_(is_waiting(turn), turn.parked_until.is_not(None))


def is_running(turn: TurnLike) -> ColumnElement[bool]:
    return turn.state == literal_column("'running'")


def is_ordered(turn: TurnLike) -> ColumnElement[bool]:
    """Questions and resets: one at a time in a thread. Notices and context wait for nobody."""
    return turn.kind.in_([literal_column("'ask'"), literal_column("'reset'")])


def is_brief(turn: TurnLike) -> ColumnElement[bool]:
    """What is said without the agent."""
    return turn.kind.in_([literal_column("'notice'"), literal_column("'relay'")])


def is_relay(turn: TurnLike) -> ColumnElement[bool]:
    """What is shown on the other side of a handover: one at a time in a thread, too."""
    return turn.kind == literal_column("'relay'")


def is_pending(turn: TurnLike) -> ColumnElement[bool]:
    return turn.state.in_([literal_column("'queued'"), literal_column("'running'")])


def is_speaking(turn: TurnLike) -> ColumnElement[bool]:
    """There may be more to show of its answer; afterwards it is only waited for that the agent has settled."""
    return turn.shown_at.is_(None) | (turn.error == SHARING)


def is_deleted(turn: TurnLike) -> ColumnElement[bool]:
    """Its message was taken away in Slack before its turn came."""
    return turn.error.is_not_distinct_from(DELETED)


def is_kept_context(turn: TurnLike) -> ColumnElement[bool]:
    """What waits to go along with the next question of its thread."""
    return and_(
        turn.kind.in_([literal_column("'context'"), literal_column("'relay'")]),
        turn.state.in_([literal_column("'done'"), literal_column("'failed'")]),
        turn.text.is_not(None),
    )


def is_open(handover: type[HandoverRow]) -> ColumnElement[bool]:
    """The agent is silent: a human has the thread, or was asked for."""
    return handover.state.in_([literal_column("'requested'"), literal_column("'human'")])


def _index(
    name: str, *columns: InstrumentedAttribute[Any], where: ColumnElement[bool] | None = None, unique: bool = False
) -> None:
    Index(name, *columns, unique=unique, sqlite_where=where, postgresql_where=where)


# Two replicas that claim two turns of one thread at the same moment: the second fails here.
_index("uq_turns_running", TurnRow.conversation_id, unique=True, where=is_running(TurnRow) & is_ordered(TurnRow))
_index("uq_turns_relaying", TurnRow.conversation_id, unique=True, where=is_running(TurnRow) & is_relay(TurnRow))
_index("ix_turns_relays", TurnRow.conversation_id, TurnRow.ts, where=is_pending(TurnRow) & is_relay(TurnRow))
_index("ix_turns_queued", TurnRow.id, where=is_queued(TurnRow))
# For replicas of versions before 0006, until a later migration: a plan made without statistics may take ix_turns_load
# instead, and walk through all that waits.
_index("ix_turns_queued_order", TurnRow.conversation_id, TurnRow.ts, where=is_queued(TurnRow) & is_ordered(TurnRow))
_index("ix_turns_following", TurnRow.conversation_id, TurnRow.ts, where=is_waiting(TurnRow) & is_ordered(TurnRow))
# Who is served next is found step by step: a team, one of its channels, one of its people.
_SERVED = (TurnRow.team_id, TurnRow.channel_id, TurnRow.user_id, TurnRow.id)
_index("ix_turns_ready", *_SERVED, where=is_ready(TurnRow) & is_ordered(TurnRow))
_index("ix_turns_brief", *_SERVED, where=is_ready(TurnRow) & is_brief(TurnRow))
_index("ix_turns_parked", TurnRow.parked_until, where=is_parked(TurnRow))
_index(
    "ix_turns_load",
    TurnRow.team_id,
    TurnRow.user_id,
    # With these nothing but the index is read to count.
    TurnRow.state,
    TurnRow.kind,
    where=is_pending(TurnRow) & is_ordered(TurnRow),
)
_index("ix_turns_echoes", TurnRow.echoes_at, where=TurnRow.echoes_at.is_not(None))
_index("ix_turns_leases", TurnRow.lease_until, where=is_running(TurnRow))
_index("ix_turns_author", TurnRow.user_id, TurnRow.team_id, TurnRow.accepted_at)
_index("ix_turns_context", TurnRow.conversation_id, TurnRow.ts, where=is_kept_context(TurnRow))
_index("ix_turns_thread", TurnRow.conversation_id, TurnRow.ts, TurnRow.user_id)
_index("ix_feedback_given", FeedbackRow.given_at)
# Two that open a handover of one thread at the same moment: the second fails here.
_index("uq_handovers_open", HandoverRow.conversation_id, unique=True, where=is_open(HandoverRow))
_index("ix_handovers_conversation", HandoverRow.conversation_id, HandoverRow.id)
_index("ix_handovers_card", HandoverRow.card_ts, HandoverRow.card_channel_id)
_index("ix_handovers_wake", HandoverRow.wake_at, where=HandoverRow.wake_at.is_not(None))
_index("ix_handovers_opened", HandoverRow.opened_at)
_index("ix_handover_transitions_handover", TransitionRow.handover_id, TransitionRow.id)
_index("ix_slack_slots_until", SlotRow.until)
