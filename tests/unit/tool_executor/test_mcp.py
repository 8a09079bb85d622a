"""Names, entries and answers of MCP servers."""

import base64
import os
import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest
from pydantic import TypeAdapter

from natscope.contracts.blocks import ContentBlock, FileBlock, MediaBlock, TextBlock, URLSource, VideoBlock
from natscope.contracts.errors import CredentialMissing, SpecInvalid
from natscope.contracts.tool import ToolName
from services.tool_executor.mcp import servers_file
from services.tool_executor.mcp.answers import blocks_of, metadata_of
from services.tool_executor.mcp.connections import Connection
from services.tool_executor.mcp.entries import AddressEntry, FromEnvironment, ProgramEntry
from services.tool_executor.mcp.failures import one_line
from services.tool_executor.mcp.naming import name_of
from services.tool_executor.mcp.offering import offered
from services.tool_executor.mcp.schemas import sound
from services.tool_executor.mcp.speaking import Answer, Json, Offer

ROOT = Path(__file__).parents[3]


class TestTheNameOfATool:
    def test_says_its_server_and_its_own(self) -> None:
        assert name_of("files", "read_file") == "mcp__files__read_file"

    @pytest.mark.parametrize("tool", ["a.b", "a b", "a/b", "é", "x" * 128, "-", "日本"])
    def test_is_one_that_a_tool_may_have(self, tool: str) -> None:
        TypeAdapter(ToolName).validate_python(name_of("s" * 32, tool))

    def test_is_another_for_each_tool_however_alike_they_look(self) -> None:
        tools = ["a.b", "a b", "a_b", "a/b", *(f"{'x' * 90}{each}" for each in range(100))]
        assert len({name_of("s", tool) for tool in tools}) == len(tools)

    def test_is_another_for_the_same_tool_of_another_server(self) -> None:
        assert name_of("s", "x" * 90) != name_of("t", "x" * 90)

    def test_stays_the_same_for_ever(self) -> None:
        assert name_of("s", "a.b") == "mcp__s__a_b_407e8e5c"


class TestTheFile:
    @staticmethod
    def _read(folder: Path, text: str) -> object:
        file = folder / "mcp.yaml"
        file.write_text(text)
        return servers_file.read(file)

    def test_that_is_not_there_is_no_server(self, tmp_path: Path) -> None:
        assert servers_file.read(tmp_path / "none.yaml") == {}

    @pytest.mark.parametrize("text", ["", "servers:", "servers: {}"])
    def test_that_is_empty_is_no_server(self, tmp_path: Path, text: str) -> None:
        assert self._read(tmp_path, text) == {}

    def test_needs_no_kind_where_there_is_no_doubt(self, tmp_path: Path) -> None:
        found = self._read(
            tmp_path, "servers: {a: {command: x}, b: {url: 'http://y'}, c: {kind: sse, url: 'http://z'}}"
        )
        assert isinstance(found, dict)
        assert [type(entry) for entry in found.values()] == [ProgramEntry, AddressEntry, AddressEntry]
        assert [entry.kind for entry in found.values()] == ["stdio", "http", "sse"]

    @pytest.mark.parametrize(
        ("text", "told"),
        [
            ("servers:\n  a:\n    command: x\n    shell: y\n", ":4: servers.a.shell"),
            ("servers:\n  a: {comand: x}\n", ":2: servers.a: has neither `command` (a program) nor `url`"),
            ("servers:\n  a: {command: x}\n  a: {command: y}\n", ":3: 'a' is there twice"),
            ("servers:\n  a__b: {command: x}\n", ":2: servers.a__b"),
            ("servers:\n  a:\n    url: http://x\n    command: y\n", ":3: servers.a.url"),
            ("servers: [", ":1:"),
        ],
    )
    def test_that_is_wrong_is_told_by_line_and_field(self, tmp_path: Path, text: str, told: str) -> None:
        with pytest.raises(SpecInvalid, match="mcp") as raised:
            self._read(tmp_path, text)
        assert told in str(raised.value)

    def test_that_comes_with_the_house_is_right(self) -> None:
        assert servers_file.read(ROOT / "deploy/mcp.yaml") == {}


class TestAValueFromTheEnvironment:
    def test_has_its_prefix(self) -> None:
        assert FromEnvironment(env="A", prefix="Bearer ").value({"A": "b"}) == "Bearer b"

    def test_that_is_not_set_is_named(self) -> None:
        with pytest.raises(CredentialMissing, match="A is not set"):
            FromEnvironment(env="A").value({"A": " "})


class FarStore:
    """Keeps everything by reference."""

    async def source(self, data: bytes, media_type: str) -> URLSource:
        return URLSource(url="nats://blob/blobs/x", media_type=media_type, size_bytes=len(data))

    async def bytes_of(self, block: MediaBlock) -> bytes:
        raise NotImplementedError


async def blocks(*content: Json, structured: object = None) -> list[ContentBlock]:
    return await blocks_of(Answer(list(content), structured), FarStore())  # pyright: ignore[reportArgumentType]


