"""Block Kit on the page works: buttons, selects, menus, feedback, shortcuts, modals. A small Bolt app is behind it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect
from slack_bolt.adapter.socket_mode.async_handler import AsyncSocketModeHandler
from slack_bolt.async_app import AsyncAck, AsyncApp
from slack_sdk.web.async_client import AsyncWebClient

from slackbot.domain import Body, Button
from slackbot.simulator.slack import SlackSimulator
from slackbot.slack.blocks import build
from tests.pages import CONTRAST, NAMELESS, WIDE

pytestmark = pytest.mark.asyncio(loop_scope="session")

Json = dict[str, Any]


def plain(text: str) -> Json:
    """A plain text object."""
    return {"type": "plain_text", "text": text}


def option(value: str, text: str) -> Json:
    """An option of a select."""
    return {"value": value, "text": plain(text)}


def asked(block_id: str, label: str, element: Json, **more: object) -> Json:
    """An input block, whose element's action id is `it`."""
    return {
        "type": "input",
        "block_id": block_id,
        "label": plain(label),
        "element": {"action_id": "it", **element},
        **more,
    }


def modal(title: str, *blocks: Json, **more: object) -> Json:
    """A modal with a Send button."""
    view = {"type": "modal", "callback_id": "form", "title": plain(title), "submit": plain("Send"), "blocks": blocks}
    return view | more


EVERY_FIELD = (
    asked(
        "why", "Why", {"type": "static_select", "options": [option("facts", "The facts"), option("tone", "The tone")]}
    ),
    asked(
        "words", "In your words", {"type": "plain_text_input", "multiline": True, "min_length": 5}, hint=plain("Short.")
    ),
    asked("may", "May we", {"type": "checkboxes", "options": [option("ask", "Ask"), option("quote", "Quote")]}),
    asked("who", "Who", {"type": "users_select"}, optional=True),
    asked("one", "Which", {"type": "radio_buttons", "options": [option("a", "A"), option("b", "B")]}, optional=True),
    asked("day", "Day", {"type": "datepicker", "initial_date": "2026-11-22"}),
)
CONTROLS: list[Json] = [
    {
        "type": "section",
        "text": {"type": "mrkdwn", "text": "Which agent?"},
        "accessory": {
            "type": "static_select",
            "action_id": "choose",
            "placeholder": plain("Choose an agent"),
            "options": [option("support", "Support"), option("sales", "Sales")],
        },
    },
    {
        "type": "actions",
        "elements": [
            {
                "type": "button",
                "action_id": "take",
                "text": plain("Take over"),
                "value": "7",
                "confirm": {
                    "title": plain("Sure?"),
                    "text": plain("The agent will be silent."),
                    "confirm": plain("Do it"),
                    "deny": plain("Leave it"),
                },
            },
            {"type": "overflow", "action_id": "more", "options": [option("logs", "Logs"), option("stop", "Stop")]},
        ],
    },
    {
        "type": "context_actions",
        "elements": [
            {
                "type": "feedback_buttons",
                "action_id": "feedback",
                "positive_button": {"text": plain("Good"), "value": "up"},
                "negative_button": {"text": plain("Bad"), "value": "down"},
            }
        ],
    },
]


class Scripted:
    """A bot that notes what it gets, opens `view` at a negative feedback, and answers submissions with `answers`."""

    def __init__(self, sim: SlackSimulator, client: AsyncWebClient) -> None:
        self.client = client
        self.view = modal("Your feedback", *EVERY_FIELD, notify_on_close=True)
        self.answers: list[Json] = []
        self.got: list[Json] = []
        self.sim = sim
        self.app = AsyncApp(client=client)
        self.app.action(re.compile(".*"))(self._action)
        self.app.view("form")(self._submitted)
        self.app.view_closed("form")(self._noted)
        self.app.shortcut("ask")(self._shortcut)
        self.app.event(re.compile(".*"))(self._event)

    async def _event(self) -> None:
        """Every event is welcome."""

    async def _action(self, ack: AsyncAck, body: Json) -> None:
        await ack()
        self.got.append(body)
        if body["actions"][0].get("value") == "down":
            await self.client.views_open(trigger_id=body["trigger_id"], view=self.view)
        if body["actions"][0]["action_id"] == "refresh":
            view = modal("Again", *EVERY_FIELD)
            await self.client.views_update(view_id=body["view"]["id"], hash=body["view"]["hash"], view=view)

    async def _shortcut(self, ack: AsyncAck, body: Json) -> None:
        await ack()
        self.got.append(body)
        async with aiohttp.ClientSession() as session:
            await session.post(body["response_url"], json={"text": "on it"})

    async def _submitted(self, ack: AsyncAck, body: Json) -> None:
        self.got.append(body)
        await ack(**(self.answers.pop(0) if self.answers else {}))

    async def _noted(self, ack: AsyncAck, body: Json) -> None:
        await ack()
        self.got.append(body)

    async def last(self, kind: str, count: int = 1) -> Json:
        """The newest interaction of a kind, once there are so many."""
        await self.sim.wait(lambda: sum(body["type"] == kind for body in self.got) >= count)
        return [body for body in self.got if body["type"] == kind][-1]


