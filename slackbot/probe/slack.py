"""The open questions about Slack: asked in a thread of the probe's own, which is deleted afterwards.

Nobody is mentioned: where a mention is needed, it is that of a user group that does not exist. Nothing but the probe's
own messages is looked at.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from slackbot.errors import ChatError, ChatRateLimited, ChatUnavailable
from slackbot.probe.questions import SLACK
from slackbot.probe.report import Findings, Leftovers, shown, whole
from slackbot.slack.installations import REQUIRED_SCOPES
from slackbot.slack.web import WebApi
from slackbot.text.outbound import prepare

OPTIONAL_SCOPES: Final = (
    "channels:read", "chat:write.customize", "commands", "files:read", "files:write", "groups:read", "mpim:history",
    "reactions:write", "usergroups:read", "users:read",
)  # fmt: skip
"""As in manifest.yml."""

_ROOT: Final = "slackbot probe: a test of this bot's own, gone in a minute. There is nothing to do."
_GROUP: Final = "<!subteam^S00000000>"
_PROSE: Final = "A *test* of **markdown** with `code`."
_EDITS: Final = 12
_METADATA_BYTES: Final = (1_000, 3_000, 6_000, 12_000, 24_000)
_LONGEST_PAUSE: Final = 30.0


class SlackProbe:
    """Asks Slack. ``place`` is the channel or the person to write to; without one, only the token is looked at.

    ``pause`` is the seconds between two posts, ``total`` those for everything but the removal.
    """

    def __init__(
        self, api_url: str, token: str, place: str, leftovers: Leftovers, *, pause: float, total: float
    ) -> None:
        self.findings = Findings(SLACK)
        self.reached = False
        self._web = WebApi(api_url)
        self._token = token
        self._place = place
        self._leftovers = leftovers
        self._pause = pause
        self._total = total
        self._me = ""
        self._root = ""
        self._ts = ""

    async def run(self) -> None:
        """Ask everything. What could not be asked says why in its finding."""
        stages: tuple[tuple[Callable[[], Awaitable[None]], str], ...] = (
            (self._mentions, "markdown_block markdown_mentions neutralised_mentions"),
            (self._edits, "update_block update_markdown_text update_other_block"),
            (self._metadata, "metadata_limit"),
            (self._status, "status"),
            (self._sessions, "agent_sessions"),
            (self._burst, "update_burst"),
        )
        until = asyncio.get_running_loop().time() + self._total
        self.findings.saw("slack.native_streaming", "not used")
        try:
            for start in (self._identity, self._begin):
                if why := await self._tried(start, until):
                    self.findings.missed_all(why)
                    return
            for stage, questions in stages:
                why = await self._tried(stage, until)
                for question in questions.split():
                    self.findings.missed(f"slack.{question}", why or "the message was not found again", again=bool(why))
        finally:
            await self._leftovers.remove()
            await self._web.aclose()

    async def _tried(self, stage: Callable[[], Awaitable[None]], until: float) -> str:
        """Why a stage did not come to its end; empty when it did."""
        try:
            async with asyncio.timeout_at(until):
                await stage()
        except ChatError as error:
            self.reached = self.reached or bool(error.slack_error)
            return _why(error)
        except TimeoutError:
            return "not asked: the time was up"
        self.reached = True
        return ""

    # --- the stages -----------------------------------------------------------------------------------------------

    async def _identity(self) -> None:
        me = await self._web.call("auth.test", self._token)
        self._me = str(me.get("user_id") or "")
        granted = set(self._web.scopes.get(self._token, "").replace(" ", "").split(","))
        missing = sorted(REQUIRED_SCOPES - granted)
        declined = [scope for scope in OPTIONAL_SCOPES if scope not in granted]
        if not any(granted):
            self.findings.missed("slack.scopes", "Slack does not say")
            return
        lacking = f"missing: {', '.join(missing)}" if missing else "all"
        note = f"optional ones not granted: {', '.join(declined)}" if declined else ""
        self.findings.saw("slack.scopes", lacking, note)

    async def _begin(self) -> None:
        if not self._place:
            raise NoPlace
        self._root = await self._post({"text": _ROOT})

    async def _mentions(self) -> None:
        written = f"{_PROSE} {_GROUP}"
        self._ts = await self._post_markdown(written)
        harmless = await self._post_markdown(f"{_PROSE} {prepare(_GROUP)}")
        kept = await self._own()
        if message := kept.get(self._ts):
            self.findings.saw("slack.markdown_block", _kept(message, written))
            self.findings.saw("slack.markdown_mentions", "yes" if _mentions_group(message) else "no")
        if message := kept.get(harmless):
            self.findings.saw("slack.neutralised_mentions", "yes" if _mentions_group(message) else "no")

    async def _edits(self) -> None:
        block = {"blocks": [_markdown(f"{_PROSE} Edited.")], "text": "edited"}
        for question, content in (
            ("slack.update_block", block),
            ("slack.update_markdown_text", {"markdown_text": f"{_PROSE} Edited again."}),
        ):
            try:
                await self._update(content)
            except ChatError as error:
                self.findings.saw(question, _refusal(error))
            else:
                if message := (await self._own()).get(self._ts):
                    mark = "marked as edited" if message.get("edited") else "not marked as edited"
                    self.findings.saw(question, f"{_kept(message)}, {mark}")
        section = {"type": "section", "text": {"type": "plain_text", "text": "a section"}}
        try:
            await self._update(block)
            await self._update({"blocks": [section], "text": "a section"})
        except ChatError as error:
            self.findings.saw("slack.update_other_block", _refusal(error))
        else:
            self.findings.saw("slack.update_other_block", "yes")

    async def _metadata(self) -> None:
        taken = 0
        for size in _METADATA_BYTES:
            metadata = {"event_type": "slackbot_probe", "event_payload": {"filler": ""}}
            metadata["event_payload"] = {"filler": "x" * (size - len(json.dumps(metadata)))}
            try:
                await self._update({"text": "metadata", "metadata": metadata})
            except ChatError as error:
                if error.slack_error != "metadata_too_large":
                    raise
                self.findings.saw("slack.metadata_limit", f"{taken} to {size}")
                return
            taken = size
        self.findings.saw("slack.metadata_limit", f"more than {taken}")

    async def _burst(self) -> None:
        """Quick edits, few enough for the minute's allowance, and none after the first refusal."""
        taken = 0
        note = ""
        for number in range(_EDITS):
            try:
                await self._web.call("chat.update", self._token, self._edit({"text": f"edit {number}"}))
            except ChatRateLimited as error:
                note = f"then Slack asks for a pause of {error.retry_after:.0f} s"
                break
            taken += 1
        self.findings.saw("slack.update_burst", f"{taken} of {_EDITS}", note)

    async def _status(self) -> None:
        where = {"channel_id": self._place, "thread_ts": self._root}
        for status in ("is testing...", ""):
            try:
                await self._call("assistant.threads.setStatus", {**where, "status": status})
            except ChatError as error:
                self.findings.saw("slack.status", _refusal(error))
        self.findings.saw("slack.status", "yes")

    async def _sessions(self) -> None:
        where = {"channel_id": self._place, "thread_ts": self._root}
        for status in ("active", "closed"):
            try:
                await self._call("agents.sessions.setStatus", {**where, "status": status})
            except ChatError as error:
                self.findings.saw("slack.agent_sessions", _refusal(error))
                return
        self.findings.saw("slack.agent_sessions", "yes")

    # --- calls ----------------------------------------------------------------------------------------------------

    async def _call(self, method: str, arguments: Mapping[str, object]) -> Mapping[str, object]:
        """Call, and once again after the pause that Slack asks for."""
        try:
            return await self._web.call(method, self._token, arguments)
        except ChatRateLimited as error:
            if error.retry_after > _LONGEST_PAUSE:
                raise
            await asyncio.sleep(error.retry_after)
        return await self._web.call(method, self._token, arguments)

    async def _post_markdown(self, text: str) -> str:
        return await self._post({"text": "a test", "blocks": [_markdown(text)]})

    async def _post(self, content: Mapping[str, object]) -> str:
        """Post into the thread, or begin it; deleted in the end."""

        async def post() -> str:
            thread = {"thread_ts": self._root} if self._root else {}
            quiet = {"parse": "none", "link_names": False, "unfurl_links": False, "unfurl_media": False}
            answer = await self._call("chat.postMessage", {"channel": self._place, **content, **thread, **quiet})
            ts = str(answer["ts"])
            self._place = str(answer.get("channel") or self._place)  # a person's id becomes that of the DM
            self._leftovers.made(f"message {ts} in {self._place}", lambda: self._removed(ts))
            return ts

        ts = await whole(post())
        await asyncio.sleep(self._pause)
        return ts

    async def _removed(self, ts: str) -> str:
        try:
            await self._call("chat.delete", {"channel": self._place, "ts": ts})
        except ChatError as error:
            return "" if error.slack_error == "message_not_found" else _why(error)
        return ""

    async def _update(self, content: Mapping[str, object]) -> None:
        await self._call("chat.update", self._edit(content))

    def _edit(self, content: Mapping[str, object]) -> dict[str, object]:
        return {"channel": self._place, "ts": self._ts, **content}

    async def _own(self) -> dict[str, Mapping[str, object]]:
        """The probe's own messages as Slack has them now; what others may have written there is not looked at."""
        answer = await self._call("conversations.replies", {"channel": self._place, "ts": self._root, "limit": 20})
        messages = answer.get("messages")
        own: dict[str, Mapping[str, object]] = {}
        for message in messages if isinstance(messages, list) else ():
            if isinstance(message, dict) and message.get("user") == self._me:
                own[str(message.get("ts"))] = message
        return own


