"""What a recipe may add to a training: each part does what it says and resumes with the same bits."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

import nas
from nas.data import Dataset
from nas.errors import OptionError, RunError
from nas.networks.network import Network
from nas.networks.residual_branches import residual_branches
from nas.progress import Silent
from nas.training import Recipe, evaluate, fresh_network, recalibrate, train_network
from nas.training import loop as loops
from nas.training.checkpoint import BEST, newest, read_facts, save_checkpoint
from nas.training.layer_decay import layer_groups
from nas.training.mixing import mixed
from nas.training.recipe import make_optimizer
from nas.training.standalone import balanced_weights, training_step
from nas.training.stochastic_depth import StochasticDepth
from nas.training.weight_average import WeightAverage

from .training_cases import CLASSES, StopAt, Stopped, member, recipe, same_tensors, tiny_data, tiny_space

SPACE, DATA = tiny_space(), tiny_data()
PARTS: dict[str, dict[str, Any]] = {
    "layer_decay": {"layer_decay": 0.6},
    "ema": {"ema": 0.9},
    "best": {"checkpoint": "best"},
    "patience": {"patience": 1, "epochs": 9},
    "class_weights": {"class_weights": "balanced"},
    "accumulation": {"accumulation": 3},
    "drop_path": {"drop_path": 0.5},
    "mixup": {"mixup": 0.4},
    "cutmix": {"cutmix": 1.0},
    "resized_crop": {"resized_crop": 0.4},
    "randaugment": {"randaugment": 7},
    "erasing": {"erasing": 0.5},
}
ALL = {
    **{name: value for part in PARTS.values() for name, value in part.items()},
    "epochs": 5,
    "patience": 2,
}


def network(seed: int = 1, layout: str = "CA") -> Network:
    return fresh_network(member(SPACE, layout), seed=seed)


def trained(how: Recipe, *, data: Dataset = DATA, **others: Any) -> tuple[Network, list[dict[str, Any]]]:
    one, rows = network(), list[dict[str, Any]]()
    train_network(one, data, how, **{"progress": Silent(), "on_epoch": rows.append, **others})
    return one, rows


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkpoint after every step."""
    monkeypatch.setattr(loops, "_CAUTION", 0.0)
    monkeypatch.setattr(loops, "_FIRST_S", -1.0)


@pytest.mark.usefixtures("often")
@pytest.mark.parametrize("part", [*PARTS, "all"])
@pytest.mark.parametrize("stop", [6, 9])
def test_every_part_changes_a_training_and_resumes_with_the_same_bits(tmp_path: Path, part: str, stop: int) -> None:
    how = recipe(**(ALL if part == "all" else PARTS[part]))
    whole, rows = trained(how)
    with pytest.raises(Stopped):
        trained(how, folder=tmp_path, progress=StopAt(stop))
    again, later = trained(how, folder=tmp_path)
    assert same_tensors(again.state_dict(), whole.state_dict())
    keys = ("epoch", "loss", "learning_rate", "validation_accuracy", "validation_loss")
    assert [[row[key] for key in keys] for row in later] == [[row[key] for key in keys] for row in rows][-len(later) :]
    once_more, none = trained(how, folder=tmp_path)
    assert same_tensors(once_more.state_dict(), whole.state_dict())
    assert none == []
    if part not in ("best", "patience", "class_weights"):  # these may change nothing on such data
        assert not same_tensors(whole.state_dict(), trained(recipe(epochs=how.epochs))[0].state_dict())


def test_a_recipe_of_an_earlier_version_is_what_it_was() -> None:
    old = {"epochs": 3, "batch_size": 12, "augment": "crop", "seed": 5, "learning_rate": 2e-3, "warmup": 0.1}
    assert Recipe.from_dict(old) == recipe()
    assert Recipe.from_dict(recipe(**ALL).to_dict()) == recipe(**ALL)
    with pytest.raises(RunError, match="A recipe has 'momentum', which this version does not know"):
        Recipe.from_dict({**old, "momentum": 0.9})


