"""A chat completions provider that costs next to nothing: every answer is made once, at the start.

The model asked for says how: `unary` and `stream` answer at once; `paced` streams a chunk every 20 ms.
"""

import asyncio
import contextlib

import uvloop
from aiohttp import web

from tests.loopback import chat_wire
from tests.loopback.replies import EVENTS, JSON, Reply

CHUNKS = 50
PACE_S = 0.02
PROSE = "The quick brown fox jumps over the lazy dog, and the lazy dog does not mind at all. " * 10
UNARY = chat_wire.unary(Reply(text=PROSE, tokens=(310, 190)))
FRAMES = chat_wire.events(Reply(text=PROSE, pieces=CHUNKS, tokens=(310, 190)))
STREAM = b"".join(FRAMES)
_UNARY_HEADERS = {"content-type": JSON}
_STREAM_HEADERS = {"content-type": EVENTS}


async def answer(request: web.BaseRequest) -> web.StreamResponse:
    """Answer one request."""
    asked = await request.read()
    if b'"paced"' in asked:
        return await _paced(request)
    if b'"stream":true' in asked or b'"stream": true' in asked:
        return web.Response(body=STREAM, headers=_STREAM_HEADERS)
    return web.Response(body=UNARY, headers=_UNARY_HEADERS)


async def _paced(request: web.BaseRequest) -> web.StreamResponse:
    response = web.StreamResponse(headers=_STREAM_HEADERS)
    await response.prepare(request)
    for frame in FRAMES:
        await asyncio.sleep(PACE_S)
        await response.write(frame)
    await response.write_eof()
    return response


async def serve() -> None:
    """Serve until the process is ended; the first line printed is the base URL."""
    runner = web.ServerRunner(web.Server(answer, access_log=None))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, backlog=1024).start()
    print(f"http://127.0.0.1:{runner.addresses[0][1]}/v1", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        uvloop.run(serve())
