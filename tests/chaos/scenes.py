"""A bot between the simulated services while something is broken, and how to tell that nobody was let down."""

from __future__ import annotations

from tests.chaos.machine import MACHINE  # before the bot, as it puts the clocks in place

# isort: split

import asyncio
import atexit
import io
import json
import logging
import re
import shutil
import sqlite3
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg

from slackbot import errors, logs
from slackbot.demo import SHORTCUTS
from slackbot.simulator.slack import SimMessage
from slackbot.store.migrate import upgrade
from tests.databases import Postgres
from tests.whole_bot import World, bot, world

MARK, WORD = "zebra", "quokka"
"""In every question and in every word of an answer: neither may be in the log."""
WORDS = 60
ANSWER = " ".join(f"{WORD}{number}" for number in range(WORDS))
PATIENCE = 1_500.0
"""Longer than the bot goes on trying to say how a turn ended."""
SOON = 150.0
"""A question after the trouble is answered by then."""
STOP, RETRY = "stop_turn", "retry_turn"
ROUTINE = {
    "button.pressed", "errand.failed", "event.ignored", "event.redelivered", "http.listening", "message.accepted",
    "message.deleted", "message.ignored", "slack.team", "socket.connected", "socket.disconnect", "socket.ended",
    "stop.began", "turn.finished", "turn.started",
}  # fmt: skip
"""What the log says on any day."""


def _kinds(kind: type[errors.SlackbotError]) -> set[str]:
    return {kind.sentence}.union(*map(_kinds, kind.__subclasses__()))


@dataclass(slots=True)
class Question:
    """A message to the bot: who waits for what where. ``root`` is empty in a direct message without threads."""

    mark: str
    channel: str
    ts: str
    root: str
    user: str
    answer: str = ANSWER


@dataclass(frozen=True, slots=True)
class Sight:
    """What the thread of a question shows."""

    words: list[str]
    sentences: list[str]
    buttons: Counter[str]
    messages: int
    files: int
    status: str
    waits: bool
    """Whether the question bears the mark of those who wait."""
    expected: list[str]

    @property
    def gist(self) -> str:
        """In a few words, for the table."""
        if self.words == self.expected:
            shown = "the whole answer"
        elif self.words and self.words == self.expected[: len(self.words)]:
            shown = f"{len(self.words)} of {len(self.expected)} words"
        elif self.words[-len(self.expected) :] == self.expected:
            shown = f"{len(self.words) - len(self.expected)} words, then the whole answer"
        else:
            shown = "WRONG WORDS" if self.words else ""
        said = [f"“{sentence}”" for sentence in self.sentences]
        files = [f"{self.files} file"] if self.files else []
        status = [f"status “{self.status}”"] if self.status else []
        waits = ["⏳"] if self.waits else []
        pressed = ["[Retry]"] if self.buttons[RETRY] else []
        return " + ".join(filter(None, [shown, *files, *said, *pressed, *status, *waits])) or "nothing"

    @property
    def whole(self) -> bool:
        return self.words == self.expected and not self.buttons[RETRY]

    def faults(self, bears: frozenset[str]) -> list[str]:
        """What is wrong with it once all is over, but for what it ``bears``."""
        found = []
        again = "repeats" in bears and self.words[-len(self.expected) :] == self.expected
        if self.words != self.expected[: len(self.words)] and "repeats" not in bears:
            found.append("words missing, repeated or out of order")
        if self.buttons[STOP] and not bears - {"mark"}:
            found.append("a Stop button is left")
        if self.waits and "mark" not in bears:
            found.append("an hourglass is left")
        if self.status:
            found.append("a status is left")
        if not (self.whole or again or "silence" in bears):
            if not (self.buttons[RETRY] and self.sentences):
                found.append("neither whole nor a sentence with Retry")
            if self.buttons[RETRY] > 1:
                found.append("more than one Retry")
        return found


