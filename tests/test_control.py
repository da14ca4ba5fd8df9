"""What people do about an answer: stop it, rate it, write meanwhile, edit and delete; on a real store."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import pytest

from slackbot import turns
from slackbot.domain import (
    AgentEvent,
    Body,
    Button,
    ChannelKind,
    ContextMessage,
    FileBytes,
    FileLink,
    InboundMessage,
    MessageDeleted,
    MessageEdited,
    PartRecord,
    PartRef,
    Person,
    SessionStopped,
    TextDelta,
    ThreadKey,
    ToolStarted,
)
from slackbot.errors import AgentRunFailed, ChatError, ChatUnavailable
from slackbot.intake import REFUSALS, THANKS, UNKNOWN_TURN, WAITING
from slackbot.replies import messages
from slackbot.routing import DmMode, Rules
from slackbot.store import Pressed
from tests.databases import Raw
from tests.fakes import FakeAgent, FakeChat, Step
from tests.middle import OWNER, Bot, running_bot, says

LONG: list[Step] = [*says("Half of "), 60.0, TextDelta("b", "never said")]


@asynccontextmanager
async def dying_bot(database_url: str, chat: FakeChat, agent: FakeAgent) -> AsyncIterator[Bot]:
    """A bot whose process dies at the end of the block, which ends its leases."""
    try:
        async with running_bot(database_url, chat, agent) as bot:
            yield bot
            raise ZeroDivisionError
    except* ZeroDivisionError:
        sql = Raw(database_url)
        sql("UPDATE turns SET lease_until = 0, echoes_at = 0 WHERE state = 'running'")
        sql.close()


@dataclass
class SlowNames(FakeChat):
    """A Slack that takes its time to tell who somebody is."""

    slow: float = 0.0

    async def people(self, team_id: str, user_ids: Collection[str]) -> dict[str, Person]:
        await asyncio.sleep(self.slow)
        return await super().people(team_id, user_ids)


async def half_an_answer(bot: Bot, chat: FakeChat) -> InboundMessage:
    """A question whose answer has begun and will not end by itself."""
    message = await bot.hear("<@UBOT> hi")
    await bot.until(lambda: chat.texts() == ["Half of "])
    return message


# --- Stop ---


async def test_stop_ends_the_answer_at_once_and_says_who_did(database_url: str, chat: FakeChat) -> None:
    """What was said stays, with one sentence; nothing is sent to the agent, whose run is waited for."""
    agent = FakeAgent([LONG])
    async with running_bot(database_url, chat, agent) as bot:
        await half_an_answer(bot, chat)
        await bot.press(Button.STOP)
        await bot.idle()
        (body,) = chat.bodies()
        assert (body.markdown.strip(), body.notice, body.buttons) == ("Half of", "Stopped by Ada.", ())
        assert agent.settled == ["conversation-1"]
        assert len(agent.asked) == 1


async def test_the_next_message_waits_until_the_stopped_run_has_settled(database_url: str, chat: FakeChat) -> None:
    """The agent still writes after a stop, so the thread's next question waits, with its mark, then goes."""
    agent = FakeAgent([LONG, says("Next.")], settle_seconds=0.3)
    async with running_bot(database_url, chat, agent) as bot:
        first = await half_an_answer(bot, chat)
        await bot.press(Button.STOP)
        await bot.until(lambda: chat.bodies()[0].notice != "")
        await bot.hear("and now?", thread=first.ts)
        await bot.until(lambda: bool(chat.marks))
        assert len(agent.asked) == 1
        await bot.idle()
        assert [question for _, question in agent.asked] == ["hi", "and now?"]
        assert chat.texts()[1] == "Next."
        await bot.until(lambda: not chat.marks)


async def test_only_the_asker_stops(database_url: str, chat: FakeChat) -> None:
    """Somebody else's press changes nothing and is explained privately."""
    async with running_bot(database_url, chat, FakeAgent([[*says("Half of "), 0.5, TextDelta("b", "it.")]])) as bot:
        await half_an_answer(bot, chat)
        await bot.press(Button.STOP, "UBEN")
        await bot.idle()
        assert chat.texts() == ["Half of it."]
        assert chat.whispers == [("UBEN", REFUSALS[Button.STOP, Pressed.NOT_ASKER])]


