"""Files in a conversation: what the agent gets with a question, what the thread sees of it; on a real store."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from typing import BinaryIO

import pytest

from slackbot import answering
from slackbot.domain import (
    AgentEvent,
    AgentProfile,
    Attachment,
    Body,
    Button,
    ChannelKind,
    ContextMessage,
    FileBytes,
    FileOffered,
    FileTrouble,
    PartRef,
    SlackFile,
    TextDelta,
    ThreadKey,
)
from slackbot.errors import (
    AgentUnavailable,
    ChatRateLimited,
    ChatUnavailable,
    ConversationGone,
    FileRefused,
    StreamBroken,
)
from slackbot.files.incoming import NOT_READ
from slackbot.files.notes import ABOVE, BELOW, INTERRUPTED
from slackbot.store import Store, StoreError
from tests.databases import Raw
from tests.fakes import FakeAgent, FakeChat, Step
from tests.middle import running_bot, says

PLAN, LIST = Attachment("F1", "plan.pdf"), Attachment("F2", "list.csv")
PDF = b"%PDF-1.7 plan"


@pytest.fixture(autouse=True)
def shared(chat: FakeChat) -> None:
    """Two files that Slack holds."""
    chat.files["F1"] = (SlackFile("F1", "plan.pdf", "application/pdf", len(PDF), "https://files.slack.com/1"), PDF)
    chat.files["F2"] = (SlackFile("F2", "list.csv", "text/csv", 3, "https://files.slack.com/2"), b"a,b")


async def test_files_go_along_with_the_question(database_url: str, chat: FakeChat) -> None:
    """A message with files, with or without words, brings them to the agent, which is told their names."""
    agent = FakeAgent()
    async with running_bot(database_url, chat, agent) as bot:
        await bot.hear("", channel="D1", kind=ChannelKind.DM, attachments=(PLAN, LIST))
        await bot.idle()
        assert agent.asked[0][1] == "[Attached: plan.pdf, list.csv]"
        assert agent.files == [[("plan.pdf", PDF), ("list.csv", b"a,b")]]
        assert chat.texts() == ["Hello."]


async def test_what_does_not_go_in_is_said_before_the_answer(database_url: str, chat: FakeChat) -> None:
    """One line above the answer names the file and the reason, and the agent hears the same."""
    chat.refusals["F2"] = FileRefused(FileTrouble.MISSING_SCOPE, detail="files:read")
    agent = FakeAgent()
    async with running_bot(database_url, chat, agent) as bot:
        await bot.hear("<@UBOT> look", attachments=(PLAN, LIST))
        await bot.idle()
        why = "this app lacks the permission files:read"
        assert [body.notice or body.markdown for body in chat.bodies()] == [
            f"Not passed on to the agent: list.csv ({why}).",
            "Hello.",
        ]
        assert agent.asked[0][1] == f"look\n[Attached: plan.pdf, list.csv (not passed on to you: {why})]"
        assert [name for name, _ in agent.files[0]] == ["plan.pdf"]
        # Slack clears the status when that line is posted.
        assert chat.statuses[-1] == chat.statuses[0]


async def test_the_line_stands_above_what_waits_already(database_url: str, chat: FakeChat) -> None:
    """A placeholder that was there before it goes below it."""
    chat.has_status = False
    chat.refusals["F2"] = FileRefused(FileTrouble.GONE)
    download = chat.download

    async def slow(team_id: str, file: SlackFile, into: BinaryIO, *, most: int) -> int:
        while not chat.messages:
            await asyncio.sleep(0.01)
        return await download(team_id, file, into, most=most)

    chat.download = slow  # type: ignore[method-assign]
    agent = FakeAgent([[0.2, *says("Hello.")]])
    async with running_bot(database_url, chat, agent) as bot:
        await bot.hear("<@UBOT> look", attachments=(PLAN, LIST))
        await bot.idle()
        assert said(chat) == ["Not passed on to the agent: list.csv (it was deleted).", "Hello."]
        assert chat.count("post") == 3


async def test_no_file_goes_twice_into_one_conversation(database_url: str, chat: FakeChat) -> None:
    """A file that the conversation has is only named when it is shared again."""
    agent = FakeAgent()
    async with running_bot(database_url, chat, agent) as bot:
        first = await bot.hear("<@UBOT> look", attachments=(PLAN,))
        await bot.idle()
        await bot.hear("and again", thread=first.ts, attachments=(PLAN, LIST))
        await bot.idle()
        assert [[name for name, _ in files] for files in agent.files] == [["plan.pdf"], ["list.csv"]]


async def test_files_of_the_thread_come_along_with_a_mention(database_url: str, chat: FakeChat) -> None:
    """What was shared in a thread before the agent was called goes with the first question, once."""
    chat.past = [ContextMessage("1600000000.000000", "UBEN", "the plan", (PLAN,))]
    agent = FakeAgent()
    async with running_bot(database_url, chat, agent) as bot:
        await bot.hear("<@UBOT> what do you think?", thread="1600000000.000000", attachments=(LIST,))
        await bot.idle()
        await bot.hear("<@UBOT> sure?", thread="1600000000.000000")
        await bot.idle()
        assert [[name for name, _ in files] for files in agent.files] == [["list.csv", "plan.pdf"], []]


async def test_a_retry_brings_the_files_again(database_url: str, chat: FakeChat) -> None:
    """A second try sends as much as the first, and says what is missing once."""
    chat.refusals["F2"] = FileRefused(FileTrouble.GONE)
    agent = FakeAgent([[AgentUnavailable("503")], says("Now.")])
    async with running_bot(database_url, chat, agent) as bot:
        await bot.hear("<@UBOT> look", attachments=(PLAN, LIST))
        await bot.idle()
        await bot.press(Button.RETRY)
        await bot.idle()
        assert agent.files == [[("plan.pdf", PDF)]] * 2
        assert [body.notice or body.markdown for body in chat.bodies()] == [
            "Not passed on to the agent: list.csv (it was deleted).",
            "Now.",
        ]


async def test_a_new_conversation_gets_the_files_anew(database_url: str, chat: FakeChat) -> None:
    """When Noxus has forgotten the conversation the next one gets the thread's files again."""
    agent = FakeAgent([says("One."), [ConversationGone("404", may_have_arrived=False)], says("Two."), says("Three.")])
    async with running_bot(database_url, chat, agent) as bot:
        first = await bot.hear("<@UBOT> look", attachments=(PLAN,))
        await bot.idle()
        chat.past = [ContextMessage(first.ts, "UADA", "look", (PLAN,))]
        await bot.hear("<@UBOT> again", thread=first.ts)
        await bot.idle()
        await bot.hear("<@UBOT> more", thread=first.ts)
        await bot.idle()
        assert [[name for name, _ in files] for files in agent.files] == [["plan.pdf"], [], ["plan.pdf"], []]


