"""Which messages get an answer: pure decisions about one inbound message."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from slackbot.domain import (
    FLAT_ROOT,
    BotIdentity,
    ChannelKind,
    Conversation,
    Handover,
    HandoverReason,
    InboundMessage,
    Move,
    Notice,
    ThreadKey,
)
from slackbot.text.inbound import addressees, without_mention


class Followups(StrEnum):
    """When a message in a thread the agent takes part in needs no mention."""

    AUTO = "auto"
    ALWAYS = "always"
    MENTION = "mention"


class DmMode(StrEnum):
    """Whether each top-level DM is a thread of its own, or the whole DM is one conversation."""

    THREAD = "thread"
    FLAT = "flat"


@dataclass(frozen=True, slots=True)
class Rules:
    """What the operator allows. Empty allow-lists allow everything; of a number, 0 means no limit."""

    followups: Followups = Followups.AUTO
    dm_mode: DmMode = DmMode.THREAD
    allowed_channels: frozenset[str] = frozenset()
    allowed_users: frozenset[str] = frozenset()
    answer_bots: bool = False
    answer_external_users: bool = False
    turns_per_user_per_minute: int = 20
    running_per_team: int = 0
    running_per_user: int = 10
    waiting_per_thread: int = 20
    waiting_per_user: int = 50
    waiting_per_team: int = 5_000
    human_phrases: frozenset[str] = frozenset()
    """What somebody writes, in lower case, to call for a human."""
    step_back_on_mention: bool = False
    """Whether naming a teammate in the agent's thread calls for a human."""


@dataclass(frozen=True, slots=True)
class ThreadFacts:
    """What is stored about the thread a message was written in."""

    conversation: Conversation | None = None
    last_asker: str | None = None
    """Who wrote the newest message that the agent was asked to answer."""
    others_wrote_since: bool = False
    """Whether anybody else wrote below the answer to it (below the question, while it is not answered)."""
    asks_last_minute: int = 0
    """Questions of this author in this team during the last 60 seconds."""
    notices_last_minute: int = 0
    """Sentences of ours to this author in this team during the last 60 seconds."""
    waiting_here: int = 0
    """Questions in this thread that are not being answered yet."""
    waiting_of_author: int = 0
    waiting_in_team: int = 0
    running_of_author: int = 0
    """Questions of this author in this team that are being answered."""
    running_in_team: int = 0
    handover: Handover | None = None
    """The one that is open in the thread: then the agent is silent."""


@dataclass(frozen=True, slots=True)
class RunTurn:
    """The agent answers; ``later``, when as many questions are being answered as may be."""

    later: bool = False


@dataclass(frozen=True, slots=True)
class KeepAsContext:
    """Not for the agent now; it goes along with the next question of the thread."""

    handover_id: int | None = None
    """The handover during which it was said."""


@dataclass(frozen=True, slots=True)
class Say:
    """One sentence of ours instead of an agent run; ``mention_only`` also changes the thread."""

    notice: Notice
    mention_only: bool | None = None


@dataclass(frozen=True, slots=True)
class StartAfresh:
    """The flat DM forgets its conversation, in order with the questions around it."""


@dataclass(frozen=True, slots=True)
class Relay:
    """It is shown on the other side of a handover."""


@dataclass(frozen=True, slots=True)
class CallHuman:
    """Somebody asks for a human, in words. The message is context."""

    reason: HandoverReason


@dataclass(frozen=True, slots=True)
class Order:
    """Somebody says in words what a handover's button says."""

    move: Move


@dataclass(frozen=True, slots=True)
class Ignore:
    """Nothing is stored or said. ``reason`` is for the log."""

    reason: str


Decision: TypeAlias = RunTurn | KeepAsContext | Say | StartAfresh | Relay | CallHuman | Order | Ignore


NOTICES_PER_MINUTE = 10
"""Sentences of ours that one person gets in a minute. Whoever goes on has read them."""


def thread_of(message: InboundMessage, rules: Rules) -> ThreadKey:
    """The thread a message belongs to, and its answer goes into."""
    if message.is_reply and message.thread_ts is not None:
        root = message.thread_ts
    elif message.channel_kind is ChannelKind.DM and rules.dm_mode is DmMode.FLAT:
        root = FLAT_ROOT
    else:
        root = message.ts
    return ThreadKey(message.team_id, message.channel_id, root)


def not_for_us(message: InboundMessage, me: BotIdentity, rules: Rules) -> Ignore | None:
    """Reasons to leave a message alone that need no look into the store."""
    if message.user_id == me.user_id or (message.bot_id and message.bot_id == me.bot_id):
        return Ignore("own message")
    if message.app_id and message.app_id == me.app_id:
        return Ignore("own app's message")
    if (message.bot_id or not message.user_id) and not rules.answer_bots:
        return Ignore("another bot")
    external = message.author_team_id is not None and message.author_team_id != message.team_id
    if external and not rules.answer_external_users:
        return Ignore("external user")
    return None


