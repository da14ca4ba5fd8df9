"""Slack's payloads as our values: pure, and never surprised."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias

from slackbot.domain import Attachment, ChannelKind, InboundMessage, RetryPressed, Unsupported

RETRY_ACTION: Final = "retry_turn"
"""``action_id`` of the Retry button; its ``value`` is the turn's id."""

Parsed: TypeAlias = InboundMessage | RetryPressed | Unsupported

_SPEECH: Final = ("file_share", "thread_broadcast", "me_message", "bot_message")
"""Subtypes that are somebody saying something; all others tell of changes to messages and channels.
https://docs.slack.dev/reference/events/message"""
_REASONS: Final = {
    "message_changed": "message_changed: edits are not followed yet",
    "message_deleted": "message_deleted: deletions are not followed yet",
    "message_replied": "message_replied: the reply itself arrives as a message",
    "app_rate_limited": "app_rate_limited: Slack held events of this minute back",
}
_ID: Final = re.compile(r"[!-~]{1,64}")
_TS: Final = re.compile(r"[0-9]{1,16}\.[0-9]{1,9}")
_TURN: Final = re.compile(r"[0-9]{1,18}")
_SURROGATES: Final = re.compile("[\ud800-\udfff]")


def parse(body: Mapping[str, Any]) -> Parsed:
    """One delivered payload as a value. Whatever is new, incomplete or malformed becomes ``Unsupported``.

    The same bodies come over HTTP and over Socket Mode (there as the envelope's ``payload``).
    """
    match body.get("type"):
        case "event_callback":
            event = _mapping(body.get("event"))
            match event.get("type"):
                case "message" | "app_mention":
                    return _message(event, body)
                case other:
                    return Unsupported(_named("event", other))
        case "block_actions":
            return _button(body)
        case other:
            return Unsupported(_named("payload", other))


def trace(body: Mapping[str, Any]) -> dict[str, str]:
    """Ids of a payload for a log line: no text, nothing that is not shaped like an id."""
    event = _mapping(body.get("event"))
    ids = {
        "event_id": _id(body.get("event_id")),
        "type": _id(event.get("type")) or _id(body.get("type")),
        "subtype": _id(event.get("subtype")),
        "team": _team(body) or _id(_mapping(body.get("team")).get("id")),
        "channel": _id(event.get("channel")) or _id(_mapping(body.get("channel")).get("id")),
        "ts": _ts(event.get("ts")) or _ts(_mapping(body.get("container")).get("message_ts")),
        "minute": _minute(body.get("minute_rate_limited")),
    }
    return {name: value for name, value in ids.items() if value}


def clean(text: str) -> str:
    """Text that every database and every encoder can hold: NUL is shown as its symbol, half characters as U+FFFD."""
    return _SURROGATES.sub("\ufffd", text.replace("\0", "\u2400"))


def attachments(event: Mapping[str, Any]) -> tuple[Attachment, ...]:
    """Files of a message, in order; entries without an id are left out."""
    files = event.get("files")
    if not isinstance(files, list):
        return ()
    known = [_mapping(file) for file in files]
    return tuple(Attachment(_id(file.get("id")), _file_name(file)) for file in known if _id(file.get("id")))


def is_speech(message: Mapping[str, Any]) -> bool:
    """Whether a message, from an event or from history, is somebody saying something."""
    subtype = message.get("subtype")
    return (subtype is None or subtype in _SPEECH) and not message.get("hidden")


