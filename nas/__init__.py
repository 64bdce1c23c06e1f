"""hybrid-nas: search for the best hybrid of convolution and attention for a data set and a budget.

Everything below is imported when it is first used, so that `import nas` is quick and needs no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from nas.version import __version__ as __version__

if TYPE_CHECKING:
    from nas.architecture import Architecture
    from nas.budget import Budget, Cost
    from nas.costs import cost, profile
    from nas.costs.derived_spaces import derive_space
    from nas.errors import NasError
    from nas.latency import Latency, measure
    from nas.networks.fold import fold
    from nas.networks.loading import load_architecture, load_space
    from nas.networks.network import build
    from nas.networks.supernet import Supernet
    from nas.networks.timm import from_timm, to_timm
    from nas.options import SearchOptions, register_method
    from nas.pipeline.search import SearchResult, resume, search
    from nas.progress import Progress
    from nas.sampling.dry_run import dry_run
    from nas.sampling.kept_samplers import sample
    from nas.setting import Setting
    from nas.spaces import SearchSpace
    from nas.trial import Trial

__all__ = [
    "Architecture",
    "Budget",
    "Cost",
    "Latency",
    "NasError",
    "Progress",
    "SearchOptions",
    "SearchResult",
    "SearchSpace",
    "Setting",
    "Supernet",
    "Trial",
    "build",
    "cost",
    "derive_space",
    "dry_run",
    "fold",
    "from_timm",
    "load_architecture",
    "load_space",
    "measure",
    "profile",
    "register_method",
    "resume",
    "sample",
    "search",
    "to_timm",
]

_HOMES = {
    "Architecture": "nas.architecture",
    "Budget": "nas.budget",
    "Cost": "nas.budget",
    "Latency": "nas.latency",
    "NasError": "nas.errors",
    "Progress": "nas.progress",
    "SearchOptions": "nas.options",
    "SearchResult": "nas.pipeline.search",
    "SearchSpace": "nas.spaces",
    "Setting": "nas.setting",
    "Supernet": "nas.networks.supernet",
    "Trial": "nas.trial",
    "build": "nas.networks.network",
    "cost": "nas.costs",
    "derive_space": "nas.costs.derived_spaces",
    "dry_run": "nas.sampling.dry_run",
    "fold": "nas.networks.fold",
    "from_timm": "nas.networks.timm",
    "load_architecture": "nas.networks.loading",
    "load_space": "nas.networks.loading",
    "measure": "nas.latency",
    "profile": "nas.costs",
    "register_method": "nas.options",
    "resume": "nas.pipeline.search",
    "sample": "nas.sampling",
    "search": "nas.pipeline.search",
    "to_timm": "nas.networks.timm",
}


def __getattr__(name: str) -> Any:
    """Imports what is asked for (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module 'nas' has no attribute {name!r}")
    found = getattr(import_module(_HOMES[name]), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
