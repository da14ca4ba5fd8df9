"""One growing answer in Slack: it always heads for the newest text, one call at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from functools import partial

from slackbot.domain import Body, Button, FileOffered, PartRecord, Source, ThreadKey
from slackbot.replies.answer import Answer
from slackbot.replies.messages import Messages, Shown
from slackbot.replies.opening import Opening, happened
from slackbot.replies.tools import ReplyTools

FINAL_PATIENCE = 3.0
"""A last text that finds no edit within so many seconds goes out as a message of its own."""


class Reply:
    """Shows an ``Answer`` in a thread while it grows.

    Feed it with ``text``, ``step`` and ``end``; ``run`` does all the talking to Slack and returns once the whole
    answer is confirmed there. ``record`` is awaited for each message that comes to carry a part. ``earlier`` are the
    messages of a previous try: they are used again instead of posting new ones. ``resumed``: they show this very
    answer already, as far as it went. ``echoes``: whoever wrote them died, maybe with an edit on its way.
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
        echoes: bool = False,
    ) -> None:
        self._open_replies = tools.open_replies
        self._thread = thread
        self._turn_id = turn_id
        self._echoes = echoes
        self._new_answer = partial(
            Answer, turn_id, user_mentions=tools.user_mentions, private_files=tools.private_files
        )
        self._messages = Messages(
            tools, thread, turn_id, self._new_answer(), record=record, earlier=earlier, attempt=attempt, resumed=resumed
        )
        self._changed = asyncio.Event()
        self._over = asyncio.Event()
        self._opening = Opening(tools, self._messages, self._changed, again=bool(earlier) and not resumed)

    @property
    def _answer(self) -> Answer:
        return self._messages.answer

    @property
    def abandoned(self) -> bool:
        """Whether somebody deleted the answer while it grew, and that shall be its end."""
        return self._messages.abandoned

    @property
    def has_text(self) -> bool:
        """Whether the agent has said anything yet."""
        return self._answer.has_text

    @property
    def is_behind(self) -> bool:
        """Whether the thread shows more of the answer than was heard here."""
        heard = sum(self._answer.length(index) for index in range(self._answer.count))
        chars = sum(shown.chars for shown in self._messages.shown.values())
        return self._messages.stands_already and (not heard or chars > heard)

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
        self._opening.heard()
        self._changed.set()

    def cite(self, source: Source) -> None:
        """The agent named what it relies on."""
        self._answer.cite(source)

    def step(self, words: str, status: str = "") -> None:
        """The agent is busy with something worth telling until it says more; ``status`` words it for the status line,
        which stands behind the app's name. Without words it is busy with nothing in particular."""
        self._opening.step(words, status)
        self._changed.set()

    def noted(self, ts: str) -> None:
        """Something was said that belongs above the answer. A placeholder is posted anew below it; the status is
        repeated, as Slack clears it when a message comes."""
        self._opening.noted(ts)
        self._changed.set()

    def end(self, notice: str = "", buttons: tuple[Button, ...] = ()) -> None:
        """The answer is over; ``notice`` is one sentence of ours below it. Only the first call counts."""
        self._answer.end(notice, buttons)
        self._changed.set()
        self._over.set()

    def start_over(self) -> None:
        """What the agent said so far does not count: the answer comes anew, into the same messages."""
        self._messages.start_over(self._new_answer())
        self._changed.set()

    def leave(self) -> None:
        """Somebody else goes on with the answer: show what can be shown of it at once, and no more."""
        self._messages.leaving = True
        self._changed.set()
        self._over.set()

    async def run(self) -> None:
        """Keep Slack in step until the ended answer is shown whole, or is ``abandoned``, or until we ``leave``.

        Raises ``ChatError`` when Slack will not take the answer at all.
        """
        messages = self._messages
        try:
            with self._open_replies.one_more(self._thread.team_id):
                await self._opening.run(partial(self._wanted, 0))
                while not messages.abandoned:
                    self._changed.clear()
                    wait = await self._show_next()
                    if self._is_settled() or (messages.leaving and wait != 0.0):
                        break
                    await asyncio.sleep(0)  # whatever is to be done next, the others get their turn
                    await (happened(self._changed, self._opening.until_later()) if wait is None else self._rest(wait))
                await messages.clean_up()
                if self._echoes:
                    messages.say_again_later()
        finally:
            messages.tidy_later()

    def _is_settled(self) -> bool:
        return self._answer.ended and self._messages.settled == self._answer.count

    async def _rest(self, seconds: float) -> None:
        """Let ``seconds`` pass between two calls, however much text comes; only the end of the answer cuts it short."""
        await (asyncio.sleep(seconds) if self._answer.ended else happened(self._over, seconds))

    async def _show_next(self) -> float | None:
        """Bring the first part that lags up to date; returns how long to wait before the next look, None: for news."""
        messages, answer = self._messages, self._answer
        for index in range(messages.settled, answer.count):
            if not messages.stands(index):
                return await messages.post_part(index, partial(self._wanted, index))
            shown, wanted, final = messages.shown[index], self._wanted(index), answer.is_final(index)
            if shown.left or (shown.body is not None and self._is_shown(shown.body, wanted, index)):
                if index == messages.settled and final:
                    messages.settled += 1
                continue
            if len(wanted.markdown) < shown.chars and shown.body is None and not final:
                return None
            if self._is_decoration(shown, wanted, index):
                if not messages.spare_edit():
                    shown.left = True
                    return 0.0
                return await messages.edit(index, wanted)
            wait = messages.edit_wait(index)
            if wait > FINAL_PATIENCE and messages.can_leave(index):
                # The rest goes below, where there is room, instead of waiting for the right to change this message.
                messages.leave(index)
                return 0.0
            return wait or await messages.edit(index, wanted)
        return None

    def _wanted(self, index: int) -> Body:
        """What a part should show now. While it grows, that is also what goes on, and Stop."""
        body = self._answer.body(index)
        if self._answer.is_final(index):
            return body
        shown = self._messages.shown.get(index)
        has_stop = shown is not None and shown.body is not None and Button.STOP in shown.body.buttons
        # Another edit is needed to take it off again, so without room for that it is not put there.
        stop = has_stop or self._messages.surplus() > 0
        line = self._opening.line()
        return replace(body, step=line, buttons=(Button.STOP,) if stop else (), turn_id=self._turn_id if stop else None)

    def _is_shown(self, shown: Body, wanted: Body, index: int) -> bool:
        """Whether a reader would see no difference that is worth an edit: Slack drops white space at the ends."""
        if not self._answer.is_final(index):
            return shown.markdown.strip() == wanted.markdown.strip() and shown.step == wanted.step
        return replace(shown, markdown=shown.markdown.strip()) == replace(wanted, markdown=wanted.markdown.strip())

    def _is_decoration(self, shown: Shown, wanted: Body, index: int) -> bool:
        """Whether only buttons and the last step differ: people can read all of a part that will not change."""
        return self._answer.is_final(index) and shown.body is not None and _essence(shown.body) == _essence(wanted)


def _essence(body: Body) -> tuple[str, str, bool]:
    """What of a message must not be missing: the words, and the way to try again."""
    return body.markdown.strip(), body.notice, Button.RETRY in body.buttons
