"""Break the bot and see what is left: run with ``make chaos``."""

from __future__ import annotations

import subprocess
import sys

PARTS = ("kills", "storm", "recovery", "faults", "handovers")


def main(argv: list[str]) -> int:
    """``PART ARGUMENTS…`` runs one part, no arguments run all of them; 1 when something broke."""
    named = argv[:1]
    if named and named[0] not in PARTS:
        print(f"make chaos: CHAOS= begins with one of {', '.join(PARTS)}; CHAOS='PART --help' tells more")
        return 2
    broken = 0
    for part in named or PARTS:
        print(f"\n--- {part}", flush=True)
        # Each in a process of its own: some of them live with another clock.
        broken |= subprocess.call([sys.executable, "-m", f"tests.chaos.{part}", *argv[1:]])
    return int(broken > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
