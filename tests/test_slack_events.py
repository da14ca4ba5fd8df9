"""Slack's payloads become our values, and nothing Slack may send can surprise us."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slackbot.domain import (
    Attachment,
    Button,
    ChannelKind,
    HandoverPress,
    InboundMessage,
    MessageDeleted,
    MessageEdited,
    Press,
    SessionStopped,
    ThreadPress,
    Unsupported,
)
from slackbot.slack.events import ACTIONS, ON_HANDOVERS, ON_THREADS, SHORTCUTS, button_value, parse, thread_value, trace

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
        Attachment("F1", "a b"),
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


EDITED = payload("message_edited")["event"]


def edit(before: dict[str, Any] | None = None, **message: Any) -> dict[str, Any]:
    """An edit of Ada's question with some fields of the message changed, or of what it was before."""
    old = EDITED["previous_message"] if before is None else before
    return payload("message_edited", message=EDITED["message"] | message, previous_message=old)


def test_edits() -> None:
    """A person's new words or files name the message they belong to, not the event."""
    place, plan = ("T0ACME", "C0GENERAL", "1790000000.000100"), {"id": "F0PLAN", "name": "plan.pdf"}
    words = "<@U0AGENT> what changed in the Q4 plan?"
    assert parse(payload("message_edited")) == MessageEdited(*place, words)
    assert parse(edit(text=None, subtype="file_share", files=[plan])) == MessageEdited(
        *place, "", (Attachment("F0PLAN", "plan.pdf"),)
    )
    same_words = edit(EDITED["message"] | {"files": [plan]})
    assert parse(same_words) == MessageEdited(*place, words)
    assert parse(edit({})) == MessageEdited(*place, words)
    assert parse(edit(text="a\0b \ud83d")) == MessageEdited(*place, "a\u2400b \ufffd")


@pytest.mark.parametrize(
    "body",
    [
        payload("message_changed"),
        payload("message_unfurled"),
        payload("message_replied"),
        edit(bot_id="B0HOOK"),
        edit(edited=None),
        edit(EDITED["message"]),
        edit(EDITED["message"], attachments=[{"from_url": "https://plan.example"}]),
        edit(EDITED["message"], reply_count=1, latest_reply="1790000018.000100"),
    ],
)
def test_changes_that_are_no_edits(body: dict[str, Any]) -> None:
    """A bot's writing, link previews and the bookkeeping of threads come by the hundred: quietly."""
    parsed = parse(body)
    assert isinstance(parsed, Unsupported)
    assert parsed.routine


def test_deletions() -> None:
    """A message that is gone is named, also when its thread remains."""
    gone = MessageDeleted("T0ACME", "C0GENERAL", "1790000000.000100")
    assert parse(payload("message_deleted")) == gone
    assert parse(payload("message_tombstone")) == gone


def test_the_stop_of_an_agent_session() -> None:
    """Slack's own Stop names the thread and the person."""
    assert parse(payload("agent_session_stopped")) == SessionStopped(
        "T0ACME", "C0GENERAL", "1790000000.000100", "U0ADA"
    )


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (edit(ts="soon"), "message_changed without team, channel, ts or text"),
        (edit(text={"a": 1}), "message_changed without team, channel, ts or text"),
        (payload("message_edited", channel=7), "message_changed without team, channel, ts or text"),
        (payload("message_deleted", deleted_ts=None), "deleted message without team, channel or ts"),
        (payload("message_tombstone", channel=None), "deleted message without team, channel or ts"),
        (
            payload("agent_session_stopped", thread_ts=None),
            "agent_session_stopped without team, channel, thread or user",
        ),
        (payload("agent_session_stopped", user=7), "agent_session_stopped without team, channel, thread or user"),
    ],
)
def test_changes_that_name_nothing(body: dict[str, Any], expected: str) -> None:
    """What happened to no message we could name is left alone, and not quietly."""
    assert parse(body) == Unsupported(expected)


def test_buttons() -> None:
    """A press names its button, its turn and where it stands."""
    place = ("T0ACME", "C0GENERAL", "1790000018.000100", "1790000000.000100", "U0ADA", 42)
    assert parse(payload("retry_pressed")) == Press(Button.RETRY, *place)
    assert parse(payload("stop_pressed")) == Press(Button.STOP, *place)
    assert parse(payload("rated")) == Press(Button.GOOD, *place)
    bare = payload("retry_pressed")
    del bare["container"], bare["message"]["thread_ts"]
    assert parse(bare) == Press(Button.RETRY, "T0ACME", "C0GENERAL", "1790000018.000100", None, "U0ADA", 42)


