"""Runs the migrations on the connection that ``slackbot.store.migrate`` has opened and locked."""

from __future__ import annotations

from alembic import context
from alembic.util import CommandError

connection = context.config.attributes.get("connection")
if connection is None:
    raise CommandError("run migrations with: slackbot migrate")
# Batch mode: SQLite changes a table by copying it.
context.configure(connection=connection, render_as_batch=True)
context.run_migrations()
