"""``kill -9`` at moments of a turn, on both databases: a part of what ``make chaos`` tries."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import get_args

import pytest

from slackbot.noxus.client import NoxusClient
from slackbot.ports import Agent, Chat
from slackbot.simulator.noxus.prose import words
from slackbot.simulator.noxus.switches import Switches
from slackbot.slack.client import SlackChat
from tests.chaos.moments import Moment, Noted, Watch, distinct, noted, wrap_class
from tests.chaos.plays import PLAYS
from tests.chaos.processes import until
from tests.chaos.report import Report
from tests.chaos.shown import Question
from tests.chaos.stage import Stage, stage
from tests.chaos.storm import storm
from tests.chaos.trials import Lab, Result, Trial, laboratory, run_all
from tests.chaos.worlds import NO_MATTER, REPRESENTATIVE, parsed, values, worlds_of

AFTER_SENDING = Moment("http POST v1/conversations/…/stream", 1, "after")
IN_THE_ANSWER = Moment("NoxusClient.ask record", 4, "after")
MOMENTS = (
    "Store.accept#1 after",
    "socket send#1 after",
    "http POST assistant.threads.setStatus#1 amid",
    "http POST v1/conversations#1 after",
    "Store.mark_submitted#1 before",
    "Store.mark_submitted#1 after",
    "http POST v1/conversations/…/stream#1 amid",
    "http POST chat.postMessage#1 amid",
    "Store.record_part#1 after",
    "Store.finish#1 before",
)
LATE_CALLS = (
    ("late", Moment("http POST chat.postMessage", 1, "amid")),
    ("stale", Moment("http POST chat.update", 1, "amid")),
    ("signs", Moment("http POST agents.sessions.setStatus", 1, "amid")),
)
SHOWN = Moment("http POST chat.postMessage", 1, "after")
MINUTES = 300.0
ONCE_SHOWN = ("second", "parts", "files", "retry", "direct", "flat", "silent", "fails", "timeout")


class Sample:
    """Something with a method of every kind that is watched, and of those that are not."""

    async def awaited(self) -> int:
        return 1

    @asynccontextmanager
    async def entered(self) -> AsyncIterator[AsyncIterator[int]]:
        yield self.iterated()

    async def iterated(self) -> AsyncIterator[int]:
        yield 2
        yield 3

    def plain(self) -> int:
        return 4

    async def _private(self) -> int:
        return 5


async def test_what_is_watched_is_found_by_itself(tmp_path: Path) -> None:
    """Whatever is awaited, entered or iterated is noted before and after, each record of a stream too."""

    class Watched(Sample):
        pass

    watch = Watch(str(tmp_path / "notes"), None, None, armed=False)
    assert wrap_class(watch, Watched) == ["Watched.awaited", "Watched.entered", "Watched.iterated"]
    thing = Watched()
    await thing.awaited()
    watch.arm()
    assert await thing.awaited() == 1
    async with thing.entered() as records:
        assert [record async for record in records] == [2, 3]
    assert (thing.plain(), await thing._private()) == (4, 5)
    names = [str(each.moment) for each in noted((tmp_path / "notes").read_text().splitlines())]
    assert names[:4] == [
        "Watched.awaited#1 before",
        "Watched.awaited#1 after",
        "Watched.entered entrance#1 before",
        "Watched.entered entrance#1 after",
    ]
    assert names[-2:] == ["Watched.entered exit#1 before", "Watched.entered exit#1 after"]
    assert "Watched.entered record#3 after" in names
    assert [str(Moment.parse(name)) for name in names] == names


def test_the_ports_are_watched_whole(tmp_path: Path) -> None:
    """No method of the two ports escapes."""
    watch = Watch(str(tmp_path / "notes"), None, None, armed=False)
    for port, kind in ((Chat, SlackChat), (Agent, NoxusClient)):
        copy = type(kind.__name__, (kind,), {})
        found = {name.partition(".")[2] for name in wrap_class(watch, copy)}
        wanted = {name for name in vars(port) if not name.startswith("_")}
        assert wanted <= found


def test_moments_that_come_to_the_same_are_one() -> None:
    """Between two calls that change something every moment is like another; the most telling name stands for them."""
    record = [
        ("Store.bind", "before"),
        ("Database.write", "before"),
        ("Database.transact", "before"),
        ("Database.transact", "after"),
        ("Database.write", "after"),
        ("Store.bind", "after"),
        ("SlackChat.post", "before"),
        ("http POST chat.postMessage", "before"),
        ("http GET users.info", "before"),
        ("http POST chat.postMessage", "after"),
    ]
    moments = [Noted(Moment(name, 1, "before" if edge == "before" else "after"), 0.0) for name, edge in record]
    assert [str(moment) for moment in distinct(moments)] == [
        "Store.bind#1 before",
        "Store.bind#1 after",
        "http GET users.info#1 before",
        "http POST chat.postMessage#1 after",
    ]


@pytest.mark.parametrize("few", [False, True])
def test_every_switch_of_the_simulated_noxus_is_tried(*, few: bool) -> None:
    """Each value of each of them is met by some play, also where there is no time for all, or a reason says why not."""
    met: dict[str, set[object]] = defaultdict(set)
    for world in (world for play in PLAYS for world in worlds_of(play, few=few)):
        switches = Switches.model_validate(values(world))
        for name, _ in world:
            met[name].add(getattr(switches, name))
    assert [*met.keys() & NO_MATTER.keys()] == []
    assert met.keys() | NO_MATTER.keys() == Switches.model_fields.keys()
    for name, others in met.items():
        field = Switches.model_fields[name]
        offered = {True, False} if field.annotation is bool else set(get_args(field.annotation))
        assert others - {field.default}, name
        assert others | {field.default} >= offered, name


def test_a_run_in_which_too_many_moments_never_came_is_not_good() -> None:
    """A death that did not happen has shown nothing; a few are a matter of time."""

    def report(trials: int, missed: int) -> Report:
        made = Report()
        for number in range(trials):
            made.add(Result(Trial("mention", deaths=(SHOWN,)), deaths=int(number >= missed)), expected=trials)
        return made

    assert [report(100, missed).is_good for missed in (0, 2, 3)] == [True, True, False]
    assert [report(1, missed).is_good for missed in (0, 1)] == [True, False]
    assert Report().is_good


async def _all_hold(lab: Lab, trials: list[Trial]) -> None:
    results = [result async for result in run_all(lab, trials, at_once=4)]
    assert not [f"{result.trial}: {result.broken}" for result in results if result.broken]
    assert sum(result.deaths for result in results) > len(trials) * 3 // 4


async def _storm_passes(lab: Lab, kind: str) -> None:
    tally = await storm(lab, kind, 3, seed=3, pace=2.0)
    assert not tally.broken
    assert tally.counts["answer"] + tally.counts["sentence"] == tally.messages


@pytest.mark.timeout(300)
async def test_a_death_at_any_moment_leaves_a_whole_answer_or_a_sentence() -> None:
    """One process on SQLite, killed all over a turn, under several kinds of Noxus, twice in a row, and under load."""
    async with laboratory(["sqlite"]) as lab:
        trials = [Trial("mention", deaths=(moment,)) for moment in map(Moment.parse, MOMENTS)]
        trials += [Trial(play, deaths=(SHOWN,)) for play in ONCE_SHOWN]
        for number, text in enumerate(REPRESENTATIVE):
            play, death = ("mention", AFTER_SENDING) if number % 4 else ("slow", IN_THE_ANSWER)
            trials.append(Trial(play, deaths=(death,), switches=parsed(text)))
        trials.append(Trial("mention", deaths=(AFTER_SENDING, SHOWN)))
        trials += [Trial(play, deaths=(death,)) for play, death in LATE_CALLS]
        await asyncio.gather(_all_hold(lab, trials), _storm_passes(lab, "sqlite"))


@pytest.mark.timeout(300)
async def test_another_replica_goes_on() -> None:
    """Two processes on PostgreSQL: when one dies, the other ends its turns in the same way, under load too."""
    deaths = (Moment("Store.accept", 1, "after"), Moment("Store.mark_submitted", 1, "before"), AFTER_SENDING, SHOWN)
    async with laboratory(["postgresql"]) as lab:
        trials = [Trial("mention", "postgresql", (death,)) for death in deaths]
        trials += [Trial(play, "postgresql", (death,)) for play, death in LATE_CALLS]
        trials += [Trial(play, "postgresql", (SHOWN,)) for play in ("flat", "silent")]
        await asyncio.gather(_all_hold(lab, trials), _storm_passes(lab, "postgresql"))


@pytest.mark.timeout(180)
async def test_replicas_whose_clocks_are_minutes_apart_go_on_with_each_others_answers() -> None:
    """One is killed in the middle of an answer and the other one completes it, whichever of them is fast."""
    async with (
        laboratory(["postgresql"]) as lab,
        stage(lab.launcher, lab.databases["postgresql"], replicas=2) as scene,
    ):
        fast, behind = scene.bots
        fast.ahead, behind.ahead = MINUTES, -MINUTES
        fast.start()
        await fast.up()
        for dies, lives in ((fast, behind), (behind, fast)):
            question = await scene.ask("/words 150 rate=12", words(150))
            await until(partial(_begun, scene, question), "the answer grows")
            lives.start()
            await lives.up()
            await dies.kill()
            assert await scene.quiet() == ["answer"] * len(scene.questions)
        late, early = (datetime.fromisoformat(bot.log()[-1]["time"]) for bot in (fast, behind))
        assert late - early > timedelta(seconds=MINUTES)
        await scene.leave()


def _begun(scene: Stage, question: Question) -> bool:
    return bool(scene.shown(question).messages)
