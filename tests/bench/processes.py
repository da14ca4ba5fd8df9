"""Processes under measurement: started, waited for, weighed, and always ended."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent.parent
STOP_SECONDS = 10.0
FIRST_LINE_SECONDS = 30.0
_OURS = ("SLACK_", "SLACKBOT_", "NOXUS_", "DATABASE_URL", "LOG_")
_PROC = Path("/proc")


class Broken(Exception):
    """A process of the benchmark ended or never answered; the text says which, and what it said last."""


@dataclass(frozen=True, slots=True)
class Process:
    """A started process; ``words`` is the file that holds what it writes to standard error."""

    name: str
    inner: asyncio.subprocess.Process
    words: Path

    @property
    def pid(self) -> int:
        return self.inner.pid

    def check(self) -> None:
        """Raise ``Broken`` when it has ended."""
        if self.inner.returncode is not None:
            raise self.broken(f"ended with {self.inner.returncode}")

    def broken(self, what: str) -> Broken:
        """What happened to it, with its last words."""
        return Broken(f"{self.name} {what}:\n{self.words.read_text(encoding='utf-8', errors='replace')[-2000:]}")

    async def first_line(self) -> dict[str, Any]:
        """The JSON that it writes first."""
        assert self.inner.stdout is not None
        try:
            async with asyncio.timeout(FIRST_LINE_SECONDS):
                line = await self.inner.stdout.readline()
        except TimeoutError:
            raise self.broken("did not start") from None
        if not line:
            await self.inner.wait()
            raise self.broken("did not start")
        told: dict[str, Any] = json.loads(line)
        return told


@asynccontextmanager
async def started(
    name: str, command: Sequence[str], folder: Path, environ: Mapping[str, str] | None = None
) -> AsyncIterator[Process]:
    """Run ``command`` in ``folder`` while the block runs; it sees no settings of ours but those in ``environ``."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith(_OURS)}
    no_proxy = dict.fromkeys(("NO_PROXY", "no_proxy"), "127.0.0.1,localhost")
    words = folder / f"{name.replace(' ', '-')}.log"
    with words.open("wb") as log:
        inner = await asyncio.create_subprocess_exec(
            *command,
            cwd=folder,
            env={**clean, "PYTHONPATH": str(ROOT), **no_proxy, **(environ or {})},
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
        )
    try:
        yield Process(name, inner, words)
    finally:
        await _end(inner)


async def _end(inner: asyncio.subprocess.Process) -> None:
    if inner.returncode is None:
        with suppress(ProcessLookupError):
            inner.terminate()
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await inner.communicate()
        except TimeoutError:
            inner.kill()
    await inner.communicate()


def python(*arguments: str) -> list[str]:
    """A command for this interpreter."""
    return [sys.executable, *arguments]


def cpu_seconds(pid: int) -> float:
    """What a process has used of the processors so far, in all its threads."""
    if _PROC.is_dir():
        fields = (_PROC / str(pid) / "stat").read_text(encoding="ascii").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    minutes, _, seconds = _ps(pid, "time").rpartition(":")
    hours, _, minutes = minutes.rpartition(":")
    return 3600.0 * int(hours or 0) + 60.0 * int(minutes) + float(seconds)


def memory_bytes(pid: int) -> int:
    """What a process holds of the machine's memory now."""
    if _PROC.is_dir():
        return int((_PROC / str(pid) / "statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return 1024 * int(_ps(pid, "rss"))


def descriptors(pid: int) -> list[str]:
    """What a process has open; empty on a system that does not tell."""
    found = []
    for each in (_PROC / str(pid) / "fd").glob("*"):
        with suppress(FileNotFoundError):  # closed meanwhile
            found.append(str(each.readlink()))
    return found


def connected_to(pid: int, opened: Sequence[str]) -> list[int]:
    """The remote ports of those of a process's descriptors that are TCP connections."""
    if not opened:
        return []
    inodes = {each.removeprefix("socket:[").removesuffix("]") for each in opened if each.startswith("socket:[")}
    rows = [line.split() for line in (_PROC / str(pid) / "net" / "tcp").read_text(encoding="ascii").splitlines()[1:]]
    return [int(row[2].rpartition(":")[2], 16) for row in rows if row[9] in inodes]


def _ps(pid: int, column: str) -> str:
    done = subprocess.run(["ps", "-o", f"{column}=", "-p", str(pid)], capture_output=True, text=True, check=True)
    return done.stdout.strip()
