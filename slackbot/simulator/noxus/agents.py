"""The workspace of the simulated Noxus: agents with the documented settings, a chat flow, tool schemas, presets."""

from __future__ import annotations

import copy
import json
from functools import cache
from importlib import resources
from typing import Any

GROUP_ID = "6f0d8a52-4f5b-4c39-9a36-0e6a1f3f7c10"
AGENT_ID = "1b671a64-40d5-491e-99b0-da01ff1f3341"
OTHER_AGENT_ID = "8f14e45f-ceea-467f-a0e6-2d3b1c5d7a90"
FLOW_ID = "c9bf9e57-1685-4c89-bafb-ff5af830be8a"
SAMPLE_FILE_ID = "3c90c3cc-0d44-4b50-8888-8dd25736052a"
"""The file that the recorded run ``multi_step`` speaks of."""

PRESETS = [
    {"name": "Cost", "value": "preset:cost"},
    {"name": "Balanced", "value": "preset:balanced"},
    {"name": "Quality", "value": "preset:quality"},
]
"""Model presets; only ``preset:cost`` is documented."""


@cache
def _documented() -> dict[str, Any]:
    text = (resources.files(__package__) / "agent_settings.json").read_text(encoding="utf-8")
    settings: dict[str, Any] = json.loads(text)
    return settings


def settings() -> dict[str, Any]:
    """A fresh copy of an agent's settings.

    Source: docs.noxus.ai/api-reference/v1/conversations/public-list-conversations, with the tools for humans, the
    web and attachments enabled, ``requires_approval`` on every tool, and an introductory message.
    """
    return copy.deepcopy(_documented())


def human_words(settings: dict[str, Any]) -> tuple[str, str]:
    """What the tool that asks for a human returns, and what the agent says then."""
    tools: list[dict[str, Any]] = [*settings.get("base_tools", ()), *_documented()["base_tools"]]
    tool = next(tool for tool in tools if "handover_message" in tool)
    return tool["tool_display_message_end"], tool["handover_message"]


def agents(at: str) -> dict[str, dict[str, Any]]:
    """The agents by id: the one the demo uses, and a second one to choose."""
    people = ((AGENT_ID, "Simulated agent", "Answers everything."), (OTHER_AGENT_ID, "Other agent", "Answers too."))
    return {agent_id: _agent(agent_id, name, description, at) for agent_id, name, description in people}


def _agent(agent_id: str, name: str, description: str, at: str) -> dict[str, Any]:
    return {
        "id": agent_id,
        "group_id": GROUP_ID,
        "name": name,
        "description": description,
        "definition": settings(),
        "draft_definition": None,
        "visible": True,
        "image_url": None,
        "last_updated_at": at,
        "deleted_at": None,
        "allow_public_access": False,
    }


def flows() -> dict[str, dict[str, Any]]:
    """The chat flows by id."""
    flow = {
        "id": FLOW_ID,
        "group_id": GROUP_ID,
        "name": "Simulated chat flow",
        "type": "agent_flow",
        "flow_version": "v2",
        "definition": {"flow_version": "v2", "nodes": [], "edges": []},
    }
    return {FLOW_ID: flow}


def tool_schemas() -> dict[str, Any]:
    """A config schema for each tool of the documented settings, by type."""
    return {
        tool["type"]: {"title": tool["title"], "type": "object", "properties": {"enabled": {"type": "boolean"}}}
        for tool in _documented()["base_tools"]
    }
