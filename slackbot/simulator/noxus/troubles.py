"""Troubles to switch on and off while somebody watches: slow, cut in the middle of an answer, down."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final, NamedTuple

from slackbot.simulator.noxus.faults import Fault
from slackbot.simulator.noxus.server import NoxusSimulator

_SLOW: Final = {"first_token_delay": 6.0, "rate": 6.0}
_FRAMES_BEFORE_THE_CUT: Final = 12


class Trouble(NamedTuple):
    """One switch: ``turn`` is awaited with True for on and False for off."""

    id: str
    label: str
    turn: Callable[[bool], Awaitable[None]]


def troubles(noxus: NoxusSimulator) -> list[Trouble]:
    """The troubles one can order of a running simulator."""
    usual: dict[str, Any] = {name: getattr(noxus.switches, name) for name in _SLOW}
    cuts: list[Fault] = []
    refusals: list[Fault] = []

    def refuse(orders: list[Fault], *, on: bool, **fault: Any) -> None:  # noqa: ANN401 - properties of a fault
        for earlier in orders:
            earlier.left = 0
        orders[:] = [noxus.faults.add(times=None, **fault)] if on else []

    async def slow(on: bool) -> None:  # noqa: FBT001 - a switch is on or off
        noxus.switches.change(**(_SLOW if on else usual))

    async def cut(on: bool) -> None:  # noqa: FBT001 - a switch is on or off
        refuse(cuts, on=on, path="stream", drop="mid", frames=_FRAMES_BEFORE_THE_CUT)

    async def down(on: bool) -> None:  # noqa: FBT001 - a switch is on or off
        refuse(refusals, on=on, path="*", status=503)
        if on:
            # What is under way dies too.
            await noxus.stop()
            await noxus.start()

    return [
        Trouble("noxus-cut", "Noxus's stream is cut in mid-answer", cut),
        Trouble("noxus-slow", "Noxus is slow", slow),
        Trouble("noxus-down", "Noxus is down (503)", down),
    ]
