"""The ops port: whether the process lives, and whether it can do its work."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

from aiohttp import web

from slackbot import __version__
from slackbot.errors import SlackbotError
from slackbot.serving import HttpServer

DATABASE_SECONDS: Final = 1.0


class Ops:
    """``/healthz`` answers while the event loop turns; ``/readyz`` says 503 and why while it cannot work."""

    def __init__(self, host: str, port: int) -> None:
        self._http = HttpServer(host, port, {"/healthz": {"GET": self._health}, "/readyz": {"GET": self._ready}})
        self._born = time.monotonic()
        self._watched: tuple[Callable[[], bool], Callable[[], Awaitable[object]]] | None = None
        self._agent_down: Callable[[], bool] = lambda: False
        self.stopping = False
        """Set when the bot takes no more turns."""

    @property
    def port(self) -> int:
        """The port in use, also when 0 was asked for."""
        return self._http.port

    async def start(self) -> None:
        """Listen. Raises ``CannotListen``."""
        await self._http.start()

    async def stop(self) -> None:
        """Close the port."""
        await self._http.stop()

    def watch(
        self,
        connected: Callable[[], bool],
        database: Callable[[], Awaitable[object]],
        agent_down: Callable[[], bool] = lambda: False,
    ) -> None:
        """The bot has started: from now on the first two tell whether it is ready. ``database`` asks it something.

        While ``agent_down`` it is ready all the same: people are told, and no other replica would do better.
        """
        self._watched = connected, database
        self._agent_down = agent_down

    async def _health(self, _request: web.BaseRequest) -> web.Response:
        uptime = round(time.monotonic() - self._born, 1)
        return web.json_response({"ok": True, "version": __version__, "uptime_seconds": uptime})

    async def _ready(self, _request: web.BaseRequest) -> web.Response:
        missing = await self._missing()
        troubles = {"troubles": ["the agent does not answer"]} if self._agent_down() else {}
        return web.json_response({"ready": not missing, "missing": missing, **troubles}, status=503 if missing else 200)

    async def _missing(self) -> list[str]:
        if self._watched is None:
            return ["the bot is starting"]
        connected, database = self._watched
        found = ["the bot is stopping"] if self.stopping else []
        if not connected():
            found.append("Slack's events cannot arrive")
        try:
            async with asyncio.timeout(DATABASE_SECONDS):
                await database()
        except (SlackbotError, TimeoutError):
            found.append("the database does not answer")
        return found
