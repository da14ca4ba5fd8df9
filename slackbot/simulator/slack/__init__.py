"""A Slack workspace on real sockets, strict by default: Web API, Socket Mode, signed HTTP, limits and faults."""

from __future__ import annotations

from slackbot.simulator.slack.faults import Fault
from slackbot.simulator.slack.model import SimMessage, Version
from slackbot.simulator.slack.record import ApiCall, Delivery
from slackbot.simulator.slack.scopes import Grants
from slackbot.simulator.slack.simulator import SlackSimulator
from slackbot.simulator.slack.traffic import Line

__all__ = ["ApiCall", "Delivery", "Fault", "Grants", "Line", "SimMessage", "SlackSimulator", "Version"]
