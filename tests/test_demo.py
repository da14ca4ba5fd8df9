"""The demo as a person meets it: one command, an address, a conversation in the browser."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, expect

pytestmark = pytest.mark.asyncio(loop_scope="session")

ROOT = Path(__file__).parent.parent


@asynccontextmanager
async def demo(folder: Path) -> AsyncIterator[str]:
    """``slackbot demo`` as a process of its own; gives the address it prints, and ends it with Ctrl-C."""
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "slackbot",
        "demo",
        "--port",
        "0",
        cwd=folder,
        env=environ,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        line = (await asyncio.wait_for(process.stdout.readline(), 20)).decode()
        address = re.search(r"http://127\.0\.0\.1:\d+/", line)
        assert address, line
        yield address[0]
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGINT)
        _, errors = await asyncio.wait_for(process.communicate(), 40)
    assert process.returncode == 0, errors.decode()
    assert b"Traceback" not in errors, errors.decode()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def address(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """One demo for the tests that make no trouble: to start and end it takes seconds."""
    async with demo(tmp_path_factory.mktemp("demo")) as address:
        yield address


async def test_mention_growing_answer_follow_up_and_dm(address: str, browser: Browser) -> None:
    """Mention the bot, watch the answer grow in a thread, follow up without a mention, write to it directly."""
    async with await browser.new_page() as page:
        await page.goto(address)
        thread = page.locator("#thread")
        await page.locator("#main-composer-input").press_sequentially("@ag")
        await expect(page.get_by_role("option")).to_be_visible()
        await page.keyboard.press("Enter")
        await page.keyboard.type("/words 120 rate=30")
        await page.keyboard.press("Enter")

        # The status is there for less than half a second.
        await expect(thread.locator(".status:not(:empty), .from-bot .body").first).to_be_visible(timeout=10_000)
        answer = thread.locator(".from-bot .body")
        await expect(answer).to_be_visible(timeout=10_000)
        lengths = set()
        async with asyncio.timeout(20):
            while (length := len((await answer.inner_text()).split())) < 120:
                lengths.add(length)
                await asyncio.sleep(0.05)
        assert len(lengths) >= 3, "the answer came in one piece"

        await page.locator("#thread-composer-input").fill("/say The same conversation.")
        await page.locator("#thread-composer-input").press("Enter")
        await expect(thread.locator(".from-bot .body").last).to_contain_text("The same conversation.", timeout=10_000)

        await page.locator("#direct").get_by_role("button", name="agent", exact=True).click()
        await page.locator("#main-composer-input").fill("/say Just between us.")
        await page.locator("#main-composer-input").press("Enter")
        await expect(thread.locator(".from-bot .body").last).to_contain_text("Just between us.", timeout=10_000)


async def test_a_failure_can_be_retried_in_the_page(address: str, browser: Browser) -> None:
    """A broken answer keeps its text, shows one sentence, and its Retry button works."""
    async with await browser.new_page() as page:
        await page.goto(address)
        await page.locator("#direct").get_by_role("button", name="agent", exact=True).click()
        await page.locator("#main-composer-input").fill("/fail")
        await page.locator("#main-composer-input").press("Enter")
        thread = page.locator("#thread")
        await expect(thread).to_contain_text("The agent ran into a problem", timeout=10_000)
        await page.wait_for_timeout(300)
        await thread.get_by_role("button", name="Retry").click()
        await expect(thread).to_contain_text("Trying again", timeout=10_000)
        await expect(thread).to_contain_text("The agent ran into a problem", timeout=10_000)
        await expect(thread.locator(".from-bot")).to_have_count(1)


async def test_the_drawer_shows_what_happens_and_makes_trouble(tmp_path: Path, browser: Browser) -> None:
    """Events, calls and the agent's stream are seen live; troubles are survived."""
    async with demo(tmp_path) as address, await browser.new_page() as page:
        await page.goto(address)
        await page.get_by_role("button", name="What the bot does").click()
        lines, answers = page.locator("#traffic .line"), page.locator("#thread .from-bot .body")
        await page.get_by_label("Noxus's stream is cut in mid-answer").check()
        await page.locator("#main-composer-input").fill("@agent /words 40 rate=40")
        await page.keyboard.press("Enter")
        await expect(lines.filter(has_text="cut off").first).to_contain_text("text-delta", timeout=10_000)
        await expect(lines.filter(has_text="app_mention")).to_contain_text("acked in")
        await expect(lines.filter(has_text="chat.postMessage").first).to_contain_text("1/3")
        await page.get_by_role("button", name="All off").click()
        await expect(page.locator("#switches :checked")).to_have_count(0)
        await expect(answers).to_have_text(re.compile(r"^(\S+\s+){39}\S+?\.(Ask a human)?\s*$"), timeout=10_000)
        await expect(lines.filter(has_text=re.compile("GET conversations/…/events.*finish.*200"))).to_be_visible()

        await page.get_by_label("Slack refuses every edit (429)").check()
        await page.locator("#thread-composer-input").fill("/words 30 rate=30")
        await page.keyboard.press("Enter")
        await expect(lines.filter(has_text="ratelimited (429)").first).to_be_visible(timeout=10_000)
        await expect(page.locator("#thread .status")).to_be_empty(timeout=10_000)
        await page.get_by_label("Slack refuses every edit (429)").uncheck()

        await page.get_by_label("Noxus is down (503)").check()
        await page.locator("#thread-composer-input").fill("/say Here again.")
        await page.keyboard.press("Enter")
        await expect(page.locator("#thread")).to_contain_text("cannot be reached", timeout=20_000)
        await expect(lines.filter(has_text="503").first).to_have_class(re.compile("bad"))
        await page.get_by_role("button", name="All off").click()
        await expect(page.locator("#switches :checked")).to_have_count(0)
        await page.get_by_role("button", name="Retry").click()
        await expect(answers.last).to_contain_text("Here again.", timeout=20_000)
