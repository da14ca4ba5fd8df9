"""Messages as Slack's history returns them, read back as our values: pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from slackbot.domain import BotIdentity, Button, ContextMessage, PartRecord, PartRef
from slackbot.slack.blocks import STEP
from slackbot.slack.events import ACTIONS, attachments, clean, is_speech

PART_EVENT: Final = "slackbot_part"
"""``event_type`` of the metadata that names a part of a reply."""

Message = Mapping[str, Any]

_TRIMMINGS: Final = frozenset({"actions", "context"})


def part_metadata(part: PartRef) -> dict[str, Any]:
    """Metadata that lets us find the message again. Anybody in the workspace can read it: ids only.

    https://docs.slack.dev/messaging/message-metadata
    """
    return {"event_type": PART_EVENT, "event_payload": {"turn_id": part.turn_id, "index": part.index}}


def part_of(message: Message, turn_id: int, me: BotIdentity) -> PartRecord | None:
    """The part of this turn's reply that the message carries, if it is ours and does."""
    match message:
        case {
            "ts": str(ts),
            "metadata": {"event_type": str(kind), "event_payload": {"turn_id": int(turn), "index": int(index)}},
        } if kind == PART_EVENT and turn == turn_id and _is_ours(message, me):
            chars = len(agent_text(message))
            return PartRecord(index, ts, placeholder=not chars, chars=chars, at_work=_is_at_work(message))
    return None


def said(message: Message, me: BotIdentity) -> ContextMessage | None:
    """What somebody, or the agent, said with this message; None for notices of Slack's and of ours."""
    ours = _is_ours(message, me)
    speaker = _speaker(message) if ours else ""
    text = _quoted(message) if speaker else agent_text(message) if ours else message.get("text")
    ts, author = message.get("ts"), "" if speaker else message.get("user") or message.get("bot_id")
    if not (is_speech(message) and isinstance(ts, str) and isinstance(author, str) and isinstance(text, str)):
        return None
    files = attachments(message)
    if not (text or files):
        return None
    of = {"from_operator": True, "name": speaker} if speaker else {"from_agent": ours}
    return ContextMessage(ts, author, clean(text), files, **of)


def agent_text(message: Message) -> str:
    """What the agent said in a message of ours; empty for one with nothing but a sentence of ours.

    Slack may return a markdown block translated into rich text. A message without blocks was sent as plain text.
    """
    blocks = message.get("blocks")
    if not isinstance(blocks, list) or not blocks:
        text = message.get("text")
        return text if isinstance(text, str) else ""
    pieces = (_readable(block) for block in blocks)
    return "\n\n".join(piece for piece in pieces if piece).strip()


def only_words(message: Message) -> dict[str, Any]:
    """What makes a message of ours show no more than its words; empty when it does, or has none. One that asks for a
    thumb shows what it is to show."""
    blocks = [block for block in message.get("blocks") or [] if isinstance(block, Mapping)]
    if any(block.get("type") == "context_actions" for block in blocks):
        return {}
    words = [block for block in blocks if block.get("type") not in _TRIMMINGS]
    return {"text": message.get("text") or "", "blocks": words} if words and words != blocks else {}


def _speaker(message: Message) -> str:
    """Whose words we passed on with a message of ours: they stand under that name, or below it."""
    match message:
        case {"subtype": "bot_message", "username": str(name)}:
            return name
        case {"blocks": [{"block_id": "speaker", "elements": [{"text": str(name)}]}, *_]}:
            return name.strip("*")
    return ""


def _quoted(message: Message) -> str:
    """Somebody's words that we passed on, in Slack's own spelling."""
    blocks = [block for block in message.get("blocks") or [] if isinstance(block, Mapping)]
    sections = [block.get("text") for block in blocks if block.get("type") == "section"]
    words = [str(text.get("text") or "") for text in sections if isinstance(text, Mapping)]
    return "\n".join(words) if blocks else str(message.get("text") or "")


def _is_at_work(message: Message) -> bool:
    blocks = [block for block in message.get("blocks") or [] if isinstance(block, Mapping)]
    if any(block.get("block_id") == STEP for block in blocks):
        return True
    buttons = [button for block in blocks if block.get("type") == "actions" for button in block.get("elements") or []]
    return any(isinstance(button, Mapping) and button.get("action_id") == ACTIONS[Button.STOP] for button in buttons)


def _is_ours(message: Message, me: BotIdentity) -> bool:
    return message.get("user") == me.user_id or (bool(me.bot_id) and message.get("bot_id") == me.bot_id)


def _readable(block: object) -> str:
    match block:
        case {"type": "markdown", "text": str(text)}:
            return text
        case {"type": "rich_text", "elements": list(elements)}:
            return "\n".join("".join(_words(element)) for element in elements)
    return ""


def _words(element: object) -> Iterator[str]:
    match element:
        case {"type": "rich_text_list", "elements": list(items)}:
            for item in items:
                yield from ("- ", *_words(item), "\n")
        case {"elements": list(parts)}:
            for part in parts:
                yield from _words(part)
        case {"text": str(text)} | {"url": str(text)}:
            yield text
