"""Handing a thread to a human, through the whole bot: what users, operators and the agent see, on both sides."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from slackbot import app, telling
from slackbot.budget import SLACK_LIMITS, Budget, Limit
from slackbot.demo import SHORTCUTS
from slackbot.domain import HandoverState
from slackbot.handover import NOT_ASKER, NOT_OPERATOR, TAKEN
from slackbot.simulator.slack import SimMessage
from slackbot.store import Store
from tests.real_files import REAL
from tests.whole_bot import World, bot, world

Json = dict[str, Any]

ASKED = "I have asked a human colleague"
CLAIM, HAND_BACK, RESOLVE = "Take over", "Hand back", "Resolve"
BOTH = pytest.mark.parametrize(
    ("database_url", "transport"), [("sqlite", "http"), ("postgresql", "socket")], indirect=["database_url"]
)
"""Both databases and both transports."""


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A fresh SQLite file."""
    return f"sqlite:///{tmp_path / 'bot.db'}"


def lines(message: SimMessage) -> list[str]:
    """What one message shows: header, text, sentences, files; buttons but thumbs in brackets."""
    found: list[str] = []
    for block in message.blocks or ():
        match block:
            case {"type": "markdown", "text": text} | {"text": {"text": text}}:
                found.append(text)
            case {"type": "section", "fields": fields}:
                found += [field["text"] for field in fields]
            case {"type": "context", "elements": elements}:
                found += [element["text"] for element in elements]
            case {"type": "actions", "elements": buttons}:
                found += [f"[{button['text']['text']}]" for button in buttons]
    captions = [message.text] if message.files and message.text and not message.blocks else []
    return [*found, *captions, *(f"file {file['name']}" for file in message.files)]


@dataclass(frozen=True, slots=True)
class Play:
    """The stage: Ada asks, Olga and Otto look after requests in #support, Ben is a stranger to that."""

    both: World
    url: str

    @property
    def support(self) -> str:
        return self.both.slack.channels["support"]

    def id(self, name: str) -> str:
        """Somebody's user id."""
        return self.both.slack.users[name]

    async def say(self, name: str, channel: str, text: str, thread: str | None = None, **more: Any) -> str:
        """Somebody writes, and the bot has heard it: nobody is quicker with the next word than Slack with its event."""
        slack, user = self.both.slack, self.id(name)
        before = len(slack.deliveries)

        def heard() -> bool:
            sent = [sent for sent in slack.deliveries[before:] if sent.user == user and sent.channel == channel]
            return bool(sent) and {each.event_id for each in sent} == {each.event_id for each in sent if each.acked}

        ts = await slack.say(user, channel, text, thread_ts=thread, **more)
        # What was too slow is delivered again after a minute.
        await slack.wait(heard, timeout=90)
        return ts

    def ours(self, channel: str, thread: str | None = None) -> list[SimMessage]:
        """The bot's messages in a channel or thread, in the order in which they stand there."""
        slack = self.both.slack
        return [said for said in slack.messages(channel, thread) if said.user == slack.bot_user_id]

    def shows(self, channel: str, thread: str | None = None) -> list[str]:
        """All that the bot says and shares there."""
        return [line for message in self.ours(channel, thread) for line in lines(message)]

    async def sees(self, channel: str, thread: str | None, words: str, patience: float = 15) -> None:
        """Wait until the bot says something there."""
        try:
            await self.both.slack.wait(lambda: words in "\n".join(self.shows(channel, thread)), timeout=patience)
        except TimeoutError:
            assert words in "\n".join(self.shows(channel, thread))

    def cards(self) -> list[SimMessage]:
        """The cards in #support, oldest first."""
        return [said for said in self.ours(self.support) if said.thread_ts in {None, said.ts}]

    async def card(self, heading: str, patience: float = 15) -> SimMessage:
        """The newest card, once it says this."""

        def look() -> bool:
            return bool(self.cards()) and heading in lines(self.cards()[-1])[0]

        try:
            await self.both.slack.wait(look, timeout=patience)
        except TimeoutError:
            assert [lines(card)[0] for card in self.cards()] == [heading]
        return self.cards()[-1]

    async def press(self, name: str, message: SimMessage, label: str) -> None:
        """Somebody presses a button of a message."""
        for block in message.blocks or ():
            for button in block["elements"] if block["type"] == "actions" else ():
                if button["text"]["text"] == label:
                    where = (message.channel, message.ts, button["action_id"], button["value"])
                    delivery = await self.both.slack.press(self.id(name), *where)
                    assert delivery.acked
                    return
        raise AssertionError(f"no {label} in {lines(message)}")

    async def told(self, name: str, words: str) -> None:
        """Wait until somebody is told something in private."""
        slack = self.both.slack

        def look() -> bool:
            return any(said.ephemeral_to == self.id(name) and words in said.text for said in slack.whispers)

        await slack.wait(look, timeout=10)

    async def handover(self) -> HandoverState | None:
        """How the newest handover stands."""
        store = await Store.open(self.url)
        try:
            found = await store.handovers(limit=1)
        finally:
            await store.close()
        return found[0].handover.state if found else None

    def questions(self) -> list[str]:
        """What the agent was asked."""
        return [request.body["content"] for request in self.both.noxus.requests if request.endpoint == "stream"]


