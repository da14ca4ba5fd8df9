"""What of an agent's doing is shown while it works: tools and reasoning, in the agent's own words where it has some."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from slackbot.domain import (
    AgentEvent,
    AgentProfile,
    Button,
    FileOffered,
    PartRecord,
    Reasoning,
    TextDelta,
    ToolFinished,
    ToolStarted,
)
from slackbot.listening import OFFERED_CHARS, Listener
from slackbot.replies.opening import THINKING
from slackbot.replies.reply import Reply
from slackbot.signals import HandoverSignals
from tests import virtual_time
from tests.fakes import FakeChat
from tests.test_replies import THREAD, reply_tools

PROFILE = AgentProfile(
    tool_messages={"web_research": "Searching the web..."},
    tool_end_messages={"web_research": "Searched the web"},
    hidden_tools=frozenset({"filesystem"}),
    thinking_message="Pondering...",
)
SEARCH, SEARCHED = ToolStarted("1", "web_research"), ToolFinished("1", "web_research", ok=True)
HIDDEN, HIDDEN_DONE = ToolStarted("2", "filesystem"), ToolFinished("2", "", ok=True)
OTHER, OTHER_DONE = ToolStarted("3", "read_the-docs"), ToolFinished("3", "", ok=False)
THOUGHT = Reasoning("r", "secret thoughts")


def seen(events: Sequence[AgentEvent], profile: AgentProfile) -> tuple[list[str], list[str]]:
    """The statuses before any text, and the lines below an open message, for events 1.1 seconds apart."""

    async def main() -> tuple[list[str], list[str]]:
        shown: list[list[str]] = []
        for opening in ((), (TextDelta("a", "So:"),)):
            chat = FakeChat(latency=0.01)

            async def record(_part: PartRecord) -> None:
                return

            async def feed(reply: Reply, opening: Sequence[AgentEvent] = opening) -> None:
                listener = Listener(reply, lambda: profile, HandoverSignals(frozenset(), frozenset(), "run"))
                for event in (*opening, *events):
                    listener.hear(event)
                    await asyncio.sleep(1.6)
                listener.hear(TextDelta("z", "End."))
                reply.end("", (Button.GOOD, Button.BAD))

            reply = Reply(reply_tools(chat), THREAD, 7, record=record)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(reply.run())
                tasks.create_task(feed(reply))
            lines = [body.step for message in chat.messages.values() for _, body in message.versions]
            assert lines[-1] == ""
            shown.append(lines if opening else chat.statuses)
        return shown[0], [line for line in shown[1] if line]

    statuses, lines = virtual_time.run(main())
    return statuses, lines


@pytest.mark.parametrize(
    ("events", "statuses", "lines"),
    [
        pytest.param(
            [SEARCH, SEARCHED],
            [THINKING, "Searching the web...", "Searched the web"],
            ["Searching the web...", "Searched the web"],
            id="the agent's own words for a tool",
        ),
        pytest.param(
            [OTHER, OTHER_DONE],
            [THINKING, "is using read the docs…", THINKING],
            ["Using read the docs…"],
            id="a tool without words of its own",
        ),
        pytest.param([HIDDEN, HIDDEN_DONE], [THINKING], [], id="an invisible tool"),
        pytest.param(
            [SEARCH, HIDDEN, HIDDEN_DONE, OTHER, OTHER_DONE],
            [THINKING, "Searching the web...", "is using read the docs…", "Searching the web..."],
            ["Searching the web...", "Using read the docs…", "Searching the web..."],
            id="tools side by side",
        ),
        pytest.param([THOUGHT, THOUGHT], [THINKING, "Pondering..."], ["Pondering..."], id="reasoning, never its words"),
    ],
)
def test_steps_are_told_in_the_agents_words(events: list[AgentEvent], statuses: list[str], lines: list[str]) -> None:
    """Status and line say what the agent's settings say, and nothing of what is invisible."""
    seen_statuses, seen_lines = seen(events, PROFILE)
    assert seen_statuses == statuses
    assert seen_lines == lines


def test_reasoning_can_be_hidden() -> None:
    """An agent that hides its reasoning does not even say that it reasons."""
    assert seen([THOUGHT], AgentProfile(hide_reasoning=True, thinking_message="Pondering...")) == ([THINKING], [])


async def test_what_comes_inline_is_bounded() -> None:
    """Past so much only the name of a file is kept."""
    reply = Reply(reply_tools(FakeChat()), THREAD, 7, record=lambda _part: asyncio.sleep(0))
    listener = Listener(reply, AgentProfile, HandoverSignals(frozenset(), frozenset(), "run"))
    url = "data:a/b;base64," + "A" * (OFFERED_CHARS // 3)
    for number in range(4):
        listener.hear(FileOffered(url, "a/b", f"{number}.bin"))
    assert [(offer.name, bool(offer.url)) for offer in listener.offers] == [
        ("0.bin", True),
        ("1.bin", True),
        ("2.bin", False),
        ("3.bin", False),
    ]


def test_thinking_needs_no_second_status() -> None:
    """The usual word for thinking is ours already."""
    assert seen([THOUGHT], AgentProfile(thinking_message="Thinking...")) == ([THINKING], ["Thinking…"])


def test_what_is_waited_for_names_no_invisible_tool() -> None:
    """What the settings hide stays hidden at the end too."""

    async def main() -> None:
        for calls, notice in (
            ([HIDDEN], "The agent waits for something outside this thread."),
            ([HIDDEN, OTHER], "The agent waits for something outside this thread: read the docs."),
        ):
            reply = Reply(reply_tools(FakeChat()), THREAD, 7, record=lambda _: asyncio.sleep(0))
            listener = Listener(reply, lambda: PROFILE, HandoverSignals(frozenset(), frozenset(), "run"))
            for call in calls:
                listener.hear(call)
            assert listener.closing_words() == notice

    virtual_time.run(main())
