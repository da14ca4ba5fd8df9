"""The reply as it grows: what the thread shows, when, and with how many calls."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from itertools import pairwise
from typing import Any

import pytest

from slackbot.budget import Budget, Limit
from slackbot.domain import Body, Button, PartRecord, PartRef, ThreadKey
from slackbot.errands import KEPT
from slackbot.errors import (
    BodyRefused,
    ChatError,
    ChatRateLimited,
    ChatUnavailable,
    MessageGone,
    SlackbotError,
    ThreadClosed,
)
from slackbot.replies.opening import STILL_WORKING, THINKING, TRYING_AGAIN
from slackbot.replies.pace import OpenReplies, edit_interval, elapsed, next_elapsed
from slackbot.replies.reply import Reply
from slackbot.replies.tidying import Tidying
from slackbot.replies.tools import ReplyTools
from tests import virtual_time
from tests.fakes import FakeChat

THREAD = ThreadKey("T1", "C1", "1.000000")


async def _first(_turn_id: int) -> int | None:
    return 1


def reply_tools(
    chat: FakeChat,
    budget: Budget | None = None,
    *,
    repost_deleted: bool = True,
    attempt_of: Callable[[int], Awaitable[int | None]] = _first,
) -> ReplyTools:
    """What replies share, with a budget of its own if none is given."""
    budget, open_replies, now = budget or Budget(), OpenReplies(), virtual_time.now
    tidying = Tidying(chat, budget, open_replies, now, attempt_of=attempt_of)
    return ReplyTools(chat, budget, open_replies, now, tidying, repost_deleted=repost_deleted)


class Stage:
    """A reply on a fake Slack, with what it recorded."""

    def __init__(self, chat: FakeChat, earlier: Sequence[PartRecord] = (), tools: ReplyTools | None = None) -> None:
        self.chat = chat
        self.records: list[PartRecord] = []
        self.tools = tools or reply_tools(chat)
        self.reply = Reply(self.tools, THREAD, 7, record=self._record, earlier=earlier)

    async def _record(self, part: PartRecord) -> None:
        self.records.append(part)

    async def play(self, feed: Callable[[Reply], Coroutine[Any, Any, None]]) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.reply.run())
            tasks.create_task(feed(self.reply))


def words(count: int, seconds: float) -> Callable[[Reply], Coroutine[Any, Any, None]]:
    """Feeds ``count`` words over ``seconds``, one paragraph without a newline."""

    async def feed(reply: Reply) -> None:
        for number in range(count):
            reply.text("b", f"word{number} ")
            await asyncio.sleep(seconds / count)
        reply.end()

    return feed


def test_an_answer_grows_by_edits_and_ends_whole() -> None:
    """A ten-second answer is one message, visible at once, complete two round trips after its last word."""

    async def main() -> None:
        stage = Stage(FakeChat())
        started = virtual_time.now()
        await stage.play(words(400, 10.0))
        (shown,) = stage.chat.messages.values()
        assert shown.body.markdown == "".join(f"word{n} " for n in range(400))
        assert shown.versions[0][0] - started < 0.2
        assert virtual_time.now() - started - 10.0 <= 2 * stage.chat.latency + 0.01
        assert stage.chat.count("post") + stage.chat.count("edit") <= 14
        assert stage.records == [PartRecord(0, shown.ts)]

    virtual_time.run(main())


def test_the_first_words_show_at_once_also_after_a_while() -> None:
    """Text that comes after some silence is visible one call later, although more is to come."""

    async def main() -> None:
        stage = Stage(FakeChat())

        async def feed(reply: Reply) -> None:
            await asyncio.sleep(3.0)
            reply.text("b", "First words")
            await asyncio.sleep(0.1)
            assert stage.chat.texts() == ["First words"]
            await asyncio.sleep(60.0)
            reply.end()

        await stage.play(feed)

    virtual_time.run(main())


def test_edits_never_show_a_text_twice_or_an_older_one() -> None:
    """Every version of the message is longer than the one before; the last may only take Stop away."""

    async def main() -> None:
        stage = Stage(FakeChat())
        await stage.play(words(200, 6.0))
        (shown,) = stage.chat.messages.values()
        lengths = [len(body.markdown) for _, body in shown.versions]
        assert lengths[:-1] == sorted(set(lengths[:-1]))
        assert lengths[-1] >= lengths[-2]
        assert shown.versions[-2][1].buttons == (Button.STOP,)
        assert shown.body.buttons == ()

    virtual_time.run(main())


def test_the_status_says_it_thinks_and_no_message_stands_in_for_text() -> None:
    """Before the first text there is a status and no message."""

    async def main() -> None:
        stage = Stage(FakeChat())

        async def feed(reply: Reply) -> None:
            await asyncio.sleep(3.0)
            reply.step("is searching the web…")
            await asyncio.sleep(3.0)
            assert stage.chat.statuses == [THINKING, "is searching the web…"]
            assert not stage.chat.messages
            reply.text("b", "Found.")
            reply.end()

        await stage.play(feed)
        assert stage.chat.texts() == ["Found."]

    virtual_time.run(main())


def test_after_eight_silent_seconds_a_message_stands_in() -> None:
    """A long silence shows a message, which the answer then takes over."""

    async def main() -> None:
        stage = Stage(FakeChat())

        async def feed(reply: Reply) -> None:
            await asyncio.sleep(9.0)
            assert [(body.step, body.buttons) for body in stage.chat.bodies()] == [(STILL_WORKING, (Button.STOP,))]
            reply.text("b", "At last.")
            reply.end()

        await stage.play(feed)
        assert stage.chat.bodies() == [Body("At last.")]
        assert stage.records[0].placeholder

    virtual_time.run(main())


def test_without_a_place_for_a_status_a_message_stands_in_at_once() -> None:
    """Where Slack shows no status the placeholder comes immediately."""

    async def main() -> None:
        stage = Stage(FakeChat(has_status=False))

        async def feed(reply: Reply) -> None:
            await asyncio.sleep(0.5)
            assert [body.step for body in stage.chat.bodies()] == [STILL_WORKING]
            reply.text("b", "Yes.")
            reply.end()

        await stage.play(feed)
        assert stage.chat.texts() == ["Yes."]

    virtual_time.run(main())


def test_blocks_of_one_turn_are_separate_paragraphs() -> None:
    """Text before and after a tool call does not run together."""

    async def main() -> None:
        stage = Stage(FakeChat())

        async def feed(reply: Reply) -> None:
            reply.text("a", "Checking. ")
            reply.text("b", "It is sunny.")
            reply.end()
            await asyncio.sleep(0)

        await stage.play(feed)
        assert stage.chat.texts() == ["Checking. \n\nIt is sunny."]

    virtual_time.run(main())


def test_a_long_answer_rolls_over_and_loses_nothing() -> None:
    """An answer of 30,000 characters takes several messages that together say all of it."""

    async def main() -> None:
        stage = Stage(FakeChat())
        paragraphs = [f"Paragraph {n}: " + "lorem ipsum " * 20 for n in range(120)]

        async def feed(reply: Reply) -> None:
            for paragraph in paragraphs:
                reply.text("b", paragraph + "\n\n")
                await asyncio.sleep(0.05)
            reply.end("The end.")

        await stage.play(feed)
        assert len(stage.chat.messages) >= 4
        assert "".join(stage.chat.texts()) == "".join(p + "\n\n" for p in paragraphs)
        assert all(len(text) <= 9_000 for text in stage.chat.texts())
        assert [body.notice for body in stage.chat.bodies()][-1] == "The end."
        assert stage.reply.part_count == len(stage.chat.messages)

    virtual_time.run(main())


def test_after_a_429_the_newest_text_goes_next() -> None:
    """While Slack refuses edits none is sent, and the next one carries the text as it is by then."""

    async def main() -> None:
        budget = Budget()

        def fail(method: str, number: int) -> ChatRateLimited | None:
            if method == "edit" and number == 3:
                # The real client tells the budget; here the fake Slack does.
                budget.cool_off("T1", "chat.update", virtual_time.now(), 5.0)
                return ChatRateLimited("429", retry_after=5.0)
            return None

        chat = FakeChat(fail=fail)
        stage = Stage(chat, tools=reply_tools(chat, budget))
        await stage.play(words(300, 9.0))
        edits = [at for at, method in chat.calls if method == "edit"]
        assert edits[3] - edits[2] >= 5.0
        (shown,) = chat.messages.values()
        assert len(shown.body.markdown.split()) == 300

    virtual_time.run(main())


def test_many_replies_share_the_edits_of_a_minute() -> None:
    """Twenty answers at once stay within 50 edits in any minute and all end whole."""

    async def main() -> None:
        chat = FakeChat()
        tools = reply_tools(chat)
        stages = [Stage(chat, tools=tools) for _ in range(20)]
        async with asyncio.TaskGroup() as tasks:
            for stage in stages:
                tasks.create_task(stage.play(words(200, 20.0)))
        edits = [at for at, method in chat.calls if method == "edit"]
        busiest = max(sum(1 for other in edits if at <= other < at + 60.0) for at in edits)
        assert busiest <= 50
        assert all(len(text.split()) == 200 for text in chat.texts())
        assert tools.open_replies.count("T1") == 0

    virtual_time.run(main())


def test_a_last_text_without_an_edit_goes_below() -> None:
    """When no edit is to be had within seconds the rest of the answer is a further message, nothing twice."""

    async def main() -> None:
        chat, budget = FakeChat(), Budget()
        stage = Stage(chat, tools=reply_tools(chat, budget))

        async def feed(reply: Reply) -> None:
            reply.text("b", "Some text,\n```py\nprint(1)\n")
            await asyncio.sleep(0.3)
            budget.cool_off("T1", "chat.update", virtual_time.now(), 40.0)
            reply.text("b", "print(2)\n```\nand the rest.")
            reply.end("Sorry.", (Button.RETRY,))
            ended.append(virtual_time.now())

        ended: list[float] = []
        await stage.play(feed)
        assert virtual_time.now() - ended[0] < 3.5
        assert chat.texts() == ["Some text,\n```py\nprint(1)\n```", "```py\nprint(2)\n```\nand the rest."]
        assert [body.buttons for body in chat.bodies()] == [(Button.STOP,), (Button.RETRY,)]
        assert [part.index for part in stage.records] == [0, 1]

    virtual_time.run(main())


def test_a_button_without_an_edit_goes_below() -> None:
    """When all text stands and only our sentence is missing, it becomes a message of its own, without delay."""

    async def main() -> None:
        chat, budget = FakeChat(), Budget()
        stage = Stage(chat, tools=reply_tools(chat, budget))

        async def feed(reply: Reply) -> None:
            reply.text("b", "All of it.\n")
            await asyncio.sleep(1.0)
            budget.cool_off("T1", "chat.update", virtual_time.now(), 40.0)
            reply.end("Sorry.", (Button.RETRY,))

        started = virtual_time.now()
        await stage.play(feed)
        assert virtual_time.now() - started < 2.0
        assert [(body.markdown.strip(), body.notice) for body in chat.bodies()] == [("All of it.", ""), ("", "Sorry.")]

    virtual_time.run(main())


def test_a_post_that_slack_cannot_take_now_is_made_later() -> None:
    """Slack away for half a minute at the first text costs time, not the answer."""

    async def main() -> None:
        def fail(method: str, number: int) -> ChatError | None:
            if method != "post" or number > 6:
                return None
            return ChatUnavailable("503") if number % 2 else ChatRateLimited("no slot", retry_after=9.0)

        stage = Stage(FakeChat(fail=fail))
        await stage.play(words(50, 2.0))
        (text,) = stage.chat.texts()
        assert len(text.split()) == 50

    virtual_time.run(main())


def test_what_was_seen_is_left_once() -> None:
    """A part that stays as it is, is never looked at again, however Markdown would close it."""

    async def main() -> None:
        chat, budget = FakeChat(), Budget()
        stage = Stage(chat, tools=reply_tools(chat, budget))

        async def feed(reply: Reply) -> None:
            reply.text("b", "> ```\n> code\n| a | b |\n")
            await asyncio.sleep(1.0)
            budget.cool_off("T1", "chat.update", virtual_time.now(), 40.0)
            reply.text("b", "and ~~more")
            reply.end()

        await stage.play(feed)
        assert virtual_time.now() - 1_000.0 < 3.0
        assert "more" in "".join(chat.texts())

    virtual_time.run(main())


def test_text_in_a_placeholders_place_is_no_placeholder_any_more() -> None:
    """What is recorded tells whether people have read something there, also after a retry began."""

    async def main() -> None:
        stage = Stage(FakeChat(has_status=False))

        async def feed(reply: Reply) -> None:
            await asyncio.sleep(1.0)
            reply.text("b", "Long read text.")
            await asyncio.sleep(1.0)
            reply.end("It broke.", (Button.RETRY,))

        await stage.play(feed)
        assert [part.placeholder for part in stage.records] == [True, False]
        again = Stage(stage.chat, earlier=stage.records[-1:])
        await again.play(words(3, 1.0))
        assert [part.placeholder for part in again.records] == [True, False]

    virtual_time.run(main())


def test_a_placeholder_that_cannot_be_changed_gives_way() -> None:
    """Without a slot for an edit the answer is posted anew, and the placeholder goes."""

    async def main() -> None:
        chat, budget = FakeChat(has_status=False), Budget()
        stage = Stage(chat, tools=reply_tools(chat, budget))

        async def feed(reply: Reply) -> None:
            await asyncio.sleep(1.0)
            budget.cool_off("T1", "chat.update", virtual_time.now(), 40.0)
            reply.text("b", "Here.")
            reply.end()

        await stage.play(feed)
        assert virtual_time.now() - 1_000.0 < 3.0
        assert [(body.markdown, body.notice) for body in chat.bodies()] == [("Here.", "")]

    virtual_time.run(main())


def test_a_last_reply_does_not_wait_for_those_that_ended() -> None:
    """When the others are done the pace is that of a lone answer again."""

    async def main() -> None:
        chat = FakeChat()
        tools = reply_tools(chat)
        async with asyncio.TaskGroup() as tasks:
            for _ in range(30):
                tasks.create_task(Stage(chat, tools=tools).play(words(20, 2.0)))
            lone = Stage(chat, tools=tools)
            tasks.create_task(lone.play(words(900, 90.0)))
        (last,) = [shown for shown in chat.messages.values() if len(shown.body.markdown.split()) == 900]
        times = [at for at, _ in last.versions]
        assert max(after - before for before, after in pairwise(times)) < 65.0

    virtual_time.run(main())


def test_what_nobody_would_see_is_not_sent() -> None:
    """White space at the end is no reason for an edit."""

    async def main() -> None:
        stage = Stage(FakeChat())

        async def feed(reply: Reply) -> None:
            reply.text("b", "Done.")
            await asyncio.sleep(1.0)
            reply.text("b", "\n\n")
            reply.end()

        await stage.play(feed)
        (shown,) = stage.chat.messages.values()
        assert [(body.markdown, body.buttons) for _, body in shown.versions] == [
            ("Done.", (Button.STOP,)),
            ("Done.\n\n", ()),
        ]

    virtual_time.run(main())


def test_sixty_answers_in_ten_channels_at_once() -> None:
    """All end whole within seconds of their last word, without a call too many."""

    async def main() -> None:
        chat, budget = FakeChat(), Budget()
        tools = reply_tools(chat, budget)
        stages = [Stage(chat, tools=tools) for _ in range(60)]
        async with asyncio.TaskGroup() as tasks:
            for stage in stages:
                tasks.create_task(stage.play(words(400, 10.0)))
        edits = [at for at, method in chat.calls if method == "edit"]
        assert max(sum(1 for other in edits if at <= other < at + 60.0) for at in edits) <= 50
        assert virtual_time.now() - 1_000.0 < 15.0
        assert sum(len(text.split()) for text in chat.texts()) == 60 * 400

    virtual_time.run(main())


@pytest.mark.parametrize(("edits", "left"), [(50, 2), (6, 0)])
def test_answers_leave_edits_to_the_cards_of_handovers(edits: int, left: int) -> None:
    """However many end at once, a card need not wait for the next minute; where edits are few, it shares that lot."""

    async def main() -> None:
        chat, budget = FakeChat(), Budget({"chat.update": Limit(edits)})
        tools = reply_tools(chat, budget)
        async with asyncio.TaskGroup() as tasks:
            for _ in range(60):
                tasks.create_task(Stage(chat, tools=tools).play(words(400, 10.0)))
        assert budget.free("T1", "chat.update", virtual_time.now()) == left

    virtual_time.run(main())


def test_a_failure_keeps_the_text_and_offers_retry() -> None:
    """What there was stays, with one sentence and the button below it."""

    async def main() -> None:
        stage = Stage(FakeChat())

        async def feed(reply: Reply) -> None:
            reply.text("b", "Half an ans")
            await asyncio.sleep(1.0)
            reply.end("It broke.", (Button.RETRY,))
            reply.end("never shown")

        await stage.play(feed)
        (body,) = stage.chat.bodies()
        assert (body.markdown, body.notice, body.buttons) == ("Half an ans", "It broke.", (Button.RETRY,))

    virtual_time.run(main())


def test_a_second_try_uses_the_messages_of_the_first() -> None:
    """A retry writes over the failed answer and removes what it does not need."""

    async def main() -> None:
        chat = FakeChat()
        first = Stage(chat)

        async def long_and_broken(reply: Reply) -> None:
            for _ in range(60):
                reply.text("b", "lorem ipsum " * 30 + "\n\n")
            reply.end("It broke.", (Button.RETRY,))
            await asyncio.sleep(0)

        await first.play(long_and_broken)
        assert len(chat.messages) > 1
        oldest = next(iter(chat.messages))
        second = Stage(chat, earlier=first.records)

        async def short(reply: Reply) -> None:
            await asyncio.sleep(2.0)
            assert chat.messages[oldest].body.step == TRYING_AGAIN
            reply.text("b", "Short and right.")
            reply.end()

        await second.play(short)
        assert {ts: shown.body.markdown for ts, shown in chat.messages.items()} == {oldest: "Short and right."}
        assert chat.bodies()[0].buttons == ()

    virtual_time.run(main())


def test_a_message_deleted_by_somebody_is_posted_anew_once_more() -> None:
    """The answer survives its message being deleted, without an endless fight."""

    async def main() -> None:
        stage = Stage(FakeChat())

        async def feed(reply: Reply) -> None:
            reply.text("b", "One ")
            await asyncio.sleep(1.0)
            stage.chat.messages.clear()
            reply.text("b", "two.")
            reply.end()

        await stage.play(feed)
        assert stage.chat.texts() == ["One two."]

    virtual_time.run(main())


def test_a_message_that_cannot_be_kept_ends_the_reply() -> None:
    """When every message vanishes at once the reply gives up instead of posting for ever."""

    async def main() -> None:
        def fail(method: str, _number: int) -> MessageGone | None:
            return MessageGone("gone", slack_error="message_not_found") if method == "edit" else None

        stage = Stage(FakeChat(fail=fail))
        with pytest.raises(ExceptionGroup) as caught:
            await stage.play(words(100, 5.0))
        assert caught.group_contains(MessageGone)
        assert stage.chat.count("post") <= 4

    virtual_time.run(main())


def test_a_body_slack_refuses_is_shown_in_smaller_pieces() -> None:
    """What Slack takes in no form as a whole goes out in halves; nothing that was read is taken away."""

    class Picky(FakeChat):
        async def post(self, thread: ThreadKey, body: Callable[[], Body], part: PartRef | None = None) -> str:
            self._judge(body())
            return await super().post(thread, body, part)

        async def edit(self, thread: ThreadKey, ts: str, body: Body) -> None:
            self._judge(body)
            await super().edit(thread, ts, body)

        def _judge(self, body: Body) -> None:
            if len(body.markdown) > 900:
                raise BodyRefused("too long for this Slack", slack_error="msg_too_long")

    async def main() -> None:
        stage = Stage(Picky())
        await stage.play(words(600, 5.0))
        assert "".join(stage.chat.texts()).split() == [f"word{n}" for n in range(600)]
        assert stage.chat.count("delete") == 0

    virtual_time.run(main())


def test_a_body_slack_refuses_in_every_size_rises() -> None:
    """Where not even a little text is taken, the worker has to end the turn."""

    async def main() -> None:
        def fail(method: str, _number: int) -> BodyRefused | None:
            return BodyRefused("blocks", slack_error="invalid_blocks") if method == "post" else None

        with pytest.raises(ExceptionGroup) as caught:
            await Stage(FakeChat(fail=fail)).play(words(50, 3.0))
        assert caught.group_contains(BodyRefused)

    virtual_time.run(main())


def test_slack_away_for_a_while_delays_the_end_only() -> None:
    """Edits that do not get through are tried again with growing pauses."""

    async def main() -> None:
        def fail(method: str, number: int) -> ChatUnavailable | None:
            return ChatUnavailable("502") if method == "edit" and number <= 4 else None

        stage = Stage(FakeChat(fail=fail))
        await stage.play(words(50, 2.0))
        (text,) = stage.chat.texts()
        assert len(text.split()) == 50

    virtual_time.run(main())


def test_a_message_that_cannot_be_changed_gives_way_to_a_new_one() -> None:
    """When Slack takes posts but no edits, the whole answer stands in a new message and the old one goes, later too."""

    async def main() -> None:
        def fail(method: str, number: int) -> ChatUnavailable | None:
            return ChatUnavailable("500") if method == "edit" or (method == "delete" and number == 1) else None

        stage = Stage(FakeChat(fail=fail))
        await stage.play(words(50, 2.0))
        assert len(stage.chat.texts()) == 2
        await for_hours(stage.tools.tidying)
        (text,) = stage.chat.texts()
        assert len(text.split()) == 50

    virtual_time.run(main())


def test_a_closed_thread_ends_the_reply() -> None:
    """Where nothing can be posted the error rises to the worker."""

    async def main() -> None:
        def fail(method: str, _number: int) -> ThreadClosed | None:
            return ThreadClosed("archived", slack_error="is_archived") if method == "post" else None

        stage = Stage(FakeChat(fail=fail))
        with pytest.raises(ExceptionGroup) as caught:
            await stage.play(words(10, 1.0))
        assert caught.group_contains(ThreadClosed)

    virtual_time.run(main())


def test_nothing_said_is_still_an_answer() -> None:
    """A turn without text shows our sentence, never an empty message."""

    async def main() -> None:
        stage = Stage(FakeChat())

        async def feed(reply: Reply) -> None:
            reply.end("The agent finished without saying anything.")
            await asyncio.sleep(0)

        await stage.play(feed)
        (body,) = stage.chat.bodies()
        assert (body.markdown, body.notice) == ("", "The agent finished without saying anything.")

    virtual_time.run(main())


@pytest.mark.parametrize(
    ("edits", "chars", "open_replies", "surplus", "seconds"),
    [
        (0, 10, 1, 49, 0.5),
        (5, 10, 1, 40, 1.5),
        (0, 3_001, 1, 49, 3.0),
        (9, 9_000, 1, 49, 3.0),
        (0, 10, 2, 48, 0.5),
        (9, 10, 1, 4, 2.5),
        (0, 10, 20, 30, 20 / 3),
        (0, 10, 60, -10, 600.0),
    ],
)
def test_pace(edits: int, chars: int, open_replies: int, surplus: int, seconds: float) -> None:
    """Quick at first, steady later, slower for long messages and when little is left for many."""
    found = edit_interval(edits=edits, shown_chars=chars, open_replies=open_replies, surplus=surplus)
    assert found == pytest.approx(seconds)


# --- steps and silences ---


def test_a_step_is_one_line_in_the_open_message_and_gone_with_the_next_text() -> None:
    """What the agent does between two pieces of text stands below the first, and nowhere in the end."""

    async def main() -> None:
        stage = Stage(FakeChat())

        async def feed(reply: Reply) -> None:
            reply.text("a", "Checking.")
            await asyncio.sleep(1.0)
            reply.step("Searching the web…")
            await asyncio.sleep(2.0)
            assert stage.chat.bodies() == [Body("Checking.", "", "Searching the web…", (Button.STOP,), 7)]
            await asyncio.sleep(21.5)
            assert stage.chat.bodies()[0].step == "Searching the web… (20 s)"
            reply.text("b", "Sunny.")
            await asyncio.sleep(1.0)
            assert stage.chat.bodies()[0].step == ""
            reply.step("Searching again…")
            await asyncio.sleep(3.0)
            reply.end("", (Button.GOOD, Button.BAD))

        await stage.play(feed)
        assert stage.chat.bodies() == [Body("Checking.\n\nSunny.", buttons=(Button.GOOD, Button.BAD), turn_id=7)]

    virtual_time.run(main())


def test_a_long_silence_says_how_long_it_lasts() -> None:
    """Neither a placeholder nor half an answer stands still: each tells since when nothing was said."""

    async def main() -> None:
        stage = Stage(FakeChat())

        async def feed(reply: Reply) -> None:
            await asyncio.sleep(100.0)
            reply.text("a", "So far.")
            await asyncio.sleep(100.0)
            reply.text("a", " The rest.")
            reply.end()

        await stage.play(feed)
        (shown,) = stage.chat.messages.values()
        steps = [body.step for _, body in shown.versions]
        said = ["10 s", "20 s", "30 s", "40 s", "50 s", "1 min", "1 min 30 s"]
        growing = [f"{STILL_WORKING} ({words})" for words in said]
        assert steps == [STILL_WORKING, *growing, "", *growing, ""]

    virtual_time.run(main())


def test_the_status_is_renewed_before_slack_clears_it() -> None:
    """Where not even a placeholder can be posted, the status goes on saying that work goes on."""

    async def main() -> None:
        stage = Stage(FakeChat(fail=lambda method, n: ChatUnavailable("down") if method == "post" and n < 9 else None))

        async def feed(reply: Reply) -> None:
            for step in ("one…", "two…", "three…"):
                await asyncio.sleep(0.6)
                reply.step(step)
            await asyncio.sleep(98.2)
            assert stage.chat.statuses == [THINKING, "one…", "three…", "three…"]
            await asyncio.sleep(60.0)
            assert stage.chat.bodies() == [Body(step="three… (2 min 30 s)", buttons=(Button.STOP,), turn_id=7)]
            reply.text("a", "Here.")
            reply.end()

        await stage.play(feed)
        assert stage.chat.statuses == [THINKING, "one…", "three…", "three…"]

    virtual_time.run(main())


@pytest.mark.parametrize(
    ("seconds", "words", "following"),
    [
        (0.0, "", 10.0),
        (9.9, "", 0.1),
        (10.0, "10 s", 10.0),
        (59.0, "50 s", 1.0),
        (60.0, "1 min", 30.0),
        (95.0, "1 min 30 s", 25.0),
        (299.0, "4 min 30 s", 1.0),
        (300.0, "5 min", 60.0),
        (3_650.0, "60 min", 10.0),
    ],
)
def test_elapsed_time_in_words(seconds: float, words: str, following: float) -> None:
    """Time is told coarsely, and the moment when the words change is known."""
    assert elapsed(seconds) == words
    assert next_elapsed(seconds) == pytest.approx(following)
    assert elapsed(seconds + next_elapsed(seconds)) != words


# --- Stop, and messages that are left as they were ---


def test_stop_is_offered_only_where_it_can_be_taken_away_again() -> None:
    """With more growing replies than edits in a minute no message gets a button that another edit must remove."""

    async def main() -> None:
        chat = FakeChat()
        tools = reply_tools(chat, Budget({"chat.update": Limit(2)}))
        stages = [Stage(chat, tools=tools) for _ in range(3)]

        async def feed(reply: Reply) -> None:
            reply.text("b", "One.")
            await asyncio.sleep(3.0)
            reply.end()

        await asyncio.gather(*(stage.play(feed) for stage in stages))
        assert all(not body.buttons for shown in chat.messages.values() for _, body in shown.versions)
        assert chat.count("edit") == 0

    virtual_time.run(main())


def test_what_could_not_be_tidied_at_once_is_tidied_later() -> None:
    """Without an edit to spare an answer ends as it stands; Stop goes and thumbs come when there is one."""

    async def main() -> None:
        chat, budget = FakeChat(), Budget()
        tools = reply_tools(chat, budget)
        stage = Stage(chat, tools=tools)

        async def feed(reply: Reply) -> None:
            reply.text("b", "All of it.")
            await asyncio.sleep(1.0)
            budget.cool_off("T1", "chat.update", virtual_time.now(), 20.0)
            reply.end("", (Button.GOOD, Button.BAD))

        async with asyncio.TaskGroup() as tasks:
            aside = tasks.create_task(tools.tidying.run())
            started = virtual_time.now()
            await stage.play(feed)
            assert virtual_time.now() - started < 2.0
            assert [body.buttons for body in chat.bodies()] == [(Button.STOP,)]
            await asyncio.sleep(60.0)
            assert [body.buttons for body in chat.bodies()] == [(Button.GOOD, Button.BAD)]
            aside.cancel()

    virtual_time.run(main())


def test_a_message_in_use_again_is_not_tidied() -> None:
    """A second try takes its messages back from those that tidy up."""

    async def main() -> None:
        chat = FakeChat()
        tools = reply_tools(chat)
        ts = await chat.post(THREAD, lambda: Body("Old.", buttons=(Button.STOP,), turn_id=7))
        tools.tidying.later(THREAD, ts, Body("Old."), 7, 1)
        Reply(tools, THREAD, 7, record=lambda _part: asyncio.sleep(0), earlier=[PartRecord(0, ts)])
        async with asyncio.TaskGroup() as tasks:
            aside = tasks.create_task(tools.tidying.run())
            await asyncio.sleep(60.0)
            aside.cancel()
        assert chat.count("edit") == 0

    virtual_time.run(main())


# --- somebody deletes the answer ---


@pytest.mark.parametrize("at", [0, 1])
def test_a_deleted_answer_goes_on_in_a_new_message(at: int) -> None:
    """Somebody deletes the placeholder or the half answer: the rest is not lost with it."""

    async def main() -> None:
        chat = FakeChat()
        stage = Stage(chat)

        async def feed(reply: Reply) -> None:
            if at == 0:
                await asyncio.sleep(9.0)
                chat.messages.clear()
            reply.text("b", "Half of ")
            await asyncio.sleep(1.0)
            if at == 1:
                chat.messages.clear()
            reply.text("b", "all of it.")
            reply.end()

        await stage.play(feed)
        assert chat.texts() == ["Half of all of it."]

    virtual_time.run(main())


@pytest.mark.parametrize("silence", [0.0, 15.0])
def test_a_deleted_answer_can_be_the_end_of_it(silence: float) -> None:
    """Where the setting says so, nothing more is said once somebody deleted the growing answer or its placeholder."""

    async def main() -> None:
        chat = FakeChat()
        stage = Stage(chat, tools=reply_tools(chat, repost_deleted=False))

        async def feed(reply: Reply) -> None:
            await asyncio.sleep(silence)
            if not silence:
                reply.text("b", "Half of ")
            await asyncio.sleep(1.0)
            chat.messages.clear()
            if not silence:
                reply.text("b", "all of it.")

        await stage.play(feed)
        assert stage.reply.abandoned
        assert chat.texts() == []

    virtual_time.run(main())


# --- tidying up ---


async def for_hours(tidying: Tidying, hours: float = 1.0) -> None:
    """Let it work, then end it."""
    async with asyncio.TaskGroup() as tasks:
        aside = tasks.create_task(tidying.run())
        await asyncio.sleep(hours * 3600.0)
        aside.cancel()


async def left_with_stop(stage: Stage, budget: Budget) -> None:
    """An answer that ends while Slack takes no edits."""

    async def feed(reply: Reply) -> None:
        reply.text("b", "All of it.")
        await asyncio.sleep(1.0)
        budget.cool_off("T1", "chat.update", virtual_time.now(), 20.0)
        reply.end("", (Button.GOOD, Button.BAD))

    await stage.play(feed)
    assert [body.buttons for body in stage.chat.bodies()] == [(Button.STOP,)]


@pytest.mark.parametrize("trouble", [ChatRateLimited("429", retry_after=5.0), ChatUnavailable("503")])
def test_tidying_is_tried_again(trouble: ChatError) -> None:
    """A refusal that passes does not leave Stop on a message for ever."""

    async def main() -> None:
        chat, budget = FakeChat(), Budget()
        stage = Stage(chat, tools=reply_tools(chat, budget))
        await left_with_stop(stage, budget)
        troubles = iter([trouble] * 2)
        chat.fail = lambda method, _number: next(troubles, None) if method == "edit" else None
        await for_hours(stage.tools.tidying)
        assert [body.buttons for body in chat.bodies()] == [(Button.GOOD, Button.BAD)]

    virtual_time.run(main())


def test_tidying_is_given_up_where_it_is_of_no_use() -> None:
    """A message that is gone, or for which there was no place left, is forgotten for good."""

    async def main() -> None:
        chat = FakeChat()
        tidying = reply_tools(chat).tidying
        for number in range(KEPT + 10):
            tidying.later(THREAD, f"{number}.0", Body("Over."), number, 1)
        await for_hours(tidying, 24.0)
        tried = chat.count("edit")
        assert tried == KEPT
        await tidying.flush()
        assert chat.count("edit") == tried

    virtual_time.run(main())


def test_a_message_that_another_process_uses_again_is_not_tidied() -> None:
    """A second try may be claimed anywhere: what the first one would have shown is of no interest any more."""

    async def main() -> None:
        async def second(_turn_id: int) -> int | None:
            return 2

        chat, budget = FakeChat(), Budget()
        stage = Stage(chat, tools=reply_tools(chat, budget, attempt_of=second))
        await left_with_stop(stage, budget)
        await for_hours(stage.tools.tidying)
        await stage.tools.tidying.flush()
        assert [body.buttons for body in chat.bodies()] == [(Button.STOP,)]

    virtual_time.run(main())


def test_tidying_waits_for_the_database() -> None:
    """While nobody can tell whether it is still right it is not done, and not forgotten."""

    async def main() -> None:
        troubles = iter([SlackbotError("away")] * 2)

        async def shaky(_turn_id: int) -> int | None:
            if trouble := next(troubles, None):
                raise trouble
            return 1

        chat, budget = FakeChat(), Budget()
        stage = Stage(chat, tools=reply_tools(chat, budget, attempt_of=shaky))
        await left_with_stop(stage, budget)
        await for_hours(stage.tools.tidying)
        assert [body.buttons for body in chat.bodies()] == [(Button.GOOD, Button.BAD)]

    virtual_time.run(main())


def test_what_can_be_tidied_at_once_is_tidied_before_the_process_ends() -> None:
    """As far as there are edits; one that fails does not keep the others from it."""

    async def main() -> None:
        chat, budget = FakeChat(), Budget({"chat.update": Limit(3)})
        tidying = reply_tools(chat, budget).tidying
        for number in range(4):
            ts = await chat.post(THREAD, lambda: Body("Over.", buttons=(Button.STOP,), turn_id=7))
            tidying.later(THREAD, ts, Body(f"Over {number}."), 7, 1)
        del chat.messages[next(iter(chat.messages))]
        with suppress(TimeoutError):
            async with asyncio.timeout(3.0):
                await tidying.flush()
        assert chat.texts() == ["Over 1.", "Over 2.", "Over."]
        await tidying.flush()
        assert chat.texts() == ["Over 1.", "Over 2.", "Over 3."]

    virtual_time.run(main())


def test_a_message_of_unknown_words_keeps_them() -> None:
    """What a dead process left is stripped of what would not work any more."""

    async def main() -> None:
        chat = FakeChat()
        tidying = reply_tools(chat).tidying
        ts = await chat.post(THREAD, lambda: Body("Half of ", step="Searching…", buttons=(Button.STOP,), turn_id=7))
        tidying.later(THREAD, ts, None, 7, 1)
        await for_hours(tidying)
        assert chat.bodies() == [Body("Half of ")]

    virtual_time.run(main())


def test_messages_left_behind_by_a_reply_that_breaks_are_tidied() -> None:
    """However a reply ends, the parts that had to be left with Stop lose it."""

    async def main() -> None:
        chat, budget = FakeChat(), Budget()
        stage = Stage(chat, tools=reply_tools(chat, budget))

        async def feed(reply: Reply) -> None:
            reply.text("b", "word " * 600)
            await asyncio.sleep(1.0)
            while not budget.take("T1", "chat.update", virtual_time.now()):
                pass
            reply.text("b", "more " * 2_000)
            await asyncio.sleep(5.0)
            assert chat.bodies()[0].buttons == (Button.STOP,)
            raise ZeroDivisionError

        with pytest.raises(ExceptionGroup):
            await stage.play(feed)
        await for_hours(stage.tools.tidying)
        assert [body.buttons for body in chat.bodies()] == [()] * len(chat.messages)

    virtual_time.run(main())


# --- whose turn it is when Slack takes little ---


class Queue(FakeChat):
    """A Slack that takes as many posts in a channel as the budget says, first come first served."""

    def __init__(self, budget: Budget) -> None:
        super().__init__()
        self.budget = budget
        self.next = asyncio.Lock()

    async def post(self, thread: ThreadKey, body: Callable[[], Body], part: PartRef | None = None) -> str:
        async with self.next:
            while wait := self.budget.take("T1", "chat.postMessage", virtual_time.now(), channel=thread.channel_id):
                await asyncio.sleep(wait)
        return await super().post(thread, body, part)


def test_words_do_not_wait_for_placeholders() -> None:
    """With many silent replies in a channel another one's first words are there soon, and no placeholder after text."""

    async def main() -> None:
        chat = Queue(Budget())
        tools = reply_tools(chat, chat.budget)

        async def silent(reply: Reply) -> None:
            await asyncio.sleep(20.0)
            reply.text("b", "Slow.")
            reply.end()

        async def quick(reply: Reply) -> None:
            reply.text("b", "Quick.")
            said = virtual_time.now()
            while "Quick." not in chat.texts():
                await asyncio.sleep(0.1)
            assert virtual_time.now() - said < 5.0
            reply.end()

        async with asyncio.TaskGroup() as tasks:
            began = virtual_time.now()
            for _ in range(30):
                tasks.create_task(Stage(chat, tools=tools).play(silent))
            await asyncio.sleep(8.2)
            tasks.create_task(Stage(chat, tools=tools).play(quick))
        posted = [shown.versions[0] for shown in chat.messages.values()]
        assert all(body.markdown for at, body in posted if at - began > 20.2)
        assert len(posted) == 31

    virtual_time.run(main())


