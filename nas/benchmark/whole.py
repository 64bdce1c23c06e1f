"""Tables of whole architectures, members of no space in common: published networks, winners of searches."""

from __future__ import annotations

import json
from collections.abc import Sequence

from nas.architecture import Architecture
from nas.benchmark.tables import TruthTable
from nas.data import open_data
from nas.errors import DataError, NasError, OptionError
from nas.methods.protocol.ranking import RankingSettings
from nas.networks.loading import load_architecture
from nas.ops import normalize
from nas.spaces import catalog

WHOLE_NAMES = ("architecture", "arch", "arch_json", "path", "name")


def read_whole(table: TruthTable, column: str, rows: Sequence[int]) -> list[Architecture]:
    """The architectures of some rows: zoo names, paths from the table's folder on, or JSON as this program writes it.

    Raises:
        DataError: If one cannot be read, naming its line.
    """
    known = set(catalog.zoo_names())
    found: list[Architecture] = []
    for row in rows:
        text = table.columns[column][row].strip()
        try:
            if text.startswith("{"):
                found.append(normalize(Architecture.from_dict(json.loads(text))))
            else:
                found.append(load_architecture(text if text in known else table.path.parent / text))
        except (NasError, ValueError, TypeError, OSError, RecursionError) as fault:  # the last: JSON nested too deep
            reason = " ".join(str(fault).split())[:160].rstrip(".")
            raise DataError(
                f"{table.path}, line {table.lines[row]}: {column} {text[:60]!r} is no architecture: {reason}. Write a "
                "name of `nas zoo`, a path to an architecture.yaml from the table's folder on, or JSON; or name "
                "another column by --arch-column."
            ) from None
    return found


def as_seen(architectures: Sequence[Architecture], settings: RankingSettings, *, whole: bool) -> list[Architecture]:
    """The networks as methods that look at images are given them.

    Args:
        whole: Whether they are of no space in common; they then get the data's classes and channels, and need one
            resolution.

    Raises:
        OptionError: If whole networks are for several resolutions, and `settings` have none.
    """
    found = list(architectures)
    if whole:
        info = open_data(settings.data or "digits").info
        found = [each.with_classes(info.num_classes).with_channels(info.channels) for each in found]
        sizes = sorted({each.input.resolution for each in found})
        if len(sizes) > 1 and settings.resolution is None:
            raise OptionError(
                f"The table's networks are for {', '.join(map(str, sizes))} pixels, and methods that look at images "
                "need one resolution: give --resolution N."
            )
    size = settings.resolution
    return found if size is None else [each.at_resolution(size) for each in found]
