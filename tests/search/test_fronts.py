"""Runs side by side: the exact hypervolume, the fronts, what cannot be compared, the picture."""

from __future__ import annotations

import random
from io import BytesIO
from itertools import combinations
from math import prod
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from nas.errors import RunError
from nas.report.drawing import Look
from nas.report.fronts import compare_runs, draw_fronts, write_fronts
from nas.report.hypervolume import hypervolume
from nas.run import Run, read_run
from nas.run.events import FinalistTrained

from .report_events import architecture, make_run


def by_inclusion_and_exclusion(points: list[tuple[float, ...]], reference: tuple[float, ...]) -> float:
    """The same volume from its definition: boxes, less their intersections, and so on."""
    total = 0.0
    for size in range(1, len(points) + 1):
        for some in combinations(points, size):
            corner = [max(values) for values in zip(*some, strict=True)]
            sides = [max(0.0, worst - x) for x, worst in zip(corner, reference, strict=True)]
            total -= (-1) ** size * prod(sides)
    return total


@pytest.mark.parametrize("objectives", [1, 2, 3, 4, 5])
def test_hypervolume_is_that_of_the_definition(objectives: int) -> None:
    rng = random.Random(objectives)
    for _ in range(30):
        reference = tuple(rng.uniform(0.5, 1) for _ in range(objectives))
        # Some lie beyond the reference, and some share coordinates.
        points = [tuple(rng.choice((rng.random(), 0.25, 0.5)) for _ in range(objectives)) for _ in range(7)]
        inside = [point for point in points if all(x < worst for x, worst in zip(point, reference, strict=True))]
        assert hypervolume(points, reference) == pytest.approx(by_inclusion_and_exclusion(inside, reference))


def test_hypervolume_of_a_staircase() -> None:
    assert hypervolume([(1, 3), (2, 2), (3, 1)], (4, 4)) == 6
    assert hypervolume([(1, 3), (2, 2), (3, 1), (3, 3)], (4, 4)) == 6  # a dominated point adds nothing
    assert hypervolume([(4, 0), (0, 4)], (4, 4)) == 0  # nor does one on the reference
    assert hypervolume([], (4, 4)) == 0


def run_of(path: Path, networks: list[tuple[float, float, int, int]], **given: Any) -> Path:
    """A run whose finalists reached these validation and test accuracies, at these multiply-adds and parameters."""
    options = {
        "space": "coatnet-small", "data": "digits", "seed": 0, "method": "supernet", "metric": "accuracy",
        "budgets": ["10MFLOPs"], "objective": None, **given.pop("options", {}),
    }  # fmt: skip
    data = {"num_classes": 10, "train_count": 1797, "class_names": "abc", "test_count": 360, **given.pop("data", {})}
    manifest = {"options": options, "plan": given.pop("plan", {}), "budgets": options["budgets"], "data": data}
    assert not given
    with Run.create(path, manifest) as run:
        for number, (validation, test, macs, params) in enumerate(networks):
            network = architecture("CCAA", [1, 1, 1, number + 1], [16, 16, 32, 32])
            run.append(FinalistTrained(
                digest=network.digest, number=number, validation_accuracy=validation, test_accuracy=test,
                macs=macs, params=params, epochs=3,
            ))  # fmt: skip
    return path


A = [(0.90, 0.88, 8_000_000, 300_000), (0.80, 0.85, 5_000_000, 200_000), (0.79, 0.99, 6_000_000, 100_000)]
B = [(0.95, 0.93, 9_000_000, 250_000)]


def test_fronts_are_by_validation_accuracy_and_hypervolumes_by_test_accuracy(tmp_path: Path) -> None:
    found = compare_runs([run_of(tmp_path / "a", A), run_of(tmp_path / "b", B)])
    assert found.objectives == ("macs",)
    assert found.reference == pytest.approx({"macs": 11_000_000})
    a, b = found.runs
    # The third is beaten in validation accuracy and costs: that it did best on the test images is chance.
    assert [network.test_accuracy for network in a.front] == [0.85, 0.88]
    assert a.trained == 3
    whole = 11_000_000
    assert a.hypervolume == pytest.approx((0.85 * (8_000_000 - 5_000_000) + 0.88 * (whole - 8_000_000)) / whole)
    assert b.hypervolume == pytest.approx(0.93 * (whole - 9_000_000) / whole)
    assert found.notes == ()


def test_a_run_without_a_budget_on_a_cost_is_not_measured_by_anothers(tmp_path: Path) -> None:
    """Whose bound it was never held to: all its networks would be beyond it."""
    b = run_of(tmp_path / "b", [(0.95, 0.93, 90_000_000, 250_000)], options={"budgets": ["0.3Mparams"]})
    found = compare_runs([run_of(tmp_path / "a", A), b], ("macs",))
    assert found.reference == pytest.approx({"macs": 99_000_000})
    assert found.runs[1].hypervolume > 0


