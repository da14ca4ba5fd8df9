"""One run of the probe: both sides at once, removed after, and the report."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from slackbot import __version__
from slackbot.config import Settings
from slackbot.environment import ENV_FILE, read_environment
from slackbot.errors import SlackbotError
from slackbot.loading import load_settings
from slackbot.probe.noxus import NoxusProbe
from slackbot.probe.report import Leftovers, Report
from slackbot.probe.slack import SlackProbe
from slackbot.probe.talk import Patience

_PLACEHOLDERS = {
    "SLACK_": {"SLACK_BOT_TOKEN": "xoxb-not-used", "SLACK_APP_TOKEN": "xapp-not-used"},
    "NOXUS_": {"NOXUS_API_KEY": "not-used", "NOXUS_AGENT_ID": "not-used"},
}


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to ask, and where. ``place`` is a channel's or a person's id, empty for none."""

    noxus: bool = True
    slack: bool = True
    place: str = ""
    keep: bool = False
    human: bool = False
    large: bool = False


class Unreachable(SlackbotError):
    """There was nobody to ask."""

    code = "unreachable"


def settings_for(wanted: Wanted) -> Settings:
    """The settings from the environment and ``.env``; a side that is not asked needs none. Raises ``SettingsError``."""
    values = read_environment(None, ENV_FILE)
    for prefix, asked in (("SLACK_", wanted.slack), ("NOXUS_", wanted.noxus)):
        if not asked:
            values = {name: value for name, value in values.items() if not name.startswith(prefix)}
            values |= _PLACEHOLDERS[prefix]
    if not wanted.slack:
        values.pop("SLACKBOT_TRANSPORT", None)
    return load_settings(values, env_file=None)


async def probe(
    settings: Settings,
    wanted: Wanted,
    say: Callable[[str], None],
    *,
    patience: Patience | None = None,
    pause: float = 1.2,
) -> Report:
    """Ask, remove what that left, and report. ``say`` is told what stays behind, also when the run is interrupted.

    Raises ``Unreachable`` when neither side could be reached.
    """
    began = time.monotonic()
    patience = patience or Patience()
    sides: list[NoxusProbe | SlackProbe] = []
    leftovers = [Leftovers(say, keep=wanted.keep) for _ in range(2)]
    if wanted.noxus:
        key = settings.noxus_api_key.get_secret_value()
        say(f"asking Noxus at {settings.noxus_backend_url}")
        sides.append(
            NoxusProbe(
                settings.noxus_backend_url,
                key,
                settings.target(),
                leftovers[0],
                patience=patience,
                human=wanted.human,
                large=wanted.large,
            )
        )
    if wanted.slack:
        token = settings.slack_bot_token.get_secret_value()
        say(f"asking Slack at {settings.slack_api_url}")
        sides.append(
            SlackProbe(settings.slack_api_url, token, wanted.place, leftovers[1], pause=pause, total=patience.total)
        )
    async with asyncio.TaskGroup() as tasks:
        for side in sides:
            tasks.create_task(side.run())
    if not any(side.reached for side in sides):
        whys = dict.fromkeys(finding.note for side in sides for finding in side.findings.all() if not finding.seen)
        raise Unreachable("there was nobody to ask: " + "; ".join(whys))
    return Report(
        __version__,
        time.monotonic() - began,
        [finding for side in sides for finding in side.findings.all()],
        [thing for made in leftovers for thing in made.left],
    )
