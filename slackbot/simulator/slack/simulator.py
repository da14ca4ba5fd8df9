"""The simulated Slack: its parts put together on one local port, and the hands of the people in it."""

from __future__ import annotations

import asyncio
import random
import uuid
from dataclasses import replace
from typing import TYPE_CHECKING

from aiohttp import web

from slackbot.simulator.slack import limits, world
from slackbot.simulator.slack.clock import Clock
from slackbot.simulator.slack.control import Control
from slackbot.simulator.slack.delivery import Dispatcher
from slackbot.simulator.slack.events import events_of, session_stopped
from slackbot.simulator.slack.files import Files
from slackbot.simulator.slack.http_events import SignedHttp
from slackbot.simulator.slack.interactivity import Interactivity
from slackbot.simulator.slack.model import (
    Change,
    Channel,
    Json,
    Kind,
    Opened,
    Reacted,
    SimMessage,
    StatusSet,
    User,
    Version,
    ViewsShown,
)
from slackbot.simulator.slack.page_api import PageApi
from slackbot.simulator.slack.payloads import rich_text
from slackbot.simulator.slack.rate import RateLimits
from slackbot.simulator.slack.record import ApiCall, Delivery, Pulse
from slackbot.simulator.slack.scopes import Grants
from slackbot.simulator.slack.sessions import Sessions
from slackbot.simulator.slack.sockets import Disconnect, SocketMode
from slackbot.simulator.slack.switches import Switches, add_slack_switches
from slackbot.simulator.slack.tasks import Tasks
from slackbot.simulator.slack.traffic import Traffic, call_line, delivery_line
from slackbot.simulator.slack.triggers import Triggers
from slackbot.simulator.slack.uploads import Uploads
from slackbot.simulator.slack.views import Views
from slackbot.simulator.slack.web_api import WebApi
from slackbot.simulator.slack.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from slackbot.simulator.slack.faults import Faults


