"""``slackbot probe`` against the simulators: under every value of every switch, refused, interrupted, and on paper."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args, get_origin

import jsonschema
import pytest
import yaml

from slackbot.loading import SettingsError, load_settings
from slackbot.probe import noxus as noxus_probe
from slackbot.probe import slack as slack_probe
from slackbot.probe.questions import NOXUS, SLACK
from slackbot.probe.report import Finding, Question, Report, Verdict
from slackbot.probe.run import Unreachable, Wanted, probe, settings_for
from slackbot.probe.talk import Patience
from slackbot.simulator.noxus import NoxusSimulator
from slackbot.simulator.noxus.switches import Switches
from slackbot.simulator.slack import SlackSimulator
from slackbot.simulator.slack.scopes import Grants
from slackbot.slack.installations import REQUIRED_SCOPES

ROOT = Path(__file__).parent.parent
QUICK = Patience(quiet=0.3, call=10.0, answer=15.0, look=0.05, total=40.0)
FAST: dict[str, Any] = {"rate": 150.0, "first_token_delay": 0.0}
WORDS = "these words belong to Ada alone"

SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "required": ["slackbot", "seconds", "counts", "questions", "left"],
    "properties": {
        "slackbot": {"type": "string"},
        "seconds": {"type": "number"},
        "counts": {
            "type": "object",
            "required": ["same", "different", "could not tell"],
            "additionalProperties": {"type": "integer"},
        },
        "left": {"type": "array", "items": {"type": "string"}},
        "questions": {
            "type": "array",
            "items": {
                "type": "object",
                "additionalProperties": False,
                "required": ["id", "asks", "seen", "simulator", "verdict", "change", "switches", "note"],
                "properties": {
                    "id": {"pattern": r"^(noxus|slack)\.[a-z0-9_]+$"},
                    "asks": {"type": "string", "minLength": 1},
                    "seen": {"type": ["string", "null"], "minLength": 1, "maxLength": 200},
                    "simulator": {"type": "string", "minLength": 1},
                    "verdict": {"enum": ["same", "different", "could not tell"]},
                    "change": {"type": "string", "minLength": 1},
                    "switches": {"type": "array", "items": {"type": "string"}},
                    "note": {"type": "string"},
                },
            },
        },
    },
}


class World:
    """Both simulators, and what a probe of them found."""

    def __init__(self, noxus: NoxusSimulator, slack: SlackSimulator) -> None:
        self.noxus = noxus
        self.slack = slack
        self.said: list[str] = []

    @property
    def environ(self) -> dict[str, str]:
        """The settings that lead here."""
        return {
            "SLACK_BOT_TOKEN": self.slack.bot_token,
            "SLACK_APP_TOKEN": self.slack.app_token,
            "SLACK_API_URL": self.slack.api_url,
            "NOXUS_API_KEY": self.noxus.api_key,
            "NOXUS_BACKEND_URL": self.noxus.url,
            "NOXUS_AGENT_ID": self.noxus.agent_id,
        }

    async def probe(self, wanted: Wanted, environ: dict[str, str] | None = None) -> dict[str, Finding]:
        """Run the probe; its report is valid and safe whatever it met. Answers the findings by id."""
        return {finding.question.id: finding for finding in (await self.report(wanted, environ)).findings}

    async def report(self, wanted: Wanted, environ: dict[str, str] | None = None, total: float = QUICK.total) -> Report:
        """Run the probe and check its report."""
        settings = load_settings(environ or self.environ, None)
        report = await probe(settings, wanted, self.said.append, patience=replace(QUICK, total=total), pause=0.0)
        jsonschema.validate(report.to_json(), SCHEMA)
        for shown in (json.dumps(report.to_json(), ensure_ascii=False), report.text(), *self.said):
            assert not [secret for secret in settings.secrets() if secret in shown]
            assert WORDS not in shown
        return report

    def use_tools(self, *types: str) -> None:
        """Give the agent tools."""
        definition = self.noxus.agents[self.noxus.agent_id]["definition"]
        definition["base_tools"] += [{"type": kind, "enabled": True} for kind in types]


@asynccontextmanager
async def world(switches: dict[str, Any] | None = None, **slack_settings: Any) -> AsyncIterator[World]:
    """Both simulators, running, the agent quick; nothing of the probe's is left in them at the end."""
    noxus = NoxusSimulator(**(FAST | (switches or {})))
    slack = SlackSimulator(latency=0.0, **slack_settings)
    await noxus.start()
    await slack.start()
    try:
        yield World(noxus, slack)
    finally:
        await noxus.stop()
        await slack.stop()


