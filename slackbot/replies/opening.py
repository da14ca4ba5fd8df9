"""That work goes on: told in a status or a message of its own until there is text, then in a line below that."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from slackbot.domain import Body, Button, PartRecord
from slackbot.errors import BodyRefused, ChatRateLimited, ChatUnavailable
from slackbot.replies.messages import LONGEST_WAIT, Messages
from slackbot.replies.pace import elapsed, next_elapsed
from slackbot.replies.tools import ReplyTools

log = logging.getLogger(__name__)

THINKING = "is thinking…"
STILL_WORKING = "Still working on it…"
TRYING_AGAIN = "Trying again…"
SILENCE_SECONDS = 8.0
"""After so long without text the status gives way to a message, which Slack does not clear by itself."""
STATUS_PAUSE = 1.0
CROWDED_PAUSE = 1.0
STATUS_RENEWED = 90.0
"""Slack clears a status after two minutes. https://docs.slack.dev/reference/methods/assistant.threads.setStatus"""


async def happened(event: asyncio.Event, seconds: float | None) -> None:
    """Wait for the event, at most ``seconds``."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return


class Opening:
    """Knows what the agent is busy with, and shows it until there is text. ``changed`` is set when there is news of the
    answer. ``again``: an earlier try has left messages."""

    def __init__(self, tools: ReplyTools, messages: Messages, changed: asyncio.Event, *, again: bool) -> None:
        self._chat = tools.chat
        self._budget = tools.budget
        self._now = tools.now
        self._thread = messages.thread
        self._turn_id = messages.turn_id
        self._messages = messages
        self._changed = changed
        self._step = TRYING_AGAIN if again else ""
        self._status = self._said = THINKING
        self._heard_at = self._now()
        self._noted_at = ""
        """The newest message of ours beside the answer that belongs above it."""

    def heard(self) -> None:
        """There was text."""
        self._heard_at = self._now()
        self._step = ""

    def step(self, words: str, status: str) -> None:
        """This goes on now."""
        self._step = words
        self._status = status or words or THINKING

    def noted(self, ts: str) -> None:
        """A message came that belongs above the answer."""
        self._said, self._noted_at = "", ts

    def line(self) -> str:
        """What goes on, and since when nothing was said."""
        silence = elapsed(self._now() - self._heard_at)
        words = self._step or (STILL_WORKING if silence else "")
        return f"{words} ({silence})" if words and silence else words

    def until_later(self) -> float:
        """Seconds until ``line`` changes by itself."""
        return next_elapsed(self._now() - self._heard_at)

    async def run(self, first: Callable[[], Body]) -> None:
        """Show that work goes on: with a status as long as that will do, then with a message, which shows the ``first``
        text if that has come by the time it is posted."""
        messages, standing = self._messages, self._messages.stands_already
        self._heard_at = self._now()
        self._said, said_at, deadline = self._status, self._now(), 0.0
        if (standing or 0 not in messages.shown) and await self._chat.set_status(self._thread, self._said):
            deadline = float("inf") if standing else self._now() + SILENCE_SECONDS
        while not (messages.answer.count or messages.abandoned or messages.leaving):
            self._changed.clear()
            if messages.stands(0) and not standing:
                if self._is_overtaken():
                    await messages.take_away(0)
                    continue
                wait = await self._keep_placeholder()
            elif self._now() < deadline:
                due = said_at + (STATUS_RENEWED if self._status == self._said else STATUS_PAUSE)
                if self._now() >= due:
                    self._said, said_at = self._status, self._now()
                    if not await self._chat.set_status(self._thread, self._said):
                        deadline = 0.0
                    continue
                wait = min(deadline, due) - self._now()
            elif not standing and self._free_post() and await self._placeholder(first):
                continue
            else:
                # Whoever has words to show goes first.
                deadline = self._now() + (LONGEST_WAIT if self._free_post() else CROWDED_PAUSE)
                continue
            await happened(self._changed, wait)
        if standing:
            # No message will come that makes Slack clear it.
            await self._chat.set_status(self._thread, "")

    def _is_overtaken(self) -> bool:
        """Whether something stands below the placeholder that belongs above the answer."""
        shown = self._messages.shown
        return shown[0].body is not None and shown[0].ts < self._noted_at and len(shown) == 1

    def _free_post(self) -> bool:
        team, channel = self._thread.team_id, self._thread.channel_id
        return self._budget.free(team, "chat.postMessage", self._now(), channel=channel) > 0

    def _waiting(self) -> Body:
        return Body(step=self.line() or STILL_WORKING, buttons=(Button.STOP,), turn_id=self._turn_id)

    async def _placeholder(self, first: Callable[[], Body]) -> bool:
        messages = self._messages
        try:
            await messages.post(0, lambda: first() if messages.answer.count else self._waiting())
        except (ChatRateLimited, ChatUnavailable, BodyRefused) as error:
            # Nothing is lost without it: the first text takes its place.
            messages.shown.pop(0, None)
            log.info("placeholder.failed", extra={"turn": self._turn_id, "error": str(error)})
            return False
        return True

    async def _keep_placeholder(self) -> float:
        """Bring the words of the placeholder up to date when there is room for that; returns when to look again."""
        shown, body = self._messages.shown[0], self._waiting()
        if shown.body == body:
            return self.until_later()
        if wait := max(self._messages.edit_wait(0), 0.0):
            return wait
        fresh = shown.body is None
        try:
            wait = await self._messages.edit(0, body)
        except ChatUnavailable:
            # Nothing is lost yet: the text may have more luck.
            shown.unconfirmed = 0
            return LONGEST_WAIT
        if fresh and shown.body is not None:
            await self._messages.record(PartRecord(0, shown.ts, placeholder=True))
        return wait
