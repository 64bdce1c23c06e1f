"""Profile of one network: its costs, stage by stage, and its latency on this machine."""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import torch
from torch.utils.benchmark import Timer

from nas.architecture import Architecture, BlockConfig, LayerConfig, StageConfig
from nas.costs.count_table import TABLE
from nas.costs.counter import Count, uncounted
from nas.costs.memory import Memory, memory_use
from nas.errors import OptionError
from nas.networks.network import build
from nas.ops import OPS
from nas.options import check_device, check_whole
from nas.registry import unknown

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
WARM_UP = 7
SHORTEST_S, LONGEST_S = 0.2, 60.0
# The width is at the end of the line, and only a stage's first layer has the stride; the rest is detail.
UNSAID = ("bias", "eps", "momentum", "num_classes", "out_bias", "qkv_bias", "stride", "width")


@dataclass(frozen=True, slots=True, kw_only=True)
class StageRow:
    """Costs of the stem, one stage or the head.

    Attributes:
        ops: Its ops, for people: "5 x attention + feed_forward, width 384".
        letter: "C", "A" or "M", or one letter per layer where they differ; "" for the stem and the head.
        depth: Number of layers; 0 for the stem and the head.
        width: Output channels.
        macs, params: Exact, for one image.
        output: Channels, height and width of its output.
    """

    name: str
    ops: str
    letter: str
    depth: int
    width: int
    macs: int
    params: int
    output: tuple[int, int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """Latency of one forward pass of a whole batch, in seconds.

    Attributes:
        median_s, iqr_s: Median and interquartile range over the runs.
        runs: Timed forward passes, after `warmup` that were not.
        setting: Device, threads, dtype, batch and versions that it holds for.
    """

    median_s: float
    iqr_s: float
    runs: int
    warmup: int
    setting: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """Exact multiply-adds and parameters for one image at `resolution`; the latency where it was measured.

    Attributes:
        unsupported: Calls of each aten op whose work is not in `macs`, by name.
        reasons: Why, for those that an op of the network declares: "mamba: elementwise selective scan".
        peak_memory_bytes: Weights and the most of tensors that are live at once, of which `memory` has the parts.
    """

    params: int
    macs: int
    resolution: int
    layout: str
    stages: tuple[StageRow, ...]
    unsupported: dict[str, int]
    reasons: dict[str, str]
    peak_memory_bytes: int
    memory: Memory
    latency: Latency | None = None

    def to_dict(self) -> dict[str, Any]:
        """Returns the profile as plain JSON."""
        return {
            **asdict(self),
            "stages": [{**asdict(row), "output": list(row.output)} for row in self.stages],
        }


def profile(
    architecture: Architecture,
    *,
    latency: bool = False,
    batch_size: int = 1,
    threads: int = 1,
    device: str = "cpu",
    dtype: str = "float32",
    repeats: int = 30,
) -> Profile:
    """Returns what a network costs per stage and, with `latency`, its latency on this machine.

    Args:
        architecture: Counted and timed at its own resolution.
        batch_size, dtype: Of the peak memory and the latency.
        threads, device, repeats: Of the latency; see `measure_latency`.

    Raises:
        ArchitectureError: If its stages do not fit one another.
        OptionError: If an option of the latency is invalid, or there is no such device.
    """
    configs = [architecture.stem, *architecture.stages, architecture.head]
    counts = TABLE.architecture(architecture)
    rows = [_row(name, counted, config) for (name, counted), config in zip(counts, configs, strict=True)]
    timed = None
    if latency:
        timed = measure_latency(
            architecture, batch_size=batch_size, threads=threads, device=device, dtype=dtype, repeats=repeats
        )
    held = memory_use(architecture, dtype, batch_size)
    unsupported: Counter[str] = Counter()
    for _, counted in counts:
        unsupported.update(dict(counted.unsupported))
    return Profile(
        params=sum(row.params for row in rows),
        macs=sum(row.macs for row in rows),
        resolution=architecture.input.resolution,
        layout=layout(architecture),
        stages=tuple(rows),
        unsupported=dict(sorted(unsupported.items())),
        reasons=_reasons(architecture, unsupported),
        peak_memory_bytes=held.peak,
        memory=held,
        latency=timed,
    )


def measure_latency(
    architecture: Architecture,
    *,
    batch_size: int = 1,
    threads: int = 1,
    device: str = "cpu",
    dtype: str = "float32",
    repeats: int = 30,
) -> Latency:
    """Measures forward passes of a freshly built network in eval and inference mode.

    Weights do not change how long a pass takes, so fresh ones serve. Nothing is compiled and BatchNorm is not
    folded into the convolutions: this is the network as `nas.build` gives it.

    Args:
        batch_size: Images per pass.
        threads: CPU threads of torch during the measurement.
        device: "cpu", "cuda", "cuda:N", "mps" or "auto".
        dtype: "float32", "bfloat16" or "float16", of weights and images alike.
        repeats: About how many passes to time; more where they are short, fewer where they would take over
            a minute.

    Raises:
        OptionError: If one of these is invalid, or there is no such device.
    """
    check_whole("batch_size", batch_size, 1, 65_536, 16)
    check_whole("threads", threads, 1, 1024, 2)
    check_whole("repeats", repeats, 1, 1_000_000, 30)
    if dtype not in DTYPES:
        raise OptionError(unknown("value of --dtype", dtype, DTYPES))
    place = _find_device(device)
    size = architecture.input.resolution
    network = build(architecture).to(place, DTYPES[dtype]).eval()
    images = torch.zeros((batch_size, architecture.input.channels, size, size), device=place, dtype=DTYPES[dtype])
    images = images.to(memory_format=torch.channels_last)
    timer = Timer("network(images)", globals={"network": network, "images": images}, num_threads=threads)
    with torch.inference_mode():
        # Two passes unmeasured, then the rest of the warm-up measured as an estimate.
        once = timer.timeit(WARM_UP - 2).mean
        timed = timer.blocked_autorange(min_run_time=min(max(SHORTEST_S, repeats * once), LONGEST_S))
    threaded = f"{threads} thread{'s' * (threads > 1)}, " if place.type == "cpu" else ""
    return Latency(
        median_s=timed.median,
        iqr_s=timed.iqr,
        runs=len(timed.times) * timed.number_per_run,
        warmup=WARM_UP,
        setting=f"{_device_name(place)}, {threaded}{dtype}, batch of {batch_size} at {size}x{size}, "
        f"channels_last, eager torch {torch.__version__}, BatchNorm not folded",
    )


def layout(architecture: Architecture) -> str:
    """Returns the letters of the stages: "C-C-A-A"; a stage of both kinds has one letter per layer: "C-CCA"."""
    return "-".join(stage_letter(stage) for stage in architecture.stages)


def stage_letter(stage: StageConfig) -> str:
    """Returns "A" for a stage whose layers all hold attention, "M" Mamba mixers, "C" neither; else one per layer."""
    letters = [layer_letter(layer) for layer in stage.layers]
    return letters[0] if len(set(letters)) == 1 else "".join(letters)


def layer_letter(layer: LayerConfig) -> str:
    """Returns "A" for a layer that holds attention, "M" for one with a Mamba mixer, else "C"."""
    names = list(_ops(branch.mixer for branch in layer.branches))
    if any(word in name for name in names for word in ("attention", "transformer")):
        return "A"
    return "M" if any("mamba" in name for name in names) else "C"


def describe_stage(stage: StageConfig, width: int) -> str:
    """Returns one line for people: "conv (kernel_size 2), then 5 x attention + feed_forward, width 384"."""
    start = f"{_words(stage.transition)}, then " if stage.transition else ""
    labels = [" + ".join(_words(branch.mixer) for branch in layer.branches) for layer in stage.layers]
    runs = ", ".join(f"{len(list(run))} x {label}" for label, run in groupby(labels)) or "no layers"
    return f"{start}{runs}, width {width}"


def _row(name: str, counted: Count, config: StageConfig | BlockConfig) -> StageRow:
    channels, height, width = counted.shape[:3]
    stage = config if isinstance(config, StageConfig) else None
    return StageRow(
        name=name,
        ops=f"{_words(config)}, width {channels}"
        if isinstance(config, BlockConfig)
        else describe_stage(config, channels),
        letter=stage_letter(stage) if stage else "",
        depth=len(stage.layers) if stage else 0,
        width=channels,
        macs=counted.macs,
        params=counted.params,
        output=(channels, height, width),
    )


def _words(block: BlockConfig) -> str:
    inner = block.get("ops")
    if isinstance(inner, tuple):
        return " > ".join(_words(part) for part in inner if isinstance(part, BlockConfig))
    if block.op == "activation":
        return str(block.get("name", "gelu"))
    shown = [
        (name if value else f"no {name}") if isinstance(value, bool) else f"{name} {value}"
        for name, value in block.params
        if name not in UNSAID and not isinstance(value, BlockConfig | tuple)
    ]
    mixer = block.get("mixer")
    if isinstance(mixer, BlockConfig):  # what a bottleneck, or a residual branch inside a block, is about
        if block.op == "residual":
            return _words(mixer)
        shown = [f"of {_words(mixer)}", *shown]
    return f"{block.op} ({', '.join(shown)})" if shown else block.op


def _reasons(architecture: Architecture, unsupported: Iterable[str]) -> dict[str, str]:
    """Returns what the network's ops declare of aten ops that are not counted."""
    blocks = [architecture.stem, architecture.head]
    for stage in architecture.stages:
        blocks += [stage.transition] if stage.transition else []
        for branch in (branch for layer in stage.layers for branch in layer.branches):
            blocks += [block for block in (branch.norm, branch.mixer, branch.shortcut) if block]
    found: dict[str, list[str]] = {name: [] for name in sorted(unsupported)}
    for op in dict.fromkeys(_ops(blocks)):
        for name, reason in uncounted(OPS[op]).items():
            if name in found:
                found[name].append(f"{op}: {reason}")
    return {name: "; ".join(reasons) for name, reasons in found.items() if reasons}


def _ops(blocks: Iterable[BlockConfig]) -> Iterator[str]:
    """Yields the names of the ops of blocks, and of all blocks inside them."""
    waiting = list(blocks)
    while waiting:
        block = waiting.pop()
        yield block.op
        for _, value in block.params:
            values = value if isinstance(value, tuple) else (value,)
            waiting += [item for item in values if isinstance(item, BlockConfig)]


def _find_device(name: str) -> torch.device:
    check_device(name)
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    place = torch.device(name)
    there = {
        "cpu": 1,
        "cuda": torch.cuda.device_count() if torch.cuda.is_available() else 0,
        "mps": int(torch.backends.mps.is_available()),
    }[place.type]
    if (place.index or 0) >= there:
        raise OptionError(f"--device {name}: torch finds {there} {place.type} devices here. Use --device cpu.")
    return place


def _device_name(place: torch.device) -> str:
    if place.type == "cuda":
        return f"{place} ({torch.cuda.get_device_name(place)})"
    model = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), model)
    except OSError:
        pass
    return f"{place} ({model})"
