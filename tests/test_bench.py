"""The benchmark: its figures, and a short run of the whole."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest

from tests.bench import events, overhead
from tests.bench.events import Accepted
from tests.bench.figures import Call, Cost, Delays, Reply, Seen, Version, figures, marginal, percentiles, slope
from tests.bench.files import MB, SIZE, Passage, Way, passage
from tests.bench.files import text_of as passages_of
from tests.bench.load import SDK_PYTHON
from tests.bench.report import Results, text_of
from tests.databases import Postgres
from tests.whole_bot import world

ROOT = Path(__file__).parent.parent


def reply(*versions: tuple[float, str, str], expected: str | None = "One two. Three.") -> Reply:
    """A reply asked for at 10, said by Noxus from 11 to 12, with these versions of its messages."""
    return Reply(1, "C1", "1.0", 10.0, expected, (11.0, 11.5, 12.0), tuple(Version(*version) for version in versions))


def test_a_reply_is_whole_from_its_last_complete_version_on() -> None:
    """A sentence of the bot's is not the first text, two messages may carry the text, and a late stale edit counts."""
    good = reply((10.5, "1", "_thinking_"), (11.1, "1", "One"), (12.2, "1", "One two."), (12.5, "2", "Three."))
    assert (good.first_text_at, good.whole_at) == (11.1, 12.5)
    assert good.stillest == pytest.approx(1.1)
    spoiled = reply((12.1, "1", "One two. Three."), (12.3, "1", "One"), (12.9, "1", "One two.\nThree."))
    assert spoiled.whole_at == 12.9
    for lacking in (
        reply(),
        reply((12.1, "1", "One two.")),
        reply((12.1, "1", "One two. Three. Three.")),
        reply((12.1, "1", "One two. Three."), (12.3, "1", "Sorry.")),
        reply((12.1, "1", "One"), expected=None),
    ):
        assert not lacking.whole
        assert lacking.stillest is None


def test_figures_of_a_run() -> None:
    """Delays, calls, refusals, cost and memory are counted as the table says."""
    calls = (
        Call(10.1, "assistant.threads.setStatus", "C1", "1.0", ""),
        Call(11.1, "chat.postMessage", "C1", "1.0", ""),
        Call(11.8, "chat.update", "C1", "", "ratelimited"),
        Call(11.9, "chat.update", "C1", "", "msg_too_long"),
        Call(12.2, "chat.update", "C1", "", ""),
    )
    shown = reply((11.25, "1", "One"), (12.75, "1", "One two. Three."))
    seen = Seen(100, (shown, reply((11.25, "2", "One two."))), calls, Cost(0.5, 80_000_000, 90_000_000), 3.0)
    found = figures(seen, Cost(0.25), at_once=2)
    assert found.first_sign.p50 == pytest.approx(0.1)
    assert (found.first_text.max, found.first_text_after_delta.p95) == (1.25, 0.25)
    assert found.settle == Delays(0.75, 0.75, 0.75)
    assert (found.replies, found.incomplete, found.chat_calls_per_reply) == (2, 1, 2.0)
    assert (found.rate_limited, found.refused) == (1, {"chat.update msg_too_long": 1})
    assert (found.cpu_us_per_token, found.drain_us_per_token) == (5000.0, 2500.0)
    assert (found.memory_ready_mb, found.memory_peak_mb, found.memory_kb_per_reply) == (80.0, 90.0, 5000.0)
    assert found.lacking[0]["shown_chars"] == len("One two.")


def test_cost_of_a_turn_and_of_a_token() -> None:
    """Two lengths tell the fixed cost from the marginal one."""
    assert marginal((10, 2.0), (110, 12.0), 10) == pytest.approx((0.1, 0.01))


def test_the_cost_is_in_the_text() -> None:
    """Below the table stand the cost of a turn and of a token beside the drain's."""
    cost = {"replies": 40, "tokens": [200, 2000], "ms_per_turn": 30.0}
    results = Results(
        costs=[
            {**cost, "bot": "slackbot", "us_per_token": 150.0, "memory_kb_per_reply": 99.6},
            {**cost, "bot": "drain", "us_per_token": 100.0, "memory_kb_per_reply": None},
        ]
    )
    lines = text_of(results, 400, 40.0).splitlines()
    assert "Answers of 400 tokens at 40 a second" in lines[0]
    assert any("40 replies at once, limits off, 200 and 2000 tokens each" in line for line in lines)
    assert ["slackbot", "30.0", "150", "1.50", "100"] in [line.split() for line in lines]
    assert ["drain", "30.0", "100", "1.00", "-"] in [line.split() for line in lines]


