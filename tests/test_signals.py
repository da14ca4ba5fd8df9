"""Whether the agent called for a human: every sign alone and together, and what is no sign."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slackbot.domain import (
    AgentEvent,
    AgentProfile,
    AgentTarget,
    ApprovalRequested,
    ConversationState,
    FileOffered,
    Reasoning,
    RunFinished,
    Source,
    TextDelta,
    ToolFinished,
    ToolStarted,
    UnknownFrame,
)
from slackbot.errors import AgentError, AgentTimedOut
from slackbot.noxus.client import NoxusClient
from slackbot.noxus.events import FrameDecoder, reply_events
from slackbot.signals import HUMAN_TOOLS, Asked, HandoverSignals, calls_human
from slackbot.simulator.noxus import NoxusSimulator, recorded, script

WORDS = "You are now talking to the co-worker."
PROFILE = AgentProfile(handover_words=frozenset({WORDS, "Escalated to human operator"}))
HUMAN = "human_in_the_loop"
IDLE = ConversationState(status="idle")
MANUAL = ConversationState(manual=True, status="idle")
CALLED, BACK, FAILED = ToolStarted("c1", HUMAN), ToolFinished("c1", HUMAN, ok=True), ToolFinished("c1", HUMAN, ok=False)
DONE = RunFinished()


def says(text: str, block: str = "b") -> TextDelta:
    return TextDelta(block, text)


def heard(*events: AgentEvent, words: Iterable[str] = ()) -> HandoverSignals:
    signals = HandoverSignals(HUMAN_TOOLS, frozenset(words), "turn 7")
    for event in events:
        signals.hear(event)
    return signals


def asked(*events: AgentEvent, state: ConversationState | None = None, words: Iterable[str] = ()) -> Asked | None:
    return heard(*events, words=words).asked(state, PROFILE)


# --- each sign -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([CALLED, BACK, says("A colleague comes."), DONE], Asked("c1", "output")),
        ([CALLED, BACK], Asked("c1", "output")),
        ([ToolFinished("c1", HUMAN, ok=True), DONE], Asked("c1", "output")),
        ([says("One moment."), CALLED, DONE], Asked("c1", "unresolved")),
        ([CALLED, ApprovalRequested("c1", HUMAN)], Asked("c1", "unresolved")),
        ([CALLED, ApprovalRequested("c1", "")], Asked("c1", "unresolved")),
        ([ApprovalRequested("c1", HUMAN), DONE], Asked("c1", "unresolved")),
        ([CALLED], Asked("c1", "tool")),
        ([CALLED, FAILED, DONE], None),
        ([CALLED, ApprovalRequested("c1", HUMAN), FAILED, DONE], None),
        ([CALLED, FAILED, ToolStarted("c2", HUMAN), DONE], Asked("c2", "unresolved")),
        ([CALLED, FAILED, ToolStarted("c2", HUMAN), ToolFinished("c2", "", ok=True), DONE], Asked("c2", "output")),
        ([CALLED, ToolStarted("c2", HUMAN), BACK, DONE], Asked("c1", "output")),
        ([CALLED, FAILED, says(WORDS), DONE], Asked("c1", "wording")),
    ],
)
def test_a_tool_that_calls_for_a_human(events: list[AgentEvent], expected: Asked | None) -> None:
    """Its output settles it, so does waiting for one; refused or failed it counts no more."""
    assert asked(*events) == asked(*events, state=IDLE) == expected
    assert heard(*events).needs_state(failed=False)
    assert heard(*events).needs_state(failed=True)


@pytest.mark.parametrize(
    ("name", "human"),
    [
        ("human_in_the_loop", True),
        ("Human-in-the-loop", True),
        ("ask_hitl", True),
        ("call_operator", True),
        ("escalateTicket", True),
        ("handover", True),
        ("hand_off", True),
        ("handOff to a person", True),
        ("handoff_to_agent", False),
        ("hand_over_to_co-worker", False),
        ("humanize_text", False),
        ("delete_file", False),
        ("web_research", False),
        ("", False),
    ],
)
def test_names_that_look_like_it(name: str, human: bool) -> None:  # noqa: FBT001 - a column
    """By default Noxus's own name and what resembles it; not what hands over to another agent, or polishes a text."""
    assert calls_human(name) is human
    assert (asked(ToolStarted("c1", name), DONE) is not None) is human


