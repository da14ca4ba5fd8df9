"""Waits for a conversation to come to rest: a run cannot be cancelled, so its end can only be looked for."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final
from urllib.parse import quote

from slackbot.errors import AgentError, ConversationGone
from slackbot.noxus.caller import Caller
from slackbot.noxus.wire import Call

log = logging.getLogger(__name__)

LOOKS: Final = 60
QUIET_LOOKS: Final = 5
UNREADABLE_LOOKS: Final = 3
LOOK_PATIENCE: Final = 10.0
"""Seconds for one look."""


async def settle(
    caller: Caller, conversation_id: str, *, sleep: Callable[[float], Awaitable[None]], every: float = 1.0
) -> None:
    """Return once the conversation is gone, or has been the same for 5 looks ``every`` seconds apart.

    Gives up with a line in the log after 60 looks, or after 3 in a row that showed nothing. Raises no ``AgentError``.
    """
    call = Call("GET", f"/v1/conversations/{quote(conversation_id, safe='')}")
    seen: object = None
    quiet = unreadable = 0
    why = "it still changes"
    try:
        async with asyncio.timeout(LOOKS * every):
            for _ in range(LOOKS):
                try:
                    state = snapshot(await caller.json(call, LOOK_PATIENCE))
                except ConversationGone:
                    return
                except AgentError as error:
                    unreadable += 1
                    if unreadable == UNREADABLE_LOOKS:
                        why = str(error)
                        break
                else:
                    quiet = quiet + 1 if state == seen else 0
                    seen, unreadable = state, 0
                    if quiet == QUIET_LOOKS:
                        return
                await sleep(every)
    except TimeoutError:
        pass
    log.warning("noxus.unsettled", extra={"conversation": conversation_id, "reason": why})


def snapshot(conversation: object) -> tuple[object, ...]:
    """What may change while a run goes on; with some servers its messages show only at its end."""
    if not isinstance(conversation, dict):
        return (conversation,)
    messages = conversation.get("messages")
    count = len(messages) if isinstance(messages, list) else 0
    return conversation.get("etag"), conversation.get("last_updated_at"), conversation.get("status"), count
