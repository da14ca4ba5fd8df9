"""A turn remembers when to look for what the last calls of an owner who died brought into its thread."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

EXPECTED = sa.text("echoes_at IS NOT NULL")


def upgrade() -> None:
    op.add_column("turns", sa.Column("echoes_at", sa.Double()))
    op.create_index("ix_turns_echoes", "turns", ["echoes_at"], sqlite_where=EXPECTED, postgresql_where=EXPECTED)


def downgrade() -> None:
    op.drop_index("ix_turns_echoes", "turns")
    op.drop_column("turns", "echoes_at")
