"""A growing text cut into parts that each fit one Slack message, with marks around what is cut or still open."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Final

from slackbot.text.closing import Mark, open_marks, visible
from slackbot.text.cuts import INDENTED, Cuts, size
from slackbot.text.fences import LONGEST_ENDING, LONGEST_LEAD, Fence, changes
from slackbot.text.seams import Seam, parents, seam

MAX_CHARS: Final = 9_000
MAX_BYTES: Final = 11_000
"""Slack documents 12,000 characters of Markdown a message, and refuses less than that when other caps count bytes:
https://docs.slack.dev/reference/block-kit/blocks/markdown-block, https://github.com/slackapi/bolt-js/issues/2509."""
LEAST: Final = 256
"""Lower limits would leave no room between the marks of a code block."""

_PIECE: Final = 1_024
"""A longer piece is taken in steps, so that a cut never has to look at much more than one part."""
_LINE_ENDS: Final = re.compile(r"(?:[ \t\r]*\n)+")
_SPACE: Final = re.compile(r"(?:[ \t\r]*\n)+|[ \t]+")
_LONGEST_BLANK: Final = 64
"""More white space than this at the start of a part is not shown."""


@dataclass(frozen=True, slots=True)
class Part:
    """What one Slack message shows.

    ``body`` is the part's piece of the text; all bodies together are the text, once it is over. While a part grows,
    what is better not shown yet is no part of its body. ``prefix`` and ``suffix`` are marks of ours around it: they
    reopen and close what is cut or has not ended yet. ``text`` is all three; only white space at the ends of the body
    is left out of it, where it does not fit or would keep the suffix from closing anything.
    """

    prefix: str
    body: str
    suffix: str
    text: str


@dataclass(frozen=True, slots=True)
class _Start:
    """What a part begins in the middle of: a code block, or what ``prefix`` opens again."""

    prefix: str = ""
    fence: Fence | None = None


