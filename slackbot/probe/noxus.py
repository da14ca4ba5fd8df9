"""The open questions about Noxus: asked in scratch conversations that are deleted afterwards."""

from __future__ import annotations

import asyncio
import json
import re
import statistics
import time
from collections.abc import Awaitable, Callable
from typing import Final
from uuid import uuid4

from slackbot.domain import (
    AgentTarget,
    ApprovalRequested,
    FileOffered,
    TextDelta,
    ToolFinished,
    ToolStarted,
)
from slackbot.errors import AgentError, AgentTimedOut, ConversationFull
from slackbot.noxus.events import reply_events
from slackbot.noxus.exchange import exchanges
from slackbot.noxus.profile import tools
from slackbot.noxus.wire import message_body, names_message_cap
from slackbot.probe.questions import NOXUS
from slackbot.probe.report import Findings, Leftovers, shown
from slackbot.probe.talk import NAME, Heard, NoxusTalk, Patience, Read, State, status, why

# What follows a slash is for a simulated agent, which obeys such words alone.
_HELLO: Final = "This is a test. Please answer with the single word hello. /say hello"
_COUNT: Final = "This is a test. Please count from one to two hundred in words, without using a tool."
_TOOL: Final = "This is a test. Please use your tool {0} once, for today's date, and say that you did. /tool {0}"
_FILE: Final = "This is a test. Please make a file probe.csv with one line and hand it to me. /file probe.csv"
_HUMAN: Final = "This is a test; nobody needs to react. Please hand me over to a human now. /human"

_HARMLESS_TOOLS: Final = ("web_research", "kb_qa")
_FILE_TOOLS: Final = ("create_files", "create_file", "docx", "excel", "image_generation")
_HUMAN_TOOL: Final = "human_in_the_loop"
_LARGE_MEGABYTES: Final = (1, 20, 26, 40)
_FEW: Final = 3
"""So many pieces of text show that an answer is under way."""

_STREAM_ID: Final = re.compile(r"\d{6,}-\d+")
_UUID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_MOMENT: Final = 0.05


