import json
import math
import random
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import nas
from nas.architecture import Architecture, BlockConfig
from nas.errors import RunError
from nas.methods.protocol.report import Curves
from nas.report import pareto, summarise, tally, trial_columns
from nas.report import summary as report_summary
from nas.report.architecture_table import ArchitectureTable, stage_maps
from nas.report.confusion import confusion_of
from nas.report.curves import finalist_charts, method_chart
from nas.report.effects import Moments, choices, explained, marginal_effects
from nas.report.page import write_report
from nas.report.page_data import page_data
from nas.report.summary import Summary
from nas.report.tally import TrialTally
from nas.report.trial_columns import axes
from nas.report.trials import trial_statistics
from nas.run import Run, read_run
from nas.run.events import FinalistEpoch
from nas.sampling import BudgetSampler
from nas.trial import Trial

from .report_events import architecture, make_run


def summary_of(run: Path) -> Summary:
    return summarise(read_run(run))


@pytest.fixture(scope="module")
def summary(tmp_path_factory: pytest.TempPathFactory) -> Summary:
    return summary_of(make_run(tmp_path_factory.mktemp("data") / "run", trials=60, failures=3))


def data_of(summary: Summary) -> dict[str, Any]:
    return json.loads(json.dumps(page_data(summary, marginal_effects(summary)), allow_nan=False))


def plain(data: dict[str, Any], number: int) -> Any:
    """A piece as the page's script puts it together."""
    piece = data["pieces"][number]
    if isinstance(piece, list):
        return [plain(data, item[0]) if isinstance(item, list) else item for item in piece]
    return {key: plain(data, value[0]) if isinstance(value, list) else value for key, value in piece.items()}


def test_columns_and_pieces_give_the_trials_back(summary: Summary) -> None:
    data = data_of(summary)
    columns = data["columns"]
    assert columns["number"] == [trial.number for trial in summary.complete] == list(range(3, 60))
    for place, trial in enumerate(summary.complete):
        assert columns["score"][place] == pytest.approx(trial.score, rel=1e-5)
        assert columns["macs"][place] == trial.cost.macs
        assert data["layouts"][columns["layout"][place]] == trial.layout
        frame, *stages = columns["architecture"][place]
        found = {**plain(data, frame), "stages": [plain(data, data["stages"][stage][0]) for stage in stages]}
        assert Architecture.from_dict(found) == trial.architecture


def test_equal_parts_of_architectures_are_written_once() -> None:
    table, one = ArchitectureTable(), architecture("CA", [2, 1], [16, 32])
    first = table.add(one)
    assert table.add(one) == first
    pieces = len(table.pieces)
    frame, stages = table.add(architecture("CA", [2, 1], [16, 48]))
    assert (frame, stages[0]) == (first[0], first[1][0])
    assert stages[1] != first[1][1]
    assert len(table.pieces) > pieces
    assert [table.stages[number][1:3] for number in first[1]] == [("C", 2), ("A", 1)]


def test_maps_of_stages_are_those_of_the_network_and_unknown_of_unknown_ops() -> None:
    known = architecture("CA", [2, 1], [16, 32])
    assert stage_maps(known) == [(16, 16, 16), (32, 8, 8)]
    later = Architecture(
        input=known.input, stem=BlockConfig(op="of_a_later_version"), stages=known.stages, head=known.head
    )
    assert stage_maps(later) == [(None, None, None)] * 2
    changed = BlockConfig(op="conv_stem", params=(("of_a_later_version", 1), ("width", 8)))
    assert stage_maps(Architecture(input=known.input, stem=changed, stages=known.stages, head=known.head))[0][0] is None


