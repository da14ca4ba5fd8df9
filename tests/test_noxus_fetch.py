"""Fetching what the agent made: whole, bounded, with the key where it belongs and nowhere else."""

from __future__ import annotations

import asyncio
import base64
import io
import ssl
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st

from slackbot.domain import AgentTarget, FileBytes, FileOffered, FileTrouble
from slackbot.errors import FileRefused
from slackbot.noxus import fetch
from slackbot.noxus.client import NoxusClient
from slackbot.noxus.fetch import is_public
from slackbot.simulator.noxus import NoxusSimulator

KEY = "nx-key-5up3r5ecret"
ID = "3c90c3cc-0d44-4b50-8888-8dd25736052a"
AT = f"/v1/file/{ID}"
CERTIFICATE = Path(__file__).parent / "payloads" / "localhost.pem"
"""For https://localhost, trusted by nobody but these tests."""

Answer = tuple[int, bytes, dict[str, str]]


class Site:
    """A server that answers by path and remembers what it was asked, and with which key."""

    def __init__(self) -> None:
        self.url = ""
        self.answers: dict[str, Answer] = {}
        self.asked: list[tuple[str, str | None]] = []

    def has(self, path: str, content: bytes = b"", *, status: int = 200, **headers: str) -> None:
        self.answers[path] = status, content, {name.replace("_", "-"): value for name, value in headers.items()}

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.asked.append((request.path, request.headers.get("X-API-Key")))
        status, content, headers = self.answers.get(request.path, (404, b"", {}))
        if "X-Hang" in headers:
            await asyncio.sleep(30)
        response = web.Response(status=status, body=content, headers=headers)
        if "X-Chunked" in headers:
            response.enable_chunked_encoding()
        return response


@asynccontextmanager
async def serving(secure: ssl.SSLContext | None = None) -> AsyncIterator[Site]:
    site = Site()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", site.handle)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=secure).start()
    host = "https://localhost" if secure else "http://127.0.0.1"
    site.url = f"{host}:{runner.addresses[0][1]}"
    yield site
    await runner.cleanup()


@pytest.fixture
async def noxus() -> AsyncIterator[Site]:
    async with serving() as site:
        yield site


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Site]:
    """A public site: its name is ``localhost``, and the tests' name service says that it is far away."""
    secure = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    secure.load_cert_chain(CERTIFICATE)
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
    async with serving(secure) as site:
        yield site


async def far_away(_host: str) -> Collection[str]:
    return ["8.8.8.8"]


@asynccontextmanager
async def connected(url: str, **settings: Any) -> AsyncIterator[NoxusClient]:
    async def no_time(_seconds: float) -> None:
        pass

    client = NoxusClient(url, KEY, sleep=no_time, **settings)
    try:
        yield client
    finally:
        await client.aclose()


async def got(client: NoxusClient, offer: FileOffered | str, most: int = 1000) -> tuple[FileBytes, bytes]:
    into = io.BytesIO(b"something from before, longer than it")
    file = await client.fetch(FileOffered(offer, "") if isinstance(offer, str) else offer, into, most=most)
    assert file.content is into
    assert file.size == len(into.getvalue())
    return file, into.getvalue()


async def refused(client: NoxusClient, offer: FileOffered | str, most: int = 1000) -> FileTrouble:
    with pytest.raises(FileRefused) as caught:
        await got(client, offer, most)
    assert KEY not in str(caught.value)
    return caught.value.trouble


