"""Fetching what the agent made: out of a ``data:`` URI, from Noxus with the key, or from a public address without."""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket
from base64 import b64decode
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Iterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import BinaryIO, Final, TypeAlias
from urllib.parse import unquote, unquote_to_bytes, urljoin

import httpx

from slackbot.domain import FileBytes, FileOffered, FileTrouble
from slackbot.errors import AgentError, FileRefused
from slackbot.noxus.caller import Caller
from slackbot.noxus.files import name_in
from slackbot.noxus.wire import Call
from slackbot.text.file_names import file_name
from slackbot.text.media_types import HEAD, media_type

Resolve: TypeAlias = Callable[[str], Awaitable[Collection[str]]]
"""The addresses of a host's name."""

FETCH_SECONDS: Final = 300.0
"""Patience for a whole file."""
IDLE_SECONDS: Final = 30.0
"""Patience for an answer, and for its next bytes."""

_REDIRECTS: Final = 2
_CHUNK: Final = 64 * 1024
# Of all that a key opens only files: another address might show the key itself, and what is fetched is shown in Slack.
_FILE_PATH: Final = re.compile(r"/v1/file/[A-Za-z0-9_-]{1,100}")
_ONE_ALPHABET: Final = str.maketrans("-_", "+/")
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
_TROUBLES: Final[dict[int, FileTrouble]] = {
    HTTPStatus.UNAUTHORIZED: FileTrouble.NO_ACCESS,
    HTTPStatus.FORBIDDEN: FileTrouble.NO_ACCESS,
    HTTPStatus.NOT_FOUND: FileTrouble.GONE,
    HTTPStatus.GONE: FileTrouble.GONE,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: FileTrouble.TOO_BIG,
}


async def fetched(offer: FileOffered, into: BinaryIO, most: int, caller: Caller, resolve: Resolve) -> FileBytes:
    """The file, written to ``into``. Raises ``FileRefused``."""
    try:
        into.seek(0)
        into.truncate()
        async with asyncio.timeout(FETCH_SECONDS):
            if offer.url[:5].lower() == "data:":
                content_type, size = await asyncio.to_thread(_decode, offer.url, into, most)
                disposition = ""
            else:
                async with _opened(offer.url, caller, resolve) as response:
                    size = await _received(response, into, most)
                content_type = response.headers.get("content-type", "")
                disposition = response.headers.get("content-disposition", "")
            into.seek(0)
            head = into.read(HEAD)
    except (OSError, ValueError, httpx.HTTPError, httpx.InvalidURL) as error:
        raise FileRefused(FileTrouble.UNREADABLE, f"{type(error).__name__} while fetching") from error
    name = offer.name or name_in(disposition)
    declared = offer.media_type if "/" in offer.media_type else content_type
    found = media_type(declared, name, head)
    return FileBytes(file_name(name if "." in name else "", name, found), found, size, into)


@asynccontextmanager
async def _opened(url: str, caller: Caller, resolve: Resolve) -> AsyncGenerator[httpx.Response, None]:
    """The successful answer of the address, or of the one that it leads to."""
    for _ in range(1 + _REDIRECTS):
        response = await _asked(url, caller, resolve)
        try:
            if response.is_success:
                yield response
                return
            if not response.has_redirect_location:
                trouble = _TROUBLES.get(response.status_code, FileTrouble.UNREADABLE)
                raise FileRefused(trouble, f"status {response.status_code}")
            url = urljoin(str(response.url), response.headers["location"])
        finally:
            await response.aclose()
    raise FileRefused(FileTrouble.UNREADABLE, "too many redirects")


async def _asked(url: str, caller: Caller, resolve: Resolve) -> httpx.Response:
    path = _path_in(caller.base, url)
    if path:
        try:
            return await caller.send(Call("GET", path, accept="*/*", as_it_is=True), IDLE_SECONDS)
        except AgentError as error:
            trouble = _TROUBLES.get(error.status, FileTrouble.UNREADABLE)
            raise FileRefused(trouble, str(error), detail=error.request_id) from error
    async with asyncio.timeout(IDLE_SECONDS):
        await _must_be_public(httpx.URL(url), resolve)
        return await caller.look(url)


