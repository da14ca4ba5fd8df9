"""Where a text that is too long for one message is best cut."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from enum import Enum
from typing import Final

import regex

from slackbot.text.closing import in_head
from slackbot.text.fences import Fence, changes
from slackbot.text.seams import indent, parents

# A line end after text with the blank lines below it, up to the next line with text; and a space between two words.
_LINE_GAP: Final = re.compile(r"(?<=\S)[^\S\n]*\n(?:[^\S\n]*\n)*(?=[^\S\n]*(?P<word>\S))")
_WORD_GAP: Final = re.compile(r"(?<=\S)[^\S\n]+(?=\S)")
_CLUSTER: Final = regex.compile(r"\X")
_BLOCK_START: Final = ("#", "```", "~~~")
_ROOM_FOR_MARKS: Final = 4
INDENTED: Final = 4
"""So much space makes a line code when it opens a message, while it may continue a list where it stands."""

# What a cut would break, also when its end has not come yet. The bounds keep a stray bracket from protecting a part.
_WHOLE: Final = re.compile(
    r"""
    !?\[ [^\[\]\n]{0,1000} (?: \] (?: \( [^()\n]{0,2000} (?: \)|(\Z) ) | (\Z) )? | (\Z) )
    | < [^<>\n]{0,2000} (?: > | (\Z) )
    | `+ [^`\n]{1,1000} (?: `+ | (\Z) )
    | https?://\S+ (\Z)?
    """,
    re.VERBOSE,
)


def size(text: str) -> int:
    """Bytes in UTF-8."""
    return len(text) if text.isascii() else len(text.encode(errors="replace"))


class _Rank(Enum):
    """How good a cut is, best first."""

    BLOCK = "between two blocks"
    LINE = "between two lines"
    INDENTED = "before a line inside a list item"
    WORD = "at a space, or at a line end that holds together what should stay together"


class Cuts:
    """The places to cut ``body``, of which ``start`` characters are not shown and ``fence`` is open at the start.

    ``prefix`` stands before it. A cut at a position fits when what is shown of the body before it, with the end of a
    code block, takes no more than ``chars`` characters and ``size_limit`` bytes. Nothing behind the first character
    that does not fit is looked at.
    """

    def __init__(self, body: str, *, start: int, fence: Fence | None, prefix: str, chars: int, size_limit: int) -> None:
        self._body = body
        self._prefix = prefix
        self._start = start
        self._chars = chars
        self._size_limit = size_limit
        self._changes = changes(body, fence)
        self._positions = [position for position, _ in self._changes]
        self._reaches: dict[Fence | None, int] = {}
        self._limit = self._reach(self.fence_at(len(body.rstrip()) - 1))
        # A group matches where the end has not come yet.
        self._whole = [
            (whole.start(), len(body) if whole.lastindex else whole.end())
            for whole in _WHOLE.finditer(body, start, self._limit)
        ]

    def fence_at(self, position: int) -> Fence | None:
        """The code block that the line of ``position`` is in."""
        return self._changes[bisect_right(self._positions, position) - 1][1]

    def _changed_at(self, position: int) -> bool:
        return self._positions[bisect_right(self._positions, position) - 1] == position > 0

    def best(self) -> int:
        """The last of the best places; no worse one is taken for it unless it would leave the part mostly empty."""
        least = self._start + (self._limit - self._start) // 3
        last = dict.fromkeys(_Rank, 0)
        for rank, position in self._lines():
            last[rank] = position
        for rank in (_Rank.BLOCK, _Rank.LINE, _Rank.INDENTED):
            if last[rank] > least:
                return last[rank]
        word = max(last[_Rank.WORD], max(self._words(), default=0))
        return word if word > least else self._inside_a_word()

    def _reach(self, fence: Fence | None) -> int:
        """How far the text fits when it ends inside ``fence``."""
        if fence not in self._reaches:
            mark = len("\n" + fence.ending("")) if fence else 0
            text = self._body[self._start : self._start + self._chars - mark]
            # Cutting the bytes may leave half a character, which does not fit.
            fits = text.encode(errors="replace")[: self._size_limit - mark].decode(errors="ignore")
            self._reaches[fence] = self._start + len(fits)
        return self._reaches[fence]

    def _lines(self) -> Iterator[tuple[_Rank, int]]:
        """Every line that a cut may stand before, with how good that cut is."""
        line = self._start
        for gap in _LINE_GAP.finditer(self._body, self._start):
            end, below = gap.span()
            if end <= self._reach(self.fence_at(below)):
                yield self._rank(line, end, below, gap.start("word")), below
            line = below

    def _words(self) -> Iterator[int]:
        """Every word that a cut may stand before, when a line has to be cut."""
        for gap in _WORD_GAP.finditer(self._body, self._start):
            end, word = gap.span()
            if end + _ROOM_FOR_MARKS > self._reach(None):
                return
            fits = end <= self._reach(self.fence_at(word))
            if fits and not self._whole_around(word) and _cluster_starts(self._body, word):
                yield word

    def _rank(self, line: int, end: int, below: int, word: int) -> _Rank:
        """How good a cut is before the line at ``below``, whose text starts at ``word``.

        The line before it starts at ``line``; its text ends at ``end``.
        """
        body = self._body
        fence = self.fence_at(below)
        changed = self._changed_at(below)
        if fence:
            closes = not fence.ending(body[below : self._limit + 1].partition("\n")[0])
            return _Rank.WORD if changed or closes else _Rank.LINE
        known = body[below : self._limit + 1].partition("\n")[0]
        if body[line] == "#" or in_head(body[line:end], known):
            return _Rank.WORD
        if word > below and parents(self._prefix + body[:below], indent(body[below:word])):
            return _Rank.INDENTED
        if word - below >= INDENTED or "\t" in body[below:word]:
            return _Rank.WORD
        apart = changed or body.count("\n", end, below) > 1 or body.startswith(_BLOCK_START, word, self._limit + 1)
        return _Rank.BLOCK if apart and word == below else _Rank.LINE

    def _inside_a_word(self) -> int:
        position = self._limit
        if around := self._whole_around(position):
            position = around
        position = _cluster_start(self._body, position)
        return position if self._body[:position].strip() else self._limit

    def _whole_around(self, position: int) -> int:
        """Where the link or code starts that a cut at ``position`` would break; 0 if none."""
        index = bisect_right(self._whole, (position,)) - 1
        if index < 0:
            return 0
        start, end = self._whole[index]
        return start if position < end else 0


def _cluster_starts(text: str, position: int) -> bool:
    """Whether a character as people see it starts at ``position``, which follows white space."""
    return text[position].isascii() or _cluster_start(text, position) == position


def _cluster_start(text: str, position: int) -> int:
    """The start of the character, as people see it, that ``position`` is in: ``position`` if one starts there."""
    # What comes before a line end never changes what comes after it.
    start = text.rfind("\n", 0, position) + 1
    for cluster in _CLUSTER.finditer(text, start, position + 1):
        start = cluster.start()
    return start
