"""Searches from a trained parent: what begins with its weights, what a stop costs, and which parents are refused."""

from __future__ import annotations

import random
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import nas
from nas import ops
from nas.architecture import Architecture
from nas.budget import Budget
from nas.costs import cost
from nas.costs import zoo as zoo_costs
from nas.data import Dataset, open_data
from nas.data.dataset import describe_data
from nas.errors import NasError, OptionError, RunError, SpaceError
from nas.export import CardFacts, export_winner
from nas.methods.protocol.parent_line import parent_line
from nas.methods.supernet.options import SupernetOptions
from nas.methods.supernet.packing import pack_supernet, unpack_supernet
from nas.methods.supernet.parent import Parent, as_member, load_parent, parent_architecture, space_of_parts
from nas.methods.supernet.scaled import scaled
from nas.networks.inheritance.filling import cut
from nas.networks.network import Network, build
from nas.networks.supernet import Supernet
from nas.options import SearchOptions
from nas.pipeline import disk
from nas.pipeline.search import resume
from nas.progress import Silent
from nas.run import RunRecord, read_run
from nas.run.events import (
    FinalistTrained,
    ParentEpoch,
    ParentInherited,
    ParentTested,
    ParentTuned,
    PhaseFinished,
    SupernetEpoch,
    WinnerExported,
)
from nas.sampling import BudgetSampler
from nas.spaces import catalog
from nas.spaces.genotype import Genotype
from nas.strict_yaml import dump_yaml
from nas.training import Recipe, evaluate, fresh_network, learning_rate_for, train_network

from .block_cases import StopAt, Stopped, few_images

pytestmark = pytest.mark.usefixtures("own_threads")

BLOCK: dict[str, Any] = {"op": "inverted_residual", "expand_ratio": 2}
PARENT: dict[str, Any] = {
    "format": 2,
    "input": {"channels": 1, "resolution": 8},
    "stem": {"op": "conv_norm", "width": 16, "activation": "relu"},
    "stages": [
        {"layers": [{"repeat": 2, "branches": [{"mixer": {**BLOCK, "width": 16}}]}]},
        {
            "transition": {"op": "conv_norm", "width": 24, "stride": 2},
            "layers": [{"repeat": 3, "branches": [{"mixer": {**BLOCK, "width": 24}}]}],
        },
    ],
    "head": {"op": "classifier", "num_classes": 3, "hidden": False},
}


def architecture(**changes: Any) -> Architecture:
    return ops.normalize(Architecture.from_dict({**PARENT, **changes}))


