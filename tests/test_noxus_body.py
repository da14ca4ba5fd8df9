"""A message with files: exactly the JSON it would be in one piece, its length known before, its base64 never held."""

from __future__ import annotations

import base64
import io
import json
import tempfile
import tracemalloc
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slackbot.domain import FileBytes, FileLink
from slackbot.errors import AgentRefused
from slackbot.noxus.body import CHUNK_BYTES, FilesBody

FIELDS = {"content": "what's “this”?", "tool": None}


def bytes_file(content: bytes, name: str = "a.bin", media_type: str = "application/x-a") -> FileBytes:
    return FileBytes(name, media_type, len(content), io.BytesIO(content))


async def sent(body: FilesBody) -> bytes:
    return b"".join([chunk async for chunk in body])


def in_one_piece(fields: dict[str, Any], files: list[FileBytes | FileLink]) -> bytes:
    told: list[dict[str, Any]] = []
    for file in files:
        if isinstance(file, FileLink):
            told.append({"name": file.name, "type": file.media_type, "url": file.url})
        else:
            file.content.seek(0)
            content = base64.b64encode(file.content.read()).decode()
            told.append({"name": file.name, "type": file.media_type, "size": file.size, "b64_content": content})
    return json.dumps({"files": told, **fields}, ensure_ascii=False, separators=(",", ":")).encode()


names = st.text(st.characters(exclude_categories=["Cs"]))
contents = st.one_of(
    st.binary(max_size=20),
    st.integers(0, 3 * CHUNK_BYTES).map(lambda size: bytes(range(256)) * (size // 256) + b"x" * (size % 256)),
)
files = st.one_of(st.builds(bytes_file, contents, names, names), st.builds(FileLink, names, names, names))


@settings(max_examples=200)
@given(fields=st.dictionaries(names, st.none() | names, min_size=1, max_size=3), files=st.lists(files, max_size=4))
async def test_the_body_is_the_json_in_one_piece(fields: dict[str, Any], files: list[FileBytes | FileLink]) -> None:
    """Byte for byte, whatever is in the names and contents, each time anew; and as long as it said before."""
    fields.pop("files", None)
    body = FilesBody(fields or FIELDS, files)
    for _ in range(2):
        whole = await sent(body)
        assert whole == in_one_piece(fields or FIELDS, files)
        assert len(whole) == body.length


@pytest.mark.parametrize("size", [0, 1, 2, 3, 4, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 2 * CHUNK_BYTES + 2])
async def test_every_length_around_a_chunk(size: int) -> None:
    """What comes out of the base64 is what went in."""
    content = (b"0123456789\xff" * (size // 11 + 1))[:size]
    body = FilesBody(FIELDS, [bytes_file(content)])
    whole = await sent(body)
    assert len(whole) == body.length
    assert base64.b64decode(json.loads(whole)["files"][0]["b64_content"], validate=True) == content


async def test_halves_of_characters_do_not_stop_it() -> None:
    """A name that UTF-8 cannot hold is repaired."""
    body = FilesBody(FIELDS, [bytes_file(b"", "a\ud800.txt"), FileLink("\udfff", "a/b", "https://a.example/\ud800")])
    shown = json.loads(await sent(body))["files"]
    assert [file["name"] for file in shown] == ["a\ufffd.txt", "\ufffd"]


class Dribble(io.BytesIO):
    """Gives at most 7 bytes at a time, as a raw file may."""

    def read(self, size: int | None = -1) -> bytes:
        return super().read(min(size or 0, 7))


async def test_reads_that_give_less_are_put_together() -> None:
    """The base64 has padding at its end only."""
    content = bytes(range(100))
    whole = await sent(FilesBody(FIELDS, [FileBytes("a", "a/b", 100, Dribble(content))]))
    assert json.loads(whole)["files"][0]["b64_content"] == base64.b64encode(content).decode()


async def test_it_is_known_whether_all_was_sent() -> None:
    """Only once the last piece went out can the message have arrived."""
    body = FilesBody(FIELDS, [bytes_file(b"abc")])
    assert [body.whole async for _ in body] == [False, False, False, False, True]
    async for _ in body:
        assert not body.whole
        break


def closed() -> BinaryIO:
    file = io.BytesIO(b"abc")
    file.close()
    return file


@pytest.mark.parametrize("content", [io.BytesIO(b"ab"), io.BytesIO(b"abcd"), closed()])
def test_a_file_that_is_not_what_it_says_is_refused_before_anything_is_sent(content: BinaryIO) -> None:
    """Shorter, longer or closed: Noxus cannot have got the message."""
    with pytest.raises(AgentRefused) as caught:
        FilesBody(FIELDS, [bytes_file(b"ok"), FileBytes("a", "a/b", 3, content)])
    assert not caught.value.may_have_arrived


@pytest.mark.parametrize("how", ["shrinks", "closes"])
async def test_a_file_that_goes_away_meanwhile_breaks_the_body(how: str) -> None:
    """What was sent by then is shorter than announced, and no JSON."""
    content = io.BytesIO(b"x" * 3 * CHUNK_BYTES)
    body = FilesBody(FIELDS, [FileBytes("a", "a/b", 3 * CHUNK_BYTES, content)])
    got = b""

    async def send() -> None:
        nonlocal got
        async for chunk in body:
            got += chunk
            if len(got) > CHUNK_BYTES:
                content.truncate(CHUNK_BYTES) if how == "shrinks" else content.close()

    with pytest.raises(AgentRefused) as caught:
        await send()
    assert not caught.value.may_have_arrived
    assert not body.whole
    assert len(got) < body.length
    with pytest.raises(ValueError, match="Unterminated"):
        json.loads(got)


async def test_a_big_file_takes_no_memory(tmp_path: Path) -> None:
    """Of 25 MB no more than a few chunks are in memory at once."""
    size = 25 * 1024 * 1024
    with tempfile.TemporaryFile(dir=tmp_path) as content:
        content.truncate(size)
        body = FilesBody(FIELDS, [FileBytes("a", "a/b", size, content)])
        tracemalloc.start()
        length = 0
        async for chunk in body:
            length += len(chunk)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert length == body.length
    assert peak < 10 * CHUNK_BYTES
