"""Every setting of the bot."""

from __future__ import annotations

import re
from typing import Annotated, Literal
from urllib.parse import unquote, urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr

from slackbot import checks
from slackbot.domain import AgentTarget
from slackbot.files.passing import MB, FileLimits
from slackbot.handover import HandoverRules
from slackbot.routing import DmMode, Followups, Rules
from slackbot.store import Bounds, Timers

_Lower = BeforeValidator(str.lower)
_Upper = BeforeValidator(str.upper)
_Port = Annotated[int, Field(ge=0, le=65_535)]
_Count = Annotated[int, Field(ge=0, le=10_000)]
_Minutes = Annotated[float, Field(ge=0, le=100_000, allow_inf_nan=False)]
_Seconds = Annotated[float, Field(gt=0, le=86_400, allow_inf_nan=False)]


def _env_name(field: str) -> str:
    prefix = "" if field.startswith(("slack_", "noxus_", "database_", "log_")) else "SLACKBOT_"
    return prefix + field.upper()


class CommonSettings(BaseModel):
    """What every command needs: where things are stored and how to log."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True, alias_generator=_env_name)

    database_url: Annotated[SecretStr, AfterValidator(checks.database_url)] = Field(
        default=SecretStr("sqlite:///slackbot.db"),
        description="`sqlite:///file.db`, or `postgresql://user:password@host/database`",
    )
    log_level: Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR"], _Upper] = Field(
        default="INFO", description="`DEBUG`, `INFO`, `WARNING` or `ERROR`"
    )
    log_format: Annotated[Literal["text", "json"], _Lower] = Field(
        default="json", description="`text` or `json`; by itself, `text` on a terminal"
    )
    notices: tuple[str, ...] = Field(default=(), validation_alias="notices")
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
        description="The app's bot token, `xoxb-…`"
    )
    slack_app_token: Annotated[SecretStr, AfterValidator(checks.app_token)] | None = Field(
        default=None, description="App-level token `xapp-…` with `connections:write`; selects Socket Mode"
    )
    slack_signing_secret: Annotated[SecretStr, AfterValidator(checks.signing_secret)] | None = Field(
        default=None, description="Verifies Slack's requests; selects HTTP when there is no app-level token"
    )
    slack_api_url: Annotated[str, AfterValidator(checks.api_url)] = Field(
        default="https://slack.com/api/", description="Where Slack's Web API is"
    )
    transport: Annotated[Literal["socket", "http"], _Lower] = Field(
        default="socket",
        description="`socket` or `http`; by itself, whichever has its credential, `socket` when both have",
    )
    http_host: str = Field(default="0.0.0.0", description="HTTP transport: address to listen on")
    http_port: _Port = Field(default=3000, description="HTTP transport: port to listen on, 0 for any free one")
    ops_host: str = Field(default="127.0.0.1", description="Address of `/healthz` and `/readyz`, in both transports")
    ops_port: _Port = Field(
        default=9400, description="Port of `/healthz` and `/readyz`, 0 for none; every bot on a machine needs its own"
    )
    noxus_api_key: Annotated[SecretStr, AfterValidator(checks.printable)] = Field(
        description="Noxus API key of the workspace the agent lives in"
    )
    noxus_backend_url: Annotated[str, AfterValidator(checks.base_url)] = Field(
        default="https://backend.noxus.ai", description="Where Noxus is; a path prefix is allowed"
    )
    noxus_agent_id: str | None = Field(default=None, description="The agent that answers")
    noxus_agent_flow_id: str | None = Field(default=None, description="The chat flow that answers, instead of an agent")
    noxus_mode: Annotated[Literal["stream", "chat"], _Lower] = Field(
        validation_alias="SLACKBOT_NOXUS_MODE",
        default="stream",
        description="`stream`: answers grow as they are written; `chat`: they arrive whole",
    )
    followups: Annotated[Followups, _Lower] = Field(
        default=Followups.AUTO,
        description="In a thread with the agent, no mention is needed: `auto` by the person it answered last, until "
        "somebody else writes; `always`; `mention` never",
    )
    dm_mode: Annotated[DmMode, _Lower] = Field(
        default=DmMode.THREAD,
        description="`thread`: each direct message starts a thread of its own; `flat`: the DM is one conversation "
        "until `new`",
    )
    thread_context: bool = Field(
        default=True, description="`on` or `off`: a mention in an older thread hands the agent what was said before"
    )
    allowed_channels: Annotated[frozenset[str], BeforeValidator(checks.channel_ids)] = Field(
        default=frozenset(), description="Channel ids, separated by commas; empty: every channel. DMs are not affected"
    )
    allowed_users: Annotated[frozenset[str], BeforeValidator(checks.user_ids)] = Field(
        default=frozenset(), description="User ids, separated by commas; empty: everybody"
    )
    answer_bots: bool = Field(default=False, description="Whether mentions by other bots are answered")
    answer_external_users: bool = Field(
        default=False, description="Whether people of other workspaces (Slack Connect) are answered"
    )
    user_mentions: bool = Field(
        default=False,
        description="Whether the agent may mention people (`<@U…>`); it can never call groups or whole channels",
    )
    file_mb: int = Field(
        default=25,
        ge=1,
        le=1_000,
        description="Largest file that is passed on, in MB, in both directions; Noxus takes 25 MB by its documentation",
    )
    files_per_turn: int = Field(
        default=10, ge=0, le=100, description="Most files that go to the agent with one question; 0: none"
    )
    files_mb_per_turn: int = Field(
        default=50, ge=1, le=10_000, description="Most MB that go to the agent with one question"
    )
    refused_file_types: Annotated[frozenset[str], BeforeValidator(checks.file_types)] = Field(
        default=frozenset(),
        description="Files that do not go to the agent: endings and MIME types separated by commas, such as "
        "`.exe, video/*`",
    )
    file_hosts: Annotated[frozenset[str], BeforeValidator(checks.file_hosts)] = Field(
        default=frozenset(),
        description="Hosts besides Slack's own that files may come from and go to, separated by commas; they get the "
        "bot token",
    )
    handover_channel: Annotated[str, BeforeValidator(checks.channel_id)] = Field(
        default="",
        description="Id of the channel where operators are asked; its members are the operators. Without it cards "
        "stand in the thread itself, and in DMs nobody can be called",
    )
    operators: Annotated[frozenset[str], BeforeValidator(checks.user_ids)] = Field(
        default=frozenset(),
        description="Ids of the people who may take threads over, separated by commas, instead of that channel's",
    )
    operator_group: Annotated[str, BeforeValidator(checks.group_id)] = Field(
        default="", description="Id of the user group whose members may take threads over, instead of the channel's"
    )
    human_button: bool = Field(default=False, description="Whether answers carry a button that asks for a human")
    human_phrases: Annotated[frozenset[str], BeforeValidator(checks.phrases)] = Field(
        default=frozenset(
            {"human", "talk to a human", "i want to talk to a human", "i need a human", "get me a human"}
        ),
        description="What somebody writes to the bot to ask for a human, separated by commas",
    )
    step_back_on_mention: bool = Field(
        default=False, description="Whether naming a teammate in the agent's thread asks for a human"
    )
    handover_remind_minutes: _Minutes = Field(
        default=5, description="Operators are reminded of a request that nobody took; 0: never"
    )
    handover_give_up_minutes: _Minutes = Field(
        default=30, description="A request that nobody took goes back to the agent, with an apology; 0: never"
    )
    operator_remind_minutes: _Minutes = Field(
        default=15, description="An operator who has the thread and is silent is reminded; 0: never"
    )
    operator_offer_minutes: _Minutes = Field(
        default=60, description="After so much silence of the operator handing back is offered; 0: never"
    )
    asker_hands_back: bool = Field(
        default=True, description="Whether the asker may give the thread back to the agent while a human has it"
    )
    greet_after_handover: bool = Field(
        default=False, description="Whether the agent says a short word by itself when it gets a thread back"
    )
    handover_tools: Annotated[frozenset[str], BeforeValidator(checks.names)] = Field(
        default=frozenset({"human_in_the_loop"}),
        description="Tools of the agent that ask for a human, separated by commas",
    )
    feedback: bool = Field(
        default=True,
        description="Whether thumbs are shown under answers; `slackbot feedback` lists what people pressed",
    )
    deleted_reply: Annotated[Literal["repost", "end"], _Lower] = Field(
        default="repost",
        description="When somebody deletes an answer that still grows: `repost` goes on in a new message, `end` stops "
        "quietly",
    )
    turns_per_user_per_minute: int = Field(
        default=20, ge=0, description="Questions one person may ask in a minute; 0: no limit"
    )
    max_concurrent_turns: int = Field(
        default=300, ge=1, le=10_000, description="Answers in progress at the same time; further ones wait"
    )
    max_concurrent_turns_per_team: _Count = Field(
        default=0, description="The same for one workspace, over all processes; 0: no limit of its own"
    )
    max_concurrent_turns_per_user: _Count = Field(
        default=10, description="The same for one person; 0: no limit of their own"
    )
    max_waiting_per_thread: _Count = Field(
        default=20, description="Questions that may wait in a thread; a further one is refused. 0: no limit"
    )
    max_waiting_per_user: _Count = Field(default=50, description="The same for one person in all threads")
    max_waiting_per_team: _Count = Field(default=5_000, description="The same for one workspace")
    shutdown_seconds: Annotated[float, Field(ge=0, le=3_600, allow_inf_nan=False)] = Field(
        default=25, description="Time that running answers get to finish when the bot is stopped"
    )
    idle_seconds: _Seconds = Field(
        default=120,
        description="Seconds of silence after which an answer is looked for anew; after as many more it is given up",
    )
    turn_seconds: _Seconds = Field(default=600, description="Seconds an answer may take in all")

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
        http = self.transport == "http"
        slack = f"signed HTTP requests on {self.http_host}:{self.http_port}" if http else "Socket Mode"
        who = f"agent {self.noxus_agent_id}" if self.noxus_agent_id else f"chat flow {self.noxus_agent_flow_id}"
        return f"Slack     {slack}\nNoxus     {who} at {self.noxus_backend_url}\nDatabase  {self.database_shown}"


def env_names(kind: type[CommonSettings] = Settings) -> dict[str, str]:
    """The environment variable of every setting, with the name of the field that holds it."""
    fields = kind.model_fields.items()
    return {str(info.validation_alias): name for name, info in fields if name != "notices"}
