"""Which messages get an answer: the rules of the product, row by row."""

from __future__ import annotations

from dataclasses import replace

import pytest

from slackbot.domain import (
    FLAT_ROOT,
    Attachment,
    BotIdentity,
    ChannelKind,
    Conversation,
    Handover,
    HandoverReason,
    HandoverState,
    InboundMessage,
    Move,
    Notice,
    ThreadKey,
)
from slackbot.routing import (
    CallHuman,
    Decision,
    DmMode,
    Followups,
    Ignore,
    KeepAsContext,
    Order,
    Relay,
    Rules,
    RunTurn,
    Say,
    StartAfresh,
    ThreadFacts,
    decide,
    not_for_us,
    thread_of,
)

ME = BotIdentity(team_id="T1", team_name="Acme", user_id="UBOT", bot_id="BBOT", app_id="ABOT")
ROOT, TS = "100.000000", "200.000000"
ADA, BOB = "UADA", "UBOB"

NOT_ADDRESSED = Ignore("not addressed to the agent")
NOT_ADA = Say(Notice.USER_NOT_ALLOWED)


def said(
    text: str,
    by: str = ADA,
    kind: ChannelKind = ChannelKind.CHANNEL,
    thread_ts: str | None = None,
    bot: str | None = None,
) -> InboundMessage:
    """A message in Slack; top-level unless ``thread_ts`` says otherwise."""
    return InboundMessage("T1", "C1", kind, TS, thread_ts, by, text, bot_id=bot)


def reply(text: str, by: str = ADA, kind: ChannelKind = ChannelKind.CHANNEL, bot: str | None = None) -> InboundMessage:
    """A message inside a thread."""
    return said(text, by, kind, ROOT, bot)


def dm(text: str, thread_ts: str | None = None) -> InboundMessage:
    """A message to the bot alone."""
    return said(text, kind=ChannelKind.DM, thread_ts=thread_ts)


CONVERSATION = Conversation(1, ThreadKey("T1", "C1", ROOT), ChannelKind.CHANNEL)
UNKNOWN = ThreadFacts()
"""A thread the agent has nothing to do with."""
KNOWN = ThreadFacts(CONVERSATION)
"""The agent is in the thread, but has not been asked anything yet."""
ANSWERED_ADA = ThreadFacts(CONVERSATION, last_asker=ADA)
BOB_WROTE_SINCE = replace(ANSWERED_ADA, others_wrote_since=True)
QUIET = replace(ANSWERED_ADA, conversation=replace(CONVERSATION, mention_only=True))
QUIET_FROM_THE_START = replace(KNOWN, conversation=replace(CONVERSATION, mention_only=True))
EAGER = replace(ANSWERED_ADA, asks_last_minute=20)
THREAD_FULL = replace(ANSWERED_ADA, waiting_here=20)
BUSY, BUSY_TEAM = replace(ANSWERED_ADA, running_of_author=10), replace(ANSWERED_ADA, running_in_team=9)
REQUESTED = replace(
    ANSWERED_ADA,
    handover=Handover(1, CONVERSATION, HandoverState.REQUESTED, HandoverReason.USER, ADA, None, 0.0),
)
"""A human was asked for and has not come yet."""

AUTO, ALWAYS, MENTION = (Rules(followups=followups) for followups in Followups)
FLAT = Rules(dm_mode=DmMode.FLAT)
BOTS = Rules(answer_bots=True, followups=Followups.ALWAYS)
ONLY_C2 = Rules(allowed_channels=frozenset({"C2"}))
ONLY_C1 = Rules(allowed_channels=frozenset({"C1"}))
ONLY_BOB = Rules(allowed_users=frozenset({BOB}))
NO_LIMIT = Rules(turns_per_user_per_minute=0)
SMALL_TEAM = Rules(running_per_team=9)
NO_BOUNDS = Rules(running_per_user=0, waiting_per_thread=0, waiting_per_user=0, waiting_per_team=0)
HUMANS = Rules(human_phrases=frozenset({"human", "i want to talk to a human"}))
STEPS_BACK = Rules(step_back_on_mention=True, followups=Followups.ALWAYS)