def said(chat: FakeChat) -> list[str]:
    """What the messages still there show: the agent's words, or ours."""
    return [body.markdown or body.notice for body in chat.bodies()]


def could_not(which: str) -> str:
    return f"I could not bring what the agent made into Slack: {which}."


async def test_the_conversation_has_what_a_broken_answer_was_given(database_url: str, chat: FakeChat) -> None:
    """However the answer ends: the next question only names it. Retry sends it again, as nobody knows."""
    chat.past = [ContextMessage("1600000000.000000", "UBEN", "the plan", (PLAN,))]
    agent = FakeAgent([[TextDelta("b", "Well"), StreamBroken("cut")], says("Two."), says("Three.")])
    thread = "1600000000.000000"
    async with running_bot(database_url, chat, agent) as bot:
        await bot.hear("<@UBOT> what do you think?", thread=thread, attachments=(LIST,))
        await bot.idle()
        await bot.hear("<@UBOT> go on", thread=thread, attachments=(PLAN,))
        await bot.idle()
        await bot.press(Button.RETRY)
        await bot.idle()
        assert [[name for name, _ in files] for files in agent.files] == [["list.csv", "plan.pdf"], [], ["list.csv"]]


async def test_the_conversation_has_what_a_stopped_answer_was_given(database_url: str, chat: FakeChat) -> None:
    """Also when the process ends while the agent's side is waited for."""
    agent = FakeAgent([[TextDelta("b", "Well "), 9.0], says("Two.")], settle_seconds=30)
    async with running_bot(database_url, chat, agent) as bot:
        first = await bot.hear("<@UBOT> look", attachments=(PLAN,))
        await bot.until(lambda: bool(chat.messages))
        await bot.press(Button.STOP)
        await bot.until(lambda: bool(agent.settled))
        bot.turns.close()
        await bot.until(lambda: not bot.worker.running)
        bot.worker.stop()
    agent.settle_seconds = 0.0
    async with running_bot(database_url, chat, agent) as bot:
        await bot.idle()
        next(bot.tick)
        await bot.hear("again", thread=first.ts, attachments=(PLAN,))
        await bot.idle()
        assert [[name for name, _ in files] for files in agent.files] == [["plan.pdf"], []]


