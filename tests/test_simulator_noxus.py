"""The simulated Noxus: its script, its streams, and every switch and fault that other tests rely on."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import sys
import time
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable
from contextlib import aclosing
from itertools import count
from typing import Any

import httpx
import pytest
from httpx_sse import ServerSentEvent, aconnect_sse
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from slackbot.simulator.noxus import NoxusSimulator, Switches, agents, history, prose, recorded, script
from slackbot.simulator.noxus.faults import Faults

COMMANDS = (
    "/say *hello* there", "/words 5", "/long 900", "/tool lookup", "/think", "/fail", "/cut", "/hang", "/timeout",
    "/steps", "/steps 1",
    "/human", *(f"/human {way}" for way in script.HUMAN_WAYS),
    "/silent", "/approve", "/wait 2", "/frames multi_step", "/frames nothing", "/file a.csv", "/help", "help",
)  # fmt: skip


# --- the script ------------------------------------------------------------------------------------------------------


def steps_of(content: str, **values: Any) -> list[script.Step]:
    """The steps of an answer under numbered ids."""
    numbers = count(1)
    return list(script.answer(script.Turn(content, lambda: f"id{next(numbers)}", **values)))


def frames_of(content: str, **values: Any) -> list[dict[str, Any]]:
    """The frames among the steps."""
    return [step.frame for step in steps_of(content, **values) if isinstance(step, script.Emit)]


def said(frames: Iterable[dict[str, Any]]) -> str:
    """All text, the blocks glued."""
    return "".join(frame["delta"] for frame in frames if frame["type"] == "text-delta")


def check_frames(frames: list[dict[str, Any]]) -> None:
    """Fail unless the frames are a run as pydantic-ai writes it."""
    kinds = [frame["type"] for frame in frames]
    assert kinds[0] == "start"
    assert kinds[-1] == "finish"
    assert kinds.count("start-step") == kinds.count("finish-step") > 0
    opened: list[str] = []
    ids: list[str] = []
    for frame in frames:
        block, _, part = frame["type"].rpartition("-")
        if part == "start" and "id" in frame:
            opened.append(f"{block} {frame['id']}")
            ids.append(frame["id"])
        elif part == "delta" and "id" in frame:
            assert f"{block} {frame['id']}" in opened
            assert frame["delta"]
        elif part == "end":
            opened.remove(f"{block} {frame['id']}")
    assert not opened or "error" in kinds or said(frames).endswith("importa")  # broken off, and then silence
    assert len(ids) == len(set(ids))
    json.dumps(frames)


@given(st.text() | st.builds(" ".join, st.lists(st.sampled_from([*COMMANDS, "a", "rate=9", "-1", "99", "\u2028"]))))
def test_any_message_gets_a_whole_answer(content: str) -> None:
    """Whatever the user writes, the frames of the answer are a valid run."""
    check_frames(frames_of(content))


@given(st.text())
def test_say_answers_exactly_what_it_was_given(text: str) -> None:
    """``/say`` repeats its text to the letter, with written-out line feeds made real."""
    assert said(frames_of(f"/say {text}")) == text.replace("\\n", "\n")


@pytest.mark.parametrize("content", COMMANDS)
def test_every_command_is_a_whole_answer(content: str) -> None:
    """Each command alone plays a valid run, and remembers it as messages."""
    frames = frames_of(content)
    check_frames(frames)
    assert all(message["kind"] in {"request", "response"} for message in history.model_messages(frames, "r", "now"))


def test_the_first_command_wins_wherever_it_stands() -> None:
    """A command may follow the author's name or other lines; what looks like one inside a word is none."""
    assert said(frames_of("Ada: please\n/say one /say two")) == "one /say two"
    assert "You wrote" in said(frames_of("see docs/say or /saying"))


def test_words_come_at_their_rate() -> None:
    """``/words`` says as many words as asked, one every 1/rate seconds after the first token's delay."""
    steps = steps_of("/words 400 rate=50", first_token_delay=0.3)
    assert len(said(frames_of("/words 400 rate=50")).split()) == 400
    assert sum(step.after for step in steps) == pytest.approx(0.3 + 399 / 50)


def test_long_is_about_as_long_as_asked() -> None:
    """``/long`` keeps its blocks whole, so it may go over by one of them."""
    text = said(frames_of("/long 5000"))
    assert 5000 <= len(text) < 5800
    assert all(mark in text for mark in ("## ", "```python", "| --- |", "\n- ", "\n1. "))


def test_a_reply_counts_quotes_and_remembers() -> None:
    """The ordinary answer names the number of the message, quotes it, and what was asked before."""
    text = prose.reply("context\n\nHow are\nyou?", ("First thing", "Second thing"), ("a.txt",))
    assert "> How are you?\n" in text
    assert "message 3 of this conversation" in text
    assert "Earlier you asked: *First thing*; *Second thing*." in text
    assert "You attached `a.txt`." in text


def test_steps_are_a_longer_piece_of_work() -> None:
    """Thoughts, a tool with words of its own, text, a tool that is not shown, silence as long as asked, the answer."""
    for content, silence in (("/steps", 12.0), ("/steps 3", 3.0), ("/steps 0", 0.0)):
        steps = [step for step in steps_of(content) if isinstance(step, script.Emit)]
        kinds = [step.frame["type"] for step in steps]
        order = ["reasoning-start", "tool-input-start", "text-start", "tool-input-start", "text-start"]
        assert [kind for kind in kinds if kind in order] == order
        called = [step.frame["toolName"] for step in steps if step.frame["type"] == "tool-input-start"]
        shown = {tool["type"]: tool for tool in agents.settings()["base_tools"]}
        assert [shown[name]["visible"] for name in called] == [True, False]
        assert [step.after for step in steps if step.frame["type"] == "tool-output-available"] == [silence / 6] * 2
        assert [step.after for step in steps if step.frame["type"] == "text-start"] == [0.0, silence]


