"""What the tests of killed runs share: one server for all of them, and one run that nobody killed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .kill_cases import Server, small_space_file


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    home = tmp_path_factory.mktemp("home")
    small_space_file(home / "small.yaml")
    server = Server(home)
    yield server
    server.close()


@pytest.fixture(scope="session")
def whole(server: Server) -> Path:
    """A run that nobody interrupted."""
    out = server.home / "whole"
    assert server.do("search", out) == 0
    return out
