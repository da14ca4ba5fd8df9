"""What a run leaves in its conversation: frames -> ModelMessages, and the JSON of messages. Pure."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

_NO_USAGE: dict[str, Any] = {
    "input_tokens": 0,
    "cache_write_tokens": 0,
    "cache_read_tokens": 0,
    "output_tokens": 0,
    "input_audio_tokens": 0,
    "cache_audio_read_tokens": 0,
    "output_audio_tokens": 0,
    "details": {},
}
_UNKNOWN_ORIGIN: dict[str, Any] = {"id": None, "provider_name": None, "provider_details": None}
_INLINE_CHARS = 100_000
"""A larger file is only referred to in the messages. What Noxus does is unknown; pydantic-ai knows both."""
_RETRY_HINT = "\n\nFix the errors and try again."


@dataclass(frozen=True, slots=True)
class SimMessage:
    """One message of a conversation; ``parts`` are ModelMessages, ``files`` what the user attached."""

    id: str
    created_at: str
    role: Literal["user", "assistant"]
    text: str
    parts: tuple[dict[str, Any], ...]
    files: tuple[dict[str, Any], ...] = ()

    def to_json(self, *, pydantic: bool) -> dict[str, Any]:
        """The wire form; ``message_parts`` is the legacy projection that is always there."""
        legacy = {
            "role": self.role,
            "type": "text",
            "content": self.text,
            "tool": None,
            "kb_id": None,
            "files": list(self.files),
            "model_selection": None,
            "images": [],
        }
        body = {"id": self.id, "created_at": self.created_at, "message_parts": [legacy]}
        return body | {"pydantic_message_parts": list(self.parts)} if pydantic else body


def user_message(message_id: str, run_id: str, content: str, files: tuple[dict[str, Any], ...], at: str) -> SimMessage:
    """The user's own message; ``files`` are ``ConversationFile`` bodies."""
    binaries = [
        {"kind": "document-url", "url": file["url"], "media_type": file["type"]}
        if file.get("b64_content") is None
        else {"kind": "uploaded-file", "file_id": file["id"], "media_type": file["type"]}
        if len(file["b64_content"]) > _INLINE_CHARS
        else {"kind": "binary", "data": file["b64_content"], "media_type": file["type"], "identifier": file["id"]}
        for file in files
    ]
    prompt = {"content": [content, *binaries] if binaries else content, "timestamp": at, "part_kind": "user-prompt"}
    kept = tuple({key: file[key] for key in ("id", "name", "size", "type", "status", "url")} for file in files)
    return SimMessage(message_id, at, "user", content, (_request([prompt], run_id, at),), kept)


def assistant_message(message_id: str, parts: Iterable[dict[str, Any]], at: str) -> SimMessage:
    """The agent's message of one turn."""
    messages = tuple(parts)
    text = "\n\n".join(
        part["content"]
        for message in messages
        if message["kind"] == "response"
        for part in message["parts"]
        if part["part_kind"] == "text"
    )
    return SimMessage(message_id, at, "assistant", text, messages)


def model_messages(
    frames: Iterable[dict[str, Any]], run_id: str, at: str, *, reasons: bool = True
) -> list[dict[str, Any]]:
    """The ModelMessages of a run as its ``frames`` tell it: a response for each step, then what its tools returned.

    ``reasons``: responses say why the model stopped, unless it was cut off or failed.
    """
    messages: list[dict[str, Any]] = []
    step = _Step(at)
    for frame in frames:
        if frame["type"] == "finish-step":
            messages += step.close(run_id, finished=reasons)
            step = _Step(at)
        else:
            step.read(frame)
            reasons = reasons and frame["type"] != "error"
    return messages + step.close(run_id, finished=False)


