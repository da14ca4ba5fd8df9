"""What arrives from Slack."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from slackbot.domain.files import Attachment
from slackbot.domain.threads import ChannelKind


@dataclass(frozen=True, slots=True)
class InboundMessage:
    """One message from Slack, whichever event brought it.

    ``text`` is Slack's own spelling (entities such as ``<@U1>`` not yet resolved). ``user_id`` is empty for posts
    of integrations that have no user. ``author_team_id`` differs from ``team_id`` for Slack Connect guests.
    """

    team_id: str
    channel_id: str
    channel_kind: ChannelKind
    ts: str
    thread_ts: str | None
    user_id: str
    text: str
    attachments: tuple[Attachment, ...] = ()
    bot_id: str | None = None
    app_id: str | None = None
    author_team_id: str | None = None
    event_id: str = ""

    @property
    def is_reply(self) -> bool:
        """Whether it was written inside a thread (a root carries its own ``ts`` as ``thread_ts``)."""
        return self.thread_ts is not None and self.thread_ts != self.ts


class Button(StrEnum):
    """What can be pressed. The first act on a turn, the next on a handover, the last on a thread."""

    RETRY = "retry"
    STOP = "stop"
    GOOD = "good"
    """Thumbs up: of Slack's feedback buttons the positive one."""
    BAD = "bad"
    HUMAN = "human"
    """Ask for a human."""
    CLAIM = "claim"
    """An operator takes the thread that waits for one."""
    HAND_BACK = "hand_back"
    RESOLVE = "resolve"
    CALL_OFF = "call_off"
    """The asker wants no human any more."""
    TAKE_OVER = "take_over"
    """An operator takes the thread unasked."""
    JUST_SAY = "just_say"
    """An operator said something without taking the thread."""


@dataclass(frozen=True, slots=True)
class _Pressed:
    """Who pressed what, and where. Who may is not decided yet: anybody can see a button."""

    button: Button
    team_id: str
    channel_id: str
    message_ts: str
    thread_ts: str | None
    user_id: str


@dataclass(frozen=True, slots=True)
class Press(_Pressed):
    """Somebody pressed a button under a turn's reply."""

    turn_id: int


@dataclass(frozen=True, slots=True)
class HandoverPress(_Pressed):
    """Somebody pressed CLAIM, HAND_BACK, RESOLVE or CALL_OFF, on a card or in the thread."""

    handover_id: int


@dataclass(frozen=True, slots=True)
class ThreadPress(_Pressed):
    """Somebody chose HUMAN or TAKE_OVER from a message's menu, or answered our private question with TAKE_OVER or
    JUST_SAY. ``message_ts`` is the message it was about."""


@dataclass(frozen=True, slots=True)
class SessionStopped:
    """Somebody pressed the Stop of Slack's own agent session in this thread."""

    team_id: str
    channel_id: str
    thread_ts: str
    user_id: str


@dataclass(frozen=True, slots=True)
class MessageEdited:
    """Somebody changed the words of their message."""

    team_id: str
    channel_id: str
    ts: str
    text: str
    attachments: tuple[Attachment, ...] = ()


@dataclass(frozen=True, slots=True)
class MessageDeleted:
    """A message was taken away."""

    team_id: str
    channel_id: str
    ts: str


Arrived: TypeAlias = (
    InboundMessage | Press | HandoverPress | ThreadPress | SessionStopped | MessageEdited | MessageDeleted
)
"""What asks something of us."""


@dataclass(frozen=True, slots=True)
class Unsupported:
    """An event or action that asks nothing of us. ``reason`` is for the log, which need not tell of a routine one."""

    reason: str
    routine: bool = False
