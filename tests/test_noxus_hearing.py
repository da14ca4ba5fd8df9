"""An answer told over several streams, and by the conversation in the end: each thing is passed on once, in order."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slackbot.domain import (
    AgentEvent,
    FileOffered,
    Reasoning,
    RunFinished,
    Source,
    StartedOver,
    TextDelta,
    ToolFinished,
    ToolStarted,
)
from slackbot.noxus.events import Ending
from slackbot.noxus.hearing import Hearing

Frame = dict[str, Any]

START = {"type": "start"}
FINISH = {"type": "finish", "finishReason": "stop"}
CALL = {"type": "tool-input-available", "toolCallId": "t", "toolName": "web_research", "input": {}}
RETURN = {"type": "tool-output-available", "toolCallId": "t", "output": {"found": 1}}
CITED = {"type": "source-url", "sourceId": "s", "url": "https://a.example/", "title": "A"}
THOUGHT = {"type": "reasoning-delta", "id": "r", "delta": "hm"}


def said(block: str, text: str) -> Frame:
    return {"type": "text-delta", "id": block, "delta": text}


def push(hearing: Hearing, *frames: Frame, ids: bool = False, first: int = 0) -> list[AgentEvent]:
    return [
        event
        for number, frame in enumerate(frames, start=first)
        for event in hearing.push("message", json.dumps(frame), f"1-{number}" if ids else "")
    ]


def text_of(events: list[AgentEvent]) -> str:
    """What an answer amounts to."""
    told: list[tuple[str, str]] = []
    for event in events:
        if isinstance(event, StartedOver):
            told = []
        if isinstance(event, TextDelta):
            told.append((event.block, event.text))
    joined = "".join(text for _, text in told[:1])
    for (before, _), (block, text) in pairwise(told):
        joined += text if block == before else f"\n\n{text}"
    return joined


ANSWER = [
    START, THOUGHT, said("a", "Look"), said("a", "ing. "), CALL, RETURN, CITED, THOUGHT, said("b", "Süß 😀"),
    said("b", " and on"), FINISH,
]  # fmt: skip
WHOLE = "Looking. \n\nSüß 😀 and on"


@given(
    cuts=st.lists(st.integers(0, len(ANSWER)), max_size=4).map(sorted),
    from_start=st.lists(st.booleans(), min_size=5, max_size=5),
    renamed=st.booleans(),
)
def test_any_breaks_give_the_same_answer(cuts: list[int], from_start: list[bool], *, renamed: bool) -> None:
    """Wherever streams break, and whether the next goes on there or begins at the start, in whatever pieces and under
    whatever names: the answer is the same, and nothing comes twice."""
    hearing, heard = Hearing(), list[AgentEvent]()
    for number, (begin, end) in enumerate(pairwise([0, *cuts, len(ANSWER)])):
        if number:
            hearing.attach()
        # Without an id there is no place to go on from.
        anew = renamed or from_start[number] or not hearing.etag
        frames = ANSWER[:end] if anew else ANSWER[begin:end]
        if anew and number and renamed:
            pieces = [said("other", frame["delta"][i]) for frame in frames[2:4] for i in range(len(frame["delta"]))]
            frames = [*frames[:2], *pieces, *frames[4:]]
        heard += push(hearing, *frames, ids=True, first=0 if anew else begin)
    assert text_of(heard) == WHOLE
    assert hearing.is_whole
    calls = [event for event in heard if isinstance(event, ToolStarted | ToolFinished | Source)]
    assert calls == [
        ToolStarted("t", "web_research"),
        ToolFinished("t", "web_research", ok=True),
        Source("A", CITED["url"]),
    ]
    assert not hearing.missing([TextDelta("part-1", "Looking. "), TextDelta("part-2", "Süß 😀 and on")])


@given(st.data())
def test_pieces_do_not_matter(data: st.DataObject) -> None:
    """A replay may cut the text elsewhere than the first telling did."""
    text = data.draw(st.text(min_size=1, max_size=30))
    known = data.draw(st.integers(0, len(text)))
    places = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=5)))
    hearing = Hearing()
    heard = push(hearing, START, *([said("a", text[:known])] if known else []))
    hearing.attach()
    edges = [0, *places, len(text)]
    heard += push(hearing, START, *(said("a", text[a:b]) for a, b in pairwise(edges) if b > a), FINISH)
    assert "".join(event.text for event in heard if isinstance(event, TextDelta)) == text


def half() -> tuple[Hearing, list[AgentEvent]]:
    hearing = Hearing()
    return hearing, push(hearing, START, said("a", "Hello wor"))


@pytest.mark.parametrize(
    "replay",
    [
        [START, said("a", "Hullo world")],
        [START, said("a", "Hell"), said("b", "o")],
        [START, said("a", "Hello"), said("b", "x"), FINISH],
    ],
)
def test_another_answer_is_not_trusted(replay: list[Frame]) -> None:
    """A replay that says something else than what is known adds nothing, and nothing after it counts."""
    hearing, _ = half()
    hearing.attach()
    assert text_of(push(hearing, *replay, FINISH)) == ""
    assert hearing.contradicts
    assert hearing.ending is Ending.CUT


def test_a_replay_that_ends_too_early_is_no_end() -> None:
    """Fewer words than are known already are not the whole answer."""
    hearing, _ = half()
    hearing.attach()
    assert text_of(push(hearing, START, said("a", "Hello"), FINISH)) == ""
    assert (hearing.is_whole, hearing.told_its_end, hearing.records) == (False, True, 5)


def test_a_block_that_does_not_fit_between_others() -> None:
    """Text beyond what is known of a block that is over contradicts."""
    hearing = Hearing()
    push(hearing, START, said("a", "One."), said("b", "Two."))
    hearing.attach()
    assert push(hearing, START, said("a", "One. More."), said("b", "Two.")) == []
    assert hearing.contradicts


def test_what_begins_in_the_middle_is_lost() -> None:
    """Without a place to go on from, a stream that does not begin at the start tells its end alone."""
    hearing, _ = half()
    hearing.attach()
    assert push(hearing, said("a", "ld, and"), FINISH) == []
    assert (hearing.lost, hearing.is_whole, hearing.told_its_end) == (True, False, True)
    assert hearing.signs == 3


@pytest.mark.parametrize(
    ("name", "data"), [("done", "{}"), ("timeout", "{}"), ("error", "none"), ("message", "[DONE]")]
)
def test_nothing_runs(name: str, data: str) -> None:
    """A stream that ends at once is not the end of the answer, and the next one counts again."""
    hearing, _ = half()
    hearing.attach()
    assert hearing.push(name, data) == []
    assert hearing.push(name, data) == []
    assert (hearing.idle, hearing.over, hearing.ending, hearing.told_its_end) == (True, True, Ending.CUT, False)
    hearing.attach()
    assert text_of(push(hearing, START, said("a", "Hello world"), FINISH)) == "ld"
    assert hearing.is_whole


def test_a_failure_right_after_the_break() -> None:
    """What a stream opens with that goes on somewhere is about our run."""
    hearing = Hearing()
    push(hearing, START, said("a", "Hello"), ids=True)
    hearing.attach()
    hearing.push("error", "boom")
    assert (hearing.ending, hearing.failure, hearing.acted, hearing.finished) == (Ending.FAILED, "boom", True, False)


def test_a_stream_that_gave_up_can_be_gone_on_with() -> None:
    """After ``timeout`` the next stream counts."""
    hearing = Hearing()
    push(hearing, START, said("a", "Hello"), ids=True)
    hearing.push("timeout", "{}")
    assert hearing.ending is Ending.TIMED_OUT
    hearing.attach()
    assert text_of(push(hearing, said("a", " you"), FINISH, ids=True, first=2)) == " you"
    assert (hearing.is_whole, hearing.etag) == (True, "1-3")


def test_comments_open_no_stream() -> None:
    """What httpx-sse makes of a comment tells nothing of where a stream begins."""
    hearing, _ = half()
    hearing.attach()
    assert hearing.push("message", "") == []
    assert text_of(push(hearing, START, said("a", "Hello world"))) == "ld"


# --- the conversation's word -------------------------------------------------------------------------------------


def told(*texts: str) -> list[AgentEvent]:
    return [TextDelta(f"part-{number}", text) for number, text in enumerate(texts)]


@pytest.mark.parametrize(
    ("heard", "whole", "missing"),
    [
        ([], told("All."), told("All.")),
        ([said("a", "Hello")], told("Hello"), []),
        ([said("a", "Hello")], told("Hello you"), [TextDelta("a", " you")]),
        ([said("a", "Hello ")], told("Hello\nyou"), [TextDelta("a", "you")]),
        ([said("a", "Hello")], told("Hello", "Bye."), [TextDelta("told afterwards", "Bye.")]),
        ([said("a", "One."), said("b", "Two")], told("One.\n\nTwo more."), [TextDelta("b", " more.")]),
        ([said("a", "One."), said("b", "Two.")], told("One.\nTwo. Three."), [TextDelta("b", " Three.")]),
        ([said("a", "One."), said("b", "Two.")], told("Two."), []),
        ([said("a", "Hello")], told("Hallo"), [StartedOver(), *told("Hallo")]),
        ([said("a", "Hello")], [], []),
    ],
)
def test_only_what_is_missing(heard: list[Frame], whole: list[AgentEvent], missing: list[AgentEvent]) -> None:
    """White space aside, what was passed on is not repeated; an answer that is another one begins anew."""
    hearing = Hearing()
    push(hearing, START, *heard)
    assert hearing.missing(whole) == missing


def test_what_else_is_missing() -> None:
    """Tools and files that were not heard of are told, thoughts and ends are not."""
    hearing = Hearing()
    push(hearing, START, CALL, said("a", "Hello"))
    file = FileOffered("/v1/file/1", "text/csv", "a.csv")
    whole = [ToolStarted("t", "web_research"), file, Reasoning("r", "hm"), *told("Hello"), RunFinished()]
    assert hearing.missing(whole) == [file]
    assert Hearing().missing(whole) == [ToolStarted("t", "web_research"), file, *told("Hello")]
    push(hearing, FINISH)
    assert hearing.missing(whole) == []
