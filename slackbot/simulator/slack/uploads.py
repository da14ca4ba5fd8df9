"""Files the app shares: files.getUploadURLExternal, the address it names, and files.completeUploadExternal."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiohttp import BodyPartReader, web

from slackbot.simulator.slack import limits, world
from slackbot.simulator.slack.chat import reply_thread, writable_channel
from slackbot.simulator.slack.errors import SlackError
from slackbot.simulator.slack.model import Channel, Json, Kind, SimMessage
from slackbot.simulator.slack.validation import check_blocks

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from slackbot.simulator.slack.arguments import Arguments
    from slackbot.simulator.slack.chat import Method
    from slackbot.simulator.slack.faults import Faults
    from slackbot.simulator.slack.files import Files
    from slackbot.simulator.slack.tasks import Tasks
    from slackbot.simulator.slack.workspace import Workspace


@dataclass(slots=True)
class _Ticket:
    file_id: str
    name: str
    length: int
    alt: str
    here: bool = False
    completed: bool = False


@dataclass(frozen=True, slots=True)
class _Share:
    channel: Channel
    thread_ts: str | None
    text: str
    blocks: tuple[Json, ...]


class Uploads:
    """Takes files from the app and shares them, in its own time.

    `share_seconds` pass between the completion and the message with the files; `answer_tells` says whether the answer
    names the share where it is there at once (0 seconds), or only files.info does. What Slack does here is not
    documented: `completes_again` shares a file anew when its upload is completed a second time, instead of refusing;
    `known_early` lets files.info know a file before its upload is completed. `received` are the headers of everything
    that was sent to an upload address; a fault of the method `upload` happens there.
    """

    def __init__(self, workspace: Workspace, files: Files, tasks: Tasks) -> None:
        self.share_seconds = 0.7
        self.answer_tells = True
        self.completes_again = True
        self.known_early = False
        self.received: list[Mapping[str, str]] = []
        self._workspace = workspace
        self._files = files
        self._tasks = tasks
        self._by_address: dict[str, _Ticket] = {}
        self._by_file: dict[str, _Ticket] = {}

    def methods(self) -> dict[str, Method]:
        """List the Web API methods."""
        return {
            "files.completeUploadExternal": self._complete,
            "files.getUploadURLExternal": self._address,
        }

    def routes(self, faults: Faults) -> list[web.RouteDef]:
        """List the addresses."""

        async def receive(request: web.Request) -> web.Response:
            fault = faults.take("upload", {})
            await asyncio.sleep(fault.delay if fault else 0.0)
            if fault and fault.status:
                return web.Response(status=fault.status, text="no")
            answer = web.Response() if fault and fault.drop == "before" else await self._receive(request)
            if fault and fault.drop and request.transport is not None:
                request.transport.abort()
            return answer

        return [web.post(r"/upload/v1/{address:[\w-]+}", receive)]

    def _address(self, _workspace: Workspace, args: Arguments) -> Json:
        name, length, alt = args.text("filename"), args.number("length", 0), args.text("alt_txt")
        if not name or not length:
            raise SlackError("missing_argument")
        if length < 0:
            raise SlackError("invalid_arguments")
        if len(alt) > limits.FILE_ALT_CHARACTERS:
            raise SlackError("alt_txt_too_large")
        if length > limits.UPLOAD_BYTES:
            raise SlackError("file_upload_size_restricted")
        if args.has("snippet_type") and length > limits.SNIPPET_BYTES:
            raise SlackError("snippet_too_large")
        ticket = _Ticket(self._files.new_id(), name, length, alt)
        address = secrets.token_urlsafe(24)
        self._by_address[address] = self._by_file[ticket.file_id] = ticket
        return {"upload_url": f"{self._workspace.base_url}upload/v1/{address}", "file_id": ticket.file_id}

    async def _receive(self, request: web.Request) -> web.Response:
        self.received.append(dict(request.headers))
        ticket = self._by_address.get(request.match_info["address"])
        if ticket is None:
            raise web.HTTPNotFound
        content = bytearray()
        async for chunk in _sent(request):
            content += chunk
            if len(content) > ticket.length:
                raise web.HTTPRequestEntityTooLarge(max_size=ticket.length, actual_size=len(content))
        if len(content) < ticket.length:
            raise web.HTTPBadRequest(text=f"{ticket.length} bytes were announced, {len(content)} came")
        described = self._files.add(world.BOT_USER_ID, ticket.name, bytes(content), file_id=ticket.file_id)
        described |= {"shares": {}, "channels": [], "groups": [], "ims": []} | (
            {"alt_txt": ticket.alt} if ticket.alt else {}
        )
        ticket.here = True
        if self.known_early:
            self._workspace.files[ticket.file_id] = described
        return web.Response(text=f"OK - {len(content)}")

    def _complete(self, workspace: Workspace, args: Arguments) -> Json:
        wanted = args.items("files", "invalid_arguments")
        if not wanted or not all(isinstance(entry, dict) and entry.get("id") for entry in wanted):
            raise SlackError("invalid_arguments")
        share = self._where(workspace, args)
        tickets = [self._by_file.get(str(entry["id"])) for entry in wanted]
        ready = [ticket for ticket in tickets if ticket and ticket.here]
        if len(ready) < len(wanted) or not (self.completes_again or all(not ticket.completed for ticket in ready)):
            raise SlackError("file_not_found")
        files = [self._files.find(ticket.file_id) for ticket in ready]
        for ticket, file, entry in zip(ready, files, wanted, strict=True):
            ticket.completed = True
            file["title"] = str(entry.get("title") or ticket.name)
            workspace.files[ticket.file_id] = file
        unshared = [dict(file) for file in files]
        if share is not None and self.share_seconds:
            self._tasks.start(self._later(share, files))
        elif share is not None:
            self._share(share, files)
        return {"files": files if self.answer_tells and not self.share_seconds else unshared}

    def _where(self, workspace: Workspace, args: Arguments) -> _Share | None:
        # Slack takes several channels too, but only one together with a thread.
        channel_id, text = args.text("channel_id"), args.text("initial_comment")
        if not channel_id:
            return None
        channel = writable_channel(workspace, channel_id)
        thread_ts = reply_thread(workspace, channel, args.text("thread_ts"))
        blocks = [] if text else args.items("blocks", "invalid_blocks")
        check_blocks(blocks)
        return _Share(channel, thread_ts, text, tuple(blocks))

    async def _later(self, share: _Share, files: list[Json]) -> None:
        await asyncio.sleep(self.share_seconds)
        self._share(share, files)

    def _share(self, share: _Share, files: list[Json]) -> None:
        ts, channel = self._workspace.next_ts(), share.channel
        kind = "public" if channel.kind is Kind.CHANNEL else "private"
        listed = {Kind.CHANNEL: "channels", Kind.IM: "ims"}.get(channel.kind, "groups")
        stands = {"ts": ts, "team_id": world.TEAM_ID, "channel_name": channel.name}
        stands |= {"thread_ts": share.thread_ts} if share.thread_ts else {}
        for file in files:
            before = file["shares"].get(kind, {}).get(channel.id, [])
            file["shares"] = {**file["shares"], kind: {channel.id: [*before, stands]}}
            file[listed] = [channel.id]
        self._workspace.post(
            SimMessage(
                channel=channel.id,
                ts=ts,
                user=world.BOT_USER_ID,
                bot_id=world.BOT_ID,
                app_id=world.APP_ID,
                text=share.text,
                blocks=share.blocks,
                files=tuple(files),
                thread_ts=share.thread_ts,
                subtype="file_share",
            )
        )


async def _sent(request: web.Request) -> AsyncIterator[bytes]:
    """Read the bytes of a file, sent as they are or as the first part of a form."""
    if request.content_type != "multipart/form-data":
        async for chunk in request.content.iter_any():
            yield chunk
        return
    part = await (await request.multipart()).next()
    while isinstance(part, BodyPartReader) and (chunk := await part.read_chunk()):
        yield chunk
