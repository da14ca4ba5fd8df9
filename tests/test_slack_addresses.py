"""Where the bot token may go."""

from __future__ import annotations

import string

import httpx
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from slackbot.slack.addresses import is_public, takes_token

LISTED = frozenset(
    {"127.0.0.1:8400", "localhost:8400", "[::1]:8400", "files.example.com", "10.0.0.7:8443", "127.0.0.1"}
)


@pytest.mark.parametrize(
    "url",
    [
        "https://slack.com/x",
        "https://files.slack.com/files-pri/T1-F1/download/a.pdf",
        "https://FILES.Slack.COM/a",
        "HTTPS://acme.enterprise.slack.com/a",
        "https://files.slack.com:443/a",
        "https://files.slack.com?x=@evil.com",
        "https://files.slack.com/a#@evil.com",
        "https://xn--bcher-kva.slack.com/",
    ],
)
def test_slacks_own(url: str) -> None:
    """Slack's hosts over https, however they are spelled."""
    assert takes_token(url)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "a",
        "/files-pri/T1-F1/a.pdf",
        "https:files.slack.com/a",
        "https:///files.slack.com/a",
        "http://files.slack.com/a",
        "ftp://files.slack.com/a",
        "file:///etc/passwd",
        "https://evil.com/files.slack.com",
        "https://evil.com/?.slack.com",
        "https://evil.com#.slack.com",
        "https://evilslack.com/",
        "https://slack.com.evil.com/",
        "https://files.slack.com.",
        "https://files.slack.com./",
        "https://.slack.com/",
        "https://files..slack.com/",
        "https://-files.slack.com/",
        "https://files_slack.com/",
        "https://slack.co/",
        "https://slack-files.com/T1-F1",
        "https://slack-edge.com/",
        "https://user@files.slack.com/",
        "https://user:secret@files.slack.com/",
        "https://files.slack.com@evil.com/",
        "https://files.slack.com\\@evil.com/",
        "https://evil.com\\.slack.com/",
        "https://evil.com\\@files.slack.com/",
        "https:\\\\files.slack.com/",
        "https://files.slack.com:8443/",
        "https://files.slack.com:80/",
        "https://files.slack.com:x/",
        "https://files.slack.com:99999/",
        "https://files.slack.com/a b",
        " https://files.slack.com/",
        "https://files.slack.com/\n",
        "https://files.slack.com\t/",
        "https://files\u3002slack\u3002com/",
        "https://\u017flack.com/",
        "https://f\u0131les.slack.com/",
        "https://sl\u0430ck.com/",
        "https://xn--slck-43d.com/",
        "https://3.3.3.3/",
        "https://127.0.0.1/",
        "https://[::1]/",
        "https://[::1].slack.com/",
        "https://%66iles.slack.com/",
        "https://files%2eslack.com/",
        "https://evil.com%2f.slack.com/",
        "https://evil.com%00.slack.com/",
    ],
)
def test_not_slacks(url: str) -> None:
    """Whatever only looks like Slack's, and every odd spelling, gets no token."""
    assert not takes_token(url)


@pytest.mark.parametrize(
    ("url", "taken"),
    [
        ("http://127.0.0.1:8400/files-pri/x", True),
        ("https://127.0.0.1:8400/x", True),
        ("http://localhost:8400/x", True),
        ("http://[::1]:8400/x", True),
        ("http://127.0.0.1/x", True),
        ("https://127.0.0.1/x", True),
        ("http://127.0.0.1:8401/x", False),
        ("http://u@127.0.0.1:8400/x", False),
        ("https://files.example.com/x", True),
        ("https://FILES.example.com:443/x", True),
        ("http://files.example.com/x", False),
        ("https://files.example.com:8443/x", False),
        ("https://more.files.example.com/x", False),
        ("https://files.example.com.evil.com/x", False),
        ("https://10.0.0.7:8443/x", True),
        ("http://10.0.0.7:8443/x", False),
        ("ftp://127.0.0.1:8400/x", False),
        ("https://files.slack.com/x", True),
    ],
)
def test_listed(url: str, taken: bool) -> None:  # noqa: FBT001
    """A listed host counts as it is listed, port and all; without TLS only on this machine."""
    assert takes_token(url, LISTED) is taken