class NoxusProbe:
    """Asks Noxus. ``human`` calls for a person there, ``large`` sends large files; neither happens by itself."""

    def __init__(
        self,
        base_url: str,
        api_key: str,
        target: AgentTarget,
        leftovers: Leftovers,
        *,
        patience: Patience,
        human: bool,
        large: bool,
    ) -> None:
        self.findings = Findings(NOXUS)
        self.reached = False
        self._talk = NoxusTalk(base_url, api_key, leftovers, patience)
        self._target = target
        self._leftovers = leftovers
        self._patience = patience
        self._human = human
        self._large = large
        self._state = State.read(None)

    async def run(self) -> None:
        """Ask everything. What could not be asked says why in its finding."""
        stages: tuple[tuple[Callable[[], Awaitable[None]], str], ...] = (
            (self._hello, "stream envelope sse_ids line_end done_event history finish_reasons"),
            (self._idle, "idle_events"),
            (self._raw, "done_marker event_names"),
            (self._tool, "tool_names"),
            (self._midway, "visible etag replay on_disconnect"),
            (self._two, "second_post"),
            (self._renamed, "renames"),
            (self._refusals, "bad_key unknown_conversation unknown_agent"),
            (self._file, "files_as"),
            (self._ask_human, "human held"),
            (self._inline_files, "b64_limit"),
        )
        until = asyncio.get_running_loop().time() + self._patience.total
        try:
            if not await self._start(until):
                return
            for stage, questions in stages:
                missed = await self._tried(stage, until)
                for question in questions.split():
                    self.findings.missed(f"noxus.{question}", missed or "it did not show", again=bool(missed))
            self._in_passing()
        finally:
            await self._leftovers.remove()
            await self._talk.aclose()

    async def _start(self, until: float) -> bool:
        missed = await self._tried(self._make, until)
        if missed:
            self.findings.missed_all(missed)
            return False
        for question, key, unit in (
            ("noxus.message_cap", "usage_limits_max_messages", ""),
            ("noxus.agent_timeout", "usage_limits_agent_timeout", " s"),
        ):
            value = self._state.settings.get(key)
            if isinstance(value, int | float):
                self.findings.saw(question, f"{value:g}{unit}")
            else:
                self.findings.missed(question, f"the settings do not say {key}")
        return True

    async def _tried(self, stage: Callable[[], Awaitable[None]], until: float) -> str:
        """Why a stage did not come to its end; empty when it did."""
        try:
            async with asyncio.timeout_at(until):
                await stage()
        except AgentError as error:
            self.reached = self.reached or error.status != 0
            if isinstance(error, ConversationFull):
                self.findings.saw("noxus.message_cap_style", str(error.status))
            return why(error)
        except TimeoutError:
            return "not asked: the time was up"
        self.reached = True
        return ""

    # --- the stages -----------------------------------------------------------------------------------------------

    async def _make(self) -> None:
        self._talk.conversation = await self._talk.scratch(self._target)
        self._state = await self._talk.look()
        if self._target.flow_id:
            self.findings.saw("noxus.flow_only", "yes")
        else:
            self.findings.missed("noxus.flow_only", "not asked: NOXUS_AGENT_FLOW_ID is not set")

    async def _hello(self) -> None:
        try:
            async with self._talk.stream(_HELLO) as (heard, read):
                await read()
        except AgentError as error:
            if error.status in (404, 405, 406, 501):
                self.findings.saw("noxus.stream", "no", why(error))
            raise
        self.findings.saw("noxus.stream", "yes" if heard.records else "no")
        if not heard.records:
            return
        self.findings.saw("noxus.line_end", heard.records[0].line_end)
        self.findings.saw(
            "noxus.sse_ids", "yes" if heard.ids else "no", f"such as {shown(heard.ids[0])}" if heard.ids else ""
        )
        if heard.frames:
            self.findings.saw("noxus.envelope", _envelope(heard.frames[0].data))
        done = heard.named("done")
        if done is None:
            self.findings.saw("noxus.done_event", "timeout" if heard.named("timeout") else "none")
        else:
            self.findings.saw("noxus.done_event", "done, {}" if done.data == "{}" else "done, other data")
        state = await self._talk.look()
        keys = {str(key) for message in state.messages if isinstance(message, dict) for key in message}
        spelled = {"pydantic_message_parts", "message_parts"} & keys
        if spelled:
            self.findings.saw("noxus.history", "both" if len(spelled) == 2 else spelled.pop())
        if told := exchanges({"messages": state.messages}):
            self.findings.saw("noxus.finish_reasons", "yes" if told[-1].finish else "no")

    async def _idle(self) -> None:
        try:
            async with self._talk.events("") as (heard, read):
                await read(seconds=self._patience.quiet)
        except AgentTimedOut:
            self.findings.saw("noxus.idle_events", "hang")
        except AgentError as error:
            if not error.status:
                raise
            self.findings.saw("noxus.idle_events", str(error.status))
        else:
            seen = "replay" if heard.frames else "done" if heard.over else "hang"
            self.findings.saw("noxus.idle_events", seen)

    async def _raw(self) -> None:
        async with self._talk.stream(_HELLO, raw=True) as (heard, read):
            await read()
        if not heard.frames:
            return
        self.findings.saw("noxus.done_marker", "yes" if any(r.data == "[DONE]" for r in heard.records) else "no")
        names = {record.name for record in heard.frames} - {"", "message", "error"}
        self.findings.saw("noxus.event_names", "yes" if names else "no")

    async def _tool(self) -> None:
        tool = self._enabled(_HARMLESS_TOOLS)
        if not tool:
            self.findings.missed("noxus.tool_names", f"not asked: not enabled ({', '.join(_HARMLESS_TOOLS)})")
            return
        async with self._talk.stream(_TOOL.format(tool)) as (heard, read):
            await read()
        called = {event.name for event in heard.events if isinstance(event, ToolStarted)}
        if not called:
            self.findings.missed("noxus.tool_names", "the agent called no tool")
            return
        known = called <= {name for name, _ in tools(self._state.settings)}
        names = ", ".join(map(shown, sorted(called)))
        self.findings.saw("noxus.tool_names", "as in the settings" if known else "otherwise", names)

    async def _midway(self) -> None:
        """A long answer: looked at while it runs, attached to, then left."""
        before = await self._talk.look()
        async with self._talk.stream(_COUNT) as (heard, read):
            await read(enough=lambda: len(heard.text_at) >= _FEW)
            during = await self._talk.look()
            await read(seconds=_MOMENT)  # whether it still runs shows only once all that came was read
            if not heard.over:
                new = json.dumps(during.messages[len(before.messages) :])
                self.findings.saw("noxus.visible", "at once" if _COUNT in new else "with the answer")
                await self._attach(heard, during.etag, read)
        if heard.over:
            for question in ("visible", "etag", "replay", "on_disconnect"):
                self.findings.missed(f"noxus.{question}", "the answer was over before it could be asked")
        else:
            await self._left(len(before.messages), len(heard.text))

    async def _attach(self, own: Heard, etag: str, read: Read) -> None:
        place = etag in own.ids or _STREAM_ID.fullmatch(etag) is not None
        bare = await self._begins(own, "")
        last = own.ids[-1] if own.ids else etag if place else ""
        resumed = await self._begins(own, last) if last else "not asked"
        with_etag = await self._begins(own, etag) if etag else ""
        await read(seconds=_MOMENT)
        if own.over:
            return
        self.findings.saw("noxus.replay", f"without etag: {bare}; with one: {resumed.replace('later', 'after it')}")
        if etag:
            note = f"attached with it, /events begins: {with_etag}"
            self.findings.saw("noxus.etag", "place in the stream" if place else "version", note)
        else:
            self.findings.saw("noxus.etag", "none")

    async def _begins(self, own: Heard, etag: str) -> str:
        """Where in the run a stream attached with ``etag`` begins: at its start, later, or what else happens."""
        try:
            async with self._talk.events(etag) as (heard, read):
                await read(seconds=self._patience.quiet, enough=lambda: bool(heard.frames))
        except AgentError as error:
            return str(error.status) if error.status else "silence"
        if not heard.frames:
            return "its end" if heard.over else "silence"
        first, start = heard.frames[0], own.frames[0]
        same = first.event_id == start.event_id if first.event_id else first.data == start.data
        return "start" if same else "later"

    async def _left(self, count: int, left_with: int) -> None:
        """After the reader left: wait for the answer to stand in the conversation and to grow no more."""
        until = time.monotonic() + self._patience.answer
        length, began = -1, False
        while time.monotonic() < until:
            state = await self._talk.look()
            reply = reply_events({"messages": state.messages[count:]}) if len(state.messages) > count else []
            now = sum(len(event.text) for event in reply if isinstance(event, TextDelta))
            if now and now == length:
                # What was under way when the reader left may have been kept as well.
                grown = now > 1.5 * left_with + 60
                self.findings.saw("noxus.on_disconnect", "yes, whole" if grown else "no, cut")
                return
            length, began = now, began or bool(now)
            await asyncio.sleep(self._patience.look)
        self.findings.missed("noxus.on_disconnect", f"{'still growing' if began else 'not there'} after a while")

    async def _two(self) -> None:
        """Two messages at once: a long one, and a short one as soon as the answer to the first begins."""
        async with self._talk.stream(_COUNT) as (first, read_first):
            await read_first(enough=lambda: bool(first.text_at))
            if first.over:
                self.findings.missed("noxus.second_post", "the first answer was over before the second was sent")
                return
            async with asyncio.TaskGroup() as tasks:
                rest = tasks.create_task(read_first())
                second = Heard()
                try:
                    async with self._talk.stream(_HELLO) as (second, read_second):
                        await read_second()
                except AgentError as error:
                    if error.status:
                        self.findings.saw("noxus.second_post", "conflict" if error.status == 409 else str(error.status))
                await rest
        if second.frames:
            # The end of one stream and the start of the next may be read in any order.
            after = sum(record.at > second.frames[0].at for record in first.frames)
            self.findings.saw("noxus.second_post", "beside the first" if after > len(first.frames) / 4 else "queued")
        self.findings.missed("noxus.second_post", "the second message got no answer")

    async def _renamed(self) -> None:
        state = await self._talk.look()
        self.findings.saw("noxus.renames", "no" if state.name == NAME else "yes")

    async def _refusals(self) -> None:
        self.findings.saw("noxus.bad_key", await self._talk.refusal_of_wrong_key())
        self.findings.saw("noxus.unknown_conversation", await status(self._talk.look(str(uuid4()))))
        unknown = AgentTarget(agent_id=str(uuid4()))
        self.findings.saw("noxus.unknown_agent", await status(self._talk.scratch(unknown)))

    async def _file(self) -> None:
        if not self._enabled(_FILE_TOOLS):
            self.findings.missed("noxus.files_as", "not enabled")
            return
        async with self._talk.stream(_FILE) as (heard, read):
            await read()
        calls = {event.call_id for event in heard.events if isinstance(event, ToolStarted)}
        outputs = " ".join(record.data for record in heard.frames if "tool-output-available" in record.data)
        urls = [event.url for event in heard.events if isinstance(event, FileOffered)]
        if any(url.startswith("data:") for url in urls):
            self.findings.saw("noxus.files_as", "data_uri")
        elif set(_UUID.findall(outputs)) - calls:
            self.findings.saw("noxus.files_as", "tool_output")
        elif any('"data-' in record.data for record in heard.frames):
            self.findings.saw("noxus.files_as", "data_frame")
        elif urls:
            self.findings.saw("noxus.files_as", "file_frame")
        elif "/v1/file/" in heard.text:
            self.findings.saw("noxus.files_as", "link")
        else:
            self.findings.missed("noxus.files_as", "no file was seen in the stream")
            return
        self._leftovers.made("the file probe.csv in Noxus", _cannot_delete_files)

    async def _ask_human(self) -> None:
        enabled = self._enabled((_HUMAN_TOOL,))
        if not (enabled and self._human):
            why_not = "not asked: it may call a person; --human asks it" if enabled else "not enabled"
            for question in ("noxus.human", "noxus.held"):
                self.findings.missed(question, why_not)
            return
        conversation = await self._talk.scratch(self._target)
        async with self._talk.stream(_HUMAN, conversation=conversation) as (heard, read):
            await read()
        state = await self._talk.look(conversation)
        started = [event for event in heard.events if isinstance(event, ToolStarted)]
        back = {event.call_id for event in heard.events if isinstance(event, ToolFinished)}
        called = [f"{shown(event.name)}, {'output' if event.call_id in back else 'no output'}" for event in started]
        seen = [*(called or ["no tool"]), "manual" if state.manual else "not manual"]
        self.findings.saw("noxus.human", ", ".join(seen), f"status: {shown(state.status)}")
        if state.manual:
            async with self._talk.stream(_HELLO, conversation=conversation) as (heard, read):
                await read()
            still = (await self._talk.look(conversation)).manual
            answered = "an answer" if heard.text else "silence"
            self.findings.saw("noxus.held", f"{answered}, {'still manual' if still else 'not manual any more'}")

    async def _inline_files(self) -> None:
        if not self._large:
            self.findings.missed("noxus.b64_limit", "not asked: --large sends files of up to 40 MB")
            return
        seen = []
        for megabytes in _LARGE_MEGABYTES:
            conversation = await self._talk.scratch(self._target)
            size = megabytes * 1024 * 1024
            zeros = "A" * (size // 3 * 4) + ("", "AA==", "AAA=")[size % 3]
            file = {"name": "probe.bin", "type": "application/octet-stream", "size": size, "id": str(uuid4())}
            files = [{**file, "status": "success", "b64_content": zeros, "url": None}]
            body = {**message_body(_HELLO), "files": files}
            answered = await status(self._talk.submit(conversation, body))
            await self._talk.delete(conversation)
            seen.append(f"{megabytes} MB {answered}")
        self.findings.saw("noxus.b64_limit", ", ".join(seen))

    def _in_passing(self) -> None:
        """What any of the streams may have shown."""
        findings = self.findings
        if any(isinstance(event, ApprovalRequested) for heard in self._talk.heard for event in heard.events):
            findings.saw("noxus.sdk_version", "6")
        findings.missed("noxus.sdk_version", "no tool that waits for approval was called")
        failed = [heard for heard in self._talk.heard if heard.decoder.failure is not None]
        if failed:
            findings.saw("noxus.error_as", "event" if failed[0].named("error") else "frame")
        if any(names_message_cap(heard.decoder.failure or "") for heard in failed):
            findings.saw("noxus.message_cap_style", "error_frame")
        findings.missed("noxus.error_as", "no answer failed")
        findings.missed("noxus.message_cap_style", "not asked: it takes more messages than a probe should send")
        findings.missed("noxus.timeout_run", "not asked: it takes longer than a probe should")
        first = next((heard for heard in self._talk.heard if heard.text_at), None)
        counted = max(self._talk.heard, key=lambda heard: len(heard.text_at), default=None)
        if first and counted and (took := counted.text_at[-1] - counted.text_at[0]) > 0:
            delay, rate = first.text_at[0] - first.began, (len(counted.text_at) - 1) / took
            seen = f"first text after {delay:.1f} s, then {rate:.0f} pieces a second"
            findings.saw("noxus.pace", seen, alike=delay < 1.2 and 10 < rate < 100)
        findings.missed("noxus.pace", "no answer with more than one piece of text")
        self._keep_alive()

    def _keep_alive(self) -> None:
        gaps = [
            then - before
            for heard in self._talk.heard
            for before, then in zip([heard.began, *heard.comments], heard.comments, strict=False)
        ]
        watched = max((heard.last - heard.began for heard in self._talk.heard), default=0.0)
        if gaps:
            every = statistics.median(gaps)
            self.findings.saw("noxus.keep_alive", f"every {every:.2g} s", alike=abs(every - 15) < 1)
        else:
            self.findings.missed("noxus.keep_alive", f"none, but no stream was watched for longer than {watched:.0f} s")

    def _enabled(self, names: tuple[str, ...]) -> str:
        """The first of these tools that the agent may use."""
        enabled = {name for name, tool in tools(self._state.settings) if tool.get("enabled") is True}
        return next((name for name in names if name in enabled), "")


def _envelope(data: str) -> str:
    """What the data of an event with format=json is, in words."""
    try:
        payload = json.loads(data)
    except ValueError:
        payload = None
    match payload:
        case {"event": str(), "data": str(inner)}:
            kind = ", type inside" if '"type"' in inner else ""
            return f"envelope{kind}, as JSON text"
        case {"event": str(), "data": dict(inner)}:
            return "envelope, type inside" if "type" in inner else "envelope"
        case {"type": str()}:
            return "no envelope"
    return "something else"


async def _cannot_delete_files() -> str:
    return "Noxus has no call that deletes it"
