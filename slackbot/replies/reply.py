"""One growing answer in Slack: it always heads for the newest text, one call at a time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from slackbot.budget import Budget
from slackbot.domain import Body, Button, FileOffered, PartRecord, PartRef, Source, ThreadKey
from slackbot.errors import BodyRefused, ChatError, ChatRateLimited, ChatUnavailable, MessageGone
from slackbot.ports import Chat
from slackbot.replies.answer import Answer
from slackbot.replies.pace import LONG_SECONDS, STEADY_SECONDS, OpenReplies, edit_interval, elapsed, next_elapsed
from slackbot.replies.tidying import Tidying

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
UNCONFIRMED_TRIES = 8
EDIT_TRIES = 4
"""A message that cannot be changed so often, about half a minute, is replaced by a new one."""
LONGEST_WAIT = 15.0
REPOSTS = 2
REFUSED_PAUSE = 3.0
PLAIN_CHARS = 3_000
SMALLEST_PIECE = 600
"""A refused part is halved down to this, and at once to what fits into plain text with room for escapes."""
STEPS_LEAVE = 20
"""Edits of a minute that steps leave to text."""
FINAL_PATIENCE = 3.0
"""A last text that finds no edit within so many seconds goes out as a message of its own."""


@dataclass(slots=True)
class _Shown:
    """A part as Slack shows it. ``ts`` is empty while it is not there, ``body`` is None while it is unknown.

    ``length`` is how much of the agent's text it shows. ``left``: it stays as it is, the rest went below. ``chars``
    of this answer stand there from an earlier process, which less text must not replace.
    """

    ts: str = ""
    body: Body | None = None
    length: int = 0
    left: bool = False
    chars: int = 0
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
    tidying: Tidying
    user_mentions: bool = False
    """Whether the agent may mention people."""
    private_files: str = ""
    """Below this address are files that only we can fetch: links to them mean uploads."""
    repost_deleted: bool = True
    """Whether an answer that somebody deletes while it grows goes on in a new message, or ends there."""


class Reply:
    """Shows an ``Answer`` in a thread while it grows.

    Feed it with ``text``, ``step`` and ``end``; ``run`` does all the talking to Slack and returns once the whole
    answer is confirmed there. ``record`` is awaited for each message that comes to carry a part. ``earlier`` are the
    messages of a previous try: they are used again instead of posting new ones. ``resumed``: they show this very
    answer already, as far as it went.
    """

    def __init__(
        self,
        tools: ReplyTools,
        thread: ThreadKey,
        turn_id: int,
        *,
        record: Callable[[PartRecord], Awaitable[None]],
        earlier: Sequence[PartRecord] = (),
        attempt: int = 1,
        resumed: bool = False,
    ) -> None:
        self._attempt = attempt
        self._chat = tools.chat
        self._budget = tools.budget
        self._open_replies = tools.open_replies
        self._now = tools.now
        self._tidying = tools.tidying
        self._repost_deleted = tools.repost_deleted
        self._thread = thread
        self._turn_id = turn_id
        self._record = record
        self._new_answer = partial(
            Answer, turn_id, user_mentions=tools.user_mentions, private_files=tools.private_files
        )
        self._answer = self._new_answer()
        self._changed = asyncio.Event()
        self._over = asyncio.Event()
        self._step = TRYING_AGAIN if earlier and not resumed else ""
        self._status = self._said = THINKING
        self._heard_at = self._now()
        self._stands_already = resumed and any(not part.placeholder for part in earlier)
        """Words of this answer are in the thread, whatever we have heard of it."""
        self._shown = {part.index: _Shown(part.ts, chars=part.chars if resumed else 0) for part in earlier}
        self._left_over: list[str] = []
        self._noted_at = ""
        """The newest message of ours beside the answer that belongs above it."""
        self._settled = 0
        """Parts, from the first, that are shown as they will stay."""
        self._leaving = False
        self.abandoned = False
        """Somebody deleted the answer while it grew, and that shall be its end."""
        for part in earlier:
            self._tidying.forget(part.ts)

    @property
    def has_text(self) -> bool:
        """Whether the agent has said anything yet."""
        return self._answer.has_text

    @property
    def is_behind(self) -> bool:
        """Whether the thread shows more of the answer than was heard here."""
        heard = sum(self._answer.length(index) for index in range(self._answer.count))
        return self._stands_already and (not heard or sum(shown.chars for shown in self._shown.values()) > heard)

    @property
    def linked_files(self) -> list[FileOffered]:
        """Files that the text links to, where only we can fetch them."""
        return self._answer.linked_files

    @property
    def part_count(self) -> int:
        """How many Slack messages the answer takes up."""
        return self._answer.count

    def text(self, block: str, delta: str) -> None:
        """The agent said something."""
        self._answer.push(block, delta)
        self._heard_at = self._now()
        self._step = ""
        self._changed.set()

    def cite(self, source: Source) -> None:
        """The agent named what it relies on."""
        self._answer.cite(source)

    def step(self, words: str, status: str = "") -> None:
        """The agent is busy with something worth telling until it says more; ``status`` words it for the status line,
        which stands behind the app's name. Without words it is busy with nothing in particular."""
        self._step = words
        self._status = status or words or THINKING
        self._changed.set()

    def noted(self, ts: str) -> None:
        """Something was said that belongs above the answer. A placeholder is posted anew below it; the status is
        repeated, as Slack clears it when a message comes."""
        self._said, self._noted_at = "", ts
        self._changed.set()

    def end(self, notice: str = "", buttons: tuple[Button, ...] = ()) -> None:
        """The answer is over; ``notice`` is one sentence of ours below it. Only the first call counts."""
        self._answer.end(notice, buttons)
        self._changed.set()
        self._over.set()

    def start_over(self) -> None:
        """What the agent said so far does not count: the answer comes anew, into the same messages."""
        self._answer = self._new_answer()
        self._settled = 0
        for shown in self._shown.values():
            shown.body, shown.length, shown.left = None, 0, False
        self._changed.set()

    def leave(self) -> None:
        """Somebody else goes on with the answer: show what can be shown of it at once, and no more."""
        self._leaving = True
        self._changed.set()
        self._over.set()

    async def run(self) -> None:
        """Keep Slack in step until the ended answer is shown whole, or is ``abandoned``, or until we ``leave``.

        Raises ``ChatError`` when Slack will not take the answer at all.
        """
        self._heard_at = self._now()
        try:
            with self._open_replies.one_more(self._thread.team_id):
                await self._until_first_text()
                while not self.abandoned:
                    self._changed.clear()
                    wait = await self._show_next()
                    if (self._answer.ended and self._settled == self._answer.count) or (self._leaving and wait != 0.0):
                        break
                    await asyncio.sleep(0)  # whatever is to be done next, the others get their turn
                    await (self._news(self._until_later()) if wait is None else self._rest(wait))
                await self._clean_up()
        finally:
            for ts in self._left_over:
                self._tidying.remove(self._thread, ts, self._turn_id, self._attempt)
            for index, shown in self._shown.items():
                if shown.left and not self._leaving and (wanted := self._answer.body(index)) != shown.body:
                    self._tidying.later(self._thread, shown.ts, wanted, self._turn_id, self._attempt)

    # --- before there is text ---

    async def _until_first_text(self) -> None:
        """Show that work goes on: with a status as long as that will do, then with a message."""
        self._said, said_at, deadline = self._status, self._now(), 0.0
        standing = self._stands_already
        if (standing or 0 not in self._shown) and await self._chat.set_status(self._thread, self._said):
            deadline = float("inf") if standing else self._now() + SILENCE_SECONDS
        while not (self._answer.count or self.abandoned or self._leaving):
            self._changed.clear()
            if self._stands(0) and not standing:
                placeholder = self._shown[0].body is not None
                if placeholder and self._shown[0].ts < self._noted_at and len(self._shown) == 1:
                    self._left_over.append(self._shown.pop(0).ts)
                    await self._delete_left_over()
                    continue
                wait = await self._keep_placeholder(self._shown[0])
            elif self._now() < deadline:
                due = said_at + (STATUS_RENEWED if self._status == self._said else STATUS_PAUSE)
                if self._now() >= due:
                    self._said, said_at = self._status, self._now()
                    if not await self._chat.set_status(self._thread, self._said):
                        deadline = 0.0
                    continue
                wait = min(deadline, due) - self._now()
            elif not standing and self._free_post() and await self._placeholder():
                continue
            else:
                # Whoever has words to show goes first.
                deadline = self._now() + (LONGEST_WAIT if self._free_post() else CROWDED_PAUSE)
                continue
            await self._news(wait)
        if standing:
            # No message will come that makes Slack clear it.
            await self._chat.set_status(self._thread, "")

    def _waiting(self) -> Body:
        return Body(step=self._line() or STILL_WORKING, buttons=(Button.STOP,), turn_id=self._turn_id)

    def _free_post(self) -> bool:
        team, channel = self._thread.team_id, self._thread.channel_id
        return self._budget.free(team, "chat.postMessage", self._now(), channel=channel) > 0

    async def _placeholder(self) -> bool:
        try:
            await self._post(0, lambda: self._wanted(0) if self._answer.count else self._waiting())
        except (ChatRateLimited, ChatUnavailable, BodyRefused) as error:
            # Nothing is lost without it: the first text takes its place.
            self._shown.pop(0, None)
            log.info("placeholder.failed", extra={"turn": self._turn_id, "error": str(error)})
            return False
        return True

    async def _keep_placeholder(self, shown: _Shown) -> float:
        """Bring the words of the placeholder up to date when there is room for that; returns when to look again."""
        body = self._waiting()
        if shown.body == body:
            return self._until_later()
        if wait := max(self._edit_wait(0, shown), 0.0):
            return wait
        fresh = shown.body is None
        try:
            wait = await self._edit(0, shown, body, 0)
        except ChatUnavailable:
            # Nothing is lost yet: the text may have more luck.
            shown.unconfirmed = 0
            return LONGEST_WAIT
        if fresh and shown.body is not None:
            await self._record(PartRecord(0, shown.ts, placeholder=True))
        return wait

    def _line(self) -> str:
        """What goes on, and since when nothing was said."""
        silence = elapsed(self._now() - self._heard_at)
        words = self._step or (STILL_WORKING if silence else "")
        return f"{words} ({silence})" if words and silence else words

    def _until_later(self) -> float:
        """Seconds until ``_line`` changes by itself."""
        return next_elapsed(self._now() - self._heard_at)

    # --- while it grows ---

    async def _show_next(self) -> float | None:
        """Bring the first part that lags up to date; returns how long to wait before the next look, None: for news."""
        for index in range(self._settled, self._answer.count):
            shown = self._shown.get(index)
            if shown is None or not shown.ts:
                return await self._post_part(index)
            wanted = self._wanted(index)
            if shown.left or (shown.body is not None and self._is_shown(shown.body, wanted, index)):
                if index == self._settled and self._answer.is_final(index):
                    self._settled += 1
                continue
            if len(wanted.markdown) < shown.chars and shown.body is None and not self._answer.is_final(index):
                return None
            if self._is_decoration(shown, wanted, index):
                if not self._spare_edit():
                    shown.left = True
                    return 0.0
                return await self._edit(index, shown, wanted, self._answer.length(index))
            wait = self._edit_wait(index, shown)
            if wait > FINAL_PATIENCE and self._can_leave(index, shown):
                # The rest goes below, where there is room, instead of waiting for the right to change this message.
                self._leave(index, shown)
                return 0.0
            return wait or await self._edit(index, shown, wanted, self._answer.length(index))
        return None

    def _wanted(self, index: int) -> Body:
        """What a part should show now. While it grows, that is also what goes on, and Stop."""
        body = self._answer.body(index)
        if self._answer.is_final(index):
            return body
        shown = self._shown.get(index)
        has_stop = shown is not None and shown.body is not None and Button.STOP in shown.body.buttons
        # Another edit is needed to take it off again, so without room for that it is not put there.
        stop = has_stop or self._surplus() > 0
        line = self._line()
        return replace(body, step=line, buttons=(Button.STOP,) if stop else (), turn_id=self._turn_id if stop else None)

    def _is_shown(self, shown: Body, wanted: Body, index: int) -> bool:
        """Whether a reader would see no difference that is worth an edit: Slack drops white space at the ends."""
        if not self._answer.is_final(index):
            return shown.markdown.strip() == wanted.markdown.strip() and shown.step == wanted.step
        return replace(shown, markdown=shown.markdown.strip()) == replace(wanted, markdown=wanted.markdown.strip())

    def _is_decoration(self, shown: _Shown, wanted: Body, index: int) -> bool:
        """Whether only buttons and the last step differ: people can read all of a part that will not change."""
        return self._answer.is_final(index) and shown.body is not None and _essence(shown.body) == _essence(wanted)

    def _spare_edit(self) -> bool:
        """Takes an edit that no other reply needs for its last words, if there is one."""
        others = self._open_replies.count(self._thread.team_id) - 1
        return not self._budget.take(self._thread.team_id, "chat.update", self._now(), keep=others)

    def _surplus(self) -> int:
        """Edits of this minute that are left beside the last ones of all growing replies."""
        team = self._thread.team_id
        return self._budget.free(team, "chat.update", self._now()) - self._open_replies.count(team)

    async def _post_part(self, index: int) -> float:
        try:
            await self._post(index, partial(self._wanted, index))
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
        has_words = shown.body is not None and (shown.length or not self._answer.count)
        if self._answer.is_final(index) or self._leaving or not has_words:
            return self._budget.take(team, "chat.update", now)
        open_replies = self._open_replies.count(team)
        pause = edit_interval(
            edits=shown.edits, shown_chars=shown.length, open_replies=open_replies, surplus=self._surplus()
        )
        keep = open_replies
        if self._answer.length(index) == shown.length:
            # Only a step has changed: the words of others matter more.
            pause = max(pause, STEADY_SECONDS if open_replies == 1 else LONG_SECONDS)
            keep = open_replies + STEPS_LEAVE
        wait = shown.edited_at + pause - now
        if wait <= 0:
            wait = self._budget.take(team, "chat.update", now, keep=keep)
        # By then other replies may have ended: a look at the pace costs nothing.
        return min(wait, LONG_SECONDS)

    async def _edit(self, index: int, shown: _Shown, body: Body, length: int) -> float:
        final = self._answer.is_final(index)
        if length and not shown.length:
            # Before the edit: what people have read must never count as a placeholder.
            await self._record(PartRecord(index, shown.ts))
        try:
            await self._chat.edit(self._thread, shown.ts, body)
        except ChatRateLimited as error:
            # The budget knows by now: a last text goes below rather than wait so long.
            paused = not self._budget.free(self._thread.team_id, "chat.update", self._now())
            return 0.0 if final and paused else error.retry_after
        except MessageGone:
            return self._lost(index, shown)
        except BodyRefused as error:
            if final:
                return self._smaller(index, error)
            return REFUSED_PAUSE
        except ChatUnavailable as error:
            if shown.unconfirmed == EDIT_TRIES:
                # It may still take new messages: the old one, whatever it shows by now, goes when it can.
                return self._anew(index, shown)
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
        """Somebody took the message away: the part goes out anew, but not for ever, or that is the end of it."""
        log.info("part.deleted", extra={"turn": self._turn_id, "part": index, "repost": self._repost_deleted})
        if not self._repost_deleted:
            self.abandoned = True
            return 0.0
        shown.ts = ""
        return self._anew(index, shown)

    def _anew(self, index: int, shown: _Shown) -> float:
        """This part goes out as a new message, with all that stand below it, so that they stay in order."""
        shown.reposts += 1
        if shown.reposts > REPOSTS:
            message = f"part {index} of turn {self._turn_id} cannot be kept in the thread"
            raise MessageGone(message)
        for below in [later for later in self._shown if later >= index]:
            gone = self._shown[below]
            if gone.ts:
                self._left_over.append(gone.ts)
            self._shown[below] = _Shown(reposts=gone.reposts)
        self._settled = min(self._settled, index)
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
        if self._answer.ended:
            await asyncio.sleep(seconds)
            return
        try:
            async with asyncio.timeout(seconds):
                await self._over.wait()
        except TimeoutError:
            return

    async def _clean_up(self) -> None:
        """Messages that the answer does not need: of an earlier try, and placeholders that could not be changed."""
        if self.abandoned or self._leaving:
            return
        spare = sorted(index for index in self._shown if index >= self._answer.count)
        self._left_over += [self._shown.pop(index).ts for index in spare]
        await self._delete_left_over()

    async def _delete_left_over(self) -> None:
        for ts in self._left_over.copy():
            try:
                await self._chat.delete(self._thread, ts)
                self._left_over.remove(ts)
            except ChatError as error:
                log.warning("part.left_over", extra={"turn": self._turn_id, "ts": ts, "error": str(error)})


def _essence(body: Body) -> tuple[str, str, bool]:
    """What of a message must not be missing: the words, and the way to try again."""
    return body.markdown.strip(), body.notice, Button.RETRY in body.buttons
