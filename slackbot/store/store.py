"""The one class that callers see of what is stored."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import Connection, func, select, update

from slackbot.domain import ContextMessage, InboundMessage, ThreadKey, Turn
from slackbot.leases import Standing
from slackbot.routing import Decision, Ignore, Relay, ThreadFacts
from slackbot.store import rows
from slackbot.store.acceptance import Arrival, Decide
from slackbot.store.engine import Database, parse_url, sqlite_file
from slackbot.store.groups import GroupWriter
from slackbot.store.handovers import Handovers
from slackbot.store.held import Held, is_held
from slackbot.store.lock import DatabaseLock
from slackbot.store.models import ConversationRow, TurnRow, is_kept_context, is_queued, is_running
from slackbot.store.parts import Parts
from slackbot.store.replicas import Presence, void
from slackbot.store.slots import Slots
from slackbot.store.values import Accepted, Bounds, Counts

CONTEXT_LIMIT = 1_000
"""Unanswered messages of a thread that can go along with its next question; the newest are kept."""


class Store(Held, Parts, Handovers):
    """What must survive a restart. Every method is a short transaction or two, and raises ``StoreError`` when the
    database fails; ``owner`` is the name of the process that claimed the turn."""

    def __init__(self, database: Database, lock: DatabaseLock | None, bounds: Bounds) -> None:
        super().__init__(database, bounds)
        self._lock = lock
        self._writer = GroupWriter(database)
        self.slots = None if database.on_sqlite else Slots(database)

    @classmethod
    async def open(cls, url: str, *, exclusive: bool = False, bounds: Bounds | None = None) -> Store:
        """Connect to a migrated database. ``exclusive`` is for a process that runs turns: on SQLite it must be the
        only one, else ``DatabaseInUse`` is raised; PostgreSQL takes any number of them. It keeps the ``bounds``."""
        parsed = parse_url(url)
        file = sqlite_file(parsed)
        lock = DatabaseLock(file) if exclusive and file else None
        database = Database(parsed)
        try:
            await database.check()
        except BaseException:
            await database.close()
            if lock:
                lock.release()
            raise
        return cls(database, lock, bounds or Bounds())

    async def close(self) -> None:
        """Write what waits to be accepted, then let go of the database."""
        try:
            await self._writer.close()
        finally:
            await self._database.close()
            if self._lock:
                self._lock.release()

    async def void_leases(self) -> None:
        """End all leases at once, when the lock file proves that their owners are dead."""
        if self._lock is not None:
            await self._database.transact(void)

    def presence(self, standing: Standing) -> Presence | None:
        """What proves to other processes that this one lives, and tells it of them; None on SQLite, where there are no
        others."""
        return None if self._database.on_sqlite else Presence(self._database, standing)

    # --- intake

    async def accept(self, message: InboundMessage, thread: ThreadKey, decide: Decide) -> Accepted:
        """Decide about a message and store what that asks for, in one transaction; return after its commit.

        ``decide`` gets what is stored about the thread. It is called in another thread, perhaps more than once, or not
        at all when the message is known, and must not wait. Raises within 2.5 s: what ``decide`` raises, or
        ``StoreError``; then the message must not be acknowledged.
        """
        return await self._writer.accept(Arrival(message, thread, decide))

    async def calm(self, seconds: float) -> bool:
        """Return once no crowd of messages waits to be accepted here; False when after so long one still does."""
        return await self._writer.calm(seconds)

    async def accept_relay(self, message: InboundMessage, handover_id: int, *, from_operator: bool) -> Accepted:
        """Store a message of a card's thread, to be shown on the other side of its handover. Ignored when that is
        over. Else as ``accept``."""
        handover = await self.handover(handover_id, message.team_id)
        if handover is None:
            return Accepted(Ignore("no such handover"))

        def decide(facts: ThreadFacts) -> Decision:
            is_on = facts.handover is not None and facts.handover.id == handover_id
            return Relay() if is_on else Ignore("the handover is over")

        thread = handover.conversation.thread
        return await self._writer.accept(Arrival(message, thread, decide, from_operator=from_operator))

    # --- the thread

    async def bind(
        self, turn_id: int, owner: str, agent_conversation_id: str | None, *, needs_past: bool = False
    ) -> bool:
        """Remember which Noxus conversation the turn's thread goes on in; None forgets it, and that the turn was
        submitted to it. False when the turn is no longer the owner's.

        ``needs_past``: it has to be told what was said in the thread before, until a turn in it is DONE.
        """

        def bind(connection: Connection) -> bool:
            held = is_held(turn_id, owner)
            bound = connection.execute(
                update(ConversationRow)
                .where(ConversationRow.id == select(TurnRow.conversation_id).where(held).scalar_subquery())
                .values(agent_conversation_id=agent_conversation_id, needs_past=needs_past, sent_files=None)
                .returning(ConversationRow.id)
            ).all()
            if agent_conversation_id is None:
                connection.execute(update(TurnRow).where(held).values(submitted_at=None, digest=None))
            return bool(bound)

        return await self._database.transact(bind)

    async def mark_sent(self, conversation_id: int, file_ids: Collection[str]) -> None:
        """Remember all the files that the Noxus conversation has by now."""
        await self._set(conversation_id, sent_files=sorted(file_ids))

    async def mark_unread(self, conversation_id: int, turn_id: int) -> None:
        """Remember beside which turn people were told that the agent has no tool for files."""
        await self._set(conversation_id, unread_told=turn_id)

    async def context_for(self, turn: Turn) -> list[ContextMessage]:
        """What was said before the turn and not answered, oldest first, the newest ``CONTEXT_LIMIT``."""
        newest_first = await self._database.read(
            select(TurnRow.ts, TurnRow.user_id, TurnRow.text, TurnRow.attachments, TurnRow.from_operator)
            .where(TurnRow.conversation_id == turn.conversation.id, is_kept_context(TurnRow), TurnRow.ts < turn.ts)
            .order_by(TurnRow.ts.desc())
            .limit(CONTEXT_LIMIT)
        )
        return [
            ContextMessage(
                row.ts,
                row.user_id,
                row.text or "",
                rows.attachments(row.attachments),
                from_operator=row.from_operator,
            )
            for row in reversed(newest_first)
        ]

    async def mark_shared(self, conversation_id: int) -> None:
        """Remember that more than one person speaks in the thread."""
        await self._set(conversation_id, is_shared=True)

    async def _set(self, conversation_id: int, **values: object) -> None:
        await self._database.write(
            update(ConversationRow).where(ConversationRow.id == conversation_id).values(**values)
        )

    async def speakers(self, conversation_id: int) -> int:
        """How many people wrote in the thread, as far as it is stored."""
        [[count]] = await self._database.read(
            select(func.count(TurnRow.user_id.distinct())).where(TurnRow.conversation_id == conversation_id)
        )
        return int(count)

    async def counts(self) -> Counts:
        """How many turns wait and how many run."""
        queued, running = (
            select(func.count()).select_from(TurnRow).where(state).scalar_subquery()
            for state in (is_queued(TurnRow), is_running(TurnRow))
        )
        [row] = await self._database.read(select(queued, running))
        return Counts(*row)
