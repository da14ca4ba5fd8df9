"""``python -m tests.chaos.faults``: everything around the bot fails in every way, once, for a while, or for minutes.

For each trouble: what people see, what the log says, how often a call is tried, and whether anybody was let down: an
answer is whole, or what there was of it with one sentence and Retry; Noxus has a message once; the next question is
answered; Retry works; nobody's words and no secret are in the log. Prints a table; the exit code says whether all held.
"""

from __future__ import annotations

from tests.chaos.machine import MACHINE, run  # first, as it puts the clocks in place

# isort: split

import argparse
import asyncio
import atexit
import json
import os
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import certifi

from slackbot.app import CannotStart
from slackbot.noxus.breaker import TRIAL_SECONDS
from tests.chaos import acts, scenes
from tests.chaos.matrix import SAMPLE, SECONDS, Cell, cells
from tests.chaos.scenes import ALLOWED, RETRY, Question, Scene
from tests.chaos.troubles import Arms


@dataclass
class Row:
    """How a cell went."""

    where: str
    trouble: str
    lasts: str
    tries: str = ""
    sight: str = ""
    log: str = ""
    seconds: float = 0.0
    wrong: list[str] = field(default_factory=list)


# --- one trouble -----------------------------------------------------------------------------------------------------


async def trial(cell: Cell) -> Row:
    """Let it happen, and look."""
    row = Row(cell.where, cell.trouble, cell.lasts)
    began = MACHINE.now
    async with AsyncExitStack() as stack:
        scene, start = await stack.enter_async_context(scenes.scene(postgresql=cell.postgresql, **cell.settings))
        try:
            arms = await _started(cell, scene, start, row) if cell.before else None
            async with AsyncExitStack() as bots:
                for _ in range(cell.bots):
                    await bots.enter_async_context(start())
                await _live(cell, scene, row, arms)
        except* Exception as died:  # noqa: BLE001 - whatever ends the bot is what a trial is to find
            row.wrong += [f"the bot died: {_place(error)}" for error in died.exceptions]
        row.log = ", ".join(f"{count} {name}" if count > 1 else name for name, count in scene.events().items())
        row.wrong += [f"{leak} in the log" for leak in scene.leaks()]
    row.seconds = round(MACHINE.now - began)
    return row


def _place(error: BaseException) -> str:
    """An error, and the way through the bot on which it came."""
    calls = [frame for frame in traceback.extract_tb(error.__traceback__) if "slackbot" in Path(frame.filename).parts]
    way = " > ".join(f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in calls)
    return f"{type(error).__name__}: {error} ({way})"


async def _started(cell: Cell, scene: Scene, start: Callable[[], Any], row: Row) -> Arms:
    """Whether the bot starts with the trouble there; where it says that it cannot, whoever runs it starts it later."""
    arms = await cell.arm(scene, None)
    try:
        async with start():
            row.sight = "it starts; "
    except* CannotStart as refusals:
        row.sight = f"it ends: “{refusals.exceptions[0]}” "
        arms.lift()
    return arms


async def _live(cell: Cell, scene: Scene, row: Row, arms: Arms | None) -> None:
    lasting = SECONDS[cell.lasts]
    arms = arms or await cell.arm(scene, None if lasting else 1)
    began = MACHINE.now
    during: list[str] = []
    try:
        await cell.play(scene)
        if lasting:
            began = await arms.struck if arms.struck else began
            await asyncio.sleep(max(0.0, began + lasting - MACHINE.now))
            during = [_say(scene, question) for question in scene.questions]
        else:
            await scene.until(scene.settled)
    finally:
        arms.lift()
    hits = arms.hits()
    row.tries = f"{len(hits)}" if hits else "—"
    if len(hits) > 1:
        row.tries += f" in {hits[-1] - hits[0]:.0f} s"
    if not await scene.until(scene.settled):
        row.wrong.append("a turn never ended")
    await scene.until(lambda: not _untidy(cell, scene), 130)
    _judge(cell, scene, row)
    after = [_say(scene, question) for question in scene.questions]
    seen = [
        one if one == then or not one else f"{one}; then: {then}"
        for one, then in zip(during or after, after, strict=True)
    ]
    kinds = Counter(seen)
    row.sight += " / ".join(
        [*(one if len(seen) < 3 else f"{count} see: {one}" for one, count in kinds.items()), *scene.notes]
    )
    await _life_goes_on(cell, scene, row)


def _say(scene: Scene, question: Question) -> str:
    return scene.sight(question).gist


def _untidy(cell: Cell, scene: Scene) -> list[str]:
    """What is wrong with the threads of those who asked; a thread that a human has is not judged."""
    if cell.play is acts.human:
        return []
    sights = [scene.sight(question) for question in scene.questions]
    less = ["not the whole answer" for sight in sights if cell.whole and not sight.whole]
    return [*less, *(fault for sight in sights for fault in sight.faults(cell.bears))]


def _judge(cell: Cell, scene: Scene, row: Row) -> None:
    row.wrong += _untidy(cell, scene)
    for question in scene.questions:
        row.wrong += [f"raw words: {line!r}" for line in scene.sight(question).sentences if _is_raw(line)]
        if scene.submitted(question) > 1:
            row.wrong.append(f"Noxus was asked {scene.submitted(question)} times")


def _is_raw(line: str) -> bool:
    raw = ("Error", "Exception", "HTTP", "Traceback", '"ok":', "_", "slack.com", "127.0.0.1", "{")
    return line not in ALLOWED and any(word in line for word in raw)


