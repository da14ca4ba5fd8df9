"""Counting calls against Slack's rate limits; time is a value."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from slackbot.simulator.slack import limits


@dataclass(slots=True)
class _Window:
    calls: int
    seconds: float
    admitted: deque[float] = field(default_factory=deque)

    def wait(self, now: float) -> float:
        while self.admitted and self.admitted[0] <= now - self.seconds:
            self.admitted.popleft()
        if len(self.admitted) < self.calls:
            return 0.0
        return self.admitted[-self.calls] + self.seconds - now if self.calls else self.seconds


@dataclass(slots=True)
class _Bucket:
    level: float
    at: float

    def wait(self, now: float) -> float:
        rate = limits.POSTS_PER_SECOND_AND_CHANNEL
        self.level = min(limits.POST_BURST, self.level + (now - self.at) * rate)
        self.at = now
        return 0.0 if self.level >= 1.0 else (1.0 - self.level) / rate


class RateLimits:
    """The calls one app made in one team: a sliding window for each method, and a bucket for posts to each channel.

    Without `enforced` only the limits given to `set` hold.
    """

    def __init__(self, *, enforced: bool) -> None:
        tiers = limits.CALLS_PER_MINUTE if enforced else {}
        self._enforced = enforced
        self._windows = {method: _Window(calls, limits.RATE_WINDOW_SECONDS) for method, calls in tiers.items()}
        self._posts: dict[str, _Bucket] = {}

    def set(self, method: str, calls: int, window: float) -> None:
        """Allow a method `calls` calls in `window` seconds, from now on and counted anew."""
        self._windows[method] = _Window(calls, window)

    def usage(self, method: str, channel: str, now: float) -> tuple[int, int]:
        """Tell how many calls count now, and how many may; 0 of 0 where there is no limit."""
        if method == "chat.postMessage" and channel in self._posts:
            self._posts[channel].wait(now)
            return limits.POST_BURST - int(self._posts[channel].level), limits.POST_BURST
        window = self._windows.get(method)
        if window is None:
            return 0, 0
        window.wait(now)
        return len(window.admitted), window.calls

    def admit(self, method: str, channel: str, now: float) -> float:
        """Count a call and answer 0, or answer how many seconds to wait; a refused call does not count."""
        window = self._windows.get(method)
        wait = window.wait(now) if window else 0.0
        bucket = None
        if method == "chat.postMessage" and self._enforced:
            bucket = self._posts.setdefault(channel, _Bucket(limits.POST_BURST, now))
            wait = max(wait, bucket.wait(now))
        if wait > 0:
            return wait
        if window:
            window.admitted.append(now)
        if bucket:
            bucket.level -= 1.0
        return 0.0
