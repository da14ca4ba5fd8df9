"""The circuit breaker: when calls to Noxus stop, and when they go on."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slackbot.domain import AgentEvent, AgentTarget, RunFinished
from slackbot.errors import AgentDown, AgentError, AgentTimedOut, AgentUnavailable
from slackbot.noxus import breaker, caller
from slackbot.noxus.breaker import FAILURES, RUN_SECONDS, TRIAL_SECONDS, Breaker
from slackbot.noxus.client import NoxusClient
from slackbot.simulator.noxus import NoxusSimulator

LONG = RUN_SECONDS + 1.0


def opened(at: float = 100.0) -> Breaker:
    """A breaker that opened at this time."""
    found = Breaker()
    for number in range(FAILURES):
        found.failed(at - LONG + number / 100, at)
    assert found.is_open
    return found


def test_a_run_of_failures_opens_it_once() -> None:
    """The failure that makes the run long enough opens it; further ones are no news."""
    found = Breaker()
    news = [found.failed(float(second), float(second)) for second in range(0, 3 * FAILURES, 2)]
    assert news == [False] * (FAILURES - 1) + [True] + [False] * (len(news) - FAILURES)


def test_a_short_run_is_a_restart() -> None:
    """However many calls fail within a few seconds, calls go on: they fail quickly by themselves."""
    found = Breaker()
    assert not any(found.failed(100.0, 100.0 + RUN_SECONDS - 0.1) for _ in range(100))
    assert found.wait(105.0) == 0.0


def test_time_outs_of_one_moment_are_a_long_run() -> None:
    """What counts is when calls began: many that waited in vain side by side are enough."""
    found = Breaker()
    assert [found.failed(100.0, 130.0) for _ in range(FAILURES)][-1]


def test_an_answer_ends_a_run() -> None:
    """Whatever the answer: a service that answers is not down; what began before it is no news."""
    found = Breaker()
    for second in range(FAILURES - 1):
        found.failed(float(second), second + LONG)
    assert not found.answered(20.0)
    assert not any(found.failed(19.0, 60.0) for _ in range(FAILURES))
    assert not found.failed(20.0, 60.0)


def test_one_thing_that_always_fails_counts_once() -> None:
    """One conversation that Noxus cannot open says nothing of the others."""
    found = Breaker()
    assert not any(found.failed(float(second), float(second), "/v1/conversations/7") for second in range(50))
    assert [found.failed(50.0, 50.0, f"/v1/conversations/{number}") for number in range(FAILURES)].count(True) == 1


def test_one_call_at_a_time_tries_it() -> None:
    """While open one call in ten seconds goes; whether it fails or hangs, the next waits as long."""
    found = opened(100.0)
    assert found.wait(100.0 + TRIAL_SECONDS / 2) == TRIAL_SECONDS / 2
    assert [found.wait(100.0 + TRIAL_SECONDS) for _ in range(3)] == [0.0, TRIAL_SECONDS, TRIAL_SECONDS]
    assert not found.failed(100.0 + TRIAL_SECONDS, 100.0 + TRIAL_SECONDS)
    assert found.wait(100.0 + 2 * TRIAL_SECONDS) == 0.0


def test_the_first_answer_closes_it() -> None:
    """Everybody may call again at once."""
    found = opened(100.0)
    assert found.answered(101.0)
    assert not found.is_open
    assert [found.wait(101.0) for _ in range(3)] == [0.0] * 3


@given(st.lists(st.tuples(st.booleans(), st.floats(0.0, 30.0))))
def test_it_is_open_only_after_failures_alone(happenings: list[tuple[bool, float]]) -> None:
    """Whatever happens: it opens after enough failures without an answer between them, and answers find it closed."""
    found, now, failures = Breaker(), 0.0, 0
    for well, seconds in happenings:
        began, now = now, now + seconds
        failures = 0 if well else failures + 1
        if well:
            found.answered(now)
        else:
            found.failed(began, now)
        assert found.is_open <= (failures >= FAILURES)


# --- with real calls -------------------------------------------------------------------------------------------------


@pytest.fixture
async def noxus() -> AsyncIterator[NoxusSimulator]:
    """A Noxus."""
    simulator = NoxusSimulator(first_token_delay=0.0, rate=50.0)
    await simulator.start()
    yield simulator
    await simulator.stop()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run of failures may be short, and a trial comes soon."""
    monkeypatch.setattr(breaker, "RUN_SECONDS", 0.0)
    monkeypatch.setattr(breaker, "TRIAL_SECONDS", 0.3)


@pytest.fixture
async def client(noxus: NoxusSimulator) -> AsyncIterator[NoxusClient]:
    """A client that pauses for half the time."""
    found = NoxusClient(noxus.url, noxus.api_key, jitter=lambda: 0.0)
    yield found
    await found.aclose()


