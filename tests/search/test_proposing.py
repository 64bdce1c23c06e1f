"""A space for the images at hand: made for their size, at a resolution that fits it, with a budget inside it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import nas
from nas.cli.main import main
from nas.sampling.proposing import propose

SIDES = [
    (8, "coatnet-small", 32),
    (28, "coatnet-small", 32),
    (32, "coatnet-small", 32),
    (64, "coatnet-small", 64),
    (90, "coatnet-medium", 96),
    (160, "coatnet-medium", 160),
    (192, "coatnet-medium", 192),
    (375, "coatnet", 224),
]


@pytest.mark.parametrize(("side", "space", "resolution"), SIDES)
def test_the_space_is_the_one_made_for_the_side(side: int, space: str, resolution: int) -> None:
    found = propose(side, channels=3, num_classes=10)
    assert (found.space, found.resolution) == (space, resolution)
    budget = nas.Budget.parse(found.budget)
    assert 2 * found.costs["macs"]["min"] < budget.bound < found.costs["macs"]["max"] / 2
    tried = nas.dry_run(nas.load_space(space), [budget], nas.SearchOptions.of(space=space, resolution=resolution))
    assert 0 < tried.fits < 1


def test_the_command_says_the_sizes_and_what_to_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("cat", "dog"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for i in range(8):
            pixels = np.random.default_rng(i).integers(0, 255, (120, 150, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / name / f"{i}.png")
    data = str(tmp_path / "photos")
    assert main(["spaces", "--for", data, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["space"], found["resolution"], found["data"]["width"]) == ("coatnet-medium", 128, 150)
    assert found["command"].startswith("nas-search --space coatnet-medium --resolution 128 --budget ")
    assert main(["spaces", "--for", data]) == 0
    out = capsys.readouterr().out
    assert "images of typically 150x120 pixels, color" in out
    assert f"{found['command']} --dry-run" in out
    assert main(["spaces", "coatnet", "--for", data]) == 2
    assert "leave out 'coatnet'" in capsys.readouterr().err


def test_a_dry_run_says_that_images_are_much_larger(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (16, 100, 80, 3), dtype=np.uint8)
    np.savez(tmp_path / "d.npz", x_train=pixels, y_train=np.arange(16) % 2)
    words = ["search", "--space", "nats-size", "--data", str(tmp_path / "d.npz"), "--dry-run"]
    assert main(words) == 0
    assert "Images of 80x100 pixels are reduced to 32x32; `nas spaces --for " in capsys.readouterr().out
    assert main([*words, "--resolution", "96"]) == 0
    assert "are reduced" not in capsys.readouterr().out