class _Step:
    """One model call and the tools it used."""

    def __init__(self, at: str) -> None:
        self._at = at
        self._response: list[dict[str, Any]] = []
        self._returns: list[dict[str, Any]] = []
        self._pieces: dict[str, list[str]] = {}
        self._blocks: dict[str, dict[str, Any]] = {}
        self._tools: dict[str, str] = {}

    def read(self, frame: dict[str, Any]) -> None:
        match frame["type"]:
            case "text-start":
                self._open(frame["id"], {"content": "", **_UNKNOWN_ORIGIN, "part_kind": "text"})
            case "reasoning-start":
                part = {"content": "", "signature": None, **_UNKNOWN_ORIGIN, "part_kind": "thinking"}
                self._open(frame["id"], part)
            case "text-delta" | "reasoning-delta":
                self._pieces[frame["id"]].append(frame["delta"])
            case "tool-input-start":
                self._tools[frame["toolCallId"]] = frame["toolName"]
                self._pieces[frame["toolCallId"]] = []
            case "tool-input-delta":
                self._pieces[frame["toolCallId"]].append(frame["inputTextDelta"])
            case "tool-input-available":
                self._called(frame)
            case "tool-output-available" | "tool-output-error":
                self._returned(frame)
            case "file" if frame["url"].startswith("data:"):
                self._response.append(_file_part(frame))

    def close(self, run_id: str, *, finished: bool) -> list[dict[str, Any]]:
        """The step's messages; none for a step in which nothing was said."""
        for block, part in self._blocks.items():
            part["content"] = "".join(self._pieces[block])
        called = any(part["part_kind"] == "tool-call" for part in self._response)
        reason = ("tool_call" if called else "stop") if finished else None
        messages = [_response(self._response, run_id, self._at, reason)] if self._response else []
        return messages + ([_request(self._returns, run_id, self._at)] if self._returns else [])

    def _open(self, block: str, part: dict[str, Any]) -> None:
        self._pieces[block] = []
        self._blocks[block] = part
        self._response.append(part)

    def _called(self, frame: dict[str, Any]) -> None:
        call = frame["toolCallId"]
        arguments = "".join(self._pieces.get(call, ())) or json.dumps(frame["input"])
        kind = "builtin-tool-call" if frame.get("providerExecuted") else "tool-call"
        part = {"tool_name": frame["toolName"], "args": arguments, "tool_call_id": call, **_UNKNOWN_ORIGIN}
        self._response.append(part | {"part_kind": kind})

    def _returned(self, frame: dict[str, Any]) -> None:
        call = frame["toolCallId"]
        named = {"tool_name": self._tools.get(call, ""), "tool_call_id": call, "timestamp": self._at}
        if frame["type"] == "tool-output-error":
            reason = frame["errorText"].removesuffix(_RETRY_HINT)
            self._returns.append({"content": reason, **named, "part_kind": "retry-prompt"})
            return
        part = {**named, "content": frame["output"], "metadata": None, "outcome": "success"}
        if frame.get("providerExecuted"):
            self._response.append(part | {"part_kind": "builtin-tool-return"})
        else:
            self._returns.append(part | {"part_kind": "tool-return"})


def _file_part(frame: dict[str, Any]) -> dict[str, Any]:
    data = frame["url"].partition(",")[2]
    size = len(base64.b64decode(data))
    content = {"data": data, "media_type": frame["mediaType"], "kind": "binary", "identifier": f"file-{size}"}
    return {"content": content, "id": None, "part_kind": "file"}


def _request(parts: list[dict[str, Any]], run_id: str, at: str) -> dict[str, Any]:
    return {
        "parts": parts,
        "timestamp": at,
        "instructions": None,
        "kind": "request",
        "run_id": run_id,
        "metadata": None,
    }


def _response(parts: list[dict[str, Any]], run_id: str, at: str, finish_reason: str | None) -> dict[str, Any]:
    return {
        "parts": parts,
        "usage": _NO_USAGE,
        "model_name": "simulated",
        "timestamp": at,
        "kind": "response",
        "provider_name": None,
        "provider_url": None,
        "provider_details": None,
        "provider_response_id": None,
        "finish_reason": finish_reason,
        "run_id": run_id,
        "metadata": None,
    }
