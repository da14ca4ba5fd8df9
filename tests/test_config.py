"""Settings: where they come from, what each may be, and how problems are told."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from dotenv import dotenv_values
from pydantic import SecretStr

from slackbot.config import CommonSettings, Settings, env_names
from slackbot.demo import ELSEWHERE
from slackbot.domain import AgentTarget, ChannelKind
from slackbot.handover import HandoverRules
from slackbot.loading import SECRETS, SettingsError, load_common_settings, load_settings
from slackbot.routing import DmMode, Followups, Rules
from slackbot.signals import HUMAN_TOOLS
from slackbot.store import Timers

ROOT = Path(__file__).parent.parent
PHRASES = frozenset({"human", "talk to a human", "i want to talk to a human", "i need a human", "get me a human"})
ENOUGH = {
    "SLACK_BOT_TOKEN": "xoxb-1-bot",
    "SLACK_APP_TOKEN": "xapp-1-app",
    "NOXUS_API_KEY": "key-1",
    "NOXUS_AGENT_ID": "agent-1",
}


def load(**changes: str | None) -> Settings:
    """Settings of a working environment with some variables changed; None takes one out."""
    return load_settings({name: value for name, value in (ENOUGH | changes).items() if value is not None}, None)


def problems(**changes: str | None) -> tuple[str, ...]:
    """What is wrong with such an environment."""
    with pytest.raises(SettingsError) as caught:
        load(**changes)
    return caught.value.problems


def test_enough() -> None:
    """Four variables are enough; the rest has defaults."""
    settings = load()
    assert settings.transport == "socket"
    assert settings.slack_api_url == "https://slack.com/api/"
    assert settings.noxus_backend_url == "https://backend.noxus.ai"
    assert settings.noxus_mode == "stream"
    assert settings.database_url.get_secret_value() == "sqlite:///slackbot.db"
    assert settings.target() == AgentTarget(agent_id="agent-1")
    assert settings.rules() == Rules(human_phrases=PHRASES)
    assert settings.handover_rules() == HandoverRules(Timers(300.0, 1_800.0, 900.0, 3_600.0))
    assert settings.handover_tools == HUMAN_TOOLS
    assert settings.notices == ()


def test_every_problem_at_once_with_its_cure() -> None:
    """An empty environment names all four missing things, and where each is found."""
    with pytest.raises(SettingsError) as caught:
        load_settings({}, None)
    found = caught.value.problems
    assert [problem.split()[0] for problem in found] == [
        "SLACK_BOT_TOKEN",
        "SLACK_APP_TOKEN",
        "NOXUS_API_KEY",
        "NOXUS_AGENT_ID",
    ]
    assert "OAuth & Permissions" in found[0]
    assert "connections:write" in found[1]
    assert "SLACK_SIGNING_SECRET" in found[1]
    assert "API Keys" in found[2]
    assert "NOXUS_AGENT_FLOW_ID" in found[3]
    assert "4 settings need your attention" in str(caught.value)


def test_missing_and_wrong_settings_are_told_together() -> None:
    """Contradictions, missing values and wrong values come in one list, one problem a setting."""
    found = problems(
        SLACK_BOT_TOKEN=None,
        NOXUS_AGENT_FLOW_ID="flow-1",
        SLACKBOT_TRANSPORT="http",
        SLACKBOT_HTTP_PORT="many",
    )
    assert [problem.split()[0] for problem in found] == [
        "SLACK_BOT_TOKEN",
        "SLACK_SIGNING_SECRET",
        "SLACKBOT_HTTP_PORT",
        "NOXUS_AGENT_ID",
    ]


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("SLACK_BOT_TOKEN", "xapp-1-a", "begins with xoxb-; this is an app-level token"),
        ("SLACK_BOT_TOKEN", "xoxp-1-a", "this is a user token"),
        ("SLACK_BOT_TOKEN", "bottoken", "begins with xoxb-."),
        ("SLACK_BOT_TOKEN", "xoxb-1 2", "holds a space"),
        ("SLACK_APP_TOKEN", "xoxb-1-a", "begins with xapp-; this is a bot token"),
        ("SLACK_SIGNING_SECRET", "xapp-1-a", "this is a token"),
        ("SLACK_API_URL", "slack.com/api", "must be an address"),
        ("SLACKBOT_TRANSPORT", "sockets", "must be socket or http"),
        ("SLACKBOT_HTTP_PORT", "70000", "less than or equal to 65535"),
        ("SLACKBOT_HTTP_PORT", "80.5", "must be a number"),
        ("NOXUS_API_KEY", "schlüssel", "another character"),
        ("NOXUS_BACKEND_URL", "ftp://noxus.example", "must be an address"),
        ("NOXUS_BACKEND_URL", "https://me:pass@noxus.example", "no user, password"),
        ("NOXUS_BACKEND_URL", "https://noxus.example/?key=1", "no user, password"),
        ("NOXUS_BACKEND_URL", "https://noxus.example:port", "not a valid address"),
        ("NOXUS_AGENT_FLOW_ID", "flow-1", "are both set"),
        ("SLACKBOT_NOXUS_MODE", "poll", "must be stream or chat"),
        ("DATABASE_URL", "mysql://me:pass@host/db", "must begin with sqlite:/// or postgresql://:"),
        ("DATABASE_URL", "postgresql+asyncpg://host/db", "without a driver's name"),
        ("DATABASE_URL", "postgresql://host", "must name a database"),
        ("DATABASE_URL", "postgresql://me:pa/ss@host/db", "percent-encoded"),
        ("DATABASE_URL", "slackbot.db", "must begin with sqlite:///"),
        ("DATABASE_URL", "sqlite://", "must name a file"),
        ("DATABASE_URL", "sqlite:///:memory:", "must name a file"),
        ("DATABASE_URL", "sqlite:////nowhere/at/all/bot.db", "no such folder"),
        ("SLACKBOT_FOLLOWUPS", "never", "must be auto, always or mention"),
        ("SLACKBOT_DM_MODE", "threads", "must be thread or flat"),
        ("SLACKBOT_THREAD_CONTEXT", "perhaps", "must be on or off"),
        ("SLACKBOT_ALLOWED_CHANNELS", "#general, C0123ABCD", "not #general. Click the channel's name"),
        ("SLACKBOT_ALLOWED_USERS", "@ada", "not @ada. In Slack, open the person's profile"),
        ("SLACKBOT_ANSWER_BOTS", "2", "must be on or off"),
        ("SLACKBOT_HANDOVER_CHANNEL", "#support", "not #support. Click the channel's name"),
        ("SLACKBOT_HANDOVER_CHANNEL", "C0123ABCD,C0456EFGH", "takes one id."),
        ("SLACKBOT_HANDOVER_CHANNEL", "D0123ABCD", "ids such as C0123ABCD"),
        ("SLACKBOT_OPERATORS", "olga", "not olga. In Slack, open the person's profile"),
        ("SLACKBOT_OPERATOR_GROUP", "@support", "not @support. In Slack, open the group"),
        ("SLACKBOT_OPERATOR_GROUP", "S0123ABCD S0456EFGH", "takes one id."),
        ("SLACKBOT_HUMAN_BUTTON", "sometimes", "must be on or off"),
        ("SLACKBOT_STEP_BACK_ON_MENTION", "maybe", "must be on or off"),
        ("SLACKBOT_HANDOVER_REMIND_MINUTES", "5m", "must be a number"),
        ("SLACKBOT_HANDOVER_GIVE_UP_MINUTES", "-1", "greater than or equal to 0"),
        ("SLACKBOT_OPERATOR_REMIND_MINUTES", "inf", "is wrong"),
        ("SLACKBOT_OPERATOR_OFFER_MINUTES", "100001", "less than or equal to 100000"),
        ("SLACKBOT_ASKER_HANDS_BACK", "yes please", "must be on or off"),
        ("SLACKBOT_GREET_AFTER_HANDOVER", "hello", "must be on or off"),
        ("SLACKBOT_TURNS_PER_USER_PER_MINUTE", "-1", "greater than or equal to 0"),
        ("SLACKBOT_MAX_CONCURRENT_TURNS", "0", "greater than or equal to 1"),
        ("SLACKBOT_SHUTDOWN_SECONDS", "soon", "must be a number"),
        ("SLACKBOT_IDLE_SECONDS", "0", "greater than 0"),
        ("SLACKBOT_TURN_SECONDS", "nan", "is wrong"),
        ("LOG_LEVEL", "loud", "must be DEBUG, INFO, WARNING or ERROR"),
        ("LOG_FORMAT", "xml", "must be text or json"),
    ],
)
def test_wrong_value(name: str, value: str, words: str) -> None:
    """A wrong value is one problem that begins with a setting's name and says what is allowed."""
    (problem,) = problems(**{name: value})
    assert problem.split()[0] in env_names()
    assert words in problem


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SLACK_BOT_TOKEN", "xapp-very-secret"),
        ("SLACK_SIGNING_SECRET", "xoxb-very-secret"),
        ("NOXUS_API_KEY", "very-secret schlüssel"),
        ("DATABASE_URL", "mysql://me:very-secret@host/db"),
        ("DATABASE_URL", "postgresql://me:very-secret/1@host/db"),
        ("NOXUS_BACKEND_URL", "https://me:very-secret@host"),
        ("NOXUS_BACKEND_URL", "https://me:very-secret/1@host"),
    ],
)
def test_problems_quote_no_secret(name: str, value: str) -> None:
    """What is told about a value that may be a secret does not repeat it."""
    assert "very-secret" not in "".join(problems(**{name: value}))


