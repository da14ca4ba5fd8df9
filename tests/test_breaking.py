"""The bot as a process of its own, between a Slack and a Noxus that are processes too, while things break around it."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
import resource
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest

from tests.databases import Raw

ROOT = Path(__file__).parent.parent
PATIENCE = 40.0
MARK = "zebra"
"""In every question, so that one that went astray into a log line is found there."""
INTERRUPTED = "interrupted"
RETRY, STOP = "[Retry]", "[Stop]"

_numbers = count(1)
_Found = TypeVar("_Found")


def until(look: Callable[[], _Found], what: str, patience: float = PATIENCE) -> _Found:
    """What ``look`` finds, as soon as it finds something."""
    deadline = time.monotonic() + patience
    while not (found := look()):
        assert time.monotonic() < deadline, f"waited in vain: {what}"
        time.sleep(0.05)
    return found


def start(*module: str, **more: Any) -> subprocess.Popen[bytes]:
    environ = {**os.environ, "PYTHONPATH": str(ROOT), **more.pop("environ", {})}
    return subprocess.Popen([sys.executable, "-m", *module], env=environ, **more)


def end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    if process.stdout is not None:
        process.stdout.close()


@dataclass
class World:
    """The two simulated services, each in a process of its own, and what they say about themselves."""

    slack: dict[str, Any]
    noxus: dict[str, Any]
    http: httpx.Client

    def slack_does(self, deed: str, **arguments: Any) -> dict[str, Any]:
        answer = self.http.post(f"{self.slack['page_url']}sim/{deed}", json=arguments)
        assert answer.status_code == 200, answer.text
        done: dict[str, Any] = answer.json()
        return done

    def noxus_fails(self, **fault: Any) -> None:
        assert self.http.post(f"{self.noxus['url']}/sim/faults", json=fault).status_code == 200

    def asked(self) -> Counter[str]:
        """How often each question was submitted to Noxus, by its mark."""
        requests = self.http.get(f"{self.noxus['url']}/sim/requests").json()
        sent = [request["body"]["content"] for request in requests if request["endpoint"] in {"stream", "chat"}]
        return Counter(re.findall(rf"{MARK}\d+", text)[-1] for text in sent)


@dataclass
class Question:
    """A message to the bot, in a thread of its own or in another one's."""

    world: World
    mark: str
    channel: str
    ts: str
    root: str

    def replies(self) -> list[str]:
        """What the bot says in the thread to everybody: text, sentences and buttons."""
        state = self.world.http.get(f"{self.world.slack['page_url']}page/state").json()
        return [
            shown(message)
            for message in state["messages"]
            if (message["channel"], message["thread_ts"]) == (self.channel, self.root)
            and message["user"] == self.world.slack["bot_user_id"]
            and not (message["deleted"] or message["ephemeral_to"])
        ]

    def press_retry(self) -> None:
        state = self.world.http.get(f"{self.world.slack['page_url']}page/state").json()
        [(ts, button)] = [
            (message["ts"], button)
            for message in state["messages"]
            if (message["channel"], message["thread_ts"]) == (self.channel, self.root)
            for block in message["blocks"]
            if block["type"] == "actions"
            for button in block["elements"]
            if button["action_id"] == "retry_turn"
        ]
        ada = self.world.slack["users"]["ada"]
        self.world.slack_does(
            "press", user=ada, channel=self.channel, ts=ts, action_id=button["action_id"], value=button["value"]
        )


def shown(message: dict[str, Any]) -> str:
    lines = []
    for block in message["blocks"]:
        match block:
            case {"type": "markdown", "text": text}:
                lines.append(text)
            case {"type": "actions", "elements": buttons}:
                lines += [f"[{button['text']['text']}]" for button in buttons]
            case {"type": "context_actions"}:
                pass  # thumbs
            case {"elements": elements}:
                lines += [element.get("text", "") for element in elements]
            case {"text": {"text": text}}:
                lines.append(text)
    return "\n".join(lines) or str(message["text"])


