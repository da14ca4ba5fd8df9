"""Names the moments of a process's work from outside: each call of the ports, of the store and over the network.

What is watched is found by looking at the classes, so that a new method is watched as soon as it is there.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import itertools
import json
import os
import re
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

Edge = Literal["before", "amid", "after"]
AMID_SECONDS = 0.005
"""A request has left by then, and no answer has come."""

_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}|\b(?=\w*\d)[\w-]{20,}")
_POLLS = frozenset({"Store.stops", "Store.renew", "Store.counts"})
"""They come by the clock, so that which one is first says nothing."""
_POLLS_TOO = frozenset({"Store.claim", "Store.take_echo"})
"""And these do something when there is something to do."""


@dataclass(frozen=True, slots=True)
class Moment:
    """Right before, in the middle of or right after the ``number``-th call of that name since the process was armed."""

    name: str
    number: int
    edge: Edge

    def __str__(self) -> str:
        return f"{self.name}#{self.number} {self.edge}"

    @classmethod
    def parse(cls, text: str) -> Moment:
        """What ``str`` gave. Raises ``ValueError`` for anything else."""
        named, _, word = text.rpartition(" ")
        name, _, number = named.rpartition("#")
        edges: dict[str, Edge] = {"before": "before", "amid": "amid", "after": "after"}
        if not (name and number.isdecimal() and word in edges):
            raise ValueError(f"no moment: {text!r}; one is like 'Store.accept#1 after'")
        return cls(name, int(number), edges[word])


@dataclass(frozen=True, slots=True)
class Noted:
    """A moment that was, at ``at`` (monotonic seconds, which all processes of a machine share)."""

    moment: Moment
    at: float


def noted(lines: Iterable[str]) -> list[Noted]:
    """What a process has noted; a line that its death cut off is left out."""
    found = []
    for line in lines:
        with suppress(ValueError):
            name, number, edge, at = json.loads(line)
            found.append(Noted(Moment(name, number, edge), at))
    return found


def is_effect(name: str) -> bool:
    """Whether such a call changes something beyond the process, or brings a record of a stream: the world goes on
    between two of them."""
    if name.startswith("http "):
        return not name.startswith("http GET ")
    writes = name.startswith("Database.") and not name.startswith("Database.read")
    return writes or name.startswith("socket ") or name.endswith(" record")


def distinct(record: Sequence[Noted]) -> list[Moment]:
    """The moments at which a death leaves different things behind, each by the most telling name it has.

    Moments in a row are alike where no call that changes anything begins or ends between them.
    """
    moments = [each.moment for each in record if each.moment.name not in _POLLS]
    shells = _shells(moments)
    groups: list[list[Moment]] = [[]]
    for moment in moments:
        edge = is_effect(moment.name) and (moment.name, moment.number) not in shells
        if edge and moment.edge == "after":
            groups.append([])
        groups[-1].append(moment)
        if edge and moment.edge == "before":
            groups.append([])
    return [min(group, key=_vagueness) for group in groups if group]


def _shells(moments: Sequence[Moment]) -> set[tuple[str, int]]:
    """Calls of the database that do nothing but call another one of its methods."""
    begun: set[tuple[str, int, str, int]] = set()
    ended: set[tuple[str, int, str, int]] = set()
    for one, other in itertools.pairwise(moments):
        if one.name.startswith("Database.") and other.name.startswith("Database.") and one.edge == other.edge:
            outer, inner = (one, other) if one.edge == "before" else (other, one)
            (begun if one.edge == "before" else ended).add((outer.name, outer.number, inner.name, inner.number))
    return {(name, number) for name, number, *_ in begun & ended}


def _vagueness(moment: Moment) -> int:
    """How little a name tells: the lower a layer the less, and some come by the clock too."""
    return 2 if moment.name.startswith("Database.") else int(moment.name in _POLLS_TOO)


class Watch:
    """Counts and notes the moments of this process, and ends it at one of them, without a word."""

    def __init__(self, notes: str, die: str | None, once: str | None, *, armed: bool) -> None:
        self._notes = os.open(notes, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._die = Moment.parse(die) if die else None
        self._once = once
        self._armed = armed
        self._counts: Counter[str] = Counter()

    def arm(self) -> None:
        """Begin to count."""
        self._armed = True

    @contextmanager
    def call(self, name: str) -> Iterator[None]:
        """The block is a call of that name."""
        if not self._armed:
            yield
            return
        self._counts[name] += 1
        number = self._counts[name]
        self._pass(Moment(name, number, "before"))
        if self._die == Moment(name, number, "amid"):
            asyncio.get_running_loop().call_later(AMID_SECONDS, self._die_now)
        try:
            yield
        finally:
            self._pass(Moment(name, number, "after"))

    def _pass(self, moment: Moment) -> None:
        line = json.dumps([moment.name, moment.number, moment.edge, time.monotonic()])
        os.write(self._notes, f"{line}\n".encode())
        if moment == self._die:
            self._die_now()

    def _die_now(self) -> None:
        """Of several processes with the same order one dies."""
        with suppress(FileExistsError):
            if self._once:
                os.close(os.open(self._once, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
            os.kill(os.getpid(), signal.SIGKILL)


def watch_everything(watch: Watch) -> list[str]:
    """Wrap the methods of the ports' implementations, of the store, and the network; returns their names."""
    import aiohttp
    import httpx

    from slackbot.noxus.client import NoxusClient
    from slackbot.slack.client import SlackChat
    from slackbot.store import Store
    from slackbot.store.engine import Database

    names = [name for kind in (SlackChat, NoxusClient, Store, Database) for name in wrap_class(watch, kind)]
    _wrap(watch, httpx.AsyncClient, "send", lambda _, sent, *__: f"http {sent.method} {_place(str(sent.url))}")
    _wrap(watch, aiohttp.ClientSession, "_request", lambda _, method, url, *__: f"http {method} {_place(str(url))}")
    _wrap(watch, aiohttp.ClientWebSocketResponse, "send_str", lambda *_: "socket send")
    return names


