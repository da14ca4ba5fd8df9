"""Interactive elements of Block Kit: finding them, and what a press or a form's state says of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from slackbot.simulator.slack.model import Json

# Where the state of an element holds what was entered; `value` for the others.
# https://docs.slack.dev/reference/interaction-payloads/view-interactions-payload
_FIELDS: Final = {
    "channels_select": "selected_channel",
    "checkboxes": "selected_options",
    "conversations_select": "selected_conversation",
    "datepicker": "selected_date",
    "multi_static_select": "selected_options",
    "radio_buttons": "selected_option",
    "static_select": "selected_option",
    "timepicker": "selected_time",
    "users_select": "selected_user",
}
_WITHOUT_STATE: Final = frozenset({"button", "feedback_buttons", "icon_button", "image", "overflow", "workflow_button"})


def elements(blocks: Iterable[Json]) -> Iterator[tuple[Json, Json]]:
    """Yield every interactive element with its block."""
    for block in blocks:
        inner = [*block.get("elements", ()), block.get("accessory"), block.get("element")]
        yield from ((block, element) for element in inner if isinstance(element, dict) and "action_id" in element)


def find_action(blocks: Iterable[Json], action_id: str, value: str | None) -> Json | None:
    """Find what a press says in a payload's `actions`; `value` tells buttons, or the options of one element, apart."""
    for block, element in elements(blocks):
        if element["action_id"] != action_id:
            continue
        named = {"block_id": block.get("block_id", ""), "action_id": action_id, "type": element["type"]}
        for action in _actions(element):
            chosen = action.get("selected_option", action).get("value")
            if value is None or chosen == value:
                return {**named, **action}
    return None


def state(blocks: Iterable[Json], entered: Json) -> Json:
    """Make the `state.values` of a view; `entered` holds what stands in each field, by block and action id."""
    found: Json = {}
    for block, element in elements(blocks):
        kind = element["type"]
        if kind in _WITHOUT_STATE:
            continue
        field, value = _FIELDS.get(kind, "value"), entered.get(block["block_id"], {}).get(element["action_id"])
        if field == "selected_options":
            value = [option for option in options(element) if option.get("value") in (value or ())]
        elif field == "selected_option":
            value = next((option for option in options(element) if option.get("value") == value), None)
        found.setdefault(block["block_id"], {})[element["action_id"]] = {"type": kind, field: value or _nothing(field)}
    return found


def incomplete(blocks: Iterable[Json], values: Json) -> dict[str, str]:
    """List what Slack's client asks for before it submits a form: a sentence for each block."""
    problems = {}
    for block in blocks:
        if block.get("type") != "input":
            continue
        element = block["element"]
        held = values[block["block_id"]][element["action_id"]]
        value = held[_FIELDS.get(element["type"], "value")]
        shortest = element.get("min_length", 0)
        if not value and not block.get("optional"):
            problems[block["block_id"]] = "Please complete this required field."
        elif isinstance(value, str) and value and len(value) < shortest:
            problems[block["block_id"]] = f"Please write at least {shortest} characters."
    return problems


def options(element: Json) -> list[Json]:
    """List the options of an element, of all its groups."""
    groups: list[Json] = element.get("option_groups") or [element]
    return [option for group in groups for option in group.get("options", ())]


def _actions(element: Json) -> Iterator[Json]:
    if element["type"] == "feedback_buttons":
        for name in ("positive_button", "negative_button"):
            yield {"text": element[name]["text"], "value": element[name].get("value")}
    elif options(element):
        yield from ({"selected_option": option} for option in options(element))
    else:
        yield {name: element[name] for name in ("text", "value", "style") if name in element}


def _nothing(field: str) -> Any:  # noqa: ANN401  JSON
    return [] if field == "selected_options" else None