def test_approval_is_marked_only_by_the_newer_protocol() -> None:
    """AI SDK 6 says that a tool waits for approval, 5 just ends."""
    counts = [Counter(frame["type"] for frame in frames_of("/approve", sdk_version=version)) for version in (5, 6)]
    assert [found["tool-approval-request"] for found in counts] == [0, 1]
    assert [found["tool-output-available"] for found in counts] == [0, 0]


@pytest.mark.parametrize("name", recorded.names())
def test_recordings_play_under_fresh_ids(name: str) -> None:
    """A recording keeps its frames but not the ids of blocks and calls, and its messages follow suit."""
    frames, original = frames_of(f"/frames {name}"), recorded.frames(name)
    assert [frame["type"] for frame in frames] == [frame["type"] for frame in original]
    check_frames(frames)
    assert said(frames) == said(original)
    calls = {frame["toolCallId"] for frame in frames if "toolCallId" in frame}
    assert not calls & {frame.get("toolCallId") for frame in original}
    recalls = [step for step in steps_of(f"/frames {name}") if isinstance(step, script.Recall)]
    remembered = {part["tool_call_id"] for r in recalls for m in r.messages for part in m["parts"] if "args" in part}
    assert not recalls or remembered == calls


@pytest.mark.parametrize("name", [name for name in recorded.names() if name != "tool_returns_binary"])
def test_history_is_what_pydantic_ai_would_keep(name: str) -> None:
    """Messages rebuilt from the frames equal the recorded ones, but for times, ids and names of models.

    A tool's binary result is lost on the wire, so that recording cannot be rebuilt."""

    def essence(messages: list[dict[str, Any]]) -> list[tuple[str, list[dict[str, Any]]]]:
        dropped = {"timestamp"}
        return [
            (m["kind"], [{key: value for key, value in part.items() if key not in dropped} for part in m["parts"]])
            for m in messages
        ]

    kept = recorded.messages(name)
    rebuilt = history.model_messages(recorded.frames(name), "run", "now")
    assert kept is None or essence(rebuilt) == essence(kept)
    assert kept is None or all(set(old) == set(new) for old, new in zip(kept, rebuilt, strict=True))


# --- switches and faults, as values ----------------------------------------------------------------------------------


def test_every_switch_names_its_source() -> None:
    """No behaviour without a word on where it comes from."""
    assert [name for name, field in Switches.model_fields.items() if "Source: " not in (field.description or "")] == []


def test_switches_refuse_what_they_do_not_offer() -> None:
    """A misspelt name or value is an error, and changes nothing."""
    switches = Switches()
    with pytest.raises(ValidationError):
        switches.idle_events = "never"  # type: ignore[assignment]  # the wrong value is the point
    with pytest.raises(ValidationError):
        switches.change(rate=5, replay="sometimes")
    with pytest.raises(ValidationError):
        NoxusSimulator(no_such_switch=1)
    assert switches == Switches()
    switches.change(rate=5, replay="live")
    assert (switches.rate, switches.replay) == (5.0, "live")


def test_faults_are_counted() -> None:
    """A fault spares the first ``after`` requests of its path and hits ``times`` of the next."""
    faults = Faults()
    faults.add(path="get", status=500, after=1, times=2)
    faults.add(status=429, times=None)
    hits = [(fault := faults.take(path)) and fault.status for path in ("get", "me", "get", "get", "get")]
    assert hits == [429, 429, 500, 500, 429]
    faults.clear()
    assert faults.take("get") is None


@pytest.mark.parametrize("wrong", [{"path": "nowhere", "status": 500}, {"drop": "sometimes"}, {"path": "get"}])
def test_an_impossible_fault_is_refused(wrong: dict[str, Any]) -> None:
    """An unknown path or drop, or a fault that does nothing, is an error."""
    with pytest.raises(ValueError, match=r"unknown|needs"):
        Faults().add(**wrong)


# --- a client --------------------------------------------------------------------------------------------------------


class Api:
    """A small client of the simulated Noxus."""

    def __init__(self, nox: NoxusSimulator, http: httpx.AsyncClient) -> None:
        self.nox = nox
        self.http = http

    async def create(self) -> str:
        """A new conversation with the simulated agent."""
        answer = await self.http.post(
            "/v1/conversations", params={"assistant_id": self.nox.agent_id}, json={"name": "a thread", "settings": None}
        )
        conversation_id: str = answer.raise_for_status().json()["id"]
        return conversation_id

    async def get(self, conversation_id: str) -> dict[str, Any]:
        """The conversation as the API shows it."""
        shown: dict[str, Any] = (await self.http.get(f"/v1/conversations/{conversation_id}")).raise_for_status().json()
        return shown

    async def texts(self, conversation_id: str) -> list[str]:
        """What both sides said, by the legacy parts."""
        return [message["message_parts"][0]["content"] for message in (await self.get(conversation_id))["messages"]]

    async def records(self, conversation_id: str, content: str, **query: str) -> AsyncGenerator[ServerSentEvent, None]:
        """The SSE events of a streamed answer, as they come."""
        async with aconnect_sse(
            self.http, "POST", f"/v1/conversations/{conversation_id}/stream", params=query, json={"content": content}
        ) as source:
            source.response.raise_for_status()
            async for record in source.aiter_sse():
                yield record

    async def ask(self, conversation_id: str, content: str) -> list[dict[str, Any]]:
        """The frames of a streamed answer."""
        records = [record async for record in self.records(conversation_id, content, format="json")]
        return [record.json()["data"] for record in records if record.event == "message"]

    async def attach(self, conversation_id: str, **query: str) -> list[ServerSentEvent]:
        """The SSE events of the run in progress, to their end."""
        path = f"/v1/conversations/{conversation_id}/events"
        async with aconnect_sse(self.http, "GET", path, params={"format": "json", **query}) as source:
            source.response.raise_for_status()
            return [record async for record in source.aiter_sse()]


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    """A quick simulated Noxus and its client."""
    nox = NoxusSimulator(rate=2000, first_token_delay=0)
    await nox.start()
    async with httpx.AsyncClient(base_url=nox.url, headers={"X-API-Key": nox.api_key}, timeout=10) as http:
        yield Api(nox, http)
    await nox.stop()


