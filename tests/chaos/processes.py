"""Bots as processes of their own, seen from a test that runs beside them."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

from slackbot.store.migrate import upgrade
from tests.chaos.moments import Moment, Noted, noted
from tests.databases import Postgres

ROOT = Path(__file__).parent.parent.parent
PATIENCE = 30.0
_OURS = ("SLACK", "NOXUS_", "DATABASE_URL", "LOG_")

Found = TypeVar("Found")


class Broken(AssertionError):
    """Something that must hold does not. The text says what, in words."""


async def until(look: Callable[[], Found], what: str, patience: float = PATIENCE) -> Found:
    """What ``look`` finds, as soon as it finds something. Raises ``Broken``."""
    deadline = time.monotonic() + patience
    while not (found := look()):
        if time.monotonic() > deadline:
            raise Broken(f"waited {patience:g} s in vain: {what}")
        await asyncio.sleep(0.02)
    return found


class Launcher:
    """The process that bots are copies of. One for a whole run: it takes a second to start."""

    def __init__(self) -> None:
        environ = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
        environ |= {"PYTHONPATH": str(ROOT), **dict.fromkeys(("NO_PROXY", "no_proxy"), "127.0.0.1,localhost")}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.chaos.launcher"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environ
        )
        self.ended: dict[int, int] = {}
        self._told = b""
        self._pids: list[int] = []
        assert self._process.stdout is not None
        self._output = self._process.stdout.fileno()
        os.set_blocking(self._output, False)

    def start(self, order: dict[str, Any]) -> int:
        """Start a bot; returns its process id."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{json.dumps(order)}\n".encode())
        self._process.stdin.flush()
        while not self._pids:
            self.listen()
            time.sleep(0.001)
        return self._pids.pop()

    def listen(self) -> None:
        """Take in what the launcher has to tell."""
        with suppress(BlockingIOError):
            while told := os.read(self._output, 65_536):
                self._told += told
            if self._process.poll() is not None:
                raise Broken("the launcher has ended")
        *lines, self._told = self._told.split(b"\n")
        for line in lines:
            match json.loads(line):
                case {"pid": int(pid)}:
                    self.ended.pop(pid, None)
                    self._pids.append(pid)
                case {"ended": int(pid), "status": int(status)}:
                    self.ended[pid] = status

    def close(self) -> None:
        """End it, and every bot that still runs."""
        if self._process.stdin is not None:
            with suppress(BrokenPipeError):
                self._process.stdin.close()
        self._process.wait(PATIENCE)
        if self._process.stdout is not None:
            self._process.stdout.close()


@dataclass
class Bot:
    """One bot, which may die and be started again. ``name`` tells it from its siblings in one folder."""

    launcher: Launcher
    folder: Path
    environ: dict[str, str]
    name: str = "bot"
    ahead: float = 0.0
    """So many seconds later than it is does the clock of its machine say that it is."""
    pid: int = 0
    starts: int = 0
    deaths: int = 0
    """Its earlier lives that ended so."""

    def start(self, *, die: Moment | None = None, once: str | None = None, armed: bool = False) -> None:
        """Start it; it dies at that moment, if no other one with the same ``once`` did before. ``armed``: moments
        count from its start on."""
        self.deaths += self.was_killed
        self.starts += 1
        self.pid = self.launcher.start(
            {
                "environ": self.environ,
                "folder": str(self.folder),
                "name": self._named,
                "notes": str(self.folder / f"{self._named}.notes"),
                "die": str(die) if die else None,
                "once": once,
                "armed": armed,
                "ahead": self.ahead,
            }
        )

    @property
    def _named(self) -> str:
        return f"{self.name}-{self.starts}"

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        self.launcher.listen()
        return bool(self.pid) and self.pid not in self.launcher.ended

    @property
    def was_killed(self) -> bool:
        """Whether it is dead, and not by its own will."""
        return self.launcher.ended.get(self.pid) == -signal.SIGKILL

    def arm(self) -> None:
        """Let its moments count from now on."""
        self.send(signal.SIGUSR1)

    async def ready(self) -> None:
        """Wait until it says that Slack's events can arrive, or until it is dead."""
        said = self.folder / f"{self._named}.out"
        await until(lambda: not self.alive or (said.exists() and b"\nTeam " in said.read_bytes()), f"{self.name} is up")

    async def up(self) -> None:
        """Wait until it is ready. Raises ``Broken`` when it cannot start."""
        await self.ready()
        if not self.alive:
            raise Broken(f"{self.name} does not start: {str(self.log()[-1:])[:300]}")

    def send(self, number: signal.Signals) -> None:
        """Send it a signal, if it lives."""
        if self.alive:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    async def ended(self, patience: float = PATIENCE) -> int:
        """Its exit code, minus the signal's number where one ended it, once it has ended."""
        await until(lambda: not self.alive, f"{self.name} ends", patience)
        return self.launcher.ended[self.pid]

    async def kill(self) -> None:
        """End it without a word."""
        self.send(signal.SIGKILL)
        await self.ended()

    def notes(self) -> list[Noted]:
        """What it has noted since its latest start."""
        path = self.folder / f"{self._named}.notes"
        return noted(path.read_text(encoding="utf-8").splitlines()) if path.exists() else []

    def log(self) -> list[dict[str, Any]]:
        """The lines of its log, of all its lives; what is no JSON becomes an event ``not a log line``."""
        lines = []
        for number in range(1, self.starts + 1):
            path = self.folder / f"{self.name}-{number}.log"
            for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
                try:
                    lines.append(json.loads(line))
                except ValueError:
                    lines.append({"event": "not a log line", "line": line})
        return lines


class Databases:
    """Fresh databases of one kind, ``sqlite`` or ``postgresql``."""

    def __init__(self, kind: str) -> None:
        self._folder = folder = Path(tempfile.mkdtemp(prefix="slackbot-chaos-"))
        self._numbers = count(1)
        self._one_at_a_time = threading.Lock()
        self._free: list[str] = []
        self.server: Postgres | None = None
        if kind == "postgresql":
            folder.chmod(0o755)
            self.server = Postgres(folder)
        else:
            upgrade(f"sqlite:///{folder / 'template.db'}")

    @asynccontextmanager
    async def fresh(self, folder: Path) -> AsyncIterator[str]:
        """The address of a migrated database without rows, while the block runs."""
        server = self.server
        if server is None:
            shutil.copy(self._folder / "template.db", folder / "bot.db")
            yield f"sqlite:///{folder / 'bot.db'}"
            return
        # To empty one is much quicker than to make one.
        name = self._free.pop() if self._free else await asyncio.to_thread(self._make, server)
        try:
            yield server.url(name)
        finally:
            await asyncio.to_thread(server.empty, name)
            self._free.append(name)

    def _make(self, server: Postgres) -> str:
        name = f"chaos_{next(self._numbers)}"
        with self._one_at_a_time:
            server.create(name, "template")
        return name

    def close(self) -> None:
        """Take the server down and remove what is left."""
        if self.server is not None:
            self.server.remove()
        shutil.rmtree(self._folder, ignore_errors=True)
