"""A small HTTP server that slow, greedy and noisy clients can neither hold up nor make talk.

aiohttp by itself waits for the head of a request as long as for the next request, unpacks what is compressed, and logs
the words of what it cannot read.
"""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, TypeAlias

from aiohttp import HttpVersion11, StreamReader, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import RawRequestMessage

from slackbot.errors import SlackbotError

log = logging.getLogger(__name__)

HEAD_SECONDS: Final = 10.0
"""From connecting to the first byte, and from the first byte of a request to the end of its head."""
BODY_SECONDS: Final = 10.0
REQUEST_SECONDS: Final = 30.0
"""From the end of the head to the last byte of the answer."""
IDLE_SECONDS: Final = 75.0
"""Between requests. Longer than proxies usually wait, so that none sends a request while we hang up."""
LINGER_SECONDS: Final = 1.0
"""A refused client is still sending: so long that goes unread into the void, else it may never see the answer."""
STOP_SECONDS: Final = 5.0
CROWDED_SECONDS: Final = 60.0
BODY_BYTES: Final = 1024 * 1024
CONNECTIONS: Final = 500
"""One more that waits for its client, and the one that has waited longest is closed."""
SERVED: Final = 4 * CONNECTIONS
"""So many are answered at once; who comes then is sent away."""

Handler: TypeAlias = Callable[[web.BaseRequest], Awaitable[web.Response]]


class CannotListen(SlackbotError):
    """The address is taken or not ours."""

    code = "cannot_listen"


class Refused(Exception):
    """A request that is answered with ``status`` and leaves nothing but a log line."""

    def __init__(self, status: int, reason: str, *, allow: str = "") -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.headers = {"Allow": allow} if allow else {}


