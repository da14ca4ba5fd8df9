"""What the agent says, made safe to show in Slack by a short list of substitutions; and the gist for notifications."""

from __future__ import annotations

import html
import re
from typing import Final

import regex

WORD_JOINER: Final = "\u2060"
"""Invisible, without width, and no part of any mention: text that holds it looks the same and calls nobody."""

# Markdown resolves character references before Slack looks for mentions, so each spelling of < ! @ counts, and so do
# words with spelled letters. The bounds on digits are CommonMark's:
# https://spec.commonmark.org/0.31.2/#entity-and-numeric-character-references
_LT: Final = r"(?:<|&(?:lt|LT);|&\#0{0,5}60;|&\#[xX]0{0,4}3[cC];)"
_BANG: Final = r"(?:!|&excl;|&\#0{0,5}33;|&\#[xX]0{0,4}21;)"
_AT: Final = r"(?:@|&commat;|&\#0{0,5}64;|&\#[xX]0{0,4}40;)"
_BROADCAST: Final = "(?:channel|here|everyone)"
_SPELLED: Final = r"[A-Za-z]{0,7}&\#"
_SUBSTITUTED: Final = regex.compile(
    rf"""
    (?P<shout> {_LT} \\? {_BANG}) (?= (?i:{_BROADCAST}|subteam) | {_SPELLED})   # <!channel> <!here> <!subteam^S1>
    | (?P<person> {_LT} \\? {_AT}) (?= [UW][A-Z0-9] | {_SPELLED})               # <@U1> <@W1>
    | (?P<plain> (?<![A-Za-z0-9]) {_AT}) (?= {_BROADCAST}[^A-Za-z0-9] | {_SPELLED})   # @here, not bob@here.com
    | (?P<pair> [\ud800-\udbff][\udc00-\udfff])
    | (?P<broken> [\ud800-\udbff] (?=[^\udc00-\udfff]) | [\udc00-\udfff\0])
    """,
    regex.VERBOSE,
)
# Most pieces hold none of the characters that a substitution can start with.
_SUSPECT: Final = re.compile("[<&@\ud800-\udfff\0]")


SUMMARY_CHARS: Final = 150
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
       ``@channel``, ``@here``, ``@everyone``, however their signs are spelled, so that they call nobody.
    2. Two surrogates that make one character become it; a lone one, and U+0000, become U+FFFD: neither can be sent.

    At most 40 characters are held back, and only while they may be the start of one of these.
    """

    def __init__(self) -> None:
        self._held = ""
        self._before = ""

    def push(self, delta: str) -> str:
        """What ``delta`` adds to the text to show."""
        if not self._held and not _SUSPECT.search(delta):
            self._before = delta[-1:] or self._before
            return delta
        # The character before decides whether an @ opens a word, so it is looked at again.
        source = self._before + self._held + delta
        shown: list[str] = []
        done = len(self._before)
        # The last match is a partial one: the end of the text may always be the start of something, if only by nothing.
        for match in _SUBSTITUTED.finditer(source, done, partial=True):
            shown += source[done : match.start()], "" if match.partial else _substitute(match)
            done = match.start() if match.partial else match.end()
        self._before = source[max(done - 1, 0) : done]
        self._held = source[done:]
        return "".join(shown)

    def finish(self) -> str:
        """What was held back. The text is over; the preparer can be used for another."""
        # The line end stands for the end of the text, where "@here" is complete as well.
        rest = (self.push("\n") + self._held).removesuffix("\n")
        self._held = self._before = ""
        return rest


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


def _substitute(match: regex.Match[str]) -> str:
    if match["pair"]:
        return match["pair"].encode("utf-16", "surrogatepass").decode("utf-16")
    if match["broken"]:
        return "\ufffd"
    return match[0] + WORD_JOINER
