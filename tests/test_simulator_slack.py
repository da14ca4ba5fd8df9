"""The simulated Slack, held to its contract by Slack's own libraries: slack_bolt and slack_sdk."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from aiohttp import web
from slack_bolt.adapter.socket_mode.async_handler import AsyncSocketModeHandler
from slack_bolt.async_app import AsyncAck, AsyncApp
from slack_bolt.authorization import AuthorizeResult
from slack_sdk.errors import SlackApiError
from slack_sdk.http_retry.builtin_async_handlers import AsyncRateLimitErrorRetryHandler
from slack_sdk.signature import SignatureVerifier
from slack_sdk.web.async_client import AsyncWebClient

from slackbot.simulator.slack import Grants, SlackSimulator, limits, world
from slackbot.simulator.slack.clock import Clock
from slackbot.simulator.slack.rate import RateLimits
from slackbot.simulator.slack.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

Json = dict[str, Any]
BUTTONS: Json = {
    "type": "actions",
    "elements": [
        {"type": "button", "action_id": "retry", "text": {"type": "plain_text", "text": "Retry"}, "value": "turn-1"},
        {"type": "button", "action_id": "stop", "text": {"type": "plain_text", "text": "Stop"}, "value": "turn-1"},
    ],
}


@pytest.fixture
async def sim() -> AsyncIterator[SlackSimulator]:
    """A strict workspace without latency, whose retries come quickly."""
    simulator = SlackSimulator(latency=0.0, retry_delays=(0.0, 0.1, 0.2), ack_timeout=0.3)
    await simulator.start()
    yield simulator
    await simulator.stop()


@pytest.fixture
def client(sim: SlackSimulator) -> AsyncWebClient:
    """Slack's own Web API client, without retries."""
    return AsyncWebClient(token=sim.bot_token, base_url=sim.api_url, retry_handlers=[])


class Listening:
    """A Bolt app that writes down every event and press it gets."""

    def __init__(self, client: AsyncWebClient, signing_secret: str | None = None) -> None:
        self.bodies: list[Json] = []
        self.actions: list[Json] = []
        self.app = AsyncApp(client=client, signing_secret=signing_secret, ignoring_self_events_enabled=False)
        self.app.event("message")(self._event)
        self.app.event("app_mention")(self._event)
        self.app.event("reaction_added")(self._event)
        self.app.event("agent_session_stopped")(self._event)
        self.app.action("retry")(self._action)
        self.app.shortcut("take_over")(self._action)

    @property
    def events(self) -> list[Json]:
        """The inner events so far."""
        return [body["event"] for body in self.bodies]

    def has(self, count: int) -> Callable[[], bool]:
        """A condition to wait for: so many events arrived."""
        return lambda: len(self.bodies) == count

    async def _event(self, body: Json) -> None:
        self.bodies.append(body)

    async def _action(self, ack: AsyncAck, body: Json) -> None:
        await ack()
        self.actions.append(body)


@asynccontextmanager
async def connected(sim: SlackSimulator, app: AsyncApp) -> AsyncIterator[AsyncSocketModeHandler]:
    """Run an app over Socket Mode."""
    handler = AsyncSocketModeHandler(app, sim.app_token, ping_interval=1)
    await handler.connect_async()  # type: ignore[no-untyped-call]
    await sim.wait(lambda: sim.connections)
    yield handler
    await handler.close_async()  # type: ignore[no-untyped-call]


@asynccontextmanager
async def served(app: AsyncApp) -> AsyncIterator[str]:
    """Run an app behind a request URL."""
    runner = web.AppRunner(app.web_app("/slack/events"))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}/slack/events"
    await runner.cleanup()


@asynccontextmanager
async def request_url(answer: Callable[[web.Request], Awaitable[web.Response]]) -> AsyncIterator[str]:
    """Serve a request URL without Bolt."""
    app = web.Application()
    app.router.add_post("/", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}/"
    await runner.cleanup()


async def refusal(call: Awaitable[Any]) -> Json:
    """The response of a call that must fail."""
    with pytest.raises(SlackApiError) as failure:
        await call
    data: Json = failure.value.response.data
    return data


# --- Socket Mode ---------------------------------------------------------------------------------------------


async def test_a_mention_arrives_twice_as_twins(sim: SlackSimulator, client: AsyncWebClient) -> None:
    """A mention in a channel makes two acked events of one message, with two event ids."""
    bolt = Listening(client)
    async with connected(sim, bolt.app):
        ts = await sim.say(sim.users["ada"], sim.channels["general"], f"<@{sim.bot_user_id}> hello")
        await sim.wait(bolt.has(2))
        await sim.wait(lambda: all(delivery.acked for delivery in sim.deliveries))
    by_type = {event["type"]: event for event in bolt.events}
    assert {event["ts"] for event in bolt.events} == {ts}
    assert len({body["event_id"] for body in bolt.bodies}) == 2
    assert by_type["message"]["channel_type"] == "channel"
    assert "channel_type" not in by_type["app_mention"]
    assert bolt.bodies[0]["authorizations"][0] == {
        "enterprise_id": None,
        "team_id": sim.team_id,
        "user_id": sim.bot_user_id,
        "is_bot": True,
        "is_enterprise_install": False,
    }


async def test_twins_come_in_either_order() -> None:
    """Over several mentions each twin comes first at least once."""
    sim = SlackSimulator(latency=0.0, seed=3)
    await sim.start()
    bolt = Listening(AsyncWebClient(token=sim.bot_token, base_url=sim.api_url))
    async with connected(sim, bolt.app):
        for number in range(8):
            await sim.say(sim.users["ben"], sim.channels["random"], f"<@{sim.bot_user_id}> {number}")
            await sim.wait(bolt.has(2 * number + 2))
    await sim.stop()
    assert {event["type"] for event in bolt.events[::2]} == {"message", "app_mention"}


@pytest.mark.parametrize(
    ("channel", "kind"), [("general", "channel"), ("secret-project", "group"), ("mpim", "mpim"), ("dm", "im")]
)
async def test_channel_types(sim: SlackSimulator, client: AsyncWebClient, channel: str, kind: str) -> None:
    """Every kind of channel names itself, and a direct message makes no mention event."""
    bolt = Listening(client)
    channel_id = sim.dm("ada") if channel == "dm" else sim.channels[channel]
    async with connected(sim, bolt.app):
        await sim.say(sim.users["ada"], channel_id, f"<@{sim.bot_user_id}> hello")
        await sim.wait(lambda: sim.deliveries and all(delivery.done for delivery in sim.deliveries))
    messages = [event for event in bolt.events if event["type"] == "message"]
    assert [event["channel_type"] for event in messages] == [kind]
    assert len(bolt.events) == (1 if kind == "im" else 2)


async def test_a_thread_reply_names_its_thread(sim: SlackSimulator, client: AsyncWebClient) -> None:
    """A reply carries the root's ts and its author; a file makes it a file_share."""
    bolt = Listening(client)
    async with connected(sim, bolt.app):
        root = await sim.say(sim.users["ada"], sim.channels["general"], "the root")
        await sim.say(sim.users["ben"], sim.channels["general"], "", root, files=[{"id": "F1", "name": "a.txt"}])
        await sim.wait(bolt.has(2))
    reply = next(event for event in bolt.events if event["ts"] != root)
    assert (reply["thread_ts"], reply["parent_user_id"]) == (root, sim.users["ada"])
    assert (reply["subtype"], reply["files"]) == ("file_share", [{"id": "F1", "name": "a.txt"}])
    assert (await client.files_info(file="F1"))["file"]["name"] == "a.txt"


