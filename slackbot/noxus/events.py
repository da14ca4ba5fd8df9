"""Noxus stream records and chat answers to ``AgentEvent`` values: pure, tolerant of every variant, never raising.

Envelopes and endpoints: https://docs.noxus.ai/api-reference/cookbook/agents. The frames inside are the AI SDK's UI
message stream (https://ai-sdk.dev/docs/ai-sdk-ui/stream-protocol), the messages of ``/chat`` pydantic-ai's
(https://ai.pydantic.dev/api/messages/).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import Any, Final

from slackbot.domain import (
    AgentEvent,
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
from slackbot.noxus.files import frame_offers, offered, offers

_FRAME_KINDS: Final = frozenset({
    "start", "start-step", "finish-step", "message-metadata", "finish", "abort", "error", "file",
    "text-start", "text-delta", "text-end", "reasoning-start", "reasoning-delta", "reasoning-end",
    "tool-input-start", "tool-input-delta", "tool-input-available", "tool-input-error", "tool-approval-request",
    "tool-output-available", "tool-output-error", "tool-output-denied", "source-url", "source-document",
})  # fmt: skip
_FINAL_NAMES: Final = ("done", "timeout", "error")
"""Names of server-sent events that mean themselves, whatever their data says."""
_REASON_KEYS: Final = ("errorText", "detail", "message", "msg", "error", "reason")
_CONTENT_KEYS: Final = ("pydantic_message_parts", "parts", "message_parts")
_NESTING: Final = 4
"""Lists in lists of a chat answer: messages, model messages, parts, and one to spare."""
_KIND_LENGTH: Final = 60


class Ending(StrEnum):
    """What a stream amounts to when nothing more comes."""

    COMPLETE = "complete"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    CUT = "cut"


class FrameDecoder:
    """One answer's stream, record by record. Remembers open blocks, tools by call id, and how the answer ended.

    A failure is no event: it shows in ``ending`` and ``failure``, because frames of use may still follow it.
    """

    def __init__(self) -> None:
        self.records = 0
        """How many server-sent events counted: those that say something, up to the end."""
        self.over = False
        """The server said that nothing of use follows (``done``, ``timeout``)."""
        self.finished = False
        """The frames say that the message is complete (``finish``, ``[DONE]``); usually ``done`` follows at once."""
        self.failure: str | None = None
        """The first error's own words. For the log: they can leak internals."""
        self._timed_out = False
        self._text = _Blocks(TextDelta)
        self._thoughts = _Blocks(Reasoning)
        self._tools: dict[str, str] = {}
        self._returned: set[str] = set()

    @property
    def ending(self) -> Ending:
        """What the answer amounts to if the stream ends here."""
        if self.failure is not None:
            return Ending.FAILED
        if self._timed_out:
            return Ending.TIMED_OUT
        return Ending.COMPLETE if self.finished else Ending.CUT

    @property
    def acted(self) -> bool:
        """Whether the agent began to answer or called a tool."""
        return bool(self._text.seen or self._tools)

    def resume(self) -> None:
        """The same answer goes on in another stream, right where this one broke off or gave up."""
        self.over = self._timed_out = False

    def push(self, sse_name: str, data: str) -> list[AgentEvent]:
        """Take one server-sent event (its name, ``message`` by default, and its data) and return what it says."""
        kind, frame = ("", {}) if self.over else _read(sse_name, data)
        if not kind:
            return []
        self.records += 1
        group, _, step = kind.partition("-")
        match group:
            case "text":
                return self._text.push(kind, step, frame)
            case "reasoning":
                return self._thoughts.push(kind, step, frame)
            case "tool":
                return self._tool(kind, step, frame)
            case "source" | "file":
                return _offer(kind, frame)
            case "data":
                return [*frame_offers(frame)] or _unknown(kind)
            case _:
                return self._milestone(kind, frame)

    def _milestone(self, kind: str, frame: dict[str, Any]) -> list[AgentEvent]:
        match kind:
            case "start" | "start-step" | "finish-step":
                self.finished = self.finished and kind == "finish-step"
                self._text.close_all()
                self._thoughts.close_all()
            case "message-metadata":
                pass
            case "error" | "abort":
                self._fail(reason(frame) or kind)
            case "finish" if frame.get("finishReason") == "error":
                self._fail("the run finished with an error")
            case "finish":
                self.finished = True
                return [] if self.failure is not None else [RunFinished(text_of(frame, "finishReason"))]
            case "[DONE]":
                self.finished = True
            case "done" | "timeout":
                self.over = True
                self._timed_out = kind == "timeout" and not self.finished
                self.finished = self.finished or kind == "done"
            case _:
                return _unknown(kind)
        return []

    def _tool(self, kind: str, step: str, frame: dict[str, Any]) -> list[AgentEvent]:
        call_id = text_of(frame, "toolCallId")
        events: list[AgentEvent] = []
        match step:
            case _ if not call_id:
                events = _unknown(kind)
            case "input-start" | "input-available":
                events = self._called(call_id, frame)
            case "input-delta":
                pass
            case "input-error":
                events = self._called(call_id, frame) + self._came_back(call_id, ok=False)
            case "output-available" if frame.get("preliminary") is not True:
                events = self._came_back(call_id, ok=True)
                events += offers(frame.get("output"), self._tools.get(call_id, ""))
            case "output-available":
                pass
            case "output-error" | "output-denied":
                events = self._came_back(call_id, ok=False)
            case "approval-request":
                events = [ApprovalRequested(call_id, self._tools.get(call_id, ""))]
            case _:
                events = _unknown(kind)
        return events

    def _called(self, call_id: str, frame: dict[str, Any]) -> list[AgentEvent]:
        if call_id in self._tools:
            return []
        self._tools[call_id] = text_of(frame, "toolName")
        self._text.close("")  # text without a block id after a tool is a paragraph of its own
        return [ToolStarted(call_id, self._tools[call_id])]

    def _came_back(self, call_id: str, *, ok: bool) -> list[AgentEvent]:
        if call_id in self._returned:
            return []
        self._returned.add(call_id)
        return [ToolFinished(call_id, self._tools.get(call_id, ""), ok)]

    def _fail(self, why: str) -> None:
        if self.failure is None:
            self.failure = why


