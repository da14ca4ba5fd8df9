"""What we show in Slack."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from slackbot.domain.arriving import Button
from slackbot.domain.threads import Person


class SessionStatus(StrEnum):
    """What Slack shows of an agent's session, where that feature is on."""

    PROCESSING = "processing"
    ACTIVE = "active"
    SUSPENDED = "suspended"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class PartRef:
    """Names a part of a reply inside Slack's message metadata, so that it can be found again."""

    turn_id: int
    index: int


@dataclass(frozen=True, slots=True)
class Card:
    """What operators see of a handover. ``facts`` are label and value, ``quotes`` who said what; plain text all of it.

    ``waiting_since`` (epoch seconds) is shown by Slack's own clock, so that it goes on without edits; ``link`` leads to
    the thread.
    """

    heading: str
    facts: tuple[tuple[str, str], ...] = ()
    quotes: tuple[tuple[str, str], ...] = ()
    waiting_since: float | None = None
    link: str = ""


@dataclass(frozen=True, slots=True)
class Body:
    """What one Slack message of ours shows: agent text, what the agent is doing now, one sentence of ours, buttons.

    ``buttons`` act on ``turn_id`` or, those of a handover, on ``handover_id``, which is there whenever they are. GOOD
    and BAD always come together. A ``card`` comes first. With a ``speaker`` the message appears under that person's
    name and picture, where Slack allows it, else with the name before the text. ``quoted`` are that person's words in
    Slack's own spelling.
    """

    markdown: str = ""
    notice: str = ""
    step: str = ""
    buttons: tuple[Button, ...] = ()
    turn_id: int | None = None
    handover_id: int | None = None
    card: Card | None = None
    speaker: Person | None = None
    quoted: str = ""
