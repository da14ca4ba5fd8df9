"""The drawer: what the bot does, live, and troubles to switch on."""

from __future__ import annotations

import re

import pytest
from playwright.async_api import Browser, Page, expect
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from slackbot.simulator.slack import Line, SlackSimulator
from tests.pages import CONTRAST, NAMELESS, WIDE, markdown

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def open_drawer(page: Page) -> None:
    """Open it as people do."""
    await page.get_by_role("button", name="What the bot does").click()
    await expect(page.get_by_role("region", name="What the bot does")).to_be_visible()


async def test_live_traffic(page: Page, sim: SlackSimulator, bot: AsyncWebClient) -> None:
    """Events with their acks, calls with their result and limit, and what others add appear as they happen."""
    general, lines = sim.channels["general"], page.locator("#traffic .line")
    await open_drawer(page)
    await expect(page.locator("#drawer")).to_contain_text("Nothing yet")
    await sim.say(sim.users["ben"], general, "is anybody there?")
    await expect(lines.first).to_have_text(re.compile("Slack → bot.*message#general, by Ben.*connection_failed"))
    sim.set_limit("chat.update", 2)
    ts = str((await bot.chat_postMessage(channel=general, text="x", blocks=markdown("hello")))["ts"])
    await bot.chat_update(channel=general, ts=ts, text="hello again")
    await expect(lines.filter(has_text="chat.postMessage")).to_contain_text("#general, 5 characters")
    await expect(lines.filter(has_text="chat.update").get_by_label("1 of 2 allowed calls used")).to_be_visible()
    await bot.chat_update(channel=general, ts=ts, text="hello again")
    with pytest.raises(SlackApiError):
        await bot.chat_update(channel=general, ts=ts, text="hello again")
    await expect(lines.filter(has_text="ratelimited (429)")).to_have_class(re.compile("bad"))

    sim.traffic.show("r1", Line(kind="request", what="POST stream", more="1 text-delta", outcome="streaming"))
    await sim.say(sim.users["ben"], general, "later")
    await expect(lines.last).to_have_text(re.compile("bot → Noxus.*POST stream.*1 text-delta.*streaming"))
    sim.traffic.show("r1", Line(kind="request", what="POST stream", more="finish", outcome="200", state="ok"))
    await expect(lines.filter(has_text="POST stream")).to_have_text(re.compile("finish.*200"))
    await page.get_by_role("button", name=re.compile("bot → Slack")).click()
    await expect(lines.filter(has_text="chat.update")).to_have_count(0)
    await expect(lines.filter(has_text="POST stream")).to_have_count(1)
    await page.reload()
    await expect(lines.filter(has_text="POST stream")).to_be_visible()
    await page.get_by_role("button", name="Close the drawer").click()
    await expect(page.locator("#drawer")).to_be_hidden()


async def test_much_traffic_stays_small(page: Page, sim: SlackSimulator) -> None:
    """Of a thousand lines the newest three hundred are kept, here and there."""
    await open_drawer(page)
    for number in range(1000):
        sim.traffic.show(f"n{number}", Line(kind="call", what=f"call-{number}."))
    await expect(page.locator("#traffic")).to_contain_text("call-999.")
    assert len(sim.traffic.lines()) == 300
    await expect(page.locator("#traffic .line")).to_have_count(300)
    await expect(page.locator("#traffic .line").last).to_be_in_viewport()