@pytest_asyncio.fixture(loop_scope="session")
async def script(sim: SlackSimulator, bot: AsyncWebClient) -> AsyncIterator[Scripted]:
    """The scripted bot, connected."""
    scripted = Scripted(sim, bot)
    handler = AsyncSocketModeHandler(scripted.app, sim.app_token)
    await handler.connect_async()  # type: ignore[no-untyped-call]
    await sim.wait(lambda: sim.connections)
    yield scripted
    await handler.close_async()  # type: ignore[no-untyped-call]


async def test_controls_of_a_message(page: Page, sim: SlackSimulator, bot: AsyncWebClient, script: Scripted) -> None:
    """A confirmed button, a select, an overflow menu and feedback each send what Slack would send."""
    await bot.chat_postMessage(channel=sim.channels["general"], text="Choose", blocks=CONTROLS)
    await page.get_by_role("button", name="Take over").click()
    await expect(page.get_by_role("dialog")).to_contain_text("Sure?The agent will be silent.")
    await page.get_by_role("button", name="Leave it").click()
    await page.get_by_role("button", name="Take over").click()
    await page.get_by_role("button", name="Do it").click()
    pressed = await script.last("block_actions")
    assert [body["actions"][0]["value"] for body in script.got] == ["7"]
    assert pressed["user"]["id"] == sim.users["ada"]
    await page.get_by_label("Choose an agent").select_option("Sales")
    action = (await script.last("block_actions", 2))["actions"][0]
    assert (action["type"], action["selected_option"]) == ("static_select", option("sales", "Sales"))
    await page.get_by_role("button", name="More", exact=True).click()
    await page.keyboard.press("ArrowDown")
    await page.keyboard.press("Enter")
    action = (await script.last("block_actions", 3))["actions"][0]
    assert (action["action_id"], action["selected_option"]["value"]) == ("more", "stop")
    await page.get_by_role("button", name="Good").click()
    await expect(page.get_by_role("button", name="Good")).to_have_attribute("aria-pressed", "true")
    assert (await script.last("block_actions", 4))["actions"][0]["value"] == "up"


async def test_the_agents_own_buttons(page: Page, sim: SlackSimulator, bot: AsyncWebClient, script: Scripted) -> None:
    """A growing answer has a step and Stop, a finished one everybody's own thumbs, a waiting question its mark."""
    ada, general = sim.users["ada"], sim.channels["general"]
    waiting = await sim.say(ada, general, "and then?")
    await bot.reactions_add(channel=general, timestamp=waiting, name="hourglass_flowing_sand")
    growing = Body("It was", step="Searching <the web>…", buttons=(Button.STOP,), turn_id=42)
    rated = Body("It was **moved**.", buttons=(Button.GOOD, Button.BAD), turn_id=42)
    for text, blocks in map(build, (growing, rated)):
        await bot.chat_postMessage(channel=general, text=text, blocks=blocks)
    await expect(page.locator(".reaction").first).to_have_text("⏳ 1")
    await expect(page.locator(".context")).to_have_text("Searching <the web>…")
    await page.get_by_role("button", name="Stop this answer").click()
    assert (await script.last("block_actions"))["actions"][0]["action_id"] == "stop_turn"
    bad = page.get_by_role("button", name="Bad answer")
    await bad.click()
    action = (await script.last("block_actions", 2))["actions"][0]
    assert (action["type"], action["value"]) == ("feedback_buttons", "bad:42")
    await expect(bad).to_have_attribute("aria-pressed", "true")
    await page.locator("#players").get_by_role("button", name="Ben").click()
    await expect(bad).to_have_attribute("aria-pressed", "false")
    assert await page.evaluate(CONTRAST) == []
    assert await page.evaluate(NAMELESS) == []


