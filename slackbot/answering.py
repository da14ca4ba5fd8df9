"""One question in flight: asks the agent, feeds the reply, and can be cut off."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass

from slackbot.domain import (
    AgentProfile,
    AgentTarget,
    Body,
    Button,
    ContextMessage,
    FileOffered,
    PartRef,
    Turn,
)
from slackbot.errands import Errands
from slackbot.errors import (
    AgentError,
    ChatError,
    ConversationFull,
    ConversationGone,
    Interrupted,
    SlackbotError,
)
from slackbot.files.incoming import Bundle, Incoming
from slackbot.files.outgoing import Outgoing
from slackbot.listening import Listener
from slackbot.ports import Agent, Chat
from slackbot.questions import Questions
from slackbot.replies.reply import Reply, ReplyTools
from slackbot.store import Store

log = logging.getLogger(__name__)

NAME_SECONDS = 2.0
"""Who stopped an answer is worth a short wait; its end is worth more."""
ABOVE, BELOW = -2, -1
"""Part numbers of what is said about files: no parts of the answer, but found by them all the same."""


class TurnLost(SlackbotError):
    """Another process owns the turn now: nothing more may be written for it."""


class GivenBack(SlackbotError):
    """We are stopping and Noxus has not seen the message: the next process starts over."""


@dataclass(frozen=True, slots=True)
class TurnTools:
    """What every turn of a process shares. ``owner`` is the name under which this process holds turns; ``feedback``
    puts thumbs under answers."""

    store: Store
    chat: Chat
    agent: Agent
    questions: Questions
    incoming: Incoming
    outgoing: Outgoing
    reply: ReplyTools
    errands: Errands
    target: AgentTarget
    owner: str
    feedback: bool = True


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an answer ended: whole, with an ``error`` or, cut off on purpose, with a ``code``."""

    error: AgentError | None = None
    code: str = ""


async def stopped_words(chat: Chat, team_id: str, user_id: str) -> str:
    """The sentence below an answer that this person stopped."""
    try:
        async with asyncio.timeout(NAME_SECONDS):
            people = await chat.people(team_id, [user_id])
    except (ChatError, TimeoutError):
        return "Stopped."
    return f"Stopped by {people[user_id].name}."