def test_of_too_many_trials_finalists_the_front_and_the_best_are_shown(
    summary: Summary, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (tally, report_summary):
        monkeypatch.setattr(module, "MOST_TRIALS", 40)
    few = summarise(summary.record)
    assert (few.front, few.candidates) == (summary.front, summary.candidates)
    assert marginal_effects(few) == marginal_effects(summary), "of all trials"
    assert trial_statistics(few) == trial_statistics(summary)
    shown = [trial.number for trial in few.complete]
    assert len(shown) == len(set(shown)) == 40
    assert shown == sorted(shown)
    best = sorted(summary.complete, key=lambda trial: -(trial.score or 0))[:8]
    needed = {t.number for t in (*summary.front, *best)} | {c.trial.number for c in summary.candidates if c.trial}
    assert len(needed) <= 20, "as many as have a place of their own"
    assert needed <= set(shown)


def test_architectures_of_the_lowest_scores_are_left_out_where_there_is_no_room(
    summary: Summary, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = [*(c.trial for c in summary.candidates if c.trial), *summary.front]
    table = ArchitectureTable()
    for trial in first:
        table.add(trial.architecture)
    monkeypatch.setattr(trial_columns, "MOST_CHARACTERS", table.characters)
    columns = data_of(summary)["columns"]
    left_out = [i for i, numbers in enumerate(columns["architecture"]) if numbers == 0]
    assert 0 < len(left_out) < len(columns["number"])
    assert not {trial.number for trial in first} & {columns["number"][i] for i in left_out}
    best = max(range(len(columns["score"])), key=lambda i: columns["score"][i])
    assert columns["architecture"][best]


def test_choices_are_those_of_the_stages_of_the_space() -> None:
    """Of which some may be absent: what stands first in a network need not be the first."""
    space = nas.load_space("hytra")
    sampler, rng = BudgetSampler(space), random.Random(0)
    members = [sampler.sample(rng) for _ in range(60)]
    trials = [
        Trial(
            number=number, architecture=each.architecture, cost=each.cost, status="complete", score=0.5, seed=0,
            seconds=1.0, layout=each.layout, origin="random", batch=0,
        )
        for number, each in enumerate(members)
    ]  # fmt: skip
    assert any(trial.layout.startswith("-") for trial in trials)
    widths: dict[int, set[str]] = {}
    for trial in trials:
        for (kind, number), value in choices(trial).items():
            if kind == "width":
                widths.setdefault(number, set()).add(value)
    assert all(len(found) == 1 for found in widths.values()), "each stage of this space has one width"
    assert [*widths] != []


def test_a_method_s_curves_may_be_no_shares() -> None:
    curves = Curves(title="t", caption="c", x_label="epoch", y_label="loss", series={"a": [(1, 0.5)]}, shares=False)
    assert not method_chart(curves).is_share


def test_a_cost_of_ones_own_is_named_on_the_axis(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pareto, "METRICS", {"layers": SimpleNamespace(noun="layers")})
    assert pareto.cost_scale([9.0], (), "layers")[1].startswith("layers")
    assert pareto.cost_scale([9e6], (), "memory_bytes")[1] == "memory (MB)"


def test_axes_have_units_bounds_and_directions(summary: Summary, monkeypatch: pytest.MonkeyPatch) -> None:
    assert axes(summary, summary.complete)[3].least is None, "some cost less than the least share of the budget"
    monkeypatch.setattr(TrialTally, "least", lambda *_: 6_000_000)
    found = {axis.key: axis for axis in axes(summary, summary.complete)}
    assert list(found) == ["score", "validation", "test", "macs", "params"]
    macs = found["macs"]
    assert (macs.unit, macs.factor, macs.bound, macs.least, macs.higher) == ("MMACs", 1e6, 8e6, 6e6, False)
    assert found["score"].is_share
    assert found["score"].higher
    assert found["params"].bound is None


def test_measured_costs_are_axes_in_their_setting(summary: Summary) -> None:
    cost = replace(summary.complete[0].cost, setting="cpu:threads=1").measured("latency_s", 0.00123456789)
    trials = [replace(summary.complete[0], cost=cost), *summary.complete[1:]]
    latency = {axis.key: axis for axis in axes(summary, trials)}["latency_s"]
    assert (latency.label, latency.unit, latency.factor) == ("latency in cpu:threads=1", "ms", 1e-3)
    assert trial_columns.trial_columns(summary, trials)["columns"]["latency_s"][:2] == [0.00123457, None]


def share(groups: dict[str, list[float]]) -> float:
    moments = {name: Moments() for name in groups}
    for name, values in groups.items():
        for value in values:
            moments[name].add(value)
    return explained(moments)


def test_the_share_explained_is_epsilon_squared() -> None:
    assert share({"a": [1.0, 1.0], "b": [2.0, 2.0]}) == 1
    assert share({"a": [1.0, 2.0], "b": [1.0, 2.0]}) == 0
    assert share({"a": [3.0], "b": [4.0]}) == 0, "no trial is left to tell chance from effect"
    # Sums of squares 4 within (2 free) and 5 in all (3 free): 1 - 2 / (5 / 3) is below 0.
    assert share({"a": [0.0, 2.0], "b": [1.0, 3.0]}) == 0
    # 1 within (2 free), and 17 in all (3 free).
    assert share({"a": [0.0, 1.0], "b": [4.0, 5.0]}) == pytest.approx(1 - (1 / 2) / (17 / 3))


def test_effects_are_means_by_value_and_a_choice_without_effect_explains_nothing(tmp_path: Path) -> None:
    rng = random.Random(0)
    noise = {"a": [rng.gauss(0, 1) for _ in range(3000)], "b": [rng.gauss(0, 1) for _ in range(3000)]}
    assert share(noise) < 0.005
    found = summary_of(make_run(tmp_path / "run", trials=300))
    effects = {(each.kind, each.stage): each for each in marginal_effects(found)}
    assert {kind for kind, _ in effects} >= {"op", "depth", "width"}
    assert ("kernel_size", 1) not in effects, "all have the default"
    op = effects["op", 2]
    assert [effect.value for effect in op.effects] == ["A", "C"]
    scores = [trial.score or 0.0 for trial in found.complete if trial.layout[1] == "A"]
    mean = sum(scores) / len(scores)
    assert op.effects[0].mean == pytest.approx(mean)
    spread = math.sqrt(sum((score - mean) ** 2 for score in scores) / (len(scores) - 1))
    assert op.effects[0].error == pytest.approx(spread / math.sqrt(len(scores)))
    assert sum(effect.trials for effect in op.effects) == len(found.complete) == 297
    widths = [int(effect.value) for effect in effects["width", 1].effects]
    assert widths == sorted(widths)


def test_curves_are_those_of_the_last_training_of_an_epoch(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", until="finalists", trials=60)
    before = summary_of(run)
    with Run.open(run) as opened:
        opened.append(FinalistEpoch(digest=before.candidates[0].digest, epoch=2, epochs=20, loss=7.5))
    accuracy, loss = finalist_charts(summary_of(run))
    assert (accuracy.is_share, loss.is_share) == (True, False)
    assert len(accuracy.series) == len(loss.series) == 4
    name = next(name for name, series in loss.series.items() if (2, 7.5) in series)
    assert [epoch for epoch, _ in loss.series[name]] == list(range(1, 21))
    assert name.startswith("trial ")


EVALUATION = {
    "format": 1, "data": "mine", "split": "test", "images": 9, "accuracy": 0.78, "later": True,
    "classes": [{"name": "cat", "images": 5}, {"name": "<b>dog", "images": 4}],
    "confusion": [[4, 1], [1, 3]],
}  # fmt: skip


def test_the_confusion_matrix_of_the_best_winner_is_shown(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", trials=60)
    assert confusion_of(summary_of(run)) is None
    folder = run / "winners/1/evaluation"
    folder.mkdir()
    (folder / "evaluation.json").write_text(json.dumps(EVALUATION))
    found = confusion_of(summary_of(run))
    assert found is not None
    assert found.source == "winners/1/evaluation/evaluation.json"
    assert found.matrix == (("cat", ((4, 0.8), (1, 0.2))), ("<b>dog", ((1, 0.25), (3, 0.75))))
    page = write_report(run).read_text()
    assert "78.0 % of 9 images (mine, test) are classified correctly" in page
    assert '<th scope="row">&lt;b&gt;dog</th>' in page


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{", json.dumps({**EVALUATION, "confusion": [[1], [2]]}), json.dumps({**EVALUATION, "classes": []})],
)
def test_an_evaluation_that_cannot_be_read_is_named(text: str, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", trials=60)
    (run / "winners/1/evaluation.json").write_text(text)
    found = confusion_of(summary_of(run))
    assert found is not None
    assert found.fault
    assert "winners/1/evaluation.json cannot be read: " in write_report(run).read_text()


def test_an_evaluation_is_not_read_through_a_link(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", trials=60)
    summary = summary_of(run)
    (tmp_path / "elsewhere.json").write_text(json.dumps(EVALUATION))
    (run / "winners/1/evaluation.json").symlink_to(tmp_path / "elsewhere.json")
    assert confusion_of(summary) is None
    with pytest.raises(RunError, match="is a link"):
        summary_of(run)


def test_of_many_classes_the_most_frequent_mistakes_are_listed(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", trials=60)
    n = 30
    counts = [[100 if i == j else (i * n + j) % 7 for j in range(n)] for i in range(n)]
    counts[3][4] = 99
    many = {**EVALUATION, "classes": [{"name": f"class {i}"} for i in range(n)], "confusion": counts}
    (run / "winners/1/evaluation.json").write_text(json.dumps(many))
    found = confusion_of(summary_of(run))
    assert found is not None
    assert found.matrix == ()
    assert found.mistakes is not None
    assert found.mistakes.rows[0] == ("class 3", "class 4", 99)
    assert len(found.mistakes.rows) == 20
