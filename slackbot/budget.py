"""How many calls each Slack method may get: sliding windows with reserved slots and pauses. Pure, time is a value."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Final


class Per(StrEnum):
    """What shares a limit."""

    TEAM = "team"
    CHANNEL = "channel"


@dataclass(frozen=True, slots=True)
class Limit:
    """At most ``calls`` in any ``seconds``.

    Slack counts when a call arrives, we when it leaves. A slow call followed by quick ones can arrive closer together
    than they left, so the window is ``margin`` seconds longer than Slack's. A smaller number of calls would not do:
    it costs more, and still fails for a late full burst.
    """

    calls: int
    seconds: float = 60.0
    per: Per = Per.TEAM
    margin: float = 1.0


TIER_2: Final = Limit(20)
TIER_3: Final = Limit(50)
TIER_4: Final = Limit(100)

SLACK_LIMITS: Final[Mapping[str, Limit]] = MappingProxyType(
    {
        "agents.sessions.setStatus": TIER_3,
        # "Special": no number is published. Wide enough for the statuses of 300 turns that start at once.
        # https://docs.slack.dev/reference/methods/assistant.threads.setStatus
        "assistant.threads.setStatus": Limit(600),
        "chat.delete": TIER_3,
        # "Hundreds of requests per minute".
        "chat.getPermalink": Limit(200),
        "chat.postEphemeral": TIER_4,
        # "One message per second per channel", short bursts allowed: three at once, then three in three seconds.
        # https://docs.slack.dev/apis/web-api/rate-limits
        "chat.postMessage": Limit(3, seconds=3.0, per=Per.CHANNEL, margin=0.25),
        "chat.update": TIER_3,
        "conversations.history": TIER_3,
        "conversations.info": TIER_3,
        "conversations.members": TIER_4,
        "conversations.replies": TIER_3,
        "files.completeUploadExternal": TIER_4,
        "files.getUploadURLExternal": TIER_4,
        "files.info": TIER_4,
        "reactions.add": TIER_3,
        "reactions.remove": TIER_2,
        "usergroups.users.list": TIER_2,
        "users.info": TIER_4,
    }
)
"""Calls per method, app and team (https://docs.slack.dev/apis/web-api/rate-limits). The tier of a method is on its page
under https://docs.slack.dev/reference/methods. Tiers 2, 3 and 4 are 20, 50 and 100 calls a minute."""

OTHERWISE: Final = TIER_2
"""For a method that is not listed: low enough for all but Slack's rarest methods."""

_ROUNDING: Final = 1e-6
_FORGET_SECONDS: Final = 300.0
"""A learned limit doubles in this time."""
_FORGOTTEN: Final = 10.0
_LEAST_SHARE: Final = 5
"""No less than a fifth of the documented limit is learned."""
_KEYS_BEFORE_SWEEP: Final = 64


@dataclass(slots=True)
class _Window:
    """When each counted call stops counting, soonest first. ``learned`` calls are what Slack really allows, it seems,
    since ``learned_at``."""

    limit: Limit
    ends: deque[float] = field(default_factory=deque)
    learned: int = 0
    learned_at: float = 0.0

    def calls(self, now: float) -> int:
        """How many calls a window may hold now."""
        if not self.learned:
            return self.limit.calls
        calls = int(self.learned * 2.0 ** min((now - self.learned_at) / _FORGET_SECONDS, _FORGOTTEN))
        if calls >= self.limit.calls:
            self.learned = 0
        return min(calls, self.limit.calls)

    def learn(self, now: float) -> None:
        """Slack refused the last call: the ones before it were as many as it takes."""
        least = max(1, self.limit.calls // _LEAST_SHARE)
        self.learned = min(self.calls(now), max(self.used(now) - 1, least))
        self.learned_at = now

    def used(self, now: float) -> int:
        while self.ends and self.ends[0] <= now + _ROUNDING:
            self.ends.popleft()
        return len(self.ends)

    def wait(self, now: float, keep: int) -> float:
        """Seconds until one more call leaves ``keep`` slots free."""
        surplus = self.used(now) + keep + 1 - self.calls(now)
        if surplus <= 0:
            return 0.0
        if surplus > len(self.ends):
            # More is reserved than there is: only a lower ``keep`` helps, so look again after a whole window.
            return self.limit.seconds + self.limit.margin
        return self.ends[surplus - 1] - now

    def take(self, now: float) -> None:
        self.ends.append(now + self.limit.seconds + self.limit.margin)


class Budget:
    """The calls of one process, per team and method. ``now`` is any monotonic clock in seconds, the same throughout."""

    def __init__(self, limits: Mapping[str, Limit] = SLACK_LIMITS) -> None:
        self._limits = limits
        self._windows: dict[tuple[str, str, str], _Window] = {}
        self._cool_until: dict[tuple[str, str], float] = {}
        self._sweep_at = _KEYS_BEFORE_SWEEP

    def take(self, team: str, method: str, now: float, *, keep: int = 0, channel: str = "") -> float:
        """Take a slot and return 0.0, or take nothing and return the seconds to wait before asking again.

        ``keep`` slots stay free for calls that matter more. ``channel`` counts only for limits per channel.
        """
        window = self._window(team, method, channel, now)
        wait = max(self._cooling(team, method, now), window.wait(now, keep))
        if wait <= 0.0:
            window.take(now)
            return 0.0
        return wait

    def free(self, team: str, method: str, now: float, *, channel: str = "") -> int:
        """Slots that could be taken right now; none during a pause."""
        if self._cooling(team, method, now):
            return 0
        window = self._window(team, method, channel, now)
        return max(0, window.calls(now) - window.used(now))

    def cool_off(self, team: str, method: str, now: float, retry_after: float) -> None:
        """Slack answered 429: nothing of this method for ``retry_after`` seconds, in any channel of the team.

        Where the team shares one limit, it also counts as that many calls from now on. That is forgotten by and by:
        a restart, or another process, can look like a lower limit.
        """
        until = max(now + retry_after, self._cool_until.get((team, method), now))
        self._cool_until[team, method] = until
        if self._limits.get(method, OTHERWISE).per is Per.TEAM:
            self._window(team, method, "", now).learn(now)

    def _cooling(self, team: str, method: str, now: float) -> float:
        until = self._cool_until.get((team, method))
        if until is None:
            return 0.0
        if until <= now + _ROUNDING:
            del self._cool_until[team, method]
            return 0.0
        return until - now

    def _window(self, team: str, method: str, channel: str, now: float) -> _Window:
        limit = self._limits.get(method, OTHERWISE)
        key = (team, method, channel if limit.per is Per.CHANNEL else "")
        if (window := self._windows.get(key)) is None:
            self._sweep(now)
            window = self._windows[key] = _Window(limit)
        return window

    def _sweep(self, now: float) -> None:
        """Forget idle channels and teams; waiting until their number has doubled keeps this cheap."""
        if len(self._windows) < self._sweep_at:
            return
        self._windows = {key: window for key, window in self._windows.items() if window.used(now)}
        self._cool_until = {key: until for key, until in self._cool_until.items() if until > now}
        self._sweep_at = max(_KEYS_BEFORE_SWEEP, 2 * len(self._windows))
