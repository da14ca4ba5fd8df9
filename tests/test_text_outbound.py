"""What the agent says: nobody is called, nothing else changes, and it can be sent."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slackbot.text.outbound import SUMMARY_CHARS, WORD_JOINER, Preparer, plain, prepare

FRAGMENTS = [
    "<", "&lt;", "&LT;", "&LT", "&#60;", "&#00060;", "&#x3c;", "&#X003C;", "!", "\\!", "&excl;", "&#33;", "&#x21;",
    "@", "\\@", "&commat;", "&#64;", "&#x40;", "channel", "here", "everyone", "HERE", "&#104;ere", "subteam^S1",
    "U&#49;", "U1", "W0AB", "u1", ">", "|", "&", "#", ";", " ", "\n", "a", "é", "_", "\ud83d", "\ude00", "\0",
    WORD_JOINER,
]  # fmt: skip
agent_text = st.one_of(st.lists(st.sampled_from(FRAGMENTS), max_size=40).map("".join), st.text())

# A mention as Slack reads it: https://docs.slack.dev/messaging/formatting-message-text
MENTION = re.compile(
    r"<(?:!(?i:channel|here|everyone|subteam)|@[UW][A-Z0-9])|(?<![A-Za-z0-9])@(?:channel|here|everyone)\b"
)


def in_pieces(pieces: Iterable[str]) -> str:
    """What the preparer makes of text that comes in these pieces."""
    preparer = Preparer()
    return "".join([preparer.push(piece) for piece in pieces]) + preparer.finish()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("<!channel>", "<!~channel>"),
        ("<!here> and <!everyone|everyone>", "<!~here> and <!~everyone|everyone>"),
        ("<!Channel>", "<!~Channel>"),
        ("<!subteam^S1|@ops>", "<!~subteam^S1|@ops>"),
        ("<@U024BE7LH> <@W1|ada>", "<@~U024BE7LH> <@~W1|ada>"),
        ("&lt;!channel&gt; &lt;@U1&gt;", "&lt;!~channel&gt; &lt;@~U1&gt;"),
        ("&#60;!here> &#x3C;@U1> &LT;!here>", "&#60;!~here> &#x3C;@~U1> &LT;!~here>"),
        ("<&excl;here> <&#33;here> <\\!here> <&commat;U1>", "<&excl;~here> <&#33;~here> <\\!~here> <&commat;~U1>"),
        ("@channel, (@here) _@everyone_", "@~channel, (@~here) _@~everyone_"),
        ("\\@here &#64;here", "\\@~here &#64;~here"),
        ("ends with @here", "ends with @~here"),
        ("<!&#99;hannel> <!her&#101;> <@&#85;1> @h&#x65;re", "<!~&#99;hannel> <!~her&#101;> <@~&#85;1> @~h&#x65;re"),
        ("[<!here>](https://example.com) <https://example.com|@here>", "[<!~here>](https://example.com) <https://example.com|@~here>"),
        ("`@here` **@channel**\n```\n<!channel>\n```", "`@~here` **@~channel**\n```\n<!~channel>\n```"),
    ],
)  # fmt: skip
def test_nobody_is_called(text: str, shown: str) -> None:
    """A word joiner breaks every mention, in every spelling and place; what people see stays the same."""
    assert prepare(text) == shown.replace("~", WORD_JOINER)


@pytest.mark.parametrize(
    "text",
    [
        "bob@here.com and bob@channel.io",
        "@hereford, @channels, @Channel('orders') and @Here",
        "<!-- here --> <!DOCTYPE html> if (a <!here_is_no_mention",
        "List<@NonNull String> and <@user>",
        "a < b, <b>, &lt;b&gt;, <https://example.com>, <#C1>, <mailto:a@example.com>",
        "emoji 👩\u200d👩\u200d👧, עברית, 漢字, e\u0301\r\n\ttab",
        "",
    ],
)  # fmt: skip
def test_everything_else_stays(text: str) -> None:
    """Mail addresses, annotations, generics, comments and links are what they were."""
    assert prepare(text) == text.replace("<!here", f"<!{WORD_JOINER}here")


def test_text_that_cannot_be_sent_is_repaired() -> None:
    """Halves of a character find each other, also across pieces; a lone half and a null are replaced."""
    assert in_pieces(["a\ud83d", "\ude00b"]) == "a😀b"
    assert in_pieces(["\ud83d", "x\ude00\0", "\ud83d"]) == "\ufffdx\ufffd\ufffd\ufffd"


@settings(max_examples=500)
@given(text=agent_text, widths=st.lists(st.integers(1, 7), min_size=1, max_size=5))
def test_any_pieces_give_the_same_text(text: str, widths: list[int]) -> None:
    """However the text comes, it is prepared alike, and little of it waits for the next piece."""
    preparer = Preparer()
    shown, at, number = "", 0, 0
    while at < len(text):
        width = widths[number % len(widths)]
        shown += preparer.push(text[at : at + width])
        at, number = at + width, number + 1
        assert len(preparer._held) <= 40
    assert shown + preparer.finish() == prepare(text)


@settings(max_examples=500)
@given(agent_text)
def test_prepared_text_calls_nobody_and_stays_prepared(text: str) -> None:
    """Neither as it stands nor with its character references resolved; preparing again changes nothing."""
    shown = prepare(text)
    assert not MENTION.search(shown)
    resolved = re.sub(r"&#?\w+;", lambda reference: html.unescape(reference[0]), shown)
    assert not MENTION.search(resolved.replace("\\!", "!").replace("\\@", "@"))
    assert prepare(shown) == shown
    shown.encode()


def test_a_preparer_starts_anew_after_the_end() -> None:
    """Nothing of one text shows in the next."""
    preparer = Preparer()
    assert preparer.push("x <") == "x "
    assert preparer.finish() == "<"
    assert preparer.push("!here>") + preparer.finish() == "!here>"


def test_plain_words_are_not_held_back() -> None:
    """A paragraph shows as it comes."""
    preparer = Preparer()
    assert [preparer.push(piece) for piece in ["It ", "is", "", " sunny."]] == ["It ", "is", "", " sunny."]


@pytest.mark.parametrize(
    ("markdown", "summary"),
    [
        ("# Weather\n\nIt is **sunny** and _warm_ in `Lisbon`.", "Weather It is sunny and warm in Lisbon."),
        ("- one\n* two\n> three\n1. four", "one two three 1. four"),
        ("| a | b |\n|---|:-:|\n| 1 | 2 |", "a b 1 2"),
        ("```py\nx = 1 < 2 & 3\n```", "x = 1 &lt; 2 &amp; 3"),
        ("[the map](https://example.com 't') ![a view](/i.png)", "the map a view"),
        ("snake_case_name, 2*3*4 and ~~gone~~", "snake_case_name, 2*3*4 and gone"),
        ("", "…"),
        ("---\n\n***", "…"),
        ("@**here** &amp;", f"@{WORD_JOINER}here &amp;amp;"),
        (prepare("<!channel>"), f"&lt;!{WORD_JOINER}channel&gt;"),
    ],
)  # fmt: skip
def test_a_notification_says_the_gist(markdown: str, summary: str) -> None:
    """One line without markup, escaped, never empty, and calling nobody."""
    assert plain(markdown) == summary


def test_a_long_gist_is_cut_at_a_word_if_there_is_one() -> None:
    """It ends with an ellipsis then."""
    assert plain("word " * 100) == "word " * 28 + "word…"
    assert plain("x" * 1_000) == "x" * (SUMMARY_CHARS - 1) + "…"


@given(agent_text)
def test_any_text_has_a_gist(text: str) -> None:
    """Short and safe whatever the agent says."""
    summary = plain(text)
    assert summary.strip()
    assert len(html.unescape(summary)) <= SUMMARY_CHARS + 40
    assert not MENTION.search(summary)
    assert not re.search("[<>\n]", summary)
