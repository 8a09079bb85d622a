"""The loopback provider as a program: the bench and the chaos tests count real calls with it."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

BODY = {"model": "m", "messages": [{"role": "user", "content": "Hi."}]}


@pytest.fixture
async def url() -> AsyncIterator[str]:
    """The base URL of a provider in a process of its own."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.loopback.provider", stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    async with asyncio.timeout(20):
        line = await process.stdout.readline()
    yield line.decode().strip()
    process.terminate()
    await process.communicate()


async def _post(url: str, body: object) -> dict[str, Any]:
    async with aiohttp.ClientSession() as session, session.post(url, json=body) as response:
        return json.loads(await response.read())


async def _count(url: str) -> dict[str, Any]:
    async with aiohttp.ClientSession() as session, session.get(f"{url.removesuffix('/v1')}/_/count") as response:
        return await response.json()


class TestProgram:
    async def test_counts_every_request_in_all_and_by_its_body(self, url: str) -> None:
        for body in (BODY, BODY, {**BODY, "model": "other"}):
            await _post(f"{url}/chat/completions", body)
        count = await _count(url)
        assert count["total"] == 3
        assert sorted(count["by_body"].values()) == [1, 2]

    async def test_answers_what_it_was_told_to_and_forgets_on_demand(self, url: str) -> None:
        steer = url.removesuffix("/v1")
        await _post(f"{steer}/_/queue", [{"text": "First."}, {"calls": [{"name": "look", "arguments": "{}"}]}])
        first, second = [(await _post(f"{url}/chat/completions", BODY))["choices"][0] for _ in range(2)]
        assert first["message"]["content"] == "First."
        assert second["message"]["tool_calls"][0]["function"]["name"] == "look"
        assert (await _post(f"{steer}/_/reset", {}))["total"] == 0

    async def test_calls_the_first_tool_offered_and_answers_once_its_result_is_there(self, url: str) -> None:
        tools = [{"type": "function", "function": {"name": "look", "parameters": {}}}]
        called = await _post(f"{url}/chat/completions", {**BODY, "tools": tools})
        assert called["choices"][0]["finish_reason"] == "tool_calls"
        result = {"role": "tool", "tool_call_id": "call_1", "content": "42"}
        talk = [*BODY["messages"], called["choices"][0]["message"], result]
        final = await _post(f"{url}/chat/completions", {"model": "m", "messages": talk, "tools": tools})
        assert final["choices"][0]["message"]["content"] == "The answer is 42."