def test_steps_leave_edits_to_words() -> None:
    """Beside replies that tell a step a second, an answer of ten seconds still grows before one's eyes."""

    async def main() -> None:
        chat = FakeChat()
        tools = reply_tools(chat)

        async def steps(reply: Reply) -> None:
            for number in range(80):
                reply.step(f"Using tool {number}…")
                await asyncio.sleep(1.0)
            reply.end()

        stage = Stage(chat, tools=tools)
        async with asyncio.TaskGroup() as tasks:
            for _ in range(5):
                tasks.create_task(Stage(chat, tools=tools).play(steps))
            await asyncio.sleep(62.0)
            tasks.create_task(stage.play(words(100, 10.0)))
        (shown,) = [shown for shown in chat.messages.values() if "word99 " in shown.body.markdown]
        times = [at for at, _ in shown.versions]
        assert max(later - earlier for earlier, later in pairwise(times)) < 5.0

    virtual_time.run(main())


def test_a_last_text_that_slack_refuses_for_now_goes_below() -> None:
    """A pause that the last edit itself meets does not keep the end of the answer for so long."""

    async def main() -> None:
        chat, budget = FakeChat(), Budget()
        stage = Stage(chat, tools=reply_tools(chat, budget))
        refusals = iter([ChatRateLimited("429", retry_after=30.0)])

        def refuse(method: str, _number: int) -> Exception | None:
            if method != "edit" or (refusal := next(refusals, None)) is None:
                return None
            budget.cool_off("T1", "chat.update", virtual_time.now(), refusal.retry_after)
            return refusal

        async def feed(reply: Reply) -> None:
            for number in range(30):
                reply.text("b", f"w{number} ")
                await asyncio.sleep(0.1)
            chat.fail = refuse
            reply.end("Stopped by Ada.")

        started = virtual_time.now()
        await stage.play(feed)
        assert virtual_time.now() - started < 4.0
        assert "".join(chat.texts()) == "".join(f"w{number} " for number in range(30))
        assert chat.bodies()[-1].notice == "Stopped by Ada."

    virtual_time.run(main())


def test_a_part_deleted_between_two_tries_does_not_turn_the_order_around() -> None:
    """The second try posts what is missing, and what stood below it, in order."""

    async def main() -> None:
        chat = FakeChat()
        stage = Stage(chat)

        def long(word: str) -> Callable[[Reply], Coroutine[Any, Any, None]]:
            async def feed(reply: Reply) -> None:
                reply.text("b", "".join(f"{word}{number} " for number in range(2_600)))
                await asyncio.sleep(1.0)
                reply.end()

            return feed

        await stage.play(long("old"))
        parts = [PartRecord(number, ts) for number, ts in enumerate(chat.messages)]
        assert len(parts) > 1
        del chat.messages[parts[0].ts]
        await Stage(chat, earlier=parts, tools=stage.tools).play(long("new"))
        texts = [chat.messages[ts].body.markdown for ts in sorted(chat.messages)]
        assert "".join(texts).split() == [f"new{number}" for number in range(2_600)]

    virtual_time.run(main())
