"""What files are, by what is said of them, their names and their first bytes; and what they may be called."""

from __future__ import annotations

import io
import wave
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slackbot.domain import SlackFile
from slackbot.text.file_names import NAME_BYTES, file_name
from slackbot.text.media_types import HEAD, by_ending, ending_of, is_html, media_type, true_media_type

DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
PPTX = "application/vnd.openxmlformats-officedocument.presentationml.presentation"
UNKNOWN = "application/octet-stream"


def packed(*names: str) -> bytes:
    """An archive with these files."""
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.writestr(name, "<a/>" * 100)
    return held.getvalue()


def sound() -> bytes:
    """A short piece of silence."""
    held = io.BytesIO()
    with wave.open(held, "wb") as clip:
        clip.setnchannels(1)
        clip.setsampwidth(2)
        clip.setframerate(8_000)
        clip.writeframes(bytes(100))
    return held.getvalue()


HEADS = {
    "application/pdf": b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj",
    "application/rtf": b"{\\rtf1\\ansi Hello}",
    "image/png": b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
    "image/jpeg": b"\xff\xd8\xff\xe0\0\x10JFIF\0",
    "image/gif": b"GIF89a\1\0\1\0",
    "image/webp": b"RIFF\x24\0\0\0WEBPVP8 ",
    "image/bmp": b"BM\x46\0\0\0\0\0\0\0",
    "image/tiff": b"II*\0\x08\0",
    "image/heic": b"\0\0\0\x18ftypheic\0\0\0\0",
    "image/avif": b"\0\0\0\x1cftypavif\0\0\0\0",
    "audio/mp4": b"\0\0\0\x20ftypM4A \0\0\0\0",
    "video/quicktime": b"\0\0\0\x14ftypqt  \0\0\2\0",
    "video/mp4": b"\0\0\0\x20ftypisom\0\0\2\0",
    "video/webm": b"\x1aE\xdf\xa3\x9f\x42\x86\x81\1\x42\x82\x84webm",
    "video/x-matroska": b"\x1aE\xdf\xa3\x9f\x42\x82\x88matroska",
    "video/x-msvideo": b"RIFF\x24\0\0\0AVI LIST",
    "audio/wav": sound(),
    "audio/ogg": b"OggS\0\2\0\0",
    "audio/flac": b"fLaC\0\0\0\x22",
    "audio/mpeg": b"ID3\3\0\0\0\0\0\0",
    "audio/aac": b"\xff\xf1\x50\x80\1",
    DOCX: packed("[Content_Types].xml", "_rels/.rels", "word/document.xml"),
    XLSX: packed("docProps/app.xml", "xl/workbook.xml"),
    PPTX: packed("_rels/.rels", "ppt/presentation.xml"),
    "application/zip": packed("word/notes.txt"),
    "application/gzip": b"\x1f\x8b\x08\0\0\0\0\0",
    "application/x-7z-compressed": b"7z\xbc\xaf\x27\x1c\0\4",
    "application/vnd.rar": b"Rar!\x1a\x07\1\0",
    "application/x-ole-storage": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1\0",
}


@pytest.mark.parametrize("kind", HEADS)
def test_seen(kind: str) -> None:
    """The first bytes tell when nobody says anything, or something wrong."""
    head = HEADS[kind]
    wrong = "image/png" if kind != "image/png" else "audio/mpeg"
    assert media_type("", "file", head) == kind
    assert media_type("application/octet-stream", "", head) == kind
    assert media_type(kind, "anything.bin", head) == kind
    assert media_type(f" {kind.upper()}; charset=binary", "", head) == kind
    assert media_type("text/plain", "notes.txt", head) == kind
    assert media_type(wrong, "", head) == kind
    assert true_media_type(SlackFile("F1", "a", "", 0, ""), head) == kind


@pytest.mark.parametrize(
    ("declared", "name", "head", "expected"),
    [
        # nothing to go by
        ("", "", b"", UNKNOWN),
        ("nonsense", "", b"\0\1\2", UNKNOWN),
        ("", "a.unheard-of", b"\0\1\2", UNKNOWN),
        # an empty file is what it is called
        ("image/png", "a.png", b"", "image/png"),
        ("", "a.csv", b"", "text/csv"),
        # text of every kind
        ("text/csv", "a.csv", b"a,b\n1,2\n", "text/csv"),
        ("", "a.md", "# Grüße\n".encode(), "text/markdown"),
        ("", "notes", b"just words", "text/plain"),
        ("", "page", b"\n <!DOCTYPE html><html>", "text/html"),
        ("", "page", b"\xef\xbb\xbf<HTML lang='en'>", "text/html"),
        ("application/json", "a.json", b'{"a": 1}', "application/json"),
        ("image/svg+xml", "a.svg", b"<svg xmlns='x'></svg>", "image/svg+xml"),
        ("text/plain", "latin1.txt", "Grüße".encode("latin-1"), "text/plain"),
        ("text/plain", "utf16.txt", "Grüße".encode("utf-16"), "text/plain"),
        ("image/png", "a.png", b"<html>Not Found</html>", "text/html"),
        ("audio/mpeg", "song.mp3", b"this is no song", "text/plain"),
        ("image/png", "a.txt", b"no picture", "text/plain"),
        # letters that begin a text prove nothing
        ("text/plain", "a.txt", b"BM is a company\n", "text/plain"),
        ("text/plain", "a.txt", b"ID3 tags are old", "text/plain"),
        ("", "a.txt", b"GIF89a is a format", "text/plain"),
        ("text/plain", "a.txt", b"%PDF-1.4 all in ASCII", "application/pdf"),
        # containers
        ("audio/mp4", "clip.mp4", HEADS["video/mp4"], "audio/mp4"),
        ("audio/mp4", "clip.m4a", HEADS["video/webm"], "audio/webm"),
        ("audio/webm", "clip.webm", HEADS["video/webm"], "audio/webm"),
        ("audio/x-m4a", "a.m4a", HEADS["audio/mp4"], "audio/mp4"),
        ("audio/mp3", "a.mp3", HEADS["audio/mpeg"], "audio/mpeg"),
        ("image/jpg", "a.jpg", HEADS["image/jpeg"], "image/jpeg"),
        ("application/ogg", "a.ogg", HEADS["audio/ogg"], "application/ogg"),
        # documents that are archives or older containers inside
        (DOCX, "a.docx", packed("mimetype", "content.xml"), DOCX),
        ("", "a.docx", packed("mimetype", "content.xml"), DOCX),
        ("application/zip", "a.docx", HEADS[DOCX], DOCX),
        ("application/epub+zip", "a.epub", HEADS["application/zip"], "application/epub+zip"),
        ("application/msword", "a.doc", HEADS["application/x-ole-storage"], "application/msword"),
        ("", "a.doc", HEADS["application/x-ole-storage"], "application/msword"),
        ("application/pdf", "a.pdf", HEADS["application/zip"], "application/zip"),
        ("application/zip", "a.zip", b"PK\5\6" + bytes(18), "application/zip"),
        # bytes we do not know contradict nothing but text
        ("audio/mpeg", "a.mp3", bytes(50), "audio/mpeg"),
        ("application/x-parquet", "a.parquet", b"PAR1\0\1", "application/x-parquet"),
    ],
)
def test_settled(declared: str, name: str, head: bytes, expected: str) -> None:
    """What is said counts, unless it says nothing or the bytes say otherwise."""
    assert media_type(declared, name, head) == expected


