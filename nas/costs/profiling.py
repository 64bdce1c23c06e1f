"""Profile of one network: its costs, stage by stage."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import Any

from nas.architecture import Architecture, BlockConfig, LayerConfig, StageConfig
from nas.costs.count_table import TABLE
from nas.costs.counter import Count, uncounted
from nas.costs.memory import Memory, memory_use
from nas.ops import OPS

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
class Profile:
    """Exact multiply-adds and parameters for one image at `resolution`.

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

    def to_dict(self) -> dict[str, Any]:
        """Returns the profile as plain JSON."""
        return {
            **asdict(self),
            "stages": [{**asdict(row), "output": list(row.output)} for row in self.stages],
        }


def profile(architecture: Architecture, *, dtype: str = "float32", batch: int = 1) -> Profile:
    """Returns what a network costs per stage, counted at its own resolution; `nas.measure` gives its latency.

    Args:
        dtype, batch: Of the peak memory.

    Raises:
        ArchitectureError: If its stages do not fit one another.
    """
    configs = [architecture.stem, *architecture.stages, architecture.head]
    counts = TABLE.architecture(architecture)
    rows = [_row(name, counted, config) for (name, counted), config in zip(counts, configs, strict=True)]
    held = memory_use(architecture, dtype, batch)
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