async def test_stop_after_the_end_is_explained(database_url: str, chat: FakeChat) -> None:
    """A Stop button that is pressed too late changes nothing; neither does one of a turn nobody knows."""
    async with running_bot(database_url, chat, FakeAgent([[*says("Whole."), 0.6]])) as bot:
        await bot.hear("<@UBOT> hi")
        await bot.idle()
        (shown,) = chat.messages.values()
        assert Button.STOP in shown.versions[0][1].buttons
        await bot.press_again(shown, Button.STOP)
        shown.versions.append((0.0, replace(shown.body, turn_id=4711)))
        await bot.press_again(shown, Button.STOP)
        await bot.until(lambda: len(chat.whispers) == 2)
        assert chat.whispers == [("UADA", REFUSALS[Button.STOP, Pressed.TOO_LATE]), ("UADA", UNKNOWN_TURN)]
        assert shown.body.markdown == "Whole."


async def test_stop_before_the_first_words(database_url: str, chat: FakeChat) -> None:
    """A placeholder carries Stop too, and becomes the sentence that says who stopped."""
    chat.has_status = False
    async with running_bot(database_url, chat, FakeAgent([[60.0]])) as bot:
        await bot.hear("<@UBOT> hi")
        await bot.until(lambda: bool(chat.messages))
        await bot.press(Button.STOP)
        await bot.idle()
        (body,) = chat.bodies()
        assert (body.markdown, body.step, body.notice) == ("", "", "Stopped by Ada.")


async def test_slacks_own_stop_button(database_url: str, chat: FakeChat) -> None:
    """The Stop of Slack's agent session does the same, for the asker."""
    async with running_bot(database_url, chat, FakeAgent([LONG])) as bot:
        message = await half_an_answer(bot, chat)
        stopped = SessionStopped("T1", "C1", message.ts, "UBEN")
        await bot.intake.take(stopped)
        await bot.until(lambda: bool(chat.whispers))
        assert chat.whispers == [("UBEN", REFUSALS[Button.STOP, Pressed.NOT_ASKER])]
        await bot.intake.take(replace(stopped, user_id="UADA"))
        await bot.idle()
        assert chat.bodies()[0].notice == "Stopped by Ada."
        await bot.intake.take(replace(stopped, user_id="UADA"))
        await bot.intake.take(replace(stopped, thread_ts="1600000000.000000"))
        assert len(chat.whispers) == 1


async def test_a_press_that_another_process_took_in_stops_the_answer(database_url: str, chat: FakeChat) -> None:
    """The process that runs the answer finds the wish in the database."""
    async with running_bot(database_url, chat, FakeAgent([LONG])) as bot:
        await half_an_answer(bot, chat)
        (body,) = chat.bodies()
        assert body.turn_id is not None
        assert await bot.store.request_stop(body.turn_id, "T1", "C1", "UADA") is Pressed.DONE
        await bot.idle()
        assert chat.bodies()[0].notice == "Stopped by Ada."


async def test_without_a_name_the_stop_is_still_said(database_url: str) -> None:
    """Slack being away costs the name of who stopped, not the end."""

    class Nameless(FakeChat):
        async def people(self, team_id: str, user_ids: Collection[str]) -> dict[str, Person]:
            raise ChatUnavailable("away")

    nameless = Nameless(latency=0.001)
    async with running_bot(database_url, nameless, FakeAgent([LONG])) as bot:
        message = await bot.hear("hi", kind=ChannelKind.DM)
        await bot.until(lambda: nameless.texts() == ["Half of "])
        await bot.intake.take(SessionStopped("T1", "C1", message.ts, "UADA"))
        await bot.idle()
        assert nameless.bodies()[0].notice == "Stopped."


async def test_a_stop_survives_the_process(database_url: str, chat: FakeChat) -> None:
    """A process that dies while a stopped run settles leaves nothing but the waiting to the next one."""
    agent = FakeAgent([LONG], settle_seconds=60.0)
    async with running_bot(database_url, chat, agent) as bot:
        await half_an_answer(bot, chat)
        await bot.press(Button.STOP)
        await bot.until(lambda: agent.settled == ["conversation-1"])
        bot.worker.stop()
        bot.turns.close()
    agent.settle_seconds = 0.0
    before = chat.bodies()
    async with running_bot(database_url, chat, agent) as bot:
        await bot.idle()
    assert agent.settled == ["conversation-1"] * 2
    assert chat.bodies() == before
    assert len(agent.asked) == 1


