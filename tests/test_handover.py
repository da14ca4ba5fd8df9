"""A human is asked for, takes the thread and gives it back: the whole play with fakes at the ports, on a real store."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from dataclasses import replace

import pytest

from slackbot import desk
from slackbot.answering import ASKED
from slackbot.domain import (
    Attachment,
    Body,
    Button,
    ChannelKind,
    ContextMessage,
    ConversationState,
    HandoverPress,
    HandoverState,
    InboundMessage,
    MessageDeleted,
    MessageEdited,
    PartRef,
    SessionStatus,
    SlackFile,
    TextDelta,
    ThreadKey,
    ThreadPress,
    ToolStarted,
)
from slackbot.errors import AgentRunFailed, ChatRateLimited, ChatUnavailable, ThreadClosed
from slackbot.handover import ALREADY_ASKED, NOBODY, NOT_OPERATOR, TAKEN, UNCHECKED, HandoverRules
from slackbot.routing import Rules, decide
from slackbot.store import Timers
from tests.databases import Raw
from tests.fakes import FakeAgent, FakeChat, Shown
from tests.middle import ME, Bot, running_bot, says

DESK = "CDESK"
RULES = HandoverRules(Timers(), DESK)


@pytest.fixture(autouse=True)
def people(chat: FakeChat) -> None:
    """Olga and Otto look after requests."""
    chat.names |= {"UOLGA": "Olga", "UOTTO": "Otto"}
    chat.operator_ids = frozenset({"UOLGA", "UOTTO"})


def card(chat: FakeChat) -> Shown:
    """The newest card on the desk."""
    return [shown for shown in chat.messages.values() if shown.body.card is not None][-1]


def in_thread(chat: FakeChat, thread: ThreadKey) -> list[str]:
    """What we said in a thread: agent's words and sentences of ours."""
    return [
        shown.body.quoted or shown.body.markdown or shown.body.notice
        for shown in chat.messages.values()
        if shown.thread == thread and shown.body.card is None
    ]


async def press(bot: Bot, button: Button, user: str) -> None:
    """Somebody presses a button of the newest card."""
    shown = card(bot.chat)
    assert shown.body.handover_id is not None
    await bot.intake.take(
        HandoverPress(button, "T1", shown.thread.channel_id, shown.ts, None, user, shown.body.handover_id)
    )


async def desk_says(bot: Bot, text: str, user: str = "UOLGA") -> InboundMessage:
    """An operator writes in the card's thread."""
    return await bot.hear(text, user=user, channel=DESK, thread=card(bot.chat).ts)


def steps_shown(chat: FakeChat) -> int:
    """How many steps of handovers that go on were shown."""
    return sum(status is SessionStatus.SUSPENDED for _, status in chat.sessions)


async def heading(bot: Bot, words: str) -> None:
    """Wait until the card says this."""
    await bot.until(lambda: any(shown.body.card for shown in bot.chat.messages.values()))
    await bot.until(lambda: words in (card(bot.chat).body.card or RULES).heading)  # type: ignore[union-attr]


async def test_the_play_in_a_channel(database_url: str, chat: FakeChat) -> None:
    """Ask, claim, talk, hand back: the agent is silent meanwhile and knows afterwards what was said."""
    agent = FakeAgent([says("Hello."), says("I see.")])
    async with running_bot(database_url, chat, agent, handover_rules=RULES) as bot:
        first = await bot.hear("<@UBOT> hi")
        await bot.idle()
        thread = ThreadKey("T1", "C1", first.ts)
        await bot.hear("<@UBOT> human", thread=first.ts)
        await heading(bot, "Ada needs a human")
        assert card(chat).thread.channel_id == DESK
        assert card(chat).body.buttons == (Button.CLAIM, Button.RESOLVE)
        await bot.until(lambda: any("asked a human colleague" in said for said in in_thread(chat, thread)))
        await bot.hear("<@UBOT> are you there?", thread=first.ts)
        await press(bot, Button.CLAIM, "UOLGA")
        await heading(bot, "Olga helps Ada")
        await bot.until(lambda: any("Olga is here now" in said for said in in_thread(chat, thread)))
        await bot.until(lambda: not any(Button.CALL_OFF in body.buttons for body in chat.bodies()))
        assert any("I have asked a human" in said for said in in_thread(chat, thread))
        await bot.hear("it is fixed now", user="UOLGA", thread=first.ts)
        await bot.hear("thanks!", thread=first.ts)
        assert len(agent.asked) == 1
        await press(bot, Button.HAND_BACK, "UOLGA")
        await heading(bot, "Ada is with the agent again")
        assert card(chat).body.buttons == ()
        await bot.hear("<@UBOT> what happened?", thread=first.ts)
        await bot.idle()
        assert in_thread(chat, thread)[-1] == "I see."
        told = agent.asked[-1][1]
        assert "Olga (human colleague): it is fixed now" in told
        assert "Ada: thanks!" in told
        await bot.until(lambda: chat.sessions[-1] == (thread, SessionStatus.ACTIVE))
        shown = [status for _, status in chat.sessions]
        assert (shown[0], shown.count(SessionStatus.PROCESSING), steps_shown(chat)) == (SessionStatus.PROCESSING, 2, 2)


