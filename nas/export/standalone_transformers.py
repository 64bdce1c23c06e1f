"""What an exported `modeling_hybrid_nas.py` adds to the copied classes: the network as a model of transformers.

`nas.export.formats.hugging_face` copies these classes; the architecture is in `config.json`.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from transformers import PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import ImageClassifierOutput

from nas.networks.network import Network


class HybridNasConfig(PretrainedConfig):
    """The architecture as plain data, at the resolution of the weights, and the classes as `id2label`."""

    model_type = "hybrid_nas"

    def __init__(self, architecture: dict[str, Any] | None = None, **options: Any) -> None:
        super().__init__(**options)
        self.architecture = architecture


class HybridNasForImageClassification(PreTrainedModel):
    """Classifier: `pixel_values` (batch, channels, resolution, resolution) -> `logits` (batch, classes)."""

    config_class = HybridNasConfig
    main_input_name = "pixel_values"

    def __init__(self, config: HybridNasConfig) -> None:
        super().__init__(config)
        assert config.architecture is not None, "config.json lacks the architecture"
        # Also where transformers builds models without memory: tables that are no weights must have their values.
        with torch.device("cpu"):
            self.network = Network(config.architecture)
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        """Leaves the weights as the network's own classes initialize them."""

    def forward(
        self, pixel_values: torch.Tensor, labels: torch.Tensor | None = None, return_dict: bool = True, **_: Any
    ) -> Any:
        logits = self.network(pixel_values)
        loss = None if labels is None else F.cross_entropy(logits, labels)
        found = ImageClassifierOutput(loss=loss, logits=logits)
        return found if return_dict else found.to_tuple()
