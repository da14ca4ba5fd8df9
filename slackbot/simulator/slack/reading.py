"""The Web API methods that read: conversations.*, users.*, team.*, files.* and reactions.get."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Final

from slackbot.simulator.slack import limits, world
from slackbot.simulator.slack.chat import Method, known_channel
from slackbot.simulator.slack.errors import SlackError
from slackbot.simulator.slack.payloads import channel_json, message_json, tombstone, user_json

if TYPE_CHECKING:
    from collections.abc import Iterable

    from slackbot.simulator.slack.arguments import Arguments
    from slackbot.simulator.slack.model import Channel, Json, SimMessage
    from slackbot.simulator.slack.workspace import Workspace


def replies(workspace: Workspace, args: Arguments) -> Json:
    """Answer conversations.replies: the root on every page, then the replies, oldest first."""
    channel = _readable_channel(workspace, args)
    ts = args.text("ts")
    asked = channel.messages.get(ts)
    if asked is not None and asked.thread_ts is not None and not asked.deleted:
        return {"messages": [_read(workspace, asked, args)], "has_more": False}
    if asked is None or not workspace.is_thread(channel.id, ts):
        raise SlackError("thread_not_found")
    root = tombstone(asked) if asked.deleted else _read(workspace, asked, args)
    found = _in_range(channel.replies.get(ts, ()), args)
    page, more = _page(found, args, limits.REPLIES_PER_PAGE, limits.REPLIES_PER_PAGE)
    return {"messages": [root, *(_read(workspace, channel.messages[reply], args) for reply in page)], **more}


def history(workspace: Workspace, args: Arguments) -> Json:
    """Answer conversations.history: what stands in the channel itself, newest first."""
    channel = _readable_channel(workspace, args)
    found = _in_range(reversed(channel.top_level), args)
    page, more = _page(found, args, limits.HISTORY_PER_PAGE, limits.RESULTS_PER_PAGE)
    shown = [channel.messages[ts] for ts in page]
    messages = [tombstone(message) if message.deleted else _read(workspace, message, args) for message in shown]
    return {"messages": messages, **more}


def conversation_info(workspace: Workspace, args: Arguments) -> Json:
    """Answer conversations.info."""
    return {"channel": channel_json(known_channel(workspace, args.text("channel")))}


def conversation_open(workspace: Workspace, args: Arguments) -> Json:
    """Answer conversations.open for one person or several."""
    if args.has("channel"):
        channel: Channel | None = known_channel(workspace, args.text("channel"))
    else:
        people = [user for user in args.text("users").split(",") if user]
        if any(user not in workspace.users for user in people):
            raise SlackError("user_not_found")
        channel = workspace.open_direct({*people, world.BOT_USER_ID}) if people else None
    if channel is None:
        raise SlackError("not_enough_users")
    described = channel_json(channel) if args.flag("return_im") else {"id": channel.id}
    return {"channel": described, "no_op": True, "already_open": True}


def conversation_list(workspace: Workspace, args: Arguments) -> Json:
    """Answer conversations.list; public channels only, unless `types` asks for others."""
    names = {"public_channel": "channel", "private_channel": "group", "im": "im", "mpim": "mpim"}
    types = args.text("types") or "public_channel"
    kinds = {names.get(kind.strip()) for kind in types.split(",")}
    if None in kinds:
        raise SlackError("invalid_types")
    visible = [
        channel.id
        for channel in workspace.channels.values()
        if channel.kind in kinds and (channel.kind == "channel" or world.BOT_USER_ID in channel.members)
    ]
    page, more = _page(visible, args, limits.HISTORY_PER_PAGE, limits.RESULTS_PER_PAGE)
    return {"channels": [channel_json(workspace.channels[channel]) for channel in page], **more}


def conversation_members(workspace: Workspace, args: Arguments) -> Json:
    """Answer conversations.members."""
    channel = known_channel(workspace, args.text("channel"))
    page, more = _page(sorted(channel.members), args, limits.HISTORY_PER_PAGE, limits.RESULTS_PER_PAGE)
    return {"members": page, **more}


def user_info(workspace: Workspace, args: Arguments) -> Json:
    """Answer users.info."""
    user = workspace.users.get(args.text("user"))
    if user is None:
        raise SlackError("user_not_found")
    return {"user": user_json(workspace, user)}


def user_list(workspace: Workspace, args: Arguments) -> Json:
    """Answer users.list."""
    page, more = _page(list(workspace.users), args, limits.RESULTS_PER_PAGE, limits.RESULTS_PER_PAGE)
    return {"members": [user_json(workspace, workspace.users[user]) for user in page], **more}


def usergroup_list(_workspace: Workspace, _args: Arguments) -> Json:
    """Answer usergroups.list: one group, the operators."""
    group = {"id": world.OPERATORS_ID, "team_id": world.TEAM_ID, "handle": "operators", "name": "Operators"}
    return {"usergroups": [group]}


def usergroup_users(workspace: Workspace, args: Arguments) -> Json:
    """Answer usergroups.users.list: the members of that group are those who are called so."""
    if args.text("usergroup") != world.OPERATORS_ID:
        raise SlackError("no_such_subteam")
    return {"users": [user.id for user in workspace.users.values() if user.title == "operator" and not user.deleted]}


def team_info(_workspace: Workspace, _args: Arguments) -> Json:
    """Answer team.info."""
    return {"team": {"id": world.TEAM_ID, "name": world.TEAM_NAME, "domain": world.TEAM_DOMAIN}}


def file_info(workspace: Workspace, args: Arguments) -> Json:
    """Answer files.info for a file somebody shared."""
    file = workspace.files.get(args.text("file"))
    if file is None:
        raise SlackError("file_not_found")
    if file.get("mode") == "tombstone":
        raise SlackError("file_deleted")
    return {"file": file}


def reactions(workspace: Workspace, args: Arguments) -> Json:
    """Answer reactions.get."""
    channel = _readable_channel(workspace, args)
    message = workspace.find(channel.id, args.text("timestamp"))
    if message is None:
        raise SlackError("message_not_found")
    return {"type": "message", "channel": channel.id, "message": message_json(workspace, message)}


def _readable_channel(workspace: Workspace, args: Arguments) -> Channel:
    channel = known_channel(workspace, args.text("channel"))
    if world.BOT_USER_ID not in channel.members:
        raise SlackError("not_in_channel")
    return channel


def _read(workspace: Workspace, message: SimMessage, args: Arguments) -> Json:
    described = message_json(workspace, message)
    if message.metadata and not args.flag("include_all_metadata"):
        described["metadata"] = {"event_type": message.metadata["event_type"]}
    return described


def _in_range(timestamps: Iterable[str], args: Arguments) -> list[str]:
    oldest = _microseconds(args.text("oldest") or "0", "invalid_ts_oldest")
    latest = _microseconds(args.text("latest") or "9999999999", "invalid_ts_latest")
    if not args.flag("inclusive"):
        oldest, latest = oldest + 1, latest - 1
    return [ts for ts in timestamps if oldest <= _microseconds(ts, "internal_error") <= latest]


def _microseconds(ts: str, error: str) -> int:
    # Timestamps are compared as whole microseconds: as floats, neighbours would be equal.
    seconds, _, fraction = ts.partition(".")
    try:
        return int(seconds) * 1_000_000 + int(fraction.ljust(6, "0")[:6])
    except ValueError as cause:
        raise SlackError(error) from cause


def _page(found: list[str], args: Arguments, default: int, most: int) -> tuple[list[str], Json]:
    limit = args.number("limit", default)
    if limit < 1:
        raise SlackError("invalid_limit")
    start = _position(args.text("cursor"))
    stop = start + min(limit, most)
    more = stop < len(found)
    cursor = base64.b64encode(f"next:{stop}".encode()).decode() if more else ""
    return found[start:stop], {"has_more": more, "response_metadata": {"next_cursor": cursor}}


def _position(cursor: str) -> int:
    if not cursor:
        return 0
    try:
        return int(base64.b64decode(cursor, validate=True).decode().removeprefix("next:"))
    except ValueError as error:
        raise SlackError("invalid_cursor") from error


METHODS: Final[dict[str, Method]] = {
    "conversations.history": history,
    "conversations.info": conversation_info,
    "conversations.list": conversation_list,
    "conversations.members": conversation_members,
    "conversations.open": conversation_open,
    "conversations.replies": replies,
    "files.info": file_info,
    "reactions.get": reactions,
    "team.info": team_info,
    "usergroups.list": usergroup_list,
    "usergroups.users.list": usergroup_users,
    "users.info": user_info,
    "users.list": user_list,
}