async def test_our_own_posts_edits_and_deletions_echo(sim: SlackSimulator, client: AsyncWebClient) -> None:
    """The bot is told of its own message, of every edit of it, and of its deletion."""
    bolt = Listening(client)
    async with connected(sim, bolt.app):
        posted = await client.chat_postMessage(channel=sim.channels["general"], text="one")
        await client.chat_update(channel=posted["channel"], ts=posted["ts"], text="two")
        await client.chat_delete(channel=posted["channel"], ts=posted["ts"])
        await sim.wait(bolt.has(3))
    post, change, deletion = sorted(bolt.events, key=lambda event: str(event["ts"]))
    assert (post["bot_id"], post.get("subtype")) == (sim.bot_id, None)
    assert (change["subtype"], change["hidden"]) == ("message_changed", True)
    assert (change["previous_message"]["text"], change["message"]["text"]) == ("one", "two")
    assert (deletion["subtype"], deletion["deleted_ts"]) == ("message_deleted", posted["ts"])


async def test_people_edit_delete_and_react(sim: SlackSimulator, client: AsyncWebClient) -> None:
    """A person's edit, deletion and reaction are told as Slack tells them."""
    bolt = Listening(client)
    ada, general = sim.users["ada"], sim.channels["general"]
    async with connected(sim, bolt.app):
        ts = await sim.say(ada, general, "helo")
        await sim.edit_message(ada, general, ts, "hello")
        await sim.react(ada, general, ts, "eyes")
        await sim.delete_message(ada, general, ts)
        await sim.wait(bolt.has(4))
    kinds = {event.get("subtype") or event["type"]: event for event in bolt.events}
    assert kinds["message_changed"]["message"]["edited"]["user"] == ada
    assert kinds["reaction_added"]["item"]["ts"] == ts
    assert kinds["message_deleted"]["deleted_ts"] == ts
    with pytest.raises(ValueError, match="has no message"):
        await sim.edit_message(ada, general, ts, "again")


async def test_what_changes_a_message(sim: SlackSimulator, client: AsyncWebClient) -> None:
    """A preview changes a message that nobody edited; the deleted root of a thread leaves a tombstone."""
    bolt = Listening(client)
    ada, general = sim.users["ada"], sim.channels["general"]
    async with connected(sim, bolt.app):
        root = await sim.say(ada, general, "<https://plan.example>")
        await sim.unfurl(general, root)
        await sim.say(ada, general, "reply", root)
        await sim.edit_message(ada, general, root, "<https://plan.example> is new")
        await sim.delete_message(ada, general, root)
        await sim.wait(bolt.has(5))
    changes = sorted((event for event in bolt.events if "message" in event), key=lambda event: str(event["ts"]))
    preview, edit, tombstone = (event["message"] for event in changes)
    assert ("edited" in preview, preview["attachments"][0]["id"], preview["ts"]) == (False, 1, root)
    assert preview["text"] == changes[0]["previous_message"]["text"]
    assert (edit["edited"]["user"], edit["text"], edit["reply_count"]) == (ada, "<https://plan.example> is new", 1)
    assert (tombstone["subtype"], tombstone["ts"], tombstone["user"]) == ("tombstone", root, "USLACKBOT")
    assert changes[2]["previous_message"]["text"] == edit["text"]
    with pytest.raises(ValueError, match="no message"):
        await sim.unfurl(general, root)


async def test_an_agent_session_is_stopped(sim: SlackSimulator, client: AsyncWebClient) -> None:
    """An app with the agent feature hears of Slack's own Stop; one without has no such thing."""
    bolt = Listening(client)
    ada, general = sim.users["ada"], sim.channels["general"]
    root = await sim.say(ada, general, "root")
    async with connected(sim, bolt.app):
        assert (await sim.stop_session(ada, general, root)).acked
    (event,) = (event for event in bolt.events if event["type"] == "agent_session_stopped")
    assert (event["channel"], event["thread_ts"], event["user"]) == (general, root, ada)
    with pytest.raises(ValueError, match="no thread"):
        await sim.stop_session(ada, general, "1.000000")
    features: Json = {"agent_view": {}, "app_home": {"messages_tab_enabled": True}}
    for manifest in ({}, {"features": features}):
        scopes = {"oauth_config": {"scopes": {"bot": ["chat:write"]}}}
        other = SlackSimulator(grants=Grants(manifest | scopes))
        root = await other.say(ada, general, "root")
        with pytest.raises(ValueError, match="no agent sessions"):
            await other.stop_session(ada, general, root)


async def test_an_unacked_event_comes_again(sim: SlackSimulator, client: AsyncWebClient) -> None:
    """An event nothing acks is delivered four times in all, numbered and with the reason."""
    seen: list[tuple[str, str]] = []

    async def refuse(headers: dict[str, list[str]]) -> None:
        seen.append((headers["x-slack-retry-num"][0], headers["x-slack-retry-reason"][0]))
        raise RuntimeError("not now")

    async def authorize(**_context: object) -> AuthorizeResult:
        raise AssertionError("never reached")

    app = AsyncApp(client=client, authorize=authorize, before_authorize=_middleware(refuse))
    async with connected(sim, app):
        await sim.say(sim.users["ada"], sim.dm("ada"), "hello")
        await sim.wait(lambda: sum(delivery.done for delivery in sim.deliveries) == 4)
    assert seen == [("0", ""), ("1", "timeout"), ("2", "timeout"), ("3", "timeout")]
    assert len({delivery.event_id for delivery in sim.deliveries}) == 1
    assert len({delivery.envelope_id for delivery in sim.deliveries}) == 4
    assert not any(delivery.acked for delivery in sim.deliveries)


