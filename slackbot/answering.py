"""One question in flight: asks the agent, feeds the reply, and can be cut off."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass

from slackbot.domain import (
    SHARING,
    AgentProfile,
    AgentTarget,
    Button,
    ContextMessage,
    FileOffered,
    HandoverState,
    Turn,
)
from slackbot.echoes import Echoes
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
from slackbot.files.notes import ABOVE, BELOW, Notes
from slackbot.files.outgoing import INCOMPLETE, NOT_YET, Outgoing, merged, unshared
from slackbot.handover import NOBODY, Handovers
from slackbot.leases import TurnLost, may_write
from slackbot.listening import Listener
from slackbot.marks import Marks
from slackbot.ports import Agent, Chat
from slackbot.questions import Questions
from slackbot.relaying import Relay
from slackbot.replies.reply import Reply
from slackbot.replies.tools import ReplyTools
from slackbot.sessions import Sessions
from slackbot.signals import Asked, HandoverSignals
from slackbot.store import Store, StoreError
from slackbot.text.question import digest

log = logging.getLogger(__name__)

ASKED = "A human is needed here."
NAME_SECONDS = 2.0
"""Who stopped an answer is worth a short wait; its end is worth more."""
LAST_FILES_SECONDS = 6.0
"""So long who leaves goes on bringing files; those that did not come by then are named."""
MARK_PAUSE = 1.0
STOPPED, REPLY_DELETED = "stopped", "reply_deleted"
"""Codes of answers that were cut off on purpose."""
LEFT = "left"
"""The code of an answer that somebody else goes on with."""


class GivenBack(SlackbotError):
    """We are stopping: the next process starts over or, when Noxus has the message, goes on with its answer."""


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
    marks: Marks
    handovers: Handovers
    relay: Relay
    sessions: Sessions
    echoes: Echoes
    target: AgentTarget
    owner: str
    feedback: bool = True
    human_tools: frozenset[str] = frozenset()
    """Tools of the agent that call for a human, besides those that look like it."""
    human_button: bool = False
    """Whether every answer has a button that calls for a human."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an answer ended: whole, with an ``error`` or, cut off on purpose, with a ``code``."""

    error: AgentError | None = None
    code: str = ""


async def stopped_words(chat: Chat, team_id: str, user_id: str) -> str:
    """The sentence below an answer that this person stopped."""
    name = await _name(chat, team_id, user_id)
    return f"Stopped by {name}." if name else "Stopped."


async def taken_words(chat: Chat, team_id: str, user_id: str) -> str:
    """The sentence below an answer that an operator cut off by taking the thread."""
    name = await _name(chat, team_id, user_id)
    return f"Cut off here: {name or 'a human'} took over."


async def _name(chat: Chat, team_id: str, user_id: str) -> str:
    try:
        async with asyncio.timeout(NAME_SECONDS):
            return (await chat.people(team_id, [user_id]))[user_id].name
    except (ChatError, TimeoutError):
        return ""