async def test_a_modal_from_first_to_last(
    page: Page, sim: SlackSimulator, bot: AsyncWebClient, script: Scripted
) -> None:
    """A form asks for what is missing, shows the app's errors, is replaced and pushed upon; nothing typed is lost."""
    await bot.chat_postMessage(channel=sim.channels["general"], text="How was it?", blocks=CONTROLS)
    script.answers = [
        {"response_action": "errors", "errors": {"words": "Not this one."}},
        {"response_action": "update", "view": modal("Second", *EVERY_FIELD[:2])},
        {"response_action": "push", "view": modal("Third", asked("last", "Last", {"type": "plain_text_input"}))},
        {},
        {"response_action": "clear"},
    ]
    dialog = page.get_by_role("dialog")
    await page.get_by_role("button", name="Bad").click()
    await expect(dialog).to_have_accessible_name("Your feedback")
    await expect(dialog.get_by_label("Why")).to_be_focused()
    await dialog.get_by_label("In your words").fill("long")
    await dialog.get_by_role("button", name="Send").click()
    await expect(dialog.locator(".problem")).to_have_text(
        [
            "Please complete this required field.",
            "Please write at least 5 characters.",
            "Please complete this required field.",
        ]
    )
    await expect(dialog.get_by_label("In your words")).to_have_value("long")
    await dialog.get_by_label("Why").select_option("The tone")
    await dialog.get_by_label("In your words").fill("long enough")
    await dialog.get_by_label("Quote").check()
    await dialog.get_by_label("B", exact=True).check()
    await dialog.get_by_label("Who").select_option("Ben")
    await dialog.get_by_role("button", name="Send").click()
    await expect(dialog.locator(".problem")).to_have_text(["Not this one."])
    await expect(dialog.get_by_label("In your words")).to_be_focused()
    sent = (await script.last("view_submission"))["view"]
    values = {block: held["it"] for block, held in sent["state"]["values"].items()}
    assert values == {
        "why": {"type": "static_select", "selected_option": option("tone", "The tone")},
        "words": {"type": "plain_text_input", "value": "long enough"},
        "may": {"type": "checkboxes", "selected_options": [option("quote", "Quote")]},
        "who": {"type": "users_select", "selected_user": sim.users["ben"]},
        "one": {"type": "radio_buttons", "selected_option": option("b", "B")},
        "day": {"type": "datepicker", "selected_date": "2026-11-22"},
    }
    await dialog.get_by_role("button", name="Send").click()
    await expect(dialog).to_have_accessible_name("Second")
    await expect(dialog.get_by_label("In your words")).to_have_value("long enough")
    await dialog.get_by_role("button", name="Send").click()
    await expect(dialog).to_have_accessible_name("Third")
    await dialog.get_by_label("Last").fill("end")
    await page.keyboard.press("Enter")
    await expect(dialog).to_have_accessible_name("Second")
    third = (await script.last("view_submission", 4))["view"]
    assert third["previous_view_id"] == third["root_view_id"] == sent["id"]
    await dialog.get_by_label("Why").select_option("The facts")
    await dialog.get_by_label("In your words").fill("once more")
    await dialog.get_by_role("button", name="Send").click()
    await expect(dialog).to_have_count(0)
    await script.last("view_submission", 5)


