"""Layers that a parent does not have learn its stages: they come to reproduce its maps, and all else stays as it is."""

from __future__ import annotations

import random
from pathlib import Path
from statistics import mean
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

import nas
from nas import ops
from nas.architecture import Architecture
from nas.budget import Budget
from nas.costs import cost
from nas.data import Batches, Dataset, open_data
from nas.errors import OptionError
from nas.methods.supernet.distillation import StageDistillation
from nas.methods.supernet.plans import TrainingMembers
from nas.networks.inheritance.filling import fill
from nas.networks.network import Network
from nas.networks.supernet import Supernet
from nas.options import SearchOptions
from nas.pipeline.search import resume
from nas.progress import Silent
from nas.run import RunRecord, read_run
from nas.run.events import DistillationEpoch, FinalistTrained, PhaseFinished, SupernetEpoch
from nas.sampling import BudgetSampler
from nas.spaces import SearchSpace
from nas.spaces.catalog import parse_space
from nas.strict_yaml import dump_yaml
from nas.training import Recipe, evaluate, fresh_network, recalibrate, train_network

from ..small_space import small_data
from .block_cases import StopAt, Stopped, few_images

pytestmark = pytest.mark.usefixtures("own_threads")


def plain_space() -> dict[str, Any]:
    """Two stages of convolution or attention in any order, on gray images of 8 pixels."""
    data = small_data()
    data["name"] = "kinds"
    data["input"] = {"channels": 1, "resolution": 8}
    data["stem_choices"] = {"width": [8]}
    data["layers"]["convolution"]["choices"] = {"kernel_size": [3], "expand_ratio": [1, 2]}
    data["layers"]["transformer"]["choices"] = {"expand_ratio": [1, 2]}
    data["stages"] = [
        {"width": [8, 16], "depth": [1, 2], "ops": {"C": "convolution", "A": "transformer"}},
        {"stride": 2, "width": [16, 24], "depth": [1, 2], "ops": {"C": "convolution", "A": "transformer"}},
    ]
    data["rules"] = {"widths": "growing"}
    return data


def space(classes: int = 10) -> SearchSpace:
    return parse_space(plain_space(), ops).adapted(channels=1, num_classes=classes)


def parent_of(space: SearchSpace) -> Architecture:
    """The largest member with convolutions first, then attention."""
    rng = random.Random(0)
    found = [nas.sample(space, rng) for _ in range(400)]
    hybrid = [each for each in found if space.layout(space.encode(each)) == "CA"]
    return max(hybrid, key=lambda each: (cost(each).macs, each.digest))


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return open_data("digits").load(resolution=8, seed=0)


@pytest.fixture(scope="module")
def parent(digits: Dataset) -> Network:
    torch.set_num_threads(1)
    network = fresh_network(parent_of(space()), seed=0)
    train_network(network, digits, Recipe(epochs=12, batch_size=64, augment="none"), progress=Silent())
    return network.eval()


class Scene:
    """A supernet with the parent's weights, and its distillation."""

    def __init__(self, parent: Network, digits: Dataset, epochs: int) -> None:
        self.space, self.digits = space(), digits
        self.member = parent_of(self.space)
        self.supernet = Supernet(self.space, seed=0)
        filled = fill(self.supernet, self.member, parent.state_dict(), {})
        self.fresh = filled.fresh
        recipe = Recipe(epochs=epochs, batch_size=64, augment="none", learning_rate=1e-2, seed=0)
        self.distillation = StageDistillation(
            self.supernet, TrainingMembers(BudgetSampler(self.space)), parent, (0, 1), filled.fresh, digits, recipe
        )

    def members(self, layout: str, count: int = 3) -> list[Architecture]:
        rng, sampler = random.Random(1), BudgetSampler(self.space)
        return [sampler.sample(rng, layout=layout).architecture for _ in range(count)]

    @torch.no_grad()
    def errors(self, layout: str) -> list[float]:
        """The errors of the stages of another kind than the parent's, on search-validation."""
        data = self.digits
        batches = Batches(data.search_validation, batch_size=128, mean=data.mean, std=data.std)
        maps = self.distillation.maps(next(iter(batches))[0])
        stages = [stage for member in self.members(layout) for stage in self.distillation.stages(member)]
        self.supernet.train()  # statistics of the batch, since running ones have not caught up
        return [float(stage.error(self.supernet, maps)) for stage in stages]

    def accuracy(self, layout: str) -> float:
        """Accuracy with the supernet's weights, BatchNorm recalibrated, of the parent with other kinds of layers."""
        genotype = self.space.encode(self.member)
        stages = tuple(
            next(
                choice
                for choice in sorted(stage.choices(letter), key=lambda each: str(each.params), reverse=True)
                if (choice.width, choice.depth) == (gene.width, gene.depth)
            )
            for letter, stage, gene in zip(layout, self.space.stages, genotype.stages, strict=True)
        )
        network = self.supernet.extract(self.space.decode(genotype._replace(stages=stages)))
        recalibrate(network, self.digits, Recipe(epochs=1), images=512)
        return evaluate(network, self.digits.search_validation, self.digits, Recipe(epochs=1))


