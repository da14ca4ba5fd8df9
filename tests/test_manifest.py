"""The Slack app's manifest: what it asks for is what the bot uses, and the bot lives within it."""

from __future__ import annotations

import ast
import asyncio
import copy
import json
import logging
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import jsonschema
import pytest
import yaml

from slackbot.simulator.slack import Grants, SlackSimulator
from slackbot.simulator.slack.scopes import CUSTOMIZE, CUSTOMIZED, EVENT_SCOPES, METHOD_SCOPES, accepted, event_name
from slackbot.slack.events import SHORTCUTS
from slackbot.slack.installations import REQUIRED_SCOPES
from slackbot.slack.listeners import AGENT_EVENTS, EVENTS
from tests.whole_bot import World, bot, world

ROOT = Path(__file__).parent.parent
MANIFEST: dict[str, Any] = yaml.safe_load((ROOT / "manifest.yml").read_text(encoding="utf-8"))
SCOPES: dict[str, list[str]] = MANIFEST["oauth_config"]["scopes"]
SUBSCRIBED: list[str] = MANIFEST["settings"]["event_subscriptions"]["bot_events"]
SCHEMAS = ROOT.parent / "shared" / "reference" / "slack-manifest-schema"

NEEDS_NO_SCOPE = {"apps.connections.open", "auth.test", "chat.getPermalink", "views.open", "views.push", "views.update"}
"""Methods that take any bot token, or an app-level one."""
NEVER_NAMED = {"im:read", "mpim:read"}
"""Names are asked for channels that a message links to: public and private ones, no direct messages."""


# --- the file ---


def test_structure() -> None:
    """Slack's published limits hold, and no key is one that Slack does not know."""
    known: dict[str, set[str]] = {
        "": {"_metadata", "display_information", "features", "oauth_config", "settings"},
        "_metadata": {"major_version", "minor_version"},
        "display_information": {"name", "description", "long_description", "background_color"},
        "features": {"app_home", "bot_user", "shortcuts"},
        "oauth_config": {"scopes"},
        "settings": {
            "event_subscriptions",
            "interactivity",
            "org_deploy_enabled",
            "socket_mode_enabled",
            "token_rotation_enabled",
        },
    }
    for section, names in known.items():
        assert set(MANIFEST[section] if section else MANIFEST) <= names
    shown = MANIFEST["display_information"]
    assert 1 <= len(shown["name"]) <= 35
    assert 1 <= len(shown["description"]) <= 140
    assert re.fullmatch(r"#(?:[0-9a-fA-F]{3}){1,2}", shown["background_color"])
    assert 1 <= len(MANIFEST["features"]["bot_user"]["display_name"]) <= 80
    assert MANIFEST["_metadata"]["major_version"] in {1, 2}
    for entry in MANIFEST["features"]["shortcuts"]:
        assert set(entry) == {"name", "type", "callback_id", "description"}
        assert len(entry["name"]) <= 24
        assert len(entry["description"]) <= 150
    for entries in (*SCOPES.values(), SUBSCRIBED):
        assert len(entries) <= 100
        assert len(set(entries)) == len(entries)
        assert all(len(entry) <= 50 for entry in entries)


def with_agent_feature() -> dict[str, Any]:
    """The manifest as the README says for Slack's own agent sessions."""
    manifest = copy.deepcopy(MANIFEST)
    manifest["features"]["agent_view"] = {"agent_description": "Answers questions."}
    manifest["settings"]["event_subscriptions"]["bot_events"] += AGENT_EVENTS
    return manifest


def test_schema() -> None:
    """Slack's manifest schema accepts the file, where a copy of the schema lies beside the project."""
    files = sorted(SCHEMAS.glob("manifest.schema.*.json"))
    for file in files:
        schema = json.loads(file.read_text(encoding="utf-8"))
        jsonschema.Draft7Validator.check_schema(schema)
        for manifest in (MANIFEST, with_agent_feature()):
            jsonschema.Draft7Validator(schema).validate(manifest)
    if not files:
        test_structure()


def test_optional_scopes_are_listed_twice() -> None:
    """Slack wants an optional scope among the others as well; both lists are in order."""
    assert set(SCOPES["bot_optional"]) < set(SCOPES["bot"])
    assert set(SCOPES) == {"bot", "bot_optional"}
    for names in SCOPES.values():
        assert names == sorted(names)