def test_several_costs_make_a_front_of_as_many_dimensions(tmp_path: Path) -> None:
    found = compare_runs([run_of(tmp_path / "a", A), run_of(tmp_path / "b", B)], ("macs", "params"))
    # Without a budget on parameters, the largest network of the fronts is the reference.
    assert found.reference == pytest.approx({"macs": 11_000_000, "params": 330_000})
    a = found.runs[0]
    assert a.trained == len(a.front) == 3
    points = [(1 - n.test_accuracy, n.costs["macs"] / 11e6, n.costs["params"] / 330e3) for n in a.front]
    assert a.hypervolume == pytest.approx(by_inclusion_and_exclusion(points, (1.0, 1.0, 1.0)))


@pytest.mark.parametrize(
    ("other", "told"),
    [
        ({"data": {"num_classes": 5}}, r"other data: their num classes differ \(10 and 5\)"),
        ({"data": {"class_names": "xyz"}}, "other data: their class names differ. Compare"),
        ({"options": {"metric": "balanced-accuracy"}}, "compare runs with the same --metric"),
        ({"options": {"objective": "params"}}, "give one --objective for all"),
    ],
)
def test_runs_that_cannot_be_compared_are_refused(other: dict[str, Any], told: str, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=told):
        compare_runs([run_of(tmp_path / "a", A), run_of(tmp_path / "b", B, **other)])


def test_one_objective_for_all_can_be_given(tmp_path: Path) -> None:
    folders = [run_of(tmp_path / "a", A), run_of(tmp_path / "b", B, options={"objective": "params"})]
    assert compare_runs(folders, ("params",)).objectives == ("params",)


def test_costs_that_were_not_measured_alike_are_refused(tmp_path: Path) -> None:
    folders = [run_of(tmp_path / "a", A), run_of(tmp_path / "b", B)]
    with pytest.raises(RunError, match="did not measure latency"):
        compare_runs(folders, ("latency_s",))
    folders.append(run_of(tmp_path / "c", B, options={"budgets": ["10MFLOPs", "8ms@cpu:threads=1"]}))
    with pytest.raises(RunError, match="measured latency at no setting"):
        compare_runs(folders, ("latency_s",))


def test_what_else_differs_is_said(tmp_path: Path) -> None:
    folders = [
        run_of(tmp_path / "a", A, plan={"finalist_epochs": 20}, data={"test_count": 0}),
        run_of(tmp_path / "b", B, plan={"finalist_epochs": 30}, data={"test_count": 0},
               options={"budgets": ["12MFLOPs"], "seed": 1}),
    ]  # fmt: skip
    found = compare_runs(folders)
    assert found.reference == pytest.approx({"macs": 13_200_000})
    budgets, epochs, seeds = found.notes
    assert budgets == f"The budgets differ: {folders[0]} 10MFLOPs, {folders[1]} 12MFLOPs."
    assert epochs == f"The epochs of finalists differ: {folders[0]} 20, {folders[1]} 30."
    assert seeds.startswith("The seeds differ, and test images are split off by the seed")


def test_a_run_without_a_trained_network_is_refused(tmp_path: Path) -> None:
    make_run(tmp_path / "a", until="search")
    with pytest.raises(RunError, match="has no trained network yet: continue it with --resume"):
        compare_runs([tmp_path / "a", tmp_path / "a"])


def test_runs_of_every_stage_with_trained_networks_are_compared(tmp_path: Path) -> None:
    folders = [make_run(tmp_path / until, until=until) for until in ("finalists", "export", "finished")]
    found = compare_runs(folders)
    assert [each.trained for each in found.runs] == [3, 6, 6]
    assert found.runs[1].hypervolume == found.runs[2].hypervolume
    assert [each.seconds for each in found.runs] == [None, None, 1234.5]
    assert found.runs[2].front[-1].path == str(tmp_path / "finished" / "winners" / "1")


def test_the_picture_has_a_line_in_its_own_color_for_each_run(tmp_path: Path) -> None:
    fronts = compare_runs([run_of(tmp_path / "a", A), run_of(tmp_path / "b", B)])
    for look in (Look(), Look(dark=True), Look(narrow=True)):
        with Image.open(BytesIO(draw_fronts(fronts, look))) as image:
            shown = {color for _, color in image.convert("RGB").getcolors(1 << 24) or ()}
        for wanted in look.colors[:2]:
            rgb = tuple(int(wanted[place : place + 2], 16) for place in (1, 3, 5))
            assert any(sum(abs(x - y) for x, y in zip(rgb, color, strict=True)) < 12 for color in shown)
    path = write_fronts(fronts, tmp_path / "fronts.png")
    assert path.read_bytes() == draw_fronts(fronts)


def test_comparing_changes_no_run(tmp_path: Path) -> None:
    folders = [run_of(tmp_path / "a", A), run_of(tmp_path / "b", B)]
    before = [read_run(folder).events() for folder in folders], sorted(tmp_path.rglob("*"))
    compare_runs(folders)
    assert before == ([read_run(folder).events() for folder in folders], sorted(tmp_path.rglob("*")))
