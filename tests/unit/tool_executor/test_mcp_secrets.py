"""What a server says of the secrets that it was given."""

import base64
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from urllib.parse import quote

import pytest
from pydantic import JsonValue

from natscope.contracts.errors import ToolUnavailable
from services.tool_executor.mcp.discretion import discreet, hidden_of
from services.tool_executor.mcp.entries import AddressEntry, AnyEntry, FromEnvironment, ProgramEntry, ToolEntry
from services.tool_executor.mcp.speaking import Answer, Hear, Offer, ServerSaysNo, Session, SessionForgotten, Signs

SECRET = "sk-one/two+three=="
ENVIRONMENT = {"API_KEY": SECRET, "FOLDER": "/home/somebody", "PIN_TOKEN": "1234"}
SAID = "401: sk-one/two+three== is none"
HIDDEN = "401: [API_KEY is not shown] is none"
PROGRAM = ProgramEntry(command="server", env={"KEY": FromEnvironment(env="API_KEY")})


class Indiscreet:
    """A session whose server shows its key wherever it can."""

    def __init__(self, error: Exception | None = None) -> None:
        self.signs = Signs()
        self._error = error

    async def offers(self) -> list[Offer]:
        if self._error:
            raise self._error
        return [Offer("find", SAID, {"properties": {"q": {"default": SECRET}}})]

    async def call(self, tool: str, arguments: Mapping[str, JsonValue], meta: Mapping[str, str], hear: Hear) -> Answer:
        if self._error:
            raise self._error
        await hear(SAID)
        return Answer([{"type": "text", "text": SAID}, {"type": "image", "data": SECRET}], {"asked": [SAID, 7, None]})


async def opened(session: Session) -> Session:
    @asynccontextmanager
    async def open(entry: AnyEntry) -> AsyncGenerator[Session]:
        yield session

    async with discreet(open, ENVIRONMENT)(PROGRAM) as found:
        return found


class TestWhatAServerSays:
    async def test_has_no_secret_in_results_progress_and_descriptions(self) -> None:
        session, heard = await opened(Indiscreet()), list[str]()

        async def hear(text: str) -> None:
            heard.append(text)

        answer = await session.call("find", {}, {}, hear)
        assert answer.content == [{"type": "text", "text": HIDDEN}, {"type": "image", "data": SECRET}]
        assert (answer.structured, heard) == ({"asked": [HIDDEN, 7, None]}, [HIDDEN])
        (offer,) = await session.offers()
        assert offer.description == HIDDEN
        assert offer.parameters == {"properties": {"q": {"default": "[API_KEY is not shown]"}}}

    @pytest.mark.parametrize("kind", [ServerSaysNo, SessionForgotten])
    async def test_has_none_in_errors_which_stay_of_their_kind(self, kind: type[Exception]) -> None:
        session = await opened(Indiscreet(kind(SAID)))
        with pytest.raises(kind) as told:
            await session.offers()
        assert (str(told.value), told.value.__cause__) == (HIDDEN, None)

    async def test_has_none_when_it_does_not_come_up(self) -> None:
        @asynccontextmanager
        async def open(entry: AnyEntry) -> AsyncGenerator[Session]:
            raise ToolUnavailable(SAID, remedy="look")
            yield

        with pytest.raises(ToolUnavailable) as told:
            async with discreet(open, ENVIRONMENT)(PROGRAM):
                pass
        assert (told.value.message, told.value.remedy) == (HIDDEN, "look")

    @pytest.mark.parametrize(
        "form",
        [base64.b64encode(SECRET.encode()).decode(), quote(SECRET, safe=""), f'"{SECRET}"'],
        ids=["base64", "address", "JSON"],
    )
    def test_has_none_in_another_form(self, form: str) -> None:
        assert "API_KEY is not shown" in hidden_of(PROGRAM, ENVIRONMENT).text(f"with {form} it is")


class TestWhatIsASecret:
    @pytest.mark.parametrize(
        ("entry", "is_one"),
        [
            (ProgramEntry(command="x", args=[FromEnvironment(env="FOLDER")]), False),
            (ProgramEntry(command="x", args=[FromEnvironment(env="FOLDER", secret=True)]), True),
            (AddressEntry(url="http://x", headers={"X": FromEnvironment(env="FOLDER")}), True),
            (AddressEntry(url=FromEnvironment(env="FOLDER")), False),
            (ProgramEntry(command="x", env={"A": FromEnvironment(env="API_KEY", secret=False)}), False),
            (ProgramEntry(command="x", tools={"t": ToolEntry(preset={"k": FromEnvironment(env="API_KEY")})}), True),
            (ProgramEntry(command="x", env={"A": FromEnvironment(env="PIN_TOKEN")}), False),
            (ProgramEntry(command="x", env={"A": FromEnvironment(env="OTHER_KEY", default="from the file")}), False),
        ],
        ids=["path", "said so", "header", "address", "said not so", "preset", "too short", "of the file"],
    )
    def test_is_told_by_its_place_its_name_or_the_operator(self, entry: AnyEntry, is_one: bool) -> None:
        said = "/home/somebody 1234 from the file " + SECRET
        assert (hidden_of(entry, ENVIRONMENT).text(said) != said) is is_one
