"""A subscription that was settled is there for everybody."""

import nats
from nats.aio.msg import Msg

from natscope.bus.settling import settle
from tests.nats_server import NatsServer


class TestSettle:
    async def test_what_was_subscribed_before_is_heard_from_then_on(self, nats_server: NatsServer) -> None:
        asker = await nats.connect(nats_server.url)

        async def answer(message: Msg) -> None:
            await message.respond(b"here")

        for attempt in range(100):
            answerer = await nats.connect(nats_server.url)
            for door in range(30):
                await answerer.subscribe(f"a{attempt}.door{door}", cb=answer)
            await settle(answerer)
            assert (await asker.request(f"a{attempt}.door29", b"", timeout=20)).data == b"here"
            await answerer.close()
        await asker.close()