@asynccontextmanager
async def stage(**world_settings: Any) -> AsyncIterator[World]:
    """Slack with a second operator, and a quick Noxus."""
    async with world(latency=0.005, **world_settings) as both:
        both.slack.shortcuts = SHORTCUTS
        both.slack.uploads.share_seconds = 0.1
        both.slack.join(both.slack.add_user("otto"), both.slack.channels["support"])
        both.noxus.switches.change(first_token_delay=0.02, rate=400.0)
        yield both


@asynccontextmanager
async def playing(url: str, transport: str = "socket", **settings: str) -> AsyncIterator[Play]:
    """The whole bot on that stage."""
    async with stage() as both, serving(both, url, transport, **settings) as play:
        yield play


@asynccontextmanager
async def serving(both: World, url: str, transport: str = "socket", **settings: str) -> AsyncIterator[Play]:
    """The bot between these two, from start to stop."""
    settings = {
        "SLACKBOT_HANDOVER_CHANNEL": both.slack.channels["support"],
        "SLACKBOT_TURNS_PER_USER_PER_MINUTE": "0",
        **settings,
    }
    if transport == "http":
        settings |= {
            "SLACKBOT_TRANSPORT": "http",
            "SLACK_SIGNING_SECRET": both.slack.signing_secret,
            "SLACKBOT_HTTP_HOST": "127.0.0.1",
            "SLACKBOT_HTTP_PORT": "28763",
        }
    async with bot(both.environ(url, **settings)):
        if transport == "http":
            both.slack.deliver_over_http("http://127.0.0.1:28763/slack/events")
        yield Play(both, url)


# --- the play ---------------------------------------------------------------------------------------------------------


