"""`nas diff`: two architectures by folder, file or name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nas.cli.main import main
from nas.networks.loading import load_architecture


def winner(path: Path, source: str) -> str:
    path.mkdir(parents=True)
    (path / "architecture.yaml").write_text(load_architecture(source).to_yaml())
    return str(path)


def test_winners_are_compared_by_their_folders(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = winner(tmp_path / "winners/1", "coatnet_0"), winner(tmp_path / "winners/2", "coatnet_1")
    assert main(["diff", first, second]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"A  {first} ({load_architecture('coatnet_0').digest}) at 224x224"
    assert [line.split() for line in lines if "depth" in line] == [
        ["stage", "2", "depth", "3", "6"], ["stage", "3", "depth", "5", "14"],
    ]  # fmt: skip
    assert ["total", "MACs", "4.14", "GMACs", "8.24", "GMACs", "+98.9", "%"] in [line.split() for line in lines]


def test_comparison_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diff", "coatnet_0", "coatnet_1", "--json", "--resolution", "160"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["a"]["name"], found["b"]["resolution"]) == ("coatnet_0", 160)
    assert found["differences"][0] == {"where": "stage 2", "what": "depth", "a": "3", "b": "6"}
    assert found["costs"][0]["metric"] == "macs"


def test_other_resolutions_are_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "b.yaml").write_text(load_architecture("coatnet_0").at_resolution(160).to_yaml())
    assert main(["diff", "coatnet_0", str(tmp_path / "b.yaml")]) == 0
    assert "--resolution 160 counts both alike" in capsys.readouterr().out
    assert main(["diff", "coatnet_0", str(tmp_path / "b.yaml"), "--resolution", "160"]) == 0
    assert "They are the same network." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["coatnet_0"], "required: B"),
        (["coatnet_0", "coatnet_9"], "did you mean 'coatnet_"),
        (["coatnet_0", "coatnet"], "is a search space, not a network"),
        (["coatnet_0", "runs/winners/1"], "No file 'runs/winners/1'"),
    ],
)
def test_what_is_no_network_is_refused(words: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diff", *words]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert told in err
