"""What becomes of an answer whose connection breaks, on real sockets: whatever Noxus may turn out to do about it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import combinations, product
from typing import Any

import pytest

from slackbot.domain import AgentEvent, AgentTarget, RunFinished, StartedOver, TextDelta, ToolFinished, ToolStarted
from slackbot.errors import (
    AgentError,
    AgentRunFailed,
    AgentTimedOut,
    AgentUnavailable,
    Interrupted,
    StreamBroken,
)
from slackbot.noxus import recovery
from slackbot.noxus.client import NoxusClient
from slackbot.simulator.noxus import NoxusSimulator
from slackbot.text.question import digest
from tests.test_noxus_client import Backend, Handler, answer, backend, connected, reset, says, stream
from tests.test_noxus_hearing import text_of

__all__ = ["backend"]

QUESTION = "/words 30 rate=300"
TOOL = "/tool web_research"
SWITCHES: dict[str, tuple[Any, ...]] = {
    "idle_events": ("done", "404", "hang", "replay"),
    "replay": ("etag", "start", "live"),
    "etag_is": ("sse", "conversation"),
    "visible": ("post", "end"),
    "sse_ids": (True, False),
    "history": ("both", "legacy"),
    "on_disconnect": ("continue", "stop"),
    "finish_reasons": (True, False),
}
ALL = [dict(zip(SWITCHES, values, strict=True)) for values in product(*SWITCHES.values())]


def pairs(switches: dict[str, Any]) -> set[tuple[tuple[str, Any], tuple[str, Any]]]:
    return set(combinations(switches.items(), 2))


def chosen() -> list[dict[str, Any]]:
    """So few combinations that every two values of two switches meet in one of them."""
    left = set[Any]().union(*map(pairs, ALL))
    found = []
    while left:
        found.append(max(ALL, key=lambda switches: len(pairs(switches) & left)))
        left -= pairs(found[-1])
    return found


CHOSEN = chosen()


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recovery, "QUIET_SECONDS", 0.1)
    monkeypatch.setattr(recovery, "LONGEST_QUIET", 0.3)
    monkeypatch.setattr(recovery, "SURVIVED_SECONDS", 0.05)


async def soon(seconds: float) -> None:
    await asyncio.sleep(seconds / 50)


@asynccontextmanager
async def simulated(**switches: Any) -> AsyncIterator[tuple[NoxusSimulator, NoxusClient, str]]:
    """A simulated Noxus, a client of it, and a conversation that has something in it already."""
    noxus = NoxusSimulator(**{"first_token_delay": 0.01, "rate": 300.0, **switches})
    await noxus.start()
    client = NoxusClient(noxus.url, noxus.api_key, idle_seconds=1.0, total_seconds=20.0, sleep=soon)
    try:
        conversation = await client.create_conversation(AgentTarget(agent_id=noxus.agent_id), "n")
        await heard(client, conversation, "/say before")
        yield noxus, client, conversation
    finally:
        await client.aclose()
        await noxus.stop()


async def heard(
    client: NoxusClient, conversation: str, content: str, age: float | None = None
) -> tuple[list[AgentEvent], AgentError | None]:
    """What is heard of an answer and how it failed; with an ``age``, of a message that was sent so long ago."""
    events: list[AgentEvent] = []
    try:
        asked = client.ask(conversation, content) if age is None else client.recover(conversation, digest(content), age)
        async with asked as incoming:
            async for event in incoming:
                events.append(event)  # noqa: PERF401 - what was heard before a failure counts
    except AgentError as error:
        return events, error
    return events, None


async def forsaken(noxus: NoxusSimulator, client: NoxusClient, conversation: str, content: str) -> float:
    """Ask, and die in the middle of the answer; returns when that was (event loop time)."""
    began = asyncio.get_running_loop().time()
    asking = asyncio.create_task(heard(client, conversation, content))
    while not any(run.entries for run in noxus.conversations[conversation].runs):
        await asyncio.sleep(0.005)
    asking.cancel()
    await asyncio.wait([asking])
    return began


def said_by(noxus: NoxusSimulator, conversation: str) -> str:
    """The answer as the newest run gave it, cut off or not."""
    run = noxus.conversations[conversation].last_run
    assert run is not None
    blocks: dict[str, str] = {}
    for frame in run.frames:
        if frame["type"] == "text-delta":
            blocks[frame["id"]] = blocks.get(frame["id"], "") + frame["delta"]
    return "\n\n".join(blocks.values())


BREAKS: list[dict[str, Any] | None] = [{"drop": "mid", "frames": 6}, {"drop": "headers"}, {"drop": "after"}, None]


@pytest.mark.parametrize("switches", CHOSEN, ids=lambda switches: " ".join(map(str, switches.values())))
async def test_whatever_noxus_does(switches: dict[str, Any]) -> None:
    """A broken stream and a death mid-answer: all that the run said comes, once and in order, and it is asked once. The
    answer passes for whole only if it is; and where Noxus tells enough it does."""
    async with simulated(**switches) as (noxus, client, conversation):
        for number, broken in enumerate(BREAKS):
            content = TOOL if number % 2 else QUESTION
            if broken is None:
                began = await forsaken(noxus, client, conversation, content)
                events, error = await heard(client, conversation, content, asyncio.get_running_loop().time() - began)
            else:
                noxus.faults.add(path="stream", **broken)
                events, error = await heard(client, conversation, content)
            while noxus.conversations[conversation].runs:
                await asyncio.sleep(0.01)
            whole = said_by(noxus, conversation)
            assert whole.startswith(text_of(events)), (switches, broken)
            stopped = noxus.conversations[conversation].last_run.ended != "done"  # type: ignore[union-attr]
            if error is None:
                assert text_of(events) == whole
                assert not stopped
            elif switches["history"] == "both" and switches["finish_reasons"]:
                assert stopped
            assert not any(isinstance(event, StartedOver) for event in events)
            started = [event for event in events if isinstance(event, ToolStarted)]
            assert len(started) == len(set(started))
        assert noxus.asked == ["/say before", QUESTION, TOOL, QUESTION, TOOL]


@pytest.mark.parametrize("idle_events", ["done", "404", "hang", "replay"])
async def test_a_message_that_never_arrived(idle_events: str) -> None:
    """Nothing is shown as its answer, least of all the one before, and it is not sent again."""
    async with simulated(idle_events=idle_events, visible="end") as (noxus, client, conversation):
        noxus.faults.add(path="stream", drop="before")
        events, error = await heard(client, conversation, "/say lost")
        assert (events, type(error)) == ([], AgentUnavailable)
        events, error = await heard(client, conversation, "/say lost", age=3.0)
        assert (events, type(error)) == ([], Interrupted)
        assert noxus.asked == ["/say before"]


async def test_a_message_that_shows_only_at_the_end() -> None:
    """What the stream tells is held back until it is known whose answer it is; then all of it comes."""
    async with simulated(visible="end") as (noxus, client, conversation):
        noxus.faults.add(path="stream", drop="after")
        events, error = await heard(client, conversation, TOOL)
        assert (text_of(events), error) == (said_by(noxus, conversation), None)
        assert [type(event) for event in events if not isinstance(event, TextDelta)] == [
            ToolStarted,
            ToolFinished,
            RunFinished,
        ]
        assert sum(isinstance(event, TextDelta) for event in events) > 2


async def test_the_same_words_as_before() -> None:
    """An older message with the same words is not taken for the one that got lost."""
    async with simulated() as (noxus, client, conversation):
        messages = noxus.conversations[conversation].messages
        messages[0] = replace(messages[0], created_at="2026-11-22T10:00:00Z")
        assert await heard(client, conversation, "/say before", age=1.0) != ([], None)
        assert type((await heard(client, conversation, "/say before", age=1.0))[1]) is Interrupted


async def test_words_that_noxus_changed() -> None:
    """A message that certainly arrived is found by its time when its words are others in the conversation."""
    async with simulated(idle_events="404", replay="live", sse_ids=False) as (noxus, client, conversation):
        noxus.faults.add(path="stream", drop="mid", frames=6)
        asking = asyncio.create_task(heard(client, conversation, QUESTION))
        messages = noxus.conversations[conversation].messages
        while len(messages) < 3:
            await asyncio.sleep(0.005)
        parts = ({"kind": "request", "parts": [{"part_kind": "user-prompt", "content": "[redacted]"}]},)
        messages[2] = replace(messages[2], text="[redacted]", parts=parts)
        events, error = await asking
        assert (text_of(events), error) == (said_by(noxus, conversation), None)


async def test_somebody_else_wrote_there_meanwhile(backend: Backend) -> None:
    """The answer to our words counts, not the newest one."""
    said = [("hi", "Hello."), ("something else", "No.")]
    told = [
        {
            "created_at": "",
            "parts": [{"part_kind": "user-prompt", "content": asked}, {"part_kind": "text", "content": was}],
        }
        for asked, was in said
    ]
    events, error = await told_by(
        backend,
        stream(says(START, delta("Hel")), end="reset"),
        NOT_FOUND,
        answer(200, {"status": "idle", "messages": told}),
    )
    assert (text_of(events), type(error)) == ("Hello.", StreamBroken)


@pytest.mark.parametrize(
    ("timeout_run", "error"), [("continue", None), ("stop", AgentTimedOut)], ids=["goes on", "stops"]
)
async def test_noxus_gives_up_the_stream(timeout_run: str, error: type[AgentError] | None) -> None:
    """After ``timeout`` the run is asked for: if it goes on, so does the answer."""
    async with simulated(timeout_run=timeout_run) as (noxus, client, conversation):
        events, failed = await heard(client, conversation, "/timeout")
        assert type(failed) is (error or type(None))
        assert text_of(events) == said_by(noxus, conversation)


@pytest.mark.parametrize("drop", ["after", "headers", "mid"])
async def test_a_whole_answer_that_gets_lost(drop: str) -> None:
    """What was asked for in one piece is read from the conversation as well."""
    async with simulated() as (noxus, _, conversation):
        client = NoxusClient(noxus.url, noxus.api_key, mode="chat", sleep=soon)
        noxus.faults.add(path="chat", drop=drop)  # type: ignore[arg-type]
        events, error = await heard(client, conversation, TOOL)
        await client.aclose()
        assert (text_of(events), error) == (said_by(noxus, conversation), None)
        assert len(noxus.asked) == 2


async def test_a_run_that_fails_after_the_break() -> None:
    """Its error is told, after all that it said."""
    async with simulated(idle_events="replay") as (noxus, client, conversation):
        noxus.faults.add(path="stream", drop="mid", frames=4)
        events, error = await heard(client, conversation, "/fail")
        assert (text_of(events), type(error)) == (said_by(noxus, conversation), AgentRunFailed)


async def test_a_long_silence_is_waited_for() -> None:
    """A tool that takes its time, silent streams again and again: the answer comes, and its steps."""
    async with simulated() as (noxus, client, conversation):
        noxus.faults.add(path="stream", drop="mid", frames=14)
        events, error = await heard(client, conversation, "/steps 0.8")
        assert (text_of(events), error) == (said_by(noxus, conversation), None)
        tools = [type(event) for event in events if isinstance(event, ToolStarted | ToolFinished)]
        assert tools == [ToolStarted, ToolFinished] * 2
        assert sum(request.endpoint == "events" for request in noxus.requests) > 1


async def test_silence_has_an_end() -> None:
    """A run that says nothing for twice the patience is given up."""
    async with simulated() as (noxus, client, conversation):
        events, error = await heard(client, conversation, "/hang")
        assert (type(error), len(noxus.asked)) == (AgentTimedOut, 2)
        assert text_of(events) == "I was about to tell you something importa"


async def test_noxus_goes_away() -> None:
    """Down for good: after a while it is given up; down for a moment: the answer is whole."""
    async with simulated() as (noxus, client, conversation):
        for back in (True, False):
            noxus.faults.add(path="stream", drop="mid", frames=6)
            for path in ("events", "get"):
                noxus.faults.add(path=path, status=503, times=2 if back else None)
            events, error = await heard(client, conversation, QUESTION)
            assert (type(error) is StreamBroken, len(text_of(events).split()) == 30) == (not back, back)


async def test_found_whole_at_once(backend: Backend) -> None:
    """What a dead process left and Noxus has finished is read once, and nothing else is asked."""
    backend.tells = True
    backend.answers(conversation("All."))
    async with connected(backend.url) as client:
        events, error = await heard(client, "c-1", CONTENT, age=1.0)
    assert (text_of(events), error, len(backend.requests)) == ("All.", None, 1)


async def test_no_time_left(backend: Backend) -> None:
    """When the whole answer has taken too long nothing more is asked."""
    backend.tells = True
    backend.answers(stream(says(START), end="hang"))
    async with connected(backend.url, total_seconds=1.0) as client:
        events, error = await heard(client, "c-1", CONTENT)
    assert (events, type(error), len(backend.requests)) == ([], AgentTimedOut, 1)


async def test_the_conversation_goes_away() -> None:
    """What is deleted is not waited for."""
    async with simulated() as (noxus, client, conversation):
        noxus.faults.add(path="stream", drop="mid", frames=6)
        for path in ("events", "get"):
            noxus.faults.add(path=path, status=404, times=None)
        events, error = await heard(client, conversation, QUESTION)
        assert type(error) is StreamBroken
        assert text_of(events)


# --- servers that misbehave in their own way ----------------------------------------------------------------------

CONTENT = "hi"


def numbered(first: int, *frames: dict[str, Any]) -> bytes:
    return b"".join(f"id: 1-{number}\n".encode() + says(frame) for number, frame in enumerate(frames, start=first))


def delta(text: str, block: str = "a") -> dict[str, Any]:
    return {"type": "text-delta", "id": block, "delta": text}


def conversation(*texts: str, status: str = "idle", finish: str | None = "stop", **more: Any) -> Handler:
    parts = [{"part_kind": "text", "content": text} for text in texts]
    told: list[dict[str, Any]] = [{"kind": "request", "parts": [{"part_kind": "user-prompt", "content": CONTENT}]}]
    told += [{"kind": "response", "parts": parts, "finish_reason": finish}] if parts else []
    messages = [{"id": "m", "created_at": "", "pydantic_message_parts": told}]
    return answer(200, {"id": "c-1", "status": status, "messages": messages, **more})


START, FINISH = {"type": "start"}, {"type": "finish"}
NOT_FOUND = answer(404, {"detail": "Not Found"})


async def told_by(backend: Backend, *handlers: Handler) -> tuple[list[AgentEvent], AgentError | None]:
    """What is heard when the server answers one request after the other like this."""
    backend.tells = True
    backend.answers(*handlers)
    async with connected(backend.url, sleep=soon, idle_seconds=0.6) as client:
        return await heard(client, "c-1", CONTENT)


async def test_two_breaks_in_one_answer(backend: Backend) -> None:
    """The second stream goes on after the first, the third after the second, each asked for by its place."""
    events, error = await told_by(
        backend,
        stream(numbered(0, START, delta("One "), delta("two 😀")), 0.05, end="reset"),
        stream(numbered(3, delta(" three")), 0.05, end="reset"),
        conversation(status="running"),
        stream(numbered(4, delta("\u2028four"), delta("five", "b"), FINISH)),
        conversation("One two 😀 three\u2028four", "five"),
    )
    assert (text_of(events), error) == ("One two 😀 three\u2028four\n\nfive", None)
    assert [path for _, path in backend.requests] == [
        "/v1/conversations/c-1/stream?format=json",
        "/v1/conversations/c-1/events?format=json&etag=1-2",
        "/v1/conversations/c-1",
        "/v1/conversations/c-1/events?format=json&etag=1-3",
        "/v1/conversations/c-1",
    ]


async def test_a_gap_is_filled_from_the_conversation(backend: Backend) -> None:
    """A stream that claims to go on and leaves something out: the conversation has the last word."""
    events, error = await told_by(
        backend,
        stream(numbered(0, START, delta("One ")), end="reset"),
        stream(numbered(5, delta("four"), FINISH)),
        conversation("One two three four"),
    )
    assert (text_of(events), error) == ("One two three four", None)
    assert StartedOver() in events


async def test_garbage_in_the_stream(backend: Backend) -> None:
    """Records that say nothing we know cost nothing."""
    events, error = await told_by(
        backend,
        stream(says(START, delta("One ")) + b'data: {"type": "text-d\r\n\r\n\xff\xfe', end="reset"),
        stream(says(START, "data: [[", delta("One two"), FINISH)),
        conversation("One two"),
    )
    assert (text_of(events), error) == ("One two", None)


async def test_a_break_during_the_very_last_record(backend: Backend) -> None:
    """After ``finish`` nothing is missing, and nothing is asked; before it the conversation tells."""
    events, error = await told_by(backend, stream(says(START, delta("All."), FINISH) + b"event: do", end="reset"))
    assert (text_of(events), error, len(backend.requests)) == ("All.", None, 1)
    events, error = await told_by(
        backend,
        stream(says(START, delta("All.")) + b'data: {"type": "fini', end="reset"),
        NOT_FOUND,
        conversation("All."),
    )
    assert (text_of(events), error, events[-1]) == ("All.", None, RunFinished("stop"))


async def test_another_answer_than_the_one_that_broke_off(backend: Backend) -> None:
    """A stream that tells something else is not believed; the conversation is, and the answer starts over."""
    events, error = await told_by(
        backend,
        stream(says(START, delta("One ")), end="reset"),
        stream(says(START, delta("Uno due"), FINISH)),
        conversation("Another answer"),
    )
    assert (text_of(events), error) == ("Another answer", None)
    assert list(map(type, events)) == [TextDelta, StartedOver, TextDelta, RunFinished]


@pytest.mark.parametrize(
    "events_endpoint",
    [
        answer(200, {"detail": "no stream"}),
        answer(405),
        reset,
        stream(end="hang"),
        stream(b"data: {}\r\n\r\n"),
        NOT_FOUND,
    ],
    ids=["json", "405", "reset", "hangs", "untyped", "404"],
)
async def test_no_stream_to_attach_to(backend: Backend, events_endpoint: Handler) -> None:
    """Then the conversation is looked at until it is at rest; a growing answer is waited for."""
    growing = [("running", ()), ("running", ("One t",)), ("idle", ("One two.",))]

    async def server(request: Any) -> Any:
        if request.method == "POST":
            return await stream(says(START, delta("One ")), end="reset")(request)
        if request.path.endswith("/events"):
            return await events_endpoint(request)
        status, said = growing.pop(0)
        return await conversation(*said, status=status, etag=f"{len(growing)}")(request)

    events, error = await told_by(backend, server)
    assert (text_of(events), error) == ("One two.", None)


@pytest.mark.parametrize(
    ("looks", "whole"),
    [
        ([conversation("One two.", finish=None)], False),
        ([conversation("One two.", status="queued")], True),
        ([conversation()], False),
        ([answer(200, [])], False),
        ([answer(200, "<html>")], False),
        ([answer(401, {"detail": "no"})], False),
    ],
    ids=["no reason", "a status that never rests", "no answer", "no conversation", "no JSON", "refused"],
)
async def test_when_nothing_tells_the_end(backend: Backend, looks: Sequence[Handler], *, whole: bool) -> None:
    """What there is of the answer comes, and unless it is known to be whole, what was wrong with its stream."""
    events, error = await told_by(
        backend, *(stream(says(START, delta("One ")), end="reset"), stream(says("event: done\ndata: {}")), *looks)
    )
    assert type(error) is (type(None) if whole else StreamBroken)
    assert text_of(events).startswith("One ")


async def test_ages_by_noxus_own_clock(backend: Backend) -> None:
    """However wrong Noxus's clock is, what it wrote after our message went out is not older than that."""
    backend.tells = True

    def wrote(at: str) -> Handler:
        told = [{"part_kind": "user-prompt", "content": CONTENT}, {"part_kind": "text", "content": "Yes."}]
        body = {"status": "idle", "messages": [{"created_at": at, "parts": told}]}
        return answer(200, body, date="Sun, 22 Nov 2020 10:00:10 GMT")

    async with connected(backend.url, sleep=soon, idle_seconds=0.6) as client:
        for at, known in (("2020-11-22T10:00:08", True), ("2020-11-22T10:00:00Z", False), ("someday", True)):
            backend.answers(wrote(at))
            events, error = await heard(client, "c-1", CONTENT, age=3.0)
            assert (text_of(events), type(error)) == ("Yes." if known else "", Interrupted)


async def test_what_broke_in_one_moment_is_not_looked_for_in_one(backend: Backend) -> None:
    """The answers of a Noxus that restarts break together: no two of them pause alike, however often they look."""
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        await soon(seconds)

    backend.tells = True
    backend.answers(answer(409))
    async with connected(backend.url, sleep=sleep, idle_seconds=0.6) as client:
        ended = await asyncio.gather(*[heard(client, f"c-{number}", CONTENT, age=3.0) for number in range(5)])
    assert {type(error) for _, error in ended} == {Interrupted}
    assert len(slept) == len(set(slept)) >= 5 * (recovery.UNREADABLE_LOOKS - 2)


def test_the_chosen_combinations() -> None:
    """They are few, and every value of every switch is among them."""
    assert len(CHOSEN) < 20
    for name, values in SWITCHES.items():
        assert {json.dumps(switches[name]) for switches in CHOSEN} == {json.dumps(value) for value in values}
