"""The ``Chat`` port against a Slack on real sockets."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
from aiohttp import web

from slackbot.budget import Budget
from slackbot.domain import (
    FLAT_ROOT,
    Body,
    Button,
    Card,
    ContextMessage,
    MessageRef,
    PartRecord,
    PartRef,
    Person,
    SessionStatus,
    ThreadKey,
)
from slackbot.errors import (
    BodyRefused,
    ChatError,
    ChatRateLimited,
    ChatUnavailable,
    MessageGone,
    ThreadClosed,
)
from slackbot.simulator.slack import Grants, SlackSimulator
from slackbot.slack import calls, names, operators
from slackbot.slack.client import SlackChat
from slackbot.slack.installations import Installations
from slackbot.slack.web import NotSent, WebApi


class Clock:
    """Time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.time = 1_000.0
        self.slept: list[float] = []

    def now(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        self.time += seconds
        self.slept.append(seconds)
        await asyncio.sleep(0)


class World:
    """A simulated workspace and the client under test."""

    def __init__(self, slack: SlackSimulator, web_api: WebApi, installations: Installations) -> None:
        self.slack = slack
        self._parts = (web_api, installations)
        self.clock = Clock()
        self.budget = Budget()
        self.chat = self.with_operators()
        self.ada = slack.users["ada"]
        self.general = slack.channels["general"]

    def with_operators(self, **settings: Any) -> SlackChat:
        """A client that is told in these settings who may take threads over."""
        return SlackChat(*self._parts, self.budget, now=self.clock.now, sleep=self.clock.sleep, **settings)

    async def thread(self, text: str = "hello") -> ThreadKey:
        """A thread that Ada starts in #general."""
        return ThreadKey(self.slack.team_id, self.general, await self.slack.say(self.ada, self.general, text))

    def shown(self, thread: ThreadKey) -> list[str]:
        """Everything in the thread below its root."""
        return [message.shown for message in self.slack.messages(thread.channel_id, thread.root_ts)[1:]]

    def calls(self, method: str) -> int:
        """How often a method was called."""
        return sum(call.method == method for call in self.slack.calls)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """A workspace without latency and the client on it. The client's time is not the workspace's: no limits there."""
    async with a_world() as world:
        yield world


@asynccontextmanager
async def a_world(grants: Grants | None = None) -> AsyncIterator[World]:
    """A workspace in which the app was granted everything, or less."""
    slack = SlackSimulator(latency=0.0, enforce_limits=False, grants=grants)
    await slack.start()
    web_api = WebApi(slack.api_url)
    try:
        yield World(slack, web_api, await Installations.single(web_api, slack.bot_token))
    finally:
        await web_api.aclose()
        await slack.stop()


# --- who we are ---


async def test_identity(world: World) -> None:
    """The token's own team and bot user are asked once, at the start."""
    web_api = WebApi(world.slack.api_url)
    installations = await Installations.single(web_api, world.slack.bot_token)
    me = installations.identity(world.slack.team_id)
    assert me is not None
    assert (me.user_id, me.bot_id, me.team_name) == (world.slack.bot_user_id, world.slack.bot_id, "Acme")
    assert installations.identities == [me]
    assert installations.identity("T0OTHER") is None
    assert world.slack.bot_token not in repr(installations.find(world.slack.team_id))
    with pytest.raises(ThreadClosed, match="T0OTHER"):
        installations.find("T0OTHER")
    with pytest.raises(ThreadClosed) as refused:
        await Installations.single(web_api, "xoxb-wrong")
    assert refused.value.slack_error == "invalid_auth"
    await web_api.aclose()


# --- writing ---


async def test_post_and_edit(world: World) -> None:
    """A message goes into the thread, is edited in place, and shows no "(edited)"."""
    thread = await world.thread()
    ts = await world.chat.post(thread, lambda: Body("It **grows**"), PartRef(7, 0))
    await world.chat.edit(thread, ts, Body("It **grows** and ends", "Stopped.", buttons=(Button.RETRY,), turn_id=7))
    (message,) = world.slack.messages(thread.channel_id, thread.root_ts)[1:]
    assert (message.ts, message.shown, message.edited) == (ts, "It **grows** and ends", None)
    assert message.text == "It grows and ends"
    assert message.metadata == {"event_type": "slackbot_part", "event_payload": {"turn_id": 7, "index": 0}}
    post = next(call.args for call in world.slack.calls if call.method == "chat.postMessage")
    assert (post["unfurl_links"], post["unfurl_media"], post["parse"], post["link_names"]) == (
        False,
        False,
        "none",
        False,
    )


@pytest.mark.parametrize("flat", [False, True])
async def test_a_message_is_stripped_to_its_words(world: World, *, flat: bool) -> None:
    """Buttons and small print go, the words stay as Slack has them; without anything to take off nothing is called."""
    flat_dm = ThreadKey(world.slack.team_id, world.slack.dm("ada"), FLAT_ROOT)
    thread = flat_dm if flat else await world.thread()
    half = Body("It **grows**", step="Searching…", buttons=(Button.STOP,), turn_id=7)
    ts = await world.chat.post(thread, lambda: half, PartRef(7, 0))
    waiting = await world.chat.post(thread, lambda: Body(step="Still working…", buttons=(Button.STOP,), turn_id=8))
    for _ in range(2):
        await world.chat.strip(thread, ts)
    await world.chat.strip(thread, waiting)
    await world.chat.strip(thread, "1600000000.000100")
    first, second = world.slack.messages(thread.channel_id, thread.root_ts or None)[-2:]
    assert [block["type"] for block in first.blocks] == ["markdown"]
    assert (first.shown, first.text, first.edited) == ("It **grows**", "It grows", None)
    assert [block["type"] for block in second.blocks] == ["section"]
    assert world.calls("chat.update") == 2
    assert await world.chat.find_parts(thread, 7) == [PartRecord(0, ts, chars=len("It **grows**"))]


async def test_flat_dm(world: World) -> None:
    """Without a root the message is top-level."""
    thread = ThreadKey(world.slack.team_id, world.slack.dm("ada"), FLAT_ROOT)
    ts = await world.chat.post(thread, lambda: Body("Hi"))
    assert [(m.ts, m.thread_ts) for m in world.slack.messages(thread.channel_id)] == [(ts, None)]
    assert not await world.chat.set_status(thread, "is thinking…")


async def test_too_large_is_not_even_sent(world: World) -> None:
    """What Slack would refuse is refused here."""
    thread = await world.thread()
    with pytest.raises(BodyRefused):
        await world.chat.post(thread, lambda: Body("x" * 9_001))
    with pytest.raises(BodyRefused):
        await world.chat.edit(thread, "1.1", Body())
    assert not world.calls("chat.postMessage") + world.calls("chat.update")


@pytest.mark.parametrize("code", ["invalid_blocks", "msg_blocks_too_long"])
async def test_refused_blocks_go_out_as_text(world: World, code: str) -> None:
    """Slack does not like the blocks: the words are shown all the same."""
    thread = await world.thread()
    world.slack.faults.add(method="chat.postMessage", error=code)
    ts = await world.chat.post(thread, lambda: Body("a < b", notice="Stopped."), PartRef(7, 0))
    assert world.shown(thread) == ["a &lt; b\n\nStopped."]
    world.slack.faults.add(method="chat.update", error="block_mismatch")
    await world.chat.edit(thread, ts, Body("a > b"))
    assert world.shown(thread) == ["a &gt; b"]
    world.slack.faults.add(method="chat.update", error=code)
    with pytest.raises(BodyRefused):
        await world.chat.edit(thread, ts, Body("x" * 4_001))


RATED = Body("It was **moved**.", "Stopped.", buttons=(Button.RETRY, Button.GOOD, Button.BAD), turn_id=7)


def blocks_of(world: World, thread: ThreadKey) -> list[list[str]]:
    """The types of the blocks of every message below the root."""
    messages = world.slack.messages(thread.channel_id, thread.root_ts)[1:]
    return [[block["type"] for block in message.blocks] for message in messages]


@pytest.mark.parametrize("method", ["chat.postMessage", "chat.update"])
async def test_thumbs_that_slack_does_not_know(world: World, method: str) -> None:
    """For want of thumbs the formatting is not given up; for an hour the team gets none."""
    thread = await world.thread()
    ts = await world.chat.post(thread, lambda: Body("It was"))

    async def show(body: Body) -> None:
        if method == "chat.update":
            await world.chat.edit(thread, ts, body)
        else:
            await world.chat.delete(thread, world.slack.messages(thread.channel_id, thread.root_ts)[1].ts)
            await world.chat.post(thread, lambda: body)

    with_thumbs = ["markdown", "context", "actions", "context_actions"]
    before = world.calls(method)
    world.slack.faults.add(method=method, error="invalid_blocks")
    for tries in (2, 1):
        await show(RATED)
        assert blocks_of(world, thread) == [with_thumbs[:-1]]
        assert world.calls(method) == before + tries
        before += tries
    world.clock.time += 3_601
    await show(RATED)
    assert blocks_of(world, thread) == [with_thumbs]


async def test_blocks_refused_for_something_else(world: World) -> None:
    """Where it was not the thumbs, the words go out as text, and the next answer has thumbs again."""
    thread = await world.thread()
    world.slack.faults.add(method="chat.postMessage", error="invalid_blocks", times=2)
    await world.chat.post(thread, lambda: RATED)
    world.slack.faults.add(method="chat.postMessage", error="msg_blocks_too_long")
    await world.chat.post(thread, lambda: RATED)
    assert world.shown(thread) == ["It was **moved**.\n\nStopped."] * 2
    assert world.calls("chat.postMessage") == 5
    await world.chat.post(thread, lambda: RATED)
    assert blocks_of(world, thread) == [[], [], ["markdown", "context", "actions", "context_actions"]]


async def test_posts_wait_for_the_budget(world: World) -> None:
    """A burst is spread out instead of being refused by Slack."""
    thread = await world.thread()
    for index in range(4):
        await world.chat.post(thread, partial(Body, f"part {index}"))
    assert 0 < sum(world.clock.slept) < 10


async def test_posts_wait_out_a_429(world: World) -> None:
    """A 429 is waited out, whatever the budget thought."""
    thread = await world.thread()
    world.slack.faults.add(method="chat.postMessage", error="ratelimited", retry_after=7, times=2)
    await world.chat.post(thread, lambda: Body("patience"))
    assert world.shown(thread) == ["patience"]
    assert sum(world.clock.slept) >= 14


async def test_posts_do_not_wait_for_ever(world: World) -> None:
    """An endless 429 ends in an error that says how long."""
    thread = await world.thread()
    world.slack.faults.add(method="chat.postMessage", error="ratelimited", retry_after=50, times=None)
    with pytest.raises(ChatRateLimited) as limited:
        await world.chat.post(thread, lambda: Body("patience"))
    assert limited.value.retry_after == 50
    assert sum(world.clock.slept) <= 120


async def test_edits_never_wait(world: World) -> None:
    """A 429 comes back at once, and the budget knows of it."""
    thread = await world.thread()
    ts = await world.chat.post(thread, lambda: Body("one"))
    world.slack.faults.add(method="chat.update", error="ratelimited", retry_after=9)
    with pytest.raises(ChatRateLimited) as limited:
        await world.chat.edit(thread, ts, Body("two"))
    assert limited.value.retry_after == 9
    assert world.clock.slept == []
    assert world.budget.take(thread.team_id, "chat.update", world.clock.now()) == pytest.approx(9)


async def test_a_lost_answer_does_not_post_twice(world: World) -> None:
    """The connection broke after Slack took the post: the message is found again."""
    thread = await world.thread()
    world.slack.faults.add(method="chat.postMessage", drop="after")
    ts = await world.chat.post(thread, lambda: Body("once"), PartRef(7, 0))
    assert world.shown(thread) == ["once"]
    assert ts == world.slack.messages(thread.channel_id, thread.root_ts)[1].ts


@pytest.mark.parametrize("fault", [{"drop": "before"}, {"status": 503}, {"error": "internal_error"}])
async def test_a_lost_post_is_sent_again(world: World, fault: dict[str, str]) -> None:
    """The post never arrived, and nothing of it is found: it goes out again."""
    thread = await world.thread()
    world.slack.faults.add(method="chat.postMessage", **fault)  # type: ignore[arg-type] # one fault each
    await world.chat.post(thread, lambda: Body("once"), PartRef(7, 0))
    assert world.shown(thread) == ["once"]


async def test_a_lost_post_is_looked_for_before_it_is_sent_again(world: World) -> None:
    """While no answer of Slack's arrives at all, a post is not repeated, by whichever call and however often."""
    thread = await world.thread()
    world.slack.faults.add(method="chat.postMessage", drop="after", times=1)
    lost = world.slack.faults.add(method="conversations.replies", drop="after", times=None)
    for _ in range(3):
        with pytest.raises(ChatUnavailable):
            await world.chat.post(thread, lambda: Body("once"), PartRef(7, 0))
    lost.times = 0
    ts = await world.chat.post(thread, lambda: Body("in other words"), PartRef(7, 0))
    assert world.shown(thread) == ["in other words"]
    assert [part.ts for part in await world.chat.find_parts(thread, 7)] == [ts]
    await world.chat.post(thread, lambda: Body("again"), PartRef(7, 0))
    assert world.shown(thread) == ["in other words", "again"]


async def test_what_cannot_be_found_again_is_not_sent_again(world: World) -> None:
    """Without metadata, or without a way to look for it, a second try might be a second message."""
    thread = await world.thread()
    world.slack.faults.add(method="chat.postMessage", drop="after", times=2)
    with pytest.raises(ChatUnavailable):
        await world.chat.post(thread, lambda: Body("once"))
    world.slack.faults.add(method="conversations.replies", error="missing_scope")
    with pytest.raises(ChatUnavailable):
        await world.chat.post(thread, lambda: Body("once"), PartRef(7, 0))
    assert world.shown(thread) == ["once", "once"]


async def test_a_slack_that_is_away(world: World) -> None:
    """Where nothing listens, nothing was sent: the post is tried again and then given up."""
    thread = await world.thread()
    await world.slack.stop()
    with pytest.raises(NotSent):
        await world.chat.post(thread, lambda: Body("hello?"))
    assert len(world.clock.slept) == 3
    with pytest.raises(ChatUnavailable):
        await world.chat.edit(thread, "1.1", Body("hello?"))
    assert await world.chat.people(thread.team_id, ["U1"]) == {"U1": Person("U1", "U1")}


@pytest.mark.parametrize("body", ["<html>", "[1, 2]", "null", '"text"', ""])
async def test_answers_that_are_none(body: str, unused_tcp_port: int) -> None:
    """A proxy's page instead of Slack's JSON is an outage, not a crash."""

    async def answer(_request: web.Request) -> web.Response:
        return web.Response(text=body, content_type="text/html" if body.startswith("<") else "application/json")

    app = web.Application()
    app.router.add_route("*", "/api/{method}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", unused_tcp_port).start()
    web_api = WebApi(f"http://127.0.0.1:{unused_tcp_port}/api/")
    for method in ("auth.test", "chat.update", "users.info"):
        with pytest.raises(ChatUnavailable):
            await web_api.call(method, "xoxb-x")
    await web_api.aclose()
    await runner.cleanup()


async def test_gone_and_closed(world: World) -> None:
    """Slack's refusals become our kinds."""
    thread = await world.thread()
    with pytest.raises(MessageGone):
        await world.chat.edit(thread, "1.1", Body("?"))
    world.slack.change_channel(world.general, archived=True)
    with pytest.raises(ThreadClosed) as closed:
        await world.chat.post(thread, lambda: Body("?"))
    assert closed.value.slack_error == "is_archived"
    world.slack.faults.add(method="chat.postMessage", error="something_new")
    with pytest.raises(ChatError) as unknown:
        await world.chat.post(thread, lambda: Body("?"))
    assert (type(unknown.value), unknown.value.slack_error) == (ChatError, "something_new")
    with pytest.raises(ThreadClosed, match="not installed"):
        await world.chat.post(ThreadKey("T0OTHER", "C1", "1.1"), lambda: Body("?"))


async def test_delete(world: World) -> None:
    """A message of ours disappears; one that is gone already is no error."""
    thread = await world.thread()
    ts = await world.chat.post(thread, lambda: Body("oops"))
    await world.chat.delete(thread, ts)
    await world.chat.delete(thread, ts)
    assert world.shown(thread) == []


async def test_whisper(world: World) -> None:
    """One person reads it, as it is written."""
    thread = await world.thread()
    await world.chat.whisper(thread, world.ada, "Wait <a bit>")
    (whisper,) = world.slack.whispers
    assert (whisper.ephemeral_to, whisper.text, whisper.thread_ts) == (world.ada, "Wait &lt;a bit&gt;", thread.root_ts)


async def test_a_private_question(world: World) -> None:
    """One person sees it, with buttons that know the thread."""
    thread = await world.thread()
    buttons = (Button.TAKE_OVER, Button.JUST_SAY)
    await world.chat.ask_privately(thread, world.ada, "Take <over>?", buttons, "1700000000.000100")
    (question,) = world.slack.whispers
    assert (question.ephemeral_to, question.thread_ts, question.text) == (
        world.ada,
        thread.root_ts,
        "Take &lt;over&gt;?",
    )
    values = [element["value"] for element in question.blocks[1]["elements"]]
    assert values == [f"{thread.root_ts}/1700000000.000100"] * 2


async def test_a_card(world: World) -> None:
    """A card is posted and edited like everything else, and as words where Slack refuses it."""
    thread = await world.thread()
    card = Card("Ada asks for a human", link="https://acme.slack.com/p1")
    ts = await world.chat.post(thread, lambda: Body(card=card, buttons=(Button.CLAIM,), handover_id=7))
    assert blocks_of(world, thread) == [["header", "context", "actions"]]
    await world.chat.edit(thread, ts, Body(card=card, notice="Taken."))
    assert blocks_of(world, thread) == [["header", "context", "section"]]
    world.slack.faults.add(method="chat.update", error="invalid_blocks")
    await world.chat.edit(thread, ts, Body(card=card, notice="Taken."))
    assert world.shown(thread) == ["Ada asks for a human\nhttps://acme.slack.com/p1\n\nTaken."]


# --- under somebody's name ---

OLGA = Person("U0000OLGA", "Olga " * 30, picture="https://pictures.example/olga")


async def test_a_message_under_a_persons_name(world: World) -> None:
    """It has the person's name and picture, which an edit leaves alone; as text alone it has them, too."""
    thread = await world.thread()
    ts = await world.chat.post(thread, lambda: Body(quoted="On its _way_.", speaker=OLGA), PartRef(7, 0))
    await world.chat.edit(thread, ts, Body(quoted="On its way, *really*.", notice="shared: map.png", speaker=OLGA))
    world.slack.faults.add(method="chat.postMessage", error="invalid_blocks")
    await world.chat.post(thread, lambda: Body(quoted="Hello &amp; bye.", speaker=Person("U0000OLGA", "Olga")))
    one, other = world.slack.messages(thread.channel_id, thread.root_ts)[1:]
    assert (one.username, one.icon_url) == (OLGA.name[:80], OLGA.picture)
    assert [block["type"] for block in one.blocks] == ["section", "context"]
    assert one.blocks[0]["text"]["text"] == "On its way, *really*."
    assert (other.username, other.icon_url, other.text) == ("Olga", None, "Hello &amp; bye.")
    edit = next(call.args for call in world.slack.calls if call.method == "chat.update")
    assert "username" not in edit
    assert [(part.index, part.ts) for part in await world.chat.find_parts(thread, 7)] == [(0, ts)]
    said = await world.chat.history(thread, before_ts="9999999999.0", limit=50)
    assert [(remark.text, remark.from_agent) for remark in said[1:]] == [
        ("On its way, *really*.", False),
        ("Hello &amp; bye.", False),
    ]


async def test_a_name_that_slack_may_not_show(caplog: pytest.LogCaptureFixture) -> None:
    """Without its scope the name stands above the words, and the log names the scope once."""
    async with a_world(Grants(scopes={"chat:write", "channels:history"})) as world:
        thread = await world.thread()
        olga = Person("U0000OLGA", "Olga")
        await world.chat.post(thread, lambda: Body(quoted="Hello.", speaker=olga))
        ts = await world.chat.post(thread, lambda: Body(quoted="On its way.", speaker=olga))
        await world.chat.edit(thread, ts, Body(quoted="It is there.", speaker=olga))
        messages = world.slack.messages(thread.channel_id, thread.root_ts)[1:]
        assert [message.text for message in messages] == ["Olga: Hello.", "Olga: It is there."]
        assert blocks_of(world, thread) == [["context", "section"]] * 2
        assert {message.username for message in messages} == {None}
        said = await world.chat.history(thread, before_ts="9999999999.0", limit=50)
        assert [(remark.name, remark.text, remark.from_operator) for remark in said[1:]] == [
            ("Olga", "Hello.", True),
            ("Olga", "It is there.", True),
        ]
    scopes = [record.__dict__["scope"] for record in caplog.records if record.msg == "scope.missing"]
    assert scopes.count("chat:write.customize") == 1


# --- the agent's session ---


async def test_the_session(world: World) -> None:
    """Its state is shown where there is a thread."""
    thread = await world.thread()
    for status in SessionStatus:
        await world.chat.set_session(thread, status)
        assert world.slack.session(thread.channel_id, thread.root_ts) == status
    flat = ThreadKey(thread.team_id, world.slack.dm("ada"), FLAT_ROOT)
    assert not await world.chat.set_session(flat, SessionStatus.CLOSED)
    assert world.calls("agents.sessions.setStatus") == len(SessionStatus)


async def test_no_slot_for_a_session(world: World) -> None:
    """That the agent works is not worth a wait; that it is done must be shown."""
    thread = await world.thread()
    for _ in range(50):
        assert await world.chat.set_session(thread, SessionStatus.PROCESSING)
    assert await world.chat.set_session(thread, SessionStatus.PROCESSING) is None
    assert await world.chat.set_session(thread, SessionStatus.ACTIVE)
    assert world.slack.session(thread.channel_id, thread.root_ts) == SessionStatus.ACTIVE


@pytest.mark.parametrize("error", ["not_authorized", "unknown_method"])
async def test_an_app_without_sessions(world: World, error: str) -> None:
    """Nothing happens, and Slack is asked once an hour."""
    thread = await world.thread()
    world.slack.faults.add(method="agents.sessions.setStatus", error=error, times=None)
    for _ in range(3):
        assert await world.chat.set_session(thread, SessionStatus.SUSPENDED) is False
    assert world.calls("agents.sessions.setStatus") == 1
    world.clock.time += 3_601
    await world.chat.set_session(thread, SessionStatus.SUSPENDED)
    assert world.calls("agents.sessions.setStatus") == 2
    await world.chat.set_session(ThreadKey("T0OTHER", "C1", "1.1"), SessionStatus.SUSPENDED)


# --- operators ---


async def test_operators_are_the_members_of_the_channel(world: World) -> None:
    """Of the channel's members those who are people of the team; asked once a minute."""
    slack, team = world.slack, world.slack.team_id
    support, olga = slack.channels["support"], slack.users["olga"]
    cleo, visitor = slack.add_user("cleo"), slack.add_user("visitor", guest=True)
    for who in (cleo, visitor, slack.users["guest"], slack.users["deploybot"]):
        slack.join(who, support)
    chat = world.with_operators(handover_channel=support)
    assert await chat.operators(team) == frozenset({olga, cleo})
    slack.join(world.ada, support)
    slack.join(cleo, support, leave=True)
    assert await chat.operators(team) == frozenset({olga, cleo})
    world.clock.time += 61
    assert await chat.operators(team) == frozenset({olga, world.ada})
    assert world.calls("conversations.members") == 2


async def test_operators_who_left(world: World) -> None:
    """Who has left the workspace is no operator, even if Slack still lists them."""
    slack, team = world.slack, world.slack.team_id
    slack.dismiss(slack.users["olga"])
    slack.join(slack.users["olga"], slack.channels["support"])
    assert await world.with_operators(handover_channel=slack.channels["support"]).operators(team) == frozenset()
    assert await world.with_operators(operator_group="S0OPERATOR").operators(team) == frozenset()


async def test_operators_of_a_group_and_a_list(world: World) -> None:
    """A group or a list stands instead of the channel; both count, and even there a guest or a bot does not."""
    slack, team = world.slack, world.slack.team_id
    support, olga, ben = slack.channels["support"], slack.users["olga"], slack.users["ben"]
    slack.join(world.ada, support)
    listed = frozenset({ben, slack.users["guest"], slack.users["deploybot"], "U0UNKNOWN"})
    for settings, expected in (
        ({"operator_group": "S0OPERATOR"}, [olga]),
        ({"operators": listed}, [ben, "U0UNKNOWN"]),
        ({"operators": listed, "operator_group": "S0OPERATOR"}, [olga, ben, "U0UNKNOWN"]),
        ({}, []),
    ):
        chat = world.with_operators(handover_channel=support if settings else "", **settings)
        assert await chat.operators(team) == frozenset(expected)
    assert not world.calls("conversations.members")


async def test_operators_that_cannot_be_known(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """Where Slack does not tell, the last known are taken, else who is listed; it is asked again soon."""
    slack, team = world.slack, world.slack.team_id
    support, olga = slack.channels["support"], slack.users["olga"]
    chat = world.with_operators(handover_channel=support)
    slack.faults.add(method="conversations.members", error="fetch_members_failed")
    assert await chat.operators(team) is None
    assert await chat.operators(team) is None
    world.clock.time += 6
    assert await chat.operators(team) == frozenset({olga})
    world.clock.time += 61
    slack.faults.add(method="conversations.members", status=503)
    assert await chat.operators(team) == frozenset({olga})
    listed = world.with_operators(operators=frozenset({olga}), operator_group="S0NONE")
    assert await listed.operators(team) == frozenset({olga})
    assert await listed.operators("T0OTHER") == frozenset({olga})
    told = [record.__dict__["error"] for record in caplog.records if record.msg == "operators.unknown"]
    assert told[0] == "conversations.members: fetch_members_failed"
    assert len(told) == 4


async def test_operators_nobody_waits_for(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody has pressed a button and waits: a Slack that takes too long is not waited for; many ask as one."""
    monkeypatch.setattr(operators, "ASK_SECONDS", 0.01)
    slack, team = world.slack, world.slack.team_id
    chat = world.with_operators(handover_channel=slack.channels["support"])
    slack._web_api.latency = 0.2
    found = await asyncio.gather(*(chat.operators(team) for _ in range(20)))
    assert set(found) == {None}
    slack._web_api.latency = 0.0
    await slack.wait(lambda: world.calls("conversations.members") == 1)


@pytest.mark.parametrize("scope", ["groups:read", "users:read"])
async def test_operators_without_a_scope(scope: str, caplog: pytest.LogCaptureFixture) -> None:
    """Nobody is taken for an operator on trust, and the log names what is missing."""
    granted = {"chat:write", "channels:history", "groups:read", "users:read"} - {scope}
    async with a_world(Grants(scopes=granted)) as world:
        chat = world.with_operators(handover_channel=world.slack.channels["support"])
        assert not await chat.operators(world.slack.team_id)
    assert scope in [record.__dict__["scope"] for record in caplog.records if record.msg == "scope.missing"]


async def test_a_large_channel_of_operators(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its members come in pages, and there is a last page we read."""
    monkeypatch.setattr(operators, "PAGE", 2)
    monkeypatch.setattr(operators, "PAGES", 3)
    slack, support = world.slack, world.slack.channels["support"]
    for number in range(8):
        slack.join(slack.add_user(f"a{number}"), support)
    found = await world.with_operators(handover_channel=support).operators(slack.team_id)
    assert world.calls("conversations.members") == 3
    assert found
    assert 5 <= len(found) <= 6


# --- addresses of messages ---


async def test_permalinks(world: World) -> None:
    """The address of a message, asked once; of one that is gone there is none."""
    thread = await world.thread()
    message = MessageRef(thread.channel_id, thread.root_ts)
    link = await world.chat.permalink(message, thread.team_id)
    assert link.endswith(f"/archives/{thread.channel_id}/p{thread.root_ts.replace('.', '')}")
    assert await world.chat.permalink(message, thread.team_id) == link
    assert world.calls("chat.getPermalink") == 1
    assert await world.chat.permalink(MessageRef(thread.channel_id, "1.1"), thread.team_id) == ""
    assert await world.chat.permalink(message, "T0OTHER") == ""


# --- the status ---


async def test_status(world: World) -> None:
    """A status is shown and cleared."""
    thread = await world.thread()
    assert await world.chat.set_status(thread, "is thinking…")
    assert world.slack.status(thread.channel_id, thread.root_ts) == "is thinking…"
    assert await world.chat.set_status(thread, "")
    assert world.slack.status(thread.channel_id, thread.root_ts) == ""


async def test_a_team_without_statuses_is_remembered(world: World) -> None:
    """Where the app may not set a status, Slack is asked once an hour."""
    thread = await world.thread()
    world.slack.faults.add(method="assistant.threads.setStatus", error="missing_scope", times=None)
    for _ in range(3):
        assert not await world.chat.set_status(thread, "is thinking…")
    assert world.calls("assistant.threads.setStatus") == 1
    world.clock.time += 3_601
    assert not await world.chat.set_status(thread, "is thinking…")
    assert world.calls("assistant.threads.setStatus") == 2


@pytest.mark.parametrize("fault", [{"error": "ratelimited"}, {"error": "channel_not_found"}, {"status": 502}])
async def test_a_status_is_never_worth_a_wait(world: World, fault: dict[str, str]) -> None:
    """Every other trouble costs this status only, and no time."""
    thread = await world.thread()
    world.slack.faults.add(method="assistant.threads.setStatus", **fault)  # type: ignore[arg-type] # one fault each
    assert not await world.chat.set_status(thread, "is thinking…")
    assert world.clock.slept == []
    world.clock.time += 60
    assert await world.chat.set_status(thread, "is thinking…")


# --- the mark of a waiting message ---


async def test_the_mark(world: World) -> None:
    """An hourglass comes and goes, however often that is asked for."""
    thread = await world.thread()
    ts = await world.slack.say(world.ada, world.general, "and then?", thread_ts=thread.root_ts)
    for _ in range(2):
        assert await world.chat.mark_waiting(thread, ts)
    (message,) = world.slack.messages(thread.channel_id, thread.root_ts)[1:]
    assert message.reactions == {"hourglass_flowing_sand": (world.slack.bot_user_id,)}
    assert [await world.chat.unmark_waiting(thread, ts) for _ in range(2)] == [True, False]
    (message,) = world.slack.messages(thread.channel_id, thread.root_ts)[1:]
    assert message.reactions == {}


async def test_the_mark_of_a_message_that_is_gone(world: World) -> None:
    """Nothing is left to be marked, and nobody to be told."""
    thread = await world.thread()
    ts = await world.slack.say(world.ada, world.general, "never mind", thread_ts=thread.root_ts)
    await world.slack.delete_message(world.ada, world.general, ts)
    assert await world.chat.mark_waiting(thread, ts)
    assert await world.chat.unmark_waiting(thread, ts)


async def test_a_team_without_marks_is_remembered(world: World) -> None:
    """Where the app may not react, the caller learns it, and Slack is asked once an hour."""
    thread = await world.thread()
    for method in ("reactions.add", "reactions.remove"):
        world.slack.faults.add(method=method, error="missing_scope", times=None)
    for _ in range(2):
        assert not await world.chat.mark_waiting(thread, thread.root_ts)
        assert not await world.chat.unmark_waiting(thread, thread.root_ts)
    assert (world.calls("reactions.add"), world.calls("reactions.remove")) == (1, 1)
    world.clock.time += 3_601
    assert not await world.chat.mark_waiting(thread, thread.root_ts)
    assert world.calls("reactions.add") == 2


@pytest.mark.parametrize(
    ("fault", "known"),
    [({"error": "ratelimited"}, False), ({"error": "thread_locked"}, False), ({"status": 502}, None)],
)
async def test_a_mark_that_fails(world: World, fault: dict[str, str], known: bool | None) -> None:  # noqa: FBT001 - a case
    """Other trouble costs this mark at most, which may be there all the same; after it the next one is put."""
    thread = await world.thread()
    world.slack.faults.add(method="reactions.add", **fault, retry_after=30)  # type: ignore[arg-type] # one fault each
    assert await world.chat.mark_waiting(thread, thread.root_ts) is known
    world.clock.time += 60
    assert await world.chat.mark_waiting(thread, thread.root_ts)


@pytest.mark.parametrize(
    ("fault", "is_off"),
    [
        ({"error": "ratelimited", "retry_after": 80}, None),
        ({"status": 502}, None),
        ({"error": "thread_locked"}, False),
        ({"error": "message_not_found"}, True),
    ],
)
async def test_a_mark_that_stays(world: World, fault: dict[str, Any], is_off: bool | None) -> None:  # noqa: FBT001 - a case
    """The caller learns whether another try may help."""
    thread = await world.thread()
    assert await world.chat.mark_waiting(thread, thread.root_ts)
    world.slack.faults.add(method="reactions.remove", **fault)
    assert await world.chat.unmark_waiting(thread, thread.root_ts) is is_off


async def test_marks_stay_within_the_budget(world: World) -> None:
    """A burst of waiting messages is not worth a refusal: some are told in another way; taking marks off has time."""
    thread = await world.thread()
    put = [await world.chat.mark_waiting(thread, thread.root_ts) for _ in range(51)]
    assert put == [True] * 50 + [False]
    for _ in range(21):
        await world.chat.unmark_waiting(thread, thread.root_ts)
    assert world.calls("reactions.remove") == 21
    assert 0 < sum(world.clock.slept) < 62


# --- reading ---


async def test_history_of_a_thread(world: World) -> None:
    """Who said what, oldest first, the newest kept, the agent's words as it said them."""
    thread = await world.thread("root")
    ben = world.slack.users["ben"]
    await world.chat.post(thread, lambda: Body("The **answer**"))
    await world.chat.post(thread, lambda: Body(notice="A sentence of ours."))
    second = await world.slack.say(ben, world.general, "and then?", thread_ts=thread.root_ts)
    last = await world.slack.say(world.ada, world.general, "now", thread_ts=thread.root_ts)
    said = await world.chat.history(thread, before_ts=last, limit=50)
    assert [(one.user_id, one.text, one.from_agent) for one in said] == [
        (world.ada, "root", False),
        (world.slack.bot_user_id, "The **answer**", True),
        (ben, "and then?", False),
    ]
    assert await world.chat.history(thread, before_ts=last, limit=1) == [ContextMessage(second, ben, "and then?")]


async def test_history_of_a_flat_dm(world: World) -> None:
    """The DM itself, without the threads in it."""
    dm = world.slack.dm("ada")
    first = await world.slack.say(world.ada, dm, "one")
    await world.slack.say(world.ada, dm, "in a thread", thread_ts=first)
    await world.slack.say(world.ada, dm, "two")
    last = await world.slack.say(world.ada, dm, "three")
    thread = ThreadKey(world.slack.team_id, dm, FLAT_ROOT)
    assert [one.text for one in await world.chat.history(thread, before_ts=last, limit=50)] == ["one", "two"]


async def test_history_that_may_not_be_read(world: World) -> None:
    """The caller learns why and can go on without."""
    thread = await world.thread()
    world.slack.faults.add(method="conversations.replies", error="missing_scope")
    with pytest.raises(ChatError) as refused:
        await world.chat.history(thread, before_ts="9999999999.0", limit=50)
    assert refused.value.slack_error == "missing_scope"


async def test_long_threads_are_paged(world: World) -> None:
    """The newest messages of a thread of two pages."""
    thread = await world.thread()
    for number in range(1_002):
        await world.slack.say(world.ada, world.general, str(number), thread_ts=thread.root_ts)
    last = await world.slack.say(world.ada, world.general, "now", thread_ts=thread.root_ts)
    said = await world.chat.history(thread, before_ts=last, limit=2)
    assert [one.text for one in said] == ["1000", "1001"]
    assert world.calls("conversations.replies") == 2


async def test_find_parts(world: World) -> None:
    """The parts of one turn, by index, the older of two for the same part."""
    thread = await world.thread()
    first = await world.chat.post(thread, lambda: Body("zero"), PartRef(7, 0))
    again = await world.chat.post(thread, lambda: Body("zero again"), PartRef(7, 0))
    await world.chat.post(thread, lambda: Body("other"), PartRef(8, 0))
    second = await world.chat.post(thread, lambda: Body(notice="Still working…"), PartRef(7, 1))
    assert await world.chat.find_parts(thread, 7) == [
        PartRecord(0, first, chars=4),
        PartRecord(1, second, placeholder=True),
    ]
    assert await world.chat.find_parts(thread, 9) == []
    assert [part.ts for part in await world.chat.find_all_parts(thread, 7)] == [first, again, second]


async def test_endless_threads_are_cut(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is a last page we read."""
    monkeypatch.setattr(calls, "PAGE", 2)
    monkeypatch.setattr(calls, "PAGES", 2)
    thread = await world.thread("root")
    for number in range(6):
        await world.slack.say(world.ada, world.general, str(number), thread_ts=thread.root_ts)
    said = await world.chat.history(thread, before_ts="9999999999.0", limit=50)
    assert [one.text for one in said] == ["root", "0", "1", "2", "3"]


# --- names ---


async def test_people(world: World) -> None:
    """Display names, asked once; who is unknown is called by the id."""
    team, bot = world.slack.team_id, world.slack.users["deploybot"]
    wanted = [world.ada, bot, "U0NOBODY"]
    expected = {
        world.ada: Person(world.ada, "Ada", picture=f"{world.slack.page_url}pictures/{world.ada}"),
        bot: Person(bot, "deploybot", is_bot=True, picture=f"{world.slack.page_url}pictures/{bot}"),
        "U0NOBODY": Person("U0NOBODY", "U0NOBODY"),
    }
    assert await world.chat.people(team, wanted) == expected
    assert await world.chat.people(team, wanted) == expected
    assert world.calls("users.info") == 3
    world.clock.time += 61
    await world.chat.people(team, wanted)
    assert world.calls("users.info") == 4
    world.clock.time += 3_601
    await world.chat.people(team, [world.ada])
    assert world.calls("users.info") == 5


def test_guests() -> None:
    """People of other teams and limited accounts are guests; people of the same organization are none."""
    is_guest = names._is_guest
    ours: list[dict[str, Any]] = [
        {},
        {"team_id": "T1"},
        {"team_id": "T1", "is_restricted": False},
        {"team_id": "T2", "enterprise_user": {"teams": ["T1", "T2"]}},
    ]
    assert not any(is_guest(record, "T1") for record in ours)
    assert is_guest({"team_id": ["T1"], "enterprise_user": {"teams": [["T1"]]}}, "T1")
    marks = ("is_restricted", "is_ultra_restricted", "is_stranger")
    guests = [{"team_id": "T1", mark: True} for mark in marks]
    guests += [{"team_id": "T2"}, {"team_id": "T2", "enterprise_user": {"teams": None}}]
    assert all(is_guest(record, "T1") for record in guests)


async def test_names_are_not_waited_for(world: World) -> None:
    """Where Slack wants a pause, ids will do."""
    world.budget.cool_off(world.slack.team_id, "users.info", world.clock.now(), 30)
    assert await world.chat.people(world.slack.team_id, [world.ada]) == {world.ada: Person(world.ada, world.ada)}
    assert (world.calls("users.info"), world.clock.slept) == (0, [])


async def test_names_are_forgotten_when_there_are_too_many(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The memory for names is bounded."""
    monkeypatch.setattr(names, "REMEMBERED", 1)
    for _ in range(2):
        await world.chat.people(world.slack.team_id, [world.ada, world.slack.users["ben"]])
    assert world.calls("users.info") > 2


async def test_an_unreadable_bot(world: World) -> None:
    """An integration without a user is called by its id where Slack does not tell."""
    assert await world.chat.people(world.slack.team_id, ["B0HOOK"]) == {
        "B0HOOK": Person("B0HOOK", "B0HOOK", is_bot=True)
    }


async def test_channel_names(world: World) -> None:
    """Names without #; what has none or cannot be read is left out."""
    wanted = [world.general, world.slack.dm("ada"), "C0NOWHERE"]
    assert await world.chat.channel_names(world.slack.team_id, wanted) == {world.general: "general"}
    calls = world.calls("conversations.info")
    await world.chat.channel_names(world.slack.team_id, [world.general, "C0NOWHERE"])
    assert world.calls("conversations.info") == calls


# --- secrets ---


async def test_no_text_in_the_log(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """Even with everything logged, neither words nor tokens are."""
    caplog.set_level(logging.DEBUG)
    thread = await world.thread()
    world.slack.faults.add(method="chat.postMessage", error="invalid_blocks")
    await world.chat.post(thread, lambda: Body("classified"))
    await world.chat.people(thread.team_id, ["U0NOBODY"])
    assert "blocks.refused" in caplog.text
    logged = "\n".join(str(vars(record)) for record in caplog.records)
    assert "classified" not in logged
    assert "xoxb" not in logged
