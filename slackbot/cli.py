"""The command line: ``run``, ``demo``, ``migrate``.

Everything heavy is imported by the command that needs it, so that ``--help`` and ``--version`` answer at once.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Callable, Iterator, Sequence

from slackbot import __version__

DEMO_PORT = 8400

FAILED = 1
WRONG_SETTINGS = 2
INTERRUPTED = 130  # what a shell reports for a program that Ctrl-C ended


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0, ``FAILED``, ``WRONG_SETTINGS`` (also a wrong command line) or
    ``INTERRUPTED``."""
    arguments = _parser().parse_args(argv)
    command: Callable[[argparse.Namespace], None] = arguments.command

    from slackbot.config import SettingsError
    from slackbot.errors import SlackbotError

    try:
        command(arguments)
    except SettingsError as error:
        return _say(str(error), WRONG_SETTINGS)
    except (SlackbotError, OSError) as error:
        return _say(str(error), FAILED)
    except ExceptionGroup as errors:
        # What a task group lets out: expected as long as each error in it is one that would be expected alone.
        expected, others = errors.split((SlackbotError, OSError))
        if expected is None or others is not None:
            raise
        return _say("; ".join(map(str, _leaves(expected))), FAILED)
    except KeyboardInterrupt:
        return INTERRUPTED
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="slackbot",
        description="Slack threads that talk to a Noxus agent.",
        epilog="Settings are environment variables, or lines of a file named .env; the README lists them.",
    )
    parser.add_argument("--version", action="version", version=f"slackbot {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    run = commands.add_parser("run", help="connect to Slack and answer", description="Connect to Slack and answer.")
    run.set_defaults(command=_run)

    demo = commands.add_parser(
        "demo",
        help="show the bot in a simulated Slack, in a browser",
        description="Run the bot against a Slack simulated on this machine, and show that Slack as a web page.",
    )
    demo.add_argument(
        "--port", type=_port, default=DEMO_PORT, help="port of the page on 127.0.0.1, 0 for any free one (%(default)s)"
    )
    demo.set_defaults(command=_demo)

    migrate = commands.add_parser(
        "migrate",
        help="bring the database up to date",
        description="Create or update the tables in DATABASE_URL. run and demo do it by themselves.",
    )
    migrate.set_defaults(command=_migrate)
    return parser


def _run(_arguments: argparse.Namespace) -> None:
    from slackbot import logs
    from slackbot.config import load_settings

    settings = load_settings()
    logs.setup(settings.log_level, settings.log_format, settings.secrets())
    print(f"slackbot {__version__}\n{settings.summary()}", flush=True)

    from slackbot.app import serve

    asyncio.run(serve(settings))


def _demo(arguments: argparse.Namespace) -> None:
    from slackbot.demo import serve

    asyncio.run(serve(arguments.port))


def _migrate(_arguments: argparse.Namespace) -> None:
    from slackbot import logs
    from slackbot.config import load_common_settings
    from slackbot.store.migrate import upgrade

    settings = load_common_settings()
    logs.setup(settings.log_level, settings.log_format, settings.secrets())
    upgrade(settings.database_url.get_secret_value())
    print(f"{settings.database_shown} is up to date.")


def _port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) > 65_535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port number (0 to 65535)")
    return int(text)


def _leaves(errors: ExceptionGroup[Exception]) -> Iterator[Exception]:
    for error in errors.exceptions:
        if isinstance(error, ExceptionGroup):
            yield from _leaves(error)
        else:
            yield error


def _say(text: str, code: int) -> int:
    print(f"slackbot: {text}", file=sys.stderr)
    return code
