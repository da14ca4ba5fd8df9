"""Whether the agent called for a human. Pure.

How Noxus shows that is not documented, so several signs count, each as far as it can be trusted: the call of a tool
for it, that tool's output or the lack of one, what the conversation says of itself, and the agent's wording.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from slackbot.domain import (
    AgentEvent,
    AgentProfile,
    ApprovalRequested,
    ConversationState,
    FileOffered,
    RunFinished,
    TextDelta,
    ToolFinished,
    ToolStarted,
    UnknownFrame,
)

HUMAN_TOOLS: Final = frozenset({"human_in_the_loop"})
"""Tools that call for a human whatever they are named: Noxus's own."""

HELD: Final = "manual"
"""Why a conversation calls for a human that says so of itself."""

_HUMAN_TOOL: Final = re.compile(
    r"human(?!i[sz])|hitl|operator|escalat|hand[ _-]?(?:over|off)(?!.*(?:agent|co[ _-]?worker))", re.IGNORECASE
)
_HELD: Final = re.compile(
    r"human|manual|operator|hand_?over|escalat|await(?!.*(?:approv|user|input|message))", re.IGNORECASE
)
"""What a conversation's status may say while a human has it; waiting for the user's next message is no such thing."""
_LONGEST_WORDS: Final = 500
_MOST_NOTED: Final = 20
_LONGEST_NOTE: Final = 60


@dataclass(frozen=True, slots=True)
class Asked:
    """The agent wants a human. ``key`` is the same whenever the same run is heard.

    ``why`` is for the log: "output" (the tool came back), "unresolved" (it waits), "tool" (it was called, then the run
    broke off), "manual" (the conversation says so), "wording".
    """

    key: str
    why: str


def calls_human(name: str, tools: frozenset[str] = HUMAN_TOOLS) -> bool:
    """Whether a tool of this name calls for a human."""
    return name in tools or _HUMAN_TOOL.search(name) is not None


class HandoverSignals:
    """Hears one run of the agent to its end, and keeps little of it.

    ``tools`` are names of tools that call for a human, besides those that look like it; ``words`` are final words that
    mean it, besides the agent's own. ``run`` names the run in keys where no call of a tool does.
    """

    def __init__(self, tools: frozenset[str], words: frozenset[str], run: str) -> None:
        self._tools = tools
        self._words = words
        self._run = run
        self._calls: dict[str, bool | None] = {}
        """Calls for a human: whether they came back well, None while they are open."""
        self._others: set[str] = set()
        """Open calls of other tools."""
        self._waits = False
        self._finished = False
        self._gave = False
        self._block: str | None = None
        self._text = ""
        self._kinds: dict[str, None] = {}
        self._names: dict[str, None] = {}

    def hear(self, event: AgentEvent) -> None:
        """Take the next event of the run."""
        match event:
            case TextDelta(block, text):
                self._read(block, text)
                return
            case ToolStarted(call_id, name) | ApprovalRequested(call_id, name):
                _note(self._names, name)
                if self._is_human(call_id, name):
                    self._calls.setdefault(call_id, None)
                    self._waits = self._waits or isinstance(event, ApprovalRequested)
                else:
                    self._others.add(call_id)
            case ToolFinished(call_id, name, ok):
                self._others.discard(call_id)
                if self._is_human(call_id, name):
                    self._calls[call_id] = ok
            case RunFinished():
                self._finished = True
            case FileOffered():
                self._gave = True
            case _:
                pass
        _note(self._kinds, event.kind if isinstance(event, UnknownFrame) else type(event).__name__)

    def needs_state(self, *, failed: bool) -> bool:
        """Whether the conversation should be read before ``asked``: a human was called, or the run was an odd one,
        which gave nothing and yet did not fail."""
        return bool(self._calls) or not (failed or self._text or self._gave)

    def asked(self, state: ConversationState | None, profile: AgentProfile) -> Asked | None:
        """What the whole run amounts to; ``state`` is the conversation's, None if it was not read."""
        open_or_done = [call_id for call_id, ok in self._calls.items() if ok is not False]
        key = next(iter([*open_or_done, *self._calls]), self._run)
        if open_or_done:
            unresolved = "unresolved" if self._finished or self._waits else "tool"
            return Asked(key, "output" if self._calls[key] else unresolved)
        if state is not None and self._is_held(state):
            return Asked(key, HELD)
        if len(self._text) <= _LONGEST_WORDS and _plain(self._text) in self._final_words(profile):
            return Asked(key, "wording")
        return None

    def evidence(self, state: ConversationState | None) -> dict[str, object]:
        """What was seen, for the log, without any content."""
        seen: dict[str, object] = {"kinds": [*self._kinds], "tools": [*self._names]}
        return seen if state is None else {**seen, "manual": state.manual, "status": state.status[:_LONGEST_NOTE]}

    def _is_human(self, call_id: str, name: str) -> bool:
        return call_id in self._calls or calls_human(name, self._tools)

    def _is_held(self, state: ConversationState) -> bool:
        # While another tool waits for a yes, the status may well be about that.
        return state.manual or (not self._others and _HELD.search(state.status) is not None)

    def _final_words(self, profile: AgentProfile) -> set[str]:
        return {_plain(words) for words in self._words | profile.handover_words} - {""}

    def _read(self, block: str, text: str) -> None:
        """Keep the beginning of the last block that says something: a long one is no phrase anyway."""
        if block != self._block:
            text = text.lstrip()
            if not text:
                return
            self._block, self._text = block, ""
            _note(self._kinds, TextDelta.__name__)
        if len(self._text) <= _LONGEST_WORDS:
            self._text = (self._text + text)[: _LONGEST_WORDS + 1]


def _plain(text: str) -> str:
    return " ".join(text.split()).casefold()


def _note(noted: dict[str, None], name: str) -> None:
    if len(noted) < _MOST_NOTED:
        noted[name[:_LONGEST_NOTE]] = None
