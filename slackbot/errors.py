"""What can go wrong, and the sentence a user sees for it.

Every error that may end a turn carries a ``sentence``: plain words that say what to do. The exception's own text is for
operators and is never shown in Slack.
"""

from __future__ import annotations

from slackbot.domain import FileTrouble, Notice


class SlackbotError(Exception):
    """Base of everything we raise on purpose."""

    sentence = "Something went wrong on my side. Please try again."
    code = "internal"


# --- Slack -------------------------------------------------------------------------------------------------------


class ChatError(SlackbotError):
    """Slack refused a call or could not be reached. ``slack_error`` is Slack's own code, where it gave one."""

    code = "slack"

    def __init__(self, message: str, *, slack_error: str = "") -> None:
        super().__init__(message)
        self.slack_error = slack_error


class ChatRateLimited(ChatError):
    """Slack asked us to wait (HTTP 429). ``retry_after`` in seconds."""

    code = "slack_rate_limited"

    def __init__(self, message: str, *, retry_after: float) -> None:
        super().__init__(message, slack_error="ratelimited")
        self.retry_after = retry_after


class ChatUnavailable(ChatError):
    """Slack could not be reached or answered 5xx. The call may or may not have happened."""

    code = "slack_unavailable"


class BodyRefused(ChatError):
    """Slack will not show this body (too long, blocks it does not like). A simpler body may pass."""

    code = "slack_body_refused"


class MessageGone(ChatError):
    """The message to edit is gone or not ours any more."""

    code = "slack_message_gone"


class ThreadClosed(ChatError):
    """We cannot write there at all: not in the channel, channel archived or gone, DM closed, token revoked."""

    code = "slack_thread_closed"


class FileRefused(SlackbotError):
    """A file cannot be fetched or shared. ``trouble`` is for people, the text and ``detail`` (a scope, say) for
    operators."""

    code = "file_refused"

    def __init__(self, trouble: FileTrouble, message: str = "", *, detail: str = "") -> None:
        super().__init__(message or trouble.value)
        self.trouble = trouble
        self.detail = detail


# --- Noxus -------------------------------------------------------------------------------------------------------


class AgentError(SlackbotError):
    """Noxus refused or failed. ``request_id`` is Noxus's own, for its support; ``status`` the HTTP status, 0 if none.

    ``may_have_arrived`` is False only when it is certain that Noxus did not take the user's message.
    """

    code = "agent"
    sentence = "The agent could not answer this time. Please try again."

    def __init__(self, message: str, *, status: int = 0, request_id: str = "", may_have_arrived: bool = True) -> None:
        super().__init__(message)
        self.status = status
        self.request_id = request_id
        self.may_have_arrived = may_have_arrived


class AgentKeyRejected(AgentError):
    """Noxus does not accept the API key (401, 403)."""

    code = "agent_key_rejected"
    sentence = "The agent refuses my access key. Please tell the person who runs this bot."


class AgentUnknown(AgentError):
    """The configured agent or chat flow does not exist."""

    code = "agent_unknown"
    sentence = "The agent I am set up with does not exist. Please tell the person who runs this bot."


class ConversationGone(AgentError):
    """Noxus does not know this conversation (404): the caller starts a new one."""

    code = "conversation_gone"


class ConversationFull(AgentError):
    """The conversation reached the agent's cap of messages: the caller starts a new one."""

    code = "conversation_full"
    sentence = "This conversation has reached the agent's limit of messages. Please start a new thread."


class AgentBusy(AgentError):
    """Noxus answered 429 until our patience ended."""

    code = "agent_busy"
    sentence = "The agent is very busy right now. Please try again in a minute."


class AgentUnavailable(AgentError):
    """Noxus cannot be reached or answered 5xx."""

    code = "agent_unavailable"
    sentence = "The agent cannot be reached right now. Please try again in a moment."


class AgentDown(AgentUnavailable):
    """Noxus has not answered for a while, so it was not asked. ``retry_after`` in seconds."""

    code = "agent_down"
    sentence = "The agent does not answer at the moment. Please try again in a minute."

    def __init__(self, message: str, *, retry_after: float) -> None:
        super().__init__(message, may_have_arrived=False)
        self.retry_after = retry_after


class AgentRefused(AgentError):
    """Noxus will not take this message (400, 413, 422)."""

    code = "agent_refused"
    sentence = "The agent could not take this message. Please try it shorter or in other words."


class FilesTooBig(AgentRefused):
    """Noxus will not take a message of this size (413), and it is one with files."""

    code = "agent_files_too_big"
    sentence = "The files are too big for the agent. Please send fewer or smaller ones."


class FilesUnsent(AgentUnavailable):
    """The connection to Noxus was lost while files were being sent: a server that finds them too big may do that."""

    code = "agent_files_unsent"
    sentence = (
        "The connection to the agent was lost while I was sending the files, as happens when they are too big for it. "
        "Please try again, with fewer or smaller ones if that does not help."
    )


class AgentRunFailed(AgentError):
    """The agent's run ended with an error."""

    code = "agent_run_failed"
    sentence = "The agent ran into a problem and stopped here. Please try again."


class AgentTimedOut(AgentError):
    """Silence or the whole run took longer than allowed."""

    code = "agent_timed_out"
    sentence = "The agent took too long, so I stopped waiting. Please try again."


class StreamBroken(AgentError):
    """The stream ended without saying that the answer is complete."""

    code = "stream_broken"
    sentence = "The connection to the agent broke, so this answer may not be complete. Please try again."


class Interrupted(AgentError):
    """We were stopped while the agent was answering, and nothing shows how that ended."""

    code = "interrupted"
    sentence = "I was interrupted while the agent was answering, so this may not be complete. Please try again."


# --- words -------------------------------------------------------------------------------------------------------

SENTENCES: dict[Notice, str] = {
    Notice.GREETING: "Hello! Ask me anything: write your question after my name.",
    Notice.QUIET: "All right, in this thread I answer only when you mention me.",
    Notice.LISTENING: "All right, in this thread I answer follow-up questions again without a mention.",
    Notice.RESET: "All right, we start afresh: I no longer look at what was said above.",
    Notice.CHANNEL_NOT_ALLOWED: "Sorry, I may not answer in this channel. Please ask the person who runs this bot.",
    Notice.USER_NOT_ALLOWED: "Sorry, I may not answer you here. Please ask the person who runs this bot.",
    Notice.TOO_MANY_TURNS: "That was a lot of questions in one minute. Please wait a minute, then ask again.",
    Notice.THREAD_FULL: "Too many questions wait in this thread already. Please wait for an answer, then ask again.",
    Notice.USER_FULL: "Too many of your questions wait already. Please wait for an answer, then ask again.",
    Notice.TEAM_FULL: "Too many questions wait for me right now. Please ask again in a few minutes.",
}
