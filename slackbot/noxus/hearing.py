"""One answer over all the connections that it takes: what is told again is passed on once. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from slackbot.domain import AgentEvent, Reasoning, RunFinished, StartedOver, TextDelta
from slackbot.noxus.events import Ending, FrameDecoder, kind_of

_NOTHING_RUNS: Final = ("done", "timeout", "error", "[DONE]")
"""Records that a further connection may open with when there is nothing to tell of."""
_AFTERWARDS: Final = "told afterwards"


class Hearing:
    """Takes the records of an answer's streams, one after the other, and tells what is new in them.

    A further stream goes on where the one before ended, or it begins at the start; then what is known must come first,
    word by word. One that does neither is ``lost``: only its end is of use.
    """

    def __init__(self) -> None:
        self.etag = ""
        """Where the next stream should go on; empty when that has no name."""
        self.lost = False
        self.contradicts = False
        """A stream told another answer than the one we know. What comes from there counts no more."""
        self.idle = False
        """The stream said at once that nothing runs."""
        self._decoder = FrameDecoder()
        self.signs = 0
        """How many records told something new, or were at least a sign of life."""
        self._earlier_records = 0
        self._is_further = False
        self._block: str | None = None
        self._said: list[tuple[str, list[str]]] = []
        """The text so far: consecutive pieces of one block, by the block's name."""
        self._seen: set[int] = set()
        """Hashes: an inline file can be large."""
        self._replay: _Replay | None = None
        self._names: dict[str, str] = {}
        """Blocks of this stream that have another name than they had before."""

    def attach(self) -> None:
        """A further stream begins."""
        self._is_further = True
        self.lost = self.idle = False
        self._replay = None

    @property
    def records(self) -> int:
        """How many records counted, over all streams."""
        return self._earlier_records + self._decoder.records

    @property
    def over(self) -> bool:
        """Nothing of use follows in this stream."""
        return self.idle or self._decoder.over

    @property
    def finished(self) -> bool:
        return self._decoder.finished

    @property
    def failure(self) -> str | None:
        return self._decoder.failure

    @property
    def acted(self) -> bool:
        return self._decoder.acted

    @property
    def told_its_end(self) -> bool:
        """Whether the stream came to the regular end of a run, be it one that we know too little of."""
        return not self.idle and self._decoder.ending is Ending.COMPLETE

    @property
    def is_whole(self) -> bool:
        """Whether all of the answer was heard."""
        return self.ending is Ending.COMPLETE

    @property
    def ending(self) -> Ending:
        """What the answer amounts to if its stream ends here."""
        if self.idle or self.contradicts or ((self.lost or self._replay) and self.told_its_end):
            return Ending.CUT
        return self._decoder.ending

    def push(self, name: str, data: str, event_id: str = "") -> list[AgentEvent]:
        """Take one server-sent event and return what it adds to the answer."""
        if self._is_further and (kind := kind_of(name, data)):
            self._is_further = False
            self._begin(kind)
        if self.idle:
            return []
        events = self._decoder.push(name, data)
        news = [] if self.lost else [new for event in events if (new := self._new(event)) is not None]
        if news or self.lost:
            self.signs += 1
        if event_id and not (self.lost or self._replay):
            self.etag = event_id
        return news

    def missing(self, told: Sequence[AgentEvent]) -> list[AgentEvent]:
        """What the whole answer, as the conversation tells it, has beyond what was passed on. Opens with
        ``StartedOver`` where the two have nothing to do with each other."""
        ours, theirs = _joined(self._said), _joined(_runs(told))
        # Sources and files may be told in frames alone, so nothing that was passed on is missed.
        others = [] if self.is_whole else [event for event in told if self._is_news(event)]
        if not ours:
            return [event for event in told if isinstance(event, TextDelta) or event in others]
        rest = _beyond(ours, theirs)
        if rest is None:
            return [StartedOver(), *(event for event in told if not isinstance(event, Reasoning | RunFinished))]
        if not rest.strip():
            return others
        if rest.startswith("\n\n"):
            return [*others, TextDelta(_AFTERWARDS, rest.lstrip("\n"))]
        return [*others, TextDelta(self._said[-1][0], rest)]

    def _is_news(self, event: AgentEvent) -> bool:
        passing = isinstance(event, TextDelta | Reasoning | RunFinished)
        return not passing and hash((type(event), event)) not in self._seen

    def _begin(self, kind: str) -> None:
        if kind in _NOTHING_RUNS and not (kind == "error" and self.etag):
            self.idle = True
        elif kind == "start" or not self.etag:
            self._earlier_records += self._decoder.records
            self._decoder = FrameDecoder()
            self._names = {}
            self.lost = kind != "start"
            self._replay = _Replay(self._said) if self._said else None
        else:
            self._decoder.resume()

    def _new(self, event: AgentEvent) -> AgentEvent | None:
        if isinstance(event, TextDelta):
            if self._replay is not None:
                event = self._told_again(event, self._replay)
            elif self._names:
                event = TextDelta(self._names.get(event.block, event.block), event.text)
            if event.text:
                if event.block != self._block:
                    self._block = event.block
                    self._said.append((event.block, []))
                self._said[-1][1].append(event.text)
            return event if event.text else None
        if isinstance(event, Reasoning | RunFinished):
            return None if self._replay and isinstance(event, Reasoning) else event
        mark = hash((type(event), event))
        if mark in self._seen:
            return None
        self._seen.add(mark)
        return event

    def _told_again(self, event: TextDelta, replay: _Replay) -> TextDelta:
        """What of a piece goes beyond what is known, under the name by which its block is."""
        block, rest = replay.take(event.block, event.text)
        if rest is None:
            self.lost = self.contradicts = True
            return TextDelta(block, "")
        self._names[event.block] = block
        if replay.is_over:
            self._replay = None
        return TextDelta(block, rest)