@dataclass
class Bot:
    """The bot under test; started again after each of its deaths."""

    world: World
    database_url: str
    folder: Path
    settings: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        connected = len(self.events("socket.connected"))
        environ = {
            "SLACK_BOT_TOKEN": self.world.slack["bot_token"],
            "SLACK_APP_TOKEN": self.world.slack["app_token"],
            "SLACK_API_URL": self.world.slack["api_url"],
            "SLACKBOT_OPS_PORT": "0",
            "NOXUS_API_KEY": self.world.noxus["api_key"],
            "NOXUS_BACKEND_URL": self.world.noxus["url"],
            "NOXUS_AGENT_ID": self.world.noxus["agent_id"],
            "DATABASE_URL": self.database_url,
            "LOG_FORMAT": "json",
            **self.settings,
        }
        with (self.folder / "log").open("ab") as log:
            self.process = start(
                "slackbot", "run", environ=environ, cwd=self.folder, stdout=subprocess.DEVNULL, stderr=log
            )
        if "SLACKBOT_HTTP_PORT" not in self.settings:
            until(lambda: len(self.events("socket.connected")) > connected, "the bot is connected")

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def send(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def ended(self) -> int:
        """Its exit code, once it has ended."""
        assert self.process is not None
        return self.process.wait(PATIENCE)

    def die(self) -> None:
        self.send(signal.SIGKILL)
        self.ended()

    def log(self) -> str:
        path = self.folder / "log"
        return path.read_text(encoding="utf-8") if path.exists() else ""

    def events(self, name: str) -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in self.log().splitlines() if line.endswith("}")]
        return [line for line in lines if line["event"] == name]

    def ask(self, text: str, *, user: str = "ada", channel: str = "general", under: Question | None = None) -> Question:
        mark = f"{MARK}{next(_numbers)}"
        place = under.channel if under else self.world.slack["channels"][channel]
        words = f"<@{self.world.slack['bot_user_id']}> {mark} {text}"
        thread = {"thread_ts": under.root} if under else {}
        said = self.world.slack_does("say", user=self.world.slack["users"][user], channel=place, text=words, **thread)
        return Question(self.world, mark, place, said["ts"], under.root if under else said["ts"])

    def states(self) -> Counter[str]:
        sql = Raw(self.database_url)
        try:
            return Counter(str(state) for (state,) in sql("SELECT state FROM turns"))
        finally:
            sql.close()

    def settled(self, turns: int) -> Counter[str]:
        """The states of ``turns`` turns, once all of them have ended."""

        def look() -> Counter[str] | None:
            states = self.states()
            return states if states.total() == turns and not states["queued"] + states["running"] else None

        found = until(look, f"{turns} turns have ended")
        assert found is not None
        return found


@pytest.fixture
def world() -> Iterator[World]:
    # Not shared: an event that no bot acked would be delivered again, to the next test's.
    processes = [start(f"slackbot.simulator.{name}", stdout=subprocess.PIPE) for name in ("slack", "noxus")]
    try:
        with httpx.Client(trust_env=False, timeout=30) as http:
            slack, noxus = [json.loads(process.stdout.readline()) for process in processes if process.stdout]
            yield World(slack, noxus, http)
    finally:
        for process in processes:
            end(process)


@pytest.fixture
def bot(world: World, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bot]:
    """A bot on SQLite, or on the test's ``database_url``; whatever happens to it, its log must be fit to be shown."""
    own = f"sqlite:///{tmp_path / 'bot.db'}"
    bot = Bot(
        world, request.getfixturevalue("database_url") if "database_url" in request.fixturenames else own, tmp_path
    )
    try:
        yield bot
    finally:
        if bot.process is not None:
            end(bot.process)
    for line in bot.log().splitlines():
        assert json.loads(line)["event"]
    secrets = [world.slack[name] for name in ("bot_token", "app_token", "signing_secret")]
    for word in (MARK, "Traceback", world.noxus["api_key"], *secrets):
        assert word not in bot.log()


# --- deaths and stops ------------------------------------------------------------------------------------------------


