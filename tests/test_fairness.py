"""Waiting turns are served in turn, within bounds, at the same cost however much waits, and none is forgotten."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import event
from sqlalchemy.engine import Engine

from slackbot.domain import ChannelKind, HandoverReason, MessageDeleted, Move, Notice, Turn, TurnKind
from slackbot.errors import SENTENCES
from slackbot.routing import NOTICES_PER_MINUTE, Rules, RunTurn, Say, decide
from slackbot.store import Accepted, Bounds, Pressed, Store, Timers
from slackbot.store.lanes import Rotation
from tests.databases import Raw
from tests.fakes import FakeAgent, FakeChat
from tests.middle import running_bot, says
from tests.stored import LEASE, accept, claimed, drain, facts, message, stores, thread_of, ts
from tests.test_routing import ME


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Store]:
    opened = await Store.open(database_url)
    yield opened
    await opened.close()


@contextmanager
def counted() -> Iterator[list[str]]:
    """The statements that are sent to any database."""
    statements: list[str] = []

    def hear(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        statements.append(statement)

    event.listen(Engine, "before_cursor_execute", hear)
    try:
        yield statements
    finally:
        event.remove(Engine, "before_cursor_execute", hear)


async def ask(store: Store, at: int, *, team: str = "T1", channel: str = "C1", user: str = "U1") -> Accepted:
    """A question in a thread of its own."""
    return await accept(store, replace(message(at, channel=channel, user=user), team_id=team))


async def served(store: Store, count: int) -> list[tuple[str, str, str]]:
    """Team, channel and person of the next turns, one claim after the other."""
    turns = [await claimed(store) for _ in range(count)]
    return [(turn.thread.team_id, turn.thread.channel_id, turn.user_id) for turn in turns]


# --- in turn ---


async def test_a_flood_does_not_keep_another_team_waiting(store: Store) -> None:
    """One team asks in many channels, another one a single question afterwards: that is second."""
    for at in range(30):
        await ask(store, at, channel=f"C{at}")
    await ask(store, 100, team="T2")
    assert [team for team, _, _ in await served(store, 4)] == ["T1", "T2", "T1", "T1"]


async def test_a_flood_does_not_keep_another_channel_or_person_waiting(store: Store) -> None:
    """One person fills a channel; another channel is second, and another person in the first is third."""
    for at in range(30):
        await ask(store, at)
    await ask(store, 100, channel="C2", user="U2")
    await ask(store, 101, user="U3")
    assert await served(store, 4) == [("T1", "C1", "U1"), ("T1", "C2", "U2"), ("T1", "C1", "U3"), ("T1", "C1", "U1")]


async def test_all_are_served_in_turn_by_one_claim_too(store: Store) -> None:
    """A claim of many goes round as many claims of one do, and within a person by age."""
    for at in range(12):
        await ask(store, at, team=f"T{at % 2}", channel=f"C{at % 4 // 2}")
    turns = await store.claim("me", LEASE, 12)
    assert [turn.thread.team_id for turn in turns] == ["T0", "T1"] * 6
    assert [turn.thread.channel_id for turn in turns] == ["C0", "C0", "C1", "C1"] * 3
    assert [turn.ts for turn in turns] == [ts(at) for at in (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11)]


async def test_questions_and_notices_take_turns(store: Store) -> None:
    """Neither many sentences of ours nor many questions keep the other ones waiting."""
    for at in range(4):
        await ask(store, at)
        await accept(store, message(10 + at), Say(Notice.GREETING))
    kinds = [turn.kind for turn in await drain(store)]
    assert kinds == [TurnKind.ASK, TurnKind.NOTICE] * 4


@pytest.mark.parametrize("seed", range(2))
async def test_nobody_is_passed_over(database_url: str, seed: int) -> None:
    """Between two turns of one channel each replica serves every other channel of the team that has one ready."""
    chance = random.Random(seed)
    async with stores(database_url, 2) as replicas:
        for at in range(60):
            team, channel, user = chance.choice("AAAB"), chance.choice("XXXYZ"), chance.choice("PPQ")
            await ask(replicas[at % 2], at, team=team, channel=channel, user=user)
        left = Counter[tuple[str, str]]()
        order: list[tuple[str, str]] = []
        while turns := await replicas[0].claim("me", LEASE, chance.randint(1, 4)):
            order += [(turn.thread.team_id, turn.thread.channel_id) for turn in turns]
        left.update(order)
        assert sum(left.values()) == 60
        for team in "AB":
            channels = [channel for of, channel in order if of == team]
            waiting = Counter(channels)
            for at, channel in enumerate(channels):
                waiting[channel] -= 1
                until = next((n for n in range(at + 1, len(channels)) if channels[n] == channel), None)
                if until is not None:
                    others = {other for other, count in waiting.items() if count and other != channel}
                    assert others <= set(channels[at + 1 : until])


def test_what_is_remembered_of_the_past_is_bounded() -> None:
    """However many channels there are, only the last ones served are kept in mind."""
    rotation = Rotation()
    for number in range(30_000):
        rotation.served(("T1", f"C{number}", "U1"))
    assert rotation.last(("T1", "C0")) is None
    assert rotation.last(("T1", "C29999")) == "U1"
    assert rotation.last(()) == "T1"
    assert len(rotation._last) <= 10_000


# --- at the same cost ---


async def test_what_has_to_wait_is_looked_at_once(store: Store) -> None:
    """Two hundred questions behind running ones: the first claim sets them aside, the next ones do not see them."""
    for at in range(20):
        await ask(store, at)
    assert len(await store.claim("me", LEASE, 20)) == 20
    for at in range(200):
        await accept(store, message(1000 + at, thread=at % 20))
    await ask(store, 5000, user="U2")
    await ask(store, 5001, user="U1")
    with counted() as first:
        assert (await claimed(store)).ts in {ts(5000), ts(5001)}
    with counted() as second:
        assert (await claimed(store)).ts in {ts(5000), ts(5001)}
    with counted() as third:
        assert await drain(store) == []
    parking = [[text for text in each if "ELSE coalesce" in text] for each in (first, second, third)]
    assert sum(map(len, parking)) <= 5
    assert parking[2] == []
    assert max(len(first), len(second)) <= 20


async def test_a_claim_takes_as_many_statements_however_much_waits(store: Store, sql: Raw) -> None:
    """Three hundred waiting turns of a hundred people in fifty channels cost what three of one person cost."""
    counts = []
    # Once a minute there is more to do.
    assert await drain(store) == []
    for at in range(300):
        await ask(store, at, team=f"T{at % 3}", channel=f"C{at % 50}", user=f"U{at % 100}")
        if at in (2, 299):
            with counted() as statements:
                turn = await claimed(store)
            counts.append(len(statements))
            sql("UPDATE turns SET state = 'queued' WHERE id = %s", turn.id)
    assert max(counts) - min(counts) <= 2


async def test_more_than_one_transaction_can_park_is_parked_by_several(store: Store, sql: Raw) -> None:
    """Behind six thousand turns for later there is one for now: the same claim comes back with it."""
    await ask(store, 0)
    sql("UPDATE turns SET available_at = accepted_at + 150")
    numbers = "WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 6000) "
    columns = "conversation_id, team_id, channel_id, user_id, kind, state, is_reply, attempt, available_at, accepted_at"
    sql(f"INSERT INTO turns (ts, {columns}) {numbers} SELECT 'later ' || n, {columns} FROM turns, numbers")
    await ask(store, 5000)
    assert (await claimed(store)).ts == ts(5000)
    assert await drain(store) == []
    assert sql("SELECT count(*) FROM turns WHERE parked_until = available_at") == [(6001,)]


# --- within bounds ---


async def test_a_team_and_a_person_run_as_many_as_they_may(database_url: str) -> None:
    """Over all processes; others go on, and each end makes room for one."""
    bounds = Bounds(per_team=3, per_user=2)
    first = await Store.open(database_url, bounds=bounds)
    second = await Store.open(database_url, bounds=bounds)
    try:
        for at in range(10):
            await ask(first, at, channel=f"C{at % 2}")
        await ask(first, 20, user="U2")
        await ask(first, 21, user="U3")
        await ask(first, 22, team="T2", user="U1")
        turns = await first.claim("me", LEASE, 2) + await second.claim("you", LEASE, 20)
        assert Counter((turn.thread.team_id, turn.user_id) for turn in turns) == {
            ("T1", "U1"): 2,
            ("T1", "U2"): 1,
            ("T2", "U1"): 1,
        }
        assert await second.claim("you", LEASE, 20) == []
        await accept(first, message(30, user="U1"), Say(Notice.GREETING))
        assert [turn.kind for turn in await second.claim("you", LEASE, 20)] == [TurnKind.NOTICE]
        [ended] = [turn for turn in turns if turn.user_id == "U2"]
        assert await first.finish(ended.id, "me") or await second.finish(ended.id, "you")
        assert [turn.user_id for turn in await first.claim("me", LEASE, 20)] == ["U3"]
    finally:
        await first.close()
        await second.close()


async def test_a_person_at_the_bound_is_passed_without_a_look_at_their_queue(database_url: str) -> None:
    """Sixty waiting questions of theirs in three channels cost a look for each channel."""
    store = await Store.open(database_url, bounds=Bounds(per_user=1))
    try:
        for at in range(60):
            await ask(store, at, channel=f"C{at % 3}")
        await claimed(store)
        await ask(store, 100, channel="C9", user="U2")
        with counted() as statements:
            assert (await claimed(store)).user_id == "U2"
        assert len(statements) <= 30
        assert not [text for text in statements if "ELSE coalesce" in text]
    finally:
        await store.close()


async def test_how_much_waits_and_runs_is_known_when_a_message_comes(store: Store) -> None:
    """In the thread, of the author and in the team; in other teams it does not count."""
    for at in range(5):
        await accept(store, message(at, thread=0 if at else None))
    await ask(store, 10)
    await ask(store, 11, user="U2")
    await ask(store, 12, team="T2")
    await accept(store, message(13), Say(Notice.GREETING))
    await store.claim("me", LEASE, 1)
    found = await facts(store, message(20, thread=0))
    assert (found.waiting_here, found.waiting_of_author, found.waiting_in_team) == (4, 5, 6)
    assert (found.running_of_author, found.running_in_team) == (1, 1)
    assert (found.notices_last_minute, found.asks_last_minute) == (1, 6)


@pytest.mark.parametrize("notice", [Notice.THREAD_FULL, Notice.USER_FULL, Notice.TEAM_FULL])
def test_a_refusal_is_one_plain_sentence_that_says_what_to_do(notice: Notice) -> None:
    """Why, and what then."""
    why, what, rest = SENTENCES[notice].split(".")
    assert "wait" in why
    assert "Please" in what
    assert "ask again" in what
    assert rest == ""


async def test_a_question_that_waits_for_its_author_s_others_is_marked(store: Store) -> None:
    """Who has as many answers in progress as may be is shown that this one waits."""
    rules = Rules(running_per_user=2)
    for at in range(2):
        assert not (await ask(store, at)).waiting
    await store.claim("me", LEASE, 2)
    third = message(3)
    accepted = await store.accept(
        third, thread_of(third), lambda known: decide(replace(third, text="<@UBOT> go"), known, ME, rules)
    )
    assert accepted.decision == RunTurn(later=True)
    assert accepted.waiting
    assert (await claimed(store)).waited


async def test_in_a_crowd_those_who_will_wait_are_marked_before_anybody_runs(store: Store) -> None:
    """Of a person, of a team and of all, as many run as may; nobody has been claimed yet."""

    async def waits(at: int, user: str, rules: Rules, room: float = float("inf")) -> bool:
        asked = replace(message(at, user=user), text="<@UBOT> go")
        accepted = await store.accept(asked, thread_of(asked), lambda known: decide(asked, known, ME, rules, room=room))
        return accepted.waiting

    assert [await waits(at, "U1", Rules(running_per_user=2)) for at in range(4)] == [False, False, True, True]
    assert [await waits(at, f"U{at}", Rules(running_per_team=6)) for at in range(4, 8)] == [False, False, True, True]
    assert [await waits(at, f"U{at}", Rules(), room=10) for at in range(8, 12)] == [False, False, True, True]


async def test_a_question_too_many_is_refused_in_its_thread(database_url: str, chat: FakeChat) -> None:
    """Two may wait, a third is told what to do; afterwards there is room again."""
    agent = FakeAgent([says("First."), says("Second."), says("Third.")])
    async with running_bot(database_url, chat, agent, rules=Rules(waiting_per_thread=2), start=False) as bot:
        first = await bot.hear("<@UBOT> one")
        await bot.hear("two", thread=first.ts)
        await bot.hear("too many", thread=first.ts)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(bot.worker.run())
            await bot.idle()
            await bot.hear("three", thread=first.ts)
            await bot.idle()
            bot.worker.stop()
        assert sorted(chat.texts()) == sorted(["First.", "Second.", "Third.", SENTENCES[Notice.THREAD_FULL]])


async def test_a_question_that_finds_all_busy_is_marked_until_its_turn(database_url: str, chat: FakeChat) -> None:
    """Its author sees that it waits, though its thread is free; one that did not wait is not marked."""
    async with running_bot(database_url, chat, FakeAgent(), start=False, concurrency=0) as bot:
        await bot.hear("<@UBOT> go")
        await bot.until(lambda: len(chat.marks) == 1)
        [turn] = await bot.store.claim("me", LEASE)
        assert turn.waited
    async with running_bot(database_url, FakeChat(), FakeAgent(), start=False) as bot:
        await bot.hear("<@UBOT> go", channel="C2")
        assert not any(turn.waited for turn in await bot.store.claim("me", LEASE, 5))


async def test_a_flood_of_questions_is_no_flood_of_refusals(database_url: str, chat: FakeChat) -> None:
    """Thirty questions, three a minute: three answers, and ten refusals."""
    async with running_bot(database_url, chat, FakeAgent(), rules=Rules(turns_per_user_per_minute=3)) as bot:
        for number in range(30):
            await bot.hear("<@UBOT> go", channel=f"C{number}")
        await bot.idle()
        assert len(chat.texts()) == 13
        assert chat.texts().count(SENTENCES[Notice.TOO_MANY_TURNS]) == NOTICES_PER_MINUTE


# --- none is forgotten ---


async def parked(store: Store, sql: Raw) -> int:
    """A thread whose second question was seen waiting for the first; returns the first's id."""
    await ask(store, 1)
    await accept(store, message(2, thread=1))
    first = await claimed(store)
    assert await drain(store) == []
    assert sql("SELECT count(*) FROM turns WHERE parked_until IS NOT NULL") == [(1,)]
    return first.id


