"""Searches by block-wise distillation: what is recorded, what a stop costs, and which teachers are refused."""

from __future__ import annotations

import random
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

import nas
from nas.benchmark.scorers import score_all
from nas.data import open_data
from nas.errors import OptionError, RunError
from nas.export import CardFacts, export_winner
from nas.methods.blockwise.cell_scorer import standardized
from nas.methods.blockwise.method import BlockwiseMethod
from nas.methods.blockwise.options import BOSSNAS, SEQUENTIAL, BlockwiseOptions
from nas.methods.protocol.ranking import RankingSettings
from nas.progress import Silent
from nas.run import RunRecord, read_run
from nas.run.events import SupernetEpoch
from nas.training import Recipe, fresh_network, train_network

from .block_cases import OPTIONS, StopAt, Stopped, cells, facts, few_images, run_blocks, run_search, space

WHOLE = space().adapted(channels=1, num_classes=3)
METHOD = BlockwiseMethod("blockwise", BlockwiseOptions())


pytestmark = pytest.mark.usefixtures("own_threads")


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> str:
    return few_images(tmp_path_factory.mktemp("data") / "few.npz")


def write_teacher(folder: Path, images: str, *, seed: int = 0, channels: int = 1) -> str:
    """A member of the space, trained for a few steps, as an export."""
    torch.set_num_threads(1)
    architecture = WHOLE.decode(WHOLE.sample_genotype(random.Random(seed), "CA")).with_channels(channels)
    network = fresh_network(architecture, seed=seed)
    mean, std = (0.4,) * channels, (0.2,) * channels
    if channels == 1:
        data = open_data(images).load(resolution=8, seed=0)
        mean, std = data.mean, data.std
        train_network(network, data, Recipe(epochs=2, batch_size=32, augment="none"), progress=Silent())
    export_winner(
        folder,
        network,
        architecture,
        trained_resolution=8,
        mean=mean,
        std=std,
        class_names=("0", "1", "2"),
        card=CardFacts(title="Teacher"),
        onnx=False,
    )
    return str(folder)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory, images: str) -> str:
    return write_teacher(tmp_path_factory.mktemp("teacher") / "network", images)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory, images: str, teacher: str) -> RunRecord:
    return run_blocks(tmp_path_factory.mktemp("distil") / "run", images, teacher=teacher, epochs=3)


def test_the_best_sums_of_errors_are_proposed_and_the_plan_names_the_teacher(done: RunRecord, teacher: str) -> None:
    trials, plan = done.trials(), done.manifest["plan"]["method"]
    scores = [trial.score or 0.0 for trial in trials]
    assert len(trials) == OPTIONS.trials
    assert scores == sorted(scores, reverse=True)
    assert all(distance > 0 for _, distances in cells(done) for distance in distances)
    assert all(len({*standardized(distances)}) > 1 for _, distances in cells(done))
    assert plan["teacher"]["path"] == teacher
    assert plan["teacher"]["architecture"] == nas.load_architecture(Path(teacher) / "architecture.yaml").digest
    losses = [event.loss for event in done.events(SupernetEpoch)]
    assert losses[-1] < losses[0]


def test_stopped_it_ends_with_the_same_trials(done: RunRecord, tmp_path: Path, images: str, teacher: str) -> None:
    out = tmp_path / "run"
    with pytest.raises(Stopped):
        run_search(out, images, StopAt("supernet", 4), teacher=teacher, epochs=3)
    for stop in (StopAt("scoring", 2), StopAt("search", OPTIONS.trials or 1)):
        with pytest.raises(Stopped):
            nas.resume(out, progress=stop)
    found = read_run(out)
    assert cells(found) == cells(done)
    assert facts(found) == facts(done)


def test_a_run_goes_on_with_its_own_teacher_alone(tmp_path: Path, images: str) -> None:
    mine = write_teacher(tmp_path / "teacher", images)
    with pytest.raises(Stopped):
        run_search(tmp_path / "run", images, StopAt("supernet", 1), teacher=mine)
    shutil.rmtree(mine)
    with pytest.raises(RunError, match="cannot go on without its teacher"):
        nas.resume(tmp_path / "run")
    write_teacher(tmp_path / "teacher", images, seed=1)
    with pytest.raises(RunError, match="has changed since .* was begun: restore it"):
        nas.resume(tmp_path / "run")


def test_nas_rank_gives_the_sums_of_the_search(done: RunRecord) -> None:
    trials = done.trials()
    settings = RankingSettings(supernet=str(done.path))
    found = score_all(METHOD, [trial.architecture for trial in trials], space(), settings)
    assert found.values == [trial.score for trial in trials]


def test_a_path_that_is_not_on_record_is_measured_by_the_teacher_again(done: RunRecord) -> None:
    scorer, trial = METHOD.member_scorer_of(str(done.path), space()), done.trials()[0]
    first, *_ = scorer.blocks.route(scorer.blocks.space.encode(trial.architecture))
    scorer._scores.pop(first)
    assert scorer.score(trial.architecture) == pytest.approx(trial.score, rel=1e-6)
    assert first in scorer._scores


def test_teachers_that_cannot_teach_are_refused(tmp_path: Path, images: str, teacher: str) -> None:
    def refused(said: str, **changes: Any) -> None:
        with pytest.raises(OptionError, match=said):
            run_search(tmp_path / "run", images, **changes)
        assert not (tmp_path / "run").exists()

    refused("it has no architecture.yaml. Give a folder with", teacher=str(tmp_path))
    broken = Path(shutil.copytree(teacher, tmp_path / "broken"))
    (broken / "weights.safetensors").write_bytes(b"none")
    refused("holds no network that was exported whole", teacher=str(broken))
    refused("it takes images of 3 channels", teacher=write_teacher(tmp_path / "coloured", images, channels=3))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"strategy": SEQUENTIAL, "teacher": "x"}, "--teacher x --strategy sequential: with a teacher, all blocks are"),
        (
            {"path_score": BOSSNAS, "teacher": "x"},
            "--teacher x --path-score bossnas: with a teacher, paths are scored by",
        ),
        ({"method": "supernet", "teacher": "x"}, "--teacher x is an option of --method blockwise, and --method supern"),
        ({"teacher": " "}, "--teacher must be a name or a path"),
    ],
)
def test_options_that_do_not_go_together_are_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(OptionError, match=said):
        OPTIONS.replaced(**changes).validate()
