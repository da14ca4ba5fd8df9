"""Intake, turns and worker together on a real store: what people in a thread see, with fakes at the two ports."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from slackbot import leases
from slackbot.domain import (
    AgentProfile,
    AgentTarget,
    ApprovalRequested,
    Button,
    ChannelKind,
    ContextMessage,
    FileOffered,
    PartRecord,
    RunFinished,
    StartedOver,
    TextDelta,
    ToolStarted,
    Turn,
)
from slackbot.errors import (
    AgentRunFailed,
    AgentUnavailable,
    ChatUnavailable,
    ConversationFull,
    ConversationGone,
    Interrupted,
    StreamBroken,
    ThreadClosed,
)
from slackbot.intake import REFUSALS
from slackbot.routing import DmMode, Rules
from slackbot.store import Pressed, Store, StoreError
from slackbot.text.question import digest
from tests.databases import Raw
from tests.fakes import FakeAgent, FakeChat, Step
from tests.middle import OWNER, running_bot, says


async def test_a_mention_is_answered_in_its_thread(database_url: str, chat: FakeChat) -> None:
    """The answer goes into the thread of the message, from a conversation created for it."""
    agent = FakeAgent([says("Hello ", "Ada.")])
    async with running_bot(database_url, chat, agent) as bot:
        message = await bot.hear("<@UBOT> hi there")
        await bot.idle()
        (shown,) = chat.messages.values()
        assert shown.thread.root_ts == message.ts
        assert shown.body.markdown == "Hello Ada."
        assert agent.asked == [("conversation-1", "hi there")]


async def test_a_follow_up_goes_to_the_same_conversation(database_url: str, chat: FakeChat) -> None:
    """Answering in the thread without a mention continues the conversation."""
    agent = FakeAgent([says("One."), says("Two.")])
    async with running_bot(database_url, chat, agent) as bot:
        first = await bot.hear("<@UBOT> one?")
        await bot.idle()
        await bot.hear("and two?", thread=first.ts)
        await bot.idle()
        assert chat.texts() == ["One.", "Two."]
        assert agent.asked == [("conversation-1", "one?"), ("conversation-1", "and two?")]


async def test_redelivery_is_answered_once(database_url: str, chat: FakeChat) -> None:
    """The same message ten times over gets one answer."""
    agent = FakeAgent()
    async with running_bot(database_url, chat, agent) as bot:
        message = await bot.hear("<@UBOT> hi")
        await asyncio.gather(*(bot.intake.message(replace(message, event_id=f"Ev{n}")) for n in range(10)))
        await bot.idle()
        assert len(agent.asked) == 1
        assert len(chat.messages) == 1


async def test_messages_of_a_thread_are_answered_in_order_and_said_to_wait(database_url: str, chat: FakeChat) -> None:
    """While a turn runs the next ones wait, are told so, and go on in order."""
    agent = FakeAgent([[0.6, *says("First.")], says("Second."), says("Third.")])
    async with running_bot(database_url, chat, agent) as bot:
        first = await bot.hear("<@UBOT> first")
        await bot.until(lambda: len(agent.asked) == 1)
        await bot.hear("second", thread=first.ts)
        await bot.hear("third", thread=first.ts)
        await bot.until(lambda: len(chat.marks) == 2)
        assert chat.texts() in ([], [""])
        await bot.idle()
        assert chat.texts() == ["First.", "Second.", "Third."]
        await bot.until(lambda: not chat.marks)
        assert chat.whispers == []


async def test_threads_are_answered_side_by_side(database_url: str, chat: FakeChat) -> None:
    """Twenty threads of half a second each take far less than ten seconds."""
    agent = FakeAgent([[0.5, *says("Done.")]])
    async with running_bot(database_url, chat, agent) as bot:
        for number in range(20):
            await bot.hear("<@UBOT> go", channel=f"C{number}")
        await bot.until(lambda: len(agent.asked) == 20, seconds=3.0)
        await bot.idle()
        assert chat.texts() == ["Done."] * 20


async def test_a_lost_conversation_is_replaced_with_what_was_said(database_url: str, chat: FakeChat) -> None:
    """When Noxus no longer knows the conversation a new one starts with the thread's messages."""
    agent = FakeAgent([says("One."), [ConversationGone("404")], says("Still here.")])
    async with running_bot(database_url, chat, agent) as bot:
        first = await bot.hear("<@UBOT> I am Ada, remember me")
        await bot.idle()
        chat.past = [
            ContextMessage(first.ts, "UADA", "<@UBOT> I am Ada, remember me"),
            ContextMessage("1700000001.500000", "UBOT", "One.", from_agent=True),
        ]
        await bot.hear("who am I?", thread=first.ts)
        await bot.idle()
        assert chat.texts() == ["One.", "Still here."]
        conversation, question = agent.asked[-1]
        assert conversation == "conversation-2"
        assert "Ada: @agent I am Ada, remember me" in question
        assert "You: One." in question
        assert question.endswith("who am I?")


