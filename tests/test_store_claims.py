"""One running question per thread, oldest first, whoever claims; races run on real connections."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator

import pytest

from slackbot.domain import Notice, TurnKind
from slackbot.routing import Say
from slackbot.store import Pressed, Store
from tests.databases import Raw
from tests.stored import LEASE, accept, claimed, drain, message, stores, ts


@pytest.fixture
async def replicas(database_url: str) -> AsyncIterator[list[Store]]:
    """Four stores on one database."""
    async with stores(database_url, 4) as opened:
        yield opened


@pytest.fixture
def store(replicas: list[Store]) -> Store:
    return replicas[0]


async def claim_everywhere(replicas: list[Store], times: int) -> list[str]:
    """Many claims at the same moment; returns the ``ts`` of what was claimed."""
    claims = [store.claim(f"owner-{n}", LEASE) for n, store in enumerate(replicas) for _ in range(times)]
    random.shuffle(claims)
    return [turn.ts for turns in await asyncio.gather(*claims) for turn in turns]


async def test_many_claims_of_one_thread_give_one_running_turn(replicas: list[Store]) -> None:
    """Twenty claims from four replicas, five queued questions: the oldest runs, alone; then the next."""
    order = [4, 2, 5, 1, 3]
    for at in order:
        await accept(replicas[0], message(at, thread=1))
    for expected in sorted(order):
        assert await claim_everywhere(replicas, 5) == [ts(expected)]
        [turn_id] = await running(replicas)
        assert any([await store.finish(turn_id, f"owner-{n}") for n, store in enumerate(replicas)])


async def test_several_turns_are_taken_at_once(replicas: list[Store]) -> None:
    """One claim takes as many as it may, one of each thread, in the order of their acceptance."""
    for at in (1, 2, 3):
        await accept(replicas[0], message(at))
    await accept(replicas[0], message(4, thread=1))
    both = await asyncio.gather(*(store.claim(f"owner-{n}", LEASE, 2) for n, store in enumerate(replicas)))
    assert sorted(turn.ts for turns in both for turn in turns) == [ts(1), ts(2), ts(3)]
    assert max(len(turns) for turns in both) <= 2


async def running(replicas: list[Store]) -> list[int]:
    held = [await store.renew(f"owner-{n}", range(1, 100), LEASE) for n, store in enumerate(replicas)]
    return sorted(turn for turns in held for turn in turns)


async def test_threads_are_claimed_side_by_side(replicas: list[Store]) -> None:
    """Forty claims, thirty threads with two questions each: each thread runs its first, none runs twice."""
    for at in range(30):
        await accept(replicas[0], message(at))
        await accept(replicas[1], message(1000 + at, thread=at))
    # A claim that keeps losing to others leaves the rest to the next poll.
    found = [*await claim_everywhere(replicas, 10), *await claim_everywhere(replicas, 10)]
    assert sorted(found) == [ts(at) for at in range(30)]
    assert len(await running(replicas)) == 30


async def test_threads_are_served_in_the_order_of_acceptance(store: Store) -> None:
    """Across threads the first accepted comes first, whatever its ``ts``."""
    for at in (3, 1, 2):
        await accept(store, message(at))
    assert [turn.ts for turn in await drain(store)] == [ts(3), ts(1), ts(2)]


async def test_an_older_message_that_arrives_late_waits_and_goes_next(store: Store) -> None:
    """It does not run beside the newer one, and does not wait behind those still queued."""
    await accept(store, message(5, thread=1))
    newer = await claimed(store)
    await accept(store, message(6, thread=1))
    await accept(store, message(4, thread=1))
    assert await drain(store) == []
    await store.finish(newer.id, "me")
    assert [turn.ts for turn in await drain(store)] == [ts(4)]


async def test_two_replicas_that_pick_two_turns_of_one_thread_start_one(replicas: list[Store], sql: Raw) -> None:
    """While claims race, ever older messages arrive: at no time do two turns of the thread run."""
    stop = asyncio.Event()
    answered: list[str] = []

    async def arrive() -> None:
        for at in range(40, 0, -1):
            await accept(replicas[at % 4], message(at, thread=1))
        stop.set()

    async def work(number: int) -> None:
        store, owner = replicas[number], f"owner-{number}"
        while True:
            if turns := await store.claim(owner, LEASE):
                [turn] = turns
                assert sql("SELECT count(*) FROM turns WHERE state = 'running'") == [(1,)]
                answered.append(turn.ts)
                assert await store.finish(turn.id, owner)
            elif stop.is_set() and (await store.counts()).queued == 0:
                return
            else:
                # As a worker that finds nothing. Without a pause the four would starve each other on SQLite.
                await asyncio.sleep(0.02)

    await asyncio.gather(arrive(), *(work(number) for number in range(4)))
    assert Counter(answered) == Counter(ts(at) for at in range(1, 41))


async def test_the_index_refuses_what_the_query_would_let_through(sql: Raw, store: Store) -> None:
    """Two running questions of one thread cannot be stored, whoever tries."""
    await accept(store, message(1))
    await accept(store, message(2, thread=1))
    with pytest.raises(Exception, match=r"(?i)unique"):
        sql("UPDATE turns SET state = 'running'")


async def test_a_claim_that_loses_the_race_takes_another_thread(store: Store, sql: Raw) -> None:
    """While somebody else starts a turn of the first thread, unseen, the claim ends with the second thread's."""
    if sql.on_sqlite:
        # Here writers queue, so there is no moment between looking and taking: the loser simply sees the winner.
        await accept(store, message(1))
        await accept(store, message(2))
        sql("UPDATE turns SET state = 'running', owner = 'rival', lease_until = accepted_at + 30 WHERE ts = %s", ts(1))
        assert (await claimed(store)).ts == ts(2)
        return
    await accept(store, message(5, thread=1))
    sql("BEGIN")
    sql("UPDATE turns SET state = 'running', owner = 'rival', lease_until = accepted_at + 30")
    await accept(store, message(4, thread=1))
    await accept(store, message(6))
    claim = asyncio.create_task(claimed(store))
    await asyncio.sleep(0.2)
    assert not claim.done()
    sql("COMMIT")
    assert (await claim).ts == ts(6)
    assert await drain(store) == []


