"""Frames -> bytes of a server-sent event stream, in every variant the switches allow. Pure."""

from __future__ import annotations

import json
from typing import Any, Literal

from slackbot.simulator.noxus.switches import Switches


class Encoder:
    """Writes one stream. ``json`` frames come in envelopes under the stable name ``message``, ``vercel`` ones raw."""

    def __init__(self, wire: Literal["json", "vercel"], switches: Switches) -> None:
        self._json = wire == "json"
        self._switches = switches
        self._end = switches.line_end

    def frame(self, frame: dict[str, Any], event_id: str) -> bytes:
        """One frame as an event."""
        switches, kind = self._switches, frame["type"]
        if kind == "error" and switches.error_as == "event":
            return self._event("error", frame["errorText"].replace("\n", " "), event_id)
        if not self._json:
            return self._event(kind if switches.event_names else "", _dump(frame), event_id)
        inner: Any = frame if switches.inner_type else {key: value for key, value in frame.items() if key != "type"}
        if not switches.envelope:
            return self._event("message", _dump(frame), event_id)
        envelope = {"event": kind, "data": _dump(inner) if switches.inner_string else inner}
        return self._event("message", _dump(envelope), event_id)

    def close(self, reason: Literal["done", "timeout"]) -> bytes:
        """The end of the stream; nothing where the switches leave it to the end of the body."""
        if reason == "timeout":
            return self._event("timeout", "{}", "")
        marker = b"" if self._json or not self._switches.done_marker else self._event("", "[DONE]", "")
        return marker + (self._event("done", "{}", "") if self._switches.done_event else b"")

    def ping(self) -> bytes:
        """A comment that keeps proxies from closing a silent stream."""
        return f": ping{self._end}{self._end}".encode()

    def _event(self, name: str, data: str, event_id: str) -> bytes:
        end = self._end
        lines = f"id: {event_id}{end}" if event_id and self._switches.sse_ids else ""
        if name:
            lines += f"event: {name}{end}"
        return f"{lines}data: {data}{end}{end}".encode()


# As pydantic writes it: compact, nothing escaped that need not be, U+2028 and U+0085 included.
_dump = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
