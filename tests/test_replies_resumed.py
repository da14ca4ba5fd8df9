"""A reply that one process leaves and another one goes on with: what the thread shows in between."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest

from slackbot.domain import Body, Button, PartRecord, PartRef
from slackbot.leases import TurnLost
from slackbot.replies.opening import THINKING
from slackbot.replies.reply import Reply
from tests import virtual_time
from tests.fakes import FakeChat
from tests.test_replies import THREAD, Stage, for_hours, reply_tools

TEXT = "".join(f"word{number} " for number in range(2_500))


class Resumed(Stage):
    """A reply that goes on with what stands in the thread, as whoever wrote that died."""

    def __init__(self, chat: FakeChat, earlier: list[PartRecord], *, retried: bool = False) -> None:
        super().__init__(chat)
        again = {"resumed": not retried, "echoes": not retried}
        self.reply = Reply(self.tools, THREAD, 7, record=self._record, earlier=earlier, **again)


async def stands(chat: FakeChat, *texts: str) -> list[PartRecord]:
    """What an earlier process left in the thread."""
    for index, text in enumerate(texts):
        body = Body(text, buttons=(Button.STOP,), turn_id=7)
        await chat.post(THREAD, lambda body=body: body, PartRef(7, index))  # type: ignore[misc]
    return await chat.find_parts(THREAD, 7)


def lengths(chat: FakeChat) -> list[list[int]]:
    return [[len(body.markdown) for _, body in shown.versions] for shown in chat.messages.values()]


def test_what_stands_never_shrinks_while_the_answer_is_told_again() -> None:
    """The text comes anew in pieces: each message shows what it did, until there is more."""

    async def main() -> None:
        chat = FakeChat()
        before = Stage(FakeChat())
        before.reply.text("b", TEXT[:15_000])
        before.reply.end()
        await before.reply.run()
        parts = before.chat.texts()
        resumed = Resumed(chat, await stands(chat, parts[0], parts[1][:3_000]))

        async def again(reply: Reply) -> None:
            for at in range(0, len(TEXT), 200):
                reply.text("b", TEXT[at : at + 200])
                await asyncio.sleep(0.1)
            assert not reply.is_behind
            reply.end()

        assert resumed.reply.is_behind
        await resumed.play(again)
        # A word cut in half at the very end of a full message moves on to the next one.
        assert all(after > before - 10 for counted in lengths(chat)[:2] for before, after in pairwise(counted))
        assert "".join(chat.texts()).split() == TEXT.split()
        assert len(chat.messages) == 3
        assert all(not body.buttons for body in chat.bodies())

    virtual_time.run(main())


@pytest.mark.parametrize("has_status", [True, False])
def test_before_the_first_words_come_again(*, has_status: bool) -> None:
    """Words that stand there stay as they are; the status says that work goes on, and is gone in the end."""

    async def main() -> None:
        chat = FakeChat(has_status=has_status)
        resumed = Resumed(chat, await stands(chat, "Half of"))

        async def silent(reply: Reply) -> None:
            reply.step("Using web research…")
            await asyncio.sleep(60.0)
            assert lengths(chat) == [[7]]
            reply.text("b", "Half of the answer.")
            reply.end()

        await resumed.play(silent)
        assert chat.texts() == ["Half of the answer."]
        assert chat.statuses == ([THINKING, "Using web research…", ""] if has_status else [])

    virtual_time.run(main())


def test_a_placeholder_goes_on_as_one() -> None:
    """Without a word of the answer yet there is nothing to keep."""

    async def main() -> None:
        chat = FakeChat()
        resumed = Resumed(chat, await stands(chat, ""))

        async def feed(reply: Reply) -> None:
            assert not reply.is_behind
            reply.step("Using web research…")
            await asyncio.sleep(3.0)
            assert [body.step for body in chat.bodies()] == ["Using web research…"]
            reply.text("b", "All.")
            reply.end()

        await resumed.play(feed)
        assert chat.texts() == ["All."]

    virtual_time.run(main())


@pytest.mark.parametrize("said", ["", "Some words. ", TEXT[:10_000]])
def test_leaving_shows_the_newest_text_at_once(said: str) -> None:
    """Whatever the pace of edits says: the last look of a process is up to date, and nothing is taken away."""

    async def main() -> None:
        stage = Stage(FakeChat())

        async def leaves(reply: Reply) -> None:
            for at in range(0, len(said), 500):
                reply.text("b", said[at : at + 500])
                await asyncio.sleep(0.2)
            reply.text("b", "And the last.")
            left = virtual_time.now()
            reply.leave()
            await asyncio.sleep(0)
            assert virtual_time.now() - left < 1

        began = virtual_time.now()
        await stage.play(leaves)
        assert virtual_time.now() - began < 0.2 * (len(said) // 500 + 1) + 1
        assert " ".join(stage.chat.texts()).split() == (said + "And the last.").split()
        assert stage.chat.count("delete") == 0

    virtual_time.run(main())


def test_leaving_in_silence() -> None:
    """With nothing said there is nothing to show."""

    async def main() -> None:
        stage = Stage(FakeChat())

        async def leaves(reply: Reply) -> None:
            await asyncio.sleep(1.0)
            reply.leave()

        await stage.play(leaves)
        assert stage.chat.messages == {}

    virtual_time.run(main())


def test_leaving_without_an_edit_to_spare() -> None:
    """A process that ends does not wait for the budget."""

    async def main() -> None:
        chat = FakeChat()
        tools = reply_tools(chat)
        stage = Stage(chat, tools=tools)

        async def leaves(reply: Reply) -> None:
            reply.text("b", "First.")
            await asyncio.sleep(1.0)
            while not tools.budget.take("T1", "chat.update", virtual_time.now()):
                pass
            reply.text("b", " Second.")
            await asyncio.sleep(0.1)
            left = virtual_time.now()
            reply.leave()
            await asyncio.sleep(0.5)
            assert virtual_time.now() - left < 1

        await stage.play(leaves)
        assert chat.texts() == ["First."]

    virtual_time.run(main())


def test_starting_over_uses_the_same_messages() -> None:
    """A wrong answer of several messages makes way for a short one; what is not needed goes."""

    async def main() -> None:
        stage = Stage(FakeChat())

        async def feed(reply: Reply) -> None:
            reply.text("b", TEXT[:20_000])
            await asyncio.sleep(5.0)
            assert len(stage.chat.messages) > 1
            reply.start_over()
            reply.text("c", "Short and right.")
            await asyncio.sleep(5.0)
            reply.end()

        await stage.play(feed)
        assert stage.chat.texts() == ["Short and right."]

    virtual_time.run(main())


@pytest.mark.parametrize("after", [0.0, 60.0])
def test_an_edit_that_a_dead_process_sent_is_made_good(after: float) -> None:
    """It may come over the whole answer until its call's time is up; who took longer than that has edited since."""

    async def main() -> None:
        chat = FakeChat()
        resumed = Resumed(chat, await stands(chat, "Half of "))
        ((ts, shown),) = chat.messages.items()

        async def rest(reply: Reply) -> None:
            await asyncio.sleep(after)
            reply.text("b", "Half of it.")
            reply.end()

        await resumed.play(rest)
        edits = chat.count("edit")
        await asyncio.sleep(10.0)
        await chat.edit(THREAD, ts, Body("Half of ", buttons=(Button.STOP,), turn_id=7))
        await for_hours(resumed.tools.tidying)
        assert chat.count("edit") - edits == (1 if after else 2)
        assert shown.body == (Body("Half of ", buttons=(Button.STOP,), turn_id=7) if after else Body("Half of it."))

    virtual_time.run(main())