def _middleware(refuse: Callable[[dict[str, list[str]]], Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    async def before_authorize(request: Any, next: Callable[[], Awaitable[None]]) -> None:  # noqa: A002  Bolt's names
        await refuse(request.headers)
        await next()

    return before_authorize


async def test_events_without_a_socket_wait_as_retries(sim: SlackSimulator, client: AsyncWebClient) -> None:
    """What happens while no socket is open arrives after the connection opens, as a retry."""
    ts = await sim.say(sim.users["ada"], sim.dm("ada"), "anybody there?")
    await sim.wait(lambda: sim.deliveries and sim.deliveries[0].done)
    bolt = Listening(client)
    async with connected(sim, bolt.app):
        await sim.wait(lambda: any(delivery.acked for delivery in sim.deliveries))
    assert [event["ts"] for event in bolt.events] == [ts]
    assert (sim.deliveries[0].acked, sim.deliveries[0].failure) == (False, "connection_failed")
    assert sim.deliveries[-1].attempt >= 1


@pytest.mark.parametrize("reason", ["refresh_requested", "warning", "abort"])
async def test_the_client_comes_back(sim: SlackSimulator, client: AsyncWebClient, reason: Any) -> None:
    """After a disconnect, announced or not, the real client opens another connection and gets events again."""
    bolt = Listening(client)
    async with connected(sim, bolt.app):
        await sim.disconnect_sockets(reason)
        await sim.wait(lambda: sum(call.method == "apps.connections.open" for call in sim.calls) == 2)
        await sim.wait(lambda: sim.connections == 1)
        await sim.say(sim.users["ada"], sim.dm("ada"), "still there?")
        await sim.wait(lambda: bolt.bodies)
    assert bolt.events[0]["text"] == "still there?"


async def test_a_silent_socket_is_noticed(sim: SlackSimulator, client: AsyncWebClient) -> None:
    """A connection that answers no ping is given up by the real client, and a new one is opened."""
    bolt = Listening(client)
    async with connected(sim, bolt.app):
        await sim.disconnect_sockets("silent")
        await sim.wait(lambda: sum(call.method == "apps.connections.open" for call in sim.calls) == 2, timeout=15)


async def test_one_app_has_ten_connections_at_most(sim: SlackSimulator) -> None:
    """A ticket opens one connection, each says how many there are, and the eleventh is sent away."""
    app_client = AsyncWebClient(token=sim.app_token, base_url=sim.api_url)
    async with aiohttp.ClientSession() as session:
        sockets, counts = [], []
        for _ in range(10):
            opened = await app_client.apps_connections_open(app_token=sim.app_token)
            sockets.append(await session.ws_connect(opened["url"]))
            counts.append((await sockets[-1].receive_json())["num_connections"])
        assert counts == list(range(1, 11))
        opened = await app_client.apps_connections_open(app_token=sim.app_token)
        eleventh = await session.ws_connect(opened["url"])
        assert (await eleventh.receive_json())["reason"] == "too_many_websockets"
        with pytest.raises(aiohttp.WSServerHandshakeError):
            await session.ws_connect(opened["url"])


async def test_redeliveries_and_raw_events(sim: SlackSimulator, client: AsyncWebClient) -> None:
    """Any event can be delivered again or made up; what Slack sends outside events keeps its shape."""
    bolt = Listening(client)
    async with connected(sim, bolt.app):
        made_up = {"type": "message", "subtype": "channel_topic", "channel": "C1", "user": "U1", "ts": "1.000001"}
        first = await sim.raw_event(made_up)
        again = await sim.redeliver(first.event_id)
        limited = await sim.raw_event({"type": "app_rate_limited", "team_id": sim.team_id, "minute_rate_limited": 1})
    assert first.acked
    assert again.acked
    assert [event["subtype"] for event in bolt.events] == ["channel_topic", "channel_topic"]
    assert bolt.bodies[0]["event_id"] == bolt.bodies[1]["event_id"] == first.event_id
    assert not limited.acked


# --- Signed HTTP -----------------------------------------------------------------------------------------------


async def test_signed_http_is_verified_by_bolt(sim: SlackSimulator, client: AsyncWebClient) -> None:
    """Bolt's own verification takes the handshake, the events and the presses, and refuses another secret."""
    bolt = Listening(client, sim.signing_secret)
    async with served(bolt.app) as url:
        transport = sim.deliver_over_http(url)
        assert await transport.verify_url()
        await sim.say(sim.users["ada"], sim.dm("ada"), "über HTTP")
        await sim.wait(lambda: bolt.bodies)
        posted = await client.chat_postMessage(channel=sim.dm("ada"), text="failed", blocks=[BUTTONS])
        pressed = await sim.press(sim.users["ada"], sim.dm("ada"), posted["ts"], "retry")
    assert (pressed.acked, pressed.status) == (True, 200)
    assert bolt.actions[0]["actions"][0]["value"] == "turn-1"
    assert bolt.events[0]["text"] == "über HTTP"
    assert not SignatureVerifier("another secret").is_valid_request("{}", transport.signed(b"{}", "application/json"))


async def test_http_retries_carry_their_headers(sim: SlackSimulator) -> None:
    """A failing request URL gets three retries, and none after it asks for none."""
    seen: list[tuple[str | None, str | None]] = []

    async def fail(request: web.Request) -> web.Response:
        seen.append((request.headers.get("x-slack-retry-num"), request.headers.get("x-slack-retry-reason")))
        if (await request.json())["event"]["text"] == "slow":
            await asyncio.sleep(1)
        no_retry = {"x-slack-no-retry": "1"} if len(seen) == 2 else {}
        return web.Response(status=500, headers=no_retry)

    async with request_url(fail) as url:
        sim.deliver_over_http(url)
        await sim.say(sim.users["ada"], sim.dm("ada"), "one")
        await sim.wait(lambda: sum(delivery.done for delivery in sim.deliveries) == 2)
        await sim.say(sim.users["ada"], sim.dm("ada"), "slow")
        await sim.wait(lambda: sum(delivery.done for delivery in sim.deliveries) == 6)
    assert seen[:2] == [(None, None), ("1", "http_error")]
    assert seen[2:] == [(None, None), ("1", "http_timeout"), ("2", "http_timeout"), ("3", "http_timeout")]


async def test_a_dead_request_url_is_a_connection_failure(sim: SlackSimulator) -> None:
    """Nobody listening is recorded as such."""
    sim.deliver_over_http("http://127.0.0.1:9/")
    assert (await sim.raw_event({"type": "message"})).failure == "connection_failed"


# --- Web API: who may call, how often --------------------------------------------------------------------------


async def test_tokens_and_unknown_methods(sim: SlackSimulator, client: AsyncWebClient) -> None:
    """No token, a wrong one, one of the wrong kind and a method that is not there each have their error."""
    anonymous = AsyncWebClient(base_url=sim.api_url)
    assert (await refusal(anonymous.auth_test()))["error"] == "not_authed"
    assert (await refusal(anonymous.auth_test(token="xoxb-other")))["error"] == "invalid_auth"
    assert (await refusal(client.apps_connections_open(app_token=sim.bot_token)))["error"] == "not_allowed_token_type"
    assert (await refusal(client.api_call("chat.nonsense")))["error"] == "unknown_method"
    assert (await client.auth_test())["user_id"] == sim.bot_user_id
    assert "chat:write" in (await client.auth_test()).headers["x-oauth-scopes"]
    async with aiohttp.ClientSession() as session:
        form = {"token": sim.bot_token, "user": sim.users["ada"]}
        async with session.post(f"{sim.api_url}users.info", data=form) as response:
            assert (await response.json())["user"]["profile"]["display_name"] == "Ada"
        async with session.post(
            f"{sim.api_url}users.info", data="[", headers={"Content-Type": "application/json"}
        ) as bad:
            assert (await bad.json())["error"] == "invalid_json"
    assert not any("token" in call.args for call in sim.calls)


async def test_an_edit_too_many_waits_for_its_window(sim: SlackSimulator, client: AsyncWebClient) -> None:
    """The edit over the limit is a 429 with Retry-After, and Slack's own retry handler gets it through after that."""
    sim.set_limit("chat.update", 2, window=1)
    channel = sim.channels["general"]
    ts = (await client.chat_postMessage(channel=channel, text="0"))["ts"]
    for text in ("1", "2"):
        await client.chat_update(channel=channel, ts=ts, text=text)
    with pytest.raises(SlackApiError) as failure:
        await client.chat_update(channel=channel, ts=ts, text="3")
    assert failure.value.response.status_code == 429
    assert failure.value.response.headers["Retry-After"] == "1"
    assert failure.value.response["error"] == "ratelimited"
    client.retry_handlers.append(AsyncRateLimitErrorRetryHandler(max_retry_count=1))
    await client.chat_update(channel=channel, ts=ts, text="4")
    assert [version.text for version in sim.timeline(channel, ts)] == ["0", "1", "2", "4"]
    assert [call.status for call in sim.calls if call.method == "chat.update"] == [200, 200, 429, 429, 200]


async def test_posts_come_in_bursts_of_three(sim: SlackSimulator, client: AsyncWebClient) -> None:
    """A channel takes three posts at once and then one a second; another channel is not affected."""
    statuses = []
    for channel in ("general", "general", "general", "random", "general"):
        try:
            statuses.append((await client.chat_postMessage(channel=sim.channels[channel], text="x")).status_code)
        except SlackApiError as error:
            statuses.append(error.response.status_code)
    assert statuses == [200, 200, 200, 200, 429]


def test_windows_slide_and_buckets_fill() -> None:
    """Fifty edits pass within any sixty seconds; a post more than the burst passes a second later."""
    rates = RateLimits(enforced=True)
    assert [rates.admit("chat.update", "C1", at) for at in range(50)] == [0.0] * 50
    assert rates.admit("chat.update", "C1", 50) == 10
    assert rates.admit("chat.update", "C1", 60.5) == 0
    assert rates.admit("chat.update", "C1", 60.5) == pytest.approx(0.5)
    assert [rates.admit("chat.postMessage", "C1", 0.0) for _ in range(4)] == [0.0, 0.0, 0.0, 1.0]
    assert rates.admit("chat.postMessage", "C1", 1.0) == 0.0


# --- Web API: what may be written ------------------------------------------------------------------------------


PLAIN: Json = {"type": "plain_text", "text": "y"}
FEEDBACK: Json = {
    "type": "feedback_buttons",
    "action_id": "feedback",
    "positive_button": {"text": PLAIN, "value": "up"},
    "negative_button": {"text": PLAIN, "value": "down"},
}
IMAGE: Json = {"type": "image", "image_url": "https://e.org/i.png", "alt_text": "an image"}


def section(text: str, **more: object) -> Json:
    """A section of mrkdwn text."""
    return {"type": "section", "text": {"type": "mrkdwn", "text": text}, **more}


def markdown(text: str) -> Json:
    """A markdown block."""
    return {"type": "markdown", "text": text}


def button(**fields: object) -> Json:
    """An actions block with one button."""
    plain = {"type": "plain_text", "text": "Go"}
    return {"type": "actions", "elements": [{"type": "button", "action_id": "go", "text": plain, **fields}]}


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"text": "x", "channel": "C404"}, "channel_not_found"),
        ({}, "no_text"),
        ({"text": ""}, "no_text"),
        ({"text": "x", "markdown_text": "y"}, "markdown_text_conflict"),
        ({"markdown_text": "y" * 12_001}, "msg_too_long"),
        ({"text": "x", "thread_ts": "1.000000"}, "thread_not_found"),
        ({"text": "x", "blocks": ["a string"]}, "invalid_blocks"),
        ({"text": "x", "blocks": [{"type": "actions", "elements": ["a string"]}]}, "invalid_blocks"),
        ({"text": "x", "blocks": [markdown("y" * 6_001)] * 2}, "msg_blocks_too_long"),
        ({"text": "x", "blocks": [markdown("ü" * 6_600)]}, "msg_blocks_too_long"),
        ({"text": "x", "blocks": [section("y" * 2_900)] * 5}, "msg_blocks_too_long"),
        ({"text": "x", "blocks": [{"type": "divider"}] * 51}, "invalid_blocks"),
        ({"text": "x", "blocks": [{"type": "poem"}]}, "invalid_blocks"),
        ({"text": "x", "blocks": [markdown("")]}, "invalid_blocks"),
        ({"text": "x", "blocks": [{"type": "section"}]}, "invalid_blocks"),
        ({"text": "x", "blocks": [section("y" * 3_001)]}, "invalid_blocks"),
        ({"text": "x", "blocks": [section("y", block_id="b" * 256)]}, "invalid_blocks"),
        ({"text": "x", "blocks": [section("y", block_id="b"), section("z", block_id="b")]}, "invalid_blocks"),
        ({"text": "x", "blocks": [button(text={"type": "plain_text", "text": "y" * 76})]}, "invalid_blocks"),
        ({"text": "x", "blocks": [button(text={"type": "mrkdwn", "text": "y"})]}, "invalid_blocks"),
        ({"text": "x", "blocks": [button(value="v" * 2_001)]}, "invalid_blocks"),
        ({"text": "x", "blocks": [button(accessibility_label="a" * 76)]}, "invalid_blocks"),
        ({"text": "x", "blocks": [button(action_id="a" * 256)]}, "invalid_blocks"),
        ({"text": "x", "blocks": [button(style="loud")]}, "invalid_blocks"),
        ({"text": "x", "blocks": [{"type": "actions", "elements": []}]}, "invalid_blocks"),
        ({"text": "x", "blocks": [section("y", fields=[{"type": "mrkdwn", "text": "f"}] * 11)]}, "invalid_blocks"),
        ({"text": "x", "blocks": [section("y", accessory={"type": "lamp"})]}, "invalid_blocks"),
        ({"text": "x", "blocks": [{"type": "header", "text": {"type": "mrkdwn", "text": "y"}}]}, "invalid_blocks"),
        ({"text": "x", "blocks": [{"type": "context", "elements": [PLAIN] * 11}]}, "invalid_blocks"),
        ({"text": "x", "blocks": [{"type": "image", "image_url": "https://e.org/i.png"}]}, "invalid_blocks"),
        ({"text": "x", "blocks": [{"type": "context_actions", "elements": [FEEDBACK] * 2}]}, "invalid_blocks"),
        ({"text": "x", "blocks": "nonsense"}, "invalid_blocks_format"),
        ({"text": "x", "metadata": {"event_type": "turn"}}, "invalid_metadata_format"),
        ({"text": "x", "metadata": {"event_type": "t", "event_payload": {"a": {"b": {}}}}}, "invalid_metadata_schema"),
        ({"text": "x", "metadata": {"event_type": "t", "event_payload": {"a": "v" * 8_000}}}, "metadata_too_large"),
    ],
)
async def test_posts_slack_would_refuse(
    sim: SlackSimulator, client: AsyncWebClient, arguments: Json, error: str
) -> None:
    """Every size and shape beyond Slack's limits is refused with Slack's code, and nothing is posted."""
    response = await refusal(
        client.api_call("chat.postMessage", json={"channel": sim.channels["general"], **arguments})
    )
    assert response["error"] == error
    assert (error == "invalid_blocks") == ("[ERROR]" in json.dumps(response.get("response_metadata")))
    assert not sim.messages(sim.channels["general"])