@pytest.mark.parametrize("submitted", [False, True])
async def test_a_stop_that_the_process_did_not_live_to_show(
    database_url: str, chat: FakeChat, *, submitted: bool
) -> None:
    """The next process says that the answer was stopped, asks nothing and offers nothing to try again."""
    agent = FakeAgent([LONG])
    async with running_bot(database_url, chat, agent, start=False) as bot:
        await bot.hear("<@UBOT> hi")
        [turn] = await bot.store.claim("dead", 0.0)
        if submitted:
            await bot.store.renew("dead", [turn.id], 5.0)
            assert await bot.store.mark_submitted(turn.id, "dead")
            await bot.store.renew("dead", [turn.id], 0.0)
        assert await bot.store.request_stop(turn.id, "T1", "C1", "UADA") is Pressed.DONE
    async with running_bot(database_url, chat, agent) as bot:
        await bot.idle()
    assert [(body.markdown, body.notice, body.buttons) for body in chat.bodies()] == [("", "Stopped by Ada.", ())]
    assert not agent.asked


async def test_stopped_before_the_next_process_caught_up(database_url: str, chat: FakeChat) -> None:
    """What stands in the thread stays, with the sentence below it."""
    agent = FakeAgent([LONG], became=[60.0])
    async with dying_bot(database_url, chat, agent) as bot:
        await half_an_answer(bot, chat)
    async with running_bot(database_url, chat, agent) as bot:
        await bot.until(lambda: bool(agent.recovered))
        await bot.press(Button.STOP)
        await bot.idle()
        shown = [(body.markdown, body.notice) for body in chat.bodies()]
    assert shown == [("Half of ", ""), ("", "Stopped by Ada.")]
    assert len(agent.asked) == 1


async def test_a_part_that_stands_above_the_one_before_it_is_told_anew(database_url: str, chat: FakeChat) -> None:
    """One process died before it recorded a second part, and the next one posted the first anew without a look."""
    agent = FakeAgent([LONG], became=says("Half of it. " + "And so on. " * 1_000))
    async with dying_bot(database_url, chat, agent) as bot:
        await half_an_answer(bot, chat)
        (shown,) = chat.messages.values()
        assert shown.part is not None
        turn_id = shown.part.turn_id
        await chat.post(shown.thread, lambda: Body("And so on."), PartRef(turn_id, 1))
        anew = await chat.post(shown.thread, lambda: Body("Half of "), PartRef(turn_id, 0))
        assert await bot.store.record_part(turn_id, OWNER, PartRecord(0, anew))
    async with running_bot(database_url, chat, agent) as bot:
        await bot.idle()
        first, second = await bot.store.parts(turn_id)
        assert anew == first.ts < second.ts


async def test_the_process_ends_while_the_name_of_who_stopped_is_looked_up(database_url: str) -> None:
    """What cuts an answer off a second time does not cut off the words about the first."""
    chat = SlowNames(latency=0.001, names={"UADA": "Ada"})
    async with running_bot(database_url, chat, FakeAgent([LONG])) as bot:
        await half_an_answer(bot, chat)
        chat.slow = 0.5
        await bot.press(Button.STOP)
        await asyncio.sleep(0.2)
        bot.worker.stop()
        bot.turns.interrupt()
        await bot.until(lambda: not bot.worker.running)
        assert chat.bodies()[0].notice == "Stopped by Ada."


async def test_the_process_ends_while_a_stop_from_before_is_being_said(database_url: str) -> None:
    """Neither is a turn cut off that was found stopped."""
    chat = SlowNames(latency=0.001, names={"UADA": "Ada"}, slow=0.5)
    async with running_bot(database_url, chat, FakeAgent([LONG]), start=False) as bot:
        await bot.hear("<@UBOT> hi")
        [turn] = await bot.store.claim("dead", 0.0)
        await bot.store.request_stop(turn.id, "T1", "C1", "UADA")
    async with running_bot(database_url, chat, FakeAgent([LONG])) as bot:
        await bot.until(lambda: bot.worker.running == 1)
        await asyncio.sleep(0.2)
        bot.worker.stop()
        bot.turns.interrupt()
        await bot.until(lambda: not bot.worker.running)
        assert chat.bodies()[0].notice == "Stopped by Ada."