@BOTH
async def test_the_play_in_a_channel(database_url: str, transport: str) -> None:
    """Asked with words, raced for, refused to a stranger, talked over, handed back: the agent knows; then resolved."""
    async with playing(database_url, transport) as play:
        slack, general = play.both.slack, play.both.slack.channels["general"]
        me = f"<@{slack.bot_user_id}>"
        root = await play.say("ada", general, f"{me} /say Hello.")
        await play.sees(general, root, "Hello.")
        await play.say("ada", general, f"{me} human, please", root)
        card = await play.card("Ada needs a human")
        await play.sees(general, root, ASKED)
        shown = lines(card)
        assert {"*Why*\nAda asked for a human", "*Where*\n#general", "*Agent*\nSimulated agent"} <= set(shown)
        assert {"Hello.", "[Take over]", "[Resolve]"} <= set(shown)
        assert any(line.startswith("<!date^") and "Waiting since" in line for line in shown)
        await slack.wait(lambda: slack.session(general, root) == "suspended")
        await play.say("ada", general, f"{me} are you there?", root)
        await play.press("otto", card, CLAIM)
        await play.press("olga", card, CLAIM)
        card = await play.card("otto helps Ada")
        await play.told("olga", TAKEN.format(name="otto"))
        slack.join(play.id("ben"), play.support)
        await play.press("ben", card, RESOLVE)
        await play.told("ben", NOT_OPERATOR)
        await play.sees(general, root, "otto is here now")
        await play.say("otto", general, "it was the fuse", root)
        await play.say("ada", general, "ah, thanks!", root)
        await play.press("otto", await play.card("otto helps Ada"), HAND_BACK)
        await play.card("Ada is with the agent again")
        await play.sees(general, root, "otto handed over to me again")
        await play.sees(play.support, card.ts, "otto handed the conversation back")
        await play.say("ada", general, f"{me} /say I know.", root)
        await play.sees(general, root, "I know.")
        assert len(play.questions()) == 2
        told = play.questions()[-1]
        assert "otto (human colleague): it was the fuse" in told
        assert "Ada: @agent are you there?" in told
        assert "Ada: ah, thanks!" in told
        await play.say("ada", general, f"{me} human", root)
        await play.press("olga", await play.card("Ada needs a human"), RESOLVE)
        await play.sees(general, root, "Olga marked this as settled")
        conversations = len(play.both.noxus.conversations)
        await play.say("ada", general, f"{me} /say Afresh.", root)
        await play.sees(general, root, "Afresh.")
        assert len(play.both.noxus.conversations) == conversations + 1


@BOTH
async def test_the_play_in_a_direct_message(database_url: str, transport: str) -> None:
    """The card's thread is the relay: words, names, a file each way, an edit, a deletion; notes stay inside."""
    async with playing(database_url, transport) as play:
        slack, dm = play.both.slack, play.both.slack.dm("ada")
        root = await play.say("ada", dm, "human")
        card = await play.card("Ada needs a human")
        await play.sees(dm, root, ASKED)
        plan = slack.files.add(play.id("ada"), "dots.png", REAL["dots.png"][1](), "image/png")
        await play.say("ada", dm, "my order is lost", root, files=[plan])
        await play.sees(play.support, card.ts, "From Ada:")
        await play.sees(play.support, card.ts, "file dots.png")
        await play.sees(play.support, card.ts, "my order is lost")
        await play.press("olga", card, CLAIM)
        await play.sees(dm, root, "Olga is here now")
        await play.say("olga", play.support, "// difficult one", card.ts)
        note = slack.files.add(play.id("olga"), "data.csv", REAL["data.csv"][1](), "text/csv")
        said = await play.say("olga", play.support, "Hello Ada, I loook", card.ts, files=[note])
        await play.sees(dm, root, "From Olga:")
        await play.sees(dm, root, "file data.csv")
        (shown,) = [message for message in play.ours(dm, root) if "I loook" in message.shown]
        assert shown.username == "Olga"
        await slack.edit_message(play.id("olga"), play.support, said, "Hello Ada, I look into it")
        await play.sees(dm, root, "I look into it")
        gone = await play.say("olga", play.support, "wrong window", card.ts)
        await play.sees(dm, root, "wrong window")
        await slack.delete_message(play.id("olga"), play.support, gone)
        await slack.wait(lambda: "wrong window" not in "\n".join(play.shows(dm, root)), timeout=10)
        await play.say("ada", dm, "great", root)
        await play.sees(play.support, card.ts, "great")
        await play.press("olga", await play.card("Olga helps Ada"), HAND_BACK)
        await play.sees(dm, root, "Olga handed over to me again")
        await play.say("ada", dm, "/say I know.", root)
        await play.sees(dm, root, "I know.")
        (told,) = play.questions()
        assert "Ada: my order is lost" in told
        assert "Olga (human colleague): Hello Ada, I look into it" in told
        assert not [words for words in ("difficult", "wrong window", "I loook") if words in told]
        assert "difficult" not in "\n".join(play.shows(dm, root))


