"""A workspace, an agent and people who ask; and what must hold in every thread once it is quiet, whatever happened."""

from __future__ import annotations

import asyncio
import re
import shutil
import signal
import sqlite3
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

import psycopg

from slackbot.domain import SessionStatus
from slackbot.errors import SENTENCES, SlackbotError
from slackbot.simulator.noxus import script
from slackbot.simulator.noxus.server import Request
from tests.chaos.knowledge import is_refused, tells_of_files, tells_whole
from tests.chaos.processes import PATIENCE, Bot, Broken, Databases, Launcher
from tests.chaos.shown import MARK, Question, Shown, bare
from tests.databases import Raw
from tests.whole_bot import World, world

RETRY, STOP = "Retry", "Stop"
HOPELESS_SECONDS = 10.0
"""So long after the last turn has ended everything else has its end too."""
REDELIVERED = (0.0, *[0.4] * 200)
"""Slack tries again for minutes; here somebody waits for it."""
STOPPED = re.compile(r"Stopped( by .+)?\.")
ABOUT_FILES = re.compile(r"I was interrupted while I brought|I could not bring|.*not read", re.DOTALL)
_ASKING = frozenset({"stream", "chat", "add"})


def _sentences(kind: type[SlackbotError]) -> Iterator[str]:
    yield kind.sentence
    for each in kind.__subclasses__():
        yield from _sentences(each)


