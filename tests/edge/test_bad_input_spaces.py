"""Space files that cannot be used: one line that names the file, what is wrong and what would work, and exit 2."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ..small_space import small_data
from .bad_input import check, complaint, run, told


def given(*path: str | int, to: Any) -> Callable[[dict[str, Any]], None]:
    """Sets the value at a path of the space file."""

    def change(data: dict[str, Any]) -> None:
        place: Any = data
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = to

    return change


def stages(*changed: dict[str, Any]) -> Callable[[dict[str, Any]], None]:
    """Other stages, and no rules."""
    return lambda data: data.update(stages=list(changed), rules={})


def without(key: str) -> Callable[[dict[str, Any]], None]:
    return lambda data: data.pop(key)


CONVOLUTION, MIXER = ("layers", "convolution"), ("layers", "convolution", "first", 0, "mixer")
WRONG = {
    "an unknown key": (given("strides", to=2), "the file: Unknown key 'strides'", "did you mean 'stages'"),
    "an unknown stage key": (given("stages", 1, "widht", to=[4]), "stages[1]", "'widht'", "did you mean 'width'"),
    "an unknown rule": (given("rules", "order", to="CA"), "rules: Unknown key 'order'", "op_order"),
    "an unknown op": (given(*MIXER, "op", to="mbcnov"), "Unknown op 'mbcnov'", "did you mean 'mbconv'"),
    "an unknown parameter": (given(*MIXER, "kernel", to=3), "'kernel'", "did you mean 'kernel_size'"),
    "an unknown choice": (given(*MIXER, "width", to="$wdith"), "Unknown choice 'wdith'", "did you mean 'width'"),
    "a typo in choices": (
        lambda data: data["layers"]["convolution"]["choices"].update(
            kernel_sze=data["layers"]["convolution"]["choices"].pop("kernel_size")
        ),
        "layers.convolution.choices: 'kernel_sze' is not used, and $kernel_size is and has no values",
        "write 'kernel_size' here",
    ),
    "a typo in the stem's choices": (
        lambda data: data.update(
            stem={**data["stem"], "kernel_size": "$kernel_size"},
            stem_choices={**data["stem_choices"], "kernal_size": [3, 5]},
        ),
        "stem_choices: 'kernal_size' is not used",
        "write 'kernel_size' here",
    ),
    "a typo in a stage's choices": (
        given("stages", 0, "ops", "C", to={"layer": "convolution", "kernel_sze": [3]}),
        "stages[0].ops.C: Unknown choice of layers.convolution 'kernel_sze'",
        "did you mean 'kernel_size'",
    ),
    "a choice without a use": (
        given(*CONVOLUTION, "choices", "groups", to=[1, 2]),
        "layers.convolution.choices: choice 'groups' is not used in layers.convolution; write $groups there",
    ),
    "an unknown layer": (given("stages", 0, "ops", "C", to="convlution"), "'convlution'", "did you mean 'convolution'"),
    "an unknown preset": (given("presets", to=["coatnet_9"]), "presets: Unknown network 'coatnet_9'", "did you mean"),
    "a key that would garble": (given("\x1b[31m\nx", to=1), r"\x1b[31m\nx", "Known: about"),
    "stages as text": (given("stages", to="four"), "stages must be a list of 1 to 32 entries"),
    "a stage as text": (given("stages", 0, to="first"), "stages[0] must be a mapping", "'first'"),
    "widths as text": (given("stages", 0, "width", to=["a"]), "stages[0].width", "whole numbers above 0", "['a']"),
    "a broken width": (given("stages", 0, "width", to=[4.5]), "stages[0].width", "whole numbers above 0", "4.5"),
    "a width of zero": (given("stages", 0, "width", to=[0, 4]), "stages[0].width", "whole numbers above 0"),
    "a width beyond all": (given("stages", 0, "width", to=[10**19]), "stages[0].width", "10000000000000000000"),
    "a kernel that is a word": (given(*CONVOLUTION, "choices", "kernel_size", to=["x"]), "a whole number, not 'x'"),
    "an even kernel": (given(*CONVOLUTION, "choices", "kernel_size", to=[4]), "kernel_size (=4) must be odd"),
    "a depth of zero": (given("stages", 0, "depth", to=[0]), "stages[0].depth", "must allow some layers"),
    "a depth of thousands": (given("stages", 0, "depth", to=[2000]), "more than 1000 layers"),
    "classes as text": (given("head", "num_classes", to="ten"), "num_classes must be a whole number", "'ten'"),
    "a name of two lines": (given("name", to="a\nb"), "name must be letters", r"'a\nb'"),
    "no pixels": (given("input", "resolution", to=0), "input.resolution must be a whole number from 1", "not 0"),
    "no stages": (given("stages", to=[]), "stages must be a list of 1 to 32 entries"),
    "no widths": (given("stages", 0, "width", to=[]), "stages[0].width must list 1 to", "not []"),
    "no depths": (given("stages", 0, "depth", to=[]), "stages[0].depth must list 1 to", "not []"),
    "no ops": (given("stages", 0, "ops", to={}), "stages[0].ops must have at least one op"),
    "no kernels": (given(*CONVOLUTION, "choices", "kernel_size", to=[]), "kernel_size must list 1 to 64 values, not 0"),
    "an undivided width": (given("stages", 1, "width", to=[4, 10]), "head_dim=4 does not divide width=10: use 2 or 5"),
    "shrinking widths": (given("stages", 0, "width", to=[16]), "every stage needs a width not below the one before"),
    "an order of other letters": (given("rules", "op_order", to="AX"), "op_order (=AX)", "each letter in use once: AC"),
    "no format": (without("format"), "the file lacks 'format': add format: 2"),
    "a later format": (given("format", to=3), "has format 3; this version reads up to format 2", "Upgrade hybrid-nas"),
    "an earlier format": (given("format", to=0), "has format 0", "Set 'format: 2'"),
    "a format as text": (given("format", to="1"), "must start with 'format: 2', not format '1'"),
    "no head": (without("head"), "the file lacks 'head': add it"),
    "too many choices": (
        stages(*[{"width": list(range(4, 260, 4)), "depth": [1], "ops": {"C": "convolution"}}] * 32),
        "choices of width and ops",
        "Give fewer values",
    ),
    "too many layouts": (
        stages(*[{"width": [4], "depth": [1], "ops": {"C": "convolution", "A": "transformer"}}] * 20),
        "layouts",
        "Give rules.op_order or fewer ops",
    ),
}
LEVELS = "".join(f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True))
FILES: dict[str, tuple[bytes | str, ...]] = {
    "a bomb": ("a: &a [lol, lol]\n" + LEVELS, "line 1: anchors and aliases are not allowed", "write the value out"),
    "a tag": ("format: 2\nname: !!python/object/apply:os.system ['touch EXECUTED']\n", "line 2: tag", "leave it out"),
    "a tag at the top": ("!!python/object/new:type {args: [z, [], {}]}\n", "line 1: tag", "is not allowed"),
    "brackets without end": ("a: " + "[" * 100_000, "line 1: nested deeper than 40"),
    "steps without end": ("\n".join("  " * i + "a:" for i in range(700)), "nested deeper than 40"),
    "values without end": ("a: [" + "1," * 300_000 + "1]", "more than 40000 keys and values", "shorten the file"),
    "a number without end": ("format: " + "9" * 5000, "line 1: the number 99999999999999999999… is too large"),
    "a hexadecimal number": ("format: 0x" + "f" * 9000, "must start with 'format: 2'"),
    "a number beyond all": ("format: 1e999", "line 1: the number 1e999 is too large"),
    "a key twice": ("format: 2\nname: a\nname: b\n", "line 3: key 'name' is given twice", "drop one"),
    "a tab": ("format: 2\n\tname: a\n", "line 2", "tab character"),
    "two documents": ("format: 2\n---\nformat: 2\n", "line 2", "expected a single document"),
    "nothing": ("", "must hold a mapping (key: value lines), not nothing"),
    "a list": ("- 1\n", "must hold a mapping (key: value lines), not a list"),
    "a page": ("<!DOCTYPE html><html>404</html>\n", "must hold a mapping (key: value lines), not a text"),
    "a book": ("#" * 1_100_000, "too large", "at most 1000000", "Is it the right file?"),
    "a binary": (bytes(range(256)), "is not a text file (UTF-8); a YAML file is needed"),
    "another encoding": ("name: é\n".encode("latin-1"), "is not a text file (UTF-8)"),
    "a zero": (b"format: 2\n\0", "is not YAML", "#x0000"),
    "a network": (
        "format: 2\nstem: {op: conv_stem, width: 8}\nstages: []\nhead: {op: classifier}\n",
        "holds one network, not a search space",
        "nas train",
    ),
}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refused(home: Path, capsys: pytest.CaptureFixture[str], *fragments: str, path: str = "s.yaml") -> None:
    line = complaint(["search", "--space", path, "--budget", "5MFLOPs", "--dry-run"], home, capsys)
    told(line, path, *fragments)
    assert line.count(path) == 1
    assert not (home / "EXECUTED").exists()


@pytest.mark.parametrize("case", WRONG.values(), ids=WRONG)
def test_a_wrong_space_is_refused_with_its_place(
    case: tuple[Any, ...], home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change, *fragments = case
    data = small_data()
    change(data)
    (home / "s.yaml").write_text(json.dumps(data))
    refused(home, capsys, *fragments)


@pytest.mark.parametrize("case", FILES.values(), ids=FILES)
def test_a_file_that_is_no_space_is_refused(
    case: tuple[bytes | str, ...], home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content, *fragments = case
    (home / "s.yaml").write_bytes(content if isinstance(content, bytes) else content.encode())
    refused(home, capsys, *map(str, fragments))


def test_what_is_no_file_is_refused_at_once(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / "folder.yaml").mkdir()
    os.mkfifo(home / "pipe.yaml")
    (home / "device.yaml").symlink_to("/dev/zero")
    (home / "circle.yaml").symlink_to("circle.yaml")
    refused(home, capsys, "is a folder; a YAML file is needed", path="folder.yaml")
    refused(home, capsys, "is a pipe or device; a YAML file is needed", path="pipe.yaml")
    refused(home, capsys, "is a pipe or device; a YAML file is needed", path="device.yaml")
    refused(home, capsys, "No file", path="circle.yaml")


@pytest.mark.parametrize("name", ["a\nb.yaml", "\x1b[2J.yaml", "ключ.yaml", "‮right.yaml"])
def test_a_name_does_not_garble_the_line(name: str, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / name).write_text("- 1\n")
    line = complaint(["search", "--space", name, "--budget", "5MFLOPs"], home, capsys)
    told(line, ".yaml must hold a mapping")


def test_byte_order_marks_line_ends_and_json_are_read(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = json.dumps(small_data(), indent=1)
    for content in (text.encode(), b"\xef\xbb\xbf" + text.encode(), text.replace("\n", "\r\n").encode()):
        (home / "s.yaml").write_bytes(content)
        # What is complained of comes after the space has been read.
        line = complaint(["search", "--space", "s.yaml", "--budget", "5MFLOPs", "--data", "nothing.npz"], home, capsys)
        told(line, "There is no data at", "nothing.npz")


def test_a_process_of_its_own_executes_nothing_either(home: Path) -> None:
    (home / "s.yaml").write_text(str(FILES["a tag"][0]))
    ran = run(["search", "--space", "s.yaml", "--budget", "5MFLOPs"], home)
    check(ran.returncode, ran.stdout, ran.stderr)
    told(ran.stderr, "line 2: tag")
    assert sorted(os.listdir(home)) == ["s.yaml"]
