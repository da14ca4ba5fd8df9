"""The ``Chat`` port against a Slack on real sockets."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from functools import partial

import pytest
from aiohttp import web

from slackbot.budget import Budget
from slackbot.domain import FLAT_ROOT, Body, Button, ContextMessage, PartRecord, PartRef, Person, ThreadKey
from slackbot.errors import (
    BodyRefused,
    ChatError,
    ChatRateLimited,
    ChatUnavailable,
    MessageGone,
    ThreadClosed,
)
from slackbot.simulator.slack import SlackSimulator
from slackbot.slack import client, names
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
        self.clock = Clock()
        self.budget = Budget()
        self.chat = SlackChat(web_api, installations, self.budget, now=self.clock.now, sleep=self.clock.sleep)
        self.ada = slack.users["ada"]
        self.general = slack.channels["general"]

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
    slack = SlackSimulator(latency=0.0, enforce_limits=False)
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
    for _ in range(2):
        await world.chat.unmark_waiting(thread, ts)
    (message,) = world.slack.messages(thread.channel_id, thread.root_ts)[1:]
    assert message.reactions == {}


async def test_the_mark_of_a_message_that_is_gone(world: World) -> None:
    """Nothing is left to be marked, and nobody to be told."""
    thread = await world.thread()
    ts = await world.slack.say(world.ada, world.general, "never mind", thread_ts=thread.root_ts)
    await world.slack.delete_message(world.ada, world.general, ts)
    assert await world.chat.mark_waiting(thread, ts)
    await world.chat.unmark_waiting(thread, ts)


async def test_a_team_without_marks_is_remembered(world: World) -> None:
    """Where the app may not react, the caller learns it, and Slack is asked once an hour."""
    thread = await world.thread()
    for method in ("reactions.add", "reactions.remove"):
        world.slack.faults.add(method=method, error="missing_scope", times=None)
    for _ in range(2):
        assert not await world.chat.mark_waiting(thread, thread.root_ts)
        await world.chat.unmark_waiting(thread, thread.root_ts)
    assert (world.calls("reactions.add"), world.calls("reactions.remove")) == (1, 1)
    world.clock.time += 3_601
    assert not await world.chat.mark_waiting(thread, thread.root_ts)
    assert world.calls("reactions.add") == 2


@pytest.mark.parametrize("fault", [{"error": "ratelimited"}, {"error": "thread_locked"}, {"status": 502}])
async def test_a_mark_that_fails(world: World, fault: dict[str, str]) -> None:
    """Other trouble costs this mark at most; after it the next one is put."""
    thread = await world.thread()
    world.slack.faults.add(method="reactions.add", **fault, retry_after=30)  # type: ignore[arg-type] # one fault each
    assert not await world.chat.mark_waiting(thread, thread.root_ts)
    world.clock.time += 60
    assert await world.chat.mark_waiting(thread, thread.root_ts)


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
    await world.chat.post(thread, lambda: Body("zero again"), PartRef(7, 0))
    await world.chat.post(thread, lambda: Body("other"), PartRef(8, 0))
    second = await world.chat.post(thread, lambda: Body(notice="Still working…"), PartRef(7, 1))
    assert await world.chat.find_parts(thread, 7) == [PartRecord(0, first), PartRecord(1, second, placeholder=True)]
    assert await world.chat.find_parts(thread, 9) == []


async def test_endless_threads_are_cut(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is a last page we read."""
    monkeypatch.setattr(client, "PAGE", 2)
    monkeypatch.setattr(client, "PAGES", 2)
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
        world.ada: Person(world.ada, "Ada"),
        bot: Person(bot, "deploybot", is_bot=True),
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
