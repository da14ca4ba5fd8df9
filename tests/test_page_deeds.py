"""What people do on the page: files, reactions, links, direct messages, replies to the channel, unread marks."""

from __future__ import annotations

import re
from pathlib import Path

import aiohttp
import pytest
from playwright.async_api import FilePayload, Locator, Page, expect
from slack_sdk.web.async_client import AsyncWebClient

from slackbot.simulator.slack import SlackSimulator

pytestmark = pytest.mark.asyncio(loop_scope="session")

DROP = """
(zone) => {
  const data = new DataTransfer();
  data.items.add(new File(["dropped"], "note.txt", {type: "text/plain"}));
  for (const kind of ["dragenter", "dragover"]) {
    zone.dispatchEvent(new DragEvent(kind, {dataTransfer: data, bubbles: true, cancelable: true}));
  }
  const marked = zone.classList.contains("dropping");
  zone.dispatchEvent(new DragEvent("drop", {dataTransfer: data, bubbles: true, cancelable: true}));
  return marked && !zone.classList.contains("dropping");
}
"""


def kinds(sim: SlackSimulator) -> list[str]:
    """What the bot was told of, by kind."""
    return [delivery.what for delivery in sim.deliveries if not delivery.attempt]


async def fetched(url: str, token: str = "") -> tuple[int, str, bytes]:
    """Status, type and body of an address."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with aiohttp.ClientSession() as session, session.get(url, headers=headers) as response:
        return response.status, response.content_type, await response.read()


async def reach(page: Page, target: Locator, *, key: str = "Tab") -> None:
    """Go to a control with the keyboard alone."""
    for _ in range(60):
        if await target.evaluate("(node) => node === document.activeElement"):
            return
        await page.keyboard.press(key)
    raise AssertionError("the keyboard does not lead there")


async def test_files_chosen_and_dropped(page: Page, sim: SlackSimulator, bot: AsyncWebClient, tmp_path: Path) -> None:
    """Files by button and by drag go with a message, are named with their size, and come down again."""
    composer, general = page.locator("#main-composer"), sim.channels["general"]
    async with page.expect_file_chooser() as chooser:
        await composer.get_by_role("button", name="Attach files").click()
    table: FilePayload = {"name": "über & co.csv", "mimeType": "text/csv", "buffer": b"a,b\n" * 400}
    wrong: FilePayload = {"name": "wrong.bin", "mimeType": "application/octet-stream", "buffer": b"x"}
    await (await chooser.value).set_files([table, wrong])
    assert await page.locator("#main").evaluate(DROP)
    await expect(composer.locator(".waiting .name")).to_have_text(["über & co.csv", "wrong.bin", "note.txt"])
    await composer.get_by_role("button", name="Remove wrong.bin").click()
    await page.locator("#main-composer-input").fill("two files")
    await page.locator("#main-composer-input").press("Enter")
    chips = page.locator("#main .message .file")
    await expect(chips).to_have_text([re.compile(r"über & co\.csv.*1\.6 KB"), re.compile(r"note\.txt.*7 bytes")])
    await expect(composer.locator(".waiting .name")).to_have_count(0)
    async with page.expect_download() as download:
        await chips.first.click()
    await (await download.value).save_as(tmp_path / "saved")
    assert (await download.value).suggested_filename == "über & co.csv"
    assert (tmp_path / "saved").read_bytes() == b"a,b\n" * 400

    [message] = sim.messages(general)
    assert (message.subtype, message.text) == ("file_share", "two files")
    file = (await bot.files_info(file=message.files[0]["id"]))["file"]
    assert (file["mimetype"], file["filetype"], file["size"], file["mode"]) == ("text/csv", "csv", 1600, "hosted")
    assert await fetched(file["url_private_download"], sim.bot_token) == (200, "text/csv", b"a,b\n" * 400)
    status, kind, body = await fetched(file["url_private"])
    assert (status, kind) == (200, "text/html")
    assert b"Sign in" in body


async def test_a_file_alone_and_a_picture(page: Page, sim: SlackSimulator) -> None:
    """A message may be a file alone; a picture is shown, and a page that was uploaded runs nowhere."""
    evil = sim.files.add(sim.users["ben"], "evil.html", b"<script>document.title = 1</script>")
    await sim.say(sim.users["ben"], sim.channels["general"], "", files=[evil])
    await page.locator("#main-composer input[type=file]").set_input_files(
        {"name": "dot.png", "mimeType": "image/png", "buffer": b"\x89PNG"}
    )
    await page.locator("#main-composer").get_by_role("button", name="Send").click()
    await expect(page.locator("#main .picture img")).to_have_count(1)
    assert [message.text for message in sim.messages(sim.channels["general"])] == ["", ""]
    async with aiohttp.ClientSession() as session, session.get(f"{sim.page_url}page/files/{evil['id']}") as response:
        assert response.headers["Content-Disposition"].startswith("attachment")
        assert response.content_type == "application/octet-stream"
        assert "sandbox" in response.headers["Content-Security-Policy"]


async def test_a_refused_file_is_still_there(page: Page, sim: SlackSimulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is not taken is said in words, and neither it nor the text is lost."""
    monkeypatch.setattr("slackbot.simulator.slack.limits.UPLOAD_BYTES", 4)
    await page.locator("#main-composer input[type=file]").set_input_files(
        {"name": "big.txt", "mimeType": "text/plain", "buffer": b"too big"}
    )
    await page.locator("#main-composer-input").fill("look")
    await page.locator("#main-composer-input").press("Enter")
    await expect(page.locator("#main-composer .problem")).to_contain_text("a file may have")
    await expect(page.locator("#main-composer-input")).to_have_value("look")
    await expect(page.locator("#main-composer .waiting .name")).to_have_text("big.txt")
    await page.locator("#rooms").get_by_role("button", name="random").click()
    await expect(page.locator("#main-composer .waiting .name")).to_have_count(0)
    await page.locator("#rooms").get_by_role("button", name="general").click()
    await expect(page.locator("#main-composer .waiting .name")).to_have_text("big.txt")


