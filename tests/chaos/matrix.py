"""Where which trouble strikes, for how long, and what people do meanwhile: the rows of the table."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.chaos import acts
from tests.chaos.acts import Play
from tests.chaos.documented import ERRORS, MESSAGE_IS_STUCK, NOTHING_CAN_BE_SAID, PASSING
from tests.chaos.troubles import (
    Arm,
    after_a_break,
    deleted,
    download,
    fill_disk,
    jump,
    jump_of_postgresql,
    lock_database,
    lock_postgresql,
    network,
    noxus,
    refuse_writes,
    slack,
    slow_database,
    soon,
    stop_postgresql,
)

ONCE, WHILE, LONG = "once", "20 s", "5 min"
LEASE = "35 s"
"""Longer than a lease."""
SECONDS = {ONCE: 0.0, WHILE: 20.0, LEASE: 35.0, LONG: 300.0}


@dataclass(frozen=True)
class Cell:
    """One trouble somewhere."""

    where: str
    trouble: str
    lasts: str
    play: Play
    arm: Arm
    before: bool = False
    """Whether it is in force when the bot starts."""
    bears: frozenset[str] = frozenset()
    """What nobody can help: ``silence`` where nothing can be said, ``stop`` and ``repeats`` where nothing can be
    changed, or nobody may look what there is to change, so that a Stop button stays, or words stand there again
    below, ``mark`` where an hourglass stays."""
    settings: dict[str, str] = field(default_factory=dict)
    postgresql: bool = False
    bots: int = 1
    whole: bool = False
    """Whether nothing less than the whole answer will do, whoever offers Retry."""

    def __str__(self) -> str:
        return f"{self.where} | {self.trouble} | {self.lasts}"


_OF_SLACK: dict[str, dict[str, Any]] = {
    "HTTP 500": {"status": 500},
    "HTTP 503, yet done": {"status": 503, "done": True},
    "429, Retry-After 3": {"error": "ratelimited", "retry_after": 3},
    "429, Retry-After 0": {"error": "ratelimited", "retry_after": 0},
    "429 without Retry-After": {"status": 429, "body": '{"ok":false,"error":"ratelimited"}'},
    "no answer": {"delay": 60.0, "status": 504},
    "no answer, yet done": {"delay": 60.0, "done": True},
    "bytes trickle": {"pace": 2.0},
    "reset before": {"drop": "before"},
    "reset after": {"drop": "after"},
    "cut answer": {"drop": "mid"},
    "an HTML page": {"body": "<html><body>Gateway</body></html>", "content_type": "text/html"},
    "garbage": {"body": "\x00\x01{{{", "content_type": "application/octet-stream"},
    "no UTF-8": {"body": b'{"ok":true,"ts":"\xff"}'},
    "truncated JSON": {"body": '{"ok":true,"ts":"17'},
    "a JSON list": {"body": "[1, 2]"},
}
_OF_DOWNLOADS: dict[str, dict[str, Any]] = {
    "HTTP 503": {"status": 503},
    "429, Retry-After 3": {"status": 429, "retry_after": 3},
    "the login page": {"login": True},
    "the login page, by a redirect": {"location": "https://slack.com/signin"},
    "no answer": {"delay": 200.0},
    "bytes trickle": {"pace": 90.0},
    "reset in the middle": {"cut": 100},
    "too few bytes": {"short": 10},
}
_OF_UPLOADS = ("HTTP 500", "no answer", "reset before", "reset after")
_OF_NOXUS: dict[str, dict[str, Any]] = {
    "HTTP 500": {"status": 500},
    "HTTP 503, yet done": {"status": 503, "done": True},
    "HTTP 502, a page": {"status": 502, "body": "<html>Bad Gateway</html>", "content_type": "text/html"},
    "429, Retry-After 3": {"status": 429, "retry_after": 3},
    "429 without Retry-After": {"status": 429},
    "no answer": {"delay": 200.0},
    "bytes trickle": {"pace": 0.5},
    "reset before": {"drop": "before"},
    "reset after": {"drop": "after"},
    "only the head": {"drop": "headers"},
    "cut answer": {"drop": "mid", "frames": 12},
    "an HTML page": {"status": 200, "body": "<html>Welcome</html>", "content_type": "text/html"},
    "garbage": {"status": 200, "body": "\x00\x01{{{", "content_type": "application/octet-stream"},
    "truncated JSON": {"status": 200, "body": '{"id": "0b1f'},
    "a JSON list": {"status": 200, "body": "[1, 2]"},
    "a garbage stream": {"status": 200, "body": "data: {{{\n\nfoo\n\n", "content_type": "text/event-stream"},
    "an empty stream": {"status": 200, "body": "", "content_type": "text/event-stream"},
    **{f"HTTP {status}": {"status": status} for status in (302, 400, 401, 403, 404, 408, 409, 413, 422, 501)},
}
PLAYS: dict[str, Play] = {
    "chat.postMessage": acts.ask,
    "chat.update": acts.ask,
    "assistant.threads.setStatus": acts.ask,
    "conversations.replies": acts.reply,
    "conversations.history": acts.flat,
    "conversations.info": acts.reply,
    "users.info": acts.reply,
    "bots.info": acts.integration,
    "reactions.add": acts.two,
    "reactions.remove": acts.two,
    "chat.delete": acts.silence,
    "files.getUploadURLExternal": acts.file_out,
    "upload": acts.file_out,
    "files.completeUploadExternal": acts.file_out,
    "files.info": acts.file_in,
    "chat.getPermalink": acts.human,
    "conversations.members": acts.human,
    "usergroups.users.list": acts.human,
    "chat.postEphemeral": acts.whisper,
    "agents.sessions.setStatus": acts.human,
}
"""Methods of Slack's that the bot calls, and what makes it call them."""
_SETTINGS: dict[str, dict[str, str]] = {
    "conversations.history": {"SLACKBOT_DM_MODE": "flat"},
    "usergroups.users.list": {"SLACKBOT_OPERATOR_GROUP": "S0OPERATOR"},
}
"""What some of them need to be called at all."""
_SAYS = frozenset({"chat.postMessage", "chat.update"})
ENDPOINTS: dict[str, tuple[Play, Callable[[Arm], Arm]]] = {
    "create": (acts.ask, lambda arm: arm),
    "stream": (acts.ask, lambda arm: arm),
    "agent": (acts.ask, lambda arm: arm),
    "events": (acts.ask, after_a_break),
    "get": (acts.ask, after_a_break),
    "download": (acts.file_out, lambda arm: arm),
}


