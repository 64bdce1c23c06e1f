"""Space files: found by name, read strictly, every fault a `SpaceError` of one line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from nas.errors import ArchitectureError, NasError, SpaceError
from nas.networks.loading import load_architecture, load_space
from nas.spaces import catalog

from ..small_space import small_data

Change = Callable[[dict[str, Any]], Any]


def write(path: Path, data: dict[str, Any]) -> Path:
    path.write_text(yaml.dump(data, sort_keys=False, Dumper=_Plain))
    return path


class _Plain(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


def refusal(source: Any) -> str:
    with pytest.raises(SpaceError) as caught:
        load_space(source)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500
    return str(caught.value)


def test_a_file_gives_the_space_that_it_writes(tmp_path: Path) -> None:
    space = load_space(write(tmp_path / "small.yaml", small_data()))
    assert space.name == "small"
    assert [stage.widths for stage in space.stages] == [(4, 8), (4, 8, 12)]
    assert space.head["num_classes"] == 5
    assert load_space(str(tmp_path / "small.yaml")).digest == space.digest


def set_at(*path: Any, value: Any) -> Change:
    def change(data: dict[str, Any]) -> None:
        for key in path[:-1]:
            data = data[key]
        data[path[-1]] = value

    return change


def drop(*path: Any) -> Change:
    def change(data: dict[str, Any]) -> None:
        for key in path[:-1]:
            data = data[key]
        del data[path[-1]]

    return change


STAGE = ("stages", 0)
CONVOLUTION = ("layers", "convolution")
BAD: dict[str, tuple[Change, str]] = {
    "unknown key": (set_at("stagess", value=[]), "did you mean 'stages'"),
    "unknown key of a stage": (set_at(*STAGE, "widht", value=[4]), "did you mean 'width'"),
    "unknown op": (set_at(*CONVOLUTION, "rest", 0, "mixer", "op", value="mbcov"), "did you mean 'mbconv'"),
    "unknown parameter": (set_at(*CONVOLUTION, "rest", 0, "mixer", "kernel", value=3), "did you mean 'kernel_size'"),
    "unknown template": (set_at(*STAGE, "ops", "C", value="convolutoin"), "did you mean 'convolution'"),
    "unknown choice": (
        set_at(*STAGE, "ops", "C", value={"layer": "convolution", "kernel_sise": [3]}), "did you mean 'kernel_size'",
    ),
    "a name that stands for nothing": (
        set_at(*CONVOLUTION, "rest", 0, "mixer", "width", value="$widht"), "did you mean 'width'",
    ),
    "a choice without use": (set_at(*CONVOLUTION, "choices", "groups", value=[1, 2]), "'groups' is not used"),
    "a choice with the stage's name": (set_at(*CONVOLUTION, "choices", "width", value=[1]), "belongs to the stage"),
    "a word for a number": (set_at(*STAGE, "width", value=["wide"]), "whole numbers"),
    "a word for a kernel": (set_at(*CONVOLUTION, "choices", "kernel_size", value=["three"]), "whole number"),
    "true for a number": (set_at(*STAGE, "depth", value=[True]), "whole numbers"),
    "no width": (set_at(*STAGE, "width", value=[]), "must list 1 to 64"),
    "no values": (set_at(*CONVOLUTION, "choices", "kernel_size", value=[]), "must list 1 to 64"),
    "no op": (set_at(*STAGE, "ops", value={}), "at least one op"),
    "no stage": (set_at("stages", value=[]), "list of 1 to 32"),
    "null": (set_at("layers", value=None), "must be a mapping"),
    "zero width": (set_at(*STAGE, "width", value=[0, 4]), "whole numbers above 0"),
    "falling widths": (set_at(*STAGE, "width", value=[8, 4]), "growing order"),
    "a value twice": (set_at(*CONVOLUTION, "choices", "kernel_size", value=[3, 3.0]), "twice"),
    "an even kernel": (set_at(*CONVOLUTION, "choices", "kernel_size", value=[3, 4]), "odd"),
    "head_dim does not divide": (set_at("layers", "transformer", "rest", 0, "mixer", "head_dim", value=3), "head_dim"),
    "no format": (drop("format"), "lacks 'format'"),
    "format as text": (set_at("format", value="one"), "format: 2"),
    "later format": (set_at("format", value=3), "Upgrade"),
    "no name": (drop("name"), "lacks 'name'"),
    "a path for a name": (set_at("name", value="../other"), "name must be letters"),
    "a nameless op": (set_at(*STAGE, "ops", value={"CA": "convolution"}), "one letter"),
    "a number for an op": (set_at(*STAGE, "ops", value={1: "convolution"}), "must be a word"),
    "no template": (set_at(*STAGE, "ops", "C", value={"kernel_size": [3]}), "lacks 'layer'"),
    "letters missing in the order": (set_at("rules", "op_order", value="C"), "op_order (=C)"),
    "letters twice in the order": (set_at("rules", "op_order", value="CAC"), "op_order (=CAC)"),
    "unknown rule": (set_at("rules", "order", value="CA"), "did you mean 'op_order'"),
    "unknown growth": (set_at("rules", "widths", value="shrinking"), "growing, any, multiples or equal"),
    "no width that may follow": (set_at("stages", 1, "width", value=[2]), "head_dim"),
    "no member": (set_at("stem_choices", "width", value=[16]), "No architecture is left"),
    "a stem without width": (set_at("stem_choices", value={"kernel_size": [3]}), "must have a width"),
    "a stem that ignores its width": (set_at("stem", "width", value=8), "'width' is not used"),
    "a head without classes": (set_at("head", value={"op": "conv", "width": 5}), "num_classes"),
    "one class": (set_at("head", "num_classes", value=1), "num_classes"),
    "a stride without use": (drop(*CONVOLUTION, "first", 0, "mixer", "stride"), "does not use $stride"),
    "negative stride": (set_at(*STAGE, "stride", value=-1), "stride must be"),
    "stride of zero in a template": (set_at(*CONVOLUTION, "first", 0, "mixer", "stride", value=0), "from 1"),
    "no pixels": (set_at("input", "resolution", value=0), "input.resolution"),
    "too many layers": (set_at(*STAGE, "depth", value=[1, 2000]), "1000 layers"),
    "too many layouts": (lambda data: data.update(stages=[data["stages"][0]] * 20, rules={}), "layouts"),
    "too many choices": (
        set_at(*CONVOLUTION, "choices", value={
            "kernel_size": list(range(3, 99, 2)), "expand_ratio": list(range(1, 60)), "se_ratio": [0, 1, 2, 3],
        }), "choice 'se_ratio' is not used",
    ),
    "the same layers under two letters": (
        set_at("stages", 1, "ops", value={"A": "transformer", "C": "transformer"}), "same layers",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("change", "words"), BAD.values(), ids=BAD)
def test_a_malformed_space_is_refused_in_one_line(tmp_path: Path, change: Change, words: str) -> None:
    data = small_data()
    change(data)
    if words == "does not use $stride":
        del data["layers"]["convolution"]["first"][0]["shortcut"]
    message = refusal(write(tmp_path / "space.yaml", data))
    assert words in message
    assert message.startswith(str(tmp_path / "space.yaml"))


def test_more_choices_than_can_be_listed_are_refused(tmp_path: Path) -> None:
    data = small_data()
    template = data["layers"]["convolution"]
    template["choices"] = {"kernel_size": list(range(3, 99, 2)), "expand_ratio": list(range(1, 61)),
                           "se_ratio": [0.25, 0.5, 1]}  # fmt: skip
    for part in ("first", "rest"):
        template[part][0]["mixer"]["se_ratio"] = "$se_ratio"
    assert "at most 20000" in refusal(write(tmp_path / "space.yaml", data))


def test_a_choice_that_the_first_layer_ignores_is_refused_where_it_is_alone(tmp_path: Path) -> None:
    data = small_data()
    data["layers"]["convolution"]["first"][0]["mixer"]["kernel_size"] = 3
    assert "same layers at depth 1" in refusal(write(tmp_path / "space.yaml", data))
    data["stages"][0]["depth"] = data["stages"][1]["depth"] = [2, 3]
    load_space(write(tmp_path / "space.yaml", data))


TEXTS = {
    "a bomb": ("a: &a [x, x, x]\nb: &b [*a, *a, *a]\n", "anchors and aliases"),
    "a python tag": ("name: !!python/object/apply:os.system ['true']\n", "tag"),
    "a key given twice": ("format: 2\nformat: 2\n", "given twice"),
    "too deep": ("a: " + "[" * 100 + "]" * 100, "nested deeper"),
    "a list": ("- 1\n", "must hold a mapping"),
    "nothing": ("", "nothing"),
    "open bracket": ("a: [\n", "line"),
}


@pytest.mark.parametrize(("text", "words"), TEXTS.values(), ids=TEXTS)
def test_a_file_that_is_no_plain_yaml_is_refused(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "space.yaml"
    path.write_text(text)
    assert words in refusal(path)


def test_other_files_and_names_are_refused(tmp_path: Path) -> None:
    (tmp_path / "binary.yaml").write_bytes(bytes(range(128, 256)))
    assert "not a text file" in refusal(tmp_path / "binary.yaml")
    assert "is a folder" in refusal(tmp_path)
    assert "No file" in refusal(tmp_path / "missing.yaml")
    assert "did you mean 'coatnet'" in refusal("coatnett")
    assert "Unknown space" in refusal("nul\0")
    with pytest.raises(ArchitectureError, match="did you mean 'coatnet_0'"):
        load_architecture("coatnet0")


def test_every_shipped_file_is_read() -> None:
    assert {"coatnet", "coatnet-small", "hytra", "nats-size"} < set(catalog.space_names())
    for name in catalog.space_names():
        assert load_space(name).name == name
    for name in catalog.zoo_names():
        architecture, about = catalog.read_architecture(name)
        assert about["name"] == name
        assert load_architecture(name).num_classes == architecture.num_classes == 1000


@pytest.mark.parametrize(
    ("stem", "words"),
    [
        ({"op": "conv_stem"}, "needs the parameter 'width'"),
        ({"op": "conv_stem", "width": 8, "stride": 0}, "from 1"),
        ({"op": "conv_stem", "width": -8}, "from 1"),
        ({"op": "conv_stem", "width": True}, "a whole number"),
        ({"op": "conv_stem", "width": 2**40}, "to 1048576"),
        ({"op": "conv_stem", "width": {"op": "none"}}, "not a block"),
        ({"op": "conv_stem", "width": [8]}, "not a list"),
        ({"op": "serial", "ops": [3]}, "must be a block"),
        ({"op": "serial", "ops": 3}, "a list of blocks"),
        ({"op": "conv_stemm", "width": 8}, "did you mean 'conv_stem'"),
        ({"op": "batch_norm", "eps": -1.0}, "from 0"),
    ],
)
def test_a_block_with_a_wrong_parameter_is_refused(tmp_path: Path, stem: dict[str, Any], words: str) -> None:
    data = {"format": 2, "stem": stem, "stages": [], "head": {"op": "classifier"}}
    with pytest.raises(NasError) as caught:
        load_architecture(write(tmp_path / "architecture.yaml", data))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
