"""`model.chat` from end to end: a real nats-server, the real openai client, real HTTP."""

import asyncio
import json
import logging
import os
import sys
from pathlib import Path

import pytest

from natscope.bus import BusSettings, connect
from natscope.contracts import errors, model
from natscope.contracts.blocks import TextBlock, ToolResultBlock, ToolUseBlock
from natscope.contracts.message import Message
from tests.integration.model_gateway.house import KEY, TOOL, House, opened, question
from tests.loopback.chat_wire import failure
from tests.loopback.provider import Provider
from tests.loopback.replies import Call, Reply

TALK = Reply(text="It is forty-two, I think.", pieces=6)


class TestAnswers:
    async def test_in_one_piece(self, house: House, provider: Provider) -> None:
        provider.queue(TALK)
        chatted = await house.chat()
        assert chatted.message.text == "It is forty-two, I think."
        assert (chatted.finish_reason, chatted.provider, chatted.model) == ("stop", "openai", "loopback-1")
        assert chatted.usage == model.Usage(input_tokens=12, output_tokens=7)
        assert provider.requests[0]["messages"] == [{"role": "user", "content": "Hello?"}]
        assert provider.headers[0]["Authorization"] == f"Bearer {KEY}"

    @pytest.mark.parametrize("rechunk", [None, 1, 50])
    async def test_as_a_stream_that_ends_in_the_same_message(
        self, house: House, provider: Provider, rechunk: int | None
    ) -> None:
        provider.queue(Reply(text="Grüße, 世界.", calls=(Call("execute_python", '{"code": "1"}'),), rechunk=rechunk))
        chatted = await house.chat(deltas_to=await house.listen(), tools=[TOOL])
        assert "".join(delta.text for delta in house.deltas if delta.kind == "text") == "Grüße, 世界."
        assert "".join(delta.text for delta in house.deltas if delta.kind == "tool_use") == '{"code": "1"}'
        assert [delta.sequence for delta in house.deltas] == list(range(len(house.deltas)))
        assert chatted.message.text == "Grüße, 世界."
        assert [use.input for use in chatted.message.tool_uses] == [{"code": "1"}]
        assert chatted.usage == model.Usage(input_tokens=12, output_tokens=7)

    async def test_a_tool_call_and_then_with_its_result(self, house: House, provider: Provider) -> None:
        ask = question("What is six times seven?", tools=[TOOL])
        called = await house.guest.ask(model.CHAT, ask)
        use = called.message.content[0]
        assert isinstance(use, ToolUseBlock)
        result = ToolResultBlock(id=use.id, name=use.name, output=[TextBlock(text="42")])
        talk = [*ask.messages, called.message, Message(name=use.name, role="tool", content=[result])]
        final = await house.guest.ask(model.CHAT, model.Chat(model="default", messages=talk, tools=[TOOL]))
        assert final.message.text == "The answer is 42."
        assert [turn["role"] for turn in provider.requests[1]["messages"]] == ["user", "assistant", "tool"]

    async def test_the_first_piece_before_the_last_is_written(self, house: House, provider: Provider) -> None:
        provider.queue(Reply(text="one two three", pieces=3, pace_s=0.001))
        provider.may_end.clear()
        subject = await house.listen()
        asked = asyncio.create_task(house.chat(deltas_to=subject))
        async with asyncio.timeout(20):
            await house.heard.wait()
        assert not asked.done()
        provider.may_end.set()
        await asked

    async def test_a_json_answer_to_a_stream_is_read_all_the_same(self, house: House, provider: Provider) -> None:
        provider.queue(Reply(text="The answer is 42.", whole=True))
        chatted = await house.chat(deltas_to=await house.listen())
        assert chatted.message.text == "The answer is 42."
        assert [(delta.kind, delta.text) for delta in house.deltas] == [("text", "The answer is 42."), ("end", "")]


