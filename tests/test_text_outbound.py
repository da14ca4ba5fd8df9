"""What the agent says: nobody is called, nothing else changes, and it can be sent."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slackbot.domain import FileOffered, Source
from slackbot.text import private
from slackbot.text.outbound import HELD_CHARS, SUMMARY_CHARS, WORD_JOINER, Preparer, plain, prepare

FRAGMENTS = [
    "<", "&lt;", "&LT;", "&LT", "&#60;", "&#00060;", "&#x3c;", "&#X003C;", "!", "\\!", "&excl;", "&#33;", "&#x21;",
    "@", "\\@", "&commat;", "&#64;", "&#x40;", "channel", "here", "everyone", "HERE", "&#104;ere", "subteam^S1",
    "]", "[", "](", "[a.example", "https://b.example", ")", "&amp;", "`", "*", "](https://c.example)", "]: ", "][1]",
    "U&#49;", "U1", "W0AB", "u1", ">", "|", "&", "#", ";", " ", "\n", "a", "é", "_", "\ud83d", "\ude00", "\0",
    WORD_JOINER,
]  # fmt: skip
agent_text = st.one_of(st.lists(st.sampled_from(FRAGMENTS), max_size=40).map("".join), st.text())

# A mention as Slack reads it: https://docs.slack.dev/messaging/formatting-message-text
MENTION = re.compile(
    r"<(?:!(?i:channel|here|everyone|subteam)|@[UW][A-Z0-9])|(?<![A-Za-z0-9])@(?:channel|here|everyone)\b"
)


def in_pieces(pieces: Iterable[str]) -> str:
    """What the preparer makes of text that comes in these pieces."""
    preparer = Preparer()
    return "".join([preparer.push(piece) for piece in pieces]) + preparer.finish()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("<!channel>", "<!~channel>"),
        ("<!here> and <!everyone|everyone>", "<!~here> and <!~everyone|everyone>"),
        ("<!Channel>", "<!~Channel>"),
        ("<!subteam^S1|@ops>", "<!~subteam^S1|@ops>"),
        ("<@U024BE7LH> <@W1|ada>", "<@~U024BE7LH> <@~W1|ada>"),
        ("&lt;!channel&gt; &lt;@U1&gt;", "&lt;!~channel&gt; &lt;@~U1&gt;"),
        ("&#60;!here> &#x3C;@U1> &LT;!here>", "&#60;!~here> &#x3C;@~U1> &LT;!~here>"),
        ("<&excl;here> <&#33;here> <\\!here> <&commat;U1>", "<&excl;~here> <&#33;~here> <\\!~here> <&commat;~U1>"),
        ("@channel, (@here) _@everyone_", "@~channel, (@~here) _@~everyone_"),
        ("\\@here &#64;here", "\\@~here &#64;~here"),
        ("ends with @here", "ends with @~here"),
        ("&lt!here &amp;lt;!here &amp;amp;lt;@U1 &#60!here", "&lt!~here &amp;lt;!~here &amp;amp;lt;@~U1 &#60!~here"),
        ("<!&#99;hannel> <!her&#101;> <@&#85;1> @h&#x65;re", "<!~&#99;hannel> <!~her&#101;> <@~&#85;1> @~h&#x65;re"),
        ("[<!here>](https://example.com) <https://example.com|@here>", "[<!~here>](https://example.com) <https://example.com|@~here>"),
        ("`@here` **@channel**\n```\n<!channel>\n```", "`@~here` **@~channel**\n```\n<!~channel>\n```"),
    ],
)  # fmt: skip
def test_nobody_is_called(text: str, shown: str) -> None:
    """A word joiner breaks every mention, in every spelling and place; what people see stays the same."""
    assert prepare(text) == shown.replace("~", WORD_JOINER)


@pytest.mark.parametrize(
    "text",
    [
        "bob@here.com and bob@channel.io",
        "@hereford, @channels, @Channel('orders') and @Here",
        "<!-- here --> <!DOCTYPE html> if (a <!here_is_no_mention",
        "List<@NonNull String> and <@user>",
        "a < b, <b>, &lt;b&gt;, <https://example.com>, <#C1>, <mailto:a@example.com>",
        "emoji 👩\u200d👩\u200d👧, עברית, 漢字, e\u0301\r\n\ttab",
        "",
    ],
)  # fmt: skip
def test_everything_else_stays(text: str) -> None:
    """Mail addresses, annotations, generics, comments and links are what they were."""
    assert prepare(text) == text.replace("<!here", f"<!{WORD_JOINER}here")


def test_text_that_cannot_be_sent_is_repaired() -> None:
    """Halves of a character find each other, also across pieces; a lone half and a null are replaced."""
    assert in_pieces(["a\ud83d", "\ude00b"]) == "a😀b"
    assert in_pieces(["\ud83d", "x\ude00\0", "\ud83d"]) == "\ufffdx\ufffd\ufffd\ufffd"


@settings(max_examples=500)
@given(text=agent_text, widths=st.lists(st.integers(1, 7), min_size=1, max_size=5))
def test_any_pieces_give_the_same_text(text: str, widths: list[int]) -> None:
    """However the text comes, it is prepared alike, and little of it waits for the next piece."""
    preparer = Preparer()
    shown, at, number = "", 0, 0
    while at < len(text):
        width = widths[number % len(widths)]
        shown += preparer.push(text[at : at + width])
        at, number = at + width, number + 1
        assert len(preparer._scanners[-1].held) <= HELD_CHARS
    assert shown + preparer.finish() == prepare(text)


@settings(max_examples=500)
@given(agent_text)
def test_prepared_text_calls_nobody_and_stays_prepared(text: str) -> None:
    """Neither as it stands nor with its character references resolved; preparing again changes nothing."""
    shown = prepare(text)
    assert not MENTION.search(shown)
    resolved = re.sub(r"&#?\w+;", lambda reference: html.unescape(reference[0]), shown)
    assert not MENTION.search(resolved.replace("\\!", "!").replace("\\@", "@"))
    assert prepare(shown) == shown
    shown.encode()


SLACK_ENTITY = re.compile(r"<([^<>]*)>")
CALLS = re.compile(r"!(?:channel|here|everyone)\b|!subteam\^|@[UW][A-Z0-9]")


def called(text: str) -> list[str]:
    """Whom Slack would call, as it reads text: https://docs.slack.dev/messaging/formatting-message-text#parsing.

    Read as it stands, and with references and escapes resolved as Markdown does, once and twice.
    """
    found = []
    for _ in range(3):
        found += [entity for entity in SLACK_ENTITY.findall(text) if CALLS.match(entity, re.IGNORECASE)]
        found += re.findall(r"(?<![\w.])@(?:channel|here|everyone)\b", text, re.ASCII)
        text = re.sub(r"\\([!-/:-@\\[-`{-~])", r"\\1", html.unescape(text))
    return found


positions = st.sampled_from(
    ["{}", "[{}](https://a.example)", "[a](https://a.example '{}')", "`{}`", "```\n{}\n```", "**{}**", "> {}", "- {}",
     "| {} | b |\n|---|---|\n| {} | d |", "# {}", "![{}](/i.png)", "<https://a.example|{}>", "\\{}", "_{}_", "x{}"]
)  # fmt: skip
calls = st.sampled_from(
    ["<!channel>", "<!here|here>", "<!everyone>", "<!subteam^S1|@ops>", "<@U1>", "<@W012AB|ada>", "@here", "@channel",
     "&lt;!channel&gt;", "&lt;@U1&gt;", "&#60;!here>", "&amp;lt;!here&amp;gt;", "\\<!here>", "<\\!here>", "<&#33;here>",
     "&commat;here", "&#64;everyone", "<@&#85;1>", "@h&#101;re", "<!<!here>", "@@here"]
)  # fmt: skip


@settings(max_examples=300)
@given(
    pieces=st.lists(st.tuples(positions, calls).map(lambda both: both[0].replace("{}", both[1])), max_size=5),
    width=st.integers(1, 9),
)
def test_nobody_is_called_wherever_it_stands(pieces: list[str], width: int) -> None:
    """In text, links, labels, titles, code, tables and lists, escaped and split across pieces."""
    text = " ".join(pieces)
    shown = in_pieces(text[at : at + width] for at in range(0, len(text), width))
    assert called(shown) == []
    assert shown.replace(WORD_JOINER, "") == text.replace(WORD_JOINER, "")


def test_people_may_be_mentioned_if_a_setting_says_so() -> None:
    """By id and in plain spelling only; never everybody."""
    preparer = Preparer(user_mentions=True)
    text = "<@U123> <@W1|ada> <@&#85;1> &lt;@U1> <!here> @here <!subteam^S1> <@U1|<!channel>>"
    shown = "<@U123> <@W1|ada> <@~&#85;1> &lt;@~U1> <!~here> @~here <!~subteam^S1> <@U1|<!~channel>>"
    assert preparer.push(text + " ") == shown.replace("~", WORD_JOINER) + " "


@pytest.mark.parametrize(
    "link",
    [
        "[https://bank.example]|(https://evil.example)",
        "[bank.com]|(https://evil.example 'bank.com')",
        "[www.bank.example/login]|(<https://evil.example>)",
        "[Go to **https://bank.example** now]|(https://evil.example/bank.example)",
        "[https://bank.example]|(https://bank.example@evil.example)",
        "[https://bank.example]|(https://evil.example\\\\@bank.example)",
        "[https://bank.example]|(https:&#47;&#47;evil.example)",
        "[https://bank.example]|(//evil.example)",
        "[https://bank.example]|(/login)",
        "[https://bank.example]|(https://[evil)",
        "[https://bank.example]|(   https://" + "x" * 400 + ")",
        "[docs.bank.example.com]|(https://example.com)",
        "[b\u200bank.com]|(https://evil.example)",
        "[bank\u3002com]|(https://evil.example)",
        "[bank&#46;com]|(https://evil.example)",
        "[a@bank.com]|(mailto:b@evil.com)",
        "![https://bank.example]|(https://evil.example/i.png)",
        "[![https://bank.example]|(/i.png)]|(https://evil.example)",
        "[https://bank.example `[`]|(https://evil.example)",
        "[[x] https://bank.example \\[]|(https://evil.example)",
        "[https://bank.example]|[1]",
        "[https://bank.example]|: https://evil.example",
        "<https://evil.example||https://bank.example>",
        "[x " + "y" * 990 + " bank.com]|(https://evil.example)",
    ],
)
def test_a_link_that_looks_like_another_address_shows_its_own(link: str) -> None:
    """A space makes it plain text, in which both can be read; however the text comes."""
    before, _, after = link.partition("||")
    shown = f"{before} |{after}" if after else link.replace("|", " ")
    text = link.replace("||", "\0").replace("|", "").replace("\0", "|")
    assert prepare(text) == shown
    assert in_pieces(text) == shown
    assert prepare(shown) == shown


@pytest.mark.parametrize(
    "text",
    [
        "[the docs](https://docs.example) and [here](https://a.example/b.c)",
        "[https://bank.example](https://bank.example/login) [www.bank.com](https://bank.com) [bank.com](http://WWW.bank.com:80)",
        "[example.com](https://docs.example.com) [a@bank.com](mailto:a@bank.com?subject=x) [bank.com](bank.com/x)",
        "[https://my_host.example](https://my_host.example) <https://a.example> <https://a.example|the docs>",
        "[Node.js](https://nodejs.org) [README.md](https://git.example/x) [v1.2.3](/x) [e.g. this](/y) [main.py](/z)",
        "https://bank.com\n\n[docs](https://docs.example) https://bank.com [docs](https://docs.example)",
        "[1]: https://a.example 'bank.com'\n- [x] bank.com [ ] a[0](1) [y][z] []()",
    ],
)
def test_honest_links_stay(text: str) -> None:
    """The same host with or without www, a subdomain of it, names of files, and addresses that are no label."""
    assert prepare(text) == text


# --- files that only Noxus shows ---------------------------------------------------------------------------------

BASE = "https://noxus.example/api/backend"
ID = "3c90c3cc-0d44-4b50-8888-8dd25736052a"
AT = f"/v1/file/{ID}"


def with_uploads(text: str, width: int = 1000) -> tuple[str, list[FileOffered]]:
    preparer = Preparer(private_files=BASE)
    shown = "".join([preparer.push(text[at : at + width]) for at in range(0, len(text), width)]) + preparer.finish()
    return shown, preparer.files


@pytest.mark.parametrize(
    ("text", "shown", "name"),
    [
        (f"See [report.pdf]({BASE}{AT}).", "See report.pdf.", "report.pdf"),
        (f"[report.pdf]({AT})", "report.pdf", "report.pdf"),
        (f"[the *report*](/api/backend{AT} 'to read')", "the *report*", ""),
        (f'[a](  <{BASE}{AT}?download=1#x>  "b" )', "a", ""),
        (f"![a chart]({BASE}{AT}) and", "a chart and", ""),
        (f"![]({AT})", "the attached file", ""),
        (f"[![chart.png]({AT})]({AT})", "chart.png", "chart.png"),
        (f"[{BASE}{AT}]({BASE}{AT})", "the attached file", ""),
        (f"[a \\] b [c]]({AT})", "a \\] b [c]", ""),
        (f"At {BASE}{AT}.", "At the attached file.", ""),
        (f"HTTPS://NOXUS.example/api/backend{AT}/content?x=1 and", "the attached file and", ""),
        (f"({AT})", "(the attached file)", ""),
        (AT, "the attached file", ""),
        (f"<{BASE}{AT}>", "the attached file", ""),
        (f"<{BASE}{AT}|r.csv>", "r.csv", "r.csv"),
        (f"[see section 4.2]({AT})", "see section 4.2", ""),
        (f"[**`r.csv`**]({AT})", "**`r.csv`**", "r.csv"),
        (f"```\n{AT}\n```\n{AT}", f"```\n{AT}\n```\nthe attached file", ""),
        (f"1. ```sh\n   {AT}\n   ````\n   ~~~~\n````\n~~~\n~~~~\n{AT}", None, ""),
        (f"`a` and ``` not a fence\n{AT}", "`a` and ``` not a fence\nthe attached file", ""),
        (f"a ` b {AT}\n", "a ` b the attached file\n", ""),
        (f"See [the report][1].\n\n[1]: {BASE}{AT}\n", "See [the report][1].\n\n[1]: the attached file\n", ""),
        (f"![chart]\n\n[chart]: <{AT}> 'Q3'", "![chart]\n\n[chart]: the attached file 'Q3'", ""),
    ],
)
@pytest.mark.parametrize("width", [1, 2, 7, 1000])
def test_links_to_files_that_come_as_uploads(text: str, shown: str | None, name: str, width: int) -> None:
    """Only their words stay, however the text comes; and it is known which files they were. None: all but the end of
    the text stays."""
    found, files = with_uploads(text, width)
    assert found == (text.removesuffix(AT) + private.ATTACHED if shown is None else shown)
    assert {file.url for file in files} == {AT}
    assert name in {file.name for file in files}


@pytest.mark.parametrize(
    "text",
    [
        f"[a](https://other.example{AT}) https://other.example{AT} https://noxus.example.other.example{AT}",
        f"https://a.example/?next={BASE}{AT} x{AT} ~{AT}",
        f"{AT}0 {AT}-x {BASE}/v1/file/{ID[:-1]} /v1/file/r.csv {BASE}/v1/files {BASE}",
        f"[{'x' * 301}]({AT}) and [a\nb]({AT})",
        f"`{AT}` or `` a`b {AT} `` or `[a]({AT})`.",
        f"So:\n```sh\ncurl -H 'X-API-Key: …' {BASE}{AT} -o a.pdf\n```\n",
        f"So:\n  ~~~ `\n`\n[a]({AT})\n~~~ no end\n```\n{AT}",
        "- [ ] http://a.example, [1], ![x](/i.png) /var /v1 !important <b> h",
        "",
    ],
)
@pytest.mark.parametrize("width", [1, 3, 1000])
def test_other_links_stay(text: str, width: int) -> None:
    """Other hosts, longer ids, and what is no file."""
    assert with_uploads(text, width) == (text, [])


@pytest.mark.parametrize(
    ("url", "title", "name"),
    [
        (f"{BASE}{AT}", "plan.pdf", "plan.pdf"),
        (f"{AT}?download=1", "The plan", ""),
        (f"https://other.example{AT}", "", None),
    ],
)
def test_a_cited_file_comes_as_an_upload(url: str, title: str, name: str | None) -> None:
    """Its title stays without an address that only we can open. None: no file of this Noxus."""
    preparer = Preparer(private_files=BASE)
    shown = preparer.citable(Source(title, url))
    assert shown == Source(title, url if name is None else "")
    assert preparer.files == ([] if name is None else [FileOffered(AT, "", name)])
    assert Preparer().citable(Source(title, url)) == Source(title, url)


def test_links_stay_unless_told_otherwise() -> None:
    """Without the setting nothing changes."""
    text = f"[report.pdf]({BASE}{AT}) {AT}"
    assert prepare(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"@[here]({AT})", "@~here"),
        (f"<[!channel]({AT})>", "<!~channel>"),
        (f"[@here]({AT})", "@~here"),
        (f"[<@U1>]({AT})", "<@~U1>"),
    ],
)
def test_nobody_is_called_once_a_link_is_gone(text: str, shown: str) -> None:
    """Its words are made safe together with what stands around them."""
    assert with_uploads(text)[0] == shown.replace("~", WORD_JOINER)


PRIVATE = [
    *"[]()<>!|/h", "](", "![", f"]({AT})", f"]({BASE}{AT} 't')", AT, f"{BASE}{AT}", f"<{BASE}{AT}|", BASE, "/v1/file/",
    ID, "https://", "report.pdf", "@", "here", "\\", "?x=1", " ", "\n", "x" * 290, "`", "``", "\n```", "\n~~~\n", "- ",
]  # fmt: skip


@settings(max_examples=500)
@given(
    text=st.lists(st.sampled_from(PRIVATE) | st.sampled_from(FRAGMENTS), max_size=25).map("".join),
    widths=st.lists(st.integers(1, 9), min_size=1, max_size=5),
)
def test_any_pieces_give_the_same_text_with_uploads(text: str, widths: list[int]) -> None:
    """However the text comes, the same is shown and the same files are found; little is held back; nobody is called."""
    preparer = Preparer(private_files=BASE)
    shown, at, number = "", 0, 0
    while at < len(text):
        width = widths[number % len(widths)]
        shown += preparer.push(text[at : at + width])
        at, number = at + width, number + 1
        assert len(preparer._scanners[0].held) <= private.HELD_CHARS
    shown += preparer.finish()
    assert (shown, preparer.files) == with_uploads(text, 10**6)
    assert called(shown) == []


@pytest.mark.parametrize("text", ["[" + ("[" + "x" * 290 + "]") * 299, "[" + "\\]" * 5000, "[[" * 10_000, "`" * 10_000])
def test_what_is_held_back_is_bounded(text: str) -> None:
    """Brackets in brackets, however many."""
    preparer = Preparer(private_files=BASE)
    for at in range(0, len(text), 20):
        preparer.push(text[at : at + 20])
        assert len(preparer._scanners[0].held) <= private.HELD_CHARS


def test_the_next_text_does_not_begin_in_code() -> None:
    """A block that is open at the end of one text is none in the next."""
    preparer = Preparer(private_files=BASE)
    assert preparer.push(f"```\n{AT}\n") + preparer.finish() == f"```\n{AT}\n"
    assert preparer.push(AT) + preparer.finish() == "the attached file"


@settings(max_examples=300)
@given(st.lists(st.sampled_from(PRIVATE) | st.sampled_from(FRAGMENTS), max_size=25).map("".join))
def test_plain_words_set_everything_free(text: str) -> None:
    """Whatever came before, nothing is held back once ordinary sentences follow."""
    preparer = Preparer(private_files=BASE)
    shown = preparer.push(text) + preparer.push("\n\n" + "Some words. " * 100)
    assert shown == with_uploads(text + "\n\n" + "Some words. " * 100)[0]


@given(agent_text)
def test_text_without_such_links_is_prepared_as_ever(text: str) -> None:
    """The setting changes nothing else."""
    assert with_uploads(text) == (prepare(text), [])


@pytest.mark.parametrize(
    "text", ["[https://a.example](<https://a.example/x>)", "[https://a.example](  https://a.example)"]
)
def test_honest_links_stay_in_any_pieces(text: str) -> None:
    """What is to come of a target counts before it is judged."""
    assert in_pieces(text) == text


def test_a_preparer_starts_anew_after_the_end() -> None:
    """Nothing of one text shows in the next."""
    preparer = Preparer()
    assert preparer.push("x <") == "x "
    assert preparer.finish() == "<"
    assert preparer.push("!here>") + preparer.finish() == "!here>"


def test_plain_words_are_not_held_back() -> None:
    """A paragraph shows as it comes."""
    preparer = Preparer()
    assert [preparer.push(piece) for piece in ["It ", "is", "", " sunny."]] == ["It ", "is", "", " sunny."]


@pytest.mark.parametrize(
    ("markdown", "summary"),
    [
        ("# Weather\n\nIt is **sunny** and _warm_ in `Lisbon`.", "Weather It is sunny and warm in Lisbon."),
        ("- one\n* two\n> three\n1. four", "one two three 1. four"),
        ("| a | b |\n|---|:-:|\n| 1 | 2 |", "a b 1 2"),
        ("```py\nx = 1 < 2 & 3\n```", "x = 1 &lt; 2 &amp; 3"),
        ("[the map](https://example.com 't') ![a view](/i.png)", "the map a view"),
        ("snake_case_name, 2*3*4 and ~~gone~~", "snake_case_name, 2*3*4 and gone"),
        ("", "…"),
        ("---\n\n***", "…"),
        ("@**here** &amp;", f"@{WORD_JOINER}here &amp;amp;"),
        (prepare("<!channel>"), f"&lt;!{WORD_JOINER}channel&gt;"),
    ],
)  # fmt: skip
def test_a_notification_says_the_gist(markdown: str, summary: str) -> None:
    """One line without markup, escaped, never empty, and calling nobody."""
    assert plain(markdown) == summary


def test_a_long_gist_is_cut_at_a_word_if_there_is_one() -> None:
    """It ends with an ellipsis then."""
    assert plain("word " * 100) == "word " * 28 + "word…"
    assert plain("x" * 1_000) == "x" * (SUMMARY_CHARS - 1) + "…"


@given(agent_text)
def test_any_text_has_a_gist(text: str) -> None:
    """Short and safe whatever the agent says."""
    summary = plain(text)
    assert summary.strip()
    assert len(html.unescape(summary)) <= SUMMARY_CHARS + 40
    assert not MENTION.search(summary)
    assert not re.search("[<>\n]", summary)