async def test_a_full_conversation_is_replaced_once(database_url: str, chat: FakeChat) -> None:
    """The agent's cap of messages starts a new conversation; a second cap in a row ends in words."""
    agent = FakeAgent([[ConversationFull("100 messages")], [ConversationFull("100 messages")]])
    async with running_bot(database_url, chat, agent) as bot:
        await bot.hear("<@UBOT> hi")
        await bot.idle()
        assert [conversation for conversation, _ in agent.asked] == ["conversation-1", "conversation-2"]
        (body,) = chat.bodies()
        assert body.notice == ConversationFull.sentence


async def test_a_failed_turn_says_so_and_retry_answers_in_the_same_message(database_url: str, chat: FakeChat) -> None:
    """Noxus being away gives one sentence and a Retry button; the press answers in the same place."""
    agent = FakeAgent([[AgentUnavailable("connect", may_have_arrived=False)], says("Back again.")])
    async with running_bot(database_url, chat, agent) as bot:
        await bot.hear("<@UBOT> hi")
        await bot.idle()
        (body,) = chat.bodies()
        assert (body.markdown, body.notice) == ("", AgentUnavailable.sentence)
        (failed,) = chat.messages.values()
        await bot.press(Button.RETRY)
        await bot.press_again(failed, Button.RETRY)
        await bot.idle()
        (shown,) = chat.messages.values()
        assert shown.ts == failed.ts
        assert (shown.body.markdown, shown.body.buttons) == ("Back again.", (Button.GOOD, Button.BAD))
        assert len(agent.asked) == 2


async def test_only_the_asker_retries(database_url: str, chat: FakeChat) -> None:
    """Somebody else's press changes nothing and is explained privately."""
    agent = FakeAgent([[AgentRunFailed("boom")]])
    async with running_bot(database_url, chat, agent) as bot:
        await bot.hear("<@UBOT> hi")
        await bot.idle()
        await bot.press(Button.RETRY, "UBEN")
        await bot.until(lambda: bool(chat.whispers))
        assert chat.whispers == [("UBEN", REFUSALS[Button.RETRY, Pressed.NOT_ASKER])]
        assert len(agent.asked) == 1


async def test_an_error_mid_answer_keeps_the_text(database_url: str, chat: FakeChat) -> None:
    """What the agent said before it failed stays, with one sentence below."""
    agent = FakeAgent([[*says("Half an ans"), 0.05, AgentRunFailed("secret internals")]])
    async with running_bot(database_url, chat, agent) as bot:
        await bot.hear("<@UBOT> hi")
        await bot.idle()
        (body,) = chat.bodies()
        assert (body.markdown, body.notice) == ("Half an ans", AgentRunFailed.sentence)
        assert Button.RETRY in body.buttons


