"""Links to files that open only with the agent's key: their names instead, as the files themselves come as uploads."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final
from urllib.parse import urlsplit

import regex

from slackbot.domain import FileOffered
from slackbot.text.file_names import names_file
from slackbot.text.scanner import Scanner

HELD_CHARS: Final = 1_000
ATTACHED: Final = "the attached file"

_UUID: Final = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_LABEL: Final = r"(?:\\[^\n]|[^\[\]\\\n]|\[[^\[\]\n]{0,300}\])"
# What stands before a fence on its line; one in a quote ends with the quote, which is not looked for.
_LEAD: Final = r"(?<=(?:\A|\n)(?:[ \t]|(?:[-*+]|\d{1,9}[.)])[ \t]){0,8})"
_CODE: Final = (
    rf"{_LEAD}(?:(?P<fence>`{{3,}})(?P<info>[^`\n]{{0,200}})|(?P<fence>~{{3,}})(?P<info>[^\n]{{0,200}}))\n"
    r"|(?<!`)(?P<ticks>`{1,8})(?=[^`\n])(?:[^`\n]|(?!(?P=ticks)[^`])`++){1,300}+(?P=ticks)(?=[^`])"
)


class PrivateLinks(Scanner):
    """Shows a link to ``/v1/file/<id>``, relative or below ``base_url``, as its text, and a bare address in words.

    ``found`` is told of each of these files. In code such an address is left alone.
    """

    def __init__(self, base_url: str, found: Callable[[FileOffered], None]) -> None:
        home = urlsplit(base_url)
        prefix = home.path.rstrip("/")
        address = (
            rf"(?i:{re.escape(f'{home.scheme}://{home.netloc}')})?(?:{re.escape(prefix)})?/v1/file/"
            rf"(?P<id>(?i:{_UUID}))(?:[/?#][^\s<>()\[\]\"'`|]{{0,200}}+)?"
        )
        self._links = regex.compile(
            rf"{_CODE}|!?\[(?P<label>{_LABEL}{{0,300}}+)\]\([ \t]{{0,8}}<?{address}>?"
            rf"(?:[ \t]{{1,8}}(?:\"[^\"\n]{{0,100}}\"|'[^'\n]{{0,100}}'))?[ \t]{{0,8}}\)"
            rf"|<{address}(?:\|(?P<label>[^<>|\n]{{0,300}}))?>"
            rf"|(?<![\w=/&?%.~@+-]|\]\(){address}(?=[^\w/?#-])"
        )
        suspect = re.compile(rf"[\[<`]|~(?=~|\Z)|!(?=\[|\Z)|[hH](?=[tT]|\Z)|/(?=[v{re.escape(prefix[1:2])}]|\Z)")
        super().__init__(suspect, self._links, self._shown, before=100, longest=HELD_CHARS)
        self._found = found
        self._fence = ""

    def cited(self, url: str, title: str) -> bool:
        """Whether this is the address of such a file, which is found then."""
        match = self._links.fullmatch(f"<{url}>")
        if not (match and match["id"]):
            return False
        self._find(match["id"], title)
        return True

    def finish(self) -> str:
        """See ``Scanner``."""
        rest = super().finish()
        self._fence = ""
        return rest

    def _shown(self, match: regex.Match[str]) -> str:
        if fence := match["fence"]:
            if not self._fence:
                self._fence = fence
            elif fence.startswith(self._fence) and not match["info"].strip():
                self._fence = ""
        if self._fence or not match["id"]:
            return match[0]
        label = match["label"] or ""
        self._find(match["id"], label.strip("*_` "))
        # The text of a link can be a picture, or the address once more.
        return self._links.sub(self._shown, f"{label}\n").removesuffix("\n").strip() or ATTACHED

    def _find(self, file_id: str, name: str) -> None:
        self._found(FileOffered(f"/v1/file/{file_id.lower()}", "", name if names_file(name) else ""))