class NoPlace(ChatError):
    """No channel and no person was named."""

    def __init__(self) -> None:
        super().__init__("not asked: name a test channel with --channel, or a person with --dm")


def _markdown(text: str) -> dict[str, object]:
    return {"type": "markdown", "text": text}


def _kept(message: Mapping[str, object], written: str = "") -> str:
    """The types of a message's blocks, and whether its text is still the one written."""
    blocks = message.get("blocks")
    listed = [block for block in blocks if isinstance(block, dict)] if isinstance(blocks, list) else []
    kinds = list(dict.fromkeys(shown(block.get("type")) for block in listed))
    kept = "+".join(kinds) or "no block"
    if not written:
        return kept
    same = any(block.get("text") == written for block in listed)
    return f"{kept}, {'as written' if same else 'translated'}"


def _mentions_group(message: Mapping[str, object]) -> bool:
    """Whether what Slack keeps has a mention of a group in it, rather than its text."""
    return any(f'"type": "{kind}"' in json.dumps(message.get("blocks")) for kind in ("usergroup", "broadcast"))


def _refusal(error: ChatError) -> str:
    """Slack's own code for a refusal. Raises the error itself where there is none."""
    if not error.slack_error or isinstance(error, ChatRateLimited):
        raise error
    return shown(error.slack_error)


def _why(error: ChatError) -> str:
    if isinstance(error, NoPlace):
        return str(error)
    if isinstance(error, ChatUnavailable) and not error.slack_error:
        return "Slack cannot be reached"
    return f"Slack answered {shown(error.slack_error or 'something else')}"
