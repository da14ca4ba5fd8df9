"""Slack's payloads as our values: pure, and never surprised."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias

from slackbot.domain import (
    Arrived,
    Attachment,
    Button,
    ChannelKind,
    HandoverPress,
    InboundMessage,
    MessageDeleted,
    MessageEdited,
    Press,
    SessionStopped,
    ThreadPress,
    Unsupported,
)
from slackbot.text.file_names import file_name

ACTIONS: Final = {
    Button.RETRY: "retry_turn",
    Button.STOP: "stop_turn",
    Button.GOOD: "rate_turn",
    Button.BAD: "rate_turn",
    Button.HUMAN: "ask_human",
    Button.CLAIM: "claim_handover",
    Button.HAND_BACK: "hand_back",
    Button.RESOLVE: "resolve_handover",
    Button.CALL_OFF: "call_off",
    Button.TAKE_OVER: "take_over",
    Button.JUST_SAY: "just_say",
}
"""``action_id`` of each button. Slack's feedback buttons have one for both."""
RATINGS: Final = (Button.GOOD, Button.BAD)
ON_HANDOVERS: Final = (Button.CLAIM, Button.HAND_BACK, Button.RESOLVE, Button.CALL_OFF)
ON_THREADS: Final = (Button.TAKE_OVER, Button.JUST_SAY)
SHORTCUTS: Final = {"take_over": Button.TAKE_OVER, "ask_human": Button.HUMAN}
"""What the app puts into the menu of every message, by ``callback_id``, as its manifest says."""

Parsed: TypeAlias = Arrived | Unsupported

_SPEECH: Final = ("file_share", "thread_broadcast", "me_message", "bot_message")
"""Subtypes that are somebody saying something; all others tell of changes to messages and channels.
https://docs.slack.dev/reference/events/message"""
_KNOWN: Final = {
    "message_replied": Unsupported("message_replied: the reply itself arrives as a message", routine=True),
    "app_rate_limited": Unsupported("app_rate_limited: Slack held events of this minute back"),
}
_UNCHANGED: Final = Unsupported("message_changed: a bot's message, or no word and no file is different", routine=True)
_ID: Final = re.compile(r"[!-~]{1,64}")
_TS: Final = re.compile(r"[0-9]{1,16}\.[0-9]{1,9}")
_NUMBER: Final = re.compile(r"[0-9]{1,18}$")
_ABOUT: Final = re.compile(rf"(?P<root>(?:{_TS.pattern})?)/(?P<about>{_TS.pattern})")
_SURROGATES: Final = re.compile("[\ud800-\udfff]")


def parse(body: Mapping[str, Any]) -> Parsed:
    """One delivered payload as a value. Whatever is new, incomplete or malformed becomes ``Unsupported``.

    The same bodies come over HTTP and over Socket Mode (there as the envelope's ``payload``).
    """
    match body.get("type"):
        case "event_callback":
            return _event(mapping(body.get("event")), body)
        case "block_actions":
            return _press(body)
        case "message_action":
            return _shortcut(body)
        case other:
            return _unused("payload", other)


def button_value(button: Button, number: int) -> str:
    """``value`` of a button: which turn or handover it is about, and of two with one action which one it is."""
    return f"{button}:{number}" if button in RATINGS else str(number)


def thread_value(root_ts: str, about_ts: str) -> str:
    """``value`` of a button that acts on a thread: a message that only one person sees does not say where it is."""
    return f"{root_ts}/{about_ts}"


