"""What Noxus says about a conversation itself, on real sockets; what it does not say is empty."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from aiohttp import web

from slackbot.domain import AgentTarget, ConversationState
from slackbot.noxus.caller import Caller
from slackbot.noxus.client import NoxusClient
from slackbot.noxus.conversation import conversation_state
from slackbot.simulator.noxus import NoxusSimulator
from tests.test_noxus_client import KEY, Backend, answer, backend, connected, reset

__all__ = ["backend"]

NOTHING = ConversationState()


def unread(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [vars(record)["reason"] for record in caplog.records if record.msg == "noxus.state_unread"]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"manual": True, "status": "idle", "messages": [{}]}, ConversationState(manual=True, status="idle")),
        ({"manual": False, "status": "awaiting_human"}, ConversationState(status="awaiting_human")),
        ({"manual": "true", "status": None}, NOTHING),
        ({"manual": 1, "status": {"value": "manual"}}, NOTHING),
        ({"status": "a\ud800" + "b" * 99}, ConversationState(status="a\ufffd" + "b" * 58)),
        ({}, NOTHING),
        ([], NOTHING),
        ('"manual"', NOTHING),
        (None, NOTHING),
    ],
    ids=str,
)
async def test_what_it_says(
    backend: Backend, body: Any, expected: ConversationState, caplog: pytest.LogCaptureFixture
) -> None:
    """Only a plain yes is manual, only a text is a status, and of that the beginning."""
    backend.answers(answer(200, body))
    async with connected(backend.url) as client:
        assert await client.state("c/1") == expected
    assert backend.requests == [("GET", "/v1/conversations/c%2F1")]
    assert unread(caplog) == []


async def test_what_cannot_be_read(backend: Backend, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing is known then; one line says why, without the key."""
    for handler in (answer(404, {"detail": "Conversation not found"}), answer(403, {"detail": f"no: {KEY}"}), reset):
        backend.answers(handler)
        async with connected(backend.url) as client:
            assert await client.state("c-1") == NOTHING
    first, second, third = unread(caplog)
    assert first == "GET /v1/conversations/c-1: 404 Conversation not found"
    assert second == "GET /v1/conversations/c-1: 403 no: ***"
    assert third.startswith("GET /v1/conversations/c-1: ")


async def test_a_failure_in_passing_is_tried_again(backend: Backend) -> None:
    """As with every reading call."""
    backend.answers(reset, answer(503, {}), answer(200, {"manual": True}))
    async with connected(backend.url) as client:
        assert await client.state("c-1") == ConversationState(manual=True)


async def test_it_waits_only_so_long(backend: Backend, caplog: pytest.LogCaptureFixture) -> None:
    """All tries share the time: neither silence nor a server that asks for patience holds up a turn's end."""

    async def silent(_request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(30)
        return web.Response()

    async def busy(_request: web.Request) -> web.StreamResponse:
        return web.json_response({}, status=429, headers={"Retry-After": "30"})

    for handler in (silent, busy):
        backend.answers(handler)
        caller = Caller(backend.url, KEY, sleep=asyncio.sleep, jitter=lambda: 1.0)
        assert await conversation_state(caller, "c-1", patience=0.05) == NOTHING
        await caller.aclose()
    assert unread(caplog) == ["no answer in 0 seconds"] * 2
    assert len(backend.requests) == 2


async def test_the_simulated_noxus(caplog: pytest.LogCaptureFixture) -> None:
    """A conversation at rest, one that a human has, and one that is gone."""
    caplog.set_level(logging.WARNING)
    noxus = NoxusSimulator(first_token_delay=0, rate=2000, human_status="awaiting_human")
    await noxus.start()
    client = NoxusClient(noxus.url, noxus.api_key)
    conversation = await client.create_conversation(AgentTarget(agent_id=noxus.agent_id), "c")
    assert await client.state(conversation) == ConversationState(status="idle")
    async with client.ask(conversation, "/human") as events:
        _ = [event async for event in events]
    assert await client.state(conversation) == ConversationState(manual=True, status="awaiting_human")
    assert unread(caplog) == []
    assert await client.state("gone") == NOTHING
    assert len(unread(caplog)) == 1
    await client.aclose()
    await noxus.stop()