class _Replay:
    """Holds an answer that is told again against what is known of it."""

    def __init__(self, said: Iterable[tuple[str, list[str]]]) -> None:
        self._known = [(block, "".join(pieces)) for block, pieces in said]
        self._run = -1
        self._at = 0
        self._block: str | None = None
        self.is_over = False

    def take(self, block: str, text: str) -> tuple[str, str | None]:
        """The name by which the piece's block is known, and what of the piece is new; None when it contradicts."""
        if block != self._block:
            if self._run >= 0 and self._at < len(self._known[self._run][1]):
                return "", None
            self._block, self._run, self._at = block, self._run + 1, 0
        name, known = self._known[self._run]
        expected = known[self._at : self._at + len(text)]
        self._at += len(expected)
        rest = text[len(expected) :]
        is_last = self._run == len(self._known) - 1
        self.is_over = is_last and self._at == len(known)
        return name, rest if text.startswith(expected) and (is_last or not rest) else None


def _runs(events: Iterable[AgentEvent]) -> list[tuple[str, list[str]]]:
    return [(event.block, [event.text]) for event in events if isinstance(event, TextDelta)]


def _joined(said: Iterable[tuple[str, list[str]]]) -> str:
    return "\n\n".join("".join(pieces) for _, pieces in said)


def _beyond(ours: str, theirs: str) -> str | None:
    """What ``theirs`` says after all that ``ours`` does, white space aside; None when it says something else.

    It may be shorter: then it leaves out what we have heard, such as words before a tool was called.
    """
    if theirs.startswith(ours):
        return theirs[len(ours) :]
    bare_ours, bare_theirs = "".join(ours.split()), "".join(theirs.split())
    if bare_theirs in bare_ours:
        return ""
    if not bare_theirs.startswith(bare_ours):
        return None
    at = count = 0
    while count < len(bare_ours):
        count += not theirs[at].isspace()
        at += 1
    rest = theirs[at:]
    return rest.lstrip() if ours[-1].isspace() else rest
