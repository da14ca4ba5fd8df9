"""Files of the agent come into the thread: whole, once, in order, and every refusal has a name."""

from __future__ import annotations

import asyncio
import gc
import hashlib
import logging
import os
import tracemalloc
from collections.abc import AsyncIterator
from io import BytesIO
from tempfile import SpooledTemporaryFile
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from slackbot.budget import Budget
from slackbot.domain import FLAT_ROOT, Body, FileBytes, FileTrouble, ThreadKey
from slackbot.errors import ChatError, ChatRateLimited, ChatUnavailable, FileRefused, ThreadClosed
from slackbot.simulator.slack import Grants, SlackSimulator, limits
from slackbot.slack import uploads
from slackbot.slack.client import SlackChat
from slackbot.slack.installations import Installations
from slackbot.slack.web import WebApi

GET, COMPLETE, INFO = "files.getUploadURLExternal", "files.completeUploadExternal", "files.info"
PNG = b"\x89PNG\r\n\x1a\n" + bytes(100)


class Clock:
    """Time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.time = 1_000.0

    def now(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        self.time += seconds
        await asyncio.sleep(0)


class World:
    """A simulated workspace that shares at once, and the client under test, whose time passes only while it sleeps."""

    def __init__(self, slack: SlackSimulator, web_api: WebApi, installations: Installations) -> None:
        self.slack = slack
        self.clock = Clock()
        self.budget = Budget()
        hosts = {slack.page_url.split("/")[2]}
        time: Any = {"now": self.clock.now, "sleep": self.clock.sleep}
        self.chat = SlackChat(web_api, installations, self.budget, file_hosts=hosts, **time)
        self.patient = SlackChat(web_api, installations, self.budget, file_hosts=hosts)
        self.general = slack.channels["general"]

    async def thread(self, channel: str = "") -> ThreadKey:
        """A thread that Ada starts."""
        place, ada = channel or self.general, self.slack.users["ada"]
        return ThreadKey(self.slack.team_id, place, await self.slack.say(ada, place, "hello"))

    def shared(self, thread: ThreadKey) -> list[str]:
        """Names of the files the bot shared in the thread, in order."""
        messages = self.slack.messages(thread.channel_id, thread.root_ts or None)
        return [file["name"] for message in messages for file in message.files]

    def content(self, thread: ThreadKey) -> bytes:
        """The bytes of the newest file in the thread."""
        [file] = self.slack.messages(thread.channel_id, thread.root_ts or None)[-1].files
        return self.slack.files._contents[file["id"]]

    def calls(self, method: str) -> list[dict[str, Any]]:
        """The arguments of every call of a method."""
        return [call.args for call in self.slack.calls if call.method == method]


def file(content: bytes = b"some bytes", name: str = "notes.txt", media_type: str = "text/plain") -> FileBytes:
    """A file at hand, whose reader stands at its end."""
    at_hand = BytesIO()
    at_hand.write(content)
    return FileBytes(name, media_type, len(content), at_hand)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """A workspace without latency and the client on it."""
    async with opened() as found:
        yield found


class opened:  # noqa: N801  it reads as a function
    """A workspace with the given grants."""

    def __init__(self, grants: Grants | None = None) -> None:
        self.slack = SlackSimulator(latency=0.0, enforce_limits=False, grants=grants)
        self.slack.uploads.share_seconds = 0.0

    async def __aenter__(self) -> World:
        await self.slack.start()
        self.web_api = WebApi(self.slack.api_url)
        installations = await Installations.single(self.web_api, self.slack.bot_token)
        self.world = World(self.slack, self.web_api, installations)
        return self.world

    async def __aexit__(self, *_: object) -> None:
        await self.world.chat.aclose()
        await self.world.patient.aclose()
        await self.web_api.aclose()
        await self.slack.stop()


# --- what arrives ---


@pytest.mark.parametrize("size", [1, 100, uploads.CHUNK, 3 * uploads.CHUNK + 1])
async def test_a_file_arrives_whole(world: World, size: int) -> None:
    """Every byte, under its name, in the thread, as a message of ours."""
    thread, content = await world.thread(), os.urandom(size)
    await world.chat.upload(thread, file(content, "Bericht für März.bin", "application/octet-stream"))
    assert hashlib.sha256(world.content(thread)).digest() == hashlib.sha256(content).digest()
    message = world.slack.messages(thread.channel_id, thread.root_ts)[-1]
    assert (message.user, message.subtype, message.thread_ts) == (
        world.slack.bot_user_id,
        "file_share",
        thread.root_ts,
    )
    assert [shared["title"] for shared in message.files] == ["Bericht für März.bin"]
    assert world.calls(INFO) == []


async def test_a_flat_dm_and_a_private_channel(world: World) -> None:
    """Outside threads there is no thread; private places are looked for where Slack lists them."""
    world.slack.uploads.answer_tells = False
    for thread in (
        ThreadKey(world.slack.team_id, world.slack.dm("ada"), FLAT_ROOT),
        await world.thread(world.slack.channels["secret-project"]),
    ):
        await world.chat.upload(thread, file())
        assert world.shared(thread) == ["notes.txt"]
    assert [("thread_ts" in call) for call in world.calls(COMPLETE)] == [False, True]


async def test_a_file_without_a_name_gets_one(world: World) -> None:
    """Slack takes no file without a name."""
    thread = await world.thread()
    await world.chat.upload(thread, file(name=""))
    assert world.shared(thread) == ["file"]


async def test_alt_text_is_for_images(world: World) -> None:
    """An image is described, within Slack's limit; the description of anything else would keep it from being shared."""
    thread = await world.thread()
    await world.chat.upload(thread, file(PNG, "a.png", "image/png"), alt="🙂" * 2_000)
    await world.chat.upload(thread, file(b"%PDF", "a.pdf", "application/pdf"), alt="A report")
    await world.chat.upload(thread, file(PNG, "b.png", "image/png"))
    assert [len(str(call.get("alt_txt") or "")) for call in world.calls(GET)] == [uploads.ALT_CHARACTERS, 0, 0]
    assert world.slack.messages(thread.channel_id, thread.root_ts)[1].files[0]["alt_txt"].startswith("🙂")