async def test_the_note_is_said_once_per_words(database_url: str, chat: FakeChat) -> None:
    """A conversation that has to be replaced does not repeat it; another try changes it, or takes it away."""
    refused = chat.refusals
    refused["F2"] = FileRefused(FileTrouble.GONE)
    gone = [ConversationGone("404", may_have_arrived=False)]
    agent = FakeAgent([says("One."), gone, [AgentUnavailable("503")], [AgentUnavailable("503")], says("Now.")])
    async with running_bot(database_url, chat, agent) as bot:
        first = await bot.hear("<@UBOT> hi")
        await bot.idle()
        await bot.hear("<@UBOT> look", thread=first.ts, attachments=(LIST, PLAN))
        await bot.idle()
        assert said(chat)[1:] == [
            "Not passed on to the agent: list.csv (it was deleted).",
            AgentUnavailable.sentence,
        ]
        refused["F1"] = refused.pop("F2")
        await bot.press(Button.RETRY)
        await bot.idle()
        assert said(chat)[1] == "Not passed on to the agent: plan.pdf (it was deleted)."
        refused.clear()
        await bot.press(Button.RETRY)
        await bot.idle()
        assert said(chat) == ["One.", "Now."]


@pytest.mark.parametrize("trouble", ["deleted", "limited", "no budget", "away"])
async def test_a_note_that_cannot_be_changed_is_followed(database_url: str, chat: FakeChat, trouble: str) -> None:
    """Its new words are said all the same, unless Slack is away: nothing about files costs an answer."""
    chat.refusals["F2"] = FileRefused(FileTrouble.GONE)
    agent = FakeAgent([[AgentUnavailable("503")], says("Now.")])
    async with running_bot(database_url, chat, agent) as bot:
        await bot.hear("<@UBOT> look", attachments=(LIST, PLAN))
        await bot.idle()
        chat.refusals = {"F1": FileRefused(FileTrouble.GONE)}
        note = next(iter(chat.messages))
        edit = chat.edit

        async def shaky(thread: ThreadKey, ts: str, body: Body) -> None:
            if ts == note and trouble == "limited":
                raise ChatRateLimited("busy", retry_after=1.0)
            if ts == note and trouble == "away":
                raise ChatUnavailable("down")
            await edit(thread, ts, body)

        chat.edit = shaky  # type: ignore[method-assign]
        if trouble == "deleted":
            del chat.messages[note]
        if trouble == "no budget":
            chat.edit = edit  # type: ignore[method-assign]
            while not bot.turns._tools.reply.budget.take("T1", "chat.update", asyncio.get_running_loop().time()):
                pass
        await bot.press(Button.RETRY)
        await bot.until(lambda: len(agent.asked) == 2)
        news = "Not passed on to the agent: plan.pdf (it was deleted)."
        assert (news in said(chat)) == (trouble != "away")
        await bot.until(lambda: "Now." in said(chat))