class _Blocks:
    """The text (or reasoning) blocks of an answer, each under a name of its own.

    Servers may use one id for several blocks, leave the id out, or forget the start or the end of a block.
    """

    def __init__(self, event: type[TextDelta | Reasoning]) -> None:
        self.seen: set[str] = set()
        self._event = event
        self._open: dict[str, str] = {}

    def push(self, kind: str, step: str, frame: dict[str, Any]) -> list[AgentEvent]:
        wire_id = text_of(frame, "id")
        match step:
            case "delta":
                text = text_of(frame, "delta")
                return [self._event(self._open.get(wire_id) or self._start(wire_id), text)] if text else []
            case "start":
                self._start(wire_id)
            case "end":
                self.close(wire_id)
            case _:
                return _unknown(kind)
        return []

    def close(self, wire_id: str) -> None:
        self._open.pop(wire_id, None)

    def close_all(self) -> None:
        self._open.clear()

    def _start(self, wire_id: str) -> str:
        name = wire_id if wire_id and wire_id not in self.seen else f"{wire_id}#{len(self.seen)}"
        self.seen.add(name)
        self._open[wire_id] = name
        return name


def _offer(kind: str, frame: dict[str, Any]) -> list[AgentEvent]:
    url, name, title = text_of(frame, "url"), text_of(frame, "filename"), text_of(frame, "title")
    if kind == "file" and url:
        return [offered(url, text_of(frame, "mediaType"), name)]
    if kind in ("source-url", "source-document") and (url or title or name):
        return [Source(title or name or url, url)]
    return _unknown(kind)


def kind_of(sse_name: str, data: str) -> str:
    """What kind of record a server-sent event is; empty for one that says nothing."""
    return _read(sse_name, data)[0]


def _read(sse_name: str, data: str) -> tuple[str, dict[str, Any]]:
    if sse_name == "message" and not data:
        return "", {}  # without data it is a comment: httpx-sse gives one for each once an id was seen
    kind, frame = _unwrap(sse_name, data)
    return (sse_name if sse_name in _FINAL_NAMES else kind), frame


def _unwrap(sse_name: str, data: str) -> tuple[str, dict[str, Any]]:
    """Kind and fields of a record in whichever wrapping: envelope or none, fields as an object or as JSON text."""
    kind, payload = sse_name, _parse(data)
    if isinstance(payload, dict) and isinstance(event := payload.get("event"), str):
        kind, payload = event, payload.get("data")
        if isinstance(payload, str) and payload.startswith("{"):
            payload = _parse(payload)
    if kind == "message":
        kind = ""
    if isinstance(payload, dict):
        inner = payload.get("type")
        # Next to another name, an inner ``type`` counts only if it is a frame's: data frames carry types of their own.
        if isinstance(inner, str) and (not kind or inner in _FRAME_KINDS):
            kind = inner
        return kind or "untyped", payload
    text = clean(payload) if isinstance(payload, str) else ""
    if not kind:
        kind = "[DONE]" if text.strip() == "[DONE]" else "unreadable"
    return kind, {"delta": text, "errorText": text}


