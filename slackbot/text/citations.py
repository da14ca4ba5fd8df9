"""What the agent cites, as one compact line of links."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import quote

from slackbot.domain import Source
from slackbot.text.links import host, misleads
from slackbot.text.outbound import prepare

LONGEST_TITLE: Final = 80
LONGEST_URL: Final = 2_000
_SPECIAL: Final = re.compile(r"[!-/:-@\[-`{-~]")
_WEB: Final = re.compile(r"https?://[^/]", re.IGNORECASE)
_KEPT: Final = "/:?#[]@!$&'*+,=~%"
"""Signs that mean something in an address, and do not end a link in Markdown."""


def citations(sources: Iterable[Source]) -> str:
    """The line below an answer, each source once; "" without sources."""
    shown: dict[str, str] = {}
    for source in sources:
        url = _web_address(source.url)
        if label := _label(source.title) or _label(host(url)):
            link = f"{label} ([{_label(host(url))}]({url}))" if misleads(label, url) else f"[{label}]({url})"
            shown.setdefault(url or label, prepare(link if url else label))
    return f"Sources: {' · '.join(shown.values())}" if shown else ""


def _label(title: str) -> str:
    title = " ".join(title.split())
    if len(title) > LONGEST_TITLE:
        title = title[: LONGEST_TITLE - 1].rstrip() + "…"
    return _SPECIAL.sub(r"\\\g<0>", title)


def _web_address(url: str) -> str:
    """The address so that it ends where its link does; "" for any other, and for one that no reader could use."""
    url = quote(url.strip(), safe=_KEPT, errors="replace")
    return url if len(url) <= LONGEST_URL and _WEB.match(url) else ""
