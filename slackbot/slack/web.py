"""Slack's Web API over one HTTP session, with Slack's refusals as our errors."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Final

import aiohttp
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient
from slack_sdk.web.async_slack_response import AsyncSlackResponse

from slackbot.errors import BodyRefused, ChatError, ChatRateLimited, ChatUnavailable, MessageGone, ThreadClosed
from slackbot.leases import CALL_SECONDS, may_write

log = logging.getLogger(__name__)

CONNECT_SECONDS: Final = 5.0
RETRY_AFTER_SECONDS: Final = 30.0
"""Assumed when Slack says "too many" without saying for how long."""
LONGEST_RETRY_AFTER: Final = 300.0
"""Of a longer time we ask sooner: whoever waits for it would be deaf or dumb that long."""

READS: Final = ("conversations.", "users.", "bots.", "usergroups.", "chat.getPermalink")
_TAKE_JSON: Final = ("chat.", "assistant.", "agents.")

# Error codes as the method pages list them: https://docs.slack.dev/reference/methods/chat.postMessage and siblings.
_KINDS: Final[dict[type[ChatError], frozenset[str]]] = {
    BodyRefused: frozenset({
        "attachment_payload_limit_exceeded", "block_mismatch", "invalid_blocks", "invalid_blocks_format",
        "invalid_metadata_format", "invalid_metadata_schema", "markdown_text_conflict", "metadata_too_large",
        "msg_blocks_too_long", "msg_too_long", "no_text", "too_many_contact_cards",
    }),
    MessageGone: frozenset({
        "cant_delete_message", "cant_update_message", "edit_window_closed", "is_inactive", "message_not_found",
        "message_not_owned_by_app",
    }),
    ThreadClosed: frozenset({
        "access_denied", "accesslimited", "account_inactive", "app_access_restricted", "cannot_reply_to_message",
        "channel_not_found", "channel_type_not_supported", "ekm_access_denied", "enterprise_is_restricted",
        "invalid_auth", "is_archived", "messages_tab_disabled", "no_permission", "not_allowed_token_type", "not_authed",
        "not_in_channel", "restricted_action", "restricted_action_non_threadable_channel",
        "restricted_action_read_only_channel", "restricted_action_thread_locked",
        "restricted_action_thread_only_channel", "team_access_not_granted", "team_not_found", "thread_not_found",
        "token_expired", "token_revoked", "two_factor_setup_required", "user_not_in_channel",
    }),
    ChatUnavailable: frozenset({
        "external_channel_migrating", "fatal_error", "internal_error", "org_login_required", "request_timeout",
        "service_unavailable", "streaming_state_conflict", "team_added_to_org", "update_failed",
    }),
}  # fmt: skip
_TOO_MANY: Final = frozenset({"message_limit_exceeded", "rate_limited", "ratelimited"})
_KIND_OF: Final = {code: kind for kind, codes in _KINDS.items() for code in codes}
_UNREADABLE: Final = (AttributeError, LookupError, RecursionError, ValueError)
"""What the SDK makes of an answer that is no JSON object: another value, an unknown charset, too deep, or no text."""


class NotSent(ChatUnavailable):
    """No connection could be made, so the call did not happen: it may be repeated."""

    code = "slack_not_reached"


class WebApi:
    """Calls Slack's Web API. Proxies and an own certificate authority come from their usual environment variables."""

    def __init__(self, api_url: str = AsyncWebClient.BASE_URL) -> None:
        """Open the session; needs a running event loop."""
        # The SDK ignores its own timeout when it is given a session.
        timeout = aiohttp.ClientTimeout(total=CALL_SECONDS, sock_connect=CONNECT_SECONDS)
        self.session = aiohttp.ClientSession(trust_env=True, timeout=timeout)
        self.client = AsyncWebClient(
            base_url=api_url, session=self.session, retry_handlers=[], logger=quiet_logger("web")
        )
        # What the SDK reads from the environment knows nothing of NO_PROXY; the session's trust_env does.
        self.client.proxy = None
        self.scopes: dict[str, str] = {}
        """What each token may do, separated by commas, as Slack's latest answer to it said."""
        self._told: set[tuple[str, str]] = set()

    async def aclose(self) -> None:
        """Close all connections."""
        await self.session.close()

    async def call(self, method: str, token: str, arguments: Mapping[str, Any] | None = None) -> Mapping[str, Any]:
        """Call ``method`` once and return Slack's answer.

        What changes Slack for a turn waits until the turn is surely ours. Raises the ``ChatError`` kind of Slack's
        refusal, ``NotSent`` when no connection was made, ``ChatUnavailable`` when it is not known whether the call
        happened, and ``TurnLost``.
        """
        response = await self._ask(method, token, arguments or {})
        if not isinstance(response.data, dict):
            raise ChatUnavailable(f"{method}: no usable answer from Slack ({type(response.data).__name__})")
        self.scopes[token] = str(response.headers.get("x-oauth-scopes") or "")
        return response.data

    async def identify(self, token: str) -> tuple[Mapping[str, Any], frozenset[str]]:
        """Who the token belongs to, and its scopes; none where Slack does not name them. Raises as ``call`` does.

        https://docs.slack.dev/reference/methods/auth.test
        """
        me = await self.call("auth.test", token)
        return me, frozenset(filter(None, self.scopes[token].split(",")))

    def tell_missing(self, method: str, token: str, scope: str) -> None:
        """Log a scope that was not granted, once: optional ones may stay away for good."""
        if (token, scope) not in self._told:
            self._told.add((token, scope))
            log.warning("scope.missing", extra={"scope": scope, "method": method})

    async def _ask(self, method: str, token: str, arguments: Mapping[str, Any]) -> AsyncSlackResponse:
        given = {**arguments, "token": token}
        try:
            reads = method.startswith(READS)
            if not reads:
                # Nothing comes between this and the call: whoever takes the turn over reckons from here.
                await may_write()
            if method.startswith(_TAKE_JSON) and not reads:
                return await self.client.api_call(method, json=given)
            return await self.client.api_call(method, http_verb="GET" if reads else "POST", params=given)
        except SlackApiError as error:
            refusal = _refusal(method, error)
            if refusal.slack_error == "missing_scope":
                self.tell_missing(method, token, str(error.response.data.get("needed", "")))
            raise refusal from error
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise NotSent(f"{method}: Slack cannot be reached ({type(error).__name__})") from error
        except (aiohttp.ClientError, TimeoutError, OSError, *_UNREADABLE) as error:
            raise ChatUnavailable(f"{method}: no usable answer from Slack ({type(error).__name__})") from error


