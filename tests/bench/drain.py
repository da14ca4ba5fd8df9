"""The least that reading an answer costs: ``httpx`` and ``httpx-sse``, and nothing done with what they read.

Run as a process of its own: ``python -m tests.bench.drain '{"url": …, "api_key": …, "agent_id": …, "threads": 20,
"rounds": 1, "question": "/words 400 rate=40"}'``; prints one line of JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any

import httpx
from httpx_sse import aconnect_sse


async def drain(given: dict[str, Any]) -> dict[str, float]:
    """Read the same streams as a bot would, and say what that cost this process."""
    headers = {"X-API-Key": given["api_key"]}
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    async with httpx.AsyncClient(base_url=given["url"], headers=headers, limits=limits, timeout=120) as client:
        conversations = [await _conversation(client, given["agent_id"]) for _ in range(given["threads"])]
        await _read(client, conversations[0], "/say Ready.")
        cpu, records = time.process_time(), 0
        for _ in range(given["rounds"]):
            reading = [_read(client, conversation, given["question"]) for conversation in conversations]
            records += sum(await asyncio.gather(*reading))
        return {"cpu_seconds": time.process_time() - cpu, "records": records}


async def _conversation(client: httpx.AsyncClient, agent_id: str) -> str:
    answer = await client.post("/v1/conversations", params={"assistant_id": agent_id}, json={"name": "drain"})
    answer.raise_for_status()
    return str(answer.json()["id"])


async def _read(client: httpx.AsyncClient, conversation: str, question: str) -> int:
    url, params = f"/v1/conversations/{conversation}/stream", {"format": "json"}
    records = 0
    async with aconnect_sse(client, "POST", url, params=params, json={"content": question}) as source:
        source.response.raise_for_status()
        async for _ in source.aiter_sse():
            records += 1
    return records


if __name__ == "__main__":
    print(json.dumps(asyncio.run(drain(json.loads(sys.argv[1])))))
