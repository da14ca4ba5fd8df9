"""Files both ways, through the whole bot: what the agent gets, what the thread shows, and every word in between."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from slackbot.domain import FileTrouble
from slackbot.errors import FileRefused, FilesTooBig, Interrupted
from slackbot.files.incoming import NOT_READ
from slackbot.files.outgoing import INCOMPLETE, NOT_YET, TOO_MANY, TOO_MUCH
from slackbot.files.passing import FileLimits
from slackbot.simulator.slack import Grants, SimMessage
from slackbot.simulator.slack.downloads import Trouble
from slackbot.simulator.slack.scopes import ALL_SCOPES
from tests.real_files import MB, REAL
from tests.whole_bot import World, bot, world

ROOT = Path(__file__).parent.parent
GET_ADDRESS = "files.getUploadURLExternal"
SMALL = [name for name in REAL if name != "random.bin"]
"""All that fit into one message."""
THREE, TWO, ONE = "The river carries.", "The river.", "The."
"""What the agent says when it is asked for so many words."""
OUT_OF_REACH = {TOO_MANY, TOO_MUCH}
"""Reasons that would take minutes to bring about with Slack's limits, or more than a simulated agent sends."""

Json = dict[str, Any]


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A fresh SQLite file."""
    return f"sqlite:///{tmp_path / 'bot.db'}"


def sha256(content: bytes) -> str:
    """What names a content."""
    return hashlib.sha256(content).hexdigest()


def lines(message: SimMessage) -> Iterator[str]:
    """What one message shows: the agent's text, our sentences, files, buttons other than thumbs."""
    for block in message.blocks:
        match block:
            case {"type": "markdown", "text": text} | {"text": {"text": text}}:
                yield text
            case {"type": "context", "elements": elements}:
                yield from (element["text"] for element in elements)
            case {"type": "actions", "elements": buttons}:
                yield from (f"[{button['text']['text']}]" for button in buttons if len(button["text"]["text"]) > 2)
    yield from (f"file {file['name']}" for file in message.files)


@dataclass(frozen=True, slots=True)
class Asked:
    """A thread in which somebody asked the bot something."""

    both: World
    channel: str
    root: str

    def messages(self) -> list[SimMessage]:
        """The bot's messages, in the order in which they stand there."""
        slack = self.both.slack
        return [said for said in slack.messages(self.channel, self.root) if said.user == slack.bot_user_id]

    def shows(self) -> list[str]:
        """All that the bot says and shares there."""
        return [line for message in self.messages() for line in lines(message)]

    async def comes_to(self, *expected: str, patience: float = 15) -> None:
        """Wait until exactly this stands there."""
        try:
            await self.both.slack.wait(lambda: self.shows() == list(expected), timeout=patience)
        except TimeoutError:
            assert self.shows() == list(expected)

    async def says(self, text: str, files: list[Json] | None = None) -> None:
        """Let the same person go on."""
        slack = self.both.slack
        await slack.say(slack.users["ada"], self.channel, text, thread_ts=self.root, files=files or [])

    @property
    def question(self) -> Json:
        """The newest message that Noxus got; of its files only what does not take memory."""
        return streams(self.both)[-1].body  # type: ignore[no-any-return] # recorded JSON


def streams(both: World) -> list[Any]:
    """The questions that Noxus got."""
    return [request for request in both.noxus.requests if request.endpoint == "stream"]


def upload(both: World, name: str, content: bytes | None = None) -> Json:
    """Somebody uploads a file; one of the real ones where no content is given."""
    kind, make = REAL.get(name, ("", lambda: b""))
    return both.slack.files.add(both.slack.users["ada"], name, make() if content is None else content, kind)


async def ask(both: World, text: str, files: list[Json] | None = None) -> Asked:
    """Ada asks in a channel of her own, where nobody else uses Slack's one message a second."""
    slack = both.slack
    channel = slack.add_channel(f"room{len(slack.channels)}")
    root = await slack.say(slack.users["ada"], channel, f"<@{slack.bot_user_id}> {text}", files=files or [])
    return Asked(both, channel, root)


