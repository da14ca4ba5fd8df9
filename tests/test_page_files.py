"""Files on the page: attached in every way, shown as pictures and cards, and downloaded as they were."""

from __future__ import annotations

import hashlib
import os
import re
import struct
import zlib
from pathlib import Path

import pytest
from playwright.async_api import Browser, FilePayload, Locator, Page, expect
from slack_sdk.web.async_client import AsyncWebClient

from slackbot.simulator.slack import SlackSimulator
from tests.pages import CONTRAST, NAMELESS, markdown

pytestmark = pytest.mark.asyncio(loop_scope="session")

# What a file manager, a spreadsheet and a screenshot put on the clipboard, and what is dropped where.
PASTE = """
(input, {name, text, html}) => {
  const data = new DataTransfer();
  data.items.add(new File(["pasted"], name, {type: "image/png"}));
  if (text) data.setData("text/plain", text);
  if (html) data.setData("text/html", html);
  return input.dispatchEvent(new ClipboardEvent("paste", {clipboardData: data, bubbles: true, cancelable: true}));
}
"""
DROP = """
(zone, folder) => {
  const data = new DataTransfer();
  data.items.add(new File(["dropped"], "dropped.txt", {type: "text/plain"}));
  if (folder) DataTransferItem.prototype.webkitGetAsEntry = () => ({isDirectory: true});
  return ["dragenter", "dragover", "drop"].map((kind) =>
    zone.dispatchEvent(new DragEvent(kind, {dataTransfer: data, bubbles: true, cancelable: true})));
}
"""
# Note that the dialog for files would open, without opening it.
CHOOSER = """
(input) => input.addEventListener("click", (event) => {
  event.preventDefault();
  input.dataset.opened = "";
}, {once: true})
"""


def png(width: int = 320, height: int = 180) -> bytes:
    """A real picture: a slope of colours."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = (b"\0" + bytes(b for x in range(width) for b in (40 + x // 2, 110 + y % 140, 160)) for y in range(height))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"".join(rows)))
        + chunk(b"IEND", b"")
    )


def payload(name: str, content: bytes, media_type: str) -> FilePayload:
    """A file on somebody's disk."""
    return {"name": name, "mimeType": media_type, "buffer": content}


def waiting(page: Page) -> Locator:
    """Names of the files that wait to be sent."""
    return page.locator("#main-composer .waiting .name")