# -- layers ---------------------------------------------------------------------------------------------------


def test_learning_rates_decay_from_head_to_stem() -> None:
    one = network()
    factors = {id(parameter): scale for scale, *both in layer_groups(one, 0.5) for part in both for parameter in part}
    assert len(factors) == len(list(one.parameters())), "each parameter once"
    by_layer: dict[str, set[float]] = {}
    for name, parameter in one.named_parameters():
        layer = ".".join(name.split(".")[:4]) if name.startswith("stages") else name.split(".")[0]
        by_layer.setdefault(layer, set()).add(factors[id(parameter)])
    assert all(len(found) == 1 for found in by_layer.values())
    ordered = ["stem", *sorted(name for name in by_layer if name.startswith("stages")), "head"]
    assert [min(by_layer[name]) for name in ordered] == [0.5 ** (len(ordered) - 1 - i) for i in range(len(ordered))]
    rates = {
        group["lr_scale"]: group["weight_decay"] for group in make_optimizer(one, recipe(layer_decay=0.5)).param_groups
    }
    assert min(rates) == 0.5 ** (len(ordered) - 1)


def test_layer_decay_is_refused_where_there_are_no_layers() -> None:
    with pytest.raises(OptionError, match="layer_decay is for networks .* weight is in none: leave it at 1"):
        layer_groups(torch.nn.Linear(1, 1), 0.5)


# -- what is kept ---------------------------------------------------------------------------------------------


def test_the_average_follows_weights_and_buffers() -> None:
    module = torch.nn.BatchNorm1d(2)
    average = WeightAverage(module, 0.75)
    wanted = module.running_mean.clone()  # type: ignore[union-attr]
    for step in range(40):
        module.running_mean.fill_(float(step))  # type: ignore[union-attr]
        module.num_batches_tracked.fill_(step)  # type: ignore[union-attr]
        decay = min(0.75, (1 + step) / (10 + step))
        wanted = decay * wanted + (1 - decay) * step
        average.update(step)
    assert torch.allclose(average.module.running_mean, wanted)  # type: ignore[arg-type]
    assert average.module.num_batches_tracked == 39
    assert not any(parameter.requires_grad for parameter in average.module.parameters())


def test_the_average_is_what_a_training_ends_with(tmp_path: Path) -> None:
    """Per step, the last weights weigh 1 - decay."""
    states = []

    class Watch(StopAt):
        def advance(self, n: int = 1, **figures: Any) -> None:
            if "loss" in figures:
                states.append({name: p.detach().clone() for name, p in one.named_parameters()})

    one = network()
    average = {name: p.detach().clone() for name, p in one.named_parameters()}
    train_network(one, DATA, recipe(ema=0.5), progress=Watch(0), folder=tmp_path)
    for step, state in enumerate(states):
        decay = min(0.5, (1 + step) / (10 + step))
        average = {name: decay * average[name] + (1 - decay) * value for name, value in state.items()}
    for name, parameter in one.named_parameters():
        assert torch.allclose(parameter, average[name], atol=1e-6)
    plain, _ = trained(recipe())
    for name, parameter in plain.named_parameters():
        assert torch.equal(parameter, states[-1][name]), "the average has no influence on what is averaged"


@pytest.mark.parametrize("in_folder", [False, True])
def test_the_best_epoch_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_folder: bool) -> None:
    values = iter([0.2, 0.9, 0.4, 0.123])

    def told(*_: Any) -> dict[str, float]:
        return {"validation_accuracy": next(values), "validation_loss": 1.0}

    monkeypatch.setattr("nas.training.standalone._validated", told)
    best, rows = trained(recipe(checkpoint="best"), folder=tmp_path if in_folder else None)
    assert [row["validation_accuracy"] for row in rows] == [0.2, 0.9, 0.4]
    monkeypatch.undo()
    second = network()
    train_network(second, DATA, recipe(), progress=Silent(), folder=tmp_path / "second", until=2)
    for (name, a), (_, b) in zip(best.named_parameters(), second.named_parameters(), strict=True):
        assert torch.equal(a, b), name