PARENT_MACS = cost(architecture()).macs
BUDGET = Budget(metric="macs", bound=PARENT_MACS // 2)


class Notes(Silent):
    """Keeps what a search says."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, text: str) -> None:
        self.lines.append(text)


def exported(folder: Path, network: Network, images: Dataset, **facts: Any) -> Path:
    """The parent as `nas train` exports it, with what its card says."""
    export_winner(
        *(folder, network, architecture()),
        trained_resolution=8,
        mean=images.mean,
        std=images.std,
        class_names=images.info.class_names,
        card=CardFacts(title="Parent", **facts),
        onnx=False,
    )
    return folder


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with images, and a parent's config and weights, trained on these for a few epochs."""
    folder = tmp_path_factory.mktemp("home")
    (folder / "parent.yaml").write_text(dump_yaml(PARENT))
    data = open_data(few_images(folder / "few.npz")).load(resolution=8, seed=0)
    torch.set_num_threads(1)
    network = fresh_network(architecture(), seed=0)
    train_network(network, data, Recipe(epochs=12, batch_size=16, augment="none"), progress=Silent())
    save_file({name: value.contiguous() for name, value in network.state_dict().items()}, folder / "w.safetensors")
    exported(folder / "winner", network, data)
    return folder


def options(home: Path, out: Path, **changes: Any) -> SearchOptions:
    given: dict[str, Any] = {
        "parent": str(home / "parent.yaml"),
        "weights": str(home / "w.safetensors"),
        "out": str(out),
        "min_share": 0.6,
        "trials": 6,
        "epochs": 2,
        "parent_epochs": 2,
        "finalists": 2,
        "finalist_epochs": 1,
        "threads": 1,
        "device": "cpu",
        "batch_size": 16,
        "onnx": False,
        "augment": "none",
    }
    return SearchOptions.of(**{**given, **changes})


def searched(home: Path, out: Path, progress: Any = None, budget: Budget = BUDGET, **changes: Any) -> RunRecord:
    asked = options(home, out, **changes)
    space = space_of_parts(asked.of_method().derives_from or "")
    data = str(home / "few.npz")
    nas.search(space, budgets=[budget], data=data, options=asked, progress=progress or Silent())
    return read_run(out)


@pytest.fixture(scope="module")
def done(home: Path, tmp_path_factory: pytest.TempPathFactory) -> RunRecord:
    return searched(home, tmp_path_factory.mktemp("runs") / "run")


def test_the_parent_is_tuned_then_inherited_then_scaled_as_a_rival(done: RunRecord) -> None:
    assert [event.phase for event in done.events(PhaseFinished)] == [
        *("parent", "supernet", "search", "finalists", "export")
    ]
    tuned, inherited = done.last(ParentTuned), done.last(ParentInherited)
    assert tuned is not None
    assert inherited is not None
    assert (tuned.macs, tuned.epochs, len(done.events(ParentEpoch))) == (PARENT_MACS, 2, 2)
    assert tuned.validation_accuracy > 0.6
    places = [place for place, event in enumerate(done.events()) if isinstance(event, (PhaseFinished, ParentTested))]
    in_turn = [done.events()[place] for place in places]
    assert isinstance(in_turn[3], ParentTested), "only once the search is over"
    assert in_turn[3].test_accuracy > 0.6
    assert inherited.fresh == 0
    # Of the deepest that fits, any layers may be kept.
    assert sorted(inherited.kept_layers["0"]) == list(range(len(inherited.kept_layers["0"])))
    trained = done.events(FinalistTrained)
    [rival] = [event for event in trained if event.chosen_by == "scaled"]
    assert rival.macs <= BUDGET.bound
    assert rival.score is None
    assert len(trained) == 3
    assert set(done.manifest["plan"]["seconds"]) == {"parent", "supernet", "search", "finalists", "export"}


def test_the_supernet_begins_with_the_weights_of_the_parent(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nas.methods.supernet.method.INHERITED_RATE", 0.0)  # so that it ends with them, too
    run = searched(home, tmp_path / "run", parent_is_tuned=True, parent_epochs=None)
    parent, [file] = load_file(home / "w.safetensors"), (run.path / "supernet").glob("step-*")
    [stem] = [value for name, value in load_file(file).items() if name.startswith("model/stem") and value.ndim == 4]
    rows = [tuple(row.flatten().tolist()) for row in parent["stem.conv.weight"]]
    found = [rows.index(tuple(row.flatten().tolist())) for row in stem]
    assert len(set(found)) == len(found)
    assert found != sorted(found), "the most important channels come first"
    # Three classes that nothing but trained weights tells apart.
    assert max(trial.score or 0.0 for trial in run.trials()) > 0.6


@pytest.mark.parametrize(
    ("phase", "after"),
    [
        *(("parent", 9), ("supernet", 9), ("finalist 3 of 3", 2)),
        pytest.param("search", 2, marks=pytest.mark.slow),
        pytest.param("finalist 1 of 3", 2, marks=pytest.mark.slow),
    ],
)
def test_a_stopped_run_ends_as_one_that_was_not(
    done: RunRecord, home: Path, tmp_path: Path, phase: str, after: int
) -> None:
    out = tmp_path / "run"
    weights = shutil.copy(home / "w.safetensors", tmp_path / "w.safetensors")
    with pytest.raises(Stopped):
        searched(home, out, progress=StopAt(phase, after), weights=str(weights))
    if phase != "parent":
        weights.unlink()  # the run has what these became
    resume(out)
    run = read_run(out)
    for kind in (ParentEpoch, ParentTuned, ParentTested, ParentInherited, SupernetEpoch, FinalistTrained):
        mine, theirs = ([timeless(event) for event in each.events(kind)] for each in (run, done))
        assert mine == theirs, kind
    assert [replace(trial, seconds=0.0) for trial in run.trials()] == [
        replace(trial, seconds=0.0) for trial in done.trials()
    ]


def timeless(event: Any) -> dict[str, Any]:
    left_out = ("time", "seconds")
    return {name: getattr(event, name) for name in event.__struct_fields__ if name not in left_out}


def test_a_tuned_parent_is_taken_as_it_is(home: Path, tmp_path: Path) -> None:
    notes = Notes()
    run = searched(
        *(home, tmp_path / "run", notes),
        parent=str(home / "winner"),
        weights=None,
        parent_is_tuned=True,
        parent_epochs=None,
    )
    tuned = run.last(ParentTuned)
    assert tuned is not None
    assert tuned.epochs == 0
    parent = load_parent(str(home / "winner"), None)
    data = open_data(str(home / "few.npz")).load(resolution=8, seed=0)
    network = parent.network(data.info, resolution=8, seed=0)
    recipe = Recipe(epochs=1)
    assert tuned.validation_accuracy == pytest.approx(evaluate(network, data.search_validation, data, recipe))


def test_a_recipe_is_the_parents_too(home: Path, tmp_path: Path) -> None:
    recipe = {"learning_rate": 1e-9, "ema": 0.5, "checkpoint": "best", "patience": 1}
    (tmp_path / "slow.yaml").write_text(dump_yaml({"format": 1, "recipe": recipe}))
    run = searched(home, tmp_path / "run", recipe=str(tmp_path / "slow.yaml"), parent_epochs=9)
    before, [file] = load_file(home / "w.safetensors"), (run.path / "parent").glob("step-*")
    after = load_file(file)
    for name in ("stem.conv.weight", "head.linear.weight"):
        torch.testing.assert_close(after[f"model/{name}"], before[name], rtol=0.0, atol=1e-6)
    tuned = run.last(ParentTuned)
    assert tuned is not None
    assert tuned.epochs == len(run.events(ParentEpoch)) == 2, "nothing is gained, so that patience ends it"
    said = run.manifest["disk_bytes"]["parent"]
    assert disk.folder_bytes(run.path / "parent") < said
    [best] = (run.path / "parent").glob("best*")
    assert best.stat().st_size < said


def test_a_recipes_parts_for_longer_trainings_are_chosen_by_the_epochs_of_each(home: Path, tmp_path: Path) -> None:
    longer = {"epochs": 3, "recipe": {"learning_rate": 1e-2}}
    plain = {"format": 1, "recipe": {"learning_rate": 1e-9}, "sized": [longer]}
    (tmp_path / "sized.yaml").write_text(dump_yaml(plain))
    options = {"recipe": str(tmp_path / "sized.yaml"), "parent_epochs": 2, "finalist_epochs": 3}
    run = searched(home, tmp_path / "run", **options)
    before, [file] = load_file(home / "w.safetensors"), (run.path / "parent").glob("step-*")
    name = "stem.conv.weight"
    torch.testing.assert_close(load_file(file)[f"model/{name}"], before[name], rtol=0.0, atol=1e-6)
    assert {event.learning_rate for event in run.events(FinalistTrained)} == {1e-2}


def test_a_further_rival_is_of_the_zoo_and_begins_at_random(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny = architecture(
        stem={"op": "conv_norm", "width": 8, "activation": "relu"},
        stages=[{"layers": [{"branches": [{"mixer": {**BLOCK, "width": 8}}]}]}],
    )
    read = catalog.read_architecture
    monkeypatch.setattr(zoo_costs, "_published", lambda: ((50.0, "tiny", tiny),))
    monkeypatch.setattr(
        catalog, "read_architecture", lambda name: (tiny, {"top1": 50.0}) if name == "tiny" else read(name)
    )
    notes = Notes()
    run = searched(home, tmp_path / "run", notes, rivals=2, rival_epochs="search")
    found = {event.chosen_by: event for event in run.events(FinalistTrained)}
    assert {"scaled", "zoo:tiny"} < {*found}
    # As a network from scratch has: weights that were cut have much to learn again.
    params = {name: found[name].params or 0 for name in ("scaled", "zoo:tiny")}
    rates = {name: (found[name].learning_rate or 0) / learning_rate_for(params[name], 16) for name in params}
    assert rates == pytest.approx({"scaled": 1.0, "zoo:tiny": 1.0})
    longer = {found[name].epochs for name in params}
    assert longer == {run.manifest["plan"]["rival_epochs"]}
    assert min(longer) > 1 == found["score"].epochs
    cards = {event.chosen_by: (run.path / event.path / "card.md").read_text() for event in run.events(WinnerExported)}
    assert "began at random" in cards["zoo:tiny"]
    assert "began with weights inherited" in cards["scaled"]
    assert any("published top-1: 50.0" in line for line in notes.lines)


def test_a_parent_over_the_budget_is_a_reference_and_no_finalist(done: RunRecord) -> None:
    assert "It is over" in parent_line(done)
    assert "parent" not in {event.chosen_by for event in done.events(FinalistTrained)}
    assert parent_line(done, in_percent=True) in (done.path / "report.html").read_text()


def test_a_budget_above_the_parent_is_a_ceiling(home: Path, tmp_path: Path) -> None:
    notes = Notes()
    run = searched(home, tmp_path / "run", notes, budget=Budget(metric="macs", bound=2 * PARENT_MACS), min_share=0.2)
    assert any("above the parent" in line for line in notes.lines), notes.lines
    assert all(trial.cost.macs <= PARENT_MACS for trial in run.trials())
    trained = run.events(FinalistTrained)
    [rival] = [event for event in trained if event.chosen_by == "parent"]
    assert rival.macs == PARENT_MACS
    # The largest by parameters is the parent, and the next best takes its place.
    assert len(trained) == 2 + 1
    assert "It is over" not in parent_line(run)


@pytest.mark.parametrize("any_layers", [True, False])
def test_a_shallow_member_may_have_the_last_of_the_parents_layers(home: Path, any_layers: bool) -> None:
    space = space_of_parts(str(home / "parent.yaml"))
    sampler = BudgetSampler(space, [Budget(metric="macs", bound=PARENT_MACS // 3)])
    choices = sampler.feasible_choices()
    deepest = max(choice.depth for choice in choices[2])
    widest = {depth: max(each.width for each in choices[2] if each.depth == depth) for depth in (2, deepest)}
    assert deepest == 3
    assert widest[2] > widest[deepest], "within the budget, deep members are narrow"
    supernet = Supernet(space, choices=choices, any_layers=any_layers)
    supernet.kept_layers = {1: [0, 2, 1]}
    wide = next(each for each in choices[2] if each.depth == 2 and each.width == widest[2])
    pairs = ((stem, first) for stem in choices[0] for first in choices[1] if first.width == space.stem.width(stem))
    every = (space.decode(Genotype(stem, (first, wide))) for stem, first in pairs)
    member = next(each for each in every if sampler.cost_within(each) is not None)
    x = torch.zeros(2, 1, 8, 8)
    if any_layers:
        there = unpack_supernet(*pack_supernet(supernet), copied=True)
        assert torch.equal(supernet(x, member), there(x, member))
        for seed in range(9):
            supernet(x, sampler.sample(random.Random(seed)).architecture)
    else:
        with pytest.raises(SpaceError, match="stage2-layer3 needs weight of shape"):
            supernet(x, member)


def test_the_scaled_parent_is_the_widest_that_fits() -> None:
    wide = architecture(
        stem={"op": "conv_norm", "width": 32, "activation": "relu"},
        stages=[{"layers": [{"repeat": 2, "branches": [{"mixer": {**BLOCK, "width": 32}}]}]}],
    )
    space = nas.derive_space(wide, smaller=True)
    whole = cost(wide).macs
    found = scaled(wide, BudgetSampler(space, [Budget(metric="macs", bound=whole // 2)]))
    assert found is not None
    # The space has multiples of 4, of which 20 comes nearer to half the cost than 16 does.
    assert found.stem["width"] == 20
    assert cost(found).macs <= whole // 2
    assert [len(stage.layers) for stage in found.stages] == [2]
    assert scaled(wide, BudgetSampler(space, [Budget(metric="macs", bound=whole)])) is not None


@pytest.mark.parametrize("share", [0.8, 0.5, 0.3])
def test_the_scaled_parent_comes_near_the_budget_where_widths_are_few(share: float) -> None:
    parent = nas.load_architecture("nextvit_small")
    bound = int(share * cost(parent).macs)
    space = nas.derive_space(parent, smaller=True)
    found = scaled(as_member(parent, space), BudgetSampler(space, [Budget(metric="macs", bound=bound)]))
    assert found is not None
    assert 0.8 * bound < cost(found).macs <= bound


def test_the_scaled_parent_is_one_that_its_weights_can_be_cut_to() -> None:
    # The widest within this budget has a depthwise convolution that multiplies channels by another factor.
    wide = nas.load_architecture("fastvit_sa12").with_classes(10).at_resolution(64)
    space = nas.derive_space(wide, smaller=True)
    parent = as_member(wide, space)
    found = scaled(parent, BudgetSampler(space, [Budget.parse("29.058MFLOPs")]))
    assert found is not None
    weights = cut(build(parent).state_dict(), parent, found)
    build(found).load_state_dict(weights)


def test_a_search_by_first_order_importance_goes_on_from_its_supernet(home: Path, tmp_path: Path) -> None:
    whole = searched(home, tmp_path / "whole", importance="taylor")
    with pytest.raises(Stopped):
        searched(home, tmp_path / "run", progress=StopAt("supernet", 9), importance="taylor")
    resume(tmp_path / "run")
    mine, theirs = (
        [timeless(event) for event in each.events(FinalistTrained)] for each in (read_run(tmp_path / "run"), whole)
    )
    assert mine == theirs


def test_a_search_says_which_accuracy_it_ranks_by(home: Path, tmp_path: Path) -> None:
    asked = options(home, tmp_path / "run", metric="balanced-accuracy")
    space = space_of_parts(asked.of_method().derives_from or "")
    result = nas.search(space, budgets=[BUDGET], data=str(home / "few.npz"), options=asked)
    assert result.accuracy == resume(tmp_path / "run").accuracy == "balanced accuracy"


def test_the_disk_use_that_is_said_holds_for_every_phase(done: RunRecord) -> None:
    said = done.manifest["disk_bytes"]
    assert [*said] == ["parent", "supernet", "search", "finalists", "export"]
    [checkpoint] = (done.path / "parent").glob("step-*")
    assert said["parent"] > 7 * checkpoint.stat().st_size  # three checkpoints with two moments each
    assert disk.folder_bytes(done.path) <= said["export"]


def test_a_zoo_name_is_one_whatever_the_current_folder_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tf_efficientnet_lite0").mkdir()
    (tmp_path / "mine").mkdir()
    shutil.copy(catalog.folder() / "zoo" / "resnet18.yaml", "tf_efficientnet_lite0/architecture.yaml")
    kept, mine = (SupernetOptions(parent=name).absolute().parent for name in ("tf_efficientnet_lite0", "mine"))
    assert (kept, mine) == ("tf_efficientnet_lite0", str(tmp_path / "mine"))
    assert parent_architecture("tf_efficientnet_lite0") == nas.load_architecture("tf_efficientnet_lite0")
    assert parent_architecture("./tf_efficientnet_lite0") == nas.load_architecture("resnet18")


# -- what is refused --------------------------------------------------------------------------------------------


def changed_weights(home: Path, path: Path, **tensors: torch.Tensor | None) -> str:
    state = load_file(home / "w.safetensors")
    for name, value in tensors.items():
        state.pop(name.replace("/", "."))
        if value is not None:
            state[name.replace("/", ".")] = value
    save_file(state, path)
    return str(path)


def test_weights_of_another_network_are_refused_with_what_differs(home: Path, tmp_path: Path) -> None:
    config = str(home / "parent.yaml")
    other = changed_weights(home, tmp_path / "a.safetensors", **{"stages/0/layers/0/0/mixer/norm3/bias": torch.ones(9)})
    with pytest.raises(OptionError, match=r"norm3\.bias is 9, not 16"):
        load_parent(config, other)
    lacking = changed_weights(home, tmp_path / "b.safetensors", **{"stem/conv/weight": None})
    with pytest.raises(OptionError, match=r"stem\.conv\.weight is missing"):
        load_parent(config, lacking)


def test_counters_of_batches_may_be_missing(tmp_path: Path) -> None:
    """Other frameworks have none; images of one channel are found out all the same."""
    gray = nas.load_architecture("resnet18").with_channels(1)
    state = build(gray).state_dict()
    kept = {name: value.contiguous() for name, value in state.items() if not name.endswith("num_batches_tracked")}
    save_file(kept, tmp_path / "w.safetensors")
    assert load_parent("resnet18", str(tmp_path / "w.safetensors")).architecture.input.channels == 1
    name = "head.linear.weight"
    save_file({**kept, name: torch.ones(1000, 3)}, tmp_path / "w.safetensors")
    with pytest.raises(
        OptionError, match=r"is of another network: stem\.0\.conv\.weight is 64x1x7x7, not 64x3x7x7 and 1 more"
    ):
        load_parent("resnet18", str(tmp_path / "w.safetensors"))


def test_a_stem_that_cannot_be_made_for_other_channels_is_refused() -> None:
    """T2T-ViT's unfolds patches: its first weights have no axis of channels."""
    config = nas.load_architecture("t2t_vit_10")
    parent = Parent(given=("t2t_vit_10", None), architecture=config, state=build(config).state_dict())
    parent.check_channels(3)
    with pytest.raises(OptionError, match="t2t_vit_10 cannot be made for images of 1 channels: its stem.*Give images"):
        parent.check_channels(1)


def test_classes_in_another_order_keep_their_rows(home: Path) -> None:
    parent = load_parent(str(home / "winner"), None)
    info = open_data(str(home / "few.npz")).info
    turned = replace(info, class_names=info.class_names[::-1])
    assert not parent.changes(turned)
    own, other = (parent.network(each, resolution=8, seed=0).eval() for each in (info, turned))
    x = torch.rand(2, 1, 8, 8)
    torch.testing.assert_close(other(x), own(x).flip(1))


def test_weights_that_are_not_finite_are_refused(home: Path, tmp_path: Path) -> None:
    broken = torch.full((16,), float("nan"))
    path = changed_weights(home, tmp_path / "a.safetensors", **{"stages/0/layers/0/0/mixer/norm3/bias": broken})
    with pytest.raises(OptionError, match=r"not finite, in stages\.0\.layers\.0\.0\.mixer\.norm3\.bias"):
        load_parent(str(home / "parent.yaml"), path)


def test_a_pickle_is_refused_with_the_command_that_converts_it(home: Path, tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    torch.save(load_file(home / "w.safetensors"), path)
    with pytest.raises(OptionError, match="nas weights convert .*w.pth --network NAME --out w.safetensors"):
        load_parent(str(home / "parent.yaml"), str(path))
    with pytest.raises(OptionError, match="--network resnet18 --out w.safetensors"):
        load_parent("resnet18", str(path))


def test_other_classes_and_channels_are_replaced_and_said(home: Path) -> None:
    parent = load_parent(str(home / "parent.yaml"), str(home / "w.safetensors"))
    info = replace(open_data(str(home / "few.npz")).info, num_classes=7, class_names=tuple("abcdefg"), channels=3)
    said = " ".join(parent.changes(info))
    assert "head for 3 classes" in said
    assert "for 1 channels" in said
    network = parent.network(info, resolution=8, seed=0).eval()
    x = torch.rand(2, 1, 8, 8)
    assert network(x.expand(-1, 3, -1, -1)).shape == (2, 7)
    own = parent.network(open_data(str(home / "few.npz")).info, resolution=8, seed=0).eval()
    # A gray image in three equal channels is the same image.
    found = network.forward_features(x.expand(-1, 3, -1, -1))
    assert torch.allclose(found, own.forward_features(x), atol=1e-5)


def test_a_tuned_parent_of_other_classes_is_refused(home: Path, tmp_path: Path) -> None:
    plain = {**PARENT, "head": {**PARENT["head"], "num_classes": 9}}
    (tmp_path / "nine.yaml").write_text(dump_yaml(plain))
    state = build(architecture(head=plain["head"])).state_dict()
    save_file({name: value.contiguous() for name, value in state.items()}, tmp_path / "nine.safetensors")
    changes = {"parent": str(tmp_path / "nine.yaml"), "weights": str(tmp_path / "nine.safetensors")}
    with pytest.raises(OptionError, match="9 classes, and the data has 1 and 3"):
        searched(home, tmp_path / "run", parent_is_tuned=True, parent_epochs=None, **changes)


def test_a_space_that_the_python_gives_is_the_runs_own(home: Path, tmp_path: Path) -> None:
    """And is no space of the parent's parts, although the options name none."""
    notes = Notes()
    asked = options(home, tmp_path / "run", trials=4)
    wide = nas.derive_space(str(home / "parent.yaml"), name="mine")
    nas.search(wide, budgets=[BUDGET], data=str(home / "few.npz"), options=asked, progress=notes)
    run = read_run(tmp_path / "run")
    assert run.manifest["options"]["space"] == "mine"
    assert not run.is_repeatable
    assert not any("parts of the parent" in line for line in notes.lines)


def test_a_parent_that_is_no_member_of_the_space_is_refused(home: Path, tmp_path: Path) -> None:
    asked = options(home, tmp_path / "run", space="coatnet-small")
    with pytest.raises(OptionError, match="no member of --space coatnet-small"):
        nas.search(nas.load_space("coatnet-small"), budgets=[BUDGET], data=str(home / "few.npz"), options=asked)


def test_parents_without_weights_or_that_are_unknown_are_refused(home: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="give them by --weights"):
        load_parent(str(home / "parent.yaml"), None)
    with pytest.raises(
        OptionError, match=r"--weights FILE\.safetensors\. With --parent timm:tf_efficientnet_lite0 timm"
    ):
        load_parent("tf_efficientnet_lite0", None)
    with pytest.raises(OptionError, match="no such file"):
        load_parent(str(home / "parent.yaml"), str(home / "none.safetensors"))
    (tmp_path / "half" / "checkpoints").mkdir(parents=True)
    with pytest.raises(OptionError, match=r"half: this folder holds no exported network\. Give a winner's"):
        load_parent(str(tmp_path / "half"), None)
    with pytest.raises(NasError, match="--parent nowhere"):
        parent_architecture("nowhere")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"weights": "w.safetensors"}, "--weights is an option of --parent"),
        ({"importance": "taylor"}, "--importance is an option of --parent"),
        ({"layer_epochs": 0}, "--layer-epochs is an option of --parent"),
        ({"parent": "a", "supernet": "b"}, "--supernet b is trained already"),
        ({"parent": "a", "strategy": "single-path"}, "single-path does not learn"),
        ({"parent": "a", "parent_is_tuned": True, "parent_epochs": 3}, "leave out one of the two"),
    ],
)
def test_options_that_contradict_each_other_are_refused(given: dict[str, Any], said: str) -> None:
    own = SupernetOptions(**given)
    with pytest.raises(OptionError, match=said):
        own.validate(SearchOptions.of(space="coatnet-small"))


def test_a_parent_may_be_the_folder_of_a_training(home: Path, tmp_path: Path) -> None:
    shutil.copytree(home / "winner", tmp_path / "trained" / "network")
    found, expected = (load_parent(str(path), None) for path in (tmp_path / "trained", home / "winner"))
    assert found.sha256 == expected.sha256 != ""
    assert parent_architecture(str(tmp_path / "trained")) == parent_architecture(str(home / "winner"))


# -- what the parent was trained on ---------------------------------------------------------------------------------


def test_a_parent_that_was_trained_on_other_splits_of_the_same_data_is_refused(home: Path, tmp_path: Path) -> None:
    data = open_data(home / "few.npz").load(resolution=8, seed=0)
    network = fresh_network(architecture(), seed=0)
    folder = exported(tmp_path / "trained", network, data, data=describe_data(data), seed=5)
    said = r"was trained with --seed 5, which puts .* into its training images\. Give --seed 5"
    with pytest.raises(RunError, match=said):
        searched(home, tmp_path / "run", parent=str(folder), weights=None)
    assert not (tmp_path / "run").exists()


def test_a_parent_that_may_have_been_trained_on_the_test_images_is_said_to(home: Path, tmp_path: Path) -> None:
    source = open_data(home / "few.npz")
    data = source.load(resolution=8, seed=0)
    network = fresh_network(architecture(), seed=0)
    same = exported(tmp_path / "same", network, data, data=describe_data(data), seed=0)
    assert load_parent(str(same), None).caution(source.info, 0) is None
    unknown = load_parent(str(exported(tmp_path / "unknown", network, data)), None)
    assert "may have trained the weights" in str(unknown.caution(source.info, 0))
    others = replace(unknown, class_names=("a", "b", "c"))
    assert others.caution(source.info, 0) is None, "its classes are others than the data's"
