"""`nas rank`: what it hands to the library, and options that would change nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from nas.benchmark import ranking, scorers
from nas.cli.main import main
from nas.errors import OptionError

SPACE = ("--space", "nats-size")


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A table in the current folder, of members of the size space."""
    monkeypatch.chdir(tmp_path)
    rows = "".join(f"{8 * i}:16:24:32:40,0.{i},{i}\n" for i in range(1, 9))
    (tmp_path / "t.csv").write_text("arch,accuracy,good\n" + rows)
    return "t.csv"


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> list[scorers.Settings]:
    """What rankings are asked for; none is carried out."""
    asked: list[scorers.Settings] = []

    def rank(*_: Any, settings: scorers.Settings, **__: Any) -> None:
        asked.append(settings)
        raise OptionError("This is as far as it goes here.")

    monkeypatch.setattr(ranking, "rank", rank)
    return asked


def test_data_that_are_named_are_for_shared_weights_too_and_else_the_run_s_are(
    table: str, settings: list[scorers.Settings]
) -> None:
    words = ["rank", "--truth", table, *SPACE, "--scorer", "supernet", "--supernet", "runs/a"]
    main(words)
    main([*words, "--data", "other.npz"])
    assert [(each.supernet_data, each.data) for each in settings] == [(None, "digits"), ("other.npz", "other.npz")]
