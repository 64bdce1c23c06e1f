"""hybrid-nas: search for the best hybrid of convolution and attention for a data set and a budget.

Everything below is imported when it is first used, so that `import nas` is quick and needs no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nas.architecture import Architecture
    from nas.budget import Budget, Cost
    from nas.costing import cost, profile
    from nas.deriving import derive_space
    from nas.errors import NasError
    from nas.interop import from_timm, to_timm
    from nas.loading import load_architecture, load_space
    from nas.model import build
    from nas.ops.folding import fold
    from nas.options import SearchOptions
    from nas.progress import Progress
    from nas.searching import SearchResult, dry_run, resume, sample, search
    from nas.space import SearchSpace
    from nas.supernet import Supernet
    from nas.trial import Trial

__version__ = "0.1.0"

__all__ = [
    "Architecture",
    "Budget",
    "Cost",
    "NasError",
    "Progress",
    "SearchOptions",
    "SearchResult",
    "SearchSpace",
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
    "profile",
    "resume",
    "sample",
    "search",
    "to_timm",
]

_HOMES = {
    "Architecture": "nas.architecture",
    "Budget": "nas.budget",
    "Cost": "nas.budget",
    "NasError": "nas.errors",
    "Progress": "nas.progress",
    "SearchOptions": "nas.options",
    "SearchResult": "nas.searching",
    "SearchSpace": "nas.space",
    "Supernet": "nas.supernet",
    "Trial": "nas.trial",
    "build": "nas.model",
    "cost": "nas.costing",
    "derive_space": "nas.deriving",
    "dry_run": "nas.searching",
    "fold": "nas.ops.folding",
    "from_timm": "nas.interop",
    "load_architecture": "nas.loading",
    "load_space": "nas.loading",
    "profile": "nas.costing",
    "resume": "nas.searching",
    "sample": "nas.searching",
    "search": "nas.searching",
    "to_timm": "nas.interop",
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
