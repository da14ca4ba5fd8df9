"""What the store raises."""

from __future__ import annotations

from slackbot.errors import SlackbotError


class StoreError(SlackbotError):
    """The database cannot do what was asked: it is gone, locked, full or too slow, or it refuses a value.

    Nothing was stored, or it is not known. The text is for operators and holds neither values nor the password.
    """

    code = "store"


class DatabaseInUse(StoreError):
    """Another process lives on this SQLite file."""

    code = "database_in_use"
