"""Calls of Slack's Web API within a team's rate budget."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, Protocol
from weakref import WeakValueDictionary

from slackbot.budget import Budget
from slackbot.domain import ThreadKey
from slackbot.errors import ChatRateLimited
from slackbot.leases import may_write
from slackbot.sharing import Sharing
from slackbot.slack.installations import Installations
from slackbot.slack.reading import Message
from slackbot.slack.web import READS, WebApi

log = logging.getLogger(__name__)

POST_PATIENCE: Final = 120.0
READ_PATIENCE: Final = 20.0
"""Longest wait for a free slot, 429s included, in seconds."""
PAGE: Final = 999
"""Most messages Slack returns at once. https://docs.slack.dev/reference/methods/conversations.replies"""
PAGES: Final = 5


class Call(Protocol):
    """One Web API call within the team's rate budget."""

    def __call__(
        self, team_id: str, method: str, arguments: Mapping[str, Any], *, patience: float
    ) -> Awaitable[Mapping[str, Any]]:
        """Call ``method``, waiting at most ``patience`` seconds for a slot. Raises ``ChatError`` kinds."""


class Calls:
    """Calls Slack with each team's token, as often as the team's limits allow."""

    def __init__(
        self,
        web: WebApi,
        installations: Installations,
        budget: Budget,
        sharing: Sharing | None,
        *,
        now: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self._web = web
        self._installations = installations
        self._budget = budget
        self._sharing = sharing
        self._now = now
        self._sleep = sleep
        self._queues: WeakValueDictionary[tuple[str, str, str], asyncio.Lock] = WeakValueDictionary()

    async def call(
        self,
        team_id: str,
        method: str,
        arguments: Mapping[str, Any],
        *,
        patience: float,
        content: Callable[[], Mapping[str, Any]] = dict,
    ) -> Mapping[str, Any]:
        """Call when there is a slot; a 429 closes the slots for a while and the call waits again. ``content`` gives
        further arguments each time the call goes out.

        Raises ``ChatRateLimited`` when that takes longer than ``patience``.
        """
        token = self._installations.find(team_id).token
        deadline = self._now() + patience
        channel = str(arguments.get("channel", "")) if method == "chat.postMessage" else ""
        while True:
            await self._slot(team_id, method, channel, deadline)
            try:
                return await self._web.call(method, token, {**arguments, **content()})
            except ChatRateLimited as error:
                await self._cool_off(team_id, method, error.retry_after)
                log.warning("slack.rate_limited", extra={"team": team_id, "method": method, "after": error.retry_after})
                if self._now() + error.retry_after > deadline:
                    raise

    async def call_now(self, team_id: str, method: str, arguments: Mapping[str, Any]) -> None:
        """Call once for somebody who has a slot already. Raises ``ChatRateLimited`` when other processes left none."""
        token = self._installations.find(team_id).token
        if wait := await self._elsewhere(team_id, method):
            raise ChatRateLimited(_no_slot(method, wait), retry_after=wait)
        try:
            await self._web.call(method, token, arguments)
        except ChatRateLimited as error:
            await self._cool_off(team_id, method, error.retry_after)
            raise

    async def post_slot(self, thread: ThreadKey) -> None:
        """Wait until a message may be posted in the thread. Raises ``ChatRateLimited`` after ``POST_PATIENCE``."""
        await self._slot(thread.team_id, "chat.postMessage", thread.channel_id, self._now() + POST_PATIENCE)

    async def edit_slot(self, team_id: str) -> None:
        """Wait until a message may be edited. Raises ``ChatRateLimited`` after ``POST_PATIENCE``."""
        await self._slot(team_id, "chat.update", "", self._now() + POST_PATIENCE)

    async def messages(self, thread: ThreadKey, arguments: Mapping[str, Any]) -> list[Message]:
        """Messages of the thread, oldest first; of a flat DM the newest page.

        Replies come oldest first, so the newest are reached by paging; a thread longer than ``PAGES`` is cut there.
        """
        flat = not thread.root_ts
        method = "conversations.history" if flat else "conversations.replies"
        query = {"channel": thread.channel_id, "limit": PAGE, **arguments} | ({} if flat else {"ts": thread.root_ts})
        messages: dict[str, Message] = {}
        for _ in range(1 if flat else PAGES):
            answer = await self.call(thread.team_id, method, query, patience=READ_PATIENCE)
            # The root comes again on each page.
            messages |= {str(message.get("ts")): message for message in answer.get("messages") or []}
            query["cursor"] = (answer.get("response_metadata") or {}).get("next_cursor")
            if not query["cursor"]:
                break
        return [messages[ts] for ts in sorted(messages)]

    async def _slot(self, team_id: str, method: str, channel: str, deadline: float) -> None:
        """Wait for a slot, first come first served. Raises ``ChatRateLimited`` when none comes before ``deadline``."""
        async with self._queues.setdefault((team_id, method, channel), asyncio.Lock()):
            while True:
                wait = self._budget.take(team_id, method, self._now(), channel=channel)
                if not (wait := wait or await self._elsewhere(team_id, method, channel)):
                    return
                if self._now() + wait > deadline:
                    raise ChatRateLimited(_no_slot(method, wait), retry_after=wait)
                await self._sleep(wait)

    async def _elsewhere(self, team_id: str, method: str, channel: str = "") -> float:
        """Seconds to wait because of other processes; 0.0 when the call may leave now."""
        if self._sharing is None:
            return 0.0
        if not method.startswith(READS):
            # It may take long, and a slot counts from when it is taken.
            await may_write()
        return await self._sharing.take(team_id, method, channel)

    async def _cool_off(self, team_id: str, method: str, seconds: float) -> None:
        self._budget.cool_off(team_id, method, self._now(), seconds)
        if self._sharing:
            await self._sharing.pause(team_id, method, seconds)


def _no_slot(method: str, wait: float) -> str:
    return f"{method}: no slot for another {wait:.1f} seconds"