# --- data in the address -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "content", "name", "media_type"),
    [
        ("data:image/png;base64,iVBORw0KGgo=", b"\x89PNG\r\n\x1a\n", "file.png", "image/png"),
        ("DATA:text/csv;charset=utf-8;BASE64,YSxi", b"a,b", "file.csv", "text/csv"),
        ("data:text/plain;base64,-_-_", b"\xfb\xff\xbf", "file.txt", "text/plain"),
        ("data:text/plain;base64,YQ%3D%3D", b"a", "file.txt", "text/plain"),
        ("data:text/plain;base64,Y S\nx i", b"a,b", "file.txt", "text/plain"),
        ("data:text/plain;base64," + "YWJj" * 40_000 + "YQ", b"abc" * 40_000 + b"a", "file.txt", "text/plain"),
        ("data:text/html,%3Cp%3Ea+b", b"<p>a+b", "file.html", "text/html"),
        ("data:,a%20b", b"a b", "file.txt", "text/plain"),
        ("data:text/csv;base64,", b"", "file.csv", "text/csv"),
    ],
)
async def test_data_in_the_address(url: str, content: bytes, name: str, media_type: str) -> None:
    """Base64 in both alphabets, with or without padding and escapes, and plain text."""
    async with connected("http://noxus.example") as client:
        file, found = await got(client, url, 200_000)
    assert (found, file.name, file.media_type) == (content, name, media_type)


@settings(max_examples=30)
@given(st.binary(max_size=300))
async def test_any_data_comes_back(content: bytes) -> None:
    """Whatever the bytes."""
    url = f"data:application/x-a;base64,{base64.b64encode(content).decode()}"
    async with connected("http://noxus.example") as client:
        assert (await got(client, url))[1] == content


@pytest.mark.parametrize(
    ("url", "trouble"),
    [
        ("data:text/plain;base64,a", FileTrouble.UNREADABLE),
        ("data:text/plain;base64,a!==", FileTrouble.UNREADABLE),
        ("data:text/plain;base64,ü", FileTrouble.UNREADABLE),
        ("data:text/plain;base64,%C3%BC", FileTrouble.UNREADABLE),
        ("data:text/plain;base64", FileTrouble.UNREADABLE),
        ("data:", FileTrouble.UNREADABLE),
        (f"data:text/plain;base64,{'YWFh' * 334}", FileTrouble.TOO_BIG),
        (f"data:,{'a' * 1001}", FileTrouble.TOO_BIG),
    ],
)
async def test_data_that_is_none_or_too_much(url: str, trouble: FileTrouble) -> None:
    """Refused with a reason."""
    async with connected("http://noxus.example") as client:
        assert await refused(client, url) is trouble


# --- from Noxus --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", ["", "/api/backend"])
async def test_files_in_noxus(noxus: Site, prefix: str) -> None:
    """Relative or whole addresses of our Noxus, with the key, wherever its base is."""
    noxus.has(f"{prefix}{AT}", b"a,b", content_type="text/csv")
    async with connected(f"{noxus.url}{prefix}/") as client:
        for url in (AT, f"{AT}/content?x=1", f"{noxus.url}{prefix}{AT}"):
            file, found = await got(client, FileOffered(url, "", "r.csv"))
            assert (found, file.name, file.media_type) == (b"a,b", "r.csv", "text/csv")
    assert noxus.asked == [(f"{prefix}{AT}", KEY)] * 3


@pytest.mark.parametrize(
    ("offer", "headers", "name", "media_type"),
    [
        (FileOffered(AT, "application/json", "My report"), {}, "My report.json", "application/json"),
        (FileOffered(AT, "", "../r.csv"), {"content_type": "application/octet-stream"}, "r.csv", "text/csv"),
        (FileOffered(AT, ""), {"content_disposition": "attachment; filename*=utf-8''%C3%BC.csv"}, "ü.csv", "text/csv"),
        (FileOffered(AT, ""), {"content_type": "text/csv; charset=utf-8"}, "file.csv", "text/csv"),
        (FileOffered(AT, "nonsense"), {"content_type": "text/csv"}, "file.csv", "text/csv"),
    ],
)
async def test_names_and_types(
    noxus: Site, offer: FileOffered, headers: dict[str, str], name: str, media_type: str
) -> None:
    """As the offer says, else as the server does, else one by the other."""
    noxus.has(AT, b"a,b", status=200, **headers)
    async with connected(noxus.url) as client:
        file, _ = await got(client, offer)
    assert (file.name, file.media_type) == (name, media_type)


