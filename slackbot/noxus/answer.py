"""One answer of the agent, read from an HTTP response: as it grows, or whole."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Final, cast

import httpx
from httpx_sse import EventSource

from slackbot.domain import AgentEvent
from slackbot.errors import AgentError, AgentRunFailed, AgentTimedOut, AgentUnavailable, ConversationFull, StreamBroken
from slackbot.noxus.events import Ending, reply_events
from slackbot.noxus.hearing import Hearing
from slackbot.noxus.wire import bounded, detail_of, names_message_cap, request_id

EVENT_STREAM: Final = "text/event-stream"

_AFTER_FINISH_SECONDS: Final = 3.0
"""Patience for ``done`` once the frames say that the message is complete."""
_AFTER_DONE_SECONDS: Final = 0.1
"""Patience for the end of the body, which normally is there already: only then the connection can be used again."""
_FEW: Final = 4
"""So many answers at once are read as they come."""
_GATHER_SECONDS: Final = 0.05
"""How long tokens gather between two reads of an answer when there are more; Slack shows them less often anyway."""
_CROWD: Final = 100
"""With more answers than so many at once they gather longer, so that all of them together cost the same."""
_LONGEST_GATHER: Final = 0.3
_AT_ONCE_SECONDS: Final = 0.001
"""What comes faster was there already."""


@dataclass(slots=True)
class Crowd:
    """How many answers are being read at the same time."""

    open: int = 0


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait: ``idle`` seconds from one record to the next, and never beyond ``until`` (event loop time);
    ``crowd`` holds all that are read beside."""

    idle: float
    until: float
    crowd: Crowd = field(default_factory=Crowd)

    def deadline(self, hearing: Hearing, now: float) -> float:
        """Until when the next record must come."""
        seconds = self.idle
        if hearing.over:
            seconds = _AFTER_DONE_SECONDS
        elif hearing.finished:
            seconds = _AFTER_FINISH_SECONDS
        return min(now + seconds, self.until)


def is_stream(response: httpx.Response) -> bool:
    """Whether the response is a stream of server-sent events."""
    return EVENT_STREAM in response.headers.get("content-type", "").partition(";")[0]


async def streamed(
    response: httpx.Response, patience: Patience, hidden: str, hearing: Hearing
) -> AsyncGenerator[AgentEvent, None]:
    """What a stream adds to ``hearing``. Raises what is wrong with an answer that is not complete.

    ``hidden`` is the secret to keep out of the error's text.
    """
    cause: Exception | None = None
    response.encoding = "utf-8-sig"  # event streams are UTF-8 whatever the header says, and may open with a BOM
    response.stream = _Watched(response, hearing, patience)
    patience.crowd.open += 1
    try:
        async with aclosing(EventSource(response).aiter_sse()) as records:
            async for record in records:
                for event in hearing.push(record.event, record.data, record.id):
                    yield event
    except (TimeoutError, httpx.HTTPError) as error:
        cause = error
    finally:
        patience.crowd.open -= 1
    failure = _failure(hearing, cause, request_id(response.headers), hidden)
    if failure is not None:
        raise failure from cause


async def whole(response: httpx.Response, until: float, hidden: str) -> list[AgentEvent]:
    """The events of an answer in one piece. Raises what is wrong with one that is not complete, or no answer at all.

    ``hidden`` is the secret to keep out of the error's text.
    """
    noxus_id = request_id(response.headers)
    try:
        async with asyncio.timeout_at(until):
            body = await response.aread()
        payload = json.loads(body)
    except TimeoutError as error:
        raise AgentTimedOut("the whole answer took too long", request_id=noxus_id) from error
    except httpx.HTTPError as error:
        raise StreamBroken(f"the answer ended early: {error!r}", request_id=noxus_id) from error
    except (ValueError, RecursionError) as error:
        kind = response.headers.get("content-type", "")
        raise AgentUnavailable(f"the answer is no JSON but {kind[:60]!r}", request_id=noxus_id) from error
    events = reply_events(payload)
    if not events:
        why = bounded(detail_of(body), hidden) or "an answer without a message"
        raise AgentRunFailed(why, request_id=noxus_id)
    return events


def _gathering(answers: int) -> float:
    return min(_GATHER_SECONDS * max(1.0, answers / _CROWD), _LONGEST_GATHER)


class _Watched(httpx.AsyncByteStream):
    """A body whose chunks are waited for only until the next record is due: comments do not count, records do.

    With many answers at once, what comes is left to gather for a moment: one read for several tokens, as a read costs
    more than all that is done with a token.
    """

    def __init__(self, response: httpx.Response, hearing: Hearing, patience: Patience) -> None:
        self._body = cast("httpx.AsyncByteStream", response.stream)  # what an AsyncClient's responses have
        self._hearing = hearing
        self._patience = patience

    async def __aiter__(self) -> AsyncIterator[bytes]:
        now = asyncio.get_running_loop().time
        hearing, patience, alarm = self._hearing, self._patience, _Alarm()
        heard, deadline, waited = -1, 0.0, False
        chunks = aiter(self._body)
        try:
            while True:
                if heard != hearing.records:
                    heard = hearing.records
                    deadline = patience.deadline(hearing, now())
                if waited and patience.crowd.open > _FEW and not hearing.finished:
                    await asyncio.sleep(_gathering(patience.crowd.open))
                began = now()
                with alarm.at(deadline):
                    chunk = await anext(chunks, None)
                if chunk is None:
                    return
                waited = now() - began > _AT_ONCE_SECONDS
                yield chunk
        finally:
            alarm.off()

    async def aclose(self) -> None:
        await self._body.aclose()


class _Alarm:
    """``asyncio.timeout_at`` for one wait after the other: a timer is set only where none would ring in time."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0
        self._waiting: asyncio.Task[object] | None = None
        self._cancelled = 0
        self._rang = False

    def at(self, due: float) -> _Alarm:
        """Set the deadline of the next wait."""
        self._due = due
        if self._timer is None or self._timer.when() > due:
            self.off()
            self._timer = self._loop.call_at(due, self._ring)
        return self

    def off(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def __enter__(self) -> None:
        self._waiting = task = cast("asyncio.Task[object]", asyncio.current_task())
        self._cancelled = task.cancelling()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _trace: object) -> None:
        task, self._waiting = self._waiting, None
        if self._rang and task is not None:
            self._rang = False
            # Somebody else may have cancelled it too: that counts more.
            if task.uncancel() <= self._cancelled and kind is asyncio.CancelledError:
                raise TimeoutError from error

    def _ring(self) -> None:
        self._timer = None
        if self._due > self._loop.time():
            self._timer = self._loop.call_at(self._due, self._ring)
        elif self._waiting is not None:
            self._rang = True
            self._waiting.cancel()


def _failure(hearing: Hearing, cause: Exception | None, noxus_id: str, hidden: str) -> AgentError | None:
    late = isinstance(cause, TimeoutError)
    match hearing.ending:
        case Ending.COMPLETE:
            return None
        case Ending.FAILED:
            why = bounded(hearing.failure or "", hidden)
            # A conversation that is full refuses before anything ran; later, a limit is an ordinary failure.
            full = not hearing.acted and names_message_cap(why)
            return (ConversationFull if full else AgentRunFailed)(why, request_id=noxus_id)
        case Ending.CUT if not late:
            return StreamBroken(f"the stream ended early: {cause!r}", request_id=noxus_id)
        case _:
            who = "we waited too long" if late else "Noxus gave up"
            return AgentTimedOut(f"{who} after {hearing.records} records", request_id=noxus_id)
