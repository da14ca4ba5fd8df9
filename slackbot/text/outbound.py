"""What the agent says, made safe to show in Slack by a short list of substitutions; and the gist for notifications."""

from __future__ import annotations

import html
import re
from dataclasses import replace
from typing import Final

import regex

from slackbot.domain import FileOffered, Source
from slackbot.text.links import label_before, misleads
from slackbot.text.private import PrivateLinks
from slackbot.text.scanner import Scanner

WORD_JOINER: Final = "\u2060"
"""Invisible, without width, and no part of any mention: text that holds it looks the same and calls nobody."""

# Markdown resolves character references before Slack looks for mentions, so each spelling of < ! @ counts, and so do
# words with spelled letters. The bounds on digits are CommonMark's:
# https://spec.commonmark.org/0.31.2/#entity-and-numeric-character-references
_AMP: Final = "&(?:amp;){0,3}"
_LT: Final = rf"(?:<|{_AMP}(?:lt|LT);?|{_AMP}\#0{{0,5}}60;?|{_AMP}\#[xX]0{{0,4}}3[cC];?)"
_BANG: Final = rf"(?:!|{_AMP}excl;|{_AMP}\#0{{0,5}}33;?|{_AMP}\#[xX]0{{0,4}}21;?)"
_AT: Final = rf"(?:@|{_AMP}commat;|{_AMP}\#0{{0,5}}64;?|{_AMP}\#[xX]0{{0,4}}40;?)"
_BROADCAST: Final = "(?:channel|here|everyone)"
_SPELLED: Final = rf"[A-Za-z]{{0,7}}{_AMP}\#"
# How a link's target starts, as far as it says who is asked.
_TARGET: Final = r"[ \t\n]{0,8}+ <?+ (?P<target> [^\s<>()]{300} | [^\s<>()]{0,299} (?=[\s<>()]) )"
_SUBSTITUTED: Final = regex.compile(
    rf"""
    (?P<shout> {_LT} \\? {_BANG}) (?= (?i:{_BROADCAST}|subteam) | {_SPELLED})   # <!channel> <!here> <!subteam^S1>
    | (?P<person> {_LT} \\? {_AT}) (?= [UW][A-Z0-9] | {_SPELLED})               # <@U1> <@W1>
    | (?P<plain> (?<![A-Za-z0-9]) {_AT}) (?= {_BROADCAST}[^A-Za-z0-9] | {_SPELLED})   # @here, not bob@here.com
    | (?P<label> \] ) (?= [(:] {_TARGET} | \[ )   # [https://a.example](https://b.example)
    | (?P<piped> <(?P<asked>https?://[^\s<>|]{{1,300}}) ) (?= \| (?P<says>[^<>\n]{{0,200}}) > )
    | (?P<pair> [\ud800-\udbff][\udc00-\udfff])
    | (?P<broken> [\ud800-\udbff] (?=[^\udc00-\udfff]) | [\udc00-\udfff\0])
    """,
    regex.VERBOSE,
)
# Most pieces hold none of the characters that a substitution can start with.
_SUSPECT: Final = re.compile("[<&@\\]\ud800-\udfff\0]")


HELD_CHARS: Final = 600
SUMMARY_CHARS: Final = 150
_LABEL_CHARS: Final = 1_000
_SUMMARY_SOURCE_CHARS: Final = 2_000
_LINE_MARKS: Final = re.compile(
    r"^[ \t]*(?:(?:>|[#]{1,6}(?=\s)|[-*+](?=\s)|```\w*|~~~\w*|[-=*_|: \t]{3,}$)[ \t]*)+", re.MULTILINE
)
_LINK: Final = re.compile(r"!?\[([^\[\]]*)\]\([^()\s]*(?:\s[^()]*)?\)")
_EMPHASIS: Final = re.compile(r"(?<!\w)(?:\*{1,3}|_{1,3}|~~|`+)(?=\S)|(?<=\S)(?:\*{1,3}|_{1,3}|~~|`+)(?!\w)")
_NOTHING_TO_SAY: Final = "…"