class Answering:
    """Answers one turn into ``reply``. ``stopped_by`` is who wanted it to end, if anybody did."""

    def __init__(self, tools: TurnTools, turn: Turn, reply: Reply) -> None:
        self._tools = tools
        self._turn = turn
        self._reply = reply
        self._listening: asyncio.Task[Outcome] | None = None
        self._leaving = False
        self._stopped_by = turn.stopped_by
        self.conversation_id = turn.conversation.agent_conversation_id
        self.submitted = False
        """Whether Noxus may have the message."""
        self.sent_files = turn.conversation.sent_files
        """The files that the conversation has, with those of this turn."""
        self._offers: list[FileOffered] = []

    def stop(self, user_id: str) -> None:
        """End the answer at once, with what there is of it and who wanted that."""
        if self._stopped_by is None:
            self._stopped_by = user_id
            self._cut_off()

    def interrupt(self) -> None:
        """The process ends: show what there is, with a Retry button, or give the turn back."""
        self._leaving = True
        self._cut_off()

    def _cut_off(self) -> None:
        if self._listening is not None:
            self._listening.cancel()

    async def run(self) -> Outcome:
        """Listen to the agent and show the reply at the same time; returns once Slack shows all of it.

        Raises ``ChatError``, ``StoreError``, ``TurnLost``, and ``GivenBack``.
        """
        try:
            async with asyncio.TaskGroup() as tasks:
                profile = tasks.create_task(self._tools.agent.profile(self._tools.target))
                showing = tasks.create_task(self._reply.run())
                self._listening = tasks.create_task(self._listen(profile))
                await asyncio.wait([self._listening, showing], return_when=asyncio.FIRST_COMPLETED)
                if self._reply.abandoned:
                    self._cut_off()
                await asyncio.wait([self._listening])
                profile.cancel()
        except BaseExceptionGroup as group:
            # One of the two broke and took the other down: the first cause is what the worker must know.
            raise group.exceptions[0] from None
        if offers := [*self._offers, *self._reply.linked_files]:
            await self._tell(await self._tools.outgoing.share(self._turn.thread, offers), BELOW)
        return self._listening.result()

    async def _tell(self, words: str, place: int) -> None:
        """Say something about files in the thread, once, however often the turn is tried."""
        turn, chat = self._turn, self._tools.chat
        if not words:
            return
        try:
            if turn.attempt == 1 or all(part.index != place for part in await chat.find_parts(turn.thread, turn.id)):
                await chat.post(turn.thread, lambda: Body(notice=words), PartRef(turn.id, place))
        except ChatError as error:
            log.warning("files.unsaid", extra={"turn": turn.id, "error": str(error)})

    async def _listen(self, profile: asyncio.Task[AgentProfile]) -> Outcome:
        """Ask the agent and feed the reply, until its end or until somebody wants no more of it."""

        def known_profile() -> AgentProfile:
            return profile.result() if profile.done() and not profile.cancelled() else AgentProfile()

        try:
            if not (self._stopped_by or self._leaving):
                listener = Listener(self._reply, known_profile)
                await self._ask(listener)
                return self._complete(listener)
        except AgentError as error:
            return self._failed(error)
        except asyncio.CancelledError:
            if not (self._stopped_by or self._leaving or self._reply.abandoned):
                raise
        if self._stopped_by:
            self._reply.end(await stopped_words(self._tools.chat, self._turn.thread.team_id, self._stopped_by))
            return Outcome(code="stopped")
        if self._reply.abandoned:
            return Outcome(code="reply_deleted")
        if not self.submitted:
            raise GivenBack
        return self._failed(Interrupted("stopped before the agent was done"))

    def _complete(self, listener: Listener) -> Outcome:
        self._offers = listener.offers
        thumbs = self._tools.feedback and self._reply.has_text
        self._reply.end(listener.closing_words(), (Button.GOOD, Button.BAD) if thumbs else ())
        if listener.unknown_frames:
            log.info("agent.unknown_frames", extra={"turn": self._turn.id, "kinds": sorted(listener.unknown_frames)})
        return Outcome()

    def _failed(self, error: AgentError) -> Outcome:
        log.warning(
            "agent.failed",
            extra={
                "turn": self._turn.id,
                "slack_thread": str(self._turn.thread),
                "code": error.code,
                "status": error.status,
                "request": error.request_id,
                "may_have_arrived": error.may_have_arrived,
                "error": str(error),
            },
        )
        self._reply.end(error.sentence, (Button.RETRY,))
        return Outcome(error)

    async def _ask(self, listener: Listener) -> None:
        conversation = self._turn.conversation
        needs_past = conversation.needs_past or (self.conversation_id is None and self._turn.is_reply)
        try:
            await self._converse(listener, needs_past=needs_past)
        except (ConversationGone, ConversationFull) as error:
            if self._reply.has_text:
                raise
            log.warning(
                "conversation.replaced",
                extra={"turn": self._turn.id, "conversation": self.conversation_id, "reason": error.code},
            )
            await self._tools.store.bind(conversation.id, None, needs_past=True)
            self.conversation_id, self.sent_files = None, frozenset()
            await self._converse(listener, needs_past=True)

    async def _converse(self, listener: Listener, *, needs_past: bool) -> None:
        """Send the question with all that belongs to it, and listen to the end of the answer."""
        tools, turn = self._tools, self._turn
        context = await tools.questions.context(turn, read_thread=needs_past)
        bundle = await self._gather(context)
        with bundle.held:
            question = await tools.questions.compose(turn, context, bundle.about)
            if self.conversation_id is None:
                self.conversation_id = await tools.agent.create_conversation(tools.target, f"Slack {turn.thread}")
                # At once: Noxus does not list a conversation without messages, so a lost id is lost for good.
                await tools.store.bind(turn.conversation.id, self.conversation_id, needs_past=needs_past)
            if not await tools.store.mark_submitted(turn.id, tools.owner):
                raise TurnLost
            self.submitted = True
            async with tools.agent.ask(self.conversation_id, question, bundle.files) as events:
                bundle.close()
                self.sent_files |= frozenset(bundle.sent)
                async for event in events:
                    listener.hear(event)

    async def _gather(self, context: Sequence[ContextMessage]) -> Bundle:
        """The files of the message, and of what goes along with it; what cannot go is said before the agent answers."""
        turn = self._turn
        files = [*turn.attachments, *(file for said in reversed(context) for file in said.attachments)]
        if not files:
            return Bundle()
        self._reply.step("Reading the files…", "is reading the files…")
        profile = await self._tools.agent.profile(self._tools.target)
        bundle = await self._tools.incoming.gather(
            turn.thread, files, known=self.sent_files, agent_reads=profile.reads_files
        )
        self._reply.step("")
        if bundle.note:
            await self._tell(bundle.note, ABOVE)
            self._reply.repeat_status()
        return bundle
