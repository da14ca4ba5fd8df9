"""Files both ways, between a fake Slack and a fake agent: what passes, what does not, and what people hear of it."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

import pytest

from slackbot.domain import Attachment, FileBytes, FileLink, FileOffered, FileTrouble, SlackFile, ThreadKey
from slackbot.errors import ChatUnavailable, FileRefused
from slackbot.files.incoming import MOST_LOOKS, NOT_READ, Bundle, Incoming
from slackbot.files.outgoing import MOST, NOT_YET, TOO_MANY, TOO_MUCH, Outgoing, merged, unshared
from slackbot.files.passing import MB, FileLimits
from tests.fakes import FakeAgent, FakeChat

THREAD = ThreadKey("T1", "C1", "1.000000")
SMALL = FileLimits(file_bytes=2 * MB, turn_bytes=3 * MB, count=3, refused_types=frozenset({"video/*", ".exe"}))


def shared(*files: tuple[str, str, bytes]) -> FakeChat:
    """A Slack that holds these files: name, type and bytes."""
    chat = FakeChat(latency=0.001)
    for number, (name, kind, content) in enumerate(files, start=1):
        file_id = f"F{number}"
        chat.files[file_id] = (SlackFile(file_id, name, kind, len(content), f"https://files.slack.com/{name}"), content)
    return chat


async def gather(
    chat: FakeChat, limits: FileLimits = SMALL, *, known: tuple[str, ...] = (), agent_reads: bool = True
) -> Bundle:
    """Everything that Slack holds, gathered for a question."""
    wanted = [Attachment(file_id, file.name) for file_id, (file, _) in chat.files.items()]
    return await Incoming(chat, limits).gather(THREAD, wanted, known=known, agent_reads=agent_reads)


def contents(bundle: Bundle) -> list[tuple[str, str, bytes]]:
    """Names, types and bytes of what goes in."""
    found = []
    for file in bundle.files:
        assert isinstance(file, FileBytes)
        file.content.seek(0)
        found.append((file.name, file.media_type, file.content.read()))
        assert file.size == len(found[-1][2])
    return found


async def test_files_go_in_as_they_are() -> None:
    """Name, type and bytes are those of Slack's files, in their order, an empty one included."""
    chat = shared(("a.txt", "text/plain", b"words"), ("b.bin", "application/octet-stream", b"\0" * MB), ("c", "", b""))
    bundle = await gather(chat)
    assert [(name, content) for name, _, content in contents(bundle)] == [
        ("a.txt", b"words"),
        ("b.bin", b"\0" * MB),
        ("c", b""),
    ]
    assert (bundle.sent, bundle.left_out, bundle.note) == (["F1", "F2", "F3"], {}, "")
    bundle.close()
    assert all(isinstance(file, FileBytes) and file.content.closed for file in bundle.files)


async def test_the_type_is_what_the_bytes_say() -> None:
    """A picture that Slack calls a text is passed on as a picture."""
    png = b"\x89PNG\r\n\x1a\n" + b"\0" * 32
    bundle = await gather(shared(("chart", "text/plain", png)))
    assert [kind for _, kind, _ in contents(bundle)] == ["image/png"]
    bundle.close()


async def test_a_nameless_file_gets_the_ending_of_what_it_is() -> None:
    """What only its bytes tell is in the name, too."""
    bundle = await gather(shared(("file", "", b"\x89PNG\r\n\x1a\n" + b"\0" * 32)))
    assert [(name, kind) for name, kind, _ in contents(bundle)] == [("file.png", "image/png")]
    bundle.close()


