"""The whole bot, stopped or dead in the middle of answers: what the next process makes of them, on real sockets."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from slackbot import app
from slackbot.errors import Interrupted
from slackbot.loading import load_settings
from slackbot.simulator.slack import SimMessage
from tests.databases import Raw
from tests.whole_bot import World, bot, world


@asynccontextmanager
async def doomed(environ: dict[str, str], *, hands_over: bool) -> AsyncIterator[None]:
    """A bot that has no time to finish its answers at the end of the block: told to stop, or dropped where it is."""
    stop, ready = asyncio.Event(), asyncio.Event()
    settings = load_settings(environ | {"SLACKBOT_SHUTDOWN_SECONDS": "0"}, None)
    serving = asyncio.create_task(app.serve(settings, stop=stop, ready=lambda _who: ready.set()))
    waiting = asyncio.create_task(ready.wait())
    await asyncio.wait([serving, waiting], return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    try:
        yield
    finally:
        stop.set()
        if not hands_over:
            serving.cancel()
        with suppress(asyncio.CancelledError):
            await serving


@dataclass(frozen=True)
class Asked:
    """A question in a thread of its own."""

    both: World
    channel: str
    root: str

    def messages(self) -> list[SimMessage]:
        slack = self.both.slack
        return [said for said in slack.messages(self.channel, self.root) if said.user == slack.bot_user_id]

    def text(self) -> str:
        """The agent's words, from all messages."""
        return "\n\n".join(message.shown for message in self.messages() if message.shown)

    def shows(self) -> str:
        """All blocks of all messages, for looking into."""
        return str([message.blocks for message in self.messages()])


async def ask(both: World, text: str, channel: str = "general") -> Asked:
    slack = both.slack
    place = slack.channels[channel]
    return Asked(both, place, await slack.say(slack.users["ada"], place, f"<@{slack.bot_user_id}> {text}"))


async def grown(asked: Asked, words: int) -> None:
    """Wait until more words than that are shown."""
    await asked.both.slack.wait(lambda: len(asked.text().split()) > words, timeout=20)


async def settled(url: str) -> list[str]:
    """The states of all turns, once all have ended."""
    sql = Raw(url)
    try:
        async with asyncio.timeout(30):
            while True:
                states = [str(state) for (state,) in sql("SELECT state FROM turns ORDER BY id")]
                if states and not {"queued", "running"} & set(states):
                    return states
                await asyncio.sleep(0.05)
    finally:
        sql.close()


LONG, WORDS = "/long 12000 rate=4000", "/words 40 rate=15"
TOOLS, FILE, HUMAN = "/steps 2", "/file a.csv", "/human plain"

WORLDS: dict[str, dict[str, Any]] = {
    "as documented": {},
    "no stream": {"idle_events": "404", "visible": "end", "sse_ids": False, "replay": "live"},
    "replays": {"idle_events": "replay", "replay": "start", "etag_is": "conversation", "history": "legacy"},
    "hangs": {"idle_events": "hang", "replay": "live", "sse_ids": False},
}


