"""A text that still grows reads well at every moment: what is open is closed, what is half-written waits."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from slackbot.text.closing import LONGEST_LABEL, LONGEST_ROW, LONGEST_SPAN, LONGEST_TARGET
from slackbot.text.parts import Parts

PARSER = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])
SPEC = json.loads((Path(__file__).parent / "payloads" / "markdown" / "commonmark.json").read_text("utf-8"))["examples"]

# Every sign in them is closed, so that what is shown must always be a beginning of what is shown in the end.
DOCUMENTS = (
    """# Plan

Here is **the plan** for *next week*, with `code` and [a link](https://example.com/a_b?c=d) to it.

| Name | Count |
|------|------:|
| one `a` | 1 |
| **two** | 2 |

After the table, ~~gone~~ text.

1. First **item**
2. Second
   - nested `x`
     - deeper

```python
def f(x):
    return `x`
```

> quote with ***both***
> and more

- [ ] open task
- [x] done

![image](https://example.com/i.png) and <https://example.com> &amp; done.

Setext
---

last `` a`b `` words\\* end *here*.""",
    """Text *em **strong em*** and snake_case_words, 2 * 3 * 4 < 5, a<b. AT&T & co [1] ok [not a link] (x).

***

~~~js
const a = `b`;
~~~
tail _under_ __strong__ [ref](<https://e.com/x> "title")!

## Head
below it *x*
""",
    """2024 was good.
3) three
4) four

+ plus
+ **a** b

A line\x20\x20
broken\\
hard. [![badge](https://b.com/i.png)](https://b.com) **[bold link](https://x.com)** *[it](y)* **[a** b]

> | q | r |
> |---|---|
> | 1 | 2 |

![start](https://a.com/i.png) [`]`](https://c.com) **foo*bar*baz** ~5 and ~~a~~
""",
    """| one | two
|--- | ---
1 | 2

[ref]: https://example.com 'a title'

See [ref] and ``double ` tick``, *a*b*c*.
""",
)


def reads(markdown: str) -> str:
    """What a reader finds in it: words, targets of links, code with its language, numbers of lists; without spaces."""
    found: list[str] = []
    for token in PARSER.parse(markdown):
        if token.type in {"fence", "code_block"}:
            found += token.info, token.content
        elif token.type == "ordered_list_open":
            found.append(f"#{token.attrs.get('start', 1)}")
        for inline in token.children or []:
            found += str(inline.attrs.get("href", "")), str(inline.attrs.get("src", "")), inline.content
    return "".join("".join(found).split())


@pytest.mark.parametrize("document", DOCUMENTS)
def test_what_is_shown_is_always_a_beginning_of_what_is_shown_in_the_end(document: str) -> None:
    """At no character does a sign, half a link, or half a row show; and what was shown stays."""
    parts = Parts()
    lengths = [0]
    for char in document:
        parts.push(char)
        if parts.count:
            assert reads(document).startswith(reads(parts.text(0)))
            lengths.append(len(parts.body(0)))
    assert lengths == sorted(lengths)
    parts.finish()
    assert parts.text(0) == document


@pytest.mark.parametrize("section", SPEC)
def test_examples_of_the_specification_grow_and_end_as_they_are(section: str) -> None:
    """Whatever is shown on the way never shrinks and is the text with marks behind; the end is the text itself."""
    for example in SPEC[section]:
        parts = Parts()
        shown = 0
        for char in example:
            parts.push(char)
            if parts.count:
                part = parts.part(0)
                assert len(part.body) >= shown
                assert example.startswith(part.body)
                assert part.text in {part.body + part.suffix, part.body.rstrip() + part.suffix}
                shown = len(part.body)
        parts.finish()
        fenced = "```" in example or "~~~" in example
        assert not parts.count or parts.text(0) == example or fenced


@settings(max_examples=200, deadline=None)
@given(st.text("ab *_`~[]()<>&!|\\\n-#1.", max_size=60))
def test_what_was_shown_stays(text: str) -> None:
    """However wild the signs."""
    parts = Parts()
    shown = ""
    for char in text:
        parts.push(char)
        body = parts.body(0) if parts.count else ""
        assert body.startswith(shown)
        shown = body


@pytest.mark.parametrize(
    ("grown", "shown"),
    [
        ("some **bold te", "some **bold te**"),
        ("some **bold ", "some **bold**"),
        ("**a *b", "**a *b***"),
        ("***a* b", "***a* b**"),
        ("**foo*bar*baz", "**foo*bar*baz**"),
        ("a ~~b", "a ~~b~~"),
        ("a `b c", "a `b c`"),
        ("a ``b ` c", "a ``b ` c``"),
        ("x **bold*", "x **bold**"),
        ("x `", "x "),
        ("x ` ", "x "),
        ("x *", "x "),
        ("see [the do", "see "),
        ("see [the docs](http://exa", "see "),
        ("see ![a view](/i", "see "),
        ("see [the docs][re", "see "),
        ("see [docs](/a) n", "see [docs](/a) n"),
        ("see <https://exa", "see "),
        ("a &am", "a "),
        ("a & b", "a & b"),
        ("a \\", "a "),
        ("a < b", "a < b"),
        ("a\n```py", "a\n"),
        ("a\n- ", "a\n"),
        ("a\n- [ ", "a\n"),
        ("a\n12", "a\n"),
        ("a\n--", "a\n"),
        ("a\n## ", "a\n"),
        ("# a **b\nc", "# a **b\nc"),
        ("- a **b\n- c", "- a **b\n- c"),
        ("a **b\n\nc", "a **b\n\nc"),
        ("a\n\n| b | c", "a\n\n"),
        ("a\n\n| b | c |\n|--", "a\n\n"),
        ("a\n\n| b | c |\nd", "a\n\n| b | c |\nd"),
        ("| a |\n|---|\n| *b", "| a |\n|---|\n"),
        ("| a |\n|---|\n| b |\n\nc *d", "| a |\n|---|\n| b |\n\nc *d*"),
        ("| a \\| b |\n|---|\nc", "| a \\| b |\n|---|\n"),
        ("x\n[ref]: https://exa", "x\n"),
        ("text ``` text", "text ``` text```"),
        ("~x *y", "~x *y*"),
    ],
)
def test_what_is_open_is_closed_and_what_is_half_written_waits(grown: str, shown: str) -> None:
    """For display only: the text itself goes on as it is."""
    parts = Parts()
    parts.push(grown)
    assert parts.text(0) == shown
    parts.finish()
    assert parts.text(0) == grown


@pytest.mark.parametrize(
    "grown",
    [
        "see [" + "words " * (LONGEST_LABEL // 6 + 1),
        "see [x](" + "y" * (LONGEST_TARGET + 1),
        "see <" + "x" * 250,
        "| a |\n|---|\n| " + "x" * LONGEST_ROW,
        "| " + "x" * LONGEST_ROW,
        "a *" + "b" * LONGEST_SPAN,
        "a `" + "b" * LONGEST_SPAN,
        "a `b " + "c" * LONGEST_SPAN + "`",
        "a &" + "x" * 40,
    ],
)
def test_nothing_waits_for_ever(grown: str) -> None:
    """What does not come to an end is shown as it comes."""
    parts = Parts()
    parts.push(grown)
    assert parts.text(0) == grown


def test_a_paragraph_is_shown_word_by_word() -> None:
    """Every word is there at once, and never less than before."""
    parts = Parts()
    for number in range(300):
        parts.push(f"word{number} ")
        assert parts.text(0).endswith(f"word{number} ")


def test_nothing_to_show_is_no_part() -> None:
    """Half a link alone shows nothing; at the end it is shown as it is."""
    parts = Parts()
    parts.push("[half a li")
    assert parts.count == 0
    parts.finish()
    assert parts.text(0) == "[half a li"


def test_what_turns_out_otherwise_stays_shown() -> None:
    """An exclamation mark behind a word may start an image."""
    parts = Parts()
    shown = []
    for char in "No![a](/b) c":
        parts.push(char)
        if parts.count:
            shown.append(parts.text(0))
    assert shown == ["N", "No", *["No!"] * 7, "No![a](/b)", "No![a](/b) ", "No![a](/b) c"]


def test_a_message_that_stays_keeps_its_marks_and_the_next_opens_them_again() -> None:
    """What was closed for display only is closed for good then."""
    parts = Parts()
    parts.push("some **bold wor")
    length = len(parts.body(0))
    parts.push("ds** and more")
    parts.split(0, length)
    parts.finish()
    assert [parts.text(0), parts.text(1)] == ["some **bold wor**", "**ds** and more"]
    assert parts.body(0) + parts.body(1) == "some **bold words** and more"


@pytest.mark.parametrize(
    ("seen", "more", "texts"),
    [
        ("a **b", "** c", ["a **b**", "c"]),
        ("```py\nx", "\n```\nafter", ["```py\nx\n```", "after"]),
        ("```py\nx", "\n```py\ny\n```", ["```py\nx\n```", "```py\n```py\ny\n```"]),
        ("- one\n- two", "\n  - three", ["- one\n- two", "- …\n  - three"]),
        ("> said", "\n> more", ["> said", "> more"]),
        ("a *b", " *c* d", ["a *b*", "*c* d"]),
    ],
)
def test_what_follows_a_message_that_stays(seen: str, more: str, texts: list[str]) -> None:
    """A mark that comes in the text is not repeated, and the rest starts with a line where it can."""
    parts = Parts()
    parts.push(seen)
    length = len(parts.body(0))
    parts.push(more)
    parts.split(0, length)
    parts.finish()
    assert [parts.text(index) for index in range(parts.count)] == texts
