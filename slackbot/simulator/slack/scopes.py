"""What the app was granted: the scopes of its bot token, and the events it is subscribed to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from slackbot.simulator.slack.errors import SlackError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from slackbot.simulator.slack.model import Json
    from slackbot.simulator.slack.workspace import Workspace

# What a conversation's kind is called in the names of scopes and of message events.
PLURALS: Final = {"channel": "channels", "group": "groups", "mpim": "mpim", "im": "im"}
_TYPES: Final = {"public_channel": "channels", "private_channel": "groups", "mpim": "mpim", "im": "im"}

# The bot scope of each method; `*` stands for the kind of the conversation it is about. Methods that are not here take
# any bot token. https://docs.slack.dev/reference/methods/<method>
METHOD_SCOPES: Final[dict[str, str]] = {
    "agents.sessions.setStatus": "chat:write",
    "assistant.threads.setStatus": "chat:write",
    "bots.info": "users:read",
    "chat.delete": "chat:write",
    "chat.postEphemeral": "chat:write",
    "chat.postMessage": "chat:write",
    "chat.update": "chat:write",
    "conversations.history": "*:history",
    "conversations.info": "*:read",
    "conversations.list": "*:read",
    "conversations.members": "*:read",
    "conversations.open": "im:write",
    "conversations.replies": "*:history",
    "files.completeUploadExternal": "files:write",
    "files.getUploadURLExternal": "files:write",
    "files.info": "files:read",
    "reactions.add": "reactions:write",
    "reactions.get": "reactions:read",
    "reactions.remove": "reactions:write",
    "team.info": "team:read",
    "usergroups.list": "usergroups:read",
    "usergroups.users.list": "usergroups:read",
    "users.info": "users:read",
    "users.list": "users:read",
}

# Speaking under another name takes a scope of its own; refusing shows the mistake.
CUSTOMIZE: Final = "chat:write.customize"
CUSTOMIZED: Final = ("username", "icon_url", "icon_emoji")
# What puts an app into the menu of messages. https://docs.slack.dev/interactivity/implementing-shortcuts
SHORTCUTS: Final = "commands"

# https://docs.slack.dev/reference/events/<event>
EVENT_SCOPES: Final[dict[str, str]] = {
    "app_mention": "app_mentions:read",
    "message.channels": "channels:history",
    "message.groups": "groups:history",
    "message.im": "im:history",
    "message.mpim": "mpim:history",
    "reaction_added": "reactions:read",
    "reaction_removed": "reactions:read",
}


def event_name(event: Json) -> str:
    """Name an event as subscriptions do: a message by the kind of conversation it stands in."""
    kind = PLURALS.get(str(event.get("channel_type")))
    return f"message.{kind}" if event.get("type") == "message" and kind else str(event.get("type"))


def accepted(method: str) -> list[str]:
    """List the scopes any of which may be enough for a method; none where every token is."""
    scope = METHOD_SCOPES.get(method, "")
    return [scope.replace("*", kind) for kind in PLURALS.values()] if "*" in scope else [scope] if scope else []


ALL_SCOPES: Final = frozenset({CUSTOMIZE, SHORTCUTS, *EVENT_SCOPES.values()}).union(*map(accepted, METHOD_SCOPES))


class Grants:
    """What an installation of the app may do: everything, unless a `manifest` or a set of `scopes` says less.

    A `manifest` (parsed) grants all the scopes it asks for and subscribes to its events; `scopes` are what was granted
    instead, as when somebody declines the optional ones.
    """

    def __init__(self, manifest: Mapping[str, Json] | None = None, scopes: Collection[str] | None = None) -> None:
        given = manifest or {}
        asked = given["oauth_config"]["scopes"]["bot"] if manifest else ALL_SCOPES
        self.scopes = frozenset(asked if scopes is None else scopes)
        self._strict = manifest is not None or scopes is not None
        settings, features = given.get("settings", {}), given.get("features", {})
        home = features.get("app_home", {})
        subscriptions = settings.get("event_subscriptions", {})
        self._events = frozenset(subscriptions.get("bot_events", ())) if manifest else None
        self.has_sessions = not manifest or "agent_view" in features
        entries = features.get("shortcuts", ()) if SHORTCUTS in self.scopes else ()
        self.shortcuts = {entry["callback_id"]: entry["name"] for entry in entries if entry["type"] == "message"}
        self.takes_buttons = not manifest or bool(settings.get("interactivity", {}).get("is_enabled"))
        self.takes_dms = not manifest or bool(
            home.get("messages_tab_enabled") and not home.get("messages_tab_read_only_enabled")
        )

    def delivers(self, event: Json) -> bool:
        """Tell whether the app gets an event: it must be subscribed, and hold the event's scope."""
        name = event_name(event)
        subscribed = self._events is None or name in self._events
        return subscribed and (not self._strict or EVENT_SCOPES.get(name) in {None, *self.scopes})

    def check(self, method: str, args: Json, workspace: Workspace) -> None:
        """Raise `SlackError` with what is needed and what is provided, where a call lacks its scope."""
        for enough in _needed(method, args, workspace) if self._strict else ():
            if self.scopes.isdisjoint(enough):
                raise SlackError("missing_scope", needed=",".join(enough), provided=",".join(sorted(self.scopes)))

    def headers(self, method: str) -> dict[str, str]:
        """Make the headers every answer carries."""
        return {
            "x-oauth-scopes": ",".join(sorted(self.scopes)),
            "x-accepted-oauth-scopes": ",".join(accepted(method)),
        }


def _needed(method: str, args: Json, workspace: Workspace) -> Iterator[list[str]]:
    """Each list is one need, which any of its scopes meets."""
    scope = METHOD_SCOPES.get(method, "")
    if method == "chat.postMessage" and any(args.get(name) for name in CUSTOMIZED):
        yield [CUSTOMIZE]
    if method == "conversations.list":
        types = str(args.get("types") or "public_channel").split(",")
        yield from ([f"{_TYPES[kind.strip()]}:read"] for kind in types if kind.strip() in _TYPES)
    elif "*" in scope and (channel := workspace.channels.get(str(args.get("channel")))):
        yield [scope.replace("*", PLURALS[channel.kind])]
    elif scope:
        yield accepted(method)