def inner(records: Iterable[ServerSentEvent]) -> list[dict[str, Any]]:
    """The frames inside the envelopes."""
    return [record.json()["data"] for record in records if record.event == "message"]


async def until(condition: Callable[[], object]) -> None:
    """Wait, for five seconds at most, until something holds."""
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.005)


# --- the plain API ---------------------------------------------------------------------------------------------------


async def test_a_conversation_from_creation_to_deletion(api: Api) -> None:
    """Create, rename, talk, list and delete; etag and time change with the content."""
    one = await api.create()
    before = await api.get(one)
    assert (before["status"], before["manual"], before["messages"]) == ("idle", False, [])
    assert before["settings"]["usage_limits_max_messages"] == 100
    page = (await api.http.get("/v1/conversations")).json()
    assert page == {"items": [], "total": 0, "page": 1, "size": 50, "pages": 0}

    answer = (await api.http.post(f"/v1/conversations/{one}/chat", json={"content": "/say Yes."})).json()
    assert [part["content"] for message in answer["parts"] for part in message["parts"]] == ["Yes."]
    renamed = (await api.http.patch(f"/v1/conversations/{one}", json={"name": "new", "settings": None})).json()
    assert (renamed["name"], renamed["settings"]) == ("new", before["settings"])
    after = await api.get(one)
    assert after["etag"] != before["etag"]
    assert after["last_updated_at"] > before["last_updated_at"]
    assert [message["message_parts"][0]["role"] for message in after["messages"]] == ["user", "assistant"]
    assert after["messages"][0]["pydantic_message_parts"][0]["parts"][0]["part_kind"] == "user-prompt"
    page = (await api.http.get("/v1/conversations", params={"size": 1, "assistant_id": api.nox.agent_id})).json()
    assert [item["id"] for item in page["items"]] == [one]
    assert "messages" not in page["items"][0]

    assert (await api.http.delete(f"/v1/conversations/{one}")).status_code == 200
    assert (await api.http.get(f"/v1/conversations/{one}")).status_code == 404


async def test_a_chat_flow_needs_no_agent(api: Api) -> None:
    """A conversation binds to a known chat flow by its settings alone."""
    created = await api.http.post(
        "/v1/conversations", json={"name": "x", "settings": {"agent_flow_id": api.nox.flow_id}}
    )
    assert (created.json()["assistant_id"], created.json()["settings"]["temperature"]) == (None, 0.7)
    unknown = await api.http.post("/v1/conversations", json={"name": "x", "settings": {"agent_flow_id": "nope"}})
    assert unknown.status_code == 404


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "where"),
    [
        ("POST", "/v1/conversations?assistant_id={agent}", "{}", 422, ["body", "name"]),
        ("POST", "/v1/conversations?assistant_id={agent}", "{", 422, ["body"]),
        ("POST", "/v1/conversations?assistant_id={agent}", '{"name": "\\ud800"}', 422, ["body"]),
        ("POST", "/v1/conversations?assistant_id=agent", '{"name": "x"}', 422, ["query", "assistant_id"]),
        ("POST", "/v1/conversations", '{"name": "x"}', 422, ["query", "assistant_id"]),
        ("POST", f"/v1/conversations?assistant_id={'0' * 8}-0000-4000-8000-{'0' * 12}", '{"name": "x"}', 404, None),
        ("GET", "/v1/conversations?size=101", "", 422, ["query", "size"]),
        ("GET", "/v1/conversations?page=0", "", 422, ["query", "page"]),
        ("POST", "/v1/conversations/{id}/stream?format=xml", '{"content": "x"}', 422, ["query", "format"]),
        ("POST", "/v1/conversations/{id}/stream", '{"content": 5}', 422, ["body", "content"]),
        ("POST", "/v1/conversations/{id}/chat", '{"files": [{"name": "a"}]}', 422, ["body", "files", 0]),
        ("POST", "/v1/conversations/{id}/chat", '{"files": [{"name": "a", "url": "http://10.0.0.1/a"}]}', 422,
         ["body", "files", 0, "url"]),
        ("POST", "/v1/conversations/{id}/chat", '{"files": [{"name": "a", "b64_content": "?"}]}', 422,
         ["body", "files", 0, "b64_content"]),
        ("POST", "/v1/conversations/unknown/stream", '{"content": "x"}', 404, None),
        ("GET", "/v1/agents/unknown", "", 404, None),
        ("GET", "/v1/file/unknown", "", 404, None),
        ("POST", "/v1/file", "", 422, ["body", "file"]),
        ("GET", "/v1/nothing", "", 404, None),
        ("PUT", "/v1/agents", "", 405, None),
    ],
)  # fmt: skip
async def test_refusals_look_like_fastapis(
    api: Api, method: str, path: str, body: str, status: int, where: list[str | int] | None
) -> None:
    """Bad input gets 422 with a list that says where, and what is unknown gets a 404 with a sentence."""
    address = path.format(agent=api.nox.agent_id, id=await api.create())
    answer = await api.http.request(method, address, content=body, headers={"Content-Type": "application/json"})
    detail = answer.json()["detail"]
    assert answer.status_code == status
    assert detail[0]["loc"][: len(where)] == where if where else isinstance(detail, str)
    assert answer.headers["x-request-id"]


