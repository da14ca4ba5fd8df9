"""How an agent wants to be shown, out of its settings. Pure.

Settings and their defaults: https://docs.noxus.ai/api-reference/v1/conversations/public-list-conversations. Types of
tools: noxus-sdk 0.6.0, ``resources/conversations.py``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from slackbot.domain import AgentProfile
from slackbot.noxus.events import clean
from slackbot.signals import calls_human

_TOOL_LISTS: Final = (
    "base_tools", "tools", "actions", "workflows", "knowledge_bases", "mcp_servers", "coworkers", "chatflow_tools",
)  # fmt: skip
_HIDING: Final = {
    "hide_state_transitions": ("flow_transition", "chatflow", "chatflow_transition", "chatflow_extraction"),
    "hide_workflow_progress": ("workflow",),
}
"""Settings that hide tools as a whole."""
_FILE_TOOLS: Final = ("code_execution", "docx", "excel", "sandbox")
"""Tools that can do something with files, beside those that have "file" in their name."""


def agent_profile(agent: object) -> AgentProfile:
    """The profile in an agent's JSON, as far as it is there. Of several entries for one tool the first counts."""
    if not isinstance(agent, dict):
        return AgentProfile()
    definition = agent.get("definition")
    inner = definition.get("settings") if isinstance(definition, dict) else None
    settings: dict[object, object] = {}
    for holder in (agent.get("settings"), definition, inner):
        settings |= holder if isinstance(holder, dict) else {}
    named: dict[str, dict[object, object]] = {}
    for name, tool in tools(settings):
        named.setdefault(name, tool)
    hidden = {name for name, tool in named.items() if tool.get("visible") is False}
    for setting, names in _HIDING.items():
        if settings.get(setting) is True:
            hidden.update(names)
    return AgentProfile(
        name=rich_text(agent.get("name")),
        introductory_message=rich_text(settings.get("introductory_message")),
        tool_messages=_messages(named, hidden, "tool_display_message_start"),
        tool_end_messages=_messages(named, hidden, "tool_display_message_end"),
        hidden_tools=frozenset(hidden),
        thinking_message=rich_text(settings.get("minimal_tool_message")),
        hide_reasoning=settings.get("hide_reasoning") is True,
        reads_files=not named or any(_reads_files(name, tool) for name, tool in tools(settings)),
        handover_words=frozenset(_handover_words(settings)),
    )


def _messages(named: dict[str, dict[object, object]], hidden: set[str], setting: str) -> dict[str, str]:
    shown = ((name, rich_text(tool.get(setting))) for name, tool in named.items() if name not in hidden)
    return {name: message for name, message in shown if message}


def _handover_words(settings: dict[object, object]) -> Iterator[str]:
    """What is said when a human is called: by the tools for that, and by a guardrail."""
    said = [settings.get("guardrail_action_human")]
    for name, tool in tools(settings):
        if "handover_message" in tool or calls_human(name):
            said += [tool.get("handover_message"), tool.get("tool_display_message_end")]
    return filter(None, map(rich_text, said))


def _reads_files(name: str, tool: dict[object, object]) -> bool:
    return tool.get("enabled") is not False and ("file" in name or name in _FILE_TOOLS)


def tools(settings: dict[object, object]) -> Iterator[tuple[str, dict[object, object]]]:
    """Every tool that the settings name, by its type."""
    for key in _TOOL_LISTS:
        entries = settings.get(key)
        for entry in entries if isinstance(entries, list) else ():
            if isinstance(entry, dict) and (name := rich_text(entry.get("type"))):
                yield name, entry


def rich_text(value: object) -> str:
    """Plain text of a setting that may be a string, ``{"text": …}``, or a list of these."""
    if isinstance(value, str):
        return clean(value).strip()
    if isinstance(value, dict):
        return rich_text(value["text"]) if isinstance(value.get("text"), str) else ""
    if isinstance(value, list):
        texts = (rich_text(item) for item in value if isinstance(item, str | dict))
        return "\n".join(text for text in texts if text)
    return ""
