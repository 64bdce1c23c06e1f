"""Block-wise searches from data to winners: what is proposed, and what a stop costs."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

import nas
from nas.architecture import Architecture
from nas.errors import OptionError, RunError
from nas.methods.blockwise.method import ORIGIN, PRESET, budget_blocks
from nas.methods.blockwise.options import SEQUENTIAL, SIDE_BY_SIDE
from nas.options import SearchOptions
from nas.run import RunRecord, read_run
from nas.run.events import CellScored, FinalistTrained, WinnerExported
from nas.sampling.budget_sampler import BudgetSampler

from .block_cases import BUDGET, OPTIONS, StopAt, Stopped, cells, facts, few_images, run_search, space

STRATEGIES = (SIDE_BY_SIDE, SEQUENTIAL)


pytestmark = pytest.mark.usefixtures("own_threads")


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> str:
    return few_images(tmp_path_factory.mktemp("data") / "few.npz")


@pytest.fixture(scope="module", params=STRATEGIES)
def done(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, images: str
) -> tuple[str, RunRecord]:
    out = tmp_path_factory.mktemp("block") / "run"
    return request.param, run_search(out, images, strategy=request.param)


def test_the_best_sums_are_proposed_in_order_within_the_budget(done: tuple[str, RunRecord]) -> None:
    strategy, run = done
    trials = run.trials()
    assert 1 <= len(trials) <= 8
    assert len({trial.architecture for trial in trials}) == len(trials)
    scores = [trial.score or 0.0 for trial in trials if trial.origin == ORIGIN]
    assert scores
    assert scores == sorted(scores, reverse=True)
    given = {Architecture.from_dict(each) for each in run.manifest["portfolio"].values()}
    presets = {trial.architecture for trial in trials if trial.origin == PRESET}
    assert presets == given
    for trial in trials:
        assert trial.origin == ORIGIN or trial.number < len(given)
        assert trial.complete or (strategy == SEQUENTIAL and trial.origin == PRESET)
        assert OPTIONS.min_share * BUDGET.bound <= trial.cost.macs <= BUDGET.bound
        assert trial.cost == nas.cost(trial.architecture)
    assert run.manifest["options"]["method"] == "blockwise"
    assert run.manifest["plan"]["method"]["strategy"] == strategy


@pytest.mark.usefixtures("unexported")
def test_the_largest_by_counts_are_trained_beside_the_best_by_score(tmp_path: Path, images: str) -> None:
    run = run_search(tmp_path / "run", images, finalists=4)
    given = {Architecture.from_dict(each).digest for each in run.manifest["portfolio"].values()}
    assert given
    presets = [trial for trial in run.trials() if trial.origin == PRESET]
    assert {trial.architecture.digest for trial in presets} == given
    assert [trial.number for trial in presets] == [*range(len(given))]
    assert given <= {event.digest for event in run.events(FinalistTrained)}


def test_every_cell_is_scored_once_or_those_on_the_way_alone(done: tuple[str, RunRecord]) -> None:
    strategy, run = done
    found = run.events(CellScored)
    names = [event.name for event in found]
    assert len({*names}) == len(names)
    adapted = space().adapted(channels=1, num_classes=3)
    blocks = budget_blocks(BudgetSampler(adapted, [BUDGET], min_share=OPTIONS.min_share), seed=0)
    known = {str(cell): len(paths) for cell, paths in blocks.cells.items()}
    assert {event.name: len(event.distances) for event in found}.items() <= known.items()
    if strategy == SIDE_BY_SIDE:
        assert {*names} == {*known}
    else:
        assert [event.block for event in found] == [1, 2]


def test_a_winner_is_handed_over_with_a_page(done: tuple[str, RunRecord]) -> None:
    _, run = done
    [winner] = run.events(WinnerExported)
    assert (run.path / winner.path / "model.py").is_file()
    assert nas.load_architecture(run.path / winner.path / "architecture.yaml").digest == winner.digest
    page = (run.path / "report.html").read_text()
    assert "are trained without labels" in page
    assert "trains no supernet" not in page


@pytest.mark.usefixtures("unexported")
def test_stopped_in_every_phase_it_ends_with_the_same_trials(
    done: tuple[str, RunRecord], tmp_path: Path, images: str
) -> None:
    strategy, whole = done
    out = tmp_path / "run"
    # Side by side, cells are scored in a row; else each after its training, where the second has begun by then.
    stops = [("supernet", 2), ("scoring", 2), ("search", 4)] if strategy == SIDE_BY_SIDE else [("supernet", 3)]
    with pytest.raises(Stopped):
        run_search(out, images, StopAt(*stops[0]), strategy=strategy)
    for stop in stops[1:]:
        with pytest.raises(Stopped):
            nas.resume(out, progress=StopAt(*stop))
    nas.resume(out)
    found = read_run(out)
    assert facts(found) == facts(whole)
    assert cells(found) == cells(whole)


def test_scores_of_another_space_are_refused(done: tuple[str, RunRecord], tmp_path: Path) -> None:
    _, run = done
    shutil.copytree(run.path, tmp_path / "run")
    record = tmp_path / "run" / "events.jsonl"
    lines = record.read_bytes().splitlines(keepends=True)
    first = next(i for i, line in enumerate(lines) if b'"event":"cell"' in line)
    shorter = lines[first].replace(b'"distances":[', b'"distances":[0.5,')
    record.write_bytes(b"".join([*lines[:first], shorter]))
    with pytest.raises(RunError, match="do not fit its space"):
        nas.resume(tmp_path / "run")


def test_a_block_wise_supernet_serves_no_other_budget(done: tuple[str, RunRecord], tmp_path: Path) -> None:
    strategy, run = done
    page = (run.path / "report.html").read_text()
    assert "--supernet" not in page.partition("Next steps")[2]
    again = " ".join(SearchOptions.from_dict(run.part("options")).command())
    assert "--method blockwise" in again
    assert (f"--strategy {strategy}" in again) == (strategy != SIDE_BY_SIDE)
    options = OPTIONS.replaced(out=str(tmp_path / "run"), method="supernet", supernet=str(run.path))
    with pytest.raises(RunError, match="must be a run of --method supernet, but it is one of --method blockwise"):
        nas.search(space(), budgets=[BUDGET], options=options)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"searcher": "bo"}, "by dynamic programming"),
        ({"asynchronous": True}, "by dynamic programming"),
        ({"supernet": "runs/a"}, "--supernet runs/a is an option of --method supernet, and --method blockwise has no"),
        ({"strategy": "sandwich"}, "Unknown value of --strategy 'sandwich'"),
    ],
)
def test_options_that_do_not_go_together_are_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(OptionError, match=said):
        OPTIONS.replaced(**changes).validate()