def test_a_part_that_was_whole_long_ago_is_made_good_at_the_end() -> None:
    """The last edit of what the dead process wrote counts, not the last one of the answer."""

    async def main() -> None:
        chat = FakeChat()
        resumed = Resumed(chat, await stands(chat, TEXT[:500]))

        async def rest(reply: Reply) -> None:
            reply.text("b", TEXT[:15_000])
            await asyncio.sleep(12.0)
            await chat.edit(THREAD, next(iter(chat.messages)), Body(TEXT[:500], buttons=(Button.STOP,), turn_id=7))
            await asyncio.sleep(30.0)
            reply.text("b", TEXT[15_000:])
            reply.end()

        await resumed.play(rest)
        await for_hours(resumed.tools.tidying)
        assert "".join("".join(chat.texts()).split()) == "".join(TEXT.split())
        assert not any(body.buttons for body in chat.bodies())

    virtual_time.run(main())


@pytest.mark.parametrize("kind", ["left", "fresh", "retried"])
def test_who_was_not_the_last_to_write_repeats_nothing(kind: str) -> None:
    """Neither a process that leaves the answer to another, nor one that began it, or tries again what had ended."""

    async def main() -> None:
        chat = FakeChat()
        earlier = [] if kind == "fresh" else await stands(chat, "Half of ")
        stage = Stage(chat) if kind == "fresh" else Resumed(chat, earlier, retried=kind == "retried")

        async def rest(reply: Reply) -> None:
            reply.text("b", "Half of it")
            await asyncio.sleep(1.0)
            reply.leave() if kind == "left" else reply.end()

        await stage.play(rest)
        edits = chat.count("edit")
        await for_hours(stage.tools.tidying)
        assert chat.count("edit") == edits

    virtual_time.run(main())


def test_who_loses_an_answer_repeats_nothing() -> None:
    """Somebody else writes it by then."""

    async def main() -> None:
        chat = FakeChat()
        resumed = Resumed(chat, await stands(chat, "Half of "))
        resumed.reply.text("b", "Half of it. ")

        async def lost(_part: PartRecord) -> None:
            raise TurnLost

        resumed.reply._messages.record = lost
        resumed.reply.text("b", "And the rest of it, which needs another message." * 200)
        resumed.reply.end()
        with pytest.raises(TurnLost):
            await resumed.reply.run()
        edits = chat.count("edit")
        await for_hours(resumed.tools.tidying)
        assert chat.count("edit") == edits

    virtual_time.run(main())
