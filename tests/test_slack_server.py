"""From Slack's delivery to its ack, over both transports, and a Socket Mode connection that comes back."""

from __future__ import annotations

import asyncio
import io
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import aiohttp
import pytest
from aiohttp import web

from slackbot.domain import (
    Arrived,
    Body,
    Button,
    HandoverPress,
    InboundMessage,
    MessageDeleted,
    MessageEdited,
    Press,
    SessionStopped,
    ThreadPress,
)
from slackbot.errors import ThreadClosed
from slackbot.serving import CannotListen
from slackbot.simulator.slack import Delivery, SlackSimulator
from slackbot.slack import sockets
from slackbot.slack.blocks import build, build_question
from slackbot.slack.client import SlackChat
from slackbot.slack.events import ACTIONS, ON_HANDOVERS, ON_THREADS, SHORTCUTS, button_value
from slackbot.slack.installations import Installations
from slackbot.slack.server import Gate, SlackServer
from slackbot.slack.sockets import SocketMode
from slackbot.slack.web import WebApi
from slackbot.slack.webhooks import Webhooks

PAYLOADS = Path(__file__).parent / "payloads" / "slack"


def payload(name: str, **changes: Any) -> dict[str, Any]:
    """A recorded body as from the simulated team, with some outer fields changed."""
    recorded = (PAYLOADS / f"{name}.json").read_text().replace("T0ACME", SlackSimulator.team_id)
    return {**json.loads(recorded), **changes}


class Bot:
    """What stands behind the transport: handlers that remember, and can be told to wait or to fail."""

    def __init__(self, slack: SlackSimulator, web_api: WebApi, installations: Installations) -> None:
        self.slack = slack
        self.web_api = web_api
        self.messages: list[InboundMessage] = []
        self.others: list[Arrived] = []
        self.failures = 0
        self.open = asyncio.Event()
        self.open.set()
        self.waiting = 0
        self.gate = Gate(web_api, installations, self.handle)
        self.server: SlackServer

    @property
    def presses(self) -> list[Press]:
        """The buttons that were pressed."""
        return [press for press in self.others if isinstance(press, Press)]

    async def handle(self, inbound: Arrived) -> None:
        await self._stored()
        if isinstance(inbound, InboundMessage):
            self.messages.append(inbound)
        else:
            self.others.append(inbound)

    async def _stored(self) -> None:
        self.waiting += 1
        await self.open.wait()
        self.waiting -= 1
        if self.failures:
            self.failures -= 1
            raise LookupError("database is locked: (params: classified)")


@pytest.fixture
async def bot() -> AsyncIterator[Bot]:
    """A quick workspace and handlers, not connected yet."""
    slack = SlackSimulator(latency=0.0, echoes=False, retry_delays=(0.05, 0.1, 0.2), ack_timeout=1.0)
    await slack.start()
    web_api = WebApi(slack.api_url)
    bot = Bot(slack, web_api, await Installations.single(web_api, slack.bot_token))
    try:
        yield bot
    finally:
        await web_api.aclose()
        await slack.stop()


@pytest.fixture(params=["socket", "http"])
async def online(request: pytest.FixtureRequest, bot: Bot) -> AsyncIterator[Bot]:
    """The same bot behind each transport."""
    if request.param == "socket":
        bot.server = SocketMode(bot.web_api, bot.slack.app_token, bot.gate)
        await bot.server.start()
    else:
        bot.server = http = Webhooks("127.0.0.1", 0, bot.slack.signing_secret, bot.gate)
        await http.start()
        transport = bot.slack.deliver_over_http(f"http://127.0.0.1:{http.port}/slack/events")
        assert await transport.verify_url()
    assert bot.server.is_connected
    yield bot
    await bot.server.stop()
    assert not bot.server.is_connected


@pytest.fixture
async def http(bot: Bot) -> AsyncIterator[Webhooks]:
    """The HTTP transport alone."""
    server = Webhooks("127.0.0.1", 0, bot.slack.signing_secret, bot.gate)
    await server.start()
    yield server
    await server.stop()


def logged(caplog: pytest.LogCaptureFixture, event: str) -> list[dict[str, Any]]:
    """The fields of every line of one event."""
    return [vars(record) for record in caplog.records if record.getMessage() == event]


ON_MESSAGES = [button for button in Button if button not in ON_THREADS]