def pressed(action_id: object, value: object) -> dict[str, Any]:
    """A press of any button."""
    body = payload("retry_pressed")
    body["actions"][0] |= {"action_id": action_id, "value": value}
    return body


ON_TURNS = [button for button in Button if button not in (*ON_HANDOVERS, *ON_THREADS)]


@given(st.sampled_from(ON_TURNS), st.integers(0, 10**18 - 1))
def test_what_a_button_says_is_understood(button: Button, turn_id: int) -> None:
    """Every button comes back as itself, with its turn."""
    parsed = parse(pressed(ACTIONS[button], button_value(button, turn_id)))
    assert isinstance(parsed, Press)
    assert (parsed.button, parsed.turn_id) == (button, turn_id)


def test_buttons_of_a_card() -> None:
    """A press on a card names its handover; the card stands in no thread."""
    place = ("T0ACME", "C0SUPPORT", "1790000018.000100", None, "U0OLGA", 42)
    assert parse(payload("claim_pressed")) == HandoverPress(Button.CLAIM, *place)


@given(st.sampled_from(ON_HANDOVERS), st.integers(0, 10**18 - 1))
def test_what_a_card_says_is_understood(button: Button, handover_id: int) -> None:
    """Every button of a handover comes back as itself, with its handover and where it was pressed."""
    place = ("T0ACME", "C0GENERAL", "1790000018.000100", "1790000000.000100", "U0ADA", handover_id)
    parsed = parse(pressed(ACTIONS[button], button_value(button, handover_id)))
    assert parsed == HandoverPress(button, *place)


def test_the_answer_to_a_private_question() -> None:
    """A message that only one person sees tells nothing of its thread: the button itself does."""
    place = ("T0ACME", "C0GENERAL", "1790000020.000100", "1790000000.000100", "U0OLGA")
    assert parse(payload("just_say_pressed")) == ThreadPress(Button.JUST_SAY, *place)


@given(st.sampled_from(ON_THREADS), st.from_regex(r"([0-9]{10}\.[0-9]{6})?", fullmatch=True))
def test_what_a_question_says_is_understood(button: Button, root_ts: str) -> None:
    """Every button of a question comes back as itself, with its thread and the message it was about."""
    parsed = parse(pressed(ACTIONS[button], thread_value(root_ts, "1790000020.000100")))
    place = ("T0ACME", "C0GENERAL", "1790000020.000100", root_ts or None, "U0ADA")
    assert parsed == ThreadPress(button, *place)


def test_the_menu_of_a_message() -> None:
    """A choice from a message's menu names the message and its thread, if it stands in one."""
    place = ("T0ACME", "C0GENERAL", "1790000020.000100")
    chosen = payload("shortcut_used")
    assert parse(chosen) == ThreadPress(Button.TAKE_OVER, *place, "1790000000.000100", "U0OLGA")
    chosen |= {"callback_id": "ask_human", "message": {}}
    assert parse(chosen) == ThreadPress(Button.HUMAN, *place, None, "U0OLGA")
    assert trace(chosen) == {
        "type": "message_action",
        "team": "T0ACME",
        "channel": "C0GENERAL",
        "ts": "1790000020.000100",
    }
    assert reason(chosen | {"callback_id": "feedback"}) == "shortcut feedback: not used"
    assert reason(chosen | {"callback_id": ["take_over"]}) == "shortcut without a name: not used"
    for missing in ("team", "channel", "user", "message_ts"):
        assert reason(chosen | {missing: None}) == "shortcut without team, channel, message or user"


@pytest.mark.parametrize("action_id", sorted(set(ACTIONS.values())))
@pytest.mark.parametrize(
    "value",
    ["", "-1", "4 2", "042", "42\n", "9" * 40, "٣", "good", "good:", ":42", "best:42", "retry:42", "/", "1.1/", "1/1"],
)
def test_a_button_with_a_strange_value(action_id: str, value: object) -> None:
    """A value that is not of the button's own shape is not trusted."""
    assert reason(pressed(action_id, value)) == f"button {action_id} with a value that is not ours"