@pytest.mark.parametrize("ending", ["finish", "fail"])
async def test_the_end_of_a_turn_lets_the_next_one_run(store: Store, sql: Raw, ending: str) -> None:
    """However it ends."""
    first = await parked(store, sql)
    assert await (store.finish(first, "me") if ending == "finish" else store.fail(first, "me", "agent"))
    assert (await claimed(store)).ts == ts(2)


async def test_a_deleted_question_lets_the_next_one_run(store: Store, sql: Raw) -> None:
    """The older one that waited is gone; the one behind it is next when the thread is free."""
    first = await parked(store, sql)
    await accept(store, message(3, thread=1))
    assert await drain(store) == []
    await store.finish(first, "me")
    await store.drop_message(MessageDeleted("T1", "C1", ts(2)))
    assert [turn.ts for turn in await drain(store)] == [ts(3)]


async def test_the_end_of_a_handover_lets_the_next_one_run(store: Store, sql: Raw) -> None:
    """A question that came back while a human has the thread waits for them, unless it is stopped."""
    for thread in (1, 10):
        await ask(store, thread)
        turn = await claimed(store)
        who = {"actor_id": "U1", "asker_id": "U1", "key": f"key {thread}"}
        handed = await store.ask_for_human(
            turn.thread, ChannelKind.CHANNEL, reason=HandoverReason.AGENT, timers=Timers(), **who
        )
        assert handed.handover is not None
        await store.postpone(turn.id, "me", 0)
        assert await drain(store) == []
        assert sql("SELECT count(*) FROM turns WHERE parked_until IS NOT NULL AND state = 'queued'") == [(1,)]
        if thread == 1:
            await store.end_handover(handed.handover.id, "T1", Move.HAND_BACK, "U8")
        else:
            assert await store.request_stop(turn.id, "T1", "C1", "U1") is Pressed.DONE
        assert (await claimed(store)).id == turn.id


