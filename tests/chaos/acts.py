"""What people do while something is broken: each returns once all have said what they wanted to."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from slackbot.handover import NOT_OPERATOR
from slackbot.simulator.slack import SimMessage
from tests.chaos.scenes import Scene, buttons

Play: TypeAlias = Callable[[Scene], Awaitable[None]]


async def ask(scene: Scene) -> None:
    """A mention in a channel, answered over two seconds."""
    await scene.ask()


async def reply(scene: Scene) -> None:
    """A mention below what people said before."""
    slack = scene.both.slack
    general = slack.channels["general"]
    root = await slack.say(slack.users["ben"], general, "Has anybody seen the plan?")
    words = f"Not me, <@{slack.users['olga']}> had it in <#{slack.channels['random']}>."
    await slack.say(slack.users["ada"], general, words, thread_ts=root)
    await scene.ask(root=root)


async def integration(scene: Scene) -> None:
    """A mention below the words of an integration, which is no user of the workspace."""
    slack = scene.both.slack
    ben, general = slack.users["ben"], slack.channels["general"]
    root = await slack.say(ben, general, "Is the build green?")
    await slack.say(ben, general, "It is.", thread_ts=root, subtype="bot_message", user="", bot_id="B0BUILDS")
    await scene.ask(root=root)


async def two(scene: Scene) -> None:
    """A second question while the first one is being answered."""
    first = await scene.ask()
    await scene.until(lambda: scene.asked(first) or scene.settled(), 60)
    await scene.ask(under=first)


async def flat(scene: Scene) -> None:
    """A direct message without threads; the answer to the first post is lost, so that the bot looks for it."""
    slack = scene.both.slack
    slack.faults.add(method="chat.postMessage", drop="after")
    await scene.ask(channel=slack.dm("ada"), root="")


async def crowd(scene: Scene) -> None:
    """A dozen people ask, one every five seconds, each in a thread of their own."""
    for number in range(12):
        await scene.ask(user=("ada", "ben", "olga")[number % 3], channel=("general", "random")[number % 2])
        await asyncio.sleep(5)


async def shared(scene: Scene) -> None:
    """Six ask two bots, to be answered over more than a lease, and two more when both have lost their database."""
    scene.both.noxus.switches.change(rate=1.2)
    for _ in range(6):
        await scene.ask()
    await scene.until(lambda: scene.sql("SELECT 1") != [(1,)])
    scene.both.noxus.switches.change(rate=32.0)
    before = len(scene.both.slack.deliveries)
    for _ in range(2):
        await scene.ask(user="ben")
    await asyncio.sleep(10)
    taken = sum(each.acked for each in scene.both.slack.deliveries[before:])
    scene.notes.append(f"{taken} events were acked meanwhile")


def grows(scene: Scene) -> bool:
    """Whether an answer has begun."""
    return any(scene.sight(question).words for question in scene.questions)


def everywhere(scene: Scene) -> bool:
    """Whether all answers have begun, in more than one bot."""
    owners = scene.sql("SELECT DISTINCT owner FROM turns WHERE state = 'running'")
    return len(owners) > 1 and all(scene.sight(question).words for question in scene.questions)


async def whisper(scene: Scene) -> None:
    """The same where the app may not react, so that who waits is told in words."""
    scene.both.slack.faults.add(method="reactions.add", error="missing_scope", times=None)
    await two(scene)


async def file_out(scene: Scene) -> None:
    """The agent makes a file."""
    await scene.ask("/file report.csv size=500", answer="")


async def file_in(scene: Scene) -> None:
    """The question comes with a file."""
    slack = scene.both.slack
    plan = slack.files.add(slack.users["ada"], "plan.txt", b"the plan " * 40, "text/plain")
    await scene.ask(files=[plan])


async def silence(scene: Scene) -> None:
    """The agent says nothing for ten seconds, so that a placeholder is posted; its edit finds no slot."""
    scene.both.slack.faults.add(method="chat.update", error="ratelimited", retry_after=40)
    await scene.ask("/wait 12", answer="")


async def human(scene: Scene) -> None:
    """The agent calls a human: a card; a stranger presses, an operator takes it, talks and gives it back."""
    slack = scene.both.slack
    question = await scene.ask("/human", answer="")
    support = slack.channels["support"]

    def take() -> tuple[SimMessage, dict[str, Any]] | None:
        for card in scene.ours(support):
            for button in buttons(card):
                if button["text"]["text"] == "Take over":
                    return card, button
        return None

    if not await scene.until(take, 400):
        return
    for name in ("ben", "olga"):
        if found := take():
            card, button = found
            try:
                await slack.press(slack.users[name], support, card.ts, button["action_id"], button["value"])
            except ValueError:
                continue
        await asyncio.sleep(3)
    await scene.until(scene.settled, 60)
    scene.notes.append(f"card {'taken' if not take() else 'open'}")
    if any(NOT_OPERATOR in whisper.text for whisper in slack.whispers):
        scene.notes.append("the stranger was told")
    await slack.say(slack.users["ada"], question.channel, "hello?", thread_ts=question.root)


async def reconnect(scene: Scene) -> None:
    """The connection breaks, and somebody asks while the bot has none."""
    await scene.both.slack.disconnect_sockets("abort")
    await ask(scene)
