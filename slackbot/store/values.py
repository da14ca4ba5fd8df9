"""The answers of the store that nobody else speaks of."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from slackbot.domain import ThreadKey
from slackbot.routing import Decision


@dataclass(frozen=True, slots=True)
class Accepted:
    """What became of one inbound message, after the commit."""

    decision: Decision
    duplicate: bool = False
    """The message was stored before, by its twin, a redelivery or another replica."""
    turn_id: int | None = None
    """The stored row; None when nothing is stored."""
    waiting: bool = False
    """Another question of the thread runs, or is queued and older: this one is answered after it."""


class Pressed(StrEnum):
    """What became of a press on Retry or Stop."""

    DONE = "done"
    TOO_LATE = "too_late"
    """The turn is not in the state for it (any more): not failed, or not running."""
    NOT_ASKER = "not_asker"
    UNKNOWN = "unknown"


class Changed(StrEnum):
    """What became of an edit or a deletion of somebody's message."""

    USED = "used"
    TOO_LATE = "too_late"
    """Its turn has begun or ended: that stays as it is."""
    UNKNOWN = "unknown"
    """Nothing is stored of the message."""


@dataclass(frozen=True, slots=True)
class Feedback:
    """What one person thinks of one answer. ``given_at`` in epoch seconds; ``ts`` is the question's."""

    given_at: float
    good: bool
    user_id: str
    turn_id: int
    thread: ThreadKey
    ts: str


@dataclass(frozen=True, slots=True)
class Counts:
    """How much work there is, over all threads."""

    queued: int
    running: int
