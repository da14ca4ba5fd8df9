"""Faults to order: which of the next requests fail, and how."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from typing import Literal, TypeAlias

ENDPOINTS = (
    "create", "list", "get", "patch", "delete", "add", "chat", "stream", "events", "agents", "agent", "tool_schemas",
    "workflows", "upload", "download", "me", "presets",
)  # fmt: skip

Drop: TypeAlias = Literal["before", "headers", "mid", "after"]


@dataclass(slots=True)
class Fault:
    """One ordered fault. ``skip`` requests pass first, then ``left`` requests are hit (None: all of them)."""

    path: str
    status: int | None
    body: object
    content_type: str
    retry_after: str | None
    drop: Drop | None
    frames: int
    delay: float
    pace: float
    done: bool
    skip: int
    left: int | None


class Faults:
    """The faults in force, oldest first; a request meets at most one."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []

    def add(  # noqa: PLR0913 - every argument is one property of the fault, by name
        self,
        *,
        path: str = "*",
        status: int | None = None,
        body: object = None,
        content_type: str = "application/json",
        retry_after: float | str | None = None,
        drop: Drop | None = None,
        frames: int = 3,
        delay: float = 0.0,
        pace: float = 0.0,
        done: bool = False,
        times: int | None = 1,
        after: int = 0,
    ) -> Fault:
        """Order a fault for the requests of ``path``, one of ``ENDPOINTS`` or ``*`` for all.

        ``status`` answers without processing, or with it (``done``), with ``body`` (text as it is, anything else as
        JSON) and ``retry_after`` as header. ``drop`` kills the connection: ``before`` anything was processed; after
        processing began, right after the response's ``headers`` or in its ``mid`` (of a stream: after ``frames``
        frames); ``after`` processing without a byte of a response. ``delay`` seconds pass first, ``pace`` seconds
        between the pieces of the answer. ``after`` requests are spared, then ``times`` are hit (None: all until
        ``clear``). Raises ``ValueError`` for an unknown path or an empty fault.
        """
        if path not in {*ENDPOINTS, "*"}:
            raise ValueError(f"unknown path {path!r}; one of *, {', '.join(ENDPOINTS)}")
        if drop not in {None, "before", "headers", "mid", "after"}:
            raise ValueError(f"unknown drop {drop!r}; one of before, headers, mid, after")
        if status is None and drop is None and not delay and not pace:
            raise ValueError("a fault needs a status, a drop, a delay or a pace")
        wait = None if retry_after is None else f"{retry_after}"
        fault = Fault(path, status, body, content_type, wait, drop, frames, delay, pace, done, after, times)
        self._faults.append(fault)
        return fault

    def clear(self) -> None:
        """Forget every fault."""
        self._faults.clear()

    def take(self, path: str) -> Fault | None:
        """The fault that hits this request of ``path``, counted off."""
        for fault in self._faults:
            if fault.path not in {path, "*"} or fault.left == 0:
                continue
            if fault.skip:
                fault.skip -= 1
                continue
            if fault.left is not None:
                fault.left -= 1
            return fault
        return None


HITS: ContextVar[Fault | None] = ContextVar("HITS", default=None)
"""The fault that hits the request being handled."""
