"""The log of a whole bot at its most talkative: ids and events, and nothing that people said or that opens doors."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from slackbot import logs
from slackbot.loading import load_settings
from slackbot.simulator.slack import SimMessage
from tests.test_ops import free_port
from tests.whole_bot import World, bot, world

WORD = "quagga"
"""Part of everything that anybody says, in whichever direction."""


class Everything(logging.Handler):
    """Keeps each record whole, as it was before any redaction."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep it."""
        self.records.append(record)

    def text(self) -> str:
        """All that the records hold, tracebacks too."""
        formatter = logging.Formatter()
        return "\n".join(f"{formatter.format(record)} {vars(record)}" for record in self.records)


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    root, own = logging.getLogger(), logging.getLogger("slackbot")
    before = (root.handlers[:], root.level, own.level, sys.excepthook)
    yield
    logging.captureWarnings(capture=False)
    root.handlers[:], sys.excepthook = before[0], before[3]
    root.setLevel(before[1])
    own.setLevel(before[2])


async def badly_signed(url: str, secret: str) -> None:
    """Requests that are not Slack's, each full of words and tokens."""
    body = json.dumps({"type": "event_callback", "token": f"xoxb-{WORD}", "event": {"type": "message", "text": WORD}})
    stale = {"X-Slack-Request-Timestamp": "1", "X-Slack-Signature": f"v0={WORD}"}
    async with aiohttp.ClientSession() as session:
        for data, headers in (
            (body, {}),
            (body, stale),
            (body, {**stale, "X-Slack-Request-Timestamp": "soon"}),
            (body * 20_000, stale),
            (body, {**stale, "Content-Encoding": "gzip"}),
            (f"payload={WORD}&response_url=https://hooks.slack.com/actions/{secret}", stale),
            (f"ssl_check=1&token={WORD}", {}),
        ):
            async with session.post(url, data=io.BytesIO(data.encode()), headers=headers) as response:
                assert await response.read() == b""
        async with session.get(f"{url}?token={WORD}") as response:
            assert response.status == 405
        reader, writer = await asyncio.open_connection("127.0.0.1", int(url.split(":")[2].split("/", maxsplit=1)[0]))
        writer.write(f"POST /slack/events HTTP/1.1\r\nno header {WORD}\r\n\r\n{body}".encode())
        assert b" 400 " in await reader.read()
        writer.close()
        await writer.wait_closed()


async def conversation(both: World) -> None:
    """Answers, failures, floods, strange events, retries and disconnects, all about one word."""
    slack, noxus = both.slack, both.noxus
    ada, general = slack.users["ada"], slack.channels["general"]

    def answers(root: str) -> list[SimMessage]:
        return [message for message in slack.messages(general, root) if message.user == slack.bot_user_id]

    root = await slack.say(ada, general, f"<@{slack.bot_user_id}> /say {WORD} is the answer.")
    await slack.wait(lambda: bool(answers(root)) and WORD in answers(root)[0].shown, timeout=10)
    noxus.faults.add(path="create", times=1, status=503)
    for command in ("/fail", "/cut", f"/say {WORD} <!channel> @here"):
        failing = await slack.say(ada, general, f"<@{slack.bot_user_id}> {command} {WORD}")
        await slack.wait(partial(answers, failing), timeout=10)
    slack.faults.add(method="chat.update", error="invalid_blocks")
    slack.faults.add(method="chat.postMessage", error="msg_too_long")
    slack.faults.add(method="chat.update", status=500)
    slack.faults.add(method="users.info", error="user_not_found")
    dm = slack.dm("ada")
    for number in range(3):
        await slack.say(ada, dm, f"/words 30 rate=200 {WORD} {number} \x00 \ud800")
    body: dict[str, Any] = {
        "type": "event_callback",
        "team_id": slack.team_id,
        "event_id": "Ev1",
        "event": {
            "type": "message",
            "subtype": WORD + " x",
            "text": WORD,
            "channel": general,
            "ts": "1.2",
            "user": ada,
        },
    }
    await slack.raw_event(body)
    await slack.raw_event({**body, "response_urls": 7, "event": {**body["event"], "subtype": None}})
    await slack.raw_event({"type": "app_rate_limited", "team_id": slack.team_id, "minute_rate_limited": 1_790_000_000})
    await slack.raw_event(
        {**body, "authorizations": [{"team_id": "T0OTHER"}], "event": {**body["event"], "subtype": None}}
    )
    for delivery in list(slack.deliveries)[:3]:
        await slack.redeliver(delivery.event_id)
    await slack.wait(
        lambda: len({m.thread_ts for m in slack.messages(dm) if m.user == slack.bot_user_id}) == 3, timeout=10
    )


@pytest.mark.parametrize("transport", ["socket", "http"])
async def test_no_words_and_no_secrets(tmp_path: Path, transport: str) -> None:
    """Over both transports, at DEBUG: each line is one JSON object, and neither words nor tokens reach a log record."""
    port = free_port()
    stream, everything = io.StringIO(), Everything()
    async with world(latency=0.005) as both:
        slack = both.slack
        settings = load_settings(
            environ := both.environ(
                f"sqlite:///{tmp_path / 'bot.db'}",
                LOG_LEVEL="DEBUG",
                LOG_FORMAT="json",
                SLACKBOT_TRANSPORT=transport,
                SLACK_SIGNING_SECRET=slack.signing_secret,
                SLACKBOT_HTTP_HOST="127.0.0.1",
                SLACKBOT_HTTP_PORT=str(port),
            ),
            None,
        )
        logs.setup(settings.log_level, settings.log_format, settings.secrets(), stream)
        logging.getLogger().addHandler(everything)
        async with bot(environ):
            if transport == "http":
                url = f"http://127.0.0.1:{port}/slack/events"
                slack.deliver_over_http(url)
                await badly_signed(url, WORD)
            await conversation(both)
            if transport == "socket":
                await slack.disconnect_sockets("abort")
                await asyncio.sleep(0.2)
        secrets = [WORD, *settings.secrets(), "xoxb-", "xapp-", "ticket=", "hooks.slack.com", "response_url"]
    events = {json.loads(line)["event"] for line in stream.getvalue().splitlines()}
    assert {"message.accepted", "turn.finished", "agent.failed", "event.ignored", "event.failed"} <= events
    assert ("http.refused" in events) is (transport == "http")
    for secret in secrets:
        assert secret not in stream.getvalue()
        assert secret not in everything.text()
