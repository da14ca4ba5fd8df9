"""The answers of the store that nobody else speaks of."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

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


class Retry(StrEnum):
    """What became of a press on Retry."""

    REQUEUED = "requeued"
    NOT_FAILED = "not_failed"
    """It is queued, running or answered already."""
    NOT_ASKER = "not_asker"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Counts:
    """How much work there is, over all threads."""

    queued: int
    running: int