@pytest.mark.parametrize("status", [401, 403])
async def test_a_wrong_key_is_refused(api: Api, status: int) -> None:
    """Without the right key nothing is answered, with the status of the switch."""
    api.nox.switches.change(bad_key_status=status)
    for key in ({"X-API-Key": "wrong"}, {"X-API-Key": ""}):
        assert (await api.http.get("/v1/agents", headers=key)).status_code == status
    assert (await api.http.get("/v1/admin/me")).json()["value"] == ""


async def test_agents_flows_tools_and_presets(api: Api) -> None:
    """The lists an adapter reads have the documented shapes."""
    agents = (await api.http.get("/v1/agents", params={"size": 100})).json()["items"]
    assert api.nox.agent_id in {agent["id"] for agent in agents}
    agent = (await api.http.get(f"/v1/agents/{api.nox.agent_id}")).json()
    assert agent["definition"]["introductory_message"]
    assert "human_in_the_loop" in {tool["type"] for tool in agent["definition"]["base_tools"]}
    assert "human_in_the_loop" in (await api.http.get("/v1/agents/tool-schemas")).json()
    flows = (await api.http.get("/v1/workflows", params={"type": "agent_flow"})).json()
    assert [flow["id"] for flow in flows["items"]] == [api.nox.flow_id]
    assert "preset:cost" in {preset["value"] for preset in (await api.http.get("/v1/models/llms/presets")).json()}


async def test_a_deleted_agent_takes_no_conversations(api: Api) -> None:
    """Creating a conversation with a deleted agent is refused as with an unknown one."""
    api.nox.agents[api.nox.agent_id]["deleted_at"] = "2026-01-01T00:00:00Z"
    api.nox.switches.unknown_agent_status = 400
    answer = await api.http.post(
        "/v1/conversations", params={"assistant_id": api.nox.agent_id}, json={"name": "a thread"}
    )
    assert answer.status_code == 400


async def test_files_go_up_and_come_down(api: Api) -> None:
    """What was uploaded is downloaded byte for byte."""
    stored = (await api.http.post("/v1/file", files={"file": ("a.txt", b"\x00\xff", "text/plain")})).json()
    assert (stored["filename"], stored["size"], stored["content_type"]) == ("a.txt", 2, "text/plain")
    assert (await api.http.get(f"/v1/file/{stored['id']}")).content == b"\x00\xff"


async def test_attached_files_are_noticed_and_bounded(api: Api) -> None:
    """An inline file becomes part of the message; one over the limit is refused."""
    one = await api.create()
    api.nox.switches.b64_limit = 10
    file = {"name": "a.txt", "type": "text/plain", "b64_content": base64.b64encode(b"0123456789").decode()}
    path = f"/v1/conversations/{one}/chat"
    assert (await api.http.post(path, json={"content": "see", "files": [file]})).status_code == 200
    assert "You attached `a.txt`." in (await api.texts(one))[1]
    content = (await api.get(one))["messages"][0]["pydantic_message_parts"][0]["parts"][0]["content"]
    assert [content[0], content[1]["kind"]] == ["see", "binary"]
    file["b64_content"] = base64.b64encode(b"0123456789abc").decode()
    assert (await api.http.post(path, json={"content": "see", "files": [file]})).status_code == 413


@pytest.mark.parametrize("style", ["tool_output", "file_frame", "data_frame", "link", "data_uri"])
async def test_the_agents_file_is_found_by_what_the_stream_says(api: Api, style: str) -> None:
    """In every style the stream leads to the file's bytes, by its id or by the data itself."""
    api.nox.switches.change(files_as=style)
    frames = await api.ask(await api.create(), "/file data.csv")
    told = json.dumps(frames) + said(frames)
    file = next(file for file in api.nox.files.values() if file.name == "data.csv")
    assert ("data:text/csv;base64," in told) if style == "data_uri" else (file.id in told)
    assert (await api.http.get(f"/v1/file/{file.id}")).content == file.content


async def test_the_agent_makes_what_it_was_asked_for(api: Api) -> None:
    """Several files, each named in the answer, of the size that was wished; pictures and pages are real ones."""
    api.nox.switches.change(files_as="link", rate=10_000)
    frames = await api.ask(await api.create(), "/file a.png b.pdf c.txt")
    made = {file.name: file for file in api.nox.files.values()}
    links = [f"[{name}]({api.nox.url}/v1/file/{made[name].id})" for name in ("a.png", "b.pdf", "c.txt")]
    assert said(frames) == f"Here are your files: {', '.join(links)}"
    assert made["a.png"].content.startswith(b"\x89PNG")
    assert made["b.pdf"].content.startswith(b"%PDF")
    got = await api.http.get(f"/v1/file/{made['b.pdf'].id}")
    assert got.headers["content-disposition"] == "attachment; filename*=utf-8''b.pdf"
    await api.ask(await api.create(), "/file d.bin size=12345")
    assert next(len(file.content) for file in api.nox.files.values() if file.name == "d.bin") == 12345


