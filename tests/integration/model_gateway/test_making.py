"""`model.embed`, `speak`, `transcribe` and `draw` from end to end: a real nats-server, the openai client, real HTTP."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from natscope.contracts import errors, model
from natscope.contracts.blocks import AudioBlock, Base64Source, ImageBlock, URLSource
from natscope.contracts.contract import Contract
from natscope.contracts.door import Command
from tests.integration.model_gateway.house import KEY, House, opened
from tests.integration.model_gateway.site import PNG, File, site
from tests.loopback import media_wire
from tests.loopback.chat_wire import failure
from tests.loopback.provider import Provider
from tests.loopback.replies import Reply

MP3 = AudioBlock(source=Base64Source(data="SUQzIHNvdW5k", media_type="audio/mpeg"))
EMBED = model.Embed(model="embedding", texts=["a", "bb"], request_id="r-1")
SPEAK = model.Speak(model="speech", text="Hello.", request_id="r-1")
TRANSCRIBE = model.Transcribe(model="transcription", audio=MP3, request_id="r-1")
DRAW = model.Draw(model="image", prompt="A hut.", request_id="r-1")
DOORS = [(model.EMBED, EMBED), (model.SPEAK, SPEAK), (model.TRANSCRIBE, TRANSCRIBE), (model.DRAW, DRAW)]
each_door = pytest.mark.parametrize(("door", "ask"), DOORS, ids=["embed", "speak", "transcribe", "draw"])


class TestEmbed:
    @pytest.mark.parametrize("packed", [True, False])
    async def test_gives_one_vector_for_each_text(self, house: House, provider: Provider, packed: bool) -> None:
        if not packed:
            provider.queue(media_wire.embedded({"input": EMBED.texts, "model": "e-1"}, packed=False))
        found = await house.guest.ask(model.EMBED, EMBED)
        assert found.vectors == [media_wire.vector("a"), media_wire.vector("bb")]
        assert (found.provider, found.usage) == ("openai", model.Usage(input_tokens=3))
        assert provider.requests[0]["encoding_format"] == "base64"
        assert provider.headers[0]["Authorization"] == f"Bearer {KEY}"

    async def test_sends_more_texts_than_the_provider_takes_in_several_requests(
        self, house: House, provider: Provider
    ) -> None:
        texts = ["a" * 1000 + str(number) for number in range(700)]
        found = await house.guest.ask(model.EMBED, model.Embed(model="embedding", texts=texts))
        assert [len(request["input"]) for request in provider.requests] == [598, 102]
        assert [vector[0] for vector in found.vectors] == [float(len(text)) for text in texts]

    async def test_vectors_that_are_too_many_for_a_message_arrive_all_the_same(self, house: House) -> None:
        ask = model.Embed(model="embedding", texts=["a"] * 300, dimensions=1536)
        assert len((await house.guest.ask(model.EMBED, ask)).vectors) == 300

    async def test_vectors_that_are_not_all_there_are_asked_for_again(self, house: House, provider: Provider) -> None:
        provider.queue(media_wire.embedded({"input": ["a"], "model": "e-1"}))
        assert len((await house.guest.ask(model.EMBED, EMBED)).vectors) == 2
        assert provider.total == 2


class TestSpeak:
    async def test_gives_the_sound_by_reference(self, house: House, provider: Provider) -> None:
        found = await house.guest.ask(model.SPEAK, SPEAK)
        assert await house.guest.blobs.bytes_of(found.audio) == media_wire.MP3
        assert found.audio.source.media_type == "audio/mpeg"
        request = {"input": "Hello.", "voice": "alloy", "response_format": "mp3"}
        assert request.items() <= provider.requests[0].items()

    async def test_heavy_sound_is_stored(self, house: House, provider: Provider) -> None:
        provider.queue(Reply(raw=b"ID3" + b"x" * 100_000, content_type="audio/mpeg"))
        found = await house.guest.ask(model.SPEAK, SPEAK)
        assert isinstance(found.audio.source, URLSource)
        assert len(await house.guest.blobs.bytes_of(found.audio)) == 100_003

    async def test_a_page_is_no_sound(self, house: House, provider: Provider) -> None:
        provider.queue(Reply(raw=b"<html>hello</html>", content_type="text/html"))
        found = await house.guest.ask(model.SPEAK, SPEAK)
        assert await house.guest.blobs.bytes_of(found.audio) == media_wire.MP3
        assert provider.total == 2


class TestTranscribe:
    async def test_gives_what_was_said(self, house: House, provider: Provider) -> None:
        ask = TRANSCRIBE.model_copy(update={"language": "en", "hint": "Gettysburg"})
        found = await house.guest.ask(model.TRANSCRIBE, ask)
        assert found.text.text == "Four score and seven."
        assert found.usage == model.Usage(input_tokens=14, output_tokens=5)
        sent = provider.requests[0]
        assert (sent["language"], sent["prompt"]) == ("en", "Gettysburg")
        assert sent["file"] == {"name": "audio.mp3", "media_type": "audio/mpeg", "size": 9}

    async def test_hears_a_blob(self, house: House, provider: Provider) -> None:
        source = await house.guest.blobs.store(b"fLaC" + b"x" * 100_000, "audio/flac")
        await house.guest.ask(
            model.TRANSCRIBE, model.Transcribe(model="transcription", audio=AudioBlock(source=source))
        )
        assert provider.requests[0]["file"] == {"name": "audio.flac", "media_type": "audio/flac", "size": 100_004}


class TestDraw:
    async def test_gives_the_pictures_by_reference(self, house: House, provider: Provider) -> None:
        ask = model.Draw(model="image", prompt="A hut.", count=2, width=64, height=32)
        found = await house.guest.ask(model.DRAW, ask)
        assert [await house.guest.blobs.bytes_of(image) for image in found.images] == [media_wire.PNG] * 2
        assert {"n": 2, "size": "64x32"}.items() <= provider.requests[0].items()
        assert found.usage == model.Usage(input_tokens=9, output_tokens=100)

    @pytest.mark.parametrize("private", [True, False])
    async def test_fetches_those_that_come_by_their_address(
        self, nats_url: str, provider: Provider, tmp_path: Path, private: bool
    ) -> None:
        async with site(a=File()) as there:
            provider.queue(media_wire.said({"data": [{"url": f"{there.url}/a"}]}))
            async with opened(nats_url, provider.url, tmp_path, settings={"private_media": private}) as house:
                asked = house.guest.ask(model.DRAW, DRAW)
                if private:
                    assert await house.guest.blobs.bytes_of((await asked).images[0]) == PNG
                else:
                    with pytest.raises(errors.MediaUnavailable, match="is not public"):
                        await asked
            assert there.asked == (["/a"] if private else [])


class TestEveryDoor:
    @each_door
    async def test_the_same_request_again_costs_nothing(
        self, house: House, provider: Provider, door: Command[Contract, model.Drawn], ask: Contract
    ) -> None:
        first, second = await house.guest.ask(door, ask), await house.guest.ask(door, ask)
        assert (first.replayed, second.replayed) == (False, True)
        assert second.model_copy(update={"replayed": False}) == first
        assert provider.total == 1

    @each_door
    async def test_a_request_in_flight_is_joined_not_asked_again(
        self, house: House, provider: Provider, door: Command[Contract, model.Drawn], ask: Contract
    ) -> None:
        answers = await asyncio.gather(*(house.guest.ask(door, ask) for _ in range(5)))
        assert sum(answer.replayed for answer in answers) == 4
        assert provider.total == 1

    async def test_one_id_at_every_door_is_four_requests(self, house: House, provider: Provider) -> None:
        for door, ask in DOORS:
            await house.guest.ask(door, ask)  # pyright: ignore[reportArgumentType]
        assert provider.total == 4

    @each_door
    async def test_what_may_pass_is_tried_again(
        self, house: House, provider: Provider, door: Command[Contract, model.Drawn], ask: Contract
    ) -> None:
        provider.queue(failure(500, "oops"))
        await house.guest.ask(door, ask)
        assert provider.total == 2

    @each_door
    @pytest.mark.parametrize(
        ("answer", "error"),
        [
            (failure(401, f"Incorrect API key provided: {KEY}"), errors.CredentialRefused),
            (failure(404, "no such model"), errors.ModelNotFound),
            (failure(400, "refused", code="content_policy_violation"), errors.ContentRefused),
        ],
    )
    async def test_what_will_not_pass_is_told_at_once_without_the_key(
        self,
        house: House,
        provider: Provider,
        door: Command[Contract, model.Drawn],
        ask: Contract,
        answer: Reply,
        error: type[errors.NatscopeError],
    ) -> None:
        provider.queue(answer)
        with pytest.raises(error) as caught:
            await house.guest.ask(door, ask)
        assert KEY not in f"{caught.value} {caught.value.details}"
        assert provider.total == 1

    @each_door
    async def test_what_is_no_answer_is_none(
        self, house: House, provider: Provider, door: Command[Contract, model.Drawn], ask: Contract
    ) -> None:
        provider.queue(*[Reply(raw=b'{"object": "list"}', content_type="application/json")] * 4)
        with pytest.raises(errors.ReplyInvalid):
            await house.guest.ask(door, ask)

    @each_door
    async def test_a_request_that_is_no_longer_wanted_is_broken_off_at_the_provider(
        self, house: House, provider: Provider, door: Command[Contract, model.Drawn], ask: Contract
    ) -> None:
        provider.queue(Reply(raw=b"late", delay_s=30))
        asked = asyncio.create_task(house.guest.ask(door, ask))
        async with asyncio.timeout(20):
            await provider.was_asked.wait()
            await house.guest.tell(model.CANCELLED, model.Cancelled(request_id="r-1"), "r-1")
            with pytest.raises(errors.Refused, match="cancelled"):
                await asked
            await provider.was_abandoned.wait()

    @each_door
    async def test_the_span_hangs_between_the_door_and_the_attempt(
        self, house: House, door: Command[Contract, model.Drawn], ask: Contract
    ) -> None:
        await house.guest.ask(door, ask)
        spans = {span.name.split(" ")[0]: span for span in house.spans.get_finished_spans()}
        middle = spans["embeddings" if door.template == "model.embed" else "generate_content"]
        process, attempt = spans["process"], spans["attempt"]
        assert process.context is not None
        assert middle.context is not None
        assert middle.parent is not None
        assert attempt.parent is not None
        assert middle.parent.span_id == process.context.span_id
        assert attempt.parent.span_id == middle.context.span_id


@pytest.fixture
async def offline(nats_url: str, tmp_path: Path) -> AsyncIterator[House]:
    """A gateway without any key and without a network."""
    async with opened(nats_url, "http://127.0.0.1:9", tmp_path, environment={}) as house:
        yield house


class TestWithoutAKey:
    @each_door
    async def test_the_offline_provider_answers_the_same_each_time(
        self, offline: House, door: Command[Contract, model.Drawn], ask: Contract
    ) -> None:
        first = await offline.guest.ask(door, ask)
        second = await offline.guest.ask(door, ask.model_copy(update={"request_id": "r-2"}))
        assert first.provider == "scripted"
        assert (second, second.replayed) == (first, False)

    async def test_what_it_says_it_can_hear_and_what_it_draws_is_a_picture(self, offline: House) -> None:
        spoken = await offline.guest.ask(model.SPEAK, SPEAK)
        heard = await offline.guest.ask(model.TRANSCRIBE, model.Transcribe(model="transcription", audio=spoken.audio))
        assert "audio/wav" in heard.text.text
        picture = (await offline.guest.ask(model.DRAW, DRAW)).images[0]
        assert isinstance(picture, ImageBlock)
        assert (await offline.guest.blobs.bytes_of(picture)).startswith(b"\x89PNG")


LOCAL = """\
providers:
  local: {kind: local}
aliases:
  near: {purpose: embedding, targets: [{provider: local, model: wordllama}]}
"""


class TestLocal:
    async def test_embeds_in_the_gateway_itself(self, nats_url: str, tmp_path: Path) -> None:
        texts = ["The cat sat on the mat.", "A kitten rests on a rug.", "Interest rates rose again."]
        async with opened(nats_url, "", tmp_path, models=LOCAL, environment={}) as house:
            found = await house.guest.ask(model.EMBED, model.Embed(model="near", texts=texts, dimensions=128))
        cat, kitten, rates = found.vectors
        assert len(cat) == 128
        assert sum(a * b for a, b in zip(cat, cat, strict=True)) == pytest.approx(1)
        near = sum(a * b for a, b in zip(cat, kitten, strict=True))
        far = sum(a * b for a, b in zip(cat, rates, strict=True))
        assert near > far
        assert found.usage.input_tokens > 10
        assert (found.provider, found.cost_usd) == ("local", 0.0)
