"""The simulated Noxus as a server: start, stop, the doors of its API, and the record of what was asked of it."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import asdict, dataclass, field
from typing import Any

from aiohttp import web
from pydantic import ValidationError

from slackbot.simulator.noxus import agents
from slackbot.simulator.noxus.conversations import SimConversation, SimFile, Workspace
from slackbot.simulator.noxus.faults import HITS, Fault, Faults
from slackbot.simulator.noxus.routes import Routes
from slackbot.simulator.noxus.schema import Refused
from slackbot.simulator.noxus.streams import PIECE, hang_up
from slackbot.simulator.noxus.switches import MAX_BODY_BYTES, Switches

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(slots=True)
class Request:
    """One request as it came in. ``at`` is monotonic; ``endpoint`` is a name from ``faults.ENDPOINTS``, empty for an
    unknown address; ``body`` is the parsed JSON or None; ``status`` is 0 until a response began. ``number`` counts the
    requests; ``frames`` says how many frames of each type were streamed, in the order in which each type came first.
    Of inline files ``body`` holds no content; ``files`` says of each what it was, counted."""

    at: float
    method: str
    path: str
    query: dict[str, str]
    endpoint: str
    body: Any
    status: int = 0
    number: int = 0
    frames: dict[str, int] = field(default_factory=dict)
    files: list[dict[str, Any]] = field(default_factory=list)
    over: bool = False


_NOTED: ContextVar[Request | None] = ContextVar("_NOTED", default=None)
_CONTROL = "/sim/"


class NoxusSimulator:
    """A Noxus on 127.0.0.1. Keyword arguments are the starting values of ``Switches``.

    ``prefix`` puts the API under a path, as self-hosted installations do; ``seed`` makes its ids repeatable.
    ``observers`` are told of every request: when it comes, when its answer begins, at each frame, when it is over.
    """

    def __init__(self, *, api_key: str = "noxus_sim_key", prefix: str = "", seed: int = 1, **switches: object) -> None:
        self.api_key = api_key
        self.agent_id = agents.AGENT_ID
        self.flow_id = agents.FLOW_ID
        self.switches = Switches.model_validate(switches)
        self.faults = Faults()
        self.requests: list[Request] = []
        self.observers: list[Callable[[Request], None]] = []
        self._workspace = Workspace(self.switches, seed)
        self._workspace.on_frame = self._note_frame
        self._prefix = prefix.rstrip("/")
        self._port = 0
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        """The base address for clients. Raises ``RuntimeError`` before the first start."""
        if not self._port:
            raise RuntimeError("the simulated Noxus was never started")
        return f"http://127.0.0.1:{self._port}{self._prefix}"

    @property
    def conversations(self) -> dict[str, SimConversation]:
        """Every conversation by id, oldest first."""
        return self._workspace.conversations

    @property
    def files(self) -> dict[str, SimFile]:
        """Every stored file by id."""
        return self._workspace.files

    @property
    def agents(self) -> dict[str, dict[str, Any]]:
        """The agents by id, as the API shows them; change their ``definition`` to change the agent."""
        return self._workspace.agents

    @property
    def asked(self) -> list[str]:
        """What users wrote, in order of arrival, over all conversations."""
        return self._workspace.asked

    async def start(self, port: int = 0) -> None:
        """Listen on ``port``; 0 takes a free one, and after a stop the same one again. State is kept over a stop."""
        app = web.Application(middlewares=[self._record, self._guard], client_max_size=MAX_BODY_BYTES)
        app.on_response_prepare.append(self._note_status)
        Routes(self._workspace, self.api_key).register(app, self._prefix)
        app.router.add_get("/sim/requests", self._show_requests)
        app.router.add_get("/sim/runs", self._show_runs)
        app.router.add_post("/sim/faults", self._add_fault)
        app.router.add_delete("/sim/faults", self._clear_faults)
        app.router.add_post("/sim/switches", self._change_switches)
        # A handler must learn that its client left even while it has nothing to write.
        self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", port or self._port)
        await site.start()
        self._port = self._runner.addresses[0][1]
        self._workspace.base_url = self.url

    async def stop(self) -> None:
        """Be down: close the port and every connection, and stop the runs where they are."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()
        await self._workspace.close()

    @web.middleware
    async def _record(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Note the request; every response carries a request id, as Noxus's do (noxus-sdk 0.6.0 ``errors.py``)."""
        if request.path.startswith(_CONTROL):
            return await handler(request)
        body = None
        if request.content_type == "application/json":
            try:
                body = json.loads(await request.read())
            except ValueError:
                body = None
        endpoint = request.match_info.route.name or ""
        number = len(self.requests) + 1
        query = dict(request.query)
        noted = Request(time.monotonic(), request.method, request.path, query, endpoint, body, number=number)
        noted.files = _weighed(body)
        _NOTED.set(noted)
        self.requests.append(noted)
        self._tell(noted)
        try:
            return await handler(request)
        finally:
            noted.over = True
            self._tell(noted)

    def _note_frame(self, kind: str) -> None:
        noted = _NOTED.get()
        if noted is not None:
            noted.frames[kind] = noted.frames.get(kind, 0) + 1
            self._tell(noted)

    def _tell(self, noted: Request) -> None:
        for observer in self.observers:
            observer(noted)

    async def _note_status(self, request: web.Request, response: web.StreamResponse) -> None:
        noted = _NOTED.get()
        if noted is not None and not request.path.startswith(_CONTROL):
            noted.status = response.status
            self._tell(noted)
            response.headers["x-request-id"] = f"req-{len(self.requests)}"

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Apply the fault ordered for this request, and turn refusals into FastAPI's error bodies."""
        control = request.path.startswith(_CONTROL)
        fault = None if control else self.faults.take(request.match_info.route.name or "")
        HITS.set(fault)
        if fault is not None:
            await asyncio.sleep(fault.delay)
            if fault.drop == "before":
                hang_up(request)
                return web.Response()
            if fault.status is not None and not fault.done:
                return _faulty(fault)
        try:
            response = await handler(request)
        except Refused as refused:
            return web.json_response({"detail": refused.detail}, status=refused.status)
        except ConnectionError:
            return web.Response()  # The client left: there is nobody to answer.
        except web.HTTPException as error:
            return web.json_response({"detail": error.reason}, status=error.status)
        if fault is None or response.prepared or request.transport is None:
            return response
        if fault.status is not None:
            return _faulty(fault)
        if fault.drop is None and not fault.pace:
            return response
        return await _interrupted(request, response, fault)

    async def _show_requests(self, request: web.Request) -> web.Response:
        since = int(request.query.get("since", "0"))
        return web.json_response([asdict(noted) for noted in self.requests[since:]])

    async def _show_runs(self, _request: web.Request) -> web.Response:
        """The latest run of every conversation: what was asked and answered, and when its text was sent."""
        latest = [(told, (*told.runs[-1:], told.last_run)[0]) for told in self.conversations.values()]
        return web.json_response(
            [
                {
                    "asked": told.asked[-1],
                    "answered": "".join(frame["delta"] for frame in run.frames if frame["type"] == "text-delta"),
                    "sent_at": list(run.sent_at.values()),
                    "over": run.ended is not None,
                }
                for told, run in latest
                if run is not None
            ]
        )

    async def _add_fault(self, request: web.Request) -> web.Response:
        try:
            self.faults.add(**await request.json())
        except (TypeError, ValueError) as error:
            return web.json_response({"detail": f"{error}"}, status=422)
        return web.json_response({"ok": True})

    async def _clear_faults(self, _request: web.Request) -> web.Response:
        self.faults.clear()
        return web.json_response({"ok": True})

    async def _change_switches(self, request: web.Request) -> web.Response:
        try:
            self.switches.change(**await request.json())
        except (TypeError, ValidationError, ValueError) as error:
            return web.json_response({"detail": f"{error}"}, status=422)
        return web.json_response(self.switches.model_dump())


def _weighed(body: object) -> list[dict[str, Any]]:
    """Take the inline contents out of a message's body and say how long they were, and their SHA-256."""
    weighed = []
    files = body.get("files") if isinstance(body, dict) else None
    for file in files if isinstance(files, list) else ():
        if isinstance(file, dict) and isinstance(file.get("b64_content"), str):
            try:
                content = base64.b64decode(file["b64_content"], validate=True)
            except ValueError:
                continue
            file["b64_content"] = f"({len(content)} bytes)"
            told = {key: file.get(key) for key in ("name", "type", "size")}
            weighed.append(told | {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()})
    return weighed


def _faulty(fault: Fault) -> web.Response:
    body = {"detail": "simulated fault"} if fault.body is None else fault.body
    text = body if isinstance(body, str) else json.dumps(body)
    headers = {"Retry-After": fault.retry_after} if fault.retry_after is not None else None
    return web.Response(status=fault.status or 500, text=text, content_type=fault.content_type, headers=headers)


async def _interrupted(request: web.Request, whole: web.StreamResponse, fault: Fault) -> web.StreamResponse:
    """A plain answer that comes slowly, or of which nothing, its headers or its first half arrives."""
    if fault.drop == "after" or not isinstance(whole, web.Response) or not isinstance(whole.body, bytes):
        hang_up(request)
        return whole
    cut = web.StreamResponse(status=whole.status, headers={"Content-Type": whole.headers["Content-Type"]})
    cut.content_length = len(whole.body)
    left = {"mid": len(whole.body) // 2, "headers": 0}.get(fault.drop or "", len(whole.body))
    with suppress(ConnectionError):  # whoever asked has gone
        await cut.prepare(request)
        for at in range(0, left, PIECE):
            await cut.write(whole.body[at : min(at + PIECE, left)])
            await asyncio.sleep(fault.pace)
    if fault.drop:
        hang_up(request)
    return cut
