"""How often a growing message may be edited: pure arithmetic, and the count of replies that share the budget."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

QUICK_EDITS = 5
QUICK_SECONDS = 0.5
STEADY_SECONDS = 1.5
LONG_SECONDS = 3.0
"""Slack's advice for longer messages: one edit in three seconds (https://docs.slack.dev/ai/developing-agents)."""
LONG_CHARS = 3_000
SPREAD_SECONDS = 10.0
"""What is left of the minute's edits is spread over the length of a usual answer, so that all replies of a team get
some of it."""


def edit_interval(*, edits: int, shown_chars: int, open_replies: int, surplus: int) -> float:
    """Seconds between two edits of one message.

    ``edits`` made so far to this message, ``shown_chars`` visible in it, ``open_replies`` growing in the team, and
    ``surplus`` edits that are left in this minute beside the last ones of those.
    """
    own = QUICK_SECONDS if edits < QUICK_EDITS else STEADY_SECONDS
    if shown_chars > LONG_CHARS:
        own = LONG_SECONDS
    return max(own, SPREAD_SECONDS * open_replies / max(surplus, 1))


def elapsed(seconds: float) -> str:
    """How long something has been going on, in words that do not change too often; empty for the first ten seconds."""
    if seconds < 60:
        return f"{int(seconds) // 10 * 10} s" if seconds >= 10 else ""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes} min 30 s" if minutes < 5 and rest >= 30 else f"{minutes} min"


def next_elapsed(seconds: float) -> float:
    """Seconds until ``elapsed`` says something else."""
    step = 10 if seconds < 60 else 30 if seconds < 300 else 60
    return step - seconds % step


class OpenReplies:
    """How many replies are growing in each team right now; each of them still needs one final edit."""

    def __init__(self) -> None:
        self._count: Counter[str] = Counter()
        self._elsewhere: Mapping[str, int] = {}

    def count(self, team_id: str) -> int:
        """Growing replies of the team, in all processes."""
        return self._count[team_id] + self._elsewhere.get(team_id, 0)

    def tell(self, elsewhere: Mapping[str, int]) -> None:
        """So many are growing in other processes."""
        self._elsewhere = elsewhere

    @contextmanager
    def one_more(self, team_id: str) -> Iterator[None]:
        """Counts a reply for as long as it grows."""
        self._count[team_id] += 1
        try:
            yield
        finally:
            self._count[team_id] -= 1
            if not self._count[team_id]:
                del self._count[team_id]
