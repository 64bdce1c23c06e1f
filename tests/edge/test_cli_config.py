"""`nas config` and `nas-search --config`: a file gives what the command line does not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from nas.cli.main import main, main_search


def edited(tmp_path: Path, capsys: pytest.CaptureFixture[str], **values: str) -> str:
    """The path of a file that `nas config` wrote, with these values filled in."""
    assert main(["config"]) == 0
    text = capsys.readouterr().out
    for key, value in values.items():
        assert f"\n{key}:\n" in text
        text = text.replace(f"\n{key}:\n", f"\n{key}: {value}\n")
    (tmp_path / "nas.yaml").write_text(text)
    return str(tmp_path / "nas.yaml")


def dry_run(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    assert main_search([*words, "--dry-run", "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_a_search_is_the_same_by_a_file_as_by_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = edited(tmp_path, capsys, space="coatnet-small", budget="5MFLOPs", resolution="64")
    by_words = dry_run(capsys, "--space", "coatnet-small", "--budget", "5MFLOPs", "--resolution", "64")
    assert dry_run(capsys, "--config", path) == by_words


def test_the_command_line_wins(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = edited(tmp_path, capsys, space="coatnet-small", budget="5MFLOPs", resolution="64")
    by_words = dry_run(capsys, "--space", "coatnet-small", "--budget", "9MFLOPs", "--resolution", "64")
    assert dry_run(capsys, "--config", path, "--budget", "9MFLOPs") == by_words
    assert by_words["fits"] != dry_run(capsys, "--config", path)["fits"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("budget: 4.2GFLOPs", "--space is missing"),
        ("space: coatnet", "--budget is missing"),
        ("space: coatnet\nbuget: 4.2GFLOPs", "Unknown key 'buget': did you mean 'budget'?"),
        ("space: coatnet\nbudget: 4.2giraffes", "Unknown unit 'giraffes'"),
    ],
)
def test_a_file_is_checked_like_options(
    text: str, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "nas.yaml").write_text(text)
    assert main_search(["--config", str(tmp_path / "nas.yaml")]) == 2
    out, err = capsys.readouterr()
    assert told in err
    assert (out, err.count("\n")) == ("", 1)


def test_defaults_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["space"], found["min-share"], found["early-stopping"], found["budget"]) == (None, 0.75, True, [])
