"""How Noxus's HTTP answers read: what a failed call means, and whether and when to try it again. Pure.

Statuses, error bodies and headers follow the released SDK (``errors.py`` and ``client.py`` of noxus-sdk 0.6.0).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import Enum
from http import HTTPStatus
from typing import Final

import httpx

from slackbot.errors import (
    AgentBusy,
    AgentError,
    AgentKeyRejected,
    AgentRefused,
    AgentTimedOut,
    AgentUnavailable,
    ConversationFull,
    ConversationGone,
    FilesTooBig,
    FilesUnsent,
)
from slackbot.noxus.body import FilesBody
from slackbot.noxus.events import clean, reason

MAX_PAUSE: Final = 30.0
"""Longest wait between two tries, in seconds, also when the server asks for more."""

SPREAD_SECONDS: Final = 1.0

_DETAIL_LENGTH: Final = 300
_UNSENT: Final = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)
_BY_STATUS: Final[dict[int, type[AgentError]]] = {
    HTTPStatus.BAD_REQUEST: AgentRefused,
    HTTPStatus.UNAUTHORIZED: AgentKeyRejected,
    HTTPStatus.FORBIDDEN: AgentKeyRejected,
    HTTPStatus.NOT_FOUND: ConversationGone,
    HTTPStatus.REQUEST_TIMEOUT: AgentUnavailable,
    HTTPStatus.CONFLICT: AgentBusy,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: AgentRefused,
    HTTPStatus.UNPROCESSABLE_ENTITY: AgentRefused,
    HTTPStatus.TOO_MANY_REQUESTS: AgentBusy,
}
_MESSAGE_CAP: Final = re.compile(
    r"usage_limits_max_messages|max(imum)?[ _]((number|count)[ _]of[ _])?messages|messages?[ _](limit|cap)\b"
    r"|limit of \d+ messages|(?P<or_speed>too many messages)",
    re.IGNORECASE,
)


class Retry(Enum):
    """How often to try again, and the first pause in seconds where the server names none."""

    NEVER = (0, 0.0)
    BUSY = (5, 1.0)
    FAILED = (2, 0.25)


@dataclass(frozen=True, slots=True)
class Setback:
    """A call that did not succeed: the error to raise, and what may be done about it.

    ``down``: Noxus may be down, or only what the call was ``about``; empty where it was about nothing in particular.
    """

    error: AgentError
    cause: Exception | None = None
    retry: Retry = Retry.NEVER
    retry_after: float | None = None
    down: bool = False
    about: str = ""

    def pause(self, attempt: int, jitter: float) -> float | None:
        """Seconds to wait after try number ``attempt`` (from 0), or None to give up. ``jitter`` is in 0..1."""
        times, first = self.retry.value
        if attempt >= times:
            return None
        if self.retry_after is not None:
            # Others were told the same: they shall not all come back in the same moment.
            return min(self.retry_after, MAX_PAUSE) + jitter * SPREAD_SECONDS
        return min(first * 2.0**attempt, MAX_PAUSE) * (1 + jitter) / 2


@dataclass(frozen=True, slots=True)
class Call:
    """One request. ``carries_message``: it submits a user's message, and so may reach Noxus at most once.
    ``as_it_is``: a file, wanted without packing, or a redirect to where it is."""

    method: str
    path: str
    params: Mapping[str, str] | None = None
    body: object = None
    accept: str = "application/json"
    carries_message: bool = False
    as_it_is: bool = False

    @property
    def _repeatable(self) -> bool:
        return self.method == "GET"

    @property
    def about(self) -> str:
        """One conversation, file or agent; nothing for a call to them all."""
        thing = self.path.split("/")[:4]
        return "/".join(thing) if len(thing) > 3 else ""

    def lost(self, cause: Exception, hidden: str) -> Setback:
        """No answer came. ``hidden`` is the secret to keep out of the error's text."""
        unsent = isinstance(cause, _UNSENT)
        in_part = isinstance(self.body, FilesBody) and not self.body.whole
        kind = AgentTimedOut if isinstance(cause, TimeoutError) else AgentUnavailable
        if in_part and not unsent and kind is AgentUnavailable:
            kind = FilesUnsent
        text = bounded(f"{type(cause).__name__} {cause}", hidden)
        error = kind(
            f"{self.method} {self.path}: {text}", may_have_arrived=self.carries_message and not (unsent or in_part)
        )
        again = unsent or (self._repeatable and kind is AgentUnavailable)
        about = "" if unsent else self.about
        return Setback(error, cause, Retry.FAILED if again else Retry.NEVER, down=True, about=about)

    def refused(self, status: int, headers: httpx.Headers, body: bytes, hidden: str) -> Setback:
        """An answer other than success. ``hidden`` is the secret to keep out of the error's text."""
        detail = bounded(detail_of(body), hidden)
        uncertain = status >= HTTPStatus.INTERNAL_SERVER_ERROR or status == HTTPStatus.REQUEST_TIMEOUT
        kind = _kind(status, detail)
        if status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE and isinstance(self.body, FilesBody):
            kind = FilesTooBig
        error = kind(
            f"{self.method} {self.path}: {status} {detail}",
            status=status,
            request_id=request_id(headers),
            may_have_arrived=self.carries_message and uncertain and status != HTTPStatus.NOT_IMPLEMENTED,
        )
        retry = Retry.NEVER
        if status == HTTPStatus.TOO_MANY_REQUESTS and isinstance(error, AgentBusy):
            retry = Retry.BUSY
        elif self._repeatable and status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            retry = Retry.FAILED
        down = status >= HTTPStatus.INTERNAL_SERVER_ERROR and status != HTTPStatus.NOT_IMPLEMENTED
        return Setback(error, None, retry, _retry_after(headers), down=down, about=self.about)


