"""The named operations on what is stored."""

from __future__ import annotations

from collections.abc import Callable, Collection

from sqlalchemy import ColumnElement, Connection, and_, case, delete, exists, func, literal, null, select, update
from sqlalchemy.orm import aliased

from slackbot.domain import (
    ContextMessage,
    HandoverState,
    InboundMessage,
    PartRecord,
    ThreadKey,
    Turn,
    TurnKind,
    TurnState,
)
from slackbot.leases import Standing
from slackbot.routing import Decision, Ignore, Relay, ThreadFacts
from slackbot.store import rows
from slackbot.store.acceptance import Arrival, Decide
from slackbot.store.claims import Claims
from slackbot.store.engine import Database, parse_url, sqlite_file
from slackbot.store.groups import GroupWriter
from slackbot.store.handovers import Handovers
from slackbot.store.lanes import wait_ended, wait_ends
from slackbot.store.lock import DatabaseLock
from slackbot.store.models import (
    ConversationRow,
    HandoverRow,
    PartRow,
    TurnRow,
    epoch_now,
    is_deleted,
    is_kept_context,
    is_queued,
    is_relay,
    is_running,
)
from slackbot.store.replicas import Presence, void
from slackbot.store.slots import Slots
from slackbot.store.values import Accepted, Bounds, Counts
from slackbot.store.wishes import Wishes, ended

CONTEXT_LIMIT = 1_000
"""Unanswered messages of a thread that can go along with its next question; the newest are kept."""


