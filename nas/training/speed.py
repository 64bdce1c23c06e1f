"""How fast networks train on this machine, measured in a few seconds for a plan's sake."""

from __future__ import annotations

import time
from collections.abc import Sequence
from statistics import mean

import torch

from nas.architecture import Architecture
from nas.training.recipe import Recipe, make_optimizer
from nas.training.standalone import fresh_network, training_step

_WARM_UP, _LEAST_STEPS, _ENOUGH_S = 2, 3, 0.8


def measure_images_per_second(architectures: Sequence[Architecture], recipe: Recipe) -> float:
    """The images a second that networks like these train at, on average, as `train_network` trains them.

    Each network takes a few steps on random images: seconds where the steps of a real training are short.

    Args:
        architectures: At the resolution that they are trained at.
    """
    return 1 / mean(_seconds_per_image(each, recipe) for each in architectures)


def _seconds_per_image(architecture: Architecture, recipe: Recipe) -> float:
    network = fresh_network(architecture, seed=0).to(recipe.device)
    optimizer, step = make_optimizer(network, recipe), training_step(network, recipe)
    side, count = architecture.input.resolution, recipe.batch_size
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(count, architecture.input.channels, side, side, generator=generator)
    images = images.to(recipe.device, memory_format=torch.channels_last)
    labels = torch.randint(architecture.num_classes, (count,), generator=generator).to(recipe.device)
    began, steps = 0.0, 0
    while steps < _WARM_UP + _LEAST_STEPS or time.perf_counter() - began < _ENOUGH_S:
        if steps == _WARM_UP:
            began = time.perf_counter()
        step(images, labels, steps)
        optimizer.step()
        steps += 1
    return (time.perf_counter() - began) / ((steps - _WARM_UP) * count)
