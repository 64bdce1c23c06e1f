"""An op of one's own in a file (`--import`): searched, exported, rebuilt from the folder, resumed, and on workers."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

import pytest

import nas
from nas.architecture import BlockConfig
from nas.costs.count_table import count_key
from nas.errors import OptionError, RunError
from nas.networks import imported_ops
from nas.networks.imported_ops import import_ops, recorded_imports
from nas.ops import OPS, Shape
from nas.run import read_run

from ..small_space import small_data
from .documented import python_blocks

ROOT = Path(nas.__file__).resolve().parents[1]
OPS_FILE = python_blocks("extending.md")[0]
STOPS = """
import os, sys
from nas.cli.main import main_search
after = int(os.environ["STOP_AFTER"])
if after:
    from nas.run import Run
    append = Run.append
    seen = []
    def stopping(self, event):
        append(self, event)
        seen.append(type(event).__name__)
        if seen.count("TrialScored") >= after:
            raise KeyboardInterrupt
    Run.append = stopping
sys.exit(main_search())
"""
SEARCH = shlex.split(
    "--space s.yaml --budget 60kFLOPs --min-share 0.1 --data digits --method params --searcher random --trials 6 "
    "--finalists 1 --finalist-epochs 1 --train-resolution 8 --batch-size 64 --threads 1 --device cpu --no-onnx "
    "--import my_ops.py"
)


def run(home: Path, *words: str, program: str = STOPS, **more: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "STOP_AFTER": "0", **more}
    command = [sys.executable, "-c", program, *words]
    return subprocess.run(command, cwd=home, env=environment, capture_output=True, text=True, check=False)


def scores(folder: Path) -> list[tuple[str, float | None]]:
    return [(trial.architecture.digest, trial.score) for trial in read_run(folder).trials()]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("home")
    (folder / "my_ops.py").write_text(OPS_FILE)
    data = small_data()
    mixer = {"op": "my_mixer", "width": "$width"}
    convolution = data["layers"]["convolution"]
    convolution["choices"] = {}
    convolution["first"][0]["mixer"], convolution["rest"][0]["mixer"] = {**mixer, "stride": "$stride"}, mixer
    for stage in data["stages"]:
        stage["ops"] = {"C": "convolution"}
    del data["layers"]["transformer"], data["rules"]["op_order"]
    (folder / "s.yaml").write_text(json.dumps(data))
    return folder


@pytest.fixture(scope="module")
def undisturbed(home: Path) -> subprocess.CompletedProcess[str]:
    return run(home, *SEARCH, "--out", "undisturbed")


def test_a_search_exports_what_runs_without_the_file(home: Path, undisturbed: subprocess.CompletedProcess[str]) -> None:
    assert undisturbed.returncode == 0, undisturbed.stderr
    assert f"--import {home}/my_ops.py" in undisturbed.stdout
    winner = home / "undisturbed" / "winners" / "1"
    assert "my_mixer" in (winner / "architecture.yaml").read_text()
    alone = subprocess.run(
        [sys.executable, "-I", "model.py"], cwd=winner, capture_output=True, text=True, check=False, timeout=120
    )
    assert alone.returncode == 0, alone.stderr
    assert alone.stdout.startswith("trained weights")


def test_an_export_of_the_run_imports_what_it_was_made_with(
    home: Path, undisturbed: subprocess.CompletedProcess[str]
) -> None:
    call = "import sys; from nas.cli.main import main; sys.exit(main())"
    exported = run(home, "export", "undisturbed", "--format", "code", program=call)
    assert exported.returncode == 0, exported.stderr
    config = "undisturbed/winners/1/architecture.yaml"
    profiled = run(home, "profile", config, "--json", "--import", "my_ops.py", program=call)
    assert json.loads(profiled.stdout)["params"] > 0


TRAIN = shlex.split("--data digits --epochs 1 --train-resolution 8 --batch-size 64 --threads 1 --device cpu --no-onnx")


def test_a_training_and_its_export_import_what_it_was_made_with(
    home: Path, undisturbed: subprocess.CompletedProcess[str]
) -> None:
    call = "import sys; from nas.cli.main import main; sys.exit(main())"
    config = "undisturbed/winners/1/architecture.yaml"
    unknown = run(home, "train", config, *TRAIN, "--out", "trained", program=call)
    assert unknown.returncode == 2
    assert "Unknown op 'my_mixer'" in unknown.stderr
    assert unknown.stderr.strip().endswith("An op of your own needs --import FILE.")
    trained = run(home, "train", config, *TRAIN, "--out", "trained", "--import", "my_ops.py", "--json", program=call)
    assert trained.returncode == 0, trained.stderr
    again = run(home, "train", config, *TRAIN, "--out", "trained", "--json", program=call)
    assert (again.returncode, again.stdout) == (0, trained.stdout), again.stderr
    exported = run(home, "export", "trained", "--format", "code", program=call)
    assert exported.returncode == 0, exported.stderr
    text = (home / "my_ops.py").read_text()
    (home / "my_ops.py").write_text(text + "# edited\n")
    try:
        changed = run(home, "export", "trained", "--format", "code", program=call)
    finally:
        (home / "my_ops.py").write_text(text)
    assert changed.returncode == 2
    assert f"The training was made with --import {home}/my_ops.py, which has changed since" in changed.stderr


@pytest.mark.usefixtures("undisturbed")
def test_a_stopped_run_goes_on_with_it(home: Path) -> None:
    stopped = run(home, *SEARCH, "--out", "stopped", STOP_AFTER="3")
    assert stopped.returncode == 130, stopped.stderr
    assert len(scores(home / "stopped")) < 6
    went_on = run(home, "--resume", "stopped")
    assert went_on.returncode == 0, went_on.stderr
    assert scores(home / "stopped") == scores(home / "undisturbed")


@pytest.mark.ray
@pytest.mark.usefixtures("undisturbed")
def test_workers_import_it(home: Path) -> None:
    ran = run(home, *SEARCH, "--workers", "1", "--out", "workers")
    assert ran.returncode == 0, ran.stderr
    assert scores(home / "workers") == scores(home / "undisturbed")


# -- the file --------------------------------------------------------------------------------------------------


@pytest.fixture
def clean() -> Generator[None, None, None]:
    """Forgets what a test has imported."""
    ops, files = dict(OPS), dict(imported_ops._files)
    yield
    for name in {*imported_ops._files} - {*files}:
        del sys.modules[name]
    for kept, before in ((OPS, ops), (imported_ops._files, files)):
        kept.clear()
        kept.update(before)


WRONG = {
    "missing": ("a.py", None, "cannot be read: No such file"),
    "broken": ("broken_ops.py", "x = 1\ny = = 2\n", "line 2: SyntaxError"),
    "fails": ("failing_ops.py", "x = 1\nx / 0\n", "line 2: ZeroDivisionError: division by zero"),
    "taken module": ("random.py", "", "'random' cannot be the name of its module"),
    "no identifier": ("my-ops.py", "", "'my-ops' cannot be the name of its module"),
    "taken op": ("taken_ops.py", OPS_FILE.replace("my_mixer", "mbconv"), "there is an op 'mbconv' already"),
}


@pytest.mark.usefixtures("clean")
@pytest.mark.parametrize("case", WRONG.values(), ids=WRONG)
def test_a_file_that_cannot_be_imported_is_refused_and_leaves_nothing(
    case: tuple[str, str | None, str], tmp_path: Path
) -> None:
    name, text, told = case
    if text is not None:
        (tmp_path / name).write_text(text)
    before = dict(OPS)
    with pytest.raises(OptionError, match=r"^--import .*") as refused:
        import_ops(tmp_path / name)
    assert told in str(refused.value)
    assert before == OPS
    assert getattr(sys.modules.get(Path(name).stem), "__file__", None) != str(tmp_path / name)


@pytest.mark.usefixtures("clean")
def test_a_file_that_has_changed_since_the_run_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "changing_ops.py"
    file.write_text(OPS_FILE.replace("my_mixer", "changing_mixer"))
    digest = import_ops(file).digest
    recorded_imports({"imports": {str(file): digest}})
    with pytest.raises(RunError, match="has changed since"):
        recorded_imports({"imports": {str(file): "0" * 16}})
    file.write_text("")
    with pytest.raises(RunError, match="with another text"):
        recorded_imports({"imports": {str(file): digest}})
    file.unlink()
    with pytest.raises(RunError, match="Restore the file"):
        recorded_imports({"imports": {str(file): digest}})


@pytest.mark.usefixtures("clean")
def test_counts_on_disk_are_of_the_text_of_the_file(tmp_path: Path) -> None:
    block, keys = BlockConfig.from_dict({"op": "my_counted", "width": 8}), set[str]()
    for text in (OPS_FILE, OPS_FILE + "\n# edited\n"):
        for known, name in ((imported_ops._files, "counted_ops"), (OPS, "my_counted"), (sys.modules, "counted_ops")):
            known.pop(name, None)
        (tmp_path / "counted_ops.py").write_text(text.replace("my_mixer", "my_counted"))
        import_ops(tmp_path / "counted_ops.py")
        keys.add(count_key(block, Shape(8, 4, 4)))
    assert len(keys) == 2
