"""A part of the fault matrix, small enough for every run of the tests; ``make chaos`` plays all of it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import aiohttp
import pytest

from slackbot.errors import ChatError, ChatRateLimited, ChatUnavailable, ThreadClosed
from slackbot.simulator.noxus import NoxusSimulator
from slackbot.simulator.slack import SlackSimulator
from slackbot.slack.web import WebApi
from tests.chaos.documented import COMMON, ERRORS, NOTHING_CAN_BE_SAID

ROOT = Path(__file__).parent.parent
METHOD = re.compile(
    r'"((?:agents|apps|assistant|auth|bots|chat|conversations|files|reactions|usergroups|users|views)\.[\w.]*\w)"'
)
"""How the source names a method of Slack's."""
LOOKED_FOR = "Slack chat.postMessage", "Noxus stream", "the disk", "the clock", "connection refused", "name not found"


def faults(option: str) -> subprocess.CompletedProcess[str]:
    """Run the command that plays all troubles: in a process of its own, as time passes in another way there."""
    command = [sys.executable, "-m", "tests.chaos.faults", option]
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, env=environ, cwd=ROOT, capture_output=True, text=True, check=False)


def test_no_trouble_lets_anybody_down() -> None:
    """A few troubles of each kind at Slack, at Noxus and in the machine."""
    played = faults("--sample")
    assert played.returncode == 0, f"{played.stdout}\n{played.stderr}"
    for words in LOOKED_FOR:
        assert words in played.stdout


def test_every_documented_refusal_is_in_the_matrix() -> None:
    """Each method that the bot calls is played with its own refusals and all the common ones, none of them twice."""
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "slackbot" / "slack").glob("*.py")]
    called = {name for source in sources for name in METHOD.findall(source)}
    assert called == set(ERRORS)
    listing = faults("--list")
    played = Counter(line for line in listing.stdout.splitlines() if not line.endswith(" | once"))
    for method, codes in ERRORS.items():
        assert set(COMMON) <= set(codes)
        assert len(codes) == len(set(codes))
        when, lasts = (", at the start", "20 s") if method == "auth.test" else ("", "5 min")
        assert {played[f"Slack {method}{when} | error {code} | {lasts}"] for code in codes} == {1}, method


@pytest.mark.parametrize(
    ("fault", "status", "kind", "text"),
    [
        ({"body": "<html>", "content_type": "text/html"}, 200, "text/html", "<html>"),
        ({"status": 429, "body": b"{}"}, 429, "application/json", "{}"),
        ({"status": 503, "done": True}, 503, "text/html", "<html>upstream error</html>"),
        ({"pace": 0.001}, 200, "application/json", None),
    ],
)
async def test_the_simulated_slack_answers_otherwise(
    fault: dict[str, object], status: int, kind: str, text: str | None
) -> None:
    """An answer may be other words, without the call being done or with it, or come slowly and still be whole."""
    slack = SlackSimulator(latency=0.0)
    await slack.start()
    try:
        slack.faults.add(method="chat.postMessage", **fault)  # type: ignore[arg-type] # each row names what it wants
        where, words = (
            {"channel": slack.channels["general"], "text": "hello"},
            {"Authorization": f"Bearer {slack.bot_token}"},
        )
        async with (
            aiohttp.ClientSession() as http,
            http.post(f"{slack.api_url}chat.postMessage", json=where, headers=words) as answer,
        ):
            assert (answer.status, answer.content_type) == (status, kind)
            said = await answer.text()
        assert said == text if text else '"ok": true' in said
        there = any(message.text == "hello" for message in slack.messages(slack.channels["general"]))
        assert there is ("body" not in fault)
    finally:
        await slack.stop()


async def test_the_simulated_slack_breaks_off() -> None:
    """Half an answer comes, and the call was done."""
    slack = SlackSimulator(latency=0.0)
    await slack.start()
    try:
        slack.faults.add(method="auth.test", drop="mid")
        async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {slack.bot_token}"}) as http:
            with pytest.raises(aiohttp.ClientPayloadError):
                async with http.post(f"{slack.api_url}auth.test") as answer:
                    await answer.read()
        assert slack.calls[-1].ok
    finally:
        await slack.stop()


