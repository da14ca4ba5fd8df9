"""An index for counting a team's questions, and for nothing else."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

NAME, COLUMNS = "ix_turns_load", ["team_id", "user_id", "state", "kind"]
ORDERED = "kind IN ('ask', 'reset')"


def upgrade() -> None:
    _index(f"coalesce(state, '') IN ('queued', 'running') AND {ORDERED}")


def downgrade() -> None:
    _index(f"state IN ('queued', 'running') AND {ORDERED}")


def _index(where: str) -> None:
    op.drop_index(NAME, "turns")
    op.create_index(NAME, "turns", COLUMNS, sqlite_where=sa.text(where), postgresql_where=sa.text(where))
