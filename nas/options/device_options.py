"""The options of `nas device`, checked before anything is imported or measured."""

from __future__ import annotations

from dataclasses import dataclass

from nas.options.declaration import option
from nas.options.kinds import Choice, Duration, Switch, Text, Whole
from nas.setting import DTYPE_BYTES, LARGEST_BATCH, MOST_THREADS, RUNTIMES

_SETTING, _MEASURING, _TABLE = "setting", "what is measured", "table"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceOptions:
    """Everything that a person asks of `nas device`."""

    setting: str | None = option(
        kind=Text("SETTING"), help="as in a budget: cpu:threads=2, onnxruntime, cuda:batch=32", group=_SETTING
    )
    runtime: str | None = option(
        kind=Choice(lambda: tuple(RUNTIMES), "R"), help="what runs the networks", group=_SETTING
    )
    device: str | None = option(kind=Text("D"), help="cpu, cuda, cuda:N or mps", default_help="cpu", group=_SETTING)
    threads: int | None = option(
        kind=Whole(1, MOST_THREADS, 2), help="CPU threads", default_help="one per core", group=_SETTING
    )
    batch: int | None = option(
        kind=Whole(1, LARGEST_BATCH, 16), help="images of one inference", default_help="1", group=_SETTING
    )
    dtype: str | None = option(
        kind=Choice(tuple(DTYPE_BYTES), "T"),
        help="data type of weights and images",
        default_help="float32",
        group=_SETTING,
    )
    space: str | None = option(
        kind=Text("S"),
        help="space whose networks are measured: a name or a YAML file",
        default_help="networks of the zoo",
        group=_MEASURING,
    )
    resolution: int | None = option(
        kind=Whole(8, 4096, 224, "R"),
        help="image side in pixels at which networks of the space are measured",
        default_help="the space's",
        group=_MEASURING,
    )
    networks: int = option(160, kind=Whole(8, 5000, 160), help="the most networks to measure", group=_MEASURING)
    time: int = option(
        600,
        kind=Duration(1),
        help="time after which no further network is measured",
        default_help="10min",
        group=_MEASURING,
    )
    blocks: int = option(5, kind=Whole(3, 1000, 5), help="blocks of inferences of each network", group=_MEASURING)
    seed: int = option(0, kind=Whole(0, 2**32 - 1, 0), help="random seed of what is measured", group=_MEASURING)
    recalibrate: bool = option(
        False, kind=Switch(), help="measure again where a calibration is there already", group=_MEASURING
    )
    name: str | None = option(
        kind=Text("NAME"), help="name of the imported device", default_help="the table's", group=_TABLE
    )
    column: str | None = option(
        kind=Text("COLUMN"),
        help="latency_s…, latency_ms… or images_per_s…",
        default_help="the only one of such a name",
        group=_TABLE,
    )
    network_column: str | None = option(
        kind=Text("COLUMN"),
        help="zoo names or architecture.yaml paths",
        default_help="architecture or name",
        group=_TABLE,
    )
    resolution_column: str | None = option(
        kind=Text("COLUMN"),
        help="column of resolutions in pixels",
        default_help="benchmark_resolution, resolution, if there",
        group=_TABLE,
    )
    folded: bool = option(
        False, kind=Switch(), help="whether branches and BatchNorms of a table's networks were folded", group=_TABLE
    )
