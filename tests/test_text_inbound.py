"""Slack's spelling read as plain words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slackbot.text.inbound import Entities, addressees, entities, readable, without_mention

BOT = "UBOT"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ()),
        ("hello", ()),
        ("hello there <@U1>", ()),
        ("Hey <@U1>, lunch?", ("U1",)),
        ("thank you <@U1>", ("U1",)),
        ("*<@U1>* look", ("U1",)),
        ("(<@U1> knows)", ("U1",)),
        ("&gt; <@U1> said so", ("U1",)),
        ("highest <@U1>", ()),
        ("and <@U1>", ()),
        ("&lt;@U1&gt; hello", ()),
        ("<#C1|general> hello", ()),
        ("<https://example.com>", ()),
        ("<@U1> hello <@U2>", ("U1",)),
        ("<@U1|ada> hello", ("U1",)),
        ("  \n<@W1>, <@U2>: hello", ("W1", "U2")),
        ("<@U1><@U2> <@U3> hello", ("U1", "U2", "U3")),
        ("<@U1>, <@U2> and <@U3> hello", ("U1", "U2", "U3")),
        ("<@U1> &amp; <@U2>", ("U1", "U2")),
        ("<@U1> andy <@U2>", ("U1",)),
        ("<!subteam^S1|@ops> and <!here> look", ("S1", "here")),
        ("<!subteam^S1>", ("S1",)),
        ("<!channel> <!everyone|everyone>", ("channel", "everyone")),
        ("<!date^1^{date}|today> <@U1>", ()),
    ],
)
def test_a_message_opens_by_addressing_somebody(text: str, expected: tuple[str, ...]) -> None:
    """The leading run of mentions says whom a message is for."""
    assert addressees(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("no mention", "no mention"),
        ("<@UBOT>", ""),
        ("<@UBOT>?", ""),
        (" <@UBOT>  <@UBOT|noxus> hello", "hello"),
        ("<@UBOT> hello", "hello"),
        ("<@UBOT>hello", "hello"),
        ("<@UBOT>: hello", "hello"),
        ("<@UBOT> , hello", "hello"),
        ("<@UBOT>,hello", "hello"),
        ("<@UBOT>! hello", "hello"),
        ("<@UBOT> :wave: hello", ":wave: hello"),
        ("<@UBOT> - one\n- two", "- one\n- two"),
        ("<@UBOT> .gitignore?", ".gitignore?"),
        ("<@UBOT>'s answer", "<@UBOT>'s answer"),
        ("<@UBOT>\u2019s answer", "<@UBOT>\u2019s answer"),
        ("<@UBOT>-style", "<@UBOT>-style"),
        ("<@UBOT> <@U1> what now?", "<@U1> what now?"),
        ("<@U1> <@UBOT> what now?", "<@U1> <@UBOT> what now?"),
        ("quiet <@UBOT>", "quiet"),
        ("hello <@UBOT>!", "hello!"),
        ("what is it, <@UBOT>?", "what is it?"),
        ("it is late; <@UBOT>", "it is late"),
        ("Is it? <@UBOT>", "Is it?"),
        ("It is late! <@UBOT>.", "It is late!"),
        ("two words\n<@UBOT>\n", "two words"),
        ("who is <@UBOT>?", "who is <@UBOT>?"),
        ("what did <@UBOT> say", "what did <@UBOT> say"),
        ("<@UBOT2> hello", "<@UBOT2> hello"),
        ("hello <@UBOT2>", "hello <@UBOT2>"),
    ],
)
def test_calling_the_bot_is_not_part_of_the_question(text: str, expected: str) -> None:
    """Its name goes where it only calls, and stays where the sentence needs it."""
    assert without_mention(text, BOT) == expected


def test_names_are_needed_where_slack_sent_none() -> None:
    """Every person and channel without a label, once."""
    text = "<@U1> <@U1> <@U2|ada> <#C1> <#C2|> <#C3|general> <!subteam^S1> <https://example.com> < <> &lt;@U9&gt;"
    assert entities(text) == Entities(frozenset({"U1"}), frozenset({"C1", "C2"}))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ask <@U1> please", "ask @Ada please"),
        ("<@U9|zed> and <@U8>", "@zed and @U8"),
        ("<#C1> <#C1|old-name> <#C9|general> <#C8|>", "#plans #plans #general #C8"),
        ("<!subteam^S1|@ops> <!subteam^S1>", "@ops @S1"),
        ("<!here> <!channel> <!everyone|everyone>", "@here @channel @everyone"),
        ("<!date^1392734382^{date}^https://example.com|Feb 18>", "Feb 18"),
        ("<!date^1392734382^{date}>", "<!date^1392734382^{date}>"),
        ("<!new^thing|as Slack shows it>", "as Slack shows it"),
        ("<https://example.com/?a=1&amp;b=2>", "https://example.com/?a=1&b=2"),
        ("<https://example.com|A &amp; B>", "A & B (https://example.com)"),
        ("<https://example.com|https://example.com>", "https://example.com"),
        ("<http://example.com|example.com>", "http://example.com"),
        ("<http://example.com/|example.com>", "http://example.com/"),
        ("<mailto:ada@example.com|ada@example.com>", "ada@example.com"),
        ("<mailto:ada@example.com|Ada>", "Ada (ada@example.com)"),
        ("<tel:+351123|+351123>", "+351123"),
        ("1 &lt; 2 &amp;&amp; 3 &gt; 2", "1 < 2 && 3 > 2"),
        ("&amp;lt; &amp;amp; &quot; &lt;@U1&gt;", "&lt; &amp; &quot; <@U1>"),
        ("a < b, <<@U1>, <b>, <>, <@>, <#>, <!>, x<", "a < b, <@Ada, <b>, <>, <@>, <#>, <!>, x<"),
    ],
)
def test_entities_become_words(text: str, expected: str) -> None:
    """Mentions, channels, dates and links read as in Slack, escapes are undone exactly once."""
    assert readable(text, people={"U1": "Ada"}, channels={"C1": "plans"}) == expected


@given(st.text(alphabet=st.characters(exclude_characters="<>&")))
def test_everything_else_is_carried_whole(text: str) -> None:
    """Emoji, right-to-left text, control characters: as they came."""
    assert readable(text, people={}, channels={}) == text


@given(st.text())
def test_what_slack_escaped_comes_back_as_it_was_typed(text: str) -> None:
    """Slack escapes three characters of what people type; no text becomes an entity by that."""
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    assert readable(escaped, people={}, channels={}) == text
    assert entities(escaped) == Entities()
    assert addressees(escaped) == ()


@pytest.mark.parametrize("text", ["<@UBOT> " * 5_000, "<" * 40_000, "&" * 40_000, " " * 40_000, "<@U1>, " * 6_000])
def test_forty_thousand_characters_are_read_at_once(text: str) -> None:
    """The longest message that Slack takes is no work."""
    people = {BOT: "Noxus", "U1": "Ada"}
    assert len(addressees(text)) == text.count("<@")
    assert readable(text, people=people, channels={}).count("@") == text.count("<@")
    assert BOT not in without_mention(text, BOT)
