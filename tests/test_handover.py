"""A human is asked for, takes the thread and gives it back: the whole play with fakes at the ports, on a real store."""

from __future__ import annotations

import asyncio

import pytest

from slackbot.domain import (
    Button,
    ChannelKind,
    HandoverPress,
    HandoverState,
    InboundMessage,
    MessageDeleted,
    MessageEdited,
    SessionStatus,
    TextDelta,
    ThreadKey,
    ThreadPress,
    ToolStarted,
)
from slackbot.errors import AgentRunFailed
from slackbot.handover import ALREADY_ASKED, NOBODY, NOT_OPERATOR, TAKEN, HandoverRules
from slackbot.store import Timers
from tests.fakes import FakeAgent, FakeChat, Shown
from tests.middle import Bot, running_bot, says

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
        shown.body.markdown or shown.body.notice
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
        assert [status for _, status in chat.sessions][-1] is SessionStatus.ACTIVE


async def test_the_play_in_a_direct_message(database_url: str, chat: FakeChat) -> None:
    """The card's thread is the relay: both sides see each other's words, notes stay inside, edits travel."""
    agent = FakeAgent([says("Hello."), says("I see.")])
    async with running_bot(database_url, chat, agent, handover_rules=RULES) as bot:
        first = await bot.hear("hi", channel="D1", kind=ChannelKind.DM)
        await bot.idle()
        private = ThreadKey("T1", "D1", first.ts)
        await bot.hear("human", channel="D1", kind=ChannelKind.DM, thread=first.ts)
        await heading(bot, "Ada needs a human")
        desk = ThreadKey("T1", DESK, card(chat).ts)
        await bot.hear("my order is lost", channel="D1", kind=ChannelKind.DM, thread=first.ts)
        await bot.until(lambda: "my order is lost" in in_thread(chat, desk))
        await press(bot, Button.CLAIM, "UOLGA")
        await heading(bot, "Olga helps Ada")
        await desk_says(bot, "// a difficult one")
        said = await desk_says(bot, "Hello Ada, I loook")
        await bot.until(lambda: "Hello Ada, I loook" in in_thread(chat, private))
        shown = next(shown for shown in chat.messages.values() if shown.body.markdown == "Hello Ada, I loook")
        assert shown.body.speaker is not None
        assert shown.body.speaker.name == "Olga"
        await bot.intake.take(MessageEdited("T1", DESK, said.ts, "Hello Ada, I look into it"))
        await bot.until(lambda: shown.body.markdown == "Hello Ada, I look into it")
        gone = await desk_says(bot, "wrong window")
        await bot.until(lambda: "wrong window" in in_thread(chat, private))
        await bot.intake.take(MessageDeleted("T1", DESK, gone.ts))
        await bot.until(lambda: "wrong window" not in in_thread(chat, private))
        await bot.hear("great", channel="D1", kind=ChannelKind.DM, thread=first.ts)
        await bot.until(lambda: "great" in in_thread(chat, desk))
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
        chat.past = []
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
        thread, desk = ThreadKey("T1", "D1", first.ts), ThreadKey("T1", DESK, card(chat).ts)
        await bot.until(lambda: any("nobody was free" in said for said in in_thread(chat, thread)))
        assert any("still waiting" in said for said in in_thread(chat, desk))


async def test_a_silent_operator_is_reminded(database_url: str, chat: FakeChat) -> None:
    """An operator who says nothing is nudged, then offered to hand back."""
    rules = HandoverRules(Timers(nudge=0.2, offer=0.6), DESK)
    async with running_bot(database_url, chat, FakeAgent(), handover_rules=rules) as bot:
        await bot.hear("human", channel="D1", kind=ChannelKind.DM)
        await heading(bot, "Ada needs a human")
        await press(bot, Button.CLAIM, "UOLGA")
        desk = ThreadKey("T1", DESK, card(chat).ts)
        await bot.until(lambda: any("not heard anything" in said for said in in_thread(chat, desk)))
        await bot.until(lambda: any("Shall the agent go on" in said for said in in_thread(chat, desk)))


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
    async with running_bot(database_url, chat, agent, handover_rules=RULES, greet=True) as bot:
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
