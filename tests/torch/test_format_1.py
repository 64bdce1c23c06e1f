"""Space files and networks as version 0.1 wrote them are read, and written in this version's format."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import torch

import nas
from nas.architecture import Architecture
from nas.file_formats import FORMAT, RENAMED_PARAMETERS
from nas.ops import OPS

OWN = Path(__file__).resolve().parents[1] / "fixtures" / "format-1" / "own-space.yaml"


def test_a_space_file_of_format_1_is_read_with_its_own_names_of_choices() -> None:
    space = nas.load_space(OWN)
    assert [name for name, _ in space.stages[1].op("T").choices] == ["heads", "window"]
    assert space.head.to_dict() == {"op": "classifier", "num_classes": 10, "hidden": False, "num_heads": 2}
    # Stems x (kernels x depths) x widths x (T: heads x windows + W: windows) x depths.
    assert space.size() == 2 * (2 * 2) * 2 * (2 * 2 + 2) * 2


@pytest.mark.parametrize("seed", range(3))
def test_its_networks_are_built_and_written_in_this_format(seed: int) -> None:
    space = nas.load_space(OWN)
    architecture = nas.sample(space, random.Random(seed))
    text = architecture.to_yaml()
    assert text.startswith(f"format: {FORMAT}\n")
    assert "num_heads: 2" in text
    assert " heads:" not in text
    assert Architecture.from_yaml(text) == architecture
    assert nas.build(architecture).eval()(torch.zeros(1, 3, 32, 32)).shape == (1, 10)


def test_the_renamed_parameters_are_those_of_the_ops() -> None:
    for name, renamed in RENAMED_PARAMETERS.items():
        known = set(OPS[name].Config.__dataclass_fields__)
        assert set(renamed.values()) <= known
        assert not set(renamed) & known
