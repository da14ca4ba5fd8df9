"""The simulated Slack's page in a browser, as fixtures, and what every page is checked for."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest_asyncio
from playwright.async_api import Browser, Page, ViewportSize, expect
from slack_sdk.web.async_client import AsyncWebClient

from slackbot.simulator.slack import SlackSimulator
from tests.browser import chromium

WIDE: ViewportSize = {"width": 1280, "height": 800}

CONTRAST = """
() => {
  const channel = (value) => (value /= 255) <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  const pen = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
  const over = (colours) => {
    pen.clearRect(0, 0, 1, 1);
    for (const colour of colours) { pen.fillStyle = colour; pen.fillRect(0, 0, 1, 1); }
    return [...pen.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  const poor = [];
  for (const node of document.body.querySelectorAll("*")) {
    const text = [...node.childNodes].some((child) => child.nodeType === Node.TEXT_NODE && child.nodeValue.trim());
    const seen = node.checkVisibility({opacityProperty: true, visibilityProperty: true}) && !node.closest(".sr");
    if (!text || !seen) continue;
    const back = [];
    for (let at = node; at; at = at.parentElement) back.unshift(getComputedStyle(at).backgroundColor);
    const [a, b] = [light(over(back)), light(over([...back, getComputedStyle(node).color]))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    const where = `${node.className || node.tagName} ${node.textContent.slice(0, 30)}`;
    if (ratio < 4.5) poor.push(`${where}: ${ratio.toFixed(2)}`);
  }
  return poor;
}
"""

NAMELESS = """
() => [...document.querySelectorAll("button, a, textarea, input, select, meter")]
  .filter((node) => node.checkVisibility() && !node.labels?.length)
  .filter((node) => !(node.getAttribute("aria-label") || node.textContent.trim()))
  .map((node) => node.outerHTML)
"""


def markdown(text: str) -> list[dict[str, Any]]:
    """The blocks of an agent's answer."""
    return [{"type": "markdown", "text": text}]


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    """One Chromium for all tests of a run: it takes seconds to start."""
    async with chromium() as browser:
        yield browser


@pytest_asyncio.fixture(loop_scope="session")
async def sim() -> AsyncIterator[SlackSimulator]:
    """A workspace that answers at once and forgives any pace."""
    sim = SlackSimulator(latency=0, enforce_limits=False)
    await sim.start()
    yield sim
    await sim.stop()


@pytest_asyncio.fixture(loop_scope="session")
async def bot(sim: SlackSimulator) -> AsyncWebClient:
    """The hands of a bot that does what the test says."""
    return AsyncWebClient(token=sim.bot_token, base_url=sim.api_url)


@pytest_asyncio.fixture(loop_scope="session")
async def page(browser: Browser, sim: SlackSimulator) -> AsyncIterator[Page]:
    """The page, open as Ada; anything it complains about in the console fails the test."""
    context = await browser.new_context(viewport=WIDE)
    page = await context.new_page()
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda line: complaints.append(line.text) if line.type == "error" else None)
    await page.goto(sim.page_url)
    await expect(page.locator("#main-title")).to_have_text("# general")
    yield page
    await context.close()
    lost_or_refused = ("ERR_", "Failed to load resource")
    assert [text for text in complaints if not any(words in text for words in lost_or_refused)] == []
