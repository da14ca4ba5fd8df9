"""The endpoints of Noxus's API that a chat adapter uses.

Source: docs.noxus.ai/api-reference and noxus-sdk 0.6.0 ``resources/*.py``; status and body of refusals are FastAPI's.
"""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import quote

from aiohttp import web

from slackbot.simulator.noxus import agents, streams
from slackbot.simulator.noxus.conversations import SimConversation, SimFile, Workspace
from slackbot.simulator.noxus.faults import HITS
from slackbot.simulator.noxus.runs import Run
from slackbot.simulator.noxus.schema import (
    AddMessage,
    CreateConversation,
    CreateQuery,
    PageQuery,
    Refused,
    StreamQuery,
    UpdateConversation,
    body,
    query,
)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Routes:
    """The handlers over one workspace; each checks the key first."""

    def __init__(self, workspace: Workspace, api_key: str) -> None:
        self._workspace = workspace
        self._api_key = api_key

    def register(self, app: web.Application, prefix: str) -> None:
        """Add every endpoint under ``prefix``, named as in ``faults.ENDPOINTS``."""
        conversation = "/v1/conversations/{id}"
        table: tuple[tuple[str, str, str, Handler], ...] = (
            ("POST", "/v1/conversations", "create", self.create),
            ("GET", "/v1/conversations", "list", self.list_conversations),
            ("GET", conversation, "get", self.get),
            ("PATCH", conversation, "patch", self.patch),
            ("DELETE", conversation, "delete", self.delete),
            ("POST", conversation, "add", self.add),
            ("POST", f"{conversation}/chat", "chat", self.chat),
            ("POST", f"{conversation}/stream", "stream", self.stream),
            ("GET", f"{conversation}/events", "events", self.events),
            ("GET", "/v1/agents", "agents", self.list_agents),
            ("GET", "/v1/agents/tool-schemas", "tool_schemas", self.tool_schemas),
            ("GET", "/v1/agents/{id}", "agent", self.agent),
            ("GET", "/v1/workflows", "workflows", self.list_workflows),
            ("POST", "/v1/file", "upload", self.upload),
            ("GET", "/v1/file/{id}", "download", self.download),
            ("GET", "/v1/admin/me", "me", self.me),
            ("GET", "/v1/models/llms/presets", "presets", self.presets),
        )
        for method, path, name, handler in table:
            app.router.add_route(method, f"{prefix}{path}", self._with_key(handler), name=name)

    def _with_key(self, handler: Handler) -> Handler:
        async def checked(request: web.Request) -> web.StreamResponse:
            given = request.headers.get("X-API-Key", "")
            if not hmac.compare_digest(given.encode(), self._api_key.encode()):
                raise Refused(self._workspace.switches.bad_key_status, "Invalid API key")
            return await handler(request)

        return checked

    async def create(self, request: web.Request) -> web.Response:
        chosen = query(CreateQuery, request.query)
        wanted = body(CreateConversation, await request.read())
        agent_id = str(chosen.assistant_id) if chosen.assistant_id else None
        return self._shown(self._workspace.create(wanted.name, agent_id, wanted.settings))

    async def list_conversations(self, request: web.Request) -> web.Response:
        page = query(PageQuery, request.query)
        agent_id = str(page.assistant_id) if page.assistant_id else None
        # A conversation is listed from its first message on.
        # Source: noxus-sdk repository, tests/integration/test_conversation.py.
        listed = [
            conversation.to_json(self._workspace.switches, messages=False)
            for conversation in self._workspace.conversations.values()
            if conversation.messages and agent_id in {None, conversation.agent_id}
        ]
        listed.sort(key=lambda shown: str(shown[page.order_by]), reverse=page.sort == "desc")
        return _page(listed, page)

    async def get(self, request: web.Request) -> web.Response:
        return self._shown(self._conversation(request))

    async def patch(self, request: web.Request) -> web.Response:
        conversation = self._conversation(request)
        changes = body(UpdateConversation, await request.read())
        conversation.name = changes.name if changes.name is not None else conversation.name
        conversation.settings = changes.settings if changes.settings is not None else conversation.settings
        self._workspace.touch(conversation)
        return self._shown(conversation)

    async def delete(self, request: web.Request) -> web.Response:
        self._workspace.delete(self._conversation(request))
        return web.json_response({"success": True})

    async def add(self, request: web.Request) -> web.Response:
        conversation = self._conversation(request)
        await self._finished(conversation, body(AddMessage, await request.read()))
        return self._shown(conversation)

    async def chat(self, request: web.Request) -> web.Response:
        run = await self._finished(self._conversation(request), body(AddMessage, await request.read()))
        return web.json_response({"id": run.id, "parts": list(self._workspace.parts(run))})

    async def stream(self, request: web.Request) -> web.StreamResponse:
        conversation = self._conversation(request)
        wanted = query(StreamQuery, request.query)
        run = self._workspace.submit(conversation, body(AddMessage, await request.read()))
        return await streams.post(request, self._workspace, run, wanted, HITS.get())

    async def events(self, request: web.Request) -> web.StreamResponse:
        wanted = query(StreamQuery, request.query)
        return await streams.events(request, self._workspace, self._conversation(request), wanted)

    async def list_agents(self, request: web.Request) -> web.Response:
        return _page(list(self._workspace.agents.values()), query(PageQuery, request.query))

    async def agent(self, request: web.Request) -> web.Response:
        found = self._workspace.agents.get(request.match_info["id"])
        if found is None:
            raise Refused(404, "Assistant not found")
        return web.json_response(found)

    async def tool_schemas(self, _request: web.Request) -> web.Response:
        return web.json_response(agents.tool_schemas())

    async def list_workflows(self, request: web.Request) -> web.Response:
        page = query(PageQuery, request.query)
        return _page([flow for flow in self._workspace.flows.values() if page.type in {None, flow["type"]}], page)

    async def upload(self, request: web.Request) -> web.Response:
        sent = (await request.post()).get("file") if request.content_type == "multipart/form-data" else None
        if not isinstance(sent, web.FileField):
            raise Refused(422, [{"type": "missing", "loc": ["body", "file"], "msg": "Field required"}])
        file = self._workspace.keep_file(sent.filename, sent.content_type, sent.file.read())
        return web.json_response(_file(file))

    async def download(self, request: web.Request) -> web.Response:
        file = self._workspace.files.get(request.match_info["id"])
        if file is None:
            raise Refused(404, "File not found")
        # What is known is that these are the raw bytes; FastAPI names a file in this header.
        named = {"Content-Disposition": f"attachment; filename*=utf-8''{quote(file.name, safe='')}"}
        return web.Response(body=file.content, content_type=file.media_type, headers=named)

    async def me(self, _request: web.Request) -> web.Response:
        return web.json_response(
            {"id": agents.GROUP_ID, "name": "Simulated key", "tenant_admin": False, "value": "", "permissions": None},
        )

    async def presets(self, _request: web.Request) -> web.Response:
        return web.json_response(agents.PRESETS)

    def _conversation(self, request: web.Request) -> SimConversation:
        return self._workspace.find(request.match_info["id"])

    def _shown(self, conversation: SimConversation) -> web.Response:
        return web.json_response(conversation.to_json(self._workspace.switches, messages=True))

    async def _finished(self, conversation: SimConversation, message: AddMessage) -> Run:
        """Run the agent to its end. Raises ``Refused`` for a run that failed; its status is not documented."""
        run = self._workspace.submit(conversation, message)
        await run.over()
        if run.ended == "timeout":
            raise Refused(504, "The agent timed out")
        if run.error is not None:
            raise Refused(500, run.error)
        return run


def _page(items: list[dict[str, Any]], page: PageQuery) -> web.Response:
    start = (page.page - 1) * page.size
    shown = items[start : start + page.size]
    pages = -(-len(items) // page.size)
    return web.json_response(
        {"items": shown, "total": len(items), "page": page.page, "size": page.size, "pages": pages},
    )


def _file(file: SimFile) -> dict[str, Any]:
    return {
        "id": file.id,
        "uri": f"noxus://file/{file.id}",
        "size": len(file.content),
        "group_id": agents.GROUP_ID,
        "filename": file.name,
        "content_type": file.media_type,
        "source_type": "Document",
        "source_metadata": None,
        "created_at": file.created_at,
    }
