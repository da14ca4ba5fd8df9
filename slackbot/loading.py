"""The settings as the environment has them, or every problem with them at once."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from slackbot.config import CommonSettings, Settings, env_names
from slackbot.environment import ENV_FILE, read_environment, read_secret_files, unknown_names
from slackbot.errors import SlackbotError

_ON_SLACK = "You find it at https://api.slack.com/apps > your app >"
_IN_NOXUS = 'curl -H "X-API-Key: $NOXUS_API_KEY" https://backend.noxus.ai/v1'
_CURES = {
    "SLACK_BOT_TOKEN": f"{_ON_SLACK} OAuth & Permissions > Bot User OAuth Token, once the app is installed.",
    "SLACK_APP_TOKEN": f"{_ON_SLACK} Basic Information > App-Level Tokens; it needs the scope connections:write.",
    "SLACK_SIGNING_SECRET": f"{_ON_SLACK} Basic Information > App Credentials > Signing Secret.",
    "NOXUS_API_KEY": "In Noxus: Settings > Organization > Workspaces > API Keys.",
    "NOXUS_AGENT_ID": f"{_IN_NOXUS}/agents lists your agents with their ids.",
    "NOXUS_AGENT_FLOW_ID": f"{_IN_NOXUS}/workflows?type=agent_flow lists your chat flows with their ids.",
}

SECRETS = ("SLACK_BOT_TOKEN", "SLACK_APP_TOKEN", "SLACK_SIGNING_SECRET", "NOXUS_API_KEY", "DATABASE_URL")
"""Settings that may also be given as ``NAME_FILE``, the path of a file that holds the value."""

_Kind = TypeVar("_Kind", bound=CommonSettings)


class SettingsError(SlackbotError):
    """Settings are missing or wrong. ``problems`` names every one, each with its cure."""

    code = "settings"

    def __init__(self, problems: tuple[str, ...]) -> None:
        counted = "1 setting needs" if len(problems) == 1 else f"{len(problems)} settings need"
        super().__init__("\n".join([f"{counted} your attention:", *(f"  - {problem}" for problem in problems)]))
        self.problems = problems


def load_settings(environ: Mapping[str, str] | None = None, env_file: Path | None = ENV_FILE) -> Settings:
    """All settings, from ``environ`` (the process's own by default) over ``env_file``.

    Raises ``SettingsError`` with every problem at once.
    """
    return _load(Settings, environ, env_file)


def load_common_settings(environ: Mapping[str, str] | None = None, env_file: Path | None = ENV_FILE) -> CommonSettings:
    """The settings of commands that talk to neither Slack nor Noxus. Raises ``SettingsError``."""
    return _load(CommonSettings, environ, env_file)


def _load(kind: type[_Kind], environ: Mapping[str, str] | None, env_file: Path | None) -> _Kind:
    try:
        values = read_environment(environ, env_file)
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError((f"{env_file} cannot be read: {error}",)) from error
    notices = unknown_names(values, [*env_names(), *(f"{name}_FILE" for name in SECRETS)])
    values, found = read_secret_files(values, SECRETS)
    if kind is Settings:
        found += _contradictions(values)
        if "SLACKBOT_TRANSPORT" not in values:
            values["SLACKBOT_TRANSPORT"] = "socket" if "SLACK_APP_TOKEN" in values else "http"
            if "SLACK_APP_TOKEN" in values and "SLACK_SIGNING_SECRET" in values:
                notices.append(
                    "SLACK_APP_TOKEN and SLACK_SIGNING_SECRET are both set: using Socket Mode. "
                    "Set SLACKBOT_TRANSPORT=http for the other."
                )
    values.setdefault("LOG_FORMAT", "text" if sys.stderr.isatty() else "json")
    try:
        settings = kind.model_validate({**values, "notices": tuple(notices)})
    except ValidationError as error:
        raise _all_of([*found, *map(_problem, error.errors())]) from None
    if found:
        raise _all_of(found)
    return settings


def _all_of(found: list[tuple[str, str]]) -> SettingsError:
    # The first problem of a setting explains the others: a file that cannot be read, then a missing value.
    problems = dict(reversed(found))
    named = (name for name in env_names() if name in problems)
    return SettingsError(tuple(f"{name} {problems[name]} {_CURES.get(name, '')}".rstrip() for name in named))


def _contradictions(values: Mapping[str, str]) -> list[tuple[str, str]]:
    """Settings that are each fine but do not go together, as (name, problem)."""
    found = []
    match values.get("SLACKBOT_TRANSPORT", "").lower():
        case "socket" if "SLACK_APP_TOKEN" not in values:
            found.append(("SLACK_APP_TOKEN", "is missing; SLACKBOT_TRANSPORT=socket needs it."))
        case "http" if "SLACK_SIGNING_SECRET" not in values:
            found.append(("SLACK_SIGNING_SECRET", "is missing; SLACKBOT_TRANSPORT=http needs it."))
        case "" if "SLACK_APP_TOKEN" not in values and "SLACK_SIGNING_SECRET" not in values:
            found.append(("SLACK_APP_TOKEN", "is missing (or SLACK_SIGNING_SECRET, for HTTP instead of Socket Mode)."))
    if "NOXUS_AGENT_ID" in values and "NOXUS_AGENT_FLOW_ID" in values:
        found.append(("NOXUS_AGENT_ID", "and NOXUS_AGENT_FLOW_ID are both set: keep the one that shall answer."))
    if "NOXUS_AGENT_ID" not in values and "NOXUS_AGENT_FLOW_ID" not in values:
        found.append(("NOXUS_AGENT_ID", "is missing (or NOXUS_AGENT_FLOW_ID, for a chat flow)."))
    return found


def _problem(error: ErrorDetails) -> tuple[str, str]:
    """One of pydantic's errors as (name, problem)."""
    name, context = str(error["loc"][0]), error.get("ctx", {})
    match error["type"]:
        case "missing":
            return name, "is missing."
        case "value_error":
            return name, str(context["error"])
        case "enum" | "literal_error":
            return name, f"must be {context['expected'].replace(chr(39), '')}."
        case "bool_parsing":
            return name, "must be on or off."
        case "int_parsing" | "int_from_float" | "float_parsing":
            return name, "must be a number."
        case _:
            return name, f"is wrong: {error['msg'][:1].lower()}{error['msg'][1:]}."