@asynccontextmanager
async def running(
    url: str, grants: Grants | None = None, noxus: Json | None = None, **settings: str
) -> AsyncIterator[World]:
    """A bot between a quick Slack and a quick Noxus."""
    async with world(latency=0.005, grants=grants) as both:
        both.slack.uploads.share_seconds = 0.1
        both.noxus.switches.change(first_token_delay=0.02, rate=400.0, **(noxus or {}))
        async with bot(both.environ(url, SLACKBOT_TURNS_PER_USER_PER_MINUTE="0", **settings)):
            yield both


# --- in: the bytes ---------------------------------------------------------------------------------------------------


async def test_what_people_upload_arrives_as_it_is(database_url: str) -> None:
    """Files of nine kinds in one message: name, type, size and content are those of the upload, in their order."""
    async with running(database_url) as both:
        asked = await ask(both, "/words 3", [upload(both, name) for name in SMALL])
        await asked.comes_to(THREE)
        (request,) = streams(both)
        expected = []
        for name in SMALL:
            kind, make = REAL[name]
            content = make()
            told = {"name": name, "type": kind, "size": len(content)}
            expected.append(told | {"bytes": len(content), "sha256": sha256(content)})
        assert request.files == expected
        assert asked.question["content"].endswith(f"[Attached: {', '.join(SMALL)}]")
        await asked.says("/words 1")
        await asked.comes_to(THREE, ONE)
        assert not asked.question["files"]


async def test_a_file_of_25_megabytes(url: str) -> None:
    """The largest file that is allowed goes in and comes out, byte for byte."""
    content = REAL["random.bin"][1]()
    async with running(url) as both:
        asked = await ask(both, "/words 3", [upload(both, "random.bin", content)])
        await asked.comes_to(THREE)
        (got,) = streams(both)[0].files
        assert (got["bytes"], got["sha256"]) == (25 * MB, sha256(content))


async def test_files_without_a_word_in_a_dm(url: str) -> None:
    """A direct message may be a file alone."""
    async with running(url) as both:
        dm, ada = both.slack.dm("ada"), both.slack.users["ada"]
        root = await both.slack.say(ada, dm, "", files=[upload(both, "data.csv"), upload(both, "report.pdf")])
        asked = Asked(both, dm, root)
        await both.slack.wait(asked.shows)
        assert [file["name"] for file in streams(both)[0].files] == ["data.csv", "report.pdf"]
        assert asked.question["content"] == "[Attached: data.csv, report.pdf]"


async def test_a_mention_in_the_middle_of_a_thread_takes_its_files_along(url: str) -> None:
    """What others shared there before goes with the first question, once."""
    async with running(url) as both:
        slack, channel = both.slack, both.slack.channels["general"]
        root = await slack.say(slack.users["ben"], channel, "the plan", files=[upload(both, "report.pdf")])
        await slack.say(slack.users["olga"], channel, "", thread_ts=root, files=[upload(both, "data.csv")])
        asked = Asked(both, channel, root)
        await asked.says(f"<@{slack.bot_user_id}> /words 3", [upload(both, "dots.png")])
        await asked.comes_to(THREE)
        assert {file["name"] for file in streams(both)[0].files} == {"report.pdf", "data.csv", "dots.png"}
        assert "Ben: the plan\n[Attached: report.pdf]" in asked.question["content"]
        await asked.says(f"<@{slack.bot_user_id}> /words 2", [upload(both, "page.html")])
        await asked.comes_to(THREE, TWO)
        assert [file["name"] for file in streams(both)[1].files] == ["page.html"]


