"""How long to wait before another try."""

from __future__ import annotations

import random


def jittered(seconds: float) -> float:
    """About so many seconds, by a quarter more or less. What broke for hundreds in one moment, such as the streams of a
    Noxus that restarts, would otherwise be tried again by all of them in one moment, again and again.
    """
    return seconds * random.uniform(0.75, 1.25)  # noqa: S311 - nobody gains by guessing it
