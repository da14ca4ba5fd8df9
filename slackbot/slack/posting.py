"""Our own messages in a thread, each of them once."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final, TypeVar

from slackbot.domain import Body, Button, PartRecord, PartRef, ThreadKey
from slackbot.errors import BodyRefused, ChatError, ChatRateLimited, ChatUnavailable, MessageGone
from slackbot.pauses import jittered
from slackbot.slack.blocks import build, plain_body
from slackbot.slack.calls import POST_PATIENCE, Calls
from slackbot.slack.events import RATINGS
from slackbot.slack.installations import Installations
from slackbot.slack.names import Recent
from slackbot.slack.reading import part_metadata, part_of
from slackbot.slack.web import NotSent, WebApi

log = logging.getLogger(__name__)

POST_RETRIES: Final = 3
UNSURE_SECONDS: Final = 3_600.0
RETRY_PAUSE: Final = 0.5
REFUSED_SECONDS: Final = 3_600.0
"""How long a team's refusal of something it need not allow is remembered."""
_CUSTOMIZE: Final = "chat:write.customize"
_VOICE: Final = ("username", "icon_url")
"""What makes a message appear under another name. https://docs.slack.dev/reference/methods/chat.postMessage#authorship"""
NAME_CHARS: Final = 80

_NO_GUESSING: Final[dict[str, Any]] = {"parse": "none", "link_names": False}
"""Slack shall not make mentions and links of what merely looks like them."""

Sent = TypeVar("Sent")


class _Blind(ChatUnavailable):
    """A post may have happened, and we may not look."""