async def test_troubles(page: Page, sim: SlackSimulator, bot: AsyncWebClient) -> None:
    """Each trouble is switched on and off by itself or all at once, for everybody who looks."""
    general, turned = sim.channels["general"], []

    async def turn(on: bool) -> None:  # noqa: FBT001  a switch is on or off
        turned.append(on)

    sim.switches.add("noxus-slow", "Noxus is slow", turn)
    await page.reload()
    await open_drawer(page)
    other = await page.context.new_page()
    await other.goto(sim.page_url)
    await open_drawer(other)
    ts = str((await bot.chat_postMessage(channel=general, text="a"))["ts"])
    await page.get_by_label("Slack refuses every edit (429)").check()
    await expect(other.get_by_label("Slack refuses every edit (429)")).to_be_checked()
    with pytest.raises(SlackApiError) as refused:
        await bot.chat_update(channel=general, ts=ts, text="b")
    assert refused.value.response.headers["Retry-After"] == "5"
    await page.get_by_label("Noxus is slow").check()
    await page.get_by_label("Slack takes 1.5 s for every call").check()
    await expect(page.locator("#drawer-button.troubled")).to_be_visible()
    started = sim._clock.monotonic()
    await bot.auth_test()
    assert sim._clock.monotonic() - started >= 1.5
    await other.get_by_role("button", name="All off").click()
    await expect(page.locator("#switches :checked")).to_have_count(0)
    await expect(page.locator("#drawer-button.troubled")).to_have_count(0)
    await bot.chat_update(channel=general, ts=ts, text="b")
    assert turned == [True, False]
    await other.close()


async def test_a_real_agent_has_no_script(page: Page, sim: SlackSimulator) -> None:
    """Where a real agent answers, nothing on the page speaks of the simulated one's commands."""
    await expect(page.locator("#empty")).to_contain_text("/help")
    sim.scripted_agent = False
    await page.reload()
    await expect(page.locator("#empty")).to_contain_text("Mention @agent")
    await expect(page.locator("#empty")).not_to_contain_text("/help")
    await open_drawer(page)
    await expect(page.locator("#kinds")).not_to_contain_text("Noxus")


async def test_the_keyboard_reaches_and_leaves_the_drawer(page: Page) -> None:
    """The drawer opens by its button, its switches work with the space bar, and Escape leads back."""
    button = page.get_by_role("button", name="What the bot does")
    await button.focus()
    await page.keyboard.press("Enter")
    await expect(button).to_have_attribute("aria-expanded", "true")
    switch = page.get_by_role("switch", name="Slack refuses every edit (429)")
    for _ in range(60):
        if await switch.evaluate("(node) => node === document.activeElement"):
            break
        await page.keyboard.press("Tab")
    await page.keyboard.press("Space")
    await expect(switch).to_be_checked()
    await page.keyboard.press("Escape")
    await expect(page.locator("#drawer")).to_be_hidden()
    await expect(button).to_be_focused()


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_readable_and_named(browser: Browser, sim: SlackSimulator, bot: AsyncWebClient, scheme: str) -> None:
    """In light and in dark the drawer's lines and switches have contrast enough and names, in narrow windows too."""
    general = sim.channels["general"]
    await sim.say(sim.users["ben"], general, "hello")
    await bot.chat_postMessage(channel=general, text="x")
    with pytest.raises(SlackApiError):
        await bot.api_call("chat.postMessage", json={"channel": general})
    sim.traffic.show("r1", Line(kind="request", what="POST stream", more="1 text-delta", outcome="streaming"))
    context = await browser.new_context(viewport=WIDE, color_scheme="dark" if scheme == "dark" else "light")
    page = await context.new_page()
    await page.goto(sim.page_url)
    await open_drawer(page)
    await expect(page.locator("#traffic .line")).to_have_count(7)
    assert await page.evaluate(CONTRAST) == []
    assert await page.evaluate(NAMELESS) == []
    await page.set_viewport_size({"width": 800, "height": 600})
    root = sim.messages(general)[0].ts
    await page.evaluate(f"location.hash = '{general}/{root}'")
    await expect(page.locator("#thread")).to_be_visible()
    boxes = [await page.locator(name).bounding_box() for name in ("#sidebar", "#main", "#thread", "#drawer")]
    sidebar, main, thread, drawer = (box for box in boxes if box)
    assert (main["height"], sidebar["height"]) == (thread["height"], 600)
    assert main["y"] + main["height"] == drawer["y"]
    await expect(page.get_by_role("button", name="Close the drawer")).to_be_in_viewport(ratio=1)
    assert await page.locator("#traffic-scroll").evaluate("(node) => node.scrollWidth <= node.clientWidth")
    await context.close()