async def press(bot: Bot, *buttons: Button) -> list[Delivery]:
    """Press buttons under a message of the bot."""
    slack, general = bot.slack, bot.slack.channels["general"]
    text, blocks = build(Body("It was", buttons=tuple(Button), turn_id=42, handover_id=42))
    chat = {"channel": general, "text": text, "blocks": blocks}
    posted = await bot.web_api.call("chat.postMessage", slack.bot_token, chat)
    where = slack.users["ada"], general, posted["ts"]
    return [await slack.press(*where, ACTIONS[button], button_value(button, 42)) for button in buttons]


# --- one way in, both transports ---


async def test_the_ack_waits_for_the_handler(online: Bot) -> None:
    """Slack hears nothing before the message is stored."""
    online.open.clear()
    delivering = asyncio.create_task(online.slack.raw_event(payload("message_im")))
    await online.slack.wait(lambda: online.waiting)
    await asyncio.sleep(0.05)
    assert not delivering.done()
    online.open.set()
    assert (await delivering).acked
    assert [message.text for message in online.messages] == ["hello &amp; good morning"]


async def test_what_cannot_be_stored_comes_again(online: Bot, caplog: pytest.LogCaptureFixture) -> None:
    """A failing handler costs the ack, and one log line without the message; the redelivery succeeds."""
    caplog.set_level(logging.INFO)
    online.failures = 2
    first = await online.slack.raw_event(payload("message_im"))
    assert not first.acked
    await online.slack.wait(lambda: online.messages)
    assert [delivery.acked for delivery in online.slack.deliveries][-3:] == [False, False, True]
    failed = logged(caplog, "event.failed")
    assert [line["error"] for line in failed] == ["LookupError", "LookupError"]
    assert (failed[0]["event_id"], failed[0]["channel"]) == ("Ev0IM", "D0ADA")
    assert "classified" not in caplog.text
    assert [line["attempt"] for line in logged(caplog, "event.redelivered")] == ["1", "2"]


async def test_an_unknown_team_is_not_acked(online: Bot, caplog: pytest.LogCaptureFixture) -> None:
    """Bolt would ack, and lose, what it cannot authorize."""
    body = payload("message_im", authorizations=[{"team_id": "T0OTHER"}])
    assert not (await online.slack.raw_event(body)).acked
    assert online.messages == []
    assert logged(caplog, "event.failed")[0]["error"] == ThreadClosed.__name__


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("reaction_added", "event reaction_added: not used"),
        ("channel_join", "message subtype channel_join: not used"),
        ("app_rate_limited", "app_rate_limited: Slack held events of this minute back"),
        ("view_submission", "payload view_submission: not used"),
        ("slash_command", "payload without a name: not used"),
        ("other_button", "button feedback: not used"),
    ],
)
async def test_what_asks_nothing_is_acked(bot: Bot, caplog: pytest.LogCaptureFixture, name: str, reason: str) -> None:
    """Bolt would refuse what nobody listens to; here it is acked, and the log says why nothing happens."""
    caplog.set_level(logging.INFO)
    assert await bot.gate.deliver(payload(name))
    assert logged(caplog, "event.ignored")[0]["reason"] == reason
    assert bot.messages == []


@pytest.mark.parametrize("name", ["message_changed", "message_unfurled", "message_replied"])
async def test_our_own_writing_is_not_worth_a_line(bot: Bot, caplog: pytest.LogCaptureFixture, name: str) -> None:
    """Every edit of ours comes back to us: acked, and told at DEBUG only."""
    caplog.set_level(logging.DEBUG)
    assert await bot.gate.deliver(payload(name))
    (line,) = logged(caplog, "event.ignored")
    assert line["levelno"] == logging.DEBUG
    assert bot.others == []


@pytest.mark.parametrize("name", ["reaction_added", "message_changed", "app_rate_limited"])
async def test_acks_of_what_asks_nothing(online: Bot, name: str) -> None:
    """The ack goes all the way."""
    assert (await online.slack.raw_event(payload(name))).acked


async def test_a_body_that_bolt_cannot_read(online: Bot, caplog: pytest.LogCaptureFixture) -> None:
    """Bolt trips over fields we do not read; Slack would send such a body again for nothing."""
    assert (await online.slack.raw_event(payload("message_im", response_urls=7))).acked
    assert logged(caplog, "event.ignored")[0]["reason"] == "malformed for Bolt: TypeError"


