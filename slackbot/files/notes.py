"""What is said about files beside an answer: a line above it and one below, each once however often it is tried."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Final

from slackbot.domain import Body, PartRecord, PartRef, Turn
from slackbot.errors import ChatError, ChatRateLimited
from slackbot.replies.tools import ReplyTools

log = logging.getLogger(__name__)

ABOVE: Final = -2
BELOW: Final = -1
"""Part numbers of the lines: no parts of the answer, but found by them all the same."""
INTERRUPTED: Final = (
    "I was interrupted while I brought what the agent made into Slack, so files may be missing here. "
    "Please ask for them again."
)


class Notes:
    """The lines of one turn. ``earlier`` has what its earlier tries left in the thread."""

    def __init__(self, tools: ReplyTools, turn: Turn, earlier: Iterable[PartRecord] = ()) -> None:
        self._tools = tools
        self._turn = turn
        self._lines: dict[int, tuple[str, str | None]] = {part.index: (part.ts, None) for part in earlier}
        """Address and words by place; None: the words are not known any more."""

    def stands(self, place: int) -> bool:
        """Whether there is a line at this place."""
        return bool(self._lines.get(place, ("",))[0])

    async def say(self, place: int, words: str) -> str:
        """Let this be the line at that place, in place of what was said there before; "": no line. Returns the ``ts``
        of a message that this took, "" for none. Never raises ``ChatError``."""
        ts, said = self._lines.get(place, ("", ""))
        new = ""
        if words == said:
            return new
        turn, chat = self._turn, self._tools.chat
        try:
            if not words:
                await chat.delete(turn.thread, ts)
            elif not (ts and await self._edit(ts, words)):
                ts = new = await chat.post(turn.thread, lambda: Body(notice=words), PartRef(turn.id, place))
        except ChatError as error:
            log.warning("files.unsaid", extra={"turn": turn.id, "error": str(error)})
        else:
            self._lines[place] = ts if words else "", words
        return new

    async def _edit(self, ts: str, words: str) -> bool:
        """Write over a line; False when that is not possible now: then another one follows."""
        try:
            return await self._tools.edited(self._turn.thread, ts, Body(notice=words))
        except ChatRateLimited:
            return False
