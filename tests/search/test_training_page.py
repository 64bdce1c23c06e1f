"""`training.html`, the page of one training: its curves, in data and in a real browser."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from nas.report.training_page import render_training, training_charts

from ..chromium import PROGRAM, chromium


def row(epoch: int, **more: Any) -> dict[str, Any]:
    figures = {"loss": 2.0 / epoch, "validation_loss": 2.5 / epoch, "validation_accuracy": 1 - 0.5 / epoch}
    return {"epoch": epoch, "epochs": 4, "learning_rate": 0.004 / epoch, "seconds": 65.0 * epoch, **figures, **more}


ROWS = [row(epoch) for epoch in (1, 2, 3)]
AVERAGED = [row(epoch, current_validation_accuracy=0.4, current_validation_loss=1.5) for epoch in (1, 2, 3)]


def test_there_are_curves_of_loss_metric_and_learning_rate() -> None:
    loss, accuracy, rate = training_charts(ROWS, metric="balanced-accuracy")
    assert {name: curve[0] for name, curve in loss.series.items()} == {"training": (1, 2.0), "validation": (1, 2.5)}
    assert accuracy.series == {"validation": [(1, 0.5), (2, 0.75), (3, 1 - 0.5 / 3)]}
    assert (accuracy.title, accuracy.is_share) == ("Validation balanced-accuracy", True)
    assert rate.series == {"learning rate": [(1, 0.004), (2, 0.002), (3, 0.004 / 3)]}


def test_an_average_of_the_weights_has_curves_beside_the_current_weights() -> None:
    loss, accuracy, _ = training_charts(AVERAGED, metric="accuracy")
    averaged, current = "validation, averaged weights (EMA)", "validation, current weights"
    assert list(loss.series) == [averaged, current, "training"]  # the same colors in both
    assert accuracy.series[averaged][1] == (2, 0.75)
    assert accuracy.series[current] == [(1, 0.4), (2, 0.4), (3, 0.4)]


def test_what_an_epoch_lacks_leaves_a_gap_and_what_all_lack_no_chart() -> None:
    rows = [row(1, validation_accuracy=None, validation_loss=None, learning_rate=None), row(2, learning_rate=None)]
    loss, accuracy = training_charts(rows, metric="accuracy")
    assert loss.series["validation"] == [(2, 1.25)]
    assert accuracy.series == {"validation": [(2, 0.75)]}


def test_the_page_says_how_far_it_is_and_escapes_its_name() -> None:
    page = render_training("<b>&", ROWS, metric="accuracy")
    assert "<h1>Training &lt;b&gt;&amp;</h1>" in page
    assert "3 of 4 epochs in 3 min 15 s · best validation accuracy 83.3 %, after epoch 3" in page
    data = re.search(r'<script type="application/json" id="data">(.*?)</script>', page)
    assert data is not None
    assert [chart["title"] for chart in json.loads(data[1])["charts"]] == [
        "Loss", "Validation accuracy", "Learning rate",
    ]  # fmt: skip
    assert "No epoch is finished yet" in render_training("a", [], metric="accuracy")


@pytest.mark.skipif(PROGRAM is None, reason="there is no Chromium")
@pytest.mark.parametrize(("rows", "lines"), [(ROWS, [2, 1, 1]), (AVERAGED, [3, 2, 1]), ([], [])])
def test_a_browser_draws_every_curve_and_fetches_nothing(
    tmp_path: Path, rows: list[dict[str, Any]], lines: list[int]
) -> None:
    path = tmp_path / "training.html"
    path.write_text(render_training("mine", rows, metric="accuracy"))
    with chromium() as page:
        page.look(width=390)
        page.open(path)
        page.wait('document.documentElement.dataset.drawn === "all"')
        lines_of = "(each) => each.querySelectorAll('g[aria-label=line] path').length"
        drawn = page.run(f"[...document.querySelectorAll('figure')].map({lines_of})")
        legends = page.run("[...document.querySelectorAll('.legend li')].map((each) => each.textContent)")
        assert page.run("document.documentElement.scrollWidth <= innerWidth")
        assert page.messages == []
        assert [address for address in page.requests if not address.startswith(("file:", "data:"))] == []
    assert drawn == lines
    assert len(legends) == sum(lines)
