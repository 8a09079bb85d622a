"""Making vectors, sound, text and pictures: by the right model, reserved and settled, and once for each request id."""

import asyncio
from collections.abc import Sequence

import pytest
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from natscope.contracts import errors
from natscope.contracts.blocks import AudioBlock, URLSource
from natscope.contracts.model import Draw, Embed, Purpose, Speak, Transcribe, Usage
from natscope.telemetry import TelemetrySettings, telemetry_for
from services.model_gateway.catalog.models_file import Target
from services.model_gateway.keeping import Keeper
from services.model_gateway.making import BATCH_BYTES, Maker
from services.model_gateway.media import Shelf
from services.model_gateway.paying import Till
from services.model_gateway.trying.attempts import Attempts
from services.model_gateway.trying.course import Patience
from services.model_gateway.trying.routes import Route
from tests.unit.model_gateway.fakes import FakeAccount, FakeProvider, fault
from tests.unit.model_gateway.making_fakes import PNG, FakeCharges, FakeMaker, FakeStore, fake_ledgers, packed

SOUND = AudioBlock(source=packed(b"ID3 sound", "audio/mpeg"))


class House:
    """A keeper with stand-ins all around it; every alias leads to all makers, in their order."""

    def __init__(
        self,
        *makers: FakeProvider,
        charges: FakeCharges | None = None,
        window: int | None = None,
        deadline_s: float = 5,
    ) -> None:
        self.routes = [
            Route(Target("fake", f"m-{place}", context_size=window), FakeAccount(f"fake-{place}", maker))
            for place, maker in enumerate(makers)
        ]
        self.charges = charges or FakeCharges()
        self.store = FakeStore()
        self._spans = InMemorySpanExporter()
        self.purposes: list[Purpose] = []
        telemetry = telemetry_for(
            "test",
            TelemetrySettings.model_construct(endpoint=None, disabled=False),
            processors=[SimpleSpanProcessor(self._spans)],
        )
        attempts = Attempts(telemetry, Patience(first_s=0.01))
        self.ledgers = fake_ledgers()
        self.keeper = Keeper(
            Maker(
                self._ways,
                Till(attempts, self.charges, deadline_s=deadline_s),
                shelf=Shelf(self.store, 1000),
                store=self.store,
                telemetry=telemetry,
            ),
            self.ledgers,
        )

    def _ways(self, alias: str, purpose: Purpose) -> Sequence[Route]:
        self.purposes.append(purpose)
        return self.routes

    def attributes(self, span: str) -> dict[str, object]:
        found = next(each for each in self._spans.get_finished_spans() if each.name == span)
        return {"kind": found.kind.name, **(found.attributes or {})}


