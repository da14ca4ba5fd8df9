"""What is asked, what was seen, and how the two go together: the probe's report, as text and as JSON."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, TypeVar

_SAFE: Final = re.compile(r"[\w.:/ -]{1,60}", re.ASCII)

_OPEN: Final = "not asked"
_REMOVAL_SECONDS: Final = 20.0
_PATIENCE_SECONDS: Final = 10.0

T = TypeVar("T")


class Verdict(StrEnum):
    """What was seen, compared with what the simulator does by default."""

    SAME = "same"
    DIFFERENT = "different"
    UNKNOWN = "could not tell"


@dataclass(frozen=True, slots=True)
class Question:
    """Something open. ``assumes`` is what would be seen of the simulator as it is; ``change`` says what to set when it
    is not; ``switches`` are the simulator's own names for it."""

    id: str
    asks: str
    assumes: str
    change: str = "nothing: the bot reads every variant"
    switches: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Finding:
    """A question with its answer. ``seen`` is empty, and ``note`` says why, where there is none; ``alike`` tells of
    measurements whether they are as assumed, more or less."""

    question: Question
    seen: str = ""
    note: str = ""
    alike: bool | None = None

    @property
    def verdict(self) -> Verdict:
        """How the answer compares."""
        if not self.seen:
            return Verdict.UNKNOWN
        alike = self.seen == self.question.assumes if self.alike is None else self.alike
        return Verdict.SAME if alike else Verdict.DIFFERENT

    def to_json(self) -> dict[str, object]:
        """The finding as the report's JSON has it."""
        question = self.question
        return {
            "id": question.id,
            "asks": question.asks,
            "seen": self.seen or None,
            "simulator": question.assumes,
            "verdict": self.verdict.value,
            "change": question.change,
            "switches": list(question.switches),
            "note": self.note,
        }


class Findings:
    """The answers to a list of questions, as they come in. The first one seen counts."""

    def __init__(self, questions: tuple[Question, ...]) -> None:
        self._found = {question.id: Finding(question, note=_OPEN) for question in questions}

    def saw(self, question_id: str, seen: str, note: str = "", *, alike: bool | None = None) -> None:
        """Note an answer."""
        finding = self._found[question_id]
        if not finding.seen:
            self._found[question_id] = Finding(finding.question, seen, note, alike)

    def missed(self, question_id: str, why: str, *, again: bool = True) -> None:
        """Note why there is no answer; unless ``again``, an earlier reason stays."""
        finding = self._found[question_id]
        if not finding.seen and (again or finding.note == _OPEN):
            self._found[question_id] = Finding(finding.question, note=why)

    def missed_all(self, why: str) -> None:
        """Note why every question that nothing is known of yet stays open."""
        for question_id in self._found:
            self.missed(question_id, why, again=False)

    def all(self) -> list[Finding]:
        """Every question, in the order of the list."""
        return list(self._found.values())


@dataclass(slots=True)
class Report:
    """One run of the probe. ``left`` names what it made and could not, or should not, remove."""

    version: str
    seconds: float = 0.0
    findings: list[Finding] = field(default_factory=list)
    left: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, object]:
        """The report, to be attached to wherever it is discussed: no address, no text, no secret."""
        return {
            "slackbot": self.version,
            "seconds": round(self.seconds, 1),
            "counts": {verdict.value: count for verdict, count in self.counts().items()},
            "questions": [finding.to_json() for finding in self.findings],
            "left": self.left,
        }

    def counts(self) -> dict[Verdict, int]:
        """How many answers of each kind."""
        return {kind: sum(finding.verdict is kind for finding in self.findings) for kind in Verdict}

    def text(self) -> str:
        """The report for people."""
        lines = []
        for finding in self.findings:
            question = finding.question
            lines += [f"{_MARKS[finding.verdict]:10}{question.id}: {question.asks}"]
            seen = finding.seen or finding.note
            lines += [f"          seen: {seen}   simulator: {question.assumes}"]
            if finding.seen and finding.note:
                lines += [f"          note: {finding.note}"]
            if finding.verdict is not Verdict.SAME:
                switches = f" (simulator: {', '.join(question.switches)})" if question.switches else ""
                lines += [f"          {'change' if finding.seen else 'if it differs'}: {question.change}{switches}"]
        counts = ", ".join(f"{count} {kind}" for kind, count in self.counts().items())
        return "\n".join(
            [*lines, *(f"LEFT      {thing}" for thing in self.left), "", f"{counts}; {self.seconds:.0f} s"]
        )


_MARKS: Final = {Verdict.SAME: "same", Verdict.DIFFERENT: "DIFFERENT", Verdict.UNKNOWN: "?"}


class Leftovers:
    """What the probe made and must remove, each with the call that does so."""

    def __init__(self, say: Callable[[str], None], *, keep: bool) -> None:
        self.left: list[str] = []
        self._made: dict[str, Callable[[], Coroutine[Any, Any, str]]] = {}
        self._say = say
        self._keep = keep

    def made(self, what: str, remove: Callable[[], Coroutine[Any, Any, str]]) -> None:
        """Remember to remove something; ``remove`` returns why it could not."""
        self._made[what] = remove

    async def remove(self) -> None:
        """Remove everything, the newest first, and say what stays."""
        until = asyncio.get_running_loop().time() + _REMOVAL_SECONDS
        while self._made:
            what, remove = self._made.popitem()
            why = "kept, as --keep asks"
            if not self._keep:
                try:
                    async with asyncio.timeout_at(until):
                        why = await remove()
                except TimeoutError:
                    why = "the time was up"
            if why:
                self.left.append(f"{what}: {why}")
                self._say(f"left behind: {what}: {why}")


async def whole(work: Coroutine[Any, Any, T]) -> T:
    """The result of something that must not be left half done: a cancellation waits for its end, if not for long."""
    task = asyncio.create_task(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task], timeout=_PATIENCE_SECONDS)
        if not task.cancel() and not task.cancelled():
            task.exception()  # looked at, so that nobody misses it
        raise


def shown(value: object) -> str:
    """A word of the other side's, fit for a report: codes and names pass, anything else is only measured."""
    text = str(value)
    return text if _SAFE.fullmatch(text) else f"({len(text)} characters)"