def _wrap(watch: Watch, owner: Any, attribute: str, name_of: Callable[..., str]) -> None:
    method = getattr(owner, attribute)

    @functools.wraps(method)
    async def awaited(*given: Any, **more: Any) -> Any:
        with watch.call(name_of(*given)):
            return await method(*given, **more)

    setattr(owner, attribute, awaited)


def wrap_class(watch: Watch, kind: type) -> list[str]:
    """Wrap every public method of a class that is awaited, entered or iterated, inherited ones too."""
    names = []
    for attribute in dir(kind):
        plain = inspect.getattr_static(kind, attribute)
        if not attribute.startswith("_") and inspect.isfunction(plain):
            name = f"{kind.__name__}.{attribute}"
            if wrapped := _wrapped(watch, name, plain):
                setattr(kind, attribute, wrapped)
                names.append(name)
    return names


def _wrapped(watch: Watch, name: str, method: Callable[..., Any]) -> Callable[..., Any] | None:
    if inspect.iscoroutinefunction(method):

        @functools.wraps(method)
        async def awaited(*given: Any, **more: Any) -> Any:
            with watch.call(name):
                return await method(*given, **more)

        return awaited
    if inspect.isasyncgenfunction(method):

        @functools.wraps(method)
        def iterated(*given: Any, **more: Any) -> Any:
            return _records(watch, name, method(*given, **more))

        return iterated
    if inspect.isasyncgenfunction(inspect.unwrap(method)):

        @functools.wraps(method)
        def entered(*given: Any, **more: Any) -> Any:
            return _Entered(watch, name, method(*given, **more))

        return entered
    return None


class _Entered:
    """An asynchronous context manager whose entrance, records and exit are watched."""

    def __init__(self, watch: Watch, name: str, inner: Any) -> None:
        self._watch = watch
        self._name = name
        self._inner = inner

    async def __aenter__(self) -> Any:
        with self._watch.call(f"{self._name} entrance"):
            given = await self._inner.__aenter__()
        return _records(self._watch, self._name, given) if hasattr(given, "__anext__") else given

    async def __aexit__(self, *error: object) -> Any:
        with self._watch.call(f"{self._name} exit"):
            return await self._inner.__aexit__(*error)


async def _records(watch: Watch, name: str, records: AsyncIterator[Any]) -> AsyncIterator[Any]:
    while True:
        with watch.call(f"{name} record"):
            try:
                record = await anext(records)
            except StopAsyncIteration:
                return
        yield record


def _place(url: str) -> str:
    """An address without what differs from run to run."""
    return _ID.sub("…", urlsplit(url).path.removeprefix("/api").lstrip("/"))
