"""Calibration: whole networks are measured, chosen to say most, and a model is fitted to them.

Half of each batch is sampled at random, and the model's error is judged by these alone, each left out of the fit in
turn. The other half are the candidates that the model knows least about, one after another (Krause et al., 2008,
"Near-optimal sensor placements in Gaussian processes": the greedy choice by posterior variance).
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Protocol

import numpy as np

from nas.architecture import Architecture
from nas.costs import cost
from nas.errors import DataError, LatencyError
from nas.latency import store
from nas.latency.correction import PRIOR_SCALES, Networks, network_covariance
from nas.latency.device_model import FEWEST, Device, DeviceModel, fit, held_out_errors
from nas.latency.features import BlockWork, blocks_of, total_work
from nas.latency.latency_table import LatencyTable, Measured, read_json
from nas.latency.work_model import PRIOR, fit_rates
from nas.networks.loading import load_architecture
from nas.progress import Progress, Silent
from nas.setting import Setting
from nas.spaces import SearchSpace, catalog

BATCH = 8
_RANDOM = BATCH // 2
NETWORKS = 160
"""Networks that a calibration measures at most."""
MINUTES = 10.0
MOST_SPREAD = 0.3
"""The largest interquartile range of a network's blocks; a fit averages noise, so more than usual may pass."""
_POOL = 150
_RETRIES = 3
"""Batches in a row that may fail before a calibration gives up."""
_LARGEST_MACS, _LARGEST_PARAMS = 6e9, 5e7
"""Of the zoo, networks beyond these are not measured: a batch of them is held in memory at once."""


class MeasuredLatency(Protocol):
    """What is used of a measured latency; `nas.latency.measuring.Latency` is one."""

    @property
    def median_s(self) -> float:
        """Seconds of one inference of a whole batch."""
        ...


MeasureTogether = Callable[[Sequence[Architecture], Setting], Sequence[MeasuredLatency | LatencyError]]
"""Measures networks in turn with a reference workload: `nas.latency.measure_together`."""


