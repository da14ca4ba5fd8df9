"""The demo: the real bot against a Slack and a Noxus simulated on this machine, shown as a web page."""

from __future__ import annotations

import tempfile
from contextlib import AsyncExitStack
from pathlib import Path
from urllib.parse import urlsplit

from slackbot import app, logs
from slackbot.environment import ENV_FILE, read_environment
from slackbot.loading import load_settings
from slackbot.simulator.noxus import NoxusSimulator, Request, troubles
from slackbot.simulator.slack import Line, SlackSimulator

ELSEWHERE = frozenset({
    "SLACKBOT_TRANSPORT", "SLACKBOT_HTTP_HOST", "SLACKBOT_HTTP_PORT", "SLACKBOT_OPS_HOST", "SLACKBOT_OPS_PORT",
    "SLACKBOT_NOXUS_MODE", "SLACKBOT_ALLOWED_CHANNELS", "SLACKBOT_ALLOWED_USERS", "SLACKBOT_FILE_HOSTS",
    "SLACKBOT_HANDOVER_CHANNEL", "SLACKBOT_OPERATORS", "SLACKBOT_OPERATOR_GROUP",
})  # fmt: skip
"""Settings about this machine, the real Noxus or the real workspace; every other one means the same in the demo."""
SHORTCUTS = {"take_over": "Take over this thread", "ask_human": "Ask a human"}
"""What the app's manifest puts into the menu of every message."""
_NOXUS_NAMES = ("NOXUS_API_KEY", "NOXUS_BACKEND_URL", "NOXUS_AGENT_ID", "NOXUS_AGENT_FLOW_ID", "SLACKBOT_NOXUS_MODE")


async def serve(port: int) -> None:
    """Run until interrupted; the page is on ``port`` of this machine, 0 for any free one.

    With ``NOXUS_API_KEY`` in the environment or in ``.env`` the real agent answers instead of the simulated one.
    """
    given = read_environment(None, ENV_FILE)
    async with AsyncExitStack() as stack:
        slack = SlackSimulator()
        slack.shortcuts = SHORTCUTS
        await slack.start(port=port)
        stack.push_async_callback(slack.stop)
        environ = {
            "SLACK_BOT_TOKEN": slack.bot_token,
            "SLACK_APP_TOKEN": slack.app_token,
            "SLACK_API_URL": slack.api_url,
            "SLACKBOT_FILE_HOSTS": urlsplit(slack.api_url).netloc,
            "SLACKBOT_OPS_PORT": "0",
            "SLACKBOT_HANDOVER_CHANNEL": slack.channels["support"],
            "SLACKBOT_HUMAN_BUTTON": "on",
            "LOG_LEVEL": given.get("LOG_LEVEL", "WARNING"),
            **{name: value for name, value in given.items() if name.startswith("SLACKBOT_") and name not in ELSEWHERE},
        }
        if "NOXUS_API_KEY" in given or "NOXUS_API_KEY_FILE" in given:
            environ |= {name: given[name] for name in (*_NOXUS_NAMES, "NOXUS_API_KEY_FILE") if name in given}
            slack.scripted_agent = False
            who = "your Noxus agent"
        else:
            noxus = NoxusSimulator()
            await noxus.start()
            stack.push_async_callback(noxus.stop)
            noxus.observers.append(lambda asked: slack.traffic.show(f"request {asked.number}", _line(asked)))
            for trouble in troubles(noxus):
                slack.switches.add(*trouble)
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

        def ready(_who: object) -> None:
            print(f"The demo is at {slack.page_url}  ({who} answers; Ctrl-C ends it)", flush=True)

        await app.serve(settings, ready=ready)


def _line(asked: Request) -> Line:
    """Tell of a request to the simulated Noxus: ids left out of its path, the newest kind of frame first."""
    steps = ["…" if len(step) > 32 else step for step in asked.path.removeprefix("/v1/").split("/")]
    kinds = [f"{count} {kind}" if count > 1 else kind for kind, count in reversed(asked.frames.items())]
    frames = ", ".join([*kinds, *(f"{file['name']} ({file['bytes']} bytes)" for file in asked.files)])
    what, cut = f"{asked.method} {'/'.join(steps)}", bool(asked.frames) and "finish" not in asked.frames
    if not asked.over:
        return Line(kind="request", what=what, more=frames, outcome="streaming" if asked.frames else "asked")
    outcome = "cut off" if cut else str(asked.status or "no answer")
    fine = 200 <= asked.status < 300 and not cut
    return Line(kind="request", what=what, more=frames, outcome=outcome, state="ok" if fine else "bad")
