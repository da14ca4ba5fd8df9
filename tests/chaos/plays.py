"""What people do in a trial: short plays, each a function of the stage that returns when its people are content."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeAlias

from slackbot.replies.opening import SILENCE_SECONDS
from slackbot.simulator.noxus.prose import words
from tests.chaos.processes import PATIENCE, Broken, until
from tests.chaos.shown import Question
from tests.chaos.stage import Stage

Play: TypeAlias = Callable[[Stage], Awaitable[None]]

HERE_IT_IS = "Here is your file."
LATE_SECONDS = 8.0
"""Longer than a replica that has just come takes to believe in a death."""


async def _over(stage: Stage, question: Question, patience: float = PATIENCE) -> None:
    await until(lambda: stage.ended(question), f"{question.mark} has ended", patience)


async def mention(stage: Stage) -> None:
    """Somebody mentions the bot; the answer is over before a killed bot is back."""
    await _over(stage, await stage.ask("/words 12 rate=100", words(12)))


async def slow(stage: Stage) -> None:
    """The same, but the agent still answers when a killed bot is back."""
    await _over(stage, await stage.ask("/words 36 rate=12", words(36)))


async def second(stage: Stage) -> None:
    """A second question in the same thread, asked while the first is being answered."""
    first = await stage.ask("/words 20 rate=40", words(20))
    await until(lambda: stage.shown(first).messages, "the first answer begins")
    await _over(stage, await stage.ask("/words 9 rate=200", words(9), under=first))


async def parts(stage: Stage) -> None:
    """An answer over several messages."""
    await _over(stage, await stage.ask("/words 3600 rate=9000", words(3600)))


async def crowded(stage: Stage) -> None:
    """Slack takes no edits for a while, so that the answer goes on in another message while the first still grows."""
    stage.slack.faults.add(method="chat.update", error="ratelimited", retry_after=6.0, after=1)
    await _over(stage, await stage.ask("/words 80 rate=40", words(80)))


async def files(stage: Stage) -> None:
    """A file comes with the question, and another one with the answer."""
    plan = stage.slack.files.add(stage.slack.users["ada"], "plan", b"the plan", "text/plain")
    await _over(stage, await stage.ask("/file report.csv", HERE_IT_IS, files=[plan], made=1))


async def stop(stage: Stage) -> None:
    """Somebody presses Stop as soon as it is there, and again when the bot did not take it."""
    question = await stage.ask("/words 60 rate=20", words(60))

    def offered() -> bool:
        return "Stop" in stage.shown(question).buttons

    await until(lambda: offered() or stage.ended(question), "there is a Stop")
    while not stage.ended(question):
        await until(lambda: offered() or stage.ended(question), "Stop or the end")
        if offered() and await stage.press(question, "stop_turn"):
            break
    await _over(stage, question)


async def retry(stage: Stage) -> None:
    """The agent fails once; somebody presses Retry whenever that is offered."""
    stage.noxus.faults.add(path="stream", status=503)
    question = await stage.ask("/words 12 rate=100", words(12))
    while True:
        await _over(stage, question)
        if stage.verdict(question) != "sentence":
            return
        await stage.press(question, "retry_turn")
        with suppress(Broken):  # until its end is recorded a turn counts as running, and a press for nothing
            await until(lambda: not stage.ended(question), "Retry does something", patience=1.0)


async def late(stage: Stage) -> None:
    """Slack takes its time with the first message: what a dead process posts comes when somebody else has posted."""
    stage.slack.faults.add(method="chat.postMessage", delay=LATE_SECONDS)
    question = await stage.ask("/words 12 rate=100", words(12))
    await asyncio.sleep(LATE_SECONDS + 2.0)
    await _over(stage, question, 2 * PATIENCE)


async def stale(stage: Stage) -> None:
    """Slack takes its time with the first edit: what a dead process wrote comes over what somebody else has written."""
    stage.slack.faults.add(method="chat.update", delay=LATE_SECONDS)
    question = await stage.ask("/words 40 rate=20", words(40))
    await asyncio.sleep(LATE_SECONDS + 4.0)
    await _over(stage, question)


async def signs(stage: Stage) -> None:
    """Slack takes its time with the signs that the agent works: they come when it is done."""
    for method in ("assistant.threads.setStatus", "agents.sessions.setStatus"):
        stage.slack.faults.add(method=method, delay=LATE_SECONDS)
    await _over(stage, await stage.ask("/words 12 rate=100", words(12)))
    await asyncio.sleep(LATE_SECONDS + 2.0)
    await until(lambda: not stage.signs(), "nothing shows that the agent works", 2 * PATIENCE)


async def direct(stage: Stage) -> None:
    """A direct message."""
    await _over(stage, await stage.ask("/words 12 rate=100", words(12), channel=stage.slack.dm("ada")))


async def flat(stage: Stage) -> None:
    """A direct message without threads."""
    await direct(stage)


async def silent(stage: Stage) -> None:
    """The agent says nothing for so long that a message says that it works."""
    stage.noxus.switches.change(first_token_delay=SILENCE_SECONDS + 2.0)
    await _over(stage, await stage.ask("/words 12 rate=100", words(12)))


async def fails(stage: Stage) -> None:
    """The agent fails in the middle of its answer."""
    await _over(stage, await stage.ask("/fail", "I was about to tell you something importa", breaks=True))


async def timeout(stage: Stage) -> None:
    """Noxus gives up on the answer in the middle of it."""
    await _over(stage, await stage.ask("/timeout", "My time runs out here, whatever comes after."))


_USUAL = (mention, slow, second, parts, crowded, files, direct, flat)
_TROUBLED = (stop, retry, fails, timeout, silent, late, stale, signs)
PLAYS: dict[str, Play] = {play.__name__: play for play in (*_USUAL, *_TROUBLED)}
SETTINGS: dict[str, dict[str, str]] = {"flat": {"SLACKBOT_DM_MODE": "flat"}}
"""What the bot has to be told for a play."""
