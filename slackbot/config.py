"""Settings: every one, its environment name, and every problem at once."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal, TypeVar
from urllib.parse import unquote, urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError
from pydantic_core import ErrorDetails

from slackbot import checks
from slackbot.domain import AgentTarget
from slackbot.environment import ENV_FILE, read_environment, read_secret_files, unknown_names
from slackbot.errors import SlackbotError
from slackbot.files.passing import MB, FileLimits
from slackbot.handover import HandoverRules
from slackbot.routing import DmMode, Followups, Rules
from slackbot.store import Bounds, Timers


class SettingsError(SlackbotError):
    """Settings are missing or wrong. ``problems`` names every one, each with its cure."""

    code = "settings"

    def __init__(self, problems: tuple[str, ...]) -> None:
        counted = "1 setting needs" if len(problems) == 1 else f"{len(problems)} settings need"
        super().__init__("\n".join([f"{counted} your attention:", *(f"  - {problem}" for problem in problems)]))
        self.problems = problems


class Transport(StrEnum):
    """How Slack's events reach us."""

    SOCKET = "socket"
    HTTP = "http"


class NoxusMode(StrEnum):
    """Whether answers arrive as they grow, or whole."""

    STREAM = "stream"
    CHAT = "chat"


class DeletedReply(StrEnum):
    """What becomes of an answer whose message somebody deletes while it grows."""

    REPOST = "repost"
    END = "end"


_Lower = BeforeValidator(str.lower)
_Upper = BeforeValidator(str.upper)
_Minutes = Annotated[float, Field(ge=0, le=100_000, allow_inf_nan=False)]
_Seconds = Annotated[float, Field(gt=0, le=86_400, allow_inf_nan=False)]


class CommonSettings(BaseModel):
    """What every command needs: where things are stored and how to log."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    database_url: Annotated[SecretStr, AfterValidator(checks.database_url)] = Field(
        validation_alias="DATABASE_URL",
        default=SecretStr("sqlite:///slackbot.db"),
        description="`sqlite:///file.db`, or `postgresql://user:password@host/database`",
    )
    log_level: Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR"], _Upper] = Field(
        validation_alias="LOG_LEVEL", default="INFO", description="`DEBUG`, `INFO`, `WARNING` or `ERROR`"
    )
    log_format: Annotated[Literal["text", "json"], _Lower] = Field(
        validation_alias="LOG_FORMAT",
        default="json",
        description="`text` or `json`; by itself, `text` on a terminal",
    )
    notices: tuple[str, ...] = ()
    """Things worth telling the operator that are no errors."""

    @property
    def database_shown(self) -> str:
        """``database_url`` fit for people: without its password."""
        url = re.sub(r"(://[^:/@]*):.*@", r"\1:***@", self.database_url.get_secret_value())
        return re.sub(r"(?i)(password=)[^&]*", r"\1***", url)

    def secrets(self) -> tuple[str, ...]:
        """Every secret value, for the log's redaction."""
        password = urlsplit(self.database_url.get_secret_value()).password
        return (password, unquote(password)) if password else ()