async def test_what_came_along_is_summed_up(api: Api) -> None:
    """Name, type, size and the beginning of its SHA-256, for people and for tests; a big one is only referred to."""
    api.nox.switches.change(rate=10_000)
    one = await api.create()
    content = bytes(100_000)
    file = {"name": "a.bin", "type": "a/b", "size": 7, "b64_content": base64.b64encode(content).decode()}
    digest = hashlib.sha256(content).hexdigest()
    answer = await api.http.post(f"/v1/conversations/{one}/chat", json={"content": "/sum", "files": [file]})
    assert answer.status_code == 200
    assert (await api.texts(one))[1] == f"- `a.bin`, a/b, 100000 bytes, {digest[:12]}"
    asked = next(request for request in api.nox.requests if request.endpoint == "chat")
    assert asked.files == [{"name": "a.bin", "type": "a/b", "size": 7, "bytes": 100_000, "sha256": digest}]
    assert asked.body["files"][0]["b64_content"] == "(100000 bytes)"
    message = (await api.get(one))["messages"][0]
    prompt = message["pydantic_message_parts"][0]["parts"][0]["content"]
    assert (await api.http.get(f"/v1/file/{prompt[1]['file_id']}")).content == content
    await api.http.post(f"/v1/conversations/{one}/chat", json={"content": "/sum"})
    assert (await api.texts(one))[3] == "No file came with that."


async def test_deleting_a_conversation_stops_its_run(api: Api) -> None:
    """Whoever still reads the answer of a deleted conversation sees its end."""
    one = await api.create()
    async with aclosing(api.records(one, "/hang", format="json")) as stream:
        await anext(stream)
        await api.http.delete(f"/v1/conversations/{one}")
        assert [record.event async for record in stream][-1] == "timeout"


# --- the stream ------------------------------------------------------------------------------------------------------


async def test_json_format(api: Api) -> None:
    """Envelopes under the stable name ``message``, ids that grow, and ``done``."""
    records = [record async for record in api.records(await api.create(), "/say a\u2028b 😀", format="json")]
    *frames, done = records
    assert {record.event for record in frames} == {"message"}
    assert [record.json()["event"] for record in frames] == [record.json()["data"]["type"] for record in frames]
    assert said(inner(frames)) == "a\u2028b 😀"
    assert (done.event, done.data) == ("done", "{}")
    assert [int(record.id.partition("-")[2]) for record in frames] == list(range(len(frames)))


@pytest.mark.parametrize("query", [{}, {"format": "vercel"}])
async def test_raw_format(api: Api, query: dict[str, str]) -> None:
    """Without ``format`` the frames come raw and ``[DONE]`` closes them."""
    *frames, marker, done = [record async for record in api.records(await api.create(), "/say Hi", **query)]
    check_frames([record.json() for record in frames])
    assert (marker.data, done.event) == ("[DONE]", "done")


async def test_every_variant_of_the_wire_carries_the_same_frames(api: Api) -> None:
    """With and without envelope, type, ids, names and markers, what was said stays the same."""
    one = await api.create()
    api.nox.switches.change(envelope=False, sse_ids=False, line_end="\n")
    frames = [r async for r in api.records(one, "/say Hi", format="json")]
    assert said(r.json() for r in frames[:-1]) == "Hi"
    assert {r.id for r in frames} == {""}

    api.nox.switches.change(envelope=True, inner_type=False, inner_string=True, done_event=False)
    envelopes = [r.json() async for r in api.records(one, "/say Hi", format="json")]
    assert said({"type": e["event"], **json.loads(e["data"])} for e in envelopes) == "Hi"
    assert "type" not in json.loads(envelopes[0]["data"])
    assert envelopes[-1]["event"] == "finish"

    api.nox.switches.change(event_names=True, done_marker=False)
    raw = [r async for r in api.records(one, "/say Hi")]
    assert [r.event for r in raw] == [r.json()["type"] for r in raw]


@pytest.mark.parametrize(("style", "name"), [("frame", "message"), ("event", "error")])
async def test_errors_come_as_frame_or_event(api: Api, style: str, name: str) -> None:
    """``/fail`` tells its error in the style of the switch, and what was said before is remembered."""
    api.nox.switches.change(error_as=style)
    one = await api.create()
    errors = [r async for r in api.records(one, "/fail", format="json") if "overloaded" in r.data]
    assert [record.event for record in errors] == [name]
    assert (await api.texts(one))[1].startswith("I was about to")


async def test_tokens_keep_their_schedule(api: Api) -> None:
    """The pace does not drift: 60 words at 200 a second are there after 0.3 s, however late single ones come."""
    began = time.monotonic()
    await api.ask(await api.create(), "/words 60 rate=200")
    assert 0.29 < time.monotonic() - began < 2


async def test_a_silent_stream_is_kept_alive(api: Api) -> None:
    """Comments come at the interval of the switch while nothing else is to be said."""
    api.nox.switches.keep_alive = 0.05
    path = f"/v1/conversations/{await api.create()}/stream"
    answer = await api.http.post(path, params={"format": "json"}, json={"content": "/wait 0.3"})
    assert 2 <= answer.text.count(": ping\r\n\r\n") <= 7


async def test_a_cut_stream_goes_on_without_its_reader(api: Api) -> None:
    """``/cut`` kills the connection in the middle, and the whole answer ends up in the conversation."""
    one = await api.create()
    with pytest.raises(httpx.RemoteProtocolError):
        await api.ask(one, "/cut")
    conversation = api.nox.conversations[one]
    await until(lambda: conversation.status == "idle")
    assert conversation.messages[-1].text.endswith("the answer goes on to its end.")


@pytest.mark.parametrize(("goes_on", "length"), [("continue", 3000), ("stop", 0)])
async def test_what_a_run_does_without_its_reader(api: Api, goes_on: str, length: int) -> None:
    """When the reader leaves, the run ends where it is or goes on, by the switch."""
    api.nox.switches.change(on_disconnect=goes_on)
    one = await api.create()
    stream = api.records(one, "/words 3000 rate=3000", format="json")
    async for record in stream:
        if "delta" in record.data:
            break
    await stream.aclose()
    conversation = api.nox.conversations[one]
    await until(lambda: conversation.status == "idle")
    words = len(conversation.messages[-1].text.split())
    assert words == 3000 if length else words < 3000