async def test_every_way_to_ask(url: str) -> None:
    """By the menu, by the agent, by the button of a failed answer and by the one below every answer; called off."""
    async with playing(url, SLACKBOT_HUMAN_BUTTON="on") as play:
        slack, random = play.both.slack, play.both.slack.channels["random"]
        me = f"<@{slack.bot_user_id}>"
        root = await play.say("ada", random, f"{me} /say Hello.")
        await play.sees(random, root, "Hello.")
        await slack.use_shortcut(play.id("ben"), random, root, "ask_human")
        await play.card("Ben needs a human")
        await play.sees(random, root, "[No human needed]")
        asked = next(said for said in play.ours(random, root) if "[No human needed]" in lines(said))
        await play.press("ada", asked, "No human needed")
        await play.told("ada", NOT_ASKER)
        await play.press("ben", asked, "No human needed")
        await play.card("Ben is with the agent again")
        await play.sees(random, root, "no human then")

        dm = slack.dm("ada")
        for number, text in enumerate(("/human plain", "/fail", "/say Fine."), start=2):
            private = await play.say("ada", dm, text)
            if number > 2:
                await play.sees(dm, private, "[Ask a human]")
                await asyncio.sleep(1.5)  # until the end is recorded
                await play.press("ada", play.ours(dm, private)[-1], "Ask a human")
            await slack.wait(lambda count=number: len(play.cards()) == count, timeout=15)  # type: ignore[misc]
            card = await play.card("Ada needs a human")
            reasons = "\n".join(lines(card))
            assert {2: "the agent asked", 3: "Ada asked", 4: "Ada asked"}[number] in reasons
            await play.say("ada", dm, "never mind", private)
            await play.sees(dm, private, "no human then")


async def test_an_operator_takes_over_in_the_middle_of_an_answer(url: str) -> None:
    """From the menu: the answer stops where it is, and says why; the asker goes on with the human."""
    async with playing(url) as play:
        slack, general = play.both.slack, play.both.slack.channels["general"]
        root = await play.say("ada", general, f"<@{slack.bot_user_id}> /words 900 rate=30")
        await slack.wait(lambda: len(play.shows(general, root)) > 0, timeout=10)
        await play.sees(general, root, "river")
        await slack.use_shortcut(play.id("ben"), general, root, "take_over")
        await play.told("ben", NOT_OPERATOR)
        await slack.use_shortcut(play.id("olga"), general, root, "take_over")
        await play.sees(general, root, "Cut off here: Olga took over.")
        await play.card("Olga helps Ada")
        await play.say("olga", general, f"<@{slack.bot_user_id}> resume", root)
        await play.card("Ada is with the agent again")
        assert await play.handover() is HandoverState.RETURNED


async def test_an_operators_plain_word_is_asked_about(url: str) -> None:
    """Olga writes in Ada's thread: she alone is asked, the agent waits, and goes on as soon as she says so."""
    async with playing(url) as play:
        slack, general = play.both.slack, play.both.slack.channels["general"]
        root = await play.say("ada", general, f"<@{slack.bot_user_id}> /say Hello.")
        await play.sees(general, root, "Hello.")
        await asyncio.sleep(1.5)
        await play.say("olga", general, "I know that one", root)
        await play.told("olga", "Do you take over")
        await play.say("ada", general, f"<@{slack.bot_user_id}> /say Here.", root)
        await asyncio.sleep(1.0)
        assert "Here." not in play.shows(general, root)
        question = next(said for said in slack.whispers if said.ephemeral_to == play.id("olga"))
        await play.press("olga", question, "Just say it")
        await play.sees(general, root, "Here.")


# --- the bot stops, things go missing ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("database_url", "transport"), [("postgresql", "http")], indirect=["database_url"])
async def test_a_restart_in_between(database_url: str, transport: str) -> None:
    """What was asked, claimed and said while the bot was away goes on where it was."""
    async with stage() as both:
        dm = both.slack.dm("ada")
        async with serving(both, database_url, transport) as play:
            root = await play.say("ada", dm, "human")
            card = await play.card("Ada needs a human")
            await play.sees(dm, root, ASKED)
        async with serving(both, database_url, transport) as play:
            await play.press("olga", card, CLAIM)
            await play.card("Olga helps Ada")
            await play.say("olga", play.support, "here I am", card.ts)
            await play.sees(dm, root, "here I am")
        async with serving(both, database_url, transport) as play:
            await play.say("ada", dm, "good", root)
            await play.sees(play.support, card.ts, "good")
            await play.press("olga", await play.card("Olga helps Ada"), HAND_BACK)
            await play.sees(dm, root, "handed over to me again")
            assert not play.questions()
            assert len(play.cards()) == 1
            assert len([line for line in play.shows(dm, root) if ASKED in line]) == 1


