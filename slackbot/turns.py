"""Use case: run one turn, from the claimed message to the last word in Slack."""

from __future__ import annotations

import asyncio
import itertools
import logging
from dataclasses import replace

from slackbot.answering import STOPPED, Answering, GivenBack, TurnTools, stopped_words
from slackbot.domain import SHARING, Body, Button, HandoverReason, Notice, PartRecord, PartRef, Turn, TurnKind
from slackbot.errors import SENTENCES, AgentError, ChatError, SlackbotError
from slackbot.files.notes import BELOW, INTERRUPTED, Notes
from slackbot.leases import AFTER_ALL_SECONDS, TurnLost
from slackbot.replies.reply import Reply
from slackbot.signals import Asked
from slackbot.store import StoreError
from slackbot.text.outbound import prepare

log = logging.getLogger(__name__)

RECORD_TRIES = 300
RECORD_PAUSE = 1.0
"""For five minutes a finished turn waits for the database to take its end."""
RELAY_PAUSE = 0.5
"""The card that a message is shown below may be on its way."""


class Turns:
    """Runs claimed turns. One object for the process; a turn's own state lives in its call."""

    def __init__(self, tools: TurnTools) -> None:
        self._tools = tools
        self._store = tools.store
        self._chat = tools.chat
        self._agent = tools.agent
        self._owner = tools.owner
        self._answering: dict[int, Answering] = {}
        self._unrecorded: dict[int, dict[int, PartRecord]] = {}
        """Parts that the database did not take, by turn."""
        self._closing = asyncio.Event()
        self._interrupted = False

    async def run(self, turn: Turn) -> None:
        """Do what the turn asks for and record how it ended.

        Raises ``ChatError`` when Slack takes no answer, ``StoreError`` when the database is away, and ``TurnLost``.
        """
        if turn.waited:
            self._tools.marks.off_later(turn.thread, turn.ts, turn.id)
        match turn.kind:
            case TurnKind.ASK:
                self._tools.sessions.began(turn.thread, again=turn.submitted or turn.attempt > 1)
                try:
                    await self._ask(turn)
                finally:
                    self._unrecorded.pop(turn.id, None)
                    self._tools.sessions.ended(turn.thread, turn.id)
            case TurnKind.RESET:
                await self._store.bind(turn.id, self._owner, None)
                await self._say(turn, SENTENCES[Notice.RESET])
            case TurnKind.NOTICE:
                await self._say(turn, await self._words(turn.notice))
            case TurnKind.RELAY:
                if await self._tools.relay.run(turn):
                    await self._store.finish(turn.id, self._owner)
                else:
                    await self._store.postpone(turn.id, self._owner, RELAY_PAUSE)
            case TurnKind.CONTEXT:
                await self._store.finish(turn.id, self._owner)

    def close(self) -> None:
        """The process will end: answers may finish, but what only waits for the agent is left to the next process."""
        self._closing.set()

    def interrupt(self) -> None:
        """Stop waiting for the agent in every running turn: each shows what there is and is given back, for the next
        process or another replica to go on with."""
        self.close()
        self._interrupted = True
        for answering in self._answering.values():
            answering.interrupt()

    def stop(self, turn_id: int, user_id: str) -> None:
        """End an answer that runs here at once, with what there is of it and who wanted that; else do nothing."""
        if answering := self._answering.get(turn_id):
            answering.stop(user_id)

    async def apologise(self, turn: Turn, error: SlackbotError) -> None:
        """End a turn that broke on our side: one sentence and Retry, below whatever there is of the answer.

        Raises ``ChatError`` when Slack does not take the sentence.
        """
        # Also what was stopped since it was claimed: nobody wants to try that again.
        if stopped_by := turn.stopped_by or (await self._store.stops(self._owner)).get(turn.id):
            await self._end_stopped(turn, stopped_by)
            return
        await self._end_below(turn, Body(notice=error.sentence, buttons=(Button.RETRY,), turn_id=turn.id))
        await self._record_end(turn, error)

    async def _end_stopped(self, turn: Turn, user_id: str) -> None:
        words = await stopped_words(self._chat, turn.thread.team_id, user_id)
        await self._end_below(turn, Body(notice=words))
        await self._settle(turn, turn.conversation.agent_conversation_id, STOPPED)

    async def _end_below(self, turn: Turn, body: Body) -> None:
        parts = [part for part in await self._earlier(turn) if part.index >= 0]
        placeholder = next((part for part in parts if part.placeholder), None)
        edited = placeholder and await self._tools.reply.edited(turn.thread, placeholder.ts, body)
        if not edited:
            index = parts[-1].index + 1 if parts else 0
            ts = await self._chat.post(turn.thread, lambda: body, PartRef(turn.id, index))
            # As a placeholder it is written over, not repeated, when this very step is cut off and done again.
            await self._store.record_part(turn.id, self._owner, PartRecord(index, ts, placeholder=True))
        for part in parts:
            if not part.placeholder:
                # Whoever wrote it may not have lived to take Stop and the last step off.
                self._tools.reply.tidying.later(turn.thread, part.ts, None, turn.id, turn.attempt)
        if parts and turn.echoes:
            # And may have died with an edit on its way.
            ts, again = (placeholder.ts, body) if placeholder and edited else (parts[-1].ts, None)
            self._tools.reply.tidying.again(turn.thread, ts, again, turn.id, turn.attempt, seconds=AFTER_ALL_SECONDS)

    # --- sentences of ours ---

    async def _words(self, notice: Notice | None) -> str:
        if notice is Notice.GREETING:
            profile = await self._agent.profile(self._tools.target)
            return profile.introductory_message or SENTENCES[Notice.GREETING]
        return SENTENCES[notice] if notice else ""

    async def _say(self, turn: Turn, words: str) -> None:
        # A crash between the post and its record must not say it twice.
        if turn.attempt == 1 or not await self._chat.find_parts(turn.thread, turn.id):
            body = Body(markdown=prepare(words))
            ts = await self._chat.post(turn.thread, lambda: body, PartRef(turn.id, 0))
            # Only beside a recorded one is it known that a dead process's late post says the same again.
            await self._store.record_part(turn.id, self._owner, PartRecord(0, ts))
        await self._store.finish(turn.id, self._owner)

    # --- agent runs ---

    async def _ask(self, turn: Turn) -> None:
        conversation_id = turn.conversation.agent_conversation_id
        if turn.shown and turn.ending == SHARING:
            notes = self._notes(turn, await self._earlier(turn))
            if not notes.stands(BELOW):
                await notes.say(BELOW, INTERRUPTED)
            await self._record_end(turn, None)
            return
        if turn.shown:
            # What is not recorded at the end counts as an echo.
            await self._earlier(turn)
            await self._settle(turn, conversation_id, turn.ending or STOPPED)
            return
        if turn.submitted and turn.stopped_by:
            await self._end_stopped(turn, turn.stopped_by)
            return
        found = await self._earlier(turn) if turn.attempt > 1 or turn.submitted else []
        reply = self._reply(turn, [part for part in found if part.index >= 0])
        answering = self._answering[turn.id] = Answering(self._tools, turn, reply, self._notes(turn, found))
        if self._interrupted:
            answering.interrupt()
        started = self._tools.reply.now()
        try:
            outcome = await answering.run()
        except GivenBack:
            await self._give_back(turn, answering, reply)
            return
        except AgentError as error:
            await self.apologise(turn, error)
            return
        finally:
            del self._answering[turn.id]
        if answering.asked is not None:
            await self._call_human(turn, answering.asked)
        log.info(
            "turn.finished",
            extra={
                "turn": turn.id,
                "slack_thread": str(turn.thread),
                "outcome": outcome.error.code if outcome.error else outcome.code or "done",
                "parts": reply.part_count,
                "seconds": round(self._tools.reply.now() - started, 2),
            },
        )
        if outcome.code and answering.submitted:
            await self._settle(turn, answering.conversation_id, outcome.code, heard=answering.heard)
        else:
            await self._record_end(turn, outcome.error, code=outcome.code, parts=reply.part_count)

    async def _give_back(self, turn: Turn, answering: Answering, reply: Reply) -> None:
        if not reply.part_count:
            # Before anybody else can show that he goes on with it. With a message Slack clears it.
            await self._chat.set_status(turn.thread, "")
        if not answering.submitted:
            # A message may have been on its way when it was cut off.
            await self._store.look_again([turn.id], AFTER_ALL_SECONDS)
        await self._store.postpone(turn.id, self._owner, 0.0)
        log.info("turn.given_back", extra={"turn": turn.id, "slack_thread": str(turn.thread)})

    def _reply(self, turn: Turn, earlier: list[PartRecord]) -> Reply:
        async def record(part: PartRecord) -> None:
            unrecorded = self._unrecorded.setdefault(turn.id, {})
            try:
                held = await self._store.record_part(turn.id, self._owner, part)
            except StoreError as error:
                unrecorded[part.index] = part
                # The message's metadata tells as much; the answer must not suffer.
                log.error("part.unrecorded", extra={"turn": turn.id, "part": part.index, "error": str(error)})
            else:
                unrecorded.pop(part.index, None)
                if not held:
                    raise TurnLost

        return Reply(
            self._tools.reply,
            turn.thread,
            turn.id,
            record=record,
            earlier=earlier,
            attempt=turn.attempt,
            resumed=turn.submitted,
            echoes=turn.echoes,
        )

    def _notes(self, turn: Turn, found: list[PartRecord]) -> Notes:
        return Notes(self._tools.reply, turn, [part for part in found if part.index < 0])

    async def _call_human(self, turn: Turn, asked: Asked) -> None:
        """The agent wants a human; calling one twice for the same sign calls one."""
        kind, asker_id = turn.conversation.channel_kind, turn.user_id
        reason = HandoverReason.AGENT
        if self._tools.handovers.can_call(kind):
            await self._tools.handovers.ask(
                turn.thread, kind, reason=reason, actor_id="", asker_id=asker_id, key=asked.key
            )

    async def _settle(self, turn: Turn, conversation_id: str | None, code: str, *, heard: bool = False) -> None:
        """Nobody reads the agent's answer any more, but it still writes: the thread's next question waits for that."""
        self._tools.sessions.ended(turn.thread, turn.id)
        if not turn.shown:
            try:
                await self._store.mark_shown(turn.id, self._owner, code)
            except StoreError as error:
                # Only a process that finds this turn again would need to know.
                log.error("turn.unrecorded", extra={"turn": turn.id, "error": str(error)})
        if conversation_id is not None:
            async with asyncio.TaskGroup() as tasks:
                settling = tasks.create_task(self._agent.settle(conversation_id))
                leaving = tasks.create_task(self._closing.wait())
                await asyncio.wait([settling, leaving], return_when=asyncio.FIRST_COMPLETED)
                settled = settling.done()
                settling.cancel()
                leaving.cancel()
            if not settled:
                await self._store.postpone(turn.id, self._owner, 0.0)
                return
        await self._record_end(turn, None, code=code, heard=heard)

    async def _record_end(
        self,
        turn: Turn,
        error: SlackbotError | None,
        *,
        code: str = "",
        parts: int | None = None,
        heard: bool = True,
    ) -> None:
        """What people see is settled: record it, however long the database is away, as nobody may do it again."""
        await self._tools.sessions.over(turn.thread, turn.id)
        for tries in itertools.count(1):
            try:
                await self._tools.echoes.note(turn.id)
                # What is not recorded at the end counts as an echo.
                for part in self._unrecorded.get(turn.id, {}).values():
                    await self._store.record_part(turn.id, self._owner, part)
                if parts is not None:
                    await self._store.drop_parts(turn.id, self._owner, parts)
                if error is None:
                    await self._store.finish(turn.id, self._owner, code or None, heard=heard)
                else:
                    await self._store.fail(turn.id, self._owner, error.code)
            except StoreError as away:
                if tries == RECORD_TRIES:
                    raise
                log.error("turn.unrecorded", extra={"turn": turn.id, "error": str(away)})
                await asyncio.sleep(RECORD_PAUSE)
            else:
                return

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
            if part.index >= 0 and part.index not in parts:
                if any(part.ts < known.ts for known in parts.values() if 0 <= known.index < part.index):
                    # What comes before it was posted anew by somebody who had not seen it: so is this.
                    continue
                await self._store.record_part(turn.id, self._owner, part)
            known = parts.setdefault(part.index, part)
            same = known.ts == part.ts
            # Its record may have missed that words came.
            placeholder = known.placeholder and (part.placeholder or not same)
            parts[part.index] = replace(known, chars=part.chars if same else 0, placeholder=placeholder)
        return [parts[index] for index in sorted(parts)]