class TestFaults:
    @pytest.mark.parametrize("stream", [False, True])
    @pytest.mark.parametrize(
        "first",
        [
            failure(500, "oops"),
            failure(503, "busy"),
            failure(429, "slow down", retry_after="0.05"),
            Reply(status=502, raw=b"<html>bad gateway</html>", content_type="text/html"),
            Reply(raw=b"<html>hello</html>", content_type="text/html"),
            Reply(raw=b"", content_type="application/json"),
            Reply(text="Half of it", finish_reason=None, done=False),
            Reply(text="Half of it, cut off", cut_after=2),
        ],
        ids=["500", "503", "429", "502 html", "200 html", "200 empty", "truncated", "cut"],
    )
    async def test_what_may_pass_is_tried_again_and_never_taken_for_an_answer(
        self, house: House, provider: Provider, first: Reply, stream: bool
    ) -> None:
        provider.queue(first, TALK)
        chatted = await house.chat(deltas_to=await house.listen() if stream else None)
        assert chatted.message.text == "It is forty-two, I think."
        assert provider.total == 2
        heard, attempt = "", 1
        for delta in house.deltas:
            heard, attempt = ("", delta.attempt) if delta.kind == "reset" else (heard + delta.text, attempt)
            assert delta.attempt == attempt
        assert heard == ("It is forty-two, I think." if stream else "")

    @pytest.mark.parametrize("stream", [False, True])
    @pytest.mark.parametrize(
        ("answer", "error"),
        [
            (failure(401, f"Incorrect API key provided: {KEY}"), errors.CredentialRefused),
            (failure(404, "no such model"), errors.ModelNotFound),
            (failure(400, "too long", code="context_length_exceeded"), errors.ContextTooLong),
            (failure(400, "filtered", code="content_filter"), errors.ContentRefused),
            (failure(429, "quota", code="insufficient_quota"), errors.ModelUnavailable),
            (failure(429, "slow down", retry_after="60"), errors.ModelUnavailable),
        ],
    )
    async def test_what_will_not_pass_is_told_at_once(
        self, house: House, provider: Provider, answer: Reply, error: type[errors.NatscopeError], stream: bool
    ) -> None:
        provider.queue(answer)
        with pytest.raises(error, match="'openai'") as caught:
            await house.chat(deltas_to=await house.listen() if stream else None)
        assert type(caught.value) is error
        assert provider.total == 1

    @pytest.mark.parametrize("stream", [False, True])
    async def test_a_provider_that_stays_down_is_unavailable_after_three_attempts(
        self, house: House, provider: Provider, stream: bool
    ) -> None:
        provider.queue(*[failure(500, "oops")] * 4)
        with pytest.raises(errors.ModelUnavailable, match="3 attempts"):
            await house.chat(deltas_to=await house.listen() if stream else None)
        assert provider.total == 3

    async def test_a_provider_nobody_listens_for_is_unavailable(self, nats_url: str, tmp_path: Path) -> None:
        async with opened(nats_url, "http://127.0.0.1:9/v1", tmp_path) as house:
            with pytest.raises(errors.ModelUnavailable, match="cannot be reached"):
                await house.chat()

    async def test_a_slow_provider_is_broken_off_at_the_deadline(
        self, nats_url: str, provider: Provider, tmp_path: Path
    ) -> None:
        provider.queue(Reply(text="late", delay_s=30))
        async with opened(nats_url, provider.url, tmp_path, deadline_s=0.3) as house:
            with pytest.raises(errors.DeadlineExceeded):
                await house.chat()

    async def test_the_key_is_in_no_log_span_error_or_message(
        self, house: House, provider: Provider, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG)
        wire: list[bytes] = []

        async def tap(message: object) -> None:
            wire.append(message.data + repr(message.headers).encode())  # pyright: ignore[reportAttributeAccessIssue]

        await house.guest.nc.subscribe(">", cb=tap)
        provider.queue(failure(401, f"Incorrect API key provided: {KEY}"), failure(400, f"{KEY} may not"), TALK)
        for error in (errors.CredentialRefused, errors.BodyInvalid):
            with pytest.raises(error) as caught:
                await house.chat(f"The key is not {KEY[:6]}")
            assert KEY not in f"{caught.value} {caught.value.details}"
        await house.chat()
        await house.guest.nc.flush()
        traced = "".join(span.to_json() for span in house.spans.get_finished_spans())
        logged = "".join(f"{record.getMessage()} {vars(record)}" for record in caplog.records)
        sent = b"".join(wire).decode()
        assert all(control in text for control, text in (("chat", traced), ("credential_refused", logged)))
        assert KEY[:6] in sent
        assert KEY not in traced
        assert KEY not in logged
        assert KEY not in sent