async def _life_goes_on(cell: Cell, scene: Scene, row: Row) -> None:
    """The next question in another thread is answered; where Retry was offered, it helps."""
    tried = [question for question in scene.questions if scene.sight(question).buttons[RETRY]]
    await asyncio.sleep(TRIAL_SECONDS)
    other = await scene.ask(user="olga", channel="random")
    if not await scene.until(lambda: scene.sight(other).whole, scenes.SOON):
        row.wrong.append(f"the next question: {scene.sight(other).gist}")
    for question in tried:
        before = scene.submitted(question)
        try:
            await scene.press(question, RETRY)
        except (LookupError, ValueError) as gone:
            row.wrong.append(f"Retry: {gone}")
            continue

        def tried_again(question: Question = question) -> bool:
            return not scene.sight(question).buttons[RETRY] and scene.settled()

        if not await scene.until(tried_again, scenes.SOON) or scene.sight(question).faults(cell.bears):
            sight = scene.sight(question)
            row.wrong.append(f"after Retry: {', '.join([sight.gist, *sight.faults(cell.bears)])}")
        elif scene.submitted(question) > before + 1:
            row.wrong.append("Retry asked more than once")


# --- all of them -----------------------------------------------------------------------------------------------------


def chosen(options: argparse.Namespace) -> list[Cell]:
    """The cells to run."""
    found = list(cells())
    if options.sample:
        firsts = {(cell.where, cell.trouble, cell.lasts): cell for cell in reversed(found)}
        found = [firsts[key] for key in SAMPLE]
    if options.only:
        found = [cell for cell in found if options.only in str(cell)]
    return found


def main() -> int:
    """Run them, side by side, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.faults")
    parser.add_argument("--sample", action="store_true", help="a few of each kind")
    parser.add_argument("--only", default="", help="cells whose line holds these words")
    parser.add_argument("--list", action="store_true", help="name them and play none")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--share", default="", help=argparse.SUPPRESS)
    options = parser.parse_args()
    wanted = chosen(options)
    if options.list:
        print("\n".join(map(str, wanted)))
        return 0
    if options.share:
        number, jobs = map(int, options.share.split("/"))
        for at in range(number, len(wanted), jobs):
            row = run(trial(wanted[at]), real=wanted[at].postgresql)
            print(json.dumps({"at": at, **asdict(row)}), flush=True)
        return 0
    began = time.perf_counter()
    rows = _side_by_side(options, len(wanted))
    print("\n".join(table(rows)))
    broken = [row for row in rows if row.wrong]
    print(f"\n{len(rows)} troubles in {time.perf_counter() - began:.0f} s, {len(broken)} of them let somebody down")
    return bool(broken) or len(rows) < len(wanted)


def _side_by_side(options: argparse.Namespace, count: int) -> list[Row]:
    jobs = max(1, min(options.jobs, count))
    given = [*(["--sample"] if options.sample else []), "--only", options.only]
    command = [sys.executable, "-m", "tests.chaos.faults", *given]
    environ = {**os.environ, "SSL_CERT_FILE": _one_authority()}
    workers = [
        subprocess.Popen(
            [*command, "--share", f"{number}/{jobs}"],
            stdout=subprocess.PIPE,
            text=True,
            env=environ,
            start_new_session=True,
        )
        for number in range(jobs)
    ]
    found: dict[int, Row] = {}

    def read(worker: subprocess.Popen[str]) -> None:
        for line in worker.stdout or ():
            told = json.loads(line)
            at = told.pop("at")
            row = found[at] = Row(**told)
            what = f"{row.where} | {row.trouble} | {row.lasts}: {'; '.join(row.wrong) or 'ok'}"
            print(f"{len(found)}/{count} {what}", file=sys.stderr, flush=True)

    with ThreadPoolExecutor(jobs) as readers:
        try:
            list(readers.map(read, workers))
        except KeyboardInterrupt:
            print("stopped: this is what there is", file=sys.stderr)
        finally:
            for worker in workers:
                worker.kill()
                worker.wait()
    return [found[at] for at in sorted(found)]


def _one_authority() -> str:
    """A file with one certificate authority: nobody here has a certificate, and each bot would read them all."""
    ending = "-----END CERTIFICATE-----\n"
    with tempfile.NamedTemporaryFile("w", suffix=".pem", delete=False) as file:
        file.write(Path(certifi.where()).read_text(encoding="utf-8").partition(ending)[0] + ending)
    atexit.register(os.unlink, file.name)
    return file.name


def table(rows: list[Row]) -> Iterator[str]:
    """The rows, by place."""
    where = ""
    for row in rows:
        if row.where != where:
            where = row.where
            yield f"\n### {where}\n"
            yield "| trouble | lasts | tried | people see | the log says | |"
            yield "|---|---|---|---|---|---|"
        verdict = "; ".join(row.wrong) or "ok"
        yield f"| {row.trouble} | {row.lasts} | {row.tries} | {row.sight} | {row.log or '—'} | {verdict} |"
    yield ""
    by_place = Counter(row.where for row in rows)
    wrong = Counter(row.where for row in rows if row.wrong)
    yield "| where | troubles | let somebody down |"
    yield "|---|---|---|"
    yield from (f"| {place} | {count} | {wrong[place]} |" for place, count in by_place.items())


if __name__ == "__main__":
    sys.exit(main())
