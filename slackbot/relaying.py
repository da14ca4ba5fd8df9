"""Use case: during a handover in a direct message, what one side writes appears on the other, once and in order."""

from __future__ import annotations

import logging
from dataclasses import replace

from slackbot.domain import (
    Body,
    FileBytes,
    Handover,
    HandoverState,
    Move,
    PartRecord,
    PartRef,
    ThreadKey,
    Turn,
)
from slackbot.errors import ChatError, FileRefused, ThreadClosed
from slackbot.files.passing import FileLimits, listed, refusal, spool
from slackbot.ports import Chat
from slackbot.replies.tools import ReplyTools
from slackbot.store import Store
from slackbot.text.inbound import entities
from slackbot.text.parts import MAX_BYTES, MAX_CHARS
from slackbot.text.relayed import pieces, quotable

log = logging.getLogger(__name__)

EMPTY = "…"
CLOSED = "I could not bring this to them: their direct messages are closed to me."
PIECE = MAX_BYTES // 4
"""Longer words go in so many characters at a time, which fit whatever they are."""
NOT_BROUGHT, FILES = 999, 1_000
"""Numbers of the parts that are no words: a sentence about files, and each of them."""


class Relay:
    """Shows a relay turn where it belongs: posts it, edits what was posted before, or takes that away again."""

    def __init__(self, store: Store, chat: Chat, tools: ReplyTools, limits: FileLimits, *, owner: str) -> None:
        self._store = store
        self._owner = owner
        self._chat = chat
        self._tools = tools
        self._limits = limits

    async def run(self, turn: Turn) -> bool:
        """Bring the other side up to date with the message; False when there is no other side yet. Raises
        ``ChatError`` and ``StoreError``."""
        handover = await self._store.handover(turn.handover_id or 0, turn.thread.team_id)
        desk = _desk(handover)
        place = turn.thread if turn.from_operator else desk
        if place is None:
            log.info("relay.nowhere", extra={"turn": turn.id, "slack_thread": str(turn.thread)})
            return handover is None or not handover.is_open
        try:
            await self._show(turn, place)
        except ThreadClosed as error:
            log.warning("relay.closed", extra={"turn": turn.id, "where": str(place), "error": str(error)})
            if turn.from_operator and desk is not None:
                await self._chat.post(desk, lambda: Body(notice=CLOSED))
            elif handover is not None and handover.is_open:
                # Nobody hears the asker any more: the agent has the thread again, and the desk says so.
                move = Move.GIVE_UP if handover.state is HandoverState.REQUESTED else Move.HAND_BACK
                await self._store.end_handover(handover.id, turn.thread.team_id, move, "")
        return True

    async def _show(self, turn: Turn, place: ThreadKey) -> None:
        shown = await self._shown(turn, place)
        bodies = await self._bodies(turn) if turn.text or turn.attachments else []
        for index, body in enumerate(bodies):
            if index in shown and await self._tools.edited(place, shown[index], body):
                continue
            await self._post(turn, place, index, body)
        for index, ts in shown.items():
            if len(bodies) <= index < (NOT_BROUGHT if bodies else FILES):
                await self._chat.delete(place, ts)
        if not bodies:
            return
        failed = await self._share_files(turn, place, shown)
        if failed and NOT_BROUGHT not in shown:
            await self._post(turn, place, NOT_BROUGHT, Body(notice=f"Not brought along: {listed(failed)}."))

    async def _post(self, turn: Turn, place: ThreadKey, index: int, body: Body) -> None:
        ts = await self._chat.post(place, lambda: body, PartRef(turn.id, index))
        await self._store.record_part(turn.id, self._owner, PartRecord(index, ts))

    async def _shown(self, turn: Turn, place: ThreadKey) -> dict[int, str]:
        """What of it stands there, by part."""
        shown = {part.index: part.ts for part in await self._store.parts(turn.id)}
        if turn.attempt > 1:
            # A crash between a post and its record must not say it twice.
            for part in await self._chat.find_parts(place, turn.id):
                if part.index not in shown:
                    await self._store.record_part(turn.id, self._owner, part)
                    shown[part.index] = part.ts
        return shown

    async def _bodies(self, turn: Turn) -> list[Body]:
        team_id = turn.thread.team_id
        named = entities(turn.text)
        people = await self._chat.people(team_id, named.users | {turn.user_id})
        channels = await self._chat.channel_names(team_id, named.channels) if named.channels else {}
        names = {user_id: person.name for user_id, person in people.items()}
        words = quotable(turn.text, people=names, channels=channels).strip()
        shared = f"shared: {', '.join(file.name for file in turn.attachments)}" if turn.attachments else ""
        small = len(words.encode(errors="replace")) <= MAX_BYTES
        said = pieces(words, MAX_CHARS if small else PIECE) or ["" if shared else EMPTY]
        bodies = [Body(quoted=piece, speaker=people[turn.user_id]) for piece in said]
        return [*bodies[:-1], replace(bodies[-1], notice=shared)]

    async def _share_files(self, turn: Turn, place: ThreadKey, shown: dict[int, str]) -> list[tuple[str, str]]:
        if not turn.attachments:
            return []
        failed = []
        # An upload cannot go out under somebody's name.
        speaker = (await self._chat.people(place.team_id, {turn.user_id}))[turn.user_id].name
        for index, attachment in enumerate(turn.attachments, start=FILES):
            if index in shown:
                continue
            try:
                file = await self._chat.look_up_file(place.team_id, attachment.id)
                with spool() as content:
                    size = await self._chat.download(place.team_id, file, content, most=self._limits.file_bytes)
                    content.seek(0)
                    await self._chat.upload(
                        place, FileBytes(file.name, file.media_type, size, content), caption=f"From {speaker}:"
                    )
                await self._store.record_part(turn.id, self._owner, PartRecord(index, attachment.id))
            except (FileRefused, ChatError, OSError) as error:
                log.warning("relay.file", extra={"turn": turn.id, "file": attachment.id, "error": str(error)})
                failed.append((attachment.name, self._limits.why(refusal(error))))
        return failed


def _desk(handover: Handover | None) -> ThreadKey | None:
    """Below the card, where operators read."""
    if handover is None or handover.card is None:
        return None
    return ThreadKey(handover.conversation.thread.team_id, handover.card.channel_id, handover.card.ts)
