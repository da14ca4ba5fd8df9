"""Everything that must survive a restart: conversations, turns and the parts of their replies."""

from __future__ import annotations

from slackbot.store.errors import DatabaseInUse, StoreError
from slackbot.store.replicas import Presence, new_owner
from slackbot.store.slots import Slots
from slackbot.store.store import Store
from slackbot.store.values import (
    Accepted,
    Bounds,
    Changed,
    Counts,
    Due,
    Feedback,
    Handed,
    HandoverRecord,
    Pressed,
    Timers,
)

__all__ = [
    "Accepted",
    "Bounds",
    "Changed",
    "Counts",
    "DatabaseInUse",
    "Due",
    "Feedback",
    "Handed",
    "HandoverRecord",
    "Presence",
    "Pressed",
    "Slots",
    "Store",
    "StoreError",
    "Timers",
    "new_owner",
]
