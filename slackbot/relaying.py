"""Use case: during a handover in a direct message, what one side writes appears on the other, once and in order."""

from __future__ import annotations

import logging

from slackbot.domain import Body, FileBytes, Handover, PartRecord, PartRef, ThreadKey, Turn
from slackbot.errors import ChatError, ChatRateLimited, FileRefused, MessageGone
from slackbot.files.passing import FileLimits, listed, spool
from slackbot.ports import Chat
from slackbot.replies.reply import ReplyTools
from slackbot.store import Store
from slackbot.text.inbound import entities, readable
from slackbot.text.outbound import prepare

log = logging.getLogger(__name__)

EMPTY = "…"


class Relay:
    """Shows a relay turn where it belongs: posts it, edits what was posted before, or takes that away again."""

    def __init__(self, store: Store, chat: Chat, tools: ReplyTools, limits: FileLimits) -> None:
        self._store = store
        self._chat = chat
        self._tools = tools
        self._limits = limits

    async def run(self, turn: Turn) -> bool:
        """Bring the other side up to date with the message; False when there is no other side yet. Raises
        ``ChatError`` and ``StoreError``."""
        handover = await self._store.newest_handover(turn.conversation.id)
        place = turn.thread if turn.from_operator else _desk(handover)
        if place is None:
            log.info("relay.nowhere", extra={"turn": turn.id, "slack_thread": str(turn.thread)})
            return handover is None or not handover.is_open
        shown = await self._shown(turn, place)
        if not turn.text and not turn.attachments:
            if shown is not None:
                await self._chat.delete(place, shown.ts)
            return True
        body = await self._body(turn)
        if shown is not None and await self._edited(place, shown.ts, body):
            return True
        ts = await self._chat.post(place, lambda: body, PartRef(turn.id, 0))
        await self._store.record_part(turn.id, PartRecord(0, ts))
        if failed := await self._share_files(turn, place):
            words = Body(notice=f"Not brought along: {listed(failed)}.")
            await self._chat.post(place, lambda: words, PartRef(turn.id, 1))
        return True

    async def _shown(self, turn: Turn, place: ThreadKey) -> PartRecord | None:
        parts = await self._store.parts(turn.id)
        if not parts and turn.attempt > 1:
            # A crash between the post and its record must not say it twice.
            parts = await self._chat.find_parts(place, turn.id)
            for part in parts[:1]:
                await self._store.record_part(turn.id, part)
        return next((part for part in parts if part.index == 0), None)

    async def _body(self, turn: Turn) -> Body:
        team_id = turn.thread.team_id
        named = entities(turn.text)
        people = await self._chat.people(team_id, named.users | {turn.user_id})
        channels = await self._chat.channel_names(team_id, named.channels) if named.channels else {}
        names = {user_id: person.name for user_id, person in people.items()}
        words = prepare(readable(turn.text, people=names, channels=channels))
        if turn.attachments:
            words = f"{words}\n\n_shared: {', '.join(file.name for file in turn.attachments)}_".strip()
        return Body(words.strip() or EMPTY, speaker=people[turn.user_id])

    async def _edited(self, place: ThreadKey, ts: str, body: Body) -> bool:
        wait = self._tools.budget.take(place.team_id, "chat.update", self._tools.now())
        if wait:
            raise ChatRateLimited("chat.update: no slot", retry_after=wait)
        try:
            await self._chat.edit(place, ts, body)
        except MessageGone:
            return False
        return True

    async def _share_files(self, turn: Turn, place: ThreadKey) -> list[tuple[str, str]]:
        failed = []
        for attachment in turn.attachments:
            try:
                file = await self._chat.look_up_file(place.team_id, attachment.id)
                with spool() as content:
                    size = await self._chat.download(place.team_id, file, content, most=self._limits.file_bytes)
                    content.seek(0)
                    await self._chat.upload(place, FileBytes(file.name, file.media_type, size, content))
            except FileRefused as error:
                failed.append((attachment.name, self._limits.why(error)))
            except ChatError as error:
                log.warning("relay.file", extra={"turn": turn.id, "file": attachment.id, "error": str(error)})
                failed.append((attachment.name, "it could not be brought along"))
        return failed


def _desk(handover: Handover | None) -> ThreadKey | None:
    """Below the card, where operators read."""
    if handover is None or handover.card is None:
        return None
    return ThreadKey(handover.conversation.thread.team_id, handover.card.channel_id, handover.card.ts)