def sha256_of(path: Path) -> str:
    """What is on the disk."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


async def sha256_of_download(page: Page, link: Locator, into: Path) -> str:
    """What the link brings."""
    async with page.expect_download() as download:
        await link.click()
    await (await download.value).save_as(into)
    return sha256_of(into)


async def test_two_files_show_and_come_down_as_they_were(page: Page, sim: SlackSimulator, tmp_path: Path) -> None:
    """A picture stands inline, anything else is a card with its kind and size; both bring the same bytes."""
    picture, table = png(), os.urandom(300_000)
    await page.locator("#main-composer input[type=file]").set_input_files(
        [payload("slope.png", picture, "image/png"), payload("Zahlen März.xlsx", table, "application/vnd.ms-excel")]
    )
    await page.locator("#main-composer-input").fill("Two files")
    await page.locator("#main-composer-input").press("Enter")
    files = page.locator("#main .message").get_by_role("list", name="2 files")
    image = files.get_by_role("img", name="slope.png")
    await expect(image).to_have_js_property("naturalWidth", 320)
    await expect(files.get_by_role("figure")).to_contain_text(f"PNG · {round(len(picture) / 1000)} KB")
    card = files.get_by_role("link", name="Download Zahlen März.xlsx")
    await expect(card).to_contain_text("XLSX · 300 KB")
    assert await sha256_of_download(page, card, tmp_path / "table") == hashlib.sha256(table).hexdigest()
    save = files.get_by_role("link", name="Download slope.png")
    assert await sha256_of_download(page, save, tmp_path / "picture") == hashlib.sha256(picture).hexdigest()
    assert [file["name"] for file in sim.messages(sim.channels["general"])[0].files] == [
        "slope.png",
        "Zahlen März.xlsx",
    ]
    async with page.context.expect_page() as opened:
        await files.get_by_role("link", name="Open slope.png").click()
    assert (await opened.value).url.endswith("page/files/F00000001")


async def test_files_of_the_bot(page: Page, sim: SlackSimulator, bot: AsyncWebClient, tmp_path: Path) -> None:
    """What the bot shares stands in the thread after a moment: a picture with its description, and a card."""
    general, report = sim.channels["general"], os.urandom(70_000)
    root = await sim.say(sim.users["ada"], general, "a chart, please")
    await page.goto(f"{sim.page_url}#{general}/{root}")
    await bot.chat_postMessage(channel=general, thread_ts=root, text="Here", blocks=markdown("Here **it** is."))
    chart = {"filename": "chart.png", "content": png(), "alt_txt": "Sales grow from left to right"}
    await bot.files_upload_v2(file_uploads=[chart], channel=general, thread_ts=root)
    await bot.files_upload_v2(filename="report.pdf", file=report, channel=general, thread_ts=root)
    thread = page.locator("#thread")
    image = thread.get_by_role("img", name="Sales grow from left to right")
    await expect(image).to_have_js_property("naturalWidth", 320)
    card = thread.get_by_role("link", name="Download report.pdf")
    await expect(card).to_contain_text("PDF · 70 KB")
    assert await sha256_of_download(page, card, tmp_path / "report") == hashlib.sha256(report).hexdigest()
    await expect(page.locator("#voice")).to_have_text("agent: report.pdf")
    await expect(thread.locator(".message").last).to_be_in_viewport()
    assert await page.evaluate(NAMELESS) == []


async def test_a_picture_keeps_the_end_in_view(page: Page, sim: SlackSimulator) -> None:
    """A picture that grows when it has loaded does not push what is newest out of sight."""
    for number in range(20):
        await sim.say(sim.users["ben"], sim.channels["general"], f"line {number}")
    tall = sim.files.add(sim.users["ben"], "tall.png", png(200, 900))
    await sim.say(sim.users["ben"], sim.channels["general"], "look", files=[tall])
    await expect(page.get_by_role("img", name="tall.png")).to_have_js_property("naturalHeight", 900)
    await expect(page.get_by_role("link", name="Download tall.png")).to_be_in_viewport()


async def test_pasted_files(page: Page) -> None:
    """A pasted screenshot or file goes along; what a spreadsheet copies is text, although a picture of it comes too."""
    field = page.locator("#main-composer-input")
    await field.focus()
    assert not await field.evaluate(PASTE, {"name": "image.png"})
    assert not await field.evaluate(PASTE, {"name": "plan.png", "text": "plan.png"})
    assert await field.evaluate(PASTE, {"name": "cells.png", "text": "1\t2", "html": "<table>"})
    await expect(waiting(page)).to_have_text(["image.png", "plan.png"])
    await expect(page.locator("#voice")).to_have_text("Attached plan.png")
    await field.press("Enter")
    await expect(page.locator("#main .message .file")).to_have_count(2)


async def test_dropped_folders_and_misses(page: Page) -> None:
    """A folder is refused in words; what misses the place for it does not make the browser leave."""
    assert await page.locator("#sidebar").evaluate(DROP, False) == [True, False, False]  # noqa: FBT003 - the script's own argument
    await expect(waiting(page)).to_have_count(0)
    await page.locator("#main").evaluate(DROP, False)  # noqa: FBT003 - the script's own argument
    await expect(waiting(page)).to_have_text(["dropped.txt"])
    await page.locator("#main").evaluate(DROP, True)  # noqa: FBT003 - the script's own argument
    await expect(page.locator("#main-composer .problem")).to_have_text("Folders cannot be attached, only files.")
    await expect(waiting(page)).to_have_text(["dropped.txt"])


async def test_too_big_for_the_page(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is too big is named with its size and the limit, at once; the others stay."""
    monkeypatch.setattr("slackbot.simulator.slack.limits.UPLOAD_BYTES", 1 << 20)
    await page.reload()
    await expect(page.locator("#main-title")).to_have_text("# general")
    await page.locator("#main-composer input[type=file]").set_input_files(
        [payload("big.bin", bytes(2_000_000), ""), payload("small.txt", b"x", "text/plain")]
    )
    problem = page.locator("#main-composer .problem")
    await expect(problem).to_have_text("big.bin has 2.0 MB; a file may have 1 MB here.")
    await expect(problem).to_have_attribute("role", "alert")
    await expect(waiting(page)).to_have_text(["small.txt"])
    await page.locator("#main-composer-input").press_sequentially("ok")
    await expect(problem).to_be_hidden()


