"""Fenced code blocks in a growing text: which one is open where, and what closes it for display."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import Final

LONGEST_LEAD: Final = 24
LONGEST_MARKER: Final = 16
LONGEST_LANGUAGE: Final = 24
LONGEST_ENDING: Final = 1 + LONGEST_LEAD + LONGEST_MARKER
"""Our marks never take more than this, in characters and in bytes."""

# Quotes and list markers may stand before a fence: https://spec.commonmark.org/0.31.2/#fenced-code-blocks
_RUN: Final = re.compile(r"[`~]{3,}")
_LINE: Final = re.compile(r"(?P<lead>(?:[ \t>]|(?:[-*+]|\d{1,9}[.)])[ \t])*)(?P<run>`{3,}|~{3,})(?P<info>[^\n]*)\n")
_CLOSING_LINE: Final = re.compile(r"(?P<lead>[ \t>]*)(?P<run>`*|~*)(?P<space>[ \t\r]*)")


@dataclass(frozen=True, slots=True)
class Fence:
    """An open code block as its first line spells it. ``lead`` is what stands before the fence: quotes and space."""

    lead: str
    marker: str
    language: str

    @property
    def depth(self) -> int:
        """How many quotes the block is in; it ends with the innermost of them."""
        return self.lead.count(">")

    @property
    def opening(self) -> str:
        """The line that opens such a block again."""
        return f"{self._closing}{self.language}\n"

    @property
    def _closing(self) -> str:
        return (self.lead if len(self.lead) <= LONGEST_LEAD else "") + self.marker[:LONGEST_MARKER]

    def ending(self, line: str) -> str:
        """What closes the block below or on ``line``, the line that the text has come to.

        Nothing, if the line itself closes it; a fence that is being typed is completed.
        """
        if not line:
            return self._closing
        typed = _CLOSING_LINE.fullmatch(line)
        if typed and not line.isspace() and typed["lead"].count(">") == self.depth:
            if self.closed_by(typed["lead"], typed["run"], ""):
                return ""
            if not typed["space"] and self.marker.startswith(typed["run"]):
                return self.marker[len(typed["run"]) : LONGEST_MARKER]
        return "\n" + self._closing

    def closed_by(self, lead: str, run: str, info: str) -> bool:
        """Whether a line of these pieces closes the block."""
        same = run.startswith(self.marker) and not info.strip()
        return same and not lead.strip(" \t>") and lead.count(">") == self.depth


def changes(text: str, fence: Fence | None) -> list[tuple[int, Fence | None]]:
    """Which block is open from which line on: pairs of a line's position and the block it is in, in order.

    ``fence`` is open at the start. A last line without its line end opens and closes nothing yet.
    """
    found = [(0, fence)]
    position = 0
    while True:
        line = _fence_line(text, position)
        until = line.end() if line else len(text)
        if fence and fence.depth and (left := _below(fence.depth).search(text, position, until)):
            # The quote is over, and the block in it.
            fence, position = None, left.start()
        elif line:
            fence, position = _after(fence, line), line.end()
        else:
            return found
        if fence != found[-1][1]:
            found.append((position, fence))


def _fence_line(text: str, position: int) -> re.Match[str] | None:
    """The next complete line that opens or closes a block, if ``position`` is the start of a line."""
    while run := _RUN.search(text, position):
        line = _LINE.match(text, text.rfind("\n", 0, run.start()) + 1)
        if line:
            return line
        # Looking for runs first is many times faster than trying every line.
        position = text.find("\n", run.end()) + 1
        if not position:
            return None
    return None


def _after(fence: Fence | None, line: re.Match[str]) -> Fence | None:
    lead, run, info = line["lead"], line["run"], line["info"]
    if fence:
        return None if fence.closed_by(lead, run, info) else fence
    if run[0] == "`" and "`" in info:
        return None
    language = (info.split() or [""])[0]
    if len(language.encode(errors="replace")) > LONGEST_LANGUAGE:
        language = ""
    return Fence(re.sub(r"[^\s>]", " ", lead), run, language)


@cache
def _below(depth: int) -> re.Pattern[str]:
    """The first line with fewer than ``depth`` quotes, once that is certain."""
    return re.compile(rf"^(?!(?:[ \t]*>){{{depth}}})(?=[^\n]*\n|[ \t>]*[^\s>])", re.MULTILINE)
