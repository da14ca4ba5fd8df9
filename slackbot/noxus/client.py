"""The ``Agent`` port over HTTP: conversations, answers, the agent's profile.

Endpoints: https://docs.noxus.ai/api-reference/cookbook/agents.
"""

from __future__ import annotations

import asyncio
import logging
import random
import re
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from http import HTTPStatus
from typing import BinaryIO, Final
from urllib.parse import quote

import httpx

from slackbot.domain import (
    AgentEvent,
    AgentProfile,
    AgentTarget,
    ConversationState,
    FileBytes,
    FileLink,
    FileOffered,
)
from slackbot.errors import (
    AgentError,
    AgentRefused,
    AgentTimedOut,
    AgentUnavailable,
    AgentUnknown,
    ConversationGone,
    Interrupted,
    StreamBroken,
)
from slackbot.noxus import conversation
from slackbot.noxus.answer import EVENT_STREAM, Crowd, Patience, is_stream, streamed, whole
from slackbot.noxus.body import FilesBody
from slackbot.noxus.caller import Caller
from slackbot.noxus.events import clean
from slackbot.noxus.fetch import Resolve, fetched, resolve
from slackbot.noxus.hearing import Hearing
from slackbot.noxus.profile import agent_profile
from slackbot.noxus.recovery import UNREADABLE_LOOKS_UNSURE, Recovery, Sent
from slackbot.noxus.wire import Call, message_body
from slackbot.text.question import digest

log = logging.getLogger(__name__)

PROFILE_SECONDS: Final = 600.0
"""How long a profile is remembered."""
PROFILE_RETRY_SECONDS: Final = 60.0
"""When to look again after a profile could not be read."""
PROFILE_PATIENCE: Final = 10.0
"""A greeting may wait for the profile, so it is given up sooner than other calls. Seconds for each try."""

_NO_SUCH_ENDPOINT: Final = (HTTPStatus.METHOD_NOT_ALLOWED, HTTPStatus.NOT_ACCEPTABLE, HTTPStatus.NOT_IMPLEMENTED)
_ABOUT_AGENT: Final = re.compile(r"assistant|agent|flow", re.IGNORECASE)
_FLOW_SETTINGS: Final = {"model": ["preset:cost"], "temperature": 0.7, "max_tokens": 64000, "tools": []}
"""What the released SDK's settings model asks for besides the flow's id."""


