"""What became of a message whose answer broke off: finds it, and goes on telling its answer. Never sends anything.

A run goes on in Noxus without us, and there are two ways to its answer: the stream of the run in progress
(``/events``), and the messages of the conversation. Which of them tells what, and when, is not documented, so neither
is relied upon: a stream counts as far as it fits to what is known, the conversation has the last word, and what neither
of them shows to be whole ends as what it is, broken off.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import Enum, auto
from typing import Final

from slackbot.domain import AgentEvent, RunFinished
from slackbot.errors import (
    AgentError,
    AgentKeyRejected,
    AgentRunFailed,
    ConversationFull,
    ConversationGone,
    StreamBroken,
)
from slackbot.noxus.answer import EVENT_STREAM, Patience, is_stream, streamed
from slackbot.noxus.caller import Caller
from slackbot.noxus.conversation import LOOK_PATIENCE, path, snapshot
from slackbot.noxus.events import text_of
from slackbot.noxus.exchange import Exchange, exchanges
from slackbot.noxus.hearing import Hearing
from slackbot.noxus.wire import Call
from slackbot.pauses import jittered
from slackbot.text.question import digest

log = logging.getLogger(__name__)

QUIET_SECONDS: Final = 2.0
"""So long a further stream may say nothing before the conversation is looked at. It doubles each time, up to:"""
LONGEST_QUIET: Final = 30.0
PAUSE: Final = 0.5
"""Between two looks; doubles each time, up to:"""
LONGEST_PAUSE: Final = 5.0
UNREADABLE_LOOKS: Final = 15
"""In a row, after about a minute: then the answer is given up. Sooner, while nothing has shown that there is one:"""
UNREADABLE_LOOKS_UNSURE: Final = 3
SAME_LOOKS: Final = 3
"""In a row at a conversation at rest without an answer: then there is none."""
SAME_LOOKS_UNSURE: Final = 6
"""In a row at a conversation that does not say that it is at rest, but shows an answer, or no sign of work."""
SURVIVED_SECONDS: Final = 1.0
"""A run that goes on so long after its reader left does not end because of that."""
_AGE_SLACK: Final = 2.0
_AT_REST: Final = frozenset({"idle", "done", "complete", "completed", "finished", "failed", "error", "stopped"})
"""What ``status`` says when nothing runs: seen is ``idle``, the others are guesses."""


@dataclass(frozen=True, slots=True)
class Sent:
    """A user's message as it can be found again: the digest of its words, and when it went out, or later (event loop
    time)."""

    digest: str
    at: float


@dataclass(frozen=True, slots=True)
class _Look:
    """The conversation at one moment. ``exchange`` is our message with what followed it, if it shows."""

    exchange: Exchange | None
    at_rest: bool
    at_work: bool
    snapshot: tuple[object, ...]


class _Verdict(Enum):
    GO_ON = auto()
    WHOLE = auto()
    BROKEN = auto()


class Recovery:
    """One message's. ``hearing`` has what was heard of its answer, ``cause`` is what is wrong with it, and ``arrived``
    says whether it is certain that Noxus has it; until then ``looks`` in a row may show nothing."""

    def __init__(  # noqa: PLR0913 - all that is known of the message, by name
        self,
        caller: Caller,
        conversation_id: str,
        hearing: Hearing,
        sent: Sent,
        patience: Patience,
        *,
        cause: AgentError,
        arrived: bool,
        looks: int = UNREADABLE_LOOKS,
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self._caller = caller
        self._path = path(conversation_id)
        self._about = {"conversation": conversation_id}
        self._hearing = hearing
        self._sent = sent
        self._patience = patience
        self._cause = cause
        self._arrived = arrived
        self._looks = looks
        self._sleep = sleep
        self._now = asyncio.get_running_loop().time
        self._began = self._heard_at = self._attached_at = self._now()
        self._held: list[AgentEvent] = []
        """What was heard before it was known whether it is about our message."""
        self._failure: AgentError | None = None
        self._survived = False
        self._attaches = self._listens = False
        """Whether a stream was asked for, and whether the newest was there, though perhaps silent."""
        self._quiet = min(QUIET_SECONDS, patience.idle)
        self._pause = PAUSE
        self._look: _Look | None = None
        self._last: _Look | None = None
        """The newest look, and the newest that showed something."""
        self._same = self._unreadable = 0

    async def events(self) -> AsyncGenerator[AgentEvent, None]:
        """What the answer has beyond what was heard. Nothing comes before it is certain that the message arrived.
        Raises ``cause``, or what else is wrong with the run, when there is no telling that the answer is complete."""
        log.info("noxus.recovering", extra={**self._about, "reason": str(self._cause)})
        if self._now() >= self._patience.until:
            raise self._cause
        verdict = _Verdict.GO_ON
        if not self._arrived:
            await self._look_again()
            if self._look and self._look.at_rest and self._look.exchange and self._look.exchange.is_whole:
                verdict = _Verdict.WHOLE
        while verdict is _Verdict.GO_ON:
            before = self._hearing.signs
            async with aclosing(self._attached()) as events:
                async for event in events:
                    yield event
            await self._look_again()
            for event in self._released():
                yield event
            verdict = self._judge(self._look)
            if verdict is _Verdict.GO_ON:
                await self._rest(before)
        exchange = self._look.exchange if self._look else None
        for event in self._hearing.missing(exchange.said) if exchange else ():
            yield event
        if verdict is _Verdict.BROKEN:
            raise self._failure if self._failure and self._arrived else self._cause
        if exchange and not self._hearing.is_whole:
            yield RunFinished(exchange.finish.replace("_", "-"))
        log.info("noxus.recovered", extra=self._about)

    def _released(self) -> list[AgentEvent]:
        held, self._held = self._held, []
        if self._arrived:
            return held
        self._held = held
        return []

    async def _rest(self, signs: int) -> None:
        if self._hearing.signs > signs:
            self._pause, self._quiet, self._heard_at = PAUSE, min(QUIET_SECONDS, self._patience.idle), self._now()
            if self._now() >= self._attached_at + PAUSE:
                return
        elif self._listens and self._now() >= self._attached_at + PAUSE:
            return
        # Also where streams open, say something or nothing, and end at once.
        await self._sleep(jittered(self._pause))
        self._pause = min(2 * self._pause, LONGEST_PAUSE)

    # --- the stream ---

    async def _attached(self) -> AsyncGenerator[AgentEvent, None]:
        """What the run in progress says that is new; ends when nothing comes for a while."""
        hearing, patience = self._hearing, self._patience
        self._listens = False
        if hearing.contradicts or hearing.told_its_end or (self._look and self._attaches and self._look.at_rest):
            return
        self._attaches, self._attached_at = True, self._now()
        hearing.attach()
        params = {"format": "json"} | ({"etag": hearing.etag} if hearing.etag else {})
        call = Call("GET", f"{self._path}/events", params, accept=EVENT_STREAM)
        before = hearing.signs
        try:
            response = await self._caller.send(call, self._quiet, patience.until)
            try:
                if not is_stream(response):
                    raise StreamBroken("no stream")
                self._listens = True
                quiet = Patience(self._quiet, patience.until, patience.crowd)
                async with aclosing(streamed(response, quiet, self._caller.key, hearing)) as events:
                    async for event in events:
                        if self._arrived:
                            yield event
                        else:
                            self._held.append(event)
            finally:
                await response.aclose()
        except (AgentRunFailed, ConversationFull) as error:
            # Nobody may take it for a message that was not taken.
            self._failure = AgentRunFailed(str(error), request_id=error.request_id)
        except AgentError as error:
            log.info("noxus.reattach", extra={**self._about, "reason": str(error)})
        self._listens = self._listens and not hearing.idle
        self._survived = self._survived or (hearing.lost and hearing.told_its_end)
        if hearing.signs == before:
            self._quiet = min(2 * self._quiet, LONGEST_QUIET)

    # --- the conversation ---

    async def _look_again(self) -> None:
        """See the conversation as it is now, if it can be read. Raises ``cause`` when it never will be."""
        self._look = None
        try:
            told, headers = await self._caller.told(Call("GET", self._path), LOOK_PATIENCE)
        except (ConversationGone, AgentKeyRejected):
            raise self._cause from None
        except AgentError as error:
            log.info("noxus.unread", extra={**self._about, "reason": str(error)})
            self._unreadable += 1
            return
        self._unreadable = 0
        exchange = self._ours(exchanges(told), headers.get("date", ""))
        self._arrived = self._arrived or exchange is not None
        status = text_of(told, "status") if isinstance(told, dict) else ""
        look = _Look(exchange, status in _AT_REST, bool(status) and status not in _AT_REST, snapshot(told))
        if self._last is not None and self._last.snapshot == look.snapshot:
            self._same += 1
        else:
            self._same, self._heard_at = 0, self._now()
        self._look = self._last = look
        if look.at_work and self._now() > self._began + SURVIVED_SECONDS:
            self._survived = True

    def _ours(self, found: Sequence[Exchange], date: str) -> Exchange | None:
        """The message that we sent: the newest one with the same words, and no older one. Of a message that certainly
        arrived one of the two is proof enough, as Noxus may change its words."""
        longest = self._now() - self._sent.at + _AGE_SLACK
        aged = [(exchange, _age(exchange.asked_at, date)) for exchange in reversed(found)]
        young = [exchange for exchange, age in aged if age is None or age <= longest]
        same = [exchange for exchange in young if digest(exchange.question) == self._sent.digest]
        return next(iter([*same, *(young if self._arrived else ())]), None)

    def _judge(self, look: _Look | None) -> _Verdict:
        hearing, now = self._hearing, self._now()
        if hearing.is_whole and self._arrived:
            return _Verdict.WHOLE
        if look and look.at_rest and look.exchange and look.exchange.is_whole:
            return _Verdict.WHOLE
        if self._failure and (self._arrived or look):
            return _Verdict.BROKEN
        silent = self._listens and now - self._heard_at > self._patience.idle
        if now >= self._patience.until or silent:
            return _Verdict.BROKEN
        if look is None:
            most = UNREADABLE_LOOKS if self._arrived else self._looks
            return _Verdict.BROKEN if self._unreadable >= most else _Verdict.GO_ON
        if not self._is_over(look):
            return _Verdict.GO_ON
        exchange = look.exchange
        is_whole = exchange is not None and (exchange.is_whole or (self._survived and look.at_rest and exchange.said))
        return _Verdict.WHOLE if is_whole else _Verdict.BROKEN

    def _is_over(self, look: _Look) -> bool:
        """Whether nothing more is to be expected of the run."""
        has_answer = look.exchange is not None and bool(look.exchange.said)
        if look.at_rest and has_answer:
            return bool(self._same) or (look.exchange is not None and look.exchange.is_whole)
        if look.at_rest:
            return self._same + 1 >= SAME_LOOKS
        if self._same + 1 < SAME_LOOKS_UNSURE:
            return False
        is_whole = look.exchange is not None and look.exchange.is_whole
        # A long call of a tool looks like this too.
        silent = self._now() - self._heard_at > self._patience.idle
        return is_whole or self._hearing.idle or not look.at_work or silent


def _age(written: str, date: str) -> float | None:
    """How old something of Noxus's is, by Noxus's own clock; None when that cannot be told."""
    try:
        at = datetime.fromisoformat(written)
        return (parsedate_to_datetime(date) - (at if at.tzinfo else at.replace(tzinfo=UTC))).total_seconds()
    except (ValueError, TypeError):
        return None