async def test_the_largest_message_passes(sim: SlackSimulator, client: AsyncWebClient) -> None:
    """What is exactly as large as allowed is taken; longer plain text is cut with a warning."""
    channel = sim.channels["general"]
    blocks = [markdown("y" * 12_000), section("z"), {"type": "divider"}, button(value="v" * 900)]
    await client.chat_postMessage(channel=channel, text="x", blocks=blocks)
    cut = await client.chat_postMessage(channel=channel, text="x" * 40_001)
    assert cut["warning"] == "message_truncated"
    assert [len(message.shown) for message in sim.messages(channel)] == [12_000, 40_000]


async def test_every_block_the_bot_may_use_passes(sim: SlackSimulator, client: AsyncWebClient) -> None:
    """A message of all block types is taken, and each block but markdown gets a name of its own."""
    blocks = [
        {"type": "header", "text": PLAIN},
        section("y", fields=[PLAIN], accessory=IMAGE),
        {"type": "context", "elements": [IMAGE, {"type": "mrkdwn", "text": "y"}]},
        {"type": "context_actions", "elements": [FEEDBACK]},
        {"type": "table", "rows": [[{"type": "raw_text", "text": "y"}]]},
        button(url="https://e.org/", style="danger"),
        IMAGE,
        markdown("y"),
    ]
    posted = await client.chat_postMessage(channel=sim.dm("ada"), text="x", blocks=blocks)
    names = [block.get("block_id") for block in posted["message"]["blocks"]]
    assert names[-1] is None
    assert len(set(names)) == len(names)
    assert (await sim.press(sim.users["ada"], sim.dm("ada"), posted["ts"], "feedback", "down")).kind == "interactive"


