"""What our messages look like in Slack's Block Kit: pure."""

from __future__ import annotations

from typing import Any, Final

from slackbot.domain import Body
from slackbot.errors import BodyRefused
from slackbot.slack.events import RETRY_ACTION
from slackbot.text.outbound import plain
from slackbot.text.parts import MAX_BYTES, MAX_CHARS

SECTION_CHARS: Final = 3_000
"""https://docs.slack.dev/reference/block-kit/blocks/section-block"""
TEXT_CHARS: Final = 4_000
"""Longest ``text`` that ``chat.update`` takes. https://docs.slack.dev/reference/methods/chat.update"""

Block = dict[str, Any]


def build(body: Body) -> tuple[str, list[Block]]:
    """``text`` for notifications and ``blocks`` for the eye.

    Raises ``BodyRefused`` for what Slack would refuse: nothing to show, or more than one message holds.
    """
    blocks: list[Block] = []
    if body.markdown.strip():
        _check("markdown", body.markdown, MAX_CHARS)
        if len(body.markdown.encode("utf-8", "surrogatepass")) > MAX_BYTES:
            raise BodyRefused(f"markdown of more than {MAX_BYTES} bytes")
        blocks.append({"type": "markdown", "text": body.markdown})
    if body.notice:
        blocks.append(_notice(body.notice, small=bool(blocks)))
    if not blocks:
        raise BodyRefused("a message without text")
    if body.retry_turn is not None:
        blocks.append({"type": "actions", "elements": [_button("Retry", RETRY_ACTION, str(body.retry_turn))]})
    return plain(body.markdown) if body.markdown.strip() else escape(body.notice), blocks


def plain_body(body: Body) -> str:
    """The whole body as ``text`` alone, for when Slack refuses its blocks. The button is lost, no word is.

    Raises ``BodyRefused`` when it does not fit.
    """
    text = escape("\n\n".join(piece for piece in (body.markdown.strip(), body.notice) if piece))
    _check("plain text", text, TEXT_CHARS)
    return text


def escape(text: str) -> str:
    """Text that Slack shows as it is, and that can mention nobody.

    https://docs.slack.dev/messaging/formatting-message-text#escaping
    """
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _notice(words: str, *, small: bool) -> Block:
    _check("notice", escape(words), SECTION_CHARS)
    text = {"type": "mrkdwn", "text": escape(words), "verbatim": True}
    return {"type": "context", "elements": [text]} if small else {"type": "section", "text": text}


def _button(label: str, action_id: str, value: str) -> Block:
    return {
        "type": "button",
        "action_id": action_id,
        "value": value,
        "text": {"type": "plain_text", "text": label},
    }


def _check(what: str, text: str, limit: int) -> None:
    if len(text) > limit:
        raise BodyRefused(f"{what} of {len(text)} characters, more than {limit}")