async def test_reactions_by_keyboard(page: Page, sim: SlackSimulator) -> None:
    """A reaction is chosen with the keyboard, taken away by its author alone, and the bot hears of both."""
    general, ada, ben = sim.channels["general"], sim.users["ada"], sim.users["ben"]
    ts = await sim.say(ben, general, "lunch?")
    await sim.react(ben, general, ts, "eyes")
    await expect(page.locator("#main .reaction")).to_have_count(2)
    adding = page.locator("#main .tools").get_by_role("button", name="Add reaction")
    await reach(page, adding, key="Shift+Tab")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("menu", name="Reactions")).to_be_visible()
    await page.keyboard.press("ArrowRight")
    await page.keyboard.press("ArrowRight")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("button", name="eyes, 2: Ben, Ada")).to_have_attribute("aria-pressed", "true")
    assert sim.messages(general)[0].reactions == {"eyes": (ben, ada)}
    await page.get_by_role("button", name="eyes, 2: Ben, Ada").click()
    await expect(page.get_by_role("button", name="eyes, 1: Ben")).to_have_attribute("aria-pressed", "false")
    await sim.wait(lambda: kinds(sim).count("reaction_added") == 2 and "reaction_removed" in kinds(sim))
    await adding.click()
    await page.keyboard.press("Escape")
    await expect(page.get_by_role("menu")).to_have_count(0)
    await expect(adding).to_be_focused()


async def test_links_lead_to_messages(page: Page, sim: SlackSimulator, bot: AsyncWebClient) -> None:
    """The copied link is the one the bot gets, and both open the place, in a thread or in the channel."""
    general, random = sim.channels["general"], sim.channels["random"]
    await page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    for number in range(25):
        await sim.say(sim.users["ben"], general, f"line {number}")
    root, second = (message.ts for message in sim.messages(general)[:2])
    reply = (await bot.chat_postMessage(channel=general, thread_ts=root, text="the reply"))["ts"]
    link = (await bot.chat_getPermalink(channel=general, message_ts=reply))["permalink"]
    await page.goto(f"{sim.page_url}#{general}/{root}")
    message = page.locator("#thread .message").last
    await message.hover()
    await message.get_by_role("button", name="Copy link").click()
    await expect(page.locator("#toasts")).to_contain_text("copied")
    assert await page.evaluate("() => navigator.clipboard.readText()") == link

    top = (await bot.chat_getPermalink(channel=general, message_ts=second))["permalink"]
    await bot.chat_postMessage(channel=random, text=f"see <{link}|this> and <{top}|that>")
    await page.goto(f"{sim.page_url}#{random}")
    await page.get_by_role("link", name="that").click()
    await expect(page.locator("#main-title")).to_have_text("# general")
    await expect(page.locator("#main .message", has_text=re.compile("line 1$"))).to_be_in_viewport()
    await expect(page.locator("#thread")).to_be_hidden()
    await page.go_back()
    await page.get_by_role("link", name="this").click()
    await expect(page.locator("#thread .message").last).to_have_text(re.compile("the reply"))
    assert len(page.context.pages) == 1
    await page.goto(top)
    await expect(page.locator("#main .message", has_text=re.compile("line 1$"))).to_be_in_viewport()