async def test_a_notice_is_said_beside_a_running_question(store: Store) -> None:
    """It waits neither for the running question nor for queued ones, and blocks none."""
    await accept(store, message(1))
    await accept(store, message(2, thread=1))
    await accept(store, message(3, thread=1), Say(Notice.GREETING))
    assert [(turn.kind, turn.ts) for turn in await drain(store)] == [
        (TurnKind.ASK, ts(1)),
        (TurnKind.NOTICE, ts(3)),
    ]


async def test_an_expired_turn_is_taken_over_before_newer_ones(replicas: list[Store]) -> None:
    """Not submitted, it counts another attempt; its former owner has lost it; the queued one still waits."""
    first, second = replicas[:2]
    await accept(first, message(1))
    await accept(first, message(2, thread=1))
    turn = await claimed(first, "dead", lease=0.0)
    again = await claimed(second, "heir")
    assert (again.id, again.attempt, again.submitted) == (turn.id, 2, False)
    assert await first.renew("dead", [turn.id], LEASE) == {}
    assert not await first.mark_submitted(turn.id, "dead")
    assert not await first.finish(turn.id, "dead")
    assert await drain(second) == []


async def test_an_expired_submitted_turn_stays_submitted(store: Store) -> None:
    """Whoever takes it over knows that the message may be with the agent, and the attempt is the same."""
    await accept(store, message(1))
    turn = await claimed(store, "dead")
    assert await store.mark_submitted(turn.id, "dead")
    assert await store.renew("dead", [turn.id], 0.0) == {turn.id: None}
    again = await claimed(store, "heir")
    assert (again.id, again.attempt, again.submitted) == (turn.id, 1, True)


async def test_an_expired_turn_is_taken_over_once(replicas: list[Store]) -> None:
    """Many claims at once, ten expired turns: each gets one heir."""
    for at in range(10):
        await accept(replicas[0], message(at))
        await claimed(replicas[0], "dead", lease=0.0 if at == 9 else LEASE)
    await replicas[0].renew("dead", range(1, 11), 0.0)
    assert sorted(await claim_everywhere(replicas, 5)) == [ts(at) for at in range(10)]


