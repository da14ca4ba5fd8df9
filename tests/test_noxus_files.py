"""What an agent made is found in whatever its tools say, and nothing else is taken for it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slackbot.domain import FileOffered
from slackbot.noxus import files
from slackbot.noxus.events import FrameDecoder, reply_events
from slackbot.noxus.files import frame_offers, name_in, offered, offers
from slackbot.simulator.noxus import recorded

ID = "3c90c3cc-0d44-4b50-8888-8dd25736052a"
OTHER = "8f14e45f-ceea-467f-a0e6-2d3b1c5d7a90"
AT = f"/v1/file/{ID}"


@pytest.mark.parametrize(
    ("payload", "offer"),
    [
        ({"file_id": ID, "name": "r.csv"}, FileOffered(AT, "", "r.csv", guessed=True)),
        ({"id": ID, "name": "Our plan.ODT"}, FileOffered(AT, "", "Our plan.ODT", guessed=True)),
        ({"fileId": ID, "filename": "r.csv", "mediaType": "text/csv"}, FileOffered(AT, "text/csv", "r.csv")),
        ({"id": ID.upper(), "content_type": "text/csv"}, FileOffered(AT, "text/csv")),
        ({"id": ID, "type": "application/pdf", "name": " My report "}, FileOffered(AT, "application/pdf", "My report")),
        ({"id": ID, "uri": f"noxus://x{AT}", "filename": "a b"}, FileOffered(AT, "", "a b")),
        ({"url": f"https://noxus.example/api{AT}?x=1", "name": "a"}, FileOffered(AT, "", "a")),
        (f"Here: https://noxus.example{AT}.", FileOffered(AT, "")),
        ({"text": f"see {AT} for more", "name": "Ada"}, FileOffered(AT, "")),
        (json.dumps({"file": {"id": ID, "name": "r.csv"}}), FileOffered(AT, "", "r.csv", guessed=True)),
        (" " + json.dumps([json.dumps({"file_id": ID, "name": "r.csv"})]), FileOffered(AT, "", "r.csv", guessed=True)),
        ({"content": [{"type": "text", "text": f'{{"file_id":"{ID}","name":"r.csv"}}'}]},
         FileOffered(AT, "", "r.csv", guessed=True)),
        (f"{{no json {AT}", FileOffered(AT, "")),
        ("[" * 100_000 + AT, FileOffered(AT, "")),
        ({"kind": "binary", "data": "aGk=", "media_type": "image/png"},
         FileOffered("data:image/png;base64,aGk=", "image/png")),
        ({"type": "image", "data": "aGk=", "mimeType": "image/png", "name": "a.png"},
         FileOffered("data:image/png;base64,aGk=", "image/png", "a.png")),
    ],
)  # fmt: skip
def test_where_files_are_found(payload: object, offer: FileOffered) -> None:
    """By id beside a name or type, by address, as binary content; in objects, lists, and JSON inside of strings."""
    assert offers(payload, "some_tool") == [offer]
    assert offers({"a": [1, {"b": payload}]}, "some_tool") == [offer]


@pytest.mark.parametrize(
    "payload",
    [
        {"id": ID, "name": "Ada Lovelace"},
        {"id": ID, "title": "r.csv"},
        {"users": [{"id": ID, "name": "ada@example.csv"}]},
        {"companies": [{"id": ID, "name": "Booking.com"}, {"id": ID, "name": "Example.AI"}]},
        {"id": ID, "name": ".csv"},
        {"id": ID, "name": "see section 4.2"},
        {"id": ID},
        {"file_id": ID},
        {"id": "17", "name": "r.csv"},
        {"id": f"{ID}0", "name": "r.csv"},
        {"id": ID, "name": "v1.2", "type": "document"},
        {"name": "r.csv", "content_type": "text/csv"},
        f"/v1/file/{ID}0",
        "/v1/file/r.csv",
        {"data": "aGk=", "media_type": "image/png"},
        {"kind": "binary", "data": "aGk="},
        {"kind": "binary", "data": "ü", "media_type": "image/png"},
        {"kind": "binary", "data": "", "media_type": "image/png"},
        {"kind": "binary", "data": {"x": 1}, "media_type": "image/png"},
        [{}, "[File: image/png]"],
        {"results": [{"title": "An example", "snippet": "sunny"}]},
        None, True, 7, 1.5, "", [], {},
    ],
)  # fmt: skip
def test_what_is_no_file(payload: object) -> None:
    """People, pages, versions, and ids alone."""
    assert offers(payload, "some_tool") == []


@pytest.mark.parametrize("tool", ["create_files", "present_file", "createFile", "image_generation", "docx", "Export"])
def test_what_tools_return_that_make_files(tool: str) -> None:
    """There what is called a file's id is enough."""
    assert offers({"ok": True, "file_id": ID}, tool) == [FileOffered(AT, "", guessed=True)]
    assert offers({"fileId": ID, "name": "Report"}, tool) == [FileOffered(AT, "", "Report", guessed=True)]
    assert offers({"id": ID}, tool) == []