@pytest.mark.parametrize(
    ("kind", "hands_over"),
    [("as documented", True), ("as documented", False), ("no stream", False), ("replays", True), ("hangs", False)],
)
async def test_the_next_process_finishes_every_answer(tmp_path: Path, kind: str, *, hands_over: bool) -> None:
    """Whatever Noxus tells of a run: each answer stands in its thread once and whole, with its files and its call for a
    human, in the messages that were there; nothing was asked twice, and no message ever showed less than before."""
    url = f"sqlite:///{tmp_path / 'bot.db'}"
    async with world(latency=0.005) as both:
        slack, noxus = both.slack, both.noxus
        noxus.switches.change(rate=20.0, **WORLDS[kind])
        environ = both.environ(url, SLACKBOT_HANDOVER_CHANNEL=slack.channels["support"])
        async with doomed(environ, hands_over=hands_over):
            long, words = await ask(both, LONG), await ask(both, WORDS, "random")
            tools, file, human = [await ask(both, text, "partners") for text in (TOOLS, FILE, HUMAN)]
            await slack.wait(lambda: len(noxus.asked) == 5 and len(long.messages()) > 1 and words.text(), timeout=20)
            stood = [message.ts for message in (*long.messages(), *words.messages())]
        async with bot(environ):
            assert await settled(url) == ["done"] * 5
            await slack.wait(lambda: not any("stop_turn" in asked.shows() for asked in (long, words)), timeout=10)
        assert len(noxus.asked) == 5
        assert len(words.text().split()) == 40
        sections = re.findall(r"Section (\d+)", long.text())
        assert sections == [str(number + 1) for number in range(len(sections))]
        assert len(sections) > 10
        assert tools.text().count("the third") == 1
        assert [name["name"] for message in file.messages() for name in message.files] == ["a.csv"], file.shows()
        ours = [said for said in slack.messages(slack.channels["support"]) if said.user == slack.bot_user_id]
        assert [said.text for said in ours if said.thread_ts in {None, said.ts}] == ["Ada needs a human"], ours
        for asked in (long, words, tools, file, human):
            assert not re.search("retry_turn|stop_turn|may not be complete", asked.shows())
            assert slack.status(asked.channel, asked.root) == ""
        assert [message.ts for message in (*long.messages(), *words.messages()) if message.ts in stood] == stood
        for message in words.messages():
            versions = [version.shown for version in slack.timeline(message.channel, message.ts)]
            assert all(later.startswith(before) for before, later in pairwise(versions))


async def test_a_run_that_ended_with_its_reader(tmp_path: Path) -> None:
    """What there was of the answer stands there, with one sentence and Retry, which asks anew."""
    url = f"sqlite:///{tmp_path / 'bot.db'}"
    async with world(latency=0.005) as both:
        slack, noxus = both.slack, both.noxus
        noxus.switches.change(on_disconnect="stop")
        async with doomed(both.environ(url), hands_over=False):
            asked = await ask(both, "/words 60 rate=20")
            await grown(asked, 3)
            before = asked.text()
        async with bot(both.environ(url)):
            assert await settled(url) == ["failed"]
            assert asked.text().startswith(before)
            assert asked.shows().count(Interrupted.sentence) == 1
            [message] = asked.messages()
            retry = next(block for block in message.blocks if block["type"] == "actions")["elements"][0]
            await slack.press(slack.users["ada"], asked.channel, message.ts, retry["action_id"], retry["value"])
            assert await settled(url) == ["done"] or len(asked.text().split()) < 60
            await slack.wait(lambda: len(asked.text().split()) == 60, timeout=10)
        assert len(noxus.asked) == 2
        assert len(asked.messages()) == 1


async def test_dead_again_and_again(tmp_path: Path) -> None:
    """Each process goes on where the one before was, and the last one finishes."""
    url = f"sqlite:///{tmp_path / 'bot.db'}"
    async with world(latency=0.005) as both:
        asked = None
        for words in (10, 20, 30):
            async with doomed(both.environ(url), hands_over=words != 20):
                asked = asked or await ask(both, "/words 80 rate=20")
                await grown(asked, words)
        assert asked is not None
        async with bot(both.environ(url)):
            assert await settled(url) == ["done"]
        assert len(asked.text().split()) == 80
        assert (len(both.noxus.asked), len(asked.messages())) == (1, 1)


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
async def test_another_replica_goes_on(database_url: str) -> None:
    """Of two replicas one is stopped in the middle of an answer: the other one finishes it, in the same message."""
    async with world(latency=0.005) as both:
        async with doomed(both.environ(database_url), hands_over=True):
            asked = await ask(both, "/words 80 rate=20")
            await grown(asked, 5)
            other = bot(both.environ(database_url))
            await other.__aenter__()
        assert await settled(database_url) == ["done"]
        await other.__aexit__(None, None, None)
        assert len(asked.text().split()) == 80
        assert (len(both.noxus.asked), len(asked.messages())) == (1, 1)
