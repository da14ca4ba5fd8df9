"""The live traffic between the bot and the services around it, line by line, for the page's drawer."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final, Literal

from slackbot.simulator.slack.model import shown
from slackbot.simulator.slack.world import BOT_USER_ID

if TYPE_CHECKING:
    from collections.abc import Callable

    from slackbot.simulator.slack.model import Json
    from slackbot.simulator.slack.record import ApiCall, Delivery
    from slackbot.simulator.slack.workspace import Workspace

_KEPT: Final = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One thing that happened: `what` with its particulars in `more`, and how it went.

    `kind` is who spoke: Slack to the bot (`event`), the bot to Slack (`call`), or the bot to its agent (`request`).
    `used` of `allowed` tells how much of a limit is used up; 0 of 0 where there is none.
    """

    kind: Literal["event", "call", "request"]
    what: str
    more: str = ""
    outcome: str = ""
    state: Literal["open", "ok", "bad"] = "open"
    used: int = 0
    allowed: int = 0


class Traffic:
    """The newest lines. Anybody may add to them: the simulated Slack does, and so may who runs it beside others."""

    def __init__(self) -> None:
        self.observers: list[Callable[[Json], None]] = []
        self._lines: dict[str, Json] = {}

    def show(self, key: str, line: Line) -> None:
        """Add a line, or change the one with that key."""
        before = self._lines.get(key)
        shown = {"key": key, "at": before["at"] if before else time.time(), **asdict(line)}
        self._lines[key] = shown
        if len(self._lines) > _KEPT:
            del self._lines[next(iter(self._lines))]
        for observer in self.observers:
            observer(shown)

    def lines(self) -> list[Json]:
        """List what is kept, oldest first."""
        return list(self._lines.values())


def delivery_line(workspace: Workspace, delivery: Delivery, seconds: float) -> Line:
    """Tell of something Slack delivers to the bot, `seconds` after it began."""
    who = workspace.users.get(delivery.user)
    whose = "its own" if delivery.user == BOT_USER_ID else f"by {who.display_name}" if who else ""
    again = f"attempt {delivery.attempt + 1}" if delivery.attempt else ""
    more = ", ".join(part for part in (_place(workspace, delivery.channel), whose, again) if part)
    if not delivery.done:
        return Line(kind="event", what=delivery.what, more=more, outcome="sent")
    outcome = f"acked in {seconds * 1000:.0f} ms" if delivery.acked else delivery.failure or "not acked"
    return Line(kind="event", what=delivery.what, more=more, outcome=outcome, state="ok" if delivery.acked else "bad")


def call_line(workspace: Workspace, call: ApiCall, usage: tuple[int, int]) -> Line:
    """Tell of a Web API call, with how much of its limit is used now."""
    where = _place(workspace, str(call.args.get("channel") or call.args.get("channel_id") or ""))
    size = _size(call)
    said = f"“{call.args['status']}”" if call.args.get("status") else f"{size} characters" if size else ""
    return Line(
        kind="call",
        what=call.method,
        more=", ".join(part for part in (where, said) if part),
        outcome=("ok" if call.ok else call.error or "") + ("" if call.status == 200 else f" ({call.status})"),
        state="ok" if call.ok else "bad",
        used=usage[0],
        allowed=usage[1],
    )


def _size(call: ApiCall) -> int:
    # What a reader sees: the markdown where there is some, else the text.
    blocks = call.args.get("blocks") or ()
    try:
        found = json.loads(blocks) if isinstance(blocks, str) else blocks
        return len(shown(str(call.args.get("text") or ""), tuple(found)))
    except (AttributeError, KeyError, TypeError, ValueError):
        return 0  # Not what blocks look like; the call's error says so.


def _place(workspace: Workspace, channel_id: str) -> str:
    channel = workspace.channels.get(channel_id)
    if channel is None:
        return channel_id
    return "a DM" if channel.kind == "im" else "a group DM" if channel.kind == "mpim" else f"#{channel.name}"
