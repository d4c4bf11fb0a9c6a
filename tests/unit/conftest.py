"""What the unit tests share."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from functools import cache

import pytest
from hypothesis import settings

from tests.fakes.aws.s3 import FakeS3
from tests.fakes.lineage.marquez import FakeMarquez, serve
from tests.fakes.pulumi_mocks import MODES, Deployment, deploy

settings.register_profile("untimed", deadline=None)  # a busy machine is no failure
settings.load_profile("untimed")


def pytest_collection_finish() -> None:
    """A quarter of the time went into going through all that was imported, again and again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


@pytest.fixture(scope="session")
def deployed() -> Callable[[str], Deployment]:
    """The whole program in one mode, run once; not to be changed."""
    return cache(deploy)


@pytest.fixture(scope="session", params=MODES)
def in_each_mode(request: pytest.FixtureRequest, deployed: Callable[[str], Deployment]) -> Deployment:
    """The whole program, once per mode."""
    return deployed(request.param)


@pytest.fixture
def s3() -> FakeS3:
    return FakeS3(page_size=3)


@pytest.fixture
def marquez() -> Iterator[FakeMarquez]:
    fake = FakeMarquez()
    server = serve(fake)
    yield fake
    server.shutdown()
    server.server_close()