class TestAnAnswer:
    async def test_with_a_video_in_a_resource_is_a_video(self) -> None:
        data = base64.b64encode(b"123").decode()
        found = await blocks({"type": "resource", "resource": {"uri": "a://b", "mimeType": "video/mp4", "blob": data}})
        assert [type(block) for block in found] == [VideoBlock]

    @pytest.mark.parametrize(
        ("uri", "name"),
        [
            ("file:///a/b.txt", "b.txt"),
            ("x:///..", "resource"),
            ("x:///..%2f..%2fetc", "etc"),
            ("", "resource"),
        ],
    )
    async def test_with_a_file_gives_it_a_harmless_name(self, uri: str, name: str) -> None:
        found = await blocks({"type": "resource", "resource": {"uri": uri, "mimeType": "a/b", "blob": ""}})
        assert [block.name for block in found if isinstance(block, FileBlock)] == [name]

    async def test_with_media_that_are_no_base64_says_so(self) -> None:
        found = await blocks({"type": "image", "data": "%%%", "mimeType": "image/png"})
        assert found == [TextBlock(text="[image/png that is no base64, 3 characters]")]

    async def test_with_what_nobody_knows_shows_it(self) -> None:
        assert await blocks({"type": "smell", "of": "roses"}) == [TextBlock(text='{"type": "smell", "of": "roses"}')]

    async def test_with_a_structured_result_says_it_once(self) -> None:
        said: Json = {"type": "text", "text": '{"a": 1}'}
        assert len(await blocks(said, structured={"a": 1})) == 1
        assert await blocks(structured={"a": 1}) == [TextBlock(text='{"a": 1}')]

    async def test_with_a_huge_structured_result_keeps_it_out_of_the_metadata(self) -> None:
        assert metadata_of(Answer([], {"a": "x" * 100_000})) == {}
        assert metadata_of(Answer([], {"a": 1})) == {"structured": {"a": 1}}


@dataclass
class Told:
    """As much of a connection as says what a server offers."""

    offers: list[Offer]
    server: str = "s"
    entry: ProgramEntry = field(default_factory=lambda: ProgramEntry(command="x"))


def names_of(*offers: Offer) -> list[str]:
    return list(offered(cast("Connection", Told(list(offers))), {}))


RIGHT: dict[str, Any] = {"name": "right", "inputSchema": {"type": "object"}}


class TestAServersTool:
    @pytest.mark.parametrize(
        "schema",
        [
            {"type": "array"},
            {"properties": []},
            {"properties": {"a": {"type": "strin"}}},
            {"properties": {"a": "string"}},
            {"required": "a"},
            {"properties": {"a": {"pattern": "("}}},
            {"properties": {"a": {"$ref": "#/$defs/none"}}},
            {"properties": {"a": {"$ref": "https://example.org/schema"}}},
            {"properties": {"a": {"enum": ["x" * 300_000]}}},
            {"properties": {"a": {"anyOf": []}}},
        ],
        ids=lambda schema: str(schema)[:40],
    )
    def test_is_sorted_out_with_a_schema_that_is_none(self, schema: Any) -> None:
        assert sound([{"name": "wrong", "inputSchema": schema}, RIGHT]) == [RIGHT]

    def test_is_sorted_out_with_a_schema_that_is_nested_without_end(self) -> None:
        deep: Any = {"type": "string"}
        for _ in range(20_000):
            deep = {"items": deep}
        assert sound([{"name": "deep", "inputSchema": {"properties": {"a": deep}}}, RIGHT]) == [RIGHT]

    @pytest.mark.parametrize(
        "schema",
        [
            {"type": "object", "properties": {"a": {"$ref": "#/$defs/t~1x"}}, "$defs": {"t/x": {"type": "string"}}},
            {"$schema": "http://json-schema.org/draft-07/schema#", "properties": {"a": {"type": ["string", "null"]}}},
            {"properties": {"a": True}, "additionalProperties": False, "x-vendor": [1]},
            {"properties": {"$ref": {"type": "string"}}},
        ],
        ids=lambda schema: str(schema)[:40],
    )
    def test_stays_with_a_schema_that_is_only_unusual(self, schema: Any) -> None:
        """The control."""
        assert len(sound([{"name": "unusual", "inputSchema": schema}])) == 1

    @pytest.mark.parametrize("tool", [None, 3, [], {}, {"name": 5, "inputSchema": {}}, {"name": "x"}])
    def test_is_sorted_out_if_it_is_none_at_all(self, tool: Any) -> None:
        assert sound([tool, RIGHT]) == [RIGHT]


class TestWhatIsOffered:
    def test_are_not_more_than_five_hundred(self) -> None:
        assert len(names_of(*(Offer(f"t{each}", "", {}) for each in range(600)))) == 500

    def test_are_not_two_of_a_name(self) -> None:
        assert names_of(Offer("a", "", {}), Offer("a", "", {})) == ["mcp__s__a"]


class TestTheSdk:
    def test_is_imported_by_one_file_for_each_direction(self) -> None:
        sources = [path for folder in ("shared", "services") for path in (ROOT / folder).rglob("*.py")]
        knowing = [path for path in sources if re.search(r"^\s*(from|import) mcp\b", path.read_text(), re.MULTILINE)]
        assert {str(path.relative_to(ROOT)) for path in knowing} == {
            "services/tool_executor/mcp/client.py",
            "shared/natscope/cli/mcp/server.py",
        }

    @pytest.mark.parametrize("module", ["services.tool_executor.app", "natscope.cli.app", "natscope.cli.mcp.running"])
    def test_is_not_loaded_before_there_is_a_use_for_it(self, module: str) -> None:
        code = f"import sys, {module}; sys.exit('mcp' in sys.modules)"
        path = os.pathsep.join((str(ROOT), str(ROOT / "shared")))
        assert subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": path}, check=False).returncode == 0

    def test_says_nothing_of_secrets_in_addresses(self) -> None:
        told = one_line(ValueError("no answer from\n'https://me:p4ss@host/x?key=s3cret': why?"))
        assert told == "no answer from 'https://…@host/x?…': why?"
