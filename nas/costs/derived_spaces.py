"""Search spaces derived from networks, checked as a file would be, with the network a member of equal cost."""

from __future__ import annotations

import dataclasses
import random
import re
from pathlib import Path
from typing import Any

from nas import ops
from nas.architecture import Architecture, BlockConfig, LayerConfig, StageConfig
from nas.costs import TABLE, cost
from nas.costs.profiling import layer_letter
from nas.costs.space_costs import SpaceCosts
from nas.errors import ArchitectureError, NasError, SpaceError, shortened
from nas.networks.loading import load_architecture
from nas.networks.network import shape_after
from nas.ops import OPS
from nas.spaces import SearchSpace, catalog
from nas.spaces.derive import Shape, derive

_TRIED = 2
"""Members sampled and counted, beside the network itself, before a derived space is returned."""


class _Library:
    """Op library as `nas.spaces.derive` asks for it."""

    def elastic(self, op: str) -> tuple[str, ...]:
        return getattr(OPS[op], "elastic", ())

    def default(self, op: str, parameter: str) -> Any:
        fields = {field.name: field.default for field in dataclasses.fields(OPS[op].Config)}
        found = fields.get(parameter)
        return None if found is dataclasses.MISSING else found

    def letter(self, layer: LayerConfig) -> str:
        return layer_letter(layer)

    def after(self, part: BlockConfig | StageConfig, shape: Shape) -> Shape:
        # Built, but neither given memory nor run: a derivation needs hundreds of shapes.
        try:
            return tuple(shape_after(part, ops.Shape(*shape)))
        except (RuntimeError, IndexError, ValueError, ZeroDivisionError) as fault:
            raise ArchitectureError(f"{' '.join(str(fault).split())[:160]} on {tuple(shape[:3])}") from None


def derive_data(source: str | Path | Architecture, *, name: str | None = None) -> dict[str, Any]:
    """Returns the data of a space file around a network, checked as by `derive_space`.

    Args:
        source: A zoo name, a path to an architecture's file, or an architecture.
        name: Of the space; by default the network's with `-space`.
    """
    return _derived(source, name)[0]


def derive_space(source: str | Path | Architecture, *, name: str | None = None, smaller: bool = False) -> SearchSpace:
    """Returns a search space around a network, of which the network is a member.

    Depths, widths, kernels, expansions and the choice between convolution and attention vary as far as the network's
    family allows; `docs/decisions/0006-derived-spaces.md` says how.

    Args:
        source: A zoo name, a path to an architecture's file, or an architecture.
        name: Of the space; by default the network's with `-space`.
        smaller: Whether every member is to be a part of the network, with a part of its weights.

    Raises:
        ArchitectureError: If the network is unknown, or its stages do not fit one another.
        SpaceError: If the form of spaces cannot hold it, saying which stage and why.
    """
    return _derived(source, name, smaller=smaller)[1]


def _derived(
    source: str | Path | Architecture, name: str | None, *, smaller: bool = False
) -> tuple[dict[str, Any], SearchSpace]:
    called = "network" if isinstance(source, Architecture) else Path(source).stem
    network = ops.normalize(source) if isinstance(source, Architecture) else load_architecture(source)
    wanted = cost(network)
    extent = "are its own or smaller" if smaller else "vary around its own"
    about = f"Derived from {called}: its depths, widths, kernels and expansions {extent}."
    name = name or re.sub(r"[^\w.-]", "-", f"{called}-space")[:80]
    try:
        data = derive(network, _Library(), name=name, about=about, smaller=smaller)
        if str(source) in catalog.zoo_names():
            data["presets"] = [str(source)]
        space = catalog.parse_space(data, ops)
        costs = SpaceCosts(space)
        found = costs.cost(space.encode(network))
        for seed in range(_TRIED):
            costs.cost(space.encode(space.sample(random.Random(seed))))
    except NasError as fault:
        raise SpaceError(f"No space can be derived from {called}: {shortened(fault)}") from None
    finally:
        TABLE.save()
    if (found.macs, found.params) != (wanted.macs, wanted.params):
        raise SpaceError(
            f"No space can be derived from {called}: as a member of it the network has {found.params} parameters "
            f"and {found.macs} multiply-adds instead of {wanted.params} and {wanted.macs}."
        )
    return data, space
