"""A growing text cut into parts: nothing lost, everything fits, whatever the text and however it comes."""

from __future__ import annotations

import json
from itertools import accumulate
from pathlib import Path

import pytest
import regex
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from slackbot.text.cuts import size
from slackbot.text.fences import Fence, changes
from slackbot.text.parts import LEAST, Part, Parts

MARKDOWN = MarkdownIt()
SPEC = json.loads((Path(__file__).parent / "payloads" / "markdown" / "commonmark.json").read_text("utf-8"))
SPEC_EXAMPLES = [example for section in SPEC["examples"].values() for example in section]
FAMILY = "👩\u200d👩\u200d👧\u200d👦"

EXAMPLES = [
    "# Heading\n\nSetext\n===\n\nOther\n---\n\n### Closed ###\n",
    "A paragraph\nwith a soft break,  \na hard one\\\nand *emphasis*, **strong**, ***both***, ~~gone~~.\n",
    "- a\n- b\n  - c\n    - d\n\n  with a paragraph\n- [ ] open\n- [x] done\n",
    "1. one\n2. two\n\n   ```sh\n   make test\n   ```\n3. three\n10. ten\n",
    "> quoted\n> > deeper\nlazy\n\n> ```py\n> x = 1\n> ```\n> after\n",
    "```python\ndef f():\n\n    return '```'\n```\n",
    "~~~\n```\nnot the end\n~~~~\n",
    "````md\n```py\ninner\n```\n````\n",
    "```\nnever closed\n",
    "    indented code\n\n\tand a tab\n",
    "| a | b |\n|---|:-:|\n| `x|y` | 2 |\n",
    "`code` ``co`de`` ```inline``` \\`no\\`\n",
    '[link](https://example.com/a_(b) "title") ![image](/u.png) <https://example.com> [ref][r]\n\n[r]: /url\n',
    "***\n---\n___\n\nText &amp; &copy; &#35; &lt;tag&gt; <b>html</b> <!-- c -->\n",
    "* * *\n+ plus\n1) paren\n- ```\n  in a list\n  ```\n",
    f"Emoji {FAMILY} 🇩🇪🇫🇷, combining e\u0301, क्षि, 각, עברית, العربية, 漢字かな\n",
    "\r\nWindows\r\n\r\n```\r\ncode\r\n```\r\n",
    "zero\u0000null \u2028line\u2029paragraph\x0bvertical\x0cfeed\u3000wide\n",
]
FRAGMENTS = [
    "word ", "a", " ", "\n", "\n\n", "\n" * 70, " " * 90, "\t", "    ", "\r\n", "\u3000", "# ", "- ", "1. ", "> ", ">",
    "```", "```py\n", "\n```\n", "~~~\n", "> ```\n", "> > ~~~js\n", "- ```sh\n", "``", "`", "~", "[label](", ")", "[",
    "<", "https://example.com/" + "path/" * 8, "x" * 60, "漢字" * 30, FAMILY, "🇩🇪", "e", "\u0301", "\u0600",
    "\u200d", "שלום ", "**", "*", "_", "~~", "**bold", "it*", "| a | b |\n|---|---|\n", "| 1 | 2 |\n", "|", "\n  - ",
    "\n    - ", "\n   ", "[x](https://a.example)", "&amp;", "\\", "!", "[ref]: /url\n", "\n---\n", "     ```py\n",
]  # fmt: skip

markdown = st.one_of(
    st.lists(st.sampled_from(EXAMPLES), min_size=1, max_size=12).map("\n".join),
    st.lists(st.sampled_from(SPEC_EXAMPLES), min_size=1, max_size=30).map("\n\n".join),
    st.lists(st.sampled_from(FRAGMENTS), max_size=120).map("".join),
    st.text(max_size=1_500),
)
limits = st.tuples(st.integers(LEAST, 800), st.integers(LEAST, 1_200))


def chunked(text: str, cuts: list[int]) -> list[str]:
    """``text`` in pieces of the given sizes, over and over."""
    pieces: list[str] = []
    while text:
        width = cuts[len(pieces) % len(cuts)]
        pieces.append(text[:width])
        text = text[width:]
    return pieces


def cut(text: str, max_chars: int = LEAST, max_bytes: int = 4 * LEAST) -> list[Part]:
    """The parts of a whole text."""
    parts = Parts(max_chars, max_bytes)
    parts.push(text)
    parts.finish()
    return [parts.part(index) for index in range(parts.count)]


def bodies(text: str, max_chars: int = LEAST) -> list[str]:
    """The pieces of the text that its parts carry."""
    return [part.body for part in cut(text, max_chars)]


