"""``python -m slackbot`` is the ``slackbot`` command."""

from __future__ import annotations

import sys

from slackbot.cli import main

sys.exit(main())
