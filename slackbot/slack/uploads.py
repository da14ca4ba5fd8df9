"""Sharing a file in a thread: an address for its bytes, the bytes, the share, and waiting until it stands there.

https://docs.slack.dev/messaging/working-with-files. The SDK's ``files_upload_v2`` reads the whole file into memory and
returns before the file is in the thread.
"""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp

from slackbot.domain import FileBytes, FileTrouble, ThreadKey
from slackbot.errors import ChatError, ChatRateLimited, ChatUnavailable, FileRefused
from slackbot.pauses import jittered
from slackbot.slack.addresses import takes_token
from slackbot.slack.calls import Call
from slackbot.slack.events import mapping
from slackbot.slack.web import CONNECT_SECONDS, NotSent

log = logging.getLogger(__name__)

PATIENCE: Final = 120.0
"""Longest wait for a free slot, 429s included, in seconds."""
TRIES: Final = 4
PAUSE: Final = 0.5
CHUNK: Final = 1 << 16
SEND_SECONDS: Final = 60.0
SLOWEST: Final = 100_000
"""A line that carries fewer bytes a second is taken for a broken one."""
ALT_CHARACTERS: Final = 500
"""Half of what Slack takes, so that it does not matter what Slack counts as a character."""
SEEN_SECONDS: Final = 15.0
FIRST_LOOK: Final = 0.25
LAST_LOOK: Final = 2.0
"""The pause before we look for the share, which doubles up to this."""

# https://docs.slack.dev/reference/methods/files.getUploadURLExternal and files.completeUploadExternal
_TROUBLES: Final = {
    "file_not_found": FileTrouble.UNREADABLE,
    "file_type_not_allowed": FileTrouble.TYPE_REFUSED,
    "file_update_failed": FileTrouble.UNREADABLE,
    "file_upload_size_restricted": FileTrouble.TOO_BIG_THERE,
    "file_uploads_disabled": FileTrouble.UPLOADS_OFF,
    "file_uploads_except_images_disabled": FileTrouble.TYPE_REFUSED,
    "invalid_arguments": FileTrouble.UNREADABLE,
    "missing_argument": FileTrouble.UNREADABLE,
    "missing_scope": FileTrouble.MISSING_SCOPE,
    "posting_to_channel_denied": FileTrouble.UPLOADS_OFF,
    "slack_connect_file_upload_sharing_blocked": FileTrouble.UPLOADS_OFF,
    "storage_limit_reached": FileTrouble.STORAGE_FULL,
    "user_is_external_guest": FileTrouble.UPLOADS_OFF,
}


