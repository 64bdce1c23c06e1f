"""The first phase of a calibrated search: reference networks are measured, and a few of them trained shortly."""

from __future__ import annotations

import math
import random
import shutil
import time
from pathlib import Path

from nas.architecture import Architecture
from nas.errors import RunError, TrainingError
from nas.methods.calibrated.scorer import Calibration, Frame, Measured, Proxies
from nas.methods.protocol.context import Context
from nas.methods.protocol.phases import is_finished
from nas.methods.zero_cost.proxies import PROXIES
from nas.methods.zero_cost.proxy_cache import ProxyValues
from nas.run import Run
from nas.run.events import CalibrationFailed, CalibrationTrained, ProxiesMeasured
from nas.sampling.budget_sampler import BudgetSampler
from nas.training import fresh_network, train_network
from nas.training.checkpoint import newest, read_facts
from nas.training.threads import threads_set

FOLDER = "calibration"
_FEWEST = 2
_TRIES = 20


def reference_networks(sampler: BudgetSampler, count: int, *, seed: int) -> list[Architecture]:
    """Different members in range, drawn by layout; fewer than `count` where the range holds no more."""
    rng, found = random.Random(f"reference-{seed}"), dict[str, Architecture]()
    for _ in range(_TRIES * count):
        if len(found) == count:
            break
        drawn = sampler.draw(rng).architecture
        found[drawn.digest] = drawn
    return list(found.values())


def calibrate(context: Context) -> Calibration:
    """Does what the run has not on record yet, and goes on from the last checkpoint.

    A training that fails is recorded and passed over, as a finalist's is; the others go on.

    Raises:
        TrainingError: If trainings failed and fewer than two are left.
    """
    plan, seed = context.plan, context.options.seed
    networks = reference_networks(context.sampler, plan.calibration["reference"], seed=seed)
    values = ProxyValues(context.data, seed=seed, device=plan.proxy_device)
    proxies = Proxies(values)
    with threads_set(plan.job_threads):
        reference = _measure(context, networks, proxies)
    known = {event.digest: event.accuracy for event in context.run.events(CalibrationTrained)}
    failed = {event.digest for event in context.run.events(CalibrationFailed)}
    if is_finished(context.run, FOLDER):
        # An earlier version may have chosen others; what was scored by these stays so.
        rows = _places(context.run, networks, list(known))
    else:
        rows = Frame(reference).telling(plan.calibration["trainings"])
    trained: list[tuple[int, float]] = []
    for number, row in enumerate(rows, start=1):
        digest = networks[row].digest
        if digest not in known and digest not in failed:
            accuracy = _train(context, networks[row], f"calibration {number} of {len(rows)}")
            if accuracy is not None:
                known[digest] = accuracy
        if digest in known:
            trained.append((row, known[digest]))
    if len(trained) < min(_FEWEST, len(rows)):
        # What a run is made with is settled: to go on with it would fail again.
        raise TrainingError(
            f"A calibration needs {_FEWEST} trained networks, and {len(trained)} of {len(rows)} could be trained; "
            "events.jsonl has the reasons. Start a new run with --dtype float32 or another --batch-size."
        )
    digests = tuple(network.digest for network in networks)
    return Calibration(reference=reference, digests=digests, trained=tuple(trained))


def trained_networks(run: Run) -> tuple[Architecture, ...]:
    """The networks of a calibration, the best first; they are proposed to the search before any other."""
    found = sorted(run.events(CalibrationTrained), key=lambda event: -event.accuracy)
    return tuple(Architecture.from_dict(event.architecture) for event in found)


def _measure(context: Context, networks: list[Architecture], proxies: Proxies) -> Measured:
    """The proxies of all, each on record once it is known."""
    run, progress = context.run, context.progress
    told: set[str] = set()
    for event in run.events(ProxiesMeasured):
        told.add(event.digest)
        proxies.know(event.digest, _numbers(run, event.proxies))
    progress.start("proxies", len(networks), "networks")
    for network in networks:
        values = proxies(network)
        if network.digest not in told:
            # JSON has no infinities.
            plain = [value if math.isfinite(value) else str(value) for value in values]
            run.append(ProxiesMeasured(digest=network.digest, proxies=plain))
        progress.advance()
    progress.finish()
    return Measured.of(networks, proxies)


def _numbers(run: Run, plain: list[float | str]) -> list[float]:
    try:
        found = [float(value) for value in plain]
    except ValueError:
        found = []
    if len(found) != len(PROXIES.names()):
        raise RunError(f"{run.path}: a network was measured in a way that this version does not know. Start a new run.")
    return found


def _places(run: Run, networks: list[Architecture], digests: list[str]) -> list[int]:
    places = {network.digest: row for row, network in enumerate(networks)}
    if any(digest not in places for digest in digests):
        raise RunError(f"{run.path}: networks were trained that this version does not draw. Start a new run.")
    return [places[digest] for digest in digests]


def _train(context: Context, architecture: Architecture, phase: str) -> float | None:
    """Trains one network for a short while; its accuracy on search-validation, None if the training fails."""
    run, plan, options, progress = context.run, context.plan, context.options, context.progress
    digest, epochs = architecture.digest, plan.calibration["epochs"]
    folder = run.path / FOLDER / digest
    earlier, began = _seconds_so_far(folder), time.monotonic()
    try:
        accuracy = train_network(
            fresh_network(architecture.at_resolution(plan.train_resolution), seed=options.seed),
            context.data,
            plan.recipe(epochs=epochs, seed=options.seed),
            progress=progress,
            phase=phase,
            folder=folder,
            metric=options.metric,
        )
    except TrainingError as fault:
        accuracy = None
        run.append(CalibrationFailed(digest=digest, error=str(fault), seconds=earlier + time.monotonic() - began))
        progress.note(f"The training for {phase} failed and is left out: {fault}")
    else:
        run.append(
            CalibrationTrained(
                digest=digest,
                accuracy=accuracy,
                epochs=epochs,
                seconds=earlier + time.monotonic() - began,
                architecture=architecture.to_dict(),
            )
        )
        progress.note(f"Trained for {phase}: {accuracy:.4f} after {epochs} epoch{'s' * (epochs != 1)}")
    shutil.rmtree(folder, ignore_errors=True)  # what it was for is on record
    return accuracy


def _seconds_so_far(folder: Path) -> float:
    """What the last checkpoint of a training knows of the sittings before this one."""
    path = newest(folder)
    return 0.0 if path is None else float(read_facts(path).get("seconds", 0.0))
