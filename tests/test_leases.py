"""The right to write for a turn: until when, for whom, and by which clock."""

from __future__ import annotations

import asyncio
import time

import pytest

from slackbot import leases
from slackbot.leases import CALL_SECONDS, Lease, Standing, TurnLost, may_write


async def test_who_works_for_no_turn_may_write() -> None:
    """Sentences of ours that belong to no turn need no lease."""
    await may_write()


async def test_a_confirmed_lease_lets_calls_leave_until_its_end() -> None:
    """Before it is confirmed, and from a call's time before its end, a call waits for the next confirmation."""
    lease = Lease(Standing("me"))
    early = asyncio.create_task(lease.confirmed())
    await asyncio.sleep(0)
    assert not early.done()
    lease.confirm(leases.now(), 60)
    await early
    await lease.confirmed()
    lease.confirm(leases.now(), CALL_SECONDS)
    waiting = [asyncio.create_task(lease.confirmed()) for _ in range(3)]
    await asyncio.sleep(0.01)
    assert not any(task.done() for task in waiting)
    lease.confirm(leases.now(), 60)
    await asyncio.gather(*waiting)


async def test_who_may_be_taken_for_dead_writes_nothing() -> None:
    """Whatever was confirmed before; afterwards each lease has to be confirmed anew, by what was asked since."""
    standing = Standing("me")
    lease = Lease(standing)
    asked = leases.now()
    lease.confirm(asked, 60)
    standing.lose()
    waiting = asyncio.create_task(lease.confirmed())
    await asyncio.sleep(0.01)
    lease.confirm(leases.now(), 60)
    await asyncio.sleep(0.01)
    standing.regain()
    lease.confirm(asked, 60)
    await asyncio.sleep(0.01)
    assert not standing.is_lost
    assert not waiting.done()
    lease.confirm(leases.now(), 60)
    await waiting


async def test_a_lost_lease_is_never_confirmed_again() -> None:
    """Whoever waits, and whoever comes later, hears that the turn is lost."""
    lease = Lease(Standing("me"))
    waiting = asyncio.create_task(lease.confirmed())
    await asyncio.sleep(0)
    lease.lose()
    lease.confirm(leases.now(), 60)
    with pytest.raises(TurnLost):
        await waiting
    with pytest.raises(TurnLost):
        await lease.confirmed()


async def test_tasks_that_a_turn_starts_inherit_its_lease() -> None:
    """A turn's own tasks are held back with it; those of another turn are not."""
    standing = Standing("me")
    lost, good = Lease(standing), Lease(standing)
    lost.lose()
    good.confirm(leases.now(), 60)

    async def turn(lease: Lease) -> None:
        leases.current.set(lease)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(may_write())

    await asyncio.create_task(turn(good))
    with pytest.raises(ExceptionGroup) as caught:
        await asyncio.create_task(turn(lost))
    assert caught.group_contains(TurnLost)
    await may_write()


async def test_no_wall_clock_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that jumps by an hour, either way, ends no lease and prolongs none."""
    lease = Lease(Standing("me"))
    for jump in (3600.0, -3600.0):
        lease.confirm(leases.now(), 60)
        monkeypatch.setattr(time, "time", lambda jump=jump: jump)
        await lease.confirmed()
        lease.confirm(leases.now(), CALL_SECONDS)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await lease.confirmed()


def test_where_there_is_no_clock_that_goes_on_asleep_another_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then it is the one that nobody sets, at least."""
    monkeypatch.delattr(time, "CLOCK_BOOTTIME", raising=False)
    assert abs(leases.now() - time.monotonic()) < 1
