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
SHARED_SECONDS = 1.25
"""Between any two steady edits of a team: 48 a minute, below Slack's 50 for ``chat.update``."""


def edit_interval(*, edits: int, shown_chars: int, open_replies: int) -> float:
    """Seconds between two edits of one message.

    ``edits`` made so far to this message, ``shown_chars`` visible in it, ``open_replies`` growing in the team.
    """
    if shown_chars > LONG_CHARS:
        return max(LONG_SECONDS, SHARED_SECONDS * open_replies)
    if edits < QUICK_EDITS:
        return QUICK_SECONDS * open_replies
    return max(STEADY_SECONDS, SHARED_SECONDS * open_replies)


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
