"""Several replicas: finding a question again, shared limits, fair turns."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

# What all processes shall hear of, whatever statement brings it about: table, when, what is said.
HEARD = (
    ("turns", "INSERT", "NEW.state = 'queued'", "turns"),
    (
        "turns",
        "UPDATE",
        "OLD.state <> NEW.state AND NEW.state <> 'running' OR OLD.owner IS NOT NULL AND NEW.owner IS NULL",
        "turns",
    ),
    ("turns", "UPDATE", "NEW.state = 'queued' AND NEW.parked_until < OLD.parked_until", "turns"),
    ("turns", "UPDATE", "OLD.stopped_by IS NULL AND NEW.stopped_by IS NOT NULL", "stops"),
    ("handovers", "INSERT", "NEW.wake_at IS NOT NULL", "handovers"),
    ("handovers", "UPDATE", "NEW.wake_at IS NOT NULL AND NEW.lease_until IS NULL", "handovers"),
    ("handovers", "UPDATE", "OLD.state <> NEW.state", "turns"),
)
NOTIFY = """
CREATE FUNCTION slackbot_notify() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pg_notify('slackbot', TG_ARGV[0]);
  RETURN NULL;
END $$
"""

ORDERED = "kind IN ('ask', 'reset')"
WAITING = "(state NOT IN ('running', 'done', 'failed'))"
READY = f"{WAITING} AND parked_until IS NULL"
SERVED = ["team_id", "channel_id", "user_id", "id"]
QUEUES = {
    "ix_turns_ready": (SERVED, f"{READY} AND {ORDERED}"),
    "ix_turns_brief": (SERVED, f"{READY} AND kind IN ('notice', 'relay')"),
    "ix_turns_parked": (["parked_until"], f"{WAITING} AND parked_until IS NOT NULL"),
    "ix_turns_load": (["team_id", "user_id", "state", "kind"], f"state IN ('queued', 'running') AND {ORDERED}"),
}


def upgrade() -> None:
    op.add_column("conversations", sa.Column("unread_told", sa.BigInteger))
    op.add_column("turns", sa.Column("digest", sa.Text))
    op.add_column("turns", sa.Column("parked_until", sa.Double))
    for name, (columns, where) in QUEUES.items():
        op.create_index(name, "turns", columns, sqlite_where=sa.text(where), postgresql_where=sa.text(where))
    op.create_table(
        "slack_slots",
        sa.Column("team_id", sa.Text, nullable=False),
        sa.Column("method", sa.Text, nullable=False),
        sa.Column("channel_id", sa.Text, nullable=False),
        sa.Column("slot", sa.Integer, nullable=False),
        sa.Column("until", sa.Double, nullable=False),
        sa.Column("owner", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("team_id", "method", "channel_id", "slot", name="pk_slack_slots"),
    )
    op.create_index("ix_slack_slots_until", "slack_slots", ["until"])
    if op.get_bind().dialect.name == "postgresql":
        op.execute(NOTIFY)
        for number, (table, event, condition, word) in enumerate(HEARD):
            op.execute(
                f"CREATE TRIGGER slackbot_notify_{number} AFTER {event} ON {table} FOR EACH ROW"
                f" WHEN ({condition}) EXECUTE FUNCTION slackbot_notify('{word}')"
            )


def downgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION slackbot_notify() CASCADE")
    for name in QUEUES:
        op.drop_index(name, "turns")
    op.drop_column("turns", "parked_until")
    op.drop_table("slack_slots")
    op.drop_column("turns", "digest")
    op.drop_column("conversations", "unread_told")