async def test_channels_the_bot_may_not_post_to(sim: SlackSimulator, client: AsyncWebClient) -> None:
    """Outside, archived and unseen channels each refuse in their own way; a mention still reaches the bot."""
    general, secret = sim.channels["general"], sim.channels["secret-project"]
    bolt = Listening(client)
    async with connected(sim, bolt.app):
        sim.change_channel(general, with_bot=False)
        assert (await refusal(client.chat_postMessage(channel=general, text="x")))["error"] == "not_in_channel"
        await sim.say(sim.users["ada"], general, f"<@{sim.bot_user_id}> hello")
        await sim.wait(lambda: bolt.bodies)
        assert [event["type"] for event in bolt.events] == ["app_mention"]
    sim.change_channel(general, archived=True)
    assert (await refusal(client.chat_postMessage(channel=general, text="x")))["error"] == "is_archived"
    sim.change_channel(secret, with_bot=False)
    assert (await refusal(client.chat_postMessage(channel=secret, text="x")))["error"] == "channel_not_found"


async def test_edits(sim: SlackSimulator, client: AsyncWebClient) -> None:
    """An edit by text shows "(edited)" and drops blocks, one by blocks does neither; metadata stays until emptied."""
    channel = sim.channels["general"]
    metadata = {"event_type": "turn", "event_payload": {"turn": "t1"}}
    ts = (await client.chat_postMessage(channel=channel, text="a", blocks=[markdown("a")], metadata=metadata))["ts"]
    await client.chat_update(channel=channel, ts=ts, text="b", blocks=[markdown("**b**")])
    message = sim.messages(channel)[0]
    assert (message.shown, message.edited, message.metadata) == ("**b**", None, metadata)
    await client.chat_update(channel=channel, ts=ts, text="c", metadata={})
    message = sim.messages(channel)[0]
    assert (message.shown, message.blocks, message.metadata) == ("c", (), None)
    assert message.edited is not None
    assert [version.shown for version in sim.timeline(channel, ts)] == ["a", "**b**", "c"]


async def test_edits_slack_would_refuse(sim: SlackSimulator, client: AsyncWebClient) -> None:
    """Too long a text, another's message, a deleted one and a missing one are refused."""
    channel = sim.channels["general"]
    ts = (await client.chat_postMessage(channel=channel, text="a"))["ts"]
    theirs = await sim.say(sim.users["ada"], channel, "mine")
    update = client.chat_update
    assert (await refusal(update(channel=channel, ts=ts, text="x" * 4_001)))["error"] == "msg_too_long"
    assert (await update(channel=channel, ts=ts, text="x" * 4_000))["ok"]
    assert (await refusal(update(channel=channel, ts=theirs, text="x")))["error"] == "cant_update_message"
    assert (await refusal(client.chat_delete(channel=channel, ts=theirs)))["error"] == "cant_delete_message"
    await client.chat_delete(channel=channel, ts=ts)
    assert (await refusal(update(channel=channel, ts=ts, text="x")))["error"] == "message_not_found"
    reply = await sim.say(sim.users["ada"], channel, "a reply", theirs)
    astray = client.chat_postMessage(channel=channel, text="x", thread_ts=reply)
    assert (await refusal(astray))["error"] == "cannot_reply_to_message"


# --- Web API: what may be read ---------------------------------------------------------------------------------


async def test_a_message_is_found_by_its_metadata(sim: SlackSimulator, client: AsyncWebClient) -> None:
    """conversations.replies tells the payload only when asked, and starts with the root."""
    channel = sim.channels["general"]
    root = await sim.say(sim.users["ada"], channel, "root")
    metadata = {"event_type": "turn", "event_payload": {"turn": "t1"}}
    ts = (await client.chat_postMessage(channel=channel, text="a", thread_ts=root, metadata=metadata))["ts"]
    told = await client.conversations_replies(
        channel=channel, ts=root, include_all_metadata=True, oldest=ts, inclusive=True
    )
    assert [message["ts"] for message in told["messages"]] == [root, ts]
    assert told["messages"][1]["metadata"] == metadata
    untold = await client.conversations_replies(channel=channel, ts=root)
    assert untold["messages"][1]["metadata"] == {"event_type": "turn"}
    assert untold["messages"][0]["reply_count"] == 1
    assert (await refusal(client.conversations_replies(channel=channel, ts="1.0")))["error"] == "thread_not_found"


async def test_long_threads_come_in_pages(sim: SlackSimulator, client: AsyncWebClient) -> None:
    """Every page of a thread starts with the root, and the cursor leads through all replies once."""
    channel, ada = sim.channels["general"], sim.users["ada"]
    root = await sim.say(ada, channel, "root")
    replies = [await sim.say(ada, channel, str(number), root) for number in range(7)]
    pages = [
        [message["ts"] for message in page["messages"]]
        async for page in await client.conversations_replies(channel=channel, ts=root, limit=3)
    ]
    assert [page[0] for page in pages] == [root] * 3
    assert [ts for page in pages for ts in page[1:]] == replies
    between = await client.conversations_replies(channel=channel, ts=root, oldest=replies[0], latest=replies[3])
    assert [message["ts"] for message in between["messages"]] == [root, *replies[1:3]]


async def test_history_shows_the_channel_itself(sim: SlackSimulator, client: AsyncWebClient) -> None:
    """conversations.history is newest first, without replies, with broadcasts, and with a tombstone for a lost root."""
    channel, ada = sim.channels["general"], sim.users["ada"]
    root = await sim.say(ada, channel, "root")
    await sim.say(ada, channel, "reply", root)
    broadcast = await sim.say(ada, channel, "broadcast", root, subtype="thread_broadcast")
    last = await sim.say(ada, channel, "last")
    await sim.delete_message(ada, channel, root)
    found = (await client.conversations_history(channel=channel))["messages"]
    assert [message["ts"] for message in found] == [last, broadcast, root]
    assert found[2]["subtype"] == "tombstone"
    one = await client.conversations_history(channel=channel, latest=last, inclusive=True, limit=1)
    assert [message["text"] for message in one["messages"]] == ["last"]
    assert (await client.chat_postMessage(channel=channel, text="still here", thread_ts=root))["ok"]