def trace(body: Mapping[str, Any]) -> dict[str, str]:
    """Ids of a payload for a log line: no text, nothing that is not shaped like an id."""
    event = mapping(body.get("event"))
    ids = {
        "event_id": _id(body.get("event_id")),
        "type": _id(event.get("type")) or _id(body.get("type")),
        "subtype": _id(event.get("subtype")),
        "team": _team(body) or _id(mapping(body.get("team")).get("id")),
        "channel": _id(event.get("channel")) or _id(mapping(body.get("channel")).get("id")),
        "ts": _ts(event.get("ts"))
        or _ts(mapping(body.get("container")).get("message_ts"))
        or _ts(body.get("message_ts")),
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
    known = [mapping(file) for file in files]
    return tuple(Attachment(_id(file.get("id")), _file_name(file)) for file in known if _id(file.get("id")))


def is_speech(message: Mapping[str, Any]) -> bool:
    """Whether a message, from an event or from history, is somebody saying something."""
    subtype = message.get("subtype")
    return (subtype is None or subtype in _SPEECH) and not message.get("hidden")


def _event(event: Mapping[str, Any], body: Mapping[str, Any]) -> Parsed:
    match event:
        case {"type": "message", "subtype": "message_changed"}:
            return _changed(event, body)
        case {"type": "message", "subtype": "message_deleted"}:
            return _deleted(event, body, event.get("deleted_ts"))
        case {"type": "message" | "app_mention"}:
            return _message(event, body)
        case {"type": "agent_session_stopped"}:
            return _session_stopped(event, body)
        case _:
            return _unused("event", event.get("type"))


def _message(event: Mapping[str, Any], body: Mapping[str, Any]) -> Parsed:
    team_id, channel_id, ts = _team(body), _id(event.get("channel")), _ts(event.get("ts"))
    user_id, bot_id = _id(event.get("user")), _id(event.get("bot_id"))
    kind = _kind(event.get("channel_type"), channel_id)
    thread_ts, text = event.get("thread_ts"), event.get("text") or ""
    if not is_speech(event):
        return _unused("message subtype", event.get("subtype") or "hidden")
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
        app_id=_id(event.get("app_id")) or _id(mapping(event.get("bot_profile")).get("app_id")) or None,
        author_team_id=_author_team(event, body, team_id),
        event_id=_id(body.get("event_id")),
    )


def _changed(event: Mapping[str, Any], body: Mapping[str, Any]) -> Parsed:
    """Tell an edit from all else that changes a message: link previews, its thread's bookkeeping, our own writing.

    https://docs.slack.dev/reference/events/message/message_changed
    """
    message, before = mapping(event.get("message")), mapping(event.get("previous_message"))
    if message.get("subtype") == "tombstone":  # what remains of a deleted message that has replies
        return _deleted(event, body, message.get("ts"))
    if message.get("bot_id") or not message.get("edited") or (before and _words(message) == _words(before)):
        return _UNCHANGED
    team_id, channel_id, ts = _team(body), _id(event.get("channel")), _ts(message.get("ts"))
    text, files = _words(message)
    if not (team_id and channel_id and ts and isinstance(text, str)):
        return Unsupported("message_changed without team, channel, ts or text")
    return MessageEdited(team_id, channel_id, ts, clean(text), files)


def _deleted(event: Mapping[str, Any], body: Mapping[str, Any], ts: object) -> Parsed:
    gone = MessageDeleted(_team(body), _id(event.get("channel")), _ts(ts))
    complete = gone.team_id and gone.channel_id and gone.ts
    return gone if complete else Unsupported("deleted message without team, channel or ts")


def _session_stopped(event: Mapping[str, Any], body: Mapping[str, Any]) -> Parsed:
    """Slack's own Stop was pressed. https://docs.slack.dev/ai/agent-sessions."""
    team_id, channel_id = _team(body), _id(event.get("channel"))
    thread_ts, user_id = _ts(event.get("thread_ts")), _id(event.get("user"))
    if not (team_id and channel_id and thread_ts and user_id):
        return Unsupported("agent_session_stopped without team, channel, thread or user")
    return SessionStopped(team_id, channel_id, thread_ts, user_id)


