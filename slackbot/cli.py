"""The command line: ``run``, ``demo``, ``probe``, ``migrate``, ``feedback``, ``handovers``.

Everything heavy is imported by the command that needs it, so that ``--help`` and ``--version`` answer at once.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
from collections.abc import Callable, Coroutine, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from slackbot import __version__

if TYPE_CHECKING:
    from slackbot.domain import BotIdentity

DEMO_PORT = 8400

FAILED = 1
WRONG_SETTINGS = 2
INTERRUPTED = 130  # what a shell reports for a program that Ctrl-C ended


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0, ``FAILED``, ``WRONG_SETTINGS`` (also a wrong command line) or
    ``INTERRUPTED``."""
    arguments = _parser().parse_args(argv)
    command: Callable[[argparse.Namespace], None] = arguments.command

    from slackbot.errors import SlackbotError
    from slackbot.loading import SettingsError

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

    _add_probe(commands)

    migrate = commands.add_parser(
        "migrate",
        help="bring the database up to date",
        description="Create or update the tables in DATABASE_URL. run and demo do it by themselves.",
    )
    migrate.set_defaults(command=_migrate)

    feedback = commands.add_parser(
        "feedback",
        help="list what people think of answers",
        description="List the thumbs up and down in DATABASE_URL, newest first.",
    )
    form = feedback.add_mutually_exclusive_group()
    form.add_argument("--json", dest="form", action="store_const", const="json", help="print one JSON object a line")
    form.add_argument("--csv", dest="form", action="store_const", const="csv", help="print CSV with a header")
    _add_newest(feedback)
    feedback.set_defaults(command=_feedback, form="table")

    handovers = commands.add_parser(
        "handovers",
        help="list who asked for a human, and how long that took",
        description="List the handovers in DATABASE_URL, newest first, or show one with all its steps.",
    )
    handovers.add_argument("id", metavar="ID", nargs="?", type=_many, help="show this one")
    handovers.add_argument("--json", action="store_true", help="print one JSON object a line")
    _add_newest(handovers)
    handovers.set_defaults(command=_handovers)
    return parser


def _add_newest(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--since", metavar="DATE", type=_since, help="only from this day on (UTC): 2026-11-01, or 7d for 7 days ago"
    )
    command.add_argument("--limit", metavar="N", type=_many, help="only the newest N")


def _add_probe(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    probe = commands.add_parser(
        "probe",
        help="try what no documentation says of your Noxus and your Slack",
        description="Ask the real Noxus and the real Slack what no documentation answers, within two minutes, and "
        "compare it with what the simulators assume. Everything it makes there is removed in the end.",
    )
    place = probe.add_mutually_exclusive_group()
    place.add_argument("--channel", metavar="C…", type=_id("CGD"), help="a test channel that the bot is in")
    place.add_argument("--dm", metavar="U…", type=_id("UW"), help="or a person who may be written to")
    side = probe.add_mutually_exclusive_group()
    side.add_argument("--noxus-only", action="store_true", help="leave Slack alone; needs no setting of its")
    side.add_argument("--slack-only", action="store_true", help="leave Noxus alone; needs no setting of its")
    probe.add_argument("--json", action="store_true", help="print the report as JSON")
    probe.add_argument("--keep", action="store_true", help="remove nothing, to look at it")
    probe.add_argument("--human", action="store_true", help="let the agent call a human, if it can: somebody may come")
    probe.add_argument("--large", action="store_true", help="send inline files of up to 40 MB to Noxus")
    probe.set_defaults(command=_probe)


def _run(_arguments: argparse.Namespace) -> None:
    from slackbot import logs
    from slackbot.loading import load_settings

    settings = load_settings()
    logs.setup(settings.log_level, settings.log_format, settings.secrets())
    print(f"slackbot {__version__}\n{settings.summary()}", flush=True)

    from slackbot.app import serve

    def ready(identities: Sequence[BotIdentity]) -> None:
        for me in identities:
            print(f"Team      {me.team_name} ({me.team_id})", flush=True)

    asyncio.run(serve(settings, ready=ready))


def _demo(arguments: argparse.Namespace) -> None:
    from slackbot.demo import serve

    asyncio.run(serve(arguments.port))


def _probe(arguments: argparse.Namespace) -> None:
    import json

    from slackbot import logs
    from slackbot.probe.run import Wanted, probe, settings_for

    wanted = Wanted(
        noxus=not arguments.slack_only,
        slack=not arguments.noxus_only,
        place=arguments.channel or arguments.dm or "",
        keep=arguments.keep,
        human=arguments.human,
        large=arguments.large,
    )
    settings = settings_for(wanted)
    secrets = settings.secrets()
    logs.setup(settings.log_level, settings.log_format, secrets)
    report = asyncio.run(probe(settings, wanted, lambda text: print(logs.redact(text, secrets), file=sys.stderr)))
    shown = json.dumps(report.to_json(), indent=2, ensure_ascii=False) if arguments.json else report.text()
    print(logs.redact(shown, secrets))


def _migrate(_arguments: argparse.Namespace) -> None:
    from slackbot import logs
    from slackbot.loading import load_common_settings
    from slackbot.store.migrate import upgrade

    settings = load_common_settings()
    logs.setup(settings.log_level, settings.log_format, settings.secrets())
    upgrade(settings.database_url.get_secret_value())
    print(f"{settings.database_shown} is up to date.")


def _feedback(arguments: argparse.Namespace) -> None:
    from slackbot.feedback import listed

    _print_stored(lambda url: listed(url, arguments.since, arguments.limit, arguments.form))


def _handovers(arguments: argparse.Namespace) -> None:
    from slackbot.handover_report import reported

    wanted = {"since": arguments.since, "limit": arguments.limit, "handover_id": arguments.id}
    _print_stored(lambda url: reported(url, **wanted, as_json=arguments.json))


def _print_stored(read: Callable[[str], Coroutine[Any, Any, str]]) -> None:
    """Print what is read from the database, if that has the tables for it."""
    from slackbot import logs
    from slackbot.loading import load_common_settings
    from slackbot.store import StoreError
    from slackbot.store.migrate import is_current

    settings = load_common_settings()
    logs.setup(settings.log_level, settings.log_format, settings.secrets())
    url = settings.database_url.get_secret_value()
    if not is_current(url):
        raise StoreError(f"{settings.database_shown} lacks the tables of this version: run slackbot migrate")
    if text := asyncio.run(read(url)):
        with contextlib.suppress(BrokenPipeError):  # head has seen enough
            print(text)


def _port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) > 65_535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port number (0 to 65535)")
    return int(text)


def _id(kinds: str) -> Callable[[str], str]:
    def check(text: str) -> str:
        if text[:1] not in kinds or not text.isalnum() or text != text.upper():
            raise argparse.ArgumentTypeError(f"{text!r} is not an id such as {kinds[0]}0123ABCD")
        return text

    return check


def _since(text: str) -> float:
    try:
        if text[-1:] == "d" and text[:-1].isdecimal():
            return (datetime.now(UTC) - timedelta(days=int(text[:-1]))).timestamp()
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC).timestamp()
    except (ValueError, OverflowError) as error:
        raise argparse.ArgumentTypeError(f"{text!r} is neither a day such as 2026-11-01 nor days such as 7d") from error


def _many(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 0 < int(text) < 10**9:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 up")
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
