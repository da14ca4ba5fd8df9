"""Files that are no plain uploads: what messages carry of them, and what files.info says."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from slackbot.simulator.slack.files import Files
    from slackbot.simulator.slack.model import Json
    from slackbot.simulator.slack.workspace import Workspace

_ADDRESSES: Final = ("url_private", "url_private_download")


class SpecialFiles:
    """Makes them. What each method answers goes into the `files` of a message.

    https://docs.slack.dev/reference/objects/file-object and https://docs.slack.dev/apis/slack-connect
    """

    def __init__(self, workspace: Workspace, files: Files) -> None:
        self._workspace = workspace
        self._files = files

    def snippet(self, user_id: str, text: str, name: str = "Untitled.txt", filetype: str = "text") -> Json:
        """Make a piece of text written in Slack itself."""
        made = self._files.add(user_id, name, text.encode(), "text/plain")
        preview = "\n".join(text.splitlines()[:5])
        lines = text.count("\n") + 1
        return made | {"mode": "snippet", "filetype": filetype, "editable": True, "preview": preview, "lines": lines}

    def voice_clip(self, user_id: str, content: bytes, transcript: str | None = None, **fields: object) -> Json:
        """Record a clip; Slack calls it a video. Without a `transcript` Slack is still listening to it."""
        heard: Json = {"status": "processing"}
        if transcript is not None:
            preview = {"content": transcript[:200], "has_more": len(transcript) > 200}
            heard = {"status": "complete", "locale": "en-US", "preview": preview}
        made = self._files.add(user_id, "audio_message.m4a", content, "video/mp4")
        clip: Json = {
            "subtype": "slack_audio",
            "media_display_type": "audio",
            "duration_ms": 1_500,
            "transcription": heard,
        }
        return self._known(made | clip | fields)

    def connect_stub(self, user_id: str, name: str, content: bytes, *, readable: bool = True) -> Json:
        """Share a file from another organization: the message says only its id, and files.info all or no more."""
        made = self._files.add(user_id, name, content)
        stub = {"id": made["id"], "created": 0, "timestamp": 0, "mode": "file_access", "user": ""}
        stub["file_access"] = "check_file_info"
        self._known(made if readable else stub)
        return stub

    def external(self, user_id: str, name: str, url: str) -> Json:
        """Share a file that lies elsewhere."""
        made = self._files.add(user_id, name, b"")
        elsewhere = {"mode": "external", "is_external": True, "external_type": "gdrive", "external_url": url}
        return self._known(made | elsewhere | {"url_private": url, "url_private_download": None, "size": 0})

    def tombstone(self, user_id: str) -> Json:
        """Leave what remains of a deleted file; files.info knows it no more."""
        return self._known({"id": self._files.new_id(), "mode": "tombstone", "user": user_id})

    def hidden(self, user_id: str) -> Json:
        """Leave what a free plan shows of an old file."""
        return self._known({"id": self._files.new_id(), "mode": "hidden_by_limit", "user": user_id})

    def canvas(self, user_id: str, title: str) -> Json:
        """Make a canvas, which only Slack can show."""
        made = self._files.add(user_id, title.replace(" ", "_"), b"", "application/vnd.slack-docs")
        return self._known(made | {"title": title, "mode": "quip", "filetype": "quip", "pretty_type": "Canvas"})

    def scanning(self, user_id: str, name: str, content: bytes, seconds: float) -> Json:
        """Upload a file that has no addresses for so long."""
        made = self._known(self._files.add(user_id, name, content))
        addresses = {key: made.pop(key) for key in _ADDRESSES}
        asyncio.get_running_loop().call_later(seconds, made.update, addresses)
        return dict(made)

    def changed(self, file: Json, **fields: object) -> Json:
        """Make Slack say something else of an uploaded file, such as no name, or a wrong type."""
        return self._known(file | fields)

    def _known(self, file: Json) -> Json:
        self._workspace.files[file["id"]] = file
        return file