@pytest.mark.parametrize(
    ("status", "trouble"),
    [
        (404, FileTrouble.GONE),
        (410, FileTrouble.GONE),
        (401, FileTrouble.NO_ACCESS),
        (403, FileTrouble.NO_ACCESS),
        (413, FileTrouble.TOO_BIG),
        (400, FileTrouble.UNREADABLE),
        (500, FileTrouble.UNREADABLE),
        (304, FileTrouble.UNREADABLE),
    ],
)
async def test_noxus_may_refuse(noxus: Site, status: int, trouble: FileTrouble) -> None:
    """Each status has its trouble."""
    noxus.has(AT, status=status)
    async with connected(noxus.url) as client:
        assert await refused(client, AT) is trouble


async def test_the_size_is_bounded(noxus: Site) -> None:
    """As announced, and as counted where nothing is announced; what just fits comes."""
    noxus.has(AT, b"x" * 1000)
    noxus.has("/v1/file/chunked", b"x" * 1001, X_Chunked="1")
    async with connected(noxus.url) as client:
        assert len((await got(client, AT, 1000))[1]) == 1000
        assert await refused(client, AT, 999) is FileTrouble.TOO_BIG
        assert await refused(client, "/v1/file/chunked", 1000) is FileTrouble.TOO_BIG


async def test_what_is_packed_is_refused(noxus: Site) -> None:
    """It was not asked for, and may be a bomb."""
    noxus.has(AT, b"\x1f\x8b", content_encoding="gzip")
    async with connected(noxus.url) as client:
        assert await refused(client, AT) is FileTrouble.UNREADABLE


