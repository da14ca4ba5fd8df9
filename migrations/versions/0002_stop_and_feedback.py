"""Who stopped a turn, what has been shown of it, and what people think of its answer."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Not in batch mode: SQLite adds columns in place, and may not drop a table that others refer to.
    op.add_column("turns", sa.Column("waited", sa.Boolean, nullable=False, server_default=sa.false()))
    op.add_column("turns", sa.Column("stopped_by", sa.Text))
    op.add_column("turns", sa.Column("shown_at", sa.Double))
    op.create_table(
        "feedback",
        sa.Column("turn_id", sa.BigInteger, nullable=False),
        sa.Column("user_id", sa.Text, nullable=False),
        sa.Column("good", sa.Boolean, nullable=False),
        sa.Column("given_at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("turn_id", "user_id", name="pk_feedback"),
        sa.ForeignKeyConstraint(["turn_id"], ["turns.id"], name="fk_feedback_turn_id"),
    )
    op.create_index("ix_feedback_given", "feedback", ["given_at"])


def downgrade() -> None:
    op.drop_table("feedback")
    for column in ("shown_at", "stopped_by", "waited"):
        op.drop_column("turns", column)