@dataclass
class Scene:
    """A bot between the simulated services."""

    both: World
    database_url: str
    log: io.StringIO
    questions: list[Question] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """What else people minded."""

    # --- deeds ---

    async def ask(
        self,
        text: str = f"/say {ANSWER}",
        *,
        user: str = "ada",
        channel: str = "general",
        under: Question | None = None,
        root: str | None = None,
        answer: str = ANSWER,
        **more: Any,
    ) -> Question:
        """Somebody asks the bot."""
        slack = self.both.slack
        mark = f"{MARK}{len(self.questions) + 1}"
        place = under.channel if under else slack.channels.get(channel, channel)
        root = under.root if under else root
        words = f"<@{slack.bot_user_id}> {mark} {text}"
        ts = await slack.say(slack.users[user], place, words, thread_ts=root or None, **more)
        question = Question(mark, place, ts, ts if root is None else root, user, answer)
        self.questions.append(question)
        return question

    async def press(self, question: Question, action_id: str) -> None:
        """Who asked presses a button in the thread."""
        slack = self.both.slack
        for message in self.ours(question.channel, question.root or None):
            for button in buttons(message):
                if button["action_id"] == action_id:
                    value = button.get("value")
                    await slack.press(slack.users[question.user], question.channel, message.ts, action_id, value)
                    return
        raise LookupError(action_id)

    # --- looking ---

    def ours(self, channel: str, thread: str | None = None) -> list[SimMessage]:
        """The bot's messages there."""
        slack = self.both.slack
        return [said for said in slack.messages(channel, thread) if said.user == slack.bot_user_id]

    def sight(self, question: Question) -> Sight:
        """What the thread shows now, below the question and above the next one."""
        slack = self.both.slack
        ours = self.ours(question.channel, question.root or None)
        if [other.root for other in self.questions].count(question.root) > 1:
            ours = [said for said in ours if self._turn_of(said) == question.ts]
        words = [word for said in ours for word in re.findall(rf"{WORD}\d+", said.shown)]
        sentences = [line for said in ours for line in sentences_of(said)]
        pressed = Counter(button["action_id"] for said in ours for button in buttons(said))
        files = sum(len(said.files) for said in ours)
        expected = re.findall(rf"{WORD}\d+", question.answer)
        if not expected and any(agents_words(said) for said in ours):
            words = expected = ["something"]
        status = slack.status(question.channel, question.root)
        waits = any(said.ts == question.ts and said.reactions for said in slack.messages(question.channel))
        return Sight(words, sentences, pressed, len(ours), files, status, waits, expected)

    def _turn_of(self, said: SimMessage) -> str:
        turn = ((said.metadata or {}).get("event_payload") or {}).get("turn_id")
        rows = self.sql(f"SELECT ts FROM turns WHERE id = {int(turn)}") if turn is not None else []
        return str(rows[0][0]) if rows else ""

    def asked(self, question: Question) -> int:
        """How often Noxus was given the question."""
        sent = [
            request.body["content"]
            for request in self.both.noxus.requests
            if request.endpoint in {"stream", "chat"} and isinstance(request.body, dict)
        ]
        return sum(bool(re.search(rf"{question.mark}\b(?!.*{MARK})", text, re.DOTALL)) for text in sent)

    def submitted(self, question: Question) -> int:
        """How often Noxus really took it: a run began."""
        return sum(
            bool(re.search(rf"{question.mark}\b(?!.*{MARK})", text, re.DOTALL)) for text in self.both.noxus.asked
        )

    def sql(self, statement: str) -> list[tuple[Any, ...]]:
        """Rows of the bot's database."""
        try:
            if not self.database_url.startswith("sqlite"):
                with psycopg.connect(self.database_url, options="-c lock_timeout=50") as server:
                    return server.execute(statement.encode()).fetchall()
            with closing(sqlite3.connect(self.database_url.removeprefix("sqlite:///"), timeout=0.0)) as file:
                return file.execute(statement).fetchall()
        except (sqlite3.OperationalError, psycopg.OperationalError):
            return [("locked",)]

    def settled(self) -> bool:
        """Whether every accepted question has ended."""
        states = Counter(str(state) for (state,) in self.sql("SELECT state FROM turns WHERE kind = 'ask'"))
        return states.total() >= len(self.questions) and not states["queued"] + states["running"] + states["locked"]

    async def until(self, look: Callable[[], object], patience: float = PATIENCE) -> bool:
        """Wait, in this machine's time, until ``look`` finds something."""
        deadline = MACHINE.now + patience
        while not look():
            if MACHINE.now > deadline:
                return False
            await asyncio.sleep(0.25)
        return True

    def events(self) -> Counter[str]:
        """What the log says that it does not always say."""
        return Counter(str(line["event"])[:60] for line in self.lines() if line["event"] not in ROUTINE)

    def lines(self) -> list[dict[str, Any]]:
        """The log, without what the simulated services say to each other in the same process."""
        lines = [json.loads(line) for line in self.log.getvalue().splitlines()]
        return [line for line in lines if not line["logger"].startswith("aiohttp")]

    def leaks(self) -> list[str]:
        """What must not be in the log."""
        text, slack = json.dumps(self.lines()), self.both.slack
        secrets = (slack.bot_token, slack.app_token, slack.signing_secret, self.both.noxus.api_key)
        words = {"a message's words": MARK, "an answer's words": WORD, "a traceback": "Traceback"}
        found = [name for name, word in words.items() if word in text]
        return [*found, *(["a secret"] if any(secret in text for secret in secrets) else [])]