async def test_a_file_that_is_gone_before_it_is_sent(page: Page, tmp_path: Path) -> None:
    """A file that cannot be read any more is said in words, and the text is still there."""
    (tmp_path / "draft.txt").write_text("draft")
    await page.locator("#main-composer input[type=file]").set_input_files(tmp_path / "draft.txt")
    (tmp_path / "draft.txt").unlink()
    await page.locator("#main-composer-input").fill("my draft")
    await page.locator("#main-composer-input").press("Enter")
    await expect(page.locator("#main-composer .problem")).to_contain_text("draft.txt cannot be read any more")
    await expect(page.locator("#main-composer-input")).to_have_value("my draft")


async def test_by_keyboard(page: Page, sim: SlackSimulator) -> None:
    """Attaching, removing, opening and downloading need no mouse."""
    await page.locator("#main-composer-input").focus()
    await page.keyboard.press("Tab")
    await expect(page.get_by_role("button", name="Attach files").first).to_be_focused()
    chooser = page.locator("#main-composer input[type=file]")
    await chooser.evaluate(CHOOSER)
    await page.keyboard.press("Enter")
    await expect(chooser).to_have_attribute("data-opened", "")
    await chooser.set_input_files([payload("a.txt", b"a", "text/plain"), payload("b.png", png(), "image/png")])
    await expect(page.locator("#voice")).to_have_text("Attached a.txt, b.png")
    await page.locator("#main-composer-input").focus()
    await page.keyboard.press("Tab")
    await expect(page.get_by_role("button", name="Remove a.txt")).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(waiting(page)).to_have_text(["b.png"])
    await expect(page.locator("#voice")).to_have_text("Removed a.txt")
    await page.locator("#main-composer-input").press("Enter")
    await expect(page.get_by_role("img", name="b.png")).to_be_visible()
    await page.get_by_role("link", name="Open b.png").focus()
    await page.keyboard.press("Tab")
    await expect(page.get_by_role("link", name="Download b.png")).to_be_focused()
    async with page.expect_download() as download:
        await page.keyboard.press("Enter")
    assert (await download.value).suggested_filename == "b.png"
    assert sim.messages(sim.channels["general"])[0].text == ""


async def test_files_that_are_not_there(page: Page, sim: SlackSimulator) -> None:
    """Deleted and hidden files say so, an empty one shows its size, and one that lies elsewhere leads there."""
    ben, special = sim.users["ben"], sim.files.special
    elsewhere = special.external(ben, "Plan", "https://docs.example/plan")
    files = [special.tombstone(ben), special.hidden(ben), sim.files.add(ben, "empty.txt", b""), elsewhere]
    await sim.say(ben, sim.channels["general"], "four", files=files)
    shown = page.locator("#main .message .file")
    await expect(shown).to_have_text(
        [re.compile(words) for words in ("was deleted", "hidden", "TXT · 0 bytes", "Plan")]
    )
    await expect(shown.last).to_have_attribute("href", "https://docs.example/plan")
    await expect(shown.first.locator("xpath=self::a")).to_have_count(0)


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_it_can_be_read(page: Page, sim: SlackSimulator, browser: Browser, scheme: str) -> None:
    """Names, sizes and notes have contrast, in both schemes; every control has a name."""
    assert browser.is_connected()
    await page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    ben = sim.users["ben"]
    files = [sim.files.add(ben, "a.png", png()), sim.files.add(ben, "b.pdf", b"b"), sim.files.special.tombstone(ben)]
    await sim.say(ben, sim.channels["general"], "look", files=files)
    await page.locator("#main-composer input[type=file]").set_input_files(payload("c.txt", b"c", "text/plain"))
    await expect(page.locator("#main .message .file")).to_have_count(3)
    assert await page.evaluate(CONTRAST) == []
    assert await page.evaluate(NAMELESS) == []
