"""The options of `nas predict` and `nas evaluate`."""

from __future__ import annotations

from dataclasses import dataclass

from nas.options.declaration import option
from nas.options.kinds import Choice, Device, Text, Whole
from nas.options.search_options import ON_CORRUPT

_BATCH = Whole(1, 1_000_000, 64)


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictOptions:
    """Everything that a person asks of one prediction."""

    top: int = option(5, kind=Whole(1, 1_000_000, 5), help="classes of each image to show, the most probable first")
    device: str = option("auto", kind=Device(), help="where the network runs")
    batch_size: int = option(64, kind=_BATCH, help="images at once")


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluateOptions:
    """Everything that a person asks of one evaluation."""

    data: str = option(
        kind=Text("D"),
        help="images: digits, a folder of class folders, an .npz file, a folder of IDX files, or hf:NAME",
        required=True,
    )
    out: str | None = option(
        kind=Text("DIR"), help="folder of the table and the pictures", default_help="a new one in runs/"
    )
    device: str = option("auto", kind=Device(), help="where the network runs")
    batch_size: int = option(64, kind=_BATCH, help="images at once")
    on_corrupt: str = option(
        "skip", kind=Choice(ON_CORRUPT, "WHAT"), help="skip images that cannot be read, or stop with an error"
    )