class TestOnce:
    async def test_the_same_request_again_costs_nothing(self, house: House, provider: Provider) -> None:
        ask = question(request_id="r-1")
        first = await house.guest.ask(model.CHAT, ask)
        second = await house.guest.ask(model.CHAT, ask.model_copy(update={"deltas_to": await house.listen()}))
        assert (first.replayed, second.replayed) == (False, True)
        assert second.message == first.message
        assert provider.total == 1

    async def test_requests_that_differ_in_their_id_are_both_paid(self, house: House, provider: Provider) -> None:
        await house.chat(request_id="r-1")
        await house.chat(request_id="r-2")
        assert provider.total == 2

    async def test_an_id_used_for_something_else_is_refused(self, house: House, provider: Provider) -> None:
        await house.chat("One?", request_id="r-1")
        with pytest.raises(errors.RequestConflict, match="'r-1'"):
            await house.chat("Two?", request_id="r-1")
        assert provider.total == 1

    async def test_asked_by_hand_again_without_ids_of_messages_is_answered_from_the_record(
        self, house: House, provider: Provider
    ) -> None:
        asked = (
            b'{"model": "default", "request_id": "r-1", "messages": [{"name": "me", "role": "user", "content": "Hm?"}]}'
        )
        answers = [(await house.guest.nc.request("model.chat", asked, timeout=20)).data for _ in range(2)]
        assert [model.Chatted.model_validate_json(answer).replayed for answer in answers] == [False, True]
        assert provider.total == 1

    async def test_a_request_in_flight_is_joined_not_asked_again(self, house: House, provider: Provider) -> None:
        provider.queue(Reply(text="slow", delay_s=0.3))
        ask = question(request_id="r-1")
        answers = await asyncio.gather(*(house.guest.ask(model.CHAT, ask) for _ in range(5)))
        assert {answer.message.text for answer in answers} == {"slow"}
        assert sum(answer.replayed for answer in answers) == 4
        assert provider.total == 1

    async def test_a_request_in_flight_at_another_replica_is_awaited(
        self, house: House, nats_url: str, provider: Provider, tmp_path: Path
    ) -> None:
        provider.queue(Reply(text="slow", delay_s=0.3))
        ask = question(request_id="r-1")
        async with opened(nats_url, provider.url, tmp_path):
            answers = await asyncio.gather(*(house.guest.ask(model.CHAT, ask) for _ in range(12)))
        assert {answer.message.text for answer in answers} == {"slow"}
        assert provider.total == 1

    async def test_a_failed_request_may_be_asked_again(self, house: House, provider: Provider) -> None:
        provider.queue(failure(400, "no"))
        ask = question(request_id="r-1")
        with pytest.raises(errors.BodyInvalid):
            await house.guest.ask(model.CHAT, ask)
        assert not (await house.guest.ask(model.CHAT, ask)).replayed
        assert provider.total == 2


class TestCancel:
    @pytest.mark.parametrize("stream", [False, True])
    async def test_a_request_that_is_no_longer_wanted_is_broken_off_at_the_provider(
        self, house: House, provider: Provider, stream: bool
    ) -> None:
        provider.queue(Reply(text="never heard to the end", delay_s=0.0 if stream else 30, pace_s=30))
        ask = question(request_id="r-1", deltas_to="deltas.r-1" if stream else None)
        asked = asyncio.create_task(house.guest.ask(model.CHAT, ask))
        async with asyncio.timeout(20):
            await provider.was_asked.wait()
            await house.guest.tell(model.CANCELLED, model.Cancelled(request_id="r-1"), "r-1")
            with pytest.raises(errors.Refused, match="cancelled"):
                await asked
            await provider.was_abandoned.wait()

    async def test_others_go_on(self, house: House, provider: Provider) -> None:
        provider.queue(Reply(text="slow", delay_s=0.2))
        asked = asyncio.create_task(house.chat(request_id="r-2"))
        await house.guest.tell(model.CANCELLED, model.Cancelled(request_id="r-1"), "r-1")
        assert (await asked).message.text == "slow"


class TestTrace:
    async def test_process_chat_and_attempt_hang_together(self, house: House, provider: Provider) -> None:
        await house.chat()
        spans = {span.name: span for span in house.spans.get_finished_spans()}
        process, chat, attempt = (spans[name] for name in ("process model.chat", "chat loopback-1", "attempt"))
        assert process.context is not None
        assert chat.context is not None
        assert chat.parent is not None
        assert attempt.parent is not None
        assert chat.parent.span_id == process.context.span_id
        assert attempt.parent.span_id == chat.context.span_id
        address = (attempt.attributes or {})["server.address"], (attempt.attributes or {})["server.port"]
        assert address == ("127.0.0.1", int(provider.url.rsplit(":", 1)[1].removesuffix("/v1")))


class TestWithoutAKey:
    async def test_the_script_answers_in_a_process_of_its_own(self, nats_url: str) -> None:
        foreign = ("OPENAI_", "NATS_", "OTEL_")
        environment = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
        environment["NATS_URL"] = nats_url
        environment["PYTHONPATH"] = "shared:."
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "services.model_gateway", env=environment, stderr=asyncio.subprocess.PIPE
        )
        assert process.stderr is not None
        try:
            async with asyncio.timeout(90), connect("guest", BusSettings.model_construct(url=nats_url)) as guest:
                while json.loads(await process.stderr.readline())["event"] != "open":
                    pass
                chatted = await guest.ask(model.CHAT, question("What is 2+2?"))
            assert chatted.message.text == "2 + 2 = 4."
        finally:
            process.terminate()
            await process.communicate()
        assert process.returncode == 0
