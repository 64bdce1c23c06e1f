"""`nas-search` around the search itself: what it hands over, what it prints, and how it ends."""

from __future__ import annotations

import errno
import json
import random
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

import nas
from nas.budget import Budget
from nas.cli.main import main, main_search
from nas.data import digits, sources
from nas.errors import SpaceError
from nas.options import SearchOptions
from nas.run import Run
from nas.sampling import dry_run as preview

SPACE = SimpleNamespace(name="coatnet", input=SimpleNamespace(resolution=224), head={"num_classes": 1000})
MAIN_JOB = ["--space", "coatnet", "--budget", "4.2GFLOPs"]
FOUND: dict[str, Any] = {
    "name": "coatnet",
    "digest": "0123456789abcdef",
    "size": 1000,
    "costs": {
        "macs": {"min": 500_000_000, "median": 5_000_000_000, "max": 16_000_000_000},
        "params": {"min": 2_000_000, "median": 30_000_000, "max": 80_000_000},
    },
    "fits": 0.25,
    "layouts": {"CCAA": {"size": 900, "fits": 0.2}, "CCCC": {"size": 100, "fits": 0.7}},
    "exact": True,
}


@dataclass(frozen=True)
class Winner:
    rank: int
    path: Path
    digest: str
    macs: int
    params: int
    score: float
    test_accuracy: float | None
    validation_accuracy: float | None = 0.96
    validation_error: float | None = 0.01
    on_front: bool = True
    chosen_by: str = "score"
    latency_s: float | None = None
    setting: str = ""
    peak_memory_bytes: int | None = None


@dataclass(frozen=True)
class Result:
    run: Path
    ranking: dict[str, Any]
    winners: list[Winner]
    score_name: str = "predicted accuracy after 3 epochs"
    accuracy: str = "accuracy"
    objectives: tuple[str, ...] = ("macs",)
    data: str = "photos"
    seed: int = 0
    parent: str = ""


@dataclass(frozen=True)
class DryRun:
    name: str
    digest: str
    size: int
    costs: dict[str, dict[str, int]]
    fits: float
    layouts: dict[str, dict[str, float]]
    exact: bool


RANKING = {
    "n": 8,
    "verdict": "the score tells more than size does",
    "score": {"spearman": 0.8, "kendall": 0.6, "low": 0.3, "high": 0.95},
    "params": {"spearman": 0.1, "kendall": 0.1, "low": -0.5, "high": 0.6},
    "macs": None,
}


def result(run: Path) -> Result:
    path = run / "winners/1"
    return Result(run, RANKING, [Winner(1, path, "aa", 4_100_000_000, 24_000_000, float("nan"), 0.9722)])


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Puts functions in the place of the library's, so that no test here waits for torch."""
    loading = ModuleType("nas.networks.loading")
    loading.load_space = lambda source: SPACE  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "nas.networks.loading", loading)

    def put(**functions: Callable[..., object]) -> None:
        for name in ("nas.pipeline.search", "nas.sampling.dry_run"):
            module = ModuleType(name)
            vars(module).update(functions)
            monkeypatch.setitem(sys.modules, name, module)

    return put


def test_search_is_handed_the_options_and_the_budgets(stub: Callable[..., None], tmp_path: Path) -> None:
    calls: list[dict[str, Any]] = []

    def search(space: object, **given: Any) -> Result:
        calls.append({"space": space, **given})
        return result(tmp_path)

    stub(search=search)
    out = str(tmp_path / "a")
    words = ["--data", "x.npz", "--out", out, "--trials", "9", "--min-share", "0.5", "--no-onnx", "--workers", "0"]
    assert main_search([*MAIN_JOB, "--budget", "25Mparams", *words, "--quiet"]) == 0
    [call] = calls
    assert call["space"] is SPACE
    assert call["budgets"] == (Budget.parse("4.2GFLOPs"), Budget.parse("25Mparams"))
    assert call["data"] == "x.npz"
    assert call["options"] == SearchOptions.of(
        space="coatnet",
        budgets=("4.2GFLOPs", "25Mparams"),
        data="x.npz",
        out=out,
        trials=9,
        min_share=0.5,
        onnx=False,
        workers=0,
    )
    assert call["backend"] is None


