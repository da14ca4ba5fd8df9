"""How many calls each Slack method may get: sliding windows with reserved slots and pauses. Pure, time is a value."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import chain
from types import MappingProxyType
from typing import Final, NamedTuple


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

    @property
    def window(self) -> float:
        """Seconds for which a call counts."""
        return self.seconds + self.margin


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


class Key(NamedTuple):
    """What one window counts. ``channel_id`` is empty where the whole team shares it."""

    team_id: str
    method: str
    channel_id: str


@dataclass(slots=True)
class _Window:
    """When each counted call stops counting, soonest first: our own ``ends``, and those of ``others``. ``learned``
    calls are what Slack really allows, it seems, since ``learned_at``."""

    limit: Limit
    ends: deque[float] = field(default_factory=deque)
    others: deque[float] = field(default_factory=deque)
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
        for ends in (self.ends, self.others):
            while ends and ends[0] <= now + _ROUNDING:
                ends.popleft()
        return len(self.ends) + len(self.others)

    def share(self, now: float, processes: int) -> int:
        """How many of the calls each of several processes may make that know nothing of each other."""
        return max(1, self.calls(now) // processes)

    def free(self, now: float, processes: int) -> int:
        free = self.calls(now) - self.used(now)
        if processes > 1:
            free = min(free, self.share(now, processes) - len(self.ends))
        return max(0, free)

    def wait(self, now: float, keep: int, processes: int) -> float:
        """Seconds until one more call leaves ``keep`` slots free."""
        wait = self._wait(now, self.used(now) + keep + 1 - self.calls(now), self.ends, self.others)
        if processes > 1:
            surplus = len(self.ends) + keep // processes + 1 - self.share(now, processes)
            wait = max(wait, self._wait(now, surplus, self.ends))
        return wait

    def _wait(self, now: float, surplus: int, *counted: deque[float]) -> float:
        """Seconds until so many of the counted calls count no longer."""
        if surplus <= 0:
            return 0.0
        ends = sorted(chain.from_iterable(counted))
        if surplus > len(ends):
            # More is reserved than there is: only a lower ``keep`` helps, so look again after a whole window.
            return self.limit.window
        return ends[surplus - 1] - now

    def take(self, now: float) -> None:
        self.ends.append(now + self.limit.window)


class Budget:
    """The calls per team and method: those of this process, and of others as far as it was told of them. ``now`` is
    any monotonic clock in seconds, the same throughout.

    While ``processes`` are more than one, none of them hears of the others' calls: each gets an equal share.
    """

    def __init__(self, limits: Mapping[str, Limit] = SLACK_LIMITS) -> None:
        self.processes = 1
        self._limits = limits
        self._windows: dict[Key, _Window] = {}
        self._cool_until: dict[tuple[str, str], float] = {}
        self._sweep_at = _KEYS_BEFORE_SWEEP

    def take(self, team: str, method: str, now: float, *, keep: int = 0, channel: str = "") -> float:
        """Take a slot and return 0.0, or take nothing and return the seconds to wait before asking again.

        ``keep`` slots stay free for calls that matter more. ``channel`` counts only for limits per channel.
        """
        key = self.key(team, method, channel)
        if wait := self.wait(key, now, keep=keep):
            return wait
        self._window(key, now).take(now)
        return 0.0

    def free(self, team: str, method: str, now: float, *, channel: str = "") -> int:
        """Slots that could be taken right now; none during a pause."""
        if self.cooling(team, method, now):
            return 0
        return self._window(self.key(team, method, channel), now).free(now, self.processes)

    # --- what several processes share ---

    def key(self, team: str, method: str, channel: str = "") -> Key:
        """The window that counts such a call."""
        return Key(team, method, channel if self._limit(method).per is Per.CHANNEL else "")

    def wait(self, key: Key, now: float, *, keep: int = 0) -> float:
        """What ``take`` would return, without taking anything."""
        wait = self._window(key, now).wait(now, keep, self.processes)
        return max(self.cooling(key.team_id, key.method, now), wait)

    def room(self, key: Key, now: float) -> tuple[int, float]:
        """How many calls the window holds now, and the seconds for which each of them counts."""
        window = self._window(key, now)
        return window.calls(now), window.limit.window

    def give_back(self, key: Key, now: float) -> None:
        """The call for which the last slot was taken was not made."""
        if ends := self._window(key, now).ends:
            ends.pop()

    def tell(self, key: Key, seconds: Iterable[float], now: float) -> None:
        """For so many seconds from now the calls of other processes count. Nonsense is passed over."""
        window = self._window(key, now)
        window.others = deque(sorted(now + left for left in seconds if left <= 2 * window.limit.window))

    # --- pauses ---

    def cool_off(self, team: str, method: str, now: float, retry_after: float) -> None:
        """Slack answered 429: nothing of this method for ``retry_after`` seconds, in any channel of the team.

        Where the team shares one limit, it also counts as that many calls from now on. That is forgotten by and by:
        a restart, or another process, can look like a lower limit.
        """
        until = max(now + retry_after, self._cool_until.get((team, method), now))
        self._cool_until[team, method] = until
        if self._limit(method).per is Per.TEAM:
            self._window(self.key(team, method), now).learn(now)

    def cooling(self, team: str, method: str, now: float) -> float:
        """Seconds until a pause ends."""
        until = self._cool_until.get((team, method))
        if until is None:
            return 0.0
        if until <= now + _ROUNDING:
            del self._cool_until[team, method]
            return 0.0
        return until - now

    def _limit(self, method: str) -> Limit:
        return self._limits.get(method, OTHERWISE)

    def _window(self, key: Key, now: float) -> _Window:
        if (window := self._windows.get(key)) is None:
            self._sweep(now)
            window = self._windows[key] = _Window(self._limit(key.method))
        return window

    def _sweep(self, now: float) -> None:
        """Forget idle channels and teams; waiting until their number has doubled keeps this cheap."""
        if len(self._windows) < self._sweep_at:
            return
        self._windows = {key: window for key, window in self._windows.items() if window.used(now)}
        self._cool_until = {key: until for key, until in self._cool_until.items() if until > now}
        self._sweep_at = max(_KEYS_BEFORE_SWEEP, 2 * len(self._windows))
