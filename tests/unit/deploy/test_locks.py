"""The locks pin everything, with hashes, and name no place to download from."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
LOCKS = [ROOT / "requirements.lock", *sorted((ROOT / "deploy" / "locks").glob("*.lock"))]


def pins(lock: Path) -> dict[str, str]:
    """Return each package's version in `lock`."""
    return dict(re.findall(r"^([\w.-]+)==(\S+)", lock.read_text(), flags=re.MULTILINE))


class TestLocks:
    def test_every_service_has_one(self) -> None:
        assert {lock.stem for lock in LOCKS[1:]} == {"agent", "memory", "model-gateway", "tool-executor"}

    @pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.stem)
    def test_names_no_place_to_download_from(self, lock: Path) -> None:
        assert not re.search(r"://|--(extra-)?index-url|--find-links|\bfile:", lock.read_text())

    @pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.stem)
    def test_every_package_is_pinned_with_hashes(self, lock: Path) -> None:
        for entry in re.split(r"\n(?=\S)", lock.read_text().strip()):
            assert re.match(r"[\w.-]+==\S+", entry), entry
            assert "--hash=sha256:" in entry, entry

    @pytest.mark.parametrize("lock", LOCKS[1:], ids=lambda lock: lock.stem)
    def test_a_service_runs_the_versions_that_were_tested(self, lock: Path) -> None:
        assert pins(lock).items() <= pins(LOCKS[0]).items()

    @pytest.mark.parametrize("lock", LOCKS[1:], ids=lambda lock: lock.stem)
    def test_wheels_for_an_image_do_not_depend_on_the_hosts_python(self, lock: Path) -> None:
        markers = re.findall(r"^\S+ ; (.*?) \\$", lock.read_text(), flags=re.MULTILINE)
        assert not [marker for marker in markers if "_version" in marker and "emscripten" not in marker]

    def test_only_the_gateway_holds_a_model_sdk_and_only_the_executor_an_engine_client(self) -> None:
        holders = {sdk: {lock.stem for lock in LOCKS[1:] if sdk in pins(lock)} for sdk in ("openai", "docker")}
        assert holders == {"openai": {"model-gateway"}, "docker": {"tool-executor"}}
