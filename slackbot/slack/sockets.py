"""Socket Mode: one connection that comes back by itself.

The SDK's own client tries a used ticket again for ever, leaves its handlers to themselves at the end, and closes the
old connection before the new one is up. Hence this one, on the same protocol:
https://docs.slack.dev/apis/events-api/using-socket-mode
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import aiohttp
from aiohttp import ClientWebSocketResponse, ClientWSTimeout, WSMsgType

from slackbot.errors import ChatError, ChatRateLimited, ChatUnavailable
from slackbot.pauses import jittered
from slackbot.serving import failure
from slackbot.slack.events import mapping
from slackbot.slack.server import Gate
from slackbot.slack.web import WebApi

log = logging.getLogger(__name__)

PING_SECONDS: Final = 10.0
"""A connection that stays silent for one and a half times as long is dead."""
HELLO_SECONDS: Final = 10.0
CLOSE_SECONDS: Final = 2.0
STOP_SECONDS: Final = 10.0
"""For handlers at work when we stop; a message whose handler takes longer is delivered again."""
SHORT_LIFE_SECONDS: Final = 10.0
"""A connection that ends sooner counts as a failed one: else a refusing Slack would be asked without pause."""
LONGEST_PAUSE: Final = 30.0
CLOCK_CHECK_SECONDS: Final = 1.0
CLOCK_JUMP_SECONDS: Final = 10.0


class _Connection:
    """One WebSocket, from its opening to the last ack."""

    def __init__(self, socket: ClientWebSocketResponse, gate: Gate) -> None:
        self._socket = socket
        self._gate = gate
        self.connections = 0
        """How many connections the app has, by Slack's hello."""
        self.welcome: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        """Whether Slack said hello before anything else happened."""
        self.ending = asyncio.Event()
        """Set once a new connection is needed: Slack announced the end of this one, or it has ended."""
        self._retired = asyncio.Event()

    @property
    def is_open(self) -> bool:
        return self.welcome.done() and self.welcome.result() and not self._socket.closed and not self._retired.is_set()

    def retire(self) -> None:
        """Take nothing more, answer what was taken, then close."""
        self._retired.set()

    async def run(self) -> None:
        """Serve until retired or ended."""
        try:
            async with asyncio.TaskGroup() as answers:
                reading = answers.create_task(self._read(answers))
                await self._retired.wait()
                reading.cancel()
        finally:
            self._settle(welcome=False)
            self.ending.set()
            await self._socket.close()

    def _settle(self, *, welcome: bool) -> None:
        if not self.welcome.done():
            self.welcome.set_result(welcome)

    async def _read(self, answers: asyncio.TaskGroup) -> None:
        async for frame in self._socket:
            if frame.type is not WSMsgType.TEXT:
                continue
            try:
                envelope = json.loads(frame.data)
            except (ValueError, RecursionError):
                envelope = None
            if isinstance(envelope, Mapping):
                self._take(envelope, answers)
            else:
                log.warning("socket.frame_ignored", extra={"reason": "no JSON object"})
        log.info("socket.ended", extra={"close_code": self._socket.close_code})
        self.retire()

    def _take(self, envelope: Mapping[str, Any], answers: asyncio.TaskGroup) -> None:
        match envelope:
            case {"type": "hello"}:
                count = envelope.get("num_connections")
                self.connections = count if isinstance(count, int) else 1
                self._settle(welcome=True)
            case {"type": "disconnect"}:
                log.info("socket.disconnect", extra={"reason": str(envelope.get("reason"))[:64]})
                self._settle(welcome=False)
                self.ending.set()
            case {"envelope_id": str(envelope_id)}:
                answers.create_task(self._answer(envelope_id, envelope))
            case _:
                log.info("socket.frame_ignored", extra={"reason": "neither an envelope nor a sign of life"})

    async def _answer(self, envelope_id: str, envelope: Mapping[str, Any]) -> None:
        attempt, reason = envelope.get("retry_attempt"), envelope.get("retry_reason")
        body = mapping(envelope.get("payload"))
        if not await self._gate.deliver(body, attempt=str(attempt or ""), reason=str(reason or "")):
            return
        try:
            await self._socket.send_str(json.dumps({"envelope_id": envelope_id}))
        except (aiohttp.ClientError, ConnectionError) as error:
            log.info("socket.ack_lost", extra={"envelope": envelope_id, "error": type(error).__name__})