def cells() -> Iterator[Cell]:
    """All of them, in the order of the table."""
    for method, play in PLAYS.items():
        for kind in _OF_UPLOADS if method == "upload" else tuple(_OF_SLACK):
            for lasts in (ONCE, WHILE, LONG) if method in _SAYS else (ONCE, LONG):
                arm = slack(method, **_OF_SLACK[kind])
                yield Cell(f"Slack {method}", kind, lasts, play, arm, settings=_SETTINGS.get(method, {}))
    for kind, fault in _OF_DOWNLOADS.items():
        for lasts in (ONCE, LONG):
            yield Cell("Slack, a file's bytes", kind, lasts, acts.file_in, download(**fault))
    for kind, fault in _OF_SLACK.items():
        for lasts in (WHILE, LONG):
            yield Cell(
                "Slack apps.connections.open", kind, lasts, acts.reconnect, slack("apps.connections.open", **fault)
            )
            yield Cell("Slack, all of it", kind, lasts, acts.ask, slack("*", **fault))
    yield from _of_the_start()
    for method, codes in ERRORS.items():
        if method != "auth.test":
            yield from _refusals(method, codes)
    yield from _of_noxus()
    yield from _of_the_machine()
    yield from _of_postgresql()


def _of_the_start() -> Iterator[Cell]:
    for method in ("auth.test", "apps.connections.open"):
        refusals = {f"error {code}": {"error": code} for code in ERRORS[method]}
        for kind, fault in {**_OF_SLACK, **refusals}.items():
            yield Cell(f"Slack {method}, at the start", kind, WHILE, acts.ask, slack(method, **fault), before=True)


def _of_noxus() -> Iterator[Cell]:
    for path, (play, wrap) in ENDPOINTS.items():
        for kind, fault in _OF_NOXUS.items():
            for lasts in (ONCE, LONG):
                yield Cell(f"Noxus {path}", kind, lasts, play, wrap(noxus(path, **fault)))
    for kind in ("HTTP 500", "no answer", "reset before", "429, Retry-After 3"):
        for where, play in (("all of it", acts.ask), ("while many ask", acts.crowd)):
            yield Cell(f"Noxus, {where}", kind, LONG, play, noxus("*", **_OF_NOXUS[kind]))


def _refusals(method: str, codes: tuple[str, ...]) -> Iterator[Cell]:
    play = acts.reconnect if method == "apps.connections.open" else PLAYS.get(method, acts.ask)
    for code in codes:
        arm = deleted if (method, code) == ("chat.update", "message_not_found") else slack(method, error=code)
        for lasts in (ONCE, LONG) if method in _SAYS else (LONG,):
            bears, settings = _unavoidable(method, code), _SETTINGS.get(method, {})
            yield Cell(f"Slack {method}", f"error {code}", lasts, play, arm, bears=bears, settings=settings)