def test_names_from_the_settings() -> None:
    """Any name may be one, beside those that look like it."""
    signals = HandoverSignals(frozenset({"ring_bell"}), frozenset(), "turn 7")
    signals.hear(ToolStarted("c1", "ring_bell"))
    signals.hear(DONE)
    assert signals.asked(None, AgentProfile()) == Asked("c1", "unresolved")
    assert calls_human(HUMAN, frozenset({"ring_bell"}))


@pytest.mark.parametrize(
    ("status", "held"),
    [
        ("manual", True),
        ("awaiting_human", True),
        ("AWAITING_HUMAN_APPROVAL", True),
        ("awaiting_human_feedback", True),
        ("with_operator", True),
        ("handover", True),
        ("hand_over", True),
        ("escalated", True),
        ("awaiting", True),
        ("awaiting_approval", False),
        ("awaiting_user_input", False),
        ("awaiting_message", False),
        ("idle", False),
        ("queued", False),
        ("", False),
    ],
)
def test_what_the_conversation_says(status: str, held: bool) -> None:  # noqa: FBT001 - a column
    """Its status may mean that a human has it; ``manual`` means it whatever the status is."""
    expected = Asked("turn 7", "manual") if held else None
    assert asked(DONE, state=ConversationState(status=status)) == expected
    assert asked(DONE, state=ConversationState(manual=True, status=status)) == Asked("turn 7", "manual")
    again = asked(CALLED, FAILED, DONE, state=ConversationState(status=status))
    assert again == (Asked("c1", "manual") if held else None)


@pytest.mark.parametrize(
    ("events", "odd"),
    [
        ([DONE], True),
        ([], True),
        ([says(" \n"), DONE], True),
        ([Reasoning("r", "Hm."), Source("a", "b"), UnknownFrame("data-x"), DONE], True),
        ([ToolStarted("c1", "delete_file"), DONE], True),
        ([says("Hello."), DONE], False),
        ([FileOffered("data:,", "text/plain"), DONE], False),
    ],
)
def test_an_odd_run(events: list[AgentEvent], odd: bool) -> None:  # noqa: FBT001 - a column
    """Neither text nor a file and no failure either: then the conversation should be asked what is going on."""
    assert heard(*events).needs_state(failed=False) is odd
    assert not heard(*events).needs_state(failed=True)
    assert asked(*events) is None
    assert asked(*events, state=IDLE) is None


def test_a_tool_that_waits_for_a_yes_is_no_call_for_a_human() -> None:
    """Nor is a status that may be about it, unless the conversation is plainly held."""
    waiting = ConversationState(status="awaiting_human_approval")
    for more in ((), (ApprovalRequested("c1", "delete_file"),)):
        events = (ToolStarted("c1", "delete_file"), *more, DONE)
        assert asked(*events, state=waiting) is None
        assert asked(*events, state=MANUAL) == Asked("turn 7", "manual")
        settled = (*events[:-1], ToolFinished("c1", "delete_file", ok=True), DONE)
        assert asked(*settled, state=waiting) == Asked("turn 7", "manual")


@pytest.mark.parametrize(
    ("events", "found"),
    [
        ([says(WORDS)], True),
        ([says(" \n you ARE now\n"), says("talking  to the co-worker.  ")], True),
        ([says("One moment."), says(WORDS, "c")], True),
        ([says(WORDS), says(" \n", "c")], True),
        ([says(WORDS, "")], True),
        ([says(WORDS), says("Or not.", "c")], False),
        ([says(f"Somebody said: {WORDS}")], False),
        ([says("Hello."), DONE], False),
        ([says(" "), DONE], False),
        ([says(WORDS + " " * 500), says("No.")], False),
        ([says(piece) for piece in f"{'long ' * 400}{WORDS}"], False),
    ],
)
def test_the_agents_wording(events: list[AgentEvent], found: bool) -> None:  # noqa: FBT001 - a column
    """Its last paragraph says exactly what its settings let it say to a call for a human, or ours do."""
    expected = Asked("turn 7", "wording") if found else None
    assert asked(*events) == expected
    assert heard(*events, words={WORDS.upper()}).asked(None, AgentProfile()) == expected
    assert heard(*events).asked(None, AgentProfile(handover_words=frozenset({"", " "}))) is None


