"""HyTra from the command line, below what any of its networks costs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nas
from nas.costs import SpaceCosts
from nas.spaces import END, START

from .bad_input import complaint

SIDE, CLASSES = 64, 3


def least_macs() -> int:
    """What the smallest HyTra network costs: the cheapest way through its graph, walked out and counted as one."""
    space = nas.load_space("hytra").adapted(resolution=SIDE, num_classes=CLASSES)
    graph = SpaceCosts(space).whole_graph
    cheapest: dict[Any, tuple[int, tuple[Any, ...]]] = {START: (0, ())}
    for node in graph.nodes[:-1]:
        spent, choices = cheapest[node]
        for option in graph.options[node]:
            total = spent + option.macs
            if option.node not in cheapest or total < cheapest[option.node][0]:
                cheapest[option.node] = total, (*choices, option.choice)
    macs, choices = cheapest[END]
    assert nas.cost(space.decode(space.genotype(choices))).macs == macs
    return macs


def test_hytra_is_refused_a_budget_below_its_smallest_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    images = np.random.default_rng(0).integers(0, 255, (60, 8, 8, 3), dtype=np.uint8)
    np.savez(tmp_path / "tiny.npz", x_train=images, y_train=np.arange(60) % CLASSES)
    monkeypatch.chdir(tmp_path)
    words = "search --space hytra --method blockwise --budget 60MFLOPs --data tiny.npz --device cpu --resolution"
    said = complaint([*words.split(), str(SIDE)], tmp_path, capsys)
    least = least_macs()
    assert least > 60_000_000
    told = f"No hytra network fits 60MFLOPs: the smallest needs {least / 1e6:.2f} MMACs. Raise --budget"
    assert said.startswith(told)
