"""Fetches the bytes of Slack's files: the token to Slack's hosts alone, every byte counted, no page for a file."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import BinaryIO, Final, NoReturn

import httpx

from slackbot.domain import FileTrouble, SlackFile
from slackbot.errors import FileRefused
from slackbot.slack.addresses import is_public, takes_token
from slackbot.slack.file_info import SCOPE
from slackbot.text.media_types import is_html

log = logging.getLogger(__name__)

CONNECT_SECONDS: Final = 5.0
IDLE_SECONDS: Final = 20.0
TOTAL_SECONDS: Final = 180.0
"""For all tries together."""
REDIRECTS: Final = 2
PAUSES: Final = (0.5, 2.0)
"""Seconds before each further try, unless Slack names more."""
LONGEST_PAUSE: Final = 30.0


class Downloads:
    """Keep-alive connections to where Slack keeps files. Proxies and certificates come from the usual variables.

    ``file_hosts`` (``host`` or ``host:port``) may have the token besides Slack's own.
    """

    def __init__(
        self,
        file_hosts: Iterable[str] = (),
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        connect_seconds: float = CONNECT_SECONDS,
        idle_seconds: float = IDLE_SECONDS,
        total_seconds: float = TOTAL_SECONDS,
    ) -> None:
        self._hosts = frozenset(host.lower() for host in file_hosts)
        self._sleep = sleep
        self._total = total_seconds
        # The file as it is: what is packed on the way would have another length, and could be much larger.
        self._http = httpx.AsyncClient(
            headers={"Accept-Encoding": "identity"},
            timeout=httpx.Timeout(idle_seconds, connect=connect_seconds, pool=None),
            # How many run at once is for the caller to say: one that waits here for others could only fail.
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=20),
        )

    async def aclose(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    async def download(self, token: str, scopes: str, file: SlackFile, into: BinaryIO, *, most: int) -> int:
        """Write the file to ``into`` from its start and return the number of bytes. Raises ``FileRefused``.

        ``scopes`` are those of the token, separated by commas; empty when they are not known.
        """
        if file.size > most:
            raise FileRefused(FileTrouble.TOO_BIG, f"{file.size} bytes, {most} allowed")
        found = _Download(self._http, self._hosts, token, scopes, file, into, most)
        try:
            async with asyncio.timeout(self._total):
                return await self._persist(found)
        except TimeoutError as error:
            raise FileRefused(FileTrouble.UNREADABLE, f"not here after {self._total:g} s") from error
        except OSError as error:
            raise FileRefused(FileTrouble.UNREADABLE, f"cannot be kept ({error.strerror})") from error

    async def _persist(self, download: _Download) -> int:
        pauses = iter(PAUSES)
        while True:
            try:
                return await download.run()
            except _Setback as setback:
                pause = max(next(pauses, math.inf), setback.retry_after)
                if pause > LONGEST_PAUSE:
                    raise FileRefused(FileTrouble.UNREADABLE, str(setback)) from setback
                log.info("file.retry", extra={"file": download.file.id, "reason": str(setback), "seconds": pause})
                await self._sleep(pause)


class _Setback(Exception):
    """It did not work, but may the next time."""

    def __init__(self, reason: str, retry_after: float = 0.0) -> None:
        super().__init__(reason)
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True)
class _Download:
    """One file on its way to us."""

    http: httpx.AsyncClient
    hosts: frozenset[str]
    token: str = field(repr=False)
    scopes: str
    file: SlackFile
    into: BinaryIO
    most: int

    async def run(self) -> int:
        """Try once. Raises ``_Setback`` when another try makes sense."""
        self.into.seek(0)
        self.into.truncate()
        try:
            response = await self._open()
            try:
                return await self._read(response)
            finally:
                await response.aclose()
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise _Setback(type(error).__name__) from error

    async def _open(self) -> httpx.Response:
        """The answer that is no redirect. Once an address may not have the token, no later one gets it either."""
        url, token = self.file.url, self.token
        for hop in range(REDIRECTS + 1):
            if not takes_token(url, self.hosts):
                if not hop or not is_public(url):
                    raise FileRefused(FileTrouble.UNREADABLE, f"hop {hop} leads to a host that is not Slack's")
                token = ""
            headers = {"Authorization": f"Bearer {token}"} if token else {}
            response = await self.http.send(self.http.build_request("GET", url, headers=headers), stream=True)
            if response.next_request is None:
                return response
            await response.aclose()
            if _hints_at_access(response):
                self._denied(response)
            url = str(response.next_request.url)
        raise FileRefused(FileTrouble.UNREADABLE, f"more than {REDIRECTS} redirects")

    async def _read(self, response: httpx.Response) -> int:
        self._check(response)
        # Who may not read a file gets a page to log in, with status 200: https://github.com/slackapi/bolt-js/issues/2585
        page = response.headers.get("content-type", "").lower().startswith("text/html")
        count = 0
        async for chunk in response.aiter_raw():
            page = page or (not count and is_html(chunk))
            count += len(chunk)
            if page and count > self.file.size:
                self._denied(response)
            if count > self.most:
                raise FileRefused(FileTrouble.TOO_BIG, f"more than {self.most} bytes")
            self.into.write(chunk)
        if page and count != self.file.size:
            self._denied(response)
        if count < self.file.size:
            raise _Setback(f"{count} of {self.file.size} bytes")
        return count

    def _check(self, response: httpx.Response) -> None:
        status = response.status_code
        if status in {404, 410}:
            raise FileRefused(FileTrouble.GONE, f"HTTP {status}")
        if status in {401, 403}:
            self._denied(response)
        if status == 429 or status >= 500:
            retry_after = response.headers.get("retry-after", "")
            raise _Setback(f"HTTP {status}", float(retry_after) if retry_after.isdecimal() else 0.0)
        if status != 200 or response.headers.get("content-encoding", "identity") != "identity":
            raise FileRefused(FileTrouble.UNREADABLE, f"HTTP {status}, not the file itself")

    def _denied(self, response: httpx.Response) -> NoReturn:
        granted = SCOPE in self.scopes.split(",")
        if not granted and (self.scopes or _hints_at_access(response)):
            raise FileRefused(FileTrouble.MISSING_SCOPE, "a page to log in instead of the file", detail=SCOPE)
        trouble = FileTrouble.NO_ACCESS if _hints_at_access(response) else FileTrouble.UNREADABLE
        raise FileRefused(trouble, f"HTTP {response.status_code} and a page instead of the file")


def _hints_at_access(response: httpx.Response) -> bool:
    return response.status_code in {401, 403} or "acl_fail" in response.headers.get("x-slack-meta", "")