async def test_the_answer_is_deleted_while_the_name_of_who_stopped_is_looked_up(database_url: str) -> None:
    """Both ends at once are one end, and the next question is answered."""
    chat = SlowNames(latency=0.001, names={"UADA": "Ada"})
    growing = [step for number in range(60) for step in (0.2, TextDelta("b", f"w{number} "))]
    agent = FakeAgent([[*says("Half of "), *growing], says("Next.")])
    async with running_bot(database_url, chat, agent, repost_deleted=False) as bot:
        first = await bot.hear("<@UBOT> hi")
        await bot.until(lambda: any("w2" in text for text in chat.texts()))
        chat.slow = 0.5
        await bot.press(Button.STOP)
        chat.messages.clear()
        await bot.until(lambda: bool(agent.settled))
        chat.slow = 0.0
        await bot.hear("<@UBOT> next?", thread=first.ts)
        await bot.until(lambda: "Next." in chat.texts())


async def test_a_second_press_is_told_that_the_answer_is_over(database_url: str, chat: FakeChat) -> None:
    """While the stopped run settles the answer is over, but nobody calls it complete."""
    agent = FakeAgent([LONG], settle_seconds=0.5)
    async with running_bot(database_url, chat, agent) as bot:
        await half_an_answer(bot, chat)
        (shown,) = chat.messages.values()
        await bot.press(Button.STOP)
        await bot.until(lambda: bool(agent.settled))
        await bot.press_again(shown, Button.STOP)
        await bot.until(lambda: bool(chat.whispers))
        assert chat.whispers == [("UADA", "This answer is over already.")]


@pytest.mark.parametrize("stopped", [False, True])
async def test_a_crash_leaves_neither_stop_nor_step(database_url: str, chat: FakeChat, *, stopped: bool) -> None:
    """The next process takes off what only the dead one would have; the words stay as they are."""
    agent = FakeAgent([[*says("Half of "), 0.6, ToolStarted("1", "web_research"), 60.0]])
    async with dying_bot(database_url, chat, agent) as bot:
        await bot.hear("<@UBOT> hi")
        await bot.until(lambda: bool(chat.bodies()) and chat.bodies()[0].step != "")
        (body,) = chat.bodies()
        if stopped:
            assert body.turn_id is not None
            await bot.store.request_stop(body.turn_id, "T1", "C1", "UADA")
    assert body.buttons == (Button.STOP,)
    async with running_bot(database_url, chat, agent) as bot:
        await bot.until(lambda: not chat.bodies()[0].buttons)
        await bot.idle()
        first, last = chat.bodies()
        assert (first.markdown, first.step) == ("Half of ", "")
        assert last.buttons == (() if stopped else (Button.RETRY,))


@pytest.mark.parametrize("placeholder", [False, True])
async def test_an_edit_that_a_dead_process_sent_is_made_good(
    database_url: str, chat: FakeChat, monkeypatch: pytest.MonkeyPatch, *, placeholder: bool
) -> None:
    """Also where no answer comes over it, but a sentence: it stays, and Stop does not come back."""
    for module in (turns, messages):
        monkeypatch.setattr(module, "AFTER_ALL_SECONDS", 1.0)
    chat.has_status = not placeholder
    agent = FakeAgent([[60.0]] if placeholder else [LONG])
    async with dying_bot(database_url, chat, agent) as bot:
        await bot.hear("<@UBOT> hi")
        await bot.until(lambda: bool(chat.bodies()) and Button.STOP in chat.bodies()[0].buttons)
        (sent,) = chat.bodies()
        assert sent.turn_id is not None
        await bot.store.request_stop(sent.turn_id, "T1", "C1", "UADA")
    async with running_bot(database_url, chat, agent) as bot:
        await bot.until(lambda: any(body.notice == "Stopped by Ada." for body in chat.bodies()))
        await bot.until(lambda: not chat.bodies()[0].buttons)
        (ts, shown), *_ = chat.messages.items()
        said = shown.body
        await chat.edit(shown.thread, ts, sent)
        await bot.until(lambda: shown.body == said)
        assert [body.notice for body in chat.bodies()][-1] == "Stopped by Ada."