ONLY_NOXUS = Wanted(slack=False, human=True)
NOT_SEEN = (
    "noxus.keep_alive", "noxus.sdk_version", "noxus.error_as", "noxus.message_cap_style", "noxus.timeout_run",
    "noxus.flow_only", "noxus.b64_limit",
)  # fmt: skip
"""What a usual run, without --large, cannot see of the simulator as it is."""

# What is seen under each value of each switch; the first row is the simulator as it is.
SEEN: dict[str, tuple[dict[str, Any], dict[str, str]]] = {
    "defaults": (
        {
            "sdk_version": 5, "files_as": "tool_output", "error_as": "frame", "envelope": True, "inner_type": True,
            "inner_string": False, "event_names": False, "done_event": True, "done_marker": True, "sse_ids": True,
            "line_end": "\r\n", "idle_events": "done", "etag_is": "sse", "replay": "etag", "on_disconnect": "continue",
            "timeout_run": "stop", "visible": "post", "second_post": "queue", "message_cap_style": "400",
            "history": "both", "finish_reasons": True, "manual_flag": True, "renames": False, "bad_key_status": 401,
            "unknown_agent_status": 404,
            "human_as": "deferred", "human_status": "idle", "held_agent": "takes_back",
        },
        {
            **{question.id: question.assumes for question in NOXUS if question.id not in NOT_SEEN},
            **dict.fromkeys(NOT_SEEN, ""),
        },
    ),
    "older": (
        {
            "envelope": False, "line_end": "\n", "idle_events": "404", "etag_is": "conversation", "visible": "end",
            "second_post": "conflict", "history": "legacy", "bad_key_status": 403, "unknown_agent_status": 400,
            "renames": True, "files_as": "file_frame", "manual_flag": False, "done_marker": False, "event_names": True,
            "human_as": "plain",
        },
        {
            "noxus.envelope": "no envelope",
            "noxus.line_end": "LF",
            "noxus.idle_events": "404",
            "noxus.etag": "version",
            # An etag that is no place makes the stream begin anew, whatever the switch for replays says.
            "noxus.replay": "without etag: start; with one: start",
            "noxus.visible": "with the answer",
            "noxus.on_disconnect": "yes, whole",
            "noxus.second_post": "conflict",
            "noxus.history": "message_parts",
            "noxus.finish_reasons": "no",
            "noxus.bad_key": "403",
            "noxus.unknown_agent": "400",
            "noxus.renames": "yes",
            "noxus.files_as": "file_frame",
            "noxus.human": "human_in_the_loop, output, not manual",
            "noxus.held": "",
            "noxus.done_marker": "no",
            "noxus.event_names": "yes",
        },
    ),
    "untyped": (
        {
            "inner_type": False, "done_event": False, "idle_events": "hang", "replay": "start", "sdk_version": 6,
            "second_post": "interleave", "files_as": "data_frame", "finish_reasons": False,
            "human_as": "approval", "human_status": "awaiting_human", "held_agent": "silent",
        },
        {
            "noxus.envelope": "envelope",
            "noxus.done_event": "none",
            "noxus.finish_reasons": "no",
            "noxus.done_marker": "yes",
            "noxus.idle_events": "hang",
            "noxus.replay": "without etag: start; with one: start",
            "noxus.sdk_version": "6",
            "noxus.human": "human_in_the_loop, no output, manual",
            "noxus.held": "silence, still manual",
            "noxus.second_post": "beside the first",
            "noxus.files_as": "data_frame",
        },
    ),
    "as text": (
        {
            "inner_string": True, "sse_ids": False, "idle_events": "replay", "on_disconnect": "stop",
            "files_as": "link", "human_as": "manual", "human_status": "manual", "held_agent": "answers",
        },
        {
            "noxus.envelope": "envelope, type inside, as JSON text",
            "noxus.sse_ids": "no",
            # The conversation's etag still tells the place.
            "noxus.etag": "place in the stream",
            "noxus.replay": "without etag: start; with one: after it",
            "noxus.idle_events": "replay",
            "noxus.on_disconnect": "no, cut",
            "noxus.files_as": "link",
            "noxus.human": "no tool, manual",
            "noxus.held": "an answer, still manual",
        },
    ),
    "live": (
        {"inner_string": True, "inner_type": False, "replay": "live", "files_as": "data_uri", "done_event": False,
         "on_disconnect": "stop", "visible": "end", "human_as": "wording"},
        {
            "noxus.envelope": "envelope, as JSON text",
            "noxus.replay": "without etag: later; with one: after it",
            "noxus.on_disconnect": "no, cut",
            "noxus.visible": "with the answer",
            "noxus.files_as": "data_uri",
            "noxus.human": "no tool, not manual",
            "noxus.held": "",
            "noxus.idle_events": "done",
        },
    ),
    # An error is not provoked; a conversation that is full gives one.
    **{
        f"full, {error_as}": (
            {"error_as": error_as, "message_cap": 2, "message_cap_style": "error_frame"},
            {"noxus.error_as": error_as, "noxus.message_cap_style": "error_frame"},
        )
        for error_as in ("frame", "event")
    },
    "full, 400": ({"message_cap": 2}, {"noxus.message_cap_style": "400", "noxus.replay": ""}),
    # To see a time-out takes longer than a probe may; what the agent's settings say stands for it.
    **{
        f"timeout, {then}": (
            {"timeout_run": then, "agent_timeout": 0.1},
            {"noxus.timeout_run": "", "noxus.agent_timeout": "120 s"},
        )
        for then in ("stop", "continue")
    },
    "pace": ({"keep_alive": 0.05, "first_token_delay": 0.3, "rate": 300.0}, {}),
}  # fmt: skip
# Numbers without values to go through, and where a test of its own looks at them.
ELSEWHERE = {"b64_limit"}


