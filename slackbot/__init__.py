"""slackbot: a bridge between Slack threads and the agents of Noxus."""

from __future__ import annotations

__version__ = "0.1.0"