def _path_in(base: str, url: str) -> str:
    """The path below ``base`` of a file in Noxus; empty for any other address."""
    if url.startswith("/"):
        path = url
    else:
        home, address = httpx.URL(base), httpx.URL(url)
        same = (address.scheme, address.host, address.port) == (home.scheme, home.host, home.port)
        path = address.path.removeprefix(home.path.rstrip("/")) if same and not address.userinfo else ""
    found = _FILE_PATH.match(path)
    return found[0] if found else ""


async def _must_be_public(url: httpx.URL, resolve: Resolve) -> None:
    """Raises ``FileRefused`` for what only our own network can reach.

    A name that means another host a moment later gains nothing: that host has no certificate for it.
    """
    if url.scheme != "https" or url.userinfo or not url.host:
        raise FileRefused(FileTrouble.NO_ACCESS, "neither in Noxus nor a public https address")
    if not all(map(is_public, await resolve(url.host))):
        raise FileRefused(FileTrouble.NO_ACCESS, "an address that is not public")


async def resolve(host: str) -> Collection[str]:
    """What the name service says now. Raises ``OSError``."""
    found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return {str(entry[4][0]) for entry in found}


def is_public(address: str) -> bool:
    """Whether anybody on the internet can reach the IP address, also by an IPv4 address that it holds."""
    ip = ipaddress.ip_address(address)
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo or (None, None))[1]
        if ip in _NAT64:
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if ip.is_site_local or (inner is not None and not is_public(str(inner))):
            return False
        if inner is not None:
            return True
    return ip.is_global and not ip.is_multicast and not ip.is_reserved


async def _received(response: httpx.Response, into: BinaryIO, most: int) -> int:
    # What is packed on the way has another length, and could be much larger.
    if response.headers.get("content-encoding", "identity") != "identity":
        raise FileRefused(FileTrouble.UNREADABLE, "packed, although that was not asked for")
    announced = response.headers.get("content-length", "")
    size = int(announced) if announced.isdecimal() else 0
    if size <= most:
        size = 0
        now = asyncio.get_running_loop().time
        async with asyncio.timeout(IDLE_SECONDS) as limit:
            async for chunk in response.aiter_raw():
                limit.reschedule(now() + IDLE_SECONDS)
                size += len(chunk)
                if size > most:
                    break
                into.write(chunk)
    if size > most:
        raise FileRefused(FileTrouble.TOO_BIG, f"more than {most} bytes")
    return size


def _decode(url: str, into: BinaryIO, most: int) -> tuple[str, int]:
    """Write what a ``data:`` URI holds; its media type and size. Raises ``FileRefused``, and ``ValueError`` for none.

    Form: https://www.rfc-editor.org/rfc/rfc2397.
    """
    comma = url.index(",")
    content_type, *parameters = url[5:comma].split(";")
    is_base64 = "base64" in (parameter.strip().lower() for parameter in parameters)
    size = 0
    for piece in _bytes_of(url, comma + 1) if is_base64 else [unquote_to_bytes(url[comma + 1 :])]:
        size += len(piece)
        if size > most:
            raise FileRefused(FileTrouble.TOO_BIG, f"more than {most} bytes")
        into.write(piece)
    return content_type, size


def _bytes_of(text: str, start: int) -> Iterator[bytes]:
    """What the base64 in ``text`` says from ``start``, in pieces: it may be long. Either alphabet, padded or not."""
    if "%" in text:
        text, start = unquote(text[start:]), 0
    rest = ""
    for at in range(start, len(text), _CHUNK):
        rest += "".join(text[at : at + _CHUNK].split()).translate(_ONE_ALPHABET)
        end = len(rest) // 4 * 4
        yield b64decode(rest[:end], validate=True)
        rest = rest[end:]
    rest = rest.rstrip("=")
    yield b64decode(rest + "=" * (-len(rest) % 4), validate=True)
