"""The ``Chat`` port on Slack's Web API."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, BinaryIO, Final, TypeVar
from weakref import WeakValueDictionary

from slackbot.budget import Budget
from slackbot.domain import (
    Body,
    BotIdentity,
    Button,
    ContextMessage,
    FileBytes,
    MessageRef,
    PartRecord,
    PartRef,
    Person,
    SessionStatus,
    SlackFile,
    ThreadKey,
)
from slackbot.errors import BodyRefused, ChatError, ChatRateLimited, ChatUnavailable, MessageGone
from slackbot.leases import may_write
from slackbot.sharing import Sharing
from slackbot.slack.blocks import build, build_question, escape, plain_body
from slackbot.slack.downloads import Downloads
from slackbot.slack.events import RATINGS
from slackbot.slack.file_info import FileInfo
from slackbot.slack.installations import Installations
from slackbot.slack.names import KNOWN_SECONDS, NAME_PATIENCE, Names, Recent
from slackbot.slack.operators import Operators
from slackbot.slack.reading import Message, only_words, part_metadata, part_of, said
from slackbot.slack.uploads import Uploads
from slackbot.slack.web import READS, NotSent, WebApi

log = logging.getLogger(__name__)

POST_PATIENCE: Final = 120.0
READ_PATIENCE: Final = 20.0
"""Longest wait for a free slot, 429s included, in seconds."""
POST_RETRIES: Final = 3
UNSURE_SECONDS: Final = 3_600.0
RETRY_PAUSE: Final = 0.5
PAGE: Final = 999
"""Most messages Slack returns at once. https://docs.slack.dev/reference/methods/conversations.replies"""
PAGES: Final = 5
MARK_PATIENCE: Final = 3.0
UNMARK_PATIENCE: Final = 65.0
"""A mark that would stay for ever is worth the wait for a whole new window of slots."""
STATUS = "assistant.threads.setStatus"
WAITING: Final = "hourglass_flowing_sand"
"""The reaction on a message that waits for its turn."""
REFUSED_SECONDS: Final = 3_600.0
"""How long a team's refusal of something it need not allow is remembered."""
_NEVER: Final = frozenset(
    {"missing_scope", "not_allowed_token_type", "not_authorized", "no_permission", "unknown_method", "access_denied"}
)
"""Refusals that hold for the whole team, not for one thread."""
_NO_CHANGE: Final = frozenset({"already_reacted", "message_not_found", "no_reaction"})
"""What reactions.add and reactions.remove say when there is nothing left to do."""
_THUMBS: Final = "feedback buttons"
_CUSTOMIZE: Final = "chat:write.customize"
_VOICE: Final = ("username", "icon_url")
"""What makes a message appear under another name. https://docs.slack.dev/reference/methods/chat.postMessage#authorship"""
NAME_CHARS: Final = 80

Sent = TypeVar("Sent")

_NO_GUESSING: Final[dict[str, Any]] = {"parse": "none", "link_names": False}
"""Slack shall not make mentions and links of what merely looks like them."""


class _Blind(ChatUnavailable):
    """A post may have happened, and we may not look."""