@settings(max_examples=400, deadline=None)
@given(text=markdown, room=limits, widths=st.lists(st.integers(1, 700), min_size=1, max_size=6))
def test_any_text_in_any_pieces_is_cut_into_the_same_whole_parts(
    text: str, room: tuple[int, int], widths: list[int]
) -> None:
    """Nothing is lost or repeated, every part always fits and shows something, and closed parts stay as they are."""
    parts = Parts(*room)
    closed: list[Part] = []
    for piece in chunked(text, widths):
        parts.push(piece)
        for index in range(parts.count):
            shown = parts.text(index)
            assert len(shown) <= room[0]
            assert size(shown) <= room[1]
            assert shown.strip()
        now = [parts.part(index) for index in range(parts.closed)]
        assert now[: len(closed)] == closed
        closed = now
    parts.finish()
    found = [parts.part(index) for index in range(parts.count)]
    assert found == cut(text, *room)
    assert "".join(part.body for part in found) == (text if text.strip() else "")
    for part in found:
        without_marks = part.text.removeprefix(part.prefix).removesuffix(part.suffix)
        assert part.text == part.prefix + without_marks + part.suffix
        assert without_marks.split() == part.body.split()


@settings(max_examples=300, deadline=None)
@given(
    text=markdown,
    room=limits,
    widths=st.lists(st.integers(1, 700), min_size=1, max_size=6),
    seen=st.integers(0, 8),
    ended=st.booleans(),
)
def test_a_part_can_stay_as_it_was_seen(
    text: str, room: tuple[int, int], widths: list[int], seen: int, *, ended: bool
) -> None:
    """What a message showed at some moment stays its part; the rest follows whole, and everything fits."""
    parts = Parts(*room)
    shown, index, length = "", -1, 0
    for number, piece in enumerate(chunked(text, widths)):
        parts.push(piece)
        if number == seen and parts.count:
            index = parts.count - 1
            shown, length = parts.text(index), len(parts.body(index))
    if ended:
        parts.finish()
    if index < 0:
        return
    parts.split(index, length)
    parts.finish()
    assert parts.text(index) == shown
    assert "".join(parts.body(number) for number in range(parts.count)).rstrip() == text.rstrip()
    assert all(len(parts.text(n)) <= room[0] and size(parts.text(n)) <= room[1] for n in range(parts.count))


@settings(max_examples=200, deadline=None)
@given(text=markdown, room=limits)
def test_no_cut_falls_inside_a_character_as_people_see_it(text: str, room: tuple[int, int]) -> None:
    """Emoji with joiners, flags, combining marks and conjuncts stay whole, unless one alone fills a part."""
    clusters = regex.findall(r"\X", text)
    if max(map(len, clusters), default=0) > LEAST // 8:
        return
    boundaries = set(accumulate(map(len, clusters)))
    found = cut(text, *room)
    assert set(accumulate(len(part.body) for part in found)) <= boundaries


code_lines = st.lists(
    st.sampled_from(["x = 1", "", "    deep", "# no heading", "- no list", "y" * 90, "漢" * 40]), max_size=60
)
blocks = st.one_of(
    st.lists(st.sampled_from(["word", "longer words", "*and*"]), min_size=1, max_size=80).map(" ".join),
    st.tuples(st.sampled_from(["```", "~~~", "`````"]), st.sampled_from(["", "py", "c++ title"]), code_lines).map(
        lambda code: "\n".join([code[0] + code[1], *code[2], code[0]])
    ),
)


@settings(max_examples=100, deadline=None)
@given(documents=st.lists(blocks, min_size=1, max_size=8), room=st.integers(LEAST, 900))
def test_code_reads_the_same_through_all_parts(documents: list[str], room: int) -> None:
    """A Markdown parser finds all code of the text, and only that, in the code blocks of the parts, languages too."""

    def code(text: str) -> list[tuple[str, str]]:
        fences = (token for token in MARKDOWN.parse(text) if token.type in {"fence", "code_block"})
        return [
            (token.info.split(" ")[0], line) for token in fences for line in token.content.split("\n") if line.strip()
        ]

    text = "\n\n".join(documents)
    parts = [part.text for part in cut(text, room, 4 * room)]
    assert [line for part in parts for line in code(part)] == code(text)


def test_cuts_fall_between_blocks() -> None:
    """A paragraph that does not fit goes to the next part as a whole, and its blank line stays behind."""
    first, second = "first " * 30, "second " * 20
    assert bodies(f"{first}\n\n{second}") == [f"{first}\n\n", second]


@pytest.mark.parametrize("opening", ["## Heading\n", "```py\n", "~~~\n"])
def test_a_block_needs_no_blank_line_before_it(opening: str) -> None:
    """Headings and code start a block where they stand."""
    text = f"{'word ' * 25}\n{'more ' * 10}\n"
    rest = f"{opening}{'last ' * 25}"
    assert bodies(text + rest)[0] == text


