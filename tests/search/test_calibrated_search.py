"""A search without a supernet: calibrated by short trainings, or by proxies alone; stopped anywhere and resumed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

import nas
from nas.architecture import Architecture
from nas.data import open_data
from nas.errors import OptionError, RunError, TrainingError
from nas.jobs import training as training_jobs
from nas.methods.calibrated import trainings as trainings_module
from nas.methods.calibrated.features import FeatureScaler
from nas.methods.protocol import plan as plans
from nas.methods.zero_cost import planning
from nas.networks.network import Network
from nas.options import SearchOptions
from nas.pipeline.search import resume
from nas.progress import Silent
from nas.report import rebuild
from nas.run import Run, read_run
from nas.run.events import (
    CalibrationFailed,
    CalibrationLeftOut,
    CalibrationOrder,
    CalibrationTrained,
    Event,
    FinalistTrained,
    PhaseFinished,
    ProxiesMeasured,
    RankingEvaluated,
    TrialScored,
)
from nas.training import Recipe, fresh_network, train_network
from nas.training.checkpoint import newest
from nas.training.loop import TrainingLoop

from ..event_cases import AnyEvent, timeless
from ..notes import Notes
from ..small_space import small_space

SPACE = small_space()
BUDGET = nas.Budget.parse("40kFLOPs")
OPTIONS: dict[str, Any] = {
    "space": "small", "trials": 6, "finalists": 1, "finalist_epochs": 1,
    "batch_size": 256, "threads": 1, "device": "cpu", "onnx": False, "seed": 4,
}  # fmt: skip
CALIBRATED = {**OPTIONS, "method": "calibrated", "calibrations": 3, "calibration_epochs": 1}


def search(out: Path, progress: Silent | None = None, **given: Any) -> Any:
    options = SearchOptions.of(out=str(out), **given)
    return nas.search(SPACE, budgets=[BUDGET], data="digits", options=options, progress=progress)


def told(path: Path, kind: type[AnyEvent]) -> list[AnyEvent]:
    return timeless(read_run(path).events(kind))


def trials(path: Path) -> list[Any]:
    return [(t.number, t.architecture, t.score, t.status, t.origin) for t in read_run(path).trials()]


class Trainings:
    """Stands in for `train_network`: notes what is trained, and gives some networks weights that diverge at once."""

    def __init__(self, *diverging: str) -> None:
        self.diverging, self.begun = diverging, list[str]()

    def __call__(self, network: Network, *given: Any, phase: str, **more: Any) -> float:
        self.begun.append(phase)
        if phase in self.diverging:
            with torch.no_grad():
                network.head.linear.weight.fill_(float("nan"))
        return train_network(network, *given, phase=phase, **more)


class Watching(Notes):
    """Presses Ctrl-C after two steps of one phase, and keeps the notes."""

    def __init__(self, stop: str | None = None) -> None:
        super().__init__()
        self._stop, self._steps, self._phase = stop, 0, ""

    def start(self, phase: str, total: int, unit: str) -> None:
        self._phase = phase

    def advance(self, n: int = 1, **figures: str | float | int) -> None:
        self._steps += n * (self._phase == self._stop)
        if self._steps == 2:
            raise KeyboardInterrupt


@contextmanager
def stopped(kind: type[Event], count: int) -> Generator[None, None, None]:
    """Within it, Ctrl-C is pressed once a run has so many events of a kind."""
    append = Run.append

    def stopping(self: Run, event: Event) -> None:
        append(self, event)
        if type(event) is kind and len(self.events(kind)) == count:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Run, "append", stopping)
        with pytest.raises(KeyboardInterrupt):
            yield


@pytest.fixture(scope="module", autouse=True)
def few_references() -> Iterator[None]:
    """As on a machine that can afford few: 24 networks are measured and not 128."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(planning, "PROXY_IMAGES", 10**9)
        yield


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("whole") / "run"
    search(path, **CALIBRATED)
    return path