async def test_stop_while_a_note_is_posted(database_url: str, chat: FakeChat) -> None:
    """Nothing of the files is kept, and the agent is not asked."""
    chat.refusals["F2"] = FileRefused(FileTrouble.GONE)
    held: list[BinaryIO] = []
    download, post = chat.download, chat.post

    async def remembering(team_id: str, file: SlackFile, into: BinaryIO, *, most: int) -> int:
        held.append(into)
        return await download(team_id, file, into, most=most)

    async def waiting(thread: ThreadKey, body: Callable[[], Body], part: PartRef | None = None) -> str:
        if part and part.index == ABOVE:
            await asyncio.sleep(3600)
        return await post(thread, body, part)

    chat.download, chat.post = remembering, waiting  # type: ignore[method-assign]
    agent = FakeAgent()
    async with running_bot(database_url, chat, agent) as bot:
        await bot.hear("<@UBOT> look", attachments=(PLAN, LIST))
        await bot.until(lambda: bool(held) and chat.count("download") == 1)
        await bot.until(lambda: not held[0].closed)
        bot.turns.stop(1, "UADA")
        await bot.idle()
        assert ([file.closed for file in held], agent.asked, said(chat)) == ([True], [], ["Stopped by Ada."])


async def test_names_are_told_as_they_are_shown(database_url: str, chat: FakeChat) -> None:
    """People and the agent read the name under which the file goes."""
    chat.files["F9"] = (SlackFile("F9", "pl an.pdf", "application/pdf", len(PDF), "https://files.slack.com/9"), PDF)
    agent = FakeAgent()
    async with running_bot(database_url, chat, agent) as bot:
        await bot.hear("<@UBOT> look", attachments=(Attachment("F9", "dir/sub\\pl\tan.pdf"),))
        await bot.idle()
        assert agent.asked[0][1] == "look\n[Attached: pl an.pdf]"
        assert agent.files == [[("pl an.pdf", PDF)]]


async def test_very_many_files_are_one_short_line(database_url: str, chat: FakeChat) -> None:
    """A mention in a thread with 80 pictures: ten go, the others are counted, and Slack shows that."""
    pictures = [Attachment(f"P{number}", f"IMG_2024{number:04d}.jpg") for number in range(80)]
    chat.files = {
        each.id: (SlackFile(each.id, each.name, "image/jpeg", 4, "https://x"), b"\xff\xd8\xff\0") for each in pictures
    }
    chat.past = [
        ContextMessage(f"16000000{at:02d}.000000", "UBEN", "pics", tuple(pictures[at : at + 10]))
        for at in range(0, 80, 10)
    ]
    agent = FakeAgent()
    async with running_bot(database_url, chat, agent) as bot:
        await bot.hear("<@UBOT> what do you see?", thread="1600000000.000000")
        await bot.idle()
        assert len(agent.files[0]) == 10
        note = (
            "Not passed on to the agent: IMG_20240060.jpg, IMG_20240061.jpg and 68 more (more than 10 files at once)."
        )
        assert said(chat) == [note, "Hello."]


async def test_a_broken_answer_does_not_repeat_what_the_agent_cannot(database_url: str, chat: FakeChat) -> None:
    """That it has no tool for files is said once in a conversation, however the first answer ended."""
    agent = FakeAgent(
        [[TextDelta("b", "Well"), StreamBroken("cut")], says("Two.")], agent_profile=AgentProfile(reads_files=False)
    )
    async with running_bot(database_url, chat, agent) as bot:
        first = await bot.hear("<@UBOT> look", attachments=(PLAN,))
        await bot.idle()
        await bot.hear("and this", thread=first.ts, attachments=(LIST,))
        await bot.idle()
        assert said(chat) == [NOT_READ, "Well", "Two."]


async def test_a_question_that_never_came_there_says_it_once_too(database_url: str, chat: FakeChat) -> None:
    """Neither the next question nor Retry says again, or takes away, that the agent has no tool for files."""
    agent = FakeAgent(
        [[AgentUnavailable("503")], says("Two."), says("One.")], agent_profile=AgentProfile(reads_files=False)
    )
    async with running_bot(database_url, chat, agent) as bot:
        first = await bot.hear("<@UBOT> look", attachments=(PLAN,))
        await bot.idle()
        await bot.hear("<@UBOT> and this", thread=first.ts, attachments=(LIST,))
        await bot.idle()
        await bot.press(Button.RETRY)
        await bot.idle()
        assert said(chat) == [NOT_READ, "One.", "Two."]