def test_people_can_write_and_press() -> None:
    """Direct messages and buttons are switched on, and Socket Mode, which needs no address."""
    grants = Grants(MANIFEST)
    assert grants.takes_dms
    assert grants.takes_buttons
    assert MANIFEST["settings"]["socket_mode_enabled"] is True


# --- the file and the code ---


def named() -> set[str]:
    """Every string in the code that talks to Slack."""
    return {
        node.value
        for folder in ("slack", "probe")
        for file in (ROOT / "slackbot" / folder).rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }


def called_methods() -> set[str]:
    """Web API methods that the code names."""
    method = re.compile(
        r"(agents|apps|assistant|auth|bots|chat|conversations|files|reactions|team|usergroups|users|views)(\.\w+)+"
    )
    return {name for name in named() if method.fullmatch(name)} - {CUSTOMIZE}


def test_subscriptions_are_what_the_bot_listens_to() -> None:
    """Events of the manifest and of the listeners are the same; messages of every kind of conversation."""
    assert {event.partition(".")[0] for event in SUBSCRIBED} == set(EVENTS)
    assert set(AGENT_EVENTS).isdisjoint(SUBSCRIBED)
    assert {event for event in SUBSCRIBED if "." in event} == {
        "message.channels",
        "message.groups",
        "message.im",
        "message.mpim",
    }


def test_shortcuts_are_what_the_bot_understands() -> None:
    """What the manifest puts into the menu of messages is what the code takes a choice of."""
    shortcuts = MANIFEST["features"]["shortcuts"]
    assert {entry["callback_id"] for entry in shortcuts if entry["type"] == "message"} == set(SHORTCUTS)
    assert Grants(MANIFEST).shortcuts == {entry["callback_id"]: entry["name"] for entry in shortcuts}
    assert Grants(MANIFEST, set(SCOPES["bot"]) - {"commands"}).shortcuts == {}


def test_scopes_are_what_the_bot_calls() -> None:
    """The events, methods and arguments the code names, and its shortcuts, need exactly the scopes of the manifest."""
    methods = called_methods()
    assert {"chat.postMessage", "chat.update", "conversations.replies", "users.info"} <= methods
    assert methods <= set(METHOD_SCOPES) | NEEDS_NO_SCOPE
    needed = {EVENT_SCOPES[event] for event in SUBSCRIBED}.union(*map(accepted, methods))
    needed |= {"commands"} if SHORTCUTS else set()
    needed |= {CUSTOMIZE} if named() & set(CUSTOMIZED) else set()
    assert needed - NEVER_NAMED == set(SCOPES["bot"])


def test_required_scopes_are_those_that_are_not_optional() -> None:
    """What the bot misses at its start is what the manifest does not leave to choice."""
    assert set(SCOPES["bot"]) - set(SCOPES["bot_optional"]) == REQUIRED_SCOPES


def test_the_simulator_knows_the_scope_of_every_method() -> None:
    """A method that the simulated Slack answers has its scope in the table, or is known to need none."""
    assert set(SlackSimulator()._web_api._methods) <= set(METHOD_SCOPES) | NEEDS_NO_SCOPE


# --- the bot within it ---


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A fresh SQLite file."""
    return f"sqlite:///{tmp_path / 'bot.db'}"


async def answered(both: World, channel: str, thread: str, *words: str) -> None:
    """Wait until the bot's messages in the thread are these."""
    slack = both.slack

    def said() -> list[str]:
        return [m.shown for m in slack.messages(channel, thread) if m.user == slack.bot_user_id]

    await slack.wait(lambda: said() == list(words), timeout=15)


async def everything(both: World) -> None:
    """Use every feature, in every kind of conversation."""
    slack = both.slack
    talks = (in_channel(both, name) for name in ("general", "secret-project", "mpim"))
    await asyncio.gather(*talks, in_private(both), busy(both), helped(both))
    both.noxus.faults.add(path="create", times=1, status=503)
    general = slack.channels["random"]
    root = await slack.say(slack.users["ada"], general, f"<@{slack.bot_user_id}> /say After all.")

    def failed() -> bool:
        return "retry_turn" in str(slack.messages(general, root)[-1].blocks)

    await slack.wait(failed, timeout=15)
    await slack.press(slack.users["ada"], general, slack.messages(general, root)[-1].ts, "retry_turn")
    await answered(both, general, root, "After all.")


