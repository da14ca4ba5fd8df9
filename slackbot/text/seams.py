"""Marks that let a text go on in the next part as what it was: a table, a list, a quote, emphasis."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from slackbot.text.closing import block_start, cells, open_marks, table

_ITEM: Final = re.compile(r" *(?:[-*+]|\d{1,9}[.)]) +")
_NUMBER: Final = re.compile(r"(\d{1,9})([.)]) ")
_QUOTE: Final = re.compile(r"[ \t]*(?:>[ \t]?)+")
_TAB: Final = 4
_WIDEST: Final = 80
_STARTS: Final = ("", *" \t#>-+*_=~`|<")
"""What a line may start with that is a block of its own, or in a list."""


@dataclass(frozen=True, slots=True)
class Seam:
    """What stands around a cut: ``lead`` opens the next part, then ``marks`` do, which also close the part before."""

    lead: str = ""
    marks: tuple[str, ...] = ()

    @property
    def suffix(self) -> str:
        return "".join(reversed(self.marks))

    @property
    def prefix(self) -> str:
        return self.lead + "".join(self.marks)


def seam(text: str, rest: str, since: int) -> Seam:
    """The seam between ``text`` and ``rest``, whose first word is known, outside of code; code ended at ``since``."""
    here = text[text.rfind("\n") + 1 :]
    first = rest[:1]
    block = block_start(text, since)
    # A line without quote signs goes on with the quote above it.
    quote = _QUOTE.match(here) or (None if _ITEM.match(here) else _QUOTE.match(text, block))
    if head := table(text, block):
        if here:
            return Seam(head + (quote[0] if quote else "") + "| " * (cells(here + "x") + 1))
        return Seam(head if first == head[0] or (first + head[0]).isalnum() else "")
    if not here and (first in _STARTS or first.isdigit()):
        return Seam(parents(text, indent(rest[:_WIDEST])) or (_count(text) if first.isdigit() else ""))
    lead = quote[0] if quote else parents(text, _content(here))
    marks = () if first in "*_~`" else tuple(mark for _, mark in open_marks(text + first, since))
    return Seam(lead, marks)


def parents(text: str, width: int) -> str:
    """The items that a line with an indent of ``width`` is in, below ``text``, each on a line with an ellipsis."""
    found: list[str] = []
    end = len(text)
    while width and end >= 0:
        start = text.rfind("\n", 0, end) + 1
        line = text[start:end].expandtabs(_TAB)
        own, end = indent(line), start - 1
        if (item := _ITEM.match(line)) and own < width:
            found.append(f"{item[0]}…\n")
            width = own
        elif not own and line.strip():
            return ""
    return "" if width else "".join(reversed(found))


def _count(text: str) -> str:
    """The last item above, if it is shown with another number than it is written with: lists count by themselves."""
    items: list[re.Match[str]] = []
    for line in reversed(text.split("\n")):
        if item := _NUMBER.match(line):
            items.append(item)
        elif line.strip() and not indent(line):
            break
    if not items or (number := int(items[-1][1]) + len(items) - 1) == int(items[0][1]):
        return ""
    return f"{number}{items[0][2]} …\n"


def indent(line: str) -> int:
    """How far the text of a line is from its start."""
    line = line.expandtabs(_TAB)
    return len(line) - len(line.lstrip(" "))


def _content(line: str) -> int:
    line = line.expandtabs(_TAB)
    item = _ITEM.match(line)
    return item.end() if item else indent(line)
