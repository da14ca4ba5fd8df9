"""The page shows the simulated workspace as a person would see it in Slack."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime
from typing import Any

import pytest
from playwright.async_api import Browser, Page, expect
from slack_sdk.web.async_client import AsyncWebClient

from slackbot.simulator.slack import SlackSimulator
from tests.pages import CONTRAST, NAMELESS, WIDE, markdown

pytestmark = pytest.mark.asyncio(loop_scope="session")

AGENT = "@agent"
RETRY: list[dict[str, Any]] = [
    {"type": "section", "text": {"type": "mrkdwn", "text": "The agent could not be reached. *Nothing is lost.*"}},
    {
        "type": "actions",
        "elements": [
            {"type": "button", "action_id": "retry", "text": {"type": "plain_text", "text": "Retry"}, "value": "7"},
        ],
    },
]


async def test_mention_growing_answer_follow_up_and_dm(page: Page, sim: SlackSimulator, bot: AsyncWebClient) -> None:
    """A mention opens its thread by itself, the answer grows there, the follow-up and a DM reach the bot."""
    general, thread = sim.channels["general"], page.locator("#thread")
    await page.keyboard.type("Hi @ag")
    await expect(page.get_by_role("option")).to_have_text(re.compile("agent"))
    await page.keyboard.press("Enter")
    await page.keyboard.type("how are you?")
    await page.keyboard.press("Enter")
    await sim.wait(lambda: sim.messages(general))
    [root] = sim.messages(general)
    assert (root.user, root.text) == (sim.users["ada"], f"Hi <@{sim.bot_user_id}> how are you?")
    await expect(thread).to_be_hidden()

    await bot.assistant_threads_setStatus(channel_id=general, thread_ts=root.ts, status="is thinking…")
    await expect(thread).to_be_visible()
    await expect(thread.locator(".status")).to_have_text("agent is thinking…")
    answer = await bot.chat_postMessage(
        channel=general, thread_ts=root.ts, text="I am", blocks=markdown("I am **well**")
    )
    await expect(thread.locator(".status")).to_be_empty()
    shown = thread.locator(".from-bot .body")
    await expect(shown.locator("strong")).to_have_text("well")
    for more in (", thank", ", thank you:\n\n- one", ", thank you:\n\n- one\n- two"):
        text = f"I am **well**{more}"
        await bot.chat_update(channel=general, ts=str(answer["ts"]), text="I am", blocks=markdown(text))
        await expect(shown).to_contain_text(text.rsplit(maxsplit=1)[-1])
    await expect(shown.locator("li")).to_have_text(["one", "two"])
    await expect(thread.locator(".edited")).to_have_count(0)
    await expect(page.locator("#main .replies")).to_contain_text("1 reply")

    await expect(page.locator("#thread-composer-input")).to_be_focused()
    await page.keyboard.type("first line")
    await page.keyboard.press("Shift+Enter")
    await page.keyboard.type("second <line>")
    await page.keyboard.press("Enter")
    await sim.wait(lambda: len(sim.messages(general, root.ts)) == 3)
    follow_up = sim.messages(general, root.ts)[-1]
    assert (follow_up.thread_ts, follow_up.text) == (root.ts, "first line\nsecond &lt;line&gt;")
    await expect(thread.locator(".message").last).to_contain_text("second <line>")

    await page.locator("#direct").get_by_role("button", name="agent", exact=True).click()
    await expect(page.locator("#thread")).to_be_hidden()
    await page.locator("#main-composer-input").fill("just between us")
    await page.locator("#main-composer-input").press("Enter")
    await sim.wait(lambda: sim.messages(sim.dm("ada")))
    [said] = sim.messages(sim.dm("ada"))
    await bot.chat_postMessage(channel=sim.dm("ada"), thread_ts=said.ts, text="of course")
    await expect(thread.locator(".from-bot")).to_contain_text("of course")


async def test_thread_closes_reopens_and_is_remembered(page: Page, sim: SlackSimulator, bot: AsyncWebClient) -> None:
    """A closed thread stays closed while it grows; a click, the address or going back opens it again."""
    general, thread = sim.channels["general"], page.locator("#thread")
    ts = await sim.say(sim.users["ben"], general, "lunch?")
    await bot.chat_postMessage(channel=general, thread_ts=ts, text="soup")
    await expect(page.locator("#main .replies")).to_be_visible()
    await expect(thread).to_be_hidden()
    await page.locator("#main .replies").click()
    await expect(thread.locator(".message")).to_have_count(2)
    assert page.url.endswith(f"#{general}/{ts}")
    await page.keyboard.press("Escape")
    await bot.chat_postMessage(channel=general, thread_ts=ts, text="or salad")
    await expect(page.locator("#main .replies")).to_contain_text("2 replies")
    await expect(thread).to_be_hidden()
    await page.go_back()
    await expect(thread.locator(".message")).to_have_count(3)
    await page.reload()
    await expect(thread.locator(".message")).to_have_count(3)


async def test_an_edit_changes_only_what_is_new(page: Page, sim: SlackSimulator, bot: AsyncWebClient) -> None:
    """While a 9,000-character answer grows, settled paragraphs stay the same nodes."""
    general = sim.channels["general"]
    text = "".join(f"## Part {n}\n\nSome **bold** text and a [link](https://a.test/{n}).\n\n" for n in range(150))
    ts = str((await bot.chat_postMessage(channel=general, text="…", blocks=markdown(text[:8000])))["ts"])
    first = page.locator("#main-list .body p").first
    await expect(first).to_be_visible()
    await first.evaluate("(node) => { node.known = true; }")
    for size in range(8100, 9000, 100):
        await bot.chat_update(channel=general, ts=ts, text="…", blocks=markdown(text[:size] + f" end{size}"))
        await expect(page.locator("#main-list .body")).to_contain_text(f"end{size}")
    assert await first.evaluate("(node) => node.known") is True


async def test_reading_above_is_not_disturbed(page: Page, sim: SlackSimulator, bot: AsyncWebClient) -> None:
    """At the end the list follows what is new; further up it stays, and a button leads down."""
    general, scroll = sim.channels["general"], page.locator("#main-scroll")
    for number in range(30):
        await sim.say(sim.users["ben"], general, f"line {number}")
    await expect(page.locator("#main .message").last).to_be_in_viewport()
    await expect(page.locator("#main-list")).to_contain_text("line 29")
    await scroll.evaluate("(node) => { node.scrollTop = 0; }")
    await page.wait_for_timeout(100)
    await bot.chat_postMessage(channel=general, text="news")
    await expect(page.locator("#main-more")).to_be_visible()
    assert await scroll.evaluate("(node) => node.scrollTop") == 0
    await page.locator("#main-more").click()
    await expect(page.locator("#main .message").last).to_be_in_viewport()
    await expect(page.locator("#main-more")).to_be_hidden()


async def test_each_person_sees_their_own(page: Page, sim: SlackSimulator, bot: AsyncWebClient) -> None:
    """Whispers, DMs and unread marks belong to one person; the page can be another one."""
    general = sim.channels["general"]
    await bot.chat_postEphemeral(channel=general, user=sim.users["ada"], text="for Ada alone")
    await bot.chat_postMessage(channel=sim.dm("ada"), text="psst")
    await sim.say(sim.users["ben"], sim.channels["random"], f"<@{sim.users['ada']}> look")
    await expect(page.locator("#main .whisper")).to_contain_text("Only visible to you")
    await expect(page.locator("#rooms .fresh")).to_have_text(re.compile("random.*1"))
    await expect(page.locator("#direct .unread")).to_have_text("1")
    await page.locator("#rooms").get_by_role("button", name="random").click()
    await expect(page.locator("#rooms .fresh")).to_have_count(0)
    await expect(page.locator("#main .mention.me")).to_have_text("@Ada")
    await page.locator("#rooms").get_by_role("button", name="general").click()
    await page.locator("#players").get_by_role("button", name="Ben").click()
    await expect(page.locator("#main .whisper")).to_have_count(0)
    await expect(page.locator("#rooms")).not_to_contain_text("secret-project")
    await page.locator("#main-composer-input").fill("I am Ben")
    await page.locator("#main-composer-input").press("Enter")
    await sim.wait(lambda: sim.messages(general))
    assert sim.messages(general)[-1].user == sim.users["ben"]


async def test_buttons_reach_the_bot(page: Page, sim: SlackSimulator, bot: AsyncWebClient) -> None:
    """Pressing a button of a message sends its action and value as the person that the page is."""
    await bot.chat_postMessage(channel=sim.channels["general"], text="failed", blocks=RETRY)
    await expect(page.locator("#main .section strong")).to_have_text("Nothing is lost.")
    async with page.expect_request("**/page/press") as pressed:
        await page.get_by_role("button", name="Retry").click()
    sent = (await pressed.value).post_data_json
    assert sent is not None
    assert (sent["user"], sent["action_id"], sent["value"]) == (sim.users["ada"], "retry", "7")
    await expect(page.get_by_role("button", name="Retry")).to_be_enabled()


async def test_own_messages_can_be_edited_and_deleted(page: Page, sim: SlackSimulator, bot: AsyncWebClient) -> None:
    """The author changes a message, which then says so, and removes it; a root with replies leaves a trace."""
    general = sim.channels["general"]
    ts = await sim.say(sim.users["ada"], general, f"helo <@{sim.bot_user_id}> &amp; all")
    message = page.locator("#main .message").first
    await message.hover()
    await message.get_by_role("button", name="Edit message").click()
    field = page.get_by_role("dialog").get_by_role("textbox")
    await expect(field).to_have_value(f"helo {AGENT} & all")
    await field.fill(f"hello {AGENT} & all")
    await field.press("Enter")
    await expect(message.locator(".edited")).to_be_visible()
    assert sim.messages(general)[0].text == f"hello <@{sim.bot_user_id}> &amp; all"
    await bot.chat_postMessage(channel=general, thread_ts=ts, text="hello!")
    await message.hover()
    await message.get_by_role("button", name="Delete message").click()
    await page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    await expect(message).to_contain_text("This message was deleted.")
    await expect(message).to_contain_text("1 reply")


async def test_texts_are_never_markup(page: Page, sim: SlackSimulator, bot: AsyncWebClient) -> None:
    """HTML in any text is shown as it was written, and links that run code lead nowhere."""
    evil = '<img src=x onerror="document.title=1"><script>document.title=2</script> [a](javascript:alert(1))'
    general = sim.channels["general"]
    await bot.chat_postMessage(channel=general, text=evil)
    await bot.chat_postMessage(channel=general, text=evil, blocks=markdown(evil), username=evil)
    await page.locator("#main-composer-input").fill(evil)
    await page.locator("#main-composer-input").press("Enter")
    await expect(page.locator("#main .message")).to_have_count(3)
    for body in await page.locator("#main .body").all():
        assert "<script>document.title=2</script>" in await body.inner_text()
    assert await page.locator("#main-list :is(img, script, a[href^=javascript])").count() == 0


async def test_a_message_under_another_name(page: Page, sim: SlackSimulator, bot: AsyncWebClient) -> None:
    """It has the name and the initials of that person, and still says that an app wrote it."""
    general = sim.channels["general"]
    olga = (await bot.users_info(user=sim.users["olga"]))["user"]["profile"]
    await bot.chat_postMessage(channel=general, text="Mine")
    await bot.chat_postMessage(channel=general, text="Hers", username="Olga", icon_url=olga["image_72"])
    await bot.chat_postMessage(channel=general, text="Nobody's", username="Cleo Chan")
    shown = page.locator("#main .message")
    for index, name, initials in ((0, "agent", "A"), (1, "Olga", "O"), (2, "Cleo Chan", "CC")):
        await expect(shown.nth(index).locator(".name")).to_have_text(name)
        await expect(shown.nth(index).locator(".avatar")).to_have_text(initials)
        await expect(shown.nth(index).locator(".badge")).to_have_text("APP")
    await expect(page.locator("#main .avatar.bot")).to_have_count(2)


async def test_dates_tell_the_time_that_has_passed(page: Page, sim: SlackSimulator, bot: AsyncWebClient) -> None:
    """A date is told by the reader's clock and calendar, and goes on without an edit; without tokens it is its text."""
    then = int(time.time()) - 301
    shapes = {
        "{ago}": "^5 minutes ago$",
        "Since {date_short_pretty} at {time_secs}, {ago}": r"^Since (today|yesterday) at \d.*, 5 minutes ago$",
        "{date_pretty}": "^(Today|Yesterday)$",
        "{date_num} {other}": r"^20\d\d-\d\d-\d\d \{other\}$",
        "{date_long} {time}": r"^\w+day, \w+ \d+, 20\d\d \d",
        "{date}": r"^\w+ \d+, 20\d\d$",
        "{date_short}": r"^\w{3} \d+, 20\d\d$",
    }
    text = "\n".join([*(f"<!date^{then}^{tokens}|then>" for tokens in shapes), "<!date^then^{ago}|somewhen>"])
    await bot.chat_postMessage(channel=sim.channels["general"], text=text)
    dates = page.locator("#main time[data-tokens]")
    for index, expected in enumerate(shapes.values()):
        await expect(dates.nth(index)).to_have_text(re.compile(expected))
    await expect(page.locator("#main .body")).to_contain_text("somewhen")
    for seconds, told in ((0, "less than a minute ago"), (60, "1 minute ago"), (200_000, "2 days ago")):
        # The page does the same every few seconds.
        tell = "([node, at]) => { node.dateTime = at; return import('/entities.js').then((it) => it.refreshDates()); }"
        at = datetime.fromtimestamp(time.time() - seconds, UTC).isoformat()
        await page.evaluate(tell, [await dates.first.element_handle(), at])
        await expect(dates.first).to_have_text(told)


