"""The demo: the real bot against a Slack and a Noxus simulated on this machine, shown as a web page."""

from __future__ import annotations

import tempfile
from contextlib import AsyncExitStack
from pathlib import Path

from slackbot import app, logs
from slackbot.config import load_settings
from slackbot.environment import ENV_FILE, read_environment
from slackbot.simulator.noxus import NoxusSimulator
from slackbot.simulator.slack import SlackSimulator

_TRIED_OUT = (
    "SLACKBOT_FOLLOWUPS",
    "SLACKBOT_DM_MODE",
    "SLACKBOT_THREAD_CONTEXT",
    "SLACKBOT_TURNS_PER_USER_PER_MINUTE",
    "SLACKBOT_IDLE_SECONDS",
    "SLACKBOT_TURN_SECONDS",
)
"""Settings that mean the same in the demo; others name things of the real workspace."""
_NOXUS_NAMES = ("NOXUS_API_KEY", "NOXUS_BACKEND_URL", "NOXUS_AGENT_ID", "NOXUS_AGENT_FLOW_ID", "SLACKBOT_NOXUS_MODE")


async def serve(port: int) -> None:
    """Run until interrupted; the page is on ``port`` of this machine, 0 for any free one.

    With ``NOXUS_API_KEY`` in the environment or in ``.env`` the real agent answers instead of the simulated one.
    """
    given = read_environment(None, ENV_FILE)
    async with AsyncExitStack() as stack:
        slack = SlackSimulator()
        await slack.start(port=port)
        stack.push_async_callback(slack.stop)
        environ = {
            "SLACK_BOT_TOKEN": slack.bot_token,
            "SLACK_APP_TOKEN": slack.app_token,
            "SLACK_API_URL": slack.api_url,
            "LOG_LEVEL": given.get("LOG_LEVEL", "WARNING"),
            **{name: given[name] for name in _TRIED_OUT if name in given},
        }
        if "NOXUS_API_KEY" in given or "NOXUS_API_KEY_FILE" in given:
            environ |= {name: given[name] for name in (*_NOXUS_NAMES, "NOXUS_API_KEY_FILE") if name in given}
            who = "your Noxus agent"
        else:
            noxus = NoxusSimulator()
            await noxus.start()
            stack.push_async_callback(noxus.stop)
            environ |= {
                "NOXUS_API_KEY": noxus.api_key,
                "NOXUS_BACKEND_URL": noxus.url,
                "NOXUS_AGENT_ID": noxus.agent_id,
            }
            who = "a simulated agent"
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="slackbot-demo-"))
        environ["DATABASE_URL"] = f"sqlite:///{Path(folder) / 'demo.db'}"
        settings = load_settings(environ, env_file=None)
        logs.setup(settings.log_level, settings.log_format, settings.secrets())

        def ready() -> None:
            print(f"The demo is at {slack.page_url}  ({who} answers; Ctrl-C ends it)", flush=True)

        await app.serve(settings, ready=ready)
