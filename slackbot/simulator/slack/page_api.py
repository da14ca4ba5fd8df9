"""The page's own small API: its files, the workspace as it is, and the workspace live."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Final

from aiohttp import web

from slackbot.simulator.slack import limits, world
from slackbot.simulator.slack.model import (
    Change,
    Channel,
    Deleted,
    Edited,
    Json,
    Opened,
    Posted,
    Reacted,
    SimMessage,
    StatusSet,
    ViewsShown,
    Whispered,
)
from slackbot.simulator.slack.page_deeds import PageDeeds
from slackbot.simulator.slack.payloads import picture

if TYPE_CHECKING:
    from slackbot.simulator.slack.simulator import SlackSimulator
    from slackbot.simulator.slack.workspace import Workspace

_PAGE: Final = Path(__file__).parent / "page"
_KEEP_ALIVE_SECONDS: Final = 15.0
_OF_A_FILE: Final = ("id", "name", "title", "mimetype", "pretty_type", "size", "mode", "alt_txt", "external_url")


class _Reader:
    """One browser: what it has not read yet, the newest state of each thing only, so that a slow one costs nothing."""

    def __init__(self) -> None:
        self.unread: dict[tuple[str, ...], Json] = {}
        self.news = asyncio.Event()

    def tell(self, key: tuple[str, ...], event: Json) -> None:
        self.unread.pop(key, None)
        self.unread[key] = event
        self.news.set()

    def take(self) -> list[Json]:
        events = list(self.unread.values())
        self.unread.clear()
        self.news.clear()
        return events


class PageApi:
    """Serves the page and `/page/…`."""

    def __init__(self, simulator: SlackSimulator, workspace: Workspace) -> None:
        self._simulator = simulator
        self._workspace = workspace
        self._readers: set[_Reader] = set()
        workspace.observers.append(self._observe)
        simulator.traffic.observers.append(lambda line: self._tell(("line", line["key"]), {"type": "line", **line}))
        simulator.switches.observers.append(lambda it: self._tell(("switch", it["id"]), {"type": "switch", **it}))

    def routes(self) -> list[web.RouteDef]:
        """List the page's addresses."""
        return [
            web.get("/", self._file),
            web.get(r"/{name:[a-z_-]+\.(?:css|js|html|svg|ico)}", self._file),
            web.get("/page/state", self._state),
            web.get("/page/events", self._events),
            web.get(r"/archives/{channel:\w+}/p{digits:\d+}", self._permalink),
            *PageDeeds(self._simulator, self._workspace).routes(),
        ]

    async def _file(self, request: web.Request) -> web.StreamResponse:
        path = _PAGE / request.match_info.get("name", "index.html")
        if not path.is_file():
            raise web.HTTPNotFound
        return web.FileResponse(path, headers={"Cache-Control": "no-store"})

    async def _state(self, _request: web.Request) -> web.Response:
        workspace = self._workspace
        messages = [message for channel in workspace.channels for message in workspace.all(channel, tombstones=True)]
        whispers = [message for message in workspace.whispers.values() if not message.deleted]
        people = workspace.users.values()
        return web.json_response(
            {
                "team": {"id": world.TEAM_ID, "name": world.TEAM_NAME},
                "bot": world.BOT_USER_ID,
                "me": [user.id for user in people if not user.is_bot],
                "users": [
                    {"id": user.id, "name": user.display_name, "title": user.title, "is_bot": user.is_bot}
                    for user in people
                ],
                "channels": [_channel(channel) for channel in workspace.channels.values()],
                "messages": [self._message(message) for message in (*messages, *whispers)],
                "statuses": [
                    {"channel": channel, "thread_ts": ts, "status": text, "loading": workspace.loading(channel, ts)}
                    for (channel, ts), text in workspace.statuses().items()
                ],
                "views": {user.id: shown for user in people if (shown := self._simulator.views.shown(user.id))},
                "shortcuts": [{"id": found, "name": name} for found, name in self._simulator.shortcuts.items()],
                "scripted_agent": self._simulator.scripted_agent,
                "upload_bytes": limits.UPLOAD_BYTES,
                "traffic": self._simulator.traffic.lines(),
                "switches": self._simulator.switches.described(),
            }
        )

    async def _events(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(
            headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        )
        await response.prepare(request)
        reader = _Reader()
        self._readers.add(reader)
        try:
            await response.write(b": hello\n\n")
            while True:
                try:
                    await asyncio.wait_for(reader.news.wait(), _KEEP_ALIVE_SECONDS)
                except TimeoutError:
                    await response.write(b": still here\n\n")
                for event in reader.take():
                    await response.write(f"data: {json.dumps(event)}\n\n".encode())
        except ConnectionError:
            return response
        finally:
            self._readers.discard(reader)

    async def _permalink(self, request: web.Request) -> web.Response:
        channel, digits = request.match_info["channel"], request.match_info["digits"]
        ts = f"{digits[:-6]}.{digits[-6:]}"
        raise web.HTTPFound(f"/#{channel}/{request.query.get('thread_ts', '')}/{ts}")

    def _observe(self, change: Change) -> None:
        self._tell(*self._event(change))

    def _tell(self, key: tuple[str, ...], event: Json) -> None:
        for reader in self._readers:
            reader.tell(key, event)

    def _event(self, change: Change) -> tuple[tuple[str, ...], Json]:
        match change:
            case StatusSet(channel, thread_ts, status, loading):
                event: Json = {"type": "status", "channel": channel, "thread_ts": thread_ts, "status": status}
                return ("status", channel, thread_ts), {**event, "loading": loading}
            case Opened(opened):
                return ("channel", opened.id), {"type": "channel", **_channel(opened)}
            case ViewsShown(user, views):
                return ("views", user), {"type": "views", "user": user, "views": views}
            case Whispered(message):
                return ("message", message.channel, message.ts), {"type": "ephemeral", **self._message(message)}
            case Posted(message) | Edited(message) | Deleted(message) | Reacted(message):
                return ("message", message.channel, message.ts), {"type": "message", **self._message(message)}

    def _message(self, message: SimMessage) -> Json:
        author = self._workspace.users[message.user]
        return {
            "channel": message.channel,
            "ts": message.ts,
            "thread_ts": message.thread_ts,
            "user": message.user,
            "username": message.username or author.display_name,
            "face": self._face(message),
            "bot_id": message.bot_id,
            "text": message.text,
            "blocks": [] if message.deleted else list(message.blocks),
            "edited": message.edited is not None,
            "deleted": message.deleted,
            "ephemeral_to": message.ephemeral_to,
            "broadcast": message.subtype == "thread_broadcast",
            "files": [] if message.deleted else [self._shared(file) for file in message.files],
            "reactions": {name: list(users) for name, users in message.reactions.items()},
        }

    def _face(self, message: SimMessage) -> str | None:
        users = self._workspace.users.values()
        return next((user.id for user in users if picture(self._workspace, user) == message.icon_url), None)

    def _shared(self, file: Json) -> Json:
        known = {name: file[name] for name in _OF_A_FILE if name in file}
        return known | ({"url": f"page/files/{file['id']}"} if self._simulator.files.has(file.get("id")) else {})


def _channel(channel: Channel) -> Json:
    return {
        "id": channel.id,
        "name": channel.name,
        "kind": channel.kind.value,
        "members": sorted(channel.members),
    }
