"""Composition root: builds everything from Settings, starts it, and stops it in the right order."""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from slackbot.answering import TurnTools
from slackbot.budget import Budget
from slackbot.cards import Cards
from slackbot.config import Settings
from slackbot.desk import Desk
from slackbot.domain import BotIdentity
from slackbot.echoes import Echoes
from slackbot.errands import Errands
from slackbot.errors import ChatError, ChatRateLimited, ChatUnavailable, SlackbotError
from slackbot.files.incoming import Incoming
from slackbot.files.outgoing import Outgoing
from slackbot.handover import Handovers
from slackbot.intake import Intake
from slackbot.leases import Standing
from slackbot.marks import Marks
from slackbot.noxus.client import NoxusClient
from slackbot.ops import Ops
from slackbot.questions import Questions
from slackbot.relaying import Relay
from slackbot.replies.pace import OpenReplies
from slackbot.replies.tidying import Tidying
from slackbot.replies.tools import ReplyTools
from slackbot.serving import CannotListen
from slackbot.sessions import Sessions
from slackbot.sharing import Sharing
from slackbot.slack.client import SlackChat
from slackbot.slack.installations import Installations
from slackbot.slack.server import Gate, SlackServer
from slackbot.slack.sockets import SocketMode
from slackbot.slack.web import WebApi
from slackbot.slack.webhooks import Webhooks
from slackbot.store import Store, new_owner
from slackbot.store.migrate import upgrade
from slackbot.telling import Telling
from slackbot.turns import Turns
from slackbot.worker import Worker, WorkerSettings

log = logging.getLogger(__name__)

TIDYING_SECONDS = 3.0
LEFT_SECONDS = 259_200.0
"""Marks of messages that waited until so long ago may still be on."""
FAREWELL_SECONDS = 10.0
"""After the deadline, interrupted replies get so long to show their last text and the Retry button."""

THREADS = 64
"""Every call to Slack needs one for a moment, and who asks a name service that says nothing keeps one."""


async def serve(
    settings: Settings,
    *,
    stop: asyncio.Event | None = None,
    ready: Callable[[Sequence[BotIdentity]], None] | None = None,
) -> None:
    """Run the bot until ``stop`` is set or SIGTERM or SIGINT arrives, then let running answers finish; a second signal
    ends them at once, with what there is.

    Migrates the database first. ``ready`` is called with who we are once Slack's events can arrive. Raises
    ``SlackbotError`` kinds when something it cannot start without is missing: the database, Slack, a valid token.
    """
    stop = stop or asyncio.Event()
    for notice in settings.notices:
        log.warning("settings.notice", extra={"notice": notice})
    database_url = settings.database_url.get_secret_value()
    async with AsyncExitStack() as stack:
        ops = Ops(settings.ops_host, settings.ops_port)
        if settings.ops_port:
            await _open(ops)
            stack.push_async_callback(ops.stop)
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(THREADS, "slackbot"))
        await asyncio.to_thread(upgrade, database_url)
        store = await Store.open(database_url, exclusive=True, bounds=settings.bounds())
        stack.push_async_callback(store.close)
        await store.void_leases()
        standing = Standing(new_owner())
        presence = store.presence(standing)
        if presence:
            await presence.join()
            stack.push_async_callback(presence.leave)
        web = WebApi(settings.slack_api_url)
        stack.push_async_callback(web.aclose)
        installations = await _installations(web, settings)
        budget, open_replies = Budget(), OpenReplies()
        slots, owner = store.slots, standing.owner
        sharing = Sharing(slots, budget, open_replies, owner=owner, now=time.monotonic) if slots else None
        chat = SlackChat(
            web,
            installations,
            budget,
            sharing,
            file_hosts=settings.file_hosts,
            operators=settings.operators,
            operator_group=settings.operator_group,
            handover_channel=settings.handover_channel,
        )
        stack.push_async_callback(chat.aclose)
        agent = NoxusClient(
            settings.noxus_backend_url,
            settings.noxus_api_key.get_secret_value(),
            mode=settings.noxus_mode,
            idle_seconds=settings.idle_seconds,
            total_seconds=settings.turn_seconds,
        )
        stack.push_async_callback(agent.aclose)
        middle = _middle(settings, store, chat, agent, installations, budget, open_replies, standing)
        await _unmark(store, middle.marks)
        server = _server(settings, web, Gate(web, installations, middle.intake.take))
        await _connect(server)
        ops.watch(lambda: server.is_connected, store.counts, lambda: agent.is_down)
        # Closed before the store, and after the last turn: what arrives until then is accepted for the next start.
        stack.push_async_callback(server.stop)
        beside = [sharing.run()] if sharing else []
        if presence:
            hear = {"turns": middle.worker.wake, "stops": middle.worker.renew, "handovers": middle.desk.wake}
            unmark = partial(_unmark, store, middle.marks)
            beside.append(presence.run(hear, bury=lambda: middle.errands[0].later("unmark", unmark)))
        with _signals(stop) as hurry:
            if ready is not None:
                ready(installations.identities)
            await _work(middle, beside, ops, stop, settings.shutdown_seconds, hurry)
        if presence:
            # Before the socket closes: what still comes in is for the others.
            await presence.leave()