def buttons(message: SimMessage) -> list[dict[str, Any]]:
    """The buttons of a message."""
    return [button for block in message.blocks if block["type"] == "actions" for button in block["elements"]]


def agents_words(message: SimMessage) -> str:
    """What a message says in the agent's name."""
    return "".join(block["text"] for block in message.blocks if block["type"] == "markdown")


def sentences_of(message: SimMessage) -> list[str]:
    """What a message says besides the agent's words."""
    found = []
    for block in message.blocks:
        match block:
            case {"text": {"text": text}}:
                found.append(str(text))
            case {"type": "context", "elements": elements}:
                found += [str(element.get("text", "")) for element in elements]
    if not message.blocks:
        found += [line for line in message.text.splitlines() if line.strip() and WORD not in line]
    return found


ALLOWED = _kinds(errors.SlackbotError)
"""Every sentence about a failure."""


# --- the bot ---------------------------------------------------------------------------------------------------------


def port(url: str) -> int:
    """Where a simulated service listens."""
    return urlsplit(url).port or 0


_TEMPLATE: list[Path] = []


def template() -> Path:
    """A migrated database to copy."""
    if not _TEMPLATE:
        folder = Path(tempfile.mkdtemp(prefix="slackbot-faults-", dir=_quick_disk()))
        upgrade(f"sqlite:///{folder / 'bot.db'}")
        _TEMPLATE.append(folder / "bot.db")
    return _TEMPLATE[0]


_SERVER: list[Postgres] = []


def server() -> Postgres:
    """A PostgreSQL for as long as this process lives."""
    if not _SERVER:
        folder = Path(tempfile.mkdtemp(prefix="slackbot-pg-"))
        folder.chmod(0o755)
        _SERVER.append(Postgres(folder))
        atexit.register(_SERVER[0].remove)
    return _SERVER[0]


def _quick_disk() -> str | None:
    return "/dev/shm" if Path("/dev/shm").is_dir() else None


@asynccontextmanager
async def scene(*, postgresql: bool = False, **settings: str) -> AsyncIterator[tuple[Scene, Callable[[], Any]]]:
    """A stage without a bot, and what starts one on it."""
    with tempfile.TemporaryDirectory(prefix="slackbot-faults-", dir=_quick_disk()) as name:
        database_url = f"sqlite:///{name}/bot.db"
        if postgresql:
            database_url = server().create(Path(name).name, template="template")
        else:
            shutil.copy(template(), Path(name) / "bot.db")
        log = io.StringIO()
        logs.setup("INFO", "json", stream=log)
        logging.getLogger("asyncio").setLevel(logging.ERROR)
        # What was not acked comes again sooner than from Slack where time is real.
        async with world(latency=0.02, **({"retry_delays": (1.0, 15.0, 30.0)} if postgresql else {})) as both:
            both.slack.shortcuts = SHORTCUTS
            ports = {"slack": port(both.slack.api_url), "noxus": port(both.noxus.url)}
            environ = both.environ(
                database_url,
                SLACKBOT_HANDOVER_CHANNEL=both.slack.channels["support"],
                **{name: value.format(**ports) for name, value in settings.items()},
            )
            yield Scene(both, database_url, log), lambda: bot(environ)