@pytest.mark.parametrize("trouble", ["missing", "archived", "not a member"])
async def test_a_channel_that_cannot_be_used(url: str, trouble: str, caplog: pytest.LogCaptureFixture) -> None:
    """In a DM the agent takes the thread back with an apology; in a channel listed operators find the card below."""
    async with stage() as both:
        slack = both.slack
        support = "C0NOWHERE" if trouble == "missing" else slack.channels["support"]
        slack.change_channel(slack.channels["support"], archived=trouble == "archived", with_bot=trouble == "archived")
        async with serving(
            both, url, SLACKBOT_HANDOVER_CHANNEL=support, SLACKBOT_OPERATORS=slack.users["olga"]
        ) as play:
            dm, random = slack.dm("ada"), slack.channels["random"]
            root = await play.say("ada", dm, "human")
            await play.sees(dm, root, "Sorry, nobody was free to help.")
            assert ASKED not in "\n".join(play.shows(dm, root))
            assert "handover.channel_unusable" in caplog.messages
            await play.say("ada", dm, "/say Then I will.", root)
            await play.sees(dm, root, "Then I will.")
            thread = await play.say("ada", random, f"<@{slack.bot_user_id}> human")
            await play.sees(random, thread, "Ada needs a human")
            card = next(said for said in play.ours(random, thread) if "Ada needs a human" in lines(said))
            slack.join(play.id("olga"), random)
            await play.press("olga", card, CLAIM)
            await play.sees(random, thread, "Olga helps Ada")


@pytest.mark.parametrize("trouble", [{"archived": True}, {"with_bot": False}], ids=["archived", "removed from it"])
async def test_the_channel_closes_in_the_middle(url: str, trouble: dict[str, bool]) -> None:
    """What Ada writes then reaches nobody: the agent has her thread again, and tells her."""
    async with playing(url) as play:
        slack, dm = play.both.slack, play.both.slack.dm("ada")
        root = await play.say("ada", dm, "human")
        await play.press("olga", await play.card("Ada needs a human"), CLAIM)
        await play.sees(dm, root, "Olga is here now")
        slack.change_channel(play.support, **trouble)
        await play.say("ada", dm, "my order is lost", root)
        await play.sees(dm, root, "can no longer be reached")
        await play.say("ada", dm, "/say I am here.", root)
        await play.sees(dm, root, "I am here.")
        assert "my order is lost" in play.questions()[-1]


async def test_the_thread_is_deleted(url: str) -> None:
    """Ada deletes her question: the handover can still be settled, and nothing hangs."""
    async with playing(url) as play:
        slack, random = play.both.slack, play.both.slack.channels["random"]
        root = await play.say("ada", random, f"<@{slack.bot_user_id}> human")
        card = await play.card("Ada needs a human")
        await play.sees(random, root, ASKED)
        await slack.delete_message(play.id("ada"), random, root)
        await play.press("olga", card, CLAIM)
        await play.press("olga", await play.card("Olga helps Ada"), RESOLVE)
        await play.card("Settled: Ada")
        await play.say("olga", play.support, "anybody?", card.ts)


async def test_nobody_comes(url: str) -> None:
    """The request is reminded of, then given back with an apology, and the card says so."""
    settings = {"SLACKBOT_HANDOVER_REMIND_MINUTES": "0.01", "SLACKBOT_HANDOVER_GIVE_UP_MINUTES": "0.04"}
    async with playing(url, **settings) as play:
        dm = play.both.slack.dm("ada")
        root = await play.say("ada", dm, "human")
        card = await play.card("Ada needs a human")
        await play.sees(play.support, card.ts, "still waiting")
        await play.sees(dm, root, "nobody was free")
        await play.card("Ada is with the agent again")


