"""What waits in a thread has an index that PostgreSQL cannot mistake for another."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

WHERE = sa.text("(state NOT IN ('running', 'done', 'failed')) AND kind IN ('ask', 'reset')")


def upgrade() -> None:
    # ix_turns_queued_order is for replicas of the version before, until a later migration.
    op.create_index(
        "ix_turns_following", "turns", ["conversation_id", "ts"], sqlite_where=WHERE, postgresql_where=WHERE
    )


def downgrade() -> None:
    op.drop_index("ix_turns_following", "turns")
