"""How fast the bot is: run with ``make bench``."""

from __future__ import annotations

import asyncio

from tests.bench.overhead import measure


def main() -> None:
    """Run every benchmark and print its numbers."""
    print(asyncio.run(measure()))


main()
