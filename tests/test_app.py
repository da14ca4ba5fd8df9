"""The whole bot: what people see in Slack, from a real event to the last edit."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Literal

import pytest

from slackbot.errors import AgentKeyRejected, AgentUnavailable, AgentUnknown
from slackbot.simulator.noxus.prose import words
from slackbot.simulator.slack import SimMessage
from tests.whole_bot import World, bot, world


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A fresh SQLite file."""
    return f"sqlite:///{tmp_path / 'bot.db'}"


@pytest.fixture
async def acme() -> AsyncIterator[World]:
    """A strict but quick Slack, and a Noxus."""
    async with world(latency=0.005) as both:
        yield both


def shown(both: World, channel: str, thread: str | None = None) -> list[str]:
    """What the bot's messages in a thread say now."""
    messages = both.slack.messages(both.slack.channels.get(channel, channel), thread)
    return [seen(message) for message in messages if message.user == both.slack.bot_user_id]


def seen(message: SimMessage) -> str:
    """Everything a message shows: the agent's text and our own sentences."""
    notices = [
        str(element["text"])
        for block in message.blocks or []
        if block["type"] == "context"
        for element in block["elements"]
    ]
    return "\n".join([message.shown, *notices])


async def answered(both: World, channel: str, thread: str, text: str, count: int = 1) -> None:
    """Wait until the thread's newest answer says ``text``."""
    await both.slack.wait(lambda: len(found := shown(both, channel, thread)) == count and text in found[-1], timeout=10)


async def test_mention_follow_up_and_dm(acme: World, url: str) -> None:
    """A mention opens a thread, an answer without a mention goes on in it, a DM works the same."""
    slack, noxus = acme.slack, acme.noxus
    ada, general = slack.users["ada"], slack.channels["general"]
    async with bot(acme.environ(url)):
        root = await slack.say(ada, general, f"<@{slack.bot_user_id}> /words 30 rate=60")
        await slack.wait(lambda: slack.status(general, root) != "", timeout=5)
        await slack.wait(lambda: len(shown(acme, "general", root)) == 1, timeout=5)
        await slack.wait(lambda: len(shown(acme, "general", root)[0].split()) == 30, timeout=5)
        answer = next(m for m in slack.messages(general, root) if m.user == slack.bot_user_id)
        assert answer.thread_ts == root
        assert len(slack.timeline(general, answer.ts)) > 1
        await slack.say(ada, general, "/say And on it goes.", thread_ts=root)
        await answered(acme, "general", root, "And on it goes.", count=2)
        assert len(noxus.conversations) == 1
        dm = slack.dm("ada")
        private = await slack.say(ada, dm, "/say Just us.")
        await answered(acme, dm, private, "Just us.")
        assert len(noxus.conversations) == 2
    assert not [call for call in slack.calls if call.error == "ratelimited"]


async def test_nothing_is_answered_twice(acme: World, url: str) -> None:
    """Twins and redeliveries of one message are one question."""
    slack = acme.slack
    general = slack.channels["general"]
    async with bot(acme.environ(url)):
        root = await slack.say(slack.users["ada"], general, f"<@{slack.bot_user_id}> /say Once.")
        await answered(acme, "general", root, "Once.")
        for delivery in list(slack.deliveries):
            await slack.redeliver(delivery.event_id)
        await asyncio.sleep(0.3)
        assert shown(acme, "general", root) == ["Once."]
        assert len(acme.noxus.asked) == 1
        assert all(delivery.acked for delivery in slack.deliveries)


async def test_http_transport(acme: World, url: str) -> None:
    """The same over signed HTTP requests."""
    slack = acme.slack
    environ = acme.environ(
        url,
        SLACKBOT_TRANSPORT="http",
        SLACK_SIGNING_SECRET=slack.signing_secret,
        SLACKBOT_HTTP_HOST="127.0.0.1",
        SLACKBOT_HTTP_PORT="38761",
    )
    async with bot(environ):
        slack.deliver_over_http("http://127.0.0.1:38761/slack/events")
        root = await slack.say(slack.users["ada"], slack.channels["general"], f"<@{slack.bot_user_id}> /say By HTTP.")
        await answered(acme, "general", root, "By HTTP.")