async def test_a_stop_that_slack_does_not_take_at_once_is_said_later(database_url: str, chat: FakeChat) -> None:
    """A post that fails after the crash of a stopped answer does not make a failure of it."""
    agent = FakeAgent([LONG])
    async with dying_bot(database_url, chat, agent) as bot:
        await half_an_answer(bot, chat)
        (body,) = chat.bodies()
        assert body.turn_id is not None
        await bot.store.request_stop(body.turn_id, "T1", "C1", "UADA")
    troubles = iter([ChatUnavailable("503")])
    chat.fail = lambda method, _number: next(troubles, None) if method == "post" else None
    async with running_bot(database_url, chat, agent) as bot:
        await bot.idle()
        assert (chat.bodies()[-1].notice, chat.bodies()[-1].buttons) == ("Stopped by Ada.", ())


async def test_a_stop_that_slack_will_not_show_offers_no_retry(database_url: str, chat: FakeChat) -> None:
    """Where the last edit is refused the sentence comes below: who stopped an answer wants no second one."""
    agent = FakeAgent([LONG])
    async with running_bot(database_url, chat, agent) as bot:
        await half_an_answer(bot, chat)
        refused = iter([ChatError("fatal_error")])
        chat.fail = lambda method, _number: next(refused, None) if method == "edit" else None
        await bot.press(Button.STOP)
        await bot.idle()
        await bot.until(lambda: not chat.bodies()[0].buttons)
        assert [(body.markdown, body.notice, body.buttons) for body in chat.bodies()] == [
            ("Half of ", "", ()),
            ("", "Stopped by Ada.", ()),
        ]


async def test_a_stop_before_the_question_is_sent_keeps_it_from_being_sent(database_url: str) -> None:
    """A press that comes while the turn is still being prepared counts, wherever it was taken in."""

    class SlowToFind(FakeChat):
        async def find_parts(self, thread: ThreadKey, turn_id: int) -> list[PartRecord]:
            await asyncio.sleep(0.3)
            return await super().find_parts(thread, turn_id)

    chat = SlowToFind(latency=0.001, names={"UADA": "Ada"})
    agent = FakeAgent([[*says("Half"), AgentRunFailed("boom")], says("Second")])
    async with running_bot(database_url, chat, agent) as bot:
        message = await bot.hear("<@UBOT> hi")
        await bot.idle()
        await bot.until(lambda: not bot.worker.running)
        await bot.press(Button.RETRY)
        await bot.until(lambda: bot.worker.running == 1)
        await bot.intake.take(SessionStopped("T1", "C1", message.ts, "UADA"))
        await bot.idle()
        assert len(agent.asked) == 1
        assert chat.bodies()[0].notice == "Stopped by Ada."


async def test_a_stop_before_the_agent_took_the_question_costs_nothing_of_the_past(
    database_url: str, chat: FakeChat
) -> None:
    """What went along with it goes along with the next question: nobody has heard it."""

    class Busy(FakeAgent):
        @asynccontextmanager
        async def ask(
            self, conversation_id: str, content: str, files: Sequence[FileBytes | FileLink] = ()
        ) -> AsyncIterator[AsyncIterator[AgentEvent]]:
            if not busy.is_set():
                busy.set()
                await asyncio.sleep(60.0)
            async with super().ask(conversation_id, content, files) as events:
                yield events

    busy = asyncio.Event()
    chat.past = [ContextMessage("1600000001.000000", "UBEN", "The code word is zebra.")]
    chat.has_status = False
    agent = Busy([says("ok"), says("ok")])
    root = "1600000000.000000"
    async with running_bot(database_url, chat, agent) as bot:
        await bot.hear("<@UBOT> hi", thread=root)
        await busy.wait()
        await bot.until(lambda: bool(chat.messages))
        await bot.press(Button.STOP)
        await bot.idle()
        for question in ("what is the code word?", "sure?"):
            await bot.hear(f"<@UBOT> {question}", thread=root)
            await bot.idle()
        assert ["zebra" in content for _, content in agent.asked] == [True, False]


async def test_what_the_agent_heard_before_a_stop_is_not_told_again(database_url: str, chat: FakeChat) -> None:
    """Once the agent took the question, it has the past that went along."""
    chat.past = [ContextMessage("1600000001.000000", "UBEN", "The code word is zebra.")]
    agent = FakeAgent([LONG, says("ok")])
    root = "1600000000.000000"
    async with running_bot(database_url, chat, agent) as bot:
        await bot.hear("<@UBOT> hi", thread=root)
        await bot.until(lambda: chat.texts() == ["Half of "])
        await bot.press(Button.STOP)
        await bot.hear("<@UBOT> what is the code word?", thread=root)
        await bot.idle()
        assert ["zebra" in content for _, content in agent.asked] == [True, False]


