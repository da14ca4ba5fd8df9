"""What the agent is told: the message, its author, and a bounded past."""

from __future__ import annotations

import pytest

from slackbot.domain import Attachment, ChannelKind, ContextMessage, Conversation, ThreadKey, Turn, TurnKind
from slackbot.text.question import CONTEXT_CHARS, CONTEXT_HEADING, CONTEXT_MESSAGES, content, who_and_where

PEOPLE = {"UADA": "Ada", "UBEN": "Ben", "UBOT": "agent"}


def turn(text: str, attachments: tuple[Attachment, ...] = ()) -> Turn:
    """A question by Ada."""
    return Turn(
        id=1,
        conversation=Conversation(1, ThreadKey("T1", "C1", "1.0"), ChannelKind.CHANNEL),
        kind=TurnKind.ASK,
        ts="9.0",
        user_id="UADA",
        text=text,
        attachments=attachments,
        notice=None,
        is_reply=True,
        attempt=1,
        submitted=False,
        accepted_at=0.0,
    )


def told(
    asked: Turn, context: list[ContextMessage], about: dict[str, str] | None = None, *, name_author: bool = False
) -> str:
    """The content for Noxus."""
    return content(
        asked,
        context,
        people=PEOPLE,
        channels={"C2": "plans"},
        bot_user_id="UBOT",
        name_author=name_author,
        about_files=about or {},
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<@UBOT> hello", "hello"),
        ("<@UBOT>: see <#C2> with <@UBEN> &amp; <https://a.test|this>", "see #plans with @Ben & this (https://a.test)"),
        ("what did <@UBOT> say?", "what did @agent say?"),
        ("<@UNEW> hi", "@UNEW hi"),
    ],
)
def test_slacks_spelling_becomes_words(text: str, expected: str) -> None:
    """Names stand for ids; calling the bot is no part of the question."""
    assert told(turn(text), []) == expected


def test_the_newest_of_a_long_past_is_kept() -> None:
    """At most 50 messages go along, and at most 20,000 characters, newest kept, in order."""
    many = [ContextMessage(f"{n}.0", "UBEN", f"message {n}") for n in range(80)]
    lines = told(turn("so?"), many).splitlines()
    assert lines[0] == CONTEXT_HEADING
    assert lines[1] == "(30 earlier messages left out)"
    assert lines[2:-2] == [f"Ben: message {n}" for n in range(80 - CONTEXT_MESSAGES, 80)]
    long = [ContextMessage(f"{n}.0", "UBEN", str(n) * 6_000) for n in range(5)]
    asked = told(turn("so?"), long)
    assert [line[5] for line in asked.splitlines()[2:-2]] == ["1", "2", "3", "4"]
    assert len(asked) < CONTEXT_CHARS + 100


def test_a_single_remark_over_the_bound_is_cut() -> None:
    """A pasted log as the newest message is carried as far as there is room, and shown as cut."""
    asked = told(turn("so?"), [ContextMessage("1.0", "UBEN", "old"), ContextMessage("2.0", "UBEN", "x" * 30_000)])
    left_out, cut = asked.splitlines()[1:-2]
    assert left_out == "(1 earlier message left out)"
    assert (len(cut), cut[:6], cut[-2:]) == (CONTEXT_CHARS, "Ben: x", "x…")


def test_a_remark_that_fills_the_bound_leaves_no_room() -> None:
    """Nothing of an older one is begun."""
    newest = "x" * (CONTEXT_CHARS - len("Ben: ") - 1)
    asked = told(turn("so?"), [ContextMessage("1.0", "UBEN", "old"), ContextMessage("2.0", "UBEN", newest)])
    assert asked.splitlines()[1:-2] == ["(1 earlier message left out)", f"Ben: {newest}"]


def test_the_agents_own_words_are_marked() -> None:
    """In a retold thread the agent recognises itself."""
    past = [ContextMessage("1.0", "UBOT", "It is sunny.", from_agent=True), ContextMessage("2.0", "UBEN", "really?")]
    assert told(turn("and now?"), past, name_author=True).splitlines()[1:] == [
        "You: It is sunny.",
        "Ben: really?",
        "",
        "Ada: and now?",
    ]


def test_only_needed_names_are_asked_for() -> None:
    """The bot's own mention at the start and the agent's words cost no look-up."""
    past = [ContextMessage("1.0", "UBOT", "hello <@UBEN>", from_agent=True), ContextMessage("2.0", "UBEN", "<#C2>")]
    wanted = who_and_where(turn("<@UBOT> hi"), past, bot_user_id="UBOT", name_author=False)
    assert (wanted.users, wanted.channels) == (frozenset({"UBEN"}), frozenset({"C2"}))
    alone = who_and_where(turn("<@UBOT> hi"), [], bot_user_id="UBOT", name_author=False)
    assert (alone.users, alone.channels) == (frozenset(), frozenset())


def test_a_human_colleagues_words_are_marked() -> None:
    """After a handover the agent knows who of the thread was the human that took its place."""
    past = [
        ContextMessage("1.0", "UBEN", "<@UADA>, it was the fuse", from_operator=True),
        ContextMessage("2.0", "UADA", "thanks"),
        ContextMessage("3.0", "UNEW", "bye", from_operator=True),
        ContextMessage("4.0", "", "all well?", from_operator=True, name="Olga"),
    ]
    assert told(turn("what was it?"), past).splitlines()[1:-2] == [
        "Ben (human colleague): @Ada, it was the fuse",
        "Ada: thanks",
        "UNEW (human colleague): bye",
        "Olga (human colleague): all well?",
    ]


def test_files_are_named() -> None:
    """Attachments of the question and of the past are named, with what there is to say about them."""
    past = [ContextMessage("1.0", "UBEN", "the plan", (Attachment("F1", "plan.pdf"),))]
    files = (Attachment("F2", "a.png"), Attachment("F3", "b.png"))
    asked = told(turn("", files), past, {"F1": "not passed on to you: it was deleted"})
    assert "Ben: the plan\n[Attached: plan.pdf (not passed on to you: it was deleted)]" in asked
    assert asked.endswith("[Attached: a.png, b.png]")


def test_names_are_told_as_the_files_are_sent() -> None:
    """Without folders, lines of their own, and marks that turn what follows."""
    assert told(turn("", (Attachment("F1", "../../a\nb\u202egpj.exe"),)), []) == "[Attached: a b gpj.exe]"
