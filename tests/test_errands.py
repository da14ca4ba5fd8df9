"""Small things done soon by nobody in particular."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from slackbot.errands import KEPT, Errands
from slackbot.errors import ChatUnavailable


@pytest.fixture
async def errands() -> AsyncIterator[Errands]:
    """Somebody who does one thing at a time."""
    errands = Errands(workers=1)
    async with asyncio.TaskGroup() as tasks:
        working = tasks.create_task(errands.run())
        yield errands
        working.cancel()


async def test_errands_are_done_in_order(errands: Errands) -> None:
    """Each once; whoever wants to know waits until there is nothing left."""
    done: list[int] = []

    def errand(number: int) -> None:
        async def job() -> None:
            await asyncio.sleep(0.001)
            done.append(number)

        assert errands.later("count", job)

    for number in range(5):
        errand(number)
    assert done == []
    await errands.done()
    assert done == [0, 1, 2, 3, 4]
    await errands.done()


@pytest.mark.parametrize("error", [ChatUnavailable("away"), KeyError("secret words")])
async def test_an_errand_that_fails_is_logged_and_stops_nobody(
    errands: Errands, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    """The next one is done all the same; what nobody foresaw is logged without its words."""
    caplog.set_level("INFO")
    done: list[str] = []

    async def fail() -> None:
        raise error

    async def succeed() -> None:
        done.append("next")

    errands.later("fail", fail)
    errands.later("succeed", succeed)
    await errands.done()
    assert done == ["next"]
    [record] = [record for record in caplog.records if record.name == "slackbot.errands"]
    assert vars(record)["what"] == "fail"
    assert "secret" not in str(vars(record))


async def test_errands_over_the_limit_are_dropped() -> None:
    """Whoever has one is told, and may do without."""
    errands = Errands()

    async def nothing() -> None:
        return

    assert all(errands.later("kept", nothing) for _ in range(KEPT))
    assert not errands.later("dropped", nothing)
