"""The two streaming answers: a run from its start for the client that posted, and a run in progress for others."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Final, Literal

from aiohttp import web

from slackbot.simulator.noxus.conversations import SimConversation, Workspace
from slackbot.simulator.noxus.faults import Fault
from slackbot.simulator.noxus.runs import Mark, Run, resume_point
from slackbot.simulator.noxus.schema import Refused, StreamQuery
from slackbot.simulator.noxus.sse import Encoder

PIECE: Final = 32
"""Bytes that come at once where an ordered fault slows an answer."""


def hang_up(request: web.Request) -> None:
    """Close the connection under the response; what was written before still arrives."""
    if request.transport is not None:
        request.transport.close()


async def post(
    request: web.Request, workspace: Workspace, run: Run, query: StreamQuery, fault: Fault | None
) -> web.StreamResponse:
    """Stream a run just posted. It belongs to this client: what cuts the connection shows here alone."""
    try:
        if fault is not None and (fault.drop == "after" or fault.status is not None):
            if fault.drop:
                hang_up(request)
                raise ConnectionResetError
            return web.Response()
        limit = {"headers": 0, "mid": fault.frames}.get(fault.drop or "") if fault else None
        pace = fault.pace if fault else 0.0
        return await _follow(request, workspace, run, query, own=True, limit=limit, pace=pace)
    except (asyncio.CancelledError, ConnectionError):
        if workspace.switches.on_disconnect == "stop":
            workspace.stop(run)
        raise


async def events(
    request: web.Request, workspace: Workspace, conversation: SimConversation, query: StreamQuery
) -> web.StreamResponse:
    """Attach to the run in progress, or do what the switch for idle conversations says. Raises ``Refused``."""
    switches = workspace.switches
    if conversation.runs:
        return await _follow(request, workspace, conversation.runs[0], query)
    if switches.idle_events == "404":
        raise Refused(404, "No run in progress")
    if switches.idle_events == "replay" and conversation.last_run is not None:
        return await _follow(request, workspace, conversation.last_run, query)
    if switches.idle_events == "hang":
        return await _follow(request, workspace, conversation, query)
    encoder = Encoder(query.format, switches)
    response = await _open(request)
    await response.write(encoder.close("done"))
    return response


async def _follow(
    request: web.Request,
    workspace: Workspace,
    source: Run | SimConversation,
    query: StreamQuery,
    *,
    own: bool = False,
    limit: int | None = None,
    pace: float = 0.0,
) -> web.StreamResponse:
    encoder = Encoder(query.format, workspace.switches)
    response = await _open(request)
    # A comment may come between two records only.
    async with _pinging(response, encoder, 0.0 if pace else workspace.switches.keep_alive):
        if isinstance(source, SimConversation):
            await source.started.wait()
            source = source.runs[0]
        position = 0 if own else resume_point(source, query.etag, workspace.switches)
        reader = _Reader(source, encoder, position, own=own, left=limit, on_frame=workspace.on_frame)
        while True:
            chunk, then = reader.read()
            if chunk and not pace:
                await response.write(chunk)
            for at in range(0, len(chunk) if pace else 0, PIECE):
                await response.write(chunk[at : at + PIECE])
                await asyncio.sleep(pace)
            if then == "cut":
                hang_up(request)
                if own and workspace.switches.on_disconnect == "stop":
                    workspace.stop(source)
                return response
            if then != "more":
                await response.write(encoder.close(then))
                return response
            # While a chunk was written more may have come; only after a vain look is it safe to wait.
            if not chunk:
                await source.changed.wait()


@dataclass(slots=True)
class _Reader:
    """Where a stream is in the log of its run. ``own``: it belongs to the client that posted; ``left``: frames until
    an ordered fault cuts it."""

    run: Run
    encoder: Encoder
    position: int
    own: bool
    left: int | None
    on_frame: Callable[[str], None]

    def read(self) -> tuple[bytes, Literal["more", "cut", "done", "timeout"]]:
        """All that is new, encoded, and what comes after it."""
        chunk = bytearray()
        for entry in self.run.entries[self.position :]:
            if self.left == 0 or (self.own and entry is Mark.CUT):
                return bytes(chunk), "cut"
            if self.own and entry is Mark.TIMEOUT:
                return bytes(chunk), "timeout"
            if not isinstance(entry, Mark):
                chunk += self.encoder.frame(entry, self.run.event_id(self.position))
                self.on_frame(entry["type"])
                if self.own and entry["type"] == "text-delta":
                    self.run.sent_at[self.position] = time.monotonic()
                self.left = None if self.left is None else self.left - 1
            self.position += 1
        return bytes(chunk), self.run.ended or "more"


async def _open(request: web.Request) -> web.StreamResponse:
    headers = {
        "Content-Type": "text/event-stream; charset=utf-8",
        "Cache-Control": "no-cache",
        "X-Accel-Buffering": "no",
    }
    response = web.StreamResponse(headers=headers)
    response.enable_chunked_encoding()
    await response.prepare(request)
    return response


@asynccontextmanager
async def _pinging(response: web.StreamResponse, encoder: Encoder, every: float) -> AsyncIterator[None]:
    """Comments on the stream while the block runs, whether or not anything else is written."""

    async def ping() -> None:
        while True:
            await asyncio.sleep(every)
            await response.write(encoder.ping())

    if not every:
        yield
        return
    task = asyncio.create_task(ping())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError, ConnectionError):
            await task
