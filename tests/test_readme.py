"""What the README promises is there: commands, files, anchors, log events, scopes."""

from __future__ import annotations

import re
import struct
from pathlib import Path

import pytest
import yaml

from slackbot import cli

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
CODE = re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", README, flags=re.DOTALL))
LINKS = re.findall(r"\]\(([^)\s]+)\)", README)


def anchor(heading: str) -> str:
    """What a heading's link ends with, where the file is shown as a page."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def test_make_commands() -> None:
    """Every make target that is named exists."""
    named = set(re.findall(r"\bmake ([a-z]+)\b(?! sure)", README))
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert {"demo", "run", "test"} <= named <= targets


def test_slackbot_commands(capsys: pytest.CaptureFixture[str]) -> None:
    """Every command that is named exists."""
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    commands = set(re.findall(r"^    ([a-z]+)\b", capsys.readouterr().out, re.MULTILINE))
    named = {code.split()[1] for code in CODE if code.startswith("slackbot ")}
    assert {"run", "migrate"} <= named <= commands


def test_links() -> None:
    """Files that are linked to exist, and headings, too."""
    headings = {anchor(heading) for heading in re.findall(r"^#+ (.+)$", README, re.MULTILINE)}
    for link in LINKS:
        if link.startswith("#"):
            assert link[1:] in headings
        elif not link.startswith("https://"):
            assert (ROOT / link).is_file(), link


def test_paths() -> None:
    """Paths that are named exist."""
    paths = [code for code in CODE if re.fullmatch(r"(slackbot|migrations|tests)/[\w/.]*", code)]
    assert paths
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_log_events() -> None:
    """Every log event that is named is one that the code writes."""
    written = "\n".join(file.read_text(encoding="utf-8") for file in (ROOT / "slackbot").rglob("*.py"))
    written = "".join(re.findall(r"log\.\w+\([\w\s,]*\"[a-z_.]+\"", written))
    start = README.index("## When it does not answer")
    rows = re.findall(r"^\| .*$", README[start : README.index("\n## ", start)], re.MULTILINE)
    events = {event for row in rows for event in re.findall(r"`([a-z]+\.[a-z_]+)`", row)}
    assert len(events) >= 8
    assert {event for event in events if f'"{event}"' not in written} == set()


def test_scopes() -> None:
    """The table has a row with a reason for each scope of the manifest, and says which are optional."""
    scopes = yaml.safe_load((ROOT / "manifest.yml").read_text(encoding="utf-8"))["oauth_config"]["scopes"]
    rows = dict(re.findall(r"^\| `([a-z_]+(?::[a-z.]+)?)` \| (required|optional) \| \w.+ \|$", README, re.MULTILINE))
    assert {scope: "optional" if scope in scopes["bot_optional"] else "required" for scope in scopes["bot"]} == rows


def test_the_lines_to_fill_in() -> None:
    """Step 4 counts the lines of .env.example that have to be filled in."""
    blank = re.findall(r"^\w+=$", (ROOT / ".env.example").read_text(encoding="utf-8"), re.MULTILINE)
    assert len(blank) == 4
    assert "fill in the four lines without `#`" in README


def test_screenshot() -> None:
    """The picture is a screenful that loads quickly."""
    picture = (ROOT / "docs" / "demo.png").read_bytes()
    assert len(picture) < 300_000
    assert picture[:8] == b"\x89PNG\r\n\x1a\n"
    assert struct.unpack(">II", picture[16:24]) == (1280, 800)
