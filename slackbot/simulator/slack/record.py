"""What the simulator remembers of its traffic with the bot."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from slackbot.simulator.slack.model import Json


@dataclass(frozen=True, slots=True)
class ApiCall:
    """One Web API call, at the moment it took effect (monotonic seconds); `args` never hold the token."""

    at: float
    method: str
    args: Json
    ok: bool
    error: str | None
    status: int


@dataclass(slots=True, kw_only=True)
class Delivery:
    """One attempt to deliver something to the bot.

    `event_id` is empty for interactivity, `envelope_id` for HTTP. `status` is the HTTP answer, `failure` the reason
    a retry would give, `response` what came with the ack. `done` says that the attempt is over, after `seconds`.
    `what` names the event or interaction, `channel` and `user` where it happened and whose deed it was.
    """

    at: float
    kind: str
    attempt: int
    what: str = ""
    channel: str = ""
    user: str = ""
    event_id: str = ""
    envelope_id: str = ""
    acked: bool = False
    status: int | None = None
    failure: str | None = None
    response: Json | None = None
    done: bool = False
    seconds: float = 0.0


class Pulse:
    """Wakes everyone who waits for something to change."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def beat(self) -> None:
        """Say that something changed."""
        self._event.set()
        self._event.clear()

    async def until(self, condition: Callable[[], object], timeout: float) -> None:  # noqa: ASYNC109  a test reads best so
        """Return when the condition holds; raises TimeoutError after `timeout` seconds."""
        # A condition may also look at things outside the simulator, so it is tried now and then without a beat.
        async with asyncio.timeout(timeout):
            while not condition():
                try:
                    await asyncio.wait_for(self._event.wait(), 0.05)
                except TimeoutError:
                    continue
