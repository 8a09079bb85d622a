"""The image with packages for data: what programs draw with them comes back."""

import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import docker
import pytest

from natscope.bus import Bus, BusSettings, connect
from natscope.contracts import tool
from natscope.contracts.blocks import ImageBlock, ToolUseBlock, text_of
from natscope.contracts.contract import new_id
from services.tool_executor.app import app
from services.tool_executor.settings import Settings

TAG = "natscope-sandbox:packages"
BUILD = 'make sandbox-image PACKAGES="numpy pandas matplotlib"'
PROBE = "import importlib.util as u; raise SystemExit(not all(map(u.find_spec, ['numpy', 'pandas', 'matplotlib'])))"

DRAW = """
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

table = pd.DataFrame({"x": np.arange(10), "y": np.arange(10) ** 2})
table.plot(x="x", y="y")
plt.figure()
plt.hist(np.random.default_rng(1).normal(size=1000))
print(int(table.y.sum()))
"""

pytestmark = pytest.mark.docker


@pytest.fixture(scope="session")
def image_with_packages(engine: docker.DockerClient, image: str) -> str:
    """The cells' image as it is now, with the packages of the one that was built with them."""
    if not engine.images.list(TAG):
        pytest.skip(f"its packages come from an index: {BUILD}")
    if subprocess.run(
        ["docker", "run", "--rm", "--network=none", "--entrypoint=python3", TAG, "-c", PROBE], check=False
    ).returncode:
        pytest.skip(f"{TAG} has other packages: {BUILD}")
    recipe = f"FROM {TAG} AS packed\nFROM {image}\nCOPY --from=packed /usr/local/lib /usr/local/lib\n"
    tag = f"{image}-packages"
    built = subprocess.run(
        ["docker", "build", "-q", "-t", tag, "-"], input=recipe.encode(), capture_output=True, check=False
    )
    assert built.returncode == 0, built.stderr
    return tag


@pytest.fixture
async def bus(image_with_packages: str, platform: str, nats_url: str, tmp_path: Path) -> AsyncIterator[Bus]:
    """A guest beside an executor with that image."""
    settings = Settings(
        backend="docker", image=image_with_packages, platform=platform, pool=0, mcp=tmp_path / "none.yaml"
    )
    async with app(settings, bus=BusSettings(url=nats_url)), connect("guest", BusSettings(url=nats_url)) as found:
        yield found


class TestAFigure:
    @pytest.mark.parametrize("stateful", [False, True])
    async def test_comes_back_as_a_picture(self, bus: Bus, stateful: bool) -> None:
        use = ToolUseBlock(id="c", name="execute_python", input={"code": DRAW, "stateful": stateful})
        asked = tool.Call(call_id=new_id(), call=use, session="s")
        result = (await bus.ask(tool.CALL, asked, "execute_python")).result
        assert result.state == "success", text_of(result.output)
        assert "285" in text_of(result.output)
        pictures = [block for block in result.output if isinstance(block, ImageBlock)]
        assert len(pictures) == 2
        for picture in pictures:
            assert picture.source.media_type == "image/png"
            assert (await bus.blobs.bytes_of(picture)).startswith(b"\x89PNG")
