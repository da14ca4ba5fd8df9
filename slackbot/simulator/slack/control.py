"""Driving the simulator from another process: `/sim/…`, the mirror of its Python surface."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from aiohttp import web

if TYPE_CHECKING:
    from slackbot.simulator.slack.model import Json
    from slackbot.simulator.slack.simulator import SlackSimulator


class Control:
    """Serves `/sim/…`: JSON in, JSON out; a misuse is 400 with the reason in words."""

    def __init__(self, simulator: SlackSimulator) -> None:
        self._simulator = simulator

    def routes(self) -> list[web.RouteDef]:
        """List the addresses."""
        return [
            web.get("/sim/world", self._world),
            web.get("/sim/calls", self._calls),
            web.get("/sim/deliveries", self._deliveries),
            web.get("/sim/thread", self._thread),
            web.post("/sim/{deed:say|crowd|edit|delete|press|shortcut|stop}", self._do),
            web.post("/sim/{deed:faults|limit|disconnect|channel|user|join|dismiss|http}", self._do),
        ]

    async def _world(self, _request: web.Request) -> web.Response:
        return web.json_response({**described(self._simulator), "connections": self._simulator.connections})

    async def _calls(self, request: web.Request) -> web.Response:
        start = int(request.query.get("since", "0"))
        return web.json_response([asdict(call) for call in self._simulator.calls[start:]])

    async def _deliveries(self, request: web.Request) -> web.Response:
        start = int(request.query.get("since", "0"))
        return web.json_response([asdict(delivery) for delivery in self._simulator.deliveries[start:]])

    async def _thread(self, request: web.Request) -> web.Response:
        """Answer the messages of a thread, each with the times and sizes or texts of its versions."""
        channel, thread_ts = request.query["channel"], request.query["ts"]
        messages: list[Json] = []
        for message in self._simulator.messages(channel, thread_ts):
            versions = self._simulator.timeline(channel, message.ts)
            messages.append(
                {
                    "ts": message.ts,
                    "user": message.user,
                    "bot_id": message.bot_id,
                    "shown": message.shown,
                    "versions": [{"at": version.at, "shown": version.shown} for version in versions],
                }
            )
        return web.json_response({"status": self._simulator.status(channel, thread_ts), "messages": messages})

    async def _do(self, request: web.Request) -> web.Response:
        try:
            return web.json_response(await self._perform(request.match_info["deed"], await request.json()))
        except (KeyError, TypeError, ValueError) as error:
            return web.json_response({"error": f"{type(error).__name__}: {error}"}, status=400)

    async def _perform(self, deed: str, body: Json) -> Json:
        simulator = self._simulator
        match deed:
            case "say":
                return {"ts": await simulator.say(body.pop("user"), body.pop("channel"), body.pop("text"), **body)}
            case "crowd":
                return {"ts": [await simulator.say(**each) for each in body["says"]]}
            case "press":
                delivery = await simulator.press(
                    body["user"], body["channel"], body["ts"], body["action_id"], body.get("value")
                )
                return asdict(delivery)
            case "shortcut":
                return asdict(
                    await simulator.use_shortcut(body["user"], body["channel"], body["ts"], body["callback_id"])
                )
            case "edit":
                await simulator.edit_message(body["user"], body["channel"], body["ts"], body["text"])
            case "delete":
                await simulator.delete_message(body["user"], body["channel"], body["ts"])
            case "stop":
                return asdict(await simulator.stop_session(body["user"], body["channel"], body["thread_ts"]))
            case _:
                return await self._arrange(deed, body)
        return {}

    async def _arrange(self, deed: str, body: Json) -> Json:
        simulator = self._simulator
        match deed:
            case "faults":
                simulator.faults.add(**body)
            case "limit":
                simulator.set_limit(**body)
            case "disconnect":
                await simulator.disconnect_sockets(body.get("reason", "refresh_requested"))
            case "channel":
                return {"channel": simulator.add_channel(body["name"])}
            case "user":
                return {"user": simulator.add_user(body["name"], guest=bool(body.get("guest")))}
            case "join":
                simulator.join(body["user"], body["channel"], leave=bool(body.get("leave")))
            case "dismiss":
                simulator.dismiss(body["user"])
            case _:
                simulator.deliver_over_http(body["url"])
        return {}


def described(simulator: SlackSimulator) -> Json:
    """Describe where the simulator is and who is in it, with its (fixed, worthless) credentials."""
    return {
        "api_url": simulator.api_url,
        "page_url": simulator.page_url,
        "bot_token": simulator.bot_token,
        "app_token": simulator.app_token,
        "signing_secret": simulator.signing_secret,
        "bot_user_id": simulator.bot_user_id,
        "team_id": simulator.team_id,
        "users": simulator.users,
        "channels": simulator.channels,
    }