class Store(Wishes, Handovers):
    """What must survive a restart. Every method is a short transaction or two, and raises ``StoreError`` when the
    database fails; ``owner`` is the name of the process that claimed the turn."""

    def __init__(self, database: Database, lock: DatabaseLock | None, bounds: Bounds) -> None:
        super().__init__(database)
        self._lock = lock
        self._claims = Claims(database, bounds)
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

    # --- intake

    async def accept(self, message: InboundMessage, thread: ThreadKey, decide: Decide) -> Accepted:
        """Decide about a message and store what that asks for, in one transaction; return after its commit.

        ``decide`` gets what is stored about the thread. It is called in another thread, perhaps more than once, and
        must not wait. Raises within 2.5 s: what ``decide`` raises, or ``StoreError``; then the message must not be
        acknowledged.
        """
        return await self._writer.accept(Arrival(message, thread, decide))

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

    # --- holding a turn

    async def claim(
        self, owner: str, lease_seconds: float, limit: int = 1, *, at_work: Collection[int] = ()
    ) -> list[Turn]:
        """The next turns that may run, at most ``limit``, now RUNNING and held by ``owner`` for ``lease_seconds``.

        Turns whose lease ran out come first, but for those that the owner is still ``at_work`` on: a renewal brings
        those back. One that was submitted comes back with that flag and its attempt
        number; one that was not counts a further attempt. Of the others those whose thread has no running question
        and no older queued one; notices wait for nobody. Teams are served in turn, in a team its channels, in a
        channel its people, each in the order of acceptance.
        """
        return await self._claims.claim(owner, lease_seconds, limit, at_work)

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

    async def stops(self, owner: str) -> dict[int, str]:
        """Which of the owner's running turns somebody asked to stop, and who."""
        wanted = await self._database.read(
            select(TurnRow.id, TurnRow.stopped_by).where(
                is_running(TurnRow), TurnRow.owner == owner, TurnRow.stopped_by.is_not(None)
            )
        )
        return {row.id: row.stopped_by for row in wanted}

    async def attempt_of(self, turn_id: int) -> int | None:
        """The number of the turn's newest try; None when there is no such turn."""
        tries = await self._database.read(select(TurnRow.attempt).where(TurnRow.id == turn_id))
        return tries[0].attempt if tries else None

    async def still_running(self, turn_ids: Collection[int]) -> frozenset[int]:
        """Which of these turns have not ended and do not wait, whoever runs them."""
        rows = await self._database.read(
            select(TurnRow.id).where(TurnRow.id.in_(sorted(turn_ids)), is_running(TurnRow))
        )
        return frozenset(row.id for row in rows)

    async def is_queued(self, turn_id: int) -> bool:
        """Whether the turn still waits for its time."""
        return bool(await self._database.read(select(TurnRow.id).where(TurnRow.id == turn_id, is_queued(TurnRow))))

    async def void_leases(self) -> None:
        """End all leases at once, when the lock file proves that their owners are dead."""
        if self._lock is not None:
            await self._database.transact(void)

    def presence(self, standing: Standing) -> Presence | None:
        """What proves to other processes that this one lives, and tells it of them; None on SQLite, where there are no
        others."""
        return None if self._database.on_sqlite else Presence(self._database, standing)

    async def mark_submitted(self, turn_id: int, owner: str, digest: str = "") -> bool:
        """Record, before the message goes to Noxus, that it may have arrived, and by what it can be known again there.
        False when the turn is no longer the owner's, its lease is over or somebody stopped it: then the message must
        not be sent."""
        may = and_(_is_held(turn_id, owner), TurnRow.lease_until > epoch_now(), TurnRow.stopped_by.is_(None))
        return await self._change(may, submitted_at=epoch_now(), digest=digest)

    async def submission(self, turn_id: int) -> tuple[str, float] | None:
        """The digest of what was, or was to be, sent to Noxus for a turn, and how many seconds ago; None when nothing
        was."""
        found = await self._database.read(
            select(TurnRow.digest, (epoch_now() - TurnRow.submitted_at).label("age")).where(
                TurnRow.id == turn_id, TurnRow.submitted_at.is_not(None)
            )
        )
        return (found[0].digest or "", found[0].age) if found else None

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

    async def mark_shown(self, turn_id: int, owner: str, code: str | None = None) -> bool:
        """Record that Slack shows all the words of the answer, and by ``code`` what is left to be done: from then on
        there is nothing to stop but ``SHARING``."""
        return await self._change(_is_held(turn_id, owner), shown_at=epoch_now(), error=code)

    async def finish(self, turn_id: int, owner: str, code: str | None = None, *, heard: bool = True) -> bool:
        """The turn is DONE, ``code`` says how if not by an answer. Its words are forgotten and, when the agent
        ``heard`` them, so are the unanswered messages that went along; else those go with the next question.

        What was relayed is context from now on, unless its handover is settled; when its message has changed
        meanwhile, it is QUEUED again.
        """

        def end(connection: Connection) -> int | None:
            # In the order of those who open and end handovers: first the conversation, then its turns.
            of_turn = select(TurnRow.conversation_id).where(TurnRow.id == turn_id).scalar_subquery()
            connection.execute(
                select(ConversationRow.id).where(ConversationRow.id == of_turn).with_for_update(key_share=True)
            )
            finished = connection.execute(
                update(TurnRow)
                .where(_is_held(turn_id, owner))
                .values(
                    **_ended_relay(TurnState.DONE),
                    error=case((is_deleted(TurnRow), TurnRow.error), else_=code),
                    text=case((_STAYS, TurnRow.text), else_=None),
                    attachments=case((_STAYS, TurnRow.attachments), else_=null()),
                )
                .returning(TurnRow.conversation_id, TurnRow.ts, TurnRow.submitted_at)
            )
            turn = finished.one_or_none()
            if turn is None:
                return None
            if heard and turn.submitted_at is not None:
                connection.execute(
                    update(ConversationRow).where(ConversationRow.id == turn.conversation_id).values(needs_past=False)
                )
                connection.execute(
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
            connection.execute(wait_ends(turn.conversation_id))
            return int(turn.conversation_id)

        return await self._ended(end)

    async def fail(self, turn_id: int, owner: str, code: str) -> bool:
        """The turn is FAILED for the reason ``code``. Its words are kept, because Retry needs them; not those of an
        operator, which the asker has never seen."""
        unheard = is_relay(TurnRow) & ~TurnRow.again & (TurnRow.from_operator | _SETTLED)

        def end(connection: Connection) -> int | None:
            failed = connection.execute(
                update(TurnRow)
                .where(_is_held(turn_id, owner))
                .values(
                    **_ended_relay(TurnState.FAILED),
                    error=case((is_deleted(TurnRow), TurnRow.error), else_=code),
                    text=case((unheard, None), else_=TurnRow.text),
                )
                .returning(TurnRow.conversation_id)
            )
            conversation_id = failed.scalar_one_or_none()
            if conversation_id is not None:
                connection.execute(wait_ends(conversation_id))
            return conversation_id

        return await self._ended(end)

    async def _ended(self, end: Callable[[Connection], int | None]) -> bool:
        """End a turn of the conversation that ``end`` returns, if it does."""
        conversation_id = await self._database.transact(end)
        if conversation_id is not None:
            await wait_ended(self._database, conversation_id)
        return conversation_id is not None

    # --- the thread

    async def bind(
        self, turn_id: int, owner: str, agent_conversation_id: str | None, *, needs_past: bool = False
    ) -> bool:
        """Remember which Noxus conversation the turn's thread goes on in; None forgets it, and that the turn was
        submitted to it. False when the turn is no longer the owner's.

        ``needs_past``: it has to be told what was said in the thread before, until a turn in it is DONE.
        """

        def bind(connection: Connection) -> bool:
            held = _is_held(turn_id, owner)
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

    # --- the parts of a reply

    async def record_part(self, turn_id: int, owner: str, part: PartRecord) -> bool:
        """Remember the Slack message that carries this part, in place of an earlier one. False when the turn is no
        longer the owner's."""
        values = {"index": part.index, "ts": part.ts, "placeholder": part.placeholder}
        insert = self._database.insert(PartRow).from_select(
            ["turn_id", *values],
            select(TurnRow.id, *(literal(value) for value in values.values())).where(_is_held(turn_id, owner)),
        )
        recorded = await self._database.write(
            insert.on_conflict_do_update(
                index_elements=[PartRow.turn_id, PartRow.index],
                set_={"ts": part.ts, "placeholder": part.placeholder},
            ).returning(PartRow.id)
        )
        return bool(recorded)

    async def parts(self, turn_id: int) -> list[PartRecord]:
        """The parts of a reply, in order."""
        rows = await self._database.read(
            select(PartRow.index, PartRow.ts, PartRow.placeholder)
            .where(PartRow.turn_id == turn_id)
            .order_by(PartRow.index)
        )
        return [PartRecord(*row) for row in rows]

    async def parts_left(self, seconds: float, newest: int = 500) -> list[tuple[ThreadKey, str, int, int]]:
        """Messages that carry a part, but not the last, of an answer that ended at most ``seconds`` ago: each with its
        thread, its turn and the turn's attempt. Of all parts only the ``newest`` are looked at."""
        below = aliased(PartRow)
        recent = select(PartRow.id).order_by(PartRow.id.desc()).limit(newest).subquery()
        rows = await self._database.read(
            select(
                ConversationRow.team_id,
                ConversationRow.channel_id,
                ConversationRow.root_ts,
                PartRow.ts,
                TurnRow.id,
                TurnRow.attempt,
            )
            .select_from(recent)
            .join(PartRow, PartRow.id == recent.c.id)
            .join(TurnRow, TurnRow.id == PartRow.turn_id)
            .join(ConversationRow, ConversationRow.id == TurnRow.conversation_id)
            .where(
                TurnRow.kind == TurnKind.ASK.value,
                TurnRow.finished_at > epoch_now() - seconds,
                PartRow.index >= 0,
                exists().where(below.turn_id == PartRow.turn_id, below.index > PartRow.index),
            )
        )
        return [(ThreadKey(row.team_id, row.channel_id, row.root_ts), row.ts, row.id, row.attempt) for row in rows]

    async def marks_left(self, seconds: float, newest: int = 100) -> list[tuple[ThreadKey, str]]:
        """The messages that waited for an answer which ended at most ``seconds`` ago, each with its thread. Of all
        turns only the ``newest`` are looked at."""
        recent = select(TurnRow.id).order_by(TurnRow.id.desc()).limit(newest).subquery()
        rows = await self._database.read(
            select(ConversationRow.team_id, ConversationRow.channel_id, ConversationRow.root_ts, TurnRow.ts)
            .select_from(recent)
            .join(TurnRow, TurnRow.id == recent.c.id)
            .join(ConversationRow, ConversationRow.id == TurnRow.conversation_id)
            .where(TurnRow.waited, TurnRow.finished_at > epoch_now() - seconds)
        )
        return [(ThreadKey(row.team_id, row.channel_id, row.root_ts), row.ts) for row in rows]

    async def drop_parts(self, turn_id: int, owner: str, from_index: int) -> None:
        """Forget the parts from ``from_index`` on, if the turn is still the owner's."""
        held = exists().where(_is_held(turn_id, owner))
        await self._database.write(delete(PartRow).where(PartRow.turn_id == turn_id, PartRow.index >= from_index, held))

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


_SETTLED = exists().where(HandoverRow.id == TurnRow.handover_id, HandoverRow.state == HandoverState.CLOSED.value)
_STAYS = is_relay(TurnRow) & (TurnRow.again | ~_SETTLED)


def _ended_relay(state: TurnState) -> dict[str, object]:
    """The end of a turn; of a relay whose message has changed meanwhile, the way back into the queue."""
    values = ended(state)
    return {
        **values,
        "state": case((is_relay(TurnRow) & TurnRow.again, TurnState.QUEUED.value), else_=values["state"]),
        "again": False,
    }
