"""One small Ray for all tests that need one, on this machine's loopback interface."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session")
def ray_here() -> Iterator[None]:
    """Ray runs in this process. Its processes are gone at the end."""
    # As the command line does, before Ray is imported.
    os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    from nas.executors.ray.session import own_ray

    with own_ray(20 * 2**20):
        yield
