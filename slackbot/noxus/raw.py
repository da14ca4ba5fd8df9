"""A stream of server-sent events record by record as it came, comments and line ends included. For the probe.

What the bot itself reads is ``answer.py``: it needs no more than each record's name and data.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass

import httpx

from slackbot.errors import StreamBroken


@dataclass(frozen=True, slots=True)
class RawRecord:
    """One record. ``name`` and ``event_id`` are empty where it has none of its own; ``at`` is monotonic seconds."""

    at: float
    line_end: str
    name: str = ""
    event_id: str = ""
    data: str = ""
    comment: bool = False


async def raw_records(response: httpx.Response) -> AsyncGenerator[RawRecord, None]:
    """Every record and comment, until the body ends. Raises ``StreamBroken`` when the connection breaks before.

    Lines end with LF or CRLF; the third way that the format allows, a bare CR, gives no records.
    """
    rest, fields = b"", dict[str, str]()
    try:
        async for chunk in response.aiter_bytes():
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                text = line.removesuffix(b"\r").decode(errors="replace")
                line_end = "CRLF" if line.endswith(b"\r") else "LF"
                name, _, value = text.partition(":")
                if text.startswith(":"):
                    yield RawRecord(time.monotonic(), line_end, comment=True)
                elif text:
                    value = value.removeprefix(" ")
                    fields[name] = f"{fields[name]}\n{value}" if name == "data" and name in fields else value
                elif fields:
                    event, event_id, data = (fields.get(key, "") for key in ("event", "id", "data"))
                    yield RawRecord(time.monotonic(), line_end, event, event_id, data)
                    fields = {}
    except httpx.HTTPError as error:
        raise StreamBroken(f"the stream ended early ({type(error).__name__})") from error
