"""What our messages look like in Slack's Block Kit: pure."""

from __future__ import annotations

from typing import Any, Final

from slackbot.domain import Body, Button
from slackbot.errors import BodyRefused
from slackbot.slack.events import ACTIONS, button_value
from slackbot.text.outbound import plain
from slackbot.text.parts import MAX_BYTES, MAX_CHARS

SECTION_CHARS: Final = 3_000
"""https://docs.slack.dev/reference/block-kit/blocks/section-block"""
TEXT_CHARS: Final = 4_000
"""Longest ``text`` that ``chat.update`` takes. https://docs.slack.dev/reference/methods/chat.update"""

STEP_CHARS: Final = 300
"""A step is a line; its words may come from the agent's settings, which know no limit."""

Block = dict[str, Any]

# What a button says, and what a screen reader says of it.
_LABELS: Final = {
    Button.RETRY: ("Retry", "Retry this question"),
    Button.STOP: ("Stop", "Stop this answer"),
    Button.GOOD: ("Good answer", "Good answer"),
    Button.BAD: ("Bad answer", "Bad answer"),
}


def build(body: Body) -> tuple[str, list[Block]]:
    """``text`` for notifications and ``blocks`` for the eye.

    Raises ``BodyRefused`` for what Slack would refuse: nothing to show, or more than one message holds.
    """
    blocks: list[Block] = []
    answered = bool(body.markdown.strip())
    if answered:
        _check("markdown", body.markdown, MAX_CHARS)
        if len(body.markdown.encode("utf-8", "surrogatepass")) > MAX_BYTES:
            raise BodyRefused(f"markdown of more than {MAX_BYTES} bytes")
        blocks.append({"type": "markdown", "text": body.markdown})
    step = _line(body.step)
    if step:
        blocks.append(_sentence(step, small=answered or bool(body.notice)))
    if body.notice:
        blocks.append(_sentence(body.notice, small=answered))
    if not blocks:
        raise BodyRefused("a message without text")
    return plain(body.markdown) if answered else escape(body.notice or step), blocks + _buttons(body)


def plain_body(body: Body) -> str:
    """The whole body as ``text`` alone, for when Slack refuses its blocks. The buttons are lost, no word is.

    Raises ``BodyRefused`` when it does not fit.
    """
    text = escape("\n\n".join(filter(None, (body.markdown.strip(), _line(body.step), body.notice))))
    _check("plain text", text, TEXT_CHARS)
    return text


def escape(text: str) -> str:
    """Text that Slack shows as it is, and that can mention nobody.

    https://docs.slack.dev/messaging/formatting-message-text#escaping
    """
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _line(step: str) -> str:
    return step if len(step) <= STEP_CHARS else step[: STEP_CHARS - 1] + "…"


def _sentence(words: str, *, small: bool) -> Block:
    _check("a sentence", escape(words), SECTION_CHARS)
    text = {"type": "mrkdwn", "text": escape(words), "verbatim": True}
    return {"type": "context", "elements": [text]} if small else {"type": "section", "text": text}


def _buttons(body: Body) -> list[Block]:
    """https://docs.slack.dev/reference/block-kit/block-elements/feedback-buttons-element and its siblings."""
    if body.turn_id is None:
        return []
    parts = {button: _button(button, body.turn_id) for button in body.buttons}
    plain_ones = [
        {"type": "button", "action_id": ACTIONS[button], **parts[button]}
        for button in (Button.RETRY, Button.STOP)
        if button in parts
    ]
    blocks: list[Block] = [{"type": "actions", "elements": plain_ones}] if plain_ones else []
    if Button.GOOD in parts:
        thumbs = {"positive_button": parts[Button.GOOD], "negative_button": parts[Button.BAD]}
        rating = {"type": "feedback_buttons", "action_id": ACTIONS[Button.GOOD], **thumbs}
        blocks.append({"type": "context_actions", "elements": [rating]})
    return blocks


def _button(button: Button, turn_id: int) -> dict[str, Any]:
    label, spoken = _LABELS[button]
    return {
        "text": {"type": "plain_text", "text": label},
        "accessibility_label": spoken,
        "value": button_value(button, turn_id),
    }


def _check(what: str, text: str, limit: int) -> None:
    if len(text) > limit:
        raise BodyRefused(f"{what} of {len(text)} characters, more than {limit}")