def expected_of(question: Question) -> str | None:
    """What the simulator's switches, as they are by default, answer to a question that a run does not settle."""
    s = Switches()
    answers = {
        "noxus.sdk_version": f"{s.sdk_version}",
        "noxus.error_as": s.error_as,
        "noxus.message_cap_style": s.message_cap_style,
        "noxus.message_cap": f"{s.message_cap}",
        "noxus.timeout_run": s.timeout_run,
        "noxus.keep_alive": f"every {s.keep_alive:g} s",
        "noxus.pace": f"first text after {s.first_token_delay:g} s, then {s.rate:g} pieces a second",
    }
    return answers.get(question.id)


@pytest.mark.parametrize("row", SEEN)
async def test_every_switch(row: str) -> None:
    """Whatever the unknowns turn out to be, the probe sees it, or says that it could not tell, and leaves nothing."""
    switches, seen = SEEN[row]
    seen = {question: value for question, value in seen.items() if question != "noxus.pace"}
    async with world(switches) as around:
        around.use_tools("create_file")
        report = await around.report(ONLY_NOXUS)
        findings = {finding.question.id: finding for finding in report.findings}
        assert {question: findings[question].seen for question in seen} == seen
        for question, value in seen.items():
            verdict = Verdict.SAME if value == findings[question].question.assumes else Verdict.DIFFERENT
            assert findings[question].verdict is (verdict if value else Verdict.UNKNOWN)
        assert not around.noxus.conversations
        assert all("probe.csv" in thing for thing in report.left)
        if "keep_alive" in switches:
            assert findings["noxus.keep_alive"].verdict is Verdict.DIFFERENT
        if row in {"defaults", "pace"}:
            assert re.fullmatch(r"first text after \d\.\d s, then \d+ pieces a second", findings["noxus.pace"].seen)


