"""Files in a conversation: what the agent gets with a question, what the thread sees of it; on a real store."""

from __future__ import annotations

import pytest

from slackbot.domain import (
    AgentProfile,
    Attachment,
    Button,
    ChannelKind,
    ContextMessage,
    FileOffered,
    FileTrouble,
    SlackFile,
    TextDelta,
)
from slackbot.errors import AgentUnavailable, ConversationGone, FileRefused
from slackbot.files.incoming import NOT_READ
from tests.fakes import FakeAgent, FakeChat
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
