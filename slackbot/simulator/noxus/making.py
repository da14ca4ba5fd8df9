"""The files that the simulated agent makes: small and real, as far as their kind is known here. Pure."""

from __future__ import annotations

import struct
import zlib
from pathlib import PurePath

MAX_SIZE = 64 * 1024 * 1024

_BARS = (12, 30, 22, 38)
_WIDTH, _HEIGHT = 96, 48


def content(name: str, size: int | None) -> bytes:
    """What is in the file of that name: ``size`` bytes that repeat, if that is given, else by the name's ending."""
    if size is not None:
        line = f"{name},1\n".encode()
        return (line * (size // len(line) + 1))[:size]
    match PurePath(name).suffix.lower():
        case ".png":
            return _png()
        case ".pdf":
            return _pdf(name)
        case _:
            return f"name,value\n{name},1\n".encode()


def _png() -> bytes:
    """A bar chart."""
    rows = bytearray()
    for y in range(_HEIGHT):
        rows.append(0)
        for x in range(_WIDTH):
            bar, place = divmod(x, _WIDTH // len(_BARS))
            inside = place > 5 and _HEIGHT - y <= _BARS[bar]
            rows += b"\x36\x7b\xc8" if inside else b"\xf4\xf4\xf4"
    header = struct.pack(">2I5B", _WIDTH, _HEIGHT, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(bytes(rows))), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )


def _pdf(name: str) -> bytes:
    """One page that shows the file's name."""
    shown = name.encode("latin-1", "replace").translate(None, b"()\\")
    text = b"BT /F1 24 Tf 60 720 Td (" + shown + b") Tj ET"
    objects = (
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Contents 4 0 R/Resources<</Font<</F1 5 0 R>>>>>>",
        b"<</Length %d>>\nstream\n%s\nendstream" % (len(text), text),
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
    )
    made, places = bytearray(b"%PDF-1.4\n"), b""
    for number, body in enumerate(objects, start=1):
        places += b"%010d 00000 n \n" % len(made)
        made += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    count = len(objects) + 1
    table = b"xref\n0 %d\n0000000000 65535 f \n%s" % (count, places)
    return bytes(made + table + b"trailer\n<</Size %d/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF\n" % (count, len(made)))
