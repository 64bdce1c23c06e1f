"""A real, tiny search in a space with a choice per layer, from its file to the report."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import nas
from nas.run import read_run
from nas.run.events import UpdateCounts
from nas.strict_yaml import dump_yaml

from ..layered_space import layered_data


def test_a_space_with_a_choice_per_layer_is_searched_from_its_file_to_the_report(tmp_path: Path) -> None:
    data = {**layered_data("fabric"), "name": "woven"}
    file, out = tmp_path / "woven.yaml", tmp_path / "run"
    file.write_text(dump_yaml(data))
    options = (
        "--budget 15KFLOPs --min-share 0.3 --data digits --epochs 1 --trials 6 --finalists 1 --finalist-epochs 1 "
        "--strategy single-path --threads 1 --device cpu --batch-size 128 --no-onnx --json"
    )
    command = [sys.executable, "-m", "nas.cli.main", "search", "--space", str(file), *options.split()]
    dry = subprocess.run([*command, "--dry-run"], capture_output=True, text=True, check=True)
    assert json.loads(dry.stdout)["space"]["size"] == 96
    done = subprocess.run([*command, "--out", str(out)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    space, run = nas.load_space(file), read_run(out)
    trials = run.trials()
    assert len({trial.architecture for trial in trials}) == 6
    for trial in trials:
        assert trial.status == "complete"
        assert trial.cost.macs <= 15_000
        assert trial.layout == space.layout(space.encode(trial.architecture))
        assert len(trial.layout.replace("-", "")) == 3
    winner = json.loads(done.stdout)["winners"][0]
    layout = next(t.layout for t in trials if t.architecture.digest == _digest(Path(winner["path"])))
    assert layout in (out / "report.html").read_text()
    updates = run.events(UpdateCounts)[0].counts
    assert {name.split()[1] for name in updates} <= {"1", "2", "3"}
    assert sum(updates.values()) >= 12


def _digest(folder: Path) -> str:
    return nas.load_architecture(folder / "architecture.yaml").digest