async def test_an_agent_that_cannot_read_files_is_named_once(database_url: str, chat: FakeChat) -> None:
    """People hear once in a conversation that the agent has no tool for files."""
    agent = FakeAgent(agent_profile=AgentProfile(reads_files=False))
    async with running_bot(database_url, chat, agent) as bot:
        first = await bot.hear("<@UBOT> look", attachments=(PLAN,))
        await bot.idle()
        await bot.hear("and this?", thread=first.ts, attachments=(LIST,))
        await bot.idle()
        assert [body.notice or body.markdown for body in chat.bodies()] == [NOT_READ, "Hello.", "Hello."]


# --- out ---

REPORT = "/v1/file/3f2b8c1e-0000-4000-8000-000000000001"


async def test_what_the_agent_made_comes_below_its_words(database_url: str, chat: FakeChat) -> None:
    """Files are shared once the text stands, in the order they were offered."""
    agent = FakeAgent([[FileOffered(REPORT, "application/pdf", "report.pdf"), *says("Here ", "it is."), 0.05]])
    agent.made[REPORT] = ("report.pdf", "application/pdf", PDF)
    async with running_bot(database_url, chat, agent) as bot:
        await bot.hear("<@UBOT> write it")
        await bot.idle()
        assert chat.texts() == ["Here it is."]
        assert [(name, content) for _, name, _, content, _ in chat.uploads] == [("report.pdf", PDF)]
        assert [what for what, _ in chat.log] == ["post", "upload"]


async def test_a_link_that_only_we_can_open_becomes_an_upload(database_url: str, chat: FakeChat) -> None:
    """The text keeps the link's words, and the file comes below, once."""
    agent = FakeAgent([[TextDelta("b", f"See [report.pdf]({REPORT})."), FileOffered(REPORT, "", "report.pdf")]])
    agent.made[REPORT] = ("report.pdf", "application/pdf", PDF)
    async with running_bot(database_url, chat, agent, private_files="https://backend.noxus.ai") as bot:
        await bot.hear("<@UBOT> write it")
        await bot.idle()
        assert chat.texts() == ["See report.pdf."]
        assert [name for _, name, _, _, _ in chat.uploads] == ["report.pdf"]


async def test_a_file_that_cannot_come_is_one_sentence_below(database_url: str, chat: FakeChat) -> None:
    """The answer stays as it is, and the reason stands below it."""
    agent = FakeAgent([[FileOffered(REPORT, "application/pdf", "report.pdf"), *says("Here.")]])
    agent.made[REPORT] = ("report.pdf", "application/pdf", PDF)
    chat.refusals["report.pdf"] = FileRefused(FileTrouble.UPLOADS_OFF)
    async with running_bot(database_url, chat, agent) as bot:
        await bot.hear("<@UBOT> write it")
        await bot.idle()
        reason = "report.pdf (uploads are switched off here)"
        assert [body.notice or body.markdown for body in chat.bodies()] == [
            "Here.",
            f"I could not bring what the agent made into Slack: {reason}.",
        ]


async def test_a_file_without_words_is_announced(database_url: str, chat: FakeChat) -> None:
    """An answer that is only a file is no silence."""
    agent = FakeAgent([[FileOffered(REPORT, "application/pdf", "report.pdf")]])
    agent.made[REPORT] = ("report.pdf", "application/pdf", PDF)
    async with running_bot(database_url, chat, agent) as bot:
        await bot.hear("<@UBOT> write it")
        await bot.idle()
        assert [body.notice for body in chat.bodies()] == ["The agent made this:"]
        assert len(chat.uploads) == 1


async def test_one_that_cannot_come_is_no_other_ones_fault(database_url: str, chat: FakeChat) -> None:
    """What breaks on its way costs that file only: the answer needs no Retry."""
    agent = FakeAgent([[FileOffered(REPORT, "application/pdf", "report.pdf"), *says("A whole answer.")]])
    agent.made[REPORT] = ("report.pdf", "application/pdf", PDF)
    chat.fail = lambda method, _number: OSError(28, "No space left on device") if method == "upload" else None
    async with running_bot(database_url, chat, agent) as bot:
        await bot.hear("<@UBOT> write it")
        await bot.idle()
        assert said(chat) == ["A whole answer.", could_not("report.pdf (it could not be read)")]