async def test_new_direct_messages(page: Page, sim: SlackSimulator, bot: AsyncWebClient) -> None:
    """People open group DMs with and without the bot; each is there for its members, and opens again."""
    direct = page.locator("#direct").get_by_role("button")
    await expect(direct).to_have_count(2)
    for _ in range(2):
        await page.get_by_role("button", name="New direct message").click()
        for name in ("Olga", "agent"):
            await page.get_by_role("dialog").get_by_label(name).check()
        await page.get_by_role("dialog").get_by_role("button", name="Open").click()
        await expect(page.locator("#main-title")).to_have_text(re.compile("Olga.*agent|agent.*Olga"))
        await expect(direct).to_have_count(3)
    await page.locator("#main-composer-input").fill("the three of us")
    await page.locator("#main-composer-input").press("Enter")
    await sim.wait(lambda: "message" in kinds(sim))
    [group] = [room for room in sim.channels.values() if sim.messages(room)]
    assert (await bot.conversations_info(channel=group))["channel"]["is_mpim"]
    await page.get_by_role("button", name="New direct message").click()
    await page.get_by_role("dialog").get_by_label("Ben").check()
    await page.get_by_role("dialog").get_by_role("button", name="Open").click()
    await expect(page.locator("#main-title")).to_have_text("Ben")
    await page.locator("#main-composer-input").fill("without the bot")
    await page.locator("#main-composer-input").press("Enter")
    await expect(page.locator("#main .message")).to_contain_text("without the bot")
    await page.locator("#players").get_by_role("button", name="Olga").click()
    await expect(page.locator("#players").get_by_role("button", name="Olga")).to_contain_text("operator")
    await expect(direct).to_have_count(2)
    await expect(page.locator("#direct .unread")).to_have_text("1")
    assert kinds(sim).count("message") == 1


async def test_a_reply_sent_to_the_channel_too(page: Page, sim: SlackSimulator, bot: AsyncWebClient) -> None:
    """A broadcast reply stands in the thread and in the channel, from people and from the bot."""
    general = sim.channels["general"]
    root = await sim.say(sim.users["ben"], general, "shall we?")
    await page.goto(f"{sim.page_url}#{general}/{root}")
    await page.get_by_label("Also send to #general").check()
    await page.locator("#thread-composer-input").fill("we shall")
    await page.locator("#thread-composer-input").press("Enter")
    await expect(page.locator("#main .message")).to_have_count(2)
    await expect(page.locator("#thread .message").last).to_contain_text("Also sent to the channel")
    assert sim.messages(general)[-1].subtype == "thread_broadcast"
    await expect(page.get_by_label("Also send to #general")).not_to_be_checked()
    await bot.chat_postMessage(channel=general, thread_ts=root, text="so it is", reply_broadcast=True)
    await page.keyboard.press("Escape")
    await page.locator("#main .message").last.get_by_role("button", name="replied to a thread").click()
    await expect(page.locator("#thread .message").last).to_contain_text("so it is")


async def test_what_is_new_begins_at_a_line(page: Page, sim: SlackSimulator) -> None:
    """Where something was said since one last looked, a line marks the first of it, and leaves with the next visit."""
    random = sim.channels["random"]
    await sim.say(sim.users["ben"], random, "old")
    await page.locator("#rooms").get_by_role("button", name="random").click()
    await expect(page.locator("#main .message")).to_have_count(1)
    await page.locator("#rooms").get_by_role("button", name="general").click()
    await expect(page.locator("#main-title")).to_have_text("# general")
    await sim.say(sim.users["ben"], random, "new")
    await page.locator("#rooms .fresh").click()
    rows = page.locator("#main-list > li")
    await expect(rows).to_have_text([re.compile("Today"), re.compile("old"), "New", re.compile("new")])
    await page.locator("#rooms").get_by_role("button", name="general").click()
    await page.locator("#rooms").get_by_role("button", name="random").click()
    await expect(page.locator("#main .news")).to_have_count(0)


async def test_whispers_go_and_the_status_turns(page: Page, sim: SlackSimulator, bot: AsyncWebClient) -> None:
    """A note for one reader can be dismissed by them, and a status line shows its loading messages."""
    general, ada = sim.channels["general"], sim.users["ada"]
    root = await sim.say(ada, general, "hm")
    await page.goto(f"{sim.page_url}#{general}/{root}")
    await bot.assistant_threads_setStatus(
        channel_id=general, thread_ts=root, status="is thinking…", loading_messages=["Reading…", "Counting…"]
    )
    await expect(page.locator("#thread .status")).to_have_text(re.compile("agent is thinking….*(Reading|Counting)…"))
    first = await page.locator("#thread .loading").inner_text()
    await expect(page.locator("#thread .loading")).not_to_have_text(first)
    await bot.chat_postEphemeral(channel=general, user=ada, text="psst")
    await page.locator("#main .whisper").get_by_role("button", name="Dismiss").click()
    await expect(page.locator("#main .whisper")).to_have_count(0)
    assert sim.whispers == []
