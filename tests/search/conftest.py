"""What tests of searches share: a server of runs that are killed, one run that nobody killed, searches cut short."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from nas.export import job
from nas.pipeline import search as loop

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


@pytest.fixture(scope="module")
def own_threads() -> Iterator[None]:
    """Searches set torch's threads for the whole process: they are put back after the tests of a file."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture
def unexported(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests of other things: leaves out writing and checking the winners' folders, and the report's pictures."""
    monkeypatch.setattr(job, "export_winner", lambda *_, **__: {})
    monkeypatch.setattr(loop, "rebuild_report", lambda run: None)
