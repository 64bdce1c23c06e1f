"""Which initial weights help short trainings? Each family's rules against torch's defaults.

OMP_NUM_THREADS=1 python experiments/initialization/run.py --data cifar10.npz --work runs/initialization
"""

from __future__ import annotations

import argparse
import json
import math
import random
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

import nas
from nas.architecture import Architecture
from nas.budget import Budget
from nas.data import Dataset, open_data
from nas.networks.network import Network
from nas.ops import normalize
from nas.ops.cell import BasicBlock
from nas.ops.combine import Residual
from nas.ops.conv import Bottleneck
from nas.progress import Silent
from nas.run import atomic_write
from nas.sampling.budget_sampler import BudgetSampler
from nas.training import Recipe, evaluate, fresh_network, learning_rate_for, train_network

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from provenance import provenance
from tables import write_rows

RESULTS = Path(__file__).resolve().parents[2] / "results" / "initialization"
IMAGES, TESTED, EPOCHS, BATCH, SEEDS = 5000, 4000, 3, 64, (0, 1)
NORM = {"op": "layer_norm"}
BATCH_NORM = {"op": "batch_norm", "eps": 1e-5, "momentum": 0.1}
VIT = {
    "format": 2,
    "input": {"kind": "image", "channels": 3, "resolution": 32},
    "stem": {
        "op": "serial",
        "ops": [
            {"op": "conv", "width": 64, "kernel_size": 4, "stride": 4, "padding": 0},
            {"op": "class_token"},
            {"op": "position"},
        ],
    },
    "stages": [
        {
            "layers": [
                {
                    "repeat": 3,
                    "branches": [
                        {"norm": NORM, "mixer": {"op": "attention", "head_dim": 32, "position": "none"}},
                        {"norm": NORM, "mixer": {"op": "feed_forward"}},
                    ],
                }
            ]
        }
    ],
    "head": {"op": "classifier", "num_classes": 10, "norm": NORM, "norm_first": True, "hidden": False, "pool": "token"},
}


def bottleneck(width: int, stride: int = 1, repeat: int = 1) -> dict[str, Any]:
    """Residual bottlenecks with a 3x3 convolution inside, each followed by ReLU."""
    mixer = {"op": "bottleneck", "width": width, "stride": stride, "bottle_ratio": 0.5, "mixer": {"op": "conv"}}
    shortcut = {"op": "conv_shortcut", "width": width, "stride": stride}
    after = {"mixer": {"op": "activation", "name": "relu"}, "shortcut": {"op": "none"}}
    return {"repeat": repeat, "branches": [{"mixer": mixer, "shortcut": shortcut}, after]}


RESNET = {
    "format": 2,
    "input": {"kind": "image", "channels": 3, "resolution": 32},
    "stem": {"op": "conv_norm", "width": 32, "stride": 2, "activation": "relu"},
    "stages": [
        {"layers": [bottleneck(32, repeat=2)]},
        {"layers": [bottleneck(64, 2), bottleneck(64)]},
        {"layers": [bottleneck(128, 2), bottleneck(128)]},
    ],
    "head": {"op": "classifier", "num_classes": 10, "hidden": False},
}


# -- rules ---------------------------------------------------------------------------------------------------------


def torch_default(network: Network) -> None:
    """Every layer as torch initializes it."""
    for module in network.modules():
        if isinstance(module, nn.Linear | nn.Conv2d | nn.BatchNorm2d):
            module.reset_parameters()


def truncated(network: Network) -> None:
    """Linear maps: truncated normal of deviation 0.02, biases zero (ViT, Swin, DeiT)."""
    for module in network.modules():
        if isinstance(module, nn.Linear):
            nn.init.trunc_normal_(module.weight, std=0.02)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def truncated_body(network: Network) -> None:
    """The same, but for the classifier."""
    kept = {name: p.clone() for name, p in network.head.named_parameters()}
    truncated(network)
    for name, parameter in network.head.named_parameters():
        parameter.copy_(kept[name])


def xavier(network: Network) -> None:
    """Linear maps: Xavier's uniform, biases zero (timm's CoAtNet)."""
    for module in network.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def fan_out(network: Network) -> None:
    """Convolutions: normal of variance 2 / (kernel * channels out / groups), biases zero (EfficientNet)."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            fan = math.prod(module.kernel_size) * module.out_channels / module.groups
            nn.init.normal_(module.weight, std=math.sqrt(2 / fan))
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def zero_gamma(network: Network) -> None:
    """The scale of a residual branch's last BatchNorm zero (ResNet: Goyal et al. 2017; LeViT)."""
    for module in network.modules():
        last: Any = None
        if isinstance(module, BasicBlock):
            last = module.second
        elif isinstance(module, Residual) and isinstance(module.mixer, Bottleneck):
            last = module.mixer.norm3
        elif isinstance(module, Residual) and isinstance(module.shortcut, nn.Identity) and module.scale is None:
            last = module.mixer
        inner = [] if last is None else [each for each in last.modules() if not isinstance(each, nn.Identity)]
        if inner and isinstance(inner[-1], nn.BatchNorm2d):
            nn.init.zeros_(inner[-1].weight)


