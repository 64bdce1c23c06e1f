"""`nas rank`: what it hands to the library, and options that would change nothing."""

from __future__ import annotations

import csv
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nas
from nas.benchmark import ranking
from nas.cli.main import main
from nas.errors import OptionError
from nas.methods.protocol.ranking import RankingSettings

from .bad_input import complaint

SPACE = ("--space", "nats-size")
COLUMN = "--score-column good"
UNUSED = [
    (f"{COLUMN} --supernet nowhere", "--supernet nowhere is used by --method supernet or blockwise, and no"),
    (f"{COLUMN} --calibrations 5", "--calibrations 5 is used by --method calibrated"),
    (f"{COLUMN} --data nothing", "--data nothing is used by a --method that looks at images, and no"),
    (f"{COLUMN} --work kept", "--work kept is used by --method calibrated, az-nas, "),
    (f"{COLUMN} --device cpu", "--device cpu is used by --method calibrated, az-nas, "),
    (f"{COLUMN} --resolution 64", "--resolution 64 is used by --method az-nas, "),
    ("--space nats-size --data nothing", "--data nothing is used by a --method that looks at images, and no"),
    ("--space nats-size --method params --data nothing", "--data nothing is used by a --method that looks at images"),
    ("--space nats-size --known 4 --calibrations 5", "--calibrations 5 is used by --method calibrated"),
    ("--space nats-size --method nwot --calibration-epochs 2", "--calibration-epochs 2 is used by --method calibrated"),
    ("--space nats-size --known 4 --augment auto", "--augment auto is used by --method calibrated"),
    ("--space nats-size --method nwot --supernet nowhere", "--supernet nowhere is used by --method supernet"),
    (
        "--space nats-size --method supernet --supernet nowhere --work kept",
        "--work kept is used by --method calibrated",
    ),
]
USED = [
    f"{COLUMN} --seed 3 --rows 4",
    "--space nats-size --arch-column arch --known 4 --seed 1",
    f"{COLUMN} --arch-column arch",
    "--method params --method nwot --resolution 64 --data digits --family-column arch",
    "--space nats-size --method nwot --data digits --work kept --seed 1 --threads 1 --device cpu",
    "--space nats-size --method calibrated --calibrations 5 --calibration-epochs 2 --work kept --data digits",
    "--space nats-size --method calibrated --calibration-epochs 9 --augment auto",
    "--space nats-size --method nwot --method supernet --scorer loss --supernet nowhere --data digits --work kept",
    "--space nats-size --method blockwise --supernet nowhere --data digits",
]


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A table in the current folder, of members of the size space."""
    monkeypatch.chdir(tmp_path)
    rows = "".join(f"{8 * i}:16:24:32:40,0.{i},{i}\n" for i in range(1, 9))
    (tmp_path / "t.csv").write_text("arch,accuracy,good\n" + rows)
    return "t.csv"


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> list[RankingSettings]:
    """What rankings are asked for; none is carried out."""
    asked: list[RankingSettings] = []

    def rank(*_: Any, settings: RankingSettings, **__: Any) -> None:
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
def test_what_one_of_them_uses_is_handed_over(words: str, table: str, settings: list[RankingSettings]) -> None:
    main(["rank", "--truth", table, *words.split()])
    assert len(settings) == 1


def test_data_that_are_named_are_for_shared_weights_too_and_else_the_run_s_are(
    table: str, settings: list[RankingSettings]
) -> None:
    words = ["rank", "--truth", table, *SPACE, "--method", "supernet", "--supernet", "runs/a"]
    main(words)
    main([*words, "--data", "other.npz"])
    assert [each.data for each in settings] == [None, "other.npz"]


def test_a_device_that_is_not_there_is_refused_before_anything_is_read(
    table: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["rank", *SPACE, "--truth", table, "--method", "nwot", "--data", "nowhere", "--device", "mps"]
    assert complaint(words, tmp_path, capsys).startswith("--device mps: this machine's torch")


def test_what_is_known_is_said_and_what_it_is_worth(table: str, capsys: pytest.CaptureFixture[str]) -> None:
    with Path(table).open("a") as file:
        file.write("8:16:24:32:48,,9\n")
    assert main(["rank", *SPACE, "--truth", table, "--known", "2"]) == 0
    out, err = capsys.readouterr()
    assert "1 of 9 rows have no accuracy and are left out" in err
    assert "(cost of " in out
    assert "known: evaluated on the networks it was not fitted to, others on all." in out
    assert "known: evaluated on fewer than 8 networks, too few for a conclusion." in out
    # Depth is the same for all of them, and gets what a network at random does.
    (depth,) = [line.split() for line in out.splitlines() if line.startswith("depth")]
    assert depth[-3:] == ["8", "0.35", "0.0"]


def test_without_a_space_no_baseline_takes_a_columns_name(table: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = Path(table)
    path.write_text(path.read_text().replace("good", "params", 1))
    assert main(["rank", "--truth", table, "--score-column", "params"]) == 0
    assert "params  +1.000" in capsys.readouterr().out
    assert main(["rank", *SPACE, "--truth", table, "--score-column", "params"]) == 2
    assert "that is the name of a baseline or method" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "how"), [((), "with --work DIR it keeps"), (("--work", "kept"), "its results so far are in kept")]
)
def test_an_interrupted_ranking_tells_how_to_go_on(
    words: tuple[str, ...], how: str, table: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def rank(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(ranking, "rank", rank)
    assert main(["rank", *SPACE, "--truth", table, "--method", "nwot", *words]) == 130
    said = capsys.readouterr().err
    assert said.startswith("Interrupted. To go on: the same command")
    assert how in said


@pytest.mark.parametrize("scorer", ["nwot", "az-nas", "calibrated"])
def test_networks_for_different_images_are_refused(
    scorer: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    space = nas.load_space("coatnet-small")
    rng = random.Random(0)
    networks = [space.sample(rng) for _ in range(4)] + [space.adapted(num_classes=3).sample(rng)]
    with (tmp_path / "t.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["architecture", "accuracy"])
        rows.writerows([json.dumps(each.to_dict()), 0.1 * i] for i, each in enumerate(networks))
    np.savez(tmp_path / "d.npz", x_train=np.zeros((40, 32, 32, 3), np.uint8), y_train=np.arange(40) % 10)
    words = ["rank", "--space", "coatnet-small", "--truth", str(tmp_path / "t.csv"), "--method", scorer]
    assert main([*words, "--data", str(tmp_path / "d.npz")]) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("The table's networks must have equal inputs and classes: the first is for 32 pixels, 3")
    assert "number 5 for 32 pixels, 3 channels and 3 classes" in said
