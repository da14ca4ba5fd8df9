"""Real files of many kinds: small, and as other programs would make them."""

from __future__ import annotations

import io
import random
import struct
import zipfile
import zlib
from collections.abc import Callable

MB = 1 << 20
PNG = b"\x89PNG\r\n\x1a\n"


def archive(*names: str) -> bytes:
    """An archive with these files, the same every time."""
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as packed:
        for name in names:
            packed.writestr(
                zipfile.ZipInfo(name), f"<?xml version='1.0'?><{name[:1].strip('[_') or 'a'}/>", zipfile.ZIP_DEFLATED
            )
    return held.getvalue()


def picture() -> bytes:
    """A PNG of 8 x 8 dots."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 8, 8, 8, 2, 0, 0, 0)
    rows = b"".join(b"\0" + bytes([16 * row]) * 24 for row in range(8))
    return PNG + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def document() -> bytes:
    """A PDF with one empty page."""
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 200 200] >>",
    ]
    text, places = b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n", []
    for number, content in enumerate(objects, 1):
        places.append(len(text))
        text += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    return text + b"xref\n0 4\n0000000000 65535 f \n%strailer\n<< /Size 4 /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (
        table,
        len(text),
    )


OFFICE = "application/vnd.openxmlformats-officedocument."
REAL: dict[str, tuple[str, Callable[[], bytes]]] = {
    "report.pdf": ("application/pdf", document),
    "letter.docx": (
        OFFICE + "wordprocessingml.document",
        lambda: archive("[Content_Types].xml", "_rels/.rels", "word/document.xml"),
    ),
    "sums.xlsx": (
        OFFICE + "spreadsheetml.sheet",
        lambda: archive("[Content_Types].xml", "_rels/.rels", "xl/workbook.xml", "xl/worksheets/sheet1.xml"),
    ),
    "dots.png": ("image/png", picture),
    "song.mp3": ("audio/mpeg", lambda: (b"\xff\xfb\x90\x64" + bytes(413)) * 40),
    "page.html": ("text/html", lambda: b"<!DOCTYPE html>\n<html><body>Sign in to Slack</body></html>\n" * 900),
    "all.zip": ("application/zip", lambda: archive("a.txt", "b/c.txt")),
    "data.csv": ("text/csv", lambda: b"day,sum\n1,2\n"),
    "empty.txt": ("text/plain", lambda: b""),
    "random.bin": ("application/octet-stream", lambda: random.Random(5).randbytes(25 * MB)),
}
