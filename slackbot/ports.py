"""The two things we talk to: Slack as ``Chat``, Noxus as ``Agent``. No optional members."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import AbstractAsyncContextManager
from typing import BinaryIO, Protocol

from slackbot.domain import (
    AgentEvent,
    AgentProfile,
    AgentTarget,
    Body,
    Button,
    ContextMessage,
    ConversationState,
    FileBytes,
    FileLink,
    FileOffered,
    MessageRef,
    PartRecord,
    PartRef,
    Person,
    SessionStatus,
    SlackFile,
    ThreadKey,
)


class Chat(Protocol):
    """Slack, as far as a conversation needs it. Every call takes its token from the thread's team.

    All methods raise ``ChatError`` or one of its kinds, and nothing else, when Slack refuses or cannot be reached.
    """

    async def set_status(self, thread: ThreadKey, status: str) -> bool:
        """Show ``status`` under the thread; the empty string clears it. False where Slack has no place for one
        (flat DM) or refuses it: then the caller shows a placeholder. Slack clears it when we post, or after 2 minutes.
        """

    async def post(self, thread: ThreadKey, body: Callable[[], Body], part: PartRef | None = None) -> str:
        """Post a message into the thread and return its ``ts``. Waits for the rate budget; after a 429 it waits
        again and retries. ``body`` is asked each time the call goes out: what should be shown may be newer by then.
        ``part`` goes into the message's metadata."""

    async def edit(self, thread: ThreadKey, ts: str, body: Body) -> None:
        """Replace one of our messages. Takes no budget and never retries a 429 (``ChatRateLimited``): what should be
        shown may be newer by then, so the caller decides."""

    async def strip(self, thread: ThreadKey, ts: str) -> None:
        """Take buttons and small print, such as a step, off one of our messages and leave its words, as Slack has
        them. The edit takes no budget, like ``edit``; with nothing to take off there is none."""

    async def delete(self, thread: ThreadKey, ts: str) -> None:
        """Remove one of our messages; one that is gone already is no error."""

    async def whisper(self, thread: ThreadKey, user_id: str, text: str) -> None:
        """Tell one person something in the thread that nobody else sees."""

    async def mark_waiting(self, thread: ThreadKey, ts: str) -> bool | None:
        """Put the mark of a waiting message (a reaction) on somebody's message; one that is there is no error.
        False where there is none now, as the team does not allow reactions, None where nobody knows."""

    async def unmark_waiting(self, thread: ThreadKey, ts: str) -> bool | None:
        """Take the mark off again; one that is not there is no error. True when it is off for good: taken off, or gone
        with its message. None where another try may help."""

    async def ask_privately(
        self, thread: ThreadKey, user_id: str, text: str, buttons: Sequence[Button], about_ts: str
    ) -> None:
        """Ask one person something in the thread that nobody else sees; ``buttons`` act on the thread, and
        ``about_ts`` is the message that the question is about."""

    async def operators(self, team_id: str) -> frozenset[str] | None:
        """Who may take threads over, as the settings say; never guests. Remembered for a minute. None while Slack does
        not tell."""

    async def permalink(self, message: MessageRef, team_id: str) -> str:
        """The address of a message; empty when Slack does not tell."""

    async def set_session(self, thread: ThreadKey, status: SessionStatus) -> bool | None:
        """Show the state of the agent's session. False where the app does not have Slack's agent feature; None when
        Slack did not take it this time. Never raises."""

    async def look_up_file(self, team_id: str, file_id: str) -> SlackFile:
        """What Slack says of a file now; waits a few seconds for one that is still being scanned.

        Raises ``FileRefused`` for one that cannot be had, besides ``ChatError`` kinds."""

    async def download(self, team_id: str, file: SlackFile, into: BinaryIO, *, most: int) -> int:
        """Write the file's bytes, at most so many, to ``into`` and return how many they are. Raises ``FileRefused``."""

    async def upload(self, thread: ThreadKey, file: FileBytes, *, alt: str = "", caption: str = "") -> None:
        """Share a file in the thread; returns once it stands there, so that what is posted next comes below it.
        ``alt`` describes an image, ``caption`` stands above it. Raises ``FileRefused``, besides ``ChatError`` kinds."""

    async def history(self, thread: ThreadKey, *, before_ts: str, limit: int) -> list[ContextMessage]:
        """What people and the agent said in the thread before ``before_ts``, oldest first, newest ``limit`` kept."""

    async def find_parts(self, thread: ThreadKey, turn_id: int) -> list[PartRecord]:
        """Messages of ours in the thread whose metadata names this turn, by part index."""

    async def find_all_parts(self, thread: ThreadKey, turn_id: int) -> list[PartRecord]:
        """The same with all messages that carry one part."""

    async def people(self, team_id: str, user_ids: Collection[str]) -> dict[str, Person]:
        """Who these users are. Unknown ones come back named by their id; never raises for a single user."""

    async def channel_names(self, team_id: str, channel_ids: Collection[str]) -> dict[str, str]:
        """Names of channels without ``#``; those that cannot be read are left out."""