RULES: dict[str, tuple[Callable[[Network], None], ...]] = {
    "torch": (),
    "truncated": (truncated,),
    "truncated body": (truncated_body,),
    "xavier": (xavier,),
    "fan-out": (fan_out,),
    "zero gamma": (zero_gamma,),
}
LINEAR = ("torch", "truncated", "truncated body", "xavier")
# What can make a difference there, per seed; "ops": the weights that the ops give now, by the rules that were adopted.
ASKED = {
    "coatnet-small CCCC": (("torch", "truncated", "xavier", "fan-out"), ("torch", "ops", "xavier", "fan-out")),
    "coatnet-small CCCA": ((*LINEAR, "fan-out"), ("torch", "ops", "xavier", "fan-out")),
    "coatnet-small CCAA": ((*LINEAR, "fan-out"), ("torch", "ops")),
    "coatnet-small CAAA": ((*LINEAR, "fan-out"), ("torch", "ops")),
    "coatnet-small AAAA": (LINEAR, ("torch", "ops")),
    "vit": (LINEAR, ()),
    "levit": (("torch", "xavier", "zero gamma"), ("torch", "zero gamma")),
    "efficientformerv2": (("torch", "xavier"), ()),
    "nats-size": (("torch", "zero gamma"), ()),
    "resnet": (("torch", "fan-out", "zero gamma"), ("torch", "zero gamma")),
}


# -- trainings -----------------------------------------------------------------------------------------------------


def networks() -> dict[str, Architecture]:
    """What is trained: coatnet-small's five layouts at 3 to 5 MMACs, one network of each other family."""
    found: dict[str, Architecture] = {}
    for layout in ("CCCC", "CCCA", "CCAA", "CAAA", "AAAA"):
        sampler = sampled("coatnet-small", "5MFLOPs" if layout == "AAAA" else "3MFLOPs")
        found[f"coatnet-small {layout}"] = sampler.sample(random.Random(0), layout=layout).architecture
    found["vit"], found["resnet"] = (normalize(Architecture.from_dict(each)) for each in (VIT, RESNET))
    for space, budget in (("levit", "5MFLOPs"), ("efficientformerv2", "5MFLOPs"), ("nats-size", "6MFLOPs")):
        found[space] = sampled(space, budget).sample(random.Random(0)).architecture
    return found


def sampled(space: str, budget: str) -> BudgetSampler:
    return BudgetSampler(nas.load_space(space).adapted(resolution=32, num_classes=10), [Budget.parse(budget)])


def train(name: str, architecture: Architecture, rule: str, seed: int, data: Dataset) -> dict[str, Any]:
    """One training, as `nas train` does it, from the given initial weights."""
    network = fresh_network(architecture, seed=seed)
    if rule != "ops":
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.manual_seed(seed)
            for apply in (torch_default, *RULES[rule]):
                apply(network)
    cost, losses = nas.cost(architecture), list[float]()
    recipe = Recipe(
        epochs=EPOCHS, batch_size=BATCH, learning_rate=learning_rate_for(cost.params, BATCH), seed=seed
    )  # fmt: skip
    began = time.process_time()
    validation = train_network(
        network, data, recipe, progress=Silent(), on_epoch=lambda row: losses.append(row["loss"])
    )  # fmt: skip
    return {
        "network": name,
        "rule": rule,
        "seed": seed,
        "macs": cost.macs,
        "params": cost.params,
        "first_loss": round(losses[0], 4),
        "last_loss": round(losses[-1], 4),
        "validation_accuracy": round(validation, 4),
        "test_accuracy": round(evaluate(network, data.test.first(TESTED), data, recipe), 4),
        "cpu_seconds": round(time.process_time() - began, 1),
    }


def differences(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Per family and rule, how much better than torch's defaults, with its standard error over networks and seeds."""
    reached = {(row["network"], row["rule"], row["seed"]): row["test_accuracy"] for row in rows}
    gains: dict[tuple[str, str], list[float]] = {}
    for (name, rule, seed), accuracy in reached.items():
        if rule != "torch":
            for family in (name.split()[0], *([name] if " " in name else [])):
                gains.setdefault((family, rule), []).append(accuracy - reached[name, "torch", seed])
    return [
        {
            "family": family,
            "rule": rule,
            "pairs": len(found),
            "gain": round(statistics.mean(found), 4),
            "standard_error": round(statistics.stdev(found) / math.sqrt(len(found)), 4) if len(found) > 1 else "",
        }
        for (family, rule), found in sorted(gains.items())
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="CIFAR-10 as an .npz file")
    parser.add_argument("--work", type=Path, required=True)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    asked.work.mkdir(parents=True, exist_ok=True)
    given = open_data(str(asked.data)).load(resolution=32, seed=0)
    train_images, held = IMAGES * 4 // 5, IMAGES // 5
    data = replace(given, train=given.train.first(train_images), search_validation=given.search_validation.first(held))
    kept = asked.work / "trainings.jsonl"
    rows = [json.loads(line) for line in kept.read_text().splitlines()] if kept.exists() else []
    done = {(row["network"], row["rule"], row["seed"]) for row in rows}
    for seed in SEEDS:
        for name, architecture in networks().items():
            for rule in ASKED[name][seed]:
                if (name, rule, seed) not in done:
                    rows.append(train(name, architecture, rule, seed, data))
                    atomic_write(kept, "".join(json.dumps(row) + "\n" for row in rows))
                    print(rows[-1], flush=True)
    write_rows(RESULTS / "trainings.csv", rows)
    write_rows(RESULTS / "differences.csv", differences(rows))
    made = provenance(str(__doc__).strip().splitlines()[-1])
    atomic_write(RESULTS / "summary.json", json.dumps(made, indent=1) + "\n")


if __name__ == "__main__":
    main()
