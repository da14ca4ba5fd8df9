"""The conversations of the simulated Noxus, and the one place where runs start and end."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import random
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from slackbot.simulator.noxus import agents, history, prose, script
from slackbot.simulator.noxus.history import SimMessage
from slackbot.simulator.noxus.runs import Ending, Run, Signal
from slackbot.simulator.noxus.schema import AddMessage, Refused
from slackbot.simulator.noxus.switches import Switches


def now() -> str:
    """The time as the API writes it."""
    return datetime.fromtimestamp(time.time(), UTC).isoformat().replace("+00:00", "Z")


@dataclass(slots=True, eq=False)
class SimConversation:
    """One conversation. ``runs`` are in progress or waiting, oldest first; ``last_run`` is the latest one over."""

    id: str
    name: str
    settings: dict[str, Any]
    agent_id: str | None
    created_at: str
    last_updated_at: str
    version: str
    messages: list[SimMessage] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    manual: bool = False
    held: str = ""
    """What ``status`` says while a human has the conversation; empty while the agent has it."""
    epoch: int = 0
    runs: list[Run] = field(default_factory=list)
    last_run: Run | None = None
    started: Signal = field(default_factory=Signal)
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def status(self) -> str:
        """``idle`` and ``queued`` were seen (documentation, SDK repository's fixtures); there may be more."""
        return "queued" if self.runs else self.held or "idle"

    def hand_back(self) -> None:
        """The agent has the conversation again."""
        self.manual, self.held = False, ""

    def etag(self, switches: Switches) -> str:
        """What ``Conversation.etag`` says: the newest place in the stream, or the version of the conversation."""
        if switches.etag_is == "conversation":
            return self.version
        for run in (*self.runs[:1], self.last_run):
            if run and run.entries:
                return run.event_id(len(run.entries) - 1)
        return "0-0"

    def to_json(self, switches: Switches, *, messages: bool) -> dict[str, Any]:
        """The wire form; lists leave the messages out."""
        body: dict[str, Any] = {
            "id": self.id,
            "user_id": None,
            "api_key_id": None,
            "name": self.name,
            "created_at": self.created_at,
            "last_updated_at": self.last_updated_at,
            "etag": self.etag(switches),
            "settings": self.settings,
            "status": self.status,
            "assistant_id": self.agent_id,
            "manual": self.manual,
            "preview": False,
            "assistant_version_id": None,
            "chat_transport": None,
            "public_access_token": None,
        }
        if messages:
            pydantic = switches.history == "both"
            body["messages"] = [message.to_json(pydantic=pydantic) for message in self.messages]
        return body


@dataclass(slots=True)
class SimFile:
    """A stored file: uploaded, sent along with a message, or made by the agent."""

    id: str
    name: str
    media_type: str
    content: bytes
    created_at: str


class Workspace:
    """All state behind the API: it survives a restart of the server."""

    def __init__(self, switches: Switches, seed: int) -> None:
        self.switches = switches
        self.base_url = ""
        self.agents = agents.agents(now())
        self.flows = agents.flows()
        self.conversations: dict[str, SimConversation] = {}
        self.files: dict[str, SimFile] = {}
        self.asked: list[str] = []
        self.on_frame: Callable[[str], None] = lambda _kind: None
        self._random = random.Random(seed)  # noqa: S311 - ids that repeat, no secrets
        self._tasks: dict[Run, asyncio.Task[Ending]] = {}
        self.keep_file("r.csv", "text/csv", b"a,b", agents.SAMPLE_FILE_ID)

    def new_id(self) -> str:
        """A fresh uuid, the same sequence for the same seed."""
        return str(UUID(int=self._random.getrandbits(128), version=4))

    def keep_file(self, name: str, media_type: str, content: bytes, file_id: str | None = None) -> SimFile:
        """Store a file."""
        file = SimFile(file_id or self.new_id(), name, media_type, content, now())
        self.files[file.id] = file
        return file

    def create(self, name: str, agent_id: str | None, settings: dict[str, Any] | None) -> SimConversation:
        """A new conversation with an agent, a chat flow, or bare settings. Raises ``Refused``."""
        if (agent_id is None) == (settings is None):
            raise Refused(422, [{"type": "value_error", "loc": ["query", "assistant_id"], "msg": _ONE_OF}])
        if agent_id is not None:
            if self.agents.get(agent_id, {"deleted_at": True})["deleted_at"]:
                raise Refused(self.switches.unknown_agent_status, "Assistant not found")
            settings = self.agents[agent_id]["definition"]
        elif (settings or {}).get("agent_flow_id") not in {None, *self.flows}:
            raise Refused(self.switches.unknown_agent_status, "Agent flow not found")
        at = now()
        merged = agents.settings() | (settings or {})
        conversation = SimConversation(self.new_id(), name, merged, agent_id, at, at, version=self.new_id())
        self.conversations[conversation.id] = conversation
        return conversation

    def find(self, conversation_id: str) -> SimConversation:
        """The conversation of that id. Raises ``Refused`` with 404."""
        try:
            return self.conversations[conversation_id]
        except KeyError:
            raise Refused(404, "Conversation not found") from None

    def touch(self, conversation: SimConversation) -> None:
        """Note that the conversation changed: a new version and time."""
        conversation.version = self.new_id()
        conversation.last_updated_at = now()

    def delete(self, conversation: SimConversation) -> None:
        """Forget the conversation and stop what runs in it."""
        del self.conversations[conversation.id]
        for run in list(conversation.runs):
            self.stop(run)

    def submit(self, conversation: SimConversation, message: AddMessage) -> Run:
        """Take a user's message and start its run. Raises ``Refused`` when it is not taken."""
        switches = self.switches
        files = tuple(file.model_dump(mode="json") for file in message.files or ())
        if any(_decoded_size(file["b64_content"] or "") > switches.b64_limit for file in files):
            raise Refused(413, f"File too large: the limit is {switches.b64_limit} bytes")
        for file in files:
            if file["b64_content"] is not None:
                self.keep_file(file["name"], file["type"], base64.b64decode(file["b64_content"]), file["id"])
        if conversation.runs and switches.second_post == "conflict":
            raise Refused(409, "A run is already in progress for this conversation")
        full = len(conversation.messages) >= switches.message_cap
        if full and switches.message_cap_style == "400":
            raise Refused(400, f"{_CAP} of {switches.message_cap}")
        conversation.epoch = max(time.time_ns() // 1_000_000, conversation.epoch + 1)
        run = Run(self.new_id(), conversation.epoch)
        content = message.content or ""
        turn = script.Turn(
            content,
            self.new_id,
            earlier=tuple(conversation.asked),
            files=tuple(file["name"] for file in files),
            sums=tuple(self._sum(file) for file in files),
            rate=switches.rate,
            first_token_delay=switches.first_token_delay,
            sdk_version=switches.sdk_version,
            files_as=switches.files_as,
            human_as=switches.human_as,
            human_words=agents.human_words(conversation.settings),
            base_url=self.base_url,
        )
        steps = _refusal(switches.message_cap) if full else script.answer(turn)
        self.asked.append(content)
        conversation.asked.append(content)
        said = history.user_message(self.new_id(), run.id, content, files, now())
        conversation.runs.append(run)
        task = asyncio.create_task(self._play(conversation, run, steps), name=f"run {run.id}")
        task.add_done_callback(lambda _: self._finish(conversation, run, said))
        self._tasks[run] = task
        if switches.visible == "post":
            conversation.messages.append(said)
            self.touch(conversation)
        conversation.started.notify()
        return run

    def _sum(self, file: dict[str, Any]) -> str:
        """One line about a file that came with a message."""
        if file["url"]:
            return f"`{file['name']}`, {file['type']}, at {file['url']}"
        content = self.files[file["id"]].content
        return f"`{file['name']}`, {file['type']}, {len(content)} bytes, {hashlib.sha256(content).hexdigest()[:12]}"

    def parts(self, run: Run) -> tuple[dict[str, Any], ...]:
        """The ModelMessages of the agent's side of a run."""
        reasons = self.switches.finish_reasons
        return run.recalled or tuple(history.model_messages(run.frames, run.id, now(), reasons=reasons))

    def stop(self, run: Run) -> None:
        """Stop a run where it is; what was said stays."""
        if run in self._tasks:
            self._tasks[run].cancel()

    async def close(self) -> None:
        """Stop every run and wait for them. Raises what any of them failed with."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        self._tasks.clear()
        failures = [result for result in results if isinstance(result, Exception)]
        if failures:
            raise ExceptionGroup("runs of the simulated agent failed", failures)

    async def _play(self, conversation: SimConversation, run: Run, steps: Iterator[script.Step]) -> Ending:
        switches = self.switches
        beside = switches.second_post == "interleave"
        waiting: AbstractAsyncContextManager[Any] = nullcontext() if beside else conversation.turn
        async with waiting:
            if conversation.held and switches.held_agent == "takes_back":
                conversation.hand_back()
            elif conversation.held and switches.held_agent == "silent":
                steps = script.silence()
            return await run.play(
                steps,
                limit=switches.agent_timeout,
                timeout_ends=switches.timeout_run == "stop",
                effect=lambda step: self._effect(conversation, run, step),
            )

    def _finish(self, conversation: SimConversation, run: Run, said: SimMessage) -> None:
        """Called when the task of a run is done, also when it was stopped before its first step."""
        task = self._tasks[run]
        failed = not task.cancelled() and task.exception() is not None
        if not failed:
            del self._tasks[run]
        # The history first: whoever sees the end of the stream may read it at once.
        self._remember(conversation, run, said)
        conversation.runs.remove(run)
        conversation.last_run = run
        run.end("timeout" if failed or task.cancelled() else task.result())

    def _effect(self, conversation: SimConversation, run: Run, step: script.Step) -> None:
        match step:
            case script.AskHuman():
                conversation.manual = conversation.manual or self.switches.manual_flag
                conversation.held = self.switches.human_status
            case script.MakeFile(file_id, name, media_type, content):
                self.keep_file(name, media_type, content, file_id)
            case script.Recall(messages):
                run.recalled = messages

    def _remember(self, conversation: SimConversation, run: Run, said: SimMessage) -> None:
        if said not in conversation.messages:
            conversation.messages.append(said)
        parts = self.parts(run)
        if parts:
            conversation.messages.append(history.assistant_message(run.id, parts, now()))
        if self.switches.renames and len(conversation.asked) == 1:
            conversation.name = prose.shorten(said.text, 60)
        self.touch(conversation)


_ONE_OF = "Exactly one of settings or assistant_id must be provided"
_CAP = "The conversation reached usage_limits_max_messages"


def _decoded_size(b64: str) -> int:
    return len(b64) // 4 * 3 - b64.count("=", -2)


def _refusal(cap: int) -> Iterator[script.Step]:
    yield script.Emit({"type": "start"})
    yield script.Emit({"type": "error", "errorText": f"{_CAP} of {cap}"})
    yield script.Emit({"type": "finish", "finishReason": "error"})
