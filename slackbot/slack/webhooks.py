"""Signed HTTP: Slack's requests checked before anything else looks at them."""

from __future__ import annotations

import hmac
import json
import time
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import parse_qs

from aiohttp import web
from slack_sdk.signature import SignatureVerifier

from slackbot.serving import HttpServer, Refused, read_body
from slackbot.slack.server import Gate

REPLAY_SECONDS: Final = 300.0
"""https://docs.slack.dev/authentication/verifying-requests-from-slack"""
PATHS: Final = ("/slack/events", "/slack/interactive")


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
        handlers = {path: {"POST": self._receive, "GET": self._certificate} for path in PATHS}
        self._http = HttpServer(host, port, {**handlers, "/healthz": {"GET": self._health}})
        self._verifier = SignatureVerifier(signing_secret)
        self._gate = gate
        self._wall = wall
        self._accepting = False

    @property
    def is_connected(self) -> bool:
        """Whether events can arrive now."""
        return self._accepting

    @property
    def port(self) -> int:
        """The port in use, also when 0 was asked for."""
        return self._http.port

    async def start(self) -> None:
        """Listen. Raises ``CannotListen``."""
        await self._http.start()
        self._accepting = True

    async def stop(self) -> None:
        """Refuse what is new, which Slack then delivers again, and answer what was taken."""
        self._accepting = False
        await self._http.stop()

    async def _health(self, _request: web.BaseRequest) -> web.Response:
        return web.json_response({"ok": self._accepting}, status=200 if self._accepting else 503)

    async def _certificate(self, request: web.BaseRequest) -> web.Response:
        """Slack's test of our certificate may also be a GET; nothing else is."""
        if request.query.get("ssl_check") != "1":
            raise Refused(405, "no such method", allow="POST")
        return web.Response()

    async def _receive(self, request: web.BaseRequest) -> web.Response:
        if not self._accepting:
            raise Refused(503, "stopping")
        body = self._checked(request.headers, await read_body(request))
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

    def _checked(self, headers: Mapping[str, str], raw: bytes) -> Mapping[str, Any]:
        if _is_ssl_check(raw):
            return {"type": "ssl_check"}
        if problem := self._problem(headers, raw):
            raise Refused(401, problem)
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
        raise Refused(400, "no JSON object in UTF-8")
    return body


def _is_ssl_check(raw: bytes) -> bool:
    """Slack's test of our certificate: a form that is not signed and asks for nothing."""
    return len(raw) < 1024 and b"ssl_check=1" in raw.split(b"&")