# --- Retry behind another question ---


async def test_a_retry_that_has_to_wait_is_told_so(database_url: str, chat: FakeChat) -> None:
    """Its turn comes after the running one; whoever pressed knows that."""
    agent = FakeAgent([[AgentRunFailed("boom")], [*says("Half of "), 0.5], says("Again.")])
    async with running_bot(database_url, chat, agent) as bot:
        first = await bot.hear("<@UBOT> hi")
        await bot.idle()
        await bot.hear("<@UBOT> other", thread=first.ts)
        await bot.until(lambda: "Half of " in chat.texts())
        await bot.press(Button.RETRY)
        await bot.until(lambda: bool(chat.whispers))
        await bot.idle()
        assert chat.whispers == [("UADA", REFUSALS[Button.RETRY, Pressed.WAITS])]
        assert chat.texts() == ["Again.", "Half of "]


async def test_who_presses_retry_twice_gets_one_more_try(database_url: str, chat: FakeChat) -> None:
    """Also when that fails at once, while the second press is looked at."""
    agent = FakeAgent([[AgentRunFailed("boom")], [AgentRunFailed("boom")], says("Not asked for.")])
    async with running_bot(database_url, chat, agent) as bot:
        await bot.hear("<@UBOT> hi")
        await bot.until(lambda: AgentRunFailed.sentence in [body.notice for body in chat.bodies()])
        await asyncio.gather(bot.press(Button.RETRY), bot.press(Button.RETRY))
        await bot.idle()
        assert len(agent.asked) == 2
        assert REFUSALS[Button.RETRY, Pressed.TOO_LATE] in [words for _, words in chat.whispers]


@pytest.mark.parametrize("again", ["Again.", "again " * 3_000])
async def test_a_retry_takes_the_place_of_all_that_failed(database_url: str, chat: FakeChat, again: str) -> None:
    """The new answer stands in the old messages, from the first; those it does not need go away."""
    agent = FakeAgent([[TextDelta("b", "word " * 5_000), AgentRunFailed("boom")], says(again)])
    async with running_bot(database_url, chat, agent) as bot:
        await bot.hear("<@UBOT> hi")
        await bot.idle()
        failed = list(chat.messages)
        assert [body.notice for body in chat.bodies()] == ["", "", AgentRunFailed.sentence]
        await bot.press(Button.RETRY)
        await bot.idle()
        assert "".join(chat.texts()) == again
        assert list(chat.messages) == failed[: len(chat.messages)]
        assert not any(body.notice or body.step or Button.RETRY in body.buttons for body in chat.bodies())


async def test_a_question_that_was_edited_after_it_failed_is_asked_anew(database_url: str, chat: FakeChat) -> None:
    """Retry asks what the message says by then."""
    agent = FakeAgent([[AgentRunFailed("boom")], says("Four.")])
    async with running_bot(database_url, chat, agent) as bot:
        message = await bot.hear("<@UBOT> tow plus two")
        await bot.idle()
        await bot.intake.take(MessageEdited("T1", "C1", message.ts, "<@UBOT> two plus two"))
        await bot.press(Button.RETRY)
        await bot.idle()
        assert [question for _, question in agent.asked] == ["tow plus two", "two plus two"]


async def test_a_question_that_is_deleted_while_its_retry_waits_still_ends(database_url: str, chat: FakeChat) -> None:
    """Its message stands in the thread with Retry: that is not left there for ever."""
    agent = FakeAgent([[AgentRunFailed("boom")], [*says("Half of "), 0.5], says("Again.")])
    async with running_bot(database_url, chat, agent) as bot:
        first = await bot.hear("<@UBOT> hi")
        await bot.idle()
        (failed,) = chat.messages.values()
        await bot.hear("<@UBOT> other", thread=first.ts)
        await bot.until(lambda: "Half of " in chat.texts())
        await bot.press(Button.RETRY)
        await bot.intake.take(MessageDeleted("T1", "C1", first.ts))
        await bot.idle()
        assert failed.body.markdown == "Again."
        assert Button.RETRY not in failed.body.buttons


# --- feedback ---


