"""What the bot is told about a change in the workspace: inner events of the Events API."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slackbot.simulator.slack import world
from slackbot.simulator.slack.model import Change, Channel, Deleted, Edited, Json, Posted, Reacted, SimMessage, User
from slackbot.simulator.slack.payloads import message_json, tombstone

if TYPE_CHECKING:
    from slackbot.simulator.slack.workspace import Workspace


def events_of(workspace: Workspace, change: Change) -> list[Json]:
    """List the events a change makes for our app: those of channels the bot is in, and mentions of the bot."""
    match change:
        case Posted(message):
            return _posted(workspace, message)
        case Edited(message, previous):
            return _in_channel(workspace, message, _changed(workspace, message, previous))
        case Deleted(message, previous):
            return _in_channel(workspace, message, _deleted(workspace, message, previous))
        case Reacted():
            return _in_channel(workspace, change.message, _reacted(workspace, change))
        case _:
            return []


def session_stopped(workspace: Workspace, channel: Channel, user: User, thread_ts: str) -> Json:
    """Make the event of a press on the Stop of an agent session. https://docs.slack.dev/ai/agent-sessions."""
    return {
        "type": "agent_session_stopped",
        "user": user.id,
        "channel": channel.id,
        "thread_ts": thread_ts,
        "streaming_message_ts": [],
        "event_ts": workspace.next_ts(),
    }


def _posted(workspace: Workspace, message: SimMessage) -> list[Json]:
    channel = workspace.channels[message.channel]
    described = message_json(workspace, message)
    event = described | {"channel": channel.id, "channel_type": channel.kind.value, "event_ts": message.ts}
    found = _in_channel(workspace, message, event)
    if _mentions_bot(channel, message):
        kept = ("user", "ts", "client_msg_id", "text", "team", "blocks", "files", "thread_ts", "parent_user_id")
        also = ("bot_id", "app_id", "bot_profile", "user_team", "source_team")
        mention = {name: described[name] for name in (*kept, *also) if name in described}
        found.append({"type": "app_mention", **mention, "channel": channel.id, "event_ts": message.ts})
    return found


def _mentions_bot(channel: Channel, message: SimMessage) -> bool:
    # A direct message with the bot needs no mention, and Slack sends none for it.
    mentioned = f"<@{world.BOT_USER_ID}>" in message.text and message.user != world.BOT_USER_ID
    return mentioned and channel.kind != "im"


def _changed(workspace: Workspace, message: SimMessage, previous: SimMessage) -> Json:
    return _hidden(workspace, message.channel, "message_changed") | {
        "message": message_json(workspace, message),
        "previous_message": message_json(workspace, previous),
    }


def _deleted(workspace: Workspace, message: SimMessage, previous: SimMessage) -> Json:
    if message.ts in workspace.channels[message.channel].replies:
        return _hidden(workspace, message.channel, "message_changed") | {
            "message": tombstone(message),
            "previous_message": message_json(workspace, previous),
        }
    return _hidden(workspace, message.channel, "message_deleted") | {
        "deleted_ts": message.ts,
        "previous_message": message_json(workspace, previous),
    }


def _hidden(workspace: Workspace, channel_id: str, subtype: str) -> Json:
    ts = workspace.next_ts()
    return {
        "type": "message",
        "subtype": subtype,
        "hidden": True,
        "channel": channel_id,
        "channel_type": workspace.channels[channel_id].kind.value,
        "ts": ts,
        "event_ts": ts,
    }


def _reacted(workspace: Workspace, change: Reacted) -> Json:
    return {
        "type": "reaction_added" if change.added else "reaction_removed",
        "user": change.user,
        "reaction": change.name,
        "item_user": change.message.user,
        "item": {"type": "message", "channel": change.message.channel, "ts": change.message.ts},
        "event_ts": workspace.next_ts(),
    }


def _in_channel(workspace: Workspace, message: SimMessage, event: Json) -> list[Json]:
    return [event] if world.BOT_USER_ID in workspace.channels[message.channel].members else []
