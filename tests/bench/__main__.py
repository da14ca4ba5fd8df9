"""How good the bot is: run with ``make bench``."""

from __future__ import annotations

import asyncio
import sys
from importlib import import_module

from tests.bench.processes import Broken
from tests.chaos.report import say

PARTS = ("replies", "files", "overhead", "events", "claims", "recovery", "soak")
MODULES = {"recovery": "tests.chaos.recovery"}


def main(argv: list[str]) -> None:
    """``PART ARGUMENTS…`` measures one part; without a part all of them, and ``--quick`` is for all of them."""
    named, given = ((argv[0],), argv[1:]) if argv and not argv[0].startswith("-") else (PARTS, argv)
    if not set(named) <= set(PARTS):
        sys.exit(f"make bench: BENCH= begins with one of {', '.join(PARTS)}; BENCH='PART --help' tells more")
    for part in named:
        if len(named) > 1:
            say(f"\n--- {part}")
        import_module(MODULES.get(part, f"tests.bench.{part}")).main(given)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except (KeyboardInterrupt, asyncio.CancelledError):
        sys.exit(130)
    except Broken as error:
        sys.exit(str(error))