async def test_a_hold_that_is_released_lets_the_next_one_run(store: Store, sql: Raw) -> None:
    """And one that runs out does so by itself."""
    for thread, release in ((1, True), (10, False)):
        first = await ask(store, thread)
        assert first.turn_id is not None
        key = thread_of(message(thread))
        assert await store.hold(key, "U8", 60)
        assert await drain(store) == []
        if release:
            await store.release_hold(key)
        else:
            held = sql(
                "SELECT parked_until - held_until FROM turns, conversations c WHERE held_until IS NOT NULL"
                " AND c.id = conversation_id"
            )
            assert held == [(0.0,)]
            sql("UPDATE conversations SET held_until = held_until - 61")
            sql("UPDATE turns SET parked_until = parked_until - 61")
        assert [turn.id for turn in await drain(store)] == [first.turn_id]


async def test_a_parked_turn_is_looked_at_again_in_any_case(store: Store, sql: Raw) -> None:
    """Should nobody say that its wait is over, as a process that dies or is of an earlier version."""
    first = await parked(store, sql)
    sql("UPDATE turns SET state = 'done', owner = NULL WHERE id = %s", first)
    assert await drain(store) == []
    sql("UPDATE turns SET parked_until = parked_until - 31")
    assert [turn.ts for turn in await drain(store)] == [ts(2)]


