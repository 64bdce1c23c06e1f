"""Models that `nas.to_timm` registered: timm looks for a model's default_cfg in the module that defines it."""

from __future__ import annotations

from typing import Any

__all__: list[str] = []  # timm adds names here

default_cfgs: dict[str, dict[str, Any]] = {}
