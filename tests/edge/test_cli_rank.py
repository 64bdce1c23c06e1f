"""`nas rank`: what it hands to the library, and options that would change nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from nas.benchmark import ranking, scorers
from nas.cli.main import main
from nas.errors import OptionError

from .bad_input import complaint

SPACE = ("--space", "nats-size")
COLUMN = "--score-column good"
UNUSED = [
    (
        f"{COLUMN} --supernet nowhere",
        "--supernet nowhere is used by --scorer supernet, supernet-loss, blockwise, and no",
    ),
    (f"{COLUMN} --calibrations 5", "--calibrations 5 is used by --scorer calibrated"),
    (f"{COLUMN} --data nothing", "--data nothing is used by a --scorer that looks at images, and no"),
    (f"{COLUMN} --work kept", "--work kept is used by --scorer calibrated, az-nas, "),
    (f"{COLUMN} --device cpu", "--device cpu is used by --scorer calibrated, az-nas, "),
    (f"{COLUMN} --arch-column arch", "--arch-column arch is used with --space"),
    ("--space nats-size --data nothing", "--data nothing is used by a --scorer that looks at images, and no"),
    ("--space nats-size --scorer params --data nothing", "--data nothing is used by a --scorer that looks at images"),
    ("--space nats-size --known 4 --calibrations 5", "--calibrations 5 is used by --scorer calibrated"),
    ("--space nats-size --scorer nwot --calibration-epochs 2", "--calibration-epochs 2 is used by --scorer calibrated"),
    ("--space nats-size --known 4 --augment auto", "--augment auto is used by --scorer calibrated"),
    ("--space nats-size --scorer nwot --supernet nowhere", "--supernet nowhere is used by --scorer supernet"),
    (
        "--space nats-size --scorer supernet --supernet nowhere --work kept",
        "--work kept is used by --scorer calibrated",
    ),
]
USED = [
    f"{COLUMN} --seed 3 --rows 4",
    "--space nats-size --arch-column arch --known 4 --seed 1",
    "--space nats-size --scorer nwot --data digits --work kept --seed 1 --threads 1 --device cpu",
    "--space nats-size --scorer calibrated --calibrations 5 --calibration-epochs 2 --work kept --data digits",
    "--space nats-size --scorer calibrated --calibration-epochs 9 --augment auto",
    "--space nats-size --scorer nwot --scorer supernet-loss --supernet nowhere --data digits --work kept",
    "--space nats-size --scorer blockwise --supernet nowhere --data digits",
]


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A table in the current folder, of members of the size space."""
    monkeypatch.chdir(tmp_path)
    rows = "".join(f"{8 * i}:16:24:32:40,0.{i},{i}\n" for i in range(1, 9))
    (tmp_path / "t.csv").write_text("arch,accuracy,good\n" + rows)
    return "t.csv"


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> list[scorers.Settings]:
    """What rankings are asked for; none is carried out."""
    asked: list[scorers.Settings] = []

    def rank(*_: Any, settings: scorers.Settings, **__: Any) -> None:
        asked.append(settings)
        raise OptionError("This is as far as it goes here.")

    monkeypatch.setattr(ranking, "rank", rank)
    return asked


@pytest.mark.parametrize(("words", "why"), UNUSED)
def test_what_no_scorer_asked_for_uses_is_refused(
    words: str, why: str, table: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = complaint(["rank", "--truth", table, *words.split()], tmp_path, capsys)
    option = why.split()[0]
    assert said.startswith(why)
    assert said.endswith(f"or leave out {option}.\n")


@pytest.mark.parametrize("words", USED)
def test_what_one_of_them_uses_is_handed_over(words: str, table: str, settings: list[scorers.Settings]) -> None:
    main(["rank", "--truth", table, *words.split()])
    assert len(settings) == 1


def test_data_that_are_named_are_for_shared_weights_too_and_else_the_run_s_are(
    table: str, settings: list[scorers.Settings]
) -> None:
    words = ["rank", "--truth", table, *SPACE, "--scorer", "supernet", "--supernet", "runs/a"]
    main(words)
    main([*words, "--data", "other.npz"])
    assert [(each.supernet_data, each.data) for each in settings] == [(None, "digits"), ("other.npz", "other.npz")]


def test_a_device_that_is_not_there_is_refused_before_anything_is_read(
    table: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["rank", *SPACE, "--truth", table, "--scorer", "nwot", "--data", "nowhere", "--device", "mps"]
    assert complaint(words, tmp_path, capsys).startswith("--device mps: this machine's torch")
