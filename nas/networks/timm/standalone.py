"""What an exported `timm_model.py` adds to the copied classes: the function that timm calls to create the model.

`nas.export.formats.timm` copies it and puts the exported network's values in place of the constants.
"""

from __future__ import annotations

from typing import Any

from timm.models import build_model_with_cfg
from torch import nn

from nas.networks.network import resize_tables
from nas.networks.timm.timm_model import TimmModel, square

NAME = ""
ARCHITECTURE: dict[str, Any] = {}


def created(pretrained: bool, **options: Any) -> nn.Module:
    """The network; with `pretrained` it has the weights of the file that its default_cfg names."""
    stages = tuple(range(len(ARCHITECTURE["stages"])))
    return build_model_with_cfg(
        configured,
        NAME,
        pretrained,
        pretrained_filter_fn=resize_tables,
        feature_cfg={"feature_cls": "getter", "out_indices": stages},
        **options,
    )


def configured(in_chans: int | None = None, img_size: int | tuple[int, int] | None = None, **options: Any) -> TimmModel:
    """The network for images of so many channels and of this size, with fresh weights."""
    given = ARCHITECTURE["input"]
    images = {
        **given,
        "channels": in_chans or given["channels"],
        "resolution": given["resolution"] if img_size is None else square(img_size),
    }
    return TimmModel({**ARCHITECTURE, "input": images}, **options)
