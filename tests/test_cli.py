"""The ``slackbot`` command: what it prints, how fast it answers, and its exit codes."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import slackbot
from slackbot import cli
from slackbot.errors import ChatError
from slackbot.store import Timers
from slackbot.store.migrate import upgrade
from tests.stored import accept, claimed, message, stores, thread_of

ROOT = Path(__file__).parent.parent


def run(*arguments: str, cwd: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run the command as a process of its own, in a folder without a .env."""
    inherited = {name: os.environ[name] for name in ("PATH", "SYSTEMROOT") if name in os.environ}
    return subprocess.run(
        [sys.executable, "-m", "slackbot", *arguments],
        cwd=cwd,
        env=inherited | {"PYTHONPATH": str(ROOT)} | environ,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


@pytest.fixture
def here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """Runs a command within this process, on a database in a folder of its own: exit code and what it prints."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATABASE_URL", "sqlite:///bot.db")

    def run_here(*arguments: str) -> tuple[int, str, str]:
        code = cli.main(arguments)
        return code, *capsys.readouterr()

    return run_here


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    """--version prints the package's version."""
    with pytest.raises(SystemExit) as ended:
        cli.main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"slackbot {slackbot.__version__}\n"


def test_help_names_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    """--help lists the commands, each with a sentence."""
    with pytest.raises(SystemExit) as ended:
        cli.main(["--help"])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    for command in ("run", "demo", "migrate", "feedback", "handovers"):
        assert f"\n    {command}" in text


def test_version_and_help_import_nothing_heavy(tmp_path: Path) -> None:
    """--version and --help answer at once, because nothing they do not need is imported."""
    for flag in ("--version", "--help"):
        script = (
            "import sys\nfrom slackbot.cli import main\n"
            f"try: main(['{flag}'])\nexcept SystemExit: pass\n"
            "heavy = {'pydantic', 'sqlalchemy', 'slack_bolt', 'slack_sdk', 'aiohttp', 'httpx', 'alembic'}\n"
            "sys.exit(' '.join(heavy & set(sys.modules)))"
        )
        done = subprocess.run(
            [sys.executable, "-c", script],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.stderr.strip() == ""
    started = time.perf_counter()
    assert run("--version", cwd=tmp_path).stdout.startswith("slackbot ")
    # Many times what it takes, for machines that are busy with something else.
    assert time.perf_counter() - started < 2


def test_wrong_command_line(tmp_path: Path) -> None:
    """A missing command or a wrong port is told with the usage, exit code 2."""
    for arguments, words in (
        ((), "required: COMMAND"),
        (("demo", "--port", "99999"), "'99999' is not a port number"),
        (("demo", "--port", "-1"), "'-1' is not a port number"),
        (("demo", "--port", "x"), "'x' is not a port number"),
        (("feedback", "--since", "yesterday"), "'yesterday' is neither a day such as 2026-11-01 nor days such as 7d"),
        (("feedback", "--since", "2026-13-01"), "'2026-13-01' is neither"),
        (("feedback", "--since", "99999999d"), "'99999999d' is neither"),
        (("feedback", "--since", "d"), "'d' is neither"),
        (("feedback", "--limit", "0"), "'0' is not a number from 1 up"),
        (("feedback", "--limit", "ten"), "'ten' is not a number from 1 up"),
        (("feedback", "--json", "--csv"), "not allowed with argument"),
        (("handovers", "newest"), "'newest' is not a number from 1 up"),
        (("handovers", "--since", "soon"), "'soon' is neither"),
    ):
        done = run(*arguments, cwd=tmp_path)
        assert done.returncode == 2
        assert words in done.stderr


@pytest.mark.parametrize("command", ["run", "migrate", "feedback", "handovers"])
def test_wrong_settings(command: str, tmp_path: Path) -> None:
    """Wrong settings are listed on stderr without a traceback, exit code 2."""
    done = run(command, cwd=tmp_path, DATABASE_URL="mysql://me:secret@host/db")
    assert done.returncode == 2
    assert done.stdout == ""
    assert "DATABASE_URL must begin with sqlite:///" in done.stderr
    assert "Traceback" not in done.stderr
    assert "secret" not in done.stderr


def test_run_says_what_it_will_do_and_why_it_cannot(tmp_path: Path) -> None:
    """Starting prints transport, agent and database; where it cannot start, one sentence and exit code 1 follow."""
    done = run(
        "run",
        cwd=tmp_path,
        SLACK_BOT_TOKEN="xoxb-1",
        SLACK_APP_TOKEN="xapp-1",
        SLACK_API_URL="http://127.0.0.1:9/api/",
        SLACKBOT_OPS_PORT="0",
        NOXUS_API_KEY="key",
        NOXUS_AGENT_ID="agent-1",
        NOXUS_BACKEND_URL="http://127.0.0.1:9",
    )
    assert done.returncode == 1, done.stderr
    assert done.stdout.splitlines()[1:] == [
        "Slack     Socket Mode",
        "Noxus     agent agent-1 at http://127.0.0.1:9",
        "Database  sqlite:///slackbot.db",
    ]
    assert "slackbot: " in done.stderr
    assert "Traceback" not in done.stderr


def test_migrate(tmp_path: Path) -> None:
    """Migrate makes the database, needs no tokens, and may be run again."""
    for _ in range(2):
        done = run("migrate", cwd=tmp_path, DATABASE_URL="sqlite:///new.db")
        assert (done.returncode, done.stdout) == (0, "sqlite:///new.db is up to date.\n"), done.stderr
    assert (tmp_path / "new.db").stat().st_size > 0


def test_feedback(tmp_path: Path, here: Callable[..., tuple[int, str, str]]) -> None:
    """It needs no tokens, says how to make a database that is not there, and lists what one holds."""
    for revision in (None, "0001"):
        if revision:
            upgrade(f"sqlite:///{tmp_path / 'bot.db'}", revision)
        lacking = "slackbot: sqlite:///bot.db lacks the tables of this version: run slackbot migrate\n"
        assert here("feedback") == (1, "", lacking)
        assert (tmp_path / "bot.db").exists() is bool(revision)
    upgrade(f"sqlite:///{tmp_path / 'bot.db'}")
    assert here("feedback") == (0, "no feedback\n", "")
    asyncio.run(_rated(f"sqlite:///{tmp_path / 'bot.db'}", 3))
    for arguments, lines, words in (
        ((), 5, "3 listed: 2 good, 1 bad"),
        (("--since", "1d", "--limit", "2", "--csv"), 3, ",good,U2,T1,C1,"),
        (("--since", "2020-01-01", "--json"), 3, '"opinion": "bad"'),
        (("--since", "2999-01-01", "--json"), 0, ""),
    ):
        code, output, complaints = here("feedback", *arguments)
        assert (code, complaints) == (0, "")
        assert len(output.splitlines()) == lines
        assert words in output


def test_handovers(tmp_path: Path, here: Callable[..., tuple[int, str, str]]) -> None:
    """It needs no tokens, lists, shows one and says when there is none."""
    assert "run slackbot migrate" in here("handovers")[2]
    upgrade(f"sqlite:///{tmp_path / 'bot.db'}")
    assert here("handovers") == (0, "no handovers\n", "")
    asyncio.run(_taken(f"sqlite:///{tmp_path / 'bot.db'}", 3))
    for arguments, lines, words in (
        ((), 5, "3 listed: 3 open"),
        (("--since", "1d", "--limit", "2", "--json"), 2, '"operator": "U8"'),
        (("--since", "2999-01-01", "--json"), 0, ""),
        (("2",), 14, "take_over"),
    ):
        code, output, complaints = here("handovers", *arguments)
        assert (code, complaints) == (0, "")
        assert len(output.splitlines()) == lines
        assert words in output
    assert here("handovers", "9") == (1, "", "slackbot: there is no handover 9\n")


async def _taken(url: str, handovers: int) -> None:
    async with stores(url, 1) as [store]:
        for at in range(handovers):
            await accept(store, message(at))
            assert (await store.take_over(thread_of(message(at)), "U8", Timers())).done


async def _rated(url: str, opinions: int) -> None:
    async with stores(url, 1) as [store]:
        await accept(store, message(1))
        turn = await claimed(store)
        for n in range(opinions):
            await store.rate(turn.id, "T1", "C1", f"U{n}", good=n != 1)


def test_failures_are_sentences(tmp_path: Path) -> None:
    """What the machine refuses (a port in use, a folder without write permission) is one sentence, exit code 1."""
    blocked = tmp_path / "folder.db"
    blocked.mkdir()
    done = run("migrate", cwd=tmp_path, DATABASE_URL="sqlite:///folder.db")
    assert done.returncode == 1, done.stderr
    assert done.stderr.startswith("slackbot: ")
    assert "Traceback" not in done.stderr


def test_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C ends a command with the shell's own code for it, silently."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("slackbot.loading.load_common_settings", interrupt)
    assert cli.main(["migrate"]) == 130


@pytest.mark.parametrize("command", ["run", "migrate", "feedback", "handovers"])
def test_exit_code_of_wrong_settings(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Wrong settings in a .env end a command with 2 before anything is started."""
    (tmp_path / ".env").write_text("DATABASE_URL=oracle://host/db\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert cli.main([command]) == 2
    assert "DATABASE_URL must begin with" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("raised", "said"),
    [
        (OSError(98, "Address already in use"), "[Errno 98] Address already in use"),
        (ChatError("Slack refused the token"), "Slack refused the token"),
        (
            ExceptionGroup("tasks", [ChatError("no Slack"), ExceptionGroup("inner", [OSError("no port")])]),
            "no Slack; no port",
        ),
    ],
)
def test_expected_failures_are_one_sentence(
    raised: Exception, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What may well happen, also inside a task group, is told in one line, exit code 1."""

    def fail(*_: object) -> None:
        raise raised

    monkeypatch.setattr("slackbot.loading.load_common_settings", fail)
    assert cli.main(["migrate"]) == 1
    assert capsys.readouterr().err == f"slackbot: {said}\n"


def test_unexpected_failures_are_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    """A mistake of ours rises, so that it is logged with its traceback."""

    def fail(*_: object) -> None:
        raise ExceptionGroup("tasks", [OSError("no port"), ZeroDivisionError("ours")])

    monkeypatch.setattr("slackbot.loading.load_common_settings", fail)
    with pytest.raises(ExceptionGroup, match="tasks"):
        cli.main(["migrate"])
