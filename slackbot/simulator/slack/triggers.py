"""Trigger ids: each opens one modal for the person who did something, and only for a moment."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from slackbot.simulator.slack import limits
from slackbot.simulator.slack.errors import SlackError

if TYPE_CHECKING:
    from slackbot.simulator.slack.clock import Clock


@dataclass(slots=True)
class _Trigger:
    user: str
    made_at: float
    used: bool = False


class Triggers:
    """Hands trigger ids out and takes them back: three seconds, single use."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._made: dict[str, _Trigger] = {}
        self._numbers = itertools.count(1)

    def make(self, user_id: str) -> str:
        """Make a trigger id for what a person just did."""
        trigger_id = f"{next(self._numbers)}.1111111111.sim"
        self._made[trigger_id] = _Trigger(user_id, self._clock.monotonic())
        return trigger_id

    def take(self, trigger_id: str) -> str:
        """Exchange a trigger id for its person; raises `SlackError` for one that is unknown, old or used."""
        trigger = self._made.get(trigger_id)
        if trigger is None:
            raise SlackError("invalid_trigger_id")
        if trigger.used:
            raise SlackError("exchanged_trigger_id")
        if self._clock.monotonic() - trigger.made_at > limits.TRIGGER_SECONDS:
            raise SlackError("expired_trigger_id")
        trigger.used = True
        return trigger.user
