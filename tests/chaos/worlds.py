"""Noxus as it may be: every switch of the simulated one, as far as it matters to who comes back after a death."""

from __future__ import annotations

import itertools
from typing import TypeAlias

World: TypeAlias = tuple[tuple[str, str], ...]
"""Switches with their values, as on the command line; all else is as the simulator has it."""

SWITCHES: dict[str, tuple[str, ...]] = {
    "visible": ("post", "end"),
    "idle_events": ("done", "404", "hang", "replay"),
    "etag_is": ("sse", "conversation"),
    "replay": ("etag", "start", "live"),
    "on_disconnect": ("continue", "stop"),
}
"""They change what the others mean, so every combination is tried; the first values are the simulator's."""
UNDER_SWITCHES = ("mention", "slow")
"""Plays whose moments with an answer under way are tried under every combination."""

ALONE: dict[str, tuple[str, ...]] = {
    "envelope=false": UNDER_SWITCHES,
    "inner_type=false": UNDER_SWITCHES,
    "inner_string=true": UNDER_SWITCHES,
    "done_event=false": UNDER_SWITCHES,
    "sse_ids=false": UNDER_SWITCHES,
    r"line_end=\n": UNDER_SWITCHES,
    "keep_alive=0.05": UNDER_SWITCHES,
    "history=legacy": UNDER_SWITCHES,
    "finish_reasons=false": UNDER_SWITCHES,
    "renames=true": UNDER_SWITCHES,
    "agent_timeout=1.5": ("slow",),
    "timeout_run=continue": ("timeout",),
    "error_as=event": ("fails",),
    "files_as=file_frame": ("files",),
    "files_as=data_frame": ("files",),
    "files_as=link": ("files",),
    "files_as=data_uri": ("files",),
    "second_post=conflict": ("second", "retry"),
    "second_post=interleave": ("second", "retry"),
    "message_cap=2": ("second",),
    "message_cap=2 message_cap_style=error_frame": ("second",),
}
"""Every other value, and the plays in which it shows."""

NO_MATTER: dict[str, str] = {
    "first_token_delay": "a pace, which is the play's",
    "rate": "a pace, which is the play's",
    "sdk_version": "shows in tools that wait for somebody's yes alone",
    "event_names": "shows in the raw format alone, which the bot does not ask for",
    "done_marker": "shows in the raw format alone, which the bot does not ask for",
    "human_as": "no agent asks for a human here: tests/test_breaking_handover.py",
    "manual_flag": "the same",
    "human_status": "the same",
    "held_agent": "the same",
    "bad_key_status": "the key is right",
    "unknown_agent_status": "the agent is known",
    "b64_limit": "the files are small",
}
"""Switches that no play can tell from their default, and why."""

REPRESENTATIVE = (
    r"visible=post idle_events=done etag_is=sse replay=etag on_disconnect=continue line_end=\n renames=true",
    "visible=end idle_events=404 etag_is=conversation replay=start on_disconnect=continue finish_reasons=false",
    "visible=post idle_events=hang etag_is=sse replay=live on_disconnect=continue envelope=false",
    "visible=end idle_events=replay etag_is=sse replay=start on_disconnect=continue sse_ids=false",
    "visible=post idle_events=replay etag_is=conversation replay=etag on_disconnect=stop keep_alive=0.05",
    "visible=end idle_events=hang etag_is=conversation replay=etag on_disconnect=continue inner_string=true",
    "visible=post idle_events=404 etag_is=sse replay=live on_disconnect=stop history=legacy inner_type=false",
    "visible=end idle_events=done etag_is=sse replay=live on_disconnect=stop done_event=false",
)
"""So few that each value of the switches meets most others, and each other one that shows in any play some of them."""


def parsed(text: str) -> World:
    """The switches in a text such as ``visible=end replay=live``."""
    return tuple((name, value) for name, _, value in (each.partition("=") for each in text.split()))


def combinations() -> list[World]:
    """Every combination of the switches, the simulator's own first."""
    return [tuple(zip(SWITCHES, values, strict=True)) for values in itertools.product(*SWITCHES.values())]


def worlds_of(play: str, *, few: bool) -> list[World]:
    """What the play is tried under."""
    alone = {text: parsed(text) for text, plays in ALONE.items() if play in plays}
    if play not in UNDER_SWITCHES:
        return list(alone.values())
    if not few:
        return [*combinations(), *alone.values()]
    return [*map(parsed, REPRESENTATIVE), *(alone[text] for text in alone if ALONE[text] != UNDER_SWITCHES)]


def values(world: World) -> dict[str, str]:
    """What the simulator is told."""
    return {name: value.replace(r"\n", "\n") for name, value in world}
