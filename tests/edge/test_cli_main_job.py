"""The commands as a person runs them, on a real tiny search: what they write where, and how they end."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shlex
import signal
import subprocess
import sys
from contextlib import chdir, redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import nas
from nas.cli.main import main
from nas.cli.results import result_lines
from nas.run import read_run
from nas.run.events import FinalistEpoch, PhaseInterrupted, SupernetEpoch

ROOT = Path(nas.__file__).resolve().parents[1]
PROGRAMS = {
    name: [sys.executable, "-c", f"import sys; from nas.cli.main import {function}; sys.exit({function}())"]
    for name, function in (("nas", "main"), ("nas-search", "main_search"))
}
QUICK = shlex.split("--train-resolution 16 --batch-size 64 --threads 1 --device cpu --no-onnx")
SEARCH = shlex.split(
    "--space coatnet-small --budget 5MFLOPs --data digits --trials 4 --finalists 2 --finalist-epochs 1 --epochs 2 "
    "--strategy single-path --shards 2 --rivals 0"
)
SEARCH += QUICK


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}


def run(program: str, *words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [*PROGRAMS[program], *words]
    return subprocess.run(command, cwd=cwd, env=environment(), capture_output=True, text=True, check=False)


def here(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Runs a command of `nas` in this process, which has imported torch already."""
    out, err = io.StringIO(), io.StringIO()
    with chdir(cwd), redirect_stdout(out), redirect_stderr(err):
        status = main(words)
    return subprocess.CompletedProcess(words, status, out.getvalue(), err.getvalue())


def document(ran: subprocess.CompletedProcess[str]) -> Any:
    """The one JSON document on standard output of a command that went well."""
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def searched(home: Path) -> subprocess.CompletedProcess[str]:
    return run("nas-search", *SEARCH, "--out", "runs/a", "--json", cwd=home)


@pytest.fixture(scope="module")
def config(home: Path, searched: subprocess.CompletedProcess[str]) -> Path:
    return home / document(searched)["winners"][0]["path"] / "architecture.yaml"


def test_a_search_puts_one_json_document_on_standard_output(
    home: Path, searched: subprocess.CompletedProcess[str]
) -> None:
    found = document(searched)
    assert set(found) == {"run", "ranking", "winners"}
    assert found["run"] == "runs/a"
    assert {"n", "verdict", "score", "params", "macs"} == set(found["ranking"])
    assert found["winners"]
    for rank, winner in enumerate(found["winners"], start=1):
        assert {"rank", "path", "macs", "params", "score", "test_accuracy"} <= set(winner)
        assert winner["rank"] == rank
        assert (home / winner["path"] / "model.py").is_file()
        assert isinstance(winner["macs"], int)
        assert 0.75 * 5e6 <= winner["macs"] <= 5e6
        assert isinstance(winner["params"], int)
    for phase in ("supernet", "search", "finalist 1 of 2", "export"):
        assert phase in searched.stderr
    assert "Traceback" not in searched.stderr


@pytest.mark.ray
def test_workers_find_the_same_trials_and_leave_no_process(
    home: Path, searched: subprocess.CompletedProcess[str]
) -> None:
    ran = run("nas-search", *SEARCH, "--workers", "2", "--out", "runs/w", "--json", cwd=home)
    assert document(ran)["run"] == "runs/w"
    document(searched)
    assert trials(home / "runs/w") == trials(home / "runs/a")
    assert "Traceback" not in ran.stderr
    assert "raylet" not in ran.stderr
    assert "ray log level" not in ran.stderr
    record = read_run(home / "runs/w")
    assert record.manifest["workers"] == {"workers": 2, "ray": "this machine"}
    assert record.manifest["plan"]["job_threads"] == 1
    epochs = record.events(FinalistEpoch)
    assert [event.epoch for event in epochs] == [1, 1]
    assert all(event.validation_accuracy is not None and 0 <= event.validation_accuracy <= 1 for event in epochs)
    assert orphans() == []


