"""What our messages look like in Slack, and how they are read back from its history."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from slack_sdk.models.blocks import FeedbackButtonsElement

from slackbot.domain import Attachment, Body, BotIdentity, Button, Card, ContextMessage, PartRecord, PartRef, Person
from slackbot.errors import BodyRefused
from slackbot.simulator.slack.validation import check_blocks
from slackbot.slack.blocks import NAME_CHARS, build, build_question, plain_body
from slackbot.slack.events import ON_THREADS
from slackbot.slack.reading import agent_text, part_metadata, part_of, said

ME = BotIdentity("T0ACME", "Acme", "U0AGENT", "B0AGENT", "A0AGENT")


def test_an_answer() -> None:
    """Agent text is a markdown block, its notification one plain line."""
    text, blocks = build(Body("# Plan\n\nIt was **moved**."))
    assert text == "Plan It was moved."
    assert blocks == [{"type": "markdown", "text": "# Plan\n\nIt was **moved**."}]


def test_an_answer_that_failed() -> None:
    """Below what there is of the answer stand the sentence and the button."""
    text, blocks = build(Body("It was", notice="The agent stopped <here>.", buttons=(Button.RETRY,), turn_id=42))
    assert text == "It was"
    assert [block["type"] for block in blocks] == ["markdown", "context", "actions"]
    assert blocks[1]["elements"] == [
        {"type": "mrkdwn", "text": "The agent stopped &lt;here&gt;.", "verbatim": True},
    ]
    (button,) = blocks[2]["elements"]
    assert (button["action_id"], button["value"], button["text"]["text"]) == ("retry_turn", "42", "Retry")


def test_an_answer_that_grows() -> None:
    """Below the words so far stand, small, what the agent is doing, and Stop, whose name says what it stops."""
    text, blocks = build(Body("It was", step="Searching <the web>…", buttons=(Button.STOP,), turn_id=42))
    assert text == "It was"
    assert [block["type"] for block in blocks] == ["markdown", "context", "actions"]
    assert blocks[1]["elements"][0]["text"] == "Searching &lt;the web&gt;…"
    (button,) = blocks[2]["elements"]
    assert (button["action_id"], button["value"], button["text"]["text"]) == ("stop_turn", "42", "Stop")
    assert button["accessibility_label"] == "Stop this answer"
    assert "style" not in button


def test_an_answer_that_can_be_rated() -> None:
    """Slack's own thumbs stand below a finished answer, as Slack's library knows them."""
    _, blocks = build(Body("It was **moved**.", buttons=(Button.GOOD, Button.BAD), turn_id=42))
    assert [block["type"] for block in blocks] == ["markdown", "context_actions"]
    (thumbs,) = blocks[1]["elements"]
    assert (thumbs["type"], thumbs["action_id"]) == ("feedback_buttons", "rate_turn")
    good, bad = thumbs["positive_button"], thumbs["negative_button"]
    assert (good["value"], good["accessibility_label"]) == ("good:42", "Good answer")
    assert (bad["value"], bad["accessibility_label"]) == ("bad:42", "Bad answer")
    described = {name: value for name, value in thumbs.items() if name != "type"}
    assert FeedbackButtonsElement(**described).to_dict()["negative_button"]["value"] == "bad:42"


EVERYTHING = Body("It was", "Stopped.", "Searching…", (Button.BAD, Button.STOP, Button.GOOD, Button.RETRY), 42)


def test_everything_at_once() -> None:
    """Words, step, sentence, buttons and thumbs keep their order, and Slack takes them; without a turn no button."""
    _, blocks = build(EVERYTHING)
    assert [block["type"] for block in blocks] == ["markdown", "context", "context", "actions", "context_actions"]
    assert [button["text"]["text"] for button in blocks[3]["elements"]] == ["Retry", "Stop"]
    check_blocks(blocks)
    assert build(Body("It was", buttons=(Button.STOP,))) == build(Body("It was"))


def test_a_sentence_alone() -> None:
    """A sentence without an answer is shown in full size, and is the notification; a step goes small beside it."""
    text, blocks = build(Body(notice="Fish & chips"))
    assert text == "Fish &amp; chips"
    assert [block["type"] for block in blocks] == ["section"]
    text, blocks = build(Body(notice="Fish & chips", step="Frying…"))
    assert text == "Fish &amp; chips"
    assert [block["type"] for block in blocks] == ["context", "section"]


def test_a_step_alone() -> None:
    """Before the first word a step is the message, and the notification; with its Stop."""
    text, blocks = build(Body(step="Searching <the web>…", buttons=(Button.STOP,), turn_id=42))
    assert text == "Searching &lt;the web&gt;…"
    assert [block["type"] for block in blocks] == ["section", "actions"]


def test_an_endless_step() -> None:
    """A step is a line, whatever the agent's settings say."""
    step = "<" * 5_000
    for body in (Body(step=step), Body("It was", step=step), Body("It was", "Stopped.", step)):
        check_blocks(build(body)[1])
        assert len(plain_body(body)) < 1_300


