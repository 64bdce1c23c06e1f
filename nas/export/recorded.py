"""Whether a winner's folder still holds what the search exported and recorded."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from nas.costs import cost
from nas.errors import NasError
from nas.export.folder import FILES
from nas.networks.loading import load_architecture
from nas.run.events import WinnerExported
from nas.run.files import file_digest

_NEEDED = (FILES["config"], FILES["code"], FILES["weights"])


def files_of(folder: Path) -> dict[str, str]:
    """Returns the digests of a winner's files by name, the card excepted."""
    return {name: file_digest(folder / name) for name in FILES.values() if (folder / name).is_file()}


def changed_file(event: WinnerExported, folder: Path, names: Iterable[str] | None = None) -> str | None:
    """Returns a file of a winner that is missing or differs from the record; None if there is none.

    Args:
        names: The files that are looked at; all that were exported by default.
    """
    for name in names or event.sha256 or _NEEDED:
        path = folder / name
        if not path.is_file() or file_digest(path) != event.sha256.get(name, file_digest(path)):
            return name
    return None


def is_whole(event: WinnerExported, folder: Path) -> bool:
    """Returns whether a winner's folder holds what was exported, of the architecture and costs on record."""
    if changed_file(event, folder) is not None:
        return False
    try:
        architecture = load_architecture(folder / FILES["config"])
    except NasError:
        return False
    counted = cost(architecture)
    return (architecture.digest, counted.macs, counted.params) == (event.digest, event.macs, event.params)