def _unavoidable(method: str, code: str) -> frozenset[str]:
    found = {"silence"} if method in _SAYS and code in NOTHING_CAN_BE_SAID else set()
    if method in {"chat.update", "chat.delete", "conversations.history"} and code not in PASSING:
        found.add("stop")
    if method == "reactions.remove" and code not in PASSING:
        found.add("mark")
    if method == "chat.update" and code in MESSAGE_IS_STUCK:
        found.add("repeats")
    return frozenset(found)


def _of_the_machine() -> Iterator[Cell]:
    names = {"SLACK_API_URL": "http://slack.test:{slack}/api/", "NOXUS_BACKEND_URL": "http://noxus.test:{noxus}"}
    for side in ("Slack", "Noxus"):
        for lasts in (WHILE, LONG):
            yield Cell(f"{side}, all of it", "connection refused", lasts, acts.ask, network(side, "unreachable"))
            yield Cell(f"{side}, all of it", "no connection comes", lasts, acts.ask, network(side, "silent"))
            yield Cell(f"{side}, while many ask", "connection refused", lasts, acts.crowd, network(side, "unreachable"))
            for kind, state in (("name not found", "unknown"), ("no name service", "unanswered")):
                yield Cell(f"{side}, all of it", kind, lasts, acts.ask, network(side, state), settings=names)
        arm = network(side, "unanswered")
        yield Cell(f"{side}, while many ask", "no name service", LONG, acts.crowd, arm, settings=names)
    for arm, state in ((stop_postgresql, "gone"), (lock_postgresql, "locked")):
        yield Cell("PostgreSQL", f"{state} before the question", LEASE, acts.ask, arm, postgresql=True, whole=True)
        yield Cell("PostgreSQL", f"{state} during the answer", LEASE, acts.ask, soon(arm), postgresql=True, whole=True)
    for play in (acts.ask, acts.file_in):
        yield Cell("the database", "locked", WHILE, play, lock_database)
        yield Cell("the database", "a quarter of a second a statement", WHILE, play, slow_database)
        yield Cell("the disk", "full", WHILE, play, fill_disk)
    for hours in (1, 30, -1, -30):
        for play in (acts.ask, acts.two, acts.silence):
            yield Cell("the clock", f"{hours:+d} hours", ONCE, play, jump(hours))


def _of_postgresql() -> Iterator[Cell]:
    for name, what, lasts, play, arm, bots in (
        ("gone", " of two bots", LEASE, acts.shared, soon(stop_postgresql, acts.everywhere), 2),
        ("for reading only", " before the question", LEASE, acts.ask, refuse_writes, 1),
        ("for reading only", " during the answer", LEASE, acts.ask, soon(refuse_writes), 1),
        ("a quarter of a second a statement", "", WHILE, acts.two, slow_database, 1),
    ):
        yield Cell("PostgreSQL", name + what, lasts, play, arm, postgresql=True, bots=bots, whole=True)
    for hours in (30, -30):
        for whose, arm in (("the bot's", jump(hours)), ("the server's", soon(jump_of_postgresql(hours)))):
            yield Cell("PostgreSQL", f"{whose} clock, {hours:+d} hours", ONCE, acts.ask, arm, postgresql=True)


SAMPLE = (
    ("Slack chat.postMessage", "reset after", ONCE),
    ("Slack chat.postMessage", "HTTP 503, yet done", WHILE),
    ("Slack chat.postMessage", "429 without Retry-After", ONCE),
    ("Slack chat.postMessage", "error is_archived", LONG),
    ("Slack chat.postMessage", "error invalid_blocks", LONG),
    ("Slack chat.update", "no answer", WHILE),
    ("Slack chat.update", "error message_not_found", ONCE),
    ("Slack chat.update", "error streaming_state_conflict", ONCE),
    ("Slack assistant.threads.setStatus", "garbage", LONG),
    ("Slack conversations.replies", "HTTP 500", LONG),
    ("Slack apps.connections.open", "an HTML page", WHILE),
    ("Slack, all of it", "connection refused", LONG),
    ("Noxus create", "HTTP 500", ONCE),
    ("Noxus stream", "no answer", ONCE),
    ("Noxus stream", "reset before", ONCE),
    ("Noxus stream", "cut answer", ONCE),
    ("Noxus stream", "bytes trickle", LONG),
    ("Noxus download", "cut answer", LONG),
    ("Noxus, while many ask", "HTTP 500", LONG),
    ("Noxus, all of it", "connection refused", LONG),
    ("Noxus, all of it", "name not found", WHILE),
    ("Noxus, while many ask", "no name service", LONG),
    ("the disk", "full", WHILE),
    ("the clock", "+30 hours", ONCE),
    ("the clock", "-30 hours", ONCE),
)
"""A few of each kind, for the test run."""