CARD = Card(
    "Ada asks for a human",
    (("Agent", "Noxus"), ("Reason", "asked in words")),
    (("Ada", "My <invoice> is wrong."), ("agent", " "), ("agent", "I could not\nfind it.")),
    waiting_since=1_790_000_000.5,
    link="https://acme.slack.com/archives/C1/p1?thread_ts=1.1&cid=C1",
)
LINK = "<https://acme.slack.com/archives/C1/p1?thread_ts=1.1&amp;cid=C1|Open the thread>"


def test_a_card() -> None:
    """Heading, facts, what was said, since when, where, and the buttons of its state."""
    text, blocks = build(Body(card=CARD, buttons=(Button.CLAIM, Button.RESOLVE), handover_id=42))
    assert text == "Ada asks for a human"
    types = ["header", "section", "context", "section", "context", "section", "context", "actions"]
    assert [block["type"] for block in blocks] == types
    assert [field["text"] for field in blocks[1]["fields"]] == ["*Agent*\nNoxus", "*Reason*\nasked in words"]
    said = [blocks[2]["elements"][0], blocks[3]["text"], blocks[4]["elements"][0], blocks[5]["text"]]
    assert [one["text"] for one in said] == ["Ada", "My <invoice> is wrong.", "agent", "I could not\nfind it."]
    assert {one["type"] for one in said} == {"plain_text"}
    since = "Waiting since {date_short_pretty} at {time}, {ago}|Waiting since 2026-09-21 14:13 UTC"
    assert [one["text"] for one in blocks[6]["elements"]] == [f"<!date^1790000000^{since}>", LINK]
    assert [(it["action_id"], it["value"], it["text"]["text"]) for it in blocks[7]["elements"]] == [
        ("claim_handover", "42", "Take over"),
        ("resolve_handover", "42", "Resolve"),
    ]
    check_blocks(blocks)
    assert agent_text(post(blocks=blocks)) == ""


def test_a_bare_card() -> None:
    """What a card does not have takes no room; an address that is none is no link."""
    for link in ("", "javascript:alert(1)", "https://a.example/|b", "https://a.example/>", "https://a b"):
        assert [block["type"] for block in build(Body(card=Card("Resolved", link=link)))[1]] == ["header"]
    text, blocks = build(Body(card=Card("Taken", link="https://a.example"), notice="By Olga."))
    assert (text, [block["type"] for block in blocks]) == ("Taken", ["header", "context", "section"])


def test_a_card_as_text() -> None:
    """Where Slack refuses its blocks, a card says the same in words, and its link stays one."""
    body = Body(card=CARD, notice="Nobody came yet.")
    assert plain_body(body).split("\n") == [
        "Ada asks for a human",
        "Agent: Noxus",
        "Reason: asked in words",
        "Ada: My &lt;invoice&gt; is wrong.",
        "agent: I could not",
        "find it.",
        "Waiting since 2026-09-21 14:13 UTC",
        "https://acme.slack.com/archives/C1/p1?thread_ts=1.1&amp;cid=C1",
        "",
        "Nobody came yet.",
    ]
    assert plain_body(Body(card=Card("Resolved"))) == "Resolved"


@pytest.mark.parametrize("sign", ["&", "\U0001f600", "*", "`"])
def test_the_largest_card(sign: str) -> None:
    """Whatever people are called and say, Slack takes the card; of long talks the newest words are shown."""
    words = sign * 5_000
    card = Card(words, ((words, words),) * 12, ((words, words),) * 11 + (("Ada", "the last"),), 0.0, f"https://{words}")
    body = Body(card=card, buttons=tuple(Button), turn_id=1, handover_id=1)
    _, blocks = build(body)
    check_blocks(blocks)
    assert "the last" in str(blocks)
    if sign != "&":  # five characters in Slack's spelling
        assert plain_body(body)


def test_who_speaks() -> None:
    """Where Slack does not show it, a human's name stands above the words, and before them where there is only text."""
    body = Body(quoted="It is *on its way* &amp; <https://a.example|here>.", speaker=Person("U1", "Olga *P.*\n<!here>"))
    text, blocks = build(body)
    assert text == "Olga P. &lt;!here&gt;: It is on its way &amp; here (https://a.example)."
    assert [(block["type"], block.get("block_id")) for block in blocks] == [("context", "speaker"), ("section", None)]
    assert blocks[0]["elements"][0]["text"] == "*Olga P. &lt;!here&gt;*"
    assert blocks[1]["text"] == {"type": "mrkdwn", "text": body.quoted, "verbatim": True}
    assert plain_body(body) == f"*Olga P. &lt;!here&gt;:* {body.quoted}"
    assert build(Body("Yes.", speaker=Person("U0", "*")))[0] == "?: Yes."


