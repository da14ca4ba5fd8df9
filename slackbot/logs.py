"""Logging: one line an event, as text or JSON, with secrets taken out.

Events are logged as ``log.info("turn.finished", extra={"turn": 7})``. Only our own loggers follow ``LOG_LEVEL``: the
libraries below us start at WARNING, because below that they log request bodies, SQL parameters and one-time addresses.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from types import TracebackType
from typing import Literal, TextIO

_HIDDEN = "***"
_SECRETS = re.compile(
    r"(?:xox[a-z](?:\.xox[a-z])?|xapp|xwfp)-[\w.-]+"  # tokens: https://docs.slack.dev/authentication/tokens/
    r"|https://hooks\.slack(?:-gov)?\.com/[^\s\"'\\]+"  # response_url and incoming webhooks: whoever has one may post
    r"|(?<=response_url)[\"':=\s]+[^\s\"',}]+"
    r"|(?<=ticket=)[\w.-]+"  # the Socket Mode address is a password for one connection
)
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_BARE = re.compile(r"[^\s\"=]+")


def setup(level: str, form: Literal["text", "json"], secrets: Iterable[str] = (), stream: TextIO | None = None) -> None:
    """Send every log line to ``stream`` (stderr by default). ``secrets`` are values never to be shown.

    May be called again; the last call counts. Also logs exceptions that nobody caught, in place of Python's traceback.
    """
    handler = logging.StreamHandler(stream)
    handler.setFormatter((_Json if form == "json" else _Text)(secrets))
    root = logging.getLogger()
    root.handlers = [handler]
    own = logging.getLevelNamesMapping()[level]
    root.setLevel(max(own, logging.WARNING))
    logging.getLogger("slackbot").setLevel(own)
    logging.captureWarnings(capture=True)
    sys.excepthook = _log_uncaught


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """``text`` without Slack's tokens, secret addresses and the given values."""
    for secret in secrets:
        text = text.replace(secret, _HIDDEN)
    return _SECRETS.sub(_HIDDEN, text)


class _Formatter(logging.Formatter):
    def __init__(self, secrets: Iterable[str]) -> None:
        super().__init__()
        # The longest first: one secret may be part of another.
        self._secrets = sorted({secret for secret in secrets if secret}, key=len, reverse=True)

    def _fields(self, record: logging.LogRecord) -> dict[str, object]:
        """Everything to be logged, by name and redacted; the event's own fields never hide the first four."""
        extra = {name: value for name, value in vars(record).items() if name not in _STANDARD}
        fixed: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "event": record.getMessage(),
            "logger": record.name,
        }
        return {name: self._clean(value) for name, value in (fixed | {**extra, **fixed}).items()}

    def _clean(self, value: object) -> object:
        if value is None or isinstance(value, bool | int | float):
            return value
        return redact(str(value), self._secrets)

    def _traceback(self, record: logging.LogRecord) -> str:
        parts = [self.formatException(record.exc_info)] if record.exc_info else []
        if record.stack_info:
            parts.append(record.stack_info)
        return redact("\n".join(parts), self._secrets)


class _Json(_Formatter):
    """One JSON object a line; a traceback is its ``exception``."""

    def format(self, record: logging.LogRecord) -> str:
        fields = self._fields(record)
        if traceback := self._traceback(record):
            fields["exception"] = traceback
        return json.dumps(fields, ensure_ascii=False)


class _Text(_Formatter):
    """``time LEVEL event name=value …``; a traceback follows on lines of its own."""

    def format(self, record: logging.LogRecord) -> str:
        fields = self._fields(record)
        line = [str(fields.pop("time")), f"{fields.pop('level'):7}", _one_line(str(fields.pop("event")))]
        line += [f"{name}={_quoted(value)}" for name, value in fields.items()]
        return "\n".join(filter(None, [" ".join(line), self._traceback(record)]))


def _one_line(text: str) -> str:
    return text.replace("\r", "\\r").replace("\n", "\\n")


def _quoted(value: object) -> str:
    text = str(value)
    return text if _BARE.fullmatch(text) else json.dumps(text, ensure_ascii=False)


def _log_uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        return
    logging.getLogger("slackbot").critical("crashed", exc_info=(kind, error, trace))
