"""A growing text cut into parts that each fit one Slack message, with marks around a code block that is cut."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from slackbot.text.cuts import Cuts, size
from slackbot.text.fences import LONGEST_ENDING, LONGEST_OPENING, Fence, changes

MAX_CHARS: Final = 9_000
MAX_BYTES: Final = 11_000
"""Slack documents 12,000 characters of Markdown a message, and refuses less than that when other caps count bytes:
https://docs.slack.dev/reference/block-kit/blocks/markdown-block, https://github.com/slackapi/bolt-js/issues/2509."""
LEAST: Final = 256
"""Lower limits would leave no room between the marks of a code block."""

_PIECE: Final = 1_024
"""A longer piece is taken in steps, so that a cut never has to look at much more than one part."""
_LONGEST_BLANK: Final = 64
"""More white space than this at the start of a part is not shown."""


@dataclass(frozen=True, slots=True)
class Part:
    """What one Slack message shows.

    ``body`` is the part's piece of the text; all bodies together are the text. ``prefix`` and ``suffix`` are marks of
    ours around it: they reopen and close a code block that is cut. ``text`` is all three; only white space at the
    ends of the body that does not fit is left out of it.
    """

    prefix: str
    body: str
    suffix: str
    text: str


@dataclass(slots=True)
class _Growing:
    """The part that still grows, inside ``fence`` from its start. Sizes are characters and UTF-8 bytes.

    ``solid`` sizes reach from ``skipped``, white space too long to show, to the last visible character.
    """

    fence: Fence | None
    pieces: list[str] = field(default_factory=list)
    chars: int = 0
    bytes: int = 0
    skipped_chars: int = 0
    skipped_bytes: int = 0
    solid_chars: int = 0
    solid_bytes: int = 0
    rendered: Part | None = None
    line: int = 0
    line_fence: Fence | None = None
    """The block that the last line looked at is in; ``line`` is its position."""

    def __post_init__(self) -> None:
        self.line_fence = self.fence

    def add(self, piece: str) -> bool:
        """Take ``piece``; whether anything visible came."""
        solid = piece.rstrip()
        if solid:
            if not self.solid_chars:
                blank = piece[: len(piece) - len(piece.lstrip())]
                if self.chars + len(blank) > _LONGEST_BLANK:
                    self.skipped_chars = self.chars + len(blank)
                    self.skipped_bytes = self.bytes + size(blank)
            self.solid_chars = self.chars + len(solid) - self.skipped_chars
            self.solid_bytes = self.bytes + size(solid) - self.skipped_bytes
        self.pieces.append(piece)
        self.chars += len(piece)
        self.bytes += size(piece)
        self.rendered = None
        return bool(solid)

    @property
    def body(self) -> str:
        if len(self.pieces) != 1:
            self.pieces = ["".join(self.pieces)]
        return self.pieces[0]

    def ending(self) -> str:
        """What closes the code block that is open now, if one is."""
        news = self.body[self.line :]
        self.line_fence = changes(news, self.line_fence)[-1][1]
        last = news.rfind("\n") + 1
        self.line += last
        return self.line_fence.ending(news[last:]) if self.line_fence else ""


