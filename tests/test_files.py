"""Files both ways, between a fake Slack and a fake agent: what passes, what does not, and what people hear of it."""

from __future__ import annotations

import pytest

from slackbot.domain import Attachment, FileBytes, FileLink, FileOffered, FileTrouble, SlackFile, ThreadKey
from slackbot.errors import ChatUnavailable, FileRefused
from slackbot.files.incoming import NOT_READ, Bundle, Incoming
from slackbot.files.outgoing import Outgoing
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
        "3.txt (more than 3 files at once), 4.txt (more than 3 files at once)",
        id="too many",
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
    pytest.param(
        [("x", "a/b", b"x")], {"F1": FileTrouble.NO_ACCESS}, "x (it belongs to another workspace)", id="not ours"
    ),
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
    """The first files of a conversation bring the warning, later ones do not."""
    chat = shared(("a.txt", "text/plain", b"a"))
    bundle = await gather(chat, agent_reads=False)
    assert bundle.note == NOT_READ
    bundle.close()
    bundle = await gather(chat, known=("F0",), agent_reads=False)
    assert bundle.note == ""
    bundle.close()


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
    offers = [offer("a.pdf"), offer("b.png"), offer("a.pdf")]
    assert await Outgoing(agent, chat, SMALL).share(THREAD, offers) == ""
    assert [(name, kind, content, alt) for _, name, kind, content, alt in chat.uploads] == [
        ("a.pdf", "application/pdf", b"%PDF", ""),
        ("b.png", "image/png", b"\x89PNG", "b.png"),
    ]


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
    said = await Outgoing(agent, chat, SMALL).share(THREAD, [offer("a.txt"), offer("b.txt"), offer("gone.txt")])
    assert said == f"I could not bring what the agent made into Slack: a.txt ({words}), gone.txt (it was deleted)."
    assert [name for _, name, _, _, _ in chat.uploads] == ["b.txt"]
