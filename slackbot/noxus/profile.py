"""How an agent wants to be shown, out of its settings. Pure.

Settings and their defaults: https://docs.noxus.ai/api-reference/v1/conversations/public-list-conversations.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from slackbot.domain import AgentProfile
from slackbot.noxus.events import clean

_TOOL_LISTS: Final = (
    "base_tools",
    "tools",
    "actions",
    "workflows",
    "knowledge_bases",
    "mcp_servers",
    "coworkers",
    "chatflow_tools",
)


def agent_profile(agent: object) -> AgentProfile:
    """The profile in an agent's JSON, as far as it is there. Of several entries for one tool the first counts."""
    if not isinstance(agent, dict):
        return AgentProfile()
    definition = agent.get("definition")
    inner = definition.get("settings") if isinstance(definition, dict) else None
    settings: dict[object, object] = {}
    for holder in (agent.get("settings"), definition, inner):
        settings |= holder if isinstance(holder, dict) else {}
    messages: dict[str, str] = {}
    hidden: set[str] = set()
    for name, tool in tools(settings):
        if name in messages or name in hidden:
            continue
        if tool.get("visible") is False:
            hidden.add(name)
        elif message := rich_text(tool.get("tool_display_message_start")):
            messages[name] = message
    return AgentProfile(
        name=rich_text(agent.get("name")),
        introductory_message=rich_text(settings.get("introductory_message")),
        tool_messages=messages,
        hidden_tools=frozenset(hidden),
    )


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
