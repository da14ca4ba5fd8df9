"""Talking to Noxus as the probe does: raw streams, conversations that are deleted in the end."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final, Protocol
from uuid import uuid4

from slackbot.domain import AgentEvent, AgentTarget, TextDelta
from slackbot.errors import AgentError, AgentKeyRejected, AgentTimedOut, AgentUnknown, StreamBroken
from slackbot.noxus.answer import EVENT_STREAM
from slackbot.noxus.caller import Caller
from slackbot.noxus.client import NoxusClient
from slackbot.noxus.events import FrameDecoder
from slackbot.noxus.raw import RawRecord, raw_records
from slackbot.noxus.wire import Call, message_body
from slackbot.probe.report import Leftovers, whole

_FINAL: Final = ("done", "timeout")
_AFTER_DONE: Final = 2.0
NAME: Final = "slackbot probe (to be deleted)"


class Read(Protocol):
    """Goes on reading a stream: to its end, for so many seconds, or until there is enough."""

    async def __call__(self, *, seconds: float = ..., enough: Callable[[], bool] = ...) -> None:
        """Read."""


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds: of silence that mean that nothing comes, for a call, for one answer, between two looks, and for all
    of it but what the removal takes."""

    quiet: float = 5.0
    call: float = 10.0
    answer: float = 40.0
    look: float = 1.0
    total: float = 85.0


@dataclass(slots=True)
class Heard:
    """A stream as far as it was read."""

    began: float = field(default_factory=time.monotonic)
    records: list[RawRecord] = field(default_factory=list)
    comments: list[float] = field(default_factory=list)
    events: list[AgentEvent] = field(default_factory=list)
    decoder: FrameDecoder = field(default_factory=FrameDecoder)
    last: float = 0.0
    over: bool = False
    text_at: list[float] = field(default_factory=list)

    def take(self, record: RawRecord) -> None:
        self.last = record.at
        if record.comment:
            self.comments.append(record.at)
            return
        self.records.append(record)
        events = self.decoder.push(record.name or "message", record.data)
        self.events += events
        self.text_at += [record.at for event in events if isinstance(event, TextDelta)]

    @property
    def text(self) -> str:
        return "".join(event.text for event in self.events if isinstance(event, TextDelta))

    @property
    def frames(self) -> list[RawRecord]:
        """The records that carry frames."""
        return [record for record in self.records if record.name not in _FINAL and record.data.startswith("{")]

    @property
    def ids(self) -> list[str]:
        return [record.event_id for record in self.records if record.event_id]

    def named(self, name: str) -> RawRecord | None:
        return next((record for record in self.records if record.name == name), None)


@dataclass(frozen=True, slots=True)
class State:
    """A conversation as Noxus shows it."""

    name: str
    etag: str
    status: str
    manual: bool
    settings: dict[object, object]
    messages: list[object]

    @classmethod
    def read(cls, payload: object) -> State:
        known: dict[object, object] = payload if isinstance(payload, dict) else {}
        settings, messages = known.get("settings"), known.get("messages")
        return cls(
            name=str(known.get("name") or ""),
            etag=str(known.get("etag") or ""),
            status=str(known.get("status") or ""),
            manual=known.get("manual") is True,
            settings=settings if isinstance(settings, dict) else {},
            messages=messages if isinstance(messages, list) else [],
        )


