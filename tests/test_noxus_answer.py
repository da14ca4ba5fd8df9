"""How a stream is read over time: what is waited for and how long, and how many tokens one read brings."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import httpx
import pytest

from slackbot.domain import AgentEvent, AgentTarget, RunFinished, TextDelta, UnknownFrame
from slackbot.errors import AgentError, AgentTimedOut
from slackbot.noxus.answer import Crowd, Patience, streamed
from slackbot.noxus.client import NoxusClient
from slackbot.noxus.hearing import Hearing
from slackbot.simulator.noxus import NoxusSimulator
from tests import virtual_time

Piece = bytes | float
"""What the server writes, or seconds until it goes on."""
Heard = list[tuple[float, AgentEvent]]
LAST = b'data: {"type": "finish"}\n\n'
DONE = b"event: done\ndata: {}\n\n"


def token(number: int) -> bytes:
    return b"data: " + json.dumps({"type": "text-delta", "id": "a", "delta": str(number)}).encode() + b"\n\n"


class Wire(httpx.AsyncByteStream):
    """A server that writes on time, whether or not anybody reads, and then is silent."""

    def __init__(self, pieces: list[Piece]) -> None:
        self._pieces = pieces
        self.waits = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        due = virtual_time.now()
        for piece in self._pieces:
            if isinstance(piece, bytes):
                yield piece
                continue
            due += piece
            if due > virtual_time.now():
                self.waits += 1
                await asyncio.sleep(due - virtual_time.now())

    async def aclose(self) -> None:
        pass


def answer(wire: Wire) -> httpx.Response:
    request = httpx.Request("POST", "http://noxus.invalid")
    return httpx.Response(200, headers={"content-type": "text/event-stream"}, stream=wire, request=request)


async def heard(wire: Wire, *, idle: float = 60.0, total: float = 600.0, beside: int = 0) -> Heard:
    """The events of a stream with the time of each, counted from the start; ``beside`` others are read too."""
    response = answer(wire)
    began = virtual_time.now()
    events: Heard = []
    patience = Patience(idle, began + total, Crowd(beside))
    try:
        async for event in streamed(response, patience, "key", Hearing()):
            events.append((round(virtual_time.now() - began, 3), event))
    except AgentError:
        events.append((round(virtual_time.now() - began, 3), UnknownFrame("failed")))
    assert patience.crowd.open == beside
    return events


def times(events: Heard) -> list[float]:
    return [at for at, _ in events]


def test_a_few_answers_are_read_as_they_come() -> None:
    """Nothing is held back while there is time to read every token by itself."""
    pieces: list[Piece] = [piece for number in range(20) for piece in (0.01, token(number))]
    wire = Wire([*pieces, LAST, DONE])
    events = virtual_time.run(heard(wire, beside=3))
    assert times(events)[:20] == [round(0.01 * (number + 1), 3) for number in range(20)]
    assert wire.waits == 20


def test_with_many_answers_tokens_gather() -> None:
    """The first is read at once; then one read brings several, none later than 50 ms, none lost, none reordered."""
    written = [round(0.01 * (number + 1), 3) for number in range(100)]
    pieces: list[Piece] = [piece for number in range(100) for piece in (0.01, token(number))]
    wire = Wire([*pieces, LAST, DONE])
    events = virtual_time.run(heard(wire, beside=4))
    assert "".join(event.text for _, event in events if isinstance(event, TextDelta)) == "".join(map(str, range(100)))
    assert all(0 <= at - due <= 0.0501 for at, due in zip(times(events), written, strict=False))
    assert events[0][0] == 0.01
    assert wire.waits <= 25


def test_a_complete_answer_is_not_held_back() -> None:
    """What comes after the end of the message is read at once: its reader waits for it."""
    wire = Wire([0.01, token(1), 0.2, LAST, 0.02, DONE, 0.02])
    events = virtual_time.run(heard(wire, beside=9))
    assert events[-1] == (0.21, RunFinished())
    assert wire.waits == 4


@pytest.mark.parametrize("beside", [0, 9])
@pytest.mark.parametrize(
    ("pieces", "ends"),
    [
        ([token(1), 99.0], 5.0),
        ([4.0, token(1), 99.0], 9.0),
        ([4.0, token(1), 4.0, token(2), 4.0, token(3), 99.0], 17.0),
        ([token(1), 4.0, b": ping\n\n", 4.0, b": ping\n\n"], 5.0),
        ([piece for number in range(9) for piece in (4.0, token(number))], 30.0),
        ([token(1), b'data: {"type": "error"}\n\n', LAST, 99.0], 3.0),
    ],
    ids=["silence", "later", "in between", "comments", "total", "failed"],
)
def test_deadlines_move_with_every_record(pieces: list[Piece], ends: float, beside: int) -> None:
    """Five seconds from record to record and thirty in all, to the moment; comments change nothing."""
    events = virtual_time.run(heard(Wire([*pieces, 99.0]), idle=5.0, total=30.0, beside=beside))
    assert times(events)[-1] == ends


def test_a_deadline_may_come_nearer() -> None:
    """After the end of the message three seconds are enough, however patient one was before."""

    async def wait() -> float:
        await heard(Wire([token(1), 20.0, LAST, 99.0]), idle=60.0)
        return virtual_time.now()

    assert virtual_time.run(wait()) == pytest.approx(1_000.0 + 20.0 + 3.0)


def test_a_deadline_that_passes_while_the_reader_is_busy() -> None:
    """Nobody is interrupted at other work; the next wait ends at once."""

    async def busy() -> float:
        response = answer(Wire([token(1), 99.0]))
        events = streamed(response, Patience(5.0, virtual_time.now() + 10.0), "key", Hearing())
        assert await anext(events) == TextDelta("a", "1")
        await asyncio.sleep(20.0)
        with pytest.raises(AgentTimedOut):
            await anext(events)
        return virtual_time.now()

    assert virtual_time.run(busy()) == pytest.approx(1_000.0 + 20.0)


@pytest.mark.parametrize("when", [1.0, 5.0])
def test_being_cancelled_is_not_a_deadline(when: float) -> None:
    """Somebody else's wish to stop counts, also at the very moment of the deadline, and is not forgotten."""

    async def cancelled() -> bool:
        reading = asyncio.create_task(heard(Wire([token(1), 99.0]), idle=5.0))
        asyncio.get_running_loop().call_at(virtual_time.now() + when, reading.cancel)
        await asyncio.wait([reading])
        return reading.cancelled()

    assert virtual_time.run(cancelled())


def test_a_deadline_leaves_no_trace() -> None:
    """Whoever was told that it is late can wait again, and be cancelled again."""

    async def again() -> int:
        await heard(Wire([token(1), 99.0]), idle=5.0)
        task = asyncio.current_task()
        assert task is not None
        await asyncio.sleep(100.0)
        return task.cancelling()

    assert virtual_time.run(again()) == 0


async def test_many_answers_at_once() -> None:
    """On real sockets: a dozen streams beside one another all arrive whole."""
    noxus = NoxusSimulator(first_token_delay=0.0)
    await noxus.start()
    client = NoxusClient(noxus.url, noxus.api_key)

    async def ask(number: int) -> str:
        conversation = await client.create_conversation(AgentTarget(agent_id=noxus.agent_id), "c")
        async with client.ask(conversation, f"/words {100 + number} rate=300") as events:
            return "".join([event.text async for event in events if isinstance(event, TextDelta)])

    answers = await asyncio.gather(*map(ask, range(12)))
    assert [len(answer.split()) for answer in answers] == [100 + number for number in range(12)]
    await client.aclose()
    await noxus.stop()
