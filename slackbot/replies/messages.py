"""The Slack messages that carry an answer, one for each of its parts."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from slackbot.domain import Body, PartRecord, PartRef, ThreadKey
from slackbot.errors import BodyRefused, ChatError, ChatRateLimited, ChatUnavailable, MessageGone
from slackbot.leases import AFTER_ALL_SECONDS
from slackbot.pauses import jittered
from slackbot.replies.answer import Answer
from slackbot.replies.pace import LONG_SECONDS, STEADY_SECONDS, edit_interval
from slackbot.replies.tools import ReplyTools

log = logging.getLogger(__name__)

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
CARDS_EDITS = 2
"""Edits of a minute that answers leave to the cards of handovers, where there are ``MANY_EDITS``: last words can go
into a further message, a card cannot."""
MANY_EDITS = 20


@dataclass(slots=True)
class Shown:
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


class Messages:
    """Posts, edits and deletes what carries ``answer``; the other arguments are those of ``Reply``.

    ``post_part`` and ``edit`` return how long to wait before the next look at the answer, also when something went
    wrong. They raise ``ChatError`` when there is no hope.
    """

    def __init__(
        self,
        tools: ReplyTools,
        thread: ThreadKey,
        turn_id: int,
        answer: Answer,
        *,
        record: Callable[[PartRecord], Awaitable[None]],
        earlier: Sequence[PartRecord],
        attempt: int,
        resumed: bool,
    ) -> None:
        self._tools = tools
        self._chat = tools.chat
        self._attempt = attempt
        self._left_over: list[str] = []
        self.thread = thread
        self.turn_id = turn_id
        self.record = record
        self.answer = answer
        self.shown = {part.index: Shown(part.ts, chars=part.chars if resumed else 0) for part in earlier}
        self.settled = 0
        """Parts, from the first, that are shown as they will stay."""
        self.abandoned = False
        """Somebody deleted the answer while it grew, and that shall be its end."""
        self.leaving = False
        """Somebody else goes on with the answer."""
        self.stands_already = resumed and any(not part.placeholder for part in earlier)
        """Words of this answer are in the thread, whatever we have heard of it."""
        for part in earlier:
            tools.tidying.forget(part.ts)
        self._taken_over = max(self.shown, default=None)
        """The part that a process which died would have been writing."""
        self._began = tools.now()

    def stands(self, index: int) -> bool:
        """Whether the part is in the thread."""
        return index in self.shown and bool(self.shown[index].ts)

    def start_over(self, answer: Answer) -> None:
        """Carry this answer from now on."""
        self.answer = answer
        self.settled = 0
        for shown in self.shown.values():
            shown.body, shown.length, shown.left = None, 0, False

    # --- the right to edit ---

    def surplus(self) -> int:
        """Edits of this minute that are left beside the last ones of all growing replies."""
        team, tools = self.thread.team_id, self._tools
        needed = tools.open_replies.count(team) + self._for_cards()
        return tools.budget.free(team, "chat.update", tools.now()) - needed

    def spare_edit(self) -> bool:
        """Take an edit that no other reply needs for its last words, if there is one."""
        team, tools = self.thread.team_id, self._tools
        needed = tools.open_replies.count(team) - 1 + self._for_cards()
        return not tools.budget.take(team, "chat.update", tools.now(), keep=needed)

    def _for_cards(self) -> int:
        budget = self._tools.budget
        edits, _ = budget.room(budget.key(self.thread.team_id, "chat.update"), self._tools.now())
        return CARDS_EDITS if edits >= MANY_EDITS else 0

    def edit_wait(self, index: int) -> float:
        """Seconds until this edit may go; takes the slot when it may go now."""
        shown, tools, team = self.shown[index], self._tools, self.thread.team_id
        now = tools.now()
        has_words = shown.body is not None and (shown.length or not self.answer.count)
        if self.answer.is_final(index) or self.leaving or not has_words:
            return tools.budget.take(team, "chat.update", now, keep=self._for_cards())
        open_replies = tools.open_replies.count(team)
        pause = edit_interval(
            edits=shown.edits, shown_chars=shown.length, open_replies=open_replies, surplus=self.surplus()
        )
        keep = open_replies + self._for_cards()
        if self.answer.length(index) == shown.length:
            # Only a step has changed: the words of others matter more.
            pause = max(pause, STEADY_SECONDS if open_replies == 1 else LONG_SECONDS)
            keep += STEPS_LEAVE
        wait = shown.edited_at + pause - now
        if wait <= 0:
            wait = tools.budget.take(team, "chat.update", now, keep=keep)
        # By then other replies may have ended: a look at the pace costs nothing.
        return min(wait, LONG_SECONDS)

    # --- calls ---

    async def post(self, index: int, body: Callable[[], Body]) -> None:
        """Let a new message carry the part. Raises ``ChatError`` whatever goes wrong."""
        shown = self.shown.setdefault(index, Shown())

        def newest() -> Body:
            # Asked for when the call really goes out, which may be seconds from now.
            shown.body, shown.length = body(), self.answer.length(index)
            return shown.body

        shown.ts = await self._chat.post(self.thread, newest, PartRef(self.turn_id, index))
        shown.edited_at = self._tools.now()
        placeholder = shown.body is not None and not shown.body.markdown
        await self.record(PartRecord(index, shown.ts, placeholder=placeholder))

    async def post_part(self, index: int, body: Callable[[], Body]) -> float:
        """Post words of the answer."""
        try:
            await self.post(index, body)
        except ChatRateLimited as error:
            return error.retry_after
        except ChatUnavailable as error:
            return self._later(index, self.shown[index], error)
        except BodyRefused as error:
            return self._smaller(index, error)
        return 0.0

    async def edit(self, index: int, body: Body) -> float:
        """Let the part show this now."""
        shown, final, length = self.shown[index], self.answer.is_final(index), self.answer.length(index)
        if length and not shown.length:
            # Before the edit: what people have read must never count as a placeholder.
            await self.record(PartRecord(index, shown.ts))
        try:
            await self._chat.edit(self.thread, shown.ts, body)
        except ChatRateLimited as error:
            # The budget knows by now: a last text goes below rather than wait so long.
            paused = not self._tools.budget.free(self.thread.team_id, "chat.update", self._tools.now())
            return 0.0 if final and paused else error.retry_after
        except MessageGone:
            return self._lost(index, shown)
        except BodyRefused as error:
            return self._smaller(index, error) if final else REFUSED_PAUSE
        except ChatUnavailable as error:
            if shown.unconfirmed == EDIT_TRIES:
                # It may still take new messages: the old one, whatever it shows by now, goes when it can.
                return self._anew(index, shown)
            return self._later(index, shown, error)
        shown.body, shown.length = body, length
        shown.edits += 1
        shown.edited_at = self._tools.now()
        shown.unconfirmed = 0
        return 0.0

    def can_leave(self, index: int) -> bool:
        """Whether a part need not be changed: it is known what it shows, and nothing stands below it."""
        return self.answer.is_final(index) and not self.shown[index].unconfirmed and not self.stands(index + 1)

    def leave(self, index: int) -> None:
        """Keep the message as it is: the rest of the part goes below."""
        shown = self.shown[index]
        if shown.length:
            self.answer.split(index, shown.length)
            shown.left = True
        else:
            # No word of the answer is lost with a placeholder: the part is posted anew.
            self._left_over.append(shown.ts)
            shown.ts = ""

    async def clean_up(self) -> None:
        """Delete what the ended answer does not need: of an earlier try, and placeholders that could not be changed."""
        if self.abandoned or self.leaving:
            return
        await self.take_away(*sorted(index for index in self.shown if index >= self.answer.count))

    async def take_away(self, *indexes: int) -> None:
        """Delete these messages, and what was left over before."""
        self._left_over += [self.shown.pop(index).ts for index in indexes]
        for ts in self._left_over.copy():
            try:
                await self._chat.delete(self.thread, ts)
                self._left_over.remove(ts)
            except ChatError as error:
                log.warning("part.left_over", extra={"turn": self.turn_id, "ts": ts, "error": str(error)})

    def tidy_later(self) -> None:
        """Let what is still to be deleted or edited wait until there is room for that."""
        tidying = self._tools.tidying
        for ts in self._left_over:
            tidying.remove(self.thread, ts, self.turn_id, self._attempt)
        for index, shown in self.shown.items():
            if shown.left and not self.leaving and (wanted := self.answer.body(index)) != shown.body:
                tidying.later(self.thread, shown.ts, wanted, self.turn_id, self._attempt)

    def say_again_later(self) -> None:
        """Whoever wrote before us died, maybe with an edit on its way, which would undo the last one of ours."""
        index, until = self._taken_over, self._began + AFTER_ALL_SECONDS
        if index is None or not self.stands(index) or self.leaving or self.abandoned:
            return
        shown, rest = self.shown[index], max(0.0, until - self._tools.now())
        if shown.edited_at < until:
            body = self.answer.body(index)
            self._tools.tidying.again(self.thread, shown.ts, body, self.turn_id, self._attempt, seconds=rest)

    # --- what may go wrong ---

    def _later(self, index: int, shown: Shown, error: ChatUnavailable) -> float:
        """Slack is away: seconds until the next try, for a while. What the message shows by now is not known."""
        shown.unconfirmed += 1
        shown.body = None
        if shown.unconfirmed > UNCONFIRMED_TRIES:
            raise error
        log.warning("part.unconfirmed", extra={"turn": self.turn_id, "part": index, "error": str(error)})
        return jittered(min(0.5 * 2.0**shown.unconfirmed, LONGEST_WAIT))

    def _smaller(self, index: int, error: BodyRefused) -> float:
        """Slack shows this part in no form: in two pieces it may. Nothing that people have read is taken away."""
        length = self.answer.length(index)
        log.warning("part.refused", extra={"turn": self.turn_id, "part": index, "chars": length, "error": str(error)})
        if length < SMALLEST_PIECE or self.stands(index + 1):
            raise error
        self.answer.cut(index, min(length // 2, PLAIN_CHARS))
        return 0.0

    def _lost(self, index: int, shown: Shown) -> float:
        """Somebody took the message away: the part goes out anew, but not for ever, or that is the end of it."""
        repost = self._tools.repost_deleted
        log.info("part.deleted", extra={"turn": self.turn_id, "part": index, "repost": repost})
        if not repost:
            self.abandoned = True
            return 0.0
        shown.ts = ""
        return self._anew(index, shown)

    def _anew(self, index: int, shown: Shown) -> float:
        """This part goes out as a new message, with all that stand below it, so that they stay in order."""
        shown.reposts += 1
        if shown.reposts > REPOSTS:
            message = f"part {index} of turn {self.turn_id} cannot be kept in the thread"
            raise MessageGone(message)
        for below in [later for later in self.shown if later >= index]:
            gone = self.shown[below]
            if gone.ts:
                self._left_over.append(gone.ts)
            self.shown[below] = Shown(reposts=gone.reposts)
        self.settled = min(self.settled, index)
        return 0.0
