"""The text of a growing answer: blocks of the agent joined, made safe, cut into parts. No I/O."""

from __future__ import annotations

from slackbot.domain import Body, Button, FileOffered, Source
from slackbot.text.citations import citations
from slackbot.text.outbound import Preparer
from slackbot.text.parts import Parts


class Answer:
    """Collects what the agent says and tells what each Slack message should show for it."""

    def __init__(self, turn_id: int, *, user_mentions: bool = False, private_files: str = "") -> None:
        self._turn_id = turn_id
        self._preparer = Preparer(user_mentions=user_mentions, private_files=private_files)
        self._cut = Parts()
        self._sources: list[Source] = []
        self._block: str | None = None
        self._ended = False
        self._said = False
        self._notice = ""
        self._notice_apart = False
        self._buttons: tuple[Button, ...] = ()
        self._heard: list[str] = []

    def push(self, block: str, text: str) -> None:
        """Add a piece of the block; a new block starts a new paragraph."""
        if not text:
            return
        if block != self._block:
            if self._block is not None:
                # Glued together, two blocks would read "Checking.It is sunny."
                self._heard.append("\n\n")
            self._block = block
        self._said = self._said or not text.isspace()
        # Hundreds of pieces come between two looks: put together only then, they cost next to nothing.
        self._heard.append(text)

    @property
    def _parts(self) -> Parts:
        """The answer so far, cut into parts."""
        if self._heard:
            text = "".join(self._heard)
            self._heard.clear()
            self._cut.push(self._preparer.push(text))
        return self._cut

    def cite(self, source: Source) -> None:
        """Something that the agent relies on, to be named below its words."""
        self._sources.append(self._preparer.citable(source))

    def end(self, notice: str = "", buttons: tuple[Button, ...] = ()) -> None:
        """No more text comes; ``notice`` and ``buttons`` go under the last part."""
        if self._ended:
            return
        self._ended = True
        self._parts.push(self._preparer.finish())
        self._parts.finish(citations(self._sources))
        self._notice = notice
        self._buttons = buttons

    @property
    def linked_files(self) -> list[FileOffered]:
        """Files behind links that were only shown as their text, and those that were cited."""
        return self._preparer.files

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
        last = index >= self.count - 1
        nothing_left = not self._parts.body(index)[length:].strip()
        self._parts.split(index, length)
        if last and nothing_left and self._must_be_said:
            self._notice_apart = True

    @property
    def _must_be_said(self) -> bool:
        return bool(self._notice) or Button.RETRY in self._buttons

    def cut(self, index: int, length: int) -> None:
        """Let part ``index`` end at the best place within so many characters; the rest moves on to the next part."""
        self._parts.cut(index, length)

    def is_final(self, index: int) -> bool:
        """Whether part ``index`` will not change any more."""
        return self._ended or index < self.count - 1

    def body(self, index: int) -> Body:
        """What part ``index`` should show now."""
        last = self._ended and index == self.count - 1
        text = self._parts.text(index) if index < self._parts.count else ""
        if last:
            return Body(text, self._notice, buttons=self._buttons, turn_id=self._turn_id if self._buttons else None)
        return Body(text)
