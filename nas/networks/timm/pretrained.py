"""timm's pretrained models, where timm is installed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from nas.errors import OptionError
from nas.networks.timm.library import timm_module


def pretrained(name: str) -> tuple[nn.Module, Mapping[str, Any]]:
    """Returns a model of timm with its pretrained weights, and its `default_cfg`.

    Raises:
        OptionError: If timm cannot be imported, knows no such model, or cannot load its weights.
    """
    timm = timm_module("timm", purpose=f"timm:{name}")
    try:
        model: nn.Module = timm.create_model(name, pretrained=True)
    except Exception as fault:  # timm's own errors, and those of what it downloads with
        said = " ".join(str(fault).split())[:160]
        raise OptionError(f"timm:{name} cannot be loaded: {said}. Give the weights as a file.") from None
    return model, getattr(model, "default_cfg", {})
