"""How the bytes of files leave the simulated Slack: to who may read them, with the troubles one can order."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from aiohttp import web

from slackbot.simulator.slack import world

if TYPE_CHECKING:
    from slackbot.simulator.slack.scopes import Grants

LOGIN_PAGE: Final = (
    "<!DOCTYPE html><html><head><title>Slack</title></head><body>" + "<p>Sign in to Acme</p>" * 40 + "</body></html>"
)
_CHUNK: Final = 16 << 10


@dataclass(slots=True, kw_only=True)
class Trouble:
    """One trouble, for the next `times` downloads (None: for all of them).

    `status` is answered instead of the file, with `retry_after` where there is one; `location` redirects (`.`: to the
    same address again); `login` shows the page to log in, without the header that tells why where `hint` is off.
    `delay` holds the answer back, `pace` each piece of it; after `cut` bytes the connection breaks, and `short` bytes
    are missing although the answer looks complete. `headers` are added.
    """

    times: int | None = 1
    status: int = 0
    retry_after: int | None = None
    location: str = ""
    login: bool = False
    hint: bool = True
    delay: float = 0.0
    pace: float = 0.0
    cut: int | None = None
    short: int = 0
    headers: dict[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """Somebody asked for the bytes of a file; `token` is what they showed."""

    path: str
    token: str


class Downloads:
    """Hands out bytes. `asked` lists every request; `troubles` come one after the other."""

    def __init__(self, grants: Grants) -> None:
        self.asked: list[Asked] = []
        self.troubles: list[Trouble] = []
        self._grants = grants

    async def answer(self, request: web.Request, content: bytes | None, kind: str) -> web.StreamResponse:
        """Answer a request for a file, which is gone where there is no content."""
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        self.asked.append(Asked(request.path, token))
        trouble = self._trouble()
        await asyncio.sleep(trouble.delay)
        headers = dict(trouble.headers or {})
        if trouble.location:
            target = request.path if trouble.location == "." else trouble.location
            return web.Response(status=302, headers=headers | {"Location": target})
        if trouble.status:
            after = {} if trouble.retry_after is None else {"Retry-After": str(trouble.retry_after)}
            return web.Response(status=trouble.status, headers=headers | after)
        # Slack answers whoever may not read a file with its login page and status 200, or leads there.
        # https://github.com/slackapi/bolt-js/issues/2585
        if trouble.login or token != world.BOT_TOKEN or "files:read" not in self._grants.scopes:
            why = {"X-Slack-Meta": "slack;acl_fail"} if trouble.hint else {}
            return web.Response(text=LOGIN_PAGE, content_type="text/html", headers=headers | why)
        if content is None:
            raise web.HTTPNotFound
        return await _send(request, content[: len(content) - trouble.short], kind, headers, trouble)

    def _trouble(self) -> Trouble:
        trouble = next((trouble for trouble in self.troubles if trouble.times != 0), None)
        if trouble is None:
            return Trouble()
        if trouble.times is not None:
            trouble.times -= 1
        return trouble


async def _send(
    request: web.Request, content: bytes, kind: str, headers: dict[str, str], trouble: Trouble
) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": kind, **headers})
    response.content_length = len(content)
    await response.prepare(request)
    sent = content if trouble.cut is None else content[: trouble.cut]
    for start in range(0, len(sent), _CHUNK):
        await response.write(sent[start : start + _CHUNK])
        await asyncio.sleep(trouble.pace)
    if trouble.cut is not None and request.transport is not None:
        request.transport.abort()
    await response.write_eof()
    return response
