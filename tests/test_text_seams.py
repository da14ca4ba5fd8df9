"""What is longer than a message goes on in the next one as what it was."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from slackbot.text.parts import LEAST, Part, Parts

PARSER = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])


def cut(text: str, max_chars: int = LEAST) -> list[Part]:
    """The parts of a whole text."""
    parts = Parts(max_chars, 4 * max_chars)
    parts.push(text)
    parts.finish()
    return [parts.part(index) for index in range(parts.count)]


def rows(text: str) -> list[str]:
    """The rows of all tables in it, without their heads."""
    tokens = PARSER.parse(text)
    found: list[str] = []
    in_body = False
    for token in tokens:
        in_body = (in_body or token.type == "tbody_open") and token.type != "tbody_close"
        if in_body and token.type == "tr_open":
            found.append("")
        elif in_body and token.type == "inline":
            found[-1] += f"{token.content}|"
    return found


HEAD = "| Name | Value |\n|:-----|------:|\n"
cell = st.sampled_from(["a", "**b**", "`c`", "[d](https://d.example)", "", "words in it", "漢字", "x \\| y"])


@settings(max_examples=100, deadline=None)
@given(table=st.lists(st.tuples(cell, cell), min_size=1, max_size=60), room=st.integers(LEAST, 600))
def test_a_table_goes_on_with_its_head(table: list[tuple[str, str]], room: int) -> None:
    """A parser finds the same rows in the parts as in the whole, each part's under the head."""
    text = f"Before.\n\n{HEAD}" + "".join(f"| {left} | {right} |\n" for left, right in table) + "\nAfter."
    parts = cut(text, room)
    assert [row for part in parts for row in rows(part.text)] == rows(text)
    assert "".join(part.body for part in parts) == text
    for before, part in pairwise(parts):
        assert part.prefix in {"", HEAD}
        assert not before.body.endswith((HEAD, "|\n|:-----|------:|\n"))


def test_two_tables_have_each_their_own_head() -> None:
    """The head of the table that is cut, and none below a table that is over."""
    first = "| a | b |\n|---|---|\n" + "| 1 | 2 |\n" * 20
    second = "| c |\n|---|\n" + "| 3 |\n" * 60
    prefixes = [part.prefix for part in cut(f"{first}\n{second}\n{'word ' * 60}")]
    assert prefixes == ["", "", "| c |\n|---|\n", "", ""]


@pytest.mark.parametrize(
    ("head", "row", "prefix"),
    [
        ("> | a | b |\n> |---|---|\n", "> | 1 | 2 |\n", "> | a | b |\n> |---|---|\n"),
        ("a | b\n---|---\n", "one | two\n", "a | b\n---|---\n"),
        ("| " + "a" * 90 + " |\n|---|\n", "| 1 |\n", ""),
        ("| a | b |\n|---|\n", "| 1 | 2 |\n", ""),
    ],
)
def test_heads_of_tables(head: str, row: str, prefix: str) -> None:
    """In quotes and without outer lines they are repeated, too long ones and what is no table are not."""
    assert cut(head + row * 50)[1].prefix == prefix


def test_a_row_longer_than_a_part_goes_on_in_its_column() -> None:
    """The cells before it are left empty."""
    parts = cut("| a | b |\n|---|---|\n| one | " + "long cell " * 40 + "|\n| c | d |\n")
    assert parts[1].prefix == "| a | b |\n|---|---|\n| | "
    assert cut("> | a |\n> |---|\n> | " + "long cell " * 40)[1].prefix == "> | a |\n> |---|\n> | "


def test_a_table_that_a_block_ends_is_over() -> None:
    """A heading right below the last row needs no head above it."""
    parts = cut("| a |\n|---|\n" + "| 1 |\n" * 30 + "# Heading\n" + "word " * 40)
    assert parts[1].text.startswith("# Heading")


def test_a_list_goes_on_with_its_numbers() -> None:
    """The first item of each part says which it is."""
    text = "".join(f"{number}. item {'x' * 20}\n" for number in range(1, 40))
    starts = [
        token.attrs.get("start", 1)
        for part in cut(text)
        for token in PARSER.parse(part.text)
        if token.type == "ordered_list_open"
    ]
    assert starts == [1, 9, 17, 25, 33]


def test_a_list_that_counts_by_itself_goes_on_with_its_numbers() -> None:
    """Where each item is written with the same number, the item before the cut says where the count is."""
    parts = cut("".join(f"1. item {'x' * 20}\n" for _ in range(40)))
    starts = [int(part.text.partition(".")[0]) for part in parts]
    counts = [part.body.count("1. ") for part in parts]
    assert [part.prefix for part in parts] == ["", *(f"{start}. …\n" for start in starts[1:])]
    assert starts[1:] == [sum(counts[:number]) for number in range(1, len(parts))]
    text = f"# Text\n1 {'x ' * 90}\n2 {'y ' * 90}"
    assert [part.prefix for part in cut(text)] == ["", ""]


