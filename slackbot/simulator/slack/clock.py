"""The two times the simulator lives in."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True)
class Clock:
    """`monotonic` seconds order and measure; `wall` seconds since 1970 go into timestamps and signatures."""

    monotonic: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time
