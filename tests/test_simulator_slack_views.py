"""The simulated Slack's modals, triggers and files, as the app meets them: through Slack's own client."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from slackbot.simulator.slack import SlackSimulator
from slackbot.simulator.slack.clock import Clock
from slackbot.simulator.slack.errors import SlackError
from slackbot.simulator.slack.triggers import Triggers

Json = dict[str, Any]


def plain(text: str) -> Json:
    """A plain text object."""
    return {"type": "plain_text", "text": text}


def modal(*blocks: object, **more: object) -> Json:
    """A modal."""
    return {"type": "modal", "title": plain("Title"), "submit": plain("Send"), "blocks": list(blocks), **more}


def field(**element: object) -> Json:
    """An input block with a text field."""
    return {
        "type": "input",
        "block_id": "b",
        "label": plain("Label"),
        "element": {"type": "plain_text_input", "action_id": "a", **element},
    }


BUTTON: Json = {
    "type": "actions",
    "elements": [{"type": "button", "action_id": "go", "text": plain("Go"), "value": "1"}],
}


class App:
    """A request URL that answers every interaction with `answer`, or refuses it."""

    def __init__(self) -> None:
        self.got: list[Json] = []
        self.answer: Json | None = {}

    async def handle(self, request: web.Request) -> web.Response:
        """Take an interaction or an event."""
        if request.content_type == "application/json":
            return web.Response()
        payload = (await request.post())["payload"]
        assert isinstance(payload, str)
        self.got.append(json.loads(payload))
        return web.Response(status=500) if self.answer is None else web.json_response(self.answer)


@pytest.fixture
async def sim() -> AsyncIterator[SlackSimulator]:
    """A workspace without latency."""
    simulator = SlackSimulator(latency=0.0, enforce_limits=False)
    await simulator.start()
    yield simulator
    await simulator.stop()


@pytest.fixture
def client(sim: SlackSimulator) -> AsyncWebClient:
    """Slack's own Web API client, without retries."""
    return AsyncWebClient(token=sim.bot_token, base_url=sim.api_url, retry_handlers=[])


@pytest.fixture
async def app(sim: SlackSimulator) -> AsyncIterator[App]:
    """The app, behind signed HTTP."""
    found, server = App(), web.Application()
    server.router.add_post("/", found.handle)
    runner = web.AppRunner(server)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    sim.deliver_over_http(f"http://127.0.0.1:{runner.addresses[0][1]}/")
    yield found
    await runner.cleanup()


async def triggered(sim: SlackSimulator, client: AsyncWebClient, app: App) -> str:
    """Ada presses a button; the trigger id the app gets."""
    general = sim.channels["general"]
    ts = (await client.chat_postMessage(channel=general, text="x", blocks=[BUTTON]))["ts"]
    await sim.press(sim.users["ada"], general, str(ts), "go")
    return str(app.got[-1]["trigger_id"])


async def refusal(call: Awaitable[Any]) -> Json:
    """The response of a call that must fail."""
    with pytest.raises(SlackApiError) as failure:
        await call
    data: Json = failure.value.response.data
    return data


def test_a_trigger_lasts_three_seconds() -> None:
    """A trigger id is good once, for three seconds, and only if it was ever made."""
    now = 0.0
    triggers = Triggers(Clock(monotonic=lambda: now))
    first, second = triggers.make("U1"), triggers.make("U2")
    assert triggers.take(first) == "U1"
    with pytest.raises(SlackError, match="exchanged_trigger_id"):
        triggers.take(first)
    now = 3.1
    with pytest.raises(SlackError, match="expired_trigger_id"):
        triggers.take(second)
    with pytest.raises(SlackError, match="invalid_trigger_id"):
        triggers.take("1.2.three")


