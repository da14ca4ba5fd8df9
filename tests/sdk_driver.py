"""Drives the real ``noxus-sdk``: run by an interpreter that has it, it plays one scenario and prints JSON.

Usage: ``python sdk_driver.py SCENARIO '{"url": …, "api_key": …, "agent_id": …, …}'``.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import io
import json
import sys
from typing import Any

# The SDK is not installed where types are checked: it pins an old linter, so it has an environment of its own.
client_module: Any = importlib.import_module("noxus_sdk.client")
conversations: Any = importlib.import_module("noxus_sdk.resources.conversations")
errors: Any = importlib.import_module("noxus_sdk.errors")


def make_client(given: dict[str, str], **options: Any) -> Any:
    """A client that loads nothing at construction."""
    return client_module.Client(given["api_key"], given["url"], load_nodes=False, load_me=False, **options)


def message(content: str, **fields: Any) -> Any:
    """A message with all the keys the SDK sends."""
    return conversations.MessageRequest(content=content, **fields)


def spoken(events: list[Any]) -> dict[str, Any]:
    """What a stream said: its events' names, its text, and the last payload."""
    text = "".join(event.data["delta"] for event in events if event.event == "text-delta")
    return {"events": [event.event for event in events], "text": text}


def stream(given: dict[str, str]) -> dict[str, Any]:
    """Create and stream, in both formats."""
    conversation = make_client(given).conversations.create("a thread", agent_id=given["agent_id"])
    enveloped = list(conversation.stream(message(given["content"])))
    raw = list(conversation.stream(message(given["content"]), format="vercel"))
    return {
        "conversation": conversation.id,
        "agent": conversation.agent_id,
        "model": conversation.settings.model,
        "json": spoken(enveloped),
        "raw": [event.data["type"] if isinstance(event.data, dict) else event.data for event in raw],
    }


def astream(given: dict[str, str]) -> dict[str, Any]:
    """The same over the asynchronous half."""

    async def play() -> dict[str, Any]:
        async with make_client(given) as client:
            conversation = await client.conversations.acreate("a thread", agent_id=given["agent_id"])
            events = [event async for event in conversation.astream(message(given["content"]))]
            parts = [shown.pydantic_message_parts for shown in await conversation.aget_messages()]
            return spoken(events) | {"messages": parts}

    return asyncio.run(play())


def tail(given: dict[str, str]) -> dict[str, Any]:
    """Attach to a run that another client started, in its middle: with no etag, the one from before, or the newest."""

    async def play() -> dict[str, Any]:
        async with make_client(given) as starter, make_client(given) as other:
            started = await starter.conversations.acreate("a thread", agent_id=given["agent_id"])
            before = started.etag
            async with contextlib.aclosing(started.astream(message(given["content"]))) as running:
                first = [await anext(running) for _ in range(10)]
                conversation = await other.conversations.aget(started.id)
                conversation.etag = {"none": None, "before": before, "newest": conversation.etag}[given["etag"]]
                events = [event async for event in conversation.aiter_messages()]
            return {"first": spoken(first), "tail": spoken(events)}

    return asyncio.run(play())


def idle(given: dict[str, str]) -> dict[str, Any]:
    """Attach to a conversation whose run is over."""
    conversation = make_client(given).conversations.create("a thread", agent_id=given["agent_id"])
    conversation.chat(message("/say Hi"))
    return spoken(list(conversation.refresh().iter_messages()))


def chat(given: dict[str, str]) -> dict[str, Any]:
    """The two blocking calls, with an attached file."""
    conversation = make_client(given).conversations.create("a thread", agent_id=given["agent_id"])
    attached = conversations.ConversationFile(name="a.txt", b64_content="aGVsbG8=", type="text/plain")
    reply = conversation.chat(message("/say By chat.", files=[attached]))
    added = conversation.add_message(message("/say By message."))
    return {
        "conversation": conversation.id,
        "parts": reply.parts,
        "added": added.message_parts,
        "messages": [shown.message_parts[0]["content"] for shown in conversation.get_messages()],
    }


def manage(given: dict[str, str]) -> dict[str, Any]:
    """Lists, names, flows, agents and files."""
    client = make_client(given)
    empty = client.conversations.create("never used", agent_id=given["agent_id"])
    settings = conversations.ConversationSettings(
        model=["preset:cost"], temperature=0.7, tools=[], agent_flow_id=given["flow_id"]
    )
    flow = client.conversations.create("a flow", settings=settings)
    flow.chat(message("/say Flow."))
    renamed = client.conversations.update(flow.id, name="renamed")
    listed = [conversation.id for conversation in client.conversations.list(page_size=5)]
    client.conversations.delete(flow.id)
    saved = client.files.save(io.BytesIO(b"bytes of a file"))
    return {
        "empty_listed": empty.id in listed,
        "flow_listed": flow.id in listed,
        "flow_agent": flow.agent_id,
        "renamed": renamed.name,
        "left": [conversation.id for conversation in client.conversations.list()],
        "agents": {agent.id: agent.name for agent in client.agents.list()},
        "agent": client.agents.get(given["agent_id"]).definition.model,
        "tools": sorted(client.agents.get_tool_schemas()),
        "flows": [found.id for found in client.agentflows.list()],
        "presets": client.get_chat_presets(),
        "me": client.admin.get_me().name,
        "file": client.files.get(str(saved.id)).decode(),
        "file_size": saved.size,
    }


def refusals(given: dict[str, str]) -> dict[str, Any]:
    """What the SDK makes of our refusals: the kind of error, its status and request id."""
    client = make_client(given, max_retries=0)
    stranger = make_client(given | {"api_key": "wrong"})
    nobody = "00000000-0000-4000-8000-000000000000"
    calls = {
        "key": stranger.conversations.list,
        "agent": lambda: client.conversations.create("x", agent_id=nobody),
        "conversation": lambda: client.conversations.get(nobody),
        "page": lambda: client.conversations.list(page_size=1000),
        "busy": client.agents.list,
    }
    return {name: refusal(call) for name, call in calls.items()}


def refusal(call: Any) -> list[Any]:
    """The error a call raises."""
    try:
        call()
    except errors.NoxusApiError as error:
        return [type(error).__name__, error.status_code, bool(error.request_id)]
    return []


SCENARIOS = {
    "stream": stream,
    "astream": astream,
    "tail": tail,
    "idle": idle,
    "chat": chat,
    "manage": manage,
    "refusals": refusals,
}

if __name__ == "__main__":
    print(json.dumps(SCENARIOS[sys.argv[1]](json.loads(sys.argv[2]))))