def test_the_table_goes_through_every_switch() -> None:
    """Every value of every switch has a row above, and every switch belongs to a question."""
    for name, field in Switches.model_fields.items():
        rows = [switches[name] for switches, _ in SEEN.values() if name in switches]
        values = get_args(field.annotation) if get_origin(field.annotation) else ()
        values = (True, False) if field.annotation is bool else values
        assert set(values) <= set(rows), name
        assert rows or name in ELSEWHERE, name
    asked = {switch for question in NOXUS for switch in question.switches}
    assert asked == set(Switches.model_fields)


def test_the_assumptions_are_the_simulators() -> None:
    """What a run cannot see of the simulator as it is (the row "defaults" has the rest) is assumed as its switches
    say."""
    assert {question.id for question in NOXUS if expected_of(question) is None} >= {"noxus.envelope", "noxus.replay"}
    for question in NOXUS:
        assert expected_of(question) in {None, question.assumes}
    assert Switches().model_dump().items() >= SEEN["defaults"][0].items()


def test_the_scopes_are_the_manifests() -> None:
    """What the probe asks of the token is what the manifest asks of Slack."""
    bot = yaml.safe_load((ROOT / "manifest.yml").read_text(encoding="utf-8"))["oauth_config"]["scopes"]
    assert set(slack_probe.OPTIONAL_SCOPES) == set(bot["bot_optional"])
    assert set(REQUIRED_SCOPES) == set(bot["bot"]) - set(bot["bot_optional"])


# --- Noxus -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("data", ["{", "[]", "{}", '{"event": "start"}', '{"event": "start", "data": 7}'])
def test_an_envelope_nobody_thought_of(data: str) -> None:
    """What has no name yet is no reason to fail."""
    assert noxus_probe._envelope(data) == "something else"


async def test_a_chat_flow() -> None:
    """A chat flow's conversation is made with the flow's id alone."""
    async with world() as around:
        environ = around.environ | {"NOXUS_AGENT_FLOW_ID": around.noxus.flow_id}
        del environ["NOXUS_AGENT_ID"]
        findings = await around.probe(ONLY_NOXUS, environ)
        assert findings["noxus.flow_only"].verdict is Verdict.SAME
        environ["NOXUS_AGENT_FLOW_ID"] = "c9bf9e57-1685-4c89-bafb-000000000000"
        findings = await around.probe(ONLY_NOXUS, environ)
        assert findings["noxus.flow_only"].note == "Noxus does not know the agent (404)"


async def test_large_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """With --large, inline files of growing size show where Noxus stops; each conversation goes at once."""
    async with world() as around:
        findings = await around.probe(Wanted(slack=False, large=True))
        assert findings["noxus.b64_limit"].verdict is Verdict.SAME
        assert not around.noxus.conversations
    monkeypatch.setattr(noxus_probe, "_LARGE_MEGABYTES", (1, 2))
    async with world({"b64_limit": 1_100_000}) as around:
        findings = await around.probe(Wanted(slack=False, large=True))
        assert findings["noxus.b64_limit"].seen == "1 MB 200, 2 MB 413"