class Stage:
    """Everything around the bots of one trial."""

    def __init__(
        self, both: World, url: str, folder: Path, launcher: Launcher, replicas: int, settings: Mapping[str, str]
    ) -> None:
        self.both = both
        self.slack = both.slack
        self.noxus = both.noxus
        self.url = url
        self.folder = folder
        environ = both.environ(url, LOG_FORMAT="json", SLACKBOT_TURNS_PER_USER_PER_MINUTE="0", **settings)
        self._flat = settings.get("SLACKBOT_DM_MODE") == "flat"
        self.bots = [Bot(launcher, folder, environ, name) for name in "abcdefgh"[:replicas]]
        self.questions: list[Question] = []
        self._sent: list[tuple[str, Request]] = []
        self._read = 0
        self._turns: dict[tuple[str, str], int] = {}
        self._marks = count(1)
        self._sql = Raw(url)

    def close(self) -> None:
        """Let go of the database."""
        self._sql.close()

    # --- people

    async def ask(
        self,
        text: str,
        answer: str,
        *,
        user: str = "ada",
        channel: str = "general",
        under: Question | None = None,
        files: list[dict[str, Any]] | None = None,
        made: int = 0,
        breaks: bool = False,
    ) -> Question:
        """Somebody asks ``text``, in a thread of their own or in that of another question."""
        slack, mark = self.slack, f"zebra{next(self._marks)}"
        place = under.channel if under else slack.channels.get(channel) or channel
        named = f"{mark} {text}" if place == slack.dm("ada") else f"<@{slack.bot_user_id}> {mark} {text}"
        ts = await slack.say(slack.users.get(user) or user, place, named, under.root if under else None, files or [])
        root = under.root if under else "" if self._flat else ts
        question = Question(mark, place, root, ts, answer, made, breaks)
        self.questions.append(question)
        return question

    async def press(self, question: Question, action: str) -> bool:
        """Press a button of the question's answer; whether the bot took that."""
        for message in reversed(self.shown(question).messages):
            for block in message.blocks:
                for button in block["elements"] if block["type"] == "actions" else ():
                    if button["action_id"] == action:
                        question.retried += action == "retry_turn"
                        question.stopped |= action == "stop_turn"
                        press = self.slack.press(
                            self.slack.users["ada"], question.channel, message.ts, action, button["value"]
                        )
                        return (await press).acked
        return False

    # --- what is there to be seen

    def turn_of(self, question: Question) -> int:
        """The id of the question's turn; 0 while there is none."""
        key = (question.channel, question.ts)
        if key not in self._turns:
            rows = self.sql("SELECT id, channel_id, ts FROM turns")
            self._turns.update({(channel, ts): turn for turn, channel, ts in rows})
        return self._turns.get(key, 0)

    def sql(self, statement: str) -> list[tuple[Any, ...]]:
        """The rows of a statement. Raises ``Broken`` while the database is busy or away."""
        try:
            return self._sql(statement)
        except (sqlite3.OperationalError, psycopg.Error) as error:
            with suppress(psycopg.Error):
                self._sql.close()
                self._sql = Raw(self.url)
            raise Broken(f"the database cannot be read: {type(error).__name__}") from error

    def shown(self, question: Question) -> Shown:
        """What the thread shows of the question's answer."""
        return self.by_turn(question.channel, question.root).get(self.turn_of(question), Shown())

    def by_turn(self, channel: str, root: str) -> dict[int, Shown]:
        """What the bot says in a thread to everybody, by turn; what belongs to none is under -1, files under -2."""
        found: dict[int, Shown] = {}
        for message in self.slack.messages(channel, root or None):
            if message.user != self.slack.bot_user_id or message.deleted or message.ephemeral_to:
                continue
            named = (message.metadata or {}).get("event_payload", {})
            turn = -2 if message.files else named.get("turn_id", -1)
            found.setdefault(turn, Shown()).take(message, named.get("index", 0))
        return found

    def posts(self) -> Counter[str]:
        """How often each question was sent to Noxus and not refused, by mark."""
        return Counter(mark for mark, request in self._posted() if not is_refused(request))

    def expected(self, question: Question) -> str:
        """What the agent says to the question, together with whatever went along; ``bare``."""
        sent = dict(self._posted()).get(question.mark)
        return bare(question.answer if sent is None else _said(sent.body["content"], self.noxus.switches.files_as))

    def _posted(self) -> list[tuple[str, Request]]:
        """What was sent to Noxus so far, each with its mark."""
        for each in self.noxus.requests[self._read :]:
            self._read += 1
            if each.endpoint in _ASKING and each.body:
                self._sent += [(mark, each) for mark in MARK.findall(each.body["content"])[-1:]]
        return self._sent

    def taken(self) -> Counter[str]:
        """How often each question was taken by Noxus, by mark."""
        return Counter(mark for text in self.noxus.asked for mark in MARK.findall(text)[-1:])

    def deaths(self) -> int:
        """How often a bot died."""
        return sum(bot.deaths + bot.was_killed for bot in self.bots)

    # --- what must hold

    def ended(self, question: Question) -> bool:
        """Whether the question has its end, as a person sees it."""
        try:
            self.verdict(question)
        except Broken:
            return False
        return True

    def verdict(self, question: Question) -> str:
        """How a question ended: ``answer``, ``sentence``, ``stopped`` or ``refused``. Raises ``Broken``."""
        shown = self.shown(question)
        if not shown.messages:
            raise Broken(f"{question.mark}: no answer at all")
        parts = [index for index in shown.indices if index >= 0]
        if parts != list(range(len(parts))):
            raise Broken(f"{question.mark}: parts {parts}")
        if STOP in shown.buttons:
            raise Broken(f"{question.mark}: Stop is still there")
        strange = [note for note in shown.notes if not ABOUT_FILES.match(note)]
        sentences = [line for line in shown.lines if line in _SENTENCES]
        stops = [line for line in shown.lines if STOPPED.fullmatch(line)]
        strange += [line for line in shown.lines if line not in sentences + stops]
        if strange:
            raise Broken(f"{question.mark}: a line was left: {strange}")
        whole = self.expected(question)
        if stops and question.stopped and len(stops) == 1 and not sentences and whole.startswith(shown.text):
            return "stopped"
        if shown.buttons.count(RETRY) == len(sentences) == 1 and not stops:
            if not whole.startswith(shown.text):
                raise Broken(f"{question.mark}: above the sentence stands {shown.text[-80:]!r}")
            return "sentence"
        if RETRY in shown.buttons or sentences or stops:
            raise Broken(f"{question.mark}: {sentences + stops} with {shown.buttons}")
        if shown.text in _REFUSALS:
            return "refused"
        if question.breaks:
            raise Broken(f"{question.mark}: the agent failed, and nobody says so")
        if shown.text != whole:
            raise Broken(f"{question.mark}: shows {_difference(shown.text, whole)}")
        return "answer"

    def check(self) -> list[str]:
        """How each question ended. Raises ``Broken`` with the first thing that is not as it must be."""
        verdicts = [self.verdict(question) for question in self.questions]
        posts, taken = self.posts(), self.taken()
        for question, verdict in zip(self.questions, verdicts, strict=True):
            mark = question.mark
            if posts[mark] > 1 + question.retried:
                raise Broken(f"{mark}: sent to Noxus {posts[mark]} times with {question.retried} presses of Retry")
            if verdict == "sentence" and taken[mark] > question.retried and self._could_know(question):
                raise Broken(f"{mark}: Noxus has the question and its whole answer, and the thread a sentence")
        for sign in self.signs():
            raise Broken(sign)
        for channel, root in dict.fromkeys((each.channel, each.root) for each in self.questions):
            self._check_thread(channel, root)
        waiting = [state for (state,) in self.sql("SELECT state FROM turns") if state in {"queued", "running"}]
        if waiting:
            raise Broken(f"turns are still {waiting}")
        return verdicts

    def _could_know(self, question: Question) -> bool:
        return not question.breaks and tells_whole(self.noxus, question.mark, self.expected(question))

    def signs(self) -> list[str]:
        """What shows in any thread that the agent works."""
        threads = dict.fromkeys((each.channel, each.root) for each in self.questions)
        statuses = [f"the status is still {status!r}" for at in threads if (status := self.slack.status(*at))]
        working = [at for at in threads if self.slack.session(*at) == SessionStatus.PROCESSING]
        return statuses + ["the session still shows that the agent works"] * len(working)

    def _check_thread(self, channel: str, root: str) -> None:
        by_turn = self.by_turn(channel, root)
        mine = [each for each in self.questions if (each.channel, each.root) == (channel, root)]
        if strays := set(by_turn) - {self.turn_of(each) for each in mine} - {-2}:
            raise Broken(f"messages of nobody's turn: {[by_turn[stray].texts for stray in strays]}")
        names = [file["name"] for message in by_turn.get(-2, Shown()).messages for file in message.files]
        notes = [note for shown in by_turn.values() for note in shown.notes]
        expected = sum(each.files for each in mine)
        least = expected if tells_of_files(self.noxus) or not self.deaths() else 0
        ends = Counter(self.verdict(each) for each in mine if each.files)
        if len(names) > expected or (len(names) < least and not notes and not ends["sentence"] + ends["stopped"]):
            raise Broken(f"files {names} where there should be {expected}, with {notes}")
        for message in self.slack.messages(channel, root or None):
            if message.reactions:
                raise Broken(f"a mark was left on {message.text[:40]!r}")

    def check_logs(self) -> None:
        """Every line of a log is one. Raises ``Broken``."""
        for bot in self.bots:
            for line in bot.log():
                if line["event"] in {"not a log line", "turn.given_up"}:
                    raise Broken(f"log of {bot.name}: {str(line)[:200]}")

    async def quiet(self, patience: float = PATIENCE) -> list[str]:
        """How each question ended, once everything is as it must be. Raises ``Broken``, sooner when nothing is going
        on any more that could still mend it."""
        why = ""
        deadline, hopeless = time.monotonic() + patience, float("inf")
        while time.monotonic() < min(deadline, hopeless):
            try:
                return self.check()
            except Broken as broken:
                why = str(broken)
            hopeless = float("inf") if self.is_busy() else min(hopeless, time.monotonic() + HOPELESS_SECONDS)
            await asyncio.sleep(0.03)
        raise Broken(why)

    def is_busy(self) -> bool:
        """Whether there are questions whose turn has not ended, or whose thread is still to be put right."""
        return self.waiting() > 0 or self._echoing()

    def _echoing(self) -> bool:
        try:
            return bool(self.sql("SELECT id FROM turns WHERE echoes_at IS NOT NULL"))
        except Broken:
            return True

    def waiting(self) -> int:
        """How many questions have no end yet; all of them while the database cannot tell."""
        try:
            ended = [state not in {"queued", "running"} for (state,) in self.sql("SELECT state FROM turns")]
        except Broken:
            return len(self.questions)
        return len(self.questions) - sum(ended)

    async def leave(self) -> list[str]:
        """Stop every bot as one should, and look once more: nothing may come late."""
        for bot in self.bots:
            bot.send(signal.SIGTERM)
        for bot in self.bots:
            code = await bot.ended()
            if code == -signal.SIGKILL:
                # It died on its way out.
                bot.start(armed=True)
                await bot.ready()
                await self.quiet()
                bot.send(signal.SIGTERM)
                code = await bot.ended()
            if code not in {0, -signal.SIGTERM}:  # the latter before it knows of signals
                raise Broken(f"{bot.name} ended with {code}")
        self.check_logs()
        return self.check()


