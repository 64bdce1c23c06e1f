"""Zoo configs with one number wrong: refused before anything is built, with the stage and the numbers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from torch import nn

import nas
from nas.errors import ArchitectureError
from nas.spaces.catalog import find
from nas.strict_yaml import dump_yaml, read_yaml

Data = dict[str, Any]


def mixer(stage: int, layer: int, branch: int, *inside: Any, **changes: Any) -> Callable[[Data], None]:
    """Changes parameters of a mixer, or of a block inside it."""

    def change(data: Data) -> None:
        block = data["stages"][stage]["layers"][layer]["branches"][branch]["mixer"]
        for key in inside:
            block = block[key]
        block.update(changes)

    return change


def shortcut(stage: int, **changes: Any) -> Callable[[Data], None]:
    return lambda data: data["stages"][stage]["layers"][0]["branches"][0]["shortcut"].update(changes)


def resolution(pixels: int) -> Callable[[Data], None]:
    return lambda data: data["input"].update(resolution=pixels)


MISFITS: dict[str, tuple[str, Callable[[Data], None], list[str]]] = {
    "width and head_dim": (
        "coatnet_0",
        mixer(2, 0, 0, width=390),
        ["stages[2]", "head_dim=32 does not divide width=390: use 30 or 39"],
    ),
    "widths of two layers": ("coatnet_0", mixer(0, 1, 0, width=128), ["stage 1", "(128, 56, 56)", "(96, 56, 56)"]),
    "width of a shortcut": ("coatnet_0", shortcut(1, width=128), ["stage 2 (its input 96x56x56)", "(128, 28, 28)"]),
    "stride of a shortcut": ("coatnet_0", shortcut(1, stride=1), ["stage 2", "(192, 56, 56)"]),
    "no shortcut where the map shrinks": (
        "levit_128s",
        lambda d: d["stages"][1]["layers"][0]["branches"][0].pop("shortcut"),
        ["stage 2 (its input 128x14x14)", "(256, 7, 7)", "(128, 14, 14)"],
    ),
    "resolution and windows": ("swin_tiny", resolution(200), ["stage 1", "50x50 map", "windows of 7x7"]),
    "resolution and grids": ("maxvit_tiny", resolution(240), ["stage 1", "60x60 map", "windows of 7x7"]),
    "window": ("maxvit_tiny", mixer(0, 0, 1, window_size=6), ["stage 1", "56x56 map", "windows of 6x6"]),
    "resolution and carriers": ("fastervit_0", resolution(200), ["stage 3", "13x13 map", "windows of 7"]),
    "resolution and merging": ("lit_ti", resolution(100), ["stage 2", "25x25 map", "patches of 2x2"]),
    "resolution and upsampling": ("efficientformerv2_s0", resolution(200), ["stage 3", "(96, 14, 14)", "(96, 13, 13)"]),
    "resolution and patches": ("vit_tiny", resolution(8), ["stem (its input 3x8x8)", "16x16 kernel", "8x8 map"]),
    "heads over channels": (
        "edgenext_xxs",
        mixer(1, 1, 0, "ops", 2, "mixer", num_heads=5),
        ["stage 2", "num_heads=5", "channels=48: use 4 or 6"],
    ),
    "heads over streams": (
        "crossvit_tiny",
        mixer(0, 0, -1, num_heads=7),
        ["stage 1", "num_heads=7", "channels=192: use 6 or 8"],
    ),
    "more groups than channels": ("edgenext_xxs", mixer(1, 1, 0, "ops", 0, groups=49), ["stage 2", "48", "49"]),
    "groups of channels": (
        "nextvit_small",
        mixer(0, 0, 0, "ops", 0, groups=5),
        ["stage 1", "groups=5", "channels=96: use 4 or 6"],
    ),
    "a depthwise change of width": (
        "fastvit_t8",
        lambda d: d["stages"][1]["transition"]["ops"][0].update(width=100),
        ["stage 2 (its input 48x64x64)", "groups=48 does not divide width=100: use 25 or 50"],
    ),
    "tokens beside the map": (
        "pit_ti",
        lambda d: d["stages"][1]["transition"]["map"].update(width=192),
        ["stage 2 (its input 64x27x27)", "192 channels", "(128, 1, 1)"],
    ),
    "a part of a width": ("bossnet_t0", mixer(2, 0, 0, width=1022), ["stage 3", "255.5"]),
    "a kernel without centre": ("convnext_atto", mixer(0, 0, 0, "ops", 0, kernel_size=4), ["stages[0]", "(=4)", "odd"]),
    "one op for two streams": (
        "crossvit_tiny",
        lambda d: d["stages"][0]["layers"][0]["branches"][0]["mixer"]["ops"].pop(),
        ["stage 1", "1 ops for 2 streams"],
    ),
}


@pytest.mark.parametrize("case", MISFITS)
def test_a_config_whose_parts_do_not_fit_is_refused_with_its_stage_and_numbers(case: str, tmp_path: Path) -> None:
    name, change, words = MISFITS[case]
    data = read_yaml(find(name, zoo=True))
    change(data)
    (tmp_path / "broken.yaml").write_text(dump_yaml(data))
    built: list[str] = []

    def seen(module: nn.Module, key: str, parameter: nn.Parameter | None) -> None:
        if parameter is not None and parameter.device.type != "meta":
            built.append(key)

    handle = nn.modules.module.register_module_parameter_registration_hook(seen)
    try:
        with pytest.raises(ArchitectureError) as caught:
            nas.cost(nas.load_architecture(tmp_path / "broken.yaml"))
    finally:
        handle.remove()
    text = str(caught.value)
    assert [word for word in words if word not in text] == [], text
    assert "\n" not in text
    assert built == [], "it was given memory before it was refused"
