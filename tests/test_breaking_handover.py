"""A handover in direct messages while the bot, a process of its own, is killed again and again."""

from __future__ import annotations

import time
from typing import Any

from tests.test_breaking import Bot, World, bot, until, world

__all__ = ["bot", "world"]

SAID = 8
"""Messages of each side."""


def messages(world: World, channel: str, root: str | None = None) -> list[dict[str, Any]]:
    """The bot's messages in a channel or in one of its threads."""
    state = world.http.get(f"{world.slack['page_url']}page/state").json()
    ours = [said for said in state["messages"] if said["user"] == world.slack["bot_user_id"] and not said["deleted"]]
    return [said for said in ours if said["channel"] == channel and root in {None, said["thread_ts"]}]


def words(world: World, channel: str, root: str) -> list[str]:
    """What was relayed there, in the order in which it stands there."""
    return [
        block["text"]
        for said in messages(world, channel, root)
        for block in said["blocks"]
        if block["type"] == "markdown"
    ]


def press(world: World, who: str, card: dict[str, Any], action: str) -> None:
    """Somebody presses a card's button."""
    for block in card["blocks"]:
        for button in block.get("elements", ()):
            if str(button.get("action_id", "")).startswith(action):
                where = {"channel": card["channel"], "ts": card["ts"], "action_id": button["action_id"]}
                world.slack_does("press", user=world.slack["users"][who], value=button["value"], **where)
                return
    raise AssertionError(f"no {action} on the card")


def test_killed_in_the_middle_of_a_relay(world: World, bot: Bot) -> None:
    """Killed at any moment while both sides write: each message stands on the other side once and in order, nothing
    of ours is said twice, and the agent says nothing."""
    users, channels = world.slack["users"], world.slack["channels"]
    support, dm = channels["support"], channels[f"dm-{users['ada']}"]
    bot.settings["SLACKBOT_HANDOVER_CHANNEL"] = support
    bot.start()
    root = world.slack_does("say", user=users["ada"], channel=dm, text="human")["ts"]
    card = until(lambda: messages(world, support), "the card")[0]
    until(lambda: messages(world, dm, root), "the asker is told")
    press(world, "olga", card, "claim")
    until(lambda: len(messages(world, dm, root)) == 2, "the asker is told who is there")
    for n in range(SAID):
        world.slack_does("say", user=users["ada"], channel=dm, text=f"asker {n}", thread_ts=root)
        world.slack_does("say", user=users["olga"], channel=support, text=f"operator {n}", thread_ts=card["ts"])
        if n % 2:
            # What is stored has to be relayed by whoever lives; the rest is Slack's to deliver again, in a minute.
            until(lambda stored=2 * n + 3: bot.states().total() == stored, "the messages are stored")  # type: ignore[misc]
            time.sleep(0.03 * n)
            bot.die()
            bot.start()
    until(lambda: len(words(world, dm, root)) >= SAID, "the asker has all of it")
    until(lambda: len(words(world, support, card["ts"])) >= SAID, "the operator has all of it")
    bot.settled(2 * SAID + 1)
    time.sleep(0.5)
    assert words(world, dm, root) == [f"operator {n}" for n in range(SAID)]
    assert words(world, support, card["ts"]) == [f"asker {n}" for n in range(SAID)]
    assert len(messages(world, dm, root)) == 2 + SAID
    assert not world.asked()