class Posts:
    """Posts and edits messages. After a post of which nobody knows whether it happened, it looks before the next."""

    def __init__(
        self,
        calls: Calls,
        web: WebApi,
        installations: Installations,
        *,
        now: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self._calls = calls
        self._web = web
        self._installations = installations
        self._sleep = sleep
        self._thumbless: Recent[str] = Recent(now)
        """Teams whose workspace does not know feedback buttons."""
        self._unsure: Recent[str] = Recent(now)
        """Parts that may stand in their thread although Slack did not say so."""

    async def post(self, thread: ThreadKey, body: Callable[[], Body], part: PartRef | None) -> str:
        """Post into the thread; see ``Chat.post``."""
        return await self._show(thread, body, lambda content: self._post(thread, part, content))

    async def edit(self, thread: ThreadKey, ts: str, body: Body) -> None:
        """Replace a message; see ``Chat.edit``."""
        await self._show(thread, lambda: body, lambda content: self.update(thread, ts, content()))

    async def update(self, thread: ThreadKey, ts: str, content: Mapping[str, Any]) -> None:
        """Replace a message by what Slack shall show as it is."""
        # Under whose name a message appears was decided when it was posted.
        shown = {name: value for name, value in content.items() if name not in _VOICE}
        message = {"channel": thread.channel_id, "ts": ts} | shown | _NO_GUESSING
        await self._calls.call_now(thread.team_id, "chat.update", message)

    async def find_parts(self, thread: ThreadKey, turn_id: int) -> list[PartRecord]:
        """Parts of the turn's reply that stand in the thread."""
        # Of two messages for one part the older one counts.
        by_index = {part.index: part for part in reversed(await self.find_all_parts(thread, turn_id))}
        return [by_index[index] for index in sorted(by_index)]

    async def find_all_parts(self, thread: ThreadKey, turn_id: int) -> list[PartRecord]:
        """The same with all that carry one part, in their order in the thread."""
        me = self._installations.find(thread.team_id).identity
        messages = await self._calls.messages(thread, {"include_all_metadata": True})
        return [part for message in messages if (part := part_of(message, turn_id, me))]

    async def _show(
        self,
        thread: ThreadKey,
        body: Callable[[], Body],
        send: Callable[[Callable[[], Mapping[str, Any]]], Awaitable[Sent]],
    ) -> Sent:
        """Send the body as blocks, or as what Slack takes of it: without thumbs, which not every workspace knows, or
        as plain text. What we know to be too large is not sent at all."""

        def blocks(*, thumbs: bool) -> Mapping[str, Any]:
            spoken, voice = self._voiced(thread.team_id, body())
            text, shown = build(spoken if thumbs else _without_thumbs(spoken))
            return {"text": text, "blocks": shown, **voice}

        def words() -> Mapping[str, Any]:
            spoken, voice = self._voiced(thread.team_id, body())
            return {"text": plain_body(spoken), **voice}

        thumbs = not self._thumbless.get(thread.team_id)
        try:
            return await send(lambda: blocks(thumbs=thumbs))
        except BodyRefused as error:
            if not error.slack_error:
                raise
            log.warning("blocks.refused", extra={"where": str(thread), "error": str(error)})
            blame_thumbs = thumbs and error.slack_error == "invalid_blocks" and Button.GOOD in body().buttons
        if blame_thumbs:
            with suppress(BodyRefused):
                sent = await send(lambda: blocks(thumbs=False))
                self._thumbless.put(thread.team_id, "invalid_blocks", REFUSED_SECONDS)
                return sent
        return await send(words)

    def _voiced(self, team_id: str, body: Body) -> tuple[Body, dict[str, str]]:
        """The body as it appears under its speaker's name and picture; where that is not allowed, the body names
        the speaker."""
        if body.speaker is None:
            return body, {}
        token = self._installations.find(team_id).token
        if _CUSTOMIZE not in self._web.scopes.get(token, "").split(","):
            self._web.tell_missing("chat.postMessage", token, _CUSTOMIZE)
            return body, {}
        voice = dict(zip(_VOICE, (body.speaker.name[:NAME_CHARS], body.speaker.picture), strict=True))
        return replace(body, speaker=None), {name: value for name, value in voice.items() if value}

    async def _post(self, thread: ThreadKey, part: PartRef | None, content: Callable[[], Mapping[str, Any]]) -> str:
        message = place(thread) | _NO_GUESSING | {"unfurl_links": False, "unfurl_media": False}
        if part is not None:
            message["metadata"] = part_metadata(part)
        doubted = part and self._unsure.get(part)
        tries = 0
        while True:
            try:
                if part and self._unsure.get(part):
                    ts = await self._posted(thread, part)
                    # What an earlier call posted may be other words.
                    if ts and (not doubted or await self._write_over(thread, ts, content)):
                        self._unsure.forget(part)
                        return ts
                answer = await self._calls.call(
                    thread.team_id, "chat.postMessage", message, patience=POST_PATIENCE, content=content
                )
                return _ts(answer)
            except ChatUnavailable as error:
                tries += 1
                if not isinstance(error, NotSent):
                    # It may be there although no answer came, and nobody could tell it without metadata. Whoever tries
                    # again looks first, now or later.
                    if part is None or isinstance(error, _Blind):
                        raise
                    self._unsure.put(part, str(error), UNSURE_SECONDS)
                if tries > POST_RETRIES:
                    raise
                await self._sleep(jittered(RETRY_PAUSE * 2.0**tries))

    async def _posted(self, thread: ThreadKey, part: PartRef) -> str:
        """Where a part stands that may have been posted; empty where it was not. Raises ``ChatError`` kinds."""
        try:
            parts = await self.find_parts(thread, part.turn_id)
        except (ChatRateLimited, ChatUnavailable):
            raise
        except ChatError as error:
            self._unsure.forget(part)
            raise _Blind(f"chat.postMessage: it cannot be known whether it happened ({error})") from error
        return next((found.ts for found in parts if found.index == part.index), "")

    async def _write_over(self, thread: ThreadKey, ts: str, content: Callable[[], Mapping[str, Any]]) -> bool:
        """Replace a message when there is a slot; False when it is gone."""
        await self._calls.edit_slot(thread.team_id)
        with suppress(MessageGone):
            await self.update(thread, ts, content())
            return True
        return False


def place(thread: ThreadKey) -> dict[str, Any]:
    """The arguments that say where a message goes."""
    return {"channel": thread.channel_id} | ({"thread_ts": thread.root_ts} if thread.root_ts else {})


def _ts(answer: Mapping[str, Any]) -> str:
    if not answer.get("ts"):
        raise ChatUnavailable("chat.postMessage: an answer without ts")
    return str(answer["ts"])


def _without_thumbs(body: Body) -> Body:
    return replace(body, buttons=tuple(button for button in body.buttons if button not in RATINGS))