@pytest.mark.parametrize(
    ("url", "public"),
    [
        ("https://docs.google.com/document/d/1", True),
        ("https://a.b.example/x?y#z", True),
        ("https://files.slack.com/x", True),
        ("http://docs.google.com/", False),
        ("https://docs.google.com:8443/", False),
        ("https://u:p@docs.google.com/", False),
        ("https://localhost/", False),
        ("https://intranet/", False),
        ("https://db.internal/", False),
        ("https://printer.local/", False),
        ("https://1.1.1.1/", False),
        ("https://2130706433/", False),
        ("https://0x7f.1/", False),
        ("https://127.0.0.0x1/", False),
        ("https://[2606:4700::1]/", False),
        ("https://example.com./", False),
        ("javascript:alert(1)", False),
        ("", False),
    ],
)
def test_public(url: str, public: bool) -> None:  # noqa: FBT001
    """Public is https at a name that everybody can resolve."""
    assert is_public(url) is public


label = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?", fullmatch=True)
path = st.text(string.ascii_letters + string.digits + "/?#&=.%-_@:", max_size=30)
odd_case = st.builds(
    lambda word, upper: "".join(c.upper() if up else c for c, up in zip(word, upper, strict=False)),
    st.just("slack.com"),
    st.lists(st.booleans(), min_size=9, max_size=9),
)


@given(st.lists(label, max_size=3), odd_case, path)
def test_any_subdomain(labels: list[str], home: str, rest: str) -> None:
    """Every well-formed name below slack.com is Slack's, whatever follows the host."""
    url = f"https://{'.'.join([*labels, home])}/{rest}"
    if "xn--" not in url:
        assert takes_token(url)


@given(
    st.one_of(label, st.lists(label, min_size=1, max_size=4).map(".".join)), st.sampled_from(["slack.com", "Slack.com"])
)
@example("slack.com", "slack.com")
def test_look_alikes(other: str, home: str) -> None:
    """Slack's name at the front or glued to another word is somebody else's host."""
    assert not takes_token(f"https://{home}.{other}x/")
    assert not takes_token(f"https://{other}{home}/")
    assert not takes_token(f"https://{other}-{home}/")


@given(st.text(string.printable, min_size=1, max_size=20), st.text(string.printable, max_size=20))
def test_userinfo(before: str, after: str) -> None:
    """With something before an @ in the authority, the token goes nowhere but to Slack, and not even there."""
    if not set("/?#") & set(before):
        for host in ("evil.com", "files.slack.com"):
            assert not takes_token(f"https://{before}@{host}/{after}")


@given(st.integers(0, 70_000).filter(lambda port: port != 443))
def test_ports(port: int) -> None:
    """No port but the usual one."""
    assert not takes_token(f"https://files.slack.com:{port}/")


alphabet = st.sampled_from(
    [
        *"slack.com@:/\\?#%[]-_ \t\n\u3002\uff0e\uff61\uff53\u017f\u0430",
        "slack.com",
        "files.",
        "evil.com",
        "https://",
        "http://",
        "//",
        "xn--",
    ]
)


@given(st.lists(alphabet, max_size=14).map("".join), st.booleans())
def test_never_to_a_stranger(rest: str, absolute: bool) -> None:  # noqa: FBT001
    """Whatever is allowed is https, and httpx would connect to Slack for it."""
    url = f"https://{rest}" if absolute else rest
    if takes_token(url):
        request = httpx.Request("GET", url)
        host = request.url.raw_host.decode()
        assert request.url.scheme == "https"
        assert host == "slack.com" or host.endswith(".slack.com")
        assert (request.url.port, request.url.userinfo) == (None, b"")
        assert request.headers["host"] == host


@given(st.text(max_size=80))
def test_any_text(url: str) -> None:
    """Rubbish is no address, and no surprise."""
    assert not takes_token(url)
    assert not is_public(url)