async def test_views_are_opened_pushed_and_updated(sim: SlackSimulator, client: AsyncWebClient, app: App) -> None:
    """The stack holds three views; an update needs the view's id and, where it is given, its latest hash."""
    ada = sim.users["ada"]
    trigger = await triggered(sim, client, app)
    opened = (await client.views_open(trigger_id=trigger, view=modal(external_id="mine")))["view"]
    assert (await refusal(client.views_open(trigger_id=trigger, view=modal())))["error"] == "exchanged_trigger_id"
    await client.views_push(trigger_id=await triggered(sim, client, app), view=modal())
    pushed = (await client.views_push(trigger_id=await triggered(sim, client, app), view=modal()))["view"]
    assert (pushed["root_view_id"], len(sim.views.shown(ada))) == (opened["id"], 3)
    fourth = client.views_push(trigger_id=await triggered(sim, client, app), view=modal())
    assert (await refusal(fourth))["error"] == "push_limit_reached"
    update = client.views_update
    changed = (await update(external_id="mine", view=modal(BUTTON, external_id="mine"), hash=opened["hash"]))["view"]
    assert (changed["id"], changed["hash"] == opened["hash"]) == (opened["id"], False)
    stale = update(view_id=opened["id"], view=modal(), hash=opened["hash"])
    assert (await refusal(stale))["error"] == "hash_conflict"
    assert (await refusal(update(view_id="V404", view=modal())))["error"] == "not_found"
    for view in reversed(sim.views.shown(ada)):
        await sim.views.close(ada, view["id"])
    alone = client.views_push(trigger_id=await triggered(sim, client, app), view=modal())
    assert (await refusal(alone))["error"] == "not_found"


@pytest.mark.parametrize(
    "view",
    [
        {"type": "home", "blocks": []},
        modal(title=plain("t" * 25)),
        modal(close=plain("c" * 25)),
        modal(submit=None) | {"blocks": [field()]},
        modal(private_metadata="m" * 3_001),
        modal(blocks="none"),
        modal(*[{"type": "divider"}] * 101),
        modal(field(type="lamp")),
        modal({"type": "input", "element": {"type": "plain_text_input"}}),
        modal(field(type="static_select", options=[])),
        modal(field(type="static_select", options=["one"])),
        modal(field(type="static_select", options=[{"text": plain("t" * 76), "value": "v"}])),
        modal(field(type="static_select", options=[{"text": plain("t"), "value": "v" * 151}])),
        modal(field(type="radio_buttons", options=[{"text": plain("t"), "value": "v"}] * 11)),
        modal(field(type="static_select", option_groups=[{"label": plain("g"), "options": []}])),
    ],
)
async def test_views_slack_would_refuse(sim: SlackSimulator, client: AsyncWebClient, app: App, view: Json) -> None:
    """A modal of a wrong shape or size is refused with a line for each problem, and nothing opens."""
    refused = await refusal(client.views_open(trigger_id=await triggered(sim, client, app), view=view))
    assert refused["error"] == "invalid_arguments"
    assert "[ERROR]" in refused["response_metadata"]["messages"][0]
    assert sim.views.shown(sim.users["ada"]) == []


async def test_a_form_over_http(sim: SlackSimulator, client: AsyncWebClient, app: App) -> None:
    """What an app answers to a submission over HTTP is obeyed as over a socket; silence is trouble in words."""
    ada = sim.users["ada"]
    group = {"label": plain("All"), "options": [{"text": plain("One"), "value": "1"}]}
    chosen = field(type="static_select", option_groups=[group]) | {"block_id": "c", "optional": True}
    view = modal(field(), chosen, BUTTON, notify_on_close=True)
    opened = (await client.views_open(trigger_id=await triggered(sim, client, app), view=view))["view"]
    entered = {"b": {"a": "words"}, "c": {"a": "1"}}
    app.answer = {"response_action": "errors", "errors": {"b": "No."}}
    assert await sim.views.submit(ada, opened["id"], entered) == {"errors": {"b": "No."}}
    assert app.got[-1]["view"]["state"]["values"]["c"]["a"]["selected_option"]["value"] == "1"
    assert (await sim.views.submit(ada, opened["id"], {}))["errors"] == {"b": "Please complete this required field."}
    app.answer = None
    assert "did not answer" in (await sim.views.submit(ada, opened["id"], entered))["trouble"]
    app.answer = {}
    await sim.views.press(ada, opened["id"], "go", None, entered)
    assert app.got[-1]["container"] == {"type": "view", "view_id": opened["id"]}
    with pytest.raises(ValueError, match="no element"):
        await sim.views.press(ada, opened["id"], "stop", None, {})
    with pytest.raises(ValueError, match="sees no view"):
        await sim.views.submit(sim.users["ben"], opened["id"], entered)
    await sim.views.close(ada, opened["id"])
    assert (app.got[-1]["type"], app.got[-1]["is_cleared"]) == ("view_closed", False)
    assert sim.views.shown(ada) == []