async def test_the_play_in_a_direct_message(database_url: str, chat: FakeChat) -> None:
    """The card's thread is the relay: both sides see each other's words, notes stay inside, edits travel."""
    agent = FakeAgent([says("Hello."), says("I see.")])
    async with running_bot(database_url, chat, agent, handover_rules=RULES) as bot:
        first = await bot.hear("hi", channel="D1", kind=ChannelKind.DM)
        await bot.idle()
        private = ThreadKey("T1", "D1", first.ts)
        await bot.hear("human", channel="D1", kind=ChannelKind.DM, thread=first.ts)
        await heading(bot, "Ada needs a human")
        below = ThreadKey("T1", DESK, card(chat).ts)
        await bot.hear("my order is lost", channel="D1", kind=ChannelKind.DM, thread=first.ts)
        await bot.until(lambda: "my order is lost" in in_thread(chat, below))
        await press(bot, Button.CLAIM, "UOLGA")
        await heading(bot, "Olga helps Ada")
        await desk_says(bot, "// a difficult one")
        said = await desk_says(bot, "Hello Ada, I loook")
        await bot.until(lambda: "Hello Ada, I loook" in in_thread(chat, private))
        shown = next(shown for shown in chat.messages.values() if shown.body.quoted == "Hello Ada, I loook")
        assert shown.body.speaker is not None
        assert shown.body.speaker.name == "Olga"
        await bot.intake.take(MessageEdited("T1", DESK, said.ts, "Hello Ada, I look into it"))
        await bot.until(lambda: shown.body.quoted == "Hello Ada, I look into it")
        gone = await desk_says(bot, "wrong window")
        await bot.until(lambda: "wrong window" in in_thread(chat, private))
        await bot.intake.take(MessageDeleted("T1", DESK, gone.ts))
        await bot.until(lambda: "wrong window" not in in_thread(chat, private))
        await bot.hear("great", channel="D1", kind=ChannelKind.DM, thread=first.ts)
        await bot.until(lambda: "great" in in_thread(chat, below))
        assert len(agent.asked) == 1
        await press(bot, Button.HAND_BACK, "UOLGA")
        await heading(bot, "Ada is with the agent again")
        await bot.hear("and now?", channel="D1", kind=ChannelKind.DM, thread=first.ts)
        await bot.idle()
        told = agent.asked[-1][1]
        assert "Olga (human colleague): Hello Ada, I look into it" in told
        assert "my order is lost" in told
        assert "difficult" not in told
        assert "wrong window" not in told


async def test_one_of_two_operators_wins(database_url: str, chat: FakeChat) -> None:
    """Two press at once: one has the thread, the other is told who, privately; a stranger is refused."""
    async with running_bot(database_url, chat, FakeAgent(), handover_rules=RULES) as bot:
        await bot.hear("human", channel="D1", kind=ChannelKind.DM)
        await heading(bot, "Ada needs a human")
        await press(bot, Button.CLAIM, "UADA")
        await bot.until(lambda: bool(chat.whispers))
        assert chat.whispers == [("UADA", NOT_OPERATOR)]
        await asyncio.gather(press(bot, Button.CLAIM, "UOLGA"), press(bot, Button.CLAIM, "UOTTO"))
        await bot.until(lambda: len(chat.whispers) == 2)
        winner = next(name for name in ("Olga", "Otto") if name in chat.whispers[1][1])
        assert chat.whispers[1] == ({"Olga": "UOTTO", "Otto": "UOLGA"}[winner], TAKEN.format(name=winner))
        await heading(bot, f"{winner} helps Ada")


async def test_while_slack_does_not_tell_who_may_nobody_is_sent_away_for_good(
    database_url: str, chat: FakeChat
) -> None:
    """A press, and words below the card, are answered with "try again"; then both work."""
    olgas = chat.operator_ids
    async with running_bot(database_url, chat, FakeAgent(), handover_rules=RULES) as bot:
        await bot.hear("human", channel="D1", kind=ChannelKind.DM)
        await heading(bot, "Ada needs a human")
        chat.operator_ids = None
        await press(bot, Button.CLAIM, "UOLGA")
        await bot.until(lambda: chat.whispers == [("UOLGA", UNCHECKED)])
        chat.operator_ids = olgas
        await press(bot, Button.CLAIM, "UOLGA")
        await heading(bot, "Olga helps Ada")
        chat.operator_ids = None
        await desk_says(bot, "hello?")
        await bot.until(lambda: chat.whispers == [("UOLGA", UNCHECKED)] * 2)


async def test_a_card_waits_for_an_edit(database_url: str, chat: FakeChat, caplog: pytest.LogCaptureFixture) -> None:
    """Slack takes no more of them for a moment: nobody is alarmed, and then the card shows who came."""
    caplog.set_level(logging.INFO)
    busy = iter([ChatRateLimited("chat.update: no slot", retry_after=0.1)])
    chat.fail = lambda method, _number: next(busy, None) if method == "edit" else None
    async with running_bot(database_url, chat, FakeAgent(), handover_rules=RULES) as bot:
        await bot.hear("human", channel="D1", kind=ChannelKind.DM)
        await heading(bot, "Ada needs a human")
        await press(bot, Button.CLAIM, "UOLGA")
        await heading(bot, "Olga helps Ada")
        await bot.until(lambda: steps_shown(chat) == 2)
    levels = {record.msg: record.levelname for record in caplog.records}
    assert levels["handover.waits"] == "INFO"
    assert "ERROR" not in levels.values()