def test_what_files_cost_is_in_the_text() -> None:
    """Memory and time of files stand beside their goal."""
    passages = [Passage("in", 1, SIZE, 3 * MB, 1.25), Passage("out", 2, MB, 0, 2.0)]
    lines = [line.split() for line in passages_of(passages).splitlines()]
    assert lines[-2:] == [
        ["1", "25", "MB", "in", "3.0", "<", "16", "1.25"],
        ["2", "1", "MB", "out", "0.0", "-", "2.00"],
    ]
    assert lines[0][0] == "Files"


@pytest.mark.timeout(120)
@pytest.mark.parametrize("way", ["in", "out"])
async def test_a_file_through_a_fresh_bot(way: Way) -> None:
    """A file on its way through a bot of its own is weighed and timed."""
    found = await passage(way, 1, MB)
    assert (found.way, found.files, found.size, found.goal_mb) == (way, 1, MB, None)
    assert found.extra_bytes >= 0
    assert found.seconds > 0


def test_percentiles_of_nothing() -> None:
    """Where nothing arrived there is no delay to tell."""
    assert Delays.of([None]) == Delays(None, None, None)


def test_percentiles_and_slopes() -> None:
    """Of a hundred the 99th percentile is the last but none; one point alone has no slope."""
    assert percentiles(range(100, 0, -1), 0.5, 0.99, 1.0) == (51, 100, 100)
    assert slope([(1.0, 5.0), (1.0, 7.0)]) == 0.0
    assert slope([(0.0, 1.0), (1.0, 3.0), (2.0, 5.0)]) == pytest.approx(2.0)


@pytest.mark.timeout(120)
async def test_events_at_once_and_steadily(postgres: Postgres) -> None:
    """Every question is stored and answered once by two processes, though two events tell of it, and all figures are
    there."""
    url = postgres.create("bench", template="template")
    found = await events.measure(url, 2, twins=True, burst=12, rate=20.0, seconds=0.3)
    postgres.drop("bench")
    assert [(each.way, each.questions, each.events, each.stored, each.answered, each.twice) for each in found] == [
        ("burst", 6, 12, 6, 6, 0),
        ("stream", 6, 12, 6, 6, 0),
    ]
    for each in found:
        assert 0 < each.acks[0] <= each.acks[1] <= each.acks[2]
        assert each.accepted_per_second > each.answers_per_second > 0
        assert len(events.row("postgresql", 2, each)) == len(events.HEADINGS)


def test_what_was_lost_or_late_is_marked() -> None:
    """A row says so when an event was late, lost, or answered twice."""
    good = Accepted("burst", 10, 10, (0.1, 1.0, 1.0), 99.0, 0, 10, 10, 0, 9.0)
    assert events.row("sqlite", 1, good)[-1] == "9.0"
    for bad in ({"acks": (0.1, 1.6, 1.6)}, {"stored": 9}, {"answered": 9}, {"twice": 1}):
        assert "MISSED" in events.row("sqlite", 1, replace(good, **bad))[-1]


async def test_the_delay_before_the_question(tmp_path: Path) -> None:
    """One question and a follow-up are timed from the event to the request."""
    found = await overhead.measure(f"sqlite:///{tmp_path / 'bench.db'}", 1)
    assert [delays.p50 is not None and delays.p50 > 0 for delays in found.values()] == [True, True]


def test_a_part_that_is_none(capfd: pytest.CaptureFixture[str]) -> None:
    """Who names no part of the benchmark is told the parts."""
    done = subprocess.run([sys.executable, "-m", "tests.bench", "speed"], cwd=ROOT, check=False)
    assert done.returncode == 1
    assert "BENCH= begins with one of replies, files, overhead, events" in capfd.readouterr().err


async def test_the_simulators_tell_what_is_measured() -> None:
    """Who is there and connected, and when each piece of an answer left Noxus, can be asked from another process."""
    async with world() as acme, aiohttp.ClientSession() as session:
        async with session.post(f"{acme.slack.page_url}sim/user", json={"name": "asker"}) as response:
            asker = (await response.json())["user"]
        async with session.get(f"{acme.slack.page_url}sim/world") as response:
            told = await response.json()
        assert (told["users"]["asker"], told["connections"]) == (asker, 0)
        headers = {"X-API-Key": acme.noxus.api_key}
        async with session.post(
            f"{acme.noxus.url}/v1/conversations",
            params={"assistant_id": acme.noxus.agent_id},
            json={"name": "x"},
            headers=headers,
        ) as response:
            conversation = (await response.json())["id"]
        began = time.monotonic()
        stream = f"{acme.noxus.url}/v1/conversations/{conversation}/stream"
        async with session.post(stream, json={"content": "/say One two. #7"}, headers=headers) as response:
            await response.read()
        async with session.get(f"{acme.noxus.url}/sim/runs") as response:
            (run,) = await response.json()
        assert (run["asked"], run["answered"], run["over"]) == ("/say One two. #7", "One two. #7", True)
        assert run["sent_at"] == sorted(run["sent_at"])
        assert (len(run["sent_at"]), began < run["sent_at"][0]) == (3, True)


