"""A user's own method at the command line: its options, its scores, a stopped run of it, and its scores on workers."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import nas
from nas.run import read_run

from .documented import python_blocks

ROOT = Path(nas.__file__).resolve().parents[1]
# That of the page, which can be stopped after so many scores.
MODULE = python_blocks("extending.md")[1].replace(
    "        return random.Random(f",
    """        self.scored = getattr(self, "scored", 0) + 1
        if self.scored > int(os.environ.get("STOP_AFTER", 10**6)):
            raise KeyboardInterrupt
        return random.Random(f""",
)
MODULE = f"import os\n{MODULE}"
SEARCH = shlex.split(
    "--space coatnet-small --budget 5MFLOPs --rivals 0 --data digits --method lucky --luck 5 --trials 8 --finalists 1 "
    "--finalist-epochs 1 --train-resolution 16 --batch-size 64 --threads 1 --device cpu --no-onnx"
)


OWN = "import sys, lucky; sys.exit(lucky.main_search())"


def run(home: Path, *words: str, program: str = OWN, **more: str) -> subprocess.CompletedProcess[str]:
    (home / "lucky.py").write_text(MODULE)
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{home}", "OMP_NUM_THREADS": "1", **more}
    command = [sys.executable, "-c", program, *words]
    return subprocess.run(command, cwd=home, env=environment, capture_output=True, text=True, check=False)


def scores(folder: Path) -> list[tuple[str, float | None]]:
    return [(trial.architecture.digest, trial.score) for trial in read_run(folder).trials()]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def undisturbed(home: Path) -> subprocess.CompletedProcess[str]:
    return run(home, *SEARCH, "--out", "undisturbed", "--json")


def test_its_options_are_shown_checked_and_used(home: Path, undisturbed: subprocess.CompletedProcess[str]) -> None:
    assert "number that scores are sampled by" in run(home, "--help").stdout
    refused = run(home, *SEARCH, "--luck", "100", "--out", "refused")
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert "--luck" in refused.stderr
    assert undisturbed.returncode == 0, undisturbed.stderr
    assert len(json.loads(undisturbed.stdout)["winners"]) == 1
    assert (home / "undisturbed" / "winners" / "1" / "model.py").exists()
    assert len({score for _, score in scores(home / "undisturbed")}) == 8


@pytest.mark.usefixtures("undisturbed")
def test_a_stopped_run_of_it_goes_on_to_the_same_result(home: Path) -> None:
    stopped = run(home, *SEARCH, "--out", "stopped", STOP_AFTER="5")
    assert stopped.returncode == 130, stopped.stderr
    assert len(scores(home / "stopped")) < 8
    assert run(home, "--resume", "stopped").returncode == 0
    assert scores(home / "stopped") == scores(home / "undisturbed")


IMPORTED = "import sys; from nas.cli.main import main_search; sys.exit(main_search())"


@pytest.mark.usefixtures("undisturbed")
def test_a_run_whose_method_was_imported_goes_on_by_its_folder_alone(home: Path) -> None:
    stopped = run(home, *SEARCH, "--import", "lucky.py", "--out", "imported", program=IMPORTED, STOP_AFTER="5")
    assert stopped.returncode == 130, stopped.stderr
    assert "--resume imported" in stopped.stderr
    went_on = run(home, "--resume", "imported", program=IMPORTED)
    assert went_on.returncode == 0, went_on.stderr
    assert scores(home / "imported") == scores(home / "undisturbed")
    page = (home / "imported" / "report.html").read_text()
    assert page.count(f"--import {home / 'lucky.py'}") >= 5, "predict, evaluate, train, profile, repeat"


def test_a_config_may_import_the_method_that_it_names(home: Path) -> None:
    given = "import: [lucky.py]\nmethod: lucky\nluck: 5\nspace: coatnet-small\nbudget: [5MFLOPs]\n"
    (home / "lucky.yaml").write_text(given)
    planned = run(home, "--config", "lucky.yaml", "--dry-run", program=IMPORTED)
    assert planned.returncode == 0, planned.stderr


@pytest.mark.ray
@pytest.mark.usefixtures("undisturbed")
def test_on_a_worker_it_gives_the_scores_it_gives_in_process(home: Path) -> None:
    ran = run(home, *SEARCH, "--workers", "1", "--out", "workers")
    assert ran.returncode == 0, ran.stderr
    assert scores(home / "workers") == scores(home / "undisturbed")
