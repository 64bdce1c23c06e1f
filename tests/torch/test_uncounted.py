"""Work that the counter has no formula for is said with its name and count, not left out silently."""

from __future__ import annotations

import subprocess
import sys

import torch
from torch import nn

from nas.costs.counter import MacCounter, count
from nas.costs.profiling import profile
from nas.networks.loading import load_architecture
from nas.ops import Shape
from nas.spaces.catalog.files import zoo_names


class Unknown(nn.Module):
    """A cumulative sum, which has no formula, after a convolution, which has one."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1, bias=False)
        self.shape = Shape(4, 8, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x).cumsum(-1).cumsum(-2)


def test_an_op_without_a_formula_is_listed_with_its_calls() -> None:
    with torch.device("meta"):
        found = count(Unknown(), Shape(3, 8, 8))
    assert found.macs == 3 * 4 * 8 * 8
    assert found.unsupported == (("cumsum", 2),)


def test_a_matrix_and_a_vector_are_multiplied_in_as_many_multiply_adds_as_the_matrix_has_numbers() -> None:
    with torch.device("meta"), MacCounter() as counter:
        _ = torch.empty(5, 7) @ torch.empty(7)
    assert (counter.macs, dict(counter.unsupported)) == (35, {})


def test_every_op_of_the_zoo_has_no_uncounted_work_or_says_why() -> None:
    scanning = set()
    for name in zoo_names():
        found = profile(load_architecture(name))
        assert set(found.unsupported) == set(found.reasons), name
        if found.unsupported:
            scanning.add(name.split("_")[0])
    assert "mambavision" in scanning
    assert "coatnet" not in scanning


def test_nas_profile_shows_what_is_not_counted() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "nas.cli.main", "profile", "mambavision_t"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "x exp" in done.stdout
    assert "mamba: elementwise selective scan" in done.stdout
