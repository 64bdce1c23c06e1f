"""`nas rank --method blockwise`: the sums that a run's search goes by, for any member, drawn paths or not."""

from __future__ import annotations

import json
import math
import random
import shutil
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import nas
from nas.architecture import Architecture
from nas.benchmark.scorers import score_all
from nas.budget import Budget
from nas.errors import OptionError, RunError, SpaceError
from nas.methods.blockwise import method as block_method
from nas.methods.blockwise.blocks import Blocks
from nas.methods.blockwise.cell_scorer import CellScorer
from nas.methods.blockwise.member_scorer import MemberScorer
from nas.methods.blockwise.method import BlockwiseMethod
from nas.methods.blockwise.options import BOSSNAS, BlockwiseOptions
from nas.methods.protocol.ranking import RankingSettings
from nas.run import RunRecord
from nas.run.events import CellScored
from nas.sampling.budget_sampler import BudgetSampler

from .block_cases import BUDGET, few_images, run_blocks, space

WHOLE = space().adapted(channels=1, num_classes=3)
METHOD = BlockwiseMethod("blockwise", BlockwiseOptions())
MOST = 9
"""Few paths a cell, so that members have others."""


@pytest.fixture(scope="module", autouse=True)
def few_paths() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(block_method, "Blocks", partial(Blocks, most=MOST))
        yield


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> str:
    return few_images(tmp_path_factory.mktemp("data") / "few.npz")


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory, images: str) -> RunRecord:
    return run_blocks(tmp_path_factory.mktemp("few") / "run", images)


def opened(run: RunRecord) -> MemberScorer:
    return METHOD.member_scorer_of(str(run.path), space())


def members(count: int) -> list[Architecture]:
    sampler = BudgetSampler(WHOLE, [BUDGET])
    return [sampler.sample(random.Random(seed)).architecture for seed in range(count)]


def unrecorded(scorer: MemberScorer, architecture: Architecture) -> int:
    cells = scorer.blocks.cells
    route = scorer.blocks.route(scorer.blocks.space.encode(architecture))
    return sum(path not in cells[cell] for cell, path in route)


def score(run: RunRecord, architectures: list[Architecture]) -> Any:
    return score_all(METHOD, architectures, space(), RankingSettings(supernet=str(run.path)))


def test_blocks_are_judged_on_their_own_images_alone(done: RunRecord, images: str, tmp_path: Path) -> None:
    trials = done.trials()
    settings = RankingSettings(supernet=str(done.path), data=images)
    found = score_all(METHOD, [trial.architecture for trial in trials], space(), settings)
    assert found.values == [trial.score for trial in trials]
    other = few_images(tmp_path / "other.npz")
    with pytest.raises(OptionError, match="--data .*other.npz: the blocks of .* were scored on .*few.npz") as caught:
        score_all(METHOD, members(2), space(), replace(settings, data=other))
    assert "\n" not in str(caught.value)


def test_a_network_of_recorded_paths_has_the_sum_that_the_search_gave_it(done: RunRecord) -> None:
    trials = done.trials()
    assert opened(done).blocks.sampled
    found = score(done, [trial.architecture for trial in trials])
    assert found.values == [trial.score for trial in trials]
    assert found.notes[0].startswith("0 paths were measured")


def test_published_scores_are_searched_and_ranked_by_as_raw_sums(images: str, tmp_path: Path, done: RunRecord) -> None:
    run = run_blocks(tmp_path / "published", images, path_score=BOSSNAS)
    assert run.manifest["plan"]["method"]["path_score"] == BOSSNAS
    trials = run.trials()
    scores = [trial.score or 0.0 for trial in trials]
    assert scores == sorted(scores, reverse=True)
    distances = {event.name: event.distances for event in run.events(CellScored)}
    scorer = opened(run)
    for trial in trials:
        route = scorer.blocks.route(scorer.blocks.space.encode(trial.architecture))
        found = [distances[str(cell)][scorer.blocks.cells[cell].index(path)] for cell, path in route]
        assert all(0 <= each <= 8 for each in found)
        assert trial.score == pytest.approx(-sum(found))
    every = members(12)
    assert any(unrecorded(scorer, each) for each in every)
    assert score(run, [trial.architecture for trial in trials] + every).values[: len(trials)] == scores
    assert [event.distances for event in done.events(CellScored)] != [*distances.values()]


def test_a_score_does_not_depend_on_what_else_is_in_the_table(done: RunRecord) -> None:
    every = members(12)
    missing = [unrecorded(opened(done), each) for each in every]
    assert any(missing)
    together = score(done, every)
    assert all(map(math.isfinite, together.values)), together.notes
    assert len({*together.values}) > len(done.events(CellScored))
    place = missing.index(max(missing))
    assert score(done, [every[place]]).values == [together.values[place]]
    assert score(done, every[::-1]).values == together.values[::-1]


def test_a_network_that_the_budget_left_out_has_no_score() -> None:
    tight = block_method.budget_blocks(BudgetSampler(WHOLE, [Budget.parse("14kFLOPs")]), seed=0)

    def no_weights() -> CellScorer:
        raise AssertionError("no weights are asked for")

    scorer = MemberScorer(tight, {cell: [0.0] * len(paths) for cell, paths in tight.cells.items()}, no_weights)
    large = max((WHOLE.sample(random.Random(seed)) for seed in range(50)), key=lambda each: nas.cost(each).macs)
    assert scorer.prepare([large]) == 0
    with pytest.raises(SpaceError, match="No small network under the bounds has this choice of stage"):
        scorer.score(large)


def test_networks_for_other_images_are_refused(done: RunRecord) -> None:
    [one] = members(1)
    with pytest.raises(OptionError, match="16 x 16, and those of the run 1 x 8 x 8: give a run"):
        score(done, [one.at_resolution(16)])


def test_runs_that_did_not_score_every_cell_are_refused(done: RunRecord, tmp_path: Path) -> None:
    shutil.copytree(done.path, tmp_path / "part")
    record = tmp_path / "part" / "events.jsonl"
    lines = record.read_text().splitlines(keepends=True)
    cells = [i for i, line in enumerate(lines) if json.loads(line)["event"] == "cell"]
    record.write_text("".join(lines[: cells[-1]]))
    with pytest.raises(RunError, match="not all trained and scored. Finish it with nas-search --resume"):
        METHOD.member_scorer_of(str(tmp_path / "part"), space())
    record.write_text("".join(lines).replace('"strategy":"side-by-side"', '"strategy":"sequential"'))
    with pytest.raises(RunError, match="only paths along the best one so far. Give a run by --method blockwise"):
        METHOD.member_scorer_of(str(tmp_path / "part"), space())
    with pytest.raises(RunError, match="its space is small"):
        METHOD.member_scorer_of(str(done.path), nas.load_space("coatnet-small"))


def test_weights_that_are_not_those_of_the_record_are_noticed(done: RunRecord, tmp_path: Path) -> None:
    shutil.copytree(done.path, tmp_path / "run")
    record = tmp_path / "run" / "events.jsonl"
    lines = [json.loads(line) for line in record.read_text().splitlines()]
    for line in lines:
        if line["event"] == "cell":
            line["distances"] = [1.5 * each for each in line["distances"]]
    record.write_text("".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines))
    scorer = METHOD.member_scorer_of(str(tmp_path / "run"), space())
    with pytest.raises(RunError, match="no longer those on record"):
        scorer.prepare([each for each in members(12) if unrecorded(scorer, each)])
