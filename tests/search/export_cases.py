"""Small networks for tests of the export: drawn from coatnet-small, in ConvNeXt's and ViT's style, and both in one."""

from __future__ import annotations

import random
from typing import Any

import torch

import nas
from nas.architecture import Architecture
from nas.export import CardFacts, ExportedModel
from nas.networks.network import Network
from nas.ops import normalize

# The second is rounded up on the way down: 18, 9, 5, 5, 3.
RESOLUTION, TRAINED = 32, 18
MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)
LEVELS = (0, 4095)
CLASSES = ("airplane", "a|b`c", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck\n")
FACTS = CardFacts(
    title="Winner 1 of coatnet-small on digits",
    data="digits (1,797 images, 10 classes)",
    space="coatnet-small",
    budgets=("42 MMACs",),
    epochs=3,
    seed=7,
    seconds=35.2,
    validation_accuracy=0.95,
    test_accuracy=0.9312,
    test_count=360,
    command="nas-search --space coatnet-small --budget 42MFLOPs",
    data_option="my images/cifar",
)
CONVNEXT: dict[str, Any] = {
    "format": 2,
    "input": {"channels": 3, "resolution": RESOLUTION},
    "stem": {"op": "serial", "ops": [{"op": "conv", "width": 8, "kernel_size": 4, "stride": 4, "padding": 0}]},
    "stages": [
        {
            "layers": [
                {
                    "repeat": 2,
                    "branches": [
                        {
                            "mixer": {
                                "op": "serial",
                                "ops": [
                                    {"op": "depthwise_conv"},
                                    {"op": "layer_norm"},
                                    {"op": "feed_forward", "activation": "gelu_tanh"},
                                ],
                            },
                            "scale": 0.1,
                        }
                    ],
                }
            ]
        },
        {
            "transition": {
                "op": "serial",
                "ops": [
                    {"op": "layer_norm"},
                    {"op": "conv", "width": 16, "kernel_size": 2, "stride": 2, "padding": 0},
                ],
            },
            "layers": [
                {
                    "branches": [
                        {
                            "norm": {"op": "layer_norm"},
                            "mixer": {"op": "attention", "width": 16, "head_dim": 8, "position": "none"},
                            "scale": 0.1,
                        },
                        {"norm": {"op": "layer_norm"}, "mixer": {"op": "feed_forward", "expand_ratio": 2}},
                    ]
                }
            ],
        },
    ],
    "head": {"op": "classifier", "num_classes": 10, "norm": {"op": "layer_norm"}, "hidden": False},
}


def convnext() -> Architecture:
    return normalize(Architecture.from_dict(CONVNEXT))


def coatnet(layout: str = "CCAA", tries: int = 40) -> Architecture:
    """The cheapest of some draws with a layout, at `RESOLUTION`."""
    space = nas.load_space("coatnet-small")
    drawn = [space.sample(random.Random(seed)) for seed in range(tries)]
    fitting = [each for each in drawn if space.layout(space.encode(each)) == layout]
    return min(fitting, key=lambda each: nas.cost(each).macs)


def mixed() -> Architecture:
    """Everything in one: stages C, C, A, A as CoAtNet has them, then one in ConvNeXt's style."""
    first, last = coatnet().to_dict(), convnext().to_dict()
    stage = {"transition": last["stages"][1]["transition"], "layers": last["stages"][0]["layers"]}
    return normalize(Architecture.from_dict({**first, "stages": [*first["stages"], stage]}))


def perturbed(network: Network, seed: int = 0) -> Network:
    """The network with nothing left at a value that would hide a mistake: statistics, biases and scales moved."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            parameter += noise * (0.3 if parameter.ndim == 1 or parameter.ndim == 3 else 0.02)
        for name, buffer in network.named_buffers():
            if name.endswith("running_mean"):
                buffer += torch.randn(buffer.shape, generator=generator) * 0.3
            elif name.endswith("running_var"):
                buffer *= torch.rand(buffer.shape, generator=generator) + 0.5
    return network.eval()


def product(architecture: Architecture, facts: CardFacts = FACTS) -> ExportedModel:
    return ExportedModel(
        architecture=architecture,
        trained_resolution=TRAINED,
        mean=MEAN,
        std=STD,
        class_names=CLASSES,
        levels=LEVELS,
        facts=facts,
    )
