"""Slack's payloads become our values, and nothing Slack may send can surprise us."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slackbot.domain import Attachment, ChannelKind, InboundMessage, RetryPressed, Unsupported
from slackbot.slack.events import parse, trace

PAYLOADS = Path(__file__).parent / "payloads" / "slack"


def payload(name: str, **event: Any) -> dict[str, Any]:
    """A recorded body; keywords change fields of its inner event."""
    body: dict[str, Any] = json.loads((PAYLOADS / f"{name}.json").read_text())
    if event:
        body["event"] = {**body["event"], **event}
    return body


def message(name: str, **event: Any) -> InboundMessage:
    """The message in a recorded body."""
    parsed = parse(payload(name, **event))
    assert isinstance(parsed, InboundMessage), parsed
    return parsed


def reason(body: dict[str, Any]) -> str:
    """Why a body is left alone."""
    parsed = parse(body)
    assert isinstance(parsed, Unsupported), parsed
    return parsed.reason


def test_a_mention() -> None:
    """Every field of a mention is where it belongs."""
    assert message("app_mention") == InboundMessage(
        team_id="T0ACME",
        channel_id="C0GENERAL",
        channel_kind=ChannelKind.CHANNEL,
        ts="1790000000.000100",
        thread_ts=None,
        user_id="U0ADA",
        text="<@U0AGENT> what changed in the Q3 plan?",
        author_team_id="T0ACME",
        event_id="Ev0MENTION",
    )


def test_twins_are_one_message() -> None:
    """A mention and its message event differ in nothing but the event's id."""
    assert replace(message("app_mention"), event_id="Ev0MESSAGE") == message("message_channel")


@pytest.mark.parametrize(
    ("name", "kind", "text"),
    [
        ("message_reply", ChannelKind.CHANNEL, "and in Q4?"),
        ("message_im", ChannelKind.DM, "hello &amp; good morning"),
        ("message_group", ChannelKind.GROUP, "secret"),
        ("message_mpim", ChannelKind.GROUP_DM, "us three"),
        ("file_share", ChannelKind.CHANNEL, "<@U0AGENT> please read"),
        ("thread_broadcast", ChannelKind.CHANNEL, "for all"),
        ("me_message", ChannelKind.CHANNEL, "waves"),
        ("bot_message", ChannelKind.CHANNEL, "deployed"),
        ("own_post", ChannelKind.CHANNEL, "It was moved."),
    ],
)
def test_what_counts_as_a_message(name: str, kind: ChannelKind, text: str) -> None:
    """These subtypes are somebody saying something."""
    assert (message(name).channel_kind, message(name).text) == (kind, text)


def test_threads() -> None:
    """A reply and a broadcast know their thread; a root that names itself is no reply."""
    assert message("message_reply").is_reply
    assert message("thread_broadcast").thread_ts == "1790000000.000100"
    assert not message("app_mention", thread_ts="1790000000.000100").is_reply


def test_attachments() -> None:
    """Files keep their order and get a readable name; what is no file is left out."""
    assert message("file_share").attachments == (
        Attachment("F0PLAN", "plan.pdf"),
        Attachment("F0AUDIO", "Audio message"),
        Attachment("F0SHARED", "file"),
    )
    assert message("app_mention", files=[7, {"name": "no id"}, {"id": "F1", "name": "a\0b"}]).attachments == (
        Attachment("F1", "a\u2400b"),
    )
    assert message("app_mention", files="F1").attachments == ()


def test_bots_are_named() -> None:
    """Posts of apps carry what the rules need to tell ours from others'."""
    ours, hook = message("own_post"), message("bot_message")
    assert (ours.bot_id, ours.app_id) == ("B0AGENT", "A0AGENT")
    assert (hook.user_id, hook.bot_id, hook.app_id) == ("", "B0HOOK", None)
    assert message("own_post", app_id=None).app_id == "A0AGENT"


def test_slack_connect() -> None:
    """A guest's team is the author's; the message belongs to the team that installed us."""
    guest = message("shared_channel")
    assert (guest.team_id, guest.author_team_id) == ("T0ACME", "T0GLOBEX")


def test_team_without_authorizations() -> None:
    """Without authorizations the context names the team, and without that the envelope."""
    body = payload("shared_channel")
    body["authorizations"] = []
    assert trace(body)["team"] == "T0ACME"
    del body["context_team_id"]
    assert trace(body)["team"] == "T0GLOBEX"


def test_an_organization_is_no_stranger() -> None:
    """In an Enterprise organization the author's team can be the organization itself."""
    body = payload("app_mention", user_team="E0ORG")
    body["enterprise_id"] = "E0ORG"
    parsed = parse(body)
    assert isinstance(parsed, InboundMessage)
    assert parsed.author_team_id == "T0ACME"
    assert message("app_mention", user_team="E0OTHER").author_team_id == "E0OTHER"


def test_unknown_author_team() -> None:
    """An event that does not tell the author's team leaves it open."""
    assert message("app_mention", team=None).author_team_id is None


@pytest.mark.parametrize(
    ("channel", "kind"),
    [("D0ADA", ChannelKind.DM), ("C0GENERAL", ChannelKind.CHANNEL), ("G0OLD", ChannelKind.CHANNEL)],
)
def test_kind_of_a_mention(channel: str, kind: ChannelKind) -> None:
    """A mention does not say where it was written: only a DM's id tells."""
    assert message("app_mention", channel=channel).channel_kind is kind


