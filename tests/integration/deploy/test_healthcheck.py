"""deploy/healthcheck.py: a container is healthy when its own service answers, and says why when it does not."""

import asyncio
import json
import socket
import sys
from pathlib import Path

import nats
from nats.aio.client import Client
from nats.aio.msg import Msg

from natscope.bus.micro import Micro
from natscope.bus.settling import settle
from tests.nats_server import NatsServer

PROBE = Path(__file__).parents[3] / "deploy" / "healthcheck.py"


async def probe(url: str, *, password: str = "of-memory") -> tuple[int, str]:
    """Run the probe as the image does and return its exit code and what it said."""
    environment = {"SERVICE": "memory", "NATS_URL": url, "NATS_USER": "memory", "NATS_PASSWORD": password}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-I", "-S", str(PROBE), env=environment, stderr=asyncio.subprocess.PIPE
    )
    _, said = await process.communicate()
    return process.returncode or 0, said.decode()


async def memory_user(server: NatsServer) -> Client:
    """Connect as the memory service does."""
    return await nats.connect(server.url, user="memory", password="of-memory", inbox_prefix="_INBOX.memory")


class TestHealthcheck:
    async def test_a_service_that_answers_is_healthy(self, guarded: NatsServer) -> None:
        client = await memory_user(guarded)
        await Micro("memory", "i1", "", []).start(client)
        await settle(client)
        assert await probe(guarded.url) == (0, "")
        await client.close()

    async def test_another_replicas_answer_does_not_count(self, guarded: NatsServer) -> None:
        client = await memory_user(guarded)
        host = "elsewhere"

        async def answer(message: Msg) -> None:
            await message.respond(json.dumps({"name": "memory", "metadata": {"host": host}}).encode())

        await client.subscribe("$SRV.PING.memory", cb=answer)
        await settle(client)
        assert (await probe(guarded.url))[0] == 1
        host = socket.gethostname()
        assert (await probe(guarded.url))[0] == 0
        await client.close()

    async def test_a_service_that_does_not_listen_is_unhealthy(self, guarded: NatsServer) -> None:
        code, said = await probe(guarded.url)
        assert (code, "the service does not listen" in said) == (1, True)

    async def test_a_wrong_password_is_said_without_showing_it(self, guarded: NatsServer) -> None:
        code, said = await probe(guarded.url, password="no-such-secret")
        assert code == 1
        assert "Authorization Violation" in said
        assert "no-such-secret" not in said

    async def test_the_first_server_that_answers_is_asked(self, guarded: NatsServer) -> None:
        client = await memory_user(guarded)
        await Micro("memory", "i1", "", []).start(client)
        await settle(client)
        assert await probe(f"nats://127.0.0.1:1,{guarded.url}") == (0, "")
        await client.close()

    async def test_no_server_is_unhealthy(self) -> None:
        code, said = await probe("nats://127.0.0.1:1")
        assert code == 1
        assert said.startswith("memory is unhealthy: 127.0.0.1:")
