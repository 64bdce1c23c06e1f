"""`weights.safetensors`: the weights by the names of the network's modules."""

from __future__ import annotations

from nas.export.folder import FILES, write_weights
from nas.export.formats.format import Export, Format


class Weights(Format):
    """The weights; `config` and `code`, which are always made, are checked with them."""

    name = "weights"
    files = {FILES["weights"]: "the weights, in float32"}

    def write(self, export: Export) -> None:
        """Writes `weights.safetensors`."""
        write_weights(export.folder, export.network, export.product)