async def test_thumbs_are_stored_and_can_change(database_url: str, chat: FakeChat) -> None:
    """Anybody in the thread rates an answer; the last press of a person counts."""
    async with running_bot(database_url, chat, FakeAgent()) as bot:
        await bot.hear("<@UBOT> hi")
        await bot.idle()
        for user, button in (("UADA", Button.GOOD), ("UBEN", Button.GOOD), ("UBEN", Button.BAD)):
            await bot.press(button, user)
        await bot.until(lambda: len(chat.whispers) == 3)
        assert {words for _, words in chat.whispers} == {THANKS}
        given = await bot.store.feedback()
        assert {(one.user_id, one.good) for one in given} == {("UADA", True), ("UBEN", False)}


async def test_only_whole_answers_ask_for_thumbs(database_url: str, chat: FakeChat) -> None:
    """Neither a failure nor a silence is there to be rated."""
    async with running_bot(database_url, chat, FakeAgent([[*says("Half"), AgentRunFailed("boom")], []])) as bot:
        await bot.hear("<@UBOT> one")
        await bot.hear("<@UBOT> two")
        await bot.idle()
        assert [body.buttons for body in chat.bodies()] in ([(Button.RETRY,), ()], [(), (Button.RETRY,)])


# --- messages that come meanwhile ---


async def test_without_the_right_to_react_a_private_note_says_that_a_message_waits(
    database_url: str, chat: FakeChat
) -> None:
    """Where reactions are not allowed, its author is told in words."""
    chat.can_mark = False
    async with running_bot(database_url, chat, FakeAgent([[*says("Half of "), 0.3], says("Next.")])) as bot:
        first = await half_an_answer(bot, chat)
        for text in ("next", "and the one after it"):
            await bot.hear(text, thread=first.ts)
        await bot.idle()
        # True of each of them.
        assert chat.whispers == [("UADA", WAITING)] * 2
        assert chat.texts()[1] == "Next."


async def test_a_waiting_message_is_answered_as_it_was_edited(database_url: str, chat: FakeChat) -> None:
    """Edited before its turn, the new words count; an answered question stays answered, and that is logged."""
    agent = FakeAgent([[*says("Half of "), 0.3], says("Next.")])
    async with running_bot(database_url, chat, agent) as bot:
        first = await half_an_answer(bot, chat)
        second = await bot.hear("ten plus tow", thread=first.ts)
        await bot.intake.take(MessageEdited("T1", "C1", second.ts, "ten plus two"))
        await bot.intake.take(MessageEdited("T1", "C1", first.ts, "<@UBOT> something else"))
        await bot.idle()
        assert [question for _, question in agent.asked] == ["hi", "ten plus two"]
        await bot.intake.take(MessageEdited("T1", "C1", second.ts, "ten plus three"))
        await bot.idle()
        assert len(agent.asked) == 2


async def test_a_waiting_message_that_is_edited_away_keeps_its_words(database_url: str, chat: FakeChat) -> None:
    """Nothing but the mention is nothing to ask: what was asked before stands."""
    agent = FakeAgent([[*says("Half of "), 0.3], says("Next.")])
    async with running_bot(database_url, chat, agent) as bot:
        first = await half_an_answer(bot, chat)
        second = await bot.hear("<@UBOT> ten plus two", thread=first.ts)
        await bot.intake.take(MessageEdited("T1", "C1", second.ts, "<@UBOT> "))
        await bot.idle()
        assert [question for _, question in agent.asked] == ["hi", "ten plus two"]


async def test_a_waiting_message_that_is_deleted_gets_no_answer(
    database_url: str, chat: FakeChat, caplog: pytest.LogCaptureFixture
) -> None:
    """Deleted before its turn it is dropped; deletions of anything else change nothing."""
    caplog.set_level(logging.INFO)
    agent = FakeAgent([[*says("Half of "), 0.3], says("Last.")])
    async with running_bot(database_url, chat, agent) as bot:
        first = await half_an_answer(bot, chat)
        second = await bot.hear("forget me", thread=first.ts)
        await bot.hear("and me?", thread=first.ts)
        for ts in (second.ts, first.ts, "1600000000.000000"):
            await bot.intake.take(MessageDeleted("T1", "C1", ts))
        await bot.idle()
        assert [question for _, question in agent.asked] == ["hi", "and me?"]
        assert chat.texts() == ["Half of ", "Last."]
        deletions = [record for record in caplog.records if record.getMessage() == "message.deleted"]
        outcomes = [vars(record)["outcome"] for record in deletions]
        assert outcomes == ["used", "too_late", "unknown"]