REFUSALS = [
    pytest.param([("big.bin", "a/b", b"\0" * (2 * MB + 1))], {}, "big.bin (larger than 2 MB)", id="too big"),
    pytest.param(
        [(f"{n}.txt", "text/plain", b"x") for n in range(5)],
        {},
        "3.txt and 4.txt (more than 3 files at once)",
        id="too many",
    ),
    pytest.param(
        [("film.mp4", "video/mp4", b"x"), ("x", "a/b", b"x"), ("y", "a/b", b"x"), ("b.mp4", "video/mp4", b"x")],
        {"F2": FileTrouble.GONE},
        "film.mp4 and b.mp4 (this type is not accepted), x (it was deleted)",
        id="two reasons",
    ),
    pytest.param(
        [(f"{n}.txt", "text/plain", b"x") for n in range(6)],
        {},
        "3.txt, 4.txt and 5.txt (more than 3 files at once)",
        id="three with one reason",
    ),
    pytest.param(
        [(f"{n}.txt", "text/plain", b"x") for n in range(80)],
        {},
        "3.txt, 4.txt and 75 more (more than 3 files at once)",
        id="very many",
    ),
    pytest.param(
        [("x", "a/b", b"x"), ("y", "a/b", b"x")],
        {"F1": FileTrouble.GONE},
        "x (it was deleted)",
        id="one of two",
    ),
    pytest.param(
        [(f"{n}.bin", "a/b", b"\0" * (3 * MB // 2)) for n in range(3)],
        {},
        "2.bin (more than 3 MB together)",
        id="too much together",
    ),
    pytest.param([("film.mp4", "video/mp4", b"x")], {}, "film.mp4 (this type is not accepted)", id="refused type"),
    pytest.param([("Tool.EXE", "a/b", b"MZ")], {}, "Tool.EXE (this type is not accepted)", id="refused ending"),
    pytest.param([("x", "a/b", b"x")], {"F1": FileTrouble.GONE}, "x (it was deleted)", id="deleted"),
    pytest.param([("x", "a/b", b"x")], {"F1": FileTrouble.HIDDEN}, "x (Slack's plan hides it)", id="hidden by plan"),
    pytest.param(
        [("x", "a/b", b"x")], {"F1": FileTrouble.SCANNING}, "x (Slack is still checking it)", id="being scanned"
    ),
    pytest.param([("x", "a/b", b"x")], {"F1": FileTrouble.NO_ACCESS}, "x (access to it was denied)", id="not ours"),
    pytest.param([("x", "a/b", b"x")], {"F1": FileTrouble.NOT_A_FILE}, "x (only Slack can show it)", id="a canvas"),
    pytest.param([("x", "a/b", b"x")], {"F1": FileTrouble.UNREADABLE}, "x (it could not be read)", id="unreadable"),
    pytest.param(
        [("x", "a/b", b"x")],
        {"https://files.slack.com/x": FileTrouble.UNREADABLE},
        "x (it could not be read)",
        id="broken download",
    ),
    pytest.param(
        [("x", "a/b", b"x")],
        {"F1": FileTrouble.MISSING_SCOPE},
        "x (this app lacks the permission files:read)",
        id="missing scope",
    ),
]


@pytest.mark.parametrize(("files", "refusals", "words"), REFUSALS)
async def test_what_does_not_go_in_is_said_with_the_reason(
    files: list[tuple[str, str, bytes]], refusals: dict[str, FileTrouble], words: str
) -> None:
    """One compact line names each file and why; the others go in."""
    chat = shared(*files)
    chat.refusals = {where: FileRefused(trouble, detail="files:read") for where, trouble in refusals.items()}
    bundle = await gather(chat)
    assert bundle.note == f"Not passed on to the agent: {words}."
    assert len(bundle.files) + len(bundle.left_out) == len(files)
    assert set(bundle.sent) == set(chat.files) - set(bundle.left_out)
    bundle.close()


async def test_only_what_can_go_counts() -> None:
    """Files that are gone or refused take no other one's place; of very many not all are looked up."""
    gone = {f"F{number}" for number in range(1, 21)}
    chat = shared(*[("x", "a/b", b"x")] * 20, ("film.mp4", "video/mp4", b"x"), *[("y", "a/b", b"y")] * 5)
    chat.refusals = dict.fromkeys(gone, FileRefused(FileTrouble.GONE))
    bundle = await gather(chat)
    assert bundle.sent == ["F22", "F23", "F24"]
    assert [bundle.left_out[file_id] for file_id in ("F21", "F25", "F26")] == [
        "this type is not accepted",
        *["more than 3 files at once"] * 2,
    ]
    bundle.close()
    chat = shared(*[("x", "a/b", b"x")] * (MOST_LOOKS + 30))
    chat.refusals = dict.fromkeys(chat.files, FileRefused(FileTrouble.GONE))
    assert len((await gather(chat)).left_out) == MOST_LOOKS + 30
    assert chat.count("look_up_file") == MOST_LOOKS


async def test_names_are_shown_without_what_cannot_be_seen() -> None:
    """A name is one short line whatever it holds."""
    chat = shared(("x", "a/b", b"x"))
    chat.refusals["F1"] = FileRefused(FileTrouble.GONE)
    strange = [Attachment("F1", f"../../etc/pa\nsswd\u202e{'x' * 300}.exe")]
    bundle = await Incoming(chat, SMALL).gather(THREAD, strange, known=(), agent_reads=True)
    assert bundle.note == f"Not passed on to the agent: pa sswd {'x' * 41}… (it was deleted)."


@contextmanager
def full_disk(room: int) -> Iterator[None]:
    """No file of this process grows beyond ``room`` bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("piece", [2 * MB, 3000, 1])
async def test_a_full_disk_costs_the_file_not_the_question(piece: int) -> None:
    """Wherever it shows: while bytes come, when the last of them are written, on closing."""

    class Dribbling(FakeChat):
        async def download(self, team_id: str, file: SlackFile, into: BinaryIO, *, most: int) -> int:
            into.write(bytes(MB))
            content = self.files[file.id][1][MB:]
            into.writelines(content[at : at + piece] for at in range(0, len(content), piece))
            return file.size

    chat = Dribbling(latency=0.001)
    size = MB + 5000
    chat.files["F1"] = (SlackFile("F1", "a.bin", "a/b", size, "https://x"), bytes(size))
    with full_disk(MB + 4096):
        bundle = await gather(chat)
        assert bundle.note == "Not passed on to the agent: a.bin (it could not be read)."
        bundle.close()


async def test_slack_being_away_costs_the_file_not_the_question() -> None:
    """A file that cannot be asked for is one that could not be read."""
    chat = shared(("a.txt", "text/plain", b"words"))
    chat.fail = lambda method, _number: ChatUnavailable("down") if method == "look_up_file" else None
    assert (await gather(chat)).note == "Not passed on to the agent: a.txt (it could not be read)."


async def test_a_file_that_is_bigger_than_slack_said_is_counted() -> None:
    """Sizes are counted while the bytes come."""
    chat = shared(("a.bin", "a/b", b"\0" * (2 * MB + 1)), ("b.bin", "a/b", b"\0" * MB), ("c.bin", "a/b", b"\0" * MB))
    for file_id, (file, content) in list(chat.files.items()):
        chat.files[file_id] = (SlackFile(file.id, file.name, file.media_type, 1, file.url), content)
    bundle = await gather(chat)
    assert bundle.note == "Not passed on to the agent: a.bin (larger than 2 MB)."
    bundle.close()
    limits = FileLimits(file_bytes=4 * MB, turn_bytes=3 * MB + 1)
    bundle = await gather(chat, limits)
    assert bundle.note == "Not passed on to the agent: c.bin (more than 3 MB together)."
    bundle.close()


async def test_external_files_go_in_as_addresses() -> None:
    """What lies outside Slack is fetched by the agent itself and counts for no limit."""
    chat = FakeChat(latency=0.001)
    link = SlackFile("F1", "plan", "application/pdf", 99 * MB, "https://example.org/plan.pdf", external=True)
    chat.files["F1"] = (link, b"")
    bundle = await gather(chat)
    assert bundle.files == [FileLink("plan", "application/pdf", "https://example.org/plan.pdf")]


async def test_what_slack_heard_in_a_voice_clip_goes_along() -> None:
    """A transcript is kept for the agent's text."""
    chat = FakeChat(latency=0.001)
    chat.files["F1"] = (SlackFile("F1", "clip.m4a", "audio/mp4", 3, "https://x", transcript="Hello there"), b"abc")
    bundle = await gather(chat)
    assert bundle.about == {"F1": "Slack heard: Hello there"}
    bundle.close()


async def test_nothing_goes_twice_into_a_conversation() -> None:
    """Files that the conversation has already are not even looked up; a file named twice goes once."""
    chat = shared(("a.txt", "text/plain", b"a"), ("b.txt", "text/plain", b"b"))
    bundle = await gather(chat, known=("F1",))
    assert bundle.sent == ["F2"]
    bundle.close()
    twice = [Attachment("F2", "b.txt")] * 2
    bundle = await Incoming(chat, SMALL).gather(THREAD, twice, known=(), agent_reads=True)
    assert bundle.sent == ["F2"]
    assert chat.count("look_up_file") == 2
    bundle.close()


async def test_an_agent_without_a_tool_for_files_is_named_once() -> None:
    """As long as nobody knows, files bring the warning."""
    chat = shared(("a.txt", "text/plain", b"a"))
    bundle = await gather(chat, agent_reads=False)
    assert (bundle.note, bundle.unread) == (NOT_READ, True)
    bundle.close()
    bundle = await gather(chat, known=("F1",), agent_reads=False)
    assert (bundle.note, bundle.unread) == ("", False)


# --- out ---


def offer(name: str, media_type: str = "") -> FileOffered:
    return FileOffered(f"/v1/file/{name}", media_type, name)


async def test_what_the_agent_made_comes_in_order_and_once() -> None:
    """Each file is shared below the one before; one that is offered twice comes once; pictures are described."""
    chat = FakeChat(latency=0.001)
    agent = FakeAgent()
    agent.made = {
        "/v1/file/a.pdf": ("a.pdf", "application/pdf", b"%PDF"),
        "/v1/file/b.png": ("b.png", "image/png", b"\x89PNG"),
    }
    assert await share(chat, agent, offer("a.pdf"), offer("b.png"), offer("a.pdf")) == ""
    assert [(name, kind, content, alt) for _, name, kind, content, alt in chat.uploads] == [
        ("a.pdf", "application/pdf", b"%PDF", ""),
        ("b.png", "image/png", b"\x89PNG", "b.png"),
    ]


async def share(chat: FakeChat, agent: FakeAgent, *offers: FileOffered) -> str:
    """What is said once the files were shared."""
    files = merged(offers)
    missing = [NOT_YET] * len(files)
    await Outgoing(agent, chat, SMALL).share(THREAD, files, missing)
    return unshared(files, missing)


def test_what_is_said_of_a_file_adds_up() -> None:
    """The first word counts; a link without a name takes none away, and is no guess."""
    first, bare = FileOffered("/v1/file/a", "application/pdf", "", guessed=True), FileOffered("/v1/file/a", "")
    named = FileOffered("/v1/file/a", "text/plain", "Q3.pdf", guessed=True)
    assert merged([first, named]) == [FileOffered("/v1/file/a", "application/pdf", "Q3.pdf", guessed=True)]
    assert merged([first, bare, named]) == [FileOffered("/v1/file/a", "application/pdf", "Q3.pdf")]


async def test_what_only_looked_like_a_file_is_no_news() -> None:
    """Noxus knows no such file, and nothing but an id beside a name said that there is one."""
    guess = FileOffered("/v1/file/a.csv", "", "a.csv", guessed=True)
    chat, agent = FakeChat(latency=0.001), FakeAgent()
    assert await share(chat, agent, guess) == ""
    assert await share(chat, agent, guess, FileOffered("/v1/file/a.csv", "")) != ""
    agent.made = {"/v1/file/a.csv": ("a.csv", "text/csv", b"x" * (3 * MB))}
    assert "a.csv (larger than 2 MB)" in await share(chat, agent, guess)


async def test_so_many_files_and_no_more() -> None:
    """The others are counted, and so are those whose bytes were too much to keep."""
    chat, agent = FakeChat(latency=0.0), FakeAgent()
    offers = [offer(f"{number}.txt") for number in range(MOST + 5)]
    agent.made = {each.url: (each.name, "a/b", b"x") for each in offers}
    said = await share(chat, agent, FileOffered("", "image/png"), FileOffered("", "image/png"), *offers)
    assert said == (
        f"I could not bring what the agent made into Slack: a file and a file ({TOO_MUCH}), "
        f"48.txt, 49.txt and 5 more ({TOO_MANY})."
    )
    assert len(chat.uploads) == MOST - 2


async def test_a_full_disk_costs_the_file_not_the_answer() -> None:
    """What cannot be kept on its way is one that could not be read; the next may do."""
    chat, agent = FakeChat(latency=0.001), FakeAgent()
    agent.made = {"/v1/file/a": ("a", "a/b", b"x" * (MB + 5000)), "/v1/file/b": ("b", "a/b", b"x")}
    with full_disk(MB):
        said = await share(chat, agent, offer("a"), offer("b"))
    assert said == "I could not bring what the agent made into Slack: a (it could not be read)."
    assert [name for _, name, _, _, _ in chat.uploads] == ["b"]


@pytest.mark.parametrize(
    ("trouble", "words"),
    [
        (FileTrouble.UPLOADS_OFF, "uploads are switched off here"),
        (FileTrouble.TYPE_REFUSED, "this type is not accepted"),
        (FileTrouble.STORAGE_FULL, "this workspace's storage is full"),
        (FileTrouble.MISSING_SCOPE, "this app lacks the permission files:write"),
    ],
)
async def test_what_cannot_be_shared_is_one_sentence(trouble: FileTrouble, words: str) -> None:
    """A refused upload costs that file only, and is said with its reason; so is one that is gone."""
    chat, agent = FakeChat(latency=0.001), FakeAgent()
    agent.made = {f"/v1/file/{name}": (name, "a/b", b"x") for name in ("a.txt", "b.txt")}
    chat.refusals["a.txt"] = FileRefused(trouble, detail="files:write")
    said = await share(chat, agent, offer("a.txt"), offer("b.txt"), offer("gone.txt"))
    assert said == f"I could not bring what the agent made into Slack: a.txt ({words}), gone.txt (it was deleted)."
    assert [name for _, name, _, _, _ in chat.uploads] == ["b.txt"]