class TestVectors:
    async def test_are_one_for_each_text_in_their_order(self) -> None:
        house = House(FakeMaker())
        found = await house.keeper.embed(Embed(model="e", texts=["a", "bb"]))
        assert found.vectors == [[1.0], [2.0]]
        assert (found.provider, found.model, found.usage) == ("fake", "m-0-full", Usage(input_tokens=5))
        assert house.purposes == ["embedding"]

    async def test_of_more_texts_than_a_request_takes_come_from_several_and_add_up(self) -> None:
        maker = FakeMaker(texts_at_once=2)
        house = House(maker)
        found = await house.keeper.embed(Embed(model="e", texts=["a", "bb", "ccc", "dddd", "eeeee"]))
        assert found.vectors == [[1.0], [2.0], [3.0], [4.0], [5.0]]
        assert len(maker.asked) == 3
        assert (found.usage, found.cost_usd) == (Usage(input_tokens=15), 1.5)

    async def test_of_long_texts_too(self) -> None:
        maker = FakeMaker(texts_at_once=100)
        await House(maker).keeper.embed(Embed(model="e", texts=["a" * (BATCH_BYTES // 2)] * 3))
        assert [len(ask.texts) for ask in maker.asked if isinstance(ask, Embed)] == [2, 1]

    async def test_of_one_ask_never_come_from_two_models(self) -> None:
        first, second = FakeMaker(fault("forbidden"), texts_at_once=1), FakeMaker(texts_at_once=1)
        found = await House(first, second).keeper.embed(Embed(model="e", texts=["a", "bb", "ccc"]))
        assert (len(first.asked), len(second.asked)) == (1, 3)
        assert found.model == "m-1-full"

    @pytest.mark.parametrize("window", [None, 10])
    async def test_an_empty_text_is_named_before_anything_is_asked(self, window: int | None) -> None:
        maker = FakeMaker()
        with pytest.raises(errors.BodyInvalid, match="text 1 is empty"):
            await House(maker, window=window).keeper.embed(Embed(model="e", texts=["a", ""]))
        assert maker.asked == []

    async def test_a_text_over_the_window_is_named_before_anything_is_asked(self) -> None:
        maker = FakeMaker()
        with pytest.raises(errors.ContextTooLong, match="text 1 is about 50 tokens"):
            await House(maker, window=10).keeper.embed(Embed(model="e", texts=["a", "a" * 200]))
        assert maker.asked == []


class TestSound:
    async def test_comes_by_reference(self) -> None:
        house = House(FakeMaker())
        found = await house.keeper.speak(Speak(model="s", text="Hello."))
        assert isinstance(found.audio.source, URLSource)
        assert house.store.kept[found.audio.source.url] == b"sound"
        assert found.audio.source.media_type == "audio/mpeg"
        assert house.purposes == ["speech"]


class TestTranscript:
    async def test_is_of_the_sound_behind_the_reference(self) -> None:
        maker = FakeMaker()
        house = House(maker)
        house.store.kept["nats://blob/blobs/x"] = b"fLaC sound"
        blob = AudioBlock(source=URLSource(url="nats://blob/blobs/x", media_type="audio/flac"))
        assert (await house.keeper.transcribe(Transcribe(model="t", audio=blob))).text.text == "Said."
        assert maker.heard[0].data == b"fLaC sound"
        assert house.purposes == ["transcription"]

    @pytest.mark.parametrize(
        ("audio", "error"),
        [
            (AudioBlock(source=packed(b"ID3 sound", "audio/wav")), errors.BodyInvalid),
            (SOUND.model_copy(update={"source": SOUND.source.model_copy(update={"data": "?"})}), errors.BodyInvalid),
            (AudioBlock(source=packed(b"a" * 1001, "audio/mpeg")), errors.BodyTooLarge),
            (AudioBlock(source=URLSource(url="nats://blob/blobs/y", media_type="audio/wav")), errors.BlobNotFound),
        ],
    )
    async def test_of_what_is_no_recording_is_refused_before_anything_is_asked(
        self, audio: AudioBlock, error: type[errors.NatscopeError]
    ) -> None:
        maker = FakeMaker()
        with pytest.raises(error):
            await House(maker).keeper.transcribe(Transcribe(model="t", audio=audio))
        assert maker.asked == []


class TestPictures:
    async def test_come_by_reference(self) -> None:
        house = House(FakeMaker())
        found = await house.keeper.draw(Draw(model="i", prompt="A hut.", count=2))
        sources = [image.source for image in found.images]
        kept = [house.store.kept[source.url] for source in sources if isinstance(source, URLSource)]
        assert kept == [PNG.data] * 2
        assert house.purposes == ["image"]

    async def test_of_one_given_side_are_refused_before_anything_is_asked(self) -> None:
        maker = FakeMaker()
        with pytest.raises(errors.BodyInvalid, match="one side"):
            await House(maker).keeper.draw(Draw(model="i", prompt="A hut.", width=100))
        assert maker.asked == []


class TestMoney:
    async def test_is_reserved_before_and_settled_after_each_attempt(self) -> None:
        house = House(FakeMaker(fault("server_error")))
        found = await house.keeper.embed(Embed(model="e", texts=["abcdefgh"]))
        assert [charge.state for charge in house.charges.held] == ["released", "settled"]
        assert house.charges.held[1].tokens.input == 2
        assert found.cost_usd == 0.5

    async def test_that_is_not_there_stops_it_before_anything_is_asked(self) -> None:
        maker = FakeMaker()
        house = House(maker, charges=FakeCharges(errors.BudgetExhausted("no room")))
        with pytest.raises(errors.BudgetExhausted):
            await house.keeper.draw(Draw(model="i", prompt="A hut."))
        assert maker.asked == []

    async def test_is_given_back_when_the_asker_goes_away(self) -> None:
        maker = FakeMaker(60.0)
        house = House(maker)
        task = asyncio.create_task(house.keeper.speak(Speak(model="s", text="Hello.")))
        async with asyncio.timeout(5):
            await maker.busy.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert maker.cancelled == 1
        assert [charge.state for charge in house.charges.held] == ["released"]


class TestFaults:
    async def test_lead_to_the_next_target(self) -> None:
        first, second = FakeMaker(fault("forbidden")), FakeMaker()
        assert (await House(first, second).keeper.draw(Draw(model="i", prompt="A hut."))).model == "m-1"

    async def test_of_all_targets_are_told_in_our_words(self) -> None:
        with pytest.raises(errors.ContentRefused):
            await House(FakeMaker(fault("content_filter"))).keeper.speak(Speak(model="s", text="Hello."))

    async def test_a_provider_that_cannot_is_told(self) -> None:
        with pytest.raises(errors.ModelNotFound, match="'fake' has no models of this kind"):
            await House(FakeProvider()).keeper.speak(Speak(model="s", text="Hello."))

    async def test_too_slow_a_provider_is_broken_off_at_the_deadline(self) -> None:
        maker = FakeMaker(60.0)
        with pytest.raises(errors.DeadlineExceeded):
            await House(maker, deadline_s=0.05).keeper.draw(Draw(model="i", prompt="A hut."))
        assert maker.cancelled == 1


class TestOnce:
    async def test_the_same_request_again_is_answered_from_the_record(self) -> None:
        maker = FakeMaker()
        keeper = House(maker).keeper
        ask = Draw(model="i", prompt="A hut.", request_id="r")
        first, second = await keeper.draw(ask), await keeper.draw(ask)
        assert (first.replayed, second.replayed) == (False, True)
        assert second.images == first.images
        assert len(maker.asked) == 1

    async def test_one_id_at_two_doors_is_two_requests(self) -> None:
        maker = FakeMaker()
        keeper = House(maker).keeper
        await keeper.embed(Embed(model="e", texts=["a"], request_id="r"))
        await keeper.speak(Speak(model="s", text="Hello.", request_id="r"))
        assert len(maker.asked) == 2

    async def test_a_cancelled_id_is_cancelled_at_every_door(self) -> None:
        house = House(FakeMaker())
        house.keeper.cancel("r")
        ledgers = house.ledgers
        heard = [ledgers.embedded, ledgers.spoken, ledgers.transcribed, ledgers.drawn]
        assert [ledger.cancelled for ledger in heard] == [["embed=r"], ["speak=r"], ["transcribe=r"], ["draw=r"]]  # pyright: ignore[reportAttributeAccessIssue]


class TestSpans:
    async def test_of_vectors_have_the_golden_attributes(self) -> None:
        house = House(FakeMaker())
        await house.keeper.embed(Embed(model="e", texts=["a"], dimensions=1, session="s-1"))
        assert house.attributes("embeddings m-0") == {
            "kind": "CLIENT",
            "gen_ai.operation.name": "embeddings",
            "gen_ai.provider.name": "fake",
            "gen_ai.request.model": "m-0",
            "gen_ai.embeddings.dimension.count": 1,
            "gen_ai.conversation.id": "s-1",
            "gen_ai.response.model": "m-0-full",
            "gen_ai.usage.input_tokens": 5,
            "natscope.usage.cost_usd": 0.5,
            "server.address": "fake.example",
            "server.port": 443,
        }

    async def test_of_what_is_made_say_what_it_is(self) -> None:
        house = House(FakeMaker())
        await house.keeper.speak(Speak(model="s", text="Hello."))
        attributes = house.attributes("generate_content m-0")
        assert attributes["gen_ai.output.type"] == "speech"
        assert "error.type" not in attributes

    async def test_name_who_answered_in_the_end(self) -> None:
        house = House(FakeMaker(fault("forbidden")), FakeMaker())
        await house.keeper.draw(Draw(model="i", prompt="A hut."))
        attributes = house.attributes("generate_content m-0")
        assert (attributes["gen_ai.request.model"], attributes["gen_ai.response.model"]) == ("m-1", "m-1")

    async def test_of_what_failed_say_so(self) -> None:
        house = House(FakeMaker(fault("content_filter")))
        with pytest.raises(errors.ContentRefused):
            await house.keeper.draw(Draw(model="i", prompt="A hut."))
        assert house.attributes("generate_content m-0")["error.type"] == "content_refused"
