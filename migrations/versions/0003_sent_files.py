"""Which files of Slack a conversation has been given."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("conversations", sa.Column("sent_files", sa.JSON))


def downgrade() -> None:
    op.drop_column("conversations", "sent_files")
