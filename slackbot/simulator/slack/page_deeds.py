"""What a person does on the page: `POST /page/<deed>`, JSON in, JSON out."""

from __future__ import annotations

import html
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from aiohttp import web

from slackbot.simulator.slack.model import Json, Kind

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from slackbot.simulator.slack.simulator import SlackSimulator
    from slackbot.simulator.slack.workspace import Workspace

_ENTITY: Final = re.compile(r"(<[@#!][^<>\s]+>)")


class PageDeeds:
    """The deeds by name; an impossible one is answered with status 400 and the reason in words."""

    def __init__(self, simulator: SlackSimulator, workspace: Workspace) -> None:
        self._simulator = simulator
        self._workspace = workspace
        self._deeds: dict[str, Callable[[Json], Awaitable[Json]]] = {
            "close_view": self._close_view,
            "delete": self._delete,
            "dismiss": self._dismiss,
            "edit": self._edit,
            "open": self._open,
            "press": self._press,
            "react": self._react,
            "say": self._say,
            "shortcut": self._shortcut,
            "submit": self._submit,
            "switch": self._switch,
        }

    def routes(self) -> list[web.RouteDef]:
        """List the addresses."""
        return [web.post(f"/page/{{deed:{'|'.join(self._deeds)}}}", self._do)]

    async def _do(self, request: web.Request) -> web.Response:
        try:
            body = await request.json()
            answer = await self._deeds[request.match_info["deed"]](body)
        except KeyError as error:
            return web.json_response({"ok": False, "error": f"missing or unknown: {error.args[0]}"}, status=400)
        except (TypeError, ValueError) as error:
            return web.json_response({"ok": False, "error": str(error)}, status=400)
        return web.json_response({"ok": True, **answer})

    async def _say(self, body: Json) -> Json:
        files = [self._simulator.files.find(file_id) for file_id in body.get("files", ())]
        broadcast = {"subtype": "thread_broadcast"} if body.get("broadcast") and body.get("thread_ts") else {}
        text, thread_ts = self.typed(str(body["text"])), body.get("thread_ts") or None
        return {"ts": await self._simulator.say(body["user"], body["channel"], text, thread_ts, files, **broadcast)}

    async def _press(self, body: Json) -> Json:
        if "view" in body:
            views, entered = self._simulator.views, body.get("values", {})
            delivery = await views.press(body["user"], body["view"], body["action_id"], body.get("value"), entered)
        else:
            delivery = await self._simulator.press(
                body["user"], body["channel"], body["ts"], body["action_id"], body.get("value")
            )
        return {"acked": delivery.acked}

    async def _shortcut(self, body: Json) -> Json:
        delivery = await self._simulator.use_shortcut(body["user"], body["channel"], body["ts"], body["callback_id"])
        return {"acked": delivery.acked}

    async def _submit(self, body: Json) -> Json:
        return await self._simulator.views.submit(body["user"], body["view"], body["values"])

    async def _close_view(self, body: Json) -> Json:
        await self._simulator.views.close(body["user"], body["view"], all_of_them=bool(body.get("all")))
        return {}

    async def _edit(self, body: Json) -> Json:
        text = self.typed(str(body["text"]))
        await self._simulator.edit_message(body["user"], body["channel"], body["ts"], text)
        return {}

    async def _delete(self, body: Json) -> Json:
        await self._simulator.delete_message(body["user"], body["channel"], body["ts"])
        return {}

    async def _react(self, body: Json) -> Json:
        added = bool(body.get("added", True))
        await self._simulator.react(body["user"], body["channel"], body["ts"], body["name"], added=added)
        return {}

    async def _dismiss(self, body: Json) -> Json:
        whisper = self._workspace.whispers[body["channel"], body["ts"]]
        if whisper.ephemeral_to != body["user"]:
            raise ValueError(f"{body['user']} sees no such message")
        self._workspace.whisper(replace(whisper, deleted=True))
        return {}

    async def _open(self, body: Json) -> Json:
        members = {str(body["user"]), *map(str, body["with"])}
        if len(members) < 2 or not members <= self._workspace.users.keys():
            raise ValueError("a direct message is between people who are here")
        return {"channel": self._workspace.open_direct(members).id}

    async def _switch(self, body: Json) -> Json:
        if body["id"] == "clear":
            await self._simulator.switches.clear()
        else:
            await self._simulator.switches.turn(body["id"], on=bool(body["on"]))
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
