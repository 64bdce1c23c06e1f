"""`architecture.yaml`: the network as hybrid-nas describes it."""

from __future__ import annotations

from typing import Any

from nas.export.checks import check_config
from nas.export.folder import FILES, write_config
from nas.export.formats.format import Export, Format


class Config(Format):
    """The architecture, of which `nas.build` makes the network again."""

    name = "config"
    files = {FILES["config"]: "the architecture, for hybrid-nas"}
    agrees = "The network that `architecture.yaml` describes"

    def write(self, export: Export) -> None:
        """Writes `architecture.yaml`."""
        write_config(export.folder, export.product)

    def check(self, export: Export) -> dict[str, Any]:
        """Builds the network again and loads the weights."""
        return {self.key: check_config(export.folder, export.product, export.reference)}