async def test_a_lease_that_is_over_sends_nothing(store: Store) -> None:
    """A message must not be sent after the lease, even when nobody has taken the turn over; renewing cures it."""
    await accept(store, message(1))
    turn = await claimed(store, lease=0.0)
    assert not await store.mark_submitted(turn.id, "me")
    assert await store.renew("me", [turn.id], LEASE) == {turn.id: None}
    assert await store.mark_submitted(turn.id, "me")


async def test_a_postponed_turn_comes_back_and_keeps_its_place(store: Store, sql: Raw) -> None:
    """Until then the thread waits for it; others go on."""
    await accept(store, message(1))
    await accept(store, message(2, thread=1))
    await accept(store, message(3))
    turn = await claimed(store)
    assert await store.postpone(turn.id, "me", 60)
    assert [other.ts for other in await drain(store)] == [ts(3)]
    sql("UPDATE turns SET available_at = available_at - 61, parked_until = parked_until - 61 WHERE id = %s", turn.id)
    again = await claimed(store)
    assert (again.ts, again.attempt, again.submitted) == (ts(1), 2, False)


async def test_a_postponed_submitted_turn_comes_back_submitted(store: Store, sql: Raw) -> None:
    """It holds its thread meanwhile, without an owner."""
    await accept(store, message(1))
    await accept(store, message(2, thread=1))
    turn = await claimed(store)
    await store.mark_submitted(turn.id, "me")
    assert await store.postpone(turn.id, "me", 60)
    assert await store.renew("me", [turn.id], LEASE) == {}
    assert await drain(store) == []
    sql("UPDATE turns SET lease_until = lease_until - 61 WHERE id = %s", turn.id)
    again = await claimed(store)
    assert (again.ts, again.attempt, again.submitted) == (ts(1), 1, True)


@pytest.mark.parametrize("submitted", [False, True])
async def test_a_clock_that_is_set_back_keeps_nothing_waiting(
    store: Store, database_url: str, sql: Raw, *, submitted: bool
) -> None:
    """Whatever was put off comes soon, not at the time by the clock of before."""
    await accept(store, message(1))
    turn = await claimed(store)
    if submitted:
        await store.mark_submitted(turn.id, "me")
    assert await store.postpone(turn.id, "me", 60)
    assert await drain(store) == []
    later = "available_at = available_at + %s, parked_until = parked_until + %s, lease_until = lease_until + %s"
    sql(f"UPDATE turns SET {later}, echoes_at = available_at + %s", *[7200.0] * 4)
    async with stores(database_url, 1) as [afterwards]:
        assert await drain(afterwards) == []
        [[echoes]] = sql("SELECT echoes_at - available_at FROM turns")
        assert echoes < 0
        sql("UPDATE turns SET parked_until = parked_until - 31, lease_until = lease_until - 31")
        again = await claimed(afterwards)
    assert (again.ts, again.submitted) == (ts(1), submitted)


async def test_a_clock_that_is_set_back_keeps_no_one_silent(store: Store, sql: Raw) -> None:
    """Nor does what had been put off and is looked at only then, and what is held back in a thread."""
    await accept(store, message(1))
    await accept(store, message(2), Say(Notice.GREETING))
    sql("UPDATE turns SET available_at = accepted_at + 600")
    sql("UPDATE conversations SET held_until = created_at + 600")
    assert {turn.ts for turn in await drain(store)} == {ts(1), ts(2)}


async def test_two_presses_on_retry_queue_once(replicas: list[Store]) -> None:
    """Eight presses at the same moment over four replicas: one queues, the others are told."""
    await accept(replicas[0], message(1))
    turn = await claimed(replicas[0])
    await replicas[0].fail(turn.id, "me", "agent")
    presses = [store.retry(turn.id, "T1", "C1", "U1") for store in replicas for _ in range(2)]
    assert Counter(await asyncio.gather(*presses)) == {Pressed.DONE: 1, Pressed.TOO_LATE: 7}
    assert (await claimed(replicas[1])).attempt == 2
