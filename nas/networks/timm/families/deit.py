"""DeiT (arXiv:2012.12877): ViT, with or without a distillation token."""

from __future__ import annotations

from nas.networks.timm.converting import Family
from nas.networks.timm.families.vit import convert

FAMILY = Family(
    names={
        f"deit_{size}{kind}_patch16_224": f"deit_{size}{kind}"
        for kind in ("_distilled", "")
        for size in ("tiny", "small", "base")
    },
    convert=convert,
    classifier="head.weight",
)
