"""What the Bolt app listens to. A listener hands over what was parsed, and returns once that is stored."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

from slack_bolt.async_app import AsyncAck, AsyncApp, AsyncBoltContext

from slackbot.domain import Arrived
from slackbot.slack.events import ACTIONS, SHORTCUTS

EVENTS: Final = ("app_mention", "message")
"""Events the app's manifest subscribes to (``message`` as ``message.channels`` and its siblings)."""
AGENT_EVENTS: Final = ("agent_session_stopped",)
"""Events of apps that have Slack's agent feature, which the manifest does not ask for."""

PARSED: Final = "parsed"
"""Where a request's context holds the parsed payload."""

Handle: TypeAlias = Callable[[Arrived], Awaitable[None]]


def register(app: AsyncApp, handle: Handle) -> None:
    """Listen to everything that ``events.parse`` understands."""

    async def take(ack: AsyncAck, context: AsyncBoltContext) -> None:
        await handle(context[PARSED])
        await ack()

    for event in (*EVENTS, *AGENT_EVENTS):
        app.event(event)(take)
    for action_id in set(ACTIONS.values()):
        app.action(action_id)(take)
    for callback_id in SHORTCUTS:
        app.message_shortcut(callback_id)(take)
