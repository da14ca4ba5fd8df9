"""Names of files, as people and agents give them: pure."""

from __future__ import annotations

import re
from typing import Final

from slackbot.text.media_types import by_ending, ending_of

NAME_BYTES: Final = 255
"""No usual file system takes a longer name."""
_ENDING_BYTES: Final = 32

# Control characters, line separators, marks of the reading direction, half characters.
_UNSEEN: Final = re.compile(
    "[\0-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)
_FOLDERS: Final = re.compile(r"[/\\]")
_HOSTS: Final = frozenset({"ai", "me", "ms", "so", "tr"})
"""Endings of more addresses than files."""


def file_name(name: str, title: str, media_type: str) -> str:
    """The file's name without folders and what cannot be seen; else its title, else "file", with the type's ending."""
    if plain := _plain(name):
        return _bounded(plain)
    plain = _plain(title)
    return _bounded(plain if by_ending(plain) else (plain or "file") + ending_of(media_type))


def names_file(name: str) -> bool:
    """Whether it reads as the name of a file: with an ending that files have, and no address."""
    stem, _, ending = name.rpartition(".")
    return bool(stem.strip() and by_ending(name)) and "@" not in name and ending.lower() not in _HOSTS


def _plain(name: str) -> str:
    parts = (" ".join(part.split()) for part in _FOLDERS.split(_UNSEEN.sub(" ", name)))
    return next((part for part in reversed([*parts]) if part.strip(". ")), "")


def _bounded(name: str) -> str:
    if len(name.encode()) <= NAME_BYTES:
        return name
    stem, dot, ending = name.rpartition(".")
    kept = dot + ending if stem and len(ending.encode()) <= _ENDING_BYTES else ""
    room = NAME_BYTES - len(kept.encode())
    return (stem if kept else name).encode()[:room].decode(errors="ignore").rstrip() + kept