def test_evidence_holds_no_content() -> None:
    """Kinds of events, names of tools and the conversation's state; never more than a few of them."""
    signals = heard(
        says("secret"), says("secret"), says("secret", "c"), CALLED, BACK, UnknownFrame("data-handover"), DONE
    )
    seen = {"kinds": ["TextDelta", "ToolStarted", "ToolFinished", "data-handover", "RunFinished"], "tools": [HUMAN]}
    assert signals.evidence(None) == seen
    assert signals.evidence(MANUAL) == {**seen, "manual": True, "status": "idle"}
    many = heard(*(ToolStarted(f"c{number}", f"{number}" * 100) for number in range(99)))
    tools = many.evidence(ConversationState(status="s" * 999))
    assert len(json.dumps(tools)) < 2000


EVENTS = st.lists(
    st.builds(TextDelta, st.sampled_from(["a", "b", ""]), st.sampled_from([WORDS, " ", "no", "x" * 600]) | st.text())
    | st.builds(ToolStarted, st.sampled_from("12"), st.sampled_from([HUMAN, "delete_file", ""]) | st.text())
    | st.builds(ToolFinished, st.sampled_from("123"), st.sampled_from([HUMAN, "delete_file", ""]), st.booleans())
    | st.builds(ApprovalRequested, st.sampled_from("123"), st.sampled_from([HUMAN, "delete_file", ""]))
    | st.sampled_from([DONE, FileOffered("data:,", ""), Reasoning("r", "x"), UnknownFrame("x")])
)
STATES = st.none() | st.builds(ConversationState, st.booleans(), st.sampled_from(["", "idle", "manual"]) | st.text())


@given(EVENTS, STATES)
def test_any_run_asks_at_most_once(events: list[AgentEvent], state: ConversationState | None) -> None:
    """Whatever is heard, the same run gives the same key, which is that of a call for a human if there was one."""
    once = asked(*events, state=state)
    assert asked(*events, state=state) == once
    calls = {event.call_id for event in events if isinstance(event, ToolStarted | ToolFinished | ApprovalRequested)}
    assert once is None or once.key in {*calls, "turn 7"}
    if state is not None and state.manual:
        assert once is not None