@given(st.text(max_size=40), st.text(max_size=40), st.binary(max_size=200))
def test_always_a_type(declared: str, name: str, head: bytes) -> None:
    """Whatever is given, a well-formed type comes out, and it stays when asked again."""
    found = media_type(declared, name, head)
    kind, slash, rest = found.partition("/")
    assert all((kind, slash, rest))
    assert found == found.lower()
    assert media_type(found, name, head) == found


def test_endings() -> None:
    """The ends of names and the types belong together, on every machine."""
    assert by_ending("REPORT.DOCX") == DOCX
    assert by_ending("png") == by_ending("") == by_ending("a.") == ""
    assert by_ending(".webp") == "image/webp"
    for kind, ending in (("image/jpeg", ".jpg"), ("text/plain", ".txt"), ("audio/mp4", ".m4a"), (XLSX, ".xlsx")):
        assert ending_of(kind) == ending
    assert ending_of("application/x-nothing") == ending_of("application/octet-stream") == ""
    assert is_html(b"<html>")
    assert not is_html(b"<htmlish>")
    assert not is_html(b"text " * HEAD)


@pytest.mark.parametrize(
    ("name", "title", "kind", "expected"),
    [
        ("report.pdf", "Report", "application/pdf", "report.pdf"),
        ("", "Quarterly report", "application/pdf", "Quarterly report.pdf"),
        ("", "Quarterly report.pdf", "application/pdf", "Quarterly report.pdf"),
        ("", "v1.2 final", "application/pdf", "v1.2 final.pdf"),
        ("", "", "image/png", "file.png"),
        ("", "", "application/x-nothing", "file"),
        ("../../etc/passwd", "", "", "passwd"),
        ("C:\\Users\\ada\\plan.txt", "", "", "plan.txt"),
        ("plans/", "", "", "plans"),
        ("..", "Title", "text/plain", "Title.txt"),
        (".", "..", "text/plain", "file.txt"),
        ("...", "\\", "", "file"),
        (".env", "", "", ".env"),
        ("README", "Read me", "text/plain", "README"),
        ("a\0b\r\nc\x7f.txt", "", "", "a b c .txt"),
        ("exe\u202efdp.js", "", "", "exe fdp.js"),
        ("\u200fa\u061cb\u200e.txt", "", "", "a b .txt"),
        ("  Grüße \u2028 an   alle.txt ", "", "", "Grüße an alle.txt"),
        ("half\ud83d.txt", "", "", "half .txt"),
        ("👩‍👩‍👧.png", "", "", "👩‍👩‍👧.png"),
        ("x" * 300 + ".pdf", "", "", "x" * 251 + ".pdf"),
        ("ü" * 200 + ".pdf", "", "", "ü" * 125 + ".pdf"),
        ("a." + "x" * 300, "", "", "a." + "x" * 253),
        ("." + "x" * 300, "", "", "." + "x" * 254),
    ],
)
def test_names(name: str, title: str, kind: str, expected: str) -> None:
    """A name, else a title, else "file": without folders and unseen characters, and not too long."""
    assert file_name(name, title, kind) == expected


@given(st.text(max_size=400), st.text(max_size=60), st.sampled_from(["", "image/png", DOCX, "x/y"]))
def test_names_are_harmless(name: str, title: str, kind: str) -> None:
    """Whatever people call their files, the result is one plain name, and stays as it is."""
    found = file_name(name, title, kind)
    assert found.strip()
    assert found not in {".", ".."}
    assert not set("/\\") & set(found)
    assert all(character.isprintable() or character.isspace() or ord(character) > 0x9F for character in found)
    assert not any(ord(character) < 32 or 0xD800 <= ord(character) <= 0xDFFF for character in found)
    assert len(found.encode()) <= NAME_BYTES
    assert file_name(found, title, kind) == found
