"""Everything that must survive a restart: conversations, turns and the parts of their replies."""

from __future__ import annotations

from slackbot.store.errors import DatabaseInUse, StoreError
from slackbot.store.store import Store
from slackbot.store.values import Accepted, Changed, Counts, Due, Feedback, Handed, HandoverRecord, Pressed, Timers

__all__ = [
    "Accepted",
    "Changed",
    "Counts",
    "DatabaseInUse",
    "Due",
    "Feedback",
    "Handed",
    "HandoverRecord",
    "Pressed",
    "Store",
    "StoreError",
    "Timers",
]