def test_fresh_run_folder_is_chosen_before_the_search(
    stub: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    outs: list[str | None] = []

    def search(space: object, *, options: SearchOptions, **rest: Any) -> Result:
        outs.append(options.out)
        return result(tmp_path)

    stub(search=search)
    assert main(["search", *MAIN_JOB]) == 0
    assert outs[0] is not None
    assert outs[0].startswith("runs/coatnet-")


def test_json_result_is_one_document_on_standard_output(
    stub: Callable[..., None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def search(space: object, *, progress: Any, **rest: Any) -> Result:
        progress.start("search", 2, "networks")
        progress.note("by the way")
        progress.advance(2, best=0.5)
        progress.finish()
        return result(tmp_path)

    stub(search=search)
    assert main_search([*MAIN_JOB, "--json"]) == 0
    out, err = capsys.readouterr()
    document = json.loads(out)
    assert document["run"] == str(tmp_path)
    assert document["ranking"] == RANKING
    assert document["winners"] == [
        {
            "rank": 1,
            "path": str(tmp_path / "winners/1"),
            "digest": "aa",
            "macs": 4_100_000_000,
            "params": 24_000_000,
            "score": None,
            "validation_accuracy": 0.96,
            "validation_error": 0.01,
            "test_accuracy": 0.9722,
            "on_front": True,
            "chosen_by": "score",
            "latency_s": None,
            "setting": "",
            "peak_memory_bytes": None,
        }
    ]
    assert "by the way" in err
    assert "2 networks" in err


def test_result_for_people_tells_winners_ranking_and_what_next(
    stub: Callable[..., None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stub(search=lambda space, **rest: result(tmp_path))
    assert main_search(MAIN_JOB) == 0
    out = capsys.readouterr().out
    names = ("rank", "validation accuracy", "predicted accuracy after 3 epochs", "chosen by", "1*", "0.9600 ± 0.0100")
    for told in (*names, "0.9722", "4.10 GMACs", "24.00 M params", "what papers call FLOPs", "+0.80 [+0.30, +0.95]"):
        assert told in out
    assert f"python {tmp_path}/winners/1/model.py" in out
    assert "the score tells more than size does" in out


def test_resume_goes_on_with_the_run(
    stub: Callable[..., None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Run.create(tmp_path / "a", {"options": {"space": "coatnet"}}).close()
    resumed: list[Path] = []

    def resume(path: Path, *, progress: object, backend: object) -> Result:
        assert backend is None
        resumed.append(path)
        return result(path)

    stub(resume=resume)
    assert main_search(["--resume", str(tmp_path / "a"), "--json"]) == 0
    assert resumed == [tmp_path / "a"]
    assert json.loads(capsys.readouterr().out)["run"] == str(tmp_path / "a")


def test_interruption_tells_how_to_go_on(
    stub: Callable[..., None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "a run"

    def search(space: object, *, progress: Any, **rest: Any) -> Result:
        Run.create(run, {}).close()
        progress.start("search", 9, "networks")
        raise KeyboardInterrupt

    stub(search=search)
    assert main_search([*MAIN_JOB, "--out", str(run)]) == 130
    assert capsys.readouterr().err.endswith(f"Interrupted. To go on: nas-search --resume '{run}'\n")


def test_interruption_before_anything_was_recorded_promises_nothing(
    stub: Callable[..., None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def search(space: object, **rest: Any) -> Result:
        raise KeyboardInterrupt

    stub(search=search)
    assert main_search([*MAIN_JOB, "--out", str(tmp_path / "a"), "--quiet"]) == 130
    said = "Interrupted before anything was recorded. Start it again with the same command.\n"
    assert capsys.readouterr().err == said


def test_error_of_several_lines_is_told_on_one(stub: Callable[..., None], capsys: pytest.CaptureFixture[str]) -> None:
    def search(space: object, **rest: Any) -> Result:
        raise SpaceError("a\n  b")

    stub(search=search)
    assert main_search([*MAIN_JOB, "--quiet"]) == 2
    assert capsys.readouterr().err == "a b\n"


def test_full_disk_is_told_in_one_line(stub: Callable[..., None], capsys: pytest.CaptureFixture[str]) -> None:
    def search(space: object, **rest: Any) -> Result:
        raise OSError(errno.ENOSPC, "No space left on device", "runs/a/x")

    stub(search=search)
    assert main_search([*MAIN_JOB, "--quiet"]) == 2
    assert capsys.readouterr().err == "No space left on device: runs/a/x.\n"


def test_fault_of_ours_is_not_dressed_up_as_the_users(stub: Callable[..., None]) -> None:
    def search(space: object, **rest: Any) -> Result:
        raise ZeroDivisionError

    stub(search=search)
    with pytest.raises(ZeroDivisionError):
        main_search([*MAIN_JOB, "--quiet"])


# -- dry run -----------------------------------------------------------------------------------------------


def dry(stub: Callable[..., None], **changes: Any) -> None:
    def dry_run(space: object, budgets: object, options: SearchOptions, rng: random.Random) -> DryRun:
        assert isinstance(rng, random.Random)
        return DryRun(**{**FOUND, **changes})

    stub(dry_run=dry_run)


def test_dry_run_document_has_space_costs_and_fits(
    stub: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    dry(stub)
    assert main_search([*MAIN_JOB, "--dry-run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "space": {"name": "coatnet", "digest": "0123456789abcdef", "size": 1000},
        "costs": FOUND["costs"],
        "fits": 0.25,
        "layouts": FOUND["layouts"],
        "exact": True,
        "data": None,
        "plan": None,
    }


def test_dry_run_for_people(stub: Callable[..., None], capsys: pytest.CaptureFixture[str]) -> None:
    dry(stub)
    assert main_search([*MAIN_JOB, "--dry-run"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert "multiply-adds 500.00 MMACs 5.00 GMACs 16.00 GMACs" in lines
    assert "CCAA 900 90.0 % 20.0 %" in lines
    assert "4.2GFLOPs: 25.0 % of the space fits" in lines
    assert "estimated" not in " ".join(lines)
    dry(stub, exact=False)
    assert main_search([*MAIN_JOB, "--dry-run"]) == 0
    assert "Medians and shares that fit are estimated from samples" in capsys.readouterr().out


def test_dry_run_counts_with_the_classes_and_channels_of_the_data(capsys: pytest.CaptureFixture[str]) -> None:
    assert main_search(["--space", "coatnet-small", "--data", "digits", "--dry-run", "--json"]) == 0
    asked = json.loads(capsys.readouterr().out)
    assert main_search(["--space", "coatnet-small", "--data", "digits", "--dry-run"]) == 0
    assert "at 32 x 32 pixels, 10 classes: " in capsys.readouterr().out
    adapted = nas.load_space("coatnet-small").adapted(channels=1, num_classes=10)
    assert asked["space"]["digest"] == adapted.digest
    assert asked["costs"] == preview.dry_run(adapted, []).costs


def test_dry_run_counts_with_the_classes_and_channels_of_the_supernet_s_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Run.create(tmp_path / "a", {"options": {"space": "coatnet-small", "data": "digits"}}).close()
    found: list[str] = []
    for words in (["--data", "digits"], ["--supernet", str(tmp_path / "a")], []):
        assert main_search(["--space", "coatnet-small", *words, "--dry-run", "--json"]) == 0
        found.append(capsys.readouterr().out)
    assert found[0] == found[1] != found[2]


def test_dry_run_with_data_says_what_the_search_would_do_and_for_how_long(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--space", "coatnet-small", "--budget", "3MFLOPs", "--data", "digits", "--train-resolution", "16"]
    words += ["--finalists", "2", "--finalist-epochs", "1", "--method", "params", "--trials", "7", "--dry-run"]
    words += ["--rivals", "0"]
    assert main_search([*words, "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)["plan"]
    assert (plan["finalists"], plan["finalist_epochs"], plan["trials"]) == (2, 1, 7)
    assert main_search(words) == 0
    assert "search: 7 networks; finalists: 2 x 1 epoch; cpu" in capsys.readouterr().out


def test_dry_run_opens_the_data_once(monkeypatch: pytest.MonkeyPatch) -> None:
    opened = []

    def open_digits(**given: Any) -> Any:
        opened.append(given)
        return digits.open_digits(**given)

    monkeypatch.setattr(sources, "open_digits", open_digits)
    words = ["--space", "coatnet-small", "--budget", "3MFLOPs", "--data", "digits", "--train-resolution", "16"]
    words += ["--rivals", "0"]
    assert main_search([*words, "--finalists", "2", "--finalist-epochs", "1", "--method", "params", "--dry-run"]) == 0
    assert len(opened) == 1


def test_dry_run_refuses_data_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert main_search(["--space", "coatnet-small", "--data", "nowhere", "--dry-run"]) == 2
    assert capsys.readouterr().err.startswith("There is no data at 'nowhere'")


def test_dry_run_needs_no_budget(stub: Callable[..., None], capsys: pytest.CaptureFixture[str]) -> None:
    dry(stub, fits=1.0)
    assert main_search(["--space", "coatnet", "--dry-run"]) == 0
    assert "fits" not in capsys.readouterr().out


def test_dry_run_refuses_a_budget_below_the_smallest_network(
    stub: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    dry(stub, fits=0.0)
    assert main_search(["--space", "coatnet", "--budget", "0.1GFLOPs", "--dry-run", "--json"]) == 2
    out, err = capsys.readouterr()
    assert json.loads(out)["fits"] == 0.0
    assert err.startswith("No coatnet network fits 100MFLOPs: the smallest needs 500.00 MMACs. Raise --budget")
    assert err.count("\n") == 1


def test_dry_run_warns_of_a_budget_above_the_largest_network(
    stub: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    dry(stub, fits=1.0)
    assert main_search(["--space", "coatnet", "--budget", "90GFLOPs", "--dry-run"]) == 0
    assert capsys.readouterr().err.startswith("Warning: 90GFLOPs is above the largest coatnet network (16.00 GMACs)")


def test_dry_run_refuses_a_memory_budget_as_a_search_does(capsys: pytest.CaptureFixture[str]) -> None:
    assert main_search(["--space", "coatnet-small", "--budget", "10KB", "--dry-run"]) == 2
    out, err = capsys.readouterr()
    assert "Of memory, smallest and largest are those of sampled networks too." in out
    assert "exact" not in out or "smallest and largest of the others are exact" in out
    assert err.startswith("No coatnet-small network fits 10KB: the smallest has 25.84 K params, which are 103")
    assert err.count("\n") == 1