def test_the_best_of_a_training_whose_checkpoints_were_deleted_is_not_taken(tmp_path: Path) -> None:
    how = recipe(checkpoint="best")
    expected, _ = trained(how)
    other, _ = trained(recipe(checkpoint="best", seed=9, epochs=12), folder=tmp_path)
    save_checkpoint(tmp_path / BEST, other, None, {"step": 48, "value": 2.0})
    for path in tmp_path.glob("step-*"):
        path.unlink()
    found, _ = trained(how, folder=tmp_path)
    assert same_tensors(found.state_dict(), expected.state_dict())


def test_a_best_epoch_whose_weights_are_lost_is_not_replaced_by_a_worse_one(tmp_path: Path) -> None:
    how = recipe(checkpoint="best")
    trained(how, folder=tmp_path, until=2)
    (tmp_path / BEST).unlink()
    with pytest.raises(RunError, match=r"best\.safetensors, the weights of the best epoch, is gone or damaged"):
        trained(how, folder=tmp_path)


def test_chosen_epochs_alone_are_validated_and_by_the_average(tmp_path: Path) -> None:
    how = recipe(ema=0.9)
    _, whole = trained(how, validate=True)
    _, rows = trained(how, validate={2}, folder=tmp_path)
    assert [row["validation_accuracy"] for row in rows] == [None, whole[1]["validation_accuracy"], None]
    assert [row["validation_loss"] for row in rows] == [None, whole[1]["validation_loss"], None]
    assert whole[1]["validation_loss"] != whole[1]["current_validation_loss"]
    assert not (tmp_path / BEST).exists(), "the last epoch's weights are those that are kept"


def test_patience_ends_a_training_that_gains_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = iter([0.2, 0.5, 0.5, 0.4, 0.6, 0.9, 0.9, 0.9])
    monkeypatch.setattr(
        "nas.training.standalone._validated",
        lambda *_: {"validation_accuracy": next(values), "validation_loss": 1.0},
    )
    _, rows = trained(recipe(patience=2, epochs=8), folder=tmp_path)
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4]
    last = newest(tmp_path)
    assert last is not None
    facts = read_facts(last)
    assert (facts["ended"], facts["step"]) == (True, 16)


# -- the loss -------------------------------------------------------------------------------------------------


def test_parts_of_a_batch_give_the_gradients_of_the_whole_where_nothing_looks_across_images() -> None:
    images, labels = torch.randn(12, 1, 8, 8), torch.arange(12) % CLASSES
    gradients = []
    for parts in (1, 3, 5):
        one = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, CLASSES))
        torch.nn.init.constant_(one[1].weight, 0.01)
        torch.nn.init.zeros_(one[1].bias)
        loss = training_step(one, recipe(accumulation=parts))(images, labels, 0)
        gradients.append((loss, one[1].weight.grad))
    for loss, gradient in gradients[1:]:
        assert loss == pytest.approx(gradients[0][0], rel=1e-5)
        assert torch.allclose(gradient, gradients[0][1], atol=1e-6)


@pytest.mark.parametrize("others", [{}, {"label_smoothing": 0.2}, {"mixup": 0.4}])
def test_parts_of_a_batch_keep_the_weights_of_classes(others: dict[str, Any]) -> None:
    images, labels, weights = torch.randn(12, 1, 8, 8), torch.tensor([0] * 9 + [1, 2, 2]), torch.tensor([0.4, 4.0, 2.0])
    found = []
    for parts in (1, 2, 5, 12):
        one = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, CLASSES))
        torch.nn.init.constant_(one[1].weight, 0.01)
        torch.nn.init.zeros_(one[1].bias)
        how = recipe(accumulation=parts, **others)
        loss = training_step(one, how, class_weights=weights, classes=CLASSES)(images, labels, 0)
        found.append((loss, one[1].weight.grad))
    for loss, gradient in found[1:]:
        assert loss == pytest.approx(found[0][0], rel=1e-5)
        assert torch.allclose(gradient, found[0][1], atol=1e-6)