async def test_people_and_channels(sim: SlackSimulator, client: AsyncWebClient) -> None:
    """The small world is told as Slack tells it: a guest is a stranger, and a shared channel says that it is."""
    guest = (await client.users_info(user=sim.users["guest"]))["user"]
    assert (guest["is_stranger"], guest["team_id"] != sim.team_id) == (True, True)
    assert (await client.users_info(user=sim.bot_user_id))["user"]["is_bot"]
    assert (await refusal(client.users_info(user="U404")))["error"] == "user_not_found"
    assert len((await client.users_list())["members"]) == len(sim.users)
    assert (await client.conversations_info(channel=sim.channels["partners"]))["channel"]["is_ext_shared"]
    opened = await client.conversations_open(users=sim.users["ada"], return_im=True)
    assert (opened["channel"]["id"], opened["channel"]["user"]) == (sim.dm("ada"), sim.users["ada"])
    private = await client.conversations_list(types="private_channel,im")
    assert {channel["id"] for channel in private["channels"]} >= {sim.channels["secret-project"], sim.dm("olga")}
    assert (await client.team_info())["team"]["name"] == "Acme"
    members = await client.conversations_members(channel=sim.channels["mpim"])
    assert set(members["members"]) == {sim.users["ada"], sim.users["ben"], sim.bot_user_id}


async def test_guests_groups_and_leavers(sim: SlackSimulator, client: AsyncWebClient) -> None:
    """A guest is restricted, who leaves is deleted and in no channel, and a user group has its members."""
    support, olga = sim.channels["support"], sim.users["olga"]
    visitor = sim.add_user("visitor", guest=True)
    sim.join(visitor, support)
    assert (await client.users_info(user=visitor))["user"]["is_restricted"]
    assert set((await client.conversations_members(channel=support))["members"]) == {olga, visitor, sim.bot_user_id}
    (group,) = (await client.usergroups_list())["usergroups"]
    assert (await client.usergroups_users_list(usergroup=group["id"]))["users"] == [olga]
    assert (await refusal(client.usergroups_users_list(usergroup="S0NONE")))["error"] == "no_such_subteam"
    sim.dismiss(olga)
    sim.join(visitor, support, leave=True)
    assert (await client.usergroups_users_list(usergroup=group["id"]))["users"] == []
    assert (await client.users_info(user=olga))["user"]["deleted"]
    assert (await client.conversations_members(channel=support))["members"] == [sim.bot_user_id]


async def test_under_another_name(sim: SlackSimulator, client: AsyncWebClient) -> None:
    """A customized message has its name and picture, and no user; without the scope it is refused."""
    general = sim.channels["general"]
    olga = (await client.users_info(user=sim.users["olga"]))["user"]["profile"]
    look = {"username": olga["display_name"], "icon_url": olga["image_72"]}
    said = (await client.chat_postMessage(channel=general, text="Hello", **look))["message"]
    assert (said["username"], said["subtype"], said["bot_id"]) == ("Olga", "bot_message", sim.bot_id)
    assert "user" not in said
    strict = SlackSimulator(grants=Grants(scopes={"chat:write"}))
    await strict.start()
    other = AsyncWebClient(token=strict.bot_token, base_url=strict.api_url)
    refused = await refusal(other.chat_postMessage(channel=general, text="Hello", username="Olga"))
    assert (refused["error"], refused["needed"]) == ("missing_scope", "chat:write.customize")
    assert (await other.chat_postMessage(channel=general, text="Hello"))["ok"]
    await strict.stop()


async def test_agent_sessions(sim: SlackSimulator, client: AsyncWebClient) -> None:
    """A thread's session has the state it was given last; an app without the agent feature has no sessions."""
    general = sim.channels["general"]
    root = await sim.say(sim.users["ada"], general, "hello")
    where = {"channel_id": general, "thread_ts": root}
    for state in ("processing", "suspended"):
        assert (await client.api_call("agents.sessions.setStatus", json=where | {"status": state}))["ok"]
        assert sim.session(general, root) == state
    for wrong, error in (({"status": "busy"}, "invalid_arguments"), ({"thread_ts": "1.1"}, "invalid_thread_ts")):
        body = where | {"status": "active"} | wrong
        assert (await refusal(client.api_call("agents.sessions.setStatus", json=body)))["error"] == error
    plain = SlackSimulator(grants=Grants({"oauth_config": {"scopes": {"bot": ["chat:write"]}}}))
    await plain.start()
    other = AsyncWebClient(token=plain.bot_token, base_url=plain.api_url)
    body = where | {"status": "active"}
    assert (await refusal(other.api_call("agents.sessions.setStatus", json=body)))["error"] == "not_authorized"
    await plain.stop()


async def test_reactions_and_links(sim: SlackSimulator, client: AsyncWebClient) -> None:
    """A reaction is added once and removed once; a permalink names channel and thread."""
    channel = sim.channels["general"]
    ts = await sim.say(sim.users["ada"], channel, "hello")
    await client.reactions_add(channel=channel, timestamp=ts, name="eyes")
    again = client.reactions_add(channel=channel, timestamp=ts, name="eyes")
    assert (await refusal(again))["error"] == "already_reacted"
    told = await client.reactions_get(channel=channel, timestamp=ts)
    assert told["message"]["reactions"] == [{"name": "eyes", "users": [sim.bot_user_id], "count": 1}]
    await client.reactions_remove(channel=channel, timestamp=ts, name="eyes")
    assert sim.messages(channel)[0].reactions == {}
    link = (await client.chat_getPermalink(channel=channel, message_ts=ts))["permalink"]
    assert link == f"{sim.page_url}archives/{channel}/p{ts.replace('.', '')}"


# --- Status, whispers, buttons -----------------------------------------------------------------------------------


async def test_a_status_goes_with_the_answer(sim: SlackSimulator, client: AsyncWebClient) -> None:
    """The status shows in its thread until the app posts there, or clears it."""
    channel = sim.channels["general"]
    root = await sim.say(sim.users["ada"], channel, "hello")
    set_status = client.assistant_threads_setStatus
    await set_status(channel_id=channel, thread_ts=root, status="is thinking…")
    assert sim.status(channel, root) == "is thinking…"
    await client.chat_postMessage(channel=channel, thread_ts=root, text="hello")
    assert sim.status(channel, root) == ""
    await set_status(channel_id=channel, thread_ts=root, status="again", loading_messages=["one"])
    await set_status(channel_id=channel, thread_ts=root, status="")
    assert sim.status(channel, root) == ""
    nowhere = set_status(channel_id=channel, thread_ts="1.000000", status="x")
    assert (await refusal(nowhere))["error"] == "invalid_thread_ts"


def test_a_status_lasts_two_minutes() -> None:
    """A status nobody renews is gone after 120 seconds; timestamps grow even when the clock stands still."""
    now = 1_000.0
    workspace = Workspace(world.people(), world.rooms(), Clock(monotonic=lambda: now, wall=lambda: 5.0))
    workspace.set_status("C0GENERAL", "1.000000", "thinking")
    now += limits.STATUS_SECONDS - 1
    assert workspace.statuses() == {("C0GENERAL", "1.000000"): "thinking"}
    now += 1
    assert workspace.statuses() == {}
    assert [workspace.next_ts() for _ in range(2)] == ["5.000000", "5.000001"]