def _press(body: Mapping[str, Any]) -> Parsed:
    """https://docs.slack.dev/reference/interaction-payloads/block_actions-payload."""
    actions = body.get("actions")
    action = mapping(actions[0]) if isinstance(actions, list) and actions else {}
    action_id, value = action.get("action_id"), action.get("value")
    meant = [button for button, name in ACTIONS.items() if name == action_id]
    if not meant:
        return _unused("button", action_id)
    container, message = mapping(body.get("container")), mapping(body.get("message"))
    team_id, channel_id, user_id = _actor(body)
    message_ts = _ts(container.get("message_ts")) or _ts(message.get("ts"))
    if not (team_id and channel_id and message_ts and user_id):
        return Unsupported("button without team, channel, message or user")
    if not isinstance(value, str):
        return Unsupported(f"button {action_id} without a value")
    if meant[0] in ON_THREADS and (about := _ABOUT.fullmatch(value)):
        return ThreadPress(meant[0], team_id, channel_id, about["about"], about["root"] or None, user_id)
    digits = _NUMBER.search(value)
    number = int(digits[0]) if digits else 0
    button = next((it for it in meant if it not in ON_THREADS and button_value(it, number) == value), None)
    if button is None:
        return Unsupported(f"button {action_id} with a value that is not ours")
    thread_ts = _ts(container.get("thread_ts")) or _ts(message.get("thread_ts")) or None
    if button in ON_HANDOVERS:
        return HandoverPress(button, team_id, channel_id, message_ts, thread_ts, user_id, number)
    return Press(button, team_id, channel_id, message_ts, thread_ts, user_id, number)


def _shortcut(body: Mapping[str, Any]) -> Parsed:
    """https://docs.slack.dev/reference/interaction-payloads/shortcuts-interaction-payload."""
    button = SHORTCUTS.get(_id(body.get("callback_id")))
    if button is None:
        return _unused("shortcut", body.get("callback_id"))
    message = mapping(body.get("message"))
    team_id, channel_id, user_id = _actor(body)
    message_ts = _ts(message.get("ts")) or _ts(body.get("message_ts"))
    if not (team_id and channel_id and message_ts and user_id):
        return Unsupported("shortcut without team, channel, message or user")
    return ThreadPress(button, team_id, channel_id, message_ts, _ts(message.get("thread_ts")) or None, user_id)


def _actor(body: Mapping[str, Any]) -> tuple[str, str, str]:
    """Team, channel and user of something that a person did to a message."""
    channel_id = _id(mapping(body.get("channel")).get("id")) or _id(mapping(body.get("container")).get("channel_id"))
    return _id(mapping(body.get("team")).get("id")), channel_id, _id(mapping(body.get("user")).get("id"))


def _team(body: Mapping[str, Any]) -> str:
    """Find the installed team an event is for. In a shared channel ``team_id`` may name the other side's.

    https://docs.slack.dev/apis/events-api#authorizations
    """
    authorizations = body.get("authorizations")
    first = mapping(authorizations[0]) if isinstance(authorizations, list) and authorizations else {}
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
    """Its name as the agent gets it: folders and what cannot be seen left out."""
    name, title, kind = (it if isinstance(it, str) else "" for it in map(file.get, ("name", "title", "mimetype")))
    return file_name(name, title, kind)


def _unused(what: str, name: object) -> Unsupported:
    known = _id(name)
    return _KNOWN.get(known) or Unsupported(f"{what} {known or 'without a name'}: not used")


def _words(message: Mapping[str, Any]) -> tuple[object, tuple[Attachment, ...]]:
    return message.get("text") or "", attachments(message)


def mapping(value: object) -> Mapping[str, Any]:
    """The value if it is a JSON object, else an empty one."""
    return value if isinstance(value, Mapping) else {}


def _id(value: object) -> str:
    return value if isinstance(value, str) and _ID.fullmatch(value) else ""


def _minute(value: object) -> str:
    if not (isinstance(value, int) and 0 < value < 1 << 36):
        return ""
    return f"{datetime.fromtimestamp(value, UTC):%Y-%m-%dT%H:%MZ}"


def _ts(value: object) -> str:
    return value if isinstance(value, str) and _TS.fullmatch(value) else ""