@pytest.mark.parametrize(("batch", "parts"), [(64, 10), (10, 4), (12, 6), (13, 6)])
def test_no_part_of_a_batch_has_one_image_alone(batch: int, parts: int) -> None:
    seen: list[int] = []

    class Watch(torch.nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            seen.append(len(x))
            return super().forward(x)

    step = training_step(Watch(4, CLASSES), recipe(accumulation=parts))
    step(torch.randn(batch, 4), torch.arange(batch) % CLASSES, 0)
    assert len(seen) == parts
    assert sum(seen) == batch
    assert min(seen) >= 2


def test_parts_that_batch_norm_cannot_use_are_refused() -> None:
    with pytest.raises(OptionError, match=r"a batch of 1 image: BatchNorm needs 2"):
        trained(recipe(batch_size=1))
    with pytest.raises(OptionError, match=r"accumulation=7 leaves .* of 12 images fewer than 2: give at most 6"):
        trained(recipe(accumulation=7))


def test_balanced_weights_are_inverse_to_counts_and_average_to_one() -> None:
    labels = torch.tensor([0] * 6 + [1] * 3 + [2] * 3)
    data = replace(DATA, train=replace(DATA.train.first(12), labels=labels))
    weights = balanced_weights(data, recipe())
    assert weights.tolist() == pytest.approx([2 / 3, 4 / 3, 4 / 3])
    assert weights[labels].mean().item() == pytest.approx(1)
    fixed = torch.nn.Linear(64, CLASSES)
    step = training_step(
        torch.nn.Sequential(torch.nn.Flatten(), fixed), recipe(label_smoothing=0.0), class_weights=weights
    )
    images = torch.randn(12, 1, 8, 8)
    each = F.cross_entropy(fixed(images.flatten(1)), labels, reduction="none")
    assert step(images, labels, 0) == pytest.approx(((each * weights[labels]).sum() / 12).item(), rel=1e-5)


@pytest.mark.parametrize("others", [{}, {"mixup": 0.2}])
def test_a_class_a_hundred_times_as_common_is_learned_with_smoothed_labels(others: dict[str, Any]) -> None:
    labels = torch.tensor([0] * 100 + [1])
    images = F.one_hot(labels, 2).float()[:, :, None, None]
    one = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(2, 2))
    step = training_step(
        one, recipe(label_smoothing=0.1, **others), class_weights=torch.tensor([0.505, 50.5]), classes=2
    )
    optimizer = torch.optim.SGD(one.parameters(), lr=1.0)
    for number in range(300):
        step(images, labels, number)
        optimizer.step()
    assert one(torch.eye(2)[:, :, None, None]).argmax(1).tolist() == [0, 1]


def test_mixup_blends_images_and_labels_alike() -> None:
    labels = torch.arange(9) % CLASSES
    images = F.one_hot(labels, CLASSES).float()[:, :, None, None].expand(-1, -1, 4, 4).contiguous()
    for step in range(20):
        found, targets = mixed(images, labels, recipe(mixup=0.8), classes=CLASSES, step=step)
        assert torch.allclose(found[:, :, 0, 0], targets, atol=1e-6)
        assert torch.allclose(targets.sum(1), torch.ones(9))