def _message(event: Mapping[str, Any], body: Mapping[str, Any]) -> Parsed:
    team_id, channel_id, ts = _team(body), _id(event.get("channel")), _ts(event.get("ts"))
    user_id, bot_id = _id(event.get("user")), _id(event.get("bot_id"))
    kind = _kind(event.get("channel_type"), channel_id)
    thread_ts, text = event.get("thread_ts"), event.get("text") or ""
    if not is_speech(event):
        return Unsupported(_named("message subtype", event.get("subtype") or "hidden"))
    if not (team_id and channel_id and ts):
        return Unsupported("message without team, channel or ts")
    if not (user_id or bot_id):
        return Unsupported("message without an author")
    if kind is None or not isinstance(text, str) or not (thread_ts is None or _ts(thread_ts)):
        return Unsupported("message with a malformed channel_type, text or thread_ts")
    return InboundMessage(
        team_id=team_id,
        channel_id=channel_id,
        channel_kind=kind,
        ts=ts,
        thread_ts=thread_ts,
        user_id=user_id,
        text=clean(text),
        attachments=attachments(event),
        bot_id=bot_id or None,
        app_id=_id(event.get("app_id")) or _id(_mapping(event.get("bot_profile")).get("app_id")) or None,
        author_team_id=_author_team(event, body, team_id),
        event_id=_id(body.get("event_id")),
    )


def _button(body: Mapping[str, Any]) -> Parsed:
    actions = body.get("actions")
    pressed = [_mapping(action) for action in actions] if isinstance(actions, list) else []
    retry = next((action for action in pressed if action.get("action_id") == RETRY_ACTION), None)
    if retry is None:
        return Unsupported(_named("button", pressed[0].get("action_id") if pressed else None))
    container = _mapping(body.get("container"))
    message = _mapping(body.get("message"))
    team_id = _id(_mapping(body.get("team")).get("id"))
    channel_id = _id(_mapping(body.get("channel")).get("id")) or _id(container.get("channel_id"))
    message_ts = _ts(container.get("message_ts")) or _ts(message.get("ts"))
    user_id = _id(_mapping(body.get("user")).get("id"))
    if not (team_id and channel_id and message_ts and user_id):
        return Unsupported("button without team, channel, message or user")
    turn = retry.get("value")
    if not (isinstance(turn, str) and _TURN.fullmatch(turn)):
        return Unsupported("Retry button without a turn")
    thread_ts = _ts(container.get("thread_ts")) or _ts(message.get("thread_ts")) or None
    return RetryPressed(team_id, channel_id, message_ts, thread_ts, user_id, int(turn))


def _team(body: Mapping[str, Any]) -> str:
    """Find the installed team an event is for. In a shared channel ``team_id`` may name the other side's.

    https://docs.slack.dev/apis/events-api#authorizations
    """
    authorizations = body.get("authorizations")
    first = _mapping(authorizations[0]) if isinstance(authorizations, list) and authorizations else {}
    return _id(first.get("team_id")) or _id(body.get("context_team_id")) or _id(body.get("team_id"))


def _author_team(event: Mapping[str, Any], body: Mapping[str, Any], team_id: str) -> str | None:
    team = _id(event.get("user_team")) or _id(event.get("source_team")) or _id(event.get("team"))
    # In an Enterprise organization the author's "team" can be the organization itself: that is no stranger.
    if team and team in (_id(body.get("enterprise_id")), _id(body.get("context_enterprise_id"))):
        return team_id
    return team or None


def _kind(channel_type: object, channel_id: str) -> ChannelKind | None:
    match channel_type:
        case None:  # app_mention does not say
            return ChannelKind.DM if channel_id.startswith("D") else ChannelKind.CHANNEL
        case "app_home":  # its former name
            return ChannelKind.DM
        case str():
            return next((kind for kind in ChannelKind if kind.value == channel_type), None)
    return None


def _file_name(file: Mapping[str, Any]) -> str:
    name = next((value for value in (file.get("name"), file.get("title")) if isinstance(value, str) and value), "file")
    return clean(name)


def _named(what: str, name: object) -> str:
    if isinstance(name, str) and name in _REASONS:
        return _REASONS[name]
    return f"{what} {_id(name) or 'without a name'}: not used"


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _id(value: object) -> str:
    return value if isinstance(value, str) and _ID.fullmatch(value) else ""


def _minute(value: object) -> str:
    if not (isinstance(value, int) and 0 < value < 1 << 36):
        return ""
    return f"{datetime.fromtimestamp(value, UTC):%Y-%m-%dT%H:%MZ}"


def _ts(value: object) -> str:
    return value if isinstance(value, str) and _TS.fullmatch(value) else ""