async def test_taking_over_stops_a_growing_answer(database_url: str, chat: FakeChat) -> None:
    """An operator takes over from a message's menu: the stream stops and its fragment is marked as cut off."""
    agent = FakeAgent([[*says("Half of "), 60.0, TextDelta("b", "never")]])
    async with running_bot(database_url, chat, agent, handover_rules=RULES) as bot:
        first = await bot.hear("<@UBOT> hi")
        await bot.until(lambda: "Half of " in chat.texts())
        await bot.intake.take(ThreadPress(Button.TAKE_OVER, "T1", "C1", first.ts, first.ts, "UOLGA"))
        await heading(bot, "Olga helps Ada")
        await bot.until(lambda: any("Olga" in body.notice and body.markdown for body in chat.bodies()))
        await bot.hear("more?", thread=first.ts)
        await bot.idle()
        assert len(agent.asked) == 1


async def test_the_agent_asks_for_a_human(database_url: str, chat: FakeChat) -> None:
    """A call of the human tool opens a handover; the agent's own words stay as they are."""
    agent = FakeAgent([[*says("I will get a colleague."), ToolStarted("1", "human_in_the_loop")]])
    async with running_bot(database_url, chat, agent, handover_rules=RULES) as bot:
        first = await bot.hear("<@UBOT> hi")
        await heading(bot, "Ada needs a human")
        await bot.idle()
        assert in_thread(chat, ThreadKey("T1", "C1", first.ts))[0] == "I will get a colleague."
        handover = await bot.store.open_handover(ThreadKey("T1", "C1", first.ts))
        assert handover is not None
        assert handover.reason.value == "agent"


async def test_without_operators_nobody_can_be_called(database_url: str, chat: FakeChat) -> None:
    """Where no setting says who helps, the user is told so in plain words and the agent goes on."""
    agent = FakeAgent()
    async with running_bot(database_url, chat, agent) as bot:
        await bot.hear("human", channel="D1", kind=ChannelKind.DM)
        await bot.until(lambda: bool(chat.whispers))
        assert chat.whispers == [("UADA", NOBODY)]
        await bot.hear("all right, hello", channel="D1", kind=ChannelKind.DM)
        await bot.idle()
        assert len(agent.asked) == 1


async def test_a_call_can_be_called_off(database_url: str, chat: FakeChat) -> None:
    """The asker wants no human any more: with words or the button; asking twice asks once."""
    agent = FakeAgent()
    async with running_bot(database_url, chat, agent, handover_rules=RULES) as bot:
        first = await bot.hear("human", channel="D1", kind=ChannelKind.DM)
        await heading(bot, "Ada needs a human")
        await bot.intake.take(ThreadPress(Button.HUMAN, "T1", "D1", first.ts, first.ts, "UADA"))
        await bot.until(lambda: ("UADA", ALREADY_ASKED) in chat.whispers)
        await bot.hear("never mind", channel="D1", kind=ChannelKind.DM, thread=first.ts)
        await heading(bot, "Ada is with the agent again")
        await bot.hear("hello", channel="D1", kind=ChannelKind.DM, thread=first.ts)
        await bot.idle()
        assert len(agent.asked) == 1


async def test_resolving_starts_afresh(database_url: str, chat: FakeChat) -> None:
    """What was settled by a human is not told to the agent, whose conversation begins anew."""
    agent = FakeAgent()
    async with running_bot(database_url, chat, agent, handover_rules=RULES) as bot:
        first = await bot.hear("<@UBOT> hi")
        await bot.idle()
        await bot.hear("<@UBOT> human", thread=first.ts)
        await heading(bot, "Ada needs a human")
        await press(bot, Button.CLAIM, "UOLGA")
        await bot.hear("it was the fuse", user="UOLGA", thread=first.ts)
        await press(bot, Button.RESOLVE, "UOLGA")
        await heading(bot, "Settled")
        chat.past = [ContextMessage(first.ts, "UADA", "hi"), ContextMessage("1700000900.0", "UOLGA", "it was the fuse")]
        await bot.hear("<@UBOT> next thing", thread=first.ts)
        await bot.idle()
        assert agent.asked[-1][0] == "conversation-2"
        assert "fuse" not in agent.asked[-1][1]


async def test_nobody_comes(database_url: str, chat: FakeChat) -> None:
    """A request that nobody takes is reminded of, and goes back to the agent with an apology."""
    rules = HandoverRules(Timers(remind=0.2, give_up=0.7), DESK)
    async with running_bot(database_url, chat, FakeAgent(), handover_rules=rules) as bot:
        first = await bot.hear("human", channel="D1", kind=ChannelKind.DM)
        await heading(bot, "Ada is with the agent again")
        thread, below = ThreadKey("T1", "D1", first.ts), ThreadKey("T1", DESK, card(chat).ts)
        await bot.until(lambda: any("nobody was free" in said for said in in_thread(chat, thread)))
        assert any("still waiting" in said for said in in_thread(chat, below))


async def test_a_silent_operator_is_reminded(database_url: str, chat: FakeChat) -> None:
    """An operator who says nothing is nudged, then offered to hand back."""
    rules = HandoverRules(Timers(nudge=0.2, offer=0.6), DESK)
    async with running_bot(database_url, chat, FakeAgent(), handover_rules=rules) as bot:
        await bot.hear("human", channel="D1", kind=ChannelKind.DM)
        await heading(bot, "Ada needs a human")
        await press(bot, Button.CLAIM, "UOLGA")
        below = ThreadKey("T1", DESK, card(chat).ts)
        await bot.until(lambda: any("not heard anything" in said for said in in_thread(chat, below)))
        await bot.until(lambda: any("Shall the agent go on" in said for said in in_thread(chat, below)))


