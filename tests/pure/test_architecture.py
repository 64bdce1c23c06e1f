"""Architectures as values: one spelling, one digest, and refusals in one line."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from typing import Any

import pytest

from nas.architecture import Architecture, BlockConfig, InputConfig, StageConfig
from nas.errors import ArchitectureError

BRANCH = {"norm": {"op": "batch_norm"}, "mixer": {"op": "mbconv", "width": 8}}
DATA: dict[str, Any] = {
    "format": 2,
    "input": {"kind": "image", "channels": 3, "resolution": 8},
    "stem": {"op": "conv_stem", "width": 8},
    "stages": [{"layers": [{"repeat": 2, "branches": [BRANCH]}]}],
    "head": {"op": "classifier", "num_classes": 5, "norm": {"op": "layer_norm"}},
}


def made(**changes: Any) -> Architecture:
    return Architecture.from_dict({**DATA, **changes})


def test_round_trips_through_yaml_and_plain_data() -> None:
    architecture = made()
    assert Architecture.from_yaml(architecture.to_yaml()) == architecture
    assert Architecture.from_dict(architecture.to_dict()) == architecture
    assert Architecture.from_yaml(architecture.to_yaml()).digest == architecture.digest


def test_equal_layers_are_written_once() -> None:
    assert made().to_dict()["stages"] == DATA["stages"]
    spelt_out = made(stages=[{"layers": [{"branches": [BRANCH]}, {"branches": [BRANCH]}]}])
    assert spelt_out == made()
    assert spelt_out.digest == made().digest


def test_whole_floats_are_the_whole_numbers_they_equal() -> None:
    four, as_float = (made(stem={"op": "conv_stem", "width": width}) for width in (4, 4.0))
    assert four == as_float
    assert four.digest == as_float.digest
    assert type(as_float.stem["width"]) is int


def test_digest_is_equal_in_every_process() -> None:
    code = f"from nas.architecture import Architecture; print(Architecture.from_dict({DATA!r}).digest)"
    found = {
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
        ).stdout.strip()
        for seed in ("1", "2")
    }
    assert found == {made().digest}
    assert len(made().digest) == 16


def test_copies_that_went_through_pickle_are_equal_and_hash_equal() -> None:
    copy = pickle.loads(pickle.dumps(made()))
    assert copy == made()
    assert hash(copy) == hash(made())


def test_changes_give_new_values() -> None:
    architecture = made()
    assert architecture.at_resolution(16).input == InputConfig(channels=3, resolution=16)
    assert architecture.with_channels(1).input.channels == 1
    assert architecture.with_classes(7).num_classes == 7
    assert architecture == made()
    assert len({architecture.digest, architecture.at_resolution(16).digest, architecture.with_classes(7).digest}) == 3


def test_blocks_are_listed_with_their_places() -> None:
    places = dict(made().blocks())
    assert list(places) == [
        "stem",
        "stages[0].layers[0].branches[0].norm",
        "stages[0].layers[0].branches[0].mixer",
        "stages[0].layers[1].branches[0].norm",
        "stages[0].layers[1].branches[0].mixer",
        "head",
    ]
    assert places["stem"] == BlockConfig(op="conv_stem", params=(("width", 8),))


def test_blocks_give_their_parameters_by_name() -> None:
    block = BlockConfig(op="conv", params=(("width", 8), ("bias", False)))
    assert block["width"] == 8
    assert block.get("padding", 3) == 3
    with pytest.raises(KeyError):
        block["padding"]
    assert block.having({"width": 16})["width"] == 16
    assert block["width"] == 8


def test_notes_for_people_are_passed_over() -> None:
    assert made(about={"source": "a paper"}) == made()


BAD = {
    "missing part": ({"stem": None}, "stem must be a mapping"),
    "unknown key": ({"stemm": {}}, "unknown key 'stemm'"),
    "no format": ({"format": "1"}, "must start with 'format: 2'"),
    "later format": ({"format": 3}, "Upgrade"),
    "earlier format": ({"format": 0}, "Set 'format: 2'"),
    "a word for a list": ({"stages": "none"}, "stages must be a list"),
    "no mixer": ({"stages": [{"layers": [{"branches": [{"norm": {"op": "a"}}]}]}]}, "lacks 'mixer'"),
    "no branch": ({"stages": [{"layers": [{"branches": []}]}]}, "must be a list of 1"),
    "zero repeats": ({"stages": [{"layers": [{"repeat": 0, "branches": [BRANCH]}]}]}, "repeat must be"),
    "too many layers": ({"stages": [{"layers": [{"repeat": 600, "branches": [BRANCH]}] * 2}]}, "at most 1000 layers"),
    "scale of zero": ({"stages": [{"layers": [{"branches": [{**BRANCH, "scale": 0}]}]}]}, "scale must be a number"),
    "not a number": ({"stem": {"op": "conv_stem", "width": float("nan")}}, "finite"),
    "no op": ({"stem": {"width": 8}}, "name of its 'op'"),
    "a set": ({"stem": {"op": "conv", "width": {8}}}, "must be a number, a word"),
    "other input": ({"input": {"kind": "text"}}, "input.kind"),
    "no pixels": ({"input": {"resolution": 0}}, "input.resolution"),
    "half a pixel": ({"input": {"resolution": 8.5}}, "input.resolution"),
}


@pytest.mark.parametrize(("changes", "words"), BAD.values(), ids=BAD)
def test_malformed_data_are_refused_in_one_line(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ArchitectureError) as caught:
        made(**changes)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_stages_without_layers_are_values_too() -> None:
    stage = StageConfig.from_dict({"transition": {"op": "conv", "width": 8}, "layers": []})
    assert stage.layers == ()
    assert StageConfig.from_dict(stage.to_dict()) == stage
