"""A network exported again: other formats, or those that could not be written when its search or training ended."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nas.errors import ExportError, RunError
from nas.export.exported_model import ExportedModel
from nas.export.folder import FILES, read_exported
from nas.export.recorded import changed_file
from nas.export.winner import Timer, export_product
from nas.networks.imported_ops import recorded_imports
from nas.networks.network import Network
from nas.run import exported_folder, is_training, read_run, training_inputs
from nas.run.events import WinnerExported


def export_run(
    run: str | Path, rank: int = 1, formats: Sequence[str] | None = None, *, timer: Timer | None = None
) -> dict[str, Any]:
    """Writes a winner of a run to `exports/<rank>` in the run's folder, and checks it as the search did.

    The folder of a `nas train` is exported alike; its one network is of rank 1. `winners/` and `network/` stay as they
    are, whatever is exported later. `exports/<rank>` holds what was asked for last and nothing else: it is replaced
    whole.

    Args:
        formats, timer: As in `export_product`.

    Returns:
        Plain JSON: `path`, and what `export_product` returns.

    Raises:
        RunError: If it is neither a run nor a training, a file of ops that it was made with has changed, or the disk
            refuses.
        OptionError: If a format is unknown.
        ExportError: If there is no such winner, its folder is damaged, or a format cannot be written or disagrees.
    """
    folder = Path(run)
    if is_training(folder):
        if rank != 1:
            raise ExportError(f"--rank {rank}: {folder} holds the one network of a nas train. Give --rank 1.")
        recorded_imports(training_inputs(folder), of="The training")
        product, network = read_exported(exported_folder(folder))
    else:
        product, network = _winner(folder, rank)
    target = folder / "exports" / str(rank)
    return {"path": str(target), **export_product(product, network, target, formats, timer=timer)}


def _winner(folder: Path, rank: int) -> tuple[ExportedModel, Network]:
    """Returns a winner of a run as the search exported it.

    Raises:
        RunError: If it is no run, or has no winners yet.
        ExportError: If it has no winner of that rank, or its folder has changed.
    """
    record = read_run(folder)
    winners = {event.rank: event for event in record.events(WinnerExported)}
    ranks = sorted(winners)
    if not ranks:
        raise RunError(f"{folder} has no winners yet. Finish it with nas-search --resume {folder}.")
    if rank in ranks and not (folder / winners[rank].path).is_dir():
        raise RunError(f"{folder / winners[rank].path} is missing. Write it again with nas-search --resume {folder}.")
    if rank not in ranks:
        has = "one winner. Give --rank 1" if len(ranks) == 1 else f"{len(ranks)} winners. Give --rank 1 to {ranks[-1]}"
        raise ExportError(f"--rank {rank}: {folder} has {has}.")
    recorded_imports(record.manifest)
    source = folder / winners[rank].path
    product, network = read_exported(source)
    changed = changed_file(winners[rank], source, [FILES["config"], FILES["weights"]])
    if changed is not None:
        raise ExportError(
            f"{source / changed} is not what the search exported. Delete {source} and let nas-search --resume {folder} "
            "write it again."
        )
    return product, network
