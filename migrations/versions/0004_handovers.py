"""Handovers, their steps, and turns that are shown on the other side of one."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")
RELAY = "kind = 'relay'"
OLD_CONTEXT = "kind = 'context' AND text IS NOT NULL"
CONTEXT = "kind IN ('context', 'relay') AND state IN ('done', 'failed') AND text IS NOT NULL"


def upgrade() -> None:
    op.add_column("conversations", sa.Column("held_until", sa.Double))
    op.add_column("turns", sa.Column("handover_id", sa.BigInteger))
    for column in ("from_operator", "again"):
        op.add_column("turns", sa.Column(column, sa.Boolean, nullable=False, server_default=sa.false()))
    op.create_table(
        "handovers",
        sa.Column("id", ID, nullable=False),
        sa.Column("conversation_id", sa.BigInteger, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("asker_id", sa.Text, nullable=False),
        sa.Column("operator_id", sa.Text),
        sa.Column("opened_at", sa.Double, nullable=False),
        sa.Column("claimed_at", sa.Double),
        sa.Column("first_word_at", sa.Double),
        sa.Column("ended_at", sa.Double),
        sa.Column("card_channel_id", sa.Text),
        sa.Column("card_ts", sa.Text),
        sa.Column("quiet_since", sa.Double, nullable=False),
        sa.Column("due", sa.Text),
        sa.Column("due_at", sa.Double),
        sa.Column("told", sa.BigInteger, nullable=False),
        sa.Column("untold", sa.Boolean, nullable=False),
        sa.Column("wake_at", sa.Double),
        sa.Column("owner", sa.Text),
        sa.Column("lease_until", sa.Double),
        sa.PrimaryKeyConstraint("id", name="pk_handovers"),
        sa.ForeignKeyConstraint(["conversation_id"], ["conversations.id"], name="fk_handovers_conversation_id"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "handover_transitions",
        sa.Column("id", ID, nullable=False),
        sa.Column("handover_id", sa.BigInteger, nullable=False),
        sa.Column("move", sa.Text, nullable=False),
        sa.Column("before", sa.Text),
        sa.Column("after", sa.Text, nullable=False),
        sa.Column("actor_id", sa.Text, nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_handover_transitions"),
        sa.ForeignKeyConstraint(["handover_id"], ["handovers.id"], name="fk_handover_transitions_handover_id"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "handover_signals",
        sa.Column("conversation_id", sa.BigInteger, nullable=False),
        sa.Column("key", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("conversation_id", "key", name="pk_handover_signals"),
        sa.ForeignKeyConstraint(["conversation_id"], ["conversations.id"], name="fk_handover_signals_conversation_id"),
    )
    _index("uq_turns_relaying", "turns", ["conversation_id"], where=f"state = 'running' AND {RELAY}", unique=True)
    _index("ix_turns_relays", "turns", ["conversation_id", "ts"], where=f"state IN ('queued', 'running') AND {RELAY}")
    op.drop_index("ix_turns_context", "turns")
    _index("ix_turns_context", "turns", ["conversation_id", "ts"], where=CONTEXT)
    _index("uq_handovers_open", "handovers", ["conversation_id"], where="state IN ('requested', 'human')", unique=True)
    _index("ix_handovers_conversation", "handovers", ["conversation_id", "id"])
    _index("ix_handovers_card", "handovers", ["card_ts", "card_channel_id"])
    _index("ix_handovers_wake", "handovers", ["wake_at"], where="wake_at IS NOT NULL")
    _index("ix_handovers_opened", "handovers", ["opened_at"])
    _index("ix_handover_transitions_handover", "handover_transitions", ["handover_id", "id"])


def _index(name: str, table: str, columns: list[str], *, where: str | None = None, unique: bool = False) -> None:
    condition = sa.text(where) if where else None
    op.create_index(name, table, columns, unique=unique, sqlite_where=condition, postgresql_where=condition)


def downgrade() -> None:
    for index in ("uq_turns_relaying", "ix_turns_relays", "ix_turns_context"):
        op.drop_index(index, "turns")
    # The version before knows no relays; their words are what it calls context.
    op.execute(
        "UPDATE turns SET kind = 'context', state = 'done', owner = NULL, lease_until = NULL WHERE kind = 'relay'"
    )
    _index("ix_turns_context", "turns", ["conversation_id", "ts"], where=OLD_CONTEXT)
    for table in ("handover_signals", "handover_transitions", "handovers"):
        op.drop_table(table)
    for column in ("again", "from_operator", "handover_id"):
        op.drop_column("turns", column)
    op.drop_column("conversations", "held_until")