async def test_slack_markup_of_people(page: Page, sim: SlackSimulator) -> None:
    """A person's text is mrkdwn: entities have names, one star is bold, links keep their label."""
    text = "*bold* _it_ ~no~ `a*b*` <https://a.test|here> <#C00RANDOM|old> :tada: 2*3*4 &lt;b&gt;\n&gt; said\n"
    text += "```x = *1*\ny```"
    await sim.say(sim.users["ben"], sim.channels["general"], text)
    body = page.locator("#main .body")
    await expect(body.locator("strong")).to_have_text("bold")
    await expect(body.locator("em")).to_have_text("it")
    await expect(body.locator("s")).to_have_text("no")
    await expect(body.locator("p > code")).to_have_text("a*b*")
    await expect(body.locator("a")).to_have_attribute("href", "https://a.test")
    await expect(body.locator(".mention")).to_have_text("#random")
    await expect(body.locator("blockquote")).to_have_text("said")
    await expect(body.locator("pre")).to_have_text("x = *1*\ny")
    await expect(body).to_contain_text("🎉 2*3*4 <b>")


async def test_lost_connection_comes_back(page: Page, sim: SlackSimulator) -> None:
    """A vanished workspace is said in words, nothing typed is lost, and the page catches up by itself."""
    port = int(page.url.split(":")[2].split("/")[0])
    await sim.stop()
    await expect(page.locator("#lost")).to_be_visible()
    await page.locator("#main-composer-input").fill("are you there?")
    await page.locator("#main-composer-input").press("Enter")
    await expect(page.locator("#main-composer .problem")).to_contain_text("cannot be reached")
    await expect(page.locator("#main-composer-input")).to_have_value("are you there?")
    again = SlackSimulator(latency=0)
    await again.start(port)
    try:
        await again.say(again.users["ben"], again.channels["general"], "back")
        await expect(page.locator("#lost")).to_be_hidden(timeout=15_000)
        await expect(page.locator("#main-list")).to_contain_text("back")
    finally:
        await again.stop()


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_readable_and_named(browser: Browser, sim: SlackSimulator, bot: AsyncWebClient, scheme: str) -> None:
    """In light and in dark every text has a contrast of 4.5 at least, and every control has a name."""
    general = sim.channels["general"]
    ts = await sim.say(sim.users["ben"], general, f"<@{sim.users['ada']}> `code` <https://a.test> <!here>\n&gt; quote")
    await bot.chat_postMessage(channel=general, thread_ts=ts, text="…", blocks=RETRY)
    text = "# H\n\n- [x] task\n\n```py\ncode\n```\n\n|a|\n|-|\n|b|\n\n> q"
    await bot.chat_postMessage(channel=general, thread_ts=ts, text="…", blocks=markdown(text))
    await bot.chat_postEphemeral(channel=general, thread_ts=ts, user=sim.users["ada"], text="whisper")
    await bot.assistant_threads_setStatus(channel_id=general, thread_ts=ts, status="is thinking…")
    await sim.say(sim.users["ben"], sim.channels["random"], f"<@{sim.users['ada']}>")
    context = await browser.new_context(viewport=WIDE, color_scheme="dark" if scheme == "dark" else "light")
    page = await context.new_page()
    await page.goto(f"{sim.page_url}#{general}/{ts}")
    await expect(page.locator("#thread .whisper")).to_be_visible()
    await page.locator("#thread-composer-input").fill("@")
    await page.locator("#thread-composer-input").press("End")
    assert await page.evaluate(CONTRAST) == []
    assert await page.evaluate(NAMELESS) == []
    await context.close()


async def test_narrow_window(page: Page, sim: SlackSimulator) -> None:
    """At 800 pixels nothing is cut off sideways and the thread can be written in."""
    await page.set_viewport_size({"width": 800, "height": 600})
    ts = await sim.say(sim.users["ben"], sim.channels["general"], "a_very_long_word_" * 40)
    await page.goto(f"{sim.page_url}#{sim.channels['general']}/{ts}")
    await expect(page.locator("#thread-composer-input")).to_be_in_viewport(ratio=1)
    await expect(page.get_by_role("button", name="Close thread")).to_be_in_viewport(ratio=1)
    for pane in ("html", "#main-scroll", "#thread-scroll"):
        assert await page.locator(pane).evaluate("(node) => node.scrollWidth <= node.clientWidth"), pane