@pytest.mark.parametrize(
    ("changes", "transport", "notices"),
    [
        ({}, "socket", 0),
        ({"SLACK_SIGNING_SECRET": "abc"}, "socket", 1),
        ({"SLACK_SIGNING_SECRET": "abc", "SLACKBOT_TRANSPORT": "socket"}, "socket", 0),
        ({"SLACK_SIGNING_SECRET": "abc", "SLACKBOT_TRANSPORT": "HTTP"}, "http", 0),
        ({"SLACK_SIGNING_SECRET": "abc", "SLACK_APP_TOKEN": None}, "http", 0),
    ],
)
def test_transport_follows_from_the_credentials(changes: dict[str, str | None], transport: str, notices: int) -> None:
    """An app-level token means Socket Mode, also beside a signing secret (one notice), unless the setting decides."""
    settings = load(**changes)
    assert settings.transport == transport
    assert len(settings.notices) == notices


def test_transport_needs_its_credential() -> None:
    """A transport that was asked for says which credential it lacks."""
    (socket,) = problems(SLACKBOT_TRANSPORT="socket", SLACK_APP_TOKEN=None, SLACK_SIGNING_SECRET="abc")
    assert socket.startswith("SLACK_APP_TOKEN is missing")
    (http,) = problems(SLACKBOT_TRANSPORT="http")
    assert http.startswith("SLACK_SIGNING_SECRET is missing")


