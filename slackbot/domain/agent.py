"""What the agent says, and what is known of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class ConversationState:
    """What Noxus says about a conversation besides its messages."""

    manual: bool = False
    status: str = ""


@dataclass(frozen=True, slots=True)
class TextDelta:
    """A piece of the answer. Pieces of one block are glued; different blocks are separate paragraphs."""

    block: str
    text: str


@dataclass(frozen=True, slots=True)
class Reasoning:
    """The agent is thinking aloud. The thoughts themselves stay out of the answer."""

    block: str
    text: str


@dataclass(frozen=True, slots=True)
class ToolStarted:
    """The agent called a tool; ``name`` is the wire name."""

    call_id: str
    name: str


@dataclass(frozen=True, slots=True)
class ToolFinished:
    """A tool call came back. ``name`` is empty when its start was not seen."""

    call_id: str
    name: str
    ok: bool


@dataclass(frozen=True, slots=True)
class ApprovalRequested:
    """A tool call waits for a human's yes or no, which can only be given in Noxus."""

    call_id: str
    name: str


@dataclass(frozen=True, slots=True)
class Source:
    """Something the agent cites. ``url`` is empty for a document without an address."""

    title: str
    url: str


@dataclass(frozen=True, slots=True)
class FileOffered:
    """The agent made a file. ``url`` may be a ``data:`` URI or a Noxus address; empty when that was too much to keep.
    ``guessed``: it may be something else that has an id and a name."""

    url: str
    media_type: str
    name: str = ""
    guessed: bool = False


@dataclass(frozen=True, slots=True)
class RunFinished:
    """The agent is done. ``reason`` is the wire's ``finishReason``, empty when not said. More events may follow."""

    reason: str = ""


@dataclass(frozen=True, slots=True)
class UnknownFrame:
    """A frame we do not know or do not use. ``kind`` is for the log."""

    kind: str


@dataclass(frozen=True, slots=True)
class StartedOver:
    """What was heard so far is not the answer: it follows now, from its start."""


AgentEvent: TypeAlias = (
    TextDelta
    | Reasoning
    | ToolStarted
    | ToolFinished
    | ApprovalRequested
    | Source
    | FileOffered
    | RunFinished
    | UnknownFrame
    | StartedOver
)


@dataclass(frozen=True, slots=True)
class AgentTarget:
    """Which agent answers: an agent, or a chat flow. Exactly one of the two ids is set."""

    agent_id: str | None = None
    flow_id: str | None = None


@dataclass(frozen=True, slots=True)
class AgentProfile:
    """What the agent's own settings say about how it wants to be shown."""

    name: str = ""
    introductory_message: str = ""
    tool_messages: dict[str, str] = field(default_factory=dict)
    """Tool type to the text shown while it runs (``tool_display_message_start``); invisible tools are absent."""
    tool_end_messages: dict[str, str] = field(default_factory=dict)
    """Tool type to the text shown once it has run (``tool_display_message_end``); invisible tools are absent."""
    hidden_tools: frozenset[str] = frozenset()
    thinking_message: str = ""
    """What to show while there is nothing better to say (``minimal_tool_message``)."""
    hide_reasoning: bool = False
    """Whether not even the fact that the agent reasons may be shown."""
    reads_files: bool = True
    """Whether a tool is enabled that can do something with files; True when that is not known."""
    handover_words: frozenset[str] = frozenset()
    """What the agent says when it calls for a human, by its settings."""
