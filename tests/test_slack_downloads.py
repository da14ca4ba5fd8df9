"""Files out of Slack: what it says of them, and their bytes, against a Slack on real sockets."""

from __future__ import annotations

import asyncio
import hashlib
import io
import logging
import random
import socket
import tempfile
import tracemalloc
from collections.abc import AsyncIterator
from typing import Any, BinaryIO, cast
from urllib.parse import urlsplit

import httpx
import pytest

from slackbot.budget import Budget
from slackbot.domain import FileTrouble, SlackFile
from slackbot.errors import ChatError, ChatUnavailable, FileRefused, ThreadClosed
from slackbot.simulator.slack import SlackSimulator
from slackbot.simulator.slack.downloads import LOGIN_PAGE, Trouble
from slackbot.simulator.slack.scopes import ALL_SCOPES, Grants
from slackbot.slack.client import SlackChat
from slackbot.slack.downloads import Downloads
from slackbot.slack.file_info import SCAN_PAUSES, read_file
from slackbot.slack.installations import Installations
from slackbot.slack.web import WebApi
from slackbot.text.media_types import HEAD, true_media_type
from tests.real_files import MB, REAL


class World:
    """A workspace, the client on it, and a list of how long the client slept; nobody really does."""

    def __init__(self, slack: SlackSimulator, web_api: WebApi, installations: Installations) -> None:
        self.slack = slack
        self.slept: list[float] = []
        self.files = slack.files
        self.ada = slack.users["ada"]
        self.general = slack.channels["general"]
        self.host = urlsplit(slack.api_url).netloc
        self.chat = SlackChat(web_api, installations, Budget(), file_hosts={self.host}, sleep=self.sleep)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        await asyncio.sleep(0)

    async def share(self, *files: dict[str, Any]) -> None:
        """Ada shares files in #general."""
        await self.slack.say(self.ada, self.general, "here", files=files)

    async def look_up(self, file: dict[str, Any]) -> SlackFile:
        """Ada shares a file, and the bot asks what it is."""
        await self.share(file)
        return await self.chat.look_up_file(self.slack.team_id, file["id"])

    async def download(self, file: SlackFile, *, most: int = 50 * MB, into: BinaryIO | None = None) -> bytes:
        """The file's bytes."""
        held = into or io.BytesIO()
        size = await self.chat.download(self.slack.team_id, file, held, most=most)
        held.seek(0)
        content = held.read()
        assert len(content) == size
        return content

    async def refused(self, file: SlackFile, *, most: int = 50 * MB) -> FileRefused:
        """Why the bytes do not come."""
        with pytest.raises(FileRefused) as refusal:
            await self.download(file, most=most)
        return refusal.value

    async def trouble(self, file: dict[str, Any]) -> FileTrouble:
        """Why a file cannot be had."""
        with pytest.raises(FileRefused) as refusal:
            await self.look_up(file)
        return refusal.value.trouble

    def order(self, **trouble: Any) -> None:
        """Order a trouble for downloads."""
        self.files.downloads.troubles.append(Trouble(**trouble))

    @property
    def asked(self) -> int:
        """How often somebody asked for bytes."""
        return len(self.files.downloads.asked)


async def workspace(grants: Grants | None = None) -> AsyncIterator[World]:
    """A workspace and a client on it."""
    slack = SlackSimulator(latency=0.0, enforce_limits=False, grants=grants)
    await slack.start()
    web_api = WebApi(slack.api_url)
    world = World(slack, web_api, await Installations.single(web_api, slack.bot_token))
    try:
        yield world
    finally:
        await world.chat.aclose()
        await web_api.aclose()
        await slack.stop()


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """A workspace where everything was granted."""
    async for made in workspace():
        yield made


@pytest.fixture
async def unread() -> AsyncIterator[World]:
    """A workspace where files:read was not granted."""
    async for made in workspace(Grants(scopes=ALL_SCOPES - {"files:read"})):
        yield made


