"""What people think of answers, as a table for people, and as JSON and CSV for programs."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Literal

from slackbot.store import Feedback, Store

Format = Literal["table", "json", "csv"]


async def listed(url: str, since: float | None, limit: int | None, form: Format) -> str:
    """What is stored in this database, newest first."""
    store = await Store.open(url)
    try:
        feedback = await store.feedback(since, limit)
    finally:
        await store.close()
    return shown(feedback, form)


def shown(feedback: Sequence[Feedback], form: Format) -> str:
    """One line each. The table and CSV have a header, and the table ends with a count."""
    rows = [_row(one) for one in feedback]
    match form:
        case "table":
            return "\n".join([*table(rows), _count(feedback)])
        case "json":
            return "\n".join(map(json.dumps, rows))
        case "csv":
            text = io.StringIO()
            writer = csv.DictWriter(text, _COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
            return text.getvalue().rstrip("\n")


_COLUMNS = ("time", "opinion", "user", "team", "channel", "thread", "turn", "question")


def _row(one: Feedback) -> dict[str, str | int]:
    """Names and values that programs may rely on. ``thread`` is empty in a flat DM, ``question`` is its ``ts``."""
    thread, opinion = one.thread, "good" if one.good else "bad"
    values = (
        day_and_time(one.given_at),
        opinion,
        one.user_id,
        thread.team_id,
        thread.channel_id,
        thread.root_ts,
        one.turn_id,
        one.ts,
    )
    return dict(zip(_COLUMNS, values, strict=True))


def day_and_time(at: float) -> str:
    """Epoch seconds as ISO 8601, in UTC."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds").removesuffix("+00:00") + "Z"


def table(rows: Sequence[Mapping[str, str | int | None]]) -> list[str]:
    """Lines with columns below each other, and a header; none for no rows."""
    lines = [[str(value or "-") for value in row.values()] for row in rows]
    lines = [list(rows[0]), *lines] if rows else []
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return ["  ".join(map(str.ljust, line, widths)).rstrip() for line in lines]


def _count(feedback: Sequence[Feedback]) -> str:
    good = sum(one.good for one in feedback)
    return f"{len(feedback)} listed: {good} good, {len(feedback) - good} bad" if feedback else "no feedback"