async def test_twins_both_arrive(online: Bot) -> None:
    """A mention is delivered twice, and both deliveries say the same."""
    slack = online.slack
    await slack.say(slack.users["ada"], slack.channels["general"], f"<@{slack.bot_user_id}> hi")
    await slack.wait(lambda: len(online.messages) == 2)
    one, other = online.messages
    assert (one.ts, one.text, one.channel_kind) == (other.ts, other.text, other.channel_kind)
    assert one.event_id != other.event_id


async def test_buttons(online: Bot) -> None:
    """Every button arrives and is acked."""
    assert [delivery.acked for delivery in await press(online, *ON_MESSAGES)] == [True] * len(ON_MESSAGES)
    ada = online.slack.users["ada"]
    assert [(it.button, it.turn_id, it.user_id) for it in online.presses] == [
        (button, 42, ada) for button in ON_MESSAGES if button not in ON_HANDOVERS
    ]
    handed = [it for it in online.others if isinstance(it, HandoverPress)]
    assert [(it.button, it.handover_id, it.user_id) for it in handed] == [(button, 42, ada) for button in ON_HANDOVERS]


async def test_what_acts_on_a_thread(online: Bot) -> None:
    """A private question's buttons and the menu of a message name their thread, and are acked once it is stored."""
    slack, general, team = online.slack, online.slack.channels["general"], online.slack.team_id
    ada, olga = slack.users["ada"], slack.users["olga"]
    slack.shortcuts |= dict.fromkeys(SHORTCUTS, "Anything")
    root = await slack.say(ada, general, "Hello?")
    reply = await slack.say(olga, general, "Hello!", thread_ts=root)
    text, blocks = build_question("Do you take over?", ON_THREADS, root, reply)
    asked = {"channel": general, "thread_ts": root, "user": olga, "text": text, "blocks": blocks}
    await online.web_api.call("chat.postEphemeral", slack.bot_token, asked)
    (question,) = slack.whispers
    deliveries = [await slack.press(olga, general, question.ts, ACTIONS[button]) for button in ON_THREADS]
    deliveries += [await slack.use_shortcut(ada, general, root, name) for name in SHORTCUTS]
    assert all(delivery.acked for delivery in deliveries)
    assert online.others == [
        *(ThreadPress(button, team, general, reply, root, olga) for button in ON_THREADS),
        *(ThreadPress(button, team, general, root, root, ada) for button in SHORTCUTS.values()),
    ]
    online.failures = 1
    assert not (await slack.use_shortcut(ada, general, reply, "ask_human")).acked


async def test_second_thoughts(online: Bot) -> None:
    """What people do to their messages, and to an agent's session, arrives as itself."""
    slack, general, team = online.slack, online.slack.channels["general"], online.slack.team_id
    ada = slack.users["ada"]
    root = await slack.say(ada, general, "Red <https://plan.example>")
    reply = await slack.say(ada, general, "Or", thread_ts=root)
    await slack.unfurl(general, root)
    await slack.edit_message(ada, general, root, "Blue")
    await slack.stop_session(ada, general, root)
    await slack.delete_message(ada, general, root)
    await slack.delete_message(ada, general, reply)
    expected: list[Arrived] = [
        MessageEdited(team, general, root, "Blue"),
        SessionStopped(team, general, root, ada),
        MessageDeleted(team, general, root),
        MessageDeleted(team, general, reply),
    ]
    await slack.wait(lambda: len(online.others) >= len(expected))
    assert sorted(online.others, key=str) == sorted(expected, key=str)


async def test_retry_that_cannot_be_stored(online: Bot) -> None:
    """The person sees Slack's warning instead of an ack that means nothing."""
    online.failures = 1
    (delivery,) = await press(online, Button.RETRY)
    assert not delivery.acked


async def test_a_burst(online: Bot) -> None:
    """A hundred deliveries at once are all acked."""
    bodies = [payload("message_im", event_id=f"Ev{number}") for number in range(100)]
    deliveries = await asyncio.gather(*(online.slack.raw_event(body) for body in bodies))
    assert all(delivery.acked for delivery in deliveries)
    assert len(online.messages) == 100


