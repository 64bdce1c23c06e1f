"""The learning rate by hand, which parameters decay, and where forward passes run."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from nas.ops.positions import RelativeBias
from nas.training.recipe import make_optimizer

from .training_cases import recipe


def test_learning_rate_rises_then_falls_by_half_a_cosine() -> None:
    given = recipe(learning_rate=1.0, warmup=0.2)
    rates = [given.learning_rate_at(step, 10) for step in range(10)]
    # Two steps of warm-up, then (1 + cos(pi k / 8)) / 2 for k = 0 .. 7.
    expected = [0.5, 1.0, *(0.5 * (1 + math.cos(math.pi * k / 8)) for k in range(8))]
    assert rates == pytest.approx(expected)
    assert rates[6] == pytest.approx(0.5)
    assert given.learning_rate_at(10, 10) == pytest.approx(0.0)


def test_a_training_of_one_step_has_a_learning_rate() -> None:
    assert recipe(learning_rate=0.3).learning_rate_at(0, 1) == pytest.approx(0.3)


def test_weights_decay_but_those_that_their_op_spares_do_not() -> None:
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Linear(2, 2), RelativeBias(2, (2, 2)))
    given = recipe(weight_decay=0.07)
    optimizer = make_optimizer(network, given)
    decay = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    found = {name: decay[id(parameter)] for name, parameter in network.named_parameters()}
    assert {name for name, value in found.items() if value == 0.07} == {"0.weight", "2.weight"}
    assert len(found) == 7
    assert set(found.values()) == {0.07, 0.0}


def test_bfloat16_is_what_products_are_computed_in_while_weights_stay_float32() -> None:
    layer = nn.Linear(4, 4)
    with recipe(dtype="bfloat16").autocast():
        assert layer(torch.zeros(1, 4)).dtype == torch.bfloat16
    with recipe(dtype="float32").autocast():
        assert layer(torch.zeros(1, 4)).dtype == torch.float32
    assert layer.weight.dtype == torch.float32