class Answering:
    """Answers one turn into ``reply``, with ``notes`` about files beside it."""

    def __init__(self, tools: TurnTools, turn: Turn, reply: Reply, notes: Notes) -> None:
        self._tools = tools
        self._turn = turn
        self._reply = reply
        self._notes = notes
        self._listening: asyncio.Task[Outcome] | None = None
        self._sharing: asyncio.Task[None] | None = None
        self._leaving = False
        self._leaves_at = 0.0
        self._is_cut = False
        self._is_sending = False
        self._stopped_by = turn.stopped_by
        self.conversation_id = turn.conversation.agent_conversation_id
        self.submitted = turn.submitted
        """Whether Noxus may have the message."""
        self.heard = False
        """Whether it is certain that Noxus took it, with what went along."""
        self._sent_files = turn.conversation.sent_files
        self._offers: list[FileOffered] = []
        self.asked: Asked | None = None
        """The agent's call for a human."""

    def stop(self, user_id: str) -> None:
        """End the answer at once, with what there is of it and who wanted that."""
        if self._stopped_by is None:
            self._stopped_by = user_id
            self._cut_off()

    def interrupt(self) -> None:
        """The process ends: show what there is, and give the turn back."""
        self._leaving = True
        self._leaves_at = self._leaves_at or asyncio.get_running_loop().time() + LAST_FILES_SECONDS
        if self._sharing is not None:
            asyncio.get_running_loop().call_at(self._leaves_at, self._sharing.cancel)
        elif not self._is_sending:
            self._cut_off()

    def _cut_off(self) -> None:
        # Once: a second time would cut off the words that the first one is about to say.
        if self._listening is not None and not self._is_cut:
            self._is_cut = True
            self._listening.cancel()
        if self._sharing is not None:
            self._sharing.cancel()

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
        outcome = self._listening.result()
        if outcome.code == LEFT:
            raise GivenBack
        await self._share(outcome)
        return outcome

    async def _share(self, outcome: Outcome) -> None:
        """Bring what the agent made into the thread, below a whole answer only: any other is made anew by Retry."""
        if outcome.code == REPLY_DELETED:
            return
        whole = outcome == Outcome()
        offers = merged([*self._offers, *self._reply.linked_files])
        missing = [NOT_YET if whole else INCOMPLETE] * len(offers)
        if whole and offers:
            await self._mark_sharing()
            async with asyncio.TaskGroup() as tasks:
                self._sharing = tasks.create_task(self._tools.outgoing.share(self._turn.thread, offers, missing))
                if self._stopped_by:
                    self._sharing.cancel()
                elif self._leaving:
                    self.interrupt()
        await self._notes.say(BELOW, unshared(offers, missing))

    async def _mark_sharing(self) -> None:
        try:
            held = await self._tools.store.mark_shown(self._turn.id, self._tools.owner, SHARING)
        except StoreError as error:
            # Only a process that finds this turn again would need to know.
            log.error("turn.unrecorded", extra={"turn": self._turn.id, "error": str(error)})
        else:
            if not held:
                raise TurnLost

    async def _listen(self, profile: asyncio.Task[AgentProfile]) -> Outcome:
        """Ask the agent and feed the reply, until its end or until somebody wants no more of it."""

        def known_profile() -> AgentProfile:
            return profile.result() if profile.done() and not profile.cancelled() else AgentProfile()

        try:
            if not (self._stopped_by or self._leaving):
                signals = HandoverSignals(self._tools.human_tools, frozenset(), f"turn {self._turn.id}")
                listener = Listener(self._reply, known_profile, signals)
                self._offers = listener.offers
                await (self._go_on(listener) if self._turn.submitted else self._ask(listener))
                return await self._complete(listener, known_profile())
        except AgentError as error:
            return self._failed(error)
        except asyncio.CancelledError:
            if not (self._stopped_by or self._leaving or self._reply.abandoned):
                raise
        except TurnLost:
            # Or stopped, before that was known here.
            self._is_cut = True
            self._stopped_by = (await self._tools.store.stops(self._tools.owner)).get(self._turn.id)
            if not self._stopped_by:
                raise
        if self._stopped_by:
            self._is_cut = True
            if self._reply.is_behind:
                raise Interrupted("stopped before we caught up")
            self._reply.end(await self._cut_off_words(self._stopped_by))
            return Outcome(code=STOPPED)
        if self._reply.abandoned:
            return Outcome(code=REPLY_DELETED)
        if not self.submitted:
            raise GivenBack
        self._reply.leave()
        return Outcome(code=LEFT)

    async def _cut_off_words(self, user_id: str) -> str:
        """Who wanted no more of the answer: somebody who stopped it, or an operator who has the thread now."""
        tools, thread = self._tools, self._turn.thread
        handover = await tools.store.open_handover(thread)
        if handover is not None and handover.operator_id == user_id:
            return await taken_words(tools.chat, thread.team_id, user_id)
        return await stopped_words(tools.chat, thread.team_id, user_id)

    async def _complete(self, listener: Listener, profile: AgentProfile) -> Outcome:
        tools, kind = self._tools, self._turn.conversation.channel_kind
        callable_ = tools.handovers.can_call(kind)
        self.asked = await self._called_human(listener, profile)
        words = listener.closing_words()
        if self.asked is not None:
            words = "" if callable_ and self._reply.has_text else NOBODY if not callable_ else ASKED
        thumbs = (Button.GOOD, Button.BAD) if tools.feedback and self._reply.has_text else ()
        human = (Button.HUMAN,) if tools.human_button and callable_ and self.asked is None else ()
        self._reply.end(words, (*human, *thumbs))
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
        if self._reply.is_behind:
            # What stands in the thread is more than we could show: the sentence goes below it.
            raise error
        human = self._tools.handovers.can_call(self._turn.conversation.channel_kind)
        self._reply.end(error.sentence, (Button.RETRY, Button.HUMAN) if human else (Button.RETRY,))
        return Outcome(error)

    async def _called_human(self, listener: Listener, profile: AgentProfile) -> Asked | None:
        """Whether the agent wants a human, as far as its run and its conversation tell."""
        signals, state = listener.signals, None
        if self.conversation_id is not None and signals.needs_state(failed=False):
            state = await self._tools.agent.state(self.conversation_id)
        asked = signals.asked(state, profile)
        if asked is not None:
            asked = await self._tools.handovers.heard(self._turn, asked, self.conversation_id)
        if asked is not None or not self._reply.has_text:
            evidence = signals.evidence(state)
            log.info("agent.signals", extra={"turn": self._turn.id, "why": asked.why if asked else "", **evidence})
        return asked

    async def _ask(self, listener: Listener) -> None:
        conversation = self._turn.conversation
        needs_past = conversation.needs_past or (self.conversation_id is None and self._turn.is_reply)
        if needs_past and not conversation.needs_past:
            ended = await self._tools.store.newest_handover(conversation.id)
            # What a human settled is over: the agent starts afresh below it.
            needs_past = ended is None or ended.state is not HandoverState.CLOSED
        try:
            await self._converse(listener, needs_past=needs_past)
        except (ConversationGone, ConversationFull) as error:
            if self._reply.has_text:
                raise
            log.warning(
                "conversation.replaced",
                extra={"turn": self._turn.id, "conversation": self.conversation_id, "reason": error.code},
            )
            await self._bind(None, needs_past=True)
            self.conversation_id, self._sent_files = None, frozenset()
            self.heard = self.submitted = False
            await self._converse(listener, needs_past=True)

    async def _go_on(self, listener: Listener) -> None:
        """Listen to the answer to a question that was sent before, by us or by another process."""
        turn = self._turn
        sent = await self._tools.store.submission(turn.id)
        if sent is None or self.conversation_id is None:
            raise Interrupted("nothing tells what was sent")
        async with self._tools.agent.recover(self.conversation_id, *sent) as events:
            self.heard = True
            if turn.attachments:
                await self._mark_sent([file.id for file in turn.attachments])
            async for event in events:
                listener.hear(event)

    async def _converse(self, listener: Listener, *, needs_past: bool) -> None:
        """Send the question with all that belongs to it, and listen to the end of the answer."""
        tools, turn = self._tools, self._turn
        context = await tools.questions.context(turn, read_thread=needs_past)
        bundle = await self._gather(context)
        with bundle.held:
            if noted := await self._notes.say(ABOVE, bundle.note):
                self._reply.noted(noted)
            if bundle.unread and self._notes.stands(ABOVE):
                await self._record_files(tools.store.mark_unread(turn.conversation.id, turn.id))
            question = await tools.questions.compose(turn, context, bundle.about)
            if self.conversation_id is None:
                # Bound at once: Noxus does not list a conversation without messages, so a lost id is lost for good.
                created = await tools.agent.create_conversation(tools.target, f"Slack {turn.thread}")
                await self._bind(created, needs_past=needs_past)
                self.conversation_id = created
            async with AsyncExitStack() as asking:
                with self._sending():
                    await self._mark_submitted(digest(question))
                    ask = tools.agent.ask(self.conversation_id, question, bundle.files)
                    events = await asking.enter_async_context(ask)
                self.heard = True
                bundle.close()
                if bundle.sent:
                    await self._mark_sent(bundle.sent)
                async for event in events:
                    listener.hear(event)

    async def _mark_submitted(self, known_by: str) -> None:
        """Ask until the database answers: it may hold the mark although it did not say so, and whoever finds a question
        marked that was never sent can only call it interrupted."""
        tools = self._tools
        while not self.submitted:
            try:
                if not await tools.store.mark_submitted(self._turn.id, tools.owner, known_by):
                    raise TurnLost
                self.submitted = True
            except StoreError as error:
                if self._leaving:
                    raise
                log.error("turn.unrecorded", extra={"turn": self._turn.id, "error": str(error)})
                await asyncio.sleep(MARK_PAUSE)
                # The lease may have run out meanwhile, and be renewed.
                await may_write()

    async def _bind(self, conversation_id: str | None, *, needs_past: bool) -> None:
        tools = self._tools
        if not await tools.store.bind(self._turn.id, tools.owner, conversation_id, needs_past=needs_past):
            raise TurnLost

    @contextmanager
    def _sending(self) -> Iterator[None]:
        """Who leaves waits for the end of this: of a question that is marked as sent but never arrived, the next
        process could only say that it was interrupted."""
        self._is_sending = True
        try:
            yield
        finally:
            self._is_sending = False
        if self._leaving:
            self._cut_off()

    async def _mark_sent(self, file_ids: Sequence[str]) -> None:
        # At once: however the answer ends, the conversation has them.
        self._sent_files |= frozenset(file_ids)
        await self._record_files(self._tools.store.mark_sent(self._turn.conversation.id, self._sent_files))

    async def _record_files(self, recorded: Awaitable[None]) -> None:
        try:
            await recorded
        except StoreError as error:
            # They may go there, or be spoken of, once more; that is better than no answer.
            log.error("files.unrecorded", extra={"turn": self._turn.id, "error": str(error)})

    async def _gather(self, context: Sequence[ContextMessage]) -> Bundle:
        """The files of the message, and of what goes along with it."""
        turn = self._turn
        files = [*turn.attachments, *(file for said in reversed(context) for file in said.attachments)]
        if not files:
            return Bundle()
        self._reply.step("Reading the files…", "is reading the files…")
        profile = await self._tools.agent.profile(self._tools.target)
        bundle = await self._tools.incoming.gather(
            turn.thread,
            files,
            # Whether a try that failed has left them there nobody knows.
            known=self._sent_files if turn.attempt == 1 else (),
            agent_reads=profile.reads_files or turn.conversation.unread_told not in {None, turn.id},
        )
        self._reply.step("")
        return bundle
