"""The desk attends to every handover that is due. It follows the database."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Final, NoReturn

from slackbot.cards import Cards
from slackbot.domain import ChannelKind, Handover, HandoverState, Move, SessionStatus
from slackbot.errors import ChatError, ChatRateLimited
from slackbot.leases import Lease, Standing, TurnLost, current, now
from slackbot.pauses import jittered
from slackbot.ports import Chat
from slackbot.sessions import Sessions
from slackbot.store import Due, Store, StoreError, Timers
from slackbot.telling import Telling

log = logging.getLogger(__name__)

LEASE: Final = 30.0
POLL: Final = 2.0
PAUSE_AFTER_TROUBLE: Final = 2.0
PAUSE_WHEN_BUSY: Final = 10.0
AT_ONCE: Final = 10
OPERATORS_EVERY: Final = 60.0
"""How often it is looked whether those who have a thread are still there. Slack is asked of each once an hour."""

_SESSIONS: Final = {
    HandoverState.REQUESTED: SessionStatus.SUSPENDED,
    HandoverState.HUMAN: SessionStatus.SUSPENDED,
    HandoverState.RETURNED: SessionStatus.ACTIVE,
    HandoverState.CLOSED: SessionStatus.CLOSED,
}


class Desk:
    """Brings Slack up to date with every handover, a few at a time."""

    def __init__(
        self,
        store: Store,
        chat: Chat,
        cards: Cards,
        telling: Telling,
        *,
        timers: Timers,
        sessions: Sessions,
        standing: Standing,
        wake_worker: Callable[[], None],
    ) -> None:
        self._store = store
        self._chat = chat
        self._cards = cards
        self._telling = telling
        self._timers = timers
        self._sessions = sessions
        self._standing = standing
        self._owner = standing.owner
        self._wake_worker = wake_worker
        self._woken = asyncio.Event()
        self._closed = False
        self._attending: dict[int, tuple[asyncio.Task[None], Lease]] = {}

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
            tidy = partial(self._telling.tidy, lambda: bool(self._attending))
            aside = [tasks.create_task(self._repeat(job)) for job in (self._hold, self._look_after_operators, tidy)]
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

    async def _repeat(self, job: Callable[[], Awaitable[None]]) -> NoReturn:
        while True:
            try:
                await job()
            except Exception as error:  # noqa: BLE001 - what goes on beside is not worth the process
                log.error("desk.broke", extra={"error": type(error).__name__})

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
        await asyncio.sleep(LEASE / 3)
        if not self._attending:
            return
        asked, attending = now(), dict(self._attending)
        try:
            held = await self._store.hold_handovers(self._owner, attending, LEASE)
        except StoreError as error:
            log.error("desk.unheld", extra={"error": str(error)})
            return
        for handover_id, (task, lease) in attending.items():
            if handover_id in held:
                lease.confirm(asked, LEASE)
            else:
                lease.lose()
                task.cancel()

    async def _look_after_operators(self) -> None:
        """Somebody whose account is gone cannot give the thread back: the agent takes it."""
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
        except ChatRateLimited as busy:
            log.info("handover.waits", extra={**ids, "error": str(busy), "seconds": round(busy.retry_after, 1)})
            await asyncio.sleep(min(busy.retry_after, PAUSE_WHEN_BUSY))
            await self._let_go(due)
        except (ChatError, StoreError, TurnLost) as error:
            log.error("handover.untold", extra={**ids, "error": str(error)})
            await asyncio.sleep(jittered(PAUSE_AFTER_TROUBLE))
            await self._let_go(due)
        except asyncio.CancelledError:
            await self._let_go(due)
            raise
        except Exception as error:  # noqa: BLE001 - one broken handover must not keep the others waiting
            log.error("handover.broke", extra={**ids, "error": type(error).__name__})
            await asyncio.sleep(jittered(PAUSE_AFTER_TROUBLE))
            await self._let_go(due)

    async def _let_go(self, due: Due) -> None:
        """Whoever looks next tries again."""
        with suppress(StoreError):
            await self._store.handover_told(due.handover.id, self._owner, 0, None, None, self._timers)

    async def _bring_up_to_date(self, due: Due) -> None:
        handover, upto = due.handover, due.untold[-1].id if due.untold else 0
        team_id = handover.conversation.thread.team_id
        people = {handover.asker_id, handover.operator_id or "", *(step.actor_id for step in due.untold)} - {""}
        found = await self._chat.people(team_id, people)
        names = {user_id: person.name for user_id, person in found.items()}
        card = await self._cards.show_card(due, names)
        if card is None and handover.is_open and await self._give_back(handover):
            # The asker hears of that alone.
            due = replace(due, untold=())
        for step in due.untold:
            await self._telling.tell(due, step, names, card)
        if due.untold:
            self._sessions.show(handover.conversation.thread, _SESSIONS[handover.state])
        if due.timer:
            await self._telling.remind(handover, due.timer, names, card)
        await self._store.handover_told(handover.id, self._owner, upto, card, timer_done=due.timer, timers=self._timers)
        if any(step.after in {HandoverState.RETURNED, HandoverState.CLOSED} for step in due.untold):
            self._wake_worker()

    async def _give_back(self, handover: Handover) -> bool:
        """Without a card nobody would ever know: the agent takes the thread back. False where the operator writes in
        the thread itself, and needs none."""
        requested = handover.state is HandoverState.REQUESTED
        if not requested and handover.conversation.channel_kind is not ChannelKind.DM:
            return False
        move = Move.GIVE_UP if requested else Move.HAND_BACK
        await self._store.end_handover(handover.id, handover.conversation.thread.team_id, move, "")
        return True