@pytest.mark.parametrize(("run", "text"), [("stop", "My time runs out"), ("continue", "whatever comes after.")])
async def test_timeout_is_an_event(api: Api, run: str, text: str) -> None:
    """``/timeout`` ends the stream with that event; whether the run goes on is a switch."""
    api.nox.switches.change(timeout_run=run)
    one = await api.create()
    records = [record async for record in api.records(one, "/timeout", format="json")]
    assert records[-1].event == "timeout"
    await until(lambda: api.nox.conversations[one].status == "idle")
    assert text in (await api.texts(one))[1]


async def test_a_hanging_run_meets_the_agents_timeout(api: Api) -> None:
    """``/hang`` falls silent until the agent's own limit, which shows as ``timeout`` and, when blocking, as 504."""
    api.nox.switches.agent_timeout = 0.2
    one = await api.create()
    assert [record async for record in api.records(one, "/hang", format="json")][-1].event == "timeout"
    assert (await api.http.post(f"/v1/conversations/{one}/chat", json={"content": "/hang"})).status_code == 504
    assert (await api.http.post(f"/v1/conversations/{one}/chat", json={"content": "/fail"})).status_code == 500


def human_frames(frames: list[dict[str, Any]]) -> tuple[str, int, int, int]:
    """The text, and how many calls of the tool for humans, outputs and requests for approval there are."""
    kinds = Counter(frame["type"] for frame in frames)
    called = [frame for frame in frames if frame.get("toolName") == "human_in_the_loop"]
    return said(frames), len(called) // 2, kinds["tool-output-available"], kinds["tool-approval-request"]


HUMAN_WAYS: dict[str, tuple[str, int, int, int, bool]] = {
    "deferred": ("I will get a colleague. ", 1, 0, 0, True),
    "plain": ("You are now talking to the co-worker.", 1, 1, 0, True),
    "approval": ("I will get a colleague. ", 1, 0, 1, True),
    "manual": ("", 0, 0, 0, True),
    "wording": ("You are now talking to the co-worker.", 0, 0, 0, False),
}


@pytest.mark.parametrize("way", HUMAN_WAYS)
async def test_ways_to_ask_for_a_human(api: Api, way: str) -> None:
    """By a word behind ``/human`` or by a switch; only the newer protocol marks an approval."""
    *frames, manual = HUMAN_WAYS[way]
    for changes, text in (({"human_as": way}, "/human please"), ({"human_as": "deferred"}, f"/human {way}")):
        for version in (5, 6):
            api.nox.switches.change(sdk_version=version, **changes)
            one = await api.create()
            asked, approvals = frames[:3], frames[3] if version == 6 else 0
            assert human_frames(await api.ask(one, text)) == (*asked, approvals)
            assert (await api.get(one))["manual"] is manual


async def test_a_call_for_a_human_may_keep_its_stream_open(api: Api) -> None:
    """``/human waiting`` says nothing more, while a human has the conversation already."""
    one = await api.create()
    async with aclosing(api.records(one, "/human waiting", format="json")) as stream:
        async for record in stream:
            if "tool-input-available" in record.data:
                break
        assert (await api.get(one))["manual"] is True
        assert (await api.get(one))["status"] == "queued"


async def test_the_words_for_a_handover_are_the_agents(api: Api) -> None:
    """What the tool returns and the agent says then is what its settings say."""
    (tool,) = (t for t in api.nox.agents[api.nox.agent_id]["definition"]["base_tools"] if "handover_message" in t)
    tool |= {"handover_message": "Somebody is here.", "tool_display_message_end": "Called somebody"}
    frames = await api.ask(await api.create(), "/human plain")
    assert said(frames) == "Somebody is here."
    assert [frame["output"] for frame in frames if "output" in frame] == ["Called somebody"]


async def test_a_conversation_that_a_human_has(api: Api) -> None:
    """Its status says so by the switch, and the next message has it back, or gets an answer, or silence."""
    api.nox.switches.change(human_status="awaiting_human")
    for held_agent, text, manual in (("takes_back", "Hi.", False), ("answers", "Hi.", True), ("silent", "", True)):
        api.nox.switches.change(held_agent=held_agent)
        one = await api.create()
        await api.ask(one, "/human")
        shown = await api.get(one)
        assert (shown["manual"], shown["status"]) == (True, "awaiting_human")
        assert said(await api.ask(one, "/say Hi.")) == text
        shown = await api.get(one)
        assert (shown["manual"], shown["status"]) == (manual, "awaiting_human" if manual else "idle")
        api.nox.conversations[one].hand_back()
        assert said(await api.ask(one, "/say Again.")) == "Again."
        assert (await api.get(one))["status"] == "idle"


async def test_asking_for_a_human_marks_the_conversation(api: Api) -> None:
    """``/human`` leaves its tool call open, finishes, and sets ``manual`` unless the switch says no."""
    for flag in (False, True):
        api.nox.switches.manual_flag = flag
        one = await api.create()
        kinds = Counter(frame["type"] for frame in await api.ask(one, "/human"))
        assert (kinds["tool-input-available"], kinds["tool-output-available"], kinds["finish"]) == (1, 0, 1)
        assert (await api.get(one))["manual"] is flag


# --- attaching to a run ----------------------------------------------------------------------------------------------


async def run_in_progress(api: Api) -> tuple[str, str, list[ServerSentEvent]]:
    """A conversation with a run in the middle of an answer: its id, its etag before, and what was seen so far."""
    one = await api.create()
    await api.ask(one, "/say Before.")
    etag = (await api.get(one))["etag"]
    seen: list[ServerSentEvent] = []
    stream = api.records(one, "/words 60 rate=60", format="json")
    async for record in stream:
        seen.append(record)
        if len(seen) == 20:
            break
    await stream.aclose()
    return one, etag, seen


