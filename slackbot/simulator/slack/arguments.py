"""The arguments of a Web API call, however they were sent: query, form or JSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, TypeVar

from slackbot.simulator.slack.errors import SlackError

if TYPE_CHECKING:
    from aiohttp import web

    from slackbot.simulator.slack.model import Json

_T = TypeVar("_T")


async def read_arguments(request: web.Request) -> Json:
    """Merge the query with the body; raises `SlackError` for a body that is neither a form nor a JSON object."""
    found: Json = dict(request.query)
    if request.content_type == "application/json":
        raw = await request.text()
        try:
            body = json.loads(raw) if raw else {}
        except ValueError as error:
            raise SlackError("invalid_json") from error
        if not isinstance(body, dict):
            raise SlackError("json_not_object")
        return found | body
    if request.content_type in {"application/x-www-form-urlencoded", "multipart/form-data"}:
        return found | dict(await request.post())
    if request.can_read_body and request.content_type != "application/octet-stream":
        raise SlackError("invalid_post_type")
    return found


class Arguments:
    """Typed reading of one call's arguments; every method raises `SlackError` for what Slack would not take."""

    def __init__(self, values: Json) -> None:
        self._values = values

    def has(self, name: str) -> bool:
        """Tell whether the argument was sent, with whatever value."""
        return self._values.get(name) is not None

    def text(self, name: str) -> str:
        """Read a string; empty when it was not sent."""
        value = self._values.get(name)
        if value is None:
            return ""
        if isinstance(value, dict | list):
            raise SlackError("invalid_arguments")
        return str(value)

    def flag(self, name: str, *, default: bool = False) -> bool:
        """Read a boolean, in any of its spellings."""
        value = self._values.get(name)
        return default if value is None else str(value).lower() in {"1", "true"}

    def number(self, name: str, default: int) -> int:
        """Read a whole number."""
        try:
            return int(self._values.get(name) or default)
        except (TypeError, ValueError) as error:
            raise SlackError("invalid_arguments") from error

    def items(self, name: str, error: str) -> list[Any]:
        """Read a list, or a string that holds one as JSON; `error` is the refusal for anything else."""
        return self._json(name, list, error) or []

    def mapping(self, name: str, error: str) -> Json:
        """Read an object, or a string that holds one as JSON; `error` is the refusal for anything else."""
        return self._json(name, dict, error) or {}

    def _json(self, name: str, kind: type[_T], error: str) -> _T | None:
        value = self._values.get(name)
        if isinstance(value, str) and value:
            try:
                value = json.loads(value)
            except ValueError as cause:
                raise SlackError(error) from cause
        if value is None or value == "":
            return None
        if not isinstance(value, kind):
            raise SlackError(error)
        return value
