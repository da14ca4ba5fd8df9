"""Every way in which Slack, Noxus, the network, the database, the disk and the clock can fail."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import psycopg

from slackbot.simulator.slack.downloads import Trouble
from tests.chaos import acts, machine
from tests.chaos.machine import MACHINE
from tests.chaos.scenes import Scene, port, server


@dataclass
class Arms:
    """A trouble in force: when it struck, and how to lift it."""

    lift: Callable[[], object]
    hits: Callable[[], list[float]] = list
    struck: asyncio.Future[float] | None = None
    """From when on it is in force, where that is not at once."""


Arm: TypeAlias = Callable[[Scene, int | None], Awaitable[Arms]]
"""Puts a trouble in force: for so many calls, or until it is lifted."""


def slack(method: str, **fault: Any) -> Arm:
    """Calls of a method of Slack's fail."""

    async def arm(scene: Scene, times: int | None) -> Arms:
        hits: list[float] = []

        def when(_args: object) -> bool:
            hits.append(MACHINE.now)
            return True

        made = scene.both.slack.faults.add(method=method, times=times, when=when, **fault)
        return Arms(lambda: setattr(made, "times", 0), lambda: hits)

    return arm


def download(**fault: Any) -> Arm:
    """Slack does not hand out a file as it should."""

    async def arm(scene: Scene, times: int | None) -> Arms:
        downloads = scene.both.slack.files.downloads
        made = Trouble(times=times, **fault)
        downloads.troubles.append(made)
        return Arms(lambda: setattr(made, "times", 0))

    return arm


async def deleted(scene: Scene, times: int | None) -> Arms:
    """Somebody deletes each message just before it is changed."""
    hits: list[float] = []
    both = scene.both

    def when(args: dict[str, Any]) -> bool:
        if args["ts"] in {said.ts for said in scene.ours(args["channel"])}:
            hits.append(MACHINE.now)
            deeds.append(
                asyncio.create_task(both.slack.delete_message(both.slack.bot_user_id, args["channel"], args["ts"]))
            )
        return True

    deeds: list[asyncio.Task[None]] = []
    made = both.slack.faults.add(method="chat.update", times=times, when=when, delay=0.05)
    return Arms(lambda: setattr(made, "times", 0), lambda: hits)


def noxus(path: str, **fault: Any) -> Arm:
    """Requests to an endpoint of Noxus fail."""

    async def arm(scene: Scene, times: int | None) -> Arms:
        began, ends = MACHINE.now, [float("inf")]
        made = scene.both.noxus.faults.add(path=path, times=times, **fault)

        def lift() -> None:
            made.left = 0
            ends[0] = MACHINE.now

        def hits() -> list[float]:
            found = [
                request.at
                for request in scene.both.noxus.requests
                if path in {request.endpoint, "*"} and began <= request.at <= ends[0]
            ]
            return found[:times]

        return Arms(lift, hits)

    return arm


def after_a_break(arm: Arm) -> Arm:
    """The stream breaks in its middle, and then this happens to those who look how it went on."""

    async def both(scene: Scene, times: int | None) -> Arms:
        scene.both.noxus.faults.add(path="stream", drop="mid", frames=12)
        return await arm(scene, times)

    return both


def network(side: str, state: str) -> Arm:
    """One side refuses connections, answers none, or is unknown to a name service that may say nothing at all; its open
    ones are torn."""

    async def arm(scene: Scene, times: int | None) -> Arms:
        both = scene.both
        url, faults = (
            (both.slack.api_url, both.slack.faults) if side == "Slack" else (both.noxus.url, both.noxus.faults)
        )
        broken: set[Any] = getattr(MACHINE, state)
        name = f"{side.lower()}.test" if state in {"unknown", "unanswered"} else port(url)
        broken.add(name)
        if side == "Slack":
            both.slack.faults.add(method="*", drop="before", times=None)
            await both.slack.disconnect_sockets("abort")
        else:
            both.noxus.faults.add(path="*", drop="before", times=None)

        def lift() -> None:
            broken.discard(name)
            faults.clear()

        return Arms(lift)

    return arm


async def lock_database(scene: Scene, _times: int | None) -> Arms:
    """Somebody else holds the file."""
    held = machine.locked(scene.database_url.removeprefix("sqlite:///"))
    await asyncio.to_thread(held.__enter__)
    return Arms(lambda: held.__exit__(None, None, None))


async def slow_database(_scene: Scene, _times: int | None) -> Arms:
    """Every statement takes a quarter of a second."""
    MACHINE.slow_statement = 0.25
    return Arms(lambda: setattr(MACHINE, "slow_statement", 0.0))


async def stop_postgresql(_scene: Scene, _times: int | None) -> Arms:
    """The server loses its power."""
    await asyncio.to_thread(server().stop)
    return Arms(server().start)


async def lock_postgresql(scene: Scene, _times: int | None) -> Arms:
    """Somebody holds the table of turns, as a careless migration would."""
    held = psycopg.connect(scene.database_url)
    held.execute("LOCK TABLE turns IN ACCESS EXCLUSIVE MODE")
    return Arms(held.close)


async def refuse_writes(scene: Scene, _times: int | None) -> Arms:
    """The server can be read only, as on a full disk, or after a failover to one that follows."""
    setting = "default_transaction_read_only"
    order(scene, f"ALTER SYSTEM SET {setting} = on", "SELECT pg_reload_conf()")
    return Arms(lambda: order(scene, f"ALTER SYSTEM RESET {setting}", "SELECT pg_reload_conf()"))


def order(scene: Scene, *statements: str) -> None:
    """Let somebody else run these on the server."""
    with psycopg.connect(scene.database_url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def soon(arm: Arm, when: Callable[[Scene], bool] = acts.grows) -> Arm:
    """It strikes when the answer has begun to grow."""

    async def later(scene: Scene, times: int | None) -> Arms:
        arms: list[Arms] = []
        struck = asyncio.get_running_loop().create_future()

        async def strike() -> None:
            await scene.until(lambda: when(scene))
            arms.append(await arm(scene, times))
            struck.set_result(MACHINE.now)

        task = asyncio.create_task(strike())
        return Arms(lambda: [task.cancel(), *(each.lift() for each in arms)], struck=struck)

    return later


async def fill_disk(_scene: Scene, _times: int | None) -> Arms:
    """No file can grow."""
    full = machine.full_disk()
    full.__enter__()
    return Arms(lambda: full.__exit__(None, None, None))


def jump(hours: float) -> Arm:
    """The clock on the wall jumps, as it also does for the database, and stays there."""

    async def arm(scene: Scene, _times: int | None) -> Arms:
        async def soon() -> None:
            await asyncio.sleep(1.0)
            MACHINE.wall += hours * 3_600

        task = asyncio.create_task(soon())
        return Arms(task.cancel)

    return arm


def jump_of_postgresql(hours: float) -> Arm:
    """The server hands over to one whose clock goes so much before. Nobody can set the clock of a server alone: its
    sessions begin anew, and find another function under the name of the clock."""

    async def arm(scene: Scene, _times: int | None) -> Arms:
        clock = "statement_timestamp()"
        order(
            scene,
            "CREATE SCHEMA shifted",
            f"CREATE FUNCTION shifted.{clock} RETURNS timestamptz STABLE LANGUAGE sql "
            f"AS $$SELECT pg_catalog.{clock} + interval '{hours} hours'$$",
            "DO $$BEGIN EXECUTE format("
            "'ALTER DATABASE %I SET search_path = shifted, public, pg_catalog', current_database()); END$$",
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()",
        )
        return Arms(lambda: None)

    return arm