class SocketMode:
    """Keeps one connection open until ``stop``, through refreshes, dead lines, refusals and sleeping laptops."""

    def __init__(
        self,
        web: WebApi,
        app_token: str,
        gate: Gate,
        *,
        wall: Callable[[], float] = time.time,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._web = web
        self._app_token = app_token
        self._gate = gate
        self._wall = wall
        self._now = now
        self._open: set[_Connection] = set()
        self._task: asyncio.Task[None] | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._tried: asyncio.Future[None] | None = None

    @property
    def is_connected(self) -> bool:
        """Whether events can arrive now."""
        return any(connection.is_open for connection in self._open)

    async def start(self) -> None:
        """Connect. While Slack is away, return after the first try and go on trying.

        Raises ``ChatError`` when Slack refuses the app token.
        """
        self._tried = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._run())
        try:
            await asyncio.shield(self._tried)
        except (ChatError, asyncio.CancelledError):
            await self.stop()
            raise

    async def stop(self) -> None:
        """Take nothing more, ack what was taken, close."""
        if self._task is None:
            return
        (self._keeper or self._task).cancel()
        for connection in self._open:
            connection.retire()
        await asyncio.wait([self._task], timeout=STOP_SECONDS)
        self._task.cancel()
        await asyncio.wait([self._task])
        self._task = None

    async def _run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            self._keeper = tasks.create_task(self._keep(tasks))

    async def _keep(self, tasks: asyncio.TaskGroup) -> None:
        current: _Connection | None = None
        failures = 0
        while True:
            await asyncio.sleep(_pause(failures))
            try:
                fresh = await self._connect(tasks)
            except Exception as error:  # noqa: BLE001 - a bot that no longer tries would be deaf for ever
                log.error("socket.failed", extra=failure(error))
                fresh = None
            if fresh is None:
                failures += 1
                continue
            if current is not None:
                current.retire()
            current, born = fresh, self._now()
            await self._until_needed(current)
            failures = failures + 1 if self._now() - born < SHORT_LIFE_SECONDS else 0

    async def _connect(self, tasks: asyncio.TaskGroup) -> _Connection | None:
        """A welcomed connection, or None. Each try asks for a ticket of its own, as a ticket opens one connection."""
        try:
            answer = await self._web.call("apps.connections.open", self._app_token)
            # As http(s) the address finds the proxy in the usual variables; aiohttp has others for ws(s).
            url = "http" + str(answer.get("url")).removeprefix("ws")
            socket = await self._web.session.ws_connect(
                url, heartbeat=PING_SECONDS, timeout=ClientWSTimeout(ws_close=CLOSE_SECONDS)
            )
        except ChatError as error:
            log.warning("socket.refused", extra={"error": str(error)})
            self._report(error)
            if isinstance(error, ChatRateLimited):
                await asyncio.sleep(error.retry_after)
            return None
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            # Not the error's own words: they hold the address, and that holds the ticket.
            log.warning("socket.failed", extra={"error": type(error).__name__, "status": getattr(error, "status", 0)})
            self._report(None)
            return None
        connection = _Connection(socket, self._gate)
        self._open.add(connection)
        tasks.create_task(self._serve(connection))
        await asyncio.wait([connection.welcome], timeout=HELLO_SECONDS)
        if not (connection.welcome.done() and connection.welcome.result()):
            log.warning("socket.no_hello")
            connection.retire()
            self._report(None)
            return None
        self._greet(connection)
        self._report(None)
        return connection

    async def _serve(self, connection: _Connection) -> None:
        try:
            await connection.run()
        except Exception:  # a bug in one delivery must not leave the bot deaf
            log.exception("socket.broken")
        finally:
            self._open.discard(connection)

    async def _until_needed(self, connection: _Connection) -> None:
        """Wait until the connection ends, or until the machine has slept: then it is dead, and does not know it."""
        skew = self._wall() - self._now()
        while not connection.ending.is_set():
            try:
                async with asyncio.timeout(CLOCK_CHECK_SECONDS):
                    await connection.ending.wait()
            except TimeoutError:
                jump = self._wall() - self._now() - skew
                if abs(jump) > CLOCK_JUMP_SECONDS:
                    log.info("socket.clock_jumped", extra={"seconds": round(jump)})
                    return

    def _greet(self, connection: _Connection) -> None:
        own = len(self._open)
        log.info("socket.connected", extra={"connections": connection.connections})
        if connection.connections > own:
            log.warning(
                "socket.shared",
                extra={
                    "connections": connection.connections,
                    "own": own,
                    "meaning": "another process uses the same app token: Slack gives each event to only one of them",
                },
            )

    def _report(self, error: ChatError | None) -> None:
        """Tell ``start`` how the first try went; a Slack that is away is no reason to give up."""
        if self._tried is None or self._tried.done():
            return
        if error is None or isinstance(error, ChatUnavailable | ChatRateLimited):
            self._tried.set_result(None)
        else:
            self._tried.set_exception(error)


def _pause(failures: int) -> float:
    """Seconds before the next try: none, then about 0.25, 0.5, 1 and so on. The spread keeps replicas apart."""
    if not failures:
        return 0.0
    return jittered(min(LONGEST_PAUSE, 2.0 ** (failures - 3)))