async def test_nothing_is_asked_of_people_or_tools_unasked() -> None:
    """Without --human nobody is called; tools that are off, or may do harm, are left alone."""
    async with world() as around:
        definition = around.noxus.agents[around.noxus.agent_id]["definition"]
        findings = await around.probe(Wanted(slack=False))
        assert "--human" in findings["noxus.human"].note
        assert not [text for text in around.noxus.asked if "/human" in text]
        definition["base_tools"] = [{"type": "send_email", "enabled": True}, {"type": "kb_qa", "enabled": False}]
        findings = await around.probe(ONLY_NOXUS)
        assert findings["noxus.human"].note == findings["noxus.files_as"].note == "not enabled"
        assert "not enabled" in findings["noxus.tool_names"].note
        assert not any(command in text for text in around.noxus.asked[-5:] for command in ("/human", "/tool", "/file"))


@pytest.mark.parametrize(
    ("environ", "why"),
    [
        ({"NOXUS_API_KEY": "another-key"}, "Noxus refuses NOXUS_API_KEY (401)"),
        ({"NOXUS_AGENT_ID": "1b671a64-40d5-491e-99b0-000000000000"}, "Noxus does not know the agent (404)"),
    ],
)
async def test_refused_by_noxus(environ: dict[str, str], why: str) -> None:
    """A key or an agent that Noxus does not take is the reason given for everything."""
    async with world() as around:
        findings = await around.probe(ONLY_NOXUS, around.environ | environ)
        assert {finding.note for finding in findings.values()} == {why}
        assert not around.noxus.conversations


@pytest.mark.parametrize(
    ("path", "fault"),
    [
        *((path, {"status": 500}) for path in ("get", "stream", "events", "create", "delete")),
        *((path, {"drop": "before"}) for path in ("stream", "delete")),
        *(("stream", fault) for fault in ({"status": 404}, {"status": 429}, {"drop": "headers"}, {"drop": "mid"})),
    ],
)
async def test_a_noxus_in_trouble(path: str, fault: dict[str, Any]) -> None:
    """Whatever fails, the probe goes on, ends, and says what it could not remove."""
    async with world() as around:
        around.noxus.faults.add(path=path, times=None, after=1 if path in {"get", "create"} else 0, **fault)
        report = await around.report(Wanted(slack=False), total=4.0)
        left = [thing for thing in report.left if thing.startswith("conversation ")]
        assert len(left) == len(around.noxus.conversations)
        assert [f"left behind: {thing}" for thing in report.left] == around.said[1:]
        if fault.get("status") == 404:
            assert report.findings[0].seen == "no"
            assert report.findings[0].question.change == "SLACKBOT_NOXUS_MODE=chat"


async def test_the_time_is_bounded() -> None:
    """When the time is up the rest stays unasked, and what was made is removed all the same."""
    async with world({"first_token_delay": 30.0}) as around:
        report = await around.report(ONLY_NOXUS, total=0.5)
        notes = {finding.question.id: finding.note for finding in report.findings}
        assert notes["noxus.envelope"] == notes["noxus.second_post"] == "not asked: the time was up"
        assert not around.noxus.conversations


# --- Slack -----------------------------------------------------------------------------------------------------------


def only_slack(place: str) -> Wanted:
    """Ask Slack alone."""
    return Wanted(noxus=False, place=place)


async def test_a_channel_is_left_as_it_was() -> None:
    """The probe's thread goes with its messages; what others wrote, even into that thread, is not read or touched."""
    async with world() as around:
        slack, general = around.slack, around.slack.channels["general"]
        await slack.say(slack.users["ada"], general, WORDS)

        async def meddle() -> None:
            await slack.wait(lambda: len(slack.messages(general)) > 1)
            await slack.say(slack.users["ada"], general, WORDS, thread_ts=slack.messages(general)[1].ts)

        _, report = await asyncio.gather(meddle(), around.report(only_slack(general)))
        assert {finding.verdict for finding in report.findings} == {Verdict.SAME}
        assert {message.text for message in slack.messages(general)} == {WORDS}
        assert report.left == []
        edits = [call for call in slack.calls if call.method == "chat.update"]
        assert len(edits) <= 25
        posted = [str(call.args) for call in slack.calls if call.method.startswith("chat.")]
        assert not [text for text in posted if "<!channel" in text or "<!here" in text or "<@" in text]


