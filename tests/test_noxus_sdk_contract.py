"""The simulated Noxus satisfies the real ``noxus-sdk`` 0.6, which lives in an environment of its own."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from slackbot.simulator.noxus import NoxusSimulator, prose

ROOT = Path(__file__).parent.parent
DRIVER = Path(__file__).with_name("sdk_driver.py")
SDK_PYTHON = Path(os.environ.get("SLACKBOT_SDK_PYTHON") or ROOT / ".venv-sdk" / "bin" / "python")


@pytest.fixture(scope="module", autouse=True)
def sdk() -> None:
    """Say in words what to do where the SDK's environment is missing."""
    if not SDK_PYTHON.is_file():
        pytest.fail(f"There is no noxus-sdk at {SDK_PYTHON}: `make test` sets it up.", pytrace=False)


@pytest.fixture
async def nox() -> AsyncIterator[NoxusSimulator]:
    """A quick simulated Noxus."""
    simulator = NoxusSimulator(rate=2000, first_token_delay=0)
    await simulator.start()
    yield simulator
    await simulator.stop()


async def drive(nox: NoxusSimulator, scenario: str, **given: str) -> Any:
    """Let the SDK play a scenario of the driver against ``nox``, and return what it saw."""
    known = {"url": nox.url, "api_key": nox.api_key, "agent_id": nox.agent_id, "flow_id": nox.flow_id}
    process = await asyncio.create_subprocess_exec(
        SDK_PYTHON, "-I", DRIVER, scenario, json.dumps(known | given),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    async with asyncio.timeout(60):
        output, complaints = await process.communicate()
    assert process.returncode == 0, complaints.decode()
    return json.loads(output)


async def test_create_and_stream(nox: NoxusSimulator) -> None:
    """A created conversation streams its answer in both formats, and the SDK stops at ``done``."""
    seen = await drive(nox, "stream", content="/say Hello *there*, 世界 😀")
    assert seen["conversation"] in nox.conversations
    assert (seen["agent"], seen["model"]) == (nox.agent_id, ["preset:cost"])
    assert seen["json"]["text"] == "Hello *there*, 世界 😀"
    assert seen["json"]["events"][:3] == ["start", "start-step", "text-start"]
    assert seen["json"]["events"][-3:] == ["text-end", "finish-step", "finish"]
    assert seen["raw"] == [*seen["json"]["events"], "[DONE]"]


async def test_what_the_sdk_sends(nox: NoxusSimulator) -> None:
    """Bodies arrive as the SDK spells them: every key of a message, nulls included."""
    await drive(nox, "stream", content="/say Hi")
    sent = {request.endpoint: request for request in nox.requests}
    assert sent["create"].query == {"assistant_id": nox.agent_id}
    assert sent["create"].body == {"name": "a thread", "settings": None}
    nulls = dict.fromkeys(("tool", "kb_id", "workflow_id", "files", "model_selection"))
    assert sent["stream"].body == {"content": "/say Hi", **nulls}


@pytest.mark.parametrize("content", ["/frames tool_call", "/frames thinking", "/frames multi_step", "/fail", "/human"])
async def test_stream_asynchronously(nox: NoxusSimulator, content: str) -> None:
    """Tools, thoughts, several steps, errors and deferred calls pass the SDK, and so does the history they leave."""
    seen = await drive(nox, "astream", content=content)
    assert (seen["events"][0], seen["events"][-1]) == ("start", "finish")
    request, answer = seen["messages"]
    assert request[0]["parts"][0]["content"] == content
    texts = [part["content"] for m in answer for part in m["parts"] if part["part_kind"] == "text"]
    assert seen["text"] == "".join(texts)


async def test_a_timeout_reaches_the_sdk(nox: NoxusSimulator) -> None:
    """The terminal event ``timeout`` ends the SDK's stream under that name."""
    assert (await drive(nox, "astream", content="/timeout"))["events"][-1] == "timeout"


@pytest.mark.parametrize("etag_is", ["sse", "conversation"])
@pytest.mark.parametrize("etag", ["none", "before"])
async def test_tail_a_run_in_progress(nox: NoxusSimulator, etag_is: str, etag: str) -> None:
    """``aiter_messages`` replays a run that somebody else started, from its first frame, whatever an etag is."""
    nox.switches.change(etag_is=etag_is)
    seen = await drive(nox, "tail", content="/words 60 rate=60", etag=etag)
    assert seen["tail"]["text"] == prose.words(60)
    assert (seen["tail"]["events"][0], seen["tail"]["events"][-1]) == ("start", "finish")


async def test_tail_from_the_newest_etag(nox: NoxusSimulator) -> None:
    """With the etag read in the middle of the run the SDK sees the rest of it, and nothing from before."""
    seen = await drive(nox, "tail", content="/words 60 rate=60", etag="newest")
    assert seen["tail"]["text"]
    assert prose.words(60).endswith(seen["tail"]["text"])
    assert len(seen["first"]["text"]) + len(seen["tail"]["text"]) <= len(prose.words(60))
    assert seen["tail"]["events"][-1] == "finish"


async def test_an_idle_conversation_ends_the_tail_at_once(nox: NoxusSimulator) -> None:
    """With nothing running ``iter_messages`` yields nothing and ends."""
    assert await drive(nox, "idle") == {"events": [], "text": ""}


async def test_chat_and_add_message(nox: NoxusSimulator) -> None:
    """The blocking calls give the answer, and the files of a message arrive with it."""
    seen = await drive(nox, "chat")
    assert [part["content"] for m in seen["parts"] for part in m["parts"]] == ["By chat."]
    assert seen["added"][0]["content"] == "By message."
    assert seen["messages"] == ["/say By chat.", "By chat.", "/say By message.", "By message."]
    assert nox.conversations[seen["conversation"]].messages[0].files[0]["name"] == "a.txt"


async def test_lists_agents_flows_and_files(nox: NoxusSimulator) -> None:
    """Everything else an adapter may ask for has a shape that the SDK's strict models accept."""
    seen = await drive(nox, "manage")
    assert (seen["empty_listed"], seen["flow_listed"], seen["left"]) == (False, True, [])
    assert (seen["renamed"], seen["flow_agent"]) == ("renamed", None)
    assert seen["agents"][nox.agent_id] == "Simulated agent"
    assert seen["agent"] == ["preset:cost"]
    assert "human_in_the_loop" in seen["tools"]
    assert seen["flows"] == [nox.flow_id]
    assert seen["presets"][0]["value"] == "preset:cost"
    assert seen["me"] == "Simulated key"
    assert (seen["file"], seen["file_size"]) == ("bytes of a file", 15)


async def test_refusals_become_the_sdks_errors(nox: NoxusSimulator) -> None:
    """Status and body of every refusal map to the SDK's own error, with a request id."""
    nox.faults.add(path="agents", status=429, retry_after=1)
    assert await drive(nox, "refusals") == {
        "key": ["UnauthorizedError", 401, True],
        "agent": ["NotFoundError", 404, True],
        "conversation": ["NotFoundError", 404, True],
        "page": ["ValidationError", 422, True],
        "busy": ["RateLimitedError", 429, True],
    }
