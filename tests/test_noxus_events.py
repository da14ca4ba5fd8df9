"""The decoder of Noxus's streams and answers: every variant of the wire, and whatever else may come."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest
from httpx_sse import EventSource
from hypothesis import given
from hypothesis import strategies as st

import slackbot.simulator.noxus
from slackbot.domain import (
    AgentEvent,
    ApprovalRequested,
    FileOffered,
    Reasoning,
    RunFinished,
    Source,
    TextDelta,
    ToolFinished,
    ToolStarted,
    UnknownFrame,
)
from slackbot.noxus.events import Ending, FrameDecoder, reason, reply_events

FRAMES = Path(slackbot.simulator.noxus.__file__).parent / "frames"
RECORDED = {
    path.stem: path.read_text(encoding="utf-8").split("\n")[:-1]
    for path in sorted(FRAMES.glob("*.jsonl"))
    if not path.stem.endswith(".messages")
}

Record = tuple[str, str]


def decode(*records: Record) -> tuple[list[AgentEvent], FrameDecoder]:
    decoder = FrameDecoder()
    return [event for name, data in records for event in decoder.push(name, data)], decoder


def heard(*frames: dict[str, Any]) -> list[AgentEvent]:
    return decode(*(("message", json.dumps(frame)) for frame in frames))[0]


def without_type(frame: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in frame.items() if key != "type"}


def spoken(events: list[AgentEvent]) -> list[str]:
    """The text blocks of an answer, in order."""
    blocks: dict[str, str] = {}
    for event in events:
        if isinstance(event, TextDelta):
            blocks[event.block] = blocks.get(event.block, "") + event.text
    return list(blocks.values())


def tool_steps(events: list[AgentEvent]) -> list[tuple[str, bool | None]]:
    return [
        (event.name, event.ok if isinstance(event, ToolFinished) else None)
        for event in events
        if isinstance(event, ToolStarted | ToolFinished)
    ]


# --- recorded runs -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "texts", "tools", "ending"),
    [
        ("text", ["Hello **world**"], [], Ending.COMPLETE),
        ("thinking", ["Answer."], [], Ending.COMPLETE),
        ("tool_call", ["Checking. ", "It is sunny."], [("web_research", None), ("web_research", True)], "complete"),
        (
            "multi_step",
            ["One more. ", "Done: see the file."],
            [
                ("kb_qa", None),
                ("kb_qa", None),
                ("kb_qa", True),
                ("kb_qa", True),
                ("create_file", None),
                ("create_file", True),
            ],
            "complete",
        ),
        (
            "hitl_plain_tool",
            ["You are now talking to the co-worker."],
            [("human_in_the_loop", None), ("human_in_the_loop", True)],
            "complete",
        ),
        ("hitl_deferred_tool", ["I will get a colleague. "], [("human_in_the_loop", None)], "complete"),
        ("tool_approval", [], [("delete_file", None)], "complete"),
        (
            "tool_model_retry",
            ["Found it."],
            [("lookup", None), ("lookup", False), ("lookup", None), ("lookup", True)],
            "complete",
        ),
        ("tool_invalid_args", ["Sorry."], [("lookup", None), ("lookup", False)], "complete"),
        ("tool_raises", ["Trying. "], [("explode", None)], "failed"),
        ("model_error_midstream", ["Partial ans"], [], "failed"),
        ("usage_limit", [], [("kb_qa", None), ("kb_qa", True), ("kb_qa", None), ("kb_qa", True)], "failed"),
        ("model_file_part", ["Here it is."], [], "complete"),
        ("tool_returns_binary", ["Chart above."], [("image_generation", None), ("image_generation", True)], "complete"),
        ("tool_metadata_chunks", ["Here is your file."], [("present_file", None), ("present_file", True)], "complete"),
        ("provider_builtin_tool", ["Here it is."], [("web_search", None), ("web_search", True)], "complete"),
    ],
)
def test_recorded_runs_read_as_what_happened(
    name: str, texts: list[str], tools: list[tuple[str, bool | None]], ending: str
) -> None:
    """Each recorded run gives its text blocks, its tool steps and its ending."""
    events, decoder = decode(*(("message", line) for line in RECORDED[name]))
    assert spoken(events) == texts
    assert tool_steps(events) == tools
    assert decoder.ending == ending
    assert (RunFinished() in events) == (ending == "complete")
    assert not [event for event in events if isinstance(event, UnknownFrame) and event.kind != "data-file"]


def test_every_recorded_run_is_covered() -> None:
    """A new recording needs its row in the table above."""
    marks = test_recorded_runs_read_as_what_happened.pytestmark  # type: ignore[attr-defined]
    assert {row[0] for row in marks[0].args[1]} == set(RECORDED)


WRAPPINGS: dict[str, Callable[[dict[str, Any]], Record]] = {
    "bare": lambda frame: ("message", json.dumps(frame)),
    "named": lambda frame: (frame["type"], json.dumps(frame)),
    "named without type": lambda frame: (frame["type"], json.dumps(without_type(frame))),
    "envelope": lambda frame: ("message", json.dumps({"event": frame["type"], "data": frame})),
    "envelope without type": lambda frame: (
        "message",
        json.dumps({"event": frame["type"], "data": without_type(frame)}),
    ),
    "envelope with JSON text": lambda frame: (
        "message",
        json.dumps({"event": frame["type"], "data": json.dumps(without_type(frame))}),
    ),
    "envelope without name": lambda frame: ("message", json.dumps({"event": "message", "data": frame})),
}


@pytest.mark.parametrize("name", RECORDED)
@pytest.mark.parametrize("wrapping", WRAPPINGS)
def test_the_wrapping_does_not_matter(name: str, wrapping: str) -> None:
    """Every way to wrap a frame gives the same events and the same ending."""
    frames = [json.loads(line) for line in RECORDED[name] if line != "[DONE]"]
    plain, expected = decode(*(("message", json.dumps(frame)) for frame in frames))
    events, decoder = decode(*(WRAPPINGS[wrapping](frame) for frame in frames))
    assert events == plain
    assert (decoder.ending, decoder.failure) == (expected.ending, expected.failure)


# --- blocks ------------------------------------------------------------------------------------------------------


def test_blocks_keep_their_ids() -> None:
    """Interleaved blocks stay apart by their ids."""
    assert heard(
        {"type": "text-start", "id": "a"},
        {"type": "text-start", "id": "b"},
        {"type": "text-delta", "id": "a", "delta": "1"},
        {"type": "text-delta", "id": "b", "delta": "2"},
        {"type": "text-delta", "id": "a", "delta": "3"},
    ) == [TextDelta("a", "1"), TextDelta("b", "2"), TextDelta("a", "3")]


@pytest.mark.parametrize("block", [{"id": "0"}, {}])
@pytest.mark.parametrize(
    "between",
    [
        [{"type": "text-end"}, {"type": "text-start"}],
        [{"type": "text-end"}],
        [{"type": "text-start"}],
        [{"type": "finish-step"}],
        [{"type": "start-step"}, {"type": "text-start"}],
    ],
)
def test_one_id_for_several_blocks_is_told_apart(block: dict[str, str], between: list[dict[str, str]]) -> None:
    """A block that ended or began anew is another block, also under the same id or under none."""
    delta = {"type": "text-delta", "delta": "x", **block}
    events = heard(delta, delta, *({**frame, **block} for frame in between), delta)
    assert spoken(events) == ["xx", "x"]


def test_text_without_ids_is_split_by_a_tool() -> None:
    """Before and after a tool are two blocks even when the frames name none."""
    delta = {"type": "text-delta", "delta": "x"}
    assert spoken(heard(delta, {"type": "tool-input-start", "toolCallId": "1", "toolName": "t"}, delta)) == ["x", "x"]


def test_text_and_reasoning_may_share_an_id() -> None:
    """Reasoning never gets into a text block."""
    events = heard(
        {"type": "reasoning-start", "id": "0"},
        {"type": "reasoning-delta", "id": "0", "delta": "hm"},
        {"type": "text-delta", "id": "0", "delta": "yes"},
        {"type": "reasoning-end", "id": "0"},
        {"type": "text-delta", "id": "0", "delta": "!"},
    )
    assert events == [Reasoning("0", "hm"), TextDelta("0", "yes"), TextDelta("0", "!")]


@pytest.mark.parametrize("delta", ["", None, 7, ["x"]])
def test_a_delta_without_text_says_nothing(delta: object) -> None:
    """Empty pieces and pieces of a wrong type give no event."""
    assert heard({"type": "text-delta", "id": "a", "delta": delta}) == []


def test_bare_text_in_an_envelope_is_the_delta() -> None:
    """A delta that is sent as plain text is read as such, also when it looks like JSON or like the end."""
    pieces = ["hi", "[DONE]", "42", "{", "{not json"]
    records = [("message", json.dumps({"event": "text-delta", "data": piece})) for piece in pieces]
    events, decoder = decode(*records)
    assert spoken(events) == ["".join(pieces)]
    assert decoder.ending is Ending.CUT


def test_lone_surrogates_do_not_get_in() -> None:
    """Half a surrogate pair, which JSON can hold and UTF-8 cannot, is replaced; whole pairs stay."""
    (event,) = heard({"type": "text-delta", "id": "a", "delta": "a\ud83d \U0001f600 é"})
    assert event == TextDelta("a", "a\ufffd \U0001f600 é")


# --- tools, sources, files ---------------------------------------------------------------------------------------


def test_a_tool_starts_and_ends_once() -> None:
    """Whichever frames a version sends for a call, it starts once and comes back once."""
    call = {"toolCallId": "1", "toolName": "t"}
    assert heard(
        {"type": "tool-input-start", **call},
        {"type": "tool-input-delta", "toolCallId": "1", "inputTextDelta": "{"},
        {"type": "tool-input-available", **call, "input": {}},
        {"type": "tool-output-available", "toolCallId": "1", "output": 1, "preliminary": True},
        {"type": "tool-output-available", "toolCallId": "1", "output": 2},
        {"type": "tool-output-error", "toolCallId": "1", "errorText": "late"},
    ) == [ToolStarted("1", "t"), ToolFinished("1", "t", ok=True)]


@pytest.mark.parametrize(
    ("frames", "expected"),
    [
        (["input-error"], [ToolStarted("1", "t"), ToolFinished("1", "t", ok=False)]),
        (["input-start", "input-error"], [ToolStarted("1", "t"), ToolFinished("1", "t", ok=False)]),
        (["input-available", "output-denied"], [ToolStarted("1", "t"), ToolFinished("1", "t", ok=False)]),
        (["input-available", "approval-request"], [ToolStarted("1", "t"), ApprovalRequested("1", "t")]),
        (["approval-request"], [ApprovalRequested("1", "")]),
        (["output-available"], [ToolFinished("1", "", ok=True)]),
        (["output-new"], [UnknownFrame("tool-output-new")]),
    ],
)
def test_tool_frames_of_both_versions(frames: list[str], expected: list[AgentEvent]) -> None:
    """Frames of AI SDK 5 and 6, with and without the start of the call."""
    assert heard(*({"type": f"tool-{frame}", "toolCallId": "1", "toolName": "t"} for frame in frames)) == expected


@pytest.mark.parametrize("call_id", [None, "", 7])
def test_a_tool_frame_without_id_is_unknown(call_id: object) -> None:
    """Without an id a tool cannot be followed."""
    assert heard({"type": "tool-input-start", "toolCallId": call_id}) == [UnknownFrame("tool-input-start")]


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        ({"type": "source-url", "sourceId": "s", "url": "https://e.org", "title": "E"}, Source("E", "https://e.org")),
        ({"type": "source-url", "sourceId": "s", "url": "https://e.org"}, Source("https://e.org", "https://e.org")),
        ({"type": "source-document", "title": "Doc", "filename": "d.pdf"}, Source("Doc", "")),
        ({"type": "source-document", "filename": "d.pdf"}, Source("d.pdf", "")),
        ({"type": "source-document"}, UnknownFrame("source-document")),
        ({"type": "source-new", "url": "https://e.org"}, UnknownFrame("source-new")),
        ({"type": "file", "url": "data:,x", "mediaType": "text/csv"}, FileOffered("data:,x", "text/csv")),
        ({"type": "file", "url": "u", "filename": "r.csv"}, FileOffered("u", "", "r.csv")),
        ({"type": "file"}, UnknownFrame("file")),
        ({"type": "data-file", "id": "f1", "data": {}}, UnknownFrame("data-file")),
        ({"type": "text-new"}, UnknownFrame("text-new")),
        ({"type": "reasoning"}, UnknownFrame("reasoning")),
        ({"type": "x" * 100 + "\ud800"}, UnknownFrame("x" * 60)),
        ({"type": 7}, UnknownFrame("untyped")),
    ],
)
def test_sources_files_and_news(frame: dict[str, Any], expected: AgentEvent) -> None:
    """Citations and files become events; what we do not know keeps its name for the log."""
    assert heard(frame) == [expected]


@pytest.mark.parametrize(
    "kind", ["start", "start-step", "finish-step", "message-metadata", "text-end", "reasoning-end"]
)
def test_frames_that_say_nothing(kind: str) -> None:
    """Known frames without meaning for a reader are silent."""
    assert heard({"type": kind}) == []


def test_the_inner_type_of_a_data_frame_is_its_own() -> None:
    """A ``type`` inside an envelope names the frame only if a frame is called so."""
    events, _ = decode(("message", json.dumps({"event": "data-file", "data": {"type": "csv"}})))
    assert events == [UnknownFrame("data-file")]


@pytest.mark.parametrize("data", ["nonsense", "[1]", "null", '"text"', "{", "[" * 100_000, "1" * 10_000, "{}"])
def test_garbage_has_a_name(data: str) -> None:
    """What is no frame at all is told to the log and otherwise passed over."""
    events, decoder = decode(("message", data))
    assert events == [UnknownFrame("untyped" if data == "{}" else "unreadable")]
    assert decoder.ending is Ending.CUT


def test_a_record_without_data_is_no_record() -> None:
    """A keep-alive comment that arrives as an empty record neither says nor counts anything."""
    events, decoder = decode(("message", ""), ("message", ""))
    assert (events, decoder.records) == ([], 0)


# --- endings -----------------------------------------------------------------------------------------------------

FINISH = ("message", '{"type":"finish"}')
ERROR = ("message", '{"type":"error","errorText":"boom"}')
TEXT = ("message", '{"type":"text-delta","id":"a","delta":"x"}')
START = ("message", '{"type":"start"}')
DONE = ("done", "{}")
TIMEOUT = ("timeout", "{}")


@pytest.mark.parametrize(
    ("records", "ending", "over"),
    [
        ([], Ending.CUT, False),
        ([TEXT], Ending.CUT, False),
        ([TEXT, FINISH], Ending.COMPLETE, False),
        ([TEXT, FINISH, DONE], Ending.COMPLETE, True),
        ([TEXT, DONE], Ending.COMPLETE, True),
        ([TEXT, ("done", "")], Ending.COMPLETE, True),
        ([TEXT, ("message", '{"event":"done","data":{}}')], Ending.COMPLETE, True),
        ([TEXT, ("message", "[DONE]")], Ending.COMPLETE, False),
        ([TEXT, FINISH, ("message", '{"type":"finish-step"}')], Ending.COMPLETE, False),
        ([TEXT, FINISH, START, TEXT], Ending.CUT, False),
        ([TEXT, TIMEOUT], Ending.TIMED_OUT, True),
        ([TEXT, FINISH, TIMEOUT], Ending.COMPLETE, True),
        ([TEXT, ERROR], Ending.FAILED, False),
        ([TEXT, ERROR, FINISH], Ending.FAILED, False),
        ([TEXT, ERROR, DONE], Ending.FAILED, True),
        ([TEXT, ERROR, TIMEOUT], Ending.FAILED, True),
        ([TEXT, ("error", "oops"), DONE], Ending.FAILED, True),
        ([TEXT, ("message", '{"type":"finish","finishReason":"error"}')], Ending.FAILED, False),
        ([TEXT, ("message", '{"type":"abort","reason":"stopped"}')], Ending.FAILED, False),
    ],
)
def test_how_a_stream_ended(records: list[Record], ending: Ending, *, over: bool) -> None:
    """Each way to end, and whether anything may follow it."""
    _, decoder = decode(*records)
    assert (decoder.ending, decoder.over) == (ending, over)


@pytest.mark.parametrize(
    ("record", "failure"),
    [
        (ERROR, "boom"),
        (("error", "oops"), "oops"),
        (("error", ""), "error"),
        (("error", '{"detail":"no"}'), "no"),
        (("error", '{"event":"finish","data":{"message":"no"}}'), "no"),
        (("message", '{"event":"error","data":"oops"}'), "oops"),
        (("message", '{"event":"error","data":{"error":{"message":"deep"}}}'), "deep"),
        (("message", '{"type":"error"}'), "error"),
        (("message", '{"type":"abort","reason":"stopped"}'), "stopped"),
        (("message", '{"type":"finish","finishReason":"error"}'), "the run finished with an error"),
    ],
)
def test_failures_keep_their_first_words(record: Record, failure: str) -> None:
    """The first error's words are kept for the log, wherever they stand; no event repeats them."""
    events, decoder = decode(record, ("message", '{"type":"error","errorText":"second"}'), FINISH)
    assert events == []
    assert decoder.failure == failure