async def test_a_modal_is_closed_and_the_app_told(
    page: Page, sim: SlackSimulator, bot: AsyncWebClient, script: Scripted
) -> None:
    """Escape closes one modal, the cross the whole stack; the app hears of it, and another person never saw them."""
    await bot.chat_postMessage(channel=sim.channels["general"], text="How was it?", blocks=CONTROLS)
    again = {"type": "actions", "elements": [{"type": "button", "action_id": "refresh", "text": plain("Refresh")}]}
    script.view = modal("First", *EVERY_FIELD, again, notify_on_close=True)
    dialog = page.get_by_role("dialog")
    await page.get_by_role("button", name="Bad").click()
    await expect(dialog).to_be_visible()
    other = await page.context.new_page()
    await other.add_init_script(f"sessionStorage.setItem('slack-simulator/me', '{sim.users['ben']}')")
    await other.goto(sim.page_url)
    await expect(other.locator("#main .message")).to_have_count(1)
    await expect(other.get_by_role("dialog")).to_have_count(0)
    await other.close()
    await dialog.get_by_label("In your words").fill("kept")
    await page.reload()
    await expect(dialog).to_be_visible()
    await dialog.get_by_label("In your words").fill("kept")
    await dialog.get_by_role("button", name="Refresh").click()
    await expect(dialog).to_have_accessible_name("Again")
    await expect(dialog.get_by_label("In your words")).to_have_value("kept")
    assert (await script.last("block_actions", 2))["view"]["state"]["values"]["words"]["it"]["value"] == "kept"
    await page.keyboard.press("Escape")
    await expect(dialog).to_have_count(0)

    script.answers = [{"response_action": "push", "view": modal("Second", notify_on_close=True)}]
    script.view = modal("First", notify_on_close=True)
    await page.get_by_role("button", name="Bad").click()
    await dialog.get_by_role("button", name="Send").click()
    await expect(dialog).to_have_accessible_name("Second")
    await dialog.get_by_role("button", name="Close all").click()
    await expect(dialog).to_have_count(0)
    await script.last("view_closed", 2)
    closed = [
        (body["view"]["title"]["text"], body["is_cleared"]) for body in script.got if body["type"] == "view_closed"
    ]
    assert closed == [("Second", True), ("First", True)]
    await expect(page.get_by_role("button", name="Bad")).to_be_focused()


async def test_a_modal_whose_app_is_in_trouble(
    page: Page, sim: SlackSimulator, bot: AsyncWebClient, script: Scripted
) -> None:
    """An app that answers nonsense or is gone leaves the form as it was, with a sentence."""
    await bot.chat_postMessage(channel=sim.channels["general"], text="How was it?", blocks=CONTROLS)
    script.view = modal("Form", asked("words", "Words", {"type": "plain_text_input"}))
    script.answers = [{"response_action": "update", "view": {"type": "modal", "title": plain("t" * 25), "blocks": []}}]
    dialog = page.get_by_role("dialog")
    await page.get_by_role("button", name="Bad").click()
    await dialog.get_by_label("Words").fill("still here")
    await dialog.get_by_role("button", name="Send").click()
    await expect(dialog.locator(".problem")).to_contain_text("invalid_arguments")
    await sim.disconnect_sockets("silent")
    await dialog.get_by_role("button", name="Send").click()
    await expect(dialog.locator(".problem")).to_contain_text("did not answer")
    await expect(dialog.get_by_label("Words")).to_have_value("still here")


async def test_shortcuts_of_messages(page: Page, sim: SlackSimulator, script: Scripted) -> None:
    """The app's shortcuts are offered on every message, and the app may answer for the person alone."""
    general = sim.channels["general"]
    await sim.say(sim.users["ben"], general, "an older message")
    await expect(page.locator("#main .message")).to_have_count(1)
    await expect(page.get_by_role("button", name="More actions")).to_have_count(0)
    sim.shortcuts["ask"] = "Ask the agent"
    await page.reload()
    message = page.locator("#main .message").first
    await message.hover()
    await message.get_by_role("button", name="More actions").click()
    await page.get_by_role("menuitem", name="Ask the agent").click()
    used = await script.last("message_action")
    assert (used["callback_id"], used["message"]["text"]) == ("ask", "an older message")
    await expect(page.locator("#main .whisper")).to_contain_text("on it")
    with pytest.raises(ValueError, match="no shortcut"):
        await sim.use_shortcut(sim.users["ada"], general, used["message_ts"], "tell")


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_modals_are_readable_and_named(
    browser: Browser, sim: SlackSimulator, bot: AsyncWebClient, script: Scripted, scheme: str
) -> None:
    """In light and in dark a form with its errors has contrast enough, and every field a name."""
    await bot.chat_postMessage(channel=sim.channels["general"], text="How was it?", blocks=CONTROLS)
    context = await browser.new_context(viewport=WIDE, color_scheme="dark" if scheme == "dark" else "light")
    page = await context.new_page()
    await page.goto(sim.page_url)
    await page.get_by_role("button", name="Bad").click()
    await page.get_by_role("dialog").get_by_role("button", name="Send").click()
    await expect(page.get_by_role("dialog").locator(".problem")).to_have_count(3)
    await asyncio.sleep(0.1)
    assert await page.evaluate(CONTRAST) == []
    assert await page.evaluate(NAMELESS) == []
    await context.close()
