"""Conversations, and the work of answering one message."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from slackbot.domain.files import Attachment
from slackbot.domain.threads import ChannelKind, ThreadKey


class TurnKind(StrEnum):
    """What a stored message asks for."""

    ASK = "ask"
    """An agent run."""
    RESET = "reset"
    """``new`` in a flat DM: the next turn starts a fresh conversation. Ordered like an ask."""
    NOTICE = "notice"
    """One sentence of ours, without a run (greeting, refusal, confirmation). Does not wait for running turns."""
    CONTEXT = "context"
    """Nothing now; its text goes along with the next ask of the thread."""
    RELAY = "relay"
    """During a handover in a DM: it is shown on the other side, and goes along with the next ask like context."""


class TurnState(StrEnum):
    """How far a turn is. ``CONTEXT`` rows are stored as DONE: they wait for nobody."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


class Notice(StrEnum):
    """The sentences we say ourselves, by name; ``slackbot.errors.SENTENCES`` holds their wording."""

    GREETING = "greeting"
    QUIET = "quiet"
    LISTENING = "listening"
    RESET = "reset"
    CHANNEL_NOT_ALLOWED = "channel_not_allowed"
    USER_NOT_ALLOWED = "user_not_allowed"
    TOO_MANY_TURNS = "too_many_turns"
    THREAD_FULL = "thread_full"
    USER_FULL = "user_full"
    TEAM_FULL = "team_full"


@dataclass(frozen=True, slots=True)
class Conversation:
    """A Slack thread and the Noxus conversation bound to it (none before its first ask)."""

    id: int
    thread: ThreadKey
    channel_kind: ChannelKind
    agent_conversation_id: str | None = None
    mention_only: bool = False
    needs_past: bool = False
    """Whether the Noxus conversation has yet to be told what was said in the thread before it."""
    is_shared: bool = False
    """Whether more than one person speaks in the thread: then messages carry their author's name."""
    sent_files: frozenset[str] = frozenset()
    """Slack's ids of the files that the Noxus conversation has."""
    unread_told: int | None = None
    """The turn beside which people were told that the agent has no tool for files."""


SHARING = "sharing"
"""The answer stands whole, and what the agent made is being brought into the thread."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One inbound message that a worker has claimed, and the work of answering it."""

    id: int
    conversation: Conversation
    kind: TurnKind
    ts: str
    user_id: str
    text: str
    attachments: tuple[Attachment, ...]
    notice: Notice | None
    is_reply: bool
    """Whether the message was written inside a thread: then that thread may hold older messages."""
    attempt: int
    """1 for the first try; a retry or a requeue after a crash counts up."""
    submitted: bool
    """Whether the message may already have reached Noxus. Such a turn is never sent again by itself."""
    accepted_at: float
    """Epoch seconds by the database's clock."""
    waited: bool = False
    """Whether it had to wait for another question: then its message may carry the mark for that."""
    stopped_by: str | None = None
    """Who asked for the answer to be stopped."""
    shown: bool = False
    """Whether Slack shows its last words already; ``ending`` says what is left to be done."""
    ending: str = ""
    """``SHARING``, or else the code of how the answer was cut off, while the agent's side is waited for."""
    echoes: bool = False
    """Whether a process died at it lately: then calls of that process may still arrive."""
    handover_id: int | None = None
    """The handover whose other side a RELAY is shown on."""
    from_operator: bool = False
    """Whether that is the asker's side."""

    @property
    def thread(self) -> ThreadKey:
        return self.conversation.thread


@dataclass(frozen=True, slots=True)
class PartRecord:
    """A Slack message that carries part ``index`` of a turn's reply. A placeholder carries no agent text yet.
    ``chars`` is how much agent text Slack shows in it, and ``at_work`` whether a Stop button or what the agent does,
    where that was looked up."""

    index: int
    ts: str
    placeholder: bool = False
    chars: int = 0
    at_work: bool = False


@dataclass(frozen=True, slots=True)
class ContextMessage:
    """Something said in the thread that was not answered, or before the agent was there."""

    ts: str
    user_id: str
    text: str
    attachments: tuple[Attachment, ...] = ()
    from_agent: bool = False
    from_operator: bool = False
    """Whether a human said it who had the thread instead of the agent."""
    name: str = ""
    """Who said it, where only the name is known, and no ``user_id``."""