async def test_stop_acks_what_was_taken(online: Bot) -> None:
    """A message that is being stored when we stop is stored and acked."""
    online.open.clear()
    delivering = asyncio.create_task(online.slack.raw_event(payload("message_im")))
    await online.slack.wait(lambda: online.waiting)
    stopping = asyncio.create_task(online.server.stop())
    await asyncio.sleep(0.05)
    assert not online.server.is_connected
    online.open.set()
    await stopping
    assert (await delivering).acked
    await online.server.stop()


async def test_no_text_in_the_log(online: Bot, caplog: pytest.LogCaptureFixture) -> None:
    """Even with everything logged, neither words nor secrets are."""
    caplog.set_level(logging.DEBUG)
    await online.slack.raw_event(payload("message_im"))
    await online.slack.raw_event(payload("channel_join"))
    assert "event.ignored" in caplog.text
    lines = "\n".join(
        str(vars(record)) for record in caplog.records if record.name.startswith(("slackbot.slack", "slack"))
    )
    for secret in ("good morning", "has joined", "xoxb", "xapp", "ticket", online.slack.signing_secret):
        assert secret not in lines


# --- signed HTTP ---


async def send(bot: Bot, http: Webhooks, body: bytes, path: str = "/slack/events", **headers: str) -> tuple[int, str]:
    """Post a correctly signed body; headers given replace those of the signature, empty ones remove them."""
    signed = bot.slack.deliver_over_http("").signed(body, "application/json") | headers
    signed = {name: value for name, value in signed.items() if value}
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"http://127.0.0.1:{http.port}{path}", data=io.BytesIO(body), headers=signed) as response,
    ):
        return response.status, await response.text()


GOOD = json.dumps(payload("message_im")).encode()


@pytest.mark.parametrize(
    ("body", "headers", "status", "reason"),
    [
        (GOOD, {"X-Slack-Signature": ""}, 401, "no signature"),
        (GOOD, {"X-Slack-Signature": "v0=" + "0" * 64}, 401, "wrong signature"),
        (GOOD, {"X-Slack-Signature": "v0=é"}, 401, "wrong signature"),
        (GOOD, {"X-Slack-Request-Timestamp": ""}, 401, "no timestamp"),
        (GOOD, {"X-Slack-Request-Timestamp": "soon"}, 401, "no timestamp"),
        (GOOD, {"X-Slack-Request-Timestamp": "1" * 5_000}, 401, "no timestamp"),
        (GOOD, {"X-Slack-Request-Timestamp": "1600000000"}, 401, "stale timestamp"),
        (b"\xff\xfe", {}, 401, "not UTF-8"),
        (b"", {}, 400, "no JSON object in UTF-8"),
        (b"[]", {}, 400, "no JSON object in UTF-8"),
        (b"{", {}, 400, "no JSON object in UTF-8"),
        (b'{"a":' * 100_000, {}, 400, "no JSON object in UTF-8"),
        (b'{"a":' + b"9" * 10_000 + b"}", {}, 400, "no JSON object in UTF-8"),
        (b"payload=7", {}, 400, "no JSON object in UTF-8"),
        (b" " * (1 << 20) + GOOD, {}, 413, "more than 1048576 bytes"),
    ],
)
async def test_bad_requests(
    bot: Bot,
    http: Webhooks,
    caplog: pytest.LogCaptureFixture,
    body: bytes,
    headers: dict[str, str],
    status: int,
    reason: str,
) -> None:
    """Each gets its status and one line in the log, and nothing is stored."""
    assert await send(bot, http, body, **headers) == (status, "")
    (line,) = logged(caplog, "http.refused")
    assert (line["status"], line["reason"]) == (status, reason)
    assert bot.messages == []
    assert "good morning" not in caplog.text


async def test_replayed_requests(bot: Bot) -> None:
    """Five minutes are the limit, to either side."""
    now = [0.0]
    server = Webhooks("127.0.0.1", 0, bot.slack.signing_secret, bot.gate, wall=lambda: now[0])
    await server.start()
    signed = bot.slack.deliver_over_http("").signed(GOOD, "application/json")
    stamp = int(signed["X-Slack-Request-Timestamp"])
    for offset, status in ((299, 200), (-299, 200), (301, 401), (-301, 401)):
        now[0] = stamp + offset
        assert (await send(bot, server, GOOD, **signed))[0] == status
    await server.stop()