async def in_channel(both: World, name: str) -> None:
    """Mention the bot in a thread with a past of somebody else and with links that do not name their channels."""
    slack = both.slack
    channel, mention = slack.channels[name], f"<@{slack.bot_user_id}>"
    other = slack.users["olga" if name == "secret-project" else "ben"]
    links = " ".join(f"<#{slack.channels[linked]}>" for linked in ("random", "secret-project"))
    root = await slack.say(other, channel, f"Look at {links}.")
    await slack.say(slack.users["ada"], channel, f"{mention} /say One.", thread_ts=root)
    await answered(both, channel, root, "One.")
    await slack.say(slack.users["ada"], channel, f"{mention} /say Two.", thread_ts=root)
    await answered(both, channel, root, "One.", "Two.")


async def in_private(both: World) -> None:
    """Write to the bot directly."""
    slack = both.slack
    root = await slack.say(slack.users["ada"], slack.dm("ada"), "/say In private.")
    await answered(both, slack.dm("ada"), root, "In private.")


async def busy(both: World) -> None:
    """Send a file along with a question that has to wait for another one, and ask for a file."""
    slack, ben = both.slack, both.slack.users["ben"]
    root = await slack.say(ben, slack.dm("ben"), "/words 60 rate=30")
    await slack.wait(lambda: slack.messages(slack.dm("ben"), root)[1:], timeout=15)
    table = slack.files.add(ben, "table.csv", b"a,b\n1,2\n", "text/csv")
    await slack.say(ben, slack.dm("ben"), "/file report.csv", thread_ts=root, files=[table])

    def done() -> bool:
        made = {call.method: call.ok for call in slack.calls}
        # A mark that could not be put on is not taken off.
        wanted = {"files.info", "files.getUploadURLExternal"} | (
            {"reactions.remove"} if made.get("reactions.add") else set()
        )
        return "reactions.add" in made and wanted <= made.keys()

    await slack.wait(done, timeout=15)


async def helped(both: World) -> None:
    """Ask for a human in a direct message, from its menu where there is one, and let one say something."""
    slack, cleo, olga = both.slack, both.slack.add_user("cleo"), both.slack.users["olga"]
    dm, support = slack.dm("cleo"), slack.channels["support"]
    root = await slack.say(cleo, dm, "/say Anything else?")
    await answered(both, dm, root, "Anything else?")
    if "ask_human" in slack.shortcuts:
        assert (await slack.use_shortcut(cleo, dm, root, "ask_human")).acked
    else:
        await slack.say(cleo, dm, "human", thread_ts=root)
    await slack.wait(lambda: "claim_handover" in str([m.blocks for m in slack.messages(support)]), timeout=15)
    card = next(m.ts for m in slack.messages(support) if "claim_handover" in str(m.blocks))
    assert (await slack.press(olga, support, card, "claim_handover")).acked
    await slack.wait(lambda: "hand_back" in str([m.blocks for m in slack.messages(support)]), timeout=15)
    await slack.say(olga, support, "I am here.", thread_ts=card)
    await slack.wait(lambda: "I am here." in str([m.blocks for m in slack.messages(dm, root)]), timeout=15)


def environ(both: World, url: str) -> dict[str, str]:
    """The bot's settings, with operators."""
    group = {"SLACKBOT_OPERATOR_GROUP": "S0OPERATOR", "SLACKBOT_OPERATORS": both.slack.users["olga"]}
    return both.environ(url) | group | {"SLACKBOT_HANDOVER_CHANNEL": both.slack.channels["support"]}


def used(slack: SlackSimulator) -> Iterator[str]:
    """Scopes without which something would not have come or gone."""
    for body in slack._dispatcher._bodies.values():
        yield EVENT_SCOPES[event_name(body["event"])]
    if any(delivery.what.startswith("message_action") for delivery in slack.deliveries):
        yield "commands"
    if any(call.args.get(name) for call in slack.calls for name in CUSTOMIZED):
        yield CUSTOMIZE
    kinds = {channel.id: channel.kind for channel in slack._workspace.channels.values()}
    plural = {"channel": "channels", "group": "groups", "im": "im", "mpim": "mpim"}
    for call in slack.calls:
        if scope := METHOD_SCOPES.get(call.method):
            yield scope.replace("*", plural.get(kinds.get(str(call.args.get("channel")), ""), "*"))


