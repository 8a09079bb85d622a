"""docs/how-to/configure-models.md: its file works, its table of mistakes is what people are told."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from natscope.contracts.errors import SpecInvalid
from services.model_gateway.catalog.reloading import Models
from tests.e2e.cli.conftest import Start
from tests.loopback.provider import Provider
from tests.loopback.replies import Reply

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs" / "how-to" / "configure-models.md").read_text()
FILE = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)[0]
SHOWN = re.findall(r"^```\n(model .*?)^```", PAGE, re.DOTALL | re.MULTILINE)[0]
AT_NIGHT = "0.135, 0.55", "0.27, 1.1"
"""What DeepSeek asks for between 16:30 and 00:30 UTC, and by day; the page shows the day's prices."""
KEYS = {"OPENAI_API_KEY": "k-1", "OPENAI_API_KEY_2": "k-2", "DEEPSEEK_API_KEY": "k-3"}


def mistakes() -> Iterator[tuple[str, str, str]]:
    """Give what stands in the file, what somebody writes instead, and how what is told begins."""
    table = PAGE.partition("| in place of |")[2].partition("\n## ")[0]
    for line in table.splitlines()[2:]:
        cells = re.findall(r"`([^`]+)`", line)
        if len(cells) == 3:
            yield cells[0], cells[1], cells[2]


class TestMistakes:
    @pytest.mark.parametrize(("right", "wrong", "told"), list(mistakes()))
    def test_are_told_as_the_page_says(self, right: str, wrong: str, told: str, tmp_path: Path) -> None:
        assert right in FILE
        path = tmp_path / "models.yaml"
        path.write_text(FILE.replace(right, wrong, 1))
        with pytest.raises(SpecInvalid) as caught:
            Models(path, KEYS)
        assert str(caught.value).partition("/models.yaml:")[2].startswith(told.partition("models.yaml:")[2])

    def test_are_all_told(self) -> None:
        assert len(list(mistakes())) == PAGE.count("| `models.yaml:") == 10

    def test_there_is_none_in_the_file_itself(self, tmp_path: Path) -> None:
        path = tmp_path / "models.yaml"
        path.write_text(FILE)
        assert Models(path, KEYS).fault is None


class TestTheHouse:
    async def test_lists_answers_changes_and_survives_as_the_page_says(self, natscope: Start, tmp_path: Path) -> None:
        path = tmp_path / "models.yaml"
        path.write_text(FILE)
        async with Provider() as first, Provider(lambda _: Reply(text="From the backup.")) as second:
            up = await natscope(
                *("up", "--data", str(tmp_path / "data"), "--port", "0", "--agents", str(ROOT / "deploy" / "agents")),
                **KEYS | {"OPENAI_BASE_URL": first.url, "BACKUP_URL": second.url, "MODEL_GATEWAY_MODELS": str(path)},
                MODEL_GATEWAY_MODELS_EVERY="0.1",
            )
            url = (await up.line("NATS")).split()[1]
            shown = (await (await natscope("models", url=url)).done()).out
            assert _words(shown.replace(*AT_NIGHT)) == _words(SHOWN)
            first.queue(*[Reply(status=401, raw=b'{"error": {"code": "invalid_api_key"}}')] * 4)
            ended = await (await natscope("ask", "assistant", "Who?", "--no-stream", url=url)).done()
            assert (ended.code, ended.out.strip()) == (0, "From the backup.")
            assert [line.split()[:2] for line in (await _usage(natscope, url, "backup")).splitlines()[1:]] == [
                ["backup", "1"]
            ]
            path.write_text(FILE.replace("weight: 3", "weight: heavy"))
            ended = await _listed(natscope, url, "not in force")
            assert "models.yaml:14: aliases.default.targets.0.weight: should be a valid number" in ended
            assert "default" in ended
            path.write_text(FILE.replace("  cheap:", "  frugal:"))
            assert "not in force" not in await _listed(natscope, url, "frugal")
            up.interrupt()
            assert (await up.done()).code == 0

    async def test_does_not_start_with_a_wrong_file_and_says_why(self, natscope: Start, tmp_path: Path) -> None:
        path = tmp_path / "models.yaml"
        path.write_text(FILE.replace("dialect: deepseek", "dialect: deepsek"))
        up = await natscope(
            "up", "--data", str(tmp_path / "data"), "--port", "0", MODEL_GATEWAY_MODELS=str(path), **KEYS
        )
        ended = await up.done()
        assert ended.code == 4
        assert "models.yaml:9: providers.backup.dialect: there is no dialect 'deepsek'" in ended.err


async def _listed(natscope: Start, url: str, wanted: str) -> str:
    """Return what `natscope models` prints, on both sides, once it has `wanted` in it."""
    for _ in range(20):
        ended = await (await natscope("models", url=url)).done()
        if wanted in ended.out + ended.err:
            return ended.out + ended.err
    raise AssertionError(f"never heard of {wanted!r}")


async def _usage(natscope: Start, url: str, provider: str) -> str:
    """Return what a provider was used for, once it is written down."""
    for _ in range(20):
        out = (await (await natscope("usage", "--provider", provider, url=url)).done()).out
        if provider in out.partition("\n")[2]:
            return out
    raise AssertionError(f"{provider!r} was never used")


def _words(table: str) -> list[list[str]]:
    return [line.split() for line in table.splitlines()]
