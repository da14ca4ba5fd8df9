"""The Noxus client on real sockets: against handlers that misbehave, byte by byte."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
import json
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any, BinaryIO, Literal

import pytest
from aiohttp import web

from slackbot.domain import (
    AgentEvent,
    AgentProfile,
    AgentTarget,
    ApprovalRequested,
    FileBytes,
    FileLink,
    RunFinished,
    TextDelta,
    ToolFinished,
    ToolStarted,
)
from slackbot.errors import (
    AgentBusy,
    AgentError,
    AgentKeyRejected,
    AgentRefused,
    AgentRunFailed,
    AgentTimedOut,
    AgentUnavailable,
    AgentUnknown,
    ConversationFull,
    ConversationGone,
    FilesTooBig,
    FilesUnsent,
    StreamBroken,
)
from slackbot.leases import Lease, Standing, TurnLost, current, now
from slackbot.noxus import breaker, caller
from slackbot.noxus.client import PROFILE_RETRY_SECONDS, PROFILE_SECONDS, NoxusClient
from slackbot.noxus.wire import SPREAD_SECONDS
from slackbot.ports import Agent
from slackbot.simulator.noxus import NoxusSimulator

KEY = "nx-key-5up3r5ecret"
AGENT = AgentTarget(agent_id="agent-1")
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


_ABOUT = ("GET", "", "v1", "conversations")


class Backend:
    """A server that answers each request with the next handler given (the last one again and again).

    It does not tell what became of a message, unless ``tells``: then the handlers answer that as well.
    """

    def __init__(self) -> None:
        self.url = ""
        self.requests: list[tuple[str, str]] = []
        self.bodies: list[Any] = []
        self.headers: list[dict[str, str]] = []
        self.connections: set[Any] = set()
        self.gone = asyncio.Event()
        self.tells = False
        self._handlers: list[Handler] = []

    def answers(self, *handlers: Handler) -> None:
        self._handlers = list(handlers)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        was_asked = any(method == "POST" for method, _ in self.requests)
        if was_asked and not self.tells and (request.method, *request.path.split("/")[:3]) == _ABOUT:
            return web.json_response({"detail": "Not Found"}, status=404)
        self.requests.append((request.method, request.path_qs))
        self.headers.append(dict(request.headers))
        self.connections.add(request.transport)
        body = await request.read()
        self.bodies.append(json.loads(body) if body else None)
        handler = self._handlers.pop(0) if len(self._handlers) > 1 else self._handlers[0]
        try:
            return await handler(request)
        except (asyncio.CancelledError, ConnectionError):
            self.gone.set()
            raise


@pytest.fixture
async def backend() -> AsyncIterator[Backend]:
    backend = Backend()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", backend.handle)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    backend.url = site.name
    yield backend
    await runner.cleanup()


class Patience:
    """Sleeps that take no time and are remembered."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


@asynccontextmanager
async def connected(url: str, patience: Patience | None = None, **settings: Any) -> AsyncIterator[NoxusClient]:
    settings.setdefault("sleep", (patience or Patience()).sleep)
    client = NoxusClient(url, KEY, jitter=lambda: 1.0, **settings)
    try:
        yield client
    finally:
        await client.aclose()


def says(*frames: dict[str, Any] | str, status: int = 200) -> bytes:
    lines = [frame if isinstance(frame, str) else f"data: {json.dumps(frame)}" for frame in frames]
    return "".join(f"{line}\r\n\r\n" for line in lines).encode()


HELLO = {"event": "text-delta", "data": {"delta": "hello", "id": "a"}}
FINISH = {"event": "finish", "data": {}}
DONE = "event: done\r\ndata: {}"
WHOLE = says(HELLO, FINISH, DONE)
WHOLE_EVENTS = [TextDelta("a", "hello"), RunFinished()]


def stream(
    *pieces: bytes | float, content_type: str = "text/event-stream", end: str = "eof", **headers: str
) -> Handler:
    """Writes the pieces (a number is a pause in seconds), then ends the body, resets the connection or just waits."""

    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": content_type, **headers})
        await response.prepare(request)
        for piece in pieces:
            if isinstance(piece, bytes):
                await response.write(piece)
            else:
                await asyncio.sleep(piece)
        if end == "hang":
            await asyncio.sleep(30)
        if end == "reset":
            assert request.transport is not None
            request.transport.abort()
        return response

    return handler


