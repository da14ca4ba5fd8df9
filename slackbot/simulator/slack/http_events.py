"""Signed HTTP: deliveries to a request URL, and the handshake that proves whose URL it is."""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

import aiohttp

if TYPE_CHECKING:
    from slackbot.simulator.slack.clock import Clock
    from slackbot.simulator.slack.model import Json
    from slackbot.simulator.slack.record import Delivery

_REDIRECTS: Final = 2


def signature(secret: str, timestamp: str, body: bytes) -> str:
    """Sign a body as Slack does: https://docs.slack.dev/authentication/verifying-requests-from-slack."""
    return "v0=" + hmac.new(secret.encode(), b"v0:" + timestamp.encode() + b":" + body, hashlib.sha256).hexdigest()


class SignedHttp:
    """Posts each delivery to one request URL, signed; events as JSON, interactions as a form."""

    def __init__(self, url: str, *, secret: str, ack_seconds: float, clock: Clock) -> None:
        self.url = url
        self._secret = secret
        self._clock = clock
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=ack_seconds))

    async def close(self) -> None:
        """Close the client's connections."""
        await self._session.close()

    async def verify_url(self) -> bool:
        """Send the url_verification handshake and tell whether the challenge came back."""
        challenge = secrets.token_urlsafe(32)
        body = json.dumps({"type": "url_verification", "token": "sim-verification-token", "challenge": challenge})
        headers = self.signed(body.encode(), "application/json")
        async with self._session.post(self.url, data=body.encode(), headers=headers) as response:
            return response.ok and challenge in await response.text()

    async def send(self, delivery: Delivery, payload: Json, *, retry_reason: str, patience: float) -> None:  # noqa: ARG002  a URL can always be tried
        """Post once; anything but 2xx within three seconds is a failure."""
        body, content_type = json.dumps(payload).encode(), "application/json"
        if delivery.kind == "interactive":
            body, content_type = urlencode({"payload": body}).encode(), "application/x-www-form-urlencoded"
        headers = self.signed(body, content_type)
        if delivery.attempt:
            headers |= {"X-Slack-Retry-Num": str(delivery.attempt), "X-Slack-Retry-Reason": retry_reason}
        try:
            async with self._session.post(self.url, data=body, headers=headers, max_redirects=_REDIRECTS) as response:
                text = await response.text()
                if delivery.kind == "interactive" and response.content_type == "application/json":
                    delivery.response = json.loads(text)
                delivery.status = response.status
                delivery.acked = response.ok
                if not response.ok and response.headers.get("X-Slack-No-Retry") != "1":
                    delivery.failure = "http_error"
        except TimeoutError:
            delivery.failure = "http_timeout"
        except aiohttp.TooManyRedirects:
            delivery.failure = "too_many_redirects"
        except aiohttp.ClientError:
            delivery.failure = "connection_failed"

    def signed(self, body: bytes, content_type: str) -> dict[str, str]:
        """Make the headers of a signed request."""
        timestamp = str(int(self._clock.wall()))
        return {
            "Content-Type": content_type,
            "User-Agent": "Slackbot 1.0 (+https://api.slack.com/robots)",
            "X-Slack-Request-Timestamp": timestamp,
            "X-Slack-Signature": signature(self._secret, timestamp, body),
        }