@pytest.mark.parametrize("tool", ["create_issue", "linear_create_issue", "create_contact", "create_calendar_event"])
def test_what_is_made_besides_files(tool: str) -> None:
    """A ticket, a person or a meeting has an id and a name, too."""
    assert offers({"issue": {"id": ID, "name": "Fix the login"}, "owner": {"id": ID, "name": "a@b.csv"}}, tool) == []


@pytest.mark.parametrize(
    "tool", ["kb_qa", "web_research", "attach_file", "read_file", "listFiles", "memory", "noxus_qa"]
)
def test_what_tools_return_that_look_things_up(tool: str) -> None:
    """Their finds are not what the agent made, however much they look like it."""
    found = {"file_id": ID, "name": "handbook.pdf", "content_type": "application/pdf", "url": AT}
    assert offers([found], tool) == []
    assert len(offers([found], f"{tool}_and_create")) == 1


def test_each_file_once_in_order() -> None:
    """However often it is named; what is said of it first counts."""
    payload = [{"file_id": ID, "name": "a.csv"}, f"{AT} /v1/file/{OTHER}", {"file_id": ID.upper(), "name": "b.csv"}]
    assert offers(payload) == [FileOffered(AT, "", "a.csv", guessed=True), FileOffered(f"/v1/file/{OTHER}", "")]


@pytest.mark.parametrize(
    ("frame", "url"),
    [
        ({"type": "data-file", "id": OTHER, "data": {"id": ID, "name": "r.csv"}}, AT),
        ({"type": "data-file", "id": ID, "data": {"name": "r.csv"}}, AT),
        ({"type": "data-x", "data": [{"file_id": ID, "name": "r.csv"}]}, AT),
        ({"id": ID, "name": "r.csv"}, AT),
    ],
)
def test_data_frames(frame: dict[str, Any], url: str) -> None:
    """The id may be the frame's own or its data's, which counts more."""
    assert frame_offers(frame) == [FileOffered(url, "", "r.csv", guessed=True)]


def heard(*frames: dict[str, Any]) -> list[FileOffered]:
    decoder = FrameDecoder()
    events = [event for frame in frames for event in decoder.push("message", json.dumps(frame))]
    return [event for event in events if isinstance(event, FileOffered)]


MADE = {"file_id": ID, "name": "r.csv", "content_type": "text/csv"}


def test_what_a_stream_offers() -> None:
    """Outputs of tools, once they are final, and frames; neither what tools are asked nor what they look up."""
    asked = {"type": "tool-input-available", "toolCallId": "c", "toolName": "present_file", "input": MADE}
    came = {"type": "tool-output-available", "toolCallId": "c", "output": json.dumps(MADE)}
    looked = {"type": "tool-input-available", "toolCallId": "c", "toolName": "kb_qa", "input": {}}
    offer = FileOffered(AT, "text/csv", "r.csv")
    assert heard(asked) == []
    assert heard(asked, {**came, "preliminary": True}) == []
    assert heard(asked, came) == heard(came) == [offer]
    assert heard(looked, came) == []
    assert heard({"event": "data-file", "data": {"id": OTHER, "data": MADE}}) == [offer]
    assert heard({"type": "file", "url": f"https://noxus.example{AT}", "mediaType": "text/csv"}) == [
        FileOffered(AT, "text/csv")
    ]


def test_what_a_whole_answer_offers() -> None:
    """The same, of what its tools returned and the model made."""
    back = {"part_kind": "tool-return", "tool_name": "create_file", "tool_call_id": "c", "content": MADE}
    drawn = {"part_kind": "file", "content": {"data": "aGk=", "media_type": "image/png", "kind": "binary"}}
    picture = {**back, "tool_name": "image_generation", "content": drawn["content"]}
    failed, looked = {**back, "outcome": "failed"}, {**back, "tool_name": "read_file"}
    offers = [
        [event for event in reply_events({"parts": [part]}) if isinstance(event, FileOffered)]
        for part in (back, drawn, picture, failed, looked)
    ]
    png = FileOffered("data:image/png;base64,aGk=", "image/png")
    assert offers == [[FileOffered(AT, "text/csv", "r.csv")], [png], [png], [], []]


