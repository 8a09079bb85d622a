"""Every backend in turn, with one cell for all tests of a module: each must leave it usable."""

import uuid
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

import pytest
import pytest_asyncio

from services.tool_executor.backends import choose_backend
from services.tool_executor.cells import Backend, Cell
from services.tool_executor.monty_cells import MontyCells
from services.tool_executor.settings import Settings

WALLED = [pytest.param("docker", marks=pytest.mark.docker), "bubblewrap"]


@asynccontextmanager
async def _chosen(request: pytest.FixtureRequest) -> AsyncGenerator[Backend]:
    if request.param == "monty":
        backend: Backend = MontyCells(memory_bytes=256 << 20)
    else:
        settings = Settings(backend=request.param, platform=f"test-{uuid.uuid4().hex[:8]}")
        if request.param == "docker":
            settings = settings.model_copy(update={"image": request.getfixturevalue("image")})
        backend = await choose_backend(settings, instance=f"instance-{uuid.uuid4().hex}")
    assert backend.name == request.param
    try:
        yield backend
    finally:
        await backend.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=[*WALLED, "monty"])
async def backend(request: pytest.FixtureRequest) -> AsyncIterator[Backend]:
    """Each backend."""
    async with _chosen(request) as chosen:
        yield chosen


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cell(backend: Backend) -> Cell:
    """One cell for a whole module."""
    return await backend.open_cell("conformance")


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=WALLED)
async def walled(request: pytest.FixtureRequest) -> AsyncIterator[Cell]:
    """The same of each backend that has a whole Python, a shell and files."""
    async with _chosen(request) as chosen:
        yield await chosen.open_cell("conformance")


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=WALLED)
async def fresh(request: pytest.FixtureRequest) -> AsyncIterator[Cell]:
    """One that a single test finds as it was made."""
    async with _chosen(request) as chosen:
        yield await chosen.open_cell("conformance")
