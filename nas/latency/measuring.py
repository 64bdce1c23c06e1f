"""Latencies measured on this machine, in one setting, in turn with the reference workload."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import median
from typing import Any

import torch
from torch import nn

from nas.architecture import Architecture
from nas.errors import LatencyError
from nas.latency.blocks import LEAST_BLOCKS, MOST_SPREAD, Clock, Timed, interleave, summarize
from nas.latency.reference import reference
from nas.latency.runtimes import Part, Runtime, Torch, device_name, find_runtime
from nas.networks.network import build
from nas.options.kinds import check_whole
from nas.setting import Setting
from nas.training.freed_memory import freed_memory_returned
from nas.training.threads import threads_set

BLOCKS = 15


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """Seconds of one inference of a whole batch.

    Attributes:
        median_s, iqr_s: Median and interquartile range of the undisturbed blocks.
        setting: What it holds for, its threads resolved.
        runtime, device: Version of the runtime, and the device's model.
        blocks, disturbed: Blocks that the figures are of, and blocks left out since the reference was slow beside them.
        calls: Inferences in a block.
        reference_s: Median of the reference workload over all of its blocks, on the same occasion.
        stages: Median seconds of stem, stages and head, where they were asked for and the runtime has them apart.
        peak_memory_bytes: Most that the device held at once, weights included; None where the runtime does not say.
    """

    median_s: float
    iqr_s: float
    setting: Setting
    runtime: str
    device: str
    blocks: int
    disturbed: int
    calls: int
    reference_s: float
    stages: tuple[tuple[str, float], ...] = ()
    peak_memory_bytes: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """Returns plain JSON without the stages, the figures named as in a `nas.Cost`."""
        return {
            "latency_s": self.median_s,
            "latency_iqr_s": self.iqr_s,
            "peak_memory_bytes": self.peak_memory_bytes,
            "setting": str(self.setting),
            "runtime": self.runtime,
            "device": self.device,
            "blocks": self.blocks,
            "disturbed": self.disturbed,
            "calls": self.calls,
            "reference_s": self.reference_s,
        }


def measure(
    architecture: Architecture,
    setting: Setting | str,
    *,
    stages: bool = False,
    blocks: int = BLOCKS,
    most_spread: float = MOST_SPREAD,
    seed: int = 0,
) -> Latency:
    """Measures the latency of one network; see `measure_together`.

    Args:
        stages: Whether to time stem, stages and head as well, in blocks of their own.

    Raises:
        LatencyError: If the machine is too noisy to tell, or the runtime cannot run the network.
        OptionError: If the setting means nothing, or its device or runtime is not there.
        ArchitectureError: If the network's stages do not fit one another.
    """
    found = _measure([architecture], setting, stages=stages, blocks=blocks, most_spread=most_spread, seed=seed)[0]
    if isinstance(found, LatencyError):
        raise found
    return found


def measure_together(
    architectures: Sequence[Architecture],
    setting: Setting | str,
    *,
    blocks: int = BLOCKS,
    most_spread: float = MOST_SPREAD,
    seed: int = 0,
) -> list[Latency | LatencyError]:
    """Measures the latencies of several networks in turn, which are all held in memory meanwhile.

    Weights do not change how long an inference takes, so fresh ones serve.

    Args:
        architectures: At their own resolutions.
        setting: A setting or its text; threads that it leaves out are one per core of this process.
        blocks: Undisturbed blocks of each network, three or more.
        most_spread: The largest interquartile range, in shares of the median, that is reported.
        seed: Of weights, images and the order of the blocks.

    Returns:
        One per network: its latency, or why it could not be told while the others' could.

    Raises:
        LatencyError: If the runtime cannot run one of them.
        OptionError: If the setting means nothing, or its device or runtime is not there.
        ArchitectureError: If a network's stages do not fit one another.
    """
    return _measure(architectures, setting, stages=False, blocks=blocks, most_spread=most_spread, seed=seed)


def time_runs(
    runs: Mapping[str, Callable[[], object]], *, blocks: int = BLOCKS, seed: int = 0
) -> dict[str, dict[str, Any]]:
    """Times functions in turn on the CPU, on as many threads as torch has: what runs exported files, say.

    Args:
        runs: Each of one inference, by name.
        blocks: Undisturbed blocks of each, three or more.
        seed: Of the order of the blocks.

    Returns:
        Plain JSON by name: `latency_s` and `latency_iqr_s` (None where the machine is too noisy to tell), `blocks`,
        `where` (processor and threads) and `why` (it could not be told, or "").
    """
    threads = torch.get_num_threads()
    network, shape = reference()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        images = torch.randn(1, *shape)
    workload = _whole(Torch().prepare(network, images, Setting(device="cpu", threads=threads)))
    record = interleave(
        [_whole(run) for run in runs.values()],
        workload,
        blocks=blocks,
        clock=time.perf_counter,
        rng=random.Random(seed),
    )
    found: dict[str, dict[str, Any]] = {}
    for index, name in enumerate(runs):
        row: dict[str, Any] = {"latency_s": None, "latency_iqr_s": None, "blocks": 0, "why": ""}
        try:
            figure = summarize(record, index, f"the latency in {name}")
        except LatencyError as fault:
            row["why"] = str(fault)
        else:
            row |= {"latency_s": figure.median_s, "latency_iqr_s": figure.iqr_s, "blocks": figure.blocks}
        found[name] = row | {"where": f"{device_name('cpu')}, {threads} thread{'s' * (threads != 1)}"}
    return found


def _measure(
    architectures: Sequence[Architecture],
    setting: Setting | str,
    *,
    stages: bool,
    blocks: int,
    most_spread: float,
    seed: int,
) -> list[Latency | LatencyError]:
    check_whole("blocks", blocks, LEAST_BLOCKS, 10_000, BLOCKS)
    setting = (Setting.parse(setting) if isinstance(setting, str) else setting).resolved()
    runtime = find_runtime(setting)
    runs: list[Timed] = []
    peaks: list[int | None] = []
    parts: list[Part] = []
    torch_threads = setting.threads or torch.get_num_threads()
    with threads_set(torch_threads), freed_memory_returned(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network, shape = reference()
        workload = _whole(runtime.prepare(network, torch.randn(setting.batch, *shape), setting))
        for architecture in architectures:
            size = architecture.input.resolution
            network, images = build(architecture), torch.randn(setting.batch, architecture.input.channels, size, size)
            run, peak = _prepare(runtime, network, images, setting)
            runs.append(_whole(run))
            peaks.append(peak)
            parts = runtime.prepare_parts(network, images, setting) if stages else []
        record = interleave(
            [*runs, _by_parts(parts)] if parts else runs,
            workload,
            blocks=blocks,
            clock=time.perf_counter,
            rng=random.Random(seed),
        )
    latencies: list[Latency | LatencyError] = []
    for index, (architecture, peak) in enumerate(zip(architectures, peaks, strict=True)):
        what = f"the latency of {architecture.digest} at {setting}"
        try:
            figure = summarize(record, index, what, most_spread=most_spread)
        except LatencyError as fault:
            latencies.append(fault)
            continue
        latencies.append(
            Latency(
                median_s=figure.median_s,
                iqr_s=figure.iqr_s,
                setting=setting,
                runtime=runtime.version(),
                device=device_name(setting.device),
                blocks=figure.blocks,
                disturbed=figure.disturbed,
                calls=record.calls[index],
                reference_s=median(record.reference),
                peak_memory_bytes=peak,
            )
        )
    first = latencies[0]
    if not parts or isinstance(first, LatencyError):
        return latencies
    try:
        staged = summarize(record, len(runs), f"the stages' latencies at {setting}", most_spread=most_spread)
    except LatencyError:  # the whole network's stands without them
        return latencies
    named = tuple(zip((name for name, _ in parts), staged.parts_s, strict=True))
    return [replace(first, stages=named)]


def _prepare(
    runtime: Runtime, network: nn.Module, images: torch.Tensor, setting: Setting
) -> tuple[Callable[[], object], int | None]:
    """Returns what runs one inference, and the bytes that it held at most, where torch counts those of the device."""
    counted = setting.device.startswith("cuda") and isinstance(runtime, Torch)
    before = torch.cuda.memory_allocated(setting.device) if counted else 0
    run = runtime.prepare(network, images, setting)
    if not counted:
        return run, None
    run()  # libraries take their own memory at the first
    torch.cuda.reset_peak_memory_stats(setting.device)
    run()
    return run, torch.cuda.max_memory_allocated(setting.device) - before


def _whole(run: Callable[[], object]) -> Timed:
    def timed(clock: Clock) -> tuple[float, ...]:
        start = clock()
        run()
        return (clock() - start,)

    return timed


def _by_parts(parts: Sequence[Part]) -> Timed:
    def timed(clock: Clock) -> list[float]:
        made, moments = None, [clock()]
        for _, part in parts:
            made = part(made)
            moments.append(clock())
        return [after - before for before, after in pairwise(moments)]

    return timed
