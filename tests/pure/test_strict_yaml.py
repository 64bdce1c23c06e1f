"""Strict YAML: plain data, and every fault in one line that names its place."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import yaml

import nas.strict_yaml
from nas.errors import NasError, SpaceError
from nas.spaces.catalog import folder
from nas.strict_yaml import MAX_BYTES, canonical_json, dump_yaml, parse_yaml, read_yaml

BAD = {
    "an alias": ("a: &x [1]\nb: *x", "line 1: anchors"),
    "a bomb": ("a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]", "anchors"),
    "a python tag": ("a: 1\nb: !!python/object/apply:os.system [ls]", "line 2: tag"),
    "a plain tag": ("a: !!str 1", "tag"),
    "a key given twice": ("a: 1\nb: 2\na: 3", "line 3: key 'a' is given twice"),
    "an inner key given twice": ("x: {a: 1, a: 2}", "given twice"),
    "a list as key": ("? [a, b]\n: 1", "keys must be plain words"),
    "a list": ("- 1\n- 2", "must hold a mapping"),
    "nothing": ("", "not nothing"),
    "a word": ("word", "not a text"),
    "too deep": ("a: " + "[" * 60 + "]" * 60, "nested deeper"),
    "far too deep": ("a: " + "[" * 20_000, "nested deeper"),
    "open bracket": ("a: [1, 2", "line"),
    "two documents": ("a: 1\n---\nb: 2", "line"),
    "control characters": ("a: \x01", "not YAML"),
    "an endless number": ("a: " + "9" * 5000, "line 1: the number 99999999999999999999… is too large"),
    "too large": ("a: " + "x" * MAX_BYTES, "too large"),
}


@pytest.fixture(params=[True, False], ids=["libyaml", "without"])
def module(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    """`nas.strict_yaml` as it is where PyYAML has libyaml, and as it is without."""
    if request.param:
        assert yaml.__with_libyaml__, "PyYAML's wheels have it"
        return nas.strict_yaml
    monkeypatch.setattr(yaml, "__with_libyaml__", False)
    spec = importlib.util.spec_from_file_location("strict_yaml_without_libyaml", nas.strict_yaml.__file__)
    assert spec is not None
    assert spec.loader is not None
    fresh = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(fresh)
    return fresh


@pytest.mark.parametrize("path", ["coatnet.yaml", "maxvit.yaml", "zoo/levit_256.yaml"])
def test_shipped_files_are_read_alike_with_and_without_libyaml(module: Any, path: str) -> None:
    assert module.read_yaml(folder() / path) == yaml.safe_load((folder() / path).read_text())


@pytest.mark.parametrize(("text", "words"), BAD.values(), ids=BAD)
def test_anything_but_plain_data_is_refused_in_one_line(module: Any, text: str, words: str) -> None:
    with pytest.raises(SpaceError) as caught:
        module.parse_yaml(text, where="my file", error=SpaceError)
    assert words in str(caught.value)
    assert str(caught.value).startswith("my file")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2024-01-01", "2024-01-01"),
        ("no", "no"),
        ("on", "on"),
        ("true", True),
        ("False", False),
        ("null", None),
        ("1e-5", 1e-5),
        ("-2E+3", -2000.0),
        ("1.5", 1.5),
        ("1e", "1e"),
        ("12", 12),
        ("=", "="),
    ],
)
def test_only_the_types_of_json_are_read(text: str, value: object) -> None:
    found = parse_yaml(f"a: {text}", where="text")["a"]
    assert found == value
    assert type(found) is type(value)


def test_written_data_are_read_back() -> None:
    data = {"name": "no", "list": [1, 2.5, None, True], "inner": {"x": [{"y": "1"}], "scale": 1e-05}}
    assert parse_yaml(dump_yaml(data), where="text") == data


def test_equal_objects_are_written_without_aliases() -> None:
    inner = [1, 2]
    assert "&" not in dump_yaml({"a": inner, "b": inner})


def test_json_has_one_spelling() -> None:
    assert canonical_json({"b": (1, 2), "a": None}) == '{"a":null,"b":[1,2]}'
    with pytest.raises(ValueError, match="JSON compliant"):
        canonical_json({"a": float("nan")})


def test_files_that_are_no_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / "binary.yaml").write_bytes(b"\x89PNG\xff\xfe\x00")
    (tmp_path / "large.yaml").write_bytes(b"a" * (MAX_BYTES + 1))
    for path, words in (
        (tmp_path, "is a folder"),
        (tmp_path / "binary.yaml", "not a text file"),
        (tmp_path / "large.yaml", "too large"),
        (tmp_path / "missing.yaml", "No such file"),
        (Path("nul\0.yaml"), "Cannot read"),
    ):
        with pytest.raises(NasError) as caught:
            read_yaml(path)
        assert words in str(caught.value)
        assert "\n" not in str(caught.value)
