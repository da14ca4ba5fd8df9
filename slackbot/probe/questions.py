"""What is asked, what the simulators answer as they are, and what to change where the real side differs."""

from __future__ import annotations

from typing import Final

from slackbot.probe.report import Question

_UNUSED: Final = "nothing: the bot does not use it"

NOXUS: Final = (
    Question("noxus.stream", "does the agent answer as a stream of events?", "yes", "SLACKBOT_NOXUS_MODE=chat"),
    Question(
        "noxus.envelope",
        "what wraps a frame with format=json?",
        "envelope, type inside",
        switches=("envelope", "inner_type", "inner_string"),
    ),
    Question("noxus.sse_ids", "do events carry ids?", "yes", switches=("sse_ids",)),
    Question("noxus.line_end", "how do lines end?", "CRLF", switches=("line_end",)),
    Question(
        "noxus.keep_alive",
        "how often does a comment keep a silent stream open?",
        "every 15 s",
        "nothing: SLACKBOT_IDLE_SECONDS counts events alone",
        ("keep_alive",),
    ),
    Question(
        "noxus.done_event",
        "which event ends a stream, with what data?",
        "done, {}",
        "nothing: the end of the body counts too",
        ("done_event",),
    ),
    Question("noxus.done_marker", "does [DONE] end the raw format?", "yes", switches=("done_marker",)),
    Question("noxus.event_names", "are raw events named after their frames?", "no", switches=("event_names",)),
    Question(
        "noxus.pace",
        "how fast is an answer?",
        "first text after 0.4 s, then 32 pieces a second",
        "SLACKBOT_IDLE_SECONDS, if the first text takes nearly as long",
        ("first_token_delay", "rate"),
    ),
    Question(
        "noxus.tool_names",
        "does a frame name a tool as the agent's settings do?",
        "as in the settings",
        "slackbot/noxus/profile.py, which finds a tool's display text by its type",
    ),
    Question("noxus.sdk_version", "which AI SDK version do the frames follow?", "5", switches=("sdk_version",)),
    Question("noxus.error_as", "is an error a frame or an event?", "frame", switches=("error_as",)),
    Question("noxus.idle_events", "what does /events do while nothing runs?", "done", switches=("idle_events",)),
    Question("noxus.etag", "what is a conversation's etag?", "place in the stream", switches=("etag_is",)),
    Question(
        "noxus.replay",
        "where does /events begin during a run?",
        "without etag: start; with one: after it",
        switches=("replay",),
    ),
    Question(
        "noxus.visible", "when does the user's message show in the conversation?", "at once", switches=("visible",)
    ),
    Question(
        "noxus.on_disconnect",
        "does a run finish when its reader leaves, and is the answer then in the conversation?",
        "yes, whole",
        "nothing: else a broken stream ends in a sentence and Retry",
        ("on_disconnect",),
    ),
    Question(
        "noxus.second_post",
        "what does a second message get while the first is answered?",
        "queued",
        "nothing: the bot asks one question at a time in a conversation",
        ("second_post",),
    ),
    Question(
        "noxus.history",
        "which spellings of its parts has a message in the conversation?",
        "both",
        switches=("history",),
    ),
    Question(
        "noxus.finish_reasons",
        "does a message say why the model stopped?",
        "yes",
        "nothing: an answer read there after an interruption is then said to be perhaps incomplete",
        ("finish_reasons",),
    ),
    Question(
        "noxus.renames",
        "does the first answer rename the conversation?",
        "no",
        "nothing: the bot goes by ids",
        ("renames",),
    ),
    Question(
        "noxus.message_cap",
        "how many messages may a conversation hold, by the agent's settings?",
        "100",
        "the agent's usage_limits_max_messages in Noxus, if threads grow longer",
        ("message_cap",),
    ),
    Question("noxus.message_cap_style", "what does one message more get?", "400", switches=("message_cap_style",)),
    Question(
        "noxus.agent_timeout",
        "how long may a run take, by the agent's settings?",
        "120 s",
        "SLACKBOT_TURN_SECONDS, so that it is not shorter",
        ("agent_timeout",),
    ),
    Question(
        "noxus.timeout_run",
        "does a run end when the stream says timeout?",
        "stop",
        "nothing: the bot ends the turn and offers Retry",
        ("timeout_run",),
    ),
    Question(
        "noxus.bad_key", "what does a wrong key get?", "401", "nothing: 401 and 403 mean the same", ("bad_key_status",)
    ),
    Question(
        "noxus.unknown_conversation",
        "what does an unknown conversation get?",
        "404",
        "slackbot/noxus/wire.py: only a 404 makes the bot start a new conversation",
    ),
    Question(
        "noxus.unknown_agent",
        "what does a conversation with an unknown agent get?",
        "404",
        "slackbot/noxus/client.py, if it is neither 404 nor 400",
        ("unknown_agent_status",),
    ),
    Question(
        "noxus.flow_only",
        "can a conversation be made with agent_flow_id alone?",
        "yes",
        "NOXUS_AGENT_ID instead of NOXUS_AGENT_FLOW_ID",
    ),
    Question(
        "noxus.files_as", "how does a file made by the agent show in the stream?", "tool_output", switches=("files_as",)
    ),
    Question(
        "noxus.human",
        "what shows when the agent asks for a human?",
        "human_in_the_loop, no output, manual",
        "SLACKBOT_HANDOVER_TOOLS, if the tool has another name; slackbot/signals.py, if no sign of it is known there",
        ("manual_flag", "human_as", "human_status"),
    ),
    Question(
        "noxus.held",
        "what does a message get while a human has the conversation?",
        "an answer, not manual any more",
        "nothing: the bot asks the agent again once the thread is handed back",
        ("held_agent",),
    ),
    Question(
        "noxus.b64_limit",
        "how large may an inline file be?",
        "1 MB 200, 20 MB 200, 26 MB 413, 40 MB 413",
        "SLACKBOT_FILE_MB, so that no larger file is sent",
        ("b64_limit",),
    ),
)

