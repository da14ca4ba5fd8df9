"""One growing answer in Slack: it always heads for the newest text, one call at a time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from slackbot.budget import Budget
from slackbot.domain import Body, PartRecord, PartRef, Source, ThreadKey
from slackbot.errors import BodyRefused, ChatError, ChatRateLimited, ChatUnavailable, MessageGone
from slackbot.ports import Chat
from slackbot.replies.answer import Answer
from slackbot.replies.pace import LONG_SECONDS, OpenReplies, edit_interval

log = logging.getLogger(__name__)

THINKING = "is thinking…"
STILL_WORKING = "_Still working on it…_"
TRYING_AGAIN = "_Trying again…_"
SILENCE_SECONDS = 8.0
"""After so long without text the status gives way to a message, which Slack does not clear by itself."""
UNCONFIRMED_TRIES = 8
LONGEST_WAIT = 15.0
REPOSTS = 2
REFUSED_PAUSE = 3.0
PLAIN_CHARS = 3_000
SMALLEST_PIECE = 600
"""A refused part is halved down to this, and at once to what fits into plain text with room for escapes."""
FINAL_PATIENCE = 3.0
"""A last text that finds no edit within so many seconds goes out as a message of its own."""


@dataclass(slots=True)
class _Shown:
    """A part as Slack shows it. ``ts`` is empty while it is not there, ``body`` is None while it is unknown.

    ``length`` is how much of the agent's text it shows. ``left``: it stays as it is, the rest went below.
    """

    ts: str = ""
    body: Body | None = None
    length: int = 0
    left: bool = False
    edits: int = 0
    edited_at: float = float("-inf")
    unconfirmed: int = 0
    reposts: int = 0


@dataclass(frozen=True, slots=True)
class ReplyTools:
    """What every reply of a process shares."""

    chat: Chat
    budget: Budget
    open_replies: OpenReplies
    now: Callable[[], float]
    user_mentions: bool = False
    """Whether the agent may mention people."""


class Reply:
    """Shows an ``Answer`` in a thread while it grows.

    Feed it with ``text``, ``step`` and ``end``; ``run`` does all the talking to Slack and returns once the whole
    answer is confirmed there. ``record`` is awaited for each message that comes to carry a part. ``earlier`` are the
    messages of a previous try: they are used again instead of posting new ones.
    """

    def __init__(
        self,
        tools: ReplyTools,
        thread: ThreadKey,
        turn_id: int,
        *,
        record: Callable[[PartRecord], Awaitable[None]],
        earlier: Sequence[PartRecord] = (),
    ) -> None:
        self._chat = tools.chat
        self._budget = tools.budget
        self._open_replies = tools.open_replies
        self._now = tools.now
        self._thread = thread
        self._turn_id = turn_id
        self._record = record
        self._answer = Answer(user_mentions=tools.user_mentions)
        self._changed = asyncio.Event()
        self._status = THINKING
        self._shown: dict[int, _Shown] = {part.index: _Shown(part.ts) for part in earlier}
        self._left_over: list[str] = []
        self._settled = 0
        """Parts, from the first, that are shown as they will stay."""

    @property
    def has_text(self) -> bool:
        """Whether the agent has said anything yet."""
        return self._answer.has_text

    @property
    def part_count(self) -> int:
        """How many Slack messages the answer takes up."""
        return self._answer.count

    def text(self, block: str, delta: str) -> None:
        """The agent said something."""
        self._answer.push(block, delta)
        self._changed.set()

    def cite(self, source: Source) -> None:
        """The agent named what it relies on."""
        self._answer.cite(source)

    def step(self, words: str) -> None:
        """The agent is busy with something worth telling, as long as there is no text to look at."""
        self._status = words
        self._changed.set()

    def end(self, notice: str = "", *, retry: bool = False) -> None:
        """The answer is over; ``notice`` is one sentence of ours below it. Only the first call counts."""
        self._answer.end(notice, self._turn_id if retry else None)
        self._changed.set()

    async def run(self) -> None:
        """Keep Slack in step until the ended answer is shown whole.

        Raises ``ChatError`` when Slack will not take the answer at all.
        """
        with self._open_replies.one_more(self._thread.team_id):
            await self._until_first_text()
            while True:
                self._changed.clear()
                wait = await self._show_next()
                if self._answer.ended and self._settled == self._answer.count:
                    break
                await asyncio.sleep(0)  # whatever is to be done next, the others get their turn
                await (self._news(None) if wait is None else self._rest(wait))
            await self._clean_up()

    # --- before there is text ---

    async def _until_first_text(self) -> None:
        if 0 in self._shown:
            await self._placeholder(TRYING_AGAIN)
            quiet_place = False
        else:
            quiet_place = await self._chat.set_status(self._thread, self._status)
        deadline = self._now() + (SILENCE_SECONDS if quiet_place else 0.0)
        said = self._status
        while not self._answer.count:
            self._changed.clear()
            if 0 not in self._shown and self._now() >= deadline and not await self._placeholder(STILL_WORKING):
                deadline = self._now() + LONGEST_WAIT
            if 0 not in self._shown and self._status != said:
                said = self._status
                await self._chat.set_status(self._thread, self._status)
            await self._news(None if 0 in self._shown else max(0.0, deadline - self._now()))

    async def _placeholder(self, words: str) -> bool:
        body = Body(notice=words)
        shown = self._shown.get(0)
        try:
            if shown is None:
                await self._post(0, lambda: body)
            else:
                await self._chat.edit(self._thread, shown.ts, body)
                shown.body = body
                await self._record(PartRecord(0, shown.ts, placeholder=True))
        except MessageGone:
            self._shown.pop(0, None)
        except (ChatRateLimited, ChatUnavailable, BodyRefused) as error:
            # Nothing is lost without it: the first text takes its place.
            if shown is None:
                self._shown.pop(0, None)
            log.info("placeholder.failed", extra={"turn": self._turn_id, "error": str(error)})
            return False
        return True

    # --- while it grows ---

    async def _show_next(self) -> float | None:
        """Bring the first part that lags up to date; returns how long to wait before the next look, None: for news."""
        for index in range(self._settled, self._answer.count):
            body = self._answer.body(index)
            shown = self._shown.get(index)
            if shown is None or not shown.ts:
                return await self._post_part(index)
            if shown.left or (shown.body is not None and _looks_alike(shown.body, body)):
                if index == self._settled and self._answer.is_final(index):
                    self._settled += 1
                continue
            wait = self._edit_wait(index, shown)
            if wait > FINAL_PATIENCE and self._can_leave(index, shown):
                # The rest goes below, where there is room, instead of waiting for the right to change this message.
                self._leave(index, shown)
                return 0.0
            return wait or await self._edit(index, shown)
        return None

    async def _post_part(self, index: int) -> float:
        try:
            await self._post(index, partial(self._answer.body, index))
        except ChatRateLimited as error:
            return error.retry_after
        except ChatUnavailable as error:
            return self._later(index, self._shown[index], error)
        except BodyRefused as error:
            return self._smaller(index, error)
        return 0.0

    def _can_leave(self, index: int, shown: _Shown) -> bool:
        """Whether a part need not be changed: it is known what it shows, and nothing stands below it."""
        return self._answer.is_final(index) and not shown.unconfirmed and not self._stands(index + 1)

    def _leave(self, index: int, shown: _Shown) -> None:
        if shown.length:
            self._answer.split(index, shown.length)
            shown.left = True
        else:
            # No word of the answer is lost with a placeholder: the part is posted anew.
            self._left_over.append(shown.ts)
            shown.ts = ""

    def _stands(self, index: int) -> bool:
        return index in self._shown and bool(self._shown[index].ts)

    def _edit_wait(self, index: int, shown: _Shown) -> float:
        """Seconds until this edit may go; takes the slot when it may go now."""
        now = self._now()
        team = self._thread.team_id
        if self._answer.is_final(index) or not shown.length:
            return self._budget.take(team, "chat.update", now)
        open_replies = self._open_replies.count(team)
        surplus = self._budget.free(team, "chat.update", now) - open_replies
        pause = edit_interval(edits=shown.edits, shown_chars=shown.length, open_replies=open_replies, surplus=surplus)
        wait = shown.edited_at + pause - now
        if wait <= 0:
            wait = self._budget.take(team, "chat.update", now, keep=open_replies)
        # By then other replies may have ended: a look at the pace costs nothing.
        return min(wait, LONG_SECONDS)

    async def _edit(self, index: int, shown: _Shown) -> float:
        body, length = self._answer.body(index), self._answer.length(index)
        final = self._answer.is_final(index)
        if length and not shown.length:
            # Before the edit: what people have read must never count as a placeholder.
            await self._record(PartRecord(index, shown.ts))
        try:
            await self._chat.edit(self._thread, shown.ts, body)
        except ChatRateLimited as error:
            return error.retry_after
        except MessageGone:
            return self._lost(index, shown)
        except BodyRefused as error:
            if final:
                return self._smaller(index, error)
            return REFUSED_PAUSE
        except ChatUnavailable as error:
            return self._later(index, shown, error)
        shown.body, shown.length = body, length
        shown.edits += 1
        shown.edited_at = self._now()
        shown.unconfirmed = 0
        return 0.0

    def _later(self, index: int, shown: _Shown, error: ChatUnavailable) -> float:
        """Slack is away: seconds until the next try, for a while. What the message shows by now is not known."""
        shown.unconfirmed += 1
        shown.body = None
        if shown.unconfirmed > UNCONFIRMED_TRIES:
            raise error
        log.warning("part.unconfirmed", extra={"turn": self._turn_id, "part": index, "error": str(error)})
        return min(0.5 * 2.0**shown.unconfirmed, LONGEST_WAIT)

    def _smaller(self, index: int, error: BodyRefused) -> float:
        """Slack shows this part in no form: in two pieces it may. Nothing that people have read is taken away."""
        length = self._answer.length(index)
        log.warning("part.refused", extra={"turn": self._turn_id, "part": index, "chars": length, "error": str(error)})
        if length < SMALLEST_PIECE or self._stands(index + 1):
            raise error
        self._answer.cut(index, min(length // 2, PLAIN_CHARS))
        return 0.0

    def _lost(self, index: int, shown: _Shown) -> float:
        """The message is gone: the part goes out anew, but not for ever."""
        shown.reposts += 1
        if shown.reposts > REPOSTS:
            message = f"part {index} of turn {self._turn_id} cannot be kept in the thread"
            raise MessageGone(message)
        shown.ts = ""
        return 0.0

    async def _post(self, index: int, body: Callable[[], Body]) -> None:
        shown = self._shown.setdefault(index, _Shown())

        def newest() -> Body:
            # Asked for when the call really goes out, which may be seconds from now.
            shown.body, shown.length = body(), self._answer.length(index)
            return shown.body

        shown.ts = await self._chat.post(self._thread, newest, PartRef(self._turn_id, index))
        shown.edited_at = self._now()
        placeholder = shown.body is not None and not shown.body.markdown
        await self._record(PartRecord(index, shown.ts, placeholder=placeholder))

    async def _news(self, seconds: float | None) -> None:
        """Wait until something changes, at most ``seconds``."""
        try:
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        except TimeoutError:
            return

    async def _rest(self, seconds: float) -> None:
        """Let ``seconds`` pass between two calls, however much text comes; only the end of the answer cuts it short."""
        until = self._now() + seconds
        ended = self._answer.ended
        while (left := until - self._now()) > 0 and self._answer.ended == ended:
            self._changed.clear()
            await self._news(left)

    async def _clean_up(self) -> None:
        """Messages that the answer does not need: of an earlier try, and placeholders that could not be changed."""
        spare = sorted(index for index in self._shown if index >= self._answer.count)
        for ts in [*self._left_over, *(self._shown.pop(index).ts for index in spare)]:
            try:
                await self._chat.delete(self._thread, ts)
            except ChatError as error:
                log.warning("part.left_over", extra={"turn": self._turn_id, "ts": ts, "error": str(error)})


def _looks_alike(shown: Body, wanted: Body) -> bool:
    """Whether a reader would see no difference: Slack drops white space at the ends."""
    return shown == wanted or replace(shown, markdown=shown.markdown.strip()) == replace(
        wanted, markdown=wanted.markdown.strip()
    )
