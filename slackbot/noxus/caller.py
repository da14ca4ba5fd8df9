"""One HTTP call to Noxus: the key, the deadlines, and trying again where that cannot submit a message twice."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any, Final

import httpx

from slackbot.errors import AgentDown, AgentError, AgentUnavailable
from slackbot.leases import may_write
from slackbot.noxus.body import FilesBody
from slackbot.noxus.breaker import Breaker
from slackbot.noxus.wire import Call, Setback, request_id

log = logging.getLogger(__name__)

PLAIN_SECONDS: Final = 30.0
"""Patience for a call that runs no agent."""

DOUBT_SECONDS: Final = 30.0
"""After so long without an answer to anybody, whoever waits for one to a message looks whether Noxus is there."""
LOOK_SECONDS: Final = 10.0
_DETAIL_SECONDS: Final = 5.0
_TIMEOUT: Final = httpx.Timeout(connect=10.0, write=60.0, pool=10.0, read=None)
"""Reading has deadlines of our own: httpx's would start afresh with every keep-alive comment."""
_UNPACKED: Final = {"Accept-Encoding": "identity"}
_LIMITS: Final = httpx.Limits(max_connections=None, max_keepalive_connections=20, keepalive_expiry=4.0)
"""As many answers at once as the caller asks for. Idle connections go before uvicorn, which closes them after 5 s, can
do so under a POST: whether such a POST arrived could not be told."""


class Caller:
    """Keep-alive connections to one Noxus. Proxies and certificates come from the usual environment variables;
    redirects are not followed, and no call but those below ``base_url`` carries the key.
    """

    def __init__(
        self, base_url: str, api_key: str, *, sleep: Callable[[float], Awaitable[None]], jitter: Callable[[], float]
    ) -> None:
        self.base = base_url.rstrip("/")
        self.key = api_key
        self._sleep = sleep
        self._jitter = jitter
        self._breaker = Breaker()
        self._http = httpx.AsyncClient(timeout=_TIMEOUT, limits=_LIMITS)

    async def aclose(self) -> None:
        await self._http.aclose()

    @property
    def is_down(self) -> bool:
        """Whether Noxus has not answered for a while, so that calls fail at once."""
        return self._breaker.is_open

    async def json(self, call: Call, patience: float = PLAIN_SECONDS) -> object:
        """The parsed answer of a call that carries no message. Raises ``AgentError`` kinds."""
        return (await self.told(call, patience))[0]

    async def told(self, call: Call, patience: float = PLAIN_SECONDS) -> tuple[object, httpx.Headers]:
        """The same, and what the answer's headers say."""
        response = await self.send(call, patience)
        try:
            async with asyncio.timeout(patience):
                return json.loads(await response.aread()), response.headers
        except (TimeoutError, httpx.HTTPError, ValueError, RecursionError) as error:
            message = f"{call.method} {call.path}: unreadable answer ({type(error).__name__})"
            raise AgentUnavailable(message, request_id=request_id(response.headers), may_have_arrived=False) from error
        finally:
            await response.aclose()

    async def send(self, call: Call, patience: float, until: float = float("inf")) -> httpx.Response:
        """The successful answer, its body unread; the caller closes it. Raises ``AgentError`` kinds,
        and ``TurnLost`` instead of sending a message for a turn that is another process's by now.

        Waits ``patience`` seconds for an answer to begin, once all files are sent or as long as none moves on, and
        never beyond ``until`` (event loop time). While Noxus is down it does not wait at all: ``AgentDown``. A message
        that waits by then has no more patience than ``DOUBT_SECONDS``.
        """
        now = asyncio.get_running_loop().time
        setback: Setback | None = None
        attempt = 0
        while True:
            if call.carries_message:
                # Whoever took the turn over in a pause has found no message, and said so.
                await may_write()
            if wait := self._breaker.wait(now()):
                if setback is not None:
                    raise setback.error from setback.cause
                raise AgentDown(f"{call.method} {call.path}: not asked, Noxus is down", retry_after=wait)
            began = now()
            answer = await self._attempt(call, patience, until)
            self._note(answer, began, now())
            if isinstance(answer, httpx.Response):
                return answer
            setback = answer
            pause = answer.pause(attempt, self._jitter())
            if pause is None or now() + pause > until:
                raise answer.error from answer.cause
            log.info("noxus.retry", extra={"reason": str(answer.error), "attempt": attempt, "seconds": pause})
            await self._sleep(pause)
            attempt += 1

    def _note(self, answer: httpx.Response | Setback, began: float, now: float) -> None:
        if isinstance(answer, Setback) and answer.down:
            if self._breaker.failed(began, now, answer.about):
                log.error("noxus.down", extra={"reason": str(answer.error)})
        elif self._breaker.answered(now):
            log.warning("noxus.back")

    async def look(self, url: str) -> httpx.Response:
        """What a foreign address answers, without the key; its body unread, the caller closes it."""
        return await self._http.send(self._http.build_request("GET", url, headers=_UNPACKED), stream=True)

    async def _attempt(self, call: Call, patience: float, until: float) -> httpx.Response | Setback:
        now = asyncio.get_running_loop().time
        headers = {"X-API-Key": self.key, "Accept": call.accept} | (_UNPACKED if call.as_it_is else {})

        async def moving(body: FilesBody) -> AsyncIterator[bytes]:
            async for chunk in body:
                limit.reschedule(min(now() + patience, until))
                yield chunk

        try:
            async with asyncio.timeout_at(min(now() + patience, until)) as limit:
                if isinstance(call.body, FilesBody):
                    headers |= {"Content-Type": "application/json", "Content-Length": f"{call.body.length}"}
                    body: dict[str, Any] = {"content": moving(call.body)}
                else:
                    body = {"json": call.body}
                url = self.base + call.path
                request = self._http.build_request(call.method, url, params=call.params, headers=headers, **body)
                doubting = asyncio.create_task(self._doubt(call, patience, limit))
                try:
                    response = await self._http.send(request, stream=True)
                finally:
                    doubting.cancel()
        except (TimeoutError, httpx.HTTPError) as error:
            return call.lost(error, self.key)
        if response.is_success or (call.as_it_is and response.has_redirect_location):
            return response
        return call.refused(response.status_code, response.headers, await _error_body(response), self.key)

    async def _doubt(self, call: Call, patience: float, limit: asyncio.Timeout) -> None:
        """Set ``limit`` to now when a message has been waiting for long and Noxus answers nobody: many of them would
        keep everybody else waiting. A Noxus that answers may take its time.
        """
        if not call.carries_message:
            return
        now = asyncio.get_running_loop().time
        began = now()
        while True:
            moved = (limit.when() or began) - patience
            rest = max(began, moved, self._breaker.answered_at) + DOUBT_SECONDS - now()
            if rest <= 0.0:
                with suppress(AgentError):
                    await self.json(Call("GET", call.about), LOOK_SECONDS)
                if self._breaker.is_open and not limit.expired():
                    limit.reschedule(now())
                rest = LOOK_SECONDS
            await asyncio.sleep(rest)


async def _error_body(response: httpx.Response) -> bytes:
    try:
        async with asyncio.timeout(_DETAIL_SECONDS):
            return await response.aread()
    except (TimeoutError, httpx.HTTPError):
        return b""  # the status says enough
    finally:
        await response.aclose()
