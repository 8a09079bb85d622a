"""The key for guests: `async with natscope.client.open() as house`, then submit, listen, interrupt, serve a tool."""

from natscope.client.attaching import Attachment
from natscope.client.house import House, open
from natscope.client.hubs import Hub, Utterance
from natscope.client.ticket import Heard, Ticket
from natscope.client.traces import Trace

__all__ = ["Attachment", "Heard", "House", "Hub", "Ticket", "Trace", "Utterance", "open"]
