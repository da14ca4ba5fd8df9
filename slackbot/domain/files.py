"""Files on their way, in both directions."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import BinaryIO


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file somebody put into a Slack message, by Slack's id and name. Its bytes are not here."""

    id: str
    name: str


class FileTrouble(StrEnum):
    """Why a file did not go in or come out, by name; ``slackbot.files.passing`` holds the words."""

    TOO_BIG = "too_big"
    TOO_BIG_THERE = "too_big_there"
    """Within our limit, not within Slack's."""
    TOO_MANY = "too_many"
    TOO_MUCH = "too_much"
    """The files of one turn are too big together."""
    TYPE_REFUSED = "type_refused"
    GONE = "gone"
    HIDDEN = "hidden"
    """Slack's plan does not show it any more."""
    SCANNING = "scanning"
    """Slack had not finished looking at it."""
    NO_ACCESS = "no_access"
    MISSING_SCOPE = "missing_scope"
    UNREADABLE = "unreadable"
    """It could not be fetched, or what came was not the file."""
    NOT_A_FILE = "not_a_file"
    """Something that only Slack can show, such as a canvas."""
    EMPTY = "empty"
    """Slack takes no empty files."""
    UPLOADS_OFF = "uploads_off"
    STORAGE_FULL = "storage_full"


@dataclass(frozen=True, slots=True)
class SlackFile:
    """A file in Slack as ``files.info`` tells of it now. ``size`` in bytes as Slack says, not yet as counted.

    ``url`` is where its bytes are. An ``external`` one lies elsewhere and is public: its address is all we pass on.
    ``transcript`` holds what Slack heard in a voice clip, if it has listened already.
    """

    id: str
    name: str
    media_type: str
    size: int
    url: str
    external: bool = False
    transcript: str = ""


@dataclass(frozen=True, slots=True)
class FileBytes:
    """A file at hand. ``content`` is a temporary file that is there only as long as whoever made it says; read it
    from its start. ``size`` in bytes, counted."""

    name: str
    media_type: str
    size: int
    content: BinaryIO


@dataclass(frozen=True, slots=True)
class FileLink:
    """A file that the agent fetches by itself from a public https address."""

    name: str
    media_type: str
    url: str
