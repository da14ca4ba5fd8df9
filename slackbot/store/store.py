"""The named operations on what is stored."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import ColumnElement, and_, case, delete, func, select, update

from slackbot.domain import ContextMessage, InboundMessage, PartRecord, ThreadKey, Turn, TurnState
from slackbot.store import claims
from slackbot.store.acceptance import Arrival, Decide
from slackbot.store.engine import Database, parse_url, sqlite_file
from slackbot.store.groups import GroupWriter
from slackbot.store.lock import DatabaseLock
from slackbot.store.models import ConversationRow, PartRow, TurnRow, epoch_now, is_kept_context, is_queued, is_running
from slackbot.store.values import Accepted, Counts
from slackbot.store.wishes import Wishes, ended

CONTEXT_LIMIT = 200
"""Unanswered messages of a thread that can go along with its next question; the newest are kept."""


class Store(Wishes):
    """What must survive a restart. Every method is a short transaction or two, and raises ``StoreError`` when the
    database fails; ``owner`` is the name of the process that claimed the turn."""

    def __init__(self, database: Database, lock: DatabaseLock | None) -> None:
        super().__init__(database)
        self._lock = lock
        self._writer = GroupWriter(database)

    @classmethod
    async def open(cls, url: str, *, exclusive: bool = False) -> Store:
        """Connect to a migrated database. ``exclusive`` is for a process that runs turns: on SQLite it must be the
        only one, else ``DatabaseInUse`` is raised; PostgreSQL takes any number of them."""
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
        return cls(database, lock)

    async def close(self) -> None:
        """Write what waits to be accepted, then let go of the database."""
        try:
            await self._writer.close()
        finally:
            await self._database.close()
            if self._lock:
                self._lock.release()

    # --- intake

    async def accept(self, message: InboundMessage, thread: ThreadKey, decide: Decide) -> Accepted:
        """Decide about a message and store what that asks for, in one transaction; return after its commit.

        ``decide`` gets what is stored about the thread. It is called in another thread, perhaps more than once, and
        must not wait. Raises within 2.5 s: what ``decide`` raises, or ``StoreError``; then the message must not be
        acknowledged.
        """
        return await self._writer.accept(Arrival(message, thread, decide))

    # --- holding a turn

    async def claim(self, owner: str, lease_seconds: float, limit: int = 1) -> list[Turn]:
        """The next turns that may run, at most ``limit``, now RUNNING and held by ``owner`` for ``lease_seconds``.

        Turns whose lease ran out come first. One that was submitted comes back with that flag and its attempt
        number; one that was not counts a further attempt. Else the first accepted turn whose thread has no running
        question and no older queued one; notices wait for nobody.
        """
        return await claims.claim(self._database, owner, lease_seconds, limit)

    async def renew(self, owner: str, turn_ids: Collection[int], lease_seconds: float) -> dict[int, str | None]:
        """Hold these turns for ``lease_seconds`` from now; returns those that are still the owner's, each with who
        asked to stop it: the press may have reached another process."""
        renewed = await self._database.write(
            update(TurnRow)
            .where(TurnRow.id.in_(sorted(turn_ids)), TurnRow.owner == owner, is_running(TurnRow))
            .values(lease_until=epoch_now() + lease_seconds)
            .returning(TurnRow.id, TurnRow.stopped_by)
        )
        return {row.id: row.stopped_by for row in renewed}

    async def is_queued(self, turn_id: int) -> bool:
        """Whether the turn still waits for its time."""
        return bool(await self._database.read(select(TurnRow.id).where(TurnRow.id == turn_id, is_queued(TurnRow))))

    async def void_leases(self) -> None:
        """End every lease at once, when the lock file proves that their owners are dead; else leave them alone."""
        if self._lock is None:
            return
        await self._database.write(
            update(TurnRow)
            .where(is_running(TurnRow), TurnRow.owner.is_not(None))
            .values(owner=None, lease_until=epoch_now())
        )

    async def mark_submitted(self, turn_id: int, owner: str) -> bool:
        """Record, before the message goes to Noxus, that it may have arrived. False when the turn is no longer the
        owner's or its lease is over: then the message must not be sent."""
        return await self._change(
            _is_held(turn_id, owner) & (TurnRow.lease_until > epoch_now()), submitted_at=epoch_now()
        )

    async def postpone(self, turn_id: int, owner: str, seconds: float) -> bool:
        """Give the turn back, to be claimed again after ``seconds``. It keeps its place in the thread.

        Unsubmitted it will be run from its start, so that counts as a further attempt.
        """
        later = epoch_now() + seconds
        submitted = TurnRow.submitted_at.is_not(None)
        return await self._change(
            _is_held(turn_id, owner),
            owner=None,
            # A submitted turn goes on where it was, so it stays RUNNING and keeps the thread to itself.
            state=case((submitted, TurnState.RUNNING.value), else_=TurnState.QUEUED.value),
            lease_until=case((submitted, later), else_=None),
            available_at=later,
            attempt=case((submitted, TurnRow.attempt), else_=TurnRow.attempt + 1),
        )

    async def mark_shown(self, turn_id: int, owner: str) -> bool:
        """Record that Slack shows all the words of the answer: from then on it is too late to stop it."""
        return await self._change(_is_held(turn_id, owner), shown_at=epoch_now())

    async def finish(
        self, turn_id: int, owner: str, code: str | None = None, *, sent_files: Collection[str] = ()
    ) -> bool:
        """The turn is DONE, ``code`` says how if not by an answer. Its words, and the unanswered messages that went
        along with it, are forgotten. ``sent_files`` are all the files that the Noxus conversation has by now."""
        async with self._database.writing() as connection:
            finished = await connection.execute(
                update(TurnRow)
                .where(_is_held(turn_id, owner))
                .values(**ended(TurnState.DONE), error=code, text=None, attachments=None)
                .returning(TurnRow.conversation_id, TurnRow.ts, TurnRow.submitted_at)
            )
            turn = finished.one_or_none()
            if turn is not None and turn.submitted_at is not None:
                await connection.execute(
                    update(ConversationRow)
                    .where(ConversationRow.id == turn.conversation_id)
                    .values(needs_past=False, sent_files=sorted(sent_files) or None)
                )
                await connection.execute(
                    update(TurnRow)
                    .where(
                        TurnRow.conversation_id == turn.conversation_id,
                        is_kept_context(TurnRow),
                        TurnRow.ts < turn.ts,
                        # What arrived later did not go along, whatever its ts says.
                        TurnRow.accepted_at <= turn.submitted_at,
                    )
                    .values(text=None, attachments=None)
                )
            return turn is not None

    async def fail(self, turn_id: int, owner: str, code: str) -> bool:
        """The turn is FAILED for the reason ``code``. Its words are kept, because Retry needs them."""
        return await self._change(_is_held(turn_id, owner), **ended(TurnState.FAILED), error=code)

    # --- the thread

    async def bind(self, conversation_id: int, agent_conversation_id: str | None, *, needs_past: bool = False) -> None:
        """Remember which Noxus conversation the thread goes on in; None forgets it.

        ``needs_past``: it has to be told what was said in the thread before, until a turn in it is DONE.
        """
        await self._set(
            conversation_id, agent_conversation_id=agent_conversation_id, needs_past=needs_past, sent_files=None
        )

    async def context_for(self, turn: Turn) -> list[ContextMessage]:
        """What was said before the turn and not answered, oldest first, the newest ``CONTEXT_LIMIT``."""
        newest_first = await self._database.read(
            select(TurnRow.ts, TurnRow.user_id, TurnRow.text, TurnRow.attachments)
            .where(TurnRow.conversation_id == turn.conversation.id, is_kept_context(TurnRow), TurnRow.ts < turn.ts)
            .order_by(TurnRow.ts.desc())
            .limit(CONTEXT_LIMIT)
        )
        return [
            ContextMessage(row.ts, row.user_id, row.text or "", claims.attachments(row.attachments))
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

    # --- the parts of a reply

    async def record_part(self, turn_id: int, part: PartRecord) -> None:
        """Remember the Slack message that carries this part, in place of an earlier one."""
        insert = self._database.insert(PartRow).values(
            turn_id=turn_id, index=part.index, ts=part.ts, placeholder=part.placeholder
        )
        await self._database.write(
            insert.on_conflict_do_update(
                index_elements=[PartRow.turn_id, PartRow.index],
                set_={"ts": part.ts, "placeholder": part.placeholder},
            )
        )

    async def parts(self, turn_id: int) -> list[PartRecord]:
        """The parts of a reply, in order."""
        rows = await self._database.read(
            select(PartRow.index, PartRow.ts, PartRow.placeholder)
            .where(PartRow.turn_id == turn_id)
            .order_by(PartRow.index)
        )
        return [PartRecord(*row) for row in rows]

    async def drop_parts(self, turn_id: int, from_index: int) -> None:
        """Forget the parts from ``from_index`` on."""
        await self._database.write(delete(PartRow).where(PartRow.turn_id == turn_id, PartRow.index >= from_index))

    async def counts(self) -> Counts:
        """How many turns wait and how many run."""
        queued, running = (
            select(func.count()).select_from(TurnRow).where(state).scalar_subquery()
            for state in (is_queued(TurnRow), is_running(TurnRow))
        )
        [row] = await self._database.read(select(queued, running))
        return Counts(*row)


def _is_held(turn_id: int, owner: str) -> ColumnElement[bool]:
    return and_(TurnRow.id == turn_id, TurnRow.owner == owner, is_running(TurnRow))
