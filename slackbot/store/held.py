"""The turns that a process holds: taken, kept, given back, ended."""

from __future__ import annotations

from collections.abc import Callable, Collection

from sqlalchemy import ColumnElement, Connection, and_, case, exists, null, select, update

from slackbot.domain import HandoverState, Turn, TurnState
from slackbot.store.claims import Claims
from slackbot.store.engine import Database
from slackbot.store.lanes import wait_ended, wait_ends
from slackbot.store.models import (
    ConversationRow,
    HandoverRow,
    TurnRow,
    epoch_now,
    is_deleted,
    is_kept_context,
    is_queued,
    is_relay,
    is_running,
)
from slackbot.store.values import Bounds
from slackbot.store.wishes import Wishes, ended


class Held(Wishes):
    """The operations of the store for whoever runs turns."""

    def __init__(self, database: Database, bounds: Bounds) -> None:
        super().__init__(database)
        self._claims = Claims(database, bounds)

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
            .returning(TurnRow.id, TurnRow.stopped_by),
            urgently=True,
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

    async def mark_submitted(self, turn_id: int, owner: str, digest: str = "") -> bool:
        """Record, before the message goes to Noxus, that it may have arrived, and by what it can be known again there.
        False when the turn is no longer the owner's, its lease is over or somebody stopped it: then the message must
        not be sent."""
        may = and_(is_held(turn_id, owner), TurnRow.lease_until > epoch_now(), TurnRow.stopped_by.is_(None))
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
            is_held(turn_id, owner),
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
        return await self._change(is_held(turn_id, owner), shown_at=epoch_now(), error=code)

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
                .where(is_held(turn_id, owner))
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
            wait_ends(connection, turn.conversation_id)
            return int(turn.conversation_id)

        return await self._ended(end)

    async def fail(self, turn_id: int, owner: str, code: str) -> bool:
        """The turn is FAILED for the reason ``code``. Its words are kept, because Retry needs them; not those of an
        operator, which the asker has never seen."""
        unheard = is_relay(TurnRow) & ~TurnRow.again & (TurnRow.from_operator | _SETTLED)

        def end(connection: Connection) -> int | None:
            failed = connection.execute(
                update(TurnRow)
                .where(is_held(turn_id, owner))
                .values(
                    **_ended_relay(TurnState.FAILED),
                    error=case((is_deleted(TurnRow), TurnRow.error), else_=code),
                    text=case((unheard, None), else_=TurnRow.text),
                )
                .returning(TurnRow.conversation_id)
            )
            conversation_id = failed.scalar_one_or_none()
            if conversation_id is not None:
                wait_ends(connection, conversation_id)
            return conversation_id

        return await self._ended(end)

    async def _ended(self, end: Callable[[Connection], int | None]) -> bool:
        """End a turn of the conversation that ``end`` returns, if it does."""
        conversation_id = await self._database.transact(end)
        if conversation_id is not None and not self._database.on_sqlite:
            # On SQLite nothing happens beside a transaction.
            await wait_ended(self._database, conversation_id)
        return conversation_id is not None


def is_held(turn_id: int, owner: str) -> ColumnElement[bool]:
    """Whether a turn runs and is the owner's."""
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
