"""Use case: what the agent made goes into the thread, each file once and in order."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from slackbot.domain import FileOffered, FileTrouble, ThreadKey
from slackbot.errors import ChatError, FileRefused
from slackbot.files.passing import FileLimits, listed, spool
from slackbot.ports import Agent, Chat

log = logging.getLogger(__name__)

UNNAMED = "a file"


class Outgoing:
    """Fetches what the agent made and shares it in Slack, within limits."""

    def __init__(self, agent: Agent, chat: Chat, limits: FileLimits) -> None:
        self._agent = agent
        self._chat = chat
        self._limits = limits

    async def share(self, thread: ThreadKey, offers: Iterable[FileOffered]) -> str:
        """Bring the files into the thread, one below the other; returns one sentence about those that could not come,
        empty when all did. Never raises for a file."""
        failed: list[tuple[str, str]] = []
        for offer in {offer.url: offer for offer in offers}.values():
            try:
                await self._share(thread, offer)
            except (FileRefused, ChatError) as error:
                refused = error if isinstance(error, FileRefused) else FileRefused(FileTrouble.UNREADABLE, str(error))
                log.warning(
                    "file.not_shared",
                    extra={
                        "slack_thread": str(thread),
                        "trouble": refused.trouble.value,
                        "error": str(refused),
                        "detail": refused.detail,
                    },
                )
                failed.append((offer.name or UNNAMED, self._limits.why(refused)))
        return f"I could not bring what the agent made into Slack: {listed(failed)}." if failed else ""

    async def _share(self, thread: ThreadKey, offer: FileOffered) -> None:
        with spool() as content:
            file = await self._agent.fetch(offer, content, most=self._limits.file_bytes)
            content.seek(0)
            await self._chat.upload(thread, file, alt=file.name if file.media_type.startswith("image/") else "")