async def test_a_press_reaches_the_bot(sim: SlackSimulator, client: AsyncWebClient) -> None:
    """A button's press is acked, carries its value, and its response URL answers five times."""
    bolt = Listening(client)
    channel, ada = sim.channels["general"], sim.users["ada"]
    async with connected(sim, bolt.app), aiohttp.ClientSession() as session:
        root = await sim.say(ada, channel, "hello")
        ts = (await client.chat_postMessage(channel=channel, thread_ts=root, text="failed", blocks=[BUTTONS]))["ts"]
        assert (await sim.press(ada, channel, ts, "retry")).acked
        await sim.wait(lambda: bolt.actions)
        url = bolt.actions[0]["response_url"]
        await session.post(url, json={"text": "for you alone"})
        await session.post(url, json={"text": "for all", "response_type": "in_channel", "thread_ts": root})
        await session.post(url, json={"text": "done", "replace_original": True})
        await session.post(url, json={"delete_original": True})
        await session.post(url, json={"text": "fifth"})
        sixth = await session.post(url, json={"text": "sixth"})
    payload = bolt.actions[0]
    assert payload["actions"][0]["value"] == "turn-1"
    assert payload["container"] == {
        "type": "message",
        "message_ts": ts,
        "channel_id": channel,
        "is_ephemeral": False,
        "thread_ts": root,
    }
    assert payload["message"]["blocks"][0]["block_id"] == payload["actions"][0]["block_id"]
    assert [version.shown for version in sim.timeline(channel, ts)] == ["failed", "done", "done"]
    assert [message.shown for message in sim.messages(channel, root)] == ["hello", "for all"]
    whispers = [(whisper.shown, whisper.ephemeral_to) for whisper in sim.whispers]
    assert whispers == [("for you alone", ada), ("fifth", ada)]
    assert (sixth.status, await sixth.json()) == (404, {"ok": False, "error": "used_url"})


async def test_a_press_nobody_can_make(sim: SlackSimulator, client: AsyncWebClient) -> None:
    """A button that is not there, or in a channel the person is not in, cannot be pressed."""
    ts = (await client.chat_postMessage(channel=sim.dm("ada"), text="x", blocks=[BUTTONS]))["ts"]
    with pytest.raises(ValueError, match="has no button 'launch'"):
        await sim.press(sim.users["ada"], sim.dm("ada"), ts, "launch")
    with pytest.raises(ValueError, match="sees no message"):
        await sim.press(sim.users["ben"], sim.dm("ada"), ts, "retry")


async def test_a_whisper_has_one_reader(sim: SlackSimulator, client: AsyncWebClient) -> None:
    """An ephemeral message is in no history, and its buttons work for its reader alone."""
    bolt = Listening(client)
    channel, ada, ben = sim.channels["general"], sim.users["ada"], sim.users["ben"]
    async with connected(sim, bolt.app):
        ts = (await client.chat_postEphemeral(channel=channel, user=ada, text="psst", blocks=[BUTTONS]))["message_ts"]
        assert (await sim.press(ada, channel, ts, "retry")).acked
        await sim.wait(lambda: bolt.actions)
        with pytest.raises(ValueError, match="sees no message"):
            await sim.press(ben, channel, ts, "retry")
    assert sim.messages(channel) == []
    assert (await client.conversations_history(channel=channel))["messages"] == []
    assert bolt.actions[0]["container"]["is_ephemeral"]
    assert "message" not in bolt.actions[0]
    outsider = client.chat_postEphemeral(channel=channel, user=sim.users["guest"], text="x")
    assert (await refusal(outsider))["error"] == "user_not_in_channel"


async def test_a_whisper_changes_and_goes(sim: SlackSimulator, client: AsyncWebClient) -> None:
    """Through its response URL an ephemeral message is replaced and deleted, and not after that."""
    bolt = Listening(client)
    channel, ada = sim.channels["general"], sim.users["ada"]
    async with connected(sim, bolt.app), aiohttp.ClientSession() as session:
        ts = (await client.chat_postEphemeral(channel=channel, user=ada, text="psst", blocks=[BUTTONS]))["message_ts"]
        await sim.press(ada, channel, ts, "retry", "turn-1")
        await sim.wait(lambda: bolt.actions)
        url = bolt.actions[0]["response_url"]
        await session.post(url, json={"replace_original": True, "text": "changed"})
        assert [whisper.shown for whisper in sim.whispers] == ["changed"]
        await session.post(url, json={"delete_original": True})
        assert sim.whispers == []
        refused = [
            await (await session.post(url, json=body)).json()
            for body in ({"replace_original": True, "text": "again"}, {"text": ""})
        ]
        unknown = await session.post(f"{sim.page_url}actions/nonsense", json={"text": "x"})
    assert [answer["error"] for answer in refused] == ["message_not_found", "no_text"]
    assert unknown.status == 404


# --- Faults ------------------------------------------------------------------------------------------------------


async def test_ordered_troubles(sim: SlackSimulator, client: AsyncWebClient) -> None:
    """A fault strikes after so many calls, so many times, and only the calls it is meant for."""
    channel = sim.channels["general"]
    sim.faults.add(method="chat.postMessage", error="fatal_error", after=1)
    sim.faults.add(method="chat.update", error="ratelimited", retry_after=7)
    sim.faults.add(method="chat.update", error="block_mismatch", when=lambda args: "blocks" in args, times=None)
    ts = (await client.chat_postMessage(channel=channel, text="a"))["ts"]
    assert (await refusal(client.chat_postMessage(channel=channel, text="b")))["error"] == "fatal_error"
    with pytest.raises(SlackApiError) as limited:
        await client.chat_update(channel=channel, ts=ts, text="c")
    assert (limited.value.response.status_code, limited.value.response.headers["Retry-After"]) == (429, "7")
    blocks = client.chat_update(channel=channel, ts=ts, text="d", blocks=[markdown("d")])
    assert (await refusal(blocks))["error"] == "block_mismatch"
    assert (await client.chat_update(channel=channel, ts=ts, text="e"))["ok"]
    sim.faults.clear()
    sim.faults.add(method="*", status=503)
    with pytest.raises(SlackApiError):
        await client.auth_test()
    started = time.monotonic()
    sim.faults.add(method="auth.test", delay=0.2)
    await client.auth_test()
    assert time.monotonic() - started >= 0.2


async def test_lost_connections(sim: SlackSimulator, client: AsyncWebClient) -> None:
    """A connection lost before a post leaves nothing behind, one lost after it leaves a message nobody knows of."""
    channel = sim.channels["general"]
    sim.faults.add(method="chat.postMessage", drop="before")
    sim.faults.add(method="chat.postMessage", drop="after")
    for text in ("lost", "posted"):
        with pytest.raises(aiohttp.ClientError):
            await client.chat_postMessage(channel=channel, text=text)
    assert [message.shown for message in sim.messages(channel)] == ["posted"]


# --- The page and the other process ------------------------------------------------------------------------------


