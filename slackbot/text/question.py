"""What the agent is told: the message in readable words, with names and with what it has not seen yet. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

from slackbot.domain import Attachment, ContextMessage, Turn
from slackbot.text.file_names import file_name
from slackbot.text.inbound import Entities, entities, readable, without_mention

CONTEXT_MESSAGES = 50
CONTEXT_CHARS = 20_000
CONTEXT_HEADING = "Said before in this thread, for you to know:"
AGENT_NAME = "You"


def digest(words: str) -> str:
    """By what a message can be known again that is not kept: of its words alone, whatever becomes of white space and
    of characters that cannot be sent."""
    plain = " ".join(words.replace("\ufffd", "").split())
    return hashlib.sha256(plain.encode(errors="ignore")).hexdigest()


def who_and_where(turn: Turn, context: Iterable[ContextMessage], *, bot_user_id: str, name_author: bool) -> Entities:
    """The ids of people and channels whose names ``content`` needs."""
    texts = [without_mention(turn.text, bot_user_id)]
    people = {turn.user_id} if name_author else set()
    for message in context:
        texts.append(message.text)
        if not (message.from_agent or message.name):
            people.add(message.user_id)
    found = [entities(text) for text in texts]
    return Entities(
        users=frozenset(people.union(*(each.users for each in found))) - {""},
        channels=frozenset[str]().union(*(each.channels for each in found)),
    )


def content(
    turn: Turn,
    context: Sequence[ContextMessage],
    *,
    people: Mapping[str, str],
    channels: Mapping[str, str],
    bot_user_id: str,
    name_author: bool,
    about_files: Mapping[str, str] = MappingProxyType({}),
) -> str:
    """The user message for Noxus.

    ``context`` goes first, bounded to ``CONTEXT_MESSAGES`` and ``CONTEXT_CHARS`` characters, newest kept.
    ``name_author`` puts the author's display name before the message: in a thread of several people the agent must
    know who speaks, and Noxus has no field for it. ``about_files`` has words about attachments, by id.
    """

    def words(text: str) -> str:
        return readable(text, people=people, channels=channels)

    asked = _with_attachments(words(without_mention(turn.text, bot_user_id)).strip(), turn.attachments, about_files)
    if name_author:
        asked = f"{people.get(turn.user_id, turn.user_id)}: {asked}"
    lines = [
        f"{_author(said, people)}: {_with_attachments(words(said.text).strip(), said.attachments, about_files)}"
        for said in context
    ]
    kept = _newest(lines)
    if not kept:
        return asked
    return "\n".join([CONTEXT_HEADING, *kept, "", asked])


def _author(said: ContextMessage, people: Mapping[str, str]) -> str:
    if said.from_agent:
        return AGENT_NAME
    name = said.name or people.get(said.user_id, said.user_id)
    return f"{name} (human colleague)" if said.from_operator else name


def _newest(lines: Sequence[str]) -> list[str]:
    kept: list[str] = []
    room = CONTEXT_CHARS
    for line in reversed(lines[-CONTEXT_MESSAGES:]):
        if len(line) > room:
            if room > 0:
                kept.append(line[: room - 1] + "…")
            break
        kept.append(line)
        room -= len(line) + 1
    if left_out := len(lines) - len(kept):
        kept.append(f"({left_out} earlier {'message' if left_out == 1 else 'messages'} left out)")
    return kept[::-1]


def _with_attachments(text: str, attachments: Sequence[Attachment], about: Mapping[str, str]) -> str:
    if not attachments:
        return text
    told = (f" ({about[file.id]})" if file.id in about else "" for file in attachments)
    named = (file_name(file.name, "", "") + words for file, words in zip(attachments, told, strict=True))
    return f"{text}\n[Attached: {', '.join(named)}]".strip()