TOLD = Ignore("told often enough")
USER_FULL, TEAM_FULL = Say(Notice.USER_FULL), Say(Notice.TEAM_FULL)
BY_WORDS, BY_MENTION = CallHuman(HandoverReason.USER), CallHuman(HandoverReason.MENTION)
HAND_BACK, RESOLVE, CALL_OFF = Order(Move.HAND_BACK), Order(Move.RESOLVE), Order(Move.CALL_OFF)
LATER = RunTurn(later=True)

TABLE: list[tuple[str, InboundMessage, ThreadFacts, Rules, Decision]] = [
    # --- a mention starts or joins a conversation ---
    ("a mention starts one", said("<@UBOT> hello"), UNKNOWN, AUTO, RunTurn()),
    ("anywhere in the text", said("what does <@UBOT> think?"), UNKNOWN, AUTO, RunTurn()),
    ("with a label too", said("<@UBOT|noxus> hello"), UNKNOWN, AUTO, RunTurn()),
    ("in a thread it joins", reply("<@UBOT> hello", BOB), UNKNOWN, AUTO, RunTurn()),
    ("among others who open", said("<@UBOB> and <@UBOT>, hello"), UNKNOWN, AUTO, RunTurn()),
    ("in a private channel", said("<@UBOT> hello", kind=ChannelKind.GROUP), UNKNOWN, AUTO, RunTurn()),
    ("in a group DM", said("<@UBOT> hello", kind=ChannelKind.GROUP_DM), UNKNOWN, AUTO, RunTurn()),
    ("talk in a channel is not ours", said("hello all"), UNKNOWN, AUTO, NOT_ADDRESSED),
    ("nor in a group DM", said("hello all", kind=ChannelKind.GROUP_DM), UNKNOWN, AUTO, NOT_ADDRESSED),
    ("nor in a strange thread", reply("hello all"), UNKNOWN, ALWAYS, NOT_ADDRESSED),
    ("another user's id is no mention", said("<@UBOT2> hello"), UNKNOWN, AUTO, NOT_ADDRESSED),
    # --- follow-ups, auto ---
    ("who was answered last goes on", reply("and tomorrow?"), ANSWERED_ADA, AUTO, RunTurn()),
    ("until somebody else wrote", reply("and tomorrow?"), BOB_WROTE_SINCE, AUTO, KeepAsContext()),
    ("then a mention is needed", reply("<@UBOT> and tomorrow?"), BOB_WROTE_SINCE, AUTO, RunTurn()),
    ("somebody else is not answered", reply("I think so", BOB), ANSWERED_ADA, AUTO, KeepAsContext()),
    ("unless with a mention", reply("<@UBOT> is it so?", BOB), ANSWERED_ADA, AUTO, RunTurn()),
    ("only greeted or refused", reply("hello"), KNOWN, AUTO, Ignore("not addressed to the agent")),
    ("in a group DM alike", reply("and?", kind=ChannelKind.GROUP_DM), ANSWERED_ADA, AUTO, RunTurn()),
    # --- follow-ups, always and never ---
    ("always: anybody", reply("and tomorrow?", BOB), BOB_WROTE_SINCE, ALWAYS, RunTurn()),
    ("always: once it was asked", reply("hello"), KNOWN, ALWAYS, Ignore("not addressed to the agent")),
    ("mention: nobody without one", reply("and tomorrow?"), ANSWERED_ADA, MENTION, KeepAsContext()),
    ("mention: with one", reply("<@UBOT> and tomorrow?"), ANSWERED_ADA, MENTION, RunTurn()),
    # --- addressed to somebody else ---
    ("to a person", reply("<@UBOB> what do you think?"), ANSWERED_ADA, AUTO, KeepAsContext()),
    ("to a person, always", reply("<@UBOB> what do you think?"), ANSWERED_ADA, ALWAYS, KeepAsContext()),
    ("to a person, about the bot", reply("<@UBOB> ask <@UBOT>"), ANSWERED_ADA, AUTO, KeepAsContext()),
    ("to a group", reply("<!subteam^S1|@ops> please look"), ANSWERED_ADA, ALWAYS, KeepAsContext()),
    ("to everybody", reply("<!here> please look"), ANSWERED_ADA, ALWAYS, KeepAsContext()),
    ("in a strange thread", said("<@UBOB> ask <@UBOT>"), UNKNOWN, AUTO, NOT_ADDRESSED),
    ("a mention later is no address", reply("is <@UBOB> right?"), ANSWERED_ADA, AUTO, RunTurn()),
    # --- quiet and listen ---
    ("quiet", reply("<@UBOT> quiet"), ANSWERED_ADA, AUTO, Say(Notice.QUIET, mention_only=True)),
    ("quiet, never asked", reply("hm"), QUIET_FROM_THE_START, AUTO, KeepAsContext()),
    ("quiet in any case and place", reply("Quiet <@UBOT>"), ANSWERED_ADA, AUTO, Say(Notice.QUIET, mention_only=True)),
    ("only as a command", reply("<@UBOT> quiet places?"), ANSWERED_ADA, AUTO, RunTurn()),
    ("only to the bot", reply("quiet"), ANSWERED_ADA, AUTO, RunTurn()),
    ("then no follow-ups", reply("and tomorrow?"), QUIET, AUTO, KeepAsContext()),
    ("not even always", reply("and tomorrow?"), QUIET, ALWAYS, KeepAsContext()),
    ("but mentions", reply("<@UBOT> and tomorrow?"), QUIET, AUTO, RunTurn()),
    ("listen", reply("<@UBOT> listen"), QUIET, AUTO, Say(Notice.LISTENING, mention_only=False)),
    ("new is no word in channels", reply("<@UBOT> new"), ANSWERED_ADA, FLAT, RunTurn()),
    # --- DMs ---
    ("every DM is answered", dm("hello"), UNKNOWN, AUTO, RunTurn()),
    ("in its threads too", dm("hello", ROOT), KNOWN, MENTION, RunTurn()),
    ("whoever it opens with", dm("<@UBOB> is who?"), UNKNOWN, AUTO, RunTurn()),
    ("quiet is a question there", dm("quiet"), UNKNOWN, AUTO, RunTurn()),
    ("listen too", dm("listen"), UNKNOWN, AUTO, RunTurn()),
    ("new starts afresh in a flat DM", dm("New"), KNOWN, FLAT, StartAfresh()),
    ("with a mention too", dm("<@UBOT> new"), KNOWN, FLAT, StartAfresh()),
    ("not in a thread inside it", dm("new", ROOT), KNOWN, FLAT, RunTurn()),
    ("nor where each message is a thread", dm("new"), UNKNOWN, AUTO, RunTurn()),
    # --- nothing asked ---
    ("an empty mention is greeted", said("<@UBOT>"), UNKNOWN, AUTO, Say(Notice.GREETING)),
    ("with punctuation", said(" <@UBOT>! "), UNKNOWN, AUTO, Say(Notice.GREETING)),
    ("an empty DM", dm(""), UNKNOWN, AUTO, Say(Notice.GREETING)),
    (
        "a file is a question",
        replace(said("<@UBOT>"), attachments=(Attachment("F1", "plan.pdf"),)),
        UNKNOWN,
        AUTO,
        RunTurn(),
    ),
    # --- other bots, where they are answered at all ---
    ("a bot with a mention", reply("<@UBOT> status?", "UCI", bot="BCI"), ANSWERED_ADA, BOTS, RunTurn()),
    ("an integration without a user neither", reply("done", "", bot=""), ANSWERED_ADA, BOTS, KeepAsContext()),
    ("a bot never without one", reply("done", ADA, bot="BCI"), ANSWERED_ADA, BOTS, KeepAsContext()),
    # --- what the operator allows ---
    ("a channel not allowed", said("<@UBOT> hello"), UNKNOWN, ONLY_C2, Say(Notice.CHANNEL_NOT_ALLOWED)),
    ("an allowed one", said("<@UBOT> hello"), UNKNOWN, ONLY_C1, RunTurn()),
    ("DMs are no channels", dm("hello"), UNKNOWN, ONLY_C2, RunTurn()),
    ("a user not allowed", said("<@UBOT> hello"), UNKNOWN, ONLY_BOB, Say(Notice.USER_NOT_ALLOWED)),
    ("nor in a DM", dm("hello"), UNKNOWN, ONLY_BOB, Say(Notice.USER_NOT_ALLOWED)),
    ("an allowed user", said("<@UBOT> hello", BOB), UNKNOWN, ONLY_BOB, RunTurn()),
    ("too many in a minute", said("<@UBOT> hello"), EAGER, AUTO, Say(Notice.TOO_MANY_TURNS)),
    ("too many, without a mention", reply("and?"), EAGER, AUTO, Say(Notice.TOO_MANY_TURNS)),
    ("quiet is never too many", said("<@UBOT> quiet"), EAGER, AUTO, Say(Notice.QUIET, mention_only=True)),
    ("too many in a DM", dm("hello"), EAGER, AUTO, Say(Notice.TOO_MANY_TURNS)),
    ("no limit", said("<@UBOT> hello"), EAGER, NO_LIMIT, RunTurn()),
    ("talk is not refused in words", said("hello"), UNKNOWN, ONLY_C2, NOT_ADDRESSED),
    # --- bounds ---
    ("too many wait in the thread", reply("and?"), THREAD_FULL, AUTO, Say(Notice.THREAD_FULL)),
    ("new waits in it as well", dm("new"), THREAD_FULL, FLAT, Say(Notice.THREAD_FULL)),
    ("a command does not", reply("<@UBOT> quiet"), THREAD_FULL, AUTO, Say(Notice.QUIET, mention_only=True)),
    ("too many of the author's wait", reply("and?"), replace(ANSWERED_ADA, waiting_of_author=50), AUTO, USER_FULL),
    ("too many of the team's wait", reply("and?"), replace(ANSWERED_ADA, waiting_in_team=5_000), AUTO, TEAM_FULL),
    ("one less is not too many", reply("and?"), replace(ANSWERED_ADA, waiting_of_author=49), AUTO, LATER),
    ("what waits runs first", reply("and?"), replace(BUSY, running_of_author=4, waiting_of_author=6), AUTO, LATER),
    ("no bounds", reply("and?"), THREAD_FULL, NO_BOUNDS, RunTurn()),
    ("later, with ten in progress", reply("and?"), BUSY, AUTO, LATER),
    ("or as many of the team", reply("and?"), BUSY_TEAM, SMALL_TEAM, LATER),
    ("which has no bound by itself", reply("and?"), BUSY_TEAM, AUTO, RunTurn()),
    ("now, without that bound", reply("and?"), BUSY, NO_BOUNDS, RunTurn()),
    ("told often enough", said("<@UBOT>"), replace(UNKNOWN, notices_last_minute=10), AUTO, TOLD),
    ("also about a bound", reply("and?"), replace(THREAD_FULL, notices_last_minute=10), AUTO, TOLD),
    ("which hinders no question", dm("hello"), replace(UNKNOWN, notices_last_minute=10), AUTO, RunTurn()),
    # --- asking for a human ---
    ("human, to the bot", reply("<@UBOT> human"), ANSWERED_ADA, HUMANS, BY_WORDS),
    ("as a first word", said("<@UBOT> Human!"), UNKNOWN, HUMANS, BY_WORDS),
    ("as a follow-up", reply("I want  to talk to a human, please."), ANSWERED_ADA, HUMANS, BY_WORDS),
    ("after a comma", said("<@UBOT>, human!"), UNKNOWN, HUMANS, BY_WORDS),
    ("politely", reply("human please"), ANSWERED_ADA, HUMANS, BY_WORDS),
    ("in any case, with a full stop", reply("I want to talk to a HUMAN."), ANSWERED_ADA, HUMANS, BY_WORDS),
    ("in a DM", dm("human"), UNKNOWN, HUMANS, BY_WORDS),
    ("by another one in the thread", reply("<@UBOT> human", BOB), ANSWERED_ADA, HUMANS, BY_WORDS),
    ("not said to the bot", reply("human", BOB), ANSWERED_ADA, HUMANS, KeepAsContext()),
    ("nor in a thread without it", said("human"), UNKNOWN, HUMANS, NOT_ADDRESSED),
    ("only as all that is said", reply("is a human an animal?"), ANSWERED_ADA, HUMANS, RunTurn()),
    ("only what the setting names", dm("human"), UNKNOWN, AUTO, RunTurn()),
    ("no question, so never too many", dm("human"), EAGER, HUMANS, BY_WORDS),
    ("not for whom is not allowed", dm("human"), UNKNOWN, replace(HUMANS, allowed_users=frozenset({BOB})), NOT_ADA),
    # --- stepping back when a teammate is called ---
    ("the asker calls a teammate", reply("<@UBOB> can you help?"), ANSWERED_ADA, STEPS_BACK, BY_MENTION),
    ("or a group of them", reply("<!subteam^S1|@ops> please"), ANSWERED_ADA, STEPS_BACK, BY_MENTION),
    ("only with the setting", reply("<@UBOB> can you help?"), ANSWERED_ADA, ALWAYS, KeepAsContext()),
    ("not when another one does", reply("<@UADA> look", BOB), ANSWERED_ADA, STEPS_BACK, KeepAsContext()),
    ("not in a thread without the agent", reply("<@UBOB> can you?"), UNKNOWN, STEPS_BACK, NOT_ADDRESSED),
    ("not beside the bot", reply("<@UBOB> <@UBOT> which?"), ANSWERED_ADA, STEPS_BACK, RunTurn()),
    ("a mention later calls nobody", reply("is <@UBOB> right?"), ANSWERED_ADA, STEPS_BACK, RunTurn()),
    ("in a DM nobody can be called so", dm("<@UBOB> is who?"), ANSWERED_ADA, STEPS_BACK, RunTurn()),
    # --- while a human has the thread, or is asked ---
    ("a channel's talk is kept", reply("thanks!"), REQUESTED, AUTO, KeepAsContext(1)),
    ("anybody's", reply("I know that one", BOB), REQUESTED, ALWAYS, KeepAsContext(1)),
    ("even a mention", reply("<@UBOT> are you there?"), REQUESTED, AUTO, KeepAsContext(1)),
    ("and a command of other times", reply("<@UBOT> quiet"), REQUESTED, AUTO, KeepAsContext(1)),
    ("a DM's is passed on", dm("thanks!", ROOT), REQUESTED, AUTO, Relay()),
    ("asking again asks nobody", dm("human", ROOT), REQUESTED, HUMANS, Relay()),
    ("resume", reply("<@UBOT> resume"), REQUESTED, AUTO, HAND_BACK),
    ("hand back", reply("<@UBOT> Hand back, please", BOB), REQUESTED, AUTO, HAND_BACK),
    ("resolve", reply("<@UBOT> resolve."), REQUESTED, AUTO, RESOLVE),
    ("resolved", reply("<@UBOT> Resolved!"), REQUESTED, AUTO, RESOLVE),
    ("never mind", dm("Never mind!", ROOT), REQUESTED, AUTO, CALL_OFF),
    ("no human", reply("<@UBOT> no human"), REQUESTED, AUTO, CALL_OFF),
    ("not in talk that is not for the bot", reply("resume"), REQUESTED, AUTO, KeepAsContext(1)),
    ("nor as a part of it", dm("never mind the colour", ROOT), REQUESTED, AUTO, Relay()),
    ("without a handover they are words", reply("<@UBOT> resume"), ANSWERED_ADA, AUTO, RunTurn()),
]


