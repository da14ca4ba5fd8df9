"""The small company the simulated workspace belongs to."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from slackbot.simulator.slack.model import Channel, Kind, User

TEAM_ID: Final = "T00000ACME"
TEAM_NAME: Final = "Acme"
TEAM_DOMAIN: Final = "acme"
OTHER_TEAM_ID: Final = "T000GLOBEX"
APP_ID: Final = "A00000SIM1"
BOT_USER_ID: Final = "U0000AGENT"
BOT_ID: Final = "B0000AGENT"
OPERATORS_ID: Final = "S0OPERATOR"

BOT_TOKEN: Final = "xoxb-sim-1111111111-acme"  # noqa: S105  opens nothing but the simulator
APP_TOKEN: Final = "xapp-sim-1-A00000SIM1-acme"  # noqa: S105  opens nothing but the simulator
SIGNING_SECRET: Final = "sim-signing-secret-8f742231b10e8888abcd99yyyzzz85a5"  # noqa: S105  opens nothing but the simulator


def people() -> list[User]:
    """Make the people and bots: two colleagues, an operator, a guest of another company, our bot and another."""
    return [
        _person("U00000ADA", "ada", "Ada Lovelace", "Ada", "9b59b6"),
        _person("U00000BEN", "ben", "Ben Okafor", "Ben", "2980b9"),
        replace(_person("U0000OLGA", "olga", "Olga Petrova", "Olga", "c0392b"), title="operator"),
        replace(
            _person("U000GUEST", "guest", "Gus Moreau", "Gus (Globex)", "16a085"), team_id=OTHER_TEAM_ID, title="guest"
        ),
        _bot(BOT_USER_ID, "agent", "agent", BOT_ID, APP_ID),
        _bot("U00DEPLOY", "deploybot", "deploybot", "B00DEPLOY", "A00DEPLOY"),
    ]


def rooms() -> list[Channel]:
    """Make the channels; our bot is a member of each, and has a DM with every person."""
    staff = {"U00000ADA", "U00000BEN", "U0000OLGA", "U00DEPLOY", BOT_USER_ID}
    return [
        Channel(id="C0GENERAL", name="general", kind=Kind.CHANNEL, members=set(staff)),
        Channel(id="C00RANDOM", name="random", kind=Kind.CHANNEL, members=set(staff)),
        Channel(
            id="C0PARTNERS",
            name="partners",
            kind=Kind.CHANNEL,
            members={*staff, "U000GUEST"},
            is_ext_shared=True,
        ),
        Channel(
            id="C000SECRET",
            name="secret-project",
            kind=Kind.GROUP,
            members={"U00000ADA", "U0000OLGA", BOT_USER_ID},
        ),
        Channel(id="C0SUPPORT", name="support", kind=Kind.GROUP, members={"U0000OLGA", BOT_USER_ID}),
        Channel(id="G0000MPIM", name="mpim", kind=Kind.MPIM, members={"U00000ADA", "U00000BEN", BOT_USER_ID}),
        *(direct(user.id) for user in people() if not user.is_bot),
    ]


def direct(user_id: str) -> Channel:
    """Make the DM of a person with our bot."""
    return Channel(id=f"D{user_id[1:]}", name=f"dm-{user_id}", kind=Kind.IM, members={user_id, BOT_USER_ID})


def _person(user_id: str, name: str, real_name: str, shown: str, color: str) -> User:
    return User(id=user_id, name=name, real_name=real_name, display_name=shown, team_id=TEAM_ID, color=color)


def _bot(user_id: str, name: str, shown: str, bot_id: str, app_id: str) -> User:
    return User(
        id=user_id,
        name=name,
        real_name=shown,
        display_name=shown,
        team_id=TEAM_ID,
        color="757575",
        bot_id=bot_id,
        app_id=app_id,
    )
