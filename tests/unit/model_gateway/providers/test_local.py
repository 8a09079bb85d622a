"""Embeddings in the gateway's own process."""

from collections.abc import Sequence

import pytest

from natscope.contracts.errors import BodyInvalid, SpecInvalid
from natscope.contracts.model import Embed
from services.model_gateway.providers.local import Encode, Encoded, Local, unit

ASK = Embed(model="near", texts=["a", "bb"])


def _encode(texts: Sequence[str]) -> Encoded:
    return Encoded([[3.0 * len(text), 4.0 * len(text), 0.0] for text in texts], tokens=len(texts))


class Loading:
    """Counts how often the model is loaded."""

    def __init__(self) -> None:
        self.times = 0

    def load(self) -> Encode:
        self.times += 1
        return _encode


class TestEmbed:
    async def test_gives_unit_vectors_and_loads_the_model_once_when_it_is_first_asked(self) -> None:
        loading = Loading()
        local = Local("local", loading.load)
        assert loading.times == 0
        first = await local.embed(ASK, model="m", timeout_s=1)
        await local.embed(ASK, model="m", timeout_s=1)
        assert first.vectors == [[0.6, 0.8, 0.0]] * 2
        assert (first.usage.input_tokens, first.model, loading.times) == (2, "m", 1)

    async def test_fewer_dimensions_are_the_first_ones_and_again_of_length_one(self) -> None:
        ask = ASK.model_copy(update={"dimensions": 1})
        assert (await Local("local", Loading().load).embed(ask, model="m", timeout_s=1)).vectors == [[1.0]] * 2

    async def test_more_dimensions_than_there_are_is_refused_with_their_number(self) -> None:
        ask = ASK.model_copy(update={"dimensions": 4})
        with pytest.raises(BodyInvalid, match="has 3 dimensions, 4 were asked for"):
            await Local("local", Loading().load).embed(ask, model="m", timeout_s=1)

    async def test_without_its_package_the_extra_is_named(self) -> None:
        def missing() -> Encode:
            raise SpecInvalid("local embeddings need the extra 'local-embeddings'")

        with pytest.raises(SpecInvalid, match="local-embeddings"):
            await Local("local", missing).embed(ASK, model="m", timeout_s=1)

    def test_a_vector_of_no_length_stays_as_it_is(self) -> None:
        assert unit([0.0, 0.0]) == [0.0, 0.0]
