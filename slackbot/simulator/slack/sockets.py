"""Socket Mode: tickets, WebSocket connections, envelopes and their acknowledgements."""

from __future__ import annotations

import asyncio
import json
import secrets
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from aiohttp import WSMsgType, web

from slackbot.simulator.slack import limits, world

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from slackbot.simulator.slack.model import Json
    from slackbot.simulator.slack.record import Delivery
    from slackbot.simulator.slack.tasks import Tasks

Disconnect: TypeAlias = Literal["warning", "refresh_requested", "link_disabled", "silent", "abort"]


@dataclass(slots=True, eq=False)
class _Connection:
    socket: web.WebSocketResponse
    transport: asyncio.BaseTransport | None
    silent: bool = False
    leaving: bool = False


class SocketMode:
    """Every open connection of the app; each envelope goes to one of them, by chance."""

    def __init__(
        self,
        tasks: Tasks,
        *,
        ack_seconds: float,
        rng: random.Random,
        on_change: Callable[[], None],
    ) -> None:
        self._tasks = tasks
        self._ack_seconds = ack_seconds
        self._rng = rng
        self._on_change = on_change
        self._tickets: set[str] = set()
        self._connections: list[_Connection] = []
        self._acks: dict[str, asyncio.Future[Json]] = {}
        self._opened = asyncio.Event()

    @property
    def open(self) -> int:
        """How many connections get envelopes."""
        return sum(not connection.leaving for connection in self._connections)

    def ticket(self) -> str:
        """Make a ticket that opens one connection."""
        ticket = secrets.token_urlsafe(16)
        self._tickets.add(ticket)
        return ticket

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Serve one connection until it ends."""
        ticket = request.query.get("ticket", "")
        if ticket not in self._tickets:
            return web.Response(status=403, text="unknown or used ticket")
        self._tickets.discard(ticket)
        socket = web.WebSocketResponse(autoping=False, max_msg_size=1 << 20)
        await socket.prepare(request)
        if len(self._connections) >= limits.SOCKETS_PER_APP:
            await socket.send_json({"type": "disconnect", "reason": "too_many_websockets"})
            await socket.close()
            return socket
        connection = _Connection(socket, request.transport)
        self._connections.append(connection)
        try:
            await socket.send_json(self._hello())
            self._opened.set()
            self._on_change()
            await self._listen(connection)
        finally:
            self._leave(connection)
            self._connections.remove(connection)
            self._on_change()
        return socket

    async def send(self, delivery: Delivery, payload: Json, *, retry_reason: str, patience: float) -> None:
        """Send an envelope to one connection and wait for its ack."""
        connection = await self._pick(patience)
        if connection is None:
            delivery.failure = "connection_failed"
            return
        delivery.envelope_id = str(uuid.UUID(int=self._rng.getrandbits(128), version=4))
        envelope: Json = {
            "envelope_id": delivery.envelope_id,
            "type": delivery.kind,
            "accepts_response_payload": delivery.kind == "interactive",
            "payload": payload,
        }
        if delivery.kind == "events_api":
            envelope |= {"retry_attempt": delivery.attempt, "retry_reason": retry_reason}
        ack = asyncio.get_running_loop().create_future()
        self._acks[delivery.envelope_id] = ack
        try:
            await connection.socket.send_json(envelope)
            delivery.response = await asyncio.wait_for(ack, self._ack_seconds)
            delivery.acked = True
        except TimeoutError:
            delivery.failure = "timeout"
        except ConnectionError:
            delivery.failure = "connection_failed"
        finally:
            del self._acks[delivery.envelope_id]

    async def disconnect(self, how: Disconnect) -> None:
        """End every open connection: announced with a reason, silently dead, or cut."""
        for connection in [found for found in self._connections if not found.leaving]:
            if how == "silent":
                connection.silent = True
            elif how == "abort":
                self._abort(connection)
            else:
                self._leave(connection)
                await connection.socket.send_json(
                    {
                        "type": "disconnect",
                        "reason": how,
                        "debug_info": {"host": "applink-sim"},
                    }
                )
                notice = limits.DISCONNECT_NOTICE_SECONDS if how == "warning" else 1.0
                self._tasks.start(self._close_later(connection, notice))

    async def close(self) -> None:
        """Close every connection."""
        for connection in list(self._connections):
            self._abort(connection)

    async def _listen(self, connection: _Connection) -> None:
        async for message in connection.socket:
            if connection.silent:
                continue
            if message.type is WSMsgType.PING:
                await connection.socket.pong(message.data)
            elif message.type is WSMsgType.TEXT:
                self._acknowledge(message.data)

    def _acknowledge(self, text: str) -> None:
        try:
            frame = json.loads(text)
        except ValueError:
            return
        ack = self._acks.get(str(frame.get("envelope_id"))) if isinstance(frame, dict) else None
        if ack is not None and not ack.done():
            ack.set_result(frame.get("payload") or {})

    async def _pick(self, patience: float) -> _Connection | None:
        if not self.open:
            try:
                await asyncio.wait_for(self._opened.wait(), patience)
            except TimeoutError:
                return None
        ready = [connection for connection in self._connections if not connection.leaving]
        return self._rng.choice(ready) if ready else None

    def _leave(self, connection: _Connection) -> None:
        connection.leaving = True
        if not self.open:
            self._opened.clear()

    def _abort(self, connection: _Connection) -> None:
        self._leave(connection)
        if isinstance(connection.transport, asyncio.WriteTransport):
            connection.transport.abort()

    async def _close_later(self, connection: _Connection, seconds: float) -> None:
        await asyncio.sleep(seconds)
        await connection.socket.close()

    def _hello(self) -> Json:
        return {
            "type": "hello",
            "num_connections": len(self._connections),
            "debug_info": {
                "host": "applink-sim",
                "build_number": 1,
                "approximate_connection_time": limits.SOCKET_LIFE_SECONDS,
            },
            "connection_info": {"app_id": world.APP_ID},
        }
