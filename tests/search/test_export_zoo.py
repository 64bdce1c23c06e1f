"""Which formats take networks with unusual ops: the table in docs/exports.md, one cell per test."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import nas
from nas.architecture import Architecture
from nas.data import open_data
from nas.data.dataset import describe_data
from nas.errors import ExportError
from nas.export import CardFacts, ExportedModel, export_product, winner
from nas.export.formats import code
from nas.ops import normalize
from nas.options.export_formats import EXPORT_FORMATS

from ..torch.timm_import import import_timm_everywhere

PAGE = Path(__file__).resolve().parents[2] / "docs" / "exports.md"
RESOLUTION = 64


def table() -> dict[tuple[str, str], bool]:
    """What the page says: by network and format, whether it can be written; cells without a word are left out."""
    lines = PAGE.read_text().splitlines()
    head = next(line for line in lines if line.startswith("| network |"))
    formats = re.findall(r"`([\w-]+)`", head)
    start = lines.index(head) + 2
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[start : lines.index("", start)]]
    return {
        (row[0].strip("`"), kind): word == "yes"
        for row in rows
        for kind, word in zip(formats, row[2:], strict=True)
        if word
    }


def thin(name: str) -> Architecture:
    """A network of the zoo for small grey images: the first and last layer of each stage, windows of 4x4."""
    whole = nas.load_architecture(name).at_resolution(RESOLUTION).with_channels(1).with_classes(10)
    stages = [
        replace(stage, layers=stage.layers[:1] + stage.layers[1:][-1:]) if stage.layers else stage
        for stage in whole.stages
    ]
    fewer = replace(whole, stages=tuple(stages))
    return normalize(Architecture.from_dict(_with_small_windows(fewer.to_dict())))


def _with_small_windows(data: Any) -> Any:
    if isinstance(data, list):
        return [_with_small_windows(each) for each in data]
    if not isinstance(data, dict):
        return data
    changed = {key: _with_small_windows(value) for key, value in data.items()}
    return {**changed, "window_size": 4} if data.get("attention_scope", "global") != "global" else changed


def product(architecture: Architecture) -> ExportedModel:
    data = open_data("digits").load(resolution=RESOLUTION, seed=0)
    return ExportedModel(
        architecture=architecture,
        trained_resolution=RESOLUTION,
        mean=data.mean,
        std=data.std,
        class_names=data.info.class_names,
        facts=CardFacts(title="Zoo", data=describe_data(data), data_option="digits", seed=0),
    )


def test_the_table_is_of_unusual_operators_and_formats_that_there_are() -> None:
    assert {name for name, _ in table()} == {"mambavision_t", "lit_ti", "swin_tiny"}
    assert {kind for _, kind in table()} <= set(EXPORT_FORMATS)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("name", "kind"), list(table()))
def test_a_format_takes_a_network_as_the_table_says(
    name: str, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if needs := EXPORT_FORMATS[kind]().needs:
        pytest.skip(f"the format {kind} {needs}")
    if kind in ("timm", "hf"):
        import_timm_everywhere(monkeypatch)
    monkeypatch.setattr(code, "check_code", lambda *_: 0.0)
    counts = {"macs": 1, "macs_fvcore": 1, "macs_difference": 0}
    monkeypatch.setattr(winner, "compare_counts", lambda of: {"resolution": of.input.resolution, **counts})
    architecture = thin(name)
    torch.manual_seed(0)
    network = nas.build(architecture).eval()
    try:
        export_product(product(architecture), network, tmp_path / "1", [kind])
    except ExportError as fault:
        assert not table()[name, kind], fault
        assert "\n" not in str(fault)
    else:
        assert table()[name, kind]