async def test_as_many_at_once_as_are_wanted() -> None:
    """None waits for a connection until its time is over while others use theirs."""
    everybody = asyncio.Barrier(130)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await everybody.wait()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, backlog=200)
    host = "127.0.0.1:{1}".format(*server.sockets[0].getsockname())
    downloads = Downloads([host])
    file = SlackFile("F1", "a", "a/b", 2, f"http://{host}/a")
    try:
        async with asyncio.timeout(15), asyncio.TaskGroup() as tasks:
            for _ in range(130):
                tasks.create_task(downloads.download("xoxb", "", file, io.BytesIO(), most=2))
    finally:
        await downloads.aclose()
        server.close()


# --- real files ---


@pytest.mark.parametrize("name", REAL)
async def test_round_trip(world: World, name: str) -> None:
    """What was uploaded is what comes out, byte for byte, and its type is known."""
    kind, make = REAL[name]
    content = make()
    file = await world.look_up(world.files.add(world.ada, name, content, kind))
    assert (file.name, file.media_type, file.size) == (name, kind, len(content))
    with tempfile.SpooledTemporaryFile(1 * MB) as into:
        got = await world.download(file, into=cast("BinaryIO", into), most=25 * MB)
    assert hashlib.sha256(got).hexdigest() == hashlib.sha256(content).hexdigest()
    assert true_media_type(file, got[:HEAD]) == kind


@pytest.mark.parametrize("name", ["report.pdf", "letter.docx", "dots.png", "song.mp3", "page.html"])
async def test_slack_says_nothing(world: World, name: str) -> None:
    """Without name and type from Slack, the bytes tell what it is."""
    kind, make = REAL[name]
    added = world.files.add(world.ada, name, make(), kind)
    file = await world.look_up(world.files.special.changed(added, name=None, title="", mimetype="", filetype=""))
    assert (file.name, file.media_type) == ("file", "application/octet-stream")
    assert true_media_type(file, (await world.download(file))[:HEAD]) == kind


class Nowhere(io.BytesIO):
    """Keeps nothing, so that what is measured is ours."""

    def write(self, data: Any, /) -> int:
        """Count what comes."""
        return len(data)


async def test_memory(world: World) -> None:
    """A large file passes through in pieces."""
    file = await world.look_up(world.files.add(world.ada, "large.bin", bytes(25 * MB)))
    await world.download(file)
    tracemalloc.start()
    try:
        assert await world.chat.download(world.slack.team_id, file, Nowhere(), most=25 * MB) == 25 * MB
        assert tracemalloc.get_traced_memory()[1] < 8 * MB
    finally:
        tracemalloc.stop()


# --- what Slack says of a file ---


async def test_snippet(world: World) -> None:
    """A snippet is a text file."""
    file = await world.look_up(world.files.special.snippet(world.ada, "print('hi')\n", "hi.py", "python"))
    assert (file.name, file.media_type, file.external) == ("hi.py", "text/plain", False)
    assert await world.download(file) == b"print('hi')\n"


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({}, "audio/mp4"),
        ({"mimetype": ""}, "audio/mp4"),
        ({"mimetype": None, "name": None, "filetype": ""}, "audio/mp4"),
        ({"mimetype": "audio/webm", "name": "audio_message.webm"}, "audio/webm"),
        ({"mimetype": "video/webm"}, "audio/webm"),
        ({"mimetype": "", "name": "clip", "filetype": "webm"}, "audio/webm"),
    ],
)
async def test_voice_clip(world: World, fields: dict[str, Any], kind: str) -> None:
    """A clip is sound, whatever Slack calls it, and brings along what Slack heard."""
    content = b"\0\0\0\x20ftypisom\0\0\2\0"
    file = await world.look_up(world.files.special.voice_clip(world.ada, content, "Hello there", **fields))
    assert (file.media_type, file.transcript) == (kind, "Hello there")
    assert true_media_type(file, await world.download(file)).startswith("audio/")


async def test_transcripts(world: World) -> None:
    """Only what was heard to the end is passed on; a beginning is marked as one."""
    special = world.files.special
    assert (await world.look_up(special.voice_clip(world.ada, b"x"))).transcript == ""
    assert (await world.look_up(special.voice_clip(world.ada, b"x", "a" * 201))).transcript == "a" * 200 + " …"
    odd = special.voice_clip(world.ada, b"x", transcription={"status": "complete", "preview": "heard"})
    assert (await world.look_up(odd)).transcript == ""


