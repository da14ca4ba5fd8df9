"""Fifty handovers at once: operators race for them, and the bot is killed while both sides write."""

from __future__ import annotations

import os
import subprocess
import sys

TESTS = (
    "tests/test_app_handover.py::test_many_at_once_with_racing_operators",
    "tests/test_breaking_handover.py",
)
SECONDS = 1_800


def main() -> int:
    """The tests that ``make test`` runs with fewer of them."""
    command = [sys.executable, "-m", "pytest", "-q", "-o", f"timeout={SECONDS}", *TESTS]
    return subprocess.call(command, env={**os.environ, "SLACKBOT_CHAOS": "1"})


if __name__ == "__main__":
    sys.exit(main())