def test_a_killed_process_is_gone_on_for(world: World, bot: Bot) -> None:
    """After kill -9 before the first text, mid-answer and at a rollover the next process finishes each answer in the
    same messages, whole and without a word twice, and asks nothing again."""
    bot.start()
    silent = bot.ask("/wait 5", channel="random")
    growing = bot.ask("/words 60 rate=12", channel="partners")
    rolling = bot.ask("/long 12000 rate=3000")
    questions = (silent, growing, rolling)
    until(lambda: world.asked().total() == 3 and growing.replies() and len(rolling.replies()) > 1, "the moment to die")
    bot.die()
    begun = growing.replies()[0].removesuffix(STOP).split()
    bot.start()
    assert bot.settled(3) == Counter(done=3)
    assert [len(question.replies()) for question in questions] == [1, 1, 2]
    assert "message 1 of this conversation" in silent.replies()[0]
    words = growing.replies()[0].split()
    assert (len(words), words[: len(begun)]) == (60, begun)
    sections = re.findall(r"Section (\d+)", "".join(rolling.replies()))
    assert sections == [str(number + 1) for number in range(len(sections))]
    assert len(sections) > 10
    assert not any(sign in reply for question in questions for reply in question.replies() for sign in (STOP, RETRY))
    assert [world.asked()[question.mark] for question in questions] == [1, 1, 1]


def test_what_nobody_can_know_is_said_and_not_asked_again(world: World, bot: Bot) -> None:
    """A process that dies before it is known that Noxus has the message: a sentence, and only Retry asks again."""
    world.noxus_fails(path="stream", delay=30.0)
    bot.start()
    question = bot.ask("/say at last")
    until(lambda: world.asked().total(), "the message is under way")
    bot.die()
    bot.start()
    assert bot.settled(1) == Counter(failed=1)
    [sentence] = question.replies()
    assert INTERRUPTED in sentence
    assert sentence.endswith(RETRY)
    assert world.asked()[question.mark] == 1
    question.press_retry()
    until(lambda: bot.states()["done"], "the second try is done")
    assert question.replies() == ["at last"]


def test_deaths_in_a_row_lose_nothing_and_ask_nothing_twice(world: World, bot: Bot) -> None:
    """Killed again and again at any moment, each question still ends in an answer or a sentence with Retry."""
    bot.start()
    questions = []
    for pause, channel in ((0.0, "general"), (0.2, "random")):
        questions += [bot.ask(text, channel=channel) for text in ("/say fine", "/words 20 rate=40")]
        time.sleep(pause)
        bot.die()
        bot.start()
    bot.settled(len(questions))
    for question in questions:
        assert [reply for reply in question.replies() if reply], question
    assert max(world.asked()[question.mark] for question in questions) == 1


def test_a_second_signal_hands_running_answers_over_at_once(world: World, bot: Bot) -> None:
    """SIGTERM waits for a running answer, a second one does not: it stays as far as it is, and the next process goes on
    with it in the same message; what waits, waits."""
    bot.start()
    question = bot.ask("/words 120 rate=20", channel="partners")
    until(question.replies, "the answer grows")
    bot.send(signal.SIGTERM)
    until(lambda: bot.events("stop.began"), "the bot has heard the signal")
    late = bot.ask("/say late", channel="random")
    until(lambda: bot.states()["queued"], "the late question is stored")
    bot.send(signal.SIGTERM)
    assert bot.ended() == 0
    [begun] = question.replies()
    assert RETRY not in begun
    assert bot.states() == Counter(running=1, queued=1)
    bot.start()
    assert bot.settled(2) == Counter(done=2)
    [answer] = question.replies()
    assert len(answer.split()) == 120
    assert answer.startswith(begun.removesuffix(STOP).strip())
    assert late.replies() == ["late"]
    assert world.asked()[late.mark] == world.asked()[question.mark] == 1


# --- Slack -----------------------------------------------------------------------------------------------------------


def test_a_flood_is_answered_or_refused_in_words_in_order_and_once(world: World, bot: Bot, database_url: str) -> None:
    """18 messages in 6 threads by 3 people within a second: the allowed ones are answered, the others told why."""
    bot.settings["SLACKBOT_TURNS_PER_USER_PER_MINUTE"] = "5"
    bot.start()
    places = ("general", "random", "partners")
    roots = [bot.ask("/say 0", user=("ada", "ben")[n % 2], channel=places[n % 3]) for n in range(6)]
    until(lambda: bot.states().total() == len(roots), "the threads have begun")
    questions = [*roots]
    for n in (1, 2):
        questions += [bot.ask(f"/say {n}", user=("ada", "ben", "olga")[n], under=root) for root in roots]
    assert bot.settled(18) == Counter(done=18)
    replies = [root.replies() for root in roots]
    assert list(map(len, replies)) == [3] * 6
    answers = [[reply for reply in thread if reply.isdigit()] for thread in replies]
    assert sum(map(len, answers)) == 13
    assert all(answered == sorted(answered) for answered in answers)
    refusals = [reply for thread in replies for reply in thread if not reply.isdigit()]
    assert all("a lot of questions" in refusal for refusal in refusals)
    assert sorted(world.asked()[question.mark] for question in questions) == [0] * 5 + [1] * 13


