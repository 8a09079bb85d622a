"""A web server on the loopback that has files, and counts who looks at them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web

PNG = b"\x89PNG\r\n\x1a\n" + b"picture"


@dataclass(frozen=True)
class File:
    """What lies at a path."""

    data: bytes = PNG
    media_type: str | None = "image/png"
    status: int = 200
    location: str | None = None
    delay_s: float = 0
    headers: tuple[tuple[str, str], ...] = ()
    """Besides; if one is an `etag` or a `last-modified` that the asker knows, the answer is 304."""


@dataclass
class Site:
    """The server."""

    url: str = ""
    files: dict[str, File] = field(default_factory=dict[str, File])
    asked: list[str] = field(default_factory=list[str])
    unchanged: int = 0
    """How often it was enough to say that nothing has changed."""
    sent: int = 0
    """Bytes that were written."""

    async def serve(self, request: web.BaseRequest) -> web.StreamResponse:
        self.asked.append(request.path)
        file = self.files.get(request.path, File(status=404))
        await asyncio.sleep(file.delay_s)
        said, known = (
            dict(file.headers),
            (request.headers.get("if-none-match"), request.headers.get("if-modified-since")),
        )
        if file.status == 200 and any(each and each in (said.get("etag"), said.get("last-modified")) for each in known):
            self.unchanged += 1
            return web.Response(status=304, headers=said)
        response = web.StreamResponse(status=file.status, headers=said)
        if file.media_type is not None:
            response.headers["content-type"] = file.media_type
        if file.location is not None:
            response.headers["location"] = file.location
        await response.prepare(request)
        for start in range(0, len(file.data), 16 << 10):
            await response.write(file.data[start : start + (16 << 10)])
            self.sent += 16 << 10
        await response.write_eof()
        return response


@asynccontextmanager
async def site(**files: File) -> AsyncIterator[Site]:
    """Serve `files` by their names."""
    found = Site(files={f"/{name}": file for name, file in files.items()})
    runner = web.ServerRunner(web.Server(found.serve, access_log=None), shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    found.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield found
    finally:
        await runner.cleanup()
