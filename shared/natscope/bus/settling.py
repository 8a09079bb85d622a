"""Being sure that the server has heard what was sent."""

from nats.aio.client import Client


async def settle(nc: Client) -> None:
    """Return when the server has handled everything that `nc` sent before, its new subscriptions for one.

    A single `flush` does not promise that: nats-py writes the PING straight to the socket, past the buffer in which
    subscriptions may still wait. With the first PONG the buffer has been written, and the second PING is behind it.
    Source: nats-py 2.16, nats/aio/client.py, `_send_ping` and `_flusher`.
    """
    await nc.flush()
    await nc.flush()
