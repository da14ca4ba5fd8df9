"""The ``Chat`` port on Slack's Web API."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any, BinaryIO, Final

from slackbot.budget import Budget
from slackbot.domain import (
    Body,
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
from slackbot.errors import ChatError, ChatRateLimited, ChatUnavailable, MessageGone
from slackbot.sharing import Sharing
from slackbot.slack.blocks import build_question, escape
from slackbot.slack.calls import POST_PATIENCE, READ_PATIENCE, Calls
from slackbot.slack.downloads import Downloads
from slackbot.slack.file_info import FileInfo
from slackbot.slack.installations import Installations
from slackbot.slack.names import KNOWN_SECONDS, NAME_PATIENCE, Names, Recent
from slackbot.slack.operators import Operators
from slackbot.slack.posting import REFUSED_SECONDS, Posts, place
from slackbot.slack.reading import only_words, said
from slackbot.slack.uploads import Uploads
from slackbot.slack.web import NotSent, WebApi

log = logging.getLogger(__name__)

MARK_PATIENCE: Final = 3.0
UNMARK_PATIENCE: Final = 65.0
"""A mark that would stay for ever is worth the wait for a whole new window of slots."""
STATUS = "assistant.threads.setStatus"
WAITING: Final = "hourglass_flowing_sand"
"""The reaction on a message that waits for its turn."""
_NEVER: Final = frozenset(
    {"missing_scope", "not_allowed_token_type", "not_authorized", "no_permission", "unknown_method", "access_denied"}
)
"""Refusals that hold for the whole team, not for one thread."""
_NOT_YET: Final = "no_reaction"
_NO_CHANGE: Final = frozenset({"already_reacted", "message_not_found", _NOT_YET})
"""What reactions.add and reactions.remove say when there is nothing left to do; but whoever adds one may be late."""


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
        self._calls = Calls(web, installations, budget, sharing, now=now, sleep=sleep)
        self._call = self._calls.call
        self._posts = Posts(self._calls, web, installations, now=now, sleep=sleep)
        self._names = Names(self._call, now)
        self._operators = Operators(
            self._call, self._names, now, listed=operators, group=operator_group, channel=handover_channel
        )
        self._links: Recent[str] = Recent(now)
        self._refused: Recent[str] = Recent(now)
        self._file_info = FileInfo(self._call, sleep)
        self._downloads = Downloads(file_hosts, sleep=sleep)
        self._uploads = Uploads(web.session, self._call, self._calls.post_slot, file_hosts, now=now, sleep=sleep)

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
        return await self._attempt(thread, STATUS, wanted, patience=0.0) is None

    async def mark_waiting(self, thread: ThreadKey, ts: str) -> bool | None:
        """Put the mark on; False where that is not possible, for whatever reason, None where Slack did not say.

        https://docs.slack.dev/reference/methods/reactions.add
        """
        error = await self._attempt(thread, "reactions.add", _mark(thread, ts), patience=MARK_PATIENCE)
        if isinstance(error, ChatUnavailable) and not isinstance(error, NotSent):
            return None
        return error is None

    async def unmark_waiting(self, thread: ThreadKey, ts: str) -> bool | None:
        """Take the mark off; False where Slack refuses that, or where there is none (yet), None where Slack is away.

        https://docs.slack.dev/reference/methods/reactions.remove
        """
        return _is_done(await self._attempt(thread, "reactions.remove", _mark(thread, ts), patience=UNMARK_PATIENCE))

    async def post(self, thread: ThreadKey, body: Callable[[], Body], part: PartRef | None = None) -> str:
        """Post into the thread; see ``Chat.post``. What Slack will not show as blocks goes out as plain text."""
        return await self._posts.post(thread, body, part)

    async def edit(self, thread: ThreadKey, ts: str, body: Body) -> None:
        """Replace a message; see ``Chat.edit``. What Slack will not show as blocks becomes plain text."""
        await self._posts.edit(thread, ts, body)

    async def strip(self, thread: ThreadKey, ts: str) -> None:
        """Take buttons and small print off a message; see ``Chat.strip``."""
        found = await self._calls.messages(thread, {"oldest": ts, "latest": ts, "inclusive": True})
        for message in found:
            if message.get("ts") == ts and (words := only_words(message)):
                await self._posts.update(thread, ts, words)

    async def delete(self, thread: ThreadKey, ts: str) -> None:
        """Remove one of our messages."""
        try:
            where = {"channel": thread.channel_id, "ts": ts}
            await self._call(thread.team_id, "chat.delete", where, patience=POST_PATIENCE)
        except MessageGone:
            return

    async def whisper(self, thread: ThreadKey, user_id: str, text: str) -> None:
        """Tell one person something."""
        words = place(thread) | {"user": user_id, "text": escape(text)}
        await self._call(thread.team_id, "chat.postEphemeral", words, patience=POST_PATIENCE)

    async def ask_privately(
        self, thread: ThreadKey, user_id: str, text: str, buttons: Sequence[Button], about_ts: str
    ) -> None:
        """Ask one person something; see ``Chat.ask_privately``."""
        gist, blocks = build_question(text, buttons, thread.root_ts, about_ts)
        question = place(thread) | {"user": user_id, "text": gist, "blocks": blocks}
        await self._call(thread.team_id, "chat.postEphemeral", question, patience=POST_PATIENCE)

    async def set_session(self, thread: ThreadKey, status: SessionStatus) -> bool | None:
        """Show the state of the agent's session, where the app has Slack's agent feature; see ``Chat.set_session``.

        https://docs.slack.dev/reference/methods/agents.sessions.setStatus
        """
        if not thread.root_ts:
            return False
        wanted = {"channel_id": thread.channel_id, "thread_ts": thread.root_ts, "status": status.value}
        # Whoever waits to hear that the agent works hears its answer sooner; that it is done must not be missed.
        patience = 0.0 if status is SessionStatus.PROCESSING else UNMARK_PATIENCE
        error = await self._attempt(thread, "agents.sessions.setStatus", wanted, patience=patience)
        return _is_done(error)

    async def upload(self, thread: ThreadKey, file: FileBytes, *, alt: str = "", caption: str = "") -> None:
        """Share a file in the thread and wait until it stands there."""
        await self._uploads.share(thread, file, alt, escape(caption))

    async def _attempt(
        self, thread: ThreadKey, method: str, arguments: Mapping[str, Any], *, patience: float
    ) -> ChatError | None:
        """Make a call that nothing depends on; returns what went wrong. A team that never allows it is asked rarely."""
        if never := self._refused.get((thread.team_id, method)):
            return ChatError(f"{method}: {never}", slack_error=never)
        try:
            await self._call(thread.team_id, method, arguments, patience=patience)
        except ChatError as error:
            if error.slack_error in _NO_CHANGE:
                return error if error.slack_error == _NOT_YET else None
            log.info("courtesy.refused", extra={"where": str(thread), "error": str(error)})
            if error.slack_error in _NEVER:
                self._refused.put((thread.team_id, method), error.slack_error, REFUSED_SECONDS)
            return error
        return None

    # --- reading ---

    async def history(self, thread: ThreadKey, *, before_ts: str, limit: int) -> list[ContextMessage]:
        """What was said before; see ``Chat.history``. ``slack_error`` is ``missing_scope`` where we may not read."""
        me = self._installations.find(thread.team_id).identity
        messages = await self._calls.messages(thread, {"latest": before_ts})
        read = [remark for message in messages if (remark := said(message, me))]
        return [remark for remark in read if remark.ts < before_ts][-limit:]

    async def find_parts(self, thread: ThreadKey, turn_id: int) -> list[PartRecord]:
        """Parts of the turn's reply that stand in the thread."""
        return await self._posts.find_parts(thread, turn_id)

    async def find_all_parts(self, thread: ThreadKey, turn_id: int) -> list[PartRecord]:
        """The same with all that carry one part."""
        return await self._posts.find_all_parts(thread, turn_id)

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

    async def look_up_file(self, team_id: str, file_id: str) -> SlackFile:
        """What Slack says of a file; see ``Chat.look_up_file``."""
        return await self._file_info.look_up(team_id, file_id, patience=READ_PATIENCE)

    async def download(self, team_id: str, file: SlackFile, into: BinaryIO, *, most: int) -> int:
        """Write the file's bytes to ``into``; see ``Chat.download``."""
        token = self._installations.find(team_id).token
        return await self._downloads.download(token, self._web.scopes.get(token, ""), file, into, most=most)


def _is_done(error: ChatError | None) -> bool | None:
    """Whether a call was taken; None where another try may help."""
    return None if isinstance(error, (ChatRateLimited, ChatUnavailable)) else error is None


def _mark(thread: ThreadKey, ts: str) -> dict[str, Any]:
    return {"channel": thread.channel_id, "timestamp": ts, "name": WAITING}