async def test_files_that_are_no_plain_uploads(url: str) -> None:
    """From another organization, kept elsewhere, spoken, written in Slack, nameless, still being checked: all go in."""
    async with running(url) as both:
        special, ada = both.slack.files.special, both.slack.users["ada"]
        picture = REAL["dots.png"][1]()
        files = [
            special.connect_stub(ada, "report.pdf", REAL["report.pdf"][1]()),
            special.external(ada, "Plan.pdf", "https://docs.example.com/plan"),
            special.voice_clip(ada, b"\0\0\0\x20ftypM4A \0\0\0\0", transcript="Please call me back."),
            special.snippet(ada, "print(1)", "a.py", "python"),
            special.changed(upload(both, "x.bin", picture), name=None, title="", mimetype="", filetype=""),
            special.scanning(ada, "data.csv", b"a,b\n", 0.3),
            special.changed(upload(both, "b.txt", b"text"), name="..\\..\\etc/<!channel>\n*b*.txt"),
        ]
        asked = await ask(both, "/sum", files)
        await both.slack.wait(asked.shows, timeout=10)
        assert [(file["name"], file["type"]) for file in asked.question["files"]] == [
            ("report.pdf", "application/pdf"),
            ("Plan.pdf", "application/pdf"),
            ("audio_message.m4a", "audio/mp4"),
            ("a.py", "text/plain"),
            ("file.png", "image/png"),
            ("data.csv", "text/csv"),
            ("<!channel> *b*.txt", "text/plain"),
        ]
        assert asked.question["files"][1]["url"] == "https://docs.example.com/plan"
        assert asked.question["content"].endswith("a.py, file, data.csv, <!channel> *b*.txt]")
        assert "audio_message.m4a (Slack heard: Please call me back.)" in asked.question["content"]
        assert len(asked.messages()) == 1


# --- in: what does not pass ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Refusal:
    """A row of the README's table."""

    words: str
    way: str


def refusals() -> list[Refusal]:
    """The README's table."""
    rows = re.findall(r"^\| ([^|]+) \| (in|out|both) \| .*\|$", (ROOT / "README.md").read_text("utf-8"), re.MULTILINE)
    return [Refusal(words, one) for words, way in rows for one in (("in", "out") if way == "both" else (way,))]


def test_the_readme_has_every_refusal() -> None:
    """Its table has the words for every trouble a file can be in, and no others."""
    scopes = {FileTrouble.MISSING_SCOPE: ("files:read", "files:write")}
    words = {
        FileLimits().why(FileRefused(trouble, detail=detail))
        for trouble in FileTrouble
        for detail in scopes.get(trouble, ("",))
    }
    assert {refusal.words for refusal in refusals()} == words | {NOT_YET, INCOMPLETE, *OUT_OF_REACH}


def refused_files(both: World) -> dict[str, Callable[[], list[Json]]]:
    """For each reason files of which the last does not go in."""
    special, ada = both.slack.files.special, both.slack.users["ada"]

    def trouble(**ordered: Any) -> Json:
        both.slack.files.downloads.troubles[:] = [Trouble(**ordered)]
        return upload(both, "letter.docx")

    def gone_but_big() -> list[Json]:
        # The announced sizes count first: the two before are gone once their bytes are asked for.
        both.slack.files.downloads.troubles[:] = [Trouble(status=404, times=2)]
        return [*(special.changed(upload(both, f"{n}.bin", b"x"), size=25 * MB) for n in "ab"), upload(both, "c", b"c")]

    return {
        "this app lacks the permission files:read": lambda: [upload(both, "report.pdf")],
        "larger than 25 MB": lambda: [special.changed(upload(both, "film.mov", b"x"), size=25 * MB + 1)],
        "more than 10 files at once": lambda: [upload(both, f"{n}.txt", b"x") for n in range(11)],
        "more than 50 MB together": gone_but_big,
        "this type is not accepted": lambda: [upload(both, "setup.exe", b"MZ")],
        "it was deleted": lambda: [special.tombstone(ada)],
        "Slack's plan hides it": lambda: [special.hidden(ada)],
        "access to it was denied": lambda: [special.connect_stub(ada, "x.pdf", b"x", readable=False)],
        "only Slack can show it": lambda: [special.canvas(ada, "Our plan")],
        "it could not be read": lambda: [trouble(status=418)],
        "Slack is still checking it": lambda: [special.scanning(ada, "new.zip", b"x", 60.0)],
    }


