"""What our messages look like in Slack's Block Kit: pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from slackbot.domain import Body, Button, Card
from slackbot.errors import BodyRefused
from slackbot.slack.events import ACTIONS, ON_HANDOVERS, button_value, thread_value
from slackbot.text.inbound import readable
from slackbot.text.outbound import plain
from slackbot.text.parts import MAX_BYTES, MAX_CHARS
from slackbot.text.relayed import pieces

SECTION_CHARS: Final = 3_000
"""https://docs.slack.dev/reference/block-kit/blocks/section-block"""
TEXT_CHARS: Final = 4_000
"""Longest ``text`` that ``chat.update`` takes. https://docs.slack.dev/reference/methods/chat.update"""

STEP_CHARS: Final = 300
"""A step is a line; its words may come from the agent's settings, which know no limit."""

HEADING_CHARS: Final = 150
"""https://docs.slack.dev/reference/block-kit/blocks/header-block"""
NAME_CHARS: Final = 60
VALUE_CHARS: Final = 100
QUOTE_CHARS: Final = 300
FACTS: Final = 6
QUOTES: Final = 4
"""The newest are shown. With these bounds a card is smaller than what Slack takes, whatever stands in it."""

SPEAKER: Final = "speaker"
"""``block_id`` of the line that says whose words stand below."""
STEP: Final = "step"
"""``block_id`` of the line that says what the agent does."""

Block = dict[str, Any]

_ADDRESS: Final = re.compile(r"https?://[^\s<>|]{1,300}")

# What a button says, and what a screen reader says of it.
_LABELS: Final = {
    Button.RETRY: ("Retry", "Retry this question"),
    Button.STOP: ("Stop", "Stop this answer"),
    Button.GOOD: ("Good answer", "Good answer"),
    Button.BAD: ("Bad answer", "Bad answer"),
    Button.HUMAN: ("Ask a human", "Ask a human"),
    Button.CLAIM: ("Take over", "Take over this request"),
    Button.HAND_BACK: ("Hand back", "Hand this request back to the agent"),
    Button.RESOLVE: ("Resolve", "Resolve this request"),
    Button.CALL_OFF: ("No human needed", "No human needed"),
    Button.TAKE_OVER: ("Take over", "Take over this thread"),
    Button.JUST_SAY: ("Just say it", "Just say it, without taking over"),
}
_ON_TURNS: Final = (Button.RETRY, Button.STOP, Button.HUMAN)


def build(body: Body) -> tuple[str, list[Block]]:
    """``text`` for notifications and ``blocks`` for the eye; a speaker's name stands above the words.

    Raises ``BodyRefused`` for what Slack would refuse: nothing to show, or more than one message holds.
    """
    blocks: list[Block] = _card(body.card) if body.card else []
    answered = bool(body.markdown.strip())
    if answered:
        _check("markdown", body.markdown, MAX_CHARS)
        if len(body.markdown.encode("utf-8", "surrogatepass")) > MAX_BYTES:
            raise BodyRefused(f"markdown of more than {MAX_BYTES} bytes")
        blocks.append({"type": "markdown", "text": body.markdown})
    if quoted := body.quoted.strip():
        _check("quoted words", quoted, MAX_CHARS)
        answered = True
        # Else Slack hides the end of long words behind "See more".
        said = (_mrkdwn(piece) for piece in pieces(quoted, SECTION_CHARS))
        blocks += [{"type": "section", "text": words, "expand": True} for words in said]
    step = _line(body.step)
    if step:
        blocks.append({**_sentence(step, small=answered or bool(body.notice)), "block_id": STEP})
    if body.notice:
        blocks.append(_sentence(body.notice, small=answered))
    if not blocks:
        raise BodyRefused("a message without text")
    if body.card:
        gist = escape(_clip(body.card.heading, HEADING_CHARS))
    else:
        meant = readable(quoted, people={}, channels={}) if quoted else body.markdown
        gist = plain(meant) if answered else escape(body.notice or step)
    if body.speaker:
        blocks.insert(0, {**_context(_mrkdwn(f"*{_name(body.speaker.name)}*")), "block_id": SPEAKER})
        gist = f"{_name(body.speaker.name)}: {gist}"
    return gist, blocks + _buttons(body)


def build_question(text: str, buttons: Sequence[Button], root_ts: str, about_ts: str) -> tuple[str, list[Block]]:
    """``text`` and ``blocks`` of a question about the thread, and about one message in it, to one person."""
    asked = [_button(button, thread_value(root_ts, about_ts)) for button in buttons]
    return escape(text), [_sentence(text, small=False), {"type": "actions", "elements": asked}]


def plain_body(body: Body) -> str:
    """The whole body as ``text`` alone, for when Slack refuses its blocks. The buttons are lost, no word is.

    Raises ``BodyRefused`` when it does not fit.
    """
    card = _lines(body.card) if body.card else ""
    ours = (escape(words) for words in (card, body.markdown.strip(), _line(body.step), body.notice))
    text = "\n\n".join(filter(None, (body.quoted.strip(), *ours)))
    text = f"*{_name(body.speaker.name)}:* {text}" if body.speaker else text
    _check("plain text", text, TEXT_CHARS)
    return text