async def started(*arguments: str, **environ: str) -> asyncio.subprocess.Process:
    """The benchmark, with all its processes in a group of their own."""
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.bench", *arguments,
        cwd=ROOT, env={**os.environ, **environ}, start_new_session=True,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip


def nobody_is_left(process: asyncio.subprocess.Process) -> bool:
    """Whether the whole group has ended."""
    try:
        os.killpg(process.pid, 0)
    except ProcessLookupError:
        return True
    return False


SHORT = (
    "replies",
    "--threads",
    "2",
    "--tokens",
    "24",
    "--rate",
    "80",
    "--limits",
    "on",
    "--patience",
    "20",
    "--no-cost",
)


@pytest.mark.timeout(120)
async def test_a_short_run_has_every_figure(tmp_path: Path) -> None:
    """Both bots answer two people at once; the table and the file tell all, and every process has ended."""
    if not SDK_PYTHON.is_file():
        pytest.fail(f"There is no noxus-sdk at {SDK_PYTHON}: `make test` sets it up.", pytrace=False)
    process = await started(*SHORT, "--json", str(tmp_path / "out" / "bench.json"))
    output, progress = await process.communicate()
    assert process.returncode == 0, progress.decode()
    assert nobody_is_left(process)
    table = output.decode()
    rows = [line.split() for line in table.splitlines() if line.startswith("2/1 ")]
    assert [row[:3] for row in rows] == [["2/1", "on", "slackbot"], ["2/1", "on", "straightforward"]]
    for row in rows:
        assert len(row) == 21, row
        assert "-" not in row
        assert (row[14], row[15]) == ("0", "0/2")
    steps = [line.split("  ")[-1] for line in progress.decode().splitlines()]
    assert steps[0] == "2 threads, bare drain"
    found = json.loads((tmp_path / "out" / "bench.json").read_text(encoding="utf-8"))
    assert [(run["bot"], run["load"]["threads"]) for run in found["runs"]] == [("slackbot", 2), ("straightforward", 2)]
    for run in found["runs"]:
        for name in ("first_sign", "first_text", "first_text_after_delta", "settle", "still"):
            assert all(value > 0 for value in run[name].values()), name
        assert run["calls"]["chat.postMessage"] == 2
        assert run["refused"] == {}
        assert run["lacking"] == []
        for name in ("chat_calls_per_reply", "cpu_us_per_token", "drain_us_per_token", "memory_kb_per_reply"):
            assert run[name] > 0, name
        assert run["memory_peak_mb"] > run["memory_ready_mb"] > 10


async def test_interrupted_it_leaves_nothing_behind(tmp_path: Path) -> None:
    """Ctrl-C ends the simulators and the bot too, without a traceback."""
    process = await started(*SHORT, "--only", "ours", "--json", str(tmp_path / "bench.json"))
    assert process.stderr is not None
    async with asyncio.timeout(40):
        while b"slackbot" not in await process.stderr.readline():
            pass
        await asyncio.sleep(1.5)
    process.send_signal(signal.SIGINT)
    output, complaints = await process.communicate()
    assert (process.returncode, output, complaints) == (130, b"", b"")
    assert nobody_is_left(process)


async def test_a_bot_that_does_not_start_is_named(tmp_path: Path) -> None:
    """Its last words are shown, and nothing stays behind."""
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\necho no such luck >&2\nexit 3\n", encoding="utf-8")
    broken.chmod(0o755)
    process = await started(*SHORT, "--only", "straightforward", SLACKBOT_SDK_PYTHON=str(broken))
    _, complaints = await process.communicate()
    assert process.returncode == 1
    assert complaints.decode().endswith("the straightforward bot ended with 3:\nno such luck\n\n")
    assert nobody_is_left(process)


async def test_without_the_sdk_it_says_what_to_do(tmp_path: Path) -> None:
    """The straightforward bot needs an environment of its own."""
    process = await started(*SHORT, SLACKBOT_SDK_PYTHON=str(tmp_path / "nothing"))
    _, complaints = await process.communicate()
    assert process.returncode == 1
    assert b"`make bench` sets it up, or use --only ours" in complaints