def test_lost_connections_lose_no_message(world: World, bot: Bot) -> None:
    """Sockets that are closed or cut while messages come in cost time, but no message and no second answer."""
    bot.start()
    questions = []
    for how in ("abort", "refresh_requested", "abort"):
        questions.append(bot.ask("/say before", channel="random"))
        world.slack_does("disconnect", reason=how)
        questions.append(bot.ask("/say after", channel="partners"))
    assert bot.settled(len(questions)) == Counter(done=len(questions))
    assert [question.replies() for question in questions] == [["before"], ["after"]] * 3
    assert [world.asked()[question.mark] for question in questions] == [1] * 6


def test_slack_in_trouble_costs_time_and_no_word(world: World, bot: Bot) -> None:
    """429, 500 and resets before and after the call: the answer stands in the thread whole and once."""
    bot.start()
    for fault in (
        {"method": "chat.postMessage", "error": "ratelimited", "retry_after": 1},
        {"method": "chat.postMessage", "drop": "after"},
        {"method": "chat.update", "drop": "before"},
        {"method": "chat.update", "status": 500, "after": 1},
    ):
        world.slack_does("faults", **fault)
    question = bot.ask("/words 25 rate=15")
    assert bot.settled(1) == Counter(done=1)
    [answer] = question.replies()
    assert len(answer.split()) == 25


# --- Noxus -----------------------------------------------------------------------------------------------------------


NOXUS_TROUBLES: list[tuple[dict[str, Any], str]] = [
    ({"status": 500}, "cannot be reached"),
    ({"status": 200, "body": f"<html>{MARK}</html>", "content_type": "text/html"}, "cannot be reached"),
    ({"status": 429, "retry_after": 3600}, "very busy"),
    ({"drop": "before"}, "cannot be reached"),
    ({"delay": 30.0}, "took too long"),
]


def test_noxus_in_trouble_is_one_sentence_and_retry(world: World, bot: Bot) -> None:
    """Whatever Noxus answers or does not, the thread shows one sentence, and Retry works once Noxus is well."""
    bot.settings |= {"SLACKBOT_IDLE_SECONDS": "1", "SLACKBOT_TURN_SECONDS": "6"}
    bot.start()
    questions = []
    for number, (fault, sentence) in enumerate(NOXUS_TROUBLES, start=1):
        world.noxus_fails(path="stream", **fault)
        questions.append(bot.ask("/words 20 rate=40", channel=("general", "random", "partners")[number % 3]))
        assert bot.settled(number) == Counter(failed=number)
        [reply] = questions[-1].replies()
        assert sentence in reply
        assert reply.endswith(RETRY)
    assert [world.asked()[question.mark] for question in questions] == [1] * len(questions)
    for question in questions:
        question.press_retry()
    until(lambda: bot.states()["done"] == len(questions), "the second tries are done")
    for question in questions:
        [reply] = question.replies()
        assert len(reply.split()) == 20


def test_a_stream_that_breaks_is_gone_on_with(world: World, bot: Bot) -> None:
    """A reset before the first byte, after the headers and in mid-answer costs no word."""
    bot.start()
    questions = []
    faults: list[dict[str, Any]] = [{"drop": "after"}, {"drop": "headers"}, {"drop": "mid", "frames": 8}]
    for place, fault in enumerate(faults):
        world.noxus_fails(path="stream", **fault)
        questions.append(bot.ask("/words 30 rate=20", channel=("general", "random", "partners")[place]))
        until(lambda: world.asked().total() == len(questions), "the message has met its fault")
    assert bot.settled(3) == Counter(done=3)
    assert [[len(reply.split()) for reply in question.replies()] for question in questions] == [[30]] * 3
    assert [world.asked()[question.mark] for question in questions] == [1] * 3


# --- the machine -----------------------------------------------------------------------------------------------------