class Settings(CommonSettings):
    """Everything the bot can be told from outside."""

    slack_bot_token: Annotated[SecretStr, AfterValidator(checks.bot_token)] = Field(
        validation_alias="SLACK_BOT_TOKEN", description="The app's bot token, `xoxb-…`"
    )
    slack_app_token: Annotated[SecretStr, AfterValidator(checks.app_token)] | None = Field(
        validation_alias="SLACK_APP_TOKEN",
        default=None,
        description="App-level token `xapp-…` with `connections:write`; selects Socket Mode",
    )
    slack_signing_secret: Annotated[SecretStr, AfterValidator(checks.signing_secret)] | None = Field(
        validation_alias="SLACK_SIGNING_SECRET",
        default=None,
        description="Verifies Slack's requests; selects HTTP when there is no app-level token",
    )
    slack_api_url: Annotated[str, AfterValidator(checks.api_url)] = Field(
        validation_alias="SLACK_API_URL", default="https://slack.com/api/", description="Where Slack's Web API is"
    )
    transport: Annotated[Transport, _Lower] = Field(
        validation_alias="SLACKBOT_TRANSPORT",
        default=Transport.SOCKET,
        description="`socket` or `http`; by itself, whichever has its credential, `socket` when both have",
    )
    http_host: str = Field(
        validation_alias="SLACKBOT_HTTP_HOST", default="0.0.0.0", description="HTTP transport: address to listen on"
    )
    http_port: int = Field(
        validation_alias="SLACKBOT_HTTP_PORT",
        default=3000,
        ge=0,
        le=65_535,
        description="HTTP transport: port to listen on, 0 for any free one",
    )
    ops_host: str = Field(
        validation_alias="SLACKBOT_OPS_HOST",
        default="127.0.0.1",
        description="Address of `/healthz` and `/readyz`, in both transports",
    )
    ops_port: int = Field(
        validation_alias="SLACKBOT_OPS_PORT",
        default=9400,
        ge=0,
        le=65_535,
        description="Port of `/healthz` and `/readyz`, 0 for none; every bot on a machine needs its own",
    )
    noxus_api_key: Annotated[SecretStr, AfterValidator(checks.printable)] = Field(
        validation_alias="NOXUS_API_KEY", description="Noxus API key of the workspace the agent lives in"
    )
    noxus_backend_url: Annotated[str, AfterValidator(checks.base_url)] = Field(
        validation_alias="NOXUS_BACKEND_URL",
        default="https://backend.noxus.ai",
        description="Where Noxus is; a path prefix is allowed",
    )
    noxus_agent_id: str | None = Field(
        validation_alias="NOXUS_AGENT_ID", default=None, description="The agent that answers"
    )
    noxus_agent_flow_id: str | None = Field(
        validation_alias="NOXUS_AGENT_FLOW_ID",
        default=None,
        description="The chat flow that answers, instead of an agent",
    )
    noxus_mode: Annotated[NoxusMode, _Lower] = Field(
        validation_alias="SLACKBOT_NOXUS_MODE",
        default=NoxusMode.STREAM,
        description="`stream`: answers grow as they are written; `chat`: they arrive whole",
    )
    followups: Annotated[Followups, _Lower] = Field(
        validation_alias="SLACKBOT_FOLLOWUPS",
        default=Followups.AUTO,
        description="In a thread with the agent, no mention is needed: `auto` by the person it answered last, until "
        "somebody else writes; `always`; `mention` never",
    )
    dm_mode: Annotated[DmMode, _Lower] = Field(
        validation_alias="SLACKBOT_DM_MODE",
        default=DmMode.THREAD,
        description="`thread`: each direct message starts a thread of its own; `flat`: the DM is one conversation "
        "until `new`",
    )
    thread_context: bool = Field(
        validation_alias="SLACKBOT_THREAD_CONTEXT",
        default=True,
        description="`on` or `off`: a mention in an older thread hands the agent what was said before",
    )
    allowed_channels: Annotated[frozenset[str], BeforeValidator(checks.channel_ids)] = Field(
        validation_alias="SLACKBOT_ALLOWED_CHANNELS",
        default=frozenset(),
        description="Channel ids, separated by commas; empty: every channel. DMs are not affected",
    )
    allowed_users: Annotated[frozenset[str], BeforeValidator(checks.user_ids)] = Field(
        validation_alias="SLACKBOT_ALLOWED_USERS",
        default=frozenset(),
        description="User ids, separated by commas; empty: everybody",
    )
    answer_bots: bool = Field(
        validation_alias="SLACKBOT_ANSWER_BOTS",
        default=False,
        description="Whether mentions by other bots are answered",
    )
    answer_external_users: bool = Field(
        validation_alias="SLACKBOT_ANSWER_EXTERNAL_USERS",
        default=False,
        description="Whether people of other workspaces (Slack Connect) are answered",
    )
    user_mentions: bool = Field(
        validation_alias="SLACKBOT_USER_MENTIONS",
        default=False,
        description="Whether the agent may mention people (`<@U…>`); it can never call groups or whole channels",
    )
    file_mb: int = Field(
        validation_alias="SLACKBOT_FILE_MB",
        default=25,
        ge=1,
        le=1_000,
        description="Largest file that is passed on, in MB, in both directions; Noxus takes 25 MB by its documentation",
    )
    files_per_turn: int = Field(
        validation_alias="SLACKBOT_FILES_PER_TURN",
        default=10,
        ge=0,
        le=100,
        description="Most files that go to the agent with one question; 0: none",
    )
    files_mb_per_turn: int = Field(
        validation_alias="SLACKBOT_FILES_MB_PER_TURN",
        default=50,
        ge=1,
        le=10_000,
        description="Most MB that go to the agent with one question",
    )
    refused_file_types: Annotated[frozenset[str], BeforeValidator(checks.file_types)] = Field(
        validation_alias="SLACKBOT_REFUSED_FILE_TYPES",
        default=frozenset(),
        description="Files that do not go to the agent: endings and MIME types separated by commas, such as "
        "`.exe, video/*`",
    )
    file_hosts: Annotated[frozenset[str], BeforeValidator(checks.file_hosts)] = Field(
        validation_alias="SLACKBOT_FILE_HOSTS",
        default=frozenset(),
        description="Hosts besides Slack's own that files may come from and go to, separated by commas; they get the "
        "bot token",
    )
    handover_channel: Annotated[str, BeforeValidator(checks.channel_id)] = Field(
        validation_alias="SLACKBOT_HANDOVER_CHANNEL",
        default="",
        description="Id of the channel where operators are asked; its members are the operators. Without it cards "
        "stand in the thread itself, and in DMs nobody can be called",
    )
    operators: Annotated[frozenset[str], BeforeValidator(checks.user_ids)] = Field(
        validation_alias="SLACKBOT_OPERATORS",
        default=frozenset(),
        description="Ids of the people who may take threads over, separated by commas, instead of that channel's",
    )
    operator_group: Annotated[str, BeforeValidator(checks.group_id)] = Field(
        validation_alias="SLACKBOT_OPERATOR_GROUP",
        default="",
        description="Id of the user group whose members may take threads over, instead of the channel's",
    )
    human_button: bool = Field(
        validation_alias="SLACKBOT_HUMAN_BUTTON",
        default=False,
        description="Whether answers carry a button that asks for a human",
    )
    human_phrases: Annotated[frozenset[str], BeforeValidator(checks.phrases)] = Field(
        validation_alias="SLACKBOT_HUMAN_PHRASES",
        default=frozenset(
            {"human", "talk to a human", "i want to talk to a human", "i need a human", "get me a human"}
        ),
        description="What somebody writes to the bot to ask for a human, separated by commas",
    )
    step_back_on_mention: bool = Field(
        validation_alias="SLACKBOT_STEP_BACK_ON_MENTION",
        default=False,
        description="Whether naming a teammate in the agent's thread asks for a human",
    )
    handover_remind_minutes: _Minutes = Field(
        validation_alias="SLACKBOT_HANDOVER_REMIND_MINUTES",
        default=5,
        description="Operators are reminded of a request that nobody took; 0: never",
    )
    handover_give_up_minutes: _Minutes = Field(
        validation_alias="SLACKBOT_HANDOVER_GIVE_UP_MINUTES",
        default=30,
        description="A request that nobody took goes back to the agent, with an apology; 0: never",
    )
    operator_remind_minutes: _Minutes = Field(
        validation_alias="SLACKBOT_OPERATOR_REMIND_MINUTES",
        default=15,
        description="An operator who has the thread and is silent is reminded; 0: never",
    )
    operator_offer_minutes: _Minutes = Field(
        validation_alias="SLACKBOT_OPERATOR_OFFER_MINUTES",
        default=60,
        description="After so much silence of the operator handing back is offered; 0: never",
    )
    asker_hands_back: bool = Field(
        validation_alias="SLACKBOT_ASKER_HANDS_BACK",
        default=True,
        description="Whether the asker may give the thread back to the agent while a human has it",
    )
    greet_after_handover: bool = Field(
        validation_alias="SLACKBOT_GREET_AFTER_HANDOVER",
        default=False,
        description="Whether the agent says a short word by itself when it gets a thread back",
    )
    handover_tools: Annotated[frozenset[str], BeforeValidator(checks.names)] = Field(
        validation_alias="SLACKBOT_HANDOVER_TOOLS",
        default=frozenset({"human_in_the_loop"}),
        description="Tools of the agent that ask for a human, separated by commas",
    )
    feedback: bool = Field(
        validation_alias="SLACKBOT_FEEDBACK",
        default=True,
        description="Whether thumbs are shown under answers; `slackbot feedback` lists what people pressed",
    )
    deleted_reply: Annotated[DeletedReply, _Lower] = Field(
        validation_alias="SLACKBOT_DELETED_REPLY",
        default=DeletedReply.REPOST,
        description="When somebody deletes an answer that still grows: `repost` goes on in a new message, `end` stops "
        "quietly",
    )
    turns_per_user_per_minute: int = Field(
        validation_alias="SLACKBOT_TURNS_PER_USER_PER_MINUTE",
        default=20,
        ge=0,
        description="Questions one person may ask in a minute; 0: no limit",
    )
    max_concurrent_turns: int = Field(
        validation_alias="SLACKBOT_MAX_CONCURRENT_TURNS",
        default=300,
        ge=1,
        le=10_000,
        description="Answers in progress at the same time; further ones wait",
    )
    max_concurrent_turns_per_team: int = Field(
        validation_alias="SLACKBOT_MAX_CONCURRENT_TURNS_PER_TEAM",
        default=0,
        ge=0,
        le=10_000,
        description="The same for one workspace, over all processes; 0: no limit of its own",
    )
    max_concurrent_turns_per_user: int = Field(
        validation_alias="SLACKBOT_MAX_CONCURRENT_TURNS_PER_USER",
        default=10,
        ge=0,
        le=10_000,
        description="The same for one person; 0: no limit of their own",
    )
    max_waiting_per_thread: int = Field(
        validation_alias="SLACKBOT_MAX_WAITING_PER_THREAD",
        default=20,
        ge=0,
        le=10_000,
        description="Questions that may wait in a thread; a further one is refused. 0: no limit",
    )
    max_waiting_per_user: int = Field(
        validation_alias="SLACKBOT_MAX_WAITING_PER_USER",
        default=50,
        ge=0,
        le=10_000,
        description="The same for one person in all threads",
    )
    max_waiting_per_team: int = Field(
        validation_alias="SLACKBOT_MAX_WAITING_PER_TEAM",
        default=5_000,
        ge=0,
        le=10_000,
        description="The same for one workspace",
    )
    shutdown_seconds: Annotated[float, Field(ge=0, le=3_600, allow_inf_nan=False)] = Field(
        validation_alias="SLACKBOT_SHUTDOWN_SECONDS",
        default=25,
        description="Time that running answers get to finish when the bot is stopped",
    )
    idle_seconds: _Seconds = Field(
        validation_alias="SLACKBOT_IDLE_SECONDS",
        default=120,
        description="Seconds of silence after which an answer is looked for anew; after as many more it is given up",
    )
    turn_seconds: _Seconds = Field(
        validation_alias="SLACKBOT_TURN_SECONDS", default=600, description="Seconds an answer may take in all"
    )

    def rules(self) -> Rules:
        """What of this decides which messages are answered."""
        return Rules(
            followups=self.followups,
            dm_mode=self.dm_mode,
            allowed_channels=self.allowed_channels,
            allowed_users=self.allowed_users,
            answer_bots=self.answer_bots,
            answer_external_users=self.answer_external_users,
            turns_per_user_per_minute=self.turns_per_user_per_minute,
            running_per_team=self.max_concurrent_turns_per_team,
            running_per_user=self.max_concurrent_turns_per_user,
            waiting_per_thread=self.max_waiting_per_thread,
            waiting_per_user=self.max_waiting_per_user,
            waiting_per_team=self.max_waiting_per_team,
            human_phrases=self.human_phrases,
            step_back_on_mention=self.step_back_on_mention,
        )

    def bounds(self) -> Bounds:
        """How many questions may be answered at the same time."""
        return Bounds(self.max_concurrent_turns_per_team, self.max_concurrent_turns_per_user)

    def handover_rules(self) -> HandoverRules:
        """What of this decides how a human is asked for."""
        minutes = (
            self.handover_remind_minutes,
            self.handover_give_up_minutes,
            self.operator_remind_minutes,
            self.operator_offer_minutes,
        )
        timers = Timers(*(60.0 * each for each in minutes))
        return HandoverRules(
            timers,
            self.handover_channel,
            asker_hands_back=self.asker_hands_back,
            has_operators=bool(self.operators or self.operator_group),
            greets=self.greet_after_handover,
        )

    def file_limits(self) -> FileLimits:
        """What of this decides which files pass."""
        return FileLimits(self.file_mb * MB, self.files_mb_per_turn * MB, self.files_per_turn, self.refused_file_types)

    def target(self) -> AgentTarget:
        """Who answers."""
        return AgentTarget(agent_id=self.noxus_agent_id, flow_id=self.noxus_agent_flow_id)

    def secrets(self) -> tuple[str, ...]:
        """Every secret value, for the log's redaction."""
        held = (self.slack_bot_token, self.slack_app_token, self.slack_signing_secret, self.noxus_api_key)
        return (*super().secrets(), *(secret.get_secret_value() for secret in held if secret))

    def summary(self) -> str:
        """What the bot is about to do, for people."""
        http = self.transport is Transport.HTTP
        slack = f"signed HTTP requests on {self.http_host}:{self.http_port}" if http else "Socket Mode"
        who = f"agent {self.noxus_agent_id}" if self.noxus_agent_id else f"chat flow {self.noxus_agent_flow_id}"
        return f"Slack     {slack}\nNoxus     {who} at {self.noxus_backend_url}\nDatabase  {self.database_shown}"


# --- reading them ----------------------------------------------------------------------------------------------------

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


def load_settings(environ: Mapping[str, str] | None = None, env_file: Path | None = ENV_FILE) -> Settings:
    """All settings, from ``environ`` (the process's own by default) over ``env_file``.

    Raises ``SettingsError`` with every problem at once.
    """
    return _load(Settings, environ, env_file)


def load_common_settings(environ: Mapping[str, str] | None = None, env_file: Path | None = ENV_FILE) -> CommonSettings:
    """The settings of commands that talk to neither Slack nor Noxus. Raises ``SettingsError``."""
    return _load(CommonSettings, environ, env_file)


def env_names(kind: type[CommonSettings] = Settings) -> dict[str, str]:
    """The environment variable of every setting, with the name of the field that holds it."""
    fields = kind.model_fields.items()
    return {str(info.validation_alias): name for name, info in fields if info.validation_alias is not None}


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