async def test_a_view_replaced_while_it_is_submitted(sim: SlackSimulator, client: AsyncWebClient, app: App) -> None:
    """An answer about a view that is no longer there changes nothing."""
    ada = sim.users["ada"]
    opened = (await client.views_open(trigger_id=await triggered(sim, client, app), view=modal()))["view"]
    trigger = await triggered(sim, client, app)
    answer = app.handle

    async def replaces(request: web.Request) -> web.Response:
        await client.views_open(trigger_id=trigger, view=modal(callback_id="second"))
        return await answer(request)

    server = web.Application()
    server.router.add_post("/", replaces)
    runner = web.AppRunner(server)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    sim.deliver_over_http(f"http://127.0.0.1:{runner.addresses[0][1]}/")
    assert await sim.views.submit(ada, opened["id"], {}) == {}
    assert [view["callback_id"] for view in sim.views.shown(ada)] == ["second"]
    await runner.cleanup()


async def test_uploads(sim: SlackSimulator) -> None:
    """A file needs a name and somebody; what was not uploaded is nowhere."""
    async with aiohttp.ClientSession(sim.page_url) as session:
        nameless = await session.post("/page/upload", params={"user": sim.users["ada"]}, data=b"x")
        strangers = await session.post("/page/upload", params={"user": "U404", "name": "a"}, data=b"x")
        assert (nameless.status, strangers.status) == (400, 400)
        sent = await session.post("/page/upload", params={"user": sim.users["ada"], "name": "a.md"}, data=b"# A")
        file = sim.files.find((await sent.json())["id"])
        assert (file["mimetype"], file["size"]) == ("text/markdown", 3)
        as_bot = {"Authorization": f"Bearer {sim.bot_token}"}
        for path in ("/page/files/F404", f"/files-pri/{sim.team_id}-F404/a.md"):
            assert (await session.get(path, headers=as_bot)).status == 404
        unknown = {"user": sim.users["ada"], "channel": sim.channels["general"], "text": "", "files": ["F404"]}
        assert (await session.post("/page/say", json=unknown)).status == 400


async def test_the_page_refuses_what_nobody_can_do(sim: SlackSimulator, client: AsyncWebClient) -> None:
    """Impossible deeds are answered with 400 and the reason."""
    ada, ben, general = sim.users["ada"], sim.users["ben"], sim.channels["general"]
    ts = (await client.chat_postEphemeral(channel=general, user=ada, text="psst"))["message_ts"]
    deeds: list[tuple[str, Json, str]] = [
        ("dismiss", {"user": ben, "channel": general, "ts": ts}, "sees no such message"),
        ("open", {"user": ada, "with": []}, "between people"),
        ("open", {"user": ada, "with": ["U404"]}, "between people"),
        ("switch", {"id": "lamp", "on": True}, "unknown: lamp"),
        ("shortcut", {"user": ada, "channel": general, "ts": ts, "callback_id": "x"}, "no shortcut"),
        ("react", {"user": ada, "channel": general, "ts": "1.0", "name": "eyes"}, "no message"),
    ]
    async with aiohttp.ClientSession(sim.page_url) as session:
        for deed, body, reason in deeds:
            answer = await session.post(f"/page/{deed}", json=body)
            assert answer.status == 400
            assert reason in (await answer.json())["error"]


async def test_conversations_open_for_several(sim: SlackSimulator, client: AsyncWebClient) -> None:
    """The bot opens a group DM with people, and the same people have the same one."""
    users = [sim.users["ada"], sim.users["olga"]]
    first = (await client.conversations_open(users=users, return_im=True))["channel"]
    again = (await client.conversations_open(users=users[::-1]))["channel"]
    assert first["is_mpim"]
    assert first["id"] == again["id"]
    await client.chat_postMessage(channel=first["id"], text="hello you two")
    assert (await refusal(client.conversations_open(users=[])))["error"] == "not_enough_users"
