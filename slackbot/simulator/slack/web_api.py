"""The Web API's door: arguments, token, rate limit, faults, latency, and the record of every call."""

from __future__ import annotations

import asyncio
import math
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from aiohttp import web

from slackbot.simulator.slack import chat, reading, world
from slackbot.simulator.slack.arguments import Arguments, read_arguments
from slackbot.simulator.slack.errors import SlackError
from slackbot.simulator.slack.faults import Fault, Faults
from slackbot.simulator.slack.record import ApiCall

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from slackbot.simulator.slack.chat import Method
    from slackbot.simulator.slack.clock import Clock
    from slackbot.simulator.slack.model import Json
    from slackbot.simulator.slack.rate import RateLimits
    from slackbot.simulator.slack.scopes import Grants
    from slackbot.simulator.slack.workspace import Workspace


_PIECE: Final = 32


@dataclass(frozen=True, slots=True)
class _Answer:
    body: Json
    status: int = 200
    retry_after: int | None = None


class WebApi:
    """Answers `/api/<method>` for the bot's token, and apps.connections.open for the app's.

    `latency` is the seconds a call takes, half before and half after it takes effect.
    """

    def __init__(
        self,
        workspace: Workspace,
        *,
        limits: RateLimits,
        grants: Grants,
        latency: float,
        clock: Clock,
        more_methods: Mapping[str, Method],
        open_connection: Callable[[], str],
        on_call: Callable[[ApiCall], None],
    ) -> None:
        self.limits = limits
        self.faults = Faults()
        self.latency = latency
        self._workspace = workspace
        self._grants = grants
        self._clock = clock
        self._open_connection = open_connection
        self._on_call = on_call
        self._methods: dict[str, Method] = {
            **chat.METHODS,
            **reading.METHODS,
            **more_methods,
            "auth.test": self._auth_test,
        }

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one call."""
        method = request.match_info["method"]
        try:
            args = await read_arguments(request)
        except SlackError as refused:
            return self._respond(method, self._record(method, {}, _Answer(_refusal(refused))))
        token = request.headers.get("Authorization", "").removeprefix("Bearer ").strip() or str(args.get("token", ""))
        args.pop("token", None)
        fault = self.faults.take(method, args)
        if fault and fault.drop == "before":
            return _drop(request)
        await asyncio.sleep(self.latency / 2 + (fault.delay if fault and not fault.done else 0.0))
        broken = _broken(fault) if fault else None
        happened = self._answer(method, token, args) if broken is None or (fault and fault.done) else None
        answer = self._record(method, args, broken or happened or _Answer({}))
        await asyncio.sleep(self.latency / 2)
        if fault is None:
            return self._respond(method, answer)
        await asyncio.sleep(fault.delay if fault.done else 0.0)
        if fault.drop == "after":
            return _drop(request)
        return await _spoilt(request, fault, self._respond(method, answer))

    def _answer(self, method: str, token: str, args: Json) -> _Answer:
        try:
            run = self._authorized(method, token)
            self._grants.check(method, args, self._workspace)
            wait = self.limits.admit(method, str(args.get("channel", "")), self._clock.monotonic())
            if wait > 0:
                return _Answer({"ok": False, "error": "ratelimited"}, 429, max(1, math.ceil(wait)))
            return _Answer({"ok": True, **run(self._workspace, Arguments(args))})
        except SlackError as refused:
            return _Answer(_refusal(refused))

    def _authorized(self, method: str, token: str) -> Method:
        if not token:
            raise SlackError("not_authed")
        if token not in {world.BOT_TOKEN, world.APP_TOKEN}:
            raise SlackError("invalid_auth")
        if method == "apps.connections.open":
            if token != world.APP_TOKEN:
                raise SlackError("not_allowed_token_type")
            return lambda _workspace, _args: {"url": self._open_connection()}
        run = self._methods.get(method)
        if run is None:
            raise SlackError("unknown_method", req_method=method)
        if token != world.BOT_TOKEN:
            raise SlackError("not_allowed_token_type")
        return run

    def _auth_test(self, _workspace: Workspace, _args: Arguments) -> Json:
        bot = self._workspace.users[world.BOT_USER_ID]
        return {
            "url": f"https://{world.TEAM_DOMAIN}.slack.com/",
            "team": world.TEAM_NAME,
            "team_id": world.TEAM_ID,
            "user": bot.name,
            "user_id": bot.id,
            "bot_id": bot.bot_id,
            "is_enterprise_install": False,
        }

    def _record(self, method: str, args: Json, answer: _Answer) -> _Answer:
        ok = bool(answer.body.get("ok"))
        self._on_call(ApiCall(self._clock.monotonic(), method, args, ok, answer.body.get("error"), answer.status))
        return answer

    def _respond(self, method: str, answer: _Answer) -> web.Response:
        headers = self._grants.headers(method)
        if answer.retry_after is not None:
            headers["Retry-After"] = str(answer.retry_after)
        return web.json_response(answer.body, status=answer.status, headers=headers)


def _refusal(refused: SlackError) -> Json:
    return {"ok": False, "error": refused.code, **refused.details}


def _broken(fault: Fault) -> _Answer | None:
    if not fault.error and not fault.status and fault.body is None:
        return None
    error = fault.error or ("ratelimited" if fault.status == 429 else "internal_error")
    limited = error in {"ratelimited", "rate_limited"}
    status = fault.status or (429 if limited else 200)
    retry_after = math.ceil(fault.retry_after if fault.retry_after is not None else 1) if limited else None
    return _Answer({"ok": False, "error": error}, status, retry_after)


async def _spoilt(request: web.Request, fault: Fault, response: web.Response) -> web.StreamResponse:
    """The answer as this trouble lets it out: something else, slowly, or its first half."""
    if fault.body is not None:
        body = fault.body.encode() if isinstance(fault.body, str) else fault.body
        response = web.Response(status=fault.status or 200, body=body, headers={"Content-Type": fault.content_type})
    elif fault.status and not fault.error:
        response = web.Response(status=fault.status, text="<html>upstream error</html>", content_type="text/html")
    whole = response.body
    if not isinstance(whole, bytes) or not (fault.pace or fault.drop):
        return response
    slow = web.StreamResponse(status=response.status, headers=response.headers)
    slow.content_length = len(whole)
    with suppress(ConnectionError):  # whoever asked has gone
        await slow.prepare(request)
        for at in range(0, len(whole) // 2 if fault.drop else len(whole), _PIECE):
            await slow.write(whole[at : at + _PIECE])
            await asyncio.sleep(fault.pace)
    return _drop(request) if fault.drop else slow


def _drop(request: web.Request) -> web.Response:
    if request.transport is not None:
        request.transport.abort()
    return web.Response()
