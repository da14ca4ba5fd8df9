"""Signed HTTP: Slack's requests checked before anything else looks at them."""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import parse_qs

from aiohttp import web
from slack_sdk.signature import SignatureVerifier

from slackbot.errors import SlackbotError
from slackbot.slack.server import Gate

log = logging.getLogger(__name__)

BODY_BYTES: Final = 1024 * 1024
BODY_SECONDS: Final = 10.0
REPLAY_SECONDS: Final = 300.0
"""https://docs.slack.dev/authentication/verifying-requests-from-slack"""
STOP_SECONDS: Final = 10.0
IDLE_SECONDS: Final = 75.0
PATHS: Final = ("/slack/events", "/slack/interactive")


class CannotListenError(SlackbotError):
    """The address is taken or not ours."""

    code = "cannot_listen"


class _RefusedError(Exception):
    """A request that is answered with ``status`` and leaves nothing but a log line."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


class Webhooks:
    """An HTTP server for Slack's events and button presses, with ``/healthz`` beside them."""

    def __init__(
        self,
        host: str,
        port: int,
        signing_secret: str,
        gate: Gate,
        *,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._host = host
        self._port = port
        self._verifier = SignatureVerifier(signing_secret)
        self._gate = gate
        self._wall = wall
        self._accepting = False
        self._runner: web.AppRunner | None = None

    @property
    def is_connected(self) -> bool:
        """Whether events can arrive now."""
        return self._accepting

    @property
    def port(self) -> int:
        """The port in use, also when 0 was asked for."""
        return int(self._runner.addresses[0][1]) if self._runner and self._runner.addresses else self._port

    async def start(self) -> None:
        """Listen. Raises ``CannotListenError``."""
        app = web.Application(client_max_size=BODY_BYTES)
        app.add_routes([web.post(path, self._receive) for path in PATHS])
        app.add_routes([web.get("/healthz", self._health)])
        self._runner = web.AppRunner(
            app, access_log=None, keepalive_timeout=IDLE_SECONDS, shutdown_timeout=STOP_SECONDS
        )
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, self._host, self._port).start()
        except OSError as error:
            await self._runner.cleanup()
            raise CannotListenError(f"cannot listen on {self._host}:{self._port}: {error.strerror}") from error
        self._accepting = True

    async def stop(self) -> None:
        """Refuse what is new, which Slack then delivers again, and answer what was taken."""
        self._accepting = False
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _health(self, _request: web.Request) -> web.Response:
        return web.json_response({"ok": self._accepting}, status=200 if self._accepting else 503)

    async def _receive(self, request: web.Request) -> web.Response:
        try:
            body = await self._body(request)
        except _RefusedError as refused:
            ids = {"status": refused.status, "reason": refused.reason, "path": request.path, "peer": request.remote}
            log.warning("http.refused", extra=ids)
            return web.Response(status=refused.status)
        match body.get("type"):
            case "url_verification":
                return web.json_response({"challenge": str(body.get("challenge", ""))})
            case "ssl_check":
                return web.Response()
        taken = await self._gate.deliver(
            body,
            attempt=request.headers.get("X-Slack-Retry-Num", ""),
            reason=request.headers.get("X-Slack-Retry-Reason", ""),
        )
        return web.Response(status=200 if taken else 500)

    async def _body(self, request: web.Request) -> Mapping[str, Any]:
        if not self._accepting:
            raise _RefusedError(503, "stopping")
        try:
            async with asyncio.timeout(BODY_SECONDS):
                raw = await request.read()
        except web.HTTPRequestEntityTooLarge:
            raise _RefusedError(413, f"more than {BODY_BYTES} bytes") from None
        except TimeoutError:
            raise _RefusedError(408, "the body did not arrive in time") from None
        except (web.RequestPayloadError, ConnectionError):
            raise _RefusedError(400, "broken body") from None
        if _is_ssl_check(raw):
            return {"type": "ssl_check"}
        if problem := self._problem(request.headers, raw):
            raise _RefusedError(401, problem)
        return _decoded(raw)

    def _problem(self, headers: Mapping[str, str], raw: bytes) -> str:
        """Why the request is not Slack's, or empty. Over the raw bytes: any rewriting would change the signature."""
        stamp, signature = headers.get("X-Slack-Request-Timestamp", ""), headers.get("X-Slack-Signature", "")
        if not signature:
            return "no signature"
        if not (stamp.isascii() and stamp.isdigit() and len(stamp) < 16):  # int() takes more than digits
            return "no timestamp"
        if abs(self._wall() - int(stamp)) > REPLAY_SECONDS:
            return "stale timestamp"
        try:
            expected = self._verifier.generate_signature(timestamp=stamp, body=raw) or ""
        except UnicodeDecodeError:
            return "not UTF-8"
        if not hmac.compare_digest(expected.encode(), signature.encode("utf-8", "replace")):
            return "wrong signature"
        return ""


def _decoded(raw: bytes) -> Mapping[str, Any]:
    """The JSON object of a request: as it is, or as the form field ``payload`` of interactivity."""
    try:
        text = raw.decode()
        if not text.lstrip().startswith("{"):
            text = parse_qs(text, max_num_fields=16).get("payload", [""])[0]
        body = json.loads(text)
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict):
        raise _RefusedError(400, "no JSON object in UTF-8")
    return body


def _is_ssl_check(raw: bytes) -> bool:
    """Slack's test of our certificate: a form that is not signed and asks for nothing."""
    return len(raw) < 1024 and b"ssl_check=1" in raw.split(b"&")
