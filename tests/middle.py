"""The middle of the bot, for tests: intake, turns and worker on a real store, with fakes at the two ports."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import pytest

from slackbot.answering import TurnTools
from slackbot.budget import Budget
from slackbot.cards import Cards
from slackbot.desk import Desk
from slackbot.domain import (
    AgentTarget,
    Attachment,
    BotIdentity,
    Button,
    ChannelKind,
    InboundMessage,
    Press,
    TextDelta,
)
from slackbot.echoes import Echoes
from slackbot.errands import Errands
from slackbot.files.incoming import Incoming
from slackbot.files.outgoing import Outgoing
from slackbot.files.passing import FileLimits
from slackbot.handover import HandoverRules, Handovers
from slackbot.intake import Intake
from slackbot.leases import Standing
from slackbot.marks import Marks
from slackbot.questions import Questions
from slackbot.relaying import Relay
from slackbot.replies.pace import OpenReplies
from slackbot.replies.tidying import Tidying
from slackbot.replies.tools import ReplyTools
from slackbot.routing import Rules
from slackbot.sessions import Sessions
from slackbot.store import Store, Timers
from slackbot.telling import Telling
from slackbot.turns import Turns
from slackbot.worker import Worker, WorkerSettings
from tests.fakes import FakeAgent, FakeChat, Shown

ME = BotIdentity("T1", "Acme", "UBOT", "BBOT")
OWNER = "worker-1"


@dataclass
class Bot:
    """The middle of the bot, running."""

    store: Store
    chat: FakeChat
    agent: FakeAgent
    intake: Intake
    turns: Turns
    worker: Worker
    tick: itertools.count[int]

    async def hear(
        self,
        text: str,
        *,
        user: str = "UADA",
        channel: str = "C1",
        thread: str | None = None,
        kind: ChannelKind = ChannelKind.CHANNEL,
        attachments: tuple[Attachment, ...] = (),
    ) -> InboundMessage:
        """Somebody writes; returns once the message is accepted."""
        message = InboundMessage(
            "T1",
            channel,
            kind,
            f"1700000{next(self.tick):03d}.000000",
            thread,
            user,
            text,
            attachments=attachments,
            event_id="Ev1",
        )
        await self.intake.message(message)
        return message

    async def until(self, condition: Callable[[], bool], seconds: float = 5.0) -> None:
        """Wait for what should become true."""
        async with asyncio.timeout(seconds):
            while not condition():
                await asyncio.sleep(0.005)

    async def idle(self, seconds: float = 10.0) -> None:
        """Wait until nothing is queued or running."""
        async with asyncio.timeout(seconds):
            while True:
                counts = await self.store.counts()
                if not counts.queued and not counts.running:
                    return
                await asyncio.sleep(0.005)

    async def press(self, button: Button, user: str = "UADA") -> None:
        """Somebody presses the newest button of this kind."""
        shown = [shown for shown in self.chat.messages.values() if button in shown.body.buttons][-1]
        await self.press_again(shown, button, user)

    async def press_again(self, shown: Shown, button: Button, user: str = "UADA") -> None:
        """Somebody presses a button that this message has or had."""
        turn_id = next(body.turn_id for _, body in reversed(shown.versions) if body.turn_id is not None)
        thread = shown.thread
        await self.intake.take(Press(button, "T1", thread.channel_id, shown.ts, thread.root_ts or None, user, turn_id))


@asynccontextmanager
async def running_bot(
    url: str,
    chat: FakeChat,
    agent: FakeAgent,
    *,
    rules: Rules | None = None,
    start: bool = True,
    store_class: type[Store] = Store,
    repost_deleted: bool = True,
    private_files: str = "",
    handover_rules: HandoverRules | None = None,
    human_button: bool = False,
    concurrency: int = 100,
) -> AsyncIterator[Bot]:
    """A bot that takes messages and answers them until the block ends."""
    store = await store_class.open(url)
    errands, budget, open_replies, now = Errands(), Budget(), OpenReplies(), asyncio.get_running_loop().time
    marks = Marks(store, chat, errands)
    tidying = Tidying(chat, budget, open_replies, now, attempt_of=store.attempt_of)
    reply_tools = ReplyTools(
        chat, budget, open_replies, now, tidying, private_files=private_files, repost_deleted=repost_deleted
    )
    questions = Questions(store, chat, identity=lambda _team: ME)
    incoming, outgoing = Incoming(chat, FileLimits()), Outgoing(agent, chat, FileLimits())
    handover_rules = handover_rules or HandoverRules(Timers())
    one_by_one = Errands(workers=1)
    sessions = Sessions(store, chat, one_by_one)
    handovers = Handovers(
        store,
        chat,
        handover_rules,
        errands=errands,
        wake=lambda: desk.wake(),  # noqa: PLW0108 - it comes below
        stop=lambda turn_id, user_id: turns.stop(turn_id, user_id),  # noqa: PLW0108 - it comes below
    )
    turns = Turns(
        TurnTools(
            store,
            chat,
            agent,
            questions,
            incoming,
            outgoing,
            reply_tools,
            errands,
            marks,
            handovers,
            Relay(store, chat, reply_tools, FileLimits(), owner=OWNER),
            sessions,
            Echoes(store, chat, tidying, budget, lambda: tidying.undone | sessions.undone),
            AgentTarget(agent_id="agent-1"),
            OWNER,
            human_button=human_button,
        )
    )
    quick = WorkerSettings(poll=0.05, heartbeat=0.2, lease=5.0, first_backoff=0.05, longest_backoff=0.1, attempts=4)
    standing = Standing(OWNER)
    worker = Worker(store, turns, standing, replace(quick, concurrency=concurrency))

    async def agent_name() -> str:
        return agent.agent_profile.name

    desk = Desk(
        store,
        chat,
        Cards(store, reply_tools, handover_rules.channel_id, agent_name),
        Telling(store, reply_tools, handover_rules, marks),
        timers=handover_rules.timers,
        sessions=sessions,
        standing=standing,
        wake_worker=worker.wake,
    )
    intake = Intake(
        store,
        chat,
        rules or Rules(human_phrases=frozenset({"human"})),
        handovers=handovers,
        errands=errands,
        marks=marks,
        identity=lambda _team: ME,
        wake=worker.wake,
        room=worker.room,
        stop=turns.stop,
    )
    try:
        async with asyncio.TaskGroup() as tasks:
            aside = [tasks.create_task(each.run()) for each in (errands, one_by_one, tidying)]
            tasks.create_task(desk.run())
            if start:
                tasks.create_task(worker.run())
            yield Bot(store, chat, agent, intake, turns, worker, itertools.count(1))
            worker.stop()
            desk.close()
            for task in aside:
                task.cancel()
    finally:
        await store.close()


def says(*texts: str) -> list[TextDelta]:
    """A script that says these pieces in one block."""
    return [TextDelta("b", text) for text in texts]


@pytest.fixture
def chat() -> FakeChat:
    """A quick fake Slack that knows two people."""
    return FakeChat(latency=0.001, names={"UADA": "Ada", "UBEN": "Ben", "UBOT": "agent"})