async def test_connect_stub(world: World) -> None:
    """What a message from another organization does not say, files.info does; or nobody does."""
    special = world.files.special
    file = await world.look_up(special.connect_stub(world.ada, "plan.txt", b"plan"))
    assert (file.name, await world.download(file)) == ("plan.txt", b"plan")
    assert (
        await world.trouble(special.connect_stub(world.ada, "plan.txt", b"", readable=False)) is FileTrouble.NO_ACCESS
    )


async def test_external(world: World) -> None:
    """A file elsewhere is known by its public address; its bytes are not ours to fetch, and the token stays here."""
    special = world.files.special
    file = await world.look_up(special.external(world.ada, "Plan.pdf", "https://docs.example.com/d/1"))
    assert file.external
    assert (file.name, file.url, file.media_type) == ("Plan.pdf", "https://docs.example.com/d/1", "application/pdf")
    assert (await world.refused(file)).trouble is FileTrouble.UNREADABLE
    for url in ("http://docs.example.com/d/1", "https://10.0.0.1/plan", ""):
        assert await world.trouble(special.external(world.ada, "Plan", url)) is FileTrouble.UNREADABLE
    assert not world.asked


async def test_nothing_to_have(world: World) -> None:
    """What is gone, hidden or only Slack's to show has a reason."""
    special = world.files.special
    assert await world.trouble(special.tombstone(world.ada)) is FileTrouble.GONE
    assert await world.trouble(special.hidden(world.ada)) is FileTrouble.HIDDEN
    assert await world.trouble(special.canvas(world.ada, "Our plan")) is FileTrouble.NOT_A_FILE
    added = world.files.add(world.ada, "a.txt", b"a")
    assert await world.trouble(special.changed(added, mode="space")) is FileTrouble.NOT_A_FILE
    assert await world.trouble(special.changed(added, file_access="access_denied")) is FileTrouble.NO_ACCESS
    with pytest.raises(FileRefused) as refusal:
        await world.chat.look_up_file(world.slack.team_id, "F0NOWHERE")
    assert refusal.value.trouble is FileTrouble.GONE


async def test_scanning(world: World) -> None:
    """A file without an address is looked at again; the wait is short."""
    file = await world.look_up(world.files.special.scanning(world.ada, "a.txt", b"a", seconds=0))
    assert await world.download(file) == b"a"
    world.slept.clear()
    assert await world.trouble(world.files.special.scanning(world.ada, "a.txt", b"a", 60)) is FileTrouble.SCANNING
    assert world.slept == [*SCAN_PAUSES]
    assert sum(SCAN_PAUSES) == 10


async def test_missing_scope(unread: World) -> None:
    """Without files:read the refusal names it, at the look and at the bytes."""
    with pytest.raises(FileRefused) as refusal:
        await unread.look_up(unread.files.add(unread.ada, "a.txt", b"a"))
    assert (refusal.value.trouble, refusal.value.detail) == (FileTrouble.MISSING_SCOPE, "files:read")
    added = unread.files.add(unread.ada, "a.txt", b"a")
    refused = await unread.refused(SlackFile(added["id"], "a.txt", "text/plain", 1, added["url_private"]))
    assert (refused.trouble, refused.detail) == (FileTrouble.MISSING_SCOPE, "files:read")


async def test_other_refusals(world: World) -> None:
    """What is not about the file is Slack's trouble, as everywhere; an unknown team is nobody's."""
    world.slack.faults.add(method="files.info", error="token_revoked")
    with pytest.raises(ThreadClosed):
        await world.chat.look_up_file(world.slack.team_id, "F1")
    world.slack.faults.add(method="files.info", status=503)
    with pytest.raises(ChatUnavailable):
        await world.chat.look_up_file(world.slack.team_id, "F1")
    world.slack.faults.add(method="files.info", error="no_permission")
    with pytest.raises(FileRefused):
        await world.chat.look_up_file(world.slack.team_id, "F1")
    with pytest.raises(ChatError):
        await world.chat.download(
            "T0OTHER", SlackFile("F1", "a", "", 1, "https://files.slack.com/a"), io.BytesIO(), most=1
        )


