"""Files in the workspace: their bytes, the objects that describe them, and the addresses they are served at."""

from __future__ import annotations

import itertools
import mimetypes
import time
from pathlib import PurePath
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from aiohttp import web

from slackbot.simulator.slack import limits, world
from slackbot.simulator.slack.downloads import Downloads
from slackbot.simulator.slack.special_files import SpecialFiles

if TYPE_CHECKING:
    from slackbot.simulator.slack.model import Json
    from slackbot.simulator.slack.scopes import Grants
    from slackbot.simulator.slack.workspace import Workspace

# What a browser may show on the page itself; everything else can only be saved.
_PICTURES: Final = frozenset({"image/gif", "image/jpeg", "image/png", "image/webp"})


class Files:
    """Keeps what people upload. Slack's addresses want the bot's token; those of the page are for its reader.

    `special` makes files that are no plain uploads; `downloads` is how bytes leave.
    """

    def __init__(self, workspace: Workspace, grants: Grants) -> None:
        self.special = SpecialFiles(workspace, self)
        self.downloads = Downloads(grants)
        self._workspace = workspace
        self._numbers = itertools.count(1)
        self._objects: dict[str, Json] = {}
        self._contents: dict[str, bytes] = {}

    def routes(self) -> list[web.RouteDef]:
        """List the addresses."""
        return [
            web.get(r"/files-pri/{team}-{id:F\w+}/{name:.+}", self._private),
            web.get(r"/page/files/{id}", self._shown),
            web.post("/page/upload", self._upload),
        ]

    def new_id(self) -> str:
        """Make the id of a file that is still to come."""
        return f"F{next(self._numbers):08d}"

    def add(self, user_id: str, name: str, content: bytes, mimetype: str = "", file_id: str = "") -> Json:
        """Upload a file; the object it answers goes into the `files` of a message."""
        file_id, now = file_id or self.new_id(), int(time.time())
        kind = mimetype or mimetypes.guess_type(name)[0] or "application/octet-stream"
        ending = PurePath(name).suffix.removeprefix(".").lower() or "binary"
        base, safe = f"{self._workspace.base_url}files-pri/{world.TEAM_ID}-{file_id}", quote(name, safe="")
        self._contents[file_id] = content
        self._objects[file_id] = {
            "id": file_id,
            "created": now,
            "timestamp": now,
            "name": name,
            "title": name,
            "mimetype": kind,
            "filetype": ending,
            "pretty_type": ending.upper(),
            "user": user_id,
            "user_team": world.TEAM_ID,
            "editable": False,
            "size": len(content),
            "mode": "hosted",
            "is_external": False,
            "external_type": "",
            "is_public": False,
            "public_url_shared": False,
            "display_as_bot": False,
            "username": "",
            "url_private": f"{base}/{safe}",
            "url_private_download": f"{base}/download/{safe}",
            "media_display_type": media if (media := kind.partition("/")[0]) in {"audio", "video"} else "unknown",
            "permalink": f"{self._workspace.base_url}page/files/{file_id}",
            "permalink_public": f"{self._workspace.base_url}{world.TEAM_ID}-{file_id}-0123456789",
            "is_starred": False,
            "has_rich_preview": False,
            "file_access": "visible",
        }
        return self._objects[file_id]

    def find(self, file_id: str) -> Json:
        """Find an uploaded file's object; raises KeyError when there is none."""
        return self._objects[file_id]

    def has(self, file_id: object) -> bool:
        """Tell whether the bytes of a file are here."""
        return file_id in self._contents

    async def _private(self, request: web.Request) -> web.StreamResponse:
        file_id = request.match_info["id"]
        kind = self._objects[file_id]["mimetype"] if file_id in self._objects else ""
        return await self.downloads.answer(request, self._contents.get(file_id), kind or "application/octet-stream")

    async def _shown(self, request: web.Request) -> web.Response:
        file = self._objects.get(request.match_info["id"])
        if file is None:
            raise web.HTTPNotFound
        how = "inline" if file["mimetype"] in _PICTURES else "attachment"
        kind = file["mimetype"] if how == "inline" else "application/octet-stream"
        headers = {
            "Content-Disposition": f"{how}; filename*=UTF-8''{quote(file['name'], safe='')}",
            "Content-Security-Policy": "sandbox; default-src 'none'",
            "X-Content-Type-Options": "nosniff",
        }
        return web.Response(body=self._contents[file["id"]], content_type=kind, headers=headers)

    async def _upload(self, request: web.Request) -> web.Response:
        content = bytearray()
        async for chunk in request.content.iter_any():
            content += chunk
            if len(content) > limits.UPLOAD_BYTES:
                most = f"{limits.UPLOAD_BYTES >> 20} MB"
                return web.json_response({"ok": False, "error": f"a file may have {most} here"}, status=413)
        name, user_id = request.query.get("name", ""), request.query.get("user", "")
        if not name or user_id not in self._workspace.users:
            return web.json_response({"ok": False, "error": "a file needs a name and a person"}, status=400)
        kind = "" if request.content_type == "application/octet-stream" else request.content_type
        return web.json_response({"ok": True, "id": self.add(user_id, name, bytes(content), kind)["id"]})
