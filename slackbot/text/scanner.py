"""Replacing what a pattern finds, in text that comes in pieces of any size."""

from __future__ import annotations

import re
from collections.abc import Callable

import regex


class Scanner:
    """Gives on what comes in, with ``substitute`` in place of each match of ``pattern``.

    ``suspect`` finds every character that a match can begin with. A match ends only where more text would not make it
    another one; the end of the text reads as the end of a line. What may be the start of a match is held back, but
    none is longer than ``longest``. ``before`` characters of what was there already are kept for the pattern to look
    back at.
    """

    def __init__(
        self,
        suspect: re.Pattern[str],
        pattern: regex.Pattern[str],
        substitute: Callable[[regex.Match[str]], str],
        *,
        before: int,
        longest: int,
    ) -> None:
        self.held = ""
        self._suspect = suspect
        self._pattern = pattern
        self._substitute = substitute
        self._most_before = before
        self._longest = longest
        self._before = ""

    def push(self, delta: str) -> str:
        """What ``delta`` adds to the text that comes out."""
        if not self.held and not self._suspect.search(delta):
            self._before = (self._before + delta)[-self._most_before :]
            return delta
        source = self._before + self.held + delta
        shown: list[str] = []
        done = at = len(self._before)
        while suspect := self._suspect.search(source, at):
            at = suspect.end()
            end = suspect.start() + self._longest
            match = self._pattern.match(source, suspect.start(), end, partial=True)
            if match is None or (match.partial and end < len(source)):
                continue
            shown.append(source[done : match.start()])
            done = match.start()
            if match.partial:
                break
            shown.append(self._substitute(match))
            done = at = match.end()
        else:
            shown.append(source[done:])
            done = len(source)
        self._before = source[max(done - self._most_before, 0) : done]
        self.held = source[done:]
        return "".join(shown)

    def finish(self) -> str:
        """What was held back. The text is over; the scanner can be used for another."""
        rest = (self.push("\n") + self.held).removesuffix("\n")
        self.held = self._before = ""
        return rest
