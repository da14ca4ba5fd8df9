"""Turns what the agent says into what the reply shows, and finds the words for how it ended. No I/O."""

from __future__ import annotations

from collections.abc import Callable
from typing import assert_never

from slackbot.domain import (
    AgentEvent,
    AgentProfile,
    ApprovalRequested,
    FileOffered,
    Reasoning,
    RunFinished,
    Source,
    TextDelta,
    ToolFinished,
    ToolStarted,
    UnknownFrame,
)
from slackbot.replies.reply import THINKING, Reply

CUT_SHORT = {
    "length": "The agent reached its length limit, so this answer ends early.",
    "content-filter": "The agent's content filter ended this answer.",
}
NOTHING_SAID = "The agent finished without saying anything."


class Listener:
    """Hears one agent run and feeds one reply. ``profile`` gives the agent's display settings as known by then."""

    def __init__(self, reply: Reply, profile: Callable[[], AgentProfile]) -> None:
        self._reply = reply
        self._profile = profile
        self._open_calls: dict[str, str] = {}
        self._approvals: set[str] = set()
        self._files = 0
        self._finish_reason = ""
        self.unknown_frames: set[str] = set()

    def hear(self, event: AgentEvent) -> None:
        """Take one event in."""
        match event:
            case TextDelta(block, text):
                self._reply.text(block, text)
            case ToolStarted(call_id, name):
                self._open_calls[call_id] = name
                if words := self._tool_words(name):
                    self._reply.step(words)
            case ToolFinished(call_id):
                self._open_calls.pop(call_id, None)
                self._reply.step(THINKING)
            case ApprovalRequested(call_id, name):
                self._open_calls.setdefault(call_id, name)
                self._approvals.add(call_id)
            case FileOffered():
                self._files += 1
            case RunFinished(reason):
                self._finish_reason = reason
            case UnknownFrame(kind):
                self.unknown_frames.add(kind)
            case Source():
                self._reply.cite(event)
            case Reasoning():
                pass
            case _:
                assert_never(event)

    def closing_words(self) -> str:
        """What to say below a complete answer; empty when the answer speaks for itself."""
        if self._files:
            files = "a file" if self._files == 1 else f"{self._files} files"
            return f"The agent also made {files}, which I cannot bring into Slack."
        if self._finish_reason in CUT_SHORT:
            return CUT_SHORT[self._finish_reason]
        if self._reply.has_text:
            return ""
        if self._approvals:
            return "The agent waits for somebody to approve a step in Noxus."
        if self._open_calls:
            waiting = ", ".join(sorted({_pretty(name) for name in self._open_calls.values()}))
            return f"The agent waits for something outside this thread: {waiting}."
        return NOTHING_SAID

    def _tool_words(self, name: str) -> str:
        profile = self._profile()
        if name in profile.hidden_tools:
            return ""
        return profile.tool_messages.get(name) or f"is using {_pretty(name)}…"


def _pretty(tool_name: str) -> str:
    return tool_name.replace("_", " ").replace("-", " ").strip() or "a tool"
