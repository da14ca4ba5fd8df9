"""The text of a growing answer: blocks of the agent joined, made safe, cut into parts. No I/O."""

from __future__ import annotations

from slackbot.domain import Body, Source
from slackbot.text.citations import citations
from slackbot.text.outbound import Preparer
from slackbot.text.parts import Parts


class Answer:
    """Collects what the agent says and tells what each Slack message should show for it."""

    def __init__(self, *, user_mentions: bool = False) -> None:
        self._preparer = Preparer(user_mentions=user_mentions)
        self._parts = Parts()
        self._sources: list[Source] = []
        self._block: str | None = None
        self._ended = False
        self._said = False
        self._notice = ""
        self._notice_apart = False
        self._retry_turn: int | None = None

    def push(self, block: str, text: str) -> None:
        """Add a piece of the block; a new block starts a new paragraph."""
        if not text:
            return
        if self._block is not None and block != self._block:
            # Glued together, two blocks would read "Checking.It is sunny."
            self._parts.push(self._preparer.push("\n\n"))
        self._block = block
        self._said = self._said or bool(text.strip())
        self._parts.push(self._preparer.push(text))

    def cite(self, source: Source) -> None:
        """Something that the agent relies on, to be named below its words."""
        self._sources.append(source)

    def end(self, notice: str = "", retry_turn: int | None = None) -> None:
        """No more text comes; ``notice`` and the Retry button go under the last part."""
        if self._ended:
            return
        self._ended = True
        self._parts.push(self._preparer.finish())
        self._parts.finish(citations(self._sources))
        self._notice = notice
        self._retry_turn = retry_turn

    @property
    def ended(self) -> bool:
        return self._ended

    @property
    def has_text(self) -> bool:
        return self._said

    @property
    def count(self) -> int:
        """How many Slack messages the answer needs: at least one once it has ended, as no turn ends unseen."""
        return max(self._parts.count, 1) + self._notice_apart if self._ended else self._parts.count

    def length(self, index: int) -> int:
        """How much of the agent's text part ``index`` carries now, in characters."""
        return len(self._parts.body(index)) if index < self._parts.count else 0

    def split(self, index: int, length: int) -> None:
        """Leave part ``index`` as it was when its ``length`` was this; the rest moves on to the next part.

        Where no text is left to move, our sentence below it does.
        """
        last = index >= self._parts.count - 1
        nothing_left = not self._parts.body(index)[length:].strip()
        self._parts.split(index, length)
        if last and nothing_left and (self._notice or self._retry_turn is not None):
            self._notice_apart = True

    def cut(self, index: int, length: int) -> None:
        """Let part ``index`` end at the best place within so many characters; the rest moves on to the next part."""
        self._parts.cut(index, length)

    def is_final(self, index: int) -> bool:
        """Whether part ``index`` will not change any more."""
        return self._ended or index < self._parts.count - 1

    def body(self, index: int) -> Body:
        """What part ``index`` should show now."""
        text = self._parts.text(index) if index < self._parts.count else ""
        if self._ended and index == self.count - 1:
            return Body(text, self._notice, self._retry_turn)
        return Body(text)
