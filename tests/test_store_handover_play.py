"""Handovers as a state machine: many people at once, on both databases, against a model that fits on one page."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from slackbot.domain import (
    ChannelKind,
    Handover,
    HandoverReason,
    HandoverState,
    MessageDeleted,
    MessageEdited,
    MessageRef,
    Move,
    Transition,
    Turn,
    TurnKind,
)
from slackbot.routing import Decision, KeepAsContext, Relay, RunTurn, ThreadFacts
from slackbot.store import Changed, Handed, Store, Timers
from tests.databases import Raw
from tests.stored import LEASE, message, stores, thread_of, ts

Result = TypeVar("Result")

TIMERS = Timers(remind=100, give_up=350, nudge=100, offer=350)
GOES_OFF = {HandoverState.REQUESTED: {None, "remind", "give_up"}, HandoverState.HUMAN: {None, "nudge", "offer"}}
STARTS = {Move.ASK: HandoverState.REQUESTED, Move.TAKE_OVER: HandoverState.HUMAN}
ENDS = {
    Move.HAND_BACK: HandoverState.RETURNED,
    Move.RESOLVE: HandoverState.CLOSED,
    Move.CALL_OFF: HandoverState.RETURNED,
    Move.GIVE_UP: HandoverState.RETURNED,
}
UNCLAIMED_ONLY = {Move.CALL_OFF, Move.GIVE_UP}
RELAYED = 2
"""The thread whose messages are relayed; in the others they are kept as context."""

threads = st.integers(0, 2)
people = st.sampled_from(["U1", "U2", "U8", "U9"])
operators = st.lists(st.sampled_from(["U7", "U8", "U9"]), min_size=1, max_size=3, unique=True)


class World:
    """Two replicas on one database, and a loop to run them in."""

    def __init__(self, url: str, sql: Raw) -> None:
        self.sql = sql
        self._runner = asyncio.Runner()
        self._open = stores(url, 2)
        self.replicas: list[Store] = self.run(self._open.__aenter__())

    def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        return self._runner.run(work)

    def together(self, *work: Coroutine[Any, Any, Result]) -> list[Result]:
        async def gather() -> list[Result]:
            return await asyncio.gather(*work)

        return self.run(gather())

    def clear(self) -> None:
        for table in ("handover_signals", "handover_transitions", "handovers", "parts", "turns", "conversations"):
            self.sql(f"DELETE FROM {table}")

    def close(self) -> None:
        self.run(self._open.__aexit__(None, None, None))
        self._runner.close()


@pytest.fixture
def world(database_url: str, sql: Raw) -> Iterator[World]:
    opened = World(database_url, sql)
    yield opened
    opened.close()


@dataclass
class Path:
    """What the model knows of one handover."""

    thread: int
    state: HandoverState
    operator: str | None
    steps: list[tuple[Move, HandoverState | None, HandoverState, str]]
    told: int = 0

    @property
    def is_open(self) -> bool:
        return self.state in GOES_OFF


@dataclass
class Model:
    """Which handovers there are, which signals were heeded, and who runs which turns."""

    paths: dict[int, Path] = field(default_factory=dict)
    keys: set[tuple[int, str]] = field(default_factory=set)
    known: set[int] = field(default_factory=set)
    running: dict[int, tuple[str, Turn]] = field(default_factory=dict)
    relays: list[int] = field(default_factory=list)
    """When the messages were written that are relayed."""

    def open(self, thread: int) -> tuple[int, Path] | None:
        return next(((n, path) for n, path in self.paths.items() if path.thread == thread and path.is_open), None)


class Play(RuleBasedStateMachine):
    """People ask, claim, end, write and change their minds; replicas claim turns and show steps; time passes."""

    world: World

    def __init__(self) -> None:
        super().__init__()
        self.world.clear()
        self.model = Model()
        self.clock = 10

    def replica(self, number: int) -> Store:
        return self.world.replicas[number % 2]

    def now(self) -> int:
        self.clock += 1
        return self.clock

    # --- people

    @rule(thread=threads, user=people)
    def write(self, thread: int, user: str) -> None:
        at = self.now()
        standing = self.model.open(thread)

        def decide(facts: ThreadFacts) -> Decision:
            assert (facts.handover and facts.handover.id) == (standing and standing[0])
            if facts.handover is None:
                return RunTurn()
            return Relay() if thread == RELAYED else KeepAsContext()

        inbound = message(at, thread=thread, user=user)
        accepted = self.world.run(self.replica(at).accept(inbound, thread_of(inbound), decide))
        assert accepted.turn_id is not None
        self.model.known.add(thread)
        if isinstance(accepted.decision, Relay):
            self.model.relays.append(at)

    @rule(
        thread=threads,
        keys=st.lists(st.sampled_from("abcd"), min_size=1, max_size=4),
        reason=st.sampled_from([HandoverReason.AGENT, HandoverReason.USER]),
    )
    def ask(self, thread: int, keys: list[str], reason: HandoverReason) -> None:
        outcomes = self.world.together(
            *(
                self.replica(n).ask_for_human(
                    thread_of(message(thread)),
                    ChannelKind.CHANNEL,
                    reason=reason,
                    actor_id="U1",
                    asker_id="U1",
                    key=key,
                    timers=TIMERS,
                )
                for n, key in enumerate(keys)
            )
        )
        fresh = {(thread, key) for key in keys} - self.model.keys
        self.model.keys |= fresh
        self.model.known.add(thread)
        may = bool(fresh) and self.model.open(thread) is None
        self.one_of(outcomes, Move.ASK, ["U1"] * len(keys), may, thread)

    @rule(thread=threads, who=operators, claiming=st.booleans())
    def take(self, thread: int, who: list[str], claiming: bool) -> None:  # noqa: FBT001 - hypothesis passes names
        standing = self.model.open(thread)
        if standing and claiming:
            work = [
                self.replica(n).claim_handover(standing[0], "T1", operator, TIMERS) for n, operator in enumerate(who)
            ]
        else:
            place = thread_of(message(thread))
            work = [self.replica(n).take_over(place, operator, TIMERS) for n, operator in enumerate(who)]
        outcomes = self.world.together(*work)
        if thread not in self.model.known:
            assert outcomes == [Handed(done=False, handover=None)] * len(who)
            return
        may = standing is None or standing[1].state is HandoverState.REQUESTED
        self.one_of(outcomes, Move.CLAIM if standing else Move.TAKE_OVER, who, may, thread)

    @rule(thread=threads, moves=st.lists(st.sampled_from(list(ENDS)), min_size=1, max_size=3))
    def end(self, thread: int, moves: list[Move]) -> None:
        newest = max((n for n, path in self.model.paths.items() if path.thread == thread), default=None)
        if newest is None:
            return
        path = self.model.paths[newest]
        outcomes = self.world.together(
            *(self.replica(n).end_handover(newest, "T1", move, f"{move}") for n, move in enumerate(moves))
        )
        unclaimed = path.state is HandoverState.REQUESTED
        may = [path.is_open and (unclaimed or move not in UNCLAIMED_ONLY) for move in moves]
        assert sum(handed.done for handed in outcomes) == any(may)
        before = path.state
        for move, handed, allowed in zip(moves, outcomes, may, strict=True):
            assert allowed or not handed.done
            if handed.done:
                path.steps.append((move, path.state, ENDS[move], f"{move}"))
                path.state = ENDS[move]
        for handed, allowed in zip(outcomes, may, strict=True):
            assert handed.handover is not None
            # What is not allowed anyway may be heard before the others.
            assert handed.handover.state is path.state or (handed.handover.state is before and not allowed)

    def one_of(self, outcomes: list[Handed], move: Move, who: list[str], may: bool, thread: int) -> None:  # noqa: FBT001
        """Exactly one of those who tried has done it, if it could be done; all of them hear the same."""
        winners = [(actor, handed) for actor, handed in zip(who, outcomes, strict=True) if handed.done]
        assert len(winners) == may
        for actor, handed in winners:
            assert handed.handover is not None
            path = self.model.paths.setdefault(
                handed.handover.id, Path(thread, STARTS.get(move, HandoverState.HUMAN), None, [])
            )
            before = path.state if path.steps else None
            path.state = STARTS.get(move, HandoverState.HUMAN)
            path.operator = None if move is Move.ASK else actor
            path.steps.append((move, before, path.state, actor))
        heard = [handed.handover for handed in outcomes]
        newest = max(n for n, path in self.model.paths.items() if path.thread == thread) if any(heard) else None
        for handover in heard:
            # Of signals at once one may be heard before anything was opened.
            assert handover is None or handover.id == newest or move is Move.ASK
            if handover is not None and handover.is_open and newest is not None:
                path = self.model.paths[newest]
                assert (handover.state, handover.operator_id) == (path.state, path.operator)

    @precondition(lambda self: self.model.relays)
    @rule(data=st.data(), delete=st.booleans())
    def amend(self, data: st.DataObject, delete: bool) -> None:  # noqa: FBT001 - hypothesis passes names
        at = data.draw(st.sampled_from(self.model.relays))
        store = self.replica(at)
        changed = (
            store.drop_message(MessageDeleted("T1", "C1", ts(at)))
            if delete
            else store.edit_message(MessageEdited("T1", "C1", ts(at), f"words {self.now()}"))
        )
        assert self.world.run(changed) is Changed.USED

    # --- replicas

    @rule(number=st.integers(0, 3))
    def claim(self, number: int) -> None:
        owner = f"owner-{number}"
        claims = [self.replica(n).claim(f"{owner}{n}", LEASE, 3) for n in range(2)]
        for n, turns in enumerate(self.world.together(*claims)):
            for turn in turns:
                assert turn.id not in self.model.running
                thread = int(float(turn.thread.root_ts)) - 1_700_000_000
                others = [other for _, other in self.model.running.values() if other.thread == turn.thread]
                if turn.kind is TurnKind.ASK:
                    assert self.model.open(thread) is None or turn.stopped_by
                    assert others == []
                else:
                    assert all(other.kind is TurnKind.ASK and other.stopped_by for other in others) or not others
                    newer = [at for at in self.model.relays if ts(at) > turn.ts]
                    pending = self.world.sql(
                        "SELECT count(*) FROM turns WHERE kind = 'relay' AND state <> 'done' AND state <> 'failed'"
                        " AND ts < %s AND conversation_id = %s",
                        turn.ts,
                        turn.conversation.id,
                    )
                    assert pending == [(0,)], newer
                self.model.running[turn.id] = (f"{owner}{n}", turn)

    @precondition(lambda self: self.model.running)
    @rule(data=st.data(), how=st.sampled_from(["finish", "fail", "postpone"]))
    def leave(self, data: st.DataObject, how: str) -> None:
        turn_id = data.draw(st.sampled_from(sorted(self.model.running)))
        owner, turn = self.model.running.pop(turn_id)
        store = self.replica(turn_id)
        match how:
            case "finish":
                assert self.world.run(store.finish(turn.id, owner))
            case "fail":
                assert self.world.run(store.fail(turn.id, owner, "agent"))
            case _:
                assert self.world.run(store.postpone(turn.id, owner, 0))

    @rule(dies=st.booleans())
    def show(self, dies: bool) -> None:  # noqa: FBT001 - hypothesis passes names
        """Two desks look at once; one may die before it says what it has shown."""
        found = self.world.together(*(self.replica(n).due_handovers(f"desk-{n}", LEASE, 2) for n in range(2)))
        ids = [due.handover.id for dues in found for due in dues]
        assert len(ids) == len(set(ids))
        for n, dues in enumerate(found):
            for due in dues:
                path = self.model.paths[due.handover.id]
                assert [seen(step) for step in due.untold] == path.steps[path.told :]
                assert due.timer in GOES_OFF.get(path.state, {None})
                assert due.untold or due.timer
                if dies:
                    continue
                upto = due.untold[-1].id if due.untold else 0
                card = MessageRef("C9", ts(due.handover.id))
                told = self.replica(n).handover_told(due.handover.id, f"desk-{n}", upto, card, due.timer, TIMERS)
                assert self.world.run(told)
                path.told = len(path.steps)
        if dies:
            self.world.sql("UPDATE handovers SET lease_until = 0")

    @rule(seconds=st.sampled_from([40, 120, 400]))
    def wait(self, seconds: int) -> None:
        for column in ("quiet_since", "due_at", "wake_at"):
            self.world.sql(f"UPDATE handovers SET {column} = {column} - %s", seconds)

    @rule(thread=threads)
    def speak(self, thread: int) -> None:
        if standing := self.model.open(thread):
            self.world.run(self.replica(thread).operator_spoke(standing[0], TIMERS))

    # --- what holds always

    @invariant()
    def every_handover_is_as_the_model_says(self) -> None:
        records = self.world.run(self.replica(0).handovers())
        assert {record.handover.id for record in records} == set(self.model.paths)
        for record in records:
            path = self.model.paths[record.handover.id]
            assert [seen(step) for step in record.transitions] == path.steps
            assert known(record.handover) == (path.state, path.operator)
            befores, afters = [step[1] for step in path.steps], [step[2] for step in path.steps]
            assert befores == [None, *afters[:-1]]
            if path.told < len(path.steps):
                assert self.world.sql("SELECT wake_at FROM handovers WHERE id = %s", record.handover.id) != [(None,)]

    @invariant()
    def one_is_open_in_a_thread_and_somebody_has_it(self) -> None:
        rows = self.world.sql(
            "SELECT conversation_id, state, operator_id FROM handovers WHERE state IN ('requested', 'human')"
        )
        assert len({row[0] for row in rows}) == len(rows)
        assert all((state == "human") == (operator is not None) for _, state, operator in rows)

    def teardown(self) -> None:
        """However it went: when all handovers have ended, everything that waits is run, and everything shown."""
        for n, path in self.model.paths.items():
            if path.is_open:
                self.world.run(self.replica(n).end_handover(n, "T1", Move.HAND_BACK, "U8"))
        for turn_id in list(self.model.running):
            owner, turn = self.model.running.pop(turn_id)
            self.world.run(self.replica(0).finish(turn.id, owner))
        while turns := self.world.run(self.replica(0).claim("last", LEASE, 10)):
            for turn in turns:
                self.world.run(self.replica(0).finish(turn.id, "last"))
        assert self.world.sql("SELECT count(*) FROM turns WHERE state IN ('queued', 'running')") == [(0,)]
        while dues := self.world.run(self.replica(0).due_handovers("last", LEASE)):
            for due in dues:
                told = self.replica(0).handover_told(due.handover.id, "last", due.untold[-1].id, None, None, TIMERS)
                assert self.world.run(told)
        assert self.world.sql("SELECT count(*) FROM handovers WHERE untold OR wake_at IS NOT NULL") == [(0,)]


def seen(step: Transition) -> tuple[Move, HandoverState | None, HandoverState, str]:
    return step.move, step.before, step.after, step.actor_id


def known(handover: Handover) -> tuple[HandoverState, str | None]:
    return handover.state, handover.operator_id


@pytest.mark.timeout(300)
def test_the_play_holds_on_both_databases(world: World) -> None:
    """One winner of every race, one open handover in a thread, legal paths, the agent silent, nothing left over."""
    play = type("PlayHere", (Play,), {"world": world})
    run_state_machine_as_test(
        play,
        settings=settings(
            max_examples=20, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