@pytest.mark.parametrize(
    ("status", "sentence"),
    [(401, AgentKeyRejected.sentence), (404, AgentUnknown.sentence), (503, AgentUnavailable.sentence)],
)
async def test_noxus_refusing_is_one_sentence_and_retry_helps(
    acme: World, url: str, status: int, sentence: str
) -> None:
    """A refused conversation is told in plain words; once the cause is gone, Retry answers in the same message."""
    slack = acme.slack
    general = slack.channels["general"]
    acme.noxus.faults.add(path="create", times=1, status=status)
    async with bot(acme.environ(url)):
        root = await slack.say(slack.users["ada"], general, f"<@{slack.bot_user_id}> /say Better now.")
        await answered(acme, "general", root, sentence)
        (failed,) = [m for m in slack.messages(general, root) if m.user == slack.bot_user_id]
        # At once: the failure may not be recorded yet.
        await slack.press(slack.users["ada"], general, failed.ts, "retry_turn")
        await answered(acme, "general", root, "Better now.")
        assert [m.ts for m in slack.messages(general, root) if m.user == slack.bot_user_id] == [failed.ts]


@pytest.mark.parametrize("text", ["/fail", "/timeout"])
async def test_an_answer_that_breaks_ends_visibly(acme: World, url: str, text: str) -> None:
    """A run that fails midway leaves what it said, one sentence and a button."""
    slack = acme.slack
    general = slack.channels["general"]
    async with bot(acme.environ(url)):
        root = await slack.say(slack.users["ada"], general, f"<@{slack.bot_user_id}> {text}")
        await answered(acme, "general", root, "Please try again.")
        (message,) = [m for m in slack.messages(general, root) if m.user == slack.bot_user_id]
        assert "retry_turn" in str(message.blocks)


async def test_the_bot_comes_back_after_a_disconnect(acme: World, url: str) -> None:
    """A refreshed, an announced and a torn connection each cost nothing but a moment."""
    slack = acme.slack
    general = slack.channels["general"]
    async with bot(acme.environ(url)):
        reasons: tuple[Literal["refresh_requested", "warning", "abort"], ...] = (
            "refresh_requested",
            "warning",
            "abort",
        )
        for reason in reasons:
            await slack.disconnect_sockets(reason=reason)
            root = await slack.say(slack.users["ada"], general, f"<@{slack.bot_user_id}> /say Back after {reason}.")
            await answered(acme, "general", root, f"Back after {reason}.")


async def test_a_restart_goes_on_with_the_same_conversation(acme: World, url: str) -> None:
    """What is stored outlives the process: a follow-up after a restart reaches the same conversation."""
    slack = acme.slack
    general = slack.channels["general"]
    async with bot(acme.environ(url)):
        root = await slack.say(slack.users["ada"], general, f"<@{slack.bot_user_id}> /say One.")
        await answered(acme, "general", root, "One.")
    async with bot(acme.environ(url)):
        await slack.say(slack.users["ada"], general, "/say Two.", thread_ts=root)
        await answered(acme, "general", root, "Two.", count=2)
    assert len(acme.noxus.conversations) == 1