WHOLE = prose.words(60)


@pytest.mark.parametrize("etag_is", ["sse", "conversation"])
async def test_attaching_without_an_etag_replays_from_the_start(api: Api, etag_is: str) -> None:
    """``/events`` gives the whole run and ``done``, also for the etag of the conversation from before the run."""
    api.nox.switches.change(etag_is=etag_is)
    one, etag, _ = await run_in_progress(api)
    first, second = await asyncio.gather(api.attach(one), api.attach(one, etag=etag))
    assert said(inner(first)) == said(inner(second)) == WHOLE
    assert first[-1].event == "done"


async def test_an_etag_resumes_after_the_frame_it_names(api: Api) -> None:
    """With etags that are SSE ids nothing is seen twice and nothing is missed."""
    one, _, seen = await run_in_progress(api)
    assert said(inner(seen) + inner(await api.attach(one, etag=seen[-1].id))) == WHOLE


async def test_an_etag_that_is_ignored_replays_everything(api: Api) -> None:
    """With ``replay=start`` or etags that are versions, an SSE id resumes nothing."""
    for changes in ({"replay": "start"}, {"replay": "etag", "etag_is": "conversation"}):
        api.nox.switches.change(**changes)
        one, _, seen = await run_in_progress(api)
        assert said(inner(await api.attach(one, etag=seen[-1].id))) == WHOLE


async def test_live_replay_tells_only_what_comes(api: Api) -> None:
    """With ``replay=live`` and no etag, what was said before attaching is not repeated."""
    api.nox.switches.replay = "live"
    one, _, _ = await run_in_progress(api)
    text = said(inner(await api.attach(one)))
    assert text
    assert WHOLE.endswith(text)
    assert text != WHOLE


async def test_an_idle_conversation_has_nothing_to_attach_to(api: Api) -> None:
    """Without a run ``/events`` ends at once, is refused, repeats the last run, or waits for the next."""
    one = await api.create()
    await api.ask(one, "/say Hello.")
    assert [record.event for record in await api.attach(one)] == ["done"]
    api.nox.switches.idle_events = "replay"
    assert said(inner(await api.attach(one))) == "Hello."
    api.nox.switches.idle_events = "404"
    with pytest.raises(httpx.HTTPStatusError, match="404"):
        await api.attach(one)
    api.nox.switches.idle_events = "hang"
    attached = asyncio.ensure_future(api.attach(one))
    await until(lambda: [request.status for request in api.nox.requests if request.endpoint == "events"][3:] == [200])
    await api.ask(one, "/say Again.")
    assert said(inner(await attached)) == "Again."


# --- the conversation ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("visible", "shown"), [("post", ["/wait 30"]), ("end", [])])
async def test_when_the_users_message_shows(api: Api, visible: str, shown: list[str]) -> None:
    """A reader of the conversation finds the message at once, or only with the answer."""
    api.nox.switches.change(visible=visible)
    one = await api.create()
    async with aclosing(api.records(one, "/wait 30", format="json")) as stream:
        await anext(stream)
        assert (await api.get(one))["status"] == "queued"
        assert await api.texts(one) == shown


async def test_a_second_message_waits_for_its_turn(api: Api) -> None:
    """By default two messages at once are answered one after the other."""
    one = await api.create()
    async with aclosing(api.records(one, "/words 20 rate=100", format="json")) as first:
        await anext(first)
        assert said(await api.ask(one, "/say Second.")) == "Second."
    assert await api.texts(one) == ["/words 20 rate=100", "/say Second.", prose.words(20), "Second."]


async def test_a_second_message_may_conflict_or_run_beside(api: Api) -> None:
    """The other two behaviours: a 409, and an answer that overtakes the one before."""
    one = await api.create()
    async with aclosing(api.records(one, "/words 100 rate=50", format="json")) as first:
        await anext(first)
        api.nox.switches.second_post = "conflict"
        refused = await api.http.post(f"/v1/conversations/{one}/stream", json={"content": "/say Now."})
        assert refused.status_code == 409
        api.nox.switches.second_post = "interleave"
        assert said(await api.ask(one, "/say Now.")) == "Now."
    assert api.nox.asked == ["/words 100 rate=50", "/say Now."]


@pytest.mark.parametrize("style", ["400", "error_frame"])
async def test_a_full_conversation_takes_no_more(api: Api, style: str) -> None:
    """At the cap a message is refused, or answered with an error frame."""
    api.nox.switches.change(message_cap=2, message_cap_style=style)
    one = await api.create()
    await api.ask(one, "/say Hi")
    answer = await api.http.post(f"/v1/conversations/{one}/stream", json={"content": "more"})
    assert answer.status_code == (400 if style == "400" else 200)
    assert "usage_limits_max_messages" in answer.text


async def test_older_backends_and_titles(api: Api) -> None:
    """History may lack the pydantic parts, and the first answer may rename the conversation."""
    api.nox.switches.change(history="legacy", renames=True)
    one = await api.create()
    await api.ask(one, "What is new?")
    await api.ask(one, "/say Nothing.")
    shown = await api.get(one)
    assert shown["name"] == "What is new?"
    assert {key for message in shown["messages"] for key in message} == {"id", "created_at", "message_parts"}


# --- faults and the process ------------------------------------------------------------------------------------------


