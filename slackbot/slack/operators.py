"""Who may take a thread over: what the settings say, asked from Slack and remembered for a minute."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from slackbot.errors import ChatError
from slackbot.slack.calls import Call
from slackbot.slack.names import Names, Recent

log = logging.getLogger(__name__)

KNOWN_SECONDS: Final = 60.0
UNKNOWN_SECONDS: Final = 5.0
"""After a failure Slack is asked again this soon."""
ASK_SECONDS: Final = 2.0
"""Longest that anybody waits: somebody has pressed a button, and Slack gives that three seconds."""
PAGE: Final = 1_000
PAGES: Final = 10


class Operators:
    """People named in ``listed`` or in the user group ``group``; where neither is set, the members of ``channel``.

    Never bots, and never guests: who is not known to be of this workspace counts only when listed by name.
    """

    def __init__(
        self,
        call: Call,
        names: Names,
        now: Callable[[], float],
        *,
        listed: frozenset[str] = frozenset(),
        group: str = "",
        channel: str = "",
    ) -> None:
        self._call = call
        self._names = names
        self._listed = listed
        self._group = group
        self._channel = "" if listed or group else channel
        self._recent: Recent[tuple[frozenset[str] | None]] = Recent(now)
        self._last: dict[str, frozenset[str]] = {}
        self._asking: dict[str, asyncio.Lock] = {}

    async def of(self, team_id: str) -> frozenset[str] | None:
        """The team's operators; when Slack does not tell, those it told of last, or who is listed, else None. Never
        raises."""
        async with self._asking.setdefault(team_id, asyncio.Lock()):
            if known := self._recent.get(team_id):
                return known[0]
            seconds = KNOWN_SECONDS
            try:
                async with asyncio.timeout(ASK_SECONDS):
                    self._last[team_id] = await self._ask(team_id)
            except (ChatError, TimeoutError) as error:
                seconds = UNKNOWN_SECONDS
                reason = str(error) or f"no answer within {ASK_SECONDS:g} s"
                log.warning("operators.unknown", extra={"team": team_id, "error": reason})
            found = self._last.get(team_id, self._listed or None)
            self._recent.put(team_id, (found,), seconds)
            return found

    async def _ask(self, team_id: str) -> frozenset[str]:
        members = await self._members(team_id)
        people = await self._names.people(team_id, members | self._listed)
        insiders = await self._names.insiders(team_id, members)
        strangers = {person.user_id for person in people.values() if person.is_bot or person.is_guest}
        return frozenset(insiders | self._listed) - strangers

    async def _members(self, team_id: str) -> set[str]:
        """https://docs.slack.dev/reference/methods/conversations.members and usergroups.users.list."""
        if self._group:
            wanted = {"usergroup": self._group}
            answer = await self._call(team_id, "usergroups.users.list", wanted, patience=ASK_SECONDS)
            return set(map(str, answer.get("users") or ()))
        found: set[str] = set()
        cursor = ""
        for _ in range(PAGES if self._channel else 0):
            page = {"channel": self._channel, "limit": PAGE} | ({"cursor": cursor} if cursor else {})
            answer = await self._call(team_id, "conversations.members", page, patience=ASK_SECONDS)
            found.update(map(str, answer.get("members") or ()))
            cursor = str((answer.get("response_metadata") or {}).get("next_cursor") or "")
            if not cursor:
                break
        return found