def reply_events(payload: object) -> list[AgentEvent]:
    """What a finished answer says: a ChatMessage of ``/chat``, the last message of a Conversation, or ModelMessages.

    Ends with ``RunFinished``. Empty when the payload is none of these.
    """
    if isinstance(payload, dict) and isinstance(messages := payload.get("messages"), list):
        payload = messages[-1:]
    if not isinstance(payload, list) and _content(payload) is None:
        return []
    found = list(parts(payload))
    if payload and not found:
        return []
    why = next(filter(None, (text_of(part, "finish_reason") for part in reversed(found))), "")
    return [*said(found), RunFinished(why.replace("_", "-"))]


def said(found: Iterable[dict[str, Any]]) -> list[AgentEvent]:
    """What ``parts`` say."""
    tools: dict[str, str] = {}
    return [event for number, part in enumerate(found) for event in _part_events(part, f"part-{number}", tools)]


def parts(node: object, nesting: int = _NESTING) -> Iterator[dict[str, Any]]:
    """The messages and parts of a tree of messages, in order; messages come too, for what they say of themselves."""
    if isinstance(node, dict):
        yield node
        node = _content(node)
    if isinstance(node, list) and nesting:
        for child in node:
            yield from parts(child, nesting - 1)


def _content(message: object) -> list[Any] | None:
    """What a message consists of. Servers may send it in two spellings: the newer one first, an empty one last."""
    if not isinstance(message, dict):
        return None
    found = [content for key in _CONTENT_KEYS if isinstance(content := message.get(key), list)]
    return next(filter(None, found), found[0] if found else None)


def _part_events(part: dict[str, Any], block: str, tools: dict[str, str]) -> list[AgentEvent]:
    call_id, name, content = text_of(part, "tool_call_id"), text_of(part, "tool_name"), text_of(part, "content")
    match part.get("part_kind") or part.get("role"):
        case "text" | "assistant" if content:
            return [TextDelta(block, content)]
        case "thinking" if content:
            return [Reasoning(block, content)]
        case "tool-call" | "builtin-tool-call" if call_id:
            tools[call_id] = name
            return [ToolStarted(call_id, name)]
        case ("tool-return" | "builtin-tool-return" | "retry-prompt") as kind if call_id:
            ok = kind != "retry-prompt" and part.get("outcome") in (None, "success")
            name = name or tools.get(call_id, "")
            return [ToolFinished(call_id, name, ok), *(offers(part.get("content"), name) if ok else ())]
        case "file" if isinstance(binary := part.get("content"), dict):
            media_type = text_of(binary, "media_type")
            return [FileOffered(f"data:{media_type};base64,{text_of(binary, 'data')}", media_type)]
    return []


def reason(payload: object) -> str:
    """Why something failed, in the words of an error frame or of an HTTP error's body; empty when it does not say.

    Of validation errors only place and message: the rest repeats the input, which may be a user's message.
    """
    if isinstance(payload, str):
        return clean(payload)
    if isinstance(payload, list):
        return "; ".join(filter(None, map(_problem, payload)))
    if isinstance(payload, dict):
        for key in _REASON_KEYS:
            value = payload.get(key)
            if words := reason(value) if not isinstance(value, dict) else _problem(value):
                return words
    return ""


def _problem(entry: object) -> str:
    """One entry of FastAPI's list of validation errors."""
    if not isinstance(entry, dict):
        return ""
    place = entry.get("loc")
    where = ".".join(map(str, place)) + ": " if isinstance(place, list) else ""
    return where + (text_of(entry, "msg") or text_of(entry, "message"))


def _unknown(kind: str) -> list[AgentEvent]:
    return [UnknownFrame(clean(kind)[:_KIND_LENGTH])]


_decode = json.JSONDecoder(strict=False).decode  # control characters in strings do no harm


def _parse(data: str) -> object:
    try:
        return _decode(data)
    except (ValueError, RecursionError):
        return data


def text_of(fields: dict[str, Any], key: str) -> str:
    value = fields.get(key)
    if not isinstance(value, str):
        return ""
    return value if value.isascii() else clean(value)


def clean(text: str) -> str:
    """The text without lone surrogates: JSON allows them, UTF-8 does not, so they could be neither stored nor sent."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text
