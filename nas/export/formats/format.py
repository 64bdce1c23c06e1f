"""What a format of an exported network is: how it is written, checked, run, and explained on the card."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Container
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

from nas.errors import ExportError
from nas.export.checks import Reference
from nas.export.exported_model import ExportedModel
from nas.networks.network import Network


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Export:
    """A network on its way into a folder.

    Attributes:
        product: All that is known of it.
        network: On the CPU, in float32 and eval mode; formats leave it as it is.
        reference: What it makes of fixed images; every format must make the same.
        folder: Where files are written; it becomes the exported folder once all of them agree.
    """

    product: ExportedModel
    network: Network
    reference: Reference
    folder: Path

    @property
    def metadata(self) -> dict[str, str]:
        """The key `preprocessing` with the text of `preprocessing.json`; empty where that is not known."""
        prepared = self.product.preprocessing
        return {} if prepared is None else {"preprocessing": prepared.to_json()}


class Format(ABC):
    """A format of an exported network.

    Attributes:
        name: As in `nas.options.export_formats.EXPORT_FORMATS`.
        files: What it writes into the folder.
        about: What that is, for the card's list of files.
        packages: What has to be installed beside torch, and `extra`, the extra of this package that brings it.
        carries: Where it says how images are prepared, for the card; "" where it does not.
        agrees: The subject of the card's sentence about its check; "" where it has no check of its own.
    """

    name: ClassVar[str]
    files: ClassVar[tuple[str, ...]]
    about: ClassVar[str]
    packages: ClassVar[tuple[str, ...]] = ()
    extra: ClassVar[str] = ""
    carries: ClassVar[str] = ""
    agrees: ClassVar[str] = ""

    @property
    def key(self) -> str:
        """The name of its error among the checks: "torch_export_error"."""
        return f"{self.name.replace('-', '_')}_error"

    @property
    def needs(self) -> str:
        """What is missing here and what to install, as "needs onnx: pip install …"; "" where nothing is missing."""
        missing = [package for package in self.packages if find_spec(package) is None]
        return f"needs {', '.join(missing)}: pip install 'hybrid-nas[{self.extra}]'." if missing else ""

    def check_possible(self, product: ExportedModel) -> None:
        """Checks that this machine can write the format of a network.

        Raises:
            ExportError: If packages are missing, or the network is none for this format.
        """
        if self.needs:
            raise ExportError(f"--format {self.name} {self.needs}")

    @abstractmethod
    def write(self, export: Export) -> None:
        """Writes the files.

        Raises:
            ExportError: If the network cannot be written so.
        """

    def check(self, export: Export) -> dict[str, Any]:
        """Checks that what was written gives the network's output.

        Returns:
            The relative error as `key`, and what else was measured; plain JSON.

        Raises:
            ExportError: If it does not.
        """
        return {}

    def usage(self, product: ExportedModel, files: Container[str]) -> str:
        """Returns how to use the files, as Markdown for the card; "" where that takes files that are not there."""
        return ""


def side(size: int) -> str:
    """Returns the size of square images, for people."""
    return f"{size}x{size}"