async def test_forms(bot: Bot, http: Webhooks) -> None:
    """Interactivity comes as a form, to either address."""
    form = urlencode({"payload": json.dumps(payload("retry_pressed"))}).encode()
    for path in ("/slack/events", "/slack/interactive"):
        assert (await send(bot, http, form, path))[0] == 200
    assert [press.turn_id for press in bot.presses] == [42, 42]


async def test_handshakes(bot: Bot, http: Webhooks) -> None:
    """Slack's questions about the address and the certificate are answered; the first only when signed."""
    question = b'{"type": "url_verification", "challenge": "c"}'
    assert await send(bot, http, question) == (200, '{"challenge": "c"}')
    assert (await send(bot, http, question, **{"X-Slack-Signature": ""}))[0] == 401
    assert (await send(bot, http, b"ssl_check=1&token=x", **{"X-Slack-Signature": ""}))[0] == 200
    assert await fetch(http, "GET", "/slack/events?ssl_check=1&token=x") == (200, "")


async def fetch(http: Webhooks, method: str, path: str) -> tuple[int, str]:
    """Ask without a body: the status, and which methods are allowed."""
    async with (
        aiohttp.ClientSession(f"http://127.0.0.1:{http.port}") as session,
        session.request(method, path) as response,
    ):
        return response.status, response.headers.get("Allow", "")


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "/slack/events", (405, "POST")),
        ("GET", "/slack/events?ssl_check=0", (405, "POST")),
        ("HEAD", "/slack/interactive", (405, "POST")),
        ("PUT", "/slack/events", (405, "POST, GET")),
        ("GET", "/", (404, "")),
        ("POST", "/bot/slack/events", (404, "")),
        ("HEAD", "/healthz", (200, "")),
    ],
)
async def test_visitors(
    http: Webhooks, caplog: pytest.LogCaptureFixture, method: str, path: str, expected: tuple[int, str]
) -> None:
    """Who is not Slack gets a plain answer, and the log stays silent."""
    caplog.set_level(logging.INFO)
    assert await fetch(http, method, path) == expected
    assert not logged(caplog, "http.refused")


async def test_behind_a_proxy(bot: Bot, http: Webhooks, caplog: pytest.LogCaptureFixture) -> None:
    """A body may come in chunks; what a proxy says about the client is believed in nothing."""
    signed = bot.slack.deliver_over_http("").signed(GOOD, "application/json")
    claimed = {"X-Forwarded-For": "203.0.113.9", "Forwarded": "for=203.0.113.9", "X-Real-IP": "203.0.113.9"}

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(GOOD), 100):
            yield GOOD[start : start + 100]

    url = f"http://127.0.0.1:{http.port}/slack/events"
    async with aiohttp.ClientSession(headers=claimed) as session:
        for headers, status in ((signed, 200), ({}, 401)):
            async with session.post(url, data=pieces(), headers=headers, expect100=True) as response:
                assert response.status == status
    assert len(bot.messages) == 1
    assert logged(caplog, "http.refused")[0]["peer"] == "127.0.0.1"


async def test_events_held_back(online: Bot, caplog: pytest.LogCaptureFixture) -> None:
    """Slack tells that a minute had too many events: one warning names the minute and the team."""
    caplog.set_level(logging.INFO)
    assert (await online.slack.raw_event(payload("app_rate_limited"))).acked
    (line,) = [vars(record) for record in caplog.records if record.levelno == logging.WARNING]
    assert (line["type"], line["team"], line["minute"]) == (
        "app_rate_limited",
        SlackSimulator.team_id,
        "2026-09-21T14:13Z",
    )


async def test_a_client_that_hangs_up(bot: Bot, http: Webhooks) -> None:
    """Half a body and a closed connection trouble nobody."""
    _, writer = await asyncio.open_connection("127.0.0.1", http.port)
    writer.write(b"POST /slack/events HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{")
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    assert (await send(bot, http, b"{}"))[0] == 200


async def test_health(bot: Bot, http: Webhooks, caplog: pytest.LogCaptureFixture) -> None:
    """``/healthz`` tells whether events are taken; while we stop they are refused, so that Slack keeps them."""
    async with aiohttp.ClientSession(f"http://127.0.0.1:{http.port}") as session:
        async with session.get("/healthz") as response:
            assert (response.status, await response.json()) == (200, {"ok": True})
        http._accepting = False
        async with session.get("/healthz") as response:
            assert (response.status, await response.json()) == (503, {"ok": False})
    assert (await send(bot, http, GOOD))[0] == 503
    assert logged(caplog, "http.refused")[0]["reason"] == "stopping"
    assert bot.messages == []