async def _unmark(store: Store, marks: Marks) -> None:
    """Somebody else may have died with marks still to be taken off."""
    for thread, ts, turn_id in await store.marks_left(LEFT_SECONDS):
        marks.off_later(thread, ts, turn_id)


@dataclass(frozen=True, slots=True)
class _Middle:
    """What lies between Slack and Noxus."""

    worker: Worker
    turns: Turns
    intake: Intake
    tidying: Tidying
    marks: Marks
    echoes: Echoes
    errands: tuple[Errands, ...]
    desk: Desk


def _middle(
    settings: Settings,
    store: Store,
    chat: SlackChat,
    agent: NoxusClient,
    installations: Installations,
    budget: Budget,
    open_replies: OpenReplies,
    standing: Standing,
) -> _Middle:
    errands, slow, one_by_one = Errands(), Errands(workers=2), Errands(workers=1)
    marks = Marks(store, chat, slow)
    sessions = Sessions(store, chat, one_by_one)
    tidying = Tidying(chat, budget, open_replies, time.monotonic, attempt_of=store.attempt_of)
    echoes = Echoes(store, chat, tidying, budget, lambda: tidying.undone | sessions.undone)
    tools = ReplyTools(
        chat,
        budget,
        open_replies,
        time.monotonic,
        tidying,
        user_mentions=settings.user_mentions,
        private_files=settings.noxus_backend_url,
        repost_deleted=settings.deleted_reply == "repost",
    )
    handover_rules = settings.handover_rules()
    handovers = Handovers(
        store,
        chat,
        handover_rules,
        errands=errands,
        wake=lambda: desk.wake(),  # noqa: PLW0108 - it comes below
        stop=lambda turn_id, user_id: turns.stop(turn_id, user_id),  # noqa: PLW0108 - it comes below
    )
    turns = Turns(
        TurnTools(
            store,
            chat,
            agent,
            Questions(store, chat, identity=installations.identity, thread_context=settings.thread_context),
            Incoming(chat, settings.file_limits()),
            Outgoing(agent, chat, settings.file_limits()),
            tools,
            errands,
            marks,
            handovers,
            Relay(store, chat, tools, settings.file_limits(), owner=standing.owner),
            sessions,
            echoes,
            target=settings.target(),
            owner=standing.owner,
            feedback=settings.feedback,
            human_tools=settings.handover_tools,
            human_button=settings.human_button,
        )
    )
    worker = Worker(store, turns, standing, WorkerSettings(concurrency=settings.max_concurrent_turns))

    async def agent_name() -> str:
        return (await agent.profile(settings.target())).name

    desk = Desk(
        store,
        chat,
        Cards(store, tools, handover_rules.channel_id, agent_name),
        Telling(store, tools, handover_rules, marks),
        timers=handover_rules.timers,
        sessions=sessions,
        standing=standing,
        wake_worker=worker.wake,
    )
    intake = Intake(
        store,
        chat,
        settings.rules(),
        handovers=handovers,
        errands=errands,
        marks=marks,
        identity=installations.identity,
        wake=worker.wake,
        room=worker.room,
        stop=turns.stop,
    )
    return _Middle(worker, turns, intake, tidying, marks, echoes, (errands, slow, one_by_one), desk)


