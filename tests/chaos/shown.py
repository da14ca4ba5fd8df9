"""What somebody asked, and what a thread shows of its answer."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from slackbot.simulator.slack import SimMessage

MARK = re.compile(r"zebra\d+")
"""In every question, each with a number of its own."""
_LINKED = re.compile(r"\[(.+?)\]\([^)]*/v1/file/[^)]*\)")


def bare(text: str) -> str:
    """An agent's words as a thread shows them, whatever white space the seams took: files come below, so that nothing
    links to them."""
    return "".join(_LINKED.sub(r"\1", text).split())


@dataclass
class Question:
    """What somebody asked, and the answer that the agent will give. ``root`` is empty in a direct message without
    threads; ``retried`` and ``stopped`` count presses."""

    mark: str
    channel: str
    root: str
    ts: str
    answer: str
    files: int = 0
    """How many files belong to the answer."""
    breaks: bool = False
    """Whether the agent fails before its answer is whole."""
    retried: int = 0
    stopped: bool = False


@dataclass
class Shown:
    """What the bot's messages for one turn show."""

    messages: list[SimMessage] = field(default_factory=list)
    indices: list[int] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    buttons: list[str] = field(default_factory=list)

    def take(self, message: SimMessage, index: int) -> None:
        """One more message, which carries this part."""
        self.messages.append(message)
        self.indices.append(index)
        for block in message.blocks:
            match block:
                case {"type": "markdown", "text": text}:
                    self.texts.append(text)
                case {"type": "actions", "elements": buttons}:
                    self.buttons += [button["text"]["text"] for button in buttons]
                case {"type": "context", "elements": elements}:
                    (self.notes if index < 0 else self.lines).extend(element["text"] for element in elements)
                case {"type": "section", "text": {"text": words}}:
                    (self.notes if index < 0 else self.lines).append(words)
        if not message.blocks:
            self.texts.append(message.text)

    @property
    def text(self) -> str:
        """The agent's words, whatever white space the seams took."""
        return bare(" ".join(self.texts))