async def test_an_answer_that_nobody_foresaw(
    url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Where Slack lists things that are no messages, one thread keeps its button; the desk and the bot go on."""
    monkeypatch.setattr(telling, "POLL", 0.05)
    async with playing(url) as play:
        slack, random = play.both.slack, play.both.slack.channels["random"]

        def told(_args: Json) -> bool:
            return any("Olga took over." in play.shows(play.support, card.ts) for card in play.cards())

        slack.faults.add(method="conversations.replies", body='{"ok":true,"messages":["?"]}', when=told)
        for _ in range(2):
            root = await play.say("ada", random, f"<@{slack.bot_user_id}> human")
            await play.sees(random, root, ASKED)
            await play.press("olga", await play.card("Ada needs a human"), CLAIM)
            await slack.wait(lambda: "desk.broke" in caplog.messages, timeout=10)
        await slack.wait(lambda: "[No human needed]" not in play.shows(random, root), timeout=10)


# --- many -------------------------------------------------------------------------------------------------------------


MANY = 50 if os.environ.get("SLACKBOT_CHAOS") else 10
"""Handovers at once, half of them in direct messages."""


async def test_many_at_once_with_racing_operators(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With higher limits, or it would take minutes: one owner each, the agent silent while a human has it, and every
    relayed message once and in order."""
    many = {method: Limit(60, seconds=0.01, per=limit.per, margin=0.0) for method, limit in SLACK_LIMITS.items()}
    monkeypatch.setattr(app, "Budget", lambda: Budget(many))
    async with stage(enforce_limits=False) as both, serving(both, database_url) as play:
        slack, words = both.slack, range(3)
        me = f"<@{slack.bot_user_id}>"
        names = [f"asker{n}" for n in range(MANY // 2)]
        for name in names:
            slack.add_user(name)
        places = [slack.dm(name) for name in names] + [slack.add_channel(f"room{n}") for n in range(MANY // 2)]
        roots = await asyncio.gather(
            *(play.say(names[n % len(names)], place, f"{me} human") for n, place in enumerate(places))
        )
        await slack.wait(lambda: len(play.cards()) == MANY, timeout=40)
        cards = play.cards()
        await asyncio.gather(*(play.press(who, card, CLAIM) for card in cards for who in ("olga", "otto")))
        await slack.wait(lambda: all("helps" in lines(card)[0] for card in play.cards()), timeout=40)
        store = await Store.open(database_url)
        try:
            records = await store.handovers()
        finally:
            await store.close()
        assert [record.handover.state for record in records] == [HandoverState.HUMAN] * MANY
        assert all(len(record.transitions) == 2 for record in records)
        await slack.wait(
            lambda: sum("has this one already" in said.text for said in slack.whispers) == MANY, timeout=20
        )
        own = {record.handover.conversation.thread.channel_id: record.handover for record in records}
        helper = {play.id("olga"): "olga", play.id("otto"): "otto"}

        async def talk(n: int, place: str) -> None:
            handover = own[place]
            assert handover.card is not None
            for word in words:
                await play.say(names[n % len(names)], place, f"asker {word}", roots[n])
                if n < len(names):
                    below = (play.support, f"operator {word}", handover.card.ts)
                    await play.say(helper[handover.operator_id or ""], *below)

        await asyncio.gather(*(talk(n, place) for n, place in enumerate(places)))
        for n, place in enumerate(places[: len(names)]):
            handover = own[place]
            assert handover.card is not None
            await play.sees(place, roots[n], f"operator {words[-1]}", 40)
            await play.sees(play.support, handover.card.ts, f"asker {words[-1]}", 40)
            across = play.shows(play.support, handover.card.ts)
            back = play.shows(place, roots[n])
            assert [line for line in across if line.startswith("asker ")] == [f"asker {word}" for word in words]
            assert [line for line in back if line.startswith("operator ")] == [f"operator {word}" for word in words]
        assert not play.questions()