_SENTENCES = frozenset(_sentences(SlackbotError))
_REFUSALS = frozenset("".join(words.split()) for words in SENTENCES.values())


@cache
def _said(text: str, files_as: str) -> str:
    turn = script.Turn(text, str, files_as=files_as)
    frames = [step.frame for step in script.answer(turn) if isinstance(step, script.Emit)]
    return "".join(frame["delta"] for frame in frames if frame["type"] == "text-delta")


def _difference(shown: str, whole: str) -> str:
    if whole.startswith(shown):
        return f"{len(shown)} of {len(whole)} characters"
    same = next((at for at, (a, b) in enumerate(zip(shown, whole, strict=False)) if a != b), len(whole))
    return f"{shown[same : same + 40]!r} after {same} of {len(whole)} characters"


@asynccontextmanager
async def stage(
    launcher: Launcher,
    made: Databases,
    *,
    replicas: int = 1,
    limits: bool = True,
    switches: Mapping[str, str] | None = None,
    settings: Mapping[str, str] | None = None,
) -> AsyncIterator[Stage]:
    """A quick Slack, with or without rate limits, a quick Noxus with these switches, a fresh database, and bots with
    these settings that have yet to be started."""
    folder = Path(tempfile.mkdtemp(prefix="slackbot-stage-"))
    try:
        async with (
            made.fresh(folder) as url,
            world(latency=0.02, retry_delays=REDELIVERED, enforce_limits=limits) as both,
        ):
            both.slack.uploads.share_seconds = 0.05
            both.noxus.switches.change(**{"first_token_delay": 0.05, "rate": 400.0, **(switches or {})})
            made_stage = Stage(both, url, folder, launcher, replicas, settings or {})
            try:
                yield made_stage
            finally:
                for bot in made_stage.bots:
                    await bot.kill()
                made_stage.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
