"""Opens a gateway and a guest, with everything real but the model."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from nats.aio.msg import Msg
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from natscope.bus import Bus, BusSettings, connect
from natscope.contracts import model
from natscope.contracts.blocks import TextBlock
from natscope.contracts.message import Message
from natscope.contracts.tool import ToolSpec
from natscope.telemetry import TelemetrySettings, telemetry_for
from services.model_gateway.app import app
from services.model_gateway.settings import Settings

KEY = "sk-loopback-0123456789abcdef"
KEYS = ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY")
MODELS = Path(__file__).parents[3] / "deploy" / "models.yaml"
TOOL = ToolSpec(
    name="execute_python",
    description="Runs Python.",
    parameters={"type": "object", "properties": {"code": {"type": "string"}}, "required": ["code"]},
)


@dataclass
class House:
    """A running gateway and a guest."""

    guest: Bus
    spans: InMemorySpanExporter
    deltas: list[model.Delta] = field(default_factory=list[model.Delta])
    heard: asyncio.Event = field(default_factory=asyncio.Event)
    """Set by the first delta."""

    async def listen(self) -> str:
        """Begin to note deltas; return the subject they must go to."""
        inbox = self.guest.nc.new_inbox()

        async def note(message: Msg) -> None:
            self.deltas.append(model.Delta.model_validate_json(message.data))
            self.heard.set()

        await self.guest.nc.subscribe(inbox, cb=note)
        await self.guest.nc.flush()
        return inbox

    async def chat(self, text: str = "Hello?", **more: object) -> model.Chatted:
        """Ask the gateway."""
        return await self.guest.ask(model.CHAT, question(text, **more), deadline_s=90)


def question(text: str = "Hello?", **more: object) -> model.Chat:
    """Return something to ask."""
    said = Message(name="user", role="user", content=[TextBlock(text=text)])
    return model.Chat.model_validate({"model": "default", "messages": [said], **more})


@asynccontextmanager
async def opened(
    nats_url: str,
    provider_url: str,
    folder: Path,
    *,
    deadline_s: float = 60.0,
    models: str | None = None,
    environment: Mapping[str, str] | None = None,
    settings: Mapping[str, object] | None = None,
) -> AsyncIterator[House]:
    """Run a gateway whose `default` is the provider at `provider_url`, or what the text of a models file says.

    `environment` holds the keys; if it is not given, those of the known providers are all `KEY`.
    """
    spans = InMemorySpanExporter()
    telemetry = telemetry_for(
        "model-gateway",
        TelemetrySettings.model_construct(endpoint=None, disabled=False),
        processors=[SimpleSpanProcessor(spans)],
    )
    file = MODELS
    if models is not None:
        file = folder / "models.yaml"
        file.write_text(models)
    chosen = Settings.model_validate({"models": file, "deadline": deadline_s, **(settings or {})})
    if environment is None:
        environment = dict.fromkeys(KEYS, KEY) if models is not None else {"OPENAI_API_KEY": KEY}
        environment |= {"OPENAI_BASE_URL": provider_url, "OPENAI_MODEL": "loopback-1"}
    bus = BusSettings.model_construct(url=nats_url)
    async with (
        app(chosen, bus=bus, telemetry=telemetry, environment=environment),
        connect("guest", bus) as guest,
    ):
        yield House(guest, spans)
