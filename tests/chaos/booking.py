"""A process that serves two tools which act outside: one by `client.serve`, and one that answers without a ledger.

Both write a line to a file for each time that they really act. The second is the control: the same kills must make it
act twice, or they prove nothing about the first.
"""

import argparse
import asyncio
import json
import os
from pathlib import Path

from natscope import client
from natscope.bus import Doors, open_room
from natscope.contracts import tool
from natscope.contracts.blocks import ToolResultBlock, plain
from tests.chaos import story

CARELESS_S = 3.0
"""Long enough to be hit, and over before anybody would ask again without a kill."""


class Book:
    """Where bookings are made: a line of a file each."""

    def __init__(self, place: Path) -> None:
        self._file = os.open(place, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    async def act(self, tool: str, number: int, label: str, *, seconds: float) -> str:
        """Book, then take the time it takes."""
        os.write(self._file, f"{tool}-{number}\n".encode())
        await asyncio.sleep(seconds)
        return story.booked(number, label)


async def serve(place: Path) -> None:
    """Serve both until the process is ended."""
    book = Book(place)

    async def with_ledger(number: int, label: str = "plain") -> str:
        """Book a number under a label."""
        return await book.act(story.BOOK, number, label, seconds=story.pause_s(number))

    async with (
        client.serve(client.tool(with_ledger, name=story.BOOK), host="booking"),
        open_room("careless") as room,
    ):
        spec = tool.ToolSpec(
            name=story.CARELESS,
            description="Book a number.",
            parameters={"type": "object", "properties": {"number": {"type": "integer"}}},
        )
        doors = Doors(room.bus)

        @doors.answers(tool.CALL, key=story.CARELESS)
        async def call(body: tool.Call) -> tool.Called:
            number = int(str(body.call.input["number"]))
            text = await book.act(story.CARELESS, number, "plain", seconds=CARELESS_S)
            return tool.Called(result=ToolResultBlock(id=body.call.id, name=body.call.name, output=plain(text)))

        @doors.answers(tool.LIST, queue="")
        async def listed(body: tool.List) -> tool.Listed:
            return tool.Listed(host="careless", instance=room.instance.id, tools=[spec])

        await room.serve(doors)
        print(json.dumps({"event": "open"}), flush=True)
        await asyncio.Event().wait()


def main() -> None:
    """Serve until the process is ended."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.booking", description=main.__doc__)
    parser.add_argument("place", type=Path, help="the file of what was booked")
    asyncio.run(serve(parser.parse_args().place))


if __name__ == "__main__":
    main()