def decide(
    message: InboundMessage, facts: ThreadFacts, me: BotIdentity, rules: Rules, *, room: float = float("inf")
) -> Decision:
    """What to do with a message that ``not_for_us`` let pass. ``room``: so many questions that wait may run now."""
    decision = _decide(message, facts, me, rules, room)
    if isinstance(decision, Say) and facts.notices_last_minute >= NOTICES_PER_MINUTE:
        return Ignore("told often enough")
    return decision


def _decide(message: InboundMessage, facts: ThreadFacts, me: BotIdentity, rules: Rules, room: float) -> Decision:
    private = message.channel_kind is ChannelKind.DM
    called = private or f"<@{me.user_id}>" in message.text or f"<@{me.user_id}|" in message.text
    text = without_mention(message.text, me.user_id).strip()
    if facts.handover is not None:
        return _during_handover(facts.handover, text, called=called, private=private)
    opening = addressees(message.text)
    others_addressed = bool(opening) and me.user_id not in opening
    if others_addressed and not private and rules.step_back_on_mention and facts.last_asker == message.user_id:
        return CallHuman(HandoverReason.MENTION)
    if not private and (others_addressed or not (called or _goes_on(message, facts, rules))):
        return KeepAsContext() if _takes_part(facts) else Ignore("not addressed to the agent")
    if forbidden := _forbidden(message, rules):
        return Say(forbidden)
    if _said(text) in rules.human_phrases:
        return CallHuman(HandoverReason.USER)
    command = _command(message, text, rules) if called else None
    if command is not None and not isinstance(command, StartAfresh):
        return command
    for bound, count, notice in (
        (rules.turns_per_user_per_minute, facts.asks_last_minute, Notice.TOO_MANY_TURNS),
        (rules.waiting_per_thread, facts.waiting_here, Notice.THREAD_FULL),
        (rules.waiting_per_user, facts.waiting_of_author, Notice.USER_FULL),
        (rules.waiting_per_team, facts.waiting_in_team, Notice.TEAM_FULL),
    ):
        if 0 < bound <= count:
            return Say(notice)
    # What waits comes before it: in a crowd nobody's question runs yet.
    author_is_busy = 0 < rules.running_per_user <= facts.running_of_author + facts.waiting_of_author
    team_is_full = 0 < rules.running_per_team <= facts.running_in_team + facts.waiting_in_team
    return command or RunTurn(later=room <= facts.waiting_in_team or author_is_busy or team_is_full)


def _goes_on(message: InboundMessage, facts: ThreadFacts, rules: Rules) -> bool:
    """Whether a message without a mention is for the agent. Two bots that follow each other up would never stop."""
    return bool(message.user_id) and not message.bot_id and _follows_up(message, facts, rules)


def _command(message: InboundMessage, text: str, rules: Rules) -> Decision | None:
    private = message.channel_kind is ChannelKind.DM
    if not text and not message.attachments:
        return Say(Notice.GREETING)
    match _said(text):
        case "quiet" if not private:
            return Say(Notice.QUIET, mention_only=True)
        case "listen" if not private:
            return Say(Notice.LISTENING, mention_only=False)
        case "new" if thread_of(message, rules).root_ts == FLAT_ROOT:
            return StartAfresh()
    return None


def _during_handover(handover: Handover, text: str, *, called: bool, private: bool) -> Decision:
    """The agent is silent: what people write goes to each other."""
    if called:
        match _said(text):
            case "resume" | "hand back":
                return Order(Move.HAND_BACK)
            case "resolve" | "resolved":
                return Order(Move.RESOLVE)
            case "never mind" | "no human":
                return Order(Move.CALL_OFF)
    return Relay() if private else KeepAsContext(handover.id)


def _said(text: str) -> str:
    """A message as it is compared with commands and phrases."""
    return " ".join(text.lower().split()).strip(" .,!?").removesuffix(" please").rstrip(",")


def _takes_part(facts: ThreadFacts) -> bool:
    """Whether the agent was asked in the thread, or told to be quiet in it; a greeting or a refusal is not enough."""
    return facts.last_asker is not None or (facts.conversation is not None and facts.conversation.mention_only)


def _follows_up(message: InboundMessage, facts: ThreadFacts, rules: Rules) -> bool:
    if facts.last_asker is None or facts.conversation is None or facts.conversation.mention_only:
        return False
    if rules.followups is Followups.AUTO:
        return message.user_id == facts.last_asker and not facts.others_wrote_since
    return rules.followups is Followups.ALWAYS


def _forbidden(message: InboundMessage, rules: Rules) -> Notice | None:
    private = message.channel_kind is ChannelKind.DM
    if rules.allowed_channels and not private and message.channel_id not in rules.allowed_channels:
        return Notice.CHANNEL_NOT_ALLOWED
    if rules.allowed_users and message.user_id not in rules.allowed_users:
        return Notice.USER_NOT_ALLOWED
    return None
