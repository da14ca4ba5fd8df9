"""Every limit of the simulated Slack, each with the place it comes from."""

from __future__ import annotations

from typing import Final

# --- Calls -------------------------------------------------------------------------------------------------
# "Per API method per workspace per app", counted over one minute; more is HTTP 429 with Retry-After.
# https://docs.slack.dev/apis/web-api/rate-limits
RATE_WINDOW_SECONDS: Final = 60.0

TIER_2: Final = 20
TIER_3: Final = 50
TIER_4: Final = 100
# Methods with a "special" limit whose number Slack does not publish; our guess is generous.
SPECIAL: Final = 600

# The tier of each method is named on its own page: https://docs.slack.dev/reference/methods/<method>
CALLS_PER_MINUTE: Final[dict[str, int]] = {
    "agents.sessions.setStatus": TIER_3,
    "apps.connections.open": TIER_3,
    "assistant.threads.setStatus": SPECIAL,
    "auth.test": SPECIAL,
    "chat.delete": TIER_3,
    "chat.getPermalink": SPECIAL,
    "chat.postEphemeral": TIER_4,
    "chat.update": TIER_3,
    "conversations.history": TIER_3,
    "conversations.info": TIER_3,
    "conversations.list": TIER_2,
    "conversations.members": TIER_4,
    "conversations.open": TIER_3,
    "conversations.replies": TIER_3,
    "files.completeUploadExternal": TIER_4,
    "files.getUploadURLExternal": TIER_4,
    "files.info": TIER_4,
    "reactions.add": TIER_3,
    "reactions.get": TIER_3,
    "reactions.remove": TIER_2,
    "team.info": TIER_3,
    "usergroups.list": TIER_2,
    "usergroups.users.list": TIER_2,
    "users.info": TIER_4,
    "users.list": TIER_2,
    "views.open": TIER_4,
    "views.push": TIER_4,
    "views.update": TIER_4,
}

# chat.postMessage: one message a second and channel, "short bursts" allowed; the size of a burst is our guess.
# A workspace-wide cap exists too, without a published number, so none is set here.
# https://docs.slack.dev/apis/web-api/rate-limits
POSTS_PER_SECOND_AND_CHANNEL: Final = 1.0
POST_BURST: Final = 3

# --- Texts -------------------------------------------------------------------------------------------------
# Longer text of chat.postMessage is cut, with a warning.
# https://api.slack.com/changelog/2018-04-truncating-really-long-messages
POST_TEXT_CHARACTERS: Final = 40_000
# Longer text of chat.update is refused: https://docs.slack.dev/reference/methods/chat.update
UPDATE_TEXT_CHARACTERS: Final = 4_000
# markdown_text: https://docs.slack.dev/reference/methods/chat.postMessage
MARKDOWN_TEXT_CHARACTERS: Final = 12_000
# All markdown blocks of a message together: https://docs.slack.dev/reference/block-kit/blocks/markdown-block
MARKDOWN_BLOCKS_CHARACTERS: Final = 12_000
# An undocumented cap on all texts of all blocks; 13,297 was seen refused.
# https://github.com/slackapi/bolt-js/issues/2509
BLOCKS_TEXT_BYTES: Final = 13_000

# --- Blocks: https://docs.slack.dev/reference/block-kit/blocks and slack_sdk/models/blocks --------------------
BLOCKS_PER_MESSAGE: Final = 50
BLOCK_ID_CHARACTERS: Final = 255
SECTION_TEXT_CHARACTERS: Final = 3_000
SECTION_FIELDS: Final = 10
SECTION_FIELD_CHARACTERS: Final = 2_000
HEADER_CHARACTERS: Final = 150
CONTEXT_ELEMENTS: Final = 10
ACTIONS_ELEMENTS: Final = 25
CONTEXT_ACTIONS_ELEMENTS: Final = 5
ACTION_ID_CHARACTERS: Final = 255
BUTTON_TEXT_CHARACTERS: Final = 75
BUTTON_VALUE_CHARACTERS: Final = 2_000
URL_CHARACTERS: Final = 3_000
ALT_TEXT_CHARACTERS: Final = 2_000

# Message metadata has a size cap without a published number; the value is our guess.
# https://docs.slack.dev/reference/methods/chat.postMessage (metadata_too_large)
METADATA_BYTES: Final = 8_000

# --- The status line: https://docs.slack.dev/reference/methods/assistant.threads.setStatus ---------------------
STATUS_SECONDS: Final = 120.0
LOADING_MESSAGES: Final = 10

# --- Pages of results ------------------------------------------------------------------------------------------
# https://docs.slack.dev/reference/methods/conversations.replies and conversations.history
REPLIES_PER_PAGE: Final = 1_000
HISTORY_PER_PAGE: Final = 100
RESULTS_PER_PAGE: Final = 1_000

# --- Deliveries --------------------------------------------------------------------------------------------------
# Three seconds to answer, then three retries: at once, after a minute, after five minutes.
# https://docs.slack.dev/apis/events-api
ACK_SECONDS: Final = 3.0
RETRY_DELAYS_SECONDS: Final = (0.0, 60.0, 300.0)
# https://docs.slack.dev/apis/events-api/using-socket-mode
SOCKETS_PER_APP: Final = 10
SOCKET_LIFE_SECONDS: Final = 3_600
DISCONNECT_NOTICE_SECONDS: Final = 10.0

# --- Interactivity: https://docs.slack.dev/interactivity/handling-user-interaction -------------------------------
TRIGGER_SECONDS: Final = 3.0
RESPONSE_URL_USES: Final = 5
RESPONSE_URL_SECONDS: Final = 30 * 60.0

# --- Modals: https://docs.slack.dev/reference/views/modal-views and https://docs.slack.dev/surfaces/modals -------
VIEWS_IN_A_STACK: Final = 3
VIEW_BLOCKS: Final = 100
VIEW_TITLE_CHARACTERS: Final = 24
VIEW_METADATA_CHARACTERS: Final = 3_000
INPUT_LABEL_CHARACTERS: Final = 2_000
# https://docs.slack.dev/reference/block-kit/block-elements and https://docs.slack.dev/reference/block-kit/composition-objects
SELECT_OPTIONS: Final = 100
OVERFLOW_OPTIONS: Final = 5
CHOICE_OPTIONS: Final = 10
OPTION_TEXT_CHARACTERS: Final = 75
OPTION_VALUE_CHARACTERS: Final = 150

# --- Files --------------------------------------------------------------------------------------------------------
# Slack takes 1 GB; here everything stays in memory.
UPLOAD_BYTES: Final = 64 << 20
# https://docs.slack.dev/reference/methods/files.getUploadURLExternal (alt_txt_too_large, snippet_too_large)
FILE_ALT_CHARACTERS: Final = 1_000
SNIPPET_BYTES: Final = 1_000_000
