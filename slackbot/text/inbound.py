"""Slack's spelling of a message read as plain words: who is addressed, which names are needed, readable text."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

_MENTION = (
    r"<(?:@(?P<user>[^|<>\s]+)|!subteam\^(?P<group>[^|<>\s]+)|!(?P<broadcast>here|channel|everyone))(?:\|[^<>]*)?>"
)
# A mention still opens the message behind marks of emphasis and quotation, and behind a word of greeting.
_FIRST_ADDRESSEE = re.compile(
    r"(?:[\s*_~(\"'>]|&gt;)*(?:(?:cc|dear|fyi|hello|hey|hi|ok|okay|thanks|thank\s+you)\b[\s,!:]*)?" + _MENTION,
    re.IGNORECASE,
)
_NEXT_ADDRESSEE = re.compile(r"(?:[\s,:]|&amp;|and\b)*" + _MENTION)

_ENTITY = re.compile(r"<(?P<entity>[^<>]*)>|&(?P<escape>amp|lt|gt);")
_ID = re.compile(r"(?P<kind>[@#])(?P<id>[^|\s]+)(?:\|(?P<label>.*))?", re.DOTALL)
_UNESCAPED = {"amp": "&", "lt": "<", "gt": ">"}
_ESCAPE = re.compile(r"&(amp|lt|gt);")
_SCHEME = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*):(?://)?(?P<rest>.*)", re.DOTALL)
_PLAIN_SCHEMES = frozenset({"mailto", "tel"})
_BROADCASTS = frozenset({"here", "channel", "everyone"})

_ENDS_SENTENCE = (".", "!", "?", "…")
_SETS_APART = (",", ";", *_ENDS_SENTENCE)


@dataclass(frozen=True, slots=True)
class Entities:
    """Ids in a text that only Slack can name."""

    users: frozenset[str] = frozenset()
    channels: frozenset[str] = frozenset()


def addressees(text: str) -> tuple[str, ...]:
    """Whom a message opens by addressing: the leading run of mentions, in order.

    Users and groups by id, broadcasts as ``here``, ``channel`` or ``everyone``. Empty when the text opens with words
    other than a greeting.
    """
    found: list[str] = []
    match = _FIRST_ADDRESSEE.match(text)
    while match:
        found.append(match["user"] or match["group"] or match["broadcast"])
        match = _NEXT_ADDRESSEE.match(text, match.end())
    return tuple(found)


def without_mention(text: str, user_id: str) -> str:
    """``text`` without calling ``user_id`` at its start, or at its end where the name merely closes the sentence.

    A mention that is part of a sentence stays ("what did <@U1> say", "who is <@U1>?"): without it the sentence would
    mean something else. At the end it goes when set apart by punctuation or a line break, or after a single word.
    """
    mention = rf"<@{re.escape(user_id)}(?:\|[^<>]*)?>"
    calls = re.compile(rf"\s*{mention}(?!['\u2019-]\w)(?:\s*[,;](?=\s)|[,:;.!?…]+(?=\s|$)|,)?\s*")
    start = 0
    while match := calls.match(text, start):
        start = match.end()
    text = text[start:]
    last = text.rfind(f"<@{user_id}")
    if last < 0 or not (tail := re.fullmatch(rf"{mention}\s*(?P<mark>[.!?…]*)\s*", text[last:])):
        return text
    said = text[:last].rstrip()
    gap = text[len(said) : last]
    if not (said.endswith(_SETS_APART) or "\n" in gap or not re.search(r"\s", said)):
        return text
    said = said.rstrip(",;")
    return said if said.endswith(_ENDS_SENTENCE) else said + tail["mark"]


def entities(text: str) -> Entities:
    """The people and channels in ``text`` that are written without a name."""
    named = [_ID.fullmatch(match["entity"] or "") for match in _ENTITY.finditer(text)]
    found = [(match["kind"], match["id"]) for match in named if match and not match["label"]]
    return Entities(
        users=frozenset(id_ for kind, id_ in found if kind == "@"),
        channels=frozenset(id_ for kind, id_ in found if kind == "#"),
    )


def readable(text: str, *, people: Mapping[str, str], channels: Mapping[str, str]) -> str:
    """``text`` as a person sees it in Slack, everything that is no entity carried whole.

    ``people`` and ``channels`` map ids to names without ``@`` and ``#``; a name that Slack sent along helps out, then
    the id. Follows the steps of https://docs.slack.dev/messaging/formatting-message-text: first the entities, then
    ``&amp;``, ``&lt;`` and ``&gt;``, each exactly once.
    """

    def read(match: re.Match[str]) -> str:
        if escape := match["escape"]:
            return _UNESCAPED[escape]
        content = match["entity"]
        shown = _entity(content, people, channels)
        return match[0] if shown is None else shown

    return _ENTITY.sub(read, text)


def _entity(content: str, people: Mapping[str, str], channels: Mapping[str, str]) -> str | None:
    """What an entity looks like; None when it is none that we know."""
    target, _, label = content.partition("|")
    target, label = _unescape(target), _unescape(label)
    match target[:1], target[1:]:
        case "@", user if user:
            return "@" + (people.get(user) or label.removeprefix("@") or user)
        case "#", channel if channel:
            return "#" + (channels.get(channel) or label.removeprefix("#") or channel)
        case "!", command:
            return _command(command, label)
        case _:
            return _link(target, label)


def _command(command: str, label: str) -> str | None:
    name, _, argument = command.partition("^")
    if name == "subteam":
        return label or f"@{argument}"
    if name in _BROADCASTS:
        return f"@{name}"
    # A date's fallback, and the label of whatever Slack adds next.
    return label or None


def _link(url: str, label: str) -> str | None:
    match = _SCHEME.fullmatch(url)
    if not match:
        return None
    address = match["rest"] if match["scheme"].lower() in _PLAIN_SCHEMES else url
    if not label or label in {address, url, match["rest"], match["rest"].rstrip("/")}:
        return address
    return f"{label} ({address})"


def _unescape(text: str) -> str:
    return _ESCAPE.sub(lambda match: _UNESCAPED[match[1]], text)
