"""Which indices of a network's tensors a narrower network of the same layers takes, axis by axis.

A prefix of a stream's channels is not everywhere a prefix of the tensors that read it: where two maps are concatenated,
the second begins later in the wider network, and where heads are of a fixed number, each is longer. Both networks'
axes are divided into *runs*, stretches of one group's units in their order (`nas.networks.inheritance.couplings`), and
each run of the narrower network takes the first units of its counterpart, and of each unit the first indices.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from nas.networks.inheritance.couplings import Group, groups_of
from nas.networks.shared_weights import part_of

Index: TypeAlias = NDArray[np.int64]
Key: TypeAlias = "tuple[str, int]"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Run:
    """A stretch of an axis.

    Attributes:
        places: Its indices, (units, indices of each).
        fixed: Whether nothing in it may move.
    """

    places: Index
    fixed: bool


Runs: TypeAlias = Mapping[Key, list[_Run]]


def narrowed(
    state: Mapping[str, torch.Tensor], runs: Runs, narrow: nn.Module, x: torch.Tensor
) -> dict[str, torch.Tensor]:
    """Returns the weights of a narrower network or part, copied from those of a wider one of the same layers.

    Tensors whose indices have no counterpart, such as those of a depthwise convolution that multiplies channels by
    another number, are left out.

    Args:
        state: The wider one's weights, units in the order of their importance.
        runs: Of the wider one.
        narrow: The narrower one, on the meta device.
        x: Its input there, with two images.
    """
    narrow_runs = runs_of(narrow, x)
    found: dict[str, torch.Tensor] = {}
    for path, part in narrow.named_modules():
        rules = getattr(type(part), "parts", {})
        for name, tensor in (*part._parameters.items(), *part._buffers.items()):
            full = f"{path}.{name}" if path else name
            if tensor is None or full not in state or state[full].ndim != tensor.ndim:
                continue
            whole = state[full]
            kept = _kept(full, whole.shape, tensor.shape, rules.get(name), runs, narrow_runs)
            if kept is not None:
                where = np.ix_(*kept) if kept else ()
                found[full] = whole[tuple(torch.from_numpy(each).to(whole.device) for each in where)].clone()
    return found


def _kept(
    name: str,
    whole: torch.Size,
    part: torch.Size,
    rule: tuple[str, ...] | None,
    wide: Runs,
    narrow: Runs,
) -> list[Index] | None:
    """Returns the indices along each axis of a tensor; None if those of one have no counterpart."""
    kept: list[Index] = []
    for axis, (size, least) in enumerate(zip(whole, part, strict=True)):
        pair = [runs.get((name, axis), []) for runs in (wide, narrow)]
        if size == least:
            kept.append(np.arange(size))
        elif all(run.fixed for runs in pair for run in runs):  # kernels, positions
            if size < least:
                return None
            kept.append(np.arange(size)[part_of(whole, part, rule)[axis]])
        else:
            found = _first(*pair)
            if found is None:
                return None
            kept.append(found)
    return kept


def _first(wide: list[_Run], narrow: list[_Run]) -> Index | None:
    """Returns the first indices of each run."""
    if len(narrow) == 1 and len(wide) == 1 and narrow[0].fixed != wide[0].fixed:
        wide, narrow = ([_Run(places=run.places, fixed=True) for run in runs] for runs in (wide, narrow))
    if [run.fixed for run in wide] != [run.fixed for run in narrow]:
        return None
    found: list[Index] = []
    for run, smaller in zip(wide, narrow, strict=True):
        (units, each), (fewer, less) = run.places.shape, smaller.places.shape
        if fewer <= units and less <= each:
            found.append(run.places[:fewer, :less].ravel())
        elif 1 in (each, less) and fewer * less <= units * each:  # one head alone: its channels are units
            found.append(run.places.ravel()[: fewer * less])
        else:
            return None
    return np.concatenate(found)


def runs_of(module: nn.Module, x: torch.Tensor) -> Runs:
    """Returns the runs of each axis of a network's tensors; those of another dtype than floating point have none.

    Args:
        module: A network or a part of one, on the meta device.
        x: Its input there, with two images.
    """
    tensors = dict((*module.named_parameters(), *module.named_buffers()))
    keys = [(name, axis) for name, each in tensors.items() if each.is_floating_point() for axis in range(each.ndim)]
    group = {(name, axis): np.full(tensors[name].shape[axis], -1) for name, axis in keys}
    unit = {key: np.zeros_like(numbers) for key, numbers in group.items()}
    for number, each in enumerate(groups_of(module, x)[0]):
        _number(each, number, group, unit)
    found: dict[Key, list[_Run]] = {}
    for key in keys:
        of, own = group[key], unit[key]
        begins = np.flatnonzero((of[1:] != of[:-1]) | (own[1:] < own[:-1])) + 1
        stretches = np.split(np.arange(len(of)), begins) if len(of) else []
        found[key] = [_run(each, own[each], fixed=bool(of[each[0]] < 0)) for each in stretches]
    return found


def _number(each: Group, number: int, group: Mapping[Key, Index], unit: Mapping[Key, Index]) -> None:
    for key, places in each.places.items():
        group[key][places] = number
        unit[key][places] = np.arange(len(places))[:, None]


def _run(indices: Index, units: Index, *, fixed: bool) -> _Run:
    count = 1 if fixed else len(np.unique(units))
    if len(indices) % count:
        return _Run(places=indices[None], fixed=True)
    return _Run(places=indices.reshape(count, -1), fixed=fixed)
