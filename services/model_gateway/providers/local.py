"""Embeddings in this process, without a network and without a key; the only file that imports `wordllama`."""

import asyncio
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from natscope.contracts.errors import BodyInvalid, SpecInvalid
from natscope.contracts.model import Embed, Usage
from services.model_gateway.ports import Hear, Prompt, Reply, Vectors
from services.model_gateway.trying.faults import Failed

EXTRA = "local-embeddings"
TEXTS_AT_ONCE = 64
"""A thread works on so many before another ask may have its turn."""


class Encoded(NamedTuple):
    """The vectors of some texts."""

    vectors: list[list[float]]
    tokens: int


Encode = Callable[[Sequence[str]], Encoded]


class Local:
    """One model, loaded when it is first asked; all work is done in one thread at a time."""

    address: tuple[str, int] | None = None
    texts_at_once = TEXTS_AT_ONCE

    def __init__(self, name: str, load: Callable[[], Encode] | None = None) -> None:
        """`load` makes the model; None: the one in the package `wordllama`."""
        self.name = name
        self._load = load or load_wordllama
        self._encode: Encode | None = None
        self._turn = asyncio.Lock()

    async def chat(self, prompt: Prompt, hear: Hear | None) -> Reply:
        """There is no model here that talks."""
        raise Failed("unknown_model", provider=self.name, said="it only embeds")

    async def embed(self, ask: Embed, *, model: str, timeout_s: float) -> Vectors:
        """Return unit vectors; see `ports.Embedder`.

        Raises:
            SpecInvalid: the extra is not installed.
            BodyInvalid: more dimensions are wanted than the model has.
        """
        async with self._turn:
            if self._encode is None:
                self._encode = await asyncio.to_thread(self._load)
            found = await asyncio.to_thread(self._encode, ask.texts)
        size = len(found.vectors[0])
        if ask.dimensions is not None and ask.dimensions > size:
            raise BodyInvalid(f"model {model!r} has {size} dimensions, {ask.dimensions} were asked for")
        vectors = [unit(vector[: ask.dimensions]) for vector in found.vectors]
        return Vectors(vectors, Usage(input_tokens=found.tokens), model)

    async def close(self) -> None:
        """Forget the model."""
        self._encode = None


def unit(vector: Sequence[float]) -> list[float]:
    """Return a vector of length 1 in the same direction; one of length 0 stays as it is."""
    length = math.sqrt(sum(number * number for number in vector))
    return [number / length for number in vector] if length else list(vector)


def load_wordllama() -> Encode:
    """Load the model whose weights are in the package's wheel; nothing is ever downloaded.

    Raises:
        SpecInvalid: the package is not installed.
    """
    try:
        from pathlib import Path

        import wordllama
    except ImportError:
        raise SpecInvalid(
            f"local embeddings need the extra {EXTRA!r}", remedy=f"pip install 'natscope[{EXTRA}]'"
        ) from None
    # The package looks for its tokenizer in `tokenizer/` but ships it in `tokenizers/`; as a cache it is found.
    folder = Path(wordllama.__file__).parent
    model = wordllama.WordLlama.load(cache_dir=folder, disable_download=True)

    def encode(texts: Sequence[str]) -> Encoded:
        asked = [text or " " for text in texts]
        tokens = sum(sum(each.attention_mask) for each in model.tokenize(asked))
        return Encoded([vector.tolist() for vector in model.embed(asked)], tokens)

    return encode