class NoxusTalk:
    """The calls that the probe makes, over one connection pool. All raise ``AgentError`` kinds."""

    def __init__(self, base_url: str, api_key: str, leftovers: Leftovers, patience: Patience) -> None:
        self.heard: list[Heard] = []
        """Every answer that was listened to, in order."""
        self.conversation = ""
        """The conversation that is meant where none is named."""
        self._base_url = base_url
        self._caller = _caller(base_url, api_key)
        self._client = NoxusClient(base_url, api_key)
        self._leftovers = leftovers
        self._patience = patience

    async def aclose(self) -> None:
        """Close all connections."""
        await self._client.aclose()
        await self._caller.aclose()

    async def scratch(self, target: AgentTarget) -> str:
        """A new conversation, deleted in the end."""

        async def make() -> str:
            made = await self._client.create_conversation(target, NAME)
            self._leftovers.made(f"conversation {made} in Noxus", lambda: self._removed(made))
            return made

        return await whole(make())

    async def _removed(self, conversation: str) -> str:
        try:
            await self.delete(conversation)
        except AgentError as error:
            return "" if error.status == 404 else why(error)
        return ""

    async def delete(self, conversation: str) -> None:
        """Delete a conversation."""
        call = Call("DELETE", f"/v1/conversations/{conversation}")
        await (await self._caller.send(call, self._patience.call)).aclose()

    def _get(self, conversation: str = "") -> Call:
        return Call("GET", f"/v1/conversations/{conversation or self.conversation}")

    async def refusal_of_wrong_key(self) -> str:
        """The status that a look at the conversation gets with a key that nobody has."""
        wrong = _caller(self._base_url, f"not-a-key-{uuid4().hex}")
        try:
            return await status(wrong.json(self._get(), self._patience.call))
        finally:
            await wrong.aclose()

    async def look(self, conversation: str = "") -> State:
        """The conversation as it is now."""
        return State.read(await self._caller.json(self._get(conversation), self._patience.call))

    async def submit(self, conversation: str, body: Mapping[str, object]) -> None:
        """Send a message and leave before its answer."""
        path = f"/v1/conversations/{conversation}/stream"
        call = Call("POST", path, {"format": "json"}, body, EVENT_STREAM, carries_message=True)
        await (await self._caller.send(call, self._patience.answer)).aclose()

    @asynccontextmanager
    async def stream(
        self, prompt: str, *, raw: bool = False, conversation: str = ""
    ) -> AsyncIterator[tuple[Heard, Read]]:
        """Send a message and read its answer. Raises ``AgentError`` kinds."""
        path = f"/v1/conversations/{conversation or self.conversation}/stream"
        query = None if raw else {"format": "json"}
        call = Call("POST", path, query, {**message_body(prompt), "files": None}, EVENT_STREAM, carries_message=True)
        heard = Heard()
        self.heard.append(heard)
        async with self._reading(call, self._patience.answer, heard) as read:
            yield heard, read

    @asynccontextmanager
    async def events(self, etag: str) -> AsyncIterator[tuple[Heard, Read]]:
        """Attach to whatever runs. Raises ``AgentError`` kinds."""
        query = {"format": "json"} | ({"etag": etag} if etag else {})
        call = Call("GET", f"/v1/conversations/{self.conversation}/events", query, accept=EVENT_STREAM)
        heard = Heard()
        async with self._reading(call, self._patience.quiet, heard) as read:
            yield heard, read

    @asynccontextmanager
    async def _reading(self, call: Call, patience: float, heard: Heard) -> AsyncIterator[Read]:
        now = asyncio.get_running_loop().time
        response = await self._caller.send(call, patience)
        records = raw_records(response)
        coming: asyncio.Task[RawRecord | None] | None = None  # survives a pause in reading

        async def read(*, seconds: float = self._patience.answer, enough: Callable[[], bool] = lambda: False) -> None:
            nonlocal coming
            deadline = now() + seconds
            while not (heard.over or enough()):
                coming = coming or asyncio.create_task(_next(records))
                await asyncio.wait([coming], timeout=deadline - now())
                if not coming.done():
                    heard.over = heard.decoder.over
                    return
                record, coming = coming.result(), None
                if record is None:
                    heard.over = True
                    return
                heard.take(record)
                if heard.decoder.over:
                    deadline = min(deadline, now() + _AFTER_DONE)

        try:
            yield read
        finally:
            if coming is not None:
                coming.cancel()
                await asyncio.wait([coming])
            await records.aclose()
            await response.aclose()


async def _next(records: AsyncGenerator[RawRecord, None]) -> RawRecord | None:
    """The next record; None at the end, also when the connection breaks."""
    try:
        return await anext(records, None)
    except StreamBroken:
        return None


def _caller(base_url: str, api_key: str) -> Caller:
    return Caller(base_url, api_key, sleep=asyncio.sleep, jitter=random.random)


async def status(call: Awaitable[object]) -> str:
    """The status that a call is answered with."""
    try:
        await call
    except AgentError as error:
        if not error.status:
            raise
        return str(error.status)
    return "200"


def why(error: AgentError) -> str:
    """An error in words that hold nothing of what the other side said."""
    if isinstance(error, AgentKeyRejected):
        return f"Noxus refuses NOXUS_API_KEY ({error.status})"
    if isinstance(error, AgentUnknown):
        return f"Noxus does not know the agent ({error.status})"
    if error.status:
        return f"Noxus answered {error.status}"
    return "Noxus did not answer in time" if isinstance(error, AgentTimedOut) else "Noxus cannot be reached"
