"""What people read of many trials: what broke at once, and tables in the end."""

from __future__ import annotations

import math
import time
from collections import Counter
from dataclasses import dataclass, field

from tests.chaos.trials import Result

MOST_MISSED = 0.02
"""A share of all trials with deaths. A moment is the n-th call of its name in a play in which nobody died; calls that
come by the clock, or wait for each other, may be fewer or in another order the next time."""


def say(text: str) -> None:
    """Print it now."""
    print(text, flush=True)


@dataclass(slots=True)
class Table:
    """Counts by row, and what broke."""

    title: str
    rows: dict[str, Counter[str]] = field(default_factory=dict)

    def add(self, row: str, result: Result) -> None:
        """Count one result in a row."""
        counts = self.rows.setdefault(row, Counter())
        counts["trials"] += 1
        counts["killed"] += result.deaths
        counts["missed"] += result.missed
        counts["broken"] += bool(result.broken)
        counts.update(result.verdicts)

    def __str__(self) -> str:
        """For people."""
        columns = ("trials", "killed", "missed", "answer", "sentence", "stopped", "broken")
        width = max(map(len, (self.title, *self.rows)))
        lines = [f"{self.title:<{width}} " + " ".join(f"{column:>8}" for column in columns)]
        lines += [
            f"{row:<{width}} " + " ".join(f"{counts[column]:>8}" for column in columns)
            for row, counts in self.rows.items()
        ]
        return "\n".join(lines)


class Report:
    """Collects results, tells of broken ones at once, and of all in the end."""

    def __init__(self) -> None:
        self.plays = Table("play")
        self.by_switch = Table("Noxus")
        self.broken: list[Result] = []
        self.missed: list[Result] = []
        """Their moment never came."""
        self._count = self._deadly = 0
        self._started = time.monotonic()

    @property
    def is_good(self) -> bool:
        """Whether nothing broke, and nearly everybody who was to die did."""
        most = min(math.ceil(MOST_MISSED * self._deadly), self._deadly - 1)
        return not self.broken and len(self.missed) <= max(most, 0)

    def add(self, result: Result, *, expected: int) -> None:
        """Count a result and show how far things are."""
        self._count += 1
        trial = result.trial
        self._deadly += bool(trial.deaths)
        if result.missed:
            self.missed.append(result)
            say(f"MISSED {trial}")
        twice = trial.everyone or len(trial.deaths) > 1
        self.plays.add(f"{trial.play}, {trial.database}" + ", twice" * twice, result)
        for name, value in trial.switches:
            self.by_switch.add(f"{name}={value}", result)
        if result.broken:
            self.broken.append(result)
            say(f"BROKEN {result.trial}\n       {result.broken}")
        if self._count % 50 == 0:
            seconds = time.monotonic() - self._started
            say(f"{self._count} of {expected} trials, {seconds:.0f} s, {len(self.broken)} broken")

    def show(self) -> None:
        """The tables, and how to repeat what broke."""
        say(f"\n{self.plays}")
        if self.by_switch.rows:
            self.by_switch.rows = dict(sorted(self.by_switch.rows.items()))
            say(f"\n{self.by_switch}")
        seconds, missed = time.monotonic() - self._started, len(self.missed)
        say(f"\n{self._count} trials in {seconds:.0f} s, {len(self.broken)} broken; {missed} of {self._deadly} missed")
        for result in self.missed:
            say(f"  never came to {result.trial}")
        for result in self.broken:
            say(f'  make chaos CHAOS="kills {result.trial}"\n    {result.broken}')