async def test_a_fault_answers_for_the_agent(api: Api) -> None:
    """An ordered status comes with its body and ``Retry-After``, and nothing was processed."""
    one = await api.create()
    api.nox.faults.add(path="stream", status=429, retry_after=2, body={"detail": "slow down"})
    api.nox.faults.add(path="stream", status=200, body="<html>", content_type="text/html")
    path = f"/v1/conversations/{one}/stream"
    first, second = [await api.http.post(path, json={"content": "x"}) for _ in range(2)]
    assert (first.status_code, first.headers["Retry-After"], first.json()) == (429, "2", {"detail": "slow down"})
    assert (second.headers["Content-Type"].partition(";")[0], second.text) == ("text/html", "<html>")
    assert api.nox.asked == []
    assert [request.status for request in api.nox.requests][-2:] == [429, 200]
    assert api.nox.requests[-1].body == {"content": "x"}


@pytest.mark.parametrize(
    ("drop", "taken", "expected"), [("before", False, 0), ("after", True, 0), ("headers", True, 1), ("mid", True, 5)]
)
async def test_a_stream_may_die_at_any_place(api: Api, drop: Any, taken: bool, expected: int) -> None:  # noqa: FBT001 - a column
    """Before or after the message was taken, after the headers, or after some frames; a taken run goes on.

    ``expected`` counts the headers and the frames that arrive."""
    one = await api.create()
    api.nox.faults.add(path="stream", drop=drop, frames=4)
    seen = 0

    async def read() -> None:
        nonlocal seen
        path = f"/v1/conversations/{one}/stream?format=json"
        async with aconnect_sse(api.http, "POST", path, json={"content": "/say One two."}) as source:
            seen += 1
            async for _ in source.aiter_sse():
                seen += 1

    with pytest.raises(httpx.RemoteProtocolError):
        await read()
    assert seen == expected
    await until(lambda: api.nox.conversations[one].status == "idle")
    assert [m.text for m in api.nox.conversations[one].messages] == (["/say One two.", "One two."] if taken else [])


@pytest.mark.parametrize(
    ("drop", "statuses", "taken"), [("before", [], 0), ("after", [], 1), ("headers", [200], 1), ("mid", [200], 1)]
)
async def test_a_plain_call_may_die_at_any_place(api: Api, drop: Any, statuses: list[int], taken: int) -> None:
    """The same for a call without a stream: processed or not, the client sees a broken connection."""
    api.nox.faults.add(path="create", drop=drop)
    seen: list[int] = []

    async def call() -> None:
        path = f"/v1/conversations?assistant_id={api.nox.agent_id}"
        async with api.http.stream("POST", path, json={"name": "x"}) as answer:
            seen.append(answer.status_code)
            await answer.aread()

    with pytest.raises(httpx.RemoteProtocolError):
        await call()
    assert (seen, len(api.nox.conversations)) == (statuses, taken)


async def test_a_delay_comes_before_the_answer(api: Api) -> None:
    """A delayed request is answered as ever, later."""
    api.nox.faults.add(delay=0.1)
    began = time.monotonic()
    assert (await api.http.get("/v1/agents")).status_code == 200
    assert time.monotonic() - began >= 0.1


async def test_it_goes_down_and_comes_back(api: Api) -> None:
    """Stopped it refuses connections and cuts streams; started again it knows its conversations, on the same port."""
    one = await api.create()
    stream = api.records(one, "/hang", format="json")
    await anext(stream)
    await api.nox.stop()
    with pytest.raises(httpx.RemoteProtocolError):
        _ = [record async for record in stream]
    with pytest.raises(httpx.ConnectError):
        await api.create()
    address = api.nox.url
    await api.nox.start()
    assert api.nox.url == address
    assert (await api.get(one))["status"] == "idle"
    assert said(await api.ask(one, "/say Back.")) == "Back."


async def test_an_address_before_the_first_start_is_an_error() -> None:
    """There is no address to give before the port is known."""
    with pytest.raises(RuntimeError):
        _ = NoxusSimulator().url


async def test_it_serves_under_a_path() -> None:
    """Self-hosted installations have the API under a path such as ``/api/backend``."""
    nox = NoxusSimulator(prefix="/api/backend/")
    await nox.start()
    async with httpx.AsyncClient(headers={"X-API-Key": nox.api_key}) as http:
        assert nox.url.endswith("/api/backend")
        assert (await http.get(f"{nox.url}/v1/agents")).status_code == 200
    await nox.stop()


async def test_it_runs_in_a_process_of_its_own() -> None:
    """The process tells its address in one line, takes faults and switches over HTTP, and ends at SIGTERM."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "slackbot.simulator.noxus", "--set", "rate=500", "--set", "message_cap_style=400",
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    told = json.loads(await process.stdout.readline())
    async with httpx.AsyncClient(base_url=told["url"], headers={"X-API-Key": told["api_key"]}) as http:
        assert (await http.post("/sim/switches", json={"idle_events": "404"})).json()["rate"] == 500
        assert (await http.post("/sim/switches", json={"idle_events": "x"})).status_code == 422
        assert (await http.post("/sim/faults", json={"path": "agents", "status": 503})).status_code == 200
        assert (await http.post("/sim/faults", json={"path": "x"})).status_code == 422
        assert [(await http.get("/v1/agents")).status_code for _ in range(2)] == [503, 200]
        await http.post("/sim/faults", json={"path": "agents", "status": 503})
        await http.delete("/sim/faults")
        assert (await http.get("/v1/agents")).status_code == 200
        noted = (await http.get("/sim/requests", params={"since": "1"})).json()
        assert [(request["endpoint"], request["status"]) for request in noted] == [("agents", 200)] * 2
    process.terminate()
    assert await process.wait() == 0


async def test_a_wrong_switch_on_the_command_line_is_told() -> None:
    """A misspelt switch ends the process with code 2 and its name."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "slackbot.simulator.noxus", "--set", "rates=5", stderr=asyncio.subprocess.PIPE
    )
    _, errors = await process.communicate()
    assert process.returncode == 2
    assert b"rates" in errors
    assert b"Traceback" not in errors
