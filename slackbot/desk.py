"""The desk where operators find handovers: cards, their history, what the asker is told. It follows the database."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Final

from slackbot.domain import (
    Body,
    Button,
    Card,
    ChannelKind,
    Handover,
    HandoverReason,
    HandoverState,
    InboundMessage,
    MessageRef,
    Move,
    PartRef,
    SessionStatus,
    ThreadKey,
    Transition,
)
from slackbot.errands import Errands
from slackbot.errors import ChatError, ChatRateLimited, MessageGone, ThreadClosed
from slackbot.handover import HandoverRules
from slackbot.leases import Lease, Standing, TurnLost, current, now
from slackbot.replies.reply import ReplyTools
from slackbot.routing import RunTurn
from slackbot.sessions import Sessions
from slackbot.store import Due, Store, StoreError
from slackbot.text.inbound import entities, readable

log = logging.getLogger(__name__)

LEASE: Final = 30.0
POLL: Final = 2.0
PAUSE_AFTER_TROUBLE: Final = 2.0
AT_ONCE: Final = 10
OPERATORS_EVERY: Final = 60.0
"""How often it is looked whether those who have a thread are still there. Slack is asked of each once an hour."""
EDIT_PATIENCE: Final = 10.0
SPARE_EDITS: Final = 20
QUOTES: Final = 3
QUOTE_CHARS: Final = 250
GREET: Final = "(Your human colleague handed this conversation back to you. Greet the person in one short sentence.)"
END_OF_TIME: Final = "9999999999.000000"

_HEADINGS: Final = {
    HandoverState.REQUESTED: "{asker} needs a human",
    HandoverState.HUMAN: "{operator} helps {asker}",
    HandoverState.RETURNED: "{asker} is with the agent again",
    HandoverState.CLOSED: "Settled: {asker}",
}
_REASONS: Final = {
    HandoverReason.AGENT: "the agent asked for a human",
    HandoverReason.USER: "{asker} asked for a human",
    HandoverReason.FAILURE: "the agent failed, and {asker} asked for a human",
    HandoverReason.OPERATOR: "{operator} took over unasked",
    HandoverReason.MENTION: "{asker} called a colleague by name",
}
_BUTTONS: Final = {
    HandoverState.REQUESTED: (Button.CLAIM, Button.RESOLVE),
    HandoverState.HUMAN: (Button.HAND_BACK, Button.RESOLVE),
}
_HISTORY: Final = {
    Move.ASK: "A human was asked for.",
    Move.CLAIM: "{actor} took over.",
    Move.TAKE_OVER: "{actor} took over.",
    Move.HAND_BACK: "{actor} handed the conversation back to the agent.",
    Move.RESOLVE: "{actor} marked this as settled.",
    Move.CALL_OFF: "{actor} no longer needs a human.",
    Move.GIVE_UP: "Nobody came in time: the agent has the conversation again.",
}
_TOLD: Final = {
    Move.ASK: "I have asked a human colleague to help. They will answer here; until then I stay silent{limit}. "
    "Write on if there is more to say.",
    Move.CLAIM: "{actor} is here now and goes on with you. I stay silent.",
    Move.TAKE_OVER: "{actor} is here now and goes on with you. I stay silent.",
    Move.HAND_BACK: "{actor} handed over to me again. I know what was said.",
    Move.RESOLVE: "{actor} marked this as settled. If there is anything else, just write.",
    Move.CALL_OFF: "All right, no human then. I am listening again.",
    Move.GIVE_UP: "Sorry, nobody was free to help. I am back and go on as well as I can.",
}
_LIMIT: Final = ", and if nobody comes within {minutes} minutes I go on myself"
_LOST: Final = "Sorry, my human colleague can no longer be reached from here. I am back, and I know what was said."
_LOST_HISTORY: Final = "{operator} can no longer be reached: the agent has the conversation again."
_MINUTE: Final = 60.0
_SESSIONS: Final = {
    HandoverState.REQUESTED: SessionStatus.SUSPENDED,
    HandoverState.HUMAN: SessionStatus.SUSPENDED,
    HandoverState.RETURNED: SessionStatus.ACTIVE,
    HandoverState.CLOSED: SessionStatus.CLOSED,
}


class Desk:
    """Brings Slack up to date with every handover, a few at a time. ``marks`` is for what may wait long for Slack."""

    def __init__(
        self,
        store: Store,
        rules: HandoverRules,
        *,
        tools: ReplyTools,
        sessions: Sessions,
        marks: Errands,
        standing: Standing,
        wake_worker: Callable[[], None],
        agent_name: Callable[[], Awaitable[str]],
    ) -> None:
        self._store = store
        self._chat = tools.chat
        self._rules = rules
        self._budget = tools.budget
        self._now = tools.now
        self._sessions = sessions
        self._marks = marks
        self._standing = standing
        self._owner = standing.owner
        self._wake_worker = wake_worker
        self._agent_name = agent_name
        self._woken = asyncio.Event()
        self._closed = False
        self._attending: dict[int, tuple[asyncio.Task[None], Lease]] = {}
        self._stale: asyncio.Queue[Handover] = asyncio.Queue()

    def wake(self) -> None:
        """Look for handovers now."""
        self._woken.set()

    def close(self) -> None:
        """Finish what is being shown now, and look for no more."""
        self._closed = True
        self._woken.set()

    async def run(self) -> None:
        """Work until closed, and what is being shown then to its end."""
        async with asyncio.TaskGroup() as tasks:
            aside = [tasks.create_task(each()) for each in (self._hold, self._look_after_operators, self._tidy)]
            while not self._closed:
                self._woken.clear()
                asked = now()
                due = await self._due()
                for one in due:
                    if one.handover.id not in self._attending:  # else our own lease ran out, and the work goes on
                        lease = Lease(self._standing)
                        task = tasks.create_task(self._attend(one, lease))
                        self._attending[one.handover.id] = task, lease
                        task.add_done_callback(partial(self._attended, one.handover.id))
                    self._attending[one.handover.id][1].confirm(asked, LEASE)
                if not due and not self._closed:
                    await self._wait()
            await asyncio.gather(*(task for task, _ in self._attending.values()), return_exceptions=True)
            for task in aside:
                task.cancel()

    async def _due(self) -> list[Due]:
        if len(self._attending) == AT_ONCE:
            return []
        try:
            return await self._store.due_handovers(self._owner, LEASE, AT_ONCE - len(self._attending))
        except StoreError as error:
            log.error("desk.unread", extra={"error": str(error)})
            return []

    def _attended(self, handover_id: int, _task: asyncio.Task[None]) -> None:
        del self._attending[handover_id]
        self._woken.set()

    async def _hold(self) -> None:
        """Keep what is being shown, however slow Slack is; let go of what another process has taken."""
        while True:
            await asyncio.sleep(LEASE / 3)
            if not self._attending:
                continue
            asked, attending = now(), dict(self._attending)
            try:
                held = await self._store.hold_handovers(self._owner, attending, LEASE)
            except StoreError as error:
                log.error("desk.unheld", extra={"error": str(error)})
                continue
            for handover_id, (task, lease) in attending.items():
                if handover_id in held:
                    lease.confirm(asked, LEASE)
                else:
                    lease.lose()
                    task.cancel()

    async def _look_after_operators(self) -> None:
        """Somebody whose account is gone cannot give the thread back: the agent takes it."""
        while True:
            await asyncio.sleep(OPERATORS_EVERY)
            try:
                for handover in await self._store.in_human_hands():
                    await self._look_after(handover, handover.operator_id or "")
            except (ChatError, StoreError) as error:
                log.warning("operators.unseen", extra={"error": str(error)})

    async def _look_after(self, handover: Handover, operator_id: str) -> None:
        team_id = handover.conversation.thread.team_id
        if (await self._chat.people(team_id, [operator_id]))[operator_id].has_left:
            log.warning("handover.operator_gone", extra={"handover": handover.id, "user": operator_id})
            await self._store.end_handover(handover.id, team_id, Move.HAND_BACK, "")
            self.wake()

    async def _wait(self) -> None:
        try:
            async with asyncio.timeout(POLL):
                await self._woken.wait()
        except TimeoutError:
            return

    async def _attend(self, due: Due, lease: Lease) -> None:
        current.set(lease)
        ids = {"handover": due.handover.id, "slack_thread": str(due.handover.conversation.thread)}
        try:
            await self._bring_up_to_date(due)
        except (ChatError, StoreError, TurnLost) as error:
            log.error("handover.untold", extra={**ids, "error": str(error)})
            await asyncio.sleep(PAUSE_AFTER_TROUBLE)
            await self._let_go(due)
        except asyncio.CancelledError:
            await self._let_go(due)
            raise
        except Exception as error:  # noqa: BLE001 - one broken handover must not keep the others waiting
            log.error("handover.broke", extra={**ids, "error": type(error).__name__})
            await asyncio.sleep(PAUSE_AFTER_TROUBLE)
            await self._let_go(due)

    async def _let_go(self, due: Due) -> None:
        """Whoever looks next tries again."""
        with suppress(StoreError):
            await self._store.handover_told(due.handover.id, self._owner, 0, None, None, self._rules.timers)

    async def _bring_up_to_date(self, due: Due) -> None:
        handover, upto = due.handover, due.untold[-1].id if due.untold else 0
        team_id = handover.conversation.thread.team_id
        people = {handover.asker_id, handover.operator_id or "", *(step.actor_id for step in due.untold)} - {""}
        found = await self._chat.people(team_id, people)
        names = {user_id: person.name for user_id, person in found.items()}
        card = await self._show_card(due, names)
        if card is None and handover.is_open and await self._give_back(handover):
            # The asker hears of that alone.
            due = replace(due, untold=())
        for step in due.untold:
            await self._tell(due, step, names, card)
        if due.untold:
            self._sessions.show(handover.conversation.thread, _SESSIONS[handover.state])
        if due.timer:
            await self._remind(handover, due.timer, names, card)
        await self._store.handover_told(
            handover.id, self._owner, upto, card, timer_done=due.timer, timers=self._rules.timers
        )
        if any(step.after in {HandoverState.RETURNED, HandoverState.CLOSED} for step in due.untold):
            self._wake_worker()

    # --- the card

    async def _show_card(self, due: Due, names: dict[str, str]) -> MessageRef | None:
        """The card as it stands now; None where there is no place for it."""
        handover = due.handover
        thread = handover.conversation.thread
        if handover.card is None and not handover.is_open:
            return None
        body = await self._card(handover, names)
        if handover.card is not None:
            if await self._edited(ThreadKey(thread.team_id, handover.card.channel_id, ""), handover.card.ts, body):
                return handover.card
            if not handover.is_open:
                return None
        places = [ThreadKey(thread.team_id, self._rules.channel_id, "")] if self._rules.channel_id else []
        if handover.conversation.channel_kind is not ChannelKind.DM and await self._chat.operators(thread.team_id):
            places.append(thread)
        for place in places:
            try:
                card = await self._post_card(place, due, body)
                await self._store.card_posted(handover.id, card)
                return card
            except ThreadClosed as error:
                log.error(
                    "handover.channel_unusable",
                    extra={
                        "handover": handover.id,
                        "channel": place.channel_id,
                        "error": str(error),
                        "set": "SLACKBOT_HANDOVER_CHANNEL",
                    },
                )
        return None

    async def _give_back(self, handover: Handover) -> bool:
        """Without a card nobody would ever know: the agent takes the thread back. False where the operator writes in
        the thread itself, and needs none."""
        requested = handover.state is HandoverState.REQUESTED
        if not requested and handover.conversation.channel_kind is not ChannelKind.DM:
            return False
        move = Move.GIVE_UP if requested else Move.HAND_BACK
        await self._store.end_handover(handover.id, handover.conversation.thread.team_id, move, "")
        return True

    async def _post_card(self, place: ThreadKey, due: Due, body: Body) -> MessageRef:
        number = -due.handover.id
        found = await self._chat.find_parts(place, number) if due.again and due.handover.card is None else []
        for part in found:
            if part.index == 0:
                return MessageRef(place.channel_id, part.ts)
        return MessageRef(place.channel_id, await self._chat.post(place, lambda: body, PartRef(number, 0)))

    async def _card(self, handover: Handover, names: dict[str, str]) -> Body:
        thread = handover.conversation.thread
        asker = names.get(handover.asker_id, handover.asker_id)
        operator = names.get(handover.operator_id or "", "Somebody")
        link = await self._chat.permalink(MessageRef(thread.channel_id, thread.root_ts), thread.team_id)
        private = handover.conversation.channel_kind is ChannelKind.DM
        rooms = {} if private else await self._chat.channel_names(thread.team_id, {thread.channel_id})
        room = f"#{rooms[thread.channel_id]}" if rooms else "a channel"
        facts = [
            ("Why", _REASONS[handover.reason].format(asker=asker, operator=operator)),
            ("Where", "a direct message" if private else room),
        ]
        if agent := await self._agent_name():
            facts.append(("Agent", agent))
        quotes = await self._exchange(handover) if handover.is_open else ()
        card = Card(
            _HEADINGS[handover.state].format(asker=asker, operator=operator),
            tuple(facts),
            quotes,
            handover.opened_at if handover.state is HandoverState.REQUESTED else None,
            link,
        )
        return Body(card=card, buttons=_BUTTONS.get(handover.state, ()), handover_id=handover.id)

    async def _exchange(self, handover: Handover) -> tuple[tuple[str, str], ...]:
        """What was said last, as Slack has it now: none of it is stored."""
        thread = handover.conversation.thread
        try:
            said = await self._chat.history(thread, before_ts=END_OF_TIME, limit=QUOTES)
        except ChatError as error:
            log.info("handover.unquoted", extra={"handover": handover.id, "error": str(error)})
            return ()
        named = [entities(message.text) for message in said]
        users = {message.user_id for message in said}.union(*(each.users for each in named)) - {""}
        people = {user: person.name for user, person in (await self._chat.people(thread.team_id, users)).items()}
        channels = frozenset[str]().union(*(each.channels for each in named))
        rooms = await self._chat.channel_names(thread.team_id, channels) if channels else {}
        quotes = []
        for message in said:
            who = "Agent" if message.from_agent else message.name or people[message.user_id]
            text = " ".join(readable(message.text, people=people, channels=rooms).split())
            files = ", ".join(file.name for file in message.attachments)
            text = f"{text} [{files}]".strip() if files else text
            quotes.append((who, text if len(text) <= QUOTE_CHARS else f"{text[: QUOTE_CHARS - 1]}…"))
        return tuple(quotes)

    async def _edited(self, place: ThreadKey, ts: str, body: Body) -> bool:
        """Bring the card up to date; False when it is gone."""
        while wait := self._budget.take(place.team_id, "chat.update", self._now()):
            if wait > EDIT_PATIENCE:
                raise ChatRateLimited("chat.update: no slot", retry_after=wait)
            await asyncio.sleep(wait)
        try:
            await self._chat.edit(place, ts, body)
        except (MessageGone, ThreadClosed) as error:
            log.warning("handover.card_gone", extra={"channel": place.channel_id, "ts": ts, "error": str(error)})
            return False
        return True

    # --- words

    async def _tell(self, due: Due, step: Transition, names: dict[str, str], card: MessageRef | None) -> None:
        """One step, in the asker's thread and in the card's, for operators; neither twice."""
        handover = due.handover
        thread = handover.conversation.thread
        actor, operator = names.get(step.actor_id, "Somebody"), names.get(handover.operator_id or "", "Somebody")
        waits = step.after is HandoverState.REQUESTED and handover.state is HandoverState.REQUESTED
        buttons = (Button.CALL_OFF,) if waits else ()
        if step.before is HandoverState.REQUESTED and due.untold[0].before is not None:
            self._stale.put_nowait(handover)
        if step.before is None:
            for ts in await self._store.no_longer_waiting(handover.conversation.id):
                self._marks.later("unmark", partial(self._chat.unmark_waiting, thread, ts))
        lost = step.move is Move.HAND_BACK and not step.actor_id
        words = Body(
            notice=_LOST if lost else _TOLD[step.move].format(actor=actor, limit=self._limit()),
            buttons=buttons,
            handover_id=handover.id if buttons else None,
        )
        ts = await self._say(thread, due, 2 * step.id + 1, words)
        if card is not None and card.channel_id != thread.channel_id:
            desk = ThreadKey(thread.team_id, card.channel_id, card.ts)
            history = (_LOST_HISTORY if lost else _HISTORY[step.move]).format(actor=actor, operator=operator)
            await self._say(desk, due, 2 * step.id, Body(notice=history))
        if step.move is Move.HAND_BACK and self._rules.greets and ts:
            await self._ask_for_greeting(handover, ts)

    def _limit(self) -> str:
        """When the agent goes on if nobody comes."""
        give_up = self._rules.timers.give_up
        return _LIMIT.format(minutes=round(give_up / _MINUTE)) if give_up >= _MINUTE else ""

    async def _tidy(self) -> None:
        """Take buttons off with which nothing can be called off any more, once nothing else is to be shown."""
        while True:
            handover = await self._stale.get()
            thread = handover.conversation.thread
            wait = POLL
            while wait:
                await asyncio.sleep(wait)
                take = partial(self._budget.take, thread.team_id, "chat.update", self._now(), keep=SPARE_EDITS)
                wait = POLL if self._attending else take()
            try:
                said = [part for part in await self._chat.find_parts(thread, -handover.id) if part.index % 2]
                for first in sorted(said, key=lambda part: part.index)[:1]:
                    await self._chat.edit(thread, first.ts, Body(notice=_TOLD[Move.ASK].format(limit=self._limit())))
            except ChatError as error:
                log.info("handover.untidied", extra={"handover": handover.id, "error": str(error)})

    async def _say(self, place: ThreadKey, due: Due, number: int, body: Body) -> str:
        about = -due.handover.id
        if due.again:
            said = {part.index: part.ts for part in await self._chat.find_parts(place, about)}
            if number in said:
                return said[number]
        return await self._post(place, due.handover, body, PartRef(about, number))

    async def _post(self, place: ThreadKey, handover: Handover, body: Body, part: PartRef | None = None) -> str:
        try:
            return await self._chat.post(place, lambda: body, part)
        except ThreadClosed as error:
            log.warning("handover.unheard", extra={"handover": handover.id, "where": str(place), "error": str(error)})
            return ""

    async def _ask_for_greeting(self, handover: Handover, ts: str) -> None:
        conversation = handover.conversation
        thread = conversation.thread
        message = InboundMessage(
            thread.team_id,
            thread.channel_id,
            conversation.channel_kind,
            ts,
            thread.root_ts or None,
            handover.asker_id,
            GREET,
        )
        await self._store.accept(message, thread, lambda _facts: RunTurn())

    async def _remind(self, handover: Handover, timer: str, names: dict[str, str], card: MessageRef | None) -> None:
        thread = handover.conversation.thread
        asker = names.get(handover.asker_id, "Somebody")
        apart = card is not None and card.channel_id != thread.channel_id
        desk = ThreadKey(thread.team_id, card.channel_id, card.ts) if card and apart else None
        log.info("handover.timer", extra={"handover": handover.id, "timer": timer})
        match timer:
            case "give_up":
                await self._store.end_handover(handover.id, thread.team_id, Move.GIVE_UP, "")
            case "remind":
                await self._post(desk or thread, handover, Body(notice=f"{asker} is still waiting for somebody."))
            case "nudge" if desk:
                await self._post(desk, handover, Body(notice=f"{asker} has not heard anything for a while."))
            case "nudge" if handover.operator_id:
                words = f"{asker} has not heard anything for a while."
                await self._chat.whisper(thread, handover.operator_id, words)
            case "offer":
                words = "It has been quiet for a while. Shall the agent go on?"
                body = Body(notice=words, buttons=(Button.HAND_BACK,), handover_id=handover.id)
                await self._post(desk or thread, handover, body)