@given(st.text(min_size=1), st.data())
def test_pieces_of_a_text_do_not_matter(text: str, data: Any) -> None:
    """The wording is the same however the stream cuts it."""
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=5)))
    pieces = [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    whole, cut = heard(says(text), words=[text]), heard(*map(says, pieces), words=[text])
    assert whole.asked(None, AgentProfile()) == cut.asked(None, AgentProfile())
    assert whole.asked(None, AgentProfile()) == (Asked("turn 7", "wording") if text.strip() else None)


# --- recorded runs ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", recorded.names())
def test_recorded_runs(name: str) -> None:
    """Those that call for a human, and no others: streamed, and as messages of the history."""
    expected = {"hitl_plain_tool": Asked("call_h", "output"), "hitl_deferred_tool": Asked("call_h", "unresolved")}
    decoder = FrameDecoder()
    events = [event for frame in recorded.frames(name) for event in decoder.push("message", json.dumps(frame))]
    assert asked(*events, state=IDLE) == expected.get(name)
    messages = recorded.messages(name)
    if messages is not None:
        assert asked(*reply_events({"parts": messages}), state=IDLE) == expected.get(name)


# --- through the real client -----------------------------------------------------------------------------------------


@asynccontextmanager
async def talking(**switches: Any) -> AsyncIterator[tuple[NoxusSimulator, NoxusClient, str]]:
    noxus = NoxusSimulator(rate=2000, first_token_delay=0, **switches)
    await noxus.start()
    client = NoxusClient(noxus.url, noxus.api_key, idle_seconds=0.6)
    try:
        yield noxus, client, await client.create_conversation(AgentTarget(agent_id=noxus.agent_id), "c")
    finally:
        await client.aclose()
        await noxus.stop()


async def run(client: NoxusClient, conversation: str, text: str) -> tuple[Asked | None, list[AgentEvent], bool]:
    """What a turn with this text amounts to, its events, and whether the conversation was read for it."""
    events: list[AgentEvent] = []
    signals, failed = heard(), False
    try:
        async with client.ask(conversation, text) as stream:
            async for event in stream:
                events.append(event)
                signals.hear(event)
    except AgentError as error:
        failed = not isinstance(error, AgentTimedOut)
    read = signals.needs_state(failed=failed)
    state = await client.state(conversation) if read else None
    profile = await client.profile(AgentTarget(agent_id=NoxusSimulator().agent_id))
    return signals.asked(state, profile), events, read


@pytest.mark.parametrize("sdk_version", [5, 6])
@pytest.mark.parametrize(
    ("way", "why"),
    [
        ("deferred", "unresolved"),
        ("plain", "output"),
        ("approval", "unresolved"),
        ("waiting", "tool"),
        ("manual", "manual"),
        ("wording", "wording"),
    ],
)
async def test_every_way_to_ask_is_found_once(way: str, why: str, sdk_version: int) -> None:
    """However the agent calls for a human it is heard, and heard again it has the same key."""
    async with talking(sdk_version=sdk_version) as (_, client, conversation):
        found, events, _ = await run(client, conversation, f"/human {way}")
        assert found is not None
        assert found.why == why
        calls = [event.call_id for event in events if isinstance(event, ToolStarted)]
        assert [found.key] == (calls or ["turn 7"])
        state = await client.state(conversation)
        profile = await client.profile(AgentTarget(agent_id=NoxusSimulator().agent_id))
        assert heard(*events).asked(state, profile) == found
        twice_over = heard(*events, *events).asked(state, profile)
        assert twice_over == found or way == "wording"


@pytest.mark.parametrize("way", script.HUMAN_WAYS[:3])
async def test_whole_answers_ask_too(way: str) -> None:
    """A server without streams tells of the same calls."""
    async with talking() as (noxus, client, conversation):
        noxus.faults.add(path="stream", status=405, times=None)
        found, events, _ = await run(client, conversation, f"/human {way}")
        assert found is not None
        assert found.why == ("output" if way == "plain" else "unresolved")
        assert [found.key] == [event.call_id for event in events if isinstance(event, ToolStarted)]


async def test_a_status_alone_is_enough() -> None:
    """A backend that says it in the status instead."""
    async with talking(manual_flag=False, human_status="awaiting_human") as (_, client, conversation):
        found, _, read = await run(client, conversation, "/human manual")
        assert (found, read) == (Asked("turn 7", "manual"), True)
    async with talking(manual_flag=False) as (_, client, conversation):
        found, _, read = await run(client, conversation, "/human manual")
        assert (found, read) == (None, True)


async def test_words_of_the_agents_own() -> None:
    """An agent with another wording is understood by its settings."""
    async with talking() as (noxus, client, _):
        for tool in noxus.agents[noxus.agent_id]["definition"]["base_tools"]:
            if tool["type"] == HUMAN:
                tool["handover_message"] = "Ein Mensch übernimmt."
        conversation = await client.create_conversation(AgentTarget(agent_id=noxus.agent_id), "c")
        found, events, _ = await run(client, conversation, "/human wording")
        assert found == Asked("turn 7", "wording")
        assert "".join(event.text for event in events if isinstance(event, TextDelta)) == "Ein Mensch übernimmt."


@pytest.mark.parametrize("sdk_version", [5, 6])
async def test_ordinary_runs_ask_for_nobody(sdk_version: int) -> None:
    """Answers, tools, approvals of other tools, failures and silence; only the odd ones cost a look."""
    async with talking(sdk_version=sdk_version) as (_, client, conversation):
        looked, flow = set[str](), conversation
        ordinary = ["hello", "/tool", "/tool delete_file", "/approve", "/fail", "/silent", "/think", "/file", "/cut"]
        for text in [*ordinary, "/hang", *(f"/frames {name}" for name in recorded.names() if "hitl" not in name)]:
            found, _, read = await run(client, flow, text)
            assert found is None, text
            looked |= {text} if read else set()
            if text == "/hang":
                flow = await client.create_conversation(AgentTarget(agent_id=NoxusSimulator().agent_id), "c")
        assert looked == {"/approve", "/silent", "/frames tool_approval"}