class NoxusClient:
    """Talks to one Noxus workspace, the one its key belongs to. Keeps connections alive; ``aclose`` ends them.

    ``base_url`` may hold a path prefix. ``mode`` is "stream", or "chat" for whole answers; a server without streams
    switches it by itself. ``idle_seconds`` bounds the silence before and between the records of a stream,
    ``total_seconds`` the whole answer.
    """

    def __init__(  # noqa: PLR0913 - settings by name, and what tests pass in: time, chance, the name service
        self,
        base_url: str,
        api_key: str,
        *,
        mode: str = "stream",
        idle_seconds: float = 120.0,
        total_seconds: float = 600.0,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        jitter: Callable[[], float] = random.random,
        clock: Callable[[], float] = time.monotonic,
        resolve: Resolve = resolve,
    ) -> None:
        self._caller = Caller(base_url, api_key, sleep=sleep, jitter=jitter)
        self._streams = mode == "stream"
        self._idle = idle_seconds
        self._total = total_seconds
        self._sleep = sleep
        self._crowd = Crowd()
        self._clock = clock
        self._resolve = resolve
        self._profiles: dict[str, tuple[float, AgentProfile]] = {}
        self._profile_lock = asyncio.Lock()

    async def aclose(self) -> None:
        """Close all connections. Answers still being read break."""
        await self._caller.aclose()

    @property
    def is_down(self) -> bool:
        """Whether Noxus has not answered for a while, so that calls fail at once."""
        return self._caller.is_down

    async def create_conversation(self, target: AgentTarget, name: str) -> str:
        """See ``Agent``."""
        if target.flow_id:
            params, settings = None, {**_FLOW_SETTINGS, "agent_flow_id": target.flow_id}
        else:
            params, settings = {"assistant_id": target.agent_id or ""}, None
        call = Call("POST", "/v1/conversations", params, {"name": clean(name), "settings": settings})
        try:
            answer = await self._caller.json(call)
        except (ConversationGone, AgentRefused) as error:
            if isinstance(error, AgentRefused) and not _ABOUT_AGENT.search(str(error)):
                raise
            raise AgentUnknown(
                str(error), status=error.status, request_id=error.request_id, may_have_arrived=False
            ) from error
        match answer:
            case {"id": str(conversation_id)} if conversation_id:
                return conversation_id
        raise AgentUnavailable("POST /v1/conversations: the answer has no id", may_have_arrived=False)

    @asynccontextmanager
    async def ask(
        self, conversation_id: str, content: str, files: Sequence[FileBytes | FileLink] = ()
    ) -> AsyncIterator[AsyncIterator[AgentEvent]]:
        """See ``Agent``. A ``RunFinished`` may come before the end; only the end says that nothing follows."""
        now = asyncio.get_running_loop().time()
        patience = Patience(self._idle, now + self._total, self._crowd)
        hearing, sent = Hearing(), Sent(digest(content), now)

        def recovered(cause: AgentError, *, arrived: bool) -> AsyncGenerator[AgentEvent, None]:
            return Recovery(
                self._caller,
                conversation_id,
                hearing,
                sent,
                patience,
                cause=cause,
                arrived=arrived,
                looks=UNREADABLE_LOOKS_UNSURE,
                sleep=self._sleep,
            ).events()

        try:
            response = await self._submit(conversation_id, content, files, patience.until)
        except AgentError as error:
            if not error.may_have_arrived:
                raise
            events = await _begun(recovered(error, arrived=False))
        else:
            events = self._read(response, patience, hearing, recovered)
        async with aclosing(events):
            yield events

    @asynccontextmanager
    async def recover(self, conversation_id: str, digest: str, age: float) -> AsyncIterator[AsyncIterator[AgentEvent]]:
        """See ``Agent``."""
        now = asyncio.get_running_loop().time()
        recovery = Recovery(
            self._caller,
            conversation_id,
            Hearing(),
            Sent(digest, now - age),
            Patience(self._idle, now + self._total, self._crowd),
            cause=Interrupted("nothing shows the whole answer"),
            arrived=False,
            sleep=self._sleep,
        )
        async with aclosing(await _begun(recovery.events())) as events:
            yield events

    async def state(self, conversation_id: str) -> ConversationState:
        """See ``Agent``."""
        return await conversation.conversation_state(self._caller, conversation_id)

    async def fetch(self, offer: FileOffered, into: BinaryIO, *, most: int) -> FileBytes:
        """See ``Agent``. The key goes along to ``/v1/file/…`` of our Noxus, and nowhere else."""
        return await fetched(offer, into, most, self._caller, self._resolve)

    async def settle(self, conversation_id: str) -> None:
        """See ``Agent``."""
        await conversation.settle(self._caller, conversation_id, sleep=self._sleep)

    async def profile(self, target: AgentTarget) -> AgentProfile:
        """See ``Agent``. Chat flows have no profile."""
        agent_id = target.agent_id
        if not agent_id:
            return AgentProfile()
        async with self._profile_lock:
            until, known = self._profiles.get(agent_id, (float("-inf"), AgentProfile()))
            if self._clock() < until:
                return known
            try:
                call = Call("GET", f"/v1/agents/{quote(agent_id, safe='')}")
                known = agent_profile(await self._caller.json(call, PROFILE_PATIENCE))
                until = self._clock() + PROFILE_SECONDS
            except AgentError as error:
                log.warning("noxus.profile_unread", extra={"reason": str(error), "request": error.request_id})
                until = self._clock() + PROFILE_RETRY_SECONDS
            self._profiles[agent_id] = (until, known)
            return known

    async def _submit(
        self, conversation_id: str, content: str, files: Sequence[FileBytes | FileLink], until: float
    ) -> httpx.Response:
        path = conversation.path(conversation_id)
        fields = message_body(content)
        body: object = FilesBody(fields, files) if files else {**fields, "files": None}
        if self._streams:
            call = Call("POST", f"{path}/stream", {"format": "json"}, body, EVENT_STREAM, carries_message=True)
            try:
                return await self._caller.send(call, self._idle, until)
            except AgentError as error:
                if not await self._lacks_streams(error, path):
                    raise
                self._use_chat(str(error))
        call = Call("POST", f"{path}/chat", None, body, carries_message=True)
        return await self._caller.send(call, self._total, until)

    async def _read(
        self, response: httpx.Response, patience: Patience, hearing: Hearing, recovered: _Recovered
    ) -> AsyncGenerator[AgentEvent, None]:
        try:
            try:
                if is_stream(response):
                    async with aclosing(streamed(response, patience, self._caller.key, hearing)) as events:
                        async for event in events:
                            yield event
                else:
                    for event in await whole(response, patience.until, self._caller.key):
                        yield event
                    self._use_chat("a stream request was answered whole")
            finally:
                await response.aclose()
            return
        except (StreamBroken, AgentTimedOut, AgentUnavailable) as error:
            # What is no answer at all may be somebody else's, such as a proxy's.
            events = recovered(error, arrived=not isinstance(error, AgentUnavailable))
        async with aclosing(events):
            async for event in events:
                yield event

    async def _lacks_streams(self, error: AgentError, path: str) -> bool:
        """Whether it is certain that the server has no stream endpoint, and so that nothing ran."""
        if error.status != HTTPStatus.NOT_FOUND:
            return error.status in _NO_SUCH_ENDPOINT
        try:
            await self._caller.json(Call("GET", path))
        except ConversationGone:
            return False
        return True

    def _use_chat(self, why: str) -> None:
        if self._streams:
            log.warning("noxus.no_streams", extra={"reason": why})
        self._streams = False


_Recovered = Callable[..., AsyncGenerator[AgentEvent, None]]


async def _begun(events: AsyncGenerator[AgentEvent, None]) -> AsyncGenerator[AgentEvent, None]:
    """The same events, once the first of them is there."""
    try:
        first = await anext(events, None)
    except BaseException:
        await events.aclose()
        raise

    async def all_of_them() -> AsyncGenerator[AgentEvent, None]:
        async with aclosing(events):
            if first is not None:
                yield first
            async for event in events:
                yield event

    return all_of_them()
