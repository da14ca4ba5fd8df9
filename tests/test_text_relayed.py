"""What people write during a handover, as the other side sees it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slackbot.text.outbound import WORD_JOINER
from slackbot.text.relayed import FENCE, pieces, quotable

PEOPLE = {"U1": "Ada", "U2": "<!here>"}
CHANNELS = {"C1": "general"}


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("*bold* _italic_ ~gone~ `code`", "*bold* _italic_ ~gone~ `code`"),
        ("```a &lt; b\nc```", "```a &lt; b\nc```"),
        ("• one\n    ◦ two\n1. three", "• one\n    ◦ two\n1. three"),
        ("&gt; quoted", "&gt; quoted"),
        ("see <https://a.example/x?b=1&amp;c=2|the plan>", "see <https://a.example/x?b=1&amp;c=2|the plan>"),
        ("<mailto:a@here.example|a@here.example>", "<mailto:a@here.example|a@here.example>"),
        ("ask <@U1> in <#C1>", "ask @Ada in #general"),
        ("ask <@U9|Ben>", "ask @Ben"),
        ("<!here> and <!subteam^S1|@team>", f"@{WORD_JOINER}here and @team"),
        ("<!channel|x>", f"@{WORD_JOINER}channel"),
        ("@here typed, bob@everyone.example", f"@{WORD_JOINER}here typed, bob@everyone.example"),
        ("<https://a.example/@here>", "<https://a.example/@here>"),
        ("ask <@U2>", "ask @&lt;!here&gt;"),
        ("<!date^1^{time}|noon>", "noon"),
        ("<javascript:alert(1)|x>", "x (javascript:alert(1))"),
        ("<nothing we know>", "&lt;nothing we know&gt;"),
        ("a < b & c > d", "a &lt; b &amp; c &gt; d"),
        ("<!everyone", "&lt;!everyone"),
    ],
)
def test_marks_and_links_stay_and_nobody_is_called(written: str, shown: str) -> None:
    """What Slack showed of the words is shown again; what would notify anybody is only its name."""
    assert quotable(written, people=PEOPLE, channels=CHANNELS) == shown


@given(st.text(alphabet="<>@!#&;|^ \nahereUC1", max_size=80))
def test_nobody_is_ever_called(written: str) -> None:
    """Whatever is written: no mention, of a person, a group or everybody, is left."""
    shown = quotable(written, people=PEOPLE, channels=CHANNELS)
    assert not [call for call in ("<@", "<!", "<#", " @here") if call in f" {shown}"]


def test_cuts_are_between_lines_and_words() -> None:
    """A line's end is the best place, a space the next; white space there is not shown twice."""
    assert pieces("", 20) == []
    assert pieces("short", 20) == ["short"]
    assert pieces("one two three\nfour five", 20) == ["one two three", "four five"]
    assert pieces("one two three four five", 20) == ["one two three", "four five"]
    assert pieces("x" * 30, 20) == ["x" * 17, "x" * 13]
    assert pieces("\n".join(["word"] * 3) + " " * 30, 20) == ["word\nword", "word"]
    assert pieces("x" * 10 + " " * 30, 20) == ["x" * 10]


def test_links_and_escapes_are_not_cut() -> None:
    """Half a link would be no link any more."""
    link = "<https://a.example|the plan>"
    assert pieces(f"{'x' * 20} {link}", 40) == ["x" * 20, link]
    assert pieces(f"{'x' * 35}&amp;y", 40) == ["x" * 35, "&amp;y"]


def test_code_is_closed_and_opened_again() -> None:
    """Both pieces show as code, and only the code does."""
    assert pieces(f"{FENCE}one\ntwo\nthree{FENCE} done", 18) == [
        f"{FENCE}one\ntwo{FENCE}",
        f"{FENCE}three{FENCE} done",
    ]


@given(st.text(alphabet="ab <>&;`\n", max_size=200), st.integers(16, 60))
def test_pieces_hold_everything(text: str, most: int) -> None:
    """Every piece fits, and together they say the same."""
    found = pieces(text, most)
    assert all(len(piece) <= most for piece in found)

    def letters(words: str) -> str:
        return "".join(words.replace("`", "").split())

    assert "".join(letters(piece) for piece in found) == letters(text)
