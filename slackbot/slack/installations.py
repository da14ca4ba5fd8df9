"""Which token and which bot user serve a team: the one place that knows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from slackbot.domain import BotIdentity
from slackbot.errors import ThreadClosed
from slackbot.slack.web import WebApi

REQUIRED_SCOPES: Final = frozenset(
    {"app_mentions:read", "channels:history", "chat:write", "groups:history", "im:history"}
)
"""Without one of these there are messages that never come or stay unanswered. The app's manifest asks for them."""
UNSEEN_SCOPES: Final = frozenset({"commands"})
"""Optional ones that no call needs, so that nothing else would tell of them."""


@dataclass(frozen=True, slots=True)
class Installation:
    """The app in one team. The token is kept out of ``repr``."""

    identity: BotIdentity
    token: str = field(repr=False)


class Installations:
    """The teams that have installed the app. With ``SLACK_BOT_TOKEN`` it is one."""

    def __init__(self, installations: tuple[Installation, ...]) -> None:
        self._by_team = {installation.identity.team_id: installation for installation in installations}

    @classmethod
    async def single(cls, web: WebApi, bot_token: str) -> Installations:
        """The workspace of ``SLACK_BOT_TOKEN``, asked from Slack. Raises ``ChatError`` when Slack refuses it."""
        me, granted = await web.identify(bot_token)
        for scope in sorted((REQUIRED_SCOPES | UNSEEN_SCOPES) - granted) if granted else ():
            web.tell_missing("auth.test", bot_token, scope)
        identity = BotIdentity(
            team_id=str(me.get("team_id") or ""),
            team_name=str(me.get("team") or ""),
            user_id=str(me.get("user_id") or ""),
            bot_id=str(me.get("bot_id") or ""),
            app_id=str(me["app_id"]) if me.get("app_id") else None,
        )
        return cls((Installation(identity, bot_token),))

    @property
    def identities(self) -> list[BotIdentity]:
        """Who we are, in each team."""
        return [installation.identity for installation in self._by_team.values()]

    def identity(self, team_id: str) -> BotIdentity | None:
        """Who we are in the team; None where the app is not installed."""
        installation = self._by_team.get(team_id)
        return installation.identity if installation else None

    def find(self, team_id: str) -> Installation:
        """The team's installation. Raises ``ThreadClosed`` when there is none."""
        try:
            return self._by_team[team_id]
        except KeyError:
            raise ThreadClosed(f"the app is not installed in team {team_id}") from None