def test_one_spelling_for_the_addresses_of_a_file() -> None:
    """Whatever the host and prefix; other addresses and data stay as they are."""
    assert offered(f"https://noxus.example/api/V1/FILE/{ID}".lower(), "", "").url == AT
    assert offered(f"{AT}/content?x=1", "a/b", "c") == FileOffered(AT, "a/b", "c")
    for url in ("https://example.com/v1/file/f1", f"data:text/plain,{AT}", "u", f"{AT}-1"):
        assert offered(url, "", "").url == url


def test_recorded_runs_hold_no_surprises() -> None:
    """Of all the recorded tools one made a file."""
    found = {
        offer.name
        for name in recorded.names()
        for frame in recorded.frames(name)
        if frame["type"] == "tool-output-available"
        for offer in offers(frame["output"], "some_tool")
    }
    assert found == {"r.csv"}


leaves = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=30),
    st.sampled_from([ID, AT, "r.csv", "text/csv", "binary", "aGk=", "{", "[", f'["{AT}"]', "\ud800"]),
)  # fmt: skip
keys = st.sampled_from(["id", "file_id", "name", "filename", "type", "content_type", "data", "kind", "url", "x"])
json_values = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=5) | st.dictionaries(keys | st.text(max_size=3), inner, max_size=5)
)
tools = st.sampled_from(["", "create_file", "search", "x"])


@settings(max_examples=200)
@given(json_values, tools)
def test_nothing_raises(payload: Any, tool: str) -> None:
    """Whatever the JSON, the offers are few and one of two kinds of address."""
    for found in (offers(payload, tool), frame_offers({"type": "data-x", "data": payload})):
        assert len(found) == len({offer.url for offer in found}) <= files.MOST_OFFERS
        assert all(offer.url.startswith(("/v1/file/", "data:")) for offer in found)


@settings(max_examples=200)
@given(
    wraps=st.lists(st.sampled_from(["list", "dict", "text", "beside"]), max_size=10),
    beside=json_values,
)
def test_a_file_is_found_under_any_nesting(wraps: list[str], beside: Any) -> None:
    """Lists, objects and JSON texts, in each other, next to anything."""
    payload: Any = {"file_id": ID, "name": "the.file", "content_type": "text/csv"}
    for wrap in wraps:
        match wrap:
            case "list":
                payload = [payload]
            case "dict":
                payload = {"result": payload}
            case "text":
                payload = json.dumps([payload])
            case _:
                payload = [payload, beside]
    assert FileOffered(AT, "text/csv", "the.file") in offers(payload)


def test_the_work_is_bounded() -> None:
    """Of what is huge, deep or full of files only so much is looked at; binary content may be of any size."""
    many = [{"file_id": f"{number:08x}{ID[8:]}", "name": "a.csv"} for number in range(1000)]
    assert len(offers(many)) == files.MOST_OFFERS
    assert offers([0] * files.MOST_NODES + [AT]) == []
    assert offers(["x" * files.MOST_CHARS, AT]) == []
    assert offers(["x" * (files.MOST_CHARS + 1), AT]) == [FileOffered(AT, "")]
    deep: Any = AT
    for _ in range(100):
        deep = [deep]
    assert offers(deep) == []
    big = {"kind": "binary", "data": "A" * (files.MOST_CHARS + 4), "media_type": "a/b"}
    assert offers([big, AT])[1] == FileOffered(AT, "")


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ('attachment; filename="a b.csv"', "a b.csv"),
        ("attachment; filename=a.csv", "a.csv"),
        ("attachment; filename*=utf-8''%C3%BC.csv", "ü.csv"),
        ("inline", ""),
        ("", ""),
        ("attachment; filename*=nothing''%ff", "ÿ"),
        ("attachment; filename*0=a; filename*1=b", "ab"),
    ],
)
def test_names_in_headers(header: str, name: str) -> None:
    """In every usual spelling."""
    assert name_in(header) == name


@given(st.text() | st.text(st.sampled_from("filename*=0'\"%; atchme-8\r\n\0ü")))
def test_no_header_raises(header: str) -> None:
    """Whatever a server says."""
    assert isinstance(name_in(f"attachment; {header}"), str)