class SlackSimulator:
    """A Slack workspace on a local port: Web API, Socket Mode, signed HTTP, a page to look at, people to play.

    `latency` is the seconds a Web API call takes; `enforce_limits` turns the rate limits of `limits` on; `twins`
    sends a mention both as `app_mention` and as `message`, in any order; `echoes` sends the bot its own posts and
    edits; `retry_delays` and `ack_timeout` are Slack's, in seconds; `seed` makes every choice by chance repeatable.
    `grants` are the scopes and events the app was granted (all of them); a call without its scope is refused.
    Times in records are those of `time.monotonic`.

    `views` are the modals in front of people, `files` what was uploaded, `uploads` how Slack takes files from the bot;
    `shortcuts` lists the app's message shortcuts (name by callback id), at first those of the manifest. `traffic` and
    `switches` are the page's drawer, to which others may add; `scripted_agent` says that the agent behind the bot knows
    `/help`.
    """

    bot_token = world.BOT_TOKEN
    app_token = world.APP_TOKEN
    signing_secret = world.SIGNING_SECRET
    bot_user_id = world.BOT_USER_ID
    bot_id = world.BOT_ID
    app_id = world.APP_ID
    team_id = world.TEAM_ID

    def __init__(
        self,
        *,
        latency: float = 0.06,
        enforce_limits: bool = True,
        twins: bool = True,
        echoes: bool = True,
        retry_delays: tuple[float, ...] = limits.RETRY_DELAYS_SECONDS,
        ack_timeout: float = limits.ACK_SECONDS,
        seed: int = 0,
        grants: Grants | None = None,
    ) -> None:
        self.calls: list[ApiCall] = []
        self.scripted_agent = True
        self.traffic = Traffic()
        self.switches = Switches()
        self._twins = twins
        self._echoes = echoes
        self._ack_timeout = ack_timeout
        self._rng = random.Random(seed)  # noqa: S311  chances that repeat, no secrets
        self._grants = grants or Grants()
        self.shortcuts = dict(self._grants.shortcuts)
        self._pulse = Pulse()
        self._tasks = Tasks()
        clock = self._clock = Clock()
        self._workspace = Workspace(world.people(), world.rooms(), clock)
        self._sockets = SocketMode(self._tasks, ack_seconds=ack_timeout, rng=self._rng, on_change=self._pulse.beat)
        self._http: list[SignedHttp] = []
        self._dispatcher = Dispatcher(
            self._sockets,
            self._tasks,
            clock=clock,
            retry_delays=retry_delays,
            rng=self._rng,
            on_change=self._delivered,
        )
        triggers = Triggers(clock)
        self._interactivity = Interactivity(self._workspace, clock, triggers)
        self.files = Files(self._workspace, self._grants)
        self.uploads = Uploads(self._workspace, self.files, self._tasks)
        self._sessions = Sessions(self._grants)
        self.views = Views(self._workspace, triggers, self._interact)
        self._limits = RateLimits(enforced=enforce_limits)
        self._web_api = WebApi(
            self._workspace,
            limits=self._limits,
            grants=self._grants,
            latency=latency,
            clock=clock,
            more_methods={**self.views.methods(), **self.uploads.methods(), **self._sessions.methods()},
            open_connection=lambda: f"ws://127.0.0.1:{self._port}/link?ticket={self._sockets.ticket()}",
            on_call=self._called,
        )
        add_slack_switches(self.switches, self._web_api, self.files.downloads)
        self._page = PageApi(self, self._workspace)
        self._workspace.observers.append(self._observe)
        self._expiries: dict[tuple[str, str], asyncio.TimerHandle] = {}
        self._runner: web.AppRunner | None = None
        self._port = 0

    async def start(self, port: int = 0) -> None:
        """Listen on 127.0.0.1; port 0 takes a free one. Raises OSError when the port is taken."""
        app = web.Application(client_max_size=16 << 20)
        app.router.add_route("*", "/api/{method}", self._web_api.handle)
        app.router.add_get("/link", self._sockets.handle)
        app.router.add_post("/actions/{token}", self._interactivity.respond)
        app.add_routes(Control(self).routes())
        app.add_routes(self.files.routes())
        app.add_routes(self.uploads.routes(self.faults))
        app.add_routes(self._page.routes())
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, "127.0.0.1", port).start()
        except OSError:
            await self._runner.cleanup()
            raise
        self._port = self._runner.addresses[0][1]
        self._workspace.base_url = self.page_url

    async def stop(self) -> None:
        """Close every connection and forget deliveries under way; what was said and recorded stays readable."""
        for handle in self._expiries.values():
            handle.cancel()
        await self._tasks.close()
        await self._sockets.close()
        for transport in self._http:
            await transport.close()
        if self._runner is not None:
            await self._runner.cleanup()

    @property
    def page_url(self) -> str:
        """The address of the page."""
        return f"http://127.0.0.1:{self._port}/"

    @property
    def api_url(self) -> str:
        """The base address of the Web API."""
        return f"{self.page_url}api/"

    @property
    def users(self) -> dict[str, str]:
        """Everybody's id, by name."""
        return {user.name: user.id for user in self._workspace.users.values()}

    @property
    def channels(self) -> dict[str, str]:
        """Every channel's id, by name; for DMs see `dm`."""
        return {channel.name: channel.id for channel in self._workspace.channels.values()}

    @property
    def faults(self) -> Faults:
        """The troubles ordered for Web API calls."""
        return self._web_api.faults

    @property
    def deliveries(self) -> list[Delivery]:
        """Every attempt to deliver something, in order."""
        return self._dispatcher.deliveries

    @property
    def whispers(self) -> list[SimMessage]:
        """The ephemeral messages that are shown."""
        return [message for message in self._workspace.whispers.values() if not message.deleted]

    @property
    def connections(self) -> int:
        """How many Socket Mode connections are open."""
        return self._sockets.open

    def dm(self, name: str) -> str:
        """Find the DM of a person, by name, with the bot."""
        return self.channels[f"dm-{self.users[name]}"]

    def messages(self, channel_id: str, thread_ts: str | None = None) -> list[SimMessage]:
        """List what is visible now, in order of `ts`: a whole channel with its threads, or one thread with its root."""
        if thread_ts is None:
            return self._workspace.all(channel_id)
        return self._workspace.thread(channel_id, thread_ts)

    def timeline(self, channel_id: str, ts: str) -> list[Version]:
        """List every version of a message that was visible, oldest first."""
        return self._workspace.versions(channel_id, ts)

    def status(self, channel_id: str, thread_ts: str) -> str:
        """Read the status line of a thread; empty when there is none."""
        return self._workspace.status(channel_id, thread_ts)

    def session(self, channel_id: str, thread_ts: str) -> str:
        """Read the state of the agent's session in a thread; empty when there is none."""
        return self._sessions.states.get((channel_id, thread_ts), "")

    async def wait(self, condition: Callable[[], object], timeout: float = 5) -> None:  # noqa: ASYNC109  a test reads best so
        """Return when the condition holds; raises TimeoutError with the last calls after `timeout` seconds."""
        try:
            await self._pulse.until(condition, timeout)
        except TimeoutError as error:
            last = ", ".join(f"{call.method}={call.error or 'ok'}" for call in self.calls[-8:])
            raise TimeoutError(f"still not so after {timeout} s; last calls: {last or 'none'}") from error

    def set_limit(self, method: str, calls: int, window: float = limits.RATE_WINDOW_SECONDS) -> None:
        """Allow a method `calls` calls in `window` seconds."""
        self._limits.set(method, calls, window)

    async def say(
        self,
        user_id: str,
        channel_id: str,
        text: str,
        thread_ts: str | None = None,
        files: Iterable[Json] = (),
        **event_extras: object,
    ) -> str:
        """Let somebody write; answers the message's ts at once, the events follow.

        `text` is as Slack stores it (`<@U…>` for a mention). `event_extras` are further fields of the message, such
        as `subtype`. Raises ValueError for an unknown user, channel or thread, or somebody outside the channel.
        """
        user, channel = self._member(user_id, channel_id)
        if thread_ts is not None and not self._workspace.is_thread(channel_id, thread_ts):
            raise ValueError(f"no thread {thread_ts} in {channel_id}")
        shared = tuple(files)
        subtype = event_extras.pop("subtype", "file_share" if shared else None)
        message = self._workspace.post(
            SimMessage(
                channel=channel.id,
                ts=self._workspace.next_ts(),
                user=user.id,
                bot_id=user.bot_id,
                app_id=user.app_id,
                text=text,
                thread_ts=thread_ts,
                blocks=(rich_text(text),) if text and not user.is_bot else (),
                files=shared,
                subtype=None if subtype is None else str(subtype),
                client_msg_id=None if user.is_bot else str(uuid.UUID(int=self._rng.getrandbits(128), version=4)),
                extras=dict(event_extras),
            ),
            broadcast=subtype == "thread_broadcast",
        )
        return message.ts

    async def edit_message(self, user_id: str, channel_id: str, ts: str, text: str) -> None:
        """Let an author change a message; raises ValueError when it is not theirs."""
        message = self._own(user_id, channel_id, ts)
        edited = {"user": user_id, "ts": self._workspace.next_ts()}
        self._workspace.edit(message, actor=user_id, text=text, blocks=(rich_text(text),), edited=edited)

    async def delete_message(self, user_id: str, channel_id: str, ts: str) -> None:
        """Let an author delete a message; raises ValueError when it is not theirs."""
        self._workspace.delete(self._own(user_id, channel_id, ts))

    async def unfurl(self, channel_id: str, ts: str) -> None:
        """Let Slack put a preview below a message: it changes, and nobody has edited it."""
        message = self._message(channel_id, ts)
        preview = {"id": 1, "from_url": "https://plan.example", "title": "A preview", "fallback": "A preview"}
        self._workspace.edit(message, actor="USLACKBOT", attachments=(*message.attachments, preview))

    async def stop_session(self, user_id: str, channel_id: str, thread_ts: str) -> Delivery:
        """Let somebody press the Stop of Slack's own agent session in a thread, and wait for the ack.

        Raises ValueError for an app that has no agent feature or does not listen to it, and for an unknown thread.
        """
        user, channel = self._member(user_id, channel_id)
        if not self._workspace.is_thread(channel_id, thread_ts):
            raise ValueError(f"no thread {thread_ts} in {channel_id}")
        event = session_stopped(self._workspace, channel, user, thread_ts)
        if not self._grants.has_sessions or not self._grants.delivers(event):
            raise ValueError("this app has no agent sessions")
        return await self.raw_event(event)

    async def react(self, user_id: str, channel_id: str, ts: str, name: str, *, added: bool = True) -> None:
        """Let somebody add a reaction to a message, or take it away."""
        self._member(user_id, channel_id)
        self._workspace.react(self._message(channel_id, ts), user_id, name, added=added)

    async def press(
        self, user_id: str, channel_id: str, message_ts: str, action_id: str, value: str | None = None
    ) -> Delivery:
        """Let somebody press a button, or choose the option `value`, and wait for the ack.

        Raises ValueError when they see no such thing.
        """
        return await self._interact(self._interactivity.press(user_id, channel_id, message_ts, action_id, value))

    async def use_shortcut(self, user_id: str, channel_id: str, message_ts: str, callback_id: str) -> Delivery:
        """Let somebody use one of the `shortcuts` on a message; raises ValueError when they cannot see it."""
        if callback_id not in self.shortcuts:
            raise ValueError(f"the app has no shortcut {callback_id!r}")
        return await self._interact(self._interactivity.shortcut(user_id, channel_id, message_ts, callback_id))

    async def raw_event(self, body: Json) -> Delivery:
        """Deliver any event (or whole body) and wait for the outcome of the first attempt."""
        return await self._dispatcher.deliver(self._dispatcher.body_of(body))

    async def redeliver(self, event_id: str) -> Delivery:
        """Deliver an event once more; raises KeyError for an id that was never used."""
        return await self._dispatcher.redeliver(event_id)

    def deliver_over_http(self, url: str) -> SignedHttp:
        """Deliver everything from now on to a request URL; call it while the event loop runs."""
        transport = SignedHttp(url, secret=self.signing_secret, ack_seconds=self._ack_timeout, clock=self._clock)
        self._http.append(transport)
        self._dispatcher.transport = transport
        return transport

    async def disconnect_sockets(self, reason: Disconnect | None = "refresh_requested") -> None:
        """End the open Socket Mode connections.

        A `reason` of Slack's is announced on the socket first; `silent` leaves them open but dead, as after a sleep;
        `abort` or None cuts them.
        """
        await self._sockets.disconnect(reason or "abort")

    def add_channel(self, name: str, kind: Kind = Kind.CHANNEL) -> str:
        """Make a channel that everybody of the team and the bot are in; answers its id."""
        members = {user.id for user in self._workspace.users.values() if user.team_id == world.TEAM_ID}
        channel_id = f"C{len(self._workspace.channels):05d}{name.upper()[:4]}"
        self._workspace.add(Channel(id=channel_id, name=name, kind=kind, members=members))
        return channel_id

    def add_user(self, name: str, *, guest: bool = False) -> str:
        """Make a person with a DM with the bot, in every public channel, a `guest` of this workspace or not; answers
        the id."""
        user_id = f"U{len(self._workspace.users):05d}{name.upper()[:4]}"
        self._workspace.users[user_id] = User(
            id=user_id,
            name=name,
            real_name=name.title(),
            display_name=name,
            team_id=world.TEAM_ID,
            color="808000",
            is_restricted=guest,
        )
        room = world.direct(user_id)
        self._workspace.channels[room.id] = room
        for channel in self._workspace.channels.values():
            if channel.kind is Kind.CHANNEL:
                channel.members.add(user_id)
        return user_id

    def dismiss(self, user_id: str) -> None:
        """Let somebody leave the workspace, and so every channel."""
        self._workspace.users[user_id] = replace(self._workspace.users[user_id], deleted=True)
        for channel in self._workspace.channels.values():
            channel.members = channel.members - {user_id}

    def join(self, user_id: str, channel_id: str, *, leave: bool = False) -> None:
        """Let somebody into a channel, or out of it."""
        channel, who = self._workspace.channels[channel_id], {self._workspace.users[user_id].id}
        channel.members = channel.members - who if leave else channel.members | who

    def change_channel(self, channel_id: str, *, archived: bool = False, with_bot: bool = True) -> None:
        """Archive a channel or open it again, and let the bot in or out."""
        channel = self._workspace.channels[channel_id]
        channel.is_archived = archived
        channel.members = channel.members | {self.bot_user_id} if with_bot else channel.members - {self.bot_user_id}

    async def _interact(self, payload: Json) -> Delivery:
        if not self._grants.takes_buttons:
            raise ValueError("this app is not configured to handle interactive responses")
        return await self._dispatcher.interact(payload)

    def _member(self, user_id: str, channel_id: str) -> tuple[User, Channel]:
        user = self._workspace.users.get(user_id)
        channel = self._workspace.channels.get(channel_id)
        if user is None or channel is None:
            raise ValueError(f"no user {user_id} or no channel {channel_id}")
        if user_id not in channel.members:
            raise ValueError(f"{user_id} is not in {channel_id}")
        if channel.kind is Kind.IM and not self._grants.takes_dms:
            raise ValueError("sending messages to this app has been turned off")
        return user, channel

    def _message(self, channel_id: str, ts: str) -> SimMessage:
        message = self._workspace.find(channel_id, ts)
        if message is None:
            raise ValueError(f"no message {ts} in {channel_id}")
        return message

    def _own(self, user_id: str, channel_id: str, ts: str) -> SimMessage:
        message = self._workspace.find(channel_id, ts)
        if message is None or message.user != user_id:
            raise ValueError(f"{user_id} has no message {ts} in {channel_id}")
        return message

    def _called(self, call: ApiCall) -> None:
        self.calls.append(call)
        usage = self._limits.usage(call.method, str(call.args.get("channel", "")), call.at)
        self.traffic.show(f"call {len(self.calls)}", call_line(self._workspace, call, usage))
        self._pulse.beat()

    def _delivered(self, delivery: Delivery) -> None:
        line = delivery_line(self._workspace, delivery, self._clock.monotonic() - delivery.at)
        self.traffic.show(f"event {id(delivery)}", line)
        self._pulse.beat()

    def _observe(self, change: Change) -> None:
        self._pulse.beat()
        if isinstance(change, StatusSet):
            self._expire_later(change)
        if isinstance(change, StatusSet | Opened | ViewsShown):
            return
        message = change.message
        if message.bot_id == self.bot_id and not self._echoes and not isinstance(change, Reacted):
            return
        events = [event for event in events_of(self._workspace, change) if self._grants.delivers(event)]
        if not self._twins and any(event["type"] == "app_mention" for event in events):
            events = [event for event in events if event["type"] == "app_mention"]
        shared = self._workspace.channels[message.channel].is_ext_shared
        self._dispatcher.publish(events, is_ext_shared=shared)

    def _expire_later(self, change: StatusSet) -> None:
        key = (change.channel, change.thread_ts)
        earlier = self._expiries.pop(key, None)
        if earlier is not None:
            earlier.cancel()
        if change.status:
            loop = asyncio.get_running_loop()
            clear = self._workspace.set_status
            self._expiries[key] = loop.call_later(limits.STATUS_SECONDS, clear, *key, "")