class SlackChat:
    """Says things in Slack for every team that installed the app. Implements ``slackbot.ports.Chat``."""

    def __init__(  # noqa: PLR0913  each setting by its name
        self,
        web: WebApi,
        installations: Installations,
        budget: Budget,
        sharing: Sharing | None = None,
        *,
        file_hosts: Collection[str] = (),
        operators: frozenset[str] = frozenset(),
        operator_group: str = "",
        handover_channel: str = "",
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """``file_hosts`` (``host`` or ``host:port``) may have files besides Slack's own, and so the token.

        Operators are the people in ``operators`` and in the user group, or else the members of the channel.
        """
        self._web = web
        self._installations = installations
        self._budget = budget
        self._sharing = sharing
        self._now = now
        self._sleep = sleep
        self._names = Names(self._call, now)
        self._operators = Operators(
            self._call, self._names, now, listed=operators, group=operator_group, channel=handover_channel
        )
        self._links: Recent[str] = Recent(now)
        self._file_info = FileInfo(self._call, sleep)
        self._downloads = Downloads(file_hosts, sleep=sleep)
        self._refused: Recent[str] = Recent(now)
        self._unsure: Recent[str] = Recent(now)
        """Parts that may stand in their thread although Slack did not say so."""
        self._queues: WeakValueDictionary[tuple[str, str, str], asyncio.Lock] = WeakValueDictionary()
        self._uploads = Uploads(web.session, self._call, self._post_slot, file_hosts, now=now, sleep=sleep)

    async def aclose(self) -> None:
        """Close the connections that files came over."""
        await self._downloads.aclose()

    # --- writing ---

    async def set_status(self, thread: ThreadKey, status: str) -> bool:
        """Show ``status`` under the thread; False where that is not possible, for whatever reason.

        https://docs.slack.dev/reference/methods/assistant.threads.setStatus
        """
        if not thread.root_ts:
            return False
        wanted = {"channel_id": thread.channel_id, "thread_ts": thread.root_ts, "status": status}
        return await self._try(thread, STATUS, wanted, patience=0.0)

    async def mark_waiting(self, thread: ThreadKey, ts: str) -> bool:
        """Put the mark on; False where that is not possible, for whatever reason.

        https://docs.slack.dev/reference/methods/reactions.add
        """
        return await self._try(thread, "reactions.add", _mark(thread, ts), patience=MARK_PATIENCE)

    async def unmark_waiting(self, thread: ThreadKey, ts: str) -> None:
        """Take the mark off, or leave it where that is not possible."""
        await self._try(thread, "reactions.remove", _mark(thread, ts), patience=UNMARK_PATIENCE)

    async def post(self, thread: ThreadKey, body: Callable[[], Body], part: PartRef | None = None) -> str:
        """Post into the thread; see ``Chat.post``. What Slack will not show as blocks goes out as plain text."""
        return await self._show(thread, body, lambda content: self._post(thread, part, content))

    async def edit(self, thread: ThreadKey, ts: str, body: Body) -> None:
        """Replace a message; see ``Chat.edit``. What Slack will not show as blocks becomes plain text."""
        await self._show(thread, lambda: body, lambda content: self._edit(thread, ts, content()))

    async def strip(self, thread: ThreadKey, ts: str) -> None:
        """Take buttons and small print off a message; see ``Chat.strip``."""
        found = await self._messages(thread, {"oldest": ts, "latest": ts, "inclusive": True})
        for message in found:
            if message.get("ts") == ts and (words := only_words(message)):
                await self._edit(thread, ts, words)

    async def delete(self, thread: ThreadKey, ts: str) -> None:
        """Remove one of our messages."""
        try:
            where = {"channel": thread.channel_id, "ts": ts}
            await self._call(thread.team_id, "chat.delete", where, patience=POST_PATIENCE)
        except MessageGone:
            return

    async def whisper(self, thread: ThreadKey, user_id: str, text: str) -> None:
        """Tell one person something."""
        words = _place(thread) | {"user": user_id, "text": escape(text)}
        await self._call(thread.team_id, "chat.postEphemeral", words, patience=POST_PATIENCE)

    async def ask_privately(
        self, thread: ThreadKey, user_id: str, text: str, buttons: Sequence[Button], about_ts: str
    ) -> None:
        """Ask one person something; see ``Chat.ask_privately``."""
        gist, blocks = build_question(text, buttons, thread.root_ts, about_ts)
        question = _place(thread) | {"user": user_id, "text": gist, "blocks": blocks}
        await self._call(thread.team_id, "chat.postEphemeral", question, patience=POST_PATIENCE)

    async def set_session(self, thread: ThreadKey, status: SessionStatus) -> bool:
        """Show the state of the agent's session, where the app has Slack's agent feature.

        https://docs.slack.dev/reference/methods/agents.sessions.setStatus
        """
        if not thread.root_ts:
            return False
        wanted = {"channel_id": thread.channel_id, "thread_ts": thread.root_ts, "status": status.value}
        # Whoever waits to hear that the agent works hears its answer sooner; that it is done must not be missed.
        patience = 0.0 if status is SessionStatus.PROCESSING else UNMARK_PATIENCE
        return await self._try(thread, "agents.sessions.setStatus", wanted, patience=patience)

    async def upload(self, thread: ThreadKey, file: FileBytes, *, alt: str = "", caption: str = "") -> None:
        """Share a file in the thread and wait until it stands there."""
        await self._uploads.share(thread, file, alt, escape(caption))

    async def _try(self, thread: ThreadKey, method: str, arguments: Mapping[str, Any], *, patience: float) -> bool:
        """Make a call that nothing depends on; whether it went well. A team that never allows it is asked rarely."""
        if self._refused.get((thread.team_id, method)):
            return False
        try:
            await self._call(thread.team_id, method, arguments, patience=patience)
        except ChatError as error:
            if error.slack_error in _NO_CHANGE:
                return True
            log.info("courtesy.refused", extra={"where": str(thread), "error": str(error)})
            if error.slack_error in _NEVER:
                self._refused.put((thread.team_id, method), error.slack_error, REFUSED_SECONDS)
            return False
        return True

    async def _show(
        self,
        thread: ThreadKey,
        body: Callable[[], Body],
        send: Callable[[Callable[[], Mapping[str, Any]]], Awaitable[Sent]],
    ) -> Sent:
        """Send the body as blocks, or as what Slack takes of it: without thumbs, which not every workspace knows, or
        as plain text. What we know to be too large is not sent at all."""
        key = (thread.team_id, _THUMBS)

        def blocks(*, thumbs: bool) -> Mapping[str, Any]:
            spoken, voice = self._voiced(thread.team_id, body())
            text, shown = build(spoken if thumbs else _without_thumbs(spoken))
            return {"text": text, "blocks": shown, **voice}

        def words() -> Mapping[str, Any]:
            spoken, voice = self._voiced(thread.team_id, body())
            return {"text": plain_body(spoken), **voice}

        thumbs = not self._refused.get(key)
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
                self._refused.put(key, _THUMBS, REFUSED_SECONDS)
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
        message = _place(thread) | _NO_GUESSING | {"unfurl_links": False, "unfurl_media": False}
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
                answer = await self._call(
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
                await self._sleep(RETRY_PAUSE * 2.0**tries)

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
        await self._slot(thread.team_id, "chat.update", "", self._now() + POST_PATIENCE)
        with suppress(MessageGone):
            await self._edit(thread, ts, content())
            return True
        return False

    async def _edit(self, thread: ThreadKey, ts: str, content: Mapping[str, Any]) -> None:
        token = self._installations.find(thread.team_id).token
        # Under whose name a message appears was decided when it was posted.
        shown = {name: value for name, value in content.items() if name not in _VOICE}
        message = {"channel": thread.channel_id, "ts": ts} | shown | _NO_GUESSING
        if wait := await self._elsewhere(thread.team_id, "chat.update"):
            raise ChatRateLimited(_no_slot("chat.update", wait), retry_after=wait)
        try:
            await self._web.call("chat.update", token, message)
        except ChatRateLimited as error:
            await self._cool_off(thread.team_id, "chat.update", error.retry_after)
            raise

    # --- reading ---

    async def history(self, thread: ThreadKey, *, before_ts: str, limit: int) -> list[ContextMessage]:
        """What was said before; see ``Chat.history``. ``slack_error`` is ``missing_scope`` where we may not read."""
        me = self._me(thread.team_id)
        messages = await self._messages(thread, {"latest": before_ts})
        read = [remark for message in messages if (remark := said(message, me))]
        return [remark for remark in read if remark.ts < before_ts][-limit:]

    async def find_parts(self, thread: ThreadKey, turn_id: int) -> list[PartRecord]:
        """Parts of the turn's reply that stand in the thread."""
        me = self._me(thread.team_id)
        messages = await self._messages(thread, {"include_all_metadata": True})
        found = [part for message in reversed(messages) if (part := part_of(message, turn_id, me))]
        # Of two messages for one part the older one counts.
        by_index = {part.index: part for part in found}
        return [by_index[index] for index in sorted(by_index)]

    async def people(self, team_id: str, user_ids: Collection[str]) -> dict[str, Person]:
        """Who these users are."""
        return await self._names.people(team_id, user_ids)

    async def channel_names(self, team_id: str, channel_ids: Collection[str]) -> dict[str, str]:
        """Names of those channels that can be read."""
        return await self._names.channels(team_id, channel_ids)

    async def operators(self, team_id: str) -> frozenset[str] | None:
        """Who may take threads over, as far as Slack tells."""
        return await self._operators.of(team_id)

    async def permalink(self, message: MessageRef, team_id: str) -> str:
        """The address of a message; empty when Slack does not tell."""
        key = (team_id, message)
        if not (link := self._links.get(key) or ""):
            where = {"channel": message.channel_id, "message_ts": message.ts}
            try:
                answer = await self._call(team_id, "chat.getPermalink", where, patience=NAME_PATIENCE)
            except ChatError as error:
                log.info("permalink.unknown", extra={"team": team_id, "ts": message.ts, "error": str(error)})
                return ""
            link = str(answer.get("permalink") or "")
            self._links.put(key, link, KNOWN_SECONDS)
        return link

    async def _messages(self, thread: ThreadKey, arguments: Mapping[str, Any]) -> list[Message]:
        """Messages of the thread, oldest first; of a flat DM the newest page.

        Replies come oldest first, so the newest are reached by paging; a thread longer than ``PAGES`` is cut there.
        """
        flat = not thread.root_ts
        method = "conversations.history" if flat else "conversations.replies"
        query = {"channel": thread.channel_id, "limit": PAGE, **arguments} | ({} if flat else {"ts": thread.root_ts})
        messages: dict[str, Message] = {}
        for _ in range(1 if flat else PAGES):
            answer = await self._call(thread.team_id, method, query, patience=READ_PATIENCE)
            # The root comes again on each page.
            messages |= {str(message.get("ts")): message for message in answer.get("messages") or []}
            query["cursor"] = (answer.get("response_metadata") or {}).get("next_cursor")
            if not query["cursor"]:
                break
        return [messages[ts] for ts in sorted(messages)]

    def _me(self, team_id: str) -> BotIdentity:
        return self._installations.find(team_id).identity

    async def look_up_file(self, team_id: str, file_id: str) -> SlackFile:
        """What Slack says of a file; see ``Chat.look_up_file``."""
        return await self._file_info.look_up(team_id, file_id, patience=READ_PATIENCE)

    async def download(self, team_id: str, file: SlackFile, into: BinaryIO, *, most: int) -> int:
        """Write the file's bytes to ``into``; see ``Chat.download``."""
        token = self._installations.find(team_id).token
        return await self._downloads.download(token, self._web.scopes.get(token, ""), file, into, most=most)

    # --- the rate budget ---

    async def _slot(self, team_id: str, method: str, channel: str, deadline: float) -> None:
        """Wait for a slot, first come first served. Raises ``ChatRateLimited`` when none comes before ``deadline``."""
        async with self._queues.setdefault((team_id, method, channel), asyncio.Lock()):
            while True:
                wait = self._budget.take(team_id, method, self._now(), channel=channel)
                if not (wait := wait or await self._elsewhere(team_id, method, channel)):
                    return
                if self._now() + wait > deadline:
                    raise ChatRateLimited(_no_slot(method, wait), retry_after=wait)
                await self._sleep(wait)

    async def _elsewhere(self, team_id: str, method: str, channel: str = "") -> float:
        """Seconds to wait because of other processes; 0.0 when the call may leave now."""
        if self._sharing is None:
            return 0.0
        if not method.startswith(READS):
            # It may take long, and a slot counts from when it is taken.
            await may_write()
        return await self._sharing.take(team_id, method, channel)

    async def _cool_off(self, team_id: str, method: str, seconds: float) -> None:
        self._budget.cool_off(team_id, method, self._now(), seconds)
        if self._sharing:
            await self._sharing.pause(team_id, method, seconds)

    async def _post_slot(self, thread: ThreadKey) -> None:
        await self._slot(thread.team_id, "chat.postMessage", thread.channel_id, self._now() + POST_PATIENCE)

    async def _call(
        self,
        team_id: str,
        method: str,
        arguments: Mapping[str, Any],
        *,
        patience: float,
        content: Callable[[], Mapping[str, Any]] = dict,
    ) -> Mapping[str, Any]:
        """Call when there is a slot; a 429 closes the slots for a while and the call waits again. ``content`` gives
        further arguments each time the call goes out.

        Raises ``ChatRateLimited`` when that takes longer than ``patience``.
        """
        token = self._installations.find(team_id).token
        deadline = self._now() + patience
        channel = str(arguments.get("channel", "")) if method == "chat.postMessage" else ""
        while True:
            await self._slot(team_id, method, channel, deadline)
            try:
                return await self._web.call(method, token, {**arguments, **content()})
            except ChatRateLimited as error:
                await self._cool_off(team_id, method, error.retry_after)
                log.warning("slack.rate_limited", extra={"team": team_id, "method": method, "after": error.retry_after})
                if self._now() + error.retry_after > deadline:
                    raise


def _no_slot(method: str, wait: float) -> str:
    return f"{method}: no slot for another {wait:.1f} seconds"


def _ts(answer: Mapping[str, Any]) -> str:
    if not answer.get("ts"):
        raise ChatUnavailable("chat.postMessage: an answer without ts")
    return str(answer["ts"])


def _without_thumbs(body: Body) -> Body:
    return replace(body, buttons=tuple(button for button in body.buttons if button not in RATINGS))


def _mark(thread: ThreadKey, ts: str) -> dict[str, Any]:
    return {"channel": thread.channel_id, "timestamp": ts, "name": WAITING}


def _place(thread: ThreadKey) -> dict[str, Any]:
    return {"channel": thread.channel_id} | ({"thread_ts": thread.root_ts} if thread.root_ts else {})
