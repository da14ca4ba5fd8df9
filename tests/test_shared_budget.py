"""Two whole bots on one PostgreSQL: Slack's limits hold for both together."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator

import pytest

from tests.whole_bot import World, bot, world

pytestmark = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)


@pytest.fixture
async def acme() -> AsyncIterator[World]:
    """A strict but quick Slack, and a Noxus."""
    async with world(latency=0.005) as both:
        yield both


class Questions:
    """Questions to the bot, and the answers to them."""

    def __init__(self, acme: World) -> None:
        self._slack = acme.slack
        self._channels = [acme.slack.add_channel(f"room-{number}") for number in range(10)]
        self._people = [acme.slack.add_user(f"person-{number}") for number in range(3)]
        for channel in self._channels:
            for person in self._people:
                acme.slack.join(person, channel)
        self._asked: dict[str, tuple[str, int]] = {}

    async def ask(self, count: int, words: int) -> None:
        """So many at once, at most three in a channel."""
        places = list(itertools.product(self._people, self._channels))[:count]
        question = f"<@{self._slack.bot_user_id}> /words {words} rate=20"
        roots = await asyncio.gather(*(self._slack.say(person, channel, question) for person, channel in places))
        self._asked |= {root: (channel, words) for root, (_, channel) in zip(roots, places, strict=True)}

    async def answered(self, seconds: float) -> None:
        """Until every answer is whole."""
        await self._slack.wait(lambda: all(map(self._is_whole, self._asked)), timeout=seconds)

    def _is_whole(self, root: str) -> bool:
        channel, words = self._asked[root]
        answers = [m for m in self._slack.messages(channel, root) if m.user == self._slack.bot_user_id]
        return sum(len(answer.shown.split()) for answer in answers) == words

    def refused(self) -> list[str]:
        """What Slack took for too many calls."""
        return [call.method for call in self._slack.calls if call.error == "ratelimited"]


async def test_two_bots_answer_thirty_people_without_a_refusal(acme: World, database_url: str) -> None:
    """One team, thirty questions at once, Slack's limits: every answer is whole, and Slack never said "too many"."""
    questions, environ = Questions(acme), acme.environ(database_url)
    async with bot(environ), bot(environ):
        await questions.ask(30, words=40)
        await questions.answered(seconds=40)
    assert questions.refused() == []


async def test_a_bot_comes_and_one_goes_while_edits_are_short(acme: World, database_url: str) -> None:
    """Answers long enough to use up the minute's edits: who comes in between takes no more than there is."""
    questions, environ = Questions(acme), acme.environ(database_url)
    async with bot(environ):
        async with bot(environ):
            await questions.ask(12, words=160)
            await asyncio.sleep(2.0)
        async with bot(environ):
            await questions.answered(seconds=40)
    assert questions.refused() == []
