"""Speaks chat completions over an account at an endpoint of OpenAI's make."""

import asyncio

from services.model_gateway.ports import Hear, Prompt, Reply
from services.model_gateway.providers.openai_account import OpenAIAccount, Stream
from services.model_gateway.providers.openai_media import OpenAIMedia
from services.model_gateway.trying.faults import Failed
from services.model_gateway.wires.chat import Dialect, body
from services.model_gateway.wires.chat_reply import DONE, Draft, is_json
from services.model_gateway.wires.sse import Splitter

PATH = "/chat/completions"
AFTER_DONE_S = 0.1
"""How long the end of the body may take after `[DONE]`; then the connection is not used again."""


class OpenAIChat(OpenAIMedia):
    """One account, asked by chat completions. Nothing below this file retries."""

    def __init__(self, account: OpenAIAccount, dialect: Dialect | None = None) -> None:
        super().__init__(account)
        self.name = account.name
        self.address = account.address
        self._dialect = dialect or Dialect()

    async def chat(self, prompt: Prompt, hear: Hear | None) -> Reply:
        """Ask once; see `ports.Provider`."""
        content = body(
            prompt.ask, model=prompt.model, provider=self.name, dialect=self._dialect, stream=hear is not None
        )
        draft = Draft(self.name, prompt.model, key=self._account.key_name, secret=self._account.secret)
        if hear is None:
            draft.whole((await self._account.post(PATH, content, timeout_s=prompt.timeout_s)).content)
        else:
            async with self._account.stream(PATH, content, timeout_s=prompt.timeout_s) as stream:
                await _listen(stream, draft, hear)
        return draft.end()

    async def close(self) -> None:
        """Close the connections."""
        await self._account.close()


async def _listen(stream: Stream, draft: Draft, hear: Hear) -> None:
    if "json" in stream.kind or "html" in stream.kind:
        for piece in draft.whole(await stream.whole()):
            await hear(piece)
        return
    splitter = Splitter()
    try:
        async with asyncio.timeout(None) as limit:
            async for data in stream:
                for piece in draft.take(splitter.feed(data)):
                    await hear(piece)
                if draft.done:
                    limit.reschedule(asyncio.get_running_loop().time() + AFTER_DONE_S)
        for piece in draft.take(_last(splitter)):
            await hear(piece)
    except (Failed, TimeoutError):
        if not draft.finished:
            raise


def _last(splitter: Splitter) -> list[bytes]:
    """Return the data of an event that lacks its empty line, unless it was cut in the middle."""
    return [data for data in splitter.end() if data == DONE or is_json(data)]
