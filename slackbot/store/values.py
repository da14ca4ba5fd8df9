"""The answers of the store that nobody else speaks of."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from slackbot.domain import Handover, ThreadKey, Transition
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
    WAITS = "waits"
    """It is done once the thread's running question has ended."""
    NOT_ASKER = "not_asker"
    HANDED_OVER = "handed_over"
    """A human has the thread, or was asked for: the agent answers nothing now."""
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
class Timers:
    """When to do something about a handover, in seconds; 0: never.

    While nobody took it: ``remind`` again and again, and ``give_up`` in the end. While an operator has it and says
    nothing: ``nudge`` them, then ``offer`` to hand back.
    """

    remind: float = 0.0
    give_up: float = 0.0
    nudge: float = 0.0
    offer: float = 0.0


@dataclass(frozen=True, slots=True)
class Handed:
    """What became of a step in a handover. Not ``done``: it stands as ``handover`` says, None when there is none.
    ``stop_turn`` is an answer of the agent's that runs and has to stop."""

    done: bool
    handover: Handover | None
    stop_turn: int | None = None


@dataclass(frozen=True, slots=True)
class Due:
    """A handover that people have to hear of: of its ``untold`` steps, oldest first, or because of a ``timer``."""

    handover: Handover
    untold: tuple[Transition, ...]
    timer: str | None = None
    again: bool = False
    """Whether somebody began to show this before, and may not have come to its end."""


@dataclass(frozen=True, slots=True)
class HandoverRecord:
    """A handover with its steps, oldest first."""

    handover: Handover
    transitions: tuple[Transition, ...]

    @property
    def outcome(self) -> str:
        """The move that ended it; while it is open, the state it is in."""
        return self.handover.state.value if self.handover.is_open else self.transitions[-1].move.value

    def waits(self) -> dict[str, float | None]:
        """For how many seconds each of these was waited for since it was opened; None for what has not come."""
        handover = self.handover
        came = {"claim": handover.claimed_at, "first_word": handover.first_word_at, "end": handover.ended_at}
        return {name: None if at is None else max(at - handover.opened_at, 0.0) for name, at in came.items()}


@dataclass(frozen=True, slots=True)
class Counts:
    """How much work there is, over all threads."""

    queued: int
    running: int


@dataclass(frozen=True, slots=True)
class Bounds:
    """How many questions may be answered at the same time, over all processes; 0: no limit."""

    per_team: int = 0
    per_user: int = 0
