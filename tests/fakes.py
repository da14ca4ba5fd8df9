"""Small stateful fakes at the two ports: a Slack that remembers what it shows, an agent that plays a script."""

from __future__ import annotations

import asyncio
import itertools
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import BinaryIO

from slackbot.domain import (
    AgentEvent,
    AgentProfile,
    AgentTarget,
    Body,
    Button,
    Card,
    ContextMessage,
    ConversationState,
    FileBytes,
    FileLink,
    FileOffered,
    FileTrouble,
    MessageRef,
    PartRecord,
    PartRef,
    Person,
    SessionStatus,
    SlackFile,
    TextDelta,
    ThreadKey,
)
from slackbot.errors import ChatUnavailable, FileRefused, Interrupted, MessageGone


@dataclass(slots=True)
class Shown:
    """A message of ours as the thread shows it, with every version it had."""

    thread: ThreadKey
    ts: str
    part: PartRef | None
    versions: list[tuple[float, Body]]

    @property
    def body(self) -> Body:
        return self.versions[-1][1]


@dataclass
class FakeChat:
    """A Slack without sockets. ``fail`` may return an error for a call (method, call number) before it happens.

    ``files`` are what ``look_up_file`` finds, by id, with their bytes. ``refusals`` are raised for the file of that id
    when it is looked up, of that URL when it is downloaded, and of that name when it is uploaded. ``operator_ids`` may
    take threads over; None where Slack does not tell who.
    """

    latency: float = 0.06
    has_status: bool = True
    can_mark: bool = True
    has_sessions: bool = True
    files: dict[str, tuple[SlackFile, bytes]] = field(default_factory=dict)
    refusals: dict[str, FileRefused] = field(default_factory=dict)
    fail: Callable[[str, int], Exception | None] = lambda _method, _number: None
    past: list[ContextMessage] = field(default_factory=list)
    names: dict[str, str] = field(default_factory=dict)
    operator_ids: frozenset[str] | None = frozenset()
    left: frozenset[str] = frozenset()
    """Whose account was deactivated."""

    def __post_init__(self) -> None:
        self.messages: dict[str, Shown] = {}
        self.statuses: list[str] = []
        self.whispers: list[tuple[str, str]] = []
        self.questions: list[tuple[ThreadKey, str, str, tuple[Button, ...], str]] = []
        """Thread, person, words, buttons, and the message it was about."""
        self.sessions: list[tuple[ThreadKey, SessionStatus]] = []
        self.marks: set[str] = set()
        self.uploads: list[tuple[ThreadKey, str, str, bytes, str]] = []
        self.log: list[tuple[str, str]] = []
        """What appeared in the threads, in order: ("post", ts) and ("upload", name)."""
        self.calls: list[tuple[float, str]] = []
        self._ts = itertools.count(1)
        self._numbers: defaultdict[str, int] = defaultdict(int)

    def bodies(self) -> list[Body]:
        """What the messages still there show, oldest first."""
        return [shown.body for shown in self.messages.values()]

    def texts(self) -> list[str]:
        return [body.markdown for body in self.bodies()]

    def cards(self) -> list[Card]:
        return [body.card for body in self.bodies() if body.card]

    def spoken(self) -> list[tuple[str, str]]:
        """Who says what, of the messages that have a speaker."""
        return [(body.speaker.name, body.quoted) for body in self.bodies() if body.speaker]

    def shown_in(self, thread: ThreadKey) -> list[Body]:
        """What our messages in one thread show, oldest first."""
        return [shown.body for shown in self.messages.values() if shown.thread == thread]

    def count(self, method: str) -> int:
        return sum(1 for _, name in self.calls if name == method)

    async def _call(self, method: str) -> None:
        self._numbers[method] += 1
        self.calls.append((asyncio.get_running_loop().time(), method))
        await asyncio.sleep(self.latency)
        if error := self.fail(method, self._numbers[method]):
            raise error

    async def set_status(self, thread: ThreadKey, status: str) -> bool:
        await self._call("set_status")
        if self.has_status:
            self.statuses.append(status)
        return self.has_status

    async def post(self, thread: ThreadKey, body: Callable[[], Body], part: PartRef | None = None) -> str:
        await self._call("post")
        ts = f"1700000000.{next(self._ts):06d}"
        self.messages[ts] = Shown(thread, ts, part, [(asyncio.get_running_loop().time(), body())])
        self.log.append(("post", ts))
        return ts

    async def edit(self, thread: ThreadKey, ts: str, body: Body) -> None:
        await self._call("edit")
        if ts not in self.messages:
            raise MessageGone(ts, slack_error="message_not_found")
        self.messages[ts].versions.append((asyncio.get_running_loop().time(), body))

    async def strip(self, thread: ThreadKey, ts: str) -> None:
        await self._call("strip")
        if ts in self.messages:
            body = self.messages[ts].body
            stripped = replace(body, step="", buttons=(), turn_id=None)
            self.messages[ts].versions.append((asyncio.get_running_loop().time(), stripped))

    async def delete(self, thread: ThreadKey, ts: str) -> None:
        await self._call("delete")
        self.messages.pop(ts, None)

    async def whisper(self, thread: ThreadKey, user_id: str, text: str) -> None:
        await self._call("whisper")
        self.whispers.append((user_id, text))

    async def ask_privately(
        self, thread: ThreadKey, user_id: str, text: str, buttons: Sequence[Button], about_ts: str
    ) -> None:
        await self._call("ask_privately")
        self.questions.append((thread, user_id, text, tuple(buttons), about_ts))

    async def operators(self, team_id: str) -> frozenset[str] | None:
        return self.operator_ids

    async def permalink(self, message: MessageRef, team_id: str) -> str:
        return f"https://slack.test/archives/{message.channel_id}/p{message.ts.replace('.', '')}"

    async def set_session(self, thread: ThreadKey, status: SessionStatus) -> bool | None:
        if self.fail("set_session", len(self.sessions)):
            return None
        self.sessions.append((thread, status))
        return self.has_sessions

    async def mark_waiting(self, thread: ThreadKey, ts: str) -> bool:
        await self._call("mark_waiting")
        if self.can_mark:
            self.marks.add(ts)
        return self.can_mark

    async def unmark_waiting(self, thread: ThreadKey, ts: str) -> bool | None:
        try:
            await self._call("unmark_waiting")
        except ChatUnavailable:
            return None
        if ts not in self.marks:
            return False
        self.marks.remove(ts)
        return True

    async def look_up_file(self, team_id: str, file_id: str) -> SlackFile:
        await self._call("look_up_file")
        self._refuse(file_id)
        if file_id not in self.files:
            raise FileRefused(FileTrouble.GONE)
        return self.files[file_id][0]

    async def download(self, team_id: str, file: SlackFile, into: BinaryIO, *, most: int) -> int:
        await self._call("download")
        self._refuse(file.url)
        return _written(self.files[file.id][1], into, most)

    async def upload(self, thread: ThreadKey, file: FileBytes, *, alt: str = "", caption: str = "") -> None:
        await self._call("upload")
        self._refuse(file.name)
        file.content.seek(0)
        self.uploads.append((thread, file.name, file.media_type, file.content.read(), alt))
        self.log.append(("upload", file.name))

    def _refuse(self, name: str) -> None:
        if name in self.refusals:
            raise self.refusals[name]

    async def history(self, thread: ThreadKey, *, before_ts: str, limit: int) -> list[ContextMessage]:
        await self._call("history")
        return [said for said in self.past if said.ts < before_ts][-limit:]

    async def find_parts(self, thread: ThreadKey, turn_id: int) -> list[PartRecord]:
        await self._call("find_parts")
        return [
            PartRecord(
                shown.part.index,
                shown.ts,
                placeholder=not shown.body.markdown,
                chars=len(shown.body.markdown),
                at_work=Button.STOP in shown.body.buttons or bool(shown.body.step),
            )
            for shown in self.messages.values()
            if shown.part is not None and shown.part.turn_id == turn_id and shown.thread == thread
        ]

    async def find_all_parts(self, thread: ThreadKey, turn_id: int) -> list[PartRecord]:
        return await self.find_parts(thread, turn_id)

    async def people(self, team_id: str, user_ids: Collection[str]) -> dict[str, Person]:
        return {
            user_id: Person(user_id, self.names.get(user_id, user_id), has_left=user_id in self.left)
            for user_id in user_ids
        }

    async def channel_names(self, team_id: str, channel_ids: Collection[str]) -> dict[str, str]:
        return {channel_id: self.names[channel_id] for channel_id in channel_ids if channel_id in self.names}