def test_values_are_tidied() -> None:
    """Addresses lose or get their last slash, lists may hold spaces, words may be in any case."""
    settings = load(
        NOXUS_BACKEND_URL=" https://noxus.example/api/backend/ ",
        SLACK_API_URL="http://127.0.0.1:8400/api",
        DATABASE_URL="postgres://me:secret@host/bot",
        SLACKBOT_ALLOWED_CHANNELS="C0123ABCD, G0123ABCD,",
        SLACKBOT_ALLOWED_USERS="U0123ABCD W0123ABCD",
        SLACKBOT_THREAD_CONTEXT="off",
        SLACKBOT_ANSWER_BOTS="true",
        SLACKBOT_FOLLOWUPS="Always",
        SLACKBOT_DM_MODE="FLAT",
        LOG_LEVEL="debug",
    )
    assert settings.noxus_backend_url == "https://noxus.example/api/backend"
    assert settings.slack_api_url == "http://127.0.0.1:8400/api/"
    assert settings.database_url.get_secret_value() == "postgresql://me:secret@host/bot"
    assert settings.thread_context is False
    assert settings.log_level == "DEBUG"
    assert settings.rules() == Rules(
        followups=Followups.ALWAYS,
        dm_mode=DmMode.FLAT,
        allowed_channels=frozenset({"C0123ABCD", "G0123ABCD"}),
        allowed_users=frozenset({"U0123ABCD", "W0123ABCD"}),
        answer_bots=True,
        human_phrases=PHRASES,
    )