async def test_a_restart_takes_off_what_was_left(acme: World, url: str) -> None:
    """The mark of a question that had waited could not be taken off, and its process is gone: the next one does it."""
    slack = acme.slack
    ada, general = slack.users["ada"], slack.channels["general"]
    slack.faults.add(method="reactions.remove", error="internal_error", times=None)
    async with bot(acme.environ(url)):
        root = await slack.say(ada, general, f"<@{slack.bot_user_id}> /words 20 rate=30")
        second = await slack.say(ada, general, f"<@{slack.bot_user_id}> /say Second.", thread_ts=root)
        await answered(acme, "general", root, "Second.", count=2)
    [marked] = [message for message in slack.messages(general, root) if message.reactions]
    assert marked.ts == second
    slack.faults.clear()
    async with bot(acme.environ(url)):
        await slack.wait(lambda: not any(message.reactions for message in slack.messages(general, root)), timeout=5)


async def test_the_end_of_the_process_leaves_no_mark_behind(acme: World, url: str) -> None:
    """What is only to be done soon is done before the bot goes, as far as Slack lets it."""
    slack = acme.slack
    ada, general = slack.users["ada"], slack.channels["general"]
    slack.faults.add(method="reactions.remove", error="ratelimited", retry_after=1.0)

    def marked() -> bool:
        return any(message.reactions for message in slack.messages(general, root))

    async with bot(acme.environ(url)):
        root = await slack.say(ada, general, f"<@{slack.bot_user_id}> /words 40 rate=40")
        await slack.wait(lambda: len(shown(acme, "general", root)) == 1, timeout=5)
        await slack.say(ada, general, "/say Next.", thread_ts=root)
        await slack.wait(marked, timeout=5)
        await answered(acme, "general", root, "Next.", count=2)
        assert marked()
    assert not marked()


@pytest.mark.parametrize(
    "text",
    ["😀👩‍👩‍👧‍👦 " * 200, "שלום עולם " * 100, "x" * 40_000, "null \x00 byte", "lone \ud800 half"],
    ids=["emoji", "right-to-left", "long", "null", "surrogate"],
)
async def test_unusual_text_reaches_the_agent_whole(acme: World, url: str, text: str) -> None:
    """Emoji, right-to-left, 40,000 characters and broken characters are carried, not dropped."""
    slack = acme.slack
    dm = slack.dm("ada")
    async with bot(acme.environ(url)):
        root = await slack.say(slack.users["ada"], dm, text)
        await slack.wait(lambda: bool(acme.noxus.asked), timeout=10)
        expected = text.replace("\x00", "␀").replace("\ud800", "�").strip()
        assert acme.noxus.asked[0] == expected
        await slack.wait(lambda: bool(shown(acme, dm, root)), timeout=10)


async def test_a_second_process_on_the_same_file_is_refused_in_words(acme: World, url: str) -> None:
    """Two processes on one SQLite file would answer twice: the second says so and ends."""
    async with bot(acme.environ(url)):
        with pytest.raises(ExceptionGroup) as caught:
            async with bot(acme.environ(url)):
                pass
    assert "another slackbot process" in str(caught.value.exceptions[0])


async def test_what_slack_did_not_take_before_a_restart_is_made_good_after_it(acme: World, url: str) -> None:
    """Whoever leaves while Slack takes no edit, and does not hear that the agent is done, passes both on."""
    slack = acme.slack
    ada, general = slack.users["ada"], slack.channels["general"]
    whole = words(40)

    def stop_shows() -> bool:
        return any("stop_turn" in str(message.blocks) for message in slack.messages(general, root))

    def told() -> bool:
        return " ".join(" ".join(shown(acme, "general", root)).split()) == whole

    async with bot(acme.environ(url)):
        root = await slack.say(ada, general, f"<@{slack.bot_user_id}> /words 40 rate=20")
        await slack.wait(stop_shows, timeout=10)
        for method in ("chat.update", "agents.sessions.setStatus"):
            slack.faults.add(method=method, error="ratelimited", retry_after=40, times=None)
        await slack.wait(told, timeout=10)
    assert stop_shows()
    assert slack.session(general, root) == "processing"
    slack.faults.clear()
    async with bot(acme.environ(url)):
        await slack.wait(lambda: not stop_shows() and slack.session(general, root) == "active", timeout=15)
        assert told()