def test_long_words_of_a_person_stay_open() -> None:
    """They go into several sections, none of which Slack may fold; more than a message holds is refused."""
    _, blocks = build(Body(quoted="\n".join(["a line"] * 1_000), notice="shared: a.png", speaker=Person("U1", "Olga")))
    check_blocks(blocks)
    assert [block["type"] for block in blocks] == ["context", *["section"] * 3, "context"]
    assert all(block["expand"] is True for block in blocks[1:4])
    with pytest.raises(BodyRefused):
        build(Body(quoted="x" * 9_001))


def test_a_private_question() -> None:
    """Its words, and buttons that say which thread and message it is about."""
    text, blocks = build_question("Do <you> take over?", ON_THREADS, "1.1", "2.2")
    assert text == "Do &lt;you&gt; take over?"
    assert [block["type"] for block in blocks] == ["section", "actions"]
    assert [(it["action_id"], it["value"], it["text"]["text"]) for it in blocks[1]["elements"]] == [
        ("take_over", "1.1/2.2", "Take over"),
        ("just_say", "1.1/2.2", "Just say it"),
    ]
    check_blocks(blocks)


@pytest.mark.parametrize(
    "body",
    [
        Body(),
        Body(" \n", buttons=(Button.RETRY,), turn_id=1),
        Body("x" * 9_001),
        Body("\U0001f600" * 2_751),
        Body("\ud83d" * 3_667),
        Body(notice="<" * 751),
    ],
)
def test_what_slack_would_refuse_is_not_sent(body: Body) -> None:
    """Nothing to show, too many characters, too many bytes."""
    with pytest.raises(BodyRefused):
        build(body)


def test_the_largest_answer() -> None:
    """Up to the limits everything passes."""
    assert build(Body("x" * 9_000))
    assert build(Body("\U0001f600" * 2_750))


def test_plain_body() -> None:
    """Without blocks every word is there, none of it is markup to Slack, and it fits or is refused."""
    body = Body("See <!channel> & co", notice="Stopped.", buttons=(Button.RETRY,), turn_id=1)
    assert plain_body(body) == "See &lt;!channel&gt; &amp; co\n\nStopped."
    assert plain_body(EVERYTHING) == "It was\n\nSearching…\n\nStopped."
    assert plain_body(Body(step="Searching…")) == "Searching…"
    assert plain_body(Body("x" * 4_000)) == "x" * 4_000
    with pytest.raises(BodyRefused):
        plain_body(Body("x" * 4_001))


ROWS = st.sampled_from([(), (Button.STOP,), (Button.RETRY,), (Button.GOOD, Button.BAD), tuple(Button)])
NUMBERS = st.none() | st.integers(1)
BODIES = st.builds(Body, st.text(), st.text(), st.text(), ROWS, NUMBERS, NUMBERS)
LOUD = st.sampled_from(
    ["<!channel>", "<@U1>", "<https://a.example|b>", "https://a.example", "@here", "*", "```", "&lt;"]
)
SAID = st.lists(LOUD | st.text(max_size=9), max_size=6).map("".join)
CARDS = st.builds(
    Card,
    SAID,
    st.lists(st.tuples(SAID, SAID), max_size=9).map(tuple),
    st.lists(st.tuples(SAID, SAID), max_size=9).map(tuple),
    st.none() | st.floats(0, 4e9),
    SAID | st.just("https://a.example/p1"),
)


def marked(block: object) -> Iterator[str]:
    """Every text of a block in which Slack looks for mentions, links and marks."""
    if isinstance(block, list):
        for item in block:
            yield from marked(item)
    elif isinstance(block, dict):
        if block.get("type") == "mrkdwn":
            assert block["verbatim"] is True
            yield block["text"]
        for item in block.values():
            yield from marked(item)


@given(CARDS, SAID)
def test_a_card_calls_nobody(card: Card, name: str) -> None:
    """Nothing in a name or in what was said mentions anybody, links anywhere or breaks the card."""
    body = Body(card=card, buttons=(Button.CLAIM,), handover_id=1, speaker=Person("U1", name))
    text, blocks = build(body)
    check_blocks(blocks)
    special = re.compile(r"<(?:!date\^\d+\^[^<>|]+\|[^<>]+|https?://[^<>|\s]+\|Open the thread)>")
    for words in (text, plain_body(body), *marked(blocks)):
        assert not re.search(r"[<>]|&(?!amp;|lt;|gt;)", special.sub("", words))
    assert len(text) < 5 * (150 + NAME_CHARS) + 9