@pytest.mark.parametrize(
    "found", [None, [], "file", {}, {"id": 5, "mode": 7, "size": "1"}, {"url_private": 1, "name": []}]
)
def test_odd_objects(found: object) -> None:
    """What has no address is not ready, whatever else it says."""
    assert read_file(found) is None


def test_odd_fields() -> None:
    """Fields of other kinds than Slack's count as missing."""
    url = "https://files.slack.com/a"
    file = read_file({"id": "F1", "url_private": url, "size": -3, "name": 7, "title": "A\0B", "transcription": "heard"})
    assert file == SlackFile("F1", "A B", "application/octet-stream", 0, url)


# --- the bytes ---


async def test_who_asks(world: World) -> None:
    """The download shows the bot's token, and asks for the file unpacked and whole."""
    file = await world.look_up(world.files.add(world.ada, "a.txt", b"words"))
    assert await world.download(file) == b"words"
    (asked,) = world.files.downloads.asked
    assert asked.token == world.slack.bot_token
    assert asked.path.endswith("/download/a.txt")


async def test_gone_meanwhile(world: World) -> None:
    """A file that was deleted between the look and the download is gone."""
    url = f"http://{world.host}/files-pri/T1-F0GONE/download/a.txt"
    assert (await world.refused(SlackFile("F0GONE", "a.txt", "text/plain", 5, url))).trouble is FileTrouble.GONE


async def test_login_page(world: World) -> None:
    """A page to log in is no file, also where the file is a page itself."""
    for name, kind in (("a.png", "image/png"), ("a.html", "text/html")):
        file = await world.look_up(world.files.add(world.ada, name, b"<html>" + bytes(90_000), kind))
        world.order(login=True)
        assert (await world.refused(file)).trouble is FileTrouble.NO_ACCESS
        world.order(login=True, hint=False)
        assert (await world.refused(file)).trouble is FileTrouble.UNREADABLE
    small = await world.look_up(world.files.add(world.ada, "a.txt", b"a"))
    world.order(login=True, hint=False)
    assert (await world.refused(small, most=5)).trouble is FileTrouble.UNREADABLE
    empty = await world.look_up(world.files.add(world.ada, "empty.txt", b""))
    world.order(login=True)
    assert (await world.refused(empty)).trouble is FileTrouble.NO_ACCESS
    assert not world.slept


async def test_wrong_token(world: World) -> None:
    """With a token that does not see the file, and scopes nobody named, the header decides what is missing."""
    downloads = Downloads({world.host}, sleep=world.sleep)
    file = await world.look_up(world.files.add(world.ada, "a.txt", b"a"))
    with pytest.raises(FileRefused) as refusal:
        await downloads.download("xoxb-wrong", "", file, io.BytesIO(), most=5)
    assert (refusal.value.trouble, refusal.value.detail) == (FileTrouble.MISSING_SCOPE, "files:read")
    assert "xoxb-wrong" not in repr(refusal.value)
    await downloads.aclose()


async def test_page_with_the_right_length(world: World) -> None:
    """A page of exactly the announced size is the file."""
    page = LOGIN_PAGE.encode()
    file = await world.look_up(world.files.add(world.ada, "login.html", page, "text/html"))
    assert await world.download(file) == page


@pytest.mark.parametrize(
    ("trouble", "expected"),
    [
        ({"status": 404}, FileTrouble.GONE),
        ({"status": 410}, FileTrouble.GONE),
        ({"status": 401}, FileTrouble.NO_ACCESS),
        ({"status": 403}, FileTrouble.NO_ACCESS),
        ({"status": 400}, FileTrouble.UNREADABLE),
        ({"status": 204}, FileTrouble.UNREADABLE),
        ({"headers": {"Content-Encoding": "gzip"}}, FileTrouble.UNREADABLE),
        ({"location": "http://files.slack.com/a"}, FileTrouble.UNREADABLE),
        ({"location": "https://10.0.0.1/a"}, FileTrouble.UNREADABLE),
        ({"location": "https://files.slack.com:8443/a"}, FileTrouble.UNREADABLE),
        ({"location": "//u:p@127.0.0.1/a"}, FileTrouble.UNREADABLE),
        ({"location": "http://["}, FileTrouble.UNREADABLE),
        ({"location": ".", "headers": {"X-Slack-Meta": "acl_fail"}}, FileTrouble.NO_ACCESS),
    ],
)
async def test_final_answers(world: World, trouble: dict[str, Any], expected: FileTrouble) -> None:
    """What another try would not change is not tried again."""
    file = await world.look_up(world.files.add(world.ada, "a.txt", b"words"))
    world.order(**trouble)
    assert (await world.refused(file)).trouble is expected
    assert (world.asked, world.slept) == (1, [])


