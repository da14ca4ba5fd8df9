"""One HTTP call to Noxus: the key, the deadlines, and trying again where that cannot submit a message twice."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from typing import Final

import httpx

from slackbot.errors import AgentUnavailable
from slackbot.noxus.wire import Call, Setback, request_id

log = logging.getLogger(__name__)

PLAIN_SECONDS: Final = 30.0
"""Patience for a call that runs no agent."""

_DETAIL_SECONDS: Final = 5.0
_TIMEOUT: Final = httpx.Timeout(connect=10.0, write=60.0, pool=10.0, read=None)
"""Reading has deadlines of our own: httpx's would start afresh with every keep-alive comment."""
_LIMITS: Final = httpx.Limits(max_connections=None, max_keepalive_connections=20, keepalive_expiry=4.0)
"""As many answers at once as the caller asks for. Idle connections go before uvicorn, which closes them after 5 s, can
do so under a POST: whether such a POST arrived could not be told."""


class Caller:
    """Keep-alive connections to one Noxus. Proxies and certificates come from the usual environment variables;
    redirects are not followed, so the key goes to ``base_url`` alone.
    """

    def __init__(
        self, base_url: str, api_key: str, *, sleep: Callable[[float], Awaitable[None]], jitter: Callable[[], float]
    ) -> None:
        self._base = base_url.rstrip("/")
        self.key = api_key
        self._sleep = sleep
        self._jitter = jitter
        self._http = httpx.AsyncClient(headers={"X-API-Key": self.key}, timeout=_TIMEOUT, limits=_LIMITS)

    async def aclose(self) -> None:
        await self._http.aclose()

    async def json(self, call: Call, patience: float = PLAIN_SECONDS) -> object:
        """The parsed answer of a call that carries no message. Raises ``AgentError`` kinds."""
        response = await self.send(call, patience)
        try:
            async with asyncio.timeout(patience):
                return json.loads(await response.aread())
        except (TimeoutError, httpx.HTTPError, ValueError, RecursionError) as error:
            message = f"{call.method} {call.path}: unreadable answer ({type(error).__name__})"
            raise AgentUnavailable(message, request_id=request_id(response.headers), may_have_arrived=False) from error
        finally:
            await response.aclose()

    async def send(self, call: Call, patience: float, until: float = float("inf")) -> httpx.Response:
        """The successful answer, its body unread; the caller closes it. Raises ``AgentError`` kinds.

        Waits ``patience`` seconds for an answer to begin, and never beyond ``until`` (event loop time).
        """
        now = asyncio.get_running_loop().time
        attempt = 0
        while True:
            answer = await self._attempt(call, min(patience, until - now()))
            if isinstance(answer, httpx.Response):
                return answer
            pause = answer.pause(attempt, self._jitter())
            if pause is None or now() + pause > until:
                raise answer.error from answer.cause
            log.info("noxus.retry", extra={"reason": str(answer.error), "attempt": attempt, "seconds": pause})
            await self._sleep(pause)
            attempt += 1

    async def _attempt(self, call: Call, seconds: float) -> httpx.Response | Setback:
        request = self._http.build_request(
            call.method, self._base + call.path, params=call.params, json=call.body, headers={"Accept": call.accept}
        )
        try:
            async with asyncio.timeout(seconds):
                response = await self._http.send(request, stream=True)
        except (TimeoutError, httpx.HTTPError) as error:
            return call.lost(error, self.key)
        if response.is_success:
            return response
        return call.refused(response.status_code, response.headers, await _error_body(response), self.key)


async def _error_body(response: httpx.Response) -> bytes:
    try:
        async with asyncio.timeout(_DETAIL_SECONDS):
            return await response.aread()
    except (TimeoutError, httpx.HTTPError):
        return b""  # the status says enough
    finally:
        await response.aclose()