def test_networks_are_trained_for_calibration_then_proposed_first_and_no_supernet_is(whole: Path) -> None:
    trained = told(whole, CalibrationTrained)
    assert len(trained) == 3
    assert all(0 <= event.accuracy <= 1 for event in trained)
    assert [event.spearman for event in told(whole, CalibrationLeftOut)] == [None], "of three nothing is said"
    found = read_run(whole).trials()
    assert len(found) == 6
    assert all(trial.complete and trial.cost.macs <= BUDGET.bound for trial in found)
    best = sorted(trained, key=lambda event: -event.accuracy)
    assert [trial.architecture.digest for trial in found[:3]] == [event.digest for event in best]
    assert len({trial.score for trial in found}) > 1
    assert [event.phase for event in told(whole, PhaseFinished)] == [
        "calibration",
        "search",
        "finalists",
        "export",
    ]
    assert not (whole / "supernet").exists()
    kept = [each.name for each in (whole / "finalists").iterdir()]
    assert kept == [event.digest for event in told(whole, FinalistTrained)], "others' checkpoints are gone"
    assert (whole / "winners" / "1" / "model.py").exists()
    page = (whole / "report.html").read_text()
    assert "Calibration of the scores" in page
    assert "Leave-one-out rank correlation over 3 short trainings: not known" in page
    assert f"Predicted accuracy after {trained[0].epochs} epoch" in page
    table = page.partition(best[0].digest)[2]
    assert f"{found[0].score:.1%}".replace("%", " %") in table.partition("</tr>")[0]


@pytest.mark.usefixtures("unexported")
def test_each_network_has_the_learning_rate_of_its_own_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Networks as small as these would all have the same.
    monkeypatch.setattr(plans, "learning_rate_for", lambda params, batch_size: 1e-7 * params + 1e-3 * batch_size / 256)
    search(tmp_path / "run", **CALIBRATED)
    events = [*told(tmp_path / "run", CalibrationTrained), *told(tmp_path / "run", FinalistTrained)]
    params = [nas.cost(nas.Architecture.from_dict(event.architecture)).params for event in events]
    assert [event.learning_rate for event in events] == [1e-7 * count + 1e-3 for count in params]
    assert len({event.learning_rate for event in events}) > 1


@pytest.mark.usefixtures("unexported")
def test_stopped_in_every_phase_it_ends_the_same(whole: Path, tmp_path: Path) -> None:
    path = tmp_path / "run"
    for kind, count in [(ProxiesMeasured, 5), (CalibrationTrained, 2), (TrialScored, 4)]:
        with stopped(kind, count):
            resume(path) if path.exists() else search(path, **CALIBRATED)
        assert len(told(path, kind)) == count
    resume(path)
    for each in (ProxiesMeasured, CalibrationTrained, FinalistTrained, RankingEvaluated):
        assert told(path, each) == told(whole, each)
    assert trials(path) == trials(whole)