async def test_a_direct_message() -> None:
    """A person's id leads to the DM with that person."""
    async with world() as around:
        ada = around.slack.users["ada"]
        findings = await around.probe(only_slack(ada))
        assert {finding.verdict for finding in findings.values()} == {Verdict.SAME}
        assert around.slack.messages(around.slack.dm("ada")) == []


async def test_without_a_place() -> None:
    """Without a channel or a person nothing is written, and the scopes are looked at."""
    async with world(
        grants=Grants(scopes=frozenset({"app_mentions:read", "channels:history", "chat:write"}))
    ) as around:
        findings = await around.probe(only_slack(""))
        assert findings["slack.scopes"].seen == "missing: groups:history, im:history"
        assert "users:read" in findings["slack.scopes"].note
        assert "--channel" in findings["slack.status"].note
        assert not [call for call in around.slack.calls if call.method.startswith("chat.")]


@pytest.mark.parametrize(
    ("method", "question"),
    [
        ("auth.test", "slack.status"),
        ("chat.postMessage", "slack.markdown_block"),
        ("conversations.replies", "slack.markdown_block"),
        ("chat.update", "slack.metadata_limit"),
        ("chat.delete", ""),
    ],
)
@pytest.mark.parametrize("fault", [{"error": "missing_scope"}, {"status": 500}, {"error": "ratelimited"}])
async def test_a_slack_in_trouble(method: str, question: str, fault: dict[str, Any]) -> None:
    """Whatever Slack refuses, the probe goes on, ends, and says what it could not remove."""
    async with world() as around:
        place = around.slack.channels["general"]
        around.slack.faults.add(method=method, times=None, **fault)
        wanted = only_slack(place)
        if method == "auth.test" and "status" in fault:
            with pytest.raises(Unreachable, match="Slack cannot be reached"):
                await around.report(wanted)
            return
        report = await around.report(wanted)
        found = {finding.question.id: finding for finding in report.findings}
        if question:
            assert found[question].verdict is Verdict.UNKNOWN
            assert any(word in found[question].note for word in ("missing_scope", "ratelimited", "cannot be reached"))
        assert len(report.left) == len(around.slack.messages(place))


@pytest.mark.parametrize(
    ("method", "question"),
    [("assistant.threads.setStatus", "slack.status"), ("agents.sessions.setStatus", "slack.agent_sessions")],
)
async def test_a_refusal_is_an_answer(method: str, question: str) -> None:
    """Where a question is whether something may be done at all, Slack's refusal answers it, by its code."""
    async with world() as around:
        around.slack.faults.add(method=method, error="not_authorized", times=None)
        findings = await around.probe(only_slack(around.slack.channels["general"]))
        assert findings[question].seen == "not_authorized"
        assert findings[question].verdict is Verdict.DIFFERENT


async def test_limits_of_slack() -> None:
    """The quick edits stop at the first 429; metadata at the first that is refused; an edit may be refused as well."""
    async with world() as around:
        slack = around.slack
        slack.faults.add(
            method="chat.update", error="metadata_too_large", times=None, when=lambda args: len(str(args)) > 2_500
        )
        slack.faults.add(
            method="chat.update", error="block_mismatch", times=None, when=lambda args: "section" in str(args)
        )
        slack.faults.add(
            method="chat.update",
            error="ratelimited",
            retry_after=7,
            times=None,
            when=lambda args: args.get("text") == "edit 5",
        )
        findings = await around.probe(only_slack(slack.channels["general"]))
        assert findings["slack.metadata_limit"].seen == "1000 to 3000"
        assert findings["slack.update_other_block"].seen == "block_mismatch"
        assert findings["slack.update_burst"].seen == "5 of 12"
        assert findings["slack.update_burst"].note == "then Slack asks for a pause of 7 s"
        assert slack.messages(slack.channels["general"]) == []


