"""Files as ``files.info`` tells of them, read as our values."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from slackbot.domain import FileTrouble, SlackFile
from slackbot.errors import ChatError, FileRefused
from slackbot.slack.addresses import is_public
from slackbot.slack.calls import Call
from slackbot.slack.events import clean, mapping
from slackbot.text.file_names import file_name
from slackbot.text.media_types import UNKNOWN, by_ending, media_type

METHOD: Final = "files.info"
SCOPE: Final = "files:read"
SCAN_PAUSES: Final = (0.5, 1.0, 1.5, 3.0, 4.0)
"""Seconds between looks at a file that Slack is not done with."""

# https://docs.slack.dev/reference/methods/files.info
_REFUSALS: Final = {
    "access_denied": FileTrouble.NO_ACCESS,
    "ekm_access_denied": FileTrouble.NO_ACCESS,
    "file_deleted": FileTrouble.GONE,
    "file_not_found": FileTrouble.GONE,
    "missing_scope": FileTrouble.MISSING_SCOPE,
    "no_permission": FileTrouble.NO_ACCESS,
}
# The values of ``mode`` and ``file_access`` that mean there is nothing to download.
# https://docs.slack.dev/reference/objects/file-object and https://docs.slack.dev/apis/slack-connect
_STATES: Final = {
    "access_denied": FileTrouble.NO_ACCESS,
    "check_file_info": FileTrouble.NO_ACCESS,
    "file_not_found": FileTrouble.GONE,
    "hidden_by_limit": FileTrouble.HIDDEN,
    "tombstone": FileTrouble.GONE,
}
_PAGES: Final = frozenset({"canvas", "docs", "list", "post", "quip", "space"})
_PAGE_TYPE: Final = "application/vnd.slack-docs"


class FileInfo:
    """Looks files up, and waits a little for those that Slack is still looking at."""

    def __init__(self, call: Call, sleep: Callable[[float], Awaitable[None]]) -> None:
        self._call = call
        self._sleep = sleep

    async def look_up(self, team_id: str, file_id: str, *, patience: float) -> SlackFile:
        """What Slack says of a file now. Raises ``FileRefused``, or the ``ChatError`` kind of any other refusal."""
        for pause in (*SCAN_PAUSES, 0.0):
            try:
                answer = await self._call(team_id, METHOD, {"file": file_id}, patience=patience)
            except ChatError as error:
                if (trouble := _REFUSALS.get(error.slack_error)) is None:
                    raise
                scope = SCOPE if trouble is FileTrouble.MISSING_SCOPE else ""
                raise FileRefused(trouble, str(error), detail=scope) from error
            if file := read_file(answer.get("file")):
                return file
            if pause:
                await self._sleep(pause)
        raise FileRefused(FileTrouble.SCANNING, "no address for its bytes yet")


def read_file(found: object) -> SlackFile | None:
    """A file object as our value; None for one that Slack has not finished looking at: its bytes have no address yet.

    Raises ``FileRefused`` for one that cannot be had.
    """
    file = mapping(found)
    mode, access = _text(file, "mode"), _text(file, "file_access")
    if trouble := _STATES.get(mode) or _STATES.get(access):
        raise FileRefused(trouble, f"mode {mode or 'unknown'}, file_access {access or 'unknown'}")
    kind = _media_type(file)
    name = file_name(_text(file, "name"), _text(file, "title"), kind)
    if mode == "external" or file.get("is_external") is True:
        url = _text(file, "external_url") or _text(file, "url_private")
        if not is_public(url):
            raise FileRefused(FileTrouble.UNREADABLE, "an external file without a public https address")
        return SlackFile(_text(file, "id"), name, kind, _size(file), url, external=True)
    if mode in _PAGES or kind == _PAGE_TYPE:
        raise FileRefused(FileTrouble.NOT_A_FILE, f"mode {mode}")
    url = _text(file, "url_private_download") or _text(file, "url_private")
    if not url:
        return None
    return SlackFile(_text(file, "id"), name, kind, _size(file), url, transcript=_transcript(file))


def _media_type(file: Mapping[str, Any]) -> str:
    """What Slack says it is. A voice clip is often called a video, or nothing at all."""
    kind = media_type(_text(file, "mimetype"), _text(file, "name"))
    if kind == UNKNOWN:
        kind = by_ending(f".{_text(file, 'filetype')}") or UNKNOWN
    if _text(file, "subtype") == "slack_audio":
        return "audio/mp4" if kind == UNKNOWN else kind.replace("video/", "audio/", 1)
    return kind


def _transcript(file: Mapping[str, Any]) -> str:
    """What was heard in a clip. Slack gives its beginning only, and says so when there is more."""
    match file.get("transcription"):
        case {"status": "complete", "preview": {"content": str(heard), **preview}}:
            return clean(heard).strip() + (" …" if preview.get("has_more") else "")
    return ""


def _size(file: Mapping[str, Any]) -> int:
    size = file.get("size")
    return size if isinstance(size, int) and size > 0 else 0


def _text(file: Mapping[str, Any], key: str) -> str:
    value = file.get(key)
    return value if isinstance(value, str) else ""
