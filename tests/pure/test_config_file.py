"""Options in a YAML file: the same keys, values and checks as on the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from nas.errors import OptionError
from nas.options import METHODS, SearchOptions, declared, flag, not_default, register_method
from nas.options.config_file import config_text, key_of, options_of, read_config
from nas.options.declaration import defaults
from nas.options.methods import methods_with_options
from nas.strict_yaml import parse_yaml
from tests.pure.test_options import Flavored


def read(text: str, tmp_path: Path) -> dict[str, Any]:
    path = tmp_path / "nas.yaml"
    path.write_text(text)
    return read_config(path)


def test_values_are_parsed_as_the_command_line_parses_them(tmp_path: Path) -> None:
    given = read(
        "space: coatnet\nbudget: [5MFLOPs, 2Mparams]\ntime: 1h30min\nmin-share: 0.5\nearly-stopping: false\n"
        "onnx: true\ntrials: 40\nout: 2030\nscorer: loss\nobjective: latency,params\n",
        tmp_path,
    )
    assert given == {
        "space": "coatnet", "budgets": ["5MFLOPs", "2Mparams"], "time": 5400, "min_share": 0.5,
        "early_stopping": False, "onnx": True, "trials": 40, "out": "2030", "scorer": "loss",
        "objective": "latency,params",
    }  # fmt: skip
    assert SearchOptions.of(**given).method == "supernet"


def test_a_single_budget_need_not_be_a_list(tmp_path: Path) -> None:
    assert read("budget: 5MFLOPs", tmp_path) == {"budgets": ["5MFLOPs"]}


def test_a_key_without_a_value_leaves_the_default(tmp_path: Path) -> None:
    assert read("space: coatnet\ntrials:\nbudget: []\n", tmp_path) == {"space": "coatnet", "budgets": []}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("trails: 4", "nas.yaml: Unknown key 'trails': did you mean 'trials'?"),
        ("batch_size: 4", "Unknown key 'batch_size': did you mean 'batch-size'?"),
        ("trials: many", "nas.yaml: --trials must be a whole number from 1 to"),
        ("trials: 0", "--trials must be a whole number from 1 to"),
        ("trials: 2.5", "--trials must be a whole number from 1 to"),
        ("trials: true", "trials must be one value, written as on the command line, but got True"),
        ("trials: [1, 2]", "trials must be one value"),
        ("budget: {macs: 4}", "budget must be one value"),
        ("onnx: yes", "onnx must be true or false, but got 'yes'"),
        ("time: 12", "--time must be at least 30 whole seconds"),
        ("strategy: sideways", "Unknown value of --strategy 'sideways'"),
        ("- 4", "must hold a mapping"),
        ("trials: 4\ntrials: 5", "is given twice"),
    ],
)
def test_a_wrong_file_is_refused_in_one_line_that_names_it(text: str, told: str, tmp_path: Path) -> None:
    with pytest.raises(OptionError) as fault:
        read(text, tmp_path)
    assert told in str(fault.value)
    assert str(tmp_path / "nas.yaml") in str(fault.value)
    assert "\n" not in str(fault.value)


def test_the_written_file_has_every_option_and_means_the_defaults(tmp_path: Path) -> None:
    text = config_text()
    given = read(text, tmp_path)
    assert "method" not in given  # an option of another method would clash with it
    assert not_default(SearchOptions.of(space="coatnet", **given)) == {"space": "coatnet"}
    keys = list(parse_yaml(text, where="text"))
    assert keys == [key_of(name) for names in SearchOptions.typed().values() for name in names]
    for name, each in declared(SearchOptions).items():
        above = text[: text.index(f"\n{key_of(name)}:")].rsplit("\n", 1)[-1]
        assert above.startswith(f"# {each.help}"), name
        default = defaults(SearchOptions)[name]
        if isinstance(default, int | float) and not each.default_help:
            assert f"\n{key_of(name)}: {str(default).lower()}\n" in text


def test_options_of_methods_are_commented_out_and_become_valid_without_the_comment() -> None:
    text = config_text()
    for owner, methods in methods_with_options().items():
        section = text.split(f"\n# -- method: {', '.join(methods)}")[1].split("\n# --")[0]
        for name in declared(owner):
            assert f"\n# {key_of(name)}:" in section
    loosened = text.replace("\n# scorer: accuracy", "\nscorer: loss").replace("\nspace:", "\nspace: coatnet")
    options = SearchOptions.of(**options_of(parse_yaml(loosened, where="text"), where="text"))
    assert (options.method, not_default(options.of_method())) == ("supernet", {"scorer": "loss"})


def test_an_option_of_a_method_from_outside_is_known(tmp_path: Path) -> None:
    register_method("flavored", "nowhere:Nothing", options=Flavored)
    try:
        assert "# flavor:" in config_text()
        (name, *_) = declared(Flavored)
        with pytest.raises(OptionError, match=flag(name)):
            read(f"{key_of(name)}: 7", tmp_path)
    finally:
        METHODS.remove("flavored")