async def test_a_turn_that_noxus_may_have_is_never_sent_again(database_url: str, chat: FakeChat) -> None:
    """After a death mid-answer the next process says so in one sentence; only Retry asks again."""
    agent = FakeAgent([says("Answered after all.")])
    async with running_bot(database_url, chat, agent, start=False) as bot:
        await bot.hear("<@UBOT> hi")
        (turn,) = await bot.store.claim("dead", 0.5)
        assert await bot.store.mark_submitted(turn.id, "dead")
    async with running_bot(database_url, chat, agent) as bot:
        await bot.until(lambda: bool(chat.messages))
        await bot.idle()
        (body,) = chat.bodies()
        assert body.notice == Interrupted.sentence
        assert agent.asked == []
        await bot.press(Button.RETRY)
        await bot.idle()
        assert chat.texts() == ["Answered after all."]
        assert len(agent.asked) == 1


async def test_a_turn_that_noxus_cannot_have_is_simply_run_again(database_url: str, chat: FakeChat) -> None:
    """A death before submission costs nothing but time."""
    agent = FakeAgent([says("Here.")])
    async with running_bot(database_url, chat, agent, start=False) as bot:
        await bot.hear("<@UBOT> hi")
        assert await bot.store.claim("dead", 0.01)
    async with running_bot(database_url, chat, agent) as bot:
        await bot.until(lambda: bool(chat.messages))
        await bot.idle()
        assert chat.texts() == ["Here."]


async def test_a_turn_that_noxus_has_is_answered_by_the_next_process(database_url: str, chat: FakeChat) -> None:
    """After a death mid-answer the next process finds the question by its words and finishes its answer."""
    agent = FakeAgent(became=[*says("The ", "whole answer."), RunFinished()])
    async with running_bot(database_url, chat, agent, start=False) as bot:
        await bot.hear("<@UBOT> hi")
        (turn,) = await bot.store.claim("dead", 0.5)
        await bot.store.bind(turn.id, "dead", "conversation-0")
        assert await bot.store.mark_submitted(turn.id, "dead", digest("hi"))
    async with running_bot(database_url, chat, agent) as bot:
        await bot.until(lambda: bool(chat.messages))
        await bot.idle()
        [body] = chat.bodies()
        assert (body.markdown, body.notice, body.buttons) == ("The whole answer.", "", (Button.GOOD, Button.BAD))
        assert agent.recovered == [("conversation-0", digest("hi"))]
        assert agent.asked == []


class SlowToReturn(Store):
    """Has stored that a turn failed long before it says so."""

    async def fail(self, turn_id: int, owner: str, code: str) -> bool:
        failed = await super().fail(turn_id, owner, code)
        await asyncio.sleep(0.5)
        return failed


async def test_retry_is_answered_while_the_failed_try_comes_to_its_end(database_url: str, chat: FakeChat) -> None:
    """The turn is taken again by the process that has just stored its end: both its tasks are there for a moment."""
    agent = FakeAgent([[AgentUnavailable("503", may_have_arrived=False)], says("Here.")])
    async with running_bot(database_url, chat, agent, store_class=SlowToReturn) as bot:
        await bot.hear("<@UBOT> hi")
        await bot.until(lambda: any(Button.RETRY in body.buttons for body in chat.bodies()))
        await bot.idle()
        assert bot.worker.running == 1
        await bot.press(Button.RETRY)
        await bot.idle()
        assert chat.texts() == ["Here."]
        await bot.until(lambda: not bot.worker.running)


async def test_a_running_answer_is_handed_over(database_url: str, chat: FakeChat) -> None:
    """At the deadline the newest text is shown and the turn given back; the next process goes on in the same message,
    and never shows less of it than there was."""
    said: list[Step] = [*says("Some text, "), 0.4, *says("then more ")]
    agent = FakeAgent([[*said, 60.0]], became=[*said, 0.1, *says("and all.")])
    async with running_bot(database_url, chat, agent) as bot:
        await bot.hear("<@UBOT> hi")
        await bot.until(lambda: "then more" in "".join(chat.texts()))
        bot.worker.stop()
        bot.turns.interrupt()
        await bot.until(lambda: not bot.worker.running)
        [shown] = chat.messages.values()
        assert (shown.body.markdown.strip(), shown.body.notice) == ("Some text, then more", "")
    before = len(shown.versions)
    async with running_bot(database_url, chat, agent) as bot:
        await bot.until(lambda: "and all." in "".join(chat.texts()))
        await bot.idle()
    lengths = [len(body.markdown) for _, body in shown.versions]
    assert lengths[before - 1 :] == sorted(lengths[before - 1 :])
    assert (chat.texts(), shown.body.buttons) == (["Some text, then more and all."], (Button.GOOD, Button.BAD))
    assert len(agent.asked) == 1
    assert chat.statuses[-1] == ""


