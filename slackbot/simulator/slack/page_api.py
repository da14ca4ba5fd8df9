"""The page's own small API: the workspace as one reader sees it, live, and a reader's deeds."""

from __future__ import annotations

import asyncio
import html
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from aiohttp import web

from slackbot.simulator.slack import world
from slackbot.simulator.slack.model import (
    Change,
    Deleted,
    Edited,
    Json,
    Kind,
    Posted,
    Reacted,
    SimMessage,
    StatusSet,
    Whispered,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from slackbot.simulator.slack.simulator import SlackSimulator
    from slackbot.simulator.slack.workspace import Workspace

_PAGE: Final = Path(__file__).parent / "page"
_ENTITY: Final = re.compile(r"(<[@#!][^<>\s]+>)")
_KEEP_ALIVE_SECONDS: Final = 15.0


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

    def routes(self) -> list[web.RouteDef]:
        """List the page's addresses."""
        return [
            web.get("/", self._file),
            web.get(r"/{name:[a-z_-]+\.(?:css|js|html|svg|ico)}", self._file),
            web.get("/page/state", self._state),
            web.get("/page/events", self._events),
            web.post("/page/{deed:say|press|edit|delete}", self._do),
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
                    {"id": user.id, "name": user.display_name, "color": f"#{user.color}", "is_bot": user.is_bot}
                    for user in people
                ],
                "channels": [
                    {
                        "id": channel.id,
                        "name": channel.name,
                        "kind": channel.kind.value,
                        "members": sorted(channel.members),
                    }
                    for channel in workspace.channels.values()
                ],
                "messages": [self._message(message) for message in (*messages, *whispers)],
                "statuses": [
                    {"channel": channel, "thread_ts": thread_ts, "status": text}
                    for (channel, thread_ts), text in workspace.statuses().items()
                ],
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

    async def _do(self, request: web.Request) -> web.Response:
        deeds: dict[str, Callable[[Json], Awaitable[Json]]] = {
            "say": self._say,
            "press": self._press,
            "edit": self._edit,
            "delete": self._delete,
        }
        try:
            body = await request.json()
            answer = await deeds[request.match_info["deed"]](body)
        except KeyError as error:
            return web.json_response({"ok": False, "error": f"missing or unknown: {error.args[0]}"}, status=400)
        except (TypeError, ValueError) as error:
            return web.json_response({"ok": False, "error": str(error)}, status=400)
        return web.json_response({"ok": True, **answer})

    async def _say(self, body: Json) -> Json:
        text = self.typed(str(body["text"]))
        ts = await self._simulator.say(body["user"], body["channel"], text, thread_ts=body.get("thread_ts") or None)
        return {"ts": ts}

    async def _press(self, body: Json) -> Json:
        delivery = await self._simulator.press(
            body["user"], body["channel"], body["ts"], body["action_id"], body.get("value")
        )
        return {"acked": delivery.acked}

    async def _edit(self, body: Json) -> Json:
        text = self.typed(str(body["text"]))
        await self._simulator.edit_message(body["user"], body["channel"], body["ts"], text)
        return {}

    async def _delete(self, body: Json) -> Json:
        await self._simulator.delete_message(body["user"], body["channel"], body["ts"])
        return {}

    def typed(self, text: str) -> str:
        """Turn what a person typed into message text: `@name` and `#channel` become entities, `&<>` are escaped."""
        named = {f"@{name}": f"<@{u.id}>" for u in self._workspace.users.values() for name in (u.name, u.display_name)}
        named |= {f"#{c.name}": f"<#{c.id}|{c.name}>" for c in self._workspace.channels.values() if c.kind != Kind.IM}
        names = re.compile(
            "|".join(rf"(?<![\w@#]){re.escape(name)}(?!\w)" for name in sorted(named, key=len, reverse=True)),
            re.IGNORECASE,
        )
        by_lower = {name.lower(): entity for name, entity in named.items()}
        pieces = _ENTITY.split(text)
        pieces[::2] = [
            names.sub(lambda found: by_lower[found[0].lower()], html.escape(piece, quote=False))
            for piece in pieces[::2]
        ]
        return "".join(pieces)

    def _observe(self, change: Change) -> None:
        key, event = self._event(change)
        for reader in self._readers:
            reader.tell(key, event)

    def _event(self, change: Change) -> tuple[tuple[str, ...], Json]:
        match change:
            case StatusSet(channel, thread_ts, status):
                event: Json = {"type": "status", "channel": channel, "thread_ts": thread_ts, "status": status}
                return ("status", channel, thread_ts), event
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
            "bot_id": message.bot_id,
            "text": message.text,
            "blocks": [] if message.deleted else list(message.blocks),
            "edited": message.edited is not None,
            "deleted": message.deleted,
            "ephemeral_to": message.ephemeral_to,
            "files": list(message.files),
            "reactions": {name: list(users) for name, users in message.reactions.items()},
        }
