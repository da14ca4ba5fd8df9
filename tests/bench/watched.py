"""The bot, which writes to a file on SIGUSR1 what it holds: ``python -m tests.bench.watched FILE``."""

from __future__ import annotations

import asyncio
import gc
import json
import signal
import sys
from collections import Counter
from pathlib import Path

from slackbot import cli


def main() -> int:
    """Be the bot, from here to its end."""
    told = Path(sys.argv[1])

    def tell(*_: object) -> None:
        gc.collect()
        objects = gc.get_objects()
        kinds = Counter(type(each).__qualname__ for each in objects).most_common(20)
        held = {"tasks": len(asyncio.all_tasks()), "objects": len(objects), "kinds": dict(kinds)}
        whole = told.with_suffix(".part")
        whole.write_text(json.dumps(held), encoding="utf-8")
        whole.replace(told)

    signal.signal(signal.SIGUSR1, tell)
    return cli.main(["run"])


if __name__ == "__main__":
    sys.exit(main())
