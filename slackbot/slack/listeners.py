"""What the Bolt app listens to. A listener hands over what was parsed, and returns once that is stored."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

from slack_bolt.async_app import AsyncAck, AsyncApp, AsyncBoltContext

from slackbot.domain import InboundMessage, RetryPressed
from slackbot.slack.events import RETRY_ACTION

EVENTS: Final = ("app_mention", "message")
"""Events the app's manifest subscribes to (``message`` as ``message.channels`` and its siblings)."""

PARSED: Final = "parsed"
"""Where a request's context holds the parsed payload."""

HandleMessage: TypeAlias = Callable[[InboundMessage], Awaitable[None]]
HandleRetry: TypeAlias = Callable[[RetryPressed], Awaitable[None]]


def register(app: AsyncApp, handle_message: HandleMessage, handle_retry: HandleRetry) -> None:
    """Listen to everything that ``events.parse`` understands."""

    async def message(context: AsyncBoltContext) -> None:
        await handle_message(context[PARSED])

    async def retry(ack: AsyncAck, context: AsyncBoltContext) -> None:
        await handle_retry(context[PARSED])
        await ack()

    for event in EVENTS:
        app.event(event)(message)
    app.action(RETRY_ACTION)(retry)
