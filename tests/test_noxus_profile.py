"""How an agent wants to be shown: every setting that counts, and settings that make no sense."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slackbot.domain import AgentProfile
from slackbot.noxus.profile import agent_profile
from slackbot.simulator.noxus import agents


def tool(name: str, **settings: Any) -> dict[str, Any]:
    words = {"tool_display_message_start": f"{name}…", "tool_display_message_end": f"{name}!"}
    return {"type": name, "visible": True, "enabled": True, **words, **settings}


def profile(*tools: Any, **settings: Any) -> AgentProfile:
    return agent_profile({"name": "Ada", "definition": {"base_tools": [*tools], **settings}})


def test_the_documented_settings() -> None:
    """An agent as the documentation shows it: every text of its own, except for the tool that is not visible."""
    found = agent_profile({"name": "Ada", "definition": agents.settings()})
    assert found.tool_messages["web_research"] == "Searching the web..."
    assert found.tool_end_messages["web_research"] == "Searched the web"
    assert found.tool_messages.keys() == found.tool_end_messages.keys()
    assert found.hidden_tools == {"filesystem"}
    assert found.thinking_message == "Thinking..."
    assert (found.hide_reasoning, found.reads_files) == (False, True)
    assert found.handover_words == {"You are now talking to the co-worker.", "Escalated to human operator"}


def test_a_tool_has_words_for_its_start_and_its_end() -> None:
    """Either may be missing; nobody sees those of an invisible tool."""
    tools = (
        tool("a"),
        tool("b", tool_display_message_start=""),
        tool("c", tool_display_message_end=None),
        tool("d", visible=False),
        tool("e", visible="no"),
    )
    found = profile(*tools)
    assert found.tool_messages == {"a": "a…", "c": "c…", "e": "e…"}
    assert found.tool_end_messages == {"a": "a!", "b": "b!", "e": "e!"}
    assert found.hidden_tools == {"d"}


def test_the_first_of_several_entries_counts() -> None:
    """A tool that is named twice is shown as its first entry says."""
    found = profile(tool("a", visible=False), tool("b"), workflows=[tool("a"), tool("b", visible=False)])
    assert found.tool_messages == {"b": "b…"}
    assert found.hidden_tools == {"a"}


@pytest.mark.parametrize(
    ("setting", "name"),
    [
        ("hide_state_transitions", "flow_transition"),
        ("hide_state_transitions", "chatflow_transition"),
        ("hide_workflow_progress", "workflow"),
    ],
)
def test_settings_that_hide_tools(setting: str, name: str) -> None:
    """The tools that a setting hides count as hidden, listed or not, and whatever their own entry says."""
    others = {"flow_transition", "chatflow_transition", "workflow"} - {name}
    assert name in profile(**{setting: True}).hidden_tools
    found = profile(tool(name), tool("a"), **{setting: True})
    assert name in found.hidden_tools
    assert (found.tool_messages, found.tool_end_messages) == ({"a": "a…"}, {"a": "a!"})
    assert profile(tool(name), **{setting: False}).tool_messages == {name: f"{name}…"}
    assert not profile(**{setting: 1}).hidden_tools & others


@pytest.mark.parametrize(
    ("value", "expected"),
    [("Thinking...", "Thinking..."), ({"text": " One moment "}, "One moment"), (None, ""), (7, ""), ("", "")],
)
def test_words_for_thinking(value: object, expected: str) -> None:
    """As the agent says; nothing where it does not."""
    assert profile(minimal_tool_message=value).thinking_message == expected
    assert profile().thinking_message == ""


@pytest.mark.parametrize(
    ("value", "expected"),
    [([{"text": "Hello!"}, "Ask me.", 7, {}], "Hello!\nAsk me."), ({"text": 7}, ""), ([], ""), ("a\ud800", "a\ufffd")],
)
def test_rich_text_is_read_as_plain_text(value: object, expected: str) -> None:
    """A greeting may come in pieces."""
    assert profile(introductory_message=value).introductory_message == expected


@pytest.mark.parametrize("agent", [None, [], "x", {}, {"definition": "x"}, {"definition": {"base_tools": {}}}], ids=str)
def test_settings_that_are_none(agent: object) -> None:
    """Nothing is known then, and so nothing is hidden or missing."""
    assert agent_profile(agent) == AgentProfile()


@pytest.mark.parametrize(("value", "hidden"), [(True, True), (False, False), ("true", False), (None, False)])
def test_reasoning_may_be_hidden(value: object, hidden: bool) -> None:  # noqa: FBT001 - a column
    """Only by a plain yes."""
    assert profile(hide_reasoning=value).hide_reasoning is hidden


@pytest.mark.parametrize(
    ("tools", "reads"),
    [
        ([], True),
        (["x", {"type": 7}], True),
        ([tool("web_research")], False),
        ([tool("web_research"), tool("attach_file")], True),
        ([tool("filesystem", visible=False)], True),
        ([{"type": "create_files"}], True),
        ([tool("files", enabled=False)], False),
        ([tool("code_execution", enabled=False), tool("sandbox")], True),
        ([tool("docx", enabled=False), tool("docx")], True),
        ([tool("excel")], True),
    ],
)
def test_whether_the_agent_can_deal_with_files(tools: list[Any], reads: bool) -> None:  # noqa: FBT001 - a column
    """It cannot when it names its tools and none that is enabled deals with files; without a list nobody knows."""
    assert profile(*tools).reads_files is reads
    assert profile(workflows=tools).reads_files is reads


@pytest.mark.parametrize(
    ("tools", "settings", "words"),
    [
        ([tool("human_in_the_loop", handover_message=" Hello. ")], {}, {"Hello.", "human_in_the_loop!"}),
        ([tool("human_in_the_loop", visible=False, enabled=False)], {}, {"human_in_the_loop!"}),
        ([tool("call_operator", tool_display_message_end=None)], {}, set()),
        ([tool("other", handover_message={"text": "A person comes."})], {}, {"A person comes.", "other!"}),
        ([tool("web_research"), "x"], {}, set()),
        ([], {"guardrail_action_human": "Let me get somebody."}, {"Let me get somebody."}),
        ([], {"guardrail_action_human": 7}, set()),
    ],
)
def test_words_for_a_handover(tools: list[Any], settings: dict[str, Any], words: set[str]) -> None:
    """Those of every tool that calls for a human, seen or not, and of a guardrail that does."""
    assert profile(*tools, **settings).handover_words == words


SETTING = st.sampled_from([
    "name", "settings", "definition", "introductory_message", "minimal_tool_message", "hide_reasoning", "base_tools",
    "hide_workflow_progress", "hide_state_transitions", "tools", "type", "visible", "enabled", "text",
    "tool_display_message_start", "tool_display_message_end", "handover_message", "guardrail_action_human",
])  # fmt: skip


LEAF = st.none() | st.booleans() | st.integers() | st.text(max_size=5) | SETTING


@given(st.recursive(LEAF, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(SETTING, inner, max_size=4)))
def test_any_json_gives_a_profile(agent: object) -> None:
    """Whatever the server says, there is a profile of strings, in which nothing hidden has words."""
    found = agent_profile(agent)
    assert all(isinstance(text, str) for text in (found.name, found.introductory_message, found.thinking_message))
    assert all(found.handover_words)
    for messages in (found.tool_messages, found.tool_end_messages):
        assert all(messages.values())
        assert not found.hidden_tools & messages.keys()
