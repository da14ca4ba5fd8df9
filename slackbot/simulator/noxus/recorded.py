"""Recorded runs: frames that pydantic-ai 1.70 really sent through its Vercel adapter, and the messages of the run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any

_FOLDER = resources.files(__package__) / "frames"
_ID_KEYS = frozenset({"id", "toolCallId", "tool_call_id"})


@cache
def names() -> tuple[str, ...]:
    """The recorded runs by name, sorted."""
    files = (entry.name for entry in _FOLDER.iterdir() if entry.name.endswith(".jsonl"))
    return tuple(sorted(name.removesuffix(".jsonl") for name in files if not name.endswith(".messages.jsonl")))


def frames(name: str) -> list[dict[str, Any]]:
    """The frames of a run, without the closing ``[DONE]``. Raises ``KeyError`` for an unknown name."""
    if name not in names():
        raise KeyError(name)
    return [json.loads(line) for line in _lines(f"{name}.jsonl") if line != "[DONE]"]


def messages(name: str) -> list[dict[str, Any]] | None:
    """What the run left as ModelMessages, without the user's own, or None where that was not recorded."""
    if not (_FOLDER / f"{name}.messages.jsonl").is_file():
        return None
    return [json.loads(line) for line in _lines(f"{name}.messages.jsonl")][1:]


def renew(value: Any, fresh: Mapping[str, str]) -> Any:  # noqa: ANN401 - any JSON in, the same shape out
    """``value`` with the block and call ids that ``fresh`` knows replaced, at any depth."""
    if isinstance(value, list):
        return [renew(item, fresh) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        key: fresh.get(item, item) if key in _ID_KEYS and isinstance(item, str) else renew(item, fresh)
        for key, item in value.items()
    }


def _lines(file: str) -> list[str]:
    # Only line feeds end a line: U+2028 and its kin may stand unescaped inside the JSON.
    return (_FOLDER / file).read_text(encoding="utf-8").strip("\n").split("\n")