def orphans() -> list[str]:
    """Processes of a Ray whose owner is gone; the folder that they were started with names it."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            command = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
            owner = re.search(r"/nas-ray-(\d+)-", command)
            if owner is not None and not Path(f"/proc/{owner[1]}").exists():
                found.append(command)
    return found


def trials(run: Path) -> list[dict[str, str]]:
    """The rows of a table of trials, without what tells the time."""
    with (run / "trials.csv").open() as file:
        return [{name: value for name, value in row.items() if name != "seconds"} for row in csv.DictReader(file)]


def test_a_winner_is_profiled(home: Path, config: Path, searched: subprocess.CompletedProcess[str]) -> None:
    found = document(here("profile", str(config), "--json", cwd=home))
    winner = document(searched)["winners"][0]
    assert (found["macs"], found["params"]) == (winner["macs"], winner["params"])
    assert sum(stage["macs"] for stage in found["stages"]) == found["macs"]
    assert sum(stage["params"] for stage in found["stages"]) == found["params"]


def test_a_winner_is_trained_from_scratch_and_from_its_weights(home: Path, config: Path) -> None:
    words = ["train", str(config), "--data", "digits", "--epochs", "1", *QUICK]
    fresh = here(*words, "--out", "runs/fresh", cwd=home)
    assert fresh.returncode == 0, fresh.stderr
    told = dict(re.split(r"\s{2,}", line) for line in fresh.stdout.splitlines())
    assert told["epochs"] == "1"
    weights = str(config.with_name("weights.safetensors"))
    again = document(here(*words, "--weights", weights, "--out", "runs/again", "--json", cwd=home))
    assert again["search_validation_accuracy"] > float(told["validation accuracy"])
    for out in ("fresh", "again"):
        names = {path.name for path in (home / "runs" / out / "network").iterdir()}
        assert {"architecture.yaml", "model.py", "weights.safetensors", "card.md"} <= names
        assert json.loads((home / "runs" / out / "training.json").read_text())["format"] == 1
        evaluated = document(here("evaluate", f"runs/{out}", "--data", "digits", "--json", cwd=home))
        known = json.loads((home / "runs" / out / "training.json").read_text())
        assert evaluated["accuracy"] == pytest.approx(known["test_accuracy"])
        assert evaluated["split"] == "test split of digits, split off its training images by seed 0 as in training"
    exported = document(here("export", "runs/fresh", "--format", "config", "--json", cwd=home))
    assert exported["files"] == ["architecture.yaml", "preprocessing.json", "card.md"]
    assert {path.name for path in (home / exported["path"]).iterdir()} == set(exported["files"])
    none = here("export", "runs/fresh", "--rank", "2", cwd=home)
    assert (none.returncode, none.stdout) == (2, "")
    assert "holds the one network of a nas train" in none.stderr
    resumed = here(*words, "--out", "runs/fresh", cwd=home)
    assert resumed.returncode == 0, "the folder with its export is still a training's"
    trained = nas.load_architecture(home / "runs" / "fresh" / "network" / "architecture.yaml")
    assert trained == nas.load_architecture(config)


def test_a_winner_predicts_files_as_its_code_does(home: Path, config: Path) -> None:
    winner, photos = str(config.parent.relative_to(home)), home / "photos"
    photos.mkdir()
    for i in range(3):
        Image.effect_noise((40, 30), 90).save(photos / f"{i}.png")
    (photos / "torn.png").write_bytes((photos / "0.png").read_bytes()[:200])
    ran = run("nas", "predict", winner, "photos", "photos/*.png", cwd=home)
    assert ran.returncode == 2
    assert ran.stderr.splitlines()[-1].startswith("1 of 4 images cannot be read: photos/torn.png (")
    names = [f"photos/{i}.png" for i in range(3)]
    assert [line.split(": ")[0] for line in ran.stdout.splitlines()] == names
    code = subprocess.run(
        [sys.executable, f"{winner}/model.py", *names], cwd=home, capture_output=True, text=True, check=True
    )
    assert code.stdout == ran.stdout
    found = json.loads(here("predict", winner, "photos", "--top", "2", "--json", cwd=home).stdout)
    assert [each["path"] for each in found["predictions"]] == names
    assert [each["path"] for each in found["unreadable"]] == ["photos/torn.png"]
    assert [len(each["classes"]) for each in found["predictions"]] == [2, 2, 2]


def test_a_winner_is_evaluated(home: Path, config: Path, searched: subprocess.CompletedProcess[str]) -> None:
    winner = document(searched)["winners"][0]
    ran = here("evaluate", winner["path"], "--data", "digits", cwd=home)
    assert ran.returncode == 0, ran.stderr
    assert f"accuracy                    {winner['test_accuracy']:.4f} ± " in ran.stdout
    written = [home / line for line in ran.stdout.splitlines()[-4:]]
    assert [path.name for path in written] == ["confusion.png", "confusion.csv", "classes.csv", "evaluation.json"]
    assert all(path.stat().st_size for path in written)
    other = here("evaluate", winner["path"], "--data", "nowhere", "--out", "runs/e", cwd=home)
    assert (other.returncode, other.stdout) == (2, "")
    assert not (home / "runs/e").exists()


def test_weights_of_nothing_known_are_refused(home: Path, config: Path) -> None:
    ran = here("train", str(config), "--weights", str(config), *QUICK, "--out", "runs/none", cwd=home)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert "Give a .safetensors file." in ran.stderr.splitlines()[-1]


def test_a_winner_is_exported_again(home: Path, config: Path) -> None:
    found = document(here("export", "runs/a", "--format", "onnx", "--format", "code", "--json", cwd=home))
    assert (found["run"], found["rank"], found["path"]) == ("runs/a", 1, "runs/a/exports/1")
    names = {path.name for path in (home / "runs/a/exports/1").iterdir()}
    assert names == set(found["files"]) == {"model.py", "model.onnx", "preprocessing.json", "card.md"}
    assert found["onnx_error"] < 1e-4
    assert config.is_file()
    none = here("export", "runs/a", "--rank", "7", cwd=home)
    assert (none.returncode, none.stdout) == (2, "")
    assert "--rank 7" in none.stderr


def test_a_report_is_written_again(home: Path, searched: subprocess.CompletedProcess[str]) -> None:
    folder = home / document(searched)["run"]
    (folder / "report.html").unlink()
    ran = here("report", "runs/a", cwd=home)
    assert ran.returncode == 0, ran.stderr
    assert "runs/a/report.html" in ran.stdout.split()
    assert (folder / "report.html").is_file()


def test_an_impossible_budget_is_told_in_one_line(home: Path) -> None:
    ran = run("nas-search", "--space", "coatnet-small", "--budget", "0.01MFLOPs", "--out", "runs/none", cwd=home)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert re.fullmatch(r"No coatnet-small network fits .*: the smallest needs .*\. Raise --budget.*\n", ran.stderr)
    assert not (home / "runs/none").exists()


def test_an_interrupted_search_says_how_to_go_on_and_does(home: Path) -> None:
    words = [*SEARCH, "--epochs", "3", "--finalists", "1", "--out", "runs/my search", "--json"]
    command = [*PROGRAMS["nas-search"], *words]
    # A suite that was itself started in the background hands on that interrupts are ignored.
    with subprocess.Popen(
        command,
        cwd=home,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("Supernet, epoch 1 of 3"):
                process.send_signal(signal.SIGINT)
                break
        rest = process.stderr.read()
        assert process.stdout.read() == ""
    assert process.returncode == 130
    assert "Traceback" not in rest
    told = rest.splitlines()[-1]
    assert told == "Interrupted. To go on: nas-search --resume 'runs/my search'"
    resume = shlex.split(told.partition("nas-search ")[2])
    found = document(run("nas-search", *resume, "--json", cwd=home))
    assert found["run"] == "runs/my search"
    assert len(found["winners"]) >= 1
    record = read_run(home / "runs/my search")
    assert [event.phase for event in record.events(PhaseInterrupted)] == ["supernet"]
    assert [event.epoch for event in record.events(SupernetEpoch)] == [1, 2, 3]
    assert len(record.trials()) == 4


def test_a_ranking_of_few_networks_is_printed_without_intervals() -> None:
    few = {"spearman": 1.0, "kendall": 1.0, "low": None, "high": None}
    ranking = {"n": 3, "verdict": "too few to judge", "score": few, "params": few, "macs": None}
    lines = result_lines("run", ranking, [], score_name="predicted accuracy after 2 epochs")
    shown = "Spearman with trained accuracy: score +1.00, params +1.00; too few to judge"
    assert f"Ranking of 3 trained networks: {shown}" in lines
    assert "predicted accuracy after 2 epochs" in lines[1]
    many = {**ranking, "n": 8, "score": {**few, "low": 0.5, "high": 1.0}}
    assert any("score +1.00 [+0.50, +1.00]" in line for line in result_lines("run", many, []))


@pytest.mark.parametrize(
    ("parent", "training"),
    [
        ("", "nas train runs/a/winners/1/architecture.yaml --data 'my photos'"),
        (
            "The parent reaches 0.9",
            "nas train runs/a/winners/1/architecture.yaml --data 'my photos' --weights "
            "runs/a/winners/1/weights.safetensors --recipe finetune",
        ),
    ],
)
def test_the_next_commands_name_the_data_and_go_on_from_weights_of_a_parent(parent: str, training: str) -> None:
    winner = {
        "rank": 1, "on_front": True, "validation_accuracy": 0.9, "validation_error": 0.01, "test_accuracy": 0.9,
        "score": None, "chosen_by": "score", "macs": 1, "params": 1, "latency_s": None, "peak_memory_bytes": None,
        "setting": "", "path": "runs/a/winners/1",
    }  # fmt: skip
    below = str(Path.cwd() / "my photos")
    lines = result_lines("runs/a", {}, [winner], parent=parent, data=below)
    assert lines == result_lines("runs/a", {}, [winner], parent=parent, data="my photos")
    assert any("--data /elsewhere" in line for line in result_lines("runs/a", {}, [winner], data="/elsewhere"))
    assert "Evaluate it  nas evaluate runs/a/winners/1 --data 'my photos'" in lines
    assert f"Train it     {training}" in lines
    seeded = result_lines("runs/a", {}, [winner], parent=parent, data=below, seed=7)
    assert f"Train it     {training}{' --seed 7' * bool(parent)}" in seeded
