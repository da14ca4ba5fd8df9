"""Sizes and shapes Slack checks before it takes a message."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from slackbot.simulator.slack import limits
from slackbot.simulator.slack.errors import SlackError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from slackbot.simulator.slack.model import Json

# Block types Slack takes in messages but whose inside is not checked here.
_OTHER_BLOCKS: Final = frozenset(
    {
        "alert",
        "card",
        "carousel",
        "container",
        "data_table",
        "data_visualization",
        "divider",
        "file",
        "plan",
        "rich_text",
        "table",
        "task_card",
        "video",
    }
)
_ELEMENTS: Final = frozenset(
    {
        "button",
        "channels_select",
        "checkboxes",
        "conversations_select",
        "datepicker",
        "datetimepicker",
        "external_select",
        "feedback_buttons",
        "icon_button",
        "multi_static_select",
        "multi_users_select",
        "overflow",
        "radio_buttons",
        "static_select",
        "timepicker",
        "users_select",
        "workflow_button",
    }
)


_INPUTS: Final = frozenset(
    {"email_text_input", "file_input", "number_input", "plain_text_input", "rich_text_input", "url_text_input"}
)
# How many options each element takes.
_OPTIONS: Final = {
    "checkboxes": limits.CHOICE_OPTIONS,
    "multi_static_select": limits.SELECT_OPTIONS,
    "overflow": limits.OVERFLOW_OPTIONS,
    "radio_buttons": limits.CHOICE_OPTIONS,
    "static_select": limits.SELECT_OPTIONS,
}


def check_blocks(blocks: list[Any]) -> None:
    """Refuse blocks Slack would refuse: `invalid_blocks` with one line for each problem, or `msg_blocks_too_long`."""
    problems = list(_block_problems(blocks, limits.BLOCKS_PER_MESSAGE))
    if problems:
        raise SlackError.with_messages("invalid_blocks", problems)
    markdown = sum(len(block["text"]) for block in blocks if block["type"] == "markdown")
    if markdown > limits.MARKDOWN_BLOCKS_CHARACTERS or _text_bytes(blocks) > limits.BLOCKS_TEXT_BYTES:
        raise SlackError("msg_blocks_too_long")


def check_view(view: Json) -> None:
    """Refuse a modal Slack would refuse: `invalid_arguments` with one line for each problem."""
    problems = list(_view_problems(view))
    if problems:
        raise SlackError.with_messages("invalid_arguments", problems)


def check_metadata(metadata: Json) -> None:
    """Refuse metadata that is not `{event_type, event_payload}` with flat values, or that is too large."""
    payload = metadata.get("event_payload")
    if not isinstance(metadata.get("event_type"), str) or not isinstance(payload, dict):
        raise SlackError("invalid_metadata_format")
    if not all(_is_flat(value) for value in payload.values()):
        raise SlackError("invalid_metadata_schema")
    if len(json.dumps(metadata, ensure_ascii=False).encode()) > limits.METADATA_BYTES:
        raise SlackError("metadata_too_large")


def _is_flat(value: object) -> bool:
    scalar = str | int | float | bool | None
    if isinstance(value, dict):
        return all(isinstance(inner, scalar) for inner in value.values())
    if isinstance(value, list):
        return all(isinstance(inner, scalar) for inner in value)
    return isinstance(value, scalar)


def _view_problems(view: Json) -> Iterator[str]:
    if view.get("type") != "modal":
        yield _problem(f"unsupported type: {view.get('type')}", "/view/type")
    for name in ("title", "submit", "close"):
        if name == "title" or view.get(name):
            yield from _text(view.get(name), limits.VIEW_TITLE_CHARACTERS, f"/view/{name}", only="plain_text")
    if len(str(view.get("private_metadata", ""))) > limits.VIEW_METADATA_CHARACTERS:
        yield _problem(f"no more than {limits.VIEW_METADATA_CHARACTERS} characters allowed", "/view/private_metadata")
    blocks = view.get("blocks")
    if not isinstance(blocks, list):
        yield _problem("missing required field: blocks", "/view")
        return
    yield from _block_problems(blocks, limits.VIEW_BLOCKS)
    if not view.get("submit") and any(isinstance(block, dict) and block.get("type") == "input" for block in blocks):
        yield _problem("missing required field: submit", "/view")


def _block_problems(blocks: list[Any], most: int) -> Iterator[str]:
    if len(blocks) > most:
        yield _problem(f"no more than {most} items allowed", "/blocks")
    seen: set[str] = set()
    for index, block in enumerate(blocks):
        at = f"/blocks/{index}"
        if not isinstance(block, dict):
            yield _problem("must be an object", at)
            continue
        check = _BLOCKS.get(str(block.get("type")))
        if check is not None:
            yield from check(block, at)
        elif block.get("type") not in _OTHER_BLOCKS:
            yield _problem(f"unsupported type: {block.get('type')}", f"{at}/type")
        block_id = block.get("block_id")
        if block_id is not None:
            yield from _string(block_id, limits.BLOCK_ID_CHARACTERS, f"{at}/block_id")
            if block_id in seen:
                yield _problem(f"block_id already exists: {block_id}", f"{at}/block_id")
            seen.add(str(block_id))


def _markdown(block: Json, at: str) -> Iterator[str]:
    # The size is checked over all markdown blocks together, with an error of its own.
    if not isinstance(block.get("text"), str) or not block["text"]:
        yield _problem("must be a non-empty string", f"{at}/text")


def _section(block: Json, at: str) -> Iterator[str]:
    if "text" not in block and "fields" not in block:
        yield _problem("missing required field: text or fields", at)
    if "text" in block:
        yield from _text(block["text"], limits.SECTION_TEXT_CHARACTERS, f"{at}/text")
    if "fields" in block:
        yield from _items(block["fields"], limits.SECTION_FIELDS, f"{at}/fields")
        for index, field in enumerate(_list(block["fields"])):
            yield from _text(field, limits.SECTION_FIELD_CHARACTERS, f"{at}/fields/{index}")
    if "accessory" in block:
        yield from _element(block["accessory"], f"{at}/accessory", also=("image",))


def _header(block: Json, at: str) -> Iterator[str]:
    yield from _text(block.get("text"), limits.HEADER_CHARACTERS, f"{at}/text", only="plain_text")


def _context(block: Json, at: str) -> Iterator[str]:
    yield from _items(block.get("elements"), limits.CONTEXT_ELEMENTS, f"{at}/elements")
    for index, element in enumerate(_list(block.get("elements"))):
        here = f"{at}/elements/{index}"
        if isinstance(element, dict) and element.get("type") == "image":
            yield from _image(element, here)
        else:
            yield from _text(element, limits.SECTION_TEXT_CHARACTERS, here)


def _actions(block: Json, at: str) -> Iterator[str]:
    yield from _items(block.get("elements"), limits.ACTIONS_ELEMENTS, f"{at}/elements")
    yield from _elements(block, at)


def _context_actions(block: Json, at: str) -> Iterator[str]:
    yield from _items(block.get("elements"), limits.CONTEXT_ACTIONS_ELEMENTS, f"{at}/elements")
    yield from _elements(block, at)


def _input(block: Json, at: str) -> Iterator[str]:
    yield from _text(block.get("label"), limits.INPUT_LABEL_CHARACTERS, f"{at}/label", only="plain_text")
    yield from _element(block.get("element"), f"{at}/element", also=tuple(_INPUTS))


def _elements(block: Json, at: str) -> Iterator[str]:
    seen: set[str] = set()
    for index, element in enumerate(_list(block.get("elements"))):
        yield from _element(element, f"{at}/elements/{index}")
        action_id = element.get("action_id") if isinstance(element, dict) else None
        if action_id in seen:
            yield _problem(f"action_id already exists: {action_id}", f"{at}/elements/{index}/action_id")
        if action_id is not None:
            seen.add(str(action_id))


def _element(element: object, at: str, also: tuple[str, ...] = ()) -> Iterator[str]:
    if not isinstance(element, dict):
        yield _problem("must be an object", at)
        return
    kind = element.get("type")
    if kind == "image" and kind in also:
        yield from _image(element, at)
        return
    if kind not in _ELEMENTS and kind not in also:
        yield _problem(f"unsupported type: {kind}", f"{at}/type")
        return
    if "action_id" in element:
        yield from _string(element["action_id"], limits.ACTION_ID_CHARACTERS, f"{at}/action_id")
    if kind == "button":
        yield from _button(element, at)
    elif kind == "feedback_buttons":
        for name in ("positive_button", "negative_button"):
            yield from _button(element.get(name), f"{at}/{name}")
    elif kind in _OPTIONS:
        yield from _options(element, _OPTIONS[str(kind)], at)


def _options(element: Json, most: int, at: str) -> Iterator[str]:
    if "option_groups" in element:
        for index, group in enumerate(_list(element["option_groups"])):
            yield from _options(group, most, f"{at}/option_groups/{index}")
        return
    yield from _items(element.get("options"), most, f"{at}/options")
    for index, option in enumerate(_list(element.get("options"))):
        here = f"{at}/options/{index}"
        if not isinstance(option, dict):
            yield _problem("must be an object", here)
            continue
        yield from _text(option.get("text"), limits.OPTION_TEXT_CHARACTERS, f"{here}/text")
        yield from _string(option.get("value"), limits.OPTION_VALUE_CHARACTERS, f"{here}/value")


def _button(button: object, at: str) -> Iterator[str]:
    if not isinstance(button, dict):
        yield _problem("must be an object", at)
        return
    yield from _text(button.get("text"), limits.BUTTON_TEXT_CHARACTERS, f"{at}/text", only="plain_text")
    if "accessibility_label" in button:
        yield from _string(button["accessibility_label"], limits.BUTTON_TEXT_CHARACTERS, f"{at}/accessibility_label")
    if "value" in button:
        yield from _string(button["value"], limits.BUTTON_VALUE_CHARACTERS, f"{at}/value")
    if "url" in button:
        yield from _string(button["url"], limits.URL_CHARACTERS, f"{at}/url")
    if button.get("style") not in {None, "primary", "danger"}:
        yield _problem("must be a valid enum value", f"{at}/style")


def _image(block: Json, at: str) -> Iterator[str]:
    if "slack_file" not in block:
        yield from _string(block.get("image_url"), limits.URL_CHARACTERS, f"{at}/image_url")
    yield from _string(block.get("alt_text"), limits.ALT_TEXT_CHARACTERS, f"{at}/alt_text")


def _text(value: object, longest: int, at: str, only: str | None = None) -> Iterator[str]:
    if not isinstance(value, dict):
        yield _problem("must be an object", at)
        return
    if value.get("type") not in ({only} if only else {"plain_text", "mrkdwn"}):
        yield _problem(f"must be a valid text object, not {value.get('type')}", f"{at}/type")
    yield from _string(value.get("text"), longest, f"{at}/text")


def _string(value: object, longest: int, at: str) -> Iterator[str]:
    if not isinstance(value, str) or not value:
        yield _problem("must be a non-empty string", at)
    elif len(value) > longest:
        yield _problem(f"must be less than {longest + 1} characters", at)


def _items(value: object, most: int, at: str) -> Iterator[str]:
    if not isinstance(value, list) or not value:
        yield _problem("must be a non-empty list", at)
    elif len(value) > most:
        yield _problem(f"no more than {most} items allowed", at)


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _problem(what: str, pointer: str) -> str:
    return f"[ERROR] {what} [json-pointer:{pointer}]"


def _text_bytes(value: object) -> int:
    if isinstance(value, list):
        return sum(_text_bytes(item) for item in value)
    if not isinstance(value, dict):
        return 0
    own = value.get("text")
    size = len(own.encode("utf-8", "replace")) if isinstance(own, str) else 0
    return size + sum(_text_bytes(item) for item in value.values())


_BLOCKS: Final[dict[str, Callable[[Json, str], Iterator[str]]]] = {
    "actions": _actions,
    "context": _context,
    "context_actions": _context_actions,
    "header": _header,
    "image": _image,
    "input": _input,
    "markdown": _markdown,
    "section": _section,
}