def quiet_logger(name: str) -> logging.Logger:
    """Return a logger for Bolt and the SDK, which write message texts at DEBUG and INFO: those levels stay shut."""
    logger = logging.getLogger(f"slackbot.slack.vendor.{name}")
    logger.setLevel(logging.WARNING)
    return logger


def _refusal(method: str, error: SlackApiError) -> ChatError:
    # After a body that is no JSON the SDK hands out aiohttp's response, which has other names.
    response = error.response
    data = getattr(response, "data", None)
    status = int(getattr(response, "status_code", 0) or getattr(response, "status", 0))
    headers = getattr(response, "headers", {})
    code = str(data.get("error") or "") if isinstance(data, dict) else ""
    message = f"{method}: {code or f'HTTP {status}'}"
    if status == 429 or code in _TOO_MANY:
        return ChatRateLimited(message, retry_after=_seconds(headers.get("Retry-After")))
    if status >= 500 or not code:
        return ChatUnavailable(message, slack_error=code)
    return _KIND_OF.get(code, ChatError)(message, slack_error=code)


def _seconds(header: str | None) -> float:
    if not (header and header.isascii() and header.isdigit()):
        return RETRY_AFTER_SECONDS
    return min(max(float(header), 1.0), LONGEST_RETRY_AFTER)