def test_items_inside_items_stay_inside() -> None:
    """The items around them are there with an ellipsis, with their numbers."""
    inner = "".join(f"   - inner {number} {'y' * 30}\n     1. deep {'z' * 30}\n" for number in range(8))
    parts = cut(f"1. one\n2. two\n{inner}3. three\n")
    assert [part.prefix for part in parts] == ["", "2. …\n   - …\n", "2. …\n", "2. …\n   - …\n"]
    depths = {max(token.level for token in PARSER.parse(part.text)) for part in parts}
    assert len(depths) == 1


def test_a_long_item_goes_on_as_an_item() -> None:
    """Cut between two words it keeps its number."""
    parts = cut("7. seven\n8. " + "word " * 80 + "\n9. nine\n")
    assert parts[1].text.startswith("8. …\nword word")


def test_code_inside_items_stays_code() -> None:
    """Behind so much space a fence alone would be indented code."""
    parts = cut("- item\n    - inner\n\n      ```py\n" + "      x = 1\n" * 60 + "      ```\n- last\n")
    assert {part.prefix for part in parts[1:]} == {"- …\n    - …\n      ```py\n"}
    fences = [token.content for part in parts for token in PARSER.parse(part.text) if token.type == "fence"]
    assert "".join(fences) == "x = 1\n" * 60


@pytest.mark.parametrize(
    ("text", "prefix"),
    [
        ("> " + "words in it " * 40, "> "),
        ("> > " + "words in it " * 40, "> > "),
        ("> words\n" + "lazy words in it\n" * 40, "> "),
        ("> words\n" * 60, ""),
        ("> words\n- " + "words in it " * 40, "- …\n"),
        ("> words " + "x" * 150 + "\n\n" + "after " * 40, ""),
        ("> words " + "x" * 150 + "\n>\n" + "after " * 40, ""),
        ("para\n    " + "deep words " * 40, ""),
        ("x" * 200 + "\n    code " + "y" * 200, ""),
        ("        - " + "words in it " * 40, ""),
    ],
)
def test_what_else_goes_on(text: str, prefix: str) -> None:
    """Quotes, also lazy ones; paragraphs need nothing."""
    assert cut(text)[1].prefix == prefix


@pytest.mark.parametrize(
    ("text", "suffix", "prefix"),
    [
        ("Some **bold " + "words " * 60 + "end** x", "**", "**"),
        ("Some **bold *both " + "words " * 60 + "end*** x", "***", "***"),
        ("Some _sloping " + "words\n" * 60 + "end_ x", "_", "_"),
        ("Some **bold " + "x" * 200 + "\n- item " + "y" * 80, "", ""),
        ("Some **bold " + "x" * 150 + " " + "*it* " * 20 + "** x", "", ""),
        ("`code " + "words " * 60 + "` x", "`", "`"),
        ("Some **bold " + "x" * 500, "", ""),
    ],
)
def test_emphasis_goes_on(text: str, suffix: str, prefix: str) -> None:
    """What is open at a cut is closed and opened again, where it surely goes on and there is room."""
    first, second, *_ = cut(text)
    assert (first.suffix, second.prefix) == (suffix, prefix)


def test_our_signs_are_closed_at_the_end() -> None:
    """Emphasis that never ends is opened again in vain; no sign of ours is left over."""
    parts = cut("Some **bold " + "words " * 60)
    assert parts[-1].text.startswith("**words")
    assert parts[-1].text.endswith("words**")


def test_a_part_can_be_cut_once_more() -> None:
    """At the best place within the size; a short one stays whole, and a closed one is cut as well."""
    parts = Parts()
    text = "word " * 60 + "\n\n" + "more " * 200
    parts.push(text)
    parts.finish()
    parts.cut(0, 400)
    assert [parts.body(index) for index in range(parts.count)] == ["word " * 60 + "\n\n", "more " * 200]
    parts.cut(0, 400)
    assert parts.count == 2
    parts.cut(1, 1)
    assert len(parts.body(1)) <= LEAST
    assert "".join(parts.body(index) for index in range(parts.count)) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Said.", "Said.\n\nSources"),
        ("```py\nx", "```py\nx\n```\n\nSources"),
        ("", "Sources"),
        (" \n", "Sources"),
    ],
)
def test_what_stands_below_is_a_block_of_its_own(text: str, shown: str) -> None:
    """Also below code that never ended, and below nothing."""
    parts = Parts()
    parts.push(text)
    parts.finish("Sources")
    assert parts.text(0).strip() == shown
