"""What people do about an answer: stop it, rate it, write meanwhile, edit and delete; on a real store."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection
from dataclasses import replace

import pytest

from slackbot.domain import (
    Button,
    ChannelKind,
    InboundMessage,
    MessageDeleted,
    MessageEdited,
    Person,
    SessionStopped,
    TextDelta,
)
from slackbot.errors import AgentRunFailed, ChatUnavailable
from slackbot.intake import REFUSALS, THANKS, UNKNOWN_TURN
from slackbot.store import Pressed
from tests.fakes import FakeAgent, FakeChat, Step
from tests.middle import Bot, running_bot, says

LONG: list[Step] = [*says("Half of "), 60.0, TextDelta("b", "never said")]


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
        await bot.hear("next", thread=first.ts)
        await bot.idle()
        assert len(chat.whispers) == 1
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


async def test_a_mark_that_comes_too_late_is_taken_off_again(database_url: str, chat: FakeChat) -> None:
    """A message whose turn comes while Slack still takes the mark in does not keep it."""
    slow = FakeChat(latency=0.05, names=chat.names)
    agent = FakeAgent([says("One."), says("Two.")])
    async with running_bot(database_url, slow, agent) as bot:
        first = await bot.hear("<@UBOT> one")
        await bot.hear("<@UBOT> two", thread=first.ts)
        await bot.idle()
        async with asyncio.timeout(5.0):
            while slow.count("unmark_waiting") < 1 or slow.marks:
                await asyncio.sleep(0.01)
        assert slow.texts() == ["One.", "Two."]