async def test_the_manifest_is_enough_and_not_too_much(url: str) -> None:
    """With exactly the manifest's scopes no call lacks one, and every one of them is used."""
    async with world(latency=0.005, grants=Grants(MANIFEST)) as both:
        async with bot(environ(both, url)):
            await everything(both)
        assert [call.method for call in both.slack.calls if call.error == "missing_scope"] == []
        assert set(used(both.slack)) == set(SCOPES["bot"])


@pytest.mark.parametrize(
    "declined",
    [
        ["channels:read", "chat:write.customize", "files:write", "reactions:write", "usergroups:read"],
        ["commands", "files:read", "groups:read", "mpim:history", "users:read"],
        SCOPES["bot_optional"],
    ],
    ids=str,
)
async def test_optional_scopes_may_be_declined(declined: list[str], url: str, caplog: pytest.LogCaptureFixture) -> None:
    """Without an optional scope, and without all of them, everything is answered; the log names each scope once."""
    granted = set(SCOPES["bot"]) - set(declined)
    with caplog.at_level(logging.INFO):
        async with world(latency=0.005, grants=Grants(MANIFEST, granted)) as both:
            async with bot(environ(both, url)):
                await everything(both)
            assert {call.method for call in both.slack.calls if call.error == "missing_scope"}
    told = [record.__dict__["scope"] for record in caplog.records if record.msg == "scope.missing"]
    assert sorted(told) == sorted(declined)
    assert not [record.msg for record in caplog.records if record.msg == "name.unknown"]


@pytest.mark.parametrize(
    ("scope", "channel"),
    [
        ("app_mentions:read", ""),
        ("channels:history", "general"),
        ("groups:history", "secret-project"),
        ("im:history", ""),
    ],
)
async def test_events_without_their_scope_do_not_come(
    scope: str, channel: str, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """An event whose scope was not granted never comes, which the log tells at the start; a mention has a second."""
    async with world(latency=0.005, grants=Grants(MANIFEST, set(SCOPES["bot"]) - {scope})) as both:
        slack = both.slack
        ada, general = slack.users["ada"], slack.channels[channel or "general"]
        async with bot(both.environ(url)):
            if scope == "im:history":
                await slack.say(ada, slack.dm("ada"), "/say Nobody hears this.")
            root = await slack.say(ada, general, f"<@{slack.bot_user_id}> /say Heard.")
            await answered(both, general, root, "Heard.")
        assert len(both.noxus.asked) == 1
        assert [record.__dict__["scope"] for record in caplog.records if record.msg == "scope.missing"] == [scope]
        assert scope not in {EVENT_SCOPES[event_name(body["event"])] for body in slack._dispatcher._bodies.values()}


async def test_the_stop_of_slacks_own_sessions(url: str) -> None:
    """With what the README says for Slack's agent feature, Slack's own Stop ends an answer."""
    async with world(latency=0.005, grants=Grants(with_agent_feature())) as both:
        slack = both.slack
        ada, general = slack.users["ada"], slack.channels["general"]
        async with bot(both.environ(url)):
            root = await slack.say(ada, general, f"<@{slack.bot_user_id}> /words 2000 rate=20")
            await slack.wait(lambda: slack.messages(general, root)[1:], timeout=15)
            assert (await slack.stop_session(ada, general, root)).acked
            await slack.wait(lambda: "Stopped by" in str(slack.messages(general, root)[-1].blocks), timeout=15)


async def call(slack: SlackSimulator, method: str, **arguments: str) -> tuple[dict[str, Any], Any]:
    """Call a method with the bot's token; answers body and headers."""
    headers = {"Authorization": f"Bearer {slack.bot_token}"}
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.get(slack.api_url + method, params=arguments) as response,
    ):
        return await response.json(), response.headers


