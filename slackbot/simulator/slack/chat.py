"""The Web API methods that write: chat.*, reactions.* and the status line."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from slackbot.simulator.slack import limits, world
from slackbot.simulator.slack.errors import SlackError
from slackbot.simulator.slack.model import Channel, Json, Kind, SimMessage
from slackbot.simulator.slack.payloads import message_json
from slackbot.simulator.slack.validation import check_blocks, check_metadata

if TYPE_CHECKING:
    from slackbot.simulator.slack.arguments import Arguments
    from slackbot.simulator.slack.workspace import Workspace


class Method(Protocol):
    """One Web API method: it answers with the response's fields, or raises `SlackError`."""

    def __call__(self, workspace: Workspace, args: Arguments, /) -> Json:
        """Answer one call."""


@dataclass(slots=True)
class _Content:
    text: str = ""
    blocks: tuple[Json, ...] = ()
    attachments: tuple[Json, ...] = ()
    warnings: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.text or self.blocks or self.attachments)


def post_message(workspace: Workspace, args: Arguments) -> Json:
    """Answer chat.postMessage."""
    channel = writable_channel(workspace, args.text("channel"))
    content = _content(args)
    thread_ts = reply_thread(workspace, channel, args.text("thread_ts"))
    metadata = _metadata(args)
    if len(content.text) > limits.POST_TEXT_CHARACTERS:
        content.text = content.text[: limits.POST_TEXT_CHARACTERS]
        content.warnings.append("message_truncated")
    broadcast = args.flag("reply_broadcast")
    message = workspace.post(
        SimMessage(
            channel=channel.id,
            ts=workspace.next_ts(),
            user=world.BOT_USER_ID,
            bot_id=world.BOT_ID,
            app_id=world.APP_ID,
            username=args.text("username") or None,
            icon_url=args.text("icon_url") or None,
            text=content.text,
            blocks=content.blocks,
            attachments=content.attachments,
            thread_ts=thread_ts,
            metadata=metadata,
            subtype="thread_broadcast" if broadcast and thread_ts else None,
        ),
        broadcast=broadcast,
    )
    return _warned(
        {"channel": channel.id, "ts": message.ts, "message": message_json(workspace, message)}, content.warnings
    )


def update(workspace: Workspace, args: Arguments) -> Json:
    """Answer chat.update."""
    channel = known_channel(workspace, args.text("channel"))
    message = _own_message(workspace, channel, args.text("ts"), "cant_update_message")
    if channel.is_archived:
        raise SlackError("is_archived")
    if len(args.text("text")) > limits.UPDATE_TEXT_CHARACTERS:
        raise SlackError("msg_too_long")
    content = _content(args)
    if _has_rich_text(message.blocks) and content.blocks and not _has_rich_text(content.blocks):
        raise SlackError("block_mismatch")
    metadata = (_metadata(args) if args.has("metadata") else message.metadata) or None
    # Slack shows "(edited)" for an edit made with text alone, and never for one made with blocks.
    edited = message.edited if content.blocks else {"user": world.BOT_USER_ID, "ts": workspace.next_ts()}
    changed = workspace.edit(
        message,
        actor=world.BOT_USER_ID,
        text=content.text,
        blocks=content.blocks,
        attachments=content.attachments,
        metadata=metadata,
        edited=edited,
    )
    response = {"channel": channel.id, "ts": changed.ts, "text": changed.text}
    return _warned(response | {"message": message_json(workspace, changed)}, content.warnings)


def delete(workspace: Workspace, args: Arguments) -> Json:
    """Answer chat.delete."""
    channel = known_channel(workspace, args.text("channel"))
    message = _own_message(workspace, channel, args.text("ts"), "cant_delete_message")
    workspace.delete(message)
    return {"channel": channel.id, "ts": message.ts}


def post_ephemeral(workspace: Workspace, args: Arguments) -> Json:
    """Answer chat.postEphemeral."""
    channel = writable_channel(workspace, args.text("channel"))
    reader = args.text("user")
    if reader not in workspace.users:
        raise SlackError("user_not_found")
    if reader not in channel.members:
        raise SlackError("user_not_in_channel")
    content = _content(args)
    message = workspace.whisper(
        SimMessage(
            channel=channel.id,
            ts=workspace.next_ts(),
            user=world.BOT_USER_ID,
            bot_id=world.BOT_ID,
            app_id=world.APP_ID,
            text=content.text,
            blocks=content.blocks,
            attachments=content.attachments,
            thread_ts=reply_thread(workspace, channel, args.text("thread_ts")),
            ephemeral_to=reader,
        )
    )
    return {"message_ts": message.ts}


def get_permalink(workspace: Workspace, args: Arguments) -> Json:
    """Answer chat.getPermalink."""
    channel = known_channel(workspace, args.text("channel"))
    message = workspace.find(channel.id, args.text("message_ts"))
    if message is None:
        raise SlackError("message_not_found")
    # Slack's own would lead to https://<team>.slack.com; this one opens the place in the page.
    link = f"{workspace.base_url}archives/{channel.id}/p{message.ts.replace('.', '')}"
    if message.thread_ts is not None:
        link += f"?thread_ts={message.thread_ts}&cid={channel.id}"
    return {"channel": channel.id, "permalink": link}