@pytest.mark.parametrize(
    ("message", "facts", "rules", "expected"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE]
)
def test_who_gets_an_answer(message: InboundMessage, facts: ThreadFacts, rules: Rules, expected: Decision) -> None:
    """Each row is a sentence about the product."""
    assert not_for_us(message, ME, rules) is None
    assert decide(message, facts, ME, rules) == expected


def test_a_question_to_a_full_process_is_for_later() -> None:
    """It is asked all the same; what is no question is no matter of that."""
    assert decide(dm("hello"), UNKNOWN, ME, AUTO, room=0) == LATER
    assert decide(dm(""), UNKNOWN, ME, AUTO, room=0) == Say(Notice.GREETING)


@pytest.mark.parametrize(
    ("message", "rules", "reason"),
    [
        (said("hello", "UBOT"), BOTS, "own message"),
        (said("hello", "", bot="BBOT"), BOTS, "own message"),
        (replace(said("hello"), app_id="ABOT"), BOTS, "own app's message"),
        (said("<@UBOT> hello", "UCI", bot="BCI"), AUTO, "another bot"),
        (said("<@UBOT> hello", ""), AUTO, "another bot"),
        (replace(said("<@UBOT> hello"), author_team_id="T2"), AUTO, "external user"),
    ],
)
def test_who_is_never_answered(message: InboundMessage, rules: Rules, reason: str) -> None:
    """Ourselves whatever the rules; other bots and other companies unless they are allowed. The log says why."""
    assert not_for_us(message, ME, rules) == Ignore(reason)