@pytest.mark.parametrize(
    ("blocks", "kept", "mentions"),
    [
        ([{"type": "markdown", "text": "x"}], "markdown, as written", False),
        ([{"type": "markdown", "text": "y"}], "markdown, translated", False),
        (
            [{"type": "rich_text", "elements": [{"type": "rich_text_section", "elements": [{"type": "usergroup"}]}]}],
            "rich_text, translated",
            True,
        ),
        ([{"type": "rich_text"}, {"type": "divider"}], "rich_text+divider, translated", False),
        ([], "no block, translated", False),
        (None, "no block, translated", False),
    ],
)
def test_what_slack_keeps(blocks: object, kept: str, mentions: bool) -> None:  # noqa: FBT001
    """Kept blocks are told by their types and by whether they mention a group, never by their text."""
    message = {"blocks": blocks}
    assert slack_probe._kept(message, "x") == kept
    assert slack_probe._mentions_group(message) is mentions


# --- the run, the report, the command --------------------------------------------------------------------------------


async def test_keep() -> None:
    """With --keep everything stays, and the report says what and where."""
    async with world() as around:
        general = around.slack.channels["general"]
        report = await around.report(Wanted(place=general, keep=True))
        assert len(around.slack.messages(general)) == 3
        assert len(around.noxus.conversations) == 1
        assert len(report.left) == 4
        assert all("kept, as --keep asks" in thing for thing in report.left)


async def test_nobody_to_ask() -> None:
    """When neither side can be reached there is no report; when one can, there is."""
    async with world() as around:
        nowhere = {"NOXUS_BACKEND_URL": "http://127.0.0.1:9", "SLACK_API_URL": "http://127.0.0.1:9/api/"}
        with pytest.raises(Unreachable, match="Noxus cannot be reached; Slack cannot be reached"):
            await around.report(Wanted(), around.environ | nowhere)
        findings = await around.probe(Wanted(), around.environ | {"NOXUS_BACKEND_URL": "http://127.0.0.1:9"})
        assert findings["noxus.stream"].note == "Noxus cannot be reached"
        assert findings["slack.scopes"].verdict is Verdict.SAME


