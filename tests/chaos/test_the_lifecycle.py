"""A round of the sandbox's lifecycle: the dead leave nothing, and a live session is never left without an answer."""

from pathlib import Path

import pytest

from tests.chaos.lifecycle import lifecycle


@pytest.mark.docker
class TestALifecycle:
    @pytest.mark.timeout(600)
    @pytest.mark.parametrize("hangs", [False, True], ids=["the engine refuses", "the engine hangs"])
    async def test_has_nothing_but_service_and_typed_errors(
        self, docker_image: str, nats_url: str, tmp_path: Path, hangs: bool
    ) -> None:
        async with lifecycle(nats_url, tmp_path, docker_image) as measured:
            await measured.executor_dies()
            await measured.engine_dies(None, hangs=hangs)
        print(f"\n{measured.times}\n  {dict(measured.told)}")
        assert measured.told.keys() <= {"success", "unknown", "sandbox_unavailable"}
        assert {"success", "sandbox_unavailable"} <= measured.told.keys(), "the control: it was away, and came back"
