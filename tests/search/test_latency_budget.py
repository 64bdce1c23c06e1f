"""A search within a latency on a made-up machine: calibrated, held, measured, replaced, resumed."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import nas
from nas.architecture import Architecture
from nas.budget import Budget
from nas.cli.main import main_search
from nas.errors import LatencyError
from nas.jobs.backend import InThisProcess
from nas.latency import budgets as latency_budgets
from nas.latency import store
from nas.latency.device_model import Device
from nas.latency.features import blocks_of, total_work
from nas.latency.work_model import PRIOR
from nas.pipeline.latency_check import rivals_within
from nas.pipeline.rivals import rival_picks
from nas.progress import Silent
from nas.run import read_run
from nas.run.events import FinalistMeasured, WinnerExported
from nas.sampling import BudgetSampler
from nas.setting import Setting

from ..small_space import small_data, small_space

SPACE = small_space()
SETTING = "cpu:threads=1"


def law(architecture: Architecture) -> float:
    return float(total_work(blocks_of(architecture)) @ PRIOR) * 2e-11


class MadeUpMachine:
    """Measures by `law`; what is in `slower` takes half as long again, and the first `noisy` occasions tell nothing."""

    def __init__(self) -> None:
        self.slower: set[Architecture] = set()
        self.noisy = 0
        self.measured: list[Architecture] = []

    def measure_together(self, architectures: Sequence[Architecture], setting: Setting, **_: Any) -> list[Any]:
        noisy, self.noisy = self.noisy > 0, max(self.noisy - 1, 0)
        told = architectures[1:] if noisy else architectures
        self.measured += told
        latencies: list[Any] = [
            SimpleNamespace(
                median_s=law(each) * (1.5 if each in self.slower else 1.0),
                iqr_s=0.0,
                blocks=15,
                setting=setting,
            )
            for each in told
        ]
        return [LatencyError("The machine is too noisy."), *latencies] if noisy else latencies


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MadeUpMachine:
    made = MadeUpMachine()
    monkeypatch.setenv("NAS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(latency_budgets, "_held", {})
    monkeypatch.setattr(latency_budgets, "NETWORKS", 24)
    monkeypatch.setattr(latency_budgets, "measure_together", made.measure_together)
    return made


def bound() -> Budget:
    latencies = sorted(law(nas.sample(SPACE, random.Random(i))) for i in range(60))
    return Budget.parse(f"{latencies[30] * 1e6:.1f}us@{SETTING}")


def options(out: Path, *, method: str = "params", **more: Any) -> nas.SearchOptions:
    return nas.SearchOptions.of(
        space="small",
        method=method,
        trials=24,
        finalists=3,
        finalist_epochs=1,
        rivals=0,
        threads=1,
        batch_size=128,
        train_resolution=8,
        onnx=False,
        out=str(out),
        **more,
    )


@pytest.mark.usefixtures("own_threads")
def test_a_search_calibrates_holds_and_measures(tmp_path: Path, machine: MadeUpMachine) -> None:
    budget, run = bound(), tmp_path / "run"
    found = nas.search(SPACE, budgets=[budget], data="digits", options=options(run))
    record = read_run(run)
    assert store.names(), "the calibration is kept for the next search"
    for trial in record.trials():
        assert trial.cost.latency_s is not None
        assert trial.cost.latency_s <= budget.bound
        assert trial.cost.latency_s == pytest.approx(law(trial.architecture), rel=0.1)
    events = record.events(WinnerExported)
    assert len(events) == len(found.winners) == 3
    assert found.objectives == ("latency_s",)
    for event in events:
        assert event.latency_s is not None
        assert event.latency_s <= budget.bound
        assert event.setting == SETTING
    card = (run / "winners" / "1" / "card.md").read_text()
    assert "measured before training" in card
    assert "below the budget" in card


@pytest.mark.usefixtures("own_threads")
def test_a_network_that_breaks_the_budget_is_replaced_before_it_trains(tmp_path: Path, machine: MadeUpMachine) -> None:
    budget = bound()
    first = nas.search(SPACE, budgets=[budget], data="digits", options=options(tmp_path / "a"))
    trials = {trial.architecture.digest: trial.architecture for trial in read_run(tmp_path / "a").trials()}
    machine.slower = {trials[first.winners[0].digest], trials[first.winners[1].digest]}
    machine.noisy = 2
    second = nas.search(SPACE, budgets=[budget], data="digits", options=options(tmp_path / "b"))
    record = read_run(tmp_path / "b")
    over = {event.digest for event in record.events(FinalistMeasured) if not event.within}
    assert over == {each.digest for each in machine.slower}
    assert len(second.winners) == 3
    assert not over & {winner.digest for winner in second.winners}
    trained = {path.name for path in (tmp_path / "b" / "finalists").iterdir()}
    assert not over & trained


@pytest.mark.usefixtures("own_threads")
def test_a_machine_that_stays_noisy_stops_the_search_and_it_can_be_resumed(
    tmp_path: Path, machine: MadeUpMachine
) -> None:
    budget, run = bound(), tmp_path / "run"
    undisturbed = nas.search(SPACE, budgets=[budget], data="digits", options=options(tmp_path / "other"))
    machine.noisy = 4
    with pytest.raises(LatencyError, match="too noisy"):
        nas.search(SPACE, budgets=[budget], data="digits", options=options(run))
    # Whatever was calibrated since, the run keeps its own model.
    for name in store.names():
        store.path_of(name).write_text("damaged")
    latency_budgets._held.clear()
    machine.measured.clear()
    resumed = nas.resume(run)
    assert [winner.digest for winner in resumed.winners] == [winner.digest for winner in undisturbed.winners]
    assert len(machine.measured) == 1  # those that could be told are on record


@pytest.mark.usefixtures("own_threads")
def test_latencies_are_measured_where_the_device_of_the_model_is(tmp_path: Path, machine: MadeUpMachine) -> None:
    name = "somewhere"

    class There(latency_budgets.Meter):
        def device(self, setting: Setting) -> Device:
            return replace(super().device(setting), name=name)

    class OnACluster(InThisProcess):
        def __init__(self) -> None:
            self.fitting: list[bool] = []

        def at_device(self, device: str, make: Any, fits: Any = lambda _: True) -> Any:
            assert (device, make) == ("cpu", latency_budgets.Meter)
            self.fitting += [fits(There()), fits(make())]
            return nullcontext(There())

    backend, run = OnACluster(), tmp_path / "run"
    nas.search(SPACE, budgets=[bound()], data="digits", options=options(run), backend=backend)
    assert store.load(store.names()[0]).device.name == name
    # The first time any node will do: the model is made there.
    assert backend.fitting == [True, True, True, False]


def test_sampling_needs_a_calibration_and_says_which(machine: MadeUpMachine) -> None:
    with pytest.raises(LatencyError, match="nas device calibrate --setting cpu:threads=1"):
        BudgetSampler(SPACE, [bound()])


def test_a_bound_below_everything_measured_quotes_the_fastest(tmp_path: Path, machine: MadeUpMachine) -> None:
    with pytest.raises(nas.errors.BudgetError, match="was found in .* the smallest seen needs"):
        nas.search(SPACE, budgets=[Budget.parse(f"0.01us@{SETTING}")], data="digits", options=options(tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_searches_of_two_spaces_in_one_process_have_a_model_each(machine: MadeUpMachine) -> None:
    other = replace(SPACE, name="other")
    for space in (SPACE, other):
        latency_budgets.hold([bound()], space, seed=0, progress=Silent())
    assert {store.load(name).space for name in store.names()} == {"small", "other"}
    assert latency_budgets.model_here(Setting.parse(SETTING)).space == "other"


@pytest.mark.usefixtures("own_threads")
def test_a_reused_supernet_keeps_the_latency_model_that_it_was_trained_by(
    tmp_path: Path, machine: MadeUpMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its weights are those of what was fast enough by that model; one made since may call other networks so."""
    budget, run = bound(), tmp_path / "first"
    nas.search(
        SPACE,
        budgets=[budget],
        data="digits",
        options=options(run, method="supernet", epochs=1, strategy="single-path"),
    )
    kept = read_run(run).manifest["device_models"]
    [name] = store.names()
    store.path_of(name).unlink()
    monkeypatch.setattr(latency_budgets, "_held", {})
    reused = options(tmp_path / "second", method="supernet", supernet=str(run))
    nas.search(SPACE, budgets=[budget], data="digits", options=reused)
    assert read_run(tmp_path / "second").manifest["device_models"] == kept
    assert not store.names(), "nothing is calibrated anew"

    monkeypatch.setattr(latency_budgets, "_held", {})
    (tmp_path / "small.yaml").write_text(json.dumps(small_data()))
    words = ["--space", str(tmp_path / "small.yaml"), "--budget", str(budget), "--method", "supernet"]
    assert main_search([*words, "--supernet", str(run), "--dry-run"]) == 0
    assert not store.names(), "nor by a dry run"

    monkeypatch.setattr(latency_budgets, "_held", {})
    monkeypatch.setattr(latency_budgets, "device_name", lambda _: "another CPU")
    with pytest.raises(LatencyError, match="trained for latencies of another device .* not another CPU"):
        nas.search(SPACE, budgets=[budget], data="digits", options=replace(reused, out=str(tmp_path / "third")))


def test_a_rival_that_is_measured_above_the_latency_is_left_out(machine: MadeUpMachine) -> None:
    budget, sampler = bound(), BudgetSampler(SPACE)
    fast = min((nas.sample(SPACE, random.Random(i)) for i in range(60)), key=law)
    slow = max((nas.sample(SPACE, random.Random(i)) for i in range(60)), key=law)
    events: list[Any] = []
    run = SimpleNamespace(events=lambda _: events, append=events.append)
    context: Any = SimpleNamespace(budgets=(budget,), run=run, progress=Silent(), backend=InThisProcess())
    picks = rival_picks({"scaled": fast, "zoo:x": slow}, sampler, [], seed=0)
    assert [pick.chosen_by for pick in rivals_within(context, picks)] == ["scaled"]
    assert [event.within for event in events] == [True, False]
    measured = len(machine.measured)
    assert [pick.chosen_by for pick in rivals_within(context, picks)] == ["scaled"]
    assert len(machine.measured) == measured, "what is on record is not measured again"
    context.budgets = ()
    assert rivals_within(context, picks) == picks
