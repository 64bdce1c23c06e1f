"""The finalists' training curves: what is recorded of their epochs, and what the report draws of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from nas.pipeline.plan import epochs_validated
from nas.report.curves import draw_curves, training_curves
from nas.report.page import write_report
from nas.run import Run, read_run
from nas.run.events import FinalistEpoch, FinalistTrained


def written(folder: Path) -> Path:
    """A run whose finalists a, b (finished) and c (still training) have epochs on record."""
    with Run.create(folder, {}) as run:
        for place, digest in enumerate("abc"):
            for epoch in range(1, 11 if digest != "c" else 4):
                measured = 0.1 * epoch - 0.01 * place if epoch in (3, 6) else None
                run.append(
                    FinalistEpoch(
                        digest=digest, epoch=epoch, epochs=10, loss=2 / epoch + place, validation_accuracy=measured
                    )
                )
            if digest != "c":
                run.append(
                    FinalistTrained(
                        digest=digest,
                        number=place,
                        validation_accuracy=0.9 - 0.01 * place,
                        test_accuracy=0.8,
                        epochs=10,
                    )
                )
    return folder


def test_curves_are_what_the_record_has(tmp_path: Path) -> None:
    accuracy, loss = training_curves(read_run(written(tmp_path / "run")))
    assert accuracy.series["trial 0"] == [(3, pytest.approx(0.3)), (6, pytest.approx(0.6)), (10, 0.9)]
    assert list(accuracy.series) == ["trial 0", "trial 1"]  # of c there is one point
    assert loss.series["trial 1"] == [(epoch, 2 / epoch + 1) for epoch in range(1, 11)]
    assert loss.series["c"] == [(epoch, 2 / epoch + 2) for epoch in range(1, 4)]
    assert (accuracy.shares, loss.shares) == (True, False)
    assert draw_curves(loss).startswith(b"\x89PNG")


def test_a_run_without_epochs_has_no_curves(tmp_path: Path) -> None:
    Run.create(tmp_path / "run", {}).close()
    assert training_curves(read_run(tmp_path / "run")) == []


def test_the_report_shows_them(tmp_path: Path) -> None:
    page = write_report(written(tmp_path / "run")).read_text()
    section = page.partition("<h2>Training of the finalists</h2>")[2].partition("</section>")[0]
    assert section.count("<figure") == 2
    assert "Training loss of the finalists over their training" in section


@pytest.mark.parametrize(
    ("epochs", "expected"),
    [(1, set()), (6, set()), (8, {4}), (12, {4, 8}), (30, {6, 12, 18, 24}), (300, {60, 120, 180, 240})],
)
def test_few_epochs_are_validated_and_never_the_last(epochs: int, expected: set[int]) -> None:
    assert epochs_validated(epochs) == expected
