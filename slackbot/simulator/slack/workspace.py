"""The state of the simulated workspace: pure, without sockets; every change is told to the observers."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from slackbot.simulator.slack.limits import STATUS_SECONDS
from slackbot.simulator.slack.model import (
    Change,
    Channel,
    Deleted,
    Edited,
    Json,
    Kind,
    Opened,
    Posted,
    Reacted,
    SimMessage,
    StatusSet,
    User,
    Version,
    ViewsShown,
    Whispered,
)
from slackbot.simulator.slack.world import BOT_ID

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from slackbot.simulator.slack.clock import Clock


@dataclass(frozen=True, slots=True)
class _Status:
    text: str
    at: float
    loading: tuple[str, ...]


class Workspace:
    """People, channels and messages of one team."""

    def __init__(self, users: Iterable[User], channels: Iterable[Channel], clock: Clock) -> None:
        self.users = {user.id: user for user in users}
        self.channels = {channel.id: channel for channel in channels}
        self.observers: list[Callable[[Change], None]] = []
        self.whispers: dict[tuple[str, str], SimMessage] = {}
        self.files: dict[str, Json] = {}
        self.base_url = ""
        self._clock = clock
        self._last_microsecond = 0
        self._versions: dict[tuple[str, str], list[Version]] = {}
        self._statuses: dict[tuple[str, str], _Status] = {}
        self._block_ids = itertools.count(1)

    def next_ts(self) -> str:
        """Make a message timestamp, later than every one made before."""
        self._last_microsecond = max(self._last_microsecond + 1, int(self._clock.wall() * 1_000_000))
        seconds, microseconds = divmod(self._last_microsecond, 1_000_000)
        return f"{seconds}.{microseconds:06d}"

    def find(self, channel_id: str, ts: str) -> SimMessage | None:
        """Find a message that was not deleted."""
        channel = self.channels.get(channel_id)
        message = channel.messages.get(ts) if channel else None
        return None if message is None or message.deleted else message

    def is_thread(self, channel_id: str, ts: str) -> bool:
        """Tell whether `ts` can be replied to: a root that is there, or a deleted one that has replies."""
        channel = self.channels[channel_id]
        message = channel.messages.get(ts)
        return message is not None and message.thread_ts is None and (not message.deleted or ts in channel.replies)

    def thread(self, channel_id: str, root_ts: str) -> list[SimMessage]:
        """List the visible messages of a thread, root first."""
        channel = self.channels[channel_id]
        found = (channel.messages.get(ts) for ts in [root_ts, *channel.replies.get(root_ts, ())])
        return [message for message in found if message is not None and not message.deleted]

    def all(self, channel_id: str, *, tombstones: bool = False) -> list[SimMessage]:
        """List the visible messages of a channel in order of `ts`: replies too, deleted roots of threads on request."""
        channel = self.channels[channel_id]
        kept = channel.replies if tombstones else ()
        return [message for message in channel.messages.values() if not message.deleted or message.ts in kept]

    def versions(self, channel_id: str, ts: str) -> list[Version]:
        """List every version of a message that was visible, oldest first."""
        return list(self._versions.get((channel_id, ts), ()))

    def post(self, message: SimMessage, *, broadcast: bool = False) -> SimMessage:
        """Add a message; our bot's reply clears the status of its thread."""
        channel = self.channels[message.channel]
        message = replace(message, blocks=self.name_blocks(message.blocks))
        channel.messages[message.ts] = message
        if message.thread_ts is not None:
            channel.replies.setdefault(message.thread_ts, []).append(message.ts)
        if message.thread_ts is None or broadcast:
            channel.top_level.append(message.ts)
        # What files.info says of a file can be more, or less, than what the message carries.
        for file in message.files:
            self.files.setdefault(file.get("id", ""), file)
        self._record(message)
        if message.bot_id == BOT_ID and message.thread_ts is not None:
            self.set_status(message.channel, message.thread_ts, "")
        self._tell(Posted(message))
        return message

    def edit(self, message: SimMessage, *, actor: str, **changes: Any) -> SimMessage:  # noqa: ANN401  fields of a SimMessage
        """Replace fields of a message."""
        if "blocks" in changes:
            changes["blocks"] = self.name_blocks(changes["blocks"])
        edited = replace(message, **changes)
        self.channels[message.channel].messages[message.ts] = edited
        self._record(edited)
        self._tell(Edited(edited, message, actor))
        return edited

    def delete(self, message: SimMessage) -> None:
        """Delete a message; a root with replies leaves its thread behind."""
        channel = self.channels[message.channel]
        gone = replace(message, deleted=True)
        channel.messages[message.ts] = gone
        if message.thread_ts is not None:
            channel.replies[message.thread_ts].remove(message.ts)
            if not channel.replies[message.thread_ts]:
                del channel.replies[message.thread_ts]
        if message.ts not in channel.replies and message.ts in channel.top_level:
            channel.top_level.remove(message.ts)
        self._record(gone)
        self._tell(Deleted(gone, message))

    def whisper(self, message: SimMessage) -> SimMessage:
        """Show, change or (with the deleted flag) remove a message only its reader sees."""
        message = replace(message, blocks=self.name_blocks(message.blocks))
        self.whispers[message.channel, message.ts] = message
        self._tell(Whispered(message))
        return message

    def status(self, channel_id: str, thread_ts: str) -> str:
        """Read the status line of a thread: empty when there is none, or when it is older than two minutes."""
        status = self._statuses.get((channel_id, thread_ts))
        return "" if status is None or self._clock.monotonic() - status.at >= STATUS_SECONDS else status.text

    def statuses(self) -> dict[tuple[str, str], str]:
        """Read all status lines that are shown."""
        return {key: text for key in self._statuses if (text := self.status(*key))}

    def loading(self, channel_id: str, thread_ts: str) -> tuple[str, ...]:
        """Read the messages shown in turn beside the status line of a thread."""
        return self._statuses[channel_id, thread_ts].loading if self.status(channel_id, thread_ts) else ()

    def set_status(self, channel_id: str, thread_ts: str, status: str, loading: tuple[str, ...] = ()) -> None:
        """Show a status line in a thread, or clear it with an empty one."""
        if status:
            self._statuses[channel_id, thread_ts] = _Status(status, self._clock.monotonic(), loading)
        elif self._statuses.pop((channel_id, thread_ts), None) is None:
            return
        self._tell(StatusSet(channel_id, thread_ts, status, loading if status else ()))

    def react(self, message: SimMessage, user_id: str, name: str, *, added: bool) -> None:
        """Add or take away a person's reaction."""
        who = [user for user in message.reactions.get(name, ()) if user != user_id]
        who += [user_id] if added else []
        reactions = {**message.reactions, name: tuple(who)}
        changed = replace(message, reactions={emoji: users for emoji, users in reactions.items() if users})
        self.channels[message.channel].messages[message.ts] = changed
        self._tell(Reacted(changed, user_id, name, added))

    def direct_channel(self, user_id: str, bot_user_id: str) -> Channel | None:
        """Find the DM of a person with a bot."""
        pair = {user_id, bot_user_id}
        return next((c for c in self.channels.values() if c.kind is Kind.IM and c.members == pair), None)

    def open_direct(self, members: set[str]) -> Channel:
        """Find the direct message of exactly these, or make it."""
        directs = (c for c in self.channels.values() if c.kind in {Kind.IM, Kind.MPIM} and c.members == members)
        found = next(directs, None)
        if found is not None:
            return found
        kind, number = (Kind.IM, "D") if len(members) <= 2 else (Kind.MPIM, "G")
        name = f"{kind.value}-{'-'.join(sorted(self.users[user].name for user in members))}"
        made = Channel(id=f"{number}{len(self.channels):05d}TALK", name=name, kind=kind, members=set(members))
        self.add(made)
        return made

    def add(self, channel: Channel) -> None:
        """Add a conversation."""
        self.channels[channel.id] = channel
        self._tell(Opened(channel))

    def show_views(self, user_id: str, views: tuple[Json, ...]) -> None:
        """Say which modals are in front of a person."""
        self._tell(ViewsShown(user_id, views))

    def _record(self, message: SimMessage) -> None:
        version = Version(self._clock.monotonic(), message.text, message.blocks, message.deleted)
        self._versions.setdefault((message.channel, message.ts), []).append(version)

    def name_blocks(self, blocks: Iterable[Json]) -> tuple[Json, ...]:
        """Give every block an id."""
        # Slack names every block that came without a name, except markdown blocks, whose block_id it ignores.
        return tuple(
            block
            if block.get("type") == "markdown" or "block_id" in block
            else {**block, "block_id": f"b{next(self._block_ids):05x}"}
            for block in blocks
        )

    def _tell(self, change: Change) -> None:
        for observer in self.observers:
            observer(change)
