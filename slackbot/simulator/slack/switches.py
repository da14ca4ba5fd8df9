"""Troubles a person can switch on and off in the page's drawer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from slackbot.simulator.slack.downloads import Trouble

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from slackbot.simulator.slack.downloads import Downloads
    from slackbot.simulator.slack.faults import Fault
    from slackbot.simulator.slack.model import Json
    from slackbot.simulator.slack.web_api import WebApi

    Turn: TypeAlias = Callable[[bool], Awaitable[None]]

SLOW_SECONDS: Final = 1.5
REFUSED_FOR_SECONDS: Final = 5.0


@dataclass(slots=True)
class _Switch:
    label: str
    turn: Turn
    on: bool = False


class Switches:
    """Switches by id, all off at first. Who runs other simulators beside this one adds theirs."""

    def __init__(self) -> None:
        self.observers: list[Callable[[Json], None]] = []
        self._switches: dict[str, _Switch] = {}

    def add(self, switch_id: str, label: str, turn: Turn) -> None:
        """Offer a switch; `turn` is awaited with True for on and False for off."""
        self._switches[switch_id] = _Switch(label, turn)

    def described(self) -> list[Json]:
        """List the switches."""
        return [{"id": found, "label": it.label, "on": it.on} for found, it in self._switches.items()]

    async def turn(self, switch_id: str, *, on: bool) -> None:
        """Turn one on or off; raises KeyError for an unknown one."""
        switch = self._switches[switch_id]
        if switch.on != on:
            switch.on = on
            await switch.turn(on)
            for observer in self.observers:
                observer({"id": switch_id, "label": switch.label, "on": on})

    async def clear(self) -> None:
        """Turn all off."""
        for switch_id in self._switches:
            await self.turn(switch_id, on=False)


def add_slack_switches(switches: Switches, web_api: WebApi, downloads: Downloads) -> None:
    """Offer the troubles of the simulated Slack: refused edits, slow answers, and files that do not come."""
    usual = web_api.latency
    orders: list[Fault] = []

    async def refuse_edits(on: bool) -> None:  # noqa: FBT001  a switch is on or off
        for fault in orders:
            fault.times = 0
        orders.clear()
        if on:
            add = web_api.faults.add
            orders.append(add(method="chat.update", error="ratelimited", retry_after=REFUSED_FOR_SECONDS, times=None))

    async def slow_down(on: bool) -> None:  # noqa: FBT001  a switch is on or off
        web_api.latency = SLOW_SECONDS if on else usual

    async def hold_files_back(on: bool) -> None:  # noqa: FBT001  a switch is on or off
        downloads.troubles[:] = [Trouble(status=503, times=None)] if on else []

    switches.add("slack-edits", "Slack refuses every edit (429)", refuse_edits)
    switches.add("slack-slow", f"Slack takes {SLOW_SECONDS:g} s for every call", slow_down)
    switches.add("slack-files", "Slack hands out no files (503)", hold_files_back)