def test_a_locked_database_costs_an_answer_nothing(world: World, bot: Bot) -> None:
    """Somebody holds the SQLite file while an answer ends: it stays as it is and is recorded later."""
    bot.start()
    question = bot.ask("/words 12 rate=12", channel="partners")
    until(question.replies, "the answer grows")
    other = sqlite3.connect(bot.database_url.removeprefix("sqlite:///"), isolation_level=None)
    try:
        other.execute("BEGIN EXCLUSIVE")
        until(lambda: len(question.replies()[0].split()) == 12, "the answer is whole")
        until(lambda: bot.events("turn.unrecorded"), "the database was missed")
    finally:
        other.close()
    assert bot.settled(1) == Counter(done=1)
    [answer] = question.replies()
    assert len(answer.split()) == 12


def test_a_full_disk_costs_the_ack_and_not_the_message(world: World, bot: Bot) -> None:
    """A message that cannot be written is not acked, so Slack sends it again, and then it is answered once."""
    bot.start()
    roomy = resource.prlimit(bot.pid, resource.RLIMIT_FSIZE)
    # Room for some more lines of the log, and for no transaction.
    resource.prlimit(bot.pid, resource.RLIMIT_FSIZE, (len(bot.log()) + 8_192, roomy[1]))
    question = bot.ask("/say with room", channel="general")
    until(lambda: bot.events("event.failed"), "the message could not be written")
    assert bot.states() == Counter()
    resource.prlimit(bot.pid, resource.RLIMIT_FSIZE, roomy)
    assert bot.settled(1) == Counter(done=1)
    assert question.replies() == ["with room"]
    assert world.asked()[question.mark] == 1


# --- rubbish ---------------------------------------------------------------------------------------------------------


def test_rubbish_over_http_is_refused_and_leaves_a_line_without_its_body(world: World, bot: Bot) -> None:
    """Unsigned, stale, huge, malformed and slow requests get their status, store nothing, and the bot goes on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    secret = world.slack["signing_secret"]
    bot.settings |= {"SLACK_APP_TOKEN": "", "SLACK_SIGNING_SECRET": secret, "SLACKBOT_HTTP_HOST": "127.0.0.1"}
    bot.settings["SLACKBOT_HTTP_PORT"] = str(port)
    bot.start()
    base = f"http://127.0.0.1:{port}"

    def well() -> bool:
        try:
            return world.http.get(f"{base}/healthz").status_code == 200
        except httpx.TransportError:
            return False

    until(well, "the bot listens")

    def status(body: bytes, *, age: float = 0.0, key: str = secret) -> int:
        stamp = str(int(time.time() - age))
        digest = hmac.new(key.encode(), b"v0:%b:%b" % (stamp.encode(), body), hashlib.sha256).hexdigest()
        signed = {"X-Slack-Request-Timestamp": stamp, "X-Slack-Signature": f"v0={digest}"}
        return world.http.post(f"{base}/slack/events", content=body, headers=signed if key else {}).status_code

    event = {"type": "app_mention", "user": "U1", "channel": "C1", "ts": "1.000001", "text": MARK}
    body = json.dumps({"type": "event_callback", "team_id": "T1", "event_id": "Ev1", "event": event}).encode()
    slow = socket.create_connection(("127.0.0.1", port))
    slow.sendall(b"POST /slack/events HTTP/1.1\r\nHost: bot\r\nContent-Length: 900\r\n\r\n{")
    assert [status(body, key=""), status(body, key="other"), status(body, age=400)] == [401, 401, 401]
    assert status(b"{" + b" " * 5_000_000 + b"}") == 413
    malformed = (b"", MARK.encode(), b"[]", b"null", b'{"a":' * 100_000, f"payload={MARK}".encode())
    assert {status(rubbish) for rubbish in malformed} == {400}
    strange = ({"type": "dance"}, {"type": "event_callback", "event": []}, {"type": "block_actions", "actions": MARK})
    assert {status(json.dumps(rubbish).encode()) for rubbish in strange} == {200}
    assert bot.states() == Counter()
    assert len(bot.events("http.refused")) == 10
    world.slack_does("http", url=f"{base}/slack/events")
    question = bot.ask("/say still here", channel="random")
    assert bot.settled(1) == Counter(done=1)
    assert question.replies() == ["still here"]
    slow.close()