async def test_a_link_takes_no_name_away(database_url: str, chat: FakeChat) -> None:
    """What a tool said of the file counts, whatever words the agent puts on its link."""
    link = TextDelta("b", f"Here is [the report]({REPORT}).")
    agent = FakeAgent([[FileOffered(REPORT, "application/pdf", "Q3 report.pdf"), link]])
    async with running_bot(database_url, chat, agent, private_files="https://backend.noxus.ai") as bot:
        await bot.hear("<@UBOT> write it")
        await bot.idle()
        assert said(chat) == ["Here is the report.", could_not("Q3 report.pdf (it was deleted)")]


OFFERED = FileOffered(REPORT, "application/pdf", "report.pdf")
LINKED = TextDelta("b", f"See [report.pdf]({REPORT}).")


@pytest.mark.parametrize("told", [OFFERED, LINKED], ids=["offered", "linked"])
async def test_files_belong_to_whole_answers(database_url: str, chat: FakeChat, told: AgentEvent) -> None:
    """A failed answer names what it leaves behind; Retry makes it anew, and then nothing of that is left."""
    agent = FakeAgent([[told, TextDelta("b", " More"), StreamBroken("cut")], [told, TextDelta("b", " Done.")]])
    agent.made[REPORT] = ("report.pdf", "application/pdf", PDF)
    async with running_bot(database_url, chat, agent, private_files="https://backend.noxus.ai") as bot:
        await bot.hear("<@UBOT> write it")
        await bot.idle()
        assert said(chat)[1:] == [could_not("report.pdf (this answer is not complete)")]
        assert chat.uploads == []
        await bot.press(Button.RETRY)
        await bot.idle()
        assert len(said(chat)) == 1
        assert [name for _, name, _, _, _ in chat.uploads] == ["report.pdf"]


async def test_a_stopped_answer_brings_no_files(database_url: str, chat: FakeChat) -> None:
    """It names them; one that was deleted says nothing at all."""
    agent = FakeAgent([[OFFERED, *says("Well, "), 9.0]])
    async with running_bot(database_url, chat, agent, repost_deleted=False) as bot:
        await bot.hear("<@UBOT> write it")
        await bot.until(lambda: bool(chat.messages))
        await bot.press(Button.STOP)
        await bot.idle()
        incomplete = could_not("report.pdf (this answer is not complete)")
        assert [body.notice for body in chat.bodies()] == ["Stopped by Ada.", incomplete]
        chat.messages.clear()
        words: list[Step] = [TextDelta("b", "word " * 20), 0.1]
        agent.scripts = [[OFFERED, *words * 60]]
        await bot.hear("<@UBOT> write it")
        await bot.until(lambda: bool(chat.messages))
        chat.messages.clear()
        await bot.idle()
        assert (said(chat), chat.uploads) == ([], [])


class Slow(FakeChat):
    """Uploads take their time; the first one comes through."""

    async def upload(self, thread: ThreadKey, file: FileBytes, *, alt: str = "", caption: str = "") -> None:
        if self.uploads:
            await asyncio.sleep(3600)
        await super().upload(thread, file, alt=alt)


def many_files() -> FakeAgent:
    """An agent that makes five files besides its words."""
    urls = [f"{REPORT[:-1]}{number}" for number in range(5)]
    agent = FakeAgent([[*(FileOffered(url, "", f"{url[-1]}.pdf") for url in urls), *says("The whole answer.")]])
    agent.made = {url: (f"{url[-1]}.pdf", "application/pdf", PDF) for url in urls}
    return agent