async def test_waiting_has_an_end(noxus: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that does not come is unreadable."""
    monkeypatch.setattr(fetch, "IDLE_SECONDS", 0.05)
    noxus.has(AT, X_Hang="1")
    async with connected(noxus.url) as client:
        assert await refused(client, AT) is FileTrouble.UNREADABLE


async def test_noxus_away() -> None:
    """Nobody listens there."""
    async with connected("http://127.0.0.1:1") as client:
        assert await refused(client, AT) is FileTrouble.UNREADABLE


async def test_the_key_opens_files_alone(noxus: Site) -> None:
    """Other addresses of our Noxus could show secrets in Slack, so they are as foreign as any."""
    noxus.has("/v1/admin/me", b'{"value": "the key itself"}')
    async with connected(noxus.url) as client:
        for path in (
            "/v1/admin/me",
            "/v1/file/",
            "/v1/files/x",
            "/v1/file/../admin/me",
            "/v1/file/%2e%2e",
            "//v1/file/x",
        ):
            for url in (path, noxus.url + path):
                assert await refused(client, url) in (FileTrouble.NO_ACCESS, FileTrouble.UNREADABLE)
    assert noxus.asked == []


@pytest.mark.parametrize("style", ["tool_output", "file_frame", "data_frame", "data_uri"])
async def test_what_the_simulated_agent_makes(style: str) -> None:
    """In every way in which the stream may tell of it, the file that comes is the one that was made."""
    names = ["chart.png", "table.csv", "report.pdf"]
    simulator = NoxusSimulator(first_token_delay=0, rate=10_000, files_as=style)
    await simulator.start()
    client = NoxusClient(simulator.url, simulator.api_key)
    try:
        conversation = await client.create_conversation(AgentTarget(agent_id=simulator.agent_id), "n")
        async with client.ask(conversation, f"/file {' '.join(names)}") as events:
            offers = {event.url: event async for event in events if isinstance(event, FileOffered)}
        fetched = [await got(client, offer, 100_000) for offer in offers.values()]
    finally:
        await client.aclose()
        await simulator.stop()
    made = {file.name: file.content for file in simulator.files.values()}
    assert [content for _, content in fetched] == [made[name] for name in names]
    assert [file.media_type for file, _ in fetched] == ["image/png", "text/csv", "application/pdf"]
    assert [file.name for file, _ in fetched] == (
        names if style != "data_uri" else ["file.png", "file.csv", "file.pdf"]
    )


# --- from elsewhere ----------------------------------------------------------------------------------------------


async def test_public_files_without_the_key(noxus: Site, world: Site) -> None:
    """Over https, from where everybody can reach it; and no key goes along."""
    world.has("/a.csv", b"a,b", content_type="text/csv")
    async with connected(noxus.url, resolve=far_away) as client:
        file, content = await got(client, f"{world.url}/a.csv")
    assert (content, file.media_type) == (b"a,b", "text/csv")
    assert world.asked == [("/a.csv", None)]


async def test_redirects_are_checked_each_time(noxus: Site, world: Site) -> None:
    """Two are followed, from Noxus too; the key stays with Noxus's files, and http is as far as they get."""
    noxus.has(AT, status=307, location=f"{world.url}/one")
    noxus.has("/v1/file/back", b"from Noxus")
    world.has("/one", status=302, location="/two")
    world.has("/two", b"here", content_type="text/plain")
    world.has("/zero", status=302, location="/one")
    world.has("/more", status=302, location="/zero")
    world.has("/back", status=302, location=f"{noxus.url}/v1/file/back")
    world.has("/leak", status=302, location=f"{noxus.url}/v1/admin/me")
    async with connected(noxus.url, resolve=far_away) as client:
        assert (await got(client, AT))[1] == b"here"
        assert (await got(client, f"{world.url}/zero"))[1] == b"here"
        assert (await got(client, f"{world.url}/back"))[1] == b"from Noxus"
        assert await refused(client, f"{world.url}/more") is FileTrouble.UNREADABLE
        assert await refused(client, f"{world.url}/leak") is FileTrouble.NO_ACCESS
        assert await refused(client, f"{world.url}/none") is FileTrouble.GONE
    assert {key for _, key in world.asked} == {None}
    assert noxus.asked == [(AT, KEY), ("/v1/file/back", KEY)]


async def test_private_hosts_are_not_asked(noxus: Site, world: Site) -> None:
    """Neither by name nor by address; a host with one private address among public ones is private too."""
    async with connected(noxus.url) as client:
        for url in (
            f"{world.url}/a", "https://127.0.0.1/a", "https://[::1]/a", "https://2130706433/", "https://0x7f.1/",
            "https://10.0.0.1/a", "https://169.254.169.254/latest", "http://8.8.8.8/a", "https://me:secret@8.8.8.8/",
            "ftp://8.8.8.8/a", "file:///etc/passwd", "https:///a", "", "a.csv", "https://[", "https://\0/",
            "https://does-not-exist.invalid/a", f"https://{'x' * 70}.example/a", "//8.8.8.8/v1/file/x",
        ):  # fmt: skip
            assert await refused(client, url) in (FileTrouble.NO_ACCESS, FileTrouble.UNREADABLE)

    async def both(_host: str) -> Collection[str]:
        return ["8.8.8.8", "10.0.0.1"]

    async with connected(noxus.url, resolve=both) as client:
        assert await refused(client, f"{world.url}/a") is FileTrouble.NO_ACCESS
    assert (noxus.asked, world.asked) == ([], [])


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "2002:808:808::1", "64:ff9b::808:808"]
)
def test_public_addresses(address: str) -> None:
    """Also IPv4 ones inside of IPv6 ones."""
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.0.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1",
        "240.0.0.1", "255.255.255.255", "198.18.0.1", "::1", "::", "fe80::1", "fe80::1%lo", "fc00::1", "fec0::1",
        "ff02::1",
        "::ffff:127.0.0.1", "::ffff:169.254.169.254", "2002:7f00:1::1", "2002:a9fe:a9fe::", "64:ff9b::7f00:1",
        "2001:0:4136:e378:8000:63bf:5601:fefe", "2001:db8::1",
    ],
)  # fmt: skip
def test_addresses_that_are_not_public(address: str) -> None:
    """Loopback, private, link-local, shared, multicast, reserved, and each of them inside of another."""
    assert not is_public(address)


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_is_as_public_inside_of_ipv6(address: Any) -> None:
    """In all three spellings."""
    for outer in (
        f"::ffff:{address}",
        f"64:ff9b::{address}",
        f"2002:{int(address) >> 16:x}:{int(address) & 0xFFFF:x}::1",
    ):
        assert is_public(outer) == is_public(str(address))
