"""Speaks the responses API over an account at an endpoint of OpenAI's make."""

import asyncio
import re
from collections.abc import Mapping
from urllib.parse import quote

from pydantic import JsonValue

from services.model_gateway.ports import Fetches, Hear, Prompt, Reply
from services.model_gateway.providers.openai_account import OpenAIAccount, Stream
from services.model_gateway.providers.openai_media import OpenAIMedia
from services.model_gateway.trying.faults import Failed
from services.model_gateway.wires.json_text import is_json
from services.model_gateway.wires.responses import body, wraps
from services.model_gateway.wires.responses_reply import Draft
from services.model_gateway.wires.responses_ways import is_own
from services.model_gateway.wires.sse import Splitter

PATH = "/responses"
_STARTS = ("https://", "http://")
FETCHES: Fetches = {"image": _STARTS, "file": _STARTS}
"""OpenAI fetches pictures and files itself; nothing is known of others."""
REFUSED = (400, 404)
_ABOUT_THE_PAST = re.compile(
    r"encrypted.content|reasoning'? (input )?items?|\b(rs|ws|fs|ci|ig|mcp|mcpl|cmp)_\w|items? .{,90}not (found|pers)",
    re.I,
)
"""What is said where thoughts or the work of own tools are not known any more, or not as they are told."""
FIRST_LOOK_S = 0.5
"""After so long a response that was only promised is asked for; each further time after twice as long."""
LONGEST_LOOK_S = 5.0
AFTER_END_S = 0.1
"""How long the end of the body may take after the last event; then the connection is not used again."""


class OpenAIResponses(OpenAIMedia):
    """One account, asked by responses. Nothing below this file retries."""

    def __init__(
        self,
        account: OpenAIAccount,
        *,
        more: Mapping[str, JsonValue] | None = None,
        first_look_s: float = FIRST_LOOK_S,
    ) -> None:
        """`more` is laid over every request, such as `{"reasoning": {"summary": "auto"}}`."""
        super().__init__(account)
        self.name = account.name
        self.address = account.address
        self.fetches = FETCHES if is_own(account.name) else {}
        self._more = more
        self._first_look_s = first_look_s

    async def chat(self, prompt: Prompt, hear: Hear | None) -> Reply:
        """Ask once; see `ports.Provider`. An answer that the provider only promises is waited for.

        Thoughts that it cannot read (they were sealed for another organisation, or with a key that is gone) and work of
        its own tools that it does not know again are left out, and it is asked again: else no conversation could go on
        after its account has changed.
        """
        try:
            return await self._ask(prompt, hear, thoughts=True)
        except Failed as failed:
            if failed.status not in REFUSED or not _ABOUT_THE_PAST.search(failed.said):
                raise
        return await self._ask(prompt, hear, thoughts=False)

    async def _ask(self, prompt: Prompt, hear: Hear | None, *, thoughts: bool) -> Reply:
        content = body(
            prompt.ask,
            model=prompt.model,
            provider=self.name,
            stream=hear is not None,
            thoughts=thoughts,
            more=self._more,
        )
        draft = Draft(
            self.name,
            prompt.model,
            key=self._account.key_name,
            secret=self._account.secret,
            wrapped=wraps(prompt.ask),
        )
        ends = asyncio.get_running_loop().time() + prompt.timeout_s
        if hear is None:
            draft.whole((await self._account.post(PATH, content, timeout_s=prompt.timeout_s)).content)
        else:
            async with self._account.stream(PATH, content, timeout_s=prompt.timeout_s) as stream:
                await _listen(stream, draft, hear)
        if draft.pending is not None:
            await self._wait(draft, hear, ends)
        return draft.end()

    async def close(self) -> None:
        """Close the connections."""
        await self._account.close()

    async def _wait(self, draft: Draft, hear: Hear | None, ends: float) -> None:
        pause, loop = self._first_look_s, asyncio.get_running_loop()
        while draft.pending is not None:
            left = ends - loop.time()
            if left <= pause:
                raise self._account.failed("request_timeout", f"response {draft.pending!r} is not written yet")
            await asyncio.sleep(pause)
            pause = min(LONGEST_LOOK_S, pause * 2)
            for piece in draft.whole(await self._look(draft.pending, left)):
                if hear is not None:
                    await hear(piece)

    async def _look(self, id: str, timeout_s: float) -> bytes:
        try:
            return (await self._account.get(f"{PATH}/{quote(id, safe='')}", timeout_s=timeout_s)).content
        except Failed as failed:
            if failed.status not in (404, 405):
                raise
        raise self._account.failed("no_answer", "it keeps no responses that could be waited for")


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
                if draft.finished:
                    limit.reschedule(asyncio.get_running_loop().time() + AFTER_END_S)
        for piece in draft.take(data for data in splitter.end() if is_json(data)):
            await hear(piece)
    except (Failed, TimeoutError):
        if not draft.finished:
            raise
