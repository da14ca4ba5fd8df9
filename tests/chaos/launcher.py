"""Starts bots quickly, as copies of one process that has everything imported: ``python -m tests.chaos.launcher``.

Reads an order a line as JSON, answers each with ``{"pid": …}``, and tells ``{"ended": …, "status": …}`` of each bot.
SIGUSR1 arms a bot: its moments are counted from then on.
"""

from __future__ import annotations

from tests.chaos import wall  # before the bot

# isort: split

import json
import os
import signal
import sys
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from slackbot import app, cli, config, logs
from slackbot.store import migrate
from tests.chaos.moments import Watch, watch_everything

IMPORTED = (app, cli, config, logs, migrate)


def main() -> None:
    """Serve until the input ends; then end what still runs."""
    children: set[int] = set()

    def reap(*_: object) -> None:
        with suppress(ChildProcessError):  # none is left
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                children.discard(ended[0])
                _tell({"ended": ended[0], "status": os.waitstatus_to_exitcode(ended[1])})

    signal.signal(signal.SIGCHLD, reap)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        for line in sys.stdin:
            order = json.loads(line)
            # Until it is known which child ended, none may.
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
            pid = os.fork()
            if not pid:
                _become(order)
            children.add(pid)
            _tell({"pid": pid})
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
    finally:
        for pid in list(children):
            os.kill(pid, signal.SIGKILL)


def _tell(what: dict[str, Any]) -> None:
    os.write(1, f"{json.dumps(what)}\n".encode())


def _become(order: dict[str, Any]) -> NoReturn:
    """Be the bot of the order, from here to its end."""
    code = 70
    try:
        for number in (signal.SIGCHLD, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
        folder = Path(order["folder"])
        os.chdir(folder)
        for target, name in ((0, os.devnull), (1, order["name"] + ".out"), (2, order["name"] + ".log")):
            opened = os.open(name, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
            os.dup2(opened, target)
            os.close(opened)
        os.environ.update(order["environ"])
        wall.put(order["ahead"])
        watch = Watch(order["notes"], order["die"], order["once"], armed=order["armed"])
        signal.signal(signal.SIGUSR1, lambda *_: watch.arm())
        watch_everything(watch)
        code = cli.main(["run"])
    except BaseException:  # noqa: BLE001 - a copy of the launcher must end here, whatever happens
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    main()
