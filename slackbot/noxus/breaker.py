"""When to stop asking a service that is down: a circuit breaker. Pure, time is a value."""

from __future__ import annotations

from typing import Final

FAILURES: Final = 5
RUN_SECONDS: Final = 5.0
"""So many failures in a row mean that it is down, but not in a shorter time: a restart looks like that."""
TRIAL_SECONDS: Final = 10.0


class Breaker:
    """Opens after a run of failures; then one call may go in ``TRIAL_SECONDS``, and the first answer closes it.

    Only calls that begin are held back. What becomes of those under way is their caller's affair, and when one of them
    is answered, all is well.
    """

    def __init__(self) -> None:
        self.answered_at = float("-inf")
        """When the last call was answered."""
        self._failed: list[str] = []
        self._failing_since = 0.0
        self._next_trial: float | None = None

    @property
    def is_open(self) -> bool:
        """Whether calls are held back."""
        return self._next_trial is not None

    def wait(self, now: float) -> float:
        """0.0: the call may go, and while open it is the trial. Else the seconds until the next trial."""
        if self._next_trial is None:
            return 0.0
        if self._next_trial > now:
            return self._next_trial - now
        self._next_trial = now + TRIAL_SECONDS
        return 0.0

    def answered(self, now: float) -> bool:
        """A call was answered, whatever the answer; True: that closes it."""
        closes = self.is_open
        self.answered_at, self._next_trial = now, None
        self._failed.clear()
        return closes

    def failed(self, began: float, now: float, about: str = "") -> bool:
        """A call that ``began`` then found the service down; True: that opens it.

        ``about`` names what alone may be broken, such as one conversation: that counts once.
        """
        # What began before the last answer is no news.
        if self.is_open or began < self.answered_at or (about and about in self._failed):
            return False
        self._failing_since = min(began, self._failing_since) if self._failed else began
        self._failed.append(about)
        if len(self._failed) < FAILURES or now - self._failing_since < RUN_SECONDS:
            return False
        self._next_trial = now + TRIAL_SECONDS
        return True
