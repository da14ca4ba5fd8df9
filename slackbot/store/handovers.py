"""Every step of a handover."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import Connection, Select, and_, exists, func, insert, select, update

from slackbot.domain import (
    ChannelKind,
    Handover,
    HandoverReason,
    HandoverState,
    Move,
    ThreadKey,
    TurnKind,
    TurnState,
)
from slackbot.store import rows
from slackbot.store.acceptance import new_conversation
from slackbot.store.handover_reads import HandoverReads, is_in_team
from slackbot.store.lanes import wait_ended, wait_ends
from slackbot.store.models import (
    ConversationRow,
    HandoverRow,
    SignalRow,
    TransitionRow,
    TurnRow,
    epoch_now,
    is_deleted,
    is_kept_context,
    is_open,
    is_ordered,
    is_pending,
    is_speaking,
)
from slackbot.store.outbox import next_timer
from slackbot.store.values import Handed, Timers

_REQUESTED, _HUMAN = HandoverState.REQUESTED, HandoverState.HUMAN
_ENDS: Final = {
    Move.HAND_BACK: (HandoverState.RETURNED, {_REQUESTED, _HUMAN}),
    Move.RESOLVE: (HandoverState.CLOSED, {_REQUESTED, _HUMAN}),
    Move.CALL_OFF: (HandoverState.RETURNED, {_REQUESTED}),
    Move.GIVE_UP: (HandoverState.RETURNED, {_REQUESTED}),
}
"""Where a move that ends a handover leads, and from where."""

_FORGOTTEN: Final = {"agent_conversation_id": None, "needs_past": False, "sent_files": None}


class Handovers(HandoverReads):
    """The operations of the store on handovers.

    A step is taken in one transaction that holds the conversation's row, and only from a state that it may be taken
    from: of two that race one is done, and the other hears how things stand.
    """

    # --- steps

    async def ask_for_human(
        self,
        thread: ThreadKey,
        kind: ChannelKind,
        *,
        reason: HandoverReason,
        actor_id: str,
        asker_id: str,
        key: str,
        timers: Timers,
    ) -> Handed:
        """Open a handover that waits for an operator. ``key`` names the signal that asks (a tool call, a message): it
        does so once in a conversation for ever, also when somebody else had asked already.

        Questions that wait become context. The one being answered is stopped, unless it is the agent that asks: its
        words are shown as they are. It has to ask before its turn has ended, as the next one would begin.
        """

        def ask(connection: Connection) -> Handed:
            conversation_id = self._start_thread(connection, thread, kind)
            fresh = self._heed(connection, conversation_id, key)
            standing = _newest(connection, conversation_id)
            if not fresh or (standing is not None and standing.is_open):
                return Handed(done=False, handover=standing)
            who = {"asker_id": asker_id, "actor_id": actor_id}
            return self._open(connection, conversation_id, Move.ASK, timers, reason=reason, **who)

        return await self._database.transact(ask)

    async def take_over(self, thread: ThreadKey, operator_id: str, timers: Timers) -> Handed:
        """Give the thread to this operator unasked, or claim the handover that waits there. An answer that is being
        written is stopped. A thread that the agent was never in is unknown."""

        def take(connection: Connection) -> Handed:
            conversation_id = self._lock_thread(connection, thread)
            if conversation_id is None:
                return Handed(done=False, handover=None)
            standing = _newest(connection, conversation_id)
            if standing is not None and standing.is_open:
                return self._claim(connection, standing, operator_id, timers)
            asker_id = connection.execute(_asker(conversation_id)).scalar_one_or_none() or ""
            who = {"asker_id": asker_id, "actor_id": operator_id}
            reason = HandoverReason.OPERATOR
            return self._open(connection, conversation_id, Move.TAKE_OVER, timers, reason=reason, **who)

        return await self._database.transact(take)

    async def claim_handover(self, handover_id: int, team_id: str, operator_id: str, timers: Timers) -> Handed:
        """Give the handover that waits to this operator."""

        def claim(connection: Connection) -> Handed:
            handover = self._lock_handover(connection, handover_id, team_id)
            if handover is None:
                return Handed(done=False, handover=None)
            return self._claim(connection, handover, operator_id, timers)

        return await self._database.transact(claim)

    async def end_handover(self, handover_id: int, team_id: str, move: Move, actor_id: str) -> Handed:
        """Give the thread back to the agent: HAND_BACK and RESOLVE from any open handover, CALL_OFF and GIVE_UP from
        one that nobody has claimed. RESOLVE forgets what was said and the Noxus conversation."""
        after, allowed = _ENDS[move]

        def end(connection: Connection) -> Handed:
            handover = self._lock_handover(connection, handover_id, team_id)
            if handover is None or handover.state not in allowed:
                return Handed(done=False, handover=handover)
            ended = {"ended_at": epoch_now(), "due": None, "due_at": None}
            over = self._step(connection, handover, move, after, actor_id, **ended)
            if move is Move.RESOLVE:
                conversation_id = handover.conversation.id
                said = and_(TurnRow.conversation_id == conversation_id, is_kept_context(TurnRow))
                connection.execute(update(TurnRow).where(said).values(text=None, attachments=None))
                self._set_conversation(connection, conversation_id, **_FORGOTTEN)
            wait_ends(connection, handover.conversation.id)
            return Handed(done=True, handover=over)

        handed = await self._database.transact(end)
        if handed.done and handed.handover is not None:
            await wait_ended(self._database, handed.handover.conversation.id)
        return handed

    # --- operators

    async def hold(self, thread: ThreadKey, operator_id: str, seconds: float) -> bool:
        """Let the thread's next question wait while this operator is asked what they want. True once for each thread
        and operator, and never for somebody who has asked the agent there, nor during a handover."""

        def ask(connection: Connection) -> bool:
            conversation_id = self._lock_thread(connection, thread)
            if conversation_id is None:
                return False
            known = connection.execute(
                select(
                    exists().where(
                        TurnRow.conversation_id == conversation_id,
                        TurnRow.user_id == operator_id,
                        TurnRow.kind == TurnKind.ASK.value,
                    ),
                    exists().where(HandoverRow.conversation_id == conversation_id, is_open(HandoverRow)),
                )
            )
            if any(known.one()) or not self._heed(connection, conversation_id, f"hold {operator_id}"):
                return False
            self._set_conversation(connection, conversation_id, held_until=epoch_now() + seconds)
            return True

        return await self._database.transact(ask)

    async def release_hold(self, thread: ThreadKey) -> None:
        """The thread's next question need not wait any longer."""
        release = update(ConversationRow).where(rows.is_thread(thread)).values(held_until=None)
        for [conversation_id] in await self._database.write(release.returning(ConversationRow.id)):
            await wait_ended(self._database, conversation_id)

    # --- parts of steps

    def _lock_thread(self, connection: Connection, thread: ThreadKey) -> int | None:
        """Hold the thread's conversation, so that no message comes into it and no other step is taken."""
        lock = select(ConversationRow.id).where(rows.is_thread(thread)).with_for_update()
        return connection.execute(lock).scalar_one_or_none()

    def _start_thread(self, connection: Connection, thread: ThreadKey, kind: ChannelKind) -> int:
        """The same, for a thread that may be new."""
        if (found := self._lock_thread(connection, thread)) is not None:
            return found
        place = {"team_id": thread.team_id, "channel_id": thread.channel_id, "root_ts": thread.root_ts}
        if (started := new_conversation(self._database, connection, place, kind)) is not None:
            return started
        # Another replica started it since we looked.
        return self._start_thread(connection, thread, kind)

    def _lock_handover(self, connection: Connection, handover_id: int, team_id: str) -> Handover | None:
        """The handover as it stands, with its conversation held."""
        connection.execute(
            select(ConversationRow.id)
            .join(HandoverRow, HandoverRow.conversation_id == ConversationRow.id)
            .where(is_in_team(handover_id, team_id))
            .with_for_update(of=ConversationRow)
        )
        return _one(connection, rows.handovers(is_in_team(handover_id, team_id)))

    def _heed(self, connection: Connection, conversation_id: int, key: str) -> bool:
        """Whether this signal is new."""
        signal = self._database.insert(SignalRow).values(conversation_id=conversation_id, key=key)
        new = connection.execute(signal.on_conflict_do_nothing().returning(SignalRow.key))
        return new.scalar_one_or_none() is not None

    def _open(
        self,
        connection: Connection,
        conversation_id: int,
        move: Move,
        timers: Timers,
        *,
        reason: HandoverReason,
        asker_id: str,
        actor_id: str,
    ) -> Handed:
        state = _REQUESTED if move is Move.ASK else _HUMAN
        human = {} if move is Move.ASK else {"operator_id": actor_id, "claimed_at": epoch_now()}
        opened = connection.execute(
            insert(HandoverRow)
            .values(
                **human,
                **next_timer(state, timers),
                conversation_id=conversation_id,
                state=state.value,
                reason=reason.value,
                asker_id=asker_id,
                told=0,
                untold=True,
                wake_at=epoch_now(),
            )
            .returning(HandoverRow.id)
        )
        handover_id = opened.scalar_one()
        self._set_conversation(connection, conversation_id, held_until=None)
        self._note(connection, handover_id, move, None, state, actor_id)
        stopper = None if reason is HandoverReason.AGENT else actor_id
        stop_turn = self._silence(connection, conversation_id, stopper)
        if move is Move.TAKE_OVER:
            self._recognise(connection, conversation_id, asker_id, actor_id)
        return Handed(done=True, handover=_load(connection, handover_id), stop_turn=stop_turn)

    def _claim(self, connection: Connection, handover: Handover, operator_id: str, timers: Timers) -> Handed:
        if handover.state is not _REQUESTED:
            return Handed(done=False, handover=handover)
        stop_turn = self._silence(connection, handover.conversation.id, operator_id)
        self._recognise(connection, handover.conversation.id, handover.asker_id, operator_id)
        claimed = self._step(
            connection,
            handover,
            Move.CLAIM,
            _HUMAN,
            operator_id,
            **next_timer(_HUMAN, timers),
            operator_id=operator_id,
            claimed_at=epoch_now(),
            quiet_since=epoch_now(),
        )
        return Handed(done=True, handover=claimed, stop_turn=stop_turn)

    def _step(
        self,
        connection: Connection,
        handover: Handover,
        move: Move,
        after: HandoverState,
        actor_id: str,
        **values: object,
    ) -> Handover | None:
        connection.execute(
            update(HandoverRow)
            .where(HandoverRow.id == handover.id)
            .values(**values, state=after.value, untold=True, wake_at=epoch_now())
        )
        self._note(connection, handover.id, move, handover.state, after, actor_id)
        return _load(connection, handover.id)

    def _note(
        self,
        connection: Connection,
        handover_id: int,
        move: Move,
        before: HandoverState | None,
        after: HandoverState,
        actor_id: str,
    ) -> None:
        step = {"move": move.value, "before": before and before.value, "after": after.value, "actor_id": actor_id}
        connection.execute(insert(TransitionRow).values(handover_id=handover_id, **step))

    def _silence(self, connection: Connection, conversation_id: int, stopper: str | None) -> int | None:
        """Make context of the questions that wait, and let ``stopper`` stop the one that runs; returns which."""
        pending = connection.execute(
            select(TurnRow.id, TurnRow.kind, TurnRow.state, is_speaking(TurnRow).label("speaks"))
            .where(TurnRow.conversation_id == conversation_id, is_pending(TurnRow), is_ordered(TurnRow))
            .order_by(TurnRow.id)
            .with_for_update()
        )
        stop_turn: int | None = None
        over = {"state": TurnState.DONE.value, "finished_at": epoch_now()}
        for turn in pending.all():
            this = update(TurnRow).where(TurnRow.id == turn.id)
            waits, asks = turn.state == TurnState.QUEUED.value, turn.kind == TurnKind.ASK.value
            if waits:
                connection.execute(this.values(**over, kind=TurnKind.CONTEXT.value))
                if not asks:
                    self._set_conversation(connection, conversation_id, **_FORGOTTEN)
            elif asks and stopper is not None and turn.speaks:
                stop_turn = turn.id
                connection.execute(this.values(stopped_by=func.coalesce(TurnRow.stopped_by, stopper)))
        return stop_turn

    def _recognise(self, connection: Connection, conversation_id: int, asker_id: str, operator_id: str) -> None:
        """What the operator has written already was a human's word, too."""
        if operator_id != asker_id:
            said = and_(TurnRow.conversation_id == conversation_id, is_kept_context(TurnRow))
            connection.execute(update(TurnRow).where(said, TurnRow.user_id == operator_id).values(from_operator=True))

    def _set_conversation(self, connection: Connection, conversation_id: int, **values: object) -> None:
        connection.execute(update(ConversationRow).where(ConversationRow.id == conversation_id).values(**values))


def _asker(conversation_id: int) -> Select[str]:
    """Who asked last in a thread; of people who only wrote, who did so last."""
    return (
        select(TurnRow.user_id)
        .where(TurnRow.conversation_id == conversation_id, ~is_deleted(TurnRow))
        .order_by((TurnRow.kind == TurnKind.ASK.value).desc(), TurnRow.ts.desc())
        .limit(1)
    )


def _one(connection: Connection, statement: Select[*tuple[Any, ...]]) -> Handover | None:
    row = connection.execute(statement).one_or_none()
    return None if row is None else rows.handover(row)


def _load(connection: Connection, handover_id: int) -> Handover | None:
    return _one(connection, rows.handovers(HandoverRow.id == handover_id))


def _newest(connection: Connection, conversation_id: int) -> Handover | None:
    newest = rows.handovers(HandoverRow.conversation_id == conversation_id).order_by(HandoverRow.id.desc()).limit(1)
    return _one(connection, newest)
