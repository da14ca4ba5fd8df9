"""What shows in a thread although nobody works there: a dead process's last calls brought it after somebody else had
gone on, or who left had no time to change it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import NoReturn

from slackbot.budget import Budget
from slackbot.domain import PartRecord, SessionStatus, ThreadKey
from slackbot.errors import ChatError, ChatRateLimited, ChatUnavailable
from slackbot.ports import Chat
from slackbot.replies.tidying import Tidying
from slackbot.store import Store, StoreError

log = logging.getLogger(__name__)

LOOK_SECONDS = 2.0
PAUSE = 2.0
SPARE_READS = 5
"""One of so many reads of threads is left alone for the answers: what Slack allows may be far from the usual fifty."""
NOTED_SECONDS = 20.0
"""A process that lives has mostly done by then what it had put off."""
READ_SECONDS = 60.0
"""So long one thread waits for a read that is to spare."""
AGAIN_SECONDS = 120.0
"""Then somebody else looks, as whoever took the turn may have died, or Slack may take what it did not take before."""


class Echoes:
    """Takes that away once the answer has ended.

    Whoever takes a turn over looks first for what stands in the thread, but does not wait for what may be on its way:
    that would hold up the answer; and where Slack lets nobody read for a while it goes on without a look. So a part can
    come to stand there twice, and the message that is not recorded goes; and the thread can show that the agent works
    when nobody does, by its status or by a Stop button. ``undone`` tells for which turns this process has put off
    changing that.
    """

    def __init__(
        self,
        store: Store,
        chat: Chat,
        tidying: Tidying,
        budget: Budget,
        undone: Callable[[], set[int]],
        *,
        look: float = LOOK_SECONDS,
        pause: float = PAUSE,
    ) -> None:
        self._store = store
        self._chat = chat
        self._tidying = tidying
        self._budget = budget
        self._undone = undone
        self._noted: dict[int, float] = {}
        """When somebody else looks at them."""
        self._look_pause = look
        self._pause = pause

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._repeat(self._look, self._look_pause))
            tasks.create_task(self._repeat(self._settle, self._look_pause))

    async def _repeat(self, job: Callable[[], Awaitable[None]], pause: float) -> NoReturn:
        while True:
            try:
                await job()
            except StoreError as error:
                log.warning("echoes.unsearched", extra={"error": str(error)})
            except Exception as error:  # noqa: BLE001 - an echo is not worth the process
                log.error("echoes.broke", extra={"error": type(error).__name__})
            await asyncio.sleep(pause)

    async def _look(self) -> None:
        while found := await self._store.take_echo(AGAIN_SECONDS):
            thread, turn_id, due = found
            if await self._are_gone(thread, turn_id):
                await self._store.echoes_gone({turn_id: due})
            await asyncio.sleep(self._pause)

    # --- what this process puts off ---

    async def note(self, turn_id: int) -> None:
        """Before the end of this turn is recorded: if there will still be something to be changed, somebody else does
        so should this process die before that. Raises ``StoreError``."""
        if turn_id in self._undone():
            self._noted |= await self._store.look_again([turn_id], NOTED_SECONDS)

    async def _settle(self) -> None:
        """It lived, and has changed it."""
        undone = self._undone()
        if done := {turn_id: due for turn_id, due in self._noted.items() if turn_id not in undone}:
            await self._store.echoes_gone(done)
            for turn_id in done:
                del self._noted[turn_id]

    async def leave(self) -> None:
        """Have somebody else see to the threads that this process had no time to leave as they are to be."""
        if not (turn_ids := self._undone()):
            return
        log.info("echoes.left", extra={"turns": len(turn_ids)})
        try:
            await self._store.look_again(turn_ids)
        except StoreError as error:
            log.warning("echoes.unsearched", extra={"error": str(error)})

    # --- one thread ---

    async def _are_gone(self, thread: ThreadKey, turn_id: int) -> bool:
        """Take them away; False when there is to be another look."""
        ids = {"turn": turn_id, "slack_thread": str(thread)}
        if turn_id in self._undone() or not await self._may_read(thread):
            return False
        attempt = await self._store.attempt_of(turn_id)
        try:
            standing = await self._chat.find_all_parts(thread, turn_id)
            while True:
                # Only now, and again each time: somebody may have asked or pressed Retry meanwhile, and whoever works
                # has posted what is not recorded yet.
                recorded = await self._store.settled_parts(turn_id)
                if recorded is None:
                    return False
                if not (found := echoes(standing, recorded)):
                    break
                await self._chat.delete(thread, found[0].ts)
                log.warning("echo.removed", extra={**ids, "ts": found[0].ts})
                standing.remove(found[0])
        except ChatError as error:
            log.info("echo.unsearched", extra={**ids, "error": str(error)})
            return not isinstance(error, (ChatRateLimited, ChatUnavailable))
        at_work = [part for part in standing if part.at_work]
        for part in at_work:
            self._tidying.later(thread, part.ts, None, turn_id, attempt or 0)
        await self._chat.set_status(thread, "")
        shown = await self._store.open_handover(thread) is not None
        shown = shown or await self._chat.set_session(thread, SessionStatus.ACTIVE) is not None
        # Whether that is gone then is seen at the next look. A step without words stays.
        return shown and all(part.placeholder for part in at_work)

    async def _may_read(self, thread: ThreadKey) -> bool:
        """Wait for a read that nobody else needs; False when there is none for long."""
        method = "conversations.replies" if thread.root_ts else "conversations.history"
        key, deadline = self._budget.key(thread.team_id, method), time.monotonic() + READ_SECONDS

        def left_to_others() -> float:
            now = time.monotonic()
            return self._budget.wait(key, now, keep=self._budget.room(key, now)[0] // SPARE_READS)

        while wait := left_to_others():
            if time.monotonic() + wait > deadline:
                return False
            await asyncio.sleep(wait)
        return True


def echoes(standing: Sequence[PartRecord], recorded: Sequence[PartRecord]) -> list[PartRecord]:
    """Of the messages that stand in a thread those that repeat a recorded one, or go beyond the last of an answer.

    Words never go for the sake of a sentence of ours that took their place.
    """
    there = {part.ts for part in standing}
    kept = {part.index: part for part in recorded if part.ts in there}
    last = kept[max(kept)] if kept else None
    found = []
    for part in standing:
        instead = kept.get(part.index)
        if instead is None and last is not None and 0 <= last.index < part.index:
            instead = last
        if instead is not None and instead.ts != part.ts and (part.placeholder or not instead.placeholder):
            found.append(part)
    return found
