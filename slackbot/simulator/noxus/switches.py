"""What the simulated Noxus allows, and a switch for everything that is not known about the real one.

Each description ends with its source: the documentation (docs.noxus.ai), the released ``noxus-sdk`` 0.6.0, the frames
pydantic-ai really sends, or "unknown", where a client has to live with every value.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

MAX_PAGE_SIZE = 100
"""Largest ``size`` of a page. Source: docs.noxus.ai/api-reference/v1/conversations/public-list-conversations."""

DEFAULT_PAGE_SIZE = 50
"""``size`` of a page when the client names none. Source: the same page."""

MAX_URL_FILE_BYTES = 25 * 1024 * 1024
"""Largest file Noxus fetches from a ``url``. The simulator fetches nothing, so this one is only written down.
Source: docs.noxus.ai/api-reference/cookbook/agents."""

MAX_BODY_BYTES = 128 * 1024 * 1024
"""Largest request body. The real limit is unknown; this one keeps a mistake from filling the memory."""


class Switches(BaseModel):
    """The behaviours to choose from; assigning a value that is not offered raises ``ValidationError``."""

    model_config = ConfigDict(validate_assignment=True, extra="forbid", use_attribute_docstrings=True)

    # --- how the agent answers -----------------------------------------------------------------------------------

    first_token_delay: float = Field(default=0.4, ge=0)
    """Seconds between a message and the first token of its answer. Source: our choice, a quick model's pace."""

    rate: float = Field(default=32.0, gt=0)
    """Tokens per second of an answer. Source: our choice, an ordinary model's pace."""

    sdk_version: Literal[5, 6] = 5
    """AI SDK version of the frames; only 6 marks a tool that waits for approval with ``tool-approval-request``.
    Source: recorded pydantic-ai frames for both; which one Noxus uses is unknown."""

    files_as: Literal["tool_output", "file_frame", "data_frame", "link", "data_uri"] = "tool_output"
    """How a file made by the agent shows in the stream. Source: unknown, the candidates are inferred from the tools
    ``create_file`` and ``present_file`` of noxus-sdk 0.6.0 and from pydantic-ai's frames."""

    error_as: Literal["frame", "event"] = "frame"
    """Whether an error is a frame of type ``error`` or an SSE event of that name with plain text.
    Source: pydantic-ai sends the frame; the SDK repository's tests show the event."""

    # --- the stream ----------------------------------------------------------------------------------------------

    envelope: bool = True
    """Whether ``format=json`` wraps each frame as ``{"event", "data"}``.
    Source: documented in the agents cookbook, only fixtures were seen, so False stays possible."""

    inner_type: bool = True
    """Whether the ``data`` of the envelope repeats the frame's ``type``. Source: unknown; SDK fixtures leave it out."""

    inner_string: bool = False
    """Whether the ``data`` of the envelope is a JSON text instead of an object. Source: unknown; docstrings of
    noxus-sdk 0.6.0 speak of a JSON string."""

    event_names: bool = False
    """Whether the raw format names each SSE event after its frame's type.
    Source: unknown; noxus-sdk 0.6.0 ``StreamEvent`` allows for it."""

    done_event: bool = True
    """Whether an SSE event ``done`` ends the stream, in both formats. Source: noxus-sdk 0.6.0 stops on it; without it
    a stream ends with its ``finish`` frame and the end of the body."""

    done_marker: bool = True
    """Whether ``data: [DONE]`` closes the raw format. Source: pydantic-ai sends it; whether Noxus forwards it is
    unknown."""

    sse_ids: bool = True
    """Whether SSE events carry an ``id``. Source: unknown; workflow runs in noxus-sdk 0.6.0 carry Redis stream ids."""

    line_end: Literal["\r\n", "\n"] = "\r\n"
    """Line ends of the stream. Source: unknown; sse-starlette, which FastAPI services mostly use, sends CRLF."""

    keep_alive: float = Field(default=15.0, ge=0)
    """Seconds between ``: ping`` comments, 0 for none. Source: unknown; 15 is sse-starlette's default."""

    # --- attaching to a run --------------------------------------------------------------------------------------

    idle_events: Literal["done", "404", "hang", "replay"] = "done"
    """What ``/events`` does while nothing runs: end at once, refuse, wait silently for the next run, or play what the
    last run said after the etag. Source: unknown."""

    etag_is: Literal["sse", "conversation"] = "sse"
    """Whether an etag is a place in the stream (the id of an SSE event) or a version of the conversation, which says
    nothing about the stream. Source: unknown; noxus-sdk 0.6.0 has ``Conversation.etag`` alone, the agents cookbook
    says that it resumes "from a specific point in the stream"."""

    replay: Literal["etag", "start", "live"] = "etag"
    """Where ``/events`` begins: after the etag (at the start without one), always at the start, or after the etag and
    without one with what comes from now on. Source: the first is documented, the rest unknown."""

    on_disconnect: Literal["continue", "stop"] = "continue"
    """Whether a run goes on when the client that posted leaves. Source: unknown; the cookbook's "run started
    elsewhere" suggests that it does."""

    timeout_run: Literal["stop", "continue"] = "stop"
    """Whether a run ends when the stream says ``timeout``. Source: unknown."""

    agent_timeout: float = Field(default=600.0, gt=0)
    """Seconds a run may take before the stream says ``timeout``. Source: ``usage_limits_agent_timeout``, 120 in the
    documented settings, 600 in an SDK fixture; that ``timeout`` is its effect is inferred."""

    # --- the conversation ----------------------------------------------------------------------------------------

    visible: Literal["post", "end"] = "post"
    """When the user's message shows in the conversation: at once, or with the answer. Source: unknown."""

    second_post: Literal["queue", "conflict", "interleave"] = "queue"
    """What a message gets while another one runs: its turn, a 409, or a run beside. Source: unknown."""

    message_cap: int = Field(default=100, gt=0)
    """How many messages, of both sides, a conversation holds. Source: ``usage_limits_max_messages`` in the documented
    settings; what it counts is unknown."""

    message_cap_style: Literal["400", "error_frame"] = "400"
    """What a message over the cap gets: a refusal, or a stream with an error frame. Source: unknown."""

    history: Literal["both", "legacy"] = "both"
    """Whether messages carry ``pydantic_message_parts`` beside ``message_parts``.
    Source: noxus-sdk 0.6.0 ``Message``: newer backends send both, older ones only the second."""

    finish_reasons: bool = True
    """Whether messages say why the model stopped (``finish_reason``). Source: a documented key of ``/chat``; null in
    pydantic-ai's recorded runs of test models, set by the providers it knows."""

    human_as: Literal["deferred", "plain", "approval", "manual", "wording"] = "deferred"
    """How an agent that asks for a human shows it: a call of ``human_in_the_loop`` that gets no output, or one at
    once, or waits for approval; no call but a conversation that a human has (a guardrail's doing, and so without a
    word); or final words alone. ``/human waiting`` besides keeps the stream of a call open. Source: unknown;
    pydantic-ai's recorded frames for the first three, ``guardrail_action_human`` and ``handover_message`` of the
    documented settings for the last two."""

    manual_flag: bool = True
    """Whether asking for a human sets ``manual`` of the conversation. Source: unknown; the field is documented."""

    human_status: Literal["idle", "manual", "awaiting_human"] = "idle"
    """``status`` of a conversation that a human has while nothing runs. Source: unknown; ``idle`` and ``queued`` were
    seen, never during a handover."""

    held_agent: Literal["takes_back", "answers", "silent"] = "takes_back"
    """What the agent does with a message while a human has the conversation: answers and has it back, answers and
    leaves it to the human, or finishes without a word. Source: unknown."""

    renames: bool = False
    """Whether the first answer renames the conversation. Source: unknown; ``agent_title_mode: generate`` is a
    documented setting."""

    # --- refusals ------------------------------------------------------------------------------------------------

    bad_key_status: Literal[401, 403] = 401
    """Status of a missing or wrong key. Source: noxus-sdk 0.6.0 knows both; which one is sent is unknown."""

    unknown_agent_status: Literal[404, 400] = 404
    """Status of creating a conversation with an agent or chat flow that does not exist. Source: unknown."""

    b64_limit: int = Field(default=MAX_URL_FILE_BYTES, gt=0)
    """Bytes of one inline file, more gets 413. Source: unknown; 25 MB is documented for files behind a ``url``."""

    def change(self, **values: object) -> None:
        """Set several switches by name. Raises ``ValidationError`` for an unknown name or value, changing nothing."""
        changed = type(self).model_validate(self.model_dump() | values)
        for name in values:
            setattr(self, name, getattr(changed, name))
