"""Use case: the files of a question go to the agent, whole, and what cannot go is said."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Final

from slackbot.domain import Attachment, FileBytes, FileLink, FileTrouble, SlackFile, ThreadKey
from slackbot.errors import ChatError, FileRefused
from slackbot.files.passing import FileLimits, listed, refusal, spool
from slackbot.ports import Chat
from slackbot.text.file_names import file_name
from slackbot.text.media_types import HEAD, true_media_type

log = logging.getLogger(__name__)

AT_ONCE: Final = 3
"""Files of one question that are fetched side by side."""
MOST_LOOKS: Final = 50
"""So many files of one question are looked up, when many of them cannot go."""
NOT_READ: Final = "This agent has no tool for files switched on, so it may not see what is in them."


@dataclass(slots=True)
class Bundle:
    """The files that go along with a question. ``close`` takes their bytes away."""

    files: list[FileBytes | FileLink] = field(default_factory=list)
    sent: list[str] = field(default_factory=list)
    """Slack's ids of those files."""
    left_out: dict[str, str] = field(default_factory=dict)
    """Why the others do not go, in words, by id."""
    about: dict[str, str] = field(default_factory=dict)
    """What the agent should know of a file besides its bytes, by id."""
    note: str = ""
    """What the people in the thread should know before the agent answers; empty when all is well."""
    unread: bool = False
    """Whether that is also that the agent has no tool for files."""
    held: ExitStack = field(default_factory=ExitStack)

    def close(self) -> None:
        self.held.close()


class Incoming:
    """Fetches what people shared from Slack, within limits."""

    def __init__(self, chat: Chat, limits: FileLimits) -> None:
        self._chat = chat
        self._limits = limits

    async def gather(
        self, thread: ThreadKey, attachments: Iterable[Attachment], *, known: Collection[str], agent_reads: bool
    ) -> Bundle:
        """Fetch the files that can go. ``attachments`` come the most wanted first; those in ``known`` the conversation
        has already. ``agent_reads``: the agent has a tool for files, or people know that it has none.

        Never raises for a file: what cannot go is in the bundle's words. The caller closes the bundle.
        """
        wanted = list({file.id: file for file in attachments if file.id not in known}.values())
        bundle = Bundle()
        if not wanted:
            return bundle
        refused: dict[str, FileRefused] = {}
        chosen = await self._choose(thread, wanted, refused)
        try:
            await self._fetch(thread, chosen, bundle, refused)
        except BaseException:
            bundle.close()
            raise
        for file in wanted:
            if error := refused.get(file.id):
                why = bundle.left_out[file.id] = self._limits.why(error)
                bundle.about[file.id] = f"not passed on to you: {why}"
                log.warning(
                    "file.left_out",
                    extra={
                        "slack_thread": str(thread),
                        "file": file.id,
                        "trouble": error.trouble.value,
                        "error": str(error),
                        "detail": error.detail,
                    },
                )
        bundle.unread = bool(bundle.files) and not agent_reads
        notes = [NOT_READ] if bundle.unread else []
        if bundle.left_out:
            reasons = listed((file.name, bundle.left_out[file.id]) for file in wanted if file.id in bundle.left_out)
            notes.insert(0, f"Not passed on to the agent: {reasons}.")
        bundle.note = " ".join(notes)
        return bundle

    async def _look_up(
        self, thread: ThreadKey, wanted: Sequence[Attachment], refused: dict[str, FileRefused]
    ) -> list[SlackFile]:
        async def look_up(file: Attachment) -> SlackFile | None:
            try:
                return await self._chat.look_up_file(thread.team_id, file.id)
            except (FileRefused, ChatError) as error:
                refused[file.id] = refusal(error)
            return None

        async with asyncio.TaskGroup() as tasks:
            looking = [tasks.create_task(look_up(file)) for file in wanted]
        return [file for task in looking if (file := task.result())]

    async def _choose(
        self, thread: ThreadKey, wanted: Sequence[Attachment], refused: dict[str, FileRefused]
    ) -> list[SlackFile]:
        """Those within the limits, as far as Slack's word tells. What cannot go takes no other file's place."""
        chosen: list[SlackFile] = []
        looked = total = 0
        while room := min(self._limits.count - len(chosen), len(wanted) - looked, MOST_LOOKS - looked):
            for file in await self._look_up(thread, wanted[looked : looked + room], refused):
                if self._limits.refuses(file.name, file.media_type):
                    refused[file.id] = FileRefused(FileTrouble.TYPE_REFUSED)
                elif not file.external and file.size > self._limits.file_bytes:
                    refused[file.id] = FileRefused(FileTrouble.TOO_BIG)
                elif not file.external and total + file.size > self._limits.turn_bytes:
                    refused[file.id] = FileRefused(FileTrouble.TOO_MUCH)
                else:
                    total += 0 if file.external else file.size
                    chosen.append(file)
            looked += room
        refused |= {file.id: FileRefused(FileTrouble.TOO_MANY) for file in wanted[looked:]}
        return chosen

    async def _fetch(
        self, thread: ThreadKey, chosen: list[SlackFile], bundle: Bundle, refused: dict[str, FileRefused]
    ) -> None:
        room = asyncio.Semaphore(AT_ONCE)

        async def fetch(file: SlackFile) -> FileBytes | FileLink | None:
            if file.external:
                return FileLink(file.name, file.media_type, file.url)
            try:
                async with room:
                    return await self._download(thread.team_id, file, bundle)
            except (FileRefused, ChatError, OSError) as error:
                refused[file.id] = refusal(error)
            return None

        async with asyncio.TaskGroup() as tasks:
            fetching = [tasks.create_task(fetch(file)) for file in chosen]
        total = 0
        for file, task in zip(chosen, fetching, strict=True):
            fetched = task.result()
            if fetched is None:
                continue
            # Counted, not announced: Slack's own sizes were only good enough to choose by.
            size = fetched.size if isinstance(fetched, FileBytes) else 0
            if total + size > self._limits.turn_bytes:
                refused[file.id] = FileRefused(FileTrouble.TOO_MUCH)
            elif self._limits.refuses(fetched.name, fetched.media_type):
                refused[file.id] = FileRefused(FileTrouble.TYPE_REFUSED)
            else:
                total += size
                bundle.files.append(fetched)
                bundle.sent.append(file.id)
                if file.transcript:
                    bundle.about[file.id] = f"Slack heard: {file.transcript}"

    async def _download(self, team_id: str, file: SlackFile, bundle: Bundle) -> FileBytes:
        content = bundle.held.enter_context(spool())
        size = await self._chat.download(team_id, file, content, most=self._limits.file_bytes)
        content.seek(0)
        head = content.read(HEAD)
        media_type = true_media_type(file, head)
        nameless = file.name == file_name("", "", file.media_type)
        return FileBytes(file_name("", "", media_type) if nameless else file.name, media_type, size, content)