@pytest.mark.parametrize(
    "trouble",
    [
        {"status": 500},
        {"status": 503, "retry_after": 0},
        {"cut": 9_000},
        {"cut": 0},
        {"short": 10},
    ],
)
async def test_passing_troubles(world: World, trouble: dict[str, Any]) -> None:
    """What passes is tried again from the start, twice; then there is a reason."""
    content = random.Random(1).randbytes(300_000)
    file = await world.look_up(world.files.add(world.ada, "a.bin", content))
    world.order(times=2, **trouble)
    assert await world.download(file) == content
    assert (world.asked, world.slept) == (3, [0.5, 2.0])
    world.order(times=3, **trouble)
    refused = await world.refused(file)
    assert (refused.trouble, world.asked) == (FileTrouble.UNREADABLE, 6)


async def test_switch(world: World) -> None:
    """The page's drawer can hold all files back."""
    file = await world.look_up(world.files.add(world.ada, "a.txt", b"words"))
    await world.slack.switches.turn("slack-files", on=True)
    assert (await world.refused(file)).trouble is FileTrouble.UNREADABLE
    await world.slack.switches.turn("slack-files", on=False)
    assert await world.download(file) == b"words"


async def test_too_many_requests(world: World) -> None:
    """Slack says how long to wait; not for ever."""
    file = await world.look_up(world.files.add(world.ada, "a.txt", b"words"))
    world.order(status=429, retry_after=7)
    assert await world.download(file) == b"words"
    assert world.slept == [7.0]
    world.order(status=429, retry_after=3_600)
    assert (await world.refused(file)).trouble is FileTrouble.UNREADABLE
    assert world.slept == [7.0]


async def test_unreachable(world: World) -> None:
    """Where nobody listens, the tries come to an end."""
    with socket.socket() as taken:  # bound, and nobody listens
        taken.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{taken.getsockname()[1]}"
        downloads = Downloads({host}, sleep=world.sleep)
        file = SlackFile("F1", "a", "", 1, f"http://{host}/a")
        with pytest.raises(FileRefused) as refusal:
            await downloads.download("xoxb-1", "", file, io.BytesIO(), most=5)
    assert (refusal.value.trouble, str(refusal.value)) == (FileTrouble.UNREADABLE, "ConnectError")
    assert world.slept == [0.5, 2.0]
    await downloads.aclose()


async def test_limits(world: World) -> None:
    """A file larger than allowed is not asked for; one that turns out so is not read on."""
    added = world.files.add(world.ada, "a.bin", bytes(4 * MB))
    file = await world.look_up(added)
    assert (await world.refused(file, most=4 * MB - 1)).trouble is FileTrouble.TOO_BIG
    assert not world.asked
    assert len(await world.download(file, most=4 * MB)) == 4 * MB
    understated = await world.look_up(world.files.special.changed(added, size=10))
    into = io.BytesIO()
    with pytest.raises(FileRefused) as refusal:
        await world.download(understated, most=100_000, into=into)
    assert refusal.value.trouble is FileTrouble.TOO_BIG
    assert into.tell() <= 100_000
    assert len(await world.download(understated)) == 4 * MB


async def test_time_limits(world: World) -> None:
    """Silence ends a try, and slowness the whole download."""
    file = await world.look_up(world.files.add(world.ada, "a.bin", bytes(500_000)))
    for trouble, seconds, reason in (
        ({"delay": 5.0}, {"idle_seconds": 0.1}, "ReadTimeout"),
        ({"pace": 5.0}, {"idle_seconds": 0.1}, "ReadTimeout"),
        ({"pace": 0.05}, {"total_seconds": 0.3}, "not here after 0.3 s"),
    ):
        world.order(times=3, **trouble)
        downloads = Downloads({world.host}, sleep=world.sleep, **seconds)
        with pytest.raises(FileRefused) as refusal:
            await downloads.download(world.slack.bot_token, "", file, io.BytesIO(), most=MB)
        assert (refusal.value.trouble, str(refusal.value)) == (FileTrouble.UNREADABLE, reason)
        await downloads.aclose()
        world.files.downloads.troubles.clear()


