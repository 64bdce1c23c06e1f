"""YAML, spaces, architectures and budgets that are written to do harm, or as people slip."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from nas.architecture import Architecture
from nas.budget import Budget
from nas.errors import ArchitectureError, BudgetError, NasError, SpaceError, shortened
from nas.networks.loading import load_space
from nas.spaces.catalog import find
from nas.strict_yaml import MAX_VALUES, dump_yaml, parse_yaml, read_yaml

from ..small_space import small_data


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("010", "010"),
        ("0x10", "0x10"),
        ("0b11", "0b11"),
        ("1_000", "1_000"),
        ("1:30", "1:30"),
        ("1:30.5", "1:30.5"),
        (".inf", ".inf"),
        (".nan", ".nan"),
        ("-0", 0),
        ("+5", 5),
        (".5", 0.5),
        ("1.", 1.0),
        ("-1.5E+2", -150.0),
    ],
)
def test_numbers_are_read_as_json_writes_them(text: str, value: object) -> None:
    found = parse_yaml(f"a: {text}", where="text")["a"]
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    "text", ["1e5", "010", "1:30", ".inf", ".5", "12", "-1.", "true", "null", "2024-01-01", "0x1f"]
)
def test_texts_that_look_like_numbers_are_written_so_that_they_stay_texts(text: str) -> None:
    assert parse_yaml(dump_yaml({"a": text}), where="text") == {"a": text}


def test_so_many_values_are_read_and_no_more() -> None:
    fits = "a: [" + "1, " * (MAX_VALUES - 4) + "1]"  # and the mapping, its key and the list
    assert len(parse_yaml(fits, where="text")["a"]) == MAX_VALUES - 3
    with pytest.raises(NasError, match=f"more than {MAX_VALUES} keys and values"):
        parse_yaml(fits.replace("a: [", "a: [1, "), where="text")


def test_pipes_and_devices_are_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    for path in (tmp_path / "pipe.yaml", Path("/dev/zero")):
        with pytest.raises(SpaceError, match="is a pipe or device; a YAML file is needed"):
            read_yaml(path, error=SpaceError)


def test_the_folder_of_a_network_is_no_file_but_has_one(tmp_path: Path) -> None:
    (tmp_path / "winners/1").mkdir(parents=True)
    (tmp_path / "winners/1/architecture.yaml").write_text("format: 2\n")
    with pytest.raises(NasError, match=r"is a folder; .* Did you mean .*/winners/1/architecture.yaml\?"):
        read_yaml(tmp_path)


def test_a_name_too_long_for_a_file_is_unknown() -> None:
    with pytest.raises(SpaceError, match="Unknown space 'xxx"):
        find("x" * 5000)
    with pytest.raises(SpaceError, match="No file 'xxx"):
        find("x" * 5000 + ".yaml")


def test_spaces_and_networks_are_told_apart() -> None:
    with pytest.raises(SpaceError, match="coatnet_0 is a network, not a space: give it to nas train or nas profile"):
        find("coatnet_0")
    with pytest.raises(ArchitectureError, match="coatnet is a search space, not a network: give it to nas-search"):
        find("coatnet", zoo=True)


def test_a_preset_that_cannot_be_had_is_refused_on_loading(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(dump_yaml({**small_data(), "presets": ["coatnet_0", "nothing.yaml"]}))
    with pytest.raises(SpaceError, match=r"s.yaml: presets: No file 'nothing.yaml'"):
        load_space(tmp_path / "s.yaml")


def test_layers_are_counted_before_they_are_made() -> None:
    layer = {"repeat": 1000, "branches": [{"mixer": {"op": "conv", "width": 8}}]}
    data = {
        "format": 2,
        "stem": {"op": "conv_stem"},
        "stages": [{"layers": [layer] * 1000}],
        "head": {"op": "classifier"},
    }
    with pytest.raises(ArchitectureError, match=r"stages\[0\] may have at most 1000 layers: lower repeat"):
        Architecture.from_dict(data)
    data["stages"] = [{"layers": []}] * 101
    with pytest.raises(ArchitectureError, match="stages must be a list of 0 to 100 entries"):
        Architecture.from_dict(data)


@pytest.mark.parametrize(
    "text",
    [
        "5MFLOPs,1Mparams",
        "5MFLOPs 1Mparams",
        "5 MFLOPs and 1 Mparams",
        "5MFLOPs;1Mparams",
        "8ms/200MB",
        "5gflops+1Mparams",
    ],
)
def test_two_budgets_in_one_text_are_told_apart(text: str) -> None:
    with pytest.raises(BudgetError, match="is more than one budget: give each its own --budget"):
        Budget.parse(text)


def test_a_long_message_keeps_its_ends() -> None:
    assert shortened(NasError("short")) == "short"
    text = shortened(NasError("a" * 500 + "b" * 5000 + "remedy."))
    assert len(text) < 600
    assert text.startswith("aaa")
    assert text.endswith("remedy.")
