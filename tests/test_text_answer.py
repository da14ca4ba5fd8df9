"""The text of a whole answer: what is said, what is cited, and what we add below."""

from __future__ import annotations

from slackbot.domain import Body, Source
from slackbot.replies.answer import Answer
from slackbot.text.citations import citations
from slackbot.text.outbound import WORD_JOINER


def test_sources_end_the_answer_and_the_sentence_stands_below() -> None:
    """Each once, in the order they came."""
    answer = Answer(1)
    answer.cite(Source("Plan", "https://a.example"))
    answer.push("b", "It moved.")
    answer.cite(Source("Plan", "https://a.example"))
    answer.cite(Source("Notes.pdf", ""))
    assert answer.body(0) == Body("It moved.")
    answer.end("Stopped.")
    assert answer.body(0) == Body("It moved.\n\nSources: [Plan](https://a.example) · Notes\\.pdf", "Stopped.")


def test_many_sources_go_on_in_further_parts() -> None:
    """No link is cut, and together they are the text and its line of sources."""
    sources = [Source(f"Title {number}", f"https://a.example/{'x' * 200}/{number}") for number in range(120)]
    answer = Answer(1)
    answer.push("b", "word " * 1_000)
    for source in sources:
        answer.cite(source)
    answer.end()
    shown = [answer.body(index).markdown for index in range(answer.count)]
    assert len(shown) > 2
    assert all(len(text) <= 9_000 for text in shown)
    assert " ".join(" ".join(shown).split()) == "word " * 1_000 + citations(sources)
    assert sum(text.count("](https://a.example/") for text in shown) == 120


def test_people_are_mentioned_only_if_allowed() -> None:
    """The setting reaches the text."""
    for allowed, shown in ((True, "<@U1> hi"), (False, f"<@{WORD_JOINER}U1> hi")):
        answer = Answer(1, user_mentions=allowed)
        answer.push("b", "<@U1> hi")
        answer.end()
        assert answer.body(0).markdown == shown


def test_a_message_that_stays_keeps_what_it_showed_though_the_text_ended_otherwise() -> None:
    """With no more text to come, our sentence goes below; without one nothing does."""
    for notice, bodies in (("Stopped.", [Body("a **b**"), Body("", "Stopped.")]), ("", [Body("a **b**")])):
        answer = Answer(1)
        answer.push("b", "a **b")
        assert answer.body(0) == Body("a **b**")
        length = answer.length(0)
        answer.end(notice)
        answer.split(0, length)
        assert [answer.body(index) for index in range(answer.count)] == bodies


def test_a_part_that_is_too_much_is_cut_again() -> None:
    """At a good place, and nothing is lost."""
    answer = Answer(1)
    answer.push("b", "word " * 500)
    answer.end()
    answer.cut(0, 1_000)
    bodies = [answer.body(index).markdown for index in range(answer.count)]
    assert [len(body) for body in bodies] == [995, 1_505]
    assert "".join(bodies) == "word " * 500