@pytest.mark.usefixtures("quick")
async def test_a_dead_noxus_is_not_asked_and_its_answers_are_let_in(
    noxus: NoxusSimulator, client: NoxusClient, caplog: pytest.LogCaptureFixture
) -> None:
    """Calls fail at once while Noxus is down, an answer being read goes on, and one good trial ends it; logged once."""
    caplog.set_level(logging.INFO, logger=caller.__name__)
    target = AgentTarget(agent_id=noxus.agent_id)
    conversation = await client.create_conversation(target, "growing")
    async with client.ask(conversation, "/words 40 rate=30") as events:
        await anext(events)
        noxus.faults.add(path="create", status=503, times=None)
        for _ in range(FAILURES):
            with pytest.raises(AgentUnavailable):
                await client.create_conversation(target, "new")
        before = len(noxus.requests)
        with pytest.raises(AgentDown) as down:
            await client.create_conversation(target, "new")
        assert len(noxus.requests) == before
        assert 0.0 < down.value.retry_after <= 0.3
        assert not down.value.may_have_arrived
        assert [event async for event in events][-1] == RunFinished()
    noxus.faults.clear()
    await asyncio.sleep(0.35)
    assert await client.create_conversation(target, "new")
    assert await client.create_conversation(target, "new")
    said = [record.message for record in caplog.records if record.message in {"noxus.down", "noxus.back"}]
    assert said == ["noxus.down", "noxus.back"]


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("status", [400, 401, 404, 409, 422, 429, 501])
async def test_what_noxus_refuses_never_stops_calls(noxus: NoxusSimulator, client: NoxusClient, status: int) -> None:
    """A Noxus that answers no is there."""
    noxus.faults.add(path="create", status=status, retry_after=0, times=None)
    for _ in range(FAILURES + 1):
        with pytest.raises(AgentError) as refused:
            await client.create_conversation(AgentTarget(agent_id=noxus.agent_id), "new")
        assert not isinstance(refused.value, AgentDown)


@pytest.mark.usefixtures("quick")
async def test_retries_end_when_it_opens(noxus: NoxusSimulator, client: NoxusClient) -> None:
    """A call that finds Noxus gone and others with it gives up with its own error, not after all its tries."""
    await noxus.stop()
    errors = []
    for _ in range(FAILURES):
        with pytest.raises(AgentUnavailable) as gone:
            await client.create_conversation(AgentTarget(agent_id=noxus.agent_id), "new")
        errors.append(type(gone.value))
    assert errors[:2] == [AgentUnavailable] * 2
    assert errors[-1] is AgentDown


# --- questions that wait ---------------------------------------------------------------------------------------------


@pytest.fixture
def doubtful(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run of failures may be short, and whoever waits soon wonders whether Noxus answers anybody."""
    monkeypatch.setattr(breaker, "RUN_SECONDS", 0.0)
    monkeypatch.setattr(caller, "DOUBT_SECONDS", 0.3)
    monkeypatch.setattr(caller, "LOOK_SECONDS", 0.3)


async def asked(client: NoxusClient, conversation: str, question: str = "/say well") -> list[AgentEvent] | AgentError:
    """The answer, or what went wrong with it."""
    try:
        async with client.ask(conversation, question) as events:
            return [event async for event in events]
    except AgentError as error:
        return error


async def conversations(noxus: NoxusSimulator, client: NoxusClient) -> list[str]:
    """More than a breaker needs."""
    target = AgentTarget(agent_id=noxus.agent_id)
    return [await client.create_conversation(target, "follow-up") for _ in range(FAILURES + 3)]


@pytest.mark.usefixtures("doubtful")
async def test_questions_do_not_wait_long_for_a_noxus_that_hangs(noxus: NoxusSimulator, client: NoxusClient) -> None:
    """Though nothing but questions is under way, it is seen that nobody is answered; each was asked once."""
    threads = await conversations(noxus, client)
    noxus.faults.add(delay=100.0, times=None)
    ended = await asyncio.gather(*[asked(client, thread) for thread in threads])
    assert [(type(error), getattr(error, "may_have_arrived", None)) for error in ended] == [(AgentTimedOut, True)] * 8
    assert client.is_down
    assert [request.endpoint for request in noxus.requests].count("stream") == len(threads)


@pytest.mark.usefixtures("doubtful")
async def test_slow_answers_of_a_noxus_that_is_there_are_waited_for(noxus: NoxusSimulator, client: NoxusClient) -> None:
    """However many begin late: one that looks is answered, and that is enough for all."""
    threads = await conversations(noxus, client)
    noxus.faults.add(path="stream", delay=2.0, times=None)
    ended = await asyncio.gather(*[asked(client, thread) for thread in threads])
    assert [isinstance(events, list) and events[-1] for events in ended] == [RunFinished()] * len(threads)
    assert "get" in [request.endpoint for request in noxus.requests]
