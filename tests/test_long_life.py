"""Long life, made short: after rounds of everything people do, the bot holds no more than after the first."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.bench.soak import Held, soaking, text_of
from tests.databases import Postgres


async def live(url: str, folder: Path) -> None:
    """Rounds until one after which no more is held than before: a pool fills once, and what leaks does so each time."""
    async with soaking(url, folder) as living:
        await living.round(1)
        held = [await living.calm()]
        assert held[0].tasks > 1
        assert held[0].database > 0
        for _ in range(3):
            await living.round(1)
            held.append(await living.calm(held[-1]))
            if held[-1].is_within(held[-2]):
                break
        assert held[-1].is_within(held[-2]), held
        assert held[-1].conversations == 9 * len(held)


@pytest.mark.timeout(120)
async def test_nothing_is_held_for_good(migrated_sqlite: Path, postgres: Postgres, tmp_path: Path) -> None:
    """Questions, files each way, stops, edits, deletions, broken answers, humans and lost connections leave no task,
    no descriptor and no database connection behind, on both databases: side by side, as most of it is waiting."""
    path = tmp_path / "bot.db"
    shutil.copy(migrated_sqlite, path)
    url = postgres.create("long_life", template="template")
    (tmp_path / "sqlite").mkdir()
    (tmp_path / "postgresql").mkdir()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(live(f"sqlite:///{path}", tmp_path / "sqlite"))
        tasks.create_task(live(url, tmp_path / "postgresql"))
    postgres.drop("long_life")


def test_what_a_thousand_more_cost_is_in_the_text() -> None:
    """Of many samples some are shown, and a line through the second half says what still grows."""
    samples = [Held(100 * n, 50_000 + 10 * max(n, 50), 7000, 9, 8, 30, 6) for n in range(1, 101)]
    lines = [line.split() for line in text_of("sqlite", 60.0, samples).splitlines()]
    assert lines[0] == ["sqlite,", "60", "s"]
    assert 12 < len(lines) < 25
    assert lines[-4][0] == "10000"
    assert lines[-3] == ["a", "thousand", "more", "+100.0", "+0.0", "+0.0", "+0.0", "+0.0", "+0.0"]
    assert lines[-1] == ["Nothing", "is", "held", "for", "good."]
    worse = replace(samples[-1], tasks=10)
    assert "MISSED" in text_of("sqlite", 60.0, [*samples, worse])


@pytest.mark.parametrize(("name", "at_first"), [("objects", 190_000), ("memory_kb", 144_000)])
def test_what_grows_ever_on_is_held_for_good(name: str, at_first: int) -> None:
    """A sixth more in a life is a leak when it comes bit by bit, and none when it comes in its beginning."""
    still = [Held(100 * n, 144_000, 190_000, 9, 8, 30, 6) for n in range(60)]

    def life(grown: Callable[[int], float]) -> str:
        return text_of(
            "sqlite", 60.0, [replace(each, **{name: round(at_first * grown(n))}) for n, each in enumerate(still)]
        )

    assert f"MISSED: more and more {name}." in life(lambda n: 1 + 0.18 * n / 59)
    assert "Nothing is held" in life(lambda n: 1 + 0.18 * min(n, 20) / 20)
