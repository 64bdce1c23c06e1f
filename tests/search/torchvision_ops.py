"""timm and transformers beside a torchvision that was built for another torch, in this process and in those it starts.

Both import torchvision, which fails where its binary does not define the operators that its Python registers; defining
them is enough, since nothing here calls them.
"""

from __future__ import annotations

import importlib
from functools import cache

import pytest

from nas.export import alone

from ..torch.timm_import import import_timm

_DEFINED = """
kept = torch.library.Library("torchvision", "FRAGMENT")
for name in ("nms", "qnms"):
    kept.define(f"{name}(Tensor boxes, Tensor scores, float threshold) -> Tensor")
"""


def allow_torchvision(monkeypatch: pytest.MonkeyPatch) -> None:
    """Imports timm here, and defines the operators in other processes where that is needed here."""
    if _mismatched():
        monkeypatch.setattr(alone, "_HEADER", alone._HEADER.replace("import torch\n", f"import torch\n{_DEFINED}"))
    import_timm()


@cache
def _mismatched() -> bool:
    """Whether torchvision was built for another torch; asked before anything defines its operators."""
    try:
        importlib.import_module("torchvision")
    except RuntimeError as fault:
        if "torchvision::" not in str(fault):
            raise
        return True
    return False