async def test_follow_ups_and_ends_that_cross_leave_nothing_behind(database_url: str) -> None:
    """Two replicas claim and finish while follow-ups arrive in the same threads: all are answered, soon."""
    async with stores(database_url, 2) as replicas:
        asked = 0
        answered: list[str] = []
        ended = asyncio.Event()

        async def arrive() -> None:
            nonlocal asked
            for at in range(60):
                await accept(replicas[at % 2], message(at, thread=at % 4 if at >= 4 else None))
                asked += 1
            ended.set()

        async def work(store: Store, owner: str) -> None:
            while not (ended.is_set() and len(answered) == asked):
                for turn in await store.claim(owner, LEASE, 2):
                    assert await store.finish(turn.id, owner)
                    answered.append(turn.ts)
                await asyncio.sleep(0)

        async with asyncio.timeout(25):
            await asyncio.gather(arrive(), *(work(store, f"owner-{n}") for n, store in enumerate(replicas)))
        assert Counter(answered) == Counter(ts(at) for at in range(60))


class Crowded(Store):
    """A store at whose door there is always a crowd; it tells what the worker does about that."""

    told: list[str]

    async def calm(self, seconds: float) -> bool:
        """Never."""
        self.told.append("asked")
        await super().calm(seconds)
        return False

    async def claim(self, *of_whom: Any, **how: Any) -> list[Turn]:
        """As ever."""
        turns = await super().claim(*of_whom, **how)
        self.told.append("claimed" if turns else "nothing")
        return turns


async def test_a_crowd_without_end_is_given_way_to_once(
    database_url: str, chat: FakeChat, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then all that waits is worked off before the worker looks for a crowd again."""
    monkeypatch.setattr(Crowded, "told", [], raising=False)
    async with running_bot(database_url, chat, FakeAgent(), store_class=Crowded) as bot:
        for _ in range(3):
            await asyncio.gather(*(bot.hear("<@UBOT> hi", channel=f"C{number}") for number in range(3)))
            await bot.idle()
    pairs = set(itertools.pairwise(Crowded.told))
    assert ("asked", "claimed") in pairs
    assert {before for before, after in pairs if after == "asked"} == {"nothing"}
    assert {after for before, after in pairs if before == "nothing"} <= {"asked"}