def escape(text: str) -> str:
    """Text that Slack shows as it is, and that can mention nobody.

    https://docs.slack.dev/messaging/formatting-message-text#escaping
    """
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _line(step: str) -> str:
    return _clip(step, STEP_CHARS)


def _clip(text: str, chars: int) -> str:
    return text if len(text) <= chars else text[: chars - 1] + "…"


def _name(name: str) -> str:
    """A name on one line, and without the marks that would end it being bold."""
    return escape(_clip(" ".join(name.replace("*", " ").split()) or "?", NAME_CHARS))


def _mrkdwn(text: str) -> Block:
    return {"type": "mrkdwn", "text": text, "verbatim": True}


def _plain(text: str) -> Block:
    """Words that mean nothing to Slack: neither marks nor mentions nor links."""
    return {"type": "plain_text", "text": text, "emoji": False}


def _context(*elements: Block) -> Block:
    return {"type": "context", "elements": list(elements)}


def _sentence(words: str, *, small: bool) -> Block:
    _check("a sentence", escape(words), SECTION_CHARS)
    text = _mrkdwn(escape(words))
    return _context(text) if small else {"type": "section", "text": text}


def _card(card: Card) -> list[Block]:
    blocks: list[Block] = [{"type": "header", "text": _plain(_clip(card.heading.strip() or "?", HEADING_CHARS))}]
    facts = [_mrkdwn(f"*{_name(label)}*\n{_fact(value)}") for label, value in card.facts[:FACTS]]
    blocks += [{"type": "section", "fields": facts}] if facts else []
    for who, words in _quotes(card):
        blocks += [_context(_plain(who)), {"type": "section", "text": _plain(words)}]
    below = [_mrkdwn(_waiting(card.waiting_since))] if card.waiting_since is not None else []
    if _ADDRESS.fullmatch(card.link):
        below.append(_mrkdwn(f"<{escape(card.link)}|Open the thread>"))
    return blocks + ([_context(*below)] if below else [])


def _waiting(since: float) -> str:
    """Since when, as each reader's own clock and calendar tell it, and how long that is at this moment.

    https://docs.slack.dev/messaging/formatting-message-text#date-formatting
    """
    words = "Waiting since {date_short_pretty} at {time}, {ago}"
    return f"<!date^{int(since)}^{words}|Waiting since {_utc(since)}>"


def _utc(since: float) -> str:
    return f"{datetime.fromtimestamp(since, UTC):%Y-%m-%d %H:%M} UTC"


def _fact(value: str) -> str:
    return escape(_clip(value.strip() or "–", VALUE_CHARS))  # noqa: RUF001  a dash for nothing


def _quotes(card: Card) -> list[tuple[str, str]]:
    """The newest quotes that say anything."""
    said = [(_clip(who.strip() or "?", NAME_CHARS), words.strip()) for who, words in card.quotes if words.strip()]
    return [(who, _clip(words, QUOTE_CHARS)) for who, words in said[-QUOTES:]]


def _lines(card: Card) -> str:
    """The card as text alone. Its link is left to Slack to find."""
    facts = [f"{_clip(label, NAME_CHARS)}: {_clip(value, VALUE_CHARS)}" for label, value in card.facts[:FACTS]]
    quotes = [f"{who}: {words}" for who, words in _quotes(card)]
    since = [] if card.waiting_since is None else [f"Waiting since {_utc(card.waiting_since)}"]
    link = [card.link] if _ADDRESS.fullmatch(card.link) else []
    return "\n".join([_clip(card.heading, HEADING_CHARS), *facts, *quotes, *since, *link])


def _buttons(body: Body) -> list[Block]:
    """https://docs.slack.dev/reference/block-kit/block-elements/feedback-buttons-element and its siblings."""
    on: Mapping[Button, int | None] = dict.fromkeys(ON_HANDOVERS, body.handover_id)
    parts = {
        button: _button(button, button_value(button, number))
        for button in body.buttons
        if (number := on.get(button, body.turn_id)) is not None
    }
    row = [parts[button] for button in (*_ON_TURNS, *ON_HANDOVERS) if button in parts]
    blocks: list[Block] = [{"type": "actions", "elements": row}] if row else []
    if Button.GOOD in parts:
        thumbs = {"positive_button": _half(parts[Button.GOOD]), "negative_button": _half(parts[Button.BAD])}
        rating = {"type": "feedback_buttons", "action_id": ACTIONS[Button.GOOD], **thumbs}
        blocks.append({"type": "context_actions", "elements": [rating]})
    return blocks


def _button(button: Button, value: str) -> Block:
    label, spoken = _LABELS[button]
    return {
        "type": "button",
        "action_id": ACTIONS[button],
        "text": {"type": "plain_text", "text": label},
        "accessibility_label": spoken,
        "value": value,
    }


def _half(button: Block) -> Block:
    return {name: button[name] for name in ("text", "accessibility_label", "value")}


def _check(what: str, text: str, limit: int) -> None:
    if len(text) > limit:
        raise BodyRefused(f"{what} of {len(text)} characters, more than {limit}")
