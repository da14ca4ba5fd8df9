"""Run the simulated Slack in a process of its own: `python -m slackbot.simulator.slack --port 8800`."""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys

from slackbot.simulator.slack.control import described
from slackbot.simulator.slack.simulator import SlackSimulator


async def _serve(arguments: argparse.Namespace) -> None:
    simulator = SlackSimulator(
        latency=arguments.latency,
        enforce_limits=not arguments.no_limits,
        twins=not arguments.no_twins,
        echoes=not arguments.no_echoes,
        seed=arguments.seed,
    )
    await simulator.start(arguments.port)
    if arguments.request_url:
        simulator.deliver_over_http(arguments.request_url)
    ended = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    sys.stdout.write(json.dumps(described(simulator)) + "\n")
    sys.stdout.flush()
    await ended.wait()
    await simulator.stop()


def main() -> None:
    """Start, say where in one line of JSON, and serve until SIGINT or SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m slackbot.simulator.slack", description="A simulated Slack.")
    parser.add_argument("--port", type=int, default=0, help="port on 127.0.0.1 (default: a free one)")
    parser.add_argument("--latency", type=float, default=0.06, help="seconds a Web API call takes (default: 0.06)")
    parser.add_argument("--seed", type=int, default=0, help="seed of every choice by chance (default: 0)")
    parser.add_argument("--request-url", help="deliver by signed HTTP to this address instead of Socket Mode")
    parser.add_argument("--no-limits", action="store_true", help="no rate limits")
    parser.add_argument("--no-twins", action="store_true", help="a mention is one event, not two")
    parser.add_argument("--no-echoes", action="store_true", help="the bot's own messages make no events")
    try:
        asyncio.run(_serve(parser.parse_args()))
    except OSError as error:
        parser.exit(1, f"cannot listen: {error.strerror}; choose another --port\n")


if __name__ == "__main__":
    main()