def test_a_heading_stays_with_what_it_heads() -> None:
    """No part ends with a heading."""
    text = "word " * 30 + "\n\n"
    section = "# Heading\n\n" + "more " * 25
    assert bodies(text + section) == [text, section]


def test_text_after_code_is_a_block() -> None:
    """The end of a code block is a good place to cut."""
    code = "```\n" + "code\n" * 30 + "```\n"
    text = "line\n" * 30
    assert bodies(code + text)[0] == code


def test_a_part_is_not_left_mostly_empty_for_a_better_place() -> None:
    """A block boundary close to the start loses against a line end, and that against a space."""
    assert bodies("Short.\n\n" + "line of text\n" * 30)[0].count("line") > 10
    assert len(bodies("Short.\n\nline\n" + "word " * 80)[0]) > LEAST - 10


@pytest.mark.parametrize("deeper", ["    nested", "\tnested"])
def test_an_indented_line_is_not_made_code(deeper: str) -> None:
    """A cut before four spaces would show a nested item as code, so it falls before a line without them."""
    item = "- item " + "x" * 100 + "\n"
    text = item + "- next\n" + f"{deeper} {'y' * 120}\n" + f"{deeper} {'z' * 100}"
    assert bodies(text)[0] == item


def test_a_loose_list_is_cut_before_an_item() -> None:
    """Blank lines inside an item are no places to cut, unless nothing else is left."""
    text = "- a " + "x" * 110 + "\n- b\n\n  " + "y" * 60 + "\n\n  " + "z" * 120
    assert bodies(text)[1].startswith("- b")
    assert bodies(text.replace("- b", "  b"))[1].startswith("  z")


def test_a_code_block_that_is_cut_goes_on_in_its_language() -> None:
    """The marks are known: an end of the block below the first part, its first line above the next."""
    code = "line of code\n" * 40
    first, second, *_ = cut(f"Look:\n```python title=x\n{code}```\n")
    assert first.suffix == "```"
    assert first.text.endswith("line of code\n```")
    assert (second.prefix, second.text[:23]) == ("```python\n", "```python\nline of code\n")
    assert second.body.startswith("line of code\n")


@pytest.mark.parametrize(
    ("opening", "prefix", "suffix"),
    [
        ("> ```py", "> ```py\n", "> ```"),
        ("- ```py", "  ```py\n", "  ```"),
        ("   ~~~~", "   ~~~~\n", "   ~~~~"),
        ("```" + "long-language" * 9, "```\n", "```"),
        (" " * 30 + "```c", "```c\n", "```"),
        ("`" * 40 + "c", "`" * 16 + "c\n", "`" * 16),
    ],
)
def test_the_marks_of_a_cut_block_repeat_what_stood_before_it(opening: str, prefix: str, suffix: str) -> None:
    """Quotes and lists go on around the code; what is absurdly long is left out, so that marks stay short."""
    quote = "> " if ">" in opening else ""
    first, second, *_ = cut(f"{opening}\n" + f"{quote}code\n" * 80)
    assert (second.prefix, first.suffix) == (prefix, suffix)