@pytest.mark.usefixtures("unexported")
def test_what_was_trained_stays_what_it_is_calibrated_by(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where another version would have trained other networks."""
    path = tmp_path / "run"
    with stopped(TrialScored, 4):
        search(path, **CALIBRATED)
    asked = FeatureScaler.select
    monkeypatch.setattr(FeatureScaler, "select", lambda self, count: asked(self, count + 2)[::-1])
    resume(path)
    assert told(path, CalibrationTrained) == told(whole, CalibrationTrained)
    assert trials(path) == trials(whole)


@pytest.mark.usefixtures("unexported")
def test_a_training_that_diverges_is_recorded_and_passed_over(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, progress = tmp_path / "run", Notes()
    trainings = Trainings("calibration 2 of 3")
    monkeypatch.setattr(training_jobs, "train_network", trainings)
    with stopped(TrialScored, 4):
        search(path, progress=progress, **CALIBRATED)
    first, second, third = told(whole, CalibrationTrained)
    assert told(path, CalibrationTrained) == [first, third]
    error = "The loss became nan at step 1. Try --dtype float32 or a larger --batch-size."
    assert told(path, CalibrationFailed) == timeless([CalibrationFailed(digest=second.digest, error=error)])
    assert read_run(path).events(CalibrationFailed)[0].seconds > 0
    assert f"The training for calibration 2 of 3 failed and is left out: {error}" in progress.notes
    resume(path)
    assert trainings.begun == [f"calibration {number} of 3" for number in (1, 2, 3)]
    found = read_run(path).trials()
    assert len(found) == 6
    assert all(trial.complete for trial in found)
    assert {trial.architecture.digest for trial in found[:2]} == {first.digest, third.digest}
    rebuild(path)
    page = (path / "report.html").read_text()
    assert "trainings of 2 networks reached" in page
    assert f"{second.digest} is left out: {error}" in page


def test_too_few_trainings_end_a_search_with_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, trainings = tmp_path / "run", Trainings("calibration 1 of 3", "calibration 3 of 3")
    monkeypatch.setattr(training_jobs, "train_network", trainings)
    for _ in range(2):
        with pytest.raises(TrainingError) as caught:
            search(path, **CALIBRATED) if not path.exists() else resume(path)
        assert str(caught.value) == (
            "A calibration needs 2 trained networks, and 1 of 3 could be trained; events.jsonl has the reasons. "
            "Start a new run with --dtype float32 or another --batch-size."
        )
    assert len(trainings.begun) == 3, "resuming trains none of them again"
    assert [event.phase for event in told(path, PhaseFinished)] == []


@pytest.mark.usefixtures("unexported")
def test_the_seconds_of_a_training_are_those_of_all_sittings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "run"
    with monkeypatch.context() as patched:
        # What the checkpoint is told that the training took so far.
        patched.setattr(TrainingLoop, "seconds", 3600.0)
        with pytest.raises(KeyboardInterrupt):
            search(path, progress=Watching("calibration 2 of 3"), **CALIBRATED)
    digest = [event.digest for event in told(path, CalibrationTrained)]
    [left] = [each for each in (path / "finalists").iterdir() if each.name not in digest]
    assert newest(left) is not None
    resume(path)
    first, second, third = (event.seconds for event in read_run(path).events(CalibrationTrained))
    assert second > 3600
    assert max(first, third) < 3600


LONGER = {
    **OPTIONS,
    "method": "calibrated",
    "calibrations": 6,
    "calibration_epochs": 2,
    "finalist_epochs": 4,
    "finalists": 2,
}


@pytest.mark.usefixtures("unexported")
@pytest.mark.parametrize("order", [0.8, 0.4])
def test_where_the_order_of_networks_still_moves_half_of_them_train_twice_as_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, order: float
) -> None:
    path, progress = tmp_path / "run", Notes()
    monkeypatch.setattr(trainings_module, "rank_correlation", lambda *_: order)
    search(path, progress=progress, **LONGER)
    counts = Counter((event.digest, event.epochs) for event in told(path, CalibrationTrained))
    assert set(counts.values()) == {1}, "nothing is trained twice"
    epochs: dict[str, int] = {}
    for digest, count in counts:
        epochs[digest] = max(count, epochs.get(digest, 0))
    [seen] = told(path, CalibrationOrder)
    settled = order > 0.5
    assert (seen.networks, seen.epochs, seen.spearman, seen.settled) == (4, 2, order, settled)
    if settled:
        assert len(epochs) > 4
        assert set(epochs.values()) == {2}
        assert any("their order has settled" in note for note in progress.notes)
    else:
        assert [*epochs.values()] == [4, 4, 4, 4]
        assert any("has not settled: they train twice as long, and no others" in note for note in progress.notes)
    most = max(epochs.values())
    rebuild(path)
    assert f"redicted accuracy after {most} epochs" in (path / "report.html").read_text()


@pytest.mark.usefixtures("unexported")
def test_a_finalist_goes_on_from_its_calibration_and_is_what_one_trained_at_once_is(tmp_path: Path) -> None:
    path = tmp_path / "run"
    search(path, **LONGER)
    trained = told(path, CalibrationTrained)
    finalists = told(path, FinalistTrained)
    fixed = [each for each in finalists if each.chosen_by == "params"]
    begun = [each for each in finalists if each.digest in {event.digest for event in trained}]
    assert fixed
    assert fixed[0] in begun, "what counting chose is among the calibrations"
    [event] = fixed
    plan, manifest = read_run(path).manifest["plan"], read_run(path).manifest
    network = fresh_network(Architecture.from_dict(event.architecture).at_resolution(plan["train_resolution"]), seed=4)
    data = open_data("digits").load(resolution=plan["train_resolution"], seed=4, progress=Silent())
    recipe = Recipe(
        epochs=4,
        batch_size=plan["batch_size"],
        learning_rate=event.learning_rate,
        augment=plan["augment"],
        seed=manifest["seed"],
    )
    assert train_network(network, data, recipe, progress=Silent()) == event.validation_accuracy


def test_networks_that_it_would_not_draw_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "run"
    with stopped(TrialScored, 1):
        search(path, **CALIBRATED)
    events, digest = path / "events.jsonl", told(path, CalibrationTrained)[0].digest
    lines = events.read_text().splitlines(keepends=True)
    events.write_text(
        "".join(line.replace(digest, "0" * len(digest)) if '"calibrated"' in line[:80] else line for line in lines)
    )
    assert told(path, CalibrationTrained)[0].digest != digest
    with pytest.raises(RunError, match="has trainings of networks that this version does not sample. Start a new run"):
        resume(path)


@pytest.mark.usefixtures("unexported")
@pytest.mark.parametrize("scorer", ["nwot", "az-nas"])
def test_proxies_alone_can_score_a_search(tmp_path: Path, scorer: str) -> None:
    result = search(tmp_path / "run", **OPTIONS, method=scorer)
    found = read_run(tmp_path / "run").trials()
    assert len(found) == 6
    assert len({trial.score for trial in found}) > 1
    assert len(result.winners) == 1
    assert [event.phase for event in told(tmp_path / "run", PhaseFinished)] == ["search", "finalists", "export"]


@pytest.mark.usefixtures("unexported")
def test_a_search_may_score_by_counting(tmp_path: Path) -> None:
    result = search(tmp_path / "run", **OPTIONS, method="params")
    found = read_run(tmp_path / "run").trials()
    assert [trial.score for trial in found] == [trial.cost.params for trial in found]
    assert len({trial.score for trial in found}) > 1
    most = max(found, key=lambda trial: trial.cost.params)
    assert [winner.digest for winner in told(tmp_path / "run", FinalistTrained)] == [most.architecture.digest]
    assert len(result.winners) == 1
    assert not told(tmp_path / "run", ProxiesMeasured)


def test_its_run_has_no_supernet_to_reuse(whole: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="must be a run of --method supernet, but it is one of --method calibrated"):
        search(tmp_path / "run", **OPTIONS, supernet=str(whole))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (
            {"method": "calibrated", "strategy": "sandwich"},
            "--strategy sandwich is an option of --method supernet or blockwise, and",
        ),
        (
            {"method": "nwot", "epochs": 3},
            "--epochs 3 is an option of --method supernet or blockwise, and --method nwot",
        ),
        ({"method": "calibrated", "supernet": "runs/a"}, "--supernet runs/a is an option of --method supernet, and"),
        (
            {"method": "nwot", "calibrations": 4},
            "--calibrations 4 is an option of --method calibrated, and --method nwot",
        ),
        ({"method": "supernet", "calibration_epochs": 4}, "--calibration-epochs 4 is an option of --method calibrated"),
        ({"method": "calibrated", "calibrations": 1}, "--calibrations must be a whole number from 2"),
    ],
)
def test_what_does_not_go_together_is_refused(given: dict[str, Any], words: str) -> None:
    with pytest.raises(OptionError, match=words):
        SearchOptions.of(space="small", **given).validate()


def test_where_counting_is_the_score_the_report_says_so(tmp_path: Path) -> None:
    options = {name: value for name, value in OPTIONS.items() if name != "finalist_epochs"}
    result = search(tmp_path / "run", **options, method="calibrated", time=40)
    found = read_run(tmp_path / "run").trials()
    assert [trial.score for trial in found] == [trial.cost.params for trial in found]
    assert not told(tmp_path / "run", CalibrationTrained)
    assert result.score_name == "parameters"
    page = (tmp_path / "run" / "report.html").read_text()
    assert "A score is the number of parameters." in page
    assert "Calibration of the scores" not in page
    assert "predicted accuracy" not in page.lower()
