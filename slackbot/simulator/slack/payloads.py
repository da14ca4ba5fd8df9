"""Values of the workspace as the JSON objects Slack sends."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from slackbot.simulator.slack import world
from slackbot.simulator.slack.model import Channel, Json, Kind, SimMessage, User

if TYPE_CHECKING:
    from slackbot.simulator.slack.workspace import Workspace

_MENTION: Final = re.compile(r"<@([UW][A-Z0-9]+)>")


def picture(workspace: Workspace, user: User) -> str:
    """Make the address of a person's picture. Nobody serves it: the page draws initials."""
    return f"{workspace.base_url}pictures/{user.id}"


def user_json(workspace: Workspace, user: User) -> Json:
    """Describe a person as users.info does."""
    return {
        "id": user.id,
        "team_id": user.team_id,
        "name": user.name,
        "deleted": user.deleted,
        "color": user.color,
        "real_name": user.real_name,
        "tz": "Europe/London",
        "tz_label": "Greenwich Mean Time",
        "tz_offset": 0,
        "profile": {
            "real_name": user.real_name,
            "real_name_normalized": user.real_name,
            "display_name": user.display_name,
            "display_name_normalized": user.display_name,
            "team": user.team_id,
            "image_72": picture(workspace, user),
            **({"bot_id": user.bot_id, "api_app_id": user.app_id} if user.bot_id else {}),
        },
        "is_admin": False,
        "is_owner": False,
        "is_restricted": user.is_restricted,
        "is_ultra_restricted": False,
        "is_bot": user.is_bot,
        "is_app_user": False,
        "is_stranger": user.team_id != world.TEAM_ID,
        "updated": 1_700_000_000,
    }


def channel_json(channel: Channel) -> Json:
    """Describe a channel as conversations.info does."""
    described: Json = {
        "id": channel.id,
        "created": 1_700_000_000,
        "is_archived": channel.is_archived,
        "is_channel": channel.kind is Kind.CHANNEL,
        "is_group": channel.kind is Kind.GROUP,
        "is_im": channel.kind is Kind.IM,
        "is_mpim": channel.kind is Kind.MPIM,
        "is_private": channel.kind is not Kind.CHANNEL,
        "is_member": world.BOT_USER_ID in channel.members,
        "is_shared": channel.is_ext_shared,
        "is_ext_shared": channel.is_ext_shared,
        "is_org_shared": False,
        "context_team_id": world.TEAM_ID,
    }
    if channel.kind is Kind.IM:
        described["user"] = next(iter(channel.members - {world.BOT_USER_ID}))
    else:
        described |= {"name": channel.name, "name_normalized": channel.name, "num_members": len(channel.members)}
    return described


def message_json(workspace: Workspace, message: SimMessage) -> Json:
    """Describe a message as events and the conversations.* methods do, without its channel."""
    author = workspace.users[message.user]
    described: Json = {
        "type": "message",
        "user": message.user,
        "ts": message.ts,
        "text": message.text,
        "team": author.team_id,
    }
    optional: Json = {
        "subtype": message.subtype,
        "client_msg_id": message.client_msg_id,
        "bot_id": message.bot_id,
        "app_id": message.app_id,
        "username": message.username,
        "edited": message.edited,
        "metadata": message.metadata,
        "blocks": list(message.blocks),
        "attachments": list(message.attachments),
        "files": list(message.files),
        "reactions": [
            {"name": name, "users": list(users), "count": len(users)} for name, users in message.reactions.items()
        ],
    }
    described |= {name: value for name, value in optional.items() if value}
    if message.username and message.bot_id:
        # Under a name of its own, a bot's message says nothing of its user.
        described |= {"subtype": "bot_message", "icons": {"image_48": message.icon_url}}
        del described["user"]
    if author.bot_id:
        described["bot_profile"] = {
            "id": author.bot_id,
            "app_id": author.app_id,
            "name": author.display_name,
            "deleted": False,
            "team_id": author.team_id,
        }
    if message.files:
        described |= {"upload": False, "display_as_bot": False}
    if author.team_id != world.TEAM_ID:
        described |= {"user_team": author.team_id, "source_team": author.team_id}
    return described | _thread_fields(workspace, message) | message.extras


def interaction(workspace: Workspace, user_id: str, kind: str, trigger_id: str) -> Json:
    """Describe what every interaction says: who did it, where it is from, and what may be opened in answer."""
    user = workspace.users[user_id]
    return {
        "type": kind,
        "user": {"id": user.id, "username": user.name, "name": user.name, "team_id": user.team_id},
        "api_app_id": world.APP_ID,
        "token": "sim-verification-token",
        "trigger_id": trigger_id,
        "team": {"id": world.TEAM_ID, "domain": world.TEAM_DOMAIN},
        "enterprise": None,
        "is_enterprise_install": False,
    }


def rich_text(text: str) -> Json:
    """Make the block Slack's own clients send beside the text of a person's message."""
    elements: list[Json] = []
    for index, piece in enumerate(_MENTION.split(text)):
        if index % 2:
            elements.append({"type": "user", "user_id": piece})
        elif piece:
            elements.append({"type": "text", "text": piece})
    return {"type": "rich_text", "elements": [{"type": "rich_text_section", "elements": elements}]}


def _thread_fields(workspace: Workspace, message: SimMessage) -> Json:
    channel = workspace.channels[message.channel]
    if message.thread_ts is not None:
        root = channel.messages.get(message.thread_ts)
        return {"thread_ts": message.thread_ts, **({"parent_user_id": root.user} if root else {})}
    replies = channel.replies.get(message.ts)
    if not replies:
        return {}
    repliers = list(dict.fromkeys(channel.messages[ts].user for ts in replies))
    return {
        "thread_ts": message.ts,
        "reply_count": len(replies),
        "reply_users_count": len(repliers),
        "reply_users": repliers,
        "latest_reply": replies[-1],
        "is_locked": False,
        "subscribed": False,
    }


def tombstone(message: SimMessage) -> Json:
    """Describe a deleted root that still has replies."""
    return {
        "type": "message",
        "subtype": "tombstone",
        "hidden": True,
        "user": "USLACKBOT",
        "text": "This message was deleted.",
        "ts": message.ts,
        "thread_ts": message.ts,
    }