@given(BODIES)
def test_slack_takes_what_is_built(body: Body) -> None:
    """Whatever there is to show, Slack's rules for blocks hold; only a body without words is refused."""
    try:
        _, blocks = build(body)
    except BodyRefused:
        assert [body.markdown.strip(), body.step, body.notice] == [""] * 3
    else:
        check_blocks(blocks)
        assert agent_text(post(blocks=blocks)) == body.markdown.strip()


def post(**fields: Any) -> dict[str, Any]:
    """A message of ours as Slack's history returns it."""
    return {"type": "message", "user": "U0AGENT", "bot_id": "B0AGENT", "ts": "1.1", "text": "gist", **fields}


def test_our_words_are_read_back() -> None:
    """The agent's text comes from the blocks; our own sentences are not the agent's."""
    markdown, notice = build(Body("It was **moved**.", notice="Stopped."))[1], build(Body(notice="Stopped."))[1]
    assert agent_text(post(blocks=markdown)) == "It was **moved**."
    assert agent_text(post(blocks=notice)) == ""
    assert agent_text(post(blocks=build(EVERYTHING)[1])) == "It was"
    assert agent_text(post()) == "gist"
    assert agent_text(post(text=None)) == ""


def test_translated_blocks_are_read_back() -> None:
    """Slack may keep markdown as rich text."""
    link = {"type": "link", "url": "https://a.example", "text": "plan"}
    section = {"type": "rich_text_section", "elements": [{"type": "text", "text": "See "}, link, {"type": "emoji"}]}
    bare = {"type": "rich_text_section", "elements": [{"type": "link", "url": "https://b.example"}]}
    bullets = {"type": "rich_text_list", "elements": [section, bare]}
    block = {"type": "rich_text", "elements": [section, bullets]}
    assert agent_text(post(blocks=[block])) == "See plan\n- See plan\n- https://b.example"


def test_what_was_said() -> None:
    """People, bots and the agent are told apart; Slack's own notices and our sentences say nothing."""
    assert said(post(blocks=[{"type": "markdown", "text": "Hi"}]), ME) == ContextMessage(
        "1.1", "U0AGENT", "Hi", from_agent=True
    )
    person = {"user": "U0ADA", "ts": "1.2", "text": "look\0", "files": [{"id": "F1", "name": "a.txt"}]}
    assert said(person, ME) == ContextMessage("1.2", "U0ADA", "look\u2400", (Attachment("F1", "a.txt"),))
    hook = {"bot_id": "B0HOOK", "ts": "1.3", "text": "deployed", "subtype": "bot_message"}
    assert said(hook, ME) == ContextMessage("1.3", "B0HOOK", "deployed")
    assert said({"user": "U0ADA", "ts": "1.4", "text": "", "files": []}, ME) is None
    assert (
        said({"user": "USLACKBOT", "ts": "1.5", "text": "deleted", "subtype": "tombstone", "hidden": True}, ME) is None
    )
    assert said({"ts": "1.6", "text": "nobody"}, ME) is None
    assert said(post(blocks=build(Body(notice="Stopped."))[1]), ME) is None


def test_parts_are_found_by_their_metadata() -> None:
    """Only our own messages, and only of that turn, count."""
    metadata = part_metadata(PartRef(42, 1))
    assert part_of(post(metadata=metadata), 42, ME) == PartRecord(1, "1.1", chars=4)
    placeholder = post(metadata=metadata, blocks=build(Body(step="Still working on it…"))[1])
    assert part_of(placeholder, 42, ME) == PartRecord(1, "1.1", placeholder=True, at_work=True)
    for growing in (Body("Four", step="Searching…"), Body("Four", buttons=(Button.STOP,), turn_id=42)):
        message = post(metadata=metadata, blocks=build(growing)[1])
        assert part_of(message, 42, ME) == PartRecord(1, "1.1", chars=4, at_work=True)
    ended = build(Body("Four", "The agent stopped.", buttons=(Button.RETRY,), turn_id=42))[1]
    assert part_of(post(metadata=metadata, blocks=ended), 42, ME) == PartRecord(1, "1.1", chars=4)
    assert part_of(post(metadata=metadata), 43, ME) is None
    assert part_of(post(metadata=metadata, user="U0ADA", bot_id="B0EVIL"), 42, ME) is None
    assert part_of(post(metadata={"event_type": "other", "event_payload": {"turn_id": 42, "index": 1}}), 42, ME) is None
    assert part_of(post(metadata={"event_type": "slackbot_part"}), 42, ME) is None
    assert part_of(post(), 42, ME) is None
