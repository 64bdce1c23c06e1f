"""A network exported again: other formats, or those that could not be written when its search or training ended."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nas.errors import ExportError, RunError
from nas.export.folder import read_exported
from nas.export.winner import export_product
from nas.run import exported_folder, is_training, read_run
from nas.run.events import WinnerExported


def export_run(run: str | Path, rank: int = 1, formats: Sequence[str] | None = None) -> dict[str, Any]:
    """Writes a winner of a run to `exports/<rank>` in the run's folder, and checks it as the search did.

    The folder of a `nas train` is exported alike; its one network is of rank 1. `winners/` and `network/` stay as they
    are, whatever is exported later. `exports/<rank>` holds what was asked for last and nothing else: it is replaced
    whole.

    Args:
        formats: Any of "config", "code", "weights" and "onnx"; None for all that this machine can write.

    Returns:
        Plain JSON: `path`, and the checks and `files` of `export_product`.

    Raises:
        RunError: If it is neither a run nor a training, or the disk refuses.
        OptionError: If a format is unknown.
        ExportError: If there is no such winner, its folder is damaged, or a format cannot be written or disagrees.
    """
    folder = Path(run)
    if is_training(folder):
        if rank != 1:
            raise ExportError(f"--rank {rank}: {folder} holds the one network of a nas train. Give --rank 1.")
        source = exported_folder(folder)
    else:
        source = _winner(folder, rank)
    product, network = read_exported(source)
    target = folder / "exports" / str(rank)
    return {"path": str(target), **export_product(product, network, target, formats)}


def _winner(folder: Path, rank: int) -> Path:
    """The folder of a winner.

    Raises:
        RunError: If it is no run, or has no winners yet.
        ExportError: If it has no winner of that rank.
    """
    ranks = sorted({event.rank for event in read_run(folder).events(WinnerExported)})
    if not ranks:
        raise RunError(f"{folder} has no winners yet. Finish it with nas-search --resume {folder}.")
    if rank not in ranks:
        has = "one winner. Give --rank 1" if len(ranks) == 1 else f"{len(ranks)} winners. Give --rank 1 to {ranks[-1]}"
        raise ExportError(f"--rank {rank}: {folder} has {has}.")
    return folder / "winners" / str(rank)
