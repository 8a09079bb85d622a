"""Puts the gateway together."""

import logging
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from natscope.bus import BusSettings, Ledger, Room, open_room
from natscope.bus.streams import REPLIES
from natscope.contracts import model
from natscope.telemetry import Telemetry
from services.model_gateway.accounts import Providers
from services.model_gateway.catalog.entries import Environment
from services.model_gateway.catalog.models_file import Catalog
from services.model_gateway.gateway import Gateway
from services.model_gateway.handlers import doors, listen_for_cancels
from services.model_gateway.settings import Settings
from services.model_gateway.trying.attempts import Attempts, Patience

NAME = model.CHAT.room
DESCRIPTION = "Every model provider behind one door."
log = logging.getLogger(__name__)


@asynccontextmanager
async def app(
    settings: Settings | None = None,
    *,
    bus: BusSettings | None = None,
    telemetry: Telemetry | None = None,
    environment: Environment | None = None,
) -> AsyncGenerator[None]:
    """Run the gateway for as long as the body runs. `environment` holds the providers' keys.

    Raises:
        SpecInvalid: the models file is wrong; nothing was opened.
    """
    settings = settings or Settings()
    catalog = Catalog.read(settings.models, os.environ if environment is None else environment)
    providers = Providers(catalog)
    for info in catalog.infos():
        log.info("model", extra={"alias": info.alias, "provider": info.provider, "model": info.model})
    try:
        async with open_room(
            NAME, description="Every model provider behind one door.", settings=bus, telemetry=telemetry
        ) as room:
            gateway = _gateway(room, catalog, providers, settings)
            await listen_for_cancels(room.bus, gateway)
            await room.serve(doors(room.bus, gateway, workers=settings.workers))
            yield
    finally:
        await providers.close()


def _gateway(room: Room, catalog: Catalog, providers: Providers, settings: Settings) -> Gateway:
    return Gateway(
        catalog,
        providers,
        Attempts(
            room.bus.telemetry, Patience(attempts=settings.attempts, deadline_s=settings.deadline.total_seconds())
        ),
        ledger=Ledger(room.bus, room.instance, bucket=REPLIES, answer=model.Chatted),
        blobs=room.bus.blobs,
        say=room.bus.say,
        telemetry=room.bus.telemetry,
        max_media_bytes=settings.max_media_bytes,
    )
