"""Presses and shortcuts: what they send to the bot, and what the bot may say through its response URL."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from aiohttp import web

from slackbot.simulator.slack import limits, world
from slackbot.simulator.slack.arguments import Arguments, read_arguments
from slackbot.simulator.slack.elements import find_action
from slackbot.simulator.slack.errors import SlackError
from slackbot.simulator.slack.model import Json, SimMessage
from slackbot.simulator.slack.payloads import interaction, message_json
from slackbot.simulator.slack.validation import check_blocks

if TYPE_CHECKING:
    from slackbot.simulator.slack.clock import Clock
    from slackbot.simulator.slack.triggers import Triggers
    from slackbot.simulator.slack.workspace import Workspace


@dataclass(slots=True)
class _ResponseUrl:
    message: SimMessage
    user: str
    made_at: float
    uses: int = 0


class Interactivity:
    """Makes payloads of things done to messages, and serves their response URLs (five uses within thirty minutes)."""

    def __init__(self, workspace: Workspace, clock: Clock, triggers: Triggers) -> None:
        self._workspace = workspace
        self._clock = clock
        self._triggers = triggers
        self._urls: dict[str, _ResponseUrl] = {}
        self._numbers = itertools.count(1)

    def press(self, user_id: str, channel_id: str, message_ts: str, action_id: str, value: str | None) -> Json:
        """Make the payload of a press, or of choosing the option with that value.

        Raises ValueError when that person sees no such thing.
        """
        message = self._seen(user_id, channel_id, message_ts)
        action = find_action(message.blocks, action_id, value)
        if action is None:
            raise ValueError(f"message {message_ts} in {channel_id} has no button {action_id!r} with value {value!r}")
        payload = self._payload(user_id, message, "block_actions") | {
            "container": {
                "type": "message",
                "message_ts": message.ts,
                "channel_id": message.channel,
                "is_ephemeral": message.ephemeral_to is not None,
                **({"thread_ts": message.thread_ts} if message.thread_ts else {}),
            },
            "state": {"values": {}},
            "actions": [{**action, "action_ts": self._workspace.next_ts()}],
        }
        if message.ephemeral_to is None:
            payload["message"] = message_json(self._workspace, message)
        return payload

    def shortcut(self, user_id: str, channel_id: str, message_ts: str, callback_id: str) -> Json:
        """Make the payload of a message shortcut; raises ValueError when that person sees no such message."""
        message = self._seen(user_id, channel_id, message_ts)
        return self._payload(user_id, message, "message_action") | {
            "callback_id": callback_id,
            "action_ts": self._workspace.next_ts(),
            "message_ts": message.ts,
            "message": message_json(self._workspace, message),
        }

    async def respond(self, request: web.Request) -> web.Response:
        """Answer a post to a response URL."""
        url = self._urls.get(request.match_info["token"])
        if url is None or self._clock.monotonic() - url.made_at > limits.RESPONSE_URL_SECONDS:
            return web.json_response({"ok": False, "error": "expired_url"}, status=404)
        if url.uses >= limits.RESPONSE_URL_USES:
            return web.json_response({"ok": False, "error": "used_url"}, status=404)
        url.uses += 1
        try:
            args = Arguments(await read_arguments(request))
            self._apply(url, args)
        except SlackError as refused:
            return web.json_response({"ok": False, "error": refused.code, **refused.details})
        return web.Response(text="ok")

    def _seen(self, user_id: str, channel_id: str, ts: str) -> SimMessage:
        whisper = self._workspace.whispers.get((channel_id, ts))
        if whisper is not None and whisper.ephemeral_to == user_id and not whisper.deleted:
            return whisper
        message = self._workspace.find(channel_id, ts)
        if message is None or user_id not in self._workspace.channels[channel_id].members:
            raise ValueError(f"{user_id} sees no message {ts} in {channel_id}")
        return message

    def _payload(self, user_id: str, message: SimMessage, kind: str) -> Json:
        channel = self._workspace.channels[message.channel]
        token = f"{world.TEAM_ID}-{next(self._numbers)}-{self._workspace.next_ts()}"
        self._urls[token] = _ResponseUrl(message, user_id, self._clock.monotonic())
        return interaction(self._workspace, user_id, kind, self._triggers.make(user_id)) | {
            "channel": {"id": channel.id, "name": "directmessage" if channel.kind == "im" else channel.name},
            "response_url": f"{self._workspace.base_url}actions/{token}",
        }

    def _apply(self, url: _ResponseUrl, args: Arguments) -> None:
        original = self._current(url.message)
        if args.flag("delete_original"):
            self._remove(original)
            return
        blocks = tuple(args.items("blocks", "invalid_blocks_format"))
        check_blocks(list(blocks))
        text = args.text("text")
        if not text and not blocks:
            raise SlackError("no_text")
        if args.flag("replace_original"):
            self._replace(original, text, blocks)
            return
        answer = SimMessage(
            channel=original.channel,
            ts=self._workspace.next_ts(),
            user=world.BOT_USER_ID,
            bot_id=world.BOT_ID,
            app_id=world.APP_ID,
            text=text,
            blocks=blocks,
            thread_ts=args.text("thread_ts") or None,
        )
        if args.text("response_type") == "in_channel":
            self._workspace.post(answer)
        else:
            self._workspace.whisper(replace(answer, ephemeral_to=url.user))

    def _current(self, message: SimMessage) -> SimMessage:
        if message.ephemeral_to is not None:
            return self._workspace.whispers[message.channel, message.ts]
        return self._workspace.channels[message.channel].messages[message.ts]

    def _remove(self, message: SimMessage) -> None:
        if message.deleted:
            raise SlackError("message_not_found")
        if message.ephemeral_to is not None:
            self._workspace.whisper(replace(message, deleted=True))
        else:
            self._workspace.delete(message)

    def _replace(self, message: SimMessage, text: str, blocks: tuple[Json, ...]) -> None:
        if message.deleted:
            raise SlackError("message_not_found")
        if message.ephemeral_to is not None:
            self._workspace.whisper(replace(message, text=text, blocks=blocks))
        else:
            self._workspace.edit(message, actor=world.BOT_USER_ID, text=text, blocks=blocks)