async def test_an_answer_that_was_deleted_ends_quietly_where_the_setting_says_so(
    database_url: str, chat: FakeChat
) -> None:
    """The run is left to settle, nothing more is said, and the next question is answered."""
    agent = FakeAgent([[*says("Half of "), 1.0, TextDelta("b", "it"), 60.0], says("Next.")])
    async with running_bot(database_url, chat, agent, repost_deleted=False) as bot:
        first = await half_an_answer(bot, chat)
        chat.messages.clear()
        await bot.until(lambda: bool(agent.settled))
        await bot.hear("<@UBOT> next?", thread=first.ts)
        await bot.idle()
        assert chat.texts() == ["Next."]


async def test_an_answer_that_was_deleted_goes_on_below(database_url: str, chat: FakeChat) -> None:
    """By itself the rest of the answer is not lost with the message that somebody deleted."""
    agent = FakeAgent([[*says("Half of "), 1.0, TextDelta("b", "it.")]])
    async with running_bot(database_url, chat, agent) as bot:
        await half_an_answer(bot, chat)
        chat.messages.clear()
        await bot.idle()
        assert chat.texts() == ["Half of it."]


async def test_a_command_that_waited_loses_its_mark_too(database_url: str, chat: FakeChat) -> None:
    """Whatever its turn is for, the mark goes when that begins."""
    agent = FakeAgent([[*says("Half of "), 0.3, TextDelta("b", "it.")]])
    async with running_bot(database_url, chat, agent, rules=Rules(dm_mode=DmMode.FLAT)) as bot:
        await bot.hear("hi", channel="D1", kind=ChannelKind.DM)
        await bot.until(lambda: chat.texts() == ["Half of "])
        await bot.hear("new", channel="D1", kind=ChannelKind.DM)
        await bot.until(lambda: bool(chat.marks))
        await bot.idle()
        await bot.until(lambda: not chat.marks)
        async with asyncio.timeout(5.0):
            while await bot.store.marks_left(60):
                await asyncio.sleep(0.01)


async def test_a_mark_that_comes_too_late_is_taken_off_again(database_url: str, chat: FakeChat) -> None:
    """A message whose turn comes while Slack still takes the mark in does not keep it."""
    slow = FakeChat(latency=0.05, names=chat.names)
    agent = FakeAgent([says("One."), says("Two.")])
    async with running_bot(database_url, slow, agent) as bot:
        first = await bot.hear("<@UBOT> one")
        await bot.hear("<@UBOT> two", thread=first.ts)
        await bot.idle()
        async with asyncio.timeout(5.0):
            while slow.count("unmark_waiting") < 1 or slow.marks or await bot.store.marks_left(60):
                await asyncio.sleep(0.01)
        assert slow.texts() == ["One.", "Two."]


async def test_a_mark_that_never_stood_is_not_taken_off(database_url: str, chat: FakeChat) -> None:
    """Slack takes few removals a minute: who was told in words, or came to its turn first, needs none later either."""
    chat.can_mark = False
    agent = FakeAgent([[*says("Half of "), 0.3, TextDelta("b", "it.")], says("Two.")])
    async with running_bot(database_url, chat, agent) as bot:
        first = await bot.hear("<@UBOT> one")
        await bot.until(lambda: chat.texts() == ["Half of "])
        second = await bot.hear("<@UBOT> two", thread=first.ts)
        await bot.until(lambda: bool(chat.whispers))
        await bot.idle()
        assert second.ts not in chat.marks
        assert chat.count("unmark_waiting") == 0
        assert await bot.store.marks_left(60) == []


async def test_operators_stop_and_try_again(database_url: str, chat: FakeChat) -> None:
    """Whoever looks after requests may stop an answer, and try a failed one again."""
    chat.operator_ids = frozenset({"UBEN"})
    agent = FakeAgent([LONG, [AgentRunFailed("boom")], says("Now.")])
    async with running_bot(database_url, chat, agent) as bot:
        await half_an_answer(bot, chat)
        await bot.press(Button.STOP, "UBEN")
        await bot.idle()
        assert chat.bodies()[0].notice == "Stopped by Ben."
        await bot.hear("<@UBOT> again")
        await bot.idle()
        await bot.press(Button.RETRY, "UBEN")
        await bot.idle()
        assert chat.texts()[-1] == "Now."