def test_cutmix_gives_each_class_the_share_of_its_area() -> None:
    labels = torch.arange(9) % CLASSES
    images = F.one_hot(labels, CLASSES).float()[:, :, None, None].expand(-1, -1, 16, 16).contiguous()
    shares = set()
    for step in range(20):
        found, targets = mixed(images, labels, recipe(cutmix=1.0), classes=CLASSES, step=step)
        assert torch.allclose(found.mean((2, 3)), targets, atol=1e-6)
        assert set(found.unique().tolist()) <= {0.0, 1.0}
        shares.add(round(targets.max(1).values.min().item(), 4))
    assert len(shares) > 5
    assert torch.equal(images[:, :, 0, 0], F.one_hot(labels, CLASSES).float()), "the batch itself is left alone"


def test_a_recipe_with_both_mixes_by_one_of_them() -> None:
    images, labels = torch.rand(8, 1, 16, 16), torch.arange(8) % CLASSES
    kinds = []
    for step in range(30):
        found, _ = mixed(images, labels, recipe(mixup=1.0, cutmix=1.0), classes=CLASSES, step=step)
        kinds.append(bool(torch.isin(found, images).all()))
    assert 5 < sum(kinds) < 25


# -- stochastic depth -----------------------------------------------------------------------------------------


def test_stochastic_depth_drops_branches_in_training_alone_and_leaves_nothing_behind() -> None:
    one = network(layout="CC")
    before, images = one.state_dict(), torch.randn(16, 1, 8, 8)
    for parameter in one.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    plain = one.eval()(images)
    depth = StochasticDepth(one, 0.5, seed=0)
    assert torch.equal(one(images), plain), "nothing in eval mode"
    one.train()
    outputs = []
    for step in (0, 0, 1):
        depth.begin(step)
        depth.draw(len(images), images.device)
        outputs.append(one(images))
    assert torch.equal(outputs[0], outputs[1])
    assert not torch.equal(outputs[0], outputs[2])
    depth.remove()
    assert torch.equal(one(images), one(images))
    assert not any(module._forward_hooks for module in one.modules())
    assert before.keys() == one.state_dict().keys()


@pytest.mark.parametrize(("name", "branches"), [("mobilevit_xxs", 21), ("sbcformer_xs", 25), ("nextvit_small", 44)])
def test_branches_within_other_containers_are_dropped_too(name: str, branches: int) -> None:
    one = nas.build(nas.load_architecture(name).at_resolution(64)).train()
    found = [depth for depth, _ in residual_branches(one.stages)]
    assert len(found) == branches
    assert found == sorted(found)
    images = torch.randn(2, 3, 64, 64)
    depth = StochasticDepth(one, 0.5, seed=0)
    depth.begin(0)
    depth.draw(2, images.device)
    one(images).sum().backward()


def test_the_mean_over_drops_is_the_branch_itself() -> None:
    one = network(layout="CC")
    last = list(one.stages)[-1].layers[-1][0].mixer  # type: ignore[union-attr]
    seen: list[torch.Tensor] = []
    raw: list[torch.Tensor] = []
    last.register_forward_hook(lambda m, i, o: raw.append(o))
    depth = StochasticDepth(one, 0.3, seed=0)
    last.register_forward_hook(lambda m, i, o: seen.append(o))
    one.train()
    depth.begin(0)
    depth.draw(4000, torch.device("cpu"))
    with torch.no_grad():
        torch.nn.init.ones_(next(p for p in reversed([*last.parameters()]) if p.ndim == 1))
        one(torch.randn(4000, 1, 8, 8))
    dropped = (seen[0].flatten(1) == 0).all(1)
    assert dropped.float().mean().item() == pytest.approx(0.3, abs=0.03)
    assert torch.allclose(seen[0][~dropped], raw[0][~dropped] / 0.7)


def test_parts_together_still_learn() -> None:
    how = recipe(epochs=12, learning_rate=8e-3, **{k: v for k, v in ALL.items() if k not in ("epochs", "patience")})
    one, _ = trained(how)
    recalibrate(one, DATA, how)
    assert evaluate(one, DATA.search_validation, DATA, how) > 1.5 / CLASSES
