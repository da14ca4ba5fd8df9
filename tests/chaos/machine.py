"""A machine on which time passes only while everybody waits, with a name service, a network and a disk that can fail.

Import it before the bot: from then on ``time.time`` and ``time.monotonic`` are this machine's clocks. A minute of
waiting costs milliseconds, and a busy computer cannot make anything late. What threads do takes real time.
"""

from __future__ import annotations

import asyncio
import errno
import queue
import resource
import selectors
import socket
import sqlite3
import time
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

import aiosqlite
from sqlalchemy import Engine, event
from sqlalchemy.util.concurrency import await_only, in_greenlet

T = TypeVar("T")

_real_monotonic, _real_time = time.monotonic, time.time
_LOOPBACK_SECONDS = 0.0004
"""What was sent to a local socket is there by then."""
_LONGEST_REAL_WAIT = 0.02
_CORES_THREADS = 6
"""That a loop on two cores has of its own, when nobody gives it more."""


@dataclass
class Machine:
    """The state of the machine, set by whoever makes it fail."""

    now: float = 1_000.0
    """Seconds since it started."""
    wall: float = field(default_factory=_real_time)
    """What its clock on the wall says minus ``now``; a jump is a new value."""
    unreachable: set[int] = field(default_factory=set)
    """Local ports that refuse connections."""
    silent: set[int] = field(default_factory=set)
    """Local ports that answer no attempt to connect."""
    unknown: set[str] = field(default_factory=set)
    """Host names that the name service does not know."""
    unanswered: set[str] = field(default_factory=set)
    """Host names about which it says nothing."""
    asking: list[str] = field(default_factory=list)
    """For which of them a thread of the loop's waits, whoever has given up."""
    slow_statement: float = 0.0
    """Seconds that each statement of the database takes; nobody else waits for it."""

    def monotonic(self) -> float:
        """Seconds that never jump."""
        return self.now

    def time(self) -> float:
        """Seconds since 1970."""
        return self.now + self.wall

    def julianday(self, _when: str) -> float:
        """The same for SQLite."""
        return self.time() / 86_400.0 + 2_440_587.5


MACHINE = Machine()


class _Jump(selectors.DefaultSelector):
    """A wait for the next timer becomes a jump of the clock, unless a thread is at work."""

    threads = 0
    """Pieces of work that threads have begun and not ended."""
    pooled = 0
    """Those among them that are for the loop's own threads."""
    pool = 0
    """So many threads are its own."""

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        if self.threads - (self.pooled if len(MACHINE.asking) >= self.pool else 0):
            began = _real_monotonic()
            ready = super().select(min(_LONGEST_REAL_WAIT, timeout or _LONGEST_REAL_WAIT))
            # A computer too busy to come back in time has not made anything late.
            MACHINE.now += min(_real_monotonic() - began, _LONGEST_REAL_WAIT)
        elif not (ready := super().select(_LOOPBACK_SECONDS)) and timeout:
            MACHINE.now += timeout
        return ready


def _unanswered(host: str) -> None:
    MACHINE.asking.append(host)
    while host in MACHINE.unanswered:
        time.sleep(_LONGEST_REAL_WAIT)
    MACHINE.asking.remove(host)


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self, *, real: bool = False) -> None:
        self.jump = _Jump()
        # As if a thread worked all the time.
        self.jump.threads = int(real)
        super().__init__(self.jump)
        self.set_default_executor(ThreadPoolExecutor(_CORES_THREADS))

    def set_default_executor(self, executor: ThreadPoolExecutor) -> None:  # type: ignore[override] # asyncio takes no other
        self.jump.pool = executor._max_workers
        super().set_default_executor(executor)

    def time(self) -> float:
        return MACHINE.now

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> Any:  # type: ignore[override]
        self.jump.threads += 1
        self.jump.pooled += executor is None
        future = super().run_in_executor(executor, func, *args)
        future.add_done_callback(self.ended if executor else self._pooled_ended)
        return future

    def _pooled_ended(self, future: object) -> None:
        self.jump.pooled -= 1
        self.ended(future)

    def ended(self, _: object) -> None:
        """A thread has done its piece of work."""
        self.jump.threads -= 1

    async def getaddrinfo(self, host: Any, port: Any, **more: Any) -> Any:
        """Every name is this machine's, but those that are unknown today. Time does not wait for those that it says
        nothing about."""
        host = host.decode() if isinstance(host, bytes) else host
        if host in MACHINE.unanswered:
            await super().run_in_executor(None, _unanswered, host)
        if host in MACHINE.unknown:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", int(port or 0)))]

    async def sock_connect(self, sock: socket.socket, address: Any) -> None:
        if address[1] in MACHINE.silent:
            await asyncio.sleep(3_600)
        if address[1] in MACHINE.unreachable:
            raise ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")
        await super().sock_connect(sock, address)


class _Counted(queue.SimpleQueue[Any]):
    """What the thread of an SQLite connection has to do: SQLAlchemy puts some of it there by itself."""

    def put_nowait(self, work: Any) -> None:
        future = work[0]
        loop = future.get_loop() if future else None
        if future and isinstance(loop, _Loop):
            loop.jump.threads += 1
            future.add_done_callback(loop.ended)
        super().put_nowait(work)


aiosqlite.core.SimpleQueue = _Counted  # type: ignore[attr-defined] # the thread takes from whatever it finds there
time.monotonic, time.time = MACHINE.monotonic, MACHINE.time


@event.listens_for(Engine, "connect")
def _same_clock(connection: Any, _: object) -> None:
    if hasattr(connection, "create_function"):
        connection.create_function("julianday", 1, MACHINE.julianday)


@event.listens_for(Engine, "before_cursor_execute")
def _slowly(*_: object) -> None:
    if MACHINE.slow_statement and in_greenlet():
        await_only(asyncio.sleep(MACHINE.slow_statement))
    elif MACHINE.slow_statement:
        time.sleep(MACHINE.slow_statement)


def run(main: Coroutine[Any, Any, T], *, real: bool = False) -> T:
    """Run ``main`` to its end on a healthy machine. ``real``: somebody outside of it has a part in the play, so that
    time must pass as it does there."""
    fresh = Machine()
    for name, value in vars(fresh).items():
        setattr(MACHINE, name, value)
    with asyncio.Runner(loop_factory=partial(_Loop, real=real)) as runner:
        return runner.run(main)


@contextmanager
def full_disk() -> Iterator[None]:
    """A block in which no file can grow."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextmanager
def locked(path: str) -> Iterator[None]:
    """A block in which somebody else holds the SQLite file."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("BEGIN EXCLUSIVE")
        yield
    finally:
        connection.close()
