"""Networks of architectures as timm's factory makes them, for any number of classes, channels and image size."""

from __future__ import annotations

from nas.architecture import Architecture
from nas.networks.timm.timm_model import TimmModel, square


class TimmNetwork(TimmModel):
    """Classifier with timm's interface: (B, in_chans, img_size, img_size) -> (B, num_classes).

    Args:
        num_classes: None for the architecture's; 0 for none, and features (B, head_hidden_size) instead of logits.
        img_size: None for the architecture's.
        drop_rate, drop_path_rate: As in `TimmModel`.
    """

    def __init__(
        self,
        architecture: Architecture,
        *,
        num_classes: int | None = None,
        in_chans: int | None = None,
        img_size: int | tuple[int, int] | None = None,
        drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
    ) -> None:
        size = square(img_size) if img_size is not None else architecture.input.resolution
        architecture = architecture.at_resolution(size).with_channels(in_chans or architecture.input.channels)
        if num_classes:
            architecture = architecture.with_classes(num_classes)
        super().__init__(
            architecture.to_dict(), num_classes=num_classes, drop_rate=drop_rate, drop_path_rate=drop_path_rate
        )
