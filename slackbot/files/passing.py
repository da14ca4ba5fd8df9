"""What both directions share: limits, words for what does not pass, and a place for bytes on their way."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import BinaryIO, Final, cast

from slackbot.domain import FileTrouble
from slackbot.errors import FileRefused
from slackbot.text.file_names import file_name

MB: Final = 1 << 20
SPOOLED_BYTES: Final = MB
"""A file of up to this size stays in memory."""
NAME_CHARS: Final = 50
FEW: Final = 3
"""So many names are all said; of more, the others are counted."""

_WORDS: Final = {
    FileTrouble.TOO_BIG: "larger than {file} MB",
    FileTrouble.TOO_BIG_THERE: "Slack takes no file of this size here",
    FileTrouble.TOO_MANY: "more than {count} files at once",
    FileTrouble.TOO_MUCH: "more than {turn} MB together",
    FileTrouble.TYPE_REFUSED: "this type is not accepted",
    FileTrouble.GONE: "it was deleted",
    FileTrouble.HIDDEN: "Slack's plan hides it",
    FileTrouble.SCANNING: "Slack is still checking it",
    FileTrouble.NO_ACCESS: "access to it was denied",
    FileTrouble.MISSING_SCOPE: "this app lacks the permission {detail}",
    FileTrouble.UNREADABLE: "it could not be read",
    FileTrouble.NOT_A_FILE: "only Slack can show it",
    FileTrouble.EMPTY: "it is empty",
    FileTrouble.UPLOADS_OFF: "uploads are switched off here",
    FileTrouble.STORAGE_FULL: "this workspace's storage is full",
}


@dataclass(frozen=True, slots=True)
class FileLimits:
    """What may pass. ``file_bytes`` counts in both directions, the others for the files that go in with one question.

    ``refused_types`` are MIME types (``video/*`` for all of a kind) and endings with their dot.
    """

    file_bytes: int = 25 * MB
    turn_bytes: int = 50 * MB
    count: int = 10
    refused_types: frozenset[str] = frozenset()

    def refuses(self, name: str, media_type: str) -> bool:
        """Whether files of this type may not go in."""
        kind = media_type.partition("/")[0]
        known = {media_type.lower(), f"{kind.lower()}/*"}
        return bool(known & self.refused_types) or name.lower().endswith(
            tuple(ending for ending in self.refused_types if ending.startswith("."))
        )

    def why(self, refused: FileRefused) -> str:
        """A few words for people about why a file did not pass."""
        file, turn = self.file_bytes // MB, self.turn_bytes // MB
        return _WORDS[refused.trouble].format(file=file, turn=turn, count=self.count, detail=refused.detail or "?")


def listed(names_and_reasons: Iterable[tuple[str, str]]) -> str:
    """Names by the reason behind them, as one line that stays compact however many they are."""
    by_reason: dict[str, list[str]] = {}
    for name, why in names_and_reasons:
        by_reason.setdefault(why, []).append(_short(file_name(name, "", "")))
    return ", ".join(f"{_joined(names)} ({why})" for why, names in by_reason.items())


def refusal(error: Exception) -> FileRefused:
    """What went wrong, as something that people can be told."""
    return error if isinstance(error, FileRefused) else FileRefused(FileTrouble.UNREADABLE, str(error))


def spool() -> BinaryIO:
    """A temporary file without a name: the system takes it back whenever the process lets go of it, also by dying."""
    return cast("BinaryIO", _Spool(max_size=SPOOLED_BYTES))


class _Spool(tempfile.SpooledTemporaryFile[bytes]):
    """What a full disk does not take is lost on closing, as everything in it."""

    def close(self) -> None:
        with suppress(OSError):
            super().close()

    def __exit__(self, *_raised: object) -> None:
        self.close()


def _joined(names: list[str]) -> str:
    if len(names) > FEW:
        names = [*names[: FEW - 1], f"{len(names) - FEW + 1} more"]
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def _short(name: str) -> str:
    return name if len(name) <= NAME_CHARS else f"{name[: NAME_CHARS - 1]}…"
