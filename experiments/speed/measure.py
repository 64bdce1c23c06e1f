"""Networks of the zoo against timm's same networks: the ratio of CPU seconds, measured in turn; see README.md."""

from __future__ import annotations

import argparse
import csv
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

import nas
from nas.networks.timm import zoo_name

# Shared by all experiments, one folder up.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from provenance import provenance

RESULTS = Path(__file__).resolve().parents[2] / "results" / "speed"
NETWORKS = (
    "pit_s_224",
    "mobilevit_s",
    "vit_small_patch16_224",
    "vit_tiny_patch16_224",
    "levit_256",
    "coatnet_0_224",
    "swin_tiny_patch4_window7_224",
    "fastvit_sa12",
    "edgenext_small",
    "convnext_tiny",
    "maxvit_tiny_tf_224",
)
# torch 2.13 writes out of bounds in the backward pass of timm's strided 1x1 convolutions in channels_last.
CRASHES = (("fastvit_sa12", "training"),)
# Mode, batch, pairs for `--effort 1`.
MODES = (("forward", 1, 24), ("forward", 16, 6), ("training", 16, 4))


def import_timm() -> Any:
    """Returns timm; beside a CPU build of torch its torchvision lacks two operators, which nothing here calls."""
    try:
        import timm
    except RuntimeError as fault:
        if "torchvision::" not in str(fault):
            raise
        for name in [name for name in sys.modules if name.split(".")[0] in ("timm", "torchvision")]:
            del sys.modules[name]
        library = torch.library.Library("torchvision", "FRAGMENT")
        for name in ("nms", "qnms"):
            library.define(f"{name}(Tensor boxes, Tensor scores, float threshold) -> Tensor")
        import_timm.kept = library  # type: ignore[attr-defined]
        import timm
    return timm


def pair(name: str) -> tuple[nn.Module, nn.Module, int]:
    """Returns timm's network and ours with its weights, in channels_last, and their resolution."""
    torch.manual_seed(0)
    theirs = import_timm().create_model(name, pretrained=False, num_classes=1000)
    ours = nas.from_timm(name, theirs)
    theirs, ours = (network.to(memory_format=torch.channels_last).eval() for network in (theirs, ours))
    size = nas.load_architecture(zoo_name(name)).input.resolution
    x = images(2, size)
    with torch.inference_mode():
        torch.testing.assert_close(ours(x), theirs(x), rtol=1e-3, atol=1e-4)
    return theirs, ours, size


def images(batch: int, size: int) -> torch.Tensor:
    """Returns random images (batch, 3, size, size) in channels_last."""
    x = torch.randn(batch, 3, size, size, generator=torch.Generator().manual_seed(0))
    return x.to(memory_format=torch.channels_last)


def forward(network: nn.Module, x: torch.Tensor) -> Callable[[], None]:
    """Returns one inference over a batch."""

    def run() -> None:
        with torch.inference_mode():
            network(x)

    network.eval()
    return run


def training(network: nn.Module, x: torch.Tensor) -> Callable[[], None]:
    """Returns one training step: forward, backward, clipping, fused AdamW."""
    labels = torch.arange(len(x)) % 1000
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-6, weight_decay=0.05, fused=True)

    def run() -> None:
        network.zero_grad(set_to_none=True)
        logits = network(x)
        F.cross_entropy(logits, labels).backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()

    network.train()
    return run


def compare(theirs: Callable[[], None], ours: Callable[[], None], pairs: int) -> tuple[list[float], list[float]]:
    """Returns CPU seconds of each, the two run in turn and who is first changing every time, after two warm-ups."""
    seconds: tuple[list[float], list[float]] = ([], [])
    for turn in range(pairs + 2):
        for who in (0, 1) if turn % 2 else (1, 0):
            began = time.process_time()
            (theirs, ours)[who]()
            if turn > 1:
                seconds[who].append(time.process_time() - began)
    return seconds


def row(name: str, mode: str, batch: int, seconds: tuple[list[float], list[float]]) -> dict[str, Any]:
    """Returns the medians of a comparison as a row of the table."""
    ratios = sorted(theirs / ours for theirs, ours in zip(*seconds, strict=True))
    low, _, high = statistics.quantiles(ratios, n=4)
    return {
        "network": zoo_name(name),
        "timm": name,
        "mode": mode,
        "batch": batch,
        "ratio": round(statistics.median(ratios), 4),
        "ratio_low": round(low, 4),
        "ratio_high": round(high, 4),
        "n": len(ratios),
        "ours_s": round(statistics.median(seconds[1]), 5),
        "timm_s": round(statistics.median(seconds[0]), 5),
    }


def add(path: Path, measured: dict[str, Any]) -> None:
    """Adds a row to a table, and prints it."""
    fresh = not path.exists()
    with path.open("a", newline="") as file:
        table = csv.DictWriter(file, measured, lineterminator="\n")
        if fresh:
            table.writeheader()
        table.writerow(measured)
    print(*measured.values(), flush=True)


def main() -> None:
    """Measures; adds a row per comparison to results/speed/LABEL.csv, and writes LABEL.json."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--label", default="after")
    parser.add_argument("--networks", nargs="*", default=NETWORKS)
    parser.add_argument("--modes", nargs="*", default=[f"{mode}-{batch}" for mode, batch, _ in MODES])
    parser.add_argument("--effort", type=float, default=1)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    RESULTS.mkdir(parents=True, exist_ok=True)
    command = f"python experiments/speed/measure.py {' '.join(sys.argv[1:])}".strip()
    (RESULTS / f"{asked.label}.json").write_text(json.dumps(provenance(command), indent=2) + "\n")
    for name in asked.networks:
        theirs, ours, size = pair(name)
        for mode, batch, pairs in MODES:
            if f"{mode}-{batch}" not in asked.modes or (name, mode) in CRASHES:
                continue
            run = forward if mode == "forward" else training
            x = images(batch, size)
            seconds = compare(run(theirs, x), run(ours, x), max(2, round(pairs * asked.effort)))
            add(RESULTS / f"{asked.label}.csv", row(name, mode, batch, seconds))


if __name__ == "__main__":
    main()
