"""A sixth method, a searcher and a space, each added from outside the package, in one search together.

An op from outside is in `test_export_source.py`, a budget metric in `test_measured_budget.py`.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import nas
from nas.methods.protocol.search_method import SearchMethod
from nas.options import METHODS, SEARCHERS, MethodOptions
from nas.run import read_run
from nas.searchers.random_search import RandomSearch

SPACES = Path(__file__).parents[2] / "search_spaces"


class RandomScoring:
    """Scores seeded by an architecture's digest: no better than chance."""

    def score(self, architecture: nas.Architecture) -> float:
        return random.Random(architecture.digest).random()

    def make(self) -> RandomScoring:
        return self


class RandomScores(SearchMethod[MethodOptions]):
    def scorer(self, context: Any, trained: Any) -> Any:
        return RandomScoring()


class Backwards(RandomSearch):
    """Random search that proposes each batch in the opposite order."""

    asked = 0

    def ask(self, n: int, batch: int) -> list[Any]:
        type(self).asked += 1
        return super().ask(n, batch)[::-1]


@pytest.fixture
def added() -> Iterator[None]:
    nas.register_method("random-scores", RandomScores, about="scores at random")
    SEARCHERS.add("backwards", Backwards)
    yield
    METHODS.remove("random-scores")
    SEARCHERS.remove("backwards")


@pytest.mark.usefixtures("added")
def test_a_method_a_searcher_and_a_space_from_outside_make_a_search(tmp_path: Path) -> None:
    text = (SPACES / "coatnet-small.yaml").read_text().replace("name: coatnet-small", "name: mine", 1)
    (tmp_path / "mine.yaml").write_text(text)
    options = nas.SearchOptions.of(
        space=str(tmp_path / "mine.yaml"),
        method="random-scores",
        searcher="backwards",
        train_resolution=16,
        trials=6,
        finalists=2,
        finalist_epochs=1,
        rivals=0,
        threads=1,
        onnx=False,
        out=str(tmp_path / "run"),
    )
    space = nas.load_space(str(tmp_path / "mine.yaml"))
    nas.search(space, budgets=[nas.Budget.parse("3MFLOPs")], data="digits", options=options)
    record = read_run(tmp_path / "run")
    trials = record.trials()
    assert len(trials) == 6
    assert Backwards.asked > 0
    assert {trial.score for trial in trials} == {random.Random(trial.architecture.digest).random() for trial in trials}
    assert (tmp_path / "run" / "winners" / "1" / "model.py").exists()
    assert "random-scores" in (tmp_path / "run" / "report.html").read_text()
