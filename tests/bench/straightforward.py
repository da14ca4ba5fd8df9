"""The bot one writes in an afternoon: Bolt listeners, ``noxus-sdk``, one edit a second; no budget, no store.

It is what ours is measured against, so it is made with care: a status while the agent thinks, the first text at once,
messages of a thread in order, edits beside the stream rather than in its way, the newest text after a 429, a final
edit that is repeated until Slack takes it, further messages for what does not fit. It takes the settings of
``slackbot run`` that it has a use for.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
from collections import defaultdict
from typing import Any

from noxus_sdk.client import Client
from noxus_sdk.resources.conversations import MessageRequest
from slack_bolt.adapter.socket_mode.async_handler import AsyncSocketModeHandler
from slack_bolt.async_app import AsyncApp
from slack_sdk.errors import SlackApiError
from slack_sdk.http_retry.builtin_async_handlers import AsyncRateLimitErrorRetryHandler
from slack_sdk.web.async_client import AsyncWebClient

EDIT_SECONDS = 1.0
MESSAGE_CHARACTERS = 11_000
FINAL_TRIES = 50
SORRY = "Sorry, something went wrong while I was answering."

log = logging.getLogger("straightforward")
token, api_url = os.environ["SLACK_BOT_TOKEN"], os.environ["SLACK_API_URL"]
patient = AsyncWebClient(
    token=token, base_url=api_url, retry_handlers=[AsyncRateLimitErrorRetryHandler(max_retry_count=10)]
)
"""Waits after a 429 and sends the same again: for what must arrive."""
impatient = AsyncWebClient(token=token, base_url=api_url, retry_handlers=[])
noxus = Client(os.environ["NOXUS_API_KEY"], os.environ["NOXUS_BACKEND_URL"], load_nodes=False, load_me=False)
agent_id = os.environ["NOXUS_AGENT_ID"]
app = AsyncApp(client=impatient)

conversations: dict[tuple[str, str], Any] = {}
turns: defaultdict[tuple[str, str], asyncio.Lock] = defaultdict(asyncio.Lock)


class Reply:
    """The messages of one answer in a thread."""

    def __init__(self, channel: str, thread_ts: str) -> None:
        self.text = ""
        self.changed = asyncio.Event()
        self.over = asyncio.Event()
        self._channel = channel
        self._thread_ts = thread_ts
        self._messages: list[str] = []
        self._shown: list[str] = []

    def add(self, delta: str) -> None:
        """The agent said something."""
        self.text += delta
        self.changed.set()

    async def keep_up(self) -> None:
        """Show what there is, once a second, until the answer is over and shown whole."""
        await self.changed.wait()
        while not self.over.is_set():
            pause = EDIT_SECONDS
            try:
                await self._show(impatient)
            except SlackApiError as error:
                log.warning("edit failed: %s", error.response.get("error"))
                pause = float(error.response.headers.get("Retry-After", EDIT_SECONDS))
            try:
                await asyncio.wait_for(self.over.wait(), pause)
            except TimeoutError:
                continue
        for _ in range(FINAL_TRIES):
            try:
                await self._show(patient)
                return
            except SlackApiError as error:
                log.warning("final edit failed: %s", error.response.get("error"))
                await asyncio.sleep(EDIT_SECONDS)

    async def _show(self, client: AsyncWebClient) -> None:
        text = self.text
        pieces = [text[start : start + MESSAGE_CHARACTERS] for start in range(0, len(text), MESSAGE_CHARACTERS)]
        for index, piece in enumerate(pieces):
            if index == len(self._messages):
                posted = await patient.chat_postMessage(
                    channel=self._channel, thread_ts=self._thread_ts, markdown_text=piece, unfurl_links=False
                )
                self._messages.append(str(posted["ts"]))
                self._shown.append(piece)
            elif piece != self._shown[index]:
                await client.chat_update(channel=self._channel, ts=self._messages[index], markdown_text=piece)
                self._shown[index] = piece


async def answer(channel: str, thread_ts: str, question: str) -> None:
    """Ask the agent and show what it says."""
    thread = channel, thread_ts
    async with turns[thread]:
        await patient.assistant_threads_setStatus(channel_id=channel, thread_ts=thread_ts, status="is thinking…")
        reply = Reply(channel, thread_ts)
        showing = asyncio.create_task(reply.keep_up())
        try:
            if thread not in conversations:
                name = f"Slack {channel} {thread_ts}"
                conversations[thread] = await noxus.conversations.acreate(name, agent_id=agent_id)
            async for event in conversations[thread].astream(MessageRequest(content=question)):
                if event.event == "text-delta":
                    reply.add(event.data["delta"])
                elif event.event in {"error", "timeout"}:
                    reply.add(f"\n\n{SORRY}")
        except Exception:
            log.exception("no answer")
            reply.add(f"\n\n{SORRY}")
        finally:
            reply.over.set()
            reply.changed.set()
            await showing


def words(text: str) -> str:
    """What was said, without the mention."""
    return re.sub(r"<@\w+>\s*", "", text).strip()


@app.event("app_mention")
async def mentioned(event: dict[str, Any]) -> None:
    """Somebody calls the bot in a channel."""
    await answer(event["channel"], event.get("thread_ts", event["ts"]), words(event["text"]))


@app.event("message")
async def written(event: dict[str, Any]) -> None:
    """Somebody writes directly, or goes on in a thread that the bot is in."""
    if event.get("subtype") or event.get("bot_id") or "<@" in event.get("text", ""):
        return
    thread_ts = event.get("thread_ts", event["ts"])
    if event.get("channel_type") == "im" or (event["channel"], thread_ts) in conversations:
        await answer(event["channel"], thread_ts, words(event["text"]))


async def main() -> None:
    """Connect and serve until the process is ended."""
    handler: Any = AsyncSocketModeHandler(app, os.environ["SLACK_APP_TOKEN"])
    await handler.start_async()


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    asyncio.run(main())