async def test_every_refusal_on_the_way_in(url: str) -> None:
    """The line with the README's words stands above the answer, and the agent hears the same; the answer comes."""
    grants = Grants(scopes=ALL_SCOPES - {"files:read"})
    async with running(url, grants, SLACKBOT_REFUSED_FILE_TYPES=".exe") as both:
        scenarios = refused_files(both)
        asked: dict[str, Asked] = {}
        waiting = "Slack is still checking it"
        expected = [refusal.words for refusal in refusals() if refusal.way == "in"]
        for words in sorted(expected, key=lambda words: ("files:read" not in words, words != waiting)):
            asked[words] = await ask(both, "/words 3", scenarios[words]())
            if words != waiting:
                await both.slack.wait(lambda words=words: len(asked[words].shows()) == 2, timeout=10)  # type: ignore[misc] # a default binds it
            grants.scopes = ALL_SCOPES
        await both.slack.wait(lambda: THREE in asked[waiting].shows(), timeout=20)
        told = {request.body["content"] for request in streams(both)}
        for words, thread in asked.items():
            # What takes longer than a status line has a message with Stop above it, which becomes the answer.
            note, answer = sorted(thread.shows(), key=lambda line: line == THREE)
            assert answer == THREE
            assert thread.shows() == [note, answer] or words == waiting
            assert note.startswith("Not passed on to the agent: ")
            assert note.endswith(f" ({words}).")
            assert any(f"(not passed on to you: {words})" in content for content in told), words


async def test_noxus_finds_it_too_big(url: str) -> None:
    """A 413 is one sentence about the files, with Retry."""
    async with running(url, noxus={"b64_limit": 10}) as both:
        asked = await ask(both, "/words 3", [upload(both, "report.pdf")])
        await asked.comes_to(FilesTooBig.sentence, "[Retry]")


async def test_an_agent_without_a_tool_for_files(url: str) -> None:
    """People hear once in a conversation that the agent has no tool for files; the files go along."""
    async with running(url) as both:
        tools = both.noxus.agents[both.noxus.agent_id]["definition"]["base_tools"]
        tools[:] = [tool for tool in tools if "file" not in tool["type"] and tool["type"] == "web_research"]
        asked = await ask(both, "/words 1", [upload(both, "report.pdf")])
        await asked.comes_to(NOT_READ, ONE)
        await asked.says("/words 2", [upload(both, "data.csv")])
        await asked.comes_to(NOT_READ, ONE, TWO)
        assert [len(request.files) for request in streams(both)] == [1, 1]


# --- out -------------------------------------------------------------------------------------------------------------


def content_in_slack(both: World, file: Json) -> str:
    """The SHA-256 of a shared file's bytes."""
    return sha256(both.slack.files._contents[file["id"]])


async def shared_as_made(both: World, asked: Asked, *names: str, text: str) -> None:
    """Wait until the files stand below the text, one message each, and compare their bytes with what the agent made."""
    await asked.comes_to(text, *(f"file {name}" for name in names))
    _, *shared = asked.messages()
    assert all(message.thread_ts == asked.root for message in shared)
    made = {file.name: sha256(file.content) for file in both.noxus.files.values()}
    files = [file for message in shared for file in message.files]
    assert {file["name"]: content_in_slack(both, file) for file in files} == {name: made[name] for name in names}
    assert [file.get("alt_txt") for file in files] == [name if name.endswith(".png") else None for name in names]


async def test_what_the_agent_makes_comes_back(url: str) -> None:
    """However Noxus tells of files, they stand below the text, in order, once, and byte for byte."""
    names = ("chart.png", "report.pdf", "list.csv")
    async with running(url) as both:
        threads = []
        for files_as in ("tool_output", "file_frame", "data_frame", "link"):
            both.noxus.switches.change(files_as=files_as)
            threads.append(await ask(both, f"/file {' '.join(names)}"))
            await both.slack.wait(lambda: len(streams(both)) == len(threads) and threads[-1].shows())
        *others, linked = threads
        for asked in others:
            await shared_as_made(both, asked, *names, text="Here are your files.")
        await shared_as_made(both, linked, *names, text=f"Here are your files: {', '.join(names)}")


async def test_what_the_agent_sends_inline(url: str) -> None:
    """A ``data:`` address has no name, but bytes that say what it is."""
    async with running(url, noxus={"files_as": "data_uri"}) as both:
        asked = await ask(both, "/file chart.png")
        await asked.comes_to("Here is your file.", "file file.png")
        (made,) = [file for file in both.noxus.files.values() if file.name == "chart.png"]
        assert content_in_slack(both, asked.messages()[1].files[0]) == sha256(made.content)