def message_body(content: str) -> dict[str, object]:
    """The body of every call that submits a user's message, but for its ``files``: all six keys are there, as the
    released SDK sends them."""
    return {"content": clean(content), **dict.fromkeys(("tool", "kb_id", "workflow_id", "model_selection"))}


def _kind(status: int, detail: str) -> type[AgentError]:
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status < HTTPStatus.BAD_REQUEST:
        return AgentUnavailable  # below 400: a redirect, so the address is wrong
    kind = _BY_STATUS.get(status, AgentError)
    settled = kind in (AgentKeyRejected, ConversationGone)
    return ConversationFull if not settled and names_message_cap(detail, status) else kind


def names_message_cap(detail: str, status: int = 0) -> bool:
    """Whether an error says that the conversation may hold no more messages.

    What Noxus answers at ``usage_limits_max_messages`` is not documented, so several wordings count. "Too many
    messages" with a 429 is about speed.
    """
    found = _MESSAGE_CAP.search(detail)
    return found is not None and not (found["or_speed"] and status == HTTPStatus.TOO_MANY_REQUESTS)


def detail_of(body: bytes) -> str:
    """What an error's body says, JSON or not; empty when it is JSON without a reason we know."""
    try:
        return reason(json.loads(body))
    except (ValueError, RecursionError):
        return body.decode(errors="replace")


def request_id(headers: httpx.Headers) -> str:
    """Noxus's own id of a request, for its support."""
    found: str = headers.get("x-request-id") or headers.get("x-noxus-request-id") or ""
    return found[:100]


def _retry_after(headers: httpx.Headers) -> float | None:
    """Seconds from ``Retry-After``: a number, or a date, taken against the server's own clock where it shows one."""
    value = headers.get("retry-after", "")
    try:
        seconds = float(value)
    except ValueError:
        try:
            sent = parsedate_to_datetime(headers["date"]) if "date" in headers else datetime.now(UTC)
            seconds = (parsedate_to_datetime(value) - sent).total_seconds()
        except (ValueError, TypeError):
            return None
    return max(seconds, 0.0) if math.isfinite(seconds) else None


def bounded(text: str, hidden: str) -> str:
    """One line of at most 300 characters without the secret."""
    return " ".join(text.replace(hidden, "***").split())[:_DETAIL_LENGTH]
