"""The way in from Slack, the same for Socket Mode and HTTP: parse, authorize, store, and only then ack.

What Bolt does by itself would lose events: it acks before listeners are done, acks what it cannot authorize, and
refuses what nobody listens to, so that Slack sends that again and again.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Protocol

from slack_bolt.async_app import AsyncApp, AsyncBoltContext, AsyncBoltRequest
from slack_bolt.authorization import AuthorizeResult

from slackbot.domain import Unsupported
from slackbot.serving import failure
from slackbot.slack.events import parse, trace
from slackbot.slack.installations import Installations
from slackbot.slack.listeners import PARSED, Handle, register
from slackbot.slack.web import WebApi, quiet_logger

log = logging.getLogger(__name__)


class SlackServer(Protocol):
    """Receives what Slack delivers, between ``start`` and ``stop``: ``SocketMode`` or ``Webhooks``."""

    @property
    def is_connected(self) -> bool:
        """Whether events can arrive now."""

    async def start(self) -> None:
        """Begin to receive. Raises ``SlackbotError`` kinds when that cannot work at all."""

    async def stop(self) -> None:
        """Take nothing more, and return once everything taken is stored and acked."""


class Gate:
    """Takes payloads in, whichever way they come.

    A handler that returns has stored what it was given. One that raises costs the ack, and Slack delivers again.
    """

    def __init__(self, web: WebApi, installations: Installations, handle: Handle) -> None:
        self._app = _bolt_app(web, installations)
        register(self._app, handle)

    async def deliver(self, body: Mapping[str, Any], *, attempt: str = "", reason: str = "") -> bool:
        """Take one payload in. True: it is stored, or asks nothing of us, and may be acked.

        ``attempt`` and ``reason`` are Slack's own words about a redelivery.
        """
        ids = trace(body)
        if attempt not in ("", "0"):  # a first delivery over Socket Mode says "0"
            log.info("event.redelivered", extra={**ids, "attempt": attempt[:16], "reason": reason[:64]})
        parsed = parse(body)
        if isinstance(parsed, Unsupported):
            level = logging.DEBUG if parsed.routine else logging.INFO
            level = logging.WARNING if body.get("type") == "app_rate_limited" else level
            log.log(level, "event.ignored", extra={**ids, "reason": parsed.reason})
            return True
        try:
            request = AsyncBoltRequest(body=dict(body), mode="socket_mode", context={PARSED: parsed, "ids": ids})
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            # Bolt looks into more fields than we do, and takes their shapes for granted.
            log.warning("event.ignored", extra={**ids, "reason": f"malformed for Bolt: {type(error).__name__}"})
            return True
        response = await self._app.async_dispatch(request)
        return response.status == 200


def _bolt_app(web: WebApi, installations: Installations) -> AsyncApp:
    # Bolt finds out by their argument names what functions want, and takes a method's self for one.
    async def authorize(context: AsyncBoltContext) -> AuthorizeResult:
        # Raises for an unknown team. Returning None, or Slack's own refusal, is what Bolt answers with an ack.
        installation = installations.find(context[PARSED].team_id)
        me = installation.identity
        return AuthorizeResult(
            enterprise_id=None,
            team_id=me.team_id,
            bot_token=installation.token,
            bot_id=me.bot_id,
            bot_user_id=me.user_id,
        )

    async def failed(error: Exception, context: AsyncBoltContext) -> None:
        log.error("event.failed", extra={**context["ids"], **failure(error)})

    quiet = quiet_logger("bolt")
    # It warns of a SLACK_BOT_TOKEN in the environment, which it reads by itself and does not need.
    quiet.setLevel(logging.ERROR)
    app = AsyncApp(
        name=quiet.name,  # Bolt sets the level of the logger of this name, too
        logger=quiet,
        client=web.client,
        authorize=authorize,
        process_before_response=True,
        signing_secret="",
        request_verification_enabled=False,  # done before Bolt, which would log the body of a bad request
        ssl_check_enabled=False,
        url_verification_enabled=False,
        ignoring_self_events_enabled=False,  # our own rules do it, and log why
        attaching_function_token_enabled=False,
        attaching_conversation_kwargs_enabled=False,
    )
    app.error(failed)
    return app
