"""How often a growing message may be edited: pure arithmetic, and the count of replies that share the budget."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
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


class OpenReplies:
    """How many replies are growing in each team right now; each of them still needs one final edit."""

    def __init__(self) -> None:
        self._count: Counter[str] = Counter()

    def count(self, team_id: str) -> int:
        """Growing replies of the team."""
        return self._count[team_id]

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