@pytest.mark.parametrize(
    ("message", "rules"),
    [
        (said("<@UBOT> hello", "UCI", bot="BCI"), BOTS),
        (said("<@UBOT> hello", ""), BOTS),
        (replace(said("<@UBOT> hello"), author_team_id="T1"), AUTO),
        (replace(said("<@UBOT> hello"), author_team_id="T2"), Rules(answer_external_users=True)),
        (replace(said("<@UBOT> hello"), app_id="AOTHER"), AUTO),
    ],
)
def test_who_may_be_answered(message: InboundMessage, rules: Rules) -> None:
    """Colleagues always; bots and guests where a setting lets them."""
    assert not_for_us(message, ME, rules) is None


def test_an_identity_without_ids_matches_nobody() -> None:
    """Unknown ids of our own do not make every message without one ours."""
    me = replace(ME, bot_id="", app_id=None)
    assert not_for_us(said("<@UBOT> hello"), me, AUTO) is None


@pytest.mark.parametrize(
    ("message", "rules", "root"),
    [
        (said("hello"), AUTO, TS),
        (said("hello", thread_ts=TS), AUTO, TS),
        (reply("hello"), AUTO, ROOT),
        (said("hello", kind=ChannelKind.GROUP_DM), FLAT, TS),
        (dm("hello"), AUTO, TS),
        (dm("hello", ROOT), AUTO, ROOT),
        (dm("hello"), FLAT, FLAT_ROOT),
        (dm("hello", TS), FLAT, FLAT_ROOT),
        (dm("hello", ROOT), FLAT, ROOT),
    ],
)
def test_where_the_answer_goes(message: InboundMessage, rules: Rules, root: str) -> None:
    """Into the thread of the message, a new one below it, or on in a flat DM."""
    assert thread_of(message, rules) == ThreadKey("T1", "C1", root)
