"""What a text outside of code needs where it breaks off: what is better not shown yet, and what is open."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import Final, TypeAlias

import regex

LONGEST_LABEL: Final = 100
LONGEST_TARGET: Final = 2_000
LONGEST_ROW: Final = 1_000
"""So much of a link or a table is waited for; what grows longer is shown as it comes."""
LONGEST_SPAN: Final = 500
"""Emphasis and code that have been open for more than this are stray signs."""
_LONGEST_START: Final = 80

_SIGN: Final = re.compile(r"[\\`*_~\[<&!]")
# Each ends with a look at the character behind it, so that at the end of the text it is a partial match: not known yet.
_TOKEN: Final = regex.compile(
    rf"""
    \\ (?: [^\n] | \n (?=(?s:.)) )
    | (?<!\S) ! (?=(?s:.))
    | (?P<code> `++ (?=(?s:.)))
    | (?P<run> (?: \*++ | _++ | ~++ ) (?=(?s:.)))
    | \[ (?: [^\[\]\\`] | \\. | `[^`\n]*` | \[[^\[\]\n]*\](?:\([^()\s]*\))? ){{0,{LONGEST_LABEL}}} \]
      (?: \( (?: [^()\\\n] | \\. | \([^()\n]*\) ){{0,{LONGEST_TARGET}}} \)
        | \[ [^\[\]\n]{{0,{LONGEST_LABEL}}} \] | (?P<plain> (?=[^(\[])) )
    | < [A-Za-z/@!\#][^<>\s]{{0,200}} (?: > | (?=[<\s]) )
    | & \#?\w{{0,31}} (?: ; | (?=[^;\w\#]) )
    """,
    regex.VERBOSE,
)
# A line that says nothing yet: quotes and list markers, and what may become one, a rule, a heading, or a code block.
_START: Final = re.compile(
    r"""
    [ \t>]* (?: (?:[-*+]|\d{1,9}[.)]) [ \t]+ )* (?: \[[ xX]?\]? )?
    (?: [-*_=+][-*_= \t]* | \d{1,9}[.)]? | [#]{1,6} | `{3,}[^`\n]* | ~{3,}[^\n]* )? [ \t]*
    """,
    re.VERBOSE,
)
_DEFINITION: Final = re.compile(r"[ \t>]*\[[^\[\]\n]+\]:")
_BLANK: Final = regex.compile(r"(?r)\n[ \t\r>]*\n")
_LEAF: Final = regex.compile(r"(?rm)^[ \t>]*(?:[-*+]|\d{1,9}[.)]|(?P<heading>\#{1,6}))[ \t]")
_TABLE: Final = re.compile(
    r"^(?=[^\n]*\|)(?P<head>[^\n]+)\n[ \t>]*(?=[^\n]*-)(?=[^\n]*\|)(?P<rule>[|:\- \t]+)\r?\n", re.MULTILINE
)
_ROW: Final = re.compile(r"[ \t>]*\|")
_RULE: Final = re.compile(r"[|:\- \t>\r]*")


Mark: TypeAlias = tuple[int, str]
"""Where emphasis or code starts that is open, and the sign that closes it."""


@dataclass(slots=True)
class _Run:
    """Signs of emphasis that are open: ``count`` of the ``length`` that stood there."""

    at: int
    sign: str
    count: int
    length: int
    closes: bool


def visible(text: str, since: int) -> tuple[int, list[Mark]]:
    """How much of ``text``, which goes on, to show now, and what is open there.

    Held back are links, table rows and signs that are incomplete. A code block ended at ``since``, or the text starts
    there.
    """
    while (found := _held(text, since))[0] < len(text):
        text = text[: found[0]]
    return found


def open_marks(text: str, since: int) -> list[Mark]:
    """What is open at the end of ``text`` when all of it is shown."""
    block = block_start(text, since)
    return [] if table(text, block) else _inline(text, _leaf_start(text, block))[1]


def block_start(text: str, since: int) -> int:
    """Where the last lines without a blank line among them start."""
    blank = _BLANK.search(text, since)
    return blank.end() if blank else since


def table(text: str, block: int) -> str:
    """The first two lines of the table that ``text`` ends in, if it does. Its last block starts at ``block``."""
    found = (match for match in _TABLE.finditer(text, block) if cells(match["head"]) == cells(match["rule"]))
    return next((match[0] for match in found), "")


def cells(row: str) -> int:
    """How many cells a row of a table has, less one."""
    return re.sub(r"\\.", "", row.strip(" \t>\r")).strip("|").count("|")


def in_head(above: str, below: str) -> bool:
    """Whether two lines, of the second maybe only the start, are the first of a table, which no cut should part."""
    rule = "|" in above and "-" in above and _RULE.fullmatch(above)
    return bool(rule or ("|" in above and below and _RULE.fullmatch(below)))


def _held(text: str, since: int) -> tuple[int, list[Mark]]:
    """Where the text starts that is better not shown yet, its end if all of it can be, and what is open there."""
    line = text.rfind("\n") + 1
    last = text[line:]
    block = block_start(text, since)
    in_table = bool(table(text, block))
    row = line if in_table or _ROW.match(last) or _DEFINITION.match(last) else len(text)
    above = text.rfind("\n", block, max(line - 1, block)) + 1 or block
    if not in_table and above < line and _ROW.match(text, above) and _RULE.fullmatch(last):
        row = above
    elif not in_table and 0 < len(last) <= _LONGEST_START and _START.fullmatch(last):
        row = line
    if 0 < len(text) - row <= LONGEST_ROW:
        return row, []
    return (len(text), []) if in_table else _inline(text, _leaf_start(text, block))


def _leaf_start(text: str, block: int) -> int:
    """Where the paragraph, item or heading starts that ``text`` ends in, behind its marker."""
    leaf = _LEAF.search(text, block)
    if not leaf:
        return block
    below = text.find("\n", leaf.end()) + 1
    return below if leaf["heading"] and below else leaf.end()


def _inline(text: str, start: int) -> tuple[int, list[Mark]]:
    """Where the first sign starts that is not complete, and what is open there."""
    runs: list[_Run] = []
    at = start
    while sign := _SIGN.search(text, at):
        here, at = sign.span()
        found = _TOKEN.match(text, here, partial=True)
        if found is None:
            continue
        if found.partial:
            image = text[here] == "[" and text[start:here].endswith("!")
            return here - image, _recent(runs, len(text))
        # Brackets that are no link may hold signs that go with others outside.
        at = found.end() if found["plain"] is None else at
        if found["run"]:
            _pair(runs, found["run"], text[here - 1] if here > start else " ", text[at], here)
        elif ticks := found["code"]:
            end = re.compile(f"(?<!`){ticks}(?!`)").search(text, at)
            if end and (end.end() < len(text) or len(text) - here > LONGEST_SPAN):
                at = end.end()
            elif len(text) - here <= LONGEST_SPAN:
                # The last signs may be its end, or the start of its end.
                held = len(text.rstrip("` \t\r\n"))
                marks = _recent(runs, len(text))
                return (held, [*marks, (here, ticks)]) if text[at:held].strip() else (here, marks)
    return len(text), _recent(runs, len(text))


def _recent(runs: list[_Run], end: int) -> list[Mark]:
    return [(run.at, run.sign * run.count) for run in runs if end - run.at <= LONGEST_SPAN]


def _pair(runs: list[_Run], signs: str, before: str, after: str, here: int) -> None:
    """Let signs of emphasis close what is open, or open something: https://spec.commonmark.org/0.31.2/#delimiter-run."""
    space, word = _kinds(before)
    next_space, next_word = _kinds(after)
    left = not next_space and (next_word or not word)
    right = not space and (word or not next_word)
    opens = left and (signs[0] != "_" or not right or not word)
    closes = right and (signs[0] != "_" or not left or not next_word)
    count = len(signs)
    if signs[0] == "~" and count != 2:
        return
    at = len(runs) if closes else 0
    while count and at:
        run = runs[at - 1]
        odd = (run.closes or opens) and (run.length + len(signs)) % 3 == 0 and len(signs) % 3 != 0
        if run.sign != signs[0] or odd:
            at -= 1
            continue
        used = min(2, count, run.count)
        count -= used
        run.count -= used
        at -= not run.count
        del runs[at:]
    if count and opens:
        runs.append(_Run(here, signs[0], count, len(signs), closes))


def _kinds(char: str) -> tuple[bool, bool]:
    """Whether it is white space, and whether it is neither that nor punctuation."""
    space = char.isspace()
    return space, not space and unicodedata.category(char)[0] not in "PS"