async def test_5_megabytes_from_the_agent(url: str) -> None:
    """A larger file comes through in pieces, and the next question waits until it stands there."""
    async with running(url) as both:
        asked = await ask(both, f"/file big.csv size={5 * MB}")
        await both.slack.wait(asked.shows)
        await asked.says("/words 3")
        await asked.comes_to("Here is your file.", "file big.csv", THREE)
        shared = asked.messages()[1].files[0]
        assert shared["size"] == 5 * MB
        assert content_in_slack(both, shared) in {sha256(file.content) for file in both.noxus.files.values()}


async def test_the_order_holds_although_slack_shares_in_its_own_time(url: str) -> None:
    """Each file is waited for before the next: slow shares come no later than quick ones."""
    async with running(url) as both:
        slack = both.slack

        def quicker(call: object) -> None:
            slack.uploads.share_seconds = max(slack.uploads.share_seconds - 0.6, 0.0)

        slack.uploads.share_seconds = 1.2
        slack._workspace.observers.append(lambda change: quicker(change) if _shares(change) else None)
        asked = await ask(both, "/file a.csv b.csv c.csv")
        await asked.comes_to("Here are your files.", "file a.csv", "file b.csv", "file c.csv")


def _shares(change: Any) -> bool:
    return bool(getattr(getattr(change, "message", None), "files", ()))


@contextmanager
def prevented(both: World, words: str) -> Iterator[str]:
    """A world in which a file cannot come back for this reason; gives the question."""
    slack, noxus, grants = both.slack, both.noxus, both.slack._grants
    statuses = {"it was deleted": 404, "access to it was denied": 403, "it could not be read": 418}
    errors = {
        "this type is not accepted": "file_type_not_allowed",
        "uploads are switched off here": "file_uploads_disabled",
        "this workspace's storage is full": "storage_limit_reached",
        "Slack takes no file of this size here": "file_upload_size_restricted",
    }
    sizes = {"larger than 25 MB": 25 * MB + 1, "it is empty": 0}
    if words in statuses:
        noxus.faults.add(path="download", status=statuses[words])
    elif words in errors:
        slack.faults.add(method=GET_ADDRESS, error=errors[words])
    elif "files:write" in words:
        grants.scopes = ALL_SCOPES - {"files:write"}
    yield f"/file made.csv size={sizes.get(words, 10)}"
    grants.scopes = ALL_SCOPES


async def test_every_refusal_on_the_way_out(url: str) -> None:
    """The answer stays as it is, and one sentence with the README's words stands below it."""
    async with running(url, Grants(scopes=ALL_SCOPES)) as both:
        cut_off = {NOT_YET, INCOMPLETE}
        for words in [one.words for one in refusals() if one.way == "out" and one.words not in OUT_OF_REACH | cut_off]:
            with prevented(both, words) as question:
                asked = await ask(both, question)
                sentence = f"I could not bring what the agent made into Slack: made.csv ({words})."
                await asked.comes_to("Here is your file.", sentence)


async def test_an_answer_that_breaks_off_brings_no_files(url: str) -> None:
    """What was made for an answer that is not complete is named below it; Retry makes it anew."""
    async with running(url, SLACKBOT_IDLE_SECONDS="1") as both:
        both.noxus.faults.add(path="stream", drop="mid", frames=11)
        both.noxus.faults.add(path="events", status=404, times=None)
        both.noxus.faults.add(path="get", status=404, times=None)
        asked = await ask(both, "/file made.csv")
        await both.slack.wait(lambda: asked.shows() and INCOMPLETE in asked.shows()[-1], timeout=10)
        assert asked.shows()[-2:] == [
            "[Retry]",
            f"I could not bring what the agent made into Slack: made.csv ({INCOMPLETE}).",
        ]


async def test_stop_while_a_file_comes_back(url: str) -> None:
    """Stop ends that, too; the answer stays, and one sentence says what is missing."""
    async with running(url) as both:
        slack = both.slack
        both.noxus.faults.add(path="download", delay=20.0)
        asked = await ask(both, "/file made.csv")
        await slack.wait(lambda: [request for request in both.noxus.requests if request.endpoint == "download"])
        await slack.stop_session(slack.users["ada"], asked.channel, asked.root)
        await asked.comes_to(
            "Here is your file.", f"I could not bring what the agent made into Slack: made.csv ({NOT_YET})."
        )