async def test_the_page_lives(sim: SlackSimulator, client: AsyncWebClient) -> None:
    """The page reads the workspace, hears every change, and a person types, presses, edits and deletes through it."""
    ada, general = sim.users["ada"], sim.channels["general"]
    bolt = Listening(client)
    async with connected(sim, bolt.app), aiohttp.ClientSession(sim.page_url) as session:
        news = await session.get("/page/events")

        async def heard() -> Json:
            async for line in news.content:
                if line.startswith(b"data: "):
                    found: Json = json.loads(line.removeprefix(b"data: "))
                    if found["type"] != "line":
                        return found
            raise AssertionError("the stream ended")

        said = await _post(session, "/page/say", user=ada, channel=general, text="@agent is 1 < 2?")
        message = await heard()
        assert (message["type"], message["ts"]) == ("message", said["ts"])
        assert message["text"] == f"<@{sim.bot_user_id}> is 1 &lt; 2?"
        assert message["username"] == "Ada"
        await client.assistant_threads_setStatus(channel_id=general, thread_ts=said["ts"], status="is thinking…")
        assert (await heard())["status"] == "is thinking…"
        posted = await client.chat_postMessage(channel=general, text="failed", blocks=[BUTTONS])
        await heard()
        assert await _post(session, "/page/press", user=ada, channel=general, ts=posted["ts"], action_id="retry") == {
            "ok": True,
            "acked": True,
        }
        await _post(session, "/page/edit", user=ada, channel=general, ts=said["ts"], text="never mind")
        assert (await heard())["edited"]
        await _post(session, "/page/delete", user=ada, channel=general, ts=said["ts"])
        assert (await heard())["deleted"]
        state = await (await session.get("/page/state")).json()
        wrong = await _post(session, "/page/say", user=ada, channel="C404", text="x")
        missing = await _post(session, "/page/say", user=ada)
        assert (await session.get("/")).content_type == "text/html"
        assert (await session.get("/nothing.js")).status == 404
        news.close()
    assert [message["text"] for message in state["messages"]] == ["failed"]
    thinking = {"channel": general, "thread_ts": said["ts"], "status": "is thinking…", "loading": []}
    assert state["statuses"] == [thinking]
    assert ada in state["me"]
    assert sim.bot_user_id not in state["me"]
    assert missing == {"ok": False, "error": "missing or unknown: text"}
    assert wrong == {"ok": False, "error": f"no user {ada} or no channel C404"}


async def _post(session: aiohttp.ClientSession, path: str, **body: object) -> Json:
    async with session.post(path, json=body) as response:
        answer: Json = await response.json()
        return answer


async def test_the_python_surface_says_what_is_wrong(sim: SlackSimulator) -> None:
    """Impossible deeds are ValueErrors in words, and a wait in vain names the last calls."""
    ada, general = sim.users["ada"], sim.channels["general"]
    with pytest.raises(ValueError, match="is not in"):
        await sim.say(ada, sim.dm("ben"), "x")
    with pytest.raises(ValueError, match="no thread"):
        await sim.say(ada, general, "x", "1.000000")
    with pytest.raises(ValueError, match="no message"):
        await sim.react(ada, general, "1.000000", "eyes")
    with pytest.raises(TimeoutError, match="last calls: none"):
        await sim.wait(lambda: False, timeout=0.1)
    zoe = sim.add_user("zoe")
    await sim.say(zoe, general, "hello")
    await sim.say(zoe, sim.dm("zoe"), "hello")
    with pytest.raises(OSError, match="in use"):
        await SlackSimulator().start(int(sim.page_url.split(":")[2].strip("/")))


async def test_without_limits_twins_and_echoes(client: AsyncWebClient) -> None:
    """Each strictness can be turned off: no 429, one event for a mention, none for the bot's own message."""
    sim = SlackSimulator(latency=0.0, enforce_limits=False, twins=False, echoes=False)
    await sim.start()
    bolt = Listening(AsyncWebClient(token=sim.bot_token, base_url=sim.api_url))
    async with connected(sim, bolt.app):
        for _ in range(5):
            await bolt.app.client.chat_postMessage(channel=sim.channels["general"], text="x")
        await sim.say(sim.users["ada"], sim.channels["general"], f"<@{sim.bot_user_id}> hello")
        await sim.wait(bolt.has(1))
    await sim.stop()
    assert [event["type"] for event in bolt.events] == ["app_mention"]


async def test_control_over_http(sim: SlackSimulator, client: AsyncWebClient) -> None:
    """Everything a benchmark needs from another process is there, and a misuse is refused in words."""
    ada, general = sim.users["ada"], sim.channels["general"]
    bolt = Listening(client)
    async with connected(sim, bolt.app), aiohttp.ClientSession(sim.page_url) as session:
        ts = (await client.chat_postMessage(channel=general, text="failed", blocks=[BUTTONS]))["ts"]
        pressed = await _post(session, "/sim/press", user=ada, channel=general, ts=ts, action_id="retry")
        mine = (await _post(session, "/sim/say", user=ada, channel=general, text="helo"))["ts"]
        stopped = await _post(session, "/sim/stop", user=ada, channel=general, thread_ts=mine)
        await _post(session, "/sim/edit", user=ada, channel=general, ts=mine, text="hello")
        assert [message.text for message in sim.messages(general)] == ["failed", "hello"]
        await _post(session, "/sim/delete", user=ada, channel=general, ts=mine)
        await sim.wait(bolt.has(4))
        sim.shortcuts["take_over"] = "Take over"
        chosen = await _post(session, "/sim/shortcut", user=ada, channel=general, ts=ts, callback_id="take_over")
        cleo = (await _post(session, "/sim/user", name="cleo", guest=True))["user"]
        for leave in (False, True):
            await _post(session, "/sim/join", user=cleo, channel=sim.channels["support"], leave=leave)
            assert (cleo in sim._workspace.channels[sim.channels["support"]].members) is not leave
        await _post(session, "/sim/dismiss", user=cleo)
        assert sim._workspace.users[cleo].deleted
        await _post(session, "/sim/limit", method="users.info", calls=0, window=9)
        assert (await refusal(client.users_info(user=ada)))["error"] == "ratelimited"
        await _post(session, "/sim/disconnect", reason="refresh_requested")
        wrong = await _post(session, "/sim/say", user=ada)
        deliveries = await (await session.get("/sim/deliveries")).json()
        world_seen = await (await session.get("/sim/world")).json()
        await _post(session, "/sim/http", url="http://127.0.0.1:9/")
        assert (await sim.raw_event({"type": "message"})).failure == "connection_failed"
    assert (pressed["acked"], stopped["acked"], stopped["what"]) == (True, True, "agent_session_stopped")
    assert (chosen["acked"], chosen["channel"], chosen["user"]) == (True, general, ada)
    assert sorted(delivery["what"] for delivery in deliveries) == [
        "agent_session_stopped",
        "block_actions retry",
        "message",
        "message",
        "message_action take_over",
        "message_changed",
        "message_deleted",
    ]
    assert world_seen["api_url"] == sim.api_url
    assert wrong == {"error": "KeyError: 'channel'"}


async def test_another_process_drives_it(client: AsyncWebClient) -> None:
    """Started as a program it says where it is, and `/sim/…` does and tells what the Python surface does."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "slackbot.simulator.slack", "--latency", "0", stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    told = json.loads(await process.stdout.readline())
    remote = AsyncWebClient(token=told["bot_token"], base_url=told["api_url"])
    async with aiohttp.ClientSession(told["page_url"]) as session:
        channel = (await _post(session, "/sim/channel", name="load"))["channel"]
        root = (await _post(session, "/sim/say", user=told["users"]["ada"], channel=channel, text="hello"))["ts"]
        await _post(session, "/sim/faults", method="chat.postMessage", error="fatal_error")
        failed = remote.chat_postMessage(channel=channel, text="x")
        assert (await refusal(failed))["error"] == "fatal_error"
        await remote.chat_postMessage(channel=channel, text="hi", thread_ts=root)
        thread = await (await session.get("/sim/thread", params={"channel": channel, "ts": root})).json()
        calls = await (await session.get("/sim/calls", params={"since": "1"})).json()
    process.terminate()
    assert await process.wait() == 0
    assert [message["shown"] for message in thread["messages"]] == ["hello", "hi"]
    assert [(call["method"], call["ok"]) for call in calls] == [("chat.postMessage", True)]