async def test_the_token_stays_with_the_web_api(world: World) -> None:
    """The upload address gets the bytes and their length, not the token."""
    await world.chat.upload(await world.thread(), file())
    [headers] = world.slack.uploads.received
    assert "Authorization" not in headers
    assert world.slack.bot_token not in str(headers)
    assert headers["Content-Length"] == "10"
    assert "Transfer-Encoding" not in headers


@pytest.mark.parametrize(
    "url",
    [
        "http://files.slack.com/",
        "https://files.slack.com.evil.example/upload",
        "https://evil.example/files.slack.com/",
        "https://files.slack.com@evil.example/",
        "",
    ],
)
async def test_bytes_go_to_slack_only(world: World, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An upload address that is not Slack's is not used."""
    monkeypatch.setattr(world.slack._workspace, "base_url", url)
    monkeypatch.setattr("slackbot.simulator.slack.uploads.secrets.token_urlsafe", lambda _size: "")
    thread = await world.thread()
    with pytest.raises(FileRefused) as refused:
        await world.chat.upload(thread, file())
    assert refused.value.trouble is FileTrouble.UNREADABLE
    assert world.slack.uploads.received == []
    assert world.calls(COMPLETE) == []


async def test_a_redirect_is_not_followed(world: World) -> None:
    """The bytes go where Slack said, and nowhere else."""
    world.slack.faults.add(method="upload", status=307)
    with pytest.raises(FileRefused, match="HTTP 307"):
        await world.chat.upload(await world.thread(), file())


# --- order ---


async def test_what_is_posted_next_comes_below(world: World) -> None:
    """Slack shares in its own time; the call returns when the file stands in the thread."""
    world.slack.uploads.share_seconds = 0.3
    thread = await world.thread()
    await world.patient.upload(thread, file(name="first.txt"))
    await world.patient.upload(thread, file(name="second.txt"))
    await world.patient.post(thread, lambda: Body("and this is what they say"))
    shown = [
        "".join(found["name"] for found in message.files) or message.shown
        for message in world.slack.messages(thread.channel_id, thread.root_ts)[1:]
    ]
    assert shown == ["first.txt", "second.txt", "and this is what they say"]


async def test_only_looking_tells(world: World) -> None:
    """Where the answer does not name the share, files.info does."""
    world.slack.uploads.answer_tells = False
    await world.chat.upload(await world.thread(), file())
    assert len(world.calls(INFO)) == 1


async def test_a_share_that_does_not_appear(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """After a while we go on: order may suffer then, and the log says so."""
    world.slack.uploads.share_seconds = 3_600.0
    thread, before = await world.thread(), world.clock.time
    await world.chat.upload(thread, file())
    assert world.clock.time - before == uploads.SEEN_SECONDS
    assert 5 < len(world.calls(INFO)) < 15
    assert len(world.calls(COMPLETE)) == 1
    assert [record.msg for record in caplog.records] == ["upload.unseen"]
    assert caplog.records[0].__dict__["where"] == str(thread)


async def test_looking_meets_trouble(world: World) -> None:
    """A 429 or a lost answer while looking is waited out."""
    world.slack.uploads.answer_tells = False
    world.slack.faults.add(method=INFO, error="ratelimited", retry_after=2)
    world.slack.faults.add(method=INFO, drop="before")
    world.slack.faults.add(method=INFO, error="ratelimited", retry_after=60)
    await world.chat.upload(await world.thread(), file())
    assert world.clock.time > 1_002


async def test_without_the_scope_to_look(caplog: pytest.LogCaptureFixture) -> None:
    """Without files:read the file is shared all the same; we wait a moment instead of looking."""
    async with opened(Grants(scopes={"channels:history", "chat:write", "files:write"})) as world:
        world.slack.uploads.answer_tells = False
        thread = await world.thread()
        with caplog.at_level(logging.INFO):
            await world.chat.upload(thread, file())
        assert world.shared(thread) == ["notes.txt"]
        assert len(world.calls(INFO)) == 1
    assert "scope.missing" in {record.msg for record in caplog.records}


async def test_a_share_is_a_message(world: World) -> None:
    """It takes one of the channel's slots for messages, in order with them."""
    thread = await world.thread()
    for _ in range(3):
        await world.chat.post(thread, lambda: Body("text"))
    before = world.clock.time
    await world.chat.upload(thread, file())
    assert world.clock.time - before == pytest.approx(3.25)


# --- each file once ---


@pytest.mark.parametrize("fault", [{"drop": "before"}, {"drop": "after"}, {"status": 503}, {"status": 429}])
async def test_bytes_are_sent_again_from_their_start(world: World, fault: dict[str, Any]) -> None:
    """Nobody sees what is not shared yet: a broken upload begins anew, with all the bytes."""
    world.slack.faults.add(method="upload", times=2, **fault)
    thread, content = await world.thread(), os.urandom(200_000)
    await world.chat.upload(thread, file(content))
    assert world.content(thread) == content
    assert len(world.calls(GET)) == 3


async def test_an_address_is_asked_for_again(world: World) -> None:
    """So does an upload whose address did not come."""
    world.slack.faults.add(method=GET, drop="after")
    world.slack.faults.add(method=GET, error="ratelimited", retry_after=3)
    thread = await world.thread()
    await world.chat.upload(thread, file())
    assert world.shared(thread) == ["notes.txt"]


async def test_bytes_that_never_arrive(world: World) -> None:
    """After some tries it is over, and nothing was shared."""
    world.slack.faults.add(method="upload", drop="before", times=None)
    thread = await world.thread()
    with pytest.raises(ChatUnavailable):
        await world.chat.upload(thread, file())
    assert len(world.calls(GET)) == uploads.TRIES
    assert (world.shared(thread), world.calls(COMPLETE)) == ([], [])


LOSS: Any = st.sampled_from([{"drop": "before"}, {"drop": "after"}, {"error": "internal_error"}])


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(losses=st.lists(LOSS, max_size=3), again=st.booleans(), tells=st.booleans(), looks=st.lists(LOSS, max_size=2))
async def test_each_file_once(world: World, losses: list[Any], again: bool, tells: bool, looks: list[Any]) -> None:  # noqa: FBT001
    """Whichever answers get lost, a file stands in the thread once, and at most once when the call fails."""
    slack = world.slack
    slack.faults.clear()
    slack.uploads.completes_again, slack.uploads.answer_tells = again, tells
    for loss in losses:
        slack.faults.add(method=COMPLETE, **loss)
    for look in looks:
        slack.faults.add(method=INFO, **look)
    thread = await world.thread()
    try:
        await world.chat.upload(thread, file())
        failed = False
    except ChatUnavailable:
        failed = True
    shared = world.shared(thread)
    assert shared == ["notes.txt"] if not failed else len(shared) <= 1
    assert not (failed and not looks)


async def test_a_lost_completion_whose_share_never_appears(world: World) -> None:
    """Where it cannot be known whether the file was shared, it is not shared again, and the call says so."""
    world.slack.uploads.known_early = True
    world.slack.faults.add(method=COMPLETE, drop="before")
    thread = await world.thread()
    with pytest.raises(ChatUnavailable, match="not known"):
        await world.chat.upload(thread, file())
    assert world.shared(thread) == []


async def test_a_completion_that_never_arrives(world: World) -> None:
    """After some tries it is over: Slack never heard of the file."""
    world.slack.faults.add(method=COMPLETE, drop="before", times=None)
    with pytest.raises(ChatUnavailable):
        await world.chat.upload(await world.thread(), file())
    assert len(world.calls(INFO)) == uploads.TRIES


async def test_slack_cannot_be_reached_to_complete(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that cannot be made is tried again without looking: nothing happened."""
    thread = await world.thread()
    refused = aiohttp.ClientConnectorError(None, OSError())  # type: ignore[arg-type]
    call, failures = world.chat._web.client.api_call, [refused, refused]

    async def flaky(method: str, **arguments: Any) -> Any:
        if method == COMPLETE and failures:
            raise failures.pop()
        return await call(method, **arguments)

    monkeypatch.setattr(world.chat._web.client, "api_call", flaky)
    await world.chat.upload(thread, file())
    assert world.shared(thread) == ["notes.txt"]
    assert world.calls(INFO) == []


# --- refusals ---


@pytest.mark.parametrize(
    ("method", "code", "trouble"),
    [
        (GET, "file_uploads_disabled", FileTrouble.UPLOADS_OFF),
        (GET, "file_uploads_except_images_disabled", FileTrouble.TYPE_REFUSED),
        (COMPLETE, "file_uploads_except_images_disabled", FileTrouble.TYPE_REFUSED),
        (GET, "file_type_not_allowed", FileTrouble.TYPE_REFUSED),
        (COMPLETE, "file_type_not_allowed", FileTrouble.TYPE_REFUSED),
        (GET, "storage_limit_reached", FileTrouble.STORAGE_FULL),
        (GET, "file_upload_size_restricted", FileTrouble.TOO_BIG_THERE),
        (GET, "missing_argument", FileTrouble.UNREADABLE),
        (GET, "invalid_arguments", FileTrouble.UNREADABLE),
        (COMPLETE, "slack_connect_file_upload_sharing_blocked", FileTrouble.UPLOADS_OFF),
        (COMPLETE, "posting_to_channel_denied", FileTrouble.UPLOADS_OFF),
        (COMPLETE, "user_is_external_guest", FileTrouble.UPLOADS_OFF),
        (COMPLETE, "file_update_failed", FileTrouble.UNREADABLE),
        (COMPLETE, "file_not_found", FileTrouble.UNREADABLE),
    ],
)
async def test_slack_refuses_the_file(world: World, method: str, code: str, trouble: FileTrouble) -> None:
    """Every refusal has a trouble with words for people; Slack's code is for operators."""
    world.slack.faults.add(method=method, error=code)
    thread = await world.thread()
    with pytest.raises(FileRefused, match=code) as refused:
        await world.chat.upload(thread, file())
    assert (refused.value.trouble, refused.value.detail) == (trouble, "")
    assert world.shared(thread) == []


async def test_the_scope_is_missing() -> None:
    """The scope is named."""
    async with opened(Grants(scopes={"channels:history", "chat:write", "files:read"})) as world:
        with pytest.raises(FileRefused) as refused:
            await world.chat.upload(await world.thread(), file())
        assert (refused.value.trouble, refused.value.detail) == (FileTrouble.MISSING_SCOPE, "files:write")


async def test_sizes_slack_does_not_take(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty file is not even offered; one that is too big is refused by Slack, at either door."""
    thread = await world.thread()
    with pytest.raises(FileRefused, match="empty") as refused:
        await world.chat.upload(thread, file(b""))
    assert refused.value.trouble is FileTrouble.EMPTY
    assert world.calls(GET) == []
    world.slack.faults.add(method="upload", status=413)
    with pytest.raises(FileRefused) as refused:
        await world.chat.upload(thread, file())
    assert refused.value.trouble is FileTrouble.TOO_BIG_THERE
    monkeypatch.setattr(limits, "UPLOAD_BYTES", 9)
    with pytest.raises(FileRefused) as refused:
        await world.chat.upload(thread, file())
    assert refused.value.trouble is FileTrouble.TOO_BIG_THERE


async def test_the_upload_address_is_not_good_any_more(world: World) -> None:
    """What the address answers besides is the trouble of this file alone."""
    world.slack.faults.add(method="upload", status=403)
    with pytest.raises(FileRefused, match="HTTP 403") as refused:
        await world.chat.upload(await world.thread(), file())
    assert refused.value.trouble is FileTrouble.UNREADABLE


@pytest.mark.parametrize(
    ("code", "kind"),
    [("channel_not_found", ThreadClosed), ("not_in_channel", ThreadClosed), ("no_such_thing", ChatError)],
)
async def test_trouble_with_the_channel(world: World, code: str, kind: type[ChatError]) -> None:
    """Trouble that is not the file's is told as with any other call."""
    world.slack.faults.add(method=COMPLETE, error=code)
    with pytest.raises(kind) as refused:
        await world.chat.upload(await world.thread(), file())
    assert refused.value.slack_error == code
    world.slack.faults.add(method=GET, error="ratelimited", retry_after=500)
    with pytest.raises(ChatRateLimited):
        await world.chat.upload(await world.thread(), file())


# --- memory ---


async def test_a_big_file_costs_little_memory(world: World) -> None:
    """A file of 24 MB passes in small pieces; the server here throws it away."""
    got = 0

    async def swallow(request: web.Request) -> web.Response:
        nonlocal got
        async for chunk in request.content.iter_chunked(1 << 16):
            got += len(chunk)
        return web.Response(text="OK")

    app = web.Application()
    app.router.add_post("/", swallow)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, size = f"127.0.0.1:{runner.addresses[0][1]}", 24 << 20
    sender = SlackChat(world.chat._web, world.chat._installations, world.budget, file_hosts=[host])
    with SpooledTemporaryFile(max_size=1 << 16) as spool:
        for _ in range(size >> 16):
            spool.write(bytes(1 << 16))
        big = FileBytes("big.bin", "application/octet-stream", size, spool)  # type: ignore[arg-type]
        gc.collect()
        tracemalloc.start()
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        try:
            await sender._uploads._send(f"http://{host}/", big)
            peak = tracemalloc.get_traced_memory()[1] - before
        finally:
            tracemalloc.stop()
    await sender.aclose()
    await runner.cleanup()
    assert got == size
    assert peak < 4 << 20


# --- the simulated Slack ---


async def test_the_simulator_refuses_what_slack_refuses(world: World) -> None:
    """Arguments are checked as Slack documents it; what was not uploaded is not shared."""
    bot = AsyncWebClient(token=world.slack.bot_token, base_url=world.slack.api_url)

    async def refusal(method: str, **arguments: object) -> str:
        with pytest.raises(SlackApiError) as error:
            await bot.api_call(method, params=arguments)
        return str(error.value.response["error"])

    assert await refusal(GET, filename="a", length=0) == "missing_argument"
    assert await refusal(GET, length=1) == "missing_argument"
    assert await refusal(GET, filename="a", length=-1) == "invalid_arguments"
    assert await refusal(GET, filename="a", length="x") == "invalid_arguments"
    assert await refusal(GET, filename="a", length=1, alt_txt="x" * 1_001) == "alt_txt_too_large"
    assert await refusal(GET, filename="a", length=1 << 31) == "file_upload_size_restricted"
    assert await refusal(GET, filename="a", length=1 << 21, snippet_type="python") == "snippet_too_large"
    assert await refusal(COMPLETE) == "invalid_arguments"
    assert await refusal(COMPLETE, files="[{}]") == "invalid_arguments"
    assert await refusal(COMPLETE, files='[{"id":"F1"}]') == "file_not_found"
    ticket = await bot.files_getUploadURLExternal(filename="a.txt", length=3)
    announced = f'[{{"id":"{ticket["file_id"]}"}}]'
    assert await refusal(COMPLETE, files=announced) == "file_not_found"
    assert await refusal(INFO, file=ticket["file_id"]) == "file_not_found"
    async with aiohttp.ClientSession() as session:
        for body, status in ((b"ab", 400), (b"abcd", 413), (b"abc", 200)):
            async with session.post(ticket["upload_url"], data=body) as answer:
                assert answer.status == status
        async with session.post(f"{world.slack.page_url}upload/v1/nowhere", data=b"") as answer:
            assert answer.status == 404
    assert await refusal(COMPLETE, files=announced, channel_id="C0NOWHERE") == "channel_not_found"
    assert await refusal(COMPLETE, files=announced, channel_id=world.general, thread_ts="1.1") == "thread_not_found"
    await bot.files_completeUploadExternal(files=[{"id": ticket["file_id"]}])
    assert (await bot.files_info(file=ticket["file_id"]))["file"]["shares"] == {}
    world.slack.uploads.completes_again = False
    assert await refusal(COMPLETE, files=announced, channel_id=world.general) == "file_not_found"


async def test_the_sdk_uploads_too(world: World) -> None:
    """Slack's own client shares two files with a comment in one message, one of them as a form."""
    bot = AsyncWebClient(token=world.slack.bot_token, base_url=world.slack.api_url)
    two: list[dict[str, Any]] = [
        {"filename": "a.txt", "content": "aaa"},
        {"filename": "b.png", "file": PNG, "alt_txt": "A dot"},
    ]
    await bot.files_upload_v2(file_uploads=two, channel=world.general, initial_comment="Here")
    [message] = world.slack.messages(world.general)
    assert (message.text, [found["name"] for found in message.files]) == ("Here", ["a.txt", "b.png"])
    ticket = await bot.files_getUploadURLExternal(filename="c.txt", length=3)
    form = aiohttp.FormData()
    form.add_field("file", BytesIO(b"ccc"), filename="c.txt")
    async with aiohttp.ClientSession() as session, session.post(ticket["upload_url"], data=form) as answer:
        assert await answer.text() == "OK - 3"


@pytest.mark.parametrize(
    "garbage",
    [
        {"file": "soon"},
        {"file": {"shares": ["x"]}},
        {"file": {"shares": {"public": ["x"]}}},
        {"files": 5},
        {"files": ["x", {"shares": "x"}, {"shares": {"private": 7}}]},
    ],
)
async def test_a_share_of_which_slack_says_nonsense(
    world: World, garbage: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """Then it is not known whether it stands there, and that is all."""
    real = world.chat._web.call

    async def call(method: str, token: str, arguments: Any = None) -> Any:
        answer = await real(method, token, arguments)
        return {"ok": True, **garbage} if method in {INFO, COMPLETE} else answer

    world.chat._web.call = call  # type: ignore[method-assign]
    thread = await world.thread()
    await world.chat.upload(thread, file())
    assert world.shared(thread) == ["notes.txt"]
    assert "upload.unseen" in {record.message for record in caplog.records}


async def test_what_the_bot_hears_of_its_own_file(world: World) -> None:
    """The event of a shared file is a message of our own bot with files."""
    heard: list[dict[str, Any]] = []
    world.slack._dispatcher.publish = lambda events, **_: heard.extend(events)  # type: ignore[method-assign]
    await world.chat.upload(await world.thread(), file())
    event = heard[-1]
    assert (event["subtype"], event["bot_id"], len(event["files"])) == ("file_share", world.slack.bot_id, 1)
