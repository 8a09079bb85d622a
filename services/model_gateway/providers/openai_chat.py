"""Speaks chat completions over an account at an endpoint of OpenAI's make."""

import asyncio
from codecs import BOM_UTF8
from collections.abc import AsyncIterator

from services.model_gateway.ports import Fetches, Hear, Piece, Prompt, Reply
from services.model_gateway.providers.openai_account import OpenAIAccount, Stream
from services.model_gateway.providers.openai_media import OpenAIMedia
from services.model_gateway.trying.faults import Failed
from services.model_gateway.wires.chat import body
from services.model_gateway.wires.chat_output import plan
from services.model_gateway.wires.chat_reply import DONE, Draft
from services.model_gateway.wires.dialects import Dialect
from services.model_gateway.wires.json_text import is_json
from services.model_gateway.wires.sse import Splitter

PATH = "/chat/completions"
AFTER_DONE_S = 0.1
"""How long the end of the body may take after `[DONE]`; then the connection is not used again."""
_ONE_PIECE = (b"{", b"[", b"<")
"""How a body begins that is no stream of events, whatever its content type says."""


class OpenAIChat(OpenAIMedia):
    """One account, asked by chat completions. Nothing below this file retries."""

    def __init__(self, account: OpenAIAccount, dialect: Dialect | None = None) -> None:
        self._dialect = dialect or Dialect()
        super().__init__(account, self._dialect.embedding)
        self.name = account.name
        self.address = account.address
        self.fetches: Fetches = dict.fromkeys(self._dialect.fetches, ("https://", "http://"))

    async def chat(self, prompt: Prompt, hear: Hear | None) -> Reply:
        """Ask once; see `ports.Provider`."""
        planned = plan(prompt.ask, self._dialect)
        draft = Draft(self.name, prompt.model, key=self._account.key_name, secret=self._account.secret, planned=planned)
        content = body(
            prompt.ask,
            model=prompt.model,
            provider=self.name,
            dialect=self._dialect,
            stream=hear is not None,
            planned=planned,
        )
        try:
            if hear is None:
                draft.whole((await self._account.post(PATH, content, timeout_s=prompt.timeout_s)).content)
            else:
                async with self._account.stream(PATH, content, timeout_s=prompt.timeout_s) as stream:
                    await _listen(stream, draft, hear)
        except Failed as failed:
            await _tell(draft.unread(failed), hear)
        return draft.end()

    async def close(self) -> None:
        """Close the connections."""
        await self._account.close()


async def _listen(stream: Stream, draft: Draft, hear: Hear) -> None:
    chunks = aiter(stream)
    beginning = await _beginning(chunks)
    if beginning.startswith(_ONE_PIECE):
        await _tell(draft.whole(beginning + b"".join([data async for data in chunks])), hear)
        return
    splitter = Splitter()
    try:
        await _tell(draft.take(splitter.feed(beginning)), hear)
        async with asyncio.timeout(AFTER_DONE_S if draft.done else None) as limit:
            async for data in chunks:
                await _tell(draft.take(splitter.feed(data)), hear)
                if draft.done:
                    limit.reschedule(asyncio.get_running_loop().time() + AFTER_DONE_S)
        await _tell(draft.take(_last(splitter)), hear)
    except (Failed, TimeoutError):
        if not draft.finished:
            raise


async def _beginning(chunks: AsyncIterator[bytes]) -> bytes:
    """Return what comes first, from the first byte on that says something."""
    found = b""
    async for data in chunks:
        found = (found + data).removeprefix(BOM_UTF8).lstrip()
        if found and not BOM_UTF8.startswith(found):
            break
    return found


async def _tell(pieces: list[Piece], hear: Hear | None) -> None:
    if hear is not None:
        for piece in pieces:
            await hear(piece)


def _last(splitter: Splitter) -> list[bytes]:
    """Return the data of an event that lacks its empty line, unless it was cut in the middle."""
    return [data for data in splitter.end() if data == DONE or is_json(data)]