async def broken_refusal(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(status=422, headers={"content-length": "1000"})
    await response.prepare(request)
    return await reset(request)


def answer(status: int, body: object = None, **headers: str) -> Handler:
    async def handler(request: web.Request) -> web.StreamResponse:
        if isinstance(body, str):
            return web.Response(status=status, text=body, headers=headers)
        return web.json_response(body, status=status, headers=headers)

    return handler


async def reset(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def heard(client: NoxusClient, content: str = "hi") -> list[AgentEvent]:
    async with client.ask("c-1", content) as events:
        return [event async for event in events]


async def failing(client: NoxusClient) -> tuple[list[AgentEvent], AgentError]:
    """What was heard before the answer failed, and how."""
    events: list[AgentEvent] = []

    async def listen() -> None:
        async with client.ask("c-1", "hi") as incoming:
            async for event in incoming:
                events.append(event)  # noqa: PERF401 - what was heard before the failure counts

    with pytest.raises(AgentError) as caught:
        await listen()
    return events, caught.value


def test_it_is_an_agent() -> None:
    """The client fills the port."""
    agent: Agent = NoxusClient("https://noxus.example", KEY)
    assert isinstance(agent, NoxusClient)


# --- one answer --------------------------------------------------------------------------------------------------


async def test_an_answer_as_it_grows(backend: Backend) -> None:
    """One POST with all six fields, the key in its header, and the events of the stream."""
    backend.answers(stream(WHOLE))
    async with connected(backend.url + "/prefix/") as client:
        assert await heard(client, "hi \ud800") == WHOLE_EVENTS
    assert backend.requests == [("POST", "/prefix/v1/conversations/c-1/stream?format=json")]
    assert backend.headers[0]["X-API-Key"] == KEY
    assert backend.headers[0]["Accept"] == "text/event-stream"
    assert backend.bodies == [
        {
            "content": "hi \ufffd",
            "tool": None,
            "kb_id": None,
            "workflow_id": None,
            "files": None,
            "model_selection": None,
        }
    ]


async def test_ids_cannot_leave_their_place_in_the_path(backend: Backend) -> None:
    """An id with odd characters stays one segment of the path."""
    backend.answers(stream(WHOLE))
    async with connected(backend.url) as client, client.ask("a/../b?c#d", "hi") as events:
        assert [event async for event in events] == WHOLE_EVENTS
    assert backend.requests == [("POST", "/v1/conversations/a%2F..%2Fb%3Fc%23d/stream?format=json")]


async def test_answers_share_a_connection(backend: Backend) -> None:
    """An answer read to its end leaves the connection for the next one."""
    backend.answers(stream(WHOLE))
    async with connected(backend.url) as client:
        for _ in range(3):
            assert await heard(client) == WHOLE_EVENTS
    assert len(backend.connections) == 1


async def test_streams_are_utf_8(backend: Backend) -> None:
    """Whatever the header claims, with a byte order mark, and with every kind of line separator in the text."""
    text = "ü\u2028\u0085😀"
    frame = f'data: {{"type":"text-delta","id":"a","delta":"{text}"}}\n\n'.encode()
    backend.answers(
        stream(
            b"\xef\xbb\xbf" + frame[:45], 0.02, frame[45:] + WHOLE, content_type="text/event-stream; charset=latin-1"
        )
    )
    async with connected(backend.url) as client:
        assert await heard(client) == [TextDelta("a", text), *WHOLE_EVENTS]


@pytest.mark.parametrize(
    ("handler", "error", "said"),
    [
        (stream(says(HELLO, FINISH)), None, 2),
        (stream(says(HELLO, FINISH), end="reset"), None, 2),
        (stream(says(HELLO, "data: [DONE]")), None, 1),
        (stream(says(HELLO, DONE)), None, 1),
        (stream(says(HELLO, DONE), end="hang"), None, 1),
        (stream(says(HELLO, DONE, HELLO, HELLO)), None, 1),
        (stream(), StreamBroken, 0),
        (stream(says(HELLO)), StreamBroken, 1),
        (stream(says(HELLO), 0.05, end="reset"), StreamBroken, 1),
        (stream(says(HELLO) + b'data: {"event":"fin'), StreamBroken, 1),
        (stream(says(HELLO, "event: timeout\ndata: {}")), AgentTimedOut, 1),
        (stream(says(HELLO, "event: error\ndata: oops", HELLO, DONE)), AgentRunFailed, 2),
        (stream(says(HELLO, {"type": "error", "errorText": "boom"}, HELLO)), AgentRunFailed, 2),
        (stream(says(HELLO, {"type": "finish", "finishReason": "error"}, DONE)), AgentRunFailed, 1),
        (stream(says({"type": "error", "errorText": "usage_limits_max_messages of 100"}, DONE)), ConversationFull, 0),
        (stream(says(HELLO, {"type": "error", "errorText": "message limit reached"}, DONE)), AgentRunFailed, 1),
        (stream(says({"type": "error", "errorText": "exceeds the request_limit of 2"}, DONE)), AgentRunFailed, 0),
    ],
)
async def test_every_way_a_stream_ends(
    backend: Backend, handler: Handler, error: type[AgentError] | None, said: int
) -> None:
    """A complete answer ends the iteration; anything else raises what it is, after all that was said."""
    backend.answers(handler)
    async with connected(backend.url) as client:
        started = time.monotonic()
        if error is None:
            events = await heard(client)
        else:
            events, caught = await failing(client)
            assert type(caught) is error
            assert caught.may_have_arrived
        assert len(events) == said
        assert time.monotonic() - started < 2


async def test_a_finished_answer_does_not_wait_long_for_done(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    """After ``finish`` a server that keeps the connection open costs a short wait, not the idle deadline."""
    monkeypatch.setattr("slackbot.noxus.answer._AFTER_FINISH_SECONDS", 0.05)
    backend.answers(stream(says(HELLO, FINISH), end="hang"))
    async with connected(backend.url) as client:
        assert await heard(client) == WHOLE_EVENTS


async def test_leaving_midway_closes_the_connection(backend: Backend) -> None:
    """Whoever stops listening hangs up."""
    backend.answers(stream(says(HELLO), end="hang"))
    async with connected(backend.url) as client:
        async with client.ask("c-1", "hi") as events:
            assert await anext(events) == TextDelta("a", "hello")
        await asyncio.wait_for(backend.gone.wait(), 2)


# --- files -------------------------------------------------------------------------------------------------------

MB = 1024 * 1024


def bytes_file(content: bytes, name: str = "a.txt") -> FileBytes:
    return FileBytes(name, "text/plain", len(content), io.BytesIO(content))


def big(content: BinaryIO) -> FileBytes:
    """Much more than the sockets between us and a server hold."""
    content.truncate(16 * MB)
    return FileBytes("a.bin", "a/b", 16 * MB, content)


async def refused(client: NoxusClient, *files: FileBytes | FileLink) -> AgentError:
    with pytest.raises(AgentError) as caught:
        async with client.ask("c-1", "see", files):
            pass
    return caught.value


Peer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def peer(serve: Peer, **settings: Any) -> AsyncIterator[NoxusClient]:
    """A client of a server that answers each connection like this, byte by byte."""
    served: list[asyncio.Task[None]] = []

    async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        served.append(asyncio.current_task())  # type: ignore[arg-type]
        try:
            await serve(reader, writer)
        finally:
            writer.transport.abort()

    server = await asyncio.start_server(connection, "127.0.0.1", 0)
    try:
        async with connected(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", **settings) as client:
            yield client
    finally:
        server.close()
        for task in served:
            task.cancel()
        await asyncio.gather(*served, return_exceptions=True)


@pytest.mark.parametrize("mode", ["stream", "chat"])
async def test_files_go_along(backend: Backend, mode: str) -> None:
    """With name, type, size and bytes, or with their address; in a body whose length is known before."""
    backend.answers(stream(WHOLE) if mode == "stream" else answer(200, {"parts": []}))
    async with connected(backend.url, mode=mode) as client:
        link = FileLink("b.pdf", "application/pdf", "https://b.example/x")
        files: list[FileBytes | FileLink] = [bytes_file(b"\x00\xff\x01\xfe"), link]
        async with client.ask("c-1", "see", files) as events:
            assert [event async for event in events][-1] == RunFinished()
    others = dict.fromkeys(("tool", "kb_id", "workflow_id", "model_selection"))
    inline = {"name": "a.txt", "type": "text/plain", "size": 4, "b64_content": "AP8B/g=="}
    linked = {"name": "b.pdf", "type": "application/pdf", "url": "https://b.example/x"}
    assert backend.bodies == [{"content": "see", "files": [inline, linked], **others}]
    assert backend.headers[0]["Content-Type"] == "application/json"
    assert int(backend.headers[0]["Content-Length"]) > 0
    assert "Transfer-Encoding" not in backend.headers[0]


@pytest.mark.parametrize("first", [answer(429), answer(404, {"detail": "Not Found"})])
async def test_files_are_sent_again_from_their_start(backend: Backend, first: Handler) -> None:
    """After a 429 and to a server without streams."""
    backend.tells = True
    backend.answers(first, answer(200, {"parts": []}))
    async with connected(backend.url) as client, client.ask("c-1", "see", [bytes_file(b"abc")]):
        pass
    bodies = [body["files"][0]["b64_content"] for body in backend.bodies if body]
    assert bodies == ["YWJj", "YWJj"]


async def test_files_too_big_for_noxus(backend: Backend) -> None:
    """A 413 for a message with files is about them."""
    backend.answers(answer(413, "too large"))
    async with connected(backend.url) as client:
        error = await refused(client, bytes_file(b"abc"))
    assert (type(error), error.may_have_arrived, error.status) == (FilesTooBig, False, 413)


async def test_files_refused_before_they_are_sent() -> None:
    """A server that looks at the announced length alone answers 413 while we still send."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        while await reader.read(MB):
            pass

    with tempfile.TemporaryFile() as content:
        async with peer(serve) as client:
            assert type(await refused(client, big(content))) is FilesTooBig


@pytest.mark.parametrize(("breaks", "kind"), [("reset", FilesUnsent), ("silence", AgentTimedOut)])
async def test_half_a_message_has_not_arrived(breaks: str, kind: type[AgentError]) -> None:
    """Whatever ends the sending before the last byte: no server can have taken that for a message. It is sent once."""
    connections = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await reader.readexactly(MB)
        if breaks == "silence":
            await asyncio.sleep(30)

    with tempfile.TemporaryFile() as content:
        async with peer(serve, idle_seconds=1.5) as client:
            error = await refused(client, big(content))
    assert (type(error), error.may_have_arrived, connections) == (kind, False, 1)


async def test_a_whole_message_without_an_answer_may_have_arrived() -> None:
    """All was sent; then the connection broke."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if (await reader.readexactly(4)).startswith(b"POST"):
            await reader.readuntil(b'"model_selection":null}')
        else:
            writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
            await writer.drain()

    async with peer(serve) as client:
        error = await refused(client, bytes_file(b"abc"))
    assert (type(error), error.may_have_arrived) == (AgentUnavailable, True)


async def test_sending_files_may_take_longer_than_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    """As long as they move on, only the deadline of the whole answer counts; nobody doubts that Noxus is there."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        read = b""
        while not read.endswith(b'"model_selection":null}'):
            read = read[-30:] + await reader.read(MB)
            await asyncio.sleep(0.02)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n" + WHOLE)
        await writer.drain()

    with tempfile.TemporaryFile() as content:
        with monkeypatch.context() as doubtful:
            doubtful.setattr(caller, "DOUBT_SECONDS", 0.6)
            doubtful.setattr(caller, "LOOK_SECONDS", 0.2)
            doubtful.setattr(breaker, "RUN_SECONDS", 0.0)
            doubtful.setattr(breaker, "FAILURES", 1)
            async with peer(serve, idle_seconds=1.5) as client, client.ask("c-1", "see", [big(content)]) as events:
                assert [event async for event in events] == WHOLE_EVENTS
        async with peer(serve, idle_seconds=1.5, total_seconds=1.0) as client:
            assert type(await refused(client, big(content))) is AgentTimedOut


async def test_a_file_that_changed_is_not_sent(backend: Backend) -> None:
    """What is not as long as it said would be another file."""
    backend.answers(stream(WHOLE))
    async with connected(backend.url) as client:
        error = await refused(client, FileBytes("a", "a/b", 4, io.BytesIO(b"abc")))
    assert (type(error), error.may_have_arrived, backend.requests) == (AgentRefused, False, [])


async def test_the_simulated_noxus_gets_what_was_sent() -> None:
    """Byte for byte, with the name, type and size that we told."""
    contents = [b"", b"%PDF-1.4\n", bytes(range(256)) * 5000, "grüße".encode()]
    async with simulated() as (noxus, client, conversation):
        files = [bytes_file(content, f"{index} ü.txt") for index, content in enumerate(contents)]
        async with client.ask(
            conversation, "/sum", [*files, FileLink("l.png", "image/png", "https://a.example/l")]
        ) as events:
            said = "".join([event.text async for event in events if isinstance(event, TextDelta)])
        sums = [hashlib.sha256(content).hexdigest() for content in contents]
        assert said.splitlines() == [
            *(f"- `{f.name}`, text/plain, {f.size} bytes, {s[:12]}" for f, s in zip(files, sums, strict=True)),
            "- `l.png`, image/png, at https://a.example/l",
        ]
        told = noxus.requests[-1].files
        assert [(file["bytes"], file["size"], file["sha256"]) for file in told] == [
            (len(content), len(content), digest) for content, digest in zip(contents, sums, strict=True)
        ]
        assert base64.b64encode(contents[2]).decode() not in json.dumps(noxus.requests[-1].body)
        noxus.switches.b64_limit = 1000
        with pytest.raises(FilesTooBig):
            async with client.ask(conversation, "/sum", files):
                pass


async def test_being_cancelled_closes_the_connection(backend: Backend) -> None:
    """A cancelled listener hangs up too, whether the answer has begun or not."""
    for handler in (stream(says(HELLO), end="hang"), stream(30.0)):
        backend.answers(handler)
        backend.gone.clear()
        async with connected(backend.url) as client:
            asked = len(backend.requests)
            listening = asyncio.create_task(heard(client))
            while len(backend.requests) == asked:
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.05)
            listening.cancel()
            with pytest.raises(asyncio.CancelledError):
                await listening
            await asyncio.wait_for(backend.gone.wait(), 2)


# --- deadlines ---------------------------------------------------------------------------------------------------

PING = b": ping\r\n\r\n"


def dripping(piece: bytes, times: int = 40) -> list[bytes | float]:
    return [part for _ in range(times) for part in (piece, 0.05)]


@pytest.mark.parametrize(
    ("handler", "settings", "said"),
    [
        (stream(says(HELLO), end="hang"), {"idle_seconds": 0.5}, 1),
        (stream(says(HELLO), *dripping(PING)), {"idle_seconds": 0.5}, 1),
        (stream(b"id: 1-0\r\n" + says(HELLO), *dripping(PING)), {"idle_seconds": 0.5}, 1),
        (stream(*dripping(b"x")), {"idle_seconds": 0.5}, 0),
        (stream(*dripping(says(HELLO))), {"total_seconds": 0.7}, None),
    ],
    ids=["silence", "pings", "pings after an id", "half a record", "endless"],
)
async def test_waiting_has_an_end(
    backend: Backend, handler: Handler, settings: dict[str, Any], said: int | None
) -> None:
    """Silence between records is bounded whatever else drips in, and so is the whole answer."""
    backend.answers(handler)
    async with connected(backend.url, **settings) as client:
        started = time.monotonic()
        events, error = await failing(client)
        assert type(error) is AgentTimedOut
        assert time.monotonic() - started < 1.8
        assert said is None or len(events) == said


async def test_records_keep_an_answer_alive(backend: Backend) -> None:
    """An answer may take longer than the idle deadline as long as it goes on."""
    backend.answers(stream(*dripping(says(HELLO), 8), WHOLE))
    async with connected(backend.url, idle_seconds=0.35) as client:
        assert len(await heard(client)) == 10


@pytest.mark.parametrize("mode", ["stream", "chat"])
async def test_waiting_for_the_first_byte_has_an_end(backend: Backend, mode: str) -> None:
    """A server that takes the message and says nothing may have it."""

    async def silent(request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(30)
        return web.Response()

    backend.answers(silent)
    async with connected(backend.url, mode=mode, idle_seconds=1.0, total_seconds=1.0) as client:
        _, error = await failing(client)
    assert (type(error), error.may_have_arrived, len(backend.requests)) == (AgentTimedOut, True, 1)


async def test_a_failure_before_a_silence_stays_a_failure(backend: Backend) -> None:
    """An error that is followed by nothing at all is reported as what it is."""
    backend.answers(stream(says({"type": "error", "errorText": "boom"}), end="hang"))
    async with connected(backend.url, idle_seconds=0.5) as client:
        _, error = await failing(client)
    assert (type(error), str(error)) == (AgentRunFailed, "boom")


# --- refusals ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "body", "error", "may_have_arrived"),
    [
        (400, {"detail": "bad"}, AgentRefused, False),
        (401, {"detail": "bad key"}, AgentKeyRejected, False),
        (402, {"detail": "pay"}, AgentError, False),
        (403, {"detail": "The maximum messages are not yours to see"}, AgentKeyRejected, False),
        (408, "", AgentUnavailable, True),
        (409, {"detail": "A run is already in progress"}, AgentBusy, False),
        (413, "too large", AgentRefused, False),
        (422, {"detail": [{"loc": ["body", "content"], "msg": "bad"}]}, AgentRefused, False),
        (400, {"detail": "The conversation reached usage_limits_max_messages of 100"}, ConversationFull, False),
        (403, {"error": "x"}, AgentKeyRejected, False),
        (409, {"message": "Maximum number of messages reached"}, ConversationFull, False),
        (422, {"detail": "Message limit reached"}, ConversationFull, False),
        (400, {"detail": "too many messages in this conversation"}, ConversationFull, False),
        (429, {"detail": "max_messages reached"}, ConversationFull, False),
        (400, {"detail": "maximum message length is 5"}, AgentRefused, False),
        (500, {"detail": "boom"}, AgentUnavailable, True),
        (502, "<html>Bad Gateway</html>", AgentUnavailable, True),
        (503, {"detail": "max messages"}, AgentUnavailable, True),
        (307, "", AgentUnavailable, False),
    ],
)
async def test_every_refusal_has_its_error(
    backend: Backend, status: int, body: object, error: type[AgentError], *, may_have_arrived: bool
) -> None:
    """Each status becomes our error, once, with Noxus's request id, and says whether the message may have arrived."""
    elsewhere = {"location": "http://localhost:1/"} if status == 307 else {}
    backend.answers(answer(status, body, **{"x-request-id": "req-7"}, **elsewhere))
    async with connected(backend.url) as client:
        _, caught = await failing(client)
    assert type(caught) is error
    assert (caught.status, caught.request_id, caught.may_have_arrived) == (status, "req-7", may_have_arrived)
    assert len(backend.requests) == 1


async def test_a_refusal_that_breaks_off_is_still_one(backend: Backend) -> None:
    """The status counts, also when its reason gets lost."""
    backend.answers(broken_refusal)
    async with connected(backend.url) as client:
        _, error = await failing(client)
    assert (type(error), error.status, error.may_have_arrived) == (AgentRefused, 422, False)


async def test_the_key_is_never_in_an_error(backend: Backend) -> None:
    """Servers that repeat the key do not get it into the log; long and many-lined details get short."""
    detail = f"no such key {KEY}\n" + "x" * 1000
    backend.answers(
        answer(401, {"detail": detail}),
        stream(says({"type": "error", "errorText": detail})),
        answer(200, {"detail": detail}),
    )
    async with connected(backend.url) as client:
        for _ in range(3):
            _, error = await failing(client)
            assert KEY not in str(error)
            assert "no such key *** xxx" in str(error)
            assert "\n" not in str(error)
            assert len(str(error)) < 400


async def test_the_request_id_of_a_broken_stream_is_kept(backend: Backend) -> None:
    """What fails after a good start can be looked up as well."""
    backend.answers(stream(says(HELLO), **{"x-noxus-request-id": "req-8"}))
    async with connected(backend.url) as client:
        _, error = await failing(client)
    assert error.request_id == "req-8"


# --- trying again ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "pause"),
    [
        ({"retry-after": "7"}, 7.0 + SPREAD_SECONDS),
        ({"retry-after": "0.5"}, 0.5 + SPREAD_SECONDS),
        ({"retry-after": "-3"}, SPREAD_SECONDS),
        ({"retry-after": "86400"}, 30.0 + SPREAD_SECONDS),
        ({"retry-after": "soon"}, 1.0),
        ({"retry-after": "nan"}, 1.0),
        ({}, 1.0),
        (
            {"retry-after": "Sun, 22 Nov 2026 10:00:09 GMT", "date": "Sun, 22 Nov 2026 10:00:00 GMT"},
            9.0 + SPREAD_SECONDS,
        ),
        ({"retry-after": "Sun, 22 Nov 2026 10:00:09", "date": "Sun, 22 Nov 2026 10:00:00 GMT"}, 1.0),
    ],
)
async def test_a_busy_server_says_when_to_come_back(backend: Backend, headers: dict[str, str], pause: float) -> None:
    """429 is tried again soon after ``Retry-After``, seconds or a date, at most 30, else after one second."""
    patience = Patience()
    backend.answers(answer(429, {"detail": "too many messages per minute"}, **headers), stream(WHOLE))
    async with connected(backend.url, patience) as client:
        assert await heard(client) == WHOLE_EVENTS
    assert patience.slept == [pause]


async def test_a_date_that_is_over(backend: Backend) -> None:
    """A date in the past means now."""
    patience = Patience()
    past = format_datetime(datetime.now(UTC) - timedelta(hours=1), usegmt=True)
    backend.answers(answer(429, None, **{"retry-after": past}), stream(WHOLE))
    async with connected(backend.url, patience) as client:
        await heard(client)
    assert patience.slept == [SPREAD_SECONDS]


async def test_patience_with_a_busy_server_ends(backend: Backend) -> None:
    """After five retries, each later than the one before, it is busy."""
    patience = Patience()
    backend.answers(answer(429, {"detail": "slow down"}))
    async with connected(backend.url, patience) as client:
        _, error = await failing(client)
    assert (type(error), error.may_have_arrived) == (AgentBusy, False)
    assert patience.slept == [1.0, 2.0, 4.0, 8.0, 16.0]
    assert len(backend.requests) == 6


async def test_waiting_for_a_busy_server_stays_within_the_total(backend: Backend) -> None:
    """A pause that leads beyond the total deadline is not begun."""
    patience = Patience()
    backend.answers(answer(429, None, **{"retry-after": "20"}))
    async with connected(backend.url, patience, total_seconds=10) as client:
        _, error = await failing(client)
    assert (type(error), patience.slept) == (AgentBusy, [])


async def test_a_server_that_is_not_there(unused_tcp_port: int) -> None:
    """Failed connects are tried again, and certainly brought nothing."""
    patience = Patience()
    async with connected(f"http://127.0.0.1:{unused_tcp_port}", patience) as client:
        _, error = await failing(client)
    assert (type(error), error.may_have_arrived, error.status) == (AgentUnavailable, False, 0)
    assert patience.slept == [0.25, 0.5]


@pytest.mark.parametrize("is_lost", [False, True])
async def test_a_question_is_repeated_only_by_whom_has_its_turn(backend: Backend, *, is_lost: bool) -> None:
    """Who loses the database in a pause waits until it is back, and asks nothing when the turn is another's by then."""
    standing, paused = Standing("me"), asyncio.Event()
    lease = Lease(standing)
    lease.confirm(now(), 60)

    async def sleep(_: float) -> None:
        standing.lose()
        paused.set()

    async def turn(client: NoxusClient) -> list[AgentEvent]:
        current.set(lease)
        return await heard(client)

    backend.answers(answer(429), stream(WHOLE))
    async with connected(backend.url, sleep=sleep) as client:
        asking = asyncio.create_task(turn(client))
        await paused.wait()
        await asyncio.sleep(0.1)
        assert len(backend.requests) == 1
        standing.regain()
        if is_lost:
            lease.lose()
            with pytest.raises(TurnLost):
                await asking
        else:
            lease.confirm(now(), 60)
            assert await asking == WHOLE_EVENTS
    assert len(backend.requests) == 2 - is_lost


@pytest.mark.parametrize("mode", ["stream", "chat"])
async def test_a_message_that_may_have_arrived_is_not_sent_again(backend: Backend, mode: str) -> None:
    """A connection that dies after the request was sent leaves one request behind."""
    patience = Patience()
    backend.answers(reset)
    async with connected(backend.url, patience, mode=mode) as client:
        _, error = await failing(client)
    assert (type(error), error.may_have_arrived) == (AgentUnavailable, True)
    assert (len(backend.requests), patience.slept) == (1, [])


# --- without streams ---------------------------------------------------------------------------------------------

CHAT = {"id": "m", "parts": [{"kind": "response", "parts": [{"part_kind": "text", "content": "whole"}]}]}
CHAT_EVENTS = [TextDelta("part-2", "whole"), RunFinished()]
STREAM_PATH = ("POST", "/v1/conversations/c-1/stream?format=json")
CHAT_PATH = ("POST", "/v1/conversations/c-1/chat")


@pytest.mark.parametrize("status", [405, 406, 501])
async def test_a_server_without_streams_is_asked_for_whole_answers(backend: Backend, status: int) -> None:
    """The endpoint that does not exist is asked once in the client's life."""
    backend.answers(answer(status, {"detail": "no"}), answer(200, CHAT))
    async with connected(backend.url) as client:
        assert await heard(client) == CHAT_EVENTS
        assert await heard(client) == CHAT_EVENTS
    assert backend.requests == [STREAM_PATH, CHAT_PATH, CHAT_PATH]
    assert backend.bodies[0] == backend.bodies[1]


async def test_a_missing_endpoint_is_told_from_a_missing_conversation(backend: Backend) -> None:
    """404 for the stream of a conversation that exists means that there are no streams."""
    backend.tells = True
    backend.answers(answer(404, {"detail": "Not Found"}), answer(200, {"id": "c-1"}), answer(200, CHAT))
    async with connected(backend.url) as client:
        assert await heard(client) == CHAT_EVENTS
    assert backend.requests == [STREAM_PATH, ("GET", "/v1/conversations/c-1"), CHAT_PATH]


async def test_a_conversation_that_is_gone(backend: Backend) -> None:
    """404 for both is a conversation that is gone, and streams go on being used."""
    backend.tells = True
    backend.answers(answer(404, {"detail": "x"}), answer(404, {"detail": "x"}), stream(WHOLE))
    async with connected(backend.url) as client:
        _, error = await failing(client)
        assert (type(error), error.may_have_arrived) == (ConversationGone, False)
        assert await heard(client) == WHOLE_EVENTS


async def test_not_knowing_which_is_missing(backend: Backend) -> None:
    """When the question cannot be settled the conversation is kept, and nothing was taken."""
    backend.tells = True
    backend.answers(answer(404, {"detail": "x"}), answer(503, {"detail": "x"}))
    async with connected(backend.url) as client:
        _, error = await failing(client)
    assert (type(error), error.may_have_arrived) == (AgentUnavailable, False)
    assert len(backend.requests) == 4


async def test_a_whole_answer_to_a_stream_request_is_the_answer(backend: Backend) -> None:
    """JSON instead of a stream is read, not asked for again; from then on whole answers are asked for."""
    backend.answers(answer(200, CHAT))
    async with connected(backend.url) as client:
        assert await heard(client) == CHAT_EVENTS
        assert await heard(client) == CHAT_EVENTS
    assert backend.requests == [STREAM_PATH, CHAT_PATH]


async def test_whole_answers_by_setting(backend: Backend) -> None:
    """In chat mode no stream is asked for, and a 404 is a conversation that is gone."""
    backend.answers(answer(200, CHAT), answer(404, {"detail": "x"}))
    async with connected(backend.url, mode="chat") as client:
        assert await heard(client) == CHAT_EVENTS
        _, error = await failing(client)
    assert type(error) is ConversationGone
    assert backend.requests == [CHAT_PATH, CHAT_PATH]


@pytest.mark.parametrize(
    ("handler", "error"),
    [
        (answer(200, "<html>Log in</html>"), AgentUnavailable),
        (answer(200, {"detail": "boom"}), AgentRunFailed),
        (answer(200, {}), AgentRunFailed),
        (stream(b'{"parts": [', end="reset", content_type="application/json"), StreamBroken),
        (stream(b'{"parts": [', end="hang", content_type="application/json"), AgentTimedOut),
    ],
)
async def test_answers_that_are_none(backend: Backend, handler: Handler, error: type[AgentError]) -> None:
    """What is neither a stream nor a message fails in words, is not asked for again, and proves nothing of streams."""
    backend.answers(handler, stream(WHOLE))
    async with connected(backend.url, total_seconds=1.5) as client:
        events, caught = await failing(client)
        assert (events, type(caught), caught.may_have_arrived, len(backend.requests)) == ([], error, True, 1)
        assert await heard(client) == WHOLE_EVENTS


# --- conversations -----------------------------------------------------------------------------------------------


async def test_creating_a_conversation_with_an_agent(backend: Backend) -> None:
    """The agent is named in the query, the settings are left to it."""
    backend.answers(answer(200, {"id": "c-1", "settings": {}}))
    async with connected(backend.url) as client:
        assert await client.create_conversation(AGENT, "Slack T1/C1/1.0") == "c-1"
    assert backend.requests == [("POST", "/v1/conversations?assistant_id=agent-1")]
    assert backend.bodies == [{"name": "Slack T1/C1/1.0", "settings": None}]


async def test_creating_a_conversation_with_a_chat_flow(backend: Backend) -> None:
    """A chat flow is named in the settings, without an agent."""
    backend.answers(answer(200, {"id": "c-1"}))
    async with connected(backend.url) as client:
        assert await client.create_conversation(AgentTarget(flow_id="flow-1"), "n") == "c-1"
    assert backend.requests == [("POST", "/v1/conversations")]
    settings = {
        "agent_flow_id": "flow-1",
        "model": ["preset:cost"],
        "temperature": 0.7,
        "max_tokens": 64000,
        "tools": [],
    }
    assert backend.bodies == [{"name": "n", "settings": settings}]


@pytest.mark.parametrize(
    ("handler", "error"),
    [
        (answer(404, {"detail": "x"}), AgentUnknown),
        (answer(400, {"detail": "Assistant not found"}), AgentUnknown),
        (answer(422, {"detail": [{"loc": ["query", "assistant_id"], "msg": "not a uuid"}]}), AgentUnknown),
        (answer(422, {"detail": [{"loc": ["body", "name"], "msg": "too long"}]}), AgentRefused),
        (answer(401, {"detail": "x"}), AgentKeyRejected),
        (answer(500, {"detail": "x"}), AgentUnavailable),
        (answer(200, {"name": "x"}), AgentUnavailable),
        (answer(200, {"id": ""}), AgentUnavailable),
        (answer(200, "<html>"), AgentUnavailable),
        (reset, AgentUnavailable),
    ],
)
async def test_a_conversation_that_cannot_be_created(
    backend: Backend, handler: Handler, error: type[AgentError]
) -> None:
    """Each reason has its error, is met once, and has taken no message."""
    backend.answers(handler)
    async with connected(backend.url) as client:
        with pytest.raises(AgentError) as caught:
            await client.create_conversation(AGENT, "n")
    assert (type(caught.value), caught.value.may_have_arrived, len(backend.requests)) == (error, False, 1)


async def test_redirects_are_not_followed(backend: Backend) -> None:
    """The key goes nowhere but to the configured address."""
    backend.answers(answer(307, None, location=f"{backend.url}/elsewhere"))
    async with connected(backend.url) as client:
        with pytest.raises(AgentUnavailable):
            await client.create_conversation(AGENT, "n")
    assert len(backend.requests) == 1


async def test_a_proxy_is_used_as_the_environment_says(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    """The usual variables lead through a proxy."""
    monkeypatch.setenv("HTTP_PROXY", backend.url)
    backend.answers(answer(200, {"id": "c-1"}))
    async with connected("http://noxus.invalid") as client:
        assert await client.create_conversation(AGENT, "n") == "c-1"


# --- the agent's profile -----------------------------------------------------------------------------------------

PROFILE = {
    "id": "agent-1",
    "name": "Ada",
    "definition": {
        "introductory_message": [{"text": "Hello!", "definition": {}}, "Ask me.", {"definition": {}}, 7],
        "base_tools": [
            {"type": "web_research", "visible": True, "tool_display_message_start": "Searching the web..."},
            {"type": "filesystem", "visible": False, "tool_display_message_start": "Accessing..."},
            {"type": "memory"},
            {"type": 7},
            "x",
        ],
        "workflows": [
            {"type": "web_research", "tool_display_message_start": "second"},
            {"type": "filesystem", "tool_display_message_start": "second"},
        ],
        "tools": None,
    },
}


async def test_a_profile(backend: Backend) -> None:
    """Name, greeting and tool texts come from the agent's definition; invisible tools are only named as hidden."""
    backend.answers(answer(200, PROFILE))
    async with connected(backend.url) as client:
        assert await client.profile(AGENT) == AgentProfile(
            "Ada",
            "Hello!\nAsk me.",
            {"web_research": "Searching the web..."},
            hidden_tools=frozenset({"filesystem"}),
        )
    assert backend.requests == [("GET", "/v1/agents/agent-1")]


@pytest.mark.parametrize(
    ("agent", "greeting"),
    [
        ({"settings": {"introductory_message": {"text": " Hi "}}}, "Hi"),
        ({"definition": {"settings": {"introductory_message": "Hi"}}}, "Hi"),
        ({"definition": {"introductory_message": {"x": 1}}}, ""),
        ({"definition": "x"}, ""),
        ([], ""),
    ],
)
async def test_profiles_in_other_shapes(backend: Backend, agent: object, greeting: str) -> None:
    """Settings may stand in several places, or nowhere."""
    backend.answers(answer(200, agent))
    async with connected(backend.url) as client:
        assert (await client.profile(AGENT)).introductory_message == greeting


async def test_a_profile_is_remembered_for_ten_minutes(backend: Backend) -> None:
    """Many turns at once read it once; ten minutes later it is read again; a failure then keeps what is known."""
    now = 0.0
    backend.answers(answer(200, PROFILE), answer(404, {"detail": "x"}))
    async with connected(backend.url, clock=lambda: now) as client:
        profiles = await asyncio.gather(*(client.profile(AGENT) for _ in range(20)))
        now = PROFILE_SECONDS - 1
        profiles.append(await client.profile(AGENT))
        assert len(backend.requests) == 1
        now = PROFILE_SECONDS + 1
        profiles.append(await client.profile(AGENT))
        assert len(backend.requests) == 2
    assert {profile.name for profile in profiles} == {"Ada"}


async def test_a_profile_that_cannot_be_read(backend: Backend) -> None:
    """It is empty, after GET's retries, and looked for again a minute later."""
    now = 0.0
    backend.answers(answer(503, None), reset, answer(500, None), answer(200, PROFILE))
    patience = Patience()
    async with connected(backend.url, patience, clock=lambda: now) as client:
        assert await client.profile(AGENT) == AgentProfile()
        assert await client.profile(AGENT) == AgentProfile()
        assert (len(backend.requests), patience.slept) == (3, [0.25, 0.5])
        now = PROFILE_RETRY_SECONDS + 1
        assert (await client.profile(AGENT)).name == "Ada"


async def test_a_chat_flow_has_no_profile(backend: Backend) -> None:
    """Nothing is asked for."""
    async with connected(backend.url) as client:
        assert await client.profile(AgentTarget(flow_id="flow-1")) == AgentProfile()
    assert backend.requests == []


# --- against the simulated Noxus ---------------------------------------------------------------------------------


@asynccontextmanager
async def simulated(**switches: Any) -> AsyncIterator[tuple[NoxusSimulator, NoxusClient, str]]:
    """A simulated Noxus in a hurry, a client of it, and a conversation."""
    noxus = NoxusSimulator(**{"first_token_delay": 0.0, "rate": 5000.0, "prefix": "/api/backend", **switches})
    await noxus.start()
    client = NoxusClient(noxus.url, noxus.api_key, idle_seconds=2.0, sleep=Patience().sleep)
    try:
        target = AgentTarget(agent_id=noxus.agent_id)
        yield noxus, client, await client.create_conversation(target, "Slack T1/C1/1.0")
    finally:
        await client.aclose()
        await noxus.stop()


async def reply(client: NoxusClient, conversation: str, content: str) -> tuple[list[str], list[AgentEvent]]:
    """The text blocks of an answer, and the other events."""
    blocks: dict[str, str] = {}
    others: list[AgentEvent] = []
    async with client.ask(conversation, content) as events:
        async for event in events:
            if isinstance(event, TextDelta):
                blocks[event.block] = blocks.get(event.block, "") + event.text
            else:
                others.append(event)
    return list(blocks.values()), others


@pytest.mark.parametrize(
    "switches",
    [
        {},
        {"inner_type": False},
        {"inner_string": True},
        {"envelope": False},
        {"done_event": False},
        {"sse_ids": False, "line_end": "\n", "keep_alive": 0},
        {"sdk_version": 6, "error_as": "event"},
    ],
    ids=str,
)
async def test_every_variant_of_the_stream(switches: dict[str, Any]) -> None:
    """The same conversation goes well however Noxus writes its streams."""
    async with simulated(**switches) as (noxus, client, conversation):
        said = "One ü\u2028\u0085 😀 **two**"
        assert await reply(client, conversation, f"/say {said}") == ([said], [RunFinished()])
        blocks, others = await reply(client, conversation, "/tool web_research")
        assert len(blocks) == 2
        names = [event.name for event in others if isinstance(event, ToolStarted | ToolFinished)]
        assert names == ["web_research", "web_research"]
        assert (await reply(client, conversation, "/silent"))[0] == []
        with pytest.raises(AgentRunFailed):
            await reply(client, conversation, "/fail")
        approvals = [
            event
            for event in (await reply(client, conversation, "/approve"))[1]
            if isinstance(event, ApprovalRequested)
        ]
        assert len(approvals) == (switches.get("sdk_version") == 6)
        assert len(noxus.conversations[conversation].asked) == 5


@pytest.mark.parametrize(
    ("content", "error"),
    [
        ("/fail", AgentRunFailed),
        ("/timeout", AgentTimedOut),
        ("/frames tool_raises", AgentRunFailed),
    ],
)
async def test_runs_that_go_wrong(content: str, error: type[AgentError]) -> None:
    """Each way a run can fail has its error, and the next message is answered again."""
    async with simulated() as (_, client, conversation):
        with pytest.raises(error) as caught:
            await reply(client, conversation, content)
        assert caught.value.request_id
        assert (await reply(client, conversation, "/say fine"))[0] == ["fine"]


async def test_whole_answers_of_the_simulated_noxus() -> None:
    """Chat mode says what the stream says."""
    async with simulated() as (noxus, streaming, conversation):
        client = NoxusClient(noxus.url, noxus.api_key, mode="chat")
        try:
            for content in ("/say whole", "/frames tool_call"):
                expected = "".join((await reply(streaming, conversation, content))[0])
                assert "".join((await reply(client, conversation, content))[0]) == expected
        finally:
            await client.aclose()
        assert [request.endpoint for request in noxus.requests] == ["create", *["stream", "chat"] * 2]


@pytest.mark.parametrize("style", ["400", "error_frame"])
async def test_a_full_conversation(style: str) -> None:
    """However Noxus says that the conversation is full, it is understood."""
    async with simulated(message_cap=2, message_cap_style=style) as (_, client, conversation):
        await reply(client, conversation, "/say one")
        with pytest.raises(ConversationFull):
            await reply(client, conversation, "/say two")


async def test_faults_of_the_simulated_noxus() -> None:
    """Busy servers are waited for, dead ones reported, a lost conversation is told, and nothing is sent twice."""
    async with simulated() as (noxus, client, conversation):
        noxus.faults.add(path="stream", status=429, retry_after=3, times=2)
        assert (await reply(client, conversation, "/say a"))[0] == ["a"]
        noxus.faults.add(path="stream", drop="before")
        with pytest.raises(AgentUnavailable) as caught:
            await reply(client, conversation, "/say lost")
        assert caught.value.may_have_arrived
        begun: list[Literal["after", "headers", "mid"]] = ["after", "headers", "mid"]
        for begin in begun:
            noxus.faults.add(path="stream", drop=begin)
            assert len("".join((await reply(client, conversation, "/words 50 rate=1000"))[0]).split()) == 50
        noxus.faults.add(path="stream", status=404, body={"detail": "Not Found"})
        assert (await reply(client, conversation, "/say c"))[0] == ["c"]
        with pytest.raises(ConversationGone):
            await reply(client, "00000000-0000-4000-8000-000000000000", "/say d")
        assert [asked for asked in noxus.asked if not asked.startswith("/words")] == ["/say a", "/say c"]


@pytest.mark.parametrize("status", [400, 404])
async def test_agents_of_the_simulated_noxus(status: int) -> None:
    """Agents and chat flows that exist are used; others are unknown; the profile is read."""
    async with simulated(unknown_agent_status=status) as (noxus, client, _):
        flow = await client.create_conversation(AgentTarget(flow_id=noxus.flow_id), "n")
        assert (await reply(client, flow, "/say flow"))[0] == ["flow"]
        for unknown in (AgentTarget(agent_id=noxus.flow_id), AgentTarget(flow_id=noxus.agent_id)):
            with pytest.raises(AgentUnknown):
                await client.create_conversation(unknown, "n")
        profile = await client.profile(AgentTarget(agent_id=noxus.agent_id))
        assert profile.tool_messages["web_research"] == "Searching the web..."
        assert "filesystem" in profile.hidden_tools
        assert profile.name
        async with connected(noxus.url) as stranger:
            with pytest.raises(AgentKeyRejected):
                await stranger.create_conversation(AgentTarget(agent_id=noxus.agent_id), "n")
