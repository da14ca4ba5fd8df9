"""What people and channels are called, asked from Slack and remembered for a while."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Collection, Hashable, Mapping
from typing import Any, Final, Generic, TypeVar

from slackbot.domain import Person
from slackbot.errors import ChatError
from slackbot.slack.calls import Call
from slackbot.slack.events import clean, mapping

log = logging.getLogger(__name__)

KNOWN_SECONDS: Final = 3_600.0
UNKNOWN_SECONDS: Final = 60.0
REMEMBERED: Final = 5_000
NAME_PATIENCE: Final = 3.0
"""A name is not worth a longer wait for a free slot: without it an id is shown."""

Value = TypeVar("Value")


class Recent(Generic[Value]):
    """Values that are true for a while, the most recently stored ``REMEMBERED`` of them."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._values: OrderedDict[Hashable, tuple[float, Value]] = OrderedDict()

    def get(self, key: Hashable) -> Value | None:
        """The value, unless it was never stored or its time is over."""
        until, value = self._values.get(key, (0.0, None))
        return value if self._now() < until else None

    def put(self, key: Hashable, value: Value, seconds: float) -> None:
        """Remember the value for so long."""
        self._values[key] = (self._now() + seconds, value)
        self._values.move_to_end(key)
        if len(self._values) > REMEMBERED:
            self._values.popitem(last=False)

    def forget(self, key: Hashable) -> None:
        """It is true no more."""
        self._values.pop(key, None)


class Names:
    """Looks names up. Never raises: who cannot be read is called by the id."""

    def __init__(self, call: Call, now: Callable[[], float]) -> None:
        self._call = call
        self._people: Recent[tuple[Person, bool]] = Recent(now)
        """Who they are, and whether they are known to be of this team."""
        self._channels: Recent[str] = Recent(now)

    async def people(self, team_id: str, user_ids: Collection[str]) -> dict[str, Person]:
        """Who these users are; ids of bots (``B…``) are understood too."""
        wanted = sorted(set(user_ids))
        found = await asyncio.gather(*(self._person(team_id, user_id) for user_id in wanted))
        return {person.user_id: person for person, _ in found}

    async def insiders(self, team_id: str, user_ids: Collection[str]) -> frozenset[str]:
        """Those who are people of this team for sure: no bots, no guests, nobody whom Slack does not tell about."""
        found = await asyncio.gather(*(self._person(team_id, user_id) for user_id in set(user_ids)))
        return frozenset(person.user_id for person, insider in found if insider)

    async def channels(self, team_id: str, channel_ids: Collection[str]) -> dict[str, str]:
        """Names of those channels that can be read."""
        wanted = sorted(set(channel_ids))
        found = await asyncio.gather(*(self._channel(team_id, channel_id) for channel_id in wanted))
        return {channel_id: name for channel_id, name in zip(wanted, found, strict=True) if name}

    async def _person(self, team_id: str, user_id: str) -> tuple[Person, bool]:
        if known := self._people.get((team_id, user_id)):
            return known
        method, key = ("bots.info", "bot") if user_id.startswith("B") else ("users.info", "user")
        record = await self._look_up(team_id, method, key, user_id)
        profile = mapping(record.get("profile"))
        name = profile.get("display_name") or record.get("real_name") or record.get("name") or user_id
        person = Person(
            user_id,
            clean(str(name)),
            is_bot=key == "bot" or bool(record.get("is_bot")),
            picture=str(profile.get("image_72") or ""),
            is_guest=_is_guest(record, team_id),
            has_left=bool(record.get("deleted")),
        )
        insider = bool(record) and not (person.is_bot or person.is_guest or person.has_left)
        self._people.put((team_id, user_id), (person, insider), KNOWN_SECONDS if record else UNKNOWN_SECONDS)
        return person, insider

    async def _channel(self, team_id: str, channel_id: str) -> str:
        if (known := self._channels.get((team_id, channel_id))) is not None:
            return known
        record = await self._look_up(team_id, "conversations.info", "channel", channel_id)
        name = clean(str(record.get("name") or ""))
        self._channels.put((team_id, channel_id), name, KNOWN_SECONDS if record else UNKNOWN_SECONDS)
        return name

    async def _look_up(self, team_id: str, method: str, key: str, value: str) -> Mapping[str, Any]:
        try:
            answer = await self._call(team_id, method, {key: value}, patience=NAME_PATIENCE)
        except ChatError as error:
            if error.slack_error == "missing_scope":  # told once, by the call
                return {}
            log.info("name.unknown", extra={"team": team_id, "id": value, "error": str(error)})
            return {}
        return mapping(answer.get(key))


def _is_guest(record: Mapping[str, Any], team_id: str) -> bool:
    """https://docs.slack.dev/reference/objects/user-object."""
    teams = mapping(record.get("enterprise_user")).get("teams")
    home = {str(record.get("team_id") or team_id), *map(str, teams if isinstance(teams, list) else ())}
    marks = ("is_restricted", "is_ultra_restricted", "is_stranger")
    return team_id not in home or any(record.get(mark) for mark in marks)
