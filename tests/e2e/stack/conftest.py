"""Houses in containers: one to look at, and one to stop."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.e2e.stack.house import ComposedHouse, compose_command


@contextmanager
def started() -> Iterator[ComposedHouse]:
    """Start a house for as long as the body runs."""
    if subprocess.run(["docker", "info"], capture_output=True, check=False).returncode:
        pytest.skip("no Docker engine answers")
    compose = compose_command()
    if compose is None:
        pytest.skip("neither `docker compose` nor docker-compose is installed")
    house = ComposedHouse(compose)
    try:
        house.start()
        yield house
    finally:
        house.remove()


@pytest.fixture(scope="module")
def house() -> Iterator[ComposedHouse]:
    """The built images, started through compose and healthy."""
    with started() as house:
        yield house


@pytest.fixture
def another_house() -> Iterator[ComposedHouse]:
    """One that a test may stop."""
    with started() as house:
        yield house