def test_who_helps_and_when() -> None:
    """Ids are one or several, phrases lose their case and their gaps, minutes may be parts of one, 0 means never."""
    settings = load(
        SLACKBOT_HANDOVER_CHANNEL=" C0123ABCD ",
        SLACKBOT_OPERATORS="U0123ABCD, W0123ABCD",
        SLACKBOT_OPERATOR_GROUP="S0123ABCD",
        SLACKBOT_HUMAN_PHRASES="Get me  a Human, mensch,,",
        SLACKBOT_STEP_BACK_ON_MENTION="on",
        SLACKBOT_HANDOVER_REMIND_MINUTES="0.5",
        SLACKBOT_HANDOVER_GIVE_UP_MINUTES="0",
        SLACKBOT_ASKER_HANDS_BACK="off",
        SLACKBOT_HANDOVER_TOOLS="call_olga, call_otto",
    )
    timers = Timers(30.0, 0.0, 900.0, 3_600.0)
    assert settings.handover_rules() == HandoverRules(timers, "C0123ABCD", asker_hands_back=False, has_operators=True)
    assert settings.rules() == Rules(human_phrases=frozenset({"get me a human", "mensch"}), step_back_on_mention=True)
    assert settings.handover_tools == {"call_olga", "call_otto"}


@pytest.mark.parametrize(
    ("changes", "private", "channel"),
    [
        ({}, False, False),
        ({"SLACKBOT_HANDOVER_CHANNEL": "C0123ABCD"}, True, True),
        ({"SLACKBOT_OPERATORS": "U0123ABCD"}, False, True),
        ({"SLACKBOT_OPERATOR_GROUP": "S0123ABCD"}, False, True),
    ],
)
def test_where_a_human_can_be_called(changes: dict[str, str | None], private: bool, channel: bool) -> None:  # noqa: FBT001 - a table's columns
    """With a channel for operators everywhere; with operators alone not in DMs, which they cannot join."""
    rules = load(**changes).handover_rules()
    assert (rules.can_call(ChannelKind.DM), rules.can_call(ChannelKind.CHANNEL)) == (private, channel)


def test_chat_flow() -> None:
    """A chat flow takes the agent's place."""
    settings = load(NOXUS_AGENT_ID=None, NOXUS_AGENT_FLOW_ID="flow-1")
    assert settings.target() == AgentTarget(flow_id="flow-1")
    assert "chat flow flow-1" in settings.summary()


def test_rotated_bot_token() -> None:
    """With token rotation a bot token begins with xoxe.xoxb-."""
    assert load(SLACK_BOT_TOKEN="xoxe.xoxb-1").slack_bot_token.get_secret_value() == "xoxe.xoxb-1"


def test_env_file_stands_under_the_environment(tmp_path: Path) -> None:
    """A .env file is read; a real variable wins over it, even an empty one, and in either spelling."""
    env_file = tmp_path / ".env"
    env_file.write_text(
        "SLACK_BOT_TOKEN=xoxb-file\nSLACK_APP_TOKEN='xapp-$file'\nNOXUS_API_KEY=key-file\nNOXUS_AGENT_ID=agent-file\n"
        "SLACKBOT_HTTP_PORT=4000\nSLACKBOT_ALLOWED_USERS=U0123ABCD\n",
        encoding="utf-8",
    )
    key = tmp_path / "key"
    key.write_text("key-secret\n", encoding="utf-8")
    environ = {"SLACKBOT_HTTP_PORT": "5000", "SLACKBOT_ALLOWED_USERS": "", "NOXUS_API_KEY_FILE": str(key)}
    settings = load_settings(environ, env_file)
    assert settings.slack_app_token == SecretStr("xapp-$file")
    assert settings.noxus_agent_id == "agent-file"
    assert settings.http_port == 5000
    assert settings.allowed_users == frozenset()
    assert settings.noxus_api_key == SecretStr("key-secret")