def test_former_name_of_a_dm() -> None:
    """``app_home`` is a DM."""
    assert message("message_im", channel_type="app_home").channel_kind is ChannelKind.DM


def test_text_is_made_storable() -> None:
    """Nothing gets lost but what no database can hold."""
    text = "a\0b \ud83d half, whole \U0001f600, שלום" + "x" * 40_000
    assert message("app_mention", text=text).text == text.replace("\0", "\u2400").replace("\ud83d", "\ufffd")
    assert message("app_mention", text=None).text == ""


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (payload("message_changed"), "message_changed: edits are not followed yet"),
        (payload("message_deleted"), "message_deleted: deletions are not followed yet"),
        (payload("channel_join"), "message subtype channel_join: not used"),
        (payload("app_mention", hidden=True), "message subtype hidden: not used"),
        (payload("app_mention", subtype=["x"]), "message subtype without a name: not used"),
        (payload("reaction_added"), "event reaction_added: not used"),
        (payload("app_rate_limited"), "app_rate_limited: Slack held events of this minute back"),
        (payload("view_submission"), "payload view_submission: not used"),
        (payload("slash_command"), "payload without a name: not used"),
        (payload("other_button"), "button feedback: not used"),
        ({"type": "event_callback"}, "event without a name: not used"),
        ({"type": "block_actions", "actions": []}, "button without a name: not used"),
        ({"type": "block_actions", "actions": 7}, "button without a name: not used"),
        (payload("app_mention", ts="soon"), "message without team, channel or ts"),
        (payload("app_mention", channel=None), "message without team, channel or ts"),
        (payload("app_mention", user=None), "message without an author"),
        (payload("message_im", channel_type="space"), "message with a malformed channel_type, text or thread_ts"),
        (payload("message_im", channel_type=7), "message with a malformed channel_type, text or thread_ts"),
        (payload("message_im", text={"a": 1}), "message with a malformed channel_type, text or thread_ts"),
        (payload("message_im", thread_ts="x"), "message with a malformed channel_type, text or thread_ts"),
    ],
)
def test_everything_else_has_a_reason(body: dict[str, Any], expected: str) -> None:
    """What asks nothing of us says why."""
    assert reason(body) == expected


def test_retry() -> None:
    """The Retry button names its turn and where it stands."""
    assert parse(payload("retry_pressed")) == RetryPressed(
        "T0ACME", "C0GENERAL", "1790000018.000100", "1790000000.000100", "U0ADA", 42
    )
    bare = payload("retry_pressed")
    del bare["container"], bare["message"]["thread_ts"]
    assert parse(bare) == RetryPressed("T0ACME", "C0GENERAL", "1790000018.000100", None, "U0ADA", 42)


@pytest.mark.parametrize("value", [None, 42, "", "-1", "4 2", "9" * 40, "٣"])
def test_retry_without_a_turn(value: object) -> None:
    """A value that is no id of ours is not trusted."""
    body = payload("retry_pressed")
    body["actions"][0]["value"] = value
    assert reason(body) == "Retry button without a turn"


def test_retry_from_nowhere() -> None:
    """A press that does not say who or where is left alone."""
    body = payload("retry_pressed")
    body["user"] = "U0ADA"
    assert reason(body) == "button without team, channel, message or user"


def test_trace_holds_ids_only() -> None:
    """A log line names the event and never quotes it."""
    assert trace(payload("app_mention")) == {
        "event_id": "Ev0MENTION",
        "type": "app_mention",
        "team": "T0ACME",
        "channel": "C0GENERAL",
        "ts": "1790000000.000100",
    }
    assert trace(payload("retry_pressed")) == {
        "type": "block_actions",
        "team": "T0ACME",
        "channel": "C0GENERAL",
        "ts": "1790000018.000100",
    }
    assert trace({"type": "two words", "event": {"channel": "secret plan"}}) == {}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
KEYS = sorted({key for path in PAYLOADS.glob("*.json") for key in json.loads(path.read_text())})
EVENT_KEYS = sorted({key for path in PAYLOADS.glob("*.json") for key in json.loads(path.read_text()).get("event", {})})


@given(st.dictionaries(st.sampled_from(KEYS), JSON, max_size=6), st.sampled_from(sorted(PAYLOADS.glob("*.json"))))
def test_no_body_surprises(changes: dict[str, Any], path: Path) -> None:
    """Whatever the outer fields hold, there is an answer."""
    body = {**json.loads(path.read_text()), **changes}
    assert isinstance(parse(body), InboundMessage | RetryPressed | Unsupported)
    assert all(value.isascii() for value in trace(body).values())


@given(st.dictionaries(st.sampled_from(EVENT_KEYS), JSON, max_size=8))
def test_no_event_surprises(changes: dict[str, Any]) -> None:
    """Whatever the event's fields hold, a message that comes out of it can be stored."""
    parsed = parse(payload("message_channel", **changes))
    if isinstance(parsed, InboundMessage):
        assert "\0" not in parsed.text
        parsed.text.encode()


@given(JSON)
def test_any_json_object(value: object) -> None:
    """Bodies we never imagined have a reason too."""
    for kind in ("event_callback", "block_actions", value):
        parse({"type": kind, "event": value, "actions": [value], "team": value, "container": value})