async def test_what_stands_in_the_thread_outlives_a_vain_recovery(database_url: str, chat: FakeChat) -> None:
    """When the next process hears less than the thread shows, that stays, and the sentence goes below it."""
    agent = FakeAgent([[*says("Half of a long answer"), 60.0]], became=[*says("Half"), StreamBroken("cut")])
    async with running_bot(database_url, chat, agent) as bot:
        await bot.hear("<@UBOT> hi")
        await bot.until(lambda: chat.texts() == ["Half of a long answer"])
        bot.worker.stop()
        bot.turns.interrupt()
        await bot.until(lambda: not bot.worker.running)
    async with running_bot(database_url, chat, agent) as bot:
        await bot.idle()
        assert [(body.markdown, body.notice) for body in chat.bodies()] == [
            ("Half of a long answer", ""),
            ("", StreamBroken.sentence),
        ]
        await bot.until(lambda: Button.STOP not in chat.bodies()[0].buttons)


async def test_an_answer_that_starts_over_replaces_what_was_shown(database_url: str, chat: FakeChat) -> None:
    """What turned out not to be the answer makes way for it, in the same message, with its files and tools."""
    wrong: list[Step] = [*says("Something else"), ToolStarted("t", "web_research"), 0.1]
    agent = FakeAgent([[*wrong, StartedOver(), TextDelta("c", "The answer."), RunFinished()]])
    async with running_bot(database_url, chat, agent) as bot:
        await bot.hear("<@UBOT> hi")
        await bot.idle()
        [shown] = chat.messages.values()
        assert shown.versions[0][1].markdown == "Something else"
        assert (shown.body.markdown, shown.body.notice) == ("The answer.", "")


async def test_slack_being_away_delays_the_answer(database_url: str, chat: FakeChat) -> None:
    """When nothing can be posted the answer comes as soon as Slack is back, with the agent asked once."""
    posts = iter([ChatUnavailable("502")] * 2)

    def fail(method: str, _number: int) -> ChatUnavailable | None:
        return next(posts, None) if method == "post" else None

    chat.fail = fail
    agent = FakeAgent([says("Lost text.")])
    async with running_bot(database_url, chat, agent) as bot:
        await bot.hear("<@UBOT> hi")
        await bot.until(lambda: bool(chat.messages), seconds=10.0)
        await bot.idle()
        assert chat.texts() == ["Lost text."]
        assert len(agent.asked) == 1


async def test_however_long_slack_is_away_what_was_asked_is_answered(database_url: str, chat: FakeChat) -> None:
    """Longer than anything else is tried again."""
    posts = iter([ChatUnavailable("502")] * 8)
    chat.fail = lambda method, _number: next(posts, None) if method == "post" else None
    agent = FakeAgent(agent_profile=AgentProfile(introductory_message="Hi, I am Nora."))
    async with running_bot(database_url, chat, agent) as bot:
        await bot.hear("<@UBOT>")
        await bot.idle()
        assert chat.texts() == ["Hi, I am Nora."]
        ((ts, _),) = chat.messages.items()
        # Told apart by that from one that a dead process may have sent as well.
        assert await bot.store.parts(1) == [PartRecord(0, ts)]


