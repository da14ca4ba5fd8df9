"""Links whose text looks like another address than the one they lead to."""

from __future__ import annotations

import html
import re
import unicodedata
from typing import Final
from urllib.parse import urlsplit

_BLANK: Final = re.compile(r"\n[ \t]*\n")
_OPAQUE: Final = re.compile(r"\\.|(?<!`)(`+)(?!`).+?(?<!`)\1(?!`)|<[^<>]*>", re.DOTALL)
_BRACKET: Final = re.compile(r"[\[\]]")
_ESCAPE: Final = re.compile(r"\\([!-/:-@\[-`{-~])")
_LOOKS: Final = str.maketrans(dict.fromkeys("*_~`\\", "") | dict.fromkeys("\u3002\uff0e\uff61\u2024", "."))
_SCHEME: Final = re.compile(r"[a-z][a-z0-9+.-]*:/*")
_ADDRESS: Final = re.compile(
    r"(?:https?:/*|www\.)[^\s\"'<>\[\]]+|(?<![\w.-])(?:[\w-]+\.)+(?P<top>[^\W\d_]{2,24})(?![\w-])"
)
_TOP: Final = re.compile(
    r"app|bank|biz|cloud|com|dev|edu|gov|info|int|mil|name|net|online|org|shop|site|store|xyz"
    # Names of two letters end addresses, or files.
    r"|(?!cc|cs|go|hs|js|kt|md|ml|pl|ps|py|rb|rs|sh|so|ts|vb)[^\W\d_]{2}"
)


def label_before(text: str) -> str:
    """What stands in the brackets that close behind ``text``; all of it, if they open before."""
    text = text[max((blank.end() for blank in _BLANK.finditer(text)), default=0) :]
    bare = _OPAQUE.sub(lambda opaque: " " * len(opaque[0]), text)
    depth = 0
    for bracket in reversed(list(_BRACKET.finditer(bare))):
        depth += 1 if bracket[0] == "]" else -1
        if depth < 0:
            return text[bracket.end() :]
    return text


def misleads(label: str, target: str | None) -> bool:
    """Whether ``label`` looks like an address on another host than that of ``target``, which may be unknown."""
    looks = _plain(label).translate(_LOOKS)
    named = {
        host(found[0]) for found in _ADDRESS.finditer(looks) if found["top"] is None or _TOP.fullmatch(found["top"])
    }
    real = host(_plain(_ESCAPE.sub(r"\1", target))) if target is not None else ""
    real = real.replace("_", "")
    return any(name != real and not real.endswith(f".{name}") for name in named)


def host(address: str) -> str:
    """Whom a browser asks for ``address``; "" for nobody."""
    address = address.strip().replace("\\", "/").lower()
    if address.startswith("mailto:"):
        address = address.partition("@")[2].partition("?")[0]
    try:
        name = urlsplit("//" + _SCHEME.sub("", address, count=1).lstrip("/")).hostname or ""
    except ValueError:
        return ""
    return name.rstrip(".,;:!?)").removeprefix("www.")


def _plain(text: str) -> str:
    text = unicodedata.normalize("NFKC", html.unescape(text)).lower()
    return "".join(char for char in text if unicodedata.category(char) != "Cf")