def test_unreadable_env_file(tmp_path: Path) -> None:
    """A .env that is no text file is a problem in words."""
    with pytest.raises(SettingsError, match="cannot be read"):
        load_settings(ENOUGH, tmp_path)
    env_file = tmp_path / ".env"
    env_file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SettingsError, match="cannot be read"):
        load_settings(ENOUGH, env_file)


@pytest.mark.parametrize("name", SECRETS)
def test_secret_from_a_file(name: str, tmp_path: Path) -> None:
    """Every secret may come from a file, without the line end that editors leave."""
    value = {"DATABASE_URL": "postgresql://me:secret@host/bot"}.get(name, ENOUGH.get(name, "abc"))
    file = tmp_path / "secret"
    file.write_text(value + "\n", encoding="utf-8")
    settings = load(**{"SLACKBOT_TRANSPORT": "socket", name: None, f"{name}_FILE": str(file)})
    assert getattr(settings, env_names()[name]).get_secret_value() == value
    assert settings.notices == ()


def test_secret_file_problems(tmp_path: Path) -> None:
    """A secret's file that is missing, empty, no text or set beside the value itself is told, once each."""
    empty, binary = tmp_path / "empty", tmp_path / "binary"
    empty.write_text("\n", encoding="utf-8")
    binary.write_bytes(b"\xff")
    found = problems(
        SLACK_BOT_TOKEN_FILE=str(empty),
        SLACK_APP_TOKEN=None,
        SLACK_APP_TOKEN_FILE=str(tmp_path / "none"),
        NOXUS_API_KEY=None,
        NOXUS_API_KEY_FILE=str(empty),
        DATABASE_URL_FILE=str(binary),
    )
    assert [problem.split(".")[0].removesuffix(" or directory") for problem in found] == [
        f"DATABASE_URL cannot be read from {binary}, which DATABASE_URL_FILE names: it is not text",
        "SLACK_BOT_TOKEN and SLACK_BOT_TOKEN_FILE are both set: keep one of them",
        f"SLACK_APP_TOKEN cannot be read from {tmp_path}/none, which SLACK_APP_TOKEN_FILE names: No such file",
        f"NOXUS_API_KEY is empty in {empty}, which NOXUS_API_KEY_FILE names",
    ]


def test_unknown_variable_is_noticed() -> None:
    """A misspelt SLACKBOT_ variable is no error, but the closest setting is named."""
    (notice,) = load(SLACKBOT_FOLOWUPS="always", SLACK_SOMETHING="1", OTHER="1").notices
    assert notice == "SLACKBOT_FOLOWUPS is not a setting and has no effect; did you mean SLACKBOT_FOLLOWUPS?"


def test_no_secret_is_shown() -> None:
    """Neither repr nor the summary shows a secret, and all of them are handed to the log's redaction."""
    secrets = {
        "SLACK_BOT_TOKEN": "xoxb-geheim-1",
        "SLACK_APP_TOKEN": "xapp-geheim-2",
        "SLACK_SIGNING_SECRET": "geheim-3",
        "NOXUS_API_KEY": "geheim-4",
        "DATABASE_URL": "postgresql://me:geheim%2F5@host/bot?password=geheim-6",
    }
    settings = load(**secrets)
    assert "geheim" not in repr(settings)
    assert "geheim" not in settings.summary()
    assert {*list(secrets.values())[:4], "geheim%2F5", "geheim/5"} <= set(settings.secrets())


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("sqlite:///slackbot.db", "sqlite:///slackbot.db"),
        ("sqlite:////tmp/slackbot.db", "sqlite:////tmp/slackbot.db"),
        ("postgresql://host/bot", "postgresql://host/bot"),
        ("postgresql://me@host/bot", "postgresql://me@host/bot"),
        ("postgresql://me:pass@host:5432/bot?sslmode=require", "postgresql://me:***@host:5432/bot?sslmode=require"),
        ("postgresql:///bot?user=me&password=pass&host=db", "postgresql:///bot?user=me&password=***&host=db"),
    ],
)
def test_database_without_password(url: str, shown: str) -> None:
    """The database is shown as it was given, but for the password."""
    assert load(DATABASE_URL=url).database_shown == shown


