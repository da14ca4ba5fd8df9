"""What a person wrote in Slack, to be shown to another one: with its marks and links, calling nobody. Pure."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Mapping
from typing import Final

from slackbot.text.inbound import readable
from slackbot.text.outbound import WORD_JOINER

FENCE: Final = "```"

_CALL: Final = re.compile(r"(?P<link><[^<>]*>)|(?<![A-Za-z0-9])@(?=(?:channel|here|everyone)\b)")
_MEANT: Final = re.compile(r"(?P<as_it_is><(?:https?://|mailto:|tel:)[^<>]*>|&(?:amp|lt|gt);)|<[^<>]*>|(?P<sign>[&<>])")
_UNIT: Final = re.compile(rf"<[^<>]*>|&\w+;|{FENCE}|(?P<line>\n)|(?P<space>[ \t])")


def quotable(text: str, *, people: Mapping[str, str], channels: Mapping[str, str]) -> str:
    """Slack's spelling of a message, as it can be posted by somebody else: mentions are mere names."""

    def show(match: re.Match[str]) -> str:
        if match["as_it_is"]:
            return match[0]
        shown = match[0] if match["sign"] else readable(match[0], people=people, channels=channels)
        return html.escape(shown, quote=False)

    return _CALL.sub(lambda match: match["link"] or f"@{WORD_JOINER}", _MEANT.sub(show, text))


def pieces(text: str, most: int) -> list[str]:
    """``text`` in pieces of at most ``most`` characters, cut between lines, else between words, else anywhere but in a
    link. A block of code is closed and opened again where it is cut."""
    found: list[str] = []
    while len(text) > most:
        at = _cut(text, most - len(FENCE))
        piece, text = text[:at].rstrip(), text[at:].lstrip(" \t").removeprefix("\n")
        if piece.count(FENCE) % 2:
            piece, text = piece + FENCE, FENCE + text
        found.append(piece)
    return [piece for piece in (*found, text) if piece.strip()]


def _cut(text: str, room: int) -> int:
    """Where to cut at ``room`` or not much before."""
    at = line = space = 0
    for unit in _units(text, room):
        if unit["line"]:
            line = unit.start()
        elif unit["space"]:
            space = unit.start()
        elif unit.end() > room:
            at = unit.start()
    least = room // 2
    return next((best for best in (line, space, at) if best >= least), room)


def _units(text: str, room: int) -> Iterator[re.Match[str]]:
    for unit in _UNIT.finditer(text):
        if unit.start() > room:
            return
        yield unit
