"""How handovers go: a table and a single one for people, JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from slackbot.errors import SlackbotError
from slackbot.feedback import day_and_time, table
from slackbot.store import HandoverRecord, Store


class UnknownHandover(SlackbotError):
    """There is none of that id."""


async def reported(url: str, *, since: float | None, limit: int | None, handover_id: int | None, as_json: bool) -> str:
    """What is stored in this database, newest first; or the one of that id with every step of it."""
    store = await Store.open(url)
    try:
        records = await store.handovers(since, limit, handover_id=handover_id)
    finally:
        await store.close()
    if handover_id is not None and not records:
        raise UnknownHandover(f"there is no handover {handover_id}")
    if as_json:
        return "\n".join(json.dumps(_object(record)) for record in records)
    return listed(records) if handover_id is None else shown(records[0])


def listed(records: Sequence[HandoverRecord]) -> str:
    """One line each, and a count."""
    open_now = sum(record.handover.is_open for record in records)
    count = f"{len(records)} listed: {open_now} open" if records else "no handovers"
    return "\n".join([*table([_row(record) for record in records]), count])


def shown(record: HandoverRecord) -> str:
    """One handover: what is known of it, then its steps."""
    facts = _row(record) | {"thread": _object(record)["thread"]}
    width = max(map(len, facts))
    lines = [f"{name:<{width}}  {value or '-'}" for name, value in facts.items()]
    return "\n".join([*lines, "", *table([_step(record, number) for number in range(len(record.transitions))])])


def _row(record: HandoverRecord) -> dict[str, str | int | None]:
    handover = record.handover
    return {
        "id": handover.id,
        "opened": day_and_time(handover.opened_at),
        "channel": handover.conversation.thread.channel_id,
        "reason": handover.reason.value,
        "asker": handover.asker_id,
        "operator": handover.operator_id,
        **{f"to {name.replace('_', ' ')}": _lasted(wait) for name, wait in record.waits().items()},
        "outcome": record.outcome,
    }


def _step(record: HandoverRecord, number: int) -> dict[str, str | int | None]:
    step = record.transitions[number]
    return {
        "time": day_and_time(step.at),
        "move": step.move.value,
        "from": step.before and step.before.value,
        "to": step.after.value,
        "by": step.actor_id,
    }


def _object(record: HandoverRecord) -> dict[str, Any]:
    """Names and values that programs may rely on. ``thread`` is empty in a flat DM, ``by`` where nobody did it but the
    agent or time; waits are seconds since ``opened``."""
    handover, thread = record.handover, record.handover.conversation.thread
    return {
        "id": handover.id,
        "opened": day_and_time(handover.opened_at),
        "team": thread.team_id,
        "channel": thread.channel_id,
        "thread": thread.root_ts,
        "reason": handover.reason.value,
        "asker": handover.asker_id,
        "operator": handover.operator_id,
        "state": handover.state.value,
        "outcome": record.outcome,
        **{f"seconds_to_{name}": wait and round(wait, 1) for name, wait in record.waits().items()},
        "steps": [_step(record, number) for number in range(len(record.transitions))],
    }


def _lasted(wait: float | None) -> str:
    """A wait in the two units that matter."""
    if wait is None:
        return ""
    minutes, seconds = divmod(round(wait), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"