@dataclass(slots=True)
class _Growing:
    """The part that still grows. Sizes are characters and UTF-8 bytes.

    ``solid`` sizes reach from ``skipped``, white space too long to show, to the last visible character.
    """

    start: _Start
    pieces: list[str] = field(default_factory=list)
    chars: int = 0
    bytes: int = 0
    skipped_chars: int = 0
    skipped_bytes: int = 0
    solid_chars: int = 0
    solid_bytes: int = 0
    rendered: Part | None = None
    seen: int = 0
    """So much of the body has been shown, and is not held back any more."""
    line: int = 0
    """Where the last line that was looked at starts, which is in block ``fence`` since ``since``."""
    fence: Fence | None = None
    since: int = 0

    def __post_init__(self) -> None:
        self.fence = self.start.fence

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
        position, self.fence = changes(news, self.fence)[-1]
        if position:
            self.since = self.line + position
        last = news.rfind("\n") + 1
        self.line += last
        return self.fence.ending(news[last:]) if self.fence else ""


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
        self._starts: list[_Start] = []
        """How each closed part begins."""
        self._growing = _Growing(_Start())
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

    def finish(self, below: str = "") -> None:
        """The text is over: the last part is closed too. ``below`` goes under it as a block of its own."""
        if self._finished:
            return
        if below:
            said = self._closed or self._growing.solid_chars
            self.push(f"{self._growing.ending()}\n\n{below}" if said else below)
        growing = self._growing
        if growing.solid_chars:
            ending, prefix = growing.ending(), growing.start.prefix
            # What the text itself leaves open stays as it is, but our marks do not stand there as signs.
            marks = [] if growing.fence else self._marks(growing.body, growing.since)
            ours = _closed_by(mark for mark in marks if mark[0] < len(prefix))
            self._close(self._rendered(growing.body, ending, ours))
        self._finished = True

    def split(self, index: int, chars: int) -> None:
        """End part ``index`` after ``chars`` characters of its body; what follows starts the next part.

        Parts behind it are cut anew. For a message that cannot be changed any more: what it shows stays, the rest
        comes below.
        """
        start = self._start(index)
        bodies = [part.body for part in self._closed[index:]]
        if self._growing.pieces and not (self._finished and self._growing.solid_chars):
            bodies.append(self._growing.body)
        text = "".join(bodies)
        finished, self._finished = self._finished, False
        del self._closed[index:], self._starts[index:]
        self._growing = _Growing(start)
        self._growing.add(text[:chars])
        part = self._shown(chars)
        after = chars + len(part.suffix)
        in_code = changes(text[:chars], start.fence)[-1][1] is not None
        # What stands there as a mark of ours may be what comes next.
        if part.text == part.prefix + text[:after] and (not in_code or text[after : after + 1] in {"\r", "\n"}):
            part, chars = replace(part, suffix=""), after
        if blank := (_LINE_ENDS if in_code else _SPACE).match(text, chars):
            chars = blank.end()
        self._close(replace(part, body=text[:chars]))
        self._growing = _Growing(self._seam(text[:chars], text[chars:])[1])
        self.push(text[chars:])
        if finished:
            self.finish()

    def cut(self, index: int, chars: int) -> None:
        """End part ``index`` at the best place within ``chars`` characters of its body, at least ``LEAST``.

        For a message that Slack finds too much. What follows starts the next part.
        """
        body = self.body(index)
        if len(body) > max(chars, LEAST):
            self.split(index, self._cuts(body, self._start(index), 0, max(chars, LEAST)).best())

    @property
    def closed(self) -> int:
        """How many parts, from the first, will not change any more."""
        return len(self._closed)

    @property
    def count(self) -> int:
        """How many parts there are to show. What shows nothing is none, until visible text follows."""
        growing = not self._finished and self._growing.solid_chars > 0
        return len(self._closed) + (growing and bool(self._render().body.strip()))

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
        chars = len(growing.start.prefix) + LONGEST_ENDING + growing.solid_chars
        size_now = size(growing.start.prefix) + LONGEST_ENDING + growing.solid_bytes
        if chars <= self._max_chars and size_now <= self._max_bytes:
            return False
        return not self._fits(self._rendered(growing.body, growing.ending()).text)

    def _render(self) -> Part:
        growing = self._growing
        if growing.rendered is None:
            ending = growing.ending()
            if growing.fence:
                growing.seen = growing.chars
                growing.rendered = self._rendered(growing.body, ending)
            else:
                prefix = growing.start.prefix
                end, marks = visible(prefix + growing.body, self._since(growing.since))
                if (shown := end - len(prefix)) >= growing.seen:
                    growing.seen = shown
                    growing.rendered = self._rendered(growing.body[:shown], "", _closed_by(marks))
                else:
                    growing.rendered = self._shown(growing.seen)
        return growing.rendered

    def _shown(self, chars: int) -> Part:
        """The growing part when it shows ``chars`` characters of its body, with everything closed that is open."""
        body = self._growing.body[:chars]
        since, fence = changes(body, self._growing.start.fence)[-1]
        if fence:
            return self._rendered(body, _ending(body, self._growing.start.fence))
        return self._rendered(body, "", _closed_by(self._marks(body, since)))

    def _marks(self, body: str, since: int) -> list[Mark]:
        return open_marks(self._growing.start.prefix + body, self._since(since))

    def _since(self, since: int) -> int:
        """Where the last code block in prefix and body together ended, given where that was in the body."""
        return since and since + len(self._growing.start.prefix)

    def _rendered(self, body: str, ending: str, marks: str = "") -> Part:
        """The part with ``body``; ``ending`` closes a code block, ``marks`` what is open within the last words."""
        start = self._growing.start
        shown = body[self._growing.skipped_chars :]
        # Nothing is closed behind white space.
        if marks and self._fits(text := start.prefix + shown.rstrip() + marks):
            return Part(start.prefix, body, marks, text)
        text = start.prefix + shown + ending
        if not self._fits(text):
            shown = shown.rstrip()
            ending = _ending(shown, start.fence)
            text = start.prefix + shown + ending
        return Part(start.prefix, body, ending, text)

    # --- cuts ---

    def _start(self, index: int) -> _Start:
        return self._starts[index] if index < len(self._closed) else self._growing.start

    def _close(self, part: Part) -> None:
        self._closed.append(part)
        self._starts.append(self._growing.start)

    def _cuts(self, body: str, start: _Start, skipped: int, chars: int) -> Cuts:
        return Cuts(
            body,
            start=skipped,
            fence=start.fence,
            prefix=start.prefix,
            chars=chars,
            size_limit=self._max_bytes - size(start.prefix),
        )

    def _cut(self) -> str:
        """Close the growing part and open the next; returns the text that did not stay."""
        growing = self._growing
        room = self._max_chars - len(growing.start.prefix)
        position = self._cuts(growing.body, growing.start, growing.skipped_chars, room).best()
        body, rest = growing.body[:position], growing.body[position:]
        marks, start = self._seam(body, rest)
        self._close(self._rendered(body, _ending(body, growing.start.fence), marks))
        self._growing = _Growing(start)
        return rest

    def _seam(self, body: str, rest: str) -> tuple[str, _Start]:
        """The marks that close ``body`` at the end of the growing part, and how ``rest`` starts the next."""
        start = self._growing.start
        since, fence = changes(body, start.fence)[-1]
        room = min(self._max_chars, self._max_bytes) // 4
        if fence:
            if not since:
                return "", start
            deep = ">" not in fence.lead and INDENTED <= len(fence.lead) <= LONGEST_LEAD
            lead = parents(start.prefix + body[:since], len(fence.lead)) if deep else ""
            return "", _Start((lead if size(lead) <= room else "") + fence.opening, fence)
        found = seam(start.prefix + body, rest, self._since(since))
        if size(found.prefix) > room:
            found = Seam()
        if not self._fits(start.prefix + body[self._growing.skipped_chars :].rstrip() + found.suffix):
            found = Seam(found.lead)
        return found.suffix, _Start(found.prefix)


def _closed_by(marks: Iterable[Mark]) -> str:
    return "".join(mark for _, mark in reversed(list(marks)))


def _ending(text: str, fence: Fence | None) -> str:
    """What closes the code block that is open at the end of ``text``, if one is; ``fence`` is open at its start."""
    fence = changes(text, fence)[-1][1]
    return fence.ending(text[text.rfind("\n") + 1 :]) if fence else ""


def _pieces(text: str) -> Iterator[str]:
    for line in text.splitlines(keepends=True):
        for start in range(0, len(line), _PIECE):
            yield line[start : start + _PIECE]
