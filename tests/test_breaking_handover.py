"""Handovers in direct messages while the bot, a process of its own, is killed again and again."""

from __future__ import annotations

import os
import re
import time
from typing import Any

from tests.databases import Raw
from tests.test_breaking import PATIENCE, Bot, World, bot, until, world

__all__ = ["bot", "world"]

THREADS, SAID, KILLS = (50, 2, 8) if os.environ.get("SLACKBOT_CHAOS") else (1, 8, 4)
"""Handovers at once, messages of each side in each of them, and deaths while they are relayed."""
SLOW = PATIENCE + 10 * THREADS
"""At one message a second all of it takes its time."""


class Messages:
    """What the bot says, as the simulated Slack has it now."""

    def __init__(self, world: World) -> None:
        time.sleep(0.02 * THREADS)  # the more there is, the less often it is read
        state = world.http.get(f"{world.slack['page_url']}page/state").json()
        me = world.slack["bot_user_id"]
        self._ours = [said for said in state["messages"] if said["user"] == me and not said["deleted"]]

    def of(self, channel: str, root: str | None = None) -> list[dict[str, Any]]:
        """The bot's messages in a channel or in one of its threads."""
        return [
            said
            for said in self._ours
            if said["channel"] == channel and root in {None, said["thread_ts"]} and not said["ephemeral_to"]
        ]

    def words(self, channel: str, root: str) -> list[str]:
        """What was relayed there, in the order in which it stands there."""
        blocks = [block for said in self.of(channel, root) for block in said["blocks"]]
        return [block["text"]["text"] for block in blocks if block.get("expand")]

    def cards(self, channel: str) -> dict[int, dict[str, Any]]:
        """The cards that stand there, by handover."""
        found = {}
        for said in self.of(channel):
            buttons = [it for block in said["blocks"] for it in block.get("elements", ()) if it.get("action_id")]
            if said["thread_ts"] in {None, said["ts"]} and buttons:
                found[int(buttons[0]["value"])] = said
        return found


def press(world: World, who: str, card: dict[str, Any], action: str) -> None:
    """Somebody presses a card's button, if it is still there."""
    for block in card["blocks"]:
        for button in block.get("elements", ()):
            if str(button.get("action_id", "")).startswith(action):
                where = {"channel": card["channel"], "ts": card["ts"], "action_id": button["action_id"]}
                world.slack_does("press", user=who, value=button["value"], **where)


def test_killed_in_the_middle_of_a_relay(world: World, bot: Bot) -> None:
    """Killed at any moment while both sides write and two operators race: each handover has one owner, each message
    stands on the other side once and in order, nothing of ours is said twice, and the agent says nothing."""
    users, channels = world.slack["users"], world.slack["channels"]
    support, ada = channels["support"], users["ada"]
    dm = channels[f"dm-{ada}"]
    otto = world.slack_does("user", name="otto")["user"]
    world.slack_does("join", user=otto, channel=support)
    bot.settings |= {"SLACKBOT_HANDOVER_CHANNEL": support, "SLACKBOT_TURNS_PER_USER_PER_MINUTE": "0"}
    bot.start()
    roots = [world.slack_does("say", user=ada, channel=dm, text="human")["ts"] for _ in range(THREADS)]
    until(lambda: len(Messages(world).cards(support)) == THREADS, "the cards", SLOW)
    cards = Messages(world).cards(support)
    for card in cards.values():
        for who in (users["olga"], otto):
            press(world, who, card, "claim")

    def told() -> bool:
        seen = Messages(world)
        return all(len(seen.of(dm, root)) == 2 for root in roots)

    until(told, "every asker is told who is there", SLOW)
    sql = Raw(bot.database_url)
    try:
        rows = sql("SELECT h.id, c.root_ts, h.state, h.operator_id FROM handovers h JOIN conversations c"
                   " ON c.id = h.conversation_id")  # fmt: skip
        steps = sql("SELECT count(*) FROM handover_transitions")
    finally:
        sql.close()
    assert steps == [(2 * THREADS,)]
    assert {state for _, _, state, _ in rows} == {"human"}
    of_root = {root: (cards[number]["ts"], operator) for number, root, _, operator in rows}
    assert len(of_root) == THREADS
    stored = THREADS
    for n in range(SAID):
        for at, root in enumerate(roots):
            card_ts, operator = of_root[root]
            world.slack_does("say", user=ada, channel=dm, text=f"asker {n}", thread_ts=root)
            world.slack_does("say", user=operator, channel=support, text=f"operator {n}", thread_ts=card_ts)
            stored += 2
            if (n * THREADS + at) % max(SAID * THREADS // KILLS, 1) == 1:
                # What is stored has to be relayed by whoever lives; the rest is Slack's to deliver again, in a minute.
                until(lambda count=stored: bot.states().total() == count, "the messages are stored")  # type: ignore[misc]
                time.sleep(0.03 * n)
                bot.die()
                bot.start()

    def across() -> bool:
        seen = Messages(world)
        return all(
            len(seen.words(dm, root)) >= SAID and len(seen.words(support, of_root[root][0])) >= SAID for root in roots
        )

    until(across, "each side has all of it", SLOW)
    until(lambda: not (states := bot.states())["queued"] + states["running"], "nothing is left to do")
    time.sleep(0.5)
    seen = Messages(world)
    for root in roots:
        assert seen.words(dm, root) == [f"operator {n}" for n in range(SAID)]
        assert seen.words(support, of_root[root][0]) == [f"asker {n}" for n in range(SAID)]
        assert len(seen.of(dm, root)) == 2 + SAID
    assert not world.asked()
    assert not re.search(r'"event": "handover.broke"', bot.log())
