"""Where the bot token may be sent, and which other addresses are public: pure.

httpx reads the address here as it does when it connects, so both mean the same host.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from ipaddress import ip_address
from typing import Final

import httpx

_SLACK: Final = ["slack", "com"]
_ODD: Final = re.compile(r"[^!-~]|\\")
"""No address of Slack's has such characters, and readers disagree about where a host with them ends."""
_LABEL: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_NOT_PUBLIC: Final = frozenset(
    {"arpa", "corp", "home", "internal", "intranet", "lan", "local", "localdomain", "localhost"}
)


def takes_token(url: str, listed: Collection[str] = ()) -> bool:
    """Whether the address is Slack's, or its host (``host`` or ``host:port``) is ``listed``.

    Only over https, and to no other port than a listed one; to this machine itself, where listed, over http too.
    """
    address = _parse(url)
    if address is None:
        return False
    if address.netloc.decode() in listed:
        return address.scheme == "https" or (address.scheme == "http" and _is_loopback(address.host))
    return _is_usual(address) and _labels(address)[-2:] == _SLACK


def is_public(url: str) -> bool:
    """Whether the address is https at a host that everybody can name: what may be read without any token."""
    address = _parse(url)
    if address is None or not _is_usual(address):
        return False
    *more, last = _labels(address) or [""]
    return bool(more) and last[:1].isalpha() and last not in _NOT_PUBLIC


def _parse(url: str) -> httpx.URL | None:
    try:
        address = httpx.URL(url)
    except httpx.InvalidURL:
        return None
    return None if _ODD.search(url) or address.userinfo else address


def _is_usual(address: httpx.URL) -> bool:
    return address.scheme == "https" and address.port is None


def _labels(address: httpx.URL) -> list[str]:
    """The parts of a host's name; none where one is malformed, as in an IPv6 address or beside a trailing dot."""
    labels = address.raw_host.decode().split(".")
    return labels if all(map(_LABEL.fullmatch, labels)) else []


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
