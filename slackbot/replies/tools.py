"""What every reply of a process shares."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from slackbot.budget import Budget
from slackbot.domain import Body, ThreadKey
from slackbot.errors import ChatRateLimited, MessageGone
from slackbot.ports import Chat
from slackbot.replies.pace import OpenReplies
from slackbot.replies.tidying import Tidying


@dataclass(frozen=True, slots=True)
class ReplyTools:
    """Slack, the calls it gives us, the time, and how replies behave."""

    chat: Chat
    budget: Budget
    open_replies: OpenReplies
    now: Callable[[], float]
    tidying: Tidying
    user_mentions: bool = False
    """Whether the agent may mention people."""
    private_files: str = ""
    """Below this address are files that only we can fetch: links to them mean uploads."""
    repost_deleted: bool = True
    """Whether an answer that somebody deletes while it grows goes on in a new message, or ends there."""

    async def edited(self, thread: ThreadKey, ts: str, body: Body, *, patience: float = 0.0) -> bool:
        """Write over one of our messages; False when it is gone. Raises ``ChatRateLimited`` when there is no slot for
        that within ``patience`` seconds."""
        while wait := self.budget.take(thread.team_id, "chat.update", self.now()):
            if wait > patience:
                # Many of them come after a restart: better late than refused.
                raise ChatRateLimited("chat.update: no slot", retry_after=wait)
            await asyncio.sleep(wait)
        try:
            await self.chat.edit(thread, ts, body)
        except MessageGone:
            return False
        return True
