"""Use case: what the agent made goes into the thread, each file once and in order."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import Final

from slackbot.domain import FileOffered, FileTrouble, ThreadKey
from slackbot.errors import ChatError, FileRefused
from slackbot.files.passing import FileLimits, listed, refusal, spool
from slackbot.ports import Agent, Chat

log = logging.getLogger(__name__)

MOST: Final = 50
"""So many files of one answer come into its thread."""
UNNAMED: Final = "a file"
# Why a file is not there, besides its own troubles.
NOT_YET: Final = "stopped before it came"
INCOMPLETE: Final = "this answer is not complete"
TOO_MANY: Final = f"more than {MOST} files at once"
TOO_MUCH: Final = "too much at once"


class Outgoing:
    """Fetches what the agent made and shares it in Slack, within limits."""

    def __init__(self, agent: Agent, chat: Chat, limits: FileLimits) -> None:
        self._agent = agent
        self._chat = chat
        self._limits = limits

    async def share(self, thread: ThreadKey, offers: Sequence[FileOffered], missing: list[str]) -> None:
        """Bring the files into the thread, one below the other. Never raises for a file.

        ``missing`` has the reason for each file why it is not there, which becomes empty once it is.
        """
        for number, offer in enumerate(offers):
            missing[number] = TOO_MANY if number >= MOST else await self._attempt(thread, offer)

    async def _attempt(self, thread: ThreadKey, offer: FileOffered) -> str:
        if not offer.url:
            return TOO_MUCH
        try:
            with spool() as content:
                file = await self._agent.fetch(offer, content, most=self._limits.file_bytes)
                content.seek(0)
                await self._chat.upload(thread, file, alt=file.name if file.media_type.startswith("image/") else "")
        except (FileRefused, ChatError, OSError) as error:
            refused = refusal(error)
            log.warning(
                "file.not_shared",
                extra={
                    "slack_thread": str(thread),
                    "trouble": refused.trouble.value,
                    "error": str(refused),
                    "detail": refused.detail,
                },
            )
            # What only looked like a file and is none is no news.
            return "" if offer.guessed and refused.trouble is FileTrouble.GONE else self._limits.why(refused)
        return ""


def merged(offers: Iterable[FileOffered]) -> list[FileOffered]:
    """Each file once, in order: what is said of it first counts, and later words fill in what that left open."""
    found: dict[str, FileOffered] = {}
    for offer in offers:
        key = offer.url or str(len(found))
        known = found.setdefault(key, offer)
        found[key] = FileOffered(
            offer.url, known.media_type or offer.media_type, known.name or offer.name, known.guessed and offer.guessed
        )
    return list(found.values())


def unshared(offers: Sequence[FileOffered], missing: Sequence[str]) -> str:
    """One sentence about the files that are missing, empty when all are there."""
    failed = [(offer.name or UNNAMED, why) for offer, why in zip(offers, missing, strict=True) if why]
    return f"I could not bring what the agent made into Slack: {listed(failed)}." if failed else ""
