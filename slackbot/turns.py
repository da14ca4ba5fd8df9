"""Use case: run one turn, from the claimed message to the last word in Slack."""

from __future__ import annotations

import asyncio
import itertools
import logging

from slackbot.domain import (
    AgentProfile,
    AgentTarget,
    Body,
    Notice,
    PartRecord,
    PartRef,
    Turn,
    TurnKind,
)
from slackbot.errors import (
    SENTENCES,
    AgentError,
    ChatError,
    ChatRateLimited,
    ConversationFull,
    ConversationGone,
    Interrupted,
    MessageGone,
    SlackbotError,
)
from slackbot.listening import Listener
from slackbot.ports import Agent, Chat
from slackbot.questions import Questions
from slackbot.replies.reply import Reply, ReplyTools
from slackbot.store import Store, StoreError
from slackbot.text.outbound import prepare

log = logging.getLogger(__name__)

RECORD_TRIES = 300
RECORD_PAUSE = 1.0
"""For five minutes a finished turn waits for the database to take its end."""


class TurnLost(SlackbotError):
    """Another process owns the turn now: nothing more may be written for it."""


class _GivenBack(SlackbotError):
    """We are stopping and Noxus has not seen the message: the next process starts over."""


class Turns:
    """Runs claimed turns. One object for the process; a turn's own state lives in its call."""

    def __init__(
        self,
        store: Store,
        chat: Chat,
        agent: Agent,
        questions: Questions,
        reply_tools: ReplyTools,
        *,
        target: AgentTarget,
        owner: str,
    ) -> None:
        self._store = store
        self._chat = chat
        self._agent = agent
        self._questions = questions
        self._reply_tools = reply_tools
        self._target = target
        self._owner = owner
        self._listening: dict[int, asyncio.Task[AgentError | None]] = {}
        self._submitted: set[int] = set()
        self._stopping = asyncio.Event()

    async def run(self, turn: Turn) -> None:
        """Do what the turn asks for and record how it ended.

        Raises ``ChatError`` when Slack takes no answer, ``StoreError`` when the database is away, and ``TurnLost``.
        """
        match turn.kind:
            case TurnKind.ASK:
                await self._ask(turn)
            case TurnKind.RESET:
                await self._store.bind(turn.conversation.id, None)
                await self._say(turn, SENTENCES[Notice.RESET])
            case TurnKind.NOTICE:
                await self._say(turn, await self._words(turn.notice))
            case TurnKind.CONTEXT:
                await self._store.finish(turn.id, self._owner)

    def interrupt(self) -> None:
        """Stop waiting for the agent in every running turn: each ends with what there is and a Retry button."""
        self._stopping.set()
        for listening in self._listening.values():
            listening.cancel()

    async def apologise(self, turn: Turn, error: SlackbotError) -> None:
        """End a turn that broke on our side: one sentence and Retry, below whatever there is of the answer.

        Raises ``ChatError`` when Slack does not take the sentence.
        """
        parts = await self._earlier(turn)
        body = Body(notice=error.sentence, retry_turn=turn.id)
        placeholder = next((part for part in parts if part.placeholder), None)
        if not (placeholder and await self._edit(turn, placeholder.ts, body)):
            index = parts[-1].index + 1 if parts else 0
            ts = await self._chat.post(turn.thread, lambda: body, PartRef(turn.id, index))
            # As a placeholder it is written over, not repeated, when this very step is cut off and done again.
            await self._store.record_part(turn.id, PartRecord(index, ts, placeholder=True))
        await self._record_end(turn, error)

    async def _edit(self, turn: Turn, ts: str, body: Body) -> bool:
        """Write over one of our messages; False when it is gone. Raises ``ChatRateLimited`` when there is no slot."""
        tools = self._reply_tools
        wait = tools.budget.take(turn.thread.team_id, "chat.update", tools.now())
        if wait:
            # Many of them after a restart: better late than refused.
            raise ChatRateLimited("chat.update: no slot", retry_after=wait)
        try:
            await self._chat.edit(turn.thread, ts, body)
        except MessageGone:
            return False
        return True

    # --- sentences of ours ---

    async def _words(self, notice: Notice | None) -> str:
        if notice is Notice.GREETING:
            profile = await self._agent.profile(self._target)
            return profile.introductory_message or SENTENCES[Notice.GREETING]
        return SENTENCES[notice] if notice else ""

    async def _say(self, turn: Turn, words: str) -> None:
        # A crash between the post and its record must not say it twice.
        if turn.attempt == 1 or not await self._chat.find_parts(turn.thread, turn.id):
            body = Body(markdown=prepare(words))
            await self._chat.post(turn.thread, lambda: body, PartRef(turn.id, 0))
        await self._store.finish(turn.id, self._owner)

    # --- agent runs ---

    async def _ask(self, turn: Turn) -> None:
        if turn.submitted:
            # Noxus may have it: only a person's press may send it again.
            await self.apologise(turn, Interrupted("the process died while the agent was answering"))
            return

        async def record(part: PartRecord) -> None:
            try:
                await self._store.record_part(turn.id, part)
            except StoreError as error:
                # The message's metadata tells as much; the answer must not suffer.
                log.error("part.unrecorded", extra={"turn": turn.id, "part": part.index, "error": str(error)})

        earlier = await self._earlier(turn) if turn.attempt > 1 else []
        reply = Reply(self._reply_tools, turn.thread, turn.id, record=record, earlier=earlier)
        started = self._reply_tools.now()
        try:
            error = await self._converse(turn, reply)
        except _GivenBack:
            await self._store.postpone(turn.id, self._owner, 0.0)
            await self._chat.set_status(turn.thread, "")
            log.info("turn.given_back", extra={"turn": turn.id, "slack_thread": str(turn.thread)})
            return
        await self._record_end(turn, error, parts=reply.part_count)
        log.info(
            "turn.finished",
            extra={
                "turn": turn.id,
                "slack_thread": str(turn.thread),
                "outcome": error.code if error else "done",
                "parts": reply.part_count,
                "seconds": round(self._reply_tools.now() - started, 2),
            },
        )

    async def _record_end(self, turn: Turn, error: SlackbotError | None, *, parts: int | None = None) -> None:
        """What people see is settled: record it, however long the database is away, as nobody may do it again."""
        for tries in itertools.count(1):
            try:
                if parts is not None:
                    await self._store.drop_parts(turn.id, parts)
                if error is None:
                    await self._store.finish(turn.id, self._owner)
                else:
                    await self._store.fail(turn.id, self._owner, error.code)
            except StoreError as away:
                if tries == RECORD_TRIES:
                    raise
                log.error("turn.unrecorded", extra={"turn": turn.id, "error": str(away)})
                await asyncio.sleep(RECORD_PAUSE)
            else:
                return

    async def _converse(self, turn: Turn, reply: Reply) -> AgentError | None:
        """Listen to the agent and show the reply at the same time; returns once Slack shows all of it."""
        try:
            async with asyncio.TaskGroup() as tasks:
                profile = tasks.create_task(self._agent.profile(self._target))
                tasks.create_task(reply.run())
                listening = tasks.create_task(self._listen(turn, reply, profile))
                self._listening[turn.id] = listening
                await asyncio.wait([listening])
                profile.cancel()
        except BaseExceptionGroup as group:
            # One of the two broke and took the other down: the first cause is what the worker must know.
            raise group.exceptions[0] from None
        finally:
            self._listening.pop(turn.id, None)
            self._submitted.discard(turn.id)
        return listening.result()

    async def _listen(self, turn: Turn, reply: Reply, profile: asyncio.Task[AgentProfile]) -> AgentError | None:
        """Ask the agent and feed the reply; returns what went wrong, None for a complete answer."""

        def known_profile() -> AgentProfile:
            return profile.result() if profile.done() and not profile.cancelled() else AgentProfile()

        listener = Listener(reply, known_profile)
        if self._stopping.is_set():
            raise _GivenBack
        try:
            await self._answer(turn, reply, listener)
        except AgentError as caught:
            error = caught
        except asyncio.CancelledError:
            if not self._stopping.is_set():
                raise
            if turn.id not in self._submitted:
                raise _GivenBack from None
            error = Interrupted("stopped before the agent was done")
        else:
            reply.end(listener.closing_words())
            if listener.unknown_frames:
                log.info("agent.unknown_frames", extra={"turn": turn.id, "kinds": sorted(listener.unknown_frames)})
            return None
        log.warning(
            "agent.failed",
            extra={
                "turn": turn.id,
                "slack_thread": str(turn.thread),
                "code": error.code,
                "status": error.status,
                "request": error.request_id,
                "may_have_arrived": error.may_have_arrived,
                "error": str(error),
            },
        )
        reply.end(error.sentence, retry=True)
        return error

    async def _answer(self, turn: Turn, reply: Reply, listener: Listener) -> None:
        thread = turn.conversation
        conversation_id = thread.agent_conversation_id
        needs_past = thread.needs_past or (conversation_id is None and turn.is_reply)
        started_over = False
        while True:
            question = await self._questions.compose(turn, read_thread=needs_past)
            if conversation_id is None:
                conversation_id = await self._agent.create_conversation(self._target, f"Slack {turn.thread}")
                # At once: Noxus does not list a conversation without messages, so a lost id is lost for good.
                await self._store.bind(thread.id, conversation_id, needs_past=needs_past)
            if not await self._store.mark_submitted(turn.id, self._owner):
                raise TurnLost
            self._submitted.add(turn.id)
            try:
                async with self._agent.ask(conversation_id, question) as events:
                    async for event in events:
                        listener.hear(event)
                return
            except (ConversationGone, ConversationFull) as error:
                if started_over or reply.has_text:
                    raise
                log.warning(
                    "conversation.replaced",
                    extra={"turn": turn.id, "conversation": conversation_id, "reason": error.code},
                )
                await self._store.bind(thread.id, None, needs_past=True)
                conversation_id, needs_past, started_over = None, True, True

    # --- earlier tries ---

    async def _earlier(self, turn: Turn) -> list[PartRecord]:
        """Messages of earlier tries, by part, with those that were posted but not recorded."""
        parts = {part.index: part for part in await self._store.parts(turn.id)}
        try:
            found = await self._chat.find_parts(turn.thread, turn.id)
        except ChatError as error:
            log.warning(
                "parts.unsearched", extra={"turn": turn.id, "slack_thread": str(turn.thread), "error": str(error)}
            )
            found = []
        for part in found:
            if part.index not in parts:
                await self._store.record_part(turn.id, part)
                parts[part.index] = part
        return [parts[index] for index in sorted(parts)]
