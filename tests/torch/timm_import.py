"""timm, imported beside a build of torch that torchvision's binary does not belong to.

timm needs torchvision to be importable, which fails with CPU builds of torch: its Python registers fake kernels for
operators that its binary would have defined. Defining them is enough; nothing here calls them.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from types import ModuleType

import pytest
import torch

_KEPT: list[torch.library.Library] = []


def import_timm() -> ModuleType:
    """timm; the test that asks is skipped where it is not installed."""
    if importlib.util.find_spec("timm") is None:
        pytest.skip("timm is not installed")
    try:
        return importlib.import_module("timm")
    except RuntimeError as fault:
        if "torchvision::" not in str(fault):
            raise
    for name in [name for name in sys.modules if name.split(".")[0] in ("timm", "torchvision")]:
        del sys.modules[name]
    _KEPT.append(torch.library.Library("torchvision", "FRAGMENT"))
    for name in ("nms", "qnms"):
        _KEPT[0].define(f"{name}(Tensor boxes, Tensor scores, float threshold) -> Tensor")
    return importlib.import_module("timm")