async def test_an_address_that_is_taken(bot: Bot, http: Webhooks) -> None:
    """The error names the address."""
    with pytest.raises(CannotListen, match=f"127.0.0.1:{http.port}"):
        await Webhooks("127.0.0.1", http.port, "secret", bot.gate).start()


# --- Socket Mode that comes back ---


@pytest.fixture
async def socket(bot: Bot) -> AsyncIterator[SocketMode]:
    """The Socket Mode transport alone, connected."""
    server = SocketMode(bot.web_api, bot.slack.app_token, bot.gate)
    await server.start()
    yield server
    await server.stop()


async def works(bot: Bot, server: SocketMode) -> None:
    """An event arrives within a few seconds."""
    await bot.slack.wait(lambda: server.is_connected and bot.slack.connections >= 1, timeout=10)
    assert (await bot.slack.raw_event(payload("message_im"))).acked


@pytest.mark.parametrize("how", ["warning", "refresh_requested", "link_disabled", "abort"])
async def test_disconnects(bot: Bot, socket: SocketMode, how: Any) -> None:
    """Announced or not, the end of a connection is followed by the next one."""
    opened = len(bot.slack.calls)
    await bot.slack.disconnect_sockets(how)
    await bot.slack.wait(lambda: len(bot.slack.calls) > opened, timeout=10)
    await works(bot, socket)


async def test_announced_disconnects_leave_no_gap(bot: Bot, socket: SocketMode) -> None:
    """The old connection serves until the new one is up."""
    bot.slack.faults.add(method="apps.connections.open", delay=0.3)
    await bot.slack.disconnect_sockets("warning")
    await asyncio.sleep(0.1)
    assert socket.is_connected
    await works(bot, socket)


