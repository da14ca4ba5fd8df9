"""The questions in a conversation and their answers, found among the conversation's messages. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from slackbot.domain import AgentEvent
from slackbot.noxus.events import parts, said, text_of

_WHOLE: Final = frozenset({"stop", "length", "content_filter", "content-filter"})
"""Reasons for which a model stops when it has said all that it will. After a tool's call it would go on."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """What a user asked, when (as Noxus writes it), and what the agent said since. ``finish`` is why the model stopped
    saying it; empty when that is not told, or when it was not the end."""

    question: str
    asked_at: str
    said: tuple[AgentEvent, ...]
    finish: str

    @property
    def is_whole(self) -> bool:
        """Whether it is certain that the answer is complete."""
        return self.finish in _WHOLE


def exchanges(conversation: object) -> list[Exchange]:
    """The questions of a Conversation, oldest first, each with all that follows it up to the next."""
    found: list[Exchange] = []
    messages = conversation.get("messages") if isinstance(conversation, dict) else None
    question: str | None = None
    asked_at, nodes = "", list[dict[str, Any]]()
    for message in messages if isinstance(messages, list) else ():
        asked_here = False
        for node in parts(message) if isinstance(message, dict) else ():
            words = _question(node)
            if words is None:
                nodes.append(node)
                continue
            if question is not None and (nodes or not asked_here):
                found.append(_exchange(question, asked_at, nodes))
                question = None
            # One message may hold a question in several pieces, such as its files.
            question, asked_at, nodes = question or words, text_of(message, "created_at"), []
            asked_here = True
    return found if question is None else [*found, _exchange(question, asked_at, nodes)]


def _exchange(question: str, asked_at: str, nodes: list[dict[str, Any]]) -> Exchange:
    return Exchange(question, asked_at, tuple(said(nodes)), _finish(nodes))


def _question(node: dict[str, Any]) -> str | None:
    """The words of a user; None when the node is something else."""
    if node.get("part_kind") != "user-prompt" and node.get("role") != "user":
        return None
    content = node.get("content")
    pieces = content if isinstance(content, list) else [content]
    return "\n".join(piece for piece in pieces if isinstance(piece, str))


def _finish(nodes: list[dict[str, Any]]) -> str:
    finish = ""
    for node in nodes:
        if node.get("kind") == "response":
            whole = node.get("state") in (None, "complete")
            finish = text_of(node, "finish_reason") if whole else ""
        elif node.get("part_kind") in ("tool-return", "retry-prompt"):
            # The agent was to go on from here.
            finish = ""
    return finish