async def test_an_operators_plain_word_holds_the_agent(database_url: str, chat: FakeChat) -> None:
    """Asked once and privately; "just say it" lets the agent go on, taking over does not."""
    agent = FakeAgent()
    async with running_bot(database_url, chat, agent, handover_rules=RULES) as bot:
        first = await bot.hear("<@UBOT> hi")
        await bot.idle()
        said = await bot.hear("I know this one", user="UOLGA", thread=first.ts)
        await bot.until(lambda: len(chat.questions) == 1)
        assert chat.questions[0][1] == "UOLGA"
        await bot.hear("<@UBOT> go on", thread=first.ts)
        await asyncio.sleep(0.3)
        assert len(agent.asked) == 1
        await bot.intake.take(ThreadPress(Button.JUST_SAY, "T1", "C1", said.ts, first.ts, "UOLGA"))
        await bot.idle()
        assert len(agent.asked) == 2
        await bot.hear("me again", user="UOLGA", thread=first.ts)
        await bot.idle()
        assert len(chat.questions) == 1


async def test_a_failed_answer_offers_a_human(database_url: str, chat: FakeChat) -> None:
    """Beside Retry stands a button that calls for a human."""
    async with running_bot(database_url, chat, FakeAgent([[AgentRunFailed("boom")]]), handover_rules=RULES) as bot:
        await bot.hear("<@UBOT> hi")
        await bot.idle()
        assert chat.bodies()[0].buttons == (Button.RETRY, Button.HUMAN)
        await bot.press(Button.HUMAN)
        await heading(bot, "Ada needs a human")


async def test_the_agent_greets_when_it_is_back(database_url: str, chat: FakeChat) -> None:
    """Where the setting says so the agent says a word by itself, once."""
    agent = FakeAgent([says("Welcome back.")])
    async with running_bot(database_url, chat, agent, handover_rules=replace(RULES, greets=True)) as bot:
        await bot.hear("human", channel="D1", kind=ChannelKind.DM)
        await heading(bot, "Ada needs a human")
        await press(bot, Button.CLAIM, "UOLGA")
        await press(bot, Button.HAND_BACK, "UOLGA")
        await bot.until(lambda: "Welcome back." in chat.texts())
        await bot.idle()
        assert len(agent.asked) == 1


async def test_a_handover_survives_the_process(database_url: str, chat: FakeChat) -> None:
    """Everything is in the database: another process shows the card, relays, and lets the agent be silent."""
    agent = FakeAgent()
    async with running_bot(database_url, chat, agent, handover_rules=RULES) as bot:
        first = await bot.hear("human", channel="D1", kind=ChannelKind.DM)
        await heading(bot, "Ada needs a human")
        tick = bot.tick
    async with running_bot(database_url, chat, agent, handover_rules=RULES) as bot:
        bot.tick = tick
        await press(bot, Button.CLAIM, "UOLGA")
        await heading(bot, "Olga helps Ada")
        await desk_says(bot, "here I am")
        await bot.until(lambda: "here I am" in in_thread(chat, ThreadKey("T1", "D1", first.ts)))
        await bot.hear("good", channel="D1", kind=ChannelKind.DM, thread=first.ts)
        await bot.idle()
        assert not agent.asked
        handover = await bot.store.open_handover(ThreadKey("T1", "D1", first.ts))
        assert handover is not None
        assert handover.state is HandoverState.HUMAN
        assert handover.first_word_at is not None


# --- what goes along with it ------------------------------------------------------------------------------------------


async def test_what_waited_shows_no_mark_any_more(database_url: str, chat: FakeChat) -> None:
    """A question that waited for another one is context now, and nobody is to think that its answer comes."""
    agent = FakeAgent([[*says("Half of "), 60.0, TextDelta("b", "never")], says("I see.")])
    async with running_bot(database_url, chat, agent, handover_rules=RULES) as bot:
        first = await bot.hear("<@UBOT> hi")
        await bot.until(lambda: "Half of " in chat.texts())
        waits = await bot.hear("<@UBOT> and this?", thread=first.ts)
        await bot.until(lambda: chat.marks == {waits.ts})
        await bot.intake.take(ThreadPress(Button.TAKE_OVER, "T1", "C1", first.ts, first.ts, "UOLGA"))
        await heading(bot, "Olga helps Ada")
        await bot.until(lambda: not chat.marks)
        await press(bot, Button.HAND_BACK, "UOLGA")
        await heading(bot, "Ada is with the agent again")
        await bot.hear("<@UBOT> well?", thread=first.ts)
        await bot.idle()
        assert "Ada: @agent and this?" in agent.asked[-1][1]


