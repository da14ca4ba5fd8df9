"""The ops port: alive, ready, and why not."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from slackbot import __version__
from slackbot.errors import SlackbotError
from slackbot.ops import Ops
from slackbot.store.errors import StoreError
from tests.test_app import shown
from tests.whole_bot import World, bot, world


@pytest.fixture
async def acme() -> AsyncIterator[World]:
    """A Slack and a Noxus."""
    async with world(latency=0.0) as both:
        yield both


@pytest.fixture
async def ops() -> AsyncIterator[Ops]:
    """The ops port of a bot that is starting."""
    ops = Ops("127.0.0.1", 0)
    await ops.start()
    yield ops
    await ops.stop()


async def ask(port: int, path: str) -> tuple[int, dict[str, Any]]:
    """Status and JSON."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{port}{path}") as response,
    ):
        return response.status, await response.json()


async def well() -> None:
    """A database that answers."""


async def hanging() -> None:
    """A database that does not."""
    await asyncio.Event().wait()


async def failing() -> None:
    """A database that says why it cannot."""
    raise StoreError("the database does not do its work: password=geheim")


def free_port() -> int:
    """A port that nobody uses."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def test_alive(ops: Ops) -> None:
    """The process says its version and age from its first moment, ready or not."""
    status, told = await ask(ops.port, "/healthz")
    assert status == 200
    assert told.pop("uptime_seconds") >= 0
    assert told == {"ok": True, "version": __version__}


@pytest.mark.parametrize(
    ("connected", "database", "stopping", "missing"),
    [
        (True, well, False, []),
        (False, well, False, ["Slack's events cannot arrive"]),
        (True, hanging, False, ["the database does not answer"]),
        (True, failing, False, ["the database does not answer"]),
        (True, well, True, ["the bot is stopping"]),
        (False, failing, True, ["the bot is stopping", "Slack's events cannot arrive", "the database does not answer"]),
    ],
)
async def test_ready(ops: Ops, *, connected: bool, database: Any, stopping: bool, missing: list[str]) -> None:
    """Ready is who can be reached and can store; everything missing is named, and no secret."""
    assert await ask(ops.port, "/readyz") == (503, {"ready": False, "missing": ["the bot is starting"]})
    ops.watch(lambda: connected, database)
    ops.stopping = stopping
    assert await ask(ops.port, "/readyz") == (503 if missing else 200, {"ready": not missing, "missing": missing})
    assert (await ask(ops.port, "/healthz"))[0] == 200


async def test_a_dead_agent_is_named_and_no_reason_to_leave(ops: Ops) -> None:
    """Where Noxus does not answer, another replica would do no better: events still come here."""
    ops.watch(lambda: True, well, lambda: True)
    told = {"ready": True, "missing": [], "troubles": ["the agent does not answer"]}
    assert await ask(ops.port, "/readyz") == (200, told)


@pytest.mark.parametrize("transport", ["socket", "http"])
async def test_the_life_of_a_bot(acme: World, tmp_path: Path, transport: str) -> None:
    """Ready when events can arrive, no longer while the last answers are given, gone at the end."""
    port, http, slack = free_port(), free_port(), acme.slack
    environ = acme.environ(
        f"sqlite:///{tmp_path / 'bot.db'}", SLACKBOT_OPS_PORT=str(port), SLACKBOT_TRANSPORT=transport
    )
    if transport == "http":
        environ |= {"SLACK_SIGNING_SECRET": slack.signing_secret, "SLACKBOT_HTTP_PORT": str(http)}
        environ |= {"SLACKBOT_HTTP_HOST": "127.0.0.1"}
    async with asyncio.TaskGroup() as tasks:
        async with bot(environ):
            if transport == "http":
                slack.deliver_over_http(f"http://127.0.0.1:{http}/slack/events")
            assert await ask(port, "/readyz") == (200, {"ready": True, "missing": []})
            dm = slack.dm("ada")
            root = await slack.say(slack.users["ada"], dm, "/words 40 rate=20")
            await slack.wait(lambda: bool(slack.messages(dm, root)[1:]), timeout=5)
            leaving = tasks.create_task(_seen_leaving(port))
        assert await leaving == ["the bot is stopping"]
        (answer,) = shown(acme, dm, root)
        assert len(answer.split()) == 40
    with pytest.raises(aiohttp.ClientConnectorError):
        await ask(port, "/healthz")


async def _seen_leaving(port: int) -> list[str]:
    """What is missing, once something is."""
    while True:
        status, told = await ask(port, "/readyz")
        if status != 200:
            return list(told["missing"])
        await asyncio.sleep(0.02)


async def test_a_lost_connection(acme: World, tmp_path: Path) -> None:
    """While Slack lets nobody in the bot lives and is not ready; then it is again."""
    port = free_port()
    async with bot(acme.environ(f"sqlite:///{tmp_path / 'bot.db'}", SLACKBOT_OPS_PORT=str(port))):
        acme.slack.faults.add(method="apps.connections.open", status=503, times=1)
        await acme.slack.disconnect_sockets("abort")
        assert await _seen_leaving(port) == ["Slack's events cannot arrive"]
        assert (await ask(port, "/healthz"))[0] == 200
        async with asyncio.timeout(10):
            while (await ask(port, "/readyz"))[0] != 200:
                await asyncio.sleep(0.05)


@pytest.mark.parametrize("name", ["SLACKBOT_OPS_PORT", "SLACKBOT_HTTP_PORT"])
async def test_a_port_that_is_taken(acme: World, tmp_path: Path, ops: Ops, name: str) -> None:
    """The second bot on a machine is told which setting to change."""
    environ = acme.environ(f"sqlite:///{tmp_path / 'bot.db'}", SLACKBOT_TRANSPORT="http", SLACK_SIGNING_SECRET="s" * 32)
    with pytest.raises(ExceptionGroup) as caught:
        async with bot({**environ, "SLACKBOT_HTTP_HOST": "127.0.0.1", name: str(ops.port)}):
            pass
    (error,) = caught.value.exceptions
    assert isinstance(error, SlackbotError)
    assert str(error).startswith(f"cannot listen on 127.0.0.1:{ops.port}: ")
    assert name in str(error)
