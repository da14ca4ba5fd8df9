"""The request bodies as Noxus validates them: FastAPI's 422 with a list of what is wrong.

Source: noxus-sdk 0.6.0 ``resources/conversations.py`` and docs.noxus.ai/api-reference/v1/conversations/public-chat.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
from collections.abc import Mapping
from typing import Any, Literal, TypeVar
from urllib.parse import urlsplit
from uuid import UUID, uuid4

from pydantic import BaseModel, Field, ValidationError, field_validator, model_validator

from slackbot.simulator.noxus.switches import DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE

M = TypeVar("M", bound=BaseModel)


class Refused(Exception):
    """The request gets ``status`` and FastAPI's ``{"detail": ...}``."""

    def __init__(self, status: int, detail: object) -> None:
        super().__init__(f"{status} {detail}")
        self.status = status
        self.detail = detail


class CreateConversation(BaseModel):
    """Body of ``POST /v1/conversations``."""

    name: str
    settings: dict[str, Any] | None = None


class CreateQuery(BaseModel):
    """Query of ``POST /v1/conversations``."""

    assistant_id: UUID | None = None


class UpdateConversation(BaseModel):
    """Body of ``PATCH /v1/conversations/{id}``: only what is not null changes."""

    name: str | None = None
    settings: dict[str, Any] | None = None


class ConversationFile(BaseModel):
    """A file inside a message: its bytes in base64, or a public address."""

    status: Literal["success"] = "success"
    name: str
    b64_content: str | None = None
    url: str | None = None
    id: UUID = Field(default_factory=uuid4)
    size: int = 1
    type: str = ""

    @field_validator("b64_content")
    @classmethod
    def _is_base64(cls, value: str | None) -> str | None:
        try:
            base64.b64decode(value or "", validate=True)
        except binascii.Error as error:
            raise ValueError("invalid base64") from error
        return value

    @field_validator("url")
    @classmethod
    def _is_public(cls, value: str | None) -> str | None:
        if value is not None and not _public(urlsplit(value).hostname or ""):
            raise ValueError("the url must be publicly reachable")
        return value

    @model_validator(mode="after")
    def _has_content(self) -> ConversationFile:
        if self.b64_content is None and self.url is None:
            raise ValueError("Either base64 content or url must be provided")
        return self


class AddMessage(BaseModel):
    """Body of every call that sends a user's message."""

    content: str | None = None
    tool: str | None = None
    kb_id: str | None = None
    workflow_id: str | None = None
    files: list[ConversationFile] | None = None
    model_selection: list[str] | None = None


class StreamQuery(BaseModel):
    """Query of the two streaming calls."""

    format: Literal["json", "vercel"] = "vercel"
    etag: str | None = None


class PageQuery(BaseModel):
    """Query of every list."""

    page: int = Field(default=1, ge=1)
    size: int = Field(default=DEFAULT_PAGE_SIZE, ge=1, le=MAX_PAGE_SIZE)
    order_by: Literal["last_updated_at", "created_at", "name"] = "last_updated_at"
    sort: Literal["asc", "desc"] = "desc"
    assistant_id: UUID | None = None
    type: str | None = None


def body(model: type[M], raw: bytes) -> M:
    """The JSON ``raw`` as a ``model``. Raises ``Refused`` with 422."""
    try:
        return model.model_validate_json(raw or b"null")
    except ValidationError as error:
        raise _unprocessable("body", error) from error


def query(model: type[M], values: Mapping[str, str]) -> M:
    """The query parameters as a ``model``. Raises ``Refused`` with 422."""
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        raise _unprocessable("query", error) from error


def _unprocessable(where: str, error: ValidationError) -> Refused:
    problems = error.errors(include_url=False, include_context=False, include_input=False)
    return Refused(422, [{**problem, "loc": [where, *problem["loc"]]} for problem in problems])


def _public(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_global
    except ValueError:
        return "." in host and not host.endswith((".local", ".localhost", ".internal"))
