"""Who has a thread while the agent has not."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from slackbot.domain.threads import MessageRef
from slackbot.domain.turns import Conversation


class HandoverState(StrEnum):
    """Who has the thread during a handover, and how one ended. Without an open handover the agent has it."""

    REQUESTED = "requested"
    """A human was asked for and has not come yet. The agent is silent already."""
    HUMAN = "human"
    RETURNED = "returned"
    """Over: the agent has the thread back and hears what was said."""
    CLOSED = "closed"
    """Over: settled. A later message starts afresh with the agent."""


class HandoverReason(StrEnum):
    """Why a human was asked for."""

    AGENT = "agent"
    USER = "user"
    FAILURE = "failure"
    """The user asked after the agent had failed."""
    OPERATOR = "operator"
    """An operator took over unasked."""
    MENTION = "mention"
    """The user called a teammate by name."""


class Move(StrEnum):
    """What led from one state to the next."""

    ASK = "ask"
    CLAIM = "claim"
    TAKE_OVER = "take_over"
    HAND_BACK = "hand_back"
    RESOLVE = "resolve"
    CALL_OFF = "call_off"
    """The asker wants no human any more."""
    GIVE_UP = "give_up"
    """Nobody came in time."""


@dataclass(frozen=True, slots=True)
class Transition:
    """One step of a handover. ``actor_id`` is empty for the agent and for time. ``at`` in epoch seconds."""

    id: int
    move: Move
    before: HandoverState | None
    after: HandoverState
    actor_id: str
    at: float


@dataclass(frozen=True, slots=True)
class Handover:
    """The period from asking for a human until the agent has the thread back. Times in epoch seconds.

    ``card`` is the message that operators see; it lies in the thread itself where no channel is set for that.
    """

    id: int
    conversation: Conversation
    state: HandoverState
    reason: HandoverReason
    asker_id: str
    operator_id: str | None
    opened_at: float
    claimed_at: float | None = None
    first_word_at: float | None = None
    """When the operator first wrote something for the asker."""
    ended_at: float | None = None
    card: MessageRef | None = None

    @property
    def is_open(self) -> bool:
        return self.state in {HandoverState.REQUESTED, HandoverState.HUMAN}
