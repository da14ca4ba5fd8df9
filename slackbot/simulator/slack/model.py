"""The values of the simulated workspace: people, channels, messages, and what happened to them."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeAlias

Json: TypeAlias = dict[str, Any]


class Kind(StrEnum):
    """A channel's kind, in the words of an event's `channel_type`."""

    CHANNEL = "channel"
    GROUP = "group"
    IM = "im"
    MPIM = "mpim"


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """A person or a bot; `bot_id` and `app_id` are set for bots only. `title` is what they do here.

    `is_restricted` is a guest of this workspace; a guest by Slack Connect has another team. Who is `deleted` has left.
    """

    id: str
    name: str
    real_name: str
    display_name: str
    team_id: str
    color: str
    bot_id: str | None = None
    app_id: str | None = None
    title: str = ""
    is_restricted: bool = False
    deleted: bool = False

    @property
    def is_bot(self) -> bool:
        """Tell whether this is a bot."""
        return self.bot_id is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class SimMessage:
    """One message as it is now; every change makes a new value.

    `thread_ts` is None for a message outside threads and for a root, whether or not it has replies.
    `edited` holds `{"user", "ts"}` where Slack would show "(edited)". `ephemeral_to` names the only reader of a
    message made by chat.postEphemeral. `extras` are further fields of the message's JSON.
    """

    channel: str
    ts: str
    user: str
    text: str
    thread_ts: str | None = None
    blocks: tuple[Json, ...] = ()
    attachments: tuple[Json, ...] = ()
    files: tuple[Json, ...] = ()
    metadata: Json | None = None
    subtype: str | None = None
    bot_id: str | None = None
    app_id: str | None = None
    username: str | None = None
    icon_url: str | None = None
    client_msg_id: str | None = None
    edited: dict[str, str] | None = None
    deleted: bool = False
    ephemeral_to: str | None = None
    reactions: dict[str, tuple[str, ...]] = field(default_factory=dict)
    extras: Json = field(default_factory=dict)

    @property
    def shown(self) -> str:
        """The text a reader sees: the markdown blocks joined, or the plain text where there are none."""
        return shown(self.text, self.blocks)


def shown(text: str, blocks: tuple[Json, ...]) -> str:
    """Join the markdown blocks, or fall back to the plain text."""
    markdown = [block["text"] for block in blocks if block.get("type") == "markdown"]
    return "\n\n".join(markdown) if markdown else text


@dataclass(frozen=True, slots=True)
class Version:
    """What one message looked like from `at` (monotonic seconds) on."""

    at: float
    text: str
    blocks: tuple[Json, ...]
    deleted: bool = False

    @property
    def shown(self) -> str:
        """The text a reader saw."""
        return shown(self.text, self.blocks)


@dataclass(slots=True, kw_only=True)
class Channel:
    """A channel with everything said in it; `messages` is in order of `ts`, as timestamps only grow."""

    id: str
    name: str
    kind: Kind
    members: set[str]
    is_ext_shared: bool = False
    is_archived: bool = False
    messages: dict[str, SimMessage] = field(default_factory=dict)
    top_level: list[str] = field(default_factory=list)
    replies: dict[str, list[str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Posted:
    """A message appeared."""

    message: SimMessage


@dataclass(frozen=True, slots=True)
class Edited:
    """A message was replaced by a new version of itself, by `actor`."""

    message: SimMessage
    previous: SimMessage
    actor: str


@dataclass(frozen=True, slots=True)
class Deleted:
    """A message disappeared; `message` carries the deleted flag."""

    message: SimMessage
    previous: SimMessage


@dataclass(frozen=True, slots=True)
class Whispered:
    """An ephemeral message appeared, changed or disappeared for its one reader."""

    message: SimMessage


@dataclass(frozen=True, slots=True)
class StatusSet:
    """A thread's status line changed; empty when it was cleared. `loading` are messages to show in turn."""

    channel: str
    thread_ts: str
    status: str
    loading: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Reacted:
    """A reaction was added to a message, or taken away."""

    message: SimMessage
    user: str
    name: str
    added: bool


@dataclass(frozen=True, slots=True)
class Opened:
    """A conversation was made."""

    channel: Channel


@dataclass(frozen=True, slots=True)
class ViewsShown:
    """The modals in front of a person changed; the uppermost is the last."""

    user: str
    views: tuple[Json, ...]


Change: TypeAlias = Posted | Edited | Deleted | Whispered | StatusSet | Reacted | Opened | ViewsShown
