"""Turns what the agent says into what the reply shows, and finds the words for how it ended. No I/O."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import assert_never

from slackbot.domain import (
    AgentEvent,
    AgentProfile,
    ApprovalRequested,
    FileOffered,
    Reasoning,
    RunFinished,
    Source,
    StartedOver,
    TextDelta,
    ToolFinished,
    ToolStarted,
    UnknownFrame,
)
from slackbot.replies.opening import THINKING
from slackbot.replies.reply import Reply
from slackbot.signals import HandoverSignals

CUT_SHORT = {
    "length": "The agent reached its length limit, so this answer ends early.",
    "content-filter": "The agent's content filter ended this answer.",
}
OFFERED_CHARS = 100_000_000
"""So much of what the agent sends inline is kept in memory: about 75 MB of files."""
NOTHING_SAID = "The agent finished without saying anything."


class Listener:
    """Hears one agent run and feeds one reply. ``profile`` gives the agent's display settings as known by then."""

    def __init__(self, reply: Reply, profile: Callable[[], AgentProfile], signals: HandoverSignals) -> None:
        self.signals = signals
        self._reply = reply
        self._profile = profile
        self._open_calls: dict[str, str] = {}
        self._reasoning = False
        self._approvals: set[str] = set()
        self.offers: list[FileOffered] = []
        """Files the agent made, in order."""
        self._offered_chars = 0
        self._finish_reason = ""
        self.unknown_frames: set[str] = set()

    def hear(self, event: AgentEvent) -> None:
        """Take one event in."""
        self.signals.hear(event)
        match event:
            case TextDelta(block, text):
                self._reasoning = False
                self._reply.text(block, text)
            case Reasoning():
                if not self._reasoning:
                    self._reasoning = True
                    self._think()
            case ToolStarted(call_id, name):
                self._open_calls[call_id] = name
                self._tool_started(name)
            case ToolFinished(call_id, name):
                name = self._open_calls.pop(call_id, name)
                self._tool_finished(name)
            case ApprovalRequested(call_id, name):
                self._open_calls.setdefault(call_id, name)
                self._approvals.add(call_id)
            case FileOffered(url):
                self._offered_chars += len(url)
                # Of what is too much only the name is kept.
                self.offers.append(event if self._offered_chars <= OFFERED_CHARS else replace(event, url=""))
            case RunFinished(reason):
                self._finish_reason = reason
            case UnknownFrame(kind):
                self.unknown_frames.add(kind)
            case Source():
                self._reply.cite(event)
            case StartedOver():
                self._start_over()
            case _:
                assert_never(event)

    def _start_over(self) -> None:
        self._open_calls.clear()
        self._approvals.clear()
        self.offers.clear()
        self._offered_chars = 0
        self._reply.start_over()

    def closing_words(self) -> str:
        """What to say below a complete answer; empty when the answer speaks for itself."""
        if self._finish_reason in CUT_SHORT:
            return CUT_SHORT[self._finish_reason]
        if self._reply.has_text:
            return ""
        if self.offers:
            return "The agent made this:"
        if self._approvals:
            return "The agent waits for somebody to approve a step in Noxus."
        if self._open_calls:
            hidden = self._profile().hidden_tools
            waiting = ", ".join(sorted({_pretty(name) for name in self._open_calls.values() if name not in hidden}))
            if not waiting:
                return "The agent waits for something outside this thread."
            return f"The agent waits for something outside this thread: {waiting}."
        return NOTHING_SAID

    # --- what goes on, in the agent's own words where it has some ---

    def _think(self) -> None:
        profile = self._profile()
        if profile.hide_reasoning:
            return
        own = profile.thinking_message
        if own.lower().strip(" .…") in ("", "thinking"):
            self._reply.step("Thinking…", THINKING)
        else:
            self._reply.step(own)

    def _tool_started(self, name: str) -> None:
        self._reasoning = False
        profile = self._profile()
        if name in profile.hidden_tools:
            return
        if own := profile.tool_messages.get(name):
            self._reply.step(own)
        else:
            words = f"sing {_pretty(name)}…"
            self._reply.step(f"U{words}", f"is u{words}")

    def _tool_finished(self, name: str) -> None:
        self._reasoning = False
        profile = self._profile()
        if name in profile.hidden_tools:
            return
        shown = [call for call in self._open_calls.values() if call not in profile.hidden_tools]
        if shown:
            self._tool_started(shown[-1])
        else:
            self._reply.step(profile.tool_end_messages.get(name, ""))


def _pretty(tool_name: str) -> str:
    return tool_name.replace("_", " ").replace("-", " ").strip() or "a tool"
