"""The questions of a conversation and their answers, whichever way its messages are spelled."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slackbot.domain import TextDelta, ToolFinished, ToolStarted
from slackbot.noxus.exchange import Exchange, exchanges
from slackbot.text.question import digest

AT = "2026-11-22T10:00:00Z"


def asked(content: object) -> dict[str, Any]:
    return {"kind": "request", "parts": [{"part_kind": "user-prompt", "content": content}]}


def answered(*parts: dict[str, Any], **more: object) -> dict[str, Any]:
    return {"kind": "response", "parts": list(parts), **more}


def text(content: str) -> dict[str, Any]:
    return {"part_kind": "text", "content": content}


CALL = {"part_kind": "tool-call", "tool_call_id": "t", "tool_name": "web"}
RETURN = {"kind": "request", "parts": [{"part_kind": "tool-return", "tool_call_id": "t", "content": {}}]}


def conversation(*messages: list[dict[str, Any]], key: str = "pydantic_message_parts") -> dict[str, Any]:
    return {"messages": [{"id": "m", "created_at": AT, key: message} for message in messages]}


def test_questions_and_answers() -> None:
    """Each question has what follows it; tools and text come in order."""
    told = conversation(
        [asked("one")],
        [answered(text("1."), finish_reason="stop")],
        [asked(["two", {"kind": "binary", "data": "eA=="}])],
        [
            answered(CALL, finish_reason="tool_call"),
            RETURN,
            answered(text("2."), finish_reason="stop", state="complete"),
        ],
    )
    before, exchange = exchanges(told)
    assert (before.question, before.said, before.is_whole) == ("one", (TextDelta("part-2", "1."),), True)
    assert (exchange.question, exchange.asked_at, exchange.finish, exchange.is_whole) == ("two", AT, "stop", True)
    kinds = [type(event) for event in exchange.said]
    assert kinds == [ToolStarted, ToolFinished, TextDelta]


def test_a_question_without_an_answer_stands_for_itself() -> None:
    """What a later message was told is no answer to the one before it, whose run left nothing."""
    told = conversation([asked("one")], [asked("two")], [answered(text("2."), finish_reason="stop")])
    before, exchange = exchanges(told)
    assert (before.question, before.said, before.is_whole) == ("one", (), False)
    assert (exchange.question, exchange.said, exchange.is_whole) == ("two", (TextDelta("part-2", "2."),), True)


def test_older_spelling() -> None:
    """Legacy parts tell no reason; a question's files do not make it another one."""
    told = conversation(
        [{"role": "user", "content": "see"}, {"role": "user", "content": None}],
        [{"role": "assistant", "content": "Seen."}],
        key="message_parts",
    )
    assert exchanges(told) == [Exchange("see", AT, (TextDelta("part-1", "Seen."),), "")]


@pytest.mark.parametrize(
    "answer",
    [
        [],
        [answered(text("Half"))],
        [answered(text("Half"), finish_reason="stop", state="interrupted")],
        [answered(CALL, finish_reason="tool_call")],
        [answered(CALL, finish_reason="tool_call"), RETURN],
        [answered(text("Half"), finish_reason="error")],
        [answered(text("Half"), finish_reason="stop"), answered(text("more"))],
    ],
)
def test_an_answer_that_may_go_on(answer: list[dict[str, Any]]) -> None:
    """Only a reason to stop saying anything makes an answer whole."""
    [exchange] = exchanges(conversation([asked("q"), *answer]))
    assert not exchange.is_whole


@pytest.mark.parametrize("told", [None, [], {}, {"messages": None}, {"messages": [3, {}]}, conversation([answered()])])
def test_nothing_was_asked(told: object) -> None:
    """Without a question there is no exchange."""
    assert exchanges(told) == []


json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["messages", "parts", "part_kind", "role", "content", "kind", "created_at", "finish_reason"]
            ),
            inner | st.sampled_from(["user", "user-prompt", "text", "response", "request", "tool-return"]),
            max_size=5,
        )
    ),
    max_leaves=20,
)


@given(json_values)
def test_nothing_raises(told: object) -> None:
    """Whatever a server sends."""
    exchanges({"messages": told})
    exchanges(told)


def test_words_are_known_again() -> None:
    """White space and what cannot be sent do not matter, words do."""
    assert digest(" a\n\nb ") == digest("a b") != digest("a  c")
    assert digest("x\ud800y") == digest("x\ufffdy")
