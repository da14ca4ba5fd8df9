"""What Slack's methods may refuse with, as their pages list it: https://docs.slack.dev/reference/methods."""

from __future__ import annotations

from typing import Final

COMMON: Final = (
    "access_denied", "accesslimited", "account_inactive", "deprecated_endpoint", "ekm_access_denied",
    "enterprise_is_restricted", "fatal_error", "internal_error", "invalid_arg_name", "invalid_arguments",
    "invalid_array_arg", "invalid_auth", "invalid_charset", "invalid_form_data", "invalid_post_type",
    "method_deprecated", "missing_post_type", "missing_scope", "no_permission", "not_allowed_token_type", "not_authed",
    "org_login_required", "ratelimited", "request_timeout", "service_unavailable", "team_access_not_granted",
    "team_added_to_org", "token_expired", "token_revoked", "two_factor_setup_required",
)  # fmt: skip
"""Every method may answer these."""

_OWN: Final[dict[str, tuple[str, ...]]] = {
    "chat.postMessage": (
        "app_access_restricted", "as_user_not_supported", "attachment_payload_limit_exceeded",
        "cannot_reply_to_message", "channel_not_found", "draft_already_deleted", "draft_already_sent",
        "draft_has_conflict", "draft_not_found", "duplicate_channel_not_found", "duplicate_message_not_found",
        "invalid_blocks", "invalid_blocks_format", "invalid_metadata_format", "invalid_metadata_schema", "is_archived",
        "markdown_text_conflict", "message_limit_exceeded", "messages_tab_disabled", "metadata_must_be_sent_from_app",
        "metadata_too_large", "missing_file_data", "msg_blocks_too_long", "msg_too_long", "no_text", "not_in_channel",
        "rate_limited", "restricted_action", "restricted_action_non_threadable_channel",
        "restricted_action_read_only_channel",
        "restricted_action_thread_locked", "restricted_action_thread_only_channel", "send_on_behalf_not_allowed",
        "slack_connect_canvas_sharing_blocked", "slack_connect_file_link_sharing_blocked",
        "slack_connect_lists_sharing_blocked", "team_not_found", "too_many_attachments", "too_many_contact_cards",
    ),
    "chat.update": (
        "as_user_not_supported", "block_mismatch", "blocked_file_type", "cant_broadcast_message",
        "cant_update_message", "channel_not_found", "edit_window_closed", "external_channel_migrating", "file_deleted",
        "file_is_deleted", "file_not_found", "file_share_limit_reached", "invalid_attachments", "invalid_blocks",
        "invalid_blocks_format", "invalid_metadata_format", "invalid_metadata_schema", "is_inactive",
        "markdown_text_conflict", "max_file_sharing_exceeded", "message_limit_exceeded", "message_not_found",
        "metadata_must_be_sent_from_app", "metadata_too_large", "msg_too_long", "no_dual_broadcast_content_update",
        "no_text", "posting_to_channel_denied", "slack_connect_blocked_file_type",
        "slack_connect_canvas_sharing_blocked", "slack_connect_clip_sharing_blocked",
        "slack_connect_file_link_sharing_blocked", "slack_connect_file_upload_sharing_blocked",
        "streaming_state_conflict", "team_not_found", "too_many_attachments", "unable_to_share_files", "update_failed",
    ),
    "chat.delete": ("cant_delete_message", "channel_not_found", "message_not_found"),
    "chat.postEphemeral": (
        "cannot_reply_to_message", "channel_not_found", "invalid_attachments", "invalid_blocks",
        "invalid_blocks_format", "is_archived", "markdown_text_conflict", "message_limit_exceeded",
        "messages_tab_disabled", "msg_too_long", "no_text", "not_in_channel", "restricted_action",
        "too_many_attachments", "user_not_in_channel",
    ),
    "chat.getPermalink": ("channel_not_found", "message_not_found"),
    "assistant.threads.setStatus": (
        "channel_not_found", "invalid_thread_ts", "method_not_supported_for_channel_type", "reserved_username",
    ),
    "agents.sessions.setStatus": (
        "channel_not_found", "feature_disabled", "invalid_status", "not_authorized", "thread_ts_not_allowed",
        "thread_ts_required", "user_not_found",
    ),
    "conversations.replies": (
        "channel_not_found", "invalid_cursor", "invalid_metadata_filter_keys", "invalid_ts_latest",
        "invalid_ts_oldest", "list_record_comment_fetch_failed", "method_not_supported_for_channel_type",
        "not_in_channel", "thread_not_found",
    ),
    "conversations.history": (
        "channel_is_limited_access", "channel_not_found", "invalid_cursor", "invalid_metadata_filter_keys",
        "invalid_ts_latest", "invalid_ts_oldest", "not_in_channel",
    ),
    "conversations.info": ("channel_is_limited_access", "channel_not_found"),
    "conversations.members": (
        "channel_not_found", "fetch_members_failed", "invalid_cursor", "invalid_limit",
        "method_not_supported_for_channel_type",
    ),
    "users.info": ("too_many_users", "user_not_found", "user_not_visible"),
    "bots.info": ("bot_not_found", "bots_not_found", "missing_argument", "team_not_found"),
    "usergroups.users.list": ("invalid_cursor", "no_such_subteam", "plan_upgrade_required"),
    "reactions.add": (
        "already_reacted", "bad_timestamp", "channel_not_found", "external_channel_migrating", "invalid_name",
        "is_archived", "message_not_found", "no_access", "no_item_specified", "not_reactable", "thread_locked",
        "too_many_emoji", "too_many_reactions",
    ),
    "reactions.remove": (
        "bad_timestamp", "channel_not_found", "external_channel_migrating", "file_comment_not_found",
        "file_not_found", "invalid_name", "message_not_found", "no_access", "no_item_specified", "no_reaction",
        "thread_locked",
    ),
    "files.getUploadURLExternal": (
        "alt_txt_too_large", "file_type_not_allowed", "file_upload_size_restricted", "file_uploads_disabled",
        "file_uploads_except_images_disabled", "missing_argument", "snippet_too_large", "storage_limit_reached",
        "unknown_snippet_type", "unknown_subtype",
    ),
    "files.completeUploadExternal": (
        "channel_not_found", "channels_limit_exceeded", "file_not_found", "file_type_not_allowed",
        "file_update_failed", "file_uploads_except_images_disabled", "invalid_blocks", "invalid_channel",
        "not_in_channel", "posting_to_channel_denied", "user_is_external_guest",
    ),
    "files.info": (
        "canvas_disabled_file_team", "canvas_disabled_user_team", "canvas_globally_disabled", "file_deleted",
        "file_not_found", "not_visible", "slack_connect_canvas_sharing_blocked", "template_not_visible",
    ),
    "apps.connections.open": ("forbidden_team", "insecure_request", "missing_args"),
    "auth.test": (),
}  # fmt: skip