def set_status(workspace: Workspace, args: Arguments) -> Json:
    """Answer assistant.threads.setStatus."""
    channel = writable_channel(workspace, args.text("channel_id"))
    thread_ts = args.text("thread_ts")
    if workspace.find(channel.id, thread_ts) is None and not workspace.is_thread(channel.id, thread_ts):
        raise SlackError("invalid_thread_ts")
    if not args.has("status"):
        raise SlackError("invalid_arguments")
    loading = args.items("loading_messages", "invalid_arguments")
    if len(loading) > limits.LOADING_MESSAGES:
        raise SlackError("invalid_arguments")
    workspace.set_status(channel.id, thread_ts, args.text("status"), tuple(map(str, loading)))
    return {}


def add_reaction(workspace: Workspace, args: Arguments) -> Json:
    """Answer reactions.add."""
    message, name = _reaction(workspace, args)
    if world.BOT_USER_ID in message.reactions.get(name, ()):
        raise SlackError("already_reacted")
    workspace.react(message, world.BOT_USER_ID, name, added=True)
    return {}


def remove_reaction(workspace: Workspace, args: Arguments) -> Json:
    """Answer reactions.remove."""
    message, name = _reaction(workspace, args)
    if world.BOT_USER_ID not in message.reactions.get(name, ()):
        raise SlackError("no_reaction")
    workspace.react(message, world.BOT_USER_ID, name, added=False)
    return {}


def known_channel(workspace: Workspace, channel_id: str) -> Channel:
    """Find a channel the bot can see, by its id; a person's id stands for the DM with that person."""
    channel = workspace.channels.get(channel_id) or workspace.direct_channel(channel_id, world.BOT_USER_ID)
    if channel is None or (channel.kind is not Kind.CHANNEL and world.BOT_USER_ID not in channel.members):
        raise SlackError("channel_not_found")
    return channel


def writable_channel(workspace: Workspace, channel_id: str) -> Channel:
    """Find a channel the bot may post to."""
    channel = known_channel(workspace, channel_id)
    if channel.is_archived:
        raise SlackError("is_archived")
    if world.BOT_USER_ID not in channel.members:
        raise SlackError("not_in_channel")
    return channel


def _content(args: Arguments) -> _Content:
    blocks = args.items("blocks", "invalid_blocks_format")
    content = _Content(
        text=args.text("text"),
        blocks=tuple(blocks),
        attachments=tuple(args.items("attachments", "invalid_attachments")),
    )
    if args.has("markdown_text"):
        if args.has("text") or blocks:
            raise SlackError("markdown_text_conflict")
        content.text = args.text("markdown_text")
        if len(content.text) > limits.MARKDOWN_TEXT_CHARACTERS:
            raise SlackError("msg_too_long")
        content.blocks = ({"type": "markdown", "text": content.text},) if content.text else ()
    if not content:
        raise SlackError("no_text")
    check_blocks(list(content.blocks))
    return content


def _metadata(args: Arguments) -> Json | None:
    metadata = args.mapping("metadata", "invalid_metadata_format")
    if metadata:
        check_metadata(metadata)
    return metadata or None


def reply_thread(workspace: Workspace, channel: Channel, thread_ts: str) -> str | None:
    """Find the thread that is replied to; None for a message outside threads."""
    if not thread_ts:
        return None
    message = channel.messages.get(thread_ts)
    if message is not None and message.thread_ts is not None:
        # A real workspace makes a thread nobody sees out of this; refusing shows the mistake.
        raise SlackError("cannot_reply_to_message")
    if not workspace.is_thread(channel.id, thread_ts):
        raise SlackError("thread_not_found")
    return thread_ts


def _own_message(workspace: Workspace, channel: Channel, ts: str, error: str) -> SimMessage:
    message = workspace.find(channel.id, ts)
    if message is None:
        raise SlackError("message_not_found")
    if message.bot_id != world.BOT_ID:
        raise SlackError(error)
    return message


def _reaction(workspace: Workspace, args: Arguments) -> tuple[SimMessage, str]:
    channel = known_channel(workspace, args.text("channel"))
    message = workspace.find(channel.id, args.text("timestamp"))
    if message is None:
        raise SlackError("message_not_found")
    name = args.text("name").strip(":")
    if not name:
        raise SlackError("invalid_name")
    return message, name


def _has_rich_text(blocks: tuple[Json, ...]) -> bool:
    return any(block["type"] == "rich_text" for block in blocks)


def _warned(response: Json, warnings: list[str]) -> Json:
    if not warnings:
        return response
    return response | {"warning": ",".join(warnings), "response_metadata": {"warnings": warnings}}


METHODS: Final[dict[str, Method]] = {
    "assistant.threads.setStatus": set_status,
    "chat.delete": delete,
    "chat.getPermalink": get_permalink,
    "chat.postEphemeral": post_ephemeral,
    "chat.postMessage": post_message,
    "chat.update": update,
    "reactions.add": add_reaction,
    "reactions.remove": remove_reaction,
}
