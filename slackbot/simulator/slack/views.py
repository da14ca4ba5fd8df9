"""Modals: the views the app opens for a person, and what the person does in them."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from slackbot.simulator.slack import limits, world
from slackbot.simulator.slack.elements import elements, find_action, incomplete, state
from slackbot.simulator.slack.errors import SlackError
from slackbot.simulator.slack.payloads import interaction
from slackbot.simulator.slack.validation import check_view

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from slackbot.simulator.slack.arguments import Arguments
    from slackbot.simulator.slack.chat import Method
    from slackbot.simulator.slack.model import Json
    from slackbot.simulator.slack.record import Delivery
    from slackbot.simulator.slack.triggers import Triggers
    from slackbot.simulator.slack.workspace import Workspace


@dataclass(slots=True, eq=False)
class _View:
    id: str
    user: str
    content: Json
    hash: str
    values: Json = field(default_factory=dict)


class Views:
    """The stack of modals in front of each person: views.open, views.push, views.update, and their payloads."""

    def __init__(self, workspace: Workspace, triggers: Triggers, send: Callable[[Json], Awaitable[Delivery]]) -> None:
        self._workspace = workspace
        self._triggers = triggers
        self._send = send
        self._stacks: dict[str, list[_View]] = {}
        self._numbers = itertools.count(1)

    def methods(self) -> dict[str, Method]:
        """List the Web API methods."""
        return {"views.open": self._open, "views.push": self._push, "views.update": self._update}

    def shown(self, user_id: str) -> list[Json]:
        """List the modals in front of a person as the app knows them, the uppermost last."""
        return [self._described(view) for view in self._stacks.get(user_id, ())]

    async def submit(self, user_id: str, view_id: str, entered: Json) -> Json:
        """Let somebody submit a form; answers `errors` by block, or `trouble` in words, or nothing when all is well."""
        view = self._find(user_id, view_id)
        view.values = state(view.content["blocks"], entered)
        problems = incomplete(view.content["blocks"], view.values)
        if problems:
            return {"errors": problems}
        delivery = await self._send(self._payload(view, "view_submission") | {"response_urls": []})
        if not delivery.acked:
            return {"trouble": "The app did not answer. Try again?"}
        try:
            return self._obey(view, delivery.response or {})
        except SlackError as refused:
            return {"trouble": f"The app answered with a view that Slack refuses: {refused.code}"}

    async def close(self, user_id: str, view_id: str, *, all_of_them: bool = False) -> None:
        """Let somebody close a modal, or the whole stack; the app hears of it where it asked to."""
        view, stack = self._find(user_id, view_id), self._stacks[user_id]
        closed = stack[::-1] if all_of_them else [view]
        for gone in closed:
            stack.remove(gone)
        self._tell(user_id)
        for gone in closed:
            if gone.content.get("notify_on_close"):
                await self._send(self._payload(gone, "view_closed") | {"is_cleared": all_of_them})

    async def press(self, user_id: str, view_id: str, action_id: str, value: str | None, entered: Json) -> Delivery:
        """Let somebody press a button in a modal; raises ValueError when there is none."""
        view = self._find(user_id, view_id)
        action = find_action(view.content["blocks"], action_id, value)
        if action is None:
            raise ValueError(f"view {view_id} has no element {action_id!r} with value {value!r}")
        view.values = state(view.content["blocks"], entered)
        acted = {"actions": [{**action, "action_ts": self._workspace.next_ts()}]}
        container = {"container": {"type": "view", "view_id": view.id}}
        return await self._send(self._payload(view, "block_actions") | container | acted)

    def _open(self, _workspace: Workspace, args: Arguments) -> Json:
        view = self._made(args, self._triggers.take(args.text("trigger_id")))
        self._stacks[view.user] = [view]
        return self._changed(view)

    def _push(self, _workspace: Workspace, args: Arguments) -> Json:
        view = self._made(args, self._triggers.take(args.text("trigger_id")))
        self._place(view)
        return self._changed(view)

    def _update(self, _workspace: Workspace, args: Arguments) -> Json:
        view_id, external_id = args.text("view_id"), args.text("external_id")
        every = (view for stack in self._stacks.values() for view in stack)
        named = (v for v in every if v.id == view_id or (external_id and v.content.get("external_id") == external_id))
        view = next(named, None)
        if view is None:
            raise SlackError("not_found")
        if args.has("hash") and args.text("hash") != view.hash:
            raise SlackError("hash_conflict")
        self._replace(view, args.mapping("view", "invalid_arguments"))
        return self._changed(view)

    def _obey(self, view: _View, answer: Json) -> Json:
        stack = self._stacks.get(view.user, [])
        if view not in stack:
            return {}  # The app put another modal there while it was asked.
        match answer.get("response_action"):
            case "errors":
                return {"errors": answer.get("errors") or {}}
            case "clear":
                stack.clear()
            case "update":
                self._replace(view, answer.get("view") or {})
            case "push":
                self._place(self._new(answer.get("view") or {}, view.user))
            case _:
                stack.remove(view)
        self._tell(view.user)
        return {}

    def _made(self, args: Arguments, user_id: str) -> _View:
        return self._new(args.mapping("view", "invalid_arguments"), user_id)

    def _new(self, content: Json, user_id: str) -> _View:
        view = _View(f"V{next(self._numbers):08d}", user_id, {}, "")
        self._replace(view, content)
        return view

    def _place(self, view: _View) -> None:
        stack = self._stacks.get(view.user)
        if not stack:
            raise SlackError("not_found")
        if len(stack) >= limits.VIEWS_IN_A_STACK:
            raise SlackError("push_limit_reached")
        stack.append(view)

    def _replace(self, view: _View, content: Json) -> None:
        check_view(content)
        blocks = self._workspace.name_blocks(content["blocks"])
        for block in blocks:
            for element in [*block.get("elements", ()), block.get("accessory"), block.get("element")]:
                if isinstance(element, dict) and element.get("type") not in {"mrkdwn", "plain_text", "image"}:
                    element.setdefault("action_id", f"{block['block_id']}-action")
        known = {(block["block_id"], element["action_id"]) for block, element in elements(blocks)}
        view.values = {
            block: {action: kept for action, kept in held.items() if (block, action) in known}
            for block, held in view.values.items()
        }
        view.content = {**content, "blocks": list(blocks)}
        view.hash = f"{self._workspace.next_ts()}.sim"

    def _changed(self, view: _View) -> Json:
        self._tell(view.user)
        return {"view": self._described(view)}

    def _find(self, user_id: str, view_id: str) -> _View:
        view = next((view for view in self._stacks.get(user_id, ()) if view.id == view_id), None)
        if view is None:
            raise ValueError(f"{user_id} sees no view {view_id}")
        return view

    def _payload(self, view: _View, kind: str) -> Json:
        payload = interaction(self._workspace, view.user, kind, self._triggers.make(view.user))
        return payload | {"view": self._described(view)}

    def _described(self, view: _View) -> Json:
        stack = self._stacks.get(view.user, [view])
        place = stack.index(view) if view in stack else 0
        return {
            "id": view.id,
            "team_id": world.TEAM_ID,
            "app_id": world.APP_ID,
            "app_installed_team_id": world.TEAM_ID,
            "bot_id": world.BOT_ID,
            "type": "modal",
            "callback_id": "",
            "external_id": "",
            "private_metadata": "",
            "clear_on_close": False,
            "notify_on_close": False,
            "submit": None,
            "close": None,
            **view.content,
            "state": {"values": view.values},
            "hash": view.hash,
            "root_view_id": (stack[0] if stack else view).id,
            "previous_view_id": stack[place - 1].id if place else None,
        }

    def _tell(self, user_id: str) -> None:
        self._workspace.show_views(user_id, tuple(self.shown(user_id)))
