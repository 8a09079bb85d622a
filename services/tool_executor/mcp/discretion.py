"""Keeps secrets that a server was given out of what it says: one that fails likes to show what it was asked with."""

import base64
import json
import re
from collections.abc import AsyncGenerator, Generator, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import replace
from urllib.parse import quote

from pydantic import JsonValue

from natscope.contracts.errors import ToolUnavailable
from services.tool_executor.mcp.entries import AddressEntry, AnyEntry, Environment, FromEnvironment
from services.tool_executor.mcp.speaking import (
    Answer,
    AnswerUnreadable,
    Hear,
    Json,
    Offer,
    Open,
    ServerSaysNo,
    Session,
    SessionLost,
)

SHORTEST = 8
"""Letters; what is shorter would be found in harmless words."""
_SECRET = re.compile(r"KEY|TOKEN|SECRET|PASS|CREDENTIAL|AUTH|COOKIE", re.IGNORECASE)
_MEDIA = ("data", "blob")
"""Fields of the protocol's blocks that hold bytes."""


class Hidden:
    """The secrets of one server, by the names of their variables."""

    def __init__(self, secrets: Mapping[str, str]) -> None:
        forms = {form: name for name, secret in secrets.items() for form in _forms(secret)}
        longest_first = sorted(forms, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, longest_first))) if forms else None
        self._names = forms

    def text(self, text: str) -> str:
        """Return `text` with a remark in place of each secret: as it is, and in base64, an address or JSON."""
        if self._pattern is None:
            return text
        return self._pattern.sub(lambda found: f"[{self._names[found[0]]} is not shown]", text)

    def json(self, value: JsonValue) -> JsonValue:
        """Return the same of all texts in `value`, those that are names of fields included."""
        match value:
            case str():
                return self.text(value)
            case list():
                return [self.json(each) for each in value]
            case dict():
                return self.fields(value)
            case _:
                return value

    def fields(self, value: Mapping[str, JsonValue]) -> Json:
        """Return the same of an object; media stay what they are."""
        return {self.text(name): part if name in _MEDIA else self.json(part) for name, part in value.items()}


def hidden_of(entry: AnyEntry, environment: Environment) -> Hidden:
    """Return the secrets among the values that `entry` takes from the environment."""
    found = {value.env: environment.get(value.env, "").strip() for value in _secrets(entry)}
    return Hidden({name: secret for name, secret in found.items() if len(secret) >= SHORTEST})


def discreet(open: Open, environment: Environment) -> Open:
    """Return what opens sessions as `open` does, of servers that say no secret of theirs."""

    def opened(entry: AnyEntry) -> AbstractAsyncContextManager[Session]:
        return _opened(open(entry), hidden_of(entry, environment))

    return opened


@asynccontextmanager
async def _opened(opening: AbstractAsyncContextManager[Session], hidden: Hidden) -> AsyncGenerator[Session]:
    try:
        async with opening as session:
            yield _Discreet(session, hidden)
    except ToolUnavailable as error:
        raise ToolUnavailable(hidden.text(error.message), remedy=error.remedy) from None


class _Discreet:
    """Implements `Session` over another one."""

    def __init__(self, session: Session, hidden: Hidden) -> None:
        self.signs = session.signs
        self._session = session
        self._hidden = hidden

    async def offers(self) -> list[Offer]:
        """See `Session.offers`."""
        hidden = self._hidden
        with self._in_its_errors():
            offers = await self._session.offers()
        return [
            replace(offer, description=hidden.text(offer.description), parameters=hidden.fields(offer.parameters))
            for offer in offers
        ]

    async def call(self, tool: str, arguments: Mapping[str, JsonValue], meta: Mapping[str, str], hear: Hear) -> Answer:
        """See `Session.call`."""

        async def heard(text: str) -> None:
            await hear(self._hidden.text(text))

        with self._in_its_errors():
            answer = await self._session.call(tool, arguments, meta, heard)
        content = [self._hidden.fields(block) for block in answer.content]
        return replace(answer, content=content, structured=self._hidden.json(answer.structured))

    @contextmanager
    def _in_its_errors(self) -> Generator[None]:
        try:
            yield
        except (ServerSaysNo, SessionLost, AnswerUnreadable) as error:
            raise type(error)(self._hidden.text(str(error))) from None


def _secrets(entry: AnyEntry) -> Iterator[FromEnvironment]:
    headers = list(entry.headers.values()) if isinstance(entry, AddressEntry) else []
    others = [entry.url] if isinstance(entry, AddressEntry) else [*entry.args, *entry.env.values()]
    presets = [value for tool in entry.tools.values() for value in tool.preset.values()]
    for value in (*headers, *others, *presets):
        if isinstance(value, FromEnvironment):
            looks_so = value in headers or _SECRET.search(value.env) is not None
            if looks_so if value.secret is None else value.secret:
                yield value


def _forms(secret: str) -> set[str]:
    data = secret.encode()
    encoded = (base64.b64encode(data), base64.urlsafe_b64encode(data))
    return {secret, json.dumps(secret)[1:-1], quote(secret, safe=""), *(each.decode().rstrip("=") for each in encoded)}
