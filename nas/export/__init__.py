"""Winners as folders that need nothing of this package: config, plain-torch code, weights, ONNX, card."""

from nas.export.exported_model import CardFacts, ExportedModel
from nas.export.folder import FILES, read_exported
from nas.export.from_run import export_run
from nas.export.job import Exporting, ExportJob
from nas.export.recorded import files_of, is_whole
from nas.export.source import standalone_source
from nas.export.winner import export_architecture, export_product, export_winner

__all__ = [
    "FILES",
    "CardFacts",
    "ExportJob",
    "ExportedModel",
    "Exporting",
    "export_architecture",
    "export_product",
    "export_run",
    "export_winner",
    "files_of",
    "is_whole",
    "read_exported",
    "standalone_source",
]