def test_frames_after_an_error_still_count() -> None:
    """An error does not hide what comes after it."""
    assert decode(ERROR, TEXT)[0] == [TextDelta("a", "x")]


def test_nothing_counts_after_done() -> None:
    """What follows the end is not read."""
    events, decoder = decode(DONE, TEXT, ERROR)
    assert (events, decoder.ending, decoder.records) == ([], Ending.COMPLETE, 1)


def test_finish_reasons_are_kept() -> None:
    """Why the model stopped is worth knowing."""
    assert heard({"type": "finish", "finishReason": "length"}) == [RunFinished("length")]


def test_acting_is_speaking_or_calling_a_tool() -> None:
    """A run that only failed has not acted."""
    assert not decode(START, ERROR)[1].acted
    assert decode(TEXT)[1].acted
    assert decode(("message", '{"type":"tool-input-start","toolCallId":"1"}'))[1].acted


# --- any bytes ---------------------------------------------------------------------------------------------------


async def received(chunks: list[bytes]) -> tuple[list[AgentEvent], Ending]:
    async def body() -> Any:
        for chunk in chunks:
            yield chunk

    decoder = FrameDecoder()
    response = httpx.Response(200, headers={"content-type": "text/event-stream"}, content=body())
    return (
        [event async for sse in EventSource(response).aiter_sse() for event in decoder.push(sse.event, sse.data)],
        decoder.ending,
    )


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [chunk for start, end in pairwise(edges) if (chunk := data[start:end])]


