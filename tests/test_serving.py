"""The small HTTP server, met by clients who are slow, greedy, silent, or speak something else."""

from __future__ import annotations

import asyncio
import gzip
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from slackbot import serving
from slackbot.serving import CannotListen, HttpServer, read_body

POST = b"POST /echo HTTP/1.1\r\nHost: x\r\n"
SECRET = "tulip"
"""Stands in everything that clients send, and never in a log line."""


async def echo(request: web.BaseRequest) -> web.Response:
    """Send the body back."""
    return web.Response(body=await read_body(request))


async def hang(request: web.BaseRequest) -> web.Response:
    """Answer too late."""
    await asyncio.sleep(0.5)
    return web.Response(text="late")


async def much(request: web.BaseRequest) -> web.Response:
    """Answer more than any buffer holds."""
    return web.Response(body=bytes(50_000_000))


async def broken(request: web.BaseRequest) -> web.Response:
    """Fail as only bugs do."""
    raise LookupError(SECRET)


HANDLERS = {"/echo": {"POST": echo}, "/hang": {"GET": hang}, "/much": {"GET": much}, "/broken": {"GET": broken}}


@pytest.fixture(autouse=True)
def _everything_logged(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setattr(serving, "STOP_SECONDS", 1.0)
    monkeypatch.setattr(serving, "LINGER_SECONDS", 0.1)


@pytest.fixture
async def server() -> AsyncIterator[HttpServer]:
    """A server that echoes."""
    server = HttpServer("127.0.0.1", 0, HANDLERS)
    await server.start()
    yield server
    while clients:
        await clients.pop().close()
    await server.stop()


clients: list[Client] = []
"""Those of the running test, to be closed at its end."""


class Client:
    """A raw socket, and everything that comes back on it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        """Write, whether or not anybody listens."""
        self.writer.write(data)
        try:
            await self.writer.drain()
        except ConnectionError:
            return

    async def line(self) -> bytes:
        """The next line."""
        return await asyncio.wait_for(self._reader.readline(), 10)

    async def rest(self) -> bytes:
        """Everything until the server hangs up."""
        received = b""
        try:
            async with asyncio.timeout(10):
                while some := await self._reader.read(65_536):
                    received += some
        except ConnectionError:
            pass
        return received

    async def drip(self, data: bytes) -> bytes:
        """Write a byte now and then; everything until the server hangs up."""
        reading = asyncio.create_task(self.rest())
        for byte in data:
            if reading.done():
                break
            await self.send(bytes([byte]))
            await asyncio.sleep(0.01)
        return await reading

    async def close(self) -> None:
        """Hang up."""
        self.writer.close()
        await asyncio.gather(self.writer.wait_closed(), return_exceptions=True)


async def connect(server: HttpServer) -> Client:
    """A client of the server."""
    clients.append(Client(*await asyncio.open_connection("127.0.0.1", server.port)))
    return clients[-1]


async def ask(server: HttpServer, data: bytes) -> bytes:
    """Send bytes, return all that comes back."""
    client = await connect(server)
    await client.send(data)
    return await client.rest()


def lines(caplog: pytest.LogCaptureFixture, level: int = logging.INFO) -> list[dict[str, Any]]:
    """The fields of what the server logged; the clients' words are in no line of anybody."""
    assert SECRET not in caplog.text
    assert not any(SECRET in str(vars(record)) for record in caplog.records if record.name.startswith("slackbot"))
    assert not [record for record in caplog.records if record.name.startswith("aiohttp")]
    return [vars(record) for record in caplog.records if record.name == "slackbot.serving" and record.levelno >= level]


async def test_keep_alive(server: HttpServer, caplog: pytest.LogCaptureFixture) -> None:
    """One connection carries many requests, pipelined ones too, in whole and in chunks."""
    client = await connect(server)
    chunked = POST + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n"
    plain = POST + b"Content-Length: 3\r\n\r\nbye"
    await client.send(chunked + plain + plain)
    await asyncio.sleep(0.05)
    await client.send(plain.replace(b"Host: x", b"Host: x\r\nConnection: close"))
    answer = await client.rest()
    assert answer.count(b"HTTP/1.1 200 OK") == 4
    assert answer.index(b"hello!") < answer.index(b"bye")
    assert lines(caplog, logging.DEBUG) == []


@pytest.mark.parametrize("where", ["request line", "headers"])
async def test_a_dripping_head(
    server: HttpServer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """A head has to arrive as a whole within its time, however busily its bytes drip; the next one on the line too."""
    monkeypatch.setattr(serving, "HEAD_SECONDS", 0.3)
    for before in (b"", POST + b"Content-Length: 0\r\n\r\n"):
        client = await connect(server)
        await client.send(before)
        answer = await client.drip((b"GET /" if where == "request line" else POST + b"X-A: ") + SECRET.encode() * 1_000)
        assert answer.count(b"200 OK") == bool(before)
    assert [(line["status"], line["reason"], line["peer"]) for line in lines(caplog)] == [
        (408, "the head did not arrive in time", "127.0.0.1")
    ] * 2


@pytest.mark.parametrize("kind", [b"Content-Length: 9000\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n"])
async def test_a_dripping_body(
    server: HttpServer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, kind: bytes
) -> None:
    """So has a body."""
    monkeypatch.setattr(serving, "BODY_SECONDS", 0.3)
    client = await connect(server)
    await client.send(POST + kind)
    assert b" 408 " in await client.drip(b"1\r\na\r\n" * 1_000)
    assert [line["reason"] for line in lines(caplog)] == ["the body did not arrive in time"]


async def test_silence(server: HttpServer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who connects and says nothing is forgotten without a word, at once or after an answer."""
    monkeypatch.setattr(serving, "HEAD_SECONDS", 0.1)
    assert await ask(server, b"") == b""
    monkeypatch.setattr(serving, "IDLE_SECONDS", 0.1)
    assert b" 200 OK" in await ask(server, POST + b"Content-Length: 0\r\n\r\n")
    assert lines(caplog, logging.DEBUG) == []


@pytest.mark.parametrize("path", [b"/hang", b"/much"])
async def test_answers_that_take_too_long(
    server: HttpServer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, path: bytes
) -> None:
    """Neither a handler that hangs nor a client that does not read holds a connection for ever."""
    monkeypatch.setattr(serving, "REQUEST_SECONDS", 0.2)
    client = await connect(server)
    await client.send(b"GET " + path + b" HTTP/1.1\r\nHost: x\r\n\r\n")
    while not lines(caplog):
        await asyncio.sleep(0.01)
    assert len(await client.rest()) < 50_000_000
    assert [line["reason"] for line in lines(caplog)] == ["the request took too long"]


async def test_many_connections(
    server: HttpServer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Past the limit the connection that has waited longest goes, and the newest is served; one line tells."""
    monkeypatch.setattr(serving, "CONNECTIONS", 3)
    idle = [await connect(server) for _ in range(3)]
    await idle[0].send(POST + b"Content-Length: 0\r\n\r\n")
    assert b" 200 " in await idle[0].line()  # so the second has waited longest
    newer = [await connect(server) for _ in range(2)]
    assert [await client.rest() for client in idle[1:]] == [b"", b""]
    for client in (idle[0], *newer):
        await client.send(POST + b"Connection: close\r\nContent-Length: 2\r\n\r\nhi")
        assert (await client.rest()).endswith(b"hi")
    assert [line["msg"] for line in lines(caplog)] == ["http.crowded"]


async def begin(server: HttpServer) -> Client:
    """A client that is being served: it has yet to send two bytes."""
    client = await connect(server)
    await client.send(POST + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n")
    assert b" 100 " in await client.line() + await client.line()
    return client


async def test_many_requests_at_once(
    server: HttpServer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who is being served is not counted with those who wait: all are answered, and then the longest idle ones go."""
    monkeypatch.setattr(serving, "CONNECTIONS", 2)
    served = [await begin(server) for _ in range(5)]
    assert lines(caplog) == []
    for client in served:
        await client.send(b"hi")
        assert b" 200 " in await client.line()
    for client in served[:3]:
        assert (await client.rest()).endswith(b"hi")
    for client in served[3:]:
        await client.send(POST + b"Connection: close\r\nContent-Length: 3\r\n\r\nbye")
        assert (await client.rest()).endswith(b"bye")
    assert [line["msg"] for line in lines(caplog)] == ["http.crowded"]


async def test_too_many_requests_at_once(
    server: HttpServer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The newest goes, and who is being served is answered."""
    monkeypatch.setattr(serving, "SERVED", 1)
    busy = await begin(server)
    assert await ask(server, POST + b"Content-Length: 0\r\n\r\n") == b""
    await busy.send(b"hi")
    assert b" 200 " in await busy.line()
    assert [line["msg"] for line in lines(caplog)] == ["http.crowded"]


@pytest.mark.parametrize(
    ("request_", "status", "reason"),
    [
        (POST + b"Content-Length: 1048577\r\n\r\n", 413, "more than 1048576 bytes"),
        (POST + b"Content-Length: 99999999999\r\nExpect: 100-continue\r\n\r\n", 413, "more than 1048576 bytes"),
        (
            POST
            + b"Transfer-Encoding: chunked\r\n\r\n"
            + b"80000\r\n"
            + b"x" * 0x80000
            + b"\r\n80001\r\n"
            + b"x" * 0x80001
            + b"\r\n0\r\n\r\n",
            413,
            "more than 1048576 bytes",
        ),
        (POST + b"Content-Encoding: gzip\r\nContent-Length: 1\r\n\r\nx", 415, "compressed"),
    ],
)
async def test_bodies_that_are_refused(
    server: HttpServer, caplog: pytest.LogCaptureFixture, request_: bytes, status: int, reason: str
) -> None:
    """Each is refused as soon as it shows what it is, and the connection closes."""
    answer = await ask(server, request_)
    assert answer.startswith(b"HTTP/1.1 %d " % status)
    assert b"Connection: close" in answer
    assert [(line["status"], line["reason"]) for line in lines(caplog)] == [(status, reason)]


async def test_a_broken_body(
    server: HttpServer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Chunks that are none, after a head that was one; and half a body, then nobody."""
    monkeypatch.setattr(serving, "BODY_SECONDS", 0.2)
    client = await connect(server)
    await client.send(POST + b"Transfer-Encoding: chunked\r\n\r\n")
    await asyncio.sleep(0.05)
    await client.send(SECRET.encode() + b"\r\n")
    assert b" 408 " in await client.rest()
    client = await connect(server)
    await client.send(POST + b"Content-Length: 9\r\n\r\n")
    await asyncio.sleep(0.05)
    await client.close()
    await asyncio.sleep(0.05)
    assert [line["reason"] for line in lines(caplog)] == ["the body did not arrive in time", "broken body"]


async def test_the_largest_body(server: HttpServer) -> None:
    """A mebibyte is taken."""
    body = b"x" * serving.BODY_BYTES
    answer = await ask(server, POST + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    assert answer.endswith(body)


async def test_a_decompression_bomb(server: HttpServer) -> None:
    """What is compressed is refused packed; under no name is it unpacked."""
    bomb = gzip.compress(bytes(64_000_000))
    for encoding in (b"gzip", b"deflate", b"br", b"zstd", b"gzip, identity"):
        head = b"Content-Encoding: " + encoding + b"\r\nContent-Length: %d\r\n\r\n" % len(bomb)
        assert b" 415 " in await ask(server, POST + head + bomb)


async def test_expect_continue(server: HttpServer) -> None:
    """A client that asks before it sends its body is told to go on."""
    client = await connect(server)
    await client.send(POST + b"Connection: close\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
    assert await client.line() == b"HTTP/1.1 100 Continue\r\n"
    await client.send(b"hi")
    answer = await client.rest()
    assert b"HTTP/1.1 200 OK" in answer
    assert answer.endswith(b"hi")


@pytest.mark.parametrize(
    "request_",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + SECRET.encode(),
        SECRET.encode() + b"\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        POST + b"no colon " + SECRET.encode() + b"\r\n\r\n",
        POST + b"X-Long: " + SECRET.encode() * 4_000 + b"\r\n\r\n",
        POST + b"".join(b"X-%d: a\r\n" % number for number in range(500)) + b"\r\n",
        POST + b"Content-Length: -1\r\n\r\n",
        POST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nx",
        POST + b"Content-Length: " + b"9" * 400 + b"\r\n\r\n",
        POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        POST + b"Transfer-Encoding: " + SECRET.encode() + b"\r\n\r\n",
    ],
)
async def test_what_is_no_http(server: HttpServer, caplog: pytest.LogCaptureFixture, request_: bytes) -> None:
    """It is refused with one line that holds none of its bytes."""
    assert b" 400 " in await ask(server, request_)
    (line,) = lines(caplog)
    assert line["status"] == 400
    assert line["reason"].startswith("malformed: ")
    assert line["peer"] == "127.0.0.1"


async def test_a_body_longer_than_its_length(server: HttpServer, caplog: pytest.LogCaptureFixture) -> None:
    """The rest counts as the next request; it is none, and so nothing of it is trusted."""
    answer = await ask(server, POST + b"Content-Length: 2\r\n\r\nhi " + SECRET.encode() + b"\r\n\r\n")
    assert answer.count(b" 400 ") == answer.count(b"HTTP/1") == 1
    assert len(lines(caplog)) == 1


async def test_other_paths_and_methods(server: HttpServer, caplog: pytest.LogCaptureFixture) -> None:
    """They are answered, and are no news; neither is what stands behind a question mark."""
    for method, path, status, allow in (
        (b"GET", b"/", 404, False),
        (b"POST", b"/echo/", 404, False),
        (b"GET", b"/echo?" + SECRET.encode(), 405, True),
        (b"HEAD", b"/echo", 405, True),
        (b"OPTIONS", b"*", 404, False),
    ):
        answer = await ask(server, method + b" " + path + b" HTTP/1.1\r\nHost: x\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 %d " % status)
        assert (b"Allow: POST\r\n" in answer) is allow
    assert lines(caplog) == []
    assert [line["path"] for line in lines(caplog, logging.DEBUG)][:2] == ["/", "/echo/"]


async def test_a_bug(server: HttpServer, caplog: pytest.LogCaptureFixture) -> None:
    """The client gets a bare 500; the log says where it happened, not what was said."""
    answer = await ask(server, b"GET /broken HTTP/1.1\r\nHost: x\r\n\r\n")
    assert b" 500 " in answer
    assert SECRET.encode() not in answer
    (line,) = lines(caplog)
    assert (line["msg"], line["error"]) == ("http.broken", "LookupError")
    assert "test_serving.py" in line["at"]


async def test_stop(server: HttpServer, caplog: pytest.LogCaptureFixture) -> None:
    """Idle and half-said requests do not hold the stop; one that is being answered gets its answer."""
    idle, half, slow, busy = [await connect(server) for _ in range(4)]
    await idle.send(POST + b"Content-Length: 0\r\n\r\n")
    assert b" 200 " in await idle.line()
    await half.send(POST)
    await slow.send(POST + b"Content-Length: 2\r\n\r\nh")
    await busy.send(b"GET /hang HTTP/1.1\r\nHost: x\r\n\r\n")
    await asyncio.sleep(0.05)
    await asyncio.wait_for(server.stop(), 5)
    assert (await busy.rest()).endswith(b"late")
    assert await half.rest() == await slow.rest() == b""
    assert lines(caplog, logging.DEBUG) == []
    await server.stop()


@pytest.mark.parametrize("host", ["", "127.0.0.1"])
async def test_an_address_that_is_taken(server: HttpServer, host: str) -> None:
    """The error names the address, and leaves nothing open."""
    with pytest.raises(CannotListen, match=f"cannot listen on {host}:{server.port}: .*in use"):
        await HttpServer(host, server.port, {}).start()


@pytest.mark.parametrize("host", ["no.such.host.invalid", "a" * 64 + ".example", "192.0.2.1"])
async def test_an_address_that_is_none(host: str) -> None:
    """Neither do names that mean nothing, or another machine."""
    with pytest.raises(CannotListen, match=host):
        await HttpServer(host, 0, {}).start()
