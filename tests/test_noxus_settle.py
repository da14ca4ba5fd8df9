"""Waiting for a conversation to come to rest, on real sockets; a second is a twentieth of one."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from typing import Any

import pytest
from aiohttp import web

from slackbot.domain import AgentTarget, TextDelta
from slackbot.noxus.caller import Caller
from slackbot.noxus.client import NoxusClient
from slackbot.noxus.conversation import LOOKS, settle
from slackbot.simulator.noxus import NoxusSimulator
from tests.test_noxus_client import KEY, Backend, Handler, Patience, answer, backend, connected, reset

__all__ = ["backend"]

SECOND = 0.05


def conversation(**changed: Any) -> Handler:
    quiet = {"etag": "1-1", "last_updated_at": "2026-01-01T00:00:00Z", "status": "idle", "messages": []}
    return answer(200, {**quiet, **changed})


async def looks(backend: Backend, *handlers: Handler) -> int:
    """How often the conversation was looked at until it counted as settled, a second apart."""
    backend.answers(*handlers)
    patience = Patience()
    async with connected(backend.url, patience) as client:
        await client.settle("c/1")
    assert {path for _, path in backend.requests} == {"/v1/conversations/c%2F1"}
    return len(patience.slept) + 1


def unsettled(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [vars(record)["reason"] for record in caplog.records if record.msg == "noxus.unsettled"]


async def test_a_conversation_at_rest_is_watched_for_five_seconds(
    backend: Backend, caplog: pytest.LogCaptureFixture
) -> None:
    """Six looks that show the same, and not a word in the log."""
    assert await looks(backend, conversation()) == 6
    assert unsettled(caplog) == []


@pytest.mark.parametrize(
    "changed",
    [
        {"etag": "1-2"},
        {"etag": None},
        {"last_updated_at": "2026-01-01T00:00:01Z"},
        {"status": "queued"},
        {"messages": [{}]},
        {"messages": None},
    ],
    ids=str,
)
async def test_every_change_starts_the_five_seconds_anew(backend: Backend, changed: dict[str, Any]) -> None:
    """Whichever sign of a run the server gives, two of them in the same way."""
    handlers = [conversation(messages=[{}, {}])] * 4 + [conversation(**{"messages": [{}, {}], **changed})]
    assert await looks(backend, *handlers) == 4 + 6


async def test_a_conversation_that_is_gone_is_settled(backend: Backend, caplog: pytest.LogCaptureFixture) -> None:
    """Nobody waits for it, be it gone from the start or later."""
    assert await looks(backend, answer(404, {"detail": "Conversation not found"})) == 1
    assert await looks(backend, conversation(), answer(404, {"detail": "Conversation not found"})) == 2
    assert unsettled(caplog) == []


async def test_three_vain_looks_are_enough(backend: Backend, caplog: pytest.LogCaptureFixture) -> None:
    """A conversation that cannot be read holds up nobody; one line says why, without the key."""
    assert await looks(backend, conversation(), answer(403, {"detail": f"no: {KEY}"})) == 4
    assert unsettled(caplog) == ["GET /v1/conversations/c%2F1: 403 no: ***"]


async def test_a_vain_look_between_others_does_not_matter(backend: Backend, caplog: pytest.LogCaptureFixture) -> None:
    """Two in a row may fail; the five quiet ones are counted without them."""
    quiet, vain = conversation(), answer(401)
    assert await looks(backend, vain, vain, quiet, quiet, vain, vain, quiet) == 10
    assert unsettled(caplog) == []


async def test_a_broken_connection_is_tried_again(backend: Backend) -> None:
    """As every GET is, so it is no vain look."""
    backend.answers(conversation(), reset, reset, conversation())
    async with connected(backend.url) as client:
        await client.settle("c-1")
    assert len(backend.requests) == 8


@pytest.mark.parametrize("body", [[], '"x"', None, 7])
async def test_an_answer_that_is_no_conversation(backend: Backend, body: object) -> None:
    """It cannot change either."""
    assert await looks(backend, answer(200, body)) == 6


async def test_a_conversation_that_never_rests(backend: Backend, caplog: pytest.LogCaptureFixture) -> None:
    """After a minute the next message goes anyway."""
    etags = count()

    async def changing(request: web.Request) -> web.StreamResponse:
        return await conversation(etag=str(next(etags)))(request)

    assert await looks(backend, changing) == LOOKS + 1
    assert unsettled(caplog) == ["it still changes"]


async def test_a_server_that_does_not_answer(backend: Backend, caplog: pytest.LogCaptureFixture) -> None:
    """The minute is a minute, however long a look takes."""

    async def silent(_request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(30)
        return web.Response()

    backend.answers(conversation(), silent)
    caller = Caller(backend.url, KEY, sleep=asyncio.sleep, jitter=lambda: 1.0)
    await settle(caller, "c-1", sleep=asyncio.sleep, every=0.01)
    await caller.aclose()
    assert unsettled(caplog) == ["it still changes"]
    assert len(backend.requests) == 2


async def test_waiting_can_be_cancelled(backend: Backend) -> None:
    """Nothing but its own minute counts as the end of the minute."""
    backend.answers(conversation())
    async with connected(backend.url, sleep=asyncio.sleep) as client:
        waiting = asyncio.create_task(client.settle("c-1"))
        while not backend.requests:
            await asyncio.sleep(0.01)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting


# --- against the simulated Noxus ---------------------------------------------------------------------------------


@asynccontextmanager
async def abandoned(question: str, **switches: Any) -> AsyncIterator[tuple[NoxusSimulator, NoxusClient, str]]:
    """A simulated Noxus with a run whose reader hung up after the first word."""
    noxus = NoxusSimulator(first_token_delay=0.0, **switches)
    await noxus.start()
    client = NoxusClient(noxus.url, noxus.api_key, sleep=lambda seconds: asyncio.sleep(seconds * SECOND))
    try:
        conversation_id = await client.create_conversation(AgentTarget(agent_id=noxus.agent_id), "c")
        async with client.ask(conversation_id, question) as events:
            async for event in events:
                if isinstance(event, TextDelta):
                    break
        yield noxus, client, conversation_id
    finally:
        await client.aclose()
        await noxus.stop()


@pytest.mark.parametrize("visible", ["post", "end"])
@pytest.mark.parametrize("etag_is", ["sse", "conversation"])
@pytest.mark.parametrize("on_disconnect", ["continue", "stop"])
async def test_a_run_of_a_few_seconds_is_over(
    visible: str, etag_is: str, on_disconnect: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Whenever messages show, whatever the etag is, and whether or not the run minds that its reader left."""
    caplog.set_level(logging.WARNING)
    switches = {"visible": visible, "etag_is": etag_is, "on_disconnect": on_disconnect}
    async with abandoned("/words 60 rate=400", **switches) as (noxus, client, conversation_id):
        await client.settle(conversation_id)
        told = noxus.conversations[conversation_id]
        assert told.status == "idle"
        assert [message.role for message in told.messages] == ["user", "assistant"]
        assert (len(told.messages[1].text.split()) == 60) == (on_disconnect == "continue")
        assert unsettled(caplog) == []


async def test_a_long_run_is_waited_for_while_its_etag_moves() -> None:
    """An etag that is a place in the stream shows that work goes on."""
    async with abandoned("/words 300 rate=300") as (noxus, client, conversation_id):
        await client.settle(conversation_id)
        assert noxus.conversations[conversation_id].status == "idle"


@pytest.mark.parametrize("question", ["/hang", "/words 600 rate=40"], ids=["silent", "long"])
async def test_a_run_that_shows_nothing_is_not_waited_for(question: str) -> None:
    """Five seconds without a sign are the end, also of a run that goes on in silence."""
    switches = {} if question == "/hang" else {"etag_is": "conversation", "visible": "end"}
    async with abandoned(question, **switches) as (noxus, client, conversation_id):
        await client.settle(conversation_id)
        assert noxus.conversations[conversation_id].status == "queued"


async def test_a_deleted_conversation_is_settled() -> None:
    """Its run ends with it."""
    async with abandoned("/words 600 rate=40") as (noxus, client, conversation_id):
        settling = asyncio.create_task(client.settle(conversation_id))
        await asyncio.sleep(2 * SECOND)
        noxus._workspace.delete(noxus.conversations[conversation_id])
        await settling
        assert noxus.requests[-1].status == 404
