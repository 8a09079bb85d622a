"""Asks for every fault at once: one alias and one provider for each, behind one gateway."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, Protocol

from nats.aio.msg import Msg

from natscope.contracts import model
from natscope.contracts.errors import NatscopeError
from tests.integration.model_gateway.house import TOOL, House, opened, question
from tests.loopback import chat_wire, gemini_wire, messages_wire, responses_wire
from tests.loopback.faults import NAMES
from tests.loopback.provider import Provider, Wire
from tests.loopback.replies import Call, Reply

Case = Literal["once", "backed", "alone"]
"""`once`: the fault comes once, then the provider is well · `backed`: it stays, and another provider is well ·
`alone`: it stays, and there is no other."""

TEXT = Reply(text="It is forty-two, I think.", pieces=6)
CALL = Reply(calls=(Call("execute_python", '{"code": "print(6 * 7)"}'),))
QUICK = {"first_pause": 0.01, "breaker_failures": 100}


class Faulty(Wire, Protocol):
    """A wire that can be made to fail."""

    def faulty(self, name: str, *, streamed: bool, reply: Reply | None = None) -> Reply:
        """Return what a provider sends that has the fault `name`."""
        ...


WIRES: dict[str, tuple[str, Faulty]] = {
    "chat": ("kind: openai", chat_wire),
    "responses": ("kind: openai, api: responses", responses_wire),
    "messages": ("kind: anthropic", messages_wire),
    "gemini": ("kind: gemini", gemini_wire),
}


def right(name: str) -> Reply:
    """Return what a healthy provider answers where `name` is tried."""
    return CALL if name == "malformed tool args" else TEXT


@dataclass
class Result:
    """What came of one ask."""

    outcome: str
    """`right`, `wrong: …`, or an error's code and fault."""
    asked: int
    """How many requests reached the faulty provider."""
    error: NatscopeError | None = None
    deltas: list[model.Delta] = field(default_factory=list[model.Delta])


class Matrix:
    """A gateway before a provider for each fault."""

    def __init__(self, house: House, providers: dict[str, Provider], *, streamed: bool) -> None:
        self._house = house
        self._providers = providers
        self._streamed = streamed

    async def ask(self) -> dict[str, Result]:
        """Return what came of asking every alias, all at the same time."""
        results = await asyncio.gather(*(self._ask(name) for name in self._providers))
        return dict(zip(self._providers, results, strict=True))

    async def _ask(self, name: str) -> Result:
        result = Result("", 0)
        subject = await self._listen(result) if self._streamed else None
        ask = question(f"Try <{name}>.", model=_slug(name), deltas_to=subject, tools=[TOOL])
        try:
            result.outcome = _outcome(await self._house.guest.ask(model.CHAT, ask, deadline_s=60), right(name))
        except NatscopeError as error:
            result.outcome, result.error = f"{error.code}: {error.details.get('fault')}", error
        await self._house.guest.nc.flush()
        result.asked = self._providers[name].total
        return result

    async def _listen(self, result: Result) -> str:
        subject = self._house.guest.nc.new_inbox()

        async def note(message: Msg) -> None:
            result.deltas.append(model.Delta.model_validate_json(message.data))

        await self._house.guest.nc.subscribe(subject, cb=note)
        return subject


@asynccontextmanager
async def matrix(
    nats_url: str,
    folder: Path,
    *,
    wire: str,
    streamed: bool,
    case: Case,
    names: tuple[str, ...] = NAMES,
    deadline_s: float = 55.0,
) -> AsyncIterator[Matrix]:
    """Open a gateway with a provider for each of `names`, and a healthy one beside it if `case` has it."""
    _, spoken = WIRES[wire]
    if wire == "messages":
        # Its package takes seconds to import, on a busy machine more than the deadline of an ask.
        await asyncio.to_thread(import_module, "anthropic")
    async with AsyncExitStack() as stack:

        async def faulty(name: str) -> Provider:
            fault = spoken.faulty(name, streamed=streamed, reply=right(name))
            answer = right(name) if case == "once" else fault
            provider = await stack.enter_async_context(Provider(lambda _: answer, wire=spoken))
            if case == "once":
                provider.queue(fault)
            return provider

        providers = {name: await faulty(name) for name in names}
        spare = await stack.enter_async_context(Provider(_right_for, wire=spoken)) if case == "backed" else None
        text = _models(wire, providers, spare)
        environment = {"KEY": "sk-loopback-0123456789abcdef"}
        house = await stack.enter_async_context(
            opened(
                nats_url,
                "",
                folder,
                models=text,
                environment=environment,
                settings=QUICK,
                deadline_s=deadline_s,
            )
        )
        yield Matrix(house, providers, streamed=streamed)


def heard(deltas: list[model.Delta]) -> str:
    """Return what a listener has in the end that follows the rules of `Delta`; a gap or a double is an error."""
    text, attempt, following = "", 1, 0
    for delta in deltas:
        if delta.kind == "reset":
            text, attempt, following = "", delta.attempt, 0
        assert (delta.attempt, delta.sequence) == (attempt, following)
        text, following = text + (delta.text if delta.kind == "text" else ""), following + 1
    return text


def _right_for(request: dict[str, Any]) -> Reply:
    """Answer as a healthy provider; the prompt names the fault."""
    said = json.dumps(request)
    return right(next(name for name in NAMES if f"<{name}>" in said))


def _models(wire: str, faulty: dict[str, Provider], spare: Provider | None) -> str:
    providers: list[str] = [] if spare is None else [_provider("spare", wire, spare)]
    aliases: list[str] = []
    for name, provider in faulty.items():
        slug = _slug(name)
        targets = [f"{{provider: {slug}, model: first-1, context_size: 100000}}"]
        if spare is not None:
            targets.append("{provider: spare, model: spare-1, context_size: 200000}")
        providers.append(_provider(slug, wire, provider))
        policy = "next" if spare is not None else "tell"
        aliases.append(f"  {slug}: {{on_content_filter: {policy}, targets: [{', '.join(targets)}]}}")
    return "\n".join(["providers:", *providers, "aliases:", *aliases])


def _provider(name: str, wire: str, provider: Provider) -> str:
    kind, _ = WIRES[wire]
    url = provider.url if wire in ("chat", "responses") else provider.url.removesuffix("/v1")
    # Only silence itself is waited out; on a busy machine any other answer may take longer than that.
    stall_s = 2.0 if name == _slug("stall") else 10.0
    return f"  {name}: {{{kind}, api_key: {{env: KEY}}, base_url: '{url}', stall_s: {stall_s}, timeout_s: 10.0}}"


def _slug(name: str) -> str:
    return f"at-{name.replace(' ', '-')}"


def _outcome(chatted: model.Chatted, reply: Reply) -> str:
    calls: list[Any] = [(use.name, use.raw_input, use.failure) for use in chatted.message.tool_uses]
    if reply.calls:
        uses = [(use.name, use.input) for use in chatted.message.tool_uses]
        return "right" if uses == [("execute_python", {"code": "print(6 * 7)"})] else f"wrong: {calls}"
    said = chatted.message.text
    return "right" if (said, calls, chatted.finish_reason) == (reply.text, [], "stop") else f"wrong: {said!r} {calls}"
