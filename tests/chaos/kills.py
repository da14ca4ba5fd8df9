"""``kill -9`` at every call of a turn, under everything that Noxus may be: the whole matrix, or a part of it."""

from __future__ import annotations

import argparse
import asyncio
import itertools
import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace

from tests.chaos.moments import Moment
from tests.chaos.plays import PLAYS
from tests.chaos.report import Report, say
from tests.chaos.trials import Lab, Trial, laboratory, run_all
from tests.chaos.worlds import SWITCHES, parsed, worlds_of

RECORDS_KEPT = 4
SECOND_DEATHS = (
    "Store.mark_submitted#1 after",
    "http POST v1/conversations/…/stream#1 after",
    "NoxusClient.ask record#4 after",
)
"""First deaths after which every moment of the next life is tried too."""


def thinned(moments: Sequence[Moment]) -> list[Moment]:
    """The moments without most of the records in the middle of a stream, as one is like another; and with those at
    which a request is on its way."""
    records = [moment for moment in moments if moment.name.endswith(" record")]
    kept = {*records[:RECORDS_KEPT], *records[len(records) // 2 :][:2], *records[-RECORDS_KEPT:]}
    thin = [moment for moment in moments if moment in kept or not moment.name.endswith(" record")]
    amid = [replace(moment, edge="amid") for moment in thin if moment.name.startswith("http POST ")]
    return [*thin, *dict.fromkeys(amid)]


def under_way(moments: Sequence[Moment]) -> list[Moment]:
    """The moments at which Noxus has the question, or may have it, and the answer is not yet recorded as whole."""
    names = [moment.name for moment in moments]
    first = next((at for at, name in enumerate(names) if name == "Store.mark_submitted"), 0)
    last = max((at for at, name in enumerate(names) if name.startswith("NoxusClient.ask ")), default=len(names))
    return list(moments[first : last + 1])


async def recorded(lab: Lab, trial: Trial, report: Report) -> list[Moment]:
    """The moments of a trial in which nobody dies any more, of whichever process has more of them first."""
    result = await lab.run(trial)
    report.add(result, expected=0)
    if result.broken:
        return []
    found = list(dict.fromkeys(itertools.chain(*sorted(result.moments, key=len, reverse=True))))
    say(f"{trial}: {result.calls} calls, {len(found)} moments that differ, {result.verdicts}")
    return thinned(found)


async def matrix(lab: Lab, report: Report, given: argparse.Namespace) -> None:
    """Every play with a death at every moment; some of them under every Noxus, and with a second death."""
    for database in given.databases:
        trials: list[Trial] = []
        first = database == given.databases[0]
        few = given.quick or not first
        worlds = {play: worlds_of(play, few=few) if first or not given.quick else [] for play in given.plays}
        for play in given.plays:
            moments = await recorded(lab, Trial(play, database), report)
            trials += [Trial(play, database, (moment,)) for moment in moments]
            for world in worlds[play]:
                own = dict(world).keys() - SWITCHES.keys()
                seen = await recorded(lab, Trial(play, database, switches=world), report) if own else moments
                trials += [Trial(play, database, (moment,), world) for moment in under_way(seen)]
        if "mention" in given.plays:
            trials += await twice(lab, report, database)
        if given.quick:
            trials = trials[given.seed % 4 :: 4]
        async for result in run_all(lab, trials, at_once=given.at_once):
            report.add(result, expected=len(trials))


async def twice(lab: Lab, report: Report, database: str) -> list[Trial]:
    """Trials with a second death: at each moment of the life after the first, or of the replica that goes on."""
    trials = []
    if database != "sqlite":
        moments = await recorded(lab, Trial("mention", database), report)
        return [Trial("mention", database, (moment,), everyone=True) for moment in moments]
    for text in SECOND_DEATHS:
        first = Moment.parse(text)
        later = await recorded(lab, Trial("mention", database, (first,)), report)
        trials += [Trial("mention", database, (first, moment)) for moment in later]
    return trials


def options(argv: Sequence[str]) -> argparse.Namespace:
    """What was asked for on the command line."""
    parser = argparse.ArgumentParser(prog="make chaos CHAOS=kills", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="every fourth trial, under a few kinds of Noxus")
    parser.add_argument("--seed", type=int, default=0, help="which fourth")
    parser.add_argument("--database", dest="databases", action="append", choices=("sqlite", "postgresql"))
    parser.add_argument("--play", dest="plays", action="append", choices=PLAYS)
    parser.add_argument(
        "--at", action="append", type=Moment.parse, help="one trial with a death there; the second: again"
    )
    parser.add_argument("--set", action="append", default=[], metavar="SWITCH=VALUE", help="how Noxus is in that trial")
    parser.add_argument("--everyone", action="store_true", help="each replica that comes to that moment dies")
    parser.add_argument("--at-once", type=int, default=6, help="trials side by side (%(default)s)")
    given = parser.parse_args(argv)
    given.databases = given.databases or ["sqlite", "postgresql"]
    given.plays = given.plays or list(PLAYS)
    return given


def chosen(given: argparse.Namespace) -> list[Trial]:
    """The trials named on the command line."""
    switches = parsed(" ".join(given.set))
    return [
        Trial(play, kind, tuple(given.at), switches, everyone=given.everyone)
        for play in given.plays
        for kind in given.databases
    ]


async def _run(given: argparse.Namespace) -> Report:
    report = Report()
    async with laboratory(given.databases) as lab:
        if given.at:
            trials: Iterable[Trial] = chosen(given)
            async for result in run_all(lab, trials, at_once=given.at_once):
                say(f"{result.trial}: {result.verdicts} {result.broken} in {result.seconds:.1f} s")
                report.add(result, expected=1)
        else:
            await matrix(lab, report, given)
    return report


def main(argv: Sequence[str]) -> int:
    """Run and print; returns 1 when something broke, or when too many moments never came."""
    report = asyncio.run(_run(options(argv)))
    report.show()
    return int(not report.is_good)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