async def test_what_goes_wrong_after_a_long_outage_is_said(
    database_url: str, chat: FakeChat, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However often Slack was away, the first other trouble is one sentence with Retry."""
    troubles = iter([*[ChatUnavailable("502")] * 6, KeyError("ts")])

    async with running_bot(database_url, chat, FakeAgent([says("Never said.")]), start=False) as bot:

        async def run(_turn: Turn) -> None:
            raise next(troubles)

        monkeypatch.setattr(bot.turns, "run", run)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(bot.worker.run())
            await bot.hear("<@UBOT> hi")
            await bot.until(lambda: bool(chat.messages))
            await bot.idle()
            bot.worker.stop()
        assert [body.buttons for body in chat.bodies()] == [(Button.RETRY,)]


async def test_what_nobody_foresaw_ends_one_turn_visibly(database_url: str, chat: FakeChat) -> None:
    """A bug in one turn is one sentence in its thread, also when it strikes again while that is said; others go on."""
    posts = iter([KeyError("ts"), KeyError("ts")])

    def fail(method: str, _number: int) -> Exception | None:
        return next(posts, None) if method == "post" else None

    chat.fail = fail
    async with running_bot(database_url, chat, FakeAgent([says("One."), says("Two.")])) as bot:
        await bot.hear("<@UBOT> one")
        await bot.until(lambda: bool(chat.messages))
        await bot.idle()
        assert [body.notice for body in chat.bodies()] == [Interrupted.sentence]
        await bot.hear("<@UBOT> two", channel="C2")
        await bot.idle()
        assert chat.texts()[-1] == "Two."


async def test_our_own_turn_is_not_run_twice(database_url: str, chat: FakeChat) -> None:
    """When the machine slept past the lease of a running turn, the claim of it starts nothing."""
    agent = FakeAgent([[0.6, *says("Once.")]])
    async with running_bot(database_url, chat, agent) as bot:
        await bot.hear("<@UBOT> hi")
        await bot.until(lambda: len(agent.asked) == 1)
        await bot.store.renew(OWNER, [1], -1.0)
        bot.worker.wake()
        await bot.idle()
        assert len(agent.asked) == 1
        assert [(body.markdown, body.notice) for body in chat.bodies()] == [("Once.", "")]


async def test_a_part_that_could_not_be_recorded_is_at_the_end(database_url: str, chat: FakeChat) -> None:
    """After a death, what is not recorded counts as a dead process's and is taken away."""

    class Shaky(Store):
        troubles = 1

        async def record_part(self, turn_id: int, owner: str, part: PartRecord) -> bool:
            self.troubles -= 1
            if self.troubles >= 0:
                raise StoreError("away")
            return await super().record_part(turn_id, owner, part)

    async with running_bot(database_url, chat, FakeAgent([says("Whole.")]), store_class=Shaky) as bot:
        await bot.hear("<@UBOT> hi")
        await bot.idle()
        ((ts, shown),) = chat.messages.items()
        assert shown.part is not None
        assert await bot.store.parts(shown.part.turn_id) == [PartRecord(0, ts)]


async def test_a_short_outage_of_the_database_costs_nothing_visible(database_url: str, chat: FakeChat) -> None:
    """An answer that stands in Slack is recorded when the database is back, not apologised for."""

    class Shaky(Store):
        troubles = 2

        async def finish(self, turn_id: int, owner: str, code: str | None = None, *, heard: bool = True) -> bool:
            self.troubles -= 1
            if self.troubles >= 0:
                raise StoreError("away")
            return await super().finish(turn_id, owner, code, heard=heard)

    async with running_bot(database_url, chat, FakeAgent([says("Whole.")]), store_class=Shaky) as bot:
        await bot.hear("<@UBOT> hi")
        await bot.idle()
        assert [(body.markdown, body.notice) for body in chat.bodies()] == [("Whole.", "")]


async def test_a_mark_of_which_nothing_was_heard_is_no_question_that_may_have_been_sent(
    database_url: str, chat: FakeChat, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database took it and said nothing: the question goes out when it answers again."""
    monkeypatch.setattr(leases, "CALL_SECONDS", 1.0)

    class Silent(Store):
        troubles = 2

        async def mark_submitted(self, turn_id: int, owner: str, digest: str = "") -> bool:
            held = await super().mark_submitted(turn_id, owner, digest)
            self.troubles -= 1
            if self.troubles >= 0:
                raise StoreError("nothing heard")
            return held

    agent = FakeAgent([says("Whole.")])
    async with running_bot(database_url, chat, agent, store_class=Silent) as bot:
        await bot.hear("<@UBOT> hi")
        await bot.idle()
        assert [(body.markdown, body.notice) for body in chat.bodies()] == [("Whole.", "")]
        assert len(agent.asked) == 1


async def test_who_leaves_has_somebody_look_for_what_was_on_its_way(
    database_url: str, chat: FakeChat, sql: Raw
) -> None:
    """A first message may reach Slack after its post was cut off."""

    class Slow(FakeAgent):
        async def create_conversation(self, target: AgentTarget, name: str) -> str:
            await asyncio.sleep(60.0)
            return await super().create_conversation(target, name)

    async with running_bot(database_url, chat, Slow()) as bot:
        await bot.hear("<@UBOT> hi")
        await bot.until(lambda: bool(bot.turns._answering))
        bot.worker.stop()
        bot.turns.interrupt()
        await bot.until(lambda: not bot.worker.running)
    assert sql("SELECT state FROM turns WHERE echoes_at IS NOT NULL") == [("queued",)]


async def test_the_past_goes_along_until_it_was_heard(database_url: str, chat: FakeChat) -> None:
    """A first question that failed takes the thread's past along again when it is tried again."""
    chat.past = [ContextMessage("1600000000.000000", "UBEN", "Shall we ship?")]
    agent = FakeAgent([[AgentUnavailable("503")], says("Yes."), says("Really.")])
    async with running_bot(database_url, chat, agent) as bot:
        await bot.hear("<@UBOT> what do you think?", thread="1600000000.000000")
        await bot.idle()
        await bot.press(Button.RETRY)
        await bot.idle()
        await bot.hear("<@UBOT> sure?", thread="1600000000.000000")
        await bot.idle()
        assert ["Shall we ship?" in question for _, question in agent.asked] == [True, True, False]
        assert agent.asked[-1][1] == "Ada: sure?"


async def test_stopping_before_the_agent_was_asked_gives_the_turn_back(database_url: str, chat: FakeChat) -> None:
    """A turn that Noxus has not seen starts over in the next process, in the same message."""
    chat.has_status = False
    gate = asyncio.Event()

    class Slow(FakeAgent):
        async def create_conversation(self, target: AgentTarget, name: str) -> str:
            await gate.wait()
            return await super().create_conversation(target, name)

    async with running_bot(database_url, chat, Slow()) as bot:
        await bot.hear("<@UBOT> hi")
        await bot.until(lambda: bool(chat.messages))
        bot.worker.stop()
        bot.turns.interrupt()
    agent = FakeAgent([says("Here.")])
    async with running_bot(database_url, chat, agent) as bot:
        await bot.until(lambda: chat.texts() == ["Here."])
        await bot.idle()
        assert len(chat.messages) == 1


async def test_a_closed_thread_ends_the_turn_quietly(database_url: str, chat: FakeChat) -> None:
    """In an archived channel the turn fails in the log only, and is not tried for ever."""

    def fail(method: str, _number: int) -> ThreadClosed | None:
        return ThreadClosed("is_archived", slack_error="is_archived") if method == "post" else None

    chat.fail = fail
    async with running_bot(database_url, chat, FakeAgent()) as bot:
        await bot.hear("<@UBOT> hi")
        await bot.idle()
        assert chat.messages == {}


async def test_an_empty_mention_is_greeted_by_the_agents_own_words(database_url: str, chat: FakeChat) -> None:
    """The agent's introductory message answers a bare mention, without a run."""
    agent = FakeAgent(agent_profile=AgentProfile(introductory_message="Hi, I am Nora."))
    async with running_bot(database_url, chat, agent) as bot:
        await bot.hear("<@UBOT>")
        await bot.idle()
        assert chat.texts() == ["Hi, I am Nora."]
        assert agent.asked == []


async def test_what_was_not_answered_goes_along_with_the_next_question(database_url: str, chat: FakeChat) -> None:
    """Talk between people in the thread reaches the agent, with authors, when it is asked again."""
    agent = FakeAgent([says("One."), says("Two.")])
    async with running_bot(database_url, chat, agent) as bot:
        first = await bot.hear("<@UBOT> one?")
        await bot.idle()
        await bot.hear("I think it is three", user="UBEN", thread=first.ts)
        await bot.hear("no, four", thread=first.ts)
        await bot.idle()
        assert len(agent.asked) == 1
        await bot.hear("<@UBOT> who is right?", thread=first.ts)
        await bot.idle()
        assert agent.asked[-1][1].splitlines() == [
            "Said before in this thread, for you to know:",
            "Ben: I think it is three",
            "Ada: no, four",
            "",
            "Ada: who is right?",
        ]


async def test_a_mention_in_an_old_thread_brings_its_past(database_url: str, chat: FakeChat) -> None:
    """Called into a discussion, the agent knows what was said before."""
    chat.past = [ContextMessage("1600000000.000000", "UBEN", "Shall we ship?")]
    agent = FakeAgent()
    async with running_bot(database_url, chat, agent) as bot:
        await bot.hear("<@UBOT> what do you think?", thread="1600000000.000000")
        await bot.idle()
        (asked,) = agent.asked
        assert asked[1].endswith("Ben: Shall we ship?\n\nAda: what do you think?")


async def test_a_flat_dm_is_one_conversation_until_new(database_url: str, chat: FakeChat) -> None:
    """Top-level messages of a flat DM share a conversation; ``new`` starts another."""
    agent = FakeAgent([says("One."), says("Two."), says("Three.")])
    rules = Rules(dm_mode=DmMode.FLAT)
    async with running_bot(database_url, chat, agent, rules=rules) as bot:
        for text in ("one", "two", "new", "three"):
            await bot.hear(text, channel="D1", kind=ChannelKind.DM)
        await bot.idle()
        assert [conversation for conversation, _ in agent.asked] == [
            "conversation-1",
            "conversation-1",
            "conversation-2",
        ]
        assert {shown.thread.root_ts for shown in chat.messages.values()} == {""}


@pytest.mark.parametrize(
    ("script", "notice"),
    [
        ([RunFinished()], "The agent finished without saying anything."),
        (
            [ToolStarted("1", "look_it_up"), RunFinished()],
            "The agent waits for something outside this thread: look it up.",
        ),
        (
            [ToolStarted("1", "delete_all"), ApprovalRequested("1", "delete_all"), RunFinished()],
            "The agent waits for somebody to approve a step in Noxus.",
        ),
        (
            [*says("Cut"), RunFinished("length")],
            "The agent reached its length limit, so this answer ends early.",
        ),
        ([FileOffered("data:image/png;base64,AA==", "image/png")], "The agent made this:"),
    ],
)
async def test_a_turn_says_what_it_waits_for(
    database_url: str, chat: FakeChat, script: list[TextDelta], notice: str
) -> None:
    """A turn that ends without saying enough is explained in one sentence."""
    async with running_bot(database_url, chat, FakeAgent([script])) as bot:
        await bot.hear("<@UBOT> hi")
        await bot.idle()
        assert chat.bodies()[0].notice == notice


async def test_too_many_questions_are_refused_in_words(database_url: str, chat: FakeChat) -> None:
    """The question over the limit gets one polite sentence and no run."""
    agent = FakeAgent()
    async with running_bot(database_url, chat, agent, rules=Rules(turns_per_user_per_minute=2)) as bot:
        for number in range(3):
            await bot.hear("<@UBOT> go", channel=f"C{number}")
        await bot.idle()
        assert len(agent.asked) == 2
        assert sum("one minute" in text for text in chat.texts()) == 1
