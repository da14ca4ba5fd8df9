"""The way a Web API method says no."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from slackbot.simulator.slack.model import Json


class SlackError(Exception):
    """A refused call: HTTP 200 and `ok: false`; `code` is Slack's error code, `details` more response fields."""

    def __init__(self, code: str, **details: object) -> None:
        super().__init__(code)
        self.code = code
        self.details: Json = details

    @classmethod
    def with_messages(cls, code: str, messages: list[str]) -> SlackError:
        """Refuse with explanations, as Slack does for malformed blocks."""
        return cls(code, errors=messages, response_metadata={"messages": messages})
