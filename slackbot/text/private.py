"""Links to files that open only with the agent's key: their names instead, as the files themselves come as uploads."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final
from urllib.parse import urlsplit

import regex

from slackbot.domain import FileOffered
from slackbot.text.scanner import Scanner

HELD_CHARS: Final = 1_000
ATTACHED: Final = "the attached file"

_UUID: Final = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_LABEL: Final = r"(?:\\[^\n]|[^\[\]\\\n]|\[[^\[\]\n]{0,300}\])"
_FILE_NAME: Final = re.compile(r"\w[\w .()+-]*\.\w{1,8}")


def private_links(base_url: str, found: Callable[[FileOffered], None]) -> Scanner:
    """Shows a link to ``/v1/file/<id>``, relative or below ``base_url``, as its text, and a bare address in words.

    ``found`` is told of each of these files.
    """
    home = urlsplit(base_url)
    prefix = home.path.rstrip("/")
    address = (
        rf"(?i:{re.escape(f'{home.scheme}://{home.netloc}')})?(?:{re.escape(prefix)})?/v1/file/"
        rf"(?P<id>(?i:{_UUID}))(?:[/?#][^\s<>()\[\]\"'`|]{{0,200}}+)?"
    )
    pattern = regex.compile(
        rf"!?\[(?P<label>{_LABEL}{{0,300}}+)\]\([ \t]{{0,8}}<?{address}>?"
        rf"(?:[ \t]{{1,8}}(?:\"[^\"\n]{{0,100}}\"|'[^'\n]{{0,100}}'))?[ \t]{{0,8}}\)"
        rf"|<{address}(?:\|(?P<label>[^<>|\n]{{0,300}}))?>"
        rf"|(?<![\w=/&?%.~@+-]|\]\(){address}(?=[^\w/?#-])"
    )
    suspect = re.compile(rf"[\[<]|!(?=\[|\Z)|[hH](?=[tT]|\Z)|/(?=[v{re.escape(prefix[1:2])}]|\Z)")

    def shown(match: regex.Match[str]) -> str:
        label = match["label"] or ""
        name = label if _FILE_NAME.fullmatch(label) else ""
        found(FileOffered(f"/v1/file/{match['id'].lower()}", "", name))
        # The text of a link can be a picture, or the address once more.
        return pattern.sub(shown, f"{label}\n").removesuffix("\n").strip() or ATTACHED

    return Scanner(suspect, pattern, shown, before=2)