async def test_a_dead_line(bot: Bot, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that says nothing any more is replaced."""
    monkeypatch.setattr(sockets, "PING_SECONDS", 0.2)
    server = SocketMode(bot.web_api, bot.slack.app_token, bot.gate)
    await server.start()
    await bot.slack.disconnect_sockets("silent")
    opened = len(bot.slack.calls)
    await bot.slack.wait(lambda: len(bot.slack.calls) > opened, timeout=10)
    await bot.slack.wait(lambda: bot.slack.connections == 1, timeout=10)
    await works(bot, server)
    await server.stop()


async def test_a_sleeping_laptop(bot: Bot, monkeypatch: pytest.MonkeyPatch) -> None:
    """The wall clock jumped: the line is dead, although nothing has noticed yet."""
    monkeypatch.setattr(sockets, "CLOCK_CHECK_SECONDS", 0.02)
    wall = [1_790_000_000.0]
    server = SocketMode(bot.web_api, bot.slack.app_token, bot.gate, wall=lambda: wall[0], now=lambda: 0.0)
    await server.start()
    calls = len(bot.slack.calls)
    await asyncio.sleep(0.1)
    assert len(bot.slack.calls) == calls
    wall[0] += 3_600
    await bot.slack.wait(lambda: len(bot.slack.calls) > calls, timeout=5)
    await works(bot, server)
    await server.stop()


@pytest.mark.parametrize(
    "fault",
    [{"status": 502}, {"error": "internal_error"}, {"error": "ratelimited", "retry_after": 1}, {"drop": "before"}],
)
async def test_a_slack_that_is_away_at_start(bot: Bot, fault: dict[str, Any]) -> None:
    """Starting returns, and the connection comes when Slack does."""
    bot.slack.faults.add(method="apps.connections.open", **fault)
    server = SocketMode(bot.web_api, bot.slack.app_token, bot.gate)
    await server.start()
    assert not server.is_connected
    await works(bot, server)
    await server.stop()


async def test_a_wrong_app_token(bot: Bot) -> None:
    """Slack's refusal ends the start, and leaves nothing behind."""
    with pytest.raises(ThreadClosed) as refused:
        await SocketMode(bot.web_api, bot.slack.bot_token, bot.gate).start()
    assert refused.value.slack_error == "not_allowed_token_type"
    with pytest.raises(ThreadClosed):
        await SocketMode(bot.web_api, "xapp-wrong", bot.gate).start()


async def test_an_ack_that_cannot_be_sent(bot: Bot, socket: SocketMode, caplog: pytest.LogCaptureFixture) -> None:
    """The line breaks while a message is being stored: it is stored, and comes again."""
    caplog.set_level(logging.INFO)
    bot.open.clear()
    delivering = asyncio.create_task(bot.slack.raw_event(payload("message_im")))
    await bot.slack.wait(lambda: bot.waiting)
    await bot.slack.disconnect_sockets("abort")
    await asyncio.sleep(0.1)
    bot.open.set()
    assert not (await delivering).acked
    await bot.slack.wait(lambda: len(bot.messages) == 2)
    assert logged(caplog, "socket.ack_lost")


async def test_a_bug_leaves_nobody_deaf(
    bot: Bot, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error nobody foresaw ends the connection, not the bot."""
    taken = bot.gate.deliver

    async def deliver(*_body: object, **_words: str) -> bool:
        monkeypatch.setattr(bot.gate, "deliver", taken)
        raise ZeroDivisionError

    monkeypatch.setattr(bot.gate, "deliver", deliver)
    server = SocketMode(bot.web_api, bot.slack.app_token, bot.gate)
    await server.start()
    await bot.slack.raw_event(payload("message_im"))
    await bot.slack.wait(lambda: bot.messages, timeout=10)
    assert logged(caplog, "socket.broken")
    await server.stop()


async def test_a_handler_that_hangs_does_not_hold_the_stop(bot: Bot, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopping has an end, whatever the database does."""
    monkeypatch.setattr(sockets, "STOP_SECONDS", 0.1)
    server = SocketMode(bot.web_api, bot.slack.app_token, bot.gate)
    await server.start()
    bot.open.clear()
    delivering = asyncio.create_task(bot.slack.raw_event(payload("message_im")))
    await bot.slack.wait(lambda: bot.waiting)
    await asyncio.wait_for(server.stop(), 3)
    assert not (await delivering).acked


async def test_a_proxy(bot: Bot, monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls and the event line go through the proxy of the usual variables."""
    slack = OddSlack()
    await (await slack.start()).aclose()
    monkeypatch.setenv("HTTP_PROXY", f"http://{slack.base}")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "elsewhere.invalid")
    slack.base = "slack.invalid"
    web_api = WebApi("http://slack.invalid/api/")
    server = SocketMode(web_api, "xapp-odd", bot.gate)
    await server.start()
    assert server.is_connected
    assert slack.tickets == ["0"]
    await server.stop()
    await web_api.aclose()
    await slack.runner.cleanup()


async def test_stop_without_start(bot: Bot) -> None:
    """Stopping what never started is nothing."""
    await SocketMode(bot.web_api, bot.slack.app_token, bot.gate).stop()


async def test_two_processes_share_an_app_token(bot: Bot, socket: SocketMode, caplog: pytest.LogCaptureFixture) -> None:
    """The second one says that it gets only some of the events; a refresh of our own does not."""
    assert not logged(caplog, "socket.shared")
    await bot.slack.disconnect_sockets("warning")
    await works(bot, socket)
    assert not logged(caplog, "socket.shared")
    other = SocketMode(bot.web_api, bot.slack.app_token, bot.gate)
    await other.start()
    assert logged(caplog, "socket.shared")[0]["connections"] >= 2
    await other.stop()


class OddSlack:
    """A Slack whose sockets do strange things, one script for each connection in turn."""

    def __init__(self, *scripts: Callable[[web.WebSocketResponse], Awaitable[None]] | int) -> None:
        self.scripts = list(scripts)
        self.tickets: list[str] = []
        self.acks: list[str] = []

    async def start(self) -> WebApi:
        app = web.Application()
        app.router.add_post("/api/apps.connections.open", self._open)
        app.router.add_get("/link", self._link)
        self.runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self.runner.setup()
        await web.TCPSite(self.runner, "127.0.0.1", 0).start()
        self.base = f"127.0.0.1:{self.runner.addresses[0][1]}"
        return WebApi(f"http://{self.base}/api/")

    async def _open(self, _request: web.Request) -> web.Response:
        return web.json_response({"ok": True, "url": f"ws://{self.base}/link?ticket={len(self.tickets)}"})

    async def _link(self, request: web.Request) -> web.StreamResponse:
        self.tickets.append(request.query["ticket"])
        script = self.scripts.pop(0) if self.scripts else self.serve
        if isinstance(script, int):
            return web.Response(status=script)
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await script(socket)
        return socket

    async def serve(self, socket: web.WebSocketResponse) -> None:
        """An ordinary connection with one event on it."""
        await socket.send_json({"type": "hello", "num_connections": "many"})
        body = payload("message_im")
        await socket.send_json({"envelope_id": "last", "type": "events_api", "payload": body})
        async for frame in socket:
            self.acks.append(json.loads(frame.data)["envelope_id"])


async def odd(bot: Bot, *scripts: Callable[[web.WebSocketResponse], Awaitable[None]] | int) -> OddSlack:
    """Run the transport against such a Slack until its ordinary connection has its ack."""
    slack = OddSlack(*scripts)
    web_api = await slack.start()
    bot.gate = Gate(web_api, await Installations.single(bot.web_api, bot.slack.bot_token), bot.handle)
    server = SocketMode(web_api, "xapp-odd", bot.gate)
    await server.start()
    async with asyncio.timeout(10):
        while "last" not in slack.acks and bot.failures == 0:
            await asyncio.sleep(0.01)
    await server.stop()
    await web_api.aclose()
    await slack.runner.cleanup()
    return slack


async def say_nothing(socket: web.WebSocketResponse) -> None:
    """Accept the connection, never say hello."""
    async for _ in socket:
        pass


async def turn_away(socket: web.WebSocketResponse) -> None:
    """Refuse one connection too many."""
    await socket.send_json({"type": "disconnect", "reason": "too_many_websockets"})
    await socket.close()


async def hang_up(socket: web.WebSocketResponse) -> None:
    """Say hello, and goodbye."""
    await socket.send_json({"type": "hello", "num_connections": 1})
    await socket.close()


async def mumble(socket: web.WebSocketResponse) -> None:
    """Say things no specification knows, then leave."""
    await socket.send_json({"type": "hello", "num_connections": 1})
    for frame in ("{", "[]", "7", '{"type": "new"}', '{"envelope_id": 7}', "[" * 100_000):
        await socket.send_str(frame)
    await socket.send_bytes(b"\xff")
    odd_bodies: list[object] = [None, [], {"type": "event_callback", "event": 7}]
    for number, body in enumerate(odd_bodies):
        await socket.send_json(
            {"envelope_id": f"odd {number}", "payload": body, "retry_attempt": [], "retry_reason": 7}
        )
    for _ in range(3):
        await socket.receive(timeout=5)
    await socket.close()


async def test_a_ticket_is_used_once(bot: Bot, caplog: pytest.LogCaptureFixture) -> None:
    """A refused connection is tried again with a new ticket, and no ticket is logged."""
    slack = await odd(bot, 403, 500)
    assert slack.tickets == ["0", "1", "2"]
    assert [line["status"] for line in logged(caplog, "socket.failed")] == [403, 500]
    assert "ticket=" not in caplog.text


async def test_no_hello(bot: Bot, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that never says hello is given up."""
    monkeypatch.setattr(sockets, "HELLO_SECONDS", 0.1)
    assert len((await odd(bot, say_nothing)).tickets) == 2


async def test_too_many_connections(bot: Bot) -> None:
    """A connection that is turned away instead of welcomed is tried again, without waiting for its hello."""
    async with asyncio.timeout(5):
        assert len((await odd(bot, turn_away, turn_away)).tickets) == 3


async def test_short_lives(bot: Bot) -> None:
    """A Slack that hangs up again and again is asked with growing pauses."""
    assert len((await odd(bot, hang_up, hang_up)).tickets) == 3


async def test_strange_frames(bot: Bot) -> None:
    """Whatever comes over the line, the line holds, and every envelope is acked."""
    assert len((await odd(bot, mumble)).tickets) == 2


def test_ports_fit() -> None:
    """Both transports are servers, and the client is a chat."""
    from slackbot.ports import Chat

    servers: list[type[SlackServer]] = [SocketMode, Webhooks]
    chats: list[type[Chat]] = [SlackChat]
    assert servers
    assert chats
