"""Conversations, turns and the parts of their replies."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")
QUEUED = "state = 'queued'"
RUNNING = "state = 'running'"
ORDERED = "kind IN ('ask', 'reset')"


def upgrade() -> None:
    op.create_table(
        "conversations",
        sa.Column("id", ID, nullable=False),
        sa.Column("team_id", sa.Text, nullable=False),
        sa.Column("channel_id", sa.Text, nullable=False),
        sa.Column("root_ts", sa.Text, nullable=False),
        sa.Column("channel_kind", sa.Text, nullable=False),
        sa.Column("agent_conversation_id", sa.Text),
        sa.Column("mention_only", sa.Boolean, nullable=False),
        sa.Column("needs_past", sa.Boolean, nullable=False),
        sa.Column("is_shared", sa.Boolean, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_conversations"),
        sa.UniqueConstraint("team_id", "channel_id", "root_ts", name="uq_conversations_team_id_channel_id_root_ts"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "turns",
        sa.Column("id", ID, nullable=False),
        sa.Column("conversation_id", sa.BigInteger, nullable=False),
        sa.Column("team_id", sa.Text, nullable=False),
        sa.Column("channel_id", sa.Text, nullable=False),
        sa.Column("ts", sa.Text, nullable=False),
        sa.Column("user_id", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("text", sa.Text),
        sa.Column("attachments", sa.JSON),
        sa.Column("notice", sa.Text),
        sa.Column("is_reply", sa.Boolean, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("available_at", sa.Double, nullable=False),
        sa.Column("accepted_at", sa.Double, nullable=False),
        sa.Column("submitted_at", sa.Double),
        sa.Column("finished_at", sa.Double),
        sa.Column("owner", sa.Text),
        sa.Column("lease_until", sa.Double),
        sa.Column("error", sa.Text),
        sa.PrimaryKeyConstraint("id", name="pk_turns"),
        sa.ForeignKeyConstraint(["conversation_id"], ["conversations.id"], name="fk_turns_conversation_id"),
        sa.UniqueConstraint("ts", "channel_id", "team_id", name="uq_turns_ts_channel_id_team_id"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "parts",
        sa.Column("id", ID, nullable=False),
        sa.Column("turn_id", sa.BigInteger, nullable=False),
        sa.Column("index", sa.Integer, nullable=False),
        sa.Column("ts", sa.Text, nullable=False),
        sa.Column("placeholder", sa.Boolean, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_parts"),
        sa.ForeignKeyConstraint(["turn_id"], ["turns.id"], name="fk_parts_turn_id"),
        sa.UniqueConstraint("turn_id", "index", name="uq_parts_turn_id_index"),
        sqlite_autoincrement=True,
    )
    _index("uq_turns_running", ["conversation_id"], where=f"{RUNNING} AND {ORDERED}", unique=True)
    _index("ix_turns_queued", ["id"], where=QUEUED)
    _index("ix_turns_queued_order", ["conversation_id", "ts"], where=f"{QUEUED} AND {ORDERED}")
    _index("ix_turns_leases", ["lease_until"], where=RUNNING)
    _index("ix_turns_author", ["user_id", "team_id", "accepted_at"])
    _index("ix_turns_context", ["conversation_id", "ts"], where="kind = 'context' AND text IS NOT NULL")
    _index("ix_turns_thread", ["conversation_id", "ts", "user_id"])


def _index(name: str, columns: list[str], *, where: str | None = None, unique: bool = False) -> None:
    condition = sa.text(where) if where else None
    op.create_index(name, "turns", columns, unique=unique, sqlite_where=condition, postgresql_where=condition)


def downgrade() -> None:
    op.drop_table("parts")
    op.drop_table("turns")
    op.drop_table("conversations")