async def test_one_of_several_cannot_come(url: str) -> None:
    """The others do, and the sentence about it comes last."""
    async with running(url) as both:
        both.slack.faults.add(method=GET_ADDRESS, error="file_type_not_allowed")
        asked = await ask(both, "/file a.csv b.csv")
        sentence = "I could not bring what the agent made into Slack: a.csv (this type is not accepted)."
        await asked.comes_to("Here are your files.", "file b.csv", sentence)


# --- cut off ---------------------------------------------------------------------------------------------------------


async def test_stop_while_a_file_is_on_its_way(url: str) -> None:
    """Stop ends a long download at once; the agent is not asked, and the next question is answered."""
    async with running(url) as both:
        slack = both.slack
        slack.files.downloads.troubles.append(Trouble(pace=0.2))
        asked = await ask(both, "/words 3", [upload(both, "big.bin", bytes(10 * MB))])
        await slack.wait(lambda: slack.files.downloads.asked)
        await slack.wait(lambda: slack.status(asked.channel, asked.root) == "is reading the files…")
        await slack.stop_session(slack.users["ada"], asked.channel, asked.root)
        await asked.comes_to("Stopped by Ada.")
        assert streams(both) == []
        await asked.says("/words 3")
        await asked.comes_to("Stopped by Ada.", THREE)


@asynccontextmanager
async def process(environ: dict[str, str], folder: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """The bot as a process of its own, connected; killed in the end."""
    clean = {key: value for key, value in os.environ.items() if key != "TMPDIR"}
    with (folder / "log").open("ab") as log:
        command = (sys.executable, "-m", "slackbot", "run")
        env = {**clean, **environ, "PYTHONPATH": str(ROOT)}
        started = await asyncio.create_subprocess_exec(
            *command, cwd=folder, env=env, stdout=asyncio.subprocess.DEVNULL, stderr=log
        )
    try:
        yield started
    finally:
        if started.returncode is None:
            started.send_signal(signal.SIGKILL)
        await started.wait()


async def test_killed_in_the_middle_of_a_download(url: str, tmp_path: Path) -> None:
    """No temporary file stays behind, the next process brings all files, and so does Retry after another death."""
    held = tmp_path / "tmp"
    held.mkdir()
    contents = [REAL["report.pdf"][1](), bytes(range(256)) * 4096 * 4]
    expected = [sha256(content) for content in contents]
    async with world(latency=0.005) as both:
        slack, noxus = both.slack, both.noxus
        environ = both.environ(url, TMPDIR=str(held), LOG_FORMAT="json")
        slack.files.downloads.troubles += [Trouble(times=2, pace=0.02)]
        async with process(environ, tmp_path):
            await slack.wait(lambda: slack.connections, timeout=20)
            files = [upload(both, "report.pdf", contents[0]), upload(both, "big.bin", contents[1])]
            asked = await ask(both, "/words 200 rate=10", files)
            await slack.wait(lambda: len(slack.files.downloads.asked) == 2, timeout=10)
            await asyncio.sleep(1.8)  # past what is kept in memory
        assert list(held.iterdir()) == []
        assert streams(both) == []
        async with process(environ, tmp_path):
            await slack.wait(asked.shows, timeout=20)
        assert [file["sha256"] for file in streams(both)[0].files] == expected
        # With the answer dies what would tell how it ended.
        await noxus.stop()
        await noxus.start()
        noxus.switches.change(rate=400.0)
        async with process(environ, tmp_path):
            await slack.wait(lambda: asked.shows()[-1:] == ["[Retry]"], timeout=20)
            assert Interrupted.sentence in asked.shows()
            message = asked.messages()[-1]
            retry = next(block for block in message.blocks if block["type"] == "actions")["elements"][0]
            await slack.press(slack.users["ada"], asked.channel, message.ts, retry["action_id"], retry["value"])
            await slack.wait(lambda: len(streams(both)) == 2, timeout=10)
        assert [file["sha256"] for file in streams(both)[1].files] == expected
        assert list(held.iterdir()) == []
    log = (tmp_path / "log").read_text("utf-8")
    assert all(json.loads(line)["event"] for line in log.splitlines())