class Parts:
    """Cuts a text, given in pieces of any size, into parts of at most ``max_chars`` characters and ``max_bytes`` bytes.

    The same text gives the same parts whatever the pieces. Parts that are closed never change again, the last one
    grows. Cuts fall between blocks if possible, else at a line end, at a space, between two characters as people see
    them; never behind less than a third of what fits, if there is a choice. A part always has something visible.
    """

    def __init__(self, max_chars: int = MAX_CHARS, max_bytes: int = MAX_BYTES) -> None:
        if min(max_chars, max_bytes) < LEAST:
            raise ValueError(f"a part needs room for at least {LEAST} characters and bytes")
        self._max_chars = max_chars
        self._max_bytes = max_bytes
        self._closed: list[Part] = []
        self._fences: list[Fence | None] = []
        """The code block that is open at the start of each closed part."""
        self._growing = _Growing(None)
        self._finished = False

    def push(self, text: str) -> None:
        """The text goes on."""
        if self._finished:
            raise ValueError("the text is over")
        # Looking at the size after every line makes the cuts independent of how the text comes.
        waiting = deque(_pieces(text))
        while waiting:
            if self._growing.add(waiting.popleft()) and self._overflows():
                waiting.extendleft(reversed(list(_pieces(self._cut()))))

    def finish(self) -> None:
        """The text is over: the last part is closed too."""
        if not self._finished and self._growing.solid_chars:
            self._close(self._render())
        self._finished = True

    def split(self, index: int, chars: int) -> None:
        """End part ``index`` after ``chars`` characters of its body; what follows starts the next part.

        Parts behind it are cut anew. For a message that cannot be changed any more: what it shows stays, the rest
        comes below.
        """
        fence = self._fences[index] if index < len(self._closed) else self._growing.fence
        bodies = [part.body for part in self._closed[index:]]
        if self._growing.pieces and not (self._finished and self._growing.solid_chars):
            bodies.append(self._growing.body)
        text = "".join(bodies)
        finished, self._finished = self._finished, False
        del self._closed[index:], self._fences[index:]
        self._growing = _Growing(fence)
        self._growing.add(text[:chars])
        self._close(self._rendered(text[:chars], _ending(text[:chars], fence)))
        self._growing = _Growing(changes(text[:chars], fence)[-1][1])
        self.push(text[chars:])
        if finished:
            self.finish()

    @property
    def closed(self) -> int:
        """How many parts, from the first, will not change any more."""
        return len(self._closed)

    @property
    def count(self) -> int:
        """How many parts there are to show. White space alone is none, until visible text follows."""
        growing = not self._finished and self._growing.solid_chars > 0
        return len(self._closed) + growing

    def part(self, index: int) -> Part:
        """Part ``index`` as it is now; ``IndexError`` when there is none."""
        if index == len(self._closed) < self.count:
            return self._render()
        return self._closed[index]

    def text(self, index: int) -> str:
        """What the message of part ``index`` shows."""
        return self.part(index).text

    def body(self, index: int) -> str:
        """The piece of the text that part ``index`` carries."""
        return self.part(index).body

    # --- sizes ---

    def _fits(self, text: str) -> bool:
        return len(text) <= self._max_chars and size(text) <= self._max_bytes

    def _overflows(self) -> bool:
        growing = self._growing
        marks = LONGEST_ENDING + (LONGEST_OPENING if growing.fence else 0)
        if growing.solid_chars + marks <= self._max_chars and growing.solid_bytes + marks <= self._max_bytes:
            return False
        return not self._fits(self._render().text)

    def _render(self) -> Part:
        growing = self._growing
        if growing.rendered is None:
            growing.rendered = self._rendered(growing.body, growing.ending())
        return growing.rendered

    def _rendered(self, body: str, suffix: str) -> Part:
        fence = self._growing.fence
        prefix = fence.opening if fence else ""
        shown = body[self._growing.skipped_chars :]
        if not self._fits(text := prefix + shown + suffix):
            shown = shown.rstrip()
            suffix = _ending(shown, fence)
            text = prefix + shown + suffix
        return Part(prefix, body, suffix, text)

    # --- cuts ---

    def _close(self, part: Part) -> None:
        self._closed.append(part)
        self._fences.append(self._growing.fence)

    def _cut(self) -> str:
        """Close the growing part and open the next; returns the text that did not stay."""
        growing = self._growing
        body = growing.body
        opening = growing.fence.opening if growing.fence else ""
        cuts = Cuts(
            body,
            start=growing.skipped_chars,
            fence=growing.fence,
            chars=self._max_chars - len(opening),
            size_limit=self._max_bytes - size(opening),
        )
        position = cuts.best()
        self._close(self._rendered(body[:position], _ending(body[:position], growing.fence)))
        self._growing = _Growing(cuts.fence_at(position))
        return body[position:]


def _ending(text: str, fence: Fence | None) -> str:
    """What closes the code block that is open at the end of ``text``, if one is; ``fence`` is open at its start."""
    fence = changes(text, fence)[-1][1]
    return fence.ending(text[text.rfind("\n") + 1 :]) if fence else ""


def _pieces(text: str) -> Iterator[str]:
    for line in text.splitlines(keepends=True):
        for start in range(0, len(line), _PIECE):
            yield line[start : start + _PIECE]