class HttpServer:
    """Answers requests by path and method, between ``start`` and ``stop``."""

    def __init__(self, host: str, port: int, handlers: Mapping[str, Mapping[str, Handler]]) -> None:
        self._host = host
        self._port = port
        self._handlers = handlers
        self._runner: web.ServerRunner | None = None

    @property
    def port(self) -> int:
        """The port in use, also when 0 was asked for."""
        return int(self._runner.addresses[0][1]) if self._runner and self._runner.addresses else self._port

    async def start(self) -> None:
        """Listen. Raises ``CannotListen``."""
        runner = web.ServerRunner(_Server(self._answer), shutdown_timeout=STOP_SECONDS)
        await runner.setup()
        try:
            await web.TCPSite(runner, self._host, self._port).start()
        except (OSError, UnicodeError) as error:
            await runner.cleanup()
            why = getattr(error, "strerror", None) or error
            raise CannotListen(f"cannot listen on {self._host}:{self._port}: {why}") from error
        self._runner = runner
        log.info("http.listening", extra={"host": self._host, "port": self.port, "paths": sorted(self._handlers)})

    async def stop(self) -> None:
        """Close what is idle, answer what was asked."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _answer(self, request: web.BaseRequest) -> web.Response:
        try:
            return await self._handler(request)(request)
        except Refused as refused:
            # The public internet asks for all sorts of paths: that is no news.
            level = logging.DEBUG if refused.status in (404, 405) else logging.WARNING
            _log_refusal(level, refused.status, refused.reason, request.remote, path=request.path[:64])
            response = web.Response(status=refused.status, headers=refused.headers)
            response.force_close()
            return response

    def _handler(self, request: web.BaseRequest) -> Handler:
        methods = self._handlers.get(request.path)
        if methods is None:
            raise Refused(404, "no such path")
        handler = methods.get("GET" if request.method == "HEAD" else request.method)
        if handler is None:
            raise Refused(405, "no such method", allow=", ".join(methods))
        return handler


async def read_body(request: web.BaseRequest) -> bytes:
    """The body as it was sent. Raises ``Refused``: too long, too slow, compressed, cut off."""
    if (request.content_length or 0) > BODY_BYTES:
        raise Refused(413, f"more than {BODY_BYTES} bytes")
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise Refused(415, "compressed")
    try:
        async with asyncio.timeout(BODY_SECONDS):
            if request.version >= HttpVersion11 and request.headers.get("Expect", "").lower() == "100-continue":
                await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            return await request.read()
    except web.HTTPRequestEntityTooLarge:
        raise Refused(413, f"more than {BODY_BYTES} bytes") from None
    except TimeoutError:
        raise Refused(408, "the body did not arrive in time") from None
    except (web.RequestPayloadError, ConnectionError):
        raise Refused(400, "broken body") from None


def failure(error: BaseException) -> dict[str, str]:
    """An unforeseen error for a log line: its own words may quote what people wrote; where it happened says enough."""
    last = traceback.extract_tb(error.__traceback__)[-1:]
    return {"error": type(error).__name__, "at": ", ".join(f"{frame.filename}:{frame.lineno}" for frame in last)}


def _log_refusal(level: int, status: int, reason: str, peer: str | None, **more: str) -> None:
    log.log(level, "http.refused", extra={"status": status, "reason": reason, "peer": peer, **more})


class _Server(web.Server):
    """Makes the connections, and keeps their number within bounds."""

    def __init__(self, answer: Handler) -> None:
        super().__init__(answer, request_factory=self._begin)
        self.loop = asyncio.get_running_loop()
        self.waiting: dict[_Connection, None] = {}
        """Connections whose client has to say something, the longest waiting first."""
        self._told = -CROWDED_SECONDS

    def __call__(self) -> web.RequestHandler:
        return _Connection(self)

    def admit(self, connection: _Connection) -> None:
        if len(self.connections) - len(self.waiting) > SERVED:
            self._crowded(connection)
        else:
            self.await_client(connection)

    def await_client(self, connection: _Connection) -> None:
        """It has to say something now."""
        self.waiting[connection] = None
        if len(self.waiting) > CONNECTIONS:
            self._crowded(next(iter(self.waiting)))

    def _crowded(self, connection: _Connection) -> None:
        connection.drop()
        if self.loop.time() - self._told >= CROWDED_SECONDS:
            self._told = self.loop.time()
            log.warning("http.crowded", extra={"connections": len(self.connections)})

    def _begin(
        self,
        message: RawRequestMessage,
        payload: StreamReader,
        protocol: web.RequestHandler,
        writer: AbstractStreamWriter,
        task: asyncio.Task[None],
    ) -> web.BaseRequest:
        if isinstance(protocol, _Connection):
            protocol.begin()
        return web.BaseRequest(message, payload, protocol, writer, task, self.loop, client_max_size=BODY_BYTES)


class _Connection(web.RequestHandler):
    """One client, and a deadline for what it has to do next."""

    def __init__(self, server: _Server) -> None:
        super().__init__(
            server,
            loop=server.loop,
            access_log=None,  # type: ignore[arg-type]  # there is no other way to say so
            keepalive_timeout=IDLE_SECONDS,
            lingering_time=LINGER_SECONDS,
            auto_decompress=False,
        )
        self._server = server
        self._deadline: asyncio.TimerHandle | None = None
        self._overdue = ""
        """What to log when the deadline passes; empty while the client has said nothing."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._expect(HEAD_SECONDS, "")
        self._server.admit(self)

    def data_received(self, data: bytes) -> None:
        if data and not self._overdue and self in self._server.waiting:
            self._expect(HEAD_SECONDS, "the head did not arrive in time")
        super().data_received(data)

    def begin(self) -> None:
        """The head is complete."""
        self._server.waiting.pop(self, None)
        self._expect(REQUEST_SECONDS, "the request took too long")

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        resp.headers["Server"] = "slackbot"
        try:
            return await super().finish_response(request, resp, start_time)
        finally:
            self._expect(None, "")
            if self.transport is not None:
                self._server.await_client(self)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._forget()
        super().connection_lost(exc)

    def drop(self) -> None:
        """Close at once, whatever is still to be sent."""
        transport = self.transport
        self._forget()
        self.force_close()
        if transport is not None:
            transport.abort()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002  quotes what the client sent
    ) -> web.StreamResponse:
        if status < 500:
            _log_refusal(logging.WARNING, status, f"malformed: {type(exc).__name__}", request.remote)
        else:
            self.log_exception(exc_info=exc)
        response = web.Response(status=status)
        response.force_close()
        return response

    def log_exception(self, *_words: object, exc_info: object = None, **_more: object) -> None:
        log.error("http.broken", extra=failure(exc_info) if isinstance(exc_info, BaseException) else {})

    def _expect(self, seconds: float | None, overdue: str) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._overdue = overdue
        self._deadline = None if seconds is None else self._server.loop.call_later(seconds, self._late)

    def _late(self) -> None:
        if self._overdue:
            peer = self.peername
            _log_refusal(logging.WARNING, 408, self._overdue, str(peer[0]) if isinstance(peer, tuple) else None)
        self.drop()

    def _forget(self) -> None:
        self._server.waiting.pop(self, None)
        self._expect(None, "")