async def test_redirects(world: World) -> None:
    """Two redirects are followed, with the token to Slack's hosts; a third is one too many."""
    file = await world.look_up(world.files.add(world.ada, "a.txt", b"words"))
    world.order(location=".", times=2)
    assert await world.download(file) == b"words"
    assert {asked.token for asked in world.files.downloads.asked} == {world.slack.bot_token}
    world.order(location=".", times=3)
    assert (await world.refused(file)).trouble is FileTrouble.UNREADABLE
    assert (world.asked, world.slept) == (6, [])


class Words(httpx.AsyncByteStream):
    """The bytes of a file."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield b"wo"
        yield b"rds"


async def test_the_token_stays_with_slack() -> None:
    """Another public host is asked without the token, and no later one gets it back, not even Slack's."""
    seen: list[tuple[str, str | None]] = []
    way = {
        "https://files.slack.com/a": "https://cdn.example.com/b",
        "https://cdn.example.com/b": "https://slack.com/api/auth.revoke",
        "https://files.slack.com/c": "https://acme.slack.com/d",
        "https://files.slack.com/e": "https://cdn.example.com:8443/f",
        "https://files.slack.com/g": "https://127.0.0.1/h",
    }

    def answer(request: httpx.Request) -> httpx.Response:
        url = str(request.url)
        seen.append((url, request.headers.get("authorization")))
        if url in way:
            return httpx.Response(302, headers={"location": way[url]})
        return httpx.Response(200, stream=Words())

    downloads = Downloads()
    await downloads._http.aclose()
    downloads._http = httpx.AsyncClient(transport=httpx.MockTransport(answer))

    async def fetch(url: str) -> int:
        file = SlackFile("F1", "a.txt", "text/plain", 5, url)
        return await downloads.download("xoxb-1", "", file, io.BytesIO(), most=5)

    assert await fetch("https://files.slack.com/a") == 5
    assert await fetch("https://files.slack.com/c") == 5
    for url in ("https://files.slack.com/e", "https://files.slack.com/g", "https://cdn.example.com/x", "nowhere"):
        with pytest.raises(FileRefused) as refusal:
            await fetch(url)
        assert refusal.value.trouble is FileTrouble.UNREADABLE
    assert seen == [
        ("https://files.slack.com/a", "Bearer xoxb-1"),
        ("https://cdn.example.com/b", None),
        ("https://slack.com/api/auth.revoke", None),
        ("https://files.slack.com/c", "Bearer xoxb-1"),
        ("https://acme.slack.com/d", "Bearer xoxb-1"),
        ("https://files.slack.com/e", "Bearer xoxb-1"),
        ("https://files.slack.com/g", "Bearer xoxb-1"),
    ]
    await downloads.aclose()


async def test_full_disk(world: World) -> None:
    """Bytes that cannot be kept are a reason too."""
    file = await world.look_up(world.files.add(world.ada, "a.bin", bytes(100_000)))

    class Full(io.BytesIO):
        def write(self, _data: Any, /) -> int:
            raise OSError(28, "No space left on device")

    with pytest.raises(FileRefused, match="No space left") as refusal:
        await world.download(file, into=Full())
    assert refusal.value.trouble is FileTrouble.UNREADABLE


async def test_logs(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """The log knows the file by its id, and neither its name, its address nor the token."""
    caplog.set_level(logging.DEBUG, "slackbot")
    file = await world.look_up(world.files.add(world.ada, "salaries.txt", b"words"))
    world.order(status=500)
    await world.download(file)
    record = next(record for record in caplog.records if record.message == "file.retry")
    assert (record.__dict__["file"], record.__dict__["reason"]) == (file.id, "HTTP 500")
    told = repr([record.__dict__ for record in caplog.records])
    assert "salaries" not in told
    assert world.slack.bot_token not in told
