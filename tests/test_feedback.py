"""What people think of answers, as it is listed."""

from __future__ import annotations

import csv
import io
import json

from slackbot.domain import ThreadKey
from slackbot.feedback import listed, shown
from slackbot.store import Feedback, Store
from tests.stored import accept, claimed, message, ts

FEEDBACK = [
    Feedback(
        1_795_370_405.9, good=True, user_id="U0123ABCD", turn_id=12, thread=ThreadKey("T1", "C1", ts(1)), ts=ts(5)
    ),
    Feedback(1_795_370_300.0, good=False, user_id="U2", turn_id=7, thread=ThreadKey("T1", "D1", ""), ts=ts(3)),
]


def test_the_table_is_for_people() -> None:
    """Columns stand below each other, and the last line counts."""
    assert shown(FEEDBACK, "table").splitlines() == [
        "time                  opinion  user       team  channel  thread             turn  question",
        "2026-11-22T18:00:05Z  good     U0123ABCD  T1    C1       1700000001.000100  12    1700000005.000100",
        "2026-11-22T17:58:20Z  bad      U2         T1    D1       -                  7     1700000003.000100",
        "2 listed: 1 good, 1 bad",
    ]


def test_json_is_one_object_a_line() -> None:
    """Names and types are the same in every line, and a flat DM has an empty thread."""
    first, second = map(json.loads, shown(FEEDBACK, "json").splitlines())
    assert first == {
        "time": "2026-11-22T18:00:05Z",
        "opinion": "good",
        "user": "U0123ABCD",
        "team": "T1",
        "channel": "C1",
        "thread": ts(1),
        "turn": 12,
        "question": ts(5),
    }
    assert (second["opinion"], second["thread"]) == ("bad", "")
    assert second.keys() == first.keys()


def test_csv_has_the_same_columns() -> None:
    """A header, then what JSON says, as text."""
    rows = list(csv.DictReader(io.StringIO(shown(FEEDBACK, "csv"))))
    objects = map(json.loads, shown(FEEDBACK, "json").splitlines())
    assert rows == [{name: str(value) for name, value in one.items()} for one in objects]


def test_nothing_is_listed_in_every_form() -> None:
    """People read a sentence; programs get no line, or the header alone."""
    assert shown([], "table") == "no feedback"
    assert shown([], "json") == ""
    assert shown([], "csv") == "time,opinion,user,team,channel,thread,turn,question"


async def test_what_is_stored_is_listed(database_url: str) -> None:
    """Read beside a store that is at work, newest first, as little as wanted."""
    store = await Store.open(database_url, exclusive=True)
    await accept(store, message(1))
    turn = await claimed(store)
    for user in ("U1", "U2"):
        await store.rate(turn.id, "T1", "C1", user, good=user == "U1")
    every = await listed(database_url, None, None, "json")
    last = await listed(database_url, turn.accepted_at, 1, "json")
    later = await listed(database_url, turn.accepted_at + 3_600, None, "json")
    await store.close()
    assert [json.loads(line)["user"] for line in every.splitlines()] == ["U2", "U1"]
    newest = json.loads(last)
    assert (newest["user"], newest["opinion"], newest["turn"], newest["thread"]) == ("U2", "bad", turn.id, ts(1))
    assert later == ""
