"""What the agent cites: a compact line of links that cannot be more than that."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from slackbot.domain import Source
from slackbot.text.citations import LONGEST_TITLE, citations

PARSER = MarkdownIt("commonmark", {"html": False})


@pytest.mark.parametrize(
    ("sources", "line"),
    [
        ([], ""),
        ([("", "")], ""),
        ([("Plan", "https://a.example/plan")], "Sources: [Plan](https://a.example/plan)"),
        (
            [("A", "https://a.example"), ("B", ""), ("Again", "https://a.example"), ("B", "")],
            "Sources: [A](https://a.example) · B",
        ),
        ([("", "https://www.a.example/x")], r"Sources: [a\.example](https://www.a.example/x)"),
        ([("Evil", "javascript:alert(1)")], "Sources: Evil"),
        ([("x](y)", "https://a.example/(b) c")], None),
        ([("Long " * 40, "https://a.example/" + "x" * 3_000)], "Sources: " + ("Long " * 40)[: LONGEST_TITLE - 1] + "…"),
        (
            [("Two\n\nlines", "https://a.example/?a=1&copy;=2")],
            "Sources: [Two lines](https://a.example/?a=1&copy%3B=2)",
        ),
        (
            [("https://bank.example", "https://evil.example")],
            r"Sources: https\:\/\/bank\.example ([evil\.example](https://evil.example))",
        ),
    ],
)
def test_sources_are_named_once_by_links(sources: list[tuple[str, str]], line: str | None) -> None:
    """By name where there is no web address; a title is words and nothing else."""
    shown = citations(Source(title, url) for title, url in sources)
    if line is None:
        line = r"Sources: [x\]\(y\)](https://a.example/%28b%29%20c)"
    assert shown == line


hostile = st.lists(
    st.sampled_from(["]", "(", ")", "[", "*", "`", "<", "!here", "@", "U1", "channel", ">", "\\", "\n", "&lt;", "|",
                     "https://e.example", "a", "\ud83d", "#", "_", "~~", "- ", " "]),
    max_size=12,
).map("".join)  # fmt: skip


@given(st.lists(st.tuples(hostile, hostile.map(lambda path: f"https://a.example/{path}")), min_size=1, max_size=4))
def test_no_title_or_address_is_more_than_that(sources: list[tuple[str, str]]) -> None:
    """One line of links to the one host, in which nobody is called and nothing is emphasised."""
    line = citations(Source(title, url) for title, url in sources)
    line.encode()
    assert "\n" not in line
    (paragraph,) = [token for token in PARSER.parse(line) if token.type == "inline"]
    for token in paragraph.children or []:
        assert token.type in {"text", "text_special", "link_open", "link_close"}
        if token.type == "link_open":
            assert str(token.attrs["href"]).startswith("https://a.example/")
    assert not re.search(r"<(?:!(?:here|channel)|@U1)", "".join(token.content for token in paragraph.children or []))
