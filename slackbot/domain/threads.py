"""Places in Slack, and who is there."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

FLAT_ROOT = ""
"""Root of a DM that is one conversation without threads: its messages are top-level."""


class ChannelKind(StrEnum):
    """Where a message was written, in Slack's words (``channel_type``)."""

    CHANNEL = "channel"
    GROUP = "group"
    DM = "im"
    GROUP_DM = "mpim"


@dataclass(frozen=True, slots=True, order=True)
class ThreadKey:
    """One Slack thread. ``root_ts`` is the ``ts`` of its first message, or ``FLAT_ROOT`` in a flat DM."""

    team_id: str
    channel_id: str
    root_ts: str

    def __str__(self) -> str:
        return f"{self.team_id}/{self.channel_id}/{self.root_ts or 'flat'}"


@dataclass(frozen=True, slots=True)
class BotIdentity:
    """Who we are in one team: from ``auth.test``."""

    team_id: str
    team_name: str
    user_id: str
    bot_id: str
    app_id: str | None = None


@dataclass(frozen=True, slots=True)
class Person:
    """A Slack user as people see them. ``name`` is the display name, else the real name, else the id."""

    user_id: str
    name: str
    is_bot: bool = False
    picture: str = ""
    """Address of the picture beside their messages."""
    is_guest: bool = False
    """Whether they come from another workspace (Slack Connect), or are a guest in this one."""
    has_left: bool = False
    """Whether their account was deactivated."""


@dataclass(frozen=True, slots=True)
class MessageRef:
    """A message in Slack, by its place."""

    channel_id: str
    ts: str