def test_one_side_needs_no_settings_of_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """--noxus-only needs Noxus's settings alone, --slack-only Slack's; without either, both are needed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NOXUS_API_KEY", "key")
    monkeypatch.setenv("NOXUS_AGENT_ID", "agent")
    monkeypatch.setenv("SLACKBOT_TRANSPORT", "http")
    assert settings_for(Wanted(slack=False)).noxus_api_key.get_secret_value() == "key"
    with pytest.raises(SettingsError, match="SLACK_BOT_TOKEN is missing"):
        settings_for(Wanted())
    monkeypatch.delenv("NOXUS_API_KEY")
    monkeypatch.delenv("SLACKBOT_TRANSPORT")
    (tmp_path / ".env").write_text("SLACK_BOT_TOKEN=xoxb-1\nSLACK_APP_TOKEN=xapp-1\n", encoding="utf-8")
    assert settings_for(Wanted(noxus=False)).slack_bot_token.get_secret_value() == "xoxb-1"
    with pytest.raises(SettingsError, match="NOXUS_API_KEY is missing"):
        settings_for(Wanted(slack=False))


def test_the_text_names_all_three() -> None:
    """Every finding shows what was seen and what the simulator assumes; unless they agree, also what to change."""
    question = Question("noxus.x", "how?", "so", "SLACKBOT_X", ("x",))
    findings = [Finding(question, "so"), Finding(question, "otherwise", "a note"), Finding(question, note="not asked")]
    text = Report("1", 2.0, findings, ["a message: no"]).text()
    assert text.splitlines() == [
        "same      noxus.x: how?",
        "          seen: so   simulator: so",
        "DIFFERENT noxus.x: how?",
        "          seen: otherwise   simulator: so",
        "          note: a note",
        "          change: SLACKBOT_X (simulator: x)",
        "?         noxus.x: how?",
        "          seen: not asked   simulator: so",
        "          if it differs: SLACKBOT_X (simulator: x)",
        "LEFT      a message: no",
        "",
        "1 same, 1 different, 1 could not tell; 2 s",
    ]


def test_every_question_is_whole() -> None:
    """Every question has an id of its own, and says what is assumed and what to change."""
    ids = [question.id for question in (*NOXUS, *SLACK)]
    assert len(ids) == len(set(ids))
    assert all(question.asks and question.assumes and question.change for question in (*NOXUS, *SLACK))


@asynccontextmanager
async def command(around: World, folder: Path, *arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """``slackbot probe`` as a process of its own."""
    inherited = {name: os.environ[name] for name in ("PATH", "NO_PROXY") if name in os.environ}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "slackbot", "probe", *arguments),
        cwd=folder,
        env=inherited | {"PYTHONPATH": str(ROOT)} | around.environ,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_the_command(tmp_path: Path) -> None:
    """The command prints the report as JSON and nothing else to stdout, without a secret, and ends with 0."""
    async with world() as around:
        channel = around.slack.channels["random"]
        async with command(around, tmp_path, "--json", "--channel", channel) as process:
            out, err = await process.communicate()
        assert process.returncode == 0, err.decode()
        report = json.loads(out)
        jsonschema.validate(report, SCHEMA)
        assert report["left"] == []
        assert len(report["questions"]) == len(NOXUS) + len(SLACK)
        for secret in (around.slack.bot_token, around.slack.app_token, around.noxus.api_key):
            assert secret not in (out + err).decode()
        assert not around.noxus.conversations
        assert around.slack.messages(channel) == []


async def test_interrupted(tmp_path: Path) -> None:
    """Ctrl-C in the middle removes what was made, says what it could not, and ends with the shell's code for it."""
    async with world({"first_token_delay": 30.0}) as around:
        channel = around.slack.channels["random"]
        around.slack.faults.add(method="chat.delete", error="missing_scope", times=1)
        async with command(around, tmp_path, "--channel", channel) as process:
            await around.slack.wait(lambda: len(around.slack.messages(channel)) > 1, timeout=30)
            await around.slack.wait(lambda: around.noxus.asked, timeout=30)
            process.send_signal(signal.SIGINT)
            out, err = await process.communicate()
        assert process.returncode == 130, err.decode()
        assert out == b""
        assert f"in {channel}: Slack answered missing_scope" in err.decode()
        assert b"Traceback" not in err
        assert not around.noxus.conversations
        assert len(around.slack.messages(channel)) == 1


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--channel", "general"), 2, "'general' is not an id such as C0123ABCD"),
        (("--dm", "C0123"), 2, "is not an id such as U0123ABCD"),
        (("--noxus-only", "--slack-only"), 2, "not allowed with"),
        ((), 2, "NOXUS_API_KEY is wrong"),
    ],
)
async def test_what_the_command_refuses(
    arguments: tuple[str, ...], code: int, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong command line or wrong settings end with 2 and words."""
    async with world() as around:
        monkeypatch.setattr(World, "environ", around.environ | {"NOXUS_API_KEY": "with a space"})
        async with command(around, tmp_path, *arguments) as process:
            _, err = await process.communicate()
        assert process.returncode == code
        assert words.replace("NOXUS_API_KEY is wrong", "NOXUS_API_KEY holds a space") in err.decode()


async def test_the_command_reaches_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When there is nobody to ask, one sentence and exit code 1."""
    async with world() as around:
        nowhere = {"NOXUS_BACKEND_URL": "http://127.0.0.1:9", "SLACK_API_URL": "http://127.0.0.1:9/api/"}
        monkeypatch.setattr(World, "environ", around.environ | nowhere)
        async with command(around, tmp_path) as process:
            out, err = await process.communicate()
        assert (process.returncode, out) == (1, b"")
        assert b"slackbot: there was nobody to ask" in err
        assert b"Traceback" not in err