ODD = '{"type":"text-delta","id":"a","delta":"a\u2028b\u0085c\u2029d\u000be \U0001f600 ü\\n"}'


@given(
    name=st.sampled_from(sorted(RECORDED)),
    end=st.sampled_from(["\r\n", "\n", "\r"]),
    places=st.lists(st.integers(min_value=0, max_value=10_000), max_size=60),
)
async def test_where_the_bytes_are_cut_does_not_matter(name: str, end: str, places: list[int]) -> None:
    """Any chunking of a recorded stream's bytes gives the events of the lines it was made of."""
    lines = [ODD, *RECORDED[name]]
    stream = "".join(f": ping{end}{end}id: 1-1{end}data: {line}{end}{end}" for line in lines).encode()
    expected, decoder = decode(*(("message", line) for line in lines))
    assert await received(cut(stream, places)) == (expected, decoder.ending)
    assert expected[0] == TextDelta("a", "a\u2028b\u0085c\u2029d\u000be \U0001f600 ü\n")


json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=())),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)
TOOLS = ["input-start", "input-available", "input-error", "output-available", "output-error", "approval-request"]
KINDS = [
    *("start", "start-step", "finish-step", "finish", "abort", "error", "message-metadata", "file", "data-x"),
    *("text-start", "text-delta", "text-end", "reasoning-delta", "source-url", "source-document"),
    *(f"tool-{step}" for step in TOOLS),
]
FIELDS = [
    *("type", "event", "data", "id", "delta", "toolCallId", "toolName", "url", "title", "filename", "mediaType"),
    *("finishReason", "errorText"),
]
frames = st.dictionaries(st.sampled_from(FIELDS), st.sampled_from(KINDS) | json_values, max_size=6)


