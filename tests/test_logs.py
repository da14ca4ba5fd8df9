"""Log lines: their two formats, what is taken out of them, and who may write at which level."""

from __future__ import annotations

import io
import json
import logging
import sys
from collections.abc import Iterator
from typing import Literal

import pytest

from slackbot import logs

log = logging.getLogger("slackbot.test")


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    """Put back what ``setup`` changes for the whole process."""
    root, own = logging.getLogger(), logging.getLogger("slackbot")
    before = (root.handlers[:], root.level, own.level, sys.excepthook)
    yield
    logging.captureWarnings(capture=False)
    root.handlers[:], sys.excepthook = before[0], before[3]
    root.setLevel(before[1])
    own.setLevel(before[2])


def setup(form: Literal["text", "json"], level: str = "INFO", secrets: tuple[str, ...] = ()) -> io.StringIO:
    """Log into a string."""
    stream = io.StringIO()
    logs.setup(level, form, secrets, stream)
    return stream


def test_text_line() -> None:
    """An event is one line: time, level, name, fields; values with spaces are quoted."""
    stream = setup("text")
    log.info(
        "turn.finished", extra={"turn": 7, "slack_thread": "T1/C1/1.2", "why": 'a "b"\nc', "none": None, "empty": ""}
    )
    (line,) = stream.getvalue().splitlines()
    time, _, rest = line.partition(" ")
    assert time.endswith("+00:00")
    assert rest == (
        "INFO    turn.finished logger=slackbot.test turn=7 slack_thread=T1/C1/1.2 "
        'why="a \\"b\\"\\nc" none=None empty=""'
    )


def test_json_line() -> None:
    """An event is one JSON object; a field cannot take the place of the event's own."""
    stream = setup("json")
    log.info("turn.finished", extra={"turn": 7, "ok": True, "level": "fake", "slack_thread": ("T1", "C1")})
    fields = json.loads(stream.getvalue())
    assert fields.pop("time")
    assert fields == {
        "level": "INFO",
        "event": "turn.finished",
        "logger": "slackbot.test",
        "turn": 7,
        "ok": True,
        "slack_thread": "('T1', 'C1')",
    }


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_message_cannot_fake_a_line(form: Literal["text", "json"]) -> None:
    """Line ends inside a message stay inside its line."""
    stream = setup(form)
    logging.getLogger("library").warning("first\r\n2026-01-01 INFO second")
    assert len(stream.getvalue().splitlines()) == 1


@pytest.mark.parametrize(
    "secret",
    [
        "xoxb-123-abcDEF",
        "xoxp-123-abcDEF",
        "xoxe-1-abcDEF",
        "xoxe.xoxb-1-abcDEF",
        "xapp-1-A123-456-abcdef",
        "xwfp-123-abc",
        "https://hooks.slack.com/actions/T1/2/abc",
        "https://hooks.slack-gov.com/services/T1/B2/abc",
        "my api/key",
    ],
)
@pytest.mark.parametrize("form", ["text", "json"])
def test_redaction(form: Literal["text", "json"], secret: str) -> None:
    """No secret is shown, wherever in a line it stands: message, field, or traceback."""
    stream = setup(form, secrets=("my api/key", "my api", ""))
    log.warning("said %s", secret, extra={"field": secret, "nested": {"token": secret}})
    try:
        raise ValueError(secret)
    except ValueError:
        log.exception("failed", stack_info=True)
    assert secret not in stream.getvalue()
    assert secret.replace("/", "\\/") not in stream.getvalue()
    assert stream.getvalue().count("***") >= 4


def test_redaction_of_one_time_addresses() -> None:
    """A response_url and a Socket Mode ticket are taken out under any host."""
    text = "{'response_url': 'http://127.0.0.1/r/abc', 'a': 1} wss://host/link/?ticket=abc&app_id=A1"
    assert logs.redact(text) == "{'response_url***', 'a': 1} wss://host/link/?ticket=***&app_id=A1"


def test_traceback_in_json() -> None:
    """In JSON a traceback is a field of its line."""
    stream = setup("json")
    fail_and_log()
    assert json.loads(stream.getvalue())["exception"].endswith("ValueError: cause")


def test_traceback_in_text() -> None:
    """In text a traceback stands under its line."""
    stream = setup("text")
    fail_and_log()
    lines = stream.getvalue().splitlines()
    assert "turn.failed" in lines[0]
    assert lines[-1] == "ValueError: cause"


def fail_and_log() -> None:
    """Log an exception with its traceback."""
    try:
        raise ValueError("cause")
    except ValueError:
        log.exception("turn.failed")


def test_libraries_stay_quiet() -> None:
    """Libraries log from WARNING on, whatever LOG_LEVEL says: below that they write bodies and parameters."""
    stream = setup("text", level="DEBUG")
    for name in ("slack_bolt.AsyncApp", "slack_sdk.web.async_client", "httpx", "aiosqlite", "aiohttp.access"):
        logging.getLogger(name).debug("body")
        logging.getLogger(name).info("body")
    log.debug("ours")
    assert [line.split()[2] for line in stream.getvalue().splitlines()] == ["ours"]


def test_level() -> None:
    """LOG_LEVEL holds for our own loggers, and for libraries when it is stricter than WARNING."""
    stream = setup("text", level="ERROR")
    log.warning("ours")
    logging.getLogger("library").warning("theirs")
    logging.getLogger("library").error("theirs.error")
    assert [line.split()[2] for line in stream.getvalue().splitlines()] == ["theirs.error"]


def test_uncaught_exceptions_are_logged() -> None:
    """What nobody caught becomes a log line without secrets; Ctrl-C is no crash."""
    stream = setup("json")
    error = ValueError("xoxb-1-secret")
    sys.excepthook(ValueError, error, None)
    sys.excepthook(KeyboardInterrupt, KeyboardInterrupt(), None)
    fields = json.loads(stream.getvalue())
    assert (fields["level"], fields["event"], fields["exception"]) == ("CRITICAL", "crashed", "ValueError: ***")