def test_no_part_starts_with_the_end_of_its_code() -> None:
    """A block is not continued just to be closed: its last line of code goes along."""
    for length in range(LEAST // 2):
        text = "```\n" + "x" * (LEAST // 2) + "\n" + "y" * length + "\n```\n" + "z" * 200
        assert all(not part.startswith("```") for part in bodies(text)[1:])


def test_a_block_is_not_opened_just_to_be_cut() -> None:
    """Its first line goes to the next part with the code."""
    text = "word " * 45 + "\n```python\n"
    assert bodies(text + "code " * 40)[0] == "word " * 45 + "\n"


def test_a_line_of_code_longer_than_a_part_is_cut_inside_the_block() -> None:
    """The marks bring their own line ends then."""
    first, second, *_ = cut("```js\n" + "x" * 600 + "\n```")
    assert first.text.endswith("x\n```")
    assert second.text.startswith("```js\nx")


@pytest.mark.parametrize(
    ("grown", "shown"),
    [
        ("```py\nx", "```py\nx\n```"),
        ("```py\nx\n", "```py\nx\n```"),
        ("```py\nx\n`", "```py\nx\n```"),
        ("```py\nx\n```", "```py\nx\n```"),
        ("```py\nx\n```\n", "```py\nx\n```\n"),
        ("```py\nx\n  ", "```py\nx\n  \n```"),
        ("```py\nx\n `` ", "```py\nx\n `` \n```"),
        ("```py\nx\n~~~", "```py\nx\n~~~\n```"),
        ("```py\nx\n> ", "```py\nx\n> \n```"),
        ("```a`b`c```\n", "```a`b`c```\n"),
        ("> ```\n> x", "> ```\n> x\n> ```"),
        ("> ```\n> x\n>", "> ```\n> x\n>```"),
        ("> ```\n> x\nout", "> ```\n> x\nout"),
        ("> ```\n> x\n\n", "> ```\n> x\n\n"),
        ("text ``` text", "text ``` text```"),
    ],
)
def test_an_open_code_block_is_closed_for_display(grown: str, shown: str) -> None:
    """What is shown is complete Markdown, also while a fence is being typed."""
    parts = Parts()
    parts.push(grown)
    assert parts.text(0) == shown
    assert parts.body(0) == grown


def test_blocks_end_with_their_quote_or_with_a_fence_of_their_own() -> None:
    """A fence of another kind, a shorter one, and one with words after it are code."""
    text = "````\n~~~~\n```\n```` x\n- ````\n````\n> ~~~\n> > ~~~\n> ~~~\n> ```\ntext\n"
    found = [(text[position:].partition("\n")[0], fence and fence.marker) for position, fence in changes(text, None)]
    assert found == [
        ("````", None),
        ("~~~~", "````"),
        ("> ~~~", None),
        ("> > ~~~", "~~~"),
        ("> ```", None),
        ("text", "```"),
        ("text", None),
    ]
    assert changes("x\n", Fence("> ", "```", "")) == [(0, Fence("> ", "```", "")), (0, None)]


def test_words_stay_whole() -> None:
    """A single long paragraph is cut at spaces."""
    assert all(part.endswith(" ") for part in bodies("word " * 200)[:-1])


@pytest.mark.parametrize(
    "whole",
    [
        "[a label of several words](https://example.com/page)",
        "![an image with words](https://example.com/i.png)",
        "<https://example.com/page|a label of words>",
        "`some code with spaces`",
        "https://example.com/" + "very-long-" * 12,
    ],
)
def test_links_and_code_stay_whole(whole: str) -> None:
    """Wherever it falls, a link or a code span is in one part."""
    for before in range(LEAST - len(whole) - 3, LEAST + 3):
        text = "w " * (before // 2) + "x" * (before % 2) + whole + " end" * 20
        assert any(whole in part for part in bodies(text)), before


def test_a_link_goes_to_the_next_part_even_when_no_space_is_before_it() -> None:
    """Text without spaces is cut in front of it."""
    link = "[链接](https://example.com/page)"
    assert bodies("漢" * (LEAST - 10) + link, LEAST)[0] == "漢" * (LEAST - 10)


def test_what_cannot_stay_whole_is_cut_to_fit() -> None:
    """An address longer than a part, and a character made of a thousand marks."""
    assert bodies("https://example.com/" + "x" * 600)[0] == "https://example.com/" + "x" * (LEAST - 20)
    assert bodies("a" + "\u0301" * 600)[0] == "a" + "\u0301" * (LEAST - 1)


def test_a_mark_on_a_space_stays_on_it() -> None:
    """A space with a combining mark is one character, not the gap between two words."""
    text = "word " * 40 + "x" * 50 + " \u0301" + "y" * 60
    assert bodies(text)[0] == "word " * 40


def test_bytes_count_as_well_as_characters() -> None:
    """Text in wide scripts is cut by its bytes."""
    assert [len(part.body) for part in cut("漢" * 300, 1_000, 300)] == [100, 100, 100]


def test_white_space_alone_is_nothing_to_show() -> None:
    """Slack refuses an empty message, so there is none until something visible comes."""
    parts = Parts()
    parts.push("\n \n")
    assert (parts.count, parts.closed) == (0, 0)
    parts.push("Hello")
    assert (parts.count, parts.text(0)) == (1, "\n \nHello")


def test_an_answer_of_white_space_has_no_parts() -> None:
    """Also once it is over."""
    assert cut(" \n" * 5_000) == []


def test_more_white_space_than_fits_is_carried_but_not_shown() -> None:
    """At the start, in the middle and at the end."""
    first, second = cut("\n" * 9_000 + "a" + " " * 9_000 + "b" * (LEAST - 1) + "\n" * 9_000)
    assert (first.text, second.text) == ("a", "b" * (LEAST - 1))
    assert first.body == "\n" * 9_000 + "a" + " " * 9_000


def test_the_text_ends_once() -> None:
    """The last part closes with it; nothing can follow."""
    parts = Parts()
    parts.push("Hello")
    assert (parts.count, parts.closed) == (1, 0)
    parts.finish()
    parts.finish()
    assert (parts.count, parts.closed, parts.body(0)) == (1, 1, "Hello")
    with pytest.raises(ValueError, match="over"):
        parts.push("more")
    with pytest.raises(IndexError):
        parts.part(1)


def test_limits_leave_room_for_the_marks() -> None:
    """Parts smaller than the marks around them cannot be."""
    with pytest.raises(ValueError, match="256"):
        Parts(max_bytes=LEAST - 1)
