"""A clock on the wall that may be wrong. Import it before the bot, which takes hold of ``time.time``."""

from __future__ import annotations

import sys
import time
from datetime import datetime, timedelta, tzinfo

_time, _time_ns = time.time, time.time_ns
_ahead = 0.0


class _Datetime(datetime):
    @classmethod
    def now(cls, tz: tzinfo | None = None) -> _Datetime:
        return super().now(tz) + timedelta(seconds=_ahead)


def put(ahead: float) -> None:
    """From now on this process believes that it is so many seconds later."""
    global _ahead  # noqa: PLW0603 - a machine has one
    _ahead = ahead
    for name, module in list(sys.modules.items()):
        if name.startswith("slackbot.") and getattr(module, "datetime", None) is datetime:
            vars(module)["datetime"] = _Datetime


time.time = lambda: _time() + _ahead
time.time_ns = lambda: _time_ns() + int(_ahead * 1e9)
