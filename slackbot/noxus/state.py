"""What Noxus says about a conversation besides its messages."""

from __future__ import annotations

import asyncio
import logging
from typing import Final
from urllib.parse import quote

from slackbot.domain import ConversationState
from slackbot.errors import AgentError
from slackbot.noxus.caller import Caller
from slackbot.noxus.events import clean
from slackbot.noxus.wire import Call

log = logging.getLogger(__name__)

STATE_PATIENCE: Final = 5.0
"""Seconds for all tries together: a turn's end waits for this."""
_LONGEST_STATUS: Final = 60


async def conversation_state(
    caller: Caller, conversation_id: str, *, patience: float = STATE_PATIENCE
) -> ConversationState:
    """Read it; an empty state, and a line in the log, when that fails. Raises no ``AgentError``."""
    call = Call("GET", f"/v1/conversations/{quote(conversation_id, safe='')}")
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