class Uploads:
    """Shares files, each once. ``post_slot`` waits until a message may be posted in a thread; ``file_hosts`` take files
    besides Slack's own."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        call: Call,
        post_slot: Callable[[ThreadKey], Awaitable[None]],
        file_hosts: Iterable[str],
        *,
        now: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self._session = session
        self._call = call
        self._post_slot = post_slot
        self._hosts = frozenset(map(str.lower, file_hosts))
        self._now = now
        self._sleep = sleep

    async def share(self, thread: ThreadKey, file: FileBytes, alt: str, caption: str = "") -> None:
        """Share the file and wait until it stands in the thread; see ``Chat.upload``."""
        if not file.size:
            raise FileRefused(FileTrouble.EMPTY, "Slack takes no empty files")
        try:
            file_id = await self._put(thread.team_id, file, alt)
            await self._post_slot(thread)
            answer = await self._complete(thread, file, file_id, caption)
        except ChatError as error:
            if trouble := _TROUBLES.get(error.slack_error):
                scope = "files:write" if trouble is FileTrouble.MISSING_SCOPE else ""
                raise FileRefused(trouble, str(error), detail=scope) from error
            raise
        files = answer.get("files") if answer else None
        shared = isinstance(files, list) and any(_stands(found, thread.channel_id) for found in files)
        if shared or await self._appeared(thread, file_id):
            return
        if answer is None:
            raise ChatUnavailable(f"files.completeUploadExternal: not known whether {file_id} was shared")
        # It comes later, and perhaps below what is posted next.
        log.warning("upload.unseen", extra={"where": str(thread), "file": file_id})

    async def _put(self, team_id: str, file: FileBytes, alt: str) -> str:
        """Bring the bytes to Slack and return the file's id. Nobody sees them yet: this may be tried again."""
        wanted = {"filename": file.name or "file", "length": file.size}
        # With the description of something that is no picture, Slack shares nothing and says "ok":
        # https://github.com/slackapi/python-slack-sdk/issues/1818
        if alt and file.media_type.startswith("image/"):
            wanted["alt_txt"] = alt[:ALT_CHARACTERS]
        tries = 0
        while True:
            tries += 1
            try:
                ticket = await self._call(team_id, "files.getUploadURLExternal", wanted, patience=PATIENCE)
                await self._send(str(ticket.get("upload_url", "")), file)
                return str(ticket.get("file_id", ""))
            except ChatUnavailable as error:
                if tries == TRIES:
                    raise
                log.info("upload.again", extra={"team": team_id, "error": str(error)})
            await self._sleep(jittered(PAUSE * 2.0**tries))

    async def _send(self, url: str, file: FileBytes) -> None:
        """Post the bytes as they are. The address is its own permission: no token goes there."""
        if not takes_token(url, self._hosts):
            raise FileRefused(FileTrouble.UNREADABLE, f"an upload address outside Slack: {urlsplit(url).hostname}")
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(file.size)}
        seconds = aiohttp.ClientTimeout(total=SEND_SECONDS + file.size / SLOWEST, sock_connect=CONNECT_SECONDS)
        try:
            async with self._session.post(
                url, data=_chunks(file), headers=headers, timeout=seconds, allow_redirects=False
            ) as answer:
                status = answer.status
        except (aiohttp.ClientError, OSError) as error:
            raise ChatUnavailable(f"upload: no usable answer ({type(error).__name__})") from error
        if status >= 500 or status in {408, 429}:
            raise ChatUnavailable(f"upload: HTTP {status}")
        if status != 200:
            trouble = FileTrouble.TOO_BIG_THERE if status == 413 else FileTrouble.UNREADABLE
            raise FileRefused(trouble, f"upload: HTTP {status}")

    async def _complete(
        self, thread: ThreadKey, file: FileBytes, file_id: str, caption: str
    ) -> Mapping[str, Any] | None:
        """Share what was put there. None when an answer was lost and Slack knows the file: it took the call."""
        wanted = {"files": json.dumps([{"id": file_id, "title": file.name or "file"}]), "channel_id": thread.channel_id}
        if thread.root_ts:
            wanted["thread_ts"] = thread.root_ts
        if caption:
            wanted["initial_comment"] = caption
        lost = False
        tries = 0
        while True:
            tries += 1
            try:
                return await self._call(thread.team_id, "files.completeUploadExternal", wanted, patience=PATIENCE)
            except ChatError as error:
                unsure = isinstance(error, ChatUnavailable)
                lost = lost or (unsure and not isinstance(error, NotSent))
                if not (unsure or lost):
                    raise
                log.info("upload.again", extra={"where": str(thread), "file": file_id, "error": str(error)})
                await self._sleep(jittered(PAUSE * 2.0**tries))
                # Shared twice would be seen by everybody; a file that Slack does not know was not shared.
                if lost and await self._known(thread.team_id, file_id, error) is not None:
                    return None
                if tries == TRIES:
                    raise

    async def _known(self, team_id: str, file_id: str, lost: ChatError) -> Mapping[str, Any] | None:
        """What Slack knows of the file. Raises ``lost`` when it does not say."""
        try:
            return await self._info(team_id, file_id, PATIENCE)
        except ChatError:
            raise lost from None

    async def _info(self, team_id: str, file_id: str, patience: float) -> Mapping[str, Any] | None:
        try:
            answer = await self._call(team_id, "files.info", {"file": file_id}, patience=patience)
        except ChatError as error:
            if error.slack_error == "file_not_found":
                return None
            raise
        return mapping(answer.get("file"))

    async def _appeared(self, thread: ThreadKey, file_id: str) -> bool:
        """Wait for the share, which Slack makes in its own time."""
        deadline, pause = self._now() + SEEN_SECONDS, FIRST_LOOK
        while (left := deadline - self._now()) > 0:
            await self._sleep(min(pause, left))
            pause = min(2 * pause, LAST_LOOK)
            try:
                found = await self._info(thread.team_id, file_id, deadline - self._now())
            except (ChatRateLimited, ChatUnavailable):
                continue
            except ChatError as error:
                # Without files:read nobody can look: most files are there by now.
                log.info("upload.unseen", extra={"where": str(thread), "file": file_id, "error": str(error)})
                await self._sleep(LAST_LOOK)
                return False
            if found and _stands(found, thread.channel_id):
                return True
        return False


async def _chunks(file: FileBytes) -> AsyncIterator[bytes]:
    file.content.seek(0)
    while chunk := file.content.read(CHUNK):
        yield chunk


def _stands(file: object, channel_id: str) -> bool:
    shares = mapping(mapping(file).get("shares"))
    return any(mapping(shares.get(kind)).get(channel_id) for kind in ("public", "private"))