@given(
    st.lists(st.tuples(st.sampled_from(["message", "error", "timeout", "", *KINDS]), st.text() | frames | json_values))
)
def test_nothing_that_arrives_raises(records: list[tuple[str, Any]]) -> None:
    """Whatever a record holds, it gives events whose texts can be sent and stored."""
    decoder = FrameDecoder()
    for name, data in records:
        for event in decoder.push(name, data if isinstance(data, str) else json.dumps(data)):
            str(event).encode()
    assert isinstance(decoder.ending, Ending)


# --- whole answers -----------------------------------------------------------------------------------------------


def recorded_messages(name: str) -> list[dict[str, Any]]:
    text = (FRAMES / f"{name}.messages.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.split("\n")[:-1]]


def said_messages(name: str) -> list[dict[str, Any]]:
    return recorded_messages(name)[1:]  # without the user's


@pytest.mark.parametrize("name", sorted(path.stem.split(".")[0] for path in FRAMES.glob("*.messages.jsonl")))
@pytest.mark.parametrize(
    "wrap",
    [
        lambda messages: {"id": "m", "parts": messages},
        lambda messages: messages,
        lambda messages: {"messages": [{"id": "0"}, {"pydantic_message_parts": messages, "message_parts": []}]},
    ],
    ids=["ChatMessage", "list", "Conversation"],
)
def test_whole_answers_say_what_the_stream_says(name: str, wrap: Any) -> None:
    """The recorded messages of a run give the texts and tool steps that its stream gives."""
    events = reply_events(wrap(said_messages(name)))
    streamed, _ = decode(*(("message", line) for line in RECORDED[name]))
    assert "".join(spoken(events)) == "".join(spoken(streamed))
    assert sorted(map(str, tool_steps(events))) == sorted(map(str, tool_steps(streamed)))
    assert isinstance(events[-1], RunFinished)


def test_parts_of_every_kind() -> None:
    """Each part becomes its event; unknown ones and the user's own are passed over."""
    response = {
        "kind": "response",
        "finish_reason": "tool_call",
        "parts": [
            {"part_kind": "thinking", "content": "hm"},
            {"part_kind": "text", "content": "a"},
            {"part_kind": "text", "content": ""},
            {"part_kind": "tool-call", "tool_name": "t", "args": {"q": 1}, "tool_call_id": "1"},
            {"part_kind": "tool-call", "tool_name": "t", "args": '{"q": 1}', "tool_call_id": ""},
            {"part_kind": "builtin-tool-call", "tool_name": "b", "args": None, "tool_call_id": "2"},
            {"part_kind": "builtin-tool-return", "tool_call_id": "2", "content": {}},
            {"part_kind": "file", "content": {"data": "aGk=", "media_type": "text/plain", "kind": "binary"}},
            {"part_kind": "file", "content": None},
            {"part_kind": "compaction", "content": "x"},
        ],
    }
    request = {
        "kind": "request",
        "parts": [
            {"part_kind": "user-prompt", "content": "no"},
            {"part_kind": "tool-return", "tool_name": "t", "tool_call_id": "1", "outcome": "denied"},
            {"part_kind": "retry-prompt", "tool_name": "t", "tool_call_id": "3", "content": []},
            {"part_kind": "retry-prompt", "content": "no tool"},
        ],
    }
    assert reply_events([response, request, 7]) == [
        Reasoning("part-1", "hm"),
        TextDelta("part-2", "a"),
        ToolStarted("1", "t"),
        ToolStarted("2", "b"),
        ToolFinished("2", "b", ok=True),
        FileOffered("data:text/plain;base64,aGk=", "text/plain"),
        ToolFinished("1", "t", ok=False),
        ToolFinished("3", "t", ok=False),
        RunFinished("tool-call"),
    ]


def test_messages_of_older_servers() -> None:
    """Without pydantic parts the older spelling is read: the assistant's content."""
    old = [{"role": "user", "type": "text", "content": "hi"}, {"role": "assistant", "type": "text", "content": "yo"}]
    message = {"id": "m", "message_parts": old, "pydantic_message_parts": []}
    assert reply_events({"messages": [message]}) == [TextDelta("part-2", "yo"), RunFinished()]


@pytest.mark.parametrize("payload", [{"parts": []}, [], {"messages": []}])
def test_an_answer_may_be_silent(payload: object) -> None:
    """An answer without parts is an answer."""
    assert reply_events(payload) == [RunFinished()]


@pytest.mark.parametrize("payload", [None, 7, "text", {}, {"detail": "no"}, {"parts": "x"}, [1, 2], {"messages": [7]}])
def test_what_is_no_answer(payload: object) -> None:
    """Anything else gives nothing, not even an end."""
    assert reply_events(payload) == []


@given(json_values)
def test_no_payload_raises(payload: Any) -> None:
    """Whatever the JSON, it is read or refused, never an exception."""
    for wrapped in (payload, {"parts": payload}, {"parts": [{"parts": payload}]}, {"messages": [payload]}):
        str(reply_events(wrapped)).encode()


# --- reasons -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("payload", "words"),
    [
        ({"detail": "Not Found"}, "Not Found"),
        ({"message": "no"}, "no"),
        ({"error": {"message": "deep"}}, "deep"),
        (
            {"detail": [{"loc": ["query", "id"], "msg": "bad", "input": "secret"}, {"msg": "worse"}]},
            "query.id: bad; worse",
        ),
        ({"detail": [7, {"loc": "x"}]}, ""),
        ({"detail": {"input": "secret"}}, ""),
        ("plain", "plain"),
        (7, ""),
    ],
)
def test_reasons_of_errors(payload: object, words: str) -> None:
    """Why something failed, without what was sent."""
    assert reason(payload) == words