async def test_slacks_own_session_follows(database_url: str, chat: FakeChat) -> None:
    """It works while an answer grows, waits for a human, and is settled; where there are no sessions that is all."""
    agent = FakeAgent([[*says("Half of "), 60.0, TextDelta("b", "never")], says("Hello.")])
    async with running_bot(database_url, chat, agent, handover_rules=RULES) as bot:
        first = await bot.hear("<@UBOT> hi")
        thread = ThreadKey("T1", "C1", first.ts)
        await bot.until(lambda: "Half of " in chat.texts())
        await bot.until(lambda: chat.sessions == [(thread, SessionStatus.PROCESSING)])
        await bot.intake.take(ThreadPress(Button.TAKE_OVER, "T1", "C1", first.ts, first.ts, "UOLGA"))
        await bot.until(lambda: steps_shown(chat) == 1)
        await press(bot, Button.RESOLVE, "UOLGA")
        await bot.until(lambda: chat.sessions[-1] == (thread, SessionStatus.CLOSED))
        assert SessionStatus.ACTIVE not in [status for _, status in chat.sessions]
        chat.has_sessions = False
        chat.sessions.clear()
        await bot.hear("<@UBOT> hi")
        await bot.idle()
        await bot.hear("<@UBOT> hi")
        await bot.idle()
        assert {status for _, status in chat.sessions} <= {SessionStatus.PROCESSING}


async def test_a_late_edit_stays_with_its_own_handover(database_url: str, chat: FakeChat) -> None:
    """What was relayed below one card is corrected there, although there is a newer one."""
    async with running_bot(database_url, chat, FakeAgent(), handover_rules=RULES) as bot:
        first = await bot.hear("human", channel="D1", kind=ChannelKind.DM)
        await heading(bot, "Ada needs a human")
        said = await bot.hear("my odrer", channel="D1", kind=ChannelKind.DM, thread=first.ts)
        below = ThreadKey("T1", DESK, card(chat).ts)
        await bot.until(lambda: "my odrer" in in_thread(chat, below))
        await press(bot, Button.CLAIM, "UOLGA")
        await heading(bot, "Olga helps Ada")
        await press(bot, Button.HAND_BACK, "UOLGA")
        await heading(bot, "Ada is with the agent again")
        await bot.hear("human", channel="D1", kind=ChannelKind.DM, thread=first.ts)
        await bot.until(lambda: len(chat.cards()) == 2)
        await bot.intake.take(MessageEdited("T1", "D1", said.ts, "my order"))
        await bot.until(lambda: "my order" in in_thread(chat, below))
        assert "my order" not in in_thread(chat, ThreadKey("T1", DESK, card(chat).ts))


@pytest.mark.parametrize(("words", "state"), [("resume", HandoverState.RETURNED), ("resolve", HandoverState.CLOSED)])
async def test_an_order_is_done_after_a_crash(
    database_url: str, chat: FakeChat, words: str, state: HandoverState
) -> None:
    """It was stored, and then the process died: when Slack brings it again it is done, and nobody is told off."""
    async with running_bot(database_url, chat, FakeAgent(), handover_rules=RULES) as bot:
        first = await bot.hear("<@UBOT> human")
        thread = ThreadKey("T1", "C1", first.ts)
        await heading(bot, "Ada needs a human")
        await press(bot, Button.CLAIM, "UOLGA")
        await heading(bot, "Olga helps Ada")
        for user in ("UBEN", "UOLGA"):
            order = replace(first, ts=f"1700000{next(bot.tick):03d}.000000", thread_ts=first.ts, user_id=user)
            order = replace(order, text=f"<@UBOT> {words}")
            await bot.store.accept(order, thread, lambda facts, it=order: decide(it, facts, ME, Rules()))  # type: ignore[misc]
            assert await bot.store.open_handover(thread)
            for _ in range(2):
                await bot.intake.take(order)
        handover = await bot.store.newest_handover(1)
        assert handover is not None
        assert handover.state is state
        assert chat.whispers == []


async def test_a_conversation_that_noxus_goes_on_holding(database_url: str, chat: FakeChat) -> None:
    """An odd answer there calls somebody once, and not again before somebody has given it back by hand."""
    agent = FakeAgent([[], [], says("Hello."), []], state_now=ConversationState(manual=True))

    async def ask(root: str | None = None) -> str:
        said = await bot.hear("hello", channel="D1", kind=ChannelKind.DM, thread=root)
        await bot.idle()
        return root or said.ts

    async with running_bot(database_url, chat, agent, handover_rules=RULES) as bot:
        root = await ask()
        await heading(bot, "Ada needs a human")
        await bot.hear("never mind", channel="D1", kind=ChannelKind.DM, thread=root)
        await heading(bot, "Ada is with the agent again")
        await ask(root)
        await ask(root)
        assert len(chat.cards()) == 1
        assert ASKED not in [body.notice for body in chat.bodies()][1:]
        await bot.hear("human", channel="D1", kind=ChannelKind.DM, thread=root)
        await bot.until(lambda: len(chat.cards()) == 2)
        await press(bot, Button.CLAIM, "UOLGA")
        await press(bot, Button.HAND_BACK, "UOLGA")
        await heading(bot, "Ada is with the agent again")
        await ask(root)
        await bot.until(lambda: len(chat.cards()) == 3)


async def test_trying_again_beside_a_handover(database_url: str, chat: FakeChat) -> None:
    """A human looks after it: Retry is refused with a sentence, and works once they have given the thread back."""
    agent = FakeAgent([[AgentRunFailed("boom")], says("There.")])
    async with running_bot(database_url, chat, agent, handover_rules=RULES) as bot:
        await bot.hear("<@UBOT> hi")
        await bot.idle()
        await bot.press(Button.HUMAN)
        await heading(bot, "Ada needs a human")
        failed = next(shown for shown in chat.messages.values() if Button.RETRY in shown.versions[-1][1].buttons)
        await bot.press_again(failed, Button.RETRY)
        await bot.until(lambda: any("A human looks after this" in words for _, words in chat.whispers))
        assert len(agent.asked) == 1
        await press(bot, Button.CLAIM, "UOLGA")
        await press(bot, Button.HAND_BACK, "UOLGA")
        await heading(bot, "Ada is with the agent again")
        await bot.press_again(failed, Button.RETRY)
        await bot.until(lambda: "There." in chat.texts())