def test_summary() -> None:
    """The summary names transport, agent, backend and database."""
    assert load().summary().splitlines() == [
        "Slack     Socket Mode",
        "Noxus     agent agent-1 at https://backend.noxus.ai",
        "Database  sqlite:///slackbot.db",
    ]
    http = load(SLACKBOT_TRANSPORT="http", SLACK_SIGNING_SECRET="abc", SLACKBOT_HTTP_PORT="80").summary()
    assert "signed HTTP requests on 0.0.0.0:80" in http


def test_common_settings_need_no_tokens() -> None:
    """The database can be migrated without Slack's and Noxus's credentials."""
    settings = load_common_settings({"DATABASE_URL": "postgresql://me:secret@host/bot"}, None)
    assert type(settings) is CommonSettings
    assert settings.secrets() == ("secret", "secret")
    with pytest.raises(SettingsError, match="1 setting needs"):
        load_common_settings({"DATABASE_URL": "oracle://host/bot"}, None)


def test_settings_are_frozen() -> None:
    """Nobody changes a setting after it was read."""
    with pytest.raises(ValueError, match="frozen"):
        load().http_port = 1


# --- what is written about them ---------------------------------------------------------------------------------------


def default_of(name: str) -> str | None:
    """A setting's default as a person writes it; None when it has to be given."""
    info = Settings.model_fields[env_names()[name]]
    if info.is_required():
        return None
    match info.default:
        case SecretStr():
            return info.default.get_secret_value()
        case bool():
            return "on" if info.default else "off"
        case None:
            return ""
        case frozenset():
            return ", ".join(sorted(info.default))
        case default:
            return str(default)


def test_readme_lists_every_setting() -> None:
    """The README's table has a row for each setting, with the default and the words of the code."""
    rows = re.findall(r"^\| (`[A-Z_]+` \|.*\|) *$", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    expected = set()
    for name, field in env_names().items():
        default = default_of(name)
        shown = "required" if default is None else f"`{default}`" if default else ""
        expected.add(f"`{name}` | {shown} | {Settings.model_fields[field].description} |")
    assert set(rows) == expected


def test_env_example_lists_every_setting() -> None:
    """.env.example has a line for each setting; what is commented out shows its default."""
    text = (ROOT / ".env.example").read_text(encoding="utf-8")
    lines = dict(re.findall(r"^(?:# )?([A-Z_]+)=(.*)$", text, re.MULTILINE))
    assert lines == {name: default_of(name) or "" for name in env_names()}


def test_env_example_filled_in_is_enough(tmp_path: Path) -> None:
    """Filling in what is not commented out makes a working .env."""
    text = (ROOT / ".env.example").read_text(encoding="utf-8")
    for name, value in ENOUGH.items():
        text = re.sub(rf"^{name}=$", f"{name}={value}", text, flags=re.MULTILINE)
    env_file = tmp_path / ".env"
    env_file.write_text(text, encoding="utf-8")
    assert dotenv_values(env_file) == ENOUGH
    assert load_settings({}, env_file).noxus_agent_id == "agent-1"


def test_the_demo_leaves_out_settings_alone() -> None:
    """What the demo does not take from the environment are settings: one that is renamed is renamed there, too."""
    assert set(env_names()) >= ELSEWHERE