ERRORS: Final[dict[str, tuple[str, ...]]] = {method: (*own, *COMMON) for method, own in _OWN.items()}
"""The methods we call, and every refusal they document."""

PASSING: Final = frozenset(
    {
        "external_channel_migrating", "fatal_error", "internal_error", "message_limit_exceeded", "org_login_required",
        "rate_limited", "ratelimited", "request_timeout", "service_unavailable", "streaming_state_conflict",
        "team_added_to_org", "update_failed",
    }
)  # fmt: skip
"""A call refused so may be taken later."""

MESSAGE_IS_STUCK: Final = frozenset({"cant_update_message", "edit_window_closed", "is_inactive"})
"""An edit refused so: the message is there, and will stay as it is."""

NOTHING_CAN_BE_SAID: Final = frozenset(
    {
        "access_denied", "accesslimited", "account_inactive", "app_access_restricted", "cannot_reply_to_message",
        "channel_not_found", "ekm_access_denied", "enterprise_is_restricted", "invalid_auth", "is_archived",
        "messages_tab_disabled", "no_permission", "not_allowed_token_type", "not_authed", "not_in_channel",
        "restricted_action", "restricted_action_non_threadable_channel", "restricted_action_read_only_channel",
        "restricted_action_thread_locked", "restricted_action_thread_only_channel", "team_access_not_granted",
        "team_not_found", "token_expired", "token_revoked", "two_factor_setup_required",
    }
)  # fmt: skip
"""A post refused so will be refused again: the bot may not speak there."""