SLACK: Final = (
    Question(
        "slack.scopes",
        "does the token have the scopes of manifest.yml?",
        "all",
        "the app's scopes at https://api.slack.com/apps > OAuth & Permissions, then install the app anew",
    ),
    Question(
        "slack.markdown_block",
        "what does Slack keep of a markdown block?",
        "markdown, as written",
        "slackbot/slack/reading.py, which finds the agent's words in what Slack kept",
    ),
    Question(
        "slack.markdown_mentions",
        "does a markdown block make a mention of <!subteam^…>?",
        "no",
        "nothing: slackbot/text/outbound.py makes every mention harmless",
    ),
    Question(
        "slack.neutralised_mentions",
        "does it of one that the bot made harmless?",
        "no",
        "slackbot/text/outbound.py, at once: the agent could call whole channels",
    ),
    Question(
        "slack.update_block",
        "what does an edit with a markdown block leave?",
        "markdown, not marked as edited",
        "slackbot/slack/posting.py, which edits like this",
    ),
    Question(
        "slack.update_markdown_text",
        "what does an edit with markdown_text leave?",
        "markdown, not marked as edited",
        _UNUSED,
    ),
    Question(
        "slack.update_other_block",
        "may an edit replace a markdown block by a section?",
        "yes",
        "slackbot/slack/blocks.py: the last sentence of a failed answer would have to stay markdown",
    ),
    Question(
        "slack.metadata_limit",
        "how many bytes of metadata may a message have?",
        "6000 to 12000",
        "nothing: the bot's have less than 100; METADATA_BYTES in slackbot/simulator/slack/limits.py",
    ),
    Question(
        "slack.update_burst",
        "how many edits at once are taken?",
        "12 of 12",
        "slackbot/budget.py, the budget of chat.update",
    ),
    Question(
        "slack.status",
        "can the bot show a status under a thread?",
        "yes",
        "nothing: without it, a question is answered without a sign of work before",
    ),
    Question(
        "slack.agent_sessions",
        "can the bot use agents.sessions.setStatus?",
        "yes",
        "nothing: without it, Slack does not show that a human has the thread",
    ),
    Question(
        "slack.native_streaming",
        "native streams: who sees them, their size, Slack Connect, sessions, buttons in them",
        "not used",
        _UNUSED,
    ),
)