@pytest.fixture(scope="module")
def scenes(parent: Network, digits: Dataset) -> tuple[Scene, Scene]:
    """Without the distillation, and with it."""
    torch.set_num_threads(1)
    without, learned = Scene(parent, digits, 30), Scene(parent, digits, 30)
    learned.distillation.run(Silent(), lambda *_: None)
    return without, learned


def test_stages_of_another_kind_come_near_the_maps_of_the_parent(scenes: tuple[Scene, Scene]) -> None:
    without, learned = scenes
    for layout in ("AA", "CC"):
        before, after = (mean(scene.errors(layout)) for scene in (without, learned))
        assert after < 0.6 * before, layout


def test_members_with_such_stages_score_higher(scenes: tuple[Scene, Scene]) -> None:
    without, learned = scenes
    for layout in ("AA", "CC", "AC"):
        before, after = without.accuracy(layout), learned.accuracy(layout)
        assert after > before + 0.2, (layout, before, after)


def test_the_parent_as_a_member_stays_as_it_is_to_the_bit(
    scenes: tuple[Scene, Scene], parent: Network, digits: Dataset
) -> None:
    _, learned = scenes
    own = learned.supernet.extract(learned.member).state_dict()
    for name, value in parent.state_dict().items():
        assert torch.equal(own[name], value), name


def test_only_stages_of_another_kind_learn(scenes: tuple[Scene, Scene]) -> None:
    without, _ = scenes
    [member] = without.members("AA", 1)
    assert [stage.place for stage in without.distillation.stages(member)] == [0]
    [member] = without.members("CC", 1)
    assert [stage.place for stage in without.distillation.stages(member)] == [1]
    assert without.distillation.stages(without.member) == []


# -- in a search -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("home")
    few_images(folder / "few.npz")
    (folder / "kinds.yaml").write_text(dump_yaml(plain_space()))
    own = parent_of(space(classes=3))
    (folder / "parent.yaml").write_text(own.to_yaml())
    state = fresh_network(own, seed=0).state_dict()
    save_file({name: value.contiguous() for name, value in state.items()}, folder / "w.safetensors")
    return folder


def searched(home: Path, out: Path, progress: Any = None, **given: Any) -> RunRecord:
    options = SearchOptions.of(**{
        "space": str(home / "kinds.yaml"), "parent": str(home / "parent.yaml"), "weights": str(home / "w.safetensors"),
        "parent_epochs": 1, "layer_epochs": 2, "epochs": 1, "trials": 4, "finalists": 1, "finalist_epochs": 1,
        "rivals": 0, "min_share": 0.2, "threads": 1, "device": "cpu", "batch_size": 16, "onnx": False,
        "augment": "none", "out": str(out), **given,
    })  # fmt: skip
    bound = Budget(metric="macs", bound=cost(parent_of(space(classes=3))).macs)
    kinds, parts = nas.load_space(str(home / "kinds.yaml")), nas.derive_space(parent_of(space(classes=3)), smaller=True)
    nas.search(
        kinds if options.space else parts,
        budgets=[bound],
        data=str(home / "few.npz"),
        options=options,
        progress=progress or Silent(),
    )
    return read_run(out)


def test_it_is_a_phase_of_a_search_and_goes_on_after_a_stop(home: Path, tmp_path: Path) -> None:
    whole = searched(home, tmp_path / "whole")
    phases = [event.phase for event in whole.events(PhaseFinished)]
    assert phases == ["parent", "distillation", "supernet", "search", "finalists", "export"]
    assert set(whole.manifest["plan"]["seconds"]) == {*phases}
    assert [event.epoch for event in whole.events(DistillationEpoch)] == [1, 2]
    with pytest.raises(Stopped):
        searched(home, tmp_path / "run", StopAt("distillation", 5))
    resume(tmp_path / "run")
    stopped = read_run(tmp_path / "run")
    for kind, names in (
        (DistillationEpoch, ("epoch", "error")),
        (SupernetEpoch, ("epoch", "loss", "accuracies")),
        (FinalistTrained, ("digest", "validation_accuracy", "weights_sha256")),
    ):
        mine, theirs = (
            [[getattr(event, name) for name in names] for event in run.events(kind)] for run in (stopped, whole)
        )
        assert mine == theirs, kind


def test_it_is_left_out_where_asked_and_refused_where_there_is_nothing_to_learn(home: Path, tmp_path: Path) -> None:
    run = searched(home, tmp_path / "run", layer_epochs=0)
    assert "distillation" not in [event.phase for event in run.events(PhaseFinished)]
    with pytest.raises(
        OptionError, match="--layer-epochs 2: within the budget, .* has no layers that --parent .* lacks"
    ):
        searched(home, tmp_path / "parts", space=None)
