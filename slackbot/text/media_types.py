"""What a file is (its MIME type), by what is said of it, by its name and by its first bytes."""

from __future__ import annotations

import re
from mimetypes import MimeTypes
from typing import Final

from slackbot.domain import SlackFile

HEAD: Final = 4096
"""So many of the first bytes are worth looking at."""
UNKNOWN: Final = "application/octet-stream"

_GENERIC: Final = frozenset({"", UNKNOWN, "binary/octet-stream", "application/x-unknown"})
_TYPE: Final = re.compile(r"[a-z]+/[a-z0-9][a-z0-9.+_-]*")
_ZIP: Final = "application/zip"
_OFFICE: Final = "application/vnd.openxmlformats-officedocument."
_OFFICE_FOLDERS: Final = {
    "wordprocessingml.document": b"word/",
    "spreadsheetml.sheet": b"xl/",
    "presentationml.presentation": b"ppt/",
}
# The first that matches counts. Two or three letters alone prove nothing, hence the bytes behind them.
_SIGNS: Final = [
    (re.compile(pattern, re.DOTALL), media_type)
    for pattern, media_type in (
        (rb"%PDF-", "application/pdf"),
        (rb"\{\\rtf", "application/rtf"),
        (rb"\x89PNG\r\n\x1a\n", "image/png"),
        (rb"\xff\xd8\xff", "image/jpeg"),
        (rb"GIF8[79]a", "image/gif"),
        (rb"RIFF.{4}WEBP", "image/webp"),
        (rb"BM.{4}\0{4}", "image/bmp"),
        (rb"II\*\0|MM\0\*", "image/tiff"),
        (rb".{4}ftyp(?:hei[cx]|mif1)", "image/heic"),
        (rb".{4}ftypavif", "image/avif"),
        (rb".{4}ftypM4[AB] ", "audio/mp4"),
        (rb".{4}ftypqt  ", "video/quicktime"),
        (rb".{4}ftyp", "video/mp4"),
        (rb"\x1aE\xdf\xa3.{0,64}webm", "video/webm"),
        (rb"\x1aE\xdf\xa3", "video/x-matroska"),
        (rb"RIFF.{4}AVI ", "video/x-msvideo"),
        (rb"RIFF.{4}WAVE", "audio/wav"),
        (rb"OggS\0", "audio/ogg"),
        (rb"fLaC\0", "audio/flac"),
        (rb"ID3[\x02-\x04]|\xff[\xe2\xe3\xf2\xf3\xfa\xfb]", "audio/mpeg"),
        (rb"\xff[\xf1\xf9]", "audio/aac"),
        *(
            (rb"PK\x03\x04.{26}(?:\[Content_Types\]\.xml|_rels/|docProps/).*" + folder, _OFFICE + kind)
            for kind, folder in _OFFICE_FOLDERS.items()
        ),
        (rb"PK(?:\x03\x04|\x05\x06)", _ZIP),
        (rb"\x1f\x8b\x08", "application/gzip"),
        (rb"7z\xbc\xaf\x27\x1c", "application/x-7z-compressed"),
        (rb"Rar!\x1a\x07", "application/vnd.rar"),
        (rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "application/x-ole-storage"),
    )
]
_KNOWN: Final = frozenset(media_type for _, media_type in _SIGNS)
_WRITTEN: Final = frozenset({"application/pdf", "application/rtf"})
"""Known by their first bytes, and perhaps without any byte that is not text."""
_CONTROL: Final = re.compile(rb"[\0-\x08\x0e-\x1f]")
_HTML: Final = re.compile(rb"(?:\xef\xbb\xbf)?\s*<(?:!doctype\s+)?html\b", re.IGNORECASE)

# What Python itself knows, not what this machine's files say; some of it came only with later versions.
_PYTHON: Final = MimeTypes()
for _ending, _media_type in {
    ".docx": _OFFICE + "wordprocessingml.document",
    ".flac": "audio/flac",
    ".gz": "application/gzip",
    ".heic": "image/heic",
    ".log": "text/plain",
    ".ipynb": "application/x-ipynb+json",
    ".m4a": "audio/mp4",
    ".md": "text/markdown",
    ".odp": "application/vnd.oasis.opendocument.presentation",
    ".ods": "application/vnd.oasis.opendocument.spreadsheet",
    ".odt": "application/vnd.oasis.opendocument.text",
    ".ogg": "audio/ogg",
    ".parquet": "application/vnd.apache.parquet",
    ".pptx": _OFFICE + "presentationml.presentation",
    ".rtf": "application/rtf",
    ".sql": "application/sql",
    ".toml": "application/toml",
    ".wav": "audio/wav",
    ".webp": "image/webp",
    ".xlsx": _OFFICE + "spreadsheetml.sheet",
    ".yaml": "application/yaml",
    ".yml": "application/yaml",
}.items():
    _PYTHON.add_type(_media_type, _ending)


def true_media_type(file: SlackFile, head: bytes) -> str:
    """What a downloaded file is; ``head`` are its first bytes, ``HEAD`` of them or all."""
    return media_type(file.media_type, file.name, head)


def media_type(declared: str, name: str, head: bytes = b"") -> str:
    """What is ``declared`` or else what the name says, unless that says nothing or the bytes say otherwise; then what
    the bytes say."""
    declared = declared.partition(";")[0].strip().lower()
    seen = _seen(head)
    is_text = bool(head) and not _CONTROL.search(head)
    candidates = (declared, by_ending(name))
    found = next((it for it in candidates if _says_something(it) and _agrees(it, seen, is_text=is_text)), seen)
    if found.startswith("video/") and declared.startswith("audio/"):
        # The same containers hold both, and only who recorded it knows that there is no picture in it.
        return "audio/" + found.removeprefix("video/")
    return found or _readable(head, is_text=is_text)


def by_ending(name: str) -> str:
    """What the end of a file's name says; empty when nothing."""
    _, dot, ending = name.rpartition(".")
    found = _PYTHON.types_map[True].get(f".{ending.lower()}") or _PYTHON.types_map[False].get(f".{ending.lower()}")
    return found or "" if dot else ""


def ending_of(media_type: str) -> str:
    """The usual end of the name of such a file, with its dot; empty when there is none."""
    return (_says_something(media_type) and _PYTHON.guess_extension(media_type, strict=False)) or ""


def is_html(head: bytes) -> bool:
    """Whether it begins as a web page does."""
    return bool(_HTML.match(head))


def _seen(head: bytes) -> str:
    found = next((media_type for sign, media_type in _SIGNS if sign.match(head[:HEAD])), "")
    return found if found in _WRITTEN or _CONTROL.search(head) else ""


def _says_something(media_type: str) -> bool:
    return media_type not in _GENERIC and bool(_TYPE.fullmatch(media_type))


def _agrees(media_type: str, seen: str, *, is_text: bool) -> bool:
    if not seen:
        # Bytes that begin like nothing we know prove only that the file is no text.
        return not is_text or media_type not in _KNOWN
    kind, _, name = media_type.partition("/")
    if name == seen.partition("/")[2]:
        return True
    # Many documents are archives inside, or share a container, and we do not know them all by name.
    within = media_type not in _KNOWN or (seen == _ZIP and media_type.startswith(_OFFICE))
    return kind == "application" and seen.startswith("application/") and within


def _readable(head: bytes, *, is_text: bool) -> str:
    if not is_text:
        return UNKNOWN
    return "text/html" if is_html(head) else "text/plain"