@pytest.mark.parametrize("fault", [{"status": 503, "done": True}, {"pace": 0.001}])
async def test_the_simulated_noxus_fails_after_the_deed_or_slowly(fault: dict[str, object]) -> None:
    """An error may come although the call was done; slow answers are whole, streams too."""
    noxus = NoxusSimulator(first_token_delay=0.0, rate=500.0)
    await noxus.start()
    try:
        slow = "pace" in fault
        async with aiohttp.ClientSession(headers={"X-API-Key": noxus.api_key}) as http:
            wanted = {"name": "new", "settings": None}
            noxus.faults.add(path="create", **fault)  # type: ignore[arg-type] # each row names what it wants
            async with http.post(f"{noxus.url}/v1/conversations?assistant_id={noxus.agent_id}", json=wanted) as answer:
                assert answer.status == (200 if slow else 503)
                told = await answer.json()
            [conversation] = noxus.conversations
            assert not slow or told["id"] == conversation
            noxus.faults.add(path="stream", **fault)  # type: ignore[arg-type] # each row names what it wants
            body = dict.fromkeys(("tool", "kb_id", "workflow_id", "model_selection", "files"), None)
            address = f"{noxus.url}/v1/conversations/{conversation}/stream?format=json"
            async with http.post(address, json={**body, "content": "/say hello"}) as answer:
                assert answer.status == (200 if slow else 503)
                text = await answer.text()
            assert noxus.asked == ["/say hello"]
            assert ("hello" in text) is slow
    finally:
        await noxus.stop()


@pytest.mark.parametrize(
    "fault",
    [
        {"body": b'{"ok":true,"x":"\xff"}'},
        {"body": b'{"ok":true,"x":"\xff"}', "status": 502},
        {"body": '{"ok":true,"x":' + "[" * 100_000},
        {"body": "junk", "content_type": "application/gzip"},
        {"body": "junk", "content_type": "text/plain"},
        {"body": "{}", "content_type": "application/json; charset=base64"},
        {"body": "{}"},
        {"body": "[1, 2]"},
        {"body": "null"},
    ],
)
async def test_an_answer_that_cannot_be_read_confirms_nothing(fault: dict[str, object]) -> None:
    """Whatever comes instead of an object that says whether it is ok: nobody knows then whether the call happened."""
    slack = SlackSimulator(latency=0.0)
    await slack.start()
    web = WebApi(slack.api_url)
    try:
        slack.faults.add(method="*", times=None, **fault)  # type: ignore[arg-type] # each row names what it wants
        with pytest.raises(ChatUnavailable):
            await web.call("chat.update", slack.bot_token)
        with pytest.raises(ChatUnavailable):
            await web.identify(slack.bot_token)
    finally:
        await web.aclose()
        await slack.stop()


async def test_who_may_not_speak_there_knows_it() -> None:
    """A post refused for good is given up at once, any other refusal is not; "too many" says for how long."""
    slack = SlackSimulator(latency=0.0)
    await slack.start()
    web = WebApi(slack.api_url)
    try:
        for code in ERRORS["chat.postMessage"]:
            slack.faults.add(method="chat.postMessage", error=code)
            with pytest.raises(ChatError) as refused:
                await web.call("chat.postMessage", slack.bot_token)
            assert isinstance(refused.value, ThreadClosed) is (code in NOTHING_CAN_BE_SAID), code
        for asked, understood in ((0.0, 1.0), (7.0, 7.0), (86_400.0, 300.0)):
            slack.faults.add(method="chat.postMessage", error="ratelimited", retry_after=asked)
            with pytest.raises(ChatRateLimited) as limited:
                await web.call("chat.postMessage", slack.bot_token)
            assert limited.value.retry_after == understood
    finally:
        await web.aclose()
        await slack.stop()