@pytest.mark.parametrize("action_id", sorted(set(ACTIONS.values())))
@pytest.mark.parametrize("value", [None, 42, ["42"]])
def test_a_button_without_a_value(action_id: str, value: object) -> None:
    """Without a value nobody knows what a button is about."""
    assert reason(pressed(action_id, value)) == f"button {action_id} without a value"


@pytest.mark.parametrize(
    ("action_id", "value"),
    [
        ("rate_turn", "42"),
        ("retry_turn", "good:42"),
        ("stop_turn", "bad:42"),
        ("take_over", "42"),
        ("call_off", "1.1/1.1"),
    ],
)
def test_values_of_other_buttons(action_id: str, value: str) -> None:
    """A rating does not stop, and a Stop does not rate."""
    assert reason(pressed(action_id, value)) == f"button {action_id} with a value that is not ours"


@pytest.mark.parametrize("action_id", [None, 7, [], {}, "feedback", "retry_turn "])
def test_buttons_of_others(action_id: object) -> None:
    """An action that is not ours is left alone, whatever its value."""
    assert reason(pressed(action_id, "42")).startswith("button ")


def test_a_button_from_nowhere() -> None:
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
    assert trace(payload("app_rate_limited"))["minute"] == "2026-09-21T14:13Z"
    assert trace({"type": "two words", "event": {"channel": "secret plan"}}) == {}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
KEYS = sorted({key for path in PAYLOADS.glob("*.json") for key in json.loads(path.read_text())})
EVENT_KEYS = sorted({key for path in PAYLOADS.glob("*.json") for key in json.loads(path.read_text()).get("event", {})})


MESSAGE_KEYS = sorted(EDITED["message"])
NAMES = sorted(path.stem for path in PAYLOADS.glob("*.json"))
EVENTS = [name for name in NAMES if "event" in payload(name)]


def storable(body: dict[str, Any]) -> bool:
    """Whether what comes out of a body, if anything does, fits into every database and names its place."""
    parsed = parse(body)
    if isinstance(parsed, InboundMessage | MessageEdited):
        assert "\0" not in parsed.text
        parsed.text.encode()
    if not isinstance(parsed, Unsupported):
        assert parsed.team_id
        assert parsed.channel_id
    return all(value.isascii() for value in trace(body).values())


@given(st.dictionaries(st.sampled_from(KEYS), JSON, max_size=6), st.sampled_from(NAMES))
def test_no_body_surprises(changes: dict[str, Any], name: str) -> None:
    """Whatever the outer fields hold, there is an answer."""
    assert storable(payload(name) | changes)


@given(st.dictionaries(st.sampled_from(EVENT_KEYS), JSON, max_size=8), st.sampled_from(EVENTS))
def test_no_event_surprises(changes: dict[str, Any], name: str) -> None:
    """Whatever the event's fields hold, what comes out of it can be stored."""
    assert storable(payload(name, **changes))


@given(
    st.dictionaries(st.sampled_from(MESSAGE_KEYS), JSON, max_size=6), st.sampled_from(["message", "previous_message"])
)
def test_no_change_surprises(changes: dict[str, Any], which: str) -> None:
    """Whatever a changed message holds, before and after, what comes out of it can be stored."""
    assert storable(payload("message_edited", **{which: EDITED[which] | changes}))


@given(JSON, JSON, st.sampled_from(["retry_pressed", "stop_pressed", "rated", "claim_pressed", "just_say_pressed"]))
def test_no_press_surprises(action: object, value: object, name: str) -> None:
    """Whatever a pressed element holds, there is an answer."""
    body = payload(name)
    assert storable(body | {"actions": [action]})
    assert storable(body | {"actions": [body["actions"][0] | {"value": value}]})


@given(JSON)
def test_any_json_object(value: object) -> None:
    """Bodies we never imagined have a reason too."""
    for kind in ("event_callback", "block_actions", "message_action", value):
        parse({"type": kind, "event": value, "actions": [value], "team": value, "container": value})
    for callback_id in SHORTCUTS:
        body = {"type": "message_action", "callback_id": callback_id, "message": value, "user": value, "channel": value}
        assert isinstance(parse(body), Unsupported)
