"""The whole bot in a test: real app, real sockets, simulated Slack and Noxus."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

from slackbot import app
from slackbot.loading import load_settings
from slackbot.simulator.noxus import NoxusSimulator
from slackbot.simulator.slack import SlackSimulator


@dataclass(frozen=True)
class World:
    """The two simulators around a bot."""

    slack: SlackSimulator
    noxus: NoxusSimulator

    def environ(self, database_url: str, **more: str) -> dict[str, str]:
        """The variables that point a bot at this world."""
        return {
            "SLACK_BOT_TOKEN": self.slack.bot_token,
            "SLACK_APP_TOKEN": self.slack.app_token,
            "SLACK_API_URL": self.slack.api_url,
            "SLACKBOT_FILE_HOSTS": urlsplit(self.slack.api_url).netloc,
            "SLACKBOT_OPS_PORT": "0",
            "NOXUS_API_KEY": self.noxus.api_key,
            "NOXUS_BACKEND_URL": self.noxus.url,
            "NOXUS_AGENT_ID": self.noxus.agent_id,
            "DATABASE_URL": database_url,
            **more,
        }


@asynccontextmanager
async def world(**slack_settings: object) -> AsyncIterator[World]:
    """A Slack and a Noxus, running."""
    slack = SlackSimulator(**slack_settings)  # type: ignore[arg-type] # each test names the settings it wants
    noxus = NoxusSimulator()
    await slack.start()
    await noxus.start()
    try:
        yield World(slack, noxus)
    finally:
        await slack.stop()
        await noxus.stop()


@asynccontextmanager
async def bot(environ: dict[str, str]) -> AsyncIterator[None]:
    """The real bot, from ready to stopped."""
    stop, ready = asyncio.Event(), asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        serving = tasks.create_task(app.serve(load_settings(environ, None), stop=stop, ready=lambda _who: ready.set()))
        waiting = tasks.create_task(ready.wait())
        await asyncio.wait([serving, waiting], return_when=asyncio.FIRST_COMPLETED)
        try:
            yield
        finally:
            waiting.cancel()
            stop.set()