Step = AgentEvent | Exception | float
"""An event, an error to raise, or seconds of silence."""


@dataclass
class FakeAgent:
    """An agent that plays one script per question; the last script repeats. A script's leading error means refused.

    ``made`` are the files it offers, by URL: name, media type and bytes. What it settles it settles in no time, or in
    ``settle_seconds``. ``became`` is what it finds of a message that was sent before.
    """

    scripts: Sequence[Sequence[Step]] = field(default_factory=lambda: [[TextDelta("b", "Hello.")]])
    agent_profile: AgentProfile = field(default_factory=AgentProfile)
    fail_create: Exception | None = None
    made: dict[str, tuple[str, str, bytes]] = field(default_factory=dict)
    settle_seconds: float = 0.0
    state_now: ConversationState = field(default_factory=ConversationState)
    became: Sequence[Step] = field(default_factory=lambda: [Interrupted("nothing shows it")])

    def __post_init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        self.files: list[list[tuple[str, bytes | str]]] = []
        """Of each question its files' names and bytes, or addresses."""
        self.settled: list[str] = []
        self.recovered: list[tuple[str, str]] = []
        """Conversation and digest of each."""
        self.conversations: list[str] = []

    async def create_conversation(self, target: AgentTarget, name: str) -> str:
        if self.fail_create:
            raise self.fail_create
        self.conversations.append(name)
        return f"conversation-{len(self.conversations)}"

    @asynccontextmanager
    async def ask(
        self, conversation_id: str, content: str, files: Sequence[FileBytes | FileLink] = ()
    ) -> AsyncIterator[AsyncIterator[AgentEvent]]:
        script = self.scripts[min(len(self.asked), len(self.scripts) - 1)]
        self.asked.append((conversation_id, content))
        self.files.append([(file.name, _content(file)) for file in files])
        if script and isinstance(script[0], Exception):
            raise script[0]
        yield self._play(script)

    @asynccontextmanager
    async def recover(self, conversation_id: str, digest: str, age: float) -> AsyncIterator[AsyncIterator[AgentEvent]]:
        self.recovered.append((conversation_id, digest))
        if isinstance(self.became[0], Exception):
            raise self.became[0]
        yield self._play(self.became)

    async def _play(self, script: Sequence[Step]) -> AsyncIterator[AgentEvent]:
        for step in script:
            if isinstance(step, Exception):
                raise step
            if isinstance(step, float):
                await asyncio.sleep(step)
            else:
                yield step

    async def state(self, conversation_id: str) -> ConversationState:
        return self.state_now

    async def fetch(self, offer: FileOffered, into: BinaryIO, *, most: int) -> FileBytes:
        if offer.url not in self.made:
            raise FileRefused(FileTrouble.GONE)
        name, media_type, content = self.made[offer.url]
        return FileBytes(name, media_type, _written(content, into, most), into)

    async def settle(self, conversation_id: str) -> None:
        self.settled.append(conversation_id)
        await asyncio.sleep(self.settle_seconds)

    async def profile(self, target: AgentTarget) -> AgentProfile:
        return self.agent_profile


def _written(content: bytes, into: BinaryIO, most: int) -> int:
    if len(content) > most:
        raise FileRefused(FileTrouble.TOO_BIG)
    return into.write(content)


def _content(file: FileBytes | FileLink) -> bytes | str:
    if isinstance(file, FileLink):
        return file.url
    file.content.seek(0)
    return file.content.read()
