"""The agent sessions of Slack: one state for each thread. https://docs.slack.dev/ai/agent-sessions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from slackbot.simulator.slack.chat import writable_channel
from slackbot.simulator.slack.errors import SlackError

if TYPE_CHECKING:
    from slackbot.simulator.slack.arguments import Arguments
    from slackbot.simulator.slack.chat import Method
    from slackbot.simulator.slack.model import Json
    from slackbot.simulator.slack.scopes import Grants
    from slackbot.simulator.slack.workspace import Workspace

_STATES: Final = ("active", "processing", "suspended", "closed")


class Sessions:
    """Remembers what the app says of its sessions; `states` is by channel and thread."""

    def __init__(self, grants: Grants) -> None:
        self.states: dict[tuple[str, str], str] = {}
        self._grants = grants

    def methods(self) -> dict[str, Method]:
        """List the Web API methods."""
        return {"agents.sessions.setStatus": self._set_status}

    def _set_status(self, workspace: Workspace, args: Arguments) -> Json:
        if not self._grants.has_sessions:
            raise SlackError("not_authorized")
        channel = writable_channel(workspace, args.text("channel_id"))
        thread_ts, state = args.text("thread_ts"), args.text("status")
        if state not in _STATES:
            raise SlackError("invalid_arguments")
        if not workspace.is_thread(channel.id, thread_ts):
            raise SlackError("invalid_thread_ts")
        self.states[channel.id, thread_ts] = state
        return {"status": state}