async def _work(
    middle: _Middle,
    beside: Iterable[Coroutine[Any, Any, None]],
    ops: Ops,
    stop: asyncio.Event,
    seconds: float,
    hurry: asyncio.Event,
) -> None:
    """Run everything until ``stop``, then let it come to its end, ``hurry`` or not."""
    async with asyncio.TaskGroup() as tasks:
        desk = tasks.create_task(middle.desk.run())
        runs = [middle.tidying.run(), middle.echoes.run(), *(errands.run() for errands in middle.errands), *beside]
        aside = [tasks.create_task(each) for each in runs]
        working = tasks.create_task(middle.worker.run())
        await stop.wait()
        ops.stopping = True
        log.info("stop.began", extra={"turns": middle.worker.running})
        middle.worker.stop()
        await _drain(working, middle.turns, seconds, hurry)
        middle.desk.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(TIDYING_SECONDS):
                await desk
                await asyncio.gather(*(each.done() for each in middle.errands), middle.tidying.flush())
        await middle.echoes.leave()
        for task in (desk, *aside):
            task.cancel()


class CannotStart(SlackbotError):
    """Slack does not let us in. The text names the setting and the cure."""

    code = "cannot_start"


async def _installations(web: WebApi, settings: Settings) -> Installations:
    try:
        installations = await Installations.single(web, settings.slack_bot_token.get_secret_value())
    except (ChatRateLimited, ChatUnavailable) as error:
        raise CannotStart(f"Slack cannot be reached at {settings.slack_api_url} ({error}).") from error
    except ChatError as error:
        raise CannotStart(
            f"Slack refuses SLACK_BOT_TOKEN ({error.slack_error or error}). Copy it anew from "
            "https://api.slack.com/apps > your app > OAuth & Permissions > Bot User OAuth Token."
        ) from error
    for me in installations.identities:
        log.info("slack.team", extra={"team": me.team_id, "team_name": me.team_name, "bot_user": me.user_id})
    return installations


def _server(settings: Settings, web: WebApi, gate: Gate) -> SlackServer:
    if settings.transport == "socket" and settings.slack_app_token is not None:
        return SocketMode(web, settings.slack_app_token.get_secret_value(), gate)
    if settings.slack_signing_secret is None:
        raise CannotStart("SLACK_SIGNING_SECRET is missing.")
    return Webhooks(settings.http_host, settings.http_port, settings.slack_signing_secret.get_secret_value(), gate)


async def _open(ops: Ops) -> None:
    try:
        await ops.start()
    except CannotListen as error:
        raise CannotStart(f"{error}. Set SLACKBOT_OPS_PORT to another port, or to 0 for none.") from error


async def _connect(server: SlackServer) -> None:
    try:
        await server.start()
    except CannotListen as error:
        raise CannotStart(f"{error}. SLACKBOT_HTTP_HOST and SLACKBOT_HTTP_PORT say where.") from error
    except ChatError as error:
        raise CannotStart(
            f"Slack refuses SLACK_APP_TOKEN ({error.slack_error or error}). Make one at https://api.slack.com/apps > "
            "your app > Basic Information > App-Level Tokens, with the scope connections:write."
        ) from error


async def _drain(working: asyncio.Task[None], turns: Turns, seconds: float, hurry: asyncio.Event) -> None:
    """Wait for running turns; past the deadline, end them with what there is, and past that, leave them."""
    turns.close()
    hurried = asyncio.create_task(hurry.wait())
    await asyncio.wait([working, hurried], timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    hurried.cancel()
    if not working.done():
        log.warning("stop.interrupting", extra={"seconds": seconds})
        turns.interrupt()
        await asyncio.wait([working], timeout=FAREWELL_SECONDS)
    working.cancel()


@contextmanager
def _signals(stop: asyncio.Event) -> Iterator[asyncio.Event]:
    """While the block runs, the first SIGTERM or SIGINT sets ``stop``, the next one the event it gives."""
    loop = asyncio.get_running_loop()
    hurry = asyncio.Event()
    names = (signal.SIGTERM, signal.SIGINT)

    def received() -> None:
        (hurry if stop.is_set() else stop).set()

    for name in names:
        loop.add_signal_handler(name, received)
    try:
        yield hurry
    finally:
        for name in names:
            loop.remove_signal_handler(name)
