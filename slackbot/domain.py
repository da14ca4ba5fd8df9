"""The values every room shares. Frozen, without behaviour that touches the outside."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import BinaryIO, TypeAlias

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
class Attachment:
    """A file somebody put into a Slack message, by Slack's id and name. Its bytes are not here."""

    id: str
    name: str


class FileTrouble(StrEnum):
    """Why a file did not go in or come out, by name; ``slackbot.files.passing`` holds the words."""

    TOO_BIG = "too_big"
    TOO_BIG_THERE = "too_big_there"
    """Within our limit, not within Slack's."""
    TOO_MANY = "too_many"
    TOO_MUCH = "too_much"
    """The files of one turn are too big together."""
    TYPE_REFUSED = "type_refused"
    GONE = "gone"
    HIDDEN = "hidden"
    """Slack's plan does not show it any more."""
    SCANNING = "scanning"
    """Slack had not finished looking at it."""
    NO_ACCESS = "no_access"
    MISSING_SCOPE = "missing_scope"
    UNREADABLE = "unreadable"
    """It could not be fetched, or what came was not the file."""
    NOT_A_FILE = "not_a_file"
    """Something that only Slack can show, such as a canvas."""
    EMPTY = "empty"
    """Slack takes no empty files."""
    UPLOADS_OFF = "uploads_off"
    STORAGE_FULL = "storage_full"


@dataclass(frozen=True, slots=True)
class SlackFile:
    """A file in Slack as ``files.info`` tells of it now. ``size`` in bytes as Slack says, not yet as counted.

    ``url`` is where its bytes are. An ``external`` one lies elsewhere and is public: its address is all we pass on.
    ``transcript`` holds what Slack heard in a voice clip, if it has listened already.
    """

    id: str
    name: str
    media_type: str
    size: int
    url: str
    external: bool = False
    transcript: str = ""


@dataclass(frozen=True, slots=True)
class FileBytes:
    """A file at hand. ``content`` is a temporary file that is there only as long as whoever made it says; read it
    from its start. ``size`` in bytes, counted."""

    name: str
    media_type: str
    size: int
    content: BinaryIO


@dataclass(frozen=True, slots=True)
class FileLink:
    """A file that the agent fetches by itself from a public https address."""

    name: str
    media_type: str
    url: str


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
class Press:
    """Somebody pressed a button under a turn's reply. Who may is not decided yet: anybody can see a button."""

    button: Button
    team_id: str
    channel_id: str
    message_ts: str
    thread_ts: str | None
    user_id: str
    turn_id: int


@dataclass(frozen=True, slots=True)
class HandoverPress:
    """Somebody pressed CLAIM, HAND_BACK, RESOLVE or CALL_OFF, on a card or in the thread."""

    button: Button
    team_id: str
    channel_id: str
    message_ts: str
    thread_ts: str | None
    user_id: str
    handover_id: int


@dataclass(frozen=True, slots=True)
class ThreadPress:
    """Somebody chose HUMAN or TAKE_OVER from a message's menu, or answered our private question with TAKE_OVER or
    JUST_SAY. ``message_ts`` is the message it was about."""

    button: Button
    team_id: str
    channel_id: str
    message_ts: str
    thread_ts: str | None
    user_id: str


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


@dataclass(frozen=True, slots=True)
class Unsupported:
    """An event or action that asks nothing of us. ``reason`` is for the log, which need not tell of a routine one."""

    reason: str
    routine: bool = False


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
    handover_id: int | None = None
    """The handover whose other side a RELAY is shown on."""
    from_operator: bool = False
    """Whether that is the asker's side."""

    @property
    def thread(self) -> ThreadKey:
        return self.conversation.thread


@dataclass(frozen=True, slots=True)
class PartRecord:
    """A Slack message that carries part ``index`` of a turn's reply. A placeholder carries no agent text yet."""

    index: int
    ts: str
    placeholder: bool = False


class SessionStatus(StrEnum):
    """What Slack shows of an agent's session, where that feature is on."""

    PROCESSING = "processing"
    ACTIVE = "active"
    SUSPENDED = "suspended"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class ConversationState:
    """What Noxus says about a conversation besides its messages."""

    manual: bool = False
    status: str = ""


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


# --- handover -----------------------------------------------------------------------------------------------------


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
class MessageRef:
    """A message in Slack, by its place."""

    channel_id: str
    ts: str


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


# --- what we show in Slack ---------------------------------------------------------------------------------------


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
    name and picture, where Slack allows it, else with the name before the text.
    """

    markdown: str = ""
    notice: str = ""
    step: str = ""
    buttons: tuple[Button, ...] = ()
    turn_id: int | None = None
    handover_id: int | None = None
    card: Card | None = None
    speaker: Person | None = None


# --- what the agent says -----------------------------------------------------------------------------------------


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
