"""A local Noxus on real sockets: the documented API, an agent that follows a script, faults and switches to order."""

from __future__ import annotations

from slackbot.simulator.noxus.conversations import SimConversation, SimFile
from slackbot.simulator.noxus.faults import Faults
from slackbot.simulator.noxus.history import SimMessage
from slackbot.simulator.noxus.server import NoxusSimulator, Request
from slackbot.simulator.noxus.switches import Switches
from slackbot.simulator.noxus.troubles import Trouble, troubles

__all__ = [
    "Faults",
    "NoxusSimulator",
    "Request",
    "SimConversation",
    "SimFile",
    "SimMessage",
    "Switches",
    "Trouble",
    "troubles",
]
