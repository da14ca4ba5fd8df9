"""Delivering events to the bot: envelopes, the order of twins, acknowledgements and retries."""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING, Final, Protocol

from slackbot.simulator.slack import world
from slackbot.simulator.slack.limits import ACK_SECONDS
from slackbot.simulator.slack.record import Delivery

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from slackbot.simulator.slack.clock import Clock
    from slackbot.simulator.slack.model import Json
    from slackbot.simulator.slack.tasks import Tasks

# Bodies that are whole deliveries; anything else is the event inside one.
_WHOLE_BODIES: Final = frozenset({"event_callback", "app_rate_limited", "url_verification"})
# How many bodies are kept for `redeliver`.
_KEPT_BODIES: Final = 10_000


class Transport(Protocol):
    """A way to the bot; `send` fills in the outcome, with a `failure` when Slack would try again."""

    async def send(self, delivery: Delivery, payload: Json, *, retry_reason: str, patience: float) -> None:
        """Send once; `patience` is how many seconds to wait for the bot to be there at all."""


class Dispatcher:
    """Sends every event at least once, and again at each of `retry_delays` (seconds) while nothing acks it."""

    def __init__(
        self,
        transport: Transport,
        tasks: Tasks,
        *,
        clock: Clock,
        retry_delays: tuple[float, ...],
        rng: random.Random,
        on_change: Callable[[Delivery], None],
    ) -> None:
        self.transport = transport
        self.deliveries: list[Delivery] = []
        self._tasks = tasks
        self._clock = clock
        self._retry_delays = retry_delays
        self._rng = rng
        self._on_change = on_change
        self._numbers = itertools.count(1)
        self._bodies: dict[str, Json] = {}

    def publish(self, events: list[Json], *, is_ext_shared: bool) -> None:
        """Deliver the events of one change, in any order, in the background."""
        for event in self._rng.sample(events, len(events)):
            self._tasks.start(self.deliver(self.body_of(event, is_ext_shared=is_ext_shared)))

    def body_of(self, event: Json, *, is_ext_shared: bool = False) -> Json:
        """Wrap an event as the Events API does; whole bodies stay as they are."""
        if event.get("type") in _WHOLE_BODIES:
            return event
        number = next(self._numbers)
        return {
            "token": "sim-verification-token",
            "team_id": world.TEAM_ID,
            "context_team_id": world.TEAM_ID,
            "context_enterprise_id": None,
            "api_app_id": world.APP_ID,
            "event": event,
            "type": "event_callback",
            "event_id": f"Ev{number:08d}",
            "event_time": int(self._clock.wall()),
            "authorizations": [
                {
                    "enterprise_id": None,
                    "team_id": world.TEAM_ID,
                    "user_id": world.BOT_USER_ID,
                    "is_bot": True,
                    "is_enterprise_install": False,
                }
            ],
            "is_ext_shared_channel": is_ext_shared,
            "event_context": f"4-sim-{number:08d}",
        }

    async def deliver(self, body: Json) -> Delivery:
        """Attempt a delivery; retries, if it takes any, go on in the background."""
        event_id = str(body.get("event_id", ""))
        if event_id:
            self._bodies[event_id] = body
            if len(self._bodies) > _KEPT_BODIES:
                del self._bodies[next(iter(self._bodies))]
        started = self._clock.monotonic()
        first = await self._attempt(body, 0, "", 0.0)
        if first.failure is not None:
            self._tasks.start(self._retry(body, started, first.failure))
        return first

    async def redeliver(self, event_id: str) -> Delivery:
        """Deliver an event once more, whether or not it was acked; raises KeyError for an unknown id."""
        body = self._bodies[event_id]
        made = sum(delivery.event_id == event_id for delivery in self.deliveries)
        return await self._attempt(body, made, "timeout", ACK_SECONDS)

    async def interact(self, payload: Json) -> Delivery:
        """Deliver an interaction; Slack shows the person a warning instead of trying again."""
        acted = " ".join(str(action["action_id"]) for action in payload.get("actions", ()))
        named = acted or payload.get("callback_id") or payload.get("view", {}).get("callback_id") or ""
        delivery = self._begin("interactive", 0, "")
        delivery.what = f"{payload['type']} {named}".strip()
        delivery.channel, delivery.user = payload.get("channel", {}).get("id", ""), payload["user"]["id"]
        self._on_change(delivery)
        await self._send(delivery, payload, "", 0.0)
        return delivery

    async def _retry(self, body: Json, started: float, failure: str) -> None:
        # The times are counted from the first attempt, so waiting for an answer does not stretch the schedule.
        due = started
        patience = (*self._retry_delays[1:], ACK_SECONDS)
        for attempt, delay in enumerate(self._retry_delays, start=1):
            due += delay
            await asyncio.sleep(max(0.0, due - self._clock.monotonic()))
            delivery = await self._attempt(body, attempt, failure, patience[attempt - 1])
            if delivery.failure is None:
                return
            failure = delivery.failure

    async def _attempt(self, body: Json, attempt: int, reason: str, patience: float) -> Delivery:
        event = body.get("event", body)
        delivery = self._begin("events_api", attempt, str(body.get("event_id", "")))
        delivery.what = str(event.get("subtype") or event.get("type"))
        delivery.channel = str(event.get("channel") or event.get("item", {}).get("channel", ""))
        told = event.get("message") or event.get("previous_message") or event
        delivery.user = str(told.get("user", ""))
        self._on_change(delivery)
        await self._send(delivery, body, reason, patience)
        return delivery

    def _begin(self, kind: str, attempt: int, event_id: str) -> Delivery:
        delivery = Delivery(at=self._clock.monotonic(), kind=kind, attempt=attempt, event_id=event_id)
        self.deliveries.append(delivery)
        return delivery

    async def _send(self, delivery: Delivery, payload: Json, reason: str, patience: float) -> None:
        await self.transport.send(delivery, payload, retry_reason=reason, patience=patience)
        delivery.done, delivery.seconds = True, self._clock.monotonic() - delivery.at
        self._on_change(delivery)
