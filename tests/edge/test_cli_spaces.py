"""`nas spaces`, `nas spaces derive` and `nas zoo NAME`: what they print, and that nas-search reads what they write."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import nas
from nas.cli.main import main, main_search
from nas.spaces import Genotype


def test_spaces_are_listed_with_size_and_cost_range(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["spaces", "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["hytra"]["size"] == 2_818_103
    costs = rows["nats-size"]["costs"]
    space = nas.load_space("nats-size")
    # Widths grow from choice to choice.
    narrow, wide = (
        space.decode(Genotype((width,), tuple(stage.choices("C")[end] for stage in space.stages)))
        for width, end in ((8, 0), (64, -1))
    )
    assert costs["macs"] == {"min": nas.cost(narrow).macs, "max": nas.cost(wide).macs}
    assert costs["params"] == {"min": nas.cost(narrow).params, "max": nas.cost(wide).params}
    assert main(["spaces"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["name", "networks", "MACs", "params", "pixels", "about"]
    (row,) = [line for line in lines if line.startswith("nats-size")]
    assert "4.48 to 274.40 MMACs" in row
    assert "11.71 to 713.67 K params" in row


def test_a_derived_space_is_searched_as_it_was_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["spaces", "derive", "edgenext_xxs"]) == 0
    written = capsys.readouterr()
    (tmp_path / "my.yaml").write_text(written.out)
    assert "\\n" not in written.out
    assert nas.load_space(tmp_path / "my.yaml").digest == nas.derive_space("edgenext_xxs").digest
    words = ["--space", str(tmp_path / "my.yaml"), "--budget", "200MFLOPs", "--dry-run", "--json"]
    assert main_search(words) == 0
    found = json.loads(capsys.readouterr().out)
    own = nas.cost(nas.load_architecture("edgenext_xxs"))
    assert found["costs"]["macs"]["min"] < 200e6 < own.macs < found["costs"]["macs"]["max"]
    assert 0 < found["fits"] < 1
    assert main(["spaces", str(tmp_path / "my.yaml")]) == 0
    assert capsys.readouterr().out.endswith(f"nas-search --space {tmp_path / 'my.yaml'} --dry-run\n")


def test_a_derived_space_is_told_as_data(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["spaces", "derive", "deit_tiny", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["name"] == "deit_tiny-space"
    assert data["presets"] == ["deit_tiny"]
    assert data["stem_choices"]["width"] == [64, 128, 192, 256]


def test_a_zoo_networks_source_and_published_figures_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["zoo", "levit_256", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["params"] == nas.cost(nas.load_architecture("levit_256")).params
    assert "2104.01136" in row["source"]
    assert main(["zoo", "levit_256"]) == 0
    text = capsys.readouterr().out
    assert "2104.01136" in text
    assert "nas spaces derive levit_256" in text


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["spaces", "derive", "edgenex_xxs"], ["Unknown network 'edgenex_xxs'", "did you mean 'edgenext_xxs'"]),
        (["profile", "edgenex_xxs"], ["did you mean 'edgenext_xxs'"]),
        (["train", "edgenex_xxs"], ["did you mean 'edgenext_xxs'"]),
        (["zoo", "edgenex_xxs"], ["did you mean 'edgenext_xxs'"]),
        (["zoo", "levit_256", "--fits", "1GFLOPs"], ["--fits", "'levit_256'"]),
        (["spaces", "derive"], ["needs a network", "nas zoo"]),
        (["spaces", "derive", "coatnet"], ["coatnet is a search space, not a network"]),
        (["spaces", "derive", "nowhere/a.yaml"], ["No file 'nowhere/a.yaml'"]),
        (["spaces", "coatnet", "levit_256"], ["takes one name", "nas spaces derive levit_256"]),
        (["spaces", "edgenext_xxs"], ["is a network, not a space", "nas spaces derive edgenext_xxs"]),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(
    words: list[str], parts: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.count("\n") == 1
    assert [part for part in parts if part not in told.err] == []
