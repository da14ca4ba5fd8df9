"""The files that an agent made, found in whatever its tools and frames say: pure, bounded, never raising.

Where Noxus tells of files is not documented, so every way counts that is likely:

- an id (a uuid) beside a file's name or type, or the address ``/v1/file/<id>``, anywhere in a tool's output or a data
  frame, also in JSON inside of strings;
- binary content with its type.

An id and a name alone are also what a person or a ticket has. So an id counts with a media type or a name that ends
like a file's; in what a tool returns that makes things (by its name), as ``file_id``, too. What tools return that look
things up (a search, a knowledge base, the user's own attachments) is not what the agent made: it counts only once the
agent links to it in its answer. Without a media type or an address it stays a guess.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from email.message import Message
from typing import Any, Final

from slackbot.domain import FileOffered
from slackbot.text.file_names import names_file

MOST_OFFERS: Final = 50
MOST_NODES: Final = 20_000
MOST_CHARS: Final = 2_000_000
"""How much of a payload is looked at; binary content does not count."""

_DEEPEST: Final = 40
_ADDRESS_CHARS: Final = 2_000
_NAME_CHARS: Final = 200
_UUID: Final = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_ID: Final = re.compile(_UUID, re.IGNORECASE)
_ADDRESS: Final = re.compile(rf"/v1/file/({_UUID})(?![\w-])", re.IGNORECASE)
_ID_KEYS: Final = ("file_id", "fileId", "id")
_NAME_KEYS: Final = ("filename", "file_name", "fileName", "name")
_TYPE_KEYS: Final = ("content_type", "media_type", "mediaType", "mime_type", "mimeType", "type")
_TYPE: Final = re.compile(r"[a-z]+/[a-z0-9][a-z0-9.+-]{0,100}", re.IGNORECASE)
_BINARY: Final = ("binary", "image", "audio", "file")
_MAKES: Final = re.compile(
    r"(?<![a-z])(?i:creat(?:e|or)|present|generat(?:e|ion|or)|make|write|export|render|save|draw|convert|build|produce"
    r"|docx|excel|xlsx|pptx|chart|plot|sandbox|execut(?:e|ion))(?![a-z])"
)
_LOOKS_UP: Final = re.compile(
    r"(?<![a-z])(?i:search|research|qa|kb|knowledge|memory|read|list|ls|find|get|attach|load|fetch|browse|look|lookup"
    r"|query|retriev(?:e|al)|documentation|docs|open|view|todos)(?![a-z])"
)


def offers(payload: object, tool: str = "") -> list[FileOffered]:
    """The files that ``payload``, something out of JSON, tells of; ``tool`` returned it. Each address once."""
    makes = _MAKES.search(tool) is not None
    if not makes and _LOOKS_UP.search(tool):
        return []
    found: dict[str, FileOffered] = {}
    for offer in _found(payload, makes=makes):
        found.setdefault(offer.url, offer)
        if len(found) == MOST_OFFERS:
            break
    return list(found.values())


def frame_offers(frame: Mapping[str, Any]) -> list[FileOffered]:
    """The files that a data frame tells of: its own id may be the one of what its data describes."""
    data = frame.get("data")
    return offers({**frame, **data} if isinstance(data, dict) else frame)


def offered(url: str, media_type: str, name: str) -> FileOffered:
    """A file at ``url``; the addresses of one file in Noxus are all spelled alike."""
    address = None if url.startswith("data:") else _ADDRESS.search(url[:_ADDRESS_CHARS])
    return FileOffered(_address(address[1]) if address else url, media_type, name)


def _address(file_id: str) -> str:
    return f"/v1/file/{file_id.lower()}"


def _found(payload: object, *, makes: bool) -> Iterator[FileOffered]:
    """Depth first, in the order of the payload."""
    nodes, chars = MOST_NODES, MOST_CHARS
    waiting: list[tuple[object, int]] = [(payload, _DEEPEST)]
    while waiting and nodes:
        node, depth = waiting.pop()
        nodes -= 1
        children: list[object] = []
        if isinstance(node, str):
            if len(node) > chars:
                continue
            chars -= len(node)
            parsed = _parsed(node)
            if parsed is None:
                yield from (FileOffered(_address(file_id), "") for file_id in _ADDRESS.findall(node))
            else:
                children = [parsed]
        elif isinstance(node, dict):
            binary = _binary(node)
            offer = binary or _described(node, makes=makes)
            if offer:
                yield offer
            children = [] if binary else list(node.values())
        elif isinstance(node, list):
            children = node
        if depth:
            waiting += [(child, depth - 1) for child in reversed(children[:nodes])]


def _parsed(text: str) -> object:
    """What the text is as JSON, if it is an object or a list."""
    if not text.lstrip().startswith(("{", "[")):
        return None
    try:
        parsed: object = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return parsed


def _binary(node: Mapping[str, Any]) -> FileOffered | None:
    data, media_type = node.get("data"), _media_type(node)
    is_binary = node.get("kind") == "binary" or node.get("type") in _BINARY
    if not (is_binary and media_type and isinstance(data, str) and data and data.isascii()):
        return None
    return FileOffered(f"data:{media_type};base64,{data}", media_type, _name(node))


def _described(node: Mapping[str, Any], *, makes: bool) -> FileOffered | None:
    """The file that an object's own fields are about."""
    media_type, name = _media_type(node), _name(node)
    for value in node.values():
        if isinstance(value, str) and len(value) <= _ADDRESS_CHARS and len(value.split()) == 1:
            address = _ADDRESS.search(value)
            if address:
                return FileOffered(_address(address[1]), media_type, name)
    for key in _ID_KEYS:
        value = node.get(key)
        if isinstance(value, str) and _ID.fullmatch(value):
            file_like = media_type or names_file(name) or (makes and key != "id")
            return FileOffered(_address(value), media_type, name, guessed=not media_type) if file_like else None
    return None


def _media_type(node: Mapping[str, Any]) -> str:
    values = (node.get(key) for key in _TYPE_KEYS)
    return next((value for value in values if isinstance(value, str) and _TYPE.fullmatch(value)), "")


def _name(node: Mapping[str, Any]) -> str:
    values = (node.get(key) for key in _NAME_KEYS)
    return next((name for value in values if isinstance(value, str) and (name := value.strip()[:_NAME_CHARS])), "")


def name_in(disposition: str) -> str:
    """The file's name in a ``Content-Disposition`` header; empty when there is none."""
    header = Message()
    header["content-disposition"] = disposition
    return header.get_filename("")