def calibrate(
    space: SearchSpace | None,
    device: Device,
    measure_together: MeasureTogether,
    *,
    minutes: float = MINUTES,
    networks: int = NETWORKS,
    seed: int = 0,
    progress: Progress | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> DeviceModel:
    """Measures networks of a space in turn, fits a latency model to them, and keeps it in the user's cache.

    What was measured is kept after every batch; a calibration that was stopped goes on from there.

    Args:
        space: Whose networks are measured; None for networks of the zoo.
        device: What is calibrated, its setting with the threads resolved.
        measure_together: What measures.
        minutes: When no further batch begins; at least as many are measured as can be judged by.
        networks: The most that are measured.
        seed: Of the random half.

    Raises:
        LatencyError: If the machine is too noisy to tell any network of several batches in a row.
    """
    progress = progress or Silent()
    name = store.model_name(device, "" if space is None else store.measured_space(space))
    measured = _resumed(device, name, progress)
    until = clock() + 60 * minutes
    progress.start("calibrate", max(networks - len(measured), 0), "networks")
    failed = 0
    while len(measured) < networks and (clock() < until or len(measured) < 2 * BATCH):
        rng = random.Random(f"{seed}/{len(measured)}/{failed}")
        chosen, sampled = choose(space, [each.architecture for each in measured], _rates(measured), rng)
        if len(chosen) < BATCH:
            break  # a space of so few networks is measured out
        found = measure_together(chosen, device.setting)
        faults = [latency for latency in found if isinstance(latency, LatencyError)]
        for fault in faults:
            progress.note(f"A network is left out: {fault}")
        if len(faults) == len(found):
            failed += 1
            if failed == _RETRIES:
                raise faults[-1]
            continue
        failed = 0
        measured += [
            Measured(architecture=each, latency_s=latency.median_s, sampled=place < sampled)
            for place, (each, latency) in enumerate(zip(chosen, found, strict=True))
            if not isinstance(latency, LatencyError)
        ]
        table = LatencyTable(device=device, space=space.name if space else "", networks=tuple(measured))
        store.save_unfinished(table, name)
        progress.advance(len(found) - len(faults))
    progress.finish()
    if len(measured) < FEWEST:
        raise LatencyError(f"{len(measured)} networks were measured, fewer than the {FEWEST} that a model needs.")
    model = model_of(
        measured,
        device=device,
        space=space.name if space else "",
        source="measured",
        folded=True,
    )
    store.save(model, name)
    store.unfinished(name).unlink(missing_ok=True)
    return model


def model_of(
    measured: Sequence[Measured],
    *,
    device: Device,
    space: str,
    source: str,
    folded: bool,
) -> DeviceModel:
    """Returns the model fitted to measured networks, with its error on those sampled at random, each left out of the
    fit in turn.
    """
    blocks = [blocks_of(each.architecture, folded=folded) for each in measured]
    seconds = np.array([each.latency_s for each in measured])
    rates, correction = fit(blocks, seconds)
    return DeviceModel(
        device=device,
        space=space,
        source=source,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        folded=folded,
        networks=len(measured),
        errors=held_out_errors(blocks, seconds, [i for i, each in enumerate(measured) if each.sampled]),
        rates=rates,
        correction=correction,
    )


def choose(
    space: SearchSpace | None, known: Sequence[Architecture], rates: np.ndarray, rng: random.Random
) -> tuple[list[Architecture], int]:
    """Returns the next batch, random networks, then the most telling ones, and how many are random.

    There are fewer than `BATCH` where there are no more.

    Args:
        known: Networks chosen before.
        rates: Seconds per unit of work, as far as known; only their proportions matter.
    """
    taken = set(known)
    pool = [each for each in dict.fromkeys(_candidates(space, rng)) if each not in taken]
    sampled, others = pool[:_RANDOM], pool[_RANDOM:]
    fixed = [blocks_of(each) for each in (*known, *sampled)]
    picked = most_telling(fixed, [blocks_of(each) for each in others], rates, BATCH - _RANDOM)
    return [*sampled, *(others[i] for i in picked)], len(sampled)


def most_telling(
    known: Sequence[Sequence[BlockWork]], candidates: Sequence[Sequence[BlockWork]], rates: np.ndarray, count: int
) -> list[int]:
    """Returns the candidates of largest variance given the networks known and the candidates before them.

    Args:
        known, candidates: Networks as their blocks.
        rates: Seconds per unit of work; only their proportions matter.
        count: How many; fewer if there are no more.
    """
    every = Networks([*known, *candidates], rates)
    noise = PRIOR_SCALES.noise**2
    left = network_covariance(PRIOR_SCALES, every)
    for i in range(len(known)):
        left = _given(left, i, noise)
    picked: list[int] = []
    for _ in range(min(count, len(candidates))):
        variance = np.diag(left)[len(known) :].copy()
        variance[picked] = -1.0
        picked.append(int(variance.argmax()))
        left = _given(left, len(known) + picked[-1], noise)
    return picked


def _given(covariance: np.ndarray, index: int, noise: float) -> np.ndarray:
    """Returns the covariance once one of the networks is measured, but for noise."""
    column = covariance[:, index]
    return covariance - np.outer(column, column) / (column[index] + noise)


def _rates(measured: Sequence[Measured]) -> np.ndarray:
    if not measured:
        return PRIOR
    work = np.array([total_work(blocks_of(each.architecture)) for each in measured])
    return fit_rates(work, np.array([each.latency_s for each in measured]))


def _candidates(space: SearchSpace | None, rng: random.Random) -> list[Architecture]:
    if space is not None:
        return [space.sample(rng) for _ in range(_POOL)]
    names = catalog.zoo_names()
    rng.shuffle(names)
    found: list[Architecture] = []
    for network in map(load_architecture, names):
        spent = cost(network)
        if spent.macs <= _LARGEST_MACS and spent.params <= _LARGEST_PARAMS:
            found.append(network)
        if len(found) == 4 * BATCH:
            break
    return found


def _resumed(device: Device, name: str, progress: Progress) -> list[Measured]:
    """Returns what an earlier calibration of the same device had measured when it was stopped."""
    path = store.unfinished(name)
    if not path.is_file():
        return []
    try:
        table = read_json(path, least=0)
    except DataError as fault:
        progress.note(f"What was measured before cannot be read, and is measured again: {fault}")
        return []
    if table.device.differences(device):
        return []
    progress.note(f"{len(table.networks)} networks were measured before; going on from there.")
    return list(table.networks)