class Agent(Protocol):
    """Noxus, as far as a conversation needs it. Methods raise ``AgentError`` kinds and nothing else."""

    async def create_conversation(self, target: AgentTarget, name: str) -> str:
        """A new conversation bound to the agent or chat flow; returns its id.

        Raises ``AgentUnknown`` when the agent does not exist."""

    def ask(
        self, conversation_id: str, content: str, files: Sequence[FileBytes | FileLink] = ()
    ) -> AbstractAsyncContextManager[AsyncIterator[AgentEvent]]:
        """Send one user message with its files and read the answer as it grows. The files' contents are read from
        their start, perhaps more than once, and only until the block is entered.

        Sends at most once: only a 429 or a failed connect, when nothing was sent, is tried again. Entering raises
        when the message was not taken (``ConversationGone``, ``ConversationFull``, ``AgentKeyRejected``,
        ``AgentBusy``, ``AgentRefused``, ``AgentUnavailable``), or when nothing shows that it was. An answer that breaks
        off is gone on with as far as Noxus lets us. Iterating ends after it is complete, and raises ``StreamBroken``,
        ``AgentTimedOut``, ``ConversationFull`` or ``AgentRunFailed`` when it will not be, or when that cannot be told.
        Leaving closes the connection. For a turn that another process has by then nothing is sent: ``TurnLost``.
        """

    def recover(
        self, conversation_id: str, digest: str, age: float
    ) -> AbstractAsyncContextManager[AsyncIterator[AgentEvent]]:
        """Read the answer to a message that somebody else sent ``age`` seconds ago, or meant to: ``digest`` tells its
        words, as ``text.question.digest`` makes it. Sends nothing. All of the answer comes, from its start.

        Entering raises ``Interrupted`` when nothing shows that Noxus has the message. Iterating is as with ``ask``,
        with ``Interrupted`` for an answer of which nothing tells whether it is complete.
        """

    async def state(self, conversation_id: str) -> ConversationState:
        """What Noxus says about the conversation itself; an empty state when it cannot be read."""

    async def fetch(self, offer: FileOffered, into: BinaryIO, *, most: int) -> FileBytes:
        """Write what the agent made, at most so many bytes, to ``into``. Raises ``FileRefused`` when that fails, and
        for addresses outside Noxus that are not public."""

    async def settle(self, conversation_id: str) -> None:
        """Wait until the conversation has not changed for 5 seconds, at most 60: a run cannot be cancelled, so this is
        how one that nobody reads any more comes to its end. Returns at once when the conversation is gone, and also
        when it cannot be read; never raises."""

    async def profile(self, target: AgentTarget) -> AgentProfile:
        """How the agent wants to be shown. Remembered for ten minutes; an empty profile when it cannot be read."""
