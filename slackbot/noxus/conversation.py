"""Looks at a conversation from outside: what Noxus says of it, and whether it has come to rest."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final
from urllib.parse import quote

from slackbot.domain import ConversationState
from slackbot.errors import AgentError, ConversationGone
from slackbot.noxus.caller import Caller
from slackbot.noxus.events import clean
from slackbot.noxus.wire import Call

log = logging.getLogger(__name__)

STATE_PATIENCE: Final = 5.0
"""Seconds for all tries together: a turn's end waits for this."""
LOOKS: Final = 60
QUIET_LOOKS: Final = 5
UNREADABLE_LOOKS: Final = 3
LOOK_PATIENCE: Final = 10.0
"""Seconds for one look."""
_LONGEST_STATUS: Final = 60


def path(conversation_id: str) -> str:
    """Where a conversation is, below Noxus's address."""
    return f"/v1/conversations/{quote(conversation_id, safe='')}"


async def conversation_state(
    caller: Caller, conversation_id: str, *, patience: float = STATE_PATIENCE
) -> ConversationState:
    """Read it; an empty state, and a line in the log, when that fails. Raises no ``AgentError``."""
    call = Call("GET", path(conversation_id))
    try:
        async with asyncio.timeout(patience):
            found = await caller.json(call)
    except (AgentError, TimeoutError) as error:
        reason = str(error) or f"no answer in {patience:.0f} seconds"
        log.warning("noxus.state_unread", extra={"conversation": conversation_id, "reason": reason})
        return ConversationState()
    if not isinstance(found, dict):
        return ConversationState()
    status = found.get("status")
    status = clean(status)[:_LONGEST_STATUS] if isinstance(status, str) else ""
    return ConversationState(found.get("manual") is True, status)


async def settle(
    caller: Caller, conversation_id: str, *, sleep: Callable[[float], Awaitable[None]], every: float = 1.0
) -> None:
    """Return once the conversation is gone, or has been the same for 5 looks ``every`` seconds apart.

    Gives up with a line in the log after 60 looks, or after 3 in a row that showed nothing. Raises no ``AgentError``.
    """
    call = Call("GET", path(conversation_id))
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
