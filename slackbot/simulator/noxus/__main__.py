"""The simulated Noxus in a process of its own: ``python -m slackbot.simulator.noxus --port 0 --set rate=40``."""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys

from pydantic import ValidationError

from slackbot.simulator.noxus import NoxusSimulator


def main() -> None:
    """Serve until SIGINT or SIGTERM; the first line printed is JSON with the url, key, agent and flow."""
    parser = argparse.ArgumentParser(prog="python -m slackbot.simulator.noxus", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="port on 127.0.0.1 (default: a free one)")
    parser.add_argument("--set", action="append", default=[], metavar="SWITCH=VALUE", help="may be repeated")
    options = parser.parse_args()
    switches = dict(setting.partition("=")[::2] for setting in options.set)
    try:
        simulator = NoxusSimulator(**switches)
    except ValidationError as error:
        parser.error(f"{error}")
    asyncio.run(_serve(simulator, options.port))


async def _serve(simulator: NoxusSimulator, port: int) -> None:
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    await simulator.start(port)
    shown = {
        "url": simulator.url,
        "api_key": simulator.api_key,
        "agent_id": simulator.agent_id,
        "flow_id": simulator.flow_id,
    }
    sys.stdout.write(f"{json.dumps(shown)}\n")
    sys.stdout.flush()
    try:
        await stopped.wait()
    finally:
        await simulator.stop()


main()