class Preparer:
    """Turns the agent's text into the text we show, as it comes, in pieces of any size.

    The substitutions, all of them:

    1. A word joiner goes into ``<!channel>``, ``<!here>``, ``<!everyone>``, ``<!subteam^…>``, ``<@U…>`` and
       ``@channel``, ``@here``, ``@everyone``, however their signs are spelled, so that they call nobody. With
       ``user_mentions``, ``<@U…>`` stays.
    2. A space goes between the text and the target of a link whose text looks like an address on another host, so
       that it is no link and both are shown: ``[https://a.example] (https://b.example)``.
    3. Two surrogates that make one character become it; a lone one, and U+0000, become U+FFFD: neither can be sent.

    4. With ``private_files``, a link to a file below that address is only its text, and the bare address is "the
       attached file": nobody can open it without the agent's key. ``files`` tells which they were. Code stays as it is.

    At most ``HELD_CHARS`` are held back for these, and ``private.HELD_CHARS`` for the last, and only while they may be
    the start of one.
    """

    def __init__(self, *, user_mentions: bool = False, private_files: str = "") -> None:
        self.files: list[FileOffered] = []
        self._user_mentions = user_mentions
        # What stands before decides whether an @ opens a word, and what a link is called.
        self._scanners = [Scanner(_SUSPECT, _SUBSTITUTED, self._substitute, before=_LABEL_CHARS, longest=HELD_CHARS)]
        self._private = PrivateLinks(private_files, self.files.append) if private_files else None
        if self._private:
            # First, as the text around a link can call somebody once the link is gone: @[here](…).
            self._scanners.insert(0, self._private)

    def push(self, delta: str) -> str:
        """What ``delta`` adds to the text to show."""
        for scanner in self._scanners:
            delta = scanner.push(delta)
        return delta

    def finish(self) -> str:
        """What was held back. The text is over; the preparer can be used for another."""
        rest = ""
        for scanner in self._scanners:
            rest = scanner.push(rest) + scanner.finish()
        return rest

    def citable(self, source: Source) -> Source:
        """The source as people may see it: a file that only we can open is only its title, and counts as linked."""
        private = self._private is not None and self._private.cited(source.url, source.title)
        return replace(source, url="") if private else source

    def _substitute(self, match: regex.Match[str]) -> str:
        found = match[0]
        source, end = match.string, match.end()
        if match["pair"]:
            return found.encode("utf-16", "surrogatepass").decode("utf-16")
        if match["broken"]:
            return "\ufffd"
        if match["label"]:
            label = label_before(source[max(match.start() - _LABEL_CHARS, 0) : match.start()])
            return found + " " * misleads(label, match["target"])
        if match["piped"]:
            return found + " " * misleads(match["says"], match["asked"])
        allowed = self._user_mentions and found == "<@" and source[end] in "UW"
        return found if allowed else found + WORD_JOINER


def prepare(text: str) -> str:
    """The whole text at once: the same substitutions as ``Preparer``."""
    preparer = Preparer()
    return preparer.push(text) + preparer.finish()


def plain(markdown: str) -> str:
    """The gist of a message for its notification, on one line, escaped as Slack's ``text`` wants it.

    At most ``SUMMARY_CHARS`` characters before escaping, without markup, never empty, and calling nobody.
    """
    text = _LINE_MARKS.sub("", markdown[:_SUMMARY_SOURCE_CHARS])
    text = _EMPHASIS.sub("", _LINK.sub(r"\1", text))
    # Without its markup a text can call somebody whom it did not call before: @**here**.
    text = prepare(" ".join(text.replace("|", " ").split()))
    if len(text) > SUMMARY_CHARS:
        text = text[: SUMMARY_CHARS - 1]
        text = (text[: text.rfind(" ")] if " " in text[SUMMARY_CHARS // 2 :] else text) + "…"
    return html.escape(text, quote=False) or _NOTHING_TO_SAY
