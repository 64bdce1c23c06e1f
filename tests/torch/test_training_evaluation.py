"""BatchNorm statistics and accuracies against figures made by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from nas.data import Split
from nas.errors import TrainingError
from nas.training import evaluate, recalibrate
from nas.training.evaluation import batch_norms, gathering_statistics, images_counted

from .training_cases import CLASSES, recipe, same_tensors, tiny_data

DATA = tiny_data()


class Brightness(nn.Module):
    """Says "dark", "grey" or "bright" by two thresholds on the mean of the normalized image."""

    def __init__(self, low: float, high: float) -> None:
        super().__init__()
        self.low, self.high = low, high

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mean = x.mean((1, 2, 3))
        chosen = (mean > self.low).long() + (mean > self.high).long()
        return nn.functional.one_hot(chosen, CLASSES).float()


class Broken(Brightness):
    """Its answer for one image is not a number."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits = super().forward(x)
        logits[-1] = float("nan")
        return logits


@pytest.mark.parametrize("metric", ["accuracy", "balanced-accuracy", "negative-loss"])
def test_outputs_that_are_not_finite_have_no_accuracy(metric: str) -> None:
    with pytest.raises(TrainingError, match="outputs are not finite"):
        evaluate(Broken(-0.5, 0.5), DATA.search_validation, DATA, recipe(), metric=metric)


def test_recalibration_averages_the_statistics_of_all_batches() -> None:
    network = nn.Sequential(nn.BatchNorm2d(1, momentum=0.3), nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1))
    norm = network[0]
    norm.running_mean.fill_(99.0)
    recalibrate(network, DATA, recipe(), images=40, batch_size=16)
    # Two whole batches of 16; the last 8 are left out so that all count alike.
    images = DATA.train.images[:32].double() / 255
    batches = ((images - 0.5) / 0.25).split(16)
    mean = torch.stack([batch.mean() for batch in batches]).mean()
    var = torch.stack([batch.var() for batch in batches]).mean()
    assert norm.running_mean.item() == pytest.approx(mean.item(), abs=1e-5)
    assert norm.running_var.item() == pytest.approx(var.item(), rel=1e-5)
    assert norm.num_batches_tracked.item() == 2
    assert (norm.momentum, network[2].momentum) == (0.3, 0.1)


def test_gathering_statistics_that_breaks_off_leaves_the_momenta_as_they_were() -> None:
    norms = batch_norms(nn.Sequential(nn.BatchNorm2d(1, momentum=0.3), nn.Sequential(nn.BatchNorm1d(2))))

    def broken_off() -> None:
        with gathering_statistics(norms):
            assert [(norm.momentum, norm.training) for norm in norms] == [(None, True)] * 2
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        broken_off()
    assert [(norm.momentum, norm.training) for norm in norms] == [(0.3, False), (0.1, False)]


def test_recalibration_twice_gives_the_same_statistics() -> None:
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    recalibrate(network, DATA, recipe())
    first = {name: value.clone() for name, value in network.state_dict().items()}
    recalibrate(network, DATA, recipe())
    assert same_tensors(network.state_dict(), first)


@pytest.mark.parametrize("training", [True, False])
def test_recalibration_leaves_all_else_alone(training: bool) -> None:
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Dropout(0.5)).train(training)
    before = {name: value.clone() for name, value in network.named_parameters()}
    generator = torch.get_rng_state()
    recalibrate(network, DATA, recipe())
    assert same_tensors(dict(network.named_parameters()), before)
    assert all(parameter.grad is None for parameter in network.parameters())
    assert all(module.training == training for module in network.modules())
    assert torch.equal(torch.get_rng_state(), generator)


def test_a_network_without_batch_norm_is_not_even_run() -> None:
    recalibrate(nn.Sequential(nn.Linear(999, 1)), DATA, recipe())


def test_accuracy_is_the_share_of_images_that_are_right() -> None:
    # Normalised brightness: dark below -1.05, grey between -0.6 and 0.4, bright above 0.8.
    assert evaluate(Brightness(-0.8, 0.6), DATA.search_validation, DATA, recipe()) == 1
    # Everything bright is called grey: a third is wrong.
    wrong = Brightness(-0.8, 9)
    assert evaluate(wrong, DATA.search_validation, DATA, recipe(), batch_size=7) == pytest.approx(2 / 3)


def test_balanced_accuracy_is_the_mean_over_classes() -> None:
    whole = DATA.search_validation
    # 6 dark, 2 grey and 2 bright: calling all bright ones grey leaves 8 of 10 right, but one class of three wrong.
    order = torch.cat([torch.arange(30)[whole.labels == c][:n] for c, n in enumerate((6, 2, 2))])
    split = Split(images=whole.images[order], labels=whole.labels[order])
    wrong = Brightness(-0.8, 9)
    assert evaluate(wrong, split, DATA, recipe()) == pytest.approx(0.8)
    assert evaluate(wrong, split, DATA, recipe(), metric="balanced-accuracy") == pytest.approx(2 / 3)


def test_a_class_that_a_split_lacks_does_not_count() -> None:
    whole = DATA.search_validation
    split = Split(images=whole.images[whole.labels != 2], labels=whole.labels[whole.labels != 2])
    found = evaluate(Brightness(-9, -8.5), split, DATA, recipe(), metric="balanced-accuracy")
    assert found == 0
    assert evaluate(Brightness(-0.8, 9), split, DATA, recipe(), metric="balanced-accuracy") == 1


def test_evaluation_restores_the_mode_and_changes_nothing() -> None:
    network = nn.Sequential(nn.BatchNorm2d(1), nn.Flatten(), nn.Linear(64, CLASSES)).train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    evaluate(network, DATA.test, replace(DATA), recipe())
    assert network.training
    assert same_tensors(network.state_dict(), before)


def test_the_error_of_balanced_accuracy_is_that_of_fewer_images_where_classes_differ_in_size() -> None:
    labels = torch.tensor([0] * 90 + [2] * 10)  # class 1 has no images
    split = Split(images=torch.zeros(100, 1, 2, 2, dtype=torch.uint8), labels=labels)
    assert images_counted(split, "accuracy") == 100
    counted, right = images_counted(split, "balanced-accuracy"), 0.8
    assert counted == 36
    torch.manual_seed(0)
    answers = torch.rand(20_000, 100) < right
    balanced = (answers[:, :90].double().mean(1) + answers[:, 90:].double().mean(1)) / 2
    assert abs(balanced.std().item() / (right * (1 - right) / counted) ** 0.5 - 1) < 0.03
    even = Split(images=split.images, labels=torch.tensor([0, 1] * 50))
    assert images_counted(even, "balanced-accuracy") == 100
