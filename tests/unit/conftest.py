"""What the unit tests share."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import pytest

from tests.unit.mocks import MODES, Deployment, deploy


@pytest.fixture(scope="session")
def deployed() -> Callable[[str], Deployment]:
    """The whole program in one mode, run once; not to be changed."""
    return cache(deploy)


@pytest.fixture(scope="session", params=MODES)
def in_each_mode(request: pytest.FixtureRequest, deployed: Callable[[str], Deployment]) -> Deployment:
    """The whole program, once per mode."""
    return deployed(request.param)