async def test_a_call_without_its_scope_is_refused_as_slack_does() -> None:
    """missing_scope says what is needed, by the conversation's kind, and what is provided; the headers say so, too."""
    async with world(latency=0, grants=Grants(scopes={"channels:history", "chat:write"})) as both:
        slack = both.slack
        body, headers = await call(slack, "conversations.history", channel=slack.channels["secret-project"])
        assert body == {
            "ok": False,
            "error": "missing_scope",
            "needed": "groups:history",
            "provided": "channels:history,chat:write",
        }
        assert headers["x-oauth-scopes"] == "channels:history,chat:write"
        assert headers["x-accepted-oauth-scopes"] == "channels:history,groups:history,mpim:history,im:history"
        assert (await call(slack, "conversations.history", channel=slack.channels["general"]))[0]["ok"]
        assert (await call(slack, "auth.test"))[0]["ok"]
        assert (await call(slack, "conversations.info", channel="C0UNKNOWN"))[0]["needed"] == (
            "channels:read,groups:read,mpim:read,im:read"
        )
        listed, _ = await call(slack, "conversations.list", types="public_channel,im")
        assert (listed["error"], listed["needed"]) == ("missing_scope", "channels:read")


async def test_what_the_manifest_switches_off_cannot_be_done() -> None:
    """Without the messages tab nobody can write to the app; without interactivity its buttons are dead."""
    home = {"app_home": {"messages_tab_enabled": True, "messages_tab_read_only_enabled": True}}
    off = MANIFEST | {"features": home, "settings": {"interactivity": {"is_enabled": False}}}
    async with world(grants=Grants(off)) as both:
        slack = both.slack
        with pytest.raises(ValueError, match="turned off"):
            await slack.say(slack.users["ada"], slack.dm("ada"), "Hello?")
        button = {"type": "button", "action_id": "retry_turn", "text": {"type": "plain_text", "text": "Retry"}}
        blocks = json.dumps([{"type": "actions", "elements": [button]}])
        general = slack.channels["general"]
        posted, _ = await call(slack, "chat.postMessage", channel=general, text="?", blocks=blocks)
        with pytest.raises(ValueError, match="interactive"):
            await slack.press(slack.users["ada"], general, posted["ts"], "retry_turn")
        await slack.say(slack.users["ada"], slack.channels["general"], f"<@{slack.bot_user_id}>")
        assert slack.deliveries == []


# --- the README's five steps ---


async def test_the_five_steps(tmp_path: Path) -> None:
    """Manifest, tokens, key, .env and an invitation, as the README says, and the bot answers."""
    async with world(latency=0.005, grants=Grants(MANIFEST)) as both:
        slack, noxus = both.slack, both.noxus
        general = slack.channels["general"]
        slack.change_channel(general, with_bot=False)
        filled = {
            "SLACK_BOT_TOKEN": slack.bot_token,
            "SLACK_APP_TOKEN": slack.app_token,
            "NOXUS_API_KEY": noxus.api_key,
            "NOXUS_AGENT_ID": noxus.agent_id,
        }
        example = (ROOT / ".env.example").read_text(encoding="utf-8")
        blank = re.findall(r"^(\w+)=$", example, flags=re.MULTILINE)
        assert set(blank) == set(filled)
        lines = re.sub(r"^(\w+)=$", lambda line: f"{line[1]}={filled[line[1]]}", example, flags=re.MULTILINE)
        (tmp_path / ".env").write_text(lines, encoding="utf-8")
        local = {"SLACK_API_URL": slack.api_url, "NOXUS_BACKEND_URL": noxus.url, "SLACKBOT_OPS_PORT": "0"}
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "slackbot", "run", cwd=tmp_path, env=os.environ | local | {"PYTHONPATH": str(ROOT)},
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        try:
            await slack.wait(lambda: slack.connections, timeout=30)
            slack.change_channel(general, with_bot=True)
            root = await slack.say(slack.users["ada"], general, f"<@{slack.bot_user_id}> /say It works.")
            await answered(both, general, root, "It works.")
        finally:
            process.terminate()
            output, _ = await process.communicate()
        assert process.returncode == 0, output.decode()
        assert "missing_scope" not in {call.error for call in slack.calls}
        assert (tmp_path / "slackbot.db").exists()
        for secret in (slack.bot_token, slack.app_token, noxus.api_key):
            assert secret not in output.decode()