async def test_a_slow_slack_keeps_its_desk(database_url: str, chat: FakeChat, monkeypatch: pytest.MonkeyPatch) -> None:
    """Showing takes longer than the lease: it is renewed, so that no other desk shows the same."""
    monkeypatch.setattr(desk, "LEASE", 0.4)
    chat.latency = 0.3
    async with running_bot(database_url, chat, FakeAgent(), handover_rules=RULES) as bot:
        await bot.hear("human", channel="D1", kind=ChannelKind.DM)
        await bot.until(lambda: chat.count("post") == 1)
        while steps_shown(chat) < 1:
            assert await bot.store.due_handovers("another desk", 30.0) == []
            await asyncio.sleep(0.05)
        assert chat.count("post") == 3


async def test_a_desk_that_lost_its_handover_lets_go(
    database_url: str, chat: FakeChat, sql: Raw, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process has it now: this one says no more of it, and that one says the rest."""
    monkeypatch.setattr(desk, "LEASE", 0.4)
    monkeypatch.setattr(desk, "POLL", 0.1)
    chat.latency = 0.3
    async with running_bot(database_url, chat, FakeAgent(), handover_rules=RULES) as bot:
        await bot.hear("human", channel="D1", kind=ChannelKind.DM)
        await bot.until(lambda: chat.count("post") == 1)
        sql("UPDATE handovers SET owner = 'another desk', lease_until = lease_until + 60")
        await asyncio.sleep(0.8)
        assert chat.count("post") <= 2
        sql("UPDATE handovers SET lease_until = 0")
        await bot.until(lambda: steps_shown(chat) == 1)
        assert len(chat.cards()) == 1
        assert len(chat.messages) == 3


async def test_an_operator_who_left_the_workspace(
    database_url: str, chat: FakeChat, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody else could answer for what they had: the agent has it again, and both sides are told."""
    monkeypatch.setattr(desk, "OPERATORS_EVERY", 0.05)
    async with running_bot(database_url, chat, FakeAgent(), handover_rules=RULES) as bot:
        first = await bot.hear("human", channel="D1", kind=ChannelKind.DM)
        await heading(bot, "Ada needs a human")
        await press(bot, Button.CLAIM, "UOLGA")
        await heading(bot, "Olga helps Ada")
        chat.left = frozenset({"UOLGA"})
        await heading(bot, "Ada is with the agent again")
        below = ThreadKey("T1", DESK, card(chat).ts)
        await bot.until(lambda: any("Olga can no longer be reached" in said for said in in_thread(chat, below)))
        there = in_thread(chat, ThreadKey("T1", "D1", first.ts))
        assert "Sorry, my human colleague can no longer be reached from here." in there[-1]
        assert "handover.operator_gone" in caplog.messages


async def test_nobody_comes_to_a_card_in_the_thread(database_url: str, chat: FakeChat) -> None:
    """Without a channel for cards the reminder stands in the thread, where operators look."""
    rules = HandoverRules(Timers(remind=0.2), has_operators=True)
    async with running_bot(database_url, chat, FakeAgent(), handover_rules=rules) as bot:
        first = await bot.hear("<@UBOT> human")
        thread = ThreadKey("T1", "C1", first.ts)
        await bot.until(lambda: "Ada is still waiting for somebody." in in_thread(chat, thread))


async def test_the_asker_hears_how_long_it_may_take(database_url: str, chat: FakeChat) -> None:
    """Where the agent takes over again by itself, people know when."""
    rules = replace(RULES, timers=Timers(give_up=1_800))
    async with running_bot(database_url, chat, FakeAgent(), handover_rules=rules) as bot:
        first = await bot.hear("human", channel="D1", kind=ChannelKind.DM)
        thread = ThreadKey("T1", "D1", first.ts)
        await bot.until(lambda: any("nobody comes within 30 minutes" in said for said in in_thread(chat, thread)))


# --- where nobody can be reached --------------------------------------------------------------------------------------


def closed(chat: FakeChat, *channels: str) -> None:
    """Let Slack take no message in these channels any more."""
    post, edit = chat.post, chat.edit

    async def refuse_post(thread: ThreadKey, body: Callable[[], Body], part: PartRef | None = None) -> str:
        if thread.channel_id in channels:
            raise ThreadClosed("no such channel", slack_error="channel_not_found")
        return await post(thread, body, part)

    async def refuse_edit(thread: ThreadKey, ts: str, body: Body) -> None:
        if thread.channel_id in channels:
            raise ThreadClosed("it is archived", slack_error="is_archived")
        await edit(thread, ts, body)

    chat.post, chat.edit = refuse_post, refuse_edit  # type: ignore[method-assign]


async def test_without_its_channel_the_card_stands_in_the_thread(
    database_url: str, chat: FakeChat, caplog: pytest.LogCaptureFixture
) -> None:
    """The handover channel is missing or the bot is not in it: the log says so, operators find the card below."""
    closed(chat, DESK)
    async with running_bot(database_url, chat, FakeAgent(), handover_rules=RULES) as bot:
        first = await bot.hear("<@UBOT> human")
        await heading(bot, "Ada needs a human")
        assert card(chat).thread == ThreadKey("T1", "C1", first.ts)
        assert [line.set for line in caplog.records if line.msg == "handover.channel_unusable"] == [  # type: ignore[attr-defined]
            "SLACKBOT_HANDOVER_CHANNEL"
        ]
        await press(bot, Button.CLAIM, "UOLGA")
        await heading(bot, "Olga helps Ada")


@pytest.mark.parametrize("kind", [ChannelKind.DM, ChannelKind.CHANNEL])
async def test_without_any_place_the_agent_takes_the_thread_back(
    database_url: str, chat: FakeChat, kind: ChannelKind
) -> None:
    """In a DM, or where nobody could press: the asker hears one sentence, and nobody is kept waiting."""
    closed(chat, DESK)
    if kind is ChannelKind.CHANNEL:
        chat.operator_ids = frozenset()
    agent = FakeAgent()
    async with running_bot(database_url, chat, agent, handover_rules=RULES) as bot:
        first = await bot.hear("<@UBOT> human", kind=kind)
        thread = ThreadKey("T1", "C1", first.ts)
        await bot.until(lambda: in_thread(chat, thread) != [])
        assert in_thread(chat, thread) == ["Sorry, nobody was free to help. I am back and go on as well as I can."]
        await bot.hear("<@UBOT> then you", thread=first.ts, kind=kind)
        await bot.idle()
        assert len(agent.asked) == 1


async def test_a_card_that_was_deleted_is_posted_anew(database_url: str, chat: FakeChat) -> None:
    """The next step finds it gone: operators get a new one, and go on below that."""
    async with running_bot(database_url, chat, FakeAgent(), handover_rules=RULES) as bot:
        first = await bot.hear("human", channel="D1", kind=ChannelKind.DM)
        await heading(bot, "Ada needs a human")
        await bot.until(lambda: steps_shown(chat) == 1)
        shown = card(chat)
        del chat.messages[shown.ts]
        assert shown.body.handover_id is not None
        await bot.intake.take(HandoverPress(Button.CLAIM, "T1", DESK, shown.ts, None, "UOLGA", shown.body.handover_id))
        await heading(bot, "Olga helps Ada")
        await bot.until(lambda: steps_shown(chat) == 2)
        await desk_says(bot, "here I am")
        await bot.until(lambda: "here I am" in in_thread(chat, ThreadKey("T1", "D1", first.ts)))


async def test_the_channel_closes_while_a_human_has_a_direct_message(database_url: str, chat: FakeChat) -> None:
    """What the asker writes then reaches nobody: the agent takes the thread back, says so, and knows it."""
    agent = FakeAgent()
    async with running_bot(database_url, chat, agent, handover_rules=RULES) as bot:
        first = await bot.hear("hello", channel="D1", kind=ChannelKind.DM)
        await bot.idle()
        await bot.hear("human", channel="D1", kind=ChannelKind.DM, thread=first.ts)
        thread = ThreadKey("T1", "D1", first.ts)
        await heading(bot, "Ada needs a human")
        await press(bot, Button.CLAIM, "UOLGA")
        await bot.until(lambda: steps_shown(chat) == 2)
        closed(chat, DESK)
        await bot.hear("my order is lost", channel="D1", kind=ChannelKind.DM, thread=first.ts)
        await bot.until(lambda: any("can no longer be reached" in said for said in in_thread(chat, thread)))
        await bot.hear("and now?", channel="D1", kind=ChannelKind.DM, thread=first.ts)
        await bot.idle()
        assert "my order is lost" in agent.asked[1][1]


async def test_an_operators_words_that_reach_nobody(database_url: str, chat: FakeChat) -> None:
    """The asker's direct messages are closed: the operator is told below the card."""
    async with running_bot(database_url, chat, FakeAgent(), handover_rules=RULES) as bot:
        await bot.hear("human", channel="D1", kind=ChannelKind.DM)
        await heading(bot, "Ada needs a human")
        await press(bot, Button.CLAIM, "UOLGA")
        await bot.until(lambda: steps_shown(chat) == 2)
        closed(chat, "D1")
        await desk_says(bot, "hello?")
        below = ThreadKey("T1", DESK, card(chat).ts)
        await bot.until(lambda: any("could not bring this to them" in said for said in in_thread(chat, below)))


async def test_trouble_while_showing_says_nothing_twice(database_url: str, chat: FakeChat) -> None:
    """A call fails at every single place in turn: one card, each sentence once, on both sides."""
    for broken in range(2, 5):
        async with running_bot(database_url, chat, FakeAgent(), handover_rules=RULES) as bot:
            before = chat._numbers["post"]
            chat.fail = lambda method, number, at=before + broken - 1: (  # type: ignore[misc]
                ChatUnavailable("away") if (method, number) == ("post", at) else None
            )
            first = await bot.hear("human", channel=f"D{broken}", kind=ChannelKind.DM)
            thread = ThreadKey("T1", f"D{broken}", first.ts)
            await bot.until(lambda thread=thread: any("I have asked" in said for said in in_thread(chat, thread)))  # type: ignore[misc]
            await bot.until(lambda count=broken - 1: steps_shown(chat) == count)  # type: ignore[misc]
            assert len(chat.cards()) == broken - 1
            assert len(in_thread(chat, thread)) == 1
            assert len(in_thread(chat, ThreadKey("T1", DESK, card(chat).ts))) == 1


# --- the relay ------------------------------------------------------------------------------------------------------


async def test_long_words_and_files_go_across_whole(database_url: str, chat: FakeChat) -> None:
    """More than one message holds comes in several; a file that cannot be brought along is named with the reason."""
    fits = SlackFile("F1", "plan.pdf", "application/pdf", 4, "https://files.test/F1")
    chat.files = {"F1": (fits, b"plan")}
    async with running_bot(database_url, chat, FakeAgent(), handover_rules=RULES) as bot:
        first = await bot.hear("human", channel="D1", kind=ChannelKind.DM)
        await heading(bot, "Ada needs a human")
        await press(bot, Button.CLAIM, "UOLGA")
        await bot.until(lambda: steps_shown(chat) == 2)
        thread, told = ThreadKey("T1", "D1", first.ts), len(chat.messages)
        words = " ".join(f"word{n}" for n in range(3_000))
        said = await desk_says(bot, words)
        await bot.idle()
        pieces = [body.quoted for body in chat.shown_in(thread) if body.speaker]
        assert " ".join(pieces) == words
        assert all(len(piece) <= 9_000 for piece in pieces)
        await bot.intake.take(MessageEdited("T1", DESK, said.ts, "shorter"))
        await bot.until(lambda: [text for _, text in chat.spoken()] == ["shorter"])
        await bot.intake.take(MessageDeleted("T1", DESK, said.ts))
        await bot.until(lambda: len(chat.messages) == told)
        full = SlackFile("F3", "big.bin", "application/pdf", 4, "https://files.test/F3")
        chat.files["F3"] = (full, b"much")
        chat.refusals[full.url] = OSError(28, "No space left on device")  # type: ignore[assignment]
        files = (Attachment("F1", "plan.pdf"), Attachment("F2", "gone.txt"), Attachment("F3", "big.bin"))
        await bot.hear("see", channel="D1", kind=ChannelKind.DM, thread=first.ts, attachments=files)
        below = ThreadKey("T1", DESK, card(chat).ts)
        missing = "Not brought along: gone.txt (it was deleted), big.bin (it could not be read)."
        await bot.until(lambda: missing in in_thread(chat, below))
        assert "see" in in_thread(chat, below)
        assert [(where, name, content) for where, name, _, content, _ in chat.uploads] == [(below, "plan.pdf", b"plan")]


# --- many -----------------------------------------------------------------------------------------------------------


MANY = 50 if os.environ.get("SLACKBOT_CHAOS") else 10


async def test_many_at_once_with_racing_operators(database_url: str, chat: FakeChat) -> None:
    """Half of them in DMs, two operators race for each: one owner each, no word of the agent while a human has them,
    every message on the other side once and in order."""
    agent = FakeAgent()
    async with running_bot(database_url, chat, agent, handover_rules=RULES) as bot:
        places = [(f"D{n}", ChannelKind.DM) if n % 2 else (f"C{n}", ChannelKind.CHANNEL) for n in range(MANY)]
        roots = [await bot.hear("<@UBOT> human", channel=channel, kind=kind) for channel, kind in places]
        await bot.until(lambda: len(chat.cards()) == MANY, 60)
        cards = [shown for shown in chat.messages.values() if shown.body.card]
        presses = [(shown, user) for shown in cards for user in ("UOLGA", "UOTTO")]

        async def claim(shown: Shown, user: str) -> None:
            assert shown.body.handover_id is not None
            await bot.intake.take(HandoverPress(Button.CLAIM, "T1", DESK, shown.ts, None, user, shown.body.handover_id))

        await asyncio.gather(*(claim(shown, user) for shown, user in presses))
        await bot.until(lambda: all("helps" in found.heading for found in chat.cards()), 60)
        records = await bot.store.handovers()
        assert [record.handover.state for record in records] == [HandoverState.HUMAN] * MANY
        assert [len(record.transitions) for record in records] == [2] * MANY
        await bot.until(lambda: len(chat.whispers) == MANY, 20)
        owners = {record.handover.conversation.thread.channel_id: record.handover for record in records}

        async def talk(channel: str, kind: ChannelKind, root: str) -> None:
            handover = owners[channel]
            assert handover.operator_id is not None
            assert handover.card is not None
            for n in range(4):
                await bot.hear(f"asker {n}", channel=channel, kind=kind, thread=root)
                below = {"channel": DESK, "thread": handover.card.ts}
                if kind is ChannelKind.DM:
                    await bot.hear(f"operator {n}", user=handover.operator_id, **below)  # type: ignore[arg-type]

        await asyncio.gather(
            *(talk(channel, kind, root.ts) for (channel, kind), root in zip(places, roots, strict=True))
        )
        await bot.idle(60)
        for (channel, kind), root in zip(places, roots, strict=True):
            handover = owners[channel]
            assert handover.card is not None
            across = chat.shown_in(ThreadKey("T1", DESK, handover.card.ts))
            back = chat.shown_in(ThreadKey("T1", channel, root.ts))
            expected = range(4 if kind is ChannelKind.DM else 0)
            assert [body.quoted for body in across if body.speaker] == [f"asker {n}" for n in expected]
            assert [body.quoted for body in back if body.quoted] == [f"operator {n}" for n in expected]
        assert not agent.asked
