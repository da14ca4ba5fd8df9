"""Troubles one can order: refusals, server errors, slow answers, lost connections."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable

    from slackbot.simulator.slack.model import Json

Drop: TypeAlias = Literal["before", "mid", "after"]


@dataclass(slots=True, kw_only=True)
class Fault:
    """One trouble, for the next `times` calls of `method` after the first `after` calls (None: for all of them).

    `error` alone is answered as Slack would: HTTP 200, or 429 for `ratelimited`, with `retry_after` seconds.
    `status` alone is an answer without JSON, as from a broken proxy; both together are a JSON error of that status.
    `body` is answered as it is, as `content_type` and without further headers. All these leave the call undone,
    unless it is `done` all the same. `drop` closes the connection before the call was processed, after it, or in the
    middle of the answer; `delay` holds the call back, or where it is `done` the answer, and `pace` each piece of it.
    `when` narrows the fault to calls with certain arguments. `method` may be `*`.
    """

    method: str
    error: str | None = None
    status: int | None = None
    retry_after: float | None = None
    times: int | None = 1
    after: int = 0
    body: str | bytes | None = None
    content_type: str = "application/json"
    done: bool = False
    drop: Drop | None = None
    delay: float = 0.0
    pace: float = 0.0
    when: Callable[[Json], bool] | None = None

    def takes(self, method: str, args: Json) -> bool:
        """Count a call and tell whether it is this fault's."""
        if self.method not in {method, "*"} or self.times == 0 or not (self.when is None or self.when(args)):
            return False
        if self.after > 0:
            self.after -= 1
            return False
        if self.times is not None:
            self.times -= 1
        return True


class Faults:
    """The troubles that are ordered, first come first served."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []

    def add(  # noqa: PLR0913  keyword only; each is one property of a fault
        self,
        *,
        method: str,
        error: str | None = None,
        status: int | None = None,
        retry_after: float | None = None,
        times: int | None = 1,
        after: int = 0,
        body: str | bytes | None = None,
        content_type: str = "application/json",
        done: bool = False,
        drop: Drop | None = None,
        delay: float = 0.0,
        pace: float = 0.0,
        when: Callable[[Json], bool] | None = None,
    ) -> Fault:
        """Order a trouble; the arguments are those of `Fault`."""
        fault = Fault(
            method=method,
            error=error,
            status=status,
            retry_after=retry_after,
            times=times,
            after=after,
            body=body,
            content_type=content_type,
            done=done,
            drop=drop,
            delay=delay,
            pace=pace,
            when=when,
        )
        self._faults.append(fault)
        return fault

    def clear(self) -> None:
        """Forget every trouble."""
        self._faults.clear()

    def take(self, method: str, args: Json) -> Fault | None:
        """Find the trouble this call gets into, if any."""
        fault = next((fault for fault in self._faults if fault.takes(method, args)), None)
        self._faults = [fault for fault in self._faults if fault.times != 0]
        return fault
