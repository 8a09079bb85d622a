"""Chains of targets and keys behind one alias, and the file that says so, changed while the gateway runs."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from natscope.contracts import errors, model
from tests.integration.model_gateway.house import House, opened, question
from tests.loopback.chat_wire import failure
from tests.loopback.provider import Provider
from tests.loopback.replies import Reply

WELL = Reply(text="It is forty-two, I think.")
KEYS = {"KEY_1": "sk-one-0123456789abcdef", "KEY_2": "sk-two-0123456789abcdef", "KEY_3": "sk-three-0123456789"}
MODELS = """\
providers:
  first: {{kind: openai, api_keys: [{{env: KEY_1}}, {{env: KEY_2}}], base_url: "{first}"}}
  spare: {{kind: openai, api_key: {{env: KEY_3}}, base_url: "{spare}"}}
  offline: {{kind: scripted}}
aliases:
  default:
    targets:
      - {{provider: first, model: m-1}}
      - {{provider: spare, model: m-2}}
      - {{provider: offline, model: offline, stand_in: true}}
"""


@dataclass
class Chain:
    """A gateway before two providers, the first of them with two keys."""

    first: Provider
    spare: Provider
    house: House
    file: Path
    text: str

    def keys(self) -> list[str]:
        """Return the keys the first provider was asked with, in order."""
        names = {f"Bearer {secret}": name for name, secret in KEYS.items()}
        return [names[headers["Authorization"]] for headers in self.first.headers]

    async def ask(self, **more: object) -> model.Chatted:
        """Ask the chain."""
        return await self.house.guest.ask(model.CHAT, question("Hello?", **more), deadline_s=90)

    async def write(self, text: str) -> model.Listed:
        """Change the models file; return what is listed as soon as the gateway has seen it."""
        before = await self._listed()
        fresh = self.file.with_suffix(".new")
        fresh.write_text(text)
        fresh.replace(self.file)
        async with asyncio.timeout(30):
            while True:
                listed = await self._listed()
                if listed != before:
                    return listed
                await asyncio.sleep(0.02)

    async def _listed(self) -> model.Listed:
        return await self.house.guest.ask(model.LIST, model.List())


@pytest.fixture
async def chain(nats_url: str, tmp_path: Path) -> AsyncIterator[Chain]:
    """The chain, with both providers well."""
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(Provider(lambda _: WELL))
        spare = await stack.enter_async_context(Provider(lambda _: WELL))
        text = MODELS.format(first=first.url, spare=spare.url)
        quick = {"first_pause": 0.01, "models_every": 0.05}
        house = await stack.enter_async_context(
            opened(nats_url, "", tmp_path, models=text, environment=KEYS, settings=quick)
        )
        yield Chain(first, spare, house, tmp_path / "models.yaml", text)


class TestKeys:
    @pytest.mark.parametrize(
        "refusal",
        [
            failure(429, "slow down", retry_after="60"),
            failure(429, "quota", code="insufficient_quota"),
            failure(401, "no"),
            failure(402, "empty"),
            failure(403, "not this one"),
        ],
        ids=["rate limit", "quota", "bad key", "no balance", "forbidden"],
    )
    async def test_that_are_refused_give_way_to_the_next_one(self, chain: Chain, refusal: Reply) -> None:
        chain.first.queue(refusal)
        assert (await chain.ask()).attempts == 2
        assert chain.keys() == ["KEY_1", "KEY_2"]
        assert chain.spare.total == 0

    async def test_that_are_limited_are_left_alone_for_as_long_as_was_said(self, chain: Chain) -> None:
        chain.first.queue(failure(429, "slow down", retry_after="60"))
        answers = [await chain.ask() for _ in range(3)]
        assert [answer.attempts for answer in answers] == [2, 1, 1]
        assert chain.keys() == ["KEY_1", "KEY_2", "KEY_2", "KEY_2"]

    async def test_that_are_all_refused_lead_to_the_next_target(self, chain: Chain) -> None:
        chain.first.queue(failure(401, "no"), failure(402, "empty"))
        assert (await chain.ask()).attempts == 3
        assert chain.spare.total == 1


class TestTargets:
    async def test_a_failing_provider_is_never_answered_for_by_the_script(self, chain: Chain) -> None:
        chain.first.queue(*[failure(500, "oops")] * 9)
        chain.spare.queue(*[failure(500, "oops")] * 9)
        with pytest.raises(errors.ModelUnavailable) as caught:
            await chain.ask()
        targets = [attempt["target"] for attempt in caught.value.details["attempts"]]  # pyright: ignore
        assert set(targets) == {"first/m-1", "spare/m-2"}

    async def test_each_attempt_is_a_span_that_says_where_it_went(self, chain: Chain) -> None:
        chain.first.queue(failure(500, "oops"), failure(404, "no such model"))
        await chain.ask()
        spans = [span for span in chain.house.spans.get_finished_spans() if span.name == "attempt"]
        shown = [dict(span.attributes or {}) for span in spans]
        assert [each["gen_ai.request.model"] for each in shown] == ["m-1", "m-1", "m-2"]
        assert [each.get("natscope.fault") for each in shown] == ["server_error", "unknown_model", None]
        assert [each.get("natscope.reaction") for each in shown] == ["again", "over", None]


class TestTheFile:
    async def test_holds_as_soon_as_it_is_written(self, chain: Chain) -> None:
        listed = await chain.write(chain.text.replace("m-1", "m-9"))
        assert (listed.models[0].model, listed.fault) == ("m-9", None)
        await chain.ask()
        assert chain.first.requests[-1]["model"] == "m-9"

    async def test_that_is_wrong_changes_nothing_and_is_told_by_line_and_field(self, chain: Chain) -> None:
        listed = await chain.write(chain.text.replace("kind: scripted", "kind: srcipted"))
        assert "models.yaml:4: providers.offline" in (listed.fault or "")
        assert (await chain.ask()).attempts == 1
        mended = await chain.write(chain.text)
        assert mended.fault is None

    async def test_lets_calls_under_way_end_where_they_began(self, chain: Chain) -> None:
        chain.first.queue(Reply(text="late, but here", delay_s=0.6))
        asked = asyncio.create_task(chain.ask())
        async with asyncio.timeout(20):
            await chain.first.was_asked.wait()
        changed = chain.text.replace(chain.first.url, chain.spare.url).replace("m-1", "m-9")
        await chain.write(changed)
        assert (await asked).message.text == "late, but here"
        await chain.ask()
        assert (chain.first.total, chain.spare.total) == (1, 1)
