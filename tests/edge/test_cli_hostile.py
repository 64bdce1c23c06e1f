"""What the command line writes of names that others chose, and how weights and folders are refused early."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from nas.cli.console import Console
from nas.cli.display import one_line, printable
from nas.cli.parsing import Parser
from nas.data import open_data
from nas.errors import OptionError, RunError, TrainingError
from nas.networks.loading import load_architecture
from nas.options import SearchOptions
from nas.pipeline.train import train

from .test_bad_input import SMALLEST


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\n  b\r\n\tc", "a b c"),
        ("--resume 'my  run'", "--resume 'my  run'"),
        ("\x1b[2Jgone", r"\x1b[2Jgone"),
        ("‮right", r"\u202eright"),
        ("caf\udce9", r"caf\udce9"),
        ("größer, µs, ключ", "größer, µs, ключ"),
        (f"a {'x' * 5000} b", f"a {'x' * 60}…{'x' * 60} b"),
        ("x" * 999, "x" * 999),
    ],
)
def test_a_line_is_one_line_that_a_terminal_takes_as_text(text: str, shown: str) -> None:
    assert one_line(text) == shown


def test_every_stream_is_guarded() -> None:
    out, err = io.StringIO(), io.StringIO()
    console = Console(out=out, err=err)
    for write in (console.say, console.note, console.warn, console.error):
        write("  a\x1b[2J")
    assert "\x1b" not in out.getvalue() + err.getvalue()
    assert out.getvalue() == "  a\\x1b[2J\n"  # what is laid out stays so
    assert printable("a\tb") == r"a\tb"


def test_a_number_apart_from_its_unit_is_put_together() -> None:
    parser = Parser("nas-search", "")
    parser.add_argument("--budget")
    with pytest.raises(OptionError, match=r"'4.2' and 'GFLOPs' are two words: write 4.2GFLOPs"):
        parser.parse(["--budget", "4.2", "GFLOPs"])
    with pytest.raises(OptionError, match="'GFLOPs' is one argument too many"):
        parser.parse(["--budget", "4.2GFLOPs", "GFLOPs"])


@pytest.fixture
def unread(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder to work in; data that is read is a fault."""
    source = type(open_data("digits"))

    def load(*_: object, **__: object) -> None:
        raise AssertionError("the data was read")

    monkeypatch.setattr(source, "load", load)
    monkeypatch.chdir(tmp_path)
    Path("a.yaml").write_text(SMALLEST)
    return tmp_path


def test_weights_are_refused_before_the_data_is_read(unread: Path) -> None:
    architecture, options = load_architecture("a.yaml"), SearchOptions.of(space="a.yaml", train_resolution=8, threads=1)
    (unread / "text").write_text("text")
    save_file({"other": torch.zeros(3)}, unread / "other.safetensors")
    save_file({"stem.first.weight": torch.zeros(1)}, unread / "flat.safetensors")
    for weights, error, why in (
        ("nothing", RunError, "there is no such file. Give a .safetensors file"),
        (".", RunError, "it is not a file. Give a .safetensors file"),
        ("text", RunError, "Give a .safetensors file"),
        ("other.safetensors", TrainingError, "other.safetensors holds the weights of another network: 8 of 8"),
        ("flat.safetensors", TrainingError, "flat.safetensors holds the weights of another network: 8 of 8"),
    ):
        with pytest.raises(error, match=why):
            train(architecture, out="t", options=options, weights=weights)
    assert not (unread / "t").exists()


def test_a_training_is_not_written_among_other_files(unread: Path) -> None:
    architecture, options = load_architecture("a.yaml"), SearchOptions.of(space="a.yaml", train_resolution=8, threads=1)
    (unread / "taken").mkdir()
    (unread / "taken/thesis.tex").write_text("")
    with pytest.raises(RunError, match=r"taken already holds other files \(thesis.tex\). Choose another --out"):
        train(architecture, out="taken", options=options)
    (unread / "own/checkpoints").mkdir(parents=True)
    with pytest.raises(AssertionError, match="the data was read"):
        train(architecture, out="own", options=options)
