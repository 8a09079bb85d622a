"""Puts the gateway together."""

import asyncio
import logging
import os
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from natscope.bus import BusSettings, Ledger, Room, open_room
from natscope.bus.streams import REPLIES
from natscope.contracts import model
from natscope.telemetry import Telemetry
from services.model_gateway.accounting.books import Books
from services.model_gateway.accounting.office import Office
from services.model_gateway.accounting.pieces import vocabulary
from services.model_gateway.accounting.prices import Prices
from services.model_gateway.accounting.reuse import Reused
from services.model_gateway.accounting.store import KvStore
from services.model_gateway.accounting.tabs import kept_tabs
from services.model_gateway.accounting.tokens import Estimator
from services.model_gateway.accounts import KeptAccounts
from services.model_gateway.catalog.entries import Environment
from services.model_gateway.catalog.models_file import Catalog
from services.model_gateway.catalog.reloading import Models
from services.model_gateway.charging import Charging
from services.model_gateway.gateway import Gateway, Kept
from services.model_gateway.handlers import doors, lessons_to, listen_for_cancels, listen_for_lessons
from services.model_gateway.keeping import Keeper, kept_in
from services.model_gateway.making import Maker
from services.model_gateway.media import Shelf
from services.model_gateway.paying import Till
from services.model_gateway.settings import Settings
from services.model_gateway.talking import Talker
from services.model_gateway.telling import Desk
from services.model_gateway.trying.attempts import Attempts
from services.model_gateway.trying.breaker import Breakers, Rules
from services.model_gateway.trying.course import Patience
from services.model_gateway.trying.outs import KeptOuts
from services.model_gateway.ways import Ways
from services.model_gateway.web import LateWeb

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
    models = Models(settings.models, os.environ if environment is None else environment)
    accounts = KeptAccounts(models.catalog)
    await accounts.prepare()
    prices = Prices()
    await prices.load()
    estimator = Estimator(await asyncio.to_thread(vocabulary))
    for info in models.catalog.infos():
        told = {"alias": info.alias, "provider": info.provider, "model": info.model}
        log.info("model", extra={**told, "ready": info.ready, "remedy": info.remedy})
    means = _Means(models, accounts, prices, estimator)
    try:
        async with (
            open_room(NAME, description=DESCRIPTION, settings=bus, telemetry=telemetry) as room,
            _opened(room, settings, means),
        ):
            yield
    finally:
        await accounts.close()


@dataclass(frozen=True)
class _Means:
    """What is there before there is a bus."""

    models: Models
    accounts: KeptAccounts
    prices: Prices
    estimator: Estimator


@asynccontextmanager
async def _opened(room: Room, settings: Settings, means: _Means) -> AsyncGenerator[None]:
    """Answer asks for as long as the body runs."""
    models, accounts = means.models, means.accounts
    outs = KeptOuts(room.bus)
    breakers = Breakers(outs, _rules(settings))
    office = Office(KvStore(room.bus), room.instance.id, room.instance.lives, tabs=kept_tabs(room.bus))
    books = Books(office, models.catalog.rules)
    web = LateWeb(
        timeout_s=settings.media_timeout.total_seconds(),
        private=settings.private_media,
        kept_bytes=settings.kept_media_bytes,
    )
    shelf = Shelf(room.bus.blobs, settings.max_media_bytes, web)
    charging = Charging(books, means.prices, lessons_to(room.bus))
    house = _House(room, models, accounts, charging, shelf, books.unwritten)
    attempts = Attempts(room.bus.telemetry, _patience(settings), breakers)
    gateway, keeper = house.open(attempts, means.estimator, deadline_s=settings.deadline.total_seconds())

    async def follow(catalog: Catalog) -> None:
        books.use(catalog.rules)
        await accounts.follow(catalog)

    async with (
        outs.watched(breakers.board.heard),
        models.followed(follow, every_s=settings.models_every.total_seconds()),
        _ending(room, breakers, books, web),
    ):
        await listen_for_cancels(room.bus, gateway, keeper)
        await listen_for_lessons(room.bus, charging.hear)
        desk = Desk(models, means.prices, books)
        await room.serve(doors(room.bus, gateway, keeper, desk, workers=settings.workers))
        yield


@asynccontextmanager
async def _ending(room: Room, breakers: Breakers, books: Books, web: LateWeb) -> AsyncGenerator[None]:
    """However the body ends: let calls that are under way end, and write down what is not yet."""
    try:
        yield
    finally:
        await room.finish()
        await breakers.board.close()
        await books.close()
        await web.close()


@dataclass(frozen=True)
class _House:
    """What chats and everything else that is made have in common."""

    room: Room
    models: Models
    accounts: KeptAccounts
    charges: Charging
    shelf: Shelf
    unwritten: Callable[[], str]
    """What is kept beside each answer; see `accounting.tabs`."""

    def open(self, attempts: Attempts, estimator: Estimator, *, deadline_s: float) -> tuple[Gateway, Keeper]:
        """Put both together."""
        bus, ways = self.room.bus, Ways(self.models, self.accounts)
        replies = Ledger(bus, self.room.instance, bucket=REPLIES, answer=model.Chatted, beside=self.unwritten)
        gateway = Gateway(
            self.models,
            ways,
            Talker(self.models, attempts, self.charges, estimator, deadline_s=deadline_s),
            kept=Kept(replies, Reused(bus)),
            shelf=self.shelf,
            store=bus.blobs,
            say=bus.say,
            telemetry=bus.telemetry,
        )
        till = Till(attempts, self.charges, deadline_s=deadline_s)
        maker = Maker(ways, till, shelf=self.shelf, store=bus.blobs, telemetry=bus.telemetry)
        return gateway, Keeper(maker, kept_in(bus, self.room.instance, beside=self.unwritten))


def _patience(settings: Settings) -> Patience:
    return Patience(
        attempts=settings.attempts,
        first_s=settings.first_pause.total_seconds(),
        honoured_s=settings.honoured_pause.total_seconds(),
    )


def _rules(settings: Settings) -> Rules:
    return Rules(failures=settings.breaker_failures, cool_s=settings.breaker_pause.total_seconds())
