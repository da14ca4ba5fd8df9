"""The body of a message with files: JSON whose base64 is made while it is sent, and never held as a whole. Pure."""

from __future__ import annotations

import io
import json
from binascii import b2a_base64
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Final

from slackbot.domain import FileBytes, FileLink
from slackbot.errors import AgentRefused
from slackbot.noxus.events import clean

CHUNK_BYTES: Final = 72 * 1024
"""How much of a file is read at a time; a multiple of 3, so that its base64 needs no padding."""


class FilesBody:
    """``fields`` as JSON with ``files`` among them; ``length`` in bytes. Iterating starts anew each time.

    Making one and iterating raise ``AgentRefused`` when a file is not as long as it says or cannot be read: what was
    sent of the body by then is no JSON, and shorter than announced.
    """

    def __init__(self, fields: Mapping[str, object], files: Sequence[FileBytes | FileLink]) -> None:
        self._pieces = list(_pieces(fields, files))
        self.length = sum(
            len(piece) if isinstance(piece, bytes) else (piece.size + 2) // 3 * 4 for piece in self._pieces
        )
        self.whole = False
        """Whether all of it was sent, or may have been."""
        for piece in self._pieces:
            if isinstance(piece, FileBytes):
                _check(piece)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        self.whole = False
        *pieces, last = self._pieces
        for piece in pieces:
            if isinstance(piece, bytes):
                yield piece
            else:
                for encoded in _encoded(piece):
                    yield encoded
        assert isinstance(last, bytes)  # noqa: S101 - narrows the type: JSON ends with its own brackets
        self.whole = True
        yield last


def _pieces(fields: Mapping[str, object], files: Sequence[FileBytes | FileLink]) -> Iterator[bytes | FileBytes]:
    """The JSON in its order, files standing for their base64."""
    yield b'{"files":['
    comma = ""
    for file in files:
        told: dict[str, object] = {"name": clean(file.name), "type": clean(file.media_type)}
        if isinstance(file, FileLink):
            yield (comma + _json(told | {"url": clean(file.url)})).encode()
        else:
            yield f'{comma}{_json(told | {"size": file.size})[:-1]},"b64_content":"'.encode()
            yield file
            yield b'"}'
        comma = ","
    yield f"],{_json(fields)[1:]}".encode()


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _check(file: FileBytes) -> None:
    try:
        size = file.content.seek(0, io.SEEK_END)
    except (OSError, ValueError) as error:
        raise _unreadable(f"{error!r}") from error
    if size != file.size:
        raise _unreadable(f"{size} bytes instead of {file.size}")


def _encoded(file: FileBytes) -> Iterator[bytes]:
    left, rest = file.size, b""
    try:
        file.content.seek(0)
        while left:
            read = file.content.read(min(CHUNK_BYTES, left))
            if not read:
                raise _unreadable(f"{left} bytes are missing at its end")
            left -= len(read)
            rest += read
            end = len(rest) // 3 * 3 if left else len(rest)
            yield b2a_base64(rest[:end], newline=False)
            rest = rest[end:]
    except (OSError, ValueError) as error:
        raise _unreadable(f"{error!r}") from error


def _unreadable(why: str) -> AgentRefused:
    return AgentRefused(f"a file to send changed or went away: {why}", may_have_arrived=False)