@pytest.mark.parametrize("way", ["stop", "shutdown"])
async def test_what_cuts_off_the_files_leaves_the_answer(
    database_url: str, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stop ends uploads at once, the end of the process soon: one sentence tells what did not come."""
    monkeypatch.setattr(answering, "LAST_FILES_SECONDS", 0.2)
    chat = Slow(latency=0.001, names={"UADA": "Ada"})
    async with running_bot(database_url, chat, many_files()) as bot:
        await bot.hear("<@UBOT> write it")
        await bot.until(lambda: len(chat.uploads) == 1)
        if way == "stop":
            await bot.press_again(chat.messages[next(iter(chat.messages))], Button.STOP)
        else:
            bot.turns.interrupt()
        await bot.idle()
        assert said(chat) == ["The whole answer.", could_not("1.pdf, 2.pdf and 2 more (stopped before it came)")]
        assert not any(Button.RETRY in body.buttons for body in chat.bodies())


async def test_who_leaves_brings_the_files_that_come_in_time(database_url: str) -> None:
    """An answer that stands there already is no reason to leave its files behind."""
    chat = FakeChat(latency=0.05)
    async with running_bot(database_url, chat, many_files()) as bot:
        await bot.hear("<@UBOT> write it")
        await bot.until(lambda: len(chat.uploads) == 1)
        bot.turns.interrupt()
        await bot.idle()
        assert (said(chat), len(chat.uploads)) == (["The whole answer."], 5)


@pytest.mark.parametrize("told", ["", "Two are missing."])
async def test_a_process_that_died_while_it_brought_files(database_url: str, sql: Raw, told: str) -> None:
    """The next one finds the answer whole: it says once that files may be missing, and leaves it at that."""
    chat = Slow(latency=0.001)

    async def die() -> None:
        async with running_bot(database_url, chat, many_files()) as bot:
            asked = await bot.hear("<@UBOT> write it")
            await bot.until(lambda: len(chat.uploads) == 1)
            if told:
                await chat.post(ThreadKey("T1", "C1", asked.ts), lambda: Body(notice=told), PartRef(1, BELOW))
            raise RuntimeError("killed")

    with pytest.raises(ExceptionGroup):
        await die()
    sql("UPDATE turns SET lease_until = 0")
    agent = FakeAgent()
    async with running_bot(database_url, chat, agent) as bot:
        await bot.idle()
    assert said(chat) == ["The whole answer.", told or INTERRUPTED]
    assert (agent.asked, len(chat.uploads)) == ([], 1)
    assert sql("SELECT state, error FROM turns") == [("done", None)]


async def test_a_turn_that_was_lost_brings_no_files(database_url: str, chat: FakeChat) -> None:
    """Another process owns it by then."""

    class Lost(Store):
        async def mark_shown(self, turn_id: int, owner: str, code: str | None = None) -> bool:
            return await super().mark_shown(turn_id, "other", code)

    agent = FakeAgent([[OFFERED, *says("Once.")]])
    agent.made[REPORT] = ("report.pdf", "application/pdf", PDF)
    async with running_bot(database_url, chat, agent, store_class=Lost) as bot:
        await bot.hear("<@UBOT> write it")
        await bot.until(lambda: bool(chat.messages) and not bot.worker.running)
        assert (said(chat), chat.uploads) == (["Once."], [])


async def test_the_database_being_away_costs_no_file(database_url: str, chat: FakeChat) -> None:
    """What is noted for a process to come is not needed now."""

    class Shaky(Store):
        async def mark_shown(self, turn_id: int, owner: str, code: str | None = None) -> bool:
            raise StoreError("away")

        async def mark_sent(self, conversation_id: int, file_ids: Collection[str]) -> None:
            raise StoreError("away")

    agent = FakeAgent([[OFFERED, *says("Here.")]])
    agent.made[REPORT] = ("report.pdf", "application/pdf", PDF)
    async with running_bot(database_url, chat, agent, store_class=Shaky) as bot:
        await bot.hear("<@UBOT> write it", attachments=(PLAN,))
        await bot.idle()
        assert (said(chat), len(chat.uploads)) == (["Here."], 1)


async def test_stop_while_the_last_words_are_shown(database_url: str) -> None:
    """The answer is whole by then; its files have not begun."""
    chat, agent = FakeChat(latency=0.2), many_files()
    async with running_bot(database_url, chat, agent) as bot:
        await bot.hear("<@UBOT> write it")
        await bot.until(lambda: chat.count("post") == 1)
        bot.turns.stop(1, "UADA")
        await bot.idle()
        assert said(chat) == ["The whole answer.", could_not("0.pdf, 1.pdf and 3 more (stopped before it came)")]
        assert chat.uploads == []
