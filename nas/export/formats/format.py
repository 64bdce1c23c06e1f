"""What a format of an exported network is: how it is written, checked, run, and explained on the card."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Container, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

from nas.data import Dataset
from nas.errors import ExportError
from nas.export.checks import Reference, Run, within
from nas.export.exported_model import ExportedModel
from nas.export.own_data import own_data
from nas.networks.network import Network


@dataclass(frozen=True, kw_only=True, eq=False)
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

    @cached_property
    def data(self) -> Dataset:
        """The images that the network was trained on, read again once.

        Raises:
            ExportError: If they are not known, not there, or others than those.
        """
        return own_data(self.product)

    @property
    def metadata(self) -> dict[str, str]:
        """The key `preprocessing` with the text of `preprocessing.json`; empty where that is not known."""
        prepared = self.product.preprocessing
        return {} if prepared is None else {"preprocessing": prepared.to_json()}


class Format(ABC):
    """A format of an exported network.

    Attributes:
        name: As in `nas.options.export_formats.EXPORT_FORMATS`.
        files: Paths in the folder of the files that it writes, the main one first, and what each is, for the card.
        packages: What has to be installed beside torch, and `extra`, the extra of this package that brings it.
        with_formats: Formats that its files cannot do without: they are written with it.
        says_preparation: Whether its files must say how images are prepared, so that a network of which that is not
            known is refused.
        runtime: What runs it, for latencies; "" where it is not timed.
        tolerance: The largest relative error of its output.
        carries: Where it says how images are prepared, for the card; "" where it does not.
        agrees: The subject of the card's sentence about its check; "" where it has no check of its own.
    """

    name: ClassVar[str]
    files: ClassVar[Mapping[str, str]]
    packages: ClassVar[tuple[str, ...]] = ()
    extra: ClassVar[str] = ""
    with_formats: ClassVar[tuple[str, ...]] = ()
    says_preparation: ClassVar[bool] = False
    runtime: ClassVar[str] = ""
    tolerance: ClassVar[float] = 0.0
    carries: ClassVar[str] = ""
    agrees: ClassVar[str] = ""

    @property
    def main(self) -> str:
        """The path of its main file."""
        return next(iter(self.files))

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
        """Checks, before anything is written, that the format of this network can be written on this machine.

        Raises:
            ExportError: If packages are missing, or the network is none for this format.
        """
        if self.needs:
            raise ExportError(f"--format {self.name} {self.needs}")
        if self.says_preparation and product.preprocessing is None:
            raise ExportError(
                f"--format {self.name} says how images are prepared, which is not known of this network: give one of "
                "nas-search or nas train, or leave the format out."
            )

    @abstractmethod
    def write(self, export: Export) -> None:
        """Writes the files.

        Raises:
            ExportError: If the network cannot be written so.
        """

    def open(self, export: Export) -> Run | None:
        """Returns what gives the logits of images as the files have them, on as many threads as torch has.

        Returns:
            None where they run in another process only.
        """
        return None

    def check(self, export: Export) -> dict[str, Any]:
        """Checks that what was written gives the network's output, for batches of one and of all images.

        Returns:
            The relative error as `key`, and what else was measured; plain JSON.

        Raises:
            ExportError: If it does not.
        """
        run = self.open(export)
        if run is None:
            return {}
        return {self.key: within(self.main, export.reference.error_of(run), self.tolerance)}

    def usage(self, product: ExportedModel, files: Container[str]) -> str:
        """Returns how to use the files, as Markdown for the card; "" where that takes files that are not there."""
        return ""

    def section(self, checks: Mapping[str, Any]) -> str:
        """Returns a section of the card on what its check measured; "" for none."""
        return ""

    def caution(self, checks: Mapping[str, Any]) -> str:
        """Returns what whoever exports must know of what its check measured, as a sentence; "" for nothing."""
        return ""


def side(size: int) -> str:
    """Returns the size of square images, for people."""
    return f"{size}x{size}"
